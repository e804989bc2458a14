"""Chunks that are like one that was decided: copies of it, with another text in them."""

from __future__ import annotations

from typing import Any, Final

from .slots import PROBE_TEXT

# Of equal values of one of these types, one can stand for the other.
_PLAIN: Final = frozenset((str, int, bool, type(None)))


class Chunk:
    """What becomes of an event in chunk output; no two chunks share what can be changed."""

    __slots__ = ("_choice", "_delta", "_key", "_more", "_top")

    def __init__(self, chunk: dict[str, Any], other: Chunk | None) -> None:
        choice: dict[str, Any] = chunk["choices"][0]
        delta: dict[str, Any] = choice["delta"]
        slots = [key for key in delta if delta[key] == PROBE_TEXT]
        self._key: str = slots[0]
        # (level, key, value) of all else that is not the same object in every chunk.
        self._more: tuple[tuple[int, str, Any], ...] = tuple(
            (level, key, value)
            for level, holder in enumerate((chunk, choice, delta))
            for key, value in holder.items()
            if key in slots[1:] or type(value) in (dict, list)
            if value is not delta and (level > 0 or key != "choices")
        )
        # Each chunk has its own in their places.
        chunk["choices"] = choice["delta"] = None
        # What all chunks of a stream say is mostly the same: it is there once.
        self._top: dict[str, Any] = chunk if other is None else _shared(other._top, chunk)
        self._choice: dict[str, Any] = choice if other is None else _shared(other._choice, choice)
        # None where there is nothing but the slot.
        self._delta: dict[str, Any] | None = delta if len(delta) > 1 else None

    def make(self, text: str) -> dict[str, Any]:
        """A chunk with *text* in the slots."""
        if self._delta is None:
            delta = {self._key: text}
        else:
            delta = self._delta.copy()
            delta[self._key] = text
        choice = self._choice.copy()
        choice["delta"] = delta
        top = self._top.copy()
        top["choices"] = [choice]
        if self._more:
            levels = (top, choice, delta)
            for level, key, value in self._more:
                levels[level][key] = _copied(value, text)
        return top


def _shared(other: dict[str, Any], own: dict[str, Any]) -> dict[str, Any]:
    """The *other* one if it says what a chunk's *own* says."""
    is_same = list(other) == list(own) and all(
        type(value) is type(own[key]) and type(value) in _PLAIN and value == own[key]
        for key, value in other.items()
    )
    return other if is_same else own


def _copied(value: Any, text: str) -> Any:
    if type(value) is dict:
        return {key: _copied(member, text) for key, member in value.items()}
    if type(value) is list:
        return [_copied(item, text) for item in value]
    return text if value == PROBE_TEXT else value
