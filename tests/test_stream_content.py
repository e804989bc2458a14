"""`normalize_stream` over real sockets where text is held back: cut, lost, cancelled, closed."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import importlib
import json
import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from streamnorm import NormalizedStream, StreamFault, normalize_stream
from streamnorm._engine import Engine
from streamnorm.upstream import Abort, Gate, Upstream

from . import oracle
from .aio import Script, collect, collect_sse, run
from .helpers import DONE, event, one_byte, random_cuts, run_chunks, run_sse
from .test_clients import clients, opened

HEAD = {"id": "c1", "model": "m"}
outputs = pytest.mark.parametrize("output", ["chunks", "sse"])


@pytest.fixture(scope="module", autouse=True)
def frozen() -> None:
    """What clients and SDKs load is large: each collection of garbage would take its time."""
    for name in ("aiohttp", "httpx", "openai"):
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    gc.collect()
    gc.freeze()


def sent(delta: Any, finish: str | None = None, index: int = 0, **more: Any) -> bytes:
    one = {"index": index, "delta": delta, "finish_reason": finish}
    return event(json.dumps({**HEAD, "choices": [one], **more}).encode())


def said(*texts: str) -> bytes:
    return b"".join(sent({"content": text}) for text in texts)


@asynccontextmanager
async def streaming(
    engine: Engine, steps: list[Any], client: str = "aiohttp", **options: Any
) -> AsyncIterator[tuple[NormalizedStream, Upstream]]:
    """The stream of an upstream that plays *steps*; no connection is left open after it."""
    async with Upstream() as up:
        up.add("x", steps)
        async with opened(client, up.url("x")) as request:
            yield normalize_stream(request, _engine_module=engine, **options), up
        await up.drained()


def texts(documents: list[Any], index: int = 0) -> tuple[str, str]:
    """(the reasoning, the answer) of a choice."""
    keys = ("reasoning_content", "content")
    reasoning, answer = (oracle.joined(documents, key).get(index, "") for key in keys)
    return reasoning, answer


async def read_all(
    stream: NormalizedStream, output: str
) -> tuple[list[Any], StreamFault | None, bytes]:
    """The documents that came out, the fault, and the bytes where they were asked for."""
    if output == "chunks":
        return *(await collect(stream)), b""
    data, fault = await collect_sse(stream)
    # Neither an error alone nor half a document is a chunk.
    return [one for one in oracle.documents(data) if one and "choices" in one], fault, data


# Cut over reads. ------------------------------------------------------------------------

BODY = said("<thi", "nk>wh", "y</", "think>\n", "so <b", "> it") + sent({}, "stop") + DONE


@pytest.mark.parametrize(
    "options",
    [{}, {"split_mixed": True, "finish": "last"}, {"tags": "free", "trim_tags": False}],
    ids=["default", "split", "free"],
)
def test_reads_change_nothing(engine: Engine, options: dict[str, Any]) -> None:
    chunks = run_chunks(engine, [BODY], **options)
    data = run_sse(engine, [BODY], **options)

    async def main() -> None:
        for parts in (one_byte(BODY), *(random_cuts(BODY, seed, 90) for seed in range(3))):
            steps = [part for part in parts if part]
            async with streaming(engine, steps, **options) as (stream, _):
                assert await collect(stream) == (chunks.output, None)
                assert stream.report == chunks.report
                found = stream.message
            async with streaming(engine, steps, **options) as (stream, _):
                assert await collect_sse(stream) == (data.output, None)
                assert stream.message == found

    run(main())
    assert texts(chunks.output)[0] == "why"


@outputs
def test_nothing_waits_but_what_may_be_a_delimiter(engine: Engine, output: str) -> None:
    # The upstream says no more until what it has said is out.
    script = [
        ("<thi", ("", "")), ("nk>wh", ("wh", "")), ("y</", ("y", "")), ("b></th", ("</b>", "")),
        ("ink>", ("", "")), ("so </think", ("", "so </think")), ("<", ("", "<")),
    ]  # fmt: skip
    gates = [Gate() for _ in script]
    steps: list[Any] = []
    for (text, _), gate in zip(script, gates, strict=True):
        steps += [gate, said(text)]

    end = Gate()
    steps += [end, sent({}, "stop") + DONE]

    async def main() -> None:
        async with streaming(engine, steps) as (stream, _):
            items: Any = stream.sse() if output == "sse" else stream
            for (_, expected), gate in zip(script, gates, strict=True):
                gate.open()
                item = await asyncio.wait_for(anext(items), 10)
                found = oracle.documents(item) if output == "sse" else [item]
                assert texts(found) == expected
            end.open()
            assert await anext(items)
            assert await anext(items, None) is None
            assert stream.message == {
                "role": "assistant", "content": "so </think<", "reasoning_content": "why</b>",
            }  # fmt: skip

    run(main())


# The end. -------------------------------------------------------------------------------


@outputs
@pytest.mark.parametrize("done", [True, False], ids=["done", "no done"])
def test_held_text_at_the_end(engine: Engine, output: str, done: bool) -> None:
    body = said("a") + sent({"content": "<think>b</th"}, index=1) + sent({}, "stop")

    async def main() -> None:
        for parts in ([body + DONE * done], one_byte(body + DONE * done)):
            async with streaming(engine, parts) as (stream, _):
                found, fault, data = await read_all(stream, output)
            assert fault is None
            last = {"index": 1, "delta": {"reasoning_content": "</th"}, "finish_reason": None}
            assert found[-1] == {**HEAD, "choices": [last]}
            assert len(found) == 4
            if output == "sse":
                assert data.endswith(b"\n\n" + DONE) is done
                assert data.endswith(b"\n\n")
            assert stream.choice_messages[1]["reasoning_content"] == "b</th"

    run(main())


@outputs
@pytest.mark.parametrize("done", [True, False], ids=["done", "no done"])
def test_finish_reason_that_is_held(engine: Engine, output: str, done: bool) -> None:
    usage = event(json.dumps({**HEAD, "choices": [], "usage": {"total_tokens": 3}}).encode())
    body = said("<thi") + sent({}, "length") + sent({}, "stop") + usage + DONE * done

    async def main() -> None:
        for parts in ([body], one_byte(body)):
            async with streaming(engine, parts, finish="last") as (stream, _):
                found, fault, data = await read_all(stream, output)
            assert fault is None
            assert texts(found) == ("", "<thi")
            finishes = [c["finish_reason"] for one in found for c in one["choices"]]
            assert finishes == [None, None, None, "length"]
            assert found[-1]["choices"]
            assert stream.usage.total == 3
            if output == "sse":
                assert data.endswith(b"\n\n" + DONE) is done

    run(main())


def test_a_split_delta_in_the_bytes(engine: Engine) -> None:
    mixed = {"role": "assistant", "content": "<think>why</think>so"}
    body = b": hi\n\nid: 1\n" + sent(mixed, "stop", usage={"total_tokens": 3}) + DONE

    async def main() -> None:
        for parts in ([body], one_byte(body)):
            async with streaming(engine, parts, split_mixed=True) as (stream, _):
                data, fault = await collect_sse(stream)
            assert fault is None
            assert data.startswith(b": hi\n\n")
            assert data.count(b"id: 1\n") == 1
            assert data.endswith(DONE)
            first, second = oracle.documents(data)
            one = {"index": 0, "delta": {"role": "assistant", "reasoning_content": "why"}}
            assert first == {**HEAD, "choices": [{**one, "finish_reason": None}]}
            one = {"index": 0, "delta": {"content": "so"}, "finish_reason": "stop"}
            assert second == {**HEAD, "choices": [one], "usage": {"total_tokens": 3}}
            assert stream.usage.total == 3
            assert stream.message == {
                "role": "assistant", "content": "so", "reasoning_content": "why",
            }  # fmt: skip

    run(main())


# A broken stream. -----------------------------------------------------------------------


@outputs
@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (said("<thi"), ("", "<thi")),
        (said("<think>why</"), ("why</", "")),
        (said("<think>why", "</thi"), ("why</thi", "")),
        # The unfinished event is whole, and what it says completes the delimiter.
        (said("<think>why</thi", "nk>so")[:-2], ("why", "so")),
        (said("<think>why</thi", "nk>so")[:-9], ("why</thi", "")),
    ],
    ids=["opener", "closer", "two", "whole", "half"],
)
@clients
def test_a_lost_connection(
    engine: Engine, client: str, output: str, body: bytes, expected: tuple[str, str]
) -> None:
    async def main() -> None:
        async with streaming(engine, [body, Abort()], client, finish="last") as (stream, _):
            found, fault, data = await read_all(stream, output)
        assert texts(found) == expected
        assert fault is not None
        assert (fault.kind, fault.blame) == ("transport", "transport")
        assert (fault.reasoning_output, fault.visible_output) == tuple(map(bool, expected))
        assert b"[DONE]" not in data
        message = stream.message or {}
        assert (message.get("reasoning_content", ""), message["content"] or "") == expected

    run(main())


@outputs
@pytest.mark.parametrize(
    ("last", "kind"),
    [
        (event(b'{"error": {"message": "no", "code": 503}}'), "error_event"),
        (b'error: {"message": "no"}\n\n', "error_event"),
        (event(b"[" + b" " * 600), "too_large"),
        (b"", "truncated"),
        (DONE, None),
    ],
    ids=["event", "stray", "large", "end", "done"],
)
def test_held_text_comes_before_the_fault(
    engine: Engine, output: str, last: bytes, kind: str | None
) -> None:
    async def main() -> None:
        body = said("<think>why</thi") + last
        for parts in ([body], one_byte(body)):
            async with streaming(engine, parts, max_line_bytes=500) as (stream, _):
                found, fault, data = await read_all(stream, output)
            assert texts(found) == ("why</thi", "")
            assert (fault and fault.kind) == kind
            if output == "sse" and kind == "error_event":
                # What was held is not behind the upstream's own words.
                assert data.index(b"</thi") < data.index(b'"no"')

    run(main())


# A stream that is left. -----------------------------------------------------------------


@outputs
def test_cancelled_while_text_is_held(engine: Engine, output: str) -> None:
    async def main() -> None:
        steps = [said("<think>why", "</th"), math.inf]
        async with streaming(engine, steps, finish="last") as (stream, up):
            items: Any = stream.sse() if output == "sse" else stream
            got: list[Any] = []
            while len(documents(got, output)) < 2:
                got.append(await anext(items))
            assert texts(documents(got, output)) == ("why", "")
            reading = asyncio.ensure_future(anext(items))
            await asyncio.sleep(0.02)
            reading.cancel()
            with pytest.raises(asyncio.CancelledError):
                await reading
            await up.drained()
            assert stream.fault is not None
            # It is there although nobody has read on.
            assert (stream.message or {})["reasoning_content"] == "why</th"
            held = documents([await anext(items)], output)
            assert texts(held) == ("</th", "")
            assert held[0]["choices"][0]["finish_reason"] is None
            with pytest.raises(StreamFault) as raised:
                await anext(items)
            assert raised.value is stream.fault
            assert (raised.value.kind, raised.value.blame) == ("truncated", "client")
            assert raised.value.reasoning_output
            assert not raised.value.visible_output
            assert await anext(items, "end") == "end"

    run(main())


def documents(items: list[Any], output: str) -> list[Any]:
    return oracle.documents(b"".join(items)) if output == "sse" else items


@outputs
@pytest.mark.parametrize("finish", ["as_sent", "last"])
def test_cancelled_after_the_finish(engine: Engine, output: str, finish: Any) -> None:
    body = said("so") + sent({"content": "<th"}, index=1) + sent({}, "stop")

    async def main() -> None:
        source = Script([body, asyncio.Event()])
        stream = normalize_stream(source, finish=finish, _engine_module=engine)
        items: Any = stream.sse() if output == "sse" else stream
        got = [await anext(items)]
        while len(documents(got, output)) < 3:
            got.append(await anext(items))
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(anext(items), 0.01)
        # It had ended well: what was held comes, and no fault.
        got.append(await anext(items))
        assert await anext(items, "end") == "end"
        assert stream.fault is None
        found = documents(got, output)
        assert texts(found, 1) == ("", "<th")
        finishes = [c["finish_reason"] for one in found for c in one["choices"] if not c["index"]]
        assert [one for one in finishes if one] == ["stop"]
        assert b"[DONE]" not in (b"".join(got) if output == "sse" else b"")
        assert source.closes == 1

    run(main())


@outputs
@pytest.mark.parametrize("while_reading", [True, False], ids=["reading", "idle"])
def test_closed_while_text_is_held(engine: Engine, output: str, while_reading: bool) -> None:
    async def main() -> None:
        steps = [said("<think>why", "</th"), math.inf]
        async with streaming(engine, steps) as (stream, up):
            items: Any = stream.sse() if output == "sse" else stream
            assert await anext(items)
            if while_reading:
                reading = asyncio.ensure_future(anext(items, "end"))
                await asyncio.sleep(0.02)
                await items.aclose()
                # The second delta may have been a read of its own, and is dropped then.
                if await reading != "end":
                    assert await anext(items, "end") == "end"
            else:
                await items.aclose()
            await up.drained()
            assert up.requests[0].outcome == "client_left"
            for _ in range(2):
                assert await anext(items, "end") == "end"
            # Who leaves asks for nothing more: the end of a delimiter is not made up.
            assert stream.fault is None
            assert (stream.message or {})["reasoning_content"] == "why"

    run(main())


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.filterwarnings("ignore::UserWarning:pydantic.*")
def test_a_stream_of_the_openai_sdk(engine: Engine) -> None:
    openai = pytest.importorskip("openai")
    body = said("<thi", "nk>why</think>s", "o") + sent({"content": "<think>a</"}, index=1)

    async def main() -> None:
        for last, kind in (([sent({}, "stop"), DONE], None), ([Abort()], "transport"),
                           ([event(b'{"error": {"message": "no"}}')], "error_event")):  # fmt: skip
            async with Upstream() as up:
                up.add("x", [body, *last])
                async with openai.AsyncOpenAI(base_url=up.base_url("x"), api_key="x") as client:
                    request = client.chat.completions.create(model="m", messages=[], stream=True)
                    stream = normalize_stream(request, _engine_module=engine)
                    found, fault = await collect(stream)
                await up.drained()
            assert (texts(found), texts(found, 1)) == (("why", "so"), ("a</", ""))
            assert (fault and fault.kind) == kind
            assert stream.choice_messages[1]["reasoning_content"] == "a</"

    run(main())
