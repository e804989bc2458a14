"""any-llm: what it loses of a stream, and that it is whole behind the transport."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx2
import pytest
from any_llm import acompletion

from streamnorm import StreamFault
from streamnorm.fault_server.chunks import HALF, OPENING, STREAM
from streamnorm.fault_server.dialects import DIALECT_CASES, DialectCase
from streamnorm.integrations.httpx2 import NormalizingTransport
from streamnorm.upstream import Upstream

from ...aio import run
from ..recipes import run_recipe
from .shown import CASES, PLAIN, SPLIT, Shown, every_case, tool

pytestmark = [
    # Said whenever it raises.
    pytest.mark.filterwarnings("ignore:Provider-specific exceptions:DeprecationWarning"),
    # Of what the SDK reads without complaint, and any-llm writes.
    pytest.mark.filterwarnings("ignore:Pydantic serializer warnings:UserWarning"),
]

MESSAGES = [{"role": "user", "content": "What is 7 × 8?"}]

# What it does not show as it was meant, without streamnorm: where it does not look for
# reasoning, and how it tells tool calls apart.
LOST = (
    "source-reasoning_details",
    "source-reasoning_text",
    "source-thinking_blocks",
    "source-google.thought",
    "source-tags",
    "tool-calls-all-index-0-two-calls",
    SPLIT,
    "tool-calls-id-and-name-on-every-fragment",
)
BREAKS = (
    "source-content-list",
    "source-reasoning-object",
    "tool-calls-no-index-two-calls",
    "tool-calls-arguments-as-an-object",
)


class Merged(Shown):
    """Deltas put together as OpenAI's guide for streaming does it."""

    def __init__(self) -> None:
        super().__init__()
        self.parts: dict[int, list[str]] = {}

    def add(self, chunk: Any) -> None:
        for choice in chunk.choices:
            thought = choice.delta.reasoning
            self.reasoning += thought.content if thought is not None else ""
            self.content += choice.delta.content or ""
            self.finish = choice.finish_reason or self.finish
            for part in choice.delta.tool_calls or ():
                call = self.parts.setdefault(part.index, ["", "", ""])
                call[0] = part.id or call[0]
                call[1] += part.function.name or ""
                call[2] += part.function.arguments or ""
        self.calls = []
        for call in self.parts.values():
            self.call(*call)


async def ask(url: str, tools: Any = (), **client_args: Any) -> Merged:
    more = {"tools": [tool(name) for name in tools]} if tools else {}
    stream: Any = await acompletion(
        "openai:m",
        MESSAGES,  # type: ignore[arg-type]
        api_base=url,
        api_key="unused",
        stream=True,
        client_args={"max_retries": 0, **client_args},
        **more,  # type: ignore[arg-type]
    )
    found = Merged()
    async for chunk in stream:
        found.add(chunk)
    return found


async def ask_normalized(up: Upstream, case: DialectCase) -> Merged:
    transport = NormalizingTransport(**case.options)
    async with httpx2.AsyncClient(transport=transport) as client:
        return await ask(up.base_url(case.name), [c.name for c in case.calls], http_client=client)


@pytest.fixture(scope="module")
def cases() -> Iterator[Upstream]:
    with every_case() as up:
        yield up


async def ask_bare(up: Upstream, name: str) -> Merged:
    async with httpx2.AsyncClient() as client:
        tools = [call.name for call in CASES[name].calls]
        return await ask(up.base_url(name), tools, http_client=client)


@pytest.mark.parametrize("name", LOST)
def test_what_is_lost_without_it(cases: Upstream, name: str) -> None:
    assert not run(ask_bare(cases, name)).is_whole(CASES[name])


@pytest.mark.parametrize("name", BREAKS)
def test_what_breaks_without_it(cases: Upstream, name: str) -> None:
    with pytest.raises(ValueError, match="ChatCompletionChunk"):
        run(ask_bare(cases, name))


def test_what_is_whole_without_it(cases: Upstream) -> None:
    assert run(ask_bare(cases, PLAIN)).is_whole(CASES[PLAIN])


def test_every_dialect(cases: Upstream) -> None:
    async def main() -> dict[str, Shown]:
        found = {case.name: await ask_normalized(cases, case) for case in DIALECT_CASES}
        return {name: one for name, one in found.items() if not one.is_whole(CASES[name])}

    assert run(main()) == {}


def test_a_stream_that_breaks() -> None:
    async def main(url: str, client: Any) -> Merged:
        async with client:
            return await ask(url, http_client=client)

    with Upstream.in_thread() as up:
        up.add("x", OPENING)
        url = up.base_url("x")
        # Half an answer, and nothing says so.
        assert run(main(url, httpx2.AsyncClient())).content == HALF
        with pytest.raises(StreamFault) as raised:
            run(main(url, httpx2.AsyncClient(transport=NormalizingTransport())))
    assert raised.value.kind == "truncated"
    assert raised.value.visible_output


def test_the_recipe() -> None:
    case = CASES["source-reasoning_details"]
    found = Merged()

    async def main() -> None:
        async with Upstream() as up:
            up.add("x", case.steps)
            url = up.base_url("x")
            names: Any = {"base_url": url, "api_key": "unused", "messages": MESSAGES}
            await run_recipe("any-llm", **names, handle=found.add)

    run(main())
    assert found.is_whole(case)


def test_usage() -> None:
    async def main() -> Any:
        async with Upstream() as up, httpx2.AsyncClient(transport=NormalizingTransport()) as client:
            up.add("x", STREAM)
            stream: Any = await acompletion(
                "openai:m",
                MESSAGES,  # type: ignore[arg-type]
                api_base=up.base_url("x"),
                api_key="unused",
                stream=True,
                client_args={"http_client": client},
            )
            return [chunk.usage async for chunk in stream if chunk.usage]

    (usage,) = run(main())
    assert (usage.prompt_tokens, usage.completion_tokens, usage.total_tokens) == (12, 24, 36)
