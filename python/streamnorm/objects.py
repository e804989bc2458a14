"""Chunks that are objects already: dicts and the models of SDKs, normalised without bytes.

The reference rules decide on both engines, since there is nothing to parse.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from . import _json
from .options import Options
from .pure.documents import Documents, FaultFacts, counts_of

# Which engine a report names for a source of objects: the one whose rules decided.
NAME: Final = "python"

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
        self.fault: FaultFacts | None = None
        self.done = False

    def feed(self, data: Any) -> Any:
        """Take the next chunk object; return it normalised, as a list or as bytes.

        Raises:
            TypeError: *data* is no chunk object.
        """
        if self._keep and not isinstance(data, Mapping):
            chunk = data
            has_choices = self._edit(data)
        else:
            chunk, self.fault = self._documents.normalize(to_dict(data))
            has_choices = bool(chunk.get("choices"))
        # As with bytes: an error beside choices is a chunk too, an error alone is none.
        if self.fault is not None and not has_choices:
            return b"" if self._is_sse else []
        return _event(_json.dumps(chunk)) if self._is_sse else [chunk]

    def close(self) -> Any:
        """End the stream; return the final mark in ``sse`` output if it ended well."""
        if not self._closed and self.fault is None:
            if self._documents.count == 0:
                self.fault = ("empty", False)
            elif not self._documents.complete:
                self.fault = ("truncated",)
        is_end = not self._closed and self.fault is None
        self._closed = True
        if self._is_sse:
            return _event(b"[DONE]") if is_end else b""
        return []

    def counts(self) -> dict[str, Any]:
        """The counters of the report."""
        return counts_of(self._documents)

    def _edit(self, chunk: object) -> bool:
        """Normalise the deltas of *chunk* in place; return whether it has choices."""
        choices = getattr(chunk, "choices", None)
        if not isinstance(choices, list):
            raise TypeError(_refusal(chunk))
        deltas = [_member(choice, "delta") for choice in choices]
        shape: list[Any] = []
        for choice, delta in zip(choices, deltas, strict=True):
            seen = {"finish_reason": _member(choice, "finish_reason"), "delta": members(delta)}
            index = _member(choice, "index")
            shape.append(seen if index is None else {"index": index, **seen})
        look = {"choices": shape, "error": _member(chunk, "error")}
        edited, fault = self._documents.normalize(look)
        if fault is not None:
            self.fault = (fault[0], to_dict(chunk))
        for delta, before, after in zip(deltas, shape, edited["choices"], strict=True):
            if after is not before:
                _rewrite(delta, before["delta"], after["delta"])
        return bool(choices)


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


def _rewrite(delta: Any, before: dict[str, Any], after: dict[str, Any]) -> None:
    """Give *delta* the members of *after*, touching only those that differ."""
    if isinstance(delta, dict):
        delta.clear()
        delta.update(after)
        return
    for name in before:
        if name not in after:
            delattr(delta, name)
    for name, value in after.items():
        if name not in before or before[name] is not value:
            setattr(delta, name, value)


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
