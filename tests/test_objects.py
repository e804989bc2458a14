"""Chunks that are objects already, dicts and models of SDKs, as the items of a source."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from streamnorm._engine import Engine

from . import oracle
from .aio import Made, collect, collect_sse, deltas, run, scripted
from .helpers import DONE, chunk, event, run_chunks

FIRST_OUT = {"reasoning_content": "why"}
SECOND_OUT = {"content": "so"}


@pytest.fixture
def make(engine: Engine) -> Callable[..., Made]:
    """Makes a scripted source and its normalised stream."""
    return scripted(engine)


def _chunk(delta: Any, finish: str | None = None, **more: Any) -> dict[str, Any]:
    made: dict[str, Any] = json.loads(chunk(delta, finish, **more))
    return made


def test_dicts(make: Callable[..., Made]) -> None:
    given = [_chunk({"reasoning": "why"}), _chunk({"content": "😀"}), _chunk({}, "stop")]
    before = json.dumps(given)

    async def main() -> None:
        source, items = make(*given)
        chunks, fault = await collect(items)
        assert fault is None
        assert deltas(chunks) == [FIRST_OUT, {"content": "😀"}, {}]
        assert chunks[1] is given[1]  # what no rule touches is the very object
        assert json.dumps(given) == before
        assert (items.report.engine, items.report.events) == ("python", 3)
        assert items.report.remaps == {"reasoning→reasoning_content": 1}
        assert source.closes == 1

        _, items = make(*given)
        data, fault = await collect_sse(items)
        assert fault is None
        assert data.endswith(b'"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n')
        _, items = make(data)
        assert (await collect(items))[0] == chunks

    run(main())


def test_pydantic_objects(make: Callable[..., Made]) -> None:
    pydantic = pytest.importorskip("pydantic")

    class Delta(pydantic.BaseModel):  # type: ignore[misc, name-defined]
        model_config = pydantic.ConfigDict(extra="allow")
        content: str | None = None
        role: str | None = None

    class Choice(pydantic.BaseModel):  # type: ignore[misc, name-defined]
        index: int
        delta: Delta
        finish_reason: str | None = None

    class Chunk(pydantic.BaseModel):  # type: ignore[misc, name-defined]
        model_config = pydantic.ConfigDict(extra="allow")
        choices: list[Choice]

    async def main() -> None:
        given = [
            Chunk.model_validate(_chunk({"reasoning": "why", "x": [1]}, id="c1")),
            Chunk.model_construct(choices=[{"index": 0, "delta": {"content": "so"}}]),
            Chunk.model_validate(_chunk({}, "stop")),
        ]
        _, items = make(*given)
        chunks, fault = await collect(items)
        assert fault is None
        assert chunks[0]["id"] == "c1"
        assert deltas(chunks) == [{"reasoning_content": "why", "x": [1]}, SECOND_OUT, {}]

    run(main())


def test_other_objects_that_turn_into_dicts(make: Callable[..., Made]) -> None:
    class Sdk:
        def to_dict(self) -> dict[str, Any]:
            return _chunk({"reasoning": "why"}, "stop")

    class Old:
        def dict(self, exclude_unset: bool = False) -> dict[str, Any]:
            assert exclude_unset
            return _chunk(SECOND_OUT)

    async def main() -> None:
        _, items = make(Old(), Sdk())
        assert deltas((await collect(items))[0]) == [SECOND_OUT, FIRST_OUT]

    run(main())


def test_whether_an_object_is_true_is_not_asked(make: Callable[..., Made]) -> None:
    class Sdk:
        def to_dict(self) -> dict[str, Any]:
            return _chunk(SECOND_OUT)

        def __bool__(self) -> bool:
            raise ValueError("ambiguous")

    async def main() -> None:
        _, items = make(Sdk(), Sdk(), Sdk(), _chunk({}, "stop"))
        found, fault = await collect(items)
        assert (deltas(found)[:3], fault) == ([SECOND_OUT] * 3, None)

    run(main())


@pytest.mark.parametrize(
    ("given", "kind", "count"),
    [
        ([_chunk({"content": "a"})], "truncated", 1),
        ([_chunk({"content": "a"}), {"error": {"message": "no"}}], "error_event", 1),
        ([_chunk({"content": "a"}, error={"message": "no"})], "error_event", 1),
        ([_chunk({"content": "a"}), OSError("gone")], "transport", 1),
        ([{"type": "message_stop"}], None, 1),
    ],
)
def test_how_a_stream_of_objects_ends(
    make: Callable[..., Made], given: list[Any], kind: str | None, count: int
) -> None:
    async def main() -> None:
        source, items = make(*given)
        chunks, fault = await collect(items)
        assert len(chunks) == count
        assert (fault and fault.kind) == kind
        assert source.closes == 1
        source, items = make(*given)
        data, fault = await collect_sse(items)
        assert data.count(b"data: {") == count
        assert data.endswith(DONE) is (kind is None)
        assert (fault and fault.kind) == kind

    run(main())


# The rules for content and calls, on objects. ---------------------------------------------

CONTENTS: list[tuple[dict[str, Any], list[dict[str, Any]]]] = [
    ({}, [{"content": "<think>a</th"}, {"content": "ink>\n\nb"}, {"content": " c"}]),
    ({}, [{"content": "<thi"}]),
    ({}, [{"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "a"}]}, "b"]}]),
    ({}, [{"content": [{"type": "image_url", "n": 1}, {"type": "text", "text": "b"}]}]),
    ({}, [{"content": "a", "extra_content": {"google": {"thought": True}}},
          {"content": "</thought>b"}]),
    ({}, [{"tool_calls": [{"id": "a", "function": {"name": "f", "arguments": {"x": 1}}}]}]),
    ({}, [{"tool_calls": [{"index": 0, "id": i, "function": {"name": "f", "arguments": ""}}]}
          for i in ("a", "b", "")]),
    ({"finish": "last"}, [{"content": "<think>a</"}, {"content": "b"}]),
    ({"split_mixed": True}, [{"reasoning": "a", "content": "b"}, {"content": "<think>"}]),
    ({"split_mixed": True, "finish": "last"}, [{"content": "<think>a</think>b"}]),
    ({"starts_in_reasoning": True, "trim_tags": False}, [{"content": "a</think> b"}]),
    ({"tags": "off", "repairs": ()}, [{"content": "<think>"}, {"tool_calls": [{"id": "a"}]}]),
]  # fmt: skip
contents = pytest.mark.parametrize(("options", "given"), CONTENTS, ids=str)


def _sent(given: list[dict[str, Any]]) -> list[dict[str, Any]]:
    head = {"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "m"}
    return [*(_chunk(delta, **head) for delta in given), _chunk({}, "stop", **head)]


@contents
def test_dicts_become_what_their_bytes_become(
    engine: Engine,
    make: Callable[..., Made],
    options: dict[str, Any],
    given: list[dict[str, Any]],
) -> None:
    sent = _sent(given)
    before = json.dumps(sent)
    # Dicts have no spelling of their own: arguments that are an object are written compactly.
    spelled = (json.dumps(one, separators=(",", ":")) for one in sent)
    raw = b"".join(event(one.encode()) for one in spelled) + DONE

    async def main() -> None:
        _, items = make(*sent, **options)
        chunks, fault = await collect(items)
        assert fault is None
        expected = run_chunks(engine, [raw], **options)
        assert chunks == expected.output
        for name in ("dialect", "remaps", "removed", "tags", "repairs", "notices", "conflicts"):
            assert getattr(items.report, name) == getattr(expected.report, name)
        assert json.dumps(sent) == before
        _, items = make(*sent, **options)
        data, _ = await collect_sse(items)
        assert oracle.documents(data) == chunks

    run(main())


@contents
def test_models_become_what_their_dicts_become(
    make: Callable[..., Made], options: dict[str, Any], given: list[dict[str, Any]]
) -> None:
    pydantic = pytest.importorskip("pydantic")

    class Model(pydantic.BaseModel):  # type: ignore[misc, name-defined]
        model_config = pydantic.ConfigDict(extra="allow")

    async def main() -> None:
        sent = _sent(given)
        expected, _ = await collect(make(*sent, **options)[1])
        models = [Model.model_validate(one) for one in sent]
        chunks, fault = await collect(make(*models, **options)[1])
        assert fault is None
        assert [_plain(one) for one in chunks] == expected

    run(main())


def _plain(one: Any) -> Any:
    return one if isinstance(one, dict) else one.model_dump()


@pytest.mark.parametrize("failing", [OSError("gone"), {"error": {"message": "no"}}])
def test_held_text_comes_out_before_a_fault(make: Callable[..., Made], failing: Any) -> None:
    async def main() -> None:
        _, items = make(
            _chunk({"content": "<think>a</"}, "stop"), _chunk({"content": "b<th"}), failing
        )
        chunks, fault = await collect(items)
        assert fault is not None
        assert oracle.joined(chunks, "reasoning_content") == {0: "a</b<th"}
        _, items = make(_chunk({"content": "<th"}, "length"), failing, finish="last")
        chunks, fault = await collect(items)
        assert fault is not None
        assert oracle.joined(chunks, "content") == {0: "<th"}
        assert not any(one["choices"][0]["finish_reason"] for one in chunks)

    run(main())
