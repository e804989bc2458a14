"""`normalize_stream`: any asynchronous source in, chunks or bytes in normal form out.

The layer is thin: one read of the source is one call into the engine. It knows no event
loop but that of the source, and starts no task; only time limits, heartbeats and a peek
with a time limit need asyncio.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final

from ._engine import Engine
from .flow import Flow
from .flow_state import Done, ErrorFactory
from .items import Items
from .options import OptionsDict
from .pure.events import BOM
from .reader import Peeked, Reader
from .sources import Source
from .stream_base import StreamBase
from .timeouts import Timeouts, check_positive, make_limits
from .whole_events import begins_json

if TYPE_CHECKING:
    from typing_extensions import Unpack

# What `peek` holds back at most, and for how long, where nothing else is said.
PEEK_BYTES: Final = 64 * 1024
PEEK_SECONDS: Final = 30.0

# One line end, not two: openai-python (3.52, and its issue 2722) takes a comment with a
# blank line behind it for an event without data once an ``id`` was seen, and crashes.
HEARTBEAT: Final = b": hb\n"


def normalize_stream(
    source: object,
    *,
    collect: bool = True,
    timeouts: Timeouts | None = None,
    min_throughput: float | None = None,
    error_factory: ErrorFactory | None = None,
    _engine_module: Engine | None = None,
    **options: Unpack[OptionsDict],
) -> NormalizedStream:
    """Normalise a streamed chat completion while it is read.

    Args:
        source: What gives the stream. Nothing is read before the first item is asked for.

            - an async iterator or iterable of ``bytes``, ``bytearray``, ``memoryview`` or
              ``str``: pieces of the body, cut anywhere. Lines without their ends, as httpx's
              ``aiter_lines()`` gives them, work as well if the blank ones are among them;
            - an ``httpx.Response``, ``httpx2.Response``, ``aiohttp.ClientResponse`` or streamed
              response of pyreqwest whose body was not read yet. One with a status of 400 or
              above is a fault. Also the ``content`` of aiohttp's, and what its ``iter_any()``,
              ``iter_chunked()`` and ``iter_chunks()`` give;
            - the ``AsyncStream`` of an OpenAI SDK: as long as nothing was read of it, it is
              read through its ``response``, as bytes; else as the next;
            - an async iterator of dicts or of pydantic objects: objects come out as dicts;
            - LiteLLM's ``CustomStreamWrapper``: the objects that it yields come out, with
              their deltas changed in place, and its attributes (``_hidden_params``,
              ``logging_obj``, …) can be read from the result. LiteLLM up to 1.81 drops
              chunks that hold only reasoning under another name before they come here;
              there, only what it reads from can be normalised;
            - an awaitable of any of these: it is awaited when the first item is asked for,
              and a refusal that it raises (of an HTTP client, an SDK or LiteLLM) is a fault
              with it as the ``__cause__``. Any other exception passes as it is;
            - None, which some clients return where a stream was due: the first read raises
              a fault of kind ``none_stream``.

        collect: Keep what `NormalizedStream.message` and ``partial`` of a fault are made of:
            the text of the stream once more. `NormalizedStream.usage` is there without it.
        timeouts: Time limits; see `Timeouts`. None for none.
        min_throughput: Bytes of the body per second that must come on average, over 30
            seconds of waiting at a time, from the first chunk on; None for no limit. Passing
            it is a fault of kind ``idle_timeout``.
        error_factory: Makes the exception that is raised for a fault, which becomes its
            ``__cause__`` if it has none. Called each time that one is raised.
        options: See `streamnorm.options.Options`. For dicts and objects the limits and
            ``on_malformed`` mean nothing.

    Raises:
        TypeError: *source* has none of these shapes, or an option is unknown or of a wrong
            type.
        ValueError: An option has a value that is not allowed.
    """
    return NormalizedStream(
        source,
        collect=collect,
        timeouts=timeouts,
        min_throughput=min_throughput,
        error_factory=error_factory,
        _engine_module=_engine_module,
        **options,
    )


class NormalizedStream(StreamBase, Items[dict[str, Any]]):
    """A stream in normal form: an async iterator of chunks, made by `normalize_stream`.

    The source is closed as soon as the stream is over, fails, runs into a time limit, or a
    read of it is cancelled. Who may leave before that uses it as an async context manager,
    or calls `aclose`. After the end, for whatever reason, iteration only stops.

    A cancelled read (a timeout around it, say) ends the stream, and the cancellation
    passes as it is. If neither ``[DONE]`` nor a finish_reason had been seen by then, `fault`
    says so, and who reads on gets it raised: the stream does not look well ended.

    Iteration raises:
        StreamFault: The stream did not end well; everything received before was delivered.
            After a cancelled read it is of kind ``truncated``, with blame ``client``.
            An exception that the source raised while it was read is the ``__cause__`` of
            one of kind ``transport``, ``http_error``, ``error_event`` or ``corrupt``; a
            StreamFault that it raised passes, and says what had come out. With
            ``error_factory``, what that makes of it.
        TypeError: The source gave an item that is neither bytes, text nor a chunk object,
            or both sorts.
        RuntimeError: Another task is reading the stream, or its bytes are (see `sse`).
    """

    def __init__(
        self,
        source: object,
        *,
        collect: bool = True,
        timeouts: Timeouts | None = None,
        min_throughput: float | None = None,
        error_factory: ErrorFactory | None = None,
        _engine_module: Engine | None = None,
        **options: Unpack[OptionsDict],
    ) -> None:
        self._source = Source(source)
        self._flow = Flow(
            engine=_engine_module,
            options=options,
            collect=collect,
            limits=make_limits(timeouts, min_throughput),
            error_factory=error_factory,
        )
        self._flow.go_below(self._source.wrapper)
        self._is_chosen = False
        self._reader = Reader(self._source, self._flow)

    async def peek(
        self,
        *,
        reasoning: bool = False,
        max_bytes: int = PEEK_BYTES,
        timeout: float | None = PEEK_SECONDS,
    ) -> Peeked:
        """Read up to the first visible event, and keep what was read.

        A gateway can so choose its HTTP status, or another upstream, before it has sent a
        byte. Afterwards everything comes out in order and byte for byte, in either output.
        Without a call of this nothing is ever held. A malformed event before the first
        visible one is a fault, unless `sse` was called before: bytes of such pass.

        Args:
            reasoning: Reasoning text counts as visible, too. (Answer text and tool calls
                always do.)
            max_bytes: Read no further once so many bytes of the body have come; an object
                of a source of objects counts for 256.
            timeout: Seconds to wait at most; None for ever. The read goes on behind it, in
                a task that iteration takes over; `aclose` ends it.

        Returns:
            ``visible``; ``ended``: the stream ended well without anything visible;
            ``max_bytes`` or ``timeout``: nothing visible so far, and nothing wrong.

        Raises:
            StreamFault: The stream failed before anything visible came; also if it had
                failed already. Iteration would still deliver what had come, and then raise
                it again. With ``error_factory``, what that makes of it.
            TypeError: An argument of a wrong type.
            ValueError: A limit that is not above zero.
            RuntimeError: Another task is reading the stream, or it was closed.
        """
        self._check_peek(reasoning, max_bytes)
        check_positive("timeout", timeout)
        return await self._reader.peek(reasoning=reasoning, max_bytes=max_bytes, timeout=timeout)

    def sse(self, *, heartbeat: float | None = None, done: Done = "as_sent") -> SSEFrames:
        """Iterate over the bytes of a normalised event stream instead of chunks.

        Bytes of a source of bytes are edited in place; chunk objects are serialised, one
        event each, with a final ``data: [DONE]`` where the stream ended well.

        Args:
            heartbeat: Seconds of silence after which a comment line, ``: hb`` with a single
                line end, keeps the way to the client open; again after each further such
                time. It never stands inside of an event, and the upstream is read as if
                there were none. Needs asyncio. None for none.
            done: ``always``: a stream that ended well ends with a whole last event and
                ``data: [DONE]``, whatever the upstream sent; one that failed does not.

        Raises:
            RuntimeError: Called before, or after iteration over chunks has begun.
            TypeError: *heartbeat* is no number.
            ValueError: *heartbeat* is not above zero, or *done* none of the two.
        """
        check_positive("heartbeat", heartbeat)
        self._check_sse(done)
        ready = self._reader.ready[::-1]
        self._reader.replace(self._flow.choose("sse", ready, done))
        return SSEFrames(self) if heartbeat is None else _BeatenFrames(self, heartbeat)

    async def aclose(self) -> None:
        """Close the source, whatever its closing method is called.

        May be called at any time and again. What was received and not yet delivered is
        dropped, and a fault that was not raised yet is in `fault` only. Another task that
        waits for the next item then stops iterating; if the source is a bare async
        generator, which Python cannot close while it runs, that happens when its read
        returns.

        Raises:
            Exception: What closing raised. After the end of the stream, whose source is
                closed without being asked, such errors are swallowed.
        """
        await self._reader.close()

    async def __aenter__(self) -> NormalizedStream:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            await self.aclose()
        except Exception:
            if error is None:
                raise

    def __del__(self) -> None:
        # (A stream whose making failed has no reader.)
        reader = self.__dict__.get("_reader")
        if reader is not None:
            reader.forsake()

    def _choose(self) -> None:
        self._check_chunks()
        self._flow.choose("dict", self._reader.ready)
        self._is_chosen = True


class SSEFrames(Items[bytes]):
    """The bytes of one normalised stream; see `NormalizedStream.sse`.

    An async iterator; the pieces are cut where the source's reads were. It raises what
    iteration over the chunks would raise.
    """

    def __init__(self, stream: NormalizedStream) -> None:
        # (A stream that is dropped ends a pending read.)
        self._stream = stream
        self._reader = stream._reader

    async def aclose(self) -> None:
        """Close the stream; see `NormalizedStream.aclose`."""
        await self._stream.aclose()


class _BeatenFrames(SSEFrames):
    """With heartbeats."""

    def __init__(self, stream: NormalizedStream, heartbeat: float) -> None:
        super().__init__(stream)
        self._heartbeat = heartbeat
        # What went out last of the stream, whether one went out before it began, and whether
        # it is JSON.
        self._last = b""
        self._has_beaten = False
        self._is_json: bool | None = None

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        ready = self._reader.ready
        while True:
            if not ready and not await self._wait():
                self._has_beaten = True
                return HEARTBEAT
            if not ready:
                await self._reader.advance()
            if not ready:
                raise StopAsyncIteration
            out = self._noted(ready.pop())
            if out:
                return out

    def _noted(self, out: bytes) -> bytes:
        if not self._last and self._has_beaten:
            out = out.removeprefix(BOM)  # behind a heartbeat it would be a part of a name
        if self._is_json is None:
            self._is_json = begins_json(out)
        self._last = out or self._last
        return out

    async def _wait(self) -> bool:
        """Wait for the next bytes, or the end; False where a heartbeat is due."""
        while not await self._reader.wait(self._heartbeat):
            # Only behind a whole line, which is a whole event or a comment; a CR may be
            # half of a line end. JSON knows no comments.
            if not self._last or (self._last.endswith(b"\n") and not self._is_json):
                return False
        return True
