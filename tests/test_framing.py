"""The event stream decoder: the rules of the standard, for every cutting of the input.

NOTE: the rules are those of
https://html.spec.whatwg.org/multipage/server-sent-events.html#event-stream-interpretation
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from streamnorm import ServerSentEvent, SSEDecoder
from streamnorm._engine import Engine

from .helpers import Decoded, all_cuts, decode, one_byte, random_cuts, two_way

Vector = dict[str, Any]

_FILE = Path(__file__).parent / "vectors" / "framing" / "rules.jsonl"
VECTORS: list[Vector] = [json.loads(line) for line in _FILE.read_text("ascii").splitlines()]
by_rule = pytest.mark.parametrize(
    "vector", VECTORS, ids=[vector["rule"].replace(" ", "-") for vector in VECTORS]
)


def raw_of(vector: Vector) -> bytes:
    return str(vector["input"]).encode("latin-1")


def events_of(vector: Vector, key: str) -> list[ServerSentEvent]:
    return [ServerSentEvent(*event) for event in vector[key]]


def due(engine: Engine, parts: list[bytes]) -> list[int]:
    """For each event, how many bytes had been fed when it came."""
    decoder = SSEDecoder(_engine_module=engine)
    fed = 0
    found: list[int] = []
    for part in parts:
        fed += len(part)
        found += [fed] * len(decoder.feed(part))
    return found


# The vectors. --------------------------------------------------------------------


@by_rule
def test_rule_gives_its_events_at_every_cut(engine: Engine, vector: Vector) -> None:
    for parts in all_cuts(raw_of(vector)):
        assert decode(engine, parts).events == events_of(vector, "events"), parts


@by_rule
def test_rule_leaves_its_state_at_every_cut(engine: Engine, vector: Vector) -> None:
    for parts in all_cuts(raw_of(vector)):
        result = decode(engine, parts)
        state = result.last_event_id, result.retry
        assert state == (vector["last_event_id"], vector["retry"]), parts


@by_rule
def test_event_comes_with_the_byte_that_ends_its_blank_line(engine: Engine, vector: Vector) -> None:
    assert due(engine, one_byte(raw_of(vector))) == vector["due"]


@by_rule
def test_event_is_not_late_where_the_read_ends_with_its_blank_line(
    engine: Engine, vector: Vector
) -> None:
    raw = raw_of(vector)
    for n, at in enumerate(vector["due"]):
        assert len(due(engine, [raw[:at]])) == n + 1


@by_rule
def test_tail_is_delivered_on_close_where_it_is_asked_for(engine: Engine, vector: Vector) -> None:
    for parts in all_cuts(raw_of(vector)):
        decoder = SSEDecoder(flush_tail=True, _engine_module=engine)
        fed = [event for part in parts for event in decoder.feed(part)]
        assert fed == events_of(vector, "events"), parts
        assert decoder.close() == events_of(vector, "tail"), parts


@by_rule
def test_tail_is_dropped_by_default(engine: Engine, vector: Vector) -> None:
    decoder = SSEDecoder(_engine_module=engine)
    decoder.feed(raw_of(vector))
    assert decoder.close() == []


def test_every_vector_has_a_rule_of_its_own() -> None:
    assert len({vector["rule"] for vector in VECTORS}) == len(VECTORS)


# What a vector cannot say. -------------------------------------------------------


def test_crlf_split_across_feeds_is_one_line_end(engine: Engine) -> None:
    decoder = SSEDecoder(_engine_module=engine)
    assert decoder.feed(b"data: a\r") == []
    assert decoder.feed(b"\ndata: b\n\n") == [ServerSentEvent(None, "a\nb", None, None)]


def test_crlf_split_by_an_empty_feed_is_one_line_end(engine: Engine) -> None:
    parts = [b"data: a\r", b"", b"", b"\ndata: b\n\n"]
    assert [event.data for event in decode(engine, parts).events] == ["a\nb"]


def test_event_that_ends_with_cr_does_not_wait_for_an_lf(engine: Engine) -> None:
    decoder = SSEDecoder(_engine_module=engine)
    assert [event.data for event in decoder.feed(b"data: a\r\r")] == ["a"]


def test_lf_after_the_cr_that_ended_an_event_begins_no_event(engine: Engine) -> None:
    decoder = SSEDecoder(flush_tail=True, _engine_module=engine)
    decoder.feed(b"data: a\r\n\r")
    assert decoder.feed(b"\n") == []
    assert decoder.close() == []


def test_bom_after_an_empty_feed_is_still_dropped(engine: Engine) -> None:
    parts = [b"", b"\xef\xbb\xbfdata: a\n\n"]
    assert [event.data for event in decode(engine, parts).events] == ["a"]


def test_bom_split_over_three_feeds_is_dropped(engine: Engine) -> None:
    parts = [b"\xef", b"\xbb", b"", b"\xbf", b"data: a\n\n"]
    assert [event.data for event in decode(engine, parts).events] == ["a"]


def test_crlf_split_in_a_dropped_comment_is_one_line_end(engine: Engine) -> None:
    parts = [b"data: a\n: comm", b"ent\r", b"\ndata: b\n\n"]
    assert [event.data for event in decode(engine, parts).events] == ["a\nb"]


def test_crlf_split_in_a_dropped_unknown_field_is_one_line_end(engine: Engine) -> None:
    parts = [b"data: a\nunknown fi", b"eld\r", b"\ndata: b\n\n"]
    assert [event.data for event in decode(engine, parts).events] == ["a\nb"]


def test_last_event_id_waits_for_the_end_of_its_block(engine: Engine) -> None:
    decoder = SSEDecoder(_engine_module=engine)
    decoder.feed(b"id: 1\ndata: a\n\nid: 2\ndata: b\n")
    assert decoder.last_event_id == "1"
    decoder.feed(b"\n")
    assert decoder.last_event_id == "2"


def test_last_event_id_is_empty_before_the_first(engine: Engine) -> None:
    assert SSEDecoder(_engine_module=engine).last_event_id == ""


def test_retry_is_none_before_the_first(engine: Engine) -> None:
    assert SSEDecoder(_engine_module=engine).retry is None


def test_retry_counts_as_soon_as_its_line_ends(engine: Engine) -> None:
    decoder = SSEDecoder(_engine_module=engine)
    decoder.feed(b"retry: 25")
    assert decoder.retry is None
    decoder.feed(b"\n")
    assert decoder.retry == "25"


def test_one_feed_gives_all_its_events_in_order(engine: Engine) -> None:
    raw = b"".join(b"data: %d\n\n" % n for n in range(5000))
    events = SSEDecoder(_engine_module=engine).feed(raw)
    assert [event.data for event in events] == [str(n) for n in range(5000)]


def test_event_is_a_named_tuple_of_event_data_id_and_retry(engine: Engine) -> None:
    (event,) = SSEDecoder(_engine_module=engine).feed(b"event: e\nid: 1\nretry: 2\ndata: a\n\n")
    assert event._asdict() == {"event": "e", "data": "a", "id": "1", "retry": "2"}


def test_second_close_gives_nothing(engine: Engine) -> None:
    decoder = SSEDecoder(flush_tail=True, _engine_module=engine)
    decoder.feed(b"data: a")
    assert len(decoder.close()) == 1
    assert decoder.close() == []


def test_feed_after_close_is_an_error(engine: Engine) -> None:
    decoder = SSEDecoder(_engine_module=engine)
    decoder.close()
    with pytest.raises(ValueError, match=r"^feed\(\) after close\(\)$"):
        decoder.feed(b"data: a\n\n")


def test_decoders_share_nothing(engine: Engine) -> None:
    one, other = SSEDecoder(_engine_module=engine), SSEDecoder(_engine_module=engine)
    one.feed(b"id: 1\ndata: a\n")
    assert other.feed(b"data: b\n\n") == [ServerSentEvent(None, "b", None, None)]
    assert other.last_event_id == ""


# Against a straightforward reading of the standard. ------------------------------


def by_the_book(raw: bytes) -> Decoded:
    """The standard's steps, in its order, on the whole input at once."""
    text = raw.decode("utf-8", "replace").removeprefix("\ufeff")
    events: list[ServerSentEvent] = []
    last_event_id = id_buffer = ""
    reconnection: str | None = None
    block: dict[str, Any] = {"event": None, "data": [], "id": None, "retry": None}
    # The last piece has no line end: the standard never processes it.
    for line in re.split(r"\r\n|\r|\n", text)[:-1]:
        if line == "":
            last_event_id = id_buffer
            if block["data"]:
                events.append(ServerSentEvent(**{**block, "data": "\n".join(block["data"])}))
            block = {"event": None, "data": [], "id": None, "retry": None}
            continue
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "event":
            block["event"] = value
        elif name == "data":
            block["data"].append(value)
        elif name == "id" and "\0" not in value:
            block["id"] = id_buffer = value
        elif name == "retry" and re.fullmatch(r"[0-9]+", value):
            block["retry"] = reconnection = value
    return Decoded(events, None, last_event_id, reconnection)


