"""Reads whose events are decided where they stand: as if each had been held first."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any, Final

import pytest

from streamnorm import ChunkNormalizer, SSENormalizer, StreamFault
from streamnorm._engine import Engine

from .conftest import load_engine
from .helpers import DONE, random_cuts

TAIL: Final = ',"logprobs":null}],"model":"some/model-with-a-name-of-some-length","created":1789}'
# What may stand between events that are alike.
RARE: Final = (
    b": comment\n\n", b": comment in no block\n", b"event: message\n", b"id: 7\n", b"\n",
    b"unknown: field\n\n", b"data: {broken\n\n", b'data: {"error":{"message":"no"}}\n\n',
    b"event: error\ndata: gone\n\n", b"data: one\ndata: two\n\n", b"retry: 10\r\n", DONE,
    b'data: {"choices":[{"index":0,"delta":{"content":"x' + b"y" * 3000 + b'"}}]}\n\n',
    b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n', b"data: [DONE]\r\n\r",
    b'error: {"message":"bare"}\n\n', b'data: {"usage":{"total_tokens":3},"choices":[]}\n\n',
)  # fmt: skip
TEXTS: Final = (
    "a", " word", "\\n", '\\"', "\\u00e9", "\\ud83d\\ude42", "naïve 🙂", "\\\\", "<think>",
    "</think>", "x" * 70, "\\ud800", "\\x", "y" * 200,
)  # fmt: skip


def event(key: str, text: str, end: str) -> bytes:
    delta = f'{{"index":0,"delta":{{"{key}":"{text}"}}'
    return f'data: {{"id":"x","choices":[{delta}{TAIL}{end}{end}'.encode()


def made(chance: random.Random) -> bytes:
    """A stream of runs of events that are alike, with something else in between."""
    end = chance.choice(["\n", "\n", "\r\n", "\r"])
    odd = chance.choice([0, 0.02, 0.1])
    pieces = []
    for _ in range(chance.randint(1, 5)):
        key = chance.choice(["content", "content", "reasoning", "reasoning_content"])
        for _ in range(chance.randint(1, 12)):
            few = chance.choice([3, 3, len(TEXTS)])
            text = "".join(chance.choices(TEXTS[:few], k=chance.randint(1, 6)))
            pieces.append(event(key, text, end))
            if chance.random() < odd:
                pieces.append(chance.choice(RARE))
    if chance.random() < 0.6:
        pieces.append(b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n')
        pieces.append(DONE)
    if chance.random() < 0.2:
        pieces.append(b"more behind the end\n\n")
    raw = b"".join(pieces)
    return raw[: chance.randint(0, len(raw))] if chance.random() < 0.2 else raw


def calls(engine: Engine, output: str, parts: list[bytes], options: Any) -> Iterator[Any]:
    """What each call gives, up to the fault."""
    normalizer = (SSENormalizer if output == "sse" else ChunkNormalizer)(
        _engine_module=engine, **options
    )
    try:
        for part in parts:
            yield normalizer.feed(part)
        yield normalizer.close()
        if normalizer.fault is not None:
            yield normalizer.fault.kind, str(normalizer.fault)
    except StreamFault as fault:
        yield fault.kind, str(fault)
    yield normalizer.report.events


@pytest.mark.parametrize("output", ["sse", "dict"])
@pytest.mark.parametrize("seed", range(60))
def test_every_call_gives_what_the_reference_gives(output: str, seed: int) -> None:
    chance = random.Random(seed)
    rust, python = load_engine("rust"), load_engine("python")
    for _ in range(5):
        raw = made(chance)
        options = chance.choice(
            [{}, {}, {"max_event_bytes": 600}, {"max_line_bytes": 400, "max_event_bytes": None}]
        )
        for longest in (200, 700, 3000, 20_000):
            parts = random_cuts(raw, chance.randint(0, 10**6), longest)
            found = [*calls(rust, output, parts, options)]
            expected = [*calls(python, output, parts, options)]
            assert found == expected, (raw, list(map(len, parts)), options)


def test_reads_are_taken_where_they_stand() -> None:
    """What the other test compares is there: most events are decided by a template."""
    rust = load_engine("rust")
    raw = b"".join(event("reasoning", f"word {n}", "\n") for n in range(200))
    normalizer = SSENormalizer(_engine_module=rust)
    out = b"".join(map(normalizer.feed, random_cuts(raw, 1, 3000)))
    assert out == raw.replace(b'"reasoning"', b'"reasoning_content"')
    assert normalizer._engine.counts()["alike"] > 150
