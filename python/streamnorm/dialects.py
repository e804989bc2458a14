"""The one table of what providers do: where reasoning text is found, and who puts it there.

Both engines read this module and hold no provider knowledge of their own. A new
provider is one row here and one vector under ``tests/vectors/``; it needs no Rust.

The sources stand in the order in which they are asked; the first that gives
non-empty text wins. A delta is the object at ``choices[].delta`` (``choices[].message``
of a body that was not streamed).
"""

from __future__ import annotations

import re
from typing import Any, Final, Literal, NamedTuple

from .tag_table import TAGS

Shape = Literal["text", "object", "nested", "parts", "flag", "tags"]


class Source(NamedTuple):
    """One place of a delta in which reasoning text may stand.

    Attributes:
        name: How reports call it.
        key: The member of the delta. Keys are matched exactly and case-sensitively.
        shape: ``text``: the member is a string. ``object``: the member is an object
            that holds the text (`OBJECT_TEXT_KEYS`, `OBJECT_LIST`). ``nested``: the text
            lies in objects below the member, which itself carries more (ids,
            signatures) and therefore always stays. ``parts``: the member is a list of
            parts (`PARTS`). ``flag``: the member is all reasoning where `FLAG_PATH`
            says so. ``tags``: the text stands in the member between delimiters (`TAGS`).
        steps: From the member to the objects that hold the text, for ``nested``: names
            of members, ``*`` for every item of a list.
        picks: In such an object: (value that its ``type`` must have, or None for any,
            name of the string member). The first pick that fits is taken.
    """

    name: str
    key: str
    shape: Shape
    steps: tuple[str, ...] = ()
    picks: tuple[tuple[str | None, str], ...] = ()


SOURCES: Final[tuple[Source, ...]] = (
    Source("reasoning_content", "reasoning_content", "text"),
    Source("reasoning", "reasoning", "text"),
    Source("reasoning_text", "reasoning_text", "text"),
    Source("thinking", "thinking", "text"),
    Source("reasoning_content{}", "reasoning_content", "object"),
    Source("reasoning{}", "reasoning", "object"),
    Source(
        "reasoning_details",
        "reasoning_details",
        "nested",
        ("*",),
        (("reasoning.text", "text"), ("reasoning.summary", "summary")),
    ),
    Source("thinking_blocks", "thinking_blocks", "nested", ("*",), ((None, "thinking"),)),
    Source(
        "provider_specific_fields",
        "provider_specific_fields",
        "nested",
        (),
        ((None, "reasoning_content"),),
    ),
    Source("content_blocks", "content_blocks", "nested", ("*", "delta"), ((None, "thinking"),)),
    Source("content[]", "content", "parts"),
    Source("google.thought", "content", "flag"),
    Source("tags", "content", "tags"),
)

# The member that holds the answer, and in which the last three sources stand.
CONTENT: Final = "content"

# Keys that can be the output. The one that is not asked for is an alias like any other.
TARGETS: Final[tuple[str, ...]] = ("reasoning_content", "reasoning")

# In an ``object`` source: string members that hold the text, in order, then the list
# whose items hold it in pieces. Any other object (``{"effort": "high"}``) is no text.
OBJECT_TEXT_KEYS: Final[tuple[str, ...]] = ("text", "content")
OBJECT_LIST: Final[tuple[str, str]] = ("summary", "text")
# Members that only describe the text: an object that holds nothing else besides it is
# fully represented by the plain string. A signature or an id is not in this list.
OBJECT_LABELS: Final[tuple[str, ...]] = ("type", "index")


class Part(NamedTuple):
    """One type of the parts of a ``content`` list.

    Attributes:
        type: Value of its ``type`` member.
        key: Member that holds the text: a string, or a list of objects.
        item_key: In such a list, the member of each item that holds a piece.
        is_reasoning: The text is reasoning; otherwise it is the answer.
        evidence: Who sends such parts.
    """

    type: str
    key: str
    item_key: str
    is_reasoning: bool
    evidence: str


PARTS: Final[tuple[Part, ...]] = (
    Part("thinking", "thinking", "text", True, "Mistral API reference, ThinkChunk"),
    Part(
        "reasoning",
        "summary",
        "text",
        True,
        "BerriAI/litellm llms/databricks/chat/transformation.py; maximhq/bifrost databricks tests",
    ),
    Part("text", "text", "text", False, "Mistral API reference, TextChunk"),
)

