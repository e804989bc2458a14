"""`NormalizedStream.usage` and `.message`: in both outputs, at every moment, for every source."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from streamnorm import NormalizedStream, normalize_response, normalize_stream
from streamnorm._engine import Engine
from streamnorm.collect import PENDING_BYTES
from streamnorm.message import MessageAccumulator
from streamnorm.usage import UsageAccumulator

from . import oracle
from .aio import Script, collect, collect_sse, run
from .helpers import DONE, ROOT, chunk, event, one_byte, random_cuts, stream

USAGE = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
RAW = (
    event(chunk({"role": "assistant", "content": ""}))
    + event(chunk({"reasoning": "a"}))
    + event(chunk({"content": "x", "reasoning": "b"}))
    + event(chunk({"content": "y"}, "stop"))
    + event(json.dumps({"choices": [], "usage": USAGE}).encode())
    + DONE
)
MESSAGE = {"role": "assistant", "content": "xy", "reasoning_content": "ab"}

Read = Callable[[Any], Any]
outputs = pytest.mark.parametrize("read", [collect, collect_sse], ids=["chunks", "bytes"])


def read_all(
    engine: Engine, parts: list[Any], read: Read = collect, **options: Any
) -> NormalizedStream:
    """The stream of *parts* after it was read to its end."""
    items = normalize_stream(Script(parts), _engine_module=engine, **options)
    run(read(items))
    return items


@outputs
@pytest.mark.parametrize("cuts", [lambda raw: [raw], one_byte, lambda raw: random_cuts(raw, 1)])
def test_usage_and_message_are_there_after_the_end(engine: Engine, read: Read, cuts: Any) -> None:
    items = read_all(engine, cuts(RAW), read)
    assert items.message == MESSAGE
    assert items.choice_messages == {0: MESSAGE}
    assert (items.usage.total, items.usage.source) == (5, "upstream")


@outputs
@pytest.mark.parametrize("key", ["reasoning_content", "reasoning", "both"])
def test_the_message_has_the_output_keys(engine: Engine, read: Read, key: Any) -> None:
    message = read_all(engine, [RAW], read, reasoning=key).message
    assert message is not None
    keys = ("reasoning_content", "reasoning") if key == "both" else (key,)
    assert {name: message[name] for name in message if "reasoning" in name} == dict.fromkeys(
        keys, "ab"
    )


@outputs
def test_before_anything_came(engine: Engine, read: Read) -> None:
    items = normalize_stream(Script([RAW]), _engine_module=engine)
    assert (items.message, items.choice_messages, items.usage.source) == (None, {}, "none")
    run(items.aclose())
    assert (items.message, items.choice_messages, items.usage.source) == (None, {}, "none")


def test_the_message_grows_with_the_chunks(engine: Engine) -> None:
    async def main() -> None:
        items = normalize_stream(Script(one_byte(RAW)), _engine_module=engine)
        texts = []
        async for _ in items:
            assert items.message is not None
            texts.append((items.message["content"], items.message.get("reasoning_content")))
        assert texts == [(None, None), (None, "a"), ("x", "ab"), ("xy", "ab"), ("xy", "ab")]

    run(main())


def test_the_message_grows_with_the_bytes(engine: Engine) -> None:
    async def main() -> None:
        items = normalize_stream(Script(one_byte(RAW)), _engine_module=engine)
        texts: list[Any] = []
        async for _ in items.sse():
            content = (items.message or {"content": None})["content"]
            if content not in texts:
                texts.append(content)
        assert texts == [None, "x", "xy"]
        assert items.message == MESSAGE

    run(main())


def test_changing_a_delivered_chunk_changes_no_message(engine: Engine) -> None:
    async def main() -> None:
        items = normalize_stream(Script([RAW]), _engine_module=engine)
        async for one in items:
            one.clear()
        assert items.message == MESSAGE
        assert items.usage.total == 5

    run(main())


@outputs
def test_without_collect_there_is_usage_and_no_message(engine: Engine, read: Read) -> None:
    for cuts in ([RAW], one_byte(RAW), random_cuts(RAW, 2)):
        items = read_all(engine, cuts, read, collect=False)
        assert items.usage.total == 5
        for name in ("message", "choice_messages"):
            with pytest.raises(RuntimeError, match="collect=False"):
                getattr(items, name)


def test_collect_is_checked() -> None:
    with pytest.raises(TypeError, match="collect must be a bool, not str"):
        normalize_stream(Script([]), collect="no")  # type: ignore[arg-type]


# Ends before the end. --------------------------------------------------------------------


@outputs
def test_a_fault_leaves_what_was_received(engine: Engine, read: Read) -> None:
    cut = RAW[: RAW.index(b'"y"')]
    for parts in ([cut], one_byte(cut), [cut, ConnectionError("gone")]):
        items = read_all(engine, parts, read)
        assert items.fault is not None
        assert items.message == {"role": "assistant", "content": "x", "reasoning_content": "ab"}
        assert items.usage.source == "none"


@outputs
def test_a_last_event_without_its_blank_line_counts(engine: Engine, read: Read) -> None:
    end = event(chunk({"content": "z"}, "stop", usage=USAGE)).rstrip()
    for collects in (True, False):
        items = read_all(engine, one_byte(RAW[: -len(DONE)] + end), read, collect=collects)
        assert items.usage.total == 5
        if collects:
            assert items.message == {**MESSAGE, "content": "xyz"}


def test_aclose_leaves_what_was_received(engine: Engine) -> None:
    half = RAW.index(b'"y"')

    async def main(items: NormalizedStream, source: Any) -> None:
        await anext(source)
        await items.aclose()
        # The one read is there with all its chunks, of which one was delivered.
        assert items.message is not None
        assert items.message["content"] == "x"

    for is_sse in (False, True):
        items = normalize_stream(Script([RAW[:half], RAW[half:]]), _engine_module=engine)
        run(main(items, items.sse() if is_sse else items))


@outputs
def test_a_cancelled_read_leaves_what_was_received(engine: Engine, read: Read) -> None:
    async def main() -> None:
        items = normalize_stream(
            Script([RAW[: RAW.index(b'"y"')], asyncio.Event()]), _engine_module=engine
        )
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(read(items), 0.01)
        assert items.message is not None
        assert items.message["content"] == "x"

    run(main())


# Sources and framings. -------------------------------------------------------------------


@outputs
@pytest.mark.parametrize("collects", [True, False])
@pytest.mark.parametrize("cuts", [lambda raw: [raw], one_byte])
@pytest.mark.parametrize(
    "raw",
    [
        RAW.replace(b"\n", b"\r\n"),
        RAW.replace(b"\n", b"\r"),
        b"\xef\xbb\xbf" + RAW,
        RAW.replace(b"data: ", b"data:"),
        RAW.replace(b"data: {", b": comment\nevent: x\nid: 1\ndata: {"),
        RAW.replace(b", ", b",\ndata: "),
        b"\n\n" + RAW,
        RAW.replace(b"\n\n", b"\n").replace(b"data: ", b"").replace(b"[DONE]\n", b""),
        RAW.replace(b"\n\n", b"\n").replace(b"[DONE]\n", b"[DONE]\n\n"),
    ],
    ids=["crlf", "cr", "bom", "no space", "fields", "lines", "blank", "ndjson", "one line end"],
)
def test_every_framing(engine: Engine, read: Read, collects: bool, cuts: Any, raw: bytes) -> None:
    items = read_all(engine, cuts(raw), read, collect=collects)
    assert items.fault is None
    assert items.usage.total == 5
    if collects:
        assert items.message == MESSAGE


@outputs
@pytest.mark.parametrize("indent", [None, 1])
def test_a_body_in_place_of_a_stream(engine: Engine, read: Read, indent: int | None) -> None:
    choice = {"index": 0, "message": {"role": "assistant", "content": "x"}, "finish_reason": "stop"}
    raw = json.dumps({"choices": [choice], "usage": USAGE}, indent=indent).encode()
    for parts in ([raw], one_byte(raw)):
        items = read_all(engine, parts, read)
        assert items.message == {"role": "assistant", "content": "x"}
        assert items.usage.total == 5
        assert read_all(engine, parts, read, collect=False).usage.total == 5


@outputs
def test_dicts(engine: Engine, read: Read) -> None:
    items = read_all(engine, oracle.documents(RAW), read)
    assert items.message == MESSAGE
    assert items.usage.total == 5


@outputs
def test_models(engine: Engine, read: Read) -> None:
    pydantic = pytest.importorskip("pydantic")

    class Chunk(pydantic.BaseModel):  # type: ignore[misc, name-defined]
        model_config = pydantic.ConfigDict(extra="allow")

    items = read_all(engine, [Chunk(**document) for document in oracle.documents(RAW)], read)
    assert items.message == MESSAGE
    assert items.usage.total == 5


class Model:
    """An object like those of LiteLLM: what it was not given it has as None."""

    def __init__(self, **members: Any) -> None:
        self.__dict__.update(members)

    def model_dump(self, **_: Any) -> dict[str, Any]:
        return dict(self.__dict__)


class Wrapper(Script):
    """LiteLLM's wrapper by its shape: its objects come out, with their deltas changed in place."""

    completion_stream = logging_obj = _hidden_params = None


