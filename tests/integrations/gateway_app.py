"""A FastAPI gateway that relays every path to one upstream, behind the middleware.

In a test::

    with served(gateway(upstream.origin)) as origin:
        ...  # origin + "/v1/vllm/chat/completions" is the upstream's route "vllm"

As a process of its own, which says its address and runs until it is stopped::

    python tests/integrations/gateway_app.py http://127.0.0.1:8000 [port]
"""

from __future__ import annotations

import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
from fastapi import FastAPI, Request, Response
from fastapi.responses import StreamingResponse
from starlette.background import BackgroundTask

from streamnorm.integrations.asgi import NormalizeMiddleware

# Of one hop only: the server and the client make their own.
HOP = ("connection", "content-length", "date", "keep-alive", "server", "transfer-encoding")


def gateway(upstream: str, *, is_normalized: bool = True, **options: Any) -> FastAPI:
    """The gateway app.

    Args:
        upstream: Origin that every path is relayed to.
        is_normalized: With the middleware; without, what comes is relayed as it is.
        options: Of `NormalizeMiddleware`.
    """
    # No connection is kept without a request: an upstream without one is at rest.
    limits = httpx.Limits(max_keepalive_connections=0)
    client = httpx.AsyncClient(base_url=upstream, timeout=None, limits=limits)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with client:
            yield

    app = FastAPI(lifespan=lifespan)
    if is_normalized:
        app.add_middleware(NormalizeMiddleware, **options)

    @app.api_route("/{path:path}", methods=["GET", "POST"])
    async def relay(request: Request) -> Response:
        kept = {k: v for k, v in request.headers.items() if k not in (*HOP, "host")}
        body = await request.body()
        sent = client.build_request(request.method, request.url.path, content=body, headers=kept)
        answer = await client.send(sent, stream=True)
        headers = {k: v for k, v in answer.headers.items() if k not in HOP}
        closed = BackgroundTask(answer.aclose)
        return StreamingResponse(answer.aiter_raw(), answer.status_code, headers, background=closed)

    return app


def main() -> None:
    import uvicorn

    upstream, *more = sys.argv[1:]
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", int(more[0]) if more else 0))
        listening.listen()
        # Who connects from now on is served as soon as the app has started.
        print(f"http://127.0.0.1:{listening.getsockname()[1]}", flush=True)
        config = uvicorn.Config(gateway(upstream), log_level="warning")
        uvicorn.Server(config).run(sockets=[listening])


if __name__ == "__main__":
    main()
