"""An upstream on loopback that really streams: HTTP/1.1, chunked, paced, standard library only.

It serves streams by name at ``/v1/<name>/chat/completions`` (and ``/v1/<name>``; both also
without the ``/v1``), to GET and POST alike, so that any HTTP client or SDK can be pointed at
it::

    async with Upstream(STREAMS, pace=0.01) as up:
        async with httpx.AsyncClient() as client:
            response = await client.post(up.url("vllm"), json={...})

    with Upstream.in_thread(STREAMS) as up:  # for code without an event loop
        urllib.request.urlopen(up.url("vllm"))

Wrong behaviour is scripted per route: pauses, gates, cuts. See `Upstream.add`.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Iterable, Iterator, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Final, cast
from urllib.parse import quote

from ._http import BadRequest, Reader, Request, error_body, head_bytes
from ._script import (
    Abort,
    Find,
    Gate,
    Left,
    Response,
    Route,
    Script,
    Step,
    checked,
    first,
    settle,
)
from .streams import BundledStream

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["HOST", "Abort", "Gate", "Request", "Route", "Script", "Step", "Upstream"]

HOST: Final = "127.0.0.1"


class _Protocol(asyncio.StreamReaderProtocol):
    """Tells at once when the client leaves, also while nothing is being read or written."""

    def __init__(self, reader: asyncio.StreamReader, server: Upstream) -> None:
        loop = asyncio.get_running_loop()
        # The stream protocol would start a task of its own for a coroutine function and,
        # on some versions, lose it; a plain function lets the server keep the task.
        super().__init__(reader, lambda r, w: server._connected(self, r, w), loop=loop)
        self._made: asyncio.Transport | None = None
        self.left: asyncio.Future[None] = loop.create_future()
        self.lost: asyncio.Future[None] = loop.create_future()

    def abort(self) -> None:
        if self._made is not None:
            self._made.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._made = cast(asyncio.Transport, transport)
        super().connection_made(transport)

    def eof_received(self) -> bool:
        settle(self.left)
        return bool(super().eof_received())

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        settle(self.left)
        settle(self.lost)


class Upstream:
    """A server on loopback, with one route per name.

    An async context manager; `in_thread` gives a plain one. `close` may be called any
    number of times, and afterwards no task, socket or future is left. What was recorded
    can be read from any thread, also after `close`.

    Attributes:
        requests: Every request that was read whole, in order of arrival.
        open_connections: How many connections are accepted and not yet closed. A client
            that keeps connections alive holds them open after a response.
    """

    def __init__(
        self,
        streams: Iterable[BundledStream] = (),
        *,
        pace: float = 0.0,
        host: str = HOST,
        port: int = 0,
    ) -> None:
        """Prepare the routes; nothing listens yet.

        Args:
            streams: Served under their names, one event per piece.
            pace: Seconds before each piece of *streams*.
            host: Name or address to listen at.
            port: 0 for one that is free, another one at each start.
        """
        self.requests: list[Request] = []
        self.open_connections: int = 0
        self._routes: dict[str, Route] = {}
        self._otherwise: Find | None = None
        self._host = host
        self._wanted = port
        self._port = 0
        self._server: asyncio.Server | None = None
        self._serving: dict[asyncio.Task[None], _Protocol] = {}
        self._idle: list[asyncio.Future[None]] = []
        self._errors: list[Exception] = []
        for stream in streams:
            self.add(stream.name, stream.events, pace=pace)

    def add(
        self,
        name: str,
        chunks: Script,
        status: int = 200,
        headers: Mapping[str, str] | None = None,
        *,
        pace: float = 0.0,
        raw: bool = False,
    ) -> str:
        """Register (or replace) the route *name* and return its URL path.

        Args:
            name: The path segment after ``/v1/``.
            chunks: What to do, step by step: bytes are one piece of the body; a float is
                a pause in seconds (``math.inf``: until the client leaves); `Gate` waits
                for the test; `Abort` cuts the connection. A function is called with each
                request and may give an endless iterator.
            status: HTTP status.
            headers: Replace or add to the defaults (``text/event-stream``). With a
                ``Content-Length`` the body is sent unframed, whatever its real length;
                with ``Connection: close`` the connection ends after the response.
            pace: Seconds before each piece.
            raw: The pieces are the whole response, its head and framing included, and the
                connection ends after it. *status* and *headers* are ignored.

        Raises:
            TypeError: A step of a wrong type.
            ValueError: A pause that is negative or not a number.
        """
        if not callable(chunks):
            chunks = tuple(checked(step) for step in chunks)
        self._routes[name] = Route(chunks, status, dict(headers or {}), pace, raw)
        return f"/v1/{quote(name, safe='')}/chat/completions"

    def otherwise(self, find: Find) -> None:
        """Ask *find* for what is served where a request names no route.

        Args:
            find: Called in the server's event loop; None is answered with the 404 that
                OpenAI gives.
        """
        self._otherwise = find

    def url(self, name: str) -> str:
        """The address of route *name*, ``http://127.0.0.1:<port>/v1/<name>/chat/completions``.

        Raises:
            RuntimeError: The server was never started.
        """
        return self.base_url(name) + "/chat/completions"

    def base_url(self, name: str) -> str:
        """What an OpenAI SDK takes as ``base_url`` for route *name*.

        Raises:
            RuntimeError: The server was never started.
        """
        return f"{self.origin}/v1/{quote(name, safe='')}"

    @property
    def origin(self) -> str:
        """Scheme, host and port of every address here, ``http://127.0.0.1:<port>``.

        Raises:
            RuntimeError: The server was never started.
        """
        if not self._port:
            raise RuntimeError("the upstream has not been started")
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"http://{host}:{self._port}"

    async def start(self) -> None:
        """Listen.

        Raises:
            RuntimeError: It listens already.
            OSError: The host is not this machine's, or the port is taken.
        """
        if self._server is not None:
            raise RuntimeError("the upstream is already running")
        self._server = await asyncio.get_running_loop().create_server(
            self._accept, self._host, self._wanted
        )
        self._port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        """Stop listening, cut every open connection and wait until all are gone."""
        server, self._server = self._server, None
        if server is None:
            return
        server.close()
        serving = dict(self._serving)
        for task, protocol in serving.items():
            task.cancel()
            protocol.abort()  # a task that has not begun would not do it
        if serving:
            await asyncio.wait(serving)
            await asyncio.wait([protocol.lost for protocol in serving.values()])
        await server.wait_closed()

    async def drained(self, timeout: float = 5.0) -> None:
        """Wait until no connection is open.

        Args:
            timeout: Seconds.

        Raises:
            TimeoutError: A connection is still open.
        """
        if not self.open_connections:
            return
        empty: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._idle.append(empty)
        if not await first(empty, timeout=timeout):
            self._idle.remove(empty)
            raise TimeoutError(f"{self.open_connections} connection(s) still open")

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()
        # A script that raises is a mistake in the test itself: it must not pass for a
        # connection that broke.
        if self._errors and error is None:
            raise self._errors[0]

    @classmethod
    @contextlib.contextmanager
    def in_thread(
        cls,
        streams: Iterable[BundledStream] = (),
        *,
        pace: float = 0.0,
        host: str = HOST,
        port: int = 0,
    ) -> Iterator[Self]:
        """Run an upstream in a thread with its own event loop, for code that has none."""
        upstream = cls(streams, pace=pace, host=host, port=port)
        runner = _Runner(upstream)
        runner.start()
        try:
            yield upstream
        except BaseException:
            with contextlib.suppress(Exception):
                runner.stop()
            raise
        runner.stop()

    def _find(self, request: Request) -> Route | None:
        route = self._routes.get(request.name) if request.name is not None else None
        if route is None and self._otherwise is not None:
            route = self._otherwise(request)
        return route

    def _accept(self) -> _Protocol:
        return _Protocol(asyncio.StreamReader(), self)

    def _connected(
        self, protocol: _Protocol, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        if self._server is None:  # accepted in the very moment of closing
            writer.transport.abort()
            return
        # Draining then means that the network has taken all of it: a pause or a reset
        # that follows a piece finds nothing held back.
        writer.transport.set_write_buffer_limits(0)
        self.open_connections += 1
        protocol.lost.add_done_callback(self._disconnected)
        task = asyncio.get_running_loop().create_task(self._serve(protocol, reader, writer))
        self._serving[task] = protocol
        task.add_done_callback(self._serving.pop)

    def _disconnected(self, _: asyncio.Future[None]) -> None:
        self.open_connections -= 1
        if not self.open_connections:
            waiting, self._idle = self._idle, []
            for future in waiting:
                settle(future)

    async def _serve(
        self, protocol: _Protocol, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        requests = Reader(reader, writer)
        try:
            while True:
                request = await requests.read()
                if request is None:
                    break
                self.requests.append(request)
                if not await Response(protocol.left, writer, request).send(self._find):
                    break
        except BadRequest as error:
            body = error_body(str(error), "bad_request")
            length = {"content-type": "application/json", "content-length": str(len(body))}
            writer.write(head_bytes(400, {**length, "connection": "close"}) + body)
        except (Left, OSError):
            pass
        except Exception as error:  # noqa: BLE001 - it is raised when the server closes
            self._errors.append(error)
        # Not abort: what was written must still reach the client.
        writer.transport.close()
        await first(protocol.lost)


class _Runner:
    """Runs an upstream in a thread, in an event loop of its own, until told to stop."""

    def __init__(self, upstream: Upstream) -> None:
        self._upstream = upstream
        self._thread = threading.Thread(target=self._run, name="streamnorm-upstream", daemon=True)
        self._ready = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._halt: asyncio.Event | None = None
        self._error: BaseException | None = None

    def start(self) -> None:
        self._thread.start()
        self._ready.wait()
        if self._error is not None:
            raise self._error

    def stop(self) -> None:
        if self._loop is not None and self._halt is not None:
            with contextlib.suppress(RuntimeError):  # the loop has ended with an error
                self._loop.call_soon_threadsafe(self._halt.set)
        self._thread.join()
        if self._error is not None:
            raise self._error

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except BaseException as error:  # noqa: BLE001 - it is raised again in stop()
            self._error = error
        finally:
            self._ready.set()

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._halt = asyncio.Event()
        async with self._upstream:
            self._ready.set()
            await self._halt.wait()
