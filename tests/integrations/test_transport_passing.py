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


def passed(engine: Engine, parts: list[bytes], **kwargs: Any) -> tuple[bytes, Any]:
    module = PassingEngine(engine, **kwargs)
    made = module.normalizer(make_options({}), "sse")
    out = b""
    for part in parts:
        out += made.feed(part)
    return out + made.close(False), made


@pytest.mark.parametrize("name", BODIES)
def test_what_is_not_edited_comes_out_as_it_is(engine: Engine, name: str) -> None:
    body = BODIES[name]
    for parts in all_cuts(body):
        out, made = passed(engine, parts, is_told=True)
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
        out, made = passed(engine, parts, is_told=False)
        assert (out, made.fault) == (body, None), parts


def test_what_stands_before_a_fault_is_edited(engine: Engine) -> None:
    reasoning = event(chunk({"reasoning": "x"}))
    edited = reasoning.replace(b"reasoning", b"reasoning_content")
    for parts in all_cuts(reasoning + ERROR + reasoning):
        out, _ = passed(engine, parts, is_told=True)
        assert out == edited + ERROR + reasoning


# (Not half of a data line: what then stands in it twice is repaired.)
PIECES = (OK, ERROR, CR, b"\n", b"\r", b"event: x", b": x", b"<", b"{", b"[", b"\x1f")


@given(st.lists(st.sampled_from(PIECES)))
def test_any_mixture_comes_out_as_it_is(pieces: list[bytes]) -> None:
    body = b"".join(pieces)
    for name in ("python", "rust"):
        engine = load_engine(name)
        for parts in ([body], random_cuts(body, len(body))):
            assert passed(engine, list(parts), is_told=True)[0] == body
