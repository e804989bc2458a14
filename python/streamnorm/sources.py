"""What may be normalised: how a source of any shape is recognised, read and closed.

Shapes, not classes, are looked at: none of the libraries is imported, and their next
version or a look-alike works as well.
"""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any, Final, cast

from . import captured, faults
from .chunk_reads import AsyncChunkReads, has_chunk_reads, is_chunk_pair

_ACCEPTED: Final = (
    "an asynchronous source: an async iterator of bytes, str, dicts or chunk objects, an httpx, "
    "httpx2, aiohttp or pyreqwest response, a LiteLLM stream, or an awaitable of one of these"
)

# What LiteLLM's CustomStreamWrapper sets in its constructor, in every version from 1.78 on
# (litellm/litellm_core_utils/streaming_handler.py). Its adapters to other APIs have a
# ``completion_stream`` too, but not the others, and do not yield chat chunks.
_WRAPPER_MARKS: Final = ("completion_stream", "logging_obj", "_hidden_params")

_Begin = Callable[[], AsyncIterator[object]]
_Read = Callable[[], Awaitable[object]]

# A future or task, told by its shape: importing asyncio would be a third of our import.
_FUTURE_MARKS: Final = ("__await__", "cancel", "cancelled", "done", "exception", "result")

# What a line begins with that is no comment.
_FIELDS: Final = (b"data:", b"event:", b"id:", b"retry:")

# Where SDK objects keep the stream or response that they read from.
_NESTED: Final = ("completion_stream", "response")
_NESTED_DEPTH: Final = 4


class Source:
    """A source that is read and closed in one way, whatever its shape.

    Args:
        given: See `normalize_stream`. Nothing of it is touched before `open`.

    Raises:
        TypeError: *given* has none of the shapes.
    """

    __slots__ = ("_awaiting", "_closing", "_given", "_iterator", "_read", "_targets")

    def __init__(self, given: object) -> None:
        if given is not None:
            _check(given)
        self._given = given
        self._iterator: object = None
        # What gives its next item, bound once.
        self._read: _Read | None = None
        self._targets: Sequence[object] = ()
        self._closing = False
        self._awaiting = False

    @property
    def wrapper(self) -> object | None:
        """The source itself, if it is LiteLLM's stream wrapper (known once awaited), or None."""
        return self._given if is_litellm_stream(self._given) else None

    @property
    def is_none(self) -> bool:
        """There is no source: None was given."""
        return self._given is None

    @property
    def status(self) -> int | None:
        """HTTP status, where the source is a response (known once awaited)."""
        return status_of(self._given)

    @property
    def plain(self) -> Callable[[], Awaitable[object]] | None:
        """What gives the next item once the source is open, and nothing at the end.

        Not every source raises StopAsyncIteration here: of aiohttp's responses, what its own
        iterator would only pass on is read directly.
        """
        if self._read is None:
            return None
        read = peek_at(_content(self._given), "readany")
        is_any = callable(read) and _is_of_aiohttp(self._given)
        return cast(_Read, read) if is_any else self._read

    @property
    def headers(self) -> dict[str, str] | None:
        """Header fields by lower-case name, where the source is a response or reads from one."""
        return headers_of(self._given) or headers_of(unread_response(self._given))

    async def open(self) -> Callable[[], Awaitable[object]]:
        """Await the source where it has to be, and start to iterate.

        Returns:
            What gives the next item, and raises StopAsyncIteration at the end.

        Raises:
            StreamFault: Of kind ``none_stream``: the awaitable gave None.
            TypeError: It gave something that has none of the shapes.
            Exception: What awaiting raised, as it is.
        """
        while (begin := _reader(self._given)) is None:
            awaitable: Any = self._given
            self._awaiting = True
            try:
                with captured.call():
                    self._given = await awaitable
                    _check(self._given)
            finally:
                self._awaiting = False
        iterator = begin()
        self._iterator = iterator
        self._read = iterator.__anext__
        return self._read

    async def close(self) -> None:
        """Close the iterator, the source and what the source reads from.

        May be called again: then only what was busy is tried again. An async generator in
        which another task is waiting cannot be closed, nor can a coroutine that it awaits;
        that task has to call this as well, once it has its answer.

        Raises:
            Exception: The first error of the iterator or the source itself, after all
                were tried; of what lies below them errors do not matter.
            BaseException: A cancellation, likewise after all were tried.
        """
        if self._awaiting:
            return
        if not self._closing:
            self._closing = True
            self._targets = self._holdings()
        targets, self._targets = self._targets, ()
        busy: list[object] = []
        failed: BaseException | None = None
        for target in targets:
            if getattr(target, "ag_running", False) is True:
                busy.append(target)
                self._targets = busy
                continue
            try:
                await shut(target)
            except GeneratorExit:
                raise  # nothing may be awaited any more
            except Exception as error:  # noqa: BLE001 - raised below
                if failed is None and (target is self._given or target is self._iterator):
                    failed = error
            except BaseException as error:  # noqa: BLE001 - raised below
                # One cancellation must not leave the rest open; it goes on afterwards.
                failed = error
        if failed is not None:
            raise failed

    def _holdings(self) -> list[object]:
        given = self._given
        if self._iterator is None and _has_result(given):
            # The task was ready when its result could no longer be taken.
            given = given.result()  # type: ignore[attr-defined]
        return holdings(self._iterator, given)


