"""LiteLLM's stream wrapper, normalised below itself: what it reads is changed, not what it is.

``CustomStreamWrapper`` reads its ``completion_stream``, drops what it does not know, and
makes up a ``finish_reason`` where the stream was cut. What is put in below it loses nothing
of that, and the wrapper stays the object that LiteLLM's router, logging and cost know.

Shapes are looked at, so LiteLLM is not imported. Facts of this module are from its sources,
versions 1.78.5, 1.81.5, 1.82.6 and 1.106.2.
"""

from __future__ import annotations

import functools
import inspect
import weakref
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace
from typing import Any, Final

from ._engine import Engine
from .faults import StreamFault
from .flow_state import ErrorFactory
from .litellm_text import Body, Lines, Text, Told
from .objects import ObjectNormalizer
from .options import Options
from .report import Report
from .sources import headers_of, peek_at, shut

# Streams of OpenAI's SDK, by the names of their classes: they read ``response.aiter_bytes()``
# (``iter_bytes()``), and nothing before they are iterated (openai/_streaming.py).
_SDK_STREAMS: Final = {"AsyncStream": "aiter_bytes", "Stream": "iter_bytes"}

# Where LiteLLM's handlers keep the lines that they read: both names, for the same object
# (llms/base_llm/base_model_iterator.py and its look-alikes of Anthropic, Cohere, Gemini, …).
_LINES: Final = ("streaming_response", "response_iterator")

# Where our transports for httpx tell what they have done to a response.
_EXTENSION: Final = "streamnorm"

# An answer that is there as a whole (``MockResponseIterator``, ``FakeStreamResponseIterator``):
# LiteLLM asks for its class, and its end is a good one.
_WHOLE: Final = "model_response"

# Of an answer from LiteLLM's cache (caching/caching_handler.py).
_CACHED: Final = "cached_response"

# Generators of answers that nobody has sent (litellm/utils.py).
_MADE_UP: Final = ("mock_completion_streaming_obj", "async_mock_completion_streaming_obj")

# The class of LiteLLM's streams. Those of its router are of others, each around such a one,
# whose logging object it shares (litellm/router.py).
_PLAIN: Final = "CustomStreamWrapper"

_ARROW: Final = "→"

# What was done below the streams of calls that are logged.
_of_calls: Final[weakref.WeakKeyDictionary[Any, weakref.ref[InPlace]]] = weakref.WeakKeyDictionary()


class InPlace:
    """What is done below one wrapper.

    Attributes:
        error_factory: Makes what the wrapper is given for a fault; None for the fault itself.
        lines: What one of LiteLLM's handlers reads, None where it reads no lines.
        headers: Of the response, where the wrapper knows them.
        inside: What is done below the wrapper inside this one; None where there is none.
    """

    def __init__(self, options: Options, module: Engine) -> None:
        # What concerns the order of chunks is for who reads the wrapper: it moves the
        # finish_reason itself, and has its own idea of chunks.
        self.options: Final = options._replace(
            reasoning="reasoning_content", split_mixed=False, finish="as_sent"
        )
        self.module: Final = module
        self._targets: Final = options.targets
        self.error_factory: ErrorFactory | None = None
        self._text: Text | None = None
        self.lines: Any = None
        self.headers: Any = None
        self.inside: InPlace | None = None
        self._objects: ObjectNormalizer | None = None
        self._has_shown = False

    @property
    def raised(self) -> StreamFault | None:
        """The fault that the wrapper was given, of which it makes an exception of its own."""
        return None if self._text is None else self._text.raised

    @property
    def reads_text(self) -> bool:
        """The chunks were normalised where they were text: tags, calls and the end as well."""
        if self._text is None:
            return self.inside is not None and self.inside.reads_text
        return self._text.is_chat

    def shown(self) -> tuple[bool, bool]:
        """Whether an answer, and whether reasoning, was in the objects that a handler gave."""
        objects = self._objects
        if objects is None:
            return self._has_shown, False
        return self._has_shown or objects.visible, objects.reasoning

    def report(self, above: Report) -> Report:
        """What was done below, as if what was written there had come out.

        Args:
            above: Of the chunks that the wrapper gave: all there is where nothing was done.
        """
        if self._text is None or not self._text.is_chat:
            return above
        below = self._text.report()
        remaps: dict[str, int] = {}
        for name, count in below.remaps.items():
            source = name.partition(_ARROW)[0]
            if (source,) != self._targets:
                remaps[source + _ARROW + "+".join(self._targets)] = count
        if self._targets != self.options.targets:
            for name, count in above.remaps.items():
                if (rest := count - sum(below.remaps.values())) > 0:
                    remaps[name] = rest
        return replace(below, remaps=remaps)

    def below(self, stream: Any) -> Any:
        """What the wrapper is to read in place of *stream*; *stream* itself where nothing fits."""
        kind = type(stream)
        if isinstance(stream, Inner) or peek_at(stream, _WHOLE) is not None:
            return stream
        if stream is None or isinstance(stream, str | bytes | list | tuple | dict):
            return stream
        is_async = hasattr(kind, "__aiter__")
        if not is_async and not hasattr(kind, "__next__"):
            return stream
        name = _sdk_method(stream)
        if name is not None:
            self._below_sdk(stream, name)
        elif not self._below_lines(stream):
            self._objects = _object_rules(self.options)
        made = (_Either if hasattr(kind, "__next__") else _Async) if is_async else _Sync
        return made(self, stream)

    def edited(self, chunk: Any) -> list[Any]:
        """*chunk*, an object that a handler gave, in normal form."""
        objects = self._objects
        if objects is None or not isinstance(peek_at(chunk, "choices"), list):
            # GenericStreamingChunk, text, what another API calls a chunk.
            is_mute = isinstance(chunk, dict) and not (
                chunk.get("text", True) or chunk.get("tool_use")
            )
            self._has_shown = self._has_shown or not is_mute
            return [chunk]
        if isinstance(chunk, dict):
            return [chunk]
        made: list[Any] = objects.feed(chunk)
        return made or [chunk]

    def _below_sdk(self, stream: Any, name: str) -> None:
        response = stream.response
        extensions = peek_at(response, "extensions")
        told = extensions.get(_EXTENSION) if isinstance(extensions, dict) else None
        headers = headers_of(response)
        text: Text
        if told is None:
            text = Body(self.options, self.module, headers)
        else:
            text = Told(told, headers)
        self._text = text
        read = getattr(response, name)

        @functools.wraps(read)
        def edited(*args: Any, **kwargs: Any) -> Any:
            items = read(*args, **kwargs)
            pump = _AsyncPump if hasattr(type(items), "__aiter__") else _SyncPump
            return pump(items, text, self)

        setattr(response, name, edited)

    def _below_lines(self, stream: Any) -> bool:
        lines = peek_at(stream, _LINES[0])
        kind = type(lines)
        if not hasattr(kind, "__anext__") and not hasattr(kind, "__next__"):
            return False
        text = self._text = Lines(self.options, self.module, self.headers, self.shown)
        pump = (_AsyncPump if hasattr(kind, "__anext__") else _SyncPump)(lines, text, self)
        self.lines = lines
        for name in _LINES:
            if peek_at(stream, name) is lines:
                setattr(stream, name, pump)
        # Handlers copy one name to another and leave both in the delta.
        self._objects = _object_rules(self.options)
        return True


