"""What one choice has emitted, and how much of a text is new to it."""

from __future__ import annotations

from typing import Final

from ..dialects import SOURCES
from .marks import Vocabulary
from .tags import ExportedTags, TagState
from .tool_calls import CallState, ExportedCalls

# Code points of emitted reasoning that a choice remembers, to know a repeat when it sees
# one. Beyond it nothing is taken for a repeat, and a source that could be the leader's echo
# is not promoted: its text stays under its own key, so that nothing is lost or doubled.
REPEAT_MEMORY: Final = 256 * 1024
# Code points from which on an equal text is no coincidence.
SURE_LENGTH: Final = 8
# Choices that are remembered; the rest are treated as if each delta were their first.
MAX_CHOICES: Final = 256

_SPACE: Final = " \t\r\n"
# Stands for a text that has not begun; never changed.
_NOTHING: Final = bytearray()


# leader, length, fragments, last, forgotten, cursors, whole
ExportedText = tuple[int, int, int, int, bool, list[tuple[int, int | None]], str]
# the text, the tags, a field was seen, the shadow, the tool calls, the finish_reason held
ExportedState = tuple[ExportedText, ExportedTags, bool, str, ExportedCalls, str]


class ChoiceState:
    """What one choice has emitted so far.

    Attributes:
        leader: Index in `SOURCES` of the source that first gave text, -1 before that.
        length: Code points emitted.
        fragments: Pieces in which they came.
        last: Code points of the last piece.
        cursors: For each other source: how much of the emitted text it has repeated; None
            once it has said something else. What it says from then on is its own.
        forgotten: More was emitted than is remembered.
        tags: Where the choice is in its content.
        is_fielded: A member of its own said reasoning: delimiters in the content count no
            more, unless what they enclose is the same text.
        shadow: Such text, as it was sent, until its closer comes.
        calls: Its tool calls.
        finish: The ``finish_reason`` that is held; ``""`` where there is none.
    """

    __slots__ = (
        "_calls", "_cursors", "_packed", "_parts", "finish", "forgotten", "fragments",
        "is_fielded", "last", "leader", "length", "shadow", "tags",
    )  # fmt: skip

    def __init__(self, vocabulary: Vocabulary) -> None:
        self.leader: int = -1
        self.length: int = 0
        self.fragments: int = 0
        self.last: int = 0
        self.forgotten: bool = False
        # The text so far: packed, until somebody asks for it. (Of many streams most wait, and
        # one emoji makes a string four times as long.)
        self._packed: bytearray = _NOTHING
        self._parts: list[str] | None = None
        self.tags: TagState = TagState(vocabulary)
        self.is_fielded: bool = False
        self.shadow: list[str] | None = None
        self.finish: str = ""
        self._cursors: dict[int, int | None] | None = None
        self._calls: CallState | None = None

    # Few choices need these: they are made when they are asked for.

    @property
    def cursors(self) -> dict[int, int | None]:
        """See the class."""
        if self._cursors is None:
            self._cursors = {}
        return self._cursors

    @property
    def calls(self) -> CallState:
        """See the class."""
        if self._calls is None:
            self._calls = CallState()
        return self._calls

    def whole(self) -> str:
        """All that was emitted."""
        parts = self._parts
        if parts is None:
            parts = [self._packed.decode("utf-8", "surrogatepass")]
            # Who asks once asks with every event.
            self._parts, self._packed = parts, _NOTHING
        elif len(parts) > 1:
            parts = self._parts = ["".join(parts)]
        return parts[0]

    def _keep(self, text: str) -> None:
        """Remember *text* behind what was emitted."""
        if self.length > REPEAT_MEMORY:
            self.forgotten = True
            self._packed, self._parts = _NOTHING, [""]
        elif self._parts is not None:
            self._parts.append(text)
        elif self._packed is _NOTHING:
            self._packed = bytearray(text.encode("utf-8", "surrogatepass"))
        else:
            self._packed += text.encode("utf-8", "surrogatepass")

    def is_all(self, text: str) -> bool:
        """Whether *text* is all that was emitted."""
        return not self.forgotten and len(text) == self.length and text == self.whole()

    def emit(self, source: int, text: str, *, is_all: bool) -> None:
        """Remember *text* as emitted from *source*, of whose text it is all or a part."""
        if self.leader < 0:
            self.leader = source
        elif source != self.leader and is_all:
            self.cursors[source] = None
        self.fragments += 1
        self.last = len(text)
        self.length += len(text)
        self._keep(text)

    def emit_more(self, texts: list[str]) -> None:
        """As `emit` for each of *texts*, which are all the text of the source that leads."""
        joined = "".join(texts)
        self.fragments += len(texts)
        self.last = len(texts[-1])
        self.length += len(joined)
        self._keep(joined)

    def export(self) -> ExportedState:
        """The state as plain values, for the engine that hands one event over."""
        cursors = sorted(self.cursors.items())
        text = (
            self.leader, self.length, self.fragments, self.last, self.forgotten, cursors,
            self.whole(),
        )  # fmt: skip
        shadow = "".join(self.shadow or ())
        return (
            text, self.tags.export(), self.is_fielded, shadow, self.calls.export(), self.finish,
        )  # fmt: skip

    @classmethod
    def load(cls, state: ExportedState, vocabulary: Vocabulary) -> ChoiceState:
        """The inverse of `export`."""
        self = cls(vocabulary)
        text, tags, self.is_fielded, shadow, calls, self.finish = state
        self.leader, self.length, self.fragments, self.last, self.forgotten, cursors, whole = text
        self._cursors = dict(cursors)
        if whole:
            self._parts = [whole]
        self.tags.load(tags)
        if shadow:
            self.shadow = [shadow]
        self._calls = CallState.load(calls)
        return self


