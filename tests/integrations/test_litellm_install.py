"""What install() does to LiteLLM, and takes back; what guard() says where None would come."""

from __future__ import annotations

import asyncio
import gc
import importlib
import inspect
import json
import threading
from collections.abc import Coroutine
from typing import Any

import httpx
import pytest

from streamnorm import StreamFault, normalize_stream
from streamnorm.integrations.httpx import NormalizingTransport
from streamnorm.integrations.litellm import guard, install, wrap
from streamnorm.upstream import Gate, Request, Route, Upstream

from .litellm_calls import (
    MARKS,
    collect,
    collect_sync,
    finishes,
    one,
    playing,
    request,
    run,
    steps,
    text,
    tidied,  # noqa: F401 - used by all
    tidy,
    upstream,
)
from .recipes import run_recipe

pytestmark = MARKS


THOUGHT = steps({"reasoning_text": "why"})
MESSAGE = "tool_choice is not supported"
REFUSED = [json.dumps({"detail": MESSAGE}).encode()]


def state(litellm: Any) -> dict[str, Any]:
    """Everything of LiteLLM that could be changed from outside, and is not by its own calls."""
    from litellm.litellm_core_utils import streaming_handler
    from litellm.llms.custom_httpx import http_handler
    from litellm.llms.openai import common_utils, openai

    found: dict[str, Any] = {}
    for module in (litellm, streaming_handler, http_handler, openai):
        found |= {f"{module.__name__}.{name}": value for name, value in vars(module).items()}
    for kind in (litellm.CustomStreamWrapper, http_handler.AsyncHTTPHandler,
                 http_handler.HTTPHandler, openai.OpenAIChatCompletion,
                 common_utils.BaseOpenAILLM):  # fmt: skip
        found |= {f"{kind.__name__}.{name}": value for name, value in vars(kind).items()}
    return found


def changed(before: dict[str, Any], after: dict[str, Any]) -> set[str]:
    return {name for name, value in before.items() if after.get(name) is not value}


def kept(litellm: Any) -> dict[str, Any]:
    """The clients that LiteLLM keeps, with what they send through."""
    clients = litellm.in_memory_llm_clients_cache.cache_dict
    return {
        key: (client, getattr(getattr(client, "_client", None), "_transport", None))
        for key, client in clients.items()
    }


async def read(litellm: Any, up: Upstream, provider: str = "openai") -> str:
    chunks, error = await collect(await litellm.acompletion(**request(up, provider)))
    assert error is None
    return text(chunks, "reasoning_content")


# install(). -------------------------------------------------------------------------


def test_it_is_left_as_it_was(litellm: Any) -> None:
    async def main() -> None:
        async with upstream(THOUGHT) as up:
            assert await read(litellm, up) == ""  # (its modules load as they are needed)
            before, clients = state(litellm), kept(litellm)
            with install():
                assert changed(before, state(litellm)) == {
                    "BaseOpenAILLM._get_async_http_client", "BaseOpenAILLM._get_sync_http_client",
                    "CustomStreamWrapper.__init__",
                }  # fmt: skip
                assert await read(litellm, up) == "why"
                # With a client that it has not kept yet, too.
                chunks, _ = await collect(
                    await litellm.acompletion(**request(up) | {"api_key": "another"})
                )
                assert text(chunks, "reasoning_content") == "why"
            assert changed(before, state(litellm)) == set()
            after = kept(litellm)
            assert {key: after[key] for key in clients} == clients
            new = [transport for key, (_, transport) in after.items() if key not in clients]
            assert new
            assert not any(isinstance(each, NormalizingTransport) for each in new)
            assert await read(litellm, up) == ""

    run(main())


def test_it_is_installed_once(litellm: Any) -> None:
    with install() as first, pytest.raises(RuntimeError, match="installed in LiteLLM already"):
        install()
    # It is undone once, too: not what another one has installed since.
    with install():
        before = state(litellm)
        first()
        assert changed(before, state(litellm)) == set()


