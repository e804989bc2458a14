"""Counts the processor's instructions for an event, and compares them with those recorded.

    python -m benches.instructions             # compare; what `make instructions` runs
    python -m benches.instructions --update    # record
    python -m benches.instructions --runs 3    # count so often, and print the spread

Valgrind's callgrind counts a fresh interpreter that takes ten streams and another that takes
twenty; the difference is ten without the start. That the machine is busy changes nothing,
so a few per cent mean something, but a compiler, an interpreter and a library of another
version count otherwise. Hence one record for each environment in `instructions.json`. Where
there is none for this one, the counts are printed and not judged; with ``CI`` set that fails,
since otherwise nothing would be checked there from then on.

Exits with 1 if a count grew by more than 5 %.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from . import callgrind, environment, streams
from .streams import Case
from .targets import aligned

RECORDS: Final = Path(__file__).with_name("instructions.json")
# By how much a count may grow.
TOLERANCE: Final = 0.05
READ: Final = 16384

# Streams of the shorter run. Not one: the interpreter adapts to the first.
STREAMS: Final = 10

# What the counts are of: the case, and the normaliser.
COUNTED: Final = {
    "bytes → bytes, one key renamed": ("rename", "SSENormalizer"),
    "bytes → bytes, nothing to do": ("nothing-to-do", "SSENormalizer"),
    "bytes → bytes, <think> tags": ("tags", "SSENormalizer"),
    "bytes → chunks, one key renamed": ("rename", "ChunkNormalizer"),
}
# Where one of these is another, the counts are others, without any change here.
KEY: Final = ("machine", "vectors", "python", "build", "rustc")
# These matter less: counts are compared all the same, and the difference is named.
NOTED: Final = ("orjson", "libc", "compiler", "valgrind")

# (The collector would run in one of two streams and not in the other.)
_CHILD: Final = """
import gc, sys
import streamnorm
from streamnorm import _engine
name, path, read, times = sys.argv[1:]
engine = _engine.choose("rust")
made = getattr(streamnorm, name)
with open(path, "rb") as file:
    stream = file.read()
reads = [stream[at : at + int(read)] for at in range(0, len(stream), int(read))]
gc.disable()
for _ in range(int(times)):
    machine = made(_engine_module=engine)
    for data in reads:
        machine.feed(data)
    machine.close()
