"""Where the command line reads: a file, standard input, or an address, as the bytes come."""

from __future__ import annotations

import argparse
import base64
import http.client
import json
import re
import sys
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote, urlsplit, urlunsplit

from .. import __version__

# One read takes what is there, at most this much.
READ_BYTES: Final = 64 * 1024
# Of an error body; enough for any provider's message.
_ERROR_BYTES: Final = 64 * 1024
_SHOWN: Final = 300

# RFC 9110 section 5.6.2 (token); a line break in a value would be another header.
_HEADER: Final = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([^\r\n]*)")


class OpenFailed(Exception):
    """The source cannot be opened; the text is the whole message."""


class ReadFailed(Exception):
    """Reading broke off; *error* is the cause."""

    def __init__(self, error: BaseException) -> None:
        super().__init__(str(error))
        self.error = error


class Source:
    """Bytes as they come."""

    def __init__(self, read: Callable[[int], bytes], close: Callable[[], Any]) -> None:
        self._read = read
        self._close = close

    def read(self) -> bytes:
        """Wait for the next bytes and return those that are there; empty at the end.

        Raises:
            ReadFailed: The file or the connection broke.
        """
        try:
            return self._read(READ_BYTES)
        except (OSError, http.client.HTTPException) as error:
            raise ReadFailed(error) from error

    def close(self) -> None:
        """Close what was opened; standard input stays open."""
        self._close()


def open_source(name: str, headers: list[tuple[str, str]], data: str | None) -> Source:
    """Open a file, ``-`` (standard input) or an http(s) address.

    Args:
        name: Path, ``-`` or URL.
        headers: Of the request.
        data: Body of the request, or ``@`` and a path; None makes it a GET.

    Raises:
        OpenFailed: It cannot be read, or the server answered with an error.
    """
    if name == "-":
        return Source(_stdin().read1, lambda: None)
    if name.lower().startswith(("http://", "https://")):
        return _open_url(name, headers, data)
    try:
        file = Path(name).open("rb", buffering=0)  # noqa: SIM115 - Source closes it
    except OSError as error:
        raise OpenFailed(f"cannot open {name}: {error.strerror or error}") from None
    return Source(lambda size: file.read(size) or b"", file.close)


def header(text: str) -> tuple[str, str]:
    """Split ``Name: value``; the type of ``-H``."""
    match = _HEADER.fullmatch(text.strip())
    if match is None:
        raise argparse.ArgumentTypeError(f"{text!r} is not 'Name: value'")
    return match[1], match[2]


def _stdin() -> Any:
    # None in a process without one (pythonw); the text layer must be passed by, since
    # it reads ahead and decodes.
    if sys.stdin is None:
        raise OpenFailed("there is no standard input")
    return sys.stdin.buffer


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Following would carry the credentials to wherever the answer points."""

    def redirect_request(self, *_args: Any, **_kwargs: Any) -> None:
        return None


def _open_url(url: str, headers: list[tuple[str, str]], data: str | None) -> Source:
    body = None if data is None else _body(data)
    request_headers = {"Accept": "text/event-stream", "User-Agent": f"streamnorm/{__version__}"}
    if body is not None:
        request_headers["Content-Type"] = "application/json"
    try:
        url, login = _without_login(url)
        request = urllib.request.Request(url, body, request_headers)  # noqa: S310 - http(s) only
        for name, value in (*login, *headers):
            request.add_header(name, value)
        response = urllib.request.build_opener(_NoRedirect).open(request)
    except urllib.error.HTTPError as error:
        with error:
            raise OpenFailed(f"{_place(url)} answered {_answer(error)}") from None
    except urllib.error.URLError as error:
        reason = error.reason.strerror if isinstance(error.reason, OSError) else None
        raise OpenFailed(f"cannot reach {_place(url)}: {reason or error.reason}") from None
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise OpenFailed(f"cannot reach {_place(url)}: {error}") from None
    return Source(response.read1, response.close)


def _without_login(url: str) -> tuple[str, list[tuple[str, str]]]:
    """Take ``user:password@`` out of *url* and into a header, as curl does; urllib does not."""
    parts = urlsplit(url)
    login, at, place = parts.netloc.rpartition("@")
    if not at:
        return url, []
    coded = base64.b64encode(unquote(login).encode()).decode()
    return urlunsplit(parts._replace(netloc=place)), [("Authorization", f"Basic {coded}")]


def _place(url: str) -> str:
    # Neither a password nor a key in the query belongs into a log.
    try:
        parts = urlsplit(url)
    except ValueError:
        return "the address"
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def _body(data: str) -> bytes:
    if not data.startswith("@"):
        return data.encode()
    try:
        if data == "@-":
            everything: bytes = _stdin().read()
            return everything
        return Path(data[1:]).read_bytes()
    except OSError as error:
        raise OpenFailed(f"cannot open {data[1:]}: {error.strerror or error}") from None


def _answer(error: urllib.error.HTTPError) -> str:
    """Status, and the server's own words where it has some."""
    status = f"HTTP {error.code} {error.reason}".rstrip()
    if location := error.headers.get("Location"):
        return f"{status}, which points to {_place(location)}; redirects are not followed"
    try:
        text = error.read(_ERROR_BYTES).decode("utf-8", "replace").strip()
    except (OSError, http.client.HTTPException):
        text = ""
    return f"{status}: {_message(text)}" if text else status


def _message(text: str) -> str:
    try:
        body = json.loads(text)
    except ValueError:
        return " ".join(text.split())[:_SHOWN]
    error = body.get("error", body) if isinstance(body, dict) else body
    if isinstance(error, dict):
        for key in ("message", "detail"):
            if isinstance(error.get(key), str):
                return str(error[key])
    return error if isinstance(error, str) else " ".join(text.split())[:_SHOWN]
