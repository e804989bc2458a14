"""A normalised stream as an ``EventSourceResponse`` of sse-starlette, which pings by itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

try:
    from sse_starlette import EventSourceResponse, ServerSentEvent
except ImportError as _error:  # pragma: no cover
    raise ImportError(
        "sse-starlette is needed: pip install 'streamnorm[sse-starlette]'"
    ) from _error

from ..faults import StreamFault
from ..stream import HEARTBEAT, PEEK_BYTES, PEEK_SECONDS, NormalizedStream
from ._frames import Frames
from .starlette import check_stream, close, fault_response, own_headers

if TYPE_CHECKING:
    from starlette.background import BackgroundTask
    from starlette.responses import Response
    from starlette.types import Receive, Scope, Send


async def to_event_source(
    stream: NormalizedStream,
    *,
    ping: float | None = None,
    peek_reasoning: bool = False,
    peek_bytes: int = PEEK_BYTES,
    peek_timeout: float | None = PEEK_SECONDS,
    headers: Mapping[str, str] | None = None,
    background: BackgroundTask | None = None,
    **settings: Any,
) -> Response:
    """As `starlette.to_response`, with the response of sse-starlette.

    The bytes of the stream go out as they are: nothing is serialised again. The pings are
    sse-starlette's, so the stream sends no heartbeats; but they are a comment line without
    a blank line behind it, since openai-python takes one with such for an event.

    Args:
        stream: One that nobody iterates; it may have been peeked at.
        ping: Seconds between pings, 0 for none, None for sse-starlette's 15.
        peek_reasoning: See `starlette.to_response`.
        peek_bytes: See `starlette.to_response`.
        peek_timeout: See `starlette.to_response`.
        headers: See `starlette.to_response`.
        background: See `starlette.to_response`.
        settings: Of ``EventSourceResponse``; ``ping_message_factory`` takes the place of our
            ping.

    Raises:
        Exception: As `starlette.to_response`.
        TypeError: *stream* is no normalised stream.
    """
    check_stream(stream)
    try:
        await stream.peek(reasoning=peek_reasoning, max_bytes=peek_bytes, timeout=peek_timeout)
        frames = Frames(stream)
        settings.setdefault("ping_message_factory", lambda: _Ping(frames))
        return NormalizedEventSource(
            stream,
            frames,
            headers=own_headers(headers),
            background=background,
            ping=ping,
            **settings,
        )
    except StreamFault as fault:  # which has closed the stream
        return fault_response(fault, headers, background)
    except BaseException:
        await close(stream)
        raise


class NormalizedEventSource(EventSourceResponse):
    """The bytes of a normalised stream, which is closed with the response."""

    background: BackgroundTask | None

    def __init__(self, stream: NormalizedStream, frames: Frames, **settings: Any) -> None:
        super().__init__(frames, **settings)
        self._stream = stream

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        background, self.background = self.background, None
        try:
            await super().__call__(scope, receive, send)
        finally:
            self.background = background
            await close(self._stream)
        if background is not None:
            await background()


class _Ping(ServerSentEvent):
    """A comment between two pieces of a stream; nothing where a piece ends amid a line."""

    def __init__(self, frames: Frames) -> None:
        super().__init__()
        self._frames = frames

    def encode(self) -> bytes:
        return HEARTBEAT if self._frames.is_at_line_end else b""
