"""Bodies of aiohttp's responses: readers that pull from the one they stand in front of."""

from __future__ import annotations

import asyncio
from codecs import getincrementaldecoder
from time import monotonic
from typing import Any, Final

from aiohttp import ClientResponse, StreamReader, compression_utils
from aiohttp.http_exceptions import ContentEncodingError

from .. import _engine
from ..alarm import Alarm, TooLate
from ..captured import Refusal
from ..flow import Flow
from ..stream_base import StreamBase
from ..timeouts import make_limits
from ._passing import OWN_KINDS, PassingEngine

# What aiohttp itself can decode, where it has the packages.
CODINGS: Final = frozenset(
    (
        "gzip",
        "deflate",
        *(("br",) if compression_utils.HAS_BROTLI else ()),
        *(("zstd",) if getattr(compression_utils, "HAS_ZSTD", False) else ()),
    )
)

# Bytes that tell whether a body is compressed: what is has control characters and bytes that
# are no UTF-8 among its first few, and no event or line of JSON has any.
_SHOWN: Final = 256


class _Unconnected:
    """In place of the connection: what is ready here is off the wire, and holds up nothing."""

    connected = True
    _reading_paused = False  # aiohttp 3.12 looks itself

    def pause_reading(self) -> None:
        pass

    def resume_reading(self, resume_parser: bool = True) -> None:
        pass


class Reader(StreamReader):
    """A reader that gets its bytes from another one, but only when somebody waits for them.

    So nothing is held but what one read brought, the upstream waits for slow readers as it
    always did, and a read that is cancelled loses nothing.

    All that is overridden is how a read waits; the rest, what a line is and when it is too
    long, is that of the installed aiohttp.
    """

    def __init__(self, response: ClientResponse) -> None:
        below = response.content
        try:
            limit = below.get_read_buffer_limits()[0]
        except AttributeError:  # that of an empty body has none
            limit = 2**16
        loop = asyncio.get_running_loop()
        super().__init__(_Unconnected(), limit, loop=loop)  # type: ignore[arg-type]
        self._below = below
        self._owner: ClientResponse | None = response
        self._is_pulling = False
        if response.headers.get("transfer-encoding", "").lower() == "chunked":
            # Who joins the chunks of `iter_chunks` waits for the ends of those.
            self.begin_http_chunk_receiving()

    async def pull(self) -> bytes | None:
        """Read the next bytes, which may be none; None at the end.

        Raises:
            Exception: For every read from then on.
        """
        raise NotImplementedError

    async def _wait(self, func_name: str) -> None:
        if self._is_pulling:
            raise RuntimeError(
                f"{func_name}() called while another coroutine is already waiting for incoming data"
            )
        self._is_pulling = True
        try:
            data = await self.pull()
        except Exception as error:
            if self.exception() is None:
                super().set_exception(error)  # what is below has its own, or goes on
            self._close()
            raise
        finally:
            self._is_pulling = False
        if data is None:
            self._owner = None
            self.feed_eof()
        elif data:
            self.feed_data(data)
            if self._http_chunk_splits is not None:
                self.end_http_chunk_receiving()

    def set_exception(self, exc: BaseException, exc_cause: Any = None) -> None:
        """Have every read raise *exc*, a pending one as well; the response is closed."""
        cause = () if exc_cause is None else (exc_cause,)
        super().set_exception(exc, *cause)
        self._owner = None
        if self._below.exception() is None:
            self._below.set_exception(exc, *cause)

    async def wait_eof(self) -> None:
        """Wait until all of the body was received."""
        await self._below.wait_eof()

    def _close(self) -> None:
        owner, self._owner = self._owner, None
        if owner is not None:
            owner.close()


class Told(StreamBase):
    """What is known of one stream."""

    def __init__(self, flow: Flow) -> None:
        self._flow = flow


