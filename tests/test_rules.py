"""Where reasoning is looked for and what is remembered: sources, mirrors, latch, repeats.

One behaviour a test. What an edit does to the bytes is in `test_edits`.
"""

from __future__ import annotations

from typing import Any

import pytest

from streamnorm._engine import Engine

from .helpers import Run, chunk, datas, event, run_chunks, run_sse

Delta = dict[str, Any]

TEXT_SOURCES = ("reasoning_content", "reasoning", "reasoning_text", "thinking")
# Each source with a delta that holds only its text, in the order in which they are asked.
CARRIERS: dict[str, Any] = {
    "reasoning_content": lambda text: {"reasoning_content": text},
    "reasoning": lambda text: {"reasoning": text},
    "reasoning_text": lambda text: {"reasoning_text": text},
    "thinking": lambda text: {"thinking": text},
    "reasoning{}": lambda text: {"reasoning": {"text": text, "id": "rs"}},
    "reasoning_details": lambda text: details(text),
    "thinking_blocks": lambda text: {"thinking_blocks": [{"thinking": text}]},
    "provider_specific_fields": lambda text: {
        "provider_specific_fields": {"reasoning_content": text}
    },
    "content_blocks": lambda text: {"content_blocks": [{"delta": {"thinking": text}}]},
}


OPAQUE = ("reasoning_details", "thinking_blocks", "provider_specific_fields", "content_blocks")


def details(*texts: str) -> Delta:
    return {"reasoning_details": [{"type": "reasoning.text", "text": text} for text in texts]}


def deltas_of(engine: Engine, *sent: Delta, finish: bool = False, **options: Any) -> list[Delta]:
    """The deltas that come out for *sent*; both outputs agree about them."""
    return run_of(engine, *sent, finish=finish, **options)[0]


def run_of(
    engine: Engine, *sent: Delta, finish: bool = False, **options: Any
) -> tuple[list[Delta], Run]:
    """The deltas and the run; with *finish* the last delta carries the finish_reason."""
    events = [event(chunk(delta)) for delta in sent]
    if finish:
        events[-1] = event(chunk(sent[-1], "stop"))
    raw = b"".join(events) + b"data: [DONE]\n\n"
    run = run_chunks(engine, [raw], **options)
    assert run.fault is None
    edited = run_sse(engine, [raw], **options)
    assert datas(edited.output) == run.output
    assert edited.report.as_dict() | {"declined": 0} == run.report.as_dict() | {"declined": 0}
    return [made["choices"][0]["delta"] for made in run.output], run


def reasoning_of(deltas: list[Delta], key: str = "reasoning_content") -> str:
    return "".join(delta.get(key) or "" for delta in deltas)


# Sources and their order. -------------------------------------------------------------


@pytest.mark.parametrize("name", CARRIERS)
def test_source_alone_gives_its_text(engine: Engine, name: str) -> None:
    assert reasoning_of(deltas_of(engine, CARRIERS[name]("Hm é"))) == "Hm é"


PAIRS = [
    (high, low)
    for at, high in enumerate(CARRIERS)
    for low in list(CARRIERS)[at + 1 :]
    if {high, low} != {"reasoning", "reasoning{}"}
]


@pytest.mark.parametrize(("high", "low"), PAIRS, ids=[f"{high}>{low}" for high, low in PAIRS])
def test_higher_source_wins_wherever_it_stands(engine: Engine, high: str, low: str) -> None:
    upper, lower = CARRIERS[high]("high"), CARRIERS[low]("low")
    for delta in ({**upper, **lower}, {**lower, **upper}):
        assert reasoning_of(deltas_of(engine, delta)) == "high"


@pytest.mark.parametrize("name", list(CARRIERS)[1:])
@pytest.mark.parametrize("nothing", [None, ""], ids=["null", "empty"])
def test_null_and_empty_do_not_hide_a_lower_source(
    engine: Engine, name: str, nothing: object
) -> None:
    hidden = dict.fromkeys(TEXT_SOURCES, nothing)
    assert reasoning_of(deltas_of(engine, {**hidden, **CARRIERS[name]("x")})) == "x"


@pytest.mark.parametrize("nothing", [None, ""], ids=["null", "empty"])
@pytest.mark.parametrize("key", ["reasoning", "reasoning_text", "thinking"])
def test_null_and_empty_aliases_come_out_as_absent(
    engine: Engine, key: str, nothing: object
) -> None:
    [delta], run = run_of(engine, {key: nothing, "content": "a"})
    assert delta == {"content": "a"}
    assert run.report.removed == {key: 1}


