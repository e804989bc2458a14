"""The callback in a real LiteLLM proxy, between a loopback upstream and real clients."""

from __future__ import annotations

import json
import re
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any, NamedTuple

import pytest

from streamnorm.upstream import Gate, Request, Upstream

from ..aio import run
from . import proxy_upstream
from .proxy_process import Proxy, body_of, curl, curl_command, started
from .proxy_upstream import BROKEN, DIALECTS, MESSAGES, OTHERS, REFUSED, RESPONSES
from .recipes import PAGES, recipe

openai: Any = pytest.importorskip("openai", reason="the OpenAI SDK is not installed")

# What LiteLLM writes about each call to those who pay for it.
RECORDER = """
import json, os
from litellm.integrations.custom_logger import CustomLogger

class Recorder(CustomLogger):
    async def async_log_success_event(self, kwargs, response_obj, start_time, end_time):
        self.write("success", kwargs)

    async def async_log_failure_event(self, kwargs, response_obj, start_time, end_time):
        self.write("failure", kwargs)

    def write(self, kind, kwargs):
        payload = kwargs["standard_logging_object"]
        said = {name: payload[name] for name in ("model_group", "response", "total_tokens")}
        with open(os.path.join(os.getcwd(), "calls.jsonl"), "a") as file:
            file.write(json.dumps({"kind": kind, **said}, default=str) + "\\n")

recorder = Recorder()
"""


class Both(NamedTuple):
    """Two proxies in front of one upstream.

    Attributes:
        ready: Configured by one line, with the ready logger.
        beside: With the logger of a module beside the config file, from the docs.
        up: The upstream of all models but one.
        endless: The upstream of the model ``endless``.
        gate: What the model ``cut`` waits for.
    """

    ready: Proxy
    beside: Proxy
    up: Upstream
    endless: Upstream
    gate: Gate


def one_line() -> list[str]:
    """The callbacks of the page's configuration."""
    page = (PAGES / "litellm-proxy.md").read_text(encoding="utf-8")
    (callbacks,) = re.findall(r"^  callbacks: (.+)$", page, re.MULTILINE)
    found: list[str] = json.loads(callbacks)
    return found


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Both]:
    with ExitStack() as stack:
        up = stack.enter_context(Upstream.in_thread())
        endless = stack.enter_context(Upstream.in_thread())
        gate = Gate()
        proxy_upstream.serve(up, gate)
        proxy_upstream.serve_endless(endless)
        proxies = []
        for callbacks, files in (
            (
                [*one_line(), "records.recorder"],
                {"records.py": RECORDER},
            ),
            (
                ["my_logger.logger"],
                {"my_logger.py": recipe("litellm-proxy", "a logger of one's own")},
            ),
        ):
            settings = {
                "model_list": proxy_upstream.models(up, endless),
                "litellm_settings": {
                    "callbacks": callbacks,
                    "drop_params": True,
                    "num_retries": 0,
                },
                "router_settings": {
                    "fallbacks": [{"overloaded": ["vllm"]}],
                    "disable_cooldowns": True,
                },
            }
            folder = tmp_path_factory.mktemp("proxy")
            proxies.append(stack.enter_context(started(folder, settings, files)))
        for proxy in proxies:
            proxy.wait()
        yield Both(proxies[0], proxies[1], up, endless, gate)
        for proxy in proxies:
            assert proxy.is_alive(), proxy.output[-6000:]


class Read:
    """What a client of OpenAI's SDK makes of a stream."""

    def __init__(self) -> None:
        self.reasoning = self.content = ""
        self.finishes: list[str] = []
        self.calls: dict[int, dict[str, str]] = {}
        self.usage: Any = None

    def add(self, chunk: Any) -> None:
        self.usage = chunk.usage or self.usage
        for choice in chunk.choices:
            extra = choice.delta.model_extra or {}
            assert not extra.get("reasoning"), "reasoning in a second place"
            self.reasoning += extra.get("reasoning_content") or ""
            self.content += choice.delta.content or ""
            self.finishes += [choice.finish_reason] if choice.finish_reason else []
            for call in choice.delta.tool_calls or []:
                kept = self.calls.setdefault(call.index, {"id": "", "name": "", "arguments": ""})
                kept["id"] += call.id or ""
                kept["name"] += call.function.name or ""
                kept["arguments"] += call.function.arguments or ""


def client_of(proxy: Proxy) -> Any:
    return openai.OpenAI(base_url=proxy.base_url, api_key=proxy.key, max_retries=0)


def read(proxy: Proxy, model: str, **more: Any) -> Read:
    """Read a stream with the OpenAI SDK."""
    found = Read()
    with client_of(proxy) as client:
        for chunk in client.chat.completions.create(**body_of(model, **more)):
            found.add(chunk)
    return found


async def aread(proxy: Proxy, model: str, **more: Any) -> Read:
    """The same with the asynchronous one."""
    found = Read()
    client = openai.AsyncOpenAI(base_url=proxy.base_url, api_key=proxy.key, max_retries=0)
    async with client:
        async for chunk in await client.chat.completions.create(**body_of(model, **more)):
            found.add(chunk)
    return found


