"""Streams that are left in every way: sockets, tasks and memory are where they were before."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import math
import os
import random
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import streamnorm
from streamnorm import StreamFault, Timeouts, normalize_stream
from streamnorm._engine import Engine
from streamnorm.upstream import Abort, Request, Upstream

from .aio import on_loops, run
from .helpers import DONE, chunk, event

EVENTS = [
    event(chunk({"reasoning": "why"})),
    b": working\n\n",
    event(chunk({"content": "so"})),
    event(chunk({"content": " it is"})),
    event(chunk({}, "stop")),
    DONE,
]
LIMITS = Timeouts(first_chunk=3600, idle=3600, total=3600)
# How a stream is left.
LEFT = (
    "read", "break", "aclose", "dropped", "exception", "cancelled", "peeked and dropped",
    "timed out peek", "timed out peek, dropped", "beaten and dropped", "too late", "two readers",
)  # fmt: skip
# What an upstream does behind the events that it sends.
ENDS: dict[str, list[Any]] = {
    "ends": [],
    "waits": [math.inf],
    "cut": [Abort()],
    "reset": [Abort(reset=True)],
    "fails": [event(b'{"error": {"message": "no"}}')],
}


# Makes a source when it is asked for one: who has none cannot lose it.
Source = Callable[[], Any]


class Left(Exception):
    """What the caller's own code raises."""


async def use(make: Source, how: str, chance: random.Random, engine: Engine) -> None:
    """Read a few items of what *make* gives and leave it."""
    options: dict[str, Any] = {"_engine_module": engine}
    if how == "too late":
        options["timeouts"] = Timeouts(total=0.001)
    elif chance.random() < 0.3:
        options["timeouts"] = LIMITS
    stream = normalize_stream(make(), **options)
    if "dropped" in how:
        await read(stream, how, chance)
        return
    async with stream:
        await read(stream, how, chance)
        if how == "aclose":
            await stream.aclose()


async def read(stream: Any, how: str, chance: random.Random) -> None:
    """Read a few items, or all."""
    if "peek" in how:
        timeout = 0.0005 if "timed out" in how else chance.choice((None, 3600.0))
        await stream.peek(timeout=timeout, max_bytes=chance.choice((1, 200, 2000)))
    items: Any = stream
    if "beaten" in how:
        items = stream.sse(heartbeat=0.0005)
    elif chance.random() < 0.5:
        items = stream.sse(heartbeat=chance.choice((None, 3600.0)))
    last = chance.randrange(4)
    if how == "two readers":
        both = await asyncio.gather(anext(items, None), anext(items, None), return_exceptions=True)
        assert sum(isinstance(one, RuntimeError) for one in both) <= 1
    count = 0
    async for _ in items:
        count += 1
        if count > last and ("dropped" in how or how in ("break", "aclose")):
            break
        if count > last and how == "exception":
            raise Left


async def leave(make: Source, how: str, chance: random.Random, engine: Engine) -> None:
    """`use` in a task, which may be cancelled anywhere; how it ended does not matter here."""
    task = asyncio.ensure_future(use(make, how, chance, engine))
    # An upstream that waits for ever is left in the end, whatever the way was.
    patience = 0.01 if how != "cancelled" else chance.choice((0, 0, 0.001, 0.002))
    for _ in range(chance.randrange(20)):
        await asyncio.sleep(0)
    await asyncio.wait({task}, timeout=patience)
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError, StreamFault, Left):
        await task


async def settle() -> None:
    """Let finalizers run, and what they schedule."""
    for _ in range(5):
        gc.collect()
        await asyncio.sleep(0)


# Where the classes are of which every stream has its own objects.
MODULES = (
    "stream", "stream_base", "reader", "flow", "alarm", "timeouts", "sources", "collect", "metrics",
    "message", "usage", "native", "objects", "pure.normalizer", "pure.documents", "pure.events",
)  # fmt: skip


def ours() -> Counter[str]:
    """How many objects of a stream there are, by their class."""
    modules = {f"{streamnorm.__name__}.{name}" for name in MODULES}
    found: Counter[str] = Counter()
    for one in gc.get_objects():
        kind = type(one)
        if kind is StreamFault or kind.__module__ in modules:
            found[kind.__qualname__] += 1
    return found


def open_files() -> int:
    folder = Path("/proc/self/fd")
    return len(os.listdir(folder)) if folder.is_dir() else 0


def scripts(chance: random.Random) -> list[Any]:
    """A part of a stream, and one of the ends."""
    part = EVENTS[: chance.randrange(len(EVENTS) + 1)]
    return [*part, *ENDS[chance.choice(tuple(ENDS))]]


