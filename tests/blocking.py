"""What tests of synchronous code share: a scripted source, and what collects a stream."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Any

from streamnorm import NormalizedStreamSync, StreamFault, normalize_stream_sync
from streamnorm._engine import Engine
from streamnorm.upstream import Upstream


class Script:
    """An iterator that plays a script and knows how often it was read and closed.

    Args:
        steps: Items to give; an exception is raised, a function called.
    """

    def __init__(self, steps: Iterable[Any]) -> None:
        self._steps = iter(steps)
        self.reads = 0
        self.closes = 0

    def __iter__(self) -> Script:
        return self

    def __next__(self) -> Any:
        self.reads += 1
        for step in self._steps:
            if isinstance(step, BaseException):
                raise step
            if callable(step) and not isinstance(step, type):
                step()
            else:
                return step
        raise StopIteration

    def close(self) -> None:
        self.closes += 1


Made = tuple[Script, Any]


def scripted(engine: Engine) -> Callable[..., Made]:
    """What makes a source that plays a script, and its normalised stream."""

    def make(*steps: Any, **options: Any) -> Made:
        source = Script(steps)
        return source, normalize_stream_sync(source, _engine_module=engine, **options)

    return make


def collect(stream: NormalizedStreamSync) -> tuple[list[Any], StreamFault | None]:
    """All chunks, and the fault that was raised after them; then only the end follows."""
    return _collect(stream, stream)


def collect_sse(stream: NormalizedStreamSync) -> tuple[bytes, StreamFault | None]:
    """All bytes, and the fault that was raised after them."""
    pieces, fault = _collect(stream, stream.sse())
    assert all(pieces)
    return b"".join(pieces), fault


def _collect(stream: NormalizedStreamSync, items: Any) -> tuple[list[Any], StreamFault | None]:
    found: list[Any] = []
    fault = None
    try:
        found.extend(items)  # keeps what came before an exception
    except StreamFault as error:
        fault = error
    assert stream.fault is fault
    for _ in range(2):
        assert next(items, "end") == "end"
    return found, fault


def drained(up: Upstream) -> None:
    """Wait until no connection is open, for some seconds at most."""
    for _ in range(1000):
        if not up.open_connections:
            return
        time.sleep(0.01)
    raise AssertionError(f"{up.open_connections} connection(s) still open")
