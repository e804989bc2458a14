"""Whether a vector is sound in itself: nothing that came in is missing from what goes out.

This reads the vector alone, and asks no engine.
"""

from __future__ import annotations

import json
import re
from typing import Any

from streamnorm.tag_table import TAGS

from . import oracle

# Members of a delta that rules write, or take the place of.
_MOVED = {*oracle.REASONING_KEYS, "content", "content_parts"}
# What goes with the thought where a chunk is split in two.
_SPLIT = {*oracle.NESTED_KEYS, "role"}
_SPACE = " \t\r\n"


def chunks(raw: bytes, fault: str | None = None) -> list[Any]:
    """The documents that are chunks; an error alone is none, whatever its shape."""
    found = [d for d in oracle.documents(unglued(raw)) if d is not None]
    if fault == "not_sse":
        return []
    if fault == "error_event":
        return [d for d in found if d.get("choices") is not None]
    return [d for d in found if "choices" in d or "error" not in d]


def unglued(raw: bytes) -> bytes:
    """*raw* with a line end before every frame that stands behind another on its line."""
    if raw.startswith(b"{"):
        return raw.replace(b'}{"', b'}\n{"')
    raw = raw.replace(b"data: data: ", b"data: ").removesuffix(b'"')
    return re.sub(rb'(?<=\})data: (?=\[|\{")|(?<=\})(?=\{"id)|(?<=role)data: ', b"\n\ndata: ", raw)


def bare(document: Any, options: dict[str, Any]) -> Any:
    """*document* without what rules may touch under *options*; the order of the rest kept."""
    choices = document.get("choices")
    if not isinstance(choices, list):
        return document
    return {**document, "choices": [_bare_choice(choice, options) for choice in choices]}


def _bare_choice(choice: Any, options: dict[str, Any]) -> Any:
    if not isinstance(choice, dict):
        return choice
    name = "delta" if "delta" in choice or "message" not in choice else "message"
    gone = _MOVED | (_SPLIT if options.get("split_mixed") else set())
    delta = {k: v for k, v in (choice.get(name) or {}).items() if k not in gone}
    if isinstance(delta.get("tool_calls"), list):
        delta["tool_calls"] = [_bare_call(call) for call in delta["tool_calls"]]
    kept = {key: value for key, value in choice.items() if key != name}
    if options.get("finish") == "last":
        kept.pop("finish_reason", None)
    return {**kept, name: delta}


def _bare_call(call: Any) -> Any:
    """A call without what a repair may give, drop or spell anew."""
    if not isinstance(call, dict):
        return call
    kept = {k: v for k, v in call.items() if k not in ("index", "id")}
    function = call.get("function")
    if isinstance(function, dict):
        kept["function"] = {k: _spelled(v) for k, v in function.items() if k != "name"}
    return kept


def _spelled(value: Any) -> Any:
    """Arguments as they are meant: an object and its JSON text are the same."""
    if not isinstance(value, str):
        return value
    try:
        meant = json.loads(value)
    except ValueError:
        return value
    return meant if isinstance(meant, dict | list) else value


def own_chunks(given: list[Any], made: list[Any]) -> int | None:
    """How many of *made* are not of *given*; None where one of *given* is missing."""
    at = 0
    for document in made:
        if at < len(given) and oracle.spelled(document) == oracle.spelled(given[at]):
            at += 1
    return len(made) - len(given) if at == len(given) else None


def lost_text(given: list[Any], made: list[Any], pairs: list[list[str]]) -> list[int]:
    """Choices of which text is missing that is neither a delimiter nor white space.

    Only where all of the text came in ``content``: a field may say it twice.
    """
    if any(oracle.found_text(delta) for d in given for _, _, delta in oracle.deltas(d)):
        return []
    marks = _marks(pairs)
    thoughts = oracle.joined(made, oracle.TARGET) or oracle.joined(made, "reasoning")
    answers = oracle.joined(made, "content")
    return [
        index
        for index, text in _content(given).items()
        if not _is_made_of(text, thoughts.get(index, ""), answers.get(index, ""), marks)
    ]


def _content(documents: list[Any]) -> dict[int, str]:
    """All text in the content of each choice."""
    whole: dict[int, str] = {}
    for document in documents:
        for index, _, delta in oracle.deltas(document):
            whole[index] = whole.get(index, "") + _flat(delta.get("content"))
    return whole


def _flat(value: Any) -> str:
    if isinstance(value, list):
        return "".join(_flat(item) for item in value)
    if isinstance(value, dict):
        return _flat([value[key] for key in ("text", "thinking", "summary") if key in value])
    return value if isinstance(value, str) else ""


def _marks(pairs: list[list[str]]) -> re.Pattern[str]:
    texts = {text for pair in pairs for text in pair}
    for tag in TAGS:
        texts.update((*tag.opens, *tag.closes, *tag.joins, *tag.finals, *tag.ends, *tag.labels))
        texts.update(f"{t[:-1]}{end}" for t in tag.opens if t[-1] == ">" for end in ("/>", " />"))
    longest_first = sorted(texts, key=len, reverse=True)
    return re.compile("|".join(re.escape(t).replace(r"\*", r"[\w.-]+") for t in longest_first))


def _is_made_of(text: str, thought: str, answer: str, marks: re.Pattern[str]) -> bool:
    """Whether *thought* and *answer*, shuffled, are *text* but for marks and white space."""
    # By place in the text: how far thought and answer have come.
    ways: list[set[tuple[int, int]]] = [set() for _ in range(len(text) + 1)]
    ways[0].add((0, 0))
    for at, letter in enumerate(text):
        mark = marks.match(text, at)
        for t, a in ways[at]:
            if thought[t : t + 1] == letter:
                ways[at + 1].add((t + 1, a))
            if answer[a : a + 1] == letter:
                ways[at + 1].add((t, a + 1))
            if letter in _SPACE:
                ways[at + 1].add((t, a))
            if mark:
                ways[mark.end()].add((t, a))
    return (len(thought), len(answer)) in ways[-1]
