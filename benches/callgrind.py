"""Counts the instructions of a fresh interpreter with valgrind's callgrind.

That the machine is busy changes nothing. What the system does (clearing fresh memory, for one)
and what waiting for memory takes is not in them.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from . import environment

# By itself glibc copies and clears memory with one instruction for any length, of which valgrind
# counts every byte: the counts would be those of bytes.
_TUNABLES: Final = ":".join(
    f"glibc.cpu.x86_rep_{name}_threshold=1000000000" for name in ("movsb", "stosb")
)


class Counter:
    """Counts runs of a program.

    Args:
        program: Its Python source, and its first arguments.
        folder: For what it writes.
    """

    def __init__(self, program: Sequence[str], folder: Path) -> None:
        self._command = [sys.executable, "-c", *program]
        self._folder = folder
        self._env = environment.child(
            PYTHONHASHSEED="0",
            PYTHONPYCACHEPREFIX=str(folder / "cache"),
            GLIBC_TUNABLES=_TUNABLES,
        )

    def run(self, *arguments: str) -> None:
        """Run it without counting."""
        subprocess.run([*self._command, *arguments], env=self._env, check=True)

    def count(self, *arguments: str) -> int:
        """The instructions of a run, its start included."""
        out = self._folder / "callgrind.out"
        valgrind = ["valgrind", "--tool=callgrind", "-q", f"--callgrind-out-file={out}"]
        command = [*valgrind, *self._command, *arguments]
        subprocess.run(command, env=self._env, check=True, stderr=subprocess.DEVNULL)
        found = re.search(r"^(?:totals|summary): (\d+)$", out.read_text(), re.MULTILINE)
        assert found, "callgrind wrote no total"
        return int(found[1])


def missing() -> str:
    """Why nothing can be counted here; empty if it can."""
    if shutil.which("valgrind") is None:
        return "instructions: valgrind is not installed"
    try:
        extension()
    except ImportError:
        return "instructions: the Rust engine is not built"
    return ""


def extension() -> Path:
    """The file of the Rust engine.

    Raises:
        ImportError: It is not built.
    """
    from streamnorm import _native

    return Path(str(_native.__file__))


def said(*command: str) -> str:
    """What a command prints; empty where there is none, or it failed."""
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return ""
