"""The streams that are measured, each made together with what must come out of it.

They are constructed, not recorded: a case differs from the others in the one branch that
it is named for, and the same seed gives the same bytes on every machine.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from functools import cache
from typing import Final, NamedTuple

SEED: Final = 20_260_901
# Of a stream that is measured, and of one that is only run for its result or is read byte
# by byte by the pure engine.
FULL: Final = 2_000
SHORT: Final = 60

DONE: Final = "[DONE]"
# The members of a delta, in order; the values are JSON.
Delta = dict[str, str]

_HUGE_BYTES_PER_EVENT: Final = 256
_LONG_TEXT: Final = 4096
_PLAIN: Final = (
    " the", " of", " so", " a", " is", " that", " we", " check", " value", " therefore",
    " function", " because", " it", " number", " each", "ing", ",", ".", " 17", " x", " (",
)  # fmt: skip
# What makes a reader leave its fast path: escapes, and characters of 2, 3 and 4 bytes.
_RARE: Final = (".\n\n", "\n", ' "yes"', " \\frac", " naïve", " – no", " 思考", " 🙂")
_WORDS: Final = _PLAIN * 4 + _RARE


class Texts(NamedTuple):
    """What a stream says in one choice, joined."""

    reasoning: str
    content: str
    arguments: str


class Case(NamedTuple):
    """One stream and what must come out of it.

    Attributes:
        name: The branch that it exercises; see `CASES`.
        stream: The bytes to be fed.
        normal: The same in normal form.
        separator: What ends an event, for a reader that knows no other.
        documents: The JSON texts of its events, without the closing mark.
        texts: What each choice says, by index.
    """

    name: str
    stream: bytes
    normal: bytes
    separator: bytes
    documents: tuple[str, ...]
    texts: dict[int, Texts]

    @property
    def events(self) -> int:
        """How many events carry a document."""
        return len(self.documents)


class Event(NamedTuple):
    """One event to be built: a choice, its delta as sent and in normal form, its texts."""

    sent: Delta
    normal: Delta
    reasoning: str = ""
    content: str = ""
    arguments: str = ""
    choice: int = 0
    before: str = ""


class Builder(NamedTuple):
    """How a case is made: its events, what ends a line, and the words about it."""

    events: Callable[[random.Random, int], Iterator[Event]]
    what: str
    end: str = "\n"


def make(name: str, count: int = FULL) -> Case:
    """The case of that name, with about *count* events; the same object every time."""
    return _make(name, count)


@cache
def _make(name: str, count: int) -> Case:
    builder = CASES[name]
    # Seeded by the name as well: the cases do not change when one is added between them.
    chance = random.Random(f"{SEED} {name}")
    sent: list[str] = []
    normal: list[str] = []
    documents: list[str] = []
    said: dict[int, tuple[list[str], list[str], list[str]]] = {}
    identity = f"gen-1789000000-{chance.getrandbits(64):016x}"
    for event in [*builder.events(chance, count)]:
        document = _document(identity, event.choice, event.sent)
        documents.append(document)
        sent.append(f"{event.before}data: {document}\n\n")
        normal.append(f"{event.before}data: {_document(identity, event.choice, event.normal)}\n\n")
        lists = said.setdefault(event.choice, ([], [], []))
        for pieces, text in zip(lists, event[2:5], strict=True):
            pieces.append(text)
    for index in said:
        documents.append(_document(identity, index, {}, '"stop"'))
        sent.append(f"data: {documents[-1]}\n\n")
        normal.append(sent[-1])
    for whole in sent, normal:
        whole.append(f"data: {DONE}\n\n")
    return Case(
        name,
        "".join(sent).replace("\n", builder.end).encode(),
        "".join(normal).replace("\n", builder.end).encode(),
        (builder.end * 2).encode(),
        tuple(documents),
        {index: Texts(*("".join(pieces) for pieces in lists)) for index, lists in said.items()},
    )


def _document(identity: str, index: int, delta: Delta, finish: str = "null") -> str:
    members = ",".join(f'"{key}":{value}' for key, value in delta.items())
    return (
        f'{{"id":"{identity}","object":"chat.completion.chunk","created":1789000000,'
        f'"model":"example/reasoner-32b","system_fingerprint":"fp_5ca1ab1e",'
        f'"choices":[{{"index":{index},"delta":{{{members}}},"logprobs":null,'
        f'"finish_reason":{finish}}}]}}'
    )


def _json(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _piece(chance: random.Random) -> str:
    return "".join(chance.choices(_WORDS, k=chance.randint(1, 3)))


def _long_piece(chance: random.Random, length: int) -> str:
    return "".join(chance.choices(_WORDS, k=length // 4)).ljust(length, ".")[:length]


def _said(text: str, index: int = 0) -> Event:
    delta = {"content": _json(text)}
    return Event(delta, delta, content=text, choice=index)


def _content(chance: random.Random, index: int = 0) -> Event:
    return _said(_piece(chance), index)


def _renamed(chance: random.Random, index: int = 0) -> Event:
    text = _piece(chance)
    sent, normal = {"reasoning": _json(text)}, {"reasoning_content": _json(text)}
    return Event(sent, normal, reasoning=text, choice=index)


def _thinks_first(count: int) -> Iterator[bool]:
    """Whether each event is reasoning: the first 60 % are."""
    return (n < count * 6 // 10 for n in range(count))


def _rename(chance: random.Random, count: int) -> Iterator[Event]:
    for thinks in _thinks_first(count):
        yield _renamed(chance) if thinks else _content(chance)


def _declined(chance: random.Random, count: int) -> Iterator[Event]:
    for thinks in _thinks_first(count):
        if not thinks:
            yield _content(chance)
            continue
        text = _piece(chance)
        sent = {"reasoning_content": f'{{"text":{_json(text)}}}'}
        yield Event(sent, {"reasoning_content": _json(text)}, reasoning=text)


def _details(text: str) -> str:
    return f'[{{"type":"reasoning.text","text":{_json(text)},"format":"unknown","index":0}}]'


def _mirror_and_details(chance: random.Random, count: int) -> Iterator[Event]:
    for thinks in _thinks_first(count):
        if not thinks:
            yield _content(chance)
            continue
        text = _piece(chance)
        head = {"role": '"assistant"', "content": '""'}
        tail = {"reasoning_details": _details(text)}
        sent = {**head, "reasoning": _json(text), **tail}
        yield Event(sent, {**head, "reasoning_content": _json(text), **tail}, reasoning=text)


def _details_only(chance: random.Random, count: int) -> Iterator[Event]:
    for thinks in _thinks_first(count):
        if not thinks:
            yield _content(chance)
            continue
        text = _piece(chance)
        sent = {"reasoning_details": _details(text)}
        yield Event(sent, {"reasoning_content": _json(text), **sent}, reasoning=text)


def _nothing_to_do(chance: random.Random, count: int) -> Iterator[Event]:
    for _ in range(count):
        yield _content(chance)


def _null_alias(chance: random.Random, count: int) -> Iterator[Event]:
    for event in _nothing_to_do(chance, count):
        yield event._replace(sent={**event.sent, "reasoning": "null"})


def _tool_calls(chance: random.Random, count: int) -> Iterator[Event]:
    for _ in range(count):
        text = _piece(chance)
        call = f'[{{"index":0,"function":{{"arguments":{_json(text)}}}}}]'
        delta = {"tool_calls": call}
        yield Event(delta, delta, arguments=text)


def _long_text(chance: random.Random, count: int) -> Iterator[Event]:
    # As many bytes as in the other cases, hence fewer events.
    for _ in range(max(4, count // 14)):
        text = _long_piece(chance, _LONG_TEXT)
        delta = {"content": _json(text)}
        yield Event(delta, delta, content=text)


def _keepalive(chance: random.Random, count: int) -> Iterator[Event]:
    for n, event in enumerate(_rename(chance, count)):
        yield event._replace(before=": PROCESSING\n\n") if n % 2 else event


def _huge(chance: random.Random, count: int) -> Iterator[Event]:
    text = _long_piece(chance, count * _HUGE_BYTES_PER_EVENT)
    sent, normal = {"reasoning": _json(text)}, {"reasoning_content": _json(text)}
    yield Event(sent, normal, reasoning=text)


def _mark(text: str) -> Event:
    return Event({"content": _json(text)}, {"content": '""'})


def _thought(text: str) -> Event:
    sent, normal = {"content": _json(text)}, {"reasoning_content": _json(text)}
    return Event(sent, normal, reasoning=text)


def _tags(chance: random.Random, count: int) -> Iterator[Event]:
    # The delimiters stand alone, as models write them. White space right behind one would be
    # trimmed, so what follows has none.
    thoughts = count * 6 // 10
    yield _mark("<think>\n")
    yield _thought("Okay")
    for _ in range(thoughts - 3):
        yield _thought(_piece(chance))
    yield _mark("</think>\n\n")
    yield _said("So")
    for _ in range(count - thoughts - 1):
        yield _content(chance)


def _two_choices(chance: random.Random, count: int) -> Iterator[Event]:
    for n, thinks in enumerate(_thinks_first(count)):
        yield _renamed(chance, n % 2) if thinks else _content(chance, n % 2)


CASES: Final = {
    "rename": Builder(_rename, "60 % of the events have `delta.reasoning`: one key is renamed"),
    "mirror-and-details": Builder(
        _mirror_and_details, "60 % say it twice, in `reasoning` and in `reasoning_details`"
    ),
    "details-only": Builder(
        _details_only, "60 % have only `reasoning_details`: a member is inserted"
    ),
    "nothing-to-do": Builder(_nothing_to_do, "content only, and no key that a rule knows"),
    "null-alias-removed": Builder(_null_alias, "content beside `reasoning: null`, which goes"),
    "tool-calls": Builder(_tool_calls, "fragments of the arguments of a tool call"),
    "4KiB-text": Builder(_long_text, "4 KiB of content an event: scanning, not bookkeeping"),
    "comments-keepalive": Builder(_keepalive, "`rename` with a comment before every other event"),
    "one-huge-event-drip": Builder(_huge, "one event as large as another case's whole stream"),
    "crlf": Builder(_rename, "`rename` with CRLF line ends", end="\r\n"),
    "declined": Builder(_declined, "60 % objects, which Rust hands to the reference engine"),
    "tags": Builder(_tags, "60 % of the content is reasoning inside of `<think>`"),
    "two-choices": Builder(_two_choices, "`rename` for two choices in turn"),
}
