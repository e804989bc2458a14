"""`NormalizeMiddleware` where a stream fails: real statuses before, an error event after."""

from __future__ import annotations

import asyncio
import gc
import json
from collections.abc import AsyncGenerator
from typing import Any

import httpx
import pytest
from starlette.background import BackgroundTask
from starlette.responses import StreamingResponse

from streamnorm import StreamFault
from streamnorm._engine import Engine
from streamnorm.integrations.asgi import NormalizeMiddleware

from ..aio import run
from ..helpers import DONE, chunk, event, reads
from .asgi_app import BODY, END, Message, Server, body, exchange, pieces, scope, start

ROLE = event(chunk({"role": "assistant", "content": ""}))
THOUGHT = event(chunk({"reasoning_content": "why"}))
TEXT = event(chunk({"content": "so"}))
FINISH = event(chunk({}, "stop"))


def failed(message: str, **more: Any) -> bytes:
    return event(json.dumps({"error": {"message": message, **more}}).encode())


# Before the first visible event. ----------------------------------------------------


@pytest.mark.parametrize(
    ("data", "status", "kind", "code"),
    [
        ([failed("slow", code=429)], 429, "error_event", "rate_limit"),
        ([ROLE, THOUGHT, failed("slow", code="rate_limit_exceeded")], 429, "error_event",
         "rate_limit_exceeded"),
        ([failed("long", code="context_length_exceeded")], 400, "error_event",
         "context_length_exceeded"),
        ([failed("busy", code=503)], 503, "error_event", "server_error"),
        ([b'{"error": {"message": "no such model", "code": "model_not_found"}}'], 400,
         "error_event", "model_not_found"),
        ([], 502, "empty", "empty"),
        ([b": ping\n\n", b": ping\n\n"], 502, "empty", "empty"),
        ([DONE], 502, "empty", "empty"),
        ([b"<!DOCTYPE html>\n<html><title>Just a moment", b"...</title></html>"], 502, "not_sse",
         "not_sse"),
        ([ROLE, THOUGHT], 502, "truncated", "truncated"),
        ([ROLE, TEXT[:20]], 502, "truncated", "truncated"),
        ([b"data: {half\n\n", TEXT, DONE], 502, "corrupt", "corrupt"),
    ],
)  # fmt: skip
def test_a_fault_before_anything_visible_is_a_status(
    engine: Engine, data: list[bytes], status: int, kind: str, code: str
) -> None:
    server = run(exchange(pieces(*data), _engine_module=engine))
    assert server.status == status
    told = json.loads(server.body)
    assert [*told] == ["error"]
    assert {*told["error"]} == {"message", "type", "param", "code", "fault"}
    assert told["error"]["fault"]["kind"] == kind
    assert told["error"]["code"] == code
    assert told["error"]["param"] is None
    assert server.headers["content-type"] == "application/json"
    assert server.headers["content-length"] == str(len(server.body))
    assert len(server.sent) == 2


def test_headers_of_an_error() -> None:
    head = start(
        content_length="10",
        transfer_encoding="chunked",
        cache_control="no-cache",
        trailer="x-a",
        retry_after="1",
        x_request_id="r1",
        set_cookie="a=b",
        access_control_allow_origin="*",
        vary="origin",
    )
    slow = failed("slow", code=429, metadata={"headers": {"Retry-After": "7"}}, retry_after=7)
    server = run(exchange([{**head, "trailers": True}, body(slow), END]))
    assert server.status == 429
    assert "trailers" not in server.sent[0]
    assert len(server.sent) == 2
    assert server.headers == {
        "content-type": "application/json",
        "content-length": str(len(server.body)),
        "cache-control": "no-store",
        "retry-after": "7",
        "x-request-id": "r1",
        "set-cookie": "a=b",
        "access-control-allow-origin": "*",
        "vary": "origin",
    }


def test_cookies_stay_apart() -> None:
    head = start()
    head["headers"] = [*head["headers"], (b"set-cookie", b"a=1"), (b"set-cookie", b"b=2")]
    for data in ([], [TEXT, DONE]):
        server = run(exchange([head, *map(body, data), END]))
        found = [value for name, value in server.sent[0]["headers"] if name == b"set-cookie"]
        assert found == [b"a=1", b"b=2"]


def test_visible_first_and_a_fault_in_the_same_message_is_a_stream(engine: Engine) -> None:
    server = run(
        exchange([start(), body(TEXT + failed("late"), more=False)], _engine_module=engine)
    )
    assert server.status == 200
    assert server.body.startswith(TEXT)


# After it. --------------------------------------------------------------------------


