"""`NormalizedStream`: what is delivered, in which order it ends, and that nothing stays open."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from streamnorm import StreamFault
from streamnorm._engine import Engine

from .aio import Made, collect, collect_sse, deltas, run, scripted
from .helpers import DONE, chunk, event, random_cuts, run_both, stream

BODY = stream({"reasoning": "wh"}, {"reasoning": "y"}, {"content": "so"})
FIRST = event(chunk({"reasoning": "why"}))
SECOND = event(chunk({"content": "so"}))
FIRST_OUT = {"reasoning_content": "why"}
SECOND_OUT = {"content": "so"}


@pytest.fixture
def make(engine: Engine) -> Callable[..., Made]:
    """Makes a scripted source and its normalised stream."""
    return scripted(engine)


# What comes out. --------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(5))
def test_both_outputs_are_those_of_the_normalisers(
    engine: Engine, make: Callable[..., Made], seed: int
) -> None:
    parts = random_cuts(BODY, seed)
    chunks, data = run_both(engine, parts)

    async def main() -> None:
        source, items = make(*parts)
        assert await collect(items) == (chunks.output, None)
        assert items.report == chunks.report
        assert source.closes == 1
        _, items = make(*parts)
        assert await collect_sse(items) == (data.output, None)
        assert items.report == data.report

    run(main())


def test_options_reach_the_engine(make: Callable[..., Made]) -> None:
    async def main() -> None:
        _, items = make(FIRST + DONE, reasoning="both", keep_original=True)
        [first] = deltas((await collect(items))[0])
        assert first == {"reasoning": "why", "reasoning_content": "why"}
        _, items = make(event(b"{") + FIRST + DONE, on_malformed="skip")
        assert len((await collect(items))[0]) == 1
        assert items.report.malformed == 1
        _, items = make(FIRST, SECOND, max_event_bytes=20)
        _, fault = await collect(items)
        assert fault is not None
        assert fault.kind == "too_large"

    run(main())


def test_the_report_can_be_asked_for_at_any_time(make: Callable[..., Made]) -> None:
    async def main() -> None:
        _, items = make(FIRST, SECOND + DONE)
        assert items.report.events == 0
        assert items.report.dialect is None
        await anext(items)
        assert items.report.events == 1
        assert items.report.dialect == "reasoning"
        await items.aclose()
        assert items.report.remaps == {"reasoning→reasoning_content": 1}

    run(main())


def test_one_read_is_one_call_and_is_delivered_before_the_next(make: Callable[..., Made]) -> None:
    async def main() -> None:
        source, items = make(b"", FIRST + SECOND, FIRST + SECOND + DONE)
        for reads in (2, 2, 3, 3):
            await anext(items)
            assert source.reads == reads
        assert await anext(items, "end") == "end"
        assert source.reads == 3

    run(main())


@pytest.mark.parametrize("rest", [b"", FIRST, b": bye\n\n"])
def test_the_done_mark_ends_the_stream(make: Callable[..., Made], rest: bytes) -> None:
    never = asyncio.TimeoutError("read after [DONE]")

    async def main() -> None:
        source, items = make(FIRST + DONE + rest, never)
        assert deltas((await collect(items))[0]) == [FIRST_OUT]
        assert (source.reads, source.closes) == (1, 1)
        source, items = make(SECOND, DONE + rest, never)
        assert await collect_sse(items) == (SECOND + DONE + rest, None)
        assert (source.reads, source.closes) == (2, 1)

    run(main())


# Chunks and bytes exclude each other. --------------------------------------------------


def test_chunks_and_bytes_cannot_be_mixed(make: Callable[..., Made]) -> None:
    async def main() -> None:
        _, items = make(FIRST, SECOND, DONE)
        await anext(items)
        with pytest.raises(RuntimeError, match="before the stream is iterated as chunks"):
            items.sse()
        assert len((await collect(items))[0]) == 1

        source, items = make(SECOND, SECOND, DONE)
        frames = items.sse()
        with pytest.raises(RuntimeError, match="can be iterated once"):
            items.sse()
        with pytest.raises(RuntimeError, match="as bytes, by sse"):
            await anext(items)
        assert await anext(frames) == SECOND
        with pytest.raises(RuntimeError, match="as bytes, by sse"):
            await anext(items)
        await frames.aclose()
        assert await anext(frames, None) is None
        assert source.closes == 1

    run(main())


# Faults. ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("last", "kind"),
    [
        (event(b"{oops") + FIRST, "corrupt"),
        (event(b'{"error": {"message": "no", "code": 429}}'), "error_event"),
        (b"data: " + b"x" * 300, "too_large"),
    ],
)
def test_a_fault_comes_after_what_precedes_it_and_without_another_read(
    make: Callable[..., Made], last: bytes, kind: str
) -> None:
    never = AssertionError("read after the fault was known")

    async def main() -> None:
        source, items = make(FIRST, SECOND + last, never, max_line_bytes=250)
        chunks, fault = await collect(items)
        assert deltas(chunks) == [FIRST_OUT, SECOND_OUT]
        assert fault is not None
        assert fault.kind == kind
        assert fault.visible_output
        assert fault.reasoning_output
        assert not fault.safe_to_retry
        assert (source.reads, source.closes) == (2, 1)

        source, items = make(FIRST + last, never, max_line_bytes=250)
        await anext(items)
        # Known, and the connection given back, before it is raised.
        assert items.fault is not None
        assert source.closes == 1
        with pytest.raises(StreamFault):
            await anext(items)

    run(main())


@pytest.mark.parametrize(
    ("steps", "kind", "count"),
    [
        ((), "empty", 0),
        ((b"",), "empty", 0),
        ((b": only comments\n\n",), "empty", 0),
        ((DONE,), "empty", 0),
        ((b"<html>no</html>",), "not_sse", 0),
        ((FIRST, SECOND), "truncated", 2),
        ((FIRST + SECOND[:-2],), "truncated", 2),
        ((FIRST + SECOND[:-9],), "truncated", 1),
        ((FIRST, event(chunk({}, "stop"))), None, 2),
        ((FIRST, event(chunk({}, "stop"))[:-2]), None, 2),
    ],
)
def test_how_a_stream_ends(
    make: Callable[..., Made], steps: tuple[bytes, ...], kind: str | None, count: int
) -> None:
    async def main() -> None:
        source, items = make(*steps)
        chunks, fault = await collect(items)
        assert len(chunks) == count
        assert (fault and fault.kind) == kind
        assert source.closes == 1
        source, items = make(*steps)
        _, fault = await collect_sse(items)
        assert (fault and fault.kind) == kind
        assert source.closes == 1

    run(main())


def test_an_exception_of_the_source_is_a_transport_fault(make: Callable[..., Made]) -> None:
    async def main() -> None:
        error = ConnectionResetError("gone")
        source, items = make(FIRST, SECOND[:-2], error)
        chunks, fault = await collect(items)
        assert deltas(chunks) == [FIRST_OUT, SECOND_OUT]  # the unfinished event was whole
        assert fault is not None
        assert (fault.kind, fault.category, fault.blame) == (
            "transport", "api_connection", "transport",
        )  # fmt: skip
        assert fault.__cause__ is error
        assert (fault.visible_output, fault.reasoning_output) == (True, True)
        assert source.closes == 1

        _, items = make(ConnectionResetError())
        chunks, fault = await collect(items)
        assert chunks == []
        assert fault is not None
        assert fault.safe_to_retry
        _, items = make(SECOND, SECOND[:-2], ConnectionResetError())
        data, fault = await collect_sse(items)
        assert data == SECOND + SECOND[:-2]
        assert fault is not None
        assert fault.kind == "transport"

    run(main())


def test_the_upstreams_own_words_beat_the_lost_connection(make: Callable[..., Made]) -> None:
    async def main() -> None:
        error = ConnectionResetError("gone")
        _, items = make(SECOND, b'data: {"error": {"message": "busy", "code": 503}}\n', error)
        chunks, fault = await collect(items)
        assert len(chunks) == 1
        assert fault is not None
        assert (fault.kind, fault.status_code) == ("error_event", 503)
        assert fault.__cause__ is error

    run(main())


def test_a_fault_of_the_source_passes_as_it_is(make: Callable[..., Made]) -> None:
    async def main() -> None:
        raised = StreamFault("slow", kind="idle_timeout")
        source, items = make(FIRST, raised)
        chunks, fault = await collect(items)
        assert len(chunks) == 1
        assert fault is raised
        assert source.closes == 1

    run(main())


@pytest.mark.parametrize("kind", [asyncio.CancelledError, KeyboardInterrupt, SystemExit])
def test_what_is_no_exception_is_never_wrapped(
    make: Callable[..., Made], kind: type[BaseException]
) -> None:
    source, items = make(FIRST, kind())

    def send(coroutine: Any) -> Any:
        with pytest.raises(StopIteration) as stopped:
            coroutine.send(None)
        return stopped.value.value

    # By hand: a loop lets KeyboardInterrupt through only as the end of everything.
    assert send(items.__anext__())["choices"]
    with pytest.raises(kind):
        items.__anext__().send(None)
    assert source.closes == 1
    assert items.fault.kind == "truncated"
    for expected in (StreamFault, StopAsyncIteration):
        with pytest.raises(expected):
            items.__anext__().send(None)


@pytest.mark.parametrize(
    ("steps", "words"),
    [
        ((7,), "item of type int; items must be bytes"),
        ((None,), "item of type NoneType; items must be"),
        ((FIRST, None), "type NoneType after bytes or str"),
        ((FIRST, {"choices": []}), "type dict after bytes or str; one source must give one sort"),
        (({"choices": []}, b"x"), "type bytes after chunk objects; one source must give one sort"),
        (({"choices": []}, 7), "item of type int; items must be"),
        ((dict,), "item of type type; items must be"),
    ],
)
@pytest.mark.parametrize("output", [collect, collect_sse])
def test_items_of_a_wrong_type(
    make: Callable[..., Made], steps: tuple[Any, ...], words: str, output: Any
) -> None:
    async def main() -> None:
        source, items = make(*steps)
        with pytest.raises(TypeError) as raised:
            await output(items)
        assert words in str(raised.value)
        assert source.closes == 1
        assert items.fault is None
        if output is collect:
            assert await anext(items, None) is None

    run(main())
