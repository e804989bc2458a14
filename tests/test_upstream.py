"""The loopback upstream: what every other test over real sockets relies on."""

from __future__ import annotations

import asyncio
import json
import math
import socket
import threading
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import httpx
import pytest

from streamnorm.upstream import HOST, Abort, Gate, Request, Route, Step, Upstream
from streamnorm.upstream.streams import BY_NAME, STREAMS


@asynccontextmanager
async def serving(**routes: list[Step]) -> AsyncIterator[tuple[Upstream, httpx.AsyncClient]]:
    """An upstream with *routes*, and a client for it."""
    async with Upstream() as up, httpx.AsyncClient(trust_env=False) as client:
        for name, steps in routes.items():
            up.add(name, steps)
        yield up, client


def raw_exchange(up: Upstream, data: bytes) -> bytes:
    """Send *data* on a connection of its own, return all that comes until it is closed."""
    port = int(up.base_url("x").split(":")[2].split("/")[0])
    with socket.create_connection((HOST, port)) as connection:
        connection.sendall(data)
        answer = b""
        while part := connection.recv(65536):
            answer += part
        return answer


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("end", ["/chat/completions", ""])
def test_serves_bundled_streams_chunked(method: str, end: str) -> None:
    async def run() -> None:
        async with Upstream(STREAMS) as up, httpx.AsyncClient(trust_env=False) as client:
            for stream in STREAMS:
                response = await client.request(method, up.base_url(stream.name) + end)
                assert response.status_code == 200
                assert response.http_version == "HTTP/1.1"
                assert response.headers["transfer-encoding"] == "chunked"
                assert response.headers["content-type"] == "text/event-stream; charset=utf-8"
                assert response.content == b"".join(stream.events)
            # All of it over the one connection that the client keeps.
            assert up.open_connections == 1
        assert [request.name for request in up.requests] == list(BY_NAME)
        assert {request.outcome for request in up.requests} == {"complete"}

    asyncio.run(run())


def test_records_requests() -> None:
    async def pieces() -> AsyncIterator[bytes]:
        yield b'{"stream"'
        yield b": true}"

    async def run() -> None:
        async with serving(r=[b"x"]) as (up, client):
            url = up.url("r")
            await client.post(url + "?a=1", json={"n": "é"}, headers={"X-Key": "v"})
            await client.post(url, content=pieces())
            await client.get(up.base_url("r"))
            sent, streamed, got = up.requests
        assert (sent.method, sent.query, sent.version) == ("POST", "a=1", "HTTP/1.1")
        assert sent.path == "/v1/r/chat/completions"
        assert sent.json() == {"n": "é"}
        assert sent.headers["x-key"] == "v"
        assert streamed.headers["transfer-encoding"] == "chunked"
        assert streamed.json() == {"stream": True}
        assert (got.method, got.path, got.body) == ("GET", "/v1/r", b"")

    asyncio.run(run())


@pytest.mark.parametrize(
    "path", ["/v1/nobody/chat/completions", "/v1/nobody", "/nobody", "/", "/v1/a/b", "/r/b/c"]
)
def test_unknown_route_is_an_openai_error(path: str) -> None:
    async def run() -> None:
        async with serving() as (up, client):
            response = await client.post(up.base_url("x").removesuffix("/v1/x") + path)
        assert response.status_code == 404
        assert response.headers["content-type"] == "application/json"
        error = response.json()["error"]
        assert list(error) == ["message", "type", "param", "code"]
        assert error["message"] == f"Invalid URL (POST {path})"
        assert error["code"] == "unknown_url"

    asyncio.run(run())


@pytest.mark.parametrize("path", ["/r", "/r/", "/r/chat/completions", "/v1/r/"])
def test_route_has_short_addresses(path: str) -> None:
    async def run() -> None:
        async with serving(r=[b"yes"]) as (up, client):
            assert (await client.get(up.origin + path)).content == b"yes"

    asyncio.run(run())


