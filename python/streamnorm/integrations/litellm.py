"""LiteLLM's SDK: streams in normal form wherever LiteLLM opens them, and never None for one.

See docs/integrations/litellm.md.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, TypeVar, cast

try:
    from litellm.litellm_core_utils.streaming_handler import CustomStreamWrapper
except ImportError as _error:
    raise ImportError(
        "streamnorm.integrations.litellm needs LiteLLM: pip install 'streamnorm[litellm]'"
    ) from _error

from .. import _engine, captured, faults, litellm_stream
from ..flow_state import ErrorFactory
from ..options import OptionsDict, make_options
from ._litellm_install import Installation, noticing

if TYPE_CHECKING:
    from typing_extensions import ParamSpec, Unpack

    Parameters = ParamSpec("Parameters")

__all__ = ["Installation", "guard", "install", "wrap"]

Result = TypeVar("Result")
_Wrapper = TypeVar("_Wrapper")


def wrap(
    wrapper: _Wrapper,
    *,
    error_factory: ErrorFactory | None = None,
    **options: Unpack[OptionsDict],
) -> _Wrapper:
    """Have a stream of LiteLLM give chunks in normal form; it stays the object that it is.

    What it reads from is normalised, so its ``_hidden_params``, its callbacks, the cost and
    the usage are LiteLLM's own. Nothing is read. A stream that does not end well raises what
    LiteLLM makes of a `StreamFault`, in place of the ``finish_reason`` that it would make up;
    `StreamFault.from_exception` finds the fault in it.

    Wrapped again, a stream keeps the options that it has. One that was read already, or that
    reads something unknown, is left as it is (`streamnorm.normalize_stream` covers these).

    Args:
        wrapper: A ``litellm.CustomStreamWrapper``, synchronous or not.
        error_factory: Makes the exception that LiteLLM is given for a fault; None for the
            fault itself. LiteLLM reads its ``status_code``.
        options: See `streamnorm.options.Options`. ``reasoning``, ``split_mixed`` and
            ``finish`` mean nothing here: LiteLLM knows one name only, and makes chunks and
            ends of its own.

    Returns:
        *wrapper*.

    Raises:
        TypeError: *wrapper* is something else, or an option is unknown or of a wrong type.
        ValueError: An option has a value that is not allowed.
    """
    checked = make_options(options)
    if not isinstance(wrapper, CustomStreamWrapper):
        raise TypeError(
            f"wrap needs a litellm.CustomStreamWrapper, not {type(wrapper).__name__}"
            + (" (see guard)" if wrapper is None else "")
        )
    made = litellm_stream.wrap(wrapper, checked, _engine.engine)
    if made is not None and error_factory is not None:
        made.error_factory = error_factory
    return cast("_Wrapper", wrapper)


def install(
    *, error_factory: ErrorFactory | None = None, **options: Unpack[OptionsDict]
) -> Installation:
    """Have all streams that LiteLLM opens in this process give chunks in normal form.

    Each stream is wrapped where LiteLLM makes it (see `wrap`), whatever the provider, the
    HTTP client or the caller: also those of its router, and those that are about to be
    cached or logged. Calls through OpenAI's SDK, the ones that may end in None, go through
    `NormalizingTransport` as well (the HTTP clients that LiteLLM makes for it, or your own
    ``litellm.aclient_session`` and ``client_session``, are changed in place): the second of
    two equal refusals with status 422 becomes an error that LiteLLM raises.

    Args:
        error_factory: See `wrap`.
        options: See `wrap`.

    Returns:
        What undoes all of it: call it, or leave it as a context manager. Streams that are
        open stay as they are.

    Raises:
        RuntimeError: It is installed already.
        TypeError: An option is unknown or of a wrong type, or a session of your own is no
            client of httpx's. Nothing is changed then.
        ValueError: An option has a value that is not allowed.
    """
    make_options(options)
    return Installation(functools.partial(wrap, error_factory=error_factory, **options), options)


def guard(call: Callable[Parameters, Result]) -> Callable[Parameters, Result]:
    """A function of LiteLLM that raises where it would return None for an answer.

    LiteLLM returns None from a call that the upstream answered twice with status 422, while
    ``litellm.drop_params`` is set. What the upstream had said is in the fault; whatever else
    the function returns or raises passes as it is. It can be called from any number of
    tasks and threads.

    Args:
        call: ``litellm.acompletion``, ``litellm.completion``, the methods of a
            ``litellm.Router`` with these names, or another function that returns what they
            return.

    Returns:
        A function with the same signature. It raises `StreamFault` of kind
        ``none_stream``; with the default blame, which is the request's, since
        another credential gets the same answer.

    Raises:
        TypeError: *call* cannot be called.
    """
    if not callable(call):
        raise TypeError(f"guard needs a function, not {type(call).__name__}")

    async def awaited(coming: Awaitable[Any]) -> Any:
        with captured.call(), noticing():
            return _there(await coming)

    def called(*args: Any, **kwargs: Any) -> Any:
        with captured.call(), noticing():
            result: Any = call(*args, **kwargs)
            return awaited(result) if inspect.isawaitable(result) else _there(result)

    async def called_async(*args: Any, **kwargs: Any) -> Any:
        coming: Any = call(*args, **kwargs)
        return await awaited(coming)

    guarded = called_async if inspect.iscoroutinefunction(call) else called
    return cast("Callable[Parameters, Result]", functools.wraps(call)(guarded))


def _there(result: Any) -> Any:
    if result is None:
        raise faults.none_stream(captured.last())
    return result
