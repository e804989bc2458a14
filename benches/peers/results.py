"""What a run found, as it is stored: plain JSON, from which the page is made."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass
class Row:
    """One contender on one stream written in one way; times are µs a chunk.

    Attributes:
        name: `Contender.probe`, or the name of a relay.
        shape: A name of `shapes.SHAPES`.
        writes: A name of `shapes.WRITES`.
        per_read: Events in a read, of those that only read bytes, or in what a relay sends at a
            time; else None.
        place: Where the reasoning was found; ``lost`` where it was not, empty where the stream
            has none or only bytes were read.
        times: The runs.
    """

    name: str
    shape: str
    writes: str
    per_read: float | None = None
    place: str = ""
    times: list[float] = field(default_factory=list)

    @property
    def best(self) -> float:
        return min(self.times)

    @property
    def median(self) -> float:
        return statistics.median(self.times)


@dataclass
class Results:
    """A whole run.

    Attributes:
        about: Date, machine and interpreter, by what they are called on the page.
        versions: What was installed, by environment and package.
        rows: The clients.
        relays: The relays.
        failed: What could not be measured, and why, by name.
    """

    about: dict[str, str]
    versions: dict[str, dict[str, str]]
    rows: list[Row]
    relays: list[Row]
    failed: dict[str, str] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, stored: dict[str, Any]) -> Results:
        rows, relays = ([Row(**row) for row in stored[name]] for name in ("rows", "relays"))
        return cls(**{**stored, "rows": rows, "relays": relays})

    def row(self, name: str, shape: str, writes: str) -> Row | None:
        """That row, if it was measured."""
        return find(self.rows, name, shape, writes)


def find(rows: Sequence[Row], name: str, shape: str, writes: str) -> Row | None:
    """The row of that name, stream and way of writing."""
    wanted = (name, shape, writes)
    return next((row for row in rows if (row.name, row.shape, row.writes) == wanted), None)
