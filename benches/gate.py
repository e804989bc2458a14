"""Measures the rows that have a target, in pairs with what each is compared with.

    python -m benches.gate [--pairs N] [PART ...]

A pair is a run of the row and one of its reference, one right after the other; a run is as
many whole streams as take 20 ms of processor time. The garbage collector runs before each and
not in it. The ratio of a row is the median of the ratios of its pairs, so that what slows the
machine for a while slows both sides of a pair. With PART, only rows whose name holds one.

Exits with 1 if a row is below its target, with 2 if one could not be measured.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from math import ceil
from typing import Final, NamedTuple

from streamnorm import ChunkNormalizer, SSENormalizer, _engine
from streamnorm._engine import Engine

from . import environment, streams
from .floor import COUNTS, RENAMES, NoCompiler
from .floor import load as load_floor
from .readers import (
    R_ASYNC,
    NoReference,
    R,
    Reads,
    Run,
    collect,
    count_with,
    cut,
    normalise,
    normalise_async,
    openai_decoder,
    pieces,
    read_by_hand,
    read_with_openai,
    read_with_openai_async,
    rename_with,
)
from .streams import Case
from .targets import ASYNC_CHUNKS, BYTES, ORJSON, WORKS, Result, Work, table

PAIRS: Final = 21
FEWEST_PAIRS: Final = 15
# A run is this long at least, in seconds: far above what the clock and a call cost.
LONG_ENOUGH: Final = 0.02


class NotMeasured(Exception):
    """A row cannot be measured here; the message says why."""


class Pair(NamedTuple):
    """Two runs in turn, in seconds a stream: of a row, and of what it is compared with."""

    own: float
    reference: float


def judge(work: Work, engine: str, events: int, pairs: Sequence[Pair]) -> Result:
    """The median of the pairs' ratios, and of the times.

    Args:
        work: The row.
        engine: Which engine ran.
        events: How many a stream has.
        pairs: What was measured.
    """
    return Result(
        work,
        engine,
        statistics.median(pair.own for pair in pairs) / events * 1e6,
        statistics.median(pair.reference for pair in pairs) / events * 1e6,
        statistics.median(work.ratio(*pair) for pair in pairs),
    )


def exit_code(results: Sequence[Result]) -> int:
    """1 if a row is below its target, else 2 if one was not measured, else 0."""
    measured = [result for result in results if result.ratio is not None]
    if not all(result.is_reached for result in measured):
        return 1
    return 0 if measured and len(measured) == len(results) else 2


def paired(own: Callable[[], None], reference: Callable[[], None], count: int) -> Iterator[Pair]:
    """Run both in turn, now this one first and now the other."""
    own_times, reference_times = streams_a_run(own), streams_a_run(reference)
    for n in range(count):
        if n % 2:
            second = timed(reference, reference_times)
            yield Pair(timed(own, own_times), second)
        else:
            yield Pair(timed(own, own_times), timed(reference, reference_times))


def streams_a_run(run: Callable[[], None]) -> int:
    """How many streams a run must be, to be long enough."""
    timed(run, 1)
    # The second: in the first the interpreter still adapts.
    return max(1, ceil(LONG_ENOUGH / max(timed(run, 1), 1e-9)))


def timed(run: Callable[[], None], times: int) -> float:
    """Seconds of processor time a stream."""
    gc.collect()
    gc.disable()
    try:
        start = time.process_time()
        for _ in range(times):
            run()
        return (time.process_time() - start) / times
    finally:
        gc.enable()


def run_of(work: Work, engine: Engine, case: Case, loop: asyncio.AbstractEventLoop) -> Run:
    """The row on that engine, after one run whose result was compared."""
    reads = cut(case, work.read)
    if work.work == ASYNC_CHUNKS:

        async def kept() -> list[object]:
            return [piece async for piece in pieces(engine, "chunks", reads)]

        _check(work, engine, len(loop.run_until_complete(kept())) == case.events)
        return normalise_async(engine, "chunks", loop)
    if work.work == BYTES:
        out = b"".join(collect(SSENormalizer(_engine_module=engine), reads))
        _check(work, engine, out == case.normal)
        return normalise(engine, "bytes")
    chunks = collect(ChunkNormalizer(_engine_module=engine), reads)
    _check(work, engine, sum(map(len, chunks)) == case.events)
    return normalise(engine, "chunks")


def _check(work: Work, engine: Engine, is_right: bool) -> None:
    if not is_right:
        raise AssertionError(f"{work.name}, {engine.NAME}: the result is wrong")


def reference_of(work: Work, case: Case, loop: asyncio.AbstractEventLoop) -> Run:
    """What the row is compared with.

    Raises:
        NotMeasured: It is not installed, or there is no compiler.
    """
    try:
        if work.against == R:
            return read_with_openai(openai_decoder())
        if work.against == R_ASYNC:
            return read_with_openai_async(openai_decoder(), loop)
        if work.against == COUNTS:
            return count_with(load_floor())
        if work.against == RENAMES:
            return rename_with(load_floor(), case)
    except (NoReference, NoCompiler) as error:
        raise NotMeasured(str(error)) from error
    if environment.version("orjson") == "none":
        raise NotMeasured(f"{ORJSON}: orjson is not installed (extra `fast`)")
    from orjson import loads

    return read_by_hand(case.separator, loads)


def measure_or_say(work: Work, engine: str, pairs: int) -> tuple[Result, list[str]]:
    """One row on one engine, or why it could not be measured."""
    loop = asyncio.new_event_loop()
    try:
        return measure(work, engine, pairs, loop), []
    except NotMeasured as error:
        return Result(work, engine), [f"not measured: {error}"]
    finally:
        loop.close()


def measure(work: Work, engine: str, pairs: int, loop: asyncio.AbstractEventLoop) -> Result:
    """One row on one engine.

    Raises:
        NotMeasured: The engine or the reference is not there.
    """
    case = streams.make(work.case)
    try:
        chosen = _engine.choose(engine)
    except ImportError as error:
        raise NotMeasured(str(error)) from error
    reference = reference_of(work, case, loop)
    run = run_of(work, chosen, case, loop)
    own_reads, reference_reads = (
        cut(case, read) for read in (work.read, work.against_read or work.read)
    )
    measured = paired(_bound(run, own_reads), _bound(reference, reference_reads), pairs)
    return judge(work, engine, case.events, [*measured])


def _bound(run: Run, reads: Reads) -> Callable[[], None]:
    return lambda: run(reads)


def main(arguments: Sequence[str]) -> int:
    """Measure, print the table; return the exit code."""
    parser = argparse.ArgumentParser(prog="benches.gate", description="Ratios in pairs.")
    parser.add_argument("--pairs", type=int, default=PAIRS, help=f"of each row ({PAIRS})")
    parser.add_argument("parts", nargs="*", metavar="PART", help="a part of a row's name")
    options = parser.parse_args(arguments)
    if options.pairs < FEWEST_PAIRS:
        parser.error(f"a median of fewer than {FEWEST_PAIRS} pairs is not to be trusted")
    print(environment.described())
    if environment.is_older_than_targets():
        print("The targets are meant for CPython >= 3.12: judge by such a run.")
    results, reasons = [], []
    for work in WORKS:
        if not options.parts or any(part in work.name for part in options.parts):
            for engine in work.goals:
                result, reason = measure_or_say(work, engine, options.pairs)
                results.append(result)
                reasons += reason
    for line in [*table(results), *dict.fromkeys(reasons)]:
        print(line)
    return exit_code(results)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
