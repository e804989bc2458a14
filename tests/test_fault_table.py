"""The table of the fault server: it agrees with the contract, and with its own bytes."""

from __future__ import annotations

import gzip
import importlib
import json
import math
import re
import sys
import zlib
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from typing import Any, get_args

import pytest

from streamnorm import ChunkNormalizer, dialects, faults
from streamnorm._engine import Engine
from streamnorm.fault_server import (
    CALL_ROWS,
    CASES,
    DIALECT_CASES,
    FAULTS,
    BadQuery,
    DialectCase,
    FaultCase,
)
from streamnorm.fault_server import dialects as made
from streamnorm.fault_server.bodies import BROTLI
from streamnorm.fault_server.chunks import STREAM
from streamnorm.fault_server.table import near
from streamnorm.options import DEFAULT_LIMIT, REPAIRS
from streamnorm.tag_table import TAGS

FAILING = [case for case in FAULTS if case.expected is not None]
each = pytest.mark.parametrize("case", FAULTS, ids=lambda case: case.name)
failing = pytest.mark.parametrize("case", FAILING, ids=lambda case: case.name)
rows = pytest.mark.parametrize("case", DIALECT_CASES, ids=lambda case: case.name)

# The contract: who is to blame for a category, and what a kind means where no upstream has
# said anything.
BLAMES = {
    "rate_limit": "credential",
    "quota_exceeded": "credential",
    "authentication": "credential",
    "forbidden": "credential",
    "invalid_request": "request",
    "context_window_exceeded": "request",
    "server_error": "provider",
    "api_connection": "transport",
}
SILENT = {
    "empty": ("server_error", "provider"),
    "not_sse": ("server_error", "provider"),
    "corrupt": ("server_error", "provider"),
    "too_large": ("server_error", "provider"),
    "truncated": ("api_connection", "transport"),
    "transport": ("api_connection", "transport"),
    "first_chunk_timeout": ("api_connection", "provider"),
    "idle_timeout": ("api_connection", "provider"),
    "total_timeout": ("api_connection", "provider"),
}
LIMITS = {
    "first_chunk": "first_chunk_timeout",
    "idle": "idle_timeout",
    "total": "total_timeout",
}


# Names and words. -----------------------------------------------------------------


def test_names_are_unique_path_segments() -> None:
    assert len(CASES) == len(FAULTS) + len(DIALECT_CASES)
    for name in CASES:
        assert re.fullmatch(r"[A-Za-z0-9_.-]+", name), name
    for case in FAULTS:
        assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", case.name), case.name


def test_there_are_faults_enough() -> None:
    assert len(FAILING) >= 50
    kinds = {case.expected.kind for case in FAULTS if case.expected is not None}
    # Nothing that comes over a wire is None.
    assert kinds == set(get_args(faults.Kind)) - {"none_stream"}


@pytest.mark.parametrize("case", CASES.values(), ids=lambda case: case.name)
def test_title_and_evidence_are_one_line_each(case: FaultCase | DialectCase) -> None:
    for text in (case.title, case.evidence):
        assert text.strip() == text
        assert text
        assert "\n" not in text


@pytest.mark.parametrize("case", CASES.values(), ids=lambda case: case.name)
def test_case_as_a_dict_is_json(case: FaultCase | DialectCase) -> None:
    shown = json.loads(json.dumps(case.as_dict(), allow_nan=False))
    assert (shown["name"], shown["title"]) == (case.name, case.title)
    assert (shown["content"], shown["reasoning"]) == (case.content, case.reasoning)


def test_near_names_are_found() -> None:
    assert near("trunkated")[0] == "truncated"
    assert "http-429-seconds" in near("429")
    assert near("") == []


# What is expected. ----------------------------------------------------------------


