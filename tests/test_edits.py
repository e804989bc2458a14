"""What a rule does to the bytes: only the spans that it changes, all else as it was sent.

One behaviour a test. Which text comes out is in `test_rules`.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from streamnorm._engine import Engine

from . import oracle
from .helpers import event, run_chunks, run_sse


def edited(engine: Engine, text: str | bytes, **options: Any) -> bytes:
    """The edited bytes of one JSON document; the chunk says the same."""
    data = text.encode() if isinstance(text, str) else text
    made = edited_events(engine, event(data), **options)
    assert made.startswith(b"data: ")
    assert made.endswith(b"\n\n")
    return made[6:-2]


def edited_events(engine: Engine, raw: bytes, **options: Any) -> bytes:
    made = run_sse(engine, [raw], **options).output
    chunks = run_chunks(engine, [raw], **options).output
    assert oracle.meant(oracle.documents(made)) == oracle.meant(chunks)
    assert isinstance(made, bytes)
    return made


def in_delta(members: str) -> str:
    return f'{{"choices":[{{"index":0,"delta":{members}}}]}}'


def delta_after(engine: Engine, members: str, **options: Any) -> str:
    made = edited(engine, in_delta(members), **options).decode()
    assert made.startswith('{"choices":[{"index":0,"delta":')
    assert made.endswith("}]}")
    return made[len('{"choices":[{"index":0,"delta":') : -3]


# Untouched events. --------------------------------------------------------------------

UNTOUCHED = [
    '{"id":"x","choices":[{"index":0,"delta":{"content":"a"}}],"usage":{"cost":0.10,"n":1e2}}',
    '{"choices":[],"usage":{"prompt_tokens":1,"completion_tokens_details":{"reasoning_tokens":5}}}',
    '{"choices":[{"delta":{"content":"a"},"logprobs":{"reasoning_content":[{"logprob":-0.0}]}}]}',
    '{"choices":[{"index":0,"delta":{"reasoning_content":"\\u0061\\/"},"finish_reason":null}]}',
    '{"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"function":{"arguments":""}}]}}]}',
    '{"object":"response","type":"response.reasoning","delta":"a","reasoning":null}',
    '{"choices":[{"delta":{"reasoning_details":[{"type":"reasoning.encrypted","data":"\\/=="}]}}]}',
    '{"choices":[{"index":0,"delta":{"reasoning_opaque":"\\u0041"}}]}',
    '  {"choices" :[ ] , "x":123456789012345678901234567890.0}\t',
]


@pytest.mark.parametrize("text", UNTOUCHED)
def test_event_without_an_alias_leaves_byte_for_byte(engine: Engine, text: str) -> None:
    assert edited(engine, text) == text.encode()


@pytest.mark.parametrize(
    "text",
    [
        '{"choices":null}', '{"choices":{}}', '{"choices":"a"}', '{"choices":[null,1,"a",[]]}',
        '{"choices":[{"delta":null}]}', '{"choices":[{"delta":[{"reasoning":"a"}]}]}',
        '{"choices":[{"delta":"reasoning"}]}', '{"choices":[{"delta":1}]}', '{"choices":[{}]}',
        '{"choices":[{"delta":null,"message":{"reasoning":"a"}}]}', '{"choices":true}', "{}",
        '{"choices":[[{"delta":{"reasoning":"a"}}]]}', '{"delta":{"reasoning":"a"}}',
    ],
)  # fmt: skip
def test_wrong_types_are_left_alone(engine: Engine, text: str) -> None:
    assert edited(engine, text) == text.encode()


@pytest.mark.parametrize(
    "value",
    [
        "[]", "{}", "1", '"a"', "null", "[[]]", "[null,1]", '[{"type":1,"text":2}]', "[{}]",
        '[{"delta":[]}]', '[{"delta":null}]', '{"reasoning_content":{}}', '{"thinking":"a"}',
        '[{"type":"reasoning.text","text":null}]', '[{"thinking":["a"]}]',
    ],
)  # fmt: skip
@pytest.mark.parametrize("key", oracle.NESTED_KEYS)
def test_nested_sources_of_wrong_types_are_left_alone(engine: Engine, key: str, value: str) -> None:
    text = f'{{"{key}":{value}}}'
    assert delta_after(engine, text) == text


# Renames keep everything else. --------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "due"),
    [
        ('{"reasoning":"a"}', '{"reasoning_content":"a"}'),
        ('{"x":1,"reasoning":"a","y":2}', '{"x":1,"reasoning_content":"a","y":2}'),
        ('{ "reasoning"\t: "a" , "y":2 }', '{ "reasoning_content"\t: "a" , "y":2 }'),
        ('{"reason\\u0069ng":"a"}', '{"reasoning_content":"a"}'),
        ('{"\\u0072easoning":"\\u0061"}', '{"reasoning_content":"\\u0061"}'),
        ('{"reasoning":"\\u003cb\\u003e\\/ \\ud83d\\ude00"}',) * 2,
        ('{"reasoning":"\\ud800 a \\udc00"}',) * 2,
        ('{"reasoning":"\\"}, \\\\"}',) * 2,
    ],
    ids=["only", "middle", "spaces", "escaped-key", "escaped-first", "escapes", "lone", "quotes"],
)
def test_text_is_renamed_in_its_own_spelling(engine: Engine, given: str, due: str) -> None:
    due = due.replace('"reasoning"', '"reasoning_content"')
    assert delta_after(engine, given) == due


def test_text_that_is_no_utf8_keeps_its_bytes(engine: Engine) -> None:
    raw = b'{"choices":[{"index":0,"delta":{"reasoning":"a\xff\xe2\x82","x":"\xc3("}}],"y":"\x80"}'
    assert edited(engine, raw) == raw.replace(b'"reasoning"', b'"reasoning_content"')


def test_numbers_and_order_around_an_edit_keep_their_spelling(engine: Engine) -> None:
    text = (
        '{"z":1.50,"a":1E+2,"n":-0,"big":123456789012345678901234567890,"choices":[{"delta":'
        '{"reasoning":"a","f":0.10,"nan":NaN},"index":0}],"b":[1.0, 2 ,3e-400],"i":-Infinity}'
    )
    assert edited(engine, text) == text.replace('"reasoning"', '"reasoning_content"').encode()


def test_edits_of_several_choices_do_not_disturb_each_other(engine: Engine) -> None:
    text = (
        '{"choices":[ {"index":1,"delta":{"reasoning":null,"content":"a"}} , null ,'
        '{"delta":{"thinking":"é"},"index":0},{"index":2,"delta":{}} ]}'
    )
    due = text.replace('"reasoning":null,', "").replace('"thinking"', '"reasoning_content"')
    assert edited(engine, text) == due.encode()


# Removals take exactly one comma. -----------------------------------------------------


@pytest.mark.parametrize(
    ("given", "due"),
    [
        ('{"reasoning":null,"x":1}', '{"x":1}'),
        ('{"x":1,"reasoning":null,"y":2}', '{"x":1,"y":2}'),
        ('{"x":1,"reasoning":null}', '{"x":1}'),
        ('{"reasoning":null}', "{}"),
        ('{ "reasoning" : null }', "{  }"),
        ('{ "reasoning" : null , "x" : 1 }', '{ "x" : 1 }'),
        ('{ "x" : 1 , "reasoning" : null }', '{ "x" : 1 }'),
        ('{ "x" : 1 , "reasoning" : "" , "y" : 2 }', '{ "x" : 1 , "y" : 2 }'),
        ('{"reasoning":null,"thinking":null}', "{}"),
        ('{"reasoning":null,"thinking":"","x":1}', '{"x":1}'),
        ('{"x":1,"reasoning":null,"thinking":""}', '{"x":1}'),
        ('{"reasoning":null,"x":1,"thinking":""}', '{"x":1}'),
        ('{"reasoning":null,"x":1,"thinking":"","y":2,"reasoning_text":null}', '{"x":1,"y":2}'),
    ],
)
def test_removed_member_takes_one_comma_with_it(engine: Engine, given: str, due: str) -> None:
    assert delta_after(engine, given) == due


@pytest.mark.parametrize(
    ("given", "due"),
    [
        ('{"reasoning":"a","reasoning_content":""}', '{"reasoning_content":"a"}'),
        ('{"reasoning_content":"","reasoning":"\\u0061"}', '{"reasoning_content":"\\u0061"}'),
        ('{"reasoning_content":null ,"x":1,"reasoning":"a"}', '{"reasoning_content":"a" ,"x":1}'),
        (
            '{"reasoning_content":"a","x":1,"reasoning":"\\u0061"}',
            '{"reasoning_content":"a","x":1}',
        ),
        ('{"reasoning":"","thinking":"a"}', '{"reasoning_content":"a"}'),
        ('{"thinking":"a","reasoning":""}', '{"reasoning_content":"a"}'),
    ],
)
def test_removal_and_edit_meet_in_one_delta(engine: Engine, given: str, due: str) -> None:
    assert delta_after(engine, given) == due


# Duplicate members: the last one counts, as in json.loads. ----------------------------


@pytest.mark.parametrize(
    ("given", "due"),
    [
        ('{"reasoning":"a","reasoning":"b"}', {"reasoning_content": "b"}),
        ('{"reasoning":"a","x":1,"reasoning":null}', {"x": 1}),
        ('{"reasoning":null,"reasoning":"a"}', {"reasoning_content": "a"}),
        ('{"reasoning":"a","reason\\u0069ng":"b","x":1}', {"reasoning_content": "b", "x": 1}),
        ('{"reasoning_content":"a","reasoning_content":""}', {"reasoning_content": ""}),
        (
            '{"reasoning_content":"a","reasoning_content":"","reasoning":"b"}',
            {"reasoning_content": "b"},
        ),
        ('{"thinking":"a","thinking":"b","reasoning":"b"}', {"reasoning_content": "b"}),
    ],
)
def test_last_of_two_equal_members_counts(engine: Engine, given: str, due: dict[str, Any]) -> None:
    assert json.loads(delta_after(engine, given)) == due


def test_last_of_two_deltas_and_of_two_lists_of_choices_counts(engine: Engine) -> None:
    text = (
        '{"choices":[{"delta":{"reasoning":"no"}}],"choices":[{"index":5,"index":0,'
        '"delta":{"reasoning":"no"},"delta":{"thinking":"yes"}}]}'
    )
    due = text.replace('"thinking"', '"reasoning_content"')
    assert edited(engine, text) == due.encode()


def test_no_alias_is_left_behind_a_duplicate(engine: Engine) -> None:
    made = delta_after(engine, '{"reasoning":"a","x":1,"reasoning":"b","y":2,"reasoning":"c"}')
    assert made == '{"x":1,"y":2,"reasoning_content":"c"}'


# Lines. -------------------------------------------------------------------------------


def test_pretty_printed_event_keeps_its_lines_and_their_ends(engine: Engine) -> None:
    raw = (
        b'data: {\r\ndata:  "choices": [{\rdata:"delta": {\ndata: "x": 1,\r\n'
        b'data:   "reasoning": null\ndata:  }}]\r\ndata: }\n\r\n'
    )
    made = edited_events(engine, raw)
    assert made == raw.replace(b'1,\r\ndata:   "reasoning": null\n', b"1\r\ndata: \n")


def test_text_in_a_pretty_printed_event_is_renamed_in_its_line(engine: Engine) -> None:
    raw = b'data: {"choices":[{"delta":\ndata: {"reasoning"\ndata: : "a"}}]}\n\n'
    assert edited_events(engine, raw) == raw.replace(b'"reasoning"', b'"reasoning_content"')


@pytest.mark.parametrize("end", ["\n", "\r", "\r\n"], ids=["lf", "cr", "crlf"])
@pytest.mark.parametrize("space", ["", " "], ids=["bare", "space"])
def test_lines_around_the_data_stay_as_sent(engine: Engine, end: str, space: str) -> None:
    lines = [
        ": note", f"event:{space}message", "id: 7 ", f"data:{space}%s ", "retry: 5", "unknown: x",
        ":", "",
    ]  # fmt: skip
    raw = end.join([*lines, ""]).encode()
    given = raw.replace(b"%s", in_delta('{"reasoning":"a"}').encode())
    due = raw.replace(b"%s", in_delta('{"reasoning_content":"a"}').encode())
    assert edited_events(engine, given) == due


def test_documents_of_one_line_each_are_edited_each(engine: Engine) -> None:
    text = in_delta('{"reasoning":"a"}')
    raw = f"data: {text}\ndata: {text}\ndata: [DONE]\n\n".encode()
    assert edited_events(engine, raw) == raw.replace(b'"reasoning"', b'"reasoning_content"')


# Options. -----------------------------------------------------------------------------


def test_both_writes_the_text_under_both_keys_in_its_own_spelling(engine: Engine) -> None:
    for given in ('{"reasoning":"\\u0061"}', '{"reasoning_content":"\\u0061"}'):
        made = delta_after(engine, given, reasoning="both")
        assert json.loads(made) == {"reasoning_content": "a", "reasoning": "a"}
        assert made.count('"\\u0061"') == 2


def test_keep_original_changes_no_byte_that_was_sent(engine: Engine) -> None:
    given = '{"x":null, "reasoning" : "\\u0061", "thinking":null}'
    made = delta_after(engine, given, keep_original=True)
    assert made.replace('"reasoning_content":"\\u0061",', "") == given
    assert json.loads(made)["reasoning_content"] == "a"


def test_text_that_is_written_anew_has_the_fewest_escapes(engine: Engine) -> None:
    item = '{"type":"reasoning.text","text":"\\u00e9\\/\\u003c \\ud83d\\ude00 \\n\\u0001 \\ud800"}'
    given = f'{{"reasoning_details":[{item}]}}'
    due = '"reasoning_content":"é/< 😀 \\n\\u0001 \\ud800",'
    assert delta_after(engine, given) == "{" + due + given[1:]
