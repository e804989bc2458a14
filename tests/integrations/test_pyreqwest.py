"""pyreqwest's responses, its readers and its requests as sources, over real sockets."""

from __future__ import annotations

import asyncio
import gzip
import math
import socket
from datetime import timedelta
from typing import Any

import pytest
from pyreqwest.client import ClientBuilder, SyncClientBuilder
from pyreqwest.exceptions import BodyDecodeError, BuilderError, ClientClosedError, DecodeError

from streamnorm import StreamFault, Timeouts, normalize_stream, normalize_stream_sync
from streamnorm._engine import Engine
from streamnorm.integrations.pyreqwest import normalize_request, normalize_request_sync
from streamnorm.upstream import Abort, Gate, Upstream

from .. import blocking
from ..aio import collect, collect_sse, deltas, run
from ..helpers import DONE, chunk, event, stream
from .recipes import run_recipe, run_recipe_sync

BODY = stream({"reasoning": "why"}, {"content": "so"})
EDITED = BODY.replace(b'"reasoning"', b'"reasoning_content"')
DELTAS = [{"reasoning_content": "why"}, {"content": "so"}, {}]
EVENTS = [event(chunk({"content": str(n)})) for n in range(4)]
ERROR = b'{"error":{"message":"slow down","code":"rate_limit_exceeded"}}'

sources = pytest.mark.parametrize("of", ["request", "builder", "response", "reader"])


class Opened:
    """A normalised stream of one sort of source, and what closes that.

    Args:
        of: ``builder`` and ``request`` (built) are opened by `normalize_request`; the others
            are opened here, as a host would.
    """

    def __init__(self, of: str, builder: Any, **options: Any) -> None:
        self._of = of
        self._builder = builder.streamed_read_buffer_limit(0) if of != "builder" else builder
        self._options = options
        self._request: Any = None

    async def __aenter__(self) -> Any:
        if self._of == "builder":
            return normalize_request(self._builder, **self._options)
        request = self._builder.build_streamed()
        if self._of == "request":
            return normalize_request(request, **self._options)
        self._request = request
        response = await request.__aenter__()
        source = response.body_reader if self._of == "reader" else response
        return normalize_stream(source, **self._options)

    async def __aexit__(self, *_: object) -> None:
        if self._request is not None:
            await self._request.__aexit__(None, None, None)

    def __enter__(self) -> Any:
        if self._of == "builder":
            return normalize_request_sync(self._builder, **self._options)
        request = self._builder.build_streamed()
        if self._of == "request":
            return normalize_request_sync(request, **self._options)
        self._request = request
        response = request.__enter__()
        source = response.body_reader if self._of == "reader" else response
        return normalize_stream_sync(source, **self._options)

    def __exit__(self, *_: object) -> None:
        if self._request is not None:
            self._request.__exit__(None, None, None)


@sources
@pytest.mark.parametrize("packed", [False, True])
def test_a_stream(engine: Engine, of: str, packed: bool) -> None:
    async def main() -> None:
        async with Upstream() as up, ClientBuilder().gzip(True).build() as client:
            if packed:
                up.add("x", [gzip.compress(BODY)], headers={"content-encoding": "gzip"})
            else:
                up.add("x", [BODY[:50], BODY[50:90], BODY[90:]])
            post = client.post(up.url("x")).body_json({"a": 1})
            async with Opened(of, post, _engine_module=engine) as items:
                chunks, fault = await collect(items)
            assert (deltas(chunks), fault) == (DELTAS, None)
            assert items.report.remaps == {"reasoning→reasoning_content": 1}
            assert up.requests[0].json() == {"a": 1}
            async with Opened(of, client.get(up.url("x")), _engine_module=engine) as items:
                assert await collect_sse(items) == (EDITED, None)

    run(main())


@sources
def test_each_event_is_delivered_before_the_next_is_sent(engine: Engine, of: str) -> None:
    gates = [Gate() for _ in EVENTS]
    steps = [step for pair in zip(EVENTS, gates, strict=True) for step in pair]

    async def main() -> None:
        async with Upstream() as up, ClientBuilder().build() as client:
            up.add("x", [*steps, DONE])
            async with Opened(of, client.get(up.url("x")), _engine_module=engine) as items:
                frames = items.sse()
                for gate, expected in zip(gates, EVENTS, strict=True):
                    assert await anext(frames) == expected
                    gate.open()
                assert b"".join([data async for data in frames]) == DONE
            assert items.outcome.complete

    run(main())