@failing
def test_expectation_is_the_contracts(case: FaultCase) -> None:
    expected = case.expected
    assert expected is not None
    assert expected.kind in get_args(faults.Kind)
    assert expected.category in get_args(faults.Category)
    assert expected.blame in get_args(faults.Blame)
    if expected.kind in ("http_error", "error_event"):
        assert expected.blame == BLAMES[expected.category]
    else:
        assert (expected.category, expected.blame) == SILENT[expected.kind]
        assert (expected.status_code, expected.provider_code) == (None, None)
    assert (expected.kind == "http_error") is (case.status >= 400)
    assert LIMITS.get(str(expected.limit), expected.kind) == expected.kind
    assert (expected.limit is None) is (expected.kind not in LIMITS.values())


@failing
def test_expected_facts_stand_in_the_response(case: FaultCase) -> None:
    expected = case.expected
    assert expected is not None
    if expected.kind == "http_error":
        assert expected.status_code == case.status
    elif expected.status_code is not None:
        assert str(expected.status_code).encode() in case.body
    if expected.provider_code is not None:
        assert json.dumps(expected.provider_code).encode() in case.body


def test_waits_are_those_of_the_headers_or_the_body() -> None:
    found = {}
    for case in FAILING:
        headers = dict(case.headers)
        if "retry-after-ms" in headers:
            found[case.name] = int(headers["retry-after-ms"]) / 1000
        elif "date" in headers:
            clock = r"07:28:(\d\d)"
            spoken = [re.search(clock, headers[name]) for name in ("retry-after", "date")]
            later, earlier = [int(match[1]) for match in spoken if match]
            found[case.name] = float(later - earlier)
        elif "retry-after" in headers:
            found[case.name] = float(headers["retry-after"])
        elif match := re.search(rb'("retryDelay":"|try again in )(\d+)s', case.body):
            found[case.name] = float(match[2])
    waits = {case.name: case.expected.retry_after for case in FAILING if case.expected}
    assert {name: wait for name, wait in waits.items() if wait is not None} == found
    assert len(found) == 6


@each
def test_retry_is_safe_where_nothing_was_seen_and_it_may_help(case: FaultCase) -> None:
    if case.expected is None:
        assert case.safe_to_retry is None
        return
    helps = case.expected.blame in ("credential", "provider", "transport")
    assert case.safe_to_retry is (case.content == "" and helps)


def read_naively(body: bytes) -> tuple[str, str]:
    """(content, reasoning) of the whole events of a body, up to the first that is no chunk."""
    texts = {"content": "", "reasoning_content": ""}
    body = body.removeprefix(b"\xef\xbb\xbf").replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    for block in body.split(b"\n\n"):
        lines = [line[5:].lstrip() for line in block.split(b"\n") if line.startswith(b"data:")]
        data = b"\n".join(lines)
        if not data or data.startswith(b"[DONE]"):
            continue
        if len(data) > DEFAULT_LIMIT:
            break
        try:
            chunk = json.loads(data)
        except ValueError:
            break
        for choice in chunk.get("choices") or ():
            for key in texts:
                texts[key] += (choice.get("delta") or {}).get(key) or ""
    return texts["content"], texts["reasoning_content"]


# Their text is not in events that a naive reader takes apart.
ELSEWHERE = (
    *("json-completion", "ndjson", "gzip-declared"),
    *("single-newlines", "frames-glued", "half-frame-glued"),
)


@pytest.mark.parametrize(
    "case",
    [case for case in FAULTS if not case.raw and case.name not in ELSEWHERE],
    ids=lambda case: case.name,
)
def test_text_is_that_of_the_events_before_the_fault(case: FaultCase) -> None:
    steps = case.steps
    if case.timing is not None and case.expected is not None:
        steps = steps[: case.timing.after]
    body = b"".join(step for step in steps if isinstance(step, bytes))
    length = int(case.headers.get("content-length", len(body)))
    content, reasoning = read_naively(body[:length])
    assert reasoning == case.reasoning
    assert content == (case.content or "")
    assert (case.content is None) is (case.name == "never-ending")


@pytest.mark.parametrize("name", ELSEWHERE)
def test_all_text_is_there_in_some_form(name: str) -> None:
    case = CASES[name]
    assert isinstance(case, FaultCase)
    body = gzip.decompress(case.body) if name == "gzip-declared" else case.body
    for text in ("3 × 3 × 3", "27 cubes", " – no more."):
        assert text.encode() in body
    assert (case.content, case.reasoning) == (CASES["ok"].content, CASES["ok"].reasoning)