def model_of(document: dict[str, Any]) -> Model:
    choices = [
        Model(**{**choice, "delta": Model(**choice["delta"])}) for choice in document["choices"]
    ]
    usage = document.get("usage")
    return Model(choices=choices, usage=None if usage is None else Model(**usage), id="c")


@outputs
@pytest.mark.parametrize("choice", [{"index": 0, "delta": {}}, {"index": 0}, {}])
@pytest.mark.parametrize("collects", [True, False])
def test_usage_in_a_choice(engine: Engine, read: Read, choice: Any, collects: bool) -> None:
    document = {"choices": [{**choice, "usage": USAGE}]}
    raw = RAW[: RAW.index(b'data: {"choices": []')] + event(json.dumps(document).encode()) + DONE
    assert read_all(engine, [raw], read, collect=collects).usage.total == 5


def test_objects_that_are_kept(engine: Engine) -> None:
    source = Wrapper([model_of(document) for document in oracle.documents(RAW)])
    items = normalize_stream(source, _engine_module=engine)
    chunks, fault = run(collect(items))
    assert fault is None
    assert items.message == MESSAGE
    assert items.usage.total == 5
    assert all(type(one) is Model for one in chunks)


# Bytes are parsed late, in bounds, and only where they hold usage. -------------------------


def test_no_more_than_the_bound_waits(engine: Engine) -> None:
    raw = stream(*({"content": f"word {n} "} for n in range(3000)))
    assert len(raw) > 3 * PENDING_BYTES

    async def main() -> None:
        items = normalize_stream(Script(random_cuts(raw, 3, 2000)), _engine_module=engine)
        async for _ in items.sse():
            waiting = sum(map(len, items._flow._collector._pending))
            assert waiting <= PENDING_BYTES
            assert waiting == items._flow._collector._pending_bytes
        assert items.message is not None
        assert items.message["content"] == "".join(f"word {n} " for n in range(3000))

    run(main())


