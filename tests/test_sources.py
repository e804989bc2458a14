"""What may be normalised: shapes, refusals, closing, and the real HTTP clients."""

from __future__ import annotations

import array
import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from streamnorm import StreamFault, normalize_stream
from streamnorm._engine import Engine
from streamnorm.sources import to_bytes

from .aio import Script, collect, collect_sse, deltas, run
from .helpers import DONE, chunk, event, stream

BODY = stream({"reasoning": "why"}, {"content": "so"})
DELTAS = [{"reasoning_content": "why"}, {"content": "so"}, {}]


async def pieces(*items: Any) -> AsyncIterator[Any]:
    for item in items:
        yield item


# Items. ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("item", "expected"),
    [
        (b"a\xff", b"a\xff"),
        (bytearray(b"ab"), b"ab"),
        (memoryview(b"abcd")[::2], b"ac"),
        (memoryview(array.array("H", [0x4141])), b"AA"),
        ("é😀", "é😀".encode()),
        ("", b""),
        ("a\udcff\udc80", b"a\xff\x80"),
        ("\ud83d\ude00!", "😀!".encode()),
        ("a\ud83d", "a\ufffd".encode()),
    ],
    # Not repr: a memoryview's is another one in every process.
    ids=[
        "bytes",
        "bytearray",
        "strided memoryview",
        "memoryview of integers",
        "text",
        "no text",
        "undecodable bytes",
        "surrogate pair",
        "lone surrogate",
    ],
)
def test_bytes_and_text_become_bytes(item: Any, expected: bytes) -> None:
    assert to_bytes(item) == expected
    assert type(to_bytes(item)) is bytes


@pytest.mark.parametrize("wrap", [bytes, bytearray, memoryview, bytes.decode])
def test_every_sort_of_piece(engine: Engine, wrap: Callable[[bytes], Any]) -> None:
    async def main() -> None:
        source = pieces(*(wrap(BODY[at : at + 7]) for at in range(0, len(BODY), 7)))
        chunks, fault = await collect(normalize_stream(source, _engine_module=engine))
        assert deltas(chunks) == DELTAS
        assert fault is None

    run(main())


# Refusals. ------------------------------------------------------------------------


class _Manager:
    async def __aenter__(self) -> None: ...
    async def __aexit__(self, *_: object) -> None: ...


