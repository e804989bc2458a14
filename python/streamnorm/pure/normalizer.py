"""The reference engine: bytes in, normalised bytes or chunks out."""

from __future__ import annotations

from typing import Any

from .._json import loads
from ..dialects import DONE_MARK
from ..options import Options
from .blocks import Block
from .decide import decide, is_done, is_said
from .documents import Documents, FaultFacts, Output, counts_of
from .events import HEAD_BYTES, Framer, Item
from .sniff import is_binary


class Normalizer:
    """The whole engine for one stream.

    Attributes:
        fault: Facts of the fault that ended the stream, None while it is well.
        done: The mark that ends the stream (``[DONE]``) was seen, or went out (`_is_framed`).
    """

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

    def feed(self, data: bytes) -> Any:
        """Take the next bytes; return what they completed, as bytes or a list of chunks."""
        if self._waiting is not None:
            return self._end_of_wait(data) if data else b""
        if self.fault is not None:
            return self._taken()
        if self.done:
            return data if self._output == "sse" else []
        self._take(self._framer.feed(data))
        return self._taken()

    def close(self, failed: bool = False) -> Any:
        """End the stream; return what was still held, and set `fault` if it ended badly.

        Args:
            failed: The input broke off: a ``finish_reason`` that is held does not go out.
        """
        if self._closed:
            return self._taken()
        self._closed = True
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

    def _end_of_wait(self, data: bytes) -> bytes:
        self.fault, self._waiting = self._waiting, None
        return b"\n" if data.startswith(b"\n") else b""

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
        joined = b"".join(out)
        self._end = (self._end + joined)[-4:]
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
            self._decide(block, kind, values)
        self.done = is_end or self.documents.ends

    def _decide(self, block: Block, kind: str, values: list[bytes]) -> None:
        documents = self.documents
        malformed, is_first = documents.malformed, documents.count == 0
        stray = block.stray if block.has_error and kind not in ("stray", "error") else []
        made, fault = decide(documents, kind, values, self._output, stray)
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
        first, documents.before = documents.before, []
        if fault is not None or kind == "last" or is_half:
            self._flush(is_end=kind == "last" and fault is None)
        if not self._is_framed:
            self._out += [self._event(document) for document in first]
        if self._output == "dict":
            self._out += made
        elif kind in ("stray", "error"):
            self._verbatim(block)
        elif self._is_framed:
            self._frame(block, first + made)
        else:
            self._out += replaced(block, made)
        self.fault = fault


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
