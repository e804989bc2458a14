"""JSON in, with the results of the standard library at the speed of orjson where it is installed.

The two differ in four ways, each found by comparing them: integers that need more than
64 bits (orjson gives a float), NaN and Infinity, lone surrogates, and numbers beyond a
float's range (orjson refuses all three). The first is recognised before parsing, the
rest by trying again after a refusal.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any, Final

try:
    import orjson
except ImportError:  # PyPy, and platforms without a wheel
    orjson = None  # type: ignore[assignment]

# An attribute of every JSONDecoder, though typeshed does not know it: json.decoder sets it.
_DECODER: Final[Any] = json.JSONDecoder()
_parse_string = _DECODER.parse_string

# Nesting beyond this is refused, whatever the interpreter's own recursion limit is:
# otherwise the answer would depend on the Python version and on how deep the caller is.
MAX_DEPTH: Final = 256

_DIGITS: Final = bytes(0x30 if 0x30 <= byte <= 0x39 else 0x20 for byte in range(256))
# 2**63 has 19 digits: a shorter integer fits 64 bits and parses alike everywhere.
_LONG_NUMBER: Final = b"0" * 19
[_BACKSLASH] = b"\\"

# The closing quote is optional, so that no place where a match begins can fail: otherwise
# an unclosed string is searched again from each quote in it.
_STRING: Final = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"?', re.DOTALL)
_NOT_BRACKETS: Final = bytes(byte for byte in range(256) if byte not in b"[]{}")


def loads(data: bytes) -> Any:
    """Parse one JSON document as ``json.loads`` does.

    Args:
        data: UTF-8. Bytes that are not UTF-8 count as U+FFFD, as the event stream
            standard has it.

    Raises:
        ValueError: *data* is not JSON, or is nested deeper than `MAX_DEPTH`.
    """
    # A document so deep is longer than twice its depth: most need no count.
    if len(data) > 2 * MAX_DEPTH and is_too_deep(data):
        raise ValueError("nested too deeply")
    if orjson is not None and data.translate(_DIGITS).find(_LONG_NUMBER) < 0:
        try:
            return orjson.loads(data)
        except ValueError:
            pass
    return _exact(data)


# For a document that the Rust engine has read: it has neither the depth nor the integers
# that `loads` looks for. What orjson refuses is tried again with `loads`.
fast_loads: Final[Callable[[bytes], Any]] = loads if orjson is None else orjson.loads


def is_too_deep(data: bytes) -> bool:
    """Whether *data* is nested deeper than `MAX_DEPTH`."""
    return data.count(b"[") + data.count(b"{") > MAX_DEPTH and _depth(data) > MAX_DEPTH


def _exact(data: bytes) -> Any:
    try:
        return json.loads(data.decode("utf-8", "replace"))
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _depth(data: bytes) -> int:
    depth = deepest = 0
    for byte in _STRING.sub(b"", data).translate(None, _NOT_BRACKETS):
        if byte in b"[{":
            depth += 1
            deepest = max(deepest, depth)
        else:
            depth -= 1
    return deepest


def inner_text(inner: bytes) -> str:
    """The text that the inside of a JSON string says, what stands between its quotes.

    Args:
        inner: Valid; bytes that are not UTF-8 count as in `loads`.
    """
    if _BACKSLASH not in inner:
        return plain_text(inner)
    text: str = _parse_string(inner.decode("utf-8", "replace") + '"', 0)[0]
    return text


def inner_texts(inners: list[bytes]) -> list[str]:
    """As `inner_text` for each of *inners*."""
    # No string has a line feed in it that is not escaped.
    joined = b"\n".join(inners)
    if _BACKSLASH in joined:
        texts: list[str] = loads(b'["%s"]' % b'","'.join(inners))
        return texts
    return plain_text(joined).split("\n")


def plain_text(inner: bytes) -> str:
    """As `inner_text`, where nothing is escaped."""
    try:
        return inner.decode()
    except UnicodeDecodeError:
        return inner.decode("utf-8", "replace")


def dumps(value: Any) -> bytes:
    """Serialise a chunk that never was bytes (a dict from an SDK) to compact UTF-8 JSON."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return text.encode("utf-8", "backslashreplace")


def encode_string(text: str) -> str:
    """Write *text* as a JSON string with the fewest escapes.

    Lone surrogates, which UTF-8 cannot carry, are escaped; the rest is json's own rule.
    """
    encoded = json.dumps(text, ensure_ascii=False)
    if encoded.isascii():
        return encoded
    return encoded.encode("utf-8", "backslashreplace").decode("utf-8")
