"""The Rust engine behind the interface that both engines have (`._engine.Engine`)."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any

from . import _native
from ._engine import Collects
from ._json import fast_loads, loads
from .dialects import (
    CONTENT,
    DONE_MARK,
    ERRORS,
    FLAG_PATH,
    SOURCES,
    TERMINALS,
    UNFINISHED,
    VAGUE_FINISHES,
)
from .message import TEXT_KEYS
from .options import Options
from .pure import split
from .pure.content import vocabulary_of
from .pure.documents import Output
from .pure.handover import HandOver
from .pure.marks import MarkSet, Vocabulary
from .pure.rules import CALLS, VAGUE_FINISH
from .pure.state import MAX_CHOICES, REPEAT_MEMORY, SURE_LENGTH
from .usage import USAGE_KEYS

if TYPE_CHECKING:
    from typing_extensions import Self

NAME = "rust"
COLLECTS = True

# Counters that both halves of the engine count, by source or by name.
_ADDED = (
    "remaps", "removed", "mirrored", "repeated", "conflicts", "families", "notices", "repairs",
)  # fmt: skip


def _limit(limit: int | None) -> int | None:
    # No input reaches sys.maxsize; a larger int does not fit Rust's own.
    return limit if limit is None or limit < sys.maxsize else None


def _utf8(text: str | None) -> bytes | None:
    return None if text is None else text.encode()


# The table in plain values. Rust compares bytes, so all names are UTF-8.
_TABLE = (
    [
        (
            source.key.encode(),
            source.shape,
            [step.encode() for step in source.steps],
            [(_utf8(kind), key.encode()) for kind, key in source.picks],
        )
        for source in SOURCES
    ],
    [([step.encode() for step in mark.path], _utf8(mark.value)) for mark in TERMINALS],
    [word.encode() for word in UNFINISHED],
    DONE_MARK,
    (REPEAT_MEMORY, MAX_CHOICES, SURE_LENGTH),
    (CONTENT.encode(), CALLS.encode(), FLAG_PATH[0].encode()),
    [word.encode() for word in VAGUE_FINISHES],
    [[([s.encode() for s in mark.path], mark.test) for mark in row.marks] for row in ERRORS],
    ([key.encode() for key in TEXT_KEYS], [f'"{key}"'.encode() for key in USAGE_KEYS]),
)


def _marks(live: MarkSet) -> list[tuple[str, str, int, str, bool, list[str]]]:
    return [
        (mark.text, mark.action, mark.family, mark.tail, mark.before_upper, list(mark.models))
        for mark in live.marks
    ]


@lru_cache(maxsize=64)
def _vocabulary(given: Vocabulary, trim: bool) -> _native.Vocabulary:
    """The marks of a vocabulary in plain values."""
    places = (
        given.start, given.flag_start, given.after, given.flag_after, given.free,
        given.any_closers,
    )  # fmt: skip
    return _native.Vocabulary(
        (
            [_marks(place) for place in places],
            [_marks(closers) for closers in given.closers],
            [_marks(ends) for ends in given.ends],
            (given.mode, given.prompted, given.flag_family, trim),
        )
    )


@lru_cache(maxsize=64)
def _table(options: Options) -> _native.Table:
    """The table of an option set. (Its limits are no part of it, and told apart all the same.)"""
    given = vocabulary_of(options.tag_names, options.tags, options.starts_in_reasoning)
    return _native.Table(
        _TABLE,
        (
            [target.encode() for target in options.targets],
            options.keep_original,
            options.finish == "last",
            options.split_mixed,
        ),
        _vocabulary(given, options.trim_tags),
        (fast_loads, loads, partial(split.document, targets=options.targets)),
    )


class Normalizer(_native.Normalizer):
    """One stream's engine: Rust, and the reference for the events that it declines.

    All but the counters is the extension's own: a Python call less for every network read.
    """

    __slots__ = ("_handed", "_options")

    _handed: HandOver
    _options: Options

    def __new__(
        cls,
        options: Options,
        output: Output,
        collector: Collects | None,
        clock: Callable[[], float] | None,
    ) -> Self:
        handed = HandOver(options)
        limits = (_limit(options.max_line_bytes), _limit(options.max_event_bytes))
        self = super().__new__(cls, _table(options), limits, output, handed, collector, clock)
        self._options = options
        self._handed = handed
        return self

    def counts(self) -> dict[str, Any]:
        """The counters of the report: those of Rust and those of the declined events."""
        counts = super().counts()
        counts["carried"] = set(counts["carried"])
        names = vocabulary_of(
            self._options.tag_names, self._options.tags, self._options.starts_in_reasoning
        ).tags
        counts["families"] = {
            names[family].name if family >= 0 else "": count for family, count in counts["families"]
        }
        vague = counts.pop("vague")
        counts["notices"] = {VAGUE_FINISH: vague} if vague else {}
        counts["repairs"] = {}
        counts["finishes"] = dict(self._handed.finishes)
        handed = self._handed.counts()
        if handed is not None:
            counts["carried"] |= handed["carried"]
            for name in _ADDED:
                for key, count in handed[name].items():
                    counts[name][key] = counts[name].get(key, 0) + count
        return counts


def normalizer(
    options: Options,
    output: Output,
    collector: Collects | None = None,
    clock: Callable[[], float] | None = None,
) -> Normalizer:
    """A new engine for one stream."""
    return Normalizer(options, output, collector, clock)


def decoder(max_line: int | None, max_event: int | None, flush_tail: bool) -> _native.Decoder:
    """A new event stream decoder."""
    return _native.Decoder(_limit(max_line), _limit(max_event), flush_tail)
