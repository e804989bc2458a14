"""The transports for httpx and httpx2, over real sockets: what is rewritten, and how."""

from __future__ import annotations

import asyncio
import gzip
import importlib
import math
import threading
import time
import zlib
from typing import Any

import pytest

from streamnorm._engine import Engine
from streamnorm.upstream import Gate, Upstream

from ..aio import run
from ..blocking import drained
from ..helpers import DONE, chunk, datas, event, stream

BODY = stream({"reasoning": "why"}, {"content": "so"})
EDITED = BODY.replace(b'"reasoning"', b'"reasoning_content"')
CHUNKED = {"content-type": "text/event-stream; charset=utf-8", "transfer-encoding": "chunked"}

libraries = pytest.mark.parametrize("library", ["httpx", "httpx2"])


def modules(library: str) -> tuple[Any, Any]:
    """A client library, and the integration for it."""
    return (
        importlib.import_module(library),
        importlib.import_module(f"streamnorm.integrations.{library}"),
    )


@libraries
def test_an_event_stream_is_normalised(engine: Engine, library: str) -> None:
    module, integration = modules(library)

    async def main() -> None:
        async with Upstream() as up:
            up.add("x", [BODY[:50], BODY[50:90], BODY[90:]])
            transport = integration.NormalizingTransport(_engine_module=engine)
            client = module.AsyncClient(transport=transport)
            async with client, client.stream("POST", up.url("x")) as response:
                pieces = [piece async for piece in response.aiter_bytes()]
            assert b"".join(pieces) == EDITED
            items = response.extensions["streamnorm"]
            assert items.report.engine == engine.NAME
            assert items.message == {
                "role": "assistant", "reasoning_content": "why", "content": "so",
            }  # fmt: skip
            assert items.outcome.complete

    run(main())


@libraries
def test_an_event_stream_is_normalised_without_a_loop(engine: Engine, library: str) -> None:
    module, integration = modules(library)
    with Upstream.in_thread() as up:
        up.add("x", [BODY[:50], BODY[50:90], BODY[90:]])
        transport = integration.NormalizingTransport(reasoning="both", _engine_module=engine)
        client = module.Client(transport=transport)
        with client, client.stream("POST", up.url("x")) as response:
            data = b"".join(response.iter_bytes())
    assert datas(data)[0]["choices"][0]["delta"] == {"reasoning_content": "why", "reasoning": "why"}
    assert response.extensions["streamnorm"].report.engine == engine.NAME


@libraries
@pytest.mark.parametrize("reader", ["aread", "aiter_raw", "aiter_lines"])
def test_whatever_a_client_reads_it_with(library: str, reader: str) -> None:
    module, integration = modules(library)

    async def main() -> None:
        async with Upstream() as up:
            up.add("x", [BODY])
            async with integration.normalize_client(module.AsyncClient()) as client:
                if reader == "aread":
                    assert (await client.get(up.url("x"))).content == EDITED
                    return
                async with client.stream("GET", up.url("x")) as response:
                    found = [item async for item in getattr(response, reader)()]
                if reader == "aiter_lines":
                    assert found == EDITED.decode().splitlines()
                else:
                    assert b"".join(found) == EDITED

    run(main())


CODINGS = {
    "gzip": gzip.compress(BODY),
    "deflate": zlib.compress(BODY),
    "deflate, gzip": gzip.compress(zlib.compress(BODY)),
}


@libraries
@pytest.mark.parametrize("coding", [*CODINGS, "br"])
def test_a_coded_body_is_decoded(library: str, coding: str) -> None:
    module, integration = modules(library)
    body = CODINGS.get(coding) or pytest.importorskip("brotli").compress(BODY)

    async def main() -> None:
        async with Upstream() as up:
            headers = {"x-first": "1", "content-encoding": coding, "x-last": "2"}
            up.add("x", [body[:30], body[30:]], headers=headers)
            async with integration.normalize_client(module.AsyncClient()) as client:
                response = await client.get(up.url("x"))
            assert response.content == EDITED
            assert "content-encoding" not in response.headers
            kept = [name for name in response.headers if name.startswith("x-")]
            assert kept == ["x-first", "x-last"]
            assert response.headers["content-type"] == CHUNKED["content-type"]

    run(main())


