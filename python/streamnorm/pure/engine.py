"""The reference engine behind the interface that both engines have (`.._engine.Engine`)."""

from __future__ import annotations

from typing import Any, Final

from ..options import Options
from .decoder import Decoder
from .documents import Output
from .normalizer import Normalizer

NAME = "python"
# Whether an engine gives its collector what comes out; here that is left to the caller.
COLLECTS: Final = False


def normalizer(
    options: Options,
    output: Output,
    collector: Any = None,  # noqa: ARG001
    clock: Any = None,  # noqa: ARG001
) -> Normalizer:
    """A new engine for one stream; *collector* and *clock* are not used."""
    return Normalizer(options, output)


def decoder(max_line: int | None, max_event: int | None, flush_tail: bool) -> Decoder:
    """A new event stream decoder."""
    return Decoder(max_line, max_event, flush_tail)


__all__ = ["COLLECTS", "NAME", "Decoder", "Normalizer", "decoder", "normalizer"]
