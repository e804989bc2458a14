"""Whole completions in place of a stream: the same in bytes and dicts, and never twice."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamnorm import ChunkNormalizer, SSENormalizer, normalize_response
from streamnorm._engine import Engine
from streamnorm.objects import ObjectNormalizer
from streamnorm.options import make_options
from streamnorm.pure import whole

from . import oracle, strategies
from .helpers import DONE, event, one_byte, run_both, run_square
from .strategies import Members, Number

_messages = strategies.deltas
_finishes = st.sampled_from((None, "stop", "length", "null", ""))


@st.composite
def _choices(draw: st.DrawFn) -> Members:
    pairs = [("message", draw(_messages)), ("finish_reason", draw(_finishes))]
    if draw(st.booleans()):
        pairs.append(("index", Number(str(draw(st.integers(0, 2))))))
    if draw(st.booleans()):
        pairs.append(("logprobs", None))
    return Members(draw(st.permutations(pairs)))


_tops = st.lists(
    st.one_of(
        st.tuples(st.just("object"), st.just("chat.completion")),
        st.tuples(st.just("id"), st.sampled_from(("c", "d"))),
        st.tuples(st.just("usage"), st.sampled_from((None, Members((("total_tokens", 3),))))),
        st.tuples(st.just("citations"), strategies.junk),
        st.tuples(st.just("error"), st.sampled_from((None, "", "overloaded"))),
    ),
    max_size=4,
)
_completions = st.tuples(_tops, st.lists(_choices(), min_size=1, max_size=3), _tops).map(
    lambda parts: Members((*parts[0], ("choices", parts[1]), *parts[2]))
)
spelled_completions = st.tuples(_completions, st.integers(0, 5)).map(
    lambda pair: strategies.spell(pair[0], pair[1], lines=True)
)


@pytest.mark.fuzz
@given(raw=spelled_completions)
def test_bytes_and_dict_give_the_same_chunks(raw: bytes) -> None:
    value = oracle.documents(raw)[0]
    before = copy.deepcopy(value)
    made = [oracle.documents(document)[0] for document in whole.documents(raw, value)]
    assert oracle.meant(made) == oracle.meant(whole.chunks(value))
    assert oracle.meant(made) == oracle.meant(oracle.streamed([value]))
    assert oracle.spelled(value) == oracle.spelled(before)
    assert all(b"\n" not in document for document in whole.documents(raw, value))


@pytest.mark.fuzz
@given(raw=spelled_completions, options=strategies.options)
def test_body_and_event_say_the_same(engine: Engine, raw: bytes, options: dict[str, Any]) -> None:
    in_event = b"data: " + raw.replace(b"\n", b" ") + b"\n\n"
    body = run_square(engine, one_byte(raw), **options)
    events = run_square(engine, [in_event], **options)
    # More could follow a message in an event that has not finished: there text may be held.
    for key in ("content", "reasoning_content", "reasoning"):
        assert oracle.joined(body.output, key) == oracle.joined(events.output, key)
    if whole.is_finished(oracle.documents(raw)[0]):
        assert oracle.spelled(body.output) == oracle.spelled(events.output)
    assert body.words == events.words


@pytest.mark.fuzz
@given(raw=spelled_completions)
def test_what_comes_out_is_no_completion_any_more(engine: Engine, raw: bytes) -> None:
    normalizer = SSENormalizer(_engine_module=engine, tags="off")
    once = normalizer.feed(raw + b"\n") + normalizer._engine.close()
    for document in oracle.documents(once):
        assert not oracle.is_completion(document)
    again = run_both(engine, [once], tags="off")[1]
    # Behind an error in it nothing passes, not even the line end.
    assert again.output.rstrip() == once.rstrip()


COMPLETION: dict[str, Any] = {
    "id": "c-1",
    "object": "chat.completion",
    "choices": [
        {
            "index": 0,
            "message": {"role": "assistant", "reasoning": "Hm", "content": "Hi"},
            "finish_reason": "stop",
        }
    ],
    "usage": {"total_tokens": 3},
}
RAW = json.dumps(COMPLETION).encode()


def test_answer_that_was_not_asked_to_be_streamed_stays_whole() -> None:
    made = normalize_response(COMPLETION)
    assert made["object"] == "chat.completion"
    assert made["choices"][0]["message"]["reasoning_content"] == "Hm"
    assert json.loads(normalize_response(RAW)) == made


def test_body_becomes_a_stream_with_its_own_end(engine: Engine) -> None:
    for parts in ([RAW], one_byte(RAW)):
        chunks, edited = run_both(engine, parts)
        assert edited.output.endswith(DONE)
        assert oracle.spelled(oracle.documents(edited.output)) == oracle.spelled(chunks.output)
        assert len(chunks.output) == 3
        assert chunks.report.repairs == {"whole_completion": 1}
        assert chunks.report.events == 1


@pytest.mark.parametrize(
    "raw",
    [
        RAW.replace(b'"stop"', b"null"),
        RAW[:-1] + b', "error": "overloaded"}',
        event(RAW),
    ],
    ids=["no-finish", "error", "event"],
)
def test_end_is_made_only_for_a_body_that_ended_well(engine: Engine, raw: bytes) -> None:
    assert b"[DONE]" not in run_both(engine, [raw])[1].output


def test_no_end_is_made_where_the_input_broke_off(engine: Engine) -> None:
    normalizer = SSENormalizer(_engine_module=engine)
    out = normalizer.feed(RAW) + normalizer._engine.close(failed=True)
    assert b"[DONE]" not in out
    assert not normalizer._engine.done


def test_end_that_was_made_counts_as_one(engine: Engine) -> None:
    normalizer = SSENormalizer(_engine_module=engine)
    normalizer.feed(RAW)
    normalizer.close()
    assert normalizer._engine.done
    chunks = ChunkNormalizer(_engine_module=engine)
    chunks.feed(RAW)
    chunks.close()
    assert not chunks._engine.done


def test_completion_that_is_a_dict_becomes_chunks() -> None:
    before = copy.deepcopy(COMPLETION)
    normalizer = ObjectNormalizer(make_options({}), "dict")
    made = normalizer.feed(COMPLETION) + normalizer.close()
    assert made == [
        {
            "id": "c-1",
            "object": "chat.completion.chunk",
            "choices": [
                {
                    "index": 0,
                    "delta": {"role": "assistant", "reasoning_content": "Hm", "content": "Hi"},
                    "finish_reason": None,
                }
            ],
        },
        {
            "id": "c-1",
            "object": "chat.completion.chunk",
            "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}],
        },
        {
            "id": "c-1",
            "object": "chat.completion.chunk",
            "choices": [],
            "usage": {"total_tokens": 3},
        },
    ]
    assert before == COMPLETION
    assert (normalizer.fault, normalizer.counts()["finishes"]) == (None, {0: "stop"})
