"""`to_response`: a status that is true, an honest end, and nothing left open."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from fastapi import FastAPI, Request
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse, PlainTextResponse
from starlette.routing import Route

from streamnorm import NormalizedStream, StreamFault, normalize_stream
from streamnorm._engine import Engine
from streamnorm.integrations.sse_starlette import to_event_source
from streamnorm.integrations.starlette import to_response
from streamnorm.upstream import Upstream
from streamnorm.upstream.streams import STREAMS

from ..aio import Script, run
from ..blocking import drained
from ..helpers import DONE
from .asgi_app import Server, scope
from .recipes import run_recipe
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

Answer = Callable[..., Any]
KEY = {"authorization": "Bearer k", "content-type": "application/json"}


@pytest.fixture(scope="module")
def up() -> Iterator[Upstream]:
    with upstream() as running:
        yield running


def gateway_of(framework: str, origin: str, answer: Answer = to_response, **options: Any) -> Any:
    """A gateway that answers every path with *answer* of the upstream's stream."""
    limits = httpx.Limits(max_keepalive_connections=0)
    client = httpx.AsyncClient(base_url=origin, timeout=None, limits=limits)

    async def relay(request: Request) -> Any:
        sent = client.build_request("POST", request.url.path, content=b"{}", headers=KEY)
        return await answer(normalize_stream(client.send(sent, stream=True)), **options)

    if framework == "starlette":
        return Starlette(routes=[Route("/{path:path}", relay, methods=["POST"])])
    app = FastAPI()
    app.post("/{path:path}")(relay)
    return app


@pytest.fixture(scope="module", params=["starlette", "fastapi"])
def origin(request: pytest.FixtureRequest, up: Upstream) -> Iterator[str]:
    with served(gateway_of(request.param, up.origin)) as address:
        yield address


# Over real sockets. -----------------------------------------------------------------


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


def test_an_upstreams_refusal(origin: str) -> None:
    with connected(origin) as client:
        answer = client.post(path("limited"))
        assert answer.status == 429
        assert answer.headers["retry-after"] == "7"
        assert answer.error["message"] == "slow down"
        answer = client.post(path("no-such-route"))
        assert answer.status == 404
        assert answer.error["type"] == "invalid_request_error"


def test_an_upstream_that_is_not_there() -> None:
    with Upstream.in_thread() as closed:
        address = closed.origin
    with served(gateway_of("fastapi", address)) as origin, connected(origin) as client:
        answer = client.post(path("vllm"))
    assert answer.status == 502
    assert answer.error["code"] == "api_connection"
    assert address.rpartition(":")[2] not in answer.error["message"]


@pytest.mark.parametrize("name", LATE)
def test_a_late_failure_is_an_event_and_the_connection_lives_on(origin: str, name: str) -> None:
    with connected(origin) as client:
        for _ in range(2):
            answer = client.post(path(name))
            assert answer.late_error(TEXT + TEXT)["code"] == LATE[name][1]
        assert client.post(path("deepseek")).body.endswith(DONE)


def test_a_good_stream(origin: str) -> None:
    async def expected(stream: Any) -> bytes:
        frames = normalize_stream(Script([b"".join(stream.events)])).sse(done="always")
        return b"".join([frame async for frame in frames])

    with connected(origin) as client:
        for stream in STREAMS:
            answer = client.post(path(stream.name))
            assert answer.status == 200
            assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
            assert answer.headers["cache-control"] == "no-cache"
            assert answer.headers["x-accel-buffering"] == "no"
            assert "content-length" not in answer.headers
            assert answer.body == run(expected(stream))


def test_a_client_that_leaves_closes_the_upstream(up: Upstream, origin: str) -> None:
    with asked(origin, path("silent")) as connection:
        read_until(connection, TEXT)
    drained(up)
    assert up.open_connections == 0


def test_a_client_that_does_not_read_stops_the_upstream(up: Upstream, origin: str) -> None:
    check_that_a_slow_reader_slows(up, origin)


def test_heartbeats(up: Upstream) -> None:
    gate = gated(up, "gated", TEXT)
    app = gateway_of("fastapi", up.origin, heartbeat=0.05)
    with served(app) as origin, asked(origin, path("gated")) as connection:
        read_until(connection, b": hb\n")
        gate.open()
        read_until(connection, DONE)


def test_reasoning_goes_out_at_once_where_that_was_asked_for(up: Upstream) -> None:
    gate = gated(up, "gated", ROLE, THOUGHT)
    app = gateway_of("fastapi", up.origin, peek_reasoning=True)
    with served(app) as origin, asked(origin, path("gated")) as connection:
        read_until(connection, NORMAL)
        gate.open()
        read_until(connection, DONE)


def test_limits_of_the_peek(up: Upstream) -> None:
    limits: tuple[dict[str, Any], ...] = ({"peek_timeout": 0.05}, {"peek_bytes": len(ROLE)})
    for limit in limits:
        gate = gated(up, "gated", ROLE)
        app = gateway_of("fastapi", up.origin, **limit)
        with served(app) as origin, asked(origin, path("gated")) as connection:
            read_until(connection, ROLE)
            gate.open()
            read_until(connection, DONE)


