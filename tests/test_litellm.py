"""LiteLLM's stream wrapper as a source: the real package against the loopback upstream."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from streamnorm import NormalizedStream, StreamFault, normalize_stream
from streamnorm._engine import Engine
from streamnorm.upstream import Abort, Upstream

from .aio import collect, collect_sse
from .helpers import DONE, chunk, datas, event

pytestmark = [
    # What LiteLLM itself and its dependencies leave or deprecate is not ours to mend.
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning:pydantic.*"),
]


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


@asynccontextmanager
async def completion(litellm: Any, steps: list[Any]) -> AsyncIterator[Any]:
    """The coroutine of a streamed completion from an upstream that plays *steps*.

    A script without its end must be left: then its connection has to be closed (else
    LiteLLM keeps it alive).
    """
    async with Upstream() as up:
        up.add("x", steps)
        yield litellm.acompletion(
            model="openai/m",
            api_base=up.base_url("x"),
            api_key="x",
            stream=True,
            messages=[{"role": "user", "content": "?"}],
            max_retries=0,
        )
        if DONE not in steps:
            await up.drained()


def run(main: Any) -> None:
    """Run to the end, LiteLLM's own logging tasks included."""

    async def whole() -> None:
        await main
        others = asyncio.all_tasks() - {asyncio.current_task()}
        if others:
            # Its logging worker runs for ever.
            await asyncio.wait(others, timeout=0.2)

    asyncio.run(whole())


def text(chunks: list[Any], name: str) -> str:
    return "".join(getattr(one.choices[0].delta, name, None) or "" for one in chunks)


def test_the_objects_are_kept_and_their_deltas_changed(litellm: Any, engine: Engine) -> None:
    from litellm.types.utils import ModelResponseStream

    async def main() -> None:
        async with completion(litellm, STREAM) as request:
            wrapper = await request
            items = normalize_stream(wrapper, _engine_module=engine)
            chunks, fault = await collect(items)
        assert fault is None
        assert all(type(one) is ModelResponseStream for one in chunks)
        assert text(chunks, "reasoning_content") == "abc"
        assert text(chunks, "content") == "xyz"
        for one in chunks:
            delta = one.choices[0].delta
            for alias in ("reasoning", "reasoning_text", "thinking"):
                assert not hasattr(delta, alias)
                assert alias not in delta.model_dump()
        # What carries more than its text stays, and the rest is untouched.
        [detailed] = [one for one in chunks if hasattr(one.choices[0].delta, "reasoning_details")]
        assert detailed.choices[0].delta.reasoning_details[0]["id"] == 7
        [called] = [one for one in chunks if one.choices[0].delta.tool_calls]
        assert called.choices[0].delta.tool_calls[0].function.name == "f"
        assert chunks[-1].choices[0].finish_reason == "tool_calls"
        report = items.report
        assert (report.engine, report.mirrored, report.removed) == (
            engine.NAME, {"reasoning": 1}, {"thinking": 1},
        )  # fmt: skip
        assert set(report.remaps) == {
            "reasoning_text→reasoning_content",
            "reasoning_details→reasoning_content",
        }
        # What LiteLLM itself remembers is the same objects: its log has the text too.
        built = litellm.stream_chunk_builder(items.chunks)
        assert built.choices[0].message.reasoning_content == "abc"

    run(main())


TAGGED = [
    one({"role": "assistant", "content": ""}),
    one({"content": "<think>a</th"}),
    one({"content": "ink>\n\nx"}),
    one({"content": "y"}),
    one({"tool_calls": [{"index": 0, "id": "t", "function": {"name": "f", "arguments": "{"}}]}),
    one({"tool_calls": [{"index": 0, "id": "u", "function": {"name": "g", "arguments": "{}"}}]}),
    one({}, "tool_calls"),
    DONE,
]


def test_tags_and_calls_of_kept_objects(litellm: Any, engine: Engine) -> None:
    async def main() -> None:
        async with completion(litellm, TAGGED) as request:
            items = normalize_stream(request, _engine_module=engine)
            chunks, fault = await collect(items)
        assert fault is None
        assert (text(chunks, "reasoning_content"), text(chunks, "content")) == ("a", "xy")
        calls = [call for one in chunks for call in one.choices[0].delta.tool_calls or ()]
        named = [(call.index, call.function.name) for call in calls if call.function.name]
        assert named == [(0, "f"), (1, "g")]
        assert set(items.report.tags) == {"think"}
        assert items.report.repairs["shared_index"] == 1
        assert chunks[-1].choices[0].finish_reason == "tool_calls"

    run(main())


@pytest.mark.parametrize("options", [{"finish": "last"}, {"split_mixed": True}], ids=str)
def test_chunks_of_our_own_are_objects_too(
    litellm: Any, engine: Engine, options: dict[str, Any]
) -> None:
    from litellm.types.utils import ModelResponseStream

    mixed = one({"content": "x", "reasoning_content": "a"})

    async def main() -> None:
        steps = [one({"role": "assistant", "content": ""}), mixed, one({"content": "<th"}),
                 one({}, "length"), DONE]  # fmt: skip
        async with completion(litellm, steps) as request:
            chunks, fault = await collect(
                normalize_stream(request, _engine_module=engine, **options)
            )
        assert fault is None
        assert all(type(one) is ModelResponseStream for one in chunks)
        assert (text(chunks, "reasoning_content"), text(chunks, "content")) == ("a", "x<th")
        assert [c.choices[0].finish_reason for c in chunks if c.choices[0].finish_reason] == [
            "length"
        ]
        assert {one.model for one in chunks} == {"m"}
        built = litellm.stream_chunk_builder(chunks)
        assert built.choices[0].message.content == "x<th"

    run(main())


