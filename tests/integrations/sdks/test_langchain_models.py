"""LangChain: the model around the stream, and what it must leave as it was."""

from __future__ import annotations

import asyncio
import gc
import gzip
import json
import warnings
from collections.abc import Iterator
from typing import Any

import httpx
import httpx2
import openai
import pytest
from langchain_core.load import dumps, loads
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langchain_core.runnables import ConfigurableField
from langchain_openai import AzureChatOpenAI, ChatOpenAI
from pydantic import BaseModel

from streamnorm.fault_server.chunks import CONTENT, DONE, FINISH, REASONING, STREAM, chunk
from streamnorm.integrations.httpx import NormalizingTransport as LegacyTransport
from streamnorm.integrations.httpx2 import NormalizingTransport
from streamnorm.integrations.langchain import KEY, NormalizedChatOpenAI
from streamnorm.upstream import Abort, Route, Upstream

from ...aio import run
from ...helpers import event
from ..recipes import run_recipe_sync
from .shown import CASES, every_case, tool

TAGS = "source-tags"
QUESTION = "What is 7 × 8?"
JSON = {"content-type": "application/json"}


@pytest.fixture
def up() -> Iterator[Upstream]:
    with every_case() as made:
        made.add("x", STREAM)
        yield made


def model(url: str, kind: Any = NormalizedChatOpenAI, **more: Any) -> Any:
    return kind(model="m", base_url=url, api_key="unused", max_retries=0, **more)


def said(message: Any) -> tuple[str, str]:
    return message.additional_kwargs.get(KEY, ""), str(message.text)


def meant(name: str) -> tuple[str, str]:
    return CASES[name].reasoning, CASES[name].content


def body(message: dict[str, Any]) -> bytes:
    choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", **message}}
    whole = {
        "id": "1",
        "object": "chat.completion",
        "created": 1,
        "model": "m",
        "choices": [choice],
    }
    return json.dumps(whole).encode()


# Clients. -----------------------------------------------------------------------------


def test_a_plain_model_of_the_same_address_stays_plain(up: Upstream) -> None:
    url = up.base_url(TAGS)
    before, normalized, after = model(url, ChatOpenAI), model(url), model(url, ChatOpenAI)
    # They share their HTTP client, which LangChain keeps for each address.
    assert before.root_client._client is after.root_client._client
    assert said(normalized.invoke(QUESTION, stream=True)) == meant(TAGS)
    for bare in (before, after):
        assert "<think>" in "".join(one.text for one in bare.stream(QUESTION))


def test_models_of_the_same_address_share_their_connections(up: Upstream) -> None:
    up.add("y", [body({"reasoning": "why", "content": "so"})], headers=JSON)
    normalized, bare = model(up.base_url("y")), model(up.base_url("y"), ChatOpenAI)
    assert said(normalized.invoke(QUESTION)) == ("why", "so")
    assert said(bare.invoke(QUESTION)) == ("", "so")
    assert up.open_connections == 1
    # They are not closed with the model that is gone.
    del normalized
    gc.collect()
    assert said(bare.invoke(QUESTION)) == ("", "so")
    assert (up.open_connections, len(up.requests)) == (1, 3)


@pytest.mark.parametrize("library", [httpx, httpx2])
def test_clients_that_are_passed_in_are_used_and_not_changed(up: Upstream, library: Any) -> None:
    url = up.base_url(TAGS)

    async def main() -> None:
        hooked: list[Any] = []

        async def hook(response: Any) -> None:
            hooked.append(response.status_code)

        async with library.AsyncClient(event_hooks={"response": [hook]}) as client:
            normalized = model(url, http_async_client=client)
            whole = await normalized.ainvoke(QUESTION, stream=True)
            assert said(whole) == meant(TAGS)
            # With all that is set on it; and it can do without the model.
            assert hooked == [200]
            del normalized
            gc.collect()
            answer = await client.get(up.url(TAGS))
            assert answer.content == b"".join(CASES[TAGS].steps)

    run(main())
    with library.Client(headers={"x-mine": "1"}) as client:
        whole = model(url, http_client=client).invoke(QUESTION, stream=True)
        assert said(whole) == meant(TAGS)
        assert up.requests[-1].headers["x-mine"] == "1"
        assert client.get(up.url(TAGS)).content == b"".join(CASES[TAGS].steps)