def wrap(wrapper: Any, options: Options, module: Engine) -> InPlace | None:
    """Put the normalisation below *wrapper*, LiteLLM's ``CustomStreamWrapper``; read nothing.

    Returns:
        What is done there: that of an earlier call, whose options stay. None where nothing
        can be put in: the wrapper was read already, or reads what has no known shape.
    """
    found = in_place(wrapper)
    if found is not None:
        return found
    made = InPlace(options, module)
    made.headers = _headers_known(wrapper)
    stream = peek_at(wrapper, "completion_stream")
    if stream is not None:
        if _is_begun(wrapper, stream):
            return None
        below = made.below(stream)
        if below is stream:
            return None
        wrapper.completion_stream = below
        _relate(wrapper, made)
        return made
    make_call = peek_at(wrapper, "make_call")
    if not callable(make_call):
        return None
    wrapper.make_call = _lazily(make_call, made)
    _relate(wrapper, made)
    return made


def is_answer(wrapper: Any) -> bool:
    """Whether no upstream streams what *wrapper* gives: it is cached, a mock, or was whole.

    Reasoning that no delimiter begins is not there, or was taken out when it was sent.
    """
    if peek_at(wrapper, "custom_llm_provider") == _CACHED:
        return True
    stream = peek_at(wrapper, "completion_stream")
    if isinstance(stream, Inner):
        stream = stream._stream
    return peek_at(stream, "__name__") in _MADE_UP or peek_at(stream, _WHOLE) is not None


def _headers_known(wrapper: Any) -> dict[str, str] | None:
    items = getattr(peek_at(wrapper, "_response_headers"), "items", None)
    return None if items is None else {str(name): str(value) for name, value in items()}


def _relate(wrapper: Any, made: InPlace) -> None:
    """Note *made* for the call of *wrapper*; for one around another, find that of the other."""
    call = peek_at(wrapper, "logging_obj")
    try:
        if type(wrapper).__name__ == _PLAIN:
            _of_calls[call] = weakref.ref(made)
        elif (found := _of_calls.get(call)) is not None:
            made.inside = found()
    except TypeError:
        return  # None, or a stand-in that cannot be referred to


def in_place(wrapper: Any) -> InPlace | None:
    """What was put below *wrapper*, if that was done."""
    stream = peek_at(wrapper, "completion_stream")
    if isinstance(stream, Inner):
        return stream._in_place
    found = peek_at(peek_at(wrapper, "make_call"), "_in_place")
    return found if isinstance(found, InPlace) else None


