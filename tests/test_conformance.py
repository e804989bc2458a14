"""The shared conformance cases of the event stream format, where they are at hand."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from streamnorm import SSEDecoder
from streamnorm._engine import Engine

from .helpers import ROOT, Decoded, decode, one_byte, two_way

Case = dict[str, Any]

# Read while tests are collected, so that each case is a test of its own; without the folder
# one test remains, which the fixture `shared` skips with the reason.
_FILE = ROOT.parent / "shared" / "sse-conformance" / "cases.jsonl"
_LINES = _FILE.read_text("utf-8").splitlines() if _FILE.is_file() else []
CASES: list[Case] = [json.loads(line) for line in _LINES]
each_case = pytest.mark.parametrize(
    "case", CASES or [{}], ids=[c["name"] for c in CASES] or ["none"]
)
FLUSHED = [c for c in CASES if c.get("llm_expected", {}).get("policy") == "eof-flush"]
each_flushed = pytest.mark.parametrize(
    "case", FLUSHED or [{}], ids=[c["name"] for c in FLUSHED] or ["none"]
)

pytestmark = pytest.mark.usefixtures("shared")


def raw_of(case: Case) -> bytes:
    return base64.b64decode(case["input_b64"])


def cuts(case: Case) -> Iterator[list[bytes]]:
    raw = raw_of(case)
    yield [raw]
    yield one_byte(raw)
    yield from two_way(raw)


def number(retry: str | None) -> int | None:
    return None if retry is None else int(retry)


def seen(result: Decoded) -> list[tuple[str, str, str | None]]:
    """Event, data and own id; the standard says ``message`` where no name, or "", was sent."""
    return [(event.event or "message", event.data, event.id) for event in result.events]


def due(events: list[dict[str, Any]]) -> list[tuple[str, str, str | None]]:
    return [(event["event"], event["data"], event["block_id"]) for event in events]


def test_the_cases_are_read(shared: Path) -> None:
    assert len(CASES) > 200
    assert len(FLUSHED) > 10


@each_case
def test_events_are_those_of_the_standard_at_every_cut(engine: Engine, case: Case) -> None:
    for parts in cuts(case):
        assert seen(decode(engine, parts)) == due(case["expected"]), parts


@each_case
def test_final_last_event_id_is_that_of_the_standard_at_every_cut(
    engine: Engine, case: Case
) -> None:
    for parts in cuts(case):
        result = decode(engine, parts)
        assert result.last_event_id == case["expected_final"]["last_event_id"], parts


@each_case
def test_retries_are_those_of_the_standard_at_every_cut(engine: Engine, case: Case) -> None:
    is_any_right = "retry" in case.get("tolerate", ())
    for parts in cuts(case):
        result = decode(engine, parts)
        if is_any_right:
            # The case asks that the event comes all the same.
            assert len(result.events) == len(case["expected"]), parts
            continue
        own = [number(event.retry) for event in result.events]
        assert own == [event["retry"] for event in case["expected"]], parts
        assert number(result.retry) == case["expected_final"]["reconnection_ms"], parts


@each_case
def test_each_event_comes_with_its_last_byte(engine: Engine, case: Case) -> None:
    decoder = SSEDecoder(_engine_module=engine)
    came: list[int] = []
    for at, byte in enumerate(one_byte(raw_of(case))):
        came += [at + 1] * len(decoder.feed(byte))
    assert came == case["dispatch_at"]


@each_case
def test_last_event_id_is_right_when_each_event_comes(engine: Engine, case: Case) -> None:
    decoder = SSEDecoder(_engine_module=engine)
    ids = [
        decoder.last_event_id
        for byte in one_byte(raw_of(case))
        for _ in decoder.feed(byte)
    ]  # fmt: skip
    assert ids == [event["id"] for event in case["expected"]]


@each_flushed
def test_flushed_tail_is_what_recorded_streams_need(engine: Engine, case: Case) -> None:
    for parts in cuts(case):
        result = decode(engine, parts, flush_tail=True)
        assert seen(result) == due(case["llm_expected"]["events"]), parts
