"""The fault server over real sockets: every byte that its table promises, and its command."""

from __future__ import annotations

import contextlib
import http.client
import json
import math
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import NamedTuple

import pytest

from streamnorm.fault_server import CASES, FAULTS, DialectCase, FaultCase, FaultServer
from streamnorm.fault_server.chunks import STREAM
from streamnorm.upstream import HOST, Abort

# Longer than any answer takes on a busy machine; what is waited for comes by itself.
PATIENCE = 30.0

ENDING = [
    case
    for case in CASES.values()
    if not isinstance(case, FaultCase)
    or case.timing is None
    or not (case.timing.endless or math.isinf(case.timing.pause))
]
WAITING = [case for case in FAULTS if case not in ENDING]


@pytest.fixture(scope="module")
def server() -> Iterator[FaultServer]:
    with FaultServer() as server:
        yield server


# The environment's proxy is not for loopback.
OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def connect(server: FaultServer) -> socket.socket:
    port = int(server.origin.rpartition(":")[2])
    return socket.create_connection((HOST, port), timeout=PATIENCE)


def ask(connection: socket.socket, target: str, *headers: str, method: str = "GET") -> None:
    lines = (f"{method} {target} HTTP/1.1", "host: here", *headers)
    connection.sendall("\r\n".join((*lines, "", "")).encode())


def exchange(server: FaultServer, target: str, *headers: str, method: str = "GET") -> bytes:
    """All that comes for a request, until the server closes; ``RST`` at the end of a reset."""
    answer = b""
    with connect(server) as connection:
        ask(connection, target, "connection: close", *headers, method=method)
        try:
            while part := connection.recv(1 << 20):
                answer += part
        except ConnectionResetError:
            answer += b"RST"
    return answer


class Answer(NamedTuple):
    """One response, taken apart."""

    status: int
    headers: dict[str, str]
    body: bytes


def take_apart(raw: bytes) -> Answer:
    head, _, body = raw.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    pairs = (line.split(": ", 1) for line in lines)
    return Answer(int(first.split(" ")[1]), {name.lower(): value for name, value in pairs}, body)


def chunked(pieces: list[bytes]) -> bytes:
    return b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces)


# The bytes. -----------------------------------------------------------------------


@pytest.mark.parametrize("case", ENDING, ids=lambda case: case.name)
def test_route_sends_what_its_table_says(
    server: FaultServer, case: FaultCase | DialectCase
) -> None:
    pieces = [step for step in case.steps if isinstance(step, bytes)]
    aborts = [step for step in case.steps if isinstance(step, Abort)]
    raw = exchange(server, f"/{case.name}")
    # Twice the same: nothing in an answer depends on the time or on what came before.
    assert exchange(server, f"/{case.name}") == raw
    was_reset = raw.endswith(b"RST")
    assert was_reset is any(abort.reset for abort in aborts)
    raw = raw.removesuffix(b"RST")
    if isinstance(case, FaultCase) and case.raw:
        assert raw == b"".join(pieces)
        return
    status, headers, body = take_apart(raw)
    told = {"content-type": "text/event-stream; charset=utf-8"}
    if isinstance(case, FaultCase):
        assert status == case.status
        told.update(case.headers)
    assert {name: headers[name] for name in told} == told
    if "content-length" in told or status == 204:
        assert "transfer-encoding" not in headers
        assert body == b"".join(pieces)
    else:
        assert headers["transfer-encoding"] == "chunked"
        end = b"" if aborts else b"0\r\n\r\n"
        assert body == chunked(pieces) + end


def read(connection: socket.socket, size: int) -> bytes:
    """The next *size* bytes."""
    answer = b""
    while len(answer) < size:
        part = connection.recv(size - len(answer))
        assert part, answer
        answer += part
    return answer


def has_left(server: FaultServer, target: str) -> bool:
    """Whether the server has noticed that the client of the last such request left."""
    request = next(one for one in reversed(server.requests) if one.path == target)
    end = time.monotonic() + PATIENCE
    while request.outcome == "running" and time.monotonic() < end:
        time.sleep(0.005)
    return request.outcome == "client_left"


