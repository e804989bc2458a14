"""How a stream ends: which fault, with which words, after which output."""

from __future__ import annotations

import json
import re
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamnorm import ChunkNormalizer, SSENormalizer, StreamFault
from streamnorm._engine import Engine

from .helpers import (
    DONE,
    all_cuts,
    chunk,
    event,
    one_byte,
    random_cuts,
    run_both,
    run_chunks,
    run_sse,
    stream,
)

HELLO = event(chunk({"content": "Hello"}))
END = event(chunk({}, "stop"))
TRUNCATED = ("truncated", "the stream ended early: neither [DONE] nor a finish_reason was seen")
NO_EVENT = ("empty", "the stream was empty: no event with data")
ONLY_DONE = ("empty", "the stream was empty: only [DONE]")
both_outputs = pytest.mark.parametrize("machine", [ChunkNormalizer, SSENormalizer])


def error_words(message: str, means: str = "") -> tuple[str, str]:
    return "error_event", f"the upstream sent an error: {message}{means}"


BROKEN = " (category server_error, blame provider)"
QUOTA = error_words("429: quota", " (category rate_limit, blame credential)")


class Ending(NamedTuple):
    """An input and how it ends, for both outputs and every cutting."""

    rule: str
    raw: bytes
    words: tuple[str, str] | None


