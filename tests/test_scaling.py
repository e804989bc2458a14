"""Work that grows with the input and no faster.

Each body is read in a process of its own. Work of the square of its size would take hours,
so the cap of the process is what fails a test, and no measurement.
"""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

from streamnorm._engine import Engine

CAP_SECONDS = 120
PROGRAM = """
import json, sys
from streamnorm import ChunkNormalizer, SSENormalizer, StreamFault, _engine
body = sys.stdin.buffer.read()
for make in (ChunkNormalizer, SSENormalizer):
    normalizer = make(_engine_module=_engine.choose(sys.argv[1]), **json.loads(sys.argv[2]))
    out = []
    try:
        out.append(normalizer.feed(body))
        out.append(normalizer.close())
    except StreamFault:
        pass
    print(sum(map(len, out)))
"""

QUOTES = b'\\"' * 1_000_000
UNCLOSED = {
    "in a deep document": b"data: " + b"[" * 300 + b'"' + QUOTES + b"\n\n",
    "in the first line": b'{"' + QUOTES + b"\n",
    "where the stream was cut": b'data: {"arguments":"' + b'{\\"path\\":\\"a.py\\"},' * 50_000,
}


def event(index: int, reasoning: Any, key: str = "reasoning") -> bytes:
    chunk = {"choices": [{"index": index, "delta": {key: reasoning}}]}
    return b"data: " + json.dumps(chunk).encode() + b"\n\n"


def read(engine: Engine, body: bytes, **options: Any) -> list[int]:
    """How much came out of *body*: chunks, then bytes."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, engine.NAME, json.dumps(options)],
        input=body,
        capture_output=True,
        timeout=CAP_SECONDS,
        check=True,
    )
    return [int(count) for count in done.stdout.split()]


@pytest.mark.parametrize("body", UNCLOSED.values(), ids=UNCLOSED)
def test_unclosed_string_is_searched_once(engine: Engine, body: bytes) -> None:
    assert len(read(engine, body)) == 2


def test_declined_events_of_many_choices_do_not_carry_all_text_along(engine: Engine) -> None:
    texts = [f"{n} " + "y" * 500 for n in range(20_000)]
    sent = [event(n % 256, {"text": text}) for n, text in enumerate(texts)]
    due = [event(n % 256, text, "reasoning_content") for n, text in enumerate(texts)]
    assert read(engine, b"".join(sent)) == [len(due), len(b"".join(due))]


def test_events_that_are_declined_in_turn_do_not_carry_all_text_along(engine: Engine) -> None:
    pairs = [event(0, {"text": f"a{n} "}) + event(0, f"b{n} ") for n in range(20_000)]
    due = [event(0, f"{a}{n} ", "reasoning_content") for n in range(20_000) for a in "ab"]
    assert read(engine, b"".join(pairs)) == [len(due), len(b"".join(due))]


NEAR = ("<", "</thin", "\n<tool_cal", "a`<", "\n```\n<", "<think>a</think>", "</think>", " <")


@pytest.mark.parametrize("piece", NEAR)
@pytest.mark.parametrize(("mode", "first"), [("anchored", "<think>"), ("free", "")])
def test_one_content_full_of_near_delimiters(
    engine: Engine, piece: str, mode: str, first: str
) -> None:
    body = event(0, first + piece * (500_000 // len(piece)), "content")
    assert read(engine, body, tags=mode)[0] in (1, 2)


GLUED = {
    "frames": b'{"choices":[]}data: ' * 60_000,
    "broken frames": b'data: {"a":"' * 100_000,
    "broken frames that go on": b'{"data: {":1,' * 100_000,
    "broken frames of both parities": b'{"a":"data: {"b":"' * 60_000,
    "deep frames": b'data: {"a":[' * 100_000,
    "spaces": b"data: " + b" " * 1_000_000 + b"data: ",
    "names": b"data:" * 200_000,
}


@pytest.mark.parametrize("data", GLUED.values(), ids=GLUED)
def test_one_line_full_of_frames(engine: Engine, data: bytes) -> None:
    body = b"data: " + data + b"x\n\n"
    assert len(read(engine, body, on_malformed="skip")) == 2


def test_call_with_its_name_on_every_fragment(engine: Engine) -> None:
    def call(arguments: str) -> bytes:
        return event(0, [{"function": {"name": "f", "arguments": arguments}}], "tool_calls")

    body = call('{"a":[') + call("[") * 200 + call("1,") * 30_000
    assert read(engine, body)[0] == 30_201


def test_calls_in_number(engine: Engine) -> None:
    def call(number: int) -> bytes:
        made = {"id": f"c{number}", "function": {"name": "f", "arguments": "{}"}}
        return event(0, [made] * 2, "tool_calls")

    assert read(engine, b"".join(map(call, range(8_000))))[0] == 8_000
