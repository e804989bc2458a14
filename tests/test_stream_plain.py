"""Streams that are plainly read, which a loop does by itself from the third item on.

Whatever happens there has to be as it is at the first item, and in every other way of reading.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from streamnorm import StreamFault, flow, flow_state, normalize_stream, normalize_stream_sync
from streamnorm._engine import Engine

from .aio import Script, collect_from, deltas, iterated, run
from .blocking import Script as SyncScript
from .helpers import DONE, chunk, event

WHY = event(chunk({"reasoning": "why"}))
SO = event(chunk({"content": "so"}))
END = event(chunk({}, "stop")) + DONE
BEGUN = (WHY, SO)

outputs = pytest.mark.parametrize("output", ["dict", "sse", "dict, looped", "sse, looped"])


class Looped:
    """What one ``async for`` does, step by step."""

    def __init__(self, items: Any) -> None:
        self.items = items
        self.loop = aiter(items)

    def __aiter__(self) -> Looped:
        return self

    def __anext__(self) -> Any:
        if self.loop.ag_frame is None:
            self.loop = aiter(self.items)  # who reads on begins another loop
        # Who else reads has a loop of his own.
        return (aiter(self.items) if self.loop.ag_running else self.loop).__anext__()

    async def aclose(self) -> None:
        await self.items.aclose()


def reading_of(stream: Any, output: str) -> Any:
    """What iterates *stream*, in one of the ways of `outputs`."""
    kind, _, is_looped = output.partition(", ")
    items = iterated(stream, kind)
    return Looped(items) if is_looped else items


async def begun(engine: Engine, output: str, *steps: Any) -> tuple[Script, Any, Any]:
    """A source, its stream, and what iterates it, of which two items are read."""
    source = Script([*BEGUN, *steps])
    stream = normalize_stream(source, _engine_module=engine)
    items = reading_of(stream, output)
    for _ in BEGUN:
        await anext(items)
    return source, stream, items


def texts(found: list[Any]) -> list[str]:
    """The answer text of chunks or of pieces of bytes."""
    if found and isinstance(found[0], bytes):
        return [piece.decode().split('"content": "')[1].split('"')[0] for piece in found]
    return [delta["content"] for delta in deltas(found)]


@outputs
def test_two_readers_at_once(engine: Engine, output: str) -> None:
    async def main() -> None:
        gate = asyncio.Event()
        source, _, items = await begun(engine, output, gate, SO, SO, END)
        first = asyncio.ensure_future(anext(items))
        await asyncio.sleep(0)
        for _ in range(2):
            with pytest.raises(RuntimeError, match="already being read by another task"):
                await anext(items)
        gate.set()
        assert texts([await first]) == ["so"]
        # Neither has ended it.
        assert texts([await anext(items)]) == ["so"]
        assert (source.reads, source.closes) == (4, 0)
        await items.aclose()

    run(main())


@outputs
def test_a_cancelled_read_ends_the_stream(engine: Engine, output: str) -> None:
    async def main() -> None:
        source, stream, items = await begun(engine, output, asyncio.Event())
        reading = asyncio.ensure_future(anext(items))
        await asyncio.sleep(0)
        reading.cancel("mine")
        with pytest.raises(asyncio.CancelledError) as cancelled:
            await reading
        # (Before 3.11 a task tells nobody what it was cancelled with.)
        assert sys.version_info < (3, 11) or cancelled.value.args == ("mine",)
        assert source.closes == 1
        with pytest.raises(StreamFault) as raised:
            await anext(items)
        assert raised.value is stream.fault
        assert (raised.value.kind, raised.value.blame) == ("truncated", "client")
        assert raised.value.partial == {
            "role": "assistant", "content": "so", "reasoning_content": "why",
        }  # fmt: skip
        assert await anext(items, "end") == "end"

    run(main())


@outputs
def test_closed_by_another_task(engine: Engine, output: str) -> None:
    async def main() -> None:
        gate = asyncio.Event()
        source, stream, items = await begun(engine, output, gate, SO)
        reading = asyncio.ensure_future(anext(items, "end"))
        await asyncio.sleep(0)
        await stream.aclose()
        gate.set()
        # What comes afterwards is nobody's.
        assert await reading == "end"
        assert (stream.fault, stream.outcome.events) == (None, 2)
        assert (source.closes, source.reads) == (1, 3)
        assert await anext(items, "end") == "end"
        assert source.reads == 3

    run(main())


@outputs
def test_an_error_of_the_source_is_as_it_was_raised(engine: Engine, output: str) -> None:
    cause, error = KeyError("below"), ConnectionResetError("gone")

    async def source() -> AsyncIterator[bytes]:
        yield WHY
        yield SO
        try:
            raise cause
        except KeyError:
            raise error  # noqa: B904 - the context is what is looked at

    async def main() -> None:
        items = reading_of(normalize_stream(source(), _engine_module=engine), output)
        for _ in BEGUN:
            await anext(items)
        own = ValueError("the host's own")
        try:
            raise own
        except ValueError:
            with pytest.raises(StreamFault) as raised:
                await anext(items)
        assert raised.value.__cause__ is error
        assert error.__context__ is cause
        assert own.__context__ is None
        assert raised.value.kind == "transport"
        assert await anext(items, "end") == "end"

    run(main())


# (Closing a step of a loop does not reach into its generator before CPython 3.13.)
@pytest.mark.parametrize("output", ["dict", "sse"])
def test_a_source_that_is_dropped_amid_a_read(engine: Engine, output: str) -> None:
    async def main() -> None:
        source, stream, items = await begun(engine, output, asyncio.Event())
        reading = items.__anext__()
        reading.send(None)
        reading.close()  # GeneratorExit: nothing may be awaited
        assert stream.fault is None
        assert await anext(items, "end") == "end"
        assert source.reads == 3

    run(main())


def test_items_of_other_types(engine: Engine) -> None:
    async def main() -> None:
        given: list[Any] = [SO.decode(), bytearray(SO), memoryview(SO), (SO, True)]
        for item in given:
            for output in ("dict", "sse", "dict, looped", "sse, looped"):
                _, stream, items = await begun(engine, output, item, SO, END)
                found, fault = await collect_from(stream, items)
                assert (texts(found[:2]), fault) == (["so", "so"], None)
                assert stream.message is not None
                assert stream.message["content"] == "sososo"

    run(main())


@outputs
def test_an_item_that_does_not_belong_there(engine: Engine, output: str) -> None:
    async def main() -> None:
        given: list[Any] = [{"choices": []}, None, 7]
        for item in given:
            source, stream, items = await begun(engine, output, item, SO)
            with pytest.raises(TypeError, match="after bytes or str"):
                await anext(items)
            assert source.closes == 1
            assert stream.fault is None
            assert await anext(items, "end") == "end"
            assert source.reads == 3

    run(main())


@outputs
def test_items_that_complete_nothing_or_much(engine: Engine, output: str) -> None:
    async def main() -> None:
        steps = [b"", SO[:9], b"", SO[9:], SO + SO, b": ping\n\n", SO + END]
        source, stream, items = await begun(engine, output, *steps)
        found, fault = await collect_from(stream, items)
        assert fault is None
        # (An item after ``[DONE]`` is never read.)
        assert source.reads == len(BEGUN) + len(steps)
        if output.startswith("dict"):
            assert texts(found[:4]) == ["so"] * 4
            assert len(found) == 5
        else:
            assert b"".join(found) == b"".join(steps)
        assert stream.metrics.bytes == stream.outcome.bytes == len(b"".join([*BEGUN, *steps]))
        assert stream.metrics.events == stream.outcome.events == 7

    run(main())


@pytest.mark.parametrize("count", [1, 2, 4])
def test_who_leaves_a_loop_comes_back_for_the_rest(engine: Engine, count: int) -> None:
    words = [f"{n}" for n in range(12)]
    events = [event(chunk({"content": word})) for word in words]
    pieces = [b"".join(events[at : at + 3]) for at in range(0, len(events), 3)]

    async def main() -> None:
        source = Script([*pieces, END])
        stream = normalize_stream(source, _engine_module=engine)
        found: list[Any] = []
        while len(found) < len(words):
            left = count
            async for item in stream:
                found.append(item)
                left -= 1
                if not left:
                    break
        assert texts(found) == words
        assert source.closes == 0
        assert [item async for item in stream][-1]["choices"][0]["finish_reason"] == "stop"
        assert [item async for item in stream] == []
        assert source.closes == 1

    run(main())


class Content:
    """A body as aiohttp has it: what is there is given, and nothing at the end."""

    def __init__(self, *pieces: bytes) -> None:
        self.pieces = list(pieces)
        self.reads = 0

    async def readany(self) -> bytes:
        self.reads += 1
        return self.pieces.pop(0) if self.pieces else b""

    async def iter_any(self) -> AsyncIterator[bytes]:
        while piece := await self.readany():
            yield piece


@outputs
def test_the_end_of_a_body_that_gives_nothing_there(engine: Engine, output: str) -> None:
    async def main() -> None:
        for last, kind in ((event(chunk({}, "stop")), None), (SO, "truncated")):
            stream = normalize_stream(Content(WHY, SO, SO, last), _engine_module=engine)
            found, fault = await collect_from(stream, reading_of(stream, output))
            assert len(found) == 4
            assert (fault and fault.kind) == kind
            assert stream.outcome.complete is (kind is None)

    run(main())


class Clock:
    """Moves on by a second each time that it is looked at."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        self.now += 1.0
        return self.now


