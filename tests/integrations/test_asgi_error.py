"""What a gateway's client is told of a fault: status, headers, and an error in OpenAI's shape."""

from __future__ import annotations

import json
import math
import re
from typing import Any, get_args

import pytest

from streamnorm import StreamFault
from streamnorm.captured import Refusal
from streamnorm.fault_server import FAULTS, FaultCase
from streamnorm.faults import Blame, Category, Kind, error_event, http_error, none_stream
from streamnorm.integrations import _error

from ..aio import run
from ..helpers import DONE, ROOT
from .asgi_app import body, exchange, start

KEY = b'{"error": {"message": "Incorrect API key provided: sk-ab12", "code": "invalid_api_key"}}'
LIMIT = 1 << 20  # for the route whose line is too long


def refused(status: int, body: bytes = b"", **headers: str) -> StreamFault:
    return http_error(status, body, {k.replace("_", "-"): v for k, v in headers.items()})


@pytest.mark.parametrize(
    ("fault", "status"),
    [
        (refused(400), 400),
        (refused(404), 404),
        (refused(413), 413),
        (refused(415), 415),
        (refused(422), 422),
        (refused(401), 502),
        (refused(402), 502),
        (refused(403), 502),
        (refused(408), 504),
        (refused(429), 429),
        (refused(500), 502),
        (refused(502), 502),
        (refused(503), 503),
        (refused(504), 504),
        (refused(529), 503),
        (none_stream(), 400),
        (none_stream(Refusal(422)), 422),
        (StreamFault("x", kind="first_chunk_timeout"), 504),
        (StreamFault("x", kind="idle_timeout"), 504),
        (StreamFault("x", kind="total_timeout"), 504),
        (StreamFault("x", kind="transport", blame="transport"), 502),
        (StreamFault("x", kind="truncated", blame="transport"), 502),
        (StreamFault("x", kind="truncated", blame="client"), 499),
    ],
)
def test_status(fault: StreamFault, status: int) -> None:
    assert _error.http_status(fault) == status


def test_every_fault_has_a_body_and_a_status() -> None:
    for kind in get_args(Kind):
        for category in get_args(Category):
            for blame in get_args(Blame):
                fault = StreamFault("x\ny", kind=kind, category=category, blame=blame)
                (error,) = _error.error_body(fault).values()
                assert isinstance(error["message"], str)
                assert len(error["message"].splitlines()) == 1
                assert error["type"]
                assert error["code"]
                assert error["param"] is None
                assert error["fault"] == {"kind": kind, "category": category, "blame": blame}
                assert 400 <= _error.http_status(fault) <= 599
                # Its own text names files, hosts and bytes: nothing of it is told.
                assert error["message"] not in str(fault)


def test_it_agrees_with_the_page_about_faults() -> None:
    """The page shows the rule in short; the two must not say different things."""
    page = (ROOT / "docs" / "faults.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"^def status_for.*?(?=^```)", page, re.MULTILINE | re.DOTALL)
    names: dict[str, Any] = {}
    exec(code, names)
    for status in (400, 401, 402, 403, 404, 413, 422, 429, 500, 502, 503, 529):
        fault = refused(status)
        assert _error.http_status(fault) == names["status_for"](fault)


def test_the_upstreams_words_are_passed_on() -> None:
    fault = refused(400, b'{"error": {"message": "max_tokens is\\ntoo large", "code": "bad"}}')
    (error,) = _error.error_body(fault).values()
    assert error["message"] == "max_tokens is too large"
    assert (error["code"], error["type"]) == ("bad", "invalid_request_error")


@pytest.mark.parametrize("status", [401, 403])
def test_words_about_the_gateways_key_are_not(status: int) -> None:
    fault = refused(status, KEY)
    told = json.dumps(_error.error_body(fault))
    assert "sk-" not in told
    assert "invalid_api_key" not in told
    assert _error.error_headers(fault)["x-should-retry"] == "false"


def test_what_came_instead_of_a_stream_is_not_told() -> None:
    fault = StreamFault("begins with b'<html>10.0.0.7'", kind="not_sse", category="server_error")
    fault.__cause__ = OSError("Cannot connect to host 10.0.0.7:443")
    assert "10.0.0.7" not in json.dumps(_error.error_body(fault))


@pytest.mark.parametrize(
    ("seconds", "value"),
    [(0, "0"), (0.2, "1"), (7, "7"), (7.5, "8"), (None, None), (math.inf, None)],
)
def test_retry_after(seconds: float | None, value: str | None) -> None:
    fault = StreamFault("x", kind="http_error", category="rate_limit", retry_after=seconds)
    assert _error.error_headers(fault).get("retry-after") == value


def test_the_event_is_one_line_whatever_the_upstream_said() -> None:
    said = {"error": {"message": "a\u2028b\r\n\ud800 data: [DONE]\n\n", "code": "x\ny\u0085"}}
    event = _error.error_event(error_event(said))
    assert event.startswith(b"data: {")
    assert event.endswith(b"}\n\n")
    assert len(event.splitlines()) == 2
    assert event.isascii()
    assert json.loads(event[6:])["error"]["code"]


# Faults that a relay reads as bytes; for the others the server plays tricks with the transport.
PLAYED = [
    case
    for case in FAULTS
    if case.expected is not None
    and case.expected.limit is None
    and not case.raw
    and case.status < 300
    and case.status != 204
    and all(isinstance(step, bytes) for step in case.steps)
    and "content-encoding" not in case.headers
]


@pytest.mark.parametrize("case", PLAYED, ids=lambda case: case.name)
def test_every_fault_in_a_streams_clothes(case: FaultCase) -> None:
    """The bodies of the fault server through the middleware: a status, or the last event."""
    assert case.expected is not None
    pieces = [step for step in case.steps if isinstance(step, bytes)]
    messages = [start(), *map(body, pieces), body(b"", more=False)]
    server = run(exchange(messages, max_line_bytes=LIMIT, peek_bytes=1 << 30))
    if case.content:
        assert server.status == 200
        *_, last, end = server.body.split(b"\n\n")
        assert end == b""
        told = json.loads(last.removeprefix(b"data: "))["error"]
        assert DONE not in server.body
    else:
        assert server.status >= 400
        told = json.loads(server.body)["error"]
    expected = case.expected
    assert told["fault"] == {
        "kind": expected.kind, "category": expected.category, "blame": expected.blame
    }  # fmt: skip
    if not case.content and expected.retry_after is not None:
        assert server.headers["retry-after"] == str(math.ceil(expected.retry_after))
