"""A normalised stream as a response of Starlette or FastAPI, with a status that is true."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import TYPE_CHECKING, Any, Final

try:
    import anyio
    from starlette.requests import ClientDisconnect
    from starlette.responses import JSONResponse, Response, StreamingResponse
except ImportError as _error:  # pragma: no cover
    raise ImportError("Starlette is needed: pip install 'streamnorm[starlette]'") from _error

from ..faults import StreamFault
from ..stream import PEEK_BYTES, PEEK_SECONDS, NormalizedStream
from ._error import error_body, error_headers, http_status
from ._frames import Frames

if TYPE_CHECKING:
    from starlette.background import BackgroundTask
    from starlette.types import Receive, Scope, Send

    from ..flow_state import Done

# A cache, or a proxy that collects bytes (nginx reads the second), would hold a stream back.
_HEADERS: Final = {"cache-control": "no-cache", "x-accel-buffering": "no"}
# Closing a source sends nothing that anybody waits for; one that hangs must not keep a task.
_CLOSING_SECONDS: Final = 5.0


async def to_response(
    stream: NormalizedStream,
    *,
    heartbeat: float | None = None,
    done: Done = "always",
    peek_reasoning: bool = False,
    peek_bytes: int = PEEK_BYTES,
    peek_timeout: float | None = PEEK_SECONDS,
    headers: Mapping[str, str] | None = None,
    background: BackgroundTask | None = None,
) -> Response:
    """Wait until *stream* has something visible, and make a response of it.

    Where the stream fails before that, the response is a JSON error in OpenAI's shape with a
    status of its own. A later fault is an error event, without ``[DONE]``, at the end of the
    body. Neither is raised or logged: ``stream.fault`` has it, and its ``__cause__`` what the
    source raised, mistakes of the host's own code in it among that.

    The stream is closed when the response has been sent, when the client leaves, and when it
    is not sent at all because it failed.

    Args:
        stream: One that nobody iterates; it may have been peeked at.
        heartbeat: See `NormalizedStream.sse`.
        done: See `NormalizedStream.sse`.
        peek_reasoning: ``reasoning`` of `NormalizedStream.peek`: reasoning text goes out at once.
        peek_bytes: ``max_bytes`` of `NormalizedStream.peek`.
        peek_timeout: ``timeout`` of `NormalizedStream.peek`.
        headers: More header fields, for either response; they win over those made here, but
            for the content type and length.
        background: Run when either response has been sent and the stream is closed, also
            where the client has left.

    Raises:
        Exception: What the stream's ``error_factory`` made of a fault, if that is none: then
            the host answers itself. The stream is closed.
        TypeError: *stream* is no normalised stream, or its source gave what is neither bytes,
            text nor a chunk.
    """
    check_stream(stream)
    try:
        await stream.peek(reasoning=peek_reasoning, max_bytes=peek_bytes, timeout=peek_timeout)
        frames = Frames(stream, heartbeat=heartbeat, done=done)
        return NormalizedResponse(stream, frames, headers, background)
    except StreamFault as fault:  # which has closed the stream
        return fault_response(fault, headers, background)
    except BaseException:
        await close(stream)
        raise


def check_stream(stream: object) -> None:
    """Check what a caller gave.

    Raises:
        TypeError: It is no normalised stream.
    """
    if not isinstance(stream, NormalizedStream):
        raise TypeError(f"stream must come from normalize_stream(), not {type(stream).__name__}")


def fault_response(
    fault: StreamFault,
    headers: Mapping[str, str] | None = None,
    background: BackgroundTask | None = None,
) -> JSONResponse:
    """The JSON error that tells a client of *fault*."""
    said = {"cache-control": "no-store", **error_headers(fault), **own_headers(headers)}
    return JSONResponse(error_body(fault), http_status(fault), said, background=background)


class NormalizedResponse(StreamingResponse):
    """The bytes of a normalised stream, which is closed with the response."""

    background: BackgroundTask | None

    def __init__(
        self,
        stream: NormalizedStream,
        frames: AsyncIterator[bytes],
        headers: Mapping[str, str] | None,
        background: BackgroundTask | None,
    ) -> None:
        said = {**_HEADERS, **own_headers(headers)}
        super().__init__(frames, 200, said, "text/event-stream", background)
        self._stream = stream

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        # For servers since ASGI 2.4 Starlette waits for send() to fail, and so would not
        # notice that the client has left as long as the upstream is silent.
        asgi = {**scope.get("asgi", {}), "spec_version": "2.3"}
        # The background task may take its time: the upstream must not wait for it, and what
        # it raises does not come from the client.
        background, self.background = self.background, None
        try:
            await super().__call__({**scope, "asgi": asgi}, receive, send)
        except OSError as error:
            raise ClientDisconnect from error
        finally:
            self.background = background
            await close(self._stream)
        if background is not None:
            await background()


async def close(stream: NormalizedStream) -> None:
    """Close *stream*, also in a task that was cancelled; what that raises changes nothing."""
    with anyio.move_on_after(_CLOSING_SECONDS, shield=True):
        try:
            await stream.aclose()
        except Exception:  # noqa: BLE001 - the response is over, well or not
            return


def own_headers(headers: Mapping[str, str] | None) -> dict[str, str]:
    """The header fields that a host may set, by lower-case name."""
    # Starlette makes the two itself where they are not given.
    own = ("content-type", "content-length")
    given: dict[str, Any] = dict(headers or {})
    return {name.lower(): value for name, value in given.items() if name.lower() not in own}
