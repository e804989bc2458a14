"""The table of what errors mean: category and blame by code and by HTTP status.

Data only; `streamnorm.faults.deciding` says in which order it is asked. Every row names
what it rests on: a page of documentation, an issue (``owner/repository#number``), the
source of an SDK or a recording. A new provider's errors are rows here and cases in the
tests, and no code. It goes on in `streamnorm.faults.wordings`, for errors with neither,
and in `streamnorm.faults.classes`, for exceptions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from . import Blame, Category

# Who can mend what, where a row does not know better. "unknown" goes by the kind of fault.
BLAME: Final[dict[Category, Blame]] = {
    "rate_limit": "credential",
    "quota_exceeded": "credential",
    "authentication": "credential",
    "forbidden": "credential",
    "invalid_request": "request",
    "context_window_exceeded": "request",
    "server_error": "provider",
    "api_connection": "transport",
}


class Code(NamedTuple):
    """Codes or types of a body that mean one thing.

    Attributes:
        names: Separated by spaces, as the provider spells them. Case, ``_``, ``-`` and a
            last "error" or "exception" do not count; a name also stands for those that
            continue it after a dot (``Throttling`` for ``Throttling.RateQuota``).
        category: What they mean.
        evidence: What says so.
        blame: Who can mend it, where it is not what `BLAME` says.
        vague: Providers use it for several things, so status and wording decide before it.
        within: The key of the object that holds the code, for numbers that mean another
            thing elsewhere.
    """

    names: str
    category: Category
    evidence: str
    blame: Blame | None = None
    vague: bool = False
    within: str = ""


_OPENAI = "developers.openai.com/docs/guides/error-codes"
_ANTHROPIC = "docs.claude.com/en/api/errors"
_OPENROUTER = "openrouter.ai/docs/api/reference/errors-and-debugging"
_GOOGLE = "cloud.google.com/vertex-ai/generative-ai/docs/model-reference/api-errors"
_GOOGLE_REASON = "google.api.ErrorReason in googleapis/googleapis google/api/error_reason.proto"
_GROQ = "console.groq.com/docs/errors"
_AZURE = "learn.microsoft.com/azure/ai-services/openai: quota and content filter pages"
_DASHSCOPE = "help.aliyun.com/en/model-studio/error-code-start"
_MINIMAX = "platform.minimax.io/docs/api-reference/errorcode"
_ZHIPU = "docs.z.ai/api-reference/api-code"
_MOONSHOT = "platform.kimi.ai/docs/api/errors"
_ARK = "volcengine.com/docs/82379/1299023"
_LITELLM = "LiteLLM: ProxyErrorTypes in litellm/proxy/_types.py"
_BEDROCK = "docs.aws.amazon.com/bedrock: InvokeModelWithResponseStream, errors"
_TGI = "huggingface/text-generation-inference: TextGenerationError in router/src/infer"
_LLAMACPP = "ggml-org/llama.cpp: format_error_response in tools/server"
_VLLM = "vllm-project/vllm: create_error_response in entrypoints/openai"
_SGLANG = "sgl-project/sglang: serving_base.py, HTTPStatus names on abort"
_CEREBRAS = "nminaya/grammar-nazi-bot#958 (a body of Cerebras)"
_ZENMUX = "docs.zenmux.ai/guide/advanced/error-codes"
_CODEX = "earendil-works/pi#4172, james-6-23/codex2api#9 (bodies of the ChatGPT backend)"
_COPILOT = "github/copilot-cli#138 (a body of GitHub Copilot)"

CODES: Final[tuple[Code, ...]] = (
    # Too many, too fast. ---------------------------------------------------------------
    Code("rate_limit_exceeded rate_limit_error rate_limit slow_down", "rate_limit", _OPENAI),
    Code(
        "upstream_provider_shared_pool",
        "rate_limit",
        "open-webui/computer#293 (limit_source of OpenRouter): a pool that all keys share",
        blame="provider",
    ),
    Code("openrouter_in_flight_budget in_flight_budget_exhausted", "rate_limit", _OPENROUTER),
    Code("RESOURCE_EXHAUSTED RATE_LIMIT_EXCEEDED rateLimitExceeded", "rate_limit", _GOOGLE),
    Code("TooManyRequests RateLimitReached", "rate_limit", _AZURE),
    Code("rate_limited", "rate_limit", f"raycast/extensions#31107 (Mistral); {_COPILOT}"),
    Code("too_many_requests request_quota_exceeded token_quota_exceeded", "rate_limit", _CEREBRAS),
    Code("rate_limit_reached_error", "rate_limit", _MOONSHOT),
    Code("Throttling Throttling.RateQuota Throttling.AllocationQuota", "rate_limit", _DASHSCOPE),
    Code("throttling_error", "rate_limit", _LITELLM),
    Code("ThrottlingException", "rate_limit", _BEDROCK),
    Code("1302 1303", "rate_limit", _ZHIPU),
    Code("1002 1039 1041 2045", "rate_limit", _MINIMAX, within="base_resp"),
    Code(
        "RateLimitExceeded AccountRateLimitExceeded ModelAccountRpmRateLimitExceeded"
        " ModelAccountTpmRateLimitExceeded APIAccountRpmRateLimitExceeded RequestBurstTooFast",
        "rate_limit",
        _ARK,
    ),
    Code("policies.ratelimit.QuotaViolation", "rate_limit", "docs.apigee.com: quota policy"),
    Code("tokens requests", "rate_limit", f"{_GROQ} (the type says what ran out)", vague=True),
    # Used up, or not paid. -------------------------------------------------------------
    Code(
        "insufficient_quota credit_balance_exhausted billing_hard_limit_reached billing_not_active",
        "quota_exceeded",
        _OPENAI,
    ),
    Code("billing_error enforced_spend_limit_reached", "quota_exceeded", _ANTHROPIC),
    Code("payment_required insufficient_credits", "quota_exceeded", _OPENROUTER),
    Code("weight_exceeds_budget", "quota_exceeded", _OPENROUTER),
    Code("BILLING_DISABLED", "quota_exceeded", _GOOGLE_REASON),
    Code("exceeded_current_quota_error", "quota_exceeded", _MOONSHOT),
    Code("insufficient_balance_error", "quota_exceeded", "modelscope/modelscope#1691 (MiniMax)"),
    Code("1008 2056", "quota_exceeded", _MINIMAX, within="base_resp"),
    Code("1113 1304 1308 1309 1310", "quota_exceeded", f"{_ZHIPU}; dirge-code/dirge#818"),
    Code(
        "Arrearage PrepaidBillOverdue PostpaidBillOverdue AllocationQuota.FreeTierOnly"
        " CommodityNotPurchased",
        "quota_exceeded",
        _DASHSCOPE,
    ),
    Code("AccountOverdueError QuotaExceeded SetLimitExceeded", "quota_exceeded", _ARK),
    Code("usage_limit_reached usage_not_included", "quota_exceeded", _CODEX),
    Code("quota_exceeded", "quota_exceeded", "microsoft/copilot-intellij-feedback#331"),
    Code("INSUFFICIENT_BALANCE", "quota_exceeded", "veniceai/api-docs#149"),
    Code("insufficient_credit reject_no_credit quote_exceeded", "quota_exceeded", _ZENMUX),
    Code("budget_exceeded", "quota_exceeded", _LITELLM),
    Code("ServiceQuotaExceededException", "quota_exceeded", _BEDROCK),
    Code("token_quota_reached", "quota_exceeded", "cloud.ibm.com/apidocs/watsonx-ai"),
    # Not known. ------------------------------------------------------------------------
    Code(
        "invalid_api_key missing_api_key token_expired token_invalidated account_deactivated",
        "authentication",
        _OPENAI,
    ),
    Code("authentication_error", "authentication", _ANTHROPIC),
    Code("UNAUTHENTICATED", "authentication", _GOOGLE),
    Code(
        "API_KEY_INVALID ACCESS_TOKEN_EXPIRED ACCESS_TOKEN_TYPE_UNSUPPORTED CREDENTIALS_MISSING",
        "authentication",
        _GOOGLE_REASON,
    ),
    Code("invalid_authentication_error incorrect_api_key_error", "authentication", _MOONSHOT),
    Code("InvalidApiKey InvalidAccessKeyId", "authentication", _DASHSCOPE),
    Code("1004 2049", "authentication", _MINIMAX, within="base_resp"),
    # (Others count from 1000 as well: Mistral's 1000 is a proxy error.)
    Code("1000 1001 1002 1003 1004", "authentication", _ZHIPU, vague=True),
    Code("unauthorized", "authentication", "docs.github.com/rest/models: errors"),
    Code("wrong_api_key", "authentication", "inference-docs.cerebras.ai/support/error"),
    Code("auth_error expired_key token_not_found_in_db", "authentication", _LITELLM),
    Code(
        "UnrecognizedClientException ExpiredTokenException InvalidSignatureException",
        "authentication",
        "docs.aws.amazon.com/bedrock: common errors",
    ),
    # Known, and not allowed. -----------------------------------------------------------
    Code("permission_error", "forbidden", _ANTHROPIC),
    Code("unsupported_country_region_territory ip_not_authorized", "forbidden", _OPENAI),
    Code("PERMISSION_DENIED", "forbidden", _GOOGLE),
    Code(
        "SERVICE_DISABLED CONSUMER_SUSPENDED CONSUMER_INVALID API_KEY_SERVICE_BLOCKED"
        " API_KEY_HTTP_REFERRER_BLOCKED API_KEY_IP_ADDRESS_BLOCKED LOCATION_POLICY_VIOLATED",
        "forbidden",
        _GOOGLE_REASON,
    ),
    Code("permission_denied_error access_terminated_error", "forbidden", _MOONSHOT),
    Code("AccessDenied Model.AccessDenied Workspace.AccessDenied", "forbidden", _DASHSCOPE),
    Code("1110 1111 1112 1121 1220 1311 1313", "forbidden", f"{_ZHIPU}; 1313: r/ZaiGLM"),
    Code("AccessDeniedException", "forbidden", _BEDROCK),
    Code("ModelNotOpen OperationDenied", "forbidden", _ARK),
    Code("organization_restricted model_terms_required", "forbidden", _GROQ),
    Code(
        "key_model_access_denied team_model_access_denied user_model_access_denied"
        " customer_model_access_denied org_model_access_denied project_model_access_denied",
        "forbidden",
        _LITELLM,
    ),
    # Too long. -------------------------------------------------------------------------
    Code(
        "context_length_exceeded string_above_max_length",
        "context_window_exceeded",
        f"{_OPENAI}; LiteLLM maps both so",
    ),
    Code("exceed_context_size_error", "context_window_exceeded", "a recording of llama.cpp"),
    Code("1261", "context_window_exceeded", _ZHIPU),
    Code(
        "model_max_prompt_tokens_exceeded tokens_limit_reached",
        "context_window_exceeded",
        "GitHub Copilot and GitHub Models; docs.github.com/github-models",
    ),
    # Refused for what it says. ---------------------------------------------------------
    Code("content_policy_violation moderation_blocked invalid_prompt", "invalid_request", _OPENAI),
    Code("content_filter ResponsibleAIPolicyViolation", "invalid_request", _AZURE),
    Code("DataInspectionFailed", "invalid_request", _DASHSCOPE),
    Code("1026 1027 1042 2013", "invalid_request", _MINIMAX, within="base_resp"),
    Code("1301", "invalid_request", _ZHIPU),
    Code(
        "SensitiveContentDetected InputTextSensitiveContentDetected"
        " OutputTextSensitiveContentDetected InputTextRiskDetection OutputTextRiskDetection",
        "invalid_request",
        _ARK,
    ),
    Code("safety_check_failed", "invalid_request", _ZENMUX),
    # A model, deployment or parameter that there is not. -------------------------------
    Code("model_not_found model_not_supported", "invalid_request", _OPENAI),
    Code(
        "unsupported_parameter unsupported_value unknown_parameter missing_required_parameter"
        " invalid_value invalid_type invalid_function_parameters",
        "invalid_request",
        _OPENAI,
    ),
    Code("not_found_error request_too_large", "invalid_request", _ANTHROPIC),
    Code("DeploymentNotFound", "invalid_request", "learn.microsoft.com/answers 1299621"),
    Code("ModelNotFound NotFound", "invalid_request", _DASHSCOPE),
    Code(
        "InvalidEndpointOrModel.NotFound InvalidEndpoint MissingParameter", "invalid_request", _ARK
    ),
    Code("1210 1211 1212 1213 1214 1215 1221 1222", "invalid_request", _ZHIPU, vague=True),
    Code("resource_not_found_error", "invalid_request", _MOONSHOT),
    Code("model_decommissioned", "invalid_request", _GROQ),
    Code("unknown_model", "invalid_request", "docs.github.com/rest/models: errors"),
    Code("invalid_model invalid_params", "invalid_request", _ZENMUX),
    Code("not_supported_error", "invalid_request", _LLAMACPP),
    Code("template_error", "invalid_request", "a recording of text-generation-inference"),
    Code("extra_forbidden", "invalid_request", "docs.pydantic.dev/latest/errors"),
    # Busy or broken. -------------------------------------------------------------------
    Code("overloaded_error timeout_error", "server_error", _ANTHROPIC),
    Code("server_is_overloaded service_unavailable_error", "server_error", _OPENAI),
    Code("engine_overloaded_error", "server_error", _MOONSHOT),
    Code("UNAVAILABLE DEADLINE_EXCEEDED ABORTED", "server_error", _GOOGLE),
    Code("1305 1312", "server_error", f"{_ZHIPU}; NousResearch/hermes-agent#93507"),
    Code("1120 1200 1230 1234", "server_error", _ZHIPU, vague=True),
    Code("1000 1001 1013 1024 1033", "server_error", _MINIMAX, within="base_resp"),
    Code("capacity_exceeded", "server_error", f"{_GROQ} (498)"),
    Code(
        "tool_use_failed json_validate_failed",
        "server_error",
        f"{_GROQ}; a recording of Groq: the model's own output did not parse",
    ),
    Code("queue_exceeded", "server_error", "inference-docs.cerebras.ai/support/error"),
    Code("NoCapacity", "server_error", _AZURE),
    Code("ServerOverloaded", "server_error", _ARK),
    Code("ServiceUnavailable ModelServingError RequestTimeOut", "server_error", _DASHSCOPE),
    Code(
        "ModelStreamErrorException ModelTimeoutException ModelNotReadyException"
        " ModelErrorException ServiceUnavailableException",
        "server_error",
        _BEDROCK,
    ),
    Code("SERVICE_UNAVAILABLE GATEWAY_TIMEOUT BAD_GATEWAY", "server_error", _SGLANG),
    Code("overloaded incomplete_generation", "server_error", _TGI),
    Code("unavailable_error", "server_error", _LLAMACPP),
    Code("no_db_connection auth_provider_unavailable", "server_error", _LITELLM),
    Code("no_provider_available provider_error provider_api_error", "server_error", _ZENMUX),
    # Said of many things. --------------------------------------------------------------
    Code("invalid_request_error bad_request", "invalid_request", _OPENAI, vague=True),
    Code("BadRequestError BAD_REQUEST", "invalid_request", f"{_VLLM}; {_SGLANG}", vague=True),
    Code(
        "INVALID_ARGUMENT FAILED_PRECONDITION OUT_OF_RANGE", "invalid_request", _GOOGLE, vague=True
    ),
    Code("InvalidParameter", "invalid_request", f"{_DASHSCOPE} (also too long)", vague=True),
    Code("ValidationException", "invalid_request", f"{_BEDROCK} (also too long)", vague=True),
    Code("validation", "invalid_request", f"{_TGI} (also too long)", vague=True),
    Code(
        "unprocessable_entity provider_unprocessable_entity", "invalid_request", _ZENMUX, vague=True
    ),
    Code("forbidden", "forbidden", f"{_ARK} (its type for overdue accounts, too)", vague=True),
    Code("api_error", "server_error", f"{_ANTHROPIC}; MiniMax-AI/MiniMax-M2#62", vague=True),
    Code("server_error", "server_error", f"{_OPENAI}; {_LLAMACPP}", vague=True),
    Code(
        "internal_server_error internal_error", "server_error", f"{_VLLM}; {_LITELLM}", vague=True
    ),
    Code("INTERNAL UNKNOWN", "server_error", _GOOGLE, vague=True),
    Code("generation", "server_error", _TGI, vague=True),
)


class Status(NamedTuple):
    """What a HTTP status means where no code says more.

    Attributes:
        first: The lowest status it holds for.
        last: The highest one.
        category: What it means.
        evidence: What says so.
        blame: Who can mend it, where it is not what `BLAME` says.
        opens: Categories that the wording may make of it. Elsewhere wording is not asked:
            an error's text often quotes the request.
    """

    first: int
    last: int
    category: Category
    evidence: str
    blame: Blame | None = None
    opens: frozenset[Category] = frozenset()


_HTTP = "RFC 9110"
_CONTENT: Final[frozenset[Category]] = frozenset(
    {"context_window_exceeded", "quota_exceeded", "authentication", "forbidden", "invalid_request"}
)
_BROKEN: Final[frozenset[Category]] = frozenset(
    {"context_window_exceeded", "quota_exceeded", "rate_limit"}
)
_TOO_MANY: Final[frozenset[Category]] = frozenset({"quota_exceeded", "rate_limit", "server_error"})
_TOO_LARGE: Final[frozenset[Category]] = frozenset({"context_window_exceeded", "rate_limit"})

# The first that holds.
STATUSES: Final[tuple[Status, ...]] = (
    Status(
        400, 400, "invalid_request", f"{_HTTP}; key and balance, too: xAI, Google", None, _CONTENT
    ),
    Status(401, 401, "authentication", _HTTP),
    Status(402, 402, "quota_exceeded", "api-docs.deepseek.com/quick_start/error_codes"),
    Status(
        403,
        403,
        "forbidden",
        f"{_HTTP}; {_OPENROUTER} (moderation); docs.together.ai/docs/error-codes (too long);"
        " Anantys-oss/koan#2412 (xAI: credits)",
        None,
        _CONTENT | _TOO_LARGE,
    ),
    Status(408, 408, "api_connection", f"{_HTTP}; {_OPENROUTER}"),
    Status(409, 409, "server_error", f"{_ANTHROPIC} (conflict_error may be retried)"),
    Status(412, 412, "forbidden", "docs.fireworks.ai/guides/inference-error-codes: suspended"),
    Status(413, 413, "invalid_request", f"{_ANTHROPIC}; {_GROQ}", None, _TOO_LARGE),
    Status(422, 422, "invalid_request", f"{_HTTP}; {_TGI} (too long)", None, _CONTENT),
    Status(424, 424, "server_error", f"{_TGI} (generation failed)"),
    Status(425, 425, "server_error", "RFC 8470"),
    Status(
        429, 429, "rate_limit", "RFC 6585; xAI and Zhipu: balance; Mistral: load", None, _TOO_MANY
    ),
    Status(434, 434, "forbidden", _ZHIPU),
    Status(451, 451, "forbidden", "RFC 7725"),
    Status(498, 498, "server_error", _GROQ),
    Status(499, 499, "server_error", "nginx: the gateway's client gave up; LiteLLM passes it on"),
    Status(400, 499, "invalid_request", _HTTP),
    Status(520, 527, "server_error", "developers.cloudflare.com: errors 520 to 527"),
    Status(529, 529, "server_error", _ANTHROPIC),
    Status(500, 599, "server_error", f"{_HTTP}; MiniMax-AI/MiniMax-M2#62 (balance)", None, _BROKEN),
)
