"""Edits of members, made in the text or on a dict: the same edits, the same result."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from .._json import dumps, encode_string
from .edits import Edit
from .scan import Member, item_ends, items, last, members
from .tool_calls import ToolEdit

# (start, end, replacement) of a text, half-open.
Cut = tuple[int, int, str]


def on_dict(delta: dict[str, Any], edits: Iterable[Edit]) -> dict[str, Any]:
    """A new dict with *edits* made, in the order that the edited bytes would have."""
    by_key: dict[str, list[Edit]] = {}
    edited: dict[str, Any] = {}
    for edit in edits:
        if edit.op == "prepend":
            edited[edit.name] = edit.text
        else:
            by_key.setdefault(edit.key, []).append(edit)
    for key, value in delta.items():
        name, dropped = key, False
        for edit in by_key.get(key, ()):
            new = delta[edit.source] if edit.text is None and edit.source else edit.text
            if edit.op == "insert":
                edited[edit.name] = new
            elif edit.op == "parts":
                edited[edit.name] = [delta[key][position] for position in edit.positions]
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
    first: list[str] = []
    for edit in edits:
        if edit.op == "prepend":
            first.append(f"{encode_string(edit.name)}:{encode_string(edit.text or '')}")
            continue
        member = last(found, edit.key)
        if edit.op == "drop":
            gone.update(other for other in found if other.key == edit.key)
        elif edit.op == "rename":
            gone.update(m for m in found if m.key == edit.key and m is not member)
            made.append((member.key_start, member.key_end, encode_string(edit.name)))
        elif edit.op == "set":
            made.append((member.start, member.end, _value(text, found, edit)))
        else:
            value = _parts(text, member, edit) if edit.op == "parts" else _value(text, found, edit)
            new = f"{encode_string(edit.name)}:{value},"
            made.append((member.key_start, member.key_start, new))
    made = _prepended(at, first, len(found) > len(gone)) + made
    return made + removals(found, gone)


def _prepended(at: int, new: list[str], has_more: bool) -> list[Cut]:
    return [(at + 1, at + 1, ",".join(new) + ("," if has_more else ""))] if new else []


def _value(text: str, found: list[Member], edit: Edit) -> str:
    if edit.text is not None:
        return encode_string(edit.text)
    source = last(found, edit.source)
    return text[source.start : source.end]


def _parts(text: str, member: Member, edit: Edit) -> str:
    starts = items(text, member.start)
    spans = list(zip(starts, item_ends(text, starts), strict=True))
    parts = ",".join(text[slice(*spans[position])] for position in edit.positions)
    # The line feeds between its members stay where they are; see `make`.
    return f"[{parts}]".replace("\n", " ")


def calls_on_list(calls: list[Any], edits: Iterable[ToolEdit]) -> list[Any]:
    """A new ``tool_calls`` list with *edits* made."""
    edited = list(calls)
    for edit in edits:
        item = edited[edit.position] = dict(edited[edit.position])
        if edit.op == "index":
            if "index" in item:
                item["index"] = edit.number
            else:
                edited[edit.position] = {"index": edit.number, **item}
        elif edit.op == "drop_id":
            del item["id"]
        else:
            function = item["function"] = dict(item["function"])
            if edit.op == "drop_name":
                del function["name"]
            else:
                function["arguments"] = dumps(function["arguments"]).decode("utf-8")
    return edited


def call_cuts(text: str, at: int, edits: Iterable[ToolEdit]) -> list[Cut]:
    """What *edits* of the ``tool_calls`` list that begins at *at* change in the text."""
    starts = items(text, at)
    by_position: dict[int, list[ToolEdit]] = {}
    for edit in edits:
        by_position.setdefault(edit.position, []).append(edit)
    made: list[Cut] = []
    for position, own in by_position.items():
        made += _call_cuts(text, starts[position], own)
    return made


def _call_cuts(text: str, at: int, edits: list[ToolEdit]) -> list[Cut]:
    found = members(text, at)
    made: list[Cut] = []
    gone: set[Member] = set()
    first: list[str] = []
    for edit in edits:
        if edit.op == "index":
            if any(member.key == "index" for member in found):
                index = last(found, "index")
                made.append((index.start, index.end, str(edit.number)))
            else:
                first.append(f'"index":{edit.number}')
        elif edit.op == "drop_id":
            gone.update(member for member in found if member.key == "id")
        else:
            function = members(text, last(found, "function").start)
            if edit.op == "drop_name":
                names = {member for member in function if member.key == "name"}
                made += removals(function, names)
            else:
                value = last(function, "arguments")
                made.append((value.start, value.end, encode_string(text[value.start : value.end])))
    made = _prepended(at, first, len(found) > len(gone)) + made
    return made + removals(found, gone)


def removals(found: list[Member], gone: set[Member]) -> list[Cut]:
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


def make_bytes(data: bytes, text: str, made: list[Cut]) -> bytes:
    """`make` of the bytes that were decoded to *text*, with surrogates for what is no UTF-8.

    What follows the last cut, nearly all of a large document, is not encoded again.
    """
    pieces = []
    at = begun = 0
    for start, end, new in sorted(made, key=lambda cut: cut[:2]):
        before, gone = _encoded(text[at:start]), text[start:end]
        pieces += [before, _encoded(new), b"\n" * gone.count("\n")]
        begun += len(before) + len(_encoded(gone))
        at = end
    return b"".join((*pieces, data[begun:]))


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")
