"""`NormalizedStreamSync` when it is peeked at, too late, interrupted or left."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from streamnorm import StreamFault, Timeouts, normalize_stream_sync
from streamnorm._engine import Engine
from streamnorm.reader import ERROR_BODY_SECONDS

from .aio import deltas
from .blocking import Made, Script, collect, collect_sse, scripted
from .helpers import DONE, chunk, event

FIRST = event(chunk({"reasoning": "why"}))
SECOND = event(chunk({"content": "so"}))
FINISH = event(chunk({}, "stop"))
COMMENT = b": wait\n\n"

outputs = pytest.mark.parametrize("output", ["chunks", "sse"])


@pytest.fixture
def make(engine: Engine) -> Callable[..., Made]:
    """Makes a scripted source and its normalised stream."""
    return scripted(engine)


class Clock:
    """A clock that only goes on when it is told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now

    def after(self, seconds: float) -> Callable[[], None]:
        """What lets so much time pass."""

        def pass_by() -> None:
            self.now += seconds

        return pass_by


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    found = Clock()
    monkeypatch.setattr("streamnorm.sync_stream.monotonic", found)
    return found


# Peeking. -----------------------------------------------------------------------------


@outputs
def test_peek_reads_up_to_the_first_visible_event(make: Callable[..., Made], output: str) -> None:
    steps = [COMMENT, FIRST, FIRST, SECOND, SECOND + FINISH, DONE]
    source, items = make(*steps)
    assert items.peek(reasoning=True) == "visible"
    assert source.reads == 2
    for _ in range(2):
        assert items.peek() == "visible"
        assert source.reads == 4
    found, fault = (collect_sse if output == "sse" else collect)(items)
    assert fault is None
    _, other = make(*steps)
    assert (found, None) == (collect_sse if output == "sse" else collect)(other)


def test_what_else_peek_says(make: Callable[..., Made], clock: Clock) -> None:
    source, items = make(FIRST, FINISH + DONE)
    assert items.peek() == "ended"
    assert source.closes == 1
    assert len(collect(items)[0]) == 2

    source, items = make(FIRST, FIRST, SECOND, DONE)
    assert items.peek(max_bytes=len(FIRST) + 1) == "max_bytes"
    assert source.reads == 2
    assert items.peek(max_bytes=1) == "max_bytes"
    assert source.reads == 2
    assert items.peek() == "visible"
    assert len(collect(items)[0]) == 3

    source, items = make(clock.after(3), FIRST, clock.after(3), FIRST, SECOND, DONE)
    assert items.peek(timeout=5) == "timeout"
    assert source.reads == 2
    # The time begins anew: there is no read left that it could be late for.
    assert items.peek(timeout=None) == "visible"
    assert len(collect(items)[0]) == 3


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"reasoning": 1}, TypeError),
        ({"max_bytes": 1.5}, TypeError),
        ({"max_bytes": 0}, ValueError),
        ({"timeout": 0}, ValueError),
        ({"timeout": "1"}, TypeError),
    ],
    ids=str,
)
def test_arguments_of_peek(make: Callable[..., Made], arguments: Any, error: Any) -> None:
    source, items = make(SECOND)
    with pytest.raises(error, match=next(iter(arguments))):
        items.peek(**arguments)
    assert source.reads == 0


@outputs
def test_a_fault_before_anything_visible(make: Callable[..., Made], output: str) -> None:
    source, items = make(FIRST, OSError("gone"))
    for _ in range(2):
        with pytest.raises(StreamFault) as raised:
            items.peek()
        fault = raised.value
        assert (fault.visible_output, fault.reasoning_output) == (False, False)
    assert source.closes == 1
    found, again = (collect_sse if output == "sse" else collect)(items)
    assert found
    assert again is fault
    # By now the reasoning was delivered.
    assert (fault.visible_output, fault.reasoning_output) == (False, True)


@outputs
def test_a_peek_after_something_was_delivered(make: Callable[..., Made], output: str) -> None:
    _, made = make(FIRST, OSError("gone"))
    next(made.sse() if output == "sse" else made)
    with pytest.raises(StreamFault) as raised:
        made.peek()
    assert raised.value.reasoning_output

    # Two chunks became one piece, of which none was delivered.
    _, made = make(FIRST + FIRST, OSError("gone"))
    assert made.peek(max_bytes=len(FIRST)) == "max_bytes"
    if output == "sse":
        made.sse()
    with pytest.raises(StreamFault) as raised:
        made.peek()
    assert not raised.value.reasoning_output


