"""`NormalizedStream` when it is left: cancelled, closed, dropped, read by two."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import AsyncIterator
from typing import Any, ClassVar, NamedTuple

import pytest

from streamnorm import NormalizedStream, Timeouts, normalize_stream
from streamnorm._engine import Engine
from streamnorm.upstream import Upstream

from .aio import Pause, Script, collect, on_loops, run
from .helpers import DONE, chunk, event, stream

FIRST = event(chunk({"reasoning": "why"}))
SECOND = event(chunk({"content": "so"}))


class Slow(Script):
    """A script that suspends while it is closed, too."""

    async def aclose(self) -> None:
        self.closes += 1
        await Pause()
        await Pause()


class Opened(NamedTuple):
    """A stream, and what it is iterated by: itself or its bytes."""

    stream: NormalizedStream
    items: Any


def opened(source: object, engine: Engine, how: str = "chunks") -> Opened:
    made = normalize_stream(source, _engine_module=engine)
    return Opened(made, made.sse() if how == "sse" else made)


async def use(opened: Opened) -> int:
    count = 0
    async with opened.stream:
        async for _ in opened.items:
            count += 1
    return count


def assert_over(left: Opened) -> None:
    """The caller has closed it: whatever its fault is, iteration only stops."""
    with pytest.raises(StopAsyncIteration):
        drive(left.items.__anext__(), 99, "drop")


def drive(coroutine: Any, at: int, how: str) -> Any:
    """Run *coroutine* by hand; at suspension number *at*, cancel it or drop it."""
    try:
        for _ in range(at):
            coroutine.send(None)
        if how == "drop":
            coroutine.close()
            return "dropped"
        coroutine.throw(asyncio.CancelledError())
        while True:  # what it does afterwards may suspend as often as it likes
            coroutine.send(None)
    except StopIteration as stopped:
        return stopped.value
    except asyncio.CancelledError:
        return "cancelled"


@pytest.mark.parametrize("how", ["chunks", "sse"])
@pytest.mark.parametrize("end", [DONE, b"", OSError("gone"), event(b"{oops")], ids=repr)
def test_cancellation_at_every_suspension(engine: Engine, how: str, end: Any) -> None:
    steps = [Pause(), FIRST, Pause(), Pause(), SECOND + event(chunk({}, "stop")), Pause(), end]
    seen = set()
    for at in range(1, 12):
        source = Slow(steps)
        left = opened(source, engine, how)
        try:
            seen.add(str(drive(use(left), at, "cancel")))
        except Exception as error:  # noqa: BLE001 - the fault, once all was read
            seen.add(type(error).__name__)
        assert source.closes == 1, at
        assert_over(left)
    assert "cancelled" in seen
    assert len(seen) == 2  # and, past the last suspension, how it ends without


@pytest.mark.parametrize("how", ["chunks", "sse"])
def test_a_coroutine_dropped_at_every_suspension_awaits_nothing(engine: Engine, how: str) -> None:
    async def read(items: Any) -> None:
        async for _ in items:
            pass

    for at in range(1, 9):
        source = Slow([Pause(), FIRST, Pause(), Pause(), SECOND, Pause(), DONE])
        left = opened(source, engine, how)
        # An await while GeneratorExit is under way would be a RuntimeError.
        outcome = drive(read(left.items), at, "drop")
        assert outcome == ("dropped" if at < 7 else None)
        assert left.stream.fault is None
        assert_over(left)
        assert source.closes == 1, at


def test_cancellation_while_the_source_is_awaited(engine: Engine) -> None:
    async def main() -> None:
        left = []

        async def opening() -> Any:
            try:
                await asyncio.sleep(60)
            finally:
                left.append(True)

        items = normalize_stream(opening(), _engine_module=engine)
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(anext(items), 0.01)
        assert left == [True]
        chunks, fault = await collect(items)
        assert chunks == []
        assert fault is not None
        assert (fault.kind, fault.blame) == ("truncated", "client")

    run(main())


@pytest.mark.parametrize("client", ["httpx", "httpx2", "aiohttp"])
def test_cancellation_anywhere_in_a_real_request(engine: Engine, client: str) -> None:
    module = pytest.importorskip(client)
    body = stream({"reasoning": "a"}, {"content": "b"})

    async def main() -> None:
        outcomes: set[Any] = set()
        async with Upstream() as up:
            up.add("x", [body[at : at + 60] for at in range(0, len(body), 60)], pace=0.0005)
            session = module.ClientSession() if client == "aiohttp" else module.AsyncClient()
            async with session as http:
                for turns in [*range(1, 40), 80, 2000]:
                    if client == "aiohttp":
                        request = http.get(up.url("x"))
                    else:
                        request = http.send(http.build_request("GET", up.url("x")), stream=True)
                    task = asyncio.ensure_future(use(opened(request, engine)))
                    for _ in range(turns):
                        if task.done():
                            break
                        await asyncio.sleep(0 if turns < 2000 else 0.001)
                    task.cancel()
                    outcomes.update(await asyncio.gather(task, return_exceptions=True))
            await up.drained()
        assert {str(outcome) for outcome in outcomes} == {"", "3"}

    run(main())


def test_two_tasks_cannot_read_at_once(engine: Engine) -> None:
    async def main() -> None:
        gate = asyncio.Event()
        source = Script([gate, FIRST + SECOND, DONE])
        items = normalize_stream(source, _engine_module=engine)
        reading = asyncio.ensure_future(anext(items))
        await asyncio.sleep(0)
        with pytest.raises(RuntimeError, match="already being read by another task"):
            await anext(items)
        gate.set()
        assert await reading  # the first reader is not disturbed
        assert len([one async for one in items]) == 1
        assert source.closes == 1

    run(main())


def test_closing_while_another_task_reads(engine: Engine) -> None:
    class Wakes(Script):
        """Like aiohttp's response: closing it makes the read fail."""

        def __init__(self) -> None:
            super().__init__([FIRST])
            self.broken: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

        async def __anext__(self) -> Any:
            return await self.broken

        async def aclose(self) -> None:
            self.closes += 1
            self.broken.set_exception(ConnectionError("Connection closed"))

    async def main() -> None:
        source = Wakes()
        items = normalize_stream(source, _engine_module=engine)
        reading = asyncio.ensure_future(anext(items, "end"))
        await asyncio.sleep(0)
        await items.aclose()
        assert await reading == "end"
        assert items.fault is None
        assert source.closes == 1

    run(main())