def error_of(server: Server, before: bytes) -> Any:
    """The error event that is all that follows *before* in the body."""
    assert server.status == 200
    assert server.body.startswith(before), server.body
    rest = server.body[len(before) :]
    assert rest.startswith(b"data: {")
    assert rest.endswith(b"}\n\n")
    assert rest.count(b"\n") == 2
    return json.loads(rest[6:])["error"]


@pytest.mark.parametrize("size", [1, 7, 10_000])
@pytest.mark.parametrize(
    ("late", "kind", "message"),
    [
        (b"", "truncated", "the upstream's stream ended early"),
        (TEXT[:25], "truncated", "the upstream's stream ended early"),
        (b"data: {ha", "truncated", "the upstream's stream ended early"),
        (failed("over\nloaded", code=503), "error_event", "over loaded"),
        (b"event: error\r\n" + failed("x"), "error_event", "x"),
        (b'{"error": {"message": "bare"}}\n\n', "error_event", "bare"),
        (event(b'{"choices":[],"error":{"message":"beside","code":500}}'), "error_event", "beside"),
        (failed("cut short")[:-1], "error_event", "cut short"),
        (b": a comment\n" + failed("x"), "error_event", "x"),
    ],
)  # fmt: skip
def test_a_later_fault_is_the_last_event(
    engine: Engine, late: bytes, kind: str, message: str, size: int
) -> None:
    """Ours takes the place of the upstream's own, and of half an event; no [DONE] follows."""
    data = reads(TEXT + TEXT + late, size)
    server = run(exchange(pieces(*data), _engine_module=engine))
    before = TEXT + TEXT
    if late.startswith(b": a comment") and size < 20:
        before += b": a comment\n"  # a comment goes out as soon as it is known to be one
    told = error_of(server, before)
    assert told["fault"]["kind"] == kind
    assert told["message"] == message


def test_an_error_event_ends_the_response_at_once(engine: Engine) -> None:
    messages = [start(), body(TEXT), body(failed("x")), END]
    server = run(exchange(messages, _engine_module=engine))
    assert server.before == [0, 2, 3, 3]
    error_of(server, TEXT)


def test_as_sent_leaves_half_an_event_and_keeps_the_error_apart(engine: Engine) -> None:
    server = run(exchange(pieces(TEXT, TEXT[:25]), done="as_sent", _engine_module=engine))
    assert error_of(server, TEXT + TEXT[:25] + b"\n\n")["code"] == "truncated"


def test_an_error_among_lines_of_json(engine: Engine) -> None:
    line = chunk({"content": "so"}) + b"\n"
    for late in (b"", b'{"error":{"message":"no"}}\n'):
        messages = [start("application/x-ndjson"), body(line), body(late), END]
        server = run(exchange(messages, _engine_module=engine))
        first, last, rest = server.body.split(b"\n")
        assert (first + b"\n", rest) == (line, b"")
        assert json.loads(last)["error"]["message"]


def test_trailers_of_a_failed_stream() -> None:
    """A server that waits for trailers gets some, but not those that vouch for the body."""
    trailers = {"type": "http.response.trailers", "headers": [(b"digest", b"x")]}
    head = {**start(), "trailers": True}
    server = run(exchange([head, body(TEXT), END, trailers]))
    assert server.sent[-1] == {"type": "http.response.trailers", "headers": []}
    assert [m["type"] for m in server.sent].count("http.response.trailers") == 1


# What the app raises. ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (httpx.ReadTimeout("slow"), 502),
        (httpx.RemoteProtocolError("cut"), 502),
        (StreamFault("late", kind="idle_timeout", category="api_connection"), 504),
        (StreamFault("no", kind="http_error", blame="request", status_code=422), 422),
    ],
)
def test_an_upstreams_failure_that_the_app_raises(error: Exception, status: int) -> None:
    """The client is told, and the host; not the server, which would close the connection."""
    told: list[StreamFault] = []

    def main(*messages: Any) -> Server:
        told.clear()
        return run(exchange([start(), *messages, error], on_fault=lambda f, _: told.append(f)))

    server = main(body(ROLE))
    assert server.status == status
    assert json.loads(server.body)["error"]["message"]
    server = main(body(TEXT))
    error_of(server, TEXT)
    (fault,) = told
    assert error in (fault, fault.__cause__)


