"""What is changed in LiteLLM itself, and how it is changed back.

The initialiser of its streams, and the two functions that give OpenAI's SDK its HTTP client:
these alone have the same names in the versions 1.78.5, 1.81.5, 1.82.6 and 1.106.2. The clients
stay LiteLLM's own, one for each event loop, with the proxies and certificates as configured,
and are closed when it closes them. (The transports that its own HTTP client makes are left
alone: their factory was renamed, its clients are cached for an hour, and one handler
overwrites what a transport had written.)
"""

from __future__ import annotations

import functools
import inspect
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Final, TypeGuard
from weakref import WeakKeyDictionary

import httpx
import litellm
from litellm.litellm_core_utils.streaming_handler import CustomStreamWrapper
from litellm.llms.openai import openai as openai_calls
from litellm.llms.openai.common_utils import BaseOpenAILLM

from .. import captured
from ..captured import Refusal
from ..options import OptionsDict
from ._transport import normalize
from .httpx import NormalizingTransport

# Called with the exception of a refusal (status 422) that LiteLLM does not raise, for what
# may be left out of the request (llms/openai/openai.py, all of its calls).
_RECOVERY: Final = "drop_params_from_unprocessable_entity_error"

# Globals of LiteLLM's for an HTTP client of the caller's own, and what it has to be.
_SESSIONS: Final = (("aclient_session", httpx.AsyncClient), ("client_session", httpx.Client))

# Static methods of `BaseOpenAILLM`: the caller's own client, or a new one.
_FACTORIES: Final = ("_get_async_http_client", "_get_sync_http_client")


