"""A chunk that mixes reasoning and answer, made two: reasoning first.

This comes after all rules and needs no state: it looks at a document in normal form.
"""

from __future__ import annotations

from typing import Any, Final

from .._json import loads
from ..dialects import CONTENT, ENVELOPE, SOURCES
from . import splice
from .scan import items, last, members, start_of

# What goes with the reasoning: the members that can hold it, and the role, which the first
# chunk of a choice says.
_WITH_REASONING: Final = frozenset({s.key for s in SOURCES if s.key != CONTENT} | {"role"})


def chunk(
    value: dict[str, Any], targets: tuple[str, ...]
) -> tuple[dict[str, Any], dict[str, Any]] | None:
    """Split a chunk; None where no choice mixes reasoning and answer."""
    mixed = _mixed(value, targets)
    if not mixed:
        return None
    first: list[dict[str, Any]] = []
    rest = list(value["choices"])
    for position in mixed:
        choice = rest[position]
        delta = choice["delta"]
        moved = {key: delta[key] for key in delta if key in _WITH_REASONING}
        index = {"index": choice["index"]} if "index" in choice else {}
        first.append({**index, "delta": moved, "finish_reason": None})
        kept = {key: delta[key] for key in delta if key not in _WITH_REASONING}
        rest[position] = {**choice, "delta": kept}
    envelope = {key: value[key] for key in value if key in ENVELOPE}
    return {**envelope, "choices": first}, {**value, "choices": rest}


def document(data: bytes, targets: tuple[str, ...]) -> tuple[bytes, bytes] | None:
    """Split a document in its bytes; None where no choice mixes reasoning and answer."""
    # A name may be spelled with escapes.
    if b"\\u" not in data and not any(target.encode() in data for target in targets):
        return None
    value = loads(data)
    mixed = _mixed(value, targets) if isinstance(value, dict) else []
    if not mixed:
        return None
    text = data.decode("utf-8", "surrogateescape")
    starts = items(text, last(members(text, start_of(text)), "choices").start)
    first: list[str] = []
    made: list[splice.Cut] = []
    for position in mixed:
        choice = members(text, starts[position])
        delta = members(text, last(choice, "delta").start)
        moved = [m for m in delta if m.key in _WITH_REASONING]
        made += splice.removals(delta, set(moved))
        names = ("index",) if any(m.key == "index" for m in choice) else ()
        index = "".join(f'"{name}":{_raw(text, last(choice, name))},' for name in names)
        inner = ",".join(text[m.key_start : m.end] for m in moved)
        first.append(f'{{{index}"delta":{{{inner}}},"finish_reason":null}}')
    head = f'{envelope(text)}"choices":[{_one_line(",".join(first))}]}}'
    rest = splice.make(text, made)
    return _bytes(head), _bytes(rest)


def envelope(text: str) -> str:
    """The start of a document of our own: the members that name the stream, as sent."""
    found = members(text, start_of(text))
    names = dict.fromkeys(m.key for m in found if m.key in ENVELOPE)
    spans = [last(found, name) for name in names]
    return "{" + "".join(f"{_one_line(text[m.key_start : m.end])}," for m in spans)


def _one_line(text: str) -> str:
    """White space between members must not end the data line of an event of our own."""
    return text.replace("\n", " ").replace("\r", " ")


def _raw(text: str, member: Any) -> str:
    return text[member.start : member.end]


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _mixed(value: dict[str, Any], targets: tuple[str, ...]) -> list[int]:
    """Positions of the choices whose delta has reasoning and an answer or a tool call."""
    choices = value.get("choices")
    if not isinstance(choices, list):
        return []
    return [
        position
        for position, choice in enumerate(choices)
        if isinstance(choice, dict) and _is_mixed(choice.get("delta"), targets)
    ]


def _is_mixed(delta: Any, targets: tuple[str, ...]) -> bool:
    if not isinstance(delta, dict):
        return False
    has_reasoning = any(isinstance(delta.get(key), str) and delta[key] for key in targets)
    return has_reasoning and bool(delta.get(CONTENT) or delta.get("tool_calls"))