def asked(up: Upstream) -> list[Request]:
    """The requests for answers; LiteLLM also looks for lists of models when it starts."""
    return [request for request in up.requests if request.method == "POST"]


def eventually(is_so: Callable[[], bool]) -> bool:
    """Wait until something is so that another process or thread does, for some seconds."""
    until = time.monotonic() + 20
    while not is_so() and time.monotonic() < until:
        time.sleep(0.01)
    return is_so()


@pytest.mark.parametrize("model", DIALECTS)
def test_reasoning_is_whole_and_there_once(both: Both, model: str) -> None:
    wanted = DIALECTS[model]
    found = run(aread(both.ready, model, stream_options={"include_usage": True}))
    assert found.reasoning == wanted.reasoning
    assert found.content == wanted.content
    assert found.finishes == ["stop"]
    assert found.usage.total_tokens > 0


def test_the_synchronous_sdk_reads_the_same(both: Both) -> None:
    found = read(both.ready, "snowflake")
    assert found.reasoning == DIALECTS["snowflake"].reasoning
    assert found.content == DIALECTS["snowflake"].content
    assert found.finishes == ["stop"]


def test_a_model_of_another_api_is_read_as_ever(both: Both) -> None:
    found = run(aread(both.ready, "claude"))
    assert found.reasoning == "<think>think</think>"
    assert found.content == ""
    assert found.finishes == ["stop"]


def test_tool_calls_without_an_index_stay_apart(both: Both) -> None:
    found = run(aread(both.ready, "tools"))
    assert found.calls == {
        0: {"id": "a", "name": "f", "arguments": '{"x":1}'},
        1: {"id": "b", "name": "g", "arguments": '{"y":2}'},
    }
    assert found.finishes == ["tool_calls"]


def test_what_goes_over_the_wire(both: Both) -> None:
    answer = curl(both.ready, body_of("tags"))
    assert answer.status == 200
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.headers["x-litellm-model-api-base"] == both.up.base_url("tags")
    assert answer.headers["x-litellm-model-id"]
    *chunks, last = answer.data
    assert last == "[DONE]"
    assert "[DONE]" not in chunks
    deltas = [choice["delta"] for chunk in chunks for choice in chunk["choices"]]
    assert "".join(delta.get("reasoning_content") or "" for delta in deltas) == "think"
    assert "".join(delta.get("content") or "" for delta in deltas) == "answer"
    assert "<think>" not in answer.body


# What goes wrong. -------------------------------------------------------------------


@pytest.mark.parametrize("by", ["", *(f"-{provider}" for provider in OTHERS)])
@pytest.mark.parametrize(
    ("model", "status", "kind"),
    [
        ("truncated", "502", "server_error"),
        ("late-error", "429", "rate_limit_error"),
    ],
)
def test_a_stream_that_breaks_ends_with_an_error(
    both: Both, model: str, status: str, kind: str, by: str
) -> None:
    answer = curl(both.ready, body_of(model + by))
    assert answer.status == 200
    *chunks, last = answer.data
    assert last["error"]["code"] == status
    assert last["error"]["type"] == kind
    assert last["error"]["message"]
    text = "".join(choice["delta"].get("content") or "" for x in chunks for choice in x["choices"])
    assert text == "".join(
        json.loads(step[6:])["choices"][0]["delta"]["content"]
        for step in BROKEN[model]
        if isinstance(step, bytes) and b"choices" in step
    )
    assert not any(choice.get("finish_reason") for x in chunks for choice in x["choices"])
    with pytest.raises(openai.APIError) as caught:
        run(aread(both.ready, model + by))
    assert caught.value.message == last["error"]["message"]


@pytest.mark.parametrize("by", ["", *(f"-{provider}" for provider in OTHERS)])
@pytest.mark.parametrize(
    ("model", "status"), [("early-error", 429), ("no-key", 502), ("page", 502), ("nothing", 502)]
)
def test_a_stream_that_fails_at_once_is_an_answer_with_a_status(
    both: Both, model: str, status: int, by: str
) -> None:
    answer = curl(both.ready, body_of(model + by))
    assert answer.status == status
    told = json.loads(answer.body)["error"]
    assert told["code"] == str(status)
    assert told["message"]
    assert "sk-" not in answer.body
    with pytest.raises(openai.APIStatusError) as caught:
        read(both.ready, model + by)
    assert caught.value.status_code == status


def test_a_connection_that_breaks_is_an_error(both: Both) -> None:
    text = ""
    with client_of(both.ready) as client:
        stream = client.chat.completions.create(**body_of("cut"))
        for chunk in stream:
            text += chunk.choices[0].delta.content or ""
            assert chunk.choices[0].finish_reason is None
            if text == "half of":
                break
        both.gate.open()
        with pytest.raises(openai.APIError) as caught:
            next(stream)
    assert caught.value.code == "502"


