"""The OpenAI SDK's synchronous streams as sources; what asynchronous clients give is refused."""

from __future__ import annotations

import asyncio
import math
import threading
from typing import Any

import pytest

from streamnorm import normalize_stream_sync
from streamnorm._engine import Engine
from streamnorm.upstream import Gate, Upstream

from .aio import deltas
from .blocking import collect, drained
from .helpers import DONE, chunk, event, stream

BODY = stream({"reasoning": "why"}, {"content": "so"})
DELTAS = [{"reasoning_content": "why"}, {"content": "so"}, {}]
EVENTS = [event(chunk({"content": str(n)})) for n in range(4)]


@pytest.fixture
def openai() -> Any:
    return pytest.importorskip("openai")


sdk = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning:pydantic.*")


@sdk
@pytest.mark.parametrize("name", ["x", "endless"])
def test_a_stream_of_the_openai_sdk(openai: Any, engine: Engine, name: str) -> None:
    with Upstream.in_thread() as up:
        up.add("x", [BODY])
        up.add("endless", [BODY[: -len(DONE)], math.inf])
        with openai.OpenAI(base_url=up.base_url(name), api_key="x") as client:
            request = client.chat.completions.create(model="m", messages=[], stream=True)
            items = normalize_stream_sync(request, _engine_module=engine)
            chunks = [next(items) for _ in DELTAS]
            assert deltas(chunks) == DELTAS
            assert items.report.engine == engine.NAME  # it reads the bytes below
            if name == "x":
                assert next(items, None) is None
            items.close()
            # Before the client is closed.
            drained(up)
    assert up.requests[0].outcome == ("complete" if name == "x" else "client_left")


@sdk
def test_each_chunk_of_the_openai_sdk_comes_at_once(openai: Any) -> None:
    gates = [Gate() for _ in EVENTS]
    steps = [step for pair in zip(EVENTS, gates, strict=True) for step in pair]
    with Upstream.in_thread() as up:
        up.add("x", [*steps, event(chunk({}, "stop")), DONE])
        with openai.OpenAI(base_url=up.base_url("x"), api_key="x") as client:
            request = client.chat.completions.create(model="m", messages=[], stream=True)
            items = normalize_stream_sync(request)
            threads = threading.active_count()
            for n, gate in enumerate(gates):
                assert deltas([next(items)]) == [{"content": str(n)}]
                assert threading.active_count() == threads
                gate.open()
            assert len(list(items)) == 1


@sdk
def test_a_raw_response_of_the_openai_sdk(openai: Any) -> None:
    with Upstream.in_thread() as up:
        up.add("x", [BODY])
        with openai.OpenAI(base_url=up.base_url("x"), api_key="x") as client:
            create: Any = client.chat.completions.with_streaming_response.create
            manager = create(model="m", messages=[], stream=True)
            with pytest.raises(TypeError, match="enter it with 'with'"):
                normalize_stream_sync(manager)
            with manager as response:
                assert deltas(collect(normalize_stream_sync(response))[0]) == DELTAS


@sdk
def test_what_the_asynchronous_openai_sdk_gives_is_refused(openai: Any) -> None:
    async def main(base_url: str) -> None:
        async with openai.AsyncOpenAI(base_url=base_url, api_key="x") as client:
            completions = client.chat.completions
            async with await completions.create(model="m", messages=[], stream=True) as found:
                with pytest.raises(TypeError, match="which is asynchronous"):
                    normalize_stream_sync(found)
            manager = completions.with_streaming_response.create(model="m", messages=[])
            with pytest.raises(TypeError, match="which is asynchronous"):
                normalize_stream_sync(manager)
            async with manager as found:
                with pytest.raises(TypeError, match="which is asynchronous"):
                    normalize_stream_sync(found)

    with Upstream.in_thread() as up:
        up.add("x", [BODY])
        asyncio.run(main(up.base_url("x")))


def test_what_asynchronous_clients_give_is_refused() -> None:
    aiohttp, httpx = pytest.importorskip("aiohttp"), pytest.importorskip("httpx")

    async def main(url: str) -> None:
        async with aiohttp.ClientSession() as session, httpx.AsyncClient() as client:
            request = session.get(url)
            async with request as found:
                for source in (found, found.content):
                    with pytest.raises(TypeError, match="which is asynchronous"):
                        normalize_stream_sync(source)
            async with client.stream("GET", url) as found:
                for source in (found, found.aiter_bytes()):
                    with pytest.raises(TypeError, match="which is asynchronous"):
                        normalize_stream_sync(source)
            with pytest.raises(TypeError, match="which is asynchronous"):
                normalize_stream_sync(client.stream("GET", url))

    with Upstream.in_thread() as up:
        up.add("x", [BODY])
        asyncio.run(main(up.url("x")))
