"""Frames that were glued together on one ``data`` line: the documents that can still be read.

A relay that loses a line end, or whose own upstream broke off in the middle of a frame,
sends ``{…}data: {…}`` or ``{"choices":[{"deltdata: {…}``. Only a value that is no JSON
document as a whole is looked at, so a text that speaks of ``data: {`` is never cut.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from .._json import is_too_deep
from ..dialects import DONE_MARK
from .scan import end_of

# Places at which reading is taken up again behind something broken. Each may cost the
# length of the line, so the work is linear in it.
MAX_TRIES: Final = 16

_DONE: Final = DONE_MARK.decode()
# What may stand between two frames.
_BETWEEN: Final = re.compile(r"[ \t\n\r]*(?:data:[ \t\n\r]*)*")
# The start of a document that has members. Quotes in a text are escaped: where these two
# stand side by side, no text of the frame before goes on.
_OPENER: Final = re.compile(r'\{[ \t\n\r]*"')
_NEXT: Final = re.compile(r'data:[ \t\n\r]*(?=\{[ \t\n\r]*")')


class Resynced(NamedTuple):
    """What a value holds that is no document as a whole.

    Attributes:
        documents: The documents in it, in order.
        lost: Pieces between them that could not be read.
        rest: What follows the last document and could not be read.
        done: The mark that ends the stream, with all that follows it; None without one.
    """

    documents: list[bytes]
    lost: int
    rest: bytes
    done: bytes | None


def split(data: bytes) -> Resynced | None:
    """Read a value as frames that were glued together; None where there is no frame in it."""
    # Bytes that are not UTF-8 stay what they are: they ride along as surrogates.
    text = data.decode("utf-8", "surrogateescape")
    found: list[bytes] = []
    lost, tries = 0, 0
    at, is_checked = 0, False
    while True:
        at = _after(text, at)
        if at == len(text):
            return Resynced(found, lost, b"", None) if found else None
        if text.startswith(_DONE, at):
            # A mark in the text of a broken frame would be a made-up end.
            return Resynced(found, lost, b"", _bytes(text[at:]))
        end = None
        if _OPENER.match(text, at) and tries < MAX_TRIES:
            if not is_checked:
                tries += 1
            if is_checked or not is_too_deep(_bytes(text[at:])):
                end = end_of(text, at)
        if end is not None:
            found.append(_bytes(_one_line(text[at:end])))
            at, is_checked = end, True
            continue
        following = _NEXT.search(text, at) if tries < MAX_TRIES else None
        if following is None:
            return Resynced(found, lost, _bytes(text[at:]), None) if found else None
        lost += 1
        at, is_checked = following.end(), False


def _after(text: str, at: int) -> int:
    match = _BETWEEN.match(text, at)
    assert match is not None  # the pattern matches the empty string
    return match.end()


def _one_line(text: str) -> str:
    return text.replace("\n", " ").replace("\r", " ")


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")
