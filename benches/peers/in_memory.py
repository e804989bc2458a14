"""The part of the page that `make bench` measures: the engines alone, without a network."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from ..summary import judged, load
from ..targets import Result
from .tables import NOTHING, table

BEGIN: Final = "<!-- in memory: begin (filled from what `make bench` measured) -->"
END: Final = "<!-- in memory: end -->"
_EMPTY: Final = "Not measured yet: run `make bench`, then `make bench-peers PEERS_ARGS=--render`."
_HEAD: Final = ("work", "engine", "µs an event", "against", "µs an event", "ratio", "target", "")
_ENGINES: Final = {"rust": "Rust", "python": "pure"}


def section(report: dict[str, Any] | None) -> str:
    """The part with its marks; *report* is what ``--benchmark-json`` wrote, None without one."""
    return "\n\n".join([BEGIN, _EMPTY if report is None else _figures(report), END])


def fill(page: str, part: str) -> str:
    """*page* with *part* in its place.

    Raises:
        ValueError: The page has no such place.
    """
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError("the page has no place for the figures in memory")
    return before + part + after


def kept(page: str) -> str | None:
    """The part that *page* has, None where it has none."""
    _, begin, rest = page.partition(BEGIN)
    inside, end, _ = rest.partition(END)
    return begin + inside + end if begin and end else None


def _figures(report: dict[str, Any]) -> str:
    said = f"Measured with {report['machine_info']['described']}."
    return f"{said}\n\n{table(_HEAD, [*_rows(report)], left=2)}"


def _rows(report: dict[str, Any]) -> Iterator[list[str]]:
    for result in judged(load(report)):
        work = result.work
        yield [
            work.name.replace("<", "&lt;"),
            _ENGINES[result.engine],
            _micros(result.micros),
            work.against,
            _micros(result.reference),
            NOTHING if result.ratio is None else f"{result.ratio:.1f}",
            result.asked,
            _verdict(result),
        ]


def _micros(value: float | None) -> str:
    return NOTHING if value is None else f"{value:.2f}"


def _verdict(result: Result) -> str:
    if result.ratio is None:
        return "not measured"
    if result.goal.target is None:
        return ""
    return "reached" if result.is_reached else "missed"