def test_recipe(up: Upstream) -> None:
    async def made(name: str) -> Any:
        return (await run_recipe("starlette", url=up.url(name), headers=KEY))["app"]

    before = len(up.requests)
    with served(run(made("groq"))) as origin, connected(origin) as client:
        assert b'"reasoning_content":' in client.post("/v1/chat/completions").body
    request = up.requests[before]
    assert request.body == b"{}"
    assert request.headers["authorization"] == "Bearer k"
    with served(run(made("slow-down"))) as origin, connected(origin) as client:
        assert client.post("/v1/chat/completions").status == 429


# Without a server. ------------------------------------------------------------------


async def told(response: Any) -> Server:
    """What a response sends to a client that stays."""
    server = Server()

    async def receive() -> Any:
        await asyncio.Event().wait()

    await response(scope(), receive, server.send)
    return server


def test_what_the_response_has_besides(engine: Engine) -> None:
    async def main() -> None:
        ran: list[bool] = []

        async def note(stream: NormalizedStream) -> None:
            ran.append(stream.outcome.complete)

        headers = {"X-Request-Id": "r1", "Cache-Control": "private", "Content-Length": "3"}
        for steps, status in (([TEXT, DONE], 200), ([DONE], 502)):
            stream = normalize_stream(Script(steps), _engine_module=engine)
            after = BackgroundTask(note, stream)
            response = await to_response(stream, headers=headers, background=after)
            server = await told(response)
            assert server.status == status
            assert server.headers["x-request-id"] == "r1"
            assert server.headers["cache-control"] == "private"
            expected = str(len(server.body)) if status == 502 else None
            assert server.headers.get("content-length") == expected
        assert ran == [True, False]

    run(main())


@pytest.mark.parametrize(
    ("steps", "rest"),
    [
        ([TEXT, DONE], DONE),
        ([TEXT, FINISH], FINISH + DONE),
        ([TEXT, FINISH + DONE[:9]], FINISH + DONE),
        ([{"choices": [{"index": 0, "delta": {"content": "so"}}]}, StopAsyncIteration], None),
        ([TEXT, TEXT[:9]], None),
        ([TEXT, TEXT[:9], httpx.ReadError("cut")], None),
        ([TEXT, b"event: error\n" + FAILURES["slow-down"].steps[0]], None),
        ([TEXT, b": hi\n\n" + FAILURES["slow-down"].steps[0][:-1]], None),
    ],
)
def test_the_end_of_the_body(engine: Engine, steps: list[Any], rest: bytes | None) -> None:
    async def main() -> None:
        source = Script([step for step in steps if step is not StopAsyncIteration])
        stream = normalize_stream(source, _engine_module=engine)
        server = await told(await to_response(stream))
        assert source.closes
        if rest is not None:
            assert server.body == TEXT + rest
            assert stream.outcome.complete
            return
        *before, last, end = server.body.split(b"\n\n")
        assert end == b""
        fault = stream.fault
        assert isinstance(fault, StreamFault)
        assert json.loads(last[6:])["error"]["fault"]["kind"] == fault.kind
        assert server.body.count(b'"error"') == 1
        assert all(b'"so"' in event or event == b": hi" for event in before)

    run(main())


@pytest.mark.parametrize("answer", [to_response, to_event_source])
def test_a_background_task_runs_behind_all_of_it(answer: Answer) -> None:
    """The upstream does not wait for it, and its OSError is no client that left."""

    async def main() -> None:
        source, seen = Script([TEXT, DONE, TEXT]), []

        async def book() -> None:
            seen.append(source.closes)
            raise ConnectionRefusedError("the database is down")

        stream = normalize_stream(source)
        response = await answer(stream, background=BackgroundTask(book))
        with pytest.raises(ConnectionRefusedError):
            await told(response)
        assert seen == [1]

    asyncio.run(main())  # (sse-starlette leaves a task to the loop's end)


@pytest.mark.parametrize("answer", [to_response, to_event_source])
def test_the_content_type_is_not_the_hosts(answer: Answer) -> None:
    async def main() -> None:
        headers = {"Content-Type": "application/json", "X-A": "b"}
        for steps in ([TEXT, DONE], [DONE]):
            response = await answer(normalize_stream(Script(steps)), headers=headers)
            kinds = [v for k, v in response.raw_headers if k.lower() == b"content-type"]
            expected = b"application/json" if steps == [DONE] else b"text/event-stream"
            assert [kind.partition(b";")[0] for kind in kinds] == [expected]
            assert response.headers["x-a"] == "b"
            await told(response)

    asyncio.run(main())  # (sse-starlette leaves a task to the loop's end)


def test_an_answer_that_is_no_stream_becomes_one(up: Upstream) -> None:
    """What the page says of requests that ask for none."""
    message = {"role": "assistant", "content": "so"}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    whole = json.dumps({"id": "1", "object": "chat.completion", "choices": [choice]})
    up.add("whole", [whole.encode()], 200, {"content-type": "application/json"})
    with served(gateway_of("fastapi", up.origin)) as origin, connected(origin) as client:
        answer = client.post(path("whole"))
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert b'"delta":' in answer.body
    assert answer.body.endswith(DONE)


