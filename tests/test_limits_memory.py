"""Large and endless input: what it takes of memory, and how soon a limit stops it."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
import tracemalloc
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from streamnorm import SSEDecoder, StreamFault
from streamnorm._engine import Engine

from .helpers import (
    DONE,
    ROOT,
    chunk,
    data_line,
    decode,
    event,
    event_words,
    line_words,
    reads,
    run_both,
)

KIB = 1024
MIB = 1024 * KIB


def feed_until_fault(
    decoder: SSEDecoder, pieces: Iterable[bytes]
) -> tuple[int, StreamFault | None]:
    """Feed *pieces*, none of which completes an event; how many bytes until which fault."""
    fed = 0
    for piece in pieces:
        fed += len(piece)
        try:
            assert decoder.feed(piece) == []
        except StreamFault as fault:
            return fed, fault
    return fed, None


@pytest.mark.parametrize("field", [b"data: ", b"id: ", b"event: ", b"retry: "], ids=repr)
@pytest.mark.parametrize("read", [1, 7, 100])
def test_endless_line_is_a_fault_at_most_one_read_after_the_limit(
    engine: Engine, field: bytes, read: int
) -> None:
    decoder = SSEDecoder(max_line_bytes=1000, _engine_module=engine)
    endless = itertools.chain([field], itertools.repeat(b"1" * read, 2000))
    fed, fault = feed_until_fault(decoder, endless)
    assert fault is not None
    assert (fault.kind, str(fault)) == line_words(1000)
    assert fed <= 1000 + read


def test_endless_data_lines_are_a_fault_at_most_one_read_after_the_limit(engine: Engine) -> None:
    decoder = SSEDecoder(max_event_bytes=1000, _engine_module=engine)
    line = data_line(50) + b"\n"
    fed, fault = feed_until_fault(decoder, itertools.repeat(line, 2000))
    assert fault is not None
    assert (fault.kind, str(fault)) == event_words(1000)
    # Line ends are bytes of the input that do not count.
    assert fed <= 1000 + 1000 // 50 + len(line)


# Memory. -------------------------------------------------------------------------

# In a process of its own whose address space may grow by 96 MiB: whoever holds the 256 MiB
# that it is fed does not get to the end. It needs no measuring, and serves both engines.
_HUNGRY = """
import itertools, resource, sys
from streamnorm import ChunkNormalizer, SSEDecoder, SSENormalizer
from streamnorm._engine import choose
machine, engine, start, piece = sys.argv[1], choose(sys.argv[2]), sys.argv[3], sys.argv[4]
target = {"decoder": SSEDecoder, "chunks": ChunkNormalizer, "sse": SSENormalizer}[machine]
target = target(_engine_module=engine)
data = (piece.encode().decode("unicode_escape").encode() * 65536)[:65536]
data = data[: len(data) - len(data) % len(piece.encode().decode("unicode_escape"))]
with open("/proc/self/statm") as statm:
    used = int(statm.read().split()[0]) * resource.getpagesize()
limit = used + 96 * 1024 * 1024
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
target.feed(start.encode())
for _ in itertools.repeat(None, 4096):
    # A new object each time: one object held many times would take no memory.
    target.feed(b"".join((data[:1], data[1:])))
