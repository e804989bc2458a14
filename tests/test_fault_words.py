"""What a fault says of itself in a log, and that it survives being copied."""

from __future__ import annotations

import copy
import gzip
import io
import json
import logging
import pickle
import subprocess
import sys
import zlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamnorm import StreamFault, faults

RATE = {
    "error": {
        "message": "Rate limit reached for x. Please try again in 20s.",
        "type": "requests",
        "code": "rate_limit_exceeded",
    }
}


def some_faults() -> list[StreamFault]:
    """One of every maker."""
    return [
        faults.none_stream(),
        faults.transport(ConnectionResetError("peer went away")),
        faults.from_exception(ConnectionResetError("peer went away")),
        faults.cancelled(),
        faults.too_large("line", 10),
        faults.corrupt(b"{"),
        faults.empty(done=True),
        faults.not_sse(b"\x1f\x8b\x08\x00"),
        faults.truncated(b'{"choices":'),
        faults.timed_out("idle_timeout", 30, events=3),
        faults.too_slow(1.5, 50, 30),
        faults.error_event(RATE),
        faults.http_error(429, json.dumps(RATE).encode(), {"retry-after": "3"}),
    ]


# The line. ---------------------------------------------------------------------------


def test_line_of_an_error_event() -> None:
    assert str(faults.error_event({**RATE, "status_code": 429})) == (
        "the upstream sent an error: 429 rate_limit_exceeded: Rate limit reached for x. Please try "
        "again in 20s. (category rate_limit, blame credential, retry after 20 s)"
    )


def test_line_of_an_answer() -> None:
    assert str(faults.http_error(503, b"no healthy upstream")) == (
        "the upstream answered with HTTP 503: no healthy upstream "
        "(category server_error, blame provider)"
    )


def test_line_of_an_answer_without_a_body() -> None:
    assert str(faults.http_error(401)) == (
        "the upstream answered with HTTP 401 (category authentication, blame credential)"
    )


def test_line_of_an_error_that_nobody_knows() -> None:
    assert str(faults.error_event({"error": {"message": "m"}})) == "the upstream sent an error: m"
    assert str(faults.error_event({"error": {}})) == "the upstream sent an error: {'error': {}}"


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("two\nlines\r\n and  more\t.", "two lines and more ."),
        ("red \x1b[31malert\x07", r"red \x1b[31malert\x07"),
        ("a\u2028b", "a b"),
        ("a\u202eb", r"a\u202eb"),
        ("lone \ud83d", r"lone \ud83d"),
        ("grüße 你好 😀", "grüße 你好 😀"),
        ("x" * 10_000, "x" * 499 + "…"),
    ],
)
def test_text_is_one_line(text: str, line: str) -> None:
    assert str(StreamFault(text, kind="corrupt")) == line


@pytest.mark.fuzz
@given(text=st.text(), status=st.integers(400, 599))
def test_any_words_of_an_upstream_make_one_short_line(text: str, status: int) -> None:
    for fault in (
        faults.error_event({"error": {"message": text, "code": text, "type": text}}),
        faults.error_event(text),
        faults.http_error(status, text.encode("utf-8", "surrogatepass")),
        faults.from_exception(ValueError(text)),
    ):
        line = str(fault)
        assert line.isprintable()
        assert 0 < len(line) <= 500
        line.encode()


# That a body is read by.
KEYS = [
    *("error", "errors", "message", "msg", "code", "type", "status", "detail", "details"),
    *("metadata", "raw", "headers", "base_resp", "response", "violations", "loc"),
    *("retry_after", "retryDelay"),
]
JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=20)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(
            st.one_of(
                st.text(max_size=5),
                st.sampled_from(KEYS),
            ),
            inner,
            max_size=5,
        ),
    ),
    max_leaves=20,
)


@pytest.mark.fuzz
@given(body=JSON)
def test_any_body_makes_a_fault_with_words_and_codes_that_are_text(body: Any) -> None:
    for fault in (
        faults.error_event(body),
        faults.http_error(500, json.dumps(body).encode()),
    ):
        assert fault.provider_message is None or fault.provider_message.strip()
        assert fault.provider_code is None or isinstance(fault.provider_code, str)
        assert fault.retry_after is None or fault.retry_after >= 0
        assert str(fault).isprintable()
        json.dumps(fault.as_dict(content=True))


def test_body_of_any_depth_is_read() -> None:
    body: Any = {"error": "deep"}
    for _ in range(500):
        body = {"error": body, "message": "not so deep"}
    assert faults.error_event(body).provider_message == "not so deep"
    assert faults.http_error(500, b'{"error":' * 100_000).status_code == 500


