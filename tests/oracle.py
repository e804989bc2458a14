"""An independent, straightforward reading of streams: nothing here comes from the package.

It is slow and plain on purpose. Where it and the package disagree, one of them is wrong.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from . import tag_oracle

# Keys in which a rule may change something. All else must leave as it came.
TARGET = "reasoning_content"
ALIASES = ("reasoning", "reasoning_text", "thinking")
REASONING_KEYS = (TARGET, *ALIASES)
NESTED_KEYS = (
    "reasoning_details",
    "thinking_blocks",
    "provider_specific_fields",
    "content_blocks",
)
# Keys in which content is said; the second holds the parts of a list that are no text.
SAID_KEYS = ("content", "content_parts", "tool_calls")
# Members that every chunk of a stream repeats.
_ENVELOPE = (
    "id", "object", "created", "model", "provider", "system_fingerprint", "service_tier",
)  # fmt: skip
# Values of a finish_reason that say that nothing is finished.
_OPEN = ("", "null")


def blocks(raw: bytes) -> list[list[bytes]]:
    """The ``data`` values of each event, by the standard; the last needs no blank line."""
    found: list[list[bytes]] = []
    values: list[bytes] = []
    for line in [*re.split(rb"\r\n|\r|\n", raw.removeprefix(b"\xef\xbb\xbf")), b""]:
        name, _, value = line.partition(b":")
        if name == b"data":
            values.append(value.removeprefix(b" "))
        elif not line and values:
            found.append(values)
            values = []
    return found


def texts(raw: bytes) -> list[bytes]:
    """The JSON documents of a stream as they stand in its bytes, up to ``[DONE]``."""
    if raw.lstrip()[:1] in (b"{", b"["):
        whole = _document(raw)
        return [raw] if isinstance(whole, dict) else [*_until_done(raw.splitlines())]
    found: list[bytes] = []
    for values in blocks(raw):
        joined = b"\n".join(values)
        if len(values) > 1 and _document(joined) is None:
            # Events that one line end separates, not two: each line is a document.
            found += _until_done(values)
        elif joined.strip():
            found.append(joined)
        if any(value.lstrip().startswith(b"[DONE]") for value in values):
            break
    return [*_until_done(found)]


def documents(raw: bytes) -> list[Any]:
    """The parsed documents of a stream, up to ``[DONE]``."""
    return [_document(text) for text in texts(raw)]


def at(document: Any, path: tuple[str, ...]) -> Any:
    """What stands at *path* of a document; None where nothing does."""
    for step in path:
        document = document.get(step) if isinstance(document, dict) else None
    return document


def spelled(value: Any) -> str:
    """A value in one spelling, NaN and the order of members included."""
    return json.dumps(value)


def meant(value: Any) -> str:
    """A value in one spelling, equal where ``==`` finds it equal (and NaN equals NaN).

    The order of members is no part of it: where a name occurs twice, ``json.loads`` keeps
    the place of the first, of which edited bytes may have got rid.
    """
    return json.dumps(value, sort_keys=True)


def deltas(document: Any) -> Iterator[tuple[int, Any, dict[str, Any]]]:
    """(index, finish_reason, delta or message) of every choice that has one."""
    choices = document.get("choices") if isinstance(document, dict) else None
    for position, choice in enumerate(choices if isinstance(choices, list) else []):
        if not isinstance(choice, dict):
            continue
        delta = choice.get("delta" if "delta" in choice else "message")
        if isinstance(delta, dict):
            index = choice.get("index")
            if isinstance(index, bool) or not isinstance(index, int):
                index = position
            yield index, choice.get("finish_reason"), delta


def is_completion(document: Any) -> bool:
    """Whether a document is a whole completion: every choice has a message and no delta."""
    choices = document.get("choices") if isinstance(document, dict) else None
    return isinstance(choices, list) and len(choices) > 0 and all(map(_is_answer, choices))


def streamed(documents_of: list[Any]) -> list[Any]:
    """*documents_of* with each whole completion as the chunks that say the same.

    One that comes behind deltas says again what they said, and stays as it is.
    """
    made: list[Any] = []
    has_deltas = False
    for document in documents_of:
        choices = document.get("choices") if isinstance(document, dict) else None
        for choice in choices if isinstance(choices, list) else []:
            has_deltas = has_deltas or (isinstance(choice, dict) and "delta" in choice)
        whole = is_completion(document) and not has_deltas
        made += _chunks(document) if whole else [document]
    return made


def _is_answer(choice: Any) -> bool:
    is_object = isinstance(choice, dict) and isinstance(choice.get("message"), dict)
    return is_object and "delta" not in choice


def _chunks(completion: dict[str, Any]) -> list[Any]:
    kind = {"object": "chat.completion.chunk"}
    top = {**completion, **kind} if "object" in completion else {**kind, **completion}
    late = {"usage": top.pop("usage")} if top.get("usage") is not None else {}
    if top.get("error"):
        late["error"] = top.pop("error")
    envelope = {key: top[key] for key in top if key in _ENVELOPE}
    first, ends = [], []
    for choice in completion["choices"]:
        opened = {"delta" if key == "message" else key: choice[key] for key in choice}
        calls = opened["delta"].get("tool_calls")
        if isinstance(calls, list):
            numbered = [_numbered(call, n) for n, call in enumerate(calls)]
            opened["delta"] = {**opened["delta"], "tool_calls": numbered}
        if isinstance(choice.get("finish_reason"), str) and choice["finish_reason"] not in _OPEN:
            opened["finish_reason"] = None
            end = {"delta": {}, "finish_reason": choice["finish_reason"]}
            ends.append({"index": choice["index"], **end} if "index" in choice else end)
        first.append(opened)
    made = [{**top, "choices": first}]
    made += [{**envelope, "choices": ends}] if ends else []
    return [*made, {**envelope, "choices": [], **late}] if late else made


def _numbered(call: Any, position: int) -> Any:
    if not isinstance(call, dict):
        return call
    index = call.get("index")
    if isinstance(index, int) and not isinstance(index, bool):
        return call
    return {**call, "index": position} if "index" in call else {"index": position, **call}


def joined(chunks: list[Any], key: str) -> dict[int, str]:
    """The text under *key* of each choice, joined."""
    whole: dict[int, str] = {}
    for chunk in chunks:
        for index, _, delta in deltas(chunk):
            if isinstance(delta.get(key), str) and delta[key]:
                whole[index] = whole.get(index, "") + delta[key]
    return whole


def found_text(delta: dict[str, Any]) -> str:
    """The reasoning of one delta by the order of sources 1 to 7, without any state."""
    for key in REASONING_KEYS:
        if isinstance(delta.get(key), str) and delta[key]:
            return str(delta[key])
    for key in (TARGET, "reasoning"):
        text = _of_object(delta.get(key))
        if text:
            return text
    text = ""
    for item in _dicts(delta.get("reasoning_details")):
        wanted = {"reasoning.text": "text", "reasoning.summary": "summary"}.get(_str(item, "type"))
        text += _str(item, wanted) if wanted else ""
    if text:
        return text
    text = "".join(_str(item, "thinking") for item in _dicts(delta.get("thinking_blocks")))
    if text:
        return text
    text = _str(delta.get("provider_specific_fields"), TARGET)
    if text:
        return text
    return "".join(
        _str(block.get("delta"), "thinking") for block in _dicts(delta.get("content_blocks"))
    )


def joined_reasoning(documents_of: list[Any]) -> dict[int, str]:
    """The reasoning of each choice, read without any state."""
    whole: dict[int, str] = {}
    for document in documents_of:
        for index, _, delta in deltas(document):
            text = found_text(delta)
            if text:
                whole[index] = whole.get(index, "") + text
    return whole


def heard(documents_of: list[Any], **options: Any) -> tuple[dict[int, str], dict[int, str]]:
    """The reasoning and the answer of each choice, read without any state but what was flagged.

    A choice whose reasoning is in members or parts of its own has no delimiters.
    """
    reasoning: dict[int, str] = {}
    content: dict[int, str] = {}
    flagged: set[int] = set()
    model = ""
    for document in documents_of:
        model = _str(document, "model") or model
        for index, _, delta in deltas(document):
            thought, answer = _content_of(delta.get("content"))
            thought = found_text(delta) or thought
            if is_flagged(delta):
                flagged.add(index)
                thought, answer = answer.removeprefix("<thought>"), ""
                if "</thought>" in thought:
                    thought, _, answer = thought.partition("</thought>")
                    answer = answer.lstrip(tag_oracle.SPACE)
            elif index in flagged and answer:
                flagged.discard(index)
                answer = answer.removeprefix("</thought>").lstrip(tag_oracle.SPACE)
            reasoning[index] = reasoning.get(index, "") + thought
            content[index] = content.get(index, "") + answer
    for index, text in content.items():
        if not reasoning[index]:
            found = tag_oracle.read(text, model=model, **options)
            reasoning[index], content[index] = found
    return _said(reasoning), _said(content)


def is_flagged(delta: dict[str, Any]) -> bool:
    """Whether all of a delta's content is a thought, by Google's flag."""
    extra = delta.get("extra_content")
    google = extra.get("google") if isinstance(extra, dict) else None
    flag = google.get("thought") if isinstance(google, dict) else None
    return flag is True or flag == "true"


def is_said_plainly(documents_of: list[Any]) -> bool:
    """Whether no content is a list, flagged, or looks as if it began with a delimiter."""
    first: dict[int, str] = {}
    for document in documents_of:
        for index, _, delta in deltas(document):
            content = delta.get("content")
            if isinstance(content, list) or is_flagged(delta):
                return False
            first[index] = first.get(index, "") + (content if isinstance(content, str) else "")
    return not any(text.lstrip().startswith(("<", "[", "◁")) for text in first.values())


def without_reasoning(document: Any) -> Any:
    """*document* without the members that a rule may touch, the order of the rest kept."""
    if not isinstance(document, dict) or not isinstance(document.get("choices"), list):
        return document
    return {**document, "choices": [_bare(choice) for choice in document["choices"]]}


def without_said(document: Any) -> Any:
    """As `without_reasoning`, without contents and tool calls too."""
    bare = without_reasoning(document)
    if bare is document:
        return bare
    return {**bare, "choices": [_silent(choice) for choice in bare["choices"]]}


def left_aliases(delta: dict[str, Any]) -> list[str]:
    """Alias keys of a normal form delta that are text, null or empty."""
    return [
        key
        for key in ALIASES
        if key in delta and (delta[key] is None or isinstance(delta[key], str))
    ]


def _bare(choice: Any) -> Any:
    if not isinstance(choice, dict):
        return choice
    name = "delta" if "delta" in choice else "message"
    if not isinstance(choice.get(name), dict):
        return choice
    kept = {key: value for key, value in choice[name].items() if key not in REASONING_KEYS}
    return {**choice, name: kept}


def _content_of(content: Any) -> tuple[str, str]:
    """(the thoughts, the answer) of a content: a string, or a list of parts."""
    if not isinstance(content, list):
        return "", content if isinstance(content, str) else ""
    thought = answer = ""
    for part in content:
        kind = _str(part, "type")
        if isinstance(part, str) or kind == "text":
            answer += part if isinstance(part, str) else _text_of(part["text"])
        elif kind in ("thinking", "reasoning"):
            thought += _text_of(part.get({"thinking": "thinking"}.get(kind, "summary")))
    return thought, answer


def _text_of(value: Any) -> str:
    """A string, or the joined texts of a list."""
    if isinstance(value, list):
        return "".join(one if isinstance(one, str) else _str(one, "text") for one in value)
    return value if isinstance(value, str) else ""


def _said(texts_of: dict[int, str]) -> dict[int, str]:
    return {index: text for index, text in texts_of.items() if text}


def _silent(choice: Any) -> Any:
    name = "delta" if isinstance(choice, dict) and "delta" in choice else "message"
    if not isinstance(choice, dict) or not isinstance(choice.get(name), dict):
        return choice
    kept = {key: value for key, value in choice[name].items() if key not in SAID_KEYS}
    return {**choice, name: kept}


def _until_done(values: list[bytes]) -> Iterator[bytes]:
    for value in values:
        if value.lstrip().startswith(b"[DONE]"):
            return
        if value.strip():
            yield value


def _document(text: bytes) -> Any:
    try:
        return json.loads(text.decode("utf-8", "replace"))
    except (ValueError, RecursionError):
        return None


def _of_object(value: Any) -> str:
    if not isinstance(value, dict):
        return ""
    for key in ("text", "content"):
        if _str(value, key):
            return _str(value, key)
    return "".join(_str(item, "text") for item in _dicts(value.get("summary")))


def _dicts(value: Any) -> list[dict[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _str(value: Any, key: str) -> str:
    found = value.get(key) if isinstance(value, dict) else None
    return found if isinstance(found, str) else ""
