"""Prints what a benchmark run measured: µs an event, MB/s, and ratios within the run.

    python -m benches.summary FILE [PART ...]

FILE is what ``--benchmark-json`` wrote; with PART, only cases whose name holds one of them.
The last table is of the rows that have a target.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from .readers import R
from .targets import ORJSON, WORKS, Result, Work, aligned, table

# The reference rows, with the read that they are looked up with (none: that of the row). A
# ratio of 2 means twice as fast as that reader of the same case.
REFERENCES: Final = {R: "", "split + json": "whole", ORJSON: "whole"}
_HEAD: Final = ("work", "who", "read", "µs/event", "MB/s", "median/min", *REFERENCES)


class Timing(NamedTuple):
    """One row of a run; seconds are of its fastest and its middle round."""

    case: str
    work: str
    who: str
    read: str
    events: int
    size: int
    best: float
    median: float

    @property
    def per_byte(self) -> float:
        """Seconds a byte: streams of one case can differ in length, this does not."""
        return self.best / self.size

    @property
    def micros(self) -> float:
        """Microseconds an event."""
        return self.best / self.events * 1e6


def load(report: dict[str, Any]) -> list[Timing]:
    """The timings in a report of pytest-benchmark; rows that are not ours are left out."""
    timings = []
    for row in report["benchmarks"]:
        info, stats = row["extra_info"], row["stats"]
        if info.get("correct"):
            timings.append(
                Timing(
                    info["case"],
                    info["work"],
                    info["who"],
                    info["read"],
                    info["events"],
                    info["bytes"],
                    stats["min"] / info["times"],
                    stats["median"] / info["times"],
                )
            )
    return timings


def summary(report: dict[str, Any], parts: Sequence[str] = ()) -> Iterator[str]:
    """The lines of the summary."""
    yield report["machine_info"]["described"]
    timings = load(report)
    by_name = {(timing.case, timing.who, timing.read): timing for timing in timings}
    for case in dict.fromkeys(timing.case for timing in timings):
        if parts and not any(part in case for part in parts):
            continue
        rows = [timing for timing in timings if timing.case == case]
        largest = max(rows, key=lambda timing: timing.size)
        yield ""
        yield f"{case}: {largest.events:,} events, {largest.size:,} bytes"
        yield from aligned([_HEAD, *(_cells(timing, by_name) for timing in rows)], left=3)
    yield ""
    yield (
        "Times are of the fastest round. The last columns tell how many times as fast a row is "
        "as that reader. median/min far from 1 means that the machine was busy: run again."
    )
    yield ""
    yield "The rows that have a target; `make bench-gate` measures them in pairs:"
    yield from table(judged(timings))


def judged(timings: Sequence[Timing]) -> Iterator[Result]:
    """The rows that have a target, of one run; one that was not run has no figures."""
    by_work = {(row.case, row.work, row.who, row.read): row for row in timings}
    by_reader = {(row.case, row.who, row.read): row for row in timings}
    for work in WORKS:
        reference = by_reader.get((work.case, work.against, work.against_read or work.read))
        for engine in work.goals:
            yield _result(work, engine, by_work.get((*work[1:3], engine, work.read)), reference)


def _result(work: Work, engine: str, timing: Timing | None, reference: Timing | None) -> Result:
    if timing is None or reference is None:
        return Result(work, engine)
    ratio = work.ratio(timing.per_byte, reference.per_byte)
    return Result(work, engine, timing.micros, reference.micros, ratio)


def _cells(timing: Timing, by_name: dict[tuple[str, str, str], Timing]) -> tuple[str, ...]:
    ratios = []
    for name, read in REFERENCES.items():
        reference = by_name.get((timing.case, name, read or timing.read))
        ratios.append(f"{reference.per_byte / timing.per_byte:.2f}" if reference else "–")
    return (
        timing.work,
        timing.who,
        timing.read,
        f"{timing.micros:.3f}",
        f"{1e-6 / timing.per_byte:.0f}",
        f"{timing.median / timing.best:.2f}",
        *ratios,
    )


def main(arguments: Sequence[str]) -> int:
    """Print the summary of a report; return the exit code."""
    if not arguments:
        print(__doc__, file=sys.stderr)
        return 2
    report = json.loads(Path(arguments[0]).read_bytes())
    for line in summary(report, arguments[1:]):
        print(line)
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
