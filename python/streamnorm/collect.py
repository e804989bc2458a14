"""What came out of one stream: its usage and its message, kept while the output goes by."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from . import _json
from ._engine import DecoderEngine, Engine
from .dialects import DONE_MARK
from .message import TEXT_KEYS, MessageAccumulator
from .objects import members
from .runs import Run, run_of
from .usage import USAGE_KEYS, Usage, UsageAccumulator

# Output bytes that may wait to be parsed: few enough not to matter where thousands of streams
# are open, and enough for events that are alike to be read at once.
PENDING_BYTES: Final = 4 * 1024

_BOM: Final = b"\xef\xbb\xbf"
_BLANK_LINE: Final = b"\n\n"
_OBJECT: Final = b"data: {"
_LABEL: Final = len(b"data: ")
_LINE_ENDS: Final = (b"\n", b"\r")
_FIRST_LINE_END: Final = re.compile(rb"[\r\n]")
# Inside of a string of JSON, the quote behind the name would have a backslash before it.
_USAGE: Final = re.compile(
    rb'"(?:%s)"\s*:\s*\{' % b"|".join(name.encode("ascii") for name in USAGE_KEYS)
)


class Collector:
    """The usage and (unless *keep_message* is false) the message of one stream.

    It is given all output that has left the engine, of one sort: chunks, documents, or pieces
    of bytes. Chunks and documents are taken at once, before somebody can change them. Bytes
    are parsed when they are asked about, or when `PENDING_BYTES` of them wait.

    Attributes:
        keeps_message: Otherwise only what holds usage is of interest.
    """

    __slots__ = (
        "_documents",
        "_is_begun",
        "_is_done",
        "_is_ended",
        "_is_in_line",
        "_is_kept_in_line",
        "_messages",
        "_module",
        "_pending",
        "_pending_bytes",
        "_usage",
        "keeps_message",
    )

    def __init__(self, module: Engine, *, keep_message: bool) -> None:
        self.keeps_message: bool = keep_message
        self._usage = UsageAccumulator()
        self._messages = MessageAccumulator(self._usage) if keep_message else None
        self._module = module
        self._documents: DocumentReader | None = None
        # (A list where there are any: most streams wait, and one takes as much as a line.)
        self._pending: list[bytes] | tuple[()] = ()
        self._pending_bytes = 0
        self._is_ended = False
        self._is_done = False  # [DONE] was among the documents
        # Without a message, pieces that cannot hold usage are dropped. A line (a comment)
        # may begin in one piece and end in the next, so two ends have to be known: that of
        # the last piece, and that of the last one which was not dropped.
        self._is_begun = False
        self._is_in_line = False
        self._is_kept_in_line = False

    def add_chunks(self, chunks: list[dict[str, Any]]) -> None:
        """Take chunks."""
        if self._messages is None:
            self._usage.extend(chunks)
        else:
            self._messages.extend(chunks)

    def add_objects(self, chunks: list[Any]) -> None:
        """Take chunks, or objects of SDKs whose deltas have been normalised in place."""
        self.add_chunks([chunk if type(chunk) is dict else _as_dict(chunk) for chunk in chunks])

    def add_documents(self, documents: list[bytes]) -> None:
        """Take the data of events: a document in normal form, or several, one a line."""
        found, self._is_done = documents_in(documents, is_done=self._is_done)
        self.add_chunks(found)

    def add_bytes(self, data: bytes) -> None:
        """Take the next piece of an event stream (or of NDJSON, or a JSON body)."""
        if self._messages is None:
            data = self._with_usage(data)
        if data:
            if self._pending:
                self._pending.append(data)
            else:
                self._pending = [data]
            self._pending_bytes += len(data)
            if self._pending_bytes > PENDING_BYTES:
                self._parse()

    def end(self) -> None:
        """Let what was given so far be all."""
        self._is_ended = True

    def usage(self) -> Usage:
        """The usage so far."""
        self._parse()
        return self._usage.usage()

    def messages(self) -> MessageAccumulator:
        """The messages so far.

        Raises:
            RuntimeError: They are not kept.
        """
        if self._messages is None:
            raise RuntimeError("the message was not kept: the stream was made with collect=False")
        self._parse()
        return self._messages

    def _parse(self) -> None:
        if self._pending:
            data, self._pending, self._pending_bytes = b"".join(self._pending), (), 0
            if self._documents is None:
                self._documents = DocumentReader(self._module)
            self.add_chunks(self._documents.feed(data))
        if self._is_ended and self._documents is not None:
            self.add_chunks(self._documents.close())
            self._documents = None

    def _with_usage(self, data: bytes) -> bytes:
        """The whole lines of a piece if there may be usage in them, else nothing."""
        was_in_line, self._is_in_line = self._is_in_line, not data.endswith(_LINE_ENDS)
        is_first, self._is_begun = not self._is_begun, True
        # The first bytes tell an event stream from JSON.
        if not is_first and _USAGE.search(data) is None:
            return b""
        if was_in_line:
            end = _FIRST_LINE_END.search(data)
            data = b"" if end is None else data[end.end() :]
        if self._is_kept_in_line and data:
            data = b"\n" + data
        self._is_kept_in_line = not data.endswith(_LINE_ENDS) if data else self._is_kept_in_line
        return data


class DocumentReader:
    """The JSON objects in the bytes of a stream's body, up to ``[DONE]``.

    An event stream, NDJSON, or one body, as the first byte tells. What is no JSON object is
    passed over: who has edited these bytes has judged them. Of events that differ in one
    text only, one document with all of the text stands for all.
    """

    __slots__ = (
        "_decoder",
        "_has_begun",
        "_held",
        "_is_at_start",
        "_is_body",
        "_is_done",
        "_is_json",
        "_module",
        "_run",
    )

    def __init__(self, module: Engine) -> None:
        self._module = module
        # What holds an event of which more is to come.
        self._decoder: DecoderEngine | None = None
        self._has_begun = False
        self._is_json: bool | None = None
        # Of JSON: what has no line end yet, or all of it once a line was no document.
        self._held: list[bytes] | None = None
        self._is_body = False
        self._is_done = False
        self._run: Run | None = None
        self._is_at_start = True  # an event begins: it is the first, or behind a blank line

    def feed(self, data: bytes) -> list[dict[str, Any]]:
        """Take the next bytes; return the documents that they completed."""
        if self._is_json is None:
            start = data.removeprefix(_BOM).lstrip()[:1]
            if not start:
                return []
            self._is_json = start in (b"{", b"[")
        if self._is_json:
            return self._json_lines(data)
        return self._events(data)

    def _events(self, data: bytes) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        at, is_new = 0, False
        while at < len(data):
            if self._run is not None and self._is_at_start and not self._is_done:
                document, at = self._run.joined(data, at)
                if document:
                    found += _all_documents(document)
                    is_new = False
                    continue
            # A run that was found in the event before, and has ended with it: there may be none.
            end = -1 if is_new else data.find(_BLANK_LINE, at)
            event = data[at:] if end < 0 else data[at : end + len(_BLANK_LINE)]
            at += len(event)
            made = self._documents(self._data(event))
            found += made
            if len(made) == 1 and self._is_at_start:
                self._run, is_new = run_of(event, made[0], TEXT_KEYS), True
            self._is_at_start = event.endswith(_BLANK_LINE)
        if self._is_at_start:
            self._decoder = None
        return found

    def _data(self, event: bytes) -> list[bytes]:
        """The data of what the next bytes complete, mostly one event."""
        has_begun, self._has_begun = self._has_begun, True
        if self._is_at_start and event.startswith(_OBJECT) and _is_line(event):
            return [event[_LABEL : -len(_BLANK_LINE)]]
        decoder = self._decoder
        if decoder is None:
            decoder = self._decoder = self._module.decoder(None, None, True)
            if has_begun:
                decoder.feed(b"\n")  # behind it, a BOM is none
        return [text.encode() for _, text, _, _ in decoder.feed(event)]

    def close(self) -> list[dict[str, Any]]:
        """End the input; return what its end completed. Nothing may follow."""
        if not self._is_json:
            rest = [] if self._decoder is None else self._decoder.close()
            return self._documents([text.encode() for _, text, _, _ in rest])
        held, self._held = b"".join(self._held or ()), None
        whole = _document(held)
        return [whole] if whole is not None else _all_documents(held)

    def _json_lines(self, data: bytes) -> list[dict[str, Any]]:
        held = self._held = self._held or []
        held.append(data)
        if self._is_body or b"\n" not in data:
            return []
        lines = b"".join(held).split(b"\n")
        found = _all_documents(b"\n".join(lines[:-1]))
        self._is_body = not found and any(line.strip() for line in lines[:-1])
        if not self._is_body:
            self._held = lines[-1:]
        return found

    def _documents(self, data: list[bytes]) -> list[dict[str, Any]]:
        found, self._is_done = documents_in(data, is_done=self._is_done)
        return found


def documents_in(data: list[bytes], *, is_done: bool) -> tuple[list[dict[str, Any]], bool]:
    """The JSON objects in the data of events, and whether ``[DONE]`` is behind them.

    Args:
        data: Of one event each.
        is_done: ``[DONE]`` was before them: then there are none.
    """
    found: list[dict[str, Any]] = []
    for text in data:
        whole = None if is_done else _document(text)
        if whole is not None:
            found.append(whole)
            continue
        # Two events with one line end between them are one event with two documents.
        for line in text.split(b"\n"):
            is_done = is_done or line.lstrip().startswith(DONE_MARK)
            if not is_done:
                found += _all_documents(line)
    return found, is_done


def _is_line(event: bytes) -> bool:
    """Whether an event is one line and a blank one."""
    return event.find(b"\n") == len(event) - len(_BLANK_LINE) and b"\r" not in event


def _document(text: bytes) -> dict[str, Any] | None:
    try:
        found = _json.loads(text)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def _all_documents(text: bytes) -> list[dict[str, Any]]:
    found = (_document(line) for line in text.split(b"\n") if line.strip())
    return [document for document in found if document is not None]


def _as_dict(chunk: object) -> dict[str, Any]:
    """A chunk object of an SDK down to its deltas, with the values as they are."""
    if isinstance(chunk, Mapping):
        return dict(chunk)
    made = members(chunk) or {}
    choices = made.get("choices")
    if isinstance(choices, list):
        made["choices"] = [_choice(choice) for choice in choices]
    return made


def _choice(choice: object) -> dict[str, Any]:
    made = dict(members(choice) or {})
    for name in ("delta", "message"):
        if name in made:
            made[name] = members(made[name])
    return made