def _lazily(make_call: Callable[..., Any], made: InPlace) -> Callable[..., Any]:
    """*make_call*, with whatever it makes normalised. It is one of either sort, as before."""

    async def finished(coming: Any) -> Any:
        return made.below(await coming)

    def called(*args: Any, **kwargs: Any) -> Any:
        stream = make_call(*args, **kwargs)
        return finished(stream) if inspect.isawaitable(stream) else made.below(stream)

    async def called_async(*args: Any, **kwargs: Any) -> Any:
        return made.below(await make_call(*args, **kwargs))

    call: Any = called_async if inspect.iscoroutinefunction(make_call) else called
    functools.update_wrapper(call, make_call)
    call._in_place = made
    return call  # type: ignore[no-any-return]


def _is_begun(wrapper: Any, stream: Any) -> bool:
    """Whether something of *stream* may have been read: then it is too late to go below."""
    read = any(peek_at(wrapper, name) for name in ("chunks", "sent_first_chunk", "sent_last_chunk"))
    return read or peek_at(peek_at(stream, "response"), "is_stream_consumed") is True


def _sdk_method(stream: Any) -> str | None:
    """The method of its response that a stream of OpenAI's SDK reads; None for other streams."""
    for kind in type(stream).__mro__:
        if kind.__module__.partition(".")[0] == "openai":
            name = _SDK_STREAMS.get(kind.__name__)
            if name is not None and callable(peek_at(peek_at(stream, "response"), name)):
                return name
    return None


def _object_rules(options: Options) -> ObjectNormalizer:
    # Tags and calls were dealt with in the text, or are left to who reads the wrapper: held
    # back here, they would have to be put out behind a chunk of another sort.
    return ObjectNormalizer(
        options._replace(tags="off", starts_in_reasoning=False, repairs=()), "dict", keep=True
    )


class Inner:
    """What stands where LiteLLM keeps the stream that it reads, whose attributes it has."""

    def __init__(self, in_place: InPlace, stream: Any) -> None:
        self._in_place = in_place
        self._stream = stream
        self._iterator: Any = None
        self._ready: deque[Any] = deque()

    def __getattr__(self, name: str) -> Any:
        # (Without "_stream" a copy that was never set up would recurse.)
        if name == "_stream" or (name.startswith("__") and name.endswith("__")):
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        return getattr(self._stream, name)


class _Async(Inner):
    """LiteLLM begins a new ``async for`` for each chunk, so it is its own iterator."""

    def __aiter__(self) -> AsyncIterator[Any]:
        return self

    async def __anext__(self) -> Any:
        if self._iterator is None:
            # The SDK's streams make another generator each time; its handlers prepare
            # themselves, and return themselves.
            is_ready = _sdk_method(self._stream) is not None
            self._iterator = self._stream if is_ready else self._stream.__aiter__()
        while not self._ready:
            self._ready.extend(self._in_place.edited(await self._iterator.__anext__()))
        return self._ready.popleft()

    async def aclose(self) -> None:
        """Close the stream, whatever its closing method is called."""
        # Handlers up to 1.82 cannot be closed; what they read from can.
        for each in (self._iterator, self._in_place.lines):
            if each is not None and each is not self._stream and not _is_busy(each):
                await shut(each)
        await shut(self._stream)


class _Sync(Inner):
    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        while not self._ready:
            self._ready.extend(self._in_place.edited(next(self._stream)))
        return self._ready.popleft()

    def close(self) -> None:
        """Close the stream, if it can be."""
        for each in (self._in_place.lines, self._stream):
            close = peek_at(each, "close")
            if callable(close) and not _is_busy(each):
                close()


class _Either(_Async, _Sync):
    """LiteLLM's handlers have the methods of both."""


def _is_busy(iterator: object) -> bool:
    """Whether *iterator* is a generator in which somebody waits: it cannot be closed."""
    return any(getattr(iterator, name, False) is True for name in ("ag_running", "gi_running"))


class _Pump:
    """Pieces of a body, edited."""

    def __init__(self, items: Any, text: Text, in_place: InPlace) -> None:
        self._items = items
        self._text = text
        self._in_place = in_place
        self._ready: deque[Any] = deque()

    def __getattr__(self, name: str) -> Any:
        if name == "_items" or (name.startswith("__") and name.endswith("__")):
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        return getattr(self._items, name)


class _AsyncPump(_Pump):
    def __aiter__(self) -> AsyncIterator[Any]:
        return self

    async def __anext__(self) -> Any:
        text = self._text
        while not self._ready:
            if text.is_over:
                text.raise_due(self._in_place.error_factory)
                raise StopAsyncIteration
            try:
                item = await self._items.__anext__()
            except StopAsyncIteration:
                self._ready.extend(text.close(None))
            except Exception as error:  # noqa: BLE001 - raised behind what had come before
                self._ready.extend(text.close(error))
            else:
                self._ready.extend(text.take(item))
        return self._ready.popleft()


class _SyncPump(_Pump):
    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        text = self._text
        while not self._ready:
            if text.is_over:
                text.raise_due(self._in_place.error_factory)
                raise StopIteration
            try:
                item = next(self._items)
            except StopIteration:
                self._ready.extend(text.close(None))
            except Exception as error:  # noqa: BLE001 - raised behind what had come before
                self._ready.extend(text.close(error))
            else:
                self._ready.extend(text.take(item))
        return self._ready.popleft()
