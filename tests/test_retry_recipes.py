"""The recipes of docs/retries.md: their own code, the real libraries, real sockets."""

from __future__ import annotations

import asyncio
import gc
import json
import math
import os
from collections.abc import Callable, Iterable
from typing import Any

import httpx
import pytest

from streamnorm import StreamFault
from streamnorm.upstream import Abort, Request, Step, Upstream

from .aio import run
from .helpers import ROOT, chunk, event, stream

# Else its import asks the network for a price list.
os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")

HELLO = event(chunk({"content": "Hello"}))
GOOD = [stream({"reasoning": "well"}, {"content": "Hello"})]


def blocks() -> dict[str, str]:
    """The page's code by the heading above it."""
    page = (ROOT / "docs" / "retries.md").read_text(encoding="utf-8")
    first, *sections = page.split("\n## ")
    assert "```" not in first
    found = {}
    for one in sections:
        title, code = one.splitlines()[0], one.split("\n```python\n")[1].split("\n```")[0]
        found[title.split(",")[0]] = code
    return found


@pytest.fixture(params=["stamina", "tenacity"])
def recipe(request: pytest.FixtureRequest) -> dict[str, Any]:
    """What the page's code of one library, and that which is common to both, define."""
    pytest.importorskip(request.param)
    names: dict[str, Any] = {"__name__": "recipe"}
    for title in (request.param, "Either of them"):
        code = compile(blocks()[title], f"retries.md: {title}", "exec", dont_inherit=True)
        exec(code, names)
    return names


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The pauses that were asked for; none is made."""
    asked: list[float] = []
    sleep = asyncio.sleep

    async def note(seconds: float, result: Any = None) -> Any:
        if seconds:
            asked.append(seconds)
        return await sleep(0, result)

    monkeypatch.setattr(asyncio, "sleep", note)
    return asked


def error(message: str) -> bytes:
    return json.dumps({"error": {"message": message}}).encode()


def fail(
    up: Upstream,
    steps: Iterable[Step],
    status: int = 200,
    headers: dict[str, str] | None = None,
    *,
    times: float = math.inf,
) -> None:
    """Answer so for some times, and well after that."""
    left = times

    def script(request: Request) -> Iterable[Step]:
        nonlocal left
        left -= 1
        if left < 1:
            up.add("x", GOOD)  # for the next request: this one's head is sent
        return steps

    up.add("x", script, status, headers)


def ask(recipe: dict[str, Any], prepare: Callable[[Upstream], None]) -> tuple[Any, int]:
    """The answer by httpx, or what was raised in its place, and the number of requests."""

    async def main() -> tuple[Any, int]:
        async with Upstream() as up, httpx.AsyncClient(trust_env=False) as client:
            prepare(up)
            answer: Any
            try:
                answer = await recipe["ask_httpx"](client, up.url("x"), {"messages": []})
            except StreamFault as fault:
                answer = fault
            await client.aclose()
            await up.drained()
            assert all(request.json()["stream"] for request in up.requests)
            return answer, len(up.requests)

    return run(main())


def test_the_page_has_both_recipes() -> None:
    assert list(blocks()) == ["stamina", "tenacity", "Either of them"]


def test_what_needs_no_retry_gets_none(recipe: dict[str, Any], waits: list[float]) -> None:
    assert ask(recipe, lambda up: fail(up, GOOD)) == ("Hello", 1)
    assert waits == []


@pytest.mark.parametrize(
    ("status", "steps"),
    [
        (503, [error("overloaded")]),
        (429, [error("slow down")]),
        (200, [event(error("overloaded"))]),
        (200, [b"<html>busy</html>"]),
        (200, []),
        (200, [event(chunk({"role": "assistant"})), event(chunk({"reasoning": "we"})), Abort()]),
    ],
)
def test_tries_again_until_it_is_well(
    recipe: dict[str, Any], waits: list[float], status: int, steps: list[Step]
) -> None:
    assert ask(recipe, lambda up: fail(up, steps, status, times=2)) == ("Hello", 3)
    # Nobody said how long: the library's own backoff.
    assert len(waits) == 2
    assert all(0 < wait <= 6 for wait in waits)


def test_waits_for_as_long_as_it_is_told(recipe: dict[str, Any], waits: list[float]) -> None:
    told = {"Retry-After": "17"}
    assert ask(recipe, lambda up: fail(up, [error("wait")], 503, told, times=2)) == ("Hello", 3)
    assert waits == [17, 17]


def test_does_not_wait_for_too_long(recipe: dict[str, Any], waits: list[float]) -> None:
    fault, requests = ask(recipe, lambda up: fail(up, [error("w")], 429, {"Retry-After": "3600"}))
    assert (fault.status_code, fault.retry_after, requests) == (429, 3600, 1)
    assert waits == []


def test_gives_up(recipe: dict[str, Any], waits: list[float]) -> None:
    fault, requests = ask(recipe, lambda up: fail(up, [error("overloaded")], 503))
    assert (fault.kind, fault.status_code, requests) == ("http_error", 503, 4)
    assert len(waits) == 3


@pytest.mark.parametrize("status", [400, 404, 422])
def test_the_wrong_request_is_not_repeated(
    recipe: dict[str, Any], waits: list[float], status: int
) -> None:
    fault, requests = ask(recipe, lambda up: fail(up, [error("no such parameter")], status))
    assert (fault.blame, fault.status_code, requests) == ("request", status, 1)
    assert waits == []


@pytest.mark.parametrize("end", [Abort(), event(error("overloaded"))])
def test_nothing_is_repeated_after_visible_output(
    recipe: dict[str, Any], waits: list[float], end: Step
) -> None:
    fault, requests = ask(recipe, lambda up: fail(up, [HELLO, end]))
    assert fault.visible_output
    assert fault.partial["content"] == "Hello"
    assert requests == 1
    assert waits == []


def test_a_provider_that_cannot_be_reached(recipe: dict[str, Any], waits: list[float]) -> None:
    async def main() -> None:
        async with Upstream() as gone:
            url = gone.url("x")
        async with httpx.AsyncClient(trust_env=False) as client:
            with pytest.raises(StreamFault) as raised:
                await recipe["ask_httpx"](client, url, {})
            assert isinstance(raised.value.__cause__, httpx.ConnectError)

    run(main())
    assert len(waits) == 3


def test_none_in_place_of_a_stream(recipe: dict[str, Any], waits: list[float]) -> None:
    asked = []

    async def send() -> None:
        asked.append(1)

    async def main() -> None:
        with pytest.raises(StreamFault, match="drop_params"):
            await recipe["open_stream"](send)

    run(main())
    assert len(asked) == 1
    assert waits == []


def test_a_cancellation_passes(recipe: dict[str, Any]) -> None:
    async def main() -> None:
        asked = 0
        begun = asyncio.Event()

        async def send() -> None:
            nonlocal asked
            asked += 1
            begun.set()
            await asyncio.Event().wait()

        task = asyncio.create_task(recipe["open_stream"](send))
        await begun.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert asked == 1

    run(main())


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.filterwarnings("ignore::UserWarning:pydantic.*")
@pytest.mark.parametrize(
    ("status", "requests"), [pytest.param(503, 2, id="503"), pytest.param(400, 1, id="400")]
)
def test_with_litellm(
    recipe: dict[str, Any], waits: list[float], status: int, requests: int
) -> None:
    litellm: Any = pytest.importorskip("litellm", reason="litellm is not installed")
    litellm.suppress_debug_info = True
    gc.collect()
    gc.freeze()  # it is so large that every later collection of garbage would take long

    async def main() -> None:
        async with Upstream() as up:
            fail(up, [error("no")], status, {"Retry-After": "9"}, times=1)
            asked = recipe["ask_litellm"](
                model="openai/m",
                api_base=up.base_url("x"),
                api_key="x",
                messages=[{"role": "user", "content": "?"}],
            )
            if requests > 1:
                assert await asked == "Hello"
            else:
                with pytest.raises(StreamFault) as raised:
                    await asked
                assert isinstance(raised.value.__cause__, litellm.BadRequestError)
            assert len(up.requests) == requests

    asyncio.run(main())
    assert waits == [9] * (requests - 1)
