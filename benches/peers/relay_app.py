"""A relay as an ASGI app: one stream from the upstream, another out, and what it cost.

``POST /{shape}/{writes}/v1/chat/completions`` is passed on, ``GET /used`` tells the seconds of
processor time of this process so far, and how many pieces of bodies it has sent for requests
with ``?count``. The environment says what it is made of: ``PEERS_CLIENT``,
``PEERS_ADAPTER``, ``PEERS_UPSTREAM`` (an origin); see `relays.STACKS`.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from typing import Any, Final

from streamnorm import normalize_stream
from streamnorm.integrations.asgi import NormalizeMiddleware

from .probes.http_clients import CLIENTS, Send, pieces_of
from .probes.run import KEY, MESSAGES, MODEL, used

_HEAD: Final[dict[str, Any]] = {
    "type": "http.response.start",
    "status": 200,
    "headers": [(b"content-type", b"text/event-stream")],
}
_END: Final[dict[str, Any]] = {"type": "http.response.body", "body": b""}

_Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
# Answers one request for a stream: what sends upstream, the address, and the ASGI call.
_Adapter = Callable[[Send, str, Any, Any, _Send], Awaitable[None]]


class Relay:
    """The app; the client is made when the first stream is asked for."""

    def __init__(self, client: str, adapter: str, upstream: str) -> None:
        self._open = CLIENTS["httpx" if adapter == "sdk" else client]
        self._adapter = _ADAPTERS[adapter]
        self._upstream = upstream
        self._context: Any = None
        self._send: Send | None = None
        self._pieces = 0

    async def __call__(self, scope: Any, receive: Any, send: _Send) -> None:
        if scope["type"] == "lifespan":
            await _lifespan(receive, send)
            if self._context is not None:
                await self._context.__aexit__(None, None, None)
        elif scope["path"] == "/used":
            await send(_HEAD)
            await send({"type": "http.response.body", "body": f"{used()} {self._pieces}".encode()})
        else:
            upstream = self._send
            if upstream is None:
                self._context = self._open()
                upstream = self._send = await self._context.__aenter__()
            if scope["query_string"] == b"count":
                send = self._counting(send)
            url = self._upstream + scope["path"]
            await self._adapter(upstream, url, scope, receive, send)

    def _counting(self, send: _Send) -> _Send:
        async def counted(message: MutableMapping[str, Any]) -> None:
            self._pieces += bool(message.get("body"))
            await send(message)

        return counted


async def _lifespan(receive: Any, send: _Send) -> None:
    while True:
        message = await receive()
        await send({"type": message["type"] + ".complete"})
        if message["type"] == "lifespan.shutdown":
            return


async def _pass_on(items: AsyncIterator[bytes], send: _Send) -> None:
    await send(_HEAD)
    async for data in items:
        await send({"type": "http.response.body", "body": data, "more_body": True})
    await send(_END)


async def _plain(upstream: Send, url: str, scope: Any, receive: Any, send: _Send) -> None:
    """Nothing is read or changed."""
    async with upstream(url) as response:
        await _pass_on(pieces_of(response), send)


async def _sse(upstream: Send, url: str, scope: Any, receive: Any, send: _Send) -> None:
    async with upstream(url) as response:
        frames: Any = normalize_stream(response, collect=False).sse()
        await _pass_on(frames, send)


async def _to_response(upstream: Send, url: str, scope: Any, receive: Any, send: _Send) -> None:
    from streamnorm.integrations.starlette import to_response

    async with upstream(url) as response:
        stream = normalize_stream(response, collect=False)
        answer = await to_response(stream, peek_reasoning=True)
        await answer(scope, receive, send)


_middle = NormalizeMiddleware(
    lambda scope, receive, send: _plain(scope["upstream"], scope["url"], scope, receive, send),
    peek_reasoning=True,
)


async def _middleware(upstream: Send, url: str, scope: Any, receive: Any, send: _Send) -> None:
    await _middle({**scope, "upstream": upstream, "url": url}, receive, send)


async def _sdk(upstream: Send, url: str, scope: Any, receive: Any, send: _Send) -> None:
    """What is written where OpenAI's SDK is at hand: objects, and JSON of them again."""
    from openai import AsyncOpenAI
    from starlette.responses import StreamingResponse

    base_url = url.removesuffix("/chat/completions")
    client: Any
    async with AsyncOpenAI(base_url=base_url, api_key=KEY, max_retries=0) as client:
        stream = await client.chat.completions.create(
            model=MODEL, messages=list(MESSAGES), stream=True
        )

        async def events() -> AsyncIterator[str]:
            async for chunk in stream:
                yield f"data: {chunk.model_dump_json(exclude_unset=True)}\n\n"
            yield "data: [DONE]\n\n"

        await StreamingResponse(events(), media_type="text/event-stream")(scope, receive, send)


_ADAPTERS: Final[dict[str, _Adapter]] = {
    "plain": _plain,
    "sse": _sse,
    "to_response": _to_response,
    "middleware": _middleware,
    "sdk": _sdk,
}


def make_app() -> Relay:
    """The app that the environment describes."""
    names = ("PEERS_CLIENT", "PEERS_ADAPTER", "PEERS_UPSTREAM")
    return Relay(*(os.environ[name] for name in names))
