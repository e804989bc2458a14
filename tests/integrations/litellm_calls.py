"""Calls of the real LiteLLM to the loopback upstream, and what tests look at in the answers."""

from __future__ import annotations

import asyncio
import gc
import importlib
import json
import warnings
from collections.abc import Coroutine, Iterator, Sequence
from typing import Any, Final, TypeVar

import httpx
import pytest

from streamnorm.upstream import Request, Route, Upstream

Result = TypeVar("Result")

# For ``pytestmark``: what LiteLLM itself and its dependencies leave or deprecate is not ours to
# mend.
MARKS: Final = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
]

HEAD: Final = {"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "m"}
DONE: Final = b"data: [DONE]\n\n"

# Providers that the notes on LiteLLM name, by how they send: OpenAI's SDK, and LiteLLM's own
# HTTP handler. Left out are those that cannot be pointed at a loopback upstream without
# credentials of another kind or another wire format (bedrock, vertex_ai, sagemaker, watsonx,
# clarifai, bytez, gigachat, …); heroku and snowflake are in the second group and alike.
SDK: Final = ("openai", "custom_openai", "vercel_ai_gateway", "deepinfra", "cerebras", "nvidia_nim")
HANDLERS: Final = (
    "openrouter", "deepseek", "groq", "together_ai", "fireworks_ai", "hosted_vllm", "xai",
    "mistral", "minimax", "cometapi", "ovhcloud", "heroku", "huggingface", "compactifai",
    "edenai", "cloudflare",
)  # fmt: skip
PROVIDERS: Final = (*SDK, *HANDLERS)


def one(delta: Any, finish: str | None = None, **more: Any) -> bytes:
    """One event."""
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return b"data: " + json.dumps({**HEAD, "choices": [choice], **more}).encode() + b"\n\n"


def steps(*deltas: dict[str, Any]) -> list[bytes]:
    """A whole stream: *deltas*, then the answer ``so it``."""
    answer = [one({"content": "so"}), one({"content": " it"}), one({}, "stop"), DONE]
    return [one({"role": "assistant", "content": ""}), *map(one, deltas), *answer]


def upstream(played: Sequence[Any], status: int = 200, kind: str = "text/event-stream") -> Upstream:
    """An upstream that plays *played* under whatever path a provider's module asks for."""
    return playing(Upstream(), played, status, kind)


def playing(
    up: Upstream, played: Sequence[Any], status: int = 200, kind: str = "text/event-stream"
) -> Upstream:
    """*up*, which from now on does so."""

    def find(_: Request) -> Route:
        return Route(tuple(played), status, {"content-type": kind})

    up.otherwise(find)
    return up


def request(up: Upstream, provider: str = "openai", **more: Any) -> dict[str, Any]:
    """The arguments of a streamed completion."""
    base = f"{up.origin}/api"
    if provider == "huggingface":  # takes the whole address
        base += "/chat/completions"
    return {
        "model": f"{provider}/m", "api_base": base, "api_key": "x", "stream": True,
        "messages": [{"role": "user", "content": "?"}], "max_retries": 0, **more,
    }  # fmt: skip


def run(main: Coroutine[Any, Any, Result]) -> Result:
    """Run *main*, and then what LiteLLM logs behind it; its worker has no end of its own."""

    async def whole() -> Result:
        result = await main
        for _ in range(200):
            await asyncio.sleep(0)
        await _close_clients()
        return result

    return asyncio.run(whole())


async def _close_clients() -> None:
    """Close what LiteLLM keeps for each event loop, and would drop open one day."""
    litellm: Any = importlib.import_module("litellm")
    kept = litellm.in_memory_llm_clients_cache
    for key, holder in list(kept.cache_dict.items()):
        client: Any = getattr(holder, "_client", None)
        if isinstance(client, httpx.AsyncClient) and client is not litellm.aclient_session:
            await client.aclose()
        kept.delete_cache(key)


def tidy() -> None:
    """Drop what LiteLLM leaves open, before a test that looks for such collects it."""
    litellm: Any = importlib.import_module("litellm")
    for holder in litellm.in_memory_llm_clients_cache.cache_dict.values():
        client: Any = getattr(holder, "_client", None)
        if isinstance(client, httpx.Client) and client is not litellm.client_session:
            client.close()
    litellm.in_memory_llm_clients_cache.flush_cache()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


@pytest.fixture(autouse=True, scope="module")
def tidied() -> Iterator[None]:
    """What LiteLLM leaves open is gone for the tests behind those of a module."""
    yield
    tidy()


def text(chunks: Sequence[Any], name: str) -> str:
    """The text of all deltas under *name*."""
    deltas = [chunk.choices[0].delta for chunk in chunks if chunk.choices]
    return "".join(str(getattr(delta, name, None) or "") for delta in deltas)


def finishes(chunks: Sequence[Any]) -> list[str]:
    """All finish_reasons."""
    found = [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices]
    return [reason for reason in found if reason]


async def collect(stream: Any) -> tuple[list[Any], Any]:
    """All chunks, and what was raised behind them."""
    chunks = []
    try:
        async for chunk in stream:
            chunks.append(chunk)
    except Exception as error:  # noqa: BLE001 - what it is is looked at by the test
        return chunks, error
    return chunks, None


def collect_sync(stream: Any) -> tuple[list[Any], Any]:
    """As `collect`, without an event loop."""
    chunks = []
    try:
        for chunk in stream:
            chunks.append(chunk)  # noqa: PERF402 - what came before an exception counts
    except Exception as error:  # noqa: BLE001 - what it is is looked at by the test
        return chunks, error
    return chunks, None