@pytest.mark.parametrize("value", [None, ""], ids=["null", "empty"])
def test_null_and_empty_output_key_stays_as_sent(engine: Engine, value: object) -> None:
    sent = {"reasoning_content": value, "content": "a"}
    assert deltas_of(engine, sent) == [sent]


@pytest.mark.parametrize(
    "key",
    [
        "internalReasoning", "reasoning_tokens", "reasoning_encrypted", "Reasoning", "reasonings",
        "reasoning ", "REASONING_CONTENT", "reasoning_opaque", "reasoning-text", "thinkings", "",
        "reasoning_conten", "reasoning_content_", "reasoning\x00", "reasоning",
    ],
)  # fmt: skip
def test_key_that_only_looks_alike_is_never_touched(engine: Engine, key: str) -> None:
    for value in ("text", None, "", {"text": "t"}):
        sent = {"content": "a", key: value}
        assert deltas_of(engine, sent) == [sent]


@pytest.mark.parametrize("value", [True, False, 0, 1.5, [], ["a"], {}, {"effort": "high"}])
@pytest.mark.parametrize("key", ["reasoning", "reasoning_text", "thinking"])
def test_value_that_is_no_text_is_left_alone(engine: Engine, key: str, value: object) -> None:
    sent = {key: value, "content": "a"}
    deltas, run = run_of(engine, sent)
    assert deltas == [sent]
    assert run.report.dialect is None


def test_reasoning_outside_the_delta_is_left_alone(engine: Engine) -> None:
    raw = event(
        b'{"reasoning":"a","choices":[{"index":0,"reasoning":null,"delta":{"x":{"reasoning":"b"}},'
        b'"message":{"reasoning":"c"}}]}'
    )
    assert run_sse(engine, [raw]).output == raw


# Objects. -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({"text": "a"}, "a"),
        ({"content": "a"}, "a"),
        ({"text": "", "content": "a"}, "a"),
        ({"text": None, "content": "a"}, "a"),
        ({"summary": [{"text": "a"}, {"text": "b"}]}, "ab"),
        ({"summary": [{"text": "a"}, {"text": None}, {"text": 5}, {}, 7, None]}, "a"),
        ({"text": "a", "type": "thinking", "index": 0}, "a"),
    ],
    ids=["text", "content", "empty-text", "null-text", "summary", "odd-summary", "labels"],
)
@pytest.mark.parametrize("key", ["reasoning_content", "reasoning"])
def test_text_of_an_object_comes_out_as_a_string(
    engine: Engine, key: str, value: object, text: str
) -> None:
    [delta] = deltas_of(engine, {key: value})
    assert delta["reasoning_content"] == text


def test_object_that_holds_only_its_text_goes(engine: Engine) -> None:
    assert deltas_of(engine, {"reasoning": {"text": "a"}}) == [{"reasoning_content": "a"}]


def test_object_with_a_signature_stays_beside_its_text(engine: Engine) -> None:
    signed = {"text": "a", "signature": "s=="}
    [delta] = deltas_of(engine, {"reasoning": signed})
    assert delta == {"reasoning_content": "a", "reasoning": signed}


def test_object_whose_pieces_hold_more_than_text_stays(engine: Engine) -> None:
    pieces = {"summary": [{"text": "a", "id": "s_1"}, {"text": "b"}]}
    [delta] = deltas_of(engine, {"reasoning": pieces})
    assert delta == {"reasoning_content": "ab", "reasoning": pieces}


@pytest.mark.parametrize("nothing", [None, ""], ids=["null", "empty"])
def test_signed_object_takes_the_place_of_an_alias_that_says_nothing(
    engine: Engine, nothing: object
) -> None:
    signed = {"text": "a", "signature": "s=="}
    for sent in (
        {"reasoning_content": signed, "reasoning": nothing},
        {"reasoning": nothing, "reasoning_content": signed},
    ):
        assert deltas_of(engine, sent) == [{"reasoning_content": "a", "reasoning": signed}]


def test_signed_object_under_the_output_key_makes_room_for_its_text(engine: Engine) -> None:
    signed = {"text": "a", "signature": "s=="}
    [delta] = deltas_of(engine, {"reasoning_content": signed})
    assert delta == {"reasoning_content": "a", "reasoning": signed}


def test_object_with_a_setting_beside_real_text_stays(engine: Engine) -> None:
    sent = {"reasoning": {"effort": "high"}, "reasoning_content": "x"}
    assert deltas_of(engine, sent) == [sent]


def test_object_equal_to_the_string_beside_it_is_a_mirror(engine: Engine) -> None:
    deltas, run = run_of(engine, {"reasoning_content": "a", "reasoning": {"text": "a"}})
    assert deltas == [{"reasoning_content": "a"}]
    assert run.report.mirrored == {"reasoning{}": 1}


