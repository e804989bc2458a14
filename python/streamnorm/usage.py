"""What a stream cost, as its upstream says: token counts and money, never an estimate of ours.

Providers agree neither on the names of the numbers nor on where they stand, nor on how
often they are sent. `PLACES` and `NUMBERS` are the knowledge about that.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Final, Literal, NamedTuple, TypeGuard

from .objects import to_dict

UsageSource = Literal["upstream", "none"]


class Place(NamedTuple):
    """Where in a chunk numbers are sent.

    Attributes:
        path: Members from the top of the chunk; ``*`` is every item of a list.
        under: Member of the merged object that the found one goes to; empty for itself.
        evidence: Who sends it there.
    """

    path: tuple[str, ...]
    under: str
    evidence: str


PLACES: Final[tuple[Place, ...]] = (
    # First the less usual places: of numbers in one chunk, the last wins.
    Place(
        ("choices", "*", "usage"),
        "",
        "Moonshot, on the finish chunk, and again at the top of a chunk without choices: "
        "earendil-works/pi #2017",
    ),
    Place(("x_groq", "usage"), "", "Groq: recording groq__gemma2-9b-it, beside usage"),
    Place(("usage",), "", "OpenAI API reference, chat completion chunk object"),
    Place(("cost",), "cost", "Venice: recording venice__qwen3-5-9b"),
)


class Number(NamedTuple):
    """Where one number stands in a usage object.

    Attributes:
        name: Attribute of `Usage` that it gives.
        path: Members from the top of the usage object.
        evidence: Who sends it so, and what it means where that is not plain.
        per: What the number is divided by to get the unit of the attribute.
        zero_counts: False: a zero says nothing.
        apart_from: For tokens of a cache: the member that counts the prompt without them,
            where that one is sent as well. Empty: `Usage.total` decides.
    """

    name: str
    path: tuple[str, ...]
    evidence: str
    per: float = 1
    zero_counts: bool = True
    apart_from: str = ""


_ANTHROPIC: Final = (
    "Anthropic Messages API, prompt caching: the whole prompt is input_tokens and both counts "
    "of the cache; "
)

# Of the rows of one attribute, the first with a number above zero gives it.
NUMBERS: Final[tuple[Number, ...]] = (
    Number("prompt", ("prompt_tokens",), "OpenAI API reference, completion usage"),
    Number("prompt", ("input_tokens",), "OpenAI Responses API and Anthropic, through relays"),
    Number(
        "prompt_uncached",
        ("prompt_cache_miss_tokens",),
        "DeepSeek: api-docs.deepseek.com/guides/kv_cache; recording deepseek-v4-flash",
    ),
    Number(
        "cache_read",
        ("prompt_tokens_details", "cached_tokens"),
        "OpenAI API reference, completion usage; recording mistral-small-latest",
    ),
    Number(
        "cache_read",
        ("prompt_cache_hit_tokens",),
        "DeepSeek: api-docs.deepseek.com/guides/kv_cache; recording deepseek-v4-flash",
    ),
    Number(
        "cache_read",
        ("cache_read_input_tokens",),
        _ANTHROPIC + "Databricks, Doubleword, Venice: recordings; Portkey-AI/gateway "
        "src/providers/anthropic/chatComplete.ts",
        apart_from="input_tokens",
    ),
    Number("cache_read", ("cached_tokens",), "recording huggingface deepseek-ai-DeepSeek-R1"),
    Number("cache_read", ("input_tokens_details", "cached_tokens"), "OpenAI Responses API"),
    Number(
        "cache_write",
        ("prompt_tokens_details", "cache_write_tokens"),
        "OpenRouter: openrouter.ai/docs/use-cases/usage-accounting; recording gemini-3.1-flash",
    ),
    Number(
        "cache_write",
        ("prompt_tokens_details", "cache_creation_tokens"),
        "BerriAI/litellm types/utils.py PromptTokensDetailsWrapper",
    ),
    Number(
        "cache_write",
        ("cache_creation_input_tokens",),
        _ANTHROPIC + "Databricks, Vercel AI Gateway: recordings",
        apart_from="input_tokens",
    ),
    Number("completion", ("completion_tokens",), "OpenAI API reference, completion usage"),
    Number("completion", ("output_tokens",), "OpenAI Responses API and Anthropic, through relays"),
    Number(
        "reasoning",
        ("completion_tokens_details", "reasoning_tokens"),
        "OpenAI API reference, completion usage; recording groq openai-gpt-oss-120b",
    ),
    Number(
        "reasoning",
        ("reasoning_tokens",),
        "SGLang entrypoints/openai; GitHub Copilot chat: opencode "
        "packages/opencode/test/provider/copilot/copilot-chat-model.test.ts",
    ),
    Number("reasoning", ("output_tokens_details", "reasoning_tokens"), "OpenAI Responses API"),
    Number("total", ("total_tokens",), "OpenAI API reference, completion usage"),
    Number(
        "cost",
        ("cost",),
        "OpenRouter, in credits of one USD, what the account was charged (with a key of one's "
        "own, the fee): openrouter.ai/docs/use-cases/usage-accounting; Vercel AI Gateway, "
        "Cline, in USD: recordings",
    ),
    Number("cost", ("cost", "total_cost"), "Perplexity: recording sonar-reasoning-pro"),
    Number("cost", ("cost", "usd"), "Venice: recording venice__qwen3-5-9b"),
    # Azure says 0 for every request to Grok, and bills it.
    Number(
        "cost",
        ("cost_in_usd_ticks",),
        "xAI: docs.x.ai/developers/cost-tracking (10^10 ticks are one USD); recordings "
        "xai__grok-code-fast-1, azure__grok-4-1-fast-non-reasoning",
        per=1e10,
        zero_counts=False,
    ),
    Number(
        "cost",
        ("estimated_cost",),
        "DeepInfra's own estimate: recording huggingface Meta-Llama-3.1-8B-Instruct-Turbo",
    ),
    Number(
        "cost",
        ("pydantic_ai_gateway", "cost_estimate"),
        "the estimate of Pydantic AI Gateway: recording local-8787 llama-3.3-70b-versatile",
    ),
)


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens and money of one stream. None: the upstream did not say.

    Nothing is estimated or added up, with two exceptions: `prompt_uncached` and `visible`
    are differences of what was said, and None where that contradicts itself.

    Attributes:
        prompt: Tokens of the prompt, as the upstream counts them (Anthropic's
            ``input_tokens`` leave those of the cache out).
        prompt_uncached: Of the whole prompt, tokens that were not read from a cache. (With
            Anthropic's counting: nor written to it.)
        cache_read: Tokens of the prompt that were read from a cache.
        cache_write: Tokens of the prompt that were written to a cache.
        completion: Tokens generated, as the upstream counts them. Most include reasoning;
            xAI and Gemini do not.
        visible: Tokens generated that are not reasoning. None where no reasoning count was
            sent, and where it exceeds `completion` and yet is no part of `total` (Gemini
            behind Vercel's AI Gateway leaves it out of both; Doubleword does not).
        reasoning: Tokens of reasoning.
        total: All tokens, as the upstream counts them.
        cost: What the request cost, in USD; for OpenRouter in its credits, which cost one
            USD each. `NUMBERS` says who sends it.
        source: ``upstream``: who gave the stream said so; a gateway or LiteLLM's wrapper in
            between may have counted by itself. ``none``: no number above zero was sent, and
            no number is here.
        raw: The usage objects of all chunks, merged: the latest number wins, but neither
            null nor zero replaces one that was sent before.
    """

    prompt: int | None = None
    prompt_uncached: int | None = None
    cache_read: int | None = None
    cache_write: int | None = None
    completion: int | None = None
    visible: int | None = None
    reasoning: int | None = None
    total: int | None = None
    cost: float | None = None
    source: UsageSource = "none"
    raw: dict[str, Any] = field(default_factory=dict, hash=False)

    def as_dict(self) -> dict[str, Any]:
        """The usage as plain values, for logs and JSON."""
        return asdict(self)


