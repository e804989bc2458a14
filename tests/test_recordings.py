"""Streams as they were recorded from real providers, where the folder with them is present.

NOTE: the recordings belong to their publishers and are no part of this repository; the
vectors, which are, show the same shapes.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from streamnorm import normalize_response
from streamnorm._engine import Engine

from . import oracle
from .conftest import load_engine
from .helpers import ROOT, Run, one_byte, random_cuts, reads, run_chunks, run_sse

RECORDINGS = ROOT.parent / "shared" / "recordings"
INDEX: dict[str, dict[str, Any]] = {}
if RECORDINGS.is_dir():
    for _line in (RECORDINGS / "INDEX.jsonl").read_text("utf-8").splitlines():
        INDEX[json.loads(_line)["file"]] = json.loads(_line)
STREAMS = [name for name in INDEX if name.endswith((".sse", ".ndjson"))]
BODIES = [name for name in INDEX if name.endswith(".json")]
ONE_BYTE_LIMIT = 200_000
# The recording itself is damaged: a stray quote follows its last document.
DAMAGED = "chat-completions/cerebras__llama3.1-8b__1.sse"
# Bodies of other interfaces that end well all the same: Ollama's own says "done" at the end.
ENDS_OF_ITS_OWN = {
    "nonstream/ollama__ollama-cloud__gpt-oss-20b__1.json": None,
    "nonstream/ollama__ollama__qwen3-4b__3.json": None,
}
# It says only {"detail": ...}.
NO_ERROR_MEMBER = "errors/chatgpt__gpt-5.4__1.json"
SKIP: dict[str, Any] = {"on_malformed": "skip"}

streams = pytest.mark.parametrize("name", STREAMS)
bodies = pytest.mark.parametrize("name", BODIES)


def raw_of(name: str) -> bytes:
    return (RECORDINGS / name).read_bytes()


def readable(name: str) -> bytes:
    """A recording without the quote that damages it."""
    return raw_of(name).removesuffix(b'"') if name == DAMAGED else raw_of(name)


def cuts_of(name: str, raw: bytes) -> list[list[bytes]]:
    """The reads as they came, where they were recorded; random ones; the smallest."""
    found = [random_cuts(raw, seed, longest) for seed, longest in ((1, 40), (2, 300), (3, 3000))]
    sizes = RECORDINGS / f"{name}.chunks.json"
    if sizes.is_file():
        parts, at = [], 0
        for size in json.loads(sizes.read_text()):
            parts.append(raw[at : at + size])
            at += size
        assert b"".join(parts) == raw
        found.append(parts)
    found.append(one_byte(raw) if len(raw) < ONE_BYTE_LIMIT else reads(raw, 61))
    return found


def delivered(raw: bytes) -> list[Any]:
    """The documents that are chunks: an error alone becomes a fault and ends the stream."""
    found = []
    for document in oracle.documents(raw):
        if isinstance(document, dict):
            if document.get("error") and not document.get("choices"):
                break
            found.append(document)
    return found


def said(run: Run) -> tuple[Any, ...]:
    """What a run says, without what depends on the engine."""
    report = run.report.as_dict()
    report.pop("engine")
    report.pop("declined")
    return run.words, report


def test_recordings_are_the_ones_of_the_index(shared: Path) -> None:
    assert len(STREAMS) > 50
    assert len(BODIES) > 50
    assert all((shared / "recordings" / name).is_file() for name in INDEX)


@streams
def test_recording_gives_the_same_at_every_cut(engine: Engine, name: str) -> None:
    raw = raw_of(name)
    chunks, edited = run_chunks(engine, [raw], **SKIP), run_sse(engine, [raw], **SKIP)
    assert chunks.words == edited.words
    for parts in cuts_of(name, raw):
        run = run_chunks(engine, parts, **SKIP)
        assert (run.output, said(run)) == (chunks.output, said(chunks))
        run = run_sse(engine, parts, **SKIP)
        assert (run.output, said(run)) == (edited.output, said(edited))


@streams
@pytest.mark.parametrize("reasoning", ["reasoning_content", "reasoning", "both"])
@pytest.mark.parametrize("keep", [False, True], ids=["move", "keep"])
def test_engines_agree_about_recording(name: str, reasoning: str, keep: bool) -> None:
    rust, python = load_engine("rust"), load_engine("python")
    for run in (run_chunks, run_sse):
        ours, theirs = (
            run(engine, reads(raw_of(name), 1460), reasoning=reasoning, keep_original=keep)
            for engine in (rust, python)
        )
        assert said(ours) == said(theirs)
        if isinstance(ours.output, bytes):
            assert ours.output == theirs.output
        else:
            assert oracle.spelled(ours.output) == oracle.spelled(theirs.output)


@streams
@pytest.mark.parametrize("reasoning", ["reasoning_content", "reasoning", "both"])
def test_reading_the_edited_recording_gives_the_chunks(
    engine: Engine, name: str, reasoning: str
) -> None:
    raw = raw_of(name)
    made = delivered(run_sse(engine, [raw], reasoning=reasoning).output)
    chunks = run_chunks(engine, [raw], reasoning=reasoning).output
    assert oracle.spelled(made) == oracle.spelled(chunks)


@streams
def test_recording_has_no_alias_left(engine: Engine, name: str) -> None:
    run = run_chunks(engine, [raw_of(name)])
    assert run.report.conflicts == {}
    for document in run.output:
        for _, _, delta in oracle.deltas(document):
            assert not set(delta) & set(oracle.ALIASES), delta
            assert isinstance(delta.get(oracle.TARGET), str | None)


@streams
def test_nothing_but_the_reasoning_differs_from_the_recording(engine: Engine, name: str) -> None:
    raw = readable(name)
    documents = delivered(raw)
    bare = oracle.without_reasoning
    # Only where content may begin with a delimiter, or is a list, may it change.
    if not oracle.is_said_plainly(documents):
        bare = oracle.without_said
        off = run_chunks(engine, [raw], tags="off").output
        assert all(
            isinstance(d.get("content"), str | None) for doc in off for *_, d in oracle.deltas(doc)
        )
    made = [bare(chunk) for chunk in run_chunks(engine, [raw_of(name)]).output]
    assert oracle.spelled(made) == oracle.spelled([bare(document) for document in documents])


@streams
def test_document_without_an_alias_leaves_byte_for_byte(engine: Engine, name: str) -> None:
    raw = readable(name)
    plain = oracle.is_said_plainly(delivered(raw))
    options: dict[str, Any] = {} if plain else {"tags": "off"}
    made = oracle.texts(run_sse(engine, [raw_of(name)], **options).output)
    given = oracle.texts(raw)
    assert len(made) == len(given)
    sources = {*oracle.ALIASES, *oracle.NESTED_KEYS}
    for before, after in zip(given, made, strict=True):
        [document] = oracle.documents(before) or [None]
        if not any(
            sources & set(delta) or isinstance(delta.get("content"), list)
            for _, _, delta in oracle.deltas(document)
        ):
            assert after == before


@streams
def test_bytes_that_are_no_data_leave_as_recorded(engine: Engine, name: str) -> None:
    raw = raw_of(name)
    made = run_sse(engine, [raw]).output

    def around(text: bytes) -> list[bytes]:
        lines = text.splitlines(keepends=True)
        return [line for line in lines if not line.startswith((b"data:", b"{"))]

    assert around(made) == around(raw)


@streams
def test_joined_texts_are_what_a_straightforward_reading_gives(engine: Engine, name: str) -> None:
    raw = raw_of(name)
    documents = delivered(raw)
    chunks = run_chunks(engine, [raw]).output
    made = oracle.joined(chunks, "reasoning_content"), oracle.joined(chunks, "content")
    assert made == oracle.heard(documents)


@streams
def test_recording_with_a_good_end_has_no_fault(engine: Engine, name: str) -> None:
    entry = INDEX[name]
    run = run_chunks(engine, [raw_of(name)])
    if name == DAMAGED:
        # The finish_reason in front of the quote can be read.
        assert (run.fault, run.report.malformed) == (None, 1)
        assert run.report.repairs == {"glued_events": 1}
    elif entry.get("error_event"):
        assert run.words is not None
        assert run.words[0] == "error_event"
    elif entry.get("done") or entry.get("finish"):
        assert run.fault is None
        assert run.report.malformed == 0


# Bodies that were not streamed. -------------------------------------------------------


@bodies
def test_body_is_normalised_in_its_bytes(name: str) -> None:
    raw = raw_of(name)
    made = normalize_response(raw)
    given, edited = json.loads(raw), json.loads(made)
    if isinstance(given, dict):
        assert oracle.spelled(edited) == oracle.spelled(normalize_response(given))
    texts = oracle.joined([edited], "reasoning_content"), oracle.joined([edited], "content")
    assert texts == oracle.heard([given])
    plain = oracle.is_said_plainly([given])
    bare = oracle.without_reasoning if plain else oracle.without_said
    assert oracle.spelled(bare(edited)) == oracle.spelled(bare(given))
    for _, _, message in oracle.deltas(edited):
        assert not set(message) & set(oracle.ALIASES), message
    if plain and not any(
        {*oracle.ALIASES, *oracle.NESTED_KEYS} & set(message)
        for _, _, message in oracle.deltas(given)
    ):
        assert made == raw


@bodies
def test_body_in_place_of_a_stream_ends_as_its_own_words_say(engine: Engine, name: str) -> None:
    raw = raw_of(name)
    document = json.loads(raw)
    if document.get("error") or name == NO_ERROR_MEMBER:
        expected = "error_event"
    elif any(choice["finish_reason"] for choice in document.get("choices", ())):
        expected = None
    else:
        expected = ENDS_OF_ITS_OWN.get(name, "truncated")
    for run in (run_chunks(engine, [raw]), run_sse(engine, reads(raw, 61))):
        assert (None if run.fault is None else run.fault.kind) == expected
    assert name.startswith("errors/") == (expected == "error_event")
