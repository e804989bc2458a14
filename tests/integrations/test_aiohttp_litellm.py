"""LiteLLM's own aiohttp transport, which it uses unless told otherwise, over our middleware."""

from __future__ import annotations

import gzip
import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import httpx
import pytest

from streamnorm import StreamFault
from streamnorm._engine import Engine
from streamnorm.integrations.aiohttp import normalize_middleware
from streamnorm.upstream import Gate, Upstream

from ..aio import run
from ..helpers import DONE, chunk, event, stream
from .recipes import run_recipe

pytestmark = [
    # What LiteLLM itself and its dependencies leave or deprecate is not ours to mend.
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
]

BODY = stream({"reasoning": "why"}, {"content": "so"})
EDITED = BODY.replace(b'"reasoning"', b'"reasoning_content"')
DETAILS = [{"type": "reasoning.text", "text": "why", "index": 0}]
# LiteLLM itself knows nothing of this way to say it.
HEAD: dict[str, Any] = {"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "m"}
FOREIGN = (
    event(chunk({"role": "assistant", "reasoning_details": DETAILS}, **HEAD))
    + event(chunk({"content": "so"}, **HEAD))
    + event(chunk({}, "stop", **HEAD))
    + DONE
)
CALL: dict[str, Any] = {
    "api_key": "k",
    "messages": [{"role": "user", "content": "x"}],
    "stream": True,
    "max_retries": 0,
}


@asynccontextmanager
async def session(**options: Any) -> AsyncIterator[aiohttp.ClientSession]:
    middleware = normalize_middleware(**options)
    async with aiohttp.ClientSession(middlewares=(middleware,)) as made:
        yield made


@asynccontextmanager
async def opened(client: aiohttp.ClientSession, url: str) -> AsyncIterator[httpx.Response]:
    """The response of an httpx client that sends through LiteLLM's transport."""
    from litellm.llms.custom_httpx.aiohttp_transport import LiteLLMAiohttpTransport

    transport = LiteLLMAiohttpTransport(client, owns_session=False)
    async with httpx.AsyncClient(transport=transport) as http, http.stream("GET", url) as response:
        yield response


@pytest.mark.parametrize("packed", [False, True])
def test_the_transport_gives_normal_form(litellm: Any, engine: Engine, packed: bool) -> None:
    async def main() -> None:
        async with Upstream() as up, session(_engine_module=engine) as client:
            # The transport has aiohttp decode nothing; httpx would, if the header said so.
            headers = {"content-encoding": "gzip"} if packed else {}
            data = gzip.compress(BODY) if packed else BODY
            headers["content-length"] = str(len(data))
            up.add("x", [data], headers=headers)
            async with opened(client, up.url("x")) as response:
                assert not {"content-length", "content-encoding"} & set(response.headers)
                assert await response.aread() == EDITED

    run(main())


def test_the_transport_delivers_at_once_and_closes(litellm: Any) -> None:
    first = event(chunk({"reasoning_content": "a"}))
    gate = Gate()

    async def main() -> None:
        async with Upstream() as up, session() as client:
            up.add("x", [first, gate, first, math.inf])
            async with opened(client, up.url("x")) as response:
                items = response.aiter_bytes()
                assert await anext(items) == first
                gate.open()
                assert await anext(items) == first
                await items.aclose()  # type: ignore[attr-defined]
            await up.drained()
            assert up.requests[0].outcome == "client_left"

    run(main())


def test_the_transport_raises_the_fault(litellm: Any) -> None:
    async def main() -> None:
        async with Upstream() as up, session() as client:
            up.add("x", [BODY[: -len(DONE) - 40]])
            async with opened(client, up.url("x")) as response:
                with pytest.raises(StreamFault) as raised:
                    await response.aread()
            assert raised.value.kind == "truncated"

    run(main())


def test_the_recipe_for_a_session_of_a_call(litellm: Any) -> None:
    async def main() -> None:
        async with Upstream() as up:
            up.add("x", [FOREIGN])
            litellm.in_memory_llm_clients_cache.flush_cache()
            call = {**CALL, "model": "openai/m", "api_base": up.base_url("x")}
            names = await run_recipe("aiohttp", "LiteLLM, a session for a call", call=call)
            assert (names["thoughts"], names["answer"]) == ("why", "so")

    run(main())


@pytest.mark.parametrize("model", ["hosted_vllm/m", "openrouter/m", "deepseek/m"])
def test_the_recipe_for_the_other_providers(litellm: Any, model: str) -> None:
    async def main() -> None:
        async with Upstream() as up:
            up.add("x", [FOREIGN])
            call = {**CALL, "model": model, "api_base": up.base_url("x")}
            names = await run_recipe("aiohttp", "LiteLLM, every provider", call=call)
            assert (names["thoughts"], names["answer"]) == ("why", "so")

    run(main())


def test_a_422_that_litellm_makes_none_of(litellm: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    words = "no such tool_choice"
    body = b'{"error":{"message":"%s","type":"invalid_request_error"}}' % words.encode()
    monkeypatch.setattr(litellm, "drop_params", True)

    async def main() -> None:
        async with Upstream() as up, session() as client:
            up.add("x", [body], 422, {"content-type": "application/json"})
            litellm.in_memory_llm_clients_cache.flush_cache()
            call = {**CALL, "model": "openai/m", "api_base": up.base_url("x")}
            # LiteLLM tries again, without what it thinks was wrong: that is left to it.
            with pytest.raises(litellm.BadRequestError, match=words):
                await litellm.acompletion(**call, shared_session=client)
            assert len(up.requests) == 2

    run(main())
