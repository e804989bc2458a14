"""The options of every normaliser, checked once and with the same words for both engines."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from itertools import pairwise
from typing import Any, Final, Literal, NamedTuple, TypedDict

from .tag_table import TAGS

ReasoningKey = Literal["reasoning_content", "reasoning", "both"]
OnMalformed = Literal["raise", "skip"]
TagMode = Literal["anchored", "free", "off"]
Finish = Literal["as_sent", "last"]
TagNames = tuple[str | tuple[str, str], ...]

# What is wrong with a tool call delta and is mended (see `pure.tool_calls`).
REPAIRS: Final[tuple[str, ...]] = (
    "missing_index",
    "shared_index",
    "empty_id",
    "empty_name",
    "repeated_id",
    "repeated_name",
    "object_arguments",
)

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
        tags: Where delimiters of reasoning count in ``content``: ``anchored`` only as its
            first word, ``free`` anywhere but in fenced or inline code, ``off`` nowhere.
        tag_names: Which delimiters: names of rows of `streamnorm.tag_table.TAGS`, or
            (opener, closer) pairs of one's own. None for all rows.
        starts_in_reasoning: The opener stood in the prompt: content is reasoning up to the
            first closer.
        trim_tags: Drop the white space right behind an opener, and between a closer and
            the answer.
        repairs: Which defects of tool call deltas are mended, names from `REPAIRS`. None
            for all, an empty tuple for none.
        split_mixed: Split a delta that holds reasoning and an answer in two, reasoning
            first; finish_reason, usage and logprobs stay on the last.
        finish: When a ``finish_reason`` goes out: ``as_sent``, or ``last``: held, and sent
            once when the stream has ended. Where it fails instead, none is sent.
    """

    reasoning: ReasoningKey = "reasoning_content"
    keep_original: bool = False
    on_malformed: OnMalformed = "raise"
    max_line_bytes: int | None = DEFAULT_LIMIT
    max_event_bytes: int | None = DEFAULT_LIMIT
    tags: TagMode = "anchored"
    tag_names: TagNames | None = None
    starts_in_reasoning: bool = False
    trim_tags: bool = True
    repairs: tuple[str, ...] | None = None
    split_mixed: bool = False
    finish: Finish = "as_sent"

    @property
    def targets(self) -> tuple[str, ...]:
        """The keys that reasoning text is written to; the first is the leading one."""
        return _TARGETS[self.reasoning]


_TARGETS: Final[dict[str, tuple[str, ...]]] = {
    "reasoning_content": ("reasoning_content",),
    "reasoning": ("reasoning",),
    "both": ("reasoning_content", "reasoning"),
}


class OptionsDict(TypedDict, total=False):
    """The keyword arguments that make `Options`, for signatures that pass them on."""

    reasoning: ReasoningKey
    keep_original: bool
    on_malformed: OnMalformed
    max_line_bytes: int | None
    max_event_bytes: int | None
    tags: TagMode
    tag_names: TagNames | None
    starts_in_reasoning: bool
    trim_tags: bool
    repairs: tuple[str, ...] | None
    split_mixed: bool
    finish: Finish


def make_options(given: Mapping[str, Any]) -> Options:
    """Check keyword arguments and build `Options`.

    Raises:
        TypeError: An unknown option, or a value of the wrong type.
        ValueError: A value of the right type that is not allowed.
    """
    if not given:
        return _DEFAULT
    unknown = sorted(set(given) - set(Options._fields))
    if unknown:
        raise TypeError(f"unknown option {unknown[0]!r}; options are {', '.join(Options._fields)}")
    options = Options(**given)
    options = options._replace(
        tag_names=_tag_names(options.tag_names), repairs=_repairs(options.repairs)
    )
    _one_of("reasoning", options.reasoning, ("reasoning_content", "reasoning", "both"))
    _one_of("on_malformed", options.on_malformed, ("raise", "skip"))
    _one_of("tags", options.tags, ("anchored", "free", "off"))
    _one_of("finish", options.finish, ("as_sent", "last"))
    for option in ("keep_original", "starts_in_reasoning", "trim_tags", "split_mixed"):
        if not isinstance(getattr(options, option), bool):
            raise TypeError(f"{option} must be a bool, not {_name(getattr(options, option))}")
    _limit("max_line_bytes", options.max_line_bytes)
    _limit("max_event_bytes", options.max_event_bytes)
    return _shared(options)


_DEFAULT: Final = Options()


@lru_cache(maxsize=64)
def _shared(options: Options) -> Options:
    """One object for all streams with the same options."""
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


def _one_of(option: str, value: object, allowed: tuple[str, ...]) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{option} must be a str, not {_name(value)}")
    if value not in allowed:
        raise ValueError(f"{option} must be one of {', '.join(allowed)}, not {value!r}")
    return value


def _tag_names(given: object) -> TagNames | None:
    """The names as a tuple, each known; pairs as tuples of two texts."""
    if given is None:
        return None
    known = [tag.name for tag in TAGS]
    names: list[str | tuple[str, str]] = []
    for name in _sequence("tag_names", given):
        if isinstance(name, str):
            if name not in known:
                raise ValueError(f"tag_names must be among {', '.join(known)}, not {name!r}")
            names.append(name)
            continue
        if not isinstance(name, tuple | list):
            raise TypeError(f"tag_names must hold names or pairs, not {_name(name)}")
        pair = tuple(name)
        if len(pair) != 2 or not all(isinstance(text, str) for text in pair):
            raise TypeError(f"a pair in tag_names must be two str, not {name!r}")
        if not all(text.strip() == text != "" and "*" not in text for text in pair):
            raise ValueError(f"a delimiter must not be empty, padded or hold a '*': {name!r}")
        if any("\ud800" <= character <= "\udfff" for text in pair for character in text):
            raise ValueError(f"a delimiter must be text that UTF-8 can carry, not {name!r}")
        names.append((pair[0], pair[1]))
    if not names:
        raise ValueError('tag_names must not be empty; tags="off" leaves content alone')
    _check_beginnings(names)
    return tuple(names)


def _check_beginnings(names: list[str | tuple[str, str]]) -> None:
    """No delimiter may begin another: which one is meant would depend on where text is cut."""
    delimiters: set[str] = set()
    for name in names:
        if isinstance(name, tuple):
            delimiters.update(name)
        else:
            tag = next(tag for tag in TAGS if tag.name == name)
            delimiters.update((*tag.opens, *tag.closes, *tag.finals, *tag.ends))
    ordered = sorted(delimiters)
    for shorter, longer in pairwise(ordered):
        if longer.startswith(shorter):
            raise ValueError(f"a delimiter must not begin another: {shorter!r} begins {longer!r}")


def _repairs(given: object) -> tuple[str, ...] | None:
    if given is None:
        return None
    names: list[str] = []
    for name in _sequence("repairs", given):
        names.append(_one_of("repairs", name, REPAIRS))
    return tuple(names)


def _sequence(option: str, given: object) -> list[object]:
    if isinstance(given, tuple | list | set | frozenset):
        return sorted(given, key=repr) if isinstance(given, set | frozenset) else list(given)
    raise TypeError(f"{option} must be a tuple or None, not {_name(given)}")


def _limit(option: str, value: object) -> None:
    if value is None:
        return
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{option} must be an int or None, not {_name(value)}")
    if value < 1:
        raise ValueError(f"{option} must be at least 1, not {value}")


def _name(value: object) -> str:
    return type(value).__name__
