"""``python -m benches.peers.relay_server SERVER PORT``: serves the app of `relay_app`."""

from __future__ import annotations

import sys
from typing import Any


def _uvicorn(port: int, loop: str, http: str) -> None:
    import uvicorn

    from .relay_app import make_app

    app: Any = make_app()
    uvicorn.run(app, port=port, loop=loop, http=http, log_level="warning", access_log=False)


def _granian(port: int) -> None:
    from granian import Granian
    from granian.constants import Interfaces, Loops

    # It imports the app in a process of its own.
    Granian(
        "benches.peers.relay_app:make_app",
        factory=True,
        port=port,
        interface=Interfaces.ASGI,
        loop=Loops.uvloop,
        log_access=False,
        log_enabled=False,
    ).serve()


def _hypercorn(port: int) -> None:
    import uvloop
    from hypercorn.asyncio import serve
    from hypercorn.config import Config

    from .relay_app import make_app

    config = Config()
    config.bind = [f"127.0.0.1:{port}"]
    config.loglevel = "warning"
    app: Any = make_app()
    uvloop.new_event_loop().run_until_complete(serve(app, config))


def main() -> None:
    """Serve until the process is ended."""
    server, port = sys.argv[1], int(sys.argv[2])
    if server == "granian":
        _granian(port)
    elif server == "hypercorn":
        _hypercorn(port)
    elif server == "uvicorn":
        _uvicorn(port, "uvloop", "httptools")
    else:
        _uvicorn(port, "asyncio", "h11")


if __name__ == "__main__":
    main()
