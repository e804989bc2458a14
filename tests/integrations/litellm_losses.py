"""What LiteLLM 1.106.2 does with reasoning that does not come as ``delta.reasoning_content``."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from .litellm_calls import HANDLERS, PROVIDERS, SDK


class Loss(NamedTuple):
    """One way of sending reasoning (``why`` in two pieces), and who has it whole by himself.

    The letters are of the notes on LiteLLM's internals.

    Attributes:
        whole: Providers with which it comes out in ``reasoning_content`` and nowhere else.
    """

    deltas: tuple[dict[str, Any], dict[str, Any]]
    whole: frozenset[str]


def _fields(**names: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """Two deltas with the same members, in which ``...`` stands for the text."""

    def filled(value: Any, said: str) -> Any:
        if value is ...:
            return said
        if isinstance(value, dict):
            return {name: filled(inner, said) for name, inner in value.items()}
        return [filled(inner, said) for inner in value] if isinstance(value, list) else value

    first, second = ({n: filled(v, said) for n, v in names.items()} for said in ("wh", "y"))
    return first, second


_ALL: Final = frozenset(PROVIDERS)
_NONE: Final[frozenset[str]] = frozenset()
# Handlers that leave both names in the delta, where they copy one to the other.
_COPYING: Final = frozenset({"openrouter", "cometapi"})

LOSSES: Final[dict[str, Loss]] = {
    "a: reasoning_content": Loss(_fields(reasoning_content=...), _ALL - {"openrouter"}),
    "b: null beside it": Loss(_fields(reasoning=None, reasoning_content=...), frozenset({*SDK})),
    "c: empty beside it": Loss(
        _fields(reasoning_content="", reasoning=...), frozenset({*HANDLERS}) - _COPYING
    ),
    "d: parts": Loss(
        _fields(content=[{"type": "thinking", "thinking": [{"type": "text", "text": ...}]}]),
        frozenset({"mistral"}),
    ),
    "d: reasoning_details": Loss(
        _fields(reasoning_details=[{"type": "reasoning.text", "text": ..., "index": 0}]), _NONE
    ),
    "d: thinking": Loss(_fields(thinking=...), _NONE),
    "d: reasoning_text": Loss(_fields(reasoning_text=...), _NONE),
    "d: thinking_blocks": Loss(
        _fields(thinking_blocks=[{"type": "thinking", "thinking": ..., "signature": ""}]), _NONE
    ),
    "d: tags": Loss(({"content": "<think>wh"}, {"content": "y</think>"}), _NONE),
    "d: thought": Loss(_fields(content=..., extra_content={"google": {"thought": True}}), _NONE),
    "e: object": Loss(_fields(reasoning={"content": ...}), _NONE),
    "f: mirrored": Loss(
        _fields(reasoning_content=..., reasoning=...), frozenset({*HANDLERS}) - _COPYING
    ),
}
