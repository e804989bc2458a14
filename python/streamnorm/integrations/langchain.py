"""LangChain: chat models of OpenAI's API that keep reasoning, whatever it was called.

``langchain_openai`` builds its messages from the members of a delta that OpenAI knows, so
reasoning is lost whatever transport is below. The mixin here does two things: it has the
model read through a normalising transport (`streamnorm.integrations.openai`), and it carries
the one key that reasoning has behind that into the messages. From there ``content_blocks``
has it, for which LangChain's translator for OpenAI is wrapped: see `KEY`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import aclosing
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

from .. import echo_message, normalize_response
from ..options import Options

try:
    from langchain_core.messages import AIMessage
    from langchain_core.messages.ai import subtract_usage
    from langchain_core.messages.block_translators import get_translator, register_translator
    from langchain_openai import ChatOpenAI
    from pydantic import BaseModel, Field, model_validator
except ImportError as _error:
    raise ImportError(
        "streamnorm.integrations.langchain needs langchain-openai: "
        "pip install 'streamnorm[langchain]'"
    ) from _error

from ._kinds import CHAT_PATHS
from .openai import normalize_openai

__all__ = ["KEY", "NormalizedChatOpenAI", "StreamnormMixin"]

# The name under which LangChain's own integrations (langchain-deepseek 1.1, -xai 1.3) put
# reasoning into ``additional_kwargs``. ``content_blocks`` (and the content of
# ``output_version="v1"``, which is made of those) reads it there for the providers that have
# no translator of their own; OpenAI has one, and it reads none.
KEY: Final = "reasoning_content"

# What messages of ``ChatOpenAI``, AzureChatOpenAI and others say that they come from.
# (With another name of ours they would no longer count as messages of the model's provider,
# which LangChain's counting of tokens goes by.)
_PROVIDER: Final = "openai"

# Chunks of LangChain are added up, strings by concatenation: a finish_reason that comes
# twice would read "stopstop".
_DEFAULTS: Final[dict[str, Any]] = {"finish": "last"}

# Where a model keeps its SDK clients, and the resources of those that it calls.
_CLIENTS: Final = (("root_client", "client"), ("root_async_client", "async_client"))

# Of an HTTP client that is made here: the one whose connections it uses.
_ORIGIN: Final = "_streamnorm_origin"

# What httpx says, and httpx2.
_CLOSED: Final = "Cannot send a request, as the client has been closed."


class StreamnormMixin(BaseModel):
    """Makes a subclass of ``langchain_openai.ChatOpenAI`` keep reasoning; stands before it.

    ::

        class NormalizedDeepSeek(StreamnormMixin, ChatDeepSeek): ...

    Reasoning is in ``additional_kwargs["reasoning_content"]`` and in ``content_blocks`` of
    each chunk and of the message, streamed or not; the text is the answer alone. Content is
    a string, or with ``output_version="v1"`` those blocks. Tool calls, finish_reason and
    usage are those that the upstream meant. A stream that did not end well raises
    `streamnorm.StreamFault`. Streams of OpenAI's Responses API pass untouched.

    The HTTP clients that the model was given, and those that LangChain shares among models,
    are not changed: the model has clients of its own that use their connections and
    settings, also those that are set later. (A ``client=`` that was passed in without its
    ``root_client=`` is used as it is.)

    Attributes:
        streamnorm_options: Keyword arguments of `streamnorm.integrations.httpx
            .normalize_client`, as ``{"tags": "free"}``. ``reasoning`` is not among them, and
            ``finish`` is ``last`` where nothing else is said.
        streamnorm_echo: Name of a row of `streamnorm.ECHO_PROFILES`: the reasoning text of
            earlier turns is sent back as that upstream wants it. None: it is not sent, which
            is what LangChain does. (Signatures and encrypted details are not kept.)
    """

    streamnorm_options: dict[str, Any] = Field(default_factory=dict)
    streamnorm_echo: str | None = None

    @model_validator(mode="after")
    def _read_through_streamnorm(self) -> Any:
        # After the model has made its clients: passing it others would change what it takes
        # for its defaults (whether it asks for usage, for one).
        if "reasoning" in self.streamnorm_options:
            raise ValueError(f"streamnorm_options cannot hold 'reasoning': it is {KEY} here")
        if self.streamnorm_echo is not None:
            echo_message({"role": "assistant"}, self.streamnorm_echo)  # is it known?
        model: Any = self
        for root, resource in _CLIENTS:
            client = getattr(model, root, None)
            if client is None:
                continue
            client = _normalized(client, {**_DEFAULTS, **self.streamnorm_options})
            setattr(model, root, client)
            setattr(model, resource, client.chat.completions)
        return self

    def _convert_chunk_to_generation_chunk(
        self, chunk: dict[str, Any], *args: Any, **kwargs: Any
    ) -> Any:
        base: Any = super()
        made = base._convert_chunk_to_generation_chunk(chunk, *args, **kwargs)
        if made is not None:
            # The SDK's helper for structured output puts the chunk into an event.
            choices = chunk.get("choices") or (chunk.get("chunk") or {}).get("choices") or [{}]
            _keep(made.message, choices[0].get("delta"))
        return made

    def _create_chat_result(self, response: Any, *args: Any, **kwargs: Any) -> Any:
        base: Any = super()
        result = base._create_chat_result(response, *args, **kwargs)
        choices = response["choices"] if isinstance(response, dict) else response.choices
        for generation, choice in zip(result.generations, choices, strict=False):
            message = choice["message"] if isinstance(choice, dict) else choice.message
            _keep(generation.message, message)
        return result

    def _get_generation_chunk_from_completion(self, completion: Any) -> Any:
        """What ends a stream with structured output; the reasoning has come in chunks."""
        base: Any = super()
        made = base._get_generation_chunk_from_completion(completion)
        made.message.additional_kwargs.pop(KEY, None)
        return made

    def _stream(self, *args: Any, **kwargs: Any) -> Iterator[Any]:
        base: Any = super()
        mend = _Mending(self).mend
        for chunk in base._stream(*args, **kwargs):
            mend(chunk.message)
            yield chunk

    async def _astream(self, *args: Any, **kwargs: Any) -> AsyncIterator[Any]:
        base: Any = super()
        mend = _Mending(self).mend
        async with aclosing(base._astream(*args, **kwargs)) as chunks:
            async for chunk in chunks:
                mend(chunk.message)
                yield chunk

    def _get_request_payload(self, input_: Any, **kwargs: Any) -> Any:
        base: Any = super()
        payload = base._get_request_payload(input_, **kwargs)
        if self.streamnorm_echo is not None and "messages" in payload:
            given = base._convert_input(input_).to_messages()
            sent = payload["messages"]
            payload["messages"] = [
                self._echoed(message, before) if isinstance(message, AIMessage) else before
                for message, before in zip(given, sent, strict=True)
            ]
        return payload

    def _echoed(self, message: Any, sent: dict[str, Any]) -> dict[str, Any]:
        assert self.streamnorm_echo is not None
        said = message.additional_kwargs.get(KEY)
        model: str | None = getattr(self, "model_name", None)
        return echo_message({**sent, KEY: said}, self.streamnorm_echo, model=model)


class NormalizedChatOpenAI(StreamnormMixin, ChatOpenAI):  # type: ignore[misc, unused-ignore]
    """``ChatOpenAI`` for any upstream that speaks its API; see `StreamnormMixin`."""

    @classmethod
    def get_lc_namespace(cls) -> list[str]:
        """Where ``langchain_core.load`` finds this class."""
        return __name__.split(".")


_Translate = Callable[[Any], list[Any]]


def _with_reasoning(translate: _Translate) -> _Translate:
    """*translate*, with a block for the reasoning under `KEY` before its own."""

    def translated(message: Any) -> list[Any]:
        blocks = translate(message)
        text = message.additional_kwargs.get(KEY)
        if not isinstance(text, str) or not text:
            return blocks
        if any(block.get("type") == "reasoning" for block in blocks):
            return blocks
        return [{"type": "reasoning", "reasoning": text}, *blocks]

    return translated


def _register() -> None:
    """Have ``content_blocks`` show reasoning of messages that come from `_PROVIDER`.

    The table is LangChain's for the whole process, and meant for integrations to write to.
    Messages without `KEY`, which ``ChatOpenAI`` never writes, are translated as before.
    """
    before: Any = get_translator(_PROVIDER)
    register_translator(
        _PROVIDER,
        _with_reasoning(before["translate_content"]),
        _with_reasoning(before["translate_content_chunk"]),
    )


_register()


def _keep(message: Any, said: Any) -> None:
    """Put the reasoning of a delta or message, plain or of the SDK, into LangChain's."""
    text = said.get(KEY) if isinstance(said, dict) else getattr(said, KEY, None)
    if isinstance(text, str) and text:
        message.additional_kwargs[KEY] = text


