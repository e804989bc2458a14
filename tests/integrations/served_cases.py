"""What the tests of served apps share: an upstream's routes, its failures, and plain clients."""

from __future__ import annotations

import itertools
import json
import math
import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.client import HTTPConnection
from types import MappingProxyType
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from streamnorm.upstream import Gate, Upstream
from streamnorm.upstream.streams import STREAMS

from ..blocking import drained
from ..helpers import DONE, chunk, event

ROLE = event(chunk({"role": "assistant", "content": ""}))
THOUGHT = event(chunk({"reasoning": "why"}))
NORMAL = event(chunk({"reasoning_content": "why"}))
TEXT = event(chunk({"content": "so"}))
FINISH = event(chunk({}, "stop"))


def failed(message: str, **more: Any) -> bytes:
    """An error event in OpenAI's shape."""
    return event(json.dumps({"error": {"message": message, **more}}).encode())


class Failure(NamedTuple):
    """A route of the upstream that gives nothing visible, and what a gateway says then."""

    steps: tuple[Any, ...]
    status: int
    code: str
    headers: Mapping[str, str] = MappingProxyType({})


# The upstream's own status is 200 in all of them.
FAILURES = {
    "slow-down": Failure((failed("slow", code="rate_limit_exceeded"),), 429, "rate_limit_exceeded"),
    "too-long": Failure(
        (ROLE, failed("long", code="context_length_exceeded")), 400, "context_length_exceeded"
    ),
    "no-key": Failure(
        (failed("Incorrect API key provided: sk-secret", code="invalid_api_key"),),
        502, "authentication", {"x-should-retry": "false"},
    ),
    "empty": Failure((), 502, "empty"),
    "done-only": Failure((DONE,), 502, "empty"),
    "comments": Failure((b": ping\n\n", b": ping\n\n"), 502, "empty"),
    "page": Failure((b"<!DOCTYPE html><html>", b"<title>Login</title></html>"), 502, "not_sse"),
    "cut": Failure((ROLE, THOUGHT, TEXT[:30]), 502, "truncated"),
}  # fmt: skip
# Visible first: the status is 200, and the code is that of the error event at the end.
LATE = {
    "late-error": ((TEXT, TEXT, failed("busy", code="overloaded_error")), "overloaded_error"),
    "late-cut": ((TEXT, TEXT, TEXT[:30]), "truncated"),
}


@contextmanager
def upstream() -> Iterator[Upstream]:
    """An upstream in a thread, with all streams and the failures."""
    with Upstream.in_thread(STREAMS) as up:
        for name, failure in FAILURES.items():
            up.add(name, failure.steps)
        for name, (steps, _) in LATE.items():
            up.add(name, steps)
        limited = b'{"error": {"message": "slow down", "code": "rate_limit_exceeded"}}'
        headers = {"content-type": "application/json", "retry-after": "7"}
        up.add("limited", [limited], 429, headers)
        up.add("silent", [TEXT, math.inf])
        up.add("thinking", [ROLE, THOUGHT, math.inf])
        yield up


def path(name: str) -> str:
    """The path of a route, at the upstream and at a gateway."""
    return f"/v1/{name}/chat/completions"


class Answer(NamedTuple):
    """A response that was read to its end, as HTTP has it."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def error(self) -> Any:
        """The error of a JSON answer."""
        assert self.headers["content-type"] == "application/json"
        assert self.headers["content-length"] == str(len(self.body))
        return json.loads(self.body)["error"]

    def late_error(self, before: bytes) -> Any:
        """The error event that follows *before* and ends the body."""
        assert self.status == 200
        assert self.headers["content-type"].startswith("text/event-stream")
        assert self.body.startswith(before + b"data: "), self.body
        rest = self.body[len(before) + 6 :]
        assert rest.endswith(b"}\n\n")
        assert rest.count(b"\n") == 2
        return json.loads(rest)["error"]


class Client:
    """One connection of HTTP/1.1, which has to live through all its requests."""

    def __init__(self, origin: str) -> None:
        address = urlsplit(origin)
        assert address.hostname is not None
        self._connection = HTTPConnection(address.hostname, address.port, timeout=30)
        self._connection.connect()
        self._socket = self._connection.sock

    def post(self, route: str) -> Answer:
        """Ask for a route, and read the whole answer."""
        headers = {"content-type": "application/json"}
        self._connection.request("POST", route, b"{}", headers)
        answer = self._connection.getresponse()
        body = answer.read()
        assert self._connection.sock is self._socket, "the server closed the connection"
        return Answer(answer.status, {k.lower(): v for k, v in answer.getheaders()}, body)

    def close(self) -> None:
        self._connection.close()


@contextmanager
def connected(origin: str) -> Iterator[Client]:
    """A client with a connection to *origin*."""
    client = Client(origin)
    try:
        yield client
    finally:
        client.close()


@contextmanager
def asked(origin: str, route: str, receive_buffer: int | None = None) -> Iterator[socket.socket]:
    """A connection on which a route was asked for, and nothing was read yet."""
    address = urlsplit(origin)
    with socket.socket() as connection:
        if receive_buffer is not None:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        connection.settimeout(30)
        connection.connect((address.hostname, address.port))
        head = f"POST {route} HTTP/1.1\r\nHost: gateway\r\nContent-Length: 2\r\n\r\n"
        connection.sendall(head.encode() + b"{}")
        yield connection


def read_until(connection: socket.socket, mark: bytes) -> bytes:
    """Read until *mark* has come; return all that was read."""
    seen = b""
    while mark not in seen:
        data = connection.recv(65536)
        assert data, f"the connection ended without {mark!r}: {seen!r}"
        seen += data
    return seen


def gated(up: Upstream, name: str, *steps: Any) -> Gate:
    """Add a route that waits for a gate before it ends well."""
    gate = Gate()
    up.add(name, [*steps, gate, FINISH, DONE])
    return gate


# More than the kernel's buffers on the way hold: of the upstream's connection, and of the
# client's (Linux: 6 MB of received and 4 MB of sent data each, where nothing else is set).
MOST_BYTES = 24 * 1024 * 1024


def check_that_a_slow_reader_slows(up: Upstream, origin: str) -> None:
    """Check that nothing is read ahead of a client that reads nothing."""
    piece = TEXT * 700  # about 64 KiB
    given = 0
    flowing = threading.Event()

    def steps(_request: Any) -> Iterator[Any]:
        nonlocal given
        for _ in itertools.count():
            given += len(piece)
            if given > 8 * len(piece):
                flowing.set()
            yield piece

    up.add("endless", steps)
    with asked(origin, path("endless"), receive_buffer=4096) as connection:
        assert flowing.wait(30)
        # Other requests are the clock: while they are served, 100 MB could flow and do not.
        with connected(origin) as client:
            for _ in range(20):
                assert client.post(path("deepseek")).status == 200
        assert given < MOST_BYTES
        # It has only been waiting: what is read makes room for more.
        before, read = given, 0
        while given == before:
            read += len(connection.recv(65536))
        assert read
    drained(up)
    assert up.open_connections == 0
