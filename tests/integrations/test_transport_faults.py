"""The transports for httpx and httpx2: streams that do not end well, and other streams."""

from __future__ import annotations

import asyncio
import math
from typing import Any

import pytest

from streamnorm import StreamFault, Timeouts
from streamnorm._engine import Engine
from streamnorm.fault_server import FAULTS, FaultCase, FaultServer
from streamnorm.upstream import Abort, Gate, Route, Upstream

from ..aio import run
from ..blocking import drained
from ..helpers import DONE, chunk, event, stream
from .test_transport import libraries, modules

FIRST = event(chunk({"content": "a"}))
BODY = stream({"content": "so"})

# Those that are an event stream, with status 200, and that end by themselves.
STREAMED = [
    case
    for case in FAULTS
    if case.status == 200
    and not case.raw
    and case.timing is None
    and case.headers.get("content-type", "text/event-stream").startswith("text/event-stream")
]


async def read(client: Any, url: str, method: str = "POST") -> tuple[bytes, Any, Any]:
    """All bytes of an answer, what was raised behind them, and what is known of the stream."""
    pieces = []
    error = None
    async with client.stream(method, url) as response:
        try:
            async for piece in response.aiter_bytes():
                pieces.append(piece)
        except Exception as raised:  # noqa: BLE001
            error = raised
    return b"".join(pieces), error, response.extensions.get("streamnorm")


@libraries
@pytest.mark.parametrize("case", STREAMED, ids=lambda case: case.name)
def test_every_fault_that_an_event_stream_can_have(library: str, case: FaultCase) -> None:
    module, integration = modules(library)

    async def main(url: str) -> None:
        async with integration.normalize_client(module.AsyncClient()) as client:
            data, error, items = await read(client, url)
            integration.normalize_client(client, faults="pass")
            passed, left, seen = await read(client, url)
        assert items.fault is error
        expected = case.expected
        if expected is None or expected.kind == "corrupt":
            # (Bytes of a malformed event pass: the client has to read them.)
            assert error is None
        else:
            assert (error.kind, error.category, error.blame) == (
                expected.kind, expected.category, expected.blame,
            )  # fmt: skip
        # Noted, and raised only if it was the library's own, or of a limit of ours.
        assert (seen.fault is None) is (error is None)
        if expected is None or expected.kind != "too_large":
            assert left is None or type(left).__module__.startswith(library)
        else:
            assert left is seen.fault
        assert passed.startswith(data)

    with FaultServer() as server:
        run(main(server.url(case.name)))


@libraries
@pytest.mark.parametrize("is_async", [True, False])
def test_a_stream_that_only_ends_fails_before_its_end(library: str, is_async: bool) -> None:
    # SDKs read no further than [DONE], and would never meet what follows it.
    module, integration = modules(library)

    async def main() -> None:
        async with Upstream() as up:
            up.add("x", [DONE])
            async with integration.normalize_client(module.AsyncClient()) as client:
                data, error, _ = await read(client, up.url("x"))
            assert (data, error.kind) == (b"", "empty")
            await up.drained()

    def without_a_loop() -> None:
        with Upstream.in_thread() as up:
            up.add("x", [DONE])
            client = integration.normalize_client(module.Client())
            with client, client.stream("GET", up.url("x")) as response:
                pieces = response.iter_bytes()
                with pytest.raises(StreamFault, match="DONE"):
                    next(pieces)

    run(main()) if is_async else without_a_loop()


@libraries
def test_a_fault_comes_behind_all_bytes(engine: Engine, library: str) -> None:
    module, integration = modules(library)

    async def main() -> None:
        async with Upstream() as up:
            up.add("x", [FIRST, FIRST[:20]])
            client = integration.normalize_client(module.AsyncClient(), _engine_module=engine)
            async with client:
                data, error, items = await read(client, up.url("x"))
                assert data == FIRST + FIRST[:20]
                assert isinstance(error, StreamFault)
                assert (error.kind, error.visible_output) == ("truncated", True)
                assert items.fault is error
                assert error.partial == {"role": "assistant", "content": "a"}

    run(main())