ERROR = b'{"error":{"message":"quota","code":429}}'
PRETTY = b'{\n  "error": {\n    "message": "quota",\n    "code": 429\n  }\n}\n'
HTML = b"<!DOCTYPE html>\r\n<html>\r\n<title>502 Bad Gateway</title>\r\n</html>\r\n"
TITLE = "502 Bad Gateway"
ENDINGS = [
    Ending("finish_reason and done is well", stream({"content": "a"}), None),
    Ending("finish_reason without done is well", stream({"content": "a"}, done=False), None),
    Ending("done without finish_reason is well", stream({"content": "a"}, finish=None), None),
    Ending("finish_reason before the usage is well", HELLO + END + event(b'{"choices":[]}'), None),
    Ending(
        "finish_reason of any choice is well",
        event(b'{"choices":[{"index":1,"finish_reason":"length"}]}'),
        None,
    ),
    Ending("done without its blank line is well", HELLO + b"data: [DONE]\n", None),
    Ending("done without its line end is well", HELLO + b"data: [DONE]", None),
    Ending("done without a space is well", HELLO + b"data:[DONE]\n\n", None),
    Ending("done between spaces is well", HELLO + b"data:   [DONE]  \n\n", None),
    Ending("done with more after it is well", HELLO + b"data: [DONE]x\n\n", None),
    Ending("several done are well", HELLO + DONE + DONE + DONE, None),
    Ending("ndjson that finishes is well", chunk({"content": "a"}, "stop") + b"\n", None),
    Ending("last event without its blank line counts", HELLO + END[:-2], None),
    Ending("nothing is empty", b"", NO_EVENT),
    Ending("blank lines are empty", b"\n\r\n\r\r\n", NO_EVENT),
    Ending("comments are empty", b": ping ping ping\n\n: ping\r\n\r\n", NO_EVENT),
    Ending("unfinished comment is empty", b": ping ping ping", NO_EVENT),
    Ending("bom is empty", b"\xef\xbb\xbf", NO_EVENT),
    Ending("control lines are empty", b"event: ping\nid: 1\nretry: 5\n\n", NO_EVENT),
    Ending("empty data is empty", b"data:\n\ndata: \n\n", NO_EVENT),
    Ending("error name without data is empty", b"event: error\ndata:\n\n", NO_EVENT),
    Ending("done alone is empty", DONE, ONLY_DONE),
    Ending("comments and done are empty", b": ping\n\n" + DONE, ONLY_DONE),
    Ending("what follows done does not change that it is empty", DONE + b"xxxxxxx\n", ONLY_DONE),
    Ending("neither mark is truncated", HELLO, TRUNCATED),
    Ending("null finish_reason is truncated", event(chunk({"content": "a"}, None)), TRUNCATED),
    Ending("empty finish_reason is truncated", event(chunk({"content": "a"}, "")), TRUNCATED),
    Ending("finish_reason of the string null is truncated", event(chunk({}, "null")), TRUNCATED),
    Ending("done in a text is truncated", event(chunk({"content": "[DONE]"})), TRUNCATED),
    Ending("done in a comment is truncated", HELLO + b": [DONE]\n\n", TRUNCATED),
    Ending("done in another field is truncated", HELLO + b"event: [DONE]\n\n", TRUNCATED),
    Ending("ndjson without a mark is truncated", chunk({"content": "a"}) + b"\n", TRUNCATED),
    Ending("error object", event(ERROR), QUOTA),
    Ending("error object after chunks", HELLO + event(ERROR), QUOTA),
    Ending("error object after finish_reason", HELLO + END + event(ERROR), QUOTA),
    Ending(
        "error object without a message",
        event(b'{"error":{"code":500}}'),
        error_words("500", BROKEN),
    ),
    Ending(
        "error that is a string",
        event(b'{"error":"overloaded"}'),
        error_words("overloaded", BROKEN),
    ),
    Ending(
        "error with a message beside it", event(b'{"error":true,"message":"m"}'), error_words("m")
    ),
    Ending("error with a detail", event(b'{"error":{"detail":"d"}}'), error_words("d")),
    Ending(
        "error beside choices",
        event(chunk({"content": "a"}, error={"message": "m"})),
        error_words("m"),
    ),
    Ending(
        "error over several lines", b'data: {"error":\ndata: {"message":"m"}}\n\n', error_words("m")
    ),
    Ending("event of the name error", b'event: error\ndata: {"message":"m"}\n\n', error_words("m")),
    Ending(
        "event of the name error after its data",
        b'data: {"message":"m"}\nevent: error\n\n',
        error_words("m"),
    ),
    Ending(
        "event of the name error with text",
        b"event: error\ndata: out of memory\n\n",
        error_words("out of memory", BROKEN),
    ),
    Ending(
        "event of the name error with lines",
        b"event: error\ndata: a\ndata: b\n\n",
        error_words("a b"),
    ),
    Ending("bare error line", b'error: {"message":"m"}\n\n', error_words("m")),
    Ending("bare error line after chunks", HELLO + b'error: {"message":"m"}\n\n', error_words("m")),
    Ending(
        "bare error line with a whole body", b'error: {"error":{"message":"m"}}\n', error_words("m")
    ),
    Ending(
        "bare error line with text",
        b"error: out of memory\n\n",
        error_words("out of memory", BROKEN),
    ),
    Ending("raw body of one line", ERROR + b"\n", QUOTA),
    Ending("raw body without a line end", ERROR, QUOTA),
    Ending("raw body over several lines", PRETTY, QUOTA),
    Ending("raw body with crlf", PRETTY.replace(b"\n", b"\r\n"), QUOTA),
    Ending("raw body after a bom", b"\xef\xbb\xbf" + ERROR, QUOTA),
    Ending("raw body over several lines after a bom", b"\xef\xbb\xbf" + PRETTY, QUOTA),
    Ending("raw body after blank lines", b"\r\n\n  " + ERROR, QUOTA),
    Ending("raw body after chunks", HELLO + ERROR + b"\n", QUOTA),
    Ending("raw body over several lines after chunks", HELLO + PRETTY, QUOTA),
    Ending("list of one error", b"[" + ERROR + b"]\n", QUOTA),
    Ending("list of one error over several lines", b"[" + PRETTY + b"]\n", QUOTA),
    Ending("list of one error as an event", event(b"[" + ERROR + b"]"), QUOTA),
    Ending("error in ndjson", chunk({"content": "a"}) + b"\n" + ERROR + b"\n", QUOTA),
    Ending(
        "html",
        HTML,
        (
            "not_sse",
            f"the body is not an event stream but an HTML page {TITLE!r}; it begins with {HTML!r}",
        ),
    ),
    Ending(
        "text",
        b"upstream connect error",
        ("not_sse", "the body is not an event stream; it begins with b'upstream connect error'"),
    ),
    Ending(
        "long text",
        b"x" * 300,
        ("not_sse", f"the body is not an event stream; it begins with {b'x' * 200!r}"),
    ),
]
each_ending = pytest.mark.parametrize(
    "ending", ENDINGS, ids=[ending.rule.replace(" ", "-") for ending in ENDINGS]
)


