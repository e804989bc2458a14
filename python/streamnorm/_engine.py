"""Which engine runs: the Rust extension where it is there, the pure one elsewhere.

``STREAMNORM_ENGINE`` forces one (``rust``, ``python``; ``auto`` is the default). A missing
extension is silent, since the pure engine is a full one; a broken one warns, since
somebody meant it to work; one built for another version of the package is an error,
since its results could differ without a word.
"""

from __future__ import annotations

import importlib
import os
import warnings
from collections.abc import Callable
from types import ModuleType
from typing import Any, Final, Literal, Protocol, cast

from ._version import __version__
from .options import Options
from .pure import engine as pure_engine

# Raised with every change of the interface between `native.py` and the extension, so that
# an extension from an earlier checkout of the same version is noticed as well.
ABI: Final = 5

_VARIABLE: Final = "STREAMNORM_ENGINE"


class Collects(Protocol):
    """What an engine that collects gives what came out to; see `collect.Collector`."""

    # All of it is wanted. Otherwise documents that hold no usage may be left out.
    keeps_message: bool

    def add_documents(self, documents: list[bytes]) -> None:
        """Take the data of events: a document in normal form, or several, one a line."""
        ...

    def add_chunks(self, chunks: list[dict[str, Any]]) -> None:
        """Take chunks before anybody else can change them."""
        ...


class NormalizerEngine(Protocol):
    """One stream's engine: bytes in; bytes or chunks out."""

    @property
    def fault(self) -> tuple[Any, ...] | None:
        """Facts of the fault that ended the stream."""
        ...

    @property
    def done(self) -> bool:
        """The mark that ends the stream (``[DONE]``) was seen: nothing that counts follows."""
        ...

    @property
    def events(self) -> int:
        """JSON objects seen."""
        ...

    @property
    def visible(self) -> bool:
        """Answer text or a tool call has come out."""
        ...

    @property
    def reasoning(self) -> bool:
        """Reasoning text has come out."""
        ...

    @property
    def pulse(self) -> int:
        """`events`, `visible`, `reasoning`, and whether `fault` is set or `done`, in one number.

        ``events << 3 | visible << 2 | reasoning << 1 | over``: one look after each read.
        """
        ...

    def feed(self, data: bytes) -> Any:
        """Take the next bytes; None where nothing comes out and there is a fault.

        (So that whoever feeds small reads need not ask for the fault after each.)
        """
        ...

    def hand_in(self) -> None:
        """Give the collector what has come out and was not given to it yet."""
        ...

    def close(self, failed: bool = False) -> Any:
        """End the stream; *failed* where its input broke off."""
        ...

    def counts(self) -> dict[str, Any]:
        """The counters of the report; see `pure.normalizer.Normalizer.counts`."""
        ...


class SteppingEngine(NormalizerEngine, Protocol):
    """What an engine that collects has as well: one call for all that a usual read needs."""

    def step(self, item: object) -> Any:
        """As `feed`, and note when it was and what came of it; see `metrics.Recorder`.

        Returns:
            The one chunk, or the bytes, that the read gave; None where it gave nothing.
            ``(out, now)`` where more is to be done, and nothing was noted: what `feed` would
            have returned, and the time. ``()`` where *item* was not taken, since it is no
            bytes, or empty.
        """
        ...

    def stepped(self) -> tuple[int, float, bytes] | None:
        """What was noted since the last call, None for nothing.

        Returns:
            The bytes that were read, when the last read was, and doubles: when each
            read was that completed an event (one; and no first text of its kind).
        """
        ...


class DecoderEngine(Protocol):
    """One stream's event stream decoder."""

    @property
    def fault(self) -> tuple[str, int] | None:
        """(unit, limit) once a limit is passed."""
        ...

    @property
    def last_event_id(self) -> str:
        """The last event id, as the standard keeps it."""
        ...

    @property
    def retry(self) -> str | None:
        """The last valid ``retry`` value as sent."""
        ...

    def feed(self, data: bytes) -> list[tuple[str | None, str, str | None, str | None]]:
        """Take the next bytes."""
        ...

    def close(self) -> list[tuple[str | None, str, str | None, str | None]]:
        """End the input."""
        ...


class Engine(Protocol):
    """What an engine module offers.

    Attributes:
        NAME: Of the engine.
        COLLECTS: Its normalizers give a collector what comes out, by the time that
            `NormalizerEngine.hand_in` returns; and they are `SteppingEngine`s, by *clock*.
    """

    NAME: str
    COLLECTS: bool

    def normalizer(
        self,
        options: Options,
        output: Any,
        collector: Collects | None = None,
        clock: Callable[[], float] | None = None,
    ) -> NormalizerEngine:
        """A new engine for one stream; *output* is ``sse`` or ``dict``."""
        ...

    def decoder(
        self, max_line: int | None, max_event: int | None, flush_tail: bool
    ) -> DecoderEngine:
        """A new event stream decoder."""
        ...


def choose(wish: str | None = None) -> Engine:
    """Load an engine.

    Args:
        wish: ``auto``, ``rust`` or ``python``; None asks the environment.

    Raises:
        ImportError: The wish is none of the three, the wished engine is missing or broken,
            or the extension was built for another version.
    """
    if wish is None:
        wish = os.environ.get(_VARIABLE, "auto")
    if wish not in ("auto", "rust", "python"):
        raise ImportError(f"{_VARIABLE} must be auto, rust or python, not {wish!r}")
    if wish != "python":
        native = _load_native(required=wish == "rust")
        if native is not None:
            return native
    return cast(Engine, pure_engine)


def _load_native(*, required: bool) -> Engine | None:
    try:
        # import_module, not `from . import`: only so can a missing extension be told from
        # one whose own imports fail.
        extension = importlib.import_module("._native", __package__)
    except ImportError as error:
        if isinstance(error, ModuleNotFoundError) and error.name == f"{__package__}._native":
            if not required:
                return None
            raise ImportError(
                f"{_VARIABLE}=rust, but this installation of streamnorm has no Rust engine"
            ) from error
        if required:
            raise ImportError(f"the Rust engine of streamnorm cannot be loaded: {error}") from error
        warnings.warn(
            f"the Rust engine of streamnorm cannot be loaded, the pure engine runs: {error}",
            RuntimeWarning,
            stacklevel=2,
        )
        return None
    _check_abi(extension)
    return cast(Engine, importlib.import_module(".native", __package__))


def _check_abi(extension: ModuleType) -> None:
    built = getattr(extension, "VERSION", None), getattr(extension, "ABI", None)
    if built != (__version__, ABI):
        raise ImportError(
            f"stale Rust engine {extension.__file__}: built for streamnorm {built[0]}, interface "
            f"{built[1]}; this is streamnorm {__version__}, interface {ABI}; delete the file or "
            "build it again"
        )


engine: Final = choose()
# Which engine runs in this process, "rust" or "python".
ENGINE: Final[Literal["rust", "python"]] = cast(Any, engine.NAME)
