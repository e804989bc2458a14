"""Lines to blocks: events of an event stream, objects of NDJSON, or one raw JSON body.

Source: https://html.spec.whatwg.org/multipage/server-sent-events.html#event-stream-interpretation
"""

from __future__ import annotations

import sys
from typing import Final, Literal

from .blocks import Block
from .lines import PEEK_BYTES, LineSplitter, content
from .sniff import MAGIC, is_balanced, is_binary

BOM: Final = b"\xef\xbb\xbf"
FIELDS: Final = frozenset((b"event", b"data", b"id", b"retry"))
_LONGEST_FIELD: Final = 5
_DATA: Final = b"data:"
# (To look for a number in bytes takes a tenth of the time that looking for a byte does.)
_LF, _CR, _COLON = b"\n\r:"
HEAD_BYTES: Final = 200
# So much of a line tells its field name.
HEAD_OF_LINE: Final = 9
# Not a field of the standard: some servers write a bare `error: {...}` line when they
# fail in the middle of a stream.
_ERROR_FIELD: Final = b"error"


# What stands for the head once nobody will ask for it.
_SEEN: Final = b" " * HEAD_BYTES
# Between two blocks: nothing is ever put into it.
_NONE: Final = Block()

Unit = Literal["line", "event"]


Item = bytes | Block


