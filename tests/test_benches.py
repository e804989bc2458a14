"""What the benchmarks make of the times that they measure."""

from __future__ import annotations

import asyncio
import gc
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

import streamnorm

from .helpers import ROOT

# The benchmarks are no part of the package. At the end: nothing else is to be found there.
sys.path.append(str(ROOT))
from benches import floor, gate, growth, readers, streams, summary, targets
from benches.gate import Pair
from benches.targets import Goal, Result, Work

FAST = Work("fast", "rename", "bytes → bytes", "16384", {"rust": Goal(40, 80)})
COST = Work("cost", "rename", "bytes → bytes", "16384", {"rust": Goal(4)}, "floor", is_cost=True)


def result(ratio: float | None, work: Work = FAST) -> Result:
    return Result(work, "rust", 1.0, 1.0, ratio)


# How a row is judged.


def test_ratio_is_the_median_of_the_pairs() -> None:
    # Of the medians it would be 10 / 3, of the sums 53 / 106.
    pairs = [Pair(1, 10), Pair(2, 10), Pair(3, 6), Pair(4, 10), Pair(96, 17)]
    judged = gate.judge(FAST, "rust", 1_000_000, pairs)
    assert judged.ratio == 2.5
    assert (judged.micros, judged.reference) == (3, 10)


def test_one_slow_pair_changes_nothing() -> None:
    pairs = [Pair(1, 50)] * 3
    assert gate.judge(FAST, "rust", 10, [*pairs, Pair(1000, 50)]).ratio == 50


def test_a_cost_is_how_many_times_as_long() -> None:
    judged = gate.judge(COST, "rust", 1_000_000, [Pair(6, 2)] * 15)
    assert judged.ratio == 3
    assert judged.micros == 6


@pytest.mark.parametrize(
    ("work", "ratio", "verdict"),
    [
        (FAST, 39.99, "NO"),
        (FAST, 40, "yes"),
        (FAST, 79.99, "yes"),
        (FAST, 80, "aim"),
        (FAST, None, "not measured"),
        (COST, 4.01, "NO"),
        (COST, 4, "yes"),
        (COST, 0.5, "yes"),
    ],
)
def test_verdict(work: Work, ratio: float | None, verdict: str) -> None:
    assert result(ratio, work).verdict == verdict
    assert result(ratio, work).is_reached == (verdict in ("yes", "aim"))


@pytest.mark.parametrize(
    ("ratios", "code"),
    [
        ([40, 90], 0),
        ([40, 39], 1),
        ([40, None], 2),
        ([39, None], 1),
        ([None, None], 2),
        ([], 2),
    ],
)
def test_exit_code(ratios: list[float | None], code: int) -> None:
    assert gate.exit_code([result(ratio) for ratio in ratios]) == code


def test_targets() -> None:
    found = {
        work.name: {who: goal.target for who, goal in work.goals.items()} for work in targets.WORKS
    }
    assert found == {
        "one key renamed": {"rust": 40, "python": 2},
        "nothing to do": {"rust": 80, "python": 4},
        "chunks": {"rust": 8, "python": 1.5},
        "chunks, ahead of orjson": {"rust": 1},
        "<think> tags": {"rust": 25, "python": 1},
        "async for, one event a read": {"rust": 5, "python": 1.2},
        "the same against R async": {"rust": 5, "python": 1.2},
        "7-byte reads": {"rust": 8, "python": 1},
        "4 KiB texts, × the floor": {"rust": 4},
        "the same × a floor that writes nothing": {"rust": None},
    }


# How pairs are run.


def test_pairs_take_turns_in_being_first() -> None:
    order: list[str] = []

    def ran(name: str) -> None:
        if not order or order[-1] != name:
            order.append(name)

    # As long as a run must be: one stream is enough, and the order is told by few calls.
    pairs = [*gate.paired(slow(lambda: ran("own")), slow(lambda: ran("reference")), 4)]
    assert len(pairs) == 4
    # (Both are first run to find out how long they take.)
    assert order[2:] == ["own", "reference", "own", "reference", "own"]
    assert all(pair.own > 0 and pair.reference > 0 for pair in pairs)


