"""Prints what ``import streamnorm`` takes, in fresh interpreters: best and median of many.

    python benches/import_time.py [RUNS]

Milliseconds of wall time from the import to its end, bytecode cached, the interpreter's own
start left out. The aim is less than 60.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
from typing import Final

_CODE: Final = """
from time import perf_counter
start = perf_counter()
import streamnorm
print((perf_counter() - start) * 1000, streamnorm.ENGINE)
"""


def measure(runs: int) -> tuple[list[float], str]:
    """(milliseconds of each run, the engine)."""
    with tempfile.TemporaryDirectory() as cache:
        env = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
        env["PYTHONPYCACHEPREFIX"] = cache
        said = [
            subprocess.run(
                [sys.executable, "-c", _CODE], env=env, check=True, capture_output=True, text=True
            ).stdout.split()
            for _ in range(runs + 1)
        ]
    # (The first one compiles.)
    return [float(ms) for ms, _ in said[1:]], said[0][1]


def main() -> None:
    """Measure and print."""
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 20
    times, engine = measure(runs)
    best, median = min(times), statistics.median(times)
    print(
        f"import streamnorm ({engine} engine): {best:.1f} ms, median {median:.1f}, of {runs} runs"
    )


if __name__ == "__main__":
    main()