# What is not an event stream. ---------------------------------------------------------

TEXT = b"data: " + bytes(range(32, 127)) * 4


@pytest.mark.parametrize(
    ("head", "encoding", "told"),
    [
        (gzip.compress(TEXT), "", "gzip"),
        (gzip.compress(TEXT), "gzip", "content-encoding: gzip"),
        *((zlib.compress(TEXT, level), "", "zlib") for level in (0, 1, 6, 9)),
        (b"\x28\xb5\x2f\xfd\x04\x00\x41\x00", "zstd", "zstd"),
        (b"\x0b\x02\x80data\x03", "br", "Brotli"),
        (b"\x0b\x02\x80data\x03", "", "perhaps compressed with br"),
        (b"\x00\x01\x02", "", "binary"),
        (b"\xff\xd8\xff\xe0", "", "binary"),
    ],
)
def test_compressed_body_is_named(head: bytes, encoding: str, told: str) -> None:
    line = str(faults.not_sse(head, encoding))
    assert line.startswith("the body is not an event stream but ")
    assert told in line
    assert head[:4].hex(" ") in line


@pytest.mark.parametrize(
    ("head", "told"),
    [
        (
            b"<!DOCTYPE html>\n<html><title>502 Bad Gateway</title>",
            "an HTML page '502 Bad Gateway'",
        ),
        (b"<html><head><TITLE lang=en>\n Sign\n in </TITLE>", "an HTML page 'Sign in'"),
        (b"\n<!-- 1 --><html><body><h1>Oops</h1></body></html>", "an HTML page 'Oops'"),
        (b"<html><head><title>cut o", "an HTML page 'cut o'"),
        (b"<html>", "an HTML page;"),
    ],
)
def test_html_page_is_named_by_its_title(head: bytes, told: str) -> None:
    assert f"but {told}" in str(faults.not_sse(head))


@pytest.mark.parametrize(
    "head",
    [
        b"upstream connect error",
        b"x^2 is text, though it begins like zlib data",
        "Dienst gestört: ü".encode()[:-1],  # cut inside a character
        b"<3 no page",
        b"",
    ],
)
@pytest.mark.parametrize("encoding", ["", "br", "identity"])
def test_text_is_shown_as_it_is(head: bytes, encoding: str) -> None:
    line = str(faults.not_sse(head, encoding))
    assert line == f"the body is not an event stream; it begins with {head!r}"


def test_headers_tell_what_a_strange_body_is() -> None:
    head = b"\x0b\x02\x80data\x03"
    headers = {"Content-Encoding": "br", "Retry-After": "4"}
    fault = faults.from_facts(("not_sse", head), visible=False, reasoning=False, headers=headers)
    assert str(fault) == str(faults.not_sse(head, "br"))
    facts = ("error_event", {"error": "m"})
    fault = faults.from_facts(facts, visible=True, reasoning=True, headers=headers)
    assert (fault.retry_after, fault.visible_output, fault.reasoning_output) == (4, True, True)


# Time. ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        (faults.timed_out("first_chunk_timeout", 10), "no chunk came within 10 s"),
        (faults.timed_out("idle_timeout", 0.5, events=1), "no chunk came for 0.5 s, after 1 event"),
        (
            faults.timed_out("total_timeout", 90, events=20),
            "the stream was not over after 90 s and 20 events",
        ),
    ],
    ids=lambda value: getattr(value, "kind", ""),
)
def test_timeouts(fault: StreamFault, told: str) -> None:
    assert str(fault) == told
    assert (fault.category, fault.blame, fault.safe_to_retry) == (
        "api_connection",
        "provider",
        True,
    )


def test_stream_that_is_too_slow_is_idle() -> None:
    fault = faults.too_slow(12.34, 50, 30)
    assert (fault.kind, fault.category, fault.blame) == (
        "idle_timeout",
        "api_connection",
        "provider",
    )
    for number in ("12.3 ", "30 s", "min_throughput=50"):
        assert number in str(fault)


# Retries. ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("blame", "expected"),
    [
        ("request", False),
        ("client", False),
        ("credential", True),
        ("provider", True),
        ("transport", True),
    ],
)
def test_retry_is_safe_where_another_attempt_may_succeed(blame: Any, expected: bool) -> None:
    for reasoning in (False, True):
        fault = StreamFault("x", kind="truncated", blame=blame, reasoning_output=reasoning)
        assert fault.safe_to_retry is expected
        fault.visible_output = True
        assert not fault.safe_to_retry


# Copies and logs. ----------------------------------------------------------------------

