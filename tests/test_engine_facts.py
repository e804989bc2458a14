"""What an engine says of its stream while it runs: cheap to ask, the same on both."""

from __future__ import annotations

from typing import Any

import pytest

from streamnorm import ChunkNormalizer, SSENormalizer
from streamnorm._engine import Engine
from streamnorm.objects import ObjectNormalizer
from streamnorm.options import make_options
from streamnorm.pure.state import MAX_CHOICES

from .helpers import DONE, chunk, event

both_outputs = pytest.mark.parametrize("make", [ChunkNormalizer, SSENormalizer])
# The Rust engine leaves this one to the reference.
DECLINED = event(
    b'{"choices":[{"index":0,"delta":{"content":"\\ud800"},"finish_reason":"length"}]}'
)


def finish(index: int, reason: str) -> bytes:
    return event(
        b'{"choices":[{"index":%d,"delta":{},"finish_reason":"%s"}]}' % (index, reason.encode())
    )


def facts(engine: Any) -> tuple[int, bool, bool, bool, dict[int, str]]:
    counts = engine.counts()
    assert (counts["events"], counts["visible"], counts["reasoning"]) == (
        engine.events,
        engine.visible,
        engine.reasoning,
    )
    return engine.events, engine.reasoning, engine.visible, counts["complete"], counts["finishes"]


@both_outputs
def test_facts_follow_the_stream(engine: Engine, make: Any) -> None:
    normalizer = make(_engine_module=engine)
    for raw, expected in (
        (b": ping\n\n", (0, False, False, False, {})),
        (event(chunk({"role": "assistant"})), (1, False, False, False, {})),
        (event(chunk({"reasoning": "Hm"})), (2, True, False, False, {})),
        (event(chunk({"content": "Hi"})), (3, True, True, False, {})),
        (event(chunk({}, "null")), (4, True, True, False, {})),
        (event(chunk({}, "stop")), (5, True, True, True, {0: "stop"})),
        (DECLINED, (6, True, True, True, {0: "length"})),
        (finish(1, "stop"), (7, True, True, True, {0: "length", 1: "stop"})),
        (finish(0, "tool_calls"), (8, True, True, True, {0: "tool_calls", 1: "stop"})),
        (DONE, (8, True, True, True, {0: "tool_calls", 1: "stop"})),
    ):
        normalizer.feed(raw)
        assert facts(normalizer._engine) == expected


@both_outputs
def test_reason_that_goes_out_last_is_the_one(engine: Engine, make: Any) -> None:
    normalizer = make(_engine_module=engine, finish="last")
    normalizer.feed(finish(0, "tool_calls") + finish(0, "stop") + finish(1, "stop") + DONE)
    assert normalizer._engine.counts()["finishes"] == {0: "tool_calls", 1: "stop"}


@both_outputs
def test_reasons_are_kept_for_as_many_choices_as_states(engine: Engine, make: Any) -> None:
    normalizer = make(_engine_module=engine)
    normalizer.feed(b"".join(finish(n, "stop") for n in range(MAX_CHOICES + 9)))
    normalizer.feed(finish(0, "length") + finish(MAX_CHOICES, "length"))
    found = normalizer._engine.counts()["finishes"]
    assert found == {0: "length", **dict.fromkeys(range(1, MAX_CHOICES), "stop")}


def test_chunk_objects_say_the_same() -> None:
    normalizer = ObjectNormalizer(make_options({}), "dict")
    normalizer.feed({"choices": [{"index": 0, "delta": {"reasoning": "Hm"}}]})
    assert facts(normalizer) == (1, True, False, False, {})
    normalizer.feed({"choices": [{"index": 2, "delta": {"content": "a"}, "finish_reason": "stop"}]})
    assert facts(normalizer) == (2, True, True, True, {2: "stop"})


class Kept:
    """A chunk object as an SDK makes it of an error body: its choices are None."""

    choices = None

    def __init__(self, **said: Any) -> None:
        self.said = said

    def to_dict(self) -> dict[str, Any]:
        return {"choices": None, **self.said}


def test_object_without_choices_may_be_an_error() -> None:
    normalizer = ObjectNormalizer(make_options({}), "dict", keep=True)
    heartbeat = Kept(id="c-1")
    assert normalizer.feed(heartbeat) == [heartbeat]
    assert normalizer.fault is None
    body = {"base_resp": {"status_code": 1008, "status_msg": "insufficient balance"}}
    assert normalizer.feed(Kept(**body)) == []
    assert normalizer.fault == ("error_event", {"choices": None, **body})
