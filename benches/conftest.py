"""What all benchmarks share: the engines, the sizes of a read, how a row is measured."""

from __future__ import annotations

import os
import sysconfig
import time
from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple, Protocol

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from streamnorm import _engine
from streamnorm._engine import Engine

from . import streams
from .streams import Case

# One byte, a chat event's worth of a slow link, a TCP segment, a full buffer; 0 is all.
READ_SIZES: Final = {"1": 1, "64": 64, "1460": 1460, "16384": 16384, "whole": 0}
# A fast row is repeated so often at most; otherwise `--benchmark-max-time` decides.
MOST_ROUNDS: Final = 50
# The processor's time of this process, where its clock is fine enough: on a busy machine a
# round that is interrupted seems slow, and long rounds, hence slow rows, always are.
TIMER: Final = (
    time.process_time
    if time.get_clock_info("process_time").resolution <= 1e-6
    else time.perf_counter
)

Reads = Sequence[bytes]


class Machine(Protocol):
    """What is fed: a normaliser or a decoder."""

    def feed(self, data: bytes) -> Any:
        """Take the next bytes."""

    def close(self) -> Any:
        """End the stream."""


class Row(NamedTuple):
    """What a row is called in the summary.

    Attributes:
        case: The stream, and what must come out of it.
        work: What is done with it.
        who: Who does it.
        read: A name of `READ_SIZES`.
    """

    case: Case
    work: str
    who: str
    read: str


Measure = Callable[[Row, Callable[[], Callable[[], None]]], None]


def drive(machine: Machine, reads: Reads) -> None:
    """Feed all and drop what comes out, as a relay does once it has passed it on."""
    feed = machine.feed
    for data in reads:
        feed(data)
    machine.close()


def collect(machine: Machine, reads: Reads) -> list[Any]:
    """`drive`, and keep what comes out of each call."""
    return [*map(machine.feed, reads), machine.close()]


def cut(stream: bytes, read: str) -> Reads:
    """The stream in reads of that size."""
    size = READ_SIZES[read] or len(stream)
    return [stream[at : at + size] for at in range(0, len(stream), size)]


@pytest.fixture(params=["rust", "python"])
def engine(request: pytest.FixtureRequest) -> Engine:
    """Each engine; the row is left out where the extension was not built."""
    try:
        return _engine.choose(request.param)
    except ImportError as error:
        is_missing = isinstance(error.__cause__, ModuleNotFoundError)
        if not is_missing or os.environ.get("STREAMNORM_REQUIRE_RUST") == "1":
            raise
        pytest.skip("the rust engine is not built")


@pytest.fixture(params=READ_SIZES)
def read(request: pytest.FixtureRequest) -> str:
    """Each size of a read, by name."""
    return str(request.param)


@pytest.fixture
def case(request: pytest.FixtureRequest, benchmark: BenchmarkFixture) -> Case:
    """The stream that the test's parameter names: short where time is not what is asked.

    Byte by byte the pure engine costs a hundred times more an event, and 60 events tell
    as much as 2,000.
    """
    params = benchmark.params or {}
    is_slow = params.get("engine") == "python" and params.get("read") == "1"
    count = streams.SHORT if is_slow or benchmark.disabled else streams.FULL
    return streams.make(request.param, count)


@pytest.fixture
def measure(benchmark: BenchmarkFixture, request: pytest.FixtureRequest) -> Measure:
    """Measure a row: its second argument makes a fresh run, whose making is not timed."""

    def measured(row: Row, fresh: Callable[[], Callable[[], None]]) -> None:
        benchmark.group = f"{row.case.name}: {row.work}"
        benchmark.extra_info.update(
            case=row.case.name,
            work=row.work,
            who=row.who,
            read=row.read,
            events=row.case.events,
            bytes=len(row.case.stream),
            # The results are compared before: a row that is wrong has no time.
            correct=True,
        )
        rounds = 1 if benchmark.disabled else rounds_for(fresh())
        pedantic: Any = benchmark.pedantic  # it has no types
        pedantic(_call, setup=lambda: ((fresh(),), {}), rounds=rounds)

    def rounds_for(run: Callable[[], None]) -> int:
        start = time.perf_counter()
        run()
        took = time.perf_counter() - start
        longest = float(request.config.getoption("benchmark_max_time"))
        fewest = int(request.config.getoption("benchmark_min_rounds"))
        return max(fewest, min(MOST_ROUNDS, int(longest / took)))

    return measured


def pytest_collection_modifyitems(items: Sequence[pytest.Item]) -> None:
    """Set the clock of every row."""
    for item in items:
        item.add_marker(pytest.mark.benchmark(timer=TIMER))


def _call(run: Callable[[], None]) -> None:
    run()


def is_optimised() -> bool:
    """Whether this interpreter was built with profile-guided optimisation."""
    return "--enable-optimizations" in str(sysconfig.get_config_var("CONFIG_ARGS"))


def pytest_report_header() -> str:
    """Name what the figures depend on."""
    build = "with" if is_optimised() else "without"
    return f"benches: seed {streams.SEED}, interpreter {build} profile-guided optimisation"


@pytest.hookimpl(optionalhook=True)
def pytest_benchmark_update_machine_info(machine_info: dict[str, Any]) -> None:
    """Record the interpreter's build: without optimisation it flatters native code."""
    machine_info["profile_guided"] = is_optimised()
