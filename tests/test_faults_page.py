"""docs/faults.md says what is true: its tables, and its function that chooses a status."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, get_args

import pytest

from streamnorm import StreamFault, faults

from .helpers import ROOT

PAGE = (ROOT / "docs" / "faults.md").read_text(encoding="utf-8")


def section(title: str) -> str:
    return PAGE.split(f"\n## {title}\n", 1)[1].split("\n## ", 1)[0]


def rows(title: str) -> list[list[str]]:
    """The rows of the section's first table, cell by cell."""
    lines = [line for line in section(title).splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def words(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


@pytest.mark.parametrize(
    ("title", "names"),
    [
        ("What happened: `kind`", get_args(faults.Kind)),
        ("What it means: `category`", get_args(faults.Category)),
        ("Who can mend it: `blame`", get_args(faults.Blame)),
    ],
)
def test_every_word_of_the_vocabulary_is_explained(title: str, names: tuple[str, ...]) -> None:
    assert {word for row in rows(title) for word in words(row[0])} == set(names)


MADE = {
    "none_stream": [faults.none_stream()],
    "empty": [faults.empty(done=False)],
    "not_sse": [faults.not_sse(b"<html>")],
    "corrupt": [faults.corrupt(b"{")],
    "too_large": [faults.too_large("line", 9)],
    "truncated": [faults.truncated(), faults.cancelled()],
    "first_chunk_timeout": [faults.timed_out("first_chunk_timeout", 1)],
    "idle_timeout": [faults.timed_out("idle_timeout", 1), faults.too_slow(1, 2, 30)],
    "total_timeout": [faults.timed_out("total_timeout", 1)],
    "transport": [faults.transport(ConnectionResetError())],
}


def test_the_table_of_kinds_tells_category_and_blame() -> None:
    told: dict[str, list[list[str]]] = {}
    for first, _, meaning, _ in rows("What happened: `kind`"):
        for kind in words(first):
            told.setdefault(kind, []).append(words(meaning))
    for kind, made in MADE.items():
        # (A kind with one row has it for all of its faults.)
        expected = told[kind] * (len(made) if len(told[kind]) == 1 else 1)
        assert [[fault.category, fault.blame] for fault in made] == expected, kind
    unknown = faults.error_event({"error": {"message": "no"}})
    assert [unknown.category, unknown.blame] == told["error_event"][0]


def test_the_table_of_categories_tells_their_blame_and_true_examples() -> None:
    for category, examples, blame in rows("What it means: `category`"):
        for status in re.findall(r"\b[45]\d\d\b", examples.split("(")[0]):
            fault = faults.http_error(int(status))
            assert (fault.category, [fault.blame]) == (words(category)[0], words(blame)), status
        for code in words(examples):
            fault = faults.http_error(429, b'{"error": {"code": "%b"}}' % code.encode())
            assert (fault.category, [fault.blame]) == (words(category)[0], words(blame)), code


def test_every_attribute_that_is_named_is_there() -> None:
    fault = faults.none_stream()
    for first, _ in rows("What else a fault knows"):
        for name in words(first):
            assert hasattr(fault, name), name


# Choosing a status. ------------------------------------------------------------------


@pytest.fixture
def status_for() -> Callable[[StreamFault], int]:
    code = section("The status of your own answer").split("```python\n")[1].split("```")[0]
    names: dict[str, Any] = {}
    exec(code, names)
    found: Callable[[StreamFault], int] = names["status_for"]
    return found


@pytest.mark.parametrize(
    ("fault", "status"),
    [
        (faults.http_error(400), 400),
        (faults.http_error(404), 404),
        (faults.http_error(422), 422),
        (faults.http_error(400, b'{"error": {"code": "context_length_exceeded"}}'), 400),
        # It came with a status that would send an SDK into retries that cannot help.
        (faults.http_error(500, b'{"error": {"code": "context_length_exceeded"}}'), 400),
        (faults.none_stream(), 400),
        # The gateway's own keys: nothing that its client could mend.
        (faults.http_error(401), 502),
        (faults.http_error(403), 502),
        (faults.http_error(402), 502),
        (faults.http_error(429), 429),
        (faults.error_event({"error": {"code": 429, "message": "slow down"}}), 429),
        (faults.http_error(503), 503),
        (faults.http_error(529), 503),
        (faults.http_error(500), 502),
        (faults.empty(done=True), 502),
        (faults.not_sse(b"<html>"), 502),
        (faults.truncated(), 502),
        (faults.transport(ConnectionResetError()), 502),
        (faults.timed_out("first_chunk_timeout", 1), 504),
        (faults.timed_out("total_timeout", 1), 504),
        (faults.cancelled(), 499),
    ],
    ids=lambda value: value.kind if isinstance(value, StreamFault) else str(value),
)
def test_the_status_of_ones_own_answer(
    status_for: Callable[[StreamFault], int], fault: StreamFault, status: int
) -> None:
    assert status_for(fault) == status
