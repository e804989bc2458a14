"""Chunks that are objects already: dicts and the models of SDKs, normalised without bytes.

The reference rules decide on both engines, since there is nothing to parse.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any, Final

from . import _json
from .dialects import CONTENT, ENVELOPE, SOURCES
from .options import Options
from .pure.documents import Documents, FaultFacts, counts_of

# Which engine a report names for a source of objects: the one whose rules decided.
NAME: Final = "python"

_CALLS: Final = "tool_calls"

_DONE_EVENT: Final = b"data: [DONE]\n\n"

# Members of a delta object that go where their text has gone. Any other becomes None: SDKs
# promise those of their delta (``delta.content``), and LiteLLM itself reads them again from
# the chunks that it remembers, and breaks the stream where one is missing.
_ALIASES: Final = frozenset(
    source.key for source in SOURCES if source.key != CONTENT and source.shape in ("text", "object")
)
# Members of a choice and of a chunk that one of our own does not take from its model.
_CHOICE: Final = frozenset({"index", "delta", "finish_reason"})
_CHUNK: Final = frozenset({"choices", *ENVELOPE})

# Names of the method that turns a model into a dict, and what to ask of it: pydantic 2,
# SDKs of their own making, pydantic 1. Fields that nobody set would be defaults of the
# SDK, not words of the provider.
_TO_DICT: Final[tuple[tuple[str, dict[str, Any]], ...]] = (
    ("model_dump", {"mode": "json", "exclude_unset": True, "warnings": False}),
    ("to_dict", {}),
    ("dict", {"exclude_unset": True}),
)


class ObjectNormalizer:
    """The engine for one stream of chunk objects: `_engine.NormalizerEngine`, fed by item.

    Args:
        options: Limits and ``on_malformed`` do not apply.
        output: ``dict`` for chunks, ``sse`` for serialised events.
        keep: Chunks that are no dicts come out as the objects that they are, with the
            members of their deltas changed in place. (In ``sse`` output there is
            nothing to keep.)

    Attributes:
        fault: Facts of the fault that ended the stream, None while it is well.
        done: Always False: an object that ends the stream is not known.
    """

    def __init__(self, options: Options, output: str, *, keep: bool = False) -> None:
        self._documents = Documents(options)
        self._is_sse = output == "sse"
        self._keep = keep and not self._is_sse
        self._closed = False
        self._is_well = False
        self.fault: FaultFacts | None = None
        self.done = False
        # The last chunk object that was kept: one of our own is made like it.
        self._last: Any = None

    def feed(self, data: Any) -> Any:
        """Take the next chunk object; return it normalised, as a list or as bytes.

        Raises:
            TypeError: *data* is no chunk object.
        """
        chunks: list[Any]
        if self._keep and getattr(data, "choices", False) is None:
            # SDKs make such a chunk of an error body: nothing in it could be edited.
            chunks, has_choices = [data], False
            self.fault = self._documents.normalize(to_dict(data))[1]
        elif self._keep and not isinstance(data, Mapping):
            chunks = self._edit(data)
            has_choices = bool(data.choices)
        else:
            value = to_dict(data)
            chunks, self.fault = self._documents.normalize(value)
            has_choices = bool(value.get("choices"))
        # As with bytes: an error beside choices is a chunk too, an error alone is none.
        if self.fault is not None and not has_choices:
            chunks = []
        if self.fault is not None:
            chunks = self._flushed(is_end=False) + chunks
        return self._put(chunks)

    def switch_to_sse(self, made: Sequence[Any]) -> bytes:
        """Let the output be bytes from here on; return the chunks made so far as bytes."""
        self._is_sse, self._keep = True, False
        out: bytes = self._put([to_dict(chunk) for chunk in made])
        return out + _DONE_EVENT if self._is_well else out

    def _put(self, chunks: list[Any]) -> Any:
        if self._is_sse:
            return b"".join(_event(_json.dumps(chunk)) for chunk in chunks)
        return chunks

    def _flushed(self, *, is_end: bool) -> list[Any]:
        """What is held back, in a chunk of our own of the type of the stream's chunks."""
        held = self._documents.flush(is_end=is_end)
        if not isinstance(held, dict):
            return []
        return [held if self._last is None else _like(self._last, held)]

    def close(self, failed: bool = False) -> Any:
        """End the stream; return the final mark in ``sse`` output if it ended well.

        Args:
            failed: The source broke off.
        """
        if not self._closed and self.fault is None:
            if self._documents.count == 0:
                self.fault = ("empty", False)
            elif not self._documents.complete:
                self.fault = ("truncated",)
        is_end = not self._closed and self.fault is None and not failed
        is_failing = not self._closed and self._documents.count > 0
        held = self._flushed(is_end=is_end) if is_end or is_failing else []
        self._closed = True
        out = self._put(held)
        self._is_well = self._is_well or is_end
        return out + _DONE_EVENT if self._is_sse and is_end else out

    @property
    def events(self) -> int:
        """Chunks seen."""
        return self._documents.count

    @property
    def visible(self) -> bool:
        """Whether answer text or a tool call has come out."""
        return self._documents.visible

    @property
    def reasoning(self) -> bool:
        """Whether reasoning text has come out."""
        return self._documents.rules.reasoning_seen

    @property
    def pulse(self) -> int:
        """See `_engine.NormalizerEngine.pulse`."""
        is_over = self.fault is not None
        return self.events << 3 | self.visible << 2 | self.reasoning << 1 | is_over

    def hand_in(self) -> None:
        """Do nothing: it collects nothing."""

    def counts(self) -> dict[str, Any]:
        """The counters of the report."""
        return counts_of(self._documents)

    def _edit(self, chunk: Any) -> list[Any]:
        """Normalise the deltas of *chunk* in place; return it, behind what was split off it."""
        choices = getattr(chunk, "choices", None)
        if not isinstance(choices, list):
            raise TypeError(_refusal(chunk))
        deltas = [_member(choice, "delta") for choice in choices]
        shape: list[Any] = []
        for choice, delta in zip(choices, deltas, strict=True):
            seen = {"finish_reason": _member(choice, "finish_reason"), "delta": _plain(delta)}
            index = _member(choice, "index")
            shape.append(seen if index is None else {"index": index, **seen})
        look = {name: _member(chunk, name) for name in (*ENVELOPE, "error")}
        look = {"choices": shape, **{name: value for name, value in look.items() if value}}
        made, fault = self._documents.normalize(look)
        if choices:
            self._last = chunk
        if fault is not None:
            self.fault = (fault[0], to_dict(chunk))
        for choice, delta, before, after in zip(
            choices, deltas, shape, made[-1]["choices"], strict=True
        ):
            if after is before:
                continue
            if delta is None:
                _set(choice, "delta", after["delta"])
            elif after["delta"] is not before["delta"]:
                _rewrite(delta, before["delta"], after["delta"])
            if after["finish_reason"] != before["finish_reason"]:
                _set(choice, "finish_reason", after["finish_reason"])
        return [*(_like(chunk, half) for half in made[:-1]), chunk]


