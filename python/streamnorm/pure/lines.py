"""Bytes to lines, for any cutting: LF, CR and CRLF end a line.

Source: https://html.spec.whatwg.org/multipage/server-sent-events.html#parsing-an-event-stream
"""

from __future__ import annotations


class LineSplitter:
    """Splits a body into lines, in time linear in its bytes whatever the reads are.

    Attributes:
        held: The unfinished line so far. Whoever knows that a read has no line end in it
            may append it here; the object stays the same.
        after_cr: The last line ended with a CR that was the last byte of its read. The
            line is complete; an LF at the start of the next read belongs to that same
            line end.
    """

    __slots__ = ("after_cr", "held")

    def __init__(self) -> None:
        self.held: bytearray = bytearray()
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
        tail = b"" if lines[-1].endswith((b"\n", b"\r")) else lines.pop()
        if lines:
            self.after_cr = not tail and lines[-1].endswith(b"\r")
            if self.held:
                self.held += lines[0]
                lines[0] = self.take()
        self.held += tail
        return late, lines

    def take(self) -> bytes:
        """Remove and return what is held of the unfinished line."""
        line = bytes(self.held)
        self.held.clear()
        return line


# A BOM, and the longest field name ("event", "retry", "error") with its colon.
PEEK_BYTES = 12


def content(line: bytes) -> bytes:
    """A line without its end."""
    if line.endswith(b"\r\n"):
        return line[:-2]
    if line.endswith((b"\n", b"\r")):
        return line[:-1]
    return line
