"""Prints what a benchmark run measured: µs an event, MB/s, and ratios within the run.

    python benches/summary.py FILE [PART ...]

FILE is what ``--benchmark-json`` wrote; with PART, only cases whose name holds one of them.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

# The reference rows: a ratio of 2 means twice as fast as that reader of the same case.
REFERENCES: Final = ("split + json", "split + orjson")
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
                    stats["min"],
                    stats["median"],
                )
            )
    return timings


def summary(report: dict[str, Any], parts: Sequence[str] = ()) -> Iterator[str]:
    """The lines of the summary."""
    machine = report["machine_info"]
    build = "with" if machine.get("profile_guided") else "without"
    yield (
        f"{machine['python_implementation']} {machine['python_version']} "
        f"{build} profile-guided optimisation, {machine['machine']}"
    )
    timings = load(report)
    for case in dict.fromkeys(timing.case for timing in timings):
        if parts and not any(part in case for part in parts):
            continue
        rows = [timing for timing in timings if timing.case == case]
        largest = max(rows, key=lambda timing: timing.size)
        yield ""
        yield f"{case}: {largest.events:,} events, {largest.size:,} bytes"
        references = {timing.who: timing for timing in rows}
        yield from _aligned([_HEAD, *(_cells(timing, references) for timing in rows)])
    yield ""
    yield (
        "Times are of the fastest round. The last columns tell how many times as fast a row is "
        "as that reader. median/min far from 1 means that the machine was busy: run again."
    )


def _cells(timing: Timing, references: dict[str, Timing]) -> tuple[str, ...]:
    ratios = []
    for name in REFERENCES:
        reference = references.get(name)
        ratios.append(f"{reference.per_byte / timing.per_byte:.2f}" if reference else "–")
    return (
        timing.work,
        timing.who,
        timing.read,
        f"{timing.best / timing.events * 1e6:.2f}",
        f"{1e-6 / timing.per_byte:.0f}",
        f"{timing.median / timing.best:.2f}",
        *ratios,
    )


def _aligned(table: Sequence[Sequence[str]]) -> Iterator[str]:
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    for row in table:
        left = [cell.ljust(width) for cell, width in zip(row[:3], widths[:3], strict=True)]
        right = [cell.rjust(width) for cell, width in zip(row[3:], widths[3:], strict=True)]
        yield "  " + "  ".join(left + right)


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
