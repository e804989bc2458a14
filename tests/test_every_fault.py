"""Every fault of the fault server, through real sockets, clients and both engines.

What is expected stands in the table of the server (`streamnorm.fault_server.FAULTS`), where
it follows from what is sent; nothing here knows a fault by its name but how a client has to
be asked for it.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace
from typing import Any, Final

import httpx
import pytest

from streamnorm import (
    NormalizedStream,
    NormalizedStreamSync,
    StreamFault,
    Timeouts,
    normalize_stream,
    normalize_stream_sync,
)
from streamnorm._engine import Engine
from streamnorm.fault_server import FAULTS, Expected, FaultCase, FaultServer

from .aio import run

# Much longer than loopback needs for anything else.
SOON: Final = 0.4
REQUEST: Final = {"model": "faulty-1", "stream": True, "messages": []}
# For the fault of a line that is too long.
LIMIT: Final = 1 << 20

Stream = NormalizedStream | NormalizedStreamSync

# What a client does not tell: aiohttp 3.14 never wakes its reader after a chunk of the transfer
# coding that it cannot read, so only a time limit ends the wait.
UNTOLD: Final = {
    ("aiohttp", "invalid-chunked"): Expected(
        "idle_timeout", "api_connection", "provider", limit="idle"
    )
}


@pytest.fixture(scope="module")
def server() -> Iterator[FaultServer]:
    with FaultServer() as running:
        yield running


def options(case: FaultCase, engine: Engine) -> dict[str, Any]:
    limit = case.expected.limit if case.expected is not None else None
    limits = Timeouts(**{limit: SOON}) if limit is not None else None
    return {"timeouts": limits, "max_line_bytes": LIMIT, "_engine_module": engine}


def check(case: FaultCase, stream: Stream, fault: StreamFault | None) -> None:
    """Compare what a stream said with what the table says of its route."""
    expected = case.expected
    assert stream.fault is fault
    assert stream.outcome.complete is (expected is None), fault
    assert stream.outcome.fault is fault
    if expected is None:
        assert fault is None
    else:
        assert fault is not None
        check_facts(case, fault)
        assert (fault.visible_output, fault.reasoning_output) == (
            case.content != "",
            case.reasoning != "",
        )
        assert fault.safe_to_retry is case.safe_to_retry
        assert fault.partial == stream.message
    message = stream.message or {}
    if case.content is not None:
        assert (message.get("content") or "") == case.content
        assert (message.get("reasoning_content") or "") == case.reasoning


def check_facts(case: FaultCase, fault: StreamFault) -> None:
    expected = case.expected
    assert expected is not None
    said = fault.kind, fault.category, fault.blame, fault.status_code, fault.provider_code
    assert said == (
        expected.kind,
        expected.category,
        expected.blame,
        expected.status_code,
        expected.provider_code,
    ), fault
    if expected.retry_after is None:
        assert fault.retry_after is None
    else:
        assert fault.retry_after == pytest.approx(expected.retry_after)
    assert "\n" not in str(fault)


# With an event loop. ----------------------------------------------------------------------


async def of_httpx(url: str, client: httpx.AsyncClient) -> object:
    return await client.send(client.build_request("POST", url, json=REQUEST), stream=True)


async def raw(url: str, client: httpx.AsyncClient) -> AsyncIterator[bytes]:
    """A host's own generator: it opens, checks and reads while it is iterated."""
    async with client.stream("POST", url, json=REQUEST) as response:
        if response.status_code >= 400:
            await response.aread()
            response.raise_for_status()
        async for data in response.aiter_bytes():
            yield data


def opened(client: str, url: str, engine: Engine, case: FaultCase) -> Any:
    """A context manager that gives a stream."""

    @contextlib.asynccontextmanager
    async def with_httpx() -> AsyncIterator[NormalizedStream]:
        async with httpx.AsyncClient(trust_env=False, verify=False, timeout=30) as http:
            source = of_httpx(url, http) if client == "httpx" else raw(url, http)
            async with normalize_stream(source, **options(case, engine)) as stream:
                yield stream

    @contextlib.asynccontextmanager
    async def with_aiohttp() -> AsyncIterator[NormalizedStream]:
        aiohttp = pytest.importorskip("aiohttp")

        async with aiohttp.ClientSession() as session:

            async def response() -> object:
                return await session.post(url, json=REQUEST)

            async with normalize_stream(response(), **options(case, engine)) as stream:
                yield stream

    return with_aiohttp() if client == "aiohttp" else with_httpx()


