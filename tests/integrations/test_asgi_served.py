"""`NormalizeMiddleware` under uvicorn, over real sockets, before real apps and a real upstream."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import StreamingResponse
from starlette.routing import Route

from streamnorm.integrations.asgi import NormalizeMiddleware
from streamnorm.upstream import Abort, Upstream
from streamnorm.upstream.streams import STREAMS, BundledStream

from ..aio import run
from ..blocking import drained
from ..helpers import DONE
from .gateway_app import gateway
from .recipes import run_recipe_sync
from .served_cases import (
    FAILURES,
    FINISH,
    LATE,
    NORMAL,
    ROLE,
    TEXT,
    THOUGHT,
    asked,
    check_that_a_slow_reader_slows,
    connected,
    gated,
    path,
    read_until,
    upstream,
)
from .serving import served


@pytest.fixture(scope="module")
def up() -> Iterator[Upstream]:
    with upstream() as running:
        yield running


def starlette_app(origin: str) -> Any:
    """A relay of Starlette's, that makes a client for each request."""

    async def relay(request: Request) -> StreamingResponse:
        client = httpx.AsyncClient()
        sent = client.build_request("POST", origin + request.url.path, content=b"{}")
        answer = await client.send(sent, stream=True)
        closed = BackgroundTask(client.aclose)
        kind = answer.headers["content-type"]
        return StreamingResponse(
            answer.aiter_bytes(), answer.status_code, media_type=kind, background=closed
        )

    app = Starlette(routes=[Route("/{path:path}", relay, methods=["POST"])])
    app.add_middleware(NormalizeMiddleware)
    return app


def bare_app(origin: str) -> Any:
    """A relay without a framework, that listens for the client's leaving itself."""

    async def relay(answer: httpx.Response, send: Any) -> None:
        pairs = [(b"content-type", answer.headers["content-type"].encode())]
        start = {"type": "http.response.start", "status": answer.status_code, "headers": pairs}
        await send(start)
        async for data in answer.aiter_raw():
            await send({"type": "http.response.body", "body": data, "more_body": True})
        await send({"type": "http.response.body"})

    async def left(receive: Any) -> None:
        while (await receive())["type"] != "http.disconnect":
            continue

    async def app(scope: Any, receive: Any, send: Any) -> None:
        assert scope["type"] == "http"
        async with (
            httpx.AsyncClient() as client,
            client.stream("POST", origin + scope["path"], content=b"{}") as answer,
        ):
            works = [relay(answer, send), left(receive)]
            tasks = [asyncio.ensure_future(work) for work in works]
            try:
                await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)

    return NormalizeMiddleware(app)


@pytest.fixture(scope="module", params=[gateway, starlette_app, bare_app])
def origin(request: pytest.FixtureRequest, up: Upstream) -> Iterator[str]:
    """The origin of each sort of app in turn."""
    settings = {"lifespan": "off"} if request.param is bare_app else {}
    with served(request.param(up.origin), **settings) as address:
        yield address


# What comes out. --------------------------------------------------------------------


@pytest.mark.parametrize("stream", STREAMS, ids=lambda stream: stream.name)
def test_streams_through_a_gateway(origin: str, stream: BundledStream) -> None:
    """The OpenAI SDK reads reasoning, text and the end from any app behind the middleware."""
    openai: Any = pytest.importorskip("openai", reason="the OpenAI SDK is not installed")

    async def main() -> None:
        async with openai.AsyncOpenAI(api_key="k", base_url=f"{origin}/v1/{stream.name}") as client:
            chunks = await client.chat.completions.create(model="m", messages=[], stream=True)
            reasoning = content = ""
            async for chunk in chunks:
                for choice in chunk.choices:
                    reasoning += getattr(choice.delta, "reasoning_content", None) or ""
                    content += choice.delta.content or ""
        assert (reasoning, content) == (stream.reasoning, stream.content)

    run(main())


