"""How long an upstream asks to wait, wherever it says so."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamnorm import StreamFault, faults

NOON = "Sat, 21 Nov 2026 12:00:00 GMT"
NOON_EPOCH = 1_795_262_400


def limited(headers: Any = None, **error: Any) -> StreamFault:
    """A 429 with these headers and members of its error."""
    body = json.dumps({"error": {"message": "m", **error}}).encode()
    return faults.http_error(429, body, headers)


def test_noon_is_noon() -> None:
    from datetime import datetime, timezone

    assert datetime(2026, 11, 21, 12, tzinfo=timezone.utc).timestamp() == NOON_EPOCH


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("20", 20),
        ("0", 0),
        ("1.5", 1.5),
        (" 20 ", 20),
        ("-3", 0),
        ("20s", 20),
        ("Sat, 21 Nov 2026 12:00:30 GMT", 30),
        ("Saturday, 21-Nov-26 12:00:30 GMT", 30),  # RFC 850, which RFC 9110 still allows
        ("Sat, 21 Nov 2026 11:59:00 GMT", 0),
        ("Sat, 21 Nov 2026 13:00:30 +0100", 30),
        ("2026-11-21T12:00:30Z", 30),
        ("2026-11-21T12:00:30.123456789Z", 30),
        ("2026-11-21T14:00:30+02:00", 30),
        (str(NOON_EPOCH + 30), 30),
        (str((NOON_EPOCH + 30) * 1000), 30),
        ("nan", None),
        ("inf", None),
        ("-inf", None),
        ("1e400", None),
        ("99999999", None),  # three years
        ("soon", None),
        ("", None),
        ("20 apples", None),
        ("2026-13-45T99:00:00Z", None),
        ("Sat, 99 Nov 2026 12:00:00 GMT", None),
        ("9" * 5000, None),
    ],
)
def test_retry_after_header(value: str, expected: float | None) -> None:
    fault = limited({"Date": NOON, "Retry-After": value})
    assert fault.retry_after == (None if expected is None else pytest.approx(expected))


def test_dates_are_meant_by_the_upstreams_clock_and_else_by_ours() -> None:
    from email.utils import formatdate
    from time import time

    wait = limited({"Retry-After": formatdate(time() + 600, usegmt=True)}).retry_after
    assert wait is not None
    assert 500 < wait <= 601


@pytest.mark.parametrize(
    "headers",
    [
        {"Retry-After": "7"},
        {"retry-after": "7"},
        {b"Retry-After": b"7"},
        {"retry-after-ms": "7000"},
        {"retry-after-ms": "7000", "retry-after": "8"},
        {"retry-after-ms": "x", "retry-after": "7"},
    ],
)
def test_header_names_and_their_order(headers: Any) -> None:
    assert limited(headers).retry_after == 7


@pytest.mark.parametrize("library", ["httpx", "httpx2", "requests.structures", "multidict"])
def test_headers_of_any_library(library: str) -> None:
    module = pytest.importorskip(library)
    names = ("Headers", "CaseInsensitiveDict", "CIMultiDict")
    make = next(getattr(module, name) for name in names if hasattr(module, name))
    assert limited(make({"Retry-After": "7"})).retry_after == 7


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("1s", 1),
        ("6m0s", 360),
        ("20ms", 0.02),
        ("7m12.5s", 432.5),
        ("1h2m3s", 3723),
        ("2d", 172_800),
        ("450µs", 0.00045),
        ("12.5", 12.5),
        ("2026-11-21T12:01:00Z", 60),
        (str(NOON_EPOCH + 60), 60),
    ],
)
@pytest.mark.parametrize(
    "name",
    ["x-ratelimit-reset-requests", "X-RateLimit-Reset", "ratelimit-reset", "ratelimitbysize-reset"],
)
def test_reset_headers_of_a_limit(name: str, value: str, expected: float) -> None:
    assert limited({"date": NOON, name: value}).retry_after == pytest.approx(expected)


def test_limits_that_are_not_used_up_are_not_waited_for() -> None:
    headers = {
        "x-ratelimit-remaining-requests": "0",
        "x-ratelimit-reset-requests": "8.64s",
        "x-ratelimit-remaining-tokens": "149984",
        "x-ratelimit-reset-tokens": "6m0s",
    }
    assert limited(headers).retry_after == pytest.approx(8.64)
    headers["x-ratelimit-remaining-tokens"] = "0"
    assert limited(headers).retry_after == 360
    headers |= dict.fromkeys(
        ["x-ratelimit-remaining-requests", "x-ratelimit-remaining-tokens"], "5"
    )
    assert limited(headers).retry_after is None


def test_reset_headers_say_nothing_of_another_error() -> None:
    # They come with every answer, also with that of a broken server.
    fault = faults.http_error(500, b"", {"x-ratelimit-reset-requests": "6m0s"})
    assert fault.retry_after is None


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        ({"details": [{"@type": "…/google.rpc.RetryInfo", "retryDelay": "20s"}]}, 20),
        ({"details": [{"retryDelay": "0.5s"}]}, 0.5),
        ({"details": [{"retryDelay": "3600.000000001s"}]}, 3600),
        ({"retry_after": 3}, 3),
        ({"retry_after": "3"}, 3),
        ({"retry_after_ms": 250}, 0.25),
        ({"metadata": {"retry_after_seconds": 17, "headers": {"Retry-After": "18"}}}, 17),
        ({"metadata": {"headers": {"Retry-After": "18"}}}, 18),
        ({"metadata": {"headers": {"X-RateLimit-Reset": str((NOON_EPOCH + 90) * 1000)}}}, 90),
        ({"resets_in_seconds": 13872, "resets_at": 1}, 13872),
        ({"resets_at": NOON_EPOCH + 5}, 5),
        ({"retry_after": -4}, 0),
        ({"retry_after": True}, None),
        ({"retry_after": None}, None),
        ({"retry_after": float("nan")}, None),
        ({"retry_after": 10**400}, None),
        ({"retry_after": [1]}, None),
        ({"details": [{"retryDelay": "soon"}]}, None),
    ],
    ids=str,
)
def test_fields_of_the_body(error: dict[str, Any], expected: float | None) -> None:
    wait = faults.error_event(
        {"error": {"message": "m", "code": 429, **error}}, {"date": NOON}
    ).retry_after
    assert wait == (None if expected is None else pytest.approx(expected))


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("Please try again in 20s.", 20),
        ("Please try again in 1.5s. Visit …", 1.5),
        ("Please try again in 6m0s.", 360),
        ("Please try again in 20ms.", 0.02),
        ("Please try again in 7m12.5s.", 432.5),
        ("Please retry after 86400 seconds.", 86_400),
        ("Retry in about 5 minutes", 300),
        ("Please wait 33 seconds before retrying.", 33),
        ("Your quota will reset after 2h34m5s.", 9245),
        ("Try again in 4 days 20 hours 9 minutes.", 418_140),
        ("try again in 1 hour, 2 minutes and 3 seconds", 3723),
        ("Please retry in 33.574192834s.", 33.574192834),
        ("Please try again later", None),
        ("Limit 3 requests per 20s", None),
        ("retry in 5 apples", None),
        ("try again in " + "9" * 300 + "s", None),
    ],
)
def test_words(words: str, expected: float | None) -> None:
    wait = faults.error_event({"error": words}).retry_after
    assert wait == (None if expected is None else pytest.approx(expected))


def test_what_is_most_exact_decides() -> None:
    resets = {"x-ratelimit-reset-requests": "6m0s"}
    words = "Please try again in 5s"
    assert limited(resets, message=words).retry_after == 5
    assert limited(resets, message=words, retry_after=4).retry_after == 4
    assert limited({**resets, "Retry-After": "3"}, message=words, retry_after=4).retry_after == 3
    assert limited({"Retry-After": "soon"}, retry_after=4).retry_after == 4


@pytest.mark.fuzz
@given(
    value=st.one_of(
        st.text(max_size=40),
        st.from_regex(r"[0-9dhms.\-+:TZ, a-z]{0,40}", fullmatch=True),
        st.floats().map(str),
        st.integers().map(str),
    )
)
def test_any_header_gives_a_wait_or_none(value: str) -> None:
    for name in ("retry-after", "retry-after-ms", "x-ratelimit-reset", "date"):
        wait = limited({"retry-after": "1" if name == "date" else "", name: value}).retry_after
        assert wait is None or 0 <= wait <= 366 * 86_400