def test_an_upstreams_failure_is_logged_where_nobody_else_is_told(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def logged(*messages: Any, **options: Any) -> Server:
        caplog.clear()
        return run(exchange([start(), *messages, httpx.ReadError("cut")], **options))

    error_of(logged(body(TEXT)), TEXT)
    (record,) = caplog.records
    assert (record.name, record.levelname) == ("streamnorm.asgi", "ERROR")
    assert record.exc_info
    assert isinstance(record.exc_info[1], httpx.ReadError)
    logged(body(TEXT), on_fault=lambda *_: None)
    assert not caplog.records
    # Behind a good end, and behind a fault, it is no fault of the stream.
    for before in ([body(TEXT + DONE)], [body(TEXT + DONE), END], [body(failed("x")), END]):
        server = logged(*before, on_fault=lambda *_: None)
        assert server.body
        assert len(caplog.records) == 1


@pytest.mark.parametrize("path", ["/events", "/v1/chat/completions"])
def test_what_another_stream_raises_is_the_servers(path: str) -> None:
    other = body(b"data: tick\n\n")
    if path == "/events":
        with pytest.raises(httpx.ReadError):
            run(exchange([start(), other, httpx.ReadError("cut")], scope(path=path)))
    else:
        assert run(exchange([start(), other, httpx.ReadError("cut")], scope(path=path))).status


def test_what_on_fault_raises_is_not_a_client_that_left() -> None:
    """It reaches the server, but not the app, to which an OSError of `send` says so."""

    async def main() -> None:
        server, error = Server(), OSError("the log is down")

        def note(*_: Any) -> None:
            raise error

        response = StreamingResponse(source(), media_type="text/event-stream")
        with pytest.raises(OSError, match="log is down") as raised:
            await NormalizeMiddleware(response, on_fault=note)(scope(), waits, server.send)
        assert raised.value is error
        assert server.status == 429
        assert ends == ["well"]

    async def source() -> AsyncGenerator[bytes, None]:
        yield failed("slow", code=429)
        ends.append("well")

    async def waits() -> Any:
        await asyncio.Event().wait()

    ends: list[str] = []
    run(main())


@pytest.mark.parametrize("error", [ValueError("a mistake"), KeyError("secret")])
def test_a_mistake_of_the_app_is_the_servers_to_answer(error: Exception) -> None:
    async def main(*messages: Any) -> Server:
        server = Server()
        app = NormalizeMiddleware(server.plays([*messages, error]))
        with pytest.raises(type(error)) as raised:
            await app(scope(), server.receive, server.send)
        assert raised.value is error
        return server

    assert not run(main()).sent
    # Nothing was sent, so the server can still say 500.
    assert not run(main(start(), body(ROLE))).sent
    # Otherwise it cuts the connection, as it would have done.
    sent = run(main(start(), body(TEXT), body(TEXT))).sent
    assert [message.get("more_body") for message in sent] == [None, True, True]
    # After a good end nothing changes.
    assert run(main(start(), body(TEXT + DONE, more=False))).body == TEXT + DONE


def test_a_cancellation_passes() -> None:
    async def main() -> None:
        server, waits = Server(), asyncio.Event()

        async def app(_scope: Any, _receive: Any, send: Any) -> None:
            await send(start())
            await send(body(TEXT))
            waits.set()
            await asyncio.Event().wait()

        serving = asyncio.create_task(
            NormalizeMiddleware(app, heartbeat=3600)(scope(), server.receive, server.send)
        )
        await waits.wait()
        serving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await serving
        assert [message.get("more_body") for message in server.sent] == [None, True]

    run(main())


# Who is told that it is over. -------------------------------------------------------


def test_the_client_leaves_while_the_head_is_held() -> None:
    told: list[Any] = []
    server = Server({"type": "http.request", "body": b"{}"}, {"type": "http.disconnect"})

    async def app(_scope: Any, receive: Any, send: Any) -> None:
        await send(start())
        await send(body(ROLE))
        assert (await receive())["type"] == "http.request"
        assert (await receive())["type"] == "http.disconnect"

    middleware = NormalizeMiddleware(app, on_fault=lambda *fault: told.append(fault))
    run(middleware(scope(), server.receive, server.send))
    assert not server.sent
    assert not told


def test_after_a_fault_the_client_has_left() -> None:
    """An app that goes on hears what it would hear from a server whose client has gone."""
    server = Server()

    async def app(_scope: Any, receive: Any, send: Any) -> None:
        await send(start())
        await send(body(failed("x")))
        sent = len(server.sent)
        assert await receive() == {"type": "http.disconnect"}
        await send(body(TEXT))
        await send(END)
        assert len(server.sent) == sent == 2

    run(NormalizeMiddleware(app)(scope(), server.receive, server.send))


def test_an_app_that_only_sends_can_be_cancelled() -> None:
    """An endless app of a server before 2.4 gives way to others, so that these can end it."""

    async def main() -> None:
        async def app(_scope: Any, _receive: Any, send: Any) -> None:
            await send(start())
            while True:
                await send(body(failed("x")))
                goes_on.set()

        server, goes_on = Server(), asyncio.Event()
        serving = asyncio.create_task(
            NormalizeMiddleware(app)(scope(), server.receive, server.send)
        )
        await goes_on.wait()
        serving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await serving

    run(main())


def test_an_app_of_a_newer_server_is_stopped() -> None:
    server, ends = Server(), []

    async def app(_scope: Any, _receive: Any, send: Any) -> None:
        try:
            await send(start())
            while True:
                await send(body(failed("x")))
        except OSError as error:
            ends.append(error)
            raise

    run(NormalizeMiddleware(app)(scope(spec="2.4"), server.receive, server.send))
    assert len(ends) == 1
    assert server.status == 502


@pytest.mark.parametrize("spec", ["2.3", "2.4"])
@pytest.mark.parametrize("first", [b"", TEXT], ids=["before", "after"])
def test_a_streaming_response_is_stopped(spec: str, first: bytes) -> None:
    """Starlette's own response, under both sorts of server; its source is endless."""

    async def main() -> None:
        server, over, ran = Server(), asyncio.Event(), []

        async def source() -> AsyncGenerator[bytes, None]:
            if first:
                yield first
            while True:
                await asyncio.sleep(0)
                yield failed("x")

        async def receive() -> Message:
            await over.wait()
            return {"type": "http.disconnect"}

        async def send(message: Message) -> None:
            await server.send(message)
            if message["type"] == BODY and not message["more_body"]:
                over.set()  # uvicorn does so

        async def note() -> None:
            ran.append(True)

        given = source()
        response = StreamingResponse(
            given, media_type="text/event-stream", background=BackgroundTask(note)
        )
        await NormalizeMiddleware(response)(scope(spec=spec), receive, send)
        assert server.status == (200 if first else 502)
        assert server.body.startswith(first)
        # For Starlette it is a client that left: then the background task runs.
        assert ran == [True]
        await given.aclose()

    run(main())


@pytest.mark.parametrize("spec", ["2.3", "2.4"])
def test_a_silent_upstream_is_left(spec: str) -> None:
    """It has said its error and stays open; whoever reads from it has to hear of the end."""

    async def main() -> None:
        server, over, closed = Server(), asyncio.Event(), []

        async def source() -> AsyncGenerator[bytes, None]:
            try:
                yield TEXT + failed("x")
                await asyncio.Event().wait()
            finally:
                closed.append(True)

        async def receive() -> Message:
            await over.wait()
            return {"type": "http.disconnect"}

        async def send(message: Message) -> None:
            await server.send(message)
            if message["type"] == BODY and not message["more_body"]:
                over.set()

        async def app(told: Any, *channels: Any) -> None:
            told["route"] = "r"
            await StreamingResponse(source(), media_type="text/event-stream")(told, *channels)

        request = scope(spec=spec)
        await NormalizeMiddleware(app)(request, receive, send)
        assert closed
        # Servers and what stands outside see what the app noted, and their own version.
        assert (request["route"], request["asgi"]["spec_version"]) == ("r", spec)

    run(main())


def test_what_a_stopped_app_read_from_is_closed_at_once() -> None:
    """Nothing of ours holds its frames until the garbage collector comes."""

    async def main() -> None:
        closed: list[bool] = []

        async def source() -> AsyncGenerator[bytes, None]:
            try:
                while True:
                    yield failed("x")
            finally:
                closed.append(True)

        async def app(_scope: Any, _receive: Any, send: Any) -> None:
            read_from = source()  # which the frame holds
            await send(start())
            async for data in read_from:
                await send(body(data))

        server = Server()
        gc.disable()
        try:
            await NormalizeMiddleware(app)(scope(spec="2.4"), server.receive, server.send)
            for _ in range(5):
                await asyncio.sleep(0)
            assert closed
        finally:
            gc.enable()

    run(main())


def test_what_else_a_stopped_app_raises_is_not_hidden() -> None:
    server = Server()

    async def app(_scope: Any, _receive: Any, send: Any) -> None:
        await send(start())
        try:
            while True:
                await send(body(failed("x")))
        finally:
            raise ValueError("a mistake in cleaning up")

    with pytest.raises(ValueError, match="a mistake"):
        run(NormalizeMiddleware(app)(scope(spec="2.4"), server.receive, server.send))


def test_a_client_that_has_left_ends_the_app_as_before() -> None:
    """An OSError of the server's own send passes through, and nothing is sent behind it."""

    async def main() -> None:
        calls = 0

        async def send(message: Message) -> None:
            nonlocal calls
            calls += 1
            raise gone

        server = Server()
        app = NormalizeMiddleware(server.plays(pieces(TEXT, TEXT)))
        with pytest.raises(ConnectionResetError):
            await app(scope(spec="2.4"), server.receive, send)
        assert calls == 1

    gone = ConnectionResetError("gone")
    run(main())
