"""What the tests of the three reports share."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable, Iterator
from importlib import metadata
from typing import Any

import pytest

from streamnorm import _engine
from streamnorm._engine import Engine
from streamnorm.upstream import Upstream

from .reports import KEY, Bare, answer, bare

Ask = Callable[..., dict[str, Any]]


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    """The upstreams of all three reports, each under its name."""
    with Upstream.in_thread() as made:
        made.otherwise(answer)
        yield made


@pytest.fixture
def ask(upstream: Upstream) -> Ask:
    """The arguments of a call: the upstream's name, the model, the messages, anything else."""

    def make(name: str, model: str, messages: Any, **options: Any) -> dict[str, Any]:
        return {
            "model": model,
            "api_base": upstream.base_url(name),
            "api_key": KEY,
            "messages": messages,
            "stream": True,
            **options,
        }

    return make


@pytest.fixture(autouse=True)
def clean(litellm: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """LiteLLM as it is after its import: no client of another test, no setting of one."""
    # It takes the event loop of the thread, and makes one that it never closes.
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    litellm.in_memory_llm_clients_cache.flush_cache()
    for name in ("drop_params", "aclient_session", "client_session"):
        monkeypatch.setattr(litellm, name, getattr(litellm, name))
    yield
    litellm.in_memory_llm_clients_cache.flush_cache()
    asyncio.set_event_loop(None)
    loop.close()
    gc.collect()


@pytest.fixture
def drop_params(litellm: Any, clean: None) -> None:
    """The global setting with which LiteLLM makes None of two refusals."""
    litellm.drop_params = True


@pytest.fixture
def on_engine(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """All of streamnorm on each engine in turn, as the environment variable would do it."""
    monkeypatch.setattr(_engine, "engine", engine)


@pytest.fixture(scope="session")
def known() -> Bare:
    """What the LiteLLM that is installed here does by itself."""
    return bare(metadata.version("litellm"))
