"""Errors that a transport sees: remembered for their call, and a repeated 422 made a 400."""

from __future__ import annotations

import asyncio
import gc
import gzip
import json
import weakref
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from streamnorm import StreamFault, captured, normalize_stream, normalize_stream_sync
from streamnorm.integrations.httpx import normalize_client
from streamnorm.upstream import Gate, Upstream

from ..aio import run
from ..helpers import stream
from .test_transport import libraries, modules

BODY = stream({"reasoning": "why"}, {"content": "so"})
JSON = {"content-type": "application/json"}


def refusal(message: str) -> bytes:
    return json.dumps({"error": {"message": message}}).encode()


NO = refusal("no such thing")


# What is remembered. ---------------------------------------------------------------


@libraries
@pytest.mark.parametrize("coding", ["", "gzip"])
def test_an_error_is_remembered_as_the_client_reads_it(library: str, coding: str) -> None:
    module, integration = modules(library)
    body = gzip.compress(NO) if coding else NO

    async def main() -> None:
        async with Upstream() as up:
            up.add("no", [body[:20], body[20:]], 422, {**JSON, "content-encoding": coding})
            up.add("x", [BODY])
            async with integration.normalize_client(module.AsyncClient()) as client:
                assert captured.last() is None
                async with client.stream("POST", up.url("no")) as response:
                    found = captured.last()
                    assert found is not None
                    assert (found.status, found.body) == (422, b"")
                    assert await response.aread() == NO
                assert found.body == NO
                assert found.headers["content-type"] == "application/json"
                with pytest.raises(StreamFault) as caught:
                    await anext(normalize_stream(None))
                fault = caught.value
                assert (fault.kind, fault.status_code) == ("none_stream", 422)
                assert fault.provider_message == "no such thing"
                # A good answer ends that.
                await client.get(up.url("x"))
                assert captured.last() is None

    with captured.call():
        run(main())


@libraries
@pytest.mark.parametrize("coding", ["", "gzip"])
def test_an_error_is_remembered_without_a_loop(library: str, coding: str) -> None:
    module, integration = modules(library)
    body = gzip.compress(NO) if coding else NO
    with Upstream.in_thread() as up:
        up.add("no", [body], 503, {**JSON, "content-encoding": coding})
        with integration.normalize_client(module.Client()) as client, captured.call() as call:
            response = client.get(up.url("no"))
            assert (response.status_code, response.content) == (503, NO)
            assert call.refusal is not None
            assert (call.refusal.status, call.refusal.body) == (503, NO)
            with pytest.raises(StreamFault, match="no such thing"):
                next(normalize_stream_sync(None))


@libraries
def test_no_more_of_an_error_is_kept_than_is_of_use(library: str) -> None:
    module, integration = modules(library)
    body = b"x" * 100_000
    with Upstream.in_thread() as up:
        for coding in ("", "gzip"):
            sent = gzip.compress(body) if coding else body
            up.add("no", [sent], 500, {"content-encoding": coding})
            with integration.normalize_client(module.Client()) as client, captured.call() as call:
                assert client.get(up.url("no")).content == body
            assert call.refusal is not None
            assert call.refusal.body == body[: captured.BODY_BYTES]


@libraries
def test_nothing_of_an_error_is_delayed(library: str) -> None:
    module, integration = modules(library)
    gate = Gate()

    async def main() -> None:
        async with Upstream() as up:
            up.add("no", [NO[:9], gate, NO[9:]], 422)
            client = integration.normalize_client(module.AsyncClient())
            async with client, client.stream("POST", up.url("no")) as response:
                pieces = response.aiter_raw()
                assert await anext(pieces) == NO[:9]
                found = captured.last()
                assert found is not None
                assert found.body == NO[:9]
                gate.open()
                assert b"".join([piece async for piece in pieces]) == NO[9:]

    with captured.call():
        run(main())


@libraries
def test_an_answer_that_was_read_already(library: str) -> None:
    module, integration = modules(library)
    mock = module.MockTransport(lambda request: module.Response(500, content=NO))
    client = module.Client(transport=integration.NormalizingTransport(mock))
    with client, captured.call() as call:
        assert client.get("http://upstream").content == NO
    assert call.refusal is not None
    assert call.refusal.body == NO


@libraries
def test_no_answer_is_no_refusal(library: str) -> None:
    module, integration = modules(library)

    def handle(request: Any) -> Any:
        if request.url.path == "/no":
            return module.Response(422, content=NO)
        raise module.ConnectError("nobody there")

    transport = integration.NormalizingTransport(module.MockTransport(handle))

    async def main() -> None:
        async with module.AsyncClient(transport=transport) as client:
            await client.get("http://upstream/no")
            assert captured.last() is not None
            with pytest.raises(module.ConnectError):
                await client.get("http://upstream")
            assert captured.last() is None

    with captured.call():
        run(main())