@pytest.mark.parametrize("case", WAITING, ids=lambda case: case.name)
def test_route_that_waits_does_so_until_the_client_leaves(
    server: FaultServer, case: FaultCase
) -> None:
    assert case.timing is not None
    sent = [step for step in case.steps[: case.timing.after] if isinstance(step, bytes)]
    if case.timing.endless:
        sent += [step for step in case.steps[case.timing.after :] if isinstance(step, bytes)] * 2
    target = f"/v1/{case.name}/chat/completions"
    with connect(server) as connection:
        ask(connection, target, method="POST")
        if case.raw:
            assert sent == []
            while not any(request.path == target for request in server.requests):
                time.sleep(0.005)
        else:
            head = b""
            while not head.endswith(b"\r\n\r\n"):
                head += read(connection, 1)
            assert take_apart(head).status == 200
            body = chunked(sent)
            assert read(connection, len(body)) == body
    assert has_left(server, target)


@pytest.mark.parametrize(
    "case",
    [case for case in WAITING if case.timing and not case.timing.endless],
    ids=lambda case: case.name,
)
def test_route_that_waits_goes_on_after_a_pause_that_was_asked_for(
    server: FaultServer, case: FaultCase
) -> None:
    with OPENER.open(server.url(case.name, pause=0, after=0)) as response:
        body = response.read()
    assert body == b"".join(STREAM)


def test_a_wrong_parameter_is_a_bad_request(server: FaultServer) -> None:
    status, headers, body = take_apart(exchange(server, "/slow-drip?pause=soon"))
    assert (status, headers["content-type"]) == (400, "application/json; charset=utf-8")
    error = json.loads(body)["error"]
    assert (error["code"], "pause" in error["message"]) == ("invalid_query", True)


# Addresses. -----------------------------------------------------------------------


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize(
    "form", ["/{}", "/{}/chat/completions", "/v1/{}", "/v1/{}/chat/completions"]
)
def test_route_has_every_form_of_address(server: FaultServer, form: str, method: str) -> None:
    raw = exchange(server, form.format("ok"), "content-length: 0", method=method)
    assert take_apart(raw).body == chunked(list(STREAM)) + b"0\r\n\r\n"


def test_stream_false_is_ignored(server: FaultServer) -> None:
    request = urllib.request.Request(server.url("ok"), b'{"stream": false}')
    with OPENER.open(request) as response:
        assert response.read() == b"".join(STREAM)


def test_connection_is_kept_after_a_good_end(server: FaultServer) -> None:
    host, port = server.origin.removeprefix("http://").split(":")
    connection = http.client.HTTPConnection(host, int(port), timeout=PATIENCE)
    for name in ("ok", "status-204", "http-429-seconds", "dialect-tags-think", "ok"):
        connection.request("GET", f"/{name}")
        response = connection.getresponse()
        case = CASES[name]
        assert response.read() == b"".join(step for step in case.steps if isinstance(step, bytes))
        assert not response.will_close
    connection.close()


@pytest.mark.parametrize("path", ["/", "/v1", "/v1/"])
def test_index_lists_every_route(server: FaultServer, path: str) -> None:
    status, headers, body = take_apart(exchange(server, path))
    assert (status, headers["content-type"]) == (200, "text/plain; charset=utf-8")
    lines = body.decode().splitlines()
    assert server.origin in lines[0]
    listed = [line.split()[0] for line in lines[lines.index("") + 1 :]]
    assert listed == list(CASES)
    for line, case in zip(lines[-len(CASES) :], CASES.values(), strict=True):
        assert case.title in line
    assert any(re.match(r"http-402 +http_error, quota_exceeded, credential +402", x) for x in lines)
    assert any(re.match(r"finish-without-done +ends well ", line) for line in lines)


def test_index_as_json_has_what_is_expected(server: FaultServer) -> None:
    raw = exchange(server, "/", "accept: application/json")
    status, headers, body = take_apart(raw)
    assert (status, headers["content-type"]) == (200, "application/json; charset=utf-8")
    index = json.loads(body)
    assert index["origin"] == server.origin
    found = {fault["name"]: fault for fault in index["faults"]}
    assert list(found) == list(CASES)
    assert found["stall-after-text"]["parameters"] == {"after": 6, "pause": None}
    assert found["stall-after-text"]["expected"] == {
        "kind": "idle_timeout",
        "category": "api_connection",
        "blame": "provider",
        "status_code": None,
        "retry_after": None,
        "provider_code": None,
        "limit": "idle",
        "safe_to_retry": False,
    }
    assert found["ok"]["expected"] is None


