"""Streams that keep their client waiting, for a while or for ever."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from ..upstream import Step
from .case import Expected, FaultCase, Limit, Timing
from .chunks import ANSWER, CONTENT, HALF, OPENING, REASONING, STREAM, THINKING

_HANGS: Final = "LLM-API-Key-Proxy #39 (600 s), amplifier #339 (8.7 h), opencode #29348"
_PING: Final = b": ping\n\n"
# The event after the first half of the answer, in two pieces.
_NEXT: Final = (STREAM[len(OPENING)][:40], STREAM[len(OPENING)][40:])
# A length, and no transfer coding: the body is the same stream.
_WHOLE: Final = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\n"
    b"content-length: %d\r\n\r\n" % sum(map(len, STREAM))
)


def _never(limit: Limit) -> Expected:
    kinds = {
        "first_chunk": "first_chunk_timeout",
        "idle": "idle_timeout",
        "total": "total_timeout",
    }
    return Expected(kinds[limit], "api_connection", "provider", limit=limit)  # type: ignore[arg-type]


def _hangs() -> Iterator[FaultCase]:
    """Until the client leaves; with ``?pause=`` the rest comes after all."""
    yield _wait(
        "hang-before-headers", "no answer at all", (_WHOLE, *STREAM), _never("first_chunk"),
        "bifrost #7034", Timing(0), raw=True,
    )  # fmt: skip
    yield _wait(
        "hang-before-first-chunk", "the head of the response, then nothing", STREAM,
        _never("first_chunk"), _HANGS, Timing(0),
    )  # fmt: skip
    yield _wait(
        "stall-after-reasoning", "nothing comes after the reasoning", STREAM, _never("idle"),
        _HANGS, Timing(len(THINKING)), reasoning=REASONING,
    )  # fmt: skip
    yield _wait(
        "stall-after-text", "nothing comes after a part of the answer", STREAM, _never("idle"),
        _HANGS, Timing(len(OPENING)), content=HALF, reasoning=REASONING,
    )  # fmt: skip
    yield _wait(
        "stall-mid-event", "nothing comes after half an event",
        (*OPENING, *_NEXT, *STREAM[len(OPENING) + 1 :]),
        _never("idle"), _HANGS, Timing(len(OPENING) + 1), content=HALF, reasoning=REASONING,
    )  # fmt: skip


def _endless() -> Iterator[FaultCase]:
    yield _wait(
        "comments-forever", "comments and never a chunk: alive, but silent", (_PING,),
        _never("first_chunk"), "litellm #34819 (what a gateway sends); bifrost #7034",
        Timing(0, 0.1, each=True, endless=True),
    )  # fmt: skip
    yield _wait(
        "stall-with-comments", "comments and nothing else after a part of the answer",
        (*OPENING, _PING), _never("idle"), "bifrost #6472, Franklin #74",
        Timing(len(OPENING), 0.1, each=True, endless=True), content=HALF, reasoning=REASONING,
    )  # fmt: skip
    yield _wait(
        "never-ending", "the answer goes on and on", (*THINKING, *ANSWER), _never("total"),
        "constructed: a model that repeats itself, without max_tokens",
        Timing(len(THINKING), 0.005, each=True, endless=True), content=None, reasoning=REASONING,
    )  # fmt: skip


def _slow() -> Iterator[FaultCase]:
    """These end well, for who waits."""
    yield _wait(
        "slow-first-chunk", "a pause before the first chunk, then all of it", STREAM, None,
        "Franklin #74: the wait for the first chunk is no idle time", Timing(0, 0.3),
        content=CONTENT, reasoning=REASONING,
    )  # fmt: skip
    yield _wait(
        "slow-drip", "a pause before every event", STREAM, None, "bifrost #6472",
        Timing(0, 0.02, each=True), content=CONTENT, reasoning=REASONING,
    )  # fmt: skip


def _wait(
    name: str,
    title: str,
    steps: tuple[Step, ...],
    expected: Expected | None,
    evidence: str,
    timing: Timing,
    *,
    content: str | None = "",
    reasoning: str = "",
    raw: bool = False,
) -> FaultCase:
    return FaultCase(
        name, title, steps, expected, evidence, content, reasoning, raw=raw, timing=timing
    )


WAITS: Final = (*_hangs(), *_endless(), *_slow())
