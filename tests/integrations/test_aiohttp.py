"""aiohttp's middleware in real sessions, over real sockets: whatever reads, reads normal form."""

from __future__ import annotations

import asyncio
import gzip
import math
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest

from streamnorm import StreamFault, Timeouts, captured, normalize_stream
from streamnorm._engine import Engine
from streamnorm.integrations.aiohttp import normalize_middleware
from streamnorm.upstream import Abort, Gate, Request, Upstream

from ..aio import collect, deltas, run
from ..helpers import DONE, chunk, event, stream
from .recipes import run_recipe

BODY = stream({"reasoning": "why"}, {"content": "so"})
EDITED = BODY.replace(b'"reasoning"', b'"reasoning_content"')
EVENTS = [event(chunk({"reasoning": str(n)})) for n in range(4)]
OUT = [one.replace(b'"reasoning"', b'"reasoning_content"') for one in EVENTS]
ERROR = b'{"error":{"message":"slow down","code":"rate_limit_exceeded"}}'
# Turns of the event loop in which a reader lets the upstream have its way.
TURNS = 5000
CUTS = [BODY[:50], BODY[50:90], BODY[90:]]


@asynccontextmanager
async def session(**options: Any) -> AsyncIterator[aiohttp.ClientSession]:
    """A session with the middleware."""
    middleware = normalize_middleware(**options)
    async with aiohttp.ClientSession(middlewares=(middleware,)) as made:
        yield made


async def joined(items: Any) -> bytes:
    return b"".join([item async for item in items])


async def of_chunks(response: aiohttp.ClientResponse) -> bytes:
    return b"".join([data async for data, _ in response.content.iter_chunks()])


async def of_calls(response: aiohttp.ClientResponse) -> bytes:
    body = response.content
    found = await body.readexactly(10) + await body.readuntil(b"}") + await body.readline()
    while not body.at_eof():
        found += await body.readany()
    return found


READERS: dict[str, Callable[[aiohttp.ClientResponse], Awaitable[bytes]]] = {
    "iter_any": lambda response: joined(response.content.iter_any()),
    "iter_chunked": lambda response: joined(response.content.iter_chunked(7)),
    "iter_chunks": of_chunks,
    "lines": lambda response: joined(response.content),
    "read": lambda response: response.read(),
    "content.read": lambda response: response.content.read(),
    "calls": of_calls,
}
readers = pytest.mark.parametrize("reader", READERS)


@readers
def test_whatever_reads_gets_normal_form(engine: Engine, reader: str) -> None:
    async def main() -> None:
        async with Upstream() as up, session(_engine_module=engine) as client:
            up.add("x", CUTS)
            for _ in range(2):
                async with client.post(up.url("x"), json={}) as response:
                    assert await READERS[reader](response) == EDITED
                    assert response.content.at_eof()
                    assert await response.content.readany() == b""
                    told: Any = response.content
                    assert told.streamnorm.report.remaps == {"reasoning→reasoning_content": 1}
                    assert told.streamnorm.report.engine == engine.NAME
                    assert told.streamnorm.message["reasoning_content"] == "why"
            # The connection was kept, and used again.
            assert up.open_connections == 1
            assert [request.outcome for request in up.requests] == ["complete"] * 2

    run(main())


def test_text_and_lines_as_they_are_usually_read() -> None:
    async def main() -> None:
        async with Upstream() as up, session() as client:
            up.add("x", CUTS)
            async with client.get(up.url("x")) as response:
                assert await response.text() == EDITED.decode()
            async with client.get(up.url("x")) as response:
                lines = [line async for line in response.content]
            assert lines == EDITED.splitlines(keepends=True)

    run(main())


