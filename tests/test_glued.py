"""Frames that were glued together, and what is read of them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamnorm._engine import Engine
from streamnorm.pure import resync

from . import oracle, strategies
from .helpers import DONE, chunk, event, one_byte, run_both, run_chunks, run_square

_glues = st.sampled_from((b"data: ", b"data:", b"", b" data: "))
_frames = st.tuples(strategies.documents, st.integers(0, 4)).map(
    lambda pair: strategies.spell(pair[0], pair[1])
)


@pytest.mark.fuzz
@given(frames=st.lists(st.tuples(_frames, _glues), min_size=2, max_size=4))
def test_glued_frames_say_what_they_say_apart(
    engine: Engine, frames: list[tuple[bytes, bytes]]
) -> None:
    glued = b"data: " + frames[0][0] + b"".join(glue + frame for frame, glue in frames[1:])
    apart = b"".join(event(frame) for frame, _ in frames)
    parts = one_byte(glued + b"\n\n" + DONE)
    together, alone = run_square(engine, parts), run_square(engine, [apart + DONE])
    assert oracle.spelled(together.output) == oracle.spelled(alone.output)
    assert together.words == alone.words
    assert together.report.repairs.pop("glued_events") == 1
    assert together.report.repairs == alone.report.repairs


@pytest.mark.fuzz
@given(cut=st.integers(1, 30), name=st.sampled_from((b"data: ", b"data:")))
def test_frame_that_was_cut_off_is_dropped(engine: Engine, cut: int, name: bytes) -> None:
    frame, other = chunk({"content": "lost"}), chunk({"content": "kept"})
    raw = b"data: " + frame[:cut] + name + other + b"\n\n" + DONE
    for on_malformed in ("raise", "skip"):
        run = run_square(engine, one_byte(raw), on_malformed=on_malformed)
        assert [c["choices"][0]["delta"] for c in run.output] == [{"content": "kept"}]
        assert (run.words, run.report.malformed) == (None, 1)
        assert run.report.repairs == {"glued_events": 1}


@pytest.mark.parametrize(
    "text", [b"data: {", b"data: {}", b"}{", b"}data: [DONE]", b"data: [DONE]"]
)
def test_text_in_a_string_is_no_frame(engine: Engine, text: bytes) -> None:
    whole = chunk({"content": f"a {text.decode()} b"})
    run = run_square(engine, [event(whole) + DONE])
    assert run.output[0]["choices"][0]["delta"]["content"] == f"a {text.decode()} b"
    assert run.report.repairs == {}
    # Nor where the string is broken off: an end would be made up, and a frame as well.
    broken = b'{"choices":[{"delta":{"content":"a ' + text + b" b"
    cut = run_chunks(engine, [event(broken) + DONE], on_malformed="skip")
    assert (cut.output, cut.report.repairs, cut.report.malformed) == ([], {}, 1)


def test_work_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[int] = []

    def end_of(text: str, at: int) -> int | None:
        # As if every broken frame were read to the end of the line.
        read.append(len(text) - at)
        return None

    monkeypatch.setattr(resync, "end_of", end_of)
    data = b'data: {"a":"' * 200
    assert resync.split(data) is None
    assert sum(read) <= resync.MAX_TRIES * len(data)
    assert len(read) == resync.MAX_TRIES


def test_mark_behind_a_frame_ends_the_stream(engine: Engine) -> None:
    for glue in (b"data: [DONE]", b"[DONE]", b"data:[DONE]", b" data: [DONE] "):
        raw = event(chunk({"content": "a"}) + glue) + event(chunk({"content": "b"}))
        chunks, edited = run_both(engine, one_byte(raw))
        assert (chunks.words, edited.words, len(chunks.output)) == (None, None, 1)
        assert edited.output.startswith(event(chunk({"content": "a"})) + b"data: [DONE]")


def test_frames_behind_too_many_broken_ones_are_lost(engine: Engine) -> None:
    broken = b'data: {"a":"' * resync.MAX_TRIES
    raw = event(chunk({"content": "a"}) + broken + b"data: " + chunk({"content": "b"})) + DONE
    run = run_square(engine, [raw])
    contents = [one["choices"][0]["delta"]["content"] for one in run.output]
    assert (contents, run.words) == (["a"], None)


@pytest.mark.parametrize(
    "lines",
    [[b"junk", b"{}"], [b'{"a":1}{"b":2}', b"junk"]],
    ids=["nothing", "in-one-line-of-several"],
)
def test_several_data_lines(engine: Engine, lines: list[bytes]) -> None:
    raw = b"".join(b"data: " + line + b"\n" for line in lines) + b"\n" + DONE
    found: list[Any] = run_chunks(engine, [raw], on_malformed="skip").output
    assert found == ([] if lines[0] == b"junk" else [{"a": 1}, {"b": 2}])


def test_lines_of_one_event_keep_their_order(engine: Engine) -> None:
    first, second, third, fourth = (json.dumps({"n": n}).encode() for n in range(4))
    raw = b"data: %s\ndata: %sdata: %s\ndata: %s\n\n" % (first, second, third, fourth) + DONE
    run = run_square(engine, one_byte(raw))
    assert [one["n"] for one in run.output] == [0, 1, 2, 3]