DECOYS: list[dict[str, Any]] = [
    {"content": '"usage": {"total_tokens": 7}'},
    {"content": '\\"usage\\":{"total_tokens":7}'},
    {"tool_calls": [{"index": 0, "function": {"name": "usage", "arguments": '{"usage":{}}'}}]},
    {"provider_metadata": {"x": {"usage": {"total_tokens": 7, "prompt_tokens": 7}}}},
]


@outputs
@pytest.mark.parametrize("collects", [True, False])
def test_text_that_looks_like_usage_is_none(engine: Engine, read: Read, collects: bool) -> None:
    decoys = stream(*DECOYS, done=False)
    comment = b': "usage": {"total_tokens": 7}\n\n: x\ndata: {"choices":[]}\n\n'
    tail = b'data: {"choices":[],"usage":{"total_tokens":7}}\n\n'
    for raw in (decoys + DONE + tail, comment + decoys + comment + DONE + tail):
        for parts in ([raw], one_byte(raw), random_cuts(raw, 5)):
            assert read_all(engine, parts, read, collect=collects).usage.source == "none"
    items = read_all(engine, one_byte(comment + decoys + comment + RAW), read, collect=collects)
    assert items.usage.as_dict()["raw"] == USAGE


def test_a_comment_that_is_cut_before_something_like_usage(engine: Engine) -> None:
    event_of = b'data: {"choices":[],"usage":{"total_tokens":7}}'
    parts = [b": x ", event_of + b"\n", event(chunk({"content": "x"}, "stop")), DONE]
    assert read_all(engine, parts, collect_sse, collect=False).usage.source == "none"
    parts[2:2] = [event(json.dumps({"choices": [], "usage": USAGE}).encode())]
    assert read_all(engine, parts, collect_sse, collect=False).usage.total == 5