# Mirrors and conflicts. ---------------------------------------------------------------


def test_equal_text_in_every_text_source_comes_out_once(engine: Engine) -> None:
    deltas, run = run_of(engine, dict.fromkeys(TEXT_SOURCES, "a"))
    assert deltas == [{"reasoning_content": "a"}]
    assert run.report.mirrored == {"reasoning": 1, "reasoning_text": 1, "thinking": 1}


def test_different_text_stays_under_its_own_key_and_is_not_joined(engine: Engine) -> None:
    deltas, run = run_of(engine, {"reasoning": "a", "thinking": "b"})
    assert deltas == [{"reasoning_content": "a", "thinking": "b"}]
    assert run.report.conflicts == {"thinking": 1}


def test_text_beside_a_setting_under_the_output_key_is_not_lost(engine: Engine) -> None:
    sent = {"reasoning_content": {"effort": "low"}, "reasoning": "x"}
    deltas, run = run_of(engine, sent)
    assert deltas == [sent]
    assert run.report.conflicts == {"reasoning": 1}


@pytest.mark.parametrize("beside", [{}, {"reasoning": "a"}], ids=["alone", "mirroring"])
@pytest.mark.parametrize("name", OPAQUE)
def test_opaque_member_stays_beside_its_text(engine: Engine, name: str, beside: Delta) -> None:
    opaque = CARRIERS[name]("a")
    assert deltas_of(engine, {**beside, **opaque}) == [{"reasoning_content": "a", **opaque}]


def test_mirrors_and_nulls_go_although_the_text_has_to_stay(engine: Engine) -> None:
    setting = {"reasoning_content": {"effort": "low"}, "reasoning": "x"}
    deltas, run = run_of(engine, {**setting, "thinking": None, "reasoning_text": ""})
    assert deltas == [setting]
    assert run.report.removed == {"reasoning_text": 1, "thinking": 1}


def test_parts_of_details_join_in_order_and_encrypted_ones_give_none(engine: Engine) -> None:
    parts: list[Any] = [
        {"type": "reasoning.summary", "summary": "a", "text": "no"},
        {"type": "reasoning.encrypted", "data": "zz", "text": "no"},
        {"type": "reasoning.text", "text": "b", "summary": "no"},
        {"type": "reasoning.text", "signature": "s"},
        {"text": "no type"}, None, 5, "c", [], {"type": ["reasoning.text"], "text": "no"},
    ]  # fmt: skip
    deltas = deltas_of(engine, {"reasoning_details": parts})
    assert deltas == [{"reasoning_content": "ab", "reasoning_details": parts}]


# Latch: a source that does not lead says again what came out. --------------------------


@pytest.mark.parametrize(
    "later", [["a ", "b"], ["a b"], ["a", " b"]], ids=["pieces", "at-once", "cut-otherwise"]
)
def test_details_that_follow_later_are_not_promoted(engine: Engine, later: list[str]) -> None:
    sent = [{"reasoning": "a "}, {"reasoning": "b"}, *map(details, later)]
    deltas, run = run_of(engine, *sent)
    assert reasoning_of(deltas) == "a b"
    assert run.report.repeated == {"reasoning_details": len(later)}


def test_details_that_mirrored_may_fall_behind_and_catch_up(engine: Engine) -> None:
    sent = [{"reasoning": "a b ", **details("a b ")}, {"reasoning": "c d"}]
    deltas, run = run_of(engine, *sent, details("c"), details(" d"))
    assert reasoning_of(deltas) == "a b c d"
    assert run.report.repeated == {"reasoning_details": 2}


def test_source_that_joins_late_may_repeat_the_last_piece(engine: Engine) -> None:
    deltas = deltas_of(engine, {"reasoning": "a"}, {"reasoning": "b"}, {"thinking": "b"})
    assert deltas[2] == {}


def test_details_ahead_of_the_plain_text_give_what_is_new(engine: Engine) -> None:
    deltas = deltas_of(engine, {"reasoning": "The"}, details("The user"))
    assert reasoning_of(deltas) == "The user"


def test_alias_that_repeats_later_is_removed(engine: Engine) -> None:
    deltas = deltas_of(engine, {"reasoning_content": "ab"}, {"thinking": "ab", "content": "x"})
    assert deltas == [{"reasoning_content": "ab"}, {"content": "x"}]


def test_output_key_that_repeats_a_lower_source_later_is_removed(engine: Engine) -> None:
    whole = {"reasoning_content": "all of the text", "x": 1}
    deltas = deltas_of(engine, details("all of"), details(" the text"), whole)
    assert reasoning_of(deltas) == "all of the text"
    assert deltas[2] == {"x": 1}


