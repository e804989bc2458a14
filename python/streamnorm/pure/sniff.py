"""What the first bytes of an input tell of it."""

from __future__ import annotations

import codecs
import re
from typing import Final

# How bodies begin whose Content-Encoding nobody undid; no line of an event stream does.
# (Brotli and raw deflate have no such mark.)
MAGIC: Final[tuple[bytes, ...]] = (
    b"\x1f\x8b\x08",  # gzip: RFC 1952, section 2.3.1
    b"\x28\xb5\x2f\xfd",  # Zstandard: RFC 8878, section 3.1.1
    *(b"\x78" + level for level in (b"\x01", b"\x9c", b"\xda")),  # zlib: RFC 1950, section 2.2
)
# Control characters that no text has.
_NO_TEXT: Final = re.compile(rb"[\x00-\x08\x0e-\x1a\x1c-\x1f]")
# With an optional closing quote; see the same pattern in `.._json`.
_STRING: Final = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*("?)', re.DOTALL)


def is_binary(head: bytes) -> bool:
    """Whether the first bytes of an input are no text."""
    try:
        codecs.getincrementaldecoder("utf-8")().decode(head)
    except UnicodeDecodeError:
        return True
    return _NO_TEXT.search(head) is not None


def is_balanced(text: bytes) -> bool:
    """Whether every bracket that *text* opens is closed in it: one line, one document."""
    bare = _STRING.sub(lambda string: b"" if string[1] else b'"', text)
    if b'"' in bare:
        return False
    return bare.count(b"{") == bare.count(b"}") and bare.count(b"[") == bare.count(b"]")
