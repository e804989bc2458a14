"""What stands behind the proxy in the tests: routes of the loopback upstream, and its models."""

from __future__ import annotations

import json
import math
from typing import Any, NamedTuple

from streamnorm.upstream import Abort, Gate, Request, Route, Step, Upstream
from streamnorm.upstream.streams import STREAMS

from ..helpers import DONE, chunk, event

_HEAD = {"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "m"}
_USAGE = {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7}

# The words of an upstream that refuses a parameter, as Dedalus Labs does; and those of one
# that LiteLLM understands, so that it leaves the parameter out the next time.
REFUSED = "tool_choice: Input should be a valid dictionary"
NAMED = json.dumps({"detail": [{"loc": ["body", "top_p"], "msg": "not permitted"}]})


def one(delta: dict[str, Any], finish: str | None = None, **more: Any) -> bytes:
    """One event with a chunk as OpenAI's API sends it."""
    return event(chunk(delta, finish, **_HEAD, **more))


def error(message: str, code: int) -> bytes:
    """One event with an error in place of a chunk."""
    return event(json.dumps({"error": {"message": message, "code": code}}).encode())


def calls(*deltas: dict[str, Any]) -> dict[str, Any]:
    return {"tool_calls": list(deltas)}


def whole(*deltas: dict[str, Any], finish: str = "stop") -> list[bytes]:
    """A stream that ends well."""
    usage = event(json.dumps({**_HEAD, "choices": [], "usage": _USAGE}).encode())
    return [*(one(delta) for delta in deltas), one({}, finish), usage, DONE]


class Dialect(NamedTuple):
    """A stream as one provider sends it, read by LiteLLM as *provider*.

    Attributes:
        events: What the upstream sends.
        reasoning: All reasoning text that a client must get.
        content: All text of the answer.
        provider: LiteLLM's name for it.
    """

    events: tuple[bytes, ...]
    reasoning: str
    content: str
    provider: str = "openai"


def _dialect(provider: str, *deltas: dict[str, Any]) -> Dialect:
    return Dialect(tuple(whole(*deltas)), "think", "answer", provider)


DIALECTS: dict[str, Dialect] = {
    **{s.name: Dialect(s.events, s.reasoning, s.content) for s in STREAMS},
    "tags": _dialect(
        "openai",
        *({"content": text} for text in ("<thi", "nk>thi", "nk</th", "ink>answer")),
    ),
    "openrouter-content": _dialect(
        "openrouter",
        {"role": "assistant", "content": "", "reasoning_content": "th"},
        {"reasoning_content": "ink"},
        {"content": "answer"},
    ),
    "hosted-null": _dialect(
        "hosted_vllm",
        {"role": "assistant", "content": "", "reasoning": None, "reasoning_content": "th"},
        {"reasoning": None, "reasoning_content": "ink"},
        {"content": "answer"},
    ),
}

TOOLS = whole(
    {"role": "assistant", "content": None},
    calls({"id": "a", "type": "function", "function": {"name": "f", "arguments": ""}}),
    calls({"function": {"arguments": '{"x":1}'}}),
    calls({"id": "b", "type": "function", "function": {"name": "g", "arguments": '{"y":2}'}}),
    finish="tool_calls",
)

# Streams that do not end well, by model.
BROKEN: dict[str, list[Step]] = {
    "truncated": [one({"role": "assistant", "content": "half"}), one({"content": " of"})],
    "late-error": [one({"role": "assistant", "content": "half"}), error("slow down", 429)],
    "early-error": [error("slow down", 429)],
    "no-key": [error("no such key: sk-12345", 401)],
    "page": [b"<html><body>Bad gateway</body></html>"],
    "nothing": [DONE],
    "overloaded": [error("overloaded", 529)],
}

# Who reads them as well, in a way of its own: ``<model>-<provider>``.
OTHERS = ("hosted_vllm", "openrouter")

# Models that answer with status 422, by what they say, and whether one without ``top_p`` is
# answered well.
REFUSING = {"refusing": (REFUSED, False), "stubborn": (NAMED, False), "mild": (NAMED, True)}

# Anthropic's Messages API, and OpenAI's Responses API.
MESSAGES: list[dict[str, Any]] = [
    {
        "type": "message_start",
        "message": {
            "id": "msg_1",
            "type": "message",
            "role": "assistant",
            "model": "claude",
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "usage": {"input_tokens": 3, "output_tokens": 1},
        },
    },
    {
        "type": "content_block_start",
        "index": 0,
        "content_block": {"type": "thinking", "thinking": "", "signature": ""},
    },
    {
        "type": "content_block_delta",
        "index": 0,
        "delta": {"type": "thinking_delta", "thinking": "<think>think</think>"},
    },
    {"type": "content_block_stop", "index": 0},
    {
        "type": "message_delta",
        "delta": {"stop_reason": "end_turn", "stop_sequence": None},
        "usage": {"output_tokens": 4},
    },
    {"type": "message_stop"},
]
_RESPONSE: dict[str, Any] = {
    "id": "resp_1",
    "object": "response",
    "created_at": 1,
    "model": "m",
    "error": None,
    "incomplete_details": None,
    "instructions": None,
    "metadata": {},
    "output": [],
    "parallel_tool_calls": True,
    "temperature": 1.0,
    "tool_choice": "auto",
    "tools": [],
    "top_p": 1.0,
}
RESPONSES: list[dict[str, Any]] = [
    {
        "type": "response.created",
        "sequence_number": 0,
        "response": {**_RESPONSE, "status": "in_progress"},
    },
    {
        "type": "response.output_text.delta",
        "sequence_number": 1,
        "item_id": "i1",
        "output_index": 0,
        "content_index": 0,
        "delta": "<think>a</think>b",
        "logprobs": [],
    },
    {
        "type": "response.completed",
        "sequence_number": 2,
        "response": {
            **_RESPONSE,
            "status": "completed",
            "usage": {
                "input_tokens": 3,
                "output_tokens": 4,
                "total_tokens": 7,
                "input_tokens_details": {"cached_tokens": 0},
                "output_tokens_details": {"reasoning_tokens": 2},
            },
        },
    },
]


def serve(up: Upstream, gate: Gate) -> None:
    """Add the routes of all models but ``endless`` to *up*.

    Args:
        gate: ``cut`` breaks when it is opened.
    """
    half = [one({"role": "assistant", "content": "half"}), one({"content": " of"})]
    up.add("cut", [*half, gate, Abort()])
    for name, dialect in DIALECTS.items():
        up.add(name, dialect.events)
    for name, steps in BROKEN.items():
        up.add(name, steps)
    up.add("tools", TOOLS)
    up.otherwise(_other)


def _other(request: Request) -> Route | None:
    if request.name in REFUSING:
        words, takes_the_rest = REFUSING[request.name]
        if takes_the_rest and "top_p" not in request.json():
            return Route(whole({"content": "answer"}))
        body = json.dumps({"error": {"message": words, "type": "invalid_request_error"}})
        return Route([body.encode()], 422, {"content-type": "application/json", "retry-after": "3"})
    for end, events in (("/v1/messages", MESSAGES), ("/responses", RESPONSES)):
        if request.path.endswith(end):
            return Route([_named(each) for each in events])
    return None


def _named(body: dict[str, Any]) -> bytes:
    return f"event: {body['type']}\n".encode() + event(json.dumps(body).encode())


def serve_endless(up: Upstream) -> None:
    """Add the route of a stream that never ends: ``endless``."""
    steps: list[Step] = [one({"role": "assistant", "content": "first"}), math.inf]
    up.add("endless", steps, headers={"connection": "close"})


def models(up: Upstream, endless: Upstream) -> list[dict[str, Any]]:
    """The proxy's ``model_list``: one model for each route, called like it."""
    made = [_model(name, d.provider, up.base_url(name)) for name, d in DIALECTS.items()]
    made += [
        _model(name, "openai", up.base_url(name)) for name in (*BROKEN, *REFUSING, "tools", "cut")
    ]
    made += [
        _model(f"{name}-{provider}", provider, up.base_url(name))
        for name in BROKEN
        for provider in OTHERS
    ]
    made.append(_model("endless", "openai", endless.base_url("endless")))
    made.append(_model("claude", "anthropic", f"{up.origin}/anthropic"))
    return made


def _model(name: str, provider: str, base: str) -> dict[str, Any]:
    params = {"model": f"{provider}/m", "api_base": base, "api_key": "of-the-upstream"}
    return {"model_name": name, "litellm_params": params}