@pytest.mark.parametrize("name", FAILURES)
def test_a_failure_is_a_status_and_the_connection_lives_on(origin: str, name: str) -> None:
    failure = FAILURES[name]
    with connected(origin) as client:
        for _ in range(2):
            answer = client.post(path(name))
            assert answer.status == failure.status
            assert answer.error["code"] == failure.code
            assert "secret" not in answer.body.decode()
            assert failure.headers.items() <= answer.headers.items()
        answer = client.post(path("deepseek"))
        assert answer.status == 200
        assert answer.body.endswith(DONE)


@pytest.mark.parametrize("name", LATE)
def test_a_late_failure_is_an_event_and_the_connection_lives_on(origin: str, name: str) -> None:
    with connected(origin) as client:
        for _ in range(2):
            answer = client.post(path(name))
            assert answer.headers["transfer-encoding"] == "chunked"
            assert answer.late_error(TEXT + TEXT)["code"] == LATE[name][1]
        assert client.post(path("deepseek")).body.endswith(DONE)


@pytest.mark.parametrize(("first", "status"), [(TEXT, 200), (ROLE, 502)])
def test_an_exception_does_not_cut_the_next_request(
    up: Upstream, origin: str, first: bytes, status: int
) -> None:
    """The app raises what it told; the server must not close what the client goes on using."""
    up.add("lost", [first, Abort()])
    with connected(origin) as client:
        for _ in range(20):
            answer = client.post(path("lost"))
            assert answer.status == status
            assert b'"error":' in answer.body
            assert client.post(path("deepseek")).body.endswith(DONE)


def test_connections_to_the_upstream_are_kept() -> None:
    """A relay reads on behind [DONE], to the end of the body, so the connection is free again."""
    opened: list[str] = []

    async def trace(name: str, _info: Any) -> None:
        if name == "connection.connect_tcp.complete":
            opened.append(name)

    with upstream() as up:
        client = httpx.AsyncClient(base_url=up.origin, timeout=None)

        async def relay(request: Request) -> StreamingResponse:
            sent = client.build_request("POST", request.url.path, extensions={"trace": trace})
            answer = await client.send(sent, stream=True)
            return StreamingResponse(answer.aiter_raw(), media_type="text/event-stream")

        @asynccontextmanager
        async def lifespan(_: Any) -> AsyncIterator[None]:
            async with client:
                yield

        routes = [Route("/{path:path}", relay, methods=["POST"])]
        app = Starlette(routes=routes, lifespan=lifespan)
        app.add_middleware(NormalizeMiddleware)
        with served(app) as origin, connected(origin) as gateway_client:
            for _ in range(5):
                assert gateway_client.post(path("vllm")).body.endswith(DONE)
    assert len(opened) == 1


def test_streams_one_after_the_other_on_one_connection(origin: str) -> None:
    with connected(origin) as client:
        bodies = {client.post(path("vllm")).body for _ in range(3)}
    (body,) = bodies
    assert b'"reasoning_content":' in body
    assert b'"reasoning":' not in body


def test_what_an_openai_client_makes_of_failures(up: Upstream, origin: str) -> None:
    openai: Any = pytest.importorskip("openai", reason="the OpenAI SDK is not installed")

    async def main() -> None:
        async def ask(name: str, retries: int = 0) -> list[Any]:
            client.base_url = f"{origin}/v1/{name}"
            chat = client.with_options(max_retries=retries).chat.completions
            stream = await chat.create(model="m", messages=[], stream=True)
            got.clear()
            async for chunk in stream:
                got.append(chunk)
            return got

        got: list[Any] = []
        async with openai.AsyncOpenAI(api_key="k") as client:
            with pytest.raises(openai.RateLimitError, match="slow") as limited:
                await ask("slow-down")
            assert limited.value.code == "rate_limit_exceeded"
            with pytest.raises(openai.BadRequestError) as refused:
                await ask("too-long")
            assert refused.value.code == "context_length_exceeded"
            # Another try could only fail, and the client is told so.
            before = len(up.requests)
            with pytest.raises(openai.InternalServerError):
                await ask("no-key", retries=2)
            assert len(up.requests) == before + 1
            with pytest.raises(openai.APIError, match="busy") as late:
                await ask("late-error")
            assert len(got) == 2
            assert type(late.value) is openai.APIError
            assert late.value.code == "overloaded_error"

    run(main())


