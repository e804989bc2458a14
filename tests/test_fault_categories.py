"""Errors of real providers mean what those say; see `tests.fault_cases`."""

from __future__ import annotations

import json
from typing import Any

import pytest

from streamnorm import StreamFault, faults

from .fault_cases import Case, hosts, labs, minimax, models, openai, zhipu

CASES = [*labs.CASES, *hosts.CASES, *models.CASES]


def fault_of(case: Case) -> StreamFault:
    if case.status == 200:
        return faults.error_event(case.body, case.headers)
    raw = case.body if isinstance(case.body, str) else json.dumps(case.body)
    return faults.http_error(case.status, b"" if case.body is None else raw.encode(), case.headers)


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_error_means_what_its_provider_says(case: Case) -> None:
    fault = fault_of(case)
    assert (fault.category, fault.blame) == (case.category, case.blame)
    assert fault.provider_code == case.code
    assert fault.retry_after == (None if case.wait is None else pytest.approx(case.wait))
    assert fault.kind == ("error_event" if case.status == 200 else "http_error")
    if case.status != 200:
        assert fault.status_code == case.status


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_line_names_what_an_on_call_person_needs(case: Case) -> None:
    fault = fault_of(case)
    line = str(fault)
    assert line.isprintable()
    assert len(line) <= 500
    for value in (fault.status_code, fault.provider_code):
        assert value is None or str(value) in line
    if fault.category != "unknown":
        assert f"category {fault.category}, blame {fault.blame}" in line
    if fault.provider_message is not None:
        assert fault.provider_message[:40] in line


def test_status_of_the_response_stands_above_that_of_the_body() -> None:
    fault = faults.http_error(503, b'{"error":{"message":"m","code":429}}')
    assert (fault.status_code, fault.category) == (503, "server_error")


def test_status_of_the_outermost_object_is_the_events() -> None:
    raw = json.dumps({"error": {"code": 400, "message": "inner"}})
    body = {"error": {"message": "outer", "code": 502, "metadata": {"raw": raw}}}
    fault = faults.error_event(body)
    assert (fault.status_code, fault.provider_message) == (502, "inner")


@pytest.mark.parametrize("status", range(400, 600))
def test_every_status_of_an_error_means_something(status: int) -> None:
    fault = faults.http_error(status)
    assert fault.category != "unknown"
    assert (fault.blame == "provider") == (fault.category == "server_error")
    if status >= 500:
        assert (fault.category, fault.safe_to_retry) == ("server_error", True)


def test_wording_of_a_refused_request_does_not_blame_the_credential_for_what_it_quotes() -> None:
    # The request asked about rate limits and overloads; the error quotes it.
    body = openai("Invalid 'x': 'our rate limit was overloaded, too many requests'", None)
    fault = faults.http_error(400, json.dumps(body).encode())
    assert (fault.category, fault.blame) == ("invalid_request", "request")


def test_numbers_of_one_provider_mean_nothing_in_the_shape_of_another() -> None:
    # 1004 is a wrong key at both, 1002 a wrong token at Zhipu and a rate limit at MiniMax.
    assert faults.error_event(zhipu("1002")).category == "authentication"
    assert faults.error_event(minimax(1002, "")).category == "rate_limit"
    assert faults.error_event(minimax(1113, "")).category == "unknown"


# What other errors quote, or number alike. -------------------------------------------------


@pytest.mark.parametrize(
    ("status", "body", "category"),
    [
        (400, {"error": {"message": "Invalid author 'x' in messages[0]"}}, "invalid_request"),
        (400, {"error": {"message": "No such tool: list_overdue_invoices"}}, "invalid_request"),
        (500, {"error": {"code": 1001, "message": "Internal failure"}}, "server_error"),
        (500, {"code": 1213, "message": "lock deadlock; try restarting"}, "server_error"),
        (401, {"error": {"code": "1001", "message": "x"}}, "authentication"),
    ],
)
def test_words_and_numbers_of_others(status: int, body: Any, category: str) -> None:
    assert faults.http_error(status, json.dumps(body).encode()).category == category


def test_the_words_of_a_message_that_is_an_object() -> None:
    item = {"type": "extra_forbidden", "loc": ["body", "seed"], "msg": "No extra inputs"}
    body = {"object": "error", "message": {"detail": [item]}, "type": "invalid_request_error"}
    fault = faults.http_error(422, json.dumps(body).encode())
    assert fault.category == "invalid_request"
    assert fault.provider_message is not None
    assert "No extra inputs" in fault.provider_message


def test_without_a_word_of_which_limit_is_spent_the_first_reset_counts() -> None:
    headers = {"anthropic-ratelimit-unified-reset": "60", "anthropic-ratelimit-7d-reset": "500000"}
    assert faults.http_error(429, b"", headers).retry_after == 60