@each_ending
def test_ending_is_the_same_for_both_outputs_and_every_cut(engine: Engine, ending: Ending) -> None:
    for parts in all_cuts(ending.raw):
        for run in run_both(engine, parts):
            assert run.words == ending.words, parts


@each_ending
def test_output_before_the_end_does_not_depend_on_the_cuts(engine: Engine, ending: Ending) -> None:
    whole = run_both(engine, [ending.raw])
    for parts in all_cuts(ending.raw):
        for run, expected in zip(run_both(engine, parts), whole, strict=True):
            assert run.output == expected.output, parts


@each_ending
def test_bytes_that_need_no_edit_pass_verbatim_whatever_the_end(
    engine: Engine, ending: Ending
) -> None:
    # But for a page of HTML: none of it is for a client.
    expected = b"" if ending.raw == HTML else ending.raw
    assert run_sse(engine, [ending.raw]).output == expected


@pytest.mark.parametrize("end", [b"\n", b"\r", b"\r\n"], ids=["lf", "cr", "crlf"])
@pytest.mark.parametrize(
    "after", [b"", b"data: x", b": x", b"\n"], ids=["end", "event", "comment", "blank"]
)
def test_error_event_passes_with_its_whole_line_end_and_nothing_after_it(
    engine: Engine, end: bytes, after: bytes
) -> None:
    broken = b"data: " + ERROR + end + end
    # An LF right after a CR is still the same line end.
    whole = broken + b"\n" if (end, after) == (b"\r", b"\n") else broken
    for parts in all_cuts(broken + after + end):
        assert run_sse(engine, parts).output == whole, parts


# Malformed events. ---------------------------------------------------------------

MALFORMED = {
    "text": b"oops",
    "cut object": b'{"choices":[{"delta":{"content":"a',
    "two objects": b"{}{}",
    "string": b'"a"',
    "number": b"1",
    "null": b"null",
    "list": b"[]",
    "list of chunks": b'[{"choices":[]}]',
    "not utf-8": b"\xff\xfe",
    "nested too deeply": b'{"a":' * 300 + b"1" + b"}" * 300,
    "integer of too many digits": b'{"a":' + b"1" * 5000 + b"}",
    "long text": b"x" * 199 + b"'\xff" + b"y" * 300,
}
each_malformed = pytest.mark.parametrize(
    "data", MALFORMED.values(), ids=[name.replace(" ", "-") for name in MALFORMED]
)


@each_malformed
def test_malformed_event_is_corrupt_with_its_first_200_bytes(engine: Engine, data: bytes) -> None:
    run = run_chunks(engine, [HELLO + event(data) + DONE])
    assert run.words == ("corrupt", f"event data is not a JSON object: {data[:200]!r}")


@each_malformed
def test_chunks_before_a_malformed_event_are_delivered(engine: Engine, data: bytes) -> None:
    for parts in ([HELLO + event(data) + HELLO], one_byte(HELLO + event(data) + HELLO)):
        assert [c["choices"] for c in run_chunks(engine, parts).output] == [
            json.loads(HELLO[6:])["choices"]
        ]


@each_malformed
def test_skipped_malformed_event_is_counted(engine: Engine, data: bytes) -> None:
    raw = event(data) + HELLO + event(data) + END + DONE
    for parts in ([raw], one_byte(raw)):
        run = run_chunks(engine, parts, on_malformed="skip")
        assert (run.words, len(run.output), run.report.malformed) == (None, 2, 2)


@each_malformed
@pytest.mark.parametrize("on_malformed", ["raise", "skip"])
def test_malformed_event_passes_verbatim_in_bytes(
    engine: Engine, data: bytes, on_malformed: str
) -> None:
    raw = HELLO + event(data, b"\r\n") + END + DONE
    for parts in ([raw], one_byte(raw)):
        run = run_sse(engine, parts, on_malformed=on_malformed)
        assert (run.output, run.words, run.report.malformed) == (raw, None, 1)


