"""How long everything in a stream took. No I/O, and no clock: times are told, not asked for."""

from __future__ import annotations

import struct
import sys
from array import array
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from itertools import islice
from operator import sub
from typing import Any, Final

from .semconv import INSTRUMENTS, Convention, check_convention

# So many gaps between reads are kept as they are: 32 KiB.
EXACT_GAPS: Final = 4096
MAX_TIMES: Final = EXACT_GAPS + 1

# Beyond that a gap is known by the first 16 bits of it as an IEEE 754 double: the sign, the
# exponent, and four bits of the fraction. That makes 16 buckets of equal width between two
# powers of two, so a gap is at most 1/32 of itself away from the middle of its bucket.
RELATIVE_ERROR: Final = 1 / 32
_BUCKET_BITS: Final = 16
_HALF_BUCKET: Final = 1 << (64 - _BUCKET_BITS - 1)
# Which quarter of a double's eight bytes, in this machine's order, has those bits.
_FIRST_QUARTER: Final = 3 if sys.byteorder == "little" else 0

# In a pulse (`_engine.NormalizerEngine.pulse`).
ONE_CHUNK: Final = 8  # more than before, and no text of a kind that had not come before
_VISIBLE: Final = 4
_REASONING: Final = 2

_SINCE_START: Final = (
    "time_to_first_byte",
    "time_to_first_chunk",
    "time_to_first_reasoning",
    "time_to_first_visible",
    "duration",
)


@dataclass(frozen=True)
class Metrics:
    """The times of one stream, so far or altogether. All are seconds; None: there is none.

    They start when its first read began, which is when the source was asked for its first
    item, or awaited if it is an awaitable. A response that was opened before had been waited
    for by then: see `since`. A read is one item that the source gave: a piece of the body, a
    line or an object. A chunk is an event with data, or an object; it is there when the read
    that completed it returned, so that chunks of one read are there at the same time.

    Attributes:
        time_to_first_byte: Start to the first read that gave anything, a comment for example.
        time_to_first_chunk: Start to the first chunk, whatever is in it.
        time_to_first_reasoning: Start to the first reasoning text.
        time_to_first_visible: Start to the first answer text or tool call.
        reasoning_time: The first reasoning text to the first visible output or, as long as
            there is none, to the last chunk. None without reasoning text, and where visible
            output came before it.
        duration: Start to the end of the stream: its last event, its fault, or its being
            closed. While it runs, start to the last read; None before that.
        chunk_gap_p50: Half of the gaps between two chunks in succession were as long as this
            or shorter; it is one of them (nearest rank). 0 where most chunks came together
            with another. Of a stream with more than `EXACT_GAPS` reads after the first it
            may be off by `RELATIVE_ERROR`. None with less than two chunks.
        chunk_gap_p99: The same for 99 of 100 gaps.
        tokens_per_second: The output tokens that the upstream counted, by the time between
            the first chunk and `duration`. None where it sent no count above zero, or that
            time is zero.
        events: Chunks.
        bytes: Bytes that were read, after content decoding.
        start: When the stream started, by the clock of `time.perf_counter`.
        chunk_gaps: How often each gap occurred, the shortest first; what `chunk_gap_p50`
            says about exactness holds. The counts add up to ``events - 1``.
    """

    time_to_first_byte: float | None = None
    time_to_first_chunk: float | None = None
    time_to_first_reasoning: float | None = None
    time_to_first_visible: float | None = None
    reasoning_time: float | None = None
    duration: float | None = None
    chunk_gap_p50: float | None = None
    chunk_gap_p99: float | None = None
    tokens_per_second: float | None = None
    events: int = 0
    bytes: int = 0
    start: float = field(default=0.0, repr=False)
    chunk_gaps: Mapping[float, int] = field(default_factory=dict, repr=False, hash=False)

    def since(self, sent: float) -> Metrics:
        """The same, counted from an earlier moment, such as when the request was sent.

        Args:
            sent: By the clock of `time.perf_counter`. A moment after `start` changes nothing.
        """
        lead = max(self.start - sent, 0.0)
        changes: dict[str, Any] = {"start": self.start - lead}
        for name in _SINCE_START:
            value = getattr(self, name)
            if value is not None:
                changes[name] = value + lead
        return replace(self, **changes)

    def as_dict(self) -> dict[str, float | int | None]:
        """The figures as plain values, for logs and JSON; without `start` and `chunk_gaps`."""
        return {
            name: getattr(self, name)
            for name in self.__dataclass_fields__
            if name not in ("start", "chunk_gaps")
        }

    def as_otel(self, convention: Convention = "operation") -> dict[str, float]:
        """The times under the names of OpenTelemetry's conventions; those that are known.

        ``…time_per_output_chunk``, in the conventions one value for each chunk, is their
        mean here. `streamnorm.exporters.otel` records them all.

        Args:
            convention: See `streamnorm.semconv`.

        Raises:
            ValueError: There is no such convention.
        """
        check_convention(convention)
        out: dict[str, float] = {}
        for instrument in INSTRUMENTS:
            value = getattr(self, instrument.figure, None)
            if instrument.figure == "chunk_gaps":
                value = _mean(self.chunk_gaps)
            if value is not None:
                out[instrument.name(convention)] = value
        return out


