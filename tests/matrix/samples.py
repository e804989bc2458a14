"""One stream for each row of the matrix, with what it means.

The rows come from the tables of the package, and the streams of the dialects from the
vectors. A new row with its vector is therefore in the matrix by itself, and one without is
an error.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from difflib import SequenceMatcher
from pathlib import Path
from typing import Any, Final, Literal

from streamnorm import SSEDecoder
from streamnorm.dialects import DIALECTS
from streamnorm.fault_server import CALL_ROWS, TOOLS
from streamnorm.options import REPAIRS
from streamnorm.tag_table import TAGS, Tag

from .classify import Shown

VECTORS: Final = Path(__file__).parents[1] / "vectors"

# The options that a stream can need; with any other its output is not the normal form.
OPTIONS: Final = frozenset({"starts_in_reasoning", "tags", "tag_names"})
# What a client may rightly ask of a usage object. The vectors often shorten it.
USAGE: Final = frozenset({"prompt_tokens", "completion_tokens", "total_tokens"})

Vectors = dict[Path, dict[str, Any]]


class NoSample(Exception):
    """A row of a table has no stream; the text names it."""


@dataclass(frozen=True)
class Sample:
    """One row of the matrix.

    Attributes:
        group: Which table of the page it stands in.
        row: Its name.
        events: The body that the upstream sends, one piece each.
        sent: What it means.
        options: Of the normaliser in the gateway.
        tools: Names of the tools that the request offers.
        source: The vector that it was taken from, below `VECTORS`; None if from none.
    """

    group: Literal["dialect", "tool calls"]
    row: str
    events: tuple[bytes, ...]
    sent: Shown
    options: dict[str, Any] = field(default_factory=dict)
    tools: tuple[str, ...] = ()
    source: str | None = None


def all_samples() -> list[Sample]:
    """Every row, in the order of the tables.

    Raises:
        NoSample: A dialect has no vector that shows it, or a repair no row of tool calls.
    """
    return [*_dialects(), *_calls()]


# Tool calls. --------------------------------------------------------------------------


def _calls() -> Iterator[Sample]:
    shown = {repair for row in CALL_ROWS for repair in row.needs}
    if missing := set(REPAIRS) - shown:
        raise NoSample(f"no row of tool calls needs {', '.join(sorted(missing))}")
    for row in CALL_ROWS:
        deltas: list[dict[str, Any]] = [{"role": "assistant", "content": None}]
        deltas += [{"tool_calls": items} for items in row.deltas]
        body = (*(_event(delta, None) for delta in deltas), _event({}, "tool_calls"), _DONE)
        yield Sample("tool calls", row.name, body, Shown(calls=row.means), tools=TOOLS)


_DONE: Final = b"data: [DONE]\n\n"


def _event(delta: dict[str, Any], finish_reason: str | None) -> bytes:
    chunk = {
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "created": 1790000000,
        "model": "sample",
        "choices": [{"index": 0, "delta": delta, "finish_reason": finish_reason}],
    }
    return b"data: " + json.dumps(chunk).encode() + b"\n\n"


# Dialects. ----------------------------------------------------------------------------


def _dialects() -> Iterator[Sample]:
    paths = sorted(VECTORS.glob("*/*.json"))
    vectors = {path: json.loads(path.read_text("utf-8")) for path in paths}
    usable = {path: vector for path, vector in vectors.items() if _is_usable(vector)}
    for dialect in DIALECTS:
        shown = {
            path: vector
            for path, vector in usable.items()
            if vector["report"].get("dialect") == dialect.name and _meaning(vector).reasoning
        }
        yield _sample(dialect.name, shown)
    for tag in TAGS:
        # The others are rows of `DIALECTS`.
        if not tag.opens:
            shown = {path: vector for path, vector in usable.items() if _is_trimmed(vector, tag)}
            yield _sample(f"tags: {tag.name}", shown)


def _sample(row: str, shown: Vectors) -> Sample:
    """The first of the vectors in that folder whose name is most like the row's."""
    if not shown:
        raise NoSample(f"no vector shows the dialect {row!r}")

    def likeness(path: Path) -> float:
        return SequenceMatcher(None, path.parent.name, row.lower()).ratio()

    path = max(shown, key=likeness)
    vector = shown[path]
    return Sample(
        "dialect",
        row,
        tuple(text.encode() for text in vector["input"]),
        _meaning(vector),
        dict(vector.get("options", {})),
        source=path.relative_to(VECTORS).as_posix(),
    )


def _is_usable(vector: dict[str, Any]) -> bool:
    """Whether its stream is a plain one: one choice, an answer, a good end."""
    if vector.get("kind", "stream") != "stream" or vector["fault"] is not None:
        return False
    if not OPTIONS.issuperset(vector.get("options", {})) or vector["report"].get("conflicts"):
        return False
    choices = [choice for chunk in vector["chunks"] for choice in chunk.get("choices") or ()]
    usages = [chunk.get("usage") for chunk in vector["chunks"]]
    return (
        all(choice.get("index", 0) == 0 for choice in choices)
        and not any((choice.get("delta") or {}).get("tool_calls") for choice in choices)
        and all(set(usage) >= USAGE for usage in usages if usage)
        and bool(_meaning(vector).content)
    )


def _meaning(vector: dict[str, Any]) -> Shown:
    """What its chunks in normal form say."""
    chunks = vector["chunks"]
    return Shown(_text(chunks, "reasoning_content"), _text(chunks, "content"))


def _is_trimmed(vector: dict[str, Any], tag: Tag) -> bool:
    """Whether a delimiter or a label of *tag* was taken from its content."""
    if "tags" not in vector["report"].get("removed", {}):
        return False
    events = SSEDecoder().feed("".join(vector["input"]).encode())
    chunks = [json.loads(event.data) for event in events if event.data.startswith("{")]
    before, after = _text(chunks, "content"), _meaning(vector).content
    texts = (*tag.finals, *tag.ends, *tag.labels)
    return any(before.count(text) > after.count(text) for text in texts)


def _text(chunks: Sequence[dict[str, Any]], key: str) -> str:
    """The text under *key* of all deltas, as far as it is text."""
    deltas = [
        choice.get("delta") or {} for chunk in chunks for choice in chunk.get("choices") or ()
    ]
    return "".join(text for delta in deltas if isinstance(text := delta.get(key), str))
