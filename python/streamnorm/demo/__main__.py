"""``python -m streamnorm.demo``: eight providers' streams before and after, side by side.

The streams are served by the loopback upstream and fetched twice over real HTTP: once as
they are, once through `normalize_stream`. Exit code 0 where every reasoning text and
answer came out as expected, 1 otherwise, 2 for wrong usage.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import importlib.util
import json
import math
import sys
from collections.abc import AsyncGenerator, Sequence
from typing import TYPE_CHECKING, Any

from .. import StreamFault, normalize_stream
from ..upstream import Upstream
from ..upstream.streams import BY_NAME, STREAMS, BundledStream
from ._result import Result

if TYPE_CHECKING:
    import httpx

    from ._render import Screen

NEEDED = ("httpx", "rich")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the demo and return its exit code."""
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        names = " and ".join(missing)
        print(f"streamnorm.demo needs {names}: pip install 'streamnorm[demo]'", file=sys.stderr)
        return 1
    try:
        arguments = _parser().parse_args(argv)
    except SystemExit as stop:  # argparse has said why
        return int(stop.code or 0)
    from ._render import Screen

    screen = Screen()
    if arguments.list:
        screen.catalogue(STREAMS)
        return 0
    streams = [BY_NAME[name] for name in arguments.provider] or list(STREAMS)
    try:
        results = asyncio.run(show(streams, arguments.pace, screen))
    except KeyboardInterrupt:
        return 130
    screen.summary(results)
    return 0 if all(result.ok for result in results) else 1


async def show(streams: Sequence[BundledStream], pace: float, screen: Screen) -> list[Result]:
    """Serve and show *streams* one after the other.

    Args:
        streams: What to show.
        pace: Seconds between two events.
        screen: Where to.
    """
    import httpx

    # The environment's proxy is not for loopback.
    client = httpx.AsyncClient(trust_env=False, timeout=max(10.0, 4 * pace))
    async with Upstream(streams, pace=pace) as upstream, client:
        return [await _show_one(stream, upstream, client, screen) for stream in streams]


async def _show_one(
    stream: BundledStream, upstream: Upstream, client: httpx.AsyncClient, screen: Screen
) -> Result:
    screen.begin(stream)
    result = Result(stream)
    message = {"role": "user", "content": stream.question}
    body = {"model": stream.name, "stream": True, "messages": [message]}
    url = upstream.url(stream.name)
    async with (
        client.stream("POST", url, json=body) as as_sent,
        client.stream("POST", url, json=body) as response,
        normalize_stream(response) as normalized,
        contextlib.aclosing(_events(as_sent)) as originals,
    ):
        chunks = aiter(normalized)
        try:
            async for text in originals:
                if not text.startswith("data: {"):
                    screen.aside(text)
                    continue
                original, chunk = json.loads(text[6:]), await anext(chunks, None)
                _count(result, original, chunk)
                screen.row(original, chunk)
            async for chunk in chunks:
                _count(result, None, chunk)
                screen.row(None, chunk)
        except StreamFault as fault:
            result.fault = fault
        result.report = normalized.report
    screen.end(result)
    return result


async def _events(response: httpx.Response) -> AsyncGenerator[str, None]:
    """The events as sent, without their blank line. (All of ours end in LF LF.)"""
    held = b""
    async for data in response.aiter_bytes():
        *events, held = (held + data).split(b"\n\n")
        for event in events:
            yield event.decode()


def _count(result: Result, original: Any, chunk: dict[str, Any] | None) -> None:
    if chunk is None:
        return
    result.changed += original != chunk
    for choice in chunk["choices"]:
        delta = choice.get("delta", {})
        result.reasoning += delta.get("reasoning_content") or ""
        result.content += delta.get("content") or ""


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m streamnorm.demo",
        description="Show eight providers' streams as sent and as streamnorm normalises them.",
    )
    parser.add_argument(
        "--pace",
        type=_seconds,
        default=0.03,
        metavar="SECONDS",
        help="pause before each event (default: %(default)s)",
    )
    parser.add_argument(
        "--provider",
        action="append",
        default=[],
        choices=list(BY_NAME),
        metavar="NAME",
        help="show this one only; may be repeated",
    )
    parser.add_argument("--list", action="store_true", help="name the providers and stop")
    return parser


def _seconds(text: str) -> float:
    seconds = float(text)
    if not 0 <= seconds < math.inf:
        raise argparse.ArgumentTypeError("must be 0 or more seconds")
    return seconds


if __name__ == "__main__":
    sys.exit(main())