def test_a_stream_that_was_left_has_no_more_to_peek_at(make: Callable[..., Made]) -> None:
    source, items = make(FIRST, SECOND)
    assert items.peek(reasoning=True) == "visible"
    items.close()
    with pytest.raises(RuntimeError, match="closed before its end"):
        items.peek()
    assert (source.reads, source.closes) == (1, 1)
    assert list(items) == []


# Limits, which are looked at when a read returns. --------------------------------------------


@outputs
@pytest.mark.parametrize(
    ("limits", "late", "kind"),
    [
        ({"first_chunk": 5}, COMMENT, "first_chunk_timeout"),
        ({"first_chunk": 5}, SECOND, "first_chunk_timeout"),
        ({"total": 5}, SECOND, "total_timeout"),
    ],
)
def test_the_first_chunk_comes_too_late(
    make: Callable[..., Made], clock: Clock, output: str, limits: Any, late: bytes, kind: str
) -> None:
    steps = [clock.after(4), COMMENT, clock.after(1), late, AssertionError("read on")]
    source, made = make(*steps, timeouts=Timeouts(**limits))
    found, fault = (collect_sse if output == "sse" else collect)(made)
    assert fault is not None
    assert fault.kind == kind
    # What came too late came nevertheless.
    assert (SECOND in found if output == "sse" else len(found) == 1) is (late == SECOND)
    assert fault.visible_output is (late == SECOND)
    assert (source.reads, source.closes) == (2, 1)


@pytest.mark.parametrize("counts", [False, True])
def test_idle(make: Callable[..., Made], clock: Clock, counts: bool) -> None:
    limits = Timeouts(idle=5, comments_count=counts)
    steps = [clock.after(60), FIRST, clock.after(4), SECOND, clock.after(4), COMMENT]
    source, items = make(*steps, clock.after(4), SECOND, FINISH, timeouts=limits)
    chunks, fault = collect(items)
    if counts:
        assert fault is None
        assert len(chunks) == 4
    else:
        so = {"content": "so"}
        assert deltas(chunks) == [{"reasoning_content": "why"}, so, so]
        assert fault is not None
        assert fault.kind == "idle_timeout"
        assert (source.reads, source.closes) == (4, 1)


def test_the_time_of_the_reader_counts_for_total_only(
    make: Callable[..., Made], clock: Clock
) -> None:
    steps = [FIRST, clock.after(1), FIRST, clock.after(1), SECOND, FINISH]
    _, items = make(*steps, timeouts=Timeouts(first_chunk=2, idle=2))
    clock.now += 60
    for _ in items:
        clock.now += 60
    assert items.fault is None

    source, items = make(*steps, timeouts=Timeouts(total=50))
    clock.now += 60
    next(items)
    clock.now += 60
    with pytest.raises(StreamFault) as raised:
        next(items)
    assert raised.value.kind == "total_timeout"
    assert (source.reads, source.closes) == (1, 1)
    assert next(items, None) is None


@pytest.mark.parametrize("last", [[FIRST + DONE], [FINISH], [FINISH, DONE]], ids=len)
def test_an_end_is_never_too_late(make: Callable[..., Made], clock: Clock, last: Any) -> None:
    limits = Timeouts(first_chunk=5, idle=5, total=60)
    _, items = make(FIRST, *last[:-1], clock.after(50), last[-1], timeouts=limits)
    fault = collect(items)[1]
    # Without the mark, the end would have been another read.
    assert (fault and fault.kind) == (None if last[-1].endswith(DONE) else "idle_timeout")
    _, items = make(FIRST, FINISH, clock.after(500), timeouts=limits)
    assert collect(items)[1] is None


def test_throughput(make: Callable[..., Made], clock: Clock) -> None:
    slow = [clock.after(1), b":\n"] * 40
    source, items = make(clock.after(90), FIRST, *slow, min_throughput=10)
    chunks, fault = collect(items)
    assert len(chunks) == 1
    assert fault is not None
    assert fault.kind == "idle_timeout"
    # The read that ended the 30 seconds, of which each of these took one.
    assert source.reads == 1 + 30
    _, items = make(clock.after(90), FIRST, *slow, FINISH, min_throughput=1)
    assert collect(items)[1] is None


def test_limits_hold_while_an_error_body_is_read(clock: Clock) -> None:
    class Response:
        status_code = 503
        headers = {"Retry-After": "9"}  # noqa: RUF012
        reads = 0

        def __init__(self, piece: bytes = b"x", seconds: float = 1) -> None:
            self.piece, self.seconds = piece, seconds

        def iter_bytes(self) -> Iterator[bytes]:
            while True:
                clock.now += self.seconds
                self.reads += 1
                yield self.piece

    response = Response()
    items = normalize_stream_sync(response, timeouts=Timeouts(total=3))
    with pytest.raises(StreamFault) as raised:
        next(items)
    assert (raised.value.kind, raised.value.status_code) == ("http_error", 503)
    assert response.reads == 3

    # Without a limit its body is not waited for either, since the status is known.
    response = Response()
    with pytest.raises(StreamFault):
        next(normalize_stream_sync(response))
    assert response.reads == ERROR_BODY_SECONDS

    response = Response(b"x" * 40_000, 0)
    with pytest.raises(StreamFault):
        next(normalize_stream_sync(response))
    assert response.reads == 2


