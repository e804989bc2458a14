"""What an error body says, whatever its shape."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

from .words import html_title, one_line

# Where providers put the status, the code and the words, by the first that is there.
# "limit_source" (OpenRouter) and "reason" (Google) are the most specific codes there are.
_STATUS_KEYS: Final = ("status_code", "statusCode", "http_code", "http_status", "status", "code")
_CODE_KEYS: Final = (
    *("limit_source", "reason", "code", "error_code", "errorcode", "Code", "status_code"),
    *("error_type", "__type", "type", "status"),
)
_MESSAGE_KEYS: Final = (
    *("message", "msg", "status_msg", "error_description", "detail", "error_msg", "errorMessage"),
    *("Message", "faultstring", "description", "title"),
)
# What holds an error inside an error, the innermost first to be believed.
_NESTED_KEYS: Final = (
    *("error", "errors", "Error", "base_resp", "fault", "response", "Response", "delta"),
    *("message", "detail", "innererror", "details", "metadata", "raw"),
)
# Objects whose words are about something else than the error (links, limits).
_WITHOUT_WORDS: Final = frozenset({"details", "metadata"})
# Values of a type or an object key that say nothing.
_NO_CODES: Final = frozenset({"error", "about:blank", "null", "none", "fail", "failed", "failure"})

_DEEPEST: Final = 8
_MOST_ITEMS: Final = 8
_LONGEST_TEXT: Final = 65_536
_LONGEST_CODE: Final = 100
_LONGEST_MESSAGE: Final = 2000

_BYTES_LITERAL: Final = re.compile(r"""\bb(["'])[\[{].*\1""", re.DOTALL)
_CUT_MESSAGE: Final = re.compile(r'"(?:message|msg|detail|error)"\s*:\s*"((?:[^"\\]|\\.)+)"')
_CUT_CODE: Final = re.compile(r'"(?:code|type)"\s*:\s*"([\w.\- ]{1,100})"')
# LiteLLM's own words before those of the upstream.
_PREFIX: Final = re.compile(
    r"(?:(?:litellm\.)?\w+(?:Error|Timeout): ?)*(?:\w+Exception - )?(?:Error code: \d+ - )?"
)


class ErrorFacts(NamedTuple):
    """What an error body says.

    Attributes:
        status: A HTTP status that it names, 400 to 599; that of the outermost object.
        codes: Pairs of a code or type and the key of the object that holds it, the most
            specific first.
        message: The upstream's words, or None.
        objects: Its objects, the innermost first: where it may say how long to wait.
    """

    status: int | None
    codes: tuple[tuple[str, str], ...]
    message: str | None
    objects: tuple[Mapping[str, Any], ...]


class _Found:
    def __init__(self) -> None:
        self.status: int | None = None
        self.codes: list[tuple[str, str]] = []
        self.messages: list[str] = []
        self.objects: list[Mapping[str, Any]] = []


def read(body: Any) -> ErrorFacts:
    """Read a parsed error body, or its text where it is none.

    Args:
        body: JSON of any shape, or text: plain, HTML, or with JSON somewhere inside, as
            the exceptions of SDKs and gateways have it.
    """
    found = _Found()
    _walk(body, "", found, 0)
    message = next((text for text in found.messages if text), None)
    if message is not None and len(message) > _LONGEST_MESSAGE:
        message = message[: _LONGEST_MESSAGE - 1] + "…"
    codes = tuple(dict.fromkeys(found.codes))
    return ErrorFacts(found.status, codes, message, tuple(found.objects))


def parse(body: bytes) -> Any:
    """The JSON of a response's body; that of its first event; else its text; None if empty."""
    text = body.decode("utf-8-sig", "replace").strip()
    if not text:
        return None
    value = _loads(text)
    if value is None and text.startswith(("data:", "event:", ":")):
        lines = (line for line in text.splitlines() if line.startswith("data:"))
        value = next((found for line in lines if (found := _loads(line[5:])) is not None), None)
    return text if value is None else value


def plain(value: Any, depth: int = 0) -> Any:
    """*value* with nothing but what JSON has, for bodies that an SDK has made into objects."""
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if value is None or isinstance(value, str | bool | int | float):
        return value
    if depth > _DEEPEST:
        return one_line(repr(value), 200)
    if isinstance(value, Mapping):
        return {str(key): plain(item, depth + 1) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item, depth + 1) for item in value]
    if isinstance(value, bytes | bytearray):
        return parse(bytes(value))
    return one_line(str(value), _LONGEST_MESSAGE)


