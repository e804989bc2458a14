"""Reasoning that LiteLLM loses by itself, and that is whole where streamnorm is installed."""

from __future__ import annotations

from typing import Any

import pytest

from streamnorm.integrations.litellm import install
from streamnorm.upstream import Upstream

from .litellm_calls import (
    MARKS,
    PROVIDERS,
    collect,
    collect_sync,
    playing,
    request,
    run,
    steps,
    text,
    tidied,  # noqa: F401 - used by all
    upstream,
)
from .litellm_losses import LOSSES, Loss

pytestmark = MARKS


WHOLE = ("why", "so it", "")


def shown(chunks: list[Any]) -> tuple[str, str, str]:
    """Reasoning, answer, and the reasoning that a reader would take for more of it."""
    return text(chunks, "reasoning_content"), text(chunks, "content"), text(chunks, "reasoning")


async def read(litellm: Any, loss: Loss, provider: str) -> tuple[str, str, str]:
    async with upstream(steps(*loss.deltas)) as up:
        stream = await litellm.acompletion(**request(up, provider))
        assert isinstance(stream, litellm.CustomStreamWrapper)
        chunks, error = await collect(stream)
    assert error is None
    assert len(up.requests) == 1
    return shown(chunks)


@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize("name", LOSSES)
def test_asynchronously(litellm: Any, name: str, provider: str) -> None:
    loss = LOSSES[name]

    async def main() -> None:
        bare = await read(litellm, loss, provider)
        # (Where this fails with a later version of LiteLLM, it has changed: see the table.)
        assert (bare == WHOLE) is (provider in loss.whole), bare
        with install():
            assert await read(litellm, loss, provider) == WHOLE
        assert await read(litellm, loss, provider) == bare

    run(main())


@pytest.mark.parametrize("provider", ["openai", "openrouter", "hosted_vllm", "mistral", "ovhcloud"])
@pytest.mark.parametrize("name", LOSSES)
def test_synchronously(litellm: Any, name: str, provider: str) -> None:
    with Upstream.in_thread() as up, install():
        playing(up, steps(*LOSSES[name].deltas))
        chunks, error = collect_sync(litellm.completion(**request(up, provider)))
    assert error is None
    assert shown(chunks) == WHOLE