def test_a_refusal_of_the_upstream_passes(up: Upstream) -> None:
    with served(gateway(up.origin)) as origin, connected(origin) as client:
        answer = client.post(path("limited"))
    assert answer.status == 429
    assert answer.headers["retry-after"] == "7"
    assert answer.body == b'{"error": {"message": "slow down", "code": "rate_limit_exceeded"}}'


def test_nothing_is_changed_without_the_middleware(up: Upstream) -> None:
    """What the tests above rest on: the gateway itself relays what comes."""
    with served(gateway(up.origin, is_normalized=False)) as origin, connected(origin) as client:
        answer = client.post(path("done-only"))
    assert (answer.status, answer.body) == (200, DONE)


# Heads and heartbeats. --------------------------------------------------------------


def test_the_head_waits_for_something_visible(up: Upstream, origin: str) -> None:
    gate = gated(up, "gated", ROLE, TEXT)
    with asked(origin, path("gated")) as connection:
        seen = read_until(connection, TEXT)  # while the upstream is not over
        gate.open()
        seen += read_until(connection, DONE)
    assert seen.count(b"HTTP/1.1 ") == 1


def test_reasoning_goes_out_at_once_where_that_was_asked_for(up: Upstream) -> None:
    gate = gated(up, "gated", ROLE, THOUGHT)
    app = gateway(up.origin, peek_reasoning=True)
    with served(app) as origin, asked(origin, path("gated")) as connection:
        read_until(connection, NORMAL)
        gate.open()
        assert FINISH in read_until(connection, DONE)


def test_heartbeats_while_the_upstream_is_silent(up: Upstream) -> None:
    gate = gated(up, "gated", TEXT)
    app = gateway(up.origin, heartbeat=0.05)
    with served(app) as origin, asked(origin, path("gated")) as connection:
        read_until(connection, b": hb\n")
        gate.open()
        read_until(connection, DONE)


# Clients that leave, or do not read. ------------------------------------------------


def test_a_client_that_leaves_closes_the_upstream(up: Upstream, origin: str) -> None:
    with asked(origin, path("silent")) as connection:
        read_until(connection, TEXT)
    drained(up)
    assert up.open_connections == 0


def test_a_client_that_leaves_while_the_head_is_held(up: Upstream, origin: str) -> None:
    before = len(up.requests)
    has_thought = threading.Event()

    def steps(_request: Any) -> Iterator[Any]:
        yield ROLE
        yield THOUGHT
        has_thought.set()
        yield float("inf")

    up.add("thinking-now", steps)
    with asked(origin, path("thinking-now")):
        assert has_thought.wait(30)
    drained(up)
    assert up.open_connections == 0
    assert len(up.requests) == before + 1


@pytest.mark.parametrize("first", [TEXT, ROLE], ids=["sent", "held"])
def test_the_apps_generator_is_closed(first: bytes) -> None:
    began, closed = threading.Event(), threading.Event()

    async def source() -> AsyncIterator[bytes]:
        try:
            yield first
            began.set()
            await asyncio.Event().wait()
        finally:
            closed.set()

    async def stream(_request: Request) -> StreamingResponse:
        return StreamingResponse(source(), media_type="text/event-stream")

    app = Starlette(routes=[Route("/stream", stream, methods=["POST"])])
    app.add_middleware(NormalizeMiddleware)
    with served(app) as origin:
        with asked(origin, "/stream"):
            assert began.wait(30)
            assert not closed.is_set()
        assert closed.wait(30)


