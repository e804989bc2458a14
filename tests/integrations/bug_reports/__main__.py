"""``python -m bug_reports [VERSION ...] [-- PYTEST_ARG ...]``: run the tests in each environment.

Environments that are not there are made first. Without a version: all of
`environments.VERSIONS`. Exit code 0 where all tests passed in all of them, 1 where one did
not or the run could not be made.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from time import monotonic
from typing import Final

from .environments import VERSIONS, WrongEnvironmentError, install, installed, python_of

TESTS: Final = Path(__file__).parent
ROOT: Final = TESTS.parents[2]
ENVIRONMENTS: Final = ROOT / ".venvs" / "bug-reports"
# Environments made at the same time: pip takes one core each.
JOBS: Final = 2
# Seconds for all tests of one version.
PATIENCE: Final = 600


def main(argv: Sequence[str] | None = None) -> int:
    """Run what is asked for and return the exit code."""
    given = list(sys.argv[1:] if argv is None else argv)
    at = given.index("--") if "--" in given else len(given)
    arguments, for_pytest = _parser().parse_args(given[:at]), given[at + 1 :]
    folder: Path = arguments.environments
    versions: list[str] = list(dict.fromkeys(arguments.version or VERSIONS))
    try:
        if not arguments.no_install:
            with ThreadPoolExecutor(JOBS) as pool:
                list(pool.map(lambda each: _make(folder, each, anew=arguments.anew), versions))
        failed = [each for each in versions if not _passes(folder, each, for_pytest)]
    except (subprocess.SubprocessError, OSError, WrongEnvironmentError) as error:
        print(f"bug-reports: {error}", file=sys.stderr)
        return 1
    if failed:
        print(f"bug-reports: failed with LiteLLM {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="bug_reports", description=__doc__)
    parser.add_argument("version", nargs="*", help=f"of LiteLLM: {', '.join(VERSIONS)}")
    parser.add_argument("--environments", type=Path, default=ENVIRONMENTS, metavar="FOLDER")
    parser.add_argument("--no-install", action="store_true", help="take them as they are")
    parser.add_argument("--anew", action="store_true", help="make them even if they are there")
    return parser


def _make(folder: Path, version: str, *, anew: bool) -> None:
    begun = monotonic()
    if install(folder, version, anew=anew):
        print(f"LiteLLM {version}: installed in {monotonic() - begun:.0f} s", flush=True)


def _passes(folder: Path, version: str, for_pytest: Sequence[str]) -> bool:
    """Run the tests in *version*'s environment, with the streamnorm of this tree."""
    versions = ", ".join(f"{name} {found}" for name, found in installed(folder, version).items())
    print(f"\n===== {version}: {versions} =====", flush=True)
    command = [str(python_of(folder, version)), "-m", "pytest", "-p", "no:cacheprovider", "-q"]
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT / "python"),
        # Otherwise LiteLLM asks the network for its price list when it is imported.
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    }
    run = subprocess.run(
        [*command, str(TESTS), *for_pytest], cwd=ROOT, env=environment, timeout=PATIENCE,
        check=False,
    )  # fmt: skip
    return run.returncode == 0


if __name__ == "__main__":
    sys.exit(main())
