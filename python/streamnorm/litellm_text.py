"""The text that LiteLLM's streams are made of, edited on its way to what parses it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from copy import copy
from typing import Any, Final

from . import _json, faults
from ._engine import Engine
from .dialects import DONE_MARK
from .faults import StreamFault
from .faults.exceptions import NOTE
from .flow import Flow
from .flow_state import ErrorFactory
from .integrations._last_event import without_error
from .options import Options
from .report import Report

# Faults that need no chat chunk to be known. Of another API's stream only these are told.
_OF_ANY_FORMAT: Final = ("empty", "not_sse", "error_event")

# Documents of another API before it is not asked any more whether one is a chat chunk. Some
# relays send events of their own first.
_MOST_FOREIGN: Final = 8

# What a line is held for, that is neither data nor JSON: a page of HTML, say, or JSON over
# several lines.
_MOST_HELD: Final = 64 * 1024

_DATA: Final = b"data:"
# Lines of an event stream that say nothing to LiteLLM, which reads each line alone.
_CONTROL: Final = (b":", b"event:", b"id:", b"retry:")
_CHAT: Final = "chat.completion"
_ERROR: Final = b'"error"'
_CHOICES: Final = b'"choices"'


class Text:
    """The text of one stream.

    Attributes:
        is_chat: It holds chat chunks, and they are in normal form.
        is_over: Nothing more is read.
        raised: The fault that was raised.
    """

    is_chat: bool = True

    def __init__(self) -> None:
        self.is_over: bool = False
        self.raised: StreamFault | None = None
        self._error: BaseException | None = None

    def _end_with(self, error: BaseException | None) -> None:
        """Read no more; raise *error* behind what is still to go on."""
        self.is_over, self._error = True, error

    def _end_with_clients(self, error: Exception, *, visible: bool, reasoning: bool) -> None:
        """Raise *error* of the HTTP client, which LiteLLM knows, as it is.

        That is all that whoever reads the stream gets of it, so what had come is noted there.
        """
        with suppress(AttributeError):  # a class with slots
            setattr(error, NOTE, (visible, reasoning))
        self._end_with(error)

    def take(self, item: Any) -> list[Any]:
        """Take the next piece; return what goes on in its place."""
        raise NotImplementedError

    def close(self, error: Exception | None) -> list[Any]:
        """The text has ended, or reading it raised *error*; return what is left of it."""
        raise NotImplementedError

    def report(self) -> Report:
        """What was found and done so far."""
        raise NotImplementedError

    def raise_due(self, error_factory: ErrorFactory | None) -> None:
        """Raise what ended the text, once.

        Args:
            error_factory: Makes what is raised for a fault; None for the fault itself.

        Raises:
            BaseException: A fault, or what reading raised.
        """
        error, self._error = self._error, None
        if isinstance(error, StreamFault):
            self.raised = error
            if error_factory is not None:
                raise error_factory(error) from error
        if error is not None:
            raise error


class Told(Text):
    """A body that a transport of ours has normalised already.

    Args:
        stream: What the transport tells of it: its `NormalizedStream`.
        headers: Of the response.
    """

    def __init__(self, stream: Any, headers: Mapping[str, str] | None = None) -> None:
        super().__init__()
        self._stream = stream
        self._headers = headers

    def take(self, item: Any) -> list[Any]:
        """The next bytes, as they are, without an event that LiteLLM would make less of.

        Behind the mark of the end of a stream without a chunk it reads no more, and would not
        hear of the fault. Of an upstream's error the SDK makes an exception without a status.
        """
        fault = self._stream.fault
        if fault is None or fault.kind not in ("empty", "error_event"):
            return [item]
        self._end_with(self._told(fault))
        rest = b"" if fault.kind == "empty" else without_error(item, fault)
        return [rest] if rest else []

    def close(self, error: Exception | None) -> list[Any]:
        """The body has ended; a fault that was not to be raised is, since LiteLLM hides it."""
        fault = error if isinstance(error, StreamFault) else self._stream.fault
        clients = error if fault is None else fault.__cause__
        if fault is not None and (fault.kind == "error_event" or error is None):
            self._end_with(self._told(fault))
        elif isinstance(clients, Exception):
            self._end_with_clients(
                clients,
                visible=fault is not None and fault.visible_output,
                reasoning=fault is not None and fault.reasoning_output,
            )
        else:
            self._end_with(error)
        return []

    def _told(self, fault: StreamFault) -> StreamFault:
        """*fault*, with the wait that the headers ask for: the transport's stream has none."""
        if fault.kind != "error_event" or fault.retry_after is not None:
            return fault
        made = faults.error_event(fault.body, self._headers)
        if made.retry_after is None:
            return fault
        told = copy(fault)
        told.args, told.retry_after = made.args, made.retry_after
        return told

    def report(self) -> Report:
        """What the transport has done."""
        report: Report = self._stream.report
        return report


