"""How a stream ended: `outcome`, ``partial`` of a fault, ``error_factory``, ``done="always"``."""

from __future__ import annotations

import asyncio
import contextlib
import traceback
from collections.abc import Callable
from typing import Any

import pytest

from streamnorm import StreamFault, normalize_stream
from streamnorm._engine import Engine
from streamnorm.flow_state import Outcome

from .aio import Made, Script, collect, collect_from, collect_sse, run, scripted
from .helpers import DONE, chunk, event, one_byte, reads

ROLE = event(chunk({"role": "assistant", "content": ""}))
REASONING = event(chunk({"reasoning_content": "why"}))
CONTENT = event(chunk({"content": "so"}))
FINISH = event(chunk({}, "stop"))
FAILED = event(b'{"error": {"message": "overloaded", "code": 503}}')

outputs = pytest.mark.parametrize("output", ["dict", "sse"])


@pytest.fixture
def make(engine: Engine) -> Callable[..., Made]:
    """Makes a scripted source and its normalised stream."""
    return scripted(engine)


def of_index(index: int, finish: str | None) -> bytes:
    choice = chunk({"content": "x"}, finish).replace(b'"index": 0', b'"index": %d' % index)
    return event(choice)


# Outcome. ---------------------------------------------------------------------------


@outputs
@pytest.mark.parametrize(
    ("steps", "complete", "reasons", "done", "events", "kind"),
    [
        ([CONTENT, FINISH, DONE], True, {0: "stop"}, True, 2, None),
        ([CONTENT, FINISH], True, {0: "stop"}, False, 2, None),
        ([CONTENT, FINISH[:-2]], True, {0: "stop"}, False, 2, None),
        ([CONTENT, DONE], True, {}, True, 1, None),
        ([b": hi\n\n", CONTENT, b"data: [DONE]"], True, {}, True, 1, None),
        ([of_index(1, "length"), of_index(0, None), of_index(0, "tool_calls"), DONE], True,
         {0: "tool_calls", 1: "length"}, True, 3, None),
        ([CONTENT, of_index(0, "tool_calls"), FINISH, DONE], True, {0: "stop"}, True, 3, None),
        ([CONTENT], False, {}, False, 1, "truncated"),
        ([CONTENT, FINISH, OSError("gone")], False, {0: "stop"}, False, 2, "transport"),
        ([CONTENT, FINISH, FAILED], False, {0: "stop"}, False, 3, "error_event"),
        ([DONE], False, {}, True, 0, "empty"),
        ([], False, {}, False, 0, "empty"),
    ],
)  # fmt: skip
def test_outcome(
    make: Callable[..., Made],
    output: str,
    steps: list[Any],
    complete: bool,
    reasons: dict[int, str],
    done: bool,
    events: int,
    kind: str | None,
) -> None:
    async def main() -> None:
        _, stream = make(*steps)
        assert stream.outcome == Outcome(complete=False)
        _, fault = await (collect(stream) if output == "dict" else collect_sse(stream))
        assert (None if fault is None else fault.kind) == kind
        assert stream.outcome == Outcome(
            complete=complete,
            finish_reasons=reasons,
            done=done,
            events=events,
            bytes=sum(len(step) for step in steps if isinstance(step, bytes)),
            fault=fault,
        )

    run(main())


def test_outcome_along_the_way(make: Callable[..., Made]) -> None:
    async def main() -> None:
        _, stream = make(CONTENT, FINISH, asyncio.Event())
        for events, reasons in ((1, {}), (2, {0: "stop"})):
            await anext(stream)
            assert stream.outcome == Outcome(
                complete=False, finish_reasons=reasons, events=events, bytes=stream.outcome.bytes
            )
        await stream.aclose()
        # It was left: nobody knows how it would have ended.
        assert not stream.outcome.complete
        assert stream.outcome.fault is None
        reasons_seen = stream.outcome.finish_reasons
        reasons_seen.clear()
        assert stream.outcome.finish_reasons == {0: "stop"}

    run(main())


def test_outcome_of_objects(make: Callable[..., Made]) -> None:
    async def main() -> None:
        made = {"choices": [{"index": 2, "delta": {"content": "so"}, "finish_reason": "stop"}]}
        _, stream = make(made)
        assert (await collect(stream))[1] is None
        assert stream.outcome == Outcome(True, {2: "stop"}, events=1)
        stream = normalize_stream(None)
        assert stream.outcome.fault is stream.fault is not None

    run(main())


