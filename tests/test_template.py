"""Templates change no result: a stream gives the same with them, without them, however it is cut.

They are for streams whose events differ in one string, so that is what is drawn here, and
all that may stand in that string or change between two such events.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from streamnorm import ChunkNormalizer, SSENormalizer
from streamnorm._engine import Engine
from streamnorm.options import make_options
from streamnorm.pure import engine as pure
from streamnorm.pure import template
from streamnorm.pure.normalizer import Normalizer

from . import helpers
from .conftest import load_engine
from .helpers import DONE, Run, event, one_byte, random_cuts, reads, run_chunks, run_sse
from .test_parity import told

PURE = load_engine("python")
RUNNERS = {"dict": run_chunks, "sse": run_sse}


@contextmanager
def switched_off() -> Iterator[None]:
    """Without templates in the pure engine."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(template, "MOST", 0)
        yield


def said(engine: Engine, output: str, parts: Sequence[bytes], **options: Any) -> dict[str, Any]:
    """All that a run says."""
    run: Run = RUNNERS[output](engine, parts, **options)
    return told(run)


def taken(normalizer: ChunkNormalizer | SSENormalizer) -> int:
    """Events that templates have decided."""
    engine = normalizer._engine
    assert isinstance(engine, Normalizer)
    return engine._templates.taken


# Streams. -----------------------------------------------------------------------------

# What stands in the slot, as it is spelled; so too what no JSON string can hold.
SLOTS = (
    b"a", b" b", b"The user", b"user", b".", b"ab", b"The", b"x" * 90, b"\\n", b"a\\n", b" ",
    b"\\t", b"\\\\", b'\\"', b"\\/", b"\\u0041", b"\\u003c", b"\\u003cthink>", b"\\u00e9",
    b"\xc3\xa9", b"\xe6\x83\xb3", b"\xf0\x9f\x98\x80", b"\\ud83d\\ude00", b"\\ud83d", b"\\ude00",
    b"\\uD83D", b"", b"\\x", b"\\u12", b"\\", b'"', b'","x":"', b'\\","x":"', b"\x01", b"\x00",
    b"\x7f", b"\x1f", b"\xe2\x82", b"\xff", b"\xed\xa0\x80", b"\xef\xbf\xbd", b"\xe2\x80\xa8",
    b"\xc2\x85", b"<", b"<think>", b"</think>", b"</thi", b"nk>", b"ink>a", b"</think>b",
    b"<|end|>", b">", b"[", b"[/THINK]", b"<tool_call>", b"\\n<tool_call>", b"`", b"content",
    b"reasoning", b"text", b"null", b"[DONE]", b"data: x", b"{", b"}", b"]}", b"\x7fslot\x7f",
    b"slot",
)  # fmt: skip
# All that was said before, once more.
AGAIN = b"(again)"


def document(
    delta: bytes, index: bytes = b"0", more: bytes = b"", finish: bytes = b"null"
) -> bytes:
    return (
        b'{"id":"c","object":"chat.completion.chunk","choices":[{"index":%s,"delta":{%s},'
        b'"finish_reason":%s}]%s}' % (index, delta, finish, more)
    )


