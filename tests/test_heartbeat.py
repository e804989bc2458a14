"""Heartbeats of `NormalizedStream.sse`: where they stand, and that nothing else changes."""

from __future__ import annotations

import asyncio
import itertools
import math
from collections.abc import Callable, Generator
from typing import Any

import pytest

from streamnorm import SSEDecoder, StreamFault, Timeouts, normalize_stream
from streamnorm._engine import Engine
from streamnorm.upstream import Upstream

from .aio import Made, Script, collect_from, collect_sse, deltas, on_loops, run, scripted
from .helpers import DONE, chunk, event, reads, two_way

# From the documentation of `sse`, not from the code.
BEAT = b": hb\n"
OFTEN = 0.0002

ROLE = event(chunk({"role": "assistant", "content": ""}))
REASONING = event(chunk({"reasoning": "why"}))
CONTENT = event(chunk({"content": "so"}))
FINISH = event(chunk({}, "stop"))
LINE = chunk({"reasoning": "why"}) + b"\n"
BOM = b"\xef\xbb\xbf"


class Silence:
    """A step that waits for so long that some heartbeats are due."""

    def __await__(self) -> Generator[Any, None, None]:
        yield from asyncio.sleep(10 * OFTEN).__await__()


@pytest.fixture
def make(engine: Engine) -> Callable[..., Made]:
    """Makes a scripted source and its normalised stream."""
    return scripted(engine)


def silent(parts: list[bytes]) -> list[Any]:
    """The same with a silence before each part, and before the end."""
    return [step for part in parts for step in (Silence(), part)] + [Silence()]


def decoded(engine: Engine, data: bytes) -> list[Any]:
    """The events that a client sees."""
    decoder = SSEDecoder(_engine_module=engine)
    return decoder.feed(data) + decoder.close()


async def beaten(stream: Any, **asked: Any) -> tuple[bytes, list[int], StreamFault | None]:
    """The bytes without the heartbeats, where in them heartbeats stood, and the fault."""
    frames, fault = await collect_from(stream, stream.sse(heartbeat=OFTEN, **asked))
    plain, at = b"", []
    for frame in frames:
        if frame == BEAT:
            at.append(len(plain))
        else:
            plain += frame
    return plain, at, fault


@on_loops
def test_one_line_as_often_as_it_is_silent(make: Callable[..., Made], loop: str) -> None:
    async def main() -> None:
        gate = asyncio.Event()
        source, stream = make(gate, ROLE, CONTENT, gate, FINISH, DONE)
        frames = stream.sse(heartbeat=OFTEN)
        for _ in range(5):
            assert await anext(frames) == BEAT
            # The read goes on all the while; it is not begun again.
            assert source.reads == 1
        gate.set()
        found = [frame async for frame in frames]
        assert [frame for frame in found if frame != BEAT] == [ROLE, CONTENT, FINISH, DONE]
        assert source.reads == 4
        assert source.closes == 1

    run(main(), loop)


@on_loops
def test_none_while_there_is_no_silence(make: Callable[..., Made], loop: str) -> None:
    async def main() -> None:
        _, stream = make(*[CONTENT] * 50, FINISH, DONE)
        frames = [frame async for frame in stream.sse(heartbeat=3600)]
        assert frames == [CONTENT] * 50 + [FINISH, DONE]

    run(main(), loop)


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"], ids=["LF", "CRLF", "CR"])
@pytest.mark.parametrize("how", ["one byte", "two"])
def test_never_inside_of_an_event(
    make: Callable[..., Made], engine: Engine, end: bytes, how: str
) -> None:
    lines = [b": hi", b"", b"id: 7", b"event: message", b"data: " + chunk({"content": "so"}), b"",
             b": a", b"retry: 5", b"", b"foo: bar", b"data: " + chunk({}, "stop"), b""]  # fmt: skip
    body = b"".join(line + end for line in lines)
    # Where a field of an event was sent, and its blank line was not.
    inside: set[int] = set()
    at, is_inside = 0, False
    for line in lines:
        start, at = at, at + len(line + end)
        is_field = line[:1] not in (b"", b":") and not line.startswith(b"foo")
        # The LF of a CRLF may be taken apart: the line has ended with the CR.
        inside.update(range(start + 1, start + len(line) + 1))
        is_inside = line != b"" and (is_inside or is_field)
        if is_inside:
            inside.update((start + len(line) + 1, at))
    # Only behind a CR nobody knows whether a line end is over.
    cuts = [reads(body, 1)] if how == "one byte" else list(two_way(body))[::3]

    async def main() -> None:
        beats = set()
        for parts in cuts:
            _, plain = make(*parts)
            _, stream = make(*silent(parts))
            found, at, fault = await beaten(stream)
            assert (found, fault) == await collect_sse(plain)
            beats.update(at)
        assert not beats & inside
        assert not any(body[:at].endswith(b"\r") for at in beats)
        assert 0 in beats
        if end != b"\r":
            assert beats - {0}

    run(main())


