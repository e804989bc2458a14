"""What a fault says of itself: body, status, blame, and what had been delivered before it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from streamnorm import StreamFault, faults
from streamnorm._engine import Engine

from .helpers import DONE, chunk, event, run_chunks, run_sse

HELLO = event(chunk({"content": "Hello"}))
ERROR = b'{"error":{"message":"quota","code":429}}'
PRETTY = b'{\n  "error": {\n    "message": "quota",\n    "code": 429\n  }\n}\n'
HTML = b"<!DOCTYPE html>\r\n<html>\r\n<title>502 Bad Gateway</title>\r\n</html>\r\n"


def fault_of(engine: Engine, raw: bytes, **options: Any) -> StreamFault:
    fault = run_chunks(engine, [raw], **options).fault
    assert fault is not None
    twin = run_sse(engine, [raw], **options).fault
    assert twin is not None
    assert twin.__dict__ == fault.__dict__
    return fault


def test_error_beside_choices_comes_after_their_chunk(engine: Engine) -> None:
    run = run_chunks(engine, [event(chunk({"content": "a"}, "error", error={"message": "m"}))])
    assert [c["choices"][0]["delta"] for c in run.output] == [{"content": "a"}]
    assert run.words == ("error_event", "the upstream sent an error: m")


def test_error_alone_gives_no_chunk(engine: Engine) -> None:
    assert run_chunks(engine, [event(ERROR)]).output == []


@pytest.mark.parametrize(
    ("raw", "body"),
    [
        (event(ERROR), json.loads(ERROR)),
        (ERROR, json.loads(ERROR)),
        (PRETTY, json.loads(ERROR)),
        (b"[" + ERROR + b"]", json.loads(ERROR)),
        (b'event: error\ndata: {"message":"m"}\n\n', {"message": "m"}),
        (b'error: {"message":"m"}\n\n', {"message": "m"}),
        (b"error: m\n\n", "m"),
    ],
    ids=["event", "raw", "pretty", "list", "named", "bare", "text"],
)
def test_error_body_is_parsed(engine: Engine, raw: bytes, body: Any) -> None:
    assert fault_of(engine, raw).body == body


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (b'{"error":{"code":429}}', 429),
        (b'{"error":{"code":599}}', 599),
        (b'{"error":{"status_code":502,"code":"x"}}', 502),
        (b'{"error":"m","status_code":400}', 400),
        (b'{"error":"m","code":503}', 503),
        (b'{"error":{"code":"429"}}', 429),  # Azure, MiniMax
        (b'{"error":{"code":"1302"}}', None),
        (b'{"error":{"code":" 429"}}', None),
        (b'{"error":{"code":"rate_limited"}}', None),
        (b'{"error":{"code":200}}', None),
        (b'{"error":{"code":600}}', None),
        (b'{"error":{"code":429.0}}', None),
        (b'{"error":{"code":true}}', None),
        (b'{"error":"m"}', None),
    ],
    ids=lambda value: value.decode() if isinstance(value, bytes) else str(value),
)
def test_status_is_a_number_of_an_http_error(
    engine: Engine, error: bytes, status: int | None
) -> None:
    assert fault_of(engine, event(error)).status_code == status


def test_provider_message_is_the_upstreams_own(engine: Engine) -> None:
    assert fault_of(engine, event(ERROR)).provider_message == "quota"
    assert fault_of(engine, HELLO).provider_message is None


@pytest.mark.parametrize(
    "raw",
    [event(ERROR), ERROR, PRETTY, b"[" + ERROR + b"]", b"error: m\n\n"],
    ids=["event", "raw", "pretty", "list", "bare"],
)
def test_error_before_any_chunk_had_no_visible_output(engine: Engine, raw: bytes) -> None:
    fault = fault_of(engine, raw)
    assert (fault.visible_output, fault.reasoning_output, fault.safe_to_retry) == (
        False,
        False,
        True,
    )


@pytest.mark.parametrize(
    ("delta", "visible", "reasoning"),
    [
        ({"role": "assistant"}, False, False),
        ({"content": ""}, False, False),
        ({"content": None}, False, False),
        ({"content": "a"}, True, False),
        ({"content": " "}, True, False),
        ({"content": [{"type": "text", "text": "a"}]}, True, False),
        ({"tool_calls": [{"index": 0}]}, True, False),
        ({"tool_calls": []}, False, False),
        ({"reasoning": "r"}, False, True),
        ({"reasoning_content": "r"}, False, True),
        ({"reasoning_content": ""}, False, False),
        ({"reasoning": "r", "content": "a"}, True, True),
    ],
    ids=lambda value: json.dumps(value) if isinstance(value, dict) else str(value),
)
def test_output_before_a_fault_is_told_apart(
    engine: Engine, delta: dict[str, Any], visible: bool, reasoning: bool
) -> None:
    fault = fault_of(engine, event(chunk(delta)))
    assert (fault.visible_output, fault.reasoning_output) == (visible, reasoning)
    assert fault.safe_to_retry is not visible


def test_truncated_stream_is_the_transports_fault(engine: Engine) -> None:
    fault = fault_of(engine, HELLO)
    assert (fault.category, fault.blame) == ("api_connection", "transport")


@pytest.mark.parametrize("raw", [b"", HTML, DONE], ids=["empty", "not_sse", "done"])
def test_stream_without_a_chunk_is_the_providers_fault(engine: Engine, raw: bytes) -> None:
    fault = fault_of(engine, raw)
    assert (fault.category, fault.blame) == ("server_error", "provider")


def test_error_event_means_what_its_body_says(engine: Engine) -> None:
    fault = fault_of(engine, event(ERROR))
    assert (fault.category, fault.blame) == ("rate_limit", "credential")


def test_request_that_is_to_blame_is_not_safe_to_retry() -> None:
    fault = faults.none_stream()
    assert (fault.kind, fault.blame, fault.safe_to_retry) == ("none_stream", "request", False)


def test_transport_fault_keeps_its_cause() -> None:
    cause = ConnectionResetError("peer went away")
    fault = faults.transport(cause)
    assert fault.__cause__ is cause
    assert (fault.kind, fault.category, fault.blame, str(fault)) == (
        "transport",
        "api_connection",
        "transport",
        "the source failed while it was read: ConnectionResetError: peer went away",
    )


def test_transport_fault_of_an_exception_without_words_names_its_type() -> None:
    fault = faults.transport(TimeoutError())
    assert str(fault) == "the source failed while it was read: TimeoutError"
