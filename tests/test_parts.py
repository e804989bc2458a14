"""Content that is a list of parts, and content that a flag calls a thought."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamnorm import normalize_response
from streamnorm._engine import Engine

from . import oracle
from .helpers import DONE, chunk, event, one_byte, run_chunks, run_square, run_sse, stream

Delta = dict[str, Any]


def thinking(*texts: str, **more: Any) -> Delta:
    """A thinking part as Mistral sends it."""
    return {"type": "thinking", "thinking": [text_part(text) for text in texts], **more}


def summary(text: str, **more: Any) -> Delta:
    """A reasoning part as Databricks sends it."""
    return {"type": "reasoning", "summary": [{"type": "summary_text", "text": text, **more}]}


def text_part(text: str, **more: Any) -> Delta:
    return {"type": "text", "text": text, **more}


def deltas_of(chunks: list[Any]) -> list[Delta]:
    """The deltas of the only choice, up to the one with its finish_reason."""
    return [delta for doc in chunks for _, finish, delta in oracle.deltas(doc) if finish is None]


def out_of(engine: Engine, *deltas: Delta, **options: Any) -> list[Delta]:
    """What becomes of these deltas, in both outputs."""
    run = run_square(engine, [stream(*deltas)], **options)
    assert run.fault is None
    return deltas_of(run.output)


IMAGE = {"type": "image_url", "image_url": {"url": "data:,"}}
SIGNED = summary("", signature="Eq+/=")
CASES: list[tuple[Any, Delta]] = [
    ([thinking("Okay")], {"reasoning_content": "Okay", "content": ""}),
    ([thinking("a", "b")], {"reasoning_content": "ab", "content": ""}),
    ([thinking()], {"content": ""}),
    ([thinking("a", closed=True)], {"reasoning_content": "a", "content": ""}),
    ([{"type": "thinking", "thinking": "a"}], {"reasoning_content": "a", "content": ""}),
    ([summary("a", signature="")], {"reasoning_content": "a", "content": ""}),
    ([text_part("2 + 2")], {"content": "2 + 2"}),
    ([text_part("a"), text_part("b")], {"content": "ab"}),
    ([thinking("a"), text_part("b")], {"reasoning_content": "a", "content": "b"}),
    ([text_part("b"), thinking("a"), text_part("c")], {"reasoning_content": "a", "content": "bc"}),
    (["plain"], {"content": "plain"}),
    ([], {"content": ""}),
    # What is more than its text leaves as it came, beside the string.
    ([SIGNED], {"content": "", "content_parts": [SIGNED]}),
    ([summary("a", signature="s")],
     {"reasoning_content": "a", "content": "", "content_parts": [summary("a", signature="s")]}),
    ([text_part("a", annotations=[1])],
     {"content": "a", "content_parts": [text_part("a", annotations=[1])]}),
    ([text_part("a", annotations=[])], {"content": "a"}),
    ([IMAGE, text_part("a")], {"content": "a", "content_parts": [IMAGE]}),
    ([None, 5, [], {}], {"content": "", "content_parts": [None, 5, [], {}]}),
    ([{"type": "thinking", "thinking": 5}],
     {"content": "", "content_parts": [{"type": "thinking", "thinking": 5}]}),
    ([{"type": ["text"], "text": "a"}],
     {"content": "", "content_parts": [{"type": ["text"], "text": "a"}]}),
]  # fmt: skip


@pytest.mark.parametrize(("content", "expected"), CASES, ids=[json.dumps(c[0]) for c in CASES])
def test_list_becomes_a_string_and_its_reasoning(
    engine: Engine, content: Any, expected: Delta
) -> None:
    (delta,) = out_of(engine, {"content": content})
    assert delta == expected
    (delta,) = out_of(engine, {"role": "assistant", "content": content, "x": 1})
    assert delta == {"role": "assistant", "x": 1, **expected}


@pytest.mark.parametrize(("content", "expected"), CASES, ids=[json.dumps(c[0]) for c in CASES])
def test_list_of_a_body_becomes_the_same(content: Any, expected: Delta) -> None:
    body = {"choices": [{"index": 0, "message": {"content": content}, "finish_reason": "stop"}]}
    raw = json.dumps(body).encode()
    made = normalize_response(body)
    assert made["choices"][0]["message"] == expected
    assert json.loads(normalize_response(raw)) == made


def test_content_goes_back_to_a_string(engine: Engine) -> None:
    made = out_of(
        engine, {"content": ""}, {"content": [thinking("a")]}, {"content": [thinking()]},
        {"content": "To"}, {"content": " be"},
    )  # fmt: skip
    texts = [(delta.get("reasoning_content"), delta["content"]) for delta in made]
    assert texts == [(None, ""), ("a", ""), (None, ""), (None, "To"), (None, " be")]


def test_each_list_is_counted(engine: Engine) -> None:
    deltas = [{"content": [thinking("a")]}, {"content": [text_part("b")]}, {"content": "c"}]
    report = run_square(engine, [stream(*deltas)]).report
    assert report.repairs == {"content_list": 2}
    assert report.remaps == {"content[]→reasoning_content": 1}
    assert report.dialect == "content parts"


def test_parts_keep_their_spelling(engine: Engine) -> None:
    part = rb'{ "type":"image_url" ,"n":1.50,"big":12345678901234567890123,"s":"\u003c\/a" }'
    raw = event(b'{"choices":[{"index":0,"delta":{"content":["a", ' + part + b" ]}}]}") + DONE
    assert b'"content_parts":[' + part + b"]" in run_sse(engine, [raw]).output
    run_square(engine, [raw])


def test_parts_that_span_lines_stay_in_their_event(engine: Engine) -> None:
    data = b'{"choices":[{"index":0,"delta":{"content":["a",{"type":"x",\ndata: "y":1}]}}]}'
    raw = event(data) + DONE
    for parts in ([raw], one_byte(raw)):
        (made,) = run_square(engine, parts).output
        assert made["choices"][0]["delta"] == {
            "content": "a",
            "content_parts": [{"type": "x", "y": 1}],
        }


def test_tags_in_text_parts_count_as_in_strings(engine: Engine) -> None:
    made = out_of(
        engine, {"content": [text_part("<think>a</th")]}, {"content": [text_part("ink>b")]}
    )
    assert "".join(delta.get("reasoning_content", "") for delta in made) == "a"
    assert "".join(delta["content"] for delta in made) == "b"


def test_parts_that_say_what_they_are_need_no_tags(engine: Engine) -> None:
    made = out_of(engine, {"content": [thinking("a")]}, {"content": [text_part("<think>b")]})
    assert "".join(delta.get("reasoning_content", "") for delta in made) == "a"
    assert "".join(delta["content"] for delta in made) == "<think>b"


def test_field_that_says_the_same_is_a_mirror(engine: Engine) -> None:
    deltas = [{"reasoning_content": "a", "content": [thinking("a")]}, {"content": [text_part("b")]}]
    made = out_of(engine, *deltas)
    assert [delta.get("reasoning_content", "") for delta in made] == ["a", ""]
    assert [delta["content"] for delta in made] == ["", "b"]


def test_field_that_says_something_else_loses_nothing(engine: Engine) -> None:
    run = run_square(engine, [stream({"reasoning_content": "x", "content": [thinking("a"), "b"]})])
    (delta,) = deltas_of(run.output)
    assert (delta["reasoning_content"], delta["content"]) == ("x", "b")
    assert delta["content_parts"] == [thinking("a")]
    assert run.report.conflicts == {"content[]": 1}


@given(
    parts=st.lists(
        st.tuples(st.booleans(), st.text(st.sampled_from("ab \né😀"), max_size=4)), max_size=8
    ),
    sizes=st.lists(st.integers(1, 3), max_size=8),
)
def test_reasoning_and_answer_are_the_parts_joined(
    engine: Engine, parts: list[tuple[bool, str]], sizes: list[int]
) -> None:
    # No text can be taken for a snapshot: each thought is numbered.
    said = [(is_thought, f"{n}{text}") for n, (is_thought, text) in enumerate(parts)]
    lists, at = [], 0
    for size in [*sizes, len(said)]:
        lists.append(
            [thinking(t) if is_thought else text_part(t) for is_thought, t in said[at : at + size]]
        )
        at += size
    chunks = run_square(engine, [stream(*({"content": one} for one in lists if one))]).output
    for key, wanted in (("reasoning_content", True), ("content", False)):
        text = "".join(text for is_thought, text in said if is_thought is wanted)
        assert oracle.joined(chunks, key).get(0, "") == text
    assert all(isinstance(d["content"], str) for d in deltas_of(chunks))


# The flag. ------------------------------------------------------------------------------------


def flagged(content: Any, thought: Any = True, **more: Any) -> Delta:
    """A delta as Gemini's OpenAI-compatible endpoint sends it."""
    return {"content": content, "extra_content": {"google": {"thought": thought}}, **more}