@libraries
def test_a_fault_without_a_loop(library: str) -> None:
    module, integration = modules(library)
    with Upstream.in_thread() as up:
        up.add("x", [FIRST])
        up.add("lost", [FIRST, Abort()])
        with integration.normalize_client(module.Client()) as client:
            for name, kind in (("x", "truncated"), ("lost", "transport")):
                pieces = []
                with client.stream("POST", up.url(name)) as response:
                    with pytest.raises(StreamFault) as caught:
                        pieces += response.iter_bytes()
                    if kind == "transport":
                        cause: Any = caught.value.__cause__
                        assert isinstance(cause, module.RemoteProtocolError)
                        assert str(cause.request.url) == up.url(name)
                        # What failed needs no closing.
                        drained(up)
                assert caught.value.kind == kind
                assert b"".join(pieces) == FIRST
            integration.normalize_client(client, faults="pass")
            with pytest.raises(module.RemoteProtocolError):
                client.post(up.url("lost"))
            assert client.get(up.url("x")).content == FIRST
        drained(up)


@libraries
@pytest.mark.parametrize("faults", ["raise", "pass"])
def test_a_lost_connection(library: str, faults: str) -> None:
    module, integration = modules(library)

    async def main() -> None:
        async with Upstream() as up:
            up.add("x", [FIRST, Abort()])
            async with integration.normalize_client(module.AsyncClient(), faults=faults) as client:
                data, error, items = await read(client, up.url("x"))
                assert data == FIRST
                assert items.fault.kind == "transport"
                lost = error.__cause__ if faults == "raise" else error
                assert items.fault.__cause__ is lost
                assert isinstance(lost, module.RemoteProtocolError)
                assert str(lost.request.url) == up.url("x")
                assert isinstance(error, StreamFault) is (faults == "raise")
                await up.drained()

    run(main())


@libraries
@pytest.mark.parametrize("faults", ["raise", "pass"])
def test_a_time_limit_is_kept(library: str, faults: str) -> None:
    module, integration = modules(library)
    limits = Timeouts(idle=0.05)

    async def main() -> None:
        async with Upstream() as up:
            up.add("x", [FIRST, math.inf])
            client = module.AsyncClient(timeout=None)
            async with integration.normalize_client(client, faults=faults, timeouts=limits):
                data, error, _ = await read(client, up.url("x"))
                assert data == FIRST
                assert isinstance(error, StreamFault)
                assert error.kind == "idle_timeout"
                await up.drained()
            assert up.requests[0].outcome == "client_left"

    run(main())


@libraries
def test_what_the_host_raises_for_a_fault(library: str) -> None:
    module, integration = modules(library)

    class Own(Exception):
        pass

    async def main() -> None:
        async with Upstream() as up:
            up.add("x", [FIRST])
            client = module.AsyncClient()
            async with integration.normalize_client(client, error_factory=lambda fault: Own()):
                _, error, items = await read(client, up.url("x"))
                assert isinstance(error, Own)
                assert error.__cause__ is items.fault
                integration.normalize_client(client, error_factory=Own, faults="pass")
                assert (await read(client, up.url("x")))[1] is None

    run(main())


# Behind [DONE]. --------------------------------------------------------------------


@libraries
def test_what_comes_behind_the_end_passes(library: str) -> None:
    module, integration = modules(library)
    gate = Gate()
    tail = b": bye\n\n" + event(b'{"usage": 1}')

    async def main() -> None:
        async with Upstream() as up:
            up.add("x", [BODY, gate, tail])
            async with integration.normalize_client(module.AsyncClient()) as client:
                async with client.stream("POST", up.url("x")) as response:
                    pieces = response.aiter_bytes()
                    found = b""
                    while not found.endswith(DONE):
                        found += await anext(pieces)
                    assert response.extensions["streamnorm"].outcome.complete
                    gate.open()
                    rest = b"".join([piece async for piece in pieces])
                assert (found, rest) == (BODY, tail)

    run(main())


