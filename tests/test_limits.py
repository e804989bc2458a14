"""Limits of lines and events: bytes are counted and never reads, and what is free stays free."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from streamnorm import ChunkNormalizer, SSEDecoder, SSENormalizer, StreamFault
from streamnorm._engine import Engine

from .helpers import (
    all_cuts,
    chunk,
    data_line,
    decode,
    event,
    event_words,
    line_words,
    one_byte,
    random_cuts,
    reads,
    run_both,
    run_chunks,
    run_sse,
    stream,
)

MIB = 1024 * 1024
KIB = 1024


# A line. -------------------------------------------------------------------------


@pytest.mark.parametrize("end", [b"\n", b"\r", b"\r\n"], ids=["lf", "cr", "crlf"])
def test_line_at_the_limit_is_delivered(engine: Engine, end: bytes) -> None:
    raw = data_line(30) + end + end + b"data: after" + end + end
    for parts in all_cuts(raw):
        result = decode(engine, parts, max_line_bytes=30)
        assert [e.data for e in result.events] == ["x" * 24, "after"], parts


@pytest.mark.parametrize("end", [b"\n", b"\r", b"\r\n"], ids=["lf", "cr", "crlf"])
def test_line_one_byte_over_the_limit_is_a_fault(engine: Engine, end: bytes) -> None:
    raw = b"data: before" + end + end + data_line(31) + end + end + b"data: after" + end + end
    for parts in all_cuts(raw):
        result = decode(engine, parts, max_line_bytes=30)
        assert [e.data for e in result.events] == ["before"], parts
        assert result.words == line_words(30), parts


def test_bom_does_not_count_for_the_line_limit(engine: Engine) -> None:
    for parts in all_cuts(b"\xef\xbb\xbf" + data_line(30) + b"\n\n"):
        assert decode(engine, parts, max_line_bytes=30).words is None, parts


@pytest.mark.parametrize("name", ["data", "event", "id", "retry"])
def test_line_limit_holds_for_every_field(engine: Engine, name: str) -> None:
    raw = f"{name}: {'1' * 40}\n".encode()
    for parts in all_cuts(raw):
        assert decode(engine, parts, max_line_bytes=len(raw) - 2).words == line_words(len(raw) - 2)
        assert decode(engine, parts, max_line_bytes=len(raw) - 1).words is None


def test_line_limit_is_the_same_for_small_and_large_reads(engine: Engine) -> None:
    for length, words in ((9000, None), (9001, line_words(9000))):
        raw = data_line(length) + b"\n\n"
        for size in (len(raw), KIB, 7, 1):
            assert decode(engine, reads(raw, size), max_line_bytes=9000).words == words, size


def test_no_limit_delivers_a_line_of_any_length(engine: Engine) -> None:
    raw = data_line(20 * MIB) + b"\n\n"
    result = decode(engine, reads(raw, 64 * KIB), max_line_bytes=None, max_event_bytes=None)
    assert [len(e.data) for e in result.events] == [20 * MIB - 6]


def test_default_limit_is_16_mib(engine: Engine) -> None:
    at, over = data_line(16 * MIB) + b"\n\n", data_line(16 * MIB + 1) + b"\n\n"
    assert decode(engine, reads(at, MIB)).words is None
    assert decode(engine, reads(over, MIB)).words == line_words(16 * MIB)


def test_limit_beyond_64_bits_is_no_limit(engine: Engine) -> None:
    result = decode(engine, [event(b"a")], max_line_bytes=2**70, max_event_bytes=2**70)
    assert [e.data for e in result.events] == ["a"]


# An event. -----------------------------------------------------------------------


def test_event_at_the_limit_is_delivered(engine: Engine) -> None:
    raw = data_line(20) + b"\r\n" + data_line(10) + b"\r\n\r\ndata: after\n\n"
    for parts in all_cuts(raw):
        result = decode(engine, parts, max_event_bytes=30)
        assert [e.data for e in result.events] == ["x" * 14 + "\nxxxx", "after"], parts


def test_event_one_byte_over_the_limit_is_a_fault(engine: Engine) -> None:
    raw = b"data: before\n\n" + data_line(20) + b"\n" + data_line(11) + b"\n\ndata: after\n\n"
    for parts in all_cuts(raw):
        result = decode(engine, parts, max_event_bytes=30)
        assert [e.data for e in result.events] == ["before"], parts
        assert result.words == event_words(30), parts


def test_event_limit_counts_names_ids_and_retries(engine: Engine) -> None:
    raw = b"event: e\nid: 1\nretry: 2\ndata: a\n\n"
    size = len(raw) - 5
    for parts in all_cuts(raw):
        assert decode(engine, parts, max_event_bytes=size).words is None, parts
        assert decode(engine, parts, max_event_bytes=size - 1).words == event_words(size - 1)


def test_event_limit_counts_one_event_and_not_the_stream(engine: Engine) -> None:
    raw = b"data: ok\n\n" * 1000
    result = decode(engine, reads(raw, 7), max_line_bytes=8, max_event_bytes=8)
    assert len(result.events) == 1000


def test_block_without_data_does_not_count_for_the_next(engine: Engine) -> None:
    raw = b"id: 123456\n\n" * 5 + b"data: a\n\n"
    assert decode(engine, one_byte(raw), max_event_bytes=10).words is None


def test_line_over_both_limits_gives_the_same_fault_at_every_cut(engine: Engine) -> None:
    raw = b"data:56789\ndata:\ndata:xxxxxxx\n\n"
    words = {decode(engine, p, max_line_bytes=10, max_event_bytes=20).words for p in all_cuts(raw)}
    assert len(words) == 1


# What is free. -------------------------------------------------------------------

FREE = {
    "comment": b": " + b"c" * 200,
    "empty comment": b":" * 200,
    "unknown field": b"unknown: " + b"u" * 200,
    "line without a colon": b"u" * 200,
    "field name with a space": b"data : " + b"u" * 200,
    "longer field name": b"database: " + b"u" * 200,
    "name that begins with id": b"idempotency-key: " + b"u" * 200,
    "name that begins with event": b"events: " + b"u" * 200,
    "name that begins with retry": b"retry-after: " + b"u" * 200,
}
each_free = pytest.mark.parametrize("free", FREE.values(), ids=[n.replace(" ", "-") for n in FREE])


@each_free
def test_dropped_line_counts_for_no_line_limit(engine: Engine, free: bytes) -> None:
    raw = free + b"\ndata: a\n\n" + free + b"\r\ndata: b\n\n"
    for parts in all_cuts(raw):
        result = decode(engine, parts, max_line_bytes=7)
        assert [e.data for e in result.events] == ["a", "b"], parts


@each_free
def test_dropped_line_counts_for_no_event_limit(engine: Engine, free: bytes) -> None:
    raw = b"data: a\n" + free + b"\r\ndata: b\n" + free + b"\n\n"
    for parts in all_cuts(raw):
        result = decode(engine, parts, max_event_bytes=14)
        assert [e.data for e in result.events] == ["a\nb"], parts


@each_free
def test_dropped_line_counts_for_nothing_in_chunks(engine: Engine, free: bytes) -> None:
    data = chunk({"content": "a"}, "stop")
    raw = free + b"\ndata: " + data + b"\n" + free + b"\n\n" + free + b"\n\n"
    size = len(data) + 6
    for parts in all_cuts(raw):
        result = run_chunks(engine, parts, max_line_bytes=size, max_event_bytes=size)
        assert result.words is None, parts
        assert len(result.output) == 1, parts


@each_free
def test_dropped_line_between_events_passes_in_bytes_whatever_its_length(
    engine: Engine, free: bytes
) -> None:
    data = chunk({"content": "a"}, "stop")
    raw = free + b"\n\ndata: " + data + b"\n\n" + free + b"\r\n\r\n"
    size = len(data) + 6
    for parts in all_cuts(raw):
        result = run_sse(engine, parts, max_line_bytes=size, max_event_bytes=size)
        assert (result.output, result.words) == (raw, None), parts


@pytest.mark.parametrize("name", [b"data", b"id", b"event", b"retry"], ids=bytes.decode)
def test_start_of_a_longer_name_is_not_taken_for_a_field(engine: Engine, name: bytes) -> None:
    raw = name + b"less: x\n\ndata: 1\n" + name + b"less: x\n\n"
    limit = len(b"data: 1")
    for parts in all_cuts(raw):
        result = decode(engine, parts, max_line_bytes=limit, max_event_bytes=limit)
        assert [e.data for e in result.events] == ["1"], parts


# The order of things. ------------------------------------------------------------

BROKEN = b"id: 1\ndata: a\n\nid: 2\ndata: " + b"y" * 100 + b"\n\nid: 3\ndata: b\n\n"


def test_events_before_the_fault_come_first(engine: Engine) -> None:
    decoder = SSEDecoder(max_line_bytes=50, _engine_module=engine)
    assert [e.data for e in decoder.feed(BROKEN)] == ["a"]
    with pytest.raises(StreamFault):
        decoder.feed(b"")


def test_fault_is_shown_before_it_is_raised(engine: Engine) -> None:
    decoder = SSEDecoder(max_line_bytes=50, _engine_module=engine)
    assert decoder.fault is None
    decoder.feed(BROKEN)
    assert decoder.fault is not None
    assert decoder.fault.kind == "too_large"


def test_fault_without_an_event_before_it_is_raised_at_once(engine: Engine) -> None:
    decoder = SSEDecoder(max_line_bytes=50, _engine_module=engine)
    with pytest.raises(StreamFault):
        decoder.feed(data_line(51))


def test_fault_is_raised_again_by_every_later_call(engine: Engine) -> None:
    decoder = SSEDecoder(max_line_bytes=50, _engine_module=engine)
    decoder.feed(BROKEN)
    for call in (lambda: decoder.feed(b"data: c\n\n"), decoder.close, lambda: decoder.feed(b"")):
        with pytest.raises(StreamFault) as caught:
            call()
        assert (caught.value.kind, str(caught.value)) == line_words(50)


def test_last_event_id_never_moves_past_a_broken_block(engine: Engine) -> None:
    for parts in all_cuts(BROKEN):
        assert decode(engine, parts, max_line_bytes=50).last_event_id == "1", parts


def test_thousands_of_events_come_before_the_fault(engine: Engine) -> None:
    raw = b"data: ok\n\n" * 1000 + b"data: " + b"y" * (2 * MIB)
    for size in (len(raw), 64 * KIB, KIB):
        result = decode(engine, reads(raw, size), max_line_bytes=MIB)
        assert [e.data for e in result.events] == ["ok"] * 1000
        assert result.words == line_words(MIB)


# Normalised streams. -------------------------------------------------------------


def test_chunks_before_the_fault_come_first(engine: Engine) -> None:
    good = event(chunk({"content": "a"}))
    raw = good + event(chunk({"content": "b" * 500})) + good
    for parts in all_cuts(raw):
        result = run_chunks(engine, parts, max_line_bytes=200)
        assert [c["choices"][0]["delta"] for c in result.output] == [{"content": "a"}], parts
        assert result.words == line_words(200), parts


def test_bytes_before_the_fault_come_first(engine: Engine) -> None:
    good = event(chunk({"content": "a"}))
    raw = good + event(chunk({"content": "b" * 500})) + good
    for parts in all_cuts(raw):
        result = run_sse(engine, parts, max_line_bytes=200)
        assert (result.output, result.words) == (good, line_words(200)), parts


def test_normalised_line_at_the_limit_is_delivered(engine: Engine) -> None:
    data = chunk({"reasoning": "r" * 300}, "stop")
    limit = len(b"data: ") + len(data)
    for run in run_both(engine, [event(data)], max_line_bytes=limit, max_event_bytes=limit):
        assert run.words is None
    for run in run_both(engine, [event(data)], max_line_bytes=limit - 1):
        assert run.words == line_words(limit - 1)
    for run in run_both(engine, [event(data)], max_event_bytes=limit - 1):
        assert run.words == event_words(limit - 1)


@pytest.mark.parametrize("unit", ["line", "event"])
def test_limits_hold_for_ndjson(engine: Engine, unit: str) -> None:
    line = chunk({"content": "a" * 100}, "stop")
    raw = chunk({"content": "b"}) + b"\n" + line + b"\n"
    for parts in all_cuts(raw):
        at, over = {f"max_{unit}_bytes": len(line)}, {f"max_{unit}_bytes": len(line) - 1}
        for run in run_both(engine, parts, **at):
            assert run.words is None, parts
        for run in run_both(engine, parts, **over):
            words = line_words if unit == "line" else event_words
            assert run.words == words(len(line) - 1), parts


def test_event_limit_holds_for_a_raw_body(engine: Engine) -> None:
    raw = b'{\n  "error": {\n    "message": "' + b"m" * 100 + b'"\n  }\n}\n'
    for parts in all_cuts(raw):
        for run in run_both(engine, parts, max_event_bytes=len(raw)):
            assert run.words == ("error_event", f"the upstream sent an error: {'m' * 100}"), parts
        for run in run_both(engine, parts, max_event_bytes=len(raw) - 1):
            assert run.words == event_words(len(raw) - 1), parts


def test_line_of_white_space_at_the_start_is_limited(engine: Engine) -> None:
    for parts in ([b" " * 101], one_byte(b" " * 101), [b" " * 101 + b"\n"]):
        for run in run_both(engine, parts, max_line_bytes=100):
            assert run.words == line_words(100)


def test_what_comes_after_done_is_not_limited(engine: Engine) -> None:
    raw = stream({"content": "a"}) + data_line(5000) + b"\n\n"
    for size in (len(raw), 100, 7):
        result = run_sse(engine, reads(raw, size), max_line_bytes=300)
        assert (result.output, result.words) == (raw, None), size


# Any cutting. --------------------------------------------------------------------

PIECES = st.sampled_from(
    [b"\n", b"\n\n", b"\r\n", b"\r"] * 2
    + [b"data:", b"data: ab\n", b"data", b"id: 1\n", b"id", b"event", b"retry: 1", b"xxxx", b": c"]
    + [b"dat", b"dataset: a", b"ideal", b"errors", b"error: ", b"{", b"}", b'{"a":1}\n', b"  "]
    + [b"\xef\xbb\xbf", b"[", b'"', b"data: [DONE]\n\n"]
)
RAW = st.lists(PIECES, max_size=16).map(b"".join)
LIMIT = st.one_of(st.none(), st.integers(1, 24))


@pytest.mark.fuzz
@given(raw=RAW, line=LIMIT, size=LIMIT, seed=st.integers(0, 2**16))
@example(raw=b"database: x\n", line=3, size=None, seed=0)
@example(raw=b"data: 12\nidempotent: x\n\n", line=None, size=9, seed=0)
def test_limits_of_the_decoder_do_not_depend_on_the_cuts(
    engine: Engine, raw: bytes, line: int | None, size: int | None, seed: int
) -> None:
    limits = {"max_line_bytes": line, "max_event_bytes": size}
    whole = decode(engine, [raw], **limits)
    for parts in (one_byte(raw), random_cuts(raw, seed, 6)):
        cut = decode(engine, parts, **limits)
        assert (cut.events, cut.words) == (whole.events, whole.words)
        assert cut.last_event_id == whole.last_event_id


@pytest.mark.fuzz
@given(raw=RAW, line=LIMIT, size=LIMIT, seed=st.integers(0, 2**16))
@example(raw=b"dataset: a\n", line=None, size=1, seed=0)
@example(raw=b"  data:", line=1, size=None, seed=0)
@example(raw=b"data: [DONE]\n\nevent\ndataset: a", line=None, size=12, seed=0)
@example(raw=b"data: [DONE]\n\nxxxxxx\n", line=None, size=None, seed=0)
@example(raw=b": comment\n\n", line=None, size=None, seed=0)
def test_limits_of_the_normalisers_do_not_depend_on_the_cuts(
    engine: Engine, raw: bytes, line: int | None, size: int | None, seed: int
) -> None:
    limits = {"max_line_bytes": line, "max_event_bytes": size}
    for run in (run_chunks, run_sse):
        whole = run(engine, [raw], on_malformed="skip", **limits)
        for parts in (one_byte(raw), random_cuts(raw, seed, 6)):
            cut = run(engine, parts, on_malformed="skip", **limits)
            assert cut.words == whole.words
            assert cut.output == whole.output


@pytest.mark.parametrize("machine", [ChunkNormalizer, SSENormalizer])
def test_closed_fault_is_raised_again(engine: Engine, machine: Any) -> None:
    normalizer = machine(max_line_bytes=20, _engine_module=engine)
    for call in (lambda: normalizer.feed(data_line(21)), normalizer.close, normalizer.close):
        with pytest.raises(StreamFault) as caught:
            call()
        assert (caught.value.kind, str(caught.value)) == line_words(20)
