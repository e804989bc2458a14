"""LiteLLM behind the transport for httpx: what it swallows, what it mends, what it loses."""

from __future__ import annotations

import asyncio
import functools
import gc
import json
import weakref
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import httpx
import pytest

from streamnorm import StreamFault, captured, normalize_stream, normalize_stream_sync
from streamnorm.fault_server import DIALECT_CASES, DialectCase, FaultServer
from streamnorm.integrations.httpx import NormalizingTransport, normalize_client
from streamnorm.upstream import Request, Route, Upstream

from ..aio import run
from ..helpers import stream

# What LiteLLM and the SDK below it do, not what is tested here.
pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning:pydantic.*"),
]

BODY = stream({"reasoning": "why"}, {"content": "so"})
JSON = {"content-type": "application/json"}


def refusal(message: str) -> bytes:
    return json.dumps({"error": {"message": message}}).encode()


NO = refusal("no such thing")

MESSAGES = [{"role": "user", "content": "x"}]
# FastAPI's validation error, wrapped as the providers do whose parameters LiteLLM drops.
DETAIL = json.dumps({"detail": [{"loc": ["body", "seed"], "msg": "not allowed"}]})


def recovering(request: Request) -> Route:
    if "seed" in request.json():
        return Route((refusal(DETAIL),), 422, JSON)
    return Route((BODY,))


def never(request: Request) -> Route:
    """Names the parameter that LiteLLM drops, and then says something else."""
    message = DETAIL if "seed" in request.json() else "tool_choice is not supported"
    return Route((refusal(message),), 422, JSON)


