"""What was found in a stream and what was done to it: nothing happens silently."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Report:
    """A snapshot of one stream's counters. All keys of the dicts are names of sources.

    Attributes:
        engine: ``rust`` or ``python``.
        dialect: Which row of the dialect table the stream fits, None while no reasoning
            text was seen.
        events: JSON objects seen.
        malformed: Events whose data was no JSON object.
        declined: Events that the Rust engine handed to the reference engine.
        remaps: Deltas in which text moved, by ``source→target``.
        removed: Null and empty alias members that were removed.
        mirrored: Deltas in which a source said the same as the one that came out.
        repeated: Deltas in which a source said again what had already come out.
        conflicts: Deltas in which a source said something else; it stays where it was.
    """

    engine: str
    dialect: str | None = None
    events: int = 0
    malformed: int = 0
    declined: int = 0
    remaps: dict[str, int] = field(default_factory=dict)
    removed: dict[str, int] = field(default_factory=dict)
    mirrored: dict[str, int] = field(default_factory=dict)
    repeated: dict[str, int] = field(default_factory=dict)
    conflicts: dict[str, int] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """The report as plain values, for logs and JSON."""
        return asdict(self)

    def __str__(self) -> str:
        lines = [
            f"engine: {self.engine}",
            f"dialect: {self.dialect or 'no reasoning text seen'}",
            f"events: {self.events}",
        ]
        for name in ("malformed", "declined"):
            if getattr(self, name):
                lines.append(f"{name}: {getattr(self, name)}")
        for name in ("remaps", "removed", "mirrored", "repeated", "conflicts"):
            counts = getattr(self, name)
            if counts:
                shown = ", ".join(f"{key} {count}" for key, count in counts.items())
                lines.append(f"{name}: {shown}")
        return "\n".join(lines)