# Members of a part that only describe its text. A part that holds anything else which is
# not null or empty (a signature, annotations) is more than its text, and so is a part of
# any other type: it leaves as it came, in a list of this name beside the string content.
PART_LABELS: Final[tuple[str, ...]] = ("type", "index", "closed")
PARTS_KEY: Final = "content_parts"

# From the delta to the flag that says that all of the content is a thought, and the values
# that set it (Gemini's OpenAI-compatible endpoint; coder/coder coderd/x/googleopenai).
FLAG_PATH: Final[tuple[str, ...]] = ("extra_content", "google", "thought")
FLAG_VALUES: Final[tuple[Any, ...]] = (True, "true")
# The row of `TAGS` whose delimiters stand in flagged content.
FLAG_TAG: Final = "thought"

# Members of a chunk that say which stream it belongs to. A chunk of our own making (text
# that was held back, a reasoning part that was split off) repeats them as they were sent.
ENVELOPE: Final[tuple[str, ...]] = (
    "id",
    "object",
    "created",
    "model",
    "provider",
    "system_fingerprint",
    "service_tier",
)

# ``finish_reason`` values that mean "not finished". The string is DashScope's native
# spelling (recorded as ``"finish_reason":"null"``).
UNFINISHED: Final[tuple[str, ...]] = ("", "null")

# ``finish_reason`` values that say nothing of why. One beside tool calls is left as it was
# sent and counted (Gemini through OpenRouter: OpenRouterTeam/ai-sdk-provider #288).
VAGUE_FINISHES: Final[tuple[str, ...]] = ("stop",)

# A ``data`` value that starts so ends the stream (OpenAI API reference, "Streaming").
DONE_MARK: Final = b"[DONE]"


class Terminal(NamedTuple):
    """A mark of a good end in a stream that is not chat completions.

    Attributes:
        path: Members from the top of the document; ``*`` is every item of a list.
        value: The string that must stand there; None accepts any string, and True.
        evidence: Where the mark is seen.
    """

    path: tuple[str, ...]
    value: str | None
    evidence: str


TERMINALS: Final[tuple[Terminal, ...]] = (
    Terminal(("type",), "message_stop", "Anthropic Messages API, streaming events"),
    Terminal(("type",), "response.completed", "OpenAI Responses API, streaming events"),
    Terminal(("type",), "response.incomplete", "OpenAI Responses API, streaming events"),
    Terminal(("type",), "message-end", "Cohere API v2, chat stream events"),
    Terminal(("type",), "transcript.text.done", "OpenAI audio transcription, streaming events"),
    Terminal(("event_type",), "interaction.complete", "Gemini Interactions API, events"),
    Terminal(("event_type",), "interaction.completed", "Gemini Interactions API, events"),
    Terminal(("done",), None, "Ollama API, the last object of a stream has done true"),
    Terminal(("candidates", "*", "finishReason"), None, "Gemini streamGenerateContent"),
    Terminal(("results", "*", "stop_reason"), "eos_token", "IBM watsonx.ai generation_stream"),
    Terminal(("results", "*", "stop_reason"), "max_tokens", "IBM watsonx.ai generation_stream"),
)


class ErrorMark(NamedTuple):
    """What stands at one place of an error body.

    Attributes:
        path: Members from the top of the document.
        test: ``text``: a string that is not empty. ``said``: anything but null, false, zero
            and what is empty. ``false``: the value false. ``http``: an HTTP status of an
            error, 400 to 599. ``code``: a number or a string that is no `GOOD_CODES` and,
            as a number, neither 0 nor 2xx. Any other word: that string.
    """

    path: tuple[str, ...]
    test: str


class ErrorBody(NamedTuple):
    """A shape of errors that have no ``error`` member and come with status 200.

    Only documents without choices are looked at.

    Attributes:
        marks: All of them must stand in the document.
        is_weak: A relay's own events may look like it (a progress message, the result of a
            tool): it counts only before the first delta of the stream, and not in a document
            that says what type it is of.
        evidence: Who sends it.
    """

    marks: tuple[ErrorMark, ...]
    is_weak: bool
    evidence: str


