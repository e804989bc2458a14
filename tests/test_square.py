"""The central property: editing the bytes and reading them is reading and editing the chunks.

Everything is compared with an independent reading (`oracle`), never with the other output
of the package alone.
"""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from streamnorm import SSENormalizer, StreamFault
from streamnorm._engine import Engine

from . import oracle, strategies
from .helpers import one_byte, random_cuts, run_chunks, run_sse
from .strategies import Members, Sent

pytestmark = pytest.mark.fuzz


def edited_of(engine: Engine, raw: bytes, **options: Any) -> bytes:
    """The whole output: what was delivered before a fault, and what was held is not lost."""
    run = run_sse(engine, [raw], **options)
    assert run.fault is None or run.fault.kind in ("truncated", "empty"), run.fault
    assert isinstance(run.output, bytes)
    return run.output


@given(sent=strategies.streams, options=strategies.options)
def test_reading_the_edited_bytes_gives_the_chunks(
    engine: Engine, sent: Sent, options: dict[str, Any]
) -> None:
    run = run_chunks(engine, [sent.raw], **options)
    made = edited_of(engine, sent.raw, **options)
    assert oracle.meant(oracle.documents(made)) == oracle.meant(run.output)


@given(sent=strategies.streams, options=strategies.options, seed=st.integers(0, 99))
def test_result_does_not_depend_on_where_the_reads_are_cut(
    engine: Engine, sent: Sent, options: dict[str, Any], seed: int
) -> None:
    whole = run_chunks(engine, [sent.raw], **options)
    edited = run_sse(engine, [sent.raw], **options)
    for parts in (one_byte(sent.raw), random_cuts(sent.raw, seed, 9), random_cuts(sent.raw, seed)):
        run = run_chunks(engine, parts, **options)
        assert oracle.spelled(run.output) == oracle.spelled(whole.output)
        assert (run.words, run.report) == (whole.words, whole.report)
        run = run_sse(engine, parts, **options)
        assert run.output == edited.output
        assert (run.words, run.report) == (edited.words, edited.report)


@given(sent=strategies.streams, options=strategies.field_options)
def test_normalising_twice_changes_nothing(
    engine: Engine, sent: Sent, options: dict[str, Any]
) -> None:
    # Where delimiters are looked for, an answer that begins with one is read anew.
    once = edited_of(engine, sent.raw, **options)
    assert edited_of(engine, once, **options) == once


@given(sent=strategies.field_streams, options=strategies.field_options)
def test_nothing_but_the_reasoning_keys_differs_from_what_was_sent(
    engine: Engine, sent: Sent, options: dict[str, Any]
) -> None:
    expected = oracle.streamed(oracle.documents(sent.raw))
    given_bare = [oracle.without_reasoning(doc) for doc in expected]
    made = oracle.documents(edited_of(engine, sent.raw, **options))
    assert oracle.spelled([oracle.without_reasoning(doc) for doc in made]) == oracle.spelled(
        given_bare
    )
    chunks = run_chunks(engine, [sent.raw], **options).output
    assert oracle.spelled([oracle.without_reasoning(doc) for doc in chunks]) == oracle.spelled(
        given_bare
    )


@given(sent=strategies.streams, options=strategies.in_place_options)
def test_nothing_but_what_rules_are_about_differs_from_what_was_sent(
    engine: Engine, sent: Sent, options: dict[str, Any]
) -> None:
    expected = oracle.streamed(oracle.documents(sent.raw))
    given_bare = [oracle.without_said(doc) for doc in expected]
    made = oracle.documents(edited_of(engine, sent.raw, **options))
    # Text that was held to the end stands in one chunk of the engine's own.
    assert len(made) - len(given_bare) in (0, 1)
    bare = [oracle.without_said(doc) for doc in made[: len(given_bare)]]
    assert oracle.spelled(bare) == oracle.spelled(given_bare)


@given(sent=strategies.streams)
def test_no_alias_is_left_that_says_nothing_or_the_same(engine: Engine, sent: Sent) -> None:
    for document in run_chunks(engine, [sent.raw]).output:
        for _, _, delta in oracle.deltas(document):
            for key in oracle.left_aliases(delta):
                assert delta[key], f"{key} is null or empty"
                assert delta[key] != delta.get(oracle.TARGET), f"{key} says it twice"


@given(sent=strategies.field_streams)
def test_event_without_an_alias_leaves_byte_for_byte(engine: Engine, sent: Sent) -> None:
    normalizer = SSENormalizer(_engine_module=engine, tags="off")
    for raw in sent.events:
        made = normalizer.feed(raw)
        sources = {*oracle.ALIASES, *oracle.NESTED_KEYS}
        if any(map(oracle.is_completion, oracle.documents(raw))):
            continue
        deltas = [delta for doc in oracle.documents(raw) for _, _, delta in oracle.deltas(doc)]
        # The output key itself is edited where it repeats the text, or is an object.
        if not any(
            sources & set(delta) or isinstance(delta.get(oracle.TARGET), str | dict)
            for delta in deltas
        ):
            assert made == raw


@given(sent=strategies.untouched_streams, options=strategies.field_options)
def test_stream_without_reasoning_leaves_byte_for_byte(
    engine: Engine, sent: Sent, options: dict[str, Any]
) -> None:
    documents = oracle.documents(sent.raw)
    assume(oracle.spelled(oracle.streamed(documents)) == oracle.spelled(documents))
    assert edited_of(engine, sent.raw, **options) == sent.raw


