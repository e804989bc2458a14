"""How long the upstream asks to wait: headers, fields of the body, words."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

# What says it in a body, and what one unit of a bare number is in seconds.
# retryDelay: google.rpc.RetryInfo; retry_after_seconds: OpenRouter's metadata;
# resets_in_seconds: the ChatGPT backend; cooldown_time: LiteLLM's router.
_BODY_KEYS: Final = {
    "retryDelay": 1.0,
    "retry_after_ms": 0.001,
    "retry_after": 1.0,
    "retry_after_seconds": 1.0,
    "retryAfter": 1.0,
    "resets_in_seconds": 1.0,
    "resets_at": 1.0,
}

_SECONDS: Final = {
    **dict.fromkeys(("ns",), 1e-9),
    **dict.fromkeys(("us", "µs"), 1e-6),
    **dict.fromkeys(("ms", "millisecond", "milliseconds"), 0.001),
    **dict.fromkeys(("s", "sec", "secs", "second", "seconds"), 1.0),
    **dict.fromkeys(("m", "min", "mins", "minute", "minutes"), 60.0),
    **dict.fromkeys(("h", "hr", "hrs", "hour", "hours"), 3600.0),
    **dict.fromkeys(("d", "day", "days"), 86_400.0),
}

_PART: Final = r"\d{1,12}(?:\.\d{1,12})?"
# OpenAI and Groq write 6m0s, 7m12.5s, 20ms; Google 20s and 3.5s.
_DURATION: Final = re.compile(rf"(?:{_PART}(?:ms|us|µs|ns|d|h|m|s))+")
_DURATION_PARTS: Final = re.compile(rf"({_PART})(ms|us|µs|ns|d|h|m|s)")
_UNIT: Final = r"(?:milliseconds?|ms|seconds?|secs?|s|minutes?|mins?|m|hours?|hrs?|h|days?|d)"
# "try again in 1.5s", "retry after 86400 seconds", "wait 33 seconds", "reset after 2h34m".
_SAID: Final = re.compile(
    r"(?:try(?:ing)?(?: your request)? again|retry(?:ing)?|wait|resets?)"
    r"(?: again)? (?:in |after |for |at least |about )*"
    rf"((?:{_PART} ?{_UNIT}(?![a-z])(?:,? and |, | )?)+)"
)
_SAID_PARTS: Final = re.compile(rf"({_PART}) ?({_UNIT})(?![a-z])")

# A longer wait is a misread number: no upstream asks for a year.
_LONGEST: Final = 366 * 86_400.0
# From here on a number is a time since 1970, in seconds or milliseconds, and no wait.
_EPOCH: Final = 1e9
_EPOCH_MILLISECONDS: Final = 1e11


def find(
    headers: Mapping[str, str] | None,
    objects: Iterable[Mapping[str, Any]],
    message: str,
    *,
    is_limit: bool,
    now: float | None = None,
) -> float | None:
    """Find how many seconds the upstream asks to wait; None where it does not.

    ``Retry-After`` decides, then the body, then the words, and where a limit was hit the
    headers that say when it resets.

    Args:
        headers: Of the response.
        objects: The objects of the body, the innermost first.
        message: The upstream's words.
        is_limit: A rate limit or quota was hit, so the reset headers are about it.
        now: Seconds since 1970, where neither response nor clock is to be asked.
    """
    lower = lower_keys(headers)
    now = _now(lower) if now is None else now
    waits = _waits(lower, list(objects), message, is_limit, now)
    return next((wait for wait in waits if wait is not None), None)


def _waits(
    headers: dict[str, str],
    objects: list[Mapping[str, Any]],
    message: str,
    is_limit: bool,
    now: float,
) -> Iterator[float | None]:
    yield _from_retry_after(headers, now)
    for value in objects:
        for key, unit in _BODY_KEYS.items():
            if key in value:
                yield _wait(value[key], now, unit)
    # A gateway passes on the headers of the upstream behind it in the body.
    passed_on = [lower_keys(value.get("headers")) for value in objects]
    for inner in passed_on:
        yield _from_retry_after(inner, now)
    yield _from_words(message)
    if is_limit:
        for each in (headers, *passed_on):
            yield _from_resets(each, now)


def lower_keys(headers: Any) -> dict[str, str]:
    """Headers of any library as a dict of text, with the names in lower case."""
    items = getattr(headers, "items", None)
    if items is None:
        return {}
    return {_text(name).lower(): _text(value) for name, value in items()}


def seconds(value: float) -> float | None:
    """*value* as a wait: 0 where it is over, None where it is none at all."""
    if not math.isfinite(value) or value > _LONGEST:
        return None
    return max(0.0, value)


def _from_retry_after(headers: dict[str, str], now: float) -> float | None:
    # The first is Azure's, and the OpenAI SDK prefers it.
    for name, unit in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        if name in headers:
            wait = _wait(headers[name], now, unit)
            if wait is not None:
                return wait
    return None


def _from_resets(headers: dict[str, str], now: float) -> float | None:
    """The wait until every limit that is used up is reset; until the first, if none is told."""
    unknown: list[float] = []
    spent: list[float] = []
    for name, value in headers.items():
        if "ratelimit" in name and "reset" in name:
            wait = _wait(value, now)
            left = headers.get(name.replace("reset", "remaining"))
            if wait is None:
                continue
            if left is None:
                unknown.append(wait)
            elif _number(left) == 0:
                spent.append(wait)
    if spent:
        return max(spent)
    return min(unknown) if unknown else None


def _from_words(message: str) -> float | None:
    found = _SAID.search(message[:2000].lower())
    if found is None:
        return None
    return seconds(_sum(_SAID_PARTS.findall(found.group(1))))


def _wait(value: Any, now: float, unit: float = 1.0) -> float | None:
    """A number of *unit* seconds, a duration or a date as the wait from *now* on."""
    number = _number(value)
    if number is not None:
        if number >= _EPOCH_MILLISECONDS:
            return seconds(number / 1000 - now)
        return seconds(number - now if number >= _EPOCH and unit == 1.0 else number * unit)
    if not isinstance(value, str):
        return None
    text = value.strip()[:64]
    if _DURATION.fullmatch(text):
        return seconds(_sum(_DURATION_PARTS.findall(text)))
    at = _date(text)
    return None if at is None else seconds(at - now)


def _sum(parts: Iterable[tuple[str, str]]) -> float:
    return sum(float(number) * _SECONDS[unit] for number, unit in parts)


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def _date(text: str) -> float | None:
    """Seconds since 1970 of a date as HTTP (RFC 9110) or RFC 3339 writes it."""
    from datetime import datetime, timezone
    from email.utils import parsedate_to_datetime

    try:
        if text[:4].isdigit():
            # Before Python 3.11 neither a Z nor a fraction of any length is understood.
            plain = re.sub(r"\.\d+", "", text.replace("Z", "+00:00").replace("z", "+00:00"))
            at = datetime.fromisoformat(plain)
        else:
            at = parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    return (at if at.tzinfo else at.replace(tzinfo=timezone.utc)).timestamp()


def _now(headers: dict[str, str]) -> float:
    """The upstream's clock, against which its dates are meant; else this machine's."""
    at = _date(headers["date"]) if "date" in headers else None
    return time.time() if at is None else at


def _text(value: Any) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else str(value)
