"""Bodies that are no event stream, or none with a chunk in it; all with status 200."""

from __future__ import annotations

import base64
import zlib
from collections.abc import Iterator, Mapping
from typing import Final

from ..upstream import Step
from .case import Expected, FaultCase
from .chunks import OPENING, REASONING, STREAM, THINKING, chunk

_PEERS: Final = "eight of ten clients take it for an answer without text"
_EMPTY: Final = Expected("empty", "server_error", "provider")
_NOT_SSE: Final = Expected("not_sse", "server_error", "provider")
_ENCODINGS: Final = "constructed: a relay that passes a body on and drops content-encoding"


def gzip(data: bytes) -> bytes:
    """*data* in the gzip format (RFC 1952), with no time and no system named in its head."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    raw = packer.compress(data) + packer.flush()
    head = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x02\xff"
    sizes = zlib.crc32(data).to_bytes(4, "little") + len(data).to_bytes(4, "little")
    return head + raw + sizes


# The stream, compressed once with brotli's own tool: the standard library has none.
BROTLI: Final = base64.b64decode(
    "G/sGAJwHtq1ku1y+f+JIMPLAm+D5uBbpn8dbbYsLnH1ZYHIFOJljl8Otw6LQd/Am6AC1f+hcnfafB5KGHhjNChPM"
    "3Bpi1M+HNLG7uWP1k/Du3Ug+zB1op/ra7o6bOtS37aoahmESfKghOy1amprptl+JaWMw/dBohgIcG0ynv9STUjdE"
    "+oEIhKEgowgfHOuDNfMIUcTAL4JZLD2vI1Z/45d/40HgO837sYRfjsWt6eUwvIy9tU2nKlN9EVuug/BC6IBYni+8"
    "aK3HwEiuX01oRW9avt/Relzkr/x9ghfU6gRQnnT2VC47j0SI+5fa6L99vJbZHLMD0+o9hzEByyHyHnP3yPYGS2VK"
    "G2qesmdgOr/z5tPteVv5Bg=="
)


def _body(
    name: str,
    title: str,
    steps: tuple[Step, ...],
    expected: Expected,
    evidence: str,
    *,
    status: int = 200,
    headers: Mapping[str, str] | None = None,
) -> FaultCase:
    return FaultCase(name, title, steps, expected, evidence, status=status, headers=headers or {})


def _nothing() -> Iterator[FaultCase]:
    yield _body("empty-body", "no body at all", (), _EMPTY, f"hermes-agent #38725; {_PEERS}")
    yield _body(
        "status-204", "204, which has no body", (), _EMPTY, _PEERS, status=204,
    )  # fmt: skip
    yield _body(
        "comments-only", "comments, then the end", (b": ping\n\n", b": ping\n\n"), _EMPTY,
        f"crewAI #2885; {_PEERS}",
    )  # fmt: skip
    yield _body("done-only", "[DONE] and nothing else", (b"data: [DONE]\n\n",), _EMPTY, _PEERS)


def _other_bodies() -> Iterator[FaultCase]:
    yield _body(
        "html-200", "a proxy's HTML page with status 200",
        (
            b"<!DOCTYPE html>\r\n<html>\r\n<head><title>Just a moment...</title></head>\r\n",
            b"<body>Checking your browser: please wait.</body>\r\n</html>\r\n",
        ),
        _NOT_SSE, _PEERS, headers={"content-type": "text/html; charset=utf-8"},
    )  # fmt: skip
    yield _body(
        "text-200", "plain text with status 200",
        (b"upstream connect error or disconnect/reset before headers. reset reason: overflow",),
        _NOT_SSE, "Envoy's words for an overloaded upstream",
        headers={"content-type": "text/plain"},
    )  # fmt: skip
    yield _body(
        "gzip-undeclared", "gzip without content-encoding", (gzip(b"".join(STREAM)),),
        _NOT_SSE, _ENCODINGS,
    )  # fmt: skip
    yield _body(
        "deflate-undeclared", "deflate (zlib) without content-encoding",
        (zlib.compress(b"".join(STREAM), 9),), _NOT_SSE, _ENCODINGS,
    )  # fmt: skip
    yield _body(
        "brotli-undeclared", "brotli without content-encoding", (BROTLI,), _NOT_SSE, _ENCODINGS,
    )  # fmt: skip


def _broken_events() -> Iterator[FaultCase]:
    half = OPENING[-1][: len(OPENING[-1]) // 2]
    yield FaultCase(
        "corrupt-json",
        "an event that is half a chunk, and more whole ones after it",
        (*THINKING, half + b"\n\n", *STREAM[len(THINKING) :]),
        Expected("corrupt", "server_error", "provider"),
        "kilocode #9432; seven clients raise their JSON parser's error",
        reasoning=REASONING,
    )
    text = b"x" * 65536
    line = chunk({"content": "CUT"}).split(b"CUT")
    yield FaultCase(
        "oversized-line",
        "one event of 17 MiB on one line",
        (*THINKING, line[0], *[text] * 272, line[1], *STREAM[len(THINKING) :]),
        Expected("too_large", "server_error", "provider"),
        "constructed: a runaway tool call, or a hostile upstream",
        reasoning=REASONING,
    )


BODIES: Final = (*_nothing(), *_other_bodies(), *_broken_events())
