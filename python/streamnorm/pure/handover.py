"""One event for the Rust engine, which declines what is rare and delicate."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from .._json import loads
from ..options import Options
from .decide import decide
from .documents import Documents, FaultFacts, Output, counts_of
from .state import MAX_CHOICES, ChoiceState, ExportedState


class Facts(NamedTuple):
    """What one event added to the facts of its stream; see `Documents`."""

    events: int
    malformed: int
    complete: bool
    visible: bool
    reasoning: bool
    # Choices whose content leaves as it came from here on.
    settled: list[int]
    has_deltas: bool
    # It was a whole completion; it holds the mark that ends the stream.
    was_whole: bool
    ends: bool


class HandOver:
    """What the Rust engine calls for the events that it declines.

    The states of the choices stay here afterwards, until `take_states` is called: a stream
    of which every event is declined does not carry its text to and fro.
    """

    __slots__ = ("_early", "_made", "_options")

    def __init__(self, options: Options) -> None:
        self._options = options
        # Most streams never need the reference: what it is made of would be the larger part
        # of what a waiting stream costs.
        self._made: Documents | None = None
        # Made for the first.
        self._early: dict[int, str] | None = None

    @property
    def documents(self) -> Documents:
        """What decides."""
        made = self._made
        if made is None:
            made = self._made = Documents(self._options)
            made.finishes, self._early = self._early, None
        return made

    @property
    def finishes(self) -> dict[int, str]:
        """See `Documents.finishes`."""
        return (self._early if self._made is None else self._made.finishes) or {}

    def note_finish(self, index: int, reason: str) -> None:
        """See `Documents.note_finish`."""
        if self._made is not None:
            self._made.note_finish(index, reason)
            return
        early = self._early = self._early or {}
        if index in early or len(early) < MAX_CHOICES:
            early[index] = reason

    def counts(self) -> dict[str, Any] | None:
        """The counters of what was decided here; None where nothing was."""
        return None if self._made is None else counts_of(self._made)

    def decide(
        self,
        kind: str,
        lines: tuple[list[bytes], list[bytes]],
        output: Output,
        states: list[tuple[int, ExportedState]] | None,
        before: tuple[bytes, bool, bool],
    ) -> tuple[Sequence[bytes], list[Any], FaultFacts | None, Facts]:
        """Decide one event.

        Args:
            kind: See `decide.decide`. ``flush`` and ``end`` are no events: what is held
                back comes out, because the stream fails or ends well.
            lines: (the values of its ``data`` lines, or the lines of a stray error; lines
                beside its data that look like an error).
            output: ``sse`` for the edited values, ``dict`` for the chunks.
            states: (choice index, exported state) for every choice; None where they are
                still here.
            before: (the last document after which that engine held something back, empty
                where there was none since the last call; a mark of a good end was seen;
                a delta was seen).

        Returns:
            (documents that go out before it; the edited values or the chunks; facts of a
            fault or None; what this event added to the facts of the stream).
        """
        documents = self.documents
        counted = documents.count, documents.malformed
        documents.complete = documents.visible = documents.rules.reasoning_seen = False
        documents.has_deltas = before[2]
        documents.take_over(before[0])
        if states is not None:
            vocabulary = documents.rules.content.vocabulary
            documents.rules.states = {
                index: ChoiceState.load(state, vocabulary) for index, state in states
            }
        made: list[Any] = []
        fault: FaultFacts | None = None
        documents.begin(kind)
        if kind not in ("flush", "end"):
            made, fault = decide(documents, kind, lines[0], output, lines[1])
            if fault is not None and fault[0] == "truncated" and (before[1] or documents.complete):
                fault = None
        is_half = kind == "tail" and documents.malformed > counted[1]
        if fault is not None or is_half or kind in ("flush", "end", "last"):
            self._put_out(output, made, is_end=fault is None and kind in ("end", "last"))
        facts = Facts(
            documents.count - counted[0],
            documents.malformed - counted[1],
            documents.complete,
            documents.visible,
            documents.rules.reasoning_seen,
            documents.rules.settled(),
            documents.has_deltas,
            documents.was_whole,
            documents.ends,
        )
        first, documents.before = documents.before, ()
        return first, made, fault, facts

    def _put_out(self, output: Output, made: list[Any], *, is_end: bool) -> None:
        """Put what is held back before an event; the chunks of that event are *made*."""
        held = self.documents.flush(is_end=is_end)
        if isinstance(held, bytes):
            if output == "sse":
                self.documents.before = [held, *self.documents.before]
            else:
                made.insert(0, loads(held))

    def take_states(self) -> list[tuple[int, ExportedState]]:
        """The states of the choices, for the engine that decides again."""
        return [(index, state.export()) for index, state in self.documents.rules.states.items()]
