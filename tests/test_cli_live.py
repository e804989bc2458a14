"""The command line on live streams: addresses, pipes, signals and terminals."""

from __future__ import annotations

import contextlib
import math
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from streamnorm import __version__
from streamnorm.upstream import Abort, Gate, Upstream
from streamnorm.upstream.streams import BY_NAME, DONE, STREAMS, BundledStream, event

from .command_line import Run, body, chunk

COMMAND = [sys.executable, "-m", "streamnorm"]
posix = pytest.mark.skipif(os.name != "posix", reason="signals, pipes and terminals of POSIX")


@pytest.fixture
def run(
    capfdbinary: pytest.CaptureFixture[bytes], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Run:
    return Run(capfdbinary, monkeypatch, tmp_path)


@pytest.fixture
def up() -> Iterator[Upstream]:
    with Upstream.in_thread(STREAMS) as upstream:
        yield upstream


# Addresses. --------------------------------------------------------------------------


@pytest.mark.parametrize("stream", STREAMS, ids=lambda stream: stream.name)
def test_reads_an_address(run: Run, up: Upstream, stream: BundledStream) -> None:
    assert run("--to", "text", up.url(stream.name)) == 0
    assert run.out.decode().endswith(stream.content + "\n")
    request = up.requests[-1]
    assert (request.method, request.body) == ("GET", b"")
    assert request.headers["accept"] == "text/event-stream"
    assert request.headers["user-agent"] == f"streamnorm/{__version__}"


def test_posts_a_body_with_headers(run: Run, up: Upstream) -> None:
    url = up.url("groq")
    assert run(url, "-d", '{"q":"é"}', "-H", "Authorization: Bearer x", "-H", "X-Two:2") == 0
    request = up.requests[-1]
    assert (request.method, request.json()) == ("POST", {"q": "é"})
    assert request.headers["content-type"] == "application/json"
    assert request.headers["authorization"] == "Bearer x"
    assert request.headers["x-two"] == "2"
    assert run(url, "-d", "@" + run.file(b"{}"), "-H", "content-type: text/plain") == 0
    assert up.requests[-1].body == b"{}"
    assert up.requests[-1].headers["content-type"] == "text/plain"
    assert run(url, "-d", "@-", stdin=b"[]") == 0
    assert up.requests[-1].body == b"[]"
    assert run(url, "-d", "@/nowhere/at/all") == 1
    assert run.err == "streamnorm: cannot open /nowhere/at/all: No such file or directory\n"


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (b'{"error": {"message": "Wrong key", "code": 1}}', ": Wrong key"),
        (b'{"error": "Wrong key"}', ": Wrong key"),
        (b'{"detail": "Wrong key"}', ": Wrong key"),
        (b'{"error": [1]}', ': {"error": [1]}'),
        (b"<html>\n  Wrong key", ": <html> Wrong key"),
        (b"Wrong \x1b[2Jkey", ": Wrong \N{REPLACEMENT CHARACTER}[2Jkey"),
        (b"", ""),
    ],
)
def test_tells_what_an_error_answer_says(run: Run, up: Upstream, answer: bytes, told: str) -> None:
    up.add("denied", [answer], 401)
    url = up.url("denied")
    assert run(url.replace("//", "//user:secret@") + "?key=secret") == 1
    assert run.err == f"streamnorm: {url} answered HTTP 401 Unauthorized{told}\n"
    assert up.requests[-1].headers["authorization"] == "Basic dXNlcjpzZWNyZXQ="


def test_does_not_follow_redirects(run: Run, up: Upstream) -> None:
    up.add("moved", [b""], 307, {"Location": up.url("groq") + "?key=secret"})
    assert run(up.url("moved"), "-H", "Authorization: Bearer x") == 1
    assert run.err.endswith(
        f"HTTP 307 Temporary Redirect, which points to {up.url('groq')}; "
        "redirects are not followed\n"
    )
    assert len(up.requests) == 1


@pytest.mark.parametrize("url", ["http://127.0.0.1:9/", "http://", "HTTP://[broken/", "http://a b"])
def test_an_address_that_cannot_be_reached(run: Run, url: str) -> None:
    assert run(url) == 1
    assert run.err.startswith("streamnorm: cannot reach ")
    assert run.err.count("\n") == 1


@pytest.mark.parametrize("cut", [Abort(), Abort(reset=True)])
@pytest.mark.parametrize("to", ["sse", "ndjson", "text"])
def test_a_connection_that_breaks(run: Run, up: Upstream, cut: Abort, to: str) -> None:
    # The pause lets the client read before a reset throws away what it has not read.
    up.add("cut", [chunk(reasoning="thought"), 0.2, cut])
    assert run("--to", to, up.url("cut")) == 1
    assert b"thought" in run.out
    assert run.err.startswith("streamnorm: the source failed while it was read: ")


# As a user runs it. ------------------------------------------------------------------