def test_another_output_key(litellm: Any, engine: Engine) -> None:
    async def main() -> None:
        async with completion(litellm, STREAM) as request:
            items = normalize_stream(request, reasoning="reasoning", _engine_module=engine)
            chunks, _ = await collect(items)
        assert text(chunks, "reasoning") == "abc"
        assert not any(hasattr(one.choices[0].delta, "reasoning_content") for one in chunks)
        async with completion(litellm, STREAM) as request:
            items = normalize_stream(request, reasoning="both", _engine_module=engine)
            chunks, _ = await collect(items)
        assert text(chunks, "reasoning") == text(chunks, "reasoning_content") == "abc"

    run(main())


def test_bytes(litellm: Any, engine: Engine) -> None:
    async def main() -> None:
        async with completion(litellm, STREAM) as request:
            data, fault = await collect_sse(normalize_stream(request, _engine_module=engine))
        assert fault is None
        assert data.endswith(DONE)
        chunks = datas(data)
        deltas = [one["choices"][0]["delta"] for one in chunks]
        assert "".join(delta.get("reasoning_content") or "" for delta in deltas) == "abc"
        assert not any("reasoning" in delta or "reasoning_text" in delta for delta in deltas)
        assert chunks[0]["object"] == "chat.completion.chunk"
        assert deltas[5]["tool_calls"][0]["function"]["name"] == "f"

    run(main())


def test_attributes_of_the_wrapper_can_be_read(litellm: Any, engine: Engine) -> None:
    async def main() -> None:
        async with completion(litellm, STREAM) as request:
            wrapper = await request
            items: Any = normalize_stream(wrapper, _engine_module=engine)
            for name, value in vars(wrapper).items():
                assert getattr(items, name) is value, name
            for name in ("_hidden_params", "hidden_params", "logging_obj", "custom_llm_provider"):
                assert getattr(items, name) == getattr(wrapper, name)
            assert items.set_logging_event_loop == wrapper.set_logging_event_loop
            assert "api_base" in items._hidden_params
            # Ours are ours.
            assert items.report.events == 0
            assert items.aclose.__self__ is items
            with pytest.raises(AttributeError, match="no_such_thing"):
                items.no_such_thing  # noqa: B018
            await collect(items)

        # Nothing is read through other sources, nor before an awaitable was awaited.
        async with completion(litellm, STREAM) as request:
            items = normalize_stream(request, _engine_module=engine)
            with pytest.raises(AttributeError, match="'NormalizedStream' object has no attribute"):
                items.logging_obj  # noqa: B018
            await anext(items)
            assert items.logging_obj is not None
            await items.aclose()

    run(main())


def test_no_name_of_ours_hides_one_of_the_wrapper(litellm: Any) -> None:
    wrapper = litellm.CustomStreamWrapper
    ours = set(vars(NormalizedStream)) | set(vars(normalize_stream(_Nothing())))
    shared = {name for name in ours & set(dir(wrapper)) if not name.startswith("__")}
    assert shared == {"aclose"}


class _Nothing:
    def __aiter__(self) -> Any: ...


@pytest.mark.parametrize("leave", ["aclose", "cancel"])
def test_a_wrapper_that_is_left_closes_its_connection(
    litellm: Any, engine: Engine, leave: str
) -> None:
    async def main() -> None:
        async with completion(litellm, [*STREAM[:3], math.inf]) as request:
            items = normalize_stream(request, _engine_module=engine)
            await anext(items)
            if leave == "aclose":
                await items.aclose()
            else:
                for _ in range(2):
                    await anext(items)
                with pytest.raises(asyncio.TimeoutError):
                    await asyncio.wait_for(anext(items), 0.05)
                with pytest.raises(StreamFault, match="was cancelled"):
                    await anext(items)
            assert await anext(items, None) is None

    run(main())


def test_a_lost_connection(litellm: Any, engine: Engine) -> None:
    async def main() -> None:
        async with completion(litellm, [*STREAM[:3], Abort()]) as request:
            items = normalize_stream(request, _engine_module=engine)
            chunks, fault = await collect(items)
        assert text(chunks, "reasoning_content") == "ab"
        assert fault is not None
        assert (fault.kind, fault.visible_output) == ("transport", True)
        assert type(fault.__cause__).__module__.startswith("litellm")

    run(main())


def test_an_error_of_the_call_is_a_fault(litellm: Any, engine: Engine) -> None:
    async def main() -> None:
        async with Upstream() as up:
            up.add("x", [b'{"error":{"message":"no"}}'], 400, {"content-type": "application/json"})
            request = litellm.acompletion(
                model="openai/m", api_base=up.base_url("x"), api_key="x", stream=True,
                messages=[{"role": "user", "content": "?"}], max_retries=0,
            )  # fmt: skip
            items = normalize_stream(request, _engine_module=engine)
            with pytest.raises(StreamFault) as raised:
                await anext(items)
            fault = raised.value
            assert items.fault is fault
            assert (fault.kind, fault.status_code, fault.blame) == ("http_error", 400, "request")
            assert isinstance(fault.__cause__, litellm.BadRequestError)

    run(main())


def test_the_none_of_a_swallowed_422(
    litellm: Any, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(litellm, "drop_params", True)

    async def main() -> None:
        async with Upstream() as up:
            body = b'{"detail":"tool_choice is not supported"}'
            up.add("x", [body], 422, {"content-type": "application/json"})
            request = litellm.acompletion(
                model="openai/m", api_base=up.base_url("x"), api_key="x", stream=True,
                messages=[{"role": "user", "content": "?"}], max_retries=0,
            )  # fmt: skip
            with pytest.raises(StreamFault) as raised:
                await anext(normalize_stream(request, _engine_module=engine))
            assert raised.value.kind == "none_stream"

    run(main())
