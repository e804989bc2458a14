"""``acompletion(stream=True)`` returns None, 1.81.5: a custom provider, a large request.

The report's workaround marks the key as failed and goes on with the next: a request that
is refused whatever the key then uses up all of them.
"""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import openai
import pytest

from streamnorm import StreamFault, normalize_stream_sync
from streamnorm.upstream import Upstream

from .calls import (
    SUSPECTING,
    TELLING,
    Shown,
    Way,
    apart,
    as_it_is,
    assert_told,
    fault_of,
    installed,
    plainly,
    read,
    run,
)
from .conftest import Ask
from .reports import (
    ANSWER,
    CUSTOM_MODEL,
    KEY,
    LARGE,
    LARGE_BYTES,
    LARGE_MESSAGE,
    LARGE_OPTIONS,
    OTHER_KEY,
    SMALL,
    Bare,
)

pytestmark = [
    # What LiteLLM itself and its dependencies leave or deprecate is not ours to mend.
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning:pydantic.*"),
    pytest.mark.usefixtures("drop_params"),
]

NONE_ERROR = "'NoneType' object has no attribute '__aiter__'"


@pytest.fixture
def large(ask: Ask) -> dict[str, Any]:
    """The report's failing request."""
    return ask("custom", CUSTOM_MODEL, LARGE, **LARGE_OPTIONS)


async def attempt(way: Way, litellm: Any, request: dict[str, Any]) -> Shown | StreamFault | None:
    """What one call showed, or the fault that it ended with; None where it gave None."""
    try:
        stream = await way.call(litellm, request)
        return None if stream is None else await read(stream)
    except Exception as error:  # noqa: BLE001 - a gateway serves on whatever is raised
        return StreamFault.from_exception(error)


async def rotate(way: Way, litellm: Any, request: dict[str, Any]) -> Shown | StreamFault | None:
    """A gateway with two keys, as the report has it: the next one where this one failed.

    None is taken for a failure of the key; a fault says whose failure it is.
    """
    found: Shown | StreamFault | None = None
    async with way.set_up(litellm):
        for key in (KEY, OTHER_KEY):
            found = await attempt(way, litellm, {**request, "api_key": key})
            if isinstance(found, Shown):
                break
            if found is not None and found.blame == "request":
                break
    return found


def keys(upstream: Upstream) -> list[str]:
    """The key of each request."""
    return [
        request.headers["authorization"].removeprefix("Bearer ") for request in upstream.requests
    ]


def test_bare(litellm: Any, upstream: Upstream, large: dict[str, Any], known: Bare) -> None:
    async def report() -> None:
        stream = await litellm.acompletion(**large)
        stream.__aiter__()

    if known.gives_none:
        with pytest.raises(AttributeError, match=NONE_ERROR):
            run(report())
    else:
        with pytest.raises(
            (AttributeError, openai.APIError), match=f"{NONE_ERROR}|{LARGE_MESSAGE}"
        ):
            run(report())
    assert [len(request.body) > LARGE_BYTES for request in upstream.requests] == [True, True]


def test_bare_small(litellm: Any, upstream: Upstream, ask: Ask) -> None:
    async def report() -> Shown:
        stream = await litellm.acompletion(**ask("custom", CUSTOM_MODEL, SMALL, max_tokens=5))
        assert isinstance(stream, litellm.CustomStreamWrapper)
        return await read(stream)

    assert run(report()).content == ANSWER
    assert len(upstream.requests) == 1


def test_bare_without_a_loop(litellm: Any, large: dict[str, Any], known: Bare) -> None:
    if known.gives_none:
        assert apart(lambda: litellm.completion(**large)) is None
    else:
        with pytest.raises((TypeError, openai.APIError), match=f"not iterable|{LARGE_MESSAGE}"):
            apart(lambda: iter(litellm.completion(**large)))


def test_bare_rotation_uses_up_every_key(
    litellm: Any, upstream: Upstream, large: dict[str, Any], known: Bare
) -> None:
    found = run(rotate(Way("bare", as_it_is, plainly), litellm, large))
    if known.gives_none or found is None:
        assert found is None
        assert keys(upstream) == [KEY, KEY, OTHER_KEY, OTHER_KEY]
    else:
        assert isinstance(found, StreamFault)
        assert keys(upstream) == [KEY, KEY]


@pytest.mark.parametrize("way", TELLING, ids=lambda way: way.name)
def test_the_upstreams_words(
    litellm: Any, upstream: Upstream, large: dict[str, Any], way: Way, known: Bare
) -> None:
    fault = run(fault_of(way, litellm, large))
    assert_told(fault, way, LARGE_MESSAGE, known)
    assert len(upstream.requests) == 2


def test_the_report_behind_the_transport(
    litellm: Any, upstream: Upstream, large: dict[str, Any]
) -> None:
    """The report's own code, unchanged: what it gets is LiteLLM's own error."""

    async def report() -> None:
        async with installed(litellm):
            stream = await litellm.acompletion(**large)
            stream.__aiter__()

    with pytest.raises(litellm.BadRequestError, match=LARGE_MESSAGE):
        run(report())
    assert keys(upstream) == [KEY, KEY]


@pytest.mark.parametrize("way", [*SUSPECTING, *TELLING], ids=lambda way: way.name)
def test_rotation_uses_up_one_key(
    litellm: Any, upstream: Upstream, large: dict[str, Any], way: Way
) -> None:
    assert isinstance(run(rotate(way, litellm, large)), StreamFault)
    assert keys(upstream) == [KEY, KEY]


@pytest.mark.usefixtures("on_engine")
@pytest.mark.parametrize("way", TELLING, ids=lambda way: way.name)
def test_a_small_request_streams(litellm: Any, upstream: Upstream, ask: Ask, way: Way) -> None:
    found = run(rotate(way, litellm, ask("custom", CUSTOM_MODEL, SMALL, max_tokens=5)))
    assert isinstance(found, Shown), found
    assert (found.content, found.finish) == (ANSWER, "stop")
    assert keys(upstream) == [KEY]


def test_the_cause_is_named_without_a_loop(
    litellm: Any, large: dict[str, Any], known: Bare
) -> None:
    with pytest.raises((StreamFault, openai.APIError)) as raised:
        apart(lambda: list(normalize_stream_sync(litellm.completion(**large))))
    fault = StreamFault.from_exception(raised.value)
    assert fault.blame == "request"
    if known.gives_none:
        assert fault.kind == "none_stream"
        assert "drop_params" in str(fault)


@pytest.mark.parametrize("way", ["guard", "install", "install, guard"])
def test_the_upstreams_words_without_a_loop(
    litellm: Any, upstream: Upstream, large: dict[str, Any], way: str
) -> None:
    from streamnorm.integrations.litellm import guard, install

    complete = guard(litellm.completion) if "guard" in way else litellm.completion
    with (
        install() if "install" in way else nullcontext(),
        pytest.raises((StreamFault, openai.APIError)) as raised,
    ):
        apart(lambda: list(complete(**large)))
    fault = StreamFault.from_exception(raised.value)
    assert (fault.category, fault.blame) == ("invalid_request", "request")
    assert LARGE_MESSAGE in str(fault.provider_message)
    assert len(upstream.requests) == 2
