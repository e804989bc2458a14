"""`NormalizeMiddleware` under load and in silence: back-pressure, memory, heartbeats."""

from __future__ import annotations

import asyncio
import tracemalloc
from typing import Any

import pytest

from streamnorm._engine import Engine
from streamnorm.integrations.asgi import NormalizeMiddleware

from ..aio import LONG, run
from ..helpers import DONE, chunk, event
from .asgi_app import BODY, Message, Server, body, exchange, pieces, scope, start

ROLE = event(chunk({"role": "assistant", "content": ""}))
TEXT = event(chunk({"content": "so"}))


# Load. ------------------------------------------------------------------------------


def test_the_apps_send_waits_for_the_servers() -> None:
    """Back-pressure: while the server takes nothing, the app sends nothing."""

    async def main() -> None:
        server, taken, asked = Server(), asyncio.Event(), asyncio.Event()

        async def send(message: Message) -> None:
            await server.send(message)
            if len(server.sent) == 3:
                asked.set()
                await taken.wait()

        app = NormalizeMiddleware(server.plays(pieces(TEXT, TEXT, TEXT, DONE)))
        serving = asyncio.create_task(app(scope(), server.receive, send))
        await asked.wait()
        for _ in range(100):
            await asyncio.sleep(0)
        assert server.before == [0, 2]
        assert len(server.sent) == 3
        taken.set()
        await serving
        assert server.body == TEXT * 3 + DONE

    run(main())


def test_memory_stays_flat(engine: Engine) -> None:
    """Of a long stream nothing is kept. (Of reasoning, the engines remember the text.)"""
    count = 20_000

    class Counting(Server):
        size = 0

        async def send(self, message: Message) -> None:
            self.size += len(message.get("body", b""))

    async def main() -> int:
        server = Counting()

        async def app(_scope: Any, _receive: Any, send: Any) -> None:
            await send(start())
            await send(body(TEXT))
            for n in range(count):
                await send(body(TEXT + TEXT))
                if n == 1000:  # by now everything that is made once is there
                    tracemalloc.start()
            await send(body(DONE, more=False))

        await NormalizeMiddleware(app, _engine_module=engine)(scope(), server.receive, server.send)
        return server.size

    try:
        sent = run(main())
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert sent == len(TEXT + DONE) + count * len(TEXT + TEXT)
    assert peak < sent / 10


def test_needs_no_event_loop() -> None:
    """Without heartbeats nothing of asyncio is used: any server's loop will do."""
    server = Server()
    app = NormalizeMiddleware(server.plays(pieces(ROLE, TEXT, DONE)))
    with pytest.raises(StopIteration):
        app(scope(), server.receive, server.send).send(None)
    assert server.body == ROLE + TEXT + DONE


# Heartbeats. ------------------------------------------------------------------------


def test_heartbeats_fill_the_silence() -> None:
    async def main() -> None:
        server, beaten = Server(), asyncio.Event()

        async def send(message: Message) -> None:
            await server.send(message)
            if message.get("body") == b": hb\n":
                beaten.set()

        async def app(_scope: Any, _receive: Any, send: Any) -> None:
            await send(start())
            await send(body(TEXT))
            await beaten.wait()
            await send(body(DONE, more=False))

        await NormalizeMiddleware(app, heartbeat=0.01)(scope(), server.receive, send)
        assert server.body.replace(b": hb\n", b"") == TEXT + DONE
        assert server.body.startswith(TEXT + b": hb\n")

    run(main())


def test_a_heartbeat_never_stands_inside_of_a_line() -> None:
    async def main() -> None:
        server = Server()

        async def app(_scope: Any, _receive: Any, send: Any) -> None:
            await send(start())
            await send(body(TEXT + b": half of"))
            await asyncio.sleep(0.05)
            await send(body(b" a comment\n\n" + DONE, more=False))

        await NormalizeMiddleware(app, heartbeat=0.01)(scope(), server.receive, server.send)
        assert server.body == TEXT + b": half of a comment\n\n" + DONE

    run(main())


def test_no_heartbeat_in_a_stream_of_another_sort() -> None:
    async def main() -> None:
        server = Server()
        event = b'data: {"jsonrpc":"2.0"}\n\n'

        async def app(_scope: Any, _receive: Any, send: Any) -> None:
            await send(start())
            for data in (event, event[:9], event[9:]):
                await send(body(data))
                await asyncio.sleep(0.05)
            await send(body(b"", more=False))

        middleware = NormalizeMiddleware(app, heartbeat=0.01)
        await middleware(scope(path="/mcp"), server.receive, server.send)
        assert server.body == event + event

    run(main())


def test_a_silent_app_is_held_for_a_time_only() -> None:
    """With heartbeats there is a task that can let the head go, and then beat."""

    async def main() -> None:
        server, beaten = Server(), asyncio.Event()

        async def send(message: Message) -> None:
            await server.send(message)
            if message.get("body") == b": hb\n":
                beaten.set()

        async def app(_scope: Any, _receive: Any, send: Any) -> None:
            await send(start())
            await send(body(ROLE))
            await beaten.wait()
            await send(body(TEXT + DONE, more=False))

        middleware = NormalizeMiddleware(app, heartbeat=0.01, peek_timeout=0.01)
        await middleware(scope(), server.receive, send)
        assert server.body.replace(b": hb\n", b"") == ROLE + TEXT + DONE

    run(main())


@pytest.mark.parametrize("messages", [pieces(TEXT, DONE), [start(), KeyError("a")], pieces()])
def test_no_task_is_left(messages: list[Any]) -> None:
    async def main() -> None:
        try:
            await exchange(messages, heartbeat=LONG)
        except KeyError:
            return

    run(main())


def test_heartbeats_end_where_the_client_has_left() -> None:
    async def main() -> None:
        server, failed = Server(), asyncio.Event()

        async def send(message: Message) -> None:
            if message.get("body") == b": hb\n":
                failed.set()
                raise OSError("gone")
            await server.send(message)

        async def app(_scope: Any, _receive: Any, send: Any) -> None:
            await send(start())
            await send(body(TEXT))
            await failed.wait()

        await NormalizeMiddleware(app, heartbeat=0.01)(scope(), server.receive, send)
        # Nobody is there to be told that the stream was cut.
        assert [message["type"] for message in server.sent] == ["http.response.start", BODY]

    run(main())
