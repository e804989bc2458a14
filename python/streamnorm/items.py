"""Iteration over one asynchronous stream, at the least cost a read."""

from __future__ import annotations

from collections.abc import AsyncIterator
from time import perf_counter
from typing import TYPE_CHECKING, Generic, TypeVar

from .flow import OVER
from .metrics import MAX_TIMES, ONE_CHUNK

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
            read, ways = reader.plain, flow.ways()
            if read is None or ways is None:
                continue
            feed, add, whole, engine, recorder = ways
            times, note = recorder.times, recorder.times.append
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
                    if type(item) is not bytes or flow.is_over:
                        reader.put(flow.take(item))
                        break
                    out = feed(item)
                    pulse = engine.pulse
                    if pulse - recorder.pulse == ONE_CHUNK:
                        # As `Recorder.note` does, without the call.
                        recorder.pulse = pulse
                        recorder.size += len(item)
                        note(perf_counter())
                        if len(times) > MAX_TIMES:
                            recorder.fold_times()
                    elif item:
                        recorder.note(perf_counter(), len(item), pulse)
                    if add is not None and out:
                        add(out)
                    if pulse & OVER:
                        reader.put(flow.judged(out))
                        break
                    if whole is not None and out:
                        out = whole(out)
                except BaseException as error:
                    await reader.fall(error)
                    raise
                if not out:
                    if not item:
                        break
                elif type(out) is bytes:
                    yield out  # type: ignore[misc]
                elif len(out) == 1:
                    yield out[0]
                else:
                    # Who leaves amid them comes back for the rest.
                    reader.put(out)
                    while ready:
                        yield ready.pop()