def to_dict(item: object) -> dict[str, Any]:
    """A chunk object as a dict of plain values; a dict is returned as it is.

    Args:
        item: A mapping, or an object with ``model_dump``, ``to_dict`` or ``dict``. Unknown
            members that it kept ("extras") come along, members that were never set do not.

    Raises:
        TypeError: *item* is nothing of these.
    """
    if isinstance(item, dict):
        return item
    if isinstance(item, Mapping):
        return dict(item)
    if not isinstance(item, type):
        for name, wanted in _TO_DICT:
            method = getattr(item, name, None)
            if callable(method):
                made = method(**wanted)
                if isinstance(made, dict):
                    return made
    raise TypeError(_refusal(item))


def members(delta: object) -> dict[str, Any] | None:
    """The members of a delta object by name, unknown ones that it kept included."""
    if delta is None or isinstance(delta, dict):
        return delta
    # Not model_dump: what is edited must be the values themselves, not copies of them.
    # pydantic 2 keeps unknown members apart from its fields.
    extra = getattr(delta, "__pydantic_extra__", None) or {}
    return {**getattr(delta, "__dict__", {}), **extra}


def _plain(delta: object) -> dict[str, Any] | None:
    """As `members`, with the tool calls as dicts, which is what the rules read."""
    found = members(delta)
    calls = found.get(_CALLS) if found is not None else None
    if found is None or not isinstance(calls, list):
        return found
    return {**found, _CALLS: [_plain_call(call) for call in calls]}