@pytest.mark.parametrize("library", [httpx, httpx2])
def test_a_client_that_was_passed_in_and_closed_is_not_used(up: Upstream, library: Any) -> None:
    url = up.base_url(TAGS)

    async def main() -> None:
        async with library.AsyncClient() as client:
            normalized = model(url, http_async_client=client)
            await normalized.ainvoke(QUESTION, stream=True)
        with pytest.raises(RuntimeError, match="client has been closed") as raised:
            await normalized.ainvoke(QUESTION, stream=True)
        with pytest.raises(RuntimeError) as own:
            await client.get(url)
        assert str(raised.value) == str(own.value)

    run(main())
    with library.Client(mounts={"http://": library.HTTPTransport()}) as client:
        normalized = model(url, http_client=client)
        normalized.invoke(QUESTION, stream=True)
    for late in (normalized, model(url, http_client=client)):
        with pytest.raises(RuntimeError, match="client has been closed"):
            late.invoke(QUESTION, stream=True)
    assert len(up.requests) == 2


@pytest.mark.parametrize("library", [httpx, httpx2])
def test_what_is_set_later_on_a_client_that_was_passed_in(up: Upstream, library: Any) -> None:
    seen: list[Any] = []
    with library.Client() as client:
        normalized = model(up.base_url(TAGS), http_client=client)
        client.event_hooks = {"request": [seen.append]}
        client.headers = {"x-mine": "1"}
        client.auth = ("name", "password")
        assert said(normalized.invoke(QUESTION, stream=True)) == meant(TAGS)
    (request,) = seen
    assert request.headers["x-mine"] == up.requests[-1].headers["x-mine"] == "1"
    assert up.requests[-1].headers["authorization"].startswith("Basic ")


def test_closing_the_client_of_a_model_is_its_own(up: Upstream) -> None:
    with httpx2.Client() as client:
        closed, other = (model(up.base_url(TAGS), http_client=client) for _ in range(2))
        closed.root_client.close()
        with pytest.raises(RuntimeError, match="client has been closed"):
            closed.invoke(QUESTION, stream=True)
        assert said(other.invoke(QUESTION, stream=True)) == meant(TAGS)
        assert not client.is_closed


def test_dropped_models_start_no_tasks(up: Upstream) -> None:
    async def main() -> None:
        # (LangChain drops a client that it shared for another address, at the first model.)
        model(up.base_url(TAGS))
        gc.collect()
        before = asyncio.all_tasks()
        for _ in range(3):
            model(up.base_url(TAGS))
        gc.collect()
        assert asyncio.all_tasks() == before

    run(main())


@pytest.mark.parametrize(
    ("library", "transport"), [(httpx, LegacyTransport), (httpx2, NormalizingTransport)]
)
def test_a_client_that_normalises_already(up: Upstream, library: Any, transport: Any) -> None:
    with library.Client(transport=transport()) as client:
        whole = model(up.base_url(TAGS), http_client=client).invoke(QUESTION, stream=True)
    assert said(whole) == meant(TAGS)


def test_mounts_are_kept(up: Upstream) -> None:
    mounted = httpx2.HTTPTransport()
    with httpx2.Client(mounts={"all://": mounted, "https://": None}) as client:
        normalized = model(up.base_url(TAGS), http_client=client)
        assert said(normalized.invoke(QUESTION, stream=True)) == meant(TAGS)
        assert list(client._mounts.values()).count(mounted) == 1


def test_a_model_without_a_client_for_sync_calls(up: Upstream) -> None:
    async def key() -> str:
        return "unused"

    normalized: Any = NormalizedChatOpenAI(model="m", base_url=up.base_url(TAGS), api_key=key)

    async def main() -> Any:
        return await normalized.ainvoke(QUESTION, stream=True)

    assert normalized.client is None
    assert said(run(main())) == meant(TAGS)


def test_a_resource_that_is_passed_in_is_used_as_it_is(up: Upstream) -> None:
    with openai.OpenAI(base_url=up.base_url(TAGS), api_key="unused") as client:
        given = model("http://127.0.0.1:9/v1", client=client.chat.completions)
        assert given.client is client.chat.completions
        assert "<think>" in given.invoke(QUESTION, stream=True).text


