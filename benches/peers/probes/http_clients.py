"""HTTP clients: their bytes as they come, and the same behind streamnorm.

A probe is called CLIENT/OUTPUT or CLIENT/OUTPUT/python, the last with the pure engine.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Final

from streamnorm import SSENormalizer, normalize_stream
from streamnorm._engine import Engine, choose

from .run import BODY, Probe, Read, Run

# Sends the request; the block is the life of the response.
Send = Callable[[str], AbstractAsyncContextManager[Any]]
Output = Callable[[Any, Run, Engine], Awaitable[None]]


@asynccontextmanager
async def _httpx() -> AsyncIterator[Send]:
    import httpx

    async with httpx.AsyncClient(trust_env=False) as client:
        yield lambda url: client.stream("POST", url, json=BODY)


@asynccontextmanager
async def _httpx2() -> AsyncIterator[Send]:
    import httpx2

    async with httpx2.AsyncClient(trust_env=False) as client:
        yield lambda url: client.stream("POST", url, json=BODY)


@asynccontextmanager
async def _aiohttp() -> AsyncIterator[Send]:
    import aiohttp

    async with aiohttp.ClientSession() as session:
        yield lambda url: session.post(url, json=BODY)


@asynccontextmanager
async def _pyreqwest() -> AsyncIterator[Send]:
    from pyreqwest.client import ClientBuilder

    def send(url: str) -> Any:
        return client.post(url).body_json(BODY).streamed_read_buffer_limit(0).build_streamed()

    client: Any
    async with ClientBuilder().build() as client:
        yield send


CLIENTS: Final = {
    "httpx": _httpx,
    "httpx2": _httpx2,
    "aiohttp": _aiohttp,
    "pyreqwest": _pyreqwest,
}


# The bytes of a response, without streamnorm or through `SSENormalizer`. -------------


async def _drop(pieces: AsyncIterator[bytes], run: Run) -> None:
    count = size = 0
    keeps = run.keeps
    async for data in pieces:
        count += 1
        size += len(data)
        if keeps:
            run.body.append(data)
    run.items, run.size = count, size


async def _bytes(response: Any, run: Run, engine: Engine) -> None:
    if not hasattr(response, "body_reader"):
        await _drop(pieces_of(response), run)
        return
    # By hand: an iterator around it, as `_Chunks`, would cost a twentieth of a read.
    count = size = 0
    keeps = run.keeps
    read = response.body_reader.read_chunk
    while (data := await read()) is not None:
        count += 1
        size += len(data)
        if keeps:
            run.body.append(bytes(data))
    run.items, run.size = count, size


class _Chunks:
    """The body of a response of pyreqwest."""

    def __init__(self, response: Any) -> None:
        self._read = response.body_reader.read_chunk

    def __aiter__(self) -> _Chunks:
        return self

    async def __anext__(self) -> bytes:
        data = await self._read()
        if data is None:
            raise StopAsyncIteration
        return bytes(data)


def pieces_of(response: Any) -> AsyncIterator[bytes]:
    """Decoded bytes as they come, in the way that `normalize_stream` reads them, too."""
    pieces: AsyncIterator[bytes]
    if hasattr(response, "body_reader"):
        pieces = _Chunks(response)
    elif hasattr(response, "aiter_bytes"):
        pieces = response.aiter_bytes()
    else:
        pieces = response.content.iter_any()
    return pieces


async def _undecoded(response: Any, run: Run, engine: Engine) -> None:
    """What httpx reads without a look at the content encoding."""
    await _drop(response.aiter_raw(), run)


async def _feed(response: Any, run: Run, engine: Engine) -> None:
    normalizer = SSENormalizer(_engine_module=engine)
    feed = normalizer.feed
    count = size = 0
    keeps = run.keeps
    async for data in pieces_of(response):
        out = feed(data)
        count += 1
        size += len(out)
        if keeps:
            run.body.append(out)
    last = normalizer.close()
    run.body.append(last)
    run.items, run.size = count, size + len(last)


# Streams of streamnorm. --------------------------------------------------------------


async def _sse(response: Any, run: Run, engine: Engine) -> None:
    stream: Any = normalize_stream(response, _engine_module=engine)
    await _drop(stream.sse(), run)


async def _relay(response: Any, run: Run, engine: Engine) -> None:
    stream: Any = normalize_stream(response, collect=False, _engine_module=engine)
    await _drop(stream.sse(), run)


async def _dicts(response: Any, run: Run, engine: Engine) -> None:
    count = 0
    keeps = run.keeps
    async for chunk in normalize_stream(response, _engine_module=engine):
        count += 1
        if keeps:
            run.see_json(chunk)
    run.items = count


OUTPUTS: Final[dict[str, Output]] = {
    "bytes": _bytes,
    "undecoded": _undecoded,
    "feed": _feed,
    "sse": _sse,
    "relay": _relay,
    "dicts": _dicts,
}


def probe_of(name: str) -> Probe:
    """The probe of that name."""
    client, output, *engine = name.split("/")
    chosen = choose(engine[0] if engine else "rust")
    read_output = OUTPUTS[output]

    @asynccontextmanager
    async def probe() -> AsyncIterator[Read]:
        async with CLIENTS[client]() as send:

            async def read(base_url: str, run: Run) -> None:
                async with send(f"{base_url}/chat/completions") as response:
                    run.begin()
                    await read_output(response, run, chosen)

            yield read

    return probe
