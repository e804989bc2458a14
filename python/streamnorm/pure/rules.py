"""What happens to one delta: which reasoning comes out, and which members change.

The rules see a delta as a mapping of member names to values and answer with edits of
members. Whether the edits are then made in bytes (`splice`) or on a dict is not their
business: that is why both outputs agree.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any, Final

from ..dialects import CONTENT, PARTS_KEY, SOURCES, TARGETS, VAGUE_FINISHES, Source
from ..options import Options
from .content import PARTS, TAG, ContentReader, Reading, reader_of
from .edits import NOTHING, VISIBLE, Decision, Edit, Tally
from .state import MAX_CHOICES, ChoiceState, fresh_part, is_echo, is_echoed
from .texts import is_empty_object, is_represented, text_of
from .tool_calls import ALL_REPAIRS, ToolEdit, repair, repair_message

_FIELDS: Final = tuple((i, s) for i, s in enumerate(SOURCES) if s.key != CONTENT)
_OBJECT_KEYS: Final = tuple((i, s.key) for i, s in _FIELDS if s.shape == "object")
KEYS: Final = frozenset(source.key for _, source in _FIELDS)
CALLS: Final = "tool_calls"
# What a report calls a vague finish_reason beside tool calls.
VAGUE_FINISH: Final = "stop_beside_tool_calls"


@cache
def _aliases_of(targets: tuple[str, ...]) -> tuple[int, ...]:
    """Sources of plain text under other names than the output's."""
    return tuple(i for i, s in enumerate(SOURCES) if s.shape == "text" and s.key not in targets)


def texts_of(delta: Mapping[str, Any]) -> dict[int, str]:
    """The reasoning text of each source but those in the content."""
    return {i: text for i, s in _FIELDS if s.key in delta and (text := text_of(s, delta))}


def _has_text(delta: Mapping[str, Any]) -> bool:
    content = delta.get(CONTENT)
    return isinstance(content, str) and bool(content)