def test_half_an_event_as_it_was_sent(engine: Engine) -> None:
    async def main() -> None:
        stream = normalize_stream(Script([TEXT, TEXT[:9]]), _engine_module=engine)
        server = await told(await to_response(stream, done="as_sent"))
        assert server.body.startswith(TEXT + TEXT[:9] + b'\n\ndata: {"error":')

    run(main())


def test_a_stream_that_was_peeked_at_before(engine: Engine) -> None:
    async def main() -> None:
        source = Script([ROLE, TEXT, DONE])
        stream = normalize_stream(source, _engine_module=engine)
        assert await stream.peek() == "visible"
        server = await told(await to_response(stream))
        assert server.body == ROLE + TEXT + DONE

    run(main())


class HostError(Exception):
    """An error type of a host's own."""


def test_the_hosts_own_errors_before_and_after(up: Upstream, engine: Engine) -> None:
    async def main() -> None:
        source = Script([DONE])
        stream = normalize_stream(source, error_factory=HostError, _engine_module=engine)
        with pytest.raises(HostError):
            await to_response(stream)
        assert source.closes
        source = Script([TEXT])
        stream = normalize_stream(source, error_factory=HostError, _engine_module=engine)
        server = await told(await to_response(stream))
        assert b'data: {"error":' in server.body

    run(main())

    async def relay(request: Request) -> Any:
        return await to_response(normalize_stream(None, error_factory=HostError))

    async def handle(request: Request, error: Exception) -> JSONResponse:
        return JSONResponse({"host": getattr(error.__cause__, "kind", None)}, 418)

    routes = [Route("/", relay, methods=["POST"])]
    app = Starlette(routes=routes, exception_handlers={HostError: handle})
    with served(app) as origin, connected(origin) as client:
        answer = client.post("/")
        assert (answer.status, json.loads(answer.body)) == (418, {"host": "none_stream"})


def test_mistakes_are_raised_and_the_source_is_closed(engine: Engine) -> None:
    async def main() -> None:
        source = Script([3.5])
        stream = normalize_stream(source, _engine_module=engine)
        with pytest.raises(TypeError):
            await to_response(stream)
        assert source.closes
        source = Script([TEXT, 3.5])
        stream = normalize_stream(source, _engine_module=engine)
        response = await to_response(stream)
        with pytest.raises(TypeError):
            await told(response)
        assert source.closes
        source = Script([TEXT, DONE])
        stream = normalize_stream(source, _engine_module=engine)
        with pytest.raises(ValueError, match="heartbeat"):
            await to_response(stream, heartbeat=-1)
        assert source.closes
        with pytest.raises(TypeError, match="normalize_stream"):
            await to_response(PlainTextResponse())  # type: ignore[arg-type]

    run(main())


def test_a_cancelled_peek_closes_the_source() -> None:
    async def main() -> None:
        waits = asyncio.Event()

        def steps() -> Iterator[Any]:
            yield ROLE
            waits.set()
            yield asyncio.Event()

        source = Script(steps())
        answering = asyncio.create_task(to_response(normalize_stream(source)))
        await waits.wait()
        answering.cancel()
        with pytest.raises(asyncio.CancelledError):
            await answering
        assert source.closes

    run(main())


@pytest.mark.parametrize("spec", ["2.3", "2.4"])
def test_a_client_that_left_before_the_first_byte(spec: str) -> None:
    """The body is never iterated, and yet the source is closed."""

    async def main() -> None:
        source = Script([TEXT, asyncio.Event()])
        response = await to_response(normalize_stream(source))

        async def receive() -> Any:
            return {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            await asyncio.Event().wait()

        await response(scope(spec=spec), receive, send)
        assert source.closes == 1

    run(main())


def test_a_server_that_says_by_an_error_that_the_client_left() -> None:
    async def main() -> None:
        source = Script([TEXT, asyncio.Event()])
        response = await to_response(normalize_stream(source))

        async def receive() -> Any:
            await asyncio.Event().wait()

        async def send(message: Any) -> None:
            raise OSError("gone")

        with pytest.raises(ClientDisconnect):
            await response(scope(spec="2.4"), receive, send)
        assert source.closes == 1

    run(main())


@pytest.mark.parametrize("spec", ["2.3", "2.4"])
def test_a_client_that_leaves_while_the_upstream_is_silent(spec: str) -> None:
    async def main() -> None:
        has_text = asyncio.Event()
        source, server = Script([TEXT, asyncio.Event()]), Server()
        response = await to_response(normalize_stream(source))

        async def receive() -> Any:
            await has_text.wait()
            return {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            await server.send(message)
            if message.get("body"):
                has_text.set()

        await response(scope(spec=spec), receive, send)
        assert [message.get("body") for message in server.sent] == [None, TEXT]
        assert source.closes == 1

    run(main())
