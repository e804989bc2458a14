"""What the framer finds between two blank lines."""

from __future__ import annotations

from typing import Literal


class Block:
    """What lies between two blank lines, or one line of NDJSON, or a whole body.

    Attributes:
        kind: ``event``; ``json`` (a line of NDJSON); ``body`` (all of the input); ``stray``
            (no data, but lines that look like a raw JSON error).
        lines: The raw pieces, kept only for byte output; joined they are the input.
        spots: For each value: (index in `lines`, offset of the value in that piece).
        values: Values of the ``data`` lines; the joined text is the event's data.
        event: Value of the last ``event`` line, None where none was sent.
        id: Value of the last valid ``id`` line, None where none was sent.
        retry: Value of the last valid ``retry`` line, None where none was sent.
        stray: Lines that are no field but look like JSON, or values of ``error``.
        has_error: Among them is an ``error`` line: it counts beside data as well.
        size: Bytes that count against the limit of an event.
    """

    __slots__ = (
        "event", "has_error", "id", "kind", "lines", "retry", "size", "spots", "stray", "values",
    )  # fmt: skip

    def __init__(self, kind: Literal["event", "json", "body", "stray"] = "event") -> None:
        self.kind = kind
        self.lines: list[bytes] = []
        self.spots: list[tuple[int, int]] = []
        self.values: list[bytes] = []
        self.event: bytes | None = None
        self.id: bytes | None = None
        self.retry: bytes | None = None
        self.stray: list[bytes] = []
        self.has_error: bool = False
        self.size: int = 0
