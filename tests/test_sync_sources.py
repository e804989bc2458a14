"""What may be normalised without an event loop: shapes and refusals."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest

from streamnorm import StreamFault, normalize_stream, normalize_stream_sync
from streamnorm._engine import Engine
from streamnorm.sync_sources import READ_BYTES

from .aio import deltas, run
from .blocking import Script, collect, collect_sse
from .helpers import DONE, chunk, event, reads, stream

BODY = stream({"reasoning": "why"}, {"content": "so"})
DELTAS = [{"reasoning_content": "why"}, {"content": "so"}, {}]
ASYNC = "which is asynchronous (see normalize_stream)"
SYNC = "which is synchronous (see normalize_stream_sync)"


def assert_whole(source: object, engine: Engine | None = None) -> Any:
    items = normalize_stream_sync(source, _engine_module=engine)
    chunks, fault = collect(items)
    assert fault is None
    assert deltas(chunks) == DELTAS
    return items


# Items and iterables. --------------------------------------------------------------------


@pytest.mark.parametrize("wrap", [bytes, bytearray, memoryview, bytes.decode])
@pytest.mark.parametrize("shape", [list, tuple, iter, lambda items: (item for item in items)])
def test_every_sort_of_piece_and_iterable(
    engine: Engine, wrap: Callable[[bytes], Any], shape: Callable[[Any], Any]
) -> None:
    pieces = [wrap(BODY[at : at + 7]) for at in range(0, len(BODY), 7)]
    assert_whole(shape(pieces), engine)


def test_an_iterator_without_iter() -> None:
    class Bare:
        def __init__(self) -> None:
            self.items = iter([BODY])

        def __next__(self) -> bytes:
            return next(self.items)

    assert_whole(Bare())


def test_files(tmp_path: Any) -> None:
    path = tmp_path / "x.sse"
    path.write_bytes(BODY)
    for mode, more in (("rb", {}), ("rb", {"buffering": 0}), ("r", {"encoding": "utf-8"})):
        with open(path, mode, **more) as file:
            assert_whole(file)
            assert file.closed
    assert_whole(io.BytesIO(BODY))
    assert_whole(io.StringIO(BODY.decode()))


def test_lines_without_their_ends(engine: Engine) -> None:
    assert_whole(BODY.splitlines(), engine)
    assert_whole(BODY.decode().splitlines(), engine)


def test_a_buffered_file_is_read_as_it_comes() -> None:
    class Pipe(io.RawIOBase):
        """A file whose next piece comes only once the one before it was delivered."""

        def __init__(self, *pieces: bytes) -> None:
            self.pieces = list(pieces)
            self.delivered = self.given = 0

        def readable(self) -> bool:
            return True

        def readinto(self, buffer: Any) -> int:
            assert self.delivered == self.given, "it was waited for more than there is"
            if not self.pieces:
                return 0
            piece = self.pieces.pop(0)
            self.given += 1
            buffer[: len(piece)] = piece
            return len(piece)

    events = [event(chunk({"content": str(n)})) for n in range(5)]
    pipe = Pipe(*events, DONE)
    items = normalize_stream_sync(io.BufferedReader(pipe, 64 * 1024))
    for _ in events:
        next(items)
        pipe.delivered += 1
    assert next(items, "end") == "end"
    assert pipe.closed


# Refusals. ------------------------------------------------------------------------


class Manager:
    def __enter__(self) -> None: ...
    def __exit__(self, *_: object) -> None: ...


class AsyncManager:
    async def __aenter__(self) -> None: ...
    async def __aexit__(self, *_: object) -> None: ...


class AsyncOnly:
    def __aiter__(self) -> Any: ...


class AsyncResponse:
    """One of the OpenAI SDK's."""

    async def iter_bytes(self) -> AsyncIterator[bytes]:
        yield BODY


class AsyncWrapper(AsyncOnly):
    """LiteLLM's wrapper, made by an asynchronous call: one class for both."""

    logging_obj = _hidden_params = None

    def __init__(self, inner: Any, make_call: Any = None) -> None:
        self.completion_stream = inner
        self.make_call = make_call

    def __iter__(self) -> Any: ...
    def __next__(self) -> Any: ...