@pytest.mark.parametrize("heartbeat", [None, 60.0])
def test_another_task_can_close_it(engine: Engine, heartbeat: float | None) -> None:
    options: dict[str, Any] = {"_engine_module": engine}

    async def main() -> None:
        async with Upstream() as up, ClientBuilder().build() as client:
            up.add("x", [EVENTS[0], math.inf])
            items = await Opened("builder", client.get(up.url("x")), **options).__aenter__()
            frames = items.sse(heartbeat=heartbeat)
            await anext(frames)
            reading = asyncio.ensure_future(anext(frames, "end"))
            await asyncio.sleep(0)
            await items.aclose()
            assert await reading == "end"
            await up.drained()
            assert up.requests[0].outcome == "client_left"

    run(main())


@sources
@pytest.mark.parametrize("leave", ["aclose", "cancel", "done", "fault", "limit"])
def test_who_leaves_closes_the_upstream(engine: Engine, of: str, leave: str) -> None:
    last = {"done": DONE, "fault": event(b"{oops")}.get(leave, b"")
    limits = Timeouts(idle=0.05) if leave == "limit" else None

    async def main() -> None:
        async with Upstream() as up, ClientBuilder().build() as client:
            up.add("x", [EVENTS[0] + last, math.inf])
            made = Opened(of, client.get(up.url("x")), timeouts=limits, _engine_module=engine)
            async with made as items:
                await anext(items)
                if leave == "aclose":
                    await items.aclose()
                elif leave == "cancel":
                    reading = asyncio.ensure_future(anext(items))
                    await asyncio.sleep(0)
                    reading.cancel()
                    with pytest.raises(asyncio.CancelledError):
                        await reading
                    with pytest.raises(StreamFault, match="was cancelled"):
                        await anext(items)
                elif leave == "done":
                    assert await anext(items, "end") == "end"
                else:
                    with pytest.raises(StreamFault) as raised:
                        await anext(items)
                    kind = "corrupt" if leave == "fault" else "idle_timeout"
                    assert raised.value.kind == kind
                if of in ("builder", "request"):
                    # Whoever was opened by us is closed by us; others have no method for it.
                    await up.drained()
            await up.drained()
            assert up.requests[0].outcome == "client_left"

    run(main())


def test_a_request_that_is_not_read_is_not_sent() -> None:
    async def main() -> None:
        async with Upstream() as up, ClientBuilder().build() as client:
            up.add("x", [BODY])
            async with normalize_request(client.get(up.url("x"))):
                pass
            normalize_request(client.get(up.url("x")))
            assert up.requests == []

    run(main())


# Faults. ------------------------------------------------------------------------------------


@sources
@pytest.mark.parametrize("reset", [False, True])
def test_a_lost_connection(engine: Engine, of: str, reset: bool) -> None:
    gate = Gate()

    async def main() -> None:
        async with Upstream() as up, ClientBuilder().build() as client:
            up.add("x", [EVENTS[0], gate, Abort(reset=reset)])
            async with Opened(of, client.get(up.url("x")), _engine_module=engine) as items:
                await anext(items)
                gate.open()
                chunks, fault = await collect(items)
            assert chunks == []
            check(fault, "transport", "api_connection", "transport", "ReadError")
            assert fault is not None
            assert fault.visible_output

    run(main())


@sources
def test_a_read_timeout(of: str) -> None:
    async def main() -> None:
        async with Upstream() as up, ClientBuilder().build() as client:
            up.add("x", [EVENTS[0], math.inf])
            get = client.get(up.url("x")).timeout(timedelta(seconds=0.2))
            async with Opened(of, get) as items:
                chunks, fault = await collect(items)
            assert len(chunks) == 1
            check(fault, "transport", "api_connection", "transport", "ReadTimeoutError")
            await up.drained()

    run(main())


