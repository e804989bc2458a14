"""``python -m matrix``: install the clients, run every row, write the page.

Exit code 0 where every cell behind streamnorm is well, 1 where one is not or the run
could not be made. Where clients or rows were chosen, no page is written.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import platform
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

import streamnorm
from streamnorm.fault_server import Call

from .classify import WELL, Shown, classify
from .clients import CLIENTS, Client, install, python_of
from .page import Cell, Column, page, summary
from .samples import NoSample, Sample, all_samples
from .serve import Served, serve

ROOT: Final = Path(__file__).parents[2]
PROBES: Final = Path(__file__).with_name("probes.py")
PAGE: Final = ROOT / "docs" / "matrix.md"
ENVIRONMENTS: Final = ROOT / ".venvs" / "matrix"
# Clients at work at the same time; each takes one core.
JOBS: Final = 2
# Seconds for all rows of one client.
PATIENCE: Final = 600


def main(argv: Sequence[str] | None = None) -> int:
    """Run the matrix and return its exit code."""
    arguments = _parser().parse_args(argv)
    clients = [c for c in CLIENTS if not arguments.client or c.name in arguments.client]
    try:
        samples = [s for s in all_samples() if not arguments.row or s.row in arguments.row]
        if unknown := set(arguments.row or ()) - {sample.row for sample in samples}:
            raise NoSample(f"there is no row {', '.join(sorted(unknown))}")
    except NoSample as error:
        print(f"matrix: {error}", file=sys.stderr)
        return 1
    try:
        with serve(samples) as served, ThreadPoolExecutor(JOBS) as pool:
            work = [pool.submit(_column, client, samples, served, arguments) for client in clients]
            columns = [future.result() for future in work]
    except (subprocess.SubprocessError, OSError) as error:
        print(f"matrix: {error}", file=sys.stderr)
        return 1
    print(summary(columns))
    if not arguments.client and not arguments.row:
        PAGE.parent.mkdir(exist_ok=True)
        PAGE.write_text(page(samples, columns, _about()), "utf-8")
    is_well = all(cell.behind in WELL for column in columns for cell in column.cells)
    return 0 if is_well else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="matrix", description=__doc__)
    parser.add_argument("--client", action="append", choices=[c.name for c in CLIENTS])
    parser.add_argument("--row", action="append", help="the name of a row")
    parser.add_argument("--environments", type=Path, default=ENVIRONMENTS, metavar="FOLDER")
    parser.add_argument("--no-install", action="store_true", help="take the clients as they are")
    parser.add_argument("-v", "--verbose", action="store_true", help="show what differs, bare too")
    return parser


def _about() -> dict[str, str]:
    today = dt.datetime.now(dt.timezone.utc).date()
    return {
        "date": today.isoformat(),
        "streamnorm": f"{streamnorm.__version__}, {streamnorm.ENGINE} engine",
        "Python": platform.python_version(),
    }


def _column(
    client: Client, samples: Sequence[Sample], served: Served, arguments: argparse.Namespace
) -> Column:
    """Let one client read every row, bare and behind streamnorm."""
    if not arguments.no_install:
        install(arguments.environments, client)
    jobs = [
        {"base_url": side(position), "tools": list(sample.tools)}
        for side in (served.bare, served.behind)
        for position, sample in enumerate(samples)
    ]
    answer = _probe(python_of(arguments.environments, client), client, jobs)
    shown = [_shown(item) for item in answer["shown"]]
    bare, behind = shown[: len(samples)], shown[len(samples) :]
    cells = []
    for sample, one, two in zip(samples, bare, behind, strict=True):
        has_place = client.reads is not None
        cell = Cell(
            classify(sample.sent, one, shows_reasoning=has_place),
            classify(sample.sent, two, shows_reasoning=has_place),
            one.error.partition(":")[0] if one.error is not None else None,
        )
        cells.append(cell)
        if cell.behind not in WELL:
            _explain(f"{client.name}, {sample.row}: {cell.behind} behind streamnorm", sample, two)
        elif arguments.verbose and cell.bare not in WELL:
            _explain(f"{client.name}, {sample.row}: {cell.bare} bare", sample, one)
    return Column(client, answer["versions"], cells)


def _probe(python: Path, client: Client, jobs: list[dict[str, Any]]) -> dict[str, Any]:
    """Run the client's probe on *jobs*, in the client's own environment."""
    with tempfile.TemporaryDirectory() as folder:
        results = Path(folder, "results.json")
        # -I: nothing of this tree, and nothing of the caller's settings, is imported there.
        command = [str(python), "-I", str(PROBES), client.name, str(results)]
        run = subprocess.run(
            command, input=json.dumps(jobs), capture_output=True, text=True, timeout=PATIENCE,
            check=False, cwd=folder,
        )  # fmt: skip
        if run.returncode:
            print(run.stderr, file=sys.stderr)
            run.check_returncode()
        answer: dict[str, Any] = json.loads(results.read_text("utf-8"))
        return answer


def _shown(item: dict[str, Any]) -> Shown:
    calls = tuple(Call(**call) for call in item["calls"])
    return Shown(item["reasoning"], item["content"], calls, item["error"])


def _explain(title: str, sample: Sample, shown: Shown) -> None:
    print(f"{title}\n  sent  {sample.sent}\n  shown {shown}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
