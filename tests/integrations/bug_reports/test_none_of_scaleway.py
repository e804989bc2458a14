"""``'async for' requires an object with __aiter__ method, got NoneType``: Scaleway, 1.82.6.

The report takes ``delta.reasoning`` for the cause. It is not: LiteLLM gives None where both
of its attempts were answered with HTTP 422 while ``drop_params`` is set.
"""

from __future__ import annotations

from typing import Any

import openai
import pytest

from streamnorm.upstream import Upstream

from .calls import SUSPECTING, TELLING, Shown, Way, assert_told, fault_of, read, run
from .conftest import Ask
from .reports import (
    ANSWER,
    EMPTY_MESSAGE,
    SCALEWAY_MODEL,
    SCALEWAY_REASONING,
    Bare,
)

pytestmark = [
    # What LiteLLM itself and its dependencies leave or deprecate is not ours to mend.
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning:pydantic.*"),
]

# As in the report.
EMPTY = [{"role": "user", "content": ""}]
NONE_ERROR = "'async for' requires an object with __aiter__ method, got NoneType"


async def report(litellm: Any, request: dict[str, Any]) -> Shown:
    """The report's code."""
    response = await litellm.acompletion(**request)
    return await read(response)


@pytest.fixture
def model(known: Bare) -> str:
    """The report's model, by the name that this version knows for it."""
    return f"scaleway/{SCALEWAY_MODEL}" if known.knows_scaleway else f"openai/{SCALEWAY_MODEL}"


def test_the_name_of_the_model(litellm: Any, upstream: Upstream, ask: Ask, known: Bare) -> None:
    request = ask("scaleway", f"scaleway/{SCALEWAY_MODEL}", EMPTY)
    if known.knows_scaleway:
        assert run(report(litellm, request)).content == ANSWER
        assert len(upstream.requests) == 1
    else:
        with pytest.raises(litellm.BadRequestError, match="LLM Provider NOT provided"):
            run(report(litellm, request))
        assert upstream.requests == []


def test_the_cause_that_the_report_names_is_none(
    litellm: Any, ask: Ask, model: str, known: Bare, drop_params: None
) -> None:
    found = run(report(litellm, ask("scaleway", model, EMPTY)))
    assert (found.content, found.finish) == (ANSWER, "stop")
    assert found.reasoning == ("" if known.loses_reasoning else SCALEWAY_REASONING)


def test_bare(
    litellm: Any, upstream: Upstream, ask: Ask, model: str, known: Bare, drop_params: None
) -> None:
    if known.gives_none:
        with pytest.raises(TypeError, match=NONE_ERROR):
            run(report(litellm, ask("scaleway-refuses", model, EMPTY)))
    else:
        with pytest.raises((TypeError, openai.APIError), match=f"{NONE_ERROR}|{EMPTY_MESSAGE}"):
            run(report(litellm, ask("scaleway-refuses", model, EMPTY)))
    assert len(upstream.requests) == 2


def test_bare_without_the_setting(litellm: Any, upstream: Upstream, ask: Ask, model: str) -> None:
    with pytest.raises(openai.APIError, match="422"):
        run(report(litellm, ask("scaleway-refuses", model, EMPTY)))
    assert len(upstream.requests) == 1


@pytest.mark.usefixtures("drop_params")
@pytest.mark.parametrize("way", TELLING, ids=lambda way: way.name)
def test_the_upstreams_words(
    litellm: Any, upstream: Upstream, ask: Ask, model: str, way: Way, known: Bare
) -> None:
    fault = run(fault_of(way, litellm, ask("scaleway-refuses", model, EMPTY)))
    assert_told(fault, way, EMPTY_MESSAGE, known)
    assert len(upstream.requests) == 2


@pytest.mark.usefixtures("on_engine", "drop_params")
@pytest.mark.parametrize("way", TELLING, ids=lambda way: way.name)
def test_behind_each_way_the_stream_is_whole(
    litellm: Any, ask: Ask, model: str, way: Way, known: Bare
) -> None:
    async def main() -> Shown:
        async with way.set_up(litellm):
            return await read(await way.call(litellm, ask("scaleway", model, EMPTY)))

    found = run(main())
    assert (found.content, found.finish) == (ANSWER, "stop")
    is_whole = way.mends or not known.loses_reasoning
    assert found.reasoning == (SCALEWAY_REASONING if is_whole else "")


@pytest.mark.usefixtures("drop_params")
@pytest.mark.parametrize("way", SUSPECTING, ids=lambda way: way.name)
def test_the_cause_is_named_where_nothing_was_seen(
    litellm: Any, ask: Ask, model: str, way: Way, known: Bare
) -> None:
    fault = run(fault_of(way, litellm, ask("scaleway-refuses", model, EMPTY)))
    assert fault.blame == "request"
    assert not fault.safe_to_retry
    if known.gives_none:
        assert fault.kind == "none_stream"
        assert "422" in str(fault)
        assert "drop_params" in str(fault)