Read = Callable[[Engine, list[bytes], str], Any]


def asynchronously(engine: Engine, parts: list[bytes], output: str) -> Any:
    async def main() -> Any:
        stream = normalize_stream(Script(parts), _engine_module=engine)
        async for _ in reading_of(stream, output):
            pass
        return stream

    return run(main())


def synchronously(engine: Engine, parts: list[bytes], output: str) -> Any:
    stream = normalize_stream_sync(SyncScript(parts), _engine_module=engine)
    items: Any = stream.sse() if output.startswith("sse") else stream
    assert list(items)
    return stream


@outputs
@pytest.mark.parametrize("read", [asynchronously, synchronously])
def test_times_are_taken_at_every_read(
    engine: Engine, output: str, read: Read, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    for module in (flow, flow_state):
        monkeypatch.setattr(module, "perf_counter", clock)
    parts = [b": ping\n\n", WHY, WHY, WHY[:-1], WHY[-1:], b": ping\n\n", SO, SO + SO, SO, END]
    metrics = read(engine, parts, output).metrics
    # One look at the clock when it begins, one at each read, and one at the end.
    assert metrics.time_to_first_byte == 1.0
    assert metrics.time_to_first_chunk == metrics.time_to_first_reasoning == 2.0
    assert metrics.time_to_first_visible == 7.0
    assert metrics.reasoning_time == 5.0
    assert metrics.duration == 11.0
    assert metrics.chunk_gaps == {0.0: 1, 1.0: 4, 2.0: 2}
    assert (metrics.events, metrics.bytes) == (8, len(b"".join(parts)))


def test_two_threads_of_a_synchronous_stream(engine: Engine) -> None:
    inner: list[BaseException] = []

    def read_again() -> None:
        # (What another thread would do while this one waits.)
        with pytest.raises(RuntimeError, match="another thread") as raised:
            next(stream)
        inner.append(raised.value)

    source = SyncScript([*BEGUN, read_again, SO, END])
    stream = normalize_stream_sync(source, _engine_module=engine)
    for _ in BEGUN:
        next(stream)
    assert texts([next(stream)]) == ["so"]
    assert len(inner) == 1
    assert len(list(stream)) == 1
    assert stream.fault is None


@outputs
def test_an_error_of_a_synchronous_source(engine: Engine, output: str) -> None:
    for error, passes in ((ConnectionResetError("gone"), False), (KeyboardInterrupt(), True)):
        source = SyncScript([*BEGUN, error])
        stream = normalize_stream_sync(source, _engine_module=engine)
        items: Any = stream.sse() if output.startswith("sse") else stream
        for _ in BEGUN:
            next(items)
        if passes:
            with pytest.raises(KeyboardInterrupt) as interrupted:
                next(items)
            assert interrupted.value is error
        with pytest.raises(StreamFault) as raised:
            next(items)
        assert passes or raised.value.__cause__ is error
        assert raised.value.partial is not None
        assert source.closes == 1
        assert next(items, "end") == "end"