# The first members of the places, and those in a choice. A new place needs its name here.
TOP_1, TOP_2, TOP_3 = (place.path[0] for place in PLACES if place.path[0] != "choices")
(IN_CHOICE,) = (place.path[2] for place in PLACES if place.path[0] == "choices")
# The members that hold the numbers.
USAGE_KEYS: Final = tuple(sorted({place.path[-1] for place in PLACES}))


# Numbers from here on (and NaN, and those below zero, and parts of tokens) say nothing.
_NO_COUNT: Final = 2**63


class UsageAccumulator:
    """The usage of one stream, from its chunks.

    For usage sent once, on every chunk, cumulatively, on the finish chunk, in a chunk
    without choices, and in several places of one chunk.
    """

    __slots__ = ("_raw",)

    def __init__(self) -> None:
        # Made for the first that is found: most streams wait without one.
        self._raw: dict[str, Any] | None = None

    def add(self, chunk: Mapping[str, Any]) -> None:
        """Take the next chunk, or a body that was not streamed. It is not changed or kept."""
        self.extend((chunk,))

    def extend(self, chunks: Iterable[Mapping[str, Any]]) -> None:
        """Take the next chunks, as `add` does."""
        # This runs for every token of every stream and mostly finds nothing: a loop over the
        # names would take twice as long.
        for chunk in chunks:
            if chunk.get(TOP_1) or chunk.get(TOP_2) or chunk.get(TOP_3):
                self._collect(chunk)
                continue
            choices = chunk.get("choices")
            if isinstance(choices, list):
                for choice in choices:
                    if isinstance(choice, dict) and IN_CHOICE in choice:
                        self._collect(chunk)
                        break

    def usage(self) -> Usage:
        """What was said so far."""
        raw = {} if self._raw is None else copy.deepcopy(self._raw)
        said = {name: _said(raw, name) for name in _ATTRIBUTES}
        if not any(found is not None and found[1] > 0 for found in said.values()):
            return Usage(raw=raw)
        cost = said.pop("cost")
        counts = {name: None if found is None else int(found[1]) for name, found in said.items()}
        if counts["prompt_uncached"] is None:
            is_apart = _counts_apart(raw, said["prompt"])
            counts["prompt_uncached"] = _uncached(counts, is_apart=is_apart)
        counts["visible"] = _visible(counts)
        return Usage(**counts, cost=None if cost is None else cost[1], source="upstream", raw=raw)

    def _collect(self, chunk: Mapping[str, Any]) -> None:
        raw = self._raw
        if raw is None:
            raw = self._raw = {}
        for place in PLACES:
            for found in _at(chunk, place.path):
                found = _object(found)
                if found is not None:
                    _merge(raw, {place.under: found} if place.under else found)


