"""The examples do what their documentation says, over real sockets and on both engines."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import math
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from types import ModuleType
from typing import Any

import httpx
import pytest

from streamnorm import SSEDecoder, _engine
from streamnorm._engine import Engine
from streamnorm.upstream import Abort, Request, Step, Upstream

from .aio import run
from .helpers import DONE, ROOT, chunk, event

EXAMPLE = ROOT / "examples" / "rotating_gateway.py"
KEYS = ("one", "two")
HELLO = event(chunk({"content": "Hello"}))
USAGE = {"prompt_tokens": 40, "completion_tokens": 7, "total_tokens": 47}
# No [DONE]: some providers never send it, and the gateway's clients need it.
GOOD = [
    HELLO,
    event(chunk({}, "stop")),
    event(json.dumps({"choices": [], "usage": USAGE}).encode()),
]


def error(message: str, code: object = None) -> bytes:
    return json.dumps({"error": {"message": message, "type": None, "code": code}}).encode()


@pytest.fixture
def example(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The example as a module that runs on the engine."""
    monkeypatch.setattr(_engine, "engine", engine)
    spec = importlib.util.spec_from_file_location("rotating_gateway", EXAMPLE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, module)  # dataclasses look there
    spec.loader.exec_module(module)
    return module


class Call:
    """What one call of the gateway led to."""

    def __init__(self) -> None:
        self.pieces: list[bytes] = []
        self.failure: Any = None

    @property
    def datas(self) -> list[Any]:
        """What the client gets: the data of each event, parsed; a part of one cannot be."""
        decoder = SSEDecoder()
        events = [*decoder.feed(b"".join(self.pieces)), *decoder.close()]
        return [one.data if one.data == "[DONE]" else json.loads(one.data) for one in events]

    @property
    def text(self) -> str:
        deltas = [c["delta"] for d in self.datas if "choices" in d for c in d["choices"]]
        return "".join(delta.get("content") or "" for delta in deltas)


class Bench:
    """A gateway with two keys in front of one upstream."""

    def __init__(self, example: ModuleType, up: Upstream, client: httpx.AsyncClient) -> None:
        self.example = example
        self.up = up
        # Each key has a place of its own; a route is made where a test needs it.
        self.keys = [example.Credential(name, f"sk-{name}", up.base_url(name)) for name in KEYS]
        self.gateway = example.Gateway(self.keys, example.send_with(client))

    async def call(self) -> Call:
        call = Call()
        try:
            async for piece in self.gateway.stream({"model": "m", "messages": []}):
                call.pieces.append(piece)
        except self.example.StreamedAPIError as failure:
            call.failure = failure
        return call

    @property
    def asked(self) -> list[str]:
        """The keys in the order in which they reached the upstream."""
        return [one.headers["authorization"] for one in self.up.requests]

    @property
    def resting(self) -> list[str]:
        return [key.name for key in self.keys if key.rests_until > time.monotonic()]


@contextlib.asynccontextmanager
async def gateway(example: ModuleType) -> AsyncIterator[Bench]:
    async with Upstream() as up, httpx.AsyncClient(trust_env=False) as client:
        for name in KEYS:
            up.add(name, GOOD)
        yield Bench(example, up, client)


def on_bench(example: ModuleType, test: Callable[[Bench], Awaitable[None]]) -> None:
    async def main() -> None:
        async with gateway(example) as bench:
            await test(bench)

    run(main())


def assert_answered_by_the_second(bench: Bench, call: Call) -> None:
    assert call.failure is None
    assert call.text == "Hello"
    assert call.datas[-1] == "[DONE]"
    assert not any("error" in data for data in call.datas)  # nothing of the first attempt
    assert bench.asked == ["Bearer sk-one", "Bearer sk-two"]
    assert [key.successes for key in bench.keys] == [0, 1]


def test_a_good_answer_ends_whole_and_its_usage_is_booked(example: ModuleType) -> None:
    async def test(bench: Bench) -> None:
        call = await bench.call()
        assert call.text == "Hello"
        finishes = [c["finish_reason"] for d in call.datas[:-1] for c in d["choices"]]
        assert [finish for finish in finishes if finish] == ["stop"]
        assert call.datas[-1] == "[DONE]"
        first, second = bench.keys
        assert (first.successes, first.prompt_tokens, first.completion_tokens) == (1, 40, 7)
        assert (second.attempts, second.successes, second.prompt_tokens) == (0, 0, 0)
        [request] = bench.up.requests
        assert request.json() == {"model": "m", "messages": [], "stream": True}
        await bench.call()
        assert [key.successes for key in bench.keys] == [1, 1]  # the load is shared

    on_bench(example, test)


