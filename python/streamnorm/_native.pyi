# The types of the Rust extension; `native` is the only caller.

from collections.abc import Callable
from typing import Any

from typing_extensions import Self

from ._engine import Collects
from .pure.handover import HandOver

ABI: int
VERSION: str

class Vocabulary:
    def __new__(cls, given: tuple[Any, ...]) -> Vocabulary: ...

class Table:
    def __new__(
        cls,
        rows: tuple[Any, ...],
        chosen: tuple[list[bytes], bool, bool, bool],
        vocabulary: Vocabulary,
        calls: tuple[
            Callable[[bytes], Any],
            Callable[[bytes], Any],
            Callable[[bytes], tuple[bytes, bytes] | None],
        ],
    ) -> Table: ...

class Normalizer:
    def __new__(
        cls,
        table: Table,
        limits: tuple[int | None, int | None],
        output: str,
        reference: HandOver,
        collector: Collects | None,
    ) -> Self: ...
    @property
    def pulse(self) -> int: ...
    def hand_in(self) -> None: ...
    @property
    def fault(self) -> tuple[Any, ...] | None: ...
    @property
    def done(self) -> bool: ...
    @property
    def events(self) -> int: ...
    @property
    def visible(self) -> bool: ...
    @property
    def reasoning(self) -> bool: ...
    def feed(self, data: bytes) -> Any: ...
    def close(self, failed: bool = False) -> Any: ...
    def counts(self) -> dict[str, Any]: ...

class Decoder:
    def __new__(cls, max_line: int | None, max_event: int | None, flush_tail: bool) -> Decoder: ...
    @property
    def fault(self) -> tuple[str, int] | None: ...
    @property
    def last_event_id(self) -> str: ...
    @property
    def retry(self) -> str | None: ...
    def feed(self, data: bytes) -> list[tuple[str | None, str, str | None, str | None]]: ...
    def close(self) -> list[tuple[str | None, str, str | None, str | None]]: ...
