"""pyreqwest: requests whose streams are in normal form, and arrive as they are sent.

A response that was opened otherwise is a source of `normalize_stream` as it is. What is here
also opens and closes it, and has pyreqwest not hold back the first 64 KiB; see
docs/integrations/pyreqwest.md.
"""

from __future__ import annotations

import asyncio
from collections.abc import Generator, Iterator
from typing import TYPE_CHECKING, Any

try:
    from pyreqwest.request import (
        RequestBuilder,
        StreamRequest,
        SyncRequestBuilder,
        SyncStreamRequest,
    )
except ImportError as _error:
    raise ImportError(
        "streamnorm.integrations.pyreqwest needs pyreqwest: pip install 'streamnorm[pyreqwest]'"
    ) from _error

from .. import NormalizedStream, NormalizedStreamSync, normalize_stream, normalize_stream_sync
from ..chunk_reads import ChunkReads
from ..faults import recognise

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from ._options import StreamOptions

__all__ = ["normalize_request", "normalize_request_sync"]


def normalize_request(
    request: RequestBuilder | StreamRequest, **options: Unpack[StreamOptions]
) -> NormalizedStream:
    """Send *request* when the first item is asked for, and normalise its answer.

    The connection is closed with the stream: at its end, at a fault, where it is left.

    Args:
        request: A builder (``client.post(url).body_json(…)``), or what its
            ``build_streamed()`` gave. A builder's ``streamed_read_buffer_limit`` is set to 0;
            what is built already holds back as much as it was told to.
        options: See `normalize_stream`.

    Raises:
        TypeError: *request* is something else, or an option is unknown or of a wrong type.
        ValueError: An option has a value that is not allowed.
    """
    built: StreamRequest
    if isinstance(request, RequestBuilder):
        built = request.streamed_read_buffer_limit(0).build_streamed()
    elif isinstance(request, StreamRequest):
        built = request
    else:
        raise TypeError(_refusal("normalize_request", request))
    return normalize_stream(_Request(built), **options)


def normalize_request_sync(
    request: SyncRequestBuilder | SyncStreamRequest, **options: Unpack[StreamOptions]
) -> NormalizedStreamSync:
    """As `normalize_request`, for a synchronous client and without an event loop."""
    built: SyncStreamRequest
    if isinstance(request, SyncRequestBuilder):
        built = request.streamed_read_buffer_limit(0).build_streamed()
    elif isinstance(request, SyncStreamRequest):
        built = request
    else:
        raise TypeError(_refusal("normalize_request_sync", request))
    return normalize_stream_sync(_SyncAnswer(built), **options)


class _Facts:
    """What a source is asked for where it is a response, as soon as that is there."""

    def __init__(self, request: Any, response: Any = None) -> None:
        self._request = request
        self._response = response

    @property
    def status(self) -> int | None:
        """HTTP status."""
        return None if self._response is None else self._response.status

    @property
    def headers(self) -> Any:
        """Header fields."""
        return None if self._response is None else self._response.headers


class _Request:
    """A request that is sent when it is awaited."""

    def __init__(self, request: StreamRequest) -> None:
        self._request = request

    def __await__(self) -> Generator[Any, Any, _Answer]:
        return self._sent().__await__()

    async def _sent(self) -> _Answer:
        return _Answer(self._request, await self._request.__aenter__())


class _Answer(_Facts):
    """An answer that has begun; its chunks, as an async iterator.

    pyreqwest closes it only once no read is pending, and has nothing to end one from outside
    of its task: so what the read waits for is kept here, and cancelled.
    """

    def __init__(self, request: Any, response: Any) -> None:
        super().__init__(request, response)
        self._read = response.body_reader.read_chunk
        self._awaited: Any = None
        self._is_closed = False

    def __aiter__(self) -> _Answer:
        return self

    async def __anext__(self) -> bytes:
        try:
            data = None if self._is_closed else await _Await(self, self._read())
        except asyncio.CancelledError:
            if not self._is_closed:
                raise
            data = None
        if data is None:
            raise StopAsyncIteration
        return bytes(data)

    async def aclose(self) -> None:
        """Close the connection; a pending read of another task is the last."""
        self._is_closed = True
        if self._awaited is not None:
            self._awaited.cancel()
        await self._request.__aexit__(None, None, None)


class _Await:
    """Awaits *work*, and tells *answer* the future that it waits for."""

    __slots__ = ("_answer", "_work")

    def __init__(self, answer: _Answer, work: Any) -> None:
        self._answer = answer
        self._work = work

    def __await__(self) -> Generator[Any, Any, Any]:
        answer, work = self._answer, self._work.__await__()
        go_on, given = work.send, None
        while True:
            try:
                awaited = go_on(given)
            except StopIteration as done:
                return done.value
            answer._awaited = awaited
            try:
                given = yield awaited
                go_on = work.send
            except BaseException as error:  # noqa: BLE001 - goes where it belongs
                go_on, given = work.throw, error
            finally:
                answer._awaited = None


class _SyncAnswer(_Facts):
    """The answer to a request that is sent when the first bytes are asked for."""

    def __iter__(self) -> Iterator[bytes]:
        try:
            self._response = self._request.__enter__()
        except Exception as error:
            # An upstream that refuses, or is not there, is a fault; other mistakes are none.
            fault = recognise(error)
            if fault is None:
                raise
            raise fault from error
        return ChunkReads(self._response)

    def close(self) -> None:
        """Close the connection, if there is one."""
        if self._response is not None:
            self._request.__exit__(None, None, None)


def _refusal(function: str, given: object) -> str:
    kind = type(given)
    name = f"{kind.__module__.partition('.')[0]}.{kind.__qualname__}"
    return f"{function} needs a request builder of pyreqwest, not {name}"
