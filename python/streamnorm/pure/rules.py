"""What happens to the reasoning of one delta: which text comes out, and which members change.

The rules see a delta as a mapping of member names to values and answer with edits of
members. Whether the edits are then made in bytes (`splice`) or on a dict is not their
business: that is why both outputs agree.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal, NamedTuple

from ..dialects import SOURCES, TARGETS, Source
from ..options import Options
from .state import MAX_CHOICES, ChoiceState, fresh_part
from .texts import is_represented, text_of

_KEYS: Final = frozenset(source.key for source in SOURCES)


class Edit(NamedTuple):
    """A change of one member of a delta.

    Attributes:
        op: ``rename`` the member to *name*; ``set`` its value; ``insert`` a member *name*
            before it; ``drop`` it.
        key: The member.
        name: The new name, for ``rename`` and ``insert``.
        text: The new string value, for ``set`` and ``insert``; None copies the value of
            the member *source* as it stands.
        source: See *text*.
    """

    op: Literal["rename", "set", "insert", "drop"]
    key: str
    name: str = ""
    text: str | None = None
    source: str = ""


class Tally:
    """Counts of what was done, by the name of the source."""

    __slots__ = ("carried", "conflicts", "mirrored", "remaps", "removed", "repeated")

    def __init__(self) -> None:
        self.carried: set[int] = set()
        self.remaps: dict[int, int] = {}
        self.removed: dict[int, int] = {}
        self.mirrored: dict[int, int] = {}
        self.repeated: dict[int, int] = {}
        self.conflicts: dict[int, int] = {}


def _count(counter: dict[int, int], source: int) -> None:
    counter[source] = counter.get(source, 0) + 1


class Rules:
    """The reasoning rules of one stream, with the state of each choice."""

    def __init__(self, options: Options) -> None:
        self._targets = options.targets
        self._keep = options.keep_original
        # The source that already is the output: its text needs no edit.
        self._native = next(
            i for i, s in enumerate(SOURCES) if s.shape == "text" and s.key == self._targets[0]
        )
        self._aliases = [
            i for i, s in enumerate(SOURCES) if s.shape == "text" and s.key not in self._targets
        ]
        self.states: dict[int, ChoiceState] = {}
        self.tally: Tally = Tally()
        self.reasoning_seen: bool = False

    def apply(self, index: int, delta: Mapping[str, Any], final: bool) -> list[Edit]:
        """Decide one delta.

        Args:
            index: The choice's index.
            delta: Its members; for a name that occurs twice, the last value.
            final: The choice carries a finish_reason.

        Returns:
            The edits; none for most deltas. Each names a member as it was sent.
        """
        if _KEYS.isdisjoint(delta):
            return []
        texts = {i: text for i, s in enumerate(SOURCES) if (text := text_of(s, delta))}
        if not texts:
            return self._drop_empty(delta)
        self.tally.carried.update(texts)
        state = self._state(index)
        lead, fresh, repeats = self._lead(state, texts, final)
        edits: list[Edit] = []
        if lead >= 0:
            written = self._write(delta, lead, texts[lead], fresh, repeats)
            if written is None:
                # Every output key holds something that must stay: so does this text.
                _count(self.tally.conflicts, lead)
                return self._drop_empty(delta)
            edits += written
            self.reasoning_seen = True
            state.emit(lead, fresh, is_all=fresh == texts[lead])
        for i, text in texts.items():
            if i == lead:
                continue
            mirrored = lead >= 0 and self._is_mirror(state, i, text, (texts[lead], fresh))
            if mirrored:
                state.cursors[i] = state.length
            edits += self._drop_other(delta, i, text, mirrored, i in repeats, lead)
        return edits + self._drop_empty(delta)

    def _state(self, index: int) -> ChoiceState:
        state = self.states.get(index)
        if state is None:
            state = ChoiceState()
            if len(self.states) < MAX_CHOICES:
                self.states[index] = state
        return state

    def _lead(
        self, state: ChoiceState, texts: dict[int, str], final: bool
    ) -> tuple[int, str, frozenset[int]]:
        """Choose the source whose text comes out.

        Text under the output key leads, since it cannot stay there otherwise; then the
        source that led before; then the order of the table. A source that only repeats
        what was emitted is passed over.

        Returns:
            (index of the source or -1, its text that was not yet emitted, the sources
            that were passed over).
        """
        order = [i for i in (self._native, state.leader) if i in texts]
        order += [i for i in texts if i not in order]
        repeats: set[int] = set()
        for i in order:
            fresh = fresh_part(state, i, texts[i], final)
            if fresh is None:
                continue
            if fresh:
                return i, fresh, frozenset(repeats)
            repeats.add(i)
        return -1, "", frozenset(repeats)

    def _write(
        self,
        delta: Mapping[str, Any],
        lead: int,
        text: str,
        fresh: str,
        repeats: frozenset[int],
    ) -> list[Edit] | None:
        """Bring the leading text to the output keys.

        Returns:
            The edits; None where no output key can take it.
        """
        source = SOURCES[lead]
        # The provider's own spelling of the string is kept where the whole string goes.
        is_whole = source.shape == "text" and fresh == text
        value = None if is_whole else fresh
        origin = source.key if is_whole else ""
        edits: list[Edit] = []
        missing: list[str] = []
        placed = 0
        for target in self._targets:
            if target == source.key:
                own = self._write_own(delta, source, text, fresh)
                placed += own is not None
                edits += own or []
            elif target not in delta:
                missing.append(target)
            elif self._is_free(delta[target], target, text, repeats):
                placed += 1
                edits.append(Edit("set", target, "", value, origin))
            elif delta[target] == text:
                placed += 1
                if fresh != text:
                    edits.append(Edit("set", target, "", fresh))
        if not placed and not missing:
            return None
        if self._is_movable(delta, source, text):
            if missing:
                edits.append(Edit("rename", source.key, missing.pop(0)))
                if value is not None:
                    edits.append(Edit("set", source.key, "", value))
            else:
                edits.append(Edit("drop", source.key))
        edits += [Edit("insert", source.key, target, value, origin) for target in missing]
        if edits:
            _count(self.tally.remaps, lead)
        return edits

    def _is_mirror(self, state: ChoiceState, source: int, text: str, led: tuple[str, str]) -> bool:
        """Whether a source says what has just come out, as a piece or as all so far."""
        if text in led:
            return True
        return SOURCES[source].shape == "nested" and state.is_all(text)

    def _write_own(
        self, delta: Mapping[str, Any], source: Source, text: str, fresh: str
    ) -> list[Edit] | None:
        """The output key itself is the source; None where its object has to stay there."""
        if source.shape == "text":
            return [] if fresh == text else [Edit("set", source.key, "", fresh)]
        if is_represented(delta[source.key], text):
            return [Edit("set", source.key, "", fresh)]
        # The object holds more than its text (a signature): it moves to the other name,
        # where an object is left alone.
        spare = next(key for key in TARGETS if key != source.key)
        if spare in self._targets or delta.get(spare) not in (None, ""):
            return None
        moved = [Edit("insert", source.key, source.key, fresh), Edit("rename", source.key, spare)]
        return moved + ([Edit("drop", spare)] if spare in delta else [])

    def _is_free(self, value: Any, target: str, text: str, repeats: frozenset[int]) -> bool:
        """Whether an output key's value may be replaced: it says nothing, or nothing new."""
        if value is None or value in ("", [], {}):
            return True
        if any(SOURCES[i].key == target for i in repeats):
            return True
        return isinstance(value, dict) and bool(value) and is_represented(value, text)

    def _is_movable(self, delta: Mapping[str, Any], source: Source, text: str) -> bool:
        """Whether the source's member holds nothing but the text, and may go."""
        if self._keep or source.shape == "nested" or source.key in self._targets:
            return False
        return source.shape == "text" or is_represented(delta[source.key], text)

    def _drop_other(
        self,
        delta: Mapping[str, Any],
        i: int,
        text: str,
        mirrored: bool,
        repeated: bool,
        lead: int,
    ) -> list[Edit]:
        """Remove a member that says the same as the leader, or the same again."""
        source = SOURCES[i]
        if mirrored:
            _count(self.tally.mirrored, i)
        elif repeated:
            _count(self.tally.repeated, i)
        else:
            _count(self.tally.conflicts, i)
            return []
        if source.key in self._targets:
            # With a leader the key has been written; without one it would say it twice.
            return [Edit("drop", source.key)] if lead < 0 else []
        return [Edit("drop", source.key)] if self._is_movable(delta, source, text) else []

    def _drop_empty(self, delta: Mapping[str, Any]) -> list[Edit]:
        """Remove aliases that are null or empty."""
        if self._keep:
            return []
        edits = []
        for i in self._aliases:
            key = SOURCES[i].key
            if key in delta and (delta[key] is None or delta[key] == ""):
                _count(self.tally.removed, i)
                edits.append(Edit("drop", key))
        return edits
