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
from streamnorm.dialects import DIALECTS, ERRORS, FLAG_PATH, FLAG_VALUES, PARTS, SOURCES
from streamnorm.options import REPAIRS
from streamnorm.tag_table import TAGS, Tag

from . import oracle, soundness
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
COUNTS = (
    "remaps", "removed", "mirrored", "repeated", "conflicts", "tags", "repairs", "notices",
)  # fmt: skip

# Every place of an input is cut by reads of one byte; of the splits in two, so many are tried.
MOST_CUTS = 400

streams = pytest.mark.parametrize("vector", STREAMS.values(), ids=STREAMS)
bodies = pytest.mark.parametrize("vector", BODIES.values(), ids=BODIES)
rows = pytest.mark.parametrize("row", DIALECTS, ids=[row.name for row in DIALECTS])
tag_rows = pytest.mark.parametrize("tag", TAGS, ids=[tag.name for tag in TAGS])


def folder_of(row_name: str) -> str:
    """The name of a table row as the name of a folder, one that ignores case included."""
    name = re.sub("[A-Z]+", lambda match: f"u-{match[0].lower()}", row_name)
    name = "".join(letter if letter.isascii() else f"{ord(letter):x}" for letter in name)
    return re.sub(r"[^a-z0-9_+-]", "_", name)


def own_vectors(row_name: str) -> list[Vector]:
    """The streams in the folder of a table row."""
    return [v for name, v in STREAMS.items() if name.split("/")[0] == folder_of(row_name)]


def text_of(vector: Vector, key: str) -> bytes:
    return "".join(vector[key]).encode("utf-8")


def options_of(vector: Vector) -> dict[str, Any]:
    return dict(vector.get("options", {}))


def report_of(vector: Vector) -> dict[str, Any]:
    """The report that the vector expects, with what it leaves out."""
    empty: dict[str, Any] = {"dialect": None, "malformed": 0, **{name: {} for name in COUNTS}}
    return {**empty, **vector["report"]}