def test_closing_while_another_task_reads_from_a_bare_generator(engine: Engine) -> None:
    async def main() -> None:
        gate, closed = asyncio.Event(), []

        async def source() -> AsyncIterator[bytes]:
            try:
                await gate.wait()
                yield FIRST
            finally:
                closed.append(True)

        items = normalize_stream(source(), _engine_module=engine)
        reading = asyncio.ensure_future(anext(items, "end"))
        await asyncio.sleep(0)
        await items.aclose()  # Python refuses to close a generator that runs
        assert not closed
        gate.set()
        assert await reading == "end"
        assert closed

    run(main())


@pytest.mark.parametrize("how", ["chunks", "sse"])
def test_breaking_off_and_closing(engine: Engine, how: str) -> None:
    async def main() -> None:
        closed = []

        async def source() -> AsyncIterator[bytes]:
            try:
                for _ in range(9):
                    yield FIRST + SECOND
            finally:
                await asyncio.sleep(0)
                closed.append(True)

        made, items = opened(source(), engine, how)
        async with made:
            async for _ in items:
                break
            assert not closed
        assert closed
        assert await anext(items, None) is None

    run(main())


def test_what_was_not_delivered_is_dropped_on_closing(engine: Engine) -> None:
    async def main() -> None:
        items = normalize_stream(Script([FIRST + SECOND + event(b"{")]), _engine_module=engine)
        await anext(items)
        assert items.fault is not None
        await items.aclose()
        assert [one async for one in items] == []
        assert items.fault is not None
        assert items.fault.kind == "corrupt"

    run(main())


# With time limits, heartbeats and peeks. ----------------------------------------------

NEVER = 3600.0
LIMITS = Timeouts(total=NEVER, idle=NEVER, first_chunk=NEVER)
WAYS = ("chunks", "sse", "beating", "peek", "timed peek", "short peek")
ways = pytest.mark.parametrize("way", WAYS)


def begun(source: object, engine: Engine, way: str, timeouts: Timeouts | None) -> Opened:
    """A stream, and a function that makes the next step of it in that way."""
    made = normalize_stream(source, timeouts=timeouts, _engine_module=engine)
    if "peek" in way:
        timeout = {"peek": None, "timed peek": NEVER, "short peek": 0.0001}[way]
        return Opened(made, lambda: made.peek(timeout=timeout))
    items: Any = (
        made if way == "chunks" else made.sse(heartbeat=NEVER if way == "beating" else None)
    )
    return Opened(made, lambda: anext(items, "end"))


@on_loops
@ways
@pytest.mark.parametrize("timeouts", [None, LIMITS], ids=["", "limits"])
def test_closed_after_any_number_of_turns(
    engine: Engine, loop: str, way: str, timeouts: Timeouts | None
) -> None:
    """By another task, while one reads or does not; and only once."""

    async def main() -> None:
        for turns in range(10):
            source = Slow([Pause(), FIRST, Pause(), Pause(), FIRST, Pause(), asyncio.Event()])
            stream, advance = begun(source, engine, way, timeouts)

            async def use(advance: Any = advance) -> Any:
                said = None
                try:
                    while said != "end":
                        said = await advance()
                except RuntimeError as error:  # a peek cannot say how it would have ended
                    return str(error)
                return said

            task = asyncio.ensure_future(use())
            for _ in range(turns):
                await asyncio.sleep(0)
            await stream.aclose()
            if "chunks" in way or "sse" in way or way == "peek":
                # Nothing but its being closed wakes a read of a source like this.
                task.cancel()
            await asyncio.wait({task})
            if not task.cancelled():
                wanted = "the stream was closed before its end" if "peek" in way else "end"
                assert task.result() == wanted
            assert source.closes == 1
            assert stream.fault is None
            assert await anext(advance_once(stream), "end") == "end"

    run(main(), loop)