# A reader that knows no state: what it finds in streams in which state makes no difference.


@st.composite
def carried_streams(draw: st.DrawFn) -> tuple[Sent, dict[int, str], dict[int, str]]:
    """Streams in which each choice has its own way to carry reasoning, and what they say.

    Every piece is new, so nothing can be taken for a repeat or a snapshot.
    """
    ways = {
        0: draw(st.sampled_from(_WAYS)),
        1: draw(st.sampled_from(_WAYS)),
        7: draw(st.sampled_from(_WAYS)),
    }
    reasoning: dict[int, str] = {}
    content: dict[int, str] = {}
    documents = []
    for number in range(draw(st.integers(1, 6))):
        choices = []
        for index in draw(st.permutations(tuple(ways)))[: draw(st.integers(1, 3))]:
            pairs: list[tuple[str, Any]] = []
            if draw(st.booleans()):
                piece = f"{number}.{index}:" + draw(strategies.texts)
                reasoning[index] = reasoning.get(index, "") + piece
                pairs += [(key, shape(piece)) for key, shape in ways[index]]
            else:
                pairs += [(key, draw(strategies.nothings)) for key, _ in ways[index]]
            if draw(st.booleans()):
                answer = draw(strategies.texts)
                content[index] = content.get(index, "") + answer
                pairs.append(("content", answer))
            delta = Members(draw(st.permutations(pairs)))
            numbered = strategies.Number(index)
            choices.append(Members((("index", numbered), ("delta", delta))))
        documents.append(Members((("id", "c"), ("choices", choices))))
    events = [draw(strategies.events_of(st.just(document))) for document in documents]
    return Sent(tuple(events), b"data: [DONE]\n\n"), reasoning, content


def _plain(text: str) -> Any:
    return text


def _object(text: str) -> Any:
    return Members((("text", text),))


def _details(text: str) -> Any:
    encrypted = Members((("type", "reasoning.encrypted"), ("data", "gAA=")))
    return [Members((("type", "reasoning.text"), ("text", text))), encrypted]


def _summaries(text: str) -> Any:
    return [Members((("type", "reasoning.summary"), ("summary", half))) for half in halves(text)]


def _blocks(text: str) -> Any:
    return [Members((("type", "thinking"), ("thinking", text), ("signature", "s")))]


def halves(text: str) -> tuple[str, str]:
    return text[: len(text) // 2], text[len(text) // 2 :]


_WAYS: tuple[tuple[tuple[str, Any], ...], ...] = (
    (("reasoning_content", _plain),),
    (("reasoning", _plain),),
    (("reasoning_text", _plain),),
    (("thinking", _plain),),
    (("reasoning_content", _object),),
    (("reasoning", _object),),
    (("reasoning_details", _details),),
    (("reasoning_details", _summaries),),
    (("thinking_blocks", _blocks),),
    (("provider_specific_fields", lambda text: Members((("reasoning_content", text),))),),
    (("content_blocks", lambda text: [Members((("delta", Members((("thinking", text),))),))]),),
    (("reasoning", _plain), ("reasoning_content", _plain)),
    (("reasoning", _plain), ("reasoning_details", _details)),
    (("reasoning_content", _plain), ("reasoning_details", _summaries)),
    (("reasoning_content", _plain), ("thinking_blocks", _blocks), ("reasoning", _plain)),
)


def utf8(texts: dict[int, str]) -> dict[int, str]:
    """Texts as JSON carries them: pairs of surrogates are one character, wrong bytes U+FFFD."""
    return {
        index: text.replace("\uf8ff", "\ufffd").encode("utf-16", "surrogatepass").decode(
            "utf-16", "surrogatepass"
        )
        for index, text in texts.items()
        if text
    }  # fmt: skip


@given(carried=carried_streams(), options=strategies.field_options)
def test_joined_reasoning_and_content_are_what_was_sent(
    engine: Engine,
    carried: tuple[Sent, dict[int, str], dict[int, str]],
    options: dict[str, Any],
) -> None:
    sent, reasoning, content = carried
    chunks = run_chunks(engine, [sent.raw], **options).output
    target = options.get("reasoning", "reasoning_content")
    for key in ("reasoning_content", "reasoning") if target == "both" else (target,):
        assert utf8(oracle.joined(chunks, key)) == utf8(reasoning)
    assert utf8(oracle.joined(chunks, "content")) == utf8(content)


@given(carried=carried_streams())
def test_joined_reasoning_is_what_a_straightforward_reading_gives(
    engine: Engine, carried: tuple[Sent, dict[int, str], dict[int, str]]
) -> None:
    raw = carried[0].raw
    made = oracle.documents(edited_of(engine, raw, tags="off"))
    assert oracle.joined(made, "reasoning_content") == oracle.joined_reasoning(
        oracle.documents(raw)
    )


@given(sent=strategies.streams, options=strategies.options)
def test_no_input_of_any_shape_raises_anything_but_a_fault(
    engine: Engine, sent: Sent, options: dict[str, Any]
) -> None:
    try:
        run_chunks(engine, [sent.raw], **options)
    except StreamFault as fault:  # pragma: no cover
        pytest.fail(f"run_chunks returns faults: {fault}")
