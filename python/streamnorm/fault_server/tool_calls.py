"""Tool calls: how providers send them, and which calls they mean."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Final

PARIS: Final = '{"city":"Paris"}'
ROME: Final = '{"city":"Rome"}'
TOOLS: Final = ("get_weather", "get_time")

_ISSUES_INDEX: Final = "ollama #7881, litellm #33678, vercel/ai #14277, smolagents #1569"
_ISSUES_IDENTITY: Final = "opencode #37841, #43328; sglang #35542; vercel/ai #14722"
_PLAIN: Final = "OpenAI API reference, chat completion chunks"


@dataclass(frozen=True)
class Call:
    """One tool call.

    Attributes:
        id: As sent; None where a client shows none.
        name: Of the tool.
        arguments: Their JSON text, or the value where a client has parsed them.
    """

    id: str | None
    name: str | None
    arguments: Any

    @property
    def value(self) -> Any:
        """The arguments as a JSON value; text that is no JSON stays text."""
        if not isinstance(self.arguments, str):
            return self.arguments
        try:
            return json.loads(self.arguments)
        except ValueError:
            return self.arguments


# What the streams below mean.
ONE: Final = (Call("call_a", "get_weather", PARIS),)
TWO: Final = (*ONE, Call("call_b", "get_time", ROME))


@dataclass(frozen=True)
class CallRow:
    """One way of sending tool calls.

    Attributes:
        name: Of the row.
        deltas: For each delta its ``tool_calls`` list.
        means: The calls, with the ids, names and arguments of the stream.
        needs: The repairs without which the row cannot be read, names of
            `streamnorm.options.REPAIRS`.
    """

    name: str
    deltas: tuple[list[dict[str, Any]], ...]
    means: tuple[Call, ...]
    needs: tuple[str, ...] = ()

    @property
    def evidence(self) -> str:
        """Where such fragments were seen."""
        if not self.needs:
            return _PLAIN
        return _ISSUES_INDEX if self.needs[0].endswith("_index") else _ISSUES_IDENTITY


def first(call_id: str, name: str, arguments: Any = "", **more: Any) -> dict[str, Any]:
    """A fragment that opens a call."""
    function = {"name": name, "arguments": arguments}
    return {**more, "id": call_id, "type": "function", "function": function}


def more(arguments: str, **members: Any) -> dict[str, Any]:
    """A fragment that goes on with a call."""
    return {**members, "function": {"arguments": arguments}}


CALL_ROWS: Final[tuple[CallRow, ...]] = (
    CallRow(
        "well-formed",
        (
            [first("call_a", "get_weather", index=0)],
            [more(PARIS[:7], index=0)],
            [more(PARIS[7:], index=0)],
            [first("call_b", "get_time", index=1)],
            [more(ROME[:7], index=1)],
            [more(ROME[7:], index=1)],
        ),
        TWO,
    ),
    CallRow(
        "several calls in one delta",
        (
            [first("call_a", "get_weather", index=0), first("call_b", "get_time", index=1)],
            [more(PARIS, index=0), more(ROME, index=1)],
        ),
        TWO,
    ),
    CallRow(
        "no index: one call",
        ([first("call_a", "get_weather", PARIS)],),
        ONE,
        ("missing_index",),
    ),
    CallRow(
        "no index: one call in fragments",
        ([first("call_a", "get_weather")], [more(PARIS[:7])], [more(PARIS[7:])]),
        ONE,
        ("missing_index",),
    ),
    CallRow(
        "no index: two calls",
        ([first("call_a", "get_weather", PARIS)], [first("call_b", "get_time", ROME)]),
        TWO,
        ("missing_index",),
    ),
    CallRow(
        "no index: two calls in one delta",
        ([first("call_a", "get_weather", PARIS), first("call_b", "get_time", ROME)],),
        TWO,
        ("missing_index",),
    ),
    CallRow(
        "no index: two calls in fragments",
        (
            [first("call_a", "get_weather")],
            [more(PARIS[:7])],
            [more(PARIS[7:])],
            [first("call_b", "get_time")],
            [more(ROME)],
        ),
        TWO,
        ("missing_index",),
    ),
    CallRow(
        "all index 0: two calls",
        (
            [first("call_a", "get_weather", PARIS, index=0)],
            [first("call_b", "get_time", ROME, index=0)],
        ),
        TWO,
        ("shared_index",),
    ),
    CallRow(
        "all index 0: two calls in fragments",
        (
            [first("call_a", "get_weather", index=0)],
            [more(PARIS[:7], index=0)],
            [more(PARIS[7:], index=0)],
            [first("call_b", "get_time", index=0)],
            [more(ROME, index=0)],
        ),
        TWO,
        ("shared_index",),
    ),
    CallRow(
        "all index 0: two calls in one delta",
        (
            [
                first("call_a", "get_weather", PARIS, index=0),
                first("call_b", "get_time", ROME, index=0),
            ],
        ),
        TWO,
        ("shared_index",),
    ),
    CallRow(
        "empty id and name on later fragments",
        (
            [first("call_a", "get_weather", index=0)],
            [first("", "", PARIS[:7], index=0)],
            [first("", "", PARIS[7:], index=0)],
        ),
        ONE,
        ("empty_id", "empty_name"),
    ),
    CallRow(
        "null id and name on later fragments",
        (
            [first("call_a", "get_weather", index=0)],
            [{"index": 0, "id": None, "function": {"name": None, "arguments": PARIS[:7]}}],
            [{"index": 0, "id": None, "function": {"name": None, "arguments": PARIS[7:]}}],
        ),
        ONE,
        ("empty_id", "empty_name"),
    ),
    CallRow(
        "name after the id",
        (
            [{"index": 0, "id": "call_a", "type": "function", "function": {"arguments": ""}}],
            [{"index": 0, "function": {"name": "get_weather", "arguments": ""}}],
            [more(PARIS, index=0)],
        ),
        ONE,
    ),
    CallRow(
        "id and name on every fragment",
        (
            [first("call_a", "get_weather", index=0)],
            [first("call_a", "get_weather", PARIS[:7], index=0)],
            [first("call_a", "get_weather", PARIS[7:], index=0)],
        ),
        ONE,
        ("repeated_id", "repeated_name"),
    ),
    CallRow(
        "arguments as an object",
        ([first("call_a", "get_weather", {"city": "Paris"}, index=0)],),
        ONE,
        ("object_arguments",),
    ),
)
