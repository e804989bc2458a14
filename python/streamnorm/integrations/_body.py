"""The body of one response, pushed through a `Flow`: held back, released, ended. No I/O."""

from __future__ import annotations

from time import monotonic
from typing import Final, NamedTuple

from .. import faults
from .._engine import Engine
from ..faults import StreamFault
from ..flow import Done, Flow
from ..options import OptionsDict
from ..pure.events import BOM
from ..pure.normalizer import missing_end
from ..stream import HEARTBEAT
from ..timeouts import check_positive
from ..whole_events import begins_json
from ._error import error_bytes, error_event
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
        is_chat: It was asked for as a chat completion. Of others the first event tells: a
            stream that begins with one of another sort passes as it is.
        engine: The engine; None for the default.

    Attributes:
        is_held: Nothing may go out yet.
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
        self._flow = Flow(
            engine=engine, options=options, collect=False, limits=None, error_factory=None
        )
        self._peek = peek
        self._done: Done = "as_sent" if is_lines else done
        self._is_lines = is_lines
        self._began = monotonic()
        self._is_fed = False
        self._is_chat = is_chat
        self._is_other = False
        self._raw: list[bytes] = []  # as it came, as long as either is possible
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
        if self._is_other:
            return bytes(data)
        flow = self._flow
        out = flow.take(data)
        if not self._is_chat and self.is_held:
            self._raw.append(bytes(data))
            self._is_chat = flow.fault is not None or any("choices" in chunk for chunk in out or ())
            if out and not self._is_chat:
                return self._let_go()
        return self._settled(out)

    def _let_go(self) -> bytes:
        """It is some other stream (of events of a tool server, of a browser's)."""
        self._is_other, self.is_held = True, False
        self._flow.leave()
        return b"".join(self._raw)

    def end(self) -> bytes:
        """The body is over; return what can go out."""
        return b"" if self._is_other else self._settled(self._flow.finish(None))

    def fail(self, error: Exception) -> bytes:
        """Reading the body raised *error*; return what can go out.

        Nothing happens where *error* says nothing of an upstream: then there is no fault.
        """
        if self._is_other or faults.recognise(error) is None:
            return b""
        return self._settled(self._flow.finish(error))

    def release(self) -> bytes:
        """Hold the body back no longer; return what can go out."""
        self.is_held = False
        return self._sent(b"".join(self._flow.choose("sse", (), self._done)))

    def heartbeat(self) -> bytes:
        """A comment, or nothing where none may stand: inside of an event, and in JSON."""
        # A CR may be half of a line end.
        if self._is_lines or self._is_json or (self._tail and not self._tail.endswith(b"\n")):
            return b""
        self._has_beaten = True
        return HEARTBEAT

    def _settled(self, out: bytes | None) -> bytes:
        if not self.is_held:
            return self._sent(out or b"")
        flow, peek = self._flow, self._peek
        if flow.is_visible(reasoning=peek.reasoning):
            return self.release()
        left = self.held_for
        is_enough = flow.is_over or flow.size >= peek.max_bytes or (left is not None and left <= 0)
        return self.release() if is_enough and flow.fault is None else b""

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
