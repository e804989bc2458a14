"""What the asynchronous and the synchronous stream tell about themselves."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .faults import StreamFault
from .flow import Flow
from .flow_state import Outcome
from .metrics import Metrics
from .report import Report
from .usage import Usage


class StreamBase:
    """What is known of one stream. All of it can be asked for at any time.

    It covers what was received, of which one read's worth (after a peek: all that was
    peeked at) may not be delivered yet.
    """

    _flow: Flow

    @property
    def fault(self) -> StreamFault | None:
        """The fault that ended the stream, as soon as it is known; None while it is well."""
        return self._flow.fault

    @property
    def report(self) -> Report:
        """What was found and done so far.

        Its ``engine`` is ``python`` for a source of dicts or objects: there is nothing to
        parse, and the reference rules decide.
        """
        return self._flow.report()

    @property
    def outcome(self) -> Outcome:
        """How the stream ended, or where it is; see `streamnorm.flow_state.Outcome`."""
        return self._flow.outcome()

    @property
    def metrics(self) -> Metrics:
        """How long everything took; see `streamnorm.metrics.Metrics`."""
        return self._flow.metrics()

    @property
    def usage(self) -> Usage:
        """What the upstream said so far about tokens and cost; see `streamnorm.usage.Usage`.

        Also after a fault and after the stream was closed.
        """
        return self._flow.collected().usage()

    @property
    def message(self) -> dict[str, Any] | None:
        """The merged message so far, as a body that was not streamed would have it.

        That of choice 0, or of the choice with the lowest index; None while nothing came.
        See `streamnorm.message.MessageAccumulator` for its members. Each access builds a new
        dict, in time linear in its length.

        Raises:
            RuntimeError: The stream was made with ``collect=False``.
        """
        return next(iter(self.choice_messages.values()), None)

    @property
    def choice_messages(self) -> dict[int, dict[str, Any]]:
        """`message` for every choice, by its index.

        (``messages`` is an attribute of LiteLLM's wrapper: those of the request.)

        Raises:
            RuntimeError: As `message`.
        """
        return self._flow.collected().messages().messages

    if not TYPE_CHECKING:  # a checker must still find misspelt names

        def __getattr__(self, name: str) -> Any:
            # (Without "_source" a copy that was never set up would recurse.)
            if name != "_source" and not (name.startswith("__") and name.endswith("__")):
                wrapper = self._source.wrapper
                if wrapper is not None:
                    return getattr(wrapper, name)
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def _check_peek(self, reasoning: object, max_bytes: object) -> None:
        if not isinstance(reasoning, bool):
            raise TypeError(f"reasoning must be a bool, not {type(reasoning).__name__}")
        if not isinstance(max_bytes, int) or isinstance(max_bytes, bool):
            raise TypeError(f"max_bytes must be an int, not {type(max_bytes).__name__}")
        if max_bytes < 1:
            raise ValueError(f"max_bytes must be at least 1, not {max_bytes}")

    def _check_sse(self, done: object) -> None:
        if done not in ("as_sent", "always"):
            raise ValueError(f"done must be one of 'as_sent', 'always'; not {done!r}")
        if self._flow.output:
            raise RuntimeError(
                "sse() was already called: the bytes of a stream can be iterated once"
                if self._flow.output == "sse"
                else "sse() must be called before the stream is iterated as chunks"
            )

    def _check_chunks(self) -> None:
        if self._flow.output == "sse":
            raise RuntimeError("the stream is iterated as bytes, by sse(); not as chunks too")