# Faults. ----------------------------------------------------------------------------


@outputs
def test_partial_is_what_was_merged_so_far(make: Callable[..., Made], output: str) -> None:
    async def main() -> None:
        for last in (OSError("gone"), FAILED, b"data: {"):
            _, stream = make(ROLE, REASONING, CONTENT, CONTENT, last)
            _, fault = await (collect(stream) if output == "dict" else collect_sse(stream))
            assert fault is not None
            assert fault.partial is not None
            assert fault.partial["content"] == "soso"
            assert fault.partial["reasoning_content"] == "why"
            assert fault.partial == stream.message
            assert (fault.visible_output, fault.reasoning_output) == (True, True)
            assert not fault.safe_to_retry

            _, stream = make(ROLE, CONTENT, last, collect=False)
            _, fault = await (collect(stream) if output == "dict" else collect_sse(stream))
            assert fault is not None
            assert fault.partial is None

    run(main())


class Mapped(Exception):
    pass


@outputs
def test_error_factory(make: Callable[..., Made], output: str) -> None:
    async def main() -> None:
        seen = []

        def factory(fault: StreamFault) -> BaseException:
            seen.append(fault)
            return Mapped(fault.kind)

        source, stream = make(ROLE, OSError("gone"), error_factory=factory)
        items: Any = stream if output == "dict" else stream.sse()
        assert await anext(items)
        assert seen == []
        with pytest.raises(Mapped, match="transport") as raised:
            await anext(items)
        fault: Any = stream.fault
        assert seen == [fault]
        assert isinstance(fault.__cause__, OSError)
        assert raised.value.__cause__ is fault
        shown = "".join(traceback.format_exception(raised.value))
        assert "OSError: gone" in shown
        assert "direct cause" in shown
        assert await anext(items, "end") == "end"
        assert source.closes == 1

    run(main())


def test_error_factory_may_give_a_cause_of_its_own_or_the_fault(make: Callable[..., Made]) -> None:
    async def main() -> None:
        cause = LookupError()

        def with_cause(fault: StreamFault) -> BaseException:
            made = Mapped()
            made.__cause__ = cause
            return made

        _, stream = make(error_factory=with_cause)
        with pytest.raises(Mapped) as raised:
            await anext(stream)
        assert raised.value.__cause__ is cause

        _, stream = make(error_factory=lambda fault: fault)
        with pytest.raises(StreamFault) as same:
            await anext(stream)
        assert same.value is stream.fault
        assert same.value.__cause__ is None

    run(main())


def test_error_factory_that_is_wrong(make: Callable[..., Made]) -> None:
    async def main() -> None:
        with pytest.raises(TypeError, match="error_factory"):
            make(error_factory="no")
        _, stream = make(error_factory=lambda fault: "no")
        with pytest.raises(TypeError, match="not str") as raised:
            await anext(stream)
        assert raised.value.__cause__ is stream.fault
        assert await anext(stream, "end") == "end"

        def failing(fault: StreamFault) -> BaseException:
            raise Mapped from fault

        source, stream = make(error_factory=failing)
        with pytest.raises(Mapped):
            await anext(stream)
        assert source.closes == 1

    run(main())


def test_error_factory_is_not_asked_about_what_is_no_fault(make: Callable[..., Made]) -> None:
    async def main() -> None:
        def factory(fault: StreamFault) -> BaseException:
            raise AssertionError

        _, stream = make(CONTENT, 5, error_factory=factory)
        await anext(stream)
        with pytest.raises(TypeError, match="int"):
            await anext(stream)
        _, stream = make(CONTENT, FINISH, DONE, error_factory=factory)
        assert (await collect(stream))[1] is None
        _, stream = make(CONTENT, asyncio.Event(), error_factory=factory)
        await anext(stream)
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(anext(stream), 0.001)
        await stream.aclose()

    run(main())


# done="always". ---------------------------------------------------------------------


