"""The versions of LiteLLM that the reports are run against, and an environment for each.

Three are the versions that the reports were written about; ``newest`` is what pip takes
where nothing is said, which is older than the newest on the index whenever that one cannot
be installed.
"""

from __future__ import annotations

import json
import platform
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

NEWEST: Final = "newest"
VERSIONS: Final[tuple[str, ...]] = ("1.78.5", "1.81.5", "1.82.6", NEWEST)

# What the tests themselves import; streamnorm comes from the tree.
_TESTS: Final = ("pytest>=9.0", "hypothesis>=6.130")
_STAMP: Final = "requirements.json"
# Versions of LiteLLM, and of what it speaks HTTP with.
_SHOWN: Final = ("litellm", "openai", "httpx")
_ASK: Final = (
    "import json, sys; from importlib.metadata import version; "
    "print(json.dumps({name: version(name) for name in sys.argv[1:]}))"
)


class WrongEnvironmentError(Exception):
    """An environment that is not there, or holds another version than its name says."""


def python_of(folder: Path, version: str) -> Path:
    """The interpreter of *version*'s environment below *folder*."""
    scripts = "Scripts" if sys.platform == "win32" else "bin"
    return folder / version / scripts / "python"


def requirements(version: str) -> list[str]:
    """What is installed for *version*, as pip takes it."""
    return ["litellm" if version == NEWEST else f"litellm=={version}", *_TESTS]


def install(folder: Path, version: str, *, anew: bool = False) -> bool:
    """Make *version*'s environment, unless it is there for the same requirements and Python.

    Args:
        folder: Where all environments are.
        version: One of `VERSIONS`, or another version of LiteLLM.
        anew: Make it even so: of ``newest`` there may be a newer one.

    Returns:
        Whether anything was installed.

    Raises:
        subprocess.CalledProcessError: venv or pip failed; they have said why.
    """
    home = folder / version
    stamp = home / _STAMP
    wanted = json.dumps([platform.python_version(), sys.base_prefix, *requirements(version)])
    if not anew and stamp.is_file() and stamp.read_text("utf-8") == wanted:
        return False
    # What an interrupted run has left is no base to build upon.
    shutil.rmtree(home, ignore_errors=True)
    subprocess.run([sys.executable, "-m", "venv", str(home)], check=True)
    pip = [str(python_of(folder, version)), "-m", "pip", "install"]
    quiet = ["--disable-pip-version-check", "-q"]
    subprocess.run([*pip, *quiet, *requirements(version)], check=True)
    stamp.write_text(wanted, "utf-8")
    return True


def installed(folder: Path, version: str) -> dict[str, str]:
    """The versions of LiteLLM and of what it speaks HTTP with in *version*'s environment.

    Raises:
        WrongEnvironmentError: It is not there, or holds another LiteLLM.
    """
    found = _ask(python_of(folder, version), _SHOWN)
    if version not in (NEWEST, found["litellm"]):
        raise WrongEnvironmentError(
            f"{folder / version} holds LiteLLM {found['litellm']}, not {version}"
        )
    return found


def _ask(python: Path, names: Sequence[str]) -> dict[str, str]:
    try:
        run = subprocess.run(
            [str(python), "-I", "-c", _ASK, *names], stdout=subprocess.PIPE, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError) as error:
        raise WrongEnvironmentError(f"{python} cannot be asked: {error}") from error
    found: dict[str, str] = json.loads(run.stdout)
    return found
