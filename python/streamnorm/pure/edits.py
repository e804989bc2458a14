"""What the rules answer with: changes of members, and counts of what was done."""

from __future__ import annotations

from typing import Any, Final, Literal, NamedTuple

from .tool_calls import ToolEdit


class Edit(NamedTuple):
    """A change of one member of a delta.

    Attributes:
        op: ``rename`` the member to *name*; ``set`` its value; ``insert`` a member *name*
            before it; ``drop`` it; ``parts``: insert a member *name* before it that holds
            its items at *positions*; ``prepend`` a member *name* to the delta.
        key: The member; ``""`` for ``prepend``.
        name: The new name, for ``rename``, ``insert``, ``parts`` and ``prepend``.
        text: The new string value, for ``set``, ``insert`` and ``prepend``; None copies the
            value of the member *source* as it stands.
        source: See *text*.
        positions: See *op*.
    """

    op: Literal["rename", "set", "insert", "drop", "parts", "prepend"]
    key: str
    name: str = ""
    text: str | None = None
    source: str = ""
    positions: tuple[int, ...] = ()


class Decision(NamedTuple):
    """What becomes of one delta.

    Attributes:
        edits: Of its members; none for most deltas. Each names a member as it was sent.
        calls: Of the items of its ``tool_calls``.
        is_visible: It shows the user something: answer text or a tool call.
    """

    edits: list[Edit]
    calls: list[ToolEdit]
    is_visible: bool


NOTHING: Final = Decision([], [], False)
VISIBLE: Final = Decision([], [], True)


# What is counted: names in a report's words; `families` by tag family (-1 where the prompt
# opened it), `repairs` and `notices` by name, the others by the index of the source.
Counted = Literal[
    "remaps", "removed", "mirrored", "families", "repeated", "conflicts", "repairs", "notices"
]


class Tally:
    """Counts of what was done.

    Attributes:
        carried: Sources that gave text, a bit for each.
        counts: By what is counted, and of what. (One dict: of many streams most wait, with
            one or two counts.)
    """

    __slots__ = ("carried", "counts")

    def __init__(self) -> None:
        self.carried: int = 0
        self.counts: dict[tuple[Counted, Any], int] = {}

    def add(self, counted: Counted, key: int | str) -> None:
        """Count one."""
        entry = counted, key
        self.counts[entry] = self.counts.get(entry, 0) + 1

    def of(self, counted: Counted) -> dict[Any, int]:
        """The counts of one kind, in a new dict."""
        return {key: number for (kind, key), number in self.counts.items() if kind == counted}
