"""The callback for the LiteLLM proxy within the real package, without a process of its own."""

from __future__ import annotations

import asyncio
import importlib
import sys
from collections.abc import AsyncIterator, Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest

from streamnorm import StreamFault, captured
from streamnorm.captured import Refusal
from streamnorm.upstream import Gate, Upstream

from ..aio import Script
from .proxy_upstream import serve

pytestmark = [
    # What LiteLLM itself and its dependencies leave or deprecate is not ours to mend.
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
]

NAME = "streamnorm.integrations.litellm_proxy"
HOOK = "async_post_call_streaming_iterator_hook"


@pytest.fixture
def proxy(litellm: Any) -> Iterator[Any]:
    """The module; LiteLLM is as it was before, afterwards."""
    before = litellm.acompletion, litellm.CustomStreamWrapper.__init__, litellm.aclient_session
    module: Any = importlib.import_module(NAME)
    module.__dict__.pop("streamnorm_logger", None)
    yield module
    module._detach()
    module.__dict__.pop("streamnorm_logger", None)
    after = litellm.acompletion, litellm.CustomStreamWrapper.__init__, litellm.aclient_session
    assert after == before


def run(main: Coroutine[Any, Any, None]) -> None:
    """Run to the end, LiteLLM's own logging tasks included."""

    async def whole() -> None:
        await main
        others = asyncio.all_tasks() - {asyncio.current_task()}
        if others:
            await asyncio.wait(others, timeout=0.2)  # its logging worker runs for ever

    asyncio.run(whole())


def chunk_of(litellm: Any, delta: dict[str, Any], finish: str | None = None) -> Any:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return litellm.ModelResponseStream(id="c1", model="m", choices=[choice])


def hooked(logger: Any, response: Any, request_data: Any = None) -> AsyncIterator[Any]:
    """The hook, called as the proxy calls it."""
    given: Any = getattr(logger, HOOK)(
        user_api_key_dict=None, response=response, request_data=request_data or {}
    )
    return given  # type: ignore[no-any-return]


async def collect(items: AsyncIterator[Any]) -> tuple[list[Any], Any]:
    """All items, and what was raised behind them."""
    found = []
    try:
        async for item in items:
            found.append(item)
    except Exception as error:  # noqa: BLE001 - looked at by the test
        return found, error
    return found, None


# How the proxy finds it. ------------------------------------------------------------


def called(litellm: Any, monkeypatch: pytest.MonkeyPatch, logger: Any) -> bool:
    """Whether the proxy would call the hook of *logger*, by its own look-up."""
    from litellm.proxy.utils import ProxyLogging

    monkeypatch.setattr(litellm, "callbacks", [logger])
    monkeypatch.setattr(ProxyLogging, "_callback_capabilities_cache", {})
    found = ProxyLogging.callback_capabilities().iterator_overrides
    return [callback for callback, _ in found] == [logger]