@pytest.mark.parametrize("later", ["reasoning_content", "thinking"])
@pytest.mark.parametrize("words", [["ha", "ha", "ha"], ["Let", ".", "\n", "\n", "1", "1"]])
def test_words_said_twice_by_another_source_are_no_repeat(
    engine: Engine, later: str, words: list[str]
) -> None:
    deltas = deltas_of(engine, {"reasoning": "Hm."}, *({later: word} for word in words))
    assert reasoning_of(deltas) == "Hm." + "".join(words)


@pytest.mark.parametrize("later", ["reasoning_content", "thinking"])
def test_another_source_that_begins_as_the_first_did_is_no_repeat(
    engine: Engine, later: str
) -> None:
    words = ["Okay", ", so", " next"]
    first = [{"reasoning": "Okay"}, {"reasoning": ", hm."}, {"content": "x"}]
    deltas = deltas_of(engine, *first, *({later: word} for word in words))
    assert reasoning_of(deltas) == "Okay, hm.Okay, so next"


def test_short_details_said_twice_are_no_snapshot(engine: Engine) -> None:
    deltas = deltas_of(engine, details("ha"), details("ha"), details("haha"))
    assert reasoning_of(deltas) == "hahahaha"


def test_source_that_says_something_new_later_is_heard(engine: Engine) -> None:
    deltas = deltas_of(engine, {"reasoning": "a"}, {"thinking": "b"}, details("c"))
    assert reasoning_of(deltas) == "abc"


def test_source_that_led_leads_on(engine: Engine) -> None:
    deltas = deltas_of(engine, {"thinking": "a"}, {"reasoning_text": "no", "thinking": "b"})
    assert reasoning_of(deltas) == "ab"
    assert deltas[1]["reasoning_text"] == "no"


def test_leading_source_may_say_the_same_piece_again(engine: Engine) -> None:
    deltas = deltas_of(engine, {"reasoning": "ha"}, {"reasoning": "ha"}, {"reasoning": "ha"})
    assert reasoning_of(deltas) == "hahaha"


def test_whole_text_again_with_the_finish_is_a_repeat(engine: Engine) -> None:
    sent = [{"reasoning_content": "a"}, {"reasoning_content": "b"}, {"reasoning_content": "ab"}]
    deltas, run = run_of(engine, *sent, finish=True)
    assert reasoning_of(deltas) == "ab"
    assert "reasoning_content" not in deltas[2]
    assert run.report.repeated == {"reasoning_content": 1}


def test_whole_text_again_without_a_finish_is_text(engine: Engine) -> None:
    sent = [{"reasoning": "a"}, {"reasoning": "b"}, {"reasoning": "ab"}]
    assert reasoning_of(deltas_of(engine, *sent)) == "abab"


def test_one_piece_again_with_the_finish_is_text(engine: Engine) -> None:
    sent = [{"reasoning": "ha"}, {"reasoning": "ha"}]
    assert reasoning_of(deltas_of(engine, *sent, finish=True)) == "haha"


# Cumulative snapshots. ----------------------------------------------------------------


def test_details_that_repeat_everything_so_far_come_out_as_increments(engine: Engine) -> None:
    sent = [details(text) for text in ("The", "The user", "The user asks", "The user asks")]
    deltas, run = run_of(engine, *sent)
    assert [delta.get("reasoning_content") for delta in deltas] == ["The", " user", " asks", None]
    assert run.report.repeated == {"reasoning_details": 1}


def test_snapshots_stay_in_the_details_as_sent(engine: Engine) -> None:
    deltas = deltas_of(engine, details("The"), details("The user"))
    assert deltas[1]["reasoning_details"] == details("The user")["reasoning_details"]


def test_equal_details_prove_no_snapshot_before_there_were_two(engine: Engine) -> None:
    assert reasoning_of(deltas_of(engine, details("ha"), details("ha"))) == "haha"


def test_white_space_proves_no_snapshot(engine: Engine) -> None:
    assert reasoning_of(deltas_of(engine, details("\n"), details("\n\nSo"))) == "\n\n\nSo"


@pytest.mark.parametrize("key", TEXT_SOURCES)
def test_plain_text_is_never_a_snapshot(engine: Engine, key: str) -> None:
    deltas = deltas_of(engine, {key: "na"}, {key: "nana"}, {key: "nanana"})
    assert reasoning_of(deltas) == "na" + "nana" + "nanana"


def test_alias_that_says_the_new_part_of_a_snapshot_is_a_mirror(engine: Engine) -> None:
    deltas = deltas_of(engine, details("The"), {"reasoning": " user", **details("The user")})
    assert reasoning_of(deltas) == "The user"
    assert "reasoning" not in deltas[1]
