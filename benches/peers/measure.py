"""The measurement of the clients: interleaved, so that a busy moment meets all alike."""

from __future__ import annotations

import random
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final, NamedTuple

from .contenders import BY_PROBE, Contender
from .judge import Wrong, judge
from .results import Results, Row
from .shapes import SHAPES, case_of
from .workers import Failed, Worker, start_worker, upstream

# Which streams are written in which way, and how many runs of all it takes.
PLAN: Final[dict[str, tuple[str, ...]]] = {
    "each": tuple(SHAPES),
    "backlog": ("A",),
    "16k": ("A",),
    "paced": ("A",),
}
# The clock dictates how long a paced stream takes, so few are read that way, and seldom.
PACED: Final = frozenset(
    {
        "openai-python", "litellm-openai", "httpx-sse", "eventsource-parser",
        "httpx/bytes", "httpx/relay", "httpx/dicts",
        "aiohttp/bytes", "aiohttp/relay", "aiohttp/dicts",
        "pyreqwest/bytes", "pyreqwest/relay", "pyreqwest/dicts",
    }
)  # fmt: skip
PACED_RUNS: Final = 3
# Of what is read through one HTTP client small differences count, so that takes part in every
# run; the others in every second one.
OFTEN: Final = "streamnorm"


class Cell(NamedTuple):
    """What is measured again and again."""

    contender: Contender
    shape: str
    writes: str


def measure(contenders: Sequence[Contender], runs: int, patience: float, results: Results) -> None:
    """Let each of *contenders* read each stream up to *runs* times, into *results*.

    No run begins that would not be over *patience* seconds after the first one began.

    Before that each reads each stream once for its results, which warms it up as well. Who
    fails there, or is wrong, is not measured.
    """
    with upstream() as origin, _workers(contenders, results) as asks:
        cells = {cell: Row(cell.contender.probe, cell.shape, cell.writes) for cell in _cells(asks)}
        right: dict[Cell, dict[str, Any]] = {}
        for cell, row in cells.items():
            with noting(results, cell.contender.probe):
                right[cell] = _check(asks, origin, cell, row)
        order = [*right]
        chance = random.Random(0)
        began = time.monotonic()
        for number in range(runs):
            # The first two are a fair sample of the longer and the shorter sort of run.
            if number > 1 and (time.monotonic() - began) * (number + 1) / number > patience:
                break
            chance.shuffle(order)
            for cell in order:
                if _is_due(cell, number):
                    with noting(results, cell.contender.probe):
                        _time(asks, origin, cell, cells[cell], right[cell])
            print(f"peers: run {number + 1} of {runs}", file=sys.stderr)
        results.rows += [row for row in cells.values() if row.times]


def _is_due(cell: Cell, number: int) -> bool:
    if cell.writes == "paced":
        return number < PACED_RUNS
    return cell.contender.environment == OFTEN or number % 2 == 0


@contextmanager
def noting(results: Results, name: str) -> Iterator[None]:
    """Keep, and show, what goes wrong in the block, and go on behind it."""
    try:
        yield
    except (Failed, Wrong) as error:
        print(f"peers: {name}: {error}", file=sys.stderr)
        # (The other lines are where it happened, with names of folders.)
        results.failed[name] = str(error).partition("\n")[0]


_Ask = Callable[[dict[str, Any]], dict[str, Any]]


@contextmanager
def _workers(contenders: Sequence[Contender], results: Results) -> Iterator[dict[str, _Ask]]:
    """Start a worker for each process; gives what asks the one of each probe."""
    shared: dict[tuple[str, str], list[str]] = {}
    for contender in contenders:
        shared.setdefault(contender.worker, []).append(contender.probe)
    workers: list[Worker] = []
    asks: dict[str, _Ask] = {}
    try:
        for (environment, _), probes in shared.items():
            worker = start_worker(environment, probes)
            workers.append(worker)
            with noting(results, environment):
                results.versions.setdefault(environment, {}).update(worker.hear()["versions"])
                asks |= dict.fromkeys(probes, worker.ask)
        yield asks
    finally:
        for worker in workers:
            worker.close()


def _cells(asks: dict[str, _Ask]) -> Iterator[Cell]:
    for probe in asks:
        for writes, shapes in PLAN.items():
            if writes != "paced" or probe in PACED:
                for shape in shapes:
                    yield Cell(BY_PROBE[probe], shape, writes)


def _asked(origin: str, cell: Cell, *, keeps: bool) -> dict[str, Any]:
    base_url = f"{origin}/{cell.shape}/{cell.writes}/v1"
    return {"probe": cell.contender.probe, "base_url": base_url, "keeps": keeps}


def _check(asks: dict[str, _Ask], origin: str, cell: Cell, row: Row) -> dict[str, Any]:
    answer = asks[cell.contender.probe](_asked(origin, cell, keeps=True))
    case = case_of(cell.shape, cell.writes)
    row.place = judge(cell.contender, case, answer)
    if cell.contender.floor:
        row.per_read = (case.events + 1) / answer["items"]
    return {"items": answer["items"], "size": answer["size"]}


def _time(asks: dict[str, _Ask], origin: str, cell: Cell, row: Row, right: dict[str, Any]) -> None:
    answer = asks[cell.contender.probe](_asked(origin, cell, keeps=False))
    # (How many reads the bytes of a stream come in is the kernel's affair.)
    counted = "size" if cell.contender.gives == "bytes" else "items"
    if answer[counted] != right[counted]:
        raise Wrong(f"{counted}: {answer[counted]}, and {right[counted]} before")
    row.times.append(answer["took"] / case_of(cell.shape, cell.writes).events * 1e6)