def test_subclasses_have_the_hook_where_the_proxy_looks(
    litellm: Any, proxy: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Own(proxy.StreamnormLogger):  # type: ignore[misc]
        pass

    class Lower(Own):
        pass

    for made in (proxy.streamnorm_logger, Own(), Lower()):
        assert called(litellm, monkeypatch, made)
    # Without our __init_subclass__ they would be as this one is: passed over.
    delattr(Lower, HOOK)
    assert getattr(Lower, HOOK) is getattr(proxy.StreamnormLogger, HOOK)
    assert not called(litellm, monkeypatch, Lower())


def test_a_subclass_may_have_a_hook_of_its_own_and_call_ours(litellm: Any, proxy: Any) -> None:
    class Counting(proxy.StreamnormLogger):  # type: ignore[misc]
        count = 0

        async def async_post_call_streaming_iterator_hook(self, **given: Any) -> Any:
            async for item in super().async_post_call_streaming_iterator_hook(**given):
                self.count += 1
                yield item

    class Lower(Counting):
        pass

    async def main() -> None:
        logger = Lower()
        response = Script([chunk_of(litellm, {"content": "x"}, "stop")])
        found, error = await collect(hooked(logger, response))
        assert (len(found), error, logger.count) == (1, None, 1)

    run(main())


def test_the_configuration_names_one_instance(litellm: Any, proxy: Any, tmp_path: Path) -> None:
    from litellm.proxy.types_utils.utils import get_instance_fn

    config = str(tmp_path / "config.yaml")
    first = get_instance_fn(f"{NAME}.streamnorm_logger", config_file_path=config)
    assert type(first) is proxy.StreamnormLogger
    assert get_instance_fn(f"{NAME}.streamnorm_logger") is first
    with pytest.raises(AttributeError, match="no attribute 'other'"):
        get_instance_fn(f"{NAME}.other")


def test_the_module_alone_changes_nothing(litellm: Any, proxy: Any) -> None:
    bare = litellm.acompletion
    assert issubclass(proxy.StreamnormLogger, litellm.integrations.custom_logger.CustomLogger)
    assert litellm.acompletion is bare
    proxy.StreamnormLogger()
    changed = litellm.acompletion
    assert changed is not bare
    proxy.StreamnormLogger()
    assert litellm.acompletion is changed


def test_options_are_checked_and_one_set_counts(proxy: Any) -> None:
    with pytest.raises(TypeError, match="unknown option 'tag'"):
        proxy.StreamnormLogger(tag="off")
    with pytest.raises(ValueError, match="reasoning must be one of"):
        proxy.StreamnormLogger(reasoning="thoughts")
    proxy.StreamnormLogger(tags="off")
    proxy.StreamnormLogger(tags="off")
    with pytest.raises(ValueError, match="other options"):
        proxy.StreamnormLogger()


def test_an_install_of_the_hosts_own_stays(litellm: Any, proxy: Any) -> None:
    from streamnorm.integrations.litellm import install

    with install():
        own = litellm.CustomStreamWrapper.__init__
        proxy.StreamnormLogger()
        assert litellm.CustomStreamWrapper.__init__ is own
        proxy.attach({})()
        assert litellm.CustomStreamWrapper.__init__ is own


def test_without_litellm_the_import_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    absent: Any = None
    monkeypatch.delitem(sys.modules, NAME, raising=False)
    monkeypatch.setitem(sys.modules, "litellm", absent)
    with pytest.raises(ImportError, match=r"pip install 'streamnorm\[litellm-proxy\]'"):
        importlib.import_module(NAME)


# What the hook does. ----------------------------------------------------------------


def test_chunks_of_a_bare_iterator_are_normalised(litellm: Any, proxy: Any) -> None:
    async def main() -> None:
        chunks = [
            chunk_of(litellm, {"content": "<think>th"}),
            chunk_of(litellm, {"content": "ink</think>answer"}),
            chunk_of(litellm, {"content": ""}, "stop"),
        ]
        found, error = await collect(hooked(proxy.StreamnormLogger(), Script(chunks)))
        assert error is None
        assert {type(each) for each in found} == {litellm.ModelResponseStream}
        deltas = [each.choices[0].delta for each in found]
        texts = [getattr(delta, "reasoning_content", None) or "" for delta in deltas]
        assert "".join(texts) == "think"
        assert "".join(delta.content or "" for delta in deltas) == "answer"
        assert [x.choices[0].finish_reason for x in found if x.choices[0].finish_reason] == ["stop"]

    run(main())


def test_options_of_the_output_count(litellm: Any, proxy: Any) -> None:
    async def main() -> None:
        chunks = [
            chunk_of(litellm, {"content": "<think>a</think>b"}, "stop"),
            chunk_of(litellm, {"content": "c"}, "stop"),
        ]
        logger = proxy.StreamnormLogger(reasoning="both", split_mixed=True, finish="last")
        found, error = await collect(hooked(logger, Script(chunks)))
        assert error is None
        deltas = [each.choices[0].delta for each in found]
        for key in ("reasoning_content", "reasoning"):
            assert [getattr(delta, key, None) or "" for delta in deltas] == ["a", "", "", ""]
        assert [delta.content or "" for delta in deltas] == ["", "b", "c", ""]
        assert [each.choices[0].finish_reason for each in found] == [None, None, None, "stop"]

    run(main())


def test_what_is_no_chat_chunk_passes_as_it_is(proxy: Any) -> None:
    async def main() -> None:
        items = [
            b'event: ping\ndata: {"type":"ping"}\n\n',
            {"type": "x"},
            "data: <think>\n\n",
            None,
        ]
        found, error = await collect(hooked(proxy.StreamnormLogger(), Script(items)))
        assert error is None
        assert len(found) == len(items)
        assert all(one is other for one, other in zip(found, items, strict=True))

    run(main())


def test_chunks_that_end_early_end_with_an_error(litellm: Any, proxy: Any) -> None:
    async def main() -> None:
        response = Script([chunk_of(litellm, {"content": "<think>half"})])
        found, error = await collect(hooked(proxy.StreamnormLogger(), response))
        deltas = [each.choices[0].delta for each in found]
        texts = [getattr(delta, "reasoning_content", None) or "" for delta in deltas]
        assert "".join(texts) == "half"
        assert isinstance(error, proxy.ProxyFault)
        assert (error.status_code, error.type, error.param) == (502, "server_error", None)
        assert isinstance(error.__cause__, StreamFault)
        assert error.__cause__.kind == "truncated"

    run(main())


def test_what_another_callback_raises_passes(litellm: Any, proxy: Any) -> None:
    async def main() -> None:
        from fastapi import HTTPException

        for raised in (HTTPException(400, {"error": "blocked"}), ValueError("no error of ours")):
            response = Script([chunk_of(litellm, {"content": "x"}), raised])
            found, error = await collect(hooked(proxy.StreamnormLogger(), response))
            assert error is raised
            assert len(found) == 1

    run(main())


def test_an_error_of_a_provider_is_told_with_its_status(litellm: Any, proxy: Any) -> None:
    async def main() -> None:
        raised = litellm.RateLimitError("slow down", "openai", "m")
        found, error = await collect(hooked(proxy.StreamnormLogger(), Script([raised])))
        assert not found
        assert isinstance(error, proxy.ProxyFault)
        assert (error.status_code, error.type) == (429, "rate_limit_error")

    run(main())


def test_none_is_told_as_what_the_upstream_said(proxy: Any) -> None:
    async def main() -> None:
        logger = proxy.StreamnormLogger()
        with captured.call():
            body = b'{"error":{"message":"tool_choice is wrong"}}'
            captured.note(Refusal(422, {"retry-after": "3"}, body))
            _, error = await collect(hooked(logger, None))
        assert isinstance(error, proxy.ProxyFault)
        assert error.status_code == 422
        assert error.message == "tool_choice is wrong"
        assert error.headers == {"retry-after": "3"}
        _, error = await collect(hooked(logger, None))
        assert isinstance(error, proxy.ProxyFault)
        assert error.status_code == 400

    run(main())


def test_the_hook_can_be_left(litellm: Any, proxy: Any) -> None:
    async def main() -> None:
        response = Script([chunk_of(litellm, {"content": "x"}), chunk_of(litellm, {}, "stop")])
        items: Any = hooked(proxy.StreamnormLogger(), response)
        assert await anext(items) is not None
        await items.aclose()
        assert response.reads == 1
        assert await anext(items, "end") == "end"

    run(main())


# Around litellm.acompletion. --------------------------------------------------------


def test_a_call_that_would_end_in_none_raises(
    litellm: Any, proxy: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        async with Upstream() as up:
            serve(up, Gate())
            proxy.StreamnormLogger()
            with pytest.raises(proxy.ProxyFault, match="not permitted") as caught:
                await litellm.acompletion(
                    model="openai/m",
                    api_base=up.base_url("stubborn"),
                    api_key="x",
                    stream=True,
                    top_p=0.5,
                    messages=[{"role": "user", "content": "?"}],
                )
            fault: Any = caught.value.__cause__
            assert (fault.kind, fault.blame, fault.status_code) == ("none_stream", "request", 422)
            assert fault.provider_message == "body.top_p: not permitted"
            assert len(up.requests) == 2

    monkeypatch.setattr(litellm, "drop_params", True)
    run(main())