def holdings(iterator: object, given: object) -> list[object]:
    """What has to be closed: the iterator, the source, and what the source reads from."""
    found = [] if iterator is None else [iterator]
    # Collected before anything is closed: closing may clear the attributes.
    at: object = given
    for _ in range(_NESTED_DEPTH):
        if at is None:
            break
        if not any(at is other for other in found):
            found.append(at)
        at = next((below for name in _NESTED if (below := peek_at(at, name)) is not None), None)
    return found


def status_of(response: object) -> int | None:
    """The HTTP status of a response; None where *response* is none.

    httpx, httpx2 and requests call it ``status_code``, aiohttp, urllib3 and http.client
    ``status``. Only what has header fields as well is a response.
    """
    if headers_of(response) is None:
        return None
    for name in ("status_code", "status"):
        status = peek_at(response, name)
        if isinstance(status, int) and not isinstance(status, bool):
            return status
    return None


def headers_of(response: object) -> dict[str, str] | None:
    """The header fields of a response by lower-case name; None where *response* is none."""
    headers = None if is_litellm_stream(response) else peek_at(response, "headers")
    items = getattr(headers, "items", None)
    if not callable(items):
        return None
    return {str(name).lower(): str(value) for name, value in cast(Any, items())}


def is_litellm_stream(source: object) -> bool:
    """Whether *source* has the shape of LiteLLM's ``CustomStreamWrapper``."""
    return hasattr(type(source), "__aiter__") and all(
        hasattr(source, mark) for mark in _WRAPPER_MARKS
    )


class LineEnds:
    """Tells lines without their ends from pieces of a body, and puts the ends back.

    ``aiter_lines()`` of an HTTP client is what its documentation shows for streams; without
    their ends the lines would be one endless line. Nothing tells them from pieces but how
    the first two begin, so the ends are made up once the second is there. Until then
    items pass as they are, because a piece must not wait for the one after it.

    Attributes:
        are_there: The items are pieces: there is nothing to do, now or later.
    """

    __slots__ = ("_first", "_is_lines", "_missing", "are_there")

    def __init__(self) -> None:
        self._first = b""
        self._missing = 0
        self._is_lines = False
        self.are_there: bool = False

    def complete(self, item: bytes) -> bytes:
        """Return what to read in place of the next *item*."""
        if self._is_lines:
            return item + b"\n"
        if self.are_there:
            return item
        if not self._first:
            # Empty ones before it would be blank lines before any event, and mean nothing.
            self._first = item
            self._missing = 1
            self.are_there = item != b"" and not _may_be_line(item, (*_FIELDS, b":"))
        elif not item:
            self._missing += 1
        elif self._is_next_line(item):
            self._is_lines, self._first = True, b""
            return b"\n" * self._missing + item + b"\n"
        else:
            self.are_there = True
        return item

    def _is_next_line(self, item: bytes) -> bool:
        if item.startswith(b":"):
            # A colon may be where a piece was cut: after a key, or in a comment's time of day.
            is_alike = self._missing > 1 or item[:2] == self._first[:2]
            return self._first.startswith(b":") and is_alike and _may_be_line(item, (b":",))
        if not _may_be_line(item, _FIELDS):
            return False
        # Text may speak of "data:", but a line of JSON does not end inside a string.
        bare = self._first.replace(b"\\\\", b"").replace(b'\\"', b"")
        return not bare.startswith(b"data:") or bare.count(b'"') % 2 == 0


def _may_be_line(item: bytes, prefixes: tuple[bytes, ...]) -> bool:
    return item.startswith(prefixes) and b"\n" not in item and b"\r" not in item


def to_bytes(item: object) -> bytes:
    """Bytes of one item of a source of bytes or text.

    Surrogates in a str, which UTF-8 cannot carry: those that stand for undecodable bytes
    (PEP 383) become these bytes again, pairs become their character, others U+FFFD.

    Raises:
        TypeError: *item* is neither bytes-like nor str.
    """
    if isinstance(item, bytes):
        return item
    if isinstance(item, str):
        try:
            return item.encode("utf-8")
        except UnicodeEncodeError:
            return _encode_surrogates(item)
    if isinstance(item, bytearray | memoryview):
        return bytes(item)
    if is_chunk_pair(item):
        return cast("tuple[bytes, bool]", item)[0]
    raise TypeError(
        f"the source gave an item of type {type(item).__name__} after bytes or str; "
        "one source must give one sort of items"
    )


