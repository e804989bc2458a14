"""One response of an ASGI app: what the app calls in the server's place."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, MutableMapping
from contextlib import AbstractAsyncContextManager, nullcontext
from time import monotonic
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from .. import faults
from .._engine import Engine
from ..alarm import is_in_task
from ..options import OptionsDict
from ._body import Body, Peek
from ._error import error_bytes, error_headers, http_status
from ._kinds import EVENT_STREAM, LINES

if TYPE_CHECKING:
    import asyncio

    from ..faults import StreamFault
    from ..flow_state import Done

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
_Headers = list[tuple[bytes, bytes]]

_EVENTS: Final = EVENT_STREAM.encode()
_LINES: Final = tuple(kind.encode() for kind in LINES)
_BODILESS: Final = (204, 205, 304)
# What says something of the very bytes that the app sends.
_OF_BYTES: Final = (
    b"content-length",
    b"content-md5",
    b"content-digest",
    b"repr-digest",
    b"digest",
    b"etag",
)
# What is true of a stream, and not of the JSON error in its place.
_OF_STREAM: Final = (
    *_OF_BYTES,
    b"content-type",
    b"content-encoding",
    b"transfer-encoding",
    b"trailer",
    b"cache-control",
    b"expires",
    b"last-modified",
)
_BODY: Final = "http.response.body"
# Files in place of a body, or of pieces of one.
_FILES: Final = ("http.response.pathsend", "http.response.zerocopysend")
# Since this version of the specification a server may raise from send() once the client
# has left; before it, an app is only told by receive(). For the first Starlette does not
# listen, and so would not hear that a stream has failed while its upstream is silent.
_RAISES: Final = (2, 4)
_LISTENS: Final = "2.3"
_LOGGER: Final = logging.getLogger("streamnorm.asgi")


class Settings(NamedTuple):
    """What is the same for every response; see `asgi.NormalizeMiddleware`."""

    options: OptionsDict
    peek: Peek
    done: Done
    heartbeat: float | None
    on_fault: Callable[[StreamFault, Scope], object] | None
    engine: Engine | None


class Stopped(OSError):
    """The response ended with a fault; for the app it is as if the client had left."""


class Response:
    """Stands between an app and its server for one response.

    Nothing is read ahead: but for what a peek holds back, the app's `send` returns when
    the server has taken what came of the message.
    """

    def __init__(
        self,
        settings: Settings,
        scope: Scope,
        receive: Receive,
        send: Send,
        *,
        is_chat: bool,
        raises: bool,
    ) -> None:
        self._settings = settings
        self._is_chat = is_chat
        self._raises = raises  # where the client has left
        self._scope = scope
        self._receive = receive
        self._server_send = send
        self._start: Message | None = None  # while it is held back
        self._has_trailers = False
        self._body: Body | None = None
        self._is_over = False
        self._has_failed = False
        self._has_left = False  # the client
        self._hosts_error: Exception | None = None  # of ``on_fault``
        self._stop: Stopped | None = None
        # With heartbeats two tasks send.
        self._turn: AbstractAsyncContextManager[Any] = nullcontext()
        self._beating: asyncio.Task[None] | None = None
        self._sent_at = 0.0

    # What the app calls. ------------------------------------------------------------

    async def receive(self) -> Message:
        """The app's ``receive``: once a fault has ended the response, the client has left."""
        if self._has_failed:
            return {"type": "http.disconnect"}
        message = await self._receive()
        if message["type"] == "http.disconnect":
            self._has_left = True
        return message

    async def send(self, message: Message) -> None:
        """The app's ``send``."""
        body, kind = self._body, message["type"]
        if body is None:
            if self._has_failed:
                return  # a task that has outlived its app
            if kind == "http.response.start" and self._begins_stream(message):
                return
            await self._send(message)
        elif kind == _BODY:
            async with self._turn:
                await self._take(body, message)
        elif kind in _FILES:
            async with self._turn:
                await self._let_go(body)
            await self._send(message)
        elif kind == "http.response.start":
            raise RuntimeError(f"Expected ASGI message '{_BODY}', but got '{kind}'.")
        elif kind != "http.response.trailers" or not self._has_failed:
            await self._send(message)

    # What the middleware calls. -----------------------------------------------------

    async def end(self) -> None:
        """The app has returned. If it did not end its body, this is where it ends."""
        body = self._body
        if body is not None and not self._is_over and not self._has_left:
            async with self._turn:
                await self._put(body, body.end(), is_end=True)

    async def fail(self, error: Exception) -> bool:
        """The app has raised *error*; say whether that is dealt with.

        Where it is an upstream's failure the client is told, unless its stream had ended
        already. The server must not hear of it too: it would close the connection, on
        which the client may have sent its next request. What the server does about other
        mistakes is not ours to change.
        """
        body = self._body
        if body is None or body.is_other or self._has_left or faults.recognise(error) is None:
            return False
        is_told = False
        if not self._is_over:
            async with self._turn:
                out = body.fail(error)
                if body.is_other:
                    return False
                is_told = body.fault is not None
                await self._put(body, out, is_end=True)
        if not is_told or self._settings.on_fault is None:
            path = self._scope.get("path")
            _LOGGER.error("%s: the app has raised: %s", path, error, exc_info=error)
        return True

    def raise_hosts(self) -> None:
        """Raise what ``on_fault`` raised, for the server.

        From the app's `send` an OSError would say that the client has left.
        """
        error, self._hosts_error = self._hosts_error, None
        if error is not None:
            raise error

    def is_stopped_by(self, error: BaseException) -> bool:
        """Whether *error* is only that the app was stopped after a fault."""
        stop = self._stop
        if stop is None:
            return False
        nested = getattr(error, "exceptions", ())
        if nested:
            return all(self.is_stopped_by(one) for one in nested)
        # What Starlette makes of an OSError of send().
        is_renamed = type(error).__name__ == "ClientDisconnect"
        return error is stop or (is_renamed and stop in (error.__context__, error.__cause__))

    async def close(self) -> None:
        """End the task that sends heartbeats, and let go of the app's frames."""
        # (Exceptions hold the frames that they passed, and those hold this.)
        if self._stop is not None:
            self._stop.__traceback__ = None
        self._stop = self._body = None
        beating, self._beating = self._beating, None
        if beating is not None:
            import asyncio

            beating.cancel()
            await asyncio.wait((beating,))

    # Inside. ------------------------------------------------------------------------

    def _begins_stream(self, message: Message) -> bool:
        """Hold the head of a response back if its body is one to normalise."""
        headers = _headers(message)
        given = dict(reversed(headers))  # the first of a name
        kind = given.get(b"content-type", b"").partition(b";")[0].strip().lower()
        encoding = given.get(b"content-encoding", b"").strip().lower()
        is_edited = (
            (kind == _EVENTS or kind in _LINES)
            and message["status"] < 400
            and message["status"] not in _BODILESS
            and encoding in (b"", b"identity")
        )
        if not is_edited:
            return False
        options, peek, done, heartbeat, _, engine = self._settings
        self._body = Body(
            options,
            peek,
            done,
            is_lines=kind != _EVENTS,
            is_chat=self._is_chat,
            engine=engine,
        )
        self._start = {**message, "headers": headers}
        self._has_trailers = bool(message.get("trailers", False))
        if heartbeat is not None:
            self._begin_beating(self._body, heartbeat)
        return True

    async def _take(self, body: Body, message: Message) -> None:
        is_end = not message.get("more_body", False)
        if self._is_over:
            await self._take_after_end(message, is_end=is_end)
            return
        data = message.get("body", b"")
        if not isinstance(data, bytes | bytearray | memoryview):
            raise TypeError(f"the body of a message must be bytes, not {type(data).__name__}")
        out = body.take(data) if data else b""
        if is_end and body.fault is None:
            out += body.end()
        await self._put(body, out, is_end=is_end)

    async def _take_after_end(self, message: Message, *, is_end: bool) -> None:
        if not self._has_failed:
            await self._send(message)  # the server says what it thinks of that
        elif not is_end:
            if self._raises:
                self._stop = Stopped("the stream failed, and its response has ended")
                raise self._stop
            if is_in_task():
                # An app that awaits nothing else must still be reached by a cancellation.
                import asyncio

                await asyncio.sleep(0)

    async def _let_go(self, body: Body) -> None:
        """The app sends a file in place of a body, which leaves as it is."""
        if not body.is_untouched:
            raise RuntimeError("a file cannot be sent amid a stream that is normalised")
        start, self._start, self._body = self._start, None, None
        if start is not None:
            await self._send(start)

    async def _put(self, body: Body, out: bytes, *, is_end: bool) -> None:
        """Send what came of a message, and of the end or the fault that it led to."""
        fault, start = body.fault, self._start
        if fault is None and body.is_held:
            return
        self._is_over, self._has_failed = is_end or fault is not None, fault is not None
        self._start = None
        if start is not None:
            if fault is not None and body.is_held:
                start, out = _refusal(start, fault)
                self._has_trailers = False
            elif not body.is_other:
                start["headers"] = [pair for pair in start["headers"] if pair[0] not in _OF_BYTES]
            await self._send(start)
        if out or self._is_over:
            await self._send({"type": _BODY, "body": out, "more_body": not self._is_over})
        if fault is not None:
            if self._has_trailers:
                await self._send({"type": "http.response.trailers", "headers": []})
            self._tell_host(fault)

    def _tell_host(self, fault: StreamFault) -> None:
        if self._settings.on_fault is None:
            return
        try:
            self._settings.on_fault(fault, self._scope)
        except Exception as error:  # noqa: BLE001 - see `raise_hosts`
            self._hosts_error = error

    async def _send(self, message: Message) -> None:
        try:
            await self._server_send(message)
        except OSError:
            self._has_left = True
            raise
        self._sent_at = monotonic()

    def _begin_beating(self, body: Body, seconds: float) -> None:
        import asyncio

        self._turn = asyncio.Lock()
        self._beating = asyncio.get_running_loop().create_task(self._beat(body, seconds))

    async def _beat(self, body: Body, seconds: float) -> None:
        import asyncio

        self._sent_at = monotonic()
        pause = seconds
        while True:
            await asyncio.sleep(pause)
            async with self._turn:
                if self._is_over or self._has_left or self._body is None:
                    return
                left = body.held_for if body.is_held else 0.0
                if left is None or left > 0:
                    pause = seconds if left is None else left
                    continue
                pause = self._sent_at + seconds - monotonic()
                try:
                    if body.is_held:
                        await self._put(body, body.release(), is_end=False)
                    elif pause <= 0:
                        comment = body.heartbeat()
                        if comment:
                            await self._send({"type": _BODY, "body": comment, "more_body": True})
                except OSError:
                    return  # the client has left; the app will hear of it
                pause = pause if pause > 0 else seconds


def for_app(scope: Scope) -> Scope:
    """The scope for the app: *scope*, or one whose server does not raise from send()."""
    version = str(scope.get("asgi", {}).get("spec_version", "2.0"))
    numbers = version.split(".")
    if not all(map(str.isdigit, numbers)) or tuple(map(int, numbers)) < _RAISES:
        return scope
    return {**scope, "asgi": {**scope["asgi"], "spec_version": _LISTENS}}


def _headers(message: Message) -> _Headers:
    return [(bytes(name).lower(), bytes(value)) for name, value in message.get("headers", ())]


def _refusal(start: Message, fault: StreamFault) -> tuple[Message, bytes]:
    """Head and body of the answer that tells of *fault* in place of a stream.

    What the app says besides (cookies, CORS, request ids) stays.
    """
    body = error_bytes(fault)
    said = {name.encode(): value.encode() for name, value in error_headers(fault).items()}
    headers = [pair for pair in start["headers"] if pair[0] not in (*_OF_STREAM, *said)]
    headers += [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        (b"cache-control", b"no-store"),
        *said.items(),
    ]
    told = {name: value for name, value in start.items() if name != "trailers"}
    return {**told, "status": http_status(fault), "headers": headers}, body
