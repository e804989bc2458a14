"""``python -m benches.peers``: install the clients, measure, write docs/benchmarks.md.

What was measured is kept in build/peers.json. Where only some were chosen, figures are
printed and no page is written. ``--render`` measures nothing: it takes what was measured last,
and only the figures in memory are new where there is nothing.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from . import in_memory
from .about import about
from .chart import THEMES, bars, chart, file_of
from .contenders import CONTENDERS, ENVIRONMENTS
from .environments import ROOT, install
from .measure import measure
from .page import page
from .relays import STACKS, measure_relays
from .results import Results
from .tables import timed

STORED: Final = ROOT / "build" / "peers.json"
IN_MEMORY: Final = ROOT / "build" / "bench.json"
PAGE: Final = ROOT / "docs" / "benchmarks.md"
CHARTS: Final = ROOT / "docs" / "benchmarks"
RUNS: Final = 10
# Minutes in which they have to be done, but for the last ones that would not.
MINUTES: Final = 6.0


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, and return the exit code: 1 where something failed or was wrong."""
    arguments = _parser().parse_args(argv)
    if arguments.render:
        return _render()
    if not arguments.no_install:
        try:
            for environment in ENVIRONMENTS:
                install(environment)
        except (subprocess.SubprocessError, OSError) as error:
            print(f"peers: {error}", file=sys.stderr)
            return 1
    parts = arguments.only
    results = Results(about(), {}, [], [])
    contenders = [c for c in CONTENDERS if _is_chosen(c.probe, parts)]
    if contenders:
        measure(contenders, arguments.runs, MINUTES * 60, results)
    stacks = [stack for stack in STACKS if _is_chosen(f"relay/{stack.name}", parts)]
    if stacks:
        measure_relays(stacks, results)
    if parts:
        for row in (*results.rows, *results.relays):
            print(f"{row.name}, {row.shape}, {row.writes}: {timed(row)} {row.place}")
    else:
        STORED.parent.mkdir(exist_ok=True)
        STORED.write_text(json.dumps(results.as_dict(), indent=1), "utf-8")
        _render()
    return 1 if results.failed else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benches.peers", description=__doc__)
    parser.add_argument("--runs", type=int, default=RUNS, help="how often all is repeated")
    parser.add_argument("--only", action="append", metavar="PART", help="of a name, or relay/")
    parser.add_argument("--no-install", action="store_true", help="take the clients as they are")
    parser.add_argument("--render", action="store_true", help="measure nothing")
    return parser


def _is_chosen(name: str, parts: Sequence[str] | None) -> bool:
    return not parts or any(part in name for part in parts)


def _render() -> int:
    """Write the page and its charts from what is stored."""
    there = PAGE.read_text("utf-8") if PAGE.is_file() else ""
    report = _stored(IN_MEMORY)
    part = in_memory.section(report)
    if report is None:
        part = in_memory.kept(there) or part
    stored = _stored(STORED)
    if stored is None:
        PAGE.write_text(in_memory.fill(there, part), "utf-8")
        return 0
    results = Results.from_dict(stored)
    CHARTS.mkdir(exist_ok=True)
    for theme in THEMES:
        (CHARTS / file_of(theme)).write_text(chart(bars(results), theme), "utf-8")
    PAGE.write_text(page(results, part), "utf-8")
    return 0


def _stored(path: Path) -> Any:
    return json.loads(path.read_text("utf-8")) if path.is_file() else None


if __name__ == "__main__":
    sys.exit(main())
