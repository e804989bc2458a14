"""`MessageAccumulator`: deltas of every member to the message that a body would have."""

from __future__ import annotations

import base64
import copy
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamnorm.message import MessageAccumulator


def of(*deltas: dict[str, Any]) -> Any:
    """The message of one choice with these deltas."""
    accumulator = MessageAccumulator()
    for delta in deltas:
        chunk = {"choices": [{"index": 0, "delta": delta, "finish_reason": None}]}
        before = copy.deepcopy(chunk)
        accumulator.add(chunk)
        assert chunk == before
    return accumulator.message()


def without_role(*deltas: dict[str, Any]) -> Any:
    message = of(*deltas)
    assert message.pop("role") == "assistant"
    return message


def calls(*fragments: Any) -> Any:
    return of(*({"tool_calls": [fragment]} for fragment in fragments))["tool_calls"]


def function(name: str, arguments: str, **more: Any) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name, "arguments": arguments}, **more}


def test_texts_are_joined() -> None:
    message = of(
        {"role": "assistant", "content": "", "reasoning_content": None, "refusal": None},
        {"reasoning_content": "a"},
        {"reasoning_content": "b", "content": None},
        {"content": "x", "reasoning_content": None},
        {"content": "y"},
        {},
    )
    assert message == {"role": "assistant", "content": "xy", "reasoning_content": "ab"}


@pytest.mark.parametrize("key", ["reasoning_content", "reasoning", "reasoning_text", "thinking"])
def test_every_key_that_can_hold_reasoning_is_joined(key: str) -> None:
    assert without_role({key: "a"}, {key: "b"}) == {"content": None, key: "ab"}


def test_both_output_keys_are_there() -> None:
    deltas = [{"reasoning_content": text, "reasoning": text} for text in "ab"]
    assert without_role(*deltas) == {"content": None, "reasoning_content": "ab", "reasoning": "ab"}


def test_no_text_is_null_content_and_no_reasoning() -> None:
    assert of({"role": "assistant", "content": "", "reasoning_content": ""}) == {
        "role": "assistant",
        "content": None,
    }
    assert of({}) == {"role": "assistant", "content": None}


def test_nothing_is_no_message() -> None:
    accumulator = MessageAccumulator()
    shapes: list[Any] = [None, [], {}, [None], [{"index": 0}], [{"delta": []}]]
    for choices in shapes:
        accumulator.add({"choices": choices})
    accumulator.add({})
    assert accumulator.message() is None
    assert accumulator.messages == {}
    assert accumulator.finish_reason() is None


def test_a_refusal_is_joined() -> None:
    assert without_role({"refusal": "I "}, {"refusal": "won't"})["refusal"] == "I won't"


def test_halves_of_one_character_become_one() -> None:
    high, low = "\ud83d", "\ude00"
    assert of({"content": high}, {"content": low})["content"] == "😀"
    assert of({"content": "x" + high})["content"] == "x" + high


# Choices. --------------------------------------------------------------------------------


def test_choices_interleave_and_their_index_names_them() -> None:
    accumulator = MessageAccumulator()
    for pair in ([(1, "b"), (0, "a")], [(0, "A")], [(3, "d")], [(1, "B")]):
        choices = [{"index": index, "delta": {"content": text}} for index, text in pair]
        accumulator.add({"choices": choices})
    texts = {index: message["content"] for index, message in accumulator.messages.items()}
    assert list(texts.items()) == [(0, "aA"), (1, "bB"), (3, "d")]
    assert accumulator.message(2) is None


@pytest.mark.parametrize("index", [{}, {"index": None}, {"index": "1"}, {"index": [1]}])
def test_without_an_index_the_position_names_a_choice(index: dict[str, Any]) -> None:
    accumulator = MessageAccumulator()
    for texts in ("ab", "AB"):
        accumulator.add({"choices": [{**index, "delta": {"content": text}} for text in texts]})
    texts_of = {index: message["content"] for index, message in accumulator.messages.items()}
    assert texts_of == {0: "aA", 1: "bB"}


@pytest.mark.parametrize("ahead", range(10))
def test_text_is_the_same_however_many_pieces_were_before(ahead: int) -> None:
    """Pieces are packed some at a time: between the two halves of a character as well."""
    pieces = ["x"] * ahead + ["\ud83d", "\ude42", "\ud83d", "y" * 100, "\u601d", "\udc80"] * 3
    joined = "".join(pieces).encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")
    assert of(*({"content": piece} for piece in pieces))["content"] == joined