def _walk(value: Any, within: str, found: _Found, depth: int) -> None:
    if depth > _DEEPEST:
        return
    if isinstance(value, str):
        _walk_text(value, within, found, depth)
    elif isinstance(value, list):
        if any(isinstance(item, dict) and "loc" in item for item in value):
            found.messages.append(_invalid_fields(value))
        for item in value[:_MOST_ITEMS]:
            if isinstance(item, dict | list):
                _walk(item, within, found, depth + 1)
    elif isinstance(value, dict):
        for key in _NESTED_KEYS:
            inner = value.get(key)
            is_text = isinstance(inner, str) and (key == "raw" or within == "delta")
            if isinstance(inner, dict | list) or is_text:
                _walk(inner, key, found, depth + 1)
        _read_object(value, within, found, depth)


def _walk_text(text: str, within: str, found: _Found, depth: int) -> None:
    """Read *text*: the JSON that it holds, if any, and else itself."""
    text = text[:_LONGEST_TEXT]
    inner = _embedded(text)
    if inner is not None:
        before = len(found.messages)
        _walk(inner, within, found, depth + 1)
        if len(found.messages) > before:
            return
    title = html_title(text)
    if title is not None:
        found.messages.append(title)
        return
    if inner is None and text.lstrip().startswith(("{", "[")):
        # JSON that was cut off; a request that is quoted in it comes after the words.
        message = _CUT_MESSAGE.search(text)
        found.codes.extend((code, within) for code in _CUT_CODE.findall(text)[:2])
        if message is not None:
            text = message.group(1).replace("\\n", " ").replace('\\"', '"')
    prefix = _PREFIX.match(text)
    found.messages.append(text[prefix.end() if prefix else 0 :].strip() or text.strip())


def _read_object(value: dict[str, Any], within: str, found: _Found, depth: int) -> None:
    found.objects.append(value)
    found.status = next(_statuses(value), found.status)
    said = [value[key] for key in _MESSAGE_KEYS if isinstance(value.get(key), str) and value[key]]
    error = value.get("error")
    if isinstance(error, str) and error:
        if said and re.fullmatch(r"[\w.-]+", error):
            found.codes.append((error, within))  # as OAuth has it: a code, and the words beside it
        else:
            said.insert(0, error)
    if said and within not in _WITHOUT_WORDS:
        _walk_text(said[0], within, found, depth)
    for key in _CODE_KEYS:
        code = value.get(key)
        if isinstance(code, int) and not isinstance(code, bool):
            code = "" if 0 <= code <= 599 else str(code)
        if isinstance(code, str) and _is_code(code):
            found.codes.append((code.rpartition("#")[2], within))
    violations = value.get("violations")
    for item in violations if isinstance(violations, list) else ():
        if isinstance(item, dict) and isinstance(item.get("quotaId"), str):
            found.codes.append((item["quotaId"], within))


def _is_code(text: str) -> bool:
    if not text or len(text) > _LONGEST_CODE or "/" in text or text.lower() in _NO_CODES:
        return False
    return not (text.isdigit() and len(text) == 3)  # a status


def _statuses(value: Mapping[str, Any]) -> Iterator[int]:
    for key in _STATUS_KEYS:
        status = value.get(key)
        if isinstance(status, str) and len(status) == 3 and status.isascii() and status.isdigit():
            status = int(status)
        if isinstance(status, int) and not isinstance(status, bool) and 400 <= status <= 599:
            yield int(status)


def _invalid_fields(items: list[Any]) -> str:
    """The words of FastAPI and pydantic for fields that are wrong."""
    told = []
    for item in items[:3]:
        if isinstance(item, dict):
            loc = item.get("loc")
            at = ".".join(map(str, loc)) if isinstance(loc, list) else str(loc)
            told.append(f"{at}: {item.get('msg', item.get('type', ''))}")
    more = f"; and {len(items) - 3} more" if len(items) > 3 else ""
    return "; ".join(told) + more


def _embedded(text: str) -> Any:
    """The JSON, or the repr of it, that a text holds; None where it holds none."""
    if "{" not in text:
        return None
    literal = _BYTES_LITERAL.search(text)
    if literal is not None:
        value = _literal(literal.group())
        return _embedded(value.decode("utf-8", "replace")) if isinstance(value, bytes) else None
    start = text.index("{")
    end = text.rfind("}") + 1
    for candidate in (text, text[start:end]):
        value = _loads(candidate)
        if isinstance(value, dict | list):
            return value
    try:
        value = json.JSONDecoder().raw_decode(text, start)[0]
    except (ValueError, RecursionError):
        value = _literal(text[start:end])
    return value if isinstance(value, dict) and value else None


def _literal(text: str) -> Any:
    """What a Python literal stands for: the OpenAI SDK puts the repr of a body into words."""
    import ast

    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError, TypeError):
        return None


def _loads(text: str) -> Any:
    """The JSON object or array of *text*, else None."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict | list) and value else None