def test_unknown_name_is_a_404_that_names_the_near_ones(server: FaultServer) -> None:
    status, _, body = take_apart(exchange(server, "/v1/trunkated/chat/completions"))
    error = json.loads(body)["error"]
    assert status == 404
    assert list(error) == ["message", "type", "param", "code"]
    assert error["code"] == "unknown_fault"
    assert "'trunkated'" in error["message"]
    assert "truncated" in error["message"]


def test_other_paths_and_methods_are_refused(server: FaultServer) -> None:
    assert take_apart(exchange(server, "/v1/ok/embeddings")).status == 404
    assert take_apart(exchange(server, "/ok", method="PUT")).status == 405


# The object. ----------------------------------------------------------------------


def test_server_says_what_it_has(server: FaultServer) -> None:
    assert server.names == tuple(CASES)
    assert server.case("truncated") is CASES["truncated"]
    assert server.base_url("ok") == f"{server.origin}/v1/ok"
    assert server.url("ok") == f"{server.origin}/v1/ok/chat/completions"
    assert server.url("slow-drip", pause=0.5, after=2).endswith("?pause=0.5&after=2")
    before = len(server.requests)
    exchange(server, "/ok", "x-key: v")
    assert [request.name for request in server.requests[before:]] == ["ok"]
    assert server.requests[-1].headers["x-key"] == "v"


@pytest.mark.parametrize("method", ["url", "base_url", "case"])
def test_server_knows_no_other_name(server: FaultServer, method: str) -> None:
    with pytest.raises(ValueError, match=r"'okay'.* Near: "):
        getattr(server, method)("okay")


def test_server_can_be_used_again_and_is_gone_afterwards() -> None:
    server = FaultServer()
    with pytest.raises(RuntimeError, match="not been started"):
        server.url("ok")
    url = ""
    for _ in range(2):
        with server:
            url = server.url("ok")
            assert take_apart(exchange(server, "/ok")).status == 200
            assert len(server.requests) == 1
    with pytest.raises(urllib.error.URLError):
        OPENER.open(url)


# The command. ---------------------------------------------------------------------

COMMAND = [sys.executable, "-m", "streamnorm.faults"]


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *arguments],
        capture_output=True,
        encoding="utf-8",
        env={**os.environ, **environment},
        timeout=PATIENCE,
        check=False,
    )


@contextlib.contextmanager
def running(*arguments: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The command while it serves, and its address."""
    with subprocess.Popen(
        [*COMMAND, "--port", "0", "--json", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            yield process, json.loads(process.stdout.readline())["origin"]
        finally:
            process.kill()


@pytest.mark.skipif(os.name == "nt", reason="signals end a process there")
@pytest.mark.parametrize(("name", "code"), [("SIGINT", 130), ("SIGTERM", 0)])
def test_command_serves_until_it_is_told_to_end(name: str, code: int) -> None:
    with running() as (process, origin):
        with OPENER.open(f"{origin}/v1/ok") as response:
            assert response.read() == b"".join(STREAM)
        # With a client that hangs it ends as well.
        host, port = origin.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), timeout=PATIENCE) as connection:
            ask(connection, "/stall-after-text")
            read(connection, 1)
            process.send_signal(getattr(signal, name))
            out, err = process.communicate(timeout=PATIENCE)
    assert (process.returncode, out, err) == (code, "", "")


def test_command_says_that_its_port_is_taken() -> None:
    with socket.create_server((HOST, 0)) as taken:
        port = str(taken.getsockname()[1])
        done = run("--port", port)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"streamnorm.faults: cannot listen at 127.0.0.1:{port}: ")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("arguments", [["--port", "70000"], ["--port", "x"], ["--what"]])
def test_command_refuses_wrong_usage(arguments: list[str]) -> None:
    done = run(*arguments)
    assert done.returncode == 2
    assert "usage: python -m streamnorm.faults" in done.stderr


def test_command_lists_the_routes_and_stops() -> None:
    done = run("--list")
    assert (done.returncode, done.stderr) == (0, "")
    assert [line.split()[0] for line in done.stdout.splitlines()] == list(CASES)
    as_json = run("--list", "--json")
    assert [fault["name"] for fault in json.loads(as_json.stdout)["faults"]] == list(CASES)


def test_command_lists_where_signs_cannot_be_shown() -> None:
    done = run("--list", PYTHONIOENCODING="ascii")
    assert (done.returncode, done.stderr) == (0, "")
    assert "\\u25c1think\\u25b7" in done.stdout