def _error(marks: str, evidence: str, *, is_weak: bool = False) -> ErrorBody:
    made = [mark.partition("=") for mark in marks.split()]
    tests = tuple(ErrorMark(tuple(path.split(".")), test) for path, _, test in made)
    return ErrorBody(tests, is_weak, evidence)


def _weak(marks: str, evidence: str) -> ErrorBody:
    return _error(marks, evidence, is_weak=True)


# Codes that say that all is well, in lower case.
GOOD_CODES: Final[frozenset[str]] = frozenset(("", "0", "200", "ok", "success", "succeeded"))

ERRORS: Final[tuple[ErrorBody, ...]] = (
    _weak("detail=said", "FastAPI, HTTPException and its validation errors; a recording of "
           "ChatGPT's backend; NVIDIA NIM (RFC 9457 problem details)"),
    _error("object=error", "vLLM until mid-2025 and SGLang, ErrorResponse; FastChat"),
    _error("type=error", "Anthropic Messages API, error events; OpenAI Responses API, the event "
           "error, whose code and message stand beside its type"),
    _error("type=response.failed", "OpenAI Responses API, streaming events"),
    _error("type=message-end delta.finish_reason=ERROR", "Cohere API v2, chat stream events"),
    _weak("errors=said", "Cloudflare API, error envelope; IBM watsonx.ai error body"),
    _weak("success=false", "Cloudflare API, error envelope; new-api #2734"),
    _weak("status=error", "the JSend convention: status, message"),
    _error("status=http", "NVIDIA NIM and other servers of RFC 9457 problem details"),
    _error("statusCode=http", "Azure API Management, policy errors"),
    _weak("message=text code=code", "DashScope API, error codes; SiliconFlow "
           "(ErlichLiu/DeepClaude #111); gateways with status 200 (XpressAI/xaibo #36)"),
    _weak("msg=text code=code", "Z.ai, whose good answers say code 200 (steipete/CodexBar #343)"),
    _error("error_code=code", "Databricks REST API (error_code, message); Baidu Qianfan "
           "(error_code, error_msg)"),
    _error("__type=text", "AWS JSON protocol errors (Bedrock)"),
    _error("base_resp.status_code=code", "MiniMax API reference, base_resp; "
           "edenai/edenai-apis #360"),
    _error("Response.Error=said", "Tencent Cloud API 3.0, common error body"),
)  # fmt: skip


class Dialect(NamedTuple):
    """Who streams reasoning how.

    Attributes:
        name: What ``report.dialect`` says.
        carries: Names of the sources that gave text, in one stream; ``tags:NAME`` for the
            row of that name in `TAGS`.
        providers: Providers and servers known to stream so, with the condition if any.
        evidence: A recording, a source file or an issue that shows it.
    """

    name: str
    carries: frozenset[str]
    providers: tuple[str, ...]
    evidence: str


def _row(name: str, carries: str, providers: str, evidence: str) -> Dialect:
    names = tuple(part.strip() for part in providers.split(","))
    return Dialect(name, frozenset(carries.split()), names, evidence)


