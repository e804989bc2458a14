"""What is known of one stream: its engine, what it collects, its times, and how it ended."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from time import perf_counter
from typing import TYPE_CHECKING, Any, Final, Literal

from . import _engine
from ._engine import Engine, NormalizerEngine
from .chunk_reads import is_chunk_pair
from .collect import Collector
from .faults import StreamFault
from .metrics import Metrics, Recorder
from .normalizers import make_report
from .objects import NAME as OBJECTS_NAME
from .objects import ObjectNormalizer
from .options import OptionsDict, make_options
from .report import Report
from .sources import LineEnds
from .timeouts import Limits
from .whole_events import WholeEvents

if TYPE_CHECKING:
    from .litellm_stream import InPlace

ErrorFactory = Callable[[StreamFault], BaseException]
Output = Literal["", "dict", "sse"]
Done = Literal["as_sent", "always"]

# Of a pulse (`_engine.NormalizerEngine.pulse`).
_VISIBLE: Final = 4
_ANY_TEXT: Final = 6


@dataclass(frozen=True)
class Outcome:
    """How a stream ended, or where it is.

    Attributes:
        complete: It ended well: without a fault, with ``[DONE]``, a finish_reason or another
            mark of a good end. False as long as it runs, and where it was left.
        finish_reasons: The last finish_reason by choice index, as it was sent.
        done: The terminal marker (``[DONE]``) was seen.
        events: Events with data that were received.
        bytes: Bytes of the body that were received, after content decoding; 0 for a source
            of objects.
        fault: What ended it, None where nothing did.
    """

    complete: bool
    finish_reasons: dict[int, str] = field(default_factory=dict)
    done: bool = False
    events: int = 0
    bytes: int = 0
    fault: StreamFault | None = None


class FlowState:
    """The state of one stream; `Flow` is what changes it.

    Attributes:
        output: ``dict``, ``sse``, or empty as long as nobody has asked for either.
        fault: The fault that ended the stream, as soon as it is known.
        is_due: The fault is still to be raised.
        is_over: Nothing more is read.
        keep_objects: Objects come out as they are, changed in place.
        headers: Of the response, where the source is one.
        limits: The time limits, None where there are none.
    """

    __slots__ = (
        "_add",
        "_bytes",
        "_collector",
        "_engine",
        "_engine_name",
        "_error_factory",
        "_feed",
        "_has_ended",
        "_has_failed",
        "_in_place",
        "_is_answer",
        "_is_bytes",
        "_is_cut",
        "_is_whole",
        "_keeps_message",
        "_kept",
        "_line_ends",
        "_module",
        "_options",
        "_recorder",
        "_step",
        "_unsaid",
        "_whole",
        "fault",
        "headers",
        "is_due",
        "is_over",
        "keep_objects",
        "limits",
        "output",
    )

    def __init__(
        self,
        *,
        engine: Engine | None,
        options: OptionsDict,
        collect: bool,
        limits: Limits | None,
        error_factory: ErrorFactory | None,
    ) -> None:
        if not isinstance(collect, bool):
            raise TypeError(f"collect must be a bool, not {type(collect).__name__}")
        if error_factory is not None and not callable(error_factory):
            raise TypeError(
                f"error_factory must be callable or None, not {type(error_factory).__name__}"
            )
        self._options = make_options(options)
        self._module = engine or _engine.engine
        self._keeps_message = collect
        self._collector = Collector(self._module, keep_message=collect)
        self._error_factory = error_factory
        self._engine: NormalizerEngine | None = None
        # What the collector is given output with, None where the engine does that.
        self._add: Callable[[Any], None] | None = None
        # That of the engine, once nothing has to be done but to feed it with bytes; and
        # instead of it, where the engine has it: all of `take` that a usual read needs.
        self._feed: Callable[[bytes], Any] | None = None
        self._step: Callable[[object], Any] | None = None
        self._engine_name = self._module.NAME
        self._is_bytes = True
        self._line_ends: LineEnds | None = LineEnds()
        self._recorder: Recorder | None = None
        self._bytes = 0  # of objects; the recorder has those of bytes
        # What was fed before the output was known: it has to be fed again if that turns
        # out to be bytes.
        self._kept: list[bytes] | None = []
        self._has_ended = False  # otherwise it was left
        self._is_whole = False  # it was the source that ended it
        self._has_failed = False
        # What a fault says of the output once it is delivered, while it says "nothing".
        self._unsaid: tuple[bool, bool] | None = None
        self._whole: WholeEvents | None = None
        self._is_cut = False  # the input ended with half an event
        self.output: Output = ""
        self.fault: StreamFault | None = None
        self.is_due: bool = False
        self.is_over: bool = False
        self.keep_objects: bool = False
        self.headers: Mapping[str, str] | None = None
        self.limits: Limits | None = limits
        # What is done below LiteLLM's stream wrapper, where that is the source.
        self._in_place: InPlace | None = None
        self._is_answer = False  # of LiteLLM's own: no upstream streams it

    # What is known. -----------------------------------------------------------------

    def report(self) -> Report:
        """See `stream_base.StreamBase.report`."""
        if self._engine is None:
            made = Report(engine=self._engine_name)
        else:
            made = make_report(self._engine_name, self._engine.counts(), self._options.targets)
        return made if self._in_place is None else self._in_place.report(made)

    def collected(self) -> Collector:
        """The usage and the messages so far."""
        if self._engine is not None:
            self._engine.hand_in()
        return self._collector

    def outcome(self) -> Outcome:
        """See `stream_base.StreamBase.outcome`."""
        if self._engine is None:
            return Outcome(False, fault=self.fault)
        counts = self._engine.counts()
        return Outcome(
            complete=self._is_whole and self.fault is None,
            finish_reasons=dict(counts["finishes"]),
            done=self._engine.done,
            events=counts["events"],
            bytes=self.size if self._is_bytes else 0,
            fault=self.fault,
        )

    def metrics(self) -> Metrics:
        """See `stream_base.StreamBase.metrics`."""
        recorder = self._recorded() or Recorder(perf_counter())
        return recorder.metrics(self.collected().usage().completion)

    @property
    def size(self) -> int:
        """Bytes that were received; `OBJECT_BYTES` for each object."""
        recorder = self._recorded()
        return self._bytes if recorder is None else self._bytes + recorder.size

    def is_visible(self, *, reasoning: bool) -> bool:
        """Whether answer text or a tool call came, or with *reasoning* reasoning text."""
        engine = self._engine
        return engine is not None and engine.pulse & (_ANY_TEXT if reasoning else _VISIBLE) != 0

    # Inside. ------------------------------------------------------------------------

    def _start(self, item: object) -> NormalizerEngine:
        """Choose the engine by the first item."""
        # As long as nobody has asked for bytes, chunks are made.
        output = self.output or "dict"
        if isinstance(item, bytes | bytearray | memoryview | str) or is_chunk_pair(item):
            self._engine = self._made_engine(output)
        else:
            self._is_bytes = False
            options = self._options
            if self._in_place is not None and self._in_place.reads_text:
                # What is between delimiters was taken out: what is there now is the answer.
                options = options._replace(tags="off", starts_in_reasoning=False)
            elif self._is_answer:
                options = options._replace(starts_in_reasoning=False)
            self._engine = ObjectNormalizer(options, output, keep=self.keep_objects)
            is_sse = output == "sse"
            self._add = self._collector.add_bytes if is_sse else self._collector.add_objects
            self._engine_name = OBJECTS_NAME
        return self._engine

    def _made_engine(self, output: Literal["dict", "sse"]) -> NormalizerEngine:
        """A new engine for bytes, whose output is collected."""
        collector = self._collector
        if self._module.COLLECTS:
            self._add = None
            return self._module.normalizer(self._options, output, collector, perf_counter)
        self._add = collector.add_bytes if output == "sse" else collector.add_chunks
        return self._module.normalizer(self._options, output)

    def _note(self, size: int, engine: NormalizerEngine) -> None:
        """Note what a read brought, for limits and metrics."""
        recorder = self._recorder
        if recorder is None:
            recorder = self._recorder = Recorder(perf_counter())
        if size:
            self._recorded()
            read = size if self._is_bytes else 0
            new = recorder.note(perf_counter(), read, engine.pulse)
            if self.limits is not None:
                self.limits.count(size, new)

    def _recorded(self) -> Recorder | None:
        """The recorder, once it knows what the engine has noted."""
        recorder = self._recorder
        if recorder is not None and self._step is not None:
            engine: Any = self._engine
            noted = engine.stepped()
            if noted is not None:
                recorder.add(*noted)
        return recorder

    def _stop_clock(self) -> None:
        if self._recorder is not None:
            self._recorder.end(perf_counter())
