"""What is inside of the objects of LiteLLM's stream wrapper: tags, tool calls, held text."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import pytest

from streamnorm import NormalizedStream, normalize_stream
from streamnorm._engine import Engine
from streamnorm.upstream import Abort

from . import oracle
from .aio import collect, collect_sse
from .helpers import DONE, event, run_chunks
from .test_litellm import completion, run, text

pytestmark = [
    # What LiteLLM itself and its dependencies leave or deprecate is not ours to mend.
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
]
HEAD = {"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "m"}


def sent(*choices: dict[str, Any], **more: Any) -> bytes:
    return event(json.dumps({**HEAD, "choices": list(choices), **more}).encode())


def one(delta: Any, finish: str | None = None, index: int = 0, **more: Any) -> bytes:
    return sent({"index": index, "delta": delta, "finish_reason": finish, **more})


def contents(*texts: str, finish: str = "stop") -> list[Any]:
    return [*(one({"content": text}) for text in texts), one({}, finish), DONE]


def calls(*deltas: list[dict[str, Any]]) -> list[Any]:
    return [*(one({"tool_calls": items}) for items in deltas), one({}, "tool_calls"), DONE]


def call(arguments: Any, name: Any = None, **more: Any) -> dict[str, Any]:
    named = {} if name is None else {"name": name}
    return {**more, "type": "function", "function": {**named, "arguments": arguments}}


class Recorded:
    """A wrapper, with what it has yielded: the objects, and what they said at that moment."""

    def __init__(self, wrapper: Any, then: Iterable[Any] = ()) -> None:
        self._wrapper = wrapper
        # What it reads from is left alone: this is about the objects that it gives.
        self.completion_stream = None
        self._then = iter(then)
        self.given: list[Any] = []
        self.said: list[dict[str, Any]] = []

    def __aiter__(self) -> Recorded:
        return self

    async def __anext__(self) -> Any:
        try:
            item = await self._wrapper.__anext__()
        except StopAsyncIteration:
            item = next(self._then, None)
            if item is None:
                raise
        self.given.append(item)
        self.said.append(item.model_dump(mode="json", exclude_none=True))
        return item

    def __getattr__(self, name: str) -> Any:
        return getattr(self._wrapper, name)


Played = tuple[list[Any], NormalizedStream, Recorded]


async def played(
    litellm: Any, engine: Engine, steps: list[Any], then: Iterable[Any] = (), **options: Any
) -> Played:
    """The chunks of a stream; they say what the bytes of LiteLLM's own chunks give."""
    async with completion(litellm, steps) as request:
        source = Recorded(await request, then)
        stream = normalize_stream(source, _engine_module=engine, **options)
        chunks, fault = await collect(stream)
    raw = b"".join(event(json.dumps(said).encode()) for said in source.said)
    # Where the wrapper raised, its bytes break off; LiteLLM makes up a finish_reason else.
    due = run_chunks(engine, [raw], **options)
    assert (fault is None) is (due.fault is None)
    assert oracle.meant([without_null(chunk.model_dump(mode="json")) for chunk in chunks]) == (
        oracle.meant([without_null(chunk) for chunk in due.output])
    )
    same = {"engine": "python", "declined": 0}
    assert stream.report.as_dict() == {**due.report.as_dict(), **same}
    assert_are_kept(chunks, source)
    return chunks, stream, source


def without_null(value: Any) -> Any:
    """A document without what is null: SDKs have None where nothing was said."""
    if isinstance(value, dict):
        return {name: without_null(inner) for name, inner in value.items() if inner is not None}
    return [without_null(inner) for inner in value] if isinstance(value, list) else value


def assert_are_kept(chunks: list[Any], source: Recorded) -> None:
    """Its objects come out in their order; ours are of their class, and lack no attribute."""
    own = {id(item) for item in source.given}
    assert [id(chunk) for chunk in chunks if id(chunk) in own] == [id(c) for c in source.given]
    promised = {"content", "role", "tool_calls", "function_call"}
    for chunk in chunks:
        assert type(chunk) is type(source.given[0])
        for choice in chunk.choices:
            assert type(choice) is type(source.given[0].choices[0])
            assert type(choice.delta) is type(source.given[0].choices[0].delta)
            assert all(hasattr(choice.delta, name) for name in promised)
            assert getattr(choice.delta, "content", None) is None or "<" not in choice.delta.content


