"""Iteration over one asynchronous stream, at the least cost a read."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from .reader import Reader

Item = TypeVar("Item")


class Items(Generic[Item]):
    """An async iterable over what is delivered of one stream; each item is delivered once.

    `__anext__` gives the next item. Iteration is a generator, whose steps cost less than
    coroutines do: it reads by itself as long as the source is plainly read, and leaves to
    `Reader` whatever else there is (the first read, an end, a fault, an error of the source).
    """

    _reader: Reader
    # Whether what is ready is what this iterator gives.
    _is_chosen = True

    def _choose(self) -> None:
        """Have it ready, before the first item.

        Raises:
            RuntimeError: The stream is iterated in another way.
        """

    def __aiter__(self) -> AsyncIterator[Item]:
        return self._iterate()

    async def __anext__(self) -> Item:
        if not self._is_chosen:
            self._choose()
        reader = self._reader
        ready = reader.ready
        if not ready:
            await reader.advance()
        if not ready:
            raise StopAsyncIteration
        return ready.pop()  # type: ignore[no-any-return]

    async def _iterate(self) -> AsyncIterator[Item]:
        reader = self._reader
        ready, flow = reader.ready, reader.flow
        failed: BaseException | None = None
        while True:
            if not self._is_chosen:
                self._choose()
            if not ready:
                try:
                    # Not in an except clause: here is what the host is handling.
                    await reader.advance(failed)
                finally:
                    failed = None  # else it would refer to itself, through this frame
            while ready:
                yield ready.pop()
            if flow.is_over:
                await reader.advance()
                return
            read, step = reader.plain, flow.step
            if read is None:
                continue
            # Whoever else reads or closes the stream meanwhile takes `plain` away.
            while reader.plain is read:
                reader.is_awaited = True
                try:
                    item = await read()
                except BaseException as error:  # noqa: BLE001 - raised again by `advance`
                    failed = error
                    break
                reader.is_awaited = False
                try:
                    if step is None or flow.is_over:
                        out = flow.take(item)
                    else:
                        out = step(item)
                        if type(out) is tuple:
                            out = flow.stepped(item, out)
                except BaseException as error:
                    await reader.fall(error)
                    raise
                if type(out) is dict:
                    yield out  # type: ignore[misc]
                elif flow.is_over:
                    reader.put(out)
                    break
                elif not out:
                    # Nothing was read: `advance` tells whether that is the end. (Whether an
                    # object of a host is true is not asked: it might raise.)
                    if type(item) is bytes and not item:
                        break
                elif type(out) is bytes:
                    yield out  # type: ignore[misc]
                else:
                    # Who leaves amid them comes back for the rest.
                    reader.put(out)
                    while ready:
                        yield ready.pop()