def test_the_finish_reason_is_the_last_that_means_an_end() -> None:
    accumulator = MessageAccumulator()
    for finish in (None, "null", "", "tool_calls", "stop", None, "null", ""):
        choice = {"index": 0, "delta": {}, "finish_reason": finish}
        accumulator.add({"choices": [choice]})
    assert accumulator.finish_reason() == "stop"
    assert accumulator.finish_reason(1) is None


# Tool calls. -----------------------------------------------------------------------------


def test_calls_are_merged_by_index() -> None:
    found = calls(
        {"index": 1, "id": "b", "type": "function", "function": {"name": "g", "arguments": ""}},
        {"index": 0, "id": "a", "type": "function", "function": {"name": "f", "arguments": '{"x'}},
        {"index": 1, "function": {"arguments": "{}"}},
        {"index": 0, "id": None, "type": None, "function": {"name": None, "arguments": '":1}'}},
        {"index": 0, "id": "", "function": {"name": "", "arguments": None}},
    )
    assert found == [function("f", '{"x":1}', id="a"), function("g", "{}", id="b")]


def test_the_first_id_stays_and_a_repeated_name_counts_once() -> None:
    found = calls(
        {"index": 0, "id": "a", "function": {"name": "find", "arguments": "{"}},
        {"index": 0, "id": "b", "function": {"name": "find", "arguments": "}"}},
    )
    assert found == [function("find", "{}", id="a")]


def test_a_name_may_come_in_pieces() -> None:
    fragments = [{"index": 0, "function": {"name": piece}} for piece in ("get_", "weather")]
    assert calls(*fragments) == [function("get_weather", "")]


def test_without_an_index_the_id_names_the_call_and_else_it_is_the_last() -> None:
    found = calls(
        {"id": "a", "function": {"name": "f", "arguments": "1"}},
        {"function": {"arguments": "2"}},
        {"id": "b", "function": {"name": "g", "arguments": "3"}},
        {"id": "", "function": {"arguments": "4"}},
        {"id": "a", "function": {"arguments": "5"}},
        {"function": {"arguments": "6"}},
        {"id": None, "index": None, "function": {"arguments": "7"}},
    )
    assert found == [function("f", "12567", id="a"), function("g", "34", id="b")]


def test_a_call_without_an_index_never_joins_one_with_another_id() -> None:
    found = calls(
        {"index": 4, "id": "a", "function": {"name": "f", "arguments": "1"}},
        {"id": "b", "function": {"name": "g", "arguments": "2"}},
        {"index": 4, "function": {"arguments": "3"}},
    )
    assert found == [function("f", "13", id="a"), function("g", "2", id="b")]


def test_arguments_that_are_an_object_become_json() -> None:
    [call] = calls({"index": 0, "function": {"name": "f", "arguments": {"a": ["é", None]}}})
    assert call["function"]["arguments"] == '{"a":["é",null]}'


def test_what_else_a_call_carries_stays() -> None:
    found = calls(
        {"index": 0, "id": "a", "function": {"name": "f", "arguments": ""}, "pad": "x"},
        {"index": 0, "extra_content": {"google": {"thought_signature": "S"}}, "pad": None},
        {"index": 0, "extra_content": {"google": {"more": [1]}}},
    )
    extra = {"google": {"thought_signature": "S", "more": [1]}}
    assert found == [function("f", "", id="a", pad="x", extra_content=extra)]


def test_a_custom_call_has_input() -> None:
    found = calls(
        {"index": 0, "id": "a", "type": "custom", "custom": {"name": "sh", "input": "l"}},
        {"index": 0, "custom": {"input": "s"}},
    )
    assert found == [{"id": "a", "type": "custom", "custom": {"name": "sh", "input": "ls"}}]


def test_the_old_function_call() -> None:
    found = of(
        {"function_call": {"name": "f", "arguments": ""}},
        {"function_call": {"arguments": "{"}},
        {"function_call": {"arguments": "}"}},
    )
    assert found["function_call"] == {"name": "f", "arguments": "{}"}


# Reasoning with state. -------------------------------------------------------------------