def test_the_events_stay_the_same_wherever_one_stands(
    make: Callable[..., Made], engine: Engine
) -> None:
    async def main() -> None:
        body = b"id: 1\n" + REASONING + b": c\r\n\r\n" + CONTENT + b"\r\n" + FINISH + DONE
        for parts in (reads(body, 1), reads(body, 7)):
            _, stream = make(*silent(parts))
            frames = [frame async for frame in stream.sse(heartbeat=OFTEN)]
            assert BEAT in frames
            _, plain = make(*parts)
            wanted = decoded(engine, (await collect_sse(plain))[0])
            assert decoded(engine, b"".join(frames)) == wanted

    run(main())


@pytest.mark.parametrize(
    "body",
    [
        LINE * 3,
        LINE.replace(b"\n", b"\r\n") * 3,
        b"  " + LINE * 3,
        b"\n\r\n" + LINE + b"\n\n" + LINE,
        BOM + LINE * 2,
        BOM + b"\n" + LINE * 2,
        b'{"choices": [{"index": 0,\n "message": {"content": "so"}, "finish_reason": "stop"}]\n}\n',
    ],
    ids=["LF", "CRLF", "indented", "blank lines", "BOM", "BOM and blank line", "a body"],
)
def test_none_in_json(make: Callable[..., Made], body: bytes) -> None:
    async def main() -> None:
        body_end = body + chunk({}, "stop") + b"\n" if body.count(LINE[:-1]) else body
        first = body_end.index(b"{")
        for parts in (reads(body_end, 1), reads(body_end, 50), [body_end]):
            _, plain = make(*parts)
            wanted, wanted_fault = await collect_sse(plain)
            _, stream = make(*silent(parts))
            found, at, fault = await beaten(stream)
            # Nobody can know before the first byte that it will be JSON.
            assert at
            assert max(at) <= first
            assert found in (wanted, wanted.removeprefix(BOM))
            assert (fault, wanted_fault) == (None, None)

    run(main())


def test_a_byte_order_mark_behind_a_heartbeat(make: Callable[..., Made], engine: Engine) -> None:
    """Only at the very start it is none of the first line: elsewhere the event would be lost."""

    async def main() -> None:
        for parts in ([BOM + CONTENT], [BOM[:1], BOM[1:], CONTENT], [BOM + b": c", b"\n", CONTENT]):
            _, stream = make(*silent([*parts, FINISH, DONE]))
            data = b"".join([frame async for frame in stream.sse(heartbeat=OFTEN)])
            assert data.startswith(BEAT)
            assert len(decoded(engine, data)) == 3
            # Where it stands at the start, it stays.
            _, stream = make(*parts, *silent([FINISH, DONE]))
            frames = [frame async for frame in stream.sse(heartbeat=OFTEN)]
            assert frames[0].startswith(BOM) or frames[0] == BEAT
            assert len(decoded(engine, b"".join(frames))) == 3

    run(main())


