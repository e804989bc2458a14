"""ASGI apps behind a real server: uvicorn on loopback, in a thread of its own."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn

# Seconds that an app gets to end when the server stops; a test that passes needs none.
GRACE = 5


class _Server(uvicorn.Server):
    """A server that says when it has started, and keeps what its thread raised."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.is_up = threading.Event()
        self.error: BaseException | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.is_up.set()

    def serve_on(self, listening: socket.socket) -> None:
        try:
            self.run(sockets=[listening])
        except BaseException as error:  # noqa: BLE001 - it is raised where the server was started
            self.error = error
        finally:
            self.is_up.set()


@contextmanager
def served(app: Any, **config: Any) -> Iterator[str]:
    """Serve *app* as long as the block runs; gives the origin, ``http://127.0.0.1:<port>``.

    Args:
        app: An ASGI app; its lifespan is run.
        config: Settings of `uvicorn.Config`, in place of those of the tests.
    """
    settings: dict[str, Any] = {
        "loop": "asyncio",
        "http": "h11",
        "ws": "none",
        "access_log": False,
        "log_config": None,
        "timeout_graceful_shutdown": GRACE,
    }
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(128)
        server = _Server(uvicorn.Config(app, **{**settings, **config}))
        # A daemon: an app that does not end must not keep the test run from ending.
        thread = threading.Thread(target=server.serve_on, args=(listening,), daemon=True)
        thread.start()
        server.is_up.wait()
        try:
            if not server.started:
                raise RuntimeError("the server did not start") from server.error
            yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join(4 * GRACE)
        assert not thread.is_alive(), "the server did not stop"
        if server.error is not None:
            raise server.error
