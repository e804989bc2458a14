"""What a document says of its stream: which choice it is about, and whether it ended well."""

from __future__ import annotations

from typing import Any

from ..dialects import ERRORS, GOOD_CODES, UNFINISHED, ErrorMark


def stands(value: Any, path: tuple[str, ...], expected: str | None) -> bool:
    """Whether *expected* (or any string, or True) stands at *path* of a document."""
    for n, step in enumerate(path):
        if step == "*":
            rest = path[n + 1 :]
            return isinstance(value, list) and any(stands(v, rest, expected) for v in value)
        if not isinstance(value, dict) or step not in value:
            return False
        value = value[step]
    if expected is None:
        return value is True or (isinstance(value, str) and value not in UNFINISHED)
    return bool(value == expected)


def is_error(value: dict[str, Any], *, has_begun: bool) -> bool:
    """Whether a document without choices is an error of one of the known shapes.

    Args:
        value: The document.
        has_begun: A delta was seen before it.
    """
    is_sure = has_begun or "event" in value or _says_other_type(value.get("type"))
    return any(
        not (row.is_weak and is_sure) and all(_tells(value, mark) for mark in row.marks)
        for row in ERRORS
    )


def _says_other_type(kind: Any) -> bool:
    # (Of an error the type is its own: "validation_error", the URL of a problem.)
    return isinstance(kind, str) and "err" not in kind.lower() and "/" not in kind and kind != ""


def _tells(value: Any, mark: ErrorMark) -> bool:
    for step in mark.path:
        if not isinstance(value, dict) or step not in value:
            return False
        value = value[step]
    if mark.test == "text":
        return isinstance(value, str) and bool(value)
    if mark.test == "said":
        return bool(value)
    if mark.test == "false":
        return value is False
    if mark.test == "http":
        return type(value) is int and 400 <= value <= 599
    if mark.test == "code":
        if isinstance(value, str):
            return value.lower() not in GOOD_CODES and value.strip("0") != ""
        return type(value) is int and value != 0 and not 200 <= value <= 299
    return bool(value == mark.test)


def is_finish(reason: Any) -> bool:
    """Whether a ``finish_reason`` says that the choice is finished."""
    return isinstance(reason, str) and reason not in UNFINISHED


def index_of(choice: dict[str, Any], position: int) -> int:
    """The index that names a choice; its position only where it has none."""
    index = choice.get("index")
    return index if isinstance(index, int) and not isinstance(index, bool) else position
