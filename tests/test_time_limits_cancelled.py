"""Time limits beside other cancellations, obstinate sources and variables of a context."""

from __future__ import annotations

import asyncio
import contextvars
import sys
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from streamnorm import Timeouts, normalize_stream
from streamnorm._engine import Engine

from .aio import (
    Made,
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

# Passed at once where nothing comes; and so long that a test would hang before it passes.
SOON = 0.01
NEVER = 3600.0

outputs = pytest.mark.parametrize("output", ["dict", "sse", "heartbeat"])
new_python = pytest.mark.skipif(
    sys.version_info < (3, 11), reason="Python 3.10 does not count cancellations"
)


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
@pytest.mark.parametrize("limits", [Timeouts(total=NEVER), Timeouts(idle=NEVER, first_chunk=NEVER)])
def test_an_outer_timeout_passes(
    make: Callable[..., Made], loop: str, output: str, limits: Timeouts
) -> None:
    async def main() -> None:
        source, stream = make(FIRST, asyncio.Event(), timeouts=limits)
        items = iterated(stream, output)
        await anext(items)
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(anext(items), 0.01)
        assert source.closes == 1
        _, fault = await collect_from(stream, items)
        assert fault is not None
        assert (fault.kind, fault.blame) == ("truncated", "client")

    run(main(), loop)


@new_python
@on_loops
@outputs
def test_timeout_blocks_around_reads(make: Callable[..., Made], loop: str, output: str) -> None:
    async def main() -> None:
        timeout: Any = asyncio.timeout  # type: ignore[attr-defined, unused-ignore]
        # Ours first, inside of theirs: theirs must not think that it was its own.
        _, stream = make(FIRST, asyncio.Event(), timeouts=Timeouts(idle=SOON))
        async with timeout(NEVER) as block:
            _, fault = await collect_from(stream, iterated(stream, output))
        assert fault is not None
        assert fault.kind == "idle_timeout"
        assert not block.expired()
        task: Any = asyncio.current_task()
        assert task.cancelling() == 0

        # Theirs first.
        _, stream = make(FIRST, asyncio.Event(), timeouts=Timeouts(idle=NEVER))
        with pytest.raises(TimeoutError):
            async with timeout(SOON):
                await collect_from(stream, iterated(stream, output))
        assert task.cancelling() == 0
        assert stream.fault is not None
        assert stream.fault.kind == "truncated"

    run(main(), loop)


@new_python
@on_loops
def test_a_cancellation_at_the_moment_of_the_alarm_is_not_swallowed(
    make: Callable[..., Made], loop: str
) -> None:
    """Whichever comes first: both are asked for before the task runs again."""

    async def main() -> None:
        for is_outer_first in (True, False):
            _, stream = make(FIRST, asyncio.Event(), timeouts=Timeouts(idle=NEVER))

            async def use(stream: Any = stream) -> None:
                async for _ in stream:
                    pass

            task = asyncio.ensure_future(use())
            for _ in range(3):
                await asyncio.sleep(0)
            made = stream._reader._alarm
            assert made is not None
            made._deadline, made._turns = 0.0, 0  # it is late
            if is_outer_first:
                task.cancel()
            made._ring()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert task.cancelled()
            assert stream.fault is not None
            assert stream.fault.blame == "client"

    run(main(), loop)


@on_loops
@outputs
def test_a_source_that_swallows_the_cancellation(engine: Engine, loop: str, output: str) -> None:
    """What it gives after all is not lost; and the task stays usable."""

    async def main() -> None:
        async def source(then: Any) -> AsyncIterator[bytes]:
            yield FIRST
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                if isinstance(then, Exception):
                    raise then from None
                if then is None:
                    return
            yield then
            yield DONE

        def made(then: Any) -> Any:
            return normalize_stream(
                source(then), timeouts=Timeouts(idle=SOON), _engine_module=engine
            )

        stream = made(SECOND)
        found, fault = await collect_from(stream, iterated(stream, output))
        assert "so" in str(found)
        assert fault is None

        stream = made(None)
        _, fault = await collect_from(stream, iterated(stream, output))
        assert fault is not None
        assert fault.kind == "idle_timeout"

        error = OSError("closed")
        stream = made(error)
        _, fault = await collect_from(stream, iterated(stream, output))
        assert fault is not None
        assert (fault.kind, fault.__cause__) == ("idle_timeout", error)

        await asyncio.sleep(0)
        if sys.version_info >= (3, 11):
            task: Any = asyncio.current_task()
            assert task.cancelling() == 0

    run(main(), loop)


@on_loops
def test_limits_inside_of_limits(make: Callable[..., Made], engine: Engine, loop: str) -> None:
    """A stream whose source is a stream: the fault of the inner one passes as it is."""

    async def main() -> None:
        source, inner = make(FIRST, asyncio.Event(), timeouts=Timeouts(idle=SOON))
        outer = normalize_stream(
            inner.sse(), timeouts=Timeouts(idle=NEVER, total=NEVER), _engine_module=engine
        )
        chunks, fault = await collect(outer)
        assert len(chunks) == 1
        assert fault is not None
        assert fault is inner.fault
        assert fault.kind == "idle_timeout"
        assert source.closes >= 1

        source, inner = make(FIRST, asyncio.Event(), timeouts=Timeouts(idle=NEVER))
        outer = normalize_stream(inner.sse(), timeouts=Timeouts(idle=SOON), _engine_module=engine)
        _, fault = await collect(outer)
        assert fault is not None
        assert fault.kind == "idle_timeout"
        assert source.closes >= 1

    run(main(), loop)


@on_loops
@pytest.mark.parametrize("how", ["dict", "sse", "heartbeat", "peek", "short peek", "close"])
def test_a_variable_that_a_source_sets_across_reads(engine: Engine, loop: str, how: str) -> None:
    """As tracing does around a request: set in the first read, reset in the last or on closing."""
    traced: contextvars.ContextVar[str] = contextvars.ContextVar("traced", default="-")

    async def main() -> None:
        seen = []
        gate = asyncio.Event()

        async def source() -> AsyncIterator[bytes]:
            token = traced.set("request")
            try:
                for part in (FIRST, SECOND, FINISH):
                    if part is SECOND:
                        await gate.wait()
                    seen.append(traced.get())
                    yield part
            finally:
                traced.reset(token)  # a ValueError in another context

        stream = normalize_stream(source(), timeouts=Timeouts(total=NEVER), _engine_module=engine)
        if how != "short peek":
            gate.set()
        if how in ("peek", "close"):
            assert await stream.peek() == "visible"
        if how == "short peek":
            assert await stream.peek(timeout=0.001) == "timeout"
            gate.set()
        if how == "close":
            await stream.aclose()
            assert seen == ["request"] * 2
            return
        _, fault = await collect_from(stream, iterated(stream, how if how == "sse" else "dict"))
        assert fault is None
        assert seen == ["request"] * 3

    run(main(), loop)


def test_closing_from_another_task_does_not_stop_the_clock(engine: Engine, clock: Time) -> None:
    """A bare generator cannot be closed while it runs; its time limit still ends it."""

    async def main() -> None:
        ended = []

        async def source() -> AsyncIterator[bytes]:
            try:
                yield FIRST
                await asyncio.Event().wait()
            finally:
                ended.append(True)

        stream = normalize_stream(source(), timeouts=Timeouts(idle=SOON), _engine_module=engine)
        await anext(stream)
        reading = asyncio.ensure_future(anext(stream, "end"))
        await asyncio.sleep(0)
        await stream.aclose()
        assert not ended
        clock.now += NEVER
        assert await asyncio.wait_for(reading, 10) == "end"
        assert ended
        assert stream.fault is None

    run(main())
