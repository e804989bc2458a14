"""JSON in and out: the results of the standard library, with and without orjson."""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from streamnorm import _json
from streamnorm._engine import Engine

from .helpers import DONE, datas, event, run_both


@pytest.fixture(params=["orjson", "stdlib"], autouse=True, scope="module")
def parser(request: pytest.FixtureRequest) -> Iterator[str]:
    """Each parser in turn."""
    if request.param == "orjson":
        if _json.orjson is None:
            pytest.skip("orjson is not installed")
        yield "orjson"
        return
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_json, "orjson", None)
        yield "stdlib"


def shape(value: Any) -> Any:
    """*value* in a form in which 1, 1.0 and True differ, and NaN equals itself."""
    if isinstance(value, dict):
        return ("dict", [(key, shape(member)) for key, member in value.items()])
    if isinstance(value, list):
        return ("list", [shape(item) for item in value])
    if isinstance(value, float):
        return ("float", struct.pack(">d", value) if not math.isnan(value) else "nan")
    return (type(value).__name__, value)


def outcome(parse: Any, data: Any) -> Any:
    try:
        return shape(parse(data))
    except ValueError:
        return "refused"


def as_the_standard_library(data: bytes) -> Any:
    return outcome(json.loads, data.decode("utf-8", "replace"))


TEXTS: dict[str, bytes] = {
    "object": b'{"a": [1, "b", null, true, false]}',
    "white space around": b' \t\r\n{"a" : 1 } \n',
    "other white space": b"\x0c{}",
    "empty": b"",
    "only white space": b"  ",
    "two documents": b"{}{}",
    "trailing comma": b"[1,]",
    "single quotes": b"{'a': 1}",
    "comment": b"[1] // one",
    "integer zero": b"0",
    "negative integer zero": b"-0",
    "negative zero": b"-0.0",
    "float that is whole": b"1.0",
    "exponent": b"1E5",
    "exponent with sign": b"1e+05",
    "leading zero": b"01",
    "leading plus": b"+1",
    "leading point": b".5",
    "trailing point": b"1.",
    "underscore": b"1_0",
    "hexadecimal": b"0x10",
    "18 digits": b"9" * 18,
    "19 digits": b"9" * 19,
    "largest of 64 bits": str(2**63 - 1).encode(),
    "one beyond 64 bits": str(2**63).encode(),
    "smallest of 64 bits": str(-(2**63)).encode(),
    "one below 64 bits": str(-(2**63) - 1).encode(),
    "largest unsigned": str(2**64 - 1).encode(),
    "one beyond unsigned": str(2**64).encode(),
    "100 digits": b"1" * 100,
    "4300 digits": b"1" * 4300,
    "5000 digits": b"1" * 5000,
    "5000 digits in an object": b'{"a": -' + b"1" * 5000 + b"}",
    "5000 digits of a fraction": b"0." + b"1" * 5000,
    "5000 digits in a string": b'"' + b"1" * 5000 + b'"',
    "many short numbers": b"[" + b"123456789," * 50 + b"1]",
    "float with 17 digits": b"0.30000000000000004",
    "float with 25 digits": b"0.1234567890123456789012345",
    "float halfway": b"9007199254740993.0",
    "smallest float": b"5e-324",
    "below the smallest float": b"1e-400",
    "largest float": b"1.7976931348623157e308",
    "above the largest float": b"1e400",
    "below the lowest float": b"-1e400",
    "nan": b'{"a": NaN}',
    "infinity": b"[Infinity, -Infinity]",
    "lower case nan": b"nan",
    "surrogate pair": b'"\\ud83d\\ude00"',
    "lone high surrogate": b'"\\ud83d"',
    "lone low surrogate": b'"\\ude00"',
    "surrogates the wrong way round": b'"\\ude00\\ud83d"',
    "lone surrogate as a key": b'{"\\ud83d": 1}',
    "escapes": b'"\\"\\\\\\/\\b\\f\\n\\r\\t\\u0041\\u0000"',
    "unknown escape": b'"\\x41"',
    "cut escape": b'"\\u00',
    "control character in a string": b'"\x01"',
    "line feed in a string": b'"a\nb"',
    "delete in a string": b'"\x7f"',
    "duplicate keys": b'{"a": 1, "b": 2, "a": 3}',
    "duplicate keys by escape": b'{"a": 1, "\\u0061": 2}',
    "empty key": b'{"": 1}',
    "text that is not utf-8": b'"\xff\xe2\x82"',
    "key that is not utf-8": b'{"\xff": 1}',
    "surrogate in utf-8": b'"\xed\xa0\x80"',
    "bytes that are not utf-8": b"\xff",
    "bom": b"\xef\xbb\xbf{}",
    "bom in a string": b'"\xef\xbb\xbf"',
    "line separator in a string": b'"\xe2\x80\xa8"',
    "nul": b"\0",
    "utf-16": '{"a":1}'.encode("utf-16-le"),
    "nested 256 deep": b"[" * 256 + b"]" * 256,
    "objects nested 256 deep": b'{"a":' * 256 + b"1" + b"}" * 256,
    "brackets in strings": b'["' + b"[{" * 300 + b'", "\\"' + b"[" * 300 + b'"]',
    "many brackets side by side": b"[" + b"[],{}," * 300 + b"[]]",
    "unfinished string of brackets": b'"' + b"[" * 300,
    "unfinished object": b'{"a": ',
    "closing brackets": b"]" * 300,
}
each_text = pytest.mark.parametrize(
    "data", TEXTS.values(), ids=[n.replace(" ", "-") for n in TEXTS]
)


