"""The rows that have a target, and how a measured row is judged and printed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Final, NamedTuple

from .floor import COUNTS, RENAMES
from .readers import R_ASYNC, R

BYTES: Final = "bytes → bytes"
CHUNKS: Final = "bytes → chunks"
ASYNC_BYTES: Final = "async for: bytes → bytes"
ASYNC_CHUNKS: Final = "async for: bytes → chunks"
ORJSON: Final = "split + orjson"
# In a cell of a table.
NONE: Final = "–"


class Goal(NamedTuple):
    """What a ratio must reach.

    Attributes:
        target: The ratio that is required, None where the row is only to be compared.
        aim: The one that is hoped for, None where none was set.
    """

    target: float | None
    aim: float | None = None


class Work(NamedTuple):
    """A row of the table, for both engines.

    Attributes:
        name: What is asked of the reader, in words.
        case: The stream; see `streams.CASES`.
        work: What is done with it, as in the rows of the suite.
        read: The size of a read.
        goals: By engine; an engine without one is not asked.
        against: The reader that it is compared with.
        against_read: What that one is given, where it is not the same.
        is_cost: The ratio is that of the times, which must not pass the target. Otherwise it
            tells how many times as fast the engine is, and must reach the target.
    """

    name: str
    case: str
    work: str
    read: str
    goals: dict[str, Goal]
    against: str = R
    against_read: str = ""
    is_cost: bool = False

    def ratio(self, seconds: float, reference: float) -> float:
        """What is judged, of two times for the same events."""
        return seconds / reference if self.is_cost else reference / seconds

    def reached(self, ratio: float, goal: float) -> bool:
        """Whether a ratio is as good as that."""
        return ratio <= goal if self.is_cost else ratio >= goal


_BOTH: Final = {"rust": Goal(5), "python": Goal(1.2)}

WORKS: Final = (
    Work(
        "one key renamed", "rename", BYTES, "16384", {"rust": Goal(40, 80), "python": Goal(2)}
    ),
    Work(
        "nothing to do", "nothing-to-do", BYTES, "16384",
        {"rust": Goal(80, 150), "python": Goal(4)},
    ),
    Work(
        "chunks", "rename", CHUNKS, "16384", {"rust": Goal(8, 15), "python": Goal(1.5)}
    ),
    Work("chunks, ahead of orjson", "rename", CHUNKS, "16384", {"rust": Goal(1)}, ORJSON),
    Work("<think> tags", "tags", BYTES, "16384", {"rust": Goal(25), "python": Goal(1)}),
    Work("async for, one event a read", "rename", ASYNC_CHUNKS, "event", _BOTH),
    # Not a target of its own, and easier: R's asynchronous form is slower than R.
    Work("the same against R async", "rename", ASYNC_CHUNKS, "event", _BOTH, R_ASYNC),
    Work("7-byte reads", "rename", BYTES, "7", {"rust": Goal(8), "python": Goal(1)}),
    # The floors have the whole stream, and so no calls to pay. The first writes the bytes out,
    # as whoever gives bytes must; the second makes nothing, so that nobody can come near it.
    Work(
        "4 KiB texts, × the floor", "4KiB-text", BYTES, "16384", {"rust": Goal(4)},
        RENAMES, against_read="whole", is_cost=True,
    ),
    Work(
        "the same × a floor that writes nothing", "4KiB-text", BYTES, "16384",
        {"rust": Goal(None)}, COUNTS, against_read="whole", is_cost=True,
    ),
)  # fmt: skip

_HEAD: Final = (
    "work", "engine", "against", "µs/event", "reference", "ratio", "target", "aim", "reached"
)  # fmt: skip


class Result(NamedTuple):
    """A row that was measured; microseconds an event, None where it was not."""

    work: Work
    engine: str
    micros: float | None = None
    reference: float | None = None
    ratio: float | None = None

    @property
    def goal(self) -> Goal:
        """What is asked of this engine."""
        return self.work.goals[self.engine]

    @property
    def is_reached(self) -> bool:
        """Whether the target is, if there is one; never by a row that was not measured."""
        target = self.goal.target
        return self.ratio is not None and (target is None or self.work.reached(self.ratio, target))

    @property
    def asked(self) -> str:
        """The target, in words."""
        if self.goal.target is None:
            return NONE
        return f"{'≤' if self.work.is_cost else '≥'} {self.goal.target:g}"

    @property
    def verdict(self) -> str:
        """``aim``, ``yes``, ``NO``, a dash without a target, or that it was not measured."""
        if self.ratio is None:
            return "not measured"
        if self.goal.target is None:
            return NONE
        aim = self.goal.aim
        if aim is not None and self.work.reached(self.ratio, aim):
            return "aim"
        return "yes" if self.is_reached else "NO"


def table(results: Iterable[Result]) -> Iterator[str]:
    """The lines of the table of the rows that have a target."""
    yield from aligned([_HEAD, *map(_cells, results)], left=3)


def _cells(result: Result) -> tuple[str, ...]:
    work, goal = result.work, result.goal
    return (
        work.name,
        result.engine,
        work.against,
        _number(result.micros, 3),
        _number(result.reference, 3),
        _number(result.ratio, 2),
        result.asked,
        NONE if goal.aim is None else f"{goal.aim:g}",
        result.verdict,
    )


def _number(value: float | None, digits: int) -> str:
    return NONE if value is None else f"{value:.{digits}f}"


def aligned(rows: Sequence[Sequence[str]], left: int) -> Iterator[str]:
    """The rows as lines, the first *left* columns aligned left, the rest right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = [
            cell.ljust(width) if at < left else cell.rjust(width)
            for at, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        yield ("  " + "  ".join(cells)).rstrip()