@pytest.mark.parametrize("of", ["request", "builder", "response"])
@pytest.mark.parametrize("packed", [False, True])
def test_an_error_status(engine: Engine, of: str, packed: bool) -> None:
    headers = {"retry-after": "7", "content-type": "application/json"}
    if packed:
        headers["content-encoding"] = "gzip"

    async def main() -> None:
        async with Upstream() as up, ClientBuilder().gzip(True).build() as client:
            up.add("x", [gzip.compress(ERROR) if packed else ERROR], 429, headers)
            async with Opened(of, client.get(up.url("x")), _engine_module=engine) as items:
                chunks, fault = await collect(items)
            assert chunks == []
            check(fault, "http_error", "rate_limit", "credential", None)
            assert fault is not None
            assert (fault.status_code, fault.retry_after) == (429, 7)
            assert fault.provider_message == "slow down"

    run(main())


def test_an_error_status_that_pyreqwest_raises() -> None:
    async def main() -> None:
        async with Upstream() as up, ClientBuilder().build() as client:
            up.add("x", [ERROR], 429)
            get = client.get(up.url("x")).error_for_status()
            fault = (await collect(normalize_request(get)))[1]
            check(fault, "http_error", "rate_limit", "credential", "StatusError")
            assert fault is not None
            assert (fault.status_code, fault.body) == (429, None)
            assert "HTTP status client error" in str(fault)

    run(main())


