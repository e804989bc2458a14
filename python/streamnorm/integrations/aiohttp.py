"""aiohttp: a client middleware that puts event streams into normal form while they are read.

Whatever reads through the session (LiteLLM does by default) then finds reasoning in one
place, and learns of a stream that did not end well. See docs/integrations/aiohttp.md.
"""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final

try:
    import aiohttp
except ImportError as _error:
    raise ImportError(
        "streamnorm.integrations.aiohttp needs aiohttp: pip install 'streamnorm[aiohttp]'"
    ) from _error

if not hasattr(aiohttp, "ClientMiddlewareType"):
    raise ImportError(
        f"streamnorm.integrations.aiohttp needs aiohttp 3.12 or newer, which has client "
        f"middlewares; not {aiohttp.__version__}: pip install 'streamnorm[aiohttp]'"
    )

from multidict import CIMultiDict, CIMultiDictProxy

from .. import captured
from ..captured import Refusal
from ._aiohttp_reader import CODINGS, CopyReader, NormalizedReader, Reader
from ._calls import is_swallowed_repeat
from ._kinds import is_chat, is_streamed
from ._transport import check

if TYPE_CHECKING:
    from collections.abc import Hashable

    from typing_extensions import Unpack

    from ._options import TransportOptions

__all__ = ["normalize_middleware"]

_BODILESS: Final = (204, 205)
_DROPPED: Final = ("content-length", "content-encoding")


def normalize_middleware(**options: Unpack[TransportOptions]) -> aiohttp.ClientMiddlewareType:
    """Make a middleware that normalises event streams, for ``ClientSession(middlewares=…)``.

    One may serve any number of sessions. In a tuple of several it belongs first, where it
    sees what the others have made of a response.

    Args:
        options: ``faults="raise"``: a stream that did not end well raises a `StreamFault`
            from the read behind its last byte. ``"pass"``: it ends as it would without us;
            what was wrong is in ``response.content.streamnorm.fault``. The others are those
            of `normalize_stream`. A time limit that is passed, or a limit in bytes, raises
            in either case.

    Raises:
        TypeError: An option is unknown, or of a wrong type.
        ValueError: An option has a value that is not allowed.
    """
    given: dict[str, Any] = dict(options)
    faults = given.pop("faults", "raise")
    check(faults, given)

    async def normalize(
        request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
    ) -> aiohttp.ClientResponse:
        try:
            response = await handler(request)
        except BaseException:
            captured.note(None)  # no answer is no refusal
            raise
        if isinstance(response.content, Reader):
            return response  # a middleware below was ours
        if response.status >= 400:
            _keep_refusal(request, response)
            return response
        captured.note(None)
        if _is_rewritten(request, response):
            response.content = NormalizedReader(
                response,
                _coding(response),
                faults=faults,
                is_chat=is_chat(request.url.path),
                options=given,
            )
            _drop_headers(response)
        return response

    return normalize


def _is_rewritten(request: aiohttp.ClientRequest, response: aiohttp.ClientResponse) -> bool:
    status = response.status
    if request.method == "HEAD" or not 200 <= status < 300 or status in _BODILESS:
        return False
    if not is_streamed(response.content_type, request.url.path):
        return False
    body = response.content
    if body.total_bytes and body.at_eof():
        return False  # a middleware below has read it
    # What aiohttp cannot decode it leaves as it is.
    return _coding(response) in ("", *CODINGS)


def _coding(response: aiohttp.ClientResponse) -> str:
    coding = ", ".join(response.headers.getall("content-encoding", ())).strip().lower()
    return "" if coding == "identity" else coding


def _drop_headers(response: aiohttp.ClientResponse) -> None:
    """Drop the fields that are about the body as it was sent."""
    fields = [(name, text) for name, text in response.headers.items() if _is_kept(name)]
    raw = [(name, text) for name, text in response.raw_headers if _is_kept(name.decode("latin-1"))]
    # They have no public way to be changed; what was asked for once is kept in the cache.
    response._headers = CIMultiDictProxy(CIMultiDict(fields))
    response._raw_headers = tuple(raw)
    for name in ("headers", "raw_headers"):
        response._cache.pop(name, None)


def _is_kept(name: str) -> bool:
    return name.lower() not in _DROPPED


def _keep_refusal(request: aiohttp.ClientRequest, response: aiohttp.ClientResponse) -> None:
    headers = {name.lower(): value for name, value in response.headers.items()}
    refusal = Refusal(response.status, headers)
    response.content = CopyReader(response, refusal, _coding(response))
    if is_swallowed_repeat(refusal, lambda: _asked(request)):
        # LiteLLM answers two of them in a row with None; a 400 it raises.
        response.status, response.reason = 400, "Bad Request"


def _asked(request: aiohttp.ClientRequest) -> Hashable:
    """What tells *request* from others; None where its body is not there as bytes."""
    body = request.body
    if not isinstance(body, aiohttp.BytesPayload):
        return None
    # (With the library: a transport of another one above this sees the same request.)
    return "aiohttp", request.method, str(request.url), sha256(body._value).digest()
