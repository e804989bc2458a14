"""The two addresses of every row: the upstream itself, and streamnorm before it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final

import httpx

from streamnorm import SSENormalizer, StreamFault
from streamnorm.upstream import Abort, Request, Step, Upstream

from .samples import Sample

PATIENCE: Final = 30.0


class Served:
    """Where the rows can be asked for, by position in the list of samples."""

    def __init__(self, upstream: Upstream, gateway: Upstream) -> None:
        self._upstream = upstream
        self._gateway = gateway

    def bare(self, position: int) -> str:
        """The ``base_url`` of the upstream."""
        return self._upstream.base_url(str(position))

    def behind(self, position: int) -> str:
        """The ``base_url`` of the gateway."""
        return self._gateway.base_url(str(position))


@contextmanager
def serve(samples: Sequence[Sample]) -> Iterator[Served]:
    """Run the upstream and the gateway, each in a thread of its own."""
    with (
        httpx.Client(trust_env=False, timeout=PATIENCE) as client,
        Upstream.in_thread() as upstream,
        Upstream.in_thread() as gateway,
    ):
        for position, sample in enumerate(samples):
            # Names of rows hold characters that not every client leaves as they are.
            upstream.add(str(position), sample.events)
            url = upstream.url(str(position))
            gateway.add(str(position), forward(client, url, sample.options))
        yield Served(upstream, gateway)


def forward(
    client: httpx.Client, url: str, options: Mapping[str, Any]
) -> Callable[[Request], Iterator[Step]]:
    """A route that passes each request on to *url* and gives back its answer, normalised."""

    def route(request: Request) -> Iterator[Step]:
        headers = {"content-type": request.headers.get("content-type", "application/json")}
        normalizer = SSENormalizer(**options)
        with client.stream("POST", url, content=request.body, headers=headers) as response:
            try:
                for data in response.iter_bytes():
                    yield normalizer.feed(data)
                yield normalizer.close()
            except StreamFault:
                yield Abort()

    return route