@libraries
def test_a_coding_that_the_library_does_not_know_is_left_alone(library: str) -> None:
    module, integration = modules(library)
    with Upstream.in_thread() as up:
        up.add("x", [b"\x01\x02\x03"], headers={"content-encoding": "x-own"})
        with integration.normalize_client(module.Client()) as client:
            response = client.get(up.url("x"))
    assert response.content == b"\x01\x02\x03"
    assert response.headers["content-encoding"] == "x-own"


@libraries
def test_a_length_that_is_not_true_any_more_is_dropped(library: str) -> None:
    module, integration = modules(library)
    with Upstream.in_thread() as up:
        up.add("x", [BODY], headers={"content-length": str(len(BODY)), "x-id": "7"})
        with integration.normalize_client(module.Client()) as client:
            response = client.get(up.url("x"))
    assert response.content == EDITED
    assert "content-length" not in response.headers
    assert response.headers["x-id"] == "7"
    assert response.http_version == "HTTP/1.1"
    assert "network_stream" in response.extensions


LINES = b"".join(line[6:] for line in BODY.splitlines(keepends=True) if line.startswith(b"data: {"))


@libraries
@pytest.mark.parametrize(
    "kind", ["application/x-ndjson", "application/jsonl; charset=utf-8", "Text/Event-Stream"]
)
def test_media_types_that_are_rewritten(library: str, kind: str) -> None:
    module, integration = modules(library)
    body = BODY if "vent" in kind else LINES
    with Upstream.in_thread() as up:
        up.add("x", [body], headers={"content-type": kind})
        with integration.normalize_client(module.Client()) as client:
            response = client.get(up.url("x"))
    assert response.content == body.replace(b'"reasoning"', b'"reasoning_content"')
    assert response.headers["content-type"] == kind


@libraries
@pytest.mark.parametrize(
    ("kind", "status"),
    [
        ("application/json", 200),
        ("audio/mpeg", 200),
        ("text/html", 200),
        ("application/json-seq", 200),
        ("", 200),
        ("text/event-stream", 302),
        ("text/event-stream", 400),
        ("text/event-stream", 503),
    ],
)
def test_other_responses_are_left_alone(library: str, kind: str, status: int) -> None:
    module, integration = modules(library)
    packed = gzip.compress(BODY)
    headers = {
        "content-type": kind, "content-encoding": "gzip", "content-length": str(len(packed)),
    }  # fmt: skip

    async def main() -> None:
        async with Upstream() as up:
            up.add("x", [packed], status, headers)
            async with module.AsyncClient() as bare:
                normalised = integration.normalize_client(module.AsyncClient())
                async with normalised as client:
                    answers = []
                    for each in (bare, client):
                        async with each.stream("POST", up.url("x")) as response:
                            raw = b"".join([piece async for piece in response.aiter_raw()])
                            answers.append((response.status_code, response.headers.raw, raw))
                    assert answers[0] == answers[1]
                    assert answers[1][2] == packed
                    # One that nobody reads.
                    await (
                        await client.send(client.build_request("GET", up.url("x")), stream=True)
                    ).aclose()
            await up.drained()

    run(main())


@libraries
@pytest.mark.parametrize("status", [204, 205, 304])
def test_responses_without_a_body(library: str, status: int) -> None:
    module, integration = modules(library)
    with Upstream.in_thread() as up:
        up.add("x", [], status, {"content-length": "0"} if status == 205 else None)
        with integration.normalize_client(module.Client()) as client:
            response = client.get(up.url("x"))
            assert (response.status_code, response.content) == (status, b"")
            assert "streamnorm" not in response.extensions


@libraries
def test_an_answer_to_head_is_left_alone(library: str) -> None:
    module, integration = modules(library)
    answer = module.Response(200, headers=CHUNKED, stream=module.ByteStream(b""))
    mock = module.MockTransport(lambda request: answer)
    with module.Client(transport=integration.NormalizingTransport(mock)) as client:
        response = client.head("http://upstream/v1/chat/completions")
        assert response.content == b""
        assert "streamnorm" not in response.extensions


@libraries
def test_each_event_comes_before_the_next_is_sent(engine: Engine, library: str) -> None:
    module, integration = modules(library)
    events = [event(chunk({"reasoning": str(n)})) for n in range(5)]
    gates = [Gate() for _ in events]
    steps = [step for pair in zip(events, gates, strict=True) for step in pair]

    async def main() -> None:
        async with Upstream() as up:
            up.add("x", [*steps, event(chunk({}, "stop")), DONE])
            client = integration.normalize_client(module.AsyncClient(), _engine_module=engine)
            async with client, client.stream("GET", up.url("x")) as response:
                pieces = response.aiter_bytes()
                for given, gate in zip(events, gates, strict=True):
                    expected = given.replace(b"reasoning", b"reasoning_content")
                    assert await anext(pieces) == expected
                    gate.open()
                rest = b"".join([piece async for piece in pieces])
            assert rest.endswith(DONE)

    run(main())


