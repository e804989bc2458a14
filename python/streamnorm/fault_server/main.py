"""The command ``python -m streamnorm.faults``.

Exit codes: 0 the list was printed, or the server was told to end (SIGTERM); 1 it cannot
listen; 2 wrong usage; 130 interrupted; 141 the reader of our output went away.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Callable, Sequence
from typing import Final

from ..upstream import HOST, Upstream
from .server import serve_faults
from .table import index_json, index_text

PORT: Final = 9000
CANNOT_LISTEN: Final = 1
# The shell's own numbers: 128 + SIGINT and 128 + SIGPIPE.
INTERRUPTED: Final = 130
OUTPUT_GONE: Final = 141


def main(argv: Sequence[str] | None = None) -> int:
    """Serve until a signal comes, or print the list; return the exit code."""
    try:
        arguments = _parser().parse_args(argv)
    except SystemExit as stop:  # argparse has said why
        return int(stop.code or 0)
    show = index_json if arguments.json else index_text
    try:
        if arguments.list:
            _say(show(""))
            return 0
        upstream = Upstream(host=arguments.host, port=arguments.port)
        return asyncio.run(_serve(upstream, lambda: _say(show(upstream.origin))))
    except BrokenPipeError:
        # Python flushes its output once more at exit, and would complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return OUTPUT_GONE
    except OSError as error:
        address = f"{arguments.host}:{arguments.port}"
        reason = error.strerror or error
        print(f"streamnorm.faults: cannot listen at {address}: {reason}", file=sys.stderr)
        return CANNOT_LISTEN
    except KeyboardInterrupt:
        return INTERRUPTED


async def _serve(upstream: Upstream, announce: Callable[[], None]) -> int:
    serve_faults(upstream)
    loop = asyncio.get_running_loop()
    told: asyncio.Future[int] = loop.create_future()

    def end(code: int) -> None:
        if not told.done():
            told.set_result(code)

    # Windows has no such handlers: there a KeyboardInterrupt ends the loop.
    with contextlib.suppress(NotImplementedError):
        loop.add_signal_handler(signal.SIGINT, end, INTERRUPTED)
        loop.add_signal_handler(signal.SIGTERM, end, 0)
    async with upstream:
        announce()
        return await told


def _say(text: str) -> None:
    # A terminal that cannot show a sign of a delimiter shows its code instead.
    reconfigure = getattr(sys.stdout, "reconfigure", None)
    if reconfigure is not None:
        reconfigure(errors="backslashreplace")
    print(text.rstrip("\n"), flush=True)


def _port(text: str) -> int:
    port = int(text)
    if not 0 <= port <= 65535:
        raise argparse.ArgumentTypeError("must be from 0 to 65535")
    return port


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m streamnorm.faults",
        description="Serve every way in which a language model's stream can fail, and every "
        "dialect, each at an address of its own.",
        epilog="It listens without a password: keep it on loopback.",
    )
    parser.add_argument("--host", default=HOST, help="where to listen (default: %(default)s)")
    parser.add_argument(
        "--port", type=_port, default=PORT, help="0 for a free one (default: %(default)s)"
    )
    parser.add_argument("--list", action="store_true", help="print the list and stop")
    parser.add_argument("--json", action="store_true", help="print it as one line of JSON")
    return parser
