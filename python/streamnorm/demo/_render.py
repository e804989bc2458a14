"""How the demo looks in a terminal, a pipe or a file."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final

from rich.console import Console
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from .. import ENGINE
from ..upstream.streams import BundledStream

if TYPE_CHECKING:
    from ._result import Result

# Beyond this a line is too long to compare at a glance.
_WIDEST: Final = 160
# Below this width of a column nested values are shown by their type alone.
_ROOMY: Final = 60
_LONGEST_VALUE: Final = 20
_DEEPEST: Final = 2

# What an unchanged member may hold that is not worth a line of a narrow column.
_DULL: Final[tuple[Any, ...]] = (None, "", "assistant", [])

_MOVED, _CAME, _SAME = "yellow", "bold green", "dim"


class Screen:
    """Prints row by row, as the events come, so that it works without a terminal as well."""

    def __init__(self) -> None:
        # What an 8-bit or ASCII output cannot show must not end the demo.
        if isinstance(sys.stdout, io.TextIOWrapper):
            sys.stdout.reconfigure(errors="replace")
        width = Console().width
        self._console = Console(width=min(width, _WIDEST), highlight=False)
        self._half = (self._console.width - 3) // 2

    def begin(self, stream: BundledStream) -> None:
        """Announce a stream."""
        print_ = self._console.print
        print_()
        print_(Rule(Text(stream.provider, style="bold cyan"), align="left", style="cyan"))
        self._labelled("asked", stream.question)
        self._labelled("reasoning in", stream.where)
        print_()
        self._columns(Text("as sent", "bold"), " ", Text("normalised", "bold"))

    def row(self, original: Any, chunk: Any) -> None:
        """Show one event: its delta as sent and in normal form, and what differs."""
        same = original == chunk
        left, right = _delta(original), _delta(chunk)
        mark = Text("=", _SAME) if same else Text("→", _CAME)
        self._columns(
            self._shown(original, left, right, _MOVED),
            mark,
            self._shown(chunk, right, left, _CAME),
        )

    def aside(self, text: str) -> None:
        """Show an event without a chunk: a comment, or the end mark."""
        self._columns(Text(text, _SAME), " ", Text(""))

    def end(self, result: Result) -> None:
        """Show what the stream said, and what was done to it."""
        self._console.print()
        self._labelled("reasoning", _one_line(result.reasoning))
        self._labelled("answer", _one_line(result.content))
        self._labelled("remapped", _done(result))
        if result.fault is not None:
            self._labelled("fault", Text(str(result.fault), "bold red"))
        if not result.ok:
            self._labelled("expected", _one_line(result.stream.reasoning))

    def summary(self, results: Iterable[Result]) -> None:
        """Show all streams in one table, and which engine ran."""
        results = list(results)
        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
        for name in ("provider", "dialect", "deltas changed", "as expected"):
            table.add_column(name, overflow="fold")
        for result in results:
            verdict = Text("yes", "green") if result.ok else Text("NO", "bold red")
            dialect = result.report.dialect if result.report is not None else None
            table.add_row(result.stream.provider, dialect or "-", str(result.changed), verdict)
        good = sum(result.ok for result in results)
        self._console.print()
        self._console.print(Rule(style="cyan"))
        self._console.print(table)
        self._console.print()
        self._console.print(
            f"{good} of {len(results)} streams have their reasoning in delta.reasoning_content "
            f"and their answer in delta.content. Engine: {ENGINE}."
        )

    def catalogue(self, streams: Iterable[BundledStream]) -> None:
        """Name the streams."""
        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
        for name in ("name", "provider", "where the reasoning is"):
            table.add_column(name, overflow="fold")
        for stream in streams:
            table.add_row(stream.name, stream.provider, stream.where)
        self._console.print(table)

    def _columns(self, left: Text, mark: Text | str, right: Text) -> None:
        grid = Table.grid(padding=(0, 1, 0, 0))
        grid.add_column(width=self._half - 1, overflow="fold")
        grid.add_column(width=1)
        grid.add_column(overflow="fold")
        grid.add_row(left, mark, right)
        self._console.print(grid)

    def _labelled(self, label: str, value: str | Text) -> None:
        grid = Table.grid(padding=(0, 1, 0, 0))
        grid.add_column(width=12, style="cyan")
        grid.add_column(overflow="fold")
        grid.add_row(label, value)
        self._console.print(grid)

    def _shown(self, chunk: Any, delta: Any, other: Any, style: str) -> Text:
        if chunk is None:
            return Text("nothing", "red")
        if delta is None:
            return Text("choices []" + _ending(chunk), _SAME)
        members, left_out = [], False
        for key, value in delta.items():
            same = isinstance(other, dict) and key in other and other[key] == value
            if same and self._half < _ROOMY and value in _DULL:
                left_out = True
            else:
                shown = f"{_compact(key)}:{self._value(value)}"
                said = value and key in ("content", "reasoning_content")
                members.append(Text().append(shown, style if not same else "" if said else _SAME))
        if not members:
            return Text(("{…}" if left_out else "{}") + _ending(chunk), _SAME)
        members[-1].append(",…}" if left_out else "}", _SAME)
        return self._filled(members).append(_ending(chunk), _SAME)

    def _filled(self, members: list[Text]) -> Text:
        """*members* as an object, broken between members where that is possible."""
        text, used = Text().append("{", _SAME), 1
        for position, member in enumerate(members):
            if position:
                text.append(",", _SAME)
                used += 1
                if used + member.cell_len > self._half - 1:
                    text.append("\n ")
                    used = 1
            text.append_text(member)
            used += member.cell_len
        return text

    def _value(self, value: Any) -> str:
        if not isinstance(value, dict | list):
            return _compact(value)
        if self._half >= _ROOMY:
            return _compact(_shortened(value))
        if isinstance(value, dict):
            return "{…}" if value else "{}"
        return "[" + ",".join(_kind(item) for item in value) + "]"


def _kind(item: Any) -> str:
    """``text``, ``summary``, ``encrypted`` or ``signature``: what an item of details holds."""
    if not isinstance(item, dict):
        return "…"
    if item.get("signature") and not item.get("text"):
        return "signature…"
    return str(item.get("type", "")).rpartition(".")[2] + "…"


def _compact(value: Any) -> str:
    # As on the wire.
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _delta(chunk: Any) -> Any:
    choices = chunk["choices"] if isinstance(chunk, dict) else []
    return choices[0].get("delta") if choices else None


def _ending(chunk: dict[str, Any]) -> str:
    choices = chunk["choices"]
    finish = choices[0].get("finish_reason") if choices else None
    usage = chunk.get("usage")
    told = f" finish_reason {finish}" if finish else ""
    return told + (f" usage {usage.get('total_tokens')} tokens" if usage else "")


def _shortened(value: Any, depth: int = 0) -> Any:
    """*value* with its long strings cut, signatures above all, and its depths left out."""
    if isinstance(value, dict) and depth < _DEEPEST:
        return {key: _shortened(item, depth + 1) for key, item in value.items()}
    if isinstance(value, list) and depth < _DEEPEST:
        return [_shortened(item, depth + 1) for item in value]
    if isinstance(value, dict | list):
        return "…"
    if isinstance(value, str) and len(value) > _LONGEST_VALUE:
        return f"{value[:_LONGEST_VALUE]}…"
    return value


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _done(result: Result) -> str:
    report = result.report
    if report is None:
        return "nothing"
    told = []
    for name in ("remaps", "mirrored", "removed", "repeated", "conflicts"):
        for key, count in getattr(report, name).items():
            told.append(f"{key} ×{count}" + ("" if name == "remaps" else f" {name}"))
    return ", ".join(told) or "nothing: it came in normal form"
