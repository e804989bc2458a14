"""One stream without I/O: what its source gives goes in, what is delivered comes out.

The asynchronous and the synchronous stream read and close; everything else that happens to
a stream is here, once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import copy
from time import perf_counter
from typing import Any, Final, Literal

from . import faults
from ._engine import NormalizerEngine
from .collect import Collector
from .faults import StreamFault
from .flow_state import Done, FlowState, Output
from .metrics import MAX_TIMES, ONE_CHUNK, Recorder
from .objects import ObjectNormalizer
from .sources import to_bytes
from .whole_events import WholeEvents

_ENDS: Final = (StopIteration, StopAsyncIteration)

# Of a pulse (`_engine.NormalizerEngine.pulse`).
_OVER: Final = 1

# What an object counts for where bytes are limited: a chunk of OpenAI's with a few
# letters of text has about so many.
OBJECT_BYTES: Final = 256


class Flow(FlowState):
    """The state of one stream, and all that is done with it; see `FlowState`."""

    __slots__ = ()

    # As there. (Type checkers would infer narrower types from what is assigned here.)
    output: Output
    fault: StreamFault | None
    is_due: bool
    is_over: bool
    keep_objects: bool

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
        if pulse & _OVER:
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
        return self.judged(made) if pulse & _OVER else made

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