DETAILS = b'"reasoning_details":[{"type":"reasoning.text","text":"%","index":0}]'
DELTAS = (
    b'"content":"%"', b'"content":"%"', b'"reasoning":"%"', b'"reasoning":"%"',
    b'"reasoning_content":"%"', b'"content":"%","role":"assistant"',
    b'"role":"assistant","content":"%"', b'"content":"","reasoning":"%"',
    b'"content":null,"reasoning_content":"%"', b'"content":"%","reasoning":null',
    b'"content":"%","reasoning_content":null,"thinking":""', b'"reasoning":"%",' + DETAILS,
    b'"content":"","reasoning":"%",' + DETAILS, DETAILS + b',"reasoning":"%"', DETAILS,
    b'"reasoning":"%","reasoning_content":"%"', b'"reasoning_content":"%","reasoning":"%"',
    b'"reasoning":"%","content":"%"', b'"thinking":"%"', b'"reasoning_text":"%","thinking":"%"',
    b'"reasoning":"%","reasoning_content":null', b'"reasoning":"%","reasoning_content":{"x":"%"}',
    b'"reasoning":"%","reasoning_content":{"x":"a"}', b'"reasoning":{"text":"%"}',
    b'"reasoning":"a","reasoning":"%"', b'"content":"a","content":"%"', b'"x":["%"],"content":"%"',
    b'"content":"%","x":[{"y":1}]', b'"content":"%","tool_calls":[]',
    b'"content":"%","tool_calls":[{"id":"a","function":{"name":"f","arguments":"%"}}]',
    b'"content":"%","extra_content":{"google":{"thought":true}}', b'"content":["%"]',
    b'"content":"%","provider_specific_fields":{"reasoning_content":"%"}', b'"refusal":"%"',
    b'"reasoning":"%","thinking_blocks":[{"thinking":"%","signature":"s"}]', b' "content" : "%" ',
    b'"\\u0063ontent":"%"', b'"content":"%\xe2\x82"', b'"x":"\xff\xe2","content":"%"',
    b'"x":"\\ud800","content":"%"', b'"content":"%","x":1e400', b'"content":"%","x":' + b"1" * 25,
)  # fmt: skip
MORES = (
    b"", b"", b"", b',"usage":null', b',"usage":{"a":[1]}', b',"error":null', b',"error":"%"',
    b',"model":"gpt-oss"', b',"model":"%"', b',"choices":[]', b',"x":"%"',
)  # fmt: skip
DOCUMENTS = (
    b'{"choices":[{"delta":{"content":"%"}},{"delta":{"content":"%"}}]}',
    b'{"choices":[{"message":{"content":"%"}}]}',
    b'{"choices":[],"content":"%"}',
    b'["%"]',
    b'"%"',
    b'{"choices":[{"delta":{"content":"%"}}]}data: {"choices":[{"delta":{"content":"%"}}]}',
)


class Shape(NamedTuple):
    """How the events of a run look; ``%`` stands for what differs."""

    before: bytes
    label: bytes
    document: bytes
    after: bytes
    end: bytes

    def event(self, slot: bytes) -> bytes:
        line = self.label + self.document.replace(b"%", slot) + self.end
        return self.before + line + self.after + self.end


_documents = st.one_of(
    st.sampled_from(DELTAS).map(document),
    st.sampled_from(DELTAS).map(document),
    st.builds(
        document,
        st.sampled_from(DELTAS),
        st.sampled_from((b"0", b"0", b"1", b"1.0", b"null")),
        st.sampled_from(MORES),
        st.sampled_from((b"null", b"null", b"null", b'"stop"', b'""', b'"%"')),
    ),
    st.sampled_from(DOCUMENTS),
)
_before = st.sampled_from(
    (b"",) * 12 + (b": c\n", b": c\n\n", b":\r\n\r\n", b"id: 1\n", b"event: message\n",
                   b"event: error\n", b"foo\n", b"\n", b"error: null\n", b"data: {}\n")
)  # fmt: skip
_shapes = st.builds(
    Shape,
    _before,
    st.sampled_from((b"data: ",) * 6 + (b"data:", b"data:  ")),
    _documents,
    st.sampled_from((b"",) * 9 + (b": c\n", b"id: 2\n", b"data:\n", b"data: [DONE]\n")),
    st.sampled_from((b"\n",) * 6 + (b"\r\n", b"\r\n", b"\r")),
)
_slots = st.lists(st.sampled_from((*SLOTS, AGAIN)), min_size=1, max_size=6)


@st.composite
def streams_of(draw: st.DrawFn, slots: st.SearchStrategy[list[bytes]]) -> bytes:
    """Runs of events that differ in one string; a few shapes that come again and again."""
    shapes = draw(st.lists(_shapes, min_size=1, max_size=3))
    first = draw(st.sampled_from((b"", b"", b"a", b"<think>", b"<think>a", b" ", b"[THINK]")))
    made = [event(document(b'"content":"%s"' % first))] if first else []
    whole = first
    for _ in range(draw(st.integers(1, 5))):
        shape = draw(st.sampled_from(shapes))
        for drawn in draw(slots):
            slot = whole if drawn == AGAIN else drawn
            whole += slot
            made.append(shape.event(slot))
    return b"".join(made) + draw(st.sampled_from((DONE, DONE, b"data: [DONE]", b"", b"data: {")))


