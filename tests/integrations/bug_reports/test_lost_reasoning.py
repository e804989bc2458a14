"""LiteLLM's issue 16155, of 1.78.5: ``delta.reasoning`` of the Vercel AI Gateway is lost."""

from __future__ import annotations

from typing import Any

import pytest

from streamnorm import normalize_stream_sync
from streamnorm.upstream import Upstream

from .calls import MENDING, Shown, Way, apart, read, run, shown
from .conftest import Ask
from .reports import ANSWER, GATEWAY_MODEL, REASONING, Bare

pytestmark = [
    # What LiteLLM itself and its dependencies leave or deprecate is not ours to mend.
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning:pydantic.*"),
]

QUESTION = [{"role": "user", "content": "Why is the sky blue?"}]
WHOLE = Shown(REASONING, ANSWER, "", "stop")


@pytest.fixture
def request_(ask: Ask) -> dict[str, Any]:
    return ask("gateway", GATEWAY_MODEL, QUESTION)


def test_bare(litellm: Any, request_: dict[str, Any], known: Bare) -> None:
    async def report() -> Shown:
        return await read(await litellm.acompletion(**request_))

    found = run(report())
    assert (found.content, found.finish) == (ANSWER, "stop")
    assert found.reasoning == ("" if known.loses_reasoning else REASONING)


def test_bare_without_a_loop(litellm: Any, request_: dict[str, Any], known: Bare) -> None:
    found = apart(lambda: shown(list(litellm.completion(**request_))))
    assert (found.content, found.finish) == (ANSWER, "stop")
    assert found.reasoning == ("" if known.loses_reasoning else REASONING)


@pytest.mark.usefixtures("on_engine")
@pytest.mark.parametrize("way", MENDING, ids=lambda way: way.name)
def test_with_streamnorm(
    litellm: Any, upstream: Upstream, request_: dict[str, Any], way: Way
) -> None:
    async def report() -> Shown:
        async with way.set_up(litellm):
            return await read(await way.call(litellm, request_))

    assert run(report()) == WHOLE
    assert len(upstream.requests) == 1


@pytest.mark.usefixtures("on_engine")
@pytest.mark.parametrize("way", ["normalize_stream_sync", "wrap", "install", "client_session"])
def test_with_streamnorm_without_a_loop(
    litellm: Any, upstream: Upstream, request_: dict[str, Any], way: str
) -> None:
    assert apart(lambda: _shown_without_a_loop(litellm, request_, way)) == WHOLE
    assert len(upstream.requests) == 1


def _shown_without_a_loop(litellm: Any, request: dict[str, Any], way: str) -> Shown:
    if way == "normalize_stream_sync":
        return shown(list(normalize_stream_sync(litellm.completion(**request))))
    if way == "client_session":
        import httpx

        from streamnorm.integrations.httpx import NormalizingTransport

        with httpx.Client(transport=NormalizingTransport()) as client:
            litellm.client_session = client
            return shown(list(litellm.completion(**request)))
    from streamnorm.integrations.litellm import install, wrap

    if way == "wrap":
        return shown(list(wrap(litellm.completion(**request))))
    with install():
        return shown(list(litellm.completion(**request)))
