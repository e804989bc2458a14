"""The responses of real HTTP clients and SDKs as sources, over real sockets."""

from __future__ import annotations

import asyncio
import gzip
import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from streamnorm import StreamFault, normalize_stream
from streamnorm._engine import Engine
from streamnorm.upstream import Abort, Upstream

from .aio import collect, collect_sse, deltas, run
from .helpers import DONE, chunk, event, stream

BODY = stream({"reasoning": "why"}, {"content": "so"})
DELTAS = [{"reasoning_content": "why"}, {"content": "so"}, {}]


@asynccontextmanager
async def opened(client: str, url: str) -> AsyncIterator[Any]:
    """An awaitable that sends the request and gives the streaming response."""
    module = pytest.importorskip(client)
    if client == "aiohttp":
        async with module.ClientSession() as session:
            yield session.get(url)
    else:
        async with module.AsyncClient() as http:
            yield http.send(http.build_request("GET", url), stream=True)


clients = pytest.mark.parametrize("client", ["httpx", "httpx2", "aiohttp"])


@clients
@pytest.mark.parametrize("packed", [False, True])
def test_a_response(engine: Engine, client: str, packed: bool) -> None:
    async def main() -> None:
        async with Upstream() as up:
            if packed:
                up.add("x", [gzip.compress(BODY)], headers={"content-encoding": "gzip"})
            else:
                up.add("x", [BODY[:50], BODY[50:90], BODY[90:]])
            async with opened(client, up.url("x")) as request:
                items = normalize_stream(await request, _engine_module=engine)
                chunks, fault = await collect(items)
            assert deltas(chunks) == DELTAS
            assert fault is None
            assert items.report.remaps == {"reasoning→reasoning_content": 1}
            async with opened(client, up.url("x")) as request:
                data, fault = await collect_sse(normalize_stream(request, _engine_module=engine))
            assert data == BODY.replace(b'"reasoning"', b'"reasoning_content"')
            assert fault is None

    run(main())


@pytest.mark.parametrize("client", ["httpx", "httpx2"])
def test_the_lines_of_a_response(engine: Engine, client: str) -> None:
    async def main() -> None:
        async with Upstream() as up:
            body = b": hello\n\n" + BODY.replace(b"data:", b"event: x\r\nid: 1\r\ndata:")
            up.add("x", [body[:50], body[50:90], body[90:]])
            for output in (collect, collect_sse):
                async with opened(client, up.url("x")) as request:
                    response = await request
                    lines = response.aiter_lines()
                    found, fault = await output(normalize_stream(lines, _engine_module=engine))
                    # Behind the iterator the response cannot be seen; its owner closes it.
                    await response.aclose()
                assert fault is None
                if output is collect:
                    assert deltas(found) == DELTAS
                else:
                    edited = body.replace(b'"reasoning"', b'"reasoning_content"')
                    assert edited.replace(b"\r\n", b"\n").startswith(found)
                    assert b"[DONE]" in found

    run(main())


@clients
@pytest.mark.parametrize("leave", ["aclose", "cancel", "done", "task"])
def test_a_response_that_is_left_is_closed(engine: Engine, client: str, leave: str) -> None:
    first = event(chunk({"content": "a"}))

    async def main() -> None:
        async with Upstream() as up:
            up.add("x", [first + DONE if leave == "done" else first, math.inf])
            async with opened(client, up.url("x")) as request:
                items = normalize_stream(request, _engine_module=engine)
                await anext(items)
                if leave == "aclose":
                    await items.aclose()
                elif leave == "done":
                    assert await anext(items, "end") == "end"
                else:
                    reading = asyncio.ensure_future(anext(items, "end"))
                    await asyncio.sleep(0.02)
                    if leave == "cancel":
                        reading.cancel()
                        with pytest.raises(asyncio.CancelledError):
                            await reading
                        with pytest.raises(StreamFault, match="was cancelled"):
                            await anext(items)
                    else:
                        await items.aclose()
                        assert await reading == "end"
                # Before the client is closed: the response alone is enough.
                await up.drained()
                assert await anext(items, None) is None
            assert up.requests[0].outcome == "client_left"

    run(main())


@clients
def test_a_lost_connection(engine: Engine, client: str) -> None:
    async def main() -> None:
        async with Upstream() as up:
            first, second = event(chunk({"reasoning": "a"})), event(chunk({"content": "b"}))
            # The second event has no blank line, the third is cut within.
            up.add("x", [first + second[:-2], Abort()])
            up.add("y", [first + second[:-9], Abort()])
            for name, output in (("x", [{"reasoning_content": "a"}, {"content": "b"}]),
                                 ("y", [{"reasoning_content": "a"}])):  # fmt: skip
                async with opened(client, up.url(name)) as request:
                    items = normalize_stream(request, _engine_module=engine)
                    chunks, fault = await collect(items)
                assert deltas(chunks) == output
                assert fault is not None
                assert (fault.kind, fault.category) == ("transport", "api_connection")
                assert type(fault.__cause__).__module__.startswith(client)
                assert fault.visible_output is (name == "x")
                assert fault.reasoning_output
                await up.drained()

    run(main())


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.filterwarnings("ignore::UserWarning:pydantic.*")
def test_a_stream_of_the_openai_sdk(engine: Engine) -> None:
    openai = pytest.importorskip("openai")

    async def main() -> None:
        async with Upstream() as up:
            up.add("x", [BODY])
            up.add("endless", [BODY[: -len(DONE)], math.inf])
            for name in ("x", "endless"):
                async with openai.AsyncOpenAI(base_url=up.base_url(name), api_key="x") as client:
                    request = client.chat.completions.create(model="m", messages=[], stream=True)
                    items = normalize_stream(request, _engine_module=engine)
                    chunks = [await anext(items) for _ in DELTAS]
                    assert deltas(chunks) == DELTAS
                    if name == "x":
                        assert await anext(items, None) is None
                    await items.aclose()
                    # Before the client is closed.
                    await up.drained()
            assert up.requests[1].outcome == "client_left"

    run(main())
