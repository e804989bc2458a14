"""`floor.c`, compiled where there is a compiler and called through ctypes."""

from __future__ import annotations

import ctypes
import hashlib
import os
import shlex
import subprocess
import sysconfig
from functools import cache
from pathlib import Path
from typing import Final

# What it is called in a table.
COUNTS: Final = "memchr, counts"
RENAMES: Final = "memchr, copies"

_SOURCE: Final = Path(__file__).with_name("floor.c")
_BUILD: Final = Path(__file__).parents[1] / "build"
_LONGER: Final = len("reasoning_content") - len("reasoning")


class NoCompiler(Exception):
    """The floor cannot be measured here; the message says why."""


class Floor:
    """The functions of the library. Each takes a whole stream."""

    def __init__(self, library: ctypes.CDLL) -> None:
        size = ctypes.c_size_t
        self._count = library.count_events
        self._count.argtypes, self._count.restype = [ctypes.c_char_p, size], size
        self._rename = library.rename_key
        self._rename.argtypes = [ctypes.c_char_p, size, ctypes.c_char_p]
        self._rename.restype = size

    def count(self, stream: bytes) -> int:
        """How many events there are, the closing mark among them."""
        return int(self._count(stream, len(stream)))

    def room(self, stream: bytes, events: int) -> ctypes.Array[ctypes.c_char]:
        """A buffer for `rename`."""
        return ctypes.create_string_buffer(len(stream) + _LONGER * events)

    def rename(self, stream: bytes, room: ctypes.Array[ctypes.c_char]) -> int:
        """Copy the events to *room* with one key renamed; return how many bytes they are."""
        return int(self._rename(stream, len(stream), room))


@cache
def load() -> Floor:
    """Compile the library, unless this source was compiled before, and load it.

    Raises:
        NoCompiler: There is none (``CC`` names another than ``cc``), or it failed.
    """
    compiler = shlex.split(os.environ.get("CC", "cc"))
    source = _SOURCE.read_bytes()
    digest = hashlib.sha256(source + repr(compiler).encode()).hexdigest()[:12]
    path = _BUILD / f"floor-{sysconfig.get_platform()}-{digest}.so"
    if not path.exists():
        _compile(compiler, path)
    return Floor(ctypes.CDLL(str(path)))


def _compile(compiler: list[str], path: Path) -> None:
    path.parent.mkdir(exist_ok=True)
    # Put in place at once: another process may be at it as well.
    made = path.with_suffix(f".{os.getpid()}")
    command = [*compiler, "-O3", "-shared", "-fPIC", "-o", str(made), str(_SOURCE)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError as error:
        raise NoCompiler(f"no C compiler, so no floor ({error})") from error
    if done.returncode:
        raise NoCompiler(f"{shlex.join(command)} failed, so no floor: {done.stderr.strip()}")
    made.replace(path)