@pytest.mark.parametrize("reader", ["iter_any", "iter_chunked", "iter_chunks", "lines", "stream"])
@pytest.mark.parametrize("coding", ["", "gzip", "deflate", "bare deflate", "br"])
@pytest.mark.parametrize("decompress", [True, False])
def test_each_event_is_delivered_before_the_next_is_sent(
    engine: Engine, reader: str, coding: str, decompress: bool
) -> None:
    sent = packed(coding, [*EVENTS, DONE])
    gates = [Gate() for _ in EVENTS]
    steps = [step for pair in zip(sent[:-1], gates, strict=True) for step in pair]
    headers = {"content-encoding": coding.removeprefix("bare ")} if coding else {}

    async def main() -> None:
        async with Upstream() as up, session(_engine_module=engine) as client:
            up.add("x", [*steps, sent[-1]], headers=headers)
            async with client.get(up.url("x"), auto_decompress=decompress) as response:
                body = response.content
                ways: dict[str, Any] = {
                    "iter_any": body.iter_any,
                    "iter_chunked": lambda: body.iter_chunked(1 << 16),
                    "iter_chunks": body.iter_chunks,
                    "lines": body.__aiter__,
                    "stream": lambda: normalize_stream(response).sse(),
                }
                items = ways[reader]()
                for gate, expected in zip(gates, OUT, strict=True):
                    found = await anext(items)
                    if reader == "iter_chunks":
                        assert found == (expected, True)
                    elif reader == "lines":
                        assert found + await anext(items) == expected
                    else:
                        assert found == expected
                    gate.open()
                if reader == "iter_chunks":
                    assert [data async for data, _ in items if data] == [DONE]
                else:
                    assert await joined(items) == DONE
                assert "content-encoding" not in response.headers

    run(main())


def packed(coding: str, pieces: list[bytes]) -> list[bytes]:
    """The pieces, each of which can be decoded without the one behind it."""
    if not coding:
        return pieces
    if coding == "br":
        brotli: Any = pytest.importorskip("brotli")
        packer = brotli.Compressor()
        done = [packer.process(one) + packer.flush() for one in pieces]
        return [*done[:-1], done[-1] + packer.finish()]
    bits = {"gzip": 31, "deflate": 15, "bare deflate": -15}[coding]
    made = zlib.compressobj(wbits=bits)
    done = [made.compress(one) + made.flush(zlib.Z_SYNC_FLUSH) for one in pieces]
    return [*done[:-1], done[-1] + made.flush()]


# What it says of itself. --------------------------------------------------------------------


@pytest.mark.parametrize("decompress", [True, False])
def test_headers_of_the_body_as_it_was_sent_are_gone(decompress: bool) -> None:
    async def main() -> None:
        async with Upstream() as up, session() as client:
            data = gzip.compress(BODY)
            headers = {"content-length": str(len(data)), "content-encoding": "gzip", "x-id": "7"}
            up.add("x", [data], headers=headers)
            async with client.get(up.url("x"), auto_decompress=decompress) as response:
                assert response.headers["X-Id"] == "7"
                assert response.content_type == "text/event-stream"
                assert response.content_length is None
                names = {name.lower() for name in response.headers}
                assert not names & {"content-length", "content-encoding"}
                assert {name.lower().decode() for name, _ in response.raw_headers} == names
                assert await response.read() == EDITED

    run(main())


@pytest.mark.parametrize(
    ("kind", "coding"), [("application/json", ""), ("text/html", ""), ("text/event-stream", "zz")]
)
def test_everything_else_passes_to_the_byte(kind: str, coding: str) -> None:
    async def main() -> None:
        async with Upstream() as up, session() as client:
            headers = {"content-type": kind, "content-length": str(len(BODY))}
            if coding:
                headers["content-encoding"] = coding
            up.add("x", CUTS, headers=headers)
            async with client.get(up.url("x")) as response:
                assert type(response.content) is aiohttp.StreamReader
                assert response.content_length == len(BODY)
                assert response.headers.get("content-encoding", "") == coding
                assert await response.read() == BODY

    run(main())


def test_lines_of_json(engine: Engine) -> None:
    lines = chunk({"reasoning": "why"}) + b"\n" + chunk({}, "stop") + b"\n"

    async def main() -> None:
        async with Upstream() as up, session(_engine_module=engine) as client:
            up.add("x", [lines[:20], lines[20:]], headers={"content-type": "application/x-ndjson"})
            async with client.get(up.url("x")) as response:
                found = await response.read()
            assert found == lines.replace(b'"reasoning"', b'"reasoning_content"')

    run(main())


def test_a_stream_of_something_else_passes_however_it_ends() -> None:
    async def main() -> None:
        async with Upstream() as up, session() as client:
            up.otherwise(lambda _: route)
            up.add("made", [b"event: tick\ndata: 1\n\n", b"event: tick\ndata: 2\n\n"])
            route = up._routes["made"]
            async with client.get(f"{up.origin}/events") as response:
                found = await response.read()
            assert found == b"event: tick\ndata: 1\n\nevent: tick\ndata: 2\n\n"

    run(main())


