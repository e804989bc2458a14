"""Where the one text of an event stands that may differ in the next; see `template`."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from .._json import loads
from ..dialects import CONTENT, FLAG_PATH, SOURCES
from .content import TAG
from .ends import index_of, is_finish
from .plans import ChoicePlan
from .rules import CALLS, KEYS, Rules, texts_of
from .scan import items, last, members, start_of
from .state import ChoiceState
from .tags import REASON

# What stands in the slot while it is found out what becomes of the rest.
PROBE: Final = b"\x7fslot\x7f"
PROBE_TEXT: Final = PROBE.decode()


class Found(NamedTuple):
    """What an event was found to be; see the module.

    Attributes:
        state: Of its choice.
        source: Index in `SOURCES` of what the text came from, -1 for ``plain``.
        keys: Members of the delta in which the text stands.
        mirrors: Sources besides that said the same.
    """

    state: ChoiceState
    source: int
    keys: tuple[str, ...]
    mirrors: tuple[int, ...] = ()


def find(rules: Rules, value: dict[str, Any]) -> Found | None:
    """What a document is to templates; None where it is nothing."""
    choices = value.get("choices")
    if not isinstance(choices, list) or len(choices) != 1 or not isinstance(choices[0], dict):
        return None
    choice = choices[0]
    delta = choice.get("delta")
    if not isinstance(delta, dict) or delta.get(CALLS) or FLAG_PATH[0] in delta:
        return None
    state = rules.states.get(index_of(choice, 0))
    if state is None or is_finish(choice.get("finish_reason")):
        return None
    content = delta.get(CONTENT)
    if content is None or content == "":
        return None if KEYS.isdisjoint(delta) else _find_field(rules, state, delta)
    if not isinstance(content, str) or texts_of(delta):
        return None
    if is_settled(rules, state):
        return Found(state, -1, (CONTENT,))
    return Found(state, TAG, (CONTENT,)) if is_inside(state) else None


def _find_field(rules: Rules, state: ChoiceState, delta: dict[str, Any]) -> Found | None:
    lead = state.leader
    if lead < 0 or SOURCES[lead].shape != "text" or not state.is_fielded:
        return None
    texts = texts_of(delta)
    native = rules.native
    if lead not in texts or (native in texts and native != lead):
        return None
    mirrors = tuple(i for i in texts if i != lead)
    if any(texts[i] != texts[lead] for i in mirrors):
        return None
    if any(SOURCES[i].shape not in ("text", "nested") for i in mirrors):
        return None
    keys = tuple(SOURCES[i].key for i in (lead, *mirrors))
    return Found(state, lead, keys, mirrors)


def says(probe: bytes, found: Found) -> bool:
    """Whether a document with `PROBE` in its slots says that, as it was found to say its text."""
    try:
        value = loads(probe)
        delta = value["choices"][0]["delta"]
    except (ValueError, TypeError, LookupError):
        return False
    texts = texts_of(delta)
    if found.source in (-1, TAG):
        return not texts and delta.get(CONTENT) == PROBE_TEXT
    said = {found.source, *found.mirrors}
    return texts == dict.fromkeys(said, PROBE_TEXT) and not delta.get(CONTENT)


def is_inside(state: ChoiceState) -> bool:
    """Whether the content goes on with delimited reasoning that leads."""
    tags = state.tags
    if tags.mode != REASON or tags.held or tags.trims or tags.flagged:
        return False
    return state.leader == TAG and not state.is_fielded


def is_settled(rules: Rules, state: ChoiceState) -> bool:
    """Whether the content leaves as it came, whatever it says."""
    return rules.content.tags.is_settled(state.tags) and not state.tags.flagged


def is_constant(choice: ChoicePlan) -> bool:
    """Whether what changes in a choice does not depend on the text in the slot."""
    if choice.fresh is not None or choice.is_held or choice.decision.calls:
        return False
    return all(
        edit.op in ("rename", "drop", "insert") and edit.text is None
        for edit in choice.decision.edits
    )


def parts_of(data: bytes, keys: tuple[str, ...]) -> list[bytes] | None:
    """What stands around the slots of a document; None where they are not the same."""
    # Bytes that are not UTF-8 stay what they are: they ride along as surrogates.
    text = data.decode("utf-8", "surrogateescape")
    try:
        [start] = items(text, last(members(text, start_of(text)), "choices").start)
        delta = members(text, last(members(text, start), "delta").start)
        first = last(delta, keys[0])
        quoted = text[first.start : first.end]
        spans = {(first.start, first.end)}
        for key in keys[1:]:
            member = last(delta, key)
            if text.count(quoted, member.start, member.end) != 1:
                return None
            at = text.index(quoted, member.start, member.end)
            spans.add((at, at + len(quoted)))
    except (ValueError, StopIteration):
        return None
    parts: list[str] = []
    at = 0
    for begin, end in sorted(spans):
        parts.append(text[at : begin + 1])
        at = end - 1
    return [part.encode("utf-8", "surrogateescape") for part in (*parts, text[at:])]
