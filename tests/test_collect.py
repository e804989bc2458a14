"""What a stream keeps of its output: equal to what its deltas add up to, however it is read."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamnorm import ChunkNormalizer, MessageAccumulator, StreamFault, normalize_stream
from streamnorm._engine import Engine, choose
from streamnorm.collect import PENDING_BYTES, DocumentReader
from streamnorm.options import make_options
from streamnorm.usage import UsageAccumulator

from .aio import Script, iterated, run
from .conftest import load_engine
from .helpers import DONE, chunk, event

USAGE = {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7}
REASONS = [f"because {n} is \u00e9\u2713 \n" for n in range(400)]
ANSWERS = [f'"{n}" \\ ' for n in range(400)]


def body() -> list[bytes]:
    """More than waits to be parsed, in two long runs and with what interrupts them."""
    head = event(chunk({"role": "assistant", "content": ""}))
    reasons = [event(chunk({"reasoning": text})) for text in REASONS]
    answers = [event(chunk({"content": text})) for text in ANSWERS]
    answers.insert(200, b": ping\n\n")
    answers.insert(100, event(chunk({"content": "", "tool_calls": None})))
    usage = event(json.dumps({"choices": [], "usage": USAGE}).encode())
    return [head, *reasons, *answers, event(chunk({}, "stop")), usage]


@pytest.mark.parametrize("output", ["dict", "sse"])
@pytest.mark.parametrize("together", [1, 7, 2000])
@pytest.mark.parametrize("end", [DONE, event(b'{"error": {"message": "no"}}')])
def test_all_is_kept(engine: Engine, output: str, together: int, end: bytes) -> None:
    events = [*body(), end]
    assert len(b"".join(events)) > 8 * PENDING_BYTES
    parts = [b"".join(events[n : n + together]) for n in range(0, len(events), together)]
    merged = {
        "role": "assistant",
        "content": "".join(ANSWERS),
        "reasoning_content": "".join(REASONS),
    }

    async def main() -> None:
        stream = normalize_stream(Script(parts), _engine_module=engine)
        fault = None
        try:
            async for _ in iterated(stream, output):
                # Asked for at any time, it is what had come by then.
                if stream.outcome.events == 300:
                    early = stream.message
                    assert early is not None
                    assert merged["reasoning_content"].startswith(early["reasoning_content"])
        except StreamFault as error:
            fault = error
        assert stream.message == merged
        assert stream.usage.raw == USAGE
        assert (fault is None) is (end == DONE)
        if fault is not None:
            assert fault.partial == merged

    run(main())


def test_usage_alone(engine: Engine) -> None:
    async def main() -> None:
        for output in ("dict", "sse"):
            events = [*body(), DONE]
            stream = normalize_stream(Script(events), collect=False, _engine_module=engine)
            async for _ in iterated(stream, output):
                pass
            assert stream.usage.raw == USAGE
            with pytest.raises(RuntimeError):
                _ = stream.message

    run(main())


# Runs of events that differ in one text only are read as one. ---------------------------------

KEYS = st.sampled_from(["content", "reasoning_content", "refusal", "other"])
TEXTS = st.text(max_size=6) | st.sampled_from(
    ['"', "\\", '\\"', "\n", "\ud83d", "\ude00", "\u2028"]
)
EXTRAS: list[dict[str, Any]] = [
    {}, {"role": "assistant"}, {"role": ""}, {"refusal": None}, {"content": ""}, {"name": "x"},
    {"content": "two"}, {"tool_calls": [{"index": 0, "function": {"arguments": "1"}}]},
    {"parts": ["a"]},
]  # fmt: skip


@st.composite
def documents(draw: st.DrawFn) -> dict[str, Any]:
    """One chunk."""
    delta = {**draw(st.sampled_from(EXTRAS)), draw(KEYS): draw(TEXTS)}
    choice: dict[str, Any] = {"index": draw(st.sampled_from([0, 0, 0, 1])), "delta": delta}
    if draw(st.integers(0, 5)) == 0:
        choice["finish_reason"] = draw(st.sampled_from(["stop", "length", None]))
    made: dict[str, Any] = {"id": draw(st.sampled_from(["a", "a", "b"])), "choices": [choice]}
    if draw(st.integers(0, 5)) == 0:
        made["usage"] = {"total_tokens": draw(st.integers(0, 3))}
    if draw(st.integers(0, 9)) == 0:
        made["choices"].append({"index": 2, "delta": {"content": "also"}})
    return made


def written(made: dict[str, Any], is_ascii: bool, end: bytes, before: bytes) -> bytes:
    data = json.dumps(made, ensure_ascii=is_ascii).encode("utf-8", "surrogatepass")
    return before + b"data: " + data + end


PIECES = st.one_of(
    st.builds(
        written,
        documents(),
        st.booleans(),
        st.sampled_from([b"\n\n"] * 6 + [b"\n", b"\r\n\r\n", b"\n\n\n"]),
        st.sampled_from([b""] * 6 + [b"id: 1\n", b": x\n", b"event: y\n"]),
    ),
    st.sampled_from([b": ping\n\n", b"data: {oops\n\n", b"data: \xff\xfe\n\n", b"data: []\n\n"]),
    st.sampled_from([
        b'data: {"choices":[{"delta":{"content":"\xe2\x82"}}]}\n\n',
        b'data: {"choices":[{"delta":{"content":"\xac"}}]}\n\n',
        b'data: {"choices":[{"delta":{"content":"a","content":"b"}}]}\n\n',
        b'data: {"choices":[{"delta":{"content":"\\q"}}]}\n\n',
        b'data: {"content":"x","choices":[{"delta":{"content":"c"}}]}\n\n',
    ]),
)  # fmt: skip


@given(
    st.lists(PIECES.flatmap(lambda piece: st.integers(1, 3).map(lambda n: [piece] * n))),
    st.lists(st.integers(0, 3000), max_size=4),
    st.booleans(),
)
def test_runs_say_what_each_event_says(
    groups: list[list[bytes]], cuts: list[int], is_done: bool
) -> None:
    pieces = [piece for group in groups for piece in group]
    if is_done:
        pieces.insert(len(pieces) * 3 // 4, DONE)
    raw = b"".join(pieces)
    bounds = sorted({0, *(cut for cut in cuts if cut < len(raw)), len(raw)})
    pure = choose("python")

    def added(parts: list[bytes], reader: Any) -> tuple[Any, Any]:
        usage = UsageAccumulator()
        messages = MessageAccumulator(usage)
        for part in parts:
            messages.extend(reader.feed(part))
        messages.extend(reader.close())
        return messages.messages, usage.usage()

    class Each:
        """The same, with each event read by itself."""

        def __init__(self) -> None:
            self.inner = DocumentReader(pure)

        def feed(self, part: bytes) -> list[dict[str, Any]]:
            # One byte at a time, no event is there as a whole.
            return [made for n in range(len(part)) for made in self.inner.feed(part[n : n + 1])]

        def close(self) -> list[dict[str, Any]]:
            return self.inner.close()

    parts = [raw[start:end] for start, end in pairwise(bounds)]
    fast = DocumentReader(pure)
    assert added(parts, fast) == added([raw], Each())


def test_a_byte_order_mark_is_one_only_at_the_start(engine: Engine) -> None:
    """What decodes an event is made anew behind a blank line."""
    mark, texts = b"\xef\xbb\xbf", ["a", "b", "c"]
    first, second, third = (event(chunk({"content": text})) for text in texts)
    reader = DocumentReader(choose(engine.NAME))
    found = [made for part in (mark + first, mark + second, third) for made in reader.feed(part)]
    assert [made["choices"][0]["delta"]["content"] for made in found] == ["a", "c"]
    assert reader.close() == []


@pytest.mark.parametrize("words", [["ha", "haha", "ha", "hahaha"], ["one", " two", " three"] * 9])
def test_mirrored_text_is_merged_event_by_event(engine: Engine, words: list[str]) -> None:
    """Details have rules of their own for a text that begins with all before it."""
    chunks = [
        chunk(
            {
                "reasoning": word,
                "reasoning_details": [{"type": "reasoning.text", "text": word, "index": 0}],
            }
        )
        for word in words
    ]
    events = [event(c) for c in (*chunks, chunk({"content": "so"}, "stop"))]
    merged = MessageAccumulator()
    normalizer = ChunkNormalizer(_engine_module=engine)
    for piece in events:
        merged.extend(normalizer.feed(piece))

    async def main() -> None:
        for output in ("dict", "sse"):
            stream = normalize_stream(Script([*events, DONE]), _engine_module=engine)
            async for _ in iterated(stream, output):
                pass
            assert stream.message == merged.message()

    run(main())


@pytest.mark.parametrize("output", ["dict", "sse"])
def test_what_has_to_be_parsed_one_by_one_waits_and_comes_in_small_portions(output: str) -> None:
    portions: list[list[dict[str, Any]]] = []

    class Counting:
        keeps_message = True

        def add_documents(self, documents: list[bytes]) -> None:
            said = [json.loads(line) for piece in documents for line in piece.split(b"\n")]
            portions.append(said)

    engine = load_engine("rust").normalizer(make_options({}), output, Counting())
    made = []
    for n in range(4000):
        # Now and then one that is unlike those before it.
        details = [{"type": "reasoning.text", "text": f"word {n}", "index": n // 900}]
        made.append(chunk({"reasoning": f"word {n}", "reasoning_details": details}))
        engine.feed(event(made[-1]))
        # Of most streams nobody asks what they said.
        assert n > 2000 or not portions
    # Others wait while it is parsed.
    assert 0 < max(map(len, portions)) <= 64
    waited = len(portions)
    engine.hand_in()
    assert sum(map(len, portions[waited:])) <= 2048
    given = [document["choices"][0]["delta"] for portion in portions for document in portion]
    due = [json.loads(document)["choices"][0]["delta"] for document in made]
    assert [delta["reasoning_details"] for delta in given] == [
        delta["reasoning_details"] for delta in due
    ]