# Faults. ------------------------------------------------------------------------------------


async def read_to_fault(response: Any) -> tuple[bytes, Any]:
    """What came, and what was raised behind it, then and again."""
    body, found = response.content, b""

    async def rest() -> None:
        nonlocal found
        async for data in body.iter_any():
            found += data

    raised = await raised_by(rest())
    if raised is not None:
        for read in (body.readany, body.readline, body.read):
            assert await raised_by(read()) is raised
    return found, raised


async def raised_by(work: Any) -> Any:
    done = (await asyncio.gather(work, return_exceptions=True))[0]
    return done if isinstance(done, BaseException) else None


FAULTS: dict[str, tuple[list[Any], bytes, str]] = {
    "truncated": ([EVENTS[0], EVENTS[1][:-9]], OUT[0] + EVENTS[1][:-9], "truncated"),
    "empty": ([], b"", "empty"),
    "cut": ([EVENTS[0], Abort()], OUT[0], "transport"),
    "error event": ([EVENTS[0], event(ERROR), math.inf], OUT[0] + event(ERROR), "error_event"),
}


@pytest.mark.parametrize("case", FAULTS)
def test_a_fault_is_raised_behind_the_last_byte(engine: Engine, case: str) -> None:
    steps, out, kind = FAULTS[case]

    async def main() -> None:
        async with Upstream() as up, session(_engine_module=engine) as client:
            up.add("x", steps, headers={"retry-after": "7"})
            response = await client.post(up.url("x"), json={})
            found, fault = await read_to_fault(response)
            assert found == out
            assert isinstance(fault, StreamFault)
            assert fault.kind == kind
            assert fault.reasoning_output is (kind != "empty")
            told: Any = response.content
            assert told.streamnorm.fault is fault
            if kind == "error_event":
                assert (fault.category, fault.retry_after) == ("rate_limit", 7)
                # Nobody left it: the fault closed it.
                await up.drained()
                assert up.requests[0].outcome == "client_left"
            elif kind == "transport":
                assert isinstance(fault.__cause__, aiohttp.ClientPayloadError)
                await up.drained()

    run(main())


@pytest.mark.parametrize("case", FAULTS)
def test_faults_can_be_left_to_the_client(engine: Engine, case: str) -> None:
    steps, out, kind = FAULTS[case]

    async def main() -> None:
        async with Upstream() as up, session(faults="pass", _engine_module=engine) as client:
            up.add("x", [step for step in steps if step != math.inf])
            async with client.post(up.url("x"), json={}) as response:
                found, raised = await read_to_fault(response)
            assert found == out
            # As it would be without us.
            assert isinstance(
                raised, aiohttp.ClientPayloadError if kind == "transport" else type(None)
            )
            told: Any = response.content
            assert told.streamnorm.fault.kind == kind

    run(main())


def test_a_reset(engine: Engine) -> None:
    gate = Gate()

    async def main() -> None:
        async with Upstream() as up, session(_engine_module=engine) as client:
            up.add("x", [EVENTS[0], gate, Abort(reset=True)])
            async with client.post(up.url("x")) as response:
                assert await response.content.readany() == OUT[0]
                gate.open()
                with pytest.raises(StreamFault) as raised:
                    await response.text()
            assert (raised.value.kind, raised.value.blame) == ("transport", "transport")

    run(main())


def test_the_fault_as_the_hosts_own_exception() -> None:
    class Failed(Exception):
        pass

    async def main() -> None:
        async with Upstream() as up, session(error_factory=lambda fault: Failed(fault)) as client:
            up.add("x", [EVENTS[0]])
            async with client.get(up.url("x")) as response:
                with pytest.raises(Failed) as raised:
                    await response.text()
            assert isinstance(raised.value.__cause__, StreamFault)

    run(main())


@pytest.mark.parametrize("faults", ["raise", "pass"])
def test_a_time_limit(faults: str) -> None:
    async def main() -> None:
        async with Upstream() as up, session(timeouts=Timeouts(idle=0.05), faults=faults) as client:
            up.add("x", [EVENTS[0], math.inf])
            response = await client.get(up.url("x"))
            found, fault = await read_to_fault(response)
            assert found == OUT[0]
            assert isinstance(fault, StreamFault)
            assert fault.kind == "idle_timeout"
            await up.drained()

    run(main())


