"""What was found in a stream and what was done to it: nothing happens silently."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Report:
    """A snapshot of one stream's counters.

    The keys of the dicts are names of sources (`streamnorm.dialects.SOURCES`) where nothing
    else is said.

    Attributes:
        engine: ``rust`` or ``python``.
        dialect: Which row of the dialect table the stream fits, None while no reasoning
            text was seen.
        events: JSON objects seen.
        malformed: Events whose data was no JSON object, and broken frames that were dropped
            from an event that held others.
        declined: Events that the Rust engine handed to the reference engine.
        remaps: Deltas in which text moved, by ``source→target``.
        removed: Null and empty alias members that were removed; for ``tags``, deltas of
            which nothing but delimiters or white space was taken.
        mirrored: Deltas in which a source said the same as the one that came out.
        repeated: Deltas in which a source said again what had already come out.
        conflicts: Deltas in which a source said something else; it stays where it was.
        tags: Deltas with reasoning between delimiters, by name of the delimiters
            (`streamnorm.tag_table.TAGS`); ``prompt`` where the opener stood in the prompt.
        repairs: What was mended, by name: see `Options.repairs`, and ``content_list`` for a
            content that was a list of parts, ``whole_completion`` for an answer that was
            not streamed and became chunks, ``glued_events`` for an event that held several
            frames, or one broken frame and others.
        notices: What was noticed and left as it was sent: ``stop_beside_tool_calls`` for a
            finish_reason "stop" of a choice that has called tools.
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
    tags: dict[str, int] = field(default_factory=dict)
    repairs: dict[str, int] = field(default_factory=dict)
    notices: dict[str, int] = field(default_factory=dict)

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
        for name in (
            "remaps", "removed", "mirrored", "repeated", "conflicts", "tags", "repairs", "notices",
        ):  # fmt: skip
            counts = getattr(self, name)
            if counts:
                shown = ", ".join(f"{key} {count}" for key, count in counts.items())
                lines.append(f"{name}: {shown}")
        return "\n".join(lines)
