"""The reference engine: bytes in, normalised bytes or chunks out."""

from __future__ import annotations

from typing import Any, Final

from .._json import loads
from ..dialects import DONE_MARK
from ..options import Options
from .blocks import Block
from .decide import decide, is_done, is_said
from .documents import Documents, FaultFacts, Output, counts_of
from .events import HEAD_BYTES, Framer, Item
from .sniff import is_binary
from .template import Templates

# What is looked for the end of an event. A larger one is no matter of the time around it.
_NEAR: Final = 64 * 1024
# Events of one read that no template fits, after which the rest of it is framed at once.
_MISSES: Final = 8
_BLANKS: Final = frozenset((b"\n\n", b"\r\n\r\n"))
_LF, _CR, _COLON = b"\n\r:"


class Normalizer:
    """The whole engine for one stream.

    Attributes:
        fault: Facts of the fault that ended the stream, None while it is well.
        done: The mark that ends the stream (``[DONE]``) was seen, or went out (`_is_framed`).
    """

    __slots__ = (
        "_closed", "_end", "_framer", "_is_framed", "_out", "_output", "_templates", "_waiting",
        "_walks", "documents", "done", "fault",
    )  # fmt: skip

    def __init__(self, options: Options, output: Output) -> None:
        self.documents: Documents = Documents(options)
        self._output: Output = output
        self._framer = Framer(
            options.max_line_bytes,
            options.max_event_bytes,
            keep_raw=output == "sse",
            sniff=True,
        )
        self.done: bool = False
        self._closed = False
        self.fault: FaultFacts | None = None
        # Byte output: a fault whose event ended with a CR that was the last byte of its
        # read. It waits for the next byte, since an LF there still belongs to the event.
        self._waiting: FaultFacts | None = None
        self._out: list[Any] = []
        # The end of what was put out: an event of our own needs a blank line before it.
        self._end: bytes = b""
        # The body was one whole completion: byte output makes an event stream of it.
        self._is_framed = False
        self.documents.is_noted = True
        self._templates = Templates(self.documents, options, output)
        # The next bytes begin an event, or go on with its first line: they are taken event by
        # event, so that templates can be tried on the bytes as they come.
        self._walks = True

    def feed(self, data: bytes) -> Any:
        """Take the next bytes; return what they completed, as bytes or a list of chunks.

        None, where that is nothing and there is a fault.
        """
        framer = self._framer
        # Most reads that are small end in the line in which they begin.
        if len(data) < framer.room and _LF not in data and _CR not in data:
            framer.room -= len(data)
            framer.held += data
            return [] if self._output == "dict" else b""
        if not self._walks:
            self._feed(data)
        elif framer.held:
            data = b"".join((framer.held, data))
            framer.held.clear()
            framer.room = 0
            self._walk(data, self._templates.run(data, 0, self._out))
        else:
            at = self._templates.run(data, 0, self._out)
            if at < len(data):
                self._walk(data, at)
        out = self._taken()
        return None if self.fault is not None and not out else out

    def hand_in(self) -> None:
        """Give the collector what waits for it: nothing, see `engine.COLLECTS`."""

    @property
    def pulse(self) -> int:
        """``events << 3 | visible << 2 | reasoning << 1 | over``; over: a fault or the end."""
        documents = self.documents
        flags = documents.visible << 2 | documents.rules.reasoning_seen << 1
        return documents.count << 3 | flags | (self.fault is not None or self.done)

    def _feed(self, data: bytes) -> None:
        """Take the next bytes all at once."""
        if self._waiting is not None:
            if data:
                self._end_of_wait(data)
        elif self.fault is not None:
            pass
        elif self.done:
            if self._output == "sse":
                self._out.append(data)
        else:
            self._take(self._framer.feed(data))
            if self.fault is not None or self.done:
                self._framer.room = 0  # a small read behind the end is no part of a line
        self._walks = self._may_walk()

    def _may_walk(self) -> bool:
        if self.done or self.fault is not None or self._waiting is not None or self._closed:
            return False
        return self._framer.is_between

    def _walk(self, data: bytes, at: int) -> None:
        """Take the next bytes event by event; up to *at* templates have taken them."""
        framer, templates = self._framer, self._templates
        misses, taken = 0, templates.taken
        while self._walks and at < len(data):
            end = self._event_end(data, at)
            if end < 0 or misses > _MISSES + templates.taken - taken:
                break
            if templates.taken and data[at] == _COLON and self._is_comment(data, at, end):
                if self._output == "sse":
                    self._out.append(data[at:end])
            else:
                misses += 1
                self._take(framer.feed(data[at:end]))
                self._walks = self._may_walk()
            at = templates.run(data, end, self._out) if self._walks else end
        if at == len(data):
            return
        rest = data[at:]
        if _LF in rest or _CR in rest or not self._walks or not framer.hold(rest):
            self._feed(rest)

    def _event_end(self, data: bytes, at: int) -> int:
        """Where the event ends that begins at *at*; -1 where that is not near."""
        templates, near = self._templates, at + _NEAR
        end = data.find(templates.blank, at, near)
        if end < 0:
            [other] = _BLANKS - {templates.blank}
            end = data.find(other, at, near)
            if end < 0:
                return -1
            templates.forget(other)
        return end + len(templates.blank)

    def _is_comment(self, data: bytes, at: int, end: int) -> bool:
        """Whether an event that begins with a colon is a line of comment and nothing else."""
        end -= len(self._templates.blank)
        return data.find(b"\n", at, end) < 0 and data.find(b"\r", at, end) < 0

    def close(self, failed: bool = False) -> Any:
        """End the stream; return what was still held, and set `fault` if it ended badly.

        Args:
            failed: The input broke off: a ``finish_reason`` that is held does not go out.
        """
        if self._closed:
            return self._taken()
        self._closed, self._walks = True, False
        if self._waiting is not None:
            self._end_of_wait(b"")
        if self.fault is None and not self.done:
            self._take(self._framer.close(flush=True))
            if self.fault is None and not self.done:
                self._flush(is_end=self.documents.complete and not failed, is_tail=True)
        if self.fault is None:
            if self.documents.count == 0 and not self._has_passed_malformed():
                self.fault = self._nothing()
            elif not self.done and not self.documents.complete:
                self.fault = ("truncated",)
            elif self._is_framed and not self.done and not failed:
                self._out.append(self._event(DONE_MARK))
                self.done = True
        return self._taken()

    def _flush(self, *, is_end: bool, is_tail: bool = False) -> None:
        """Put out what is held back, in a chunk of our own."""
        self._templates.settle()
        held = self.documents.flush(is_end=is_end)
        if not isinstance(held, bytes):
            return
        if self._output == "dict":
            self._out.append(loads(held))
            return
        if is_tail:
            end = (self._end + b"".join(self._out))[-4:]
            self._out.append(missing_end(end, is_lines=self._is_lines))
        self._out.append(self._event(held))

    def _event(self, document: bytes) -> bytes:
        """An event of our own."""
        return document + b"\n" if self._is_lines else b"data: " + document + b"\n\n"

    @property
    def _is_lines(self) -> bool:
        return self._framer.is_lines and not self._is_framed

    def _wait(self) -> None:
        if self._output == "sse" and self._framer.ends_with_cr and not self._closed:
            self.fault, self._waiting = None, self.fault

    def _end_of_wait(self, data: bytes) -> None:
        self.fault, self._waiting = self._waiting, None
        if data.startswith(b"\n"):
            self._out.append(b"\n")

    def _nothing(self) -> FaultFacts:
        if not self.done and (self._framer.saw_unknown or self._framer.is_garbage):
            return ("not_sse", self._framer.head)
        return ("empty", self.done, self.documents.malformed)

    def _has_passed_malformed(self) -> bool:
        # Byte output passes them; in chunk output nothing has come out.
        is_passed = self._output == "sse" and self.documents.malformed > 0
        return is_passed and not self._framer.is_garbage

    def _taken(self) -> Any:
        out, self._out = self._out, []
        if self._output == "dict":
            return out
        joined = out[0] if len(out) == 1 else b"".join(out)
        self._end = joined[-4:] if len(joined) > 3 else (self._end + joined)[-4:]
        return joined

    @property
    def events(self) -> int:
        """JSON objects seen."""
        return self.documents.count

    @property
    def visible(self) -> bool:
        """Whether answer text or a tool call has come out."""
        return self.documents.visible

    @property
    def reasoning(self) -> bool:
        """Whether reasoning text has come out."""
        return self.documents.rules.reasoning_seen

    def counts(self) -> dict[str, Any]:
        """See `documents.counts_of`."""
        self._templates.settle()
        return counts_of(self.documents)

    def _take(self, found: list[Item]) -> None:
        for item in found:
            if self.done:
                self._verbatim(item)
            elif isinstance(item, Block):
                self._block(item)
            else:
                self._out.append(item)
            if self.fault is not None:
                if item is found[-1]:
                    self._wait()
                return
        if self.done:
            if self._output == "sse":
                self._out.append(self._framer.drain())
        elif self._framer.fault is not None:
            self._flush(is_end=False)
            self.fault = ("too_large", *self._framer.fault)
        elif self._framer.refused is not None:
            self.fault = ("not_sse", self._framer.refused)

    def _verbatim(self, item: Item) -> None:
        if self._output != "sse":
            return
        if not isinstance(item, Block):
            self._out.append(item)
        elif self._is_framed and not self.done:
            self._frame(item, item.values)
        else:
            self._out += item.lines

    def _frame(self, block: Block, documents: list[bytes]) -> None:
        """Put out events for a line, or for the whole body; the line end stays behind them."""
        (at, offset), value = block.spots[0], block.values[0]
        self._out += [self._event(document.strip(b" \t\r\n")) for document in documents]
        self._out.append(block.lines[at][offset + len(value) :])

    def _block(self, block: Block) -> None:
        values = block.values
        is_end = any(is_done(value) for value in values)
        if block.kind == "stray" or (block.has_error and not is_said(values)):
            self._decide(block, "stray", block.stray)
        elif block.event == b"error" and is_said(values):
            self._decide(block, "error", values)
        elif is_done(values[0]):
            self._flush(is_end=True)
            self._verbatim(block)
        elif not is_said(values):
            self._verbatim(block)
        else:
            kind = "tail" if self._closed else "event"
            kind = "last" if is_end else "body" if block.kind == "body" else kind
            if kind != "event" or len(values) > 1 or block.has_error:
                self._decide(block, kind, values)
            elif not self._fits(block):
                self._decide_one(block)
        self.done = is_end or self.documents.ends

    def _fits(self, block: Block) -> bool:
        """Take an event of one line, if a template fits."""
        value = self._templates.one(block.values[0])
        if value is None:
            return False
        if self._output == "dict":
            self._out.append(value)
        else:
            self._out += replaced(block, [value])
        return True

    def _decide_one(self, block: Block) -> None:
        """Decide an event of one line, and learn from it."""
        templates, [value] = self._templates, block.values
        before = templates.snapshot()
        made = self._decide(block, "event", block.values)
        templates.refresh()
        if len(made) == 1 and self.fault is None:
            label = b"data:" if block.size == len(value) + len(b"data:") else b"data: "
            templates.learn(value, label, before, made[0])

    def _decide(self, block: Block, kind: str, values: list[bytes]) -> list[Any]:
        """Decide an event; return what has become of its documents, one for one."""
        self._templates.settle()
        documents = self.documents
        malformed, is_first = documents.malformed, documents.count == 0
        stray = block.stray if block.has_error and kind not in ("stray", "error") else []
        made, fault = decide(documents, kind, values, self._output, stray)
        if is_first and documents.count:
            self._framer.forget_head()
        # Clients raise at half an event and never see what comes behind it.
        is_half = kind == "tail" and documents.malformed > malformed
        if fault is not None and fault[0] == "truncated" and documents.complete:
            fault = None
        if fault is not None and fault[0] in ("corrupt", "truncated") and block.kind != "event":
            head = values[0][:HEAD_BYTES]
            if documents.count == 0 and is_binary(head):
                fault = ("not_sse", head)
        if self._output == "sse" and block.kind != "event" and is_first and documents.was_whole:
            self._is_framed = True
        first, documents.before = documents.before, ()
        if fault is not None or kind == "last" or is_half:
            self._flush(is_end=kind == "last" and fault is None)
        if not self._is_framed:
            self._out += [self._event(document) for document in first]
        if self._output == "dict":
            self._out += made
        elif kind in ("stray", "error"):
            self._verbatim(block)
        elif self._is_framed:
            self._frame(block, [*first, *made])
        else:
            self._out += replaced(block, made)
        self.fault = fault
        return made


def missing_end(end: bytes, *, is_lines: bool) -> bytes:
    """What the output lacks before an event of our own can follow it."""
    if not end or end.endswith((b"\n\n", b"\r\r", b"\r\n\r\n")):
        return b""
    if is_lines:
        return b"" if end.endswith((b"\n", b"\r")) else b"\n"
    return b"\n" if end.endswith(b"\n") else b"\n\n"


def replaced(block: Block, values: list[bytes]) -> list[bytes]:
    """The raw pieces of a block with its values replaced."""
    lines = block.lines
    for (at, offset), old, new in zip(block.spots, block.values, values, strict=True):
        if new is not old:
            line = lines[at]
            lines[at] = line[:offset] + new + line[offset + len(old) :]
    return lines
