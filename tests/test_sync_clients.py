"""The responses of real synchronous HTTP clients as sources, over real sockets."""

from __future__ import annotations

import gzip
import http.client
import math
import signal
import threading
import urllib.error
import urllib.request
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import pytest

from streamnorm import StreamFault, Timeouts, normalize_stream_sync
from streamnorm._engine import Engine
from streamnorm.upstream import Abort, Gate, Upstream

from .aio import deltas
from .blocking import collect, collect_sse, drained
from .helpers import DONE, chunk, event, stream

BODY = stream({"reasoning": "why"}, {"content": "so"})
DELTAS = [{"reasoning_content": "why"}, {"content": "so"}, {}]
EVENTS = [event(chunk({"content": str(n)})) for n in range(4)]

# Seconds after which a client gives up: a test that would wait for ever fails instead.
PATIENCE = 20.0


@contextmanager
def opened(client: str, url: str) -> Iterator[Any]:
    """The streaming response to a GET of *url*; the client itself stays open meanwhile."""
    if client == "urlopen":
        try:
            yield urllib.request.urlopen(url, timeout=PATIENCE)
        except urllib.error.HTTPError as error:
            yield error
    elif client == "http.client":
        where = urlsplit(url)
        connection = http.client.HTTPConnection(where.netloc, timeout=PATIENCE)
        connection.request("GET", where.path)
        yield connection.getresponse()
        connection.close()
    elif client == "requests":
        with pytest.importorskip("requests").Session() as session:
            yield session.get(url, stream=True, timeout=PATIENCE)
    elif client == "urllib3":
        with pytest.importorskip("urllib3").PoolManager() as pool:
            yield pool.request(
                "GET", url, preload_content=False, timeout=PATIENCE, retries=False,
                headers={"accept-encoding": "gzip"},
            )  # fmt: skip
    else:
        session = pytest.importorskip(client).Client(timeout=PATIENCE)
        with session, session.stream("GET", url) as response:
            yield response


CLIENTS = ["urlopen", "http.client", "requests", "urllib3", "httpx", "httpx2"]
DECODING = ["requests", "urllib3", "httpx", "httpx2"]
clients = pytest.mark.parametrize("client", CLIENTS)
# In http.client the socket is not the response's, but its connection's.
owners = pytest.mark.parametrize("client", [name for name in CLIENTS if name != "http.client"])


@clients
def test_a_response(engine: Engine, client: str) -> None:
    with Upstream.in_thread() as up:
        up.add("x", [BODY[:50], BODY[50:90], BODY[90:]])
        with opened(client, up.url("x")) as response:
            items = normalize_stream_sync(response, _engine_module=engine)
            chunks, fault = collect(items)
        assert fault is None
        assert deltas(chunks) == DELTAS
        assert items.report.remaps == {"reasoning→reasoning_content": 1}
        assert (items.outcome.complete, items.outcome.bytes) == (True, len(BODY))
        with opened(client, up.url("x")) as response:
            data, fault = collect_sse(normalize_stream_sync(response, _engine_module=engine))
        assert fault is None
        assert data == BODY.replace(b'"reasoning"', b'"reasoning_content"')


# As soon as it is on the wire. --------------------------------------------------------------