def test_before_a_fault_and_not_behind_it(make: Callable[..., Made]) -> None:
    async def main() -> None:
        for step in (OSError("gone"), b"data: {", event(b'{"error": {"message": "no"}}')):
            source, stream = make(Silence(), REASONING, Silence(), step)
            _, at, fault = await beaten(stream, done="always")
            assert fault is not None
            assert at[-1] == len(REASONING.replace(b"reasoning", b"reasoning_content"))
            assert source.closes == 1

    run(main())


def test_behind_a_peek(make: Callable[..., Made]) -> None:
    async def main() -> None:
        gate = asyncio.Event()
        source, stream = make(ROLE, gate, CONTENT, FINISH, DONE)
        assert await stream.peek(timeout=0.001) == "timeout"
        frames = stream.sse(heartbeat=OFTEN)
        assert await anext(frames) == ROLE
        for _ in range(3):
            assert await anext(frames) == BEAT
        first = asyncio.ensure_future(anext(frames))
        await asyncio.sleep(0)
        with pytest.raises(RuntimeError, match="already being read"):
            await anext(frames)
        gate.set()
        found = [await first, *[frame async for frame in frames]]
        assert [frame for frame in found if frame != BEAT] == [CONTENT, FINISH, DONE]
        assert source.closes == 1

    run(main())


@on_loops
def test_with_time_limits(make: Callable[..., Made], loop: str) -> None:
    async def main() -> None:
        limits = Timeouts(first_chunk=50 * OFTEN)
        source, stream = make(asyncio.Event(), timeouts=limits)
        found, at, fault = await beaten(stream)
        assert found == b""
        assert set(at) == {0}
        assert fault is not None
        assert fault.kind == "first_chunk_timeout"
        assert source.closes == 1

    run(main(), loop)


def test_objects(make: Callable[..., Made]) -> None:
    async def main() -> None:
        chunks: list[Any] = [
            {"choices": [{"index": 0, "delta": {"reasoning": "why"}, "finish_reason": None}]},
            {"choices": [{"index": 0, "delta": {"content": "so"}, "finish_reason": "stop"}]},
        ]
        _, stream = make(*silent(chunks))
        _, plain = make(*chunks)
        found, at, fault = await beaten(stream)
        assert (found, fault) == await collect_sse(plain)
        assert 0 in at

    run(main())


@pytest.mark.parametrize("client", ["openai", "aiohttp"])
def test_clients_read_on(engine: Engine, client: str) -> None:
    """With ids: behind one, an SDK takes a comment with a blank line for an empty event."""
    module = pytest.importorskip(client)

    async def main() -> None:
        numbered = [b"id: %d\n" % at + part for at, part in enumerate((ROLE, CONTENT, FINISH))]
        source = Script(silent([*numbered, b"id: 3\n" + DONE]))
        stream = normalize_stream(source, _engine_module=engine)
        frames = [frame async for frame in stream.sse(heartbeat=OFTEN)]
        assert any(a == BEAT and b.startswith(b"id: ") for a, b in itertools.pairwise(frames))
        async with Upstream() as up:
            up.add("x", frames)
            if client == "openai":
                async with module.AsyncOpenAI(api_key="-", base_url=up.base_url("x")) as openai:
                    answer = await openai.chat.completions.create(
                        model="m", messages=[], stream=True
                    )
                    texts = [one.choices[0].delta.content async for one in answer]
                    assert texts == ["", "so", None]
            else:
                async with module.ClientSession() as http, http.get(up.url("x")) as response:
                    again = normalize_stream(response, _engine_module=engine)
                    found = deltas([one async for one in again])
                    assert [one.get("content") for one in found] == ["", "so", None]

    run(main())


@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        (0, ValueError), (-1, ValueError), (math.inf, ValueError), (math.nan, ValueError),
        ("1", TypeError), (True, TypeError),
    ],
    ids=repr,
)  # fmt: skip
def test_wrong_values(make: Callable[..., Made], wrong: Any, error: type[Exception]) -> None:
    async def main() -> None:
        _, stream = make(CONTENT, FINISH, DONE)
        with pytest.raises(error, match="heartbeat"):
            stream.sse(heartbeat=wrong)
        # It was not chosen yet.
        assert len([one async for one in stream]) == 2

    run(main())