def test_well_formed_stream_has_nothing_malformed(engine: Engine) -> None:
    assert [run.report.malformed for run in run_both(engine, [HELLO + END])] == [0, 0]


def test_malformed_line_of_ndjson_is_corrupt(engine: Engine) -> None:
    raw = chunk({"content": "a"}) + b'\n{"choices":\n' + chunk({"content": "b"}) + b"\n"
    for parts in all_cuts(raw):
        run = run_chunks(engine, parts)
        assert run.words == ("corrupt", "event data is not a JSON object: b'{\"choices\":'"), parts
        assert len(run.output) == 1, parts


def test_nesting_up_to_the_limit_is_no_fault(engine: Engine) -> None:
    data = b'{"choices":[],"a":' + b"[" * 255 + b"]" * 255 + b"}"
    for run in run_both(engine, [event(data) + DONE]):
        assert run.words is None
    assert run_chunks(engine, [event(data[:-256] + b"[" + data[-256:-1] + b"]}") + DONE]).words


# After the end. ------------------------------------------------------------------

AFTER = {
    "events": HELLO,
    "malformed events": b"data: oops\n\n",
    "an error": event(ERROR),
    "reasoning": event(chunk({"reasoning": "r"})),
    "another done": DONE,
    "text": b"anything at all",
    "half a line": b"data: {",
    "bytes that are not utf-8": b"\xff\r\r\n\xfe",
    "crlf": b"\r\n",
}
each_after = pytest.mark.parametrize(
    "after", AFTER.values(), ids=[n.replace(" ", "-") for n in AFTER]
)


@each_after
def test_what_follows_done_passes_verbatim_in_bytes(engine: Engine, after: bytes) -> None:
    raw = HELLO + b"data: [DONE]\r\n\r\n" + after
    for parts in all_cuts(raw):
        run = run_sse(engine, parts)
        assert (run.output, run.words) == (raw, None), parts


@each_after
def test_what_follows_done_gives_no_chunks(engine: Engine, after: bytes) -> None:
    raw = HELLO + DONE + after
    for parts in all_cuts(raw):
        run = run_chunks(engine, parts)
        assert (len(run.output), run.words) == (1, None), parts


def test_done_in_the_last_line_of_an_event_ends_the_stream(engine: Engine) -> None:
    raw = b"data: " + chunk({"content": "a"}) + b"\ndata: [DONE]\n\n" + HELLO
    for parts in all_cuts(raw):
        run = run_chunks(engine, parts)
        assert (len(run.output), run.words) == (1, None), parts


@both_outputs
def test_feed_after_close_is_an_error(engine: Engine, machine: Any) -> None:
    normalizer = machine(_engine_module=engine)
    normalizer.feed(HELLO + DONE)
    normalizer.close()
    with pytest.raises(ValueError, match=r"^feed\(\) after close\(\)$"):
        normalizer.feed(HELLO)


def test_second_close_of_a_well_ended_stream_gives_nothing(engine: Engine) -> None:
    chunks, edited = ChunkNormalizer(_engine_module=engine), SSENormalizer(_engine_module=engine)
    for normalizer in (chunks, edited):
        normalizer.feed(HELLO + END)
        normalizer.close()
    assert chunks.close() == []
    assert edited.close() == b""


@both_outputs
def test_close_before_any_feed_is_an_empty_stream(engine: Engine, machine: Any) -> None:
    with pytest.raises(StreamFault) as caught:
        machine(_engine_module=engine).close()
    assert (caught.value.kind, str(caught.value)) == NO_EVENT


@both_outputs
def test_fault_found_with_output_is_raised_by_the_next_call(engine: Engine, machine: Any) -> None:
    normalizer = machine(_engine_module=engine)
    assert normalizer.fault is None
    assert normalizer.feed(HELLO + event(ERROR))
    assert normalizer.fault is not None
    with pytest.raises(StreamFault) as caught:
        normalizer.feed(b"")
    assert caught.value is normalizer.fault


