"""Where things stand in a JSON text: spans of members and items, found without rebuilding it.

The text is known to be valid; only what lies on the path to an edit is walked.
"""

from __future__ import annotations

import json
import re
from typing import Any, Final, NamedTuple

# Attributes of every JSONDecoder, though typeshed does not know them: json.decoder sets
# them in __init__, and the accelerated scanner reads them there.
_DECODER: Final[Any] = json.JSONDecoder()
_scan_once = _DECODER.scan_once
_parse_string = _DECODER.parse_string
_SPACE: Final = re.compile(r"[ \t\n\r]*")
_MARK: Final = re.compile(r'["\[\]{}]')
# A quote behind no backslash, or behind several: a single one escapes it.
_QUOTE: Final = re.compile(r'"(?:(?<!\\")|(?<=\\\\"))')
# A text so long is looked through for marks; to parse it would build its values, only to tell
# where they end. It pays where marks are so far apart: each costs as much as many characters.
_LARGE: Final = 64 * 1024
_APART: Final = 128


class Member(NamedTuple):
    """One member of an object: its name and the half-open spans of name and value."""

    key: str
    key_start: int
    key_end: int
    start: int
    end: int


def members(text: str, at: int) -> list[Member]:
    """The members of the object that begins at *at*, in order, duplicates included."""
    found = []
    at = _skip(text, at + 1)
    while text[at] != "}":
        key, key_end = _parse_string(text, at + 1, True)
        start = _skip(text, _skip(text, key_end) + 1)
        end = _end(text, start)
        found.append(Member(key, at, key_end, start, end))
        at = _skip(text, end)
        if text[at] == ",":
            at = _skip(text, at + 1)
    return found


def start_of(text: str) -> int:
    """Where the document of a text begins."""
    return _skip(text, 0)


def items(text: str, at: int) -> list[int]:
    """Where each item of the list that begins at *at* starts."""
    found = []
    at = _skip(text, at + 1)
    while text[at] != "]":
        found.append(at)
        at = _skip(text, _end(text, at))
        if text[at] == ",":
            at = _skip(text, at + 1)
    return found


def item_ends(text: str, starts: list[int]) -> list[int]:
    """Where the items of a list end, for what `items` found."""
    return [_end(text, start) for start in starts]


def last(found: list[Member], key: str) -> Member:
    """The member that counts where a name occurs twice: the last, as in ``json.loads``."""
    return next(member for member in reversed(found) if member.key == key)


def end_of(text: str, at: int) -> int | None:
    """Where the document that begins at *at* ends, in a text that may be broken."""
    try:
        return _parsed_end(text, at)
    except (ValueError, StopIteration, RecursionError):
        return None


def _skip(text: str, at: int) -> int:
    match = _SPACE.match(text, at)
    assert match is not None  # the pattern matches the empty string
    return match.end()


def _end(text: str, start: int) -> int:
    if len(text) >= _LARGE:
        end = _marked_end(text, start)
        if end is not None:
            return end
    return _parsed_end(text, start)


def _parsed_end(text: str, start: int) -> int:
    value: tuple[Any, int] = _scan_once(text, start)
    return value[1]


def _marked_end(text: str, start: int) -> int | None:
    """Where the string, object or list at *start* ends; None where marks are too dense."""
    if text[start] not in '"[{':
        return None
    # What the marks that were passed cost, in characters.
    cost = start - _LARGE
    depth = 0
    at = start
    while cost <= at:
        mark = _MARK.search(text, at)
        assert mark is not None  # the text is valid
        at = mark.end()
        cost += _APART
        if mark[0] == '"':
            at = _next_quote(text, at)
            while slashes := _slashes(text, at):
                cost += _APART
                if slashes > _APART or cost > at:
                    return None
                if slashes % 2 == 0:
                    break
                at = _next_quote(text, at + 1)
            at += 1
        else:
            depth += 1 if mark[0] in "[{" else -1
        if not depth:
            return at
    return None


def _next_quote(text: str, at: int) -> int:
    """The next quote that may not be escaped."""
    match = _QUOTE.search(text, at)
    assert match is not None  # the text is valid
    return match.start()


def _slashes(text: str, at: int) -> int:
    """How many backslashes stand before a place; of a long run, enough to tell."""
    before = at
    while text[before - 1] == "\\" and at - before <= _APART:
        before -= 1
    return at - before