@pytest.mark.parametrize(
    ("source", "words"),
    [
        (b"data: x", "not bytes, which is a whole body (see normalize_response)"),
        ({"choices": []}, "not dict, which is a whole body"),
        ([b"data"], "not list, which is synchronous"),
        (iter([b"data"]), "not list_iterator, which is synchronous"),
        (pieces, "not function: call it"),
        (_Manager(), "not _Manager: enter it with 'async with'"),
        (7, "or an awaitable of one of these; not int"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_wrong_type_is_refused_at_once(source: Any, words: str) -> None:
    with pytest.raises(TypeError) as raised:
        normalize_stream(source)
    assert words in str(raised.value)

    async def main() -> None:
        async def later() -> Any:
            return source

        with pytest.raises(TypeError) as raised:
            await anext(normalize_stream(later()))
        assert words in str(raised.value)

    run(main())


def test_a_synchronous_response_is_refused() -> None:
    httpx = pytest.importorskip("httpx")

    class Body(httpx.SyncByteStream):  # type: ignore[misc, name-defined]
        closed = False

        def __iter__(self) -> Any:
            yield BODY

        def close(self) -> None:
            self.closed = True

    body = Body()
    response = httpx.Response(200, stream=body)
    with pytest.raises(TypeError, match="not Response, which is synchronous"):
        normalize_stream(response)

    async def main() -> None:
        async def later() -> Any:
            return response

        with pytest.raises(TypeError, match="synchronous"):
            await anext(normalize_stream(later()))

    run(main())
    assert body.closed


def test_a_property_that_would_read_the_body_is_not_touched() -> None:
    class Response:
        @property
        def content(self) -> bytes:
            raise AssertionError("the body was read")

        def __iter__(self) -> Any:
            return iter(())

    with pytest.raises(TypeError, match="synchronous"):
        normalize_stream(Response())


@pytest.mark.parametrize("options", [{"reasonin": "x"}, {"keep_original": 1}])
def test_wrong_options_are_refused_at_once(options: Any) -> None:
    with pytest.raises(TypeError):
        normalize_stream(Script([]), **options)
    with pytest.raises(ValueError, match="must be one of"):
        normalize_stream(Script([]), reasoning="thoughts")


# None and awaitables. ---------------------------------------------------------------


@pytest.mark.parametrize("output", ["chunks", "sse", "peek"])
def test_none_is_a_fault_of_the_first_read(output: str) -> None:
    async def main() -> None:
        items = normalize_stream(None)
        fault = items.fault
        assert fault is not None
        assert (fault.kind, fault.blame, fault.safe_to_retry) == ("none_stream", "request", False)
        assert "drop_params" in str(fault)
        if output == "peek":
            with pytest.raises(StreamFault) as raised:
                await items.peek()
            assert raised.value is fault
        found, raised_fault = await (collect_sse if output == "sse" else collect)(items)
        assert not found
        assert raised_fault is fault

    run(main())


def test_an_awaitable_is_awaited_when_the_first_item_is_asked_for(engine: Engine) -> None:
    async def main() -> None:
        source = Script([BODY])

        async def inner() -> Any:
            return source

        async def outer() -> Any:
            return asyncio.ensure_future(inner())

        chunks, fault = await collect(normalize_stream(outer(), _engine_module=engine))
        assert deltas(chunks) == DELTAS
        assert fault is None
        assert source.closes == 1

    run(main())


def test_an_awaitable_of_none() -> None:
    async def main() -> None:
        async def nothing() -> None: ...

        items = normalize_stream(nothing())
        chunks, fault = await collect(items)
        assert chunks == []
        assert fault is not None
        assert fault.kind == "none_stream"

    run(main())


def test_what_awaiting_raises_passes_as_it_is() -> None:
    async def main() -> None:
        error = ValueError("no such model")

        async def failing() -> None:
            raise error

        items = normalize_stream(failing())
        with pytest.raises(ValueError, match="no such model") as raised:
            await anext(items)
        assert raised.value is error
        assert items.fault is None
        assert await anext(items, None) is None

    run(main())


def test_an_awaitable_that_was_never_awaited_is_closed() -> None:
    async def main() -> None:
        async def opening() -> Any:
            return Script([BODY])

        await normalize_stream(opening()).aclose()  # no "never awaited" warning

        pending = asyncio.ensure_future(asyncio.sleep(60))
        await normalize_stream(pending).aclose()
        await asyncio.sleep(0)
        assert pending.cancelled()

        source = Script([BODY])
        ready: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        ready.set_result(source)
        await normalize_stream(ready).aclose()
        assert source.closes == 1

    run(main())


def test_closing_while_the_source_is_awaited() -> None:
    async def main() -> None:
        source, gate = Script([BODY]), asyncio.Event()

        async def opening() -> Any:
            await gate.wait()
            return source

        items = normalize_stream(opening())
        reading = asyncio.ensure_future(anext(items, "end"))
        await asyncio.sleep(0)
        await items.aclose()
        gate.set()
        assert await reading == "end"
        assert (source.reads, source.closes) == (0, 1)

    run(main())


# Closing, by any name. ----------------------------------------------------------------


class Closes(Script):
    """A script whose closing methods are chosen by the test; it notes those that ran."""

    aclose = None  # type: ignore[assignment]

    def __init__(self, steps: Any = (BODY,)) -> None:
        super().__init__(steps)
        self.ran: list[str] = []


class AsyncClose(Closes):
    async def close(self) -> None:
        await asyncio.sleep(0)
        self.ran.append("close")


class SyncClose(Closes):
    def close(self) -> None:
        self.ran.append("close")


class Both(SyncClose):
    async def aclose(self) -> None:  # type: ignore[override]
        self.ran.append("aclose")


class Refuses(SyncClose):
    async def aclose(self) -> None:  # type: ignore[override]
        raise RuntimeError("attempted an async close on a sync stream")


class Nested(Closes):
    """Like SDK objects that have no closing method: what they hold has one."""

    def __init__(self, name: str) -> None:
        super().__init__()
        holder = type("Holder", (), {})()
        holder.response = SyncClose()
        holder.response.ran = self.ran
        setattr(self, name, holder)


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (AsyncClose, ["close"]),
        (SyncClose, ["close"]),
        (Both, ["aclose"]),
        (Refuses, ["close"]),
        (lambda: Nested("completion_stream"), ["close"]),
        (lambda: Nested("response"), ["close"]),
        (Closes, []),
    ],
)
@pytest.mark.parametrize("when", ["aclose", "unused", "with", "end", "error"])
def test_closing_methods(make: Callable[[], Closes], expected: list[str], when: str) -> None:
    async def main() -> None:
        source = make()
        items = normalize_stream(source)
        if when == "with":
            async with items:
                await anext(items)
        elif when == "error":
            with pytest.raises(KeyError):
                async with items:
                    raise KeyError
        elif when == "end":
            await collect(items)
        elif when == "aclose":
            await anext(items)
        await items.aclose()
        await items.aclose()
        assert source.ran == expected
        assert await anext(items, None) is None

    run(main())


def test_a_generator_and_the_object_that_made_it_are_both_closed() -> None:
    class Response:
        def __init__(self) -> None:
            self.ran: list[str] = []

        async def aiter_bytes(self) -> AsyncIterator[bytes]:
            try:
                yield event(chunk({"content": "a"}))
                yield DONE
            finally:
                self.ran.append("generator")

        async def aclose(self) -> None:
            self.ran.append("response")

    async def main() -> None:
        response = Response()
        async with normalize_stream(response) as items:
            await anext(items)
        assert response.ran == ["generator", "response"]

    run(main())


def test_errors_of_closing() -> None:
    class Broken(Closes):
        async def aclose(self) -> None:  # type: ignore[override]
            raise OSError("cannot close")

    async def main() -> None:
        for make in (lambda: Broken([BODY]), lambda: Broken([OSError("lost")])):
            _, fault = await collect(normalize_stream(make()))  # swallowed after the end
            assert fault is None or fault.kind == "transport"
        items = normalize_stream(Broken())
        with pytest.raises(OSError, match="cannot close"):
            await items.aclose()
        await items.aclose()
        with pytest.raises(KeyError):
            async with normalize_stream(Broken()):
                raise KeyError

    run(main())


def test_a_cancelled_closing_still_closes_the_rest() -> None:
    class Cancelled(Closes):
        def __init__(self) -> None:
            super().__init__()
            self.response = SyncClose()

        async def aclose(self) -> None:  # type: ignore[override]
            raise asyncio.CancelledError

    async def main() -> None:
        source = Cancelled()
        with pytest.raises(asyncio.CancelledError):
            await normalize_stream(source).aclose()
        assert source.response.ran == ["close"]

    run(main())
