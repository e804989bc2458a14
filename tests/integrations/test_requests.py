"""Plain requests: a streamed response as a source, by the page's own recipe."""

from __future__ import annotations

from typing import Any

import pytest

from streamnorm import StreamFault
from streamnorm.fault_server.chunks import CONTENT, HALF, OPENING, REASONING, STREAM
from streamnorm.fault_server.dialects import DIALECT_CASES
from streamnorm.upstream import Abort, Upstream

from ..blocking import drained
from .recipes import run_recipe_sync

BODY = {"model": "m", "stream": True, "messages": [{"role": "user", "content": "What is it?"}]}
LIMITED = b'{"error":{"message":"Slow down","code":"rate_limit_exceeded"}}'


def ask(url: str) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """The deltas that the recipe handles, and its names."""
    deltas: list[dict[str, Any]] = []
    names = run_recipe_sync("requests", url=url, body=BODY, handle=deltas.append)
    return deltas, names


def text(deltas: list[dict[str, Any]], name: str) -> str:
    return "".join(delta.get(name) or "" for delta in deltas)


def test_every_dialect_by_the_recipe() -> None:
    broken = {}
    with Upstream.in_thread() as up:
        for case in DIALECT_CASES:
            if case.options:
                continue
            up.add(case.name, case.steps)
            deltas, names = ask(up.url(case.name))
            found = (text(deltas, "reasoning_content"), text(deltas, "content"))
            calls = [
                (call["id"], call["function"]["name"], call["function"]["arguments"])
                for call in names["message"].get("tool_calls", ())
            ]
            means = [(call.id, call.name, call.arguments) for call in case.calls]
            if found != (case.reasoning, case.content) or calls != means:
                broken[case.name] = (found, calls)
        assert broken == {}
        assert up.requests[-1].headers["content-type"] == "application/json"


def test_message_and_usage_of_the_recipe() -> None:
    with Upstream.in_thread() as up:
        up.add("x", STREAM)
        _, names = ask(up.url("x"))
    message = names["message"]
    assert (message["reasoning_content"], message["content"]) == (REASONING, CONTENT)
    assert (names["usage"].prompt, names["usage"].completion) == (12, 24)


@pytest.mark.parametrize(
    ("steps", "status", "kind", "half"),
    [
        (OPENING, 200, "truncated", HALF),
        ((*OPENING, Abort()), 200, "transport", HALF),
        ((LIMITED,), 429, "http_error", ""),
        ((b"<!DOCTYPE html><html></html>",), 200, "not_sse", ""),
        ((), 200, "empty", ""),
    ],
)
def test_faults(steps: Any, status: int, kind: str, half: str) -> None:
    deltas: list[dict[str, Any]] = []
    with Upstream.in_thread() as up:
        up.add("x", steps, status)
        with pytest.raises(StreamFault) as raised:
            run_recipe_sync("requests", url=up.url("x"), body=BODY, handle=deltas.append)
    assert raised.value.kind == kind
    assert text(deltas, "content") == half
    if status == 429:
        assert (raised.value.category, raised.value.provider_message) == ("rate_limit", "Slow down")


def test_a_loop_that_is_left_closes_the_response() -> None:
    def leave(_: Any) -> None:
        raise KeyError("enough")

    with Upstream.in_thread() as up:
        up.add("x", [*OPENING, 3600.0])
        with pytest.raises(KeyError, match="enough"):
            run_recipe_sync("requests", url=up.url("x"), body=BODY, handle=leave)
        # The pause is not waited for.
        drained(up)
    assert up.requests[0].outcome == "client_left"
