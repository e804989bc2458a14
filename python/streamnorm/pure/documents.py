"""One JSON document, or one event: what comes out of it.

The Rust engine calls `Documents.hand_over` for the events that it declines.
"""

from __future__ import annotations

from typing import Any, Final, Literal, NamedTuple

from .._json import loads
from ..dialects import DONE_MARK, TERMINALS, UNFINISHED
from ..options import Options
from . import splice
from .rules import Edit, Rules
from .scan import items, last, members
from .state import ChoiceState, ExportedState

Output = Literal["sse", "dict"]
# What a fault is made from: its kind and the facts of it. The words are in `faults`.
FaultFacts = tuple[Any, ...]

_CONTAINERS: Final = ("delta", "message")


class Facts(NamedTuple):
    """What one event added to the facts of its stream; see `Documents`."""

    events: int
    malformed: int
    complete: bool
    visible: bool
    reasoning: bool


class Documents:
    """The rules for one stream's JSON documents, with all the state they need.

    Attributes:
        complete: A finish_reason or another mark of a good end was seen.
        visible: Answer text or a tool call was seen.
        count: JSON objects seen.
        malformed: Documents that were no JSON object.
    """

    def __init__(self, options: Options) -> None:
        self._options = options
        self.rules: Rules = Rules(options)
        self.complete: bool = False
        self.visible: bool = False
        self.count: int = 0
        self.malformed: int = 0

    def chunk(self, data: bytes) -> tuple[dict[str, Any] | None, FaultFacts | None]:
        """Normalise one document to a chunk.

        Returns:
            (the chunk, or None where there is none to deliver; the facts of a fault that
            follows it, or None).
        """
        value = _parse(data)
        if not isinstance(value, dict):
            return None, self._not_a_chunk(data, value)
        chunk, fault = self.normalize(value)
        # An error beside choices (OpenRouter) is a chunk too; an error alone is none.
        return (None if fault is not None and not value.get("choices") else chunk), fault

    def normalize(self, value: dict[str, Any]) -> tuple[dict[str, Any], FaultFacts | None]:
        """Normalise a chunk that is a dict already; *value* itself stays as it is."""
        fault = self._look(value)
        plan = self._plan(value)
        if not plan:
            return value, fault
        choices = list(value["choices"])
        for position, name, edits in plan:
            choice = choices[position] = dict(choices[position])
            choice[name] = splice.on_dict(choice[name], edits)
        return {**value, "choices": choices}, fault

    def edit(self, data: bytes) -> tuple[bytes, FaultFacts | None]:
        """Normalise one document in its bytes: the same, but for the spans of the edits."""
        value = _parse(data)
        if not isinstance(value, dict):
            # Bytes that are no chunk pass verbatim: only chunks can be corrupt.
            facts = self._not_a_chunk(data, value)
            return data, facts if facts and facts[0] == "error_event" else None
        fault = self._look(value)
        plan = self._plan(value)
        if not plan:
            return data, fault
        # Bytes that are not UTF-8 stay what they are: they ride along as surrogates.
        text = data.decode("utf-8", "surrogateescape")
        at = last(members(text, _start(text)), "choices").start
        starts = items(text, at)
        made: list[splice.Cut] = []
        for position, name, edits in plan:
            delta = last(members(text, starts[position]), name).start
            made += splice.cuts(text, delta, edits)
        return splice.make(text, made).encode("utf-8", "surrogateescape"), fault

    def _plan(self, value: dict[str, Any]) -> list[tuple[int, str, list[Edit]]]:
        """The edits of each choice: (its position, ``delta`` or ``message``, the edits)."""
        choices = value.get("choices")
        if not isinstance(choices, list):
            return []
        plan = []
        for position, choice in enumerate(choices):
            if not isinstance(choice, dict):
                continue
            name = _CONTAINERS[0] if _CONTAINERS[0] in choice else _CONTAINERS[1]
            delta = choice.get(name)
            finished = is_finish(choice.get("finish_reason"))
            self.complete = self.complete or finished
            if not isinstance(delta, dict):
                continue
            self.visible = self.visible or is_visible(delta)
            edits = self.rules.apply(index_of(choice, position), delta, finished)
            if edits:
                plan.append((position, name, edits))
        return plan

    def _look(self, value: dict[str, Any]) -> FaultFacts | None:
        self.count += 1
        if value.get("error"):
            return ("error_event", value)
        if "choices" not in value:
            self.visible = True
            self.complete = self.complete or any(
                _stands(value, mark.path, mark.value) for mark in TERMINALS
            )
        return None

    def _not_a_chunk(self, data: bytes, value: Any) -> FaultFacts | None:
        # Google's error bodies are lists of one object.
        if isinstance(value, list) and value and isinstance(value[0], dict) and "error" in value[0]:
            return ("error_event", value[0])
        self.malformed += 1
        return None if self._options.on_malformed == "skip" else ("corrupt", data)

    def hand_over(
        self,
        kind: str,
        values: list[bytes],
        output: Output,
        states: list[tuple[int, ExportedState]] | None,
    ) -> tuple[list[Any], FaultFacts | None, Facts]:
        """Decide one event for the engine that declined it.

        The states of the choices stay here afterwards, until `take_states` is called: a
        stream of which every event is declined does not carry its text to and fro.

        Args:
            kind: See `decide`.
            values: The values of its ``data`` lines, or the lines of a stray error.
            output: ``sse`` for the edited values, ``dict`` for the chunks.
            states: (choice index, exported state) for every choice; None where they are
                still here.

        Returns:
            (the edited values or the chunks, facts of a fault or None, what this event
            added to the facts of the stream).
        """
        before = self.count, self.malformed
        self.complete = self.visible = self.rules.reasoning_seen = False
        if states is not None:
            self.rules.states = {index: ChoiceState.load(state) for index, state in states}
        made, fault = decide(self, kind, values, output)
        facts = Facts(
            self.count - before[0],
            self.malformed - before[1],
            self.complete,
            self.visible,
            self.rules.reasoning_seen,
        )
        return made, fault, facts

    def take_states(self) -> list[tuple[int, ExportedState]]:
        """The states of the choices, for the engine that decides again."""
        return [(index, state.export()) for index, state in self.rules.states.items()]


