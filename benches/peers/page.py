"""The page docs/benchmarks.md, made of what was measured and nothing else."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from .added import WAYS, added_table
from .chart import LIGHT, THEMES, file_of
from .contenders import (
    ALSO_TOLD,
    CLIENTS,
    CONTENDERS,
    ENVIRONMENTS,
    NODE_PACKAGES,
    Contender,
)
from .judge import LOST
from .measure import PACED_RUNS
from .relay_table import leanest, relay_table
from .relays import RUNS as RELAY_RUNS
from .relays import STREAMS
from .results import Results
from .shapes import COUNT, PACED_COUNT, SHAPES, WRITES, chunk_size
from .tables import NOTHING, best, table, timed

# What the others are compared with.
REFERENCE: Final = "openai-python"

INTRODUCTION: Final = """\
This page is made by `make bench-peers` (the engines alone: by `make bench`) from what was
measured, and by nothing else. Trust the ratios within a table, not the figures: another machine
has others."""

HOW: Final = f"""\
Each client reads the same streams over HTTP/1.1 from an upstream on the same machine, which is a
program of its own. What is measured is the **processor time of the client's process** in the
user's and in the kernel's part, all its threads among it, from the moment when the response is
there to the end of its stream, divided by the chunks. (Only LangChain and `streamText` send the
request as a part of reading, so it is in their figures.) Waiting costs nothing then, but being
woken does.

Every client is the newest release that pip or npm could install, in an environment and a process
of its own; what is read through one HTTP client, with streamnorm and without, shares a process.
Before anything is timed every client reads every stream once, and its results are checked: all
chunks were seen, the answer's text is right, the reasoning is whole wherever it was found (or, as
the table says, lost), and where bytes come out, they are the right ones to the last. In each timed
run chunks, or bytes, are counted again.

The contenders take turns, in an order that changes with each run. Upstream and client share one
core, so nobody has to be woken on another one: that costs more than most of these figures, and
not always the same. Figures are **microseconds a chunk: the fastest run (the middle one)**.

A stream has {COUNT:,} chunks in one choice, and ends with `finish_reason` and `[DONE]`:"""

STREAMS_END: Final = "The upstream writes in one of these ways:"

EACH: Final = """\
What a busy gateway meets: many streams, each with one event at a time. The read itself, with its
way through the event loop, costs more than all that streamnorm does with it."""

OTHER_WAYS: Final = """\
Stream A. In a backlog the client is behind, and what it reads holds what has piled up; that is the
way of writing in which parsing counts most. Where the events come a millisecond apart, most of the
time goes into falling asleep and waking up."""

ADDED: Final = """\
What reading through streamnorm (Rust engine) costs on top of reading the bytes with the same HTTP
client in the same process, in microseconds a chunk and in percent; the fastest runs of both. The
bytes are read with `aiter_bytes()`, `iter_any()` and `read_chunk()`, as `normalize_stream` reads
them too. Less than nothing is possible: who takes longer over a chunk is woken less often. So it
is with pyreqwest in a backlog, whose bytes arrive from another thread."""

RELAYS: Final = f"""\
A relay reads stream A from the upstream, one event a read, and sends it on through an ASGI server
to a client that reads it at once; {STREAMS} streams at a time, {RELAY_RUNS} times. Measured is the
relay's process, request and response among it. The bytes that come out are checked as above. All
of them (upstream, relay and client) share one core. A server that takes its time lets events pile
up in the client: then it sends several at once, and each of them is cheaper."""

REPEAT: Final = """\
```console
$ make bench-peers                            # install the clients, measure, write this page
$ make bench-peers PEERS_ARGS=--no-install    # with the clients as they are
$ make bench-peers PEERS_ARGS='--only httpx'  # some, shown but not written
$ make bench && make bench-peers PEERS_ARGS=--render    # new figures in memory alone
```

