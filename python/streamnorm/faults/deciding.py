"""Which row of the table an error falls under."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

from .categories import CODES, STATUSES, Code, Status
from .wordings import WORDINGS, Wording

if TYPE_CHECKING:
    from . import Blame, Category

# Longer messages quote the request; what the upstream says comes first.
_READ_CHARACTERS: Final = 2000


class Verdict(NamedTuple):
    """What an error means.

    Attributes:
        category: Of the row that it falls under.
        blame: Of that row; None where it goes by the category.
        code: The code that decided, or None where the status or the wording did.
    """

    category: Category
    blame: Blame | None
    code: str | None = None


def decide(status: int | None, codes: Sequence[tuple[str, str]], message: str) -> Verdict:
    """Find what an error means.

    A code that means one thing decides; then the status, unless wording may refine it;
    then the wording, and last a code that is said of many things.

    Args:
        status: HTTP status, or the status that the body names.
        codes: Pairs of a code or type and the key of the object that holds it, the most
            specific first.
        message: The upstream's words.
    """
    rows = [(code, row) for code, within in codes if (row := _code_row(code, within))]
    for code, row in rows:
        if not row.vague:
            return Verdict(row.category, row.blame, code)
    by_status = _status_row(status)
    words = " ".join([message, *(code for code, _ in codes)])
    worded = _worded(by_status, words, is_bare=by_status is None and not rows)
    if worded is not None:
        return Verdict(worded.category, worded.blame)
    # Any status but 400 says more than such a code.
    if rows and status in (None, 400):
        code, row = rows[0]
        return Verdict(row.category, row.blame, code)
    if by_status is not None:
        return Verdict(by_status.category, by_status.blame)
    return Verdict("unknown", None)


def is_vague(code: str, within: str) -> bool:
    """True for a code that is said of many things; an unknown one says what it says."""
    row = _code_row(code, within)
    return row is not None and row.vague


def fold(code: str) -> str:
    """A code as it is compared: providers spell one name in four ways."""
    text = code.lower().replace("_", "").replace("-", "").replace(" ", "")
    for ending in ("error", "exception"):
        text = text.removesuffix(ending)
    return text


def _code_row(code: str, within: str) -> Code | None:
    scope = within if within in _SCOPES else ""
    name = fold(code)
    while name:
        row = _BY_CODE.get((scope, name))
        if row is not None:
            return row
        name = name.rpartition(".")[0]
    return None


def _status_row(status: int | None) -> Status | None:
    if status is None:
        return None
    return next((row for row in STATUSES if row.first <= status <= row.last), None)


def _worded(by_status: Status | None, text: str, *, is_bare: bool) -> Wording | None:
    if by_status is not None and not by_status.opens:
        return None
    text = text[:_READ_CHARACTERS].lower()
    for pattern, row in _PATTERNS:
        if row.bare and not is_bare:
            continue
        if by_status is not None and row.category not in by_status.opens:
            continue
        if pattern.search(text):
            return row
    return None


def _index() -> dict[tuple[str, str], Code]:
    index: dict[tuple[str, str], Code] = {}
    for row in CODES:
        for name in row.names.split():
            index.setdefault((row.within, fold(name)), row)
    return index


_BY_CODE: Final = _index()
# Objects whose numbers are their own: what is not listed there means nothing elsewhere.
_SCOPES: Final = frozenset(row.within for row in CODES if row.within)
_PATTERNS: Final = tuple((re.compile(row.pattern), row) for row in WORDINGS)
