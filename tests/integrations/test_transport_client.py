"""The transports for httpx and httpx2: clients changed in place, options, recipes."""

from __future__ import annotations

import importlib

import pytest

from streamnorm.upstream import Upstream

from ..aio import run
from ..blocking import drained
from ..helpers import datas
from .recipes import run_recipe, run_recipe_sync
from .test_transport import BODY, EDITED, libraries, modules


@libraries
def test_a_client_is_changed_in_place_with_its_mounts(library: str) -> None:
    module, integration = modules(library)
    plain, mounted = module.HTTPTransport(), module.HTTPTransport()
    mounts = {"https://a.example": mounted, "http://b.example": None}
    client = module.Client(transport=plain, mounts=mounts, trust_env=False)
    for _ in range(2):
        assert integration.normalize_client(client) is client
        wrapped = client._transport
        assert type(wrapped) is integration.NormalizingTransport
        assert wrapped._inner is plain
        by_pattern = {at.pattern: inner for at, inner in client._mounts.items()}
        assert by_pattern["http://b.example"] is None
        assert by_pattern["https://a.example"]._inner is mounted
    client.close()


@libraries
def test_the_options_of_the_last_call_count(library: str) -> None:
    module, integration = modules(library)
    with Upstream.in_thread() as up:
        up.add("x", [BODY])
        with module.Client() as client:  # opened before
            integration.normalize_client(client)
            integration.normalize_client(client, reasoning="reasoning")
            assert client.get(up.url("x")).content == BODY
        drained(up)


@libraries
def test_a_transport_below_another(library: str) -> None:
    module, integration = modules(library)
    with Upstream.in_thread() as up:
        up.add("x", [BODY])
        inner = integration.NormalizingTransport(reasoning="both")
        with module.Client(transport=integration.NormalizingTransport(inner)) as client:
            found = datas(client.get(up.url("x")).content)
    assert found[0]["choices"][0]["delta"] == {"reasoning_content": "why", "reasoning": "why"}


@libraries
def test_what_is_no_client_is_refused(library: str) -> None:
    module, integration = modules(library)
    other = importlib.import_module("httpx2" if library == "httpx" else "httpx")
    expected = rf"{library}\.Client or .* not {other.__name__}\.Client"
    with other.Client() as client, pytest.raises(TypeError, match=expected):
        integration.normalize_client(client)
    with pytest.raises(TypeError, match=r"not builtins\.type"):
        integration.normalize_client(module.Client)


@libraries
def test_wrong_options_are_refused_at_once(library: str) -> None:
    _, integration = modules(library)
    with pytest.raises(TypeError, match="unknown option 'reasonings'"):
        integration.NormalizingTransport(reasonings="both")
    with pytest.raises(ValueError, match="faults must be one of"):
        integration.NormalizingTransport(faults="ignore")
    with pytest.raises(TypeError, match="timeouts must be Timeouts"):
        integration.NormalizingTransport(timeouts=3)
    with pytest.raises(TypeError, match="error_factory must be callable"):
        integration.NormalizingTransport(error_factory=3)


@libraries
def test_an_inner_transport_of_the_other_sort_is_refused(library: str) -> None:
    module, integration = modules(library)
    inner = module.AsyncHTTPTransport()
    client = module.Client(transport=integration.NormalizingTransport(inner))
    with pytest.raises(TypeError, match=r"AsyncHTTPTransport has no handle_request\(\)"):
        client.get("http://upstream")


def test_the_recipe_of_a_client() -> None:
    async def main() -> None:
        async with Upstream() as up:
            up.add("x", [BODY])
            found = await run_recipe("httpx", url=up.url("x"), request={"model": "m"})
            assert found["reasoning"] == "why"
            await up.drained()

    run(main())


def test_the_recipe_without_a_loop() -> None:
    with Upstream.in_thread() as up:
        up.add("x", [BODY])
        names = run_recipe_sync("httpx", "without an event loop", url=up.url("x"), request={})
    assert names["lines"] == [line for line in EDITED.decode().splitlines() if line]
