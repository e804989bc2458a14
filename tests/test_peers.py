"""The comparison with other clients: who takes part, how they are judged, what they are served."""

from __future__ import annotations

import socket
import sys
import time
from typing import Any

import pytest

from .helpers import ROOT

# The benchmarks are no part of the package. At the end: nothing else is to be found there.
sys.path.append(str(ROOT))
from benches.peers.contenders import BY_PROBE, CONTENDERS, ENVIRONMENTS
from benches.peers.judge import LOST, Wrong, judge
from benches.peers.probes import decoders, http_clients, sdks
from benches.peers.shapes import ONLY, SHAPES, WRITES, case_of
from benches.peers.workers import upstream

# Who takes part, and how they are judged.


def test_every_contender_can_be_run() -> None:
    script = (ROOT / "benches" / "peers" / "node" / "worker.mjs").read_text("utf-8")
    assert len(BY_PROBE) == len(CONTENDERS)
    for contender in CONTENDERS:
        assert contender.environment in ENVIRONMENTS
        if contender.client:
            assert contender.client in http_clients.CLIENTS
            assert contender.output in http_clients.OUTPUTS
        elif contender.environment == "node":
            assert f'"{contender.probe}":' in script
        else:
            assert contender.probe in {**decoders.PROBES, **sdks.PROBES}


def answer(**changed: Any) -> dict[str, Any]:
    case = case_of("A", "each")
    said = case.texts[ONLY]
    found = {"`there`": [said.reasoning]}
    right = {"items": case.events, "content": [said.content], "reasoning": found, "body": ""}
    return {**right, **changed}


def test_right_results_are_placed() -> None:
    case = case_of("A", "each")
    client, relay, floor = (BY_PROBE[name] for name in ("any-llm", "httpx/sse", "httpx/bytes"))
    assert judge(client, case, answer()) == "`there`"
    assert judge(client, case, answer(reasoning={})) == LOST
    both = {"`part`": ["We"], "`there`": [case.texts[ONLY].reasoning]}
    assert judge(client, case, answer(reasoning=both)) == "`there`"
    assert judge(relay, case, answer(body=case.normal.decode())) == ""
    assert judge(floor, case, answer(body=case.stream.decode())) == ""
    plain = case_of("C", "each")
    said = {"content": [plain.texts[ONLY].content], "reasoning": {}}
    assert judge(client, plain, answer(**said)) == ""


@pytest.mark.parametrize(
    ("probe", "changed"),
    [
        ("any-llm", {"content": ["So"]}),
        ("any-llm", {"items": 1_990}),
        ("any-llm", {"reasoning": {"`there`": ["We"]}}),
        ("httpx/sse", {"body": case_of("A", "each").stream.decode()}),
        ("httpx/bytes", {"body": case_of("A", "each").normal.decode()}),
    ],
)
def test_wrong_results_are_found(probe: str, changed: dict[str, Any]) -> None:
    with pytest.raises(Wrong):
        judge(BY_PROBE[probe], case_of("A", "each"), answer(**changed))


def test_reasoning_that_was_not_sent_is_wrong() -> None:
    case = case_of("C", "each")
    said = answer(content=[case.texts[ONLY].content], reasoning={"`there`": ["We"]})
    with pytest.raises(Wrong):
        judge(BY_PROBE["any-llm"], case, said)


# The upstream.


def ask(origin: str, path: str) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", int(origin.rpartition(":")[2])), 20)
    head = f"POST {path} HTTP/1.1\r\nhost: here\r\ncontent-length: 2\r\n\r\n"
    connection.sendall(head.encode() + b"{}")
    return connection


def unchunked(body: bytes) -> bytes:
    """The body without its chunks; every one of them must be whole."""
    out = b""
    while True:
        size, _, body = body.partition(b"\r\n")
        if not int(size, 16):
            assert body == b"\r\n"
            return out
        out += body[: int(size, 16)]
        assert body[int(size, 16) :][:2] == b"\r\n"
        body = body[int(size, 16) + 2 :]


@pytest.fixture(scope="module")
def origin() -> Any:
    with upstream() as started:
        yield started


@pytest.mark.parametrize("writes", [name for name in WRITES if name != "paced"])
@pytest.mark.parametrize("shape", SHAPES)
def test_upstream_serves_the_stream(origin: str, shape: str, writes: str) -> None:
    pieces: list[bytes] = []
    with ask(origin, f"/{shape}/{writes}/v1/chat/completions") as connection:
        while not b"".join(pieces[-2:]).endswith(b"\r\n0\r\n\r\n"):
            pieces.append(connection.recv(65_536))
    head, _, body = b"".join(pieces).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK\r\n")
    assert unchunked(body) == case_of(shape, writes).stream


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the kernel is Linux")
def test_upstream_waits_until_an_event_is_taken(origin: str) -> None:
    stream = case_of("A", "each").stream
    with ask(origin, "/A/each/v1/chat/completions") as connection:
        found = [connection.recv(65_536).partition(b"\r\n\r\n")[2]]
        for _ in range(20):
            # Whatever is sent meanwhile without waiting would be in the next read.
            time.sleep(0.01)
            found.append(connection.recv(65_536))
    reads = [unchunked(read + b"0\r\n\r\n") for read in found if read]
    assert stream.startswith(b"".join(reads))
    # (On a busy machine the kernel may be asked before an event is there, and once says no.)
    assert sum(read.count(b"\n\n") == 1 for read in reads) >= 15


def test_upstream_knows_no_other_streams(origin: str) -> None:
    with ask(origin, "/Z/each/v1/chat/completions") as connection:
        assert connection.recv(65_536).startswith(b"HTTP/1.1 404 ")