THOUGHT = ("why", "so it")


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        (("<thi", "nk>wh", "y</th", "ink>\n\nso", " it"), THOUGHT),
        (("<think>why", "</think>so it"), THOUGHT),
        (("<think>why</think>so it",), THOUGHT),
        (("<think>", "w", "h", "y", "</think>", "so", " it"), THOUGHT),
        (("<think>a", "why</th"), ("awhy</th", "")),
        (("<think>a", "a", "a", "a", "</think>"), ("aaaa", "")),
    ],
    ids=["cut", "two", "one", "many", "unclosed", "alike"],
)
def test_tags(litellm: Any, engine: Engine, texts: Any, expected: Any) -> None:
    async def main() -> None:
        chunks, stream, _ = await played(litellm, engine, contents(*texts))
        assert stream.fault is None
        assert (text(chunks, "reasoning_content"), text(chunks, "content")) == expected
        # Where a delta is all reasoning, the attribute of its text is there, and says nothing.
        assert stream.message == {
            "role": "assistant", "content": expected[1] or None, "reasoning_content": expected[0],
        }  # fmt: skip
        built = litellm.stream_chunk_builder(chunks).choices[0].message
        assert (built.reasoning_content, built.content or "") == expected

    run(main())


def test_googles_flag(litellm: Any, engine: Engine) -> None:
    flagged = {"extra_content": {"google": {"thought": True}}}

    async def main() -> None:
        steps = [one({"content": "<thought>why", **flagged}), *contents("</thought>so")]
        chunks, stream, _ = await played(litellm, engine, steps)
        assert (text(chunks, "reasoning_content"), text(chunks, "content")) == ("why", "so")
        assert stream.report.dialect == "thought flag"

    run(main())


def test_tags_of_two_choices(litellm: Any, engine: Engine) -> None:
    def both(first: str, second: str) -> bytes:
        texts = enumerate((first, second))
        return sent(*({"index": i, "delta": {"content": said}} for i, said in texts))

    async def main() -> None:
        steps = [both("<think>a", "<thi"), both("</think>x", "nk>b<"), both("y", "c")]
        _, stream, _ = await played(litellm, engine, [*steps, one({}, "stop"), DONE])
        assert {i: (m["reasoning_content"], m["content"]) for i, m in
                stream.choice_messages.items()} == {0: ("a", "xy"), 1: ("b<c", None)}  # fmt: skip

    run(main())


@pytest.mark.parametrize(
    ("last", "kind"),
    [
        ([Abort()], "transport"),
        ([event(b'{"error": {"message": "no", "code": 429}}'), DONE], "error_event"),
    ],
    ids=["lost", "error"],
)
def test_held_text_comes_out_before_the_fault(
    litellm: Any, engine: Engine, last: Any, kind: str
) -> None:
    async def main() -> None:
        steps = [one({"content": "<think>a"}), one({"content": "why</th"}, logprobs={}), *last]
        chunks, stream, source = await played(litellm, engine, steps)
        assert len(chunks) == len(source.given) + 1
        assert chunks[-1].choices[0].delta.reasoning_content == "</th"
        assert chunks[-1].choices[0].finish_reason is None
        assert (chunks[-1].id, chunks[-1].model) == (chunks[0].id, chunks[0].model)
        assert text(chunks, "reasoning_content") == "awhy</th"
        assert stream.fault is not None
        # LiteLLM calls the text that it has passed on an answer; it is all reasoning.
        assert (stream.fault.kind, stream.fault.visible_output) == (kind, False)

    run(main())


def test_held_text_of_another_choice(litellm: Any, engine: Engine) -> None:
    async def main() -> None:
        steps = [one({"content": "<think>b</"}, index=1), one({"content": "a"}), Abort()]
        chunks, stream, source = await played(litellm, engine, steps)
        assert len(chunks) == len(source.given) + 1
        (choice,) = chunks[-1].choices
        assert (choice.index, choice.delta.reasoning_content) == (1, "</")
        assert stream.choice_messages[1]["reasoning_content"] == "b</"

    run(main())


def test_chunk_without_choices_before_the_held_text(litellm: Any, engine: Engine) -> None:
    from litellm.types.utils import ModelResponseStream

    async def main() -> None:
        usage = {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}
        last = ModelResponseStream(choices=[], model="m", usage=usage)
        assert last.choices == []
        steps = contents("so")
        chunks, stream, _ = await played(litellm, engine, steps, [last], finish="last")
        assert chunks[-2] is last
        assert chunks[-1].choices[0].finish_reason == "stop"
        assert getattr(chunks[-1], "usage", None) is None
        assert stream.usage.total == 3

    run(main())


MERGED = [("a", "f", '{"x": 1}'), ("b", "g", "{}")]


