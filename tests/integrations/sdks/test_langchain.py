"""LangChain: what `ChatOpenAI` loses of a stream, and that it is whole with the mixin."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator
from itertools import zip_longest
from typing import Any

import openai
import pytest
from langchain_core.messages import AIMessageChunk, HumanMessage
from langchain_openai import ChatOpenAI
from pydantic import ValidationError

from streamnorm import StreamFault
from streamnorm.fault_server.chunks import ANSWERED, DONE, FINISH, HALF, OPENING, STREAM, USAGE
from streamnorm.fault_server.chunks import CONTENT as FAULT_CONTENT
from streamnorm.fault_server.chunks import REASONING as FAULT_REASONING
from streamnorm.fault_server.dialects import DialectCase
from streamnorm.integrations.langchain import KEY, NormalizedChatOpenAI
from streamnorm.upstream import Abort, Gate, Upstream

from ...aio import run
from ...helpers import chunk, event
from ..recipes import run_recipe
from .shown import CASES, PLAIN, SPLIT, WITHOUT_OPTIONS, Shown, every_case, sends_finish, tool

QUESTION = "What is 7 × 8?"


@pytest.fixture(scope="module")
def cases() -> Iterator[Upstream]:
    with every_case() as up:
        yield up


def model(url: str, kind: Any = NormalizedChatOpenAI, **more: Any) -> Any:
    return kind(model="m", base_url=url, api_key="unused", max_retries=0, **more)


def shown(message: Any) -> Shown:
    found = Shown(message.additional_kwargs.get(KEY, ""), str(message.text))
    for call in message.tool_calls:
        found.call(call["id"], call["name"], call["args"])
    found.finish = message.response_metadata.get("finish_reason")
    return found


def added(chunks: list[Any]) -> Any:
    """The message that the chunks of a stream add up to."""
    whole = None
    for one in chunks:
        assert isinstance(one, AIMessageChunk)
        whole = one if whole is None else whole + one
    return whole


def check(message: Any, case: DialectCase) -> None:
    found = shown(message)
    assert found.is_whole(case), found
    assert isinstance(message.content, str)
    wanted = "tool_calls" if case.calls else "stop"
    assert found.finish == (wanted if sends_finish(case) else None)


@pytest.mark.parametrize("name", CASES)
def test_every_dialect(cases: Upstream, name: str) -> None:
    case = CASES[name]
    normalized = model(cases.base_url(name), streamnorm_options=case.options)
    check(added(list(normalized.stream(QUESTION))), case)


def test_what_is_lost_without_it(cases: Upstream) -> None:
    lost_calls = set()
    for case in WITHOUT_OPTIONS:
        bare = model(cases.base_url(case.name), ChatOpenAI)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of pydantic, where content is a list
            try:
                found = shown(added(list(bare.stream(QUESTION))))
            except ValidationError:  # at the arguments of a tool call
                found = Shown()
        # No name of the table is one that it keeps.
        assert not found.reasoning
        if case.calls and not found.is_whole(case):
            lost_calls.add(case.row)
    assert lost_calls == {
        "no index: one call in fragments",
        "no index: two calls in fragments",
        "all index 0: two calls in fragments",
        "id and name on every fragment",
        "arguments as an object",
    }


def test_tags_stay_in_the_answer_without_it(cases: Upstream) -> None:
    case = CASES["source-tags"]
    bare = added(list(model(cases.base_url(case.name), ChatOpenAI).stream(QUESTION)))
    assert case.reasoning in bare.text
    assert "<think>" in bare.text


WAYS = ["stream", "astream", "events", "invoke", "ainvoke"]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", [PLAIN, "source-reasoning_details", "source-tags", SPLIT])
def test_every_way_to_stream(name: str, way: str) -> None:
    async def ask(streaming: Any) -> Any:
        if way == "stream":
            return added(list(streaming.stream(QUESTION)))
        if way == "astream":
            return added([one async for one in streaming.astream(QUESTION)])
        if way == "invoke":
            return streaming.invoke(QUESTION)
        if way == "ainvoke":
            return await streaming.ainvoke(QUESTION)
        events = [one async for one in streaming.astream_events(QUESTION, version="v2")]
        parts = [one["data"]["chunk"] for one in events if one["event"] == "on_chat_model_stream"]
        (ended,) = (one["data"]["output"] for one in events if one["event"].endswith("_end"))
        check(ended, CASES[name])
        return added(parts)

    async def main() -> Any:
        # (LangChain shares clients by their base URL, and a client belongs to one loop.)
        with every_case() as up:
            return await ask(model(up.base_url(name), streaming=True))

    check(run(main()), CASES[name])


def test_the_chunks_as_they_come() -> None:
    """Each piece comes before the next one was sent, reasoning and answer apart."""

    async def main() -> None:
        async with Upstream() as up:
            gates = [Gate() for _ in STREAM]
            steps = [step for pair in zip(gates, STREAM, strict=True) for step in pair]
            up.add("x", steps)
            stream = aiter(model(up.base_url("x")).astream(QUESTION))
            seen = []
            for gate, sent in zip(gates, STREAM, strict=True):
                gate.open()
                if b'_content":"' not in sent and b'"content":"' not in sent:
                    continue
                if b'"content":""' in sent:
                    continue
                one = await anext(stream)
                while not one.text and KEY not in one.additional_kwargs:
                    one = await anext(stream)
                seen.append((one.additional_kwargs.get(KEY, ""), str(one.text)))
            assert [bool(thought) for thought, _ in seen] == [True] * 3 + [False] * 3
            assert "".join(thought for thought, _ in seen) == FAULT_REASONING
            assert "".join(text for _, text in seen) == FAULT_CONTENT
            async for _ in stream:
                pass

    run(main())


def test_finish_reason_and_usage_count_once() -> None:
    def said(text: str, tokens: int) -> bytes:
        usage = {"prompt_tokens": 10, "completion_tokens": tokens, "total_tokens": 10 + tokens}
        details = {"reasoning_tokens": tokens // 2}
        usage_member: Any = {**usage, "completion_tokens_details": details}
        return event(chunk({"content": text}, "stop", usage=usage_member, model="m-1"))

    with Upstream.in_thread() as up:
        up.add("x", [said("a", 2), said("b", 4), said("c", 6), DONE])
        bare = added(list(model(up.base_url("x"), ChatOpenAI).stream(QUESTION)))
        whole = added(list(model(up.base_url("x")).stream(QUESTION)))

        async def main() -> Any:
            return added([one async for one in model(up.base_url("x")).astream(QUESTION)])

        again = run(main())
    assert bare.response_metadata["finish_reason"] == "stopstopstop"
    assert bare.usage_metadata["total_tokens"] == 12 + 14 + 16
    for message in (whole, again):
        assert message.text == "abc"
        assert message.response_metadata["finish_reason"] == "stop"
        assert message.response_metadata["model_name"] == "m-1"
        usage = message.usage_metadata
        assert (usage["input_tokens"], usage["output_tokens"], usage["total_tokens"]) == (10, 6, 16)
        assert usage["output_token_details"] == {"reasoning": 3}


def test_usage_in_a_chunk_of_its_own() -> None:
    with Upstream.in_thread() as up:
        up.add("x", STREAM)
        whole = added(list(model(up.base_url("x")).stream(QUESTION)))
    assert whole.usage_metadata["total_tokens"] == 36
    assert whole.usage_metadata["output_token_details"]["reasoning"] == 14
    assert whole.response_metadata["finish_reason"] == "stop"


BODY: dict[str, Any] = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "created": 1,
    "model": "m-1",
    "usage": {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3},
}


def body(message: dict[str, Any], finish: str = "stop") -> bytes:
    choice = {"index": 0, "finish_reason": finish, "message": {"role": "assistant", **message}}
    return json.dumps({**BODY, "choices": [choice]}).encode()


def answers(up: Upstream, name: str, message: dict[str, Any], **more: Any) -> None:
    up.add(name, [body(message, **more)], headers={"content-type": "application/json"})


@pytest.mark.parametrize(
    "message",
    [
        {"reasoning": "why", "content": "so"},
        {"reasoning_content": "why", "content": "so"},
        {"reasoning_details": [{"type": "reasoning.text", "text": "why"}], "content": "so"},
        {"content": "<think>why</think>so"},
        {
            "content": [
                {"type": "thinking", "thinking": [{"type": "text", "text": "why"}]},
                {"type": "text", "text": "so"},
            ]
        },
    ],
)
def test_an_answer_that_is_not_streamed(message: dict[str, Any]) -> None:
    with Upstream.in_thread() as up:
        answers(up, "x", message)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            assert not shown(model(up.base_url("x"), ChatOpenAI).invoke(QUESTION)).reasoning
        found = model(up.base_url("x")).invoke(QUESTION)

        async def later() -> Any:
            return await model(up.base_url("x")).ainvoke(QUESTION)

        for one in (found, run(later())):
            assert shown(one) == Shown("why", "so", [], "stop")
            assert isinstance(one.content, str)
            assert one.usage_metadata["total_tokens"] == 3


def test_tool_calls_of_an_answer_that_is_not_streamed() -> None:
    call = {"type": "function", "function": {"name": "get_weather", "arguments": {"city": "Rome"}}}
    with Upstream.in_thread() as up:
        message = {"reasoning": "why", "content": None, "tool_calls": [{"id": "c1", **call}]}
        answers(up, "x", message, finish="tool_calls")
        found = model(up.base_url("x")).bind_tools([tool("get_weather")]).invoke(QUESTION)
    calls: list[tuple[Any, Any, Any]] = [("c1", "get_weather", {"city": "Rome"})]
    assert shown(found) == Shown("why", "", calls, "tool_calls")
    assert found.invalid_tool_calls == []


@pytest.mark.parametrize("way", ["stream", "astream"])
@pytest.mark.parametrize(
    ("steps", "kind"),
    [
        (OPENING, "truncated"),
        ((*OPENING, Abort()), "transport"),
    ],
)
def test_a_stream_that_breaks(steps: Any, kind: str, way: str) -> None:
    got: list[Any] = []

    async def later(normalized: Any) -> None:
        async for one in normalized.astream(QUESTION):
            got.append(one)

    with Upstream.in_thread() as up:
        up.add("x", steps)
        normalized = model(up.base_url("x"))
        with pytest.raises(StreamFault) as raised:
            run(later(normalized)) if way == "astream" else got.extend(normalized.stream(QUESTION))
    assert raised.value.kind == kind
    assert raised.value.visible_output
    # Everything before it was delivered, and no end was made up.
    found = shown(added(got))
    assert (found.reasoning, found.content) == (FAULT_REASONING, HALF)
    assert found.finish is None


def test_an_error_inside_of_a_stream_is_found_by_the_sdk() -> None:
    with Upstream.in_thread() as up:
        up.add("x", [*OPENING, event(b'{"error":{"message":"Overloaded","code":529}}')])
        with pytest.raises(openai.APIError, match="Overloaded"):
            model(up.base_url("x")).invoke(QUESTION, stream=True)


def test_a_stream_that_breaks_passes_for_whole_without_it() -> None:
    with Upstream.in_thread() as up:
        up.add("x", OPENING)
        assert added(list(model(up.base_url("x"), ChatOpenAI).stream(QUESTION))).text == HALF


@pytest.mark.parametrize("way", ["stream", "astream"])
def test_streams_of_one_model_do_not_mix(way: str) -> None:
    """Two at once, read in turns: one in the middle of a thought, one of a tool call."""
    both = [CASES["source-tags"], CASES[SPLIT]]
    got: list[list[Any]] = [[], []]

    async def main() -> None:
        async with Upstream() as up:
            scripts = iter([case.steps for case in both])
            up.add("x", lambda _: next(scripts))
            normalized = model(up.base_url("x"))
            streams = [aiter(normalized.astream(QUESTION)) for _ in both]
            open_ones = dict(enumerate(streams))
            while open_ones:
                for number, stream in list(open_ones.items()):
                    one = await anext(stream, None)
                    if one is None:
                        del open_ones[number]
                    else:
                        got[number].append(one)

    def in_turns() -> None:
        with Upstream.in_thread() as up:
            scripts = iter([case.steps for case in both])
            up.add("x", lambda _: next(scripts))
            normalized = model(up.base_url("x"))
            streams = [normalized.stream(QUESTION) for _ in both]
            for ones in zip_longest(*streams):
                for number, one in enumerate(ones):
                    if one is not None:
                        got[number].append(one)

    run(main()) if way == "astream" else in_turns()
    for chunks, case in zip(got, both, strict=True):
        assert len(chunks) > 3
        check(added(chunks), case)


def test_a_left_stream_frees_its_connection() -> None:
    async def main() -> None:
        async with Upstream() as up:
            up.add("x", [*ANSWERED[:2], Gate()])
            stream = model(up.base_url("x")).astream(QUESTION)
            async for one in stream:
                if KEY in one.additional_kwargs:
                    break
            await stream.aclose()
            await up.drained()
            assert up.requests[0].outcome == "client_left"

    run(main())


def test_the_recipe() -> None:
    async def main() -> None:
        async with Upstream() as up:
            up.add("x", [*ANSWERED, FINISH, USAGE, DONE])
            names = await run_recipe(
                "langchain", base_url=up.base_url("x"), api_key="unused", question=QUESTION
            )
        message = names["message"]
        assert shown(message) == Shown(FAULT_REASONING, FAULT_CONTENT, [], "stop")

    run(main())


def test_messages_of_other_kinds_are_left_alone() -> None:
    """An upstream that answers in another role."""
    with Upstream.in_thread() as up:
        up.add("x", [event(chunk({"role": "user", "content": "so"}, "stop")), DONE])
        (first, *_) = model(up.base_url("x")).stream([HumanMessage(QUESTION)])
    assert first.text == "so"
