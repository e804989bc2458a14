"""What sort of stream a body is, told by its first event, however the body is cut."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final, Literal

from .. import _json
from .._engine import Engine
from ..faults import StreamFault
from ..normalizers import ServerSentEvent, SSEDecoder
from ..options import DEFAULT_LIMIT, OptionsDict, make_options
from ..pure.events import BOM
from ..pure.sniff import MAGIC

_FIRST: Final = re.compile(rb"(?:\xef\xbb\xbf)?[ \t\r\n]*(?=[^ \t\r\n])")
_LINE_END: Final = re.compile(rb"[\r\n]")
_BLANK_LINE: Final = re.compile(rb"(?:\r\n|\n|\r(?!\n))[\r\n]")
# A CR at the end may be half of a line end.
_END = rb"(?:\r\n|\n|\r(?!\n|\Z))"
_FIELD = rb"(?:event|data|id|retry|error)(?=[:\r\n])"
_IGNORED = rb"(?!" + _FIELD + rb")[^\r\n]+" + _END
_IDLE: Final = re.compile(
    rb"(?:\xef\xbb\xbf)?(?:(?:" + _FIELD + rb"[^\r\n]*" + _END + rb"|" + _IGNORED + rb")*" + _END
    + rb")*(?:" + _IGNORED + rb")*"
)  # fmt: skip


class FirstEvent:
    """Reads a body until it is known what it is a stream of.

    It is chat completions where the first event with data has ``choices``, is ``[DONE]``, or
    is an error as their upstreams send it; so is a body that begins as a page, is compressed,
    or is JSON over several lines, which a chat completion that failed may be. Anything else
    is another stream. Of lines of JSON the first that is not blank stands for the event.

    Args:
        is_lines: The body was announced as lines of JSON.
        options: Of the normaliser; the limits are those of an event here as well.
        engine: The engine; None for the default.

    Attributes:
        size: Bytes that were received.
        raw: Those of them that were not taken out by `idle`.
    """

    def __init__(self, options: OptionsDict, *, is_lines: bool, engine: Engine | None) -> None:
        made = make_options(options)
        self.size = 0
        self.raw = bytearray()
        self._is_lines = is_lines
        self._form: Literal["", "events", "lines"] = ""
        self._decoder = SSEDecoder(
            flush_tail=True,
            max_line_bytes=made.max_line_bytes,
            max_event_bytes=made.max_event_bytes,
            _engine_module=engine,
        )
        self._line = 0  # where the line begins that decides
        self._seen = 0  # so much of `raw` has no end of it; for `idle`, it was looked at
        self._is_inside = False  # of an event, when `idle` looked last

    def feed(self, data: bytes) -> bool | None:
        """Take the next bytes; say whether it is a chat completion, None for not known yet."""
        self.size += len(data)
        self.raw += data
        if not self._form:
            first = _FIRST.match(self.raw)
            if self.raw.startswith(MAGIC) and not self._is_lines:
                return True
            if first is None or any(mark.startswith(self.raw) for mark in (BOM, *MAGIC)):
                return None
            start, self._line = bytes(self.raw[first.end() : first.end() + 1]), first.end()
            if start == b"<" and not self._is_lines:
                return True
            self._form = "lines" if self._is_lines or start in (b"{", b"[") else "events"
            data, self._seen = bytes(self.raw), self._line if self._form == "lines" else 0
        if self._form == "events":
            return self._event(data)
        end = _LINE_END.search(self.raw, self._seen)
        self._seen = len(self.raw)
        if end is not None:
            return self._is_chat_line(bytes(self.raw[self._line : end.start()]))
        return True if self.size > DEFAULT_LIMIT else None

    def close(self) -> bool | None:
        """The body is over: what it has of an event or a line counts for one."""
        if self._form == "lines":
            return self._is_chat_line(bytes(self.raw[self._line :]))
        try:
            events = self._decoder.close()
        except StreamFault:
            return True
        return next((_is_chat(data, is_cut=True) for data in _with_data(events)), None)

    def idle(self) -> bytes:
        """Take out of `raw` what no event can change: comments, and events without data."""
        # (Once inside of an event, only its end is worth another look.)
        pattern = _BLANK_LINE if self._is_inside else _LINE_END
        if self._form == "lines" or pattern.search(self.raw, max(self._seen - 3, 0)) is None:
            return b""
        found = _IDLE.match(self.raw)
        end = 0 if found is None else found.end()
        out = bytes(self.raw[:end])
        del self.raw[:end]
        self._seen = len(self.raw)
        self._is_inside = _LINE_END.search(self.raw, 0, max(len(self.raw) - 1, 0)) is not None
        return out

    def _event(self, data: bytes) -> bool | None:
        try:
            events = self._decoder.feed(data)
        except StreamFault:
            return True  # too large: the engine says the same
        for first in _with_data(events):
            return _is_chat(first)
        # A comment that never ends has no limit.
        return True if len(self.raw) > 2 * DEFAULT_LIMIT else None

    def _is_chat_line(self, line: bytes) -> bool:
        if not self._is_lines and _parsed(line) is None:
            return True  # a document over several lines
        return _is_chat(line)


def _with_data(events: list[ServerSentEvent]) -> Iterator[bytes]:
    # (Some send empty ones so that the connection is not idle.)
    return (event.data.encode() for event in events if event.data.strip())


def _is_chat(data: bytes, *, is_cut: bool = False) -> bool:
    """Whether *data*, that of an event, is of a chat completion.

    Args:
        is_cut: The body ended before the event did.
    """
    if data.strip() == b"[DONE]":
        return True
    found = _parsed(data)
    if found is None:
        found = _parsed(data.partition(b"\n")[0])
    if found is None:
        return is_cut and data.lstrip().startswith(b"{") and b'"choices"' in data
    if not isinstance(found, dict):
        return False
    return isinstance(found.get("choices"), list) or _is_error(found)


def _is_error(found: dict[str, Any]) -> bool:
    """Whether it is an error as chat completions have it.

    JSON-RPC (MCP) has an ``error`` as well, as have Anthropic's Messages and the Responses
    API, whose every event has a ``type``.
    """
    if "jsonrpc" in found:
        return False
    if found.get("object") == "error":
        return True
    return bool(found.get("error")) and "type" not in found


def _parsed(data: bytes) -> Any:
    """The JSON in *data*; None where it is none, and for null."""
    try:
        return _json.loads(data)
    except ValueError:
        return None