def nowhere() -> str:
    """An address at which nobody listens."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{free.getsockname()[1]}/"


def test_a_refused_connection() -> None:
    async def main() -> None:
        async with ClientBuilder().build() as client:
            fault = (await collect(normalize_request(client.get(nowhere()))))[1]
            check(fault, "transport", "api_connection", "transport", "ConnectError")
            assert fault is not None
            assert fault.safe_to_retry
            assert str(fault).endswith("ConnectError: connection error")

    run(main())


@pytest.mark.parametrize("wrong", [ClientClosedError, BuilderError])
def test_what_is_the_hosts_mistake(wrong: Any) -> None:
    fault = StreamFault.from_exception(wrong("no", {"causes": [{"message": "because"}]}))
    assert (fault.kind, fault.category, fault.blame) == ("transport", "unknown", "client")
    assert str(fault).endswith(f"{wrong.__name__}: no")


@pytest.mark.parametrize("error", [DecodeError, BodyDecodeError])
def test_what_cannot_be_decoded(error: Any) -> None:
    fault = StreamFault.from_exception(error("no", {"causes": None}))
    assert (fault.kind, fault.category, fault.blame) == ("corrupt", "server_error", "provider")


def check(
    fault: StreamFault | None, kind: str, category: str, blame: str, cause: str | None
) -> None:
    assert fault is not None
    assert (fault.kind, fault.category, fault.blame) == (kind, category, blame)
    assert (None if fault.__cause__ is None else type(fault.__cause__).__name__) == cause
    assert "{'causes'" not in str(fault)


# Without an event loop. ---------------------------------------------------------------------


@sources
def test_without_an_event_loop(engine: Engine, of: str) -> None:
    gates = [Gate() for _ in EVENTS]
    steps = [step for pair in zip(EVENTS, gates, strict=True) for step in pair]
    with Upstream.in_thread() as up, SyncClientBuilder().build() as client:
        up.add("x", [*steps, DONE])
        with Opened(of, client.get(up.url("x")), _engine_module=engine) as items:
            frames = items.sse()
            for gate, expected in zip(gates, EVENTS, strict=True):
                assert next(frames) == expected
                gate.open()
            assert b"".join(frames) == DONE
        assert items.outcome.complete


@sources
@pytest.mark.parametrize("leave", ["close", "done", "fault"])
def test_who_leaves_without_an_event_loop(engine: Engine, of: str, leave: str) -> None:
    last = {"done": DONE, "fault": event(b"{oops")}.get(leave, b"")
    with Upstream.in_thread() as up, SyncClientBuilder().build() as client:
        up.add("x", [EVENTS[0] + last, math.inf])
        with Opened(of, client.get(up.url("x")), _engine_module=engine) as items:
            next(items)
            if leave == "close":
                items.close()
            else:
                assert (blocking.collect(items)[1] is None) is (leave == "done")
            if of in ("builder", "request"):
                blocking.drained(up)
        blocking.drained(up)
        assert up.requests[0].outcome == "client_left"


LOST = [EVENTS[0], Abort()], 200, ("transport", "api_connection", "transport")
REFUSED = [ERROR], 429, ("http_error", "rate_limit", "credential")


# A reader knows nothing of a status.
@pytest.mark.parametrize(
    ("of", "case"),
    [
        ("reader", LOST),
        *((of, case) for of in ("request", "builder", "response") for case in (LOST, REFUSED)),
    ],
)
def test_faults_without_an_event_loop(of: str, case: Any) -> None:
    steps, status, said = case
    with Upstream.in_thread() as up, SyncClientBuilder().build() as client:
        up.add("x", steps, status, {"retry-after": "7"})
        with Opened(of, client.get(up.url("x"))) as items:
            fault = blocking.collect(items)[1]
    assert fault is not None
    assert (fault.kind, fault.category, fault.blame) == said
    assert fault.retry_after == (7 if status == 429 else None)


def test_a_refused_connection_without_an_event_loop() -> None:
    with SyncClientBuilder().build() as client:
        fault = blocking.collect(normalize_request_sync(client.get(nowhere())))[1]
    check(fault, "transport", "api_connection", "transport", "ConnectError")


# What is refused. ---------------------------------------------------------------------------


def test_the_other_sort_is_refused() -> None:
    async def main() -> None:
        async with Upstream() as up, ClientBuilder().build() as client:
            up.add("x", [BODY])
            response = await client.get(up.url("x")).build().send()
            with pytest.raises(TypeError, match="not Response, which is asynchronous"):
                normalize_stream_sync(response)
            with pytest.raises(TypeError, match="needs a request builder of pyreqwest, not pyreq"):
                normalize_request(response)
            with pytest.raises(TypeError, match="needs a request builder of pyreqwest, not pyreq"):
                normalize_request_sync(client.get(up.url("x")))
            # One that was read at once, and kept: its bytes are there.
            assert deltas((await collect(normalize_stream(response)))[0]) == DELTAS

    run(main())
    with Upstream.in_thread() as up, SyncClientBuilder().build() as client:
        up.add("x", [BODY])
        response = client.get(up.url("x")).build().send()
        with pytest.raises(TypeError, match="not SyncResponse, which is synchronous"):
            normalize_stream(response)


def test_a_response_that_was_closed_is_the_hosts_mistake() -> None:
    async def main() -> None:
        async with Upstream() as up, ClientBuilder().build() as client:
            up.add("x", [BODY])
            async with client.get(up.url("x")).build_streamed() as response:
                pass
            with pytest.raises(RuntimeError, match="is closed"):
                await anext(normalize_stream(response))

    run(main())


# What the documentation says of pyreqwest. --------------------------------------------------


def test_pyreqwest_holds_back_the_beginning_unless_told_otherwise() -> None:
    async def main() -> None:
        async with Upstream() as up, ClientBuilder().build() as client:
            gate = Gate()
            up.add("x", [EVENTS[0], gate, DONE])
            opening = asyncio.ensure_future(client.get(up.url("x")).build_streamed().__aenter__())
            get = client.get(up.url("x")).streamed_read_buffer_limit(0)
            async with get.build_streamed() as response:
                assert bytes(await response.body_reader.read_chunk() or b"") == EVENTS[0]
                # The one that was asked for before is there no earlier than the gate opens.
                assert not opening.done()
                gate.open()
            await opening

    run(main())


def test_the_recipe(capsys: pytest.CaptureFixture[str]) -> None:
    async def main() -> None:
        async with Upstream() as up:
            up.add("x", [BODY])
            await run_recipe("pyreqwest", url=up.url("x"), request={})
            await run_recipe("pyreqwest", "a response as a source", url=up.url("x"), request={})
            assert capsys.readouterr().out == "whyso" * 2

    run(main())


def test_the_recipe_without_an_event_loop(capsys: pytest.CaptureFixture[str]) -> None:
    with Upstream.in_thread() as up:
        up.add("x", [BODY])
        run_recipe_sync("pyreqwest", "without an event loop", url=up.url("x"), request={})
    assert capsys.readouterr().out == "whyso"
