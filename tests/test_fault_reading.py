"""An error body is read whatever its shape: its words, its code, its status."""

from __future__ import annotations

import json
from typing import Any

import pytest

from streamnorm import faults
from streamnorm.faults.categories import CODES, STATUSES
from streamnorm.faults.classes import CLASSES
from streamnorm.faults.deciding import fold
from streamnorm.faults.wordings import WORDINGS

INNER = {"message": "words", "code": "the_code"}


@pytest.mark.parametrize(
    ("body", "message", "code"),
    [
        ({"error": INNER}, "words", "the_code"),
        ({"error": {"message": "words", "type": "the_type", "code": None}}, "words", "the_type"),
        (
            {"error": {"message": "words", "type": "the_type", "code": "the_code"}},
            "words",
            "the_code",
        ),
        ({"error": "words"}, "words", None),
        ({"error": True, "message": "words"}, "words", None),
        ({"error": {"error": INNER}}, "words", "the_code"),
        ({"error": {"error": "words"}}, "words", None),
        ({"error": {"message": json.dumps({"error": INNER}), "code": 400}}, "words", "the_code"),
        ({"error": {"message": f"Upstream said: {json.dumps(INNER)}"}}, "words", "the_code"),
        ({"error": {"message": "outer", "metadata": {"raw": "words"}}}, "words", None),
        ({"error": {"message": "words", "metadata": {"raw": ""}}}, "words", None),
        ({"error": {"message": "words", "metadata": {"message": "no"}}}, "words", None),
        ({"type": "error", "error": {"type": "the_type", "message": "words"}}, "words", "the_type"),
        ([{"error": INNER}], "words", "the_code"),
        ({"errors": [INNER, {"message": "more"}]}, "words", "the_code"),
        ({"detail": "words"}, "words", None),
        ({"detail": {"error": "words"}}, "words", None),
        (
            {"detail": [{"loc": ["body", "tools", 0], "msg": "Field required", "type": "missing"}]},
            "body.tools.0: Field required",
            "missing",
        ),
        (
            {"detail": [{"loc": ["body", n], "msg": "bad"} for n in "abcde"]},
            "body.a: bad; body.b: bad; body.c: bad; and 2 more",
            None,
        ),
        ({"object": "error", **INNER}, "words", "the_code"),
        (INNER, "words", "the_code"),
        ({"msg": "words", "code": 20012}, "words", "20012"),
        ({"base_resp": {"status_code": 4711, "status_msg": "words"}}, "words", "4711"),
        ({"fault": {"faultstring": "words", "detail": {"errorcode": "a.b.C"}}}, "words", "a.b.C"),
        ({"error": "invalid_token", "error_description": "words"}, "words", "invalid_token"),
        ({"type": "about:blank", "title": "no", "detail": "words"}, "words", None),
        ({"type": "https://example.org/p", "title": "words"}, "words", None),
        ({"__type": "com.amazon#TheException", "Message": "words"}, "words", "TheException"),
        ({"response": {"status": "failed", "error": INNER}}, "words", "the_code"),
        ({"error": {"code": "429", "message": "words"}}, "words", None),
        ({"error": {"code": 1.5, "message": "words"}}, "words", None),
        ({"error": {"message": ""}}, None, None),
        ({"error": {"message": None, "detail": "words"}}, "words", None),
        ({"error": {"message": {"text": "x"}}}, None, None),
        ({"error": None}, None, None),
        ({}, None, None),
        ([], None, None),
        (None, None, None),
        (5, None, None),
        ("words", "words", None),
        ("  words\n", "words", None),
        ("{not json} words", "{not json} words", None),
    ],
    ids=lambda value: json.dumps(value)[:60],
)
def test_shape(body: Any, message: str | None, code: str | None) -> None:
    fault = faults.error_event(body)
    assert (fault.provider_message, fault.provider_code) == (message, code)
    assert fault.body == body


@pytest.mark.parametrize(
    ("raw", "body", "message"),
    [
        (b'{"error":{"message":"words"}}', {"error": {"message": "words"}}, "words"),
        (b'\xef\xbb\xbf{"error":"words"}\r\n', {"error": "words"}, "words"),
        (b'event: error\ndata: {"error":"words"}\n\n', {"error": "words"}, "words"),
        (b': hello\n\ndata: {"error":"words"}\n\ndata: [DONE]\n\n', {"error": "words"}, "words"),
        (b"words", "words", "words"),
        (b"data: words", "data: words", "data: words"),
        ("wörds".encode("latin-1"), "w�rds", "w�rds"),
        (b"", None, None),
        (b" \n", None, None),
        (b"null", "null", "null"),
        (b"{}", "{}", "{}"),
    ],
)
def test_body_of_an_answer(raw: bytes, body: Any, message: str | None) -> None:
    fault = faults.http_error(500, raw)
    assert (fault.body, fault.provider_message) == (body, message)


def test_words_are_found_in_a_body_that_was_cut_off() -> None:
    # FastAPI echoes the request; who reads a bounded part of the body cuts it.
    detail = [{"type": "the_type", "loc": ["body"], "msg": 'a "bad"\nfield', "input": "x" * 500}]
    raw = json.dumps({"detail": detail}).encode()[:300]
    fault = faults.http_error(422, raw)
    assert fault.provider_message == 'a "bad" field'
    assert fault.provider_code == "the_type"
    assert fault.category == "invalid_request"


def test_long_words_are_cut_and_the_body_is_kept() -> None:
    fault = faults.http_error(500, b"x" * 50_000)
    assert fault.provider_message is not None
    assert len(fault.provider_message) == 2000
    assert fault.body == "x" * 50_000


def test_a_chunk_with_an_error_is_kept_whole() -> None:
    body = {"id": "c", "choices": [{"delta": {"content": "a"}}], "error": INNER}
    fault = faults.error_event(body)
    assert (fault.body, fault.provider_message) == (body, "words")


# The table. ----------------------------------------------------------------------------


def test_every_row_names_its_evidence() -> None:
    rows = [*CODES, *STATUSES, *WORDINGS, *CLASSES]
    assert [row for row in rows if len(row.evidence) < 3] == []


def test_no_code_means_two_things() -> None:
    meanings: dict[tuple[str, str], set[tuple[Any, ...]]] = {}
    for row in CODES:
        for name in row.names.split():
            told = (row.category, row.blame, row.vague)
            meanings.setdefault((row.within, fold(name)), set()).add(told)
    assert {key for key, told in meanings.items() if len(told) > 1} == set()
    assert all(name for _, name in meanings)


def test_every_status_row_can_be_reached() -> None:
    reached = {
        next(row for row in STATUSES if row.first <= status <= row.last)
        for status in range(400, 600)
    }
    assert reached == set(STATUSES)


def test_words_are_searched_in_lower_case() -> None:
    assert [row for row in WORDINGS if row.pattern != row.pattern.lower()] == []
