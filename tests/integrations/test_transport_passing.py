"""The engine behind ``faults="pass"``: whatever goes in comes out, edited up to a fault."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamnorm import SSENormalizer
from streamnorm._engine import Engine
from streamnorm.integrations._passing import PassingEngine
from streamnorm.options import make_options

from ..conftest import load_engine
from ..helpers import DONE, all_cuts, chunk, event, random_cuts

OK = event(chunk({"content": "a"}))
ERROR = event(b'{"error": {"message": "overloaded", "code": 529}}')
CR = OK.replace(b"\n", b"\r")
BODIES = {
    "error in the middle": OK + ERROR + OK + OK,
    "error with CR": CR + ERROR.replace(b"\n", b"\r") + CR + OK,
    "error with CRLF": (OK + ERROR + OK).replace(b"\n", b"\r\n") + DONE,
    "two errors": ERROR + ERROR + DONE,
    "bare error line": OK + b'error: {"message": "x"}\n\n' + OK,
    "raw error": OK + b'{"error": {"message": "x"}}\n\n' + OK,
    "markup": b"\n  \n<!doctype html>\n" + b"<p>x\n" * 80,
    "a little markup": b"<html>no</html>",
    "compressed": b"\x1f\x8b\x08" + bytes(range(200)),
    "lines": chunk({"content": "a"}) + b"\n" + b'{"error": "x"}\n' + chunk() + b"\n",
    "JSON error": b'\n{\n"error": {"message": "x"}}\n',
    "cut JSON": b'[{"error": {"mess',
    "text": b"Bad gateway\n" * 30,
    "comments": b": ping\n\n" * 3,
    "malformed": b"data: {nope\n\n" + OK,
    "cut": OK + OK[:30],
}


def passed(
    engine: Engine, parts: list[bytes], *, is_told: bool = True, is_chat: bool = True
) -> tuple[bytes, Any]:
    module = PassingEngine(engine, is_told=is_told, is_chat=is_chat)
    made = module.normalizer(make_options({}), "sse")
    out = b""
    for part in parts:
        out += made.feed(part)
    return out + made.close(False), made


@pytest.mark.parametrize("name", BODIES)
def test_what_is_not_edited_comes_out_as_it_is(engine: Engine, name: str) -> None:
    body = BODIES[name]
    for parts in all_cuts(body):
        out, made = passed(engine, parts)
        assert out == body, parts
        # The same fault as any engine finds, told at the end.
        plain = SSENormalizer(_engine_module=engine)
        plain._engine.feed(body)
        plain._engine.close()
        facts = plain._engine.fault
        assert (made.fault is None) is (facts is None)
        assert facts is None or made.fault[0] == facts[0]


@pytest.mark.parametrize("name", BODIES)
def test_other_streams_come_out_as_they_are(engine: Engine, name: str) -> None:
    # (Nothing in them is of a chat completion.)
    body = BODIES[name].replace(b'"choices"', b'"options"')
    for parts in all_cuts(body):
        out, made = passed(engine, parts, is_told=False, is_chat=False)
        assert (out, made.fault) == (body, None), parts


REASONING = event(chunk({"reasoning": "x"}))
EDITED = REASONING.replace(b"reasoning", b"reasoning_content")


@pytest.mark.parametrize("is_told", [True, False])
@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
@pytest.mark.parametrize("before", ["error", "two lines", "text", "comment", "json line"])
def test_chunks_behind_other_events_are_edited(
    engine: Engine, before: str, end: bytes, is_told: bool
) -> None:
    other = {
        "error": ERROR,
        "two lines": b'data: {"a": "choices"}\ndata: "delta"\n\n',
        "text": b"id: 1\n\nx\n\n",
        "comment": b"\xef\xbb\xbf: hi\n",
        "json line": b'{"choices": [], "delta": 1}\n',
    }[before].replace(b"\n", end)
    for parts in all_cuts(other + (REASONING + DONE).replace(b"\n", end)):
        out, made = passed(engine, parts, is_told=is_told, is_chat=False)
        assert out == other + (EDITED + DONE).replace(b"\n", end), parts
        assert (made.is_chat, made.done, made.events) == (True, True, 1)


def test_nothing_but_an_event_is_held(engine: Engine) -> None:
    made = PassingEngine(engine, is_told=False, is_chat=False).normalizer(make_options({}), "sse")
    for data in (b": hb\n", b"\n", b": ", b"hb\r", b"\n", ERROR, b"data: x\n"):
        held = data if data in (b": ", b"data: x\n") else b""
        assert made.feed(data) == (b": hb\r" if data == b"hb\r" else b"" if held else data)
    assert made.close() == b"data: x\n"


def test_an_event_above_the_limit_is_not_held(engine: Engine) -> None:
    options = make_options({"max_event_bytes": 100})
    module = PassingEngine(engine, is_told=False, is_chat=False)
    body = b"event: x\ndata: " + b"x" * 100 + b"\ndata: y\n\n"
    for parts in all_cuts(body + REASONING):
        made, out, taken = module.normalizer(options, "sse"), b"", 0
        for part in parts:
            taken += len(part)
            out += made.feed(part)
            assert taken - len(out) <= 100
        assert out == body + EDITED


def test_what_stands_before_a_fault_is_edited(engine: Engine) -> None:
    reasoning = event(chunk({"reasoning": "x"}))
    edited = reasoning.replace(b"reasoning", b"reasoning_content")
    for parts in all_cuts(reasoning + ERROR + reasoning):
        out, _ = passed(engine, parts)
        assert out == edited + ERROR + reasoning


# (Not half of a data line: what then stands in it twice is repaired.)
PIECES = (OK, ERROR, CR, b"\n", b"\r", b"event: x", b": x", b"<", b"{", b"[", b"\x1f")


@given(st.lists(st.sampled_from(PIECES)))
def test_any_mixture_comes_out_as_it_is(pieces: list[bytes]) -> None:
    body = b"".join(pieces)
    for name in ("python", "rust"):
        engine = load_engine(name)
        for parts in ([body], random_cuts(body, len(body))):
            assert passed(engine, list(parts))[0] == body
