"""`NormalizedStream` after a cancelled read: a cut stream must not look well ended."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from streamnorm import NormalizedStream, StreamFault, Timeouts, normalize_stream
from streamnorm._engine import Engine

from .aio import Pause, Script, collect, deltas, on_loops, run
from .helpers import DONE, chunk, event

FIRST = event(chunk({"reasoning": "why"}))
SECOND = event(chunk({"content": "so"}))
FINISH = event(chunk({}, "stop"))

outputs = pytest.mark.parametrize("output", ["chunks", "sse"])


def opened(engine: Engine, output: str, *steps: Any) -> tuple[Script, NormalizedStream, Any]:
    """A source that plays *steps* and then waits, its stream, and what iterates that."""
    source = Script([*steps, asyncio.Event()])
    stream = normalize_stream(source, _engine_module=engine)
    return source, stream, stream.sse() if output == "sse" else stream


async def time_out(items: Any) -> None:
    with pytest.raises(asyncio.TimeoutError):
        await asyncio.wait_for(anext(items), 0.01)


async def assert_raised_once(stream: NormalizedStream, items: Any) -> StreamFault:
    known = stream.fault
    with pytest.raises(StreamFault) as raised:
        await anext(items)
    assert raised.value is known
    assert (known.kind, known.blame, known.category) == ("truncated", "client", "unknown")
    assert "was cancelled" in str(known)
    for _ in range(2):
        assert await anext(items, "end") == "end"
    assert stream.fault is known
    return known


@outputs
@pytest.mark.parametrize(
    ("steps", "visible", "reasoning"),
    [
        ((), False, False),
        ((FIRST,), False, True),
        ((FIRST, SECOND), True, True),
        (({"choices": [{"index": 0, "delta": {"content": "so"}}]},), True, False),
    ],
)
def test_a_loop_of_timeouts(
    engine: Engine, output: str, steps: Any, visible: bool, reasoning: bool
) -> None:
    async def main() -> None:
        source, stream, items = opened(engine, output, *steps)
        for _ in steps:
            assert await asyncio.wait_for(anext(items), 1)
        assert stream.fault is None
        await time_out(items)
        assert source.closes == 1
        fault = await assert_raised_once(stream, items)
        assert (fault.visible_output, fault.reasoning_output) == (visible, reasoning)
        assert not fault.safe_to_retry  # whoever cancelled it does not want it

    run(main())


@outputs
def test_a_stream_that_had_ended_well_has_no_fault(engine: Engine, output: str) -> None:
    async def main() -> None:
        source, stream, items = opened(engine, output, FIRST, FINISH)
        for _ in range(2):
            await anext(items)
        await time_out(items)
        assert source.closes == 1
        assert stream.fault is None
        assert await anext(items, "end") == "end"

    run(main())


def test_what_had_come_in_is_delivered_first(engine: Engine) -> None:
    async def main() -> None:
        # An event without its blank line is one that the end of the stream completes.
        _, stream, items = opened(engine, "chunks", FIRST, SECOND[:-1])
        assert deltas([await anext(items)]) == [{"reasoning_content": "why"}]
        await time_out(items)
        assert deltas([await anext(items)]) == [{"content": "so"}]
        assert (await assert_raised_once(stream, items)).visible_output

        _, stream, items = opened(engine, "chunks", FIRST, FINISH[:-1])
        await anext(items)
        await time_out(items)
        chunks, fault = await collect(items)
        assert chunks[0]["choices"][0]["finish_reason"] == "stop"
        assert fault is None

        # The upstream's own words say more than the cancellation.
        _, stream, items = opened(engine, "chunks", FIRST, b'data: {"error": {"code": 503}}')
        await anext(items)
        await time_out(items)
        _, fault = await collect(items)
        assert fault is not None
        assert (fault.kind, fault.status_code) == ("error_event", 503)

    run(main())


@outputs
def test_closing_by_the_caller_stays_silent(engine: Engine, output: str) -> None:
    async def main() -> None:
        source, stream, items = opened(engine, output, FIRST, SECOND[:-1])
        await anext(items)
        await time_out(items)
        await stream.aclose()
        for _ in range(2):
            assert await anext(items, "end") == "end"
        assert source.closes == 1

        # The other way round: what cancels the read comes from closing.
        source, stream, items = opened(engine, output, FIRST)
        await anext(items)
        reading = asyncio.ensure_future(anext(items))
        await asyncio.sleep(0)
        await stream.aclose()
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading
        assert stream.fault is None
        assert await anext(items, "end") == "end"

    run(main())


@outputs
def test_the_cancellation_itself_passes_unchanged(engine: Engine, output: str) -> None:
    async def main() -> None:
        source, stream, items = opened(engine, output, FIRST)

        async def use() -> None:
            async for _ in items:
                pass

        task = asyncio.ensure_future(use())
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert task.cancelled()
        assert source.closes == 1
        await assert_raised_once(stream, items)

        raised = asyncio.CancelledError("mine")
        stream = normalize_stream(Script([raised]), _engine_module=engine)
        with pytest.raises(asyncio.CancelledError) as caught:
            await anext(stream)
        assert caught.value is raised

    run(main())


class SlowToClose(Script):
    async def aclose(self) -> None:
        self.closes += 1
        await Pause()


@outputs
@pytest.mark.parametrize(
    ("last", "kind"),
    [(FINISH + DONE, None), (event(b'{"error": {"message": "no"}}'), "error_event")],
    ids=["well", "fault"],
)
def test_a_cancelled_closing_loses_neither_output_nor_fault(
    engine: Engine, output: str, last: bytes, kind: str | None
) -> None:
    async def main() -> None:
        source = SlowToClose([FIRST, SECOND + last])
        stream = normalize_stream(source, _engine_module=engine)
        items: Any = stream.sse() if output == "sse" else stream
        await anext(items)
        reading = items.__anext__()
        reading.send(None)  # all is read, the source is being closed
        with pytest.raises(asyncio.CancelledError):
            reading.throw(asyncio.CancelledError())
        assert source.closes == 1
        assert await anext(items)
        if output == "chunks" and kind is None:
            assert (await anext(items))["choices"][0]["finish_reason"] == "stop"
        if kind is not None:
            with pytest.raises(StreamFault) as raised:
                await anext(items)
            assert raised.value.kind == kind
        assert await anext(items, "end") == "end"

    run(main())


def test_an_interrupt_amid_an_item_cuts_the_stream(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = normalize_stream(Script([FINISH, SECOND]), _engine_module=engine)

    class Interrupted:
        def __init__(self, inner: Any) -> None:
            self.inner = inner

        def feed(self, data: bytes) -> Any:
            raise KeyboardInterrupt

        def __getattr__(self, name: str) -> Any:
            return getattr(self.inner, name)

    with pytest.raises(StopIteration):
        stream.__anext__().send(None)
    interrupted = Interrupted(stream._flow._engine)
    monkeypatch.setattr(stream._flow, "_engine", interrupted)
    way = "_feed" if stream._flow.step is None else "_step"
    monkeypatch.setattr(stream._flow, way, interrupted.feed)
    with pytest.raises(KeyboardInterrupt):
        stream.__anext__().send(None)
    # Although a finish_reason was seen: an item was received and is lost.
    assert stream.fault is not None
    with pytest.raises(StreamFault, match="was cancelled"):
        stream.__anext__().send(None)


# With time limits, heartbeats and peeks. ----------------------------------------------

NEVER = 3600.0
WAYS = ("chunks", "sse", "limits", "beating", "beating with limits", "peek", "timed peek")
ways = pytest.mark.parametrize("way", WAYS)


def waiting(engine: Engine, way: str, *steps: Any) -> tuple[Script, NormalizedStream, Any]:
    """A source that plays *steps*, its stream, and what gives the next result of it."""
    source = SlowToClose(steps)
    limits = Timeouts(total=NEVER, idle=NEVER, first_chunk=NEVER) if "limits" in way else None
    stream = normalize_stream(source, timeouts=limits, _engine_module=engine)
    if way == "peek":
        return source, stream, lambda: stream.peek(timeout=None)
    if way == "timed peek":
        return source, stream, lambda: stream.peek(timeout=NEVER)
    items: Any = stream
    if way != "chunks":
        items = stream.sse(heartbeat=NEVER if "beating" in way else None)
    return source, stream, lambda: anext(items, "end")


@on_loops
@ways
def test_cancelled_after_any_number_of_turns(engine: Engine, loop: str, way: str) -> None:
    """Whenever it comes: it passes, the source is closed, and nothing is lost or left behind."""

    async def main() -> None:
        outcomes: set[Any] = set()
        for turns in range(16):
            steps = [Pause(), FIRST, Pause(), Pause(), FIRST, Pause(), SECOND, asyncio.Event()]
            source, stream, advance = waiting(engine, way, *steps)
            results: list[Any] = []

            async def use(advance: Any = advance, results: list[Any] = results) -> None:
                while True:
                    results.append(await advance())
                    if results[-1] == "visible":
                        return

            task = asyncio.ensure_future(use())
            for _ in range(turns):
                await asyncio.sleep(0)
            if task.done():
                outcomes.add("done")
                await stream.aclose()
                continue
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert task.cancelled()
            if turns == 0:  # it had not begun
                await stream.aclose()
                assert source.closes == 1
                continue
            outcomes.add(len(results))
            assert source.closes == 1
            fault = stream.fault
            assert fault is not None
            assert (fault.kind, fault.blame) == ("truncated", "client")
            # All that was read comes out before the fault, whoever had it at that time.
            items: Any = stream if way in ("chunks", "peek", "timed peek") else None
            if items is not None:
                rest, raised = await collect(items)
                assert raised is fault
                assert len(rest) + (len(results) if way == "chunks" else 0) == (
                    stream.outcome.events
                )
        assert len(outcomes) > (1 if "peek" not in way else 0)

    run(main(), loop)


@on_loops
@pytest.mark.parametrize("way", ["beating", "beating with limits", "timed peek"])
def test_cancelled_as_the_read_returns(engine: Engine, loop: str, way: str) -> None:
    """The read, which is in another task, has returned when the waiting one is cancelled."""

    async def main() -> None:
        gate = asyncio.Event()
        source, stream, advance = waiting(engine, way, FIRST, gate, SECOND, asyncio.Event())
        if "beating" in way:
            assert await advance()
        task = asyncio.ensure_future(advance())
        for _ in range(4):
            await asyncio.sleep(0)
        ahead = stream._reader._ahead
        assert ahead is not None
        gate.set()
        # Called before whoever waits for it is woken.
        ahead.add_done_callback(lambda _: task.cancel())
        with pytest.raises(asyncio.CancelledError):
            await task
        assert source.closes == 1
        assert "so" in str(stream.message)
        assert stream.fault is not None
        assert stream.fault.blame == "client"

    run(main(), loop)


@on_loops
@ways
def test_a_source_that_swallows_the_cancellation(engine: Engine, loop: str, way: str) -> None:
    class Stubborn(SlowToClose):
        async def __anext__(self) -> Any:
            try:
                return await super().__anext__()
            except asyncio.CancelledError:
                return SECOND

    async def main() -> None:
        source = Stubborn([FIRST, asyncio.Event(), FINISH, DONE])
        limits = Timeouts(total=NEVER) if "limits" in way else None
        stream = normalize_stream(source, timeouts=limits, _engine_module=engine)
        items: Any = stream
        if way in ("sse", "limits"):
            items = stream.sse()
        elif "beating" in way:
            items = stream.sse(heartbeat=NEVER)
        found: list[Any] = []

        async def use() -> None:
            if "peek" in way:
                found.append(await stream.peek(timeout=None if way == "peek" else NEVER))
            async for item in items:
                found.append(item)

        task = asyncio.ensure_future(use())
        for _ in range(6):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait({task})
        if task.cancelled():
            # It waited for a task, so the cancellation was not the source's to swallow.
            assert "beating" in way or way == "timed peek"
            assert stream.fault is not None
            assert stream.fault.blame == "client"
        else:
            assert stream.outcome.complete
        assert "so" in str(stream.message)
        assert source.closes == 1

    run(main(), loop)


@on_loops
@pytest.mark.parametrize("way", ["beating", "timed peek"])
def test_cancelled_twice(engine: Engine, loop: str, way: str) -> None:
    """The second comes while the source is being closed after the first."""

    async def main() -> None:
        for turns in range(6):
            source, _, advance = waiting(engine, way, FIRST, asyncio.Event())
            if way == "beating":
                await advance()
            task = asyncio.ensure_future(advance())
            for _ in range(4):
                await asyncio.sleep(0)
            task.cancel()
            for _ in range(turns):
                await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            for _ in range(5):
                await asyncio.sleep(0)
            assert source.closes == 1

    run(main(), loop)


@on_loops
def test_a_timeout_around_a_peek_that_had_timed_out(engine: Engine, loop: str) -> None:
    async def main() -> None:
        source, stream, items = opened(engine, "chunks", FIRST)
        assert await stream.peek(timeout=0.001) == "timeout"
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(stream.peek(timeout=NEVER), 0.001)
        assert source.closes == 1
        chunks, fault = await collect(items)
        assert len(chunks) == 1
        assert fault is not None
        assert fault.blame == "client"

    run(main(), loop)