@each_text
def test_text_parses_as_by_the_standard_library(data: bytes) -> None:
    assert outcome(_json.loads, data) == as_the_standard_library(data)


@each_text
def test_text_in_an_object_parses_as_by_the_standard_library(data: bytes) -> None:
    # orjson is only asked where it agrees; a second member must not change that.
    inside = b'{"before": 1, "value": ' + data + b', "after": [2]}'
    if data.startswith((b"[" * 256, b'{"a":' * 256)):
        inside = data  # one level more would be too deep
    assert outcome(_json.loads, inside) == as_the_standard_library(inside)


@pytest.mark.parametrize(
    "data",
    [
        b"[" * 257 + b"]" * 257,
        b'{"a":' * 257 + b"1" + b"}" * 257,
        b'[{"a":' * 129 + b"1" + b"}]" * 129,
        b"[" * 100_000 + b"]" * 100_000,
        b"[" * 100_000,
        b'{"a":' * 100_000,
    ],
    ids=["lists", "objects", "both", "very-deep", "unclosed", "unclosed-objects"],
)
def test_deeper_nesting_than_256_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"^nested too deeply$"):
        _json.loads(data)


def test_depth_does_not_depend_on_how_deep_the_caller_is() -> None:
    data = b"[" * 256 + b"]" * 256

    def deeper(levels: int) -> Any:
        return _json.loads(data) if levels == 0 else deeper(levels - 1)

    assert outcome(lambda _: deeper(300), data) == as_the_standard_library(data)


# Random texts. Each is mostly valid, and bent where the two parsers were seen to differ.
NUMBERS = st.one_of(
    st.integers().map(str),
    st.integers(2**63 - 2, 2**64 + 2).map(str),
    st.floats(allow_nan=True, allow_infinity=True).map(json.dumps),
    st.from_regex(r"-?[0-9]{1,22}(\.[0-9]{1,22})?([eE][+-]?[0-9]{1,3})?", fullmatch=True),
)
STRINGS = st.one_of(
    st.text().map(json.dumps),
    st.text().map(lambda text: json.dumps(text, ensure_ascii=False)),
    st.sampled_from(
        [
            '"\\ud800"',
            '"\\udc00\\ud800"',
            '"\\ud83d\\ude00"',
            '"\\u0000"',
            '"\\/"',
            '"a\tb"',
            '"\\q"',
        ]
    ),
)
VALUES = st.recursive(
    st.one_of(NUMBERS, STRINGS, st.sampled_from(["null", "true", "false", "NaN", "nul", ""])),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4).map(lambda items: "[" + ",".join(items) + "]"),
        st.lists(st.tuples(st.sampled_from(['"a"', '"b"', '"\\u0061"']), inner), max_size=4).map(
            lambda members: "{" + ", ".join(f"{key}: {value}" for key, value in members) + "}"
        ),
    ),
    max_leaves=12,
)


@pytest.mark.fuzz
@given(text=VALUES)
@example(text="-0")
def test_random_json_parses_as_by_the_standard_library(text: str) -> None:
    data = text.encode("utf-8", "surrogatepass")
    assert outcome(_json.loads, data) == as_the_standard_library(data)


