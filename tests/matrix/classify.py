"""What a cell of the matrix says: what a client showed, against what was sent."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Final, Literal

from streamnorm.fault_server import Call

Verdict = Literal["✓", "—", "lost", "doubled", "crash"]

# The verdicts with which a cell behind streamnorm passes.
WELL: Final[tuple[Verdict, ...]] = ("✓", "—")


@dataclass(frozen=True)
class Shown:
    """What a client showed of a whole stream, or what was sent."""

    reasoning: str = ""
    content: str = ""
    calls: tuple[Call, ...] = ()
    error: str | None = field(default=None, compare=False)


def classify(sent: Shown, shown: Shown, *, shows_reasoning: bool = True) -> Verdict:
    """Say how much of *sent* is in *shown*.

    ``✓``: all of it, once. ``—``: all but the reasoning, from a client that cannot show
    any. ``crash``: the client raised. ``doubled``: something is there more than once.
    ``lost``: everything else: a part is missing, or stands where it does not belong.

    Args:
        sent: The truth.
        shown: What came out of the client.
        shows_reasoning: The client has a place for reasoning text.
    """
    if shown.error is not None:
        return "crash"
    is_hidden = bool(sent.reasoning) and not shows_reasoning
    has_reasoning = is_hidden or shown.reasoning == sent.reasoning
    if has_reasoning and shown.content == sent.content and _same_calls(sent, shown):
        return "—" if is_hidden else "✓"
    if _is_doubled(sent, shown):
        return "doubled"
    return "lost"


def _same_calls(sent: Shown, shown: Shown) -> bool:
    return len(sent.calls) == len(shown.calls) and all(
        _same_call(*pair) for pair in zip(sent.calls, shown.calls, strict=True)
    )


def _same_call(sent: Call, shown: Call) -> bool:
    return shown.id in (None, sent.id) and shown.name == sent.name and shown.value == sent.value


def _is_doubled(sent: Shown, shown: Shown) -> bool:
    if _repeats(sent.reasoning, shown.reasoning) or _repeats(sent.content, shown.content):
        return True
    # In its place, and in the answer once more.
    if sent.reasoning and shown.reasoning == sent.reasoning and sent.reasoning in shown.content:
        return True
    if len(shown.calls) > len(sent.calls):
        known = [any(_same_call(call, made) for call in sent.calls) for made in shown.calls]
        return all(known)
    return any(
        _repeats(call.name or "", made.name or "")
        or (isinstance(made.arguments, str) and _repeats(call.arguments, made.arguments))
        for call, made in zip(sent.calls, shown.calls, strict=False)
    )


def _repeats(sent: str, shown: str) -> bool:
    """Whether *shown* is *sent* several times over.

    A client may double a text as a whole or fragment by fragment, so the letters are
    compared: those of *sent* in their order, and in all as many of each as the copies have.
    """
    copies, rest = divmod(len(shown), len(sent) or 1)
    if not sent or rest or copies < 2:
        return False
    letters = iter(shown)
    return all(letter in letters for letter in sent) and Counter(shown) == Counter(sent * copies)