@pytest.mark.parametrize("limit", ["total", "sock_read"])
def test_the_limits_of_the_client_are_faults(limit: str) -> None:
    async def main() -> None:
        async with Upstream() as up, session() as client:
            up.add("x", [EVENTS[0], math.inf])
            timeout = aiohttp.ClientTimeout(**{limit: 0.2})
            async with client.get(up.url("x"), timeout=timeout) as response:
                found, fault = await read_to_fault(response)
            assert found == OUT[0]
            assert isinstance(fault, StreamFault)
            assert (fault.kind, fault.category) == ("transport", "api_connection")
            assert isinstance(fault.__cause__, asyncio.TimeoutError)
            await up.drained()

    run(main())


def test_what_cannot_be_decoded(engine: Engine) -> None:
    async def main() -> None:
        async with Upstream() as up, session(_engine_module=engine) as client:
            bad = packed("gzip", [EVENTS[0], EVENTS[1]])
            up.add("x", [bad[0], b"\xff" * 50], headers={"content-encoding": "gzip"})
            for decompress in (True, False):
                async with client.get(up.url("x"), auto_decompress=decompress) as response:
                    fault = (await read_to_fault(response))[1]
                assert isinstance(fault, StreamFault)
                assert fault.kind in ("corrupt", "transport")

    run(main())


# Leaving, waiting, cancelling. --------------------------------------------------------------


@pytest.mark.parametrize("leave", ["context", "close", "release", "waiting"])
def test_who_leaves_closes_the_upstream(leave: str) -> None:
    async def main() -> None:
        async with Upstream() as up, session() as client:
            up.add("x", [EVENTS[0], math.inf])
            response = await client.get(up.url("x"))
            assert await response.content.readany() == OUT[0]
            if leave == "context":
                async with response:
                    pass
            elif leave == "close":
                response.close()
            elif leave == "release":
                response.release()
            else:
                waiting = asyncio.ensure_future(response.content.readany())
                await asyncio.sleep(0)
                response.close()
                with pytest.raises(aiohttp.ClientConnectionError, match="Connection closed"):
                    await waiting
            await up.drained()
            assert up.requests[0].outcome == "client_left"
            with pytest.raises(aiohttp.ClientConnectionError, match="Connection closed"):
                await response.content.readany()

    run(main())


def test_a_cancelled_read_loses_nothing(engine: Engine) -> None:
    gates = [Gate(), Gate()]

    async def main() -> None:
        async with Upstream() as up, session(_engine_module=engine) as client:
            up.add("x", [EVENTS[0][:30], gates[0], EVENTS[0][30:], gates[1], EVENTS[1], DONE])
            async with client.get(up.url("x")) as response:
                body = response.content
                for gate, expected in zip(gates, OUT[:2], strict=True):
                    reading = asyncio.ensure_future(body.readany())
                    await asyncio.sleep(0)
                    reading.cancel()
                    with pytest.raises(asyncio.CancelledError):
                        await reading
                    gate.open()
                    assert await body.readexactly(len(expected)) == expected
                assert await body.read() == DONE

    run(main())


def test_two_readers_at_once() -> None:
    async def main() -> None:
        async with Upstream() as up, session() as client:
            gate = Gate()
            up.add("x", [gate, *EVENTS, DONE])
            async with client.get(up.url("x")) as response:
                first = asyncio.ensure_future(response.content.readexactly(len(OUT[0])))
                await asyncio.sleep(0)
                with pytest.raises(RuntimeError, match="another coroutine is already waiting"):
                    await response.content.readany()
                gate.open()
                # The first one is not disturbed.
                assert await first == OUT[0]

    run(main())


def test_a_slow_reader_holds_the_upstream_up() -> None:
    sent = 0
    big = event(chunk({"content": "x" * 50_000}))

    def endless(_: Request) -> Any:
        nonlocal sent
        while True:
            sent += len(big)
            yield big

    async def main() -> None:
        async with Upstream() as up, session() as client:
            up.add("x", endless)
            async with client.get(up.url("x")) as response:
                await response.content.readany()
                for _ in range(TURNS):  # in each of which the upstream may send
                    await asyncio.sleep(0)
                # The buffers of two sockets and of aiohttp; not what the upstream has to say.
                assert sent < TURNS * len(big) / 10
                before = sent
                await response.content.readexactly(2 * before)
                assert sent > before
            await up.drained()

    run(main())


