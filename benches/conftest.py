"""What all benchmarks share: the engines, the sizes of a read, how a row is measured."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, NamedTuple

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from streamnorm import _engine
from streamnorm._engine import Engine

from . import environment, streams
from .floor import Floor, NoCompiler
from .floor import load as load_floor
from .readers import READS, NoReference, openai_decoder
from .streams import Case

# A fast row is repeated so often at most; otherwise `--benchmark-max-time` decides.
MOST_ROUNDS: Final = 50
# The processor's time of this process, where its clock is fine enough: on a busy machine a
# round that is interrupted seems slow, and long rounds, hence slow rows, always are.
TIMER: Final = (
    time.process_time
    if time.get_clock_info("process_time").resolution <= 1e-6
    else time.perf_counter
)


class Row(NamedTuple):
    """What a row is called in the summary.

    Attributes:
        case: The stream, and what must come out of it.
        work: What is done with it.
        who: Who does it.
        read: A name of `readers.READS`.
        times: How many whole streams a round is, for rows that one is too short for.
    """

    case: Case
    work: str
    who: str
    read: str
    times: int = 1


Measure = Callable[[Row, Callable[[], Callable[[], None]]], None]


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


@pytest.fixture(params=READS)
def read(request: pytest.FixtureRequest) -> str:
    """Each size of a read, by name."""
    return str(request.param)


@pytest.fixture(scope="session")
def decoder() -> Callable[[], Any]:
    """The class that R reads with; the row is left out where there is none."""
    try:
        return openai_decoder()
    except NoReference as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def floor() -> Floor:
    """The functions in C; the row is left out where there is no compiler."""
    try:
        return load_floor()
    except NoCompiler as error:
        pytest.skip(str(error))


@pytest.fixture
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    """An event loop whose making is not timed."""
    made = asyncio.new_event_loop()
    yield made
    made.close()


@pytest.fixture
def case(request: pytest.FixtureRequest, benchmark: BenchmarkFixture) -> Case:
    """The stream that the test's parameter names: short where time is not what is asked.

    Byte by byte a reader in Python costs a hundred times more an event, and 60 events tell
    as much as 2,000.
    """
    params = benchmark.params or {}
    is_slow = params.get("engine") != "rust" and params.get("read") == "1"
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
            times=row.times,
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
        option: Any = request.config.getoption  # it has types that fit no option
        longest, fewest = float(option("benchmark_max_time")), int(option("benchmark_min_rounds"))
        return max(fewest, min(MOST_ROUNDS, int(longest / took)))

    return measured


def pytest_collection_modifyitems(items: Sequence[pytest.Item]) -> None:
    """Set the clock of every row."""
    for item in items:
        item.add_marker(pytest.mark.benchmark(timer=TIMER))


def _call(run: Callable[[], None]) -> None:
    run()


def pytest_report_header() -> str:
    """Name what the figures depend on."""
    return f"benches: seed {streams.SEED}; {environment.described()}"


@pytest.hookimpl(optionalhook=True)
def pytest_benchmark_update_machine_info(machine_info: dict[str, Any]) -> None:
    """Record what the figures depend on: a build without optimisation flatters native code."""
    machine_info["profile_guided"] = environment.is_optimised()
    machine_info["described"] = environment.described()
