"""`normalize_stream_sync`: the same without an event loop, and without a thread."""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Callable, Iterator
from functools import partial
from time import monotonic
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final

from . import captured, faults
from ._engine import Engine
from .faults import StreamFault
from .flow import Flow
from .flow_state import Done, ErrorFactory
from .options import OptionsDict
from .reader import ERROR_BODY_BYTES, ERROR_BODY_SECONDS, Peeked
from .stream import PEEK_BYTES, PEEK_SECONDS
from .stream_base import StreamBase
from .sync_sources import SyncSource
from .timeouts import Timeouts, check_positive, make_limits

if TYPE_CHECKING:
    from typing_extensions import Unpack

_TWO_READERS: Final = "the stream is already being read by another thread"


def normalize_stream_sync(
    source: object,
    *,
    collect: bool = True,
    timeouts: Timeouts | None = None,
    min_throughput: float | None = None,
    error_factory: ErrorFactory | None = None,
    _engine_module: Engine | None = None,
    **options: Unpack[OptionsDict],
) -> NormalizedStreamSync:
    """Normalise a streamed chat completion that is read without an event loop.

    Args:
        source: What gives the stream. Nothing is read before the first item is asked for.

            - an iterator or iterable of ``bytes``, ``bytearray``, ``memoryview`` or ``str``,
              cut anywhere; lines without their ends as well (see `normalize_stream`);
            - a ``requests.Response`` (made with ``stream=True``), a synchronous
              ``httpx.Response`` or ``httpx2.Response``, a ``urllib3`` response (with
              ``preload_content=False``), or what ``urllib.request.urlopen`` gives: whatever
              has come is read at once, nothing waits until a buffer is full. A status of
              400 or above is a fault. (A response of ``http.client`` works as well, but its
              connection is another object, which the caller has to close);
            - a streamed response of pyreqwest; the ``Stream`` of an OpenAI SDK, of which nothing
              was read (it is read through its ``response``, as bytes);
            - an iterable of dicts or of pydantic objects, or LiteLLM's ``CustomStreamWrapper``
              of a synchronous call;
            - None, which some clients return where a stream was due: the first read raises
              a fault of kind ``none_stream``.

        collect: See `normalize_stream`.
        timeouts: See `Timeouts`. Nothing can break a read off from outside: the limits are
            looked at when a read returns, so a silent upstream is left to the read timeout
            of the HTTP client.
        min_throughput: See `normalize_stream`; looked at when a read returns.
        error_factory: See `normalize_stream`.
        options: See `streamnorm.options.Options`.

    Raises:
        TypeError: *source* has none of these shapes, or an option is unknown or of a wrong
            type.
        ValueError: An option has a value that is not allowed.
    """
    return NormalizedStreamSync(
        source,
        collect=collect,
        timeouts=timeouts,
        min_throughput=min_throughput,
        error_factory=error_factory,
        _engine_module=_engine_module,
        **options,
    )


