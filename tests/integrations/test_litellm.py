"""LiteLLM's streams, wrapped in place: the real package against the loopback upstream."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Iterator
from typing import Any

import pytest

from streamnorm import StreamFault, normalize_stream, normalize_stream_sync
from streamnorm._engine import Engine
from streamnorm.integrations.litellm import install, wrap
from streamnorm.upstream import Abort, Gate, Upstream

from ..test_litellm import STREAM
from .litellm_calls import (
    DONE,
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
    upstream,
)
from .recipes import run_recipe

pytestmark = MARKS


# One for each way in which LiteLLM reads.
READERS = ["openai", "hosted_vllm", "openrouter"]
THOUGHT = steps({"reasoning_text": "wh"}, {"reasoning_text": "y"})
START = one({"role": "assistant", "content": ""})


# The stream stays what it is. -------------------------------------------------------


@pytest.mark.parametrize("provider", READERS)
def test_it_stays_the_same_object(litellm: Any, provider: str) -> None:
    async def main() -> None:
        async with upstream(THOUGHT) as up:
            stream = await litellm.acompletion(**request(up, provider))
            hidden, inner = stream._hidden_params, stream.completion_stream
            before = dict(vars(stream))
            assert wrap(stream) is stream
            assert isinstance(stream, litellm.CustomStreamWrapper)
            assert stream._hidden_params is hidden
            changed = {name for name, value in vars(stream).items() if value is not before[name]}
            assert changed == {"completion_stream"}
            # What is there now has what was there before.
            below = stream.completion_stream
            assert below is not inner
            names = [name for name in vars(inner) if not name.startswith("_")]
            assert all(getattr(below, name) is getattr(inner, name) for name in names)
            with pytest.raises(AttributeError, match="no_such_thing"):
                below.no_such_thing  # noqa: B018
            # Once is enough.
            assert wrap(stream, tags="off") is stream
            assert stream.completion_stream is below
            chunks, error = await collect(stream)
        assert error is None
        assert (text(chunks, "reasoning_content"), text(chunks, "content")) == ("why", "so it")
        assert finishes(chunks) == ["stop"]
        assert all(chunk._hidden_params["api_base"] for chunk in chunks)

    run(main())


@pytest.mark.parametrize("provider", READERS)
def test_nothing_waits(litellm: Any, provider: str) -> None:
    gates = [Gate() for _ in range(3)]
    played: list[Any] = [START]
    for n, gate in enumerate(gates):
        played += [one({"content": str(n)}), gate]

    async def main() -> None:
        async with upstream([*played, *steps()[-2:]]) as up:
            stream = wrap(await litellm.acompletion(**request(up, provider)))
            for n, gate in enumerate(gates):
                while not (content := (await anext(stream)).choices[0].delta.content):
                    pass
                assert content == str(n)
                gate.open()
            assert (await collect(stream))[1] is None

    run(main())


class Log:
    """A callback of LiteLLM's, with what it was told."""

    def __init__(self, logger: Any) -> None:
        self.told: list[tuple[str, dict[str, Any], Any]] = []
        log = self

        class Logger(logger):  # type: ignore[misc]
            async def async_log_success_event(
                self, kwargs: Any, response_obj: Any, **_: Any
            ) -> None:
                log.told.append(("success", kwargs, response_obj))

            async def async_log_failure_event(
                self, kwargs: Any, response_obj: Any, **_: Any
            ) -> None:
                log.told.append(("failure", kwargs, response_obj))

        self.logger = Logger()

    async def first(self) -> tuple[str, dict[str, Any], Any]:
        """What was told first; LiteLLM tells it from a task of its own."""
        for _ in range(2000):
            if self.told:
                return self.told[0]
            await asyncio.sleep(0.001)
        raise AssertionError("nothing was logged")


