"""Measures what grows with a stream, and with the number of streams: time and memory.

    python -m benches.growth [PART ...]

Every row runs in a fresh process and has a limit; with PART, only rows whose name holds one.
The rows about memory need /proc. Exits with 1 if a limit is passed.

- "huge event": the time of one 64 MiB event in 1 KiB reads, as a multiple of 64 times that of
  a 1 MiB one. The size limits are off. It holds more than what a normaliser adds: the 1 MiB
  are read again and again and stay in the caches, and 64 MiB at once are fresh pages of the
  system wherever they are put, each cleared before its first use. "none" is the least that
  any program can do: hold the reads, copy them once, and for chunks parse the document with
  json; it has no limit. That the work itself grows as the bytes do, `linear.py` shows.
- "long stream": by how much memory grows at most, in MiB, while bytes go through one
  normaliser: 10 GB through the Rust engine, and 256 MB through the pure one, which would
  need half an hour for as much.
- "idle": KiB of memory for each of 10,000 streams that are open at the same time, after a first
  read of 16 KiB that ended inside an event. "feed" is a normaliser, "stream" a
  `normalize_stream` whose chunks so far were taken. The read is not shared by the streams:
  one that is kept counts. What the source holds does not.
- "open": how many of 10,000 streams that were all open at once do not end well.
"""

from __future__ import annotations

import asyncio
import functools
import gc
import json
import math
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

from streamnorm import ChunkNormalizer, SSENormalizer, StreamFault, _engine, normalize_stream
from streamnorm._engine import Engine

from . import environment, streams
from .readers import cut, drive
from .targets import NONE, aligned

MIB: Final = 1 << 20
KIB: Final = 1 << 10
OPEN: Final = 10_000
FIRST_READ: Final = 16 * KIB
HUGE: Final = 64
NO_ENGINE: Final = "none"
# Bytes of a long stream.
LONG: Final = {"rust": 10 * 10**9, "python": 256 * 10**6}
# How often the larger and the smaller huge event are measured; the fastest counts.
_LARGE_RUNS: Final = 3
_SMALL_RUNS: Final = 15


class Growth(NamedTuple):
    """A row: what it measures, on which engine, if on one, and what must not be passed."""

    name: str
    engine: str
    measure: Callable[..., float]
    limit: float
    unit: str

    def figure(self) -> float:
        """What is measured in this process."""
        if self.engine == NO_ENGINE:
            return self.measure()
        return self.measure(_engine.choose(self.engine))


# Time. -----------------------------------------------------------------------------


def huge_event(output: str, engine: Engine) -> float:
    """The time of a 64 MiB event, in multiples of its share of a 1 MiB one."""
    large = _fastest(output, engine, HUGE, _LARGE_RUNS)
    return large / (HUGE * _fastest(output, engine, 1, _SMALL_RUNS))


def held(output: str) -> float:
    """The same of a program that holds the event and gives it out, and does nothing else."""
    large, small = (
        min(_held(output, _events(size)) for _ in range(runs))
        for size, runs in ((HUGE, _LARGE_RUNS), (1, _SMALL_RUNS))
    )
    return large / (HUGE * small)


def _held(output: str, reads: list[bytes]) -> float:
    gc.collect()
    start = time.process_time()
    buffer = bytearray()
    for data in reads:
        buffer += data
    out = bytes(buffer)
    if output == "chunks":
        json.loads(out[len("data: ") : out.index(b"\n")])
    return time.process_time() - start


def _fastest(output: str, engine: Engine, size: int, runs: int) -> float:
    made = SSENormalizer if output == "bytes" else ChunkNormalizer
    reads = _events(size)
    times = []
    for _ in range(runs):
        machine = made(_engine_module=engine, max_line_bytes=None, max_event_bytes=None)
        gc.collect()
        start = time.process_time()
        drive(machine, reads)
        times.append(time.process_time() - start)
    return min(times)


def _events(size: int) -> list[bytes]:
    """A stream of one event of so many MiB, and the closing mark, in reads of 1 KiB."""
    return _cut(huge(size), KIB)