@pytest.mark.parametrize(
    ("client", "output"), [("httpx", "peek"), ("aiohttp", "chunks"), ("raw", "sse")]
)
@pytest.mark.parametrize("case", FAULTS, ids=lambda case: case.name)
def test_async(
    server: FaultServer, case: FaultCase, client: str, output: str, engine: Engine
) -> None:
    if (client, case.name) in UNTOLD:
        case = replace(case, expected=UNTOLD[client, case.name])

    async def main() -> None:
        async with opened(client, server.url(case.name), engine, case) as stream:
            fault = None
            if output == "peek":
                await peeked(case, stream)
            try:
                async for _ in stream.sse() if output == "sse" else stream:
                    pass
            except StreamFault as error:
                fault = error
            if output == "sse" and case.expected is not None and case.expected.kind == "corrupt":
                # Bytes pass as they came: only a chunk can be corrupt.
                assert fault is None
                return
            check(case, stream, fault)

    if client == "aiohttp":
        pytest.importorskip("aiohttp")
    run(main())


async def peeked(case: FaultCase, stream: NormalizedStream) -> None:
    """Nothing was delivered: a fault before the first visible event says so."""
    found: object
    try:
        found = await stream.peek(max_bytes=2 * LIMIT, timeout=None)
    except StreamFault as fault:
        check_facts(case, fault)
        found = fault.visible_output, fault.reasoning_output
    assert found == ("visible" if case.content != "" else (False, False))


# Without an event loop. ------------------------------------------------------------------


def sync_httpx(url: str) -> contextlib.AbstractContextManager[object]:
    stack = contextlib.ExitStack()
    client = stack.enter_context(httpx.Client(trust_env=False, verify=False, timeout=SOON))
    with closing_on_error(stack):
        request = client.build_request("POST", url, json=REQUEST)
        stack.response = client.send(request, stream=True)  # type: ignore[attr-defined]
    return held(stack)


def sync_requests(url: str) -> contextlib.AbstractContextManager[object]:
    requests = pytest.importorskip("requests")
    stack = contextlib.ExitStack()
    session = stack.enter_context(requests.Session())
    session.trust_env = False
    with closing_on_error(stack):
        stack.response = session.post(url, json=REQUEST, stream=True, timeout=SOON)  # type: ignore[attr-defined]
    return held(stack)


def sync_raw(url: str) -> contextlib.AbstractContextManager[object]:
    def pieces() -> Iterator[bytes]:
        with (
            httpx.Client(trust_env=False, verify=False, timeout=SOON) as client,
            client.stream("POST", url, json=REQUEST) as response,
        ):
            if response.status_code >= 400:
                response.read()
                response.raise_for_status()
            yield from response.iter_bytes()

    return contextlib.nullcontext(pieces())


@contextlib.contextmanager
def closing_on_error(stack: contextlib.ExitStack) -> Iterator[None]:
    try:
        yield
    except BaseException:
        stack.close()
        raise


@contextlib.contextmanager
def held(stack: Any) -> Iterator[object]:
    with stack:
        yield stack.response


SYNC: Final[dict[str, Callable[[str], contextlib.AbstractContextManager[object]]]] = {
    "httpx": sync_httpx,
    "requests": sync_requests,
    "raw": sync_raw,
}


def is_silent(case: FaultCase) -> bool:
    """Nothing at all comes any more: without a thread, the client's own limit breaks it off."""
    return case.timing is not None and math.isinf(case.timing.pause)


@pytest.mark.parametrize(
    ("client", "output"), [("httpx", "sse"), ("requests", "chunks"), ("raw", "chunks")]
)
@pytest.mark.parametrize("case", FAULTS, ids=lambda case: case.name)
def test_sync(
    server: FaultServer, case: FaultCase, client: str, output: str, engine: Engine
) -> None:
    fault = None
    try:
        source = SYNC[client](server.url(case.name))
    except Exception as error:
        if case.raw and case.expected is not None:
            read = StreamFault.from_exception(error)
            assert (read.kind, read.category, read.blame, read.safe_to_retry) == (
                "transport", "api_connection", "transport", True,
            )  # fmt: skip
            return
        raise
    with source as given, normalize_stream_sync(given, **options(case, engine)) as stream:
        try:
            for _ in stream.sse() if output == "sse" else stream:
                pass
        except StreamFault as error:
            fault = error
        expected = case.expected
        if is_silent(case):
            assert fault is not None
            assert (fault.kind, fault.category, fault.blame) == (
                "transport", "api_connection", "transport",
            )  # fmt: skip
            assert ((stream.message or {}).get("content") or "") == case.content
        elif output == "sse" and expected is not None and expected.kind == "corrupt":
            assert fault is None
        else:
            check(case, stream, fault)
