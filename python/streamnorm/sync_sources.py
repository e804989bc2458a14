"""What may be normalised without an event loop: the synchronous half of `sources`."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final, cast

from .chunk_reads import ChunkReads, has_chunk_reads
from .sources import (
    headers_of,
    holdings,
    is_litellm_stream,
    is_model,
    peek_at,
    status_of,
    unread_response,
)

_ACCEPTED: Final = (
    "a synchronous source: an iterable of bytes, str, dicts or chunk objects, a requests, httpx, "
    "httpx2, urllib3 or pyreqwest response, or a LiteLLM stream"
)

# Bytes that one read may give at most. It returns what is there, and waits for no more.
READ_BYTES: Final = 64 * 1024

_Begin = Callable[[], Iterator[object]]


class SyncSource:
    """A source that is read and closed in one way, whatever its shape; see `sources.Source`.

    Args:
        given: See `normalize_stream_sync`. Nothing of it is touched before `open`.

    Raises:
        TypeError: *given* has none of the shapes.
    """

    __slots__ = ("_closing", "_given", "_iterator", "_targets")

    def __init__(self, given: object) -> None:
        if given is not None and _reader(given) is None:
            name = type(given).__name__
            raise TypeError(f"normalize_stream_sync needs {_ACCEPTED}; not {name}{_hint(given)}")
        self._given = given
        self._iterator: object = None
        self._targets: list[object] = []
        self._closing = False

    @property
    def is_none(self) -> bool:
        """There is no source: None was given."""
        return self._given is None

    @property
    def wrapper(self) -> object | None:
        """The source itself, if it is LiteLLM's stream wrapper, or None."""
        return self._given if is_litellm_stream(self._given) else None

    @property
    def status(self) -> int | None:
        """HTTP status, where the source is a response."""
        return status_of(self._given)

    @property
    def headers(self) -> dict[str, str] | None:
        """Header fields by lower-case name, where the source is a response or reads from one."""
        return headers_of(self._given) or headers_of(unread_response(self._given))

    def open(self) -> Callable[[], object]:
        """Start to iterate; return what gives the next item, and raises StopIteration."""
        begin = _reader(self._given)
        assert begin is not None
        iterator = begin()
        self._iterator = iterator
        return iterator.__next__

    def close(self) -> None:
        """Close the iterator, the source and what the source reads from.

        May be called again: then only what was busy is tried again. A generator in which
        another thread is waiting cannot be closed; that thread has to call this as well, once
        it has its answer.

        Raises:
            Exception: The first error of the iterator or the source itself, after all were
                tried; of what lies below them errors do not matter.
            BaseException: An interrupt, likewise after all were tried.
        """
        if not self._closing:
            self._closing = True
            self._targets = holdings(self._iterator, self._given)
        targets, self._targets = self._targets, []
        failed: BaseException | None = None
        for target in targets:
            if getattr(target, "gi_running", False) is True:
                self._targets.append(target)
                continue
            try:
                _shut(target)
            except Exception as error:  # noqa: BLE001 - raised below
                if failed is None and (target is self._given or target is self._iterator):
                    failed = error
            except BaseException as error:  # noqa: BLE001 - raised below
                # One interrupt must not leave the rest open; it goes on afterwards.
                failed = error
        if failed is not None:
            raise failed


class _Reads:
    """Reads of what has come: of urllib3 from 2.2 on, of http.client, of a buffered file.

    No generator, which could not be closed while another thread waits in it.
    """

    __slots__ = ("_options", "_read")

    def __init__(self, body: Any) -> None:
        self._read = body.read1
        # Only urllib3's (told by a method that nothing else has) can decode the content.
        self._options = {"decode_content": True} if hasattr(body, "drain_conn") else {}

    def __iter__(self) -> _Reads:
        return self

    def __next__(self) -> bytes:
        data: bytes | None = self._read(READ_BYTES, **self._options)
        if not data:
            raise StopIteration
        return data