def test_compressed_bodies_are_the_stream() -> None:
    whole = b"".join(STREAM)
    bodies = {name: CASES[f"{name}-undeclared"].steps for name in ("gzip", "deflate", "brotli")}
    assert gzip.decompress(b"".join(bodies["gzip"])) == whole  # type: ignore[arg-type]
    assert zlib.decompress(b"".join(bodies["deflate"])) == whole  # type: ignore[arg-type]
    assert bodies["brotli"] == (BROTLI,)
    assert pytest.importorskip("brotli").decompress(BROTLI) == whole


def test_table_is_the_same_in_another_process_of_its_own() -> None:
    # Modules made anew: nothing in a body is a time, an address or a random number.
    names = [name for name in sys.modules if name.startswith("streamnorm.fault_server")]
    kept = {name: sys.modules.pop(name) for name in names}
    try:
        again = importlib.import_module("streamnorm.fault_server").FAULTS
    finally:
        sys.modules.update(kept)
    assert again is not FAULTS
    assert [case.body for case in again] == [case.body for case in FAULTS]


# Waiting. -------------------------------------------------------------------------


def pauses(case: FaultCase, query: str = "") -> list[tuple[int, float]]:
    """(how many pieces came before, seconds) for each of the first pauses."""
    found = []
    pieces = 0
    for step in islice(case.script(query), 3 * len(case.steps)):
        if isinstance(step, bytes):
            pieces += 1
        elif isinstance(step, int | float):
            found.append((pieces, step))
    return found


@failing
def test_what_waits_for_ever_needs_a_limit(case: FaultCase) -> None:
    assert case.expected is not None
    timing = case.timing
    is_endless = timing is not None and (timing.endless or math.isinf(timing.pause))
    assert is_endless is (case.expected.limit is not None)


def test_pause_and_after_move_the_wait() -> None:
    case = CASES["stall-after-text"]
    assert isinstance(case, FaultCase)
    assert pauses(case) == [(6, math.inf)]
    assert pauses(case, "pause=2.5") == [(6, 2.5)]
    assert pauses(case, "after=2") == [(2, math.inf)]
    assert pauses(case, "after=0&pause=0&api-version=1") == [(0, 0.0)]
    pieces = [step for step in case.script("pause=0") if isinstance(step, bytes)]
    assert b"".join(pieces) == b"".join(STREAM)


def test_each_step_of_a_drip_has_its_pause() -> None:
    case = CASES["slow-drip"]
    assert isinstance(case, FaultCase)
    assert pauses(case, "pause=0.5&after=1") == [(n, 0.5) for n in range(1, len(STREAM))]


def test_endless_steps_are_repeated() -> None:
    case = CASES["stall-with-comments"]
    assert isinstance(case, FaultCase)
    sent = [step for step in islice(case.script(), 100) if isinstance(step, bytes)]
    assert sent[:7] == list(case.steps)
    assert set(sent[7:]) == {b": ping\n\n"}


@pytest.mark.parametrize(
    "query", ["pause=soon", "pause=-1", "pause=nan", "pause=", "after=-1", "after=1.5", "after=99"]
)
def test_wrong_parameters_are_refused(query: str) -> None:
    case = CASES["stall-after-text"]
    assert isinstance(case, FaultCase)
    with pytest.raises(BadQuery, match=query.partition("=")[0]):
        list(case.script(query))


# Dialects. ------------------------------------------------------------------------


def test_every_row_of_the_tables_has_a_route() -> None:
    shown: dict[str, set[str]] = {}
    for case in DIALECT_CASES:
        shown.setdefault(case.name.partition("-")[0], set()).add(case.row)
    assert shown["dialect"] == {
        *(row.name for row in dialects.DIALECTS),
        *(f"tags: {tag.name}" for tag in TAGS),
    }
    assert shown["source"] == {source.name for source in dialects.SOURCES}
    assert shown["part"] == {part.type for part in dialects.PARTS}
    assert shown["tool"] == {row.name for row in CALL_ROWS}
    assert {repair for row in CALL_ROWS for repair in row.needs} == set(REPAIRS)


