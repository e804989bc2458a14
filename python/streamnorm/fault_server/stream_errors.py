"""Errors inside of a response that began with status 200."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

from ..upstream import Step
from .case import Expected, FaultCase
from .chunks import (
    CONTENT,
    DONE,
    HALF,
    HEAD,
    JSON,
    OPENING,
    REASONING,
    STREAM,
    THINKING,
    USAGE,
    compact,
    event,
)

_ISSUES: Final = "errors in a 200 stream: claude-code-router #1759, bifrost #5395, litellm #6957"


def _early(
    name: str,
    title: str,
    steps: tuple[Step, ...],
    expected: Expected,
    evidence: str,
    *,
    headers: Mapping[str, str] | None = None,
) -> FaultCase:
    """An error before any text."""
    return FaultCase(f"error-{name}", title, steps, expected, evidence, headers=headers or {})


def _late(
    name: str, title: str, steps: tuple[Step, ...], expected: Expected, evidence: str
) -> FaultCase:
    """An error after reasoning and a part of the answer."""
    return FaultCase(
        f"error-{name}",
        title,
        (*OPENING, *steps),
        expected,
        evidence,
        content=HALF,
        reasoning=REASONING,
    )


def _pretty(code: int, message: str, status: str) -> bytes:
    """Google's error on several lines."""
    error = {"code": code, "message": message, "status": status}
    return json.dumps({"error": error}, indent=2).encode() + b"\n"


def _named(payload: Any) -> bytes:
    """An ``event: error``."""
    return b"event: error\n" + event(payload)


_RATE: Final = {
    "error": {
        "message": "Rate limit reached for faulty-1 on tokens per min (TPM). "
        "Please try again in 20s.",
        "type": "tokens",
        "param": None,
        "code": "rate_limit_exceeded",
    }
}
_SERVER: Final = {
    "error": {
        "message": "The server had an error while processing your request.",
        "type": "server_error",
        "param": None,
        "code": None,
    }
}


def _first_events() -> Iterator[FaultCase]:
    yield _early(
        "first",
        "the first event is an error, with the wait in its words",
        (event(_RATE), DONE),
        Expected(
            "error_event",
            "rate_limit",
            "credential",
            retry_after=20.0,
            provider_code="rate_limit_exceeded",
        ),
        _ISSUES,
    )
    yield _early(
        "first-code",
        "the first event is an error with a numeric code, after comments",
        (
            b": OPENROUTER PROCESSING\n\n" * 2,
            event({"error": {"code": 429, "message": "Rate limit exceeded: free-models-per-min"}}),
            DONE,
        ),
        Expected("error_event", "rate_limit", "credential", 429),
        "openrouter.ai/docs/api/errors; clawrouter #101, #103 (a peek has to pass comments)",
    )
    yield _early(
        "anthropic-overloaded",
        "Anthropic's overloaded_error, named by its event line",
        (
            _named(
                {
                    "type": "error",
                    "error": {"details": None, "type": "overloaded_error", "message": "Overloaded"},
                }
            ),
        ),
        Expected("error_event", "server_error", "provider", provider_code="overloaded_error"),
        "docs.anthropic.com/en/api/errors; docs.anthropic.com streaming, error events",
    )
    yield _early(
        "vllm-object",
        "vLLM's error object, which has no member error",
        (
            event(
                {
                    "object": "error",
                    "message": "max_tokens must be at least 1, got 0.",
                    "type": "BadRequestError",
                    "param": None,
                    "code": 400,
                }
            ),
            DONE,
        ),
        Expected("error_event", "invalid_request", "request", 400, provider_code="BadRequestError"),
        "vllm-project/vllm entrypoints/openai/protocol.py ErrorResponse, up to 0.10",
    )
    yield _early(
        "string",
        "the error is a string, its type beside it (TGI)",
        (event({"error": "Model is overloaded", "error_type": "overloaded"}),),
        Expected("error_event", "server_error", "provider", provider_code="overloaded"),
        "huggingface/text-generation-inference router/src/lib.rs ErrorResponse",
    )


