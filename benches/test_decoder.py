"""Framing alone: bytes to events, without a look at the JSON."""

from __future__ import annotations

from itertools import chain
from typing import Any

import pytest

from streamnorm import SSEDecoder
from streamnorm._engine import Engine

from .conftest import Measure, Row
from .readers import collect, cut, drive
from .streams import DONE, Case

FRAMINGS = ["nothing-to-do", "comments-keepalive", "crlf", "4KiB-text", "one-huge-event-drip"]


@pytest.mark.parametrize("case", FRAMINGS, indirect=True)
def test_bytes_to_events(case: Case, engine: Engine, read: str, measure: Measure) -> None:
    reads = cut(case, read)
    events = list(chain.from_iterable(collect(SSEDecoder(_engine_module=engine), reads)))
    assert [event.data for event in events] == [*case.documents, DONE]

    def fresh() -> Any:
        decoder = SSEDecoder(_engine_module=engine)
        return lambda: drive(decoder, reads)

    measure(Row(case, "bytes → events", engine.NAME, read), fresh)
