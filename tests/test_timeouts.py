"""`Timeouts` and the clocks behind it, with made-up times: no stream is read here."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamnorm import Timeouts, normalize_stream
from streamnorm.timeouts import THROUGHPUT_WINDOW, Limits, make_limits


class Clock:
    """Reads with made-up times."""

    def __init__(self, min_throughput: float | None = None, **limits: Any) -> None:
        made = make_limits(Timeouts(**limits), min_throughput)
        assert made is not None
        self.limits: Limits = made
        self.now = 1000.0

    def left(self) -> float:
        """Seconds that a read which begins now may take."""
        return self.limits.begin(self.now) - self.now

    def read(self, seconds: float, size: int = 0, chunks: int = 0) -> float:
        """One read; return how long it might have taken."""
        left = self.left()
        self.now += seconds
        assert self.limits.end(self.now) is (seconds >= left)
        self.limits.count(size, chunks)
        return left

    def kind(self) -> str:
        """What is wrong when the next read takes too long."""
        left = self.left()
        assert not math.isinf(left)
        self.limits.end(self.now + left)
        return self.limits.fault().kind


def test_first_chunk_is_waited_for_without_comments() -> None:
    clock = Clock(first_chunk=10, idle=2, comments_count=True)
    assert clock.read(4, 12) == 10
    clock.now += 500  # the caller is slow
    assert clock.read(4, 12) == 6
    assert clock.left() == 2
    assert clock.kind() == "first_chunk_timeout"


def test_idle_begins_with_the_first_chunk() -> None:
    clock = Clock(idle=2)
    assert clock.read(100, 12) == math.inf
    assert clock.read(100, 30, 1) == math.inf
    assert clock.read(1.5, 12) == 2
    clock.now += 500
    assert clock.left() == 0.5
    assert clock.kind() == "idle_timeout"


def test_every_chunk_ends_an_idle_time_and_comments_only_if_asked() -> None:
    for comments_count in (False, True):
        clock = Clock(idle=2, comments_count=comments_count)
        clock.read(0, 30, 1)
        clock.read(1, 30, 2)
        assert clock.read(1.5, 12) == 2
        assert clock.left() == (2 if comments_count else 0.5)
        clock.read(0, 0)  # nothing is no sign of life
        assert clock.left() == (2 if comments_count else 0.5)


def test_total_counts_everything_from_the_first_read() -> None:
    clock = Clock(total=10, idle=50)
    clock.now += 500
    assert clock.read(3, 30, 1) == 10
    clock.now += 4
    assert clock.left() == 3
    assert clock.kind() == "total_timeout"
    clock.now += 100
    assert clock.left() < 0


def test_the_limit_that_is_passed_first_is_named() -> None:
    assert Clock(total=10, first_chunk=5).kind() == "first_chunk_timeout"
    assert Clock(total=5, first_chunk=10).kind() == "total_timeout"
    clock = Clock(total=100, idle=5)
    clock.read(1, 30, 1)
    assert clock.kind() == "idle_timeout"
    clock = Clock(total=100, idle=5)
    clock.read(1, 30, 1)
    clock.now += 97
    assert clock.kind() == "total_timeout"
    clock = Clock(min_throughput=1, idle=20)
    clock.read(1, 30, 1)
    assert clock.kind() == "idle_timeout"


def test_a_trickle_is_too_slow() -> None:
    clock = Clock(min_throughput=10)
    assert clock.read(200, 5, 0) == math.inf  # before the first chunk there is no rate
    assert clock.read(200, 40, 1) == math.inf
    for at in range(25):
        assert clock.read(1, 5, 1) == THROUGHPUT_WINDOW - at
        clock.now += 7  # the caller is slow
    assert clock.left() == THROUGHPUT_WINDOW - 25
    assert clock.kind() == "idle_timeout"
    words = str(clock.limits.fault())
    assert "10" in words


def test_silence_after_a_burst_is_too_slow_one_window_later() -> None:
    clock = Clock(min_throughput=10)
    clock.read(0, 10**6, 1)
    assert clock.left() == 2 * THROUGHPUT_WINDOW
    clock.read(THROUGHPUT_WINDOW + 10, 1, 0)  # comes in the second window
    assert clock.left() == THROUGHPUT_WINDOW - 10
    assert clock.kind() == "idle_timeout"


def test_a_window_with_too_little_is_not_forgiven() -> None:
    """Where a read came back too late because nothing could break it off."""
    clock = Clock(min_throughput=10)
    clock.read(0, 10, 1)
    clock.read(THROUGHPUT_WINDOW + 5, 10, 1)
    assert clock.left() <= 0
    assert clock.kind() == "idle_timeout"


@given(
    st.lists(st.tuples(st.integers(0, 8), st.integers(0, 40), st.integers(0, 300)), max_size=60),
    st.integers(1, 20),
)
def test_enough_in_every_window_is_never_too_slow(
    steps: list[tuple[int, int, int]], least: int
) -> None:
    """Against a count of the windows by hand."""
    clock = Clock(min_throughput=least)
    clock.read(0, 0, 1)
    waited, windows = 0, [0] * 20
    for seconds, pause, size in steps:
        late_at = next(
            (at + 1) * THROUGHPUT_WINDOW
            for at in range(20)
            if windows[at] < least * THROUGHPUT_WINDOW
        )
        assert clock.left() == late_at - waited
        if seconds >= late_at - waited:
            assert clock.kind() == "idle_timeout"
            return
        waited += seconds
        windows[int(waited // THROUGHPUT_WINDOW)] += size
        clock.read(seconds, size, 1)
        clock.now += pause


def test_limits_that_are_none() -> None:
    assert make_limits(None, None) is None
    assert make_limits(Timeouts(), None) is None
    assert make_limits(Timeouts(comments_count=True), None) is None
    assert make_limits(None, 1) is not None


@pytest.mark.parametrize("name", ["first_chunk", "idle", "total", "min_throughput"])
@pytest.mark.parametrize(
    ("value", "error"),
    [
        (0, ValueError), (-1, ValueError), (math.inf, ValueError), (math.nan, ValueError),
        ("1", TypeError), (True, TypeError),
    ],
    ids=repr,
)  # fmt: skip
def test_wrong_limits(name: str, value: Any, error: type[Exception]) -> None:
    def make() -> None:
        if name == "min_throughput":
            normalize_stream(None, min_throughput=value)
        else:
            Timeouts(**{name: value})

    with pytest.raises(error, match=name):
        make()


def test_wrong_types() -> None:
    with pytest.raises(TypeError, match="comments_count"):
        Timeouts(comments_count=1)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="timeouts"):
        normalize_stream(None, timeouts=5)  # type: ignore[arg-type]
