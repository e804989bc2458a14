"""The options of every normaliser, checked once and with the same words for both engines."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal, NamedTuple, TypedDict

ReasoningKey = Literal["reasoning_content", "reasoning", "both"]
OnMalformed = Literal["raise", "skip"]

# Defaults of 64 KiB to 1 MiB broke real users of other parsers (one tool call with a
# file in it, one image as a data URL); 16 MiB holds those and still bounds a hostile body.
DEFAULT_LIMIT: Final = 16 * 1024 * 1024


class Options(NamedTuple):
    """What a caller can ask for.

    Attributes:
        reasoning: Key of the delta in which reasoning text comes out; ``both`` writes it
            under ``reasoning_content`` and ``reasoning``.
        keep_original: Leave alias keys where they are, beside the normalised one.
        on_malformed: What an event whose data is not a JSON object does to chunk output:
            ``raise`` a `StreamFault` of kind ``corrupt``, or ``skip`` it (counted). In
            byte output such an event always passes verbatim.
        max_line_bytes: Longest line, in bytes without its end; None for no limit.
        max_event_bytes: Largest event, in bytes of its field lines; None for no limit. For
            byte output, which has to hold them, comments inside an event count as well.
    """

    reasoning: ReasoningKey = "reasoning_content"
    keep_original: bool = False
    on_malformed: OnMalformed = "raise"
    max_line_bytes: int | None = DEFAULT_LIMIT
    max_event_bytes: int | None = DEFAULT_LIMIT

    @property
    def targets(self) -> tuple[str, ...]:
        """The keys that reasoning text is written to; the first is the leading one."""
        if self.reasoning == "both":
            return ("reasoning_content", "reasoning")
        return (self.reasoning,)


class OptionsDict(TypedDict, total=False):
    """The keyword arguments that make `Options`, for signatures that pass them on."""

    reasoning: ReasoningKey
    keep_original: bool
    on_malformed: OnMalformed
    max_line_bytes: int | None
    max_event_bytes: int | None


def make_options(given: Mapping[str, Any]) -> Options:
    """Check keyword arguments and build `Options`.

    Raises:
        TypeError: An unknown option, or a value of the wrong type.
        ValueError: A value of the right type that is not allowed.
    """
    unknown = sorted(set(given) - set(Options._fields))
    if unknown:
        raise TypeError(f"unknown option {unknown[0]!r}; options are {', '.join(Options._fields)}")
    options = Options(**given)
    _one_of("reasoning", options.reasoning, ("reasoning_content", "reasoning", "both"))
    _one_of("on_malformed", options.on_malformed, ("raise", "skip"))
    if not isinstance(options.keep_original, bool):
        raise TypeError(f"keep_original must be a bool, not {_name(options.keep_original)}")
    _limit("max_line_bytes", options.max_line_bytes)
    _limit("max_event_bytes", options.max_event_bytes)
    return options


def check_bytes(data: object) -> bytes:
    """Return *data* as bytes.

    Raises:
        TypeError: *data* is not bytes, bytearray or memoryview.
    """
    if isinstance(data, bytes):
        return data
    if isinstance(data, bytearray | memoryview):
        return bytes(data)
    raise TypeError(f"data must be bytes, bytearray or memoryview, not {_name(data)}")


def _one_of(option: str, value: object, allowed: tuple[str, ...]) -> None:
    if not isinstance(value, str):
        raise TypeError(f"{option} must be a str, not {_name(value)}")
    if value not in allowed:
        raise ValueError(f"{option} must be one of {', '.join(allowed)}, not {value!r}")


def _limit(option: str, value: object) -> None:
    if value is None:
        return
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{option} must be an int or None, not {_name(value)}")
    if value < 1:
        raise ValueError(f"{option} must be at least 1, not {value}")


def _name(value: object) -> str:
    return type(value).__name__
