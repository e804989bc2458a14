"""What of a stream is recorded, whatever it is recorded with."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from time import perf_counter
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol, get_args

from ..faults import Category, Kind, StreamFault
from ..metrics import Metrics
from ..semconv import DIRECTION, ERROR_TYPE, INSTRUMENTS, OTHER, Convention, Instrument
from ..usage import Usage

if TYPE_CHECKING:
    from ..flow_state import Outcome

# OpenTelemetry's SDK takes about 7 µs for each value, and there all are recorded at once, on a
# thread that may have an event loop to run. Of more gaps than this an even choice is recorded.
GAPS_LIMIT: Final = 1024

CANCELLED: Final = "cancelled"

# Every value of error.type that there can be.
ERROR_TYPES: Final = frozenset(
    {*get_args(Kind), *get_args(Category), CANCELLED, OTHER} - {"unknown"}
)

# Of these the kind says only where the error was found; the category says what it is.
_TOLD_BY_UPSTREAM: Final = ("http_error", "error_event")


class RecordedStream(Protocol):
    """What is read of a stream; `NormalizedStream` and `NormalizedStreamSync` have it."""

    @property
    def metrics(self) -> Metrics: ...
    @property
    def usage(self) -> Usage: ...
    @property
    def outcome(self) -> Outcome: ...
    @property
    def fault(self) -> StreamFault | None: ...


class Observation(NamedTuple):
    """The values of one instrument.

    Attributes:
        instrument: Which one.
        values: What is recorded.
        attributes: Those that belong to this instrument, and not to all of the stream.
    """

    instrument: Instrument
    values: list[float]
    attributes: dict[str, str]


def observe(
    stream: RecordedStream, convention: Convention, sent: float | None
) -> Iterator[Observation]:
    """What there is to record of *stream*; what is not known is left out.

    Args:
        stream: One that ended, by rights; of one that runs, what is known so far.
        convention: How the instruments are called.
        sent: When the request was sent, by the clock of `time.perf_counter`; None: when the
            first read of the stream began.
    """
    error = error_type(stream)
    values = _values(stream, sent)
    for instrument in INSTRUMENTS:
        found = values.get(instrument.figure)
        if not found:
            continue
        attributes = {}
        if instrument.direction and convention == "operation":
            attributes[DIRECTION] = instrument.direction
        if instrument.has_error and error is not None:
            attributes[ERROR_TYPE] = error
        yield Observation(instrument, found, attributes)


def error_type(stream: RecordedStream) -> str | None:
    """The value of ``error.type`` for *stream*, one of `ERROR_TYPES`; None if it ended well.

    For an error that the upstream told about, the fault's category if that is known. For any
    other fault, its kind. ``cancelled`` for a stream that whoever read it did not read to
    its end, with or without a fault.
    """
    fault = stream.fault
    if fault is None:
        return None if stream.outcome.complete else CANCELLED
    if fault.blame == "client":
        return CANCELLED
    told = fault.category if fault.kind in _TOLD_BY_UPSTREAM else "unknown"
    name = fault.kind if told == "unknown" else told
    return name if name in ERROR_TYPES else OTHER


def _values(stream: RecordedStream, sent: float | None) -> dict[str, list[float]]:
    metrics, usage = stream.metrics, stream.usage
    duration = metrics.duration
    has_begun = duration is not None
    if not has_begun and stream.fault is not None:
        # There was nothing to read, and yet it must be counted among the errors.
        duration = 0.0 if sent is None else max(perf_counter() - sent, 0.0)
    if has_begun and sent is not None:
        metrics = metrics.since(sent)
        duration = metrics.duration
    single = {
        "duration": duration,
        "time_to_first_chunk": metrics.time_to_first_chunk,
        "time_to_first_visible": metrics.time_to_first_visible,
        "reasoning_time": metrics.reasoning_time,
        "input_tokens": usage.prompt,
        "output_tokens": usage.completion,
    }
    values: dict[str, list[float]] = {
        name: [value] for name, value in single.items() if value is not None
    }
    values["chunk_gaps"] = list(spread(metrics.chunk_gaps, GAPS_LIMIT))
    return values


def spread(gaps: Mapping[float, int], limit: int) -> Iterator[float]:
    """Every gap as often as it occurred, or an even choice of *limit* of them.

    Args:
        gaps: How often each occurred, the shortest first.
        limit: The most that are chosen.
    """
    total = sum(gaps.values())
    chosen = min(total, limit)
    seen = given = 0
    for gap, count in gaps.items():
        seen += count
        # Of the first *seen* gaps, the share that falls to them.
        due = seen * chosen // total
        for _ in range(due - given):
            yield gap
        given = due