@pytest.mark.fuzz
@given(data=st.binary(max_size=20), around=VALUES, at=st.integers(0, 40))
def test_random_bytes_parse_as_by_the_standard_library(data: bytes, around: str, at: int) -> None:
    whole = around.encode()
    data = whole[:at] + data + whole[at:]
    assert outcome(_json.loads, data) == as_the_standard_library(data)


# JSON out. -----------------------------------------------------------------------

ANY_TEXT = st.text(
    st.one_of(
        st.characters(exclude_categories=[]),
        st.sampled_from('"\\/\b\f\n\r\t\0\x1f\x7f\u2028\ud800\udc00\ufeff\uffff😀'),
    )
)


def has_split_pair(text: str) -> bool:
    """Whether two surrogates stand side by side that JSON can only say as one character."""
    return any("\ud800" <= a <= "\udbff" and "\udc00" <= b <= "\udfff" for a, b in pairwise(text))


@pytest.mark.fuzz
@given(text=ANY_TEXT.filter(lambda text: not has_split_pair(text)))
@example(text="\ud83d")
@example(text="\udc00\ud800")
@example(text="a\ud83d\nb😀")
def test_encoded_string_parses_to_the_same_text(text: str) -> None:
    encoded = _json.encode_string(text)
    # As ASCII: a report of a failure with lone surrogates in it cannot be written.
    assert ascii(json.loads(encoded)) == ascii(text)
    assert ascii(_json.loads(encoded.encode("utf-8"))) == ascii(text)


@pytest.mark.parametrize(
    ("text", "encoded"),
    [
        ("", '""'),
        ("é😀", '"é😀"'),
        ('"\\', '"\\"\\\\"'),
        ("/", '"/"'),
        ("\n\r\t\b\f", '"\\n\\r\\t\\b\\f"'),
        ("\0\x1f", '"\\u0000\\u001f"'),
        ("\x7f\u2028\ufeff", '"\x7f\u2028\ufeff"'),
        ("\ud83d", '"\\ud83d"'),
        ("é\udc00", '"é\\udc00"'),
    ],
    ids=["empty", "text", "quotes", "slash", "short", "control", "plain", "lone", "mixed"],
)
def test_string_is_encoded_with_the_fewest_escapes(text: str, encoded: str) -> None:
    assert ascii(_json.encode_string(text)) == ascii(encoded)


@pytest.mark.fuzz
@given(text=ANY_TEXT)
def test_encoded_string_is_utf_8_without_line_ends(text: str) -> None:
    # In an event a line end would end the data line.
    encoded = _json.encode_string(text).encode("utf-8")
    assert not set(encoded) & set(b"\n\r\0")


@pytest.mark.parametrize(
    "value",
    [{}, {"a": [1, 2.5, None, True, "é"]}, {"a": "\ud83d"}, {"a": 2**70}, {"é": ""}],
    ids=["empty", "mixed", "surrogate", "big", "key"],
)
def test_dumped_value_parses_to_the_same_value(value: Any) -> None:
    dumped = _json.dumps(value)
    assert shape(_json.loads(dumped)) == shape(value)
    assert b" " not in dumped


# Numbers and strings of a chunk, in both outputs. --------------------------------


@pytest.mark.parametrize(
    "value",
    [
        *(b"-0", b"-0.0", b"1e400", b"NaN", b"2E+1", b"18446744073709551616", b"1" * 100),
        *(b'"\\ud83d"', b'"\xff"', b'{"x":1,"x":2}', b'"\\u00e9\\/"', b"0.10000000000000000555"),
    ],
    ids=repr,
)
def test_untouched_member_is_the_same_in_both_outputs(engine: Engine, value: bytes) -> None:
    data = b'{"odd":' + value + b',"choices":[{"index":0,"delta":{"reasoning":"r"}}]}'
    chunks, edited = run_both(engine, [event(data) + DONE])
    assert value in edited.output
    (chunk,) = chunks.output
    expected = data.replace(b'"reasoning"', b'"reasoning_content"')
    assert shape(chunk) == as_the_standard_library(expected)


def test_halves_of_a_character_in_two_parts_are_the_same_in_both_outputs(engine: Engine) -> None:
    parts = b",".join(
        b'{"type":"reasoning.text","text":"%b"}' % half for half in (b"\\ud83d", b"\\ude00")
    )
    data = b'{"choices":[{"index":0,"delta":{"reasoning_details":[' + parts + b"]}}]}"
    chunks, edited = run_both(engine, [event(data) + DONE])
    (chunk,) = chunks.output
    (parsed,) = datas(edited.output)
    assert parsed == chunk
