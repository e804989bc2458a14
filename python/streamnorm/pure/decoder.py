"""The event stream decoder of the reference engine: framing alone, no rules."""

from __future__ import annotations

from .blocks import Block
from .events import Framer, Item

# (event, data, id, retry): None where not sent.
DecodedEvent = tuple[str | None, str, str | None, str | None]


class Decoder:
    """Bytes to events, by the standard."""

    def __init__(self, max_line: int | None, max_event: int | None, flush_tail: bool) -> None:
        self._framer = Framer(max_line, max_event, keep_raw=False, sniff=False)
        self._flush_tail = flush_tail

    @property
    def fault(self) -> tuple[str, int] | None:
        """(unit, limit) once a limit is passed."""
        return self._framer.fault

    @property
    def last_event_id(self) -> str:
        """The last event id, as the standard keeps it."""
        return text(self._framer.last_event_id)

    @property
    def retry(self) -> str | None:
        """The last valid ``retry`` value as sent."""
        value = self._framer.retry
        return None if value is None else text(value)

    def feed(self, data: bytes) -> list[DecodedEvent]:
        """Take the next bytes; return the events they completed."""
        return _events(self._framer.feed(data))

    def close(self) -> list[DecodedEvent]:
        """End the input; return the unfinished event if that was asked for."""
        return _events(self._framer.close(flush=self._flush_tail))


def _events(items: list[Item]) -> list[DecodedEvent]:
    return [
        (
            None if item.event is None else text(item.event),
            text(b"\n".join(item.values)),
            None if item.id is None else text(item.id),
            None if item.retry is None else text(item.retry),
        )
        for item in items
        if isinstance(item, Block) and item.values
    ]


def text(value: bytes) -> str:
    """Decode as the standard does: what is not UTF-8 becomes U+FFFD, one per maximal part."""
    return value.decode("utf-8", "replace")
