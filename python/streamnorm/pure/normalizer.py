"""The reference engine: bytes in, normalised bytes or chunks out."""

from __future__ import annotations

from typing import Any

from ..options import Options
from .documents import Documents, FaultFacts, Output, counts_of, decide, is_done, is_said
from .events import Block, Framer, Item


class Normalizer:
    """The whole engine for one stream.

    Attributes:
        fault: Facts of the fault that ended the stream, None while it is well.
        done: The mark that ends the stream (``[DONE]``) was seen.
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

    def close(self) -> Any:
        """End the stream; return what was still held, and set `fault` if it ended badly."""
        if self._closed:
            return self._taken()
        self._closed = True
        if self._waiting is not None:
            self._end_of_wait(b"")
        if self.fault is None and not self.done:
            self._take(self._framer.close(flush=True))
        if self.fault is None:
            if self.documents.count == 0 and not self._has_passed_malformed():
                self.fault = self._nothing()
            elif not self.done and not self.documents.complete:
                self.fault = ("truncated",)
        return self._taken()

    def _wait(self) -> None:
        if self._output == "sse" and self._framer.ends_with_cr and not self._closed:
            self.fault, self._waiting = None, self.fault

    def _end_of_wait(self, data: bytes) -> bytes:
        self.fault, self._waiting = self._waiting, None
        return b"\n" if data.startswith(b"\n") else b""

    def _nothing(self) -> FaultFacts:
        if self._framer.saw_unknown and not self.done:
            return ("not_sse", self._framer.head)
        return ("empty", self.done, self.documents.malformed)

    def _has_passed_malformed(self) -> bool:
        # Byte output passes them; in chunk output nothing has come out.
        return self._output == "sse" and self.documents.malformed > 0

    def _taken(self) -> Any:
        out, self._out = self._out, []
        return b"".join(out) if self._output == "sse" else out

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
            self.fault = ("too_large", *self._framer.fault)

    def _verbatim(self, item: Item) -> None:
        if self._output == "sse":
            self._out += item.lines if isinstance(item, Block) else [item]

    def _block(self, block: Block) -> None:
        values = block.values
        if block.kind == "stray":
            self._verbatim(block)
            self.fault = decide(self.documents, "stray", block.stray, self._output)[1]
        elif block.event == b"error" and is_said(values):
            self._verbatim(block)
            self.fault = decide(self.documents, "error", values, self._output)[1]
        elif is_done(values[0]) or not is_said(values):
            self._verbatim(block)
        else:
            is_cut_off = self._closed and block.kind != "body"
            kind = "tail" if is_cut_off else "event"
            made, self.fault = decide(self.documents, kind, values, self._output)
            if self.documents.complete and self.fault is not None and self.fault[0] == "truncated":
                self.fault = None
            self._out += replaced(block, made) if self._output == "sse" else made
        self.done = any(is_done(value) for value in values)


def replaced(block: Block, values: list[bytes]) -> list[bytes]:
    """The raw pieces of a block with its values replaced."""
    lines = block.lines
    for (at, offset), old, new in zip(block.spots, block.values, values, strict=True):
        if new is not old:
            line = lines[at]
            lines[at] = line[:offset] + new + line[offset + len(old) :]
    return lines
