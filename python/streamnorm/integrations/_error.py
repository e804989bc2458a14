"""A fault as a gateway tells it to its own client: OpenAI's error shape, a status, headers.

What goes out is for a stranger. So an upstream's own words are passed on, but for those about
the gateway's credential (which may hold a part of the key); and what is known of the way
there (addresses, first bytes of a strange body) stays in the fault.

Source of the shape: https://platform.openai.com/docs/guides/error-codes and the ``Error``
schema of OpenAI's OpenAPI description: ``message``, ``type``, ``param``, ``code``.
"""

from __future__ import annotations

import json
import math
from typing import Any, Final, NamedTuple

from ..faults import StreamFault
from ..faults.words import one_line


class _Told(NamedTuple):
    """What one sort of fault is called.

    Attributes:
        type: Value of ``type``: words of OpenAI's own, which its SDKs and others know.
        message: What is said where the upstream's words are not.
    """

    type: str
    message: str


# By category. The credential is the gateway's, so a client must not read of "its" key.
_CATEGORIES: Final[dict[str, _Told]] = {
    "rate_limit": _Told("rate_limit_error", "the rate limit at the upstream is reached"),
    "quota_exceeded": _Told("insufficient_quota", "the gateway's quota at the upstream is used up"),
    "authentication": _Told("server_error", "the upstream refused the gateway's credential"),
    "forbidden": _Told("server_error", "the upstream forbids this to the gateway's credential"),
    "invalid_request": _Told("invalid_request_error", "the upstream refused the request"),
    "context_window_exceeded": _Told(
        "invalid_request_error", "the request is longer than the model's context window"
    ),
    "server_error": _Told("server_error", "the upstream failed"),
    "api_connection": _Told("server_error", "the connection to the upstream failed"),
    "unknown": _Told("server_error", "the upstream failed"),
}
# By kind, where that says more than a category.
_KINDS: Final[dict[str, str]] = {
    "none_stream": "the upstream gave no stream; the request is the likely cause",
    "empty": "the upstream's stream was empty",
    "not_sse": "the upstream's answer was no event stream",
    "corrupt": "the upstream sent an event that cannot be read",
    "too_large": "the upstream sent an event that is too large",
    "truncated": "the upstream's stream ended early",
    "first_chunk_timeout": "the upstream sent nothing in time",
    "idle_timeout": "the upstream paused for too long",
    "total_timeout": "the upstream took too long",
}
_VAGUE: Final = ("server_error", "api_connection", "unknown")
_SECRET: Final = ("authentication", "forbidden")
# What these say is true of the caller's request as well. Others of the 4xx are about a
# credential or an address that only the gateway knows.
_PASSED: Final = (400, 404, 413, 415, 422, 451)
_BUSY: Final = (503, 529)


def error_body(fault: StreamFault) -> dict[str, Any]:
    """The JSON body that tells a client of *fault*.

    Returns:
        ``{"error": {"message", "type", "param", "code", "fault"}}``. ``message`` is one line;
        ``code`` is the upstream's own where that may be passed on, else the category, or the
        kind where that says more; ``fault`` (not OpenAI's) has the
        ``kind``, ``category`` and ``blame``.
    """
    told = _CATEGORIES.get(fault.category, _CATEGORIES["unknown"])
    is_passed = fault.category not in _SECRET and fault.blame != "client"
    own = _KINDS.get(fault.kind) if fault.category in _VAGUE else None
    words = fault.provider_message if is_passed else None
    code = fault.provider_code if is_passed else None
    sort = fault.kind if own or fault.category == "unknown" else fault.category
    return {
        "error": {
            "message": one_line(words or own or told.message),
            "type": "invalid_request_error" if fault.blame == "request" else told.type,
            "param": None,
            "code": code or sort,
            "fault": {"kind": fault.kind, "category": fault.category, "blame": fault.blame},
        }
    }


def http_status(fault: StreamFault) -> int:
    """The HTTP status with which *fault* is told, where nothing was sent yet.

    It is the caller's 4xx only where the request is to blame. A refused credential is the
    gateway's own, so it is a 502: with a 401 the client would look for a fault in its key.
    """
    if fault.blame == "request":
        return fault.status_code if fault.status_code in _PASSED else 400
    if fault.blame == "client":
        return 499  # the client has left
    if fault.category == "rate_limit":
        return 429
    if fault.kind.endswith("_timeout") or fault.status_code in (408, 504):
        return 504
    return 503 if fault.status_code in _BUSY else 502


def error_headers(fault: StreamFault) -> dict[str, str]:
    """Header fields for an answer that tells of *fault*, by lower-case name.

    ``retry-after`` in whole seconds where the upstream asked to wait, and
    ``x-should-retry: false`` where another try can only fail (OpenAI's SDKs obey it, and
    would try again after every 5xx).
    """
    headers = {}
    if fault.retry_after is not None and math.isfinite(fault.retry_after):
        headers["retry-after"] = str(math.ceil(fault.retry_after))
    if fault.category in ("authentication", "forbidden", "quota_exceeded"):
        headers["x-should-retry"] = "false"
    return headers


def error_bytes(fault: StreamFault) -> bytes:
    """`error_body` as JSON in one line of ASCII."""
    return json.dumps(error_body(fault), separators=(",", ":")).encode()


def error_event(fault: StreamFault) -> bytes:
    """The last event of a stream that did not end well; no ``[DONE]`` follows it.

    It has no ``event`` line: openai-python reads an ``error`` member of the data of an event
    without a name.
    """
    return b"data: " + error_bytes(fault) + b"\n\n"