class Recorder:
    """Takes the times of one stream; see `Metrics` for what they mean.

    All times are seconds of one clock and never decrease. What it keeps does not grow with
    the stream: at most `EXACT_GAPS` + 2 times, and one counter for each of the 16 buckets
    between two powers of two in which gaps were found (about 600 from 1 ns to 30 s). (An
    engine that notes times by itself has some hundreds, until they are handed to `add`.)

    Args:
        start: When the first read began.

    Attributes:
        pulse: The last that `note` was given, without the bit that says that it is over.
        size: Bytes that were read.
        times: When reads completed chunks, as far as they were not folded.
    """

    __slots__ = (
        "_end",
        "_events",
        "_first_byte",
        "_first_chunk",
        "_first_reasoning",
        "_first_visible",
        "_folded",
        "_last_read",
        "_start",
        "pulse",
        "size",
        "times",
    )

    def __init__(self, start: float) -> None:
        self._start = start
        self._first_byte: float | None = None
        self._first_chunk: float | None = None
        self._first_reasoning: float | None = None
        self._first_visible: float | None = None
        self._last_read: float | None = None
        self._end: float | None = None
        self.size: int = 0
        self._events = 0
        # The gaps within one read are known to be 0, and how
        # many there are follows from the number of chunks.
        self.times: array[float] = array("d")
        # What was in `_times` before, as gaps: how many are in each bucket.
        self._folded: Counter[int] | None = None
        self.pulse: int = 0

    def note(self, now: float, size: int, pulse: int) -> int:
        """All that one read brought, at once.

        Args:
            now: When it returned.
            size: As of `read`.
            pulse: See `_engine.NormalizerEngine.pulse`.

        Returns:
            How many chunks it completed.
        """
        self.size += size
        self._last_read = now
        if self._first_byte is None and not self.times:
            self._first_byte = now
        new = (pulse >> 3) - (self.pulse >> 3)
        if new:
            self._note_texts(now, self.pulse, pulse)
            self.pulse = pulse & ~1
            self.chunks(now, 0)
        return new

    def add(self, size: int, last: float, times: bytes) -> None:
        """What usual reads brought, each a chunk at most; see `_engine.SteppingEngine`.

        Args:
            size: Bytes that were read; those before them were the first.
            last: When the last of the reads returned.
            times: Doubles: when each one returned that completed a chunk.
        """
        self.size += size
        self._last_read = last
        before = len(self.times)
        self.times.frombytes(times)
        self.pulse += ONE_CHUNK * (len(self.times) - before)
        if len(self.times) > MAX_TIMES:
            self.fold_times()

    def _note_texts(self, now: float, before: int, pulse: int) -> None:
        # Behind the first visible output, reasoning text means nothing to any figure.
        if not before & _VISIBLE:
            if pulse & _REASONING:
                self.reasoning(now)
            if pulse & _VISIBLE:
                self.visible(now)

    def read(self, now: float, size: int) -> None:
        """A read gave *size* bytes, or an object (*size* 0). Not for one that gave nothing."""
        if self._first_byte is None:
            self._first_byte = now
        self._last_read = now
        self.size += size

    def chunks(self, now: float, n: int) -> None:
        """A read completed *n* chunks, at least one."""
        self._events += n
        self.times.append(now)
        if len(self.times) > MAX_TIMES:
            self.fold_times()

    def reasoning(self, now: float) -> None:
        """Reasoning text came; only the first time counts."""
        if self._first_reasoning is None:
            self._first_reasoning = now

    def visible(self, now: float) -> None:
        """Answer text or a tool call came; only the first time counts."""
        if self._first_visible is None:
            self._first_visible = now

    def end(self, now: float) -> None:
        """The stream ended, failed or was closed; only the first time counts."""
        if self._end is None:
            self._end = now

    def metrics(self, usage_output_tokens: int | None) -> Metrics:
        """What is known so far. It takes a time in proportion to the gaps kept: up to 2 ms.

        Args:
            usage_output_tokens: The output tokens that the upstream counted, if it did.
        """
        gaps = self._distribution()
        first_chunk = self._since_start(self._first_chunk_time())
        duration = self._since_start(self._last_time() if self._end is None else self._end)
        return Metrics(
            time_to_first_byte=self._since_start(self._first_byte_time()),
            time_to_first_chunk=first_chunk,
            time_to_first_reasoning=self._since_start(self._first_reasoning),
            time_to_first_visible=self._since_start(self._first_visible),
            reasoning_time=self._reasoning_time(),
            duration=duration,
            chunk_gap_p50=percentile(gaps, 50),
            chunk_gap_p99=percentile(gaps, 99),
            tokens_per_second=_rate(usage_output_tokens, first_chunk, duration),
            events=self._events + (self.pulse >> 3),
            bytes=self.size,
            start=self._start,
            chunk_gaps=gaps,
        )

    def _since_start(self, moment: float | None) -> float | None:
        return None if moment is None else moment - self._start

    def _reasoning_time(self) -> float | None:
        first = self._first_reasoning
        if first is None or not self.times:
            return None
        until = self.times[-1] if self._first_visible is None else self._first_visible
        return until - first if until >= first else None

    def _first_byte_time(self) -> float | None:
        return self._first_chunk_time() if self._first_byte is None else self._first_byte

    def _last_time(self) -> float | None:
        """When the last read returned."""
        last = self._last_read
        return last if last is None or not self.times else max(last, self.times[-1])

    def _first_chunk_time(self) -> float | None:
        if self._first_chunk is not None or not self.times:
            return self._first_chunk
        return self.times[0]

    def fold_times(self) -> None:
        """Keep the gaps between the times instead of them, and the last one for the next gap."""
        self._first_chunk = self._first_chunk_time()
        if self._folded is None:
            self._folded = Counter()
        _count(_gaps(self.times), self._folded)
        del self.times[:-1]

    def _distribution(self) -> dict[float, int]:
        """How often each gap occurred, the shortest first."""
        gaps = _gaps(self.times)
        folded = self._folded
        between_reads = len(gaps) + (sum(folded.values()) if folded else 0)
        within_reads = self._events + (self.pulse >> 3) - 1 - between_reads
        out = Counter({0.0: within_reads} if within_reads > 0 else {})
        if folded:
            buckets = folded.copy()
            _count(gaps, buckets)
            for bucket in sorted(buckets):
                out[_middle(bucket)] += buckets[bucket]
        else:
            out.update(sorted(gaps))
        return dict(out)