def test_a_fault_closes_the_upstream(up: Upstream, origin: str) -> None:
    """An upstream that says that it failed and keeps the connection open is left."""
    late = LATE["late-error"][0]
    up.add("open-end", [*late, float("inf")])
    up.add("open-end-first", [late[-1], float("inf")])
    with connected(origin) as client:
        assert client.post(path("open-end")).late_error(TEXT + TEXT)["code"] == "overloaded_error"
        drained(up)
        assert client.post(path("open-end-first")).status == 502
        drained(up)
    assert up.open_connections == 0


def test_a_client_that_does_not_read_stops_the_upstream(up: Upstream, origin: str) -> None:
    check_that_a_slow_reader_slows(up, origin)


# The page. --------------------------------------------------------------------------


def test_recipe(up: Upstream) -> None:
    lines: list[Any] = []

    class Log:
        def warning(self, *told: Any) -> None:
            lines.append(told)

    app = gateway(up.origin, is_normalized=False)
    run_recipe_sync("asgi", app=app, log=Log())
    gate = gated(up, "gated", ROLE, THOUGHT)
    with served(app) as origin:
        with connected(origin) as client:
            assert client.post(path("slow-down")).status == 429
            assert client.post("/v1/slow-down").status == 200  # not one of those named
        with asked(origin, path("gated")) as connection:
            read_until(connection, NORMAL)
            gate.open()
            read_until(connection, DONE)
    (told,) = lines
    assert told[1] == path("slow-down")
    assert told[2].category == "rate_limit"


def test_recipe_for_any_app(up: Upstream) -> None:
    inner: Callable[..., Any] = gateway(up.origin, is_normalized=False)
    app = run_recipe_sync("asgi", "any other ASGI app", app=inner)["app"]
    assert app.app is inner
    with served(app) as origin, connected(origin) as client:
        assert client.post(path("empty")).status == 502
        assert b'"reasoning_content":' in client.post(path("vllm")).body


# Among other middleware. ------------------------------------------------------------


@pytest.mark.parametrize("is_outside", [True, False], ids=["outside", "inside"])
def test_beside_middleware_of_starlettes_own_kind(up: Upstream, is_outside: bool) -> None:
    """BaseHTTPMiddleware runs the app in a task of its own, and passes messages on."""

    async def tag(request: Request, call_next: Any) -> Any:
        response = await call_next(request)
        response.headers["x-tag"] = "t"
        return response

    app = gateway(up.origin, is_normalized=False)
    kinds: list[Any] = [(NormalizeMiddleware, {}), (BaseHTTPMiddleware, {"dispatch": tag})]
    for kind, options in kinds if is_outside else reversed(kinds):  # the last is the outermost
        app.add_middleware(kind, **options)
    late = LATE["late-error"][0]
    up.add("open-end", [*late, float("inf")])
    up.add("open-end-first", [late[-1], float("inf")])
    with served(app) as origin:
        with connected(origin) as client:
            answer = client.post(path("open-end"))
            assert answer.late_error(TEXT + TEXT)["code"] == "overloaded_error"
            assert answer.headers["x-tag"] == "t"
            answer = client.post(path("open-end-first"))
            assert answer.status == 502
            assert answer.headers["x-tag"] == "t"
            assert client.post(path("deepseek")).body.endswith(DONE)
        drained(up)
        with asked(origin, path("silent")) as connection:
            read_until(connection, TEXT)
        drained(up)
    assert up.open_connections == 0


def test_inside_of_compression(up: Upstream) -> None:
    """What compresses has to stand outside; an event stream it leaves alone or flushes."""
    app = gateway(up.origin, is_normalized=False)
    app.add_middleware(NormalizeMiddleware)
    app.add_middleware(GZipMiddleware, minimum_size=1)
    with served(app) as origin:
        answer = httpx.post(origin + path("vllm"), headers={"accept-encoding": "gzip"})
        assert '"reasoning_content":' in answer.text
        answer = httpx.post(origin + path("empty"), headers={"accept-encoding": "gzip"})
        assert answer.status_code == 502
        assert answer.json()["error"]["code"] == "empty"