def test_what_names_no_route_can_be_answered_otherwise() -> None:
    def find(request: Request) -> Route | None:
        if request.path == "/":
            return Route([b"index"], 203, {"content-length": "5"})
        return Route(lambda _: [b"hello ", request.path.encode()]) if request.name else None

    async def run() -> None:
        async with serving(r=[b"yes"]) as (up, client):
            up.otherwise(find)
            assert (await client.get(up.url("r"))).content == b"yes"
            index = await client.get(up.origin)
            assert (index.status_code, index.content) == (203, b"index")
            assert (await client.get(up.origin + "/you")).content == b"hello /you"
            assert (await client.get(up.origin + "/a/b/c")).status_code == 404
            assert (await client.put(up.origin + "/you")).status_code == 405

    asyncio.run(run())


def test_names_are_quoted_in_urls() -> None:
    async def run() -> None:
        async with serving() as (up, client):
            assert up.add("a b/c", [b"yes"]) == "/v1/a%20b%2Fc/chat/completions"
            assert (await client.get(up.url("a b/c"))).content == b"yes"

    asyncio.run(run())


@pytest.mark.parametrize("method", ["HEAD", "PUT", "DELETE"])
def test_other_methods_are_refused(method: str) -> None:
    async def run() -> None:
        async with serving(r=[b"x"]) as (up, client):
            assert (await client.request(method, up.url("r"))).status_code == 405
            assert (await client.get(up.url("r"))).content == b"x"

    asyncio.run(run())


def test_pieces_arrive_before_the_rest_is_sent() -> None:
    async def run() -> None:
        gate = Gate()
        async with serving(r=[b"one", gate, b"two"]) as (up, client):
            async with client.stream("GET", up.url("r")) as response:
                parts = response.aiter_raw()
                assert await anext(parts) == b"one"
                assert up.requests[0].outcome == "running"
                gate.open()
                assert await anext(parts) == b"two"
                assert await anext(parts, None) is None
            # Once open, a gate stays so.
            assert (await client.get(up.url("r"))).content == b"onetwo"

    asyncio.run(run())


def test_pace_and_pauses_lose_nothing() -> None:
    async def run() -> None:
        async with serving() as (up, client):
            up.add("r", [b"a", 0.001, b"", 0, b"b"], pace=0.001)
            assert (await client.get(up.url("r"))).content == b"ab"

    asyncio.run(run())


@pytest.mark.parametrize("step", [Abort(), Abort(reset=True)])
def test_abort_cuts_the_connection(step: Abort) -> None:
    async def run() -> None:
        gate = Gate()
        async with serving(r=[b"one", gate, step, b"never"]) as (up, client):
            async with client.stream("GET", up.url("r")) as response:
                parts = response.aiter_raw()
                assert await anext(parts) == b"one"
                gate.open()
                with pytest.raises(httpx.ReadError if step.reset else httpx.RemoteProtocolError):
                    await anext(parts)
            await up.drained()
        assert up.requests[0].outcome == "aborted"

    asyncio.run(run())


@pytest.mark.parametrize("last", [math.inf, Gate(), 3600.0])
def test_notices_at_once_that_the_client_left(last: Step) -> None:
    async def run() -> None:
        async with serving(r=[b"one", last]) as (up, client):
            async with client.stream("GET", up.url("r")) as response:
                assert await anext(response.aiter_raw()) == b"one"
                assert up.open_connections == 1
            await up.drained()
            assert up.open_connections == 0
            assert up.requests[0].outcome == "client_left"

    asyncio.run(run())


def test_drained_tells_that_a_connection_is_open() -> None:
    async def run() -> None:
        async with serving(r=[b"one"]) as (up, client):
            await up.drained()
            await client.get(up.url("r"))
            with pytest.raises(TimeoutError, match=r"1 connection\(s\) still open"):
                await up.drained(timeout=0.01)

    asyncio.run(run())


