"""Delimiters inside of ``content``: which text of a choice is reasoning, which is the answer.

Nothing is held back but the longest end of the text that may still become a delimiter. At
the end of the content (`TagReader.read` with *final*) that comes out as what it stands in.
"""

from __future__ import annotations

from typing import Final

from .code import CodeState, ExportedCode
from .marks import ANY, FLAGGED, NONE, Mark, MarkSet, Vocabulary, earliest, first_at

# Where a choice is. START: nothing but white space was seen. PROMPTED: the same, and the
# opener stood in the prompt. AFTER: behind reasoning, nothing of the answer was seen.
START: Final = 0
PROMPTED: Final = 1
REASON: Final = 2
AFTER: Final = 3
ANSWER: Final = 4
# No delimiters are looked for any more.
OFF: Final = 5

_SPACE: Final = " \t\r\n"

# mode, family, held text, trims, at the start of a line, ends of the answer are looked for,
# flagged, some of the answer was seen, the state of the code
ExportedTags = tuple[int, int, str, bool, bool, bool, bool, bool, ExportedCode]


class TagState:
    """Where one choice is in its content.

    Attributes:
        mode: `START` … `OFF`.
        family: Whose reasoning or answer it is, `ANY` or `NONE`.
        held: Text that may become a delimiter.
        trims: White space that comes next is dropped.
        line_start: The reasoning so far is empty or ends with a line end.
        has_ends: The answer was begun by a mark, so one may end it.
        flagged: The last delta's content was flagged as a thought.
        in_text: In the free mode: some of the answer was seen.
        is_shadowed: A field of its own says the reasoning: only the first word counts. The
            caller sets it before each read.
        code: Where the answer is in fenced or inline code; for the free mode.
    """

    __slots__ = (
        "_code", "family", "flagged", "has_ends", "held", "in_text", "is_shadowed", "line_start",
        "mode", "trims",
    )  # fmt: skip

    def __init__(self, vocabulary: Vocabulary) -> None:
        self.mode: int = PROMPTED if vocabulary.prompted else START
        if vocabulary.mode == "off":
            self.mode = OFF
        self.family: int = ANY if vocabulary.prompted else NONE
        self.held: str = ""
        self.trims: bool = False
        self.line_start: bool = True
        self.has_ends: bool = False
        self.flagged: bool = False
        self.in_text: bool = False
        self.is_shadowed: bool = False
        self._code: CodeState | None = None

    @property
    def code(self) -> CodeState:
        """See the class. (Made when it is asked for.)"""
        if self._code is None:
            self._code = CodeState()
        return self._code

    def begin_code(self) -> None:
        """An answer begins, outside of code."""
        self._code = None

    def export(self) -> ExportedTags:
        """The state as plain values, for the engine that hands one event over."""
        return (
            self.mode, self.family, self.held, self.trims, self.line_start, self.has_ends,
            self.flagged, self.in_text, self.code.export(),
        )  # fmt: skip

    def load(self, state: ExportedTags) -> None:
        """The inverse of `export`."""
        (
            self.mode, self.family, self.held, self.trims, self.line_start, self.has_ends,
            self.flagged, self.in_text, code,
        ) = state  # fmt: skip
        self.code.load(code)


