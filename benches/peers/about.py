"""What the figures depend on: date, machine, interpreter. No names of hosts or folders."""

from __future__ import annotations

import datetime as dt
import os
import platform
import re

import streamnorm

from .. import environment


def about() -> dict[str, str]:
    """Each by what it is called on the page."""
    return {
        "date": dt.datetime.now(dt.timezone.utc).date().isoformat(),
        "streamnorm": f"{streamnorm.__version__}, Rust engine where a row does not say pure; "
        "without orjson",
        "Python": f"{environment.interpreter()}, built {environment.build()}, for all of them",
        "machine": f"{environment.processor()}, {_cores()} cores, {platform.machine()}",
        "system": f"{platform.system()} {_release()}",
    }


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _release() -> str:
    """The kernel's version, without what names a build of it."""
    version = re.match(r"[\d.]*\d", platform.release())
    return version[0] if version else ""