It needs Linux: the upstream asks the kernel whether an event was taken. What is measured is in
[`benches/peers`](../benches/peers), the streams are made by
[`benches/streams.py`](../benches/streams.py)."""


def page(results: Results, in_memory: str) -> str:
    """The whole page.

    Args:
        results: What was measured over HTTP.
        in_memory: The part about the engines alone, with its marks.
    """
    parts = [
        "# Benchmarks",
        INTRODUCTION,
        "\n".join(f"- {name}: {value}" for name, value in results.about.items()),
        _picture(),
        "## How it is measured",
        HOW,
        _streams(),
        STREAMS_END,
        "\n".join(f"- **{name}**: {what}" for name, what in WRITES.items()),
        _runs(results),
        _per_read(results),
        "## One event a read",
        EACH,
        *_one_event_a_read(results),
        "## Backlog, 16 KiB writes, and a millisecond apart",
        OTHER_WAYS,
        _other_ways(results),
        "## Added by streamnorm",
        ADDED,
    ]
    for writes in WAYS:
        parts += [f"**{writes}**: {WRITES[writes].partition(':')[0]}", added_table(results, writes)]
    parts += ["## The leanest relay", leanest(results), RELAYS, relay_table(results)]
    parts += ["## In memory", in_memory]
    parts += ["## Versions", _versions(results)]
    if results.failed:
        parts += ["## What could not be measured", _failed(results)]
    parts += ["## To repeat it", REPEAT]
    return "\n\n".join(parts) + "\n"


def _picture() -> str:
    dark = next(theme for theme in THEMES if theme is not LIGHT)
    return (
        "<picture>\n"
        f'  <source media="(prefers-color-scheme: dark)" srcset="benchmarks/{file_of(dark)}">\n'
        f'  <img src="benchmarks/{file_of(LIGHT)}" width="760" '
        'alt="Processor time a chunk over HTTP, stream A, one event a read. The tables below '
        'have the figures.">\n'
        "</picture>"
    )


def _streams() -> str:
    return "\n".join(
        f"- **{name}**: {shape.what}; {chunk_size(name):.0f} bytes an event"
        for name, shape in SHAPES.items()
    )


def _runs(results: Results) -> str:
    often = max((len(row.times) for row in results.rows if "/" in row.name), default=0)
    others = results.row(REFERENCE, "A", "each")
    return (
        f"What is read through the same HTTP client, with streamnorm and without, was run {often} "
        f"times, the others {len(others.times) if others else 0} times among them; of the last "
        f"way all {PACED_RUNS} times, on {PACED_COUNT} chunks."
    )


def _per_read(results: Results) -> str:
    """How many events a read held, as a table: whether the ways of writing did what they say."""
    rows = []
    for client in CLIENTS:
        found = [results.row(f"{client}/bytes", "A", writes) for writes in WRITES]
        counts = [row.per_read if row else None for row in found]
        rows.append([client, *(f"{n:.1f}" if n is not None else NOTHING for n in counts)])
    return table(("events in a read, bytes alone", *WRITES), rows)


def _one_event_a_read(results: Results) -> Iterator[str]:
    reference = results.row(REFERENCE, "A", "each")
    head = ("", "over", "gives", "reasoning arrives in", "A", f"× {REFERENCE}", "B", "C")
    for title in dict.fromkeys(contender.group for contender in CONTENDERS):
        rows = []
        for contender in CONTENDERS:
            if contender.group != title:
                continue
            a = results.row(contender.probe, "A", "each")
            ratio = f"{a.best / reference.best:.2f}" if a and reference else NOTHING
            others = (best(results.row(contender.probe, shape, "each")) for shape in ("B", "C"))
            place = _place(results, contender)
            rows.append(
                [contender.name, contender.over, contender.gives, place, timed(a), ratio, *others]
            )
        yield f"### {title}"
        yield table(head, rows, left=4)


def _place(results: Results, contender: Contender) -> str:
    """Where the reasoning is, of stream A and where it differs of B."""
    if contender.floor:
        return "unread"
    if contender.gives == "bytes":
        return "the bytes, `reasoning_content`"
    rows = [results.row(contender.probe, shape, "each") for shape in ("A", "B")]
    places = [row.place.split(" and ") for row in rows if row]
    if not places:
        return NOTHING
    # What `reasoning_details` repeats is there in A alone.
    if len(places) == 2 and set(places[1]) - set(places[0]):
        return f"{_listed(places[0])}; B: {_listed(places[1])}"
    return _listed(places[0])


def _listed(places: Sequence[str]) -> str:
    return f"**{LOST}**" if list(places) == [LOST] else ", ".join(places)


def _other_ways(results: Results) -> str:
    ways = ("backlog", "16k", "paced")
    rows = []
    for contender in CONTENDERS:
        found = [results.row(contender.probe, "A", way) for way in ways]
        rows.append([contender.name, contender.over, contender.gives, *map(timed, found)])
    return table(("", "over", "gives", *ways), rows, left=3)


def _versions(results: Results) -> str:
    rows = []
    for environment, requirements in ENVIRONMENTS.items():
        found = results.versions.get(environment)
        if found is None:
            continue
        asked = [requirement.partition("[")[0] for requirement in requirements]
        names = [*asked, *sorted(ALSO_TOLD - {*asked}), *NODE_PACKAGES]
        told = [f"{name} {found[name.lower()]}" for name in names if name.lower() in found]
        rows.append([environment, ", ".join(told)])
    return table(("environment", "packages"), rows, left=2)


def _failed(results: Results) -> str:
    return "\n".join(f"- {name}: {why}" for name, why in results.failed.items())
