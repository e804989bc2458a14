"""The bytes of a stream whose fault is told to the client: a stream that always ends."""

from __future__ import annotations

from collections.abc import AsyncIterator

from ..flow_state import Done
from ..pure.normalizer import missing_end
from ..stream import NormalizedStream
from ._error import error_event
from ._last_event import without_error

_TAIL_BYTES = 4


class Frames:
    """The bytes of *stream*, and an error event where it did not end well.

    An async iterator. A fault is not raised, whatever the source raised that it was made of:
    ``stream.fault`` and its ``__cause__`` tell. What is raised is a `TypeError` where the source
    gave what is neither bytes, text nor a chunk.
    """

    def __init__(
        self, stream: NormalizedStream, *, heartbeat: float | None = None, done: Done = "always"
    ) -> None:
        self._stream = stream
        self._frames = stream.sse(heartbeat=heartbeat, done=done)
        self._done: Done = done
        self._tail = b""
        self._is_over = False

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    @property
    def is_at_line_end(self) -> bool:
        """A comment may follow what has come out so far."""
        return not self._tail or self._tail.endswith(b"\n")

    async def __anext__(self) -> bytes:
        if self._is_over:
            raise StopAsyncIteration
        out = b""
        try:
            out = await anext(self._frames)
            # After a fault nothing is read any more: what is left is there already.
            while self._stream.fault is not None:
                out += await anext(self._frames)
        except StopAsyncIteration:
            self._is_over = True
        except Exception:
            if self._stream.fault is None:
                raise
            self._is_over = True
        if self._is_over:
            out = self._with_error(out)
            if not out:
                raise StopAsyncIteration
        self._tail = (self._tail + out[-_TAIL_BYTES:])[-_TAIL_BYTES:]
        return out

    def _with_error(self, out: bytes) -> bytes:
        fault = self._stream.fault
        if fault is None:
            return out
        out = without_error(out, fault)
        end = (self._tail + out[-_TAIL_BYTES:])[-_TAIL_BYTES:]
        # Of whole events only a comment can lack its blank line, and it needs none.
        out += missing_end(end, is_lines=self._done == "always")
        return out + error_event(fault)

    async def aclose(self) -> None:
        """Close the stream."""
        self._is_over = True
        await self._frames.aclose()
