"""Chunks that mix reasoning and an answer, made two on request: reasoning first."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given

from streamnorm._engine import Engine

from . import oracle, strategies
from .helpers import DONE, event, one_byte, run_chunks, run_square, run_sse, stream
from .strategies import Sent

CALL = {"index": 0, "id": "a", "function": {"name": "f", "arguments": "{}"}}


def documents(raw: list[Any]) -> bytes:
    return b"".join(event(json.dumps(document).encode()) for document in raw) + DONE


def test_mixed_delta_becomes_two_chunks(engine: Engine) -> None:
    usage = {"total_tokens": 3}
    document = {
        "id": "c-1", "object": "chat.completion.chunk", "created": 1, "model": "m", "x": 1,
        "choices": [
            {
                "index": 3,
                "delta": {"role": "assistant", "content": "b", "reasoning": "a", "y": 2},
                "logprobs": {"content": []},
                "finish_reason": "stop",
            }
        ],
        "usage": usage,
    }  # fmt: skip
    first, last = run_square(engine, [documents([document])], split_mixed=True).output
    assert first == {
        "id": "c-1", "object": "chat.completion.chunk", "created": 1, "model": "m",
        "choices": [
            {
                "index": 3,
                "delta": {"role": "assistant", "reasoning_content": "a"},
                "finish_reason": None,
            }
        ],
    }  # fmt: skip
    (choice,) = last.pop("choices")
    assert last == {key: value for key, value in document.items() if key != "choices"}
    assert choice == {
        "index": 3, "delta": {"content": "b", "y": 2}, "logprobs": {"content": []},
        "finish_reason": "stop",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("delta", "reasoning", "rest"),
    [
        ({"reasoning_content": "a", "content": "b"}, {"reasoning_content": "a"}, {"content": "b"}),
        ({"content": "<think>a</think>b"}, {"reasoning_content": "a"}, {"content": "b"}),
        (
            {"content": [{"type": "thinking", "thinking": "a"}, "b"]},
            {"reasoning_content": "a"},
            {"content": "b"},
        ),
        (
            {"reasoning": "a", "tool_calls": [CALL]},
            {"reasoning_content": "a"},
            {"tool_calls": [CALL]},
        ),
        (
            {
                "reasoning": "a",
                "reasoning_details": [{"type": "reasoning.text", "text": "a", "signature": "s"}],
                "content": "b",
            },
            {
                "reasoning_content": "a",
                "reasoning_details": [{"type": "reasoning.text", "text": "a", "signature": "s"}],
            },
            {"content": "b"},
        ),
    ],
    ids=["field", "tags", "parts", "call", "details"],
)
def test_what_goes_first(
    engine: Engine, delta: dict[str, Any], reasoning: dict[str, Any], rest: dict[str, Any]
) -> None:
    for parts in ([stream(delta)], one_byte(stream(delta))):
        made = run_square(engine, parts, split_mixed=True).output
        assert [doc["choices"][0]["delta"] for doc in made] == [reasoning, rest, {}]


@pytest.mark.parametrize(
    "delta",
    [
        {"reasoning_content": "a"}, {"content": "b"}, {"reasoning_content": "a", "content": ""},
        {"reasoning_content": "a", "content": None}, {"reasoning_content": "", "content": "b"},
        {"reasoning_content": "a", "tool_calls": []}, {"tool_calls": [CALL], "content": "b"},
        {"reasoning_content": {"effort": "low"}, "content": "b"},
    ],
    ids=str,
)  # fmt: skip
def test_delta_that_is_not_mixed_leaves_byte_for_byte(
    engine: Engine, delta: dict[str, Any]
) -> None:
    raw = stream(delta)
    assert run_sse(engine, [raw], split_mixed=True).output == raw


def test_only_the_mixed_choices_go_first(engine: Engine) -> None:
    choices = [
        {"index": 0, "delta": {"content": "x"}},
        {"index": 1, "delta": {"reasoning_content": "a", "content": "b"}},
        {"delta": {"reasoning_content": "c"}},
        {"index": 3, "delta": {"reasoning_content": "d", "content": "e"}},
    ]
    first, last = run_square(engine, [documents([{"choices": choices}])], split_mixed=True).output
    assert [choice["index"] for choice in first["choices"]] == [1, 3]
    assert [choice["delta"] for choice in first["choices"]] == [
        {"reasoning_content": "a"}, {"reasoning_content": "d"},
    ]  # fmt: skip
    assert [choice["delta"] for choice in last["choices"]] == [
        {"content": "x"}, {"content": "b"}, {"reasoning_content": "c"}, {"content": "e"},
    ]  # fmt: skip


def test_event_lines_stay_with_the_last(engine: Engine) -> None:
    data = b'{"choices":[{"index":0,"delta":{"reasoning_content":"a","content":"b"}}]}'
    raw = b": hello\nevent: message\nid: 7\ndata: " + data + b"\n\n" + DONE
    made = run_sse(engine, [raw], split_mixed=True).output
    first = b'{"choices":[{"index":0,"delta":{"reasoning_content":"a"},"finish_reason":null}]}'
    assert made == (
        b": hello\ndata: " + first + b"\n\n"
        b"event: message\nid: 7\n"
        b'data: {"choices":[{"index":0,"delta":{"content":"b"}}]}\n\n' + DONE
    )


def test_ndjson_stays_ndjson(engine: Engine) -> None:
    raw = b'{"choices":[{"index":0,"delta":{"reasoning_content":"a","content":"b"}}]}\n' * 2
    made = run_sse(engine, [raw], split_mixed=True).output
    assert [json.loads(line)["choices"][0]["delta"] for line in made.splitlines()] == [
        {"reasoning_content": "a"}, {"content": "b"},
    ] * 2  # fmt: skip


def test_both_keys_go_first(engine: Engine) -> None:
    raw = stream({"reasoning": "a", "content": "b"})
    made = run_square(engine, [raw], split_mixed=True, reasoning="both").output
    assert made[0]["choices"][0]["delta"] == {"reasoning_content": "a", "reasoning": "a"}
    assert made[1]["choices"][0]["delta"] == {"content": "b"}


@given(sent=strategies.streams, options=strategies.in_place_options)
def test_halves_together_are_the_whole(engine: Engine, sent: Sent, options: dict[str, Any]) -> None:
    whole = run_chunks(engine, [sent.raw], **options)
    halves = run_square(engine, [sent.raw], split_mixed=True, **options)
    assert (halves.words, halves.report) == (whole.words, whole.report)
    keys = ("reasoning_content", "reasoning", "content")
    for key in keys:
        assert oracle.joined(halves.output, key) == oracle.joined(whole.output, key)
    targets = {"both": keys[:2]}.get(
        options.get("reasoning", ""), (options.get("reasoning", keys[0]),)
    )
    for document in halves.output:
        for _, _, delta in oracle.deltas(document):
            if "message" not in str(document.get("choices")):
                says = any(isinstance(delta.get(key), str) and delta[key] for key in targets)
                assert not (says and (delta.get("content") or delta.get("tool_calls")))


def test_name_may_be_spelled_with_escapes(engine: Engine) -> None:
    raw = event(b'{"choices":[{"index":0,"delta":{"re\\u0061soning":"r","content":"c"}}]}') + DONE
    chunks = run_square(engine, [raw], split_mixed=True, reasoning="reasoning").output
    assert [one["choices"][0]["delta"] for one in chunks] == [{"reasoning": "r"}, {"content": "c"}]
