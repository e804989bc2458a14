"""What the matrix stands on, without its clients: the rows, the gateway, the page."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, NamedTuple

import httpx
import pytest

from streamnorm.dialects import DIALECTS
from streamnorm.fault_server import CALL_ROWS, Call, CallRow
from streamnorm.options import REPAIRS
from streamnorm.tag_table import TAGS

from . import samples
from .classify import Shown, classify
from .clients import CLIENTS
from .page import Cell, Column, page, summary
from .probes import PROBES
from .samples import NoSample, Sample, all_samples
from .serve import serve

# A row with openers is in both tables.
DIALECT_ROWS = dict.fromkeys(
    [*(row.name for row in DIALECTS), *(f"tags: {tag.name}" for tag in TAGS)]
)
ROWS = [*DIALECT_ROWS, *(row.name for row in CALL_ROWS)]
rows = pytest.mark.parametrize("row", ROWS)


class Found(NamedTuple):
    sample: Sample
    bare: str
    behind: str


@pytest.fixture(scope="module")
def found() -> Iterator[dict[str, Found]]:
    """Each row's sample and addresses, by its name."""
    every = all_samples()
    with serve(every) as served:
        yield {
            sample.row: Found(sample, served.bare(position), served.behind(position))
            for position, sample in enumerate(every)
        }


def fetch(base_url: str) -> bytes:
    body = {"model": "sample", "stream": True, "messages": []}
    return httpx.post(f"{base_url}/chat/completions", json=body, trust_env=False).content


def read(body: bytes) -> Shown:
    """What a body in normal form says, merged as OpenAI's guide for streaming does."""
    texts = {"reasoning_content": "", "content": ""}
    calls: dict[int, dict[str, Any]] = {}
    for line in body.decode().splitlines():
        if not line.startswith("data: {"):
            continue
        for choice in json.loads(line[6:])["choices"]:
            for key in texts:
                texts[key] += choice["delta"].get(key) or ""
            for part in choice["delta"].get("tool_calls") or ():
                call = calls.setdefault(part["index"], {"id": "", "name": "", "arguments": ""})
                call["id"] = part.get("id") or call["id"]
                call["name"] += part["function"].get("name") or ""
                call["arguments"] += part["function"].get("arguments") or ""
    made = tuple(Call(**call) for call in calls.values())
    return Shown(texts["reasoning_content"], texts["content"], made)


# The rows. ----------------------------------------------------------------------------


def test_every_dialect_every_tag_and_every_tool_call_row_is_there_once() -> None:
    every = all_samples()
    names = [sample.row for sample in every if sample.group == "dialect"]
    assert sorted(names) == sorted(DIALECT_ROWS)
    names = [sample.row for sample in every if sample.group == "tool calls"]
    assert names == [row.name for row in CALL_ROWS]


def test_a_dialect_without_a_vector_fails_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    new = DIALECTS[0]._replace(name="smoke signals")
    monkeypatch.setattr(samples, "DIALECTS", (*DIALECTS, new))
    with pytest.raises(NoSample, match="smoke signals"):
        all_samples()


def test_a_tag_without_a_vector_fails_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    bare = next(tag for tag in TAGS if not tag.opens)
    new = bare._replace(name="smoke", finals=("<smoke>",), ends=(), labels=())
    monkeypatch.setattr(samples, "TAGS", (*TAGS, new))
    with pytest.raises(NoSample, match="smoke"):
        all_samples()


def test_a_repair_without_a_row_fails_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(samples, "REPAIRS", (*REPAIRS, "lost_in_post"))
    with pytest.raises(NoSample, match="lost_in_post"):
        all_samples()


@pytest.mark.parametrize("row", CALL_ROWS, ids=[row.name for row in CALL_ROWS])
def test_only_a_row_that_needs_no_repair_reads_as_meant(
    found: dict[str, Found], row: CallRow
) -> None:
    """The truth of a row, checked without the normaliser; `read` merges by index alone."""
    sample = found[row.name].sample
    try:
        verdict = classify(sample.sent, read(b"".join(sample.events)))
    except (KeyError, TypeError):
        verdict = "crash"
    # Empty members do no harm to one who skips them.
    harmless = {"empty_id", "empty_name"}
    assert (verdict == "✓") is (set(row.needs) <= harmless)


# The two addresses. -------------------------------------------------------------------


@rows
def test_the_upstream_sends_a_row_as_it_is(found: dict[str, Found], row: str) -> None:
    assert fetch(found[row].bare) == b"".join(found[row].sample.events)


@rows
def test_behind_streamnorm_a_row_says_what_was_meant(found: dict[str, Found], row: str) -> None:
    shown = read(fetch(found[row].behind))
    assert classify(found[row].sample.sent, shown) == "✓", shown


def test_a_stream_that_breaks_off_does_not_end_well_behind_the_gateway() -> None:
    whole = next(sample for sample in all_samples() if sample.row == "well-formed")
    broken = replace(whole, events=whole.events[:2])
    with serve([broken]) as addresses, pytest.raises(httpx.RemoteProtocolError):
        fetch(addresses.behind(0))


# The clients and the page. ------------------------------------------------------------


def test_every_client_has_a_probe() -> None:
    assert [client.name for client in CLIENTS] == list(PROBES)


def test_the_page_has_a_cell_for_each_row_and_client() -> None:
    shown = [
        Sample("dialect", "a|b", (), Shown("x", "y"), source="a+b/c d.json"),
        Sample("tool calls", "late", (), Shown()),
    ]
    columns = [
        Column(CLIENTS[0], {"openai": "9.1"}, [Cell("lost", "✓"), Cell("crash", "✓", "KeyError")]),
        Column(CLIENTS[1], {"litellm": "8.2"}, [Cell("doubled", "—"), Cell("✓", "lost")]),
    ]
    text = page(shown, columns, {"date": "2026-01-31"})
    lines = text.splitlines()
    link = "[`a\\|b`](../tests/vectors/a%2Bb/c%20d.json)"
    assert f"| {link} | lost → ✓ | doubled → — |" in lines
    assert "| `late` | crash → ✓ | ✓ → lost |" in lines
    assert "- openai-python: KeyError on `late`" in lines
    assert "- date: 2026-01-31" in lines
    assert "openai 9.1" in text
    assert sys.prefix not in text
    assert summary(columns).splitlines() == [
        "openai-python 9.1: 0 bare, 2 behind streamnorm, of 2",
        "LiteLLM 8.2: 1 bare, 1 behind streamnorm, of 2",
    ]
