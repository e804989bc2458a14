"""SDKs and frameworks, through their public interfaces."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

from .run import KEY, MESSAGES, MODEL, QUESTION, Probe, Read, Run


@asynccontextmanager
async def openai_python() -> AsyncIterator[Read]:
    """OpenAI's SDK."""
    from openai import AsyncOpenAI

    client: Any
    async with AsyncOpenAI(base_url="http://127.0.0.1", api_key=KEY, max_retries=0) as client:

        async def read(base_url: str, run: Run) -> None:
            stream = await client.with_options(base_url=base_url).chat.completions.create(
                model=MODEL, messages=list(MESSAGES), stream=True
            )
            run.begin()
            await _read_deltas(stream, run)

        yield read


async def _read_deltas(stream: Any, run: Run) -> None:
    count = 0
    keeps = run.keeps
    async for chunk in stream:
        count += 1
        if keeps:
            for choice in chunk.choices:
                run.see_delta(choice.delta)
    run.items = count


def litellm(route: str) -> Probe:
    """LiteLLM, with a model of the provider *route*."""

    @asynccontextmanager
    async def probe() -> AsyncIterator[Read]:
        import litellm

        litellm.suppress_debug_info = True

        async def read(base_url: str, run: Run) -> None:
            stream: Any = await litellm.acompletion(
                model=f"{route}/{MODEL}",
                api_base=base_url,
                api_key=KEY,
                messages=list(MESSAGES),
                stream=True,
                num_retries=0,
                max_retries=0,
            )
            run.begin()
            await _read_deltas(stream, run)

        yield read

    return probe


@asynccontextmanager
async def any_llm() -> AsyncIterator[Read]:
    """any-llm, which makes a client for each call."""
    from any_llm import acompletion

    async def read(base_url: str, run: Run) -> None:
        stream: Any = await acompletion(
            model=f"openai:{MODEL}",
            api_base=base_url,
            api_key=KEY,
            messages=list(MESSAGES),
            stream=True,
            client_args={"max_retries": 0},
        )
        run.begin()
        count = 0
        keeps = run.keeps
        async for chunk in stream:
            count += 1
            if keeps:
                for choice in chunk.choices:
                    thought = choice.delta.reasoning
                    run.think("`delta.reasoning.content`", getattr(thought, "content", None))
                    run.say(choice.delta.content)
        run.items = count

    yield read


@asynccontextmanager
async def pydantic_ai() -> AsyncIterator[Read]:
    """pydantic-ai's direct interface: its events, without an agent."""
    from openai import AsyncOpenAI
    from pydantic_ai.direct import model_request_stream
    from pydantic_ai.messages import ModelRequest, TextPart, ThinkingPart
    from pydantic_ai.models.openai import OpenAIChatModel
    from pydantic_ai.providers.openai import OpenAIProvider

    request: Any = ModelRequest.user_text_prompt(QUESTION)
    client: Any
    async with AsyncOpenAI(base_url="http://127.0.0.1", api_key=KEY, max_retries=0) as client:

        async def read(base_url: str, run: Run) -> None:
            provider = OpenAIProvider(openai_client=client.with_options(base_url=base_url))
            model: Any = OpenAIChatModel(MODEL, provider=provider)
            async with model_request_stream(model, [request]) as stream:
                run.begin()
                count = 0
                async for _ in stream:
                    count += 1
                run.items = count
            for part in stream.get().parts if run.keeps else ():
                if isinstance(part, ThinkingPart):
                    run.think("`ThinkingPart`", part.content)
                elif isinstance(part, TextPart):
                    run.say(part.content)

        yield read


@asynccontextmanager
async def langchain_openai() -> AsyncIterator[Read]:
    """LangChain. Its stream sends the request, which is therefore counted."""
    from langchain_openai import ChatOpenAI

    async def read(base_url: str, run: Run) -> None:
        model: Any = ChatOpenAI(model=MODEL, base_url=base_url, api_key=KEY, max_retries=0)
        run.begin()
        count = 0
        async for chunk in model.astream(QUESTION):
            count += 1
            if run.keeps:
                for name in ("reasoning_content", "reasoning"):
                    run.think(f"`additional_kwargs.{name}`", chunk.additional_kwargs.get(name))
                for block in chunk.content_blocks:
                    run.think("`content_blocks`", block.get("reasoning"))
                run.say(str(chunk.text))
        run.items = count

    yield read


PROBES: Final[dict[str, Probe]] = {
    "openai-python": openai_python,
    "litellm-openai": litellm("openai"),
    "litellm-openrouter": litellm("openrouter"),
    "litellm-vercel": litellm("vercel_ai_gateway"),
    "any-llm": any_llm,
    "pydantic-ai": pydantic_ai,
    "langchain-openai": langchain_openai,
}