COPIES: dict[str, Any] = {
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    **{
        f"pickle-{protocol}": lambda fault, protocol=protocol: pickle.loads(
            pickle.dumps(fault, protocol)
        )
        for protocol in range(pickle.HIGHEST_PROTOCOL + 1)
    },
}


class OwnFault(StreamFault):
    """A caller's own sort of fault, made otherwise."""

    def __init__(self, model: str) -> None:
        super().__init__(f"{model} failed", kind="empty")
        self.model = model


@pytest.mark.parametrize("way", COPIES.values(), ids=COPIES)
def test_fault_survives_copying(way: Any) -> None:
    for fault in [*some_faults(), OwnFault("m")]:
        fault.partial = {"choices": [{"index": 0}]}
        twin = way(fault)
        assert type(twin) is type(fault)
        assert str(twin) == str(fault)
        assert twin.__dict__ == fault.__dict__


def test_fault_whose_cause_cannot_be_pickled_is_pickled_without_it() -> None:
    error = ValueError("x")
    error.socket = io.BytesIO().getbuffer()  # type: ignore[attr-defined]
    with pytest.raises(TypeError):
        pickle.dumps(error)
    fault = faults.from_exception(error)
    assert "ValueError: x" in str(pickle.loads(pickle.dumps(fault)))
    assert copy.deepcopy(fault).__cause__ is error


def test_deep_copy_shares_nothing_else() -> None:
    fault = faults.error_event(copy.deepcopy(RATE))
    twin = copy.deepcopy(fault)
    fault.body["error"]["message"] = "changed"
    assert twin.body == RATE


def test_fault_with_a_note_survives_pickling() -> None:
    fault = faults.empty(done=False)
    if sys.version_info >= (3, 11):
        fault.add_note("of a caller")
    assert str(pickle.loads(pickle.dumps(fault))) == str(fault)


def test_fault_is_logged_with_its_cause() -> None:
    written = io.StringIO()
    handler = logging.StreamHandler(written)
    logger = logging.getLogger("streamnorm.test_fault_words")
    logger.addHandler(handler)
    logger.propagate = False
    try:
        try:
            raise ConnectionResetError("peer went away")
        except ConnectionResetError as error:
            raise faults.from_exception(error) from error
    except StreamFault:
        logger.exception("request failed")
    finally:
        logger.removeHandler(handler)
    text = written.getvalue()
    assert text.startswith("request failed\n")
    assert "ConnectionResetError: peer went away" in text
    assert "streamnorm.faults.StreamFault: the source failed" in text


def test_dict_of_a_fault_is_plain_json() -> None:
    fault = faults.http_error(429, json.dumps(RATE).encode())
    fault.partial = {"choices": []}
    fault.__cause__ = ConnectionError("x")
    told = json.loads(json.dumps(fault.as_dict()))
    assert told == {
        "kind": "http_error",
        "category": "rate_limit",
        "blame": "credential",
        "message": str(fault),
        "status_code": 429,
        "retry_after": 20.0,
        "provider_code": "rate_limit_exceeded",
        "provider_message": RATE["error"]["message"],
        "visible_output": False,
        "reasoning_output": False,
        "safe_to_retry": True,
        "cause": "ConnectionError",
    }
    assert fault.as_dict(content=True) == {**told, "body": RATE, "partial": {"choices": []}}


@pytest.mark.parametrize("index", range(len(some_faults())))
def test_dict_of_every_fault_is_plain_json(index: int) -> None:
    fault = some_faults()[index]
    assert json.loads(json.dumps(fault.as_dict()))["message"] == str(fault)


# The import. ---------------------------------------------------------------------------


def test_import_is_light() -> None:
    # Alone: orjson, where streamnorm finds it, imports datetime.
    code = """
import importlib.util, sys
path = sys.argv[1]
before = set(sys.modules)
spec = importlib.util.spec_from_file_location("alone", path, submodule_search_locations=[])
module = importlib.util.module_from_spec(spec)
spec.submodule_search_locations.append(path.rpartition("__init__")[0])
sys.modules["alone"] = module
spec.loader.exec_module(module)
module.empty(False), module.not_sse(b""), module.truncated()
print(*sorted(set(sys.modules) - before))
"""
    done = subprocess.run(
        [sys.executable, "-S", "-c", code, str(faults.__file__)],
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
    )
    imported = set(done.stdout.split())
    assert {"alone", "alone.words"} <= imported
    heavy = {"asyncio", "email", "datetime", "ast", "json", "logging", "ssl", "dataclasses"}
    assert not imported & heavy
    assert not imported & {"alone.categories", "alone.reading", "alone.exceptions"}