@pytest.mark.parametrize(
    ("model", "status", "words"), [("refusing", 400, REFUSED), ("stubborn", 422, "not permitted")]
)
def test_refusals_that_litellm_swallows_are_told(
    both: Both, model: str, status: int, words: str
) -> None:
    """The second is the same request again, or one without what the first named."""
    before = len(asked(both.up))
    answer = curl(both.ready, body_of(model, top_p=0.5))
    requests = asked(both.up)[before:]
    assert [request.name for request in requests] == [model] * 2
    assert ("top_p" in requests[1].json()) == (model == "refusing")
    assert answer.status == status
    told = json.loads(answer.body)["error"]
    assert words in told["message"]
    assert told["type"] == "invalid_request_error"
    assert told["code"] == str(status)
    if model == "stubborn":  # the other error is LiteLLM's own
        assert answer.headers["retry-after"] == "3"
    with pytest.raises(openai.APIStatusError, match=words) as caught:
        run(aread(both.ready, model, top_p=0.5))
    assert caught.value.status_code == status


def test_the_recovery_of_litellm_still_works(both: Both) -> None:
    before = len(asked(both.up))
    assert run(aread(both.ready, "mild", top_p=0.5)).content == "answer"
    assert ["top_p" in request.json() for request in asked(both.up)[before:]] == [True, False]


def test_the_router_falls_back_where_a_stream_fails_at_once(both: Both) -> None:
    answer = curl(both.ready, body_of("overloaded"))
    assert answer.status == 200
    assert answer.headers["x-litellm-model-api-base"] == both.up.base_url("vllm")
    assert answer.data[-1] == "[DONE]"
    assert run(aread(both.ready, "overloaded")).reasoning == DIALECTS["vllm"].reasoning


@pytest.mark.parametrize("reader", ["curl", "sdk"])
def test_a_client_that_leaves_closes_the_upstream(both: Both, reader: str) -> None:
    if reader == "curl":
        command = curl_command(both.ready, body_of("endless"))
        with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            assert any(b"first" in line for line in process.stdout)
            process.terminate()
    else:
        with client_of(both.ready) as client:
            stream = client.chat.completions.create(**body_of("endless"))
            assert any(chunk.choices[0].delta.content == "first" for chunk in stream)
            stream.close()
    assert eventually(lambda: asked(both.endless)[-1].outcome != "running")
    assert asked(both.endless)[-1].outcome == "client_left"


# What the proxy does beside. --------------------------------------------------------


def test_what_is_logged_has_the_reasoning_and_the_usage(both: Both) -> None:
    read(both.ready, "stepfun", stream_options={"include_usage": True})
    file = both.ready.folder / "calls.jsonl"

    def calls() -> list[Any]:
        lines = file.read_text().splitlines() if file.exists() else []
        return [call for call in map(json.loads, lines) if call["model_group"] == "stepfun"]

    assert eventually(lambda: bool(calls()))
    call = calls()[-1]
    assert call["kind"] == "success"
    assert call["total_tokens"] > 0
    message = call["response"]["choices"][0]["message"]
    assert message["reasoning_content"] == DIALECTS["stepfun"].reasoning
    assert message["content"] == DIALECTS["stepfun"].content


def test_a_subclass_beside_the_configuration_works(both: Both) -> None:
    """Its hook is called, which alone says this; and its options count."""
    told = json.loads(curl(both.beside, body_of("page")).body)["error"]
    assert told["message"] == "the upstream's answer was no event stream"
    for model in ("vllm", "tags"):
        answer = curl(both.beside, body_of(model))
        deltas = [choice["delta"] for chunk in answer.data[:-1] for choice in chunk["choices"]]
        for key in ("reasoning_content", "reasoning"):
            text = "".join(delta.get(key) or "" for delta in deltas)
            assert text == DIALECTS[model].reasoning
        assert "".join(x.get("content") or "" for x in deltas) == DIALECTS[model].content
    assert eventually(lambda: "answered by" in both.beside.output)


# What is not ours. ------------------------------------------------------------------


def test_other_apis_pass_untouched(both: Both) -> None:
    messages = curl(both.ready, body_of("claude", max_tokens=9), "/messages")
    assert messages.status == 200
    # (LiteLLM calls the model by the name that the client has for it.)
    assert messages.data[1:] == MESSAGES[1:]
    responses = curl(both.ready, {"model": "tags", "input": "?", "stream": True}, "/responses")
    assert responses.status == 200
    found = [each for each in responses.data if each != "[DONE]"]
    assert [each["type"] for each in found] == [each["type"] for each in RESPONSES]
    assert found[1]["delta"] == RESPONSES[1]["delta"]


def test_chat_models_read_through_another_api_are_normalised(both: Both) -> None:
    answer = curl(both.ready, body_of("hosted-null", max_tokens=9), "/messages")
    assert answer.status == 200
    deltas = [each["delta"] for each in answer.data if each["type"] == "content_block_delta"]
    assert "".join(delta.get("thinking", "") for delta in deltas) == "think"
    assert "".join(delta.get("text", "") for delta in deltas) == "answer"
