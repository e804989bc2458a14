"""Engines for streams that have to come out whole, whatever is wrong with them.

`PassingEngine` makes them: `_Passing` for a client that is told of no fault, and `_Watching`
for a stream that may be of another kind than chat completions.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from .._engine import Collects, DecoderEngine, Engine, NormalizerEngine
from ..dialects import DONE_MARK
from ..options import Options
from ..pure.events import BOM
from ._kinds import is_chunk, may_hold_chunk

# What is not said of a stream but of our own limits: nobody else could say it.
OWN_KINDS: Final = frozenset(("too_large", "first_chunk_timeout", "idle_timeout", "total_timeout"))

_LINE_ENDS: Final = (b"\n", b"\r")
_BLANK_LINES: Final = (b"\n\n", b"\r\n\r\n")


class PassingEngine:
    """An engine module whose normaliser passes on what is not to be judged.

    Args:
        module: The engine that does the work.
        is_told: Faults are told once the stream has ended, and bytes behind one come out as
            they came in. Else faults are told at once, as by any engine.
        is_chat: It is a chat completion. Else it is one from the first chunk of one on:
            other streams (of events of a tool server, of images, of speech) do not end as
            those do, and what comes before that chunk passes to the byte, and is no fault.
    """

    def __init__(self, module: Engine, *, is_told: bool, is_chat: bool) -> None:
        self.NAME = module.NAME
        # What comes out is not always what the engine put out.
        self.COLLECTS: bool = False
        self._module = module
        self._is_told = is_told
        self._is_chat = is_chat
        self._made: _Watching | None = None

    def normalizer(
        self,
        options: Options,
        output: Any,
        collector: Collects | None = None,  # noqa: ARG002 - see COLLECTS
        clock: Callable[[], float] | None = None,  # noqa: ARG002
    ) -> NormalizerEngine:
        """A new engine for one stream."""
        engine = self._module.normalizer(options, output)
        if self._is_told:
            engine = _Passing(engine)
        if not self._is_chat:
            engine = self._made = _Watching(engine, options.max_event_bytes)
        return engine

    def decoder(
        self, max_line: int | None, max_event: int | None, flush_tail: bool
    ) -> DecoderEngine:
        """A new event stream decoder."""
        return self._module.decoder(max_line, max_event, flush_tail)

    @property
    def is_chat(self) -> bool:
        """Whether it is a chat completion of which faults are told at once."""
        is_chat = self._is_chat or (self._made is not None and self._made.is_chat)
        return is_chat and not self._is_told


class _Around:
    """What is asked of a stream's engine, passed on."""

    def __init__(self, engine: NormalizerEngine) -> None:
        self._engine = engine

    @property
    def events(self) -> int:
        """JSON objects seen."""
        return self._engine.events

    @property
    def visible(self) -> bool:
        """Answer text or a tool call has come out."""
        return self._engine.visible

    @property
    def reasoning(self) -> bool:
        """Reasoning text has come out."""
        return self._engine.reasoning

    @property
    def fault(self) -> tuple[Any, ...] | None:
        """Facts of the fault, as soon as it is told."""
        return self._engine.fault

    @property
    def done(self) -> bool:
        """The mark that ends the stream was seen."""
        return self._engine.done

    @property
    def pulse(self) -> int:
        """See `NormalizerEngine.pulse`."""
        is_over = self.done or self.fault is not None
        return self._engine.pulse & ~1 | is_over

    def hand_in(self) -> None:
        """Do nothing: it collects nothing."""

    def counts(self) -> dict[str, Any]:
        """The counters of the report."""
        return self._engine.counts()


class _Passing(_Around):
    """One stream's engine, fed with one line at a time: a fault then ends with its line."""

    def __init__(self, engine: NormalizerEngine) -> None:
        super().__init__(engine)
        self._is_raw = False
        self._is_closed = False
        # What went in and has not come out. Needed only until the first document: an input
        # that is no event stream at all is refused before that, and then nothing comes out.
        self._held: bytes | None = b""

    @property
    def fault(self) -> tuple[Any, ...] | None:
        """Facts of the fault, as soon as it is told."""
        facts = self._engine.fault
        if facts is None or facts[0] in OWN_KINDS or self._is_closed:
            return facts
        return None

    @property
    def done(self) -> bool:
        """The mark that ends the stream was seen."""
        return self._engine.done and not self._is_raw

    def feed(self, data: bytes) -> bytes:
        """Take the next bytes."""
        if self._is_raw:
            return data
        out = []
        lines = data.splitlines(keepends=True)  # at LF, CR and CRLF, as events have them
        for n, line in enumerate(lines):
            out.append(self._line(line))
            if self._engine.fault is not None and self.fault is None:
                self._is_raw = True
                out += lines[n + 1 :]
                break
        return b"".join(out)

    def close(self, failed: bool = False) -> bytes:
        """End the stream."""
        self._is_closed = True
        out: bytes = self._engine.close(failed)
        if self._held and self._is_refused:
            out += self._held[len(out) :]
        return out

    @property
    def _is_refused(self) -> bool:
        facts = self._engine.fault
        return facts is not None and facts[0] == "not_sse"

    def _line(self, line: bytes) -> bytes:
        out: bytes = self._engine.feed(line) or b""
        if self._engine.fault is not None and self.fault is None:
            if self._is_refused and self._held is not None:
                out, self._held = (self._held + line), None
            elif not out:
                # It ended with the line before, a CR that might have been half of a CRLF.
                out = line
        elif self._engine.events:
            self._held = None
        elif self._held is not None:
            self._held = (self._held + line)[len(out) :]
        return out


