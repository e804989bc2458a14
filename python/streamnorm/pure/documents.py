"""One JSON document: what comes out of it, and what it says of its stream."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, Literal

from .._json import dumps, loads
from ..dialects import DONE_MARK, ENVELOPE, SOURCES, TERMINALS, VAGUE_FINISHES
from ..options import Options
from . import plans, resync, splice, split, whole
from .edits import NOTHING
from .ends import index_of, is_error, is_finish, stands
from .rules import Rules
from .scan import items, last, members, start_of
from .state import MAX_CHOICES

Output = Literal["sse", "dict"]
# What a fault is made from: its kind and the facts of it. The words are in `faults`.
FaultFacts = tuple[Any, ...]

_CONTAINERS: Final = ("delta", "message")
# What a report calls an event in which frames were glued together.
GLUED: Final = "glued_events"


class Documents:
    """The rules for one stream's JSON documents, with all the state they need.

    Attributes:
        complete: A finish_reason or another mark of a good end was seen.
        visible: Answer text or a tool call was seen.
        count: JSON objects seen.
        malformed: Documents that were no JSON object.
        finishes: The last ``finish_reason`` by choice index; where it is held back, the one
            that is to go out. No more choices than are remembered.
        before: Documents of our own that must go out before the one that was edited last.
        is_whole: The documents are all there is of their choices: nothing is held back.
        has_deltas: A choice with a delta was seen: what has a message instead is no whole
            completion but says again what the deltas said (Perplexity).
        was_whole: A whole completion was in the event that was decided last.
        ends: The mark that ends the stream stood behind a document of that event.
        is_response: The documents are bodies that nobody asked to be streamed.
        is_noted: `decided` is wanted.
        decided: The document that was decided last, and what changed in it.
    """

    __slots__ = (
        "_kind", "_last", "_options", "before", "complete", "count", "decided", "ends", "finishes",
        "has_deltas", "is_noted", "is_response", "is_whole", "malformed", "rules", "visible",
        "was_whole",
    )  # fmt: skip

    def __init__(self, options: Options, *, is_response: bool = False) -> None:
        self._options = options
        self.is_response: bool = is_response
        self.has_deltas: bool = False
        self.was_whole: bool = False
        self.ends: bool = False
        self.is_noted: bool = False
        self.decided: tuple[dict[str, Any], list[plans.ChoicePlan]] | None = None
        self._kind: str = "event"
        self.rules: Rules = Rules(options)
        self.complete: bool = False
        self.visible: bool = False
        self.count: int = 0
        self.malformed: int = 0
        # (Made for the first.)
        self.finishes: dict[int, str] | None = None
        self.before: Sequence[bytes] = ()
        # The last document after which something was held back.
        self._last: bytes | dict[str, Any] | None = None
        self.is_whole: bool = is_response

    def begin(self, kind: str) -> None:
        """Before an event; for *kind* see `decide.decide`."""
        self._kind = kind
        self.is_whole = kind in ("body", "last")
        self.was_whole = self.ends = False
        self.decided = None

    def take_over(self, last_held: bytes) -> None:
        """Remember the document after which the other engine held something back last."""
        self._last = last_held or self._last

    def chunk(self, data: bytes) -> tuple[list[dict[str, Any]], FaultFacts | None]:
        """Normalise one document to chunks.

        Returns:
            (the chunks, mostly one; the facts of a fault that follows them, or None).
        """
        value = parse(data)
        if not isinstance(value, dict):
            found = self._resync(data, value)
            if found is None:
                return [], self._not_a_chunk(data, value)
            made, fault = self._read_again(found, self.chunk, loads)
            if fault is None and found.rest:
                fault = self._lose(found.rest)
            return made, fault
        fault = self._look(value)
        # An error beside choices (OpenRouter) is a chunk too; an error alone is none.
        if fault is not None and not value.get("choices"):
            return [], fault
        made = []
        for part, inner, is_final in self._parts(data, value):
            made += self._chunk(part, inner, is_final=is_final or fault is not None)
        return made, fault

    def _chunk(self, data: bytes, value: dict[str, Any], *, is_final: bool) -> list[dict[str, Any]]:
        plan = self._plan(value, data, is_final)
        if any(edit.op == "arguments" for choice in plan for edit in choice.decision.calls):
            # The text of an object is a matter of its bytes.
            return self._halves(loads(self.make(data, plan)))
        return self._halves(plans.on_dict(value, plan))

    def normalize(self, value: dict[str, Any]) -> tuple[list[dict[str, Any]], FaultFacts | None]:
        """Normalise a chunk that is a dict already; *value* itself stays as it is."""
        fault = self._look(value)
        is_completion = self._is_completion(value)
        is_final = fault is not None or (is_completion and whole.is_finished(value))
        made = []
        for part in whole.chunks(value) if is_completion else [value]:
            made += self._halves(plans.on_dict(part, self._plan(part, part, is_final)))
        return made, fault

    def _halves(self, chunk: dict[str, Any]) -> list[dict[str, Any]]:
        halves = split.chunk(chunk, self._options.targets) if self._options.split_mixed else None
        return [chunk] if halves is None else list(halves)

    def edit(self, data: bytes) -> tuple[list[bytes], FaultFacts | None]:
        """Normalise one document in its bytes: the same, but for the spans of the edits.

        Returns:
            (the documents that it becomes, mostly one; the facts of a fault that follows
            them, or None).
        """
        value = parse(data)
        if not isinstance(value, dict):
            found = self._resync(data, value)
            if found is None:
                # Bytes that are no chunk pass verbatim: only chunks can be corrupt.
                facts = self._not_a_chunk(data, value)
                return [data], facts if facts and facts[0] == "error_event" else None
            made, fault = self._read_again(found, self.edit, bytes)
            if fault is None and found.rest:
                self._lose(found.rest)
            return made + ([found.done] if found.done and fault is None else []), fault
        fault = self._look(value)
        made = []
        for part, inner, is_final in self._parts(data, value):
            made += self._edit(part, inner, is_final=is_final or fault is not None)
        return made, fault

    def _edit(self, data: bytes, value: dict[str, Any], *, is_final: bool) -> list[bytes]:
        plan = self._plan(value, data, is_final)
        edited = self.make(data, plan) if plan else data
        halves = (
            split.document(edited, self._options.targets) if self._options.split_mixed else None
        )
        return [edited] if halves is None else list(halves)

    def _is_completion(self, value: dict[str, Any]) -> bool:
        """Whether a document is a whole completion that is to become chunks."""
        if self.is_response or self.has_deltas or not whole.is_whole(value):
            return False
        self.was_whole = True
        self.rules.tally.add("repairs", whole.REPAIR)
        return True

    def _parts(
        self, data: bytes, value: dict[str, Any]
    ) -> list[tuple[bytes, dict[str, Any], bool]]:
        """The documents that one stands for: bytes, value, nothing of its choices follows."""
        if not self._is_completion(value):
            return [(data, value, False)]
        is_final = whole.is_finished(value)
        return [(part, loads(part), is_final) for part in whole.documents(data, value)]

    def _resync(self, data: bytes, value: Any) -> resync.Resynced | None:
        """What can be read of a value that is no document; see `resync.split`."""
        if value is not None or self._kind == "body" or self.is_response:
            return None
        found = resync.split(data)
        # The mark that ends the stream, behind an empty line, is nothing that was glued.
        is_bare = data.lstrip().startswith(DONE_MARK)
        return None if is_bare else found

    def _read_again(
        self,
        found: resync.Resynced,
        normalise: Callable[[bytes], tuple[list[Any], FaultFacts | None]],
        form: Callable[[bytes], Any],
    ) -> tuple[list[Any], FaultFacts | None]:
        """What comes of frames that were glued together, up to a fault in one of them."""
        made: list[Any] = []

        def put_out(*, is_end: bool) -> None:
            held = self.flush(is_end=is_end)
            made.extend([form(held)] if isinstance(held, bytes) else [])

        self.rules.tally.add("repairs", GLUED)
        self.malformed += found.lost
        for document in found.documents:
            new, fault = normalise(document)
            if fault is not None:
                put_out(is_end=False)
                return made + new, fault
            made += new
        if found.done is not None:
            self.ends = True
            put_out(is_end=True)
        elif self._kind == "tail" and (found.lost or found.rest):
            put_out(is_end=False)
        return made, None

    def _lose(self, rest: bytes) -> FaultFacts | None:
        """Give up what follows the last frame: the end of the input may have cut it off."""
        self.malformed += 1
        is_cut = self._kind == "tail" and self._options.on_malformed == "raise"
        return ("corrupt", rest) if is_cut else None

    def make(self, data: bytes, plan: list[plans.ChoicePlan]) -> bytes:
        """A document with *plan* carried out in its bytes."""
        # Bytes that are not UTF-8 stay what they are: they ride along as surrogates.
        text = data.decode("utf-8", "surrogateescape")
        at = last(members(text, start_of(text)), "choices").start
        starts = items(text, at)
        made: list[splice.Cut] = []
        for choice in plan:
            made += plans.cuts(text, starts[choice.position], choice)
        return splice.make_bytes(data, text, made)

    def _plan(
        self, value: dict[str, Any], origin: bytes | dict[str, Any], is_final: bool
    ) -> list[plans.ChoicePlan]:
        """What changes in each choice; choices in which nothing does are left out."""
        choices = value.get("choices")
        if not isinstance(choices, list):
            return []
        model = value.get("model")
        plan = []
        self.rules.has_held = False
        for position, choice in enumerate(choices):
            if isinstance(choice, dict):
                index = index_of(choice, position)
                made = self._plan_choice(choice, position, index, model, is_final)
                if made is not None:
                    plan.append(made)
        if self.is_noted:
            self.decided = (value, plan)
        if self.rules.has_held or any(choice.is_held for choice in plan):
            self._last = origin
        return plan

    def _plan_choice(
        self, choice: dict[str, Any], position: int, index: int, model: Any, is_final: bool
    ) -> plans.ChoicePlan | None:
        name = _CONTAINERS[0] if _CONTAINERS[0] in choice else _CONTAINERS[1]
        delta = choice.get(name)
        reason: Any = choice.get("finish_reason")
        finished = is_finish(reason)
        self.complete = self.complete or finished
        is_message = name == _CONTAINERS[1] and isinstance(delta, dict)
        final = finished or is_final or self.is_whole
        fresh: dict[str, Any] | None = None
        if isinstance(delta, dict):
            decision = self.rules.apply(index, delta, final, model=model, is_message=is_message)
            self.visible = self.visible or decision.is_visible
        else:
            decision = NOTHING
            if delta is None and final:
                fresh = self._flushed(index, model)
                name = _CONTAINERS[0]
        is_held = False
        if finished:
            self.rules.notice_finish(index, reason, delta)
            is_held = not is_message and self._hold(index, reason)
            self.note_finish(index, self.rules.states[index].finish if is_held else reason)
        if decision.edits or decision.calls or fresh or is_held:
            return plans.ChoicePlan(position, name, decision, fresh or None, is_held)
        return None

    def note_finish(self, index: int, reason: str) -> None:
        """Remember the ``finish_reason`` of a choice."""
        if self.finishes is None:
            self.finishes = {}
        if index in self.finishes or len(self.finishes) < MAX_CHOICES:
            self.finishes[index] = reason

    def _flushed(self, index: int, model: Any) -> dict[str, Any]:
        """A delta with what the choice holds back; empty where it holds nothing."""
        state = self.rules.states.get(index)
        if state is None or not state.tags.held:
            return {}
        decision = self.rules.apply(index, {}, True, model=model)
        self.visible = self.visible or decision.is_visible
        return splice.on_dict({}, decision.edits)

    def _hold(self, index: int, reason: str) -> bool:
        """Whether a ``finish_reason`` is held back."""
        state = self.rules.states.get(index)
        if self._options.finish != "last" or (state is None and not self.rules.has_room):
            return False
        state = state or self.rules.new_state(index)
        # Some say "stop" on the usage chunk, after the true reason.
        if not state.finish or reason not in VAGUE_FINISHES:
            state.finish = reason
        return True

    def flush(self, *, is_end: bool) -> bytes | dict[str, Any] | None:
        """A chunk of our own with all that is held back.

        Args:
            is_end: The stream ended well: a ``finish_reason`` that was held goes out, too.

        Returns:
            Of the type of the documents that were seen; None where nothing is held.
        """
        choices = []
        for index, state in self.rules.states.items():
            reason = state.finish if is_end else ""
            delta = self._flushed(index, None)
            if delta or reason:
                choices.append({"index": index, "delta": delta, "finish_reason": reason or None})
                state.finish = "" if is_end else state.finish
        origin = self._last
        if not choices or origin is None:
            return None
        if isinstance(origin, dict):
            envelope = {key: origin[key] for key in origin if key in ENVELOPE}
            return {**envelope, "choices": choices}
        head = split.envelope(origin.decode("utf-8", "surrogateescape"))
        return (head + '"choices":').encode("utf-8", "surrogateescape") + dumps(choices) + b"}"

    def _look(self, value: dict[str, Any]) -> FaultFacts | None:
        self.count += 1
        choices = value.get("choices")
        if isinstance(choices, list) and not self.has_deltas:
            self.has_deltas = any(isinstance(c, dict) and "delta" in c for c in choices)
        has_begun = self.has_deltas
        if value.get("error") or (choices is None and is_error(value, has_begun=has_begun)):
            return ("error_event", value)
        if "choices" not in value:
            self.visible = True
            self.complete = self.complete or any(
                stands(value, mark.path, mark.value) for mark in TERMINALS
            )
        return None

    def _not_a_chunk(self, data: bytes, value: Any) -> FaultFacts | None:
        # Google's error bodies are lists of one object.
        if isinstance(value, list) and value and isinstance(value[0], dict) and "error" in value[0]:
            return ("error_event", value[0])
        self.malformed += 1
        return None if self._options.on_malformed == "skip" else ("corrupt", data)


def counts_of(documents: Documents) -> dict[str, Any]:
    """The counters of the report, by index in `SOURCES`, and what was put out and how it ended."""
    tally = documents.rules.tally
    return {
        "carried": {i for i in range(len(SOURCES)) if tally.carried >> i & 1},
        "remaps": tally.of("remaps"),
        "removed": tally.of("removed"),
        "mirrored": tally.of("mirrored"),
        "repeated": tally.of("repeated"),
        "conflicts": tally.of("conflicts"),
        "families": {family_name(documents, i): n for i, n in tally.of("families").items()},
        "repairs": tally.of("repairs"),
        "notices": tally.of("notices"),
        "events": documents.count,
        "malformed": documents.malformed,
        "declined": 0,
        "complete": documents.complete,
        "finishes": dict(documents.finishes or {}),
        "visible": documents.visible,
        "reasoning": documents.rules.reasoning_seen,
    }


def family_name(documents: Documents, family: int) -> str:
    """The name of a tag family; ``""`` where its opener stood in the prompt."""
    return documents.rules.content.vocabulary.tags[family].name if family >= 0 else ""


def parse(data: bytes) -> Any:
    """The parsed document; None for one that is no JSON (or is null: no chunk either)."""
    try:
        return loads(data)
    except ValueError:
        return None
