"""The vectors: for each row of the dialect table, and for each rule, bytes in and what comes out.

A vector is one JSON file: `input` and `output` (texts, joined), `chunks`, `report` (what is
left out is zero), and who sends such a stream, by which evidence. Its texts are our own.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from streamnorm import normalize_response
from streamnorm._engine import Engine
from streamnorm.dialects import DIALECTS

from . import oracle
from .helpers import Run, one_byte, run_chunks, run_sse, two_way

Vector = dict[str, Any]

FOLDER = Path(__file__).parent / "vectors"
PATHS = sorted(FOLDER.glob("*/*.json"))
VECTORS: dict[str, Vector] = {
    f"{path.parent.name}/{path.stem}": json.loads(path.read_text("utf-8")) for path in PATHS
}
STREAMS = {name: v for name, v in VECTORS.items() if v.get("kind", "stream") != "response"}
BODIES = {name: v for name, v in VECTORS.items() if v.get("kind") == "response"}
KEYS = {
    "name", "provider", "evidence", "kind", "options", "input", "chunks", "output", "report",
    "fault",
}  # fmt: skip
COUNTS = ("remaps", "removed", "mirrored", "repeated", "conflicts")

streams = pytest.mark.parametrize("vector", STREAMS.values(), ids=STREAMS)
bodies = pytest.mark.parametrize("vector", BODIES.values(), ids=BODIES)
rows = pytest.mark.parametrize("row", DIALECTS, ids=[row.name for row in DIALECTS])


def folder_of(row_name: str) -> str:
    """The name of a table row as the name of a folder."""
    return re.sub(r"[^a-z0-9_+-]", "_", row_name)


def text_of(vector: Vector, key: str) -> bytes:
    return "".join(vector[key]).encode("utf-8")


def options_of(vector: Vector) -> dict[str, Any]:
    return dict(vector.get("options", {}))


def report_of(vector: Vector) -> dict[str, Any]:
    """The report that the vector expects, with what it leaves out."""
    empty: dict[str, Any] = {"dialect": None, "malformed": 0, **{name: {} for name in COUNTS}}
    return {**empty, **vector["report"]}


def said(run: Run) -> dict[str, Any]:
    """The report without what depends on the engine."""
    report = run.report.as_dict()
    return {key: report[key] for key in report if key not in ("engine", "declined")}


def fault_of(run: Run) -> str | None:
    return None if run.fault is None else run.fault.kind


# Every row of the table is proven by a vector, and every vector says whose it is. -----


@rows
def test_row_has_a_vector_that_its_streams_are_recognised_by(row: Any) -> None:
    own = [v for name, v in STREAMS.items() if name.split("/")[0] == folder_of(row.name)]
    assert own, f"no vector in vectors/{folder_of(row.name)}"
    assert row.name in [vector["report"].get("dialect") for vector in own]


@rows
def test_row_names_its_providers_and_its_evidence(row: Any) -> None:
    assert row.evidence.strip()
    assert row.carries
    assert row.providers
    assert all(provider.strip() for provider in row.providers)


def test_row_names_make_different_folders() -> None:
    assert len({folder_of(row.name) for row in DIALECTS}) == len(DIALECTS)


@pytest.mark.parametrize("vector", VECTORS.values(), ids=VECTORS)
def test_vector_says_what_it_shows_and_by_which_evidence(vector: Vector) -> None:
    assert set(vector) <= KEYS
    for key in ("name", "provider", "evidence"):
        assert isinstance(vector[key], str)
        assert vector[key].strip(), key
    assert vector["input"]
    assert vector["chunks"]


@pytest.mark.parametrize("vector", VECTORS.values(), ids=VECTORS)
def test_vector_is_sound_in_itself(vector: Vector) -> None:
    """Its chunks are the data of its output, and only the reasoning differs from its input."""
    made = oracle.documents(text_of(vector, "output"))
    assert oracle.spelled(made) == oracle.spelled(vector["chunks"])
    given = oracle.documents(text_of(vector, "input"))
    bare = [oracle.without_reasoning(document) for document in given]
    assert oracle.spelled(bare) == oracle.spelled([oracle.without_reasoning(c) for c in made])


# What comes out, whole and cut. ------------------------------------------------------


@streams
def test_vector_gives_its_chunks_and_its_report(engine: Engine, vector: Vector) -> None:
    run = run_chunks(engine, [text_of(vector, "input")], **options_of(vector))
    assert oracle.spelled(run.output) == oracle.spelled(vector["chunks"])
    assert said(run) == report_of(vector)
    assert fault_of(run) == vector["fault"]


@streams
def test_vector_gives_its_edited_bytes_and_the_same_report(engine: Engine, vector: Vector) -> None:
    run = run_sse(engine, [text_of(vector, "input")], **options_of(vector))
    assert run.output.decode("utf-8") == text_of(vector, "output").decode("utf-8")
    assert said(run) == report_of(vector)
    assert fault_of(run) == vector["fault"]


@streams
def test_vector_gives_the_same_chunks_at_every_cut(engine: Engine, vector: Vector) -> None:
    raw = text_of(vector, "input")
    for parts in [*two_way(raw), one_byte(raw)]:
        run = run_chunks(engine, parts, **options_of(vector))
        assert run.output == vector["chunks"], parts
        assert fault_of(run) == vector["fault"], parts
    assert said(run) == report_of(vector)


@streams
def test_vector_gives_the_same_bytes_at_every_cut(engine: Engine, vector: Vector) -> None:
    raw, output = text_of(vector, "input"), text_of(vector, "output")
    for parts in [*two_way(raw), one_byte(raw)]:
        run = run_sse(engine, parts, **options_of(vector))
        assert run.output == output, parts
        assert fault_of(run) == vector["fault"], parts
    assert said(run) == report_of(vector)


# Bodies that were not streamed. -------------------------------------------------------


@bodies
def test_body_is_edited_in_its_bytes(vector: Vector) -> None:
    edited = normalize_response(text_of(vector, "input"), **options_of(vector))
    assert edited.decode("utf-8") == text_of(vector, "output").decode("utf-8")


@bodies
def test_body_that_is_a_dict_gives_a_new_dict_and_stays(vector: Vector) -> None:
    given = json.loads(text_of(vector, "input"))
    made = normalize_response(given, **options_of(vector))
    assert [made] == vector["chunks"]
    assert given == json.loads(text_of(vector, "input"))