def _reader(source: object) -> _Begin | None:
    """What starts to iterate *source*; None where it cannot be iterated."""
    if _is_whole(source) or _is_async(source):
        return None
    response: Any = unread_response(source)
    if response is not None and hasattr(type(source), "__next__"):
        return cast(_Begin, response.iter_bytes)
    # A property (requests, httpx) would read the whole body: only methods are looked at.
    if callable(getattr(source, "iter_content", None)):
        return lambda: _of_requests(source)
    begin = getattr(source, "iter_bytes", None)
    if callable(begin):
        return cast(_Begin, begin)
    if any(callable(getattr(source, name, None)) for name in ("read1", "read_chunked")):
        return lambda: _of_body(source)
    if has_chunk_reads(source, is_async=False):
        return lambda: ChunkReads(source)
    if hasattr(type(source), "__iter__"):
        return lambda: iter(cast("Iterable[object]", source))
    if hasattr(type(source), "__next__"):
        return lambda: cast("Iterator[object]", source)
    return None


def _of_requests(response: Any) -> Iterator[object]:
    if getattr(response, "_content_consumed", False):
        return _content_of(response)
    raw = getattr(response, "raw", None)
    if callable(getattr(raw, "read1", None)):
        return _Reads(raw)
    # As below; one byte is what requests itself reads at a time where nothing is said.
    items = response.iter_content(None) if _is_chunked(raw) else response.iter_content()
    return cast("Iterator[object]", items)


def _content_of(response: Any) -> Iterator[bytes]:
    yield response.content  # raises where it was read piece by piece, and is gone


def _of_body(body: Any) -> Iterator[object]:
    if getattr(body, "closed", False) is True:
        # urllib3 has read it all at once (``preload_content``), and kept it.
        data = peek_at(body, "data")
        if data and isinstance(data, bytes):
            return iter((data,))
    if callable(getattr(body, "read1", None)):
        return _Reads(body)
    # urllib3 before 2.2 cannot tell what is there. A chunk of the transfer coding was whole
    # when it was sent; of other bodies anything longer than one byte may have to be waited for.
    items = body.stream(None if _is_chunked(body) else 1, decode_content=True)
    return cast("Iterator[object]", items)


def _is_chunked(body: object) -> bool:
    return getattr(body, "chunked", False) is True


def _is_whole(source: object) -> bool:
    return isinstance(source, bytes | bytearray | memoryview | str | dict) or is_model(source)


def _is_async(source: object) -> bool:
    """Whether *source*, which has the methods of a synchronous one, works with await only."""
    if is_litellm_stream(source):
        # One class for both; what it reads from, or will get that from, is of one sort.
        inner = peek_at(source, "completion_stream")
        if inner is not None:
            return _is_async_only(inner, "__next__")
        return inspect.iscoroutinefunction(peek_at(source, "make_call"))
    if inspect.isasyncgenfunction(getattr(source, "iter_bytes", None)):  # OpenAI's SDK
        return True
    if has_chunk_reads(source, is_async=True):  # pyreqwest
        return True
    # httpx: a response of either client has the methods of both.
    return callable(getattr(source, "iter_bytes", None)) and _is_async_only(
        getattr(source, "stream", None), "__iter__"
    )


def _is_async_only(source: object, mark: str) -> bool:
    return hasattr(type(source), "__aiter__") and not hasattr(type(source), mark)


def _hint(source: object) -> str:
    if is_model(source):
        return ", which is a whole answer: was stream=True left out?"
    if _is_whole(source):
        return ", which is a whole body (see normalize_response)"
    kind = type(source)
    if _is_async(source) or any(
        hasattr(kind, name) for name in ("__aiter__", "__anext__", "__await__")
    ):
        return ", which is asynchronous (see normalize_stream)"
    if hasattr(kind, "__enter__"):
        return ": enter it with 'with' and pass what that gives"
    if hasattr(kind, "__aenter__"):
        return ", which is asynchronous (see normalize_stream)"
    if callable(source):
        return ": call it and pass what that gives"
    return ""


def _shut(target: object) -> None:
    close = peek_at(target, "close")
    if callable(close):
        close()
