"""Decoders of event streams, each with `json.loads` and the HTTP client that it goes with."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Final

from .run import BODY, Probe, Read, Run

_DONE: Final = "[DONE]"


def _url(base_url: str) -> str:
    return f"{base_url}/chat/completions"


async def _read(events: AsyncIterator[Any], run: Run) -> None:
    count = 0
    keeps = run.keeps
    async for event in events:
        if event.data == _DONE:
            break
        chunk = json.loads(event.data)
        count += 1
        if keeps:
            run.see_json(chunk)
    run.items = count


def openai_decoder() -> AbstractAsyncContextManager[Read]:
    """The decoder inside of OpenAI's SDK, without the SDK's objects."""
    from openai._streaming import SSEDecoder

    return _decoding(SSEDecoder)


def anthropic_decoder() -> AbstractAsyncContextManager[Read]:
    """The decoder inside of Anthropic's SDK."""
    from anthropic._streaming import SSEDecoder

    return _decoding(SSEDecoder)


@asynccontextmanager
async def _decoding(decoder: Callable[[], Any]) -> AsyncIterator[Read]:
    import httpx2

    async with httpx2.AsyncClient(trust_env=False) as client:

        async def read(base_url: str, run: Run) -> None:
            async with client.stream("POST", _url(base_url), json=BODY) as response:
                run.begin()
                await _read(decoder().aiter_bytes(response.aiter_bytes()), run)

        yield read


@asynccontextmanager
async def httpx_sse() -> AsyncIterator[Read]:
    """httpx-sse, called as its documentation shows."""
    import httpx
    from httpx_sse import aconnect_sse

    async with httpx.AsyncClient(trust_env=False) as client:

        async def read(base_url: str, run: Run) -> None:
            async with aconnect_sse(client, "POST", _url(base_url), json=BODY) as source:
                run.begin()
                await _read(source.aiter_sse(), run)

        yield read


@asynccontextmanager
async def sseclient_py() -> AsyncIterator[Read]:
    """sseclient-py, which knows no event loop."""
    import httpx
    from sseclient import SSEClient

    class Pieces:
        """The bytes of a response, as sseclient-py wants them: iterable, and to be closed."""

        def __init__(self, response: httpx.Response) -> None:
            self.close = response.close
            self._pieces = response.iter_bytes()

        def __iter__(self) -> Iterator[bytes]:
            return self._pieces

    with httpx.Client(trust_env=False) as client:

        async def read(base_url: str, run: Run) -> None:
            # It stands in the way of nothing: there is one stream at a time.
            with client.stream("POST", _url(base_url), json=BODY) as response:  # noqa: ASYNC212
                run.begin()
                count = 0
                for event in SSEClient(Pieces(response)).events():
                    if event.data == _DONE:
                        break
                    chunk = json.loads(event.data)
                    count += 1
                    if run.keeps:
                        run.see_json(chunk)
                run.items = count

        yield read


PROBES: Final[dict[str, Probe]] = {
    "openai-decoder": openai_decoder,
    "anthropic-decoder": anthropic_decoder,
    "httpx-sse": httpx_sse,
    "sseclient-py": sseclient_py,
}
