"""The upstream of all measurements: a program of its own, so that its time is not counted.

``python -m benches.peers.server`` prints its port and serves until its stdin is closed:
``POST /{shape}/{writes}/v1/chat/completions`` gives that stream; see `shapes`.
"""

from __future__ import annotations

import os
import socket
import struct
import sys
import threading
import time
from collections.abc import Sequence
from functools import cache
from typing import Final

from .shapes import BLOCK, PACE, case_of

_HEAD: Final = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\n"
    b"cache-control: no-cache\r\ntransfer-encoding: chunked\r\n\r\n"
)
_LAST: Final = b"0\r\n\r\n"
_MISSING: Final = b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n"
# Seconds between two events where the kernel cannot be asked whether one was taken.
_BLIND_PACE: Final = 0.0005

# linux/sock_diag.h, linux/inet_diag.h, linux/netlink.h.
_NETLINK_SOCK_DIAG: Final = 4
_SOCK_DIAG_BY_FAMILY: Final = 20
_NLM_F_REQUEST: Final = 1
_NLMSG_ERROR: Final = 2
_ANY: Final = 0xFFFFFFFF
_RQUEUE_AT: Final = 72


class Taken:
    """Waits until the process at the other end has read all that was sent.

    The kernel is asked how many bytes wait in the other end's socket: TCP's own
    acknowledgement only says that they are there. Both ends are on this machine.
    """

    def __init__(self, connection: socket.socket) -> None:
        self._asks: socket.socket | None = None
        if not sys.platform.startswith("linux"):
            return
        self._asks = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_SOCK_DIAG)
        here, there = connection.getsockname(), connection.getpeername()
        pair = [socket.inet_aton(end[0]).ljust(16, b"\0") for end in (there, here)]
        what = struct.pack("=BBBBI", socket.AF_INET, socket.IPPROTO_TCP, 0, 0, _ANY)
        which = struct.pack("!HH", there[1], here[1]) + b"".join(pair)
        body = what + which + struct.pack("=III", 0, _ANY, _ANY)
        head = (16 + len(body), _SOCK_DIAG_BY_FAMILY, _NLM_F_REQUEST, 1, 0)
        self._question = struct.pack("=IHHII", *head) + body

    def wait(self) -> None:
        """Return when nothing waits at the other end, or it is closed."""
        if self._asks is None:
            time.sleep(_BLIND_PACE)
            return
        while True:
            self._asks.send(self._question)
            answer = self._asks.recv(4096)
            (kind,) = struct.unpack_from("=H", answer, 4)
            if kind == _NLMSG_ERROR or not struct.unpack_from("=I", answer, _RQUEUE_AT)[0]:
                return
            os.sched_yield()

    def close(self) -> None:
        """Close what was asked through."""
        if self._asks is not None:
            self._asks.close()


def main() -> None:
    """Serve until stdin is closed."""
    listening = socket.create_server(("127.0.0.1", 0), backlog=128)
    print(listening.getsockname()[1], flush=True)
    threading.Thread(target=_accept, args=(listening,), daemon=True).start()
    sys.stdin.read()


def _accept(listening: socket.socket) -> None:
    while True:
        connection, _ = listening.accept()
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        threading.Thread(target=_serve, args=(connection,), daemon=True).start()


def _serve(connection: socket.socket) -> None:
    taken = Taken(connection)
    try:
        with connection, connection.makefile("rb") as requests:
            while path := _request(requests):
                _answer(connection, taken, path.strip("/").split("/"))
    except OSError:
        pass  # the client left: at [DONE] some do
    finally:
        taken.close()


def _request(requests: socket.SocketIO | object) -> str:
    """The path of the next request, whose body is read; empty where there is none."""
    readline, read = requests.readline, requests.read  # type: ignore[union-attr]
    words = readline().split()
    if len(words) != 3:
        return ""
    size = 0
    while (line := readline().strip().lower()) != b"":
        if line.startswith(b"content-length:"):
            size = int(line.partition(b":")[2])
    read(size)
    return str(words[1], "ascii")


def _answer(connection: socket.socket, taken: Taken, path: Sequence[str]) -> None:
    try:
        shape, writes = path[:2]
        pieces = _pieces(shape, writes)
    except (ValueError, KeyError):
        connection.sendall(_MISSING)
        return
    connection.sendall(_HEAD)
    if writes == "paced":
        _write_paced(connection, pieces)
        return
    for piece in pieces:
        connection.sendall(piece)
        if writes == "each":
            taken.wait()


def _write_paced(connection: socket.socket, pieces: Sequence[bytes]) -> None:
    start = time.perf_counter()
    for number, piece in enumerate(pieces):
        time.sleep(max(0.0, start + number * PACE - time.perf_counter()))
        connection.sendall(piece)


@cache
def _pieces(shape: str, writes: str) -> tuple[bytes, ...]:
    """What is written at once."""
    case = case_of(shape, writes)
    if writes == "16k":
        cut = [case.stream[at : at + BLOCK] for at in range(0, len(case.stream), BLOCK)]
    else:
        cut = [event + case.separator for event in case.stream.split(case.separator) if event]
    chunks = [b"%x\r\n%b\r\n" % (len(piece), piece) for piece in cut]
    chunks[-1] += _LAST
    return (b"".join(chunks),) if writes == "backlog" else tuple(chunks)


if __name__ == "__main__":
    main()