@pytest.mark.parametrize("cut", [None, 1, 30])
@pytest.mark.parametrize("peeks", [False, True])
@pytest.mark.parametrize(
    ("body", "added"),
    [
        (CONTENT + FINISH, DONE),
        (CONTENT + FINISH + DONE, b""),
        (CONTENT + FINISH + b"data: [DONE]", b"\n\n"),
        (CONTENT + FINISH + b"data: [DONE]\n", b"\n"),
        (CONTENT + FINISH[:-1], b"\n" + DONE),
        (CONTENT + FINISH[:-2], b"\n\n" + DONE),
        (CONTENT + FINISH + b": bye\n", b"\n" + DONE),
        (CONTENT + FINISH + b": bye\n\n", DONE),
        ((CONTENT + FINISH).replace(b"\n", b"\r\n"), DONE),
        ((CONTENT + FINISH).replace(b"\n", b"\r\n")[:-2], b"\n" + DONE),
        ((CONTENT + FINISH).replace(b"\n", b"\r\n")[:-4], b"\n\n" + DONE),
        ((CONTENT + FINISH).replace(b"\n", b"\r"), DONE),
        ((CONTENT + FINISH).replace(b"\n", b"\r\n")[:-1], DONE),
        # A LF behind the last CR would only make a CRLF of it: it takes two.
        ((CONTENT + FINISH).replace(b"\n", b"\r")[:-1], b"\n\n" + DONE),
        ((CONTENT + FINISH).replace(b"\n", b"\r\n")[:-3], b"\n\n" + DONE),
    ],
    ids=lambda value: repr(value[-12:]),
)
def test_a_stream_that_ended_well_always_ends_with_done(
    make: Callable[..., Made],
    engine: Engine,
    body: bytes,
    added: bytes,
    peeks: bool,
    cut: int | None,
) -> None:
    async def main() -> None:
        parts = reads(body, cut) if cut else [body]
        _, stream = make(*parts)
        if peeks:
            assert await stream.peek() == "visible"
        frames, fault = await collect_from(stream, stream.sse(done="always"))
        assert fault is None
        assert all(frames)
        assert b"".join(frames) == body + added
        assert stream.outcome.complete
        # As it was sent, if nothing else is asked for.
        _, stream = make(*parts)
        assert await collect_sse(stream) == (body, None)

    run(main())


@pytest.mark.parametrize("cut", [None, 1, 30])
@pytest.mark.parametrize("tail", [b"data:", b"data: ", b"data:\n", b"data:\r\ndata: "])
def test_data_lines_that_were_cut_before_their_data_become_no_event(
    make: Callable[..., Made], engine: Engine, tail: bytes, cut: int | None
) -> None:
    async def main() -> None:
        body = CONTENT + FINISH
        _, stream = make(*(reads(body + tail, cut) if cut else [body + tail]))
        frames, fault = await collect_from(stream, stream.sse(done="always"))
        assert (b"".join(frames), fault) == (body + DONE, None)

    run(main())


@pytest.mark.parametrize(
    "steps",
    [
        [CONTENT],
        [CONTENT, FINISH, OSError("gone")],
        [CONTENT, FINISH, FAILED],
        [CONTENT, b"data: {"],
        [b"<html>"],
        [b": hi\n\n"],
        [],
    ],
)
@pytest.mark.parametrize("peeks", [False, True])
def test_never_behind_a_fault(make: Callable[..., Made], steps: list[Any], peeks: bool) -> None:
    async def main() -> None:
        _, stream = make(*steps)
        if peeks:
            with contextlib.suppress(StreamFault):
                await stream.peek()
        frames, fault = await collect_from(stream, stream.sse(done="always"))
        assert fault is not None
        assert b"[DONE]" not in b"".join(frames)
        assert not stream.outcome.complete

    run(main())


def test_never_where_it_was_left(make: Callable[..., Made]) -> None:
    async def main() -> None:
        _, stream = make(CONTENT, FINISH, asyncio.Event())
        frames = stream.sse(done="always")
        for _ in range(2):
            await anext(frames)
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(anext(frames), 0.001)
        assert await anext(frames, "end") == "end"

        _, stream = make(CONTENT, FINISH)
        frames = stream.sse(done="always")
        await anext(frames)
        await frames.aclose()
        assert await anext(frames, "end") == "end"

    run(main())


@pytest.mark.parametrize("done", ["as_sent", "always"])
def test_objects_always_end_with_done(make: Callable[..., Made], done: Any) -> None:
    async def main() -> None:
        made = {"choices": [{"index": 0, "delta": {"content": "so"}, "finish_reason": "stop"}]}
        for peeks in (False, True):
            _, stream = make(made)
            if peeks:
                assert await stream.peek() == "visible"
            frames, fault = await collect_from(stream, stream.sse(done=done))
            assert fault is None
            assert b"".join(frames).count(b"data: [DONE]\n\n") == 1
            assert frames[-1].endswith(DONE)

    run(main())