@contextlib.contextmanager
def start(*arguments: str, **more: Any) -> Iterator[subprocess.Popen[bytes]]:
    """The command line in a process of its own, which does not outlive the test."""
    environment = {**os.environ, "no_proxy": "127.0.0.1", "PYTHONIOENCODING": "utf-8"}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    # A shell starts its background jobs with Ctrl-C ignored, and a child inherits that;
    # what is handled here is back to its default there.
    ours = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        process = subprocess.Popen([*COMMAND, *arguments], env=environment, **{**pipes, **more})
    finally:
        signal.signal(signal.SIGINT, ours or signal.SIG_DFL)
    with process:
        try:
            yield process
        except BaseException:
            process.kill()
            raise


def read_until(stream: int, mark: bytes) -> bytes:
    """Read from a descriptor until *mark* has come; fails where it never does."""
    got = b""
    while mark not in got:
        part = os.read(stream, 65536)
        assert part, f"ended without {mark!r}: {got!r}"
        got += part
    return got


@posix
@pytest.mark.parametrize("to", ["sse", "ndjson", "text"])
def test_shows_a_pipe_as_it_comes(to: str) -> None:
    with start("--to", to) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        for word in ("one", "two", "three"):
            process.stdin.write(chunk(reasoning=word))
            process.stdin.flush()
            # Nothing more is sent before this has been shown.
            read_until(process.stdout.fileno(), word.encode())
        process.stdin.write(chunk(finish="stop") + DONE)
        process.stdin.close()
        process.stdin = None
        assert process.wait(60) == 0
        assert process.stderr.read() == b""


@posix
def test_shows_an_address_as_it_comes(up: Upstream) -> None:
    gate = Gate()
    up.add("r", [chunk(reasoning="one"), gate, chunk(content="two", finish="stop"), DONE])
    with start("--to", "text", up.url("r")) as process:
        assert process.stdout is not None
        read_until(process.stdout.fileno(), b"one")
        gate.open()
        read_until(process.stdout.fileno(), b"two")
        assert process.wait(60) == 0


@posix
def test_tells_a_fault_while_the_stream_is_still_open() -> None:
    with start("--to", "text") as process:
        assert process.stdin is not None
        assert process.stderr is not None
        process.stdin.write(chunk(content="a") + event({"error": {"message": "Overloaded"}}))
        process.stdin.flush()
        assert b"Overloaded" in read_until(process.stderr.fileno(), b"\n")
        assert process.wait(60) == 1


@posix
def test_interrupt_ends_with_130_and_no_traceback(up: Upstream) -> None:
    up.add("hang", [chunk(reasoning="one"), math.inf])
    with start("--to", "text", up.url("hang")) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        read_until(process.stdout.fileno(), b"one")
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 130
        assert process.stderr.read() == b""


@posix
@pytest.mark.parametrize("to", ["sse", "ndjson", "text"])
def test_a_reader_that_leaves_ends_it_quietly(to: str) -> None:
    with start("--to", to) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdin.write(chunk(content="one"))
        process.stdin.flush()
        read_until(process.stdout.fileno(), b"one")
        process.stdout.close()
        process.stdin.write(chunk(content="two"))
        process.stdin.flush()
        assert process.wait(60) == 141
        assert process.stderr.read() == b""
        with contextlib.suppress(BrokenPipeError):
            process.stdin.close()
        process.stdin = None


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_a_full_disk_is_told() -> None:
    with open("/dev/full", "wb") as full, start(stdout=full) as process:
        _, told = process.communicate(body(BY_NAME["vllm"]), timeout=60)
        assert process.returncode == 1
    assert told == b"streamnorm: cannot write: No space left on device\n"


def on_terminal(data: bytes, **environment: str) -> bytes:
    """What ``--to text`` writes to a terminal."""
    import pty

    ours, theirs = pty.openpty()
    more = {"COLUMNS": "80", "TERM": "xterm-256color", **environment}
    env = {name: value for name, value in os.environ.items() if name != "NO_COLOR"}
    process = subprocess.Popen(
        [*COMMAND, "--to", "text"], stdin=subprocess.PIPE, stdout=theirs, env={**env, **more}
    )
    os.close(theirs)
    process.communicate(data, timeout=60)
    shown = b""
    # Linux tells the end of a terminal by an error.
    with contextlib.suppress(OSError):
        while part := os.read(ours, 65536):
            shown += part
    os.close(ours)
    return shown.replace(b"\r\n", b"\n")


@posix
def test_reasoning_is_dim_on_a_terminal() -> None:
    pytest.importorskip("rich")
    data = chunk(reasoning="Hm.") + chunk(content="Yes.", finish="stop") + DONE
    assert on_terminal(data) == b"\x1b[2mHm.\x1b[0m\n\nYes.\n"
    # Where dim cannot be shown there are headings again.
    assert on_terminal(data, TERM="dumb") == b"--- reasoning ---\nHm.\n\n--- answer ---\nYes.\n"


@posix
def test_a_stream_cannot_command_the_terminal() -> None:
    data = chunk(content="a\x1b]0;title\x07\x9b2J\rb\tc", finish="stop") + DONE
    shown = on_terminal(data).decode()
    assert shown == "a\ufffd]0;title\ufffd\ufffd2J\ufffdb\tc\n"
