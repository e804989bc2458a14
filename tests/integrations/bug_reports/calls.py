"""The calls that the reports make, what they show, and the ways of making them with streamnorm."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from contextvars import Context
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, TypeVar

import httpx

from streamnorm import StreamFault, normalize_stream

from .reports import Bare

Result = TypeVar("Result")


@dataclass(frozen=True)
class Shown:
    """What a stream showed to who reads LiteLLM's chunks.

    Attributes:
        doubled: Reasoning under the name that the upstream gave it, where it would be
            taken for more of it.
    """

    reasoning: str
    content: str
    doubled: str
    finish: str | None


def run(main: Coroutine[Any, Any, Result]) -> Result:
    """Run *main*, and then what LiteLLM logs behind it, which has no end of its own."""

    async def whole() -> Result:
        result = await main
        for _ in range(50):
            await asyncio.sleep(0)
        return result

    return asyncio.run(whole())


def apart(call: Callable[[], Result]) -> Result:
    """Run *call* as `run` does, without a loop: what it notes of its context ends with it."""
    return Context().run(call)


async def read(stream: Any) -> Shown:
    """Iterate *stream* as the second report does."""
    chunks = []
    async for chunk in stream:
        chunks.append(chunk)
    return shown(chunks)


def shown(chunks: list[Any]) -> Shown:
    """What *chunks* of LiteLLM show."""
    choices = [choice for chunk in chunks for choice in chunk.choices]
    finishes = [choice.finish_reason for choice in choices if choice.finish_reason]

    def text(name: str) -> str:
        return "".join(getattr(choice.delta, name, None) or "" for choice in choices)

    return Shown(
        text("reasoning_content"), text("content"), text("reasoning"), (finishes or [None])[-1]
    )


# Ways of making a call with streamnorm. ---------------------------------------------------


async def plainly(litellm: Any, request: dict[str, Any]) -> Any:
    """As the reports do."""
    return await litellm.acompletion(**request)


async def normalized(litellm: Any, request: dict[str, Any]) -> Any:
    """With the stream passed through `normalize_stream`."""
    return normalize_stream(await litellm.acompletion(**request))


async def normalized_call(litellm: Any, request: dict[str, Any]) -> Any:
    """With the call itself passed through `normalize_stream`, which awaits it."""
    return normalize_stream(litellm.acompletion(**request))


async def wrapped(litellm: Any, request: dict[str, Any]) -> Any:
    """With LiteLLM's stream mended in place."""
    from streamnorm.integrations.litellm import wrap

    return wrap(await litellm.acompletion(**request))


async def guarded(litellm: Any, request: dict[str, Any]) -> Any:
    """Through a function that stands for `litellm.acompletion`."""
    from streamnorm.integrations.litellm import guard

    return await guard(litellm.acompletion)(**request)


@asynccontextmanager
async def installed(litellm: Any) -> AsyncIterator[None]:
    """What ``install()`` does to LiteLLM."""
    from streamnorm.integrations.litellm import install

    with install():
        yield


@asynccontextmanager
async def own_session(litellm: Any) -> AsyncIterator[None]:
    """LiteLLM with a client of the caller's, on the transport."""
    from streamnorm.integrations.httpx import NormalizingTransport

    async with httpx.AsyncClient(transport=NormalizingTransport()) as client:
        litellm.aclient_session = client
        try:
            yield
        finally:
            litellm.aclient_session = None


def as_it_is(litellm: Any) -> AbstractAsyncContextManager[None]:
    """LiteLLM untouched."""
    return nullcontext()


class Way(NamedTuple):
    """One way of making a call with streamnorm: what is done once, and how it is called."""

    name: str
    set_up: Callable[[Any], AbstractAsyncContextManager[None]]
    call: Callable[[Any, dict[str, Any]], Awaitable[Any]]

    @property
    def mends(self) -> bool:
        """Whether streams are normalised; to have no None is a thing of its own."""
        return self.set_up is not as_it_is or self.call is not guarded

    @property
    def is_behind(self) -> bool:
        """Whether LiteLLM's requests go through the transport."""
        return self.set_up is not as_it_is


# What mends a stream.
MENDING: Final = (
    Way("normalize_stream(await acompletion())", as_it_is, normalized),
    Way("normalize_stream(acompletion())", as_it_is, normalized_call),
    Way("wrap(await acompletion())", as_it_is, wrapped),
    Way("install()", installed, plainly),
    Way("aclient_session", own_session, plainly),
    Way("install(), normalize_stream", installed, normalized),
)
# What says why there is no stream: each of them has seen what the upstream answered.
TELLING: Final = (
    Way("guard(acompletion)()", as_it_is, guarded),
    Way("install()", installed, plainly),
    Way("aclient_session", own_session, plainly),
    Way("install(), guard", installed, guarded),
    Way("install(), normalize_stream", installed, normalized),
    Way("aclient_session, normalize_stream", own_session, normalized_call),
)
# What knows only that there is none, and from what that comes.
SUSPECTING: Final = MENDING[:2]


async def fault_of(way: Way, litellm: Any, request: dict[str, Any]) -> StreamFault:
    """The fault that a call ends with, or that its exception is one of."""
    try:
        async with way.set_up(litellm):
            await read(await way.call(litellm, request))
    except Exception as error:  # noqa: BLE001 - that it says what the upstream said is tested
        return StreamFault.from_exception(error)
    raise AssertionError("nothing was raised")


def assert_told(fault: StreamFault, way: Way, message: str, known: Bare) -> None:
    """*fault* is what *way* makes of an upstream that refuses twice, and has its *message*.

    The transport has LiteLLM raise for the second refusal, which is then a 400 to it; without
    the transport there is a None, behind which is the 422.
    """
    assert (fault.category, fault.blame) == ("invalid_request", "request")
    assert not fault.safe_to_retry
    assert message in (fault.provider_message or "")
    assert message in str(fault)
    if way.is_behind:
        assert (fault.kind, fault.status_code) == ("http_error", 400)
    elif known.gives_none:
        assert (fault.kind, fault.status_code) == ("none_stream", 422)
