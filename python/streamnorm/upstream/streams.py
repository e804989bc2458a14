"""Eight short streams, each in the exact wire shape of one provider.

Texts, ids and signatures are made up here; keys, their order, nulls, comments, usage and
the end follow what each provider sends, by the source that each function names.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

Delta = dict[str, Any]
# Events, pieces of reasoning, pieces of the answer.
_Parts = tuple[tuple[bytes, ...], tuple[str, ...], tuple[str, ...]]

DONE: Final = b"data: [DONE]\n\n"

# Opaque to every reader: it must come out as it went in.
_SIGNATURE: Final = "ZGVtby1zaWduYXR1cmUtbm90LWEtcmVhbC1vbmU+8Q=="
_ENCRYPTED: Final = "ZGVtby1lbmNyeXB0ZWQtcmVhc29uaW5nLy8rKysr"


@dataclass(frozen=True)
class BundledStream:
    """One answer of one provider.

    Attributes:
        name: Lower-case word, good as a URL path segment.
        provider: How the provider calls itself.
        where: Where this provider puts reasoning text, in one line.
        question: What the user asked.
        events: The exact body, cut into whole events (or comments), each one piece.
        reasoning: The reasoning text that a reader must get, joined.
        content: The answer text that a reader must get, joined.
    """

    name: str
    provider: str
    where: str
    question: str
    events: tuple[bytes, ...]
    reasoning: str
    content: str


def event(payload: dict[str, Any]) -> bytes:
    """One ``data:`` event with *payload* as compact UTF-8 JSON, its blank line included."""
    text = json.dumps(payload, ensure_ascii=False, separators=(",", ":"))
    return b"data: " + text.encode() + b"\n\n"


def _stream(make: Callable[[], _Parts], provider: str, where: str, question: str) -> BundledStream:
    events, thoughts, answer = make()
    texts = "".join(thoughts), "".join(answer)
    return BundledStream(make.__name__[1:], provider, where, question, events, *texts)


def _choice(delta: Delta, finish: str | None, **last: Any) -> list[dict[str, Any]]:
    return [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish, **last}]


def _usage(prompt: int, completion: int, reasoning: int, **more: Any) -> dict[str, Any]:
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "completion_tokens_details": {"reasoning_tokens": reasoning},
        **more,
    }


def _scaleway() -> _Parts:
    """Scaleway runs vLLM; reasoning is in ``reasoning`` when streamed.

    Source: scaleway/docs-content query-reasoning-models.mdx; vLLM #33402.
    """
    head = {
        "id": "chatcmpl-5ca1e3a9-0d3e-4b1c-9f00-000000000001",
        "object": "chat.completion.chunk",
        "created": 1790000001,
        "model": "qwen3.5-397b-a17b",
    }

    def chunk(delta: Delta, finish: str | None = None, **last: Any) -> bytes:
        return event({**head, "choices": _choice(delta, finish, **last, token_ids=None)})

    thoughts = ("\n", "A day has", " 24 × 60", " = 1440", " minutes;", " times 7.", "\n")
    answer = ("\n\n", "A week has ", "10 080", " minutes.")
    first = {**head, "choices": _choice({"role": "assistant", "content": ""}, None)}
    events = (
        event({**first, "prompt_token_ids": None}),
        *(chunk({"reasoning": text}) for text in thoughts),
        *(chunk({"content": text}) for text in answer),
        chunk({}, "stop", stop_reason=None),
        event({**head, "choices": [], "usage": _usage(21, 41, 29)}),
        DONE,
    )
    return events, thoughts, answer


def _vercel() -> _Parts:
    """Vercel AI Gateway: ``reasoning`` mirrored in details, ``signature`` on each fragment.

    The finish chunk carries routing prose in keys such as ``internalReasoning``, which
    is no reasoning of the model.
    Source: charmbracelet/fantasy providertests/testdata/TestVercelThinking.
    """
    head = {
        "id": "gen_01DEMO0VERCEL0STREAM00002",
        "object": "chat.completion.chunk",
        "created": 1790000002,
        "model": "anthropic/claude-sonnet-4",
    }

    def chunk(delta: Delta, finish: str | None = None, **last: Any) -> bytes:
        tail = {"system_fingerprint": "fp_demo2vercel", **last}
        return event({**head, "choices": _choice(delta, finish), **tail})

    def thought(text: str, signature: str) -> bytes:
        kind = {"type": "reasoning.text", "text": text, "signature": signature}
        detail = {**kind, "format": "anthropic-claude-v1", "index": 0}
        return chunk({"reasoning": text, "reasoning_details": [detail]})

    thoughts = ("14 × 7 = 98,", " so day 98", " is a Monday;", " add two.")
    answer = ("100 days", " after a Monday", " comes", " a Wednesday.")
    routing = {"internalReasoning": "Selected anthropic as preferred provider."}
    gateway = {"gateway": {"routing": routing, "cost": "0.000412"}}
    events = (
        chunk({"role": "assistant"}),
        *(thought(text, "") for text in thoughts),
        thought("", _SIGNATURE),
        *(chunk({"content": text}) for text in answer),
        chunk(
            {"provider_metadata": gateway},
            "stop",
            usage=_usage(19, 44, 31, cost=0.000412),
            generationId=head["id"],
        ),
        DONE,
    )
    return events, thoughts, answer


def _openrouter() -> _Parts:
    """OpenRouter: comments, ``reasoning`` mirrored in three types of details.

    It shows what several models send: summaries and an encrypted item (OpenAI), text
    and a signature (Anthropic). The usage chunk withdraws the finish_reason.
    Source: openrouter.ai/docs/use-cases/reasoning-tokens; pydantic-ai test_openrouter.
    """
    head = {
        "id": "gen-1790000003-DemoOpenRouterStream",
        "provider": "Demo",
        "model": "openrouter/auto",
        "object": "chat.completion.chunk",
        "created": 1790000003,
    }

    def chunk(delta: Delta, finish: str | None = None, **last: Any) -> bytes:
        whole = {"role": "assistant", "content": "", **delta}
        ends = {"finish_reason": finish, "native_finish_reason": finish, "logprobs": None}
        return event({**head, "choices": [{"index": 0, "delta": whole, **ends}], **last})

    def thought(reasoning: str | None, kind: str, form: str, index: int, **payload: str) -> bytes:
        detail = {"type": f"reasoning.{kind}", **payload, "format": form, "index": index}
        return chunk({"reasoning": reasoning, "reasoning_details": [detail]})

    summaries = ("**Divisors**\n", "Not 2, 3, 5.\n")
    texts = ("Try 7:", " 7 × 13", " = 91.")
    answer = ("No: 91 = ", "7 × 13", ", so it is", " not prime.")
    openai, anthropic = "openai-responses-v1", "anthropic-claude-v1"
    keepalive = b": OPENROUTER PROCESSING\n\n"
    events = (
        keepalive,
        keepalive,
        chunk({"reasoning": None, "reasoning_details": []}),
        *(thought(text, "summary", openai, 0, summary=text) for text in summaries),
        thought(None, "encrypted", openai, 0, data=_ENCRYPTED, id="rs_demo00000000000000000003"),
        *(thought(text, "text", anthropic, 1, text=text) for text in texts),
        thought(None, "text", anthropic, 1, signature=_SIGNATURE),
        *(chunk({"content": t, "reasoning": None, "reasoning_details": []}) for t in answer),
        chunk({"reasoning": None, "reasoning_details": []}, "stop"),
        chunk({}, usage=_usage(15, 52, 34, cost=0.00031, is_byok=False)),
        DONE,
    )
    return events, summaries + texts, answer


def _deepseek() -> _Parts:
    """DeepSeek: already in normal form; the other key is null, log probabilities beside it.

    ``logprobs.reasoning_content`` is a list of tokens, no text.
    Source: vercel/ai packages/deepseek/src/chat/__fixtures__; rig streaming_logprobs_matrix.
    """
    head = {
        "id": "de3b5eec-0000-4000-8000-000000000004",
        "object": "chat.completion.chunk",
        "created": 1790000004,
        "model": "deepseek-reasoner",
        "system_fingerprint": "fp_demo4deepseek_prod_fp8_kvcache",
    }

    def chunk(delta: Delta, probable: str = "", usage: dict[str, Any] | None = None) -> bytes:
        probs = None
        if probable:
            token = str(delta[probable])
            spelt = {"token": token, "logprob": -0.125, "bytes": list(token.encode())}
            probs = {probable: [{**spelt, "top_logprobs": []}]}
        finish = "stop" if usage else None
        choice = {"index": 0, "delta": delta, "logprobs": probs, "finish_reason": finish}
        return event({**head, "choices": [choice], "usage": usage})

    thoughts = ("Split", " 17:", " 10 × 6", " is 60,", " 7 × 6", " is 42.")
    answer = ("17 × 6", " = ", "102.")
    cache = {"prompt_cache_hit_tokens": 0, "prompt_cache_miss_tokens": 12}
    events = (
        chunk({"role": "assistant", "content": None, "reasoning_content": ""}),
        *(chunk({"content": None, "reasoning_content": t}, "reasoning_content") for t in thoughts),
        *(chunk({"content": t, "reasoning_content": None}, "content") for t in answer),
        chunk({"content": "", "reasoning_content": None}, usage=_usage(12, 29, 18, **cache)),
        DONE,
    )
    return events, thoughts, answer


def _vllm() -> _Parts:
    """vLLM since January 2026: ``reasoning``, and one delta that holds both texts.

    Both come together when one decoding step crosses from thinking to answer.
    Source: vllm entrypoints/generate/base/protocol.py; vLLM #33402, #43933.
    """
    head = {
        "id": "chatcmpl-0de300000000beef",
        "object": "chat.completion.chunk",
        "created": 1790000005,
        "model": "Qwen/Qwen3-8B",
    }

    def chunk(delta: Delta, finish: str | None = None, **last: Any) -> bytes:
        return event({**head, "choices": _choice(delta, finish, **last, token_ids=None)})

    thoughts = ("\nSaturn", " has over", " 200 moons.", " Titan is", " the largest", " by far.\n")
    answer = ("\n\nTitan,", " which is", " larger than", " Mercury.")
    first = _choice({"role": "assistant", "content": ""}, None)
    usage = {"prompt_tokens": 17, "total_tokens": 52, "completion_tokens": 35}
    events = (
        event({**head, "choices": first, "prompt_token_ids": None, "prompt_text": None}),
        *(chunk({"reasoning": text}) for text in thoughts[:-1]),
        chunk({"reasoning": thoughts[-1], "content": answer[0]}),
        *(chunk({"content": text}) for text in answer[1:]),
        chunk({}, "stop", stop_reason=None),
        event({**head, "choices": [], "usage": usage}),
        DONE,
    )
    return events, thoughts, answer


def _groq() -> _Parts:
    """Groq with ``reasoning_format=parsed``: ``reasoning`` beside ``channel``, ``x_groq``.

    Source: console.groq.com/docs/reasoning; recorded gpt-oss streams of pydantic-ai.
    """
    head = {
        "id": "chatcmpl-6709de30-0000-4000-8000-000000000006",
        "object": "chat.completion.chunk",
        "created": 1790000006,
        "model": "openai/gpt-oss-120b",
        "system_fingerprint": "fp_demo6groq0",
    }
    request = "req_01demo00groq00stream000006"

    def chunk(delta: Delta, finish: str | None = None, **last: Any) -> bytes:
        return event({**head, "choices": _choice(delta, finish), **last})

    thoughts = ("Need", " the area", " of a circle:", " π r²,", " r = 2 m.", " So 4π.")
    answer = ("About ", "12.57", " m² ", "(4π).")
    usage = {"queue_time": 0.0031, "total_time": 0.0914, **_usage(80, 47, 26)}
    events = (
        chunk({"role": "assistant", "content": ""}, x_groq={"id": request, "seed": 6}),
        *(chunk({"reasoning": text, "channel": "analysis"}) for text in thoughts),
        *(chunk({"content": text}) for text in answer),
        chunk({}, "stop", x_groq={"id": request, "usage": usage}, usage=usage),
        DONE,
    )
    return events, thoughts, answer


def _snowflake() -> _Parts:
    """Snowflake Cortex: details and nothing else, no finish_reason anywhere, an empty id.

    Source: pydantic-ai models/snowflake.py and its cassettes.
    """
    head = {
        "created": 0,
        "id": "",
        "model": "claude-sonnet-4-6",
        "object": "chat.completion.chunk",
        "service_tier": "",
        "system_fingerprint": "",
    }
    probs = {"content": None, "refusal": None}

    def chunk(content: str, thought: str = "") -> bytes:
        kind = {"format": "anthropic-claude-v1", "id": "reasoning-text-1", "index": 0}
        detail = {**kind, "text": thought, "type": "reasoning.text"}
        more = {"reasoning_details": [detail]} if thought else {}
        whole = {"content": content, **more, "refusal": "", "role": "assistant", "tool_calls": None}
        return event({"choices": [{"delta": whole, "index": 0, "logprobs": probs}], **head})

    thoughts = ("A dozen is 12,", " a gross is", " a dozen", " dozens.")
    answer = ("", "A gross", " is 144", " pieces.", "")
    events = (
        *(chunk("", text) for text in thoughts),
        *(chunk(text) for text in answer),
        event({"choices": [], **head, "usage": _usage(14, 33, 0)}),
        DONE,
    )
    return events, thoughts, answer


def _stepfun() -> _Parts:
    """StepFun: the same text in ``reasoning`` and ``reasoning_content`` of every delta.

    Source: MoonshotAI/kimi-code #3928.
    """
    head = {
        "id": "0de30000000000000000000000000008.demo",
        "object": "chat.completion.chunk",
        "created": 1790000008,
        "model": "step-3.5-flash",
    }

    def chunk(content: str, thought: str | None = None, finish: str | None = None) -> bytes:
        delta: Delta = {"role": "assistant", "content": content}
        if thought is not None:
            delta.update(reasoning=thought, reasoning_content=thought)
        choice = {"index": 0, "delta": delta, "finish_reason": finish}
        return event({**head, "choices": [choice]})

    thoughts = ("Water boils", " lower up", " high: 1 °C", " per 300 m.", " So 90 °C.")
    answer = ("Near 90 °C,", " ten degrees", " below that", " at sea level.")
    events = (
        chunk("", ""),
        *(chunk("", text) for text in thoughts),
        *(chunk(text) for text in answer),
        chunk("", finish="stop"),
        event({**head, "choices": [], "usage": _usage(18, 40, 25)}),
        DONE,
    )
    return events, thoughts, answer


STREAMS: Final[tuple[BundledStream, ...]] = (
    _stream(_scaleway, "Scaleway", "delta.reasoning", "How many minutes are in a week?"),
    _stream(
        _vercel,
        "Vercel AI Gateway",
        "delta.reasoning, again in delta.reasoning_details",
        "Which weekday comes 100 days after a Monday?",
    ),
    _stream(
        _openrouter,
        "OpenRouter",
        "delta.reasoning, again in delta.reasoning_details (three types)",
        "Is 91 a prime number?",
    ),
    _stream(
        _deepseek,
        "DeepSeek",
        "delta.reasoning_content: the normal form itself",
        "What is 17 × 6?",
    ),
    _stream(
        _vllm,
        "vLLM",
        "delta.reasoning (reasoning_content until late 2025)",
        "What is the largest moon of Saturn?",
    ),
    _stream(
        _groq,
        "Groq",
        "delta.reasoning, with delta.channel beside it",
        "How large is a round table, 4 m across?",
    ),
    _stream(
        _snowflake,
        "Snowflake Cortex",
        "delta.reasoning_details only",
        "How many pieces make a gross?",
    ),
    _stream(
        _stepfun,
        "StepFun",
        "delta.reasoning and delta.reasoning_content, the same text twice",
        "At what temperature does water boil at 3000 m?",
    ),
)
BY_NAME: Final[dict[str, BundledStream]] = {stream.name: stream for stream in STREAMS}
