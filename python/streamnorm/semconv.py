"""The metrics of OpenTelemetry's conventions for generative AI that a stream gives, as data.

Sources, all of status Development, read in November 2026:

- ``operation``: open-telemetry/semantic-conventions v1.41.0, docs/gen-ai/gen-ai-metrics.md. It
  is the last version that was released, and what the package opentelemetry-semantic-conventions
  and OpenTelemetry's own instrumentations for Python use (in the repository
  open-telemetry/opentelemetry-python-genai: util/opentelemetry-util-genai).
- ``inference``: open-telemetry/semantic-conventions-genai, branch main, without a release:
  docs/gen-ai/client-inference.md and gen-ai-token-metrics.md (its pull requests 521 and 374
  renamed what stands under ``operation``). Vercel's AI SDK uses these names already. Of the
  new metrics of tokens the histograms are here, not the counters by modality.
"""

from __future__ import annotations

from typing import Final, Literal, NamedTuple

Convention = Literal["operation", "inference"]

# The version of the instruments under "operation"; the others have none yet.
SCHEMA_URL: Final = "https://opentelemetry.io/schemas/1.41.0"

OPERATION_NAME: Final = "gen_ai.operation.name"
PROVIDER_NAME: Final = "gen_ai.provider.name"
REQUEST_MODEL: Final = "gen_ai.request.model"
DIRECTION: Final = "gen_ai.token.type"
ERROR_TYPE: Final = "error.type"

# What the conventions call an error, or here a label, that has no name of its own.
OTHER: Final = "_OTHER"

# The same for all times: 10 ms to 82 s.
TIME_BUCKETS: Final = tuple(round(0.01 * 2**power, 2) for power in range(14))
# 1 to 67 million.
TOKEN_BUCKETS: Final = tuple(4**power for power in range(14))


class Instrument(NamedTuple):
    """One histogram.

    Attributes:
        figure: What it shows: an attribute of `streamnorm.metrics.Metrics`, or
            ``input_tokens`` or ``output_tokens``.
        operation: Its name in v1.41.0.
        inference: Its name on the branch main.
        unit: ``s`` or ``{token}`` (UCUM).
        buckets: Upper bounds of the buckets, without infinity.
        description: For people.
        direction: The value of ``gen_ai.token.type`` where two figures share a name, which
            they do under ``operation`` only.
        has_error: ``error.type`` is one of its attributes.
    """

    figure: str
    operation: str
    inference: str
    unit: str
    buckets: tuple[float, ...]
    description: str
    direction: str = ""
    has_error: bool = False

    def name(self, convention: Convention) -> str:
        """Its name in *convention*."""
        return self.operation if convention == "operation" else self.inference


INSTRUMENTS: Final = (
    Instrument(
        "duration",
        "gen_ai.client.operation.duration",
        "gen_ai.client.inference.duration",
        "s",
        TIME_BUCKETS,
        "From the request to the end of the stream.",
        has_error=True,
    ),
    Instrument(
        "time_to_first_chunk",
        "gen_ai.client.operation.time_to_first_chunk",
        "gen_ai.client.inference.time_to_first_chunk",
        "s",
        TIME_BUCKETS,
        "From the request to the first chunk of the stream.",
    ),
    Instrument(
        "chunk_gaps",
        "gen_ai.client.operation.time_per_output_chunk",
        "gen_ai.client.inference.time_per_output_chunk",
        "s",
        TIME_BUCKETS,
        "From one chunk of the stream to the next, for each but the first.",
    ),
    Instrument(
        "input_tokens",
        "gen_ai.client.token.usage",
        "gen_ai.client.inference.operation.input_tokens",
        "{token}",
        TOKEN_BUCKETS,
        "Tokens used, as the upstream counts them.",
        direction="input",
    ),
    Instrument(
        "output_tokens",
        "gen_ai.client.token.usage",
        "gen_ai.client.inference.operation.output_tokens",
        "{token}",
        TOKEN_BUCKETS,
        "Tokens used, as the upstream counts them.",
        direction="output",
    ),
    # The conventions have no place for these two.
    Instrument(
        "time_to_first_visible",
        "streamnorm.time_to_first_visible",
        "streamnorm.time_to_first_visible",
        "s",
        TIME_BUCKETS,
        "From the request to the first answer text or tool call.",
    ),
    Instrument(
        "reasoning_time",
        "streamnorm.reasoning_time",
        "streamnorm.reasoning_time",
        "s",
        TIME_BUCKETS,
        "From the first reasoning text to the first answer text or tool call.",
    ),
)


def check_convention(convention: str) -> None:
    """Check the name of a convention.

    Raises:
        ValueError: There is none of this name.
    """
    if convention not in ("operation", "inference"):
        raise ValueError(f"convention must be 'operation' or 'inference', not {convention!r}")
