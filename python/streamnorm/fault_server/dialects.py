"""One small stream for each row of the dialect tables, made from the row itself.

A new row is a route by itself; one whose stream cannot be made is an error at import.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import cycle
from typing import Any, Final

from ..dialects import (
    CONTENT,
    DIALECTS,
    FLAG_PATH,
    FLAG_TAG,
    FLAG_VALUES,
    OBJECT_LIST,
    OBJECT_TEXT_KEYS,
    PARTS,
    SOURCES,
    Dialect,
    Part,
    Source,
)
from ..tag_table import TAGS, Tag
from ..upstream.streams import STREAMS
from .chunks import HEAD, event
from .tool_calls import CALL_ROWS, Call

Delta = dict[str, Any]
Deltas = list[Delta]
# Makes the delta members that carry a piece of reasoning.
_Carry = Callable[[str], Delta]

DONE: Final = b"data: [DONE]\n\n"

# They begin with capital letters, as some rows of the table ask of what follows an opener.
THOUGHTS: Final = ("Seven by eight: ", "7 × 8", " is fifty-six.")
ANSWERS: Final = ("Fifty-six", ", that is ", "56 – exactly.")
# Characters in a piece where delimiters stand in the content: it cuts each of them in two.
PIECE: Final = 5
# What stands for a ``*`` of a delimiter.
WORD: Final = "fast"


@dataclass(frozen=True)
class DialectCase:
    """One route with a well-formed answer in one dialect.

    Attributes:
        name: Segment of the path.
        row: Name of the row that it was made from.
        title: One line.
        steps: The events, one piece each.
        reasoning: The reasoning text that a reader must get, joined.
        content: The answer text that a reader must get, joined.
        evidence: That of the row.
        calls: The tool calls that a reader must get.
        options: What a normaliser has to be told, keyword arguments of `normalize_stream`.
    """

    name: str
    row: str
    title: str
    steps: tuple[bytes, ...]
    reasoning: str
    content: str
    evidence: str
    calls: tuple[Call, ...] = ()
    options: dict[str, Any] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """What the index says of it, as JSON."""
        return {
            "name": self.name,
            "title": self.title,
            "row": self.row,
            "expected": None,
            "content": self.content,
            "reasoning": self.reasoning,
            "calls": [vars(call) for call in self.calls],
            "options": self.options,
            "evidence": self.evidence,
        }


def slug(name: str) -> str:
    """The path segment for the name of a row.

    Letters, digits, ``_`` and ``.`` stay (capitals too, they tell rows apart); a sign
    outside of ASCII becomes its code point, all else a hyphen.
    """
    for sign, word in (("{}", "-object"), ("[]", "-list"), ("*", "-any"), ("+", "-and-")):
        name = name.replace(sign, word)
    name = "".join(c if c.isascii() else f"-u{ord(c):x}-" for c in name)
    return re.sub(r"[^A-Za-z0-9_.]+", "-", name).strip("-")


# Fields. ------------------------------------------------------------------------------


def _object(key: str, name: str, text: str) -> Delta:
    return {key: {name: text}}


def _nested(source: Source, pick: tuple[str | None, str], text: str) -> Delta:
    kind, key = pick
    value: Any = {key: text} if kind is None else {"type": kind, key: text}
    for step in reversed(source.steps):
        value = [value] if step == "*" else {step: value}
    return {source.key: value}


def _carriers(source: Source) -> list[_Carry]:
    """Every way in which a piece of reasoning stands in *source*, the usual one first."""
    key = source.key
    if source.shape == "text":
        return [lambda text: {key: text}]
    if source.shape == "object":
        outer, inner = OBJECT_LIST
        plain = [partial(_object, key, name) for name in OBJECT_TEXT_KEYS]
        return [*plain, lambda text: {key: {outer: [{inner: text}]}}]
    if source.shape == "nested":
        return [partial(_nested, source, pick) for pick in source.picks]
    if source.shape == "parts":
        parts = [part for part in PARTS if part.is_reasoning]
        return [carry for part in parts for carry in _part_carriers(part)]
    raise LookupError(f"the fault server knows no stream for a source of shape {source.shape!r}")


def _part_carriers(part: Part) -> list[_Carry]:
    def listed(text: str) -> Delta:
        items = [{"type": "text", part.item_key: text}]
        return {CONTENT: [{"type": part.type, part.key: items}]}

    def plain(text: str) -> Delta:
        return {CONTENT: [{"type": part.type, part.key: text}]}

    return [listed, plain] if part.is_reasoning else [plain]


def _fields(ways: Sequence[Sequence[_Carry]]) -> Deltas:
    """The deltas of a stream whose reasoning stands in fields, in each of *ways* at once."""
    deltas: Deltas = []
    for number, text in enumerate(THOUGHTS):
        delta: Delta = {}
        for carriers in ways:
            delta.update(carriers[number % len(carriers)](text))
        deltas.append(delta)
    return deltas + [{CONTENT: text} for text in ANSWERS]


def _flagged() -> Deltas:
    """All of the content is a thought where a flag says so; its delimiters stand around it."""
    tag = next(tag for tag in TAGS if tag.name == FLAG_TAG)

    def flag(text: str, value: Any) -> Delta:
        for step in reversed(FLAG_PATH):
            value = {step: value}
        return {CONTENT: text, **value}

    first, *rest = THOUGHTS
    values = cycle(FLAG_VALUES)
    answer, *more = ANSWERS
    return [
        flag(tag.opens[0] + first, next(values)),
        *(flag(text, next(values)) for text in rest),
        {CONTENT: tag.closes[0] + answer},
        *({CONTENT: text} for text in more),
    ]


# Delimiters. --------------------------------------------------------------------------


def _written(tag: Tag, *, has_opener: bool = True) -> tuple[str, bool]:
    """What a model writes, and whether there is reasoning in it."""
    ends = tag.ends[0] if tag.ends else ""
    answer = (tag.finals[0] if tag.finals else "") + "".join(ANSWERS) + ends
    if tag.labels:
        return tag.labels[0] + answer, False
    # A row without an opener of its own follows the reasoning of the first.
    around = tag if tag.opens else TAGS[0]
    opener = around.opens[0] if has_opener else ""
    text = opener + "".join(THOUGHTS) + around.closes[0] + answer
    return text.replace("*", WORD), True


def _pieces(text: str) -> Deltas:
    return [{CONTENT: text[n : n + PIECE]} for n in range(0, len(text), PIECE)]


def _tag_and_fields(carries: frozenset[str]) -> Deltas:
    """The same thought between delimiters and in fields."""
    tag = TAGS[0]
    ways = [_carriers(source)[:1] for source in SOURCES if source.name in carries - {"tags"}]
    deltas = _fields(ways)
    for delta, text in zip(deltas, THOUGHTS, strict=False):
        delta[CONTENT] = text
    deltas[0][CONTENT] = tag.opens[0] + deltas[0][CONTENT]
    first = len(THOUGHTS)
    deltas[first][CONTENT] = tag.closes[0] + deltas[first][CONTENT]
    return deltas


# Rows. --------------------------------------------------------------------------------


def _events(deltas: Deltas, finish: str = "stop", model: str = HEAD["model"]) -> tuple[bytes, ...]:
    head = {**HEAD, "model": model}

    def one(delta: Delta, reason: str | None) -> bytes:
        choice = {"index": 0, "delta": delta, "finish_reason": reason}
        return event({**head, "choices": [choice]})

    opening: Delta = {"role": "assistant", "content": ""}
    return (one(opening, None), *(one(delta, None) for delta in deltas), one({}, finish), DONE)


def _dialect(row: Dialect) -> DialectCase:
    options: dict[str, Any] = {}
    carries = row.carries
    families = [tag for tag in TAGS if f"tags:{tag.name}" in carries]
    if families:
        return _tagged(families[0], row.name, row.evidence)
    if carries == {"tags"}:
        deltas = _pieces(_written(TAGS[0], has_opener=False)[0])
        options["starts_in_reasoning"] = True
    elif "tags" in carries:
        deltas = _tag_and_fields(carries)
    elif carries == {"google.thought"}:
        deltas = _flagged()
    else:
        # In the order in which they are asked: the last of two that share a member wins.
        deltas = _fields([_carriers(source)[:1] for source in SOURCES if source.name in carries])
    title = f"{row.name}: {', '.join(row.providers[:3])}"
    name = f"dialect-{slug(row.name)}"
    return _case(name, row.name, title, _events(deltas), row.evidence, options)


def _tagged(tag: Tag, row: str, evidence: str) -> DialectCase:
    text, has_reasoning = _written(tag)
    model = f"{tag.models[0]}-1" if tag.models else HEAD["model"]
    case = _case(
        f"dialect-{slug(row)}", row, f"{row}: {tag.emitters}", _events(_pieces(text), model=model),
        evidence, {},
    )  # fmt: skip
    return case if has_reasoning else DialectCase(**{**vars(case), "reasoning": ""})


def _case(
    name: str, row: str, title: str, steps: tuple[bytes, ...], evidence: str, options: Delta
) -> DialectCase:
    texts = "".join(THOUGHTS), "".join(ANSWERS)
    return DialectCase(name, row, title, steps, *texts, evidence, options=options)


def _dialects() -> Iterator[DialectCase]:
    for row in DIALECTS:
        yield _dialect(row)
    for tag in TAGS:
        # The others are rows of `DIALECTS`.
        if not tag.opens:
            yield _tagged(tag, f"tags: {tag.name}", tag.evidence)


def _sources() -> Iterator[DialectCase]:
    """Each source alone, in all the ways in which a text can stand in it."""
    for source in SOURCES:
        if source.shape == "tags":
            deltas = _pieces(_written(TAGS[0])[0])
        elif source.shape == "flag":
            deltas = _flagged()
        else:
            deltas = _fields([_carriers(source)])
        title = f"all ways to write {source.name}"
        name = f"source-{slug(source.name)}"
        yield _case(name, source.name, title, _events(deltas), "streamnorm.dialects.SOURCES", {})


def _parts() -> Iterator[DialectCase]:
    """Each type of parts; the other text stands in the first type that is for it."""
    for part in PARTS:
        of_text = part if not part.is_reasoning else _first_part(is_reasoning=False)
        of_thought = part if part.is_reasoning else _first_part(is_reasoning=True)
        deltas = [
            carriers[number % len(carriers)](text)
            for carriers, texts in (
                (_part_carriers(of_thought), THOUGHTS),
                (_part_carriers(of_text), ANSWERS),
            )
            for number, text in enumerate(texts)
        ]
        yield _case(
            f"part-{slug(part.type)}", part.type, f"content parts of type {part.type}",
            _events(deltas), part.evidence, {},
        )  # fmt: skip


def _first_part(*, is_reasoning: bool) -> Part:
    return next(part for part in PARTS if part.is_reasoning is is_reasoning)


def _calls() -> Iterator[DialectCase]:
    for row in CALL_ROWS:
        deltas: Deltas = [{"tool_calls": items} for items in row.deltas]
        mended = f" ({', '.join(row.needs)})" if row.needs else ""
        yield DialectCase(
            f"tool-calls-{slug(row.name)}",
            row.name,
            f"tool calls, {row.name}{mended}",
            _events([{CONTENT: None}, *deltas], "tool_calls"),
            "",
            "",
            row.evidence,
            row.means,
        )


def _providers() -> Iterator[DialectCase]:
    for stream in STREAMS:
        yield DialectCase(
            f"provider-{stream.name}",
            stream.name,
            f"{stream.provider}: {stream.where}",
            stream.events,
            stream.reasoning,
            stream.content,
            "streamnorm.upstream.streams names the source of each",
        )


DIALECT_CASES: Final[tuple[DialectCase, ...]] = (
    *_dialects(),
    *_sources(),
    *_parts(),
    *_calls(),
    *_providers(),
)
