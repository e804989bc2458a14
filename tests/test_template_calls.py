"""Tool calls that go on in events that differ in one string: equal on both engines, however cut."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from streamnorm._engine import Engine
from streamnorm.options import make_options

from .conftest import load_engine
from .helpers import DONE, Run, reads, run_chunks, run_sse

ARGUMENTS = ('{"a"', ': "', "", "x", "\\u00e9", "\U0001f600", '"}', "x")


def more(arguments: str, index: int = 0, **item: Any) -> dict[str, Any]:
    return {"tool_calls": [{"index": index, **item, "function": {"arguments": arguments}}]}


def deltas() -> st.SearchStrategy[dict[str, Any]]:
    arguments, index = st.sampled_from(ARGUMENTS), st.integers(0, 1)
    usual = st.builds(more, arguments)
    rare = st.one_of(
        st.builds(more, arguments, index),
        st.builds(lambda a, i: more(a, i, id=f"call_{i}"), arguments, index),
        st.builds(
            lambda i: {"tool_calls": [{"index": i, "id": f"call_{i}", "function": {"name": "f"}}]},
            index,
        ),
        st.just({"tool_calls": [{"function": {"arguments": "x"}}]}),
        st.just({"content": "so"}),
        st.just({"reasoning": "why", **more("x")}),
        st.just({"content": "so", **more("x")}),
        st.just({"tool_calls": [{"index": 0, "function": {"arguments": {"a": 1}}}]}),
    )
    return st.one_of(usual, usual, usual, rare)


def told(run: Run) -> tuple[Any, ...]:
    return run.output, run.words, {**run.report.as_dict(), "engine": "", "declined": 0}


@given(
    said=st.lists(deltas(), min_size=3, max_size=24),
    choices=st.sampled_from((1, 1, 2)),
    size=st.sampled_from((7, 100, 100_000)),
)
def test_both_engines_say_the_same(said: list[dict[str, Any]], choices: int, size: int) -> None:
    rust: Engine = load_engine("rust")
    pure: Engine = load_engine("python")
    documents = [
        {"id": "c", "choices": [{"index": n % choices, "delta": delta, "finish_reason": None}]}
        for n, delta in enumerate(said)
    ]
    documents.append({"choices": [{"index": 0, "delta": {}, "finish_reason": "tool_calls"}]})
    body = b"".join(b"data: " + json.dumps(d).encode() + b"\n\n" for d in documents) + DONE
    for run_all in (run_sse, run_chunks):
        found = run_all(rust, reads(body, size))
        assert told(found) == told(run_all(pure, reads(body, size)))


def test_arguments_are_taken_by_a_template() -> None:
    rust = load_engine("rust")
    engine = rust.normalizer(make_options({}), "sse")
    opener = {"tool_calls": [{"index": 0, "id": "c", "function": {"name": "f", "arguments": ""}}]}
    for delta in (opener, *(more(f"{n}") for n in range(20))):
        chunk = {"choices": [{"index": 0, "delta": delta, "finish_reason": None}]}
        engine.feed(b"data: " + json.dumps(chunk).encode() + b"\n\n")
    assert engine.counts()["alike"] == 19