@libraries
def test_each_event_comes_before_the_next_is_sent_without_a_loop(library: str) -> None:
    module, integration = modules(library)
    events = [event(chunk({"reasoning": str(n)})) for n in range(5)]
    gates = [Gate() for _ in events]
    steps = [step for pair in zip(events, gates, strict=True) for step in pair]
    with Upstream.in_thread() as up:
        up.add("x", [*steps, event(chunk({}, "stop")), DONE])
        client = integration.normalize_client(module.Client())
        with client, client.stream("GET", up.url("x")) as response:
            pieces = response.iter_bytes()
            for given, gate in zip(events, gates, strict=True):
                assert next(pieces) == given.replace(b"reasoning", b"reasoning_content")
                gate.open()
            assert b"".join(pieces).endswith(DONE)


@libraries
def test_a_connection_is_used_again(library: str) -> None:
    module, integration = modules(library)

    async def main() -> None:
        async with Upstream() as up:
            up.add("x", [BODY])
            async with integration.normalize_client(module.AsyncClient()) as client:
                ports = set()
                for _ in range(3):
                    async with client.stream("GET", up.url("x")) as response:
                        network = response.extensions["network_stream"]
                        ports.add(network.get_extra_info("client_addr"))
                        assert await response.aread() == EDITED
                assert len(ports) == 1
            await up.drained()

    run(main())


@libraries
@pytest.mark.parametrize("leave", ["unread", "early", "cancel", "aclose"])
def test_a_client_that_leaves(engine: Engine, library: str, leave: str) -> None:
    module, integration = modules(library)
    first = event(chunk({"content": "a"}))

    async def main() -> None:
        async with Upstream() as up:
            up.add("x", [first, math.inf])
            client = integration.normalize_client(module.AsyncClient(), _engine_module=engine)
            async with client:
                response = await client.send(client.build_request("GET", up.url("x")), stream=True)
                pieces = response.aiter_bytes()
                if leave != "unread":
                    assert await anext(pieces) == first
                if leave in ("cancel", "aclose"):
                    reading = asyncio.ensure_future(anext(pieces, b""))
                    for _ in range(5):
                        await asyncio.sleep(0)
                    if leave == "cancel":
                        reading.cancel()
                        with pytest.raises(asyncio.CancelledError):
                            await reading
                        # The read has closed it; nothing is left to do for the client.
                        await up.drained()
                    else:
                        await response.aclose()
                        with pytest.raises(module.ReadError):  # as without us
                            await reading
                await response.aclose()
                await response.aclose()
                # Before the client is closed.
                await up.drained()
                await pieces.aclose()
            assert up.requests[0].outcome == "client_left"

    run(main())


@libraries
@pytest.mark.parametrize("by", ["itself", "task"])
def test_who_reads_a_closed_response_is_told(library: str, by: str) -> None:
    module, integration = modules(library)

    async def main() -> None:
        async with Upstream() as up:
            up.add("x", [event(chunk({"content": "a"})), math.inf])
            up.add("whole", [BODY, math.inf])
            async with integration.normalize_client(module.AsyncClient()) as client:
                for name in ("x", "whole"):
                    request = client.build_request("POST", up.url(name))
                    response = await client.send(request, stream=True)
                    pieces = response.aiter_raw()
                    await anext(pieces)
                    closing = response.aclose()
                    await (closing if by == "itself" else asyncio.create_task(closing))
                    if name == "x":
                        with pytest.raises(module.ReadError) as caught:
                            await anext(pieces)
                        assert caught.value.request is request
                    else:  # all of the answer is there
                        assert [piece async for piece in pieces] == []
            await up.drained()

    run(main())