def percentile(gaps: Mapping[float, int], percent: int) -> float | None:
    """The shortest of *gaps* that at least *percent* of 100 are not longer than.

    Args:
        gaps: How often each occurred, the shortest first.
        percent: From 1 to 100.

    Returns:
        None if there are no gaps.
    """
    rank = -(-sum(gaps.values()) * percent // 100)
    for gap, count in gaps.items():
        rank -= count
        if rank <= 0:
            return gap
    return None


def _gaps(times: array[float]) -> array[float]:
    return array("d", map(sub, islice(times, 1, None), times))


def _count(gaps: array[float], into: Counter[int]) -> None:
    into.update(array("H", gaps.tobytes())[_FIRST_QUARTER::4])


def _middle(bucket: int) -> float:
    if bucket == 0:
        return 0.0
    bits = (bucket << (64 - _BUCKET_BITS)) + _HALF_BUCKET
    (value,) = struct.unpack("=d", struct.pack("=Q", bits))
    return float(value)


def _mean(gaps: Mapping[float, int]) -> float | None:
    count = sum(gaps.values())
    return sum(gap * times for gap, times in gaps.items()) / count if count else None


def _rate(tokens: int | None, first_chunk: float | None, duration: float | None) -> float | None:
    if not tokens or first_chunk is None or duration is None or duration <= first_chunk:
        return None
    return tokens / (duration - first_chunk)
