"""ASGI middleware that normalises the event streams of any app, before the first byte goes out.

Pure ASGI 3, without a framework::

    app = NormalizeMiddleware(app)           # any ASGI app
    app.add_middleware(NormalizeMiddleware)  # Starlette, FastAPI
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from inspect import iscoroutinefunction
from typing import TYPE_CHECKING, Any

from .._engine import Engine
from ..options import OptionsDict, make_options
from ..stream import PEEK_BYTES, PEEK_SECONDS
from ..timeouts import check_positive
from ._asgi_response import Response, Settings, for_app
from ._body import Peek
from ._kinds import CHAT_PATHS

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from ..faults import StreamFault
    from ..flow_state import Done

_Scope = MutableMapping[str, Any]
_Message = MutableMapping[str, Any]
_Receive = Callable[[], Awaitable[_Message]]
_Send = Callable[[_Message], Awaitable[None]]


class NormalizeMiddleware:
    """Normalises streamed chat completions on their way out of an ASGI app.

    Responses with ``content-type: text/event-stream`` (or lines of JSON), a status below
    400 and no content-encoding are edited; everything else passes message by message. A
    fault before the first visible event becomes a JSON error with a status of its own, a
    later one an error event at the end of the body, without ``[DONE]``.

    Args:
        app: Any ASGI 3 app.
        only: Called with the scope of each HTTP request; a false answer leaves its response
            alone, and a true one says that it is a chat completion. None for all requests:
            where the path does not end as one of a chat completion (``CHAT_PATHS`` of
            ``_kinds``), a stream whose first event with data is of another sort passes as it is.
        peek_reasoning: Reasoning text counts as visible, so it goes out at once.
        peek_bytes: Hold no more than so many bytes of the body back.
        peek_timeout: Hold nothing back for longer than so many seconds; None for no limit. It
            is looked at when the app sends something, with *heartbeat* also in between.
        done: ``always``: a stream that ended well ends with ``data: [DONE]``; ``as_sent``:
            as the app ended it.
        heartbeat: Seconds of silence, once the response has begun, after which a comment
            line, ``: hb``, goes out; None for none. Needs asyncio, and a task per response.
        on_fault: Called with the fault and the scope, for logs. What it raises goes to the
            server, once the app is over. None: a failure of an upstream that the app has raised
            is logged (``streamnorm.asgi``), since the server does not get it.
        options: See `streamnorm.options.Options`.

    Raises:
        TypeError: An option is unknown, or of a wrong type.
        ValueError: An option has a value that is not allowed.
    """

    def __init__(
        self,
        app: Callable[[Any, Any, Any], Awaitable[None]],
        *,
        only: Callable[[_Scope], object] | None = None,
        peek_reasoning: bool = False,
        peek_bytes: int = PEEK_BYTES,
        peek_timeout: float | None = PEEK_SECONDS,
        done: Done = "always",
        heartbeat: float | None = None,
        on_fault: Callable[[StreamFault, _Scope], object] | None = None,
        _engine_module: Engine | None = None,
        **options: Unpack[OptionsDict],
    ) -> None:
        make_options(options)
        peek = Peek(peek_reasoning, peek_bytes, peek_timeout)
        peek.check()
        check_positive("heartbeat", heartbeat)
        if done not in ("as_sent", "always"):
            raise ValueError(f"done must be one of 'as_sent', 'always'; not {done!r}")
        for name, called in (("only", only), ("on_fault", on_fault)):
            if called is not None and not callable(called):
                raise TypeError(f"{name} must be callable or None, not {type(called).__name__}")
            if _is_async(called):
                raise TypeError(f"{name} must be a plain function: nobody would await it")
        self.app = app
        self._only = only
        self._settings = Settings(options, peek, done, heartbeat, on_fault, _engine_module)

    async def __call__(self, scope: _Scope, receive: _Receive, send: _Send) -> None:
        """Serve one request, or run the app's lifespan."""
        # (The response to HEAD has the head of a stream, and no body.)
        is_ours = scope["type"] == "http" and scope.get("method") != "HEAD"
        if not is_ours or (self._only is not None and not self._only(scope)):
            await self.app(scope, receive, send)
            return
        is_chat = self._only is not None or scope["path"].rstrip("/").endswith(CHAT_PATHS)
        told = for_app(scope)
        response = Response(
            self._settings, told, receive, send, is_chat=is_chat, raises=told is not scope
        )
        try:
            await self.app(told, response.receive, response.send)
            await response.end()
        except Exception as error:
            if not response.is_stopped_by(error) and not await response.fail(error):
                raise
        finally:
            await response.close()
            if told is not scope:  # what apps say there of their routes, servers may read
                scope.update({**told, "asgi": scope["asgi"]})
        response.raise_hosts()


def _is_async(called: object) -> bool:
    call = getattr(type(called), "__call__", None)  # noqa: B004 - of an object with one
    return iscoroutinefunction(called) or iscoroutinefunction(call)
