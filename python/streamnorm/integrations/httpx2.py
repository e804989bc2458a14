"""httpx2: a transport that puts event streams into normal form while they are read.

Whatever reads through the client (OpenAI's SDK, LiteLLM, agents) then finds reasoning in one
place, and learns of a stream that did not end well. See docs/integrations/httpx.md.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, TypeVar

try:
    import httpx2
except ImportError as _error:
    raise ImportError(
        "streamnorm.integrations.httpx2 needs httpx2: pip install 'streamnorm[httpx2]'"
    ) from _error

from ._streams import AsyncBody, AsyncCopy, SyncBody, SyncCopy
from ._transport import Library, Transport, normalize

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from ._options import TransportOptions

__all__ = ["NormalizingTransport", "normalize_client"]

_Client = TypeVar("_Client", bound="httpx2.Client | httpx2.AsyncClient")


class _AsyncBody(AsyncBody, httpx2.AsyncByteStream):
    pass


class _SyncBody(SyncBody, httpx2.SyncByteStream):
    pass


class _AsyncCopy(AsyncCopy, httpx2.AsyncByteStream):
    pass


class _SyncCopy(SyncCopy, httpx2.SyncByteStream):
    pass


class NormalizingTransport(Transport, httpx2.BaseTransport, httpx2.AsyncBaseTransport):
    __doc__ = Transport.__doc__

    _library: ClassVar[Library] = Library(httpx2, _AsyncBody, _SyncBody, _AsyncCopy, _SyncCopy)

    if TYPE_CHECKING:

        def __init__(
            self,
            inner: httpx2.BaseTransport | httpx2.AsyncBaseTransport | None = None,
            **options: Unpack[TransportOptions],
        ) -> None: ...


def normalize_client(client: _Client, **options: Unpack[TransportOptions]) -> _Client:
    """Have *client* normalise what it reads: its transport and its mounts are wrapped, in place.

    May be called again; the options of the last call count for the requests after it.

    Args:
        client: An ``httpx2.Client`` or ``httpx2.AsyncClient``.
        options: See `NormalizingTransport`.

    Returns:
        *client*.

    Raises:
        TypeError: It is something else; or as `NormalizingTransport`.
        ValueError: As `NormalizingTransport`.
    """
    if not isinstance(client, httpx2.Client | httpx2.AsyncClient):
        raise TypeError(
            f"normalize_client needs an httpx2.Client or httpx2.AsyncClient, not {_name(client)}"
        )
    normalize(client, NormalizingTransport, dict(options))
    return client


def _name(client: object) -> str:
    kind = type(client)
    return f"{kind.__module__.partition('.')[0]}.{kind.__qualname__}"