class _Watching(_Around):
    """One stream's engine, which gets nothing before the first chunk of a chat completion.

    What comes before it is cut into events, as far as it takes to find it, and passes: an
    event that began is held until it is whole, or larger than *limit*.
    """

    def __init__(self, engine: NormalizerEngine, limit: int | None) -> None:
        super().__init__(engine)
        self._limit = limit
        # A chunk of a chat completion came.
        self.is_chat: bool = False
        self._is_raw = False  # nothing is looked for any more: the mark of an end came
        self._held: list[bytes] = []  # whole lines of an event, from its first field on
        self._line: list[bytes] = []  # pieces of a line that is not whole yet
        self._size = 0  # of both
        self._ends_with_cr = False  # with what may be half of a CRLF
        self._is_large = False  # the rest of an event above the limit
        self._is_in_line = False  # inside of a line of that one

    @property
    def fault(self) -> tuple[Any, ...] | None:
        """Facts of the fault, as soon as it is told."""
        return self._engine.fault if self.is_chat else None

    @property
    def done(self) -> bool:
        """The mark that ends a chat completion was seen."""
        return self.is_chat and self._engine.done

    def feed(self, data: bytes) -> bytes:
        """Take the next bytes."""
        if self.is_chat:
            fed: bytes = self._engine.feed(data) or b""
            return fed
        if self._is_raw or not data or self._is_plain(data):
            return data
        out: list[bytes] = []
        lines = data.splitlines(keepends=True)
        for n, line in enumerate(lines):
            self._take(line, out)
            rest = lines[n + 1 :]
            if self._is_raw:
                out += rest
                break
            if self.is_chat:
                out.append(self._engine.feed(b"".join(rest)) or b"")
                break
        return b"".join(out)

    def close(self, failed: bool = False) -> bytes:
        """End the stream."""
        out: list[bytes] = []
        if not self.is_chat:
            self._end(b"".join(self._line), out)
        if self.is_chat:
            out.append(self._engine.close(failed))
        return b"".join(out)

    def _is_plain(self, data: bytes) -> bool:
        """Whether *data* is nothing but whole events, none of which has to be looked at."""
        if self._held or self._line or self._is_large or not data.endswith(_BLANK_LINES):
            return False
        if may_hold_chunk(data) or DONE_MARK in data:
            return False
        self._ends_with_cr = False
        return True

    def _take(self, line: bytes, out: list[bytes]) -> None:
        """Take a line with its end, or a piece of one."""
        if self._ends_with_cr and line == b"\n":
            self._ends_with_cr = False
            (self._held or out).append(line)
            return
        self._ends_with_cr = line.endswith(b"\r")
        is_whole = line.endswith(_LINE_ENDS)
        if self._is_large:
            is_blank = line in (b"\n", b"\r", b"\r\n") and not self._is_in_line
            self._is_large, self._is_in_line = not is_blank, not is_whole
            out.append(line)
            return
        self._size += len(line)
        self._line.append(line)
        if is_whole:
            self._take_whole(b"".join(self._line), out)
        if self._limit is not None and self._size > self._limit:
            self._is_large, self._is_in_line = True, not is_whole
            out += self._held
            out += self._line
            self._clear()

    def _take_whole(self, line: bytes, out: list[bytes]) -> None:
        self._line.clear()
        text = line.rstrip(b"\r\n")
        if not text or (not self._held and text.startswith(b"{")):
            self._end(line, out)
        elif not self._held and text.startswith(b":"):
            out.append(line)  # a comment, of no event
            self._clear()
        else:
            self._held.append(line)

    def _end(self, line: bytes, out: list[bytes]) -> None:
        """An event ends with *line*."""
        event = b"".join((*self._held, line))
        self._clear()
        if may_hold_chunk(event) and is_chunk(_data(event)):
            self.is_chat = True
            out.append(self._engine.feed(event) or b"")
            return
        self._is_raw = DONE_MARK in event and _data(event).strip() == DONE_MARK
        out.append(event)

    def _clear(self) -> None:
        self._held.clear()
        self._line.clear()
        self._size = 0


def _data(event: bytes) -> bytes:
    """The data of an event, or a line of JSON where it is one."""
    lines = event.removeprefix(BOM).splitlines()
    if lines and lines[0].startswith(b"{"):
        return lines[0]
    names = (line.partition(b":") for line in lines)
    return b"\n".join(value.removeprefix(b" ") for name, _, value in names if name == b"data")
