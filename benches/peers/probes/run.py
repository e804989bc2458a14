"""One stream through one client: what it cost, and what came out."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from importlib import metadata
from typing import Any, Final

MODEL: Final = "sample"
KEY: Final = "unused"
QUESTION: Final = "What is it?"
MESSAGES: Final = ({"role": "user", "content": QUESTION},)
BODY: Final = {"model": MODEL, "stream": True, "messages": list(MESSAGES)}


def used() -> float:
    """Seconds of processor time of this process so far, its threads and the kernel's part."""
    import resource  # (There is none on Windows, where no more than the tests can be run.)

    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def versions() -> dict[str, str]:
    """What is installed, by its name in lower case."""
    return {item.name.lower(): item.version for item in metadata.distributions()}


class Run:
    """One stream; a reader counts in every run, and hands texts over only where they are kept.

    Attributes:
        keeps: The run is for its results, not for its time.
        items: What the client gave: chunks, events or pieces.
        size: Bytes that came out, of readers of bytes.
        reasoning: Pieces of reasoning text, by the place where they were found.
        content: Pieces of answer text.
        body: All bytes, of readers of bytes.
    """

    def __init__(self, *, keeps: bool) -> None:
        self.keeps = keeps
        self.items = 0
        self.size = 0
        self.reasoning: dict[str, list[str]] = {}
        self.content: list[str] = []
        self.body: list[bytes] = []
        self._start = 0.0

    def begin(self) -> None:
        """The request was answered: what is used from now on is for reading the stream."""
        self._start = used()

    def took(self) -> float:
        """Seconds of processor time since `begin`."""
        return used() - self._start

    def think(self, place: str, text: object) -> None:
        """Keep reasoning text, if it is any, that was found in *place*."""
        if isinstance(text, str) and text:
            self.reasoning.setdefault(place, []).append(text)

    def say(self, text: object) -> None:
        """Keep answer text, if it is any."""
        if isinstance(text, str) and text:
            self.content.append(text)

    def see_json(self, chunk: Mapping[str, Any]) -> None:
        """Keep the texts of a chunk as it was sent or normalised."""
        for choice in chunk["choices"]:
            delta = choice["delta"]
            for name in ("reasoning_content", "reasoning"):
                self.think(f"`{name}`", delta.get(name))
            for detail in delta.get("reasoning_details") or ():
                self.think("`reasoning_details`", detail.get("text"))
            self.say(delta.get("content"))

    def see_delta(self, delta: Any) -> None:
        """Keep the texts of a delta of OpenAI's or a look-alike class."""
        for name in ("reasoning_content", "reasoning"):
            self.think(f"`delta.{name}`", getattr(delta, name, None))
        for detail in getattr(delta, "reasoning_details", None) or ():
            found = detail.get("text") if isinstance(detail, dict) else None
            self.think("`delta.reasoning_details`", found)
        self.say(delta.content)

    def as_dict(self, took: float) -> dict[str, Any]:
        """The answer of a worker."""
        return {
            "took": took,
            "items": self.items,
            "size": self.size,
            "reasoning": self.reasoning,
            "content": self.content,
            "body": b"".join(self.body).decode(),
        }


# Reads the stream below a ``base_url``; and what makes it, once for all streams.
Read = Callable[[str, Run], Awaitable[None]]
Probe = Callable[[], AbstractAsyncContextManager[Read]]
