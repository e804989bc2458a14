"""Answers that look odd and are well: a sound client ends without a fault and has all the text."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Final

from ..upstream import Step
from .bodies import gzip
from .case import FaultCase
from .chunks import (
    ANSWERED,
    CONTENT,
    DONE,
    FINISH,
    HEAD,
    JSON,
    OPENING,
    REASONING,
    STREAM,
    THINKING,
    USAGE,
    chunk,
    event,
)

_FRAMING: Final = "WHATWG HTML, server-sent events"
_ALL: Final = b"".join(STREAM)


def _case(
    name: str,
    title: str,
    steps: tuple[Step, ...],
    evidence: str,
    headers: Mapping[str, str] | None = None,
) -> FaultCase:
    return FaultCase(name, title, steps, None, evidence, CONTENT, REASONING, headers=headers or {})


def _ends() -> Iterator[FaultCase]:
    yield _case("ok", "nothing at all is wrong", STREAM, "the normal form itself")
    yield _case(
        "finish-without-done", "a finish_reason, and no [DONE]", (*ANSWERED, FINISH),
        "llmgateway #1901, CLIProxyAPI #5283",
    )  # fmt: skip
    yield _case(
        "done-without-finish", "[DONE], and no finish_reason", (*ANSWERED, DONE),
        "oh-my-pi #9433; Snowflake Cortex",
    )  # fmt: skip
    yield _case("done-twice", "[DONE] two times", (*STREAM, DONE), "recorded: relays add their own")
    yield _case(
        "finish-twice", "finish_reason on two chunks, the last beside the usage",
        (*ANSWERED, FINISH, chunk({}, "stop", usage={"prompt_tokens": 12, "completion_tokens": 24,
         "total_tokens": 36}), DONE),
        "CLIProxyAPI #796",
    )  # fmt: skip
    yield _case(
        "no-last-blank-line", "the last event has no blank line", (*STREAM[:-1], b"data: [DONE]"),
        "recorded from several providers",
    )  # fmt: skip
    yield _case(
        "done-with-spaces", "no space after the colon, and white space behind [DONE]",
        (*(step.replace(b"data: ", b"data:") for step in STREAM[:-1]), b"data:[DONE] \n\n"),
        "DashScope; gptel #592",
    )  # fmt: skip


def _bodies() -> Iterator[FaultCase]:
    message = {"role": "assistant", "content": CONTENT, "reasoning_content": REASONING}
    body = {
        **HEAD,
        "object": "chat.completion",
        "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 12, "completion_tokens": 24, "total_tokens": 36},
    }
    whole = json.dumps(body, ensure_ascii=False, indent=2).encode()
    yield _case(
        "json-completion", "a whole JSON completion where a stream was asked for", (whole,),
        "ten clients show nothing of it", JSON,
    )  # fmt: skip
    yield _case(
        "ndjson", "a chunk a line, without data:",
        tuple(step.removeprefix(b"data: ").replace(b"\n\n", b"\n") for step in STREAM[:-1]),
        "seen with constructed answers; Ollama's framing", {"content-type": "application/x-ndjson"},
    )  # fmt: skip
    yield _case(
        "gzip-declared", "gzip with content-encoding: the client decodes it", (gzip(_ALL),),
        "RFC 9110, 8.4", {"content-encoding": "gzip"},
    )  # fmt: skip
    yield _case(
        "content-type-json", "an event stream that says it is application/json", STREAM,
        "seen with constructed answers", JSON,
    )  # fmt: skip
    yield _case(
        "content-type-text", "an event stream that says it is text/plain", STREAM,
        "seen with constructed answers", {"content-type": "text/plain"},
    )  # fmt: skip


def _framing() -> Iterator[FaultCase]:
    yield _case(
        "one-byte-pieces", "one byte in each chunk of the transfer coding",
        tuple(_ALL[n : n + 1] for n in range(len(_ALL))), _FRAMING,
    )  # fmt: skip
    yield _case("one-piece", "all of it in one piece", (_ALL,), "buffering proxies")
    yield _case(
        "crlf", "lines end with CR LF", tuple(step.replace(b"\n", b"\r\n") for step in STREAM),
        f"{_FRAMING}; Gemini",
    )  # fmt: skip
    yield _case(
        "cr", "lines end with CR", tuple(step.replace(b"\n", b"\r") for step in STREAM), _FRAMING
    )
    yield _case("bom", "a byte order mark at the start", (b"\xef\xbb\xbf", *STREAM), _FRAMING)
    yield _case(
        "multi-line-data", "a JSON document on several data lines", tuple(map(_spread, STREAM)),
        _FRAMING,
    )  # fmt: skip
    yield _case(
        "single-newlines", "one line end between two events, and no blank line",
        tuple(step.replace(b"\n\n", b"\n") for step in STREAM),
        "recorded by line-based clients, which never notice",
    )  # fmt: skip
    yield _case(
        "frames-glued", "two whole events on one line, without a line end between them",
        (*THINKING, OPENING[-2].rstrip(b"\n"), *STREAM[len(OPENING) - 1 :]), "kilocode #9432",
    )  # fmt: skip
    half = b'data: {"id":"chatcmpl-fault-0001","choices":[{"index":0,"delta":{"role'
    yield _case(
        "half-frame-glued", "an event that broke off before its text, and a whole one on one line",
        (*THINKING, half + STREAM[len(THINKING)], *STREAM[len(THINKING) + 1 :]), "kilocode #9432",
    )  # fmt: skip
    yield _case(
        "other-fields", "event, id and retry lines beside data",
        tuple(
            b"event: message\nid: %d\nretry: 1000\n" % n + step for n, step in enumerate(STREAM)
        ),
        f"{_FRAMING}; DashScope",
    )  # fmt: skip


def _keepalives() -> Iterator[FaultCase]:
    yield _case(
        "comments", "a comment before every event",
        tuple(b": OPENROUTER PROCESSING\n\n" + step for step in STREAM),
        "openrouter.ai/docs/api-reference/streaming",
    )  # fmt: skip
    yield _case(
        "empty-data", "an empty data line before every event",
        tuple(b"data:\n\n" + step for step in STREAM), "llmgateway #2334, openai-python #2722",
    )  # fmt: skip


def _odd_chunks() -> Iterator[FaultCase]:
    null = {"index": 0, "delta": None, "finish_reason": None}
    odd = {
        "choices-null": ("a chunk whose choices are null", {**HEAD, "choices": None}),
        "choices-empty": ("a chunk without a choice in its list", {**HEAD, "choices": []}),
        "choices-missing": ("a chunk that has no choices", dict(HEAD)),
        "delta-null": ("a choice whose delta is null", {**HEAD, "choices": [null]}),
        "delta-missing": ("a choice without a delta", {**HEAD, "choices": [{"index": 0}]}),
        "error-null": (
            "a chunk with error null",
            {**HEAD, "error": None, "choices": [{"index": 0, "delta": {}, "finish_reason": None}]},
        ),
    }
    for name, (title, payload) in odd.items():
        steps = (*OPENING, event(payload), *STREAM[len(OPENING) :])
        yield _case(
            name, f"{title}, in the middle", steps, "seen with constructed answers, crash clients"
        )
    first = event({**HEAD, "choices": [], "prompt_filter_results": []})
    yield _case(
        "choices-empty-first", "the first chunk has no choice (Azure)", (first, *STREAM),
        "learn.microsoft.com azure openai content filter, streaming",
    )  # fmt: skip
    usage = {**HEAD, "choices": [], "usage": {"prompt_tokens": 12, "completion_tokens": 0}}
    yield _case(
        "usage-everywhere", "a usage chunk after every event",
        (*(step + event(usage) for step in ANSWERED), FINISH, USAGE, DONE),
        "tensorzero #5481; InsForge #2015",
    )  # fmt: skip


def _spread(step: bytes) -> bytes:
    if step == DONE:
        return step
    text = json.dumps(json.loads(step[len(b"data: ") :]), ensure_ascii=False, indent=1)
    return b"".join(b"data: " + line.encode() + b"\n" for line in text.split("\n")) + b"\n"


SOUND: Final = (*_ends(), *_bodies(), *_framing(), *_keepalives(), *_odd_chunks())