class _Mending:
    """Makes the chunks of one stream such that they add up to what was meant."""

    def __init__(self, model: Any) -> None:
        self._has_blocks = getattr(model, "output_version", None) == "v1"
        self._usage: Any = None
        self._blocks = 0
        self._last: str | None = None

    def mend(self, message: Any) -> None:
        """Mend the next chunk's message in place."""
        self._count_once(message)
        if self._has_blocks and isinstance(message.content, str):
            self._number(message)

    def _count_once(self, message: Any) -> None:
        """Leave of a chunk's usage what is new in it, since LangChain adds up that of all.

        Upstreams that send usage more than once count from the start each time.
        """
        usage = getattr(message, "usage_metadata", None)
        if usage is None:
            return
        if self._usage is not None:
            message.usage_metadata = subtract_usage(usage, self._usage)
        self._usage = usage

    def _number(self, message: Any) -> None:
        """Make blocks of text and reasoning, with an index that tool calls cannot have.

        Blocks of one index are added up to one. LangChain counts those of text from 0, as
        upstreams do their tool calls, so that a call would become a part of the text.
        """
        if not (message.content or message.additional_kwargs.get(KEY)):
            return
        blocks = message.content_blocks
        for block in blocks:
            kind = block["type"]
            if kind in ("reasoning", "text"):
                self._blocks += kind != self._last
                self._last = kind
                block["index"] = f"lc_{kind}_{self._blocks}"
        message.content = blocks


