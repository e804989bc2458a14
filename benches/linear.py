"""Counts the instructions of one large event, which must grow as its bytes do.

    python -m benches.linear [--mib 64]

The event comes in reads of 1 KiB, and in larger ones. Where something were searched, copied or
counted again with every read, the count for each byte would grow with the event. Each count
is that of a fresh interpreter that feeds the reads, less that of one that only makes them.

The time of such an event grows faster than its bytes on most machines, whatever reads it: it
leaves the caches, and the system hands out memory for it page by page, each cleared first.
`growth.py` measures that, and how much of it everybody pays.

Exits with 1 if a MiB of the large event takes more than 1.3 times the instructions of one of
1 MiB.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from . import callgrind
from .growth import KIB, huge
from .targets import aligned

LIMIT: Final = 1.3
# In MiB. The pure engine is counted at this size as well, in about a minute.
LARGE: Final = 64
# Bytes of a read.
READS: Final = (KIB, 64 * KIB)
NORMALIZERS: Final = {"bytes": "SSENormalizer", "chunks": "ChunkNormalizer"}

# (The collector's runs depend on how many objects there were before.)
_CHILD: Final = """
import gc, sys
import streamnorm
from streamnorm import _engine
engine, name, path, read, feeds = sys.argv[1:]
made = getattr(streamnorm, name)
with open(path, "rb") as file:
    stream = file.read()
reads = [stream[at : at + int(read)] for at in range(0, len(stream), int(read))]
gc.disable()
machine = made(
    _engine_module=_engine.choose(engine), max_line_bytes=None, max_event_bytes=None
)
if int(feeds):
    for data in reads:
        machine.feed(data)
    machine.close()
"""


class Line(NamedTuple):
    """Instructions for each MiB of an event of 1 MiB, and of a large one."""

    engine: str
    output: str
    read: int
    small: float
    large: float

    @property
    def growth(self) -> float:
        """Of the large one, in multiples of the small one."""
        return self.large / self.small

    @property
    def is_straight(self) -> bool:
        """Whether it grows as the bytes do."""
        return self.growth <= LIMIT


def measure(large: int) -> Iterator[Line]:
    """Count all rows for an event of so many MiB, and for one of 1 MiB."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for size in (1, large):
            (folder / f"{size}.sse").write_bytes(huge(size))
        for engine in ("rust", "python"):
            for output in NORMALIZERS:
                for read in READS:
                    small, big = (
                        _count(engine, output, read, size, folder) / size for size in (1, large)
                    )
                    yield Line(engine, output, read, small, big)


def _count(engine: str, output: str, read: int, size: int, folder: Path) -> int:
    path = folder / f"{size}.sse"
    program = [_CHILD, engine, NORMALIZERS[output], str(path), str(read)]
    counter = callgrind.Counter(program, folder)
    counter.run("0")
    return counter.count("1") - counter.count("0")


def table(lines: Sequence[Line], large: int) -> Iterator[str]:
    """What is printed."""
    header = ("one event", "engine", "reads, KiB", "1 MiB", f"{large} MiB", "growth", "within")
    rows: list[tuple[str, ...]] = [header]
    for line in lines:
        counts = (f"{count / 2**20:.2f}" for count in (line.small, line.large))
        verdict = "yes" if line.is_straight else "NO"
        read = f"{line.read // KIB}"
        rows.append((line.output, line.engine, read, *counts, f"{line.growth:.2f}", verdict))
    yield from aligned(rows, left=2)
    yield "Instructions a byte, and how many times as many in the larger event."


def exit_code(lines: Sequence[Line]) -> int:
    """1 if one grows faster than the bytes; else 0."""
    return int(not all(line.is_straight for line in lines))


def main(arguments: Sequence[str]) -> int:
    """Count and print; return the exit code."""
    parser = argparse.ArgumentParser(prog="benches.linear")
    parser.add_argument("--mib", type=int, default=LARGE, help=f"of the event ({LARGE})")
    options = parser.parse_args(arguments)
    if options.mib < 2:
        parser.error("an event of fewer than 2 MiB shows no growth")
    if why := callgrind.missing():
        is_ci = bool(os.environ.get("CI"))
        print(f"{'' if is_ci else 'left out: '}{why}", file=sys.stderr)
        return int(is_ci)
    lines = [*measure(options.mib)]
    print("\n".join(table(lines, options.mib)))
    return exit_code(lines)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