async def pieces() -> AsyncIterator[bytes]:
    yield BODY


async def opening(client: Any = None) -> Any: ...


@pytest.mark.parametrize(
    ("source", "words"),
    [
        (b"data: x", "not bytes, which is a whole body (see normalize_response)"),
        ("data: x", "not str, which is a whole body"),
        ({"choices": []}, "not dict, which is a whole body"),
        (AsyncOnly(), f"not AsyncOnly, {ASYNC}"),
        (pieces(), f"not async_generator, {ASYNC}"),
        (AsyncManager(), f"not AsyncManager, {ASYNC}"),
        (AsyncResponse(), f"not AsyncResponse, {ASYNC}"),
        (AsyncWrapper(AsyncOnly()), f"not AsyncWrapper, {ASYNC}"),
        (AsyncWrapper(None, opening), f"not AsyncWrapper, {ASYNC}"),
        (Manager(), "not Manager: enter it with 'with'"),
        (pieces, "not function: call it"),
        (7, "or a LiteLLM stream; not int"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_wrong_type_is_refused_at_once(source: Any, words: str) -> None:
    with pytest.raises(TypeError) as raised:
        normalize_stream_sync(source)
    assert words in str(raised.value)


def test_a_coroutine_is_refused() -> None:
    coroutine = opening()
    with pytest.raises(TypeError, match="not coroutine, which is asynchronous"):
        normalize_stream_sync(coroutine)
    coroutine.close()


def test_wrappers_that_may_be_synchronous_are_not_refused() -> None:
    both = type("Both", (AsyncOnly,), {"__next__": lambda _: None})()
    for wrapper in (AsyncWrapper(both), AsyncWrapper(None, lambda client: None)):
        normalize_stream_sync(wrapper)


@pytest.mark.parametrize(
    "source",
    [[BODY], iter([BODY]), io.BytesIO(BODY), Script([BODY])],
    ids=lambda value: type(value).__name__,
)
def test_synchronous_sources_are_refused_by_the_asynchronous_stream(source: Any) -> None:
    with pytest.raises(TypeError) as raised:
        normalize_stream(source)
    assert SYNC in str(raised.value)


@pytest.mark.parametrize("module", ["httpx", "httpx2"])
def test_an_asynchronous_response_is_refused(module: str) -> None:
    httpx: Any = pytest.importorskip(module)

    class Body(httpx.AsyncByteStream):  # type: ignore[misc]
        async def __aiter__(self) -> Any:
            yield BODY

    with pytest.raises(TypeError, match="not Response, which is asynchronous"):
        normalize_stream_sync(httpx.Response(200, stream=Body()))


@pytest.mark.parametrize("normalize", [normalize_stream_sync, normalize_stream])
def test_a_whole_answer_is_refused(normalize: Any) -> None:
    pydantic = pytest.importorskip("pydantic")

    class ChatCompletion(pydantic.BaseModel):  # type: ignore[misc, name-defined]
        choices: list[Any]

    with pytest.raises(TypeError, match="whole answer: was stream=True left out"):
        normalize(ChatCompletion(choices=[]))


def test_an_awaitable_of_a_whole_answer_says_so() -> None:
    pydantic = pytest.importorskip("pydantic")

    class ChatCompletion(pydantic.BaseModel):  # type: ignore[misc, name-defined]
        choices: list[Any]

    async def answer() -> Any:
        return ChatCompletion(choices=[])

    async def main() -> None:
        with pytest.raises(TypeError, match="was stream=True left out"):
            await anext(normalize_stream(answer()))

    run(main())


def test_properties_that_would_read_the_body_are_not_touched() -> None:
    class Response:
        status_code = 200
        headers: dict[str, str] = {}  # noqa: RUF012

        @property
        def content(self) -> bytes:
            raise AssertionError("the body was read")

        text = data = content

        def iter_content(self) -> Iterator[bytes]:
            yield BODY

    assert_whole(Response())


# Responses by their shape. ---------------------------------------------------------------------


class Urllib3:
    """A response of urllib3 before 2.2, which has no ``read1``.

    Args:
        chunks: Of the transfer coding, or with *chunked* unset pieces of the body.
        chunked: The transfer coding is in use.
    """

    status = 200
    headers = {"Content-Type": "text/event-stream"}  # noqa: RUF012
    closed = False

    def __init__(self, *chunks: bytes, chunked: bool = True) -> None:
        self.chunks = iter(chunks)
        self.chunked = chunked
        self.closes = 0

    def stream(self, amt: int | None, decode_content: bool = False) -> Iterator[bytes]:
        assert decode_content
        return self.read_chunked(amt) if self.chunked else self.read_all(amt)

    def read_chunked(self, amt: int | None = None) -> Iterator[bytes]:
        for piece in self.chunks:
            yield from (piece,) if amt is None else reads(piece, amt)

    def read_all(self, amt: int | None) -> Iterator[bytes]:
        """It waits until so much is there, or the end."""
        have = b""
        for piece in self.chunks:
            have += piece
            while amt and len(have) >= amt:
                yield have[:amt]
                have = have[amt:]
        if have:
            yield have

    def close(self) -> None:
        self.closes += 1


class Requests:
    """A response of requests on top of it."""

    status_code = 200
    headers: dict[str, str] = {}  # noqa: RUF012

    def __init__(self, raw: Urllib3) -> None:
        self.raw = raw
        self.sizes: list[int | None] = []

    def iter_content(self, size: int | None = 1) -> Iterator[bytes]:
        self.sizes.append(size)
        return self.raw.stream(size, decode_content=True)

    def close(self) -> None:
        self.raw.close()


@pytest.mark.parametrize("chunked", [True, False])
@pytest.mark.parametrize("wrap", [lambda raw: raw, Requests], ids=["urllib3", "requests"])
def test_an_old_urllib3_gives_each_event_at_once(wrap: Any, chunked: bool) -> None:
    events = [event(chunk({"content": str(n)})) for n in range(3)]
    sent: list[bytes] = []

    def wire() -> Iterator[bytes]:
        for one in events:
            sent.append(one)
            yield one
        raise AssertionError("read on")

    raw = Urllib3(chunked=chunked)
    raw.chunks = wire()
    items = normalize_stream_sync(wrap(raw))
    for n in range(3):
        assert deltas([next(items)]) == [{"content": str(n)}]
        assert len(sent) == n + 1
    items.close()
    assert raw.closes == 1


def test_what_requests_reads_from_is_asked_for_what_is_there() -> None:
    class Raw(Urllib3):
        drain_conn = None

        def read1(self, amt: int, decode_content: bool) -> bytes:
            assert decode_content
            return next(self.chunks, b"")

    response = Requests(Raw(BODY[:50], BODY[50:]))
    assert_whole(response)
    assert response.sizes == []
    assert response.raw.closes == 1


def test_a_response_whose_iterator_takes_no_size() -> None:
    class Response:
        """One of curl_cffi's."""

        status_code = 200
        headers: dict[str, str] = {}  # noqa: RUF012

        def iter_content(self) -> Iterator[bytes]:
            yield BODY

    assert_whole(Response())


def test_reads_are_bounded_and_of_what_is_there() -> None:
    class Raw:
        def __init__(self) -> None:
            self.asked: list[Any] = []
            self.pieces = [BODY[:50], BODY[50:]]

        def read1(self, amt: int) -> bytes | None:
            self.asked.append(amt)
            return self.pieces.pop(0) if self.pieces else None

    raw = Raw()
    assert_whole(raw)
    # [DONE] ended it.
    assert raw.asked == [READ_BYTES, READ_BYTES]
    raw = Raw()
    raw.pieces = [BODY[: -len(DONE)]]
    assert_whole(raw)


def test_a_response_with_an_error_status(engine: Engine) -> None:
    class Response(Requests):
        status_code = 401
        headers = {"X-Request-Id": "r"}  # noqa: RUF012

    for output in (collect, collect_sse):
        raw = Urllib3(b'{"error": {"message":', b' "bad key"}}')
        items = normalize_stream_sync(Response(raw), _engine_module=engine)
        with pytest.raises(StreamFault) as peeked:
            items.peek()
        found, fault = output(items)
        assert not found
        assert fault is peeked.value
        assert (fault.kind, fault.status_code) == ("http_error", 401)
        assert "bad key" in str(fault)
        assert raw.closes == 1