def pass_over_connections_of_others() -> None:
    """aiohttp keeps errors of connections in futures of its own that nobody asks at times.

    A fault of ours is raised, or is in a task; these are neither.
    """
    loop = asyncio.get_running_loop()
    complain: Any = loop.get_exception_handler()

    def handle(_: Any, context: dict[str, Any]) -> None:
        is_future = "Future exception was never retrieved" in context["message"]
        if not (is_future and isinstance(context.get("exception"), OSError)):
            complain(loop, context)

    loop.set_exception_handler(handle)


# The real thing. ----------------------------------------------------------------------


@pytest.mark.parametrize("client", ["httpx", "aiohttp"])
def test_real_requests(engine: Engine, client: str) -> None:
    module = pytest.importorskip(client)
    chance = random.Random(7)
    # aiohttp complains of a response that was dropped without being closed (and closes it).
    known = [how for how in LEFT if client != "aiohttp" or "dropped" not in how]

    def script(request: Request) -> Iterator[Any]:
        return iter(scripts(chance))

    def opened(http: Any, url: str) -> Any:
        if client == "aiohttp":
            return http.get(url)
        return http.send(http.build_request("GET", url), stream=True)

    async def round_of(count: int, up: Upstream) -> None:
        # A client for each dozen, so that what it does not give back does not block the next.
        for _ in range(count // 12):
            if client == "aiohttp":
                session = module.ClientSession()
            else:
                session = module.AsyncClient(limits=module.Limits(max_connections=None))
            async with session as http:
                ways = [chance.choice(known) for _ in range(12)]
                await asyncio.gather(
                    *(
                        leave(partial(opened, http, up.url("x")), how, chance, engine)
                        for how in ways
                    )
                )
        await settle()
        await up.drained()
        await settle()
        up.requests.clear()

    async def main() -> None:
        pass_over_connections_of_others()
        async with Upstream() as up:
            up.add("x", script)
            await round_of(60, up)
            before, files = ours(), open_files()
            await round_of(504, up)
            assert len(asyncio.all_tasks()) == 1
            assert up.open_connections == 0
            assert ours() - before == Counter()
            assert open_files() <= files

    run(main())


# Generators. --------------------------------------------------------------------------


@on_loops
def test_bare_generators(engine: Engine, loop: str) -> None:
    chance = random.Random(11)
    open_now = 0

    async def source(steps: list[Any]) -> AsyncIterator[bytes]:
        nonlocal open_now
        open_now += 1
        try:
            for step in steps:
                await asyncio.sleep(0)
                if isinstance(step, bytes):
                    yield step
                elif step == math.inf:
                    await asyncio.Event().wait()
                else:
                    raise OSError("gone")
        finally:
            try:
                await asyncio.sleep(0)
            finally:
                open_now -= 1

    async def opening(steps: list[Any]) -> AsyncIterator[bytes]:
        await asyncio.sleep(0)
        return source(steps)

    async def round_of(count: int) -> None:
        for _ in range(count // 50):
            made = [partial(chance.choice((source, opening)), scripts(chance)) for _ in range(50)]
            await asyncio.gather(*(leave(one, chance.choice(LEFT), chance, engine) for one in made))
        await settle()

    async def main() -> None:
        await round_of(200)
        before = ours()
        await round_of(1000)
        assert open_now == 0
        assert len(asyncio.all_tasks()) == 1
        assert ours() - before == Counter()

    run(main(), loop)


@pytest.mark.parametrize("how", ["plain", "limits", "beating", "short peek", "fault"])
def test_a_dropped_stream_is_released(engine: Engine, how: str) -> None:
    """Without a call of ``aclose``; nothing but the collector frees some of these."""

    async def source() -> AsyncIterator[bytes]:
        yield EVENTS[0]
        if how == "fault":
            raise OSError("gone")
        await asyncio.Event().wait()

    async def drop() -> None:
        timeouts = LIMITS if how in ("limits", "short peek") else None
        stream = normalize_stream(source(), timeouts=timeouts, _engine_module=engine)
        if how == "short peek":
            assert await stream.peek(timeout=0.0001) == "timeout"
        elif how == "beating":
            frames = stream.sse(heartbeat=0.0001)
            await anext(frames)
            await anext(frames)
        else:
            await anext(stream)
            if how == "fault":
                with pytest.raises(StreamFault):
                    await anext(stream)

    async def main() -> None:
        await drop()
        await settle()
        before = ours()
        for _ in range(100):
            await drop()
        await settle()
        assert ours() - before == Counter()
        assert len(asyncio.all_tasks()) == 1

    run(main())