def huge(size: int) -> bytes:
    """A stream of one event of so many MiB, and the closing mark."""
    part = streams.make("one-huge-event-drip", MIB // 256).texts[0].reasoning
    text = json.dumps(part * size, ensure_ascii=False)
    event = f'{{"choices":[{{"index":0,"delta":{{"reasoning":{text}}}}}]}}'
    return f"data: {event}\n\ndata: [DONE]\n\n".encode()


def _cut(stream: bytes, size: int) -> list[bytes]:
    return [stream[at : at + size] for at in range(0, len(stream), size)]


# Memory. ---------------------------------------------------------------------------


def long_stream(engine: Engine) -> float:
    """By how many MiB memory grows at most while a long stream goes through."""
    case = streams.make("rename")
    # Without its last event and the closing mark it can be repeated for ever.
    endless = case.stream[: case.stream.rindex(b"data: ", 0, case.stream.rindex(b"data: "))]
    reads = _cut(endless, FIRST_READ)
    machine = SSENormalizer(_engine_module=engine)
    gc.collect()
    start = most = environment.resident()
    done = 0
    while done < LONG[engine.NAME]:
        for data in reads:
            machine.feed(data)
        done += len(endless)
        most = max(most, environment.resident())
    assert machine.report.events == (case.events - 1) * (done // len(endless))
    return (most - start) / MIB


class Waiting:
    """A source whose first read is there, and whose other reads come once they may."""

    __slots__ = ("_may", "_reads", "_waits")

    def __init__(self, reads: Sequence[bytes], may: asyncio.Event) -> None:
        self._reads = iter(reads)
        self._may = may
        self._waits = False

    def __aiter__(self) -> Waiting:
        return self

    async def __anext__(self) -> bytes:
        if self._waits:
            await self._may.wait()
        self._waits = True
        data = next(self._reads, None)
        if data is None:
            raise StopAsyncIteration
        return _own(data)


def _own(data: bytes) -> bytes:
    """A read of its own for every stream, as from a socket."""
    return bytes(bytearray(data))


def _reads() -> list[bytes]:
    """A short stream, whose first read ends inside an event."""
    case = streams.make("rename", 100)
    first, *rest = cut(case, str(FIRST_READ))
    assert rest
    assert not first.endswith(case.separator)
    return [first, *rest]


def idle_feed(output: str, engine: Engine) -> float:
    """KiB for each of many normalisers."""
    first = _reads()[0]
    made = SSENormalizer if output == "bytes" else ChunkNormalizer
    held = []
    before = _settled()
    for _ in range(OPEN):
        machine = made(_engine_module=engine)
        machine.feed(_own(first))
        held.append(machine)
    return (_settled() - before) / OPEN / KIB


def idle_stream(output: str, engine: Engine) -> float:
    """KiB for each of many `normalize_stream`s."""
    first = _reads()[0]
    # How often a read gives: one piece of bytes, or its chunks.
    given = 1 if output == "bytes" else len(ChunkNormalizer(_engine_module=engine).feed(first))

    async def opened() -> float:
        never = asyncio.Event()
        sources = [Waiting([first], never) for _ in range(OPEN)]
        held: list[Any] = []
        before = _settled()
        for source in sources:
            stream = normalize_stream(source, _engine_module=engine)
            pieces = stream.sse() if output == "bytes" else stream
            for _ in range(given):
                await pieces.__anext__()
            held.append((stream, pieces))
        each = (_settled() - before) / OPEN / KIB
        for stream, _ in held:
            await stream.aclose()
        return each

    return asyncio.run(opened())


def _settled() -> int:
    gc.collect()
    return environment.resident()


def open_streams(output: str, engine: Engine) -> float:
    """How many of many streams that were open at once did not end well."""
    reads = _reads()
    case = streams.make("rename", 100)

    async def read(may: asyncio.Event, is_open: Callable[[], None]) -> bool:
        stream = normalize_stream(Waiting(reads, may), _engine_module=engine)
        pieces = stream.sse() if output == "bytes" else stream
        taken = 0
        try:
            async for piece in pieces:
                if not taken:
                    is_open()
                taken += len(piece) if output == "bytes" else 1
        except StreamFault:
            return False
        due = len(case.normal) if output == "bytes" else case.events
        return taken == due and stream.report.events == case.events

    async def all_at_once() -> int:
        may, opened = asyncio.Event(), 0

        def is_open() -> None:
            nonlocal opened
            opened += 1
            if opened == OPEN:
                may.set()

        ends = await asyncio.gather(*(read(may, is_open) for _ in range(OPEN)))
        return sum(not end for end in ends)

    return asyncio.run(all_at_once())


# All rows. -------------------------------------------------------------------------


def _growths() -> dict[str, Growth]:
    rows = [
        Growth(f"huge event: {output}", NO_ENGINE, functools.partial(held, output), math.inf, "×")
        for output in ("bytes", "chunks")
    ]
    for engine in ("rust", "python"):
        rows.append(Growth("long stream: bytes", engine, long_stream, 8, "MiB"))
        for output in ("bytes", "chunks"):
            bound = functools.partial
            rows += [
                Growth(f"huge event: {output}", engine, bound(huge_event, output), 1.3, "×"),
                Growth(f"idle feed: {output}", engine, bound(idle_feed, output), 8, "KiB"),
                Growth(f"idle stream: {output}", engine, bound(idle_stream, output), 8, "KiB"),
                Growth(f"open: {output}", engine, bound(open_streams, output), 0, "failed"),
            ]
    return {f"{row.name}, {row.engine}": row for row in sorted(rows, key=lambda row: row.name)}


GROWTHS: Final = _growths()


def in_fresh_process(name: str) -> float:
    """The figure of a row."""
    command = [sys.executable, "-m", "benches.growth", "--row", name]
    done = subprocess.run(
        command, env=environment.child(), check=True, stdout=subprocess.PIPE, text=True
    )
    return float(done.stdout)


def cells(name: str, row: Growth, figure: float) -> tuple[str, ...]:
    """The line of a row in the table."""
    if math.isinf(row.limit):
        return (name, f"{figure:.2f}", NONE, row.unit, NONE)
    verdict = "yes" if figure <= row.limit else "NO"
    return (name, f"{figure:.2f}", f"{row.limit:g}", row.unit, verdict)


def main(arguments: Sequence[str]) -> int:
    """Measure and print all rows, or one; return the exit code."""
    if arguments[:1] == ["--row"]:
        print(GROWTHS[arguments[1]].figure())
        return 0
    print(environment.described())
    table: list[tuple[str, ...]] = [("row", "figure", "limit", "unit", "within")]
    for name, row in GROWTHS.items():
        if not arguments or any(part in name for part in arguments):
            print(f"{name} ...", file=sys.stderr, flush=True)
            table.append(cells(name, row, in_fresh_process(name)))
    for line in aligned(table, left=1):
        print(line)
    return 1 if any(line[-1] == "NO" for line in table) else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