def test_defaults_are_those_of_the_base(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    monkeypatch.delenv("OPENAI_API_BASE", raising=False)
    assert NormalizedChatOpenAI(model="m", api_key="unused").stream_usage is True  # type: ignore[arg-type]


# Around the model. --------------------------------------------------------------------


def test_bound_and_configured_models(up: Upstream) -> None:
    normalized = model(up.base_url(TAGS), streaming=True)
    bound = normalized.bind_tools([tool("get_time")]).with_config(tags=["a"]).with_retry()
    assert said(bound.invoke(QUESTION)) == meant(TAGS)
    # It is made anew, from the fields of the first.
    field = ConfigurableField(id="temperature")
    configured = normalized.configurable_fields(temperature=field)
    other = configured.with_config(configurable={"temperature": 0.5})
    assert said(other.invoke(QUESTION)) == meant(TAGS)
    assert json.loads(up.requests[-1].body)["temperature"] == 0.5
    assert said(normalized.model_copy().invoke(QUESTION)) == meant(TAGS)


def test_options_of_a_model_that_is_made_anew(up: Upstream) -> None:
    off = model(up.base_url(TAGS), streaming=True, streamnorm_options={"tags": "off"})
    assert "<think>" in off.invoke(QUESTION).text
    field = ConfigurableField(id="options")
    on = off.configurable_fields(streamnorm_options=field).with_config(configurable={"options": {}})
    assert said(on.invoke(QUESTION)) == meant(TAGS)


def test_dumped_and_loaded(up: Upstream) -> None:
    options = {"tags": "free"}
    text = dumps(model(up.base_url(TAGS), streamnorm_options=options, streamnorm_echo="kimi"))
    assert "unused" not in text
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # loading is beta
        loaded = loads(
            text,
            allowed_objects=[NormalizedChatOpenAI],
            valid_namespaces=["streamnorm"],
            secrets_map={"OPENAI_API_KEY": "unused"},
        )
    assert isinstance(loaded, NormalizedChatOpenAI)
    assert (loaded.streamnorm_options, loaded.streamnorm_echo) == (options, "kimi")
    assert said(loaded.invoke(QUESTION, stream=True)) == meant(TAGS)


class Product(BaseModel):
    """What structured output is to be."""

    value: int


@pytest.mark.parametrize("method", ["json_schema", "json_mode", "function_calling"])
@pytest.mark.parametrize("streaming", [False, True])
# LangChain's own, of what the SDK has parsed.
@pytest.mark.filterwarnings("ignore:Pydantic serializer warnings:UserWarning")
def test_structured_output_behind_a_thought(up: Upstream, method: Any, streaming: bool) -> None:
    thought, answer = "<think>why</think>", '{"value": 56}'
    call = {"name": "Product", "arguments": {"value": 56}}
    message: dict[str, Any] = {"content": thought + answer}
    if method == "function_calling":
        message = {"content": thought, "tool_calls": [{"id": "1", "function": call}]}
    if streaming:
        up.add("y", [chunk({"role": "assistant", **message}), FINISH, DONE])
    else:
        up.add("y", [body(message)], headers=JSON)
    normalized = model(up.base_url("y"), streaming=streaming)
    shaped = normalized.with_structured_output(Product, method=method, include_raw=True)
    found = shaped.invoke(QUESTION)
    assert (found["parsed"], found["parsing_error"]) == (Product(value=56), None)
    # Once, although the SDK repeats the whole at the end of a stream.
    assert found["raw"].additional_kwargs[KEY] == "why"


@pytest.mark.parametrize("streaming", [False, True])
def test_response_headers(up: Upstream, streaming: bool) -> None:
    if streaming:
        up.add("y", STREAM, headers={"x-theirs": "1"})
    else:
        message = {"reasoning": REASONING, "content": CONTENT}
        up.add("y", [body(message)], headers={**JSON, "x-theirs": "1"})
    normalized = model(up.base_url("y"), include_response_headers=True, streaming=streaming)
    found = normalized.invoke(QUESTION)
    assert found.response_metadata["headers"]["x-theirs"] == "1"
    assert said(found) == (REASONING, CONTENT)


def test_errors_are_as_they_were(up: Upstream) -> None:
    refusal = b'{"error":{"message":"No such model","code":"model_not_found"}}'
    up.add("y", [refusal], 404, JSON)
    with pytest.raises(openai.NotFoundError, match="No such model"):
        model(up.base_url("y")).invoke(QUESTION)
    up.add("y", [b"no JSON"], headers=JSON)
    with pytest.raises(json.JSONDecodeError):
        model(up.base_url("y")).invoke(QUESTION)
    up.add("y", [b'{"choices":', Abort()], headers=JSON)
    with pytest.raises(openai.APIConnectionError):
        model(up.base_url("y")).invoke(QUESTION)


def test_a_packed_body(up: Upstream) -> None:
    packed = gzip.compress(body({"reasoning": "why", "content": "so"}))
    up.add("y", [packed], headers={**JSON, "content-encoding": "gzip"})

    async def main() -> Any:
        return await model(up.base_url("y")).ainvoke(QUESTION)

    assert said(run(main())) == ("why", "so")
    assert said(model(up.base_url("y")).invoke(QUESTION)) == ("why", "so")


RESPONSE: dict[str, Any] = {
    "id": "resp_1",
    "object": "response",
    "created_at": 1,
    "status": "completed",
    "model": "m",
    "output": [],
    "parallel_tool_calls": True,
    "tool_choice": "auto",
    "tools": [],
}


def test_streams_of_the_responses_api_pass(up: Upstream) -> None:
    """Their events are no chunks, and they end without what ends a chat completion."""
    place = {"item_id": "i", "output_index": 0, "content_index": 0}
    events: list[dict[str, Any]] = [
        {"type": "response.created", "response": {**RESPONSE, "status": "in_progress"}},
        {"type": "response.output_text.delta", **place, "delta": "<think>so", "logprobs": []},
        {"type": "response.completed", "response": RESPONSE},
    ]
    sent = b""
    for number, one in enumerate(events):
        data = json.dumps({**one, "sequence_number": number}).encode()
        sent += b"event: " + one["type"].encode() + b"\n" + event(data)
    up.otherwise(lambda _: Route((sent,), 200, {}, 0.0, False))
    normalized = model(f"{up.origin}/elsewhere/v1", use_responses_api=True)
    found = [one.text for one in normalized.stream(QUESTION)]
    assert up.requests[-1].path == "/elsewhere/v1/responses"
    assert "".join(found) == "<think>so"


def test_azure(up: Upstream) -> None:
    """By the page's own recipe for other models."""
    made = run_recipe_sync("langchain", "another chat model")["NormalizedAzure"]
    up.otherwise(lambda _: Route(CASES[TAGS].steps, 200, {}, 0.0, False))
    azure = made(
        azure_endpoint=up.origin, azure_deployment="d", api_version="2024-10-21", api_key="unused"
    )
    assert isinstance(azure, AzureChatOpenAI)
    whole = azure.invoke(QUESTION, stream=True)
    assert up.requests[-1].path == "/openai/deployments/d/chat/completions"
    assert said(whole) == meant(TAGS)


# The next turn. -----------------------------------------------------------------------


CALL: Any = {"name": "t", "args": {}, "id": "c"}
CONVERSATION = [
    HumanMessage(QUESTION),
    AIMessage("", additional_kwargs={KEY: "why"}, tool_calls=[CALL]),
    ToolMessage("56", tool_call_id="c"),
    AIMessage("It is 56."),
    HumanMessage("Sure?"),
]


def test_reasoning_is_sent_back_where_that_is_asked_for(up: Upstream) -> None:
    url = up.base_url("x")
    sent = {}
    for profile in (None, "deepseek", "openai"):
        assert said(model(url, streamnorm_echo=profile).invoke(CONVERSATION, stream=True))[0]
        sent[profile] = json.loads(up.requests[-1].body)["messages"]
    # LangChain drops it, and OpenAI wants none.
    assert all(KEY not in message for message in (*sent[None], *sent["openai"]))
    asked, called, result, answered, again = sent["deepseek"]
    assert called[KEY] == "why"
    assert called["tool_calls"][0]["function"]["name"] == "t"
    # DeepSeek wants it on every message, empty where there was none.
    assert answered[KEY] == ""
    assert [asked, result, again] == [sent[None][0], sent[None][2], sent[None][4]]


def test_options_are_checked_at_once() -> None:
    for wrong, kind in (
        ({"streamnorm_options": {"reasoning": "both"}}, ValueError),
        ({"streamnorm_options": {"nonsense": 1}}, TypeError),
        ({"streamnorm_options": {"tags": "nowhere"}}, ValueError),
        ({"streamnorm_echo": "nobody"}, ValueError),
    ):
        with pytest.raises(kind):
            model("http://127.0.0.1:9/v1", **wrong)
