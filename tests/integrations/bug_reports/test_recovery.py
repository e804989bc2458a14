"""What LiteLLM makes two attempts for: the second leaves out the parameter that was refused.

Nothing of streamnorm may take that from it.
"""

from __future__ import annotations

from typing import Any

import pytest

from streamnorm.upstream import Upstream

from .calls import MENDING, TELLING, Shown, Way, read, run
from .conftest import Ask
from .reports import ANSWER, CUSTOM_MODEL, DROPPABLE, REASONING, SMALL, Bare

pytestmark = [
    # What LiteLLM itself and its dependencies leave or deprecate is not ours to mend.
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning:pydantic.*"),
]

WAYS = list(dict.fromkeys([*MENDING, *TELLING]))
ways = pytest.mark.parametrize("way", WAYS, ids=lambda way: way.name)


@pytest.fixture
def request_(ask: Ask) -> dict[str, Any]:
    return ask("strict", CUSTOM_MODEL, SMALL, **{DROPPABLE: 7})


def named(upstream: Upstream) -> list[bool]:
    """Of each request, whether the parameter that is refused was in it."""
    return [DROPPABLE in request.json() for request in upstream.requests]


def test_bare(
    litellm: Any, upstream: Upstream, request_: dict[str, Any], drop_params: None
) -> None:
    async def main() -> Shown:
        return await read(await litellm.acompletion(**request_))

    found = run(main())
    assert (found.content, found.finish) == (ANSWER, "stop")
    assert named(upstream) == [True, False]


@pytest.mark.usefixtures("on_engine")
@ways
def test_with_streamnorm(
    litellm: Any, upstream: Upstream, request_: dict[str, Any], drop_params: None, way: Way,
    known: Bare,
) -> None:  # fmt: skip
    async def main() -> Shown:
        async with way.set_up(litellm):
            return await read(await way.call(litellm, request_))

    found = run(main())
    assert (found.content, found.finish) == (ANSWER, "stop")
    assert found.reasoning == (REASONING if way.mends or not known.loses_reasoning else "")
    assert named(upstream) == [True, False]


@pytest.mark.usefixtures("on_engine")
@ways
def test_a_refusal_of_an_earlier_call_is_not_the_first_of_two(
    litellm: Any, upstream: Upstream, request_: dict[str, Any], way: Way
) -> None:
    """The same request, answered with the same words, by one task."""

    async def main() -> Shown:
        async with way.set_up(litellm):
            with pytest.raises(Exception, match=r"not permitted|422"):
                await read(await way.call(litellm, request_))
            litellm.drop_params = True
            return await read(await way.call(litellm, request_))

    found = run(main())
    assert (found.content, found.finish) == (ANSWER, "stop")
    assert named(upstream) == [True, True, False]
