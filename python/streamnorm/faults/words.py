"""Text of others made fit for one line of a log, and what a strange body looks like."""

from __future__ import annotations

import re
from typing import Final

# Characters of a fault's text: what fits a line that somebody reads at night.
LINE_LENGTH: Final = 500

# Bytes of a broken event or body that its fault shows: enough to recognise an HTML page or
# a half chunk, and bounded.
SHOWN_BYTES: Final = 200

# First bytes by what they announce: RFC 1952, RFC 8878, RFC 1950 (the usual window and its
# four levels). Brotli has none.
_STARTS: Final = (
    (b"\x1f\x8b", "gzip data"),
    (b"\x28\xb5\x2f\xfd", "zstd data"),
    (b"\x78\x01", "zlib (deflate) data"),
    (b"\x78\x5e", "zlib (deflate) data"),
    (b"\x78\x9c", "zlib (deflate) data"),
    (b"\x78\xda", "zlib (deflate) data"),
)

# What the tokens of a Content-Encoding are called in full.
_ENCODINGS: Final = {"br": "Brotli", "gzip": "gzip", "x-gzip": "gzip", "zstd": "zstd"}

# Compiled when they are first asked (and kept by the re module): most programs never are.
_FLAGS: Final = re.IGNORECASE | re.DOTALL
_TITLE: Final = r"<title[^>]{0,200}>(.{0,300}?)(?:</title|\Z)"
_HTML: Final = r"\s*(?:<!--.{0,500}?-->\s*)?<(?:!doctype\s+html|html|head|body)\b"
_TAGS: Final = r"<(?:script|style)\b.*?</(?:script|style)|<[^>]*>"


def one_line(text: str, length: int = LINE_LENGTH) -> str:
    """Return *text* on one line: white space joined, control characters escaped, cut.

    Lone surrogates and characters that change the direction of text are escaped as well:
    they break a log's encoding, or make it lie.
    """
    # Before the loop over characters, which a body of megabytes must not reach.
    text = " ".join(text[: 4 * length].split())
    if not text.isprintable():
        text = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)
    return text if len(text) <= length else text[: length - 1] + "…"


def html_title(text: str) -> str | None:
    """The title of an HTML page, its text where it has none, or None for no page."""
    if re.match(_HTML, text, _FLAGS) is None:
        return None
    found = re.search(_TITLE, text[:20_000], _FLAGS)
    title = one_line(found.group(1)) if found else ""
    return title or one_line(re.sub(_TAGS, " ", text[:4000], flags=_FLAGS), 200)


def describe(head: bytes, encoding: str = "") -> str:
    """Say what a body that is no event stream looks like, after its first bytes.

    Args:
        head: Its first bytes; at most `SHOWN_BYTES` are shown.
        encoding: The response's ``content-encoding``, where it is known.
    """
    kind = _compression(head, encoding)
    if kind:
        said = f", content-encoding: {one_line(encoding, 40)}" if encoding else ""
        return f"the body is not an event stream but {kind}{said}; it begins with {_hex(head)}"
    title = html_title(head.decode("utf-8", "replace"))
    what = "" if title is None else " but an HTML page"
    named = f" {title!r}" if title else ""
    return f"the body is not an event stream{what}{named}; it begins with {head[:SHOWN_BYTES]!r}"


def _compression(head: bytes, encoding: str) -> str:
    """What binary data *head* is, or "" for text."""
    if _is_text(head):
        return ""
    for start, name in _STARTS:
        if head.startswith(start):
            return f"{name} that nobody decompressed"
    name = _ENCODINGS.get(encoding.strip().lower(), "")
    if name:
        return f"{name} data that nobody decompressed"
    return "binary data, perhaps compressed with br"


def _is_text(head: bytes) -> bool:
    if any(byte < 32 and byte not in b"\t\n\f\r\x1b" for byte in head):
        return False
    try:
        head.decode()
    except UnicodeDecodeError as error:
        # A character that the end of the head cuts is none of the text's faults.
        return error.start > len(head) - 4 and error.reason == "unexpected end of data"
    return True


def _hex(head: bytes) -> str:
    return head[:16].hex(" ") + (" …" if len(head) > 16 else "")
