"""The fault server: every fault and dialect at an address of its own."""

from __future__ import annotations

from contextlib import ExitStack
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlencode

from ..upstream import HOST, Request, Route, Upstream
from ..upstream._http import error_body
from .case import BadQuery, FaultCase
from .table import CASES, Case, index_json, index_text, unknown

if TYPE_CHECKING:
    from typing_extensions import Self

_INDEX: Final = ("", "/v1")


def serve_faults(upstream: Upstream) -> None:
    """Let *upstream* serve every route of the table, and the index at ``/``."""
    upstream.otherwise(lambda request: _find(request, upstream.origin))


def _find(request: Request, origin: str) -> Route | None:
    if request.path.rstrip("/") in _INDEX:
        return _index(request, origin)
    if request.name is None:
        return None
    case = CASES.get(request.name)
    if case is None:
        return _error(404, f"{unknown(request.name)} GET / lists all.", "unknown_fault")
    if not isinstance(case, FaultCase):
        return Route(case.steps)
    try:
        steps = case.script(request.query)
    except BadQuery as error:
        return _error(400, str(error), "invalid_query")
    return Route(steps, case.status, case.headers, raw=case.raw)


def _index(request: Request, origin: str) -> Route:
    wants_json = "application/json" in request.headers.get("accept", "")
    text = index_json(origin) if wants_json else index_text(origin)
    return _whole(200, text.encode(), "application/json" if wants_json else "text/plain")


def _error(status: int, message: str, code: str) -> Route:
    return _whole(status, error_body(message, code), "application/json")


def _whole(status: int, body: bytes, kind: str) -> Route:
    headers = {"content-type": f"{kind}; charset=utf-8", "content-length": str(len(body))}
    return Route((body,), status, headers)


class _Upstream(Upstream):
    """Knows the faults before it listens."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        serve_faults(self)


class FaultServer:
    """The fault server in a thread of its own, while a ``with`` block lasts.

    Attributes:
        requests: Every request that was read whole, in order of arrival.
    """

    def __init__(self, *, host: str = HOST, port: int = 0) -> None:
        """Prepare it; nothing listens yet.

        Args:
            host: Name or address to listen at.
            port: 0 for one that is free.
        """
        self._address: dict[str, Any] = {"host": host, "port": port}
        self._upstream: Upstream = _Upstream(**self._address)
        self._stack = ExitStack()

    @property
    def requests(self) -> list[Request]:
        return self._upstream.requests

    @property
    def names(self) -> tuple[str, ...]:
        """The name of every route, in the order of the index."""
        return tuple(CASES)

    @property
    def origin(self) -> str:
        """Scheme, host and port of every address here.

        Raises:
            RuntimeError: The server was never started.
        """
        return self._upstream.origin

    def case(self, name: str) -> Case:
        """What route *name* sends and what a sound client makes of it.

        Raises:
            ValueError: There is none; the text names those that are near.
        """
        if name not in CASES:
            raise ValueError(unknown(name))
        return CASES[name]

    def url(self, name: str, **parameters: float) -> str:
        """The address of route *name*, ``http://127.0.0.1:<port>/v1/<name>/chat/completions``.

        Args:
            name: Of the route.
            parameters: ``after`` and ``pause``, for a route that waits.

        Raises:
            ValueError: There is no such route.
            RuntimeError: The server was never started.
        """
        query = f"?{urlencode(parameters)}" if parameters else ""
        return self._upstream.url(self.case(name).name) + query

    def base_url(self, name: str) -> str:
        """What an OpenAI SDK takes as ``base_url`` for route *name*.

        Raises:
            ValueError: There is no such route.
            RuntimeError: The server was never started.
        """
        return self._upstream.base_url(self.case(name).name)

    def __enter__(self) -> Self:
        self._upstream = self._stack.enter_context(_Upstream.in_thread(**self._address))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.__exit__(kind, error, trace)
