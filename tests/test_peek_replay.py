"""`NormalizedStream.peek`: what comes out afterwards is what would have come out without."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamnorm import NormalizedStream, StreamFault, normalize_stream
from streamnorm._engine import Engine

from . import strategies
from .aio import Made, Script, collect, collect_from, collect_sse, run, scripted
from .helpers import DONE, chunk, event

ROLE = event(chunk({"role": "assistant", "content": ""}))
REASONING = event(chunk({"reasoning": "why"}))
CONTENT = event(chunk({"content": "so"}))
CALL = event(
    chunk({"tool_calls": [{"index": 0, "id": "c", "function": {"name": "f", "arguments": ""}}]})
)
FINISH = event(chunk({}, "stop"))
COMMENT = b": OPENROUTER PROCESSING\n\n"
FAILED = event(b'{"error": {"message": "overloaded", "code": 503}}')


@pytest.fixture
def make(engine: Engine) -> Callable[..., Made]:
    """Makes a scripted source and its normalised stream."""
    return scripted(engine)


async def peeked(stream: NormalizedStream, **asked: Any) -> str | StreamFault:
    """What a peek says or raises."""
    try:
        return await stream.peek(**asked)
    except StreamFault as fault:
        return fault


async def rest(stream: NormalizedStream, output: str) -> tuple[Any, StreamFault | None]:
    """All that *stream* delivers in *output*."""
    return await (collect(stream) if output == "dict" else collect_sse(stream))


_pieces = st.sampled_from(
    (
        ROLE, REASONING, CONTENT, CALL, FINISH, COMMENT, DONE, FAILED, b"data: [DONE]",
        event(chunk({"content": "<thi"})), event(chunk({"content": "nk>a"})),
        event(chunk({"content": "</think>\n\nb"})), event(chunk({"content": "a\r\nb"}), b"\r\n"),
        event(chunk({"reasoning_content": "x", "content": "y"}), b"\r"),
        event(b"{oops"), event(b"[1]"), event(b'"text"'), event(b""), b"data: {\n\n", b"\n", b"\r",
        b"id: 7\nevent: message\n", b"event: error\n", b"retry: 5\n\n", b": a\r", b"\xef\xbb\xbf",
        b'error: {"message": "no"}\n\n', b'{"error": {"message": "no"}}\n', b"<html>\n", b"x",
        chunk({"content": "line"}) + b"\n", b"\xff\xfe", b'event: error\ndata: {"a": 1}\n\n',
    )
)  # fmt: skip
_bodies = st.one_of(
    st.lists(_pieces, max_size=8).map(b"".join),
    strategies.streams.map(lambda sent: sent.raw),
    st.tuples(strategies.streams, _pieces).map(lambda parts: parts[1] + parts[0].raw),
)


def _cut(body: bytes, sizes: list[int]) -> list[bytes]:
    parts: list[bytes] = []
    at = 0
    while at < len(body):
        size = sizes[len(parts) % len(sizes)]
        parts.append(body[at : at + size])
        at += size
    return parts


def _whole_events(found: bytes) -> bytes:
    """Without the half event at the end, which the read with the fault had begun."""
    ends = [match.end() for match in re.finditer(rb"(?:\r\n|\n|\r(?!\n)){2}", found)]
    return found[: ends[-1]] if ends else b""


def _words(fault: StreamFault | None) -> Any:
    if fault is None:
        return None
    return fault.kind, str(fault), fault.visible_output, fault.reasoning_output, fault.partial


@pytest.mark.fuzz
@given(
    body=_bodies,
    sizes=st.lists(st.integers(1, 60), min_size=1, max_size=4),
    asked=st.fixed_dictionaries(
        {
            "reasoning": st.booleans(),
            "max_bytes": st.sampled_from((1, 40, 300, 10**6)),
            "timeout": st.sampled_from((None, 60.0)),
        }
    ),
    times=st.integers(1, 2),
    output=st.sampled_from(("dict", "sse", "sse first")),
    options=st.fixed_dictionaries(
        {}, optional={"on_malformed": st.just("skip"), "collect": st.just(False)}
    ),
)
def test_replays_in_order_and_byte_for_byte(
    engine: Engine,
    body: bytes,
    sizes: list[int],
    asked: dict[str, Any],
    times: int,
    output: str,
    options: dict[str, Any],
) -> None:
    parts = _cut(body, sizes)

    async def play(*, is_peeked: bool) -> tuple[Any, Any, NormalizedStream, Any]:
        stream = normalize_stream(Script(parts), _engine_module=engine, **options)
        items: Any = stream.sse() if output == "sse first" else stream
        said: Any = None
        for _ in range(times if is_peeked else 0):
            said = await peeked(stream, **asked)
        if output == "sse":
            items = stream.sse()
        found, fault = await collect_from(stream, items)
        return (found if output == "dict" else b"".join(found)), _words(fault), stream, said

    async def main() -> None:
        found, fault, stream, said = await play(is_peeked=True)
        wanted, wanted_fault, plain, _ = await play(is_peeked=False)
        if isinstance(said, StreamFault):
            assert said is stream.fault
        # Malformed events are a fault in chunks only. When nobody has said yet that it will
        # be bytes, the fault is that of chunks; and it comes before the LF of a CRLF does.
        if isinstance(said, StreamFault) and output == "sse":
            assert said.kind == fault[0]
            assert found in (wanted, wanted.removesuffix(b"\n")) or (
                said.kind in ("corrupt", "empty") and wanted.startswith(_whole_events(found))
            )
            return
        assert (found, fault) == (wanted, wanted_fault)
        assert stream.report == plain.report
        assert stream.outcome.finish_reasons == plain.outcome.finish_reasons
        assert (stream.outcome.complete, stream.outcome.done) == (
            plain.outcome.complete,
            plain.outcome.done,
        )
        if options.get("collect", True):
            assert stream.message == plain.message
        assert stream.usage == plain.usage

    asyncio.run(main())


def test_a_malformed_event_behind_the_first_visible_one(make: Callable[..., Made]) -> None:
    """It passes in bytes and is a fault in chunks, also where it came with what was peeked at."""

    async def main() -> None:
        body = [CONTENT + event(b"{oops") + CONTENT, FINISH, DONE]
        _, stream = make(*body)
        assert await stream.peek() == "visible"
        assert await collect_sse(stream) == (b"".join(body), None)
        source, stream = make(*body)
        assert await stream.peek() == "visible"
        chunks, fault = await collect(stream)
        assert len(chunks) == 1
        assert fault is not None
        assert (fault.kind, fault.visible_output) == ("corrupt", True)
        assert source.reads == source.closes == 1

    run(main())


def test_objects_are_replayed(make: Callable[..., Made]) -> None:
    async def main() -> None:
        chunks = [
            {"choices": [{"index": 0, "delta": {"reasoning": "why"}, "finish_reason": None}]},
            {"choices": [{"index": 0, "delta": {"content": "so"}, "finish_reason": "stop"}]},
        ]
        for output in ("dict", "sse"):
            _, plain = make(*chunks)
            _, stream = make(*chunks)
            assert await stream.peek() == "visible"
            assert await rest(stream, output) == await rest(plain, output)

    run(main())


def test_nothing_is_held_without_a_peek(make: Callable[..., Made]) -> None:
    async def main() -> None:
        for output in ("dict", "sse"):
            never = asyncio.Event()
            source, stream = make(ROLE, REASONING, COMMENT, never)
            items: Any = stream.sse() if output == "sse" else stream
            for at in range(1, 3 if output == "dict" else 4):
                assert await anext(items)
                assert source.reads == at
                assert stream._flow._kept is None
            await stream.aclose()

    run(main())
