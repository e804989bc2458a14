"""Time limits of a stream, and the clocks that they are measured with. No I/O, no timers."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Any, Final, Literal

from . import faults
from .faults import StreamFault

# Long enough for a pause of thought, short enough that a trickle is found within a minute.
THROUGHPUT_WINDOW: Final = 30.0

_Limit = Literal["first_chunk_timeout", "idle_timeout", "total_timeout"]


@dataclass(frozen=True)
class Timeouts:
    """How long a stream may take, in seconds; None is for ever.

    Attributes:
        first_chunk: From the first read to the first chunk (event with data). Comments,
            which many gateways send while a model thinks, are none.
        idle: Without a chunk, once the first has come. It does not govern the wait for that
            one, which takes much longer than the gaps between the others.
        total: From the first read to the end.
        comments_count: Any byte ends an idle time, a comment as well: the upstream lives,
            whatever it does.

    For ``first_chunk`` and ``idle`` only the time counts in which the source is waited for:
    a slow reader of the stream is not the upstream's fault.

    Raises:
        TypeError: A value is no number.
        ValueError: A value is not above zero and finite.
    """

    first_chunk: float | None = None
    idle: float | None = None
    total: float | None = None
    comments_count: bool = False

    def __post_init__(self) -> None:
        for field in fields(self)[:3]:
            check_positive(field.name, getattr(self, field.name))
        if not isinstance(self.comments_count, bool):
            raise TypeError(
                f"comments_count must be a bool, not {type(self.comments_count).__name__}"
            )


def check_positive(name: str, value: Any) -> None:
    """Check a number that may be None.

    Raises:
        TypeError: It is no number.
        ValueError: It is not above zero and finite.
    """
    if value is None:
        return
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise TypeError(f"{name} must be a number or None, not {type(value).__name__}")
    if not (math.isfinite(value) and value > 0):
        raise ValueError(f"{name} must be above zero and finite, not {value!r}")


def make_limits(timeouts: Timeouts | None, min_throughput: float | None) -> Limits | None:
    """The clocks for one stream, or None where nothing is limited.

    Raises:
        TypeError: An argument of a wrong type.
        ValueError: *min_throughput* is not above zero and finite.
    """
    if timeouts is not None and not isinstance(timeouts, Timeouts):
        raise TypeError(f"timeouts must be Timeouts or None, not {type(timeouts).__name__}")
    check_positive("min_throughput", min_throughput)
    if timeouts in (None, Timeouts(), Timeouts(comments_count=True)) and min_throughput is None:
        return None
    return Limits(timeouts or Timeouts(), min_throughput)


class Limits:
    """The limits of one stream. It is told the time (seconds of one clock), and asks none.

    A read is announced by `begin`, which says until when it may take; `end` tells when it
    returned, and `count` what it brought. Only the time between `begin` and `end` is waiting.
    """

    def __init__(self, timeouts: Timeouts, min_throughput: float | None) -> None:
        self._timeouts = timeouts
        self._least = None if min_throughput is None else min_throughput * THROUGHPUT_WINDOW
        self._started: float | None = None
        self._began = 0.0
        # Waiting since the last sign of life, or since the start.
        self._waited = 0.0
        self._chunks = 0
        self._window_waited = 0.0
        self._window_bytes = 0
        self._deadline = math.inf
        self._cause: _Limit | Literal["throughput"] = "total_timeout"

    def begin(self, now: float) -> float:
        """A read begins; return the time at which it is too late, infinity for never."""
        if self._started is None:
            self._started = now
        self._began = now
        self._deadline = math.inf
        limits = self._timeouts
        if limits.total is not None:
            self._consider(self._started + limits.total, "total_timeout")
        if not self._chunks:
            if limits.first_chunk is not None:
                self._consider(now + limits.first_chunk - self._waited, "first_chunk_timeout")
            return self._deadline
        if limits.idle is not None:
            self._consider(now + limits.idle - self._waited, "idle_timeout")
        if self._least is not None:
            # If enough has come in this window, the next one may still pass without a byte.
            windows = 2 if self._window_bytes >= self._least else 1
            self._consider(now + windows * THROUGHPUT_WINDOW - self._window_waited, "throughput")
        return self._deadline

    def end(self, now: float) -> bool:
        """A read returned, or was given up; return whether it was too late."""
        waited = now - self._began
        self._waited += waited
        if self._chunks:
            self._window_waited += waited
        return now >= self._deadline

    def count(self, size: int, chunks: int) -> None:
        """What a read brought: *size* bytes, in which *chunks* chunks became complete."""
        if chunks:
            self._chunks += chunks
            self._waited = 0.0
        elif size and self._chunks and self._timeouts.comments_count:
            self._waited = 0.0
        if self._chunks and self._least is not None:
            # These came when the window was over already; one with too little stays.
            if self._window_waited >= THROUGHPUT_WINDOW and self._window_bytes >= self._least:
                self._window_waited -= THROUGHPUT_WINDOW
                self._window_bytes = 0
            self._window_bytes += size

    def fault(self) -> StreamFault:
        """The fault for the limit that the last read has passed."""
        if self._cause == "throughput":
            assert self._least is not None
            limit = self._least / THROUGHPUT_WINDOW
            # (Enough in it, and yet too late: it was the window after it that was empty.)
            seen = self._window_bytes if self._window_bytes < self._least else 0
            rate = seen / THROUGHPUT_WINDOW
            return faults.too_slow(rate, limit, THROUGHPUT_WINDOW)
        seconds = getattr(self._timeouts, self._cause.removesuffix("_timeout"))
        return faults.timed_out(self._cause, seconds, events=self._chunks)

    def _consider(self, deadline: float, cause: _Limit | Literal["throughput"]) -> None:
        if deadline < self._deadline:
            self._deadline, self._cause = deadline, cause
