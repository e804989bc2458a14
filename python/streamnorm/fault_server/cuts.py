"""Streams that stop too early, and connections that break."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from ..upstream import Abort, Step
from .case import SETTLE, Expected, FaultCase
from .chunks import ANSWERED, CONTENT, HALF, OPENING, REASONING, STREAM, THINKING

_TRUNCATED: Final = Expected("truncated", "api_connection", "transport")
_TRANSPORT: Final = Expected("transport", "api_connection", "transport")
_CUTS: Final = "GoModel #1017, claude-code-hub #156, bifrost #5546"
_BREAKS: Final = "LiteLLM up to 1.82 and seven clients, seen with constructed answers"

_RESET: Final = (SETTLE, Abort(reset=True))
_CLOSE: Final = (Abort(),)
_NEXT: Final = STREAM[len(OPENING)]
_HALF_EVENT: Final = _NEXT[: len(_NEXT) // 2]

_CHUNKED: Final = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\n"
    b"transfer-encoding: chunked\r\n\r\n"
)


def _http_chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def _ended() -> Iterator[FaultCase]:
    """The body ends as HTTP wants it to, but the stream does not."""
    yield _half("truncated", "ends in the middle of the answer", (), _TRUNCATED, _CUTS)
    yield FaultCase(
        "truncated-whole-answer",
        "ends after the last text, with neither finish_reason nor [DONE]",
        ANSWERED,
        _TRUNCATED,
        f"{_CUTS}; snowflake sends no finish_reason, but [DONE]",
        content=CONTENT,
        reasoning=REASONING,
    )
    yield FaultCase(
        "truncated-after-reasoning",
        "ends when only reasoning was sent",
        THINKING,
        _TRUNCATED,
        "anomalyco/opencode #37852; vaadin #9195",
        reasoning=REASONING,
    )
    yield _half(
        "truncated-mid-event", "ends in the middle of an event", (_HALF_EVENT,), _TRUNCATED, _CUTS
    )
    whole = b"".join((*OPENING, _HALF_EVENT))
    yield FaultCase(
        "content-length-short",
        "the body is cut in an event, where a content-length that is too small says so",
        (*OPENING, _HALF_EVENT),
        _TRUNCATED,
        "constructed: a relay that edits a body and keeps its length",
        content=HALF,
        reasoning=REASONING,
        headers={"content-length": str(len(whole)), "connection": "close"},
    )


def _broken() -> Iterator[FaultCase]:
    """The connection ends in a way that HTTP forbids."""
    yield FaultCase(
        "close-before-headers",
        "the connection is closed before the head of the response",
        _CLOSE,
        _TRANSPORT,
        _BREAKS,
        raw=True,
    )
    yield FaultCase(
        "reset-before-headers",
        "the connection is reset before the head of the response",
        (Abort(reset=True),),
        _TRANSPORT,
        _BREAKS,
        raw=True,
    )
    yield FaultCase(
        "close-after-headers",
        "the connection is closed after the head of the response",
        _CLOSE,
        _TRANSPORT,
        _BREAKS,
    )
    yield _half("close-midstream", "closed between two events", _CLOSE, _TRANSPORT, _BREAKS)
    yield _half(
        "close-mid-event", "closed in the middle of an event", (_HALF_EVENT, *_CLOSE),
        _TRANSPORT, _BREAKS,
    )  # fmt: skip
    yield FaultCase(
        "close-after-reasoning",
        "closed when only reasoning was sent",
        (*THINKING, *_CLOSE),
        _TRANSPORT,
        _BREAKS,
        reasoning=REASONING,
    )
    yield _half("reset-midstream", "reset between two events", _RESET, _TRANSPORT, _BREAKS)
    yield _half(
        "reset-mid-event", "reset in the middle of an event", (_HALF_EVENT, *_RESET),
        _TRANSPORT, _BREAKS,
    )  # fmt: skip
    yield FaultCase(
        "content-length-long",
        "content-length promises more than is sent",
        (*OPENING, SETTLE, *_CLOSE),
        _TRANSPORT,
        _BREAKS,
        content=HALF,
        reasoning=REASONING,
        headers={"content-length": str(sum(map(len, STREAM)))},
    )
    yield FaultCase(
        "invalid-chunked",
        "a chunk of the transfer coding whose size is no number",
        (
            _CHUNKED,
            *(_http_chunk(event) for event in OPENING),
            SETTLE,
            b"zz\r\n",
            *STREAM[len(OPENING) :],
        ),
        _TRANSPORT,
        "constructed: a relay that writes to the connection itself",
        content=HALF,
        reasoning=REASONING,
        raw=True,
    )


def _half(
    name: str, title: str, steps: tuple[Step, ...], expected: Expected, evidence: str
) -> FaultCase:
    """Something that happens in the middle of the answer."""
    return FaultCase(
        name, title, (*OPENING, *steps), expected, evidence, content=HALF, reasoning=REASONING
    )


CUTS: Final = (*_ended(), *_broken())