# All that is read from usage objects; `Usage.visible` is not.
_ATTRIBUTES: Final = tuple(dict.fromkeys(number.name for number in NUMBERS))


def _at(value: Any, path: tuple[str, ...]) -> Iterator[Any]:
    if not path:
        yield value
    elif path[0] == "*":
        for item in value if isinstance(value, list) else ():
            yield from _at(item, path[1:])
    elif isinstance(value, Mapping) and path[0] in value:
        yield from _at(value[path[0]], path[1:])


def _object(value: Any) -> Mapping[str, Any] | None:
    """A usage object as a mapping, that of an SDK included; None for anything else."""
    if isinstance(value, Mapping):
        return value
    if value is None or isinstance(value, str | int | float | list):
        return None
    try:
        return to_dict(value)
    except TypeError:
        return None


def _merge(old: dict[str, Any], new: Mapping[str, Any]) -> None:
    for name, value in new.items():
        before = old.get(name)
        inner = _object(value)
        if inner is not None:
            if not isinstance(before, dict):
                before = old[name] = {}
            _merge(before, inner)
        elif value is None:
            old.setdefault(name, None)
        # GitHub Copilot sends zeros until the numbers are known.
        elif not (_is_number(value) and value == 0 and _is_number(before) and before > 0):
            old[name] = copy.deepcopy(value)


def _is_number(value: object) -> TypeGuard[int | float]:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _said(raw: dict[str, Any], name: str) -> tuple[Number, float] | None:
    """The number of an attribute in its unit, and the row that gives it."""
    zero = None
    for number in NUMBERS:
        if number.name == name:
            for value in _at(raw, number.path):
                if not _is_number(value) or not 0 <= value < _NO_COUNT:
                    continue
                if name != "cost" and value != int(value):
                    continue
                if value > 0:
                    return number, value / number.per
                if number.zero_counts and zero is None:
                    zero = number, 0.0
    return zero


def _counts_apart(raw: dict[str, Any], prompt: tuple[Number, float] | None) -> bool:
    """Whether the names say that the prompt is counted without the tokens of the cache."""
    return prompt is not None and any(
        number.apart_from == prompt[0].path[0] and any(_at(raw, number.path)) for number in NUMBERS
    )


def _uncached(counts: dict[str, int | None], *, is_apart: bool) -> int | None:
    """Tokens of the prompt that were not read from a cache."""
    prompt, read, total = counts["prompt"], counts["cache_read"], counts["total"]
    if prompt is None or read is None:
        return None
    if read == 0 or is_apart:
        return prompt
    # Portkey adds the tokens of the cache to the total only.
    if total == prompt + read + (counts["cache_write"] or 0) + (counts["completion"] or 0):
        return prompt
    return prompt - read if read <= prompt else None


def _visible(counts: dict[str, int | None]) -> int | None:
    """Tokens generated that are not reasoning."""
    prompt, completion, total = counts["prompt"], counts["completion"], counts["total"]
    reasoning = counts["reasoning"]
    if completion is None or reasoning is None:
        return None
    if reasoning == 0:
        return completion
    if prompt is not None and total == prompt + completion + reasoning:
        return completion
    return completion - reasoning if reasoning <= completion else None