# Interrupts. ----------------------------------------------------------------------------


@outputs
@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit, GeneratorExit])
@pytest.mark.parametrize(
    ("steps", "visible", "reasoning"),
    [
        ((), False, False),
        ((FIRST,), False, True),
        ((FIRST, SECOND), True, True),
        (({"choices": [{"index": 0, "delta": {"content": "so"}}]},), True, False),
    ],
)
def test_an_interrupted_read(
    make: Callable[..., Made], output: str, kind: Any, steps: Any, visible: bool, reasoning: bool
) -> None:
    error = kind()
    source, made = make(*steps, error, SECOND)
    items = made.sse() if output == "sse" else made
    for _ in steps:
        assert next(items)
    with pytest.raises(kind) as caught:
        next(items)
    assert caught.value is error
    assert source.closes == 1
    with pytest.raises(StreamFault, match="was cancelled") as raised:
        next(items)
    fault = raised.value
    assert made.fault is fault
    assert (fault.kind, fault.blame) == ("truncated", "client")
    assert (fault.visible_output, fault.reasoning_output) == (visible, reasoning)
    assert next(items, "end") == "end"


@outputs
def test_an_interrupt_after_a_good_end_is_no_fault(make: Callable[..., Made], output: str) -> None:
    source, made = make(FIRST, FINISH[:-1], KeyboardInterrupt())
    items = made.sse() if output == "sse" else made
    next(items)
    with pytest.raises(KeyboardInterrupt):
        next(items)
    assert source.closes == 1
    # An event without its blank line is one that the end of the stream completes.
    [rest] = list(items)
    if output == "sse":
        assert rest == FINISH[:-1]
    else:
        assert rest["choices"][0]["finish_reason"] == "stop"
    assert made.fault is None


def test_an_interrupt_while_the_source_is_opened() -> None:
    class Slow:
        def __iter__(self) -> Any:
            raise KeyboardInterrupt

    items = normalize_stream_sync(Slow())
    with pytest.raises(KeyboardInterrupt):
        next(items)
    with pytest.raises(StreamFault, match="was cancelled"):
        next(items)


@pytest.mark.parametrize("error", [ValueError("no"), StreamFault("no", kind="transport")])
def test_what_opening_the_source_raises_passes_as_it_is(error: Exception) -> None:
    class Refuses(Script):
        def __iter__(self) -> Any:
            raise error

    source = Refuses([])
    items = normalize_stream_sync(source)
    with pytest.raises(type(error)) as raised:
        next(items)
    assert raised.value is error
    assert items.fault is (error if isinstance(error, StreamFault) else None)
    assert (source.reads, source.closes) == (0, 1)
    assert next(items, None) is None


def test_closing_stays_silent(make: Callable[..., Made]) -> None:
    _, items = make(FIRST + SECOND + event(b"{"))
    next(items)
    assert items.fault is not None
    items.close()
    assert list(items) == []
    assert items.fault.kind == "corrupt"

    source, items = make(FIRST, KeyboardInterrupt())
    next(items)
    with pytest.raises(KeyboardInterrupt):
        next(items)
    items.close()
    assert list(items) == []
    assert source.closes == 1


# A wrapper. -----------------------------------------------------------------------------------


class Wrapper(Script):
    """LiteLLM's wrapper by its shape."""

    completion_stream = None
    logging_obj = "logging"
    _hidden_params = {"api_base": "x"}  # noqa: RUF012

    def __aiter__(self) -> Any: ...


def test_attributes_of_a_wrapper_can_be_read() -> None:
    source = Wrapper([{"choices": []}])
    items: Any = normalize_stream_sync(source)
    assert (items.logging_obj, items._hidden_params) == ("logging", {"api_base": "x"})
    assert items.reads == 0
    assert items.report.events == 0
    assert items.close.__self__ is items
    for name in ("no_such_thing", "__len__"):
        with pytest.raises(AttributeError, match=name):
            getattr(items, name)
    other: Any = normalize_stream_sync(Script([]))
    with pytest.raises(AttributeError, match="'NormalizedStreamSync' object has no attribute"):
        other.logging_obj  # noqa: B018
    assert copy.copy(items).logging_obj == "logging"
