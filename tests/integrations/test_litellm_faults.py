"""What LiteLLM, and who reads it, is told of a stream that fails: status, wait, output so far."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import pytest

from streamnorm import StreamFault, normalize_stream, normalize_stream_sync
from streamnorm.integrations.litellm import install, wrap
from streamnorm.upstream import Abort, Request, Route, Upstream

from .litellm_calls import (
    DONE,
    MARKS,
    collect,
    collect_sync,
    finishes,
    one,
    playing,
    request,
    run,
    text,
    tidied,  # noqa: F401 - used by all
    upstream,
)

pytestmark = MARKS


READERS = ["openai", "hosted_vllm", "openrouter"]
START = one({"role": "assistant", "content": ""})
LIMITED = b'data: {"error": {"message": "slow down", "code": 429}}\n\n'

Wrapped = Callable[[Any], Any]
# How a stream comes to be normalised, and stays LiteLLM's own.
WAYS: dict[str, tuple[Callable[..., AbstractContextManager[Any]], Wrapped]] = {
    "wrap": (lambda **_: nullcontext(), wrap),
    "install": (install, lambda stream: stream),
}


async def failed(litellm: Any, way: str, up: Upstream, provider: str) -> tuple[list[Any], Any]:
    """The chunks of a stream, and what LiteLLM raises behind them."""
    around, wrapped = WAYS[way]
    with around():
        return await collect(wrapped(await litellm.acompletion(**request(up, provider))))


# Errors that the upstream sends in a stream. ----------------------------------------


@pytest.mark.parametrize("provider", READERS)
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("at_once", [False, True])
def test_an_error_event_keeps_its_status(
    litellm: Any, way: str, provider: str, at_once: bool
) -> None:
    played = [START, one({"content": "so"}), LIMITED]

    async def main() -> None:
        async with upstream([b"".join(played)] if at_once else played) as up:
            chunks, error = await failed(litellm, way, up, provider)
        # What came before it, in the same read too, is not lost.
        assert (text(chunks, "content"), finishes(chunks)) == ("so", [])
        assert error.status_code == 429
        assert isinstance(getattr(error, "original_exception", error), litellm.RateLimitError)
        fault = StreamFault.from_exception(error)
        assert (fault.kind, fault.status_code) == ("error_event", 429)
        assert (fault.visible_output, fault.provider_message) == (True, "slow down")

    run(main())


@pytest.mark.parametrize("provider", READERS)
def test_a_router_is_told_what_the_upstream_said(litellm: Any, provider: str) -> None:
    refused = b'data: {"error": {"message": "bad key", "code": 401}}\n\n'

    async def main() -> None:
        async with upstream([refused]) as up:
            arguments = request(up, provider)
            messages = arguments.pop("messages")
            del arguments["stream"]
            with install():
                router = litellm.Router(
                    [{"model_name": "a", "litellm_params": arguments}], num_retries=0
                )
                with pytest.raises(litellm.AuthenticationError):
                    await collect_or_raise(
                        await router.acompletion(model="a", messages=messages, stream=True)
                    )

    run(main())


async def collect_or_raise(stream: Any) -> None:
    _, error = await collect(stream)
    if error is not None:
        raise getattr(error, "original_exception", error)


@pytest.mark.parametrize("provider", READERS)
def test_an_exception_of_the_callers_own_for_an_error_event(litellm: Any, provider: str) -> None:
    class Ours(Exception):
        status_code = 418

    told: list[StreamFault] = []

    def make(fault: StreamFault) -> Exception:
        told.append(fault)
        return Ours("ours")

    async def main() -> None:
        async with upstream([LIMITED]) as up:
            with install(error_factory=make):
                _, error = await collect(await litellm.acompletion(**request(up, provider)))
        assert [fault.kind for fault in told] == ["error_event"]
        assert "ours" in str(error)

    run(main())


@pytest.mark.parametrize("provider", ["openai", "hosted_vllm"])
@pytest.mark.parametrize("way", WAYS)
def test_the_wait_that_headers_ask_for(litellm: Any, way: str, provider: str) -> None:
    def limited(_: Request) -> Route:
        return Route((LIMITED,), 200, {"content-type": "text/event-stream", "retry-after": "7"})

    async def main() -> None:
        up = Upstream()
        up.otherwise(limited)
        async with up:
            stream = await litellm.acompletion(**request(up, provider))
            if provider != "openai" and stream._response_headers is None:
                return  # up to 1.82 these handlers keep no headers
            _, error = await failed(litellm, way, up, provider)
            assert StreamFault.from_exception(error).retry_after == 7
            with WAYS[way][0]():
                again = normalize_stream(await litellm.acompletion(**request(up, provider)))
                _, error = await collect(again)
            assert isinstance(error, StreamFault)
            assert error.retry_after == 7
            assert "retry after 7 s" in str(error)

    run(main())


# Connections that are lost. ---------------------------------------------------------


@pytest.mark.parametrize("provider", READERS)
@pytest.mark.parametrize(("delta", "shown"), [("content", True), ("reasoning", False)])
def test_an_exception_of_the_http_client_stays_what_it_is(
    litellm: Any, provider: str, delta: str, shown: bool
) -> None:
    async def main() -> None:
        async with upstream([START, one({delta: "so"}), Abort()]) as up:
            _, bare = await collect(await litellm.acompletion(**request(up, provider)))
            for way in WAYS:
                _, error = await failed(litellm, way, up, provider)
                assert type(error) is type(bare)
                assert error.status_code == bare.status_code
                fault = StreamFault.from_exception(error)
                assert fault.kind == "transport"
                assert (fault.visible_output, fault.reasoning_output) == (shown, not shown)

    run(main())


# JSON over several lines. -----------------------------------------------------------

MESSAGE = {"role": "assistant", "content": "so it", "reasoning": "why"}
WHOLE = {
    "id": "c", "object": "chat.completion", "created": 1, "model": "m",
    "choices": [{"index": 0, "message": MESSAGE, "finish_reason": "stop"}],
}  # fmt: skip


@pytest.mark.parametrize("provider", READERS)
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("indent", [None, 2])
def test_a_body_over_several_lines(
    litellm: Any, way: str, provider: str, indent: int | None
) -> None:
    def body(value: Any) -> list[bytes]:
        return [json.dumps(value, indent=indent).encode()]

    async def main() -> None:
        async with upstream(body(WHOLE), kind="application/json") as up:
            chunks, error = await failed(litellm, way, up, provider)
        assert error is None
        assert (text(chunks, "reasoning_content"), text(chunks, "content")) == ("why", "so it")
        refused = {"error": {"message": "slow down", "code": 429}}
        async with upstream(body(refused), kind="application/json") as up:
            chunks, error = await failed(litellm, way, up, provider)
        assert (text(chunks, "content"), finishes(chunks)) == ("", [])
        fault = StreamFault.from_exception(error)
        assert (fault.kind, fault.status_code) == ("error_event", 429)

    run(main())


def test_an_indented_list_of_another_api(litellm: Any) -> None:
    refused = [{"error": {"code": 429, "message": "slow down", "status": "RESOURCE_EXHAUSTED"}}]

    async def main() -> None:
        body = json.dumps(refused, indent=2).encode()
        async with upstream([body], kind="application/json") as up:
            chunks, error = await failed(litellm, "wrap", up, "gemini")
        assert finishes(chunks) == []
        fault = StreamFault.from_exception(error)
        assert (fault.kind, fault.status_code) == ("error_event", 429)

    run(main())


# Other APIs. ------------------------------------------------------------------------


def told(kind: str, **more: Any) -> bytes:
    return f"event: {kind}\ndata: {json.dumps({'type': kind, **more})}\n\n".encode()


ANTHROPIC_START = [
    told("message_start", message={"id": "m", "type": "message", "role": "assistant",
                                   "content": [], "model": "m", "usage": {"input_tokens": 3}}),
    told("content_block_start", index=0, content_block={"type": "text", "text": ""}),
]  # fmt: skip
ANTHROPIC_TEXT = told("content_block_delta", index=0, delta={"type": "text_delta", "text": "so"})
ANTHROPIC_ERROR = told("error", error={"type": "overloaded_error", "message": "Overloaded"})
GEMINI = [
    b'data: {"candidates": [{"content": {"role": "model", "parts": [{"text": "so"}]}}]}\n\n',
    b'data: {"error": {"code": 503, "message": "overloaded", "status": "UNAVAILABLE"}}\n\n',
]
OLLAMA = [
    b'{"model": "m", "message": {"role": "assistant", "content": "so"}, "done": false}\n',
    b'{"error": "model crashed"}\n',
]
BROKEN = [
    ("anthropic", [*ANTHROPIC_START, ANTHROPIC_TEXT, ANTHROPIC_ERROR], "so"),
    ("anthropic", [*ANTHROPIC_START, *[ANTHROPIC_TEXT] * 20, ANTHROPIC_ERROR], "so" * 20),
    ("anthropic", [*ANTHROPIC_START, ANTHROPIC_ERROR], ""),
    ("anthropic", [ANTHROPIC_ERROR], ""),
    ("gemini", GEMINI, "so"),
    ("ollama_chat", OLLAMA, "so"),
]


@pytest.mark.parametrize(("provider", "played", "answer"), BROKEN)
@pytest.mark.parametrize("way", WAYS)
def test_an_error_behind_an_answer_of_another_api(
    litellm: Any, way: str, provider: str, played: list[bytes], answer: str
) -> None:
    async def main() -> None:
        # (Asking a model's price, LiteLLM may ask an Ollama for it, and hold up the loop.)
        with Upstream.in_thread() as up:
            playing(up, played)
            chunks, error = await failed(litellm, way, up, provider)
        assert (text(chunks, "content"), finishes(chunks)) == (answer, [])
        fault = StreamFault.from_exception(error)
        assert fault.kind == "error_event"
        assert fault.visible_output is bool(answer)
        assert fault.safe_to_retry is not bool(answer)

    run(main())


def test_documents_that_say_there_is_no_error(litellm: Any) -> None:
    played = [
        json.dumps({"model": "m", "created_at": "2024-01-01T00:00:00Z", "error": None, **more})
        for more in (
            {"message": {"role": "assistant", "content": "so"}, "done": False},
            {"message": {"role": "assistant", "content": ""}, "done": True, "done_reason": "stop"},
        )
    ]

    async def main() -> None:
        with Upstream.in_thread() as up:
            playing(up, [line.encode() + b"\n" for line in played], kind="application/x-ndjson")
            chunks, error = await failed(litellm, "wrap", up, "ollama_chat")
        assert (error, text(chunks, "content"), finishes(chunks)) == (None, "so", ["stop"])

    run(main())


# Answers in which no reasoning can be. ----------------------------------------------


def test_what_was_made_up_does_not_start_in_reasoning(litellm: Any) -> None:
    arguments = {"model": "openai/m", "messages": [], "mock_response": "so it", "stream": True}

    async def main() -> None:
        stream = await litellm.acompletion(**arguments)
        chunks, _ = await collect(normalize_stream(stream, starts_in_reasoning=True))
        assert (text(chunks, "content"), text(chunks, "reasoning_content")) == ("so it", "")

    run(main())
    stream = litellm.completion(**arguments)
    chunks, _ = collect_sync(normalize_stream_sync(stream, starts_in_reasoning=True))
    assert (text(chunks, "content"), text(chunks, "reasoning_content")) == ("so it", "")


THOUGHT = [START, one({"content": "why</think>so"}), one({"content": " it"}), one({}, "stop"), DONE]


@pytest.fixture
def cache(litellm: Any) -> Iterator[Any]:
    """LiteLLM's cache, in this process."""
    names = ("input_callback", "success_callback", "_async_success_callback")
    before = {name: list(getattr(litellm, name)) for name in names}
    litellm.cache = litellm.Cache(type="local")
    yield litellm.cache
    litellm.cache = None
    for name, value in before.items():
        getattr(litellm, name)[:] = value


