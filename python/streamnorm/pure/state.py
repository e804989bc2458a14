"""What one choice has emitted, and how much of a text is new to it."""

from __future__ import annotations

from typing import Final

from ..dialects import SOURCES

# Code points of emitted reasoning that a choice remembers, to know a repeat when it sees
# one. Beyond it nothing is taken for a repeat and no other source is promoted: the text
# then stays under its own key, so that nothing is lost or doubled.
REPEAT_MEMORY: Final = 256 * 1024
# Choices that are remembered; the rest are treated as if each delta were their first.
MAX_CHOICES: Final = 256

_SPACE: Final = " \t\r\n"


class ChoiceState:
    """What one choice has emitted so far.

    Attributes:
        leader: Index in `SOURCES` of the source that first gave text, -1 before that.
        length: Code points emitted.
        fragments: Pieces in which they came.
        last: Code points of the last piece.
        cursors: For each source that repeats the leader's text: how much it has repeated.
        forgotten: More was emitted than is remembered.
    """

    __slots__ = ("_parts", "cursors", "forgotten", "fragments", "last", "leader", "length")

    def __init__(self) -> None:
        self.leader: int = -1
        self.length: int = 0
        self.fragments: int = 0
        self.last: int = 0
        self.cursors: dict[int, int] = {}
        self.forgotten: bool = False
        self._parts: list[str] = []

    def whole(self) -> str:
        """All that was emitted."""
        if len(self._parts) > 1:
            self._parts = ["".join(self._parts)]
        return self._parts[0] if self._parts else ""

    def emit(self, source: int, text: str) -> None:
        """Remember *text* as emitted from *source*."""
        if self.leader < 0:
            self.leader = source
        self.fragments += 1
        self.last = len(text)
        self.length += len(text)
        if self.length > REPEAT_MEMORY:
            self.forgotten = True
            self._parts.clear()
        if not self.forgotten:
            self._parts.append(text)

    def export(self) -> tuple[int, int, int, int, bool, list[tuple[int, int]], str]:
        """The state as plain values, for the engine that hands one event over."""
        cursors = sorted(self.cursors.items())
        whole = self.whole()
        return (
            self.leader, self.length, self.fragments, self.last, self.forgotten, cursors, whole,
        )  # fmt: skip

    @classmethod
    def load(
        cls, state: tuple[int, int, int, int, bool, list[tuple[int, int]], str]
    ) -> ChoiceState:
        """The inverse of `export`."""
        self = cls()
        self.leader, self.length, self.fragments, self.last, self.forgotten, cursors, whole = state
        self.cursors = dict(cursors)
        if whole:
            self._parts.append(whole)
        return self


def fresh_part(state: ChoiceState, source: int, text: str, final: bool) -> str | None:
    """The part of *text* that the choice has not emitted.

    Returns:
        ``""`` where all of it is a repeat; None where that cannot be told any more.
    """
    if state.length == 0:
        return text
    if source != state.leader:
        if state.forgotten:
            return None
        if SOURCES[source].shape == "nested" and len(text) > state.length:
            return _after_snapshot(state, text)
        return "" if _repeats(state, source, text) else text
    if state.forgotten or len(text) < state.length:
        return text
    if SOURCES[source].shape == "nested":
        return _after_snapshot(state, text)
    # A plain string is incremental; only the whole text again at the end is a repeat.
    if final and state.fragments > 1 and text == state.whole():
        return ""
    return text


def _repeats(state: ChoiceState, source: int, text: str) -> bool:
    """Whether a source that does not lead says again what was emitted.

    It may lag behind the leader piece by piece, say the last piece, or say everything
    at once (LiteLLM's signature chunk repeats the whole thinking text).
    """
    whole = state.whole()
    at = state.cursors.get(source, 0)
    if whole.startswith(text, at):
        state.cursors[source] = at + len(text)
        return True
    if text == whole or (len(text) == state.last and whole.endswith(text)):
        state.cursors[source] = state.length
        return True
    return False


def _after_snapshot(state: ChoiceState, text: str) -> str:
    """The new part of a fragment that repeats everything so far.

    Two fragments prove it: the second begins with all of the first, which holds more
    than white space. Equal fragments prove nothing until there were two before.
    """
    whole = state.whole()
    if not text.startswith(whole) or not whole.strip(_SPACE):
        return text
    if len(text) == state.length:
        return "" if state.fragments > 1 else text
    return text[state.length :]