def gemini(engine: Engine, *deltas: Delta, **options: Any) -> tuple[str, str]:
    """(the reasoning, the answer) of these deltas."""
    chunks = run_square(engine, [stream(*deltas)], **options).output
    reasoning, answer = (oracle.joined(chunks, key) for key in ("reasoning_content", "content"))
    return reasoning.get(0, ""), answer.get(0, "")


@pytest.mark.parametrize("tags", ["anchored", "free", "off"])
@pytest.mark.parametrize("closer", ["</thought>The", "</thought>\n\nThe", "The"])
@pytest.mark.parametrize("opener", ["<thought>", ""])
@pytest.mark.parametrize("flag", [True, "true"])
def test_flag_makes_the_whole_content_a_thought(
    engine: Engine, tags: str, closer: str, opener: str, flag: Any
) -> None:
    # In the free mode a stray closer is cut out wherever it stands.
    end = " answer" if tags == "free" else " answer </thought>"
    thoughts = [flagged(f"{opener}First", flag), flagged(" more. ", flag)]
    made = gemini(engine, *thoughts, {"content": closer}, {"content": end}, tags=tags)
    assert made == ("First more. ", f"The{end}")


@pytest.mark.parametrize("flag", [False, None, 1, "True", "false", [], {}])
def test_flag_of_another_value_says_nothing(engine: Engine, flag: Any) -> None:
    raw = stream(flagged("Hello", flag))
    assert run_sse(engine, [raw]).output == raw


