"""The stream that the faults befall: one short answer in normal form, and its pieces."""

from __future__ import annotations

import json
from typing import Any, Final

from ..upstream.streams import DONE

__all__ = [
    "ANSWER", "ANSWERED", "CONTENT", "DONE", "FINISH", "HALF", "HEAD", "JSON", "OPENING",
    "REASONING", "STREAM", "THINKING", "USAGE", "chunk", "compact", "event",
]  # fmt: skip

# The signs outside of ASCII are cut in two where a stream is sent byte by byte.
THOUGHTS: Final = ("A cube of side 3", " has 3 × 3 × 3", " small cubes.")
ANSWERS: Final = ("It holds ", "27 cubes", " – no more.")
REASONING: Final = "".join(THOUGHTS)
CONTENT: Final = "".join(ANSWERS)

HEAD: Final[dict[str, Any]] = {
    "id": "chatcmpl-fault-0001",
    "object": "chat.completion.chunk",
    "created": 1790000000,
    "model": "faulty-1",
}
JSON: Final = {"content-type": "application/json"}


def compact(value: Any) -> bytes:
    """*value* as compact UTF-8 JSON."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def event(payload: Any) -> bytes:
    """One ``data:`` event with *payload* as JSON, its blank line included."""
    return b"data: " + compact(payload) + b"\n\n"


def chunk(delta: Any, finish_reason: str | None = None, **members: Any) -> bytes:
    """One event with a chunk of one choice."""
    choice = {"index": 0, "delta": delta, "finish_reason": finish_reason}
    return event({**HEAD, "choices": [choice], **members})


# The role, three pieces of reasoning.
THINKING: Final = (
    chunk({"role": "assistant", "content": ""}),
    *(chunk({"reasoning_content": text}) for text in THOUGHTS),
)
ANSWER: Final = tuple(chunk({"content": text}) for text in ANSWERS)
# What has been sent where a stream breaks in the middle, and the text of it.
OPENING: Final = (*THINKING, *ANSWER[:2])
HALF: Final = "".join(ANSWERS[:2])
ANSWERED: Final = (*THINKING, *ANSWER)
FINISH: Final = chunk({}, "stop")
USAGE: Final = event(
    {
        **HEAD,
        "choices": [],
        "usage": {
            "prompt_tokens": 12,
            "completion_tokens": 24,
            "total_tokens": 36,
            "completion_tokens_details": {"reasoning_tokens": 14},
        },
    }
)
STREAM: Final = (*ANSWERED, FINISH, USAGE, DONE)
