"""What comes in fragments, put together: the objects and lists of deltas."""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, Protocol

from .details import ReasoningDetails
from .dialects import SOURCES
from .objects import to_dict

# Increments inside of a member that is an object; objects are merged member by member.
NESTED_TEXTS: Final[dict[str, tuple[str, ...]]] = {
    # OpenAI API reference: function calls, custom tool calls, audio of a chat completion.
    "function": ("arguments",),
    "function_call": ("arguments",),
    "custom": ("input",),
    "audio": ("transcript", "data"),
    **{
        source.key: tuple(name for _, name in source.picks)
        for source in SOURCES
        if source.shape == "nested" and not source.steps
    },
}
# Of these, the one that is in base64, each increment for itself.
_BASE64: Final = "data"
# Objects whose ``name`` may come in pieces, or again with every fragment.
_NAMED: Final = ("function", "function_call", "custom")
# A text of thinking this long that comes again with its signature is no second thought.
_SURE_LENGTH: Final = 8
# A block of ``content_blocks`` with this member is of this type: Portkey takes the type out
# of what it streams (Portkey-AI/gateway src/providers/anthropic/chatComplete.ts).
_BLOCK_TYPES: Final = (("thinking", "thinking"), ("data", "redacted_thinking"), ("text", "text"))
_SCALARS: Final = frozenset((str, int, float, bool, type(None)))
_SURROGATE: Final = re.compile("[\ud800-\udfff]")


def plain(value: Any) -> Any:
    """A copy of *value* in which all objects are dicts and lists, models of SDKs as well."""
    kind = type(value)
    if kind in _SCALARS:
        return value
    if kind is dict:
        return {k: v if type(v) in _SCALARS else plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, str | int | float):
        return value
    try:
        return plain(to_dict(value))
    except TypeError:
        return value


def join_text(pieces: Iterable[str]) -> str:
    """Join increments, of which two may hold the two halves of one character."""
    text = "".join(pieces)
    if text.isascii() or _SURROGATE.search(text) is None:
        return text
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")


class FragmentList(Protocol):
    """What is put together from lists of fragments."""

    def extend(self, fragments: list[dict[str, Any]]) -> None:
        """Take the next list, which nobody else has."""
        ...

    def built(self) -> list[dict[str, Any]]:
        """The whole so far, in new objects."""
        ...


_NO_TEXTS: Final[Mapping[str, list[str]]] = {}


class Fields:
    """An object from its fragments; members stand in the order of their arrival.

    Args:
        texts: Members whose strings are increments.
        is_named: The member ``name`` is an increment too, unless it repeats the whole.
    """

    __slots__ = ("is_named", "members", "texts")

    def __init__(self, texts: Iterable[str] = (), *, is_named: bool = False) -> None:
        self.texts: Mapping[str, list[str]] = {name: [] for name in texts} or _NO_TEXTS
        self.members: dict[str, Any] = {}
        self.is_named: bool = is_named

    @classmethod
    def of(cls, name: str) -> Fields:
        """The object that is a member *name*."""
        return cls(NESTED_TEXTS.get(name, ()), is_named=name in _NAMED)

    def update(self, fragment: dict[str, Any]) -> None:
        """Take the next fragment, which nobody else has."""
        for name, value in fragment.items():
            if value is not None:
                if type(value) is str and name in self.texts:
                    self.texts[name].append(value)
                    self.members.setdefault(name, "")
                else:
                    self._add(name, value)

    def text(self, name: str) -> str:
        """An increment's whole so far."""
        pieces = self.texts[name]
        return _join_base64(pieces) if name == _BASE64 else join_text(pieces)

    def built(self) -> dict[str, Any]:
        made: dict[str, Any] = {}
        for name, value in self.members.items():
            if self.texts.get(name):
                made[name] = self.text(name)
            else:
                made[name] = value.built() if isinstance(value, Fields) else plain(value)
        return made

    def _add(self, name: str, value: Any) -> None:
        is_object = isinstance(value, dict)
        if name in self.texts:
            # Arguments are an object where their repair was switched off.
            text = _compact(value) if is_object else value
            if isinstance(text, str):
                self.texts[name].append(text)
                self.members.setdefault(name, "")
                return
        if is_object:
            inner = self.members.get(name)
            if not isinstance(inner, Fields):
                inner = self.members[name] = Fields.of(name)
            inner.update(value)
        elif self.is_named and name == "name" and isinstance(value, str):
            before = self.members.get(name, "")
            self.members[name] = before if value == before else before + value
        elif value != "" or name not in self.members:
            self.members[name] = value