@libraries
def test_a_thread_that_reads_what_another_one_closes_is_told(library: str) -> None:
    module, integration = modules(library)
    gate, begun = Gate(), threading.Event()
    first = event(chunk({"content": "a"}))
    raised: list[BaseException] = []

    def read(response: Any) -> None:
        pieces = response.iter_raw()
        next(pieces)
        begun.set()
        try:
            list(pieces)
        except Exception as error:  # noqa: BLE001
            raised.append(error)

    with Upstream.in_thread() as up:
        up.add("x", [first, gate, first])
        with integration.normalize_client(module.Client()) as client:
            response = client.send(client.build_request("GET", up.url("x")), stream=True)
            thread = threading.Thread(target=read, args=(response,))
            thread.start()
            begun.wait()
            response.close()
            gate.open()
            thread.join()
    assert [type(error) for error in raised] == [module.ReadError]


@libraries
def test_threads_share_one_inner_transport(library: str, monkeypatch: pytest.MonkeyPatch) -> None:
    module, integration = modules(library)
    made = []

    class Counted(module.HTTPTransport):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            made.append(self)
            time.sleep(0.05)  # the others get on as far as they can
            super().__init__()

    monkeypatch.setattr(module, "HTTPTransport", Counted)
    start = threading.Barrier(8)

    def send() -> None:
        start.wait()
        client.post(up.url("x"))

    with Upstream.in_thread() as up:
        up.add("x", [BODY])
        # (Not as a context manager, which makes it before there are threads.)
        client = module.Client(transport=integration.NormalizingTransport())
        threads = [threading.Thread(target=send) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        client.close()
        drained(up)
    assert len(made) == 1


@libraries
def test_lines_of_json_elsewhere_are_files(library: str) -> None:
    module, integration = modules(library)
    saved = (
        LINES + b'{"id":"c","object":"chat.completion","choices":[{"message":{"content":"a"}}]}\n'
    )
    with Upstream.in_thread() as up:
        up.add("file", [saved], headers={"content-type": "application/jsonl"})
        with integration.normalize_client(module.Client()) as client:
            response = client.get(up.origin + "/v1/file")
    assert response.content == saved
    assert "streamnorm" not in response.extensions


@libraries
@pytest.mark.parametrize("second", ["text/event-stream", "application/json"])
def test_the_first_of_two_content_types_counts(library: str, second: str) -> None:
    module, integration = modules(library)
    fields = [("content-type", "text/event-stream"), ("content-type", second)]
    for headers, is_edited in ((fields, True), (fields[::-1], second == "text/event-stream")):

        def handle(request: Any, headers: Any = headers) -> Any:
            return module.Response(200, headers=headers, content=BODY)

        transport = integration.NormalizingTransport(module.MockTransport(handle))
        with module.Client(transport=transport) as client:
            assert client.post("http://up/x").content == (EDITED if is_edited else BODY)


@libraries
@pytest.mark.parametrize("is_read", [False, True])
def test_a_client_without_a_loop_that_leaves(library: str, is_read: bool) -> None:
    module, integration = modules(library)
    first = event(chunk({"content": "a"}))
    with Upstream.in_thread() as up:
        up.add("x", [first, math.inf])
        with integration.normalize_client(module.Client()) as client:
            with client.stream("GET", up.url("x")) as response:
                if is_read:
                    assert next(response.iter_bytes()) == first
            drained(up)
    assert up.requests[0].outcome == "client_left"


@libraries
@pytest.mark.parametrize("end", ["end", "fault", "left", "unread"])
def test_what_is_below_is_closed_once(library: str, end: str) -> None:
    module, integration = modules(library)
    closed = []

    class Counted(module.AsyncByteStream):  # type: ignore[misc, name-defined]
        async def __aiter__(self) -> Any:
            yield BODY[:100]
            yield BODY[100:] if end != "fault" else b""

        async def aclose(self) -> None:
            closed.append("stream")

    class Inner(module.AsyncBaseTransport):  # type: ignore[misc, name-defined]
        async def handle_async_request(self, request: Any) -> Any:
            return module.Response(200, headers=CHUNKED, stream=Counted())

        async def aclose(self) -> None:
            closed.append("transport")

    async def main() -> None:
        transport = integration.NormalizingTransport(Inner())
        async with module.AsyncClient(transport=transport) as client:
            request = client.build_request("POST", "http://upstream/v1/chat/completions")
            response = await client.send(request, stream=True)
            if end == "end":
                assert await response.aread() == EDITED
            elif end == "fault":
                with pytest.raises(Exception, match="ended early"):
                    await response.aread()
            elif end == "left":
                pieces = response.aiter_bytes()
                await anext(pieces)
                await pieces.aclose()
            await response.aclose()
            assert closed == ["stream"]
        assert closed == ["stream", "transport"]

    run(main())
