"""State is kept per choice, and a stream goes on as long as it does.

One behaviour a test.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from streamnorm._engine import Engine

from .helpers import chunk, event, run_chunks, run_sse, stream

DETAILS = {"reasoning_details": [{"type": "reasoning.text", "text": "y"}]}
DETAILS_X = {"reasoning_details": [{"type": "reasoning.text", "text": "x"}]}

# Choices. -----------------------------------------------------------------------------


def choices_event(*choices: dict[str, Any]) -> bytes:
    return event(json.dumps({"choices": list(choices)}).encode())


def test_state_is_per_index_and_not_per_position(engine: Engine) -> None:
    raw = (
        choices_event({"index": 0, "delta": {"reasoning": "a"}}, {"index": 1, "delta": {}})
        + choices_event({"index": 1, "delta": {"thinking": "a"}})
        + choices_event({"index": 1, "delta": {}}, {"index": 0, "delta": {"thinking": "a"}})
    )
    first, second, third = run_chunks(engine, [raw]).output
    assert first["choices"][0]["delta"] == {"reasoning_content": "a"}
    assert second["choices"][0]["delta"] == {"reasoning_content": "a"}
    assert third["choices"][1]["delta"] == {}


def test_interleaved_choices_latch_each_by_itself(engine: Engine) -> None:
    sent = [(0, {"reasoning": "x"}), (1, {"reasoning": "y"}), (0, DETAILS_X), (1, DETAILS)]
    raw = b"".join(choices_event({"index": i, "delta": delta}) for i, delta in sent)
    made = [chunk["choices"][0]["delta"] for chunk in run_chunks(engine, [raw]).output]
    assert made == [
        {"reasoning_content": "x"}, {"reasoning_content": "y"}, DETAILS_X, DETAILS,
    ]  # fmt: skip


@pytest.mark.parametrize("index", [None, "0", True, 0.0, [], {}])
def test_position_names_a_choice_without_a_usable_index(engine: Engine, index: object) -> None:
    raw = choices_event({"index": 0, "delta": {"reasoning": "a"}})
    raw += choices_event({"index": index, "delta": {"thinking": "a"}})
    assert run_chunks(engine, [raw]).output[1]["choices"][0]["delta"] == {}


@pytest.mark.parametrize("index", [-1, 7, 2**40, 10**30])
def test_any_integer_is_an_index(engine: Engine, index: int) -> None:
    raw = choices_event({"index": index, "delta": {"reasoning": "a"}})
    raw += choices_event({"delta": {"thinking": "a"}}, {"index": index, "delta": {"thinking": "a"}})
    second = run_chunks(engine, [raw]).output[1]["choices"]
    assert [choice["delta"] for choice in second] == [{"reasoning_content": "a"}, {}]


def test_missing_index_in_a_stream_is_the_position(engine: Engine) -> None:
    raw = choices_event({"delta": {"reasoning": "a"}}, {"delta": {"reasoning": "b"}})
    [made] = run_chunks(engine, [raw]).output
    assert [c["delta"] for c in made["choices"]] == [
        {"reasoning_content": "a"}, {"reasoning_content": "b"},
    ]  # fmt: skip


# The end of a stream. -----------------------------------------------------------------


def test_stream_goes_on_after_a_finish_reason(engine: Engine) -> None:
    raw = event(chunk({"reasoning": "a"}, "length")) + event(chunk({"reasoning": "b"}))
    raw += event(chunk({"content": "c"}, "stop")) + event(chunk({}, usage={"total_tokens": 1}))
    run = run_chunks(engine, [raw])
    assert run.fault is None
    assert len(run.output) == 4
    assert [c["choices"][0]["delta"] for c in run.output[:2]] == [
        {"reasoning_content": "a"}, {"reasoning_content": "b"},
    ]  # fmt: skip


def test_nothing_is_normalised_after_done(engine: Engine) -> None:
    raw = stream({"content": "a"}) + event(chunk({"reasoning": "late"}))
    assert run_sse(engine, [raw]).output == raw
    assert len(run_chunks(engine, [raw]).output) == 2


@pytest.mark.parametrize(("finish", "kind"), [(None, "truncated"), ("stop", None)])
def test_half_an_event_at_the_end_was_cut_off_and_passes_as_it_came(
    engine: Engine, finish: str | None, kind: str | None
) -> None:
    half = b'data: {"choices":[{"delta":{"reasoning":"b'
    raw = event(chunk({"reasoning": "a"}, finish)) + half
    for run in (run_chunks(engine, [raw]), run_sse(engine, [raw])):
        assert (run.fault.kind if run.fault else None) == kind
    assert run_sse(engine, [raw]).output.endswith(b"\n\n" + half)


# Memory is bounded, and nothing is lost beyond its bounds. ------------------------------

LONG = "0123456789abcdef" * (9 * 1024)


def test_beyond_its_memory_a_choice_promotes_no_other_source(engine: Engine) -> None:
    sent: list[dict[str, Any]] = [{"reasoning": LONG}, {"reasoning": LONG}, DETAILS, DETAILS_X]
    run = run_chunks(engine, [stream(*sent)])
    made = [c["choices"][0]["delta"] for c in run.output]
    assert made[:4] == [
        {"reasoning_content": LONG},
        {"reasoning_content": LONG},
        DETAILS,
        DETAILS_X,
    ]
    assert run.report.conflicts == {"reasoning_details": 2}


def test_beyond_its_memory_the_leading_source_still_comes_out(engine: Engine) -> None:
    run = run_chunks(engine, [stream({"thinking": LONG}, {"thinking": LONG}, {"thinking": LONG})])
    assert [c["choices"][0]["delta"] for c in run.output[:3]] == [{"reasoning_content": LONG}] * 3


def test_more_choices_than_are_remembered_lose_no_text(engine: Engine) -> None:
    deltas = [{"index": i, "delta": {"reasoning": str(i), "thinking": None}} for i in range(400)]
    [made] = run_chunks(engine, [choices_event(*deltas) + b"data: [DONE]\n\n"]).output
    assert [c["delta"] for c in made["choices"]] == [
        {"reasoning_content": str(i)} for i in range(400)
    ]
