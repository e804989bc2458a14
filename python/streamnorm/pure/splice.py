"""Edits of members, made in the text or on a dict: the same edits, the same result."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from .._json import encode_string
from .rules import Edit
from .scan import Member, last, members

# (start, end, replacement) of a text, half-open.
Cut = tuple[int, int, str]


def on_dict(delta: dict[str, Any], edits: Iterable[Edit]) -> dict[str, Any]:
    """A new dict with *edits* made, in the order that the edited bytes would have."""
    by_key: dict[str, list[Edit]] = {}
    for edit in edits:
        by_key.setdefault(edit.key, []).append(edit)
    edited: dict[str, Any] = {}
    for key, value in delta.items():
        name, dropped = key, False
        for edit in by_key.get(key, ()):
            new = delta[edit.source] if edit.text is None and edit.source else edit.text
            if edit.op == "insert":
                edited[edit.name] = new
            elif edit.op == "rename":
                name = edit.name
            elif edit.op == "set":
                value = new
            else:
                dropped = True
        if not dropped:
            edited[name] = value
    return edited


def cuts(text: str, at: int, edits: Iterable[Edit]) -> list[Cut]:
    """What *edits* of the object that begins at *at* change in the text, unsorted."""
    found = members(text, at)
    made: list[Cut] = []
    gone: set[Member] = set()
    for edit in edits:
        member = last(found, edit.key)
        if edit.op == "drop":
            gone.update(other for other in found if other.key == edit.key)
        elif edit.op == "rename":
            gone.update(m for m in found if m.key == edit.key and m is not member)
            made.append((member.key_start, member.key_end, encode_string(edit.name)))
        elif edit.op == "set":
            made.append((member.start, member.end, _value(text, found, edit)))
        else:
            new = f"{encode_string(edit.name)}:{_value(text, found, edit)},"
            made.append((member.key_start, member.key_start, new))
    return made + _removals(found, gone)


def _value(text: str, found: list[Member], edit: Edit) -> str:
    if edit.text is not None:
        return encode_string(edit.text)
    source = last(found, edit.source)
    return text[source.start : source.end]


def _removals(found: list[Member], gone: set[Member]) -> list[Cut]:
    """Spans of members that go, each run with exactly one of the commas around it."""
    made: list[Cut] = []
    i = 0
    while i < len(found):
        if found[i] not in gone:
            i += 1
            continue
        first = i
        while i < len(found) and found[i] in gone:
            i += 1
        if i < len(found):
            made.append((found[first].key_start, found[i].key_start, ""))
        elif first > 0:
            made.append((found[first - 1].end, found[i - 1].end, ""))
        else:
            made.append((found[first].key_start, found[i - 1].end, ""))
    return made


def make(text: str, made: list[Cut]) -> str:
    """The text with all cuts made.

    Line feeds in removed spans stay: they are white space between members, and the text
    of a multi-line event must keep as many lines as it came with.
    """
    pieces = []
    at = 0
    for start, end, new in sorted(made, key=lambda cut: cut[:2]):
        pieces += [text[at:start], new, "\n" * text.count("\n", start, end)]
        at = end
    pieces.append(text[at:])
    return "".join(pieces)
