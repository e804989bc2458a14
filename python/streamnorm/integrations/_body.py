"""The body of one response, pushed through a `Flow`: held back, released, ended. No I/O."""

from __future__ import annotations

from time import monotonic
from typing import Final, NamedTuple

from .._engine import Engine
from ..faults import StreamFault
from ..flow import Flow
from ..flow_state import Done
from ..options import OptionsDict
from ..pure.events import BOM
from ..pure.normalizer import missing_end
from ..stream import HEARTBEAT
from ..timeouts import check_positive
from ..whole_events import begins_json
from ._error import error_bytes, error_event
from ._first_event import FirstEvent
from ._last_event import without_error

_TAIL_BYTES: Final = 4


class Peek(NamedTuple):
    """How long a body is held back; see `streamnorm.NormalizedStream.peek`."""

    reasoning: bool
    max_bytes: int
    timeout: float | None

    def check(self) -> None:
        """Check what a caller gave.

        Raises:
            TypeError: A value of a wrong type.
            ValueError: A limit that is not above zero.
        """
        if not isinstance(self.reasoning, bool):
            raise TypeError(f"peek_reasoning must be a bool, not {type(self.reasoning).__name__}")
        if not isinstance(self.max_bytes, int) or isinstance(self.max_bytes, bool):
            raise TypeError(f"peek_bytes must be an int, not {type(self.max_bytes).__name__}")
        if self.max_bytes < 1:
            raise ValueError(f"peek_bytes must be at least 1, not {self.max_bytes}")
        check_positive("peek_timeout", self.timeout)


class Body:
    """One body, on its way to a client.

    It is held back until something visible came, or a limit of *peek* is reached. A fault
    that is found while it is held leaves it so: nothing of it may go out any more.

    Args:
        options: Of the normaliser.
        peek: How long it is held.
        done: See `streamnorm.NormalizedStream.sse`.
        is_lines: It was announced as lines of JSON, not as an event stream.
        is_chat: It was asked for as a chat completion. Of others the first event tells (see
            `_first_event`): a stream of another sort passes as it is.
        engine: The engine; None for the default.

    Attributes:
        is_held: Nothing may go out yet.
        is_other: It is a stream of another sort.
    """

    def __init__(
        self,
        options: OptionsDict,
        peek: Peek,
        done: Done,
        *,
        is_lines: bool,
        is_chat: bool = True,
        engine: Engine | None = None,
    ) -> None:
        self.is_held: bool = True
        self.is_other: bool = False
        self._flow = Flow(
            engine=engine, options=options, collect=False, limits=None, error_factory=None
        )
        self._peek = peek
        self._done: Done = "as_sent" if is_lines else done
        self._is_lines = is_lines
        self._began = monotonic()
        self._is_fed = False
        # As long as the stream may be either: until then the flow gets nothing.
        self._first = None if is_chat else FirstEvent(options, is_lines=is_lines, engine=engine)
        # What went out last of the body, and whether a comment went out before it began.
        self._tail = b""
        self._is_json: bool | None = None
        self._has_beaten = False

    @property
    def fault(self) -> StreamFault | None:
        """The fault that ended the stream; what follows it in the body is not looked at."""
        return self._flow.fault

    @property
    def is_untouched(self) -> bool:
        """No byte was taken."""
        return not self._is_fed

    @property
    def held_for(self) -> float | None:
        """Seconds for which it may be held yet, None for ever."""
        timeout = self._peek.timeout
        return None if timeout is None else self._began + timeout - monotonic()

    def take(self, data: bytes | bytearray | memoryview) -> bytes:
        """Take the next bytes of the body; return what can go out."""
        self._is_fed = True
        if self.is_other:
            return bytes(data)
        first = self._first
        if first is None:
            return self._settled(self._flow.take(data))
        is_chat = first.feed(bytes(data))
        if is_chat is not None:
            return self._decided(first, is_chat=is_chat)
        if self.is_held and not self._is_enough(first.size):
            return b""
        return self.release()

    def end(self) -> bytes:
        """The body is over; return what can go out."""
        out, first = b"", self._first
        if first is not None:
            # Without any event it is taken for a chat completion, one that failed.
            out = self._decided(first, is_chat=first.close() is not False)
        if self.is_other or self.fault is not None:
            return out
        return out + self._settled(self._flow.finish(None))

    def fail(self, error: Exception) -> bytes:
        """Reading the body raised *error*, an upstream's failure; return what can go out.

        A stream of another sort is left as it is, and so is one that had ended well.
        """
        out, first = b"", self._first
        if first is not None:
            out = self._decided(first, is_chat=True)
        if self.is_other or self.fault is not None:
            return out
        return out + self._settled(self._flow.finish(error))

    def release(self) -> bytes:
        """Hold the body back no longer; return what can go out."""
        if self.is_held:
            self.is_held = False
            ready = b"".join(self._flow.choose("sse", (), self._done))
            if self._first is None:
                return self._sent(ready)
        return self._sent(b"" if self._first is None else self._first.idle())

    def heartbeat(self) -> bytes:
        """A comment; nothing inside of a line, in JSON, and in a stream of another sort."""
        if self.is_other or self._is_lines or self._is_json:
            return b""
        if self._tail and not self._tail.endswith(b"\n"):  # (A CR may be half of a line end.)
            return b""
        self._has_beaten = True
        return HEARTBEAT

    def _decided(self, first: FirstEvent, *, is_chat: bool) -> bytes:
        """It is known now what the stream is; return what can go out."""
        raw, self._first = bytes(first.raw), None
        if is_chat:
            return self._settled(self._flow.take(raw))
        self.is_other, self.is_held = True, False
        self._flow.leave()
        return self._sent(raw)

    def _settled(self, out: bytes | None) -> bytes:
        if not self.is_held:
            return self._sent(out or b"")
        flow, peek = self._flow, self._peek
        if flow.is_visible(reasoning=peek.reasoning):
            return self.release()
        is_enough = flow.is_over or self._is_enough(flow.size)
        return self.release() if is_enough and flow.fault is None else b""

    def _is_enough(self, size: int) -> bool:
        left = self.held_for
        return size >= self._peek.max_bytes or (left is not None and left <= 0)

    def _sent(self, out: bytes) -> bytes:
        if not self._tail and self._has_beaten:
            out = out.removeprefix(BOM)  # behind a comment it would be a part of a name
        fault = self._flow.fault
        if fault is not None:
            out = self._with_error(without_error(out, fault), fault)
        elif self._is_json is None:
            self._is_json = begins_json(out)
        self._tail = (self._tail + out[-_TAIL_BYTES:])[-_TAIL_BYTES:]
        return out

    def _with_error(self, out: bytes, fault: StreamFault) -> bytes:
        end = (self._tail + out[-_TAIL_BYTES:])[-_TAIL_BYTES:]
        # Of whole events only a comment can lack its blank line, and it needs none.
        out += missing_end(end, is_lines=self._is_lines or self._done == "always")
        return out + (error_bytes(fault) + b"\n" if self._is_lines else error_event(fault))
