"""What type checkers must make of the public names; mypy reads it, nothing runs it.

With mypy's ``warn_unused_ignores`` an ignored line is a check as well: that it is an error.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import TYPE_CHECKING, Any, Literal

import streamnorm
from streamnorm import (
    ChunkNormalizer,
    NormalizedStream,
    ServerSentEvent,
    SSEDecoder,
    SSENormalizer,
    normalize_response,
    normalize_stream,
)

if TYPE_CHECKING:
    from typing_extensions import Unpack, assert_type

    from streamnorm.options import OptionsDict


def engine() -> None:
    assert_type(streamnorm.ENGINE, Literal["rust", "python"])


def options(source: object) -> None:
    normalize_stream(source, reasoning="both", keep_original=True, max_line_bytes=None)
    normalize_stream(source, reasonin="both")  # type: ignore[call-arg]
    normalize_stream(source, reasoning="thoughts")  # type: ignore[arg-type]
    NormalizedStream(source, max_event_bytes="1")  # type: ignore[arg-type]
    ChunkNormalizer(keep_orginal=True)  # type: ignore[call-arg]
    SSENormalizer(on_malformed="ignore")  # type: ignore[arg-type]
    SSEDecoder(flush_tails=True)  # type: ignore[call-arg]
    normalize_response(b"{}", limit=1)  # type: ignore[call-overload]


def passed_on(source: object, **options: Unpack[OptionsDict]) -> NormalizedStream:
    return normalize_stream(source, **options)


async def streams(source: object) -> None:
    stream = normalize_stream(source)
    assert_type(stream, NormalizedStream)
    async for chunk in stream:
        assert_type(chunk, dict[str, Any])
    frames: AsyncIterator[bytes] = normalize_stream(source).sse()
    async for piece in frames:
        assert_type(piece, bytes)
    stream.repport  # type: ignore[attr-defined]  # noqa: B018


def feeding(data: bytes, array: bytearray, view: memoryview) -> None:
    for item in (data, array, view):
        assert_type(ChunkNormalizer().feed(item), list[dict[str, Any]])
        assert_type(SSENormalizer().feed(item), bytes)
        assert_type(SSEDecoder().feed(item), list[ServerSentEvent])
    ChunkNormalizer().feed("text")  # type: ignore[arg-type]


def bodies(
    data: bytes, array: bytearray, view: memoryview, made: dict[str, Any], other: Mapping[str, Any]
) -> None:
    assert_type(normalize_response(data), bytes)
    assert_type(normalize_response(array, reasoning="reasoning"), bytes)
    assert_type(normalize_response(view), bytes)
    assert_type(normalize_response(made), dict[str, Any])
    assert_type(normalize_response(other, keep_original=True), dict[str, Any])
    normalize_response("text")  # type: ignore[call-overload]
