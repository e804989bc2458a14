"""LangChain: reasoning in the content blocks of messages, beside text and tool calls."""

from __future__ import annotations

import json
from typing import Any

import pytest
from langchain_core.messages import AIMessage, AIMessageChunk, HumanMessage, ToolMessage
from langchain_openai import ChatOpenAI

from streamnorm.fault_server.chunks import DONE, FINISH
from streamnorm.integrations.langchain import KEY
from streamnorm.upstream import Upstream

from ...aio import run
from ...helpers import chunk, event
from .test_langchain import QUESTION, added, answers, model

TEXTS = {"reasoning": "reasoning", "text": "text"}


def blocks(message: Any) -> list[tuple[str, Any]]:
    """What the blocks say, by type; two calls with the same arguments differ in their id."""
    return [
        (block["type"], block[TEXTS[block["type"]]])
        if block["type"] in TEXTS
        else (block["type"], (block["id"], block["name"], block["args"]))
        for block in message.content_blocks
    ]


def call(index: int, arguments: str, call_id: str | None = None) -> bytes:
    function: dict[str, Any] = {"arguments": arguments}
    if call_id is None:
        return chunk({"tool_calls": [{"index": index, "function": function}]})
    function["name"] = f"f{index}"
    head = {"index": index, "id": call_id, "type": "function"}
    return chunk({"tool_calls": [{**head, "function": function}]})


def with_calls(*deltas: dict[str, Any]) -> list[bytes]:
    """A stream of *deltas*, with two tool calls in pieces behind them."""
    calls = [call(0, "", "a"), call(0, '{"x"'), call(0, ":1}"), call(1, '{"y":2}', "b")]
    chunks = [*(chunk(delta) for delta in deltas), *calls, chunk({}, "tool_calls")]
    return [*(event(one) for one in chunks), DONE]


THOUGHT = [{"reasoning": "thi"}, {"reasoning": "nk"}]
TEXT = [{"content": "so"}, {"content": " it"}]
CALLED = [("tool_call", ("a", "f0", {"x": 1})), ("tool_call", ("b", "f1", {"y": 2}))]
VERSIONS = [None, "v1"]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(
    ("deltas", "means"),
    [
        (THOUGHT, [("reasoning", "think")]),
        (TEXT, [("text", "so it")]),
        ([*THOUGHT, *TEXT], [("reasoning", "think"), ("text", "so it")]),
        ([{"reasoning": "think", "content": "so it"}], [("reasoning", "think"), ("text", "so it")]),
    ],
)
def test_content_blocks_of_a_stream(deltas: Any, means: Any, version: str | None) -> None:
    async def main() -> None:
        async with Upstream() as up:
            up.add("x", with_calls(*deltas))
            streaming = model(up.base_url("x"), output_version=version)
            chunks = [one async for one in streaming.astream(QUESTION)]
            whole = await streaming.ainvoke(QUESTION, stream=True)
        for message in (added(chunks), whole):
            assert blocks(message) == [*means, *CALLED]
            said = dict(means)
            assert message.text == said.get("text", "")
            assert message.additional_kwargs.get(KEY) == said.get("reasoning")
            assert (message.content == message.content_blocks) is (version == "v1")
            assert [one["id"] for one in message.tool_calls] == ["a", "b"]
            assert message.response_metadata["model_provider"] == "openai"
        # And each chunk has its own.
        parts = [part for one in chunks for part in blocks(one) if part[0] == "reasoning"]
        assert "".join(text for _, text in parts) == said.get("reasoning", "")

    run(main())


@pytest.mark.parametrize("version", VERSIONS)
def test_content_blocks_of_an_answer_that_is_not_streamed(version: str | None) -> None:
    function = {"name": "f0", "arguments": '{"x":1}'}
    calls = [{"id": "a", "type": "function", "function": function}]
    with Upstream.in_thread() as up:
        answers(up, "x", {"reasoning": "think", "content": "so it", "tool_calls": calls})
        message = model(up.base_url("x"), output_version=version).invoke(QUESTION)
    assert blocks(message) == [("reasoning", "think"), ("text", "so it"), CALLED[0]]
    assert (message.content == message.content_blocks) is (version == "v1")


@pytest.mark.parametrize("version", VERSIONS)
def test_thoughts_between_texts_stay_there(version: str | None) -> None:
    """Where content is blocks; what is one text and one thought cannot say where they were."""
    with Upstream.in_thread() as up:
        deltas = [{"reasoning": "a"}, {"content": "b"}, {"reasoning": "c"}, {"content": "d"}]
        up.add("x", [*(event(chunk(delta)) for delta in deltas), FINISH, DONE])
        message = added(list(model(up.base_url("x"), output_version=version).stream(QUESTION)))
    apart = [("reasoning", "a"), ("text", "b"), ("reasoning", "c"), ("text", "d")]
    together = [("reasoning", "ac"), ("text", "bd")]
    assert blocks(message) == (apart if version == "v1" else together)


@pytest.mark.parametrize("version", VERSIONS)
def test_content_blocks_of_the_plain_model_are_as_they_were(version: str | None) -> None:
    with Upstream.in_thread() as up:
        up.add("x", [*(event(chunk(delta)) for delta in [*THOUGHT, *TEXT]), FINISH, DONE])
        bare = added(list(model(up.base_url("x"), ChatOpenAI, output_version=version).stream("?")))
    assert blocks(bare) == [("text", "so it")]


def test_reasoning_blocks_are_not_doubled_or_made_of_anything() -> None:
    block: Any = {"type": "reasoning", "reasoning": "theirs"}
    openai_says = {"model_provider": "openai"}
    kinds: list[Any] = [AIMessage, AIMessageChunk]
    for kind in kinds:
        kept = kind([block], additional_kwargs={KEY: "ours"}, response_metadata=openai_says)
        assert [one.get("reasoning") for one in kept.content_blocks] == ["theirs"]
        for odd in (None, "", 1, ["why"]):
            message = kind("so", additional_kwargs={KEY: odd}, response_metadata=openai_says)
            assert message.content_blocks == [{"type": "text", "text": "so"}]


@pytest.mark.parametrize("version", VERSIONS)
def test_the_next_turn_of_messages_with_blocks(version: str | None) -> None:
    """LangChain leaves reasoning out of what it sends, as before."""
    with Upstream.in_thread() as up:
        up.add("x", with_calls(*THOUGHT, *TEXT))
        asking = model(up.base_url("x"), output_version=version)
        answer = asking.invoke(QUESTION, stream=True)
        results = [ToolMessage("1", tool_call_id=name) for name in ("a", "b")]
        asking.invoke([HumanMessage(QUESTION), answer, *results], stream=True)
        sent = json.loads(up.requests[-1].body)["messages"][1]
    content = [{"type": "text", "text": "so it"}] if version == "v1" else "so it"
    assert sent["content"] == content
    assert KEY not in sent
    assert [one["id"] for one in sent["tool_calls"]] == ["a", "b"]
