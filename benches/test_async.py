"""`normalize_stream` through ``async for``: both engines, both outputs."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from streamnorm._engine import Engine

from .conftest import Measure, Row
from .readers import cut, normalise_async, pieces
from .streams import Case
from .targets import ASYNC_BYTES, ASYNC_CHUNKS
from .test_normalizers import texts_of


@pytest.mark.parametrize("read", ["event", "16384"])
@pytest.mark.parametrize("output", ["bytes", "chunks"])
@pytest.mark.parametrize("case", ["rename", "nothing-to-do", "tags"], indirect=True)
def test_async_for(
    case: Case,
    output: str,
    read: str,
    engine: Engine,
    loop: asyncio.AbstractEventLoop,
    measure: Measure,
) -> None:
    reads = cut(case, read)

    async def kept() -> list[Any]:
        return [piece async for piece in pieces(engine, output, reads)]

    found = loop.run_until_complete(kept())
    if output == "bytes":
        assert b"".join(found) == case.normal
    else:
        assert texts_of(found) == case.texts
        assert len(found) == case.events
    run = normalise_async(engine, output, loop)
    work = ASYNC_BYTES if output == "bytes" else ASYNC_CHUNKS
    measure(Row(case, work, engine.NAME, read), lambda: lambda: run(reads))
