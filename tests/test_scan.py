"""The ends of values in a large text, found by its marks: where parsing finds them."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest

from streamnorm.pure import scan, splice


def value(chance: random.Random, depth: int) -> Any:
    pieces = ["a", '"', "\\", "[", "}", "\n", "é", "🙂", '\\"', "x" * 300]
    text = "".join(chance.choices(pieces, k=chance.randint(0, 40)))
    if not depth or chance.random() < 0.3:
        return chance.choice([text, text, 1, None, 1.5])
    if chance.random() < 0.5:
        return [value(chance, depth - 1) for _ in range(chance.randint(0, 4))]
    return {f"{n}{text[:3]}": value(chance, depth - 1) for n in range(chance.randint(0, 4))}


@pytest.mark.parametrize("seed", range(100))
def test_marks_end_a_value_where_parsing_does(seed: int) -> None:
    chance = random.Random(seed)
    made = [value(chance, 4), "quote"]
    text = json.dumps(made, ensure_ascii=chance.random() < 0.5, indent=chance.choice([None, 1]))
    first = scan.items(text, 0)[0]
    for start in (0, first):
        marked = scan._marked_end(text, start)
        assert marked is None or marked == scan._parsed_end(text, start)
        assert marked is not None or text[start] not in '"[{' or len(text) > 5_000


def test_large_texts_are_not_parsed_for_their_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    text = json.dumps({"a": ["\\" * 9 + '"' + "x" * 500] * 400, "b": 1})
    expected = scan.members(text, 0)
    assert len(text) > scan._LARGE
    assert expected[0].end == scan._parsed_end(text, expected[0].start)
    monkeypatch.setattr(scan, "_marked_end", lambda text, start: None)
    assert scan.members(text, 0) == expected


def test_escaped_quotes_are_no_marks() -> None:
    text = '["' + '\\"' * 10**5 + '\\\\"]'
    assert scan._marked_end(text, 0) == len(text)


@pytest.mark.parametrize("text", ["[" + '"",' * 10**5 + "1]", '["' + '\\\\\\"' * 10**5 + '"]'])
def test_texts_full_of_marks_are_parsed(text: str) -> None:
    assert scan._marked_end(text, 0) is None


@pytest.mark.parametrize("seed", range(50))
def test_cuts_are_made_in_bytes_as_in_text(seed: int) -> None:
    chance = random.Random(seed)
    data = b"".join(chance.choices([b"a", b"\n", "é🙂".encode(), b"\xff", b"\xf0\x9f"], k=60))
    text = data.decode("utf-8", "surrogateescape")
    places = sorted(chance.sample(range(len(text)), 6))
    made = [(places[n], places[n + 1], chance.choice(["", "né", "w"])) for n in (0, 2, 4)]
    chance.shuffle(made)
    expected = splice.make(text, made).encode("utf-8", "surrogateescape")
    assert splice.make_bytes(data, text, made) == expected