@libraries
def test_calls_do_not_share_what_is_remembered(library: str) -> None:
    module, integration = modules(library)

    async def main() -> None:
        async with Upstream() as up:
            up.add("before", [NO], 422)
            up.add("no", [refusal("mine")], 422)
            up.add("x", [BODY])
            async with integration.normalize_client(module.AsyncClient()) as client:
                refused, answered = asyncio.Event(), asyncio.Event()

                async def one() -> bytes | None:
                    with captured.call():
                        await client.get(up.url("no"))
                        refused.set()
                        await answered.wait()
                        found = captured.last()
                        return found.body if found else None

                async def other() -> bytes | None:
                    await refused.wait()
                    with captured.call() as call:
                        await client.get(up.url("x"))
                        assert call.refusal is None
                    before = captured.last()  # of the call that it began in
                    answered.set()
                    return before.body if before else None

                with captured.call():
                    await client.get(up.url("before"))
                    found = await asyncio.gather(one(), other())
                assert list(found) == [refusal("mine"), NO]
                assert captured.last() is None

    run(main())


@pytest.mark.parametrize("status", [400, 401, 422, 429, 500])
def test_what_a_client_raises_explains_no_later_none(status: int) -> None:
    with Upstream.in_thread() as up:
        up.add("no", [NO], status, JSON)
        with normalize_client(httpx.Client()) as client:
            assert client.get(up.url("no")).status_code == status
            with pytest.raises(StreamFault) as caught:
                next(normalize_stream_sync(None))
            assert (caught.value.kind, caught.value.status_code) == ("none_stream", None)
            with captured.call():
                client.get(up.url("no"))
                nothing = normalize_stream_sync(None)
            with pytest.raises(StreamFault) as caught:
                next(nothing)
            assert (caught.value.kind, caught.value.status_code) == ("none_stream", status)


# A repeated 422, with httpx alone. --------------------------------------------------


@pytest.fixture
def refusing() -> Iterator[tuple[Upstream, httpx.Client]]:
    with Upstream.in_thread() as up:
        up.add("no", [NO], 422, JSON)
        up.add("other", [NO], 422, JSON)
        up.add("x", [BODY])
        with normalize_client(httpx.Client()) as client:
            yield up, client


def test_calls_of_ones_own_see_each_422(refusing: tuple[Upstream, httpx.Client]) -> None:
    up, client = refusing
    statuses = [client.post(up.url("no"), json={"a": 1}).status_code for _ in range(3)]
    assert statuses == [422, 422, 422]


def test_a_repeat_in_one_call(refusing: tuple[Upstream, httpx.Client]) -> None:
    up, client = refusing
    with captured.call() as call:
        assert client.post(up.url("no"), json={"a": 1}).status_code == 422
        again = client.post(up.url("no"), json={"a": 1})
        assert (again.status_code, again.reason_phrase) == (400, "Bad Request")
        assert again.content == NO
        assert again.headers["content-type"] == "application/json"
        assert call.refusal is not None
        assert (call.refusal.status, call.refusal.body) == (422, NO)
    # Another call.
    with captured.call():
        assert client.post(up.url("no"), json={"a": 1}).status_code == 422


@pytest.mark.parametrize("between", ["body", "url", "method", "good"])
def test_what_is_no_repeat(refusing: tuple[Upstream, httpx.Client], between: str) -> None:
    up, client = refusing
    with captured.call():
        client.post(up.url("no"), json={"a": 1})
        if between == "body":
            again = client.post(up.url("no"), json={"a": 2})
        elif between == "url":
            again = client.post(up.url("other"), json={"a": 1})
        elif between == "method":
            again = client.request("GET", up.url("no"), json={"a": 1})
        else:
            client.post(up.url("x"), json={"a": 1})
            again = client.post(up.url("no"), json={"a": 1})
        assert again.status_code == 422


def test_nothing_of_a_call_is_kept_alive(refusing: tuple[Upstream, httpx.Client]) -> None:
    up, client = refusing

    class Kept:
        pass

    def send() -> weakref.ref[Kept]:
        kept = Kept()
        client.post(up.url("no"), json={"a": 1}, extensions={"kept": kept})
        return weakref.ref(kept)

    refused = send()
    gc.collect()
    assert refused() is None


def test_a_request_whose_body_is_gone_is_no_repeat(refusing: tuple[Upstream, httpx.Client]) -> None:
    up, client = refusing
    with captured.call():
        for _ in range(2):
            assert client.post(up.url("no"), content=iter([b"{}"])).status_code == 422
