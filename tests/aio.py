"""What tests of asynchronous code share: a run that leaves nothing behind, a scripted source."""

from __future__ import annotations

import asyncio
import gc
import importlib
import importlib.util
from collections.abc import Callable, Coroutine, Generator, Iterable
from typing import Any, TypeVar

import pytest

from streamnorm import NormalizedStream, StreamFault, alarm, normalize_stream, reader
from streamnorm._engine import Engine

Result = TypeVar("Result")

# Seconds: longer than any time limit in a test that is to be passed.
LONG = 7200.0


# Runs a test on each event loop there is; it gets the name, for `run`.
on_loops = pytest.mark.parametrize("loop", ["asyncio", "uvloop"])


def run(main: Coroutine[Any, Any, Result], loop: str = "asyncio") -> Result:
    """Run *main*; fail on whatever is left over: tasks, unretrieved errors, open generators."""
    if loop != "asyncio" and importlib.util.find_spec(loop) is None:
        main.close()
        pytest.skip(f"{loop} is not installed")
    complaints: list[dict[str, Any]] = []

    async def watched() -> Result:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: complaints.append(context))
        result = await main
        gc.collect()
        # Finalizers of dropped generators, each of which may drop another one (HTTP clients
        # nest them), and callbacks of closed connections.
        left: set[asyncio.Task[Any]] = set()
        for _ in range(50):
            await asyncio.sleep(0)
            left = asyncio.all_tasks() - {asyncio.current_task()}
            if not left:
                break
        assert not left, left
        return result

    runner = asyncio if loop == "asyncio" else importlib.import_module(loop)
    result: Result = runner.run(watched())
    gc.collect()
    assert not complaints, complaints
    return result


class Pause:
    """Awaiting it suspends once."""

    def __await__(self) -> Generator[None, None, None]:
        yield


class Script:
    """An async iterator that plays a script and knows how often it was closed.

    Args:
        steps: Items to give; an exception is raised; `asyncio.Event` and what has only
            ``__await__`` (`Pause`) are awaited.
    """

    def __init__(self, steps: Iterable[Any]) -> None:
        self._steps = iter(steps)
        self.reads = 0
        self.closes = 0

    def __aiter__(self) -> Script:
        return self

    async def __anext__(self) -> Any:
        self.reads += 1
        for step in self._steps:
            if hasattr(step, "__await__"):
                await step
            elif isinstance(step, asyncio.Event):
                await step.wait()
            elif isinstance(step, BaseException):
                raise step
            else:
                return step
        raise StopAsyncIteration

    async def aclose(self) -> None:
        self.closes += 1


class Time:
    """A clock that stands still, but for what a test adds.

    As a step of a `Script`, awaiting it lets `LONG` pass, and suspends for good.
    """

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now

    def __await__(self) -> Generator[Any, None, None]:
        self.now += LONG
        yield from asyncio.Event().wait().__await__()


def stopped_clock(monkeypatch: pytest.MonkeyPatch) -> Time:
    """The clock by which the limits of all streams are kept from here on."""
    made = Time()
    monkeypatch.setattr(reader, "monotonic", made)
    monkeypatch.setattr(alarm, "monotonic", made)
    return made


Made = tuple[Script, Any]


def scripted(engine: Engine) -> Callable[..., Made]:
    """What makes a source that plays a script, and its normalised stream."""

    def make(*steps: Any, **options: Any) -> Made:
        source = Script(steps)
        return source, normalize_stream(source, _engine_module=engine, **options)

    return make


async def collect(stream: NormalizedStream) -> tuple[list[Any], StreamFault | None]:
    """All chunks, and the fault that was raised after them; then only the end follows."""
    return await _collect(stream, stream)


async def collect_from(
    stream: NormalizedStream, items: Any
) -> tuple[list[Any], StreamFault | None]:
    """What *items*, which iterate *stream*, give, and the fault that was raised after them."""
    return await _collect(stream, items)


async def collect_sse(stream: NormalizedStream) -> tuple[bytes, StreamFault | None]:
    """All bytes, and the fault that was raised after them."""
    pieces, fault = await _collect(stream, stream.sse())
    assert all(pieces)
    return b"".join(pieces), fault


async def _collect(stream: NormalizedStream, items: Any) -> tuple[list[Any], StreamFault | None]:
    found = []
    fault = None
    try:
        async for item in items:
            found.append(item)
    except StreamFault as error:
        fault = error
    assert stream.fault is fault
    for _ in range(2):
        assert await anext(items, "end") == "end"
    return found, fault


def deltas(chunks: list[Any]) -> list[Any]:
    """The delta of the first choice of each chunk."""
    return [one["choices"][0]["delta"] for one in chunks]


def iterated(stream: NormalizedStream, output: str) -> Any:
    """What iterates *stream*: ``dict``, ``sse``, or ``heartbeat`` (bytes, a task for each read)."""
    if output == "dict":
        return stream
    return stream.sse(heartbeat=LONG if output == "heartbeat" else None)
