"""A finish_reason that is held to the end and sent once; where the stream fails, none is sent."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given

from streamnorm import ChunkNormalizer, normalize_response
from streamnorm._engine import Engine

from . import oracle, strategies
from .helpers import DONE, event, one_byte, random_cuts, run_chunks, run_square, run_sse, stream
from .strategies import Sent


def documents(*choices: list[Any], done: bool = True, **more: Any) -> bytes:
    """A stream with these choices in each chunk."""
    found = [event(json.dumps({"id": "c", "choices": one, **more}).encode()) for one in choices]
    return b"".join(found) + (DONE if done else b"")


def choice(finish: Any = None, *, index: int = 0, **delta: Any) -> dict[str, Any]:
    return {"index": index, "delta": delta, "finish_reason": finish}


def finishes(chunks: list[Any]) -> list[tuple[int, int, str]]:
    """(number of the chunk, choice, finish_reason) of every finish_reason that says one."""
    return [
        (number, one["index"], one["finish_reason"])
        for number, document in enumerate(chunks)
        for one in document["choices"]
        if one.get("finish_reason") not in (None, "", "null")
    ]


@pytest.mark.parametrize("done", [True, False], ids=["done", "no-done"])
@pytest.mark.parametrize("finish", ["stop", "length", "tool_calls", "content_filter", "odd"])
def test_finish_reason_comes_once_and_last(engine: Engine, finish: str, done: bool) -> None:
    raw = documents([choice(content="a")], [choice(finish)], [choice(content="b")], done=done)
    for parts in ([raw], one_byte(raw)):
        run = run_square(engine, parts, finish="last")
        assert run.fault is None
        assert finishes(run.output) == [(3, 0, finish)]
        assert oracle.joined(run.output, "content") == {0: "ab"}
    made = run_sse(engine, [raw], finish="last").output
    assert made.endswith(DONE) is done


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        (["stop", "stop"], "stop"),
        (["length", "length"], "length"),
        (["stop", None], "stop"),
        (["stop", ""], "stop"),
        (["length", "stop"], "length"),
        (["tool_calls", "stop"], "tool_calls"),
        (["stop", "length"], "length"),
        (["stop", "tool_calls", "null"], "tool_calls"),
    ],
)
def test_reason_that_is_repeated_or_withdrawn_comes_once(
    engine: Engine, sent: list[Any], expected: str
) -> None:
    # NOTE: "stop" says nothing of why, so it does not take the place of a reason that does.
    raw = documents(*([choice(finish, content="a")] for finish in sent))
    run = run_square(engine, [raw], finish="last")
    assert finishes(run.output) == [(len(sent), 0, expected)]


def test_each_choice_has_its_own(engine: Engine) -> None:
    raw = documents(
        [choice(content="a"), choice(index=1, content="b")],
        [choice("stop", index=1)],
        [choice("length", content="c")],
        [],
        usage={"total_tokens": 1},
    )
    run = run_square(engine, [raw], finish="last")
    assert sorted(finishes(run.output)) == [(4, 0, "length"), (4, 1, "stop")]
    # Usage leaves where it was sent.
    assert [doc.get("usage") for doc in run.output] == [{"total_tokens": 1}] * 4 + [None]


@pytest.mark.parametrize(
    ("end", "kind"),
    [
        (event(b'{"error":{"message":"no"}}'), "error_event"),
        (b'event: error\ndata: {"message":"no"}\n\n', "error_event"),
        (event(b'{"choices":[{"index":0,"delta":{}}],"error":{"message":"no"}}'), "error_event"),
    ],
)
def test_stream_that_fails_has_no_finish_reason(engine: Engine, end: bytes, kind: str) -> None:
    raw = documents([choice(content="<thi")], [choice("stop")], done=False) + end
    for parts in ([raw], one_byte(raw)):
        chunks, edited = (
            run_chunks(engine, parts, finish="last"),
            run_sse(engine, parts, finish="last"),
        )
        assert chunks.fault is not None
        assert edited.fault is not None
        assert chunks.fault.kind == edited.fault.kind == kind
        assert finishes(chunks.output) == []
        assert oracle.joined(chunks.output, "content") == {0: "<thi"}
        assert b'"stop"' not in edited.output


def test_garbled_event_after_the_reason(engine: Engine) -> None:
    raw = documents([choice("stop", content="a")], done=False) + event(b"{garbled")
    run = run_chunks(engine, [raw], finish="last")
    assert run.fault is not None
    assert run.fault.kind == "corrupt"
    assert finishes(run.output) == []


def test_stream_without_a_reason_gets_none(engine: Engine) -> None:
    run = run_square(engine, [documents([choice(content="a")])], finish="last")
    assert (run.fault, len(run.output), finishes(run.output)) == (None, 1, [])


def test_held_text_goes_with_the_reason_at_its_choice(engine: Engine) -> None:
    raw = documents([choice(content="<think>a</th")], [choice("length")])
    run = run_square(engine, [raw], finish="last")
    assert oracle.joined(run.output, "reasoning_content") == {0: "a</th"}
    assert finishes(run.output) == [(2, 0, "length")]


def test_reason_is_out_before_done(engine: Engine) -> None:
    normalizer = ChunkNormalizer(_engine_module=engine, finish="last")
    raw = documents([choice("stop", content="a")], done=False)
    assert finishes(normalizer.feed(raw)) == []
    assert finishes(normalizer.feed(DONE)) == [(0, 0, "stop")]
    assert normalizer.close() == []


def test_ndjson_stays_ndjson(engine: Engine) -> None:
    raw = b'{"choices":[{"index":0,"delta":{"content":"a"},"finish_reason":"stop"}]}\n'
    made = run_sse(engine, [raw, raw], finish="last").output
    documents_ = [json.loads(line) for line in made.splitlines()]
    assert finishes(documents_) == [(2, 0, "stop")]


def test_body_keeps_its_reason(engine: Engine) -> None:
    body = {"choices": [{"index": 0, "message": {"content": "a"}, "finish_reason": "stop"}]}
    raw = json.dumps(body).encode()
    assert normalize_response(raw, finish="last") == raw
    # Where a stream was due, it is one, and so is its reason.
    chunks = run_square(engine, [raw], finish="last").output
    reasons = [choice["finish_reason"] for one in chunks for choice in one["choices"]]
    assert reasons == [None] * (len(reasons) - 1) + ["stop"]


@given(sent=strategies.streams, options=strategies.in_place_options)
def test_nothing_else_changes(engine: Engine, sent: Sent, options: dict[str, Any]) -> None:
    as_sent = run_chunks(engine, [sent.raw], **options)
    last = run_square(engine, random_cuts(sent.raw, 1), finish="last", **options)
    assert last.words == as_sent.words
    for key in ("reasoning_content", "reasoning", "content"):
        assert oracle.joined(last.output, key) == oracle.joined(as_sent.output, key)
    assert len(last.output) - len(as_sent.output) in (0, 1)


def test_report_counts_the_same(engine: Engine) -> None:
    raw = stream({"reasoning": "a"}, {"content": "b"})
    for run in (run_chunks, run_sse):
        held, as_sent = (run(engine, [raw], **o).report.as_dict() for o in ({"finish": "last"}, {}))
        assert {**held, "declined": 0} == {**as_sent, "declined": 0}
