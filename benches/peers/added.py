"""What streamnorm adds to reading the bytes, and whether that is as little as it should be."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

from .contenders import BY_PROBE, CLIENTS
from .measure import PLAN
from .results import Results, Row
from .tables import NOTHING, best, micros, table

# At most so many percent on top of the bytes, by HTTP client and by what comes out.
TARGETS: Final = {
    ("httpx", "bytes"): 10,
    ("httpx", "dicts"): 20,
    ("aiohttp", "bytes"): 25,
    ("aiohttp", "dicts"): 60,
}
OUTPUTS: Final = ("feed", "relay", "sse", "dicts")
WAYS: Final = ("each", "backlog")


class Added(NamedTuple):
    """One output of one client, and the bytes alone, of one stream.

    Attributes:
        target: Percent that it may add, None where none was set.
    """

    shape: str
    row: Row
    floor: Row
    target: int | None

    @property
    def share(self) -> float:
        """Percent on top of the floor."""
        return self.row.best * 100 / self.floor.best - 100

    @property
    def is_reached(self) -> bool:
        """Whether it is as little as it should be."""
        return self.target is not None and self.share <= self.target


def added(results: Results, client: str, output: str, writes: str) -> list[Added]:
    """That output on each stream that was measured."""
    probe = f"{client}/{output}"
    target = TARGETS.get((client, BY_PROBE[probe].gives))
    pairs = (
        (shape, results.row(probe, shape, writes), results.row(f"{client}/bytes", shape, writes))
        for shape in PLAN[writes]
    )
    return [Added(shape, row, floor, target) for shape, row, floor in pairs if row and floor]


def added_table(results: Results, writes: str) -> str:
    """The table for one way of writing."""
    shapes = PLAN[writes]
    head = ["client", "read through", "bytes alone (A)", *shapes, "at most", ""]
    return table(head, [*_rows(results, writes)], left=2)


def _rows(results: Results, writes: str) -> Iterator[list[str]]:
    for client in CLIENTS:
        for output in OUTPUTS:
            if f"{client}/{output}" not in BY_PROBE:
                continue
            found = {one.shape: one for one in added(results, client, output, writes)}
            if not found:
                continue
            first = next(iter(found.values()))
            yield [
                client,
                BY_PROBE[f"{client}/{output}"].name.removesuffix(", Rust"),
                best(first.floor),
                *(_cell(found.get(shape)) for shape in PLAN[writes]),
                NOTHING if first.target is None else f"{first.target} %",
                _verdict([*found.values()]),
            ]


def _cell(one: Added | None) -> str:
    if one is None:
        return NOTHING
    more = one.row.best - one.floor.best
    sign = "−" if more < 0 else "+"
    return f"{sign}{micros(abs(more))} ({one.share:+.0f} %)".replace("-", "−")


def _verdict(found: list[Added]) -> str:
    if found[0].target is None:
        return ""
    missed = [one.shape for one in found if not one.is_reached]
    if not missed:
        return "reached"
    return "missed" if len(missed) == len(found) else f"missed on {', '.join(missed)}"