"""

Environment = dict[str, str]
# Instructions an event, by a name of `COUNTED`.
Counts = dict[str, float]


class Record(NamedTuple):
    """Counts, and where they were taken."""

    environment: Environment
    counts: Counts


# Counting. -------------------------------------------------------------------------


def count() -> Counts:
    """Count all, some seconds each."""
    with tempfile.TemporaryDirectory() as folder:
        return {
            name: _count_one(streams.make(case), normalizer, Path(folder))
            for name, (case, normalizer) in COUNTED.items()
        }


def _count_one(case: Case, normalizer: str, folder: Path) -> float:
    path = folder / f"{case.name}.sse"
    path.write_bytes(case.stream)
    counter = callgrind.Counter([_CHILD, normalizer, str(path), str(READ)], folder)
    # Once without valgrind: what is compiled then is read from the cache in both runs.
    counter.run("1")
    few, many = (counter.count(str(times)) for times in (STREAMS, 2 * STREAMS))
    return round((many - few) / STREAMS / case.events, 1)


def here() -> Environment:
    """What the counts depend on, of this process."""
    return {
        "machine": platform.machine(),
        "vectors": "avx2" if environment.has_avx2() else "none",
        "python": environment.interpreter(),
        "build": environment.build(),
        "rustc": rustc(callgrind.extension().read_bytes(), callgrind.said("rustc", "-vV")),
        "orjson": environment.version("orjson"),
        "libc": " ".join(platform.libc_ver()),
        "compiler": platform.python_compiler(),
        "valgrind": callgrind.said("valgrind", "--version").strip(),
    }


def rustc(extension: bytes, said: str) -> str:
    """The version of the compiler that made the extension, or else its commit.

    Args:
        extension: The file. It holds paths of the standard library's sources, with the
            commit of the compiler that it belongs to.
        said: What ``rustc -vV`` prints; empty where there is none.
    """
    facts = dict(line.split(": ", 1) for line in said.splitlines() if ": " in line)
    commit = re.search(rb"/rustc/([0-9a-f]{40})/", extension)
    if commit and commit[1].decode() != facts.get("commit-hash"):
        return f"commit {commit[1][:9].decode()}"
    return facts.get("release", "unknown")


# Comparing. ------------------------------------------------------------------------


def differing(one: Mapping[str, str], other: Mapping[str, str]) -> list[str]:
    """The names under which two environments differ, the important ones first."""
    return [name for name in (*KEY, *NOTED) if one.get(name) != other.get(name)]


def closest(found: Environment, records: Sequence[Record]) -> Record | None:
    """The record to compare with: the one that differs least, in what is important first."""

    def distance(record: Record) -> tuple[int, int]:
        names = differing(found, record.environment)
        return sum(name in KEY for name in names), len(names)

    return min(records, key=distance, default=None)


def is_recorded(found: Environment, record: Record | None) -> bool:
    """Whether counts of this environment can be judged by the record."""
    return record is not None and not set(differing(found, record.environment)) & set(KEY)


def grown(counts: Counts, recorded: Counts) -> list[str]:
    """The names of those that grew by more than the tolerance."""
    return [
        name
        for name, value in counts.items()
        if name in recorded and value > recorded[name] * (1 + TOLERANCE)
    ]


def report(counts: Counts, found: Environment, record: Record | None) -> Iterator[str]:
    """What is printed about a comparison."""
    recorded = record.counts if record else {}
    table = [("instructions an event", "counted", "recorded", "change")]
    for name, value in counts.items():
        was = recorded.get(name)
        change = f"{value / was - 1:+.1%}" if was else "–"
        table.append((name, f"{value:,.1f}", f"{was:,.1f}" if was else "–", change))
    yield from aligned(table, left=1)
    for name in differing(found, record.environment) if record else ():
        assert record
        yield f"{name}: here {found[name]}, recorded with {record.environment.get(name)}"
    if not is_recorded(found, record):
        yield (
            "Not judged: nothing is recorded for this environment. To judge a change here, run "
            "`make instructions-update` without it and `make instructions` with it. Where CI "
            "says this, its machine changed: record it there and commit the file."
        )
        return
    more = grown(counts, recorded)
    for name in more:
        yield f"grew by more than {TOLERANCE:.0%}: {name}"
    if more:
        yield "If that is meant, `make instructions-update` records it."
    elif any(value < recorded.get(name, 0) * (1 - TOLERANCE) for name, value in counts.items()):
        yield "Some shrank: `make instructions-update`, so that they do not grow back unseen."
    if set(counts) != set(recorded):
        yield "Not all of them are recorded: `make instructions-update`."


def exit_code(counts: Counts, found: Environment, record: Record | None, *, is_ci: bool) -> int:
    """1 if a count grew too much, or in CI if it cannot be told; else 0."""
    if record is None or not is_recorded(found, record) or not set(counts) <= set(record.counts):
        return int(is_ci)
    return int(bool(grown(counts, record.counts)))


# Records. --------------------------------------------------------------------------


def load(path: Path) -> list[Record]:
    """What is recorded; nothing where there is no file."""
    if not path.exists():
        return []
    return [Record(row["environment"], row["counts"]) for row in json.loads(path.read_bytes())]


def updated(counts: Counts, found: Environment, records: Sequence[Record]) -> list[Record]:
    """The records with these counts, in place of those of the same environment."""
    others = [record for record in records if not is_recorded(found, record)]
    return sorted([*others, Record(found, counts)], key=lambda record: [*record[0].values()])


def save(records: Sequence[Record], path: Path) -> None:
    """Write the file."""
    rows = [record._asdict() for record in records]
    path.write_text(json.dumps(rows, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def spread(runs: Sequence[Counts]) -> Iterator[str]:
    """What is printed of several countings."""
    table = [("instructions an event", "least", "most", "spread")]
    for name in runs[0]:
        values = [run[name] for run in runs]
        least, most = min(values), max(values)
        table.append((name, f"{least:,.1f}", f"{most:,.1f}", f"{most / least - 1:.3%}"))
    yield from aligned(table, left=1)


def main(arguments: Sequence[str]) -> int:
    """Count, and compare or record; return the exit code."""
    parser = argparse.ArgumentParser(prog="benches.instructions")
    parser.add_argument("--update", action="store_true", help="record the counts")
    parser.add_argument("--runs", type=int, default=1, help="print the spread of so many")
    options = parser.parse_args(arguments)
    is_ci = bool(os.environ.get("CI"))
    if why := callgrind.missing():
        print(f"{'' if is_ci or options.update else 'left out: '}{why}", file=sys.stderr)
        return int(is_ci or options.update)
    runs: list[Any] = [count() for _ in range(options.runs)]
    found, counts, records = here(), runs[0], load(RECORDS)
    lines = [*spread(runs)] if options.runs > 1 else []
    record = closest(found, records)
    print("\n".join([*lines, *report(counts, found, record)]))
    if options.update:
        save(updated(counts, found, records), RECORDS)
        print(f"recorded in {RECORDS.name}")
        return 0
    return exit_code(counts, found, record, is_ci=is_ci)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
