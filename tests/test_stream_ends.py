"""Ends that are easily taken for others: second attempts, `[DONE]` too much, half a body."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest

from streamnorm import StreamFault, normalize_stream, normalize_stream_sync
from streamnorm._engine import Engine

from .aio import Script, collect, run
from .helpers import DONE, chunk, event

TEXT = event(chunk({"content": "so"}))
REASON = event(chunk({"reasoning": "why"}))
FINISH = event(chunk({}, "stop"))
LIMITED = event(b'{"error":{"message":"slow down","code":429}}')
BROKEN = b"data: {bad\n\n"


class Refused(Exception):
    """What an SDK raises for a status."""

    status_code = 429


class Response:
    """As much of a response as `normalize_stream` looks at."""

    def __init__(self, status: int, *steps: Any) -> None:
        self.status_code = status
        self.headers = {"Retry-After": "7"}
        self.source = Script(steps)

    def aiter_bytes(self) -> Script:
        return self.source


async def frames(stream: Any, found: list[bytes], done: Any = "always") -> StreamFault | None:
    try:
        async for frame in stream.sse(done=done):
            found.append(frame)
    except StreamFault as fault:
        return fault
    return None


# The failure before is not the cause of this one. ----------------------------------------


@pytest.mark.parametrize("is_sync", [False, True])
def test_a_second_attempt_while_the_first_failure_is_handled(engine: Engine, is_sync: bool) -> None:
    first: StreamFault | None = None
    again: StreamFault | None = None
    lost = ConnectionResetError("gone")

    def attempt(*steps: Any) -> StreamFault | None:
        if is_sync:

            def source() -> Any:
                for step in steps:
                    if isinstance(step, BaseException):
                        raise step
                    yield step

            try:
                list(normalize_stream_sync(source(), _engine_module=engine))
            except StreamFault as fault:
                return fault
            return None

        async def main() -> StreamFault | None:
            _, fault = await collect(normalize_stream(Script(steps), _engine_module=engine))
            return fault

        return asyncio.run(main())

    async def nested() -> tuple[StreamFault, StreamFault]:
        try:
            async for _ in normalize_stream(Script([LIMITED]), _engine_module=engine):
                pass
        except StreamFault as one:
            try:
                async for _ in normalize_stream(Script([TEXT, lost]), _engine_module=engine):
                    pass
            except StreamFault as two:
                return one, two
        raise AssertionError

    if is_sync:
        first = attempt(LIMITED)
        try:
            raise Refused
        except Refused:
            again = attempt(TEXT, lost)
    else:
        first, again = run(nested())
    assert first is not None
    assert again is not None
    assert (first.kind, first.category, first.visible_output) == (
        "error_event", "rate_limit", False,
    )  # fmt: skip
    assert again is not first
    assert (again.kind, again.category, again.visible_output) == (
        "transport", "api_connection", True,
    )  # fmt: skip
    assert again.__cause__ is lost


def test_a_mistake_in_what_is_awaited_is_no_fault(engine: Engine) -> None:
    async def main(error: Exception) -> None:
        async def send() -> Any:
            raise error

        stream = normalize_stream(send(), _engine_module=engine)
        with pytest.raises(type(error)) as raised:
            await anext(stream)
        assert raised.value is error
        assert stream.fault is None

    run(main(TypeError('no {"code": "invalid_api_key"}')))
    run(main(KeyError("model")))


def test_a_refusal_that_is_awaited_is_a_fault(engine: Engine) -> None:
    async def main() -> None:
        async def send() -> Any:
            raise Refused("slow down")

        stream = normalize_stream(send(), _engine_module=engine)
        with pytest.raises(StreamFault) as raised:
            await stream.peek()
        fault = raised.value
        assert (fault.kind, fault.status_code, fault.blame) == ("http_error", 429, "credential")
        assert isinstance(fault.__cause__, Refused)

    run(main())


def test_the_fault_of_a_source_says_what_this_stream_has_delivered(engine: Engine) -> None:
    async def main() -> None:
        given = StreamFault("x", kind="transport")
        _, fault = await collect(normalize_stream(Script([TEXT, given]), _engine_module=engine))
        assert fault is given
        assert (fault.visible_output, fault.safe_to_retry) == (True, False)
        assert fault.partial is not None
        assert fault.partial["content"] == "so"

    run(main())


def test_a_host_error_of_an_inner_stream_is_the_cause(engine: Engine) -> None:
    class Host(Exception):
        pass

    async def main() -> None:
        inner = normalize_stream(Script([TEXT]), error_factory=Host, _engine_module=engine)
        _, fault = await collect(normalize_stream(inner, _engine_module=engine))
        assert fault is not None
        assert isinstance(fault.__cause__, Host)
        assert fault is not inner.fault
        assert fault.kind == "truncated"

    run(main())


@pytest.mark.parametrize("end", [StopAsyncIteration, StopIteration])
def test_a_factory_cannot_end_the_iteration(engine: Engine, end: Any) -> None:
    async def main() -> None:
        stream = normalize_stream(
            Script([TEXT]), error_factory=lambda _: end(), _engine_module=engine
        )
        await anext(stream)
        with pytest.raises(TypeError, match="error_factory must return an exception"):
            await anext(stream)

    run(main())


# Peek, then bytes. -----------------------------------------------------------------------


@pytest.mark.parametrize("last", [FINISH + DONE, LIMITED])
def test_the_end_behind_a_malformed_event_is_seen_after_a_peek(engine: Engine, last: bytes) -> None:
    async def main() -> None:
        source = Script([TEXT + BROKEN + last, asyncio.Event()])  # and then nothing more
        stream = normalize_stream(source, _engine_module=engine)
        assert await stream.peek() == "visible"
        found: list[bytes] = []
        fault = await frames(stream, found, "as_sent")
        assert b"".join(found) == TEXT + BROKEN + last
        assert (fault is None) is last.endswith(DONE)
        assert stream.outcome.complete is last.endswith(DONE)
        assert source.closes == 1

    run(main())


def test_a_held_finish_reason_does_not_go_out_after_a_fault(engine: Engine) -> None:
    async def main() -> None:
        stream = normalize_stream(Script([FINISH + BROKEN]), finish="last", _engine_module=engine)
        with pytest.raises(StreamFault, match="not a JSON object"):
            await stream.peek()
        found: list[bytes] = []
        assert (await frames(stream, found)) is stream.fault
        assert b"stop" not in b"".join(found)

    run(main())


def test_a_stream_that_broke_over_a_wrong_item_has_no_done(engine: Engine) -> None:
    async def main() -> None:
        gate = asyncio.Event()
        stream = normalize_stream(
            Script([REASON + FINISH, gate, {"choices": []}]), _engine_module=engine
        )
        assert await stream.peek(timeout=0.01) == "timeout"
        gate.set()
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(asyncio.Event().wait(), 0.01)
        found: list[bytes] = []
        with pytest.raises(TypeError):
            await frames(stream, found)
        assert DONE not in b"".join(found)

    run(main())


# What is known of a response stays known. --------------------------------------------------


def test_the_status_of_an_error_whose_body_never_comes(engine: Engine) -> None:
    async def main() -> None:
        source = Response(429, b'{"error"', asyncio.Event())
        stream = normalize_stream(source, _engine_module=engine)
        reading = asyncio.ensure_future(stream.peek(timeout=None))
        for _ in range(50):
            await asyncio.sleep(0)
        assert source.source.reads == 2
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading
        fault = stream.fault
        assert fault is not None
        assert (fault.kind, fault.status_code, fault.retry_after) == ("http_error", 429, 7)

    run(main())


def test_the_status_of_an_error_whose_body_is_interrupted(engine: Engine) -> None:
    class Interrupted:
        status_code = 429
        headers = {"Retry-After": "7"}  # noqa: RUF012

        def iter_bytes(self) -> Any:
            yield b'{"error"'
            raise KeyboardInterrupt

    stream = normalize_stream_sync(Interrupted(), _engine_module=engine)
    with pytest.raises(KeyboardInterrupt):
        next(stream)
    fault = stream.fault
    assert fault is not None
    assert (fault.kind, fault.status_code, fault.retry_after) == ("http_error", 429, 7)


# `[DONE]`. ---------------------------------------------------------------------------------


@pytest.mark.parametrize("rest", [b"", b'data: {"choi', b"\r\n", TEXT])
@pytest.mark.parametrize("size", [1, 1 << 20])
def test_done_is_the_last_word(engine: Engine, rest: bytes, size: int) -> None:
    body = TEXT + FINISH + DONE + rest
    pieces = [body[at : at + size] for at in range(0, len(body), size)]

    async def main() -> None:
        stream = normalize_stream(Script(pieces), _engine_module=engine)
        found: list[bytes] = []
        assert await frames(stream, found) is None
        assert b"".join(found) == TEXT + FINISH + DONE

    run(main())


def test_a_done_without_a_chunk_is_not_passed_on(engine: Engine) -> None:
    async def main() -> None:
        stream = normalize_stream(Script([b": hi\n\n" + DONE]), _engine_module=engine)
        found: list[bytes] = []
        fault = await frames(stream, found)
        assert fault is not None
        assert fault.kind == "empty"
        assert b"".join(found) == b": hi\n\n"

    run(main())


def test_a_cancelled_stream_is_not_complete(engine: Engine) -> None:
    async def main() -> None:
        async def source() -> AsyncIterator[bytes]:
            yield TEXT + FINISH
            await asyncio.Event().wait()

        stream = normalize_stream(source(), _engine_module=engine)
        for _ in range(2):
            await anext(stream)
        reading = asyncio.ensure_future(anext(stream))
        await asyncio.sleep(0)
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading
        assert stream.fault is None  # its finish_reason was seen
        assert not stream.outcome.complete  # but perhaps not its usage

    run(main())
