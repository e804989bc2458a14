"""`Recorder` and `Metrics`: what each figure means, how exact it is, and what it takes to keep."""

from __future__ import annotations

import dataclasses
import json
import random
import statistics
from collections import Counter
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamnorm.metrics import EXACT_GAPS, RELATIVE_ERROR, Metrics, Recorder

FIGURES = (
    "time_to_first_byte",
    "time_to_first_chunk",
    "time_to_first_reasoning",
    "time_to_first_visible",
    "reasoning_time",
    "duration",
    "chunk_gap_p50",
    "chunk_gap_p99",
    "tokens_per_second",
)

# Steps of the clock that add up without rounding, so that sums can be compared exactly.
steps = st.integers(0, 10_000).map(lambda ticks: ticks / 64)
reads = st.lists(st.tuples(steps, st.integers(1, 4)), max_size=60)


def played(*line: tuple[Any, ...], start: float = 100.0) -> Recorder:
    """A recorder that was told of *line*: the name of a method and its arguments, each."""
    recorder = Recorder(start)
    for name, *arguments in line:
        getattr(recorder, name)(*arguments)
    return recorder


def nearest_rank(gaps: list[float], percent: int) -> float:
    """The definition, word for word: no formula for the rank."""
    return min(gap for gap in gaps if 100 * sum(one <= gap for one in gaps) >= percent * len(gaps))


# Every figure, on a time line made by hand. -------------------------------------------


def test_a_whole_stream() -> None:
    recorder = played(
        ("read", 100.5, 12),  # a comment
        ("read", 101.0, 100),
        ("chunks", 101.0, 1),
        ("reasoning", 101.0),
        ("read", 101.25, 300),
        ("chunks", 101.25, 3),
        ("read", 103.25, 50),
        ("chunks", 103.25, 1),
        ("visible", 103.25),
        ("read", 104.25, 38),
        ("chunks", 104.25, 1),
        ("end", 105.0),
    )
    metrics = recorder.metrics(60)
    # Gaps: 0.25, 0, 0, 2, 1.
    assert {name: getattr(metrics, name) for name in FIGURES} == {
        "time_to_first_byte": 0.5,
        "time_to_first_chunk": 1.0,
        "time_to_first_reasoning": 1.0,
        "time_to_first_visible": 3.25,
        "reasoning_time": 2.25,
        "duration": 5.0,
        "chunk_gap_p50": 0.25,
        "chunk_gap_p99": 2.0,
        "tokens_per_second": 15.0,
    }
    assert (metrics.events, metrics.bytes, metrics.start) == (6, 500, 100.0)
    assert list(metrics.chunk_gaps.items()) == [(0.0, 2), (0.25, 1), (1.0, 1), (2.0, 1)]


def test_before_the_first_read_nothing_is_known() -> None:
    metrics = played().metrics(5)
    assert {name: getattr(metrics, name) for name in FIGURES} == dict.fromkeys(FIGURES)
    assert (metrics.events, metrics.bytes, dict(metrics.chunk_gaps)) == (0, 0, {})
    assert dataclasses.replace(metrics, start=0.0) == Metrics()


def test_a_stream_that_ends_without_a_read_has_a_duration_only() -> None:
    metrics = played(("end", 107.0)).metrics(None)
    known = {name for name in FIGURES if getattr(metrics, name) is not None}
    assert known == {"duration"}
    assert metrics.duration == 7.0


def test_while_it_runs_the_duration_goes_to_the_last_read() -> None:
    recorder = played(("read", 101.0, 1), ("chunks", 101.0, 1), ("read", 104.0, 1))
    assert recorder.metrics(None).duration == 4.0
    recorder.end(106.0)
    assert recorder.metrics(None).duration == 6.0


def test_a_snapshot_stays_as_it_was() -> None:
    recorder = played(("read", 101.0, 1), ("chunks", 101.0, 1), ("chunks", 102.0, 1))
    before = recorder.metrics(3)
    copy = dataclasses.replace(before, chunk_gaps=dict(before.chunk_gaps))
    recorder.chunks(109.0, 4)
    recorder.end(110.0)
    assert before == copy
    assert recorder.metrics(3) != before


@pytest.mark.parametrize("name", ["reasoning", "visible", "end"])
def test_only_the_first_time_counts(name: str) -> None:
    once = played(("read", 101.0, 1), ("chunks", 101.0, 1), (name, 101.0))
    twice = played(("read", 101.0, 1), ("chunks", 101.0, 1), (name, 101.0), (name, 103.0))
    assert once.metrics(1) == twice.metrics(1)


