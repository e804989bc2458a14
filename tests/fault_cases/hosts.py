"""Errors of those who serve the models of others, and of gateways."""

from __future__ import annotations

import json

from . import Case, google, openai, openrouter, retry_info

CASES = [
    # OpenRouter. ------------------------------------------------------------------------
    Case(
        "openrouter-daily",
        429,
        openrouter(
            429,
            "Rate limit exceeded: free-models-per-day",
            headers={
                "X-RateLimit-Limit": "50",
                "X-RateLimit-Remaining": "0",
                "X-RateLimit-Reset": "1795262460000",  # 2026-11-21T12:01:00Z
            },
        ),
        "rate_limit",
        "credential",
        None,
        60,
        {"date": "Sat, 21 Nov 2026 12:00:00 GMT"},
    ),
    Case(
        "openrouter-shared-pool",
        429,
        openrouter(
            429,
            "Provider returned error",
            raw="a/model:free is temporarily rate-limited upstream. Please retry shortly",
            provider_name="Venice",
            retry_after_seconds=17,
        ),
        "rate_limit",
        "provider",
        None,
        17,
    ),
    Case(
        "openrouter-shared-pool-with-its-source",
        429,
        openrouter(
            429,
            "Provider returned error",
            raw="busy",
            error_type="rate_limit_exceeded",
            limit_source="upstream_provider_shared_pool",
        ),
        "rate_limit",
        "provider",
        "upstream_provider_shared_pool",
    ),
    Case(
        "openrouter-raw-is-the-provider's-json",
        400,
        openrouter(
            400,
            "Provider returned error",
            raw=json.dumps(openai("Too long for me", None, "context_length_exceeded")),
        ),
        "context_window_exceeded",
        "request",
        "context_length_exceeded",
    ),
    Case(
        "openrouter-raw-asks-to-wait",
        429,
        openrouter(
            429,
            "Provider returned error",
            raw=json.dumps(google(429, "Spent", "RESOURCE_EXHAUSTED", retry_info("33s"))),
        ),
        "rate_limit",
        "credential",
        "RESOURCE_EXHAUSTED",
        33,
    ),
    Case(
        "openrouter-moderation",
        403,
        openrouter(
            403,
            "openai/x requires moderation on Azure. Your input was flagged",
            reasons=["violence"],
            flagged_input="…",
        ),
        "invalid_request",
        "request",
    ),
    Case(
        "openrouter-credits",
        402,
        openrouter(402, "This request requires more credits, or fewer max_tokens"),
        "quota_exceeded",
        "credential",
    ),
    Case("openrouter-timeout", 408, openrouter(408, "Too slow"), "api_connection", "transport"),
    Case(
        "openrouter-502-in-a-stream",
        200,
        {
            "id": "gen-1",
            "choices": [{"index": 0, "delta": {"content": ""}, "finish_reason": "error"}],
            "error": {"code": 502, "message": "Upstream error from Venice"},
        },
        "server_error",
        "provider",
    ),
    Case(
        "openrouter-no-endpoint",
        404,
        openrouter(404, "No endpoints found that support tool use"),
        "invalid_request",
        "request",
    ),
    # Groq. ------------------------------------------------------------------------------
    Case(
        "groq-rate",
        429,
        openai(
            "Limit 6000, used 5990. Please try again in 7m12.5s.", "tokens", "rate_limit_exceeded"
        ),
        "rate_limit",
        "credential",
        "rate_limit_exceeded",
        432.5,
    ),
    Case(
        "groq-498",
        498,
        openai("Flex tier is full", "capacity", "capacity_exceeded"),
        "server_error",
        "provider",
        "capacity_exceeded",
    ),
    Case(
        "groq-tool-use-failed",
        400,
        {
            "error": {
                "message": "Failed to call a function",
                "type": "invalid_request_error",
                "code": "tool_use_failed",
                "failed_generation": "<function=",
            }
        },
        "server_error",
        "provider",
        "tool_use_failed",
    ),
    # xAI, Together, Fireworks, Cerebras, Cohere, watsonx, Bedrock, Copilot. -------------
    Case(
        "xai-credits",
        403,
        {
            "code": "The caller does not have permission to execute the specified operation",
            "error": "Your team has either used all available credits or reached its limit",
        },
        "quota_exceeded",
        "credential",
        "The caller does not have permission to execute the specified operation",
    ),
    Case(
        "xai-key",
        400,
        {
            "code": "Client specified an invalid argument",
            "error": "Incorrect API key provided: xa***.",
        },
        "authentication",
        "credential",
        "Client specified an invalid argument",
    ),
    Case(
        "together-too-long",
        403,
        openai(
            "Input token count + max_tokens is over the context length", "invalid_request_error"
        ),
        "context_window_exceeded",
        "request",
        "invalid_request_error",
    ),
    Case(
        "fireworks-suspended",
        412,
        {"error": {"object": "error", "message": "Account is suspended"}},
        "forbidden",
        "credential",
    ),
    Case(
        "cerebras-tokens",
        429,
        {
            "message": "Tokens per minute limit exceeded",
            "type": "too_many_tokens_error",
            "param": "quota",
            "code": "token_quota_exceeded",
        },
        "rate_limit",
        "credential",
        "token_quota_exceeded",
        32.5,
        {
            "x-ratelimit-remaining-tokens-minute": "0",
            "x-ratelimit-reset-tokens-minute": "32.5",
            "x-ratelimit-remaining-requests-day": "14000",
            "x-ratelimit-reset-requests-day": "33011.4",
        },
    ),
    Case(
        "cohere-too-long",
        400,
        {"message": "too many tokens: the prompt cannot exceed 4081"},
        "context_window_exceeded",
        "request",
    ),
    Case(
        "cohere-trial",
        429,
        {"message": "You are using a Trial key, which is limited to 10 calls / minute"},
        "rate_limit",
        "credential",
    ),
    Case(
        "watsonx-quota",
        403,
        {"errors": [{"code": "token_quota_reached", "message": "Used up"}], "status_code": 403},
        "quota_exceeded",
        "credential",
        "token_quota_reached",
    ),
    Case(
        "bedrock-throttled",
        429,
        {"__type": "com.amazon.coral.service#ThrottlingException", "message": "Slow down"},
        "rate_limit",
        "credential",
        "ThrottlingException",
    ),
    Case(
        "bedrock-too-long",
        400,
        {"message": "Input is too long for requested model."},
        "context_window_exceeded",
        "request",
    ),
    Case(
        "copilot-rate",
        429,
        {"message": "exceeded your token usage", "code": "rate_limited"},
        "rate_limit",
        "credential",
        "rate_limited",
    ),
    Case(
        "github-models-rate",
        429,
        {
            "error": {
                "code": "RateLimitReached",
                "message": "Limit of 10 per 60s exceeded. Please wait 33 seconds before retrying.",
            }
        },
        "rate_limit",
        "credential",
        "RateLimitReached",
        33,
    ),
    Case(
        "huggingface-credits",
        402,
        {"error": "You have exceeded your monthly included credits"},
        "quota_exceeded",
        "credential",
    ),
    # Gateways. --------------------------------------------------------------------------
    Case(
        "litellm-proxy-budget",
        400,
        openai("Budget has been exceeded!", "budget_exceeded", "400"),
        "quota_exceeded",
        "credential",
        "budget_exceeded",
    ),
    Case(
        "litellm-proxy-throttled",
        429,
        openai(
            "litellm.RateLimitError: RateLimitError: OpenAIException - wait", "throttling_error"
        ),
        "rate_limit",
        "credential",
        "throttling_error",
    ),
    Case("problem-details", 429, {"type": "about:blank", "title": "x"}, "rate_limit", "credential"),
    Case(
        "cloudflare-page",
        502,
        "<!DOCTYPE html>\n<html><head><title>example.org | 502: Bad gateway</title></head></html>",
        "server_error",
        "provider",
    ),
    Case("cloudflare-522", 522, "", "server_error", "provider"),
    Case(
        "nginx-413", 413, "<html><head></head><body>413</body></html>", "invalid_request", "request"
    ),
    Case("text", 500, "Internal Server Error", "server_error", "provider"),
    Case(
        "text-about-length",
        500,
        "the context size is exceeded",
        "context_window_exceeded",
        "request",
    ),
    Case("conflict", 409, {"message": "x"}, "server_error", "provider"),
    Case("too-early", 425, None, "server_error", "provider"),
    Case("teapot", 418, None, "invalid_request", "request"),
    Case("unknown-in-a-stream", 200, {"error": {"message": "m"}}, "unknown", "provider"),
    Case("unknown-code-in-a-stream", 200, {"error": {"code": "abc"}}, "unknown", "provider", "abc"),
    Case(
        "wording-in-a-stream",
        200,
        {"error": {"message": "Rate limit reached for this model"}},
        "rate_limit",
        "credential",
    ),
    Case(
        "timeout-in-a-stream", 200, {"error": "Request timed out."}, "api_connection", "transport"
    ),
]
