"""Sources of lines without their ends, and pieces that only look like them."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from streamnorm import normalize_stream
from streamnorm._engine import Engine
from streamnorm.sources import LineEnds

from .aio import Script, collect, collect_sse, deltas, run
from .helpers import DONE, chunk, event, run_sse, stream

DELTAS = [{"reasoning_content": "why"}, {"content": "so"}, {}]
DATA = stream({"reasoning": "why"}, {"content": "so"})
BODIES = [
    DATA,
    DATA.replace(b"data: ", b"event: message\ndata: "),
    DATA.replace(b"data: ", b"id: 7\nevent: message\nretry: 9\ndata: "),
    b": hello\n: you\n\n" + DATA,
    b": hello\n\n:you\n\n\n" + DATA,
    b":\n:\n\n" + DATA,
    b"retry: 3\n\n" + DATA.replace(b"\n\n", b"\n\n: wait\n\n"),
]


async def read(engine: Engine, items: Any) -> tuple[list[Any], bytes]:
    chunks, fault = await collect(normalize_stream(Script(items), _engine_module=engine))
    assert fault is None
    data, fault = await collect_sse(normalize_stream(Script(items), _engine_module=engine))
    assert fault is None
    return chunks, data


def assert_same_until_done(data: bytes, expected: bytes) -> None:
    assert expected.startswith(data)
    assert b"[DONE]" in data
    # Nothing more is read after it.
    assert expected[len(data) :].strip(b"\r\n: wait") == b""


@pytest.mark.parametrize("body", BODIES)
@pytest.mark.parametrize("wrap", [bytes, bytes.decode, bytearray])
def test_lines_without_their_ends(engine: Engine, body: bytes, wrap: Any) -> None:
    async def main() -> None:
        lines = [wrap(line) for line in body.splitlines()]
        chunks, data = await read(engine, lines)
        assert deltas(chunks) == DELTAS
        assert_same_until_done(data, run_sse(engine, [body]).output)
        # Blank lines before the first mean nothing.
        assert (await read(engine, [wrap(b""), wrap(b""), *lines]))[0] == chunks

    run(main())


def test_lines_come_out_one_event_late_at_most(engine: Engine) -> None:
    async def main() -> None:
        source = Script(DATA.splitlines())
        items = normalize_stream(source, _engine_module=engine)
        reads = []
        async for _ in items:
            reads.append(source.reads)
        # The second line of data shows what they are; from there on each blank line counts.
        assert reads == [3, 4, 6]

    run(main())


@pytest.mark.parametrize("body", [*BODIES, DATA.replace(b"\n", b"\r\n"), DATA[:-1]])
def test_no_cut_of_a_body_is_taken_for_lines(engine: Engine, body: bytes) -> None:
    expected = run_sse(engine, [body]).output

    async def main() -> None:
        for at in range(len(body) + 1):
            for items in ([body[:at], body[at:]], [b"", body[:at], b"", b"", body[at:], b""]):
                chunks, data = await read(engine, items)
                assert deltas(chunks) == DELTAS, items
                assert_same_until_done(data, expected)

    run(main())


TRICKY = [
    event(chunk({"content": 'say "data: x" or \\ data: y, id: 1, event:'})) + DONE,
    b": ping - 12:30:01\n: ping\n\n" + event(chunk({"content": "a"})) + DONE,
    b'event: x\ndata: {"choices"\ndata: :[{"index":0,"delta":{"content":"a"}}]}\n\n' + DONE,
]


@pytest.mark.parametrize("body", TRICKY)
def test_no_two_cuts_of_a_body_are_taken_for_lines(body: bytes) -> None:
    for first, second in itertools.combinations(range(min(len(body), 160)), 2):
        ends = LineEnds()
        parts = [body[:first], body[first:second], body[second:]]
        assert b"".join(map(ends.complete, parts)) == body, parts
        assert ends.are_there, parts


@pytest.mark.parametrize(
    ("items", "expected"),
    [
        ([b"data: a", b"", b"data: b", b""], b"data: a\n\ndata: b\n\n"),
        ([b"", b"data: a", b"data: b"], b"data: a\ndata: b\n"),
        ([b": a", b": b", b"x"], b": a\n: b\nx\n"),
        ([b": a", b"", b"", b":b"], b": a\n\n\n:b\n"),
        ([b": a", b"id: 1"], b": a\nid: 1\n"),
        # Pieces, for good.
        ([b": 12", b":30", b"data: a", b"data: b"], b": 12:30data: adata: b"),
        ([b"data: a", b": b", b"data: b"], b"data: a: bdata: b"),
        ([b"data: a\n", b"data: b"], b"data: a\ndata: b"),
        ([b"data: a", b"\n", b"data: b"], b"data: a\ndata: b"),
        ([b"data: a", b"\r", b"data: b"], b"data: a\rdata: b"),
        ([b"data: a", b"data: b\n\n"], b"data: adata: b\n\n"),
        ([b'data: "', b"data: x", b'"'], b'data: "data: x"'),
        ([b'data: "\\"', b"id: x", b'"'], b'data: "\\"id: x"'),
        ([b'data: "\\\\"', b"id: x"], b'data: "\\\\"\nid: x\n'),
        ([b"dat", b"data: x"], b"datdata: x"),
        ([b'{"a":', b"1}"], b'{"a":1}'),
    ],
)
def test_how_it_is_decided(items: list[bytes], expected: bytes) -> None:
    ends = LineEnds()
    assert b"".join(map(ends.complete, items)) == expected


def test_nothing_is_asked_once_they_are_pieces(engine: Engine) -> None:
    async def main() -> None:
        items = normalize_stream(Script([DATA[:90], DATA[90:]]), _engine_module=engine)
        await anext(items)
        assert items._flow._line_ends is None

    run(main())
