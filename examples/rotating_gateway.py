"""A small gateway that rotates API keys, and burns none for what is not the key's fault.

A `StreamFault` says who can mend it (`blame`): another key does not help where the request
is wrong, and no key is to blame where the provider is down. Whether another attempt is
possible at all depends on what has gone to the client already, which is nothing before
`peek` has returned. Run it against a server on loopback that fails in several ways::

    python examples/rotating_gateway.py
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import httpx

from streamnorm import NormalizedStream, StreamFault, Timeouts, Usage, normalize_stream
from streamnorm.upstream import Abort, Upstream
from streamnorm.upstream.streams import BY_NAME

TIMEOUTS = Timeouts(first_chunk=60, idle=30, total=600)
# Seconds that a key rests where the upstream does not say how long.
REST = {"rate_limit": 30.0, "quota_exceeded": 3600.0, "authentication": 3600.0, "forbidden": 3600.0}


class StreamedAPIError(Exception):
    """The host's own error type, made from the fault that is its `data`."""

    def __init__(self, data: StreamFault) -> None:
        super().__init__(str(data))
        self.data = data


@dataclass
class Credential:
    name: str
    key: str
    base_url: str
    rests_until: float = 0.0
    attempts: int = 0
    successes: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0

    def mark_success(self, usage: Usage) -> None:
        self.successes += 1
        self.prompt_tokens += usage.prompt or 0  # None where the upstream did not say
        self.completion_tokens += usage.completion or 0

    def mark_failure(self, fault: StreamFault) -> None:
        """Let the key rest, if it is the key that failed."""
        if fault.blame == "credential":
            wait = fault.retry_after
            seconds = REST.get(fault.category, 60.0) if wait is None else wait
            self.rests_until = max(self.rests_until, time.monotonic() + seconds)


# What starts a streamed completion; LiteLLM's acompletion is another one.
Send = Callable[[Credential, dict[str, Any]], Awaitable[object]]


def send_with(client: httpx.AsyncClient) -> Send:
    async def send(credential: Credential, body: dict[str, Any]) -> httpx.Response:
        url = f"{credential.base_url}/chat/completions"
        headers = {"Authorization": f"Bearer {credential.key}"}
        request = client.build_request("POST", url, json=body, headers=headers)
        return await client.send(request, stream=True)

    return send


class Gateway:
    def __init__(self, credentials: list[Credential], send: Send, attempts: int = 3) -> None:
        self.credentials = credentials
        self._send = send
        self._attempts = attempts

    async def stream(self, body: dict[str, Any]) -> AsyncIterator[bytes]:
        """The answer as an event stream. Where the client is lost, close (or cancel) it.

        Raises:
            StreamedAPIError: Instead of the first item, while the HTTP status is still to be
                chosen. A failure after that is an error event, and no ``[DONE]``.
        """
        credential, stream = await self._open({**body, "stream": True})
        async with stream:
            try:
                async for frame in stream.sse(heartbeat=15, done="always"):
                    yield frame
            except StreamedAPIError as error:
                # Too late for another attempt: it would be glued to half of this one.
                credential.mark_failure(error.data)
                yield error_event(error.data)
                return
        if stream.outcome.complete:
            credential.mark_success(stream.usage)

    async def _open(self, body: dict[str, Any]) -> tuple[Credential, NormalizedStream]:
        """A stream that has something to show, or has been silent for as long as `peek` waits."""
        failure = None
        for _ in range(self._attempts):
            ready = [one for one in self.credentials if one.rests_until <= time.monotonic()]
            if not ready:
                break
            credential = min(ready, key=lambda one: one.attempts)
            credential.attempts += 1
            stream = normalize_stream(
                self._send(credential, body),
                collect=False,  # nobody asks for the merged message
                finish="last",
                timeouts=TIMEOUTS,
                error_factory=StreamedAPIError,
            )
            try:
                await stream.peek()  # None, 4xx, empty, HTML, an error in a 200: all fail here
                return credential, stream
            except StreamedAPIError as error:
                failure = error
                credential.mark_failure(error.data)
                if error.data.blame == "request":
                    break  # it would fail with every key
        raise failure or StreamedAPIError(self._all_rest())

    def _all_rest(self) -> StreamFault:
        now = time.monotonic()
        wait = min((one.rests_until for one in self.credentials), default=now) - now
        return StreamFault(
            "all keys rest", kind="http_error", category="rate_limit", retry_after=max(wait, 0)
        )


def error_event(fault: StreamFault) -> bytes:
    """An error in OpenAI's shape, which its SDKs raise with this message."""
    code = fault.provider_code or fault.kind
    error = {"message": str(fault), "type": fault.category, "param": None, "code": code}
    return b"data: " + json.dumps({"error": error}).encode() + b"\n\n"


# What follows only shows it. -------------------------------------------------------------

GOOD = BY_NAME["vllm"].events
# What the first key gets, as arguments of `Upstream.add`; the second gets the good answer.
SCENES: dict[str, tuple[Any, ...]] = {
    "too many requests": ([b'{"error":{"message":"Slow down"}}'], 429, {"Retry-After": "20"}),
    "the same in a 200": ([b'data: {"error":{"message":"Slow down","code":429}}\n\n'],),
    "the provider is down": ([b"<html>Bad gateway</html>"], 502),
    "a wrong request": ([b'{"error":{"message":"No such parameter"}}'], 400),
    "a connection that breaks in the answer": ([*GOOD[:-3], Abort()],),
}


async def main() -> None:
    async with Upstream() as upstream, httpx.AsyncClient(trust_env=False) as client:
        upstream.add("two", GOOD)
        for title, answer in SCENES.items():
            upstream.add("one", *answer)
            keys = [Credential(name, name, upstream.base_url(name)) for name in ("one", "two")]
            print(f"\n{title}")
            try:
                pieces = [piece async for piece in Gateway(keys, send_with(client)).stream({})]
                print(f"  {len(pieces)} pieces went to the client, the last is {pieces[-1]!r}")
            except StreamedAPIError as error:
                print(f"  the client gets a status: {error}")
            for key in keys:
                rest = max(key.rests_until - time.monotonic(), 0)
                print(
                    f"  {key.name}: {key.attempts} tried, {key.successes} well, {rest:.0f} s rest"
                )


if __name__ == "__main__":
    asyncio.run(main())