def test_close_cuts_what_is_open_and_leaves_no_task() -> None:
    async def run() -> None:
        up = Upstream()
        up.add("hang", [b"one", math.inf])
        up.add("flood", lambda _: iter(lambda: b"x" * 65536, b""))
        await up.start()
        with pytest.raises(RuntimeError, match="already running"):
            await up.start()
        port = int(up.base_url("x").split(":")[2].split("/")[0])
        writers = []
        for request in (b"GET /v1/hang HTTP/1.1\r\n\r\n", b"GET /v1/flood HTTP/1.1\r\n\r\n", b""):
            reader, writer = await asyncio.open_connection(HOST, port)
            writers.append(writer)
            writer.write(request)
            if request:
                await reader.readuntil(b"\r\n\r\n")
        # A connection that the server has perhaps not accepted yet.
        writers.append((await asyncio.open_connection(HOST, port))[1])
        await up.close()
        await up.close()
        assert asyncio.all_tasks() == {asyncio.current_task()}
        assert up.open_connections == 0
        assert {request.outcome for request in up.requests} == {"aborted"}
        for writer in writers:
            writer.close()
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection(HOST, port)
        # It can be started again, with its routes and what it has recorded.
        async with up:
            assert up.url("hang").endswith("/v1/hang/chat/completions")
            assert len(up.requests) == 2

    asyncio.run(run())


def test_status_and_headers() -> None:
    async def run() -> None:
        async with serving() as (up, client):
            up.add("busy", [b"{}"], 429, {"Content-Type": "application/json", "Retry-After": "7"})
            up.add("own", [b""], 529)
            response = await client.get(up.url("busy"))
            assert (response.status_code, response.reason_phrase) == (429, "Too Many Requests")
            assert response.headers["retry-after"] == "7"
            assert response.headers["content-type"] == "application/json"
            assert (await client.get(up.url("own"))).status_code == 529

    asyncio.run(run())


def test_a_given_content_length_is_sent_as_it_is() -> None:
    async def run() -> None:
        async with serving() as (up, client):
            up.add("right", [b"ab", b"c"], headers={"Content-Length": "3"})
            up.add("short", [b"abc", Abort()], headers={"Content-Length": "9"})
            response = await client.get(up.url("right"))
            assert "transfer-encoding" not in response.headers
            assert response.content == b"abc"
            with pytest.raises(httpx.RemoteProtocolError):
                await client.get(up.url("short"))

    asyncio.run(run())


def test_a_status_without_a_body_has_no_framing() -> None:
    with Upstream.in_thread() as up:
        up.add("none", [], 204)
        answer = raw_exchange(up, b"GET /none HTTP/1.1\r\nconnection: close\r\n\r\n")
    head, end, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 204 No Content\r\n")
    assert b"transfer-encoding" not in head
    assert (end, body) == (b"\r\n\r\n", b"")


def test_raw_pieces_are_the_whole_response() -> None:
    with Upstream.in_thread() as up:
        up.add("raw", [b"HTTP/1.1 200", b" OK\r\n\r\nbody"], 500, {"x": "y"}, raw=True)
        up.add("nothing", [Abort()], raw=True)
        request = b"GET /%b HTTP/1.1\r\n\r\n"
        # The connection ends without being asked to.
        assert raw_exchange(up, request % b"raw") == b"HTTP/1.1 200 OK\r\n\r\nbody"
        assert raw_exchange(up, request % b"nothing") == b""
    assert [request.outcome for request in up.requests] == ["complete", "aborted"]


def test_listens_where_it_is_told_to() -> None:
    with Upstream.in_thread(host="localhost") as up:
        assert up.origin.startswith("http://localhost:")
        assert up.url("r").startswith(up.origin)
    with Upstream.in_thread() as up:
        port = int(up.origin.rpartition(":")[2])
        with pytest.raises(OSError, match=str(port)), Upstream.in_thread(port=port):
            pass
    with Upstream.in_thread(port=port) as up:
        assert up.origin == f"http://{HOST}:{port}"


def test_connection_close_is_honoured_from_both_sides() -> None:
    async def run() -> None:
        async with serving(plain=[b"x"]) as (up, client):
            up.add("closing", [b"x"], headers={"Connection": "close"})
            await client.get(up.url("closing"))
            await up.drained()
            await client.get(up.url("plain"), headers={"Connection": "close"})
            await up.drained()

    asyncio.run(run())


