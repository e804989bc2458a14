"""An engine for streams that have to come out whole, whatever is wrong with them."""

from __future__ import annotations

from typing import Any, Final

from .._engine import DecoderEngine, Engine, NormalizerEngine
from ..options import Options

# What is not said of a stream but of our own limits: nobody else could say it.
OWN_KINDS: Final = frozenset(("too_large", "first_chunk_timeout", "idle_timeout", "total_timeout"))

# What every chunk of a chat completion has, and hardly anything else has both of.
_CHAT_KEYS: Final = (b'"choices"', b'"delta"')


class PassingEngine:
    """An engine module whose normaliser passes bytes on behind a fault.

    Bytes are edited as ever up to a fault; those behind it come out as they came in.

    Args:
        module: The engine that does the work.
        is_told: The fault is told once the stream has ended. Else it is told only where a
            chat completion was seen, and then at once, as by any engine: other streams (of
            events of a tool server, of images, of speech) do not end as those do.
    """

    def __init__(self, module: Engine, *, is_told: bool) -> None:
        self.NAME = module.NAME
        self._module = module
        self._is_told = is_told
        self._made: _Passing | None = None

    def normalizer(self, options: Options, output: Any) -> NormalizerEngine:
        """A new engine for one stream."""
        self._made = _Passing(self._module.normalizer(options, output), is_told=self._is_told)
        return self._made

    def decoder(
        self, max_line: int | None, max_event: int | None, flush_tail: bool
    ) -> DecoderEngine:
        """A new event stream decoder."""
        return self._module.decoder(max_line, max_event, flush_tail)

    @property
    def is_chat(self) -> bool:
        """Whether a chat completion was seen, of which faults are told at once."""
        return self._made is not None and not self._is_told and self._made.is_chat


class _Passing:
    """One stream's engine, fed with one line at a time: a fault then ends with its line."""

    def __init__(self, engine: NormalizerEngine, *, is_told: bool) -> None:
        self._engine = engine
        self._is_told = is_told
        self._is_raw = False
        self._is_closed = False
        # An event of a chat completion came out.
        self.is_chat: bool = False
        # What went in and has not come out. Needed only until the first document: an input
        # that is no event stream at all is refused before that, and then nothing comes out.
        self._held: bytes | None = b""

    @property
    def fault(self) -> tuple[Any, ...] | None:
        """Facts of the fault, as soon as it is told."""
        facts = self._engine.fault
        if facts is None or facts[0] in OWN_KINDS:
            return facts
        if self._is_told or self._is_raw:
            return facts if self._is_told and self._is_closed else None
        return facts if self.is_chat else None

    @property
    def done(self) -> bool:
        """The mark that ends the stream was seen."""
        return self._engine.done and not self._is_raw

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

    def counts(self) -> dict[str, Any]:
        """The counters of the report."""
        return self._engine.counts()

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
        self._look_at(out)
        if self._held and self._is_refused:
            out += self._held[len(out) :]
        return out

    @property
    def _is_refused(self) -> bool:
        facts = self._engine.fault
        return facts is not None and facts[0] == "not_sse"

    def _line(self, line: bytes) -> bytes:
        out: bytes = self._engine.feed(line)
        self._look_at(out)
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

    def _look_at(self, out: bytes) -> None:
        # (Each event is put out whole, with its last line.)
        if out and not self.is_chat:
            self.is_chat = all(key in out for key in _CHAT_KEYS)
