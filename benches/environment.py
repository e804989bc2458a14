"""What a figure depends on: the interpreter and its build, the processor, the libraries."""

from __future__ import annotations

import os
import platform
import sys
import sysconfig
from importlib import metadata
from pathlib import Path
from typing import Final

# What the reference rows run on.
_LIBRARIES: Final = ("openai", "orjson")
# What a fresh interpreter needs to start at all.
_PASSED: Final = ("PATH", "HOME", "LD_LIBRARY_PATH", "SYSTEMROOT")


def is_optimised() -> bool:
    """Whether this interpreter was built with profile-guided optimisation."""
    return "--enable-optimizations" in str(sysconfig.get_config_var("CONFIG_ARGS"))


def interpreter() -> str:
    """For example ``CPython 3.13.0``."""
    return f"{platform.python_implementation()} {platform.python_version()}"


def build() -> str:
    """How the interpreter was built, in words."""
    return f"{'with' if is_optimised() else 'without'} profile-guided optimisation"


def processor() -> str:
    """The model of the processor, ``unknown`` where the system does not tell."""
    return _cpuinfo("model name") or platform.processor() or "unknown"


def has_avx2() -> bool:
    """Whether the processor has AVX2, which the searches in the C and Rust libraries take."""
    return "avx2" in _cpuinfo("flags").split()


def version(library: str) -> str:
    """The installed version, ``none`` where there is none."""
    try:
        return metadata.version(library)
    except metadata.PackageNotFoundError:
        return "none"


def versions() -> dict[str, str]:
    """The versions of the libraries that the reference rows use."""
    return {library: version(library) for library in _LIBRARIES}


def described() -> str:
    """One line that belongs above every table of figures."""
    parts = [
        f"{interpreter()} {build()}",
        f"{platform.machine()}, {processor()}",
        *(f"{library} {found}" for library, found in versions().items()),
    ]
    return "; ".join(parts)


def child(**settings: str) -> dict[str, str]:
    """An environment for a fresh interpreter that imports what this one imports."""
    paths = [str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
    return {
        **{name: os.environ[name] for name in _PASSED if name in os.environ},
        "PYTHONPATH": os.pathsep.join(filter(None, paths)),
        **settings,
    }


def resident() -> int:
    """Bytes of memory that this process has in use.

    Raises:
        OSError: The system has no /proc.
    """
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def is_older_than_targets() -> bool:
    """Whether the targets are not meant for this interpreter."""
    return sys.version_info < (3, 12) or platform.python_implementation() != "CPython"


def _cpuinfo(name: str) -> str:
    path = Path("/proc/cpuinfo")
    if path.exists():
        for line in path.read_text().splitlines():
            key, _, value = line.partition(":")
            if key.strip() == name:
                return value.strip()
    return ""