class Rules:
    """The rules of one stream, with the state of each choice.

    Attributes:
        native: The source that already is the output: its text needs no edit.
        content: Reads the content of the deltas.
        states: Of the choices that are remembered, by index.
        tally: What was done.
        reasoning_seen: Reasoning text has come out.
        has_held: Text was held back since this was last set to False.
    """

    __slots__ = (
        "_aliases", "_keep", "_repairs", "_targets", "content", "has_held", "native",
        "reasoning_seen", "states", "tally",
    )  # fmt: skip

    def __init__(self, options: Options) -> None:
        self._targets = options.targets
        self._keep = options.keep_original
        self._repairs = ALL_REPAIRS if options.repairs is None else frozenset(options.repairs)
        self.native: int = next(
            i for i, s in enumerate(SOURCES) if s.shape == "text" and s.key == self._targets[0]
        )
        self._aliases = _aliases_of(self._targets)
        self.content: ContentReader = reader_of(options)
        self.states: dict[int, ChoiceState] = {}
        self.tally: Tally = Tally()
        self.reasoning_seen: bool = False
        self.has_held: bool = False

    def apply(
        self,
        index: int,
        delta: Mapping[str, Any],
        final: bool,
        *,
        model: Any = None,
        is_message: bool = False,
    ) -> Decision:
        """Decide one delta.

        Args:
            index: The choice's index.
            delta: Its members; for a name that occurs twice, the last value.
            final: The choice carries a finish_reason.
            model: ``model`` of the chunk.
            is_message: It is the whole message of a body that was not streamed.
        """
        calls = delta.get(CALLS)
        has_calls = isinstance(calls, list) and bool(calls)
        final = final or is_message
        known = self.states.get(index)
        is_plain = self.content.is_plain(known, delta, final)
        if is_plain and not has_calls and KEYS.isdisjoint(delta):
            return VISIBLE if _has_text(delta) else NOTHING
        texts = texts_of(delta)
        if is_plain and not has_calls and not texts:
            return Decision(self._drop_empty(delta), [], _has_text(delta))
        state = known or self.new_state(index)
        if texts and not state.is_fielded:
            state.is_fielded = True
            # (No cursor says as much as one at the start.)
            if state.leader == TAG:
                state.cursors.setdefault(TAG, state.length)
        reading = None
        if not is_plain:
            # A choice that is not remembered holds nothing back.
            flush = final or index not in self.states
            reading = self.content.read(state, delta, model, flush=flush)
            self.has_held = self.has_held or bool(state.tags.held)
        edits, reading = self._decide(state, delta, texts, reading, final, is_message)
        tools: list[ToolEdit] = []
        if has_calls:
            assert isinstance(calls, list)
            tools = self._repair(state, calls, is_message)
        shows = _has_text(delta) if reading is None else bool(reading.answer or reading.kept)
        return Decision(edits, tools, has_calls or shows)

    def settled(self) -> list[int]:
        """Choices whose content leaves as it came, whatever is still to come."""
        reader = self.content.tags
        return [
            index
            for index, state in self.states.items()
            if reader.is_settled(state.tags) and not state.tags.flagged
        ]

    def notice_finish(self, index: int, reason: str, delta: Any) -> None:
        """Count a ``finish_reason`` that does not say that there were tool calls."""
        if reason not in VAGUE_FINISHES:
            return
        state = self.states.get(index)
        calls = delta.get(CALLS) if isinstance(delta, dict) else None
        if (isinstance(calls, list) and calls) or (state is not None and state.calls.calls):
            self.tally.add("notices", VAGUE_FINISH)

    def _repair(self, state: ChoiceState, calls: list[Any], is_message: bool) -> list[ToolEdit]:
        if is_message:
            return repair_message(calls, self._repairs, self.tally.add)
        return repair(state.calls, calls, self._repairs, self.tally.add)

    def _decide(
        self,
        state: ChoiceState,
        delta: Mapping[str, Any],
        texts: dict[int, str],
        reading: Reading | None,
        final: bool,
        is_message: bool,
    ) -> tuple[list[Edit], Reading | None]:
        """The edits, and what the content holds once it is decided what stays in it."""
        if reading is not None:
            if reading.reasoning:
                texts[reading.source] = reading.reasoning
            elif reading.is_cut:
                self.tally.add("removed", reading.source)
        if not texts:
            if reading is not None and reading.is_closed and not is_echoed(state, TAG):
                self.tally.add("conflicts", TAG)
                reading = self._refuse(state, reading)
            return self._content_edits(delta, reading) + self._drop_empty(delta), reading
        # Delimited text counts once it is known not to be the answer.
        for i in texts:
            if i != TAG:
                self.tally.carried |= 1 << i
        lead, fresh, repeats = self._lead(state, texts, final)
        edits: list[Edit] = []
        if lead >= 0:
            written = self._write(delta, lead, (texts[lead], fresh), repeats, reading, is_message)
            if written is None:
                # Every output key holds something that must stay: so does this text.
                self.tally.add("conflicts", lead)
                if reading is not None and reading.reasoning:
                    reading = self._refuse(state, reading)
                return self._content_edits(delta, reading) + self._drop_empty(delta), reading
            edits += written
            self.reasoning_seen = True
            if reading is not None and lead == reading.source == TAG:
                self.tally.carried |= 1 << TAG
                self.tally.add("families", reading.family)
            state.emit(lead, fresh, is_all=fresh == texts[lead])
        for i, text in texts.items():
            if i == lead:
                continue
            mirrored = self._is_mirror(state, i, text, (texts[lead], fresh) if lead >= 0 else ())
            if mirrored and i != TAG:
                state.cursors[i] = state.length
            if reading is not None and i == reading.source:
                reading = self._drop_read(state, reading, mirrored, i in repeats)
            else:
                edits += self._drop_other(delta, i, text, mirrored, i in repeats, lead)
        if reading is not None and reading.is_closed and not is_echoed(state, TAG):
            # It only begins like the field's text: the answer speaks of delimiters.
            self.tally.add("conflicts", TAG)
            reading = self._refuse(state, reading)
        is_renamed = any(e.op == "rename" and e.key == CONTENT for e in edits)
        if not is_renamed:
            edits += self._content_edits(delta, reading)
        return edits + self._drop_empty(delta), reading

    def _content_edits(self, delta: Mapping[str, Any], reading: Reading | None) -> list[Edit]:
        """Bring what stays of a content to its member."""
        if reading is None:
            return []
        content = delta.get(CONTENT)
        if CONTENT not in delta:
            return [Edit("prepend", "", CONTENT, reading.answer)] if reading.answer else []
        if content == reading.answer or (content is None and not reading.answer):
            return []
        edits = [Edit("set", CONTENT, "", reading.answer)]
        if reading.kept:
            edits.append(Edit("parts", CONTENT, PARTS_KEY, positions=reading.kept))
        if isinstance(content, list):
            self.tally.add("repairs", "content_list")
        return edits

    def _drop_read(
        self, state: ChoiceState, reading: Reading, mirrored: bool, repeated: bool
    ) -> Reading:
        """Reasoning of the content that did not lead: the same again, or put back."""
        if mirrored:
            self.tally.add("mirrored", reading.source)
        elif repeated:
            self.tally.add("repeated", reading.source)
        else:
            self.tally.add("conflicts", reading.source)
            return self._refuse(state, reading)
        self.tally.carried |= 1 << reading.source
        return reading

    def _refuse(self, state: ChoiceState, reading: Reading) -> Reading:
        """Reasoning that cannot come out as such stays in the content."""
        if reading.source == PARTS:
            kept = tuple(sorted({*reading.kept, *reading.thoughts}))
            return reading._replace(reasoning="", kept=kept)
        if reading.source == TAG:
            self.content.put_back(state)
        return reading._replace(reasoning="", answer="".join(reading.raw), is_closed=False)

    @property
    def has_room(self) -> bool:
        """Whether another choice can be remembered."""
        return len(self.states) < MAX_CHOICES

    def new_state(self, index: int) -> ChoiceState:
        """The state of a choice that was not seen before; remembered if there is room."""
        state = ChoiceState(self.content.vocabulary)
        if self.has_room:
            self.states[index] = state
        return state

    def _lead(
        self, state: ChoiceState, texts: dict[int, str], final: bool
    ) -> tuple[int, str, frozenset[int]]:
        """Choose the source whose text comes out.

        Text under the output key leads, since it cannot stay there otherwise; then the
        source that led before; then the order of the table. A source that only repeats
        what was emitted is passed over, and so are delimiters where a field has led.

        Returns:
            (index of the source or -1, its text that was not yet emitted, the sources
            that were passed over).
        """
        order = [i for i in (self.native, state.leader) if i in texts]
        order += [i for i in texts if i not in order]
        if state.is_fielded and TAG in texts:
            order.remove(TAG)
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
        texts: tuple[str, str],
        repeats: frozenset[int],
        reading: Reading | None,
        is_message: bool,
    ) -> list[Edit] | None:
        """Bring the leading text to the output keys.

        Args:
            delta: The delta.
            lead: Index of its source.
            texts: (the text, its part that was not yet emitted).
            repeats: Sources that only repeat.
            reading: Of the content.
            is_message: See `apply`.

        Returns:
            The edits; None where no output key can take it.
        """
        source = SOURCES[lead]
        text, fresh = texts
        # The provider's own spelling of the string is kept where the whole string goes.
        is_whole = delta.get(source.key) == fresh and source.shape not in ("object", "nested")
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
        if self._is_movable(delta, source, text, reading, is_message):
            if missing:
                edits.append(Edit("rename", source.key, missing.pop(0)))
                if value is not None:
                    edits.append(Edit("set", source.key, "", value))
            elif source.key != CONTENT:
                edits.append(Edit("drop", source.key))
        if source.key in delta:
            edits += [Edit("insert", source.key, name, value, origin) for name in missing]
        else:
            edits += [Edit("prepend", "", name, value) for name in missing]
        if edits:
            self.tally.add("remaps", lead)
        return edits

    def _is_mirror(self, state: ChoiceState, source: int, text: str, led: tuple[str, ...]) -> bool:
        """Whether a source says what has just come out, as a piece or as all so far."""
        if source == TAG and state.is_fielded:
            return is_echo(state, source, text)
        if not led:
            return False
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

    def _is_movable(
        self,
        delta: Mapping[str, Any],
        source: Source,
        text: str,
        reading: Reading | None,
        is_message: bool,
    ) -> bool:
        """Whether the source's member holds nothing but the text, and may go."""
        if source.key == CONTENT:
            # A message has a content, even if it is empty.
            is_text = isinstance(delta.get(CONTENT), str) and not is_message
            return is_text and reading is not None and not reading.answer
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
            self.tally.add("mirrored", i)
        elif repeated:
            self.tally.add("repeated", i)
        else:
            self.tally.add("conflicts", i)
            return []
        if source.key in self._targets:
            # With a leader the key has been written; without one it would say it twice.
            return [Edit("drop", source.key)] if lead < 0 else []
        goes = self._is_movable(delta, source, text, None, False)
        return [Edit("drop", source.key)] if goes else []

    def _drop_empty(self, delta: Mapping[str, Any]) -> list[Edit]:
        """Remove aliases that are null or empty."""
        if self._keep:
            return []
        edits = []
        for i in self._aliases:
            key = SOURCES[i].key
            if key in delta and (delta[key] is None or delta[key] == ""):
                self.tally.add("removed", i)
                edits.append(Edit("drop", key))
        for i, key in _OBJECT_KEYS:
            # An object with an empty text and nothing else: clients that expect a text break.
            if key not in self._targets and is_empty_object(delta.get(key)):
                self.tally.add("removed", i)
                edits.append(Edit("drop", key))
        return edits