def test_a_script_can_depend_on_the_request() -> None:
    def script(request: Request) -> Iterator[Step]:
        yield b"%d" % len(up.requests)
        yield request.body

    up = Upstream()
    up.add("r", script)

    async def run() -> None:
        async with up, httpx.AsyncClient(trust_env=False) as client:
            assert (await client.post(up.url("r"), content=b"a")).content == b"1a"
            assert (await client.post(up.url("r"), content=b"b")).content == b"2b"

    asyncio.run(run())


def test_a_script_that_fails_is_not_silent() -> None:
    def script(_: Request) -> Iterator[Step]:
        yield b"one"
        raise LookupError("mistake in the test")

    async def run() -> None:
        async with Upstream() as up, httpx.AsyncClient(trust_env=False) as client:
            up.add("r", script)
            with pytest.raises(httpx.RemoteProtocolError):
                await client.get(up.url("r"))

    with pytest.raises(LookupError, match="mistake in the test"):
        asyncio.run(run())


@pytest.mark.parametrize(
    ("step", "error"),
    [("text", TypeError), (None, TypeError), (True, TypeError), (-1, ValueError)],
)
def test_wrong_steps_are_refused_when_added(step: object, error: type[Exception]) -> None:
    with pytest.raises(error):
        Upstream().add("r", [step])  # type: ignore[list-item]


def test_http_1_0_gets_a_body_that_ends_with_the_connection() -> None:
    with Upstream.in_thread() as up:
        up.add("r", [b"one", b"two"])
        answer = raw_exchange(up, b"GET /v1/r HTTP/1.0\r\n\r\n")
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"transfer-encoding" not in head
    assert body == b"onetwo"


@pytest.mark.parametrize(
    "data",
    [
        b"nonsense\r\n\r\n",
        b"GET /v1/r HTTP/2.0\r\n\r\n",
        b"GET /v1/r HTTP/1.1\r\nno colon\r\n\r\n",
        b"POST /v1/r HTTP/1.1\r\ncontent-length: many\r\n\r\n",
        b"GET /v1/r HTTP/1.1\r\nlong: " + b"x" * 100_000 + b"\r\n\r\n",
    ],
)
def test_what_is_not_http_is_a_bad_request(data: bytes) -> None:
    with Upstream.in_thread() as up:
        answer = raw_exchange(up, data)
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400 Bad Request")
    assert json.loads(body)["error"]["type"] == "invalid_request_error"
    assert up.requests == []


def test_in_thread_serves_code_without_a_loop() -> None:
    before = threading.active_count()
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with Upstream.in_thread(STREAMS) as up:
        for stream in STREAMS:
            with opener.open(up.url(stream.name), data=b"{}") as response:
                assert response.read() == b"".join(stream.events)
        with pytest.raises(urllib.error.HTTPError) as caught:
            opener.open(up.url("nobody"))
        caught.value.close()
    assert threading.active_count() == before
    assert up.open_connections == 0
    with pytest.raises(urllib.error.URLError):
        opener.open(up.url("vllm"))


def test_in_thread_lets_the_error_of_its_body_through() -> None:
    with pytest.raises(KeyError, match="mine"), Upstream.in_thread():
        raise KeyError("mine")


def test_in_thread_raises_what_a_script_raised() -> None:
    def script(_: Request) -> Iterator[Step]:
        raise LookupError("mistake in the test")
        yield b""

    upstream = Upstream.in_thread()
    up = upstream.__enter__()
    up.add("r", script)
    assert b"0\r\n\r\n" not in raw_exchange(up, b"GET /v1/r HTTP/1.1\r\n\r\n")
    with pytest.raises(LookupError):
        upstream.__exit__(None, None, None)


def test_url_needs_a_started_server() -> None:
    with pytest.raises(RuntimeError, match="not been started"):
        Upstream(STREAMS).url("vllm")
