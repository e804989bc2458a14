"""Bodies that can be no event stream: compressed bytes that nobody decoded, pages of HTML."""

from __future__ import annotations

import gzip
import zlib

import pytest

from streamnorm import ChunkNormalizer, SSENormalizer, StreamFault, faults
from streamnorm._engine import Engine

from .helpers import DONE, all_cuts, chunk, event, one_byte, run_both

BODY = (event(chunk({"content": "Hello"}, "stop")) + DONE) * 20
# Made without a library: the mark, then bytes that look like lines of an event stream.
ZSTD = b"\x28\xb5\x2f\xfd" + b": a\n\ndata: {}\n\n" * 20
COMPRESSED = {
    "gzip": (gzip.compress(BODY), 3),
    "zlib": (zlib.compress(BODY), 2),
    "zlib of the lowest level": (zlib.compress(BODY, 1), 2),
    "zlib of the highest level": (zlib.compress(BODY, 9), 2),
    "zstd": (ZSTD, 4),
}
HTML = b"<!DOCTYPE html>\n<html>" + b"<p>Bad Gateway</p>\n" * 20


def words(head: bytes) -> tuple[str, str]:
    """The fault that shows this head, whatever its words."""
    return "not_sse", str(faults.not_sse(head))


@pytest.mark.parametrize(("raw", "mark"), COMPRESSED.values(), ids=COMPRESSED)
def test_compressed_bytes_are_refused_by_their_mark(engine: Engine, raw: bytes, mark: int) -> None:
    for parts in all_cuts(raw[:60]):
        for run in run_both(engine, parts):
            assert (run.words, len(run.output)) == (words(raw[:mark]), 0), parts


@pytest.mark.parametrize(("raw", "mark"), COMPRESSED.values(), ids=COMPRESSED)
def test_compressed_bytes_are_refused_before_their_end(
    engine: Engine, raw: bytes, mark: int
) -> None:
    for make in (ChunkNormalizer, SSENormalizer):
        normalizer = make(_engine_module=engine)
        for part in one_byte(raw[: mark - 1]):
            assert not normalizer.feed(part)
            assert normalizer.fault is None
        with pytest.raises(StreamFault, match=r"^the body is not an event stream"):
            normalizer.feed(raw[mark - 1 : mark])


@pytest.mark.parametrize("start", [b"x", b"(", b"\x1f", b"x: a\n\n", b"(\xb5: a\n\n"])
def test_event_stream_may_begin_like_a_mark(engine: Engine, start: bytes) -> None:
    raw = start + b"\n" + BODY
    for parts in all_cuts(raw[:120]):
        chunks, edited = run_both(engine, parts)
        assert (chunks.words, len(chunks.output)) == (None, 1), parts
        assert edited.output == raw[:120], parts


@pytest.mark.parametrize("start", [b"x", b"(\xb5", b"\x1f\x8b", b"\x28\xb5\x2f"])
def test_half_a_mark_is_no_event_stream_either(engine: Engine, start: bytes) -> None:
    for run in run_both(engine, one_byte(start)):
        assert run.words == words(start)


@pytest.mark.parametrize("blank", [b"", b"\n", b" \r\n\t", b"\xef\xbb\xbf"])
def test_html_is_held_out_of_the_output_once_its_head_is_there(
    engine: Engine, blank: bytes
) -> None:
    raw = blank + HTML
    shown = blank if blank.endswith(b"\n") else blank[: blank.rfind(b"\n") + 1]
    for parts in all_cuts(raw[:260]):
        for run in run_both(engine, parts):
            assert run.words == words(raw[:200]), parts
            assert run.output in ([], shown), parts


def test_html_needs_its_head_or_the_end(engine: Engine) -> None:
    normalizer = SSENormalizer(_engine_module=engine)
    assert normalizer.feed(HTML[:199]) == b""
    assert normalizer.fault is None
    with pytest.raises(StreamFault):
        normalizer.feed(HTML[199:200])


def test_html_behind_a_comment_is_an_unknown_line(engine: Engine) -> None:
    raw = b": ping\n<html>\n\n" + BODY
    for run in run_both(engine, [raw]):
        assert run.words is None


@pytest.mark.parametrize(
    "raw",
    [b"{\x00\x81\x9e\xff\n", b"[\x0e\xfe\n", b":\x0f\x9b\xff\n", b"{\x02}\n\n", b"\n\x07\x80"],
)
def test_bytes_without_a_mark_that_are_no_text(engine: Engine, raw: bytes) -> None:
    for on_malformed in ("raise", "skip"):
        for parts in all_cuts(raw):
            for run in run_both(engine, parts, on_malformed=on_malformed):
                # Where a line is the matter, it is shown without its end.
                assert run.words in (words(raw), words(raw.rstrip(b"\n"))), parts


def test_broken_text_in_a_field_is_no_reason(engine: Engine) -> None:
    chunks, edited = run_both(engine, [b"data: \xff\x00\n\n" + BODY])
    assert chunks.words is not None
    assert (chunks.words[0], edited.words) == ("corrupt", None)
