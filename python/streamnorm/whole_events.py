"""Byte output that is an event stream to its end, whatever the upstream sent."""

from __future__ import annotations

import re
from typing import Final

from . import _json
from .pure.events import BOM
from .pure.normalizer import missing_end

_DONE_EVENT: Final = b"data: [DONE]\n\n"
_JSON: Final = (b"{", b"[")
# The longest end of a line and a blank line is CRLF CRLF.
_END_BYTES: Final = 4
_DONE_LINE: Final = re.compile(rb"(?:\A|(?<=[\r\n]))data:[ \t]*\[DONE\]")
# Among lines of JSON.
_BARE_DONE_LINE: Final = re.compile(rb"(?:\A|(?<=[\r\n]))[ \t]*(?:data:[ \t]*)?\[DONE\]")
# Data lines without data at the end of the input: with a blank line they would be an event.
_EMPTY_TAIL: Final = re.compile(rb"(?:\A|(?<=[\r\n]))(?:data:[ \t]*(?:\r\n|\n|\r|\Z))+\Z")
_EVENT_ENDS: Final = re.compile(rb"(?:\r\n|\n|\r(?!\n))(?:\r\n|\n|\r)")


class WholeEvents:
    """Makes whole events of an engine's byte output; see ``done="always"`` of `stream.sse`.

    An event stream passes as it is, but for half an event at its end, which no client can
    read and which would run into whatever a gateway sends next (its text is in the fault).
    A last event gets the blank line that it lacks. Lines of JSON become an event each.
    """

    def __init__(self) -> None:
        self._end = b""
        self._is_json: bool | None = None

    def take(self, out: bytes) -> bytes:
        """Take the next piece of output; return what is sent on."""
        if self._is_json is None:
            self._is_json = begins_json(out)
        if self._is_json:
            return _framed(out)
        self._end = (self._end + out[-_END_BYTES:])[-_END_BYTES:]
        return out

    def end(self, out: bytes, *, is_cut: bool, is_well: bool, is_done: bool) -> bytes:
        """Take the last piece of output; return what is sent on.

        Args:
            out: What the end of the input has put out.
            is_cut: It ends with half an event.
            is_well: The stream ended well.
            is_done: ``[DONE]`` was sent.
        """
        if is_done:
            return self.close(out, is_well=is_well)
        if is_cut:
            out = self._without_half(out)
        elif not self._is_json:
            out = _EMPTY_TAIL.sub(b"", out)
        out = self.take(out) if out else out
        if not self._is_json and not self._end.endswith(b"\n\r"):  # (CRLF CR: a CRLF cut in two)
            out += missing_end(self._end, is_lines=False)
        return out + _DONE_EVENT if is_well else out

    def close(self, out: bytes, *, is_well: bool) -> bytes:
        """Take the piece of output that holds ``[DONE]``; return what is sent on.

        Args:
            out: What stands behind ``[DONE]`` in it no client reads.
            is_well: The stream ended well. Otherwise its ``[DONE]`` is not sent on either.
        """
        is_json = begins_json(out) if self._is_json is None else self._is_json
        marker = (_BARE_DONE_LINE if is_json else _DONE_LINE).search(out)
        out = self.take(out if marker is None else out[: marker.start()])
        if not self._is_json and not self._end.endswith(b"\n\r"):
            out += missing_end(self._end, is_lines=False)
        return out + _DONE_EVENT if is_well else out

    def _without_half(self, out: bytes) -> bytes:
        if self._is_json or begins_json(out):
            return out[: max(out.rfind(b"\n"), out.rfind(b"\r")) + 1]
        before = self._end
        ends = [match.end() for match in _EVENT_ENDS.finditer(before + out)]
        return out[: max(ends[-1] - len(before), 0)] if ends else b""


def begins_json(data: bytes) -> bool | None:
    """Whether the output that begins with *data* is JSON, not events; None: not known yet."""
    start = data.removeprefix(BOM).lstrip()[:1]
    return start in _JSON if start else None


def _framed(out: bytes) -> bytes:
    """Lines that are a document each as events, or one document over several lines as one.

    What is neither stays apart from what can be read.
    """
    lines = [line for line in out.removeprefix(BOM).splitlines() if line.strip()]
    readable = [_is_document(line) for line in lines]
    if not all(readable) and _is_document(b"\n".join(lines)):
        return b"".join(b"data: " + line + b"\n" for line in lines) + b"\n"
    made = []
    for n, line in enumerate(lines):
        is_open = not readable[n] and n + 1 < len(lines) and not readable[n + 1]
        made.append(b"data: " + line + (b"\n" if is_open else b"\n\n"))
    return b"".join(made)


def _is_document(line: bytes) -> bool:
    try:
        _json.loads(line)
    except ValueError:
        return False
    return True
