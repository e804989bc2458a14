"""The normalisers without I/O: bytes in; chunks, bytes or events out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, cast, overload

from . import _engine, faults
from ._engine import Engine
from .dialects import PROMPTED, SOURCES, dialect_of
from .faults import StreamFault
from .options import DEFAULT_LIMIT, OptionsDict, check_bytes, make_options
from .pure.documents import Documents
from .report import Report

if TYPE_CHECKING:
    from typing_extensions import Unpack


class ServerSentEvent(NamedTuple):
    """One event of an event stream.

    Attributes:
        event: Value of its ``event`` line, None where none was sent. (A browser would
            say ``message``.)
        data: Its ``data`` lines, joined with LF.
        id: Value of its own ``id`` line, None where none was sent.
        retry: Value of its ``retry`` line, a string of digits of any length, None where
            none was sent.
    """

    event: str | None
    data: str
    id: str | None
    retry: str | None


class _Normalizer:
    """What both outputs share: checks, the report, and when a fault is raised."""

    _output = ""

    def __init__(
        self, *, _engine_module: Engine | None = None, **options: Unpack[OptionsDict]
    ) -> None:
        self._options = make_options(options)
        self._module = _engine_module or _engine.engine
        self._engine = self._module.normalizer(self._options, self._output)
        # Bound once, for reads so small that a call costs more than the work.
        self._take: Callable[[bytes], Any] = self._engine.feed
        self._fault: StreamFault | None = None

    @property
    def fault(self) -> StreamFault | None:
        """The fault that ended the stream, as soon as it is known; None while it is well.

        A fault found by a call that also had output is raised by the next call. One who
        cannot wait for more input looks here.
        """
        facts = self._engine.fault
        if self._fault is None and facts is not None:
            counts = self._engine.counts()
            self._fault = faults.from_facts(
                facts, visible=counts["visible"], reasoning=counts["reasoning"]
            )
        return self._fault

    @property
    def report(self) -> Report:
        """What was found and done so far."""
        return make_report(self._module.NAME, self._engine.counts(), self._options.targets)

    def _check(self) -> None:
        """Raise the fault if there is one."""
        if self._engine.fault is not None:
            raise cast(StreamFault, self.fault)

    def _close(self) -> Any:
        self._check()
        self._take = _refuse
        out = self._engine.close()
        if not out:
            self._check()
        return out


class ChunkNormalizer(_Normalizer):
    """Bytes of a stream to chunks in normal form.

    One instance is for one stream, and for one thread at a time.

    Args:
        options: See `streamnorm.options.Options`.
    """

    _output = "dict"

    def feed(self, data: bytes | bytearray | memoryview) -> list[dict[str, Any]]:
        """Take the next bytes of the body.

        Args:
            data: Any slice, from 1 byte up; it may end inside a line, a CRLF or a UTF-8
                character. Empty is allowed and does nothing.

        Returns:
            The chunks that *data* completed, in order; often empty.

        Raises:
            StreamFault: The stream is broken, and everything before that was returned.
            TypeError: *data* is not bytes, bytearray or memoryview.
            ValueError: After `close`.
        """
        out = self._take(data if type(data) is bytes else check_bytes(data))
        if out is None:
            self._check()
        return out  # type: ignore[no-any-return]

    def close(self) -> list[dict[str, Any]]:
        """End the stream.

        Returns:
            The chunks of a last event that had no blank line; mostly empty. If there are
            any and the stream still ended badly, `fault` tells and a second call raises.

        Raises:
            StreamFault: The stream did not end well.
        """
        return cast("list[dict[str, Any]]", self._close())


class SSENormalizer(_Normalizer):
    """Bytes of a stream to bytes in normal form.

    The bytes of an event are edited in place; an event that no rule touches, comments,
    control lines and line ends leave as they came. One instance is for one stream, and for
    one thread at a time.

    Args:
        options: See `streamnorm.options.Options`.
    """

    _output = "sse"

    def feed(self, data: bytes | bytearray | memoryview) -> bytes:
        """Take the next bytes of the body; return those that are ready to be sent on.

        Raises:
            StreamFault: The stream is broken, and everything before that was returned.
            TypeError: *data* is not bytes, bytearray or memoryview.
            ValueError: After `close`.
        """
        out = self._take(data if type(data) is bytes else check_bytes(data))
        if out is None:
            self._check()
        return out  # type: ignore[no-any-return]

    def close(self) -> bytes:
        """End the stream; return what was held of a last event without a blank line.

        Raises:
            StreamFault: The stream did not end well. Where there are bytes to return as
                well they come first: `fault` tells, and a second call raises.
        """
        return cast(bytes, self._close())


class SSEDecoder:
    """The event stream decoder of the WHATWG standard, for any cutting of the input.

    One instance is for one stream, and for one thread at a time.

    Args:
        flush_tail: Deliver a last event whose blank line is missing, and process a last
            line whose end is missing. The standard discards both.
        max_line_bytes: Longest field line, in bytes without its end; None for no limit.
        max_event_bytes: Largest event, in bytes of its field lines; None for no limit.
            Comments and unknown fields cost nothing and count for nothing.

    Source: https://html.spec.whatwg.org/multipage/server-sent-events.html
    """

    def __init__(
        self,
        *,
        flush_tail: bool = False,
        max_line_bytes: int | None = DEFAULT_LIMIT,
        max_event_bytes: int | None = DEFAULT_LIMIT,
        _engine_module: Engine | None = None,
    ) -> None:
        if not isinstance(flush_tail, bool):
            raise TypeError(f"flush_tail must be a bool, not {type(flush_tail).__name__}")
        make_options({"max_line_bytes": max_line_bytes, "max_event_bytes": max_event_bytes})
        module = _engine_module or _engine.engine
        self._engine = module.decoder(max_line_bytes, max_event_bytes, flush_tail)
        self._closed = False

    @property
    def last_event_id(self) -> str:
        """The last event id, ``""`` before the first; never that of an unfinished event."""
        return self._engine.last_event_id

    @property
    def retry(self) -> str | None:
        """The last valid ``retry`` value in milliseconds, as sent; it needs no event."""
        return self._engine.retry

    @property
    def fault(self) -> StreamFault | None:
        """The fault that ended the decoding, as soon as it is known."""
        facts = self._engine.fault
        return None if facts is None else faults.too_large(*facts)

    def feed(self, data: bytes | bytearray | memoryview) -> list[ServerSentEvent]:
        """Take the next bytes; return the events that they completed.

        Raises:
            StreamFault: A line or an event is too large, and the events before it have
                been returned.
            TypeError: *data* is not bytes, bytearray or memoryview.
            ValueError: After `close`.
        """
        checked = data if type(data) is bytes else check_bytes(data)
        if self._closed:
            raise ValueError("feed() after close()")
        events = self._engine.feed(checked)
        # A decoder with a fault gives nothing, so this finds the older ones as well.
        if not events:
            self._raise_before()
        return [ServerSentEvent(*event) for event in events]

    def close(self) -> list[ServerSentEvent]:
        """End the input; with *flush_tail*, return the unfinished event if there is one.

        Raises:
            StreamFault: As `feed`.
        """
        self._raise_before()
        if self._closed:
            return []
        self._closed = True
        return [ServerSentEvent(*event) for event in self._engine.close()]

    def _raise_before(self) -> None:
        fault = self.fault
        if fault is not None:
            raise fault


def _refuse(_: bytes) -> Any:
    raise ValueError("feed() after close()")


@overload
def normalize_response(
    body: bytes | bytearray | memoryview, **options: Unpack[OptionsDict]
) -> bytes: ...
@overload
def normalize_response(
    body: Mapping[str, Any], **options: Unpack[OptionsDict]
) -> dict[str, Any]: ...
def normalize_response(body: object, **options: Unpack[OptionsDict]) -> bytes | dict[str, Any]:
    """Normalise a body that was not streamed: ``message.reasoning`` and its kin.

    Args:
        body: A ``chat.completion`` object, as JSON in bytes, bytearray or memoryview, or as a
            mapping (not modified).
        options: See `streamnorm.options.Options`; limits, ``split_mixed`` and ``finish`` do
            not apply.

    Returns:
        A dict for a mapping, bytes for anything bytes-like. Bytes are edited in place and
        stay as they are where no rule applies; a body without ``choices`` (an error, say) is
        returned as it is.

    Raises:
        StreamFault: Of kind ``corrupt``: bytes that are no JSON object, unless
            ``on_malformed="skip"``.
        TypeError: *body* is neither bytes-like nor a mapping.
    """
    # What is about the order of chunks means nothing here.
    checked = make_options(options)._replace(split_mixed=False, finish="as_sent")
    documents = Documents(checked, is_response=True)
    if isinstance(body, Mapping):
        return documents.normalize(body if isinstance(body, dict) else dict(body))[0][0]
    if not isinstance(body, bytes | bytearray | memoryview):
        raise TypeError(f"body must be bytes or dict, not {type(body).__name__}")
    data = bytes(body)
    [edited], _ = documents.edit(data)
    if documents.malformed and checked.on_malformed == "raise":
        raise faults.corrupt(data)
    return edited


def make_report(engine: str, counts: dict[str, Any], targets: tuple[str, ...]) -> Report:
    """Name the counters of an engine."""
    arrow = "→" + "+".join(targets)

    def named(counter: dict[int, int], suffix: str = "") -> dict[str, int]:
        return {SOURCES[i].name + suffix: counter[i] for i in sorted(counter)}

    carried = frozenset(SOURCES[i].name for i in counts["carried"])
    return Report(
        engine=engine,
        dialect=dialect_of(carried, tuple(counts["families"])),
        events=counts["events"],
        malformed=counts["malformed"],
        declined=counts["declined"],
        remaps=named(counts["remaps"], arrow),
        removed=named(counts["removed"]),
        mirrored=named(counts["mirrored"]),
        repeated=named(counts["repeated"]),
        conflicts=named(counts["conflicts"]),
        tags=dict(sorted((name or PROMPTED, n) for name, n in counts["families"].items())),
        repairs=dict(sorted(counts["repairs"].items())),
        notices=dict(sorted(counts["notices"].items())),
    )