# Recordings. -----------------------------------------------------------------------------

# Sibling cassettes of 0xPlaygrounds/rig: the same request to the same model, streamed and not,
# whose answers are equal to the letter. All other pairs hold answers of their own.
PAIRS = {
    "doubleword__Qwen-Qwen3.5-9B__1": "doubleword__Qwen-Qwen3.5-9B__4",
    "doubleword__Qwen-Qwen3.5-9B__4": "doubleword__Qwen-Qwen3.5-9B__10",
}


@outputs
@pytest.mark.parametrize("name", PAIRS)
def test_the_streamed_message_is_that_of_the_body(
    engine: Engine, shared: Path, read: Read, name: str
) -> None:
    folder = shared / "recordings"
    raw = (folder / "chat-completions" / f"{name}.sse").read_bytes()
    body = json.loads((folder / "nonstream" / f"chat-completions__{PAIRS[name]}.json").read_bytes())
    items = read_all(engine, random_cuts(raw, 7, 400), read)
    expected = {k: v for k, v in body["choices"][0]["message"].items() if v is not None}
    assert items.message == {"content": None, **expected}
    usage = UsageAccumulator()
    usage.add(body)
    assert items.usage == usage.usage()


def test_the_message_is_the_cumulative_one_of_perplexity(engine: Engine, shared: Path) -> None:
    path = shared / "recordings" / "chat-completions" / "perplexity__sonar-reasoning-pro__1.sse"
    raw = path.read_bytes()
    expected = oracle.documents(raw)[-1]["choices"][0]["message"]
    items = read_all(engine, [raw])
    assert items.message == expected


def recorded() -> list[str]:
    folder = ROOT.parent / "shared" / "recordings" / "chat-completions"
    return sorted(path.name for path in folder.glob("*.sse")) if folder.is_dir() else []


@pytest.mark.parametrize("name", recorded())
def test_both_outputs_of_a_recording_say_the_same(engine: Engine, shared: Path, name: str) -> None:
    raw = (shared / "recordings" / "chat-completions" / name).read_bytes()
    chunks, edited = (read_all(engine, random_cuts(raw, 1, 900), r) for r in (collect, collect_sse))
    assert chunks.choice_messages == edited.choice_messages
    assert chunks.usage == edited.usage
    assert read_all(engine, random_cuts(raw, 2), collect_sse, collect=False).usage == chunks.usage
    out, _ = run(collect(normalize_stream(Script([raw]), _engine_module=engine)))
    for index, message in chunks.choice_messages.items():
        for key in ("content", "reasoning_content"):
            assert (message.get(key) or "") == oracle.joined(out, key).get(index, "")


@pytest.mark.parametrize("stem", ["xai__grok-code-fast-1__4", "venice__qwen3-5-9b__1"])
def test_a_recorded_body_gives_its_own_message(shared: Path, stem: str) -> None:
    path = shared / "recordings" / "nonstream" / f"chat-completions__{stem}.json"
    body = normalize_response(json.loads(path.read_bytes()))
    accumulator = MessageAccumulator()
    accumulator.add(body)
    expected = {k: v for k, v in body["choices"][0]["message"].items() if v not in (None, "")}
    assert accumulator.message() == {"content": None, **expected}
