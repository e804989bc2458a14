"""Bodies that are read by calls of a ``read_chunk``: pyreqwest's, and tuples of aiohttp's."""

from __future__ import annotations

from typing import Any


class ChunkReads:
    """Reads of what has come, without an event loop."""

    __slots__ = ("_read",)

    def __init__(self, source: object) -> None:
        self._read = _reader(source).read_chunk

    def __iter__(self) -> ChunkReads:
        return self

    def __next__(self) -> bytes:
        data = self._read()
        if data is None:
            raise StopIteration
        return bytes(data)


class AsyncChunkReads:
    """Reads of what has come.

    (``read`` would wait until the piece that it was asked for is full.)
    """

    __slots__ = ("_read",)

    def __init__(self, source: object) -> None:
        self._read = _reader(source).read_chunk

    def __aiter__(self) -> AsyncChunkReads:
        return self

    async def __anext__(self) -> bytes:
        data = await self._read()
        if data is None:
            raise StopAsyncIteration
        return bytes(data)


def has_chunk_reads(source: object, *, is_async: bool) -> bool:
    """Whether *source* is a response of pyreqwest, or its ``body_reader``, of one sort.

    Nothing but their names tells the sorts apart: ``SyncResponse``, ``SyncResponseBodyReader``.
    """
    kind = type(source)
    if not hasattr(kind, "read_chunk") and not hasattr(kind, "body_reader"):
        return False
    return kind.__name__.startswith("Sync") is not is_async


def is_chunk_pair(item: object) -> bool:
    """Whether *item* is of aiohttp's ``iter_chunks()``: bytes, and whether a chunk ends there."""
    return (
        isinstance(item, tuple)
        and len(item) == 2
        and isinstance(item[0], bytes)
        and isinstance(item[1], bool)
    )


def _reader(source: Any) -> Any:
    # (Asking a response that was closed for it raises.)
    return source if hasattr(type(source), "read_chunk") else source.body_reader
