"""`NormalizedStream` after a cancelled read: a cut stream must not look well ended."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from streamnorm import NormalizedStream, StreamFault, normalize_stream
from streamnorm._engine import Engine

from .aio import Pause, Script, collect, deltas, run
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
        assert fault.safe_to_retry is not visible

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
    monkeypatch.setattr(stream, "_engine", Interrupted(stream._engine))
    with pytest.raises(KeyboardInterrupt):
        stream.__anext__().send(None)
    # Although a finish_reason was seen: an item was received and is lost.
    assert stream.fault is not None
    with pytest.raises(StreamFault, match="was cancelled"):
        stream.__anext__().send(None)