class _Chat(Text):
    """One answer's chat chunks, from bytes."""

    def __init__(
        self, options: Options, module: Engine, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__()
        self._options = options
        self._module = module
        self._headers = headers
        self._flow = self._new_flow()
        self._is_done = False

    def _new_flow(self) -> Flow:
        flow = Flow(
            engine=self._module,
            options=self._options._asdict(),  # type: ignore[arg-type]
            collect=False,
            limits=None,
            error_factory=None,
        )
        flow.choose("dict", ())
        flow.headers = self._headers
        return flow

    def report(self) -> Report:
        """What was found and done so far."""
        return self._flow.report()

    def _feed(self, data: bytes) -> list[dict[str, Any]]:
        # Behind [DONE] the body is read to its end, so that its connection can be used again.
        made: list[dict[str, Any]] = self._flow.take(data) or []
        self._check()
        return made

    def _end(self, error: Exception | None) -> list[dict[str, Any]]:
        made: list[dict[str, Any]] = self._flow.finish(error) or []
        fault = self._flow.fault
        # LiteLLM knows exceptions of HTTP clients; only the upstream's own words say more.
        is_said = fault is not None and fault.kind == "error_event"
        if error is None or self._is_done or is_said:
            self._end_with(fault)
        else:
            self._end_with_clients(
                error,
                visible=fault is not None and fault.visible_output,
                reasoning=fault is not None and fault.reasoning_output,
            )
        return made

    def _check(self) -> None:
        fault = self._flow.fault
        if fault is not None:
            self._end_with(fault)

    def _is_marked(self) -> bool:
        """Whether the mark of a good end has come just now.

        Behind one that says nothing (of an empty stream) nobody would hear of the fault.
        """
        if self._is_done or not self._flow.is_over or self._flow.fault is not None:
            return False
        self._is_done = self._flow.outcome().done
        return self._is_done


class Body(_Chat):
    """The body of a response that an SDK reads as chat chunks."""

    def take(self, item: Any) -> list[bytes]:
        """The next bytes of the body."""
        return self._put(self._feed(item))

    def close(self, error: Exception | None) -> list[bytes]:
        """The body has ended, or reading it raised *error*."""
        return self._put(self._end(error))

    def _put(self, chunks: list[dict[str, Any]]) -> list[bytes]:
        out = b"".join(_event(chunk) for chunk in chunks)
        if self._is_marked():
            out += _DATA + b" " + DONE_MARK + b"\n\n"
        return [out] if out else []


class Lines(_Chat):
    """The lines of a body that one of LiteLLM's handlers reads.

    They are the same for all providers, so what they hold is asked: as soon as there is a
    chat chunk it is edited; the documents of another API pass as they are.

    Args:
        options: How to edit.
        module: The engine.
        headers: Of the response, where they are known.
        shown: Tells whether the handler has made an answer and reasoning of the lines so far.
    """

    is_chat: bool

    def __init__(
        self,
        options: Options,
        module: Engine,
        headers: Mapping[str, str] | None,
        shown: Callable[[], tuple[bool, bool]],
    ) -> None:
        super().__init__(options, module, headers)
        self.is_chat = False
        self._shown = shown
        self._foreign = 0
        # Lines before the first that tells what this is.
        self._held: list[Any] = []
        self._held_size = 0
        self._is_inside = False  # of JSON over several lines
        self._is_text = True

    def take(self, item: Any) -> list[Any]:
        """The next line."""
        if self.is_chat:
            return self._put(self._feed(_line(item)))
        if not isinstance(item, str | bytes):
            self._foreign = _MOST_FOREIGN
            return [*self._released(), item]
        self._is_text = isinstance(item, str)
        data = _line(item)
        if self._foreign >= _MOST_FOREIGN and _ERROR not in data:
            return [item]
        self._is_inside = self._is_inside and not data.startswith(_DATA)
        kind = "" if self._is_inside else _kind(data)
        if kind == "error" and self._foreign:
            return [] if self._is_refused(data) else [item]
        if kind in ("chat", "error") or (kind == "done" and not self._foreign):
            return [item] if self._foreign >= _MOST_FOREIGN else self._begin(data)
        if kind == "foreign" or self._foreign:
            self._foreign += kind == "foreign"
            return [*self._released(), item]
        self._is_inside = self._is_inside or (kind == "part" and not any(map(_says, self._held)))
        return self._hold(item, len(data))

    def close(self, error: Exception | None) -> list[Any]:
        """The lines have ended, or reading them raised *error*."""
        if self.is_chat:
            return self._put(self._end(error))
        if self._foreign:
            if error is not None:
                visible, reasoning = self._shown()
                self._end_with_clients(error, visible=visible, reasoning=reasoning)
            self.is_over = True
            return self._released()
        held = self._released()
        made = [chunk for item in held for chunk in self._feed(_line(item))]
        made += self._end(error)
        if any("choices" in chunk for chunk in made):
            self.is_chat = True
            return self._put(made)
        fault = self._flow.fault
        if error is None and fault is not None and fault.kind not in _OF_ANY_FORMAT:
            self._error = None
        return held if self._error is None else []

    def _is_refused(self, data: bytes) -> bool:
        """End with the error in *data*, a document behind others that were no chat chunks."""
        flow = self._new_flow()
        flow.take(data)
        flow.finish(None)
        fault = flow.fault
        if fault is None or fault.kind != "error_event":
            return False
        fault.visible_output, fault.reasoning_output = self._shown()
        self._end_with(fault)
        return True

    def _hold(self, item: Any, size: int) -> list[Any]:
        self._held.append(item)
        self._held_size += size
        if self._held_size <= _MOST_HELD:
            return []
        # JSON of another API passes on; a page, or a whole completion, is for us to tell.
        if self._is_inside and not any(_CHOICES in _line(each) for each in self._held):
            self._foreign = _MOST_FOREIGN
            return self._released()
        return self._begin(b"")

    def _begin(self, data: bytes) -> list[Any]:
        self.is_chat = True
        before = b"".join(_line(item) for item in self._released())
        return self._put(self._feed(before + data))

    def _released(self) -> list[Any]:
        held, self._held = self._held, []
        return held

    def _put(self, chunks: list[dict[str, Any]]) -> list[Any]:
        lines = [_DATA + b" " + _json.dumps(_doubled(chunk)) for chunk in chunks]
        if self._is_marked():
            lines.append(_DATA + b" " + DONE_MARK)
        return [line.decode("utf-8") for line in lines] if self._is_text else lines


def _line(item: Any) -> bytes:
    data: bytes = item if isinstance(item, bytes) else item.encode("utf-8", "surrogateescape")
    return data.rstrip(b"\r\n") + b"\n"


def _says(item: Any) -> bool:
    """Whether there is more in a line than an event stream's own signs."""
    line = _line(item)
    return bool(line.strip()) and not line.startswith(_CONTROL)


def _kind(line: bytes) -> str:
    """``chat``, ``error``, ``foreign``, ``done``, or empty where a line does not tell.

    ``part`` for a line with which JSON may begin that goes on in the next one.
    """
    if line.startswith(_CONTROL) or not line.strip():
        return ""
    is_data = line.startswith(_DATA)
    text = line.removeprefix(_DATA).strip()
    if text.startswith(DONE_MARK):
        return "done"
    if not is_data and text[:1] not in (b"{", b"["):
        return ""
    try:
        found = _json.loads(text)
    except ValueError:
        return "foreign" if is_data else "part"
    if not isinstance(found, dict):
        return "foreign"
    if "choices" in found or str(found.get("object")).startswith(_CHAT):
        return "chat"
    return "error" if found.get("error") else "foreign"


def _doubled(chunk: dict[str, Any]) -> dict[str, Any]:
    """*chunk* with its reasoning text under both names.

    Some handlers read ``reasoning`` and overwrite ``reasoning_content`` with it, also where
    there is none (openrouter: llms/openrouter/chat/transformation.py; groq, hosted_vllm,
    cometapi and what is built on OpenAIChatCompletionStreamingHandler where it is null).
    Which they are differs between versions, so all are given both, and the objects that
    they make lose what is double again.
    """
    for choice in chunk.get("choices") or ():
        delta = choice.get("delta") if isinstance(choice, dict) else None
        if isinstance(delta, dict) and isinstance(delta.get("reasoning_content"), str):
            delta["reasoning"] = delta["reasoning_content"]
    return chunk


def _event(chunk: dict[str, Any]) -> bytes:
    return _DATA + b" " + _json.dumps(chunk) + b"\n\n"
