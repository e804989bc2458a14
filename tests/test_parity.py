"""The Rust engine and the reference agree: results, reports, faults and the order of members.

`declined` may differ, since it counts what the Rust engine hands over, and so may `engine`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from streamnorm._engine import Engine

from . import oracle, strategies
from .conftest import load_engine
from .helpers import Run, event, one_byte, random_cuts, run_chunks, run_sse
from .strategies import Members, Sent
from .test_vectors import STREAMS, Vector, options_of, text_of

pytestmark = pytest.mark.fuzz

RUNNERS = {"dict": run_chunks, "sse": run_sse}
FACTS = (
    "kind", "category", "blame", "status_code", "retry_after", "body", "provider_message",
    "visible_output", "reasoning_output", "partial", "safe_to_retry",
)  # fmt: skip
# Words in the names of dialects whose text is in plain strings or in details.
FAST = {
    "", "reasoning_content", "reasoning", "reasoning_text", "thinking", "mirrored", "details",
    "reasoning_details",
}  # fmt: skip


@pytest.fixture(scope="session")
def both() -> tuple[Engine, Engine]:
    """The Rust engine and the reference."""
    return load_engine("rust"), load_engine("python")


@pytest.fixture(scope="session", params=RUNNERS)
def output(request: pytest.FixtureRequest) -> str:
    """Each output in turn."""
    return str(request.param)


def told(run: Run) -> dict[str, Any]:
    """All that a run says, in values that compare."""
    made = run.output.hex() if isinstance(run.output, bytes) else oracle.spelled(run.output)
    report = run.report.as_dict()
    fault = None
    if run.fault is not None:
        fault = [str(run.fault), *(repr(getattr(run.fault, name)) for name in FACTS)]
    said = {key: report[key] for key in report if key not in ("engine", "declined")}
    return {"output": made, "fault": fault, "report": json.dumps(said)}


def check(
    both: tuple[Engine, Engine], output: str, parts: Sequence[bytes], **options: Any
) -> tuple[Run, Run]:
    """Run both engines and compare; any exception but a fault is a failure by itself."""
    rust, python = (RUNNERS[output](engine, parts, **options) for engine in both)
    assert told(rust) == told(python)
    return rust, python


# Streams as servers write them. -------------------------------------------------------


@given(sent=strategies.streams, options=strategies.options)
def test_engines_agree_about_streams(
    both: tuple[Engine, Engine], output: str, sent: Sent, options: dict[str, Any]
) -> None:
    check(both, output, [sent.raw], **options)


@given(sent=strategies.streams, options=strategies.options, seed=st.integers(0, 999))
def test_engines_agree_when_reads_are_cut(
    both: tuple[Engine, Engine], output: str, sent: Sent, options: dict[str, Any], seed: int
) -> None:
    check(both, output, random_cuts(sent.raw, seed, 20), **options)
    check(both, output, one_byte(sent.raw))


# Bytes of any kind, of the pieces that matter. ----------------------------------------

PIECES = (
    b"data: ", b"data:", b"data", b"event: error\n", b"event: message\n", b"id: 1\n", b": c\n",
    b"retry: 9\n", b":", b"error: ", b"foo", b"\n", b"\n\n", b"\r", b"\r\n", b"\xef\xbb\xbf",
    b" ", b"\t", b"[DONE]", b"[DONE]\n\n", b"null", b"[]", b"{}", b"\0", b"\xff", b"\xe2\x82",
    b"\xed\xa0\x80", b"\xc2\x85", b"<html>", b"{", b"}", b"[", b"]", b",", b'"', b"\\", b"-",
    b"1" * 30, b"1" * 5000, b"1e400", b"NaN", b"[" * 255 + b"]" * 255, b"[" * 300 + b"]" * 300,
    b'[{"error":{"code":429}}]', b'{"error":{"message":"no","code":500}}', b'{"error":"no"}',
    b'{"error":null}', b'{"choices":[],"error":{"message":"e"}}', b'{"type":"message_stop"}',
    b'{"done":true}', b'"reasoning":"\\ud800"', b"\\u0069", b'"}}]}',
    b'{"choices":[{"delta":{"reasoning":"a"}}]}', b'{"choices":[{"delta":{"reasoning":null}}]}',
    b'{"choices":[{"index":0,"delta":{"content":"a"},"finish_reason":"stop"}]}',
    b'{"choices":[{"delta":{"reasoning_details":[{"type":"reasoning.text","text":"a"}]}}]}',
    b'{"choices":[{"delta":{"reasoning":"',
    b'{"choices":[{"delta":{"content":"<think>a</th"}}]}',
    b'{"choices":[{"delta":{"content":"<"}}]}',
    b'{"choices":[{"delta":{"content":"ink>b"}}]}', b'{"choices":[{"delta":{"content":["a",1]}}]}',
    b'{"choices":[{"delta":{"tool_calls":[{"id":"a","function":{"arguments":{}}}]}}]}',
)  # fmt: skip
SUMMARY = b'{"choices":[{"delta":{"reasoning":{"summary":[{"text":"a"},{"text":5}]}}}]}'
NO_UTF8 = b'{"a":"\xed\xa0\x80","choices":[{"delta":{"reasoning":"\xff"}}]}'
hostile = st.one_of(
    st.lists(st.sampled_from(PIECES), max_size=12).map(b"".join),
    st.lists(st.one_of(st.sampled_from(PIECES), strategies.events_of(strategies.documents)))
    .map(lambda parts: parts[:8])
    .map(b"".join),
    st.binary(max_size=40),
)
hostile_options = st.fixed_dictionaries(
    {},
    optional={
        "reasoning": st.sampled_from(("reasoning_content", "reasoning", "both")),
        "keep_original": st.booleans(),
        "tags": st.sampled_from(("anchored", "free", "off")),
        "starts_in_reasoning": st.booleans(),
        "split_mixed": st.booleans(),
        "finish": st.sampled_from(("as_sent", "last")),
        "on_malformed": st.sampled_from(("raise", "skip")),
        "max_line_bytes": st.sampled_from((None, 1, 5, 6, 40, 80)),
        "max_event_bytes": st.sampled_from((None, 1, 5, 6, 40, 80)),
    },
)


@given(raw=strategies.broken_streams, options=hostile_options, seed=st.integers(0, 999))
def test_engines_agree_about_streams_that_break_the_rules(
    both: tuple[Engine, Engine], output: str, raw: bytes, options: dict[str, Any], seed: int
) -> None:
    whole, _ = check(both, output, [raw], **options)
    for parts in (random_cuts(raw, seed, 20), one_byte(raw)):
        rust, _ = check(both, output, parts, **options)
        assert {**told(rust), "declined": 0} == {**told(whole), "declined": 0}


@given(raw=hostile, options=hostile_options, seed=st.integers(0, 999))
@example(raw=event(SUMMARY), options={}, seed=0)
@example(raw=event(b'{"n":' + b"1" * 5000 + b"}"), options={}, seed=0)
@example(raw=event(NO_UTF8), options={}, seed=1)
def test_engines_agree_about_bytes_of_any_kind(
    both: tuple[Engine, Engine], output: str, raw: bytes, options: dict[str, Any], seed: int
) -> None:
    check(both, output, [raw], **options)
    check(both, output, random_cuts(raw, seed, 15), **options)


@given(
    value=strategies.junk,
    key=st.sampled_from(
        (
            *oracle.REASONING_KEYS,
            *oracle.NESTED_KEYS,
            "index",
            "finish_reason",
            "content",
            "tool_calls",
            "extra_content",
            "model",
            "delta",
            "choices",
            "content_parts",
            "id",
        )
    ),
    more=strategies.deltas,
)
def test_engines_agree_about_any_value_under_a_key_of_the_table(
    both: tuple[Engine, Engine], output: str, value: Any, key: str, more: Any
) -> None:
    delta = Members((*more, (key, value)))
    choice = Members((("delta", delta), (key, value)))
    document = Members((("choices", [choice]), (key, value)))
    data = event(strategies.spell(document, 0))
    check(both, output, [data, data])


@pytest.mark.parametrize("vector", STREAMS.values(), ids=STREAMS)
def test_engines_agree_about_the_vectors(
    both: tuple[Engine, Engine], output: str, vector: Vector
) -> None:
    raw = text_of(vector, "input")
    for at in range(0, len(raw), 7):
        # A stream that breaks off, and one that lacks its beginning.
        check(both, output, [raw[:at]], **options_of(vector))
        check(both, output, [raw[at:]], **options_of(vector))


# The fast path is taken. --------------------------------------------------------------


def is_plain(name: str, vector: Vector) -> bool:
    """Whether a stream has only what the Rust engine decides by itself.

    That is reasoning in plain strings, in details or between delimiters, and right calls.
    """
    rare = (
        "spelling/",
        "config-object/",
        "options/",
        "content_parts/",
        "tool_calls/",
        "held/delta",
        "errors/",
        "glued/",
    )
    if name.startswith(rare) or vector.get("options", {}).get("finish") == "last":
        return False
    if vector["report"].get("repairs"):
        return False
    dialect = vector["report"].get("dialect") or ""
    parts = ["" if dialect.startswith("tags") else part for part in dialect.split("+")]
    # An error is put into a fault by the reference, which costs nothing: the stream is over.
    return set(parts) <= FAST and vector["fault"] is None


PLAIN = {name: vector for name, vector in STREAMS.items() if is_plain(name, vector)}


@pytest.mark.parametrize("vector", PLAIN.values(), ids=PLAIN)
def test_plain_streams_are_not_handed_to_the_reference(
    both: tuple[Engine, Engine], output: str, vector: Vector
) -> None:
    run, _ = check(both, output, [text_of(vector, "input")], **options_of(vector))
    assert run.report.declined == 0


def test_model_that_only_the_reference_can_read(both: tuple[Engine, Engine], output: str) -> None:
    model = rb'"model":"gpt-oss-\ud800"'
    raw = event(b"{%s," % model + b'"choices":[{"delta":{"content":"analysisWe"}}]}')
    _, python = check(both, output, [raw])
    assert python.report.tags == {"harmony text": 1}


def test_what_is_declined_is_counted(both: tuple[Engine, Engine], output: str) -> None:
    raw = event(b'{"choices":[{"delta":{"reasoning":{"text":"a","signature":"s"}}}]}') * 2
    rust, python = check(both, output, [raw])
    assert rust.report.engine == "rust"
    assert rust.report.declined in (0, 2)
    assert python.report.declined == 0
