"""OpenAI's SDK over a normalising transport, and its streams as sources.

Runs with 2.x (httpx; see ..test_transport_openai) and with 3.x (httpx2, and httpx).
"""

from __future__ import annotations

import asyncio
import importlib
import math
from typing import Any

import openai
import pytest

from streamnorm import StreamFault, normalize_stream, normalize_stream_sync
from streamnorm._engine import Engine
from streamnorm.integrations.openai import normalize_openai
from streamnorm.upstream import Abort, Gate, Step, Upstream

from ...aio import collect, deltas, run
from ...blocking import drained
from ...helpers import DONE, chunk, event, stream
from ..recipes import run_recipe

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning:pydantic.*"),
]

BODY = stream({"reasoning": "why"}, {"content": "so"})
DELTAS = [{"reasoning_content": "why"}, {"content": "so"}, {}]
FIRST = event(chunk({"content": "a"}))
LIBRARIES = ["httpx"] if openai.VERSION < "3" else ["httpx2", "httpx"]

libraries = pytest.mark.parametrize("library", LIBRARIES)


def made(library: str, up: Upstream, name: str = "x", *, is_async: bool = True) -> Any:
    """A client of the SDK that sends with *library*."""
    module = importlib.import_module(library)
    kind = openai.AsyncOpenAI if is_async else openai.OpenAI
    http_client = module.AsyncClient() if is_async else module.Client()
    build: Any = kind
    return build(base_url=up.base_url(name), api_key="x", http_client=http_client, max_retries=0)


def ask(client: Any) -> Any:
    return client.chat.completions.create(model="m", messages=[], stream=True)


async def gathered(answer: Any) -> tuple[list[Any], Any]:
    """What an answer gives, and the fault that it raises behind that."""
    found = []
    try:
        async for item in answer:
            found.append(item)
    except StreamFault as fault:
        return found, fault
    return found, None


def reasoning(items: list[Any]) -> list[Any]:
    return [getattr(item.choices[0].delta, "reasoning_content", None) for item in items]


@libraries
def test_chunks_of_a_normalised_client(engine: Engine, library: str) -> None:
    async def main() -> None:
        async with Upstream() as up:
            up.add("x", [BODY[:40], BODY[40:]])
            client = made(library, up)
            normalize: Any = normalize_openai
            assert normalize(client, _engine_module=engine) is client
            for each in (client, client.with_options(timeout=3), client.copy()):
                answer = await ask(each)
                found = [item async for item in answer]
                assert reasoning(found) == ["why", None, None]
                assert found[1].choices[0].delta.content == "so"
                known = answer.response.extensions["streamnorm"]
                assert known.report.engine == engine.NAME
                assert known.outcome.complete
            await client.close()
            await up.drained()

    run(main())


@libraries
def test_chunks_of_a_normalised_client_without_a_loop(library: str) -> None:
    with Upstream.in_thread() as up:
        up.add("x", [BODY])
        with made(library, up, is_async=False) as client:
            twin = client.copy()  # made before
            normalize_openai(normalize_openai(client))
            for each in (client, twin):
                assert reasoning(list(ask(each))) == ["why", None, None]
        drained(up)


@libraries
def test_a_client_of_azure(library: str) -> None:
    module = importlib.import_module(library)
    with Upstream.in_thread() as up:
        up.otherwise(lambda request: up._routes["x"])
        up.add("x", [BODY])
        build: Any = openai.AzureOpenAI
        client = build(
            azure_endpoint=up.origin, api_key="x", api_version="1", http_client=module.Client()
        )
        with normalize_openai(client):
            assert reasoning(list(ask(client))) == ["why", None, None]
        assert up.requests[0].path == "/openai/deployments/m/chat/completions"


@libraries
def test_a_client_as_the_sdk_makes_it_itself(library: str) -> None:
    with Upstream.in_thread() as up:
        up.add("x", [BODY])
        client = openai.OpenAI(base_url=up.base_url("x"), api_key="x")
        with normalize_openai(client, reasoning="reasoning"):
            found = list(ask(client))
        assert found[0].choices[0].delta.reasoning == "why"
        drained(up)


def test_what_is_no_client_is_refused() -> None:
    with pytest.raises(TypeError, match="needs an OpenAI or AsyncOpenAI client"):
        normalize_openai(openai.OpenAI)  # type: ignore[type-var]


