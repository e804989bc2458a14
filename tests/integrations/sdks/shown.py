"""What a client showed of a stream, next to what the stream means."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from streamnorm.fault_server.dialects import DIALECT_CASES, DialectCase
from streamnorm.fault_server.tool_calls import Call
from streamnorm.upstream import Upstream

CASES = {case.name: case for case in DIALECT_CASES}
# A row in which nothing is wrong, and one in which everything comes in pieces.
PLAIN = "dialect-reasoning_content"
SPLIT = "tool-calls-all-index-0-two-calls-in-fragments"

# Every case that a client reads by itself, with no option and no hint.
WITHOUT_OPTIONS = [case for case in DIALECT_CASES if not case.options]


@dataclass
class Shown:
    """What a client showed.

    Attributes:
        calls: Id, name and arguments (a JSON value) of each tool call.
        finish: Why it ended, where the client says so.
    """

    reasoning: str = ""
    content: str = ""
    calls: list[tuple[Any, Any, Any]] = field(default_factory=list)
    finish: str | None = None

    def call(self, call_id: Any, name: Any, arguments: Any) -> None:
        self.calls.append((call_id, name, Call(call_id, name, arguments).value))

    def is_whole(self, case: DialectCase) -> bool:
        """Whether texts and calls are those that *case* means."""
        means = [(call.id, call.name, call.value) for call in case.calls]
        wanted = (case.reasoning, case.content, means)
        return (self.reasoning, self.content, self.calls) == wanted


@contextmanager
def every_case() -> Iterator[Upstream]:
    """An upstream with a route for each case, in a thread of its own."""
    with Upstream.in_thread() as up:
        for case in DIALECT_CASES:
            up.add(case.name, case.steps)
        yield up


def sends_finish(case: DialectCase) -> bool:
    """Whether there is a finish_reason in its stream; one provider's has none."""
    return any(b'"finish_reason":"' in step for step in case.steps)


def tool(name: str) -> dict[str, Any]:
    """A tool that takes any object, in the form of chat completions."""
    function = {"name": name, "description": name, "parameters": {"type": "object"}}
    return {"type": "function", "function": function}