class NormalizedStreamSync(StreamBase):
    """A stream in normal form: an iterator of chunks, made by `normalize_stream_sync`.

    The source is closed as soon as the stream is over, fails, or a read of it is
    interrupted. Who may leave before that uses it as a context manager, or calls `close`.
    After the end, for whatever reason, iteration only stops.

    Iteration raises what `NormalizedStream` raises, in the same order.
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
        self._source = SyncSource(source)
        self._flow = Flow(
            engine=_engine_module,
            options=options,
            collect=collect,
            limits=make_limits(timeouts, min_throughput),
            error_factory=error_factory,
        )
        self._flow.go_below(self._source.wrapper)
        self._ready: deque[Any] = deque()
        self._made = 0  # of which those in _ready are not delivered yet
        self._read: Callable[[], object] | None = None
        self._is_reading = False
        if self._source.is_none:
            self._flow.refuse(faults.none_stream(captured.last()))

    def peek(
        self,
        *,
        reasoning: bool = False,
        max_bytes: int = PEEK_BYTES,
        timeout: float | None = PEEK_SECONDS,
    ) -> Peeked:
        """Read up to the first visible event, and keep what was read.

        See `NormalizedStream.peek`; *timeout* is looked at when a read returns.
        """
        self._check_peek(reasoning, max_bytes)
        check_positive("timeout", timeout)
        flow = self._flow
        until = None if timeout is None else monotonic() + timeout
        while not flow.is_visible(reasoning=reasoning):
            if flow.is_over:
                flow.check_peeked(is_untouched=self._made == len(self._ready))
                return "ended"
            if flow.size >= max_bytes:
                return "max_bytes"
            if until is not None and monotonic() >= until:
                return "timeout"
            self._read_once()
        return "visible"

    def sse(self, *, done: Done = "as_sent") -> SSEFramesSync:
        """Iterate over the bytes of a normalised event stream instead of chunks.

        See `NormalizedStream.sse`. There are no heartbeats: while a read waits, nothing
        else can be done without a thread.

        Raises:
            RuntimeError: Called before, or after iteration over chunks has begun.
            ValueError: *done* is none of the two.
        """
        self._check_sse(done)
        ready = self._flow.choose("sse", tuple(self._ready), done)
        self._made += len(ready) - len(self._ready)
        self._ready = deque(ready)
        return SSEFramesSync(self)

    def __iter__(self) -> NormalizedStreamSync:
        return self

    def __next__(self) -> dict[str, Any]:
        if self._flow.output != "dict":
            self._check_chunks()
            self._flow.choose("dict", self._ready)
            if self._flow.is_over:
                self._release()  # a fault of chunks only may have been waiting for this
        chunk: dict[str, Any] = self._next()
        return chunk

    def close(self) -> None:
        """Close the source, whatever its closing method is called.

        May be called at any time and again. What was received and not yet delivered is
        dropped, and a fault that was not raised yet is in `fault` only.

        Raises:
            Exception: What closing raised. After the end of the stream, whose source is
                closed without being asked, such errors are swallowed.
        """
        self._flow.leave()
        self._ready.clear()
        self._source.close()

    def __enter__(self) -> NormalizedStreamSync:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            self.close()
        except Exception:
            if error is None:
                raise

    def _next(self) -> Any:
        """What is delivered next.

        Raises:
            StopIteration: The stream is over.
            StreamFault: See the class; once.
        """
        read, flow = self._read, self._flow
        if self._ready or read is None or flow.limits is not None or flow.is_over:
            return self._next_ready()
        # The usual read. Whatever else comes of it than one item is left to the others.
        if self._is_reading:
            raise RuntimeError(_TWO_READERS)
        self._is_reading = True
        failed: BaseException | None = None
        try:
            item = read()
        except BaseException as error:  # noqa: BLE001 - raised again by `_read_once`
            failed = error
        else:
            try:
                out = flow.take(item)
            except BaseException as error:
                self._fall(error)
                raise
            finally:
                self._is_reading = False
                if flow.is_over:
                    self._release()
            if out and not flow.is_over and self._made:
                if type(out) is bytes:
                    return out
                if len(out) == 1:
                    return out[0]
            self._put(out)
            return self._next_ready()
        try:
            # Not in the except clause: here is what the host is handling.
            self._read_once(failed)
        finally:
            failed = None  # else it would refer to itself, through this frame
        return self._next_ready()

    def _next_ready(self) -> Any:
        while not self._ready:
            if self._flow.is_over:
                self._release()
                self._flow.raise_due()
                raise StopIteration
            self._read_once()
        return self._ready.popleft()

    def _read_once(self, before: BaseException | None = None) -> None:
        """One read; close the source where it was the last.

        Args:
            before: What a read has raised that was begun already.
        """
        if self._is_reading and before is None:
            raise RuntimeError(_TWO_READERS)
        self._is_reading = True
        flow = self._flow
        try:
            read = self._read or self._open()
            if before is not None:
                self._take(partial(_raise_again, before))
            elif not flow.is_over:
                self._take(read)
        except BaseException as error:
            self._fall(error)
            raise
        finally:
            self._is_reading = False
            if flow.is_over:
                self._release()

    def _fall(self, error: BaseException) -> None:
        """End the stream at an *error* that is raised amid an item, which is lost."""
        if not self._flow.is_over and not isinstance(error, Exception):
            self._flow.lose()
        self._flow.is_over = True

    def _take(self, read: Callable[[], object]) -> None:
        flow, limits = self._flow, self._flow.limits
        if limits is not None:
            now = monotonic()
            if now >= limits.begin(now):
                self._put(flow.break_off(limits.fault()))
                return
        failed: Exception | None = None
        try:
            item = read()
        except StopIteration:
            self._put(flow.finish(None))
        except Exception as error:  # noqa: BLE001 - becomes a fault
            failed = error
        except BaseException as error:
            self._put(flow.finish(error))
            raise
        else:
            is_late = limits is not None and limits.end(monotonic())
            fault = limits.fault() if limits is not None and is_late else None
            self._put(flow.take(item))
            if fault is not None:
                self._put(flow.break_off(fault))
        if failed is not None:
            # Behind the except clause: here is what the host is handling.
            self._put(flow.finish(failed, sys.exc_info()[1]))

    def _open(self) -> Callable[[], object]:
        flow, source = self._flow, self._source
        flow.begin()
        try:
            read = source.open()
        except StreamFault as fault:
            flow.refuse(fault)
            return _nothing
        flow.headers = source.headers
        self._read = read
        if source.status is not None and source.status >= 400:
            self._refuse(read, source.status)
        return read

    def _refuse(self, read: Callable[[], object], status: int) -> None:
        """End at a response that is an error, with as much of its body as comes soon."""
        body, limits = b"", self._flow.limits
        is_late, until = False, monotonic() + ERROR_BODY_SECONDS
        try:
            while len(body) < ERROR_BODY_BYTES and not is_late:
                if limits is not None:
                    limits.begin(monotonic())
                item: Any = read()
                body += item
                is_late = limits is not None and limits.end(monotonic())
                is_late = is_late or monotonic() >= until
        except Exception:  # noqa: BLE001, S110 - its end; and the status says more than a cut body
            pass
        finally:
            # Also where the read was interrupted: what is known must not be lost.
            shown = body[:ERROR_BODY_BYTES]
            self._flow.refuse(faults.http_error(status, shown, self._source.headers))

    def _put(self, out: Any) -> None:
        if out:
            if isinstance(out, list):
                self._made += len(out)
                self._ready.extend(out)
            else:
                self._made += 1
                self._ready.append(out)

    def _release(self) -> None:
        try:
            self._source.close()
        except Exception:  # noqa: BLE001 - all was delivered, or a better error is on its way
            return


def _raise_again(error: BaseException) -> object:
    context = error.__context__
    try:
        raise error
    finally:
        # Raising sets it to what the host is handling.
        error.__context__ = context


def _nothing() -> object:
    raise StopIteration


class SSEFramesSync:
    """The bytes of one normalised stream; see `NormalizedStreamSync.sse`.

    An iterator; the pieces are cut where the source's reads were. It raises what iteration
    over the chunks would raise.
    """

    def __init__(self, stream: NormalizedStreamSync) -> None:
        self._stream = stream

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        out: bytes = self._stream._next()
        return out

    def close(self) -> None:
        """Close the stream; see `NormalizedStreamSync.close`."""
        self._stream.close()
