"""The last part of the table of what errors mean: their wording.

Data only. Wording changes without notice and quotes the request, so a row is asked only
where neither a code nor the status decides; see `streamnorm.faults.deciding`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from . import Blame, Category


class Wording(NamedTuple):
    """Words that mean one thing, where neither a code nor the status decides.

    Attributes:
        pattern: A regular expression, searched in the message in lower case.
        category: What it means.
        evidence: Where such words were seen.
        blame: Who can mend it, where it is not what `BLAME` says.
        bare: Only where there is neither a status nor a code that the table knows.
    """

    pattern: str
    category: Category
    evidence: str
    blame: Blame | None = None
    bare: bool = False


# The first that is found.
WORDINGS: Final[tuple[Wording, ...]] = (
    Wording(
        r"rate.?limited upstream",
        "rate_limit",
        "OpenRouter's metadata.raw, open-webui/computer#293: a pool that all keys share",
        blame="provider",
    ),
    Wording(
        r"context.(?:length|window|size|limit)|maximum prompt length|model token limit"
        r"|(?:prompt|input)(?: token)?(?: length)? (?:is )?too (?:long|large)|prompt exceeds"
        r"|too many (?:input |prompt )?tokens|token count .{0,40}exceeds"
        r"|range of input length|reduce the length o"
        r"|inputs`? tokens \+ `?max_new_tokens`? must be",
        "context_window_exceeded",
        "OpenAI, vLLM, SGLang; Anthropic; Google; DashScope; Moonshot; Cohere; xAI; Bedrock;"
        " MiniMax; recordings of llama.cpp and text-generation-inference",
    ),
    Wording(
        r"insufficient.(?:balance|credit|fund|quota)|balance is too low|spending limit"
        r"|(?:out of|no|more|any|available|included|exhausted your|purchase) credits"
        r"|exceeded your current quota|usage limit|payment (?:is )?(?:required|past due)"
        r"|in arrears|\boverdue\b|余额不足|欠费",
        "quota_exceeded",
        "OpenRouter 402; Anthropic 400; continuedev/continue#10373, #12670 (xAI), #11823"
        " (Zhipu), #13195 (Ollama); Hugging Face",
    ),
    Wording(
        r"content.(?:policy|filter|management|moderation)|was flagged|requires moderation"
        r"|sensitive content|safety (?:system|polic|filter)|prohibited content|high risk"
        r"|usage polic",
        "invalid_request",
        "OpenRouter 403; Azure; Moonshot; OpenAI",
    ),
    Wording(
        r"(?:invalid|incorrect|expired|missing|wrong|no) (?:x-)?"
        r"(?:api.?key|api token|access token|auth\b|authentication|authorization|credential)"
        r"|api.?key.{0,20}(?:not valid|invalid|expired|not found|missing|incorrect)"
        r"|authentication (?:fail|token)|unauthori[sz]ed|unauthenticated|no auth\b",
        "authentication",
        "Google 400; xAI 400; a recording of the ChatGPT backend; DeepSeek",
    ),
    Wording(
        r"model.{0,100}(?:not exist|not found|not supported|not available|decommissioned)"
        r"|(?:unknown|invalid|no such) model|not a valid model|no endpoints found",
        "invalid_request",
        "OpenRouter; Ollama; vLLM; DeepSeek 400",
    ),
    Wording(
        r"overloaded|(?:at|over|tier|exceeded|insufficient) capacity|capacity exceeded"
        r"|high demand|engine ?core",
        "server_error",
        "BerriAI/litellm#25078 (Mistral 429); Azure 429; a recording of OpenRouter",
    ),
    Wording(
        r"rate.?limit|too many requests|throttl|(?:requests|tokens) per (?:second|minute|day)"
        r"|concurrency|quota|resource.{0,10}exhausted|error code: 1015",
        "rate_limit",
        "Mistral, Cerebras, Groq, Zhipu; Google; BerriAI/litellm#8448 (Cloudflare's 1015)",
    ),
    Wording(
        r"\bpermissions?\b|forbidden|not have access|access denied|not authorized"
        r"|location is not supported|(?:country|region).{0,40}not supported",
        "forbidden",
        "Google 400; OpenAI 403; a recorded body",
    ),
    Wording(
        r"try again later|temporarily|unavailable|internal (?:server )?error|bad gateway"
        r"|server.{0,10}busy|out of memory|error processing stream|unexpected error",
        "server_error",
        "recordings of OpenRouter; vLLM; DeepSeek",
        bare=True,
    ),
    Wording(
        r"connection (?:error|reset|aborted|refused|closed|lost)|timed? ?out|peer closed"
        r"|disconnected",
        "api_connection",
        "LiteLLM and other gateways, of the connection behind them",
        bare=True,
    ),
    Wording(
        r"validation (?:error|failed)|invalid (?:request|param|value|argument)|is required"
        r"|unsupported (?:param|value)|field required|not permitted",
        "invalid_request",
        "vLLM; FastAPI; text-generation-inference",
        bare=True,
    ),
)
