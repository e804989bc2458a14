"""Which responses are streams of chunks, and which requests ask for them."""

from __future__ import annotations

from typing import Final

EVENT_STREAM: Final = "text/event-stream"

# Lines of JSON; Ollama sends the first (https://docs.ollama.com/api/streaming), the others
# are other names for the same (https://jsonlines.org names none as registered). Records of
# ``application/json-seq`` (RFC 7464) begin with a control character and are no lines.
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
# its end, or is no event stream, is a fault; elsewhere it may be some other stream.
CHAT_PATHS: Final = (
    "/completions",  # OpenAI and whoever is compatible; Mistral's /fim/completions
    "/invocations",  # Databricks, SageMaker (litellm/llms/databricks, .../sagemaker/chat)
    "/api/chat",  # Ollama
    "/text/chat_stream",  # IBM watsonx
)
