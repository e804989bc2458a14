"""How a stream ended, when it did not end well: one exception type and its vocabulary."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, Literal

Kind = Literal[
    "none_stream",
    "empty",
    "not_sse",
    "error_event",
    "http_error",
    "truncated",
    "corrupt",
    "too_large",
    "first_chunk_timeout",
    "idle_timeout",
    "total_timeout",
    "transport",
]
Category = Literal[
    "rate_limit",
    "quota_exceeded",
    "authentication",
    "forbidden",
    "invalid_request",
    "context_window_exceeded",
    "server_error",
    "api_connection",
    "unknown",
]
Blame = Literal["request", "credential", "provider", "transport", "client"]

# Bytes of a broken event that its fault shows: enough to recognise an HTML page or a
# half chunk in a log line, and bounded.
SHOWN_BYTES: Final = 200

_NONE_STREAM: Final = (
    "the source is None: no stream was opened. LiteLLM returns None from acompletion(stream=True) "
    "when the upstream answered HTTP 422 twice while litellm.drop_params was set (its issue "
    "32221); the request is the likely cause, not the credential. Set litellm.drop_params = False "
    "to see the upstream's own error"
)


class StreamFault(Exception):
    """A stream that did not end well.

    Raised after everything that was received before it has been delivered. It only
    reports: nothing is retried, slept on or marked.

    Attributes:
        kind: What happened; one of `Kind`.
        category: What the upstream's error means, in the caller's words; ``unknown``
            where the upstream did not say.
        blame: Who can mend it. ``request``: another credential will fail as well.
        status_code: HTTP status or the numeric code of an error event, else None.
        retry_after: Seconds that the upstream asked to wait, else None.
        body: The parsed error body or error event, else None.
        provider_message: The upstream's own words, else None.
        visible_output: Answer text or tool calls had been delivered before the fault.
        reasoning_output: Reasoning text had been delivered before the fault.
        partial: What was merged before the fault, else None.
    """

    kind: Kind
    category: Category
    blame: Blame

    def __init__(
        self,
        message: str,
        *,
        kind: Kind,
        category: Category = "unknown",
        blame: Blame = "provider",
        status_code: int | None = None,
        retry_after: float | None = None,
        body: Any = None,
        provider_message: str | None = None,
        visible_output: bool = False,
        reasoning_output: bool = False,
        partial: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(message)
        self.kind = kind
        self.category = category
        self.blame = blame
        self.status_code = status_code
        self.retry_after = retry_after
        self.body = body
        self.provider_message = provider_message
        self.visible_output = visible_output
        self.reasoning_output = reasoning_output
        self.partial = partial

    @property
    def safe_to_retry(self) -> bool:
        """True where a new attempt cannot repeat visible output and may succeed."""
        return not self.visible_output and self.blame != "request"

    def __reduce__(self) -> tuple[Any, ...]:
        return (_rebuild, (str(self), self.__dict__.copy()))


def _rebuild(message: str, state: dict[str, Any]) -> StreamFault:
    # Keyword-only arguments do not survive BaseException's own pickling.
    fault = StreamFault(message, kind=state["kind"])
    fault.__dict__.update(state)
    return fault


def none_stream() -> StreamFault:
    """The fault for a source that is None."""
    return StreamFault(_NONE_STREAM, kind="none_stream", blame="request")


def transport(error: BaseException) -> StreamFault:
    """The fault for an exception that the source raised while it was read."""
    text = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    fault = StreamFault(
        f"the source failed while it was read: {text}",
        kind="transport",
        category="api_connection",
        blame="transport",
    )
    fault.__cause__ = error
    return fault


def cancelled() -> StreamFault:
    """The fault for a stream whose reader was cancelled before it had ended well."""
    return StreamFault(
        "a read of the stream was cancelled before its end, which closed the source: the rest "
        "of the stream is lost",
        kind="truncated",
        blame="client",
    )


def too_large(unit: str, limit: int) -> StreamFault:
    """The fault for a line or event over its limit, in bytes."""
    return StreamFault(
        f"{unit} is larger than max_{unit}_bytes={limit}",
        kind="too_large",
    )


def corrupt(data: bytes) -> StreamFault:
    """The fault for an event whose data is not a JSON object.

    Args:
        data: The event's data; the first `SHOWN_BYTES` are shown.
    """
    return StreamFault(
        f"event data is not a JSON object: {data[:SHOWN_BYTES]!r}",
        kind="corrupt",
    )


def empty(done: bool, skipped: int = 0) -> StreamFault:
    """The fault for a stream in which no chunk came.

    Args:
        done: ``[DONE]`` was seen.
        skipped: Malformed events that were skipped.
    """
    seen = "only [DONE]" if done else "no event with data"
    if skipped:
        seen = f"nothing but malformed events, {skipped} of which were skipped"
    return StreamFault(f"the stream was empty: {seen}", kind="empty")


def not_sse(head: bytes) -> StreamFault:
    """The fault for a body that is neither an event stream nor JSON.

    Args:
        head: Its first bytes; the first `SHOWN_BYTES` are shown.
    """
    return StreamFault(
        f"the body is not an event stream; it begins with {head[:SHOWN_BYTES]!r}",
        kind="not_sse",
    )


def truncated(rest: bytes = b"") -> StreamFault:
    """The fault for a stream that stopped with neither ``[DONE]`` nor a finish_reason.

    Args:
        rest: The data of a last event that was cut off; the first `SHOWN_BYTES` are shown.
    """
    inside = f", and its last event is cut off: {rest[:SHOWN_BYTES]!r}" if rest else ""
    return StreamFault(
        f"the stream ended early: neither [DONE] nor a finish_reason was seen{inside}",
        kind="truncated",
        category="api_connection",
        blame="transport",
    )


def error_event(body: Any) -> StreamFault:
    """The fault for an error that the upstream sent inside the stream.

    Args:
        body: The parsed event or body, or its text where it is not JSON.
    """
    error = body.get("error") if isinstance(body, dict) else body
    message = _message(error) or _message(body)
    shown = message if message is not None else repr(body)[:SHOWN_BYTES]
    return StreamFault(
        f"the upstream sent an error: {shown}",
        kind="error_event",
        status_code=_status(error) or _status(body),
        body=body,
        provider_message=message,
    )


def _message(error: Any) -> str | None:
    if isinstance(error, str):
        return error
    if isinstance(error, dict):
        for key in ("message", "detail"):
            if isinstance(error.get(key), str) and error[key]:
                return str(error[key])
    return None


def _status(error: Any) -> int | None:
    # Providers put the HTTP status in either key; a string code ("rate_limited") is none.
    if not isinstance(error, dict):
        return None
    for key in ("status_code", "code"):
        code = error.get(key)
        if isinstance(code, int) and not isinstance(code, bool) and 400 <= code <= 599:
            return code
    return None


_MAKERS: Final[dict[str, Callable[..., StreamFault]]] = {
    "corrupt": corrupt,
    "empty": empty,
    "error_event": error_event,
    "not_sse": not_sse,
    "too_large": too_large,
    "truncated": truncated,
}


def from_facts(facts: tuple[Any, ...], *, visible: bool, reasoning: bool) -> StreamFault:
    """Put an engine's facts of a fault into words: the words are here, for both engines.

    Args:
        facts: The kind, and the arguments of the function of that name.
        visible: Value of ``visible_output``.
        reasoning: Value of ``reasoning_output``.
    """
    fault = _MAKERS[facts[0]](*facts[1:])
    fault.visible_output = visible
    fault.reasoning_output = reasoning
    return fault