def test_one_chunk_has_no_gap() -> None:
    metrics = played(("read", 101.0, 1), ("chunks", 101.0, 1), ("end", 101.0)).metrics(None)
    assert (metrics.chunk_gap_p50, metrics.chunk_gap_p99) == (None, None)


def test_chunks_of_one_read_are_there_at_the_same_time() -> None:
    metrics = played(("read", 101.0, 1), ("chunks", 101.0, 5)).metrics(None)
    assert dict(metrics.chunk_gaps) == {0.0: 4}
    assert (metrics.chunk_gap_p50, metrics.chunk_gap_p99) == (0.0, 0.0)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ([("chunks", 101.0, 1), ("visible", 101.0)], None),
        ([("chunks", 101.0, 1), ("reasoning", 101.0)], 0.0),
        ([("chunks", 101.0, 1), ("reasoning", 101.0), ("chunks", 104.0, 1)], 3.0),
        # The end is later than the last chunk: nothing was thought in between.
        (
            [("chunks", 101.0, 1), ("reasoning", 101.0), ("chunks", 104.0, 1), ("end", 160.0)],
            3.0,
        ),
        (
            [
                ("chunks", 101.0, 1),
                ("reasoning", 101.0),
                ("chunks", 103.0, 1),
                ("visible", 103.0),
                ("chunks", 109.0, 1),
            ],
            2.0,
        ),
        ([("chunks", 101.0, 1), ("reasoning", 101.0), ("visible", 101.0)], 0.0),
        (
            [
                ("chunks", 101.0, 1),
                ("visible", 101.0),
                ("chunks", 103.0, 1),
                ("reasoning", 103.0),
            ],
            None,
        ),
    ],
    ids=["none", "just begun", "goes on", "only", "then visible", "same read", "after visible"],
)
def test_reasoning_time(line: list[tuple[Any, ...]], expected: float | None) -> None:
    assert played(*line).metrics(None).reasoning_time == expected


@pytest.mark.parametrize("tokens", [None, 0])
def test_no_rate_without_a_count(tokens: int | None) -> None:
    recorder = played(("read", 101.0, 1), ("chunks", 101.0, 1), ("end", 103.0))
    assert recorder.metrics(tokens).tokens_per_second is None
    assert recorder.metrics(8).tokens_per_second == 4.0


def test_no_rate_of_a_stream_that_came_at_once() -> None:
    recorder = played(("read", 101.0, 1), ("chunks", 101.0, 9), ("end", 101.0))
    assert recorder.metrics(50).tokens_per_second is None


# Gaps: exact up to a number of them, bounded beyond. -----------------------------------


@given(reads)
def test_gaps_and_their_percentiles_are_exact(line: list[tuple[float, int]]) -> None:
    recorder = Recorder(0.0)
    now, times = 0.0, []
    for step, count in line:
        now += step
        recorder.chunks(now, count)
        times += [now] * count
    gaps = [after - before for before, after in pairwise(times)]
    metrics = recorder.metrics(None)
    assert metrics.events == len(times)
    assert dict(metrics.chunk_gaps) == Counter(gaps)
    assert list(metrics.chunk_gaps) == sorted(metrics.chunk_gaps)
    if gaps:
        assert metrics.chunk_gap_p50 == statistics.median_low(gaps)
        assert metrics.chunk_gap_p99 == nearest_rank(gaps, 99)


def long_line(reads: int, seed: int) -> tuple[Recorder, list[float]]:
    """A recorder of so many reads with gaps from 1 µs to 30 s, some of 0, and the gaps."""
    chance = random.Random(seed)
    recorder, now, gaps = Recorder(0.0), 0.0, []
    for at in range(reads):
        step = 0.0 if chance.random() < 0.1 else 10 ** chance.uniform(-6, 1.5)
        before, now = now, now + step
        count = chance.choice((1, 1, 1, 3))
        recorder.read(now, 10)
        recorder.chunks(now, count)
        if at:
            gaps.append(now - before)
        gaps += [0.0] * (count - 1)
    return recorder, gaps


def test_the_last_gap_that_is_kept_as_it_is() -> None:
    recorder, gaps = long_line(EXACT_GAPS + 1, 1)
    assert dict(recorder.metrics(None).chunk_gaps) == Counter(gaps)