@pytest.mark.parametrize(
    "extra", [None, [], {"google": None}, {"google": [True]}, {"thought": True}]
)
def test_flag_in_another_place_says_nothing(engine: Engine, extra: Any) -> None:
    raw = stream({"content": "Hello", "extra_content": extra})
    assert run_sse(engine, [raw]).output == raw


def test_delimiters_of_thoughts_are_cut_out_wherever_the_deltas_end(engine: Engine) -> None:
    text, answer = "<thought>a < b</thou", "ght>\nThe answer"
    for at in range(1, len(text)):
        made = gemini(engine, flagged(text[:at]), flagged(text[at:]), {"content": answer})
        assert made == ("a < b", "The answer")


def test_thought_flagged_again_after_an_answer_is_one(engine: Engine) -> None:
    deltas = [flagged("<thought>a"), {"content": "</thought>b"}, flagged("c"), {"content": "d"}]
    assert gemini(engine, *deltas) == ("ac", "bd")


def test_flag_stays_where_it_was(engine: Engine) -> None:
    made = out_of(engine, flagged("a", role="assistant"))
    assert made == [
        {
            "reasoning_content": "a",
            "extra_content": {"google": {"thought": True}},
            "role": "assistant",
        }
    ]


def test_dialect_of_a_flag(engine: Engine) -> None:
    report = run_chunks(engine, [stream(flagged("<thought>a"), {"content": "</thought>b"})]).report
    assert report.dialect == "thought flag"


def test_flag_of_a_body(engine: Engine) -> None:
    message = {"content": "<thought>a</thought>\nb", "extra_content": {"google": {"thought": True}}}
    body = {"choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}
    made = normalize_response(body)["choices"][0]["message"]
    assert (made["reasoning_content"], made["content"]) == ("a", "b")
    first, _ = run_square(engine, [json.dumps(body).encode()]).output
    assert first["choices"][0]["delta"] == made


def test_choices_are_flagged_apart(engine: Engine) -> None:
    one = {
        "choices": [{"index": 0, "delta": flagged("a")}, {"index": 1, "delta": {"content": "b"}}]
    }
    two = {
        "choices": [{"index": 1, "delta": flagged("c")}, {"index": 0, "delta": {"content": "d"}}]
    }
    raw = b"".join(event(json.dumps(doc).encode()) for doc in (one, two)) + event(chunk({}, "stop"))
    chunks = run_square(engine, [raw]).output
    assert oracle.joined(chunks, "reasoning_content") == {0: "a", 1: "c"}
    assert oracle.joined(chunks, "content") == {0: "d", 1: "b"}