def _encode_surrogates(text: str) -> bytes:
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        paired = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
        return paired.encode("utf-8")


def _reader(source: object) -> _Begin | None:
    """What starts to iterate *source*; None where it cannot be iterated (yet)."""
    response: Any = unread_response(source)
    if response is not None and hasattr(type(source), "__anext__"):
        return cast(_Begin, response.aiter_bytes)
    # httpx and httpx2: decoded content. Their sync responses have the method as well.
    begin = getattr(source, "aiter_bytes", None)
    if callable(begin):
        return None if _is_sync_response(source) else cast(_Begin, begin)
    # aiohttp: ClientResponse.content, a StreamReader; iterating it would split lines,
    # and fail on long ones.
    if _is_of_aiohttp(source):
        return cast(_Begin, cast(Any, _content(source)).iter_any)
    if has_chunk_reads(source, is_async=True):
        return lambda: AsyncChunkReads(source)
    if hasattr(type(source), "__aiter__"):
        return source.__aiter__  # type: ignore[attr-defined, no-any-return]
    if hasattr(type(source), "__anext__"):
        return lambda: source  # type: ignore[return-value]
    return None


def unread_response(source: object) -> object | None:
    """What an SDK's stream object reads from, as long as nothing was read; else None.

    The ``Stream`` and ``AsyncStream`` of OpenAI's SDK, and of those that are generated as it
    is, leave things out of what they make of the bytes (the names of events, an error's own
    fields, whatever comes behind it). A proxy around one, as for tracing, has not the
    method in its own class, and is iterated.
    """
    if not hasattr(type(source), "_iter_events"):
        return None
    response = peek_at(source, "response")
    is_unread = peek_at(response, "is_stream_consumed") is False
    return response if is_unread and peek_at(response, "is_closed") is False else None


def _is_of_aiohttp(source: object) -> bool:
    return callable(getattr(_content(source), "iter_any", None))


def _content(source: object) -> object:
    # A property (requests, httpx) would read the whole body.
    if isinstance(getattr(type(source), "content", None), property):
        return source
    return getattr(source, "content", source)


def _is_sync_response(source: object) -> bool:
    stream = getattr(source, "stream", None)
    return hasattr(type(stream), "__iter__") and not hasattr(type(stream), "__aiter__")


def _check(source: object) -> None:
    if source is None:
        raise faults.none_stream(captured.last())
    if _reader(source) is None and not inspect.isawaitable(source):
        name = type(source).__name__
        raise TypeError(f"normalize_stream needs {_ACCEPTED}; not {name}{_hint(source)}")


def is_model(source: object) -> bool:
    """Whether *source* is a pydantic object, iterating which would give its fields."""
    return hasattr(type(source), "model_dump") and not hasattr(type(source), "__next__")


def _hint(source: object) -> str:
    if is_model(source):
        return ", which is a whole answer: was stream=True left out?"
    if isinstance(source, bytes | bytearray | memoryview | str | dict):
        return ", which is a whole body (see normalize_response)"
    is_sync = hasattr(type(source), "__iter__") or has_chunk_reads(source, is_async=False)
    if is_sync or callable(getattr(source, "aiter_bytes", None)):
        return ", which is synchronous (see normalize_stream_sync)"
    if hasattr(type(source), "__aenter__"):
        return ": enter it with 'async with' and pass what that gives"
    if callable(source):
        return ": call it and pass what that gives"
    return ""


def peek_at(source: object, name: str) -> object | None:
    """An attribute of *source*; None where it has none, or cannot tell."""
    try:
        return getattr(source, name, None)
    except Exception:  # noqa: BLE001 - a property that fails holds nothing that we opened
        return None


def _is_future(source: object) -> bool:
    return all(hasattr(type(source), name) for name in _FUTURE_MARKS)


def _has_result(source: Any) -> bool:
    return (
        _is_future(source)
        and source.done()
        and not source.cancelled()
        and source.exception() is None
    )


async def shut(target: object) -> None:
    """Close *target* by whatever its closing method is called, if it has one.

    A later name is tried where an earlier one fails: of ``aclose`` and ``close``, an
    httpx response refuses the one that does not fit its stream.
    """
    failed: Exception | None = None
    for name in ("aclose", "close", "cancel") if _is_future(target) else ("aclose", "close"):
        method = peek_at(target, name)
        if not callable(method):
            continue
        try:
            result = method()
            if inspect.isawaitable(result):
                await result
        except Exception as error:  # noqa: BLE001 - raised below
            failed = failed or error
        else:
            return
    if failed is not None:
        raise failed
