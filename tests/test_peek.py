"""`NormalizedStream.peek`: what it says, where it stops, and that nothing is lost by it."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable
from typing import Any

import pytest

from streamnorm import NormalizedStream, StreamFault, normalize_stream
from streamnorm._engine import Engine

from .aio import Made, Pause, Script, collect, collect_sse, on_loops, run, scripted
from .helpers import DONE, chunk, event, reads

ROLE = event(chunk({"role": "assistant", "content": ""}))
REASONING = event(chunk({"reasoning": "why"}))
CONTENT = event(chunk({"content": "so"}))
CALL = event(
    chunk({"tool_calls": [{"index": 0, "id": "c", "function": {"name": "f", "arguments": ""}}]})
)
FINISH = event(chunk({}, "stop"))
COMMENT = b": OPENROUTER PROCESSING\n\n"
FAILED = event(b'{"error": {"message": "overloaded", "code": 503}}')

# With a time limit the read runs in a task of its own, without one it does not.
timeouts = pytest.mark.parametrize("timeout", [None, 60.0], ids=["here", "in a task"])
outputs = pytest.mark.parametrize("output", ["dict", "sse"])


@pytest.fixture
def make(engine: Engine) -> Callable[..., Made]:
    """Makes a scripted source and its normalised stream."""
    return scripted(engine)


async def rest(stream: NormalizedStream, output: str) -> tuple[Any, StreamFault | None]:
    """All that *stream* delivers in *output*."""
    return await (collect(stream) if output == "dict" else collect_sse(stream))


# What it says. ----------------------------------------------------------------------


@on_loops
@timeouts
@pytest.mark.parametrize(
    ("steps", "reasoning", "reads_done", "said"),
    [
        ([ROLE, COMMENT, REASONING, CONTENT, DONE], False, 4, "visible"),
        ([ROLE, COMMENT, REASONING, CONTENT, DONE], True, 3, "visible"),
        ([ROLE, Pause(), CALL, FINISH + DONE], False, 2, "visible"),
        ([ROLE, REASONING, FINISH + DONE], False, 3, "ended"),
        ([ROLE, FINISH], False, 3, "ended"),
        # Text that may yet be a part of a delimiter is not out.
        ([event(chunk({"content": "<thi"})), event(chunk({"content": "s>"})), DONE], False, 2,
         "visible"),
        ([event(chunk({"content": "<think>a"})), event(chunk({"content": "</think>b"})), DONE],
         False, 2, "visible"),
        ([event(chunk({"content": "<think>a"})), CONTENT, DONE], True, 1, "visible"),
        ([{"choices": [{"index": 0, "delta": {"content": "so"}}]}], False, 1, "visible"),
    ],
)  # fmt: skip
def test_reads_up_to_the_first_visible_event(
    make: Callable[..., Made],
    loop: str,
    timeout: float | None,
    steps: list[Any],
    reasoning: bool,
    reads_done: int,
    said: str,
) -> None:
    async def main() -> None:
        source, stream = make(*steps)
        for _ in range(2):  # the second time nothing has to be read
            assert await stream.peek(reasoning=reasoning, timeout=timeout) == said
            assert source.reads == reads_done
        assert stream.fault is None
        await stream.aclose()
        assert source.closes == 1

    run(main(), loop)


@timeouts
@outputs
@pytest.mark.parametrize(
    ("steps", "kind"),
    [
        ([ROLE, REASONING, FAILED, CONTENT], "error_event"),
        ([REASONING], "truncated"),
        ([REASONING, OSError("gone")], "transport"),
        ([REASONING, event(b"{oops")], "corrupt"),
        ([b"<html>"], "not_sse"),
        ([COMMENT], "empty"),
        ([], "empty"),
        (None, "none_stream"),
    ],
)
def test_a_fault_before_anything_visible(
    engine: Engine, timeout: float | None, output: str, steps: list[Any] | None, kind: str
) -> None:
    async def main() -> None:
        source = Script(steps or ())
        stream = normalize_stream(None if steps is None else source, _engine_module=engine)
        fault: Any = None
        for _ in range(2):
            with pytest.raises(StreamFault) as raised:
                await stream.peek(timeout=timeout)
            fault = raised.value
            assert fault.kind == kind
            assert stream.fault is raised.value
            # Nothing was delivered, whatever was received.
            assert (fault.visible_output, fault.reasoning_output) == (False, False)
            assert source.closes == (steps is not None)
        items, fault_after = await rest(stream, output)
        assert fault_after is stream.fault
        has_reasoning = REASONING in (steps or ())
        assert has_reasoning is (b"why" in items if output == "sse" else "why" in str(items))
        # Now it was.
        assert (fault.visible_output, fault.reasoning_output) == (False, has_reasoning)

    run(main())


@timeouts
def test_a_fault_once_something_was_delivered(
    make: Callable[..., Made], timeout: float | None
) -> None:
    async def main() -> None:
        _, stream = make(REASONING, ROLE, FAILED)
        await anext(stream)
        with pytest.raises(StreamFault) as raised:
            await stream.peek(timeout=timeout)
        assert raised.value.reasoning_output
        assert not raised.value.visible_output

        _, stream = make(ROLE, REASONING, FAILED)
        frames = stream.sse()
        await anext(frames)
        await anext(frames)
        with pytest.raises(StreamFault) as raised:
            await stream.peek(timeout=timeout)
        assert raised.value.reasoning_output
        assert await anext(frames) == FAILED
        with pytest.raises(StreamFault):
            await anext(frames)
        # It had been raised already, and still is what is wrong.
        with pytest.raises(StreamFault):
            await stream.peek(timeout=timeout)

    run(main())


def test_what_awaiting_the_source_raises_passes_as_it_is(engine: Engine) -> None:
    async def opening() -> Any:
        await asyncio.sleep(0)
        raise LookupError("no such model")

    async def main() -> None:
        for timeout in (None, 60.0):
            stream = normalize_stream(opening(), _engine_module=engine)
            with pytest.raises(LookupError, match="no such model"):
                await stream.peek(timeout=timeout)

    run(main())


def test_error_factory(make: Callable[..., Made]) -> None:
    async def main() -> None:
        _, stream = make(REASONING, FAILED, error_factory=lambda fault: LookupError(fault.kind))
        with pytest.raises(LookupError, match="error_event") as raised:
            await stream.peek()
        assert raised.value.__cause__ is stream.fault
        await anext(stream)
        with pytest.raises(LookupError, match="error_event"):
            await anext(stream)

    run(main())


# Where it stops. --------------------------------------------------------------------


@timeouts
@pytest.mark.parametrize("item", [COMMENT, b"x", REASONING, b"\n", b'{"choices": []}\n'], ids=repr)
def test_bounded_in_bytes(engine: Engine, timeout: float | None, item: bytes) -> None:
    async def main() -> None:
        source = Script(itertools.repeat(item))
        stream = normalize_stream(source, _engine_module=engine)
        for limit in (1, 100, 5000):
            said = await stream.peek(max_bytes=limit, timeout=timeout)
            assert said == "max_bytes"
            # Not one read more than it takes.
            assert source.reads == -(-limit // len(item))
        await stream.aclose()

    run(main())


def test_objects_count_as_bytes(make: Callable[..., Made]) -> None:
    async def main() -> None:
        role = {"choices": [{"index": 0, "delta": {"role": "assistant"}}]}
        source, stream = make(*[role] * 100)
        assert await stream.peek(max_bytes=1024) == "max_bytes"
        assert source.reads == 4
        assert stream.outcome.bytes == 0
        await stream.aclose()

    run(main())


@on_loops
@outputs
@pytest.mark.parametrize("before", [(), (ROLE,), (ROLE, REASONING, COMMENT, REASONING)], ids=len)
@pytest.mark.parametrize("late", [ROLE, REASONING * 4, COMMENT, b"dat", DONE], ids=len)
def test_bounded_in_time_without_losing_the_read(
    make: Callable[..., Made], loop: str, output: str, before: Any, late: bytes
) -> None:
    async def main() -> None:
        gate = asyncio.Event()
        body = (*before, late, FINISH + DONE if late != b"dat" else b"a: [DONE]\n\n")
        source, stream = make(*before, gate, *body[len(before) :])
        for _ in range(3):
            assert await stream.peek(timeout=0.001) == "timeout"
            # The read that goes on is one and the same.
            assert source.reads == len(before) + 1
        gate.set()
        found = await rest(stream, output)
        assert source.closes == 1
        _, plain = make(*body)
        wanted = await rest(plain, output)
        assert found[0] == wanted[0]
        assert str(found[1]) == str(wanted[1])

    run(main(), loop)


@outputs
def test_what_a_late_read_brings_does_not_wait_for_the_next(
    make: Callable[..., Made], output: str
) -> None:
    """However many items come, and however many are taken before they do."""

    async def main() -> None:
        for held in range(4):
            for taken in range(held + 1):
                for late in range(1, 5):
                    gate, never = asyncio.Event(), asyncio.Event()
                    steps = [REASONING] * held
                    _, stream = make(*steps, gate, REASONING * late, never)
                    assert await stream.peek(timeout=0.001) == "timeout"
                    items: Any = stream.sse() if output == "sse" else stream
                    for _ in range(taken):
                        await anext(items)
                    gate.set()
                    if output == "sse" and held > taken:
                        await asyncio.sleep(0)
                    for _ in range(held - taken + (late if output == "dict" else 1)):
                        assert await asyncio.wait_for(anext(items), 10)
                    await stream.aclose()

    run(main())


def test_the_pending_read_of_an_abandoned_opening_is_ended(engine: Engine) -> None:
    async def main() -> None:
        ended = []

        async def opening() -> Any:
            try:
                await asyncio.Event().wait()
            finally:
                ended.append(True)

        stream = normalize_stream(opening(), _engine_module=engine)
        assert await stream.peek(timeout=0.001) == "timeout"
        assert not ended
        await stream.aclose()
        assert ended
        assert await anext(stream, "end") == "end"

    run(main())


def test_an_opening_that_fails_when_nobody_waits(engine: Engine) -> None:
    """Nobody is told by the event loop of an error that is not raised any more."""

    async def main() -> None:
        gate = asyncio.Event()

        async def opening() -> Any:
            await gate.wait()
            raise LookupError("no such model")

        for leave in (True, False):
            gate.clear()
            stream = normalize_stream(opening(), _engine_module=engine)
            assert await stream.peek(timeout=0.001) == "timeout"
            gate.set()
            for _ in range(3):
                await asyncio.sleep(0)
            if leave:
                await stream.aclose()
            del stream  # `run` fails on an exception that was never retrieved

    run(main())


# Who may call it, and when. ---------------------------------------------------------


@on_loops
@timeouts
def test_one_reader_at_a_time(make: Callable[..., Made], loop: str, timeout: float | None) -> None:
    async def main() -> None:
        gate = asyncio.Event()
        _, stream = make(ROLE, gate, CONTENT, DONE)
        peeking = asyncio.ensure_future(stream.peek(timeout=timeout))
        for _ in range(3):
            await asyncio.sleep(0)
        with pytest.raises(RuntimeError, match="already being read"):
            await stream.peek()
        # What is there may be taken; a read may not be made.
        await anext(stream)
        with pytest.raises(RuntimeError, match="already being read"):
            await anext(stream)
        gate.set()
        assert await peeking == "visible"
        assert len([one async for one in stream]) == 1

        gate.clear()
        _, stream = make(gate, CONTENT, DONE)
        reading = asyncio.ensure_future(anext(stream))
        await asyncio.sleep(0)
        with pytest.raises(RuntimeError, match="already being read"):
            await stream.peek(timeout=timeout)
        gate.set()
        assert await reading
        await stream.aclose()

    run(main(), loop)


@timeouts
def test_after_iteration_has_begun(make: Callable[..., Made], timeout: float | None) -> None:
    async def main() -> None:
        _, stream = make(ROLE, REASONING, CONTENT, FINISH + DONE)
        first = await anext(stream)
        assert await stream.peek(timeout=timeout) == "visible"
        chunks, fault = await collect(stream)
        assert fault is None
        _, plain = make(ROLE, REASONING, CONTENT, FINISH + DONE)
        assert [first, *chunks] == (await collect(plain))[0]
        with pytest.raises(RuntimeError):
            stream.sse()

    run(main())


@outputs
def test_after_closing_nothing_comes_back(make: Callable[..., Made], output: str) -> None:
    async def main() -> None:
        _, stream = make(REASONING, CONTENT, FINISH, DONE)
        assert await stream.peek() == "visible"
        await stream.aclose()
        items: Any = stream.sse(done="always") if output == "sse" else stream
        assert await anext(items, "end") == "end"
        assert stream.report.events == 2
        assert not stream.outcome.complete

    run(main())


@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        ({"max_bytes": 0}, ValueError),
        ({"max_bytes": True}, TypeError),
        ({"max_bytes": 1.5}, TypeError),
        ({"timeout": 0}, ValueError),
        ({"timeout": float("inf")}, ValueError),
        ({"timeout": float("nan")}, ValueError),
        ({"timeout": "1"}, TypeError),
        ({"reasoning": 1}, TypeError),
    ],
    ids=str,
)
def test_wrong_arguments(make: Callable[..., Made], wrong: Any, error: type[Exception]) -> None:
    async def main() -> None:
        source, stream = make(CONTENT, DONE)
        with pytest.raises(error, match=next(iter(wrong))):
            await stream.peek(**wrong)
        assert source.reads == 0
        assert len(reads((await collect_sse(stream))[0], 1)) > 0

    run(main())
