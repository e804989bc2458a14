"""Which call of a client a request belongs to, told by the frames that it comes from."""

from __future__ import annotations

import sys
from types import FrameType
from typing import Final

# Packages of clients: what calls itself anew for one call of its caller's. A request that is
# sent by one of them twice is one call of whoever called the outermost of them. (Retrying
# libraries are none: what they call twice is called twice.)
CLIENTS: Final = frozenset(("httpx", "httpx2", "aiohttp", "openai", "litellm", "streamnorm"))


def caller() -> FrameType | None:
    """The outermost of the frames, from here on without a gap, that belong to a client.

    A frame lives as long as the function or coroutine runs that it belongs to, and is the
    same object all the time, also where that is suspended in between.
    """
    outermost = None
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and _package(frame) in CLIENTS:
        outermost, frame = frame, frame.f_back
    return outermost


def _package(frame: FrameType) -> str:
    name = frame.f_globals.get("__name__", "")
    return name.partition(".")[0] if isinstance(name, str) else ""
