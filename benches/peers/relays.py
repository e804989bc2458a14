"""The measurement of relays: a stream in, normalised, and out again through an ASGI server."""

from __future__ import annotations

import http.client
import json
import os
import random
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from typing import Final, NamedTuple

from ..streams import Case
from .environments import ROOT, python_of, settings, versions
from .judge import Wrong
from .measure import noting
from .results import Results, Row
from .shapes import ONLY, case_of
from .workers import Failed, pin, upstream

# The stream that is relayed, and how it is written.
SHAPE: Final = "A"
WRITES: Final = "each"
# At a time: with one alone, threads of the client or server fall asleep between two events.
STREAMS: Final = 8
RUNS: Final = 4
# Seconds in which a server has to start, and in which a stream has to come.
_PATIENCE: Final = 30.0


class Stack(NamedTuple):
    """One relay: the client that reads, what turns bytes to bytes, the server that writes.

    Attributes:
        client: A name of ``CLIENTS`` in `probes.http_clients`.
        adapter: A name of ``_ADAPTERS`` in `relay_app`.
        server: An argument of `relay_server`.
        engine: Which engine of streamnorm runs, if it is there.
    """

    client: str
    adapter: str
    server: str
    engine: str = "rust"

    @property
    def name(self) -> str:
        """What it is called among the results."""
        return "/".join(self)


ASYNCIO: Final = "uvicorn, asyncio and h11"
STACKS: Final = (
    *(
        Stack(client, "sse", server)
        for client in ("aiohttp", "pyreqwest", "httpx")
        for server in ("uvicorn", "granian", "hypercorn")
    ),
    Stack("aiohttp", "sse", ASYNCIO),
    Stack("aiohttp", "sse", "uvicorn", "python"),
    Stack("aiohttp", "middleware", "uvicorn"),
    Stack("aiohttp", "to_response", "uvicorn"),
    Stack("httpx", "to_response", "uvicorn"),
    Stack("aiohttp", "plain", "uvicorn"),
    Stack("aiohttp", "plain", "granian"),
    Stack("pyreqwest", "plain", "uvicorn"),
    Stack("httpx", "plain", "uvicorn"),
    Stack("openai-python", "sdk", "uvicorn"),
)


def measure_relays(stacks: Sequence[Stack], results: Results) -> None:
    """Pass the stream through each of *stacks*, into *results*."""
    pin(os.getpid())
    case = case_of(SHAPE, WRITES)
    with ExitStack() as running:
        origin = running.enter_context(upstream())
        results.versions["relay"] = versions("relay")
        ports: dict[Stack, int] = {}
        for stack in stacks:
            with noting(results, stack.name):
                port = running.enter_context(_served(stack, origin))
                for body in _streams(port, "?count"):
                    _check(stack, case, body)
                ports[stack] = port
        rows = {stack: Row(stack.name, SHAPE, WRITES) for stack in ports}
        for stack, row in rows.items():
            row.per_read = (case.events + 1) * STREAMS / _used(ports[stack])[1]
        order, chance = [*ports], random.Random(0)
        for _ in range(RUNS):
            chance.shuffle(order)
            for stack in order:
                with noting(results, stack.name):
                    took = _time(ports[stack])
                    rows[stack].times.append(took / case.events / STREAMS * 1e6)
        results.relays += [row for row in rows.values() if row.times]


def _time(port: int) -> float:
    """Seconds that a relay used for some streams at a time."""
    before, _ = _used(port)
    _streams(port)
    return _used(port)[0] - before


def _streams(port: int, query: str = "") -> list[bytes]:
    with ThreadPoolExecutor(STREAMS) as pool:
        return [*pool.map(_stream, [port] * STREAMS, [query] * STREAMS)]


@contextmanager
def _served(stack: Stack, origin: str) -> Iterator[int]:
    """Run a relay as a process of its own; gives its port."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    about = {
        "PEERS_CLIENT": stack.client,
        "PEERS_ADAPTER": stack.adapter,
        "PEERS_UPSTREAM": origin,
        "STREAMNORM_ENGINE": stack.engine,
    }
    python = str(python_of("relay"))
    process = subprocess.Popen(
        [python, "-s", "-m", "benches.peers.relay_server", stack.server, str(port)],
        cwd=ROOT,
        env={**settings(), **about},
    )
    pin(process.pid)
    try:
        _wait(process, port)
        yield port
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait(process: subprocess.Popen[bytes], port: int) -> None:
    end = time.monotonic() + _PATIENCE
    while True:
        if process.poll() is not None or time.monotonic() > end:
            raise Failed("the server did not start")
        try:
            _used(port)
        except Failed:
            time.sleep(0.05)
        else:
            return


def _used(port: int) -> tuple[float, int]:
    """Seconds of processor time so far, and how many pieces were sent with ``?count``."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_PATIENCE)
    try:
        connection.request("GET", "/used")
        seconds, pieces = connection.getresponse().read().split()
        return float(seconds), int(pieces)
    except (OSError, http.client.HTTPException) as error:
        raise Failed(f"{type(error).__name__}: {error}") from error
    finally:
        connection.close()


def _stream(port: int, query: str) -> bytes:
    """Read one stream, as it comes."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_PATIENCE)
    path = f"/{SHAPE}/{WRITES}/v1/chat/completions{query}"
    try:
        connection.request("POST", path, "{}", {"content-type": "application/json"})
        response = connection.getresponse()
        if response.status != 200:
            raise Failed(f"status {response.status}: {response.read(200)!r}")
        pieces = []
        while piece := response.read1(65_536):
            pieces.append(piece)
        return b"".join(pieces)
    except (OSError, http.client.HTTPException) as error:
        raise Failed(f"{type(error).__name__}: {error}") from error
    finally:
        connection.close()


def _check(stack: Stack, case: Case, body: bytes) -> None:
    """Compare what came with what should have.

    Raises:
        Wrong: It differs.
    """
    if stack.adapter != "sdk":
        if body != (case.stream if stack.adapter == "plain" else case.normal):
            raise Wrong("the bytes that came out are not the right ones")
        return
    events = [event.removeprefix(b"data: ") for event in body.split(b"\n\n") if event]
    deltas = [json.loads(event)["choices"][ONLY]["delta"] for event in events[:-1]]
    said = case.texts[ONLY]
    for name, wanted in (("content", said.content), ("reasoning", said.reasoning)):
        if "".join(delta.get(name) or "" for delta in deltas) != wanted:
            raise Wrong(f"{name} is not what was sent")
