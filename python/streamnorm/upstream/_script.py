"""What one response of the loopback upstream does: its script, played onto a connection."""

from __future__ import annotations

import asyncio
import contextlib
import math
import os
import socket
import struct
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import NamedTuple

from ._http import Request, error_body, head_bytes


@dataclass(frozen=True)
class Abort:
    """A step that cuts the connection, without the end that HTTP asks for.

    Attributes:
        reset: Send RST instead of FIN. The client may then lose bytes that it had
            received but not yet read.
    """

    reset: bool = False


class Gate:
    """A step that waits until `open` is called, from any thread. Once open, it stays so."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._opened = False
        self._waiting: list[tuple[asyncio.AbstractEventLoop, asyncio.Future[None]]] = []

    def open(self) -> None:
        """Let every response that waits here, or comes here later, go on."""
        with self._lock:
            self._opened = True
            waiting, self._waiting = self._waiting, []
        for loop, future in waiting:
            # The loop may have closed since: then nobody waits any more.
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(settle, future)

    def _future(self) -> asyncio.Future[None]:
        loop = asyncio.get_running_loop()
        future: asyncio.Future[None] = loop.create_future()
        with self._lock:
            if self._opened:
                future.set_result(None)
            else:
                self._waiting.append((loop, future))
        return future


Step = bytes | float | Abort | Gate
Script = Iterable[Step] | Callable[[Request], Iterable[Step]]


class Route(NamedTuple):
    """What a name serves; see `Upstream.add`."""

    script: Script
    status: int = 200
    headers: Mapping[str, str] = MappingProxyType({})
    pace: float = 0.0
    raw: bool = False


Find = Callable[[Request], Route | None]

# Their responses have no body, and say nothing of its length (RFC 9110, 8.6).
_BODILESS = (204, 304)


class Left(Exception):
    """The client closed its side, or the connection broke."""


class Response:
    """One response on one connection."""

    def __init__(
        self, left: asyncio.Future[None], writer: asyncio.StreamWriter, request: Request
    ) -> None:
        self._left = left
        self._writer = writer
        self._request = request
        self._chunked = False

    async def send(self, find: Find) -> bool:
        """Send the response; False where the connection must end afterwards.

        Args:
            find: Gives what is served for a request, or None.
        """
        request = self._request
        route = find(request)
        if route is None:
            message = f"Invalid URL ({request.method} {request.path})"
            return await self._error(404, message, "unknown_url")
        if request.method not in ("GET", "POST"):
            await self._error(405, "Only GET and POST are served here", None)
            return False  # after HEAD the client expects no body
        return await self._play(route)

    async def _error(self, status: int, message: str, code: str | None) -> bool:
        body = error_body(message, code)
        return await self._play(Route((body,), status, {"content-type": "application/json"}, 0))

    async def _play(self, route: Route) -> bool:
        request = self._request
        headers = {"content-type": "text/event-stream; charset=utf-8", "cache-control": "no-cache"}
        headers.update({name.lower(): value for name, value in route.headers.items()})
        # HTTP/1.0 knows no chunks: there the end of the connection is the end of the body.
        self._chunked = (
            request.version != "HTTP/1.0"
            and "content-length" not in headers
            and route.status not in _BODILESS
            and not route.raw
        )
        if self._chunked:
            headers["transfer-encoding"] = "chunked"
        last = (
            route.raw
            or request.version == "HTTP/1.0"
            or "close"
            in (
                headers.get("connection", "").lower(),
                request.headers.get("connection", "").lower(),
            )
        )
        if last:
            headers["connection"] = "close"
        if not route.raw:
            self._writer.write(head_bytes(route.status, headers))
        steps = route.script(request) if callable(route.script) else route.script
        try:
            whole = await self._steps(steps, route.pace)
        except (Left, OSError):
            request.outcome = "client_left"
            raise
        except BaseException:
            request.outcome = "aborted"
            raise
        request.outcome = "complete" if whole else "aborted"
        return whole and not last

    async def _steps(self, steps: Iterable[Step], pace: float) -> bool:
        for step in steps:
            step = checked(step)
            if isinstance(step, bytes):
                if pace:
                    await self._pause(pace)
                await self._piece(step)
            elif isinstance(step, Gate):
                await first(step._future(), self._left)
                if self._left.done():
                    raise Left
            elif isinstance(step, Abort):
                await self._cut(step)
                return False
            else:
                await self._pause(step)
        if self._chunked:
            self._writer.write(b"0\r\n\r\n")
        await self._writer.drain()
        return True

    async def _pause(self, seconds: float) -> None:
        # The head or the last piece must be on its way before a pause.
        await self._flush()
        if await first(self._left, timeout=None if math.isinf(seconds) else seconds):
            raise Left

    async def _piece(self, data: bytes) -> None:
        if not data:
            return  # an empty chunk would be the final one
        if self._chunked:
            data = b"%x\r\n%b\r\n" % (len(data), data)
        self._writer.write(data)
        await self._flush()

    async def _flush(self) -> None:
        await self._writer.drain()
        if self._left.done():
            raise Left

    async def _cut(self, step: Abort) -> None:
        await self._flush()
        if not step.reset:
            return  # the caller closes, without the final chunk
        connection: socket.socket = self._writer.get_extra_info("socket")
        linger = struct.pack("hh" if os.name == "nt" else "ii", 1, 0)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self._writer.transport.abort()


def settle(future: asyncio.Future[None]) -> None:
    """Mark *future* as done, if it is not yet."""
    if not future.done():
        future.set_result(None)


async def first(*futures: asyncio.Future[None], timeout: float | None = None) -> bool:
    """Wait for one of *futures*; False after *timeout* seconds. It cancels none of them."""
    done, _ = await asyncio.wait(futures, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
    return bool(done)


def checked(step: object) -> Step:
    """Return *step* if it is one; TypeError or ValueError where it is not."""
    if isinstance(step, bytes | Abort | Gate):
        return step
    if isinstance(step, int | float) and not isinstance(step, bool):
        if not step >= 0:
            raise ValueError(f"a pause must be 0 or more seconds, not {step}")
        return step
    raise TypeError(f"a step must be bytes, a number, Abort or Gate, not {type(step).__name__}")
