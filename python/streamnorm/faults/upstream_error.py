"""An error that the upstream put into words, as a fault."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from . import retry_after
from .categories import BLAME
from .deciding import Verdict, decide, is_vague
from .reading import ErrorFacts
from .words import LINE_LENGTH, one_line

if TYPE_CHECKING:
    from . import Blame, Category, Kind, StreamFault

# A line holds what happened and what it means; the words in between give way.
_SHOWN_MESSAGE = 300


def make(
    kind: Kind,
    what: str,
    body: Any,
    facts: ErrorFacts,
    *,
    status: int | None = None,
    headers: Any = None,
    verdict: Verdict | None = None,
    wait: float | None = None,
) -> StreamFault:
    """Make the fault of what an upstream said.

    Args:
        kind: Its kind.
        what: What happened, the first words of its text; with *status*, where it is given.
        body: The parsed body or event.
        facts: What the body says.
        status: HTTP status; else the one that the body names.
        headers: Of the response.
        verdict: What the error means, where that is known from elsewhere.
        wait: Value of ``retry_after``, where it is known from elsewhere.
    """
    from . import StreamFault

    named = facts.status if status is None else None
    status = facts.status if status is None else status
    message = facts.message or ""
    verdict = verdict or decide(status, facts.codes, message)
    category, blame = meaning(verdict)
    if wait is None:
        is_limit = category in ("rate_limit", "quota_exceeded")
        wait = retry_after.find(headers, facts.objects, message, is_limit=is_limit)
    code = verdict.code or _telling(facts.codes)
    return StreamFault(
        _line(what, named, code, facts.message, body, category, blame, wait),
        kind=kind,
        category=category,
        blame=blame,
        status_code=status,
        retry_after=wait,
        body=body,
        provider_message=facts.message,
        provider_code=code,
    )


def meaning(verdict: Verdict) -> tuple[Category, Blame]:
    """Category and blame: what nobody can tell is the provider's to explain."""
    return verdict.category, verdict.blame or BLAME.get(verdict.category, "provider")


def _telling(codes: Sequence[tuple[str, str]]) -> str | None:
    telling = (code for code, within in codes if not is_vague(code, within))
    return next(telling, codes[0][0] if codes else None)


def _line(
    what: str,
    status: int | None,
    code: str | None,
    message: str | None,
    body: Any,
    category: Category,
    blame: Blame,
    wait: float | None,
) -> str:
    label = " ".join(str(part) for part in (status, code) if part is not None)
    said = message if message is not None else ("" if body is None else repr(body)[:LINE_LENGTH])
    if isinstance(body, Mapping) and message is None and label:
        said = ""  # the code says it, and the body is there for who wants it
    parts = [part for part in (label, one_line(said, _SHOWN_MESSAGE)) if part]
    means = [] if category == "unknown" else [f"category {category}", f"blame {blame}"]
    if wait is not None:
        means.append(f"retry after {wait:.6g} s")
    tail = f" ({', '.join(means)})" if means else ""
    return f"{what}: {': '.join(parts)}{tail}" if parts else f"{what}{tail}"