def slow(run: Any) -> Any:
    def both() -> None:
        run()
        sum(range(10_000))

    return both


def test_the_garbage_collector_does_not_run_inside_of_a_run() -> None:
    seen: list[bool] = []
    gate.timed(lambda: seen.append(gc.isenabled()), 3)
    assert seen == [False] * 3
    assert gc.isenabled()
    with pytest.raises(ZeroDivisionError):
        gate.timed(lambda: print(1 / 0), 1)
    assert gc.isenabled()


def test_every_row_runs_and_its_result_is_right(engine: Any) -> None:
    loop = asyncio.new_event_loop()
    for work in targets.WORKS:
        case = streams.make(work.case, streams.SHORT)
        gate.run_of(work, engine, case, loop)(readers.cut(case, work.read))
        wrong = case._replace(documents=case.documents[1:], normal=case.normal[1:])
        with pytest.raises(AssertionError, match="the result is wrong"):
            gate.run_of(work, engine, wrong, loop)
    loop.close()


def test_fewer_pairs_than_can_be_trusted() -> None:
    with pytest.raises(SystemExit):
        gate.main(["--pairs", "14"])


# The summary.


def timing(case: str, work: str, who: str, read: str, seconds: float, **more: Any) -> Any:
    info = {"case": case, "work": work, "who": who, "read": read, "events": 1000, "bytes": 4000}
    stats = {"min": seconds, "median": seconds * 1.5}
    return {"extra_info": {**info, "times": 1, "correct": True, **more}, "stats": stats}


REPORT: dict[str, Any] = {
    "machine_info": {"described": "CPython 3.99 on a slide rule"},
    "benchmarks": [
        timing("rename", targets.BYTES, "rust", "16384", 0.001),
        # Half the stream, so that a ratio of the times would be half.
        timing("rename", targets.BYTES, "python", "16384", 0.002, events=500, bytes=2000),
        timing("rename", "no rules", readers.R, "16384", 0.050),
        timing("rename", "no rules", readers.R, "7", 9),
        timing("4KiB-text", targets.BYTES, "rust", "16384", 0.009),
        timing("4KiB-text", "floor", floor.RENAMES, "whole", 0.200, times=100),
        timing("4KiB-text", "floor", floor.COUNTS, "whole", 0.100, times=100),
        {"extra_info": {}, "stats": {}},
    ],
}


def line(lines: list[str], *words: str) -> list[str]:
    """The cells of the only line that begins so."""
    [found] = [each.split() for each in lines if each.split()[: len(words)] == [*words]]
    return found[len(words) :]


def test_summary_ends_with_the_rows_that_have_a_target() -> None:
    lines = [*summary.summary(REPORT)]
    assert lines[0] == "CPython 3.99 on a slide rule"
    at = next(n for n, text in enumerate(lines) if text.startswith("The rows that have a target"))
    table = lines[at + 1 :]
    assert len(table) == 1 + sum(len(work.goals) for work in targets.WORKS)
    against = [*readers.R.split()]
    one, two = (line(table, "one", "key", "renamed", engine) for engine in ("rust", "python"))
    assert one == [*against, "1.000", "50.000", "50.00", "≥", "40", "80", "yes"]
    assert two == [*against, "4.000", "50.000", "12.50", "≥", "2", "–", "yes"]
    # 0.2 s are of a hundred streams.
    long = line(table, "4", "KiB", "texts,", "×", "the", "floor")
    assert long[-8:] == ["copies", "9.000", "2.000", "4.50", "≤", "4", "–", "NO"]
    nothing = line(table, "the", "same", "×", "a", "floor", "that", "writes", "nothing")
    assert nothing[-7:] == ["counts", "9.000", "1.000", "9.00", "–", "–", "–"]
    assert line(table, "<think>", "tags", "rust")[-2:] == ["not", "measured"]