@libraries
def test_a_loss_behind_the_end_is_no_fault(library: str) -> None:
    module, integration = modules(library)

    async def main() -> None:
        async with Upstream() as up:
            up.add("x", [BODY, Abort()])
            async with integration.normalize_client(module.AsyncClient()) as client:
                data, error, items = await read(client, up.url("x"))
                assert (data, error, items.fault) == (BODY, None, None)
                await up.drained()
                integration.normalize_client(client, faults="pass")
                data, error, _ = await read(client, up.url("x"))
                assert data == BODY
                assert isinstance(error, module.RemoteProtocolError)

    run(main())


@libraries
@pytest.mark.parametrize("path", ["/v1/{}/chat/completions", "/v1/{}"])
@pytest.mark.parametrize("is_async", [True, False])
def test_an_end_alone_is_read_to_the_end_where_faults_pass(
    library: str, path: str, is_async: bool
) -> None:
    module, integration = modules(library)
    tail = b": bye\n\n" + FIRST

    async def main() -> None:
        async with Upstream() as up:
            gates = [Gate(), Gate()]
            for n, gate in enumerate(gates):
                up.add(f"x{n}", [DONE, gate, tail[:9], tail[9:]])
            client = integration.normalize_client(module.AsyncClient(), faults="pass")
            async with client:
                for n, gate in enumerate(gates):
                    url = up.origin + path.format(f"x{n}")
                    async with client.stream("POST", url) as response:
                        pieces = response.aiter_raw()
                        assert await anext(pieces) == DONE
                        gate.open()
                        assert b"".join([piece async for piece in pieces]) == tail
                    assert up.open_connections == 1

    def without_a_loop() -> None:
        with Upstream.in_thread() as up:
            up.add("x", [DONE, tail[:9], tail[9:]])
            url = up.origin + path.format("x")
            with integration.normalize_client(module.Client(), faults="pass") as client:
                assert client.post(url).content == DONE + tail

    run(main()) if is_async else without_a_loop()


# Streams of other kinds. -----------------------------------------------------------

MCP = event(b'{"jsonrpc":"2.0","id":1,"result":{}}') + event(
    b'{"jsonrpc":"2.0","id":2,"error":{"code":-32601,"message":"Method not found"}}'
)
OTHERS = {
    "mcp": MCP + event(b'{"jsonrpc":"2.0","id":3,"result":{}}'),
    "image": event(b'{"type":"image_generation.partial_image","b64_json":"aa"}'),
    "speech": event(b'{"type":"speech.audio.delta","audio":"aa"}'),
    "responses": event(b'{"type":"response.failed","response":{"error":{"message":"x"}}}')
    + event(b'{"type":"response.output_text.delta","delta":"hi"}'),
    # What looks like a chunk, and is none.
    "tool result": event(
        b'{"jsonrpc":"2.0","id":1,"result":{"structuredContent":{"choices":[{"delta":{}}]}}}'
    ),
    "batch of jsonrpc": event(b'[{"choices":[{"delta":{"content":"x"}}]}]'),
    "jsonrpc at the top": event(b'{"jsonrpc":"2.0","choices":[{"delta":{"content":"x"}}]}'),
    "nested chunk": event(b'{"raw":{"choices":[{"index":0,"delta":{"content":"x"}}]}}'),
    "poll": event(b'{"type":"poll.updated","choices":[{"id":1,"delta":{"votes":3}}]}'),
    "choices of text": event(b'{"choices":["a","b"],"delta":{"content":"x"}}'),
    "choices without": event(b'{"choices":[{"id":1,"delta":3}]}'),
    "no object of choices": event(b'{"choices":{"delta":{"content":"x"}}}'),
    # What has to stay as it is in the event.
    "log": b'data: {"level":"info"}\ndata: started worker 3\n\n',
    "two in one line": b'event: e\nid: 1\ndata: {"a":1}{"b":2}\n\n',
    "cut": b'event: e\r\ndata: {"a":1}',
    "comments": b": ping\n\n",
    "text": b"data: hello\n\ndata: world\n\n",
    "html": b"<html>" + b"x" * 500 + b"</html>",
    "empty": b"",
}