@pytest.mark.parametrize(
    ("options", "error"),
    [({"no": 1}, TypeError), ({"tags": 1}, TypeError), ({"tags": "no"}, ValueError)],
    ids=str,
)
def test_wrong_options_change_nothing(litellm: Any, options: Any, error: Any) -> None:
    before = state(litellm)
    with pytest.raises(error):
        install(**options)
    assert changed(before, state(litellm)) == set()
    install()()  # and it can be installed


@pytest.mark.parametrize("name", ["aclient_session", "client_session"])
def test_a_session_that_cannot_be_used_changes_nothing(
    litellm: Any, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(litellm, name, object())
        before = state(litellm)
        with pytest.raises(TypeError, match=f"litellm.{name} has to be an httpx"):
            install()
        assert changed(before, state(litellm)) == set()
    install()()  # and it can be installed


def test_what_fails_half_way_is_undone(litellm: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    class Failing(httpx.Client):
        @property
        def _transport(self) -> Any:
            raise RuntimeError("no transport")

        @_transport.setter
        def _transport(self, transport: Any) -> None:
            pass

    async def main() -> None:
        async with httpx.AsyncClient() as session:
            transport = session._transport
            with monkeypatch.context() as patched:
                patched.setattr(litellm, "aclient_session", session)
                patched.setattr(litellm, "client_session", Failing())
                before = state(litellm)
                with pytest.raises(RuntimeError, match="no transport"):
                    install()
                assert changed(before, state(litellm)) == set()
            assert session._transport is transport
        install()()  # and it can be installed

    run(main())


def test_a_session_of_the_callers_own(litellm: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        async with upstream(THOUGHT) as up, httpx.AsyncClient() as client:
            monkeypatch.setattr(litellm, "aclient_session", client)
            transport = client._transport
            uninstall = install()
            assert litellm.aclient_session is client
            assert isinstance(client._transport, NormalizingTransport)
            arguments = request(up) | {"api_key": "own"}
            chunks, _ = await collect(await litellm.acompletion(**arguments))
            assert text(chunks, "reasoning_content") == "why"
            uninstall()
            assert litellm.aclient_session is client
            assert client._transport is transport
            assert not client.is_closed

    run(main())


def test_what_others_have_put_around_it_stays(
    litellm: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    uninstall = install()
    ours = litellm.CustomStreamWrapper.__init__
    made = []

    def theirs(self: Any, *args: Any, **kwargs: Any) -> None:
        made.append(self)
        ours(self, *args, **kwargs)

    with monkeypatch.context() as patched:
        patched.setattr(litellm.CustomStreamWrapper, "__init__", theirs)
        uninstall()
        assert litellm.CustomStreamWrapper.__init__ is theirs

        async def main() -> None:
            async with upstream(THOUGHT) as up:
                assert await read(litellm, up) == ""

        run(main())
        assert len(made) == 1
    litellm.CustomStreamWrapper.__init__ = inspect.unwrap(ours)


def test_each_event_loop_is_served(litellm: Any) -> None:
    async def main(up: Upstream) -> str:
        return await read(litellm, up)

    with Upstream.in_thread() as up, install():
        playing(up, THOUGHT)
        assert [run(main(up)) for _ in range(3)] == ["why"] * 3


def test_event_loops_at_the_same_time(litellm: Any) -> None:
    """A call in one thread leaves the stream alone that another one is reading."""
    gate, is_read, found = Gate(), threading.Event(), []

    def find(sent: Request) -> Route:
        if "/held/" in sent.path:
            return Route((THOUGHT[0], gate, *THOUGHT[1:]))
        return Route(tuple(THOUGHT))

    def run_alone(main: Coroutine[Any, Any, None]) -> None:
        """Without what `run` does at the end to the clients of all event loops."""

        async def whole() -> None:
            await main
            ours = f"-{id(asyncio.get_running_loop())}"
            for key, client in list(litellm.in_memory_llm_clients_cache.cache_dict.items()):
                if key.endswith(ours):
                    await client._client.aclose()

        asyncio.run(whole())

    async def first(up: Upstream) -> None:
        stream = await litellm.acompletion(**request(up) | {"api_base": f"{up.origin}/held"})
        is_read.set()
        found.append(await collect(stream))

    async def others(up: Upstream) -> None:
        for _ in range(2):
            streams = [await litellm.acompletion(**request(up)) for _ in range(2)]
            found.extend([await collect(stream) for stream in streams])
        gate.open()

    def reading(up: Upstream) -> None:
        try:
            run_alone(first(up))
        finally:
            is_read.set()

    with Upstream.in_thread() as up, install():
        up.otherwise(find)
        thread = threading.Thread(target=reading, args=(up,))
        thread.start()
        is_read.wait()
        try:
            run_alone(others(up))
        finally:
            gate.open()
            thread.join()
    assert [error for _, error in found] == [None] * 5
    assert [text(chunks, "reasoning_content") for chunks, _ in found] == ["why"] * 5


def test_nothing_piles_up(litellm: Any) -> None:
    """Installed again and again inside of an event loop, it adds no client and no connection."""

    def clients() -> int:
        gc.collect()
        kinds = (httpx.Client, httpx.AsyncClient)
        # (Not isinstance: other objects' properties would be asked.)
        return sum(issubclass(type(each), kinds) for each in gc.get_objects())

    async def main() -> None:
        async with upstream(THOUGHT) as up:
            await read(litellm, up)
            before = clients(), up.open_connections
            for _ in range(20):
                with install():
                    assert await read(litellm, up) == "why"
            assert (clients(), up.open_connections) == before

    run(main())


def test_litellm_sees_which_clients_are_in_use(litellm: Any) -> None:
    """It closes those that it has dropped as soon as no connection of theirs is."""
    closer: Any = importlib.import_module("litellm.caching.evicted_client_closer")

    def in_use() -> bool:
        kept = litellm.in_memory_llm_clients_cache.cache_dict.values()
        return any(closer._has_connection_in_flight(client) for client in kept)

    async def main() -> None:
        gate = Gate()
        async with upstream([THOUGHT[0], gate, *THOUGHT[1:]]) as up:
            with install():
                stream = await litellm.acompletion(**request(up))
                assert in_use()
                gate.open()
                assert (await collect(stream))[1] is None
                await stream.aclose()
                assert not in_use()

    tidy()
    run(main())


def test_a_session_that_is_given_later(litellm: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        async with upstream(REFUSED, 422, "application/json") as up, httpx.AsyncClient() as client:
            transport = client._transport
            with install():
                monkeypatch.setattr(litellm, "aclient_session", client)
                with pytest.raises(litellm.BadRequestError, match=MESSAGE):
                    await litellm.acompletion(**request(up) | {"api_key": "later"})
                assert isinstance(client._transport, NormalizingTransport)
            assert client._transport is transport

    monkeypatch.setattr(litellm, "drop_params", True)
    run(main())


def test_options_reach_the_streams(litellm: Any) -> None:
    async def main() -> None:
        async with upstream(steps({"content": "<think>why</think>"})) as up:
            for provider in ("openai", "openrouter"):
                with install(tags="off"):
                    chunks, _ = await collect(await litellm.acompletion(**request(up, provider)))
                assert text(chunks, "content") == "<think>why</think>so it"

    run(main())


@pytest.mark.parametrize("provider", ["openai", "openrouter"])
@pytest.mark.parametrize("is_sync", [False, True])
def test_twice_is_as_once(litellm: Any, provider: str, is_sync: bool) -> None:
    """Under install(), wrap and normalize_stream find that all is done."""

    async def main() -> None:
        async with upstream(THOUGHT) as up:
            stream = await litellm.acompletion(**request(up, provider))
            below = stream.completion_stream
            assert wrap(stream).completion_stream is below
            items = normalize_stream(stream)
            chunks, error = await collect(items)
        assert error is None
        assert text(chunks, "reasoning_content") == "why"
        assert items.report.remaps == {"reasoning_text→reasoning_content": 1}

    with install():
        if not is_sync:
            run(main())
            return
        with Upstream.in_thread() as up:
            playing(up, THOUGHT)
            chunks, error = collect_sync(litellm.completion(**request(up, provider)))
    assert error is None
    assert text(chunks, "reasoning_content") == "why"


# The router. ------------------------------------------------------------------------

START = one({"role": "assistant", "content": ""})
BROKEN = {
    "cut": [START],
    "empty": [],
    "page": [b"<!DOCTYPE html><title>no</title>\n"],
    "error": [b'data: {"error": {"message": "slow down", "code": 429}}\n\n'],
}


@pytest.mark.parametrize("provider", ["openai", "openrouter"])
@pytest.mark.parametrize("broken", BROKEN)
def test_the_router_falls_back(litellm: Any, broken: str, provider: str) -> None:
    def find(sent: Request) -> Route:
        return Route(tuple(BROKEN[broken] if "/bad/" in sent.path else THOUGHT))

    def deployment(name: str, base: str) -> dict[str, Any]:
        params = {"model": f"{provider}/m", "api_base": base, "api_key": "x", "max_retries": 0}
        return {"model_name": name, "litellm_params": params}

    async def main() -> None:
        up = Upstream()
        up.otherwise(find)
        async with up:
            router = litellm.Router(
                model_list=[
                    deployment("bad", f"{up.origin}/bad"), deployment("good", f"{up.origin}/good"),
                ],
                fallbacks=[{"bad": ["good"]}],
                num_retries=0,
            )  # fmt: skip
            messages = [{"role": "user", "content": "?"}]
            with install():
                stream = await guard(router.acompletion)(
                    model="bad", messages=messages, stream=True
                )
                assert isinstance(stream, litellm.CustomStreamWrapper)
                chunks, error = await collect(normalize_stream(stream))
            paths = [sent.path.split("/")[1] for sent in up.requests]
        assert error is None
        assert (text(chunks, "reasoning_content"), text(chunks, "content")) == ("why", "so it")
        assert finishes(chunks) == ["stop"]
        assert paths == ["bad", "good"]

    run(main())


def test_the_routers_fault_without_a_fallback(litellm: Any) -> None:
    async def main() -> None:
        async with upstream([START, one({"content": "so"})]) as up:
            params = {"model": "openai/m", "api_base": f"{up.origin}/api", "api_key": "x",
                      "max_retries": 0}  # fmt: skip
            router = litellm.Router(
                model_list=[{"model_name": "m", "litellm_params": params}], num_retries=0
            )
            with install():
                stream = await router.acompletion(
                    model="m", messages=[{"role": "user", "content": "?"}], stream=True
                )
                chunks, error = await collect(normalize_stream(stream))
        assert text(chunks, "content") == "so"
        assert isinstance(error, StreamFault)
        assert (error.kind, error.visible_output) == ("truncated", True)

    run(main())


# guard(). ---------------------------------------------------------------------------


@pytest.fixture
def drop_params(litellm: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(litellm, "drop_params", True)


def check(fault: StreamFault) -> None:
    assert (fault.kind, fault.category, fault.blame) == (
        "none_stream", "invalid_request", "request",
    )  # fmt: skip
    assert (fault.status_code, fault.provider_message) == (422, MESSAGE)


@pytest.mark.usefixtures("drop_params")
def test_none_is_a_fault_that_says_why(litellm: Any) -> None:
    async def main() -> None:
        async with upstream(REFUSED, 422, "application/json") as up:
            before = state(litellm)
            assert await litellm.acompletion(**request(up)) is None
            with pytest.raises(StreamFault) as raised:
                await guard(litellm.acompletion)(**request(up))
            assert changed(before, state(litellm)) == set()
            assert len(up.requests) == 4
        check(raised.value)

    run(main())


@pytest.mark.usefixtures("drop_params")
def test_none_without_an_event_loop(litellm: Any) -> None:
    with Upstream.in_thread() as up:
        playing(up, REFUSED, 422, "application/json")
        assert litellm.completion(**request(up)) is None
        with pytest.raises(StreamFault) as raised:
            guard(litellm.completion)(**request(up))
    check(raised.value)


@pytest.mark.usefixtures("drop_params")
def test_calls_at_the_same_time_know_their_own_refusals(litellm: Any) -> None:
    def find(sent: Request) -> Route:
        name = sent.path.split("/")[1]
        body = json.dumps({"detail": f"no {name}"}).encode()
        return Route((body,), 422, {"content-type": "application/json"})

    async def main() -> None:
        up = Upstream()
        up.otherwise(find)
        guarded = guard(litellm.acompletion)

        async def one_call(name: str) -> str | None:
            with pytest.raises(StreamFault) as raised:
                await guarded(**request(up) | {"api_base": f"{up.origin}/{name}"})
            return raised.value.provider_message

        async with up:
            found = await asyncio.gather(*map(one_call, "abcdef"))
        assert found == [f"no {name}" for name in "abcdef"]

    before = state(litellm)
    run(main())
    assert changed(before, state(litellm)) == set()


@pytest.mark.usefixtures("drop_params")
def test_threads_at_the_same_time(litellm: Any) -> None:
    guarded, found = guard(litellm.completion), []

    def call(up: Upstream) -> None:
        try:
            guarded(**request(up))
        except StreamFault as fault:
            found.append(fault)

    before = state(litellm)
    with Upstream.in_thread() as up:
        playing(up, REFUSED, 422, "application/json")
        threads = [threading.Thread(target=call, args=(up,)) for _ in range(4)]
        for each in threads:
            each.start()
        for each in threads:
            each.join()
    assert len(found) == 4
    for fault in found:
        check(fault)
    assert changed(before, state(litellm)) == set()


@pytest.mark.usefixtures("drop_params")
def test_with_install_it_is_litellms_own_error(litellm: Any) -> None:
    async def main() -> None:
        async with upstream(REFUSED, 422, "application/json") as up:
            with install():
                for call in (litellm.acompletion, guard(litellm.acompletion)):
                    with pytest.raises(litellm.BadRequestError, match=MESSAGE):
                        await call(**request(up))

    run(main())


@pytest.mark.usefixtures("drop_params")
def test_litellms_own_recovery_works(litellm: Any) -> None:
    said = json.dumps({"detail": [{"loc": ["body", "seed"], "msg": "no"}]})
    body = json.dumps({"error": {"message": said}}).encode()

    def find(sent: Request) -> Route:
        if "seed" in sent.json():
            return Route((body,), 422, {"content-type": "application/json"})
        return Route(tuple(THOUGHT))

    async def main() -> None:
        up = Upstream()
        up.otherwise(find)
        async with up:
            for _ in range(2):
                with install():
                    stream = await guard(litellm.acompletion)(**request(up), seed=1)
                    chunks, error = await collect(stream)
                assert error is None
                assert text(chunks, "reasoning_content") == "why"

    run(main())


def test_everything_else_passes(litellm: Any) -> None:
    async def main() -> None:
        async with upstream([*steps()]) as up:
            stream = await guard(litellm.acompletion)(**request(up))
            assert isinstance(stream, litellm.CustomStreamWrapper)
            assert (await collect(stream))[1] is None
        async with upstream([b'{"error": {"message": "no"}}'], 401, "application/json") as up:
            with pytest.raises(litellm.AuthenticationError):
                await guard(litellm.acompletion)(**request(up))
        answer = await guard(litellm.acompletion)(
            model="openai/m", messages=[{"role": "user", "content": "?"}], mock_response="so"
        )
        assert answer.choices[0].message.content == "so"

    run(main())


def test_it_stands_for_the_function(litellm: Any) -> None:
    for call in (litellm.acompletion, litellm.completion):
        guarded = guard(call)
        assert inspect.signature(guarded) == inspect.signature(call)
        assert guarded.__name__ == call.__name__
        assert inspect.iscoroutinefunction(guarded) is inspect.iscoroutinefunction(call)
    with pytest.raises(TypeError, match="guard needs a function"):
        guard(None)  # type: ignore[arg-type]

    def later() -> Any:
        async def answer() -> None:
            return None

        return answer()

    async def main() -> None:
        with pytest.raises(StreamFault) as raised:
            await guard(later)()
        assert raised.value.kind == "none_stream"

    run(main())


@pytest.mark.usefixtures("drop_params")
def test_recipe(litellm: Any, capsys: pytest.CaptureFixture[str]) -> None:
    async def main() -> None:
        async with upstream(REFUSED, 422, "application/json") as up:
            arguments = request(up)
            del arguments["stream"]
            await run_recipe("litellm", "never None", request=arguments)

    run(main())
    assert capsys.readouterr().out == f"none_stream 422 {MESSAGE}\n"
