"""What the engines are compared with: readers without any rule, in the same run."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any, Final

import pytest

from .conftest import Measure, Row
from .floor import COUNTS, RENAMES, Floor
from .readers import (
    R_ASYNC,
    R,
    Reads,
    Run,
    count_with,
    cut,
    read_by_hand,
    read_with_openai,
    read_with_openai_async,
    rename_with,
)
from .streams import CASES, Case

try:
    import orjson
except ImportError:
    orjson = None  # type: ignore[assignment]

# Those that the shape of an event in `floor.c` fits. One stream takes microseconds there.
FLOORS: Final = ("rename", "nothing-to-do", "4KiB-text")
FLOOR_TIMES: Final = 100

WORK: Final = "bytes → dicts, no rules"

# By hand: another parser is one row here; None where its package is not installed.
PARSERS: Final[dict[str, Callable[[bytes], Any] | None]] = {
    "split": len,
    "split + json": json.loads,
    "split + orjson": None if orjson is None else orjson.loads,
}


def timed(run: Run, reads: Reads, times: int = 1) -> Callable[[], Callable[[], None]]:
    """A row for `Measure`: these readers keep nothing from stream to stream."""

    def streams() -> None:
        for _ in range(times):
            run(reads)

    return lambda: streams


@pytest.mark.parametrize("read", ["16384", "whole"])
@pytest.mark.parametrize("case", CASES, indirect=True)
@pytest.mark.parametrize("name", PARSERS)
def test_by_hand(case: Case, name: str, read: str, measure: Measure) -> None:
    parse = PARSERS[name]
    if parse is None:
        pytest.skip(f"{name}: the package is not installed")
    reads = cut(case, read)
    found: list[Any] = []
    read_by_hand(case.separator, found.append)(reads)
    assert found == [document.encode() for document in case.documents]
    if name != "split":
        assert list(map(parse, found)) == list(map(json.loads, case.documents))
    measure(Row(case, WORK, name, read), timed(read_by_hand(case.separator, parse), reads))


@pytest.mark.parametrize("case", CASES, indirect=True)
def test_openai(case: Case, read: str, decoder: Callable[[], Any], measure: Measure) -> None:
    reads = cut(case, read)
    found: list[str] = []
    read_with_openai(decoder, found.append)(reads)
    assert found == list(case.documents)
    measure(Row(case, WORK, R, read), timed(read_with_openai(decoder), reads))


@pytest.mark.parametrize("case", ["rename"], indirect=True)
def test_openai_async(
    case: Case,
    read: str,
    decoder: Callable[[], Any],
    loop: asyncio.AbstractEventLoop,
    measure: Measure,
) -> None:
    reads = cut(case, read)
    found: list[str] = []
    read_with_openai_async(decoder, loop, found.append)(reads)
    assert found == list(case.documents)
    run = read_with_openai_async(decoder, loop)
    measure(Row(case, WORK, R_ASYNC, read), timed(run, reads))


@pytest.mark.parametrize("case", FLOORS, indirect=True)
def test_floor_that_counts(case: Case, floor: Floor, measure: Measure) -> None:
    reads = cut(case, "whole")
    assert floor.count(case.stream) == case.events + 1
    assert floor.count(case.stream[:-1]) == case.events
    row = Row(case, "floor", COUNTS, "whole", FLOOR_TIMES)
    measure(row, timed(count_with(floor), reads, FLOOR_TIMES))


@pytest.mark.parametrize("case", FLOORS, indirect=True)
def test_floor_that_renames(case: Case, floor: Floor, measure: Measure) -> None:
    room = floor.room(case.stream, case.events)
    size = floor.rename(case.stream, room)
    assert room.raw[:size] == case.normal
    row = Row(case, "floor", RENAMES, "whole", FLOOR_TIMES)
    measure(row, timed(rename_with(floor, case), cut(case, "whole"), FLOOR_TIMES))