_options = st.fixed_dictionaries(
    {},
    optional={
        "reasoning": st.sampled_from(("reasoning_content", "reasoning", "both")),
        "keep_original": st.booleans(),
        "tags": st.sampled_from(("anchored", "free", "off")),
        "tag_names": st.sampled_from((None, ("think",), (("◁x", "◁y"),), (("[", "]"),))),
        "starts_in_reasoning": st.booleans(),
        "trim_tags": st.booleans(),
        "split_mixed": st.booleans(),
        "finish": st.sampled_from(("as_sent", "last")),
        "on_malformed": st.sampled_from(("raise", "skip", "skip")),
        "max_line_bytes": st.sampled_from((None, 40, 105, 106, 110, 130, 200)),
        "max_event_bytes": st.sampled_from((None, 40, 105, 106, 110, 130, 200)),
    },
)


PLAIN = event(document(b'"content":"a"'))
FLAGGED = event(document(b'"content":"a","extra_content":{"google":{"thought":true}}'))
CLOSED = event(document(b'"content":"</thought>b"'))
SAID = [event(document(b'"reasoning":"%s"' % word)) for word in (b"ab", b"cd", b"ef")]
WHOLE = event(document(b'"reasoning":"abcdef"', finish=b'"stop"'))
MIRRORED = [
    event(document((b'"reasoning":"%",' + DETAILS).replace(b"%", word)))
    for word in (b"ab", b"cd", b"ef")
]
EARLIER = event(document(DETAILS.replace(b"%", b"ab")))
INSIDE = event(document(b'"content":"<think>a"')) + PLAIN
# So long may the first events be, and the last is longer.
BARELY = {"max_line_bytes": len(PLAIN) - 2}


@pytest.mark.fuzz
@pytest.mark.parametrize("output", RUNNERS)
@given(raw=streams_of(_slots), options=_options, seed=st.integers(0, 999))
@example(raw=PLAIN * 3 + event(document(b'"content":"abc"')), options=BARELY, seed=0)
@example(raw=PLAIN * 3 + FLAGGED + CLOSED, options={}, seed=0)
@example(raw=b"".join(SAID) + WHOLE + DONE, options={}, seed=0)
@example(raw=b"".join(MIRRORED) + EARLIER + DONE, options={}, seed=0)
@example(raw=INSIDE * 3 + event(document(b'"reasoning":"abc"')) + INSIDE * 3, options={}, seed=0)
def test_templates_change_no_result(
    engine: Engine, output: str, raw: bytes, options: dict[str, Any], seed: int
) -> None:
    with switched_off():
        expected = said(PURE, output, [raw], **options)
    for parts in ([raw], one_byte(raw), random_cuts(raw, seed, 9), random_cuts(raw, seed, 200)):
        found = said(engine, output, parts, **options)
        assert found == expected


# Templates are there. -----------------------------------------------------------------


def events(*deltas: dict[str, Any], end: bytes = b"\n", label: bytes = b"data: ") -> list[bytes]:
    """One event for each delta."""
    made = []
    for delta in deltas:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": None}
        data = json.dumps({"id": "c", "choices": [choice], "usage": {"a": [1]}}).encode()
        made.append(label + data + end + end)
    return made


WORDS = [f"word {n}" for n in range(20)]
KINDS: dict[str, list[dict[str, Any]]] = {
    "plain": [{"content": word} for word in WORDS],
    "null alias": [{"content": word, "reasoning": None} for word in WORDS],
    "renamed": [{"reasoning": word} for word in WORDS],
    "native": [{"reasoning_content": word, "content": None} for word in WORDS],
    "mirror": [
        {"reasoning": word, "reasoning_details": [{"type": "reasoning.text", "text": word}]}
        for word in WORDS
    ],
    "tags": [{"content": "<think>"}, *({"content": word} for word in WORDS)],
}
CUTS: dict[str, Callable[[list[bytes]], list[bytes]]] = {
    "whole": lambda sent: [b"".join(sent)],
    "by event": lambda sent: sent,
    "7 bytes": lambda sent: reads(b"".join(sent), 7),
}


@pytest.mark.parametrize("end", [b"\n", b"\r\n"], ids=["LF", "CRLF"])
@pytest.mark.parametrize("label", [b"data: ", b"data:"], ids=["space", "none"])
@pytest.mark.parametrize("cut", CUTS)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("form", [ChunkNormalizer, SSENormalizer])
def test_events_that_differ_in_one_text_are_taken_by_a_template(
    form: type[ChunkNormalizer | SSENormalizer], kind: str, cut: str, label: bytes, end: bytes
) -> None:
    normalizer = form(_engine_module=PURE)
    for part in CUTS[cut](events(*KINDS[kind], end=end, label=label)):
        normalizer.feed(part)
    # The first few are needed to learn from; where the label is new, once more.
    assert taken(normalizer) >= len(WORDS) - 3
    assert normalizer.report.events == len(KINDS[kind])