async def advance_once(stream: NormalizedStream) -> AsyncIterator[Any]:
    """What is still delivered, in whatever output was chosen."""
    if stream._flow.output != "sse":
        async for one in stream:
            yield one


@pytest.mark.parametrize("way", ["beating", "timed peek"])
@pytest.mark.parametrize("timeouts", [None, LIMITS], ids=["", "limits"])
def test_dropped_coroutines_end_the_read_of_the_task(
    engine: Engine, way: str, timeouts: Timeouts | None
) -> None:
    """The coroutine that waits for the task is dropped, at every suspension."""

    async def main() -> None:
        for at in range(1, 5):
            source = Slow([Pause(), FIRST, Pause(), Pause(), FIRST, asyncio.Event()])
            stream, advance = begun(source, engine, way, timeouts)

            async def use(advance: Any = advance) -> None:
                while True:
                    await advance()

            coroutine = use()
            is_pending = False
            for _ in range(at):
                # What a task does with the future that the coroutine waits for.
                future = coroutine.send(None)
                future._asyncio_future_blocking = False
                if at > 1:
                    await asyncio.wait({future}, timeout=0.005)
                if not future.done():
                    is_pending = at > 1  # otherwise the task has not begun either
                    break
            # An await while GeneratorExit is under way would be a RuntimeError.
            coroutine.close()
            for _ in range(9):
                await asyncio.sleep(0)
            assert len(asyncio.all_tasks()) == 1
            assert stream.fault is None
            if is_pending:
                assert source.closes == 1
            assert await anext(advance_once(stream), "end") == "end"
            await stream.aclose()
            assert source.closes == 1

    run(main())


@on_loops
@pytest.mark.parametrize("way", ["short peek", "beating"])
def test_a_dropped_stream_ends_its_pending_read(engine: Engine, loop: str, way: str) -> None:
    async def main() -> None:
        source = Slow([FIRST, asyncio.Event()])
        stream: Any = normalize_stream(source, _engine_module=engine)
        frames: Any = None
        if way == "short peek":
            assert await stream.peek(timeout=0.001) == "timeout"
        else:
            frames = stream.sse(heartbeat=0.001)
            await anext(frames)
            assert await anext(frames) == b": hb\n"
        assert len(asyncio.all_tasks()) == 2
        dropped = weakref.ref(stream)
        del stream, frames
        gc.collect()  # where objects are not counted
        assert dropped() is None
        for _ in range(9):
            await asyncio.sleep(0)
        assert source.closes == 1

    run(main(), loop)


@on_loops
def test_a_dropped_stream_leaves_no_timer(engine: Engine, loop: str) -> None:
    """Its alarm would ring hours later, for nobody."""

    async def main() -> None:
        stream: Any = normalize_stream(
            Slow([Pause(), FIRST, FIRST]), timeouts=LIMITS, _engine_module=engine
        )
        await anext(stream)
        alarm = weakref.ref(stream._reader._alarm)
        assert alarm() is not None
        del stream
        for _ in range(3):
            gc.collect()
            await asyncio.sleep(0)
        assert alarm() is None

    run(main(), loop)


def test_dropped_after_its_loop_was_closed(engine: Engine) -> None:
    kept: list[Any] = []

    async def main() -> None:
        for limits in (None, LIMITS):
            source = Slow([FIRST, asyncio.Event()])
            stream = normalize_stream(source, timeouts=limits, _engine_module=engine)
            assert await stream.peek(timeout=0.001) == "timeout"
            kept.append((source, stream))

    asyncio.run(main())
    for source, _ in kept:
        assert source.closes == 1  # the loop has ended what was pending
    kept.clear()
    gc.collect()


def test_refused_by_a_response_that_was_closed_meanwhile(engine: Engine) -> None:
    """Who has closed the stream is told nothing any more, not even of an error status."""

    class Response(Script):
        status_code = 500
        headers: ClassVar = {"content-type": "application/json"}

    async def main() -> None:
        gate = asyncio.Event()
        source = Response([b"{}"])

        async def opening() -> Any:
            await gate.wait()
            return source

        stream = normalize_stream(opening(), _engine_module=engine)
        reading = asyncio.ensure_future(anext(stream, "end"))
        await asyncio.sleep(0)
        await stream.aclose()
        gate.set()
        assert await reading == "end"
        assert source.closes == 1
        assert stream.fault is None

    run(main())
