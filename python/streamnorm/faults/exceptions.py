"""What an exception of any library says of a stream, by its shape and its classes' names."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

from . import StreamFault, upstream_error
from .classes import CLASSES, Class
from .deciding import Verdict
from .reading import ErrorFacts, parse, plain, read
from .retry_after import lower_keys, seconds
from .words import one_line

# Attributes by what libraries call the same thing. aiohttp: status; google-genai: code.
_STATUS_NAMES: Final = ("status_code", "status", "code")
_BODY_NAMES: Final = ("body", "details", "error")
_HEADER_NAMES: Final = ("litellm_response_headers", "headers")

# An attribute in which an exception tells what had come out of its stream: whether an answer,
# and whether reasoning had. It goes on exceptions of HTTP clients that are raised inside of
# other libraries (`streamnorm.litellm_text`).
NOTE: Final = "_streamnorm_output"

# Exceptions that are followed from one: a chain may be long, and may be a circle.
_LONGEST_CHAIN: Final = 16

_NO_FACTS: Final = ErrorFacts(None, (), None, ())


class _Reading(NamedTuple):
    """What one exception of a chain says; the higher *weight*, the more telling."""

    weight: int
    error: BaseException
    row: Class | None
    status: int | None
    body: Any
    facts: ErrorFacts
    headers: dict[str, str] | None


def from_exception(
    error: BaseException, *, known_only: bool, handled: BaseException | None
) -> StreamFault | None:
    """See `streamnorm.faults.from_exception`; None for one that is not *known_only*."""
    chain = list(_chain(error, handled))
    for each in chain:
        if isinstance(each, StreamFault):
            return each
    # The first of equals: it is the one that was raised.
    readings = [_read(each) for each in chain]
    if known_only and not any(map(_is_of_an_upstream, readings)):
        return None
    best = max(readings, key=lambda reading: reading.weight)
    fault = _fault(_worded_by_another(best, readings), error)
    fault.visible_output = any(_has_output(each) for each in chain)
    noted = next((note for each in chain if (note := _get(each, NOTE)) is not None), None)
    if isinstance(noted, tuple):
        fault.visible_output, fault.reasoning_output = noted
    fault.__cause__ = error
    return fault


def _is_of_an_upstream(reading: _Reading) -> bool:
    """Not only words, which may quote anything, nor what could not be decoded by the host."""
    if reading.row is not None:
        return reading.row.kind != "corrupt" and reading.row.blame != "client"
    return reading.status is not None or bool(reading.weight and _body(reading.error))


def _chain(error: BaseException, handled: BaseException | None) -> Iterator[BaseException]:
    """*error* and what caused it, each once, nearest first.

    Python makes what the host is just handling (*handled*) the context of all that is raised
    meanwhile: in a second attempt that is the failure of the first, which caused nothing here.
    """
    seen: list[BaseException] = []
    due: list[Any] = [error]
    while due and len(seen) < _LONGEST_CHAIN:
        each = due.pop(0)
        if not isinstance(each, BaseException) or any(each is other for other in seen):
            continue
        seen.append(each)
        yield each
        # LiteLLM keeps the exception behind it there, anyio's task groups theirs.
        due += [_get(each, "original_exception"), each.__cause__]
        inner = _get(each, "exceptions")
        due += inner[:_LONGEST_CHAIN] if isinstance(inner, list | tuple) else []
        context = None if each.__suppress_context__ else each.__context__
        if isinstance(context, StreamFault) and not _is_made_of(each, context):
            continue
        if context is not handled:
            due.append(context)


def _worded_by_another(best: _Reading, readings: list[_Reading]) -> _Reading:
    """*best*, with the upstream's words where only an exception behind it has them.

    LiteLLM keeps the text of what it caught, and the OpenAI SDK from 3 on says no more in it
    than the status, unless the body has the form of OpenAI's errors.
    """
    if best.status is None or best.body is not None:
        return best
    for other in readings:
        if other.body is not None and other.facts.message and other.status is not None:
            if other.status // 100 != best.status // 100:
                break
            return best._replace(body=other.body, facts=other.facts)
    return best


def _is_made_of(error: BaseException, fault: StreamFault) -> bool:
    """Whether the library that raised *error* caught *fault* from below, and nobody else did.

    LiteLLM makes its own exceptions of all others and names no cause. The first entry of a
    traceback is where the exception got to: the host, for a fault that was raised to it.
    """
    trace = fault.__traceback__
    if trace is None:
        return False
    where = str(trace.tb_frame.f_globals.get("__name__"))
    return where.partition(".")[0] == type(error).__module__.partition(".")[0] == "litellm"


def _read(error: BaseException) -> _Reading:
    row = _row(error)
    if row is not None and row.says in ("class", "cause"):
        facts = _worded(error) if row.says == "cause" else _NO_FACTS
        if facts.codes or facts.status is not None:  # the upstream's own error, quoted
            return _Reading(4, error, None, None, _quoted(facts), facts, None)
        weight = 1 if row.says == "cause" else 2 if row.category == "api_connection" else 3
        return _Reading(weight, error, row, None, None, _NO_FACTS, None)
    headers = _headers(error)
    status = None if row is not None and row.says == "body" else _status(error)
    body = plain(_body(error))
    facts = read(body) if body else _NO_FACTS
    said = _worded(error)
    if not facts.message or (said.codes and not facts.codes):
        body, facts = (body or _quoted(said)), said
    if status is None and row is None and not facts.codes and facts.status is None:
        return _Reading(0, error, None, None, None, _NO_FACTS, None)
    weight = 6 if status is not None or facts.codes else 5
    return _Reading(weight, error, row, status, body, facts, headers)


def _fault(reading: _Reading, raised: BaseException) -> StreamFault:
    error, row = reading.error, reading.row
    if reading.weight >= 4:
        verdict = None
        if row is not None and row.decides:
            verdict = Verdict(row.category, row.blame)
        is_answer = reading.status is not None or (row is not None and row.decides)
        return upstream_error.make(
            "http_error" if is_answer else "error_event",
            _what(reading.status, is_answer),
            reading.body,
            reading.facts,
            status=reading.status,
            headers=reading.headers,
            verdict=verdict,
            wait=_cooldown(error),
        )
    words = _words(raised) if raised is error else f"{_words(raised)}; from {_words(error)}"
    if row is None:
        row = _UNKNOWN
    what = _WHAT.get((row.kind, row.blame), "the source failed while it was read")
    return StreamFault(f"{what}: {words}", kind=row.kind, category=row.category, blame=row.blame)


_UNKNOWN: Final = Class("", "", "transport", "api_connection", "transport", "raised by the source")
_WHAT: Final = {
    ("corrupt", "provider"): "what the source sent cannot be decoded",
    ("error_event", "request"): "the upstream refused",
    ("transport", "client"): "the source was used wrongly",
}


def _what(status: int | None, is_answer: bool) -> str:
    if status is not None:
        return f"the upstream answered with HTTP {status}"
    return "the call was refused" if is_answer else "the upstream sent an error"


def _row(error: BaseException) -> Class | None:
    for cls in type(error).__mro__:
        package = cls.__module__.partition(".")[0]
        for row in CLASSES:
            if cls.__name__ in row.names.split() and package in row.packages.split():
                return row
    return None


def _get(holder: object, name: str) -> Any:
    """An attribute, None where there is none or asking for it fails."""
    try:
        return getattr(holder, name, None)
    except Exception:  # noqa: BLE001 - httpx raises where a body was not read
        return None


def _status(error: BaseException) -> int | None:
    response = _get(error, "response")
    if isinstance(response, Mapping):  # botocore
        return _http_status((response.get("ResponseMetadata") or {}).get("HTTPStatusCode"))
    for holder in (error, response):
        for name in _STATUS_NAMES:
            # As a property it is an alias, and aiohttp's warns.
            if not isinstance(getattr(type(holder), name, None), property):
                status = _http_status(_get(holder, name))
                if status is not None:
                    return status
    details = _get(error, "details")  # pyreqwest
    return _http_status(details.get("status")) if isinstance(details, Mapping) else None


def _http_status(value: Any) -> int | None:
    return int(value) if isinstance(value, int) and 400 <= value <= 599 else None


def _body(error: BaseException) -> Any:
    response = _get(error, "response")
    for name in _BODY_NAMES:
        body = _get(error, name)
        if isinstance(body, Mapping) and "causes" in body:
            continue  # pyreqwest's own words on what went wrong
        if isinstance(body, bytes | bytearray):
            body = parse(bytes(body))
        elif isinstance(body, str):
            body = parse(body.encode("utf-8", "replace"))
        if isinstance(body, Mapping | list | str) and body:
            return body
    if isinstance(response, Mapping):
        return response
    # What httpx and requests have read already: to ask for more could block.
    content = _get(response, "_content")
    return parse(content) if isinstance(content, bytes) else None


def _headers(error: BaseException) -> dict[str, str]:
    response = _get(error, "response") or _get(error, "raw_response")
    if isinstance(response, Mapping):
        return lower_keys((response.get("ResponseMetadata") or {}).get("HTTPHeaders"))
    found = lower_keys(_get(response, "headers"))
    for name in _HEADER_NAMES:
        found.update(lower_keys(_get(error, name)))
    return found


def _worded(error: BaseException) -> ErrorFacts:
    """What the exception's text says; gateways put the upstream's body there."""
    text = _text(error)
    return read(text) if text else _NO_FACTS


def _quoted(facts: ErrorFacts) -> Any:
    return dict(facts.objects[-1]) if facts.objects else None


def _cooldown(error: BaseException) -> float | None:
    wait = _get(error, "cooldown_time")
    return seconds(float(wait)) if isinstance(wait, int | float) else None


def _has_output(error: BaseException) -> bool:
    """True where LiteLLM says that it had passed on an answer before it raised."""
    given = ("generated_content", "emitted_disqualifying_content")
    return any(bool(_get(error, name)) for name in given)


def _words(error: BaseException) -> str:
    text = one_line(_text(error), 300)
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _text(error: BaseException) -> str:
    try:
        text = str(error)
    except Exception:  # noqa: BLE001 - an exception that cannot say what it is
        return ""
    message = _get(error, "message")
    # Where nobody has said how, all that it was made of is printed (pyreqwest).
    is_listed = len(error.args) > 1 and text == str(error.args)
    return message if is_listed and isinstance(message, str) else text
