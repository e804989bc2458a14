"""The streams that are served, and the ways in which they are written."""

from __future__ import annotations

from typing import Final, NamedTuple

from .. import streams
from ..streams import Case

# Chunks of a stream, and of one that is sent at the pace of a clock.
COUNT: Final = 2_000
PACED_COUNT: Final = 600
# Seconds between two events then.
PACE: Final = 0.001
# Bytes of a write that holds many events.
BLOCK: Final = 16_384
# The index of the only choice.
ONLY: Final = 0


class Shape(NamedTuple):
    """One stream: its name in `streams.CASES`, and what is in it."""

    case: str
    what: str


SHAPES: Final = {
    "A": Shape("mirror-and-details", "60 % `reasoning` with `reasoning_details`, 40 % `content`"),
    "B": Shape("rename", "60 % `reasoning`, 40 % `content`"),
    "C": Shape("nothing-to-do", "`content` only"),
}

# How the upstream writes; the first is what a busy gateway meets.
WRITES: Final = {
    "each": "one event a read: each is an HTTP chunk and a TCP write of its own, and goes out "
    "when the client has taken the one before it from its socket, so none is waited for long",
    "backlog": "one event an HTTP chunk, all written at once: the client reads what has piled up",
    "16k": "HTTP chunks and TCP writes of 16 KiB, not cut at events",
    "paced": "one event a millisecond: the client sleeps in between, and is woken for each",
}


def case_of(shape: str, writes: str) -> Case:
    """The stream *shape*, as long as it is when it is written in the way *writes*."""
    return streams.make(SHAPES[shape].case, PACED_COUNT if writes == "paced" else COUNT)


def chunk_size(shape: str) -> float:
    """Bytes of an event of that stream, on average."""
    case = case_of(shape, "each")
    return len(case.stream) / (case.events + 1)