@by_rule
def test_reading_by_the_book_agrees_with_the_vectors(vector: Vector) -> None:
    result = by_the_book(raw_of(vector))
    assert result.events == events_of(vector, "events")
    assert (result.last_event_id, result.retry) == (vector["last_event_id"], vector["retry"])


# Random bytes almost never make a CRLF or a field name; these nearly always do.
PIECES = st.sampled_from(
    [b"\n", b"\r", b"\r\n", b"\n\n", b"\r\r", b"\r\n\r\n"] * 3
    + [
        b"data",
        b"data:",
        b"data: ",
        b"data:  a",
        b"data: a\n",
        b"event",
        b"event: e",
        b"id",
        b"id:",
    ]
    + [
        b"id: 1",
        b"id: 2\n",
        b"retry: 1",
        b"retry: x",
        b":",
        b": c",
        b"dat",
        b"datas: a",
        b"a",
        b" ",
    ]
    + [b"\xef\xbb\xbf", b"\xef", b"\xbb", b"\xbf", b"\xe2\x80\xa8", b"\xc2\x85", b"\x0b", b"\0"]
    + [b"\xe2\x82", b"\xff", b"\xf0\x9f\x8c\x8d", b"{", b"}", b"error: ", b"[DONE]"]
)
RAW = st.lists(PIECES, max_size=24).map(b"".join)


@pytest.mark.fuzz
@given(raw=RAW, seed=st.integers(0, 2**16))
@example(raw=b"\xef\xbb\xbfdata: a\r\r\n", seed=0)
def test_decoder_agrees_with_a_reading_by_the_book(engine: Engine, raw: bytes, seed: int) -> None:
    expected = by_the_book(raw)
    for parts in ([raw], one_byte(raw), random_cuts(raw, seed, 6)):
        assert decode(engine, parts) == expected


@pytest.mark.fuzz
@given(raw=RAW, seed=st.integers(0, 2**16))
def test_flushed_tail_does_not_depend_on_the_cuts(engine: Engine, raw: bytes, seed: int) -> None:
    expected = decode(engine, [raw], flush_tail=True)
    for parts in (one_byte(raw), random_cuts(raw, seed, 6)):
        assert decode(engine, parts, flush_tail=True) == expected


@pytest.mark.fuzz
@given(raw=st.binary(max_size=64))
def test_any_bytes_are_decoded_without_an_error(engine: Engine, raw: bytes) -> None:
    for parts in two_way(raw):
        assert decode(engine, parts) == by_the_book(raw)