def test_a_cached_answer_does_not_start_in_reasoning(litellm: Any, cache: Any) -> None:
    async def main() -> None:
        async with upstream(THOUGHT) as up:
            for n in range(2):
                stream = await litellm.acompletion(**request(up, caching=True))
                items = normalize_stream(stream, starts_in_reasoning=True)
                chunks, error = await collect(items)
                assert (error, text(chunks, "content")) == (None, "so it"), n
                for _ in range(2000):  # a task of LiteLLM's own stores it
                    if cache.cache.cache_dict:
                        break
                    await asyncio.sleep(0.001)
            assert len(up.requests) == 1

    run(main())


@pytest.mark.parametrize("is_installed", [False, True])
@pytest.mark.parametrize("thought", ["why", ""])
def test_a_stream_of_a_router(litellm: Any, is_installed: bool, thought: str) -> None:
    played = [START, one({"content": f"{thought}</think>so"}), *THOUGHT[2:]]

    async def main() -> None:
        async with upstream(played) as up:
            arguments = request(up)
            messages = arguments.pop("messages")
            del arguments["stream"]
            router = litellm.Router([{"model_name": "a", "litellm_params": arguments}])
            with install(starts_in_reasoning=True) if is_installed else nullcontext():
                stream = await router.acompletion(model="a", messages=messages, stream=True)
                # Without the installation, this is the first who sees the text.
                chunks, error = await collect(normalize_stream(stream, starts_in_reasoning=True))
        assert error is None
        assert (text(chunks, "reasoning_content"), text(chunks, "content")) == (thought, "so it")

    run(main())