def some_cuts(raw: bytes, first: int) -> list[list[bytes]]:
    """Splits in two, some hundreds at most; all of them, where that is so many."""
    return list(two_way(raw))[first :: 1 + len(raw) // MOST_CUTS]


def said(run: Run) -> dict[str, Any]:
    """The report without what depends on the engine."""
    report = run.report.as_dict()
    return {key: report[key] for key in report if key not in ("engine", "declined")}


def models_of(vector: Vector) -> set[str]:
    """The names of the models in a vector's input, in lower case."""
    found = [document.get("model") for document in oracle.documents(text_of(vector, "input"))]
    return {name.lower() for name in found if isinstance(name, str)}


def models_fit(vector: Vector, tag: Tag) -> bool:
    names = models_of(vector)
    return not tag.models or any(model in name for model in tag.models for name in names)


def marks_of(tag: Tag) -> tuple[str, ...]:
    """Everything that a row of the tag table looks for."""
    return (*tag.opens, *tag.closes, *tag.joins, *tag.finals, *tag.ends, *tag.labels)


def parts_of(vector: Vector) -> list[dict[str, Any]]:
    """The parts in the content lists of a vector's input."""
    deltas = [
        delta
        for document in oracle.documents(text_of(vector, "input"))
        for _, _, delta in oracle.deltas(document)
    ]
    lists = [delta["content"] for delta in deltas if isinstance(delta.get("content"), list)]
    return [part for parts in lists for part in parts if isinstance(part, dict)]


def fault_of(run: Run) -> str | None:
    return None if run.fault is None else run.fault.kind


# Every row of the table is proven by a vector, and every vector says whose it is. -----


@rows
def test_row_has_a_vector_that_its_streams_are_recognised_by(row: Any) -> None:
    own = own_vectors(row.name)
    assert own, f"no vector in vectors/{folder_of(row.name)}"
    assert row.name in [vector["report"].get("dialect") for vector in own]


@rows
def test_row_names_its_providers_and_its_evidence(row: Any) -> None:
    assert row.evidence.strip()
    assert row.carries
    assert row.providers
    assert all(provider.strip() for provider in row.providers)


@tag_rows
def test_tags_have_a_vector_that_takes_them_out(tag: Tag) -> None:
    own = own_vectors(f"tags: {tag.name}")
    assert own, f"no vector in vectors/{folder_of(f'tags: {tag.name}')}"
    assert any(vector["input"] != vector["output"] and models_fit(vector, tag) for vector in own)
    assert tag.evidence.strip()
    assert tag.emitters.strip()


@pytest.mark.parametrize("tag", [t for t in TAGS if t.models], ids=lambda tag: tag.name)
def test_tags_of_some_models_have_a_vector_of_another_that_is_left_alone(tag: Tag) -> None:
    others = [v for v in own_vectors(f"tags: {tag.name}") if not models_fit(v, tag)]
    assert others
    for vector in others:
        answers = oracle.joined(vector["chunks"], "content").values()
        assert any(text in answer for answer in answers for text in marks_of(tag))


@pytest.mark.parametrize("part", PARTS, ids=lambda part: part.type)
def test_part_type_has_a_vector_and_evidence(part: Any) -> None:
    own = own_vectors("content parts")
    assert any(part.type in (item.get("type") for item in parts_of(vector)) for vector in own)
    assert part.evidence.strip()


@pytest.mark.parametrize("value", FLAG_VALUES)
def test_flag_value_has_a_vector(value: Any) -> None:
    flags = [
        delta[FLAG_PATH[0]][FLAG_PATH[1]][FLAG_PATH[2]]
        for vector in own_vectors("thought flag")
        for document in oracle.documents(text_of(vector, "input"))
        for _, _, delta in oracle.deltas(document)
        if delta.get(FLAG_PATH[0])
        if FLAG_PATH[2] in delta[FLAG_PATH[0]][FLAG_PATH[1]]
    ]
    assert any(flag is value or flag == value != 1 for flag in flags)


@pytest.mark.parametrize("row", ERRORS, ids=lambda row: row.marks[0].path[-1])
def test_shape_of_errors_has_a_vector_that_fails_by_it(row: Any) -> None:
    own = [vector for name, vector in STREAMS.items() if name.startswith("errors/")]
    failing = [vector for vector in own if vector["fault"] == "error_event"]
    assert any(
        all(oracle.at(document, mark.path) for mark in row.marks if mark.test != "false")
        and all(
            oracle.at(document, mark.path) is False for mark in row.marks if mark.test == "false"
        )
        for vector in failing
        for document in oracle.documents(text_of(vector, "input"))
        if not oracle.at(document, ("error",))
    )
    assert row.evidence.strip()


def test_row_names_make_different_folders() -> None:
    names = [row.name for row in DIALECTS] + [f"tags: {tag.name}" for tag in TAGS]
    folders = {folder_of(name) for name in names}
    assert len(folders) == len(set(names))
    assert {folder.lower() for folder in folders} == folders


def test_every_count_of_a_report_is_seen_in_a_vector() -> None:
    seen: dict[str, set[str]] = {name: set() for name in COUNTS}
    for vector in STREAMS.values():
        for name in COUNTS:
            seen[name].update(vector["report"].get(name, {}))
    assert seen["repairs"] == {*REPAIRS, "content_list", "whole_completion", "glued_events"}
    assert seen["tags"] >= {tag.name for tag in TAGS if tag.opens} | {"prompt"}
    assert seen["notices"] == {"stop_beside_tool_calls"}
    moved = {key.partition("→")[0] for key in seen["remaps"]}
    assert moved == {source.name for source in SOURCES}
    assert {"tags", "reasoning", "content[]"} <= seen["mirrored"] & seen["conflicts"]
    assert {"reasoning_details", "reasoning_content"} <= seen["repeated"]
    assert {"tags", "reasoning"} <= seen["removed"]


@pytest.mark.parametrize("vector", VECTORS.values(), ids=VECTORS)
def test_vector_says_what_it_shows_and_by_which_evidence(vector: Vector) -> None:
    assert set(vector) <= KEYS
    for key in ("name", "provider", "evidence"):
        assert isinstance(vector[key], str)
        assert vector[key].strip(), key
    assert vector["input"]
    assert vector["chunks"] or vector["fault"]
    assert set(vector.get("report", {})) <= {"dialect", "events", "malformed", *COUNTS}


@pytest.mark.parametrize("vector", VECTORS.values(), ids=VECTORS)
def test_vector_is_sound_in_itself(vector: Vector) -> None:
    """Its chunks are the data of its output, and no text and no other member was lost."""
    options = options_of(vector)
    fault = vector.get("fault")
    given = soundness.chunks(text_of(vector, "input"), fault)
    made = soundness.chunks(text_of(vector, "output"), fault)
    if vector.get("kind") != "response":
        given = oracle.streamed(given)
    assert oracle.spelled(made) == oracle.spelled(vector["chunks"])
    bare = [[soundness.bare(chunk, options) for chunk in some] for some in (given, made)]
    assert soundness.own_chunks(*bare) is not None
    pairs = [list(name) for name in options.get("tag_names", ()) if not isinstance(name, str)]
    assert soundness.lost_text(given, made, pairs) == []


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
def test_vector_gives_the_same_chunks_wherever_it_is_cut(engine: Engine, vector: Vector) -> None:
    raw = text_of(vector, "input")
    for parts in [*some_cuts(raw, 0), one_byte(raw)]:
        run = run_chunks(engine, parts, **options_of(vector))
        assert run.output == vector["chunks"], parts
        assert fault_of(run) == vector["fault"], parts
        assert said(run) == report_of(vector), parts


@streams
def test_vector_gives_the_same_bytes_wherever_it_is_cut(engine: Engine, vector: Vector) -> None:
    raw, output = text_of(vector, "input"), text_of(vector, "output")
    for parts in [*some_cuts(raw, 1), one_byte(raw)]:
        run = run_sse(engine, parts, **options_of(vector))
        assert run.output == output, parts
        assert fault_of(run) == vector["fault"], parts
        assert said(run) == report_of(vector), parts


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