@pytest.fixture
def log(litellm: Any) -> Iterator[Log]:
    from litellm.integrations.custom_logger import CustomLogger

    names = ("callbacks", "success_callback", "_async_success_callback", "failure_callback",
             "_async_failure_callback", "input_callback")  # fmt: skip
    before = {name: list(getattr(litellm, name)) for name in names}
    made = Log(CustomLogger)
    litellm.callbacks.append(made.logger)
    yield made
    for name, value in before.items():
        getattr(litellm, name)[:] = value


USAGE = {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7}


@pytest.mark.parametrize("is_normalized", [False, True])
def test_success_is_logged_with_all_that_was_said(
    litellm: Any, log: Log, is_normalized: bool
) -> None:
    async def main() -> None:
        played = [*THOUGHT[:-1], one({}, None, usage=USAGE), DONE]
        async with upstream(played) as up:
            arguments = request(up) | {"model": "openai/gpt-4o"}
            arguments |= {"stream_options": {"include_usage": True}}
            await collect(await litellm.acompletion(**arguments))
            _, bare, _ = await log.first()
            log.told.clear()
            stream = await litellm.acompletion(**arguments)
            items: Any = normalize_stream(stream) if is_normalized else wrap(stream)
            chunks, error = await collect(items)
            assert error is None
            event, kwargs, answer = await log.first()
        assert event == "success"
        assert answer.choices[0].message.reasoning_content == "why"
        assert answer.choices[0].message.content == "so it"
        assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (3, 4)
        # (A router that was made in this process can make it 0.0, of bare streams as well.)
        assert kwargs["response_cost"] == bare["response_cost"]
        assert [chunk.usage.total_tokens for chunk in chunks if getattr(chunk, "usage", 0)] == [7]
        if is_normalized:
            assert items.usage.total == 7
            assert items.message["reasoning_content"] == "why"
            assert items._hidden_params is stream._hidden_params

    run(main())


def test_failure_is_logged(litellm: Any, log: Log) -> None:
    async def main() -> None:
        async with upstream([START, one({"content": "so"})]) as up:
            stream = wrap(await litellm.acompletion(**request(up)))
            chunks, error = await collect(stream)
            event, kwargs, _ = await log.first()
        assert text(chunks, "content") == "so"
        assert error is not None
        assert event == "failure"
        assert "ended early" in str(kwargs["exception"])

    run(main())


# Reading. ---------------------------------------------------------------------------


@pytest.mark.parametrize("provider", READERS)
def test_the_report_tells_what_was_done_below(litellm: Any, engine: Engine, provider: str) -> None:
    async def main() -> None:
        async with upstream(STREAM) as up:
            stream = await litellm.acompletion(**request(up, provider))
            items = normalize_stream(stream, reasoning="reasoning", _engine_module=engine)
            assert items.report.events == 0
            chunks, error = await collect(items)
        assert error is None
        assert text(chunks, "reasoning") == "abc"
        assert not any(hasattr(one.choices[0].delta, "reasoning_content") for one in chunks)
        report = items.report
        assert (report.engine, report.events) == (engine.NAME, len(STREAM) - 1)
        assert report.mirrored == {"reasoning": 1}
        assert report.remaps == {
            "reasoning_text→reasoning": 1,
            "reasoning_details→reasoning": 1,
            "reasoning_content→reasoning": 1,
        }

    run(main())


@pytest.mark.parametrize("provider", READERS)
@pytest.mark.parametrize("answer", ["so", "<b>so"], ids=["text", "markup"])
def test_options_hold_once(litellm: Any, provider: str, answer: str) -> None:
    # The second reading would take an answer for reasoning that has not ended yet.
    played = [START, one({"content": "why</think>"}), one({"content": answer}), one({}, "stop")]

    async def main() -> None:
        async with upstream([*played, DONE]) as up:
            stream = await litellm.acompletion(**request(up, provider))
            chunks, error = await collect(normalize_stream(stream, starts_in_reasoning=True))
            assert error is None
            assert text(chunks, "reasoning_content") == "why"
            assert text(chunks, "content") == answer
            stream = await litellm.acompletion(**request(up, provider))
            chunks, _ = await collect(wrap(stream, tags="off"))
            assert text(chunks, "content") == f"why</think>{answer}"

    run(main())