def test_details_are_merged_by_type_and_index() -> None:
    def part(**members: Any) -> dict[str, Any]:
        return {"reasoning_details": [{"index": 0, **members}]}

    found = of(
        part(type="reasoning.text", text="one "),
        part(type="reasoning.text", text="two", signature=""),
        part(type="reasoning.encrypted", data="AAA"),
        part(type="reasoning.text", signature="S"),
    )
    assert found["reasoning_details"] == [
        {"index": 0, "type": "reasoning.text", "text": "one two", "signature": "S"},
        {"index": 0, "type": "reasoning.encrypted", "data": "AAA"},
    ]
    assert of({"reasoning_details": []})["reasoning_details"] == []
    assert "reasoning_details" not in of({"reasoning_details": None})


def test_thinking_blocks_end_with_their_signature() -> None:
    def block(**members: Any) -> dict[str, Any]:
        return {"thinking_blocks": [{"type": "thinking", **members}]}

    found = of(
        block(thinking="a"),
        block(thinking="b", signature=None),
        block(thinking="", signature="S1"),
        block(thinking="c"),
        block(signature="S2"),
        {"thinking_blocks": [{"type": "redacted_thinking", "data": "R"}]},
        block(thinking="", signature="S3"),
        block(thinking="", signature="S4"),
        block(thinking="open"),
    )
    assert found["thinking_blocks"] == [
        {"type": "thinking", "thinking": "ab", "signature": "S1"},
        {"type": "thinking", "thinking": "c", "signature": "S2"},
        {"type": "redacted_thinking", "data": "R"},
        {"type": "thinking", "thinking": "", "signature": "S3"},
        {"type": "thinking", "thinking": "", "signature": "S4"},
        {"type": "thinking", "thinking": "open"},
    ]


def test_a_thinking_block_that_repeats_the_whole_with_its_signature() -> None:
    found = of(
        {"thinking_blocks": [{"type": "thinking", "thinking": "a long "}]},
        {"thinking_blocks": [{"type": "thinking", "thinking": "thought"}]},
        {"thinking_blocks": [{"type": "thinking", "thinking": "a long thought", "signature": "S"}]},
    )
    whole = {"type": "thinking", "thinking": "a long thought", "signature": "S"}
    assert found["thinking_blocks"] == [whole]


def test_content_blocks_of_portkey_become_blocks_of_a_body() -> None:
    def block(index: int, **delta: Any) -> dict[str, Any]:
        return {"content_blocks": [{"index": index, "delta": delta}]}

    found = of(
        block(0, thinking="", signature=""),
        block(0, thinking="a"),
        block(0, thinking="b", type="thinking_delta"),
        block(0, signature="S"),
        block(1, data="R"),
        block(2, text="x"),
        block(2, text="y"),
        {"content_blocks": [{"type": "text", "text": "whole"}]},
    )
    assert found["content_blocks"] == [
        {"type": "thinking", "thinking": "ab", "signature": "S"},
        {"type": "redacted_thinking", "data": "R"},
        {"type": "text", "text": "xy"},
        {"type": "text", "text": "whole"},
    ]


def test_opaque_text_is_not_joined() -> None:
    deltas: list[dict[str, Any]] = [
        {"reasoning_opaque": "OLD"},
        {"reasoning_opaque": "NEW"},
        {"reasoning_opaque": ""},
        {"reasoning_opaque": None},
    ]
    assert without_role(*deltas) == {"content": None, "reasoning_opaque": "NEW"}


# Other members. --------------------------------------------------------------------------


@pytest.mark.parametrize("key", ["content_parts", "annotations", "citations", "images"])
def test_lists_of_increments_are_concatenated(key: str) -> None:
    found = without_role({key: [{"a": 1}]}, {key: []}, {key: None}, {key: [{"a": 1}, "b"]})
    assert found == {"content": None, key: [{"a": 1}, {"a": 1}, "b"]}


def test_of_other_values_the_last_stays() -> None:
    found = without_role(
        {"channel": "analysis", "flag": True, "ids": [1], "n": 1, "odd": {"a": 1}},
        {"channel": "final", "flag": False, "ids": [2], "n": 0, "odd": [3]},
        {"channel": None, "flag": None, "ids": None, "n": None, "odd": None},
    )
    assert found == {
        "content": None, "channel": "final", "flag": False, "ids": [2], "n": 0, "odd": [3],
    }  # fmt: skip


