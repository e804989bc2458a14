"""Tables in Markdown, and how figures are written in them."""

from __future__ import annotations

from collections.abc import Sequence

from .results import Row

NOTHING = "–"


def table(head: Sequence[str], rows: Sequence[Sequence[str]], left: int = 1) -> str:
    """A table; the first *left* columns hold words, the others figures."""
    marks = ["---" if at < left else "---:" for at in range(len(head))]
    # A bar in a name would end the cell.
    return "\n".join(
        "| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |"
        for line in (head, marks, *rows)
    )


def micros(value: float) -> str:
    """Microseconds, with as many digits as mean something."""
    if value >= 100:
        return f"{value:.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def timed(row: Row | None) -> str:
    """The fastest run, with the middle one behind it."""
    return NOTHING if row is None else f"{micros(row.best)} ({micros(row.median)})"


def best(row: Row | None) -> str:
    """The fastest run."""
    return NOTHING if row is None else micros(row.best)