@libraries
@pytest.mark.parametrize("is_async", [True, False])
def test_a_fault_passes_through_the_sdk(library: str, is_async: bool) -> None:
    lost: list[Step] = [FIRST, Abort()]

    async def main() -> None:
        async with Upstream() as up:
            up.add("x", [FIRST])
            up.add("lost", lost)
            for name, kind in (("x", "truncated"), ("lost", "transport")):
                client = normalize_openai(made(library, up, name))
                found, fault = await gathered(await ask(client))
                assert fault.kind == kind
                assert len(found) == 1
                await client.close()
                await up.drained()

    def main_sync() -> None:
        with Upstream.in_thread() as up:
            up.add("x", [FIRST])
            up.add("lost", lost)
            for name, kind in (("x", "truncated"), ("lost", "transport")):
                with normalize_openai(made(library, up, name, is_async=False)) as client:
                    found = []
                    with pytest.raises(StreamFault) as caught:
                        found.extend(ask(client))
                    assert caught.value.kind == kind
                    assert len(found) == 1
                drained(up)

    run(main()) if is_async else main_sync()


@libraries
def test_a_chunk_comes_before_the_next_is_sent(library: str) -> None:
    events = [event(chunk({"reasoning": str(n)})) for n in range(4)]
    gates = [Gate() for _ in events]
    steps = [step for pair in zip(events, gates, strict=True) for step in pair]

    async def main() -> None:
        async with Upstream() as up:
            up.add("x", [*steps, event(chunk({}, "stop")), DONE])
            client = normalize_openai(made(library, up))
            answer = await ask(client)
            for n, gate in enumerate(gates):
                assert reasoning([await anext(answer)]) == [str(n)]
                gate.open()
            assert len([item async for item in answer]) == 1
            await client.close()

    run(main())


@libraries
@pytest.mark.parametrize("end", ["done", "early"])
def test_a_stream_that_is_left(library: str, end: str) -> None:
    async def main() -> None:
        async with Upstream() as up:
            up.add("x", [BODY if end == "done" else FIRST, math.inf])
            client = normalize_openai(made(library, up))
            async with await ask(client) as answer:
                if end == "early":
                    await anext(answer)
                else:
                    # The SDK may wait a moment for the end of the body; not for ever.
                    assert len([item async for item in answer]) == 3
            # Before the client is closed.
            await up.drained()
            await client.close()
            assert up.requests[0].outcome == "client_left"

    run(main())


@libraries
def test_a_connection_is_used_again(library: str) -> None:
    async def main() -> None:
        async with Upstream() as up:
            up.add("x", [BODY])
            client = normalize_openai(made(library, up))
            ports = set()
            for _ in range(3):
                answer = await ask(client)
                network = answer.response.extensions["network_stream"]
                ports.add(network.get_extra_info("client_addr"))
                async for _ in answer:
                    pass
            if "httpx2" in LIBRARIES:  # 2.x leaves the end of the body unread
                assert len(ports) == 1
            await client.close()
            await up.drained()

    run(main())


# The SDK's streams as sources. -------------------------------------------------------


@libraries
@pytest.mark.parametrize("is_normalised", [False, True])
def test_a_stream_is_read_through_its_bytes(
    engine: Engine, library: str, is_normalised: bool
) -> None:
    """Behind a normalising transport as well: what is in normal form stays as it is."""

    async def main() -> None:
        async with Upstream() as up:
            up.add("x", [BODY])
            client = made(library, up)
            if is_normalised:
                normalize: Any = normalize_openai
                normalize(client, _engine_module=engine)
            items = normalize_stream(ask(client), _engine_module=engine)
            chunks, fault = await collect(items)
            assert (deltas(chunks), fault) == (DELTAS, None)
            assert items.report.engine == engine.NAME
            remapped = {} if is_normalised else {"reasoning→reasoning_content": 1}
            assert items.report.remaps == remapped
            edited = BODY.replace(b'"reasoning"', b'"reasoning_content"')
            out = b""
            async for piece in normalize_stream(await ask(client)).sse():
                out += piece
            assert out == edited
            await client.close()
            await up.drained()

    run(main())


@libraries
def test_a_stream_is_read_through_its_bytes_without_a_loop(engine: Engine, library: str) -> None:
    with Upstream.in_thread() as up:
        up.add("x", [BODY])
        with made(library, up, is_async=False) as client:
            items = normalize_stream_sync(ask(client), _engine_module=engine)
            assert deltas(list(items)) == DELTAS
            assert items.report.engine == engine.NAME
            drained(up)