def counts_of(documents: Documents) -> dict[str, Any]:
    """The counters of the report, by index in `SOURCES`, and what was put out."""
    tally = documents.rules.tally
    return {
        "carried": tally.carried,
        "remaps": tally.remaps,
        "removed": tally.removed,
        "mirrored": tally.mirrored,
        "repeated": tally.repeated,
        "conflicts": tally.conflicts,
        "events": documents.count,
        "malformed": documents.malformed,
        "declined": 0,
        "visible": documents.visible,
        "reasoning": documents.rules.reasoning_seen,
    }


def decide(
    documents: Documents, kind: str, values: list[bytes], output: Output
) -> tuple[list[Any], FaultFacts | None]:
    """Decide one event.

    Args:
        documents: The stream that it belongs to.
        kind: ``event``; ``tail`` for one that the end of the input cut off; ``error`` for
            one of that name; ``stray`` for lines that are no event but look like an error.
        values: Its lines; at least one is not blank.
        output: ``sse`` or ``dict``.

    Returns:
        (the edited values or the chunks; the facts of a fault that follows them).
    """
    if kind in ("event", "tail"):
        made: list[Any]
        made, fault = (edit_values if output == "sse" else chunks_of)(documents, values)
        if kind == "tail" and fault is not None and fault[0] == "corrupt":
            # Half an event at the end of the input was cut off, not garbled.
            fault = ("truncated", fault[1])
        return made, fault
    data = b"\n".join(values)
    said = _parse(data)
    if kind == "stray" and isinstance(said, dict) and not said.get("error", True):
        return [], None
    if said is None:
        said = data.decode("utf-8", "replace")
    return [], ("error_event", said)


def is_done(value: bytes) -> bool:
    """Whether a ``data`` value ends the stream."""
    return value.lstrip(b" \t").startswith(DONE_MARK)


def is_said(values: list[bytes]) -> bool:
    """Whether an event says anything: an empty data line is a keep-alive of some relays."""
    return any(value.strip(b" \t") for value in values)


def chunks_of(
    documents: Documents, values: list[bytes]
) -> tuple[list[dict[str, Any]], FaultFacts | None]:
    """The chunks of one event, and the facts of a fault that follows them."""
    chunks = []
    for data in _split(values):
        chunk, fault = documents.chunk(data)
        if chunk is not None:
            chunks.append(chunk)
        if fault is not None:
            return chunks, fault
    return chunks, None


def edit_values(documents: Documents, values: list[bytes]) -> tuple[list[bytes], FaultFacts | None]:
    """The values of one event's ``data`` lines, edited; as many as there were."""
    edited: list[bytes] = []
    split = _split(values)
    for data in split:
        new, fault = documents.edit(data)
        edited += new.split(b"\n") if len(split) < len(values) and len(split) == 1 else [new]
        if fault is not None:
            return edited + values[len(edited) :], fault
    return edited + values[len(edited) :], None


def _split(values: list[bytes]) -> list[bytes]:
    """The documents of one event.

    The standard joins its data lines. Servers that separate events by one line end
    instead of two (recorded by line-based clients, which never notice) give lines that
    are documents each, up to ``[DONE]``.
    """
    if len(values) == 1:
        return values
    joined = b"\n".join(values)
    if _parse(joined) is not None:
        return [joined]
    documents = []
    for value in values:
        if is_done(value):
            break
        if not isinstance(_parse(value), dict):
            return [joined]
        documents.append(value)
    return documents


def _parse(data: bytes) -> Any:
    """The parsed document; None for one that is no JSON (or is null: no chunk either)."""
    try:
        return loads(data)
    except ValueError:
        return None


def _start(text: str) -> int:
    return len(text) - len(text.lstrip(" \t\r\n"))


def _stands(value: Any, path: tuple[str, ...], expected: str | None) -> bool:
    """Whether *expected* (or any string, or True) stands at *path* of a document."""
    for n, step in enumerate(path):
        if step == "*":
            rest = path[n + 1 :]
            return isinstance(value, list) and any(_stands(v, rest, expected) for v in value)
        if not isinstance(value, dict) or step not in value:
            return False
        value = value[step]
    if expected is None:
        return value is True or (isinstance(value, str) and value not in UNFINISHED)
    return bool(value == expected)


def is_finish(reason: Any) -> bool:
    """Whether a ``finish_reason`` says that the choice is finished."""
    return isinstance(reason, str) and reason not in UNFINISHED


def is_visible(delta: dict[str, Any]) -> bool:
    """Whether a delta shows the user something: answer text or a tool call."""
    content, calls = delta.get("content"), delta.get("tool_calls")
    return (isinstance(content, str | list) and bool(content)) or (
        isinstance(calls, list) and bool(calls)
    )


def index_of(choice: dict[str, Any], position: int) -> int:
    """The index that names a choice; its position only where it has none."""
    index = choice.get("index")
    return index if isinstance(index, int) and not isinstance(index, bool) else position