class NormalizedReader(Reader):
    """The body of one response in normal form.

    Whatever comes behind ``[DONE]`` passes as it is, so that the end of the body is read if
    the client reads on, and its connection can be used again.

    Args:
        response: As aiohttp gave it.
        coding: Its content coding, which aiohttp may have undone; empty for none.
        faults: ``raise`` or ``pass``.
        is_chat: The request was for a chat completion, so whatever is wrong is a fault.
        options: For `normalize_stream`.

    Attributes:
        streamnorm: What is known of the stream: `report`, `usage`, `fault`, …
    """

    def __init__(
        self,
        response: ClientResponse,
        coding: str,
        *,
        faults: str,
        is_chat: bool,
        options: dict[str, Any],
    ) -> None:
        super().__init__(response)
        given = dict(options)
        module: Any = given.pop("_engine_module", None) or _engine.engine
        limits = make_limits(given.pop("timeouts", None), given.pop("min_throughput", None))
        self._passing: PassingEngine | None = None
        if faults == "pass" or not is_chat:
            module = self._passing = PassingEngine(
                module, is_told=faults == "pass", is_chat=is_chat
            )
        self._flow = flow = Flow(
            engine=module,
            collect=given.pop("collect", True),
            # Some event streams stay open, and silent, for hours.
            limits=limits if is_chat else None,
            error_factory=given.pop("error_factory", None),
            options=given,  # type: ignore[arg-type]
        )
        flow.headers = {name.lower(): value for name, value in response.headers.items()}
        flow.choose("sse", ())
        self.streamnorm = Told(flow)
        self._decoder = Decoder(coding) if coding else None
        self._alarm: Alarm | None = None
        # What reading raised, where that is no fault or the client is not told of it.
        self._failed: Exception | None = None

    async def pull(self) -> bytes | None:
        """See `Reader.pull`."""
        flow = self._flow
        if not flow.is_over:
            out: bytes | None = await self._step()
            if out or not flow.is_over:
                return out or b""
        fault = flow.fault
        is_said = fault is not None and self._is_said(fault.kind)
        if flow.outcome().done and not is_said:
            return await self._behind()
        self._stop()
        if is_said:
            raise flow.exception()
        if self._failed is not None:
            raise self._failed
        return None

    def set_exception(self, exc: BaseException, exc_cause: Any = None) -> None:
        """See `Reader.set_exception`."""
        self._stop()
        self._flow.leave()
        super().set_exception(exc, exc_cause)

    async def _step(self) -> Any:
        """One read; what it completed."""
        flow = self._flow
        flow.begin()
        try:
            data = await self._data_in_time()
        except TooLate as late:
            fault = flow.limits.fault() if flow.limits is not None else None
            assert fault is not None
            fault.__cause__ = late.__cause__ if isinstance(late.__cause__, Exception) else None
            return flow.break_off(fault)
        except Exception as error:
            if flow.is_over:
                raise  # closed by another task in the meantime
            self._failed = error
            return flow.finish(error)
        return flow.finish(None) if data is None else flow.take(data)

    async def _behind(self) -> bytes | None:
        try:
            return await self._data()
        except Exception:
            # All of the answer is there.
            if not self._is_said("transport"):
                raise
            self._close()
            return None

    async def _data(self) -> bytes | None:
        data = await self._below.readany()
        if self._decoder is not None:
            return self._decoder.decode(data) if data else self._decoder.end()
        return data or None

    async def _data_in_time(self) -> bytes | None:
        limits = self._flow.limits
        if limits is None:
            return await self._data()
        if self._alarm is None:
            self._alarm = Alarm()
        now = monotonic()
        deadline = limits.begin(now)
        if now >= deadline:
            raise TooLate
        try:
            return await self._alarm.guard(self._data, deadline)
        finally:
            limits.end(monotonic())

    def _stop(self) -> None:
        if self._alarm is not None:
            self._alarm.close()

    def _is_said(self, kind: str) -> bool:
        return self._passing is None or kind in OWN_KINDS or self._passing.is_chat


class CopyReader(Reader):
    """The body of an error, as it is, of which a copy is kept while it is read."""

    def __init__(self, response: ClientResponse, refusal: Refusal, coding: str) -> None:
        super().__init__(response)
        self._refusal = refusal
        self._decoder = Decoder(coding) if coding in CODINGS else None

    async def pull(self) -> bytes | None:
        """See `Reader.pull`."""
        data = await self._below.readany()
        if self._decoder is None:
            self._refusal.add(data)
        else:
            try:
                decoded = self._decoder.decode(data) if data else self._decoder.end()
            except ContentEncodingError:
                self._decoder = None  # what could be decoded of it is kept
            else:
                self._refusal.add(decoded or b"")
        return data or None


class Decoder:
    """Undoes a content coding, unless aiohttp has done so already.

    That is said for each request (``auto_decompress``), and nowhere to be found afterwards;
    the first bytes tell. LiteLLM's transport has it off, because httpx decodes above it.

    Args:
        coding: One of `CODINGS`.
    """

    def __init__(self, coding: str) -> None:
        self._coding = coding
        self._work: Any = None
        self._is_plain = False

    def decode(self, data: bytes) -> bytes:
        """Decode the next bytes.

        Raises:
            ContentEncodingError: They cannot be decoded.
        """
        if self._work is None and not self._is_plain:
            self._is_plain = _is_text(data)
        if self._is_plain:
            return data
        if self._work is None:
            self._work = _decompressor(self._coding, data)
        try:
            decoded: bytes = self._work.decompress_sync(data)
        except Exception as error:
            raise ContentEncodingError(f"cannot decode content-encoding {self._coding}") from error
        return decoded

    def end(self) -> bytes | None:
        """What is left at the end, None for nothing."""
        work, self._work, self._is_plain = self._work, None, True
        return None if work is None else work.flush() or None


def _decompressor(coding: str, data: bytes) -> Any:
    if coding == "br":
        return compression_utils.BrotliDecompressor()
    if coding == "zstd":
        return compression_utils.ZSTDDecompressor()
    # As aiohttp (and browsers): some servers leave out the zlib header (RFC 1950).
    is_bare = coding == "deflate" and data[0] & 0xF != 8
    return compression_utils.ZLibDecompressor(encoding=coding, suppress_deflate_header=is_bare)


def _is_text(data: bytes) -> bool:
    """Whether *data*, the beginning of a body, is text and nothing that was compressed."""
    shown = data[:_SHOWN]
    try:
        text = getincrementaldecoder("utf-8")().decode(shown)
    except UnicodeDecodeError:
        return False
    return not any(character < " " and character not in "\t\r\n" for character in text)
