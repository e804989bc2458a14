"""What the ``content`` of one delta holds: reasoning, answer, and parts that are neither."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final, NamedTuple

from ..dialects import CONTENT, FLAG_PATH, FLAG_VALUES, SOURCES
from ..options import Options, TagMode, TagNames
from ..tag_table import TAGS, Tag
from .marks import ANY, NONE, Vocabulary
from .parts import read_parts
from .state import ChoiceState
from .tags import ANSWER, OFF, PROMPTED, REASON, TagReader

_OF_SHAPE: Final = {source.shape: i for i, source in enumerate(SOURCES)}
PARTS: Final = _OF_SHAPE["parts"]
FLAG: Final = _OF_SHAPE["flag"]
TAG: Final = _OF_SHAPE["tags"]


class Reading(NamedTuple):
    """What a content holds.

    Attributes:
        source: Index in `SOURCES` of what its reasoning was found by.
        reasoning: Its reasoning; ``""`` where there is none.
        answer: What stays in it.
        raw: Pieces of what stays in it if its reasoning is not taken.
        kept: Positions of the parts that are more than their text.
        thoughts: Positions of the parts with reasoning.
        family: Index of the tag family, negative where there is none.
        is_cut: Delimiters or white space were taken out.
        is_closed: A field has led, and the closer of delimited text stands in the content.
    """

    source: int
    reasoning: str
    answer: str
    raw: list[str]
    kept: tuple[int, ...] = ()
    thoughts: tuple[int, ...] = ()
    family: int = NONE
    is_cut: bool = False
    is_closed: bool = False


@lru_cache(maxsize=64)
def vocabulary_of(names: TagNames | None, mode: TagMode, prompted: bool) -> Vocabulary:
    """The vocabulary that the options choose; see `Options.tag_names`."""
    chosen: list[Tag] = []
    by_name = {tag.name: tag for tag in TAGS}
    for name in TAGS if names is None else names:
        if isinstance(name, Tag):
            chosen.append(name)
        elif isinstance(name, str):
            chosen.append(by_name[name]._replace(models=()))
        else:
            label = f"{name[0]}…{name[1]}"
            chosen.append(Tag(label, (name[0],), (name[1],), "the caller", "an option"))
    return Vocabulary(tuple(chosen), mode, prompted=prompted)


def is_flagged(delta: Mapping[str, Any]) -> bool:
    """Whether the whole content of a delta is flagged as a thought."""
    value: Any = delta
    for step in FLAG_PATH:
        if not isinstance(value, Mapping) or step not in value:
            return False
        value = value[step]
    return any(value is flag or (type(value) is str and value == flag) for flag in FLAG_VALUES)


class ContentReader:
    """Reads the content of deltas; the state is of the choice."""

    __slots__ = ("tags", "vocabulary")

    def __init__(self, options: Options) -> None:
        self.vocabulary: Vocabulary = vocabulary_of(
            options.tag_names, options.tags, options.starts_in_reasoning
        )
        self.tags: TagReader = TagReader(self.vocabulary, trim=options.trim_tags)

    def is_plain(self, state: ChoiceState | None, delta: Mapping[str, Any], final: bool) -> bool:
        """Whether the content of a delta leaves as it came, whatever it says."""
        content = delta.get(CONTENT)
        if isinstance(content, list):
            return False
        if content is not None and not isinstance(content, str):
            return True
        if not content:
            return not final or state is None or not state.tags.held
        if state is None or not self.tags.is_settled(state.tags):
            return False
        return not state.tags.flagged and FLAG_PATH[0] not in delta

    def read(
        self, state: ChoiceState, delta: Mapping[str, Any], model: Any, *, flush: bool
    ) -> Reading:
        """Read one content.

        Args:
            state: Of the choice; it changes.
            delta: With or without a content.
            model: ``model`` of the chunk, as it was sent.
            flush: Hold nothing back.
        """
        content = delta.get(CONTENT)
        if isinstance(content, list):
            parts = read_parts(content)
            if parts.reasoning or state.leader == PARTS:
                return self._flushed(
                    state, parts.answer, parts.reasoning, parts.kept, parts.thoughts
                )
            read = self._text(state, parts.answer, is_flagged(delta), model, flush)
            return read._replace(kept=parts.kept)
        text = content if isinstance(content, str) else ""
        return self._text(state, text, is_flagged(delta), model, flush)

    def _flushed(
        self,
        state: ChoiceState,
        answer: str,
        reasoning: str,
        kept: tuple[int, ...],
        thoughts: tuple[int, ...],
    ) -> Reading:
        """A list whose parts say themselves what they are: no delimiters are looked for."""
        held, state.tags.held, state.tags.mode = state.tags.held, "", ANSWER
        answer = held + answer
        return Reading(PARTS, reasoning, answer, [answer], kept, thoughts)

    def _text(
        self, state: ChoiceState, text: str, flagged: bool, model: Any, flush: bool
    ) -> Reading:
        tags = state.tags
        if not text and not (flush and tags.held):
            return Reading(TAG, "", "", [])
        if flagged:
            if not tags.flagged and tags.held and tags.mode != REASON:
                # What was held is no delimiter: those of thoughts stand in flagged content.
                answer = self.tags.read(tags, "", "", final=True)[1]
                flagged_part = self._text(state, text, True, model, flush)
                raw = [answer, *flagged_part.raw]
                return flagged_part._replace(answer=answer + flagged_part.answer, raw=raw)
            self.tags.begin_flagged(tags)
        elif tags.flagged:
            self.tags.end_flagged(tags)
        is_unopened = tags.mode in (PROMPTED, ANSWER) or (
            tags.mode == REASON and tags.family == ANY
        )
        if state.is_fielded and is_unopened and not flagged:
            # A field has the reasoning: the prompt has opened nothing in the content, and
            # what begins later in the answer is the answer's.
            tags.mode = OFF
        tags.is_shadowed = state.is_fielded
        raw = state.shadow or [tags.held]
        raw.append(text)
        before = len(tags.held)
        name = model.lower() if isinstance(model, str) else ""
        reasoning, answer, family = self.tags.read(tags, text, name, final=flush)
        is_cut = len(reasoning) + len(answer) + len(tags.held) != before + len(text)
        was_open = bool(reasoning) or bool(state.shadow)
        self._cast_shadow(state, raw, answer)
        is_closed = state.is_fielded and not flagged and was_open and tags.mode != REASON
        source = FLAG if flagged else TAG
        return Reading(
            source, reasoning, answer, raw, family=family, is_cut=is_cut, is_closed=is_closed
        )

    def _cast_shadow(self, state: ChoiceState, raw: list[str], answer: str) -> None:
        """Remember the delimited text that a field says as well, to put it back if it differs."""
        if not state.is_fielded or state.tags.mode != REASON or state.tags.flagged:
            state.shadow = None
        elif answer:
            # White space before the opener went out.
            state.shadow = ["".join(raw)[len(answer) :]]
        else:
            state.shadow = raw

    def put_back(self, state: ChoiceState) -> None:
        """What looked delimited was the answer: look for no delimiters any more."""
        state.tags.mode, state.tags.held, state.shadow = OFF, "", None


@lru_cache(maxsize=64)
def reader_of(options: Options) -> ContentReader:
    """The reader of all streams with these options."""
    return ContentReader(options)
