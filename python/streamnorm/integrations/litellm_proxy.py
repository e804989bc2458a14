"""The LiteLLM proxy: a callback that has its chat streams in normal form.

One line of the proxy's configuration::

    litellm_settings:
      callbacks: ["streamnorm.integrations.litellm_proxy.streamnorm_logger"]

`StreamnormLogger` works in three places. `install` has every stream that LiteLLM opens
normalised below LiteLLM's own wrapper: what the proxy hands to its callbacks has lost a part
by then. Around ``litellm.acompletion``, which the router calls, it raises where None would be
returned. And in ``async_post_call_streaming_iterator_hook``, the last that sees a stream, it
tells the client how a failed one ended.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from functools import wraps
from threading import Lock
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakKeyDictionary

from .. import captured, faults
from ..faults import StreamFault
from ..litellm_stream import InPlace, in_place
from ..objects import ObjectNormalizer
from ..options import OptionsDict, make_options
from ._error import error_body, error_headers, http_status

try:
    import litellm
    from litellm.integrations.custom_logger import CustomLogger
    from litellm.llms.base_llm.chat.transformation import BaseLLMException
    from litellm.types.utils import ModelResponseStream
    from openai import APIError
except ImportError as _error:
    raise ImportError(
        "streamnorm.integrations.litellm_proxy needs LiteLLM's proxy: "
        "pip install 'streamnorm[litellm-proxy]'"
    ) from _error

from .litellm import guard, install

if TYPE_CHECKING:
    from typing_extensions import Unpack

    streamnorm_logger: StreamnormLogger

__all__ = ["ProxyFault", "StreamnormLogger", "streamnorm_logger"]

# Its functions are attributes that are made when they are asked for.
_litellm: Any = litellm

_HOOK: Final = "async_post_call_streaming_iterator_hook"

# What LiteLLM raises for errors of an upstream: all of litellm.exceptions that are one
# derive from the OpenAI SDK's. A guardrail's exceptions are none of these.
_PROVIDERS: Final = (APIError, BaseLLMException)


class ProxyFault(Exception):
    """A fault in the words that the proxy has for its clients; the fault is the ``__cause__``.

    The proxy makes of it ``{"error": {"message", "type", "param", "code"}}``, with the status
    as ``code``. Before the first chunk that is the body of an answer with this status;
    after it, an event, behind which the stream ends without ``[DONE]``.

    Attributes:
        message: One line, for the client.
        type: OpenAI's name for the sort of error.
        param: Always None.
        status_code: The HTTP status.
        headers: Fields for the answer, where there is no stream at all.
    """

    def __init__(self, fault: StreamFault) -> None:
        told = error_body(fault)["error"]
        super().__init__(told["message"])
        self.message: str = told["message"]
        self.type: str = told["type"]
        self.param: None = None
        self.status_code: int = http_status(fault)
        self.headers: dict[str, str] = error_headers(fault)
        self.__cause__: BaseException | None = fault


class StreamnormLogger(CustomLogger):
    """A callback for the proxy's configuration; ``streamnorm_logger`` is a ready one.

    Making the first one plugs streamnorm into this process: `install` of
    `streamnorm.integrations.litellm`, which has streams normalised in place, and a guard
    around ``litellm.acompletion``: where it would return None a `ProxyFault` is raised, with
    which the router does what it does with any error of a deployment.

    A subclass works like this class wherever it is made, also in a module beside the
    configuration. The proxy looks for a callback's hooks in its own class only, not in
    those above: so each subclass gets the hook that it inherits as its own.

    Args:
        options: See `streamnorm.options.Options`. One process has one set of them.

    Raises:
        TypeError: An option is unknown or of a wrong type.
        ValueError: An option has a value that is not allowed, or others than those of a
            logger that was made before.
    """

    def __init__(self, **options: Unpack[OptionsDict]) -> None:
        super().__init__()
        attach(options)

    def __init_subclass__(cls, **more: Any) -> None:
        super().__init_subclass__(**more)
        # litellm/proxy/utils.py, ProxyLogging.callback_capabilities: a hook counts where
        # it is in the __dict__ of the callback's class.
        if _HOOK not in cls.__dict__:
            setattr(cls, _HOOK, getattr(cls, _HOOK))

    async def async_post_call_streaming_iterator_hook(
        self,
        user_api_key_dict: Any,  # noqa: ARG002 - the proxy gives all three by name
        response: Any,
        request_data: dict[str, Any],
    ) -> AsyncGenerator[Any, None]:
        """Give the proxy the stream *response*, and an honest error where it failed.

        Chat chunks that were not normalised below LiteLLM's wrapper are normalised here.
        Whatever else the proxy streams (Anthropic's and OpenAI's other APIs, frames that an
        earlier callback made) passes as it is.

        Raises:
            ProxyFault: The stream failed, or *response* is None.
            Exception: What an earlier callback raised.
        """
        if response is None:
            raise ProxyFault(faults.none_stream(captured.last()))
        async with aclosing(_chunks(response, request_data)) as chunks:
            while True:
                try:
                    chunk = await anext(chunks)
                except StopAsyncIteration:
                    return
                except Exception as error:
                    fault = _fault_of(error)
                    if fault is None:
                        raise
                    raise ProxyFault(fault) from fault
                yield chunk


def __getattr__(name: str) -> Any:
    # Made when it is asked for, not with the module: who only subclasses the logger would
    # have one with default options in the process as well.
    if name != "streamnorm_logger":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    made = globals()[name] = StreamnormLogger()
    return made


# In the process. --------------------------------------------------------------------


class _Place:
    """Where streamnorm sits in this process.

    Attributes:
        current: Where it sits; None where it does not.
        lock: Held where that is changed.
        options: Of every stream.
        below: What was done below a stream, by LiteLLM's logging object of its call: all
            that LiteLLM puts around the stream has the same one.
    """

    current: _Place | None = None
    lock: Final = Lock()

    def __init__(self, given: OptionsDict) -> None:
        self.options: Final = make_options(given)
        self.below: Final[WeakKeyDictionary[Any, InPlace]] = WeakKeyDictionary()
        self._uninstall = _installed(given)
        self._bare = _litellm.acompletion
        _litellm.acompletion = self._around = self._wrapped(self._bare)

    def leave(self) -> None:
        # Somebody else may have wrapped it since, and would be taken out with us.
        if _litellm.acompletion is self._around:
            _litellm.acompletion = self._bare
        self._uninstall()

    def _wrapped(self, bare: Callable[..., Any]) -> Callable[..., Any]:
        guarded = guard(bare)

        @wraps(bare)
        async def acompletion(*args: Any, **kwargs: Any) -> Any:
            try:
                response = await guarded(*args, **kwargs)
            except StreamFault as fault:
                raise ProxyFault(fault) from fault
            done = in_place(response)
            if done is not None:
                self.below[response.logging_obj] = done
            return response

        return acompletion


def _installed(given: OptionsDict) -> Callable[[], None]:
    """Install streamnorm in LiteLLM; where the host has done so itself, that stays as it is."""
    try:
        return install(error_factory=_upstream_error, **given)
    except RuntimeError:
        return lambda: None


def _upstream_error(fault: StreamFault) -> Exception:
    """What is raised inside LiteLLM's stream for *fault*, which is the ``__cause__``.

    LiteLLM reads the status of such an exception as that of an upstream's answer: by it the
    router falls back, or has the deployment rest.
    """
    status = fault.status_code or http_status(fault)
    headers = {} if fault.retry_after is None else error_headers(fault)
    body = fault.body if isinstance(fault.body, dict) else None
    error: Exception = BaseLLMException(status, str(fault), headers=headers, body=body)
    error.__cause__ = fault
    return error


def attach(options: OptionsDict) -> Callable[[], None]:
    """Plug streamnorm into this process, once; see `StreamnormLogger`.

    Returns:
        What takes it out again, for tests.
    """
    with _Place.lock:
        if _Place.current is None:
            _Place.current = _Place(options)
        elif make_options(options) != _Place.current.options:
            raise ValueError(
                "a logger with other options was made before, and one process has one set of them"
            )
    return _detach


def _detach() -> None:
    with _Place.lock:
        place, _Place.current = _Place.current, None
    if place is not None:
        place.leave()


# The hook. --------------------------------------------------------------------------


async def _chunks(response: Any, request_data: Any) -> AsyncGenerator[Any, None]:
    """The items of *response*, chat chunks in normal form.

    Raises:
        StreamFault: The chunks do not end well.
        Exception: What reading *response* raised.
    """
    engine: ObjectNormalizer | None = None
    is_begun = False
    try:
        async for item in response:
            if not isinstance(item, ModelResponseStream):
                yield item
                continue
            if not is_begun:
                is_begun, engine = True, _engine(response, request_data)
            for chunk in [item] if engine is None else engine.feed(item):
                yield chunk
            if engine is not None and engine.fault is not None:
                break
    except Exception:
        for chunk in [] if engine is None else engine.close(failed=True):
            yield chunk
        raise
    if engine is None:
        return
    for chunk in engine.close():
        yield chunk
    if engine.fault is not None:
        visible, reasoning = engine.visible, engine.reasoning
        raise faults.from_facts(engine.fault, visible=visible, reasoning=reasoning)


def _engine(response: Any, request_data: Any) -> ObjectNormalizer | None:
    """What normalises the chunks of *response*, of which one has come; None for nothing."""
    place = _Place.current
    if place is None:
        return None
    options = place.options
    logging = getattr(response, "logging_obj", None)
    if logging is None and isinstance(request_data, dict):  # behind another callback
        logging = request_data.get("litellm_logging_obj")
    below = None if logging is None else place.below.get(logging)
    if below is not None and below.reads_text:
        if below.options == options:
            return None
        # What was between delimiters was taken out: what is there now is the answer.
        options = options._replace(tags="off", starts_in_reasoning=False)
    return ObjectNormalizer(options, "dict", keep=True)


def _fault_of(error: Exception) -> StreamFault | None:
    """The fault that *error* tells of; None for one that is no upstream's."""
    if isinstance(error, (StreamFault, *_PROVIDERS)):
        return StreamFault.from_exception(error)
    return None