def unframed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let all clients that build on http.client speak HTTP/1.0, which knows no chunks."""
    monkeypatch.setattr(http.client.HTTPConnection, "_http_vsn", 10)
    monkeypatch.setattr(http.client.HTTPConnection, "_http_vsn_str", "HTTP/1.0")


# urllib and http.client decode nothing; httpx speaks no HTTP/1.0.
FRAMINGS = [
    (client, framing)
    for client in CLIENTS
    for framing in ("chunked", "chunked, close", "length", "until close", "gzip")
    if (framing != "gzip" or client in DECODING)
    and (framing != "until close" or not client.startswith("httpx"))
]


@pytest.mark.parametrize("output", ["chunks", "sse"])
@pytest.mark.parametrize(("client", "framing"), FRAMINGS)
def test_each_event_is_delivered_at_once(
    client: str, framing: str, output: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent, headers = [*EVENTS, DONE], {}
    if framing == "gzip":
        packer = zlib.compressobj(wbits=31)
        sent = [packer.compress(one) + packer.flush(zlib.Z_SYNC_FLUSH) for one in sent]
        sent[-1] += packer.flush()
        headers["content-encoding"] = "gzip"
    elif framing == "length":
        headers["content-length"] = str(sum(map(len, sent)))
    elif framing == "chunked, close":
        headers["connection"] = "close"
    elif framing == "until close":
        unframed(monkeypatch)
    gates = [Gate() for _ in EVENTS]
    # The next event is sent only after the test has received the one before it.
    steps = [step for pair in zip(sent[:-1], gates, strict=True) for step in pair]
    with Upstream.in_thread() as up:
        up.add("x", [*steps, sent[-1]], headers=headers)
        with opened(client, up.url("x")) as response:
            threads = threading.active_count()
            made = normalize_stream_sync(response)
            items: Any = made.sse() if output == "sse" else made
            for n, gate in enumerate(gates):
                found: Any = next(items)
                assert found == EVENTS[n] if output == "sse" else (
                    deltas([found]) == [{"content": str(n)}]
                )  # fmt: skip
                assert threading.active_count() == threads
                gate.open()
            assert b"".join(items) == DONE if output == "sse" else list(items) == []
        assert (made.fault, made.outcome.complete, made.outcome.done) == (None, True, True)
        assert up.requests[0].version == ("HTTP/1.0" if framing == "until close" else "HTTP/1.1")


@pytest.mark.parametrize("client", DECODING)
def test_a_compressed_response(engine: Engine, client: str) -> None:
    long = stream(*({"content": f"word {n} "} for n in range(9000)))
    packed = gzip.compress(long)
    with Upstream.in_thread() as up:
        up.add("x", [packed[:90], packed[90:]], headers={"content-encoding": "gzip"})
        with opened(client, up.url("x")) as response:
            data, fault = collect_sse(normalize_stream_sync(response, _engine_module=engine))
    assert fault is None
    assert data == long


@pytest.mark.parametrize("client", ["urlopen", "http.client"])
def test_a_compressed_response_to_a_client_that_decodes_nothing(client: str) -> None:
    with Upstream.in_thread() as up:
        up.add("x", [gzip.compress(BODY)], headers={"content-encoding": "gzip"})
        with opened(client, up.url("x")) as response:
            chunks, fault = collect(normalize_stream_sync(response))
    assert chunks == []
    assert fault is not None
    assert fault.kind == "not_sse"


# What was read already. ---------------------------------------------------------------------


@pytest.mark.parametrize("packed", [False, True])
def test_a_response_that_was_read_at_once(packed: bool) -> None:
    requests, urllib3 = pytest.importorskip("requests"), pytest.importorskip("urllib3")
    httpx = pytest.importorskip("httpx")
    with Upstream.in_thread() as up:
        headers = {"content-encoding": "gzip"} if packed else {}
        up.add("x", [gzip.compress(BODY) if packed else BODY], headers=headers)
        with urllib3.PoolManager() as pool, requests.Session() as session:
            responses = [
                session.get(up.url("x")),
                pool.request("GET", up.url("x")),
                httpx.get(up.url("x")),
            ]
            assert responses[0].text == BODY.decode()
            for response in responses:
                chunks, fault = collect(normalize_stream_sync(response))
                assert fault is None
                assert deltas(chunks) == DELTAS


@pytest.mark.parametrize("client", CLIENTS)
def test_a_response_that_was_read_away_is_a_fault(client: str) -> None:
    with Upstream.in_thread() as up:
        up.add("x", [BODY])
        with opened(client, up.url("x")) as response:
            if client == "requests":
                list(response.iter_content())
            elif client.startswith("httpx"):
                list(response.iter_raw())
            else:
                response.read()
            chunks, fault = collect(normalize_stream_sync(response))
    assert chunks == []
    assert fault is not None
    assert fault.kind in ("empty", "transport")


# Leaving, and what breaks. -------------------------------------------------------------------


@owners
@pytest.mark.parametrize("leave", ["close", "break", "done", "fault", "limit", "frames"])
def test_a_response_that_is_left_is_closed(engine: Engine, client: str, leave: str) -> None:
    last = {"done": DONE, "fault": event(b"{oops")}.get(leave, b"")
    limits = Timeouts(total=1e-9) if leave == "limit" else None
    with Upstream.in_thread() as up:
        up.add("x", [EVENTS[0] + last, math.inf])
        with opened(client, up.url("x")) as response:
            items = normalize_stream_sync(response, timeouts=limits, _engine_module=engine)
            if leave == "break":
                with items:
                    for _ in items:
                        break
            elif leave == "frames":
                frames = items.sse()
                next(frames)
                frames.close()
            elif leave == "limit":
                fault = collect(items)[1]
                assert fault is not None
                assert fault.kind == "total_timeout"
            else:
                next(items)
                if leave == "close":
                    items.close()
                else:
                    assert (items.fault is None) is (leave == "done")
            # Before the client is closed: the response alone is enough.
            drained(up)
    assert up.requests[0].outcome == "client_left"


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="no timer that interrupts a read")
@owners
def test_an_interrupt_amid_a_read(client: str) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with Upstream.in_thread() as up:
        up.add("x", [EVENTS[0], math.inf])
        with opened(client, up.url("x")) as response:
            items = normalize_stream_sync(response)
            next(items)
            before = signal.signal(signal.SIGALRM, interrupt)
            try:
                signal.setitimer(signal.ITIMER_REAL, 0.1)
                with pytest.raises(KeyboardInterrupt):
                    next(items)
            finally:
                signal.setitimer(signal.ITIMER_REAL, 0)
                signal.signal(signal.SIGALRM, before)
            drained(up)
            with pytest.raises(StreamFault, match="was cancelled"):
                next(items)
            assert next(items, None) is None


@clients
@pytest.mark.parametrize("reset", [False, True])
@pytest.mark.parametrize("whole", [False, True])
def test_a_lost_connection(client: str, reset: bool, whole: bool) -> None:
    # What was sent before a reset may be lost with it, unless it was received first.
    gate = Gate()
    rest = EVENTS[1] if whole else EVENTS[1][:-5]
    with Upstream.in_thread() as up:
        up.add("x", [EVENTS[0], gate, rest, Abort(reset=reset)])
        with opened(client, up.url("x")) as response:
            items = normalize_stream_sync(response)
            next(items)
            gate.open()
            found, fault = collect(items)
            assert fault is not None
            assert (fault.kind, fault.category) == ("transport", "api_connection")
            assert isinstance(fault.__cause__, Exception)
            assert fault.visible_output
            if not reset:
                assert len(found) == whole


@clients
def test_a_body_that_is_shorter_than_its_length(client: str) -> None:
    with Upstream.in_thread() as up:
        up.add("x", [EVENTS[0]], headers={"content-length": "9999", "connection": "close"})
        with opened(client, up.url("x")) as response:
            chunks, fault = collect(normalize_stream_sync(response))
    assert len(chunks) == 1
    assert fault is not None
    # http.client itself does not look whether all has come, but there was no end.
    plain = client in ("urlopen", "http.client")
    assert fault.kind == ("truncated" if plain else "transport")


@owners
def test_the_read_timeout_of_the_client_is_a_fault(
    client: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(globals(), "PATIENCE", 0.2)
    with Upstream.in_thread() as up:
        up.add("x", [EVENTS[0], math.inf])
        with opened(client, up.url("x")) as response:
            chunks, fault = collect(normalize_stream_sync(response))
            assert len(chunks) == 1
            assert fault is not None
            assert (fault.kind, fault.category) == ("transport", "api_connection")
            drained(up)


# Errors. ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("client", "packed"),
    [(client, packed) for client in CLIENTS for packed in {False, client in DECODING}],
)
def test_an_error_status(client: str, packed: bool) -> None:
    body = b'{"error":{"message":"slow down","type":"requests","code":"rate_limit_exceeded"}}'
    headers = {"content-type": "application/json", "retry-after": "7"}
    if packed:
        headers["content-encoding"] = "gzip"
    with Upstream.in_thread() as up:
        up.add("x", [gzip.compress(body) if packed else body], 429, headers)
        with opened(client, up.url("x")) as response:
            items = normalize_stream_sync(response)
            chunks, fault = collect(items)
    assert chunks == []
    assert fault is not None
    assert (fault.kind, fault.status_code, fault.category, fault.blame) == (
        "http_error", 429, "rate_limit", "credential",
    )  # fmt: skip
    assert fault.retry_after == 7
    assert fault.provider_message == "slow down"
    assert fault.body == {
        "error": {"message": "slow down", "type": "requests", "code": "rate_limit_exceeded"}
    }


@clients
def test_an_error_in_the_stream_comes_with_the_headers(client: str) -> None:
    failing = event(b'{"error": {"message": "slow down", "code": 429}}')
    with Upstream.in_thread() as up:
        up.add("x", [EVENTS[0], failing], headers={"retry-after": "7"})
        with opened(client, up.url("x")) as response:
            fault = collect(normalize_stream_sync(response))[1]
    assert fault is not None
    assert (fault.kind, fault.status_code, fault.retry_after) == ("error_event", 429, 7)


@owners
def test_an_endless_error_body_is_not_read_to_its_end(client: str) -> None:
    def endless(_: object) -> Iterator[bytes]:
        while True:
            yield b"x" * 4096

    with Upstream.in_thread() as up:
        up.add("x", endless, 500)
        with opened(client, up.url("x")) as response:
            fault = collect(normalize_stream_sync(response))[1]
            assert fault is not None
            assert (fault.kind, fault.status_code) == ("http_error", 500)
            drained(up)


def test_a_response_of_http_client_is_closed_and_its_owner_closes_the_connection() -> None:
    with Upstream.in_thread() as up:
        up.add("x", [EVENTS[0], math.inf])
        with opened("http.client", up.url("x")) as response:
            with normalize_stream_sync(response) as items:
                next(items)
            assert response.isclosed()
        drained(up)
