"""Both engines, both outputs, every case, every size of a read."""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import chain
from typing import Any

import pytest

from streamnorm import ChunkNormalizer, SSENormalizer
from streamnorm._engine import Engine

from .conftest import Measure, Row
from .readers import collect, cut, drive
from .streams import CASES, DONE, Case, Texts
from .targets import BYTES, CHUNKS

Chunk = dict[str, Any]


@pytest.mark.parametrize("case", CASES, indirect=True)
def test_bytes_to_bytes(case: Case, engine: Engine, read: str, measure: Measure) -> None:
    reads = cut(case, read)
    out = b"".join(collect(SSENormalizer(_engine_module=engine), reads))
    assert texts_of(chunks_in(out, case.separator)) == case.texts
    assert out == case.normal

    def fresh() -> Any:
        normalizer = SSENormalizer(_engine_module=engine)
        return lambda: drive(normalizer, reads)

    measure(Row(case, BYTES, engine.NAME, read), fresh)


@pytest.mark.parametrize("case", CASES, indirect=True)
def test_bytes_to_chunks(case: Case, engine: Engine, read: str, measure: Measure) -> None:
    reads = cut(case, read)
    chunks = list(chain.from_iterable(collect(ChunkNormalizer(_engine_module=engine), reads)))
    assert texts_of(chunks) == case.texts
    assert len(chunks) == case.events

    def fresh() -> Any:
        normalizer = ChunkNormalizer(_engine_module=engine)
        return lambda: drive(normalizer, reads)

    measure(Row(case, CHUNKS, engine.NAME, read), fresh)


def chunks_in(stream: bytes, separator: bytes) -> list[Chunk]:
    """The chunks in a stream, read in the plainest way."""
    values = [
        block.removeprefix(b"data: ")
        for block in stream.split(separator)
        if block.startswith(b"data: ")
    ]
    return [json.loads(value) for value in values if value != DONE.encode()]


def texts_of(chunks: Sequence[Chunk]) -> dict[int, Texts]:
    """What each choice says in normal form."""
    said: dict[int, tuple[list[str], list[str], list[str]]] = {}
    for chunk in chunks:
        for choice in chunk["choices"]:
            delta = choice["delta"]
            assert "reasoning" not in delta
            reasoning, content, arguments = said.setdefault(choice["index"], ([], [], []))
            reasoning.append(delta.get("reasoning_content") or "")
            content.append(delta.get("content") or "")
            for call in delta.get("tool_calls", ()):
                arguments.append(call["function"]["arguments"])
    return {index: Texts(*map("".join, lists)) for index, lists in said.items()}
