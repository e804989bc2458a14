"""ASGI without a server: an app that plays messages, and what the server's side sees."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any

from streamnorm.integrations.asgi import NormalizeMiddleware

Message = MutableMapping[str, Any]
App = Callable[[Any, Any, Any], Awaitable[None]]

BODY = "http.response.body"


def scope(method: str = "POST", spec: str = "2.3", **more: Any) -> dict[str, Any]:
    """The scope of a request."""
    asgi = {"version": "3.0", "spec_version": spec}
    path = "/v1/chat/completions"
    return {"type": "http", "asgi": asgi, "method": method, "path": path, "headers": [], **more}


def start(
    content_type: str = "text/event-stream", status: int = 200, **headers: str
) -> dict[str, Any]:
    """The head of a response; ``_`` in the names of *headers* stands for ``-``."""
    said = {"content-type": content_type, **headers}
    pairs = [(name.replace("_", "-").encode(), value.encode()) for name, value in said.items()]
    return {"type": "http.response.start", "status": status, "headers": pairs}


def body(data: bytes, *, more: bool = True) -> Message:
    """A piece of a body."""
    return {"type": BODY, "body": data, "more_body": more}


END = body(b"", more=False)


def pieces(*data: bytes) -> list[Message]:
    """A whole event stream of *data*, one message each."""
    return [start(), *map(body, data), END]


class Server:
    """What a middleware calls: it keeps what it is sent.

    Attributes:
        sent: The messages, in order.
        before: How many there were when the app's n-th ``send`` had returned.
    """

    def __init__(self, *incoming: Message) -> None:
        self.sent: list[Message] = []
        self.before: list[int] = []
        self._incoming = [*incoming]

    async def receive(self) -> Message:
        return self._incoming.pop(0)

    async def send(self, message: Message) -> None:
        self.sent.append(message)

    @property
    def status(self) -> int:
        """The status of the only response."""
        (status,) = [m["status"] for m in self.sent if m["type"] == "http.response.start"]
        return int(status)

    @property
    def headers(self) -> dict[str, str]:
        """Its headers, none of which is there twice."""
        (pairs,) = [m["headers"] for m in self.sent if m["type"] == "http.response.start"]
        assert len(dict(pairs)) == len(pairs)
        return {name.decode(): value.decode() for name, value in pairs}

    @property
    def body(self) -> bytes:
        """Its body, of which the last message is the end."""
        pieces = [m for m in self.sent if m["type"] == BODY]
        assert [m.get("more_body", False) for m in pieces] == [True] * (len(pieces) - 1) + [False]
        return b"".join(m["body"] for m in pieces)

    def plays(self, messages: Iterable[Message | BaseException]) -> App:
        """An app that sends *messages*, and raises what is an exception."""

        async def app(_scope: Any, _receive: Any, send: Any) -> None:
            for message in messages:
                if isinstance(message, BaseException):
                    raise message
                await send(message)
                self.before.append(len(self.sent))

        return app


async def exchange(
    messages: Iterable[Message | BaseException],
    request: dict[str, Any] | None = None,
    **options: Any,
) -> Server:
    """What an app that sends *messages* leads to behind the middleware."""
    server = Server()
    middleware = NormalizeMiddleware(server.plays(messages), **options)
    await middleware(request or scope(), server.receive, server.send)
    return server