def test_the_end_of_the_body_behind_done_is_read() -> None:
    async def main() -> None:
        async with Upstream() as up, session() as client:
            gate = Gate()
            up.add("x", [BODY, gate, b": bye\n\n"])
            for _ in range(2):
                async with client.get(up.url("x")) as response:
                    assert await response.content.readexactly(len(EDITED)) == EDITED
                    gate.open()
                    assert await response.content.read() == b": bye\n\n"
            assert up.open_connections == 1

    run(main())


@pytest.mark.parametrize("path", ["/v1/{}/chat/completions", "/v1/{}"])
def test_an_end_alone_is_read_to_the_end_where_faults_pass(path: str) -> None:
    async def main() -> None:
        async with Upstream() as up, session(faults="pass") as client:
            for n in range(2):
                gate = Gate()
                up.add(f"x{n}", [DONE, gate, b": bye\n\n"])
                async with client.get(up.origin + path.format(f"x{n}")) as response:
                    assert await response.content.readexactly(len(DONE)) == DONE
                    gate.open()
                    assert await response.content.read() == b": bye\n\n"
            assert up.open_connections == 1

    run(main())


def test_lines_of_json_elsewhere_are_files() -> None:
    async def main() -> None:
        async with Upstream() as up, session() as client:
            body = chunk({"reasoning": "a"}) + b"\n"
            up.add("x", [body], headers={"content-type": "application/jsonl"})
            async with client.get(up.origin + "/v1/x") as response:
                assert await response.read() == body

    run(main())


def test_other_events_pass_and_a_chunk_is_known() -> None:
    async def main() -> None:
        async with Upstream() as up, session() as client:
            other = event(b'{"jsonrpc":"2.0","result":{"choices":[{"delta":{}}]}}')
            log = b"data: 1\ndata: started\n\n"
            up.add("other", [other, log])
            up.add("chat", [other, log, *CUTS])
            async with client.get(up.origin + "/v1/other") as response:
                assert await response.read() == other + log
            async with client.get(up.origin + "/v1/chat") as response:
                assert await response.read() == other + log + EDITED

    run(main())


def test_a_connection_lost_behind_done_is_no_fault() -> None:
    async def main() -> None:
        async with Upstream() as up, session() as client:
            gate = Gate()
            up.add("x", [BODY, gate, Abort()])
            async with client.get(up.url("x")) as response:
                assert await response.content.readexactly(len(EDITED)) == EDITED
                gate.open()
                assert await response.content.read() == b""
            await up.drained()

    run(main())


# Refusals. ----------------------------------------------------------------------------------


@pytest.mark.parametrize("decompress", [True, False])
def test_a_refusal_is_noted_while_it_is_read(decompress: bool) -> None:
    async def main() -> None:
        async with Upstream() as up, session() as client:
            headers = {"retry-after": "7", "content-type": "application/json"}
            up.add("e", [ERROR[:9], ERROR[9:]], 429, headers)
            data = gzip.compress(ERROR)
            up.add("z", [data], 429, {**headers, "content-encoding": "gzip"})
            up.add("x", CUTS)
            with captured.call() as call:
                for name in ("e", "z"):
                    async with client.get(up.url(name), auto_decompress=decompress) as response:
                        noted = call.refusal
                        assert noted is not None
                        assert (noted.status, noted.body) == (429, b"")
                        assert noted.headers["retry-after"] == "7"
                        sent = data if name == "z" and not decompress else ERROR
                        assert await response.read() == sent
                        assert noted.body == ERROR
                    with pytest.raises(StreamFault) as raised:
                        await anext(normalize_stream(None))
                    assert (raised.value.kind, raised.value.status_code) == ("none_stream", 429)
                    assert raised.value.provider_message == "slow down"
                async with client.get(up.url("x")) as response:
                    assert call.refusal is None

    run(main())


def test_what_is_raised_explains_no_later_none() -> None:
    async def main() -> None:
        async with Upstream() as up, session() as client:
            up.add("e", [ERROR], 422)
            for _ in range(2):
                async with client.post(up.url("e"), json={}) as response:
                    assert (response.status, await response.read()) == (422, ERROR)
                assert captured.last() is None

    run(main())


