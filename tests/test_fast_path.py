"""That the Rust engine decides by itself nearly all that real providers send.

What it hands to the reference costs twenty times as much, and is no worse for it: the results
are the same.
"""

from __future__ import annotations

from typing import Any

import pytest

from streamnorm import SSENormalizer
from streamnorm._engine import Engine
from streamnorm.upstream.streams import STREAMS as BUNDLED

from .conftest import load_engine
from .helpers import Run, run_both
from .test_recordings import SKIP, STREAMS, raw_of

# Of all events, the share that it must decide.
LEAST = 0.95
CHATS = [name for name in STREAMS if name.startswith("chat-completions/")]


@pytest.fixture(scope="module")
def rust() -> Engine:
    return load_engine("rust")


@pytest.fixture(scope="module")
def pure() -> Engine:
    return load_engine("python")


def share(runs: list[Run]) -> float:
    """The share of the events that were not handed to the reference."""
    events = sum(run.report.events for run in runs)
    assert events > 0
    return 1 - sum(run.report.declined for run in runs) / events


def results(run: Run) -> tuple[Any, ...]:
    """Everything but which engine did it, and how."""
    counted = {**run.report.as_dict(), "engine": "", "declined": 0}
    return run.output, run.words, counted


def test_bundled_streams(rust: Engine) -> None:
    runs = [run for stream in BUNDLED for run in run_both(rust, stream.events)]
    assert share(runs) >= LEAST


@pytest.mark.skipif(not CHATS, reason="the recordings are not here")
def test_recordings(rust: Engine, pure: Engine) -> None:
    runs = []
    for name in CHATS:
        raw = raw_of(name)
        fast = run_both(rust, [raw], **SKIP)
        runs += fast
        if any(run.report.declined for run in fast):
            slow = run_both(pure, [raw], **SKIP)
            assert list(map(results, fast)) == list(map(results, slow)), name
    assert share(runs) >= LEAST
    assert any(run.report.declined for run in runs), "nothing was compared"


def test_a_token_stream_is_decided_by_comparing(rust: Engine) -> None:
    words = [b"one", b" two", b' \\"three\\"', b" \xe2\x80\x93 four", b"\\u00e9"] * 20
    head = b'data: {"id":"c","choices":[{"index":0,"delta":{"'
    tail = b'"},"finish_reason":null}]}\n\n'
    stream = b"".join(
        head + key + b'":"' + word + tail for key in (b"reasoning", b"content") for word in words
    )
    normalizer = SSENormalizer(_engine_module=rust)
    out = normalizer.feed(stream)
    assert out == stream.replace(b'"reasoning"', b'"reasoning_content"')
    counts = normalizer._engine.counts()
    # The first of each kind is read, as is the content that ends the look-out for delimiters.
    assert counts["alike"] >= counts["events"] - 4
    assert counts["events"] == 2 * len(words)
