"""What the transports for httpx and httpx2 share; the libraries have the same names."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from hashlib import sha256
from threading import Lock
from types import ModuleType, TracebackType
from typing import Any, ClassVar, Final, NamedTuple

from .. import captured
from ..captured import Refusal
from ..flow import Flow
from ..timeouts import make_limits
from ._calls import is_swallowed_repeat
from ._kinds import is_chat, is_streamed
from ._streams import EXTENSION, AsyncReads, SyncReads

_BODILESS: Final = (204, 205)

# Threads that share a client may send their first requests at the same time.
_MAKING: Final = Lock()


class Library(NamedTuple):
    """A client library, and our streams in its own classes."""

    module: ModuleType
    async_body: Any
    sync_body: Any
    async_copy: Any
    sync_copy: Any


class Transport:
    """A transport around another one, for both sorts of clients.

    Args:
        inner: What sends the requests, of either sort or both; None for the library's own
            HTTP transport with its defaults, made at the first use. It is closed with this
            one.
        faults: ``raise``: a stream that did not end well raises a `StreamFault`, once all
            of its bytes are delivered (but for what docs/integrations/httpx.md excepts).
            ``pass``: it ends as it would without us; what was
            wrong is noted in ``response.extensions["streamnorm"].fault``.
        collect, timeouts, min_throughput, error_factory, options: See `normalize_stream`.
            A time limit that is passed, or a limit in bytes, raises in either case.

    Raises:
        TypeError: An option is unknown, or of a wrong type.
        ValueError: An option has a value that is not allowed.
    """

    _library: ClassVar[Library]

    def __init__(self, inner: Any = None, *, faults: str = "raise", **options: Any) -> None:
        check(faults, options)
        self._inner = inner
        self._made: dict[str, Any] = {}
        self._faults = faults
        self._options = options

    def handle_request(self, request: Any) -> Any:
        """Send *request*; what is answered by an event stream is normalised as it is read."""
        inner = self._half("handle_request", "HTTPTransport")
        return self._answered(request, _sent(inner.handle_request, request), is_async=False)

    async def handle_async_request(self, request: Any) -> Any:
        """Send *request*; what is answered by an event stream is normalised as it is read."""
        inner = self._half("handle_async_request", "AsyncHTTPTransport")
        try:
            response = await inner.handle_async_request(request)
        except BaseException:
            captured.note(None)
            raise
        return self._answered(request, response, is_async=True)

    def close(self) -> None:
        """Close the inner transport."""
        inner = self._existing("HTTPTransport")
        if inner is not None:
            inner.close()

    async def aclose(self) -> None:
        """Close the inner transport."""
        inner = self._existing("AsyncHTTPTransport")
        if inner is not None:
            await inner.aclose()

    def __enter__(self) -> Any:
        self._half("handle_request", "HTTPTransport").__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None = None,
        error: BaseException | None = None,
        trace: TracebackType | None = None,
    ) -> None:
        inner = self._existing("HTTPTransport")
        if inner is not None:
            inner.__exit__(kind, error, trace)

    async def __aenter__(self) -> Any:
        await self._half("handle_async_request", "AsyncHTTPTransport").__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None = None,
        error: BaseException | None = None,
        trace: TracebackType | None = None,
    ) -> None:
        inner = self._existing("AsyncHTTPTransport")
        if inner is not None:
            await inner.__aexit__(kind, error, trace)

    # The inner transport. -----------------------------------------------------------

    def _half(self, method: str, default: str) -> Any:
        inner = self._existing(default)
        if inner is None:
            with _MAKING:
                inner = self._existing(default)
                if inner is None:
                    inner = self._made[default] = getattr(self._library.module, default)()
        if not hasattr(inner, method):
            raise TypeError(
                f"the inner transport {type(inner).__name__} has no {method}(): "
                "it is for the other sort of clients"
            )
        return inner

    def _existing(self, default: str) -> Any:
        return self._made.get(default) if self._inner is None else self._inner

    # Responses. ---------------------------------------------------------------------

    def _answered(self, request: Any, response: Any, *, is_async: bool) -> Any:
        library = self._library
        ours: Any
        if is_async:
            fits = isinstance(response.stream, library.module.AsyncByteStream)
            ours = (library.async_body, library.async_copy)
        else:
            fits = isinstance(response.stream, library.module.SyncByteStream)
            ours = (library.sync_body, library.sync_copy)
        if not fits or isinstance(response.stream, ours):
            return response  # for the client to complain about; or a transport below was ours
        if response.status_code >= 400:
            return self._refused(request, response, ours[1])
        captured.note(None)
        if not self._is_rewritten(request, response):
            return response
        return self._normalized(request, response, ours[0], is_async=is_async)

    def _is_rewritten(self, request: Any, response: Any) -> bool:
        status = response.status_code
        if request.method == "HEAD" or not 200 <= status < 300 or status in _BODILESS:
            return False
        # (The first, as aiohttp: httpx joins several.)
        kinds = response.headers.get_list("content-type") or [""]
        kind = kinds[0].partition(";")[0].strip().lower()
        if not is_streamed(kind, request.url.path):
            return False
        # What the library cannot decode it would leave as it is.
        return all(coding in self._codings() for coding in _codings_of(response))

    def _codings(self) -> Any:
        decoders = getattr(self._library.module, "_decoders", None)  # it has no public name
        return getattr(decoders, "SUPPORTED_DECODERS", ("identity", "gzip", "deflate"))

    def _normalized(self, request: Any, response: Any, body_class: Any, *, is_async: bool) -> Any:
        module = self._library.module
        begin: Callable[[], Any]
        reads: Any
        if is_async:
            begin = response.aiter_bytes if _codings_of(response) else response.stream.__aiter__
            reads = AsyncReads(begin, request, module)
        else:
            begin = response.iter_bytes if _codings_of(response) else response.stream.__iter__
            reads = SyncReads(begin, request, module)
        body = body_class(
            response,
            reads,
            faults=self._faults,
            is_chat=is_chat(request.url.path),
            options=self._options,
        )
        headers = response.headers.copy()
        for name in ("content-length", "content-encoding"):
            headers.pop(name, None)
        return module.Response(
            response.status_code,
            headers=headers,
            stream=body,
            extensions={**response.extensions, EXTENSION: body.items},
        )

    def _refused(self, request: Any, response: Any, copy_class: Any) -> Any:
        headers = {name.lower(): value for name, value in response.headers.items()}
        refusal = Refusal(response.status_code, headers)
        if response.is_stream_consumed:
            refusal.add(response.content)
        else:
            codings = _codings_of(response)
            decoded = self._decoder(codings) if codings else None
            response.stream = copy_class(response.stream, refusal, decoded)
        if is_swallowed_repeat(refusal, lambda: self._asked(request)):
            _say_bad_request(response)
        return response

    def _asked(self, request: Any) -> Hashable:
        """What tells *request* from others; None where its body is a stream that is gone."""
        try:
            body = request.content
        except Exception:  # noqa: BLE001 - RequestNotRead, of either library
            return None
        # (With the library: a transport of another one below this one sees the same request.)
        name = self._library.module.__name__
        return name, request.method, str(request.url), sha256(body).digest()

    def _decoder(self, codings: list[str]) -> Callable[[bytes], Iterator[bytes]]:
        module = self._library.module
        headers = {"content-encoding": ", ".join(codings)}

        def decoded(data: bytes) -> Iterator[bytes]:
            stream = module.ByteStream(data)
            parts: Iterator[bytes] = module.Response(
                200, headers=headers, stream=stream
            ).iter_bytes()
            return parts

        return decoded


def check(faults: object, options: dict[str, Any]) -> None:
    """Check the options of a transport, before there is a stream that they are for.

    Raises:
        TypeError: An option is unknown, or of a wrong type.
        ValueError: An option has a value that is not allowed.
    """
    if faults not in ("raise", "pass"):
        raise ValueError(f"faults must be one of 'raise', 'pass'; not {faults!r}")
    given = dict(options)
    Flow(
        engine=given.pop("_engine_module", None),
        collect=given.pop("collect", True),
        limits=make_limits(given.pop("timeouts", None), given.pop("min_throughput", None)),
        error_factory=given.pop("error_factory", None),
        options=given,  # type: ignore[arg-type]
    )


def normalize(client: Any, transport: type[Transport], options: dict[str, Any]) -> None:
    """Wrap the transports of *client*, in place; those that are wrapped get new options."""

    def wrapped(inner: Any) -> Any:
        if inner is None:  # a mount that says "as without mounts"
            return None
        if isinstance(inner, Transport):
            # (A new one and not new options in the old one, which others may share.)
            made = transport(inner._inner, **options)
            made._made = inner._made
            return made
        return transport(inner, **options)

    client._transport = wrapped(client._transport)
    client._mounts.update({at: wrapped(inner) for at, inner in client._mounts.items()})


def _sent(send: Callable[[Any], Any], request: Any) -> Any:
    try:
        return send(request)
    except BaseException:
        captured.note(None)  # no answer is no refusal
        raise


def _codings_of(response: Any) -> list[str]:
    values = response.headers.get_list("content-encoding", split_commas=True)
    return [value.strip().lower() for value in values]


def _say_bad_request(response: Any) -> None:
    """Have a 422 taken for a 400; see docs/integrations/httpx.md.

    LiteLLM answers two of them in a row with None, and does nothing with the second one. A
    400 it raises.
    """
    response.status_code = 400
    extensions = dict(response.extensions)
    extensions.pop("reason_phrase", None)
    response.extensions = extensions
