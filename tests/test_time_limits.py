"""Time limits of a stream that is read: what they break off, and what they do not."""

from __future__ import annotations

import asyncio
import math
import socket
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from streamnorm import StreamFault, Timeouts, normalize_stream
from streamnorm._engine import Engine
from streamnorm.upstream import Upstream

from .aio import (
    Made,
    Pause,
    Script,
    Time,
    collect,
    collect_from,
    iterated,
    on_loops,
    run,
    scripted,
    stopped_clock,
)
from .helpers import DONE, chunk, event

FIRST = event(chunk({"reasoning": "why"}))
SECOND = event(chunk({"content": "so"}))
FINISH = event(chunk({}, "stop"))
COMMENT = b": working\n\n"
OBJECT = {"choices": [{"index": 0, "delta": {"content": "so"}}]}

# Passed at once where nothing comes; and so long that a test would hang before it passes.
SOON = 0.01
NEVER = 3600.0

outputs = pytest.mark.parametrize("output", ["dict", "sse", "heartbeat"])


@pytest.fixture
def make(engine: Engine) -> Callable[..., Made]:
    """Makes a scripted source and its normalised stream."""
    return scripted(engine)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Time:
    """The clock of all streams."""
    return stopped_clock(monkeypatch)


@on_loops
@outputs
@pytest.mark.parametrize(
    ("limits", "kind"),
    [
        ({"idle": SOON, "first_chunk": SOON}, "idle_timeout"),
        ({"total": SOON}, "total_timeout"),
        ({"idle": SOON, "total": 4 * NEVER}, "idle_timeout"),
    ],
)
def test_what_was_received_is_delivered_and_the_source_closed(
    make: Callable[..., Made], clock: Time, loop: str, output: str, limits: Any, kind: str
) -> None:
    async def main() -> None:
        source, stream = make(FIRST, SECOND[:-1], clock, timeouts=Timeouts(**limits))
        found, fault = await collect_from(stream, iterated(stream, output))
        # Its blank line is missing: the end of the stream completes it.
        assert len(found) == 2
        assert "so" in str(found[1])
        assert fault is not None
        assert (fault.kind, fault.category, fault.blame) == (kind, "api_connection", "provider")
        assert (fault.visible_output, fault.reasoning_output) == (True, True)
        assert fault.partial is not None
        assert fault.__cause__ is None
        assert source.closes == 1
        assert stream.outcome.fault is fault
        assert not stream.outcome.complete

    run(main(), loop)


@on_loops
@outputs
@pytest.mark.parametrize("steps", [[], [COMMENT], [COMMENT, b"data: "]], ids=len)
def test_no_first_chunk(
    make: Callable[..., Made], loop: str, output: str, steps: list[Any]
) -> None:
    async def main() -> None:
        limits = Timeouts(first_chunk=SOON, idle=NEVER, comments_count=True)
        source, stream = make(*steps, asyncio.Event(), timeouts=limits)
        _, fault = await collect_from(stream, iterated(stream, output))
        assert fault is not None
        assert fault.kind == "first_chunk_timeout"
        assert fault.safe_to_retry
        assert source.closes == 1

    run(main(), loop)


@on_loops
def test_idle_does_not_govern_the_first_chunk(
    make: Callable[..., Made], clock: Time, loop: str
) -> None:
    async def main() -> None:
        gate = asyncio.Event()
        limits = Timeouts(idle=SOON, first_chunk=NEVER)
        _, stream = make(COMMENT, gate, FIRST, DONE, timeouts=limits)
        reading = asyncio.ensure_future(anext(stream))
        await asyncio.sleep(0)
        clock.now += NEVER / 2
        await asyncio.wait({reading}, timeout=3 * SOON)
        assert not reading.done()
        gate.set()
        assert await reading
        assert await collect(stream) == ([], None)

    run(main(), loop)


@on_loops
@outputs
def test_a_slow_consumer_is_not_the_upstreams_fault(
    make: Callable[..., Made], clock: Time, loop: str, output: str
) -> None:
    async def main() -> None:
        limits = Timeouts(idle=SOON, first_chunk=SOON)
        steps = [Pause(), COMMENT, FIRST, Pause(), SECOND, FINISH, DONE]
        _, stream = make(*steps, timeouts=limits, min_throughput=1000.0)
        async for _ in iterated(stream, output):
            clock.now += NEVER
            await asyncio.sleep(2 * SOON)  # time for timers that should not be there
        assert stream.fault is None
        assert stream.outcome.complete

        _, stream = make(FIRST, SECOND, FINISH, DONE, timeouts=Timeouts(total=NEVER))
        await anext(stream)
        clock.now += NEVER
        chunks, fault = await collect(stream)
        assert chunks == []
        assert fault is not None
        assert fault.kind == "total_timeout"

    run(main(), loop)


