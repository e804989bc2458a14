"""Which responses are streams of chunks, and which requests ask for them."""

from __future__ import annotations

from typing import Any, Final

from .. import _json

EVENT_STREAM: Final = "text/event-stream"

# Lines of JSON, which are files as often as streams (OpenAI serves the results of batches and
# its training files so): they are streams of chunks on `CHAT_PATHS` only. Ollama sends the
# first (https://docs.ollama.com/api/streaming), the others are other names for the same
# (https://jsonlines.org names none as registered). Records of ``application/json-seq``
# (RFC 7464) begin with a control character and are no lines.
LINES: Final = frozenset(
    (
        "application/x-ndjson",
        "application/ndjson",
        "application/jsonl",
        "application/x-jsonlines",
        "application/jsonlines",
    )
)

# How paths end where chat completions are streamed. There whatever ends without a mark of
# its end, or is no event stream, is a fault; elsewhere it may be some other stream. (So
# ``/invocations`` is none: Databricks and SageMaker stream chunks there, which `is_chunk`
# knows, and Amazon's Bedrock AgentCore whatever an application sends.)
CHAT_PATHS: Final = (
    "/completions",  # OpenAI and whoever is compatible; Mistral's /fim/completions
    "/api/chat",  # Ollama
    "/text/chat_stream",  # IBM watsonx
)

# What every chunk of a chat completion has, and hardly anything else has both of.
_CHUNK_KEYS: Final = (b'"choices"', b'"delta"')

# Members that tell other protocols' messages, and that no chunk has at its top: JSON-RPC,
# which MCP sends (https://www.jsonrpc.org/specification), and the events of OpenAI's
# Responses API and of Anthropic's Messages API.
_OTHER_MARKS: Final = ("jsonrpc", "type")


def is_chat(path: str) -> bool:
    """Whether a chat completion is asked for at the *path* of an address."""
    return path.rstrip("/").endswith(CHAT_PATHS)


def is_streamed(media_type: str, path: str) -> bool:
    """Whether an answer of *media_type*, in lower case, is read as a stream of chunks."""
    return media_type == EVENT_STREAM or (media_type in LINES and is_chat(path))


def may_hold_chunk(data: bytes) -> bool:
    """Whether *data*, some whole events, has what a chunk has; that is soon told."""
    return all(key in data for key in _CHUNK_KEYS)


def is_chunk(data: bytes) -> bool:
    """Whether *data*, that of an event, is a chunk of a chat completion.

    It has a list ``choices``, of which an item has an object ``delta``, and no member that
    is another protocol's.
    """
    try:
        document: Any = _json.loads(data)
    except (ValueError, RecursionError):
        return False
    if not isinstance(document, dict) or any(mark in document for mark in _OTHER_MARKS):
        return False
    choices = document.get("choices")
    return isinstance(choices, list) and any(
        isinstance(choice, dict) and isinstance(choice.get("delta"), dict) for choice in choices
    )