def chunks_of(case: DialectCase, engine: Engine) -> tuple[list[dict[str, Any]], str | None]:
    normalizer = ChunkNormalizer(_engine_module=engine, **case.options)
    chunks = [chunk for step in case.steps for chunk in normalizer.feed(step)]
    return [*chunks, *normalizer.close()], normalizer.report.dialect


def deltas(chunks: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for chunk in chunks:
        for choice in chunk.get("choices") or ():
            yield choice.get("delta") or {}


@rows
def test_row_means_its_texts(case: DialectCase, engine: Engine) -> None:
    chunks, dialect = chunks_of(case, engine)
    found = list(deltas(chunks))
    assert "".join(delta.get("reasoning_content") or "" for delta in found) == case.reasoning
    assert "".join(delta.get("content") or "" for delta in found) == case.content
    # Rows that only clean the answer are no dialect of reasoning.
    rows_of_tables = {row.name for row in dialects.DIALECTS}
    if case.name.startswith("dialect-") and case.row in rows_of_tables:
        assert dialect == case.row


@rows
def test_row_comes_in_several_pieces(case: DialectCase) -> None:
    assert len(case.steps) >= 3
    assert case.steps[-1] == b"data: [DONE]\n\n"
    assert case.reasoning or case.content or case.calls


@pytest.mark.parametrize("case", [c for c in DIALECT_CASES if c.calls], ids=lambda case: case.name)
def test_calls_are_those_that_were_meant(case: DialectCase, engine: Engine) -> None:
    calls: dict[int, dict[str, str]] = {}
    for delta in deltas(chunks_of(case, engine)[0]):
        for part in delta.get("tool_calls") or ():
            call = calls.setdefault(part["index"], {"id": "", "name": "", "arguments": ""})
            call["id"] += part.get("id") or ""
            for key in ("name", "arguments"):
                call[key] += (part.get("function") or {}).get(key) or ""
    assert tuple(calls.values()) == tuple(vars(call) for call in case.calls)


def test_new_rows_need_no_code(monkeypatch: pytest.MonkeyPatch) -> None:
    source = dialects.Source("musings", "musings", "nested", ("*", "of"), ((None, "mind"),))
    row = dialects.Dialect("my musings", frozenset({"musings"}), ("nobody",), "made up")
    tag = replace_tag("hmm", opens=("<hmm>",), closes=("</hmm>",))
    part = dialects.Part("musing", "musing", "text", True, "made up")
    monkeypatch.setattr(made, "SOURCES", (*dialects.SOURCES, source))
    monkeypatch.setattr(made, "DIALECTS", (*dialects.DIALECTS, row))
    monkeypatch.setattr(made, "TAGS", (*TAGS, tag))
    monkeypatch.setattr(made, "PARTS", (*dialects.PARTS, part))
    by_name = {case.name: case for case in (*made._dialects(), *made._sources(), *made._parts())}
    for name in ("dialect-my-musings", "source-musings"):
        assert b'"musings":[{"of":{"mind":"' in by_name[name].steps[1]
    assert b'"type":"musing"' in by_name["part-musing"].steps[1]
    assert made._written(tag)[0].startswith("<hmm>Seven")


def replace_tag(name: str, **members: Any) -> Any:
    return TAGS[0]._replace(name=name, **members)


def test_a_shape_without_a_stream_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    source = dialects.SOURCES[0]._replace(name="odd", shape="odd")  # type: ignore[arg-type]
    monkeypatch.setattr(made, "SOURCES", (source,))
    with pytest.raises(LookupError, match="odd"):
        list(made._sources())


def test_two_routes_of_one_name_are_an_error() -> None:
    from streamnorm.fault_server.table import _by_name

    twin = replace(FAULTS[0], title="another")
    with pytest.raises(LookupError, match=FAULTS[0].name):
        _by_name([FAULTS[0], twin])