def test_an_error_is_still_an_error() -> None:
    async def main() -> None:
        async with Upstream() as up, session() as client:
            up.add("e", [ERROR], 429, {"retry-after": "7"})
            with pytest.raises(aiohttp.ClientResponseError) as raised:
                await client.get(up.url("e"), raise_for_status=True)
            assert raised.value.status == 429
            async with client.get(up.url("e")) as response:
                fault = (await collect(normalize_stream(response)))[1]
            assert fault is not None
            assert (fault.kind, fault.status_code, fault.retry_after) == ("http_error", 429, 7)
            assert fault.provider_message == "slow down"

    run(main())


def test_no_answer_is_no_refusal() -> None:
    async def main() -> None:
        async with Upstream() as up, session() as client:
            up.add("e", [ERROR], 429)
            up.add("none", [Abort()], raw=True)
            with captured.call() as call:
                async with client.get(up.url("e")):
                    assert call.refusal is not None
                with pytest.raises(aiohttp.ServerDisconnectedError):
                    await client.post(up.url("none"))
                assert call.refusal is None

    run(main())


# Making it. ---------------------------------------------------------------------------------


def test_a_response_is_normalised_once() -> None:
    async def main() -> None:
        one, two = normalize_middleware(reasoning="reasoning"), normalize_middleware()
        async with Upstream() as up, aiohttp.ClientSession(middlewares=(two, one)) as client:
            up.add("x", [EVENTS[0], DONE])
            async with client.get(up.url("x")) as response:
                assert await response.read() == EVENTS[0] + DONE

    run(main())


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"faults": "no"}, ValueError),
        ({"reasoning": "x"}, ValueError),
        ({"nonsense": 1}, TypeError),
        ({"timeouts": 1}, TypeError),
    ],
)
def test_wrong_options_are_refused_at_once(options: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        normalize_middleware(**options)


def test_an_answer_that_has_no_body_is_left_alone() -> None:
    async def main() -> None:
        async with Upstream() as up, session() as client:
            up.add("x", [], 204)
            async with client.get(up.url("x")) as response:
                assert await response.read() == b""

    run(main())


# Recipes. -----------------------------------------------------------------------------------


def test_the_recipe_of_the_middleware(capsys: pytest.CaptureFixture[str]) -> None:
    async def main() -> None:
        async with Upstream() as up:
            up.add("x", CUTS)
            await run_recipe("aiohttp", url=up.url("x"), request={})
            assert capsys.readouterr().out.encode() == EDITED

    run(main())


def test_the_recipe_without_a_middleware(capsys: pytest.CaptureFixture[str]) -> None:
    async def main() -> None:
        async with Upstream() as up:
            up.add("x", CUTS)
            await run_recipe("aiohttp", "a response as a source", url=up.url("x"), request={})
            assert capsys.readouterr().out == "whyso"

    run(main())


# Without the middleware: sources. -----------------------------------------------------------


@pytest.mark.parametrize(
    "of", ["response", "content", "iter_any", "iter_chunked", "iter_chunks", "lines"]
)
def test_every_sort_of_source(engine: Engine, of: str) -> None:
    gates = [Gate() for _ in EVENTS]
    steps = [step for pair in zip(EVENTS, gates, strict=True) for step in pair]

    async def main() -> None:
        async with Upstream() as up, aiohttp.ClientSession() as client:
            up.add("x", [*steps, event(chunk({}, "stop")), DONE])
            async with client.get(up.url("x")) as response:
                body = response.content
                source: Any = {
                    "response": lambda: response,
                    "content": lambda: body,
                    "iter_any": body.iter_any,
                    "iter_chunked": lambda: body.iter_chunked(9),
                    "iter_chunks": body.iter_chunks,
                    "lines": body.__aiter__,
                }[of]()
                items = normalize_stream(source, _engine_module=engine)
                for n, gate in enumerate(gates):
                    assert deltas([await anext(items)]) == [{"reasoning_content": str(n)}]
                    gate.open()
                rest, fault = await collect(items)
                assert deltas(rest) == [{}]
                assert fault is None
                assert items.outcome.bytes == sum(map(len, EVENTS)) + len(
                    event(chunk({}, "stop")) + DONE
                )

    run(main())