def _plain_call(call: Any) -> dict[str, Any]:
    """A tool call as a dict. None is how an object says nothing: no id or name to mend."""
    if isinstance(call, dict):
        return call
    made = {name: value for name, value in to_dict(call).items() if value is not None}
    function = made.get("function")
    if isinstance(function, dict):
        made["function"] = {k: value for k, value in function.items() if value is not None}
    return made


def _rewrite(delta: Any, before: dict[str, Any], after: dict[str, Any]) -> None:
    """Give *delta* the members of *after*, touching only those that differ."""
    if isinstance(delta, dict):
        delta.clear()
        delta.update(after)
        return
    for name in before:
        if name not in after:
            _clear(delta, name)
    for name, value in after.items():
        if name in before and before[name] is value:
            continue
        if name == _CALLS:
            for call, old, new in zip(getattr(delta, name), before[name], value, strict=True):
                _rewrite_call(call, old, new)
        else:
            setattr(delta, name, value)


def _rewrite_call(call: Any, before: dict[str, Any], after: dict[str, Any]) -> None:
    """Give the object of one tool call what the rules have made of it."""
    if isinstance(call, dict):
        call.clear()
        call.update(after)
        return
    for name in {*before, *after}:
        if name == "function":
            function = _member(call, name)
            for inner in before.get(name) or {}:
                new = after[name].get(inner)
                if new is not before[name][inner]:
                    _set(function, inner, new)
        elif after.get(name) is not before.get(name):
            _set(call, name, after.get(name))


def _like(chunk: Any, wanted: dict[str, Any]) -> Any:
    """A chunk object like *chunk* that says what *wanted* says."""
    made = _blank(chunk, _CHUNK)
    choices = []
    for want in wanted["choices"]:
        choice = _blank(chunk.choices[0], _CHOICE)
        _set(choice, "index", want.get("index", 0))
        _set(choice, "finish_reason", want["finish_reason"])
        _set(choice, "delta", _like_delta(_member(choice, "delta"), want["delta"]))
        choices.append(choice)
    made.choices = choices
    return made


def _blank(item: Any, kept: frozenset[str]) -> Any:
    """A copy of *item* in which only the members *kept* say something."""
    made = copy.copy(item)
    for name, value in (members(made) or {}).items():
        if name not in kept and value is not None:
            _set(made, name, None)
    return made


def _like_delta(delta: Any, wanted: dict[str, Any]) -> Any:
    if delta is None or isinstance(delta, dict):
        return dict(wanted)
    made = copy.copy(delta)
    for name in members(made) or {}:
        if name not in wanted:
            _clear(made, name)
    for name, value in wanted.items():
        setattr(made, name, value)
    return made


def _clear(delta: Any, name: str) -> None:
    """Have a delta object say nothing under *name*."""
    if name in _ALIASES:
        delattr(delta, name)
    elif getattr(delta, name) is not None:
        setattr(delta, name, None)


def _set(item: Any, name: str, value: Any) -> None:
    if isinstance(item, dict):
        item[name] = value
    else:
        setattr(item, name, value)


def _member(item: object, name: str) -> Any:
    return item.get(name) if isinstance(item, dict) else getattr(item, name, None)


def _event(data: bytes) -> bytes:
    return b"data: " + data + b"\n\n"


def _refusal(item: object) -> str:
    if isinstance(item, bytes | bytearray | memoryview | str):
        return (
            f"the source gave an item of type {type(item).__name__} after chunk objects; "
            "one source must give one sort of items"
        )
    return (
        f"the source gave an item of type {type(item).__name__}; items must be bytes, bytearray, "
        "memoryview or str, or else dicts or chunk objects that turn into a dict"
    )
