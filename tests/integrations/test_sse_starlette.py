"""`to_event_source`: sse-starlette's response over the bytes of a stream."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from sse_starlette import ServerSentEvent
from sse_starlette.sse import EventSourceResponse
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from streamnorm import normalize_stream
from streamnorm.integrations.sse_starlette import to_event_source
from streamnorm.upstream import Upstream
from streamnorm.upstream.streams import STREAMS

from ..aio import Script, run
from ..blocking import drained
from ..helpers import DONE
from .recipes import run_recipe
from .served_cases import (
    FAILURES,
    LATE,
    NORMAL,
    ROLE,
    TEXT,
    THOUGHT,
    asked,
    connected,
    gated,
    path,
    read_until,
    upstream,
)
from .serving import served
from .test_starlette import KEY, gateway_of


@pytest.fixture(scope="module")
def up() -> Iterator[Upstream]:
    with upstream() as running:
        yield running


@pytest.fixture(scope="module")
def origin(up: Upstream) -> Iterator[str]:
    with served(gateway_of("fastapi", up.origin, to_event_source)) as address:
        yield address


@pytest.mark.parametrize("name", FAILURES)
def test_a_failure_is_a_status_and_the_connection_lives_on(origin: str, name: str) -> None:
    failure = FAILURES[name]
    with connected(origin) as client:
        answer = client.post(path(name))
        assert answer.status == failure.status
        assert answer.error["code"] == failure.code
        assert client.post(path("deepseek")).body.endswith(DONE)


@pytest.mark.parametrize("name", LATE)
def test_a_late_failure_is_an_event_and_the_connection_lives_on(origin: str, name: str) -> None:
    with connected(origin) as client:
        assert client.post(path(name)).late_error(TEXT + TEXT)["code"] == LATE[name][1]
        assert client.post(path("deepseek")).body.endswith(DONE)


def test_the_bytes_are_those_of_the_stream(origin: str) -> None:
    """Nothing is serialised again, and no line end is changed."""

    async def expected(stream: Any) -> bytes:
        frames = normalize_stream(Script([b"".join(stream.events)])).sse(done="always")
        return b"".join([frame async for frame in frames])

    with connected(origin) as client:
        for stream in STREAMS:
            answer = client.post(path(stream.name))
            assert answer.headers["content-type"].startswith("text/event-stream")
            assert answer.headers["x-accel-buffering"] == "no"
            assert answer.body == run(expected(stream))


def test_a_client_that_leaves_closes_the_upstream(up: Upstream, origin: str) -> None:
    with asked(origin, path("silent")) as connection:
        read_until(connection, TEXT)
    drained(up)
    assert up.open_connections == 0


def test_pings_that_an_openai_client_survives(up: Upstream) -> None:
    """It takes a comment with a blank line behind it for an event, once an id was seen."""
    openai: Any = pytest.importorskip("openai", reason="the OpenAI SDK is not installed")
    gate = gated(up, "gated", b"id: 1\n" + TEXT)
    app = gateway_of("fastapi", up.origin, to_event_source, ping=0.05)

    async def main() -> str:
        text = ""
        async with openai.AsyncOpenAI(api_key="k", base_url=f"{origin}/v1/gated") as client:
            async for chunk in await client.chat.completions.create(
                model="m", messages=[], stream=True
            ):
                text += chunk.choices[0].delta.content or ""
        return text

    with served(app) as origin:
        with asked(origin, path("gated")) as connection:
            seen = read_until(connection, b": hb\n")
            assert b"ping" not in seen
            gate.open()
            read_until(connection, DONE)
        gate = gated(up, "gated", b"id: 1\n" + TEXT, 0.3)
        gate.open()
        assert run(main()) == "so"


def test_a_ping_of_the_hosts_own(up: Upstream) -> None:
    gate = gated(up, "gated", TEXT)

    def ping() -> ServerSentEvent:
        return ServerSentEvent(comment="mine")

    app = gateway_of("fastapi", up.origin, to_event_source, ping=0.05, ping_message_factory=ping)
    with served(app) as origin, asked(origin, path("gated")) as connection:
        read_until(connection, b": mine\r\n")
        gate.open()
        read_until(connection, DONE)


def test_no_ping_amid_a_line(up: Upstream) -> None:
    async def main() -> None:
        stream = normalize_stream(Script([TEXT + b": half of", b" it\n\n" + DONE]))
        response = await to_event_source(stream)
        assert isinstance(response, EventSourceResponse)
        assert response.ping_message_factory is not None
        frames = response.body_iterator
        assert response.ping_message_factory().encode() == b": hb\n"
        assert await anext(frames) == TEXT + b": half of"  # type: ignore[call-overload]
        assert response.ping_message_factory().encode() == b""
        assert await anext(frames) == b" it\n\n" + DONE  # type: ignore[call-overload]
        assert response.ping_message_factory().encode() == b": hb\n"
        await stream.aclose()

    run(main())


def test_head_closes_the_stream() -> None:
    """Since 3.7 sse-starlette answers it without touching the body."""
    closed = threading.Event()

    class Source(Script):
        async def aclose(self) -> None:
            closed.set()

    async def answer(_request: Request) -> Any:
        stream = normalize_stream(Source([TEXT, DONE]))
        return await to_event_source(stream, headers={"x-a": "b"})

    app = Starlette(routes=[Route("/", answer, methods=["GET"])])
    with served(app) as origin:
        response = httpx.head(origin)
        assert (response.status_code, response.headers["x-a"]) == (200, "b")
        assert closed.wait(30)


def test_settings_and_mistakes() -> None:
    async def main() -> None:
        source = Script([TEXT, DONE])
        with pytest.raises(TypeError):
            await to_event_source(normalize_stream(source), no_such_setting=1)
        assert source.closes
        source = Script([TEXT, DONE])
        stream = normalize_stream(source)
        response = await to_event_source(stream, send_timeout=3, ping=0)
        assert isinstance(response, EventSourceResponse)
        assert (response.send_timeout, response.ping_interval) == (3, 0)
        await stream.aclose()
        source = Script([DONE])
        response = await to_event_source(normalize_stream(source), send_timeout=3)
        assert isinstance(response, JSONResponse)
        assert source.closes
        with pytest.raises(TypeError, match="normalize_stream"):
            await to_event_source(httpx.Response(200))  # type: ignore[arg-type]

    run(main())


def test_recipe(up: Upstream) -> None:
    async def made(name: str) -> Any:
        return (await run_recipe("sse-starlette", url=up.url(name), headers=KEY))["app"]

    gate = gated(up, "gated", ROLE, THOUGHT, TEXT)
    with served(run(made("gated"))) as origin, asked(origin, "/v1/chat/completions") as connection:
        seen = read_until(connection, TEXT)
        assert NORMAL in seen
        gate.open()
        read_until(connection, DONE)
    with served(run(made("empty"))) as origin, connected(origin) as client:
        assert client.post("/v1/chat/completions").status == 502