def _normalized(client: Any, options: dict[str, Any]) -> Any:
    """An OpenAI client like *client*, which stays as it is, with an HTTP client of its own.

    LangChain keeps one HTTP client for all models of a base URL: it must not be changed.
    """
    http = getattr(client._client, _ORIGIN, client._client)
    # (A model made from the fields of another one comes with the clients of that.)
    own = _own_client(http)
    for_bodies = {name: options[name] for name in Options._fields if name in options}
    for_bodies["on_malformed"] = "skip"  # for the SDK to complain about
    own._transport = _Borrowed(http, http._transport, for_bodies)
    own._mounts = {
        pattern: None if inner is None else _Borrowed(http, inner, for_bodies)
        for pattern, inner in http._mounts.items()
    }
    return normalize_openai(client.with_options(http_client=own), **options)


def _own_client(http: Any) -> Any:
    """A client of the kind of *http* that has the settings of *http*, whatever they are then.

    Its own are only what was set on itself, and whether it was closed.
    """
    kind: Any = type(http)
    own: Any = object.__new__(_following(kind))
    vars(own).update({_ORIGIN: http, "_state": http._state})
    return own


@cache
def _following(kind: type) -> type:
    return type(kind.__name__, (_Follower, kind), {})


class _Follower:
    """Stands before the class of an HTTP client; see `_own_client`."""

    def __getattr__(self, name: str) -> Any:
        if _ORIGIN not in vars(self):  # while it is copied
            raise AttributeError(name)
        return getattr(vars(self)[_ORIGIN], name)

    def __del__(self) -> None:
        """Nothing, where OpenAI's classes would start a task that closes it."""


@dataclass(frozen=True, eq=False)
class _Borrowed:
    """A transport of another client, for httpx and httpx2, whose closing is left to its owner.

    Bodies of chat completions that were not streamed pass it in normal form: the SDK parses
    structured output itself, which would fail at reasoning that stands before the answer.

    Attributes:
        owner: Closes its transport when it is dropped, so it must not be.
    """

    owner: Any
    inner: Any
    options: dict[str, Any]

    def handle_request(self, request: Any) -> Any:
        self._check()
        response = self.inner.handle_request(request)
        if not _is_completion(request, response):
            return response
        response.read()
        return self._normalized(response)

    async def handle_async_request(self, request: Any) -> Any:
        self._check()
        response = await self.inner.handle_async_request(request)
        if not _is_completion(request, response):
            return response
        await response.aread()
        return self._normalized(response)

    def close(self) -> None:
        """Nothing: see the class."""

    async def aclose(self) -> None:
        """Nothing: see the class."""

    def __enter__(self) -> _Borrowed:
        return self

    def __exit__(self, *_: object) -> None: ...

    async def __aenter__(self) -> _Borrowed:
        return self

    async def __aexit__(self, *_: object) -> None: ...

    def _check(self) -> None:
        # The transport would open connections again, which nobody closes.
        if self.owner.is_closed:
            raise RuntimeError(_CLOSED)

    def _normalized(self, response: Any) -> Any:
        body = normalize_response(response.content, **self.options)
        # The body was decoded, and has another length.
        dropped = {"content-encoding", "content-length", "transfer-encoding"}
        headers = [item for item in response.headers.multi_items() if item[0] not in dropped]
        return type(response)(
            response.status_code, headers=headers, content=body, extensions=response.extensions
        )


def _is_completion(request: Any, response: Any) -> bool:
    kind: str = response.headers.get("content-type", "")
    path: str = request.url.path
    is_json = response.status_code == 200 and kind.startswith("application/json")
    return is_json and path.rstrip("/").endswith(CHAT_PATHS)
