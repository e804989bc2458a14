"""What a route of the fault server is: what it sends, and what a sound client makes of it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple
from urllib.parse import parse_qs

from ..upstream import Step

if TYPE_CHECKING:
    from ..faults import Blame, Category, Kind

# The time limit without which a client would wait for ever; names of the fields of
# `streamnorm.timeouts.Timeouts`.
Limit = Literal["first_chunk", "idle", "total"]

# Before a connection breaks: what was sent has arrived by then. (Not every system gives out
# what it had received before a reset.)
SETTLE: Final = 0.05


@dataclass(frozen=True)
class Expected:
    """What a sound client says of a stream that did not end well; see `StreamFault`.

    Attributes:
        kind: What happened.
        category: What the upstream's error means.
        blame: Who can mend it.
        status_code: HTTP status, or the numeric code of an error event.
        retry_after: Seconds that the upstream asked to wait.
        provider_code: The provider's own code, or its type where it sends no code.
        limit: The time limit that ends it. A client that sets none waits for ever.
    """

    kind: Kind
    category: Category
    blame: Blame
    status_code: int | None = None
    retry_after: float | None = None
    provider_code: str | None = None
    limit: Limit | None = None


class Timing(NamedTuple):
    """When a route keeps its client waiting.

    Attributes:
        after: How many steps come before it; query parameter of the same name.
        pause: Seconds, infinite for: until the client leaves; query parameter of the same
            name.
        each: There is a pause before every step that follows, not only before the first.
        endless: The steps that follow are sent over and over, until the client leaves.
    """

    after: int
    pause: float = math.inf
    each: bool = False
    endless: bool = False


class BadQuery(ValueError):
    """A query parameter has a value that it cannot have; the text says which."""


@dataclass(frozen=True)
class FaultCase:
    """One route.

    Attributes:
        name: Segment of the path, in kebab-case.
        title: One line: what goes wrong.
        steps: The body in pieces, and what else happens; see `Upstream.add`.
        expected: None where a sound client ends well.
        evidence: Where that was seen.
        content: Answer text that a client has been given before the fault, or in all; None
            where it never ends.
        reasoning: The same of the reasoning text.
        status: HTTP status.
        headers: Replace or add to ``content-type: text/event-stream``.
        raw: The steps are the whole response with its head; see `Upstream.add`.
        timing: For a route that keeps its client waiting.
    """

    name: str
    title: str
    steps: tuple[Step, ...]
    expected: Expected | None
    evidence: str
    content: str | None = ""
    reasoning: str | None = ""
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    raw: bool = False
    timing: Timing | None = None

    @property
    def safe_to_retry(self) -> bool | None:
        """Whether a new attempt may help and repeats no visible text; None without a fault."""
        if self.expected is None:
            return None
        return self.content == "" and self.expected.blame not in ("request", "client")

    @property
    def body(self) -> bytes:
        """All bytes of the steps, once: what is sent where nobody leaves and nothing repeats."""
        return b"".join(step for step in self.steps if isinstance(step, bytes))

    def script(self, query: str = "") -> Iterable[Step]:
        """What is played for a request.

        Args:
            query: Of the request; ``after`` and ``pause`` change the timing of a route that
                has one. All else in it is ignored.

        Raises:
            BadQuery: One of the two is no number, negative, or ``after`` more than there are
                steps.
        """
        if self.timing is None:
            return self.steps
        return _timed(self.steps, _asked(self.timing, query, len(self.steps)))

    def as_dict(self) -> dict[str, Any]:
        """What the index says of it, as JSON."""
        found: dict[str, Any] = {"name": self.name, "title": self.title, "status": self.status}
        found["expected"] = None
        if self.expected is not None:
            found["expected"] = {**vars(self.expected), "safe_to_retry": self.safe_to_retry}
        found["content"] = self.content
        found["reasoning"] = self.reasoning
        if self.timing is not None:
            pause = self.timing.pause
            pause_shown = None if math.isinf(pause) else pause
            found["parameters"] = {"after": self.timing.after, "pause": pause_shown}
        found["evidence"] = self.evidence
        return found


def _timed(steps: tuple[Step, ...], timing: Timing) -> Iterator[Step]:
    yield from steps[: timing.after]
    rest = steps[timing.after :]
    if not timing.each:
        yield timing.pause
        yield from rest
        return
    while True:
        for step in rest:
            yield timing.pause
            yield step
        if not timing.endless or not rest:
            return


def _asked(timing: Timing, query: str, steps: int) -> Timing:
    given = {name: values[-1] for name, values in parse_qs(query, keep_blank_values=True).items()}
    if "after" in given:
        after = given["after"]
        if not (after.isascii() and after.isdigit() and int(after) <= steps):
            raise BadQuery(f"after must be a whole number from 0 to {steps}, not {after!r}")
        timing = timing._replace(after=int(after))
    if "pause" in given:
        timing = timing._replace(pause=_seconds(given["pause"]))
    return timing


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not seconds >= 0:
        raise BadQuery(f"pause must be 0 or more seconds, or inf, not {text!r}")
    return seconds