class TagReader:
    """Splits the content of a choice; the state is the caller's."""

    __slots__ = ("_is_free", "_trim", "vocabulary")

    def __init__(self, vocabulary: Vocabulary, *, trim: bool) -> None:
        self.vocabulary: Vocabulary = vocabulary
        self._trim = trim
        self._is_free = vocabulary.mode == "free"

    def is_settled(self, state: TagState) -> bool:
        """Whether no content that is still to come can be reasoning."""
        is_plain = state.mode == ANSWER and not state.has_ends and not self._is_free
        return is_plain or state.mode == OFF

    def begin_flagged(self, state: TagState) -> None:
        """The next content is flagged as a thought."""
        state.flagged = True
        state.has_ends = False
        if state.mode != REASON:
            state.mode, state.family = PROMPTED, self.vocabulary.flag_family

    def end_flagged(self, state: TagState) -> None:
        """The next content is not flagged, after some that was."""
        state.flagged = False
        if state.mode in (PROMPTED, REASON, AFTER):
            state.mode, state.trims, state.family = AFTER, self._trim, FLAGGED

    def read(self, state: TagState, text: str, model: str, *, final: bool) -> tuple[str, str, int]:
        """Take the next content.

        Args:
            state: Of the choice; it changes.
            text: The content of one delta.
            model: Name of the model, in lower case; for rows that are for some models only.
            final: No more content is expected: hold nothing back.

        Returns:
            (its reasoning, its answer, the family of the reasoning).
        """
        buffer, state.held = state.held + text, ""
        reasoning: list[str] = []
        content: list[str] = []
        family = NONE
        at = 0
        while at < len(buffer):
            if not reasoning:
                family = state.family
            if state.mode == OFF:
                content.append(buffer[at:])
                break
            if state.mode == REASON:
                at = self._reason(state, buffer, at, final, reasoning)
            elif state.mode != ANSWER:
                at = self._start(state, buffer, at, (model, final), reasoning, content)
            elif state.has_ends:
                at = self._ended_answer(state, buffer, at, final, content)
            elif self._is_free:
                at = self._free_answer(state, buffer, at, (model, final), content)
            else:
                content.append(buffer[at:])
                break
        return "".join(reasoning), "".join(content), family

    def _start(
        self,
        state: TagState,
        buffer: str,
        at: int,
        how: tuple[str, bool],
        reasoning: list[str],
        content: list[str],
    ) -> int:
        """Before the first word of the answer: openers and strays count here."""
        word = _skip(buffer, at)
        is_prompted = state.mode == PROMPTED
        trims = self._trim and is_prompted if state.mode != AFTER else state.trims
        if word > at and not trims:
            (reasoning if is_prompted else content).append(buffer[at:word])
            if is_prompted:
                state.line_start = buffer[word - 1] == "\n"
        if self._is_free:
            state.code.take_all(buffer[at:word])
        if word == len(buffer):
            return word
        found = first_at(self._start_marks(state), buffer, word, how)
        if found is None:
            state.mode = REASON if is_prompted else OFF if state.is_shadowed else ANSWER
            state.trims = False
            return word
        if found.end < 0:
            state.held = buffer[word:]
            return len(buffer)
        self._follow(state, found.mark)
        return found.end

    def _follow(self, state: TagState, mark: Mark) -> None:
        """Go where a mark leads that stands in front of the answer or in it."""
        if mark.action == "swallow":
            state.mode, state.trims = AFTER, self._trim and not state.in_text
        else:
            self._enter(state, mark)

    def _start_marks(self, state: TagState) -> MarkSet:
        is_flag = state.flagged or state.family == FLAGGED
        if state.mode == AFTER:
            return self.vocabulary.flag_after if is_flag else self.vocabulary.after
        if state.mode == PROMPTED and is_flag:
            return self.vocabulary.flag_start
        return self.vocabulary.start

    def _enter(self, state: TagState, mark: Mark) -> None:
        """Go where *mark* leads."""
        state.family = mark.family
        state.trims = self._trim
        if mark.action == "open":
            state.mode, state.line_start = REASON, True
        elif mark.action in ("close", "end"):
            state.mode, state.has_ends = AFTER, False
            # Between two pieces of text the white space says something.
            state.trims = self._trim and not state.in_text and mark.action == "close"
        else:
            state.mode, state.has_ends = ANSWER, mark.action == "final"
            state.has_ends = state.has_ends and bool(self.vocabulary.ends[mark.family])
            state.trims = state.has_ends and self._trim
            state.begin_code()

    def _reason(
        self, state: TagState, buffer: str, at: int, final: bool, reasoning: list[str]
    ) -> int:
        at = _trimmed(state, buffer, at)
        if at == len(buffer):
            return at
        marks = self.vocabulary.live_closers(state.family)
        found = earliest(marks, buffer, at, state.line_start)
        if found is None or (found.end < 0 and final):
            end = len(buffer)
        else:
            end = found.start
        if end > at:
            reasoning.append(buffer[at:end])
            state.line_start = buffer[end - 1] == "\n"
        if found is None or found.end < 0:
            state.held = buffer[end:]
            return len(buffer)
        if found.mark.action == "implicit":
            self._enter(state, found.mark)
            return found.start
        if found.mark.action != "swallow":
            self._enter(state, found.mark)
        return found.end

    def _ended_answer(
        self, state: TagState, buffer: str, at: int, final: bool, content: list[str]
    ) -> int:
        at = _trimmed(state, buffer, at)
        if at == len(buffer):
            return at
        found = earliest(self.vocabulary.ends[state.family], buffer, at, True)
        end = len(buffer) if found is None or (found.end < 0 and final) else found.start
        content.append(buffer[at:end])
        if found is None or found.end < 0:
            state.held = buffer[end:]
            return len(buffer)
        self._enter(state, found.mark)
        return found.end

    def _free_answer(
        self, state: TagState, buffer: str, at: int, how: tuple[str, bool], content: list[str]
    ) -> int:
        """The answer in the free mode: marks count anywhere but in code."""
        state.in_text = True
        begin = at
        while True:
            found_at = self.vocabulary.free.firsts.search(buffer, at)
            place = found_at.start() if found_at else len(buffer)
            state.code.take_all(buffer[at:place])
            if place == len(buffer):
                content.append(buffer[begin:])
                return place
            if not state.code.is_code_before(buffer[place]):
                found = first_at(self.vocabulary.free, buffer, place, how)
                if found is not None:
                    content.append(buffer[begin:place])
                    if found.end < 0:
                        state.held = buffer[place:]
                        return len(buffer)
                    self._follow(state, found.mark)
                    return found.end
            state.code.take(buffer[place])
            at = place + 1


def _trimmed(state: TagState, buffer: str, at: int) -> int:
    """The first place from *at* on that is not dropped."""
    if state.trims:
        at = _skip(buffer, at)
        state.trims = at == len(buffer)
    return at


def _skip(text: str, at: int) -> int:
    while at < len(text) and text[at] in _SPACE:
        at += 1
    return at