def test_choices_that_alternate_are_both_taken_by_a_template() -> None:
    normalizer = ChunkNormalizer(_engine_module=PURE)
    for n in range(20):
        normalizer.feed(event(document(b'"reasoning":"%d"' % n, b"%d" % (n % 2))))
    assert taken(normalizer) >= 16


def test_what_is_not_plain_is_not_taken_by_a_template() -> None:
    normalizer = SSENormalizer(_engine_module=PURE)
    for n in range(20):
        normalizer.feed(event(document(b'"refusal":"%d"' % n)))
    assert taken(normalizer) == 0


def test_the_switch_of_these_tests_switches_templates_off() -> None:
    with switched_off():
        normalizer = SSENormalizer(_engine_module=PURE)
        normalizer.feed(b"".join(events(*KINDS["plain"])))
    assert taken(normalizer) == 0


def containers(value: Any) -> Iterator[Any]:
    """All lists and dicts in a value, itself included."""
    if isinstance(value, dict | list):
        yield value
        for item in value.values() if isinstance(value, dict) else value:
            yield from containers(item)


@pytest.mark.parametrize("kind", KINDS)
def test_chunks_share_nothing_that_can_be_changed(engine: Engine, kind: str) -> None:
    normalizer = ChunkNormalizer(_engine_module=engine)
    chunks = normalizer.feed(b"".join(events(*KINDS[kind])))
    found = [id(container) for chunk in chunks for container in containers(chunk)]
    assert len(found) == len(set(found))
    assert len(found) >= 6 * len(WORDS)


def test_chunks_that_are_changed_change_no_later_ones(engine: Engine) -> None:
    def words(normalizer: ChunkNormalizer, *, spoils: bool) -> list[Any]:
        made = []
        for part in events(*KINDS["mirror"]):
            for chunk in normalizer.feed(part):
                made.append(json.dumps(chunk))
                if spoils:
                    for container in [*containers(chunk)]:
                        container.clear()
        return made

    kept = words(ChunkNormalizer(_engine_module=engine), spoils=False)
    assert words(ChunkNormalizer(_engine_module=engine), spoils=True) == kept


# The engine's own interface. ----------------------------------------------------------


def test_pulse_tells_events_output_and_end() -> None:
    normalizer = pure.normalizer(make_options({}), "sse")
    assert normalizer.pulse == 0
    normalizer.feed(event(document(b'"reasoning":"a"')))
    assert normalizer.pulse == 1 << 3 | 1 << 1
    normalizer.feed(event(document(b'"content":"a"')))
    assert normalizer.pulse == 2 << 3 | 1 << 2 | 1 << 1
    normalizer.feed(event(document(b'"content":"a"')) * 9)
    assert normalizer.pulse == 11 << 3 | 1 << 2 | 1 << 1
    normalizer.feed(DONE)
    assert normalizer.pulse == 11 << 3 | 1 << 2 | 1 << 1 | 1


def test_pulse_tells_a_fault() -> None:
    normalizer = pure.normalizer(make_options({}), "dict")
    normalizer.feed(b'data: {"error":"no"}\n\n')
    assert normalizer.pulse == 1 << 3 | 1


def test_reference_leaves_collecting_to_the_caller() -> None:
    assert pure.COLLECTS is False
    normalizer = pure.normalizer(make_options({}), "sse", collector=object())
    normalizer.feed(event(document(b'"content":"a"')) * 3)
    normalizer.hand_in()
    assert normalizer.counts()["events"] == 3


def test_a_mirror_keeps_up_with_what_templates_emit(engine: Engine) -> None:
    """Else a detail of its own would be taken for the echo of an earlier text."""

    def details(text: str) -> list[dict[str, Any]]:
        return [{"type": "reasoning.text", "text": text, "index": 0}]

    deltas: list[dict[str, Any]] = [
        {"reasoning": word, "reasoning_details": details(word)} for word in "abcdef"
    ]
    deltas.append({"reasoning_details": details("b")})
    found = run_chunks(engine, [b"".join(event(helpers.chunk(delta)) for delta in deltas)])
    texts = [made["choices"][0]["delta"].get("reasoning_content") for made in found.output]
    assert texts == [*"abcdef", "b"]