def fresh_part(state: ChoiceState, source: int, text: str, final: bool) -> str | None:
    """The part of *text* that the choice has not emitted.

    Returns:
        ``""`` where all of it is a repeat; None where that cannot be told any more.
    """
    if state.length == 0:
        return text
    if source != state.leader:
        # Only a source below the leader can be its echo, and none that has once said
        # something else: a word that comes twice is then no repeat, only the whole is.
        if source < state.leader or state.cursors.get(source, 0) is None:
            return "" if state.length >= SURE_LENGTH and state.is_all(text) else text
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
    if final and state.fragments > 1 and state.is_all(text):
        return ""
    return text


def _repeats(state: ChoiceState, source: int, text: str) -> bool:
    """Whether a source that does not lead says again what was emitted.

    It may lag behind the leader piece by piece, say the last piece, or say everything
    at once (LiteLLM's signature chunk repeats the whole thinking text). A plain string
    would be lost if it only began alike, so the lag of one has to be known already.
    """
    whole = state.whole()
    at = state.cursors.get(source) or 0
    if (at or SOURCES[source].shape == "nested") and whole.startswith(text, at):
        state.cursors[source] = at + len(text)
        return True
    # Or a block of the reasoning, at its end: its signature comes with the whole block.
    is_block = SOURCES[source].shape == "nested" and len(text) >= SURE_LENGTH
    if text == whole or ((len(text) == state.last or is_block) and whole.endswith(text)):
        state.cursors[source] = state.length
        return True
    return False


def is_echo(state: ChoiceState, source: int, text: str) -> bool:
    """Whether delimited text goes on saying what a field has said."""
    whole = state.whole()
    if state.forgotten:
        return False
    at = state.cursors.get(source) or 0
    if whole.startswith(text, at):
        state.cursors[source] = at + len(text)
        return True
    # White space around delimiters was trimmed, that in the field was not, or was.
    said = text.strip(_SPACE)
    fresh = len(whole) - len(whole[at:].lstrip(_SPACE))
    if not whole.startswith(said, fresh):
        return False
    state.cursors[source] = fresh + len(said)
    return True


def is_echoed(state: ChoiceState, source: int) -> bool:
    """Whether delimited text has said all that a field has said."""
    rest = state.whole()[state.cursors.get(source) or 0 :]
    return not state.forgotten and not rest.strip(_SPACE)


def _after_snapshot(state: ChoiceState, text: str) -> str:
    """The new part of a fragment that repeats everything so far.

    Two fragments prove it: the second begins with all of the first, which holds more
    than white space. Where nothing is new, a few characters may be a word said twice:
    only a text of some length is the whole again.
    """
    whole = state.whole()
    if not text.startswith(whole) or not whole.strip(_SPACE):
        return text
    if len(text) == state.length:
        return "" if state.fragments > 1 and state.length >= SURE_LENGTH else text
    return text[state.length :]
