"""The streams are what they are said to be."""

from __future__ import annotations

import pytest

from . import streams
from .streams import CASES
from .test_normalizers import chunks_in, texts_of

UNUSUAL = ["4KiB-text", "one-huge-event-drip"]


@pytest.mark.parametrize("name", CASES)
def test_normal_form_says_what_was_written(name: str) -> None:
    case = streams.make(name)
    chunks = chunks_in(case.normal, case.separator)
    assert len(chunks) == case.events
    assert texts_of(chunks) == case.texts


@pytest.mark.parametrize("name", [name for name in CASES if name not in UNUSUAL])
def test_events_have_usual_sizes(name: str) -> None:
    case = streams.make(name)
    assert 2_000 <= case.events <= 2_002
    assert 250 <= len(case.stream) / case.events <= 400


@pytest.mark.parametrize("name", ["nothing-to-do", "tool-calls", "4KiB-text"])
def test_a_stream_without_work_is_in_normal_form(name: str) -> None:
    case = streams.make(name)
    assert case.stream == case.normal


def test_same_seed_gives_same_bytes() -> None:
    first = streams.make("rename")
    streams._make.cache_clear()
    again = streams.make("rename")
    assert first is not again
    assert first == again