class Installation:
    """What `streamnorm.integrations.litellm.install` has done, and undoes when it is called.

    A context manager as well.
    """

    _current: Installation | None = None
    _lock: Final = threading.Lock()

    def __init__(self, wrap: Callable[[Any], Any], options: OptionsDict) -> None:
        own = _own_sessions()
        with self._lock:
            if Installation._current is not None:
                raise RuntimeError(
                    "streamnorm is installed in LiteLLM already: call what install() "
                    "returned to undo it"
                )
            Installation._current = self
        self._wrap: Callable[[Any], Any] | None = wrap
        self._clients = _Clients(options)
        self._patches: list[_Patch] = []
        try:
            # Before the clients that are made already, so that none is missed.
            for name in _FACTORIES:
                self._patch(BaseOpenAILLM, name, lambda bare: staticmethod(self._changing(bare)))
            self._patch(CustomStreamWrapper, "__init__", self._wrapping)
            for client in (*own, *_kept()):
                self._clients.change(client)
        except BaseException:
            self()
            raise

    def __call__(self) -> None:
        """Leave LiteLLM as it was; a second call does nothing."""
        with self._lock:
            if Installation._current is not self:
                return
            Installation._current = None
        for patch in self._patches:
            patch.undo()
        self._wrap = None
        self._clients.restore()

    def __enter__(self) -> Installation:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self()

    def _patch(self, owner: type, name: str, made: Callable[[Callable[..., Any]], Any]) -> None:
        self._patches.append(_Patch(owner, name, made(getattr(owner, name))))

    def _wrapping(self, bare: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(bare)
        def init(wrapper: Any, *args: Any, **kwargs: Any) -> None:
            bare(wrapper, *args, **kwargs)
            wrap = self._wrap
            if wrap is not None:
                wrap(wrapper)

        return init

    def _changing(self, bare: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(bare)
        def factory(*args: Any, **kwargs: Any) -> Any:
            client = bare(*args, **kwargs)
            self._clients.change(client)
            return client

        return factory


class _Patch:
    """An attribute of a class that has another value for the time being."""

    def __init__(self, owner: type, name: str, value: Any) -> None:
        self._owner, self._name, self._value = owner, name, value
        self._before = inspect.getattr_static(owner, name)
        setattr(owner, name, value)

    def undo(self) -> None:
        # Somebody else may have wrapped it since, and would be taken out with us.
        if inspect.getattr_static(self._owner, self._name) is self._value:
            setattr(self._owner, self._name, self._before)


class _Transport(NormalizingTransport):
    """Has what LiteLLM looks for in a transport.

    Before it closes a client that it keeps no longer, it asks the client's transport for
    connections in use, of httpx's or of its own one (caching/evicted_client_closer.py).
    """

    @property
    def _pool(self) -> Any:
        return self._inner._pool

    @property
    def client(self) -> Any:
        return self._inner.client


class _Clients:
    """HTTP clients whose transports are normalising ones for the time being."""

    def __init__(self, options: OptionsDict) -> None:
        self._options = options
        self._lock = threading.Lock()
        self._is_over = False
        # (LiteLLM drops clients with their event loop, and what is not closed then is
        # closed as it is collected.)
        self._before: WeakKeyDictionary[Any, tuple[Any, dict[Any, Any]]] = WeakKeyDictionary()

    def change(self, client: Any) -> None:
        """Normalise what *client* reads, unless that is done already."""
        if not _is_httpx(client):
            return
        with self._lock:
            if self._is_over or client in self._before:
                return
            self._before[client] = client._transport, dict(client._mounts)
            normalize(client, _Transport, dict(self._options))

    def restore(self) -> None:
        """Give all of them the transports that they had."""
        with self._lock:
            self._is_over = True
            for client, before in list(self._before.items()):
                client._transport, client._mounts = before
            self._before.clear()


def _own_sessions() -> list[Any]:
    """The caller's own HTTP clients.

    Raises:
        TypeError: One is something else, which OpenAI's SDK would not take either.
    """
    found = []
    for name, kind in _SESSIONS:
        session = getattr(litellm, name)
        if session is not None and not isinstance(session, kind):
            raise TypeError(
                f"litellm.{name} has to be an httpx.{kind.__name__}, not {type(session).__name__}"
            )
        found.append(session)
    return found


def _kept() -> list[Any]:
    """The HTTP clients of those clients of OpenAI's SDK that LiteLLM keeps."""
    return [
        getattr(client, "_client", None)
        for client in list(vars(litellm)["in_memory_llm_clients_cache"].cache_dict.values())
        if type(client).__module__.partition(".")[0] == "openai"
    ]


def _is_httpx(client: object) -> TypeGuard[httpx.Client | httpx.AsyncClient]:
    return isinstance(client, httpx.Client | httpx.AsyncClient)


# Refusals that LiteLLM does not raise. ----------------------------------------------


class _Noticing:
    """The calls that are under way, during which LiteLLM's function is ours."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._calls = 0
        self._bare: Callable[..., Any] | None = None

    def begin(self) -> None:
        with self._lock:
            self._calls += 1
            if self._bare is None:
                bare = self._bare = getattr(openai_calls, _RECOVERY)
                setattr(openai_calls, _RECOVERY, _noted(bare))

    def end(self) -> None:
        with self._lock:
            self._calls -= 1
            if not self._calls:
                setattr(openai_calls, _RECOVERY, self._bare)
                self._bare = None


_noticing: Final = _Noticing()


@contextmanager
def noticing() -> Iterator[None]:
    """Have refusals that LiteLLM swallows noted in `streamnorm.captured`, while this lasts."""
    _noticing.begin()
    try:
        yield
    finally:
        _noticing.end()


def _noted(recover: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(recover)
    def noted(e: Any, *args: Any, **kwargs: Any) -> Any:
        response = e.response
        headers = {name.lower(): value for name, value in response.headers.items()}
        refusal = Refusal(response.status_code, headers)
        refusal.add(response.content)
        # A transport of ours has noted it with the request, and waits for its repetition.
        if captured.last() != refusal:
            captured.note(refusal)
        return recover(e, *args, **kwargs)

    return noted