@pytest.mark.parametrize("reads", [EXACT_GAPS + 2, 3 * EXACT_GAPS, 20_000])
def test_beyond_that_the_error_is_bounded(reads: int) -> None:
    recorder, gaps = long_line(reads, reads)
    metrics = recorder.metrics(None)
    assert recorder.metrics(None) == metrics
    gaps.sort()
    kept = [gap for gap, count in metrics.chunk_gaps.items() for _ in range(count)]
    assert len(kept) == len(gaps)
    assert kept == sorted(kept)
    for ours, true in zip(kept, gaps, strict=True):
        assert abs(ours - true) <= RELATIVE_ERROR * true
    assert RELATIVE_ERROR <= 0.05
    assert metrics.chunk_gap_p50 == pytest.approx(
        statistics.median_low(gaps), rel=RELATIVE_ERROR, abs=0
    )
    # The smallest rank of which 99 of 100 are not longer, counted in whole numbers.
    rank = next(rank for rank in range(len(gaps) + 1) if 100 * rank >= 99 * len(gaps))
    assert metrics.chunk_gap_p99 == pytest.approx(gaps[rank - 1], rel=RELATIVE_ERROR, abs=0)


def test_all_other_figures_are_the_same_beyond_that() -> None:
    recorder = Recorder(0.0)
    reads = 2 * EXACT_GAPS
    for at in range(reads):
        now = 3.0 + at / 8
        recorder.read(now, 7)
        recorder.chunks(now, 2)
        if at == 1:
            recorder.reasoning(now)
    metrics = recorder.metrics(None)
    last = 3.0 + (reads - 1) / 8
    assert metrics.time_to_first_chunk == 3.0
    assert metrics.duration == last
    assert metrics.reasoning_time == last - 3.125
    assert (metrics.events, metrics.bytes) == (2 * reads, 7 * reads)
    assert sum(metrics.chunk_gaps.values()) == metrics.events - 1


def test_an_endless_stream_takes_bounded_memory() -> None:
    chance = random.Random(7)
    recorder, now, most = Recorder(0.0), 0.0, 0
    for _ in range(200_000):
        now += 10 ** chance.uniform(-6, 1.5)
        recorder.read(now, 1000)
        recorder.chunks(now, 2)
        values = [getattr(recorder, name) for name in Recorder.__slots__]
        most = max(most, sum(len(value) if hasattr(value, "__len__") else 1 for value in values))
    # From 10^-6 to 10^1.5 there are 25 doublings, and so parts of 26, with 16 buckets each.
    assert most <= EXACT_GAPS + 2 + 26 * 16 + len(Recorder.__slots__)
    metrics = recorder.metrics(None)
    assert len(metrics.chunk_gaps) <= 26 * 16 + 1
    assert sum(metrics.chunk_gaps.values()) == metrics.events - 1 == 399_999


# What is made of the figures. ----------------------------------------------------------


def whole() -> Metrics:
    return played(
        ("read", 100.5, 12),
        ("read", 101.0, 100),
        ("chunks", 101.0, 1),
        ("reasoning", 101.0),
        ("read", 102.0, 300),
        ("chunks", 102.0, 2),
        ("visible", 102.0),
        ("end", 105.0),
    ).metrics(8)


def test_since_an_earlier_moment() -> None:
    metrics = whole()
    earlier = metrics.since(98.0)
    moved = {
        "time_to_first_byte": 2.5,
        "time_to_first_chunk": 3.0,
        "time_to_first_reasoning": 3.0,
        "time_to_first_visible": 4.0,
        "duration": 7.0,
        "start": 98.0,
    }
    for name in (field.name for field in dataclasses.fields(Metrics)):
        assert getattr(earlier, name) == moved.get(name, getattr(metrics, name)), name
    assert metrics.since(101.0) == metrics
    assert Recorder(5.0).metrics(None).since(1.0) == Metrics(start=1.0)


def test_as_dict_is_for_logs() -> None:
    metrics = whole()
    plain = json.loads(json.dumps(metrics.as_dict()))
    assert plain == {name: getattr(metrics, name) for name in (*FIGURES, "events", "bytes")}


def test_as_otel_has_the_names_of_the_conventions() -> None:
    # Gaps of 1 and 0: 0.5 on average.
    assert whole().as_otel() == {
        "gen_ai.client.operation.duration": 5.0,
        "gen_ai.client.operation.time_to_first_chunk": 1.0,
        "gen_ai.client.operation.time_per_output_chunk": 0.5,
        "streamnorm.time_to_first_visible": 2.0,
        "streamnorm.reasoning_time": 1.0,
    }
    assert whole().as_otel("inference") == {
        "gen_ai.client.inference.duration": 5.0,
        "gen_ai.client.inference.time_to_first_chunk": 1.0,
        "gen_ai.client.inference.time_per_output_chunk": 0.5,
        "streamnorm.time_to_first_visible": 2.0,
        "streamnorm.reasoning_time": 1.0,
    }
    assert Metrics().as_otel() == {}
    with pytest.raises(ValueError, match="'semconv'"):
        Metrics().as_otel("semconv")  # type: ignore[arg-type]


def test_it_cannot_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        whole().duration = 1.0  # type: ignore[misc]
