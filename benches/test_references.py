"""What the engines are compared with: readers without any rule, in the same run.

They know one kind of line end and one shape of an event, and rename nothing.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Final

import pytest

from .conftest import Measure, Row
from .streams import CASES, DONE, Case

try:
    import orjson
except ImportError:
    orjson = None  # type: ignore[assignment]

DONE_BLOCK: Final = f"data: {DONE}".encode()

# Another reader is one row here; None where its package is not installed.
PARSERS: Final[dict[str, Callable[[bytes], Any] | None]] = {
    "split": len,
    "split + json": json.loads,
    "split + orjson": None if orjson is None else orjson.loads,
}


@pytest.mark.parametrize("case", CASES, indirect=True)
@pytest.mark.parametrize("name", PARSERS)
def test_by_hand(case: Case, name: str, measure: Measure) -> None:
    parse = PARSERS[name]
    if parse is None:
        pytest.skip(f"{name}: the package is not installed")
    documents = [document.encode() for document in case.documents]
    assert by_hand(case.stream, case.separator, bytes) == documents
    if name != "split":
        assert by_hand(case.stream, case.separator, parse) == list(map(json.loads, documents))

    def fresh() -> Any:
        return lambda: drop(case.stream, case.separator, parse)

    measure(Row(case, "bytes → dicts, no rules", name, "whole"), fresh)


def by_hand(stream: bytes, separator: bytes, parse: Callable[[bytes], Any]) -> list[Any]:
    """What is written where no parser is at hand."""
    return [
        parse(block[6:])
        for block in stream.split(separator)
        if block.startswith(b"data: ") and block != DONE_BLOCK
    ]


def drop(stream: bytes, separator: bytes, parse: Callable[[bytes], Any]) -> None:
    """`by_hand`, dropping each result, as `conftest.drive` does."""
    for block in stream.split(separator):
        if block.startswith(b"data: ") and block != DONE_BLOCK:
            parse(block[6:])
