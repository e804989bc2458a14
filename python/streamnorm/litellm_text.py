"""The text that LiteLLM's streams are made of, edited on its way to what parses it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from . import _json
from ._engine import Engine
from .dialects import DONE_MARK
from .faults import StreamFault
from .flow import ErrorFactory, Flow
from .options import Options
from .report import Report

# Faults that need no chat chunk to be known. Of another API's stream only these are told.
_OF_ANY_FORMAT: Final = ("empty", "not_sse", "error_event")

# Documents of another API before it is not asked any more whether one is a chat chunk. Some
# relays send events of their own first.
_MOST_FOREIGN: Final = 8

# What a line is held for, that is neither data nor JSON: a page of HTML, say.
_MOST_HELD: Final = 64 * 1024

_DATA: Final = b"data:"
# Lines of an event stream that say nothing to LiteLLM, which reads each line alone.
_CONTROL: Final = (b":", b"event:", b"id:", b"retry:")
_CHAT: Final = "chat.completion"


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
    """

    def __init__(self, stream: Any) -> None:
        super().__init__()
        self._stream = stream

    def take(self, item: Any) -> list[Any]:
        """The next bytes, as they are, unless they are all of a stream without a chunk.

        Behind the mark of its end LiteLLM reads no more, and would not hear of the fault.
        """
        fault = self._stream.fault
        if fault is not None and fault.kind == "empty":
            self.is_over, self._error = True, fault
            return []
        return [item]

    def close(self, error: Exception | None) -> list[Any]:
        """The body has ended; a fault that was not to be raised is, since LiteLLM hides it."""
        self.is_over = True
        self._error = error if error is not None else self._stream.fault
        return []

    def report(self) -> Report:
        """What the transport has done."""
        report: Report = self._stream.report
        return report


class _Chat(Text):
    """One answer's chat chunks, from bytes."""

    def __init__(self, options: Options, module: Engine) -> None:
        super().__init__()
        self._flow = Flow(
            engine=module,
            options=options._asdict(),  # type: ignore[arg-type]
            collect=False,
            limits=None,
            error_factory=None,
        )
        self._flow.choose("dict", ())
        self._is_done = False

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
        self.is_over = True
        fault = self._flow.fault
        if error is not None and not self._is_done:
            # LiteLLM knows exceptions of HTTP clients; only the upstream's own words say more.
            is_said = fault is not None and fault.kind == "error_event"
            self._error = fault if is_said else error
        else:
            self._check()
        return made

    def _check(self) -> None:
        fault = self._flow.fault
        if fault is not None:
            self.is_over, self._error = True, fault

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

    def __init__(
        self, options: Options, module: Engine, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(options, module)
        self._flow.headers = headers

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
    """

    def __init__(self, options: Options, module: Engine) -> None:
        super().__init__(options, module)
        self.is_chat = False
        self._foreign = 0
        # Lines before the first that tells what this is.
        self._held: list[Any] = []
        self._held_size = 0
        self._is_text = True

    def take(self, item: Any) -> list[Any]:
        """The next line."""
        if self.is_chat:
            return self._put(self._feed(_line(item)))
        if not isinstance(item, str | bytes) or self._foreign >= _MOST_FOREIGN:
            self._foreign = _MOST_FOREIGN
            return [*self._released(), item]
        self._is_text = isinstance(item, str)
        data = _line(item)
        kind = _kind(data)
        if kind == "chat" or (kind == "done" and not self._foreign):
            return self._begin(data)
        if kind == "foreign" or self._foreign:
            self._foreign += kind == "foreign"
            return [*self._released(), item]
        self._held.append(item)
        self._held_size += len(data)
        return self._begin(b"") if self._held_size > _MOST_HELD else []

    def close(self, error: Exception | None) -> list[Any]:
        """The lines have ended, or reading them raised *error*."""
        if self.is_chat:
            return self._put(self._end(error))
        if self._foreign:
            self.is_over, self._error = True, error
            return self._released()
        held = self._released()
        for item in held:
            self._feed(_line(item))
        self._end(error)
        fault = self._flow.fault
        if error is None and fault is not None and fault.kind not in _OF_ANY_FORMAT:
            self._error = None
        return held if self._error is None else []

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


def _kind(line: bytes) -> str:
    """``chat``, ``foreign``, ``done``, or empty where a line does not tell."""
    if line.startswith(_CONTROL) or not line.strip():
        return ""
    text = line.removeprefix(_DATA).strip()
    if text.startswith(DONE_MARK):
        return "done"
    if not line.startswith(_DATA) and text[:1] not in (b"{", b"["):
        return ""
    try:
        found = _json.loads(text)
    except ValueError:
        return "foreign"
    if isinstance(found, dict) and (
        "choices" in found or "error" in found or str(found.get("object")).startswith(_CHAT)
    ):
        return "chat"
    return "foreign"


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