def _bodies() -> Iterator[FaultCase]:
    yield _early(
        "json-body",
        "a JSON error body with status 200",
        (
            compact(
                {
                    "error": {
                        "message": "Incorrect API key provided: sk-fault.",
                        "type": "invalid_request_error",
                        "param": None,
                        "code": "invalid_api_key",
                    }
                }
            ),
        ),
        Expected("error_event", "authentication", "credential", provider_code="invalid_api_key"),
        "seven clients see an empty answer in it; CLIProxyAPIPlus #195",
        headers=JSON,
    )
    yield _early(
        "detail-body",
        "a JSON body that only has a detail, with status 200",
        (b'{"detail":"Internal Server Error"}',),
        Expected("error_event", "server_error", "provider"),
        "constructed: the shape of FastAPI, behind a relay that drops the status",
        headers=JSON,
    )
    yield _early(
        "google-list",
        "a list with one error as the body, with status 200",
        (b"[%b]" % _pretty(503, "The model is overloaded. Please try again.", "UNAVAILABLE"),),
        Expected("error_event", "server_error", "provider", 503, provider_code="UNAVAILABLE"),
        "n4ze3m/page-assist #406; ai.google.dev/gemini-api/docs/troubleshooting",
        headers=JSON,
    )


def _middle() -> Iterator[FaultCase]:
    yield _late(
        "midstream",
        "an error event in the middle of the answer",
        (event(_SERVER), DONE),
        Expected("error_event", "server_error", "provider", provider_code="server_error"),
        _ISSUES,
    )
    yield FaultCase(
        "error-after-reasoning",
        "an error event when only reasoning was sent",
        (*THINKING, event(_SERVER), DONE),
        Expected("error_event", "server_error", "provider", provider_code="server_error"),
        "rotator_library client/stream_retry_policy.py: reasoning alone may be retried",
        reasoning=REASONING,
    )
    yield _late(
        "event-line",
        "event: error, as Groq ends a failed tool call; no [DONE]",
        (
            _named(
                {
                    "error": {
                        "message": "Tool choice is required, but model did not call a tool",
                        "type": "invalid_request_error",
                        "code": "tool_use_failed",
                        "failed_generation": "",
                        "status_code": 400,
                    }
                }
            ),
        ),
        # The model's own output did not parse: the code knows better than the status.
        Expected("error_event", "server_error", "provider", 400, provider_code="tool_use_failed"),
        "console.groq.com/docs/errors; pydantic/pydantic-ai test_tool_use_failed_error.yaml",
    )
    yield _late(
        "beside-choices",
        "an error beside choices with finish_reason error, then usage and [DONE] (OpenRouter)",
        (
            event(
                {
                    **HEAD,
                    "provider": "Demo",
                    "error": {
                        "code": "server_error",
                        "message": "Provider disconnected unexpectedly",
                    },
                    "choices": [{"index": 0, "delta": {"content": ""}, "finish_reason": "error"}],
                }
            ),
            USAGE,
            DONE,
        ),
        Expected("error_event", "server_error", "provider", provider_code="server_error"),
        "openrouter.ai/docs/api/errors, errors during streaming",
    )
    yield _late(
        "bare-line",
        "a line error: {…} without data:",
        (b"error: " + compact(_SERVER["error"]) + b"\n\n",),
        Expected("error_event", "server_error", "provider", provider_code="server_error"),
        "ggml-org/llama.cpp tools/server, older versions",
    )
    yield _late(
        "pretty-json",
        "pretty-printed JSON without data:",
        (_pretty(500, "An internal error has occurred.", "INTERNAL"),),
        Expected("error_event", "server_error", "provider", 500, provider_code="INTERNAL"),
        "Google's errors inside of a stream; ai.google.dev/gemini-api/docs/troubleshooting",
    )
    yield FaultCase(
        "error-after-usage",
        "an error when finish_reason and usage have been sent",
        (*STREAM[:-1], event(_SERVER), DONE),
        Expected("error_event", "server_error", "provider", provider_code="server_error"),
        "constructed: a gateway that fails in its own accounting",
        content=CONTENT,
        reasoning=REASONING,
    )


STREAM_ERRORS: Final = (*_first_events(), *_bodies(), *_middle())
