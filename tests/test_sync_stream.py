"""`NormalizedStreamSync`: what is delivered and how it ends, as the asynchronous stream has it."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamnorm import NormalizedStreamSync, StreamFault, normalize_stream, normalize_stream_sync
from streamnorm._engine import Engine

from . import aio
from .blocking import Made, Script, collect, collect_sse, scripted
from .helpers import DONE, chunk, event, random_cuts, run_both, stream

BODY = stream({"reasoning": "wh"}, {"reasoning": "y"}, {"content": "so"})
FIRST = event(chunk({"reasoning": "why"}))
SECOND = event(chunk({"content": "so"}))
FINISH = event(chunk({}, "stop"))
FIRST_OUT = {"reasoning_content": "why"}
SECOND_OUT = {"content": "so"}

outputs = pytest.mark.parametrize("output", ["chunks", "sse"])


@pytest.fixture
def make(engine: Engine) -> Callable[..., Made]:
    """Makes a scripted source and its normalised stream."""
    return scripted(engine)


def iterated(stream: NormalizedStreamSync, output: str) -> Any:
    return stream.sse() if output == "sse" else stream


# What comes out. --------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(5))
def test_both_outputs_are_those_of_the_normalisers(
    engine: Engine, make: Callable[..., Made], seed: int
) -> None:
    parts = random_cuts(BODY, seed)
    chunks, data = run_both(engine, parts)
    source, items = make(*parts)
    assert collect(items) == (chunks.output, None)
    assert items.report == chunks.report
    assert source.closes == 1
    _, items = make(*parts)
    assert collect_sse(items) == (data.output, None)
    assert items.report == data.report


USAGE = {"prompt_tokens": 2, "completion_tokens": 3, "total_tokens": 5}
OBJECTS = [
    {"choices": [{"index": 0, "delta": {"reasoning": "why"}}]},
    {"choices": [{"index": i, "delta": {"content": "so"}} for i in (0, 1)]},
    {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}], "usage": USAGE},
]
SCRIPTS: dict[str, list[Any]] = {
    "nothing": [],
    "empty": [b"", b""],
    "whole": [BODY],
    "cut": random_cuts(BODY, 7, 12),
    "lines": [*BODY.decode().splitlines()],
    "text": [BODY.decode()[:50], bytearray(BODY[50:90]), memoryview(BODY)[90:]],
    "usage": [stream({"content": "so"}, done=False) + event(chunk({}, usage=USAGE)) + DONE],
    "finish without mark": [FIRST, SECOND + FINISH],
    "last event cut short": [FIRST, FINISH[:-1]],
    "truncated": [FIRST, SECOND],
    "corrupt": [FIRST, SECOND + event(b"{oops") + FIRST],
    "error event": [SECOND, event(b'{"error": {"message": "no", "code": 429}}')],
    "not sse": [b"<html>no</html>"],
    "lost": [FIRST, SECOND[:-2], ConnectionResetError("gone")],
    "lost at once": [OSError("refused")],
    "own words": [SECOND, b'data: {"error": {"message": "busy", "code": 503}}\n', OSError("gone")],
    "objects": OBJECTS,
    "objects cut": OBJECTS[:2],
    "objects lost": [OBJECTS[0], OSError("gone")],
    "objects with an error": [OBJECTS[1], {"error": {"message": "no", "code": 500}}],
    "ndjson": [chunk({"content": "so"}) + b"\n" + chunk({}, "stop") + b"\n"],
}


def told(items: Any) -> dict[str, Any]:
    """All that a stream tells of itself, except times."""
    fault, outcome = items.fault, items.outcome
    return {
        "fault": fault and (fault.as_dict() if hasattr(fault, "as_dict") else vars(fault)),
        "words": str(fault),
        "cause": fault and repr(fault.__cause__),
        "report": items.report,
        "outcome": (outcome.complete, outcome.finish_reasons, outcome.done, outcome.events,
                    outcome.bytes, outcome.fault is fault),
        "usage": items.usage,
        "messages": items.choice_messages,
        "metrics": (items.metrics.events, items.metrics.bytes),
    }  # fmt: skip


async def asynchronously(
    source: aio.Script, items: Any, peeks: bool, done: str, output: str
) -> tuple[Any, ...]:
    peeked = raised = None
    if peeks:
        try:
            peeked = await items.peek()
        except StreamFault as early:
            raised = early.visible_output, early.reasoning_output
    found: list[Any] = []
    fault = None
    try:
        async for item in items.sse(done=done) if output == "sse" else items:
            found.append(item)
    except StreamFault as error:
        fault = error
    return peeked, raised, found, str(fault), told(items), (source.reads, source.closes)


def synchronously(
    source: Script, items: Any, peeks: bool, done: str, output: str
) -> tuple[Any, ...]:
    peeked = raised = None
    if peeks:
        try:
            peeked = items.peek()
        except StreamFault as early:
            raised = early.visible_output, early.reasoning_output
    found: list[Any] = []
    fault = None
    try:
        found.extend(items.sse(done=done) if output == "sse" else items)
    except StreamFault as error:
        fault = error
    return peeked, raised, found, str(fault), told(items), (source.reads, source.closes)


@pytest.mark.parametrize("name", SCRIPTS)
@pytest.mark.parametrize("peeks", [False, True], ids=["", "peek"])
@pytest.mark.parametrize("output", ["chunks", "as_sent", "always"])
def test_all_is_as_the_asynchronous_stream_has_it(
    engine: Engine, name: str, peeks: bool, output: str
) -> None:
    how = (peeks, output, "chunks" if output == "chunks" else "sse")
    ours, theirs = Script(SCRIPTS[name]), aio.Script(SCRIPTS[name])
    items = normalize_stream_sync(ours, _engine_module=engine)
    expected = aio.run(
        asynchronously(theirs, normalize_stream(theirs, _engine_module=engine), *how)
    )
    assert synchronously(ours, items, *how) == expected
    assert ours.closes == 1


@given(st.lists(st.integers(0, len(BODY)), max_size=8), st.booleans(), st.booleans())
def test_no_cut_and_no_peek_changes_what_comes_out(
    cuts: list[int], peeks: bool, thinks: bool
) -> None:
    edges = [0, *sorted(cuts), len(BODY)]
    parts = [BODY[a:b] for a, b in itertools.pairwise(edges)]
    for output in (collect, collect_sse):
        items = normalize_stream_sync(iter(parts))
        if peeks:
            assert items.peek(reasoning=thinks) == "visible"
        whole = normalize_stream_sync([BODY])
        assert output(items) == output(whole)
        assert (items.report, items.message) == (whole.report, whole.message)
        assert items.message == {"role": "assistant", "content": "so", "reasoning_content": "why"}


def test_options_reach_the_engine(make: Callable[..., Made]) -> None:
    _, items = make(FIRST + DONE, reasoning="both", keep_original=True)
    [first] = aio.deltas(collect(items)[0])
    assert first == {"reasoning": "why", "reasoning_content": "why"}
    _, items = make(event(b"{") + FIRST + DONE, on_malformed="skip")
    assert len(collect(items)[0]) == 1
    assert items.report.malformed == 1
    _, items = make(FIRST + DONE, collect=False)
    assert collect(items)[1] is None
    with pytest.raises(RuntimeError, match="collect=False"):
        items.message  # noqa: B018


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"reasonin": "x"}, TypeError, "reasonin"),
        ({"reasoning": "thoughts"}, ValueError, "must be one of"),
        ({"collect": 1}, TypeError, "collect must be a bool"),
        ({"timeouts": 3}, TypeError, "timeouts must be Timeouts or None"),
        ({"min_throughput": 0}, ValueError, "min_throughput must be above zero"),
        ({"error_factory": 3}, TypeError, "error_factory must be callable"),
    ],
    ids=str,
)
def test_wrong_options_are_refused_at_once(options: Any, error: Any, words: str) -> None:
    source = Script([BODY])
    with pytest.raises(error, match=words):
        normalize_stream_sync(source, **options)
    assert (source.reads, source.closes) == (0, 0)


def test_one_read_is_one_call_and_is_delivered_before_the_next(make: Callable[..., Made]) -> None:
    source, items = make(b"", FIRST + SECOND, FIRST + SECOND + DONE)
    assert source.reads == 0
    for reads in (2, 2, 3, 3):
        next(items)
        assert source.reads == reads
    assert next(items, "end") == "end"
    assert source.reads == 3


@pytest.mark.parametrize("rest", [b"", FIRST, b": bye\n\n"])
def test_the_done_mark_ends_the_stream(make: Callable[..., Made], rest: bytes) -> None:
    never = AssertionError("read after [DONE]")
    source, items = make(FIRST + DONE + rest, never)
    assert aio.deltas(collect(items)[0]) == [FIRST_OUT]
    assert (source.reads, source.closes) == (1, 1)
    source, items = make(SECOND, DONE + rest, never)
    assert collect_sse(items) == (SECOND + DONE + rest, None)
    assert (source.reads, source.closes) == (2, 1)


def test_what_is_known_can_be_asked_for_at_any_time(make: Callable[..., Made]) -> None:
    _, items = make(FIRST, SECOND + FINISH + DONE)
    assert (items.report.events, items.report.dialect, items.message) == (0, None, None)
    assert items.outcome.events == 0
    next(items)
    assert (items.report.events, items.report.dialect) == (1, "reasoning")
    assert items.message == {"role": "assistant", "content": None, "reasoning_content": "why"}
    outcome = items.outcome
    assert (outcome.complete, outcome.done, outcome.events, outcome.bytes) == (
        False, False, 1, len(FIRST),
    )  # fmt: skip
    next(items)
    outcome = items.outcome
    assert (outcome.complete, outcome.done, outcome.finish_reasons) == (True, True, {0: "stop"})
    items.close()
    assert items.report.remaps == {"reasoning→reasoning_content": 1}


def test_chunks_and_bytes_cannot_be_mixed(make: Callable[..., Made]) -> None:
    _, items = make(FIRST, SECOND, DONE)
    next(items)
    with pytest.raises(RuntimeError, match="before the stream is iterated as chunks"):
        items.sse()
    assert len(collect(items)[0]) == 1

    source, items = make(SECOND, SECOND, DONE)
    with pytest.raises(ValueError, match="done must be one of"):
        items.sse(done="never")
    frames = items.sse()
    with pytest.raises(RuntimeError, match="can be iterated once"):
        items.sse()
    for _ in range(2):
        with pytest.raises(RuntimeError, match="as bytes, by sse"):
            next(items)
        assert next(frames) == SECOND
    frames.close()
    assert next(frames, None) is None
    assert source.closes == 1


# Faults. ----------------------------------------------------------------------------


@outputs
@pytest.mark.parametrize(
    "last", [b"data: " + b"x" * 300, event(b'{"error": {"message": "no"}}')], ids=len
)
def test_a_fault_is_known_before_it_is_raised_once(
    make: Callable[..., Made], output: str, last: bytes
) -> None:
    never = AssertionError("read after the fault was known")
    source, made = make(FIRST + last, never, max_line_bytes=250)
    items = iterated(made, output)
    next(items)
    # Known, and the connection given back, before it is raised.
    fault = made.fault
    assert fault is not None
    assert (source.reads, source.closes) == (1, 1)
    with pytest.raises(StreamFault) as raised:
        next(items)
    assert raised.value is fault
    assert (fault.visible_output, fault.reasoning_output) == (False, True)
    assert fault.partial == {"role": "assistant", "content": None, "reasoning_content": "why"}
    for _ in range(2):
        assert next(items, "end") == "end"
    assert made.outcome.fault is fault


def test_a_malformed_event_behind_a_peek_is_a_fault_of_chunks(make: Callable[..., Made]) -> None:
    never = AssertionError("read on")
    source, items = make(SECOND + event(b"{oops"), never)
    assert items.peek() == "visible"
    assert aio.deltas([next(items)]) == [SECOND_OUT]
    # Known, and the connection given back, before it is raised.
    assert items.fault is not None
    assert (source.reads, source.closes) == (1, 1)
    with pytest.raises(StreamFault):
        next(items)
    # Bytes of such pass.
    source, items = make(SECOND + event(b"{oops"), FINISH, DONE)
    assert items.peek() == "visible"
    assert collect_sse(items) == (SECOND + event(b"{oops") + FINISH + DONE, None)


@outputs
def test_an_exception_of_the_source_is_a_fault(make: Callable[..., Made], output: str) -> None:
    error = ConnectionResetError("gone")
    source, made = make(FIRST, SECOND[:-2], error)
    found, fault = (collect_sse if output == "sse" else collect)(made)
    assert found if isinstance(found, bytes) else aio.deltas(found) == [FIRST_OUT, SECOND_OUT]
    assert fault is not None
    assert (fault.kind, fault.category, fault.blame) == ("transport", "api_connection", "transport")
    assert fault.__cause__ is error
    assert (fault.visible_output, fault.safe_to_retry) == (True, False)
    assert source.closes == 1


def test_a_fault_of_the_source_passes_as_it_is(make: Callable[..., Made]) -> None:
    raised = StreamFault("slow", kind="idle_timeout")
    source, items = make(FIRST, raised)
    assert collect(items)[1] is raised
    assert source.closes == 1


@outputs
def test_none_is_a_fault_of_the_first_read(engine: Engine, output: str) -> None:
    items = normalize_stream_sync(None, _engine_module=engine)
    fault = items.fault
    assert fault is not None
    assert (fault.kind, fault.blame) == ("none_stream", "request")
    with pytest.raises(StreamFault) as raised:
        items.peek()
    assert raised.value is fault
    found, raised_fault = (collect_sse if output == "sse" else collect)(items)
    assert not found
    assert raised_fault is fault
    items.close()


@outputs
def test_error_factory(make: Callable[..., Made], output: str) -> None:
    class Mine(Exception):
        pass

    made_of = []

    def factory(fault: StreamFault) -> BaseException:
        made_of.append(fault)
        return Mine(fault.kind)

    _, made = make(SECOND, OSError("gone"), error_factory=factory)
    items = iterated(made, output)
    next(items)
    with pytest.raises(Mine, match="transport") as raised:
        next(items)
    assert raised.value.__cause__ is made.fault
    assert made_of == [made.fault]
    assert next(items, None) is None

    _, made = make(OSError("gone"), error_factory=factory)
    with pytest.raises(Mine):
        made.peek()
    with pytest.raises(Mine):
        next(iterated(made, output))
    assert type(made.fault) is StreamFault

    _, made = make(OSError("gone"), error_factory=lambda fault: None)
    with pytest.raises(TypeError, match="must return an exception, not NoneType") as refused:
        next(iterated(made, output))
    assert refused.value.__cause__ is made.fault


@pytest.mark.parametrize(
    ("steps", "words"),
    [
        ((7,), "item of type int; items must be bytes"),
        ((FIRST, None), "type NoneType after bytes or str"),
        ((FIRST, {"choices": []}), "type dict after bytes or str; one source must give one sort"),
        (({"choices": []}, b"x"), "type bytes after chunk objects; one source must give one sort"),
    ],
)
@outputs
def test_items_of_a_wrong_type(
    make: Callable[..., Made], steps: tuple[Any, ...], words: str, output: str
) -> None:
    source, made = make(*steps)
    items = iterated(made, output)
    with pytest.raises(TypeError) as raised:
        for _ in items:
            pass
    assert words in str(raised.value)
    assert source.closes == 1
    assert made.fault is None
    assert next(items, None) is None