def test_objects_are_merged_member_by_member() -> None:
    found = without_role(
        {"provider_specific_fields": {"reasoning_content": "a", "x": {"p": 1}}},
        {"provider_specific_fields": {"reasoning_content": "b", "x": {"q": "r"}, "y": None}},
    )
    merged = {"reasoning_content": "ab", "x": {"p": 1, "q": "r"}}
    assert found == {"content": None, "provider_specific_fields": merged}


def test_the_flag_of_a_thought_is_no_member_of_the_message() -> None:
    flag = {"extra_content": {"google": {"thought": True}}}
    assert without_role({"reasoning_content": "a", **flag}, {"content": "x"}) == {
        "reasoning_content": "a",
        "content": "x",
    }
    signed = {"extra_content": {"google": {"thought_signature": "S"}}}
    assert without_role(flag, signed) == {"content": None, **signed}
    assert without_role({"extra_content": {}}) == {"content": None, "extra_content": {}}


@given(st.lists(st.binary(max_size=7), max_size=5))
def test_audio_is_joined_as_bytes(parts: list[bytes]) -> None:
    deltas: list[dict[str, Any]] = [{"audio": {"id": "a"}}]
    for part in parts:
        deltas.append({"audio": {"data": base64.b64encode(part).decode(), "transcript": "t"}})
    audio = of(*deltas, {"audio": {"expires_at": 5}})["audio"]
    assert base64.b64decode(audio.pop("data", "")) == b"".join(parts)
    assert audio.pop("transcript", "") == "t" * len(parts)
    assert audio == {"id": "a", "expires_at": 5}


def test_audio_that_was_cut_anywhere_is_joined_as_text() -> None:
    whole = base64.b64encode(b"some samples").decode()
    deltas = [{"audio": {"data": piece}} for piece in (whole[:5], whole[5:])]
    assert of(*deltas)["audio"]["data"] == whole


# Whole bodies, and everything at once. ---------------------------------------------------

BODY: dict[str, Any] = {
    "role": "assistant",
    "content": "answer",
    "refusal": None,
    "reasoning_content": "thought",
    "reasoning_details": [],
    "thinking_blocks": [
        {"type": "thinking", "thinking": "a"},
        {"type": "thinking", "thinking": "b"},
    ],
    "tool_calls": [function("f", "{}"), function("g", "{}")],
}


def test_a_body_gives_its_message() -> None:
    accumulator = MessageAccumulator()
    accumulator.add({"choices": [{"message": BODY, "finish_reason": "stop"}]})
    assert accumulator.message() == {k: v for k, v in BODY.items() if v is not None}
    assert accumulator.finish_reason() == "stop"


def test_a_message_beside_a_delta_is_not_the_message() -> None:
    accumulator = MessageAccumulator()
    for text in ("a", "b"):
        choice = {"delta": {"content": text}, "message": {"content": "something else"}}
        accumulator.add({"choices": [choice]})
    message = accumulator.message()
    assert message is not None
    assert message["content"] == "ab"


def test_what_is_given_and_returned_is_nobody_elses() -> None:
    delta: dict[str, Any] = {
        "tool_calls": [{"index": 0, "extra_content": {"a": [1]}}],
        "reasoning_details": [{"type": "reasoning.text", "text": "t", "more": {"a": [1]}}],
        "annotations": [{"a": [1]}],
        "extra": {"a": [1]},
    }
    accumulator = MessageAccumulator()
    accumulator.add({"choices": [{"index": 0, "delta": delta}]})
    expected = copy.deepcopy(accumulator.message())

    def spoil(value: Any) -> None:
        for inner in list(value.values() if isinstance(value, dict) else value):
            if isinstance(inner, dict | list):
                spoil(inner)
        value.clear()

    spoil(delta)
    assert accumulator.message() == expected
    spoil(accumulator.message())
    assert accumulator.message() == expected