class Framer:
    """Splits a body into blocks; the result does not depend on where the reads are cut.

    Byte output (*keep_raw*) needs every byte: what belongs to no block comes out as
    ``bytes`` items, between the blocks, in order. Otherwise comments and unknown
    fields are dropped as they arrive and cost no memory. Without *sniff* the input is an
    event stream whatever it looks like; with it, JSON in its place is recognised.

    Attributes:
        fault: (what is too large, its limit) once a limit is passed; then nothing more
            comes out.
        refused: The first bytes of an input that can be no event stream, once they are
            known; then nothing comes out at all.
        last_event_id: As the standard keeps it: set when a block ends, whether or not it
            had data.
        retry: The last valid ``retry`` value, in milliseconds, as sent.
        head: The first bytes of the input, for the fault of one that is no event stream.
        saw_unknown: For it, too: a line was seen that is neither a field nor a comment.
        held: The unfinished line so far, as `LineSplitter.held`.
        room: The unfinished line is a ``data`` line: a read without a line end that is
            shorter than this can be added to `held`, and only taken off here. Otherwise 0.
    """

    __slots__ = (
        "_at_start", "_block", "_first", "_id", "_keep_raw", "_max_event", "_max_line", "_mode",
        "_out", "_saw_field", "_skipping", "_sniff", "_splitter", "_unread", "fault", "head",
        "held", "last_event_id", "refused", "retry", "room", "saw_unknown",
    )  # fmt: skip

    # What a read completes, as long as it is looked at. (Of many streams most wait.)
    _out: list[Item]

    def __init__(
        self, max_line: int | None, max_event: int | None, *, keep_raw: bool, sniff: bool
    ) -> None:
        self._splitter = LineSplitter()
        self.held: bytearray = self._splitter.held
        self.room: int = 0
        self._max_line = max_line
        self._max_event = max_event
        self._keep_raw = keep_raw
        self._block = _NONE
        # Undecided until the first byte that is not white space: an object or a list
        # cannot begin an event stream.
        # In "markup" (HTML, XML) nothing is read but the head.
        self._mode: Literal["undecided", "events", "ndjson", "body", "markup"] = (
            "undecided" if sniff else "events"
        )
        # Bytes with which a mark of `MAGIC` may begin; None once that is decided.
        self._first: bytes | None = b"" if sniff else None
        self.refused: bytes | None = None
        self._sniff = sniff
        self._at_start = True
        # The line being read is a comment or an unknown field: its bytes are not held.
        self._skipping = False
        self.fault: tuple[Unit, int] | None = None
        self.last_event_id: bytes = b""
        self._id: bytes | None = None
        self.retry: bytes | None = None
        self.head: bytes = b"" if sniff else _SEEN
        self.saw_unknown: bool = False
        self._saw_field = False
        # Lines of the read in which a limit was passed; see `drain`.
        self._unread = b""

    def feed(self, data: bytes) -> list[Item]:
        """Take the next bytes; return what they completed, in order."""
        if len(data) < self.room and _LF not in data and _CR not in data:
            self.room -= len(data)
            self.held += data
            return []
        if self.fault is not None or self.refused is not None:
            return []
        if len(self.head) < HEAD_BYTES:
            self.head += data[: HEAD_BYTES - len(self.head)]
        if self._first is not None:
            data = self._sniffed(self._first + data)
        if self._mode == "markup":
            self._refuse()
            return []
        return self._fed(data)

    def _sniffed(self, data: bytes) -> bytes:
        """The first bytes, as soon as it is known that they are not compressed."""
        self._first = None
        for mark in MAGIC:
            if data.startswith(mark):
                self.refused = mark
                return b""
            if mark.startswith(data):
                self._first = data
                return b""
        return data

    def _refuse(self) -> None:
        if len(self.head) == HEAD_BYTES:
            self.refused = self.head

    def forget_head(self) -> None:
        """Nobody will ask for the head: there was an event."""
        self.head = _SEEN

    def _fed(self, data: bytes) -> list[Item]:
        self._out = []
        self.room = 0
        late, lines = self._splitter.feed(data)
        if late:
            self._raw(late)
        for n, line in enumerate(lines):
            self._line(line)
            if self.fault is not None:
                self._unread = b"".join(lines[n:])
                return self._taken()
            if self._mode == "markup":
                break
        if self.held and self._mode != "markup":
            self._tail()
        if self._mode == "markup":
            self._splitter.take()
            self._refuse()
        return self._taken()

    def close(self, *, flush: bool) -> list[Item]:
        """End the input.

        Args:
            flush: Deliver a last block that has no blank line (providers close right
                after their last line); the standard discards it.
        """
        if self.fault is not None or self.refused is not None or not flush:
            return []
        if self._first:
            self._fed(self._first)
        self._out = []
        self.room = 0
        tail = self._splitter.take()
        if tail or self._skipping:
            self._line(tail)
        if self._mode == "markup":
            self.refused = self.head
        elif self.fault is None:
            self._dispatch()
        return self._taken()

    def drain(self) -> bytes:
        """Remove and return the bytes that are held of an unfinished block."""
        self.room = 0
        held = b"".join(self._block.lines) + self._unread + self._splitter.take()
        self._block = _NONE
        return held

    @property
    def is_garbage(self) -> bool:
        """Whether the input begins like no text, and no field was seen in it."""
        return not self._saw_field and is_binary(self.head)

    @property
    def is_lines(self) -> bool:
        """Whether the input is lines of JSON, not events."""
        return self._mode == "ndjson"

    @property
    def ends_with_cr(self) -> bool:
        """Whether nothing is held, and the last line end may yet turn out a CRLF."""
        return self._splitter.after_cr and self._block.size == 0

    def _taken(self) -> list[Item]:
        out = self._out
        del self._out
        return out

    def _line(self, line: bytes) -> None:
        if self._skipping:
            self._skipping = False
            self._raw(line)
            return
        text = content(line)
        if self._at_start:
            self._at_start = False
            text = text.removeprefix(BOM)
        head = text[:HEAD_OF_LINE]
        if self._is_indented(head):
            return
        if self._mode != "body" and self._counts(head) and self._is_over(head, len(text)):
            return
        if self._mode == "undecided":
            self._decide(text)
        if self._mode == "events":
            self._field(line, text)
        elif self._mode == "undecided":
            self._raw(line)
        elif self._mode != "markup":
            self._json_line(line, text)

    def _decide(self, text: bytes) -> None:
        start = text.lstrip(b" \t")[:1]
        if not start:
            return
        if start == b"[" or (start == b"{" and not is_balanced(text)):
            self._mode = "body"
            self._block = Block("body")
        elif start == b"<":
            self._mode = "markup"
        else:
            self._mode = "ndjson" if start == b"{" else "events"

    def _field(self, line: bytes, text: bytes) -> None:
        block = self._block
        if not text:
            begun = block.size > 0
            self._raw(line)
            if begun:
                self._dispatch()
            return
        if text[:1] == b":":
            self._raw(line)
            return
        if block is _NONE:
            block = self._block = Block()
        name, _, value = text.partition(b":")
        if value[:1] == b" ":
            value = value[1:]
        self._saw_field = self._saw_field or name in FIELDS
        if name == b"data":
            self._hold(line, len(text))
            block.values.append(value)
            if self._keep_raw:
                # The value ends where the text ends, so its offset follows from the
                # lengths even where a BOM precedes the name.
                block.spots.append((len(block.lines) - 1, len(content(line)) - len(value)))
        elif name in FIELDS:
            self._hold(line, len(text))
            self._control(name, value)
        elif self._is_stray(name, text):
            self._hold(line, len(text))
            block.has_error = block.has_error or name == _ERROR_FIELD
            block.stray.append(value if name == _ERROR_FIELD else text)
        else:
            self.saw_unknown = True
            self._raw(line)

    def _control(self, name: bytes, value: bytes) -> None:
        block = self._block
        if name == b"event":
            block.event = value
        elif name == b"id":
            if b"\0" not in value:
                block.id = self._id = value
        elif value.isdigit():
            block.retry = self.retry = value

    def _is_stray(self, name: bytes, text: bytes) -> bool:
        """Whether a line that is no field may be a raw JSON error, or go on with one."""
        block = self._block
        if not self._sniff or name == _ERROR_FIELD:
            return self._sniff
        if block.values:
            return block.has_error
        return text[:1] == b"{" or bool(block.stray)

    def _json_line(self, line: bytes, text: bytes) -> None:
        if self._mode == "body":
            self._hold(line, len(line))
            return
        if not text.strip(b" \t"):
            self._raw(line)
            return
        block = Block("json")
        block.lines.append(line)
        block.spots.append((0, len(content(line)) - len(text)))
        block.values.append(text)
        self._out.append(block)

    def _hold(self, line: bytes, size: int) -> None:
        block = self._block
        block.size += size
        if self._max_event is not None and block.size > self._max_event:
            self.fault = ("event", self._max_event)
        elif self._keep_raw or self._mode == "body":
            block.lines.append(line)

    def _raw(self, piece: bytes) -> None:
        """Pass on bytes that no rule will look at."""
        if self._mode == "body":
            self._hold(piece, len(piece))
        elif self._keep_raw and piece:
            if self._block.size > 0:
                self._hold(piece, len(content(piece)))
            else:
                self._out.append(piece)

    def _dispatch(self) -> None:
        block, self._block = self._block, _NONE
        if self._id is not None:
            self.last_event_id = self._id
        if block.kind == "body":
            body = b"".join(block.lines)
            block.lines = [body]
            block.values = [body.removeprefix(BOM)]
            block.spots = [(0, len(body) - len(block.values[0]))]
            self._out.append(block)
        elif block.values:
            self._out.append(block)
        elif block.stray:
            block.kind = "stray"
            self._out.append(block)
        else:
            self._out.extend(block.lines)

    def _tail(self) -> None:
        """Look at the unfinished line: is it over a limit, or can it be dropped?"""
        held = len(self.held)
        if self._mode == "body":
            self._hold(self._splitter.take(), held)
            return
        head = bytes(self.held[:PEEK_BYTES])
        if self._at_start:
            if BOM.startswith(head[: len(BOM)]) and len(head) < len(BOM):
                return
            if head.startswith(BOM):
                head = head[len(BOM) :]
                held -= len(BOM)
        head = head[:HEAD_OF_LINE]
        if self._is_indented(head):
            return
        if self._mode == "undecided" and head.lstrip(b" \t")[:1] == b"<":
            self._mode = "markup"
            return
        if self._skipping or not self._counts(head):
            if self._skipping or self._is_skippable(head):
                if self._mode == "undecided":
                    self._mode = "events"
                self._at_start = False
                if not self._skipping and head[:1] != b":":
                    self.saw_unknown = True
                self._skipping = True
                piece = self._splitter.take()
                self._raw(piece)
                if self.fault is not None:
                    self._unread = piece
        elif self._is_certain(head) and not self._is_over(head, held):
            self._make_room(head, held)

    def _make_room(self, head: bytes, size: int) -> None:
        """Tell how much the line that begins so can grow before its size has to be looked at."""
        is_known = self._mode == "events" and not self._at_start and head.startswith(_DATA)
        if is_known and len(self.head) == HEAD_BYTES:
            self.room = self._most - self._block.size - size + 1

    @property
    def _most(self) -> int:
        """The size that neither a line nor an event can pass without a look at the limits."""
        limits = (self._max_line, self._max_event)
        return min((limit for limit in limits if limit is not None), default=sys.maxsize)

    def hold(self, line: bytes) -> bool:
        """Hold the start of a line, if it is all that there is of a block of data.

        Args:
            line: Without a line end; nothing else is held.

        Returns:
            False where it may be something else, or is too large: `feed` must look at it.
        """
        if self._mode != "events" or len(self.head) < HEAD_BYTES:
            return False
        if line.startswith(_DATA):
            room = self._most - len(line) + 1
            if room <= 0:
                return False
            self.room = room
        elif not _DATA.startswith(line):
            return False
        self.held += line
        return True

    @property
    def is_between(self) -> bool:
        """Whether the next bytes begin an event, or go on with the first line of its data."""
        if self._mode != "events" or self._block.size or self._skipping or self.fault is not None:
            return False
        if not self.held:
            return not self._splitter.after_cr
        is_data = self.room > 0 or _DATA.startswith(self.held)
        return is_data and len(self.head) == HEAD_BYTES

    def _is_certain(self, head: bytes) -> bool:
        """Whether no byte that may follow makes the line that begins so one that is not held."""
        if self._mode == "ndjson" or self._block.stray or self._is_skippable(head):
            return True
        return head.lstrip(b" \t")[:1] in (b"", b"{", b"[")

    def _is_indented(self, head: bytes) -> bool:
        """Whether the first line passes its limit before it says anything."""
        blanks = len(head) - len(head.lstrip(b" \t"))
        if self._mode == "undecided" and self._max_line is not None and blanks > self._max_line:
            self.fault = ("line", self._max_line)
        return self.fault is not None

    def _is_over(self, head: bytes, size: int) -> bool:
        """Whether a line that begins so passes a limit with its *size* bytes so far.

        The limit that it passes first is the one that is named: so the answer does not
        depend on how much of the line came in one read.
        """
        line, event = self._max_line, self._max_event
        room = None if event is None or not head.strip(b" \t") else event - self._block.size
        if line is not None and size > line and (room is None or line <= room):
            self.fault = ("line", line)
        elif event is not None and room is not None and size > room:
            self.fault = ("event", event)
        return self.fault is not None

    def _is_skippable(self, head: bytes) -> bool:
        """Whether the line that begins so is certainly a comment or an unknown field."""
        return len(head) > _LONGEST_FIELD or _COLON in head

    def _counts(self, head: bytes) -> bool:
        """Whether a line that begins so is held, and therefore bounded."""
        if self._mode in ("ndjson", "body"):
            return True
        if self._mode == "undecided":
            start = head.lstrip(b" \t")[:1]
            if start in (b"", b"{", b"["):
                return True
        name = head.partition(b":")[0]
        return name in FIELDS or (head[:1] != b":" and self._is_stray(name, head))
