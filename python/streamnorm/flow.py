"""One stream without I/O: what its source gives goes in, what is delivered comes out.

The asynchronous and the synchronous stream read and close; everything else about a stream
is here, once: its engine, what it collects, how it ended, and what that is called.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field
from time import perf_counter
from typing import TYPE_CHECKING, Any, Final, Literal

from . import _engine, faults
from ._engine import Engine, NormalizerEngine
from .chunk_reads import is_chunk_pair
from .collect import Collector
from .faults import StreamFault
from .metrics import MAX_TIMES, ONE_CHUNK, Metrics, Recorder
from .normalizers import make_report
from .objects import NAME as OBJECTS_NAME
from .objects import ObjectNormalizer
from .options import OptionsDict, make_options
from .report import Report
from .sources import LineEnds, to_bytes
from .timeouts import Limits
from .whole_events import WholeEvents

if TYPE_CHECKING:
    from .litellm_stream import InPlace

ErrorFactory = Callable[[StreamFault], BaseException]
Output = Literal["", "dict", "sse"]
Done = Literal["as_sent", "always"]

_ENDS: Final = (StopIteration, StopAsyncIteration)

# Of a pulse (`_engine.NormalizerEngine.pulse`).
OVER: Final = 1
_VISIBLE: Final = 4
_ANY_TEXT: Final = 6

# What an object counts for where bytes are limited: a chunk of OpenAI's with a few
# letters of text has about so many.
OBJECT_BYTES: Final = 256


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


class Flow:
    """The state of one stream.

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

    # The source. --------------------------------------------------------------------

    def go_below(self, wrapper: object | None) -> None:
        """Normalise below *wrapper*, if LiteLLM's is the source (see `litellm_stream`)."""
        self.keep_objects = wrapper is not None
        if wrapper is not None and self._in_place is None:
            from . import litellm_stream

            self._in_place = litellm_stream.wrap(wrapper, self._options, self._module)
            self._is_answer = litellm_stream.is_answer(wrapper)

    def begin(self) -> None:
        """The first read begins."""
        if self._recorder is None:
            self._recorder = Recorder(perf_counter())

    def take(self, item: object) -> Any:
        """Hand one item of the source to the engine; return what it completed.

        Raises:
            TypeError: *item* is neither bytes, text nor a chunk object, or of another sort
                than those before it.
        """
        if self.is_over:
            return None  # closed by another task in the meantime
        step = self._step
        if step is not None:
            out = step(item)
            if type(out) is tuple:
                return self.stepped(item, out)
            return [out] if type(out) is dict else out
        feed = self._feed
        if feed is None or type(item) is not bytes:
            return self._take(item)
        out = feed(item)
        engine: Any = self._engine
        recorder: Any = self._recorder
        pulse = engine.pulse
        if pulse - recorder.pulse == ONE_CHUNK:
            # As `Recorder.note` does: a call would cost more than all that it does.
            recorder.pulse = pulse
            recorder.size += len(item)
            times = recorder.times
            times.append(perf_counter())
            if len(times) > MAX_TIMES:
                recorder.fold_times()
        elif item:
            recorder.note(perf_counter(), len(item), pulse)
        add = self._add
        if add is not None and out:
            add(out)
        if pulse & OVER:
            return self.judged(out)
        whole = self._whole
        return out if whole is None or not out else whole.take(out)

    @property
    def step(self) -> Callable[[object], Any] | None:
        """`_engine.SteppingEngine.step`, for one who cannot spare the call of `take`.

        What it gives is for `stepped` if it is a tuple, and else what `take` would give, but
        not in a list. None as long as more has to be done, or if the engine has no such.
        """
        return self._step

    def stepped(self, item: object, out: Any) -> Any:
        """As `take`, for an *item* that `step` has made a tuple, *out*, of."""
        if not out:
            return self._take(item)
        made, now = out
        engine: Any = self._engine
        recorder: Any = self._recorded()
        pulse = engine.pulse
        data: Any = item
        recorder.note(now, len(data), pulse)
        return self.judged(made) if pulse & OVER else made

    def _take(self, item: object) -> Any:
        """As `take`, where more may have to be done."""
        engine: Any = self._engine or self._start(item)
        if self._is_bytes:
            data = item if type(item) is bytes else to_bytes(item)
            if self._line_ends is not None:
                data = self._line_ends.complete(data)
                if self._line_ends.are_there:
                    self._line_ends = None
            if self._kept is not None:
                self._kept.append(data)
            out = engine.feed(data)
            self._note(len(data), engine)
            if data and self._is_plain:
                if self._module.COLLECTS and self._whole is None:
                    self._step = engine.step
                else:
                    self._feed = engine.feed
        else:
            out = engine.feed(item)
            self._bytes += OBJECT_BYTES
            self._note(OBJECT_BYTES, engine)
        # Before anybody outside can change the chunks.
        if out and self._add is not None:
            self._add(out)
        return self.judged(out)

    @property
    def _is_plain(self) -> bool:
        """Whether bytes go into the engine as they come, and nobody looks at the time."""
        return self._line_ends is None and self._kept is None and self.limits is None

    def judged(self, out: Any) -> Any:
        """What is delivered of *out*; the stream ends here if it has failed or is done."""
        engine: Any = self._engine
        facts = engine.fault
        # Bytes of a malformed event pass as they are: that it is a fault is not said until
        # somebody asks for chunks.
        if facts and (self.output or facts[0] != "corrupt" or not engine.visible):
            self._fail(facts)
        return self._after(out, engine)

    def _after(self, out: Any, engine: NormalizerEngine) -> Any:
        """What is delivered of *out*; the stream ends here if it holds the terminal marker."""
        whole = self._whole if self._is_bytes else None
        if not engine.done:
            return whole.take(out) if out and whole is not None else out
        rest = self.finish(None)
        if whole is not None:
            return whole.close(out, is_well=self.fault is None)
        return out + rest if rest else out

    def finish(self, error: BaseException | None, handled: BaseException | None = None) -> Any:
        """End the stream, because the source did or because reading it raised *error*.

        Args:
            error: None where the source ended.
            handled: What the host was handling while it read; see `faults.from_exception`.

        Returns:
            What the engine still held.
        """
        if self.is_over:
            return None  # closed by another task: what a broken read says is moot
        # Of a fault from below it, LiteLLM makes an exception of its own, or a good end.
        raised = None if self._in_place is None else self._in_place.raised
        error = raised if error is None else error
        out = self._close(has_failed=isinstance(error, Exception))
        self._is_whole = error is None
        facts = self._engine.fault if self._engine is not None else None
        if error is None:
            if facts is not None:
                self._fail(facts)
        elif facts is not None and facts[0] == "error_event":
            # The upstream's own words, in an event that the lost connection cut short.
            self._fail(facts).__cause__ = error
        elif isinstance(error, Exception):
            fault = raised or faults.from_exception(error, handled)
            if fault is not error and fault.__cause__ is not error:
                # That of another stream below this one, which is not ours to change.
                fault = copy(fault)
                fault.__cause__ = error
            self._blame(fault)
        elif facts is not None:
            self.lose()
        return self._ended(out, is_well=error is None and self.fault is None)

    def break_off(self, fault: StreamFault) -> Any:
        """End the stream with *fault*, which is ours; return what the engine still held."""
        if self.is_over:
            return None
        out = self._close(has_failed=True)
        self._blame(fault)
        return self._ended(out, is_well=False)

    def lose(self) -> None:
        """Note that a cancellation cut the stream: it must not look well ended."""
        self._blame(faults.cancelled())

    def refuse(self, fault: StreamFault) -> None:
        """Note that there is no stream at all."""
        if self.is_over:
            return  # closed by another task in the meantime
        self.fault, self.is_due, self.is_over = fault, True, True
        self._stop_clock()

    def leave(self) -> None:
        """Note that the stream was closed before its end: nothing is raised any more."""
        self.is_over = True
        self.is_due = False
        self._kept = None
        self._stop_clock()

    # What is delivered. -------------------------------------------------------------

    def choose(
        self, output: Literal["dict", "sse"], ready: Sequence[Any], done: Done = "as_sent"
    ) -> Sequence[Any]:
        """Settle the output.

        Args:
            output: What is wanted.
            ready: The chunks that were made before anybody had said what they want.
            done: For bytes: ``always`` for what `whole_events.WholeEvents` gives.

        Returns:
            What is ready in that output, in its place.
        """
        self.output = output
        self._whole = WholeEvents() if done == "always" else None
        kept, self._kept = self._kept, None
        engine = self._engine
        if engine is None or output == "dict" or kept is None:
            if engine is not None and engine.fault is not None and not self.is_over:
                self._fail(engine.fault)  # of a malformed event: now it is one
            return ready
        if isinstance(engine, ObjectNormalizer):
            self._add = self._collector.add_bytes
            serialised = engine.switch_to_sse(ready)
            return [serialised] if serialised else []
        self._collector = Collector(self._module, keep_message=self._keeps_message)
        self._engine = again = self._made_engine(output)
        pieces = []
        for data in kept:
            piece = again.feed(data)
            if piece and self._add is not None:
                self._add(piece)
            if again.fault is not None and not self.is_over:
                self._fail(again.fault)
            pieces.append(self._after(piece, again))
            if again.done:
                break
        if self.is_over and not again.done:
            rest = self._close_engine(again, self._has_failed or self.fault is not None)
            pieces.append(self._ended(rest, is_well=self._is_whole and self.fault is None))
        if self.is_over:
            self._collector.end()
        return [piece for piece in pieces if piece]

    def raise_due(self) -> None:
        """Raise the fault, once: everything that was received before is delivered.

        Raises:
            BaseException: See `exception`.
        """
        if not self.is_due:
            return
        self.is_due = False
        assert self.fault is not None
        if self._unsaid is not None:
            self.fault.visible_output, self.fault.reasoning_output = self._unsaid
            self._unsaid = None
        raise self.exception()

    def check_peeked(self, *, is_untouched: bool) -> None:
        """Check a stream that is over before anything visible came.

        Args:
            is_untouched: Nothing was delivered yet: the fault then says so, and stays due.

        Raises:
            BaseException: It failed; see `exception`.
            RuntimeError: It was closed before its end, or never opened.
        """
        if self.fault is None:
            if self._has_ended:
                return
            raise RuntimeError("the stream was closed before its end")
        if is_untouched and self.is_due and self._unsaid is None:
            self._unsaid = self.fault.visible_output, self.fault.reasoning_output
            self.fault.visible_output = self.fault.reasoning_output = False
        raise self.exception()

    def exception(self) -> BaseException:
        """What is raised for the fault.

        Raises:
            TypeError: ``error_factory`` gave no exception.
        """
        fault = self.fault
        assert fault is not None
        if self._error_factory is None:
            return fault
        made = self._error_factory(fault)
        # (Those two would end the iteration as if it were well.)
        if not isinstance(made, BaseException) or isinstance(made, _ENDS):
            raise TypeError(
                f"error_factory must return an exception, not {type(made).__name__}"
            ) from fault
        if made is not fault and made.__cause__ is None:
            made.__cause__ = fault
        return made

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

    def _close(self, *, has_failed: bool) -> Any:
        engine = self._engine or self._start(b"")
        out = self._close_engine(engine, has_failed)
        self._has_failed = has_failed
        self._collector.end()
        self.is_over = self._has_ended = True
        self._stop_clock()
        return out

    def _close_engine(self, engine: NormalizerEngine, has_failed: bool) -> Any:
        is_counted = self._whole is not None and self._is_bytes
        malformed = engine.counts()["malformed"] if is_counted else 0
        out = engine.close(has_failed)
        if out and self._add is not None:
            self._add(out)
        # Byte output passes what it cannot read: this is how half an event shows.
        self._is_cut = is_counted and engine.counts()["malformed"] > malformed
        return out

    def _stop_clock(self) -> None:
        if self._recorder is not None:
            self._recorder.end(perf_counter())

    def _ended(self, out: Any, *, is_well: bool) -> Any:
        """*out*, which the end of the input has put out, with what was asked of the end."""
        engine = self._engine
        if self._whole is None or not self._is_bytes or engine is None:
            return out
        is_done = engine.done
        return self._whole.end(out or b"", is_cut=self._is_cut, is_well=is_well, is_done=is_done)

    def _fail(self, facts: tuple[Any, ...]) -> StreamFault:
        fault = faults.from_facts(facts, visible=False, reasoning=False, headers=self.headers)
        self.is_over = self._has_ended = True
        self._stop_clock()
        return self._blame(fault)

    def _blame(self, fault: StreamFault) -> StreamFault:
        """Have *fault* raised once all is delivered; say in it what had come out."""
        if self._engine is not None and self._engine.events:
            # (LiteLLM's exceptions tell as well, but take reasoning between tags for an answer.)
            fault.visible_output = self._engine.visible
            fault.reasoning_output = self._engine.reasoning
        if self._keeps_message:
            merged = self.collected().messages().messages
            fault.partial = next(iter(merged.values()), fault.partial)
        self.fault, self.is_due = fault, True
        return fault
