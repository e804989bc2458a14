"""pydantic-ai: what it loses of a stream, and that it is whole behind the transport."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from openai import AsyncOpenAI
from pydantic_ai import Agent
from pydantic_ai.direct import model_request_stream
from pydantic_ai.exceptions import ModelHTTPError
from pydantic_ai.messages import ModelRequest, TextPart, ThinkingPart, ToolCallPart
from pydantic_ai.models import ModelRequestParameters
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.openai import OpenAIProvider
from pydantic_ai.tools import ToolDefinition

from streamnorm import StreamFault
from streamnorm.fault_server.chunks import CONTENT, HALF, OPENING, REASONING, STREAM, event
from streamnorm.fault_server.dialects import DIALECT_CASES
from streamnorm.integrations.openai import normalize_openai
from streamnorm.upstream import Upstream

from ...aio import run
from ..recipes import run_recipe
from .shown import CASES, PLAIN, SPLIT, Shown, every_case

QUESTION = "What is 7 × 8?"

# What it does not show as it was meant, without streamnorm: where it does not look for
# reasoning, and how it tells tool calls apart.
LOST = (
    "source-reasoning_details",
    "source-thinking",
    "source-reasoning_text",
    "source-thinking_blocks",
    "source-reasoning-object",
    "source-content-list",
    "source-google.thought",
    "source-tags",
    "tool-calls-all-index-0-two-calls",
    SPLIT,
    "tool-calls-id-and-name-on-every-fragment",
)


async def ask(client: Any, tools: Sequence[str] = ()) -> Shown:
    chat = OpenAIChatModel("m", provider=OpenAIProvider(openai_client=client))
    parameters = ModelRequestParameters(function_tools=[ToolDefinition(name=n) for n in tools])
    asked: Any = [ModelRequest.user_text_prompt(QUESTION)]
    async with model_request_stream(chat, asked, model_request_parameters=parameters) as stream:
        async for _ in stream:
            pass
        answer = stream.get()
    return shown(answer)


def shown(answer: Any) -> Shown:
    found = Shown(finish=answer.finish_reason)
    for part in answer.parts:
        if isinstance(part, ThinkingPart):
            found.reasoning += part.content
        elif isinstance(part, TextPart):
            found.content += part.content
        elif isinstance(part, ToolCallPart):
            found.call(part.tool_call_id, part.tool_name, part.args)
    return found


def client_of(url: str) -> AsyncOpenAI:
    return AsyncOpenAI(base_url=url, api_key="unused", max_retries=0)


@pytest.fixture(scope="module")
def cases() -> Iterator[Upstream]:
    with every_case() as up:
        yield up


@pytest.mark.parametrize("name", LOST)
@pytest.mark.filterwarnings("ignore:Unexpected non-string value:UserWarning")
@pytest.mark.filterwarnings("ignore:Pydantic serializer warnings:UserWarning")
def test_what_is_lost_without_it(cases: Upstream, name: str) -> None:
    async def main() -> Shown:
        async with client_of(cases.base_url(name)) as client:
            return await ask(client, [call.name or "" for call in CASES[name].calls])

    assert not run(main()).is_whole(CASES[name])


def test_what_is_whole_without_it(cases: Upstream) -> None:
    async def main() -> Shown:
        async with client_of(cases.base_url(PLAIN)) as client:
            return await ask(client)

    assert run(main()).is_whole(CASES[PLAIN])


def test_every_dialect(cases: Upstream) -> None:
    async def main() -> dict[str, Shown]:
        broken = {}
        for case in DIALECT_CASES:
            client = normalize_openai(client_of(cases.base_url(case.name)), **case.options)
            async with client:
                found = await ask(client, [call.name or "" for call in case.calls])
            if not found.is_whole(case):
                broken[case.name] = found
        return broken

    assert run(main()) == {}


def test_usage_and_finish_reason() -> None:
    async def main() -> Any:
        async with Upstream() as up:
            up.add("x", STREAM)
            async with normalize_openai(client_of(up.base_url("x"))) as client:
                agent = Agent(OpenAIChatModel("m", provider=OpenAIProvider(openai_client=client)))
                async with agent.run_stream(QUESTION) as result:
                    await result.get_output()
                    return result.usage, result.all_messages()[-1]

    usage, answer = run(main())
    assert (usage.input_tokens, usage.output_tokens) == (12, 24)
    assert shown(answer) == Shown(REASONING, CONTENT, [], "stop")


def test_an_agent_runs_the_tools_that_were_called() -> None:
    """Two calls under one index, then the answer to their results."""
    ran: list[tuple[str, str]] = []

    async def main() -> str:
        async with Upstream() as up:
            turns = iter((CASES[SPLIT].steps, STREAM))
            up.add("x", lambda _: next(turns))
            async with normalize_openai(client_of(up.base_url("x"))) as client:
                agent = Agent(OpenAIChatModel("m", provider=OpenAIProvider(openai_client=client)))

                @agent.tool_plain
                def get_weather(city: str) -> str:
                    ran.append(("get_weather", city))
                    return "mild"

                @agent.tool_plain
                def get_time(city: str) -> str:
                    ran.append(("get_time", city))
                    return "noon"

                async with agent.run_stream(QUESTION) as result:
                    return await result.get_output()

    assert run(main()) == CONTENT
    assert sorted(ran) == [("get_time", "Rome"), ("get_weather", "Paris")]


def test_a_stream_that_breaks() -> None:
    async def main(client: Any) -> Shown:
        async with client:
            return await ask(client)

    with Upstream.in_thread() as up:
        up.add("x", OPENING)
        bare = run(main(client_of(up.base_url("x"))))
        # Half an answer, and nothing says so.
        assert bare.content == HALF
        with pytest.raises(StreamFault) as raised:
            run(main(normalize_openai(client_of(up.base_url("x")))))
    assert raised.value.kind == "truncated"
    assert raised.value.visible_output


def test_an_error_in_the_stream_keeps_its_status() -> None:
    async def main(client: Any) -> Shown:
        async with client:
            return await ask(client)

    with Upstream.in_thread() as up:
        up.add("x", [*OPENING, event({"error": {"message": "Overloaded", "code": 529}})])
        with pytest.raises(ModelHTTPError, match="Overloaded") as raised:
            run(main(normalize_openai(client_of(up.base_url("x")))))
    assert raised.value.status_code == 529


def test_the_recipe() -> None:
    async def main() -> dict[str, Any]:
        async with Upstream() as up:
            up.add("x", CASES["source-reasoning_details"].steps)
            names = {"base_url": up.base_url("x"), "api_key": "unused", "question": QUESTION}
            return await run_recipe("pydantic-ai", **names)

    names = run(main())
    case = CASES["source-reasoning_details"]
    assert names["answer"] == case.content
    assert shown(names["messages"][-1]).is_whole(case)
