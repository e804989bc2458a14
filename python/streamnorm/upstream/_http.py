"""As much of HTTP/1.1 (RFC 9112) as the loopback upstream needs: requests in, heads out."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final, Literal
from urllib.parse import unquote

Outcome = Literal["running", "complete", "client_left", "aborted"]

_PATH: Final = re.compile(r"(?:/v1)?/([^/]+)(?:/chat/completions)?/?")


class BadRequest(Exception):
    """What came is not an HTTP/1.x request; the text says why."""


@dataclass
class Request:
    """One request as it came.

    Attributes:
        method: As sent, upper case by convention.
        path: Without the query, still percent-encoded.
        query: After the ``?``; empty where there is none.
        version: ``HTTP/1.1`` or ``HTTP/1.0``.
        headers: Names in lower case; the values of a repeated name are joined with ``, ``.
        body: The body without its transfer coding.
        outcome: How the response ended. ``complete``: all of it was handed to the
            network. ``client_left``: the client closed first. ``aborted``: cut by the
            script or by closing the server.
    """

    method: str
    path: str
    query: str
    version: str
    headers: dict[str, str]
    body: bytes
    outcome: Outcome = "running"

    @property
    def name(self) -> str | None:
        """The route that the path names, or None for another path."""
        match = _PATH.fullmatch(self.path)
        return unquote(match[1]) if match else None

    def json(self) -> Any:
        """The body as JSON.

        Raises:
            ValueError: It is not.
        """
        return json.loads(self.body)


class Reader:
    """Reads requests off one connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def read(self) -> Request | None:
        """The next request, or None where the client closed between two.

        Raises:
            BadRequest: Something else came, or the end came inside a request.
            OSError: The connection broke.
        """
        try:
            return await self._request()
        except asyncio.IncompleteReadError as error:
            if error.partial.strip():
                raise BadRequest("the request ends early") from None
            return None
        except (asyncio.LimitOverrunError, ValueError) as error:
            raise BadRequest(f"not an HTTP request: {error}") from None

    async def _request(self) -> Request:
        head = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        first, *lines = head.strip("\r\n").split("\r\n")
        method, target, version = first.split(" ")
        if version not in ("HTTP/1.0", "HTTP/1.1"):
            raise ValueError(f"version {version!r}")
        headers: dict[str, str] = {}
        for line in lines:
            name, colon, value = line.partition(":")
            if not colon:
                raise ValueError(f"header line {line!r}")
            key, value = name.lower(), value.strip()
            headers[key] = f"{headers[key]}, {value}" if key in headers else value
        path, _, query = target.partition("?")
        return Request(method, path, query, version, headers, await self._body(headers))

    async def _body(self, headers: Mapping[str, str]) -> bytes:
        if headers.get("expect", "").lower() == "100-continue":
            self._writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        if headers.get("transfer-encoding", "").lower() == "chunked":
            return await self._chunks()
        return await self._reader.readexactly(int(headers.get("content-length", "0")))

    async def _chunks(self) -> bytes:
        body = bytearray()
        while True:
            line = await self._reader.readuntil(b"\r\n")
            size = int(line.partition(b";")[0], 16)
            if size == 0:
                while await self._reader.readuntil(b"\r\n") != b"\r\n":
                    pass  # trailer fields
                return bytes(body)
            body += (await self._reader.readexactly(size + 2))[:-2]


def head_bytes(status: int, headers: Mapping[str, str]) -> bytes:
    """The status line and *headers*, up to and with the blank line."""
    try:
        phrase = HTTPStatus(status).phrase
    except ValueError:  # 529 and other codes of a provider's own
        phrase = "Unknown"
    lines = [f"HTTP/1.1 {status} {phrase}", *(f"{name}: {headers[name]}" for name in headers)]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def error_body(message: str, code: str | None) -> bytes:
    """An error in OpenAI's shape: ``{"error": {"message", "type", "param", "code"}}``."""
    error = {"message": message, "type": "invalid_request_error", "param": None, "code": code}
    return json.dumps({"error": error}).encode()