texts = st.text(min_size=1, max_size=12)
words = st.text("abcdef_", min_size=1, max_size=8)
messages: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {"role": st.just("assistant"), "content": texts},
    optional={
        "reasoning_content": texts,
        "refusal": texts,
        "reasoning_opaque": words,
        "tool_calls": st.lists(
            st.builds(lambda name, args, call: function(name, args, id=call), words, texts, words),
            min_size=1,
            max_size=3,
        ),
        "content_parts": st.lists(st.fixed_dictionaries({"type": words}), min_size=1, max_size=3),
        "function_call": st.fixed_dictionaries({"name": words, "arguments": texts}),
    },
)


def cut(draw: st.DrawFn, text: str) -> list[str]:
    """Pieces of *text*, cut anywhere, also between the halves of a character."""
    if draw(st.booleans()):
        return [text]
    units = text.encode("utf-16-le")
    places = sorted(draw(st.lists(st.integers(0, len(units) // 2), max_size=3)))
    bounds = zip([0, *places], [*places, len(units) // 2], strict=True)
    return [units[2 * a : 2 * b].decode("utf-16-le", "surrogatepass") for a, b in bounds]


@st.composite
def streamed(draw: st.DrawFn) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """A message and deltas that add up to it: each member in order, members interleaved."""
    message: dict[str, Any] = draw(messages)
    queues: list[list[dict[str, Any]]] = []
    for name, value in message.items():
        if name == "tool_calls":
            for index, call in enumerate(value):
                first = {"index": index, "id": call["id"], "type": "function"}
                head = {**first, "function": {"name": call["function"]["name"], "arguments": ""}}
                queue: list[Any] = [{"tool_calls": [head]}]
                for piece in cut(draw, call["function"]["arguments"]):
                    rest = {"index": index, "function": {"arguments": piece}}
                    queue.append({"tool_calls": [rest]})
                queues.append(queue)
        elif name == "function_call":
            pieces = cut(draw, value["arguments"])
            queue = [{name: {"name": value["name"], "arguments": ""}}]
            queues.append([*queue, *({name: {"arguments": piece}} for piece in pieces)])
        elif isinstance(value, list):
            queues.append([{name: [item]} for item in value])
        elif name in ("role", "reasoning_opaque"):
            queues.append([{name: value}] * draw(st.integers(1, 2)))
        else:
            queues.append([{name: piece} for piece in cut(draw, value)])
    deltas: list[dict[str, Any]] = []
    while any(queues):
        queue = draw(st.sampled_from([queue for queue in queues if queue]))
        delta = queue.pop(0)
        if deltas and not set(deltas[-1]) & set(delta) and draw(st.booleans()):
            deltas[-1] = {**deltas[-1], **delta}
        else:
            deltas.append(delta)
    return message, deltas


@given(streamed())
def test_any_cutting_of_a_message_adds_up_to_it(case: tuple[Any, list[dict[str, Any]]]) -> None:
    message, deltas = case
    assert of(*deltas) == message
    # As a body it says the same.
    accumulator = MessageAccumulator()
    accumulator.add({"choices": [{"index": 0, "message": message}]})
    assert accumulator.message() == message


junk = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=2),
    lambda inner: st.lists(inner, max_size=2)
    | st.dictionaries(
        st.sampled_from(
            [
                "index", "id", "type", "function", "name", "arguments", "delta", "text", "thinking",
                "signature", "data", "extra_content", "google", "thought", "custom", "input",
            ]
        ),
        inner,
        max_size=4,
    ),
    max_leaves=12,
)  # fmt: skip
odd_deltas = st.dictionaries(
    st.sampled_from(
        [
            "role", "content", "reasoning_content", "reasoning_details", "tool_calls", "audio",
            "thinking_blocks", "content_blocks", "function_call", "extra_content", "annotations",
            "provider_specific_fields", "x",
        ]
    ),
    junk,
    max_size=4,
)  # fmt: skip
odd_choices = st.fixed_dictionaries(
    {}, optional={"index": junk, "delta": odd_deltas | junk, "message": odd_deltas | junk,
                  "finish_reason": junk},
)  # fmt: skip


@given(
    st.lists(st.fixed_dictionaries({"choices": st.lists(odd_choices | junk, max_size=2) | junk}))
)
def test_no_shape_is_an_error(chunks: list[dict[str, Any]]) -> None:
    accumulator = MessageAccumulator()
    for chunk in chunks:
        accumulator.add(chunk)
    for message in accumulator.messages.values():
        assert {"role", "content"} <= set(message)
        json.dumps(message)