def test_done_is_counted_once_in_one_byte_reads(make: Callable[..., Made]) -> None:
    async def main() -> None:
        body = CONTENT + FINISH + b": a\r\n\r\n"
        _, stream = make(*one_byte(body))
        frames, _ = await collect_from(stream, stream.sse(done="always"))
        assert b"".join(frames) == body + DONE
        # What the marks were asked of is the body; they are not counted into it.
        assert stream.outcome.bytes == len(body)
        assert not stream.outcome.done

    run(main())


LINES = [chunk({"content": "so"}), chunk({"content": "\\n"}), chunk({}, "stop")]


@pytest.mark.parametrize("cut", [None, 1, 30])
@pytest.mark.parametrize("peeks", [False, True])
@pytest.mark.parametrize(
    "body",
    [
        b"\n".join(LINES),
        b"\n".join(LINES) + b"\n",
        b"\r\n".join(LINES) + b"\r\n",
        b"\n\n".join(LINES),
        b"\xef\xbb\xbf" + b"\n".join(LINES),
        b"\n \n" + b"\n".join(LINES),
    ],
    ids=["", "LF", "CRLF", "blank lines", "BOM", "blank lines first"],
)
def test_lines_of_json_become_an_event_each(
    make: Callable[..., Made], engine: Engine, body: bytes, peeks: bool, cut: int | None
) -> None:
    async def main() -> None:
        parts = reads(body, cut) if cut else [body]
        _, stream = make(*parts)
        if peeks:
            assert await stream.peek() == "visible"
        frames, fault = await collect_from(stream, stream.sse(done="always"))
        assert fault is None
        wanted = b"".join(event(line) for line in LINES) + DONE
        assert b"".join(frames).lstrip(b" \n") == wanted
        assert stream.outcome.complete
        # As it was sent, if nothing else is asked for.
        _, stream = make(*parts)
        assert await collect_sse(stream) == (body, None)

    run(main())


@pytest.mark.parametrize("cut", [None, 1, 30])
@pytest.mark.parametrize("end", [b"[DONE]\n", b"data: [DONE]\n\n", b"[DONE]"])
def test_lines_of_json_that_have_a_mark_of_their_end(
    make: Callable[..., Made], engine: Engine, end: bytes, cut: int | None
) -> None:
    async def main() -> None:
        body = b"\n".join(LINES) + b"\n" + end
        _, stream = make(*(reads(body, cut) if cut else [body]))
        frames, fault = await collect_from(stream, stream.sse(done="always"))
        wanted = b"".join(event(line) for line in LINES) + DONE
        assert (b"".join(frames), fault) == (wanted, None)

    run(main())


def test_a_line_that_is_no_json_takes_no_other_with_it(
    make: Callable[..., Made], engine: Engine
) -> None:
    async def main() -> None:
        first, second, last = LINES
        for junk in (b"junk", b"<p>\n</p>"):
            pieces = [first + b"\n", junk + b"\n" + second + b"\n", last + b"\n"]
            for parts in (pieces, [b"".join(pieces)]):
                _, stream = make(*parts)
                frames, fault = await collect_from(stream, stream.sse(done="always"))
                broken = b"".join(b"data: " + line + b"\n" for line in junk.split(b"\n")) + b"\n"
                wanted = event(first) + broken + event(second) + event(last) + DONE
                assert (b"".join(frames), fault) == (wanted, None)

    run(main())


def test_a_whole_body_ends_with_done_once(make: Callable[..., Made]) -> None:
    """It comes out as the events of a stream."""

    async def main() -> None:
        body = b'{"choices": [{"message": {"content": "so"},\n "finish_reason": "stop"}]}'
        for done in ("as_sent", "always"):
            _, stream = make(*reads(body, 20))
            frames, fault = await collect_from(stream, stream.sse(done=done))
            assert fault is None
            assert b"".join(frames).count(DONE) == 1
            assert frames[-1].endswith(b"\n\n" + DONE)

    run(main())


def test_a_wrong_done(make: Callable[..., Made]) -> None:
    async def main() -> None:
        source, stream = make(CONTENT, DONE)
        with pytest.raises(ValueError, match="'as_sent', 'always'"):
            stream.sse(done="never")
        assert (await collect_sse(stream))[1] is None
        assert isinstance(source, Script)

    run(main())