def test_fault_found_without_output_is_raised_at_once(engine: Engine) -> None:
    with pytest.raises(StreamFault, match=f"^{re.escape(QUOTA[1])}$"):
        ChunkNormalizer(_engine_module=engine).feed(event(ERROR))


def test_fault_found_by_close_with_output_is_raised_by_the_next_close(engine: Engine) -> None:
    normalizer = ChunkNormalizer(_engine_module=engine)
    normalizer.feed(HELLO[:-1])
    assert len(normalizer.close()) == 1
    assert normalizer.fault is not None
    with pytest.raises(StreamFault, match=r"^the stream ended early"):
        normalizer.close()


@both_outputs
def test_every_call_after_a_fault_raises_it_again(engine: Engine, machine: Any) -> None:
    normalizer = machine(_engine_module=engine)
    normalizer.feed(HELLO + event(ERROR))
    for call in (lambda: normalizer.feed(HELLO), normalizer.close, lambda: normalizer.feed(DONE)):
        with pytest.raises(StreamFault) as caught:
            call()
        assert (caught.value.kind, str(caught.value)) == QUOTA


def test_nothing_after_a_fault_in_the_same_feed_comes_out(engine: Engine) -> None:
    assert len(run_chunks(engine, [HELLO + event(ERROR) + HELLO + DONE]).output) == 1
    assert run_sse(engine, [HELLO + event(ERROR) + HELLO]).output == HELLO + event(ERROR)


def test_normalisers_share_nothing(engine: Engine) -> None:
    one, other = ChunkNormalizer(_engine_module=engine), ChunkNormalizer(_engine_module=engine)
    one.feed(HELLO + event(ERROR))
    assert other.fault is None
    assert len(other.feed(HELLO)) == 1


# Any cutting. --------------------------------------------------------------------

PIECES = st.sampled_from(
    [b"\n", b"\r\n", b"\n\n", b"\r\n\r\n", b"\r"] * 2
    + [HELLO, END, DONE, event(ERROR), ERROR, PRETTY, HTML, b"[", b"]", b"{", b"}", b": ping\n\n"]
    + [b"data: ", b"data:", b"event: error\n", b"error: ", b"oops", b"\xef\xbb\xbf", b" ", b"\xff"]
    + [event(chunk({"reasoning": "r", "content": "c"}), b"\r\n"), chunk({"thinking": "t"}), b'"']
)
RAW = st.lists(PIECES, max_size=8).map(b"".join)


@pytest.mark.fuzz
@given(raw=RAW, seed=st.integers(0, 2**16), on_malformed=st.sampled_from(["raise", "skip"]))
def test_output_and_fault_do_not_depend_on_the_cuts(
    engine: Engine, raw: bytes, seed: int, on_malformed: str
) -> None:
    whole = run_both(engine, [raw], on_malformed=on_malformed)
    for parts in (one_byte(raw), random_cuts(raw, seed, 30)):
        for cut, expected in zip(
            run_both(engine, parts, on_malformed=on_malformed), whole, strict=True
        ):
            assert cut.words == expected.words
            assert cut.output == expected.output
            assert cut.report == expected.report


@pytest.mark.fuzz
@given(raw=st.one_of(RAW, st.binary(max_size=80)))
def test_any_bytes_end_well_or_with_a_fault_of_the_same_kind_for_both_outputs(
    engine: Engine, raw: bytes
) -> None:
    # Only chunks can be corrupt, so what is malformed is left out of the comparison.
    chunks, edited = run_both(engine, [raw], on_malformed="skip")
    if chunks.report.malformed and not chunks.report.events:
        # Nothing came out as a chunk, while the bytes have been passed on.
        assert chunks.words is not None
        return
    assert chunks.words == edited.words


@pytest.mark.parametrize("end", [b"", b"data: [DONE]\n\n"])
def test_nothing_but_skipped_events_is_an_empty_stream(engine: Engine, end: bytes) -> None:
    run = run_chunks(engine, [b"data: {bad\n\ndata: 1\n\n" + end], on_malformed="skip")
    assert run.output == []
    assert run.words == (
        "empty",
        "the stream was empty: nothing but malformed events, 2 of which were skipped",
    )