DIALECTS: Final[tuple[Dialect, ...]] = (
    _row(
        "reasoning_content",
        "reasoning_content",
        "DeepSeek, xAI grok-3-mini, Moonshot, DashScope, Z.ai, SGLang, llama.cpp, mistral.rs, "
        "LM Studio (R1), SiliconFlow, DeepInfra, Fireworks, Venice, vLLM until late 2025",
        "vercel/ai packages/deepseek/src/chat/__fixtures__; "
        "api-docs.deepseek.com/guides/reasoning_model",
    ),
    _row(
        "reasoning",
        "reasoning",
        "vLLM since January 2026, Scaleway, Crusoe, Groq (reasoning_format=parsed), Cerebras, "
        "Ollama /v1, Together, LM Studio (gpt-oss), NanoGPT",
        "vllm-project/vllm #33402, entrypoints/generate/base/protocol.py; "
        "console.groq.com/docs/reasoning; ollama openai/openai.go",
    ),
    _row(
        "mirrored",
        "reasoning_content reasoning",
        "StepFun, Chutes, mlx-vlm, vLLM November 2025 to January 2026, new-api",
        "MoonshotAI/kimi-code #3928; vllm-project/vllm #27752",
    ),
    _row(
        "reasoning+details",
        "reasoning reasoning_details",
        "OpenRouter, Vercel AI Gateway, Bifrost, Doubleword (Qwen3.5-397B)",
        "openrouter.ai/docs/use-cases/reasoning-tokens; "
        "charmbracelet/fantasy providertests/testdata/TestVercelThinking",
    ),
    _row(
        "reasoning_content+details",
        "reasoning_content reasoning_details",
        "Avian, Doubleword (some models), MiniMax (reasoning_split)",
        "0xplaygrounds/rig doubleword cassettes; platform.minimax.io text-openai-api",
    ),
    _row(
        "details",
        "reasoning_details",
        "Snowflake Cortex",
        "pydantic/pydantic-ai models/snowflake.py and its cassettes",
    ),
    _row(
        "reasoning_text",
        "reasoning_text",
        "GitHub Copilot chat",
        "opencode packages/opencode/test/provider/copilot/copilot-chat-model.test.ts",
    ),
    _row(
        "thinking",
        "thinking",
        "relays that copy Ollama's native field",
        "ollama docs/api.md; BerriAI/litellm llms/ollama/chat/transformation.py",
    ),
    _row(
        "object",
        "reasoning_content{}",
        "Envoy AI Gateway (Bedrock)",
        "envoyproxy/ai-gateway #1222",
    ),
    _row(
        "reasoning object",
        "reasoning{}",
        "gateways read by the Codex chat client, older any-llm",
        "openai/codex chat completions test fixture",
    ),
    _row(
        "thinking_blocks",
        "reasoning_content thinking_blocks",
        "LiteLLM output (Anthropic models)",
        "BerriAI/litellm llms/anthropic/chat/handler.py",
    ),
    _row(
        "thinking_blocks alone",
        "thinking_blocks",
        "relays of LiteLLM output that drop reasoning_content",
        "BerriAI/litellm types/utils.py Delta",
    ),
    _row(
        "provider_specific_fields",
        "provider_specific_fields",
        "LiteLLM output (custom providers)",
        "BerriAI/litellm types/utils.py Delta.provider_specific_fields",
    ),
    _row(
        "content_blocks",
        "content_blocks",
        "Portkey (strict_open_ai_compliance=false)",
        "Portkey-AI/gateway src/providers/anthropic/chatComplete.ts",
    ),
    _row(
        "content parts",
        "content[]",
        "Mistral (Magistral), Databricks (Claude)",
        "docs.mistral.ai/capabilities/reasoning; "
        "BerriAI/litellm llms/databricks/chat/transformation.py",
    ),
    _row(
        "thought flag",
        "google.thought",
        "Gemini's OpenAI-compatible endpoint",
        "coder/coder coderd/x/googleopenai; ai.google.dev/gemini-api/docs/openai",
    ),
    _row(
        "tag and field",
        "reasoning_content tags",
        "MiniMax-M3, llama.cpp (reasoning_format=deepseek-legacy)",
        "can1357/oh-my-pi #2434; ggml-org/llama.cpp tools/server/README.md",
    ),
    _row(
        "tags",
        "tags",
        "Qwen3-Thinking-2507, DeepSeek R1, Nemotron, Olmo 3 where the opener is in the prompt",
        "vllm-project/vllm reasoning/deepseek_r1_reasoning_parser.py",
    ),
    *(
        Dialect(
            f"tags: {tag.name}",
            frozenset({f"tags:{tag.name}"}),
            tuple(re.split(r"[,;] (?![^()]*\))", tag.emitters)),
            tag.evidence,
        )
        for tag in TAGS
        if tag.opens
    ),
)

# What a report calls the tags of which the opener stood in the prompt.
PROMPTED: Final = "prompt"


def dialect_of(carried: frozenset[str], families: tuple[str, ...] = ()) -> str | None:
    """Name the dialect of a stream by the sources that gave text.

    Args:
        carried: Names of `SOURCES` rows that gave non-empty text.
        families: Names of the `TAGS` rows that reasoning stood in; ``""`` where the opener
            was in the prompt.

    Returns:
        The name of the `DIALECTS` row; the names joined with ``+`` for a
        combination that no row describes; None when no source gave text.
    """
    if not carried:
        return None
    if carried == {"tags"} and len(families) == 1 and families[0]:
        return f"tags: {families[0]}"
    for row in DIALECTS:
        if row.carries == carried:
            return row.name
    return "+".join(source.name for source in SOURCES if source.name in carried)