def test_the_wrong_request_burns_no_key(example: ModuleType) -> None:
    async def test(bench: Bench) -> None:
        bench.up.add("one", [error("no such parameter", "unknown_parameter")], 400)
        call = await bench.call()
        fault = call.failure.data
        assert (fault.blame, fault.status_code) == ("request", 400)
        assert "no such parameter" in str(call.failure)
        assert call.failure.__cause__ is fault
        assert call.pieces == []
        assert bench.asked == ["Bearer sk-one"]
        assert bench.resting == []

    on_bench(example, test)


def test_a_rate_limit_rests_the_key_for_as_long_as_it_says(example: ModuleType) -> None:
    async def test(bench: Bench) -> None:
        bench.up.add("one", [error("slow down")], 429, {"Retry-After": "20"})
        before = time.monotonic()
        assert_answered_by_the_second(bench, await bench.call())
        assert before + 20 <= bench.keys[0].rests_until <= time.monotonic() + 20
        assert bench.resting == ["one"]
        await bench.call()  # the first is not even asked
        assert bench.asked[2:] == ["Bearer sk-two"]

    on_bench(example, test)


def test_a_rate_limit_inside_of_a_200_stream_is_one(example: ModuleType) -> None:
    def by_key(request: Request) -> Iterable[Step]:
        if request.headers["authorization"] == "Bearer sk-one":
            role = event(chunk({"role": "assistant", "content": ""}))
            return [b": waiting\n\n", role, event(error("requests per minute", 429))]
        return GOOD

    async def test(bench: Bench) -> None:
        for key in bench.keys:
            key.base_url = bench.up.base_url("shared")
        bench.up.add("shared", by_key)
        assert_answered_by_the_second(bench, await bench.call())
        assert bench.resting == ["one"]

    on_bench(example, test)


@pytest.mark.parametrize(
    ("status", "code"),
    [(401, "invalid_api_key"), (429, "insufficient_quota"), (402, None), (403, None)],
)
def test_a_dead_key_rests(example: ModuleType, status: int, code: str | None) -> None:
    async def test(bench: Bench) -> None:
        bench.up.add("one", [error("not with this key", code)], status)
        assert_answered_by_the_second(bench, await bench.call())
        assert bench.resting == ["one"]

    on_bench(example, test)


@pytest.mark.parametrize(
    ("status", "steps"),
    [
        (503, [error("overloaded")]),
        (200, [b"<html>Bad gateway</html>"]),
        (200, [b": comment\n\n", DONE]),
        (200, [event(chunk({"role": "assistant"})), Abort()]),
        (200, [event(chunk({"reasoning": "well"})), event(error("overloaded", 503))]),
    ],
)
def test_a_failing_provider_costs_an_attempt_but_no_key(
    example: ModuleType, status: int, steps: list[Step]
) -> None:
    async def test(bench: Bench) -> None:
        bench.up.add("one", steps, status)
        assert_answered_by_the_second(bench, await bench.call())
        assert bench.resting == []

    on_bench(example, test)


def test_a_provider_that_cannot_be_reached_burns_no_key(example: ModuleType) -> None:
    async def test(bench: Bench) -> None:
        async with Upstream() as gone:
            bench.keys[0].base_url = gone.base_url("one")
        call = await bench.call()
        assert call.text == "Hello"
        assert bench.asked == ["Bearer sk-two"]
        assert bench.resting == []

    on_bench(example, test)


def test_attempts_are_bounded_and_the_last_failure_is_told(example: ModuleType) -> None:
    async def test(bench: Bench) -> None:
        for name in KEYS:
            bench.up.add(name, [error("overloaded")], 503)
        call = await bench.call()
        assert call.failure.data.status_code == 503
        assert call.pieces == []
        assert len(bench.asked) == 3
        assert bench.resting == []

    on_bench(example, test)


def test_nothing_is_asked_while_all_keys_rest(example: ModuleType) -> None:
    async def test(bench: Bench) -> None:
        for name, seconds in zip(KEYS, ("50", "20"), strict=True):
            bench.up.add(name, [error("slow down")], 429, {"Retry-After": seconds})
        assert (await bench.call()).failure.data.status_code == 429
        assert bench.resting == ["one", "two"]
        call = await bench.call()
        assert len(bench.asked) == 2
        assert call.failure.data.category == "rate_limit"
        assert 0 < call.failure.data.retry_after <= 20  # until the first of them is back

    on_bench(example, test)