class _Calls:
    """``tool_calls``."""

    def __init__(self) -> None:
        self._calls: dict[int, Fields] = {}
        self._by_id: dict[str, Fields] = {}
        self._last: Fields | None = None
        self._next = 0

    def extend(self, fragments: list[dict[str, Any]]) -> None:
        for fragment in fragments:
            index, call_id = fragment.pop("index", None), fragment.get("id")
            call = self._find(index, call_id)
            if call.members.get("id"):
                fragment.pop("id", None)
            elif call_id and isinstance(call_id, str):
                self._by_id.setdefault(call_id, call)
            call.update(fragment)
            self._last = call

    def built(self) -> list[dict[str, Any]]:
        return [_as_in_body(self._calls[index].built()) for index in sorted(self._calls)]

    def _find(self, index: object, call_id: object) -> Fields:
        if type(index) is int:
            found = self._calls.get(index)
        else:
            index = self._next
            found = self._by_id.get(str(call_id)) if call_id else self._last
        if found is None:
            found = self._calls[index] = Fields()
            self._next = max(self._next, index + 1)
        return found


def _as_in_body(call: dict[str, Any]) -> dict[str, Any]:
    """A call with the members that each call of a body has."""
    made = {"id": call.pop("id")} if "id" in call else {}
    made["type"] = call.pop("type", "") or ("custom" if "custom" in call else "function")
    if isinstance(call.get("function"), dict):
        call["function"].setdefault("arguments", "")
    return {**made, **call}


class _Details:
    """``reasoning_details``."""

    def __init__(self) -> None:
        self._details = ReasoningDetails()

    def extend(self, fragments: list[dict[str, Any]]) -> None:
        self._details.add(fragments)

    def built(self) -> list[dict[str, Any]]:
        # The members of a merged detail are those of its fragments, not copies of them.
        return [plain(detail) for detail in self._details.merged()]


class _ThinkingBlocks:
    """``thinking_blocks`` of LiteLLM, whose fragments have no index."""

    def __init__(self) -> None:
        self._blocks: list[Fields] = []
        self._is_open = False

    def extend(self, fragments: list[dict[str, Any]]) -> None:
        for fragment in fragments:
            if fragment.get("type", "thinking") != "thinking":
                self._begin(is_open=False).update(fragment)
                continue
            block = self._blocks[-1] if self._is_open else self._begin(is_open=True)
            text, signature = fragment.get("thinking"), fragment.get("signature")
            before = block.members.get("signature")
            if before and (text or (signature and signature != before)):
                block = self._begin(is_open=True)
            elif signature and isinstance(text, str) and len(text) >= _SURE_LENGTH:
                # LiteLLM has sent the whole text again with the signature: its issue 31185.
                fragment["thinking"] = "" if text == block.text("thinking") else text
            block.update(fragment)

    def built(self) -> list[dict[str, Any]]:
        return [block.built() for block in self._blocks]

    def _begin(self, *, is_open: bool) -> Fields:
        self._blocks.append(Fields(("thinking",)))
        self._is_open = is_open
        return self._blocks[-1]


class _ContentBlocks:
    """``content_blocks`` of Portkey: blocks of the Anthropic Messages API."""

    def __init__(self) -> None:
        self._blocks: list[Fields] = []
        self._by_index: dict[int, Fields] = {}

    def extend(self, fragments: list[dict[str, Any]]) -> None:
        for fragment in fragments:
            index, delta = fragment.get("index"), fragment.get("delta")
            if type(index) is not int or not isinstance(delta, dict):
                self._begin().update(fragment)
                continue
            if index not in self._by_index:
                self._by_index[index] = self._begin()
            if str(delta.get("type")).endswith("_delta"):
                del delta["type"]
            self._by_index[index].update(delta)

    def built(self) -> list[dict[str, Any]]:
        blocks = [block.built() for block in self._blocks]
        for n, block in enumerate(blocks):
            kinds = [kind for name, kind in _BLOCK_TYPES if name in block]
            if kinds and "type" not in block:
                blocks[n] = {"type": kinds[0], **block}
        return blocks

    def _begin(self) -> Fields:
        self._blocks.append(Fields(("thinking", "text")))
        return self._blocks[-1]


LISTS: Final[dict[str, Callable[[], FragmentList]]] = {
    "tool_calls": _Calls,
    "reasoning_details": _Details,
    "thinking_blocks": _ThinkingBlocks,
    "content_blocks": _ContentBlocks,
}


def objects(values: list[Any]) -> list[dict[str, Any]]:
    """Copies of those *values* that are objects."""
    return [value for value in map(plain, values) if isinstance(value, dict)]


def _compact(value: dict[str, Any]) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _join_base64(pieces: list[str]) -> str:
    """Join texts in base64, each of which may be padded for itself."""
    try:
        decoded = [base64.b64decode(piece, validate=True) for piece in pieces]
    except (binascii.Error, ValueError):
        return "".join(pieces)
    return base64.b64encode(b"".join(decoded)).decode("ascii")
