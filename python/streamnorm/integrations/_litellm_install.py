"""What is changed in LiteLLM itself, and how it is changed back.

Three places, each the only one that has these names in the versions 1.78.5, 1.81.5, 1.82.6
and 1.106.2. (The transports that its own HTTP client makes have not: their factory was
renamed, its clients are cached for an hour, and one handler overwrites what a transport
had written.)
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import functools
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Final

import litellm
from litellm.litellm_core_utils.streaming_handler import CustomStreamWrapper
from litellm.llms.custom_httpx.http_handler import AsyncHTTPHandler, HTTPHandler
from litellm.llms.openai import openai as openai_calls

from .. import captured
from ..captured import Refusal
from ..options import OptionsDict
from .httpx import normalize_client

# Called with the exception of a refusal (status 422) that LiteLLM does not raise, for what
# may be left out of the request (llms/openai/openai.py, all of its calls).
_RECOVERY: Final = "drop_params_from_unprocessable_entity_error"

_SESSIONS: Final = ("aclient_session", "client_session")


class Installation:
    """What `streamnorm.integrations.litellm.install` has done, and undoes when it is called.

    A context manager as well.
    """

    _current: Installation | None = None
    _lock: Final = threading.Lock()

    def __init__(self, wrap: Callable[[Any], Any], options: OptionsDict) -> None:
        with self._lock:
            if Installation._current is not None:
                raise RuntimeError(
                    "streamnorm is installed in LiteLLM already: call what install() "
                    "returned to undo it"
                )
            Installation._current = self
        self._wrap: Callable[[Any], Any] | None = wrap
        kept = {id(client._client): client._client for _, client in _sdk_clients()}
        self._sessions = [_Session(name, options) for name in _SESSIONS]
        # Those that were made before keep the HTTP client that they have.
        own = [session.client for session in self._sessions]
        self._changed = [
            _Changed(client, options)
            for client in kept.values()
            if not any(client is other for other in own)
        ]
        self._bare_init = CustomStreamWrapper.__init__
        self._init = self._wrapping(self._bare_init)
        CustomStreamWrapper.__init__ = self._init  # type: ignore[method-assign]

    def __call__(self) -> None:
        """Leave LiteLLM as it was; a second call does nothing."""
        with self._lock:
            if Installation._current is not self:
                return
            Installation._current = None
        # Somebody else may have wrapped it since, and would be taken out with us.
        if CustomStreamWrapper.__init__ is self._init:
            CustomStreamWrapper.__init__ = self._bare_init  # type: ignore[method-assign]
        self._wrap = None
        for session in self._sessions:
            session.restore()
        for changed in self._changed:
            changed.restore()

    def __enter__(self) -> Installation:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self()

    def _wrapping(self, bare: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(bare)
        def init(wrapper: Any, *args: Any, **kwargs: Any) -> None:
            bare(wrapper, *args, **kwargs)
            wrap = self._wrap
            if wrap is not None:
                wrap(wrapper)

        return init


class _Changed:
    """An HTTP client whose transports are normalising ones for the time being."""

    def __init__(self, client: Any, options: OptionsDict) -> None:
        self._client = client
        self._transports = client._transport, dict(client._mounts)
        normalize_client(client, **options)

    def restore(self) -> None:
        self._client._transport, self._client._mounts = self._transports


class _Session:
    """The HTTP client that LiteLLM gives to OpenAI's SDK, in one of its module's globals.

    Where there is none, one is made as LiteLLM makes its own: certificates, proxies and
    aiohttp below httpx (which alone gets along with several event loops) are as configured.
    """

    def __init__(self, name: str, options: OptionsDict) -> None:
        self._name = name
        self._before: Any = getattr(litellm, name)
        self.client: Any = self._before
        if self._before is None:
            handler = AsyncHTTPHandler() if name == _SESSIONS[0] else HTTPHandler()
            self.client = handler.client
            # The handler closes the client when it is collected: both go together.
            self.client._streamnorm_handler = handler
            atexit.register(self._close)
        self._changed = _Changed(self.client, options)
        setattr(litellm, name, self.client)

    def restore(self) -> None:
        """Put back what was there, unless somebody has put something else there since."""
        if getattr(litellm, self._name) is self.client:
            setattr(litellm, self._name, self._before)
        self._changed.restore()
        if self._before is None:
            # LiteLLM keeps clients of the SDK, each with the session of its time.
            for key, client in _sdk_clients():
                if client._client is self.client:
                    _cache().delete_cache(key)
            self._close()

    def _close(self) -> None:
        """Close the client that was made here, as soon as no stream can be reading through it.

        While an event loop runs, one may: then this is left to the end of the process.
        """
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            atexit.unregister(self._close)
        else:
            return
        close = getattr(self.client, "aclose", None)
        if close is None:
            return  # a synchronous one: other threads may be reading
        loop = asyncio.new_event_loop()
        # (Connections of a loop that is closed cannot be closed well any more.)
        with contextlib.suppress(Exception):
            loop.run_until_complete(close())
        loop.close()


def _sdk_clients() -> list[tuple[str, Any]]:
    """The clients of OpenAI's SDK that LiteLLM keeps, by their keys."""
    return [
        (key, client)
        for key, client in list(_cache().cache_dict.items())
        if type(client).__module__.partition(".")[0] == "openai"
    ]


def _cache() -> Any:
    return vars(litellm)["in_memory_llm_clients_cache"]


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