@on_loops
def test_a_busy_loop_is_not_the_upstreams_fault(engine: Engine, loop: str) -> None:
    """What lies in the socket when the loop comes to look had come in time."""

    async def main() -> None:
        ours, theirs = socket.socketpair()
        ours.setblocking(False)

        async def source() -> AsyncIterator[bytes]:
            for _ in range(3):
                yield await asyncio.get_running_loop().sock_recv(ours, 4096)

        def block() -> None:
            theirs.send(SECOND + FINISH + DONE)
            time.sleep(0.06)

        with ours, theirs:
            stream = normalize_stream(source(), timeouts=Timeouts(idle=0.03), _engine_module=engine)
            theirs.send(FIRST)
            await anext(stream)
            asyncio.get_running_loop().call_later(0.005, block)
            chunks, fault = await collect(stream)
            assert (len(chunks), fault) == (2, None)

    run(main(), loop)


@on_loops
@outputs
@pytest.mark.parametrize("limit", ["first_chunk", "idle", "total"])
def test_reads_that_never_suspend(
    make: Callable[..., Made], engine: Engine, loop: str, output: str, limit: str
) -> None:
    """A flood of comments, so that no timer of the loop could ring."""

    class Flood(Script):
        async def __anext__(self) -> bytes:
            self.reads += 1
            time.sleep(0.001)  # noqa: ASYNC251 - it is a source that never suspends
            return FIRST if self.reads == 1 and limit == "idle" else COMMENT

    async def main() -> None:
        source = Flood([])
        limits: Any = {limit: SOON}
        timeouts = Timeouts(**limits)
        stream = normalize_stream(source, timeouts=timeouts, _engine_module=engine)
        _, fault = await collect_from(stream, iterated(stream, output))
        assert fault is not None
        assert fault.kind == f"{limit}_timeout"
        assert source.closes == 1

    run(main(), loop)


@on_loops
def test_awaiting_the_source_counts(engine: Engine, loop: str) -> None:
    async def main() -> None:
        ended = []

        async def opening() -> Any:
            try:
                await asyncio.Event().wait()
            finally:
                ended.append(True)

        for limits in (Timeouts(first_chunk=SOON), Timeouts(total=SOON)):
            stream = normalize_stream(opening(), timeouts=limits, _engine_module=engine)
            _, fault = await collect(stream)
            assert fault is not None
            assert fault.kind.endswith("_timeout")
        assert ended == [True, True]

    run(main(), loop)


@on_loops
def test_limits_of_a_stream_of_objects(make: Callable[..., Made], loop: str) -> None:
    async def main() -> None:
        source, stream = make(OBJECT, asyncio.Event(), timeouts=Timeouts(idle=SOON))
        chunks, fault = await collect(stream)
        assert len(chunks) == 1
        assert fault is not None
        assert fault.kind == "idle_timeout"
        assert source.closes == 1

    run(main(), loop)


@on_loops
def test_a_peek_passes_limits_too(make: Callable[..., Made], loop: str) -> None:
    async def main() -> None:
        for timeout in (None, NEVER):
            source, stream = make(FIRST, asyncio.Event(), timeouts=Timeouts(idle=SOON))
            with pytest.raises(StreamFault) as raised:
                await stream.peek(timeout=timeout)
            assert raised.value.kind == "idle_timeout"
            assert source.closes == 1
            assert len((await collect(stream))[0]) == 1

    run(main(), loop)


def test_error_factory_makes_what_is_raised(make: Callable[..., Made]) -> None:
    async def main() -> None:
        _, stream = make(
            asyncio.Event(),
            timeouts=Timeouts(total=SOON),
            error_factory=lambda fault: TimeoutError(fault.kind),
        )
        with pytest.raises(TimeoutError, match="total_timeout") as raised:
            await anext(stream)
        assert raised.value.__cause__ is stream.fault

    run(main())


@pytest.mark.parametrize("client", ["httpx", "httpx2", "aiohttp"])
def test_a_real_request_is_cut(engine: Engine, client: str) -> None:
    module = pytest.importorskip(client)

    async def main() -> None:
        async with Upstream() as up:
            up.add("x", [FIRST, math.inf])
            session = module.ClientSession() if client == "aiohttp" else module.AsyncClient()
            async with session as http:
                if client == "aiohttp":
                    request = http.get(up.url("x"))
                else:
                    request = http.send(http.build_request("GET", up.url("x")), stream=True)
                limits = Timeouts(first_chunk=NEVER, idle=0.05)
                stream = normalize_stream(request, timeouts=limits, _engine_module=engine)
                chunks, fault = await collect(stream)
                assert len(chunks) == 1
                assert fault is not None
                assert fault.kind == "idle_timeout"
                # The client is still open; the connection is not.
                await up.drained()
                assert up.requests[0].outcome == "client_left"

    run(main())