@libraries
@pytest.mark.parametrize("name", OTHERS)
@pytest.mark.parametrize("size", [1, 7, 10_000])
def test_other_event_streams_pass(engine: Engine, library: str, name: str, size: int) -> None:
    module, integration = modules(library)
    body = OTHERS[name]

    async def main() -> None:
        async with Upstream() as up:
            up.add("x", [body[at : at + size] for at in range(0, len(body), size)])
            client = integration.normalize_client(module.AsyncClient(), _engine_module=engine)
            async with client:
                url = up.origin + "/v1/x"
                data, error, items = await read(client, url)
                assert (data, error, items.fault) == (body, None, None)
                # Where a chat completion is due, it is a fault.
                _, error, _ = await read(client, up.url("x"))
                assert isinstance(error, StreamFault)

    run(main())


@libraries
def test_applications_at_invocations_pass(library: str) -> None:
    module, integration = modules(library)
    body = event(b'{"event":{"contentBlockDelta":{"text":"hi"}}}')
    with Upstream.in_thread() as up:
        up.otherwise(lambda request: Route((body,)))
        with integration.normalize_client(module.Client()) as client:
            assert client.post(up.origin + "/endpoints/x/invocations").content == body


@libraries
def test_another_large_event_passes_and_a_chunk_has_limits(library: str) -> None:
    module, integration = modules(library)
    large = event(b'{"image":"' + b"A" * 90_000 + b'"}')

    async def main() -> None:
        async with Upstream() as up:
            up.add("x", [large[:40_000], large[40_000:], FIRST])
            up.add("chat", [FIRST, large])
            client = integration.normalize_client(module.AsyncClient(), max_event_bytes=30_000)
            async with client:
                data, error, _ = await read(client, up.origin + "/v1/x")
                assert (data, error.kind) == (large + FIRST, "truncated")
                data, error, _ = await read(client, up.origin + "/v1/chat")
                assert (data, error.kind) == (FIRST, "too_large")

    run(main())


@libraries
def test_a_loss_of_another_event_stream_is_the_librarys_own(library: str) -> None:
    module, integration = modules(library)

    async def main() -> None:
        async with Upstream() as up:
            up.add("x", [MCP, Abort()])
            async with integration.normalize_client(module.AsyncClient()) as client:
                data, error, _ = await read(client, up.origin + "/v1/x")
                assert data == MCP
                assert isinstance(error, module.RemoteProtocolError)
                await up.drained()

    run(main())


@libraries
def test_another_event_stream_may_be_silent(library: str) -> None:
    module, integration = modules(library)
    gate = Gate()

    async def main() -> None:
        async with Upstream() as up:
            up.add("x", [MCP, gate, MCP])
            client = module.AsyncClient(timeout=None)
            limits = Timeouts(first_chunk=0.01, idle=0.01, total=0.01)
            async with integration.normalize_client(client, timeouts=limits):
                reading = asyncio.ensure_future(read(client, up.origin + "/v1/x"))
                await asyncio.wait((reading,), timeout=0.1)
                gate.open()
                data, error, _ = await reading
            assert (data, error) == (MCP + MCP, None)

    run(main())


@libraries
@pytest.mark.parametrize("delta", [{"content": "a"}, {"reasoning": "a"}])
def test_a_chat_completion_is_known_by_what_it_says(library: str, delta: Any) -> None:
    module, integration = modules(library)

    async def main() -> None:
        async with Upstream() as up:
            up.add("x", [event(chunk(delta))])
            up.add("lost", [event(chunk(delta)), Abort()])
            up.add("error", [event(chunk(delta)), event(b'{"error":{"message":"no"}}') * 2])
            async with integration.normalize_client(module.AsyncClient()) as client:
                for name, kind in (
                    ("x", "truncated"), ("lost", "transport"), ("error", "error_event"),
                ):  # fmt: skip
                    _, error, _ = await read(client, f"{up.origin}/v1/{name}")
                    assert isinstance(error, StreamFault)
                    assert error.kind == kind

    run(main())
