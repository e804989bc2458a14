"""Answers whose HTTP status is an error."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

from .case import Expected, FaultCase
from .chunks import JSON, compact

if TYPE_CHECKING:
    from ..faults import Blame, Category

_HTML: Final = {"content-type": "text/html"}
_OPENAI: Final = "platform.openai.com/docs/guides/error-codes"
_ANTHROPIC: Final = "docs.anthropic.com/en/api/errors"
_OPENROUTER: Final = "openrouter.ai/docs/api/errors"
_PEERS: Final = "seen with seven clients against constructed answers"

_BLAME: Final[Mapping[Category, Blame]] = {
    "rate_limit": "credential",
    "quota_exceeded": "credential",
    "authentication": "credential",
    "forbidden": "credential",
    "invalid_request": "request",
    "context_window_exceeded": "request",
    "server_error": "provider",
    "api_connection": "transport",
}


def _openai(message: str, kind: str, code: str | None, param: str | None = None) -> dict[str, Any]:
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


def _anthropic(kind: str, message: str) -> dict[str, Any]:
    error = {"type": kind, "message": message}
    return {"type": "error", "error": error, "request_id": "req_fault0001"}


def _page(title: str) -> bytes:
    return (
        f"<html>\r\n<head><title>{title}</title></head>\r\n<body>\r\n"
        f"<center><h1>{title}</h1></center>\r\n<hr><center>nginx</center>\r\n</body>\r\n</html>\r\n"
    ).encode()


def _case(
    name: str,
    title: str,
    status: int,
    category: Category,
    body: Any,
    evidence: str,
    *,
    code: str | None = None,
    wait: float | None = None,
    headers: Mapping[str, str] | None = None,
) -> FaultCase:
    """One case.

    Args:
        name: Its name after ``http-``.
        title: One line.
        status: HTTP status.
        category: Expected; the blame follows from it.
        body: Bytes, or what is sent as JSON.
        evidence: Where it was seen.
        code: Expected ``provider_code``.
        wait: Expected ``retry_after``.
        headers: More of them.
    """
    data = body if isinstance(body, bytes) else compact(body)
    kind = _HTML if isinstance(body, bytes) else JSON
    expected = Expected("http_error", category, _BLAME[category], status, wait, code)
    sent = {**kind, **(headers or {})}
    sent["content-length"] = str(len(data))
    pieces = (data,) if data else ()
    return FaultCase(f"http-{name}", title, pieces, expected, evidence, status=status, headers=sent)


_RETRY_INFO: Final = "type.googleapis.com/google.rpc.RetryInfo"
_ERROR_INFO: Final = "type.googleapis.com/google.rpc.ErrorInfo"
_RATE: Final = _openai(
    "Rate limit reached for faulty-1 on requests per min (RPM): Limit 3, Used 3, Requested 1.",
    "requests",
    "rate_limit_exceeded",
)
_UNSUPPORTED: Final = _openai(
    "Unsupported parameter: 'reasoning_effort' is not supported with this model.",
    "invalid_request_error",
    "unsupported_parameter",
    "reasoning_effort",
)


def _requests() -> Iterator[FaultCase]:
    """What is wrong with the request."""
    yield _case(
        "400", "400, a parameter that the model does not know", 400, "invalid_request",
        _UNSUPPORTED, _OPENAI, code="unsupported_parameter",
    )  # fmt: skip
    yield _case(
        "400-context", "400, the prompt is longer than the context window", 400,
        "context_window_exceeded",
        _openai(
            "This model's maximum context length is 8192 tokens. However, your messages resulted "
            "in 9001 tokens. Please reduce the length of the messages.",
            "invalid_request_error", "context_length_exceeded", "messages",
        ),
        _OPENAI, code="context_length_exceeded",
    )  # fmt: skip
    yield _case(
        "400-context-llamacpp", "400, llama.cpp's words for a prompt that is too long", 400,
        "context_window_exceeded",
        {
            "error": {
                "code": 400,
                "message": "request (2009 tokens) exceeds the available context size "
                "(512 tokens), try increasing it",
                "type": "exceed_context_size_error",
                "n_prompt_tokens": 2009,
                "n_ctx": 512,
            }
        },
        "ggml-org/llama.cpp tools/server (recorded)", code="exceed_context_size_error",
    )  # fmt: skip
    yield _case(
        "400-content-filter", "400, Azure's content filter refuses the prompt", 400,
        "invalid_request",
        {
            "error": {
                "message": "The response was filtered due to the prompt triggering the content "
                "management policy. Please modify your prompt and retry.",
                "type": None,
                "param": "prompt",
                "code": "content_filter",
                "status": 400,
            }
        },
        "learn.microsoft.com azure/ai-services/openai/concepts/content-filter",
        code="content_filter",
    )  # fmt: skip
    yield _case(
        "403-moderation", "403, but the input was flagged: no other key will help", 403,
        "invalid_request",
        {
            "error": {
                "code": 403,
                "message": "Input was flagged by moderation",
                "metadata": {
                    "reasons": ["violence"],
                    "flagged_input": "how to …",
                    "provider_name": "Demo",
                    "model_slug": "faulty-1",
                },
            }
        },
        f"{_OPENROUTER}, moderation errors",
    )  # fmt: skip
    yield _case(
        "404", "404, no such model", 404, "invalid_request",
        _openai(
            "The model `faulty-0` does not exist or you do not have access to it.",
            "invalid_request_error", "model_not_found",
        ),
        _OPENAI, code="model_not_found",
    )  # fmt: skip
    yield _case(
        "413", "413, a proxy finds the request too large", 413, "invalid_request",
        _page("413 Request Entity Too Large"), "nginx client_max_body_size",
    )  # fmt: skip
    yield _case(
        "422-openai", "422, OpenAI's shape; LiteLLM with drop_params asks twice, then gives None",
        422, "invalid_request",
        _openai("Invalid value for 'reasoning_effort'.", "invalid_request_error", "invalid_value"),
        "BerriAI/litellm #32221, #37999", code="invalid_value",
    )  # fmt: skip
    yield _case(
        "422-fastapi", "422, FastAPI's shape; LiteLLM with drop_params asks twice, then gives None",
        422, "invalid_request",
        {
            "detail": [
                {
                    "type": "extra_forbidden",
                    "loc": ["body", "reasoning_effort"],
                    "msg": "Extra inputs are not permitted",
                    "input": "low",
                }
            ]
        },
        "BerriAI/litellm #32221, #27670; fastapi.tiangolo.com/tutorial/handling-errors",
        code="extra_forbidden",
    )  # fmt: skip


def _credentials() -> Iterator[FaultCase]:
    """What is wrong with the key, or with what is left on it."""
    yield _case(
        "401", "401, a wrong key", 401, "authentication",
        _openai(
            "Incorrect API key provided: sk-fault. You can find your API key in your dashboard.",
            "invalid_request_error", "invalid_api_key",
        ),
        _OPENAI, code="invalid_api_key",
    )  # fmt: skip
    yield _case(
        "401-detail", "401, a plain detail instead of an error object", 401, "authentication",
        {"detail": "Could not parse your authentication token. Please try signing in again."},
        "recorded from chatgpt.com",
    )  # fmt: skip
    yield _case(
        "401-anthropic", "401, Anthropic's shape", 401, "authentication",
        _anthropic("authentication_error", "invalid x-api-key"), _ANTHROPIC,
        code="authentication_error",
    )  # fmt: skip
    yield _case(
        "400-google-key", "400 for a wrong key, as a list: Google's OpenAI-compatible endpoint",
        400, "authentication",
        [
            {
                "error": {
                    "code": 400,
                    "message": "API key not valid. Please pass a valid API key.",
                    "status": "INVALID_ARGUMENT",
                    "details": [
                        {
                            "@type": _ERROR_INFO,
                            "reason": "API_KEY_INVALID",
                            "domain": "googleapis.com",
                        }
                    ],
                }
            }
        ],
        "n4ze3m/page-assist #406 (the list); ai.google.dev/gemini-api/docs/troubleshooting",
        code="API_KEY_INVALID",
    )  # fmt: skip
    yield _case(
        "402", "402, no money left; the code says something else", 402, "quota_exceeded",
        _openai("Insufficient Balance", "unknown_error", "invalid_request_error"),
        "Aider-AI/aider #4851; api-docs.deepseek.com/quick_start/error_codes",
        code="invalid_request_error",
    )  # fmt: skip
    yield _case(
        "403", "403, not from this country", 403, "forbidden",
        _openai(
            "Country, region, or territory not supported", "request_forbidden",
            "unsupported_country_region_territory",
        ),
        _OPENAI, code="unsupported_country_region_territory",
    )  # fmt: skip
    yield _case(
        "429-seconds", "429 with Retry-After in seconds", 429, "rate_limit", _RATE,
        "RFC 9110, 10.2.3; " + _OPENAI, code="rate_limit_exceeded", wait=20.0,
        headers={"retry-after": "20"},
    )  # fmt: skip
    yield _case(
        "429-date", "429 with Retry-After as a date, 30 seconds after that of the response", 429,
        "rate_limit", _RATE, "RFC 9110, 10.2.3 and 6.6.1", code="rate_limit_exceeded", wait=30.0,
        headers={
            "date": "Wed, 21 Oct 2026 07:28:00 GMT",
            "retry-after": "Wed, 21 Oct 2026 07:28:30 GMT",
        },
    )  # fmt: skip
    yield _case(
        "429-ms", "429 with retry-after-ms", 429, "rate_limit", _RATE,
        "openai/openai-python src/openai/_base_client.py", code="rate_limit_exceeded", wait=1.5,
        headers={"retry-after-ms": "1500"},
    )  # fmt: skip
    yield _case(
        "429-google", "429 with the wait in the body (RetryInfo), as a list", 429, "rate_limit",
        [
            {
                "error": {
                    "code": 429,
                    "message": "Resource has been exhausted (e.g. check quota).",
                    "status": "RESOURCE_EXHAUSTED",
                    "details": [{"@type": _RETRY_INFO, "retryDelay": "17s"}],
                }
            }
        ],
        "n4ze3m/page-assist #406; google.rpc.RetryInfo", code="RESOURCE_EXHAUSTED", wait=17.0,
    )  # fmt: skip
    yield _case(
        "429-quota", "429, but waiting does not help: no credit left", 429, "quota_exceeded",
        _openai(
            "You exceeded your current quota, please check your plan and billing details.",
            "insufficient_quota", "insufficient_quota",
        ),
        _OPENAI, code="insufficient_quota",
    )  # fmt: skip


def _servers() -> Iterator[FaultCase]:
    """What is wrong with the provider, or on the way to it."""
    yield _case(
        "408", "408, the request timed out", 408, "api_connection",
        {"error": {"code": 408, "message": "Request timed out"}}, _OPENROUTER,
    )  # fmt: skip
    yield _case(
        "500", "500, OpenAI's shape", 500, "server_error",
        _openai("The server had an error while processing your request.", "server_error", None),
        _OPENAI, code="server_error",
    )  # fmt: skip
    yield _case(
        "502-html", "502, a proxy's HTML page", 502, "server_error", _page("502 Bad Gateway"),
        f"nginx; {_PEERS}",
    )  # fmt: skip
    yield _case(
        "502-empty", "502 without a body", 502, "server_error", b"", _PEERS,
    )  # fmt: skip
    yield _case(
        "503", "503 with Retry-After: the model is overloaded", 503, "server_error",
        [
            {
                "error": {
                    "code": 503,
                    "message": "The model is overloaded. Please try again later.",
                    "status": "UNAVAILABLE",
                }
            }
        ],
        "ai.google.dev/gemini-api/docs/troubleshooting", code="UNAVAILABLE", wait=5.0,
        headers={"retry-after": "5"},
    )  # fmt: skip
    yield _case(
        "504-html", "504, a proxy's HTML page", 504, "server_error", _page("504 Gateway Time-out"),
        "nginx proxy_read_timeout",
    )  # fmt: skip
    yield _case(
        "524", "524, Cloudflare has waited too long", 524, "server_error",
        b"error code: 524", "developers.cloudflare.com 524",
        headers={"content-type": "text/plain; charset=UTF-8"},
    )  # fmt: skip
    yield _case(
        "529", "529, Anthropic is overloaded", 529, "server_error",
        _anthropic("overloaded_error", "Overloaded"), _ANTHROPIC, code="overloaded_error",
    )  # fmt: skip


HTTP_ERRORS: Final = (*_requests(), *_credentials(), *_servers())