def test_none_in_place_of_a_stream_fails_fast_and_burns_no_key(example: ModuleType) -> None:
    asked = []

    async def send(credential: Any, body: dict[str, Any]) -> None:
        asked.append(credential.name)

    async def test(bench: Bench) -> None:
        bench.gateway = example.Gateway(bench.keys, send)
        call = await bench.call()
        assert call.failure.data.kind == "none_stream"
        assert "drop_params" in str(call.failure)
        assert asked == ["one"]
        assert bench.resting == []

    on_bench(example, test)


@pytest.mark.parametrize(
    ("steps", "kind", "rests"),
    [
        ([HELLO, HELLO[:40], Abort()], "transport", []),
        ([HELLO + HELLO[:40], Abort()], "transport", []),
        ([HELLO, HELLO[:40]], "truncated", []),
        ([HELLO], "truncated", []),
        ([HELLO, event(error("tokens per minute", 429))], "error_event", ["one"]),
        ([HELLO.replace(b"\n", b"\r\n"), HELLO[:-1], Abort()], "transport", []),
    ],
)
def test_a_failure_after_visible_output_is_told_and_not_tried_again(
    example: ModuleType, steps: list[Step], kind: str, rests: list[str]
) -> None:
    async def test(bench: Bench) -> None:
        bench.up.add("one", steps)
        call = await bench.call()
        assert call.failure is None  # the status has gone out
        whole = [step for step in steps if isinstance(step, bytes) and b'"Hello"' in step]
        assert call.text == "Hello" * len(whole)
        assert "[DONE]" not in call.datas
        told = call.datas[-1]["error"]
        assert set(told) == {"message", "type", "param", "code"}
        assert told["message"]
        if kind != "error_event":  # which has a code of the provider's
            assert told["code"] == kind
        assert bench.asked == ["Bearer sk-one"]
        assert bench.resting == rests
        assert [key.successes for key in bench.keys] == [0, 0]

    on_bench(example, test)


def test_no_finish_reason_goes_out_before_the_end(example: ModuleType) -> None:
    early = event(chunk({"content": "Hello"}, "stop"))  # some providers send it on every chunk

    async def test(bench: Bench) -> None:
        bench.up.add("one", [early, early])
        whole = await bench.call()
        assert [c["finish_reason"] for d in whole.datas[:-1] for c in d["choices"]] == [
            None, None, "stop",
        ]  # fmt: skip
        bench.keys[1].attempts = 2  # the first is asked again
        bench.up.add("one", [early, event(error("overloaded", 503))])
        broken = await bench.call()
        assert broken.text == "Hello"
        assert b"stop" not in b"".join(broken.pieces)
        assert "error" in broken.datas[-1]

    on_bench(example, test)


def test_where_the_client_is_lost_the_upstream_is_closed(example: ModuleType) -> None:
    async def test(bench: Bench) -> None:
        responses = []
        send = bench.gateway._send

        async def note(credential: Any, body: dict[str, Any]) -> Any:
            responses.append(await send(credential, body))
            return responses[-1]

        bench.up.add("one", [HELLO, math.inf])
        bench.gateway = example.Gateway(bench.keys, note)
        frames = bench.gateway.stream({"messages": []})
        assert b"Hello" in await anext(frames)
        await frames.aclose()
        assert [response.is_closed for response in responses] == [True]
        await bench.up.drained()
        assert [request.outcome for request in bench.up.requests] == ["client_left"]
        assert [key.successes for key in bench.keys] == [0, 0]
        assert bench.resting == []

    on_bench(example, test)


def test_the_example_runs_by_itself(engine: Engine) -> None:
    environment = {**os.environ, "STREAMNORM_ENGINE": engine.NAME, "PYTHONWARNINGS": "error"}
    done = subprocess.run(
        [sys.executable, str(EXAMPLE)], env=environment, capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stderr) == (0, "")
    scenes = [part.splitlines() for part in done.stdout.strip().split("\n\n")]
    shown = {title: "\n".join(lines) for title, *lines in scenes}
    limited = shown["too many requests"]
    assert "one: 1 tried, 0 well, 20 s rest" in limited
    assert "two: 1 tried, 1 well, 0 s rest" in limited
    wrong = shown["a wrong request"]
    assert "No such parameter" in wrong
    assert "two: 0 tried" in wrong
    broken = shown["a connection that breaks in the answer"]
    assert '"error"' in broken
    assert "[DONE]" not in broken
