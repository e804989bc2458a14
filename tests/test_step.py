"""`step`, which is `feed` and all that is asked after it, in one call of the Rust engine."""

from __future__ import annotations

from array import array
from itertools import count
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamnorm import StreamFault, normalize_stream_sync
from streamnorm._engine import Engine
from streamnorm.metrics import EXACT_GAPS
from streamnorm.options import make_options

from .blocking import Script
from .conftest import load_engine
from .helpers import DONE, chunk, event

WHY = event(chunk({"reasoning": "why"}))
SO = event(chunk({"content": "so"}))
END = event(chunk({}, "stop"))

PARTS = (
    WHY, WHY, SO, SO, SO + SO, WHY + SO, b": ping\n\n", WHY[:9], SO[:-1], b"\n", b"", END,
    event(chunk({"content": "<think>"})), event(chunk({"tool_calls": [{"index": 0}]})),
    event(b"{"), event(b'{"error":{"message":"no"}}'), DONE, b"\xff\n\n", END + DONE,
)  # fmt: skip
outputs = pytest.mark.parametrize("output", ["dict", "sse"])


def stepping(output: str) -> tuple[Any, list[float]]:
    """An engine, and the times that its clock has told."""
    told: list[float] = []
    ticks = count(1)

    def clock() -> float:
        told.append(float(next(ticks)))
        return told[-1]

    rust: Engine = load_engine("rust")
    return rust.normalizer(make_options({}), output, None, clock), told


def listed(out: Any) -> list[Any]:
    """What a feed or a step gave, as a list of pieces."""
    if isinstance(out, list):
        return out
    return [out] if out else []


@outputs
@given(parts=st.lists(st.sampled_from(PARTS), max_size=12))
def test_a_step_does_what_a_feed_does(output: str, parts: list[bytes]) -> None:
    fed = load_engine("rust").normalizer(make_options({}), output)
    stepped, told = stepping(output)
    taken, usual = 0, 0
    times: list[float] = []
    for part in parts:
        before = fed.pulse
        expected = listed(fed.feed(part))
        out = stepped.step(part)
        new, now = fed.pulse - before, told[-1] if told else None
        if part:
            is_usual = new in (0, 8) and len(expected) < 2
            assert isinstance(out, tuple) is not is_usual
            if is_usual:
                taken, usual = taken + len(part), usual + 1
                times += [told[-1]] * (new == 8)
            else:
                assert out[1] == now
                out = out[0]
        else:
            assert out == ()
        assert listed(out) == expected
        assert stepped.pulse == fed.pulse
        assert stepped.fault == fed.fault
    assert listed(stepped.close()) == listed(fed.close())
    assert stepped.counts() == fed.counts()
    noted = stepped.stepped()
    assert (noted is None) == (usual == 0)
    if noted is not None:
        size, _, doubles = noted
        assert size == taken
        assert list(array("d", doubles)) == times
    assert stepped.stepped() is None


@outputs
@pytest.mark.parametrize("item", [None, "data: {}", bytearray(WHY), memoryview(WHY), b"", {}])
def test_what_is_no_bytes_is_not_taken(output: str, item: object) -> None:
    engine, told = stepping(output)
    assert engine.step(item) == ()
    assert (engine.pulse, engine.stepped(), told) == (0, None, [])


@outputs
def test_without_a_clock_nothing_is_taken(output: str) -> None:
    engine: Any = load_engine("rust").normalizer(make_options({}), output)
    assert engine.step(WHY) == ()
    assert engine.pulse == 0


@outputs
def test_a_clock_that_fails(output: str) -> None:
    def clock() -> float:
        raise KeyboardInterrupt

    engine: Any = load_engine("rust").normalizer(make_options({}), output, None, clock)
    with pytest.raises(KeyboardInterrupt):
        engine.step(WHY)
    assert engine.pulse == 0
    assert listed(engine.feed(WHY))


@pytest.mark.parametrize("reads", [EXACT_GAPS, EXACT_GAPS + 2, 3 * EXACT_GAPS])
def test_all_reads_of_a_long_stream_count(engine: Engine, reads: int) -> None:
    parts = [WHY] * reads + [SO, END, DONE]
    stream = normalize_stream_sync(Script(parts), _engine_module=engine)
    for n, _ in enumerate(stream):
        if n in (10, 11, EXACT_GAPS + 5):
            # Who asks amid it changes nothing of what is told at the end.
            metrics = stream.metrics
            assert (metrics.events, sum(metrics.chunk_gaps.values())) == (n + 1, n)
            assert metrics.bytes == len(b"".join(parts[: n + 1]))
    metrics = stream.metrics
    assert (metrics.events, metrics.bytes) == (reads + 2, len(b"".join(parts)))
    assert sum(metrics.chunk_gaps.values()) == reads + 1
    assert metrics.time_to_first_reasoning == metrics.time_to_first_chunk
    assert stream.outcome.complete


def test_a_fault_amid_a_plain_stream_has_the_whole_text(engine: Engine) -> None:
    parts = [WHY] * 5 + [event(b'{"error":{"message":"no"}}')]
    stream = normalize_stream_sync(Script(parts), _engine_module=engine)
    with pytest.raises(StreamFault) as raised:
        list(stream)
    assert raised.value.partial is not None
    assert raised.value.partial["reasoning_content"] == "why" * 5
    assert stream.metrics.bytes == len(b"".join(parts))