@pytest.fixture
def dropping(litellm: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """LiteLLM with ``drop_params``, and with a loop of its own where it asks for the thread's."""
    monkeypatch.setattr(litellm, "drop_params", True)
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    yield litellm
    asyncio.set_event_loop(None)
    loop.close()
    gc.collect()


def asked(up: Upstream, **more: Any) -> dict[str, Any]:
    return {
        "model": "openai/m", "messages": MESSAGES, "stream": True, "api_key": "x",
        "api_base": up.base_url("x"), "max_retries": 0, **more,
    }  # fmt: skip


def in_thread(call: Callable[..., Any]) -> Callable[..., Awaitable[Any]]:
    return functools.partial(asyncio.to_thread, call)


def with_sessions(
    litellm: Any,
    monkeypatch: pytest.MonkeyPatch,
    main: Callable[[], Awaitable[None]],
    **options: Any,
) -> None:
    """Run *main* with LiteLLM's sessions behind our transport."""
    # It keeps its clients, and with them the sessions of other tests.
    monkeypatch.setattr(
        litellm, "in_memory_llm_clients_cache", type(litellm.in_memory_llm_clients_cache)()
    )

    async def inside() -> None:
        async with normalize_client(httpx.AsyncClient(), **options) as session:
            with normalize_client(httpx.Client(), **options) as blocking:
                monkeypatch.setattr(litellm, "aclient_session", session)
                monkeypatch.setattr(litellm, "client_session", blocking)
                await main()

    run(inside())


@pytest.mark.parametrize("is_async", [True, False])
@pytest.mark.parametrize("is_streamed", [True, False])
def test_litellm_raises_what_it_would_swallow(
    dropping: Any, monkeypatch: pytest.MonkeyPatch, is_async: bool, is_streamed: bool
) -> None:
    async def main() -> None:
        async with Upstream() as up:
            up.add("x", [NO], 422, JSON)
            for n in (1, 2):  # the second call is as good as the first
                call = dropping.acompletion if is_async else in_thread(dropping.completion)
                with pytest.raises(dropping.BadRequestError, match="no such thing"):
                    await call(**asked(up, stream=is_streamed))
                assert captured.last() is None  # it was said
                assert len(up.requests) == 2 * n
                bodies = [request.body for request in up.requests]
                assert bodies == bodies[:1] * (2 * n)

    with_sessions(dropping, monkeypatch, main)


@pytest.mark.parametrize("is_async", [True, False])
def test_what_litellm_raises_explains_no_later_none(
    litellm: Any, monkeypatch: pytest.MonkeyPatch, is_async: bool
) -> None:
    async def main() -> None:
        async with Upstream() as up:
            up.add("x", [NO], 422, JSON)
            call = litellm.acompletion if is_async else in_thread(litellm.completion)
            with pytest.raises(litellm.BadRequestError, match="no such thing"):
                await call(**asked(up))
            assert captured.last() is None

    with_sessions(litellm, monkeypatch, main)


def test_a_none_keeps_nothing_of_its_caller_alive(
    dropping: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Kept:
        pass

    async def main() -> None:
        async with Upstream() as up:
            up.otherwise(never)

            async def call() -> weakref.ref[Kept]:
                kept = Kept()
                assert await dropping.acompletion(**asked(up, seed=1)) is None
                return weakref.ref(kept)

            kept = await call()
            gc.collect()
            assert captured.last() is not None
            assert kept() is None

    with_sessions(dropping, monkeypatch, main)


@pytest.mark.parametrize("is_async", [True, False])
def test_litellms_own_recovery_works(
    dropping: Any, monkeypatch: pytest.MonkeyPatch, is_async: bool
) -> None:
    async def main() -> None:
        async with Upstream() as up:
            up.otherwise(recovering)
            if is_async:
                found = [chunk async for chunk in await dropping.acompletion(**asked(up, seed=1))]
            else:
                found = await asyncio.to_thread(
                    lambda: list(dropping.completion(**asked(up, seed=1)))
                )
            assert ["seed" in request.json() for request in up.requests] == [True, False]
            deltas = [chunk.choices[0].delta for chunk in found]
            assert "".join(getattr(d, "reasoning_content", None) or "" for d in deltas) == "why"
            assert "".join(d.content or "" for d in deltas) == "so"

    with_sessions(dropping, monkeypatch, main)


def test_a_none_that_is_left_is_explained(dropping: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        async with Upstream() as up:
            up.otherwise(never)
            answer = await dropping.acompletion(**asked(up, seed=1))
            assert answer is None
            with pytest.raises(StreamFault) as caught:
                await anext(normalize_stream(answer))
            fault = caught.value
            assert (fault.kind, fault.status_code) == ("none_stream", 422)
            assert (fault.category, fault.blame) == ("invalid_request", "request")
            assert fault.provider_message == "tool_choice is not supported"
            with pytest.raises(StreamFault, match="tool_choice is not supported"):
                await anext(normalize_stream(dropping.acompletion(**asked(up, seed=1))))

    with_sessions(dropping, monkeypatch, main)


def test_a_none_that_is_left_is_explained_without_a_loop(
    dropping: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Upstream.in_thread() as up, normalize_client(httpx.Client()) as session:
        monkeypatch.setattr(dropping, "client_session", session)
        up.otherwise(never)
        answer = dropping.completion(**asked(up, seed=1))
        assert answer is None
        with pytest.raises(StreamFault, match="tool_choice is not supported") as caught:
            next(normalize_stream_sync(answer))
        assert caught.value.status_code == 422


def test_calls_at_the_same_time_are_calls_of_their_own(
    dropping: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        async with Upstream() as up:
            up.otherwise(recovering)

            async def text() -> str:
                answer = await dropping.acompletion(**asked(up, seed=1))
                return "".join([c.choices[0].delta.content or "" async for c in answer])

            assert await asyncio.gather(*(text() for _ in range(5))) == ["so"] * 5
            assert len(up.requests) == 10

    with_sessions(dropping, monkeypatch, main)


def test_two_calls_through_a_client_that_litellm_is_given(dropping: Any) -> None:
    openai = pytest.importorskip("openai")

    async def main() -> None:
        async with Upstream() as up:
            up.add("x", [NO], 422, JSON)
            http_client = httpx.AsyncClient(transport=NormalizingTransport())
            async with openai.AsyncOpenAI(
                base_url=up.base_url("x"), api_key="x", http_client=http_client
            ) as client:
                with pytest.raises(dropping.BadRequestError):
                    await dropping.acompletion(**asked(up, client=client))
                # The SDK by itself: two calls with the same mistake.
                for _ in range(2):
                    with pytest.raises(openai.UnprocessableEntityError):
                        await client.chat.completions.create(
                            model="m", messages=MESSAGES, stream=True
                        )

    run(main())


@pytest.mark.parametrize("case", DIALECT_CASES, ids=lambda case: case.name)
def test_no_dialect_is_lost_by_litellm(
    litellm: Any, monkeypatch: pytest.MonkeyPatch, case: DialectCase
) -> None:
    async def main() -> None:
        with FaultServer() as server:
            answer = await litellm.acompletion(
                model="openai/m",
                messages=MESSAGES,
                stream=True,
                api_key="x",
                api_base=f"{server.origin}/v1/{case.name}",
            )
            deltas = [chunk.choices[0].delta async for chunk in answer if chunk.choices]
        reasoning = "".join(getattr(each, "reasoning_content", None) or "" for each in deltas)
        content = "".join(each.content or "" for each in deltas)
        assert (reasoning, content) == (case.reasoning, case.content)

    with_sessions(litellm, monkeypatch, main, **case.options)