print("well")
"""
ENDLESS = {
    "comment": (": ", "c"),
    "unknown field": ("zzz: ", "z"),
    "unknown line": ("zzz", "z"),
    "comment lines": ("", ": " + "c" * 1021 + "\\n"),
    "comment lines inside of an event": ("data: a\n", ": " + "c" * 1021 + "\\n"),
    "unknown lines": ("", "zzz: " + "c" * 1018 + "\\n"),
    "blank lines": ("", "\\r\\n" * 4 + "x" * 1000 + "\\r\\n"),
}


def _feed_endlessly(machine: str, engine: Engine, start: str, piece: str) -> None:
    command = [sys.executable, "-c", _HUNGRY, machine, engine.NAME, start, piece]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr, done.returncode) == ("well\n", "", 0)


on_linux = pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="only Linux honours a limit of address space"
)


@on_linux
@pytest.mark.parametrize("kind", ENDLESS, ids=[kind.replace(" ", "-") for kind in ENDLESS])
@pytest.mark.parametrize("machine", ["decoder", "chunks"])
def test_endless_dropped_input_takes_no_memory(engine: Engine, machine: str, kind: str) -> None:
    _feed_endlessly(machine, engine, *ENDLESS[kind])


@on_linux
@pytest.mark.parametrize("kind", ["comment", "unknown field", "comment lines", "blank lines"])
def test_endless_passed_input_takes_no_memory(engine: Engine, kind: str) -> None:
    _feed_endlessly("sse", engine, *ENDLESS[kind])


@on_linux
def test_the_memory_test_notices_what_is_held(engine: Engine) -> None:
    # Reads of a line without a limit are held, so this one must fail.
    unlimited = "(max_line_bytes=None, max_event_bytes=None, _engine_module"
    command = _HUNGRY.replace("(_engine_module", unlimited)
    arguments = [sys.executable, "-c", command, "decoder", engine.NAME, "data: ", "x"]
    done = subprocess.run(arguments, capture_output=True, text=True, check=False)
    assert done.returncode != 0


def test_event_in_small_reads_takes_a_few_times_its_size() -> None:
    # Only the memory of the pure engine can be traced.
    from streamnorm.pure import engine as pure

    raw = data_line(4 * MIB) + b"\n\n"
    parts = reads(raw, KIB)
    tracemalloc.start()
    try:
        result = decode(pure, parts)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert [len(e.data) for e in result.events] == [4 * MIB - 6]
    assert peak < 6 * len(raw)


def test_large_chunk_in_small_reads_arrives_whole(engine: Engine) -> None:
    data = chunk({"reasoning": "r" * (4 * MIB)}, "stop")
    for run in run_both(engine, reads(event(data) + DONE, KIB)):
        assert run.words is None
        assert b"r" * (4 * MIB) in (
            run.output if isinstance(run.output, bytes) else json.dumps(run.output).encode()
        )


def test_event_of_many_lines_arrives_whole(engine: Engine) -> None:
    raw = b"data:x\n" * 100_000 + b"\n"
    for size in (len(raw), KIB):
        (only,) = decode(engine, reads(raw, size)).events
        assert only.data == "\n".join("x" * 100_000)


# The shared recipes. -------------------------------------------------------------

_FILE = ROOT.parent / "shared" / "sse-conformance" / "limits.jsonl"
_ROWS: list[dict[str, Any]] = (
    [json.loads(line) for line in _FILE.read_text("utf-8").splitlines()] if _FILE.is_file() else []
)


def _recipes(start: str) -> list[Any]:
    rows = [row for row in _ROWS if row["name"].startswith(start)]
    return [pytest.param(row["recipe"], id=row["name"]) for row in rows] or [
        pytest.param([], id="none")
    ]


def cooked(recipe: list[list[Any]]) -> Iterator[bytes]:
    """The bytes of a recipe, piece by piece; without an end where it has none."""
    for kind, text, *times in recipe:
        if kind == "repeat-forever":
            piece = text.encode()
            piece *= max(1, 4096 // len(piece))
            yield from itertools.repeat(piece)
        else:
            yield text.encode() * (times[0] if times else 1)


@pytest.mark.parametrize("recipe", _recipes("limit-line-"))
def test_shared_long_line_is_delivered_or_a_fault(
    shared: Path, engine: Engine, recipe: list[list[Any]]
) -> None:
    raw = b"".join(cooked(recipe))
    length = recipe[1][2]
    limits = {"max_line_bytes": length + 6, "max_event_bytes": None}
    for size in (len(raw), KIB):
        result = decode(engine, reads(raw, size), **limits)
        assert [(len(e.data), e.data[:5]) for e in result.events] == [
            (length, "xxxxx"),
            (5, "after"),
        ]
    limits = {"max_line_bytes": length + 5, "max_event_bytes": None}
    for size in (len(raw), KIB):
        result = decode(engine, reads(raw, size), **limits)
        assert (result.events, result.words) == ([], line_words(length + 5))


@pytest.mark.parametrize("recipe", _recipes("endless-"))
def test_shared_endless_input_is_a_fault_in_time_or_free(
    shared: Path, engine: Engine, recipe: list[list[Any]], request: pytest.FixtureRequest
) -> None:
    limit = 64 * KIB
    decoder = SSEDecoder(max_line_bytes=limit, max_event_bytes=limit, _engine_module=engine)
    is_free = any(word in request.node.name for word in ("comment", "unknown"))
    fed, fault = feed_until_fault(decoder, itertools.islice(cooked(recipe), 1000))
    assert (fault is None) == is_free
    # Line ends are bytes of the input that do not count.
    assert is_free or fed <= limit + limit // 16 + 4096


@pytest.mark.parametrize("recipe", _recipes("limit-data-lines-100k"))
def test_shared_event_of_many_lines_is_one_event(
    shared: Path, engine: Engine, recipe: list[list[Any]]
) -> None:
    raw = b"".join(cooked(recipe))
    (only,) = decode(engine, reads(raw, 64 * KIB)).events
    assert only.data == "\n".join("x" * recipe[0][2])


@pytest.mark.parametrize("recipe", _recipes("limit-small-events"))
def test_shared_many_events_of_one_read_come_in_order(
    shared: Path, engine: Engine, recipe: list[list[Any]]
) -> None:
    result = decode(engine, [b"".join(cooked(recipe))])
    assert len(result.events) == recipe[0][2]
    assert {e.data for e in result.events} == {recipe[0][1][6:-2]}


@pytest.mark.parametrize("recipe", _recipes("limit-after-good-events"))
def test_shared_good_events_come_before_the_fault(
    shared: Path, engine: Engine, recipe: list[list[Any]]
) -> None:
    raw = b"".join(cooked(recipe))
    for size in (len(raw), KIB):
        result = decode(engine, reads(raw, size), max_line_bytes=MIB)
        assert [e.data for e in result.events] == ["ok"] * 1000
        assert (result.words, result.last_event_id) == (line_words(MIB), "")


@pytest.mark.parametrize("recipe", _recipes("limit-recovery"))
def test_shared_fault_leaves_the_last_event_id(
    shared: Path, engine: Engine, recipe: list[list[Any]]
) -> None:
    raw = b"".join(cooked(recipe))
    for size in (len(raw), KIB):
        result = decode(engine, reads(raw, size), max_line_bytes=MIB)
        assert [(e.data, e.id) for e in result.events] == [("a", "1")]
        assert (result.words, result.last_event_id) == (line_words(MIB), "1")
