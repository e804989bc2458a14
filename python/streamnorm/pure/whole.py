"""A whole completion where a stream was asked for, made the chunks that say the same.

Servers that ignore ``stream``, and caches that have only the finished answer, send one
``chat.completion`` object. It becomes up to three chunks: the message as one delta, the
finish reasons, the usage. Every other member stays in the first of them, but for an error:
clients raise at the chunk that has one, and never show what stands beside it.
"""

from __future__ import annotations

from typing import Any, Final

from ..dialects import ENVELOPE
from . import splice
from .ends import is_finish
from .scan import Member, items, last, members, start_of

CHUNK: Final = "chat.completion.chunk"
_OBJECT: Final = f'"object":"{CHUNK}"'
_CALLS: Final = "tool_calls"
# What a report calls it.
REPAIR: Final = "whole_completion"


def is_whole(value: dict[str, Any]) -> bool:
    """Whether every choice of a document, and there is one, has a message and no delta."""
    choices = value.get("choices")
    return (
        isinstance(choices, list)
        and bool(choices)
        and all(isinstance(c, dict) and "delta" not in c for c in choices)
        and all(isinstance(choice.get("message"), dict) for choice in choices)
    )


def is_finished(value: dict[str, Any]) -> bool:
    """Whether every choice of a whole completion says why it ended."""
    return all(is_finish(choice.get("finish_reason")) for choice in value["choices"])


def documents(data: bytes, value: dict[str, Any]) -> list[bytes]:
    """The chunks of a whole completion, cut out of its bytes; each in one line.

    Args:
        data: The document.
        value: The same, parsed.
    """
    text = data.decode("utf-8", "surrogateescape")
    top = members(text, start_of(text))
    starts = items(text, last(top, "choices").start)
    late = _late(value)
    cuts = _top_cuts(text, top, late)
    ends: list[str] = []
    for choice, start in zip(value["choices"], starts, strict=True):
        found = members(text, start)
        cuts += _choice_cuts(text, found, choice)
        if is_finish(choice.get("finish_reason")):
            index = [_raw(text, last(found, "index"))] if "index" in choice else []
            reason = _raw(text, last(found, "finish_reason"))
            shown = "".join(f'"index":{number},' for number in index)
            ends.append(f'{{{shown}"delta":{{}},"finish_reason":{reason}}}')
    made = [splice.make(text, cuts)]
    head = _head(text, top)
    if ends:
        made.append(f'{head}"choices":[{",".join(ends)}]}}')
    if late:
        shown = ",".join(f'"{name}":{_raw(text, last(top, name))}' for name in late)
        made.append(f'{head}"choices":[],{shown}}}')
    return [_one_line(document).encode("utf-8", "surrogateescape") for document in made]


def chunks(value: dict[str, Any]) -> list[dict[str, Any]]:
    """As `documents`, for a completion that is a dict; it stays as it is."""
    late = _late(value)
    first = value if "object" in value else {"object": CHUNK, **value}
    first = {key: first[key] for key in first if key not in late}
    first["object"] = CHUNK
    first["choices"] = [_choice(choice) for choice in value["choices"]]
    ends = [
        {**_index(choice), "delta": {}, "finish_reason": choice["finish_reason"]}
        for choice in value["choices"]
        if is_finish(choice.get("finish_reason"))
    ]
    head = {key: first[key] for key in first if key in ENVELOPE}
    made = [first, *([{**head, "choices": ends}] if ends else [])]
    if late:
        made.append({**head, "choices": [], **{name: value[name] for name in late}})
    return made


def _late(value: dict[str, Any]) -> list[str]:
    """Members that come behind the answer."""
    usage = ["usage"] if value.get("usage") is not None else []
    return usage + (["error"] if value.get("error") else [])


def _choice(choice: dict[str, Any]) -> dict[str, Any]:
    made = {("delta" if key == "message" else key): choice[key] for key in choice}
    calls = choice["message"].get(_CALLS)
    if isinstance(calls, list):
        indexed = [_call(call, n) for n, call in enumerate(calls)]
        made["delta"] = {**choice["message"], _CALLS: indexed}
    if is_finish(choice.get("finish_reason")):
        made["finish_reason"] = None
    return made


def _call(call: Any, position: int) -> Any:
    if not isinstance(call, dict) or type(call.get("index")) is int:
        return call
    return {**call, "index": position} if "index" in call else {"index": position, **call}


def _index(choice: dict[str, Any]) -> dict[str, Any]:
    return {"index": choice["index"]} if "index" in choice else {}


def _top_cuts(text: str, top: list[Member], late: list[str]) -> list[splice.Cut]:
    """What changes in the members of the document itself."""
    start = start_of(text) + 1
    gone = {member for member in top if member.key in late}
    made = splice.removals(top, gone)
    if any(member.key == "object" for member in top):
        kind = last(top, "object")
        return [*made, (kind.start, kind.end, f'"{CHUNK}"')]
    return [(start, start, f"{_OBJECT},"), *made]


def _choice_cuts(text: str, found: list[Member], choice: dict[str, Any]) -> list[splice.Cut]:
    """What makes a choice with a message one with a delta."""
    message = last(found, "message")
    gone = {member for member in found if member.key == "message" and member is not message}
    made = splice.removals(found, gone)
    made.append((message.key_start, message.key_end, '"delta"'))
    if is_finish(choice.get("finish_reason")):
        reason = last(found, "finish_reason")
        made.append((reason.start, reason.end, "null"))
    calls = choice["message"].get(_CALLS)
    if isinstance(calls, list):
        starts = items(text, last(members(text, message.start), _CALLS).start)
        for position, (call, start) in enumerate(zip(calls, starts, strict=True)):
            if isinstance(call, dict) and type(call.get("index")) is not int:
                made.append(_index_cut(text, start, position))
    return made


def _index_cut(text: str, start: int, position: int) -> splice.Cut:
    found = members(text, start)
    if any(member.key == "index" for member in found):
        index = last(found, "index")
        return index.start, index.end, str(position)
    comma = "," if found else ""
    return start + 1, start + 1, f'"index":{position}{comma}'


def _head(text: str, top: list[Member]) -> str:
    """The start of a chunk of our own: the members that name the stream, as sent."""
    names = dict.fromkeys(member.key for member in top if member.key in ENVELOPE)
    if "object" not in names:
        names = dict.fromkeys(("object", *names))
    spans = [
        _OBJECT if name == "object" else f'"{name}":{_raw(text, last(top, name))}' for name in names
    ]
    return "{" + "".join(f"{span}," for span in spans)


def _raw(text: str, member: Member) -> str:
    return text[member.start : member.end]


def _one_line(text: str) -> str:
    """White space between members must not end the ``data`` line of an event of our own."""
    return text.replace("\n", " ").replace("\r", " ").strip()