CALLS = [
    {"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}},
    {"id": "b", "type": "function", "function": {"name": "g", "arguments": "{}"}},
]


@pytest.mark.parametrize("provider", READERS)
def test_calls_without_an_index(litellm: Any, provider: str) -> None:
    played = [START, *(one({"tool_calls": [call]}) for call in CALLS), one({}, "tool_calls"), DONE]

    async def main() -> None:
        async with upstream(played) as up:
            bare, _ = await collect(await litellm.acompletion(**request(up, provider)))
            stream = wrap(await litellm.acompletion(**request(up, provider)))
            chunks, _ = await collect(stream)
        merged = [
            litellm.stream_chunk_builder(each).choices[0].message.tool_calls
            for each in (bare, chunks)
        ]
        assert [call.id for call in merged[0]] != ["a", "b"]  # LiteLLM makes one of them
        assert [call.id for call in merged[1]] == ["a", "b"]

    run(main())


@pytest.mark.parametrize("provider", READERS)
def test_a_whole_completion_becomes_chunks(litellm: Any, provider: str) -> None:
    message = {"role": "assistant", "content": "so it", "reasoning": "why"}
    choices = [{"index": 0, "message": message, "finish_reason": "stop"}]
    whole = {"id": "c", "object": "chat.completion", "created": 1, "model": "m", "choices": choices}

    async def main() -> None:
        async with upstream([json.dumps(whole).encode()], kind="application/json") as up:
            stream = wrap(await litellm.acompletion(**request(up, provider)))
            chunks, error = await collect(stream)
        assert error is None
        assert (text(chunks, "reasoning_content"), text(chunks, "content")) == ("why", "so it")

    run(main())


@pytest.mark.parametrize("provider", READERS)
def test_events_of_a_relay_before_the_first_chunk(litellm: Any, provider: str) -> None:
    own = [b": hello\n\n", b'data: {"type": "ping"}\n\n', b"id: 1\nretry: 5\n\n"]

    async def main() -> None:
        async with upstream([*own, *THOUGHT]) as up:
            stream = await litellm.acompletion(**request(up, provider))
            items = normalize_stream(stream)
            if provider == "openrouter":  # its handler refuses what has no choices
                assert (await collect(items))[1] is not None
                return
            chunks, error = await collect(items)
        assert error is None
        assert text(chunks, "reasoning_content") == "why"

    run(main())


def test_synchronously(litellm: Any) -> None:
    with Upstream.in_thread() as up:
        playing(up, THOUGHT)
        for provider in READERS:
            stream = litellm.completion(**request(up, provider))
            assert wrap(stream) is stream
            chunks, error = collect_sync(stream)
            assert error is None
            assert (text(chunks, "reasoning_content"), text(chunks, "content")) == ("why", "so it")
            items = normalize_stream_sync(litellm.completion(**request(up, provider)))
            assert text(list(items), "reasoning_content") == "why"
            assert items.report.remaps == {"reasoning_text→reasoning_content": 2}


@pytest.mark.parametrize("is_sync", [False, True])
def test_a_stream_that_is_opened_later(litellm: Any, is_sync: bool) -> None:
    def lazily(stream: Any, opened: list[Any]) -> None:
        inner, stream.completion_stream = stream.completion_stream, None

        async def make_call(client: Any) -> Any:
            opened.append(client)
            return inner

        def make_call_sync(client: Any) -> Any:
            opened.append(client)
            return inner

        stream.make_call = make_call_sync if is_sync else make_call
        before = stream.make_call
        assert wrap(stream) is stream
        called = stream.make_call
        assert called is not before
        assert wrap(stream).make_call is called
        assert stream.completion_stream is None
        assert opened == []

    async def main() -> None:
        async with upstream(THOUGHT) as up:
            stream = await litellm.acompletion(**request(up))
            opened: list[Any] = []
            lazily(stream, opened)
            chunks, error = await collect(normalize_stream(stream))
        assert (error, len(opened)) == (None, 1)
        assert text(chunks, "reasoning_content") == "why"

    if not is_sync:
        run(main())
        return
    with Upstream.in_thread() as up:
        playing(up, THOUGHT)
        stream = litellm.completion(**request(up))
        opened: list[Any] = []
        lazily(stream, opened)
        chunks, error = collect_sync(normalize_stream_sync(stream))
    assert (error, len(opened)) == (None, 1)
    assert text(chunks, "reasoning_content") == "why"


def test_a_stream_that_was_read_already(litellm: Any) -> None:
    async def main() -> None:
        async with upstream(steps({"content": "0"}, {"content": "1"})) as up:
            stream = await litellm.acompletion(**request(up))
            inner = stream.completion_stream
            first = await anext(stream)
            assert wrap(stream).completion_stream is inner
            rest, error = await collect(normalize_stream(stream, reasoning="reasoning"))
        assert error is None
        assert text([first, *rest], "content") == "01so it"

    run(main())


@pytest.mark.parametrize("provider", READERS)
@pytest.mark.parametrize("way", ["wrap", "normalize"])
def test_a_stream_that_is_left_closes_its_connection(litellm: Any, provider: str, way: str) -> None:
    async def main() -> None:
        async with upstream([*THOUGHT[:3], math.inf]) as up:
            stream = await litellm.acompletion(**request(up, provider))
            items: Any = wrap(stream) if way == "wrap" else normalize_stream(stream)
            await anext(items)
            await items.aclose()
            await up.drained()

    run(main())


def test_streams_that_no_upstream_sent(litellm: Any) -> None:
    async def main() -> None:
        # A mock has no finish_reason, and is as whole as it was meant to be.
        mocked = {"model": "openai/m", "messages": [], "mock_response": "so it", "stream": True}
        with install():
            chunks, error = await collect(await litellm.acompletion(**mocked))
            assert (error, text(chunks, "content")) == (None, "so it")
        chunks, error = await collect(wrap(await litellm.acompletion(**mocked)))
        assert (error, text(chunks, "content")) == (None, "so it")

    run(main())


# Other APIs. ------------------------------------------------------------------------


def told(kind: str, **more: Any) -> bytes:
    return f"event: {kind}\ndata: {json.dumps({'type': kind, **more})}\n\n".encode()


ANTHROPIC = [
    told("message_start", message={"id": "m", "type": "message", "role": "assistant",
                                   "content": [], "model": "m", "usage": {"input_tokens": 3}}),
    told("content_block_start", index=0, content_block={"type": "thinking", "thinking": ""}),
    told("content_block_delta", index=0, delta={"type": "thinking_delta", "thinking": "why"}),
    told("content_block_stop", index=0),
    told("content_block_start", index=1, content_block={"type": "text", "text": ""}),
    told("content_block_delta", index=1, delta={"type": "text_delta", "text": "so it"}),
    told("content_block_stop", index=1),
    told("message_delta", delta={"stop_reason": "end_turn"}, usage={"output_tokens": 5}),
    told("message_stop"),
]  # fmt: skip
GEMINI = [
    b"data: " + json.dumps({"candidates": [candidate]}).encode() + b"\n\n"
    for candidate in (
        {"content": {"role": "model", "parts": [{"text": "why", "thought": True}]}},
        {"content": {"role": "model", "parts": [{"text": "so it"}]}, "finishReason": "STOP"},
    )
]
OLLAMA = [
    json.dumps({"model": "m", "created_at": "2024-01-01T00:00:00Z", **more}).encode() + b"\n"
    for more in (
        {"message": {"role": "assistant", "content": "", "thinking": "why"}, "done": False},
        {"message": {"role": "assistant", "content": "so it"}, "done": False},
        {"message": {"role": "assistant", "content": ""}, "done": True, "done_reason": "stop"},
    )
]


@pytest.mark.parametrize(
    ("provider", "played"),
    [("anthropic", ANTHROPIC), ("gemini", GEMINI), ("ollama_chat", OLLAMA)],
    ids=["anthropic", "gemini", "ollama_chat"],
)
def test_another_api_passes_as_it_is(litellm: Any, provider: str, played: Any) -> None:
    async def main() -> None:
        found = []
        # (Asking a model's price, LiteLLM may ask an Ollama for it, and hold up the loop.)
        with Upstream.in_thread() as up:
            playing(up, played)
            for wrapped in (lambda stream: stream, wrap, normalize_stream):
                stream = wrapped(await litellm.acompletion(**request(up, provider)))
                chunks, error = await collect(stream)
                assert error is None
                found.append([chunk.choices[0].delta.model_dump() for chunk in chunks])
                assert (text(chunks, "reasoning_content"), text(chunks, "content")) == (
                    "why", "so it",
                )  # fmt: skip
        assert found[0] == found[1] == found[2]

    run(main())


@pytest.mark.parametrize("provider", ["anthropic", "gemini", "cohere_chat"])
@pytest.mark.parametrize(
    ("played", "kind"), [([], "empty"), ([b"<html><p>no</p></html>\n"], "not_sse")], ids=str
)
def test_what_is_no_stream_of_any_api(litellm: Any, provider: str, played: Any, kind: str) -> None:
    async def main() -> None:
        async with upstream(played) as up:
            stream = await litellm.acompletion(**request(up, provider))
            _, error = await collect(normalize_stream(stream))
        assert isinstance(error, StreamFault)
        assert error.kind == kind

    run(main())


# How it ends. -----------------------------------------------------------------------

LIMITED = b'data: {"error": {"message": "slow down", "code": 429}}\n\n'
ENDS: dict[str, tuple[list[Any], str, str]] = {
    "cut": ([START, one({"content": "so"})], "truncated", "so"),
    "empty": ([], "empty", ""),
    "only comments": ([b": hello\n\n"], "empty", ""),
    "only done": ([DONE], "empty", ""),
    "page": ([b"<!DOCTYPE html><title>no</title>\n"], "not_sse", ""),
    "error": ([LIMITED], "error_event", ""),
    "error behind text": ([START, one({"content": "so"}), LIMITED], "error_event", "so"),
    "error body": ([b'{"error": {"message": "no", "code": 401}}'], "error_event", ""),
    "lost": ([START, one({"content": "so"}), Abort()], "transport", "so"),
}


@pytest.mark.parametrize("provider", READERS)
@pytest.mark.parametrize("end", ENDS)
def test_an_end_that_is_none(litellm: Any, engine: Engine, end: str, provider: str) -> None:
    played, kind, answer = ENDS[end]

    async def main() -> None:
        async with upstream(played) as up:
            stream = await litellm.acompletion(**request(up, provider))
            items = normalize_stream(stream, _engine_module=engine)
            chunks, error = await collect(items)
            assert isinstance(error, StreamFault)
            assert error is items.fault
            assert (error.kind, error.visible_output) == (kind, bool(answer))
            assert type(error.__cause__).__module__.startswith("litellm")
            assert (text(chunks, "content"), finishes(chunks)) == (answer, [])

            # Who reads LiteLLM's own stream gets its own exception, and can ask it.
            stream = wrap(await litellm.acompletion(**request(up, provider)))
            chunks, error = await collect(stream)
            assert type(error).__module__.startswith("litellm")
            assert error is not None
            fault = StreamFault.from_exception(error)
            assert (fault.kind, fault.visible_output) == (kind, bool(answer))
            assert (text(chunks, "content"), finishes(chunks)) == (answer, [])
            if end == "error":
                assert getattr(error, "status_code", None) == fault.status_code == 429
                assert fault.provider_message == "slow down"

            with install():
                _, error = await collect(await litellm.acompletion(**request(up, provider)))
                assert error is not None
                assert StreamFault.from_exception(error).kind == kind

    run(main())


@pytest.mark.parametrize("provider", READERS)
def test_the_same_without_an_event_loop(litellm: Any, provider: str) -> None:
    with Upstream.in_thread() as up:
        for end in ("cut", "empty", "page", "error"):
            played, kind, answer = ENDS[end]
            playing(up, played)
            items = normalize_stream_sync(litellm.completion(**request(up, provider)))
            chunks, error = collect_sync(items)
            assert isinstance(error, StreamFault)
            assert (error.kind, text(chunks, "content")) == (kind, answer)
            _, error = collect_sync(wrap(litellm.completion(**request(up, provider))))
            assert error is not None
            assert StreamFault.from_exception(error).kind == kind


@pytest.mark.parametrize("provider", READERS)
def test_ends_that_are_well(litellm: Any, provider: str) -> None:
    async def main() -> None:
        for last in (
            [one({}, "stop")],
            [DONE],
            [one({}, "stop"), DONE],
            [one({}, "stop"), Abort()],
        ):
            async with upstream([START, one({"content": "so"}), *last]) as up:
                stream = await litellm.acompletion(**request(up, provider))
                chunks, error = await collect(normalize_stream(stream))
            assert (error, text(chunks, "content"), finishes(chunks)) == (None, "so", ["stop"])

    run(main())


def test_an_earlier_failure_is_not_taken_for_the_cause(litellm: Any) -> None:
    async def main() -> None:
        async with upstream(ENDS["cut"][0]) as up:
            with pytest.raises(StreamFault) as first:
                async for _ in normalize_stream(await litellm.acompletion(**request(up))):
                    pass
        error: Exception | None = None
        try:
            raise first.value
        except StreamFault:
            async with upstream([b'{"error": {"message": "no"}}'], 401, "application/json") as up:
                try:
                    await litellm.acompletion(**request(up))
                except litellm.AuthenticationError as refused:
                    error = refused
        assert error is not None
        fault = StreamFault.from_exception(error)
        assert (fault.kind, fault.status_code) == ("http_error", 401)

    run(main())


def test_an_exception_of_the_callers_own(litellm: Any) -> None:
    class Ours(Exception):
        status_code = 429

    async def main() -> None:
        async with upstream(ENDS["cut"][0]) as up:
            stream = await litellm.acompletion(**request(up))
            with install(error_factory=lambda fault: Ours(str(fault))):
                wrap(stream, error_factory=lambda fault: Ours(f"mine: {fault}"))
                _, error = await collect(normalize_stream(stream))
                assert isinstance(error, StreamFault)
                assert error.kind == "truncated"
                assert "mine: " in str(error.__cause__)
                _, error = await collect(await litellm.acompletion(**request(up)))
                assert isinstance(error, litellm.ServiceUnavailableError)
                assert getattr(error, "status_code", None) == 429
                assert StreamFault.from_exception(error).kind == "truncated"

    run(main())


# Recipes and refusals. --------------------------------------------------------------


def test_recipe(litellm: Any, capsys: pytest.CaptureFixture[str]) -> None:
    async def main() -> None:
        async with upstream(THOUGHT) as up:
            arguments = request(up, "openrouter")
            del arguments["stream"]
            names = await run_recipe("litellm", request=arguments)
            names["uninstall"]()

    run(main())
    assert capsys.readouterr().out.endswith("whyso it")


def test_recipe_for_one_stream(litellm: Any, capsys: pytest.CaptureFixture[str]) -> None:
    async def main() -> None:
        async with upstream(THOUGHT) as up:
            arguments = request(up, "openrouter")
            del arguments["stream"]
            names = await run_recipe("litellm", "one stream", request=arguments)
        assert names["message"]["reasoning_content"] == "why"

    run(main())
    assert "why" not in capsys.readouterr().err


@pytest.mark.parametrize("given", [None, [], "data: {}"])
def test_what_is_no_stream_of_litellms(given: Any) -> None:
    with pytest.raises(TypeError, match=r"wrap needs a litellm\.CustomStreamWrapper"):
        wrap(given)
