"""How a stream ended, when it did not end well: one exception type and its vocabulary.

What errors mean is looked up in a table, which is imported when the first one is made of
an upstream's words or of an exception; see `streamnorm.faults.categories`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final, Literal

from .words import SHOWN_BYTES, describe, one_line

if TYPE_CHECKING:
    from ..captured import Refusal

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

    ``str(fault)`` is one line of at most 500 characters: what happened, the status, the
    provider's code and words, and what it means. It can be pickled and copied; a pickle
    leaves out ``__cause__``, which often cannot be unpickled, and its words are in the text.

    Attributes:
        kind: What happened; one of `Kind`.
        category: What the upstream's error means, in the caller's words; ``unknown``
            where the upstream did not say.
        blame: Who can mend it. ``request``: another credential will fail as well.
        status_code: HTTP status, or the one that an error event names, else None.
        retry_after: Seconds that the upstream asked to wait, 0 or more, else None.
        body: The parsed error body or error event, its text where it is not JSON, else None.
        provider_message: The upstream's own words, at most 2000 characters, else None.
        provider_code: The upstream's own code or type, such as ``rate_limit_exceeded``,
            else None.
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
        provider_code: str | None = None,
        visible_output: bool = False,
        reasoning_output: bool = False,
        partial: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(one_line(message))
        self.kind = kind
        self.category = category
        self.blame = blame
        self.status_code = status_code
        self.retry_after = retry_after
        self.body = body
        self.provider_message = provider_message
        self.provider_code = provider_code
        self.visible_output = visible_output
        self.reasoning_output = reasoning_output
        self.partial = partial

    @property
    def safe_to_retry(self) -> bool:
        """True where a new attempt cannot repeat visible output and may succeed."""
        return not self.visible_output and self.blame not in ("request", "client")

    @staticmethod
    def from_exception(error: BaseException) -> StreamFault:
        """The fault for an exception of an HTTP client, an SDK or LiteLLM.

        For exceptions that a call raised before there was a stream; those that come while a
        stream is read are faults already. *error* is the ``__cause__``. One that is not known
        is a fault of kind ``transport``, and a cancellation is never safe to retry.
        """
        return from_exception(error)

    def as_dict(self, *, content: bool = False) -> dict[str, Any]:
        """The fault as plain JSON, for structured logs.

        Args:
            content: With ``body`` and ``partial``, which may hold what was asked and
                answered.
        """
        cause = self.__cause__
        told: dict[str, Any] = {
            "kind": self.kind,
            "category": self.category,
            "blame": self.blame,
            "message": str(self),
            "status_code": self.status_code,
            "retry_after": self.retry_after,
            "provider_code": self.provider_code,
            "provider_message": self.provider_message,
            "visible_output": self.visible_output,
            "reasoning_output": self.reasoning_output,
            "safe_to_retry": self.safe_to_retry,
            "cause": None if cause is None else type(cause).__name__,
        }
        if content:
            from .reading import plain

            told.update(body=plain(self.body), partial=plain(self.partial))
        return told

    # Keyword-only arguments do not survive BaseException's own way of copying.

    def __reduce__(self) -> tuple[Any, ...]:
        return (_rebuild, (type(self), self.args, self.__dict__.copy()))

    def __copy__(self) -> StreamFault:
        return self._with_cause(_rebuild(type(self), self.args, self.__dict__.copy()))

    def __deepcopy__(self, memo: dict[int, Any]) -> StreamFault:
        from copy import deepcopy

        # The cause is shared: exceptions of HTTP libraries hold sockets and locks.
        state = deepcopy(self.__dict__, memo)
        return self._with_cause(_rebuild(type(self), self.args, state))

    def _with_cause(self, twin: StreamFault) -> StreamFault:
        twin.__cause__ = self.__cause__
        twin.__context__ = self.__context__
        twin.__suppress_context__ = self.__suppress_context__
        return twin


def _rebuild(cls: type[StreamFault], args: tuple[Any, ...], state: dict[str, Any]) -> StreamFault:
    fault = cls.__new__(cls, *args)
    fault.args = args
    fault.__dict__.update(state)
    return fault


def none_stream(refusal: Refusal | None = None) -> StreamFault:
    """The fault for a source that is None.

    Args:
        refusal: The answer of the upstream that the client made None of, where it is known.
    """
    if refusal is None:
        return StreamFault(_NONE_STREAM, kind="none_stream", blame="request")
    return _refused("none_stream", refusal.status, refusal.body, refusal.headers)


def from_exception(error: BaseException, handled: BaseException | None = None) -> StreamFault:
    """The fault for an exception that a source raised while it was opened or read.

    Classes are recognised by name and module, and errors by the attributes that they have,
    so no library is imported. What says most in the chain of *error* and its causes
    decides: an ``openai.APIConnectionError`` is what the ``httpx.ReadTimeout`` behind it is.

    Args:
        error: Any exception; a StreamFault, also as a cause, is returned as it is.
        handled: What was being handled when the source was read: no cause of *error*.

    Returns:
        A fault of kind ``http_error`` where there is a HTTP status of an error,
        ``error_event`` where there is an upstream's error without one, ``corrupt`` where
        what came could not be decoded, and else ``transport``; *error* is its ``__cause__``.
        What is no `Exception` (a cancellation, an interrupt) is the client's own doing.
    """
    if not isinstance(error, Exception):
        # A cancellation or an interrupt: whoever retries after it never lets the task end.
        fault = cancelled()
        fault.__cause__ = error
        return fault
    from .exceptions import from_exception as classify

    return classify(error, known_only=False, handled=handled) or transport(error)


def recognise(error: Exception, handled: BaseException | None = None) -> StreamFault | None:
    """As `from_exception`, but None for an exception that says nothing of an upstream."""
    from .exceptions import from_exception as classify

    return classify(error, known_only=True, handled=handled)


def transport(error: BaseException) -> StreamFault:
    """The fault for an exception that the source raised, whatever it says."""
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
        category="server_error",
    )


def corrupt(data: bytes) -> StreamFault:
    """The fault for an event whose data is not a JSON object.

    Args:
        data: The event's data; the first `SHOWN_BYTES` are shown.
    """
    return StreamFault(
        f"event data is not a JSON object: {data[:SHOWN_BYTES]!r}",
        kind="corrupt",
        category="server_error",
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
    return StreamFault(
        f"the stream was empty: {seen}",
        kind="empty",
        category="server_error",
    )


def not_sse(head: bytes, encoding: str = "") -> StreamFault:
    """The fault for a body that is neither an event stream nor JSON.

    Its text says whether the body looks compressed, binary or like an HTML page.

    Args:
        head: Its first bytes; the first `SHOWN_BYTES` are shown.
        encoding: The response's ``content-encoding``, where it is known.
    """
    return StreamFault(describe(head, encoding), kind="not_sse", category="server_error")


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


def timed_out(
    kind: Literal["first_chunk_timeout", "idle_timeout", "total_timeout"],
    limit_seconds: float,
    *,
    events: int = 0,
) -> StreamFault:
    """The fault for a stream that took too long.

    Args:
        kind: Which limit it was.
        limit_seconds: The limit.
        events: Events with data that had come by then.
    """
    count = f"{events} event{'' if events == 1 else 's'}"
    told = {
        "first_chunk_timeout": f"no chunk came within {limit_seconds:g} s",
        "idle_timeout": f"no chunk came for {limit_seconds:g} s, after {count}",
        "total_timeout": f"the stream was not over after {limit_seconds:g} s and {count}",
    }
    return StreamFault(told[kind], kind=kind, category="api_connection")


def too_slow(rate: float, limit: float, window: float) -> StreamFault:
    """The fault for a stream that came more slowly than ``min_throughput``.

    Args:
        rate: Bytes per second that came.
        limit: Bytes per second that were asked for.
        window: Seconds over which *rate* was measured.
    """
    return StreamFault(
        f"the stream came with {rate:.3g} bytes/s over {window:g} s of waiting, which is less "
        f"than min_throughput={limit:g}",
        kind="idle_timeout",
        category="api_connection",
    )


def error_event(body: Any, headers: Mapping[str, str] | None = None) -> StreamFault:
    """The fault for an error that the upstream sent inside the stream.

    Args:
        body: The parsed event or body, or its text where it is not JSON.
        headers: Of the response, for `StreamFault.retry_after`.
    """
    from . import reading, upstream_error

    facts = reading.read(body)
    what = "the upstream sent an error"
    return upstream_error.make("error_event", what, body, facts, headers=headers)


def http_error(
    status: int, body: bytes = b"", headers: Mapping[str, str] | None = None
) -> StreamFault:
    """The fault for a response with the status of an error.

    Args:
        status: Its HTTP status, 400 or more.
        body: What was read of its body.
        headers: Its headers, for `StreamFault.retry_after`.
    """
    return _refused("http_error", status, body, headers)


def _refused(
    kind: Kind, status: int, body: bytes, headers: Mapping[str, str] | None
) -> StreamFault:
    from . import reading, upstream_error

    parsed = reading.parse(body)
    facts = reading.read(parsed)
    what = f"the upstream answered with HTTP {status}"
    if kind == "none_stream":
        what = f"the client gave None for a stream: {what}"
    return upstream_error.make(kind, what, parsed, facts, status=status, headers=headers)


_MAKERS: Final[dict[str, Callable[..., StreamFault]]] = {
    "corrupt": corrupt,
    "empty": empty,
    "error_event": error_event,
    "not_sse": not_sse,
    "too_large": too_large,
    "truncated": truncated,
}


def from_facts(
    facts: tuple[Any, ...],
    *,
    visible: bool,
    reasoning: bool,
    headers: Mapping[str, str] | None = None,
) -> StreamFault:
    """Put an engine's facts of a fault into words: the words are here, for both engines.

    Args:
        facts: The kind, and the arguments of the function of that name.
        visible: Value of ``visible_output``.
        reasoning: Value of ``reasoning_output``.
        headers: Of the response, for ``retry_after`` and what a strange body may be.
    """
    kind, *arguments = facts
    if headers is not None and kind == "error_event":
        arguments.append(headers)
    elif headers is not None and kind == "not_sse":
        lower = {str(name).lower(): value for name, value in headers.items()}
        arguments.append(str(lower.get("content-encoding", "")))
    fault = _MAKERS[kind](*arguments)
    fault.visible_output = visible
    fault.reasoning_output = reasoning
    return fault
