"""Tool call deltas made mergeable by ``index``, before any client merges them.

A delta is right already where each of its calls has an index of its own, says its id and
its name once, and gives its arguments as text. Such a delta is not touched.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from typing import Any, Final, Literal, NamedTuple

from ..options import REPAIRS

Count = Callable[[Literal["repairs"], str], None]
Op = Literal["index", "drop_id", "drop_name", "arguments"]

# Calls of one choice that are told apart. No model makes so many.
MAX_CALLS: Final = 1024
# What the brackets of arguments depend on.
_TELLING: Final = re.compile(r'["\\{}\[\]]')

# brackets open, in a string, behind a backslash, one was closed
ExportedArguments = tuple[int, bool, bool, bool]
# calls: (index, id, name, arguments); slots: (index as sent, index); the last index; the next
# free one
ExportedCalls = tuple[
    list[tuple[int, str, str, ExportedArguments | None]], list[tuple[int, int]], int | None, int
]


class ToolEdit(NamedTuple):
    """A change of one item of ``tool_calls``.

    Attributes:
        position: Of the item.
        op: ``index``: its index becomes *number*. ``drop_id``: its ``id`` goes.
            ``drop_name``: its ``function.name`` goes. ``arguments``: its
            ``function.arguments``, an object or a list, becomes its JSON text.
        number: See *op*.
    """

    position: int
    op: Op
    number: int = 0


class _Arguments:
    """Whether the arguments of a call are complete, piece by piece: are its brackets closed?"""

    __slots__ = ("_depth", "_escaped", "_has_closed", "_in_string")

    def __init__(self, state: ExportedArguments = (0, False, False, False)) -> None:
        self._depth, self._in_string, self._escaped, self._has_closed = state

    @property
    def are_complete(self) -> bool:
        """Whether nothing can follow."""
        return self._has_closed and self._depth == 0 and not self._in_string

    def take(self, text: str) -> None:
        """Go over the next piece."""
        at = 0
        while at < len(text):
            if self._escaped:
                self._escaped = False
                at += 1
                continue
            found = _TELLING.search(text, at)
            if found is None:
                return
            self._step(found[0])
            at = found.end()

    def _step(self, character: str) -> None:
        if self._in_string:
            self._escaped = character == "\\"
            self._in_string = character != '"'
        elif character == '"':
            self._in_string = True
        elif character in "{[":
            self._depth += 1
        elif character in "}]":
            self._depth -= 1
            self._has_closed = True

    def export(self) -> ExportedArguments:
        """The state as plain values, for the engine that hands one event over."""
        return self._depth, self._in_string, self._escaped, self._has_closed


class _Call:
    """One call of a choice. Its arguments are looked at only where the index was missing."""

    __slots__ = ("arguments", "id", "index", "name")

    def __init__(
        self, index: int, call_id: str = "", name: str = "", arguments: _Arguments | None = None
    ) -> None:
        self.index = index
        self.id = call_id
        self.name = name
        self.arguments = arguments

    def export(self) -> tuple[int, str, str, ExportedArguments | None]:
        """The call as plain values."""
        arguments = None if self.arguments is None else self.arguments.export()
        return self.index, self.id, self.name, arguments


class CallState:
    """The tool calls of one choice."""

    __slots__ = ("calls", "free", "last", "slots")

    def __init__(self) -> None:
        self.calls: dict[int, _Call] = {}
        # Which call an index, as it is sent, means at the moment.
        self.slots: dict[int, int] = {}
        self.last: int | None = None
        # Behind all indexes so far, those of calls that are not remembered as well.
        self.free: int = 0

    def export(self) -> ExportedCalls:
        """The state as plain values, for the engine that hands one event over."""
        calls = [call.export() for call in self.calls.values()]
        return calls, sorted(self.slots.items()), self.last, self.free

    @classmethod
    def load(cls, state: ExportedCalls) -> CallState:
        """The inverse of `export`."""
        self = cls()
        calls, slots, self.last, self.free = state
        for index, call_id, name, arguments in calls:
            looked_at = None if arguments is None else _Arguments(arguments)
            self.calls[index] = _Call(index, call_id, name, looked_at)
        self.slots = dict(slots)
        return self


def repair(
    state: CallState, items: list[Any], allowed: Collection[str], count: Count
) -> list[ToolEdit]:
    """Decide one ``tool_calls`` list of a delta.

    Args:
        state: The calls of the choice so far; it changes.
        items: The list.
        allowed: Names of the repairs that may be made.
        count: Counts what is done, by name; see `edits.Tally.add`.
    """
    edits: list[ToolEdit] = []
    touched: set[int] = set()
    found_items = [_Item(item, n) for n, item in enumerate(items) if isinstance(item, dict)]
    # As many continuations as there are calls go on with one each.
    is_row = not any(item.id or item.name for item in found_items)
    is_row = is_row and 1 < len(items) == len(state.calls)
    for made in found_items:
        made.is_in_row = is_row
        call, defect = _find(state, made, touched)
        is_new = call is None
        if call is None:
            call = _open(state, made, defect == "missing_index")
        if made.index is not None:
            state.slots[made.index] = call.index
        state.last = call.index
        touched.add(call.index)
        found = (
            []
            if call.index == made.index
            else [(defect, ToolEdit(made.position, "index", call.index))]
        )
        found += _defects(made, call, is_new)
        for name, edit in found:
            if name in allowed:
                edits.append(edit)
                count("repairs", name)
        _remember(call, made)
    return edits


def repair_message(items: list[Any], allowed: Collection[str], count: Count) -> list[ToolEdit]:
    """As `repair` for a message that was not streamed: its calls have no index."""
    edits = []
    if "object_arguments" in allowed:
        for position, item in enumerate(items):
            if isinstance(item, dict) and _Item(item, position).has_object:
                edits.append(ToolEdit(position, "arguments"))
                count("repairs", "object_arguments")
    return edits


class _Item:
    """What one item of the list says."""

    __slots__ = (
        "arguments", "has_id", "has_name", "has_object", "id", "index", "is_in_row", "name",
        "position",
    )  # fmt: skip

    def __init__(self, item: dict[str, Any], position: int) -> None:
        index, call_id = item.get("index"), item.get("id")
        function = item.get("function")
        function = function if isinstance(function, dict) else {}
        name, arguments = function.get("name"), function.get("arguments")
        self.index: int | None = index if type(index) is int else None
        self.id: str = call_id if isinstance(call_id, str) else ""
        self.has_id: bool = "id" in item and (call_id is None or call_id == "")
        self.name: str = name if isinstance(name, str) else ""
        self.has_name: bool = "name" in function and (name is None or name == "")
        self.arguments: str = arguments if isinstance(arguments, str) else ""
        self.has_object: bool = isinstance(arguments, dict | list)
        self.position = position
        # It goes on with the call at its position.
        self.is_in_row: bool = False


def _find(state: CallState, item: _Item, touched: set[int]) -> tuple[_Call | None, str]:
    """(the call that an item goes on with, None for a new one; what is wrong with its index)."""
    if item.index is None:
        return _find_unindexed(state, item, touched), "missing_index"
    return _find_indexed(state, item, touched), "shared_index"


def _find_indexed(state: CallState, item: _Item, touched: set[int]) -> _Call | None:
    assert item.index is not None
    slot = state.slots.get(item.index)
    call = None if slot is None else state.calls.get(slot)
    known = _with_id(state, item.id)
    if call is None:
        # An index of its own and a name are a call of its own, whatever the id: some give
        # one id to all calls, or the function's name (HKUDS/nanobot #3943).
        if item.name:
            return None
        # No id either: it may go on under the index that we have given.
        return known if item.id else state.calls.get(item.index)
    if item.id and call.id and item.id != call.id:
        # Some make a new id for every fragment (early vLLM): a call begins with its name.
        return known if known is not None or item.name else call
    # Two calls of one delta, both with a name, and no ids that differ.
    if call.index in touched and item.name and call.name:
        return None if not item.id or item.name != call.name else call
    return call


def _with_id(state: CallState, wanted: str) -> _Call | None:
    return next((call for call in state.calls.values() if wanted and call.id == wanted), None)


def _find_unindexed(state: CallState, item: _Item, touched: set[int]) -> _Call | None:
    last = None if state.last is None else state.calls.get(state.last)
    if item.id:
        known = _with_id(state, item.id)
        if known is not None:
            return None if item.name and _is_over(known) else known
        if last is None:
            return None
        # The id comes late.
        return last if not last.id and not item.name and last.index not in touched else None
    if last is None:
        return None
    if not item.name:
        if item.is_in_row:
            return list(state.calls.values())[item.position]
        return last
    if not last.name and last.index not in touched:
        return last
    # The name on every fragment, or a second call of the same function?
    is_open = last.name == item.name and not _is_over(last) and last.index not in touched
    return last if is_open else None


def _is_over(call: _Call) -> bool:
    """Whether nothing can follow the arguments so far; so too if they are not known."""
    return call.arguments is None or call.arguments.are_complete


def _open(state: CallState, item: _Item, is_unindexed: bool) -> _Call:
    """A new call, under its own index where that is free."""
    index = item.index
    if index is None or index in state.calls:
        index = state.free
    state.free = max(state.free, index + 1)
    call = _Call(index, arguments=_Arguments() if is_unindexed else None)
    if len(state.calls) < MAX_CALLS:
        state.calls[index] = call
    return call


def _defects(item: _Item, call: _Call, is_new: bool) -> list[tuple[str, ToolEdit]]:
    """What is wrong with an item besides its index."""
    found: list[tuple[str, ToolEdit]] = []
    if not is_new:
        # Accumulators concatenate texts: "a" on two fragments would be the id "aa".
        if item.has_id and call.id:
            found.append(("empty_id", ToolEdit(item.position, "drop_id")))
        if item.id and call.id:
            found.append(("repeated_id", ToolEdit(item.position, "drop_id")))
        if item.has_name and call.name:
            found.append(("empty_name", ToolEdit(item.position, "drop_name")))
        if item.name and item.name == call.name:
            found.append(("repeated_name", ToolEdit(item.position, "drop_name")))
    if item.has_object:
        found.append(("object_arguments", ToolEdit(item.position, "arguments")))
    return found


def _remember(call: _Call, item: _Item) -> None:
    call.id = call.id or item.id
    call.name = call.name or item.name
    if call.arguments is not None:
        call.arguments.take(item.arguments)


ALL_REPAIRS: Final[frozenset[str]] = frozenset(REPAIRS)
