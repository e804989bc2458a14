"""What tests of asynchronous code share: a run that leaves nothing behind, a scripted source."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable, Coroutine, Generator, Iterable
from typing import Any, TypeVar

from streamnorm import NormalizedStream, StreamFault, normalize_stream
from streamnorm._engine import Engine

Result = TypeVar("Result")


def run(main: Coroutine[Any, Any, Result]) -> Result:
    """Run *main*; fail on whatever is left over: tasks, unretrieved errors, open generators."""
    complaints: list[dict[str, Any]] = []

    async def watched() -> Result:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: complaints.append(context))
        result = await main
        gc.collect()
        # Finalizers of dropped generators, and callbacks of closed connections.
        for _ in range(5):
            await asyncio.sleep(0)
        left = asyncio.all_tasks() - {asyncio.current_task()}
        assert not left, left
        return result

    result = asyncio.run(watched())
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
        steps: Items to give; an exception is raised; `Pause` and `asyncio.Event` are
            awaited.
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
            if isinstance(step, Pause):
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
