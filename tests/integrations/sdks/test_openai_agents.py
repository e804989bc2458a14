"""openai-agents: what it loses of a stream, and that it is whole behind the transport."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from agents import (
    Agent,
    FunctionTool,
    ModelSettings,
    ModelTracing,
    OpenAIChatCompletionsModel,
    RunConfig,
    Runner,
    function_tool,
)
from openai import APIError, AsyncOpenAI

from streamnorm import StreamFault
from streamnorm.fault_server.chunks import CONTENT, HALF, OPENING, REASONING, STREAM, event
from streamnorm.fault_server.dialects import DIALECT_CASES
from streamnorm.integrations.openai import normalize_openai
from streamnorm.upstream import Upstream

from ...aio import run
from ..recipes import run_recipe
from .shown import CASES, PLAIN, SPLIT, Shown, every_case

QUESTION = "What is 7 × 8?"
QUIET = RunConfig(tracing_disabled=True)
REASONING_DELTAS = ("response.reasoning_text.delta", "response.reasoning_summary_text.delta")

# What it does not show as it was meant, without streamnorm: where it does not look for
# reasoning, what it reads twice or breaks at, and how it tells tool calls apart.
LOST = (
    "source-reasoning_details",
    "source-thinking",
    "source-reasoning_text",
    "source-thinking_blocks",
    "source-reasoning-object",
    "source-google.thought",
    "source-tags",
    "dialect-mirrored",
    "tool-calls-no-index-two-calls",
    "tool-calls-all-index-0-two-calls",
    SPLIT,
)
BREAKS = ("source-content-list", "tool-calls-arguments-as-an-object")


async def ask(client: Any, tools: Sequence[str] = ()) -> Shown:
    async def never(_: Any, arguments: str) -> str:
        raise AssertionError("a model alone runs no tool")

    schema = {"type": "object", "properties": {}, "additionalProperties": True}
    offered: Any = [
        FunctionTool(name, name, schema, never, strict_json_schema=False) for name in tools
    ]
    found = Shown()
    events: Any = OpenAIChatCompletionsModel("m", client).stream_response(
        None, QUESTION, ModelSettings(), offered, None, [], ModelTracing.DISABLED
    )
    async for one in events:
        if one.type in REASONING_DELTAS:
            found.reasoning += one.delta
        elif one.type == "response.output_text.delta":
            found.content += one.delta
        elif one.type == "response.completed":
            for item in one.response.output:
                if item.type == "function_call":
                    found.call(item.call_id, item.name, item.arguments)
    return found


def client_of(url: str) -> AsyncOpenAI:
    return AsyncOpenAI(base_url=url, api_key="unused", max_retries=0)


@pytest.fixture(scope="module")
def cases() -> Iterator[Upstream]:
    with every_case() as up:
        yield up


async def ask_bare(up: Upstream, name: str) -> Shown:
    async with client_of(up.base_url(name)) as client:
        return await ask(client, [call.name or "" for call in CASES[name].calls])


@pytest.mark.parametrize("name", LOST)
def test_what_is_lost_without_it(cases: Upstream, name: str) -> None:
    assert not run(ask_bare(cases, name)).is_whole(CASES[name])


@pytest.mark.parametrize("name", BREAKS)
def test_what_breaks_without_it(cases: Upstream, name: str) -> None:
    with pytest.raises((ValueError, TypeError)):
        run(ask_bare(cases, name))


def test_what_is_whole_without_it(cases: Upstream) -> None:
    assert run(ask_bare(cases, PLAIN)).is_whole(CASES[PLAIN])


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


def test_reasoning_under_both_names_is_doubled(cases: Upstream) -> None:
    """Why the option is not to be used here."""

    async def main() -> Shown:
        client = normalize_openai(client_of(cases.base_url(PLAIN)), reasoning="both")
        async with client:
            return await ask(client)

    found, case = run(main()), CASES[PLAIN]
    assert len(found.reasoning) == 2 * len(case.reasoning)
    assert found.content == case.content


def test_a_run() -> None:
    """Two calls under one index, then the answer to their results."""
    ran: list[tuple[str, str]] = []

    @function_tool
    def get_weather(city: str) -> str:
        ran.append(("get_weather", city))
        return "mild"

    @function_tool
    def get_time(city: str) -> str:
        ran.append(("get_time", city))
        return "noon"

    async def main() -> tuple[Any, str]:
        async with Upstream() as up:
            turns = iter((CASES[SPLIT].steps, STREAM))
            up.add("x", lambda _: next(turns))
            async with normalize_openai(client_of(up.base_url("x"))) as client:
                model = OpenAIChatCompletionsModel("m", client)
                agent = Agent("clerk", model=model, tools=[get_weather, get_time])
                result = Runner.run_streamed(agent, QUESTION, run_config=QUIET)
                thoughts = ""
                events: Any = result.stream_events()
                async for one in events:
                    if one.type == "raw_response_event" and one.data.type in REASONING_DELTAS:
                        thoughts += one.data.delta
                return result, thoughts

    result, thoughts = run(main())
    assert result.final_output == CONTENT
    assert thoughts == REASONING
    assert sorted(ran) == [("get_time", "Rome"), ("get_weather", "Paris")]
    # That of the first answer was not sent.
    assert result.context_wrapper.usage.total_tokens == 36


def test_a_stream_that_breaks() -> None:
    async def main(client: Any) -> Shown:
        async with client:
            return await ask(client)

    with Upstream.in_thread() as up:
        up.add("x", OPENING)
        # Half an answer, and it is called complete.
        assert run(main(client_of(up.base_url("x")))).content == HALF
        with pytest.raises(StreamFault) as raised:
            run(main(normalize_openai(client_of(up.base_url("x")))))
    assert raised.value.kind == "truncated"
    assert raised.value.visible_output


def test_an_error_in_the_stream_is_found_by_the_sdk() -> None:
    async def main(client: Any) -> Shown:
        async with client:
            return await ask(client)

    with Upstream.in_thread() as up:
        up.add("x", [*OPENING, event({"error": {"message": "Overloaded", "code": 529}})])
        with pytest.raises(APIError, match="Overloaded"):
            run(main(normalize_openai(client_of(up.base_url("x")))))


def test_the_recipe() -> None:
    said: list[tuple[str, str]] = []

    async def main() -> None:
        async with Upstream() as up:
            up.add("x", CASES["source-reasoning_details"].steps)
            names = {"base_url": up.base_url("x"), "api_key": "unused", "question": QUESTION}
            await run_recipe("openai-agents", **names, print=lambda *some: said.append(some))

    run(main())
    case = CASES["source-reasoning_details"]
    assert "".join(text for kind, text in said if kind in REASONING_DELTAS) == case.reasoning
    assert "".join(text for kind, text in said if "output_text" in kind) == case.content