@pytest.mark.parametrize(
    ("deltas", "repairs"),
    [
        # LiteLLM counts calls without an index within their delta, so all become 0.
        ([[call('{"x": 1}', "f", id="a")], [call("{}", "g", id="b")]], {"shared_index"}),
        ([[call('{"x"', "f", id="a", index=0)], [call(": 1}", index=0)],
          [call("", "g", id="b", index=0)], [call("{}", index=0)]], {"shared_index"}),
        ([[call('{"x"', "f", id="a", index=0)], [call(": 1}", "", id="", index=0)],
          [call("{}", "g", id="b", index=1)]], {"empty_id", "empty_name"}),
        ([[call('{"x": 1}', "f", id="a"), call("{}", "g", id="b")]], set()),
    ],
    ids=["no index", "all 0", "empty", "at once"],
)  # fmt: skip
def test_tool_calls(litellm: Any, engine: Engine, deltas: Any, repairs: Any) -> None:
    async def main() -> None:
        chunks, stream, _ = await played(litellm, engine, calls(*deltas))
        assert set(stream.report.repairs) == repairs
        built = litellm.stream_chunk_builder(chunks).choices[0].message.tool_calls
        assert [(c.id, c.function.name, c.function.arguments) for c in built] == MERGED
        message = stream.message or {}
        assert [
            (c["id"], c["function"]["name"], c["function"]["arguments"])
            for c in message["tool_calls"]
        ] == MERGED
        # Not on the way out of LiteLLM: without repairs the calls are as it makes them.
        _, stream, source = await played(litellm, engine, calls(*deltas), repairs=())
        assert stream.report.repairs == {}
        assert [c.model_dump(mode="json", exclude_none=True) for c in source.given] == source.said

    run(main())


@pytest.mark.parametrize(
    "mixed",
    [{"reasoning_content": "why", "content": "so"}, {"content": "<think>why</think>so"}],
    ids=["field", "tags"],
)
def test_mixed_deltas_are_split(litellm: Any, engine: Engine, mixed: dict[str, Any]) -> None:
    async def main() -> None:
        logprobs = {
            "content": [{"token": "so", "logprob": -1.0, "bytes": None, "top_logprobs": []}]
        }
        steps = [one({"role": "assistant", **mixed}, logprobs=logprobs), *contents(" it")]
        chunks, stream, source = await played(litellm, engine, steps, split_mixed=True)
        assert len(chunks) == len(source.given) + 1
        first, second = (chunk.choices[0] for chunk in chunks[:2])
        assert (first.delta.role, first.delta.reasoning_content, first.delta.content) == (
            "assistant", "why", None,
        )  # fmt: skip
        assert (second.delta.role, second.delta.content) == (None, "so")
        assert not getattr(second.delta, "reasoning_content", None)
        # They belong to the answer, and would be counted twice.
        assert first.logprobs is None
        assert second.logprobs is not None
        assert (chunks[0].id, chunks[0].model) == (chunks[1].id, chunks[1].model)
        message = stream.message or {}
        assert [message[name] for name in ("role", "content", "reasoning_content")] == [
            "assistant", "so it", "why",
        ]  # fmt: skip

    run(main())


def test_finish_reason_that_is_held(litellm: Any, engine: Engine) -> None:
    async def main() -> None:
        steps = contents("<think>a</think>so", finish="length")
        chunks, stream, source = await played(litellm, engine, steps, finish="last")
        assert len(chunks) == len(source.given) + 1
        finishes = [chunk.choices[0].finish_reason for chunk in chunks]
        assert finishes == [*[None] * len(source.given), "length"]
        assert not any(value for _, value in chunks[-1].choices[0].delta)
        assert stream.fault is None

    run(main())


def test_held_text_and_split_in_the_bytes(litellm: Any, engine: Engine) -> None:
    async def main() -> None:
        async with completion(litellm, contents("<think>a</think>so")) as request:
            stream = normalize_stream(
                request, split_mixed=True, finish="last", _engine_module=engine
            )
            data, fault = await collect_sse(stream)
        assert fault is None
        assert data.endswith(DONE)
        found = [chunk["choices"][0] for chunk in oracle.documents(data)]
        kept = ("reasoning_content", "content")
        deltas = [{k: v for k, v in one["delta"].items() if k in kept and v} for one in found]
        assert deltas == [{"reasoning_content": "a"}, {"content": "so"}, {}, {}]
        assert [one.get("finish_reason") for one in found] == [None, None, None, "stop"]

        steps = [one({"content": "<think>a"}), one({"content": "</th"}), Abort()]
        async with completion(litellm, steps) as request:
            data, fault = await collect_sse(normalize_stream(request, _engine_module=engine))
        assert fault is not None
        assert not data.endswith(DONE)
        assert oracle.joined(oracle.documents(data), "reasoning_content") == {0: "a</th"}

    run(main())
