"""LiteLLM's synchronous stream wrapper as a source: the real package, the loopback upstream."""

from __future__ import annotations

import asyncio
import gc
import json
import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from streamnorm import NormalizedStreamSync, StreamFault, normalize_stream_sync
from streamnorm._engine import Engine
from streamnorm.upstream import Abort, Gate, Upstream

from .blocking import Script, collect, collect_sse, drained
from .helpers import DONE, chunk, datas, event

pytestmark = [
    # What LiteLLM itself and its dependencies leave or deprecate is not ours to mend.
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning:pydantic.*"),
]


@pytest.fixture(autouse=True)
def own_loop() -> Iterator[None]:
    """Where LiteLLM asks for the thread's event loop, a new one would never be closed."""
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    yield
    asyncio.set_event_loop(None)
    loop.close()
    gc.collect()


def one(delta: Any, finish: str | None = None) -> bytes:
    head = {"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "m"}
    return event(chunk(delta, finish, **head))


STREAM = [
    one({"role": "assistant", "content": ""}),
    one({"reasoning": "a", "reasoning_content": "a"}),
    one({"content": "x", "reasoning_text": "b"}),
    one({"content": "y", "reasoning_details": [{"type": "reasoning.text", "text": "c", "id": 7}]}),
    one({"content": "z", "thinking": None}),
    one({"tool_calls": [{"index": 0, "id": "t", "function": {"name": "f", "arguments": "{}"}}]}),
    one({}, "tool_calls"),
    DONE,
]


def request_of(up: Upstream, name: str = "x") -> dict[str, Any]:
    messages = [{"role": "user", "content": "?"}]
    return {"model": "openai/m", "api_base": up.base_url(name), "api_key": "x", "stream": True,
            "messages": messages, "max_retries": 0}  # fmt: skip


@contextmanager
def completion(litellm: Any, steps: list[Any]) -> Iterator[Any]:
    """The wrapper of a streamed completion from an upstream that plays *steps*.

    A script without its end must be left: then its connection has to be closed (else
    LiteLLM keeps it alive).
    """
    with Upstream.in_thread() as up:
        up.add("x", steps)
        yield litellm.completion(**request_of(up))
        if DONE not in steps:
            drained(up)


def text(chunks: list[Any], name: str) -> str:
    return "".join(getattr(one.choices[0].delta, name, None) or "" for one in chunks)


def test_the_objects_are_kept_and_their_deltas_changed(litellm: Any, engine: Engine) -> None:
    from litellm.types.utils import ModelResponseStream

    with completion(litellm, STREAM) as wrapper:
        items: Any = normalize_stream_sync(wrapper, _engine_module=engine)
        chunks, fault = collect(items)
    assert fault is None
    assert all(type(one) is ModelResponseStream for one in chunks)
    assert (text(chunks, "reasoning_content"), text(chunks, "content")) == ("abc", "xyz")
    for one in chunks:
        delta = one.choices[0].delta
        for alias in ("reasoning", "reasoning_text", "thinking"):
            assert not hasattr(delta, alias)
            assert alias not in delta.model_dump()
    [detailed] = [one for one in chunks if hasattr(one.choices[0].delta, "reasoning_details")]
    assert detailed.choices[0].delta.reasoning_details[0]["id"] == 7
    [called] = [one for one in chunks if one.choices[0].delta.tool_calls]
    assert called.choices[0].delta.tool_calls[0].function.name == "f"
    assert chunks[-1].choices[0].finish_reason == "tool_calls"
    assert (items.report.engine, items.report.mirrored) == (engine.NAME, {"reasoning": 1})
    assert items.message["reasoning_content"] == "abc"
    assert items.outcome.complete
    # What LiteLLM itself remembers is the same objects: its log has the text too.
    built = litellm.stream_chunk_builder(items.chunks)
    assert built.choices[0].message.reasoning_content == "abc"


def test_each_chunk_comes_at_once(litellm: Any) -> None:
    # LiteLLM itself holds a chunk back: one that ends the stream, and the first, empty one.
    gates = [Gate() for _ in range(3)]
    steps: list[Any] = [STREAM[0]]
    for n, gate in enumerate(gates):
        steps += [globals()["one"]({"content": str(n)}), gate]
    with completion(litellm, [*steps, STREAM[-2], DONE]) as wrapper:
        items: Any = normalize_stream_sync(wrapper)
        for n, gate in enumerate(gates):
            while not (content := next(items).choices[0].delta.content):
                pass
            assert content == str(n)
            gate.open()
        assert collect(items)[1] is None


def test_bytes(litellm: Any, engine: Engine) -> None:
    with completion(litellm, STREAM) as wrapper:
        items = normalize_stream_sync(wrapper, _engine_module=engine)
        assert items.peek() == "visible"
        data, fault = collect_sse(items)
    assert fault is None
    assert data.endswith(DONE)
    deltas = [one["choices"][0]["delta"] for one in datas(data)]
    assert "".join(delta.get("reasoning_content") or "" for delta in deltas) == "abc"
    assert not any("reasoning" in delta or "reasoning_text" in delta for delta in deltas)


def test_attributes_of_the_wrapper_can_be_read(litellm: Any) -> None:
    with completion(litellm, STREAM) as wrapper:
        items: Any = normalize_stream_sync(wrapper)
        for name, value in vars(wrapper).items():
            assert getattr(items, name) is value, name
        for name in ("_hidden_params", "logging_obj", "custom_llm_provider"):
            assert getattr(items, name) == getattr(wrapper, name)
        assert "api_base" in items._hidden_params
        # Ours are ours.
        assert items.report.events == 0
        with pytest.raises(AttributeError, match="no_such_thing"):
            items.no_such_thing  # noqa: B018
        collect(items)


def test_no_name_of_ours_hides_one_of_the_wrapper(litellm: Any) -> None:
    wrapper = litellm.CustomStreamWrapper
    ours = set(dir(NormalizedStreamSync)) | set(vars(normalize_stream_sync(Script([]))))
    shared = {name for name in ours & set(dir(wrapper)) if not name.startswith("__")}
    assert shared == set()


@pytest.mark.parametrize("leave", ["close", "with", "unread"])
def test_a_wrapper_that_is_left_closes_its_connection(litellm: Any, leave: str) -> None:
    with completion(litellm, [*STREAM[:3], math.inf]) as wrapper:
        items = normalize_stream_sync(wrapper)
        if leave == "with":
            with items:
                next(items)
        else:
            if leave == "close":
                next(items)
            items.close()
        assert next(items, None) is None


def test_a_lost_connection(litellm: Any) -> None:
    with completion(litellm, [*STREAM[:3], Abort()]) as wrapper:
        chunks, fault = collect(normalize_stream_sync(wrapper))
    assert text(chunks, "reasoning_content") == "ab"
    assert fault is not None
    assert (fault.kind, fault.visible_output) == ("transport", True)
    assert type(fault.__cause__).__module__.startswith("litellm")


def test_the_none_of_a_swallowed_422(litellm: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(litellm, "drop_params", True)
    with Upstream.in_thread() as up:
        body = b'{"detail":"tool_choice is not supported"}'
        up.add("x", [body], 422, {"content-type": "application/json"})
        with pytest.raises(StreamFault) as raised:
            next(normalize_stream_sync(litellm.completion(**request_of(up))))
    assert raised.value.kind == "none_stream"


def test_what_is_no_synchronous_stream_is_refused(litellm: Any) -> None:
    message = {"role": "assistant", "content": "x"}
    choices = [{"index": 0, "message": message, "finish_reason": "stop"}]
    whole = json.dumps({"id": "c", "object": "chat.completion", "created": 1, "model": "m",
                        "choices": choices}).encode()  # fmt: skip

    async def main(up: Upstream) -> None:
        wrapper = await litellm.acompletion(**request_of(up))
        with pytest.raises(TypeError, match="which is asynchronous"):
            normalize_stream_sync(wrapper)
        await wrapper.aclose()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        if others:
            # Its logging worker runs for ever.
            await asyncio.wait(others, timeout=0.2)

    with Upstream.in_thread() as up:
        up.add("x", STREAM)
        up.add("whole", [whole], headers={"content-type": "application/json"})
        asyncio.run(main(up))
        answer = litellm.completion(**{**request_of(up, "whole"), "stream": False})
        with pytest.raises(TypeError, match="was stream=True left out"):
            normalize_stream_sync(answer)
