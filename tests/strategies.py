"""Streams for hypothesis, biased to what matters: key look-alikes, repeats, spelling, line ends.

What a document means is drawn; how it is spelled follows from one drawn number, 0 for the
plainest spelling, so that examples shrink to something that can be read.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from typing import Any, NamedTuple

from hypothesis import strategies as st

from . import oracle

# Stands for bytes that are no UTF-8 while a document is still text.
_BROKEN = "\uf8ff"
_BROKEN_BYTES = b"\xe2\x82"

WORDS = (
    "a", "b", "ab", "ba", "aba", "The", " user", "The user", " ", "\n", "é", "想", "😀",
    "\ud83d", "\ude00", '"', "\\", "/", "<b>", "</think>", "\x00", "\x7f", "\u2028", "\x85",
    '{"reasoning":null}', "[DONE]", "data: x", _BROKEN, "x" * 70,
)  # fmt: skip
NUMBERS = (
    "0", "-0", "1", "1.50", "1E+2", "0.1e-7", "5e-324", "1e400", "9223372036854775808",
    "18446744073709551616", "123456789012345678901234567890", "NaN", "-Infinity", "-1.0",
)  # fmt: skip
LOOKALIKES = (
    "internalReasoning", "reasoning_tokens", "reasoning_encrypted", "Reasoning", "reasonin",
    "reasonings", "reasoning ", "reasoning_opaque", "thinking_", "text", "summary", "",
)  # fmt: skip
OTHER_KEYS = ("role", "refusal", "x")
ENDS = ("\n", "\r\n", "\r")
# What content is cut from where delimiters are looked for: whole ones, parts, and code.
TAG_WORDS = (
    "<think>", "</think>", "<think", "<th", "ink>", "</", "<", ">", "<think/>", "<think />",
    "<think:ab>", "</think:ab>", "<reasoning>", "</reasoning>", "<thought>", "</thought>", "</thou",
    "<|channel|>analysis<|message|>", "<|channel|>final<|message|>", "<|end|>", "<|return|>",
    "<|start|>assistant<|channel|>final<|message|>", "<|channel>thought", "<channel|>",
    "thought\n", "analysisThe", "assistantfinal", "[THINK]", "[/THINK]", "<tool_call>", "`", "```",
    "\n", " ", "\t", "a", "B", "é", "😀", "◁think▷", "◁/think▷", "<|", "x < y",
)  # fmt: skip
MODELS = ("gpt-oss-120b", "gemma-4", "m", "", None)


class Number(str):
    """A number in the spelling that it has on the wire."""

    __slots__ = ()


class Members(tuple[tuple[str, Any], ...]):
    """The members of an object in order; a name may occur twice."""

    __slots__ = ()


class Sent(NamedTuple):
    """A stream, event by event.

    Attributes:
        events: The bytes of each event with the lines around it.
        tail: What follows the last event: ``[DONE]``, or nothing.
    """

    events: tuple[bytes, ...]
    tail: bytes

    @property
    def raw(self) -> bytes:
        return b"".join(self.events) + self.tail


# Values. ------------------------------------------------------------------------------

texts = st.one_of(
    st.sampled_from(WORDS),
    st.lists(st.sampled_from(WORDS), max_size=3).map("".join),
    st.text(max_size=5),
)
numbers = st.sampled_from(NUMBERS).map(Number)
scalars = st.one_of(st.none(), st.booleans(), numbers, texts)
nothings = st.sampled_from((None, ""))


def _members(**values: st.SearchStrategy[Any]) -> st.SearchStrategy[Members]:
    """Objects with some of these members, in any order."""
    pairs = [st.tuples(st.just(key), value) for key, value in values.items()]
    return st.lists(st.one_of(pairs), max_size=len(pairs)).map(Members)


def _nested(depth: int) -> Any:
    value: Any = "a"
    for at in range(depth):
        value = [value] if at % 2 else Members((("reasoning", value),))
    return value


junk: st.SearchStrategy[Any] = st.one_of(
    scalars,
    st.lists(scalars, max_size=2),
    _members(reasoning=scalars, text=scalars, x=scalars),
    st.integers(1, 40).map(_nested),
)
_pieces = st.lists(
    st.one_of(
        _members(type=st.just("summary_text"), text=st.one_of(texts, scalars)),
        texts.map(lambda text: Members((("text", text),))),
        scalars,
    ),
    max_size=3,
)
objects = st.one_of(
    texts.map(lambda text: Members((("text", text),))),
    texts.map(lambda text: Members((("content", text),))),
    _members(
        text=st.one_of(texts, junk),
        content=st.one_of(texts, junk),
        summary=st.one_of(_pieces, junk),
        signature=st.one_of(nothings, texts),
        type=st.just("reasoning"),
        index=numbers,
        effort=st.just("high"),
    ),
)
_kinds = st.sampled_from(("reasoning.text", "reasoning.summary", "reasoning.encrypted", None, ""))
_parts = st.one_of(
    texts.map(lambda text: Members((("type", "reasoning.text"), ("text", text)))),
    _members(
        type=_kinds,
        text=st.one_of(texts, scalars),
        summary=st.one_of(texts, scalars),
        data=texts,
        signature=texts,
        index=numbers,
    ),
    junk,
)
_blocks = st.one_of(
    texts.map(lambda text: Members((("type", "thinking"), ("thinking", text)))),
    _members(type=st.just("redacted_thinking"), data=texts, thinking=scalars, signature=texts),
    junk,
)
_fields = _members(reasoning_content=st.one_of(texts, scalars), thinking_blocks=junk, x=junk)
_content_blocks = _members(index=numbers, delta=_members(thinking=st.one_of(texts, scalars)))
NESTED: dict[str, st.SearchStrategy[Any]] = {
    "reasoning_details": st.lists(_parts, max_size=3),
    "thinking_blocks": st.lists(_blocks, max_size=3),
    "provider_specific_fields": _fields,
    "content_blocks": st.lists(_content_blocks, max_size=2),
}

# Contents, flags and tool calls. --------------------------------------------------------

tagged = st.lists(st.sampled_from(TAG_WORDS), max_size=5).map("".join)
_thoughts = st.one_of(
    texts,
    st.lists(
        st.one_of(
            texts.map(lambda text: Members((("type", "text"), ("text", text)))),
            _members(type=st.just("text"), text=scalars, signature=scalars, x=junk),
            scalars,
        ),
        max_size=3,
    ),
    junk,
)
_content_parts = st.one_of(
    texts.map(lambda text: Members((("type", "text"), ("text", text)))),
    tagged.map(lambda text: Members((("type", "text"), ("text", text)))),
    _thoughts.map(lambda value: Members((("type", "thinking"), ("thinking", value)))),
    _thoughts.map(lambda value: Members((("type", "reasoning"), ("summary", value)))),
    _members(
        type=st.sampled_from(("text", "thinking", "reasoning", "image_url", None, 1)),
        text=_thoughts,
        thinking=_thoughts,
        summary=_thoughts,
        signature=texts,
        closed=scalars,
        index=numbers,
        image_url=junk,
    ),
    scalars,
    junk,
)
contents = st.one_of(
    texts, tagged, tagged, tagged, st.none(), st.lists(_content_parts, max_size=4), junk
)
flags = st.sampled_from((True, True, "true", False, None, "True", 1)).map(
    lambda value: Members((("google", Members((("thought", value), ("x", 1)))),))
)
_calls = st.one_of(
    _members(
        index=st.sampled_from(tuple(map(Number, ("0", "0", "1", "2", "-1", "1.0", "99999")))),
        id=st.sampled_from(("a", "b", "", None)),
        type=st.just("function"),
        function=_members(
            name=st.sampled_from(("f", "g", "", None)),
            arguments=st.one_of(st.sampled_from(("", "{", "}", "{}")), junk),
        ),
        extra_content=junk,
    ),
    _members(index=junk, id=junk, function=st.one_of(junk, _members(name=junk, arguments=junk))),
    junk,
)
tool_calls = st.one_of(st.lists(_calls, max_size=3), st.lists(_calls, max_size=3), junk)

# Members of a delta. ------------------------------------------------------------------

_text_members = st.tuples(
    st.sampled_from(oracle.REASONING_KEYS), st.one_of(texts, nothings, objects, junk)
)
_nested_members = st.sampled_from(oracle.NESTED_KEYS).flatmap(
    lambda key: st.tuples(st.just(key), st.one_of(NESTED[key], nothings, junk))
)
_other_members = st.tuples(st.sampled_from((*OTHER_KEYS, *LOOKALIKES)), junk)
_plain_members = st.tuples(st.just("content"), st.one_of(texts, st.none()))
_said_members = st.one_of(
    st.tuples(st.just("content"), contents),
    st.tuples(st.just("content"), contents),
    st.tuples(st.just("tool_calls"), tool_calls),
    st.tuples(st.just("extra_content"), st.one_of(flags, flags, junk)),
)
_field_members = st.one_of(_text_members, _text_members, _nested_members, _other_members)
_any_member = st.one_of(_said_members, _field_members)


@st.composite
def _delta_members(draw: st.DrawFn, member: st.SearchStrategy[tuple[str, Any]]) -> Members:
    drawn: st.SearchStrategy[tuple[str, Any]] = st.one_of(member, _plain_members)
    pairs = draw(st.lists(drawn, max_size=4))
    # A text that two sources share, or that one repeats later, is what the rules are about.
    shares = draw(st.booleans())
    if shares:
        shared = draw(texts)
        pairs = [(k, shared) if isinstance(v, str) and v else (k, v) for k, v in pairs]
    if draw(st.integers(0, 7)):
        pairs = list(dict(pairs).items())
    return Members(pairs)


deltas = _delta_members(_any_member)
# Those in which only members of their own can hold reasoning: no lists, no flags, no calls.
field_deltas = _delta_members(_field_members)
untouched_deltas = _delta_members(_other_members)
_indexes = st.sampled_from(tuple(map(Number, ("0", "0", "0", "1", "2", "-1", "1e0", "99999"))))
_finishes = st.sampled_from((None, None, "stop", "length", "null", ""))


@st.composite
def _choices(draw: st.DrawFn, delta: st.SearchStrategy[Any]) -> Members:
    pairs: list[tuple[str, Any]] = [("delta", draw(delta))]
    if draw(st.integers(0, 7)):
        pairs.append(("index", draw(_indexes)))
    if draw(st.booleans()):
        pairs.append(("finish_reason", draw(_finishes)))
    if not draw(st.integers(0, 5)):
        name = draw(st.sampled_from(("logprobs", "reasoning", "delta")))
        # A second delta counts instead of the first: it is drawn as deltas are.
        pairs.append((name, draw(delta if name == "delta" else junk)))
    if not draw(st.integers(0, 5)):
        pairs[0] = ("message", pairs[0][1])
    return Members(draw(st.permutations(pairs)))


def documents_of(delta: st.SearchStrategy[Any]) -> st.SearchStrategy[Members]:
    """Chunks whose deltas are drawn from *delta*, and other objects that a stream may hold."""
    choice = _choices(delta)
    listed = st.lists(st.one_of(choice, choice, choice, junk), min_size=1, max_size=3)
    more = st.sampled_from(("id", "usage", "type", "reasoning", "object"))
    field = st.one_of(st.tuples(more, junk), st.tuples(st.just("model"), st.sampled_from(MODELS)))
    fields = st.lists(field, max_size=2)
    return st.one_of(
        choice.map(lambda one: Members((("choices", [one]),))),
        st.tuples(fields, listed, fields).map(
            lambda parts: Members((*parts[0], ("choices", parts[1]), *parts[2]))
        ),
        st.tuples(fields, junk).map(lambda parts: Members((*parts[0], ("choices", parts[1])))),
    )


# Spelling. ----------------------------------------------------------------------------


def spell(value: Any, seed: int, *, lines: bool = False) -> bytes:
    """Write a value as JSON; *seed* decides about escapes and white space."""
    chance = random.Random(seed)
    spaces = (" ", "  ", "\t", "", "", "\n" if lines else "")

    def space() -> str:
        return chance.choice(spaces) if seed else ""

    def string(text: str) -> str:
        made = json.dumps(text, ensure_ascii=bool(seed) and chance.random() < 0.3)
        if not seed:
            return made
        for plain, escaped in (("/", "\\/"), ("<", "\\u003c"), ("a", "\\u0061"), ("i", "\\u0069")):
            if chance.random() < 0.1 and "\\" not in made:
                made = made.replace(plain, escaped, 1)
        return made

    def write(item: Any) -> str:
        if isinstance(item, Number):
            return str(item)
        if isinstance(item, Members):
            pairs = [f"{string(k)}{space()}:{space()}{write(v)}" for k, v in item]
            return "{" + space() + f"{space()},{space()}".join(pairs) + space() + "}"
        if isinstance(item, list):
            return "[" + space() + f"{space()},{space()}".join(map(write, item)) + "]"
        return string(item) if isinstance(item, str) else json.dumps(item)

    # Lone surrogates can only be sent as escapes.
    text = write(value).encode("utf-8", "backslashreplace")
    return text.replace(_BROKEN.encode(), _BROKEN_BYTES)


@st.composite
def events_of(draw: st.DrawFn, document: st.SearchStrategy[Any]) -> bytes:
    """One event with a document, in one of the ways in which servers write them."""
    seed = draw(st.integers(0, 5))
    chance = random.Random(seed)
    ends: Callable[[], str] = (lambda: chance.choice(ENDS)) if seed > 3 else lambda: "\n"
    name = draw(st.sampled_from(("data: ", "data: ", "data:"))) if seed else "data: "
    lines = [": keep-alive", "event: message", "id: 1", "retry: 5", "foo: bar", ":", "foo"]
    before = [chance.choice(lines)] if seed and chance.random() < 0.4 else []
    after = [chance.choice(lines)] if seed and chance.random() < 0.2 else []
    data = spell(draw(document), seed, lines=seed == 5)
    made = b"".join(line.encode() + ends().encode() for line in before)
    for line in data.split(b"\n"):
        made += name.encode() + line + ends().encode()
    made += b"".join(line.encode() + ends().encode() for line in after)
    # A CR and the LF of a blank line would be one line end, and no end of the event.
    blank = ends().encode()
    return made + (b"\r\n" if made.endswith(b"\r") and blank == b"\n" else blank)


_tails = st.sampled_from((b"data: [DONE]\n\n", b"data:[DONE]", b"", b": bye\n\n", b"\n\n"))


def streams_of(document: st.SearchStrategy[Any]) -> st.SearchStrategy[Sent]:
    """Streams of such documents."""
    return st.builds(Sent, st.lists(events_of(document), min_size=1, max_size=5).map(tuple), _tails)


documents = documents_of(deltas)

# Bodies that break the rules, each in a way that somebody was seen to break them. No oracle
# reads them: what is asked is that the engines agree, and that the cuts do not matter.
_errors = _members(
    error=st.one_of(junk, texts),
    type=st.sampled_from(("error", "response.failed", "message-end", "ping")),
    object=st.just("error"),
    detail=st.one_of(texts, junk),
    message=st.one_of(texts, junk),
    msg=texts,
    code=st.one_of(numbers, st.sampled_from(("", "0", "OK", "Throttling", None))),
    status=st.sampled_from((Number("404"), Number("200"), "error", "completed")),
    success=st.booleans(),
    errors=junk,
    choices=st.sampled_from((None, [])),
    base_resp=_members(status_code=numbers),
)
_answers = st.tuples(
    st.lists(
        _members(message=deltas, finish_reason=_finishes, index=_indexes, logprobs=junk),
        min_size=1,
        max_size=2,
    ),
    _members(object=st.just("chat.completion"), usage=junk, error=st.one_of(st.none(), texts)),
).map(lambda parts: Members((*parts[1], ("choices", parts[0]))))
_frames = st.tuples(st.one_of(documents, _errors, _answers), st.integers(0, 5)).map(
    lambda pair: spell(pair[0], pair[1], lines=True)
)
_odd_lines = st.sampled_from(
    (b"error: ", b'error: {"message":"m"}\n', b"event: error\n", b"<html>\n", b"\n", b"data: ",
     b"data: data: ", b"data: [DONE]", b"[DONE]", b"\x1f\x8b\x08", b"x\x9c", b"(\xb5/", b"\0",
     b"\xff")
)  # fmt: skip
_broken_pieces = st.one_of(
    _frames.map(lambda frame: b"data: " + frame.replace(b"\n", b"\ndata: ") + b"\n\n"),
    _frames.map(lambda frame: b"data: " + frame.replace(b"\n", b" ")),
    st.tuples(_frames, st.integers(1, 40)).map(lambda pair: b"data: " + pair[0][: pair[1]]),
    _frames,
    _odd_lines,
)
broken_streams = st.lists(_broken_pieces, min_size=1, max_size=6).map(b"".join)
streams = streams_of(documents)
field_streams = streams_of(documents_of(field_deltas))
untouched_streams = streams_of(documents_of(untouched_deltas))
_keys = {
    "reasoning": st.sampled_from(("reasoning_content", "reasoning", "both")),
    "keep_original": st.booleans(),
}
_repairs = st.lists(
    st.sampled_from(
        (
            "missing_index",
            "shared_index",
            "empty_id",
            "empty_name",
            "repeated_id",
            "repeated_name",
            "object_arguments",
        )
    ),
    unique=True,
).map(tuple)
_reading = {
    "tag_names": st.sampled_from(
        (None, None, ("think",), ("thought", "harmony"), (("<", ">"),), ("gemma label", "think"))
    ),
    "starts_in_reasoning": st.booleans(),
    "trim_tags": st.booleans(),
    "repairs": st.one_of(st.none(), _repairs),
}
_modes = st.sampled_from(("anchored", "anchored", "free", "off"))
# Options that change no number of chunks and look for no delimiters.
field_options = st.fixed_dictionaries({"tags": st.just("off")}, optional={**_keys, **_reading})
# Options that change no number of chunks, but for one at the end.
in_place_options = st.fixed_dictionaries({}, optional={**_keys, **_reading, "tags": _modes})
options = st.fixed_dictionaries(
    {},
    optional={
        **_keys,
        **_reading,
        "tags": _modes,
        "split_mixed": st.booleans(),
        "finish": st.sampled_from(("as_sent", "last")),
    },
)
