"""Bodies of responses as httpx and httpx2 stream them: normalised, or copied for the record.

They are mixed with a library's own stream classes, which its clients look for.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from typing import Any, Final

from .. import _engine, normalize_stream, normalize_stream_sync
from ..captured import BODY_BYTES, Refusal
from ._passing import OWN_KINDS, PassingEngine

# The extension of a response under which its `NormalizedStream` is, for what it can tell.
EXTENSION: Final = "streamnorm"


class Reads:
    """What a stream reads, and how that ended.

    It has no method to close: that is left to the body, since the connection can be used
    again only if the client reads on behind the mark that ends the stream.

    Args:
        begin: Starts to iterate the bytes; not called before the first read.
        request: What sent for them; errors of the library's have to know it.
        module: The library, whose errors they are.
    """

    def __init__(self, begin: Callable[[], Any], request: Any, module: Any) -> None:
        self._begin = begin
        self._request = request
        self._module = module
        self.iterator: Any = None
        self.error: Exception | None = None

    def begun(self) -> Any:
        """The iterator."""
        if self.iterator is None:
            self.iterator = self._begin()
        return self.iterator

    def noted(self, error: Exception) -> None:
        """Keep what a read raised."""
        self.error = error
        if isinstance(error, self._module.RequestError):
            known: Any = error
            known.request = self._request

    def cut(self) -> Exception:
        """What is raised where the body was closed before its end: as without us."""
        made: Exception = self.error or self._module.ReadError(
            "the response was closed before its end", request=self._request
        )
        return made


class AsyncReads(Reads):
    """See `Reads`."""

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        try:
            data: bytes = await self.begun().__anext__()
        except StopAsyncIteration:
            raise
        except Exception as error:
            self.noted(error)
            raise
        return data

    async def release(self) -> None:
        """Close the iterator, if it is a generator and no other task is reading it."""
        close = getattr(self.iterator, "aclose", None)
        if close is not None and not getattr(self.iterator, "ag_running", False):
            await close()


class SyncReads(Reads):
    """See `Reads`."""

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        try:
            data: bytes = next(self.begun())
        except StopIteration:
            raise
        except Exception as error:
            self.noted(error)
            raise
        return data

    def release(self) -> None:
        """Close the iterator, if it is a generator and no other thread is reading it."""
        close = getattr(self.iterator, "close", None)
        if close is not None and not getattr(self.iterator, "gi_running", False):
            close()


class _Body:
    """What the normalised bodies share.

    Args:
        response: As the inner transport gave it.
        reads: Its bytes, content decoding undone.
        faults: ``raise`` or ``pass``.
        is_chat: The request was for a chat completion, so whatever is wrong is a fault.
        options: For `normalize_stream`.
    """

    items: Any

    def __init__(
        self, response: Any, reads: Any, *, faults: str, is_chat: bool, options: dict[str, Any]
    ) -> None:
        self._response = response
        self._reads = reads
        self._passing: PassingEngine | None = None
        if faults == "pass" or not is_chat:
            module = options.get("_engine_module") or _engine.engine
            is_told = faults == "pass"
            self._passing = PassingEngine(module, is_told=is_told, is_chat=is_chat)
            options = {**options, "_engine_module": self._passing}
        if not is_chat:
            # Some event streams stay open, and silent, for hours.
            options = {**options, "timeouts": None, "min_throughput": None}
        self._options = options
        self._is_behind = False
        self._is_closed = False
        self._is_over = False  # its end was read, or an error

    def _raised(self, error: BaseException) -> BaseException | None:
        """What the client gets to see where reading raised *error*; None for the end."""
        if self._is_behind and isinstance(error, Exception):
            return None if self._is_said("transport") else error
        fault = self.items.fault
        if fault is None or not isinstance(error, Exception) or self._is_said(fault.kind):
            return error
        own: Exception | None = self._reads.error
        return own

    def _is_empty(self) -> bool:
        """Whether the fault that is due is that nothing came, but a ``[DONE]`` did.

        The fault has to come first: SDKs read no further than that mark.
        """
        fault = self.items.fault
        return fault is not None and fault.kind == "empty" and self._is_said("empty")

    def _is_cut(self) -> bool:
        """Whether it was closed before its end: a task or thread that reads on must know."""
        return self._is_closed and not self.items.outcome.done

    def _is_well_for_client(self) -> bool:
        """Whether what was wrong is not said, and more may follow the mark of the end."""
        fault = self.items.fault
        return fault is not None and not self._is_said(fault.kind) and self.items.outcome.done

    def _is_said(self, kind: str) -> bool:
        return self._passing is None or kind in OWN_KINDS or self._passing.is_chat


class AsyncBody(_Body):
    """The bytes of one response in normal form; an async iterator.

    Whatever comes behind ``[DONE]`` passes as it is, so that the end of the body is read if
    the client reads on, and its connection can be used again.
    """

    def __init__(self, response: Any, reads: AsyncReads, **kwargs: Any) -> None:
        super().__init__(response, reads, **kwargs)
        self.items = normalize_stream(reads, **self._options)
        self._frames = self.items.sse()

    def __aiter__(self) -> AsyncIterator[bytes]:
        # The same one each time: OpenAI's SDK (from 3.0) begins anew behind [DONE].
        return self

    async def __anext__(self) -> bytes:
        if self._is_over:
            raise StopAsyncIteration
        failed: BaseException | None = None
        try:
            if self._is_cut():
                raise StopAsyncIteration
            data: bytes = await self._next()
        except StopAsyncIteration:
            self._is_over = True
            if self._is_cut():
                raise self._reads.cut() from None
            await self.aclose()
            raise
        except GeneratorExit:
            raise  # nothing may be awaited any more
        except BaseException as error:  # noqa: BLE001 - raised below
            failed = error
        else:
            return data
        self._is_over = True
        with suppress(Exception):  # a better error is on its way
            await self.aclose()
        raised = self._raised(failed)
        if raised is None:
            raise StopAsyncIteration
        raise raised

    async def _next(self) -> bytes:
        if not self._is_behind:
            try:
                data: bytes = await self._frames.__anext__()
                if self._is_empty():
                    data = await self._frames.__anext__()
            except StopAsyncIteration:
                if not self.items.outcome.done:
                    raise
            except Exception:
                if not self._is_well_for_client():
                    raise
            else:
                return data
            self._is_behind = True
        rest: bytes = await self._reads.__anext__()
        return rest

    async def aclose(self) -> None:
        """Close the response, once."""
        if self._is_closed:
            return
        self._is_closed = True
        try:
            await self.items.aclose()
            await self._reads.release()
        finally:
            await self._response.aclose()


class SyncBody(_Body):
    """The bytes of one response in normal form; an iterator. See `AsyncBody`."""

    def __init__(self, response: Any, reads: SyncReads, **kwargs: Any) -> None:
        super().__init__(response, reads, **kwargs)
        self.items = normalize_stream_sync(reads, **self._options)
        self._frames = self.items.sse()

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        if self._is_over:
            raise StopIteration
        failed: BaseException | None = None
        try:
            if self._is_cut():
                raise StopIteration
            data = self._next()
        except StopIteration:
            self._is_over = True
            if self._is_cut():
                raise self._reads.cut() from None
            self.close()
            raise
        except BaseException as error:  # noqa: BLE001 - raised below
            failed = error
        else:
            return data
        self._is_over = True
        with suppress(Exception):  # a better error is on its way
            self.close()
        raised = self._raised(failed)
        if raised is None:
            raise StopIteration
        raise raised

    def _next(self) -> bytes:
        if not self._is_behind:
            try:
                data: bytes = next(self._frames)
                if self._is_empty():
                    data = next(self._frames)
            except StopIteration:
                if not self.items.outcome.done:
                    raise
            except Exception:
                if not self._is_well_for_client():
                    raise
            else:
                return data
            self._is_behind = True
        rest: bytes = next(self._reads)
        return rest

    def close(self) -> None:
        """Close the response, once."""
        if self._is_closed:
            return
        self._is_closed = True
        try:
            self.items.close()
            self._reads.release()
        finally:
            self._response.close()


class _Copy:
    """What the copied bodies share: bytes as they come, and what is kept of them.

    Args:
        stream: The body as it was.
        refusal: Where what is read of it goes.
        decoded: Undoes the content coding of a body; None where it has none.
    """

    def __init__(
        self, stream: Any, refusal: Refusal, decoded: Callable[[bytes], Iterator[bytes]] | None
    ) -> None:
        self._stream = stream
        self._refusal = refusal
        self._decoded = decoded
        self._coded = b""

    def _take(self, data: bytes) -> None:
        if self._decoded is None:
            self._refusal.add(data)
        else:
            self._coded += data[: BODY_BYTES - len(self._coded)]

    def _end(self) -> None:
        coded, self._coded = self._coded, b""
        if self._decoded is None or not coded:
            return
        with suppress(Exception):  # what could be decoded of it is kept
            for data in self._decoded(coded):
                self._refusal.add(data)
                if len(self._refusal.body) == BODY_BYTES:
                    break


class AsyncCopy(_Copy):
    """The body of an error, as it is, of which a copy is kept while it is read."""

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for data in self._stream:
            self._take(data)
            yield data
        self._end()

    async def aclose(self) -> None:
        """Close the body."""
        self._end()
        await self._stream.aclose()


class SyncCopy(_Copy):
    """The body of an error, as it is, of which a copy is kept while it is read."""

    def __iter__(self) -> Iterator[bytes]:
        for data in self._stream:
            self._take(data)
            yield data
        self._end()

    def close(self) -> None:
        """Close the body."""
        self._end()
        self._stream.close()
