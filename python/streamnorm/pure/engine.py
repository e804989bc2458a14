"""The reference engine behind the interface that both engines have (`.._engine.Engine`)."""

from __future__ import annotations

from ..options import Options
from .decoder import Decoder
from .documents import Output
from .normalizer import Normalizer

NAME = "python"


def normalizer(options: Options, output: Output) -> Normalizer:
    """A new engine for one stream."""
    return Normalizer(options, output)


def decoder(max_line: int | None, max_event: int | None, flush_tail: bool) -> Decoder:
    """A new event stream decoder."""
    return Decoder(max_line, max_event, flush_tail)


__all__ = ["NAME", "Decoder", "Normalizer", "decoder", "normalizer"]
