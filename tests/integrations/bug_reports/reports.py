"""The three reports: what each calls, what its upstream answers, and where it can be seen.

What the upstreams answer is what the reports show; where they show nothing (why the
upstream refused), it is constructed, in the two forms that such answers have: FastAPI's
and OpenAI's.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from streamnorm.upstream import Request, Route

KEY: Final = "key-1"
OTHER_KEY: Final = "key-2"


class Bare(NamedTuple):
    """What a version of LiteLLM does by itself.

    Attributes:
        loses_reasoning: Text in ``delta.reasoning`` is not in what it gives.
        knows_scaleway: ``scaleway/…`` is a model name to it; else the second report's call
            fails before anything is sent.
        gives_none: The result of a call whose two attempts were both answered with HTTP
            422, while ``drop_params`` is set, is None. None where that is not known yet.
    """

    loses_reasoning: bool
    knows_scaleway: bool
    gives_none: bool | None


# Until where None was seen; a later version may have mended it.
LAST_SEEN: Final = (1, 109, 1)


def bare(version: str) -> Bare:
    """What LiteLLM *version* does; exact for the versions that the tests are run with."""
    release = tuple(int(part) for part in version.split(".")[:3])
    is_mended = release >= (1, 82)
    return Bare(not is_mended, is_mended, True if release <= LAST_SEEN else None)


def event(data: Any) -> bytes:
    """One event of a stream."""
    return b"data: " + json.dumps(data).encode() + b"\n\n"


DONE: Final = b"data: [DONE]\n\n"


# 1. LiteLLM's issue 16155: delta.reasoning of the Vercel AI Gateway is lost. ------------

GATEWAY_MODEL: Final = "vercel_ai_gateway/minimax/minimax-m2"
PIECES: Final = ("Breaking", " down why the sky appears blue:", " short waves scatter most.")
REASONING: Final = "".join(PIECES)
ANSWER: Final = "Rayleigh scattering."


def _gateway_chunk(delta: Mapping[str, Any], finish: str | None = None) -> bytes:
    return event(
        {
            "id": "gen_01K8ZE8RV61CRN3QG42PCAXA39",
            "object": "chat.completion.chunk",
            "created": 1761998455,
            "model": "minimax/minimax-m2",
            "choices": [{"index": 0, "delta": delta, "finish_reason": finish}],
        }
    )


def _thought(text: str) -> dict[str, Any]:
    """A delta as the report shows it: the text twice, once among its details."""
    detail = {"type": "reasoning.text", "text": text, "format": "unknown", "index": 0}
    return {"reasoning": text, "reasoning_details": [detail]}


GATEWAY_STREAM: Final = (
    _gateway_chunk({"role": "assistant", "content": ""}),
    *(_gateway_chunk(_thought(text)) for text in PIECES),
    *(_gateway_chunk({"content": text}) for text in ("Rayleigh", " scattering.")),
    _gateway_chunk({}, "stop"),
    DONE,
)

# 2. 'async for' requires an object with __aiter__ method, got NoneType. -----------------

SCALEWAY_MODEL: Final = "gemma-4-26b-a4b-it"
SCALEWAY_REASONING: Final = "Final check"


def _scaleway_chunk(delta: Mapping[str, Any], finish: str | None = None) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return event({"id": "chatcmpl-1", "object": "chat.completion.chunk", "choices": [choice]})


# The two events of the report, and the rest of a stream.
SCALEWAY_STREAM: Final = (
    _scaleway_chunk({"reasoning": "Final"}),
    _scaleway_chunk({"reasoning": " check"}),
    _scaleway_chunk({"content": ANSWER}),
    _scaleway_chunk({}, "stop"),
    DONE,
)
# The report asks with empty content.
EMPTY_MESSAGE: Final = "String should have at least 1 character"
EMPTY_REFUSED: Final = {
    "detail": [
        {
            "type": "string_too_short",
            "loc": ["body", "messages", 0, "content"],
            "msg": EMPTY_MESSAGE,
            "input": "",
        }
    ]
}

# 3. acompletion(stream=True) returns None for a custom provider. ------------------------

CUSTOM_MODEL: Final = "openai/anthropic/claude-opus-4-5"
# "Large payload ~56KB" fails, "hi" works.
LARGE: Final = [{"role": "user", "content": "hi " * 19_000}]
SMALL: Final = [{"role": "user", "content": "hi"}]
LARGE_BYTES: Final = 50_000
LARGE_MESSAGE: Final = "the request is too large for this model"
LARGE_REFUSED: Final = {"error": {"message": LARGE_MESSAGE, "type": "invalid_request_error"}}
# The rest of the call in the report.
LARGE_OPTIONS: Final[Mapping[str, Any]] = {
    "custom_llm_provider": "openai",
    "max_tokens": 64000,
    "stream_options": {"include_usage": True},
}

# What LiteLLM's second attempt is for: it leaves out the parameter that the refusal names.

DROPPABLE: Final = "seed"
DROPPABLE_MESSAGE: Final = json.dumps(
    {"detail": [{"type": "extra_forbidden", "loc": ["body", DROPPABLE], "msg": "not permitted"}]}
)
DROPPABLE_REFUSED: Final = {"error": {"message": DROPPABLE_MESSAGE}}


def refusal(body: Any) -> Route:
    """An answer with status 422."""
    return Route((json.dumps(body).encode(),), 422, {"content-type": "application/json"})


def answer(request: Request) -> Route | None:
    """What each upstream answers, by the name in the address."""
    if request.name == "gateway":
        return Route(GATEWAY_STREAM)
    if request.name == "scaleway":
        return Route(SCALEWAY_STREAM)
    if request.name == "scaleway-refuses":
        return refusal(EMPTY_REFUSED)
    if request.name == "custom":
        is_large = len(request.body) > LARGE_BYTES
        return refusal(LARGE_REFUSED) if is_large else Route(GATEWAY_STREAM)
    if request.name == "strict":
        return refusal(DROPPABLE_REFUSED) if DROPPABLE in request.json() else Route(GATEWAY_STREAM)
    return None