@libraries
@pytest.mark.parametrize("how", ["anext", "aiter"])
def test_a_stream_that_was_begun_goes_on_as_objects(library: str, how: str) -> None:
    async def main() -> None:
        async with Upstream() as up:
            up.add("x", [BODY])
            client = made(library, up)
            answer = await ask(client)
            items = normalize_stream(answer)  # looks only when it is read
            iterator = answer if how == "anext" else aiter(answer)
            assert (await anext(iterator)).choices[0].delta.reasoning == "why"
            chunks, fault = await collect(items)
            assert [one["choices"][0]["delta"].get("content") for one in chunks] == ["so", None]
            assert (items.report.engine, fault) == ("python", None)
            await client.close()
            await up.drained()

    run(main())


@libraries
def test_a_stream_that_was_begun_goes_on_as_objects_without_a_loop(library: str) -> None:
    with Upstream.in_thread() as up:
        up.add("x", [BODY])
        with made(library, up, is_async=False) as client:
            answer = ask(client)
            next(answer)
            items = normalize_stream_sync(answer)
            assert [one["choices"][0]["delta"].get("content") for one in items] == ["so", None]
            assert items.report.engine == "python"


@libraries
@pytest.mark.parametrize("leave", ["aclose", "unread"])
def test_closing_closes_the_response(library: str, leave: str) -> None:
    async def main() -> None:
        async with Upstream() as up:
            up.add("x", [FIRST, math.inf])
            client = made(library, up)
            answer = await ask(client)
            items = normalize_stream(answer)
            if leave == "aclose":
                await anext(items)
            await items.aclose()
            assert answer.response.is_closed
            await up.drained()
            await client.close()
            assert up.requests[0].outcome == "client_left"

    run(main())


@libraries
def test_what_the_sdk_would_raise_is_a_fault_with_all_that_was_sent(library: str) -> None:
    error = event(b'{"error": {"message": "overloaded", "code": 529, "metadata": {"a": 1}}}')

    async def main() -> None:
        async with Upstream() as up:
            up.add("x", [FIRST, error], headers={"retry-after": "7"})
            client = made(library, up)
            chunks, fault = await collect(normalize_stream(await ask(client)))
            assert len(chunks) == 1
            assert fault is not None
            assert (fault.kind, fault.status_code, fault.retry_after) == ("error_event", 529, 7.0)
            assert fault.body["error"]["metadata"] == {"a": 1}
            await client.close()

    run(main())


def test_the_recipe_of_a_client(capsys: pytest.CaptureFixture[str]) -> None:
    async def main() -> None:
        async with Upstream() as up:
            up.add("x", [BODY])
            given = {"base_url": up.base_url("x"), "api_key": "x"}
            names = await run_recipe("openai", **given, request={"model": "m", "messages": []})
            await names["client"].close()
            await up.drained()

    run(main())
    assert capsys.readouterr().out == "whyso"


def test_the_recipe_of_one_stream(capsys: pytest.CaptureFixture[str]) -> None:
    async def main() -> None:
        async with Upstream() as up:
            up.add("x", [BODY])
            async with openai.AsyncOpenAI(base_url=up.base_url("x"), api_key="x") as client:
                names = await run_recipe(
                    "openai", "one stream", client=client, request={"model": "m", "messages": []}
                )
            assert names["message"]["reasoning_content"] == "why"
            await up.drained()

    run(main())
    assert capsys.readouterr().out.split() == ["why", "so"]


@libraries
def test_a_stream_that_another_task_closes_does_not_look_whole(library: str) -> None:
    async def main() -> None:
        async with Upstream() as up:
            up.add("x", [FIRST, math.inf])
            client = normalize_openai(made(library, up))
            async with client:
                answer = await ask(client)
                begun = asyncio.Event()

                async def read() -> None:
                    async for _ in answer:
                        begun.set()

                reading = asyncio.create_task(read())
                await begun.wait()
                await answer.close()
                # (The SDK wraps it from 3.0 on.)
                lost = importlib.import_module(library).ReadError
                with pytest.raises((lost, openai.APIConnectionError)) as caught:
                    await reading
                assert isinstance(caught.value, lost) or isinstance(caught.value.__cause__, lost)

    run(main())
