"""Bytes to lines, for any cutting: LF, CR and CRLF end a line.

Source: https://html.spec.whatwg.org/multipage/server-sent-events.html#parsing-an-event-stream
"""

from __future__ import annotations


class LineSplitter:
    """Splits a body into lines, in time linear in its bytes whatever the reads are."""

    __slots__ = ("_crumbs", "_held", "after_cr", "held_bytes")

    def __init__(self) -> None:
        # Pieces of the unfinished line. Joined when its end comes: joining at every read
        # would cost the square of the line's length.
        self._held: list[bytes] = []
        # The last of them while they are small: a list entry costs more than a byte.
        self._crumbs: list[bytes] = []
        self.held_bytes: int = 0
        # The last line ended with a CR that was the last byte of its read. The line is
        # complete; an LF at the start of the next read belongs to that same line end.
        self.after_cr: bool = False

    def feed(self, data: bytes) -> tuple[bytes, list[bytes]]:
        """Take the next bytes.

        Returns:
            (the LF that still belongs to the line before, or ``b""``; the lines
            completed, each with its end).
        """
        late = b""
        if self.after_cr and data:
            self.after_cr = False
            if data[:1] == b"\n":
                late, data = b"\n", data[1:]
        if not data:
            return late, []
        # bytes.splitlines knows exactly LF, CR and CRLF (str.splitlines knows more).
        lines = data.splitlines(keepends=True)
        if not lines[-1].endswith((b"\n", b"\r")):
            tail = lines.pop()
            if not lines:
                self._hold(tail)
                return late, lines
            lines[0] = self._join(lines[0])
            self._hold(tail)
            return late, lines
        self.after_cr = lines[-1].endswith(b"\r")
        lines[0] = self._join(lines[0])
        return late, lines

    def peek(self) -> bytes:
        """The first bytes of the unfinished line, enough to tell its field name."""
        if self._held:
            return self._held[0][:PEEK_BYTES]
        if len(self._crumbs) > 1 and len(self._crumbs[0]) < PEEK_BYTES:
            self._crumbs = [b"".join(self._crumbs)]
        return self._crumbs[0][:PEEK_BYTES] if self._crumbs else b""

    def take(self) -> bytes:
        """Remove and return what is held of the unfinished line."""
        return self._join(b"")

    def _hold(self, piece: bytes) -> None:
        self.held_bytes += len(piece)
        self._crumbs.append(piece)
        if len(self._crumbs) == CRUMBS:
            self._held.append(b"".join(self._crumbs))
            self._crumbs.clear()

    def _join(self, end: bytes) -> bytes:
        if not self.held_bytes:
            return end
        line = b"".join([*self._held, *self._crumbs, end])
        self._held.clear()
        self._crumbs.clear()
        self.held_bytes = 0
        return line


# A BOM, and the longest field name ("event", "retry", "error") with its colon.
PEEK_BYTES = 12
CRUMBS = 1024


def content(line: bytes) -> bytes:
    """A line without its end."""
    if line.endswith(b"\r\n"):
        return line[:-2]
    if line.endswith((b"\n", b"\r")):
        return line[:-1]
    return line
