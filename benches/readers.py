"""Who reads the streams: the normalisers, and the readers that they are compared with.

Each reader takes the reads of one whole stream and drops what it makes of them, as one does
who has passed it on.
"""

from __future__ import annotations

import asyncio
import importlib
import json
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any, Final, Protocol

from streamnorm import ChunkNormalizer, SSENormalizer, normalize_stream
from streamnorm._engine import Engine

from .environment import version
from .floor import Floor
from .streams import DONE, Case

# The reference R, by the names it has in the tables.
R: Final = "openai + json"
R_ASYNC: Final = "openai async + json"
OLDEST_OPENAI: Final = 3

# One byte, less than any token, a chat event's worth of a slow link, a TCP segment, a full
# buffer, each event by itself, all at once.
READS: Final = ("1", "7", "64", "1460", "16384", "event", "whole")

_DONE_BLOCK: Final = f"data: {DONE}".encode()

Reads = Sequence[bytes]
Run = Callable[[Reads], None]
# A test passes one that keeps what it is given.
Parse = Callable[[Any], object]


class NoReference(Exception):
    """R cannot be measured here; the message says why."""


class Machine(Protocol):
    """What is fed: a normaliser or a decoder."""

    def feed(self, data: bytes) -> Any:
        """Take the next bytes."""

    def close(self) -> Any:
        """End the stream."""


def cut(case: Case, read: str) -> Reads:
    """The stream in reads of that size, a name of `READS`."""
    stream = case.stream
    if read == "event":
        blocks = stream.split(case.separator)
        assert not blocks.pop()
        return [block + case.separator for block in blocks]
    size = len(stream) if read == "whole" else int(read)
    return [stream[at : at + size] for at in range(0, len(stream), size)]


def drive(machine: Machine, reads: Reads) -> None:
    """Feed all and drop what comes out, as a relay does once it has passed it on."""
    feed = machine.feed
    for data in reads:
        feed(data)
    machine.close()


def collect(machine: Machine, reads: Reads) -> list[Any]:
    """`drive`, and keep what comes out of each call."""
    return [*map(machine.feed, reads), machine.close()]


# The references. -------------------------------------------------------------------


def openai_decoder() -> Callable[[], Any]:
    """The class that openai-python reads every stream with.

    Raises:
        NoReference: It is not installed, or too old.
    """
    found = version("openai")
    if found == "none" or int(found.partition(".")[0]) < OLDEST_OPENAI:
        raise NoReference(
            f"{R} needs openai >= {OLDEST_OPENAI} (extra `bench`); installed: {found}"
        )
    decoder: Callable[[], Any] = importlib.import_module("openai._streaming").SSEDecoder
    return decoder


def read_with_openai(decoder: Callable[[], Any], parse: Parse = json.loads) -> Run:
    """R: openai-python's decoder and a parser, up to the closing mark."""

    def run(reads: Reads) -> None:
        for event in decoder().iter_bytes(iter(reads)):
            if event.data.startswith(DONE):
                break
            parse(event.data)

    return run


def read_with_openai_async(
    decoder: Callable[[], Any], loop: asyncio.AbstractEventLoop, parse: Parse = json.loads
) -> Run:
    """R in its asynchronous form."""

    async def read(reads: Reads) -> None:
        # Not left at the closing mark: what is left early is closed by a task of its own.
        async for event in decoder().aiter_bytes(arriving(reads)):
            if not event.data.startswith(DONE):
                parse(event.data)

    return lambda reads: loop.run_until_complete(read(reads))


def read_by_hand(separator: bytes, parse: Parse) -> Run:
    """What is written where no parser is at hand: `split`, and a buffer between the reads."""

    def run(reads: Reads) -> None:
        buffer = b""
        for data in reads:
            *blocks, buffer = (buffer + data).split(separator)
            for block in blocks:
                if block.startswith(b"data: ") and block != _DONE_BLOCK:
                    parse(block[6:])

    return run


def count_with(floor: Floor) -> Run:
    """The floor that makes nothing; every read must hold whole events."""

    def run(reads: Reads) -> None:
        for data in reads:
            floor.count(data)

    return run


def rename_with(floor: Floor, case: Case) -> Run:
    """The floor that writes; every read must hold whole events."""
    room = floor.room(case.stream, case.events)

    def run(reads: Reads) -> None:
        for data in reads:
            floor.rename(data, room)

    return run


# The normalisers. ------------------------------------------------------------------


def normalise(engine: Engine, output: str) -> Run:
    """A fresh normaliser for each stream; *output* is ``bytes`` or ``chunks``."""
    made = SSENormalizer if output == "bytes" else ChunkNormalizer
    return lambda reads: drive(made(_engine_module=engine), reads)


async def arriving(reads: Reads) -> AsyncIterator[bytes]:
    """The reads as they come from a client that has them all."""
    for data in reads:
        yield data


def pieces(engine: Engine, output: str, reads: Reads) -> AsyncIterator[Any]:
    """The stream through `normalize_stream`: an iterator of chunks or of bytes."""
    stream = normalize_stream(arriving(reads), _engine_module=engine)
    return stream.sse() if output == "bytes" else stream


def normalise_async(engine: Engine, output: str, loop: asyncio.AbstractEventLoop) -> Run:
    """`normalize_stream` through ``async for``, dropping each piece."""

    async def read(reads: Reads) -> None:
        async for _ in pieces(engine, output, reads):
            pass

    return lambda reads: loop.run_until_complete(read(reads))