def test_summary_compares_each_row_with_r_at_the_same_read() -> None:
    lines = [*summary.summary(REPORT, ["rename"])]
    assert line(lines, "bytes", "→", "bytes", "rust")[-3:] == ["50.00", "–", "–"]
    assert line(lines, "no", "rules", *readers.R.split(), "7")[-3:] == ["1.00", "–", "–"]
    assert not any(text.startswith("4KiB-text") for text in lines)


def test_summary_names_the_file_that_it_needs(capsys: pytest.CaptureFixture[str]) -> None:
    assert summary.main([]) == 2
    assert "benches.summary FILE" in capsys.readouterr().err


# What is compared with.


@pytest.mark.parametrize("name", streams.CASES)
def test_reads_are_the_whole_stream(name: str) -> None:
    case = streams.make(name, streams.SHORT)
    for read in readers.READS:
        assert b"".join(readers.cut(case, read)) == case.stream
    comments = case.stream.count(b": PROCESSING")
    assert len(readers.cut(case, "event")) == case.events + 1 + comments


@pytest.mark.parametrize("found", ["none", "2.36.0"])
def test_reference_of_another_version_is_none(found: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readers, "version", lambda _: found)
    with pytest.raises(readers.NoReference, match=f"openai >= 3.*installed: {found}"):
        readers.openai_decoder()


@pytest.mark.parametrize(("compiler", "why"), [("no-such-cc", "no C compiler"), ("false", "false")])
def test_floor_without_a_compiler(
    compiler: str, why: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    if compiler == "false" and shutil.which("false") is None:
        pytest.skip("no command that fails")
    monkeypatch.setattr(floor, "_BUILD", tmp_path / "build")
    monkeypatch.setenv("CC", compiler)
    with pytest.raises(floor.NoCompiler, match=f"{why}.*so no floor"):
        floor.load.__wrapped__()


# What grows.


@pytest.mark.parametrize(("figure", "verdict"), [(1.29, "yes"), (1.3, "yes"), (1.31, "NO")])
def test_limit_of_growth(figure: float, verdict: str) -> None:
    row = growth.GROWTHS["huge event: bytes, rust"]
    assert growth.cells("row", row, figure)[-1] == verdict


def test_every_growth_is_measured_on_both_engines() -> None:
    without = {name for name, row in growth.GROWTHS.items() if row.engine == growth.NO_ENGINE}
    names = {name.rpartition(", ")[0] for name in growth.GROWTHS}
    measured = {f"{name}, {who}" for name in names for who in ("rust", "python")}
    assert {*growth.GROWTHS} == measured | without
    assert without == {"huge event: bytes, none", "huge event: chunks, none"}
    assert len(names) == 9


def test_a_row_without_an_engine_is_not_judged() -> None:
    row = growth.GROWTHS["huge event: bytes, none"]
    assert growth.cells("row", row, 99)[1:] == ("99.00", "–", "×", "–")


@pytest.mark.parametrize("output", ["bytes", "chunks"])
def test_streams_that_do_not_end_well_are_counted(
    output: str, engine: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(growth, "OPEN", 3)
    assert growth.open_streams(output, engine) == 0
    reads = growth._reads()
    monkeypatch.setattr(growth, "_reads", lambda: reads[:-1])
    assert growth.open_streams(output, engine) == 3


@pytest.mark.parametrize("output", ["bytes", "chunks"])
def test_one_large_event_is_one(output: str, engine: Any) -> None:
    reads = growth._events(1)
    assert growth.MIB <= sum(map(len, reads)) <= 1.1 * growth.MIB
    assert max(map(len, reads)) == growth.KIB
    machine = streamnorm.ChunkNormalizer(
        _engine_module=engine, max_line_bytes=None, max_event_bytes=None
    )
    [[chunk]] = filter(None, readers.collect(machine, reads))
    assert len(chunk["choices"][0]["delta"]["reasoning_content"]) > 1_000_000
