"""How counts of instructions are compared with those recorded."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from .helpers import ROOT

# The benchmarks are no part of the package. At the end: nothing else is to be found there.
sys.path.append(str(ROOT))
from benches import instructions
from benches.instructions import Counts, Environment, Record

HERE: Environment = {
    **dict.fromkeys((*instructions.KEY, *instructions.NOTED), "same"),
    "python": "CPython 3.11.7",
    "rustc": "1.95.0",
    "orjson": "3.13.0",
}
OTHER = {**HERE, "python": "CPython 3.14.0", "rustc": "1.96.0"}
RECORDED: Counts = {"rename": 1000.0, "tags": 2000.0}
RECORD = Record(HERE, RECORDED)


def said(counts: Counts, found: Environment = HERE, record: Record | None = RECORD) -> str:
    return "\n".join(instructions.report(counts, found, record))


def code(
    counts: Counts,
    found: Environment = HERE,
    record: Record | None = RECORD,
    *,
    is_ci: bool = False,
) -> int:
    return instructions.exit_code(counts, found, record, is_ci=is_ci)


@pytest.mark.parametrize("is_ci", [False, True])
@pytest.mark.parametrize(("rename", "expected"), [(1000, 0), (1049.9, 0), (1050.1, 1), (500, 0)])
def test_only_growth_beyond_the_tolerance_fails(rename: float, expected: int, is_ci: bool) -> None:
    assert code({**RECORDED, "rename": rename}, is_ci=is_ci) == expected


def test_one_that_grew_is_named_among_all() -> None:
    text = said({"rename": 1100.0, "tags": 1900.0})
    assert "+10.0%" in text
    assert "-5.0%" in text
    assert "grew by more than 5%: rename" in text
    assert "5%: tags" not in text


def test_what_shrank_is_to_be_recorded() -> None:
    assert "Some shrank" in said({"rename": 900.0, "tags": 2000.0})
    assert "Some shrank" not in said({"rename": 960.0, "tags": 2000.0})


def test_an_environment_that_is_not_recorded_is_not_judged() -> None:
    twice: Counts = {"rename": 2000.0, "tags": 4000.0}
    text = said(twice, OTHER)
    assert "Not judged" in text
    assert "make instructions-update" in text
    assert "python: here CPython 3.14.0, recorded with CPython 3.11.7" in text
    assert "rustc: here 1.96.0, recorded with 1.95.0" in text
    assert "orjson: " not in text
    assert "grew" not in text
    assert code(twice, OTHER) == 0
    # Otherwise a new image would end the check there for good, unnoticed.
    assert code(twice, OTHER, is_ci=True) == 1


def test_nothing_recorded_at_all() -> None:
    assert "Not judged" in said(RECORDED, HERE, None)
    assert code(RECORDED, HERE, None) == 0
    assert code(RECORDED, HERE, None, is_ci=True) == 1


def test_another_library_is_judged_and_named() -> None:
    found = {**HERE, "orjson": "3.14.0"}
    grown: Counts = {"rename": 1100.0, "tags": 2000.0}
    assert code(grown, found) == 1
    text = said(grown, found)
    assert "orjson: here 3.14.0, recorded with 3.13.0" in text
    assert "Not judged" not in text


def test_one_that_is_not_recorded_fails_in_ci_alone() -> None:
    more = {**RECORDED, "chunks": 1.0}
    assert "Not all of them are recorded" in said(more)
    assert code(more) == 0
    assert code(more, is_ci=True) == 1


@pytest.mark.parametrize("backwards", [False, True])
def test_the_closest_record_is_compared_with(backwards: bool) -> None:
    # More differences, but none that is important.
    noted = Record({**HERE, **dict.fromkeys(instructions.NOTED, "another")}, RECORDED)
    records = [Record(OTHER, RECORDED), noted, Record({**HERE, "rustc": "1.96.0"}, RECORDED)]
    if backwards:
        records.reverse()
    assert instructions.closest(HERE, records) is noted
    assert instructions.closest(OTHER, records) == Record(OTHER, RECORDED)
    assert instructions.closest(HERE, []) is None


def test_update_replaces_the_record_of_the_same_environment_only() -> None:
    newer = {**HERE, "orjson": "3.14.0"}
    records = instructions.updated({"rename": 7.0}, newer, [Record(OTHER, RECORDED), RECORD])
    assert sorted(record.environment["python"] for record in records) == [
        "CPython 3.11.7",
        "CPython 3.14.0",
    ]
    assert Record(newer, {"rename": 7.0}) in records


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    path = tmp_path / "records.json"
    assert instructions.load(path) == []
    instructions.save([RECORD, Record(OTHER, RECORDED)], path)
    assert instructions.load(path) == [RECORD, Record(OTHER, RECORDED)]


def test_every_case_is_in_every_record() -> None:
    for record in instructions.load(instructions.RECORDS):
        assert {*record.counts} == {*instructions.COUNTED}
        assert {*record.environment} == {*instructions.KEY, *instructions.NOTED}


COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.mark.parametrize(
    ("extension", "expected"),
    [
        (f"x/rustc/{COMMIT}/library/core/str.rs", "1.95.0"),
        (f"x/rustc/{COMMIT[::-1]}/library/core/str.rs", "commit 76543210f"),
        ("no paths", "1.95.0"),
    ],
)
def test_compiler_of_the_extension(extension: str, expected: str) -> None:
    prints = (
        f"rustc 1.95.0 (0123 2026-01-01)\nbinary: rustc\ncommit-hash: {COMMIT}\nrelease: 1.95.0\n"
    )
    assert instructions.rustc(extension.encode(), prints) == expected


def test_compiler_where_there_is_none() -> None:
    assert instructions.rustc(b"no paths", "") == "unknown"


def test_valgrind_is_missing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CI", raising=False)
    assert instructions.main([]) == 0
    assert capsys.readouterr().err == "left out: instructions: valgrind is not installed\n"
    assert instructions.main(["--update"]) == 1
    monkeypatch.setenv("CI", "true")
    assert instructions.main([]) == 1
