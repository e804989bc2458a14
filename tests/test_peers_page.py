"""docs/benchmarks.md and its charts: made of what was measured, and of nothing else."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from .helpers import ROOT

# The benchmarks are no part of the package. At the end: nothing else is to be found there.
sys.path.append(str(ROOT))
from benches.peers import in_memory
from benches.peers.added import TARGETS, added
from benches.peers.chart import DARK, LIGHT, SHOWN, THEMES, Bar, bars, chart, file_of
from benches.peers.contenders import BY_PROBE, CONTENDERS
from benches.peers.judge import LOST
from benches.peers.page import page
from benches.peers.relay_table import leanest, ranked
from benches.peers.relays import STACKS
from benches.peers.results import Results
from benches.peers.tables import micros

PAGE = ROOT / "docs" / "benchmarks.md"
CHARTS = ROOT / "docs" / "benchmarks"
SVG = "{http://www.w3.org/2000/svg}"


def row(name: str, shape: str, writes: str, *times: float, **more: Any) -> dict[str, Any]:
    return {"name": name, "shape": shape, "writes": writes, "times": list(times), **more}


# A run that nobody made.
STORED: dict[str, Any] = {
    "about": {"date": "2031-02-03", "Python": "CPython 9.9"},
    "versions": {"openai": {"openai": "77.1", "unrelated": "5"}, "node": {"ai": "66.2"}},
    "rows": [
        row("openai-python", "A", "each", 210, 200, 400, place="`delta.reasoning`"),
        row("openai-python", "B", "each", 100, place="`delta.reasoning`"),
        row("langchain-openai", "A", "each", 300, place=LOST),
        row("langchain-openai", "B", "each", 300, place=LOST),
        row("any-llm", "A", "each", 320, place="`here`"),
        row("any-llm", "B", "each", 320, place="`there`"),
        row("httpx/bytes", "A", "each", 50, per_read=1.0),
        row("httpx/bytes", "B", "each", 50, per_read=1.0),
        row("httpx/bytes", "C", "each", 50, per_read=1.0),
        row("httpx/relay", "A", "each", 55),
        row("httpx/relay", "B", "each", 55.1),
        row("httpx/relay", "C", "each", 49),
        row("httpx/dicts", "A", "each", 60, place="`reasoning_content`"),
        row("httpx/bytes", "A", "backlog", 8, 8, 9, per_read=2.345),
        row("httpx/dicts", "A", "backlog", 9.5, 9.5, 9.9, place="`reasoning_content`"),
        row("aiohttp/bytes", "A", "each", 20),
        row("aiohttp/sse", "A", "each", 26),
    ],
    "relays": [
        row("httpx/sse/uvicorn/rust", "A", "each", 90),
        row("aiohttp/sse/uvicorn/rust", "A", "each", 42, 41, 43, per_read=1.0),
        row("aiohttp/sse/granian/rust", "A", "each", 40, per_read=1.8),
        row("aiohttp/plain/uvicorn/rust", "A", "each", 31),
        row("openai-python/sdk/uvicorn/rust", "A", "each", 260),
    ],
    "failed": {"litellm-openai": "it ended | early"},
}


@pytest.fixture(scope="module")
def results() -> Results:
    return Results.from_dict(json.loads(json.dumps(STORED)))


@pytest.fixture(scope="module")
def made(results: Results) -> str:
    return page(results, in_memory.section(None))


def lines(text: str, *starts: str) -> list[list[str]]:
    """The rows of tables whose first cells are *starts*, cell by cell."""
    found = [re.split(r" (?<!\\)\| ", line[2:-2]) for line in text.splitlines() if line[:2] == "| "]
    return [cells for cells in found if cells[: len(starts)] == list(starts)]


# The page.


def test_results_survive_being_stored(results: Results) -> None:
    assert Results.from_dict(json.loads(json.dumps(results.as_dict()))) == results
    assert results.row("openai-python", "A", "each") == results.rows[0]
    assert results.row("openai-python", "C", "each") is None


def test_row_has_best_median_and_ratio_to_the_reference(made: str) -> None:
    cells = lines(made, "openai-python", "httpx2", "objects")[0]
    assert cells[3:] == ["`delta.reasoning`", "200 (210)", "1.00", "100", "–"]
    cells = lines(made, "bytes, nothing parsed", "httpx")[0]
    assert cells[3:] == ["unread", "50.0 (50.0)", "0.25", "50.0", "50.0"]


def test_where_the_reasoning_is_told(made: str) -> None:
    assert lines(made, "langchain-openai")[0][3] == f"**{LOST}**"
    assert lines(made, "any-llm")[0][3] == "`here`; B: `there`"
    assert lines(made, "`normalize_stream(…)`, Rust", "httpx")[0][3] == "`reasoning_content`"


def test_events_in_a_read_are_told(made: str) -> None:
    assert ["httpx", "1.0", "2.3", "–", "–"] in lines(made, "httpx")


def test_other_ways_of_writing_have_a_table(made: str) -> None:
    assert lines(made, "bytes, nothing parsed", "httpx")[1][3:] == ["8.00 (8.00)", "–", "–"]


@pytest.mark.parametrize(
    ("client", "output", "writes", "shares", "is_reached"),
    [
        ("httpx", "relay", "each", [10.0, 10.2, -2.0], [True, False, True]),
        ("httpx", "dicts", "each", [20.0], [True]),
        ("httpx", "dicts", "backlog", [18.75], [True]),
        ("aiohttp", "sse", "each", [30.0], [False]),
    ],
)
def test_what_is_added_is_judged(
    results: Results,
    client: str,
    output: str,
    writes: str,
    shares: list[float],
    is_reached: list[bool],
) -> None:
    found = added(results, client, output, writes)
    assert [one.share for one in found] == pytest.approx(shares)
    assert [one.is_reached for one in found] == is_reached


def test_what_is_added_is_shown(made: str) -> None:
    sse = "`normalize_stream(…, collect=False).sse()`"
    figures = ["+5.00 (+10 %)", "+5.10 (+10 %)", "−1.00 (−2 %)"]
    cells = lines(made, "httpx", sse)[0]
    assert cells == ["httpx", sse, "50.0", *figures, "10 %", "missed on B"]
    assert lines(made, "aiohttp", "`normalize_stream(…).sse()`")[0][-2:] == ["25 %", "missed"]
    backlog = lines(made, "httpx", "`normalize_stream(…)`")[1]
    assert backlog[2:] == ["8.00", "+1.50 (+19 %)", "20 %", "reached"]


def test_targets_are_those_that_were_set() -> None:
    assert TARGETS == {
        ("httpx", "bytes"): 10,
        ("httpx", "dicts"): 20,
        ("aiohttp", "bytes"): 25,
        ("aiohttp", "dicts"): 60,
    }


def test_relays_are_ranked_and_the_leanest_is_named(results: Results, made: str) -> None:
    names = [stack.client for stack, _ in ranked(results)]
    assert names == ["aiohttp", "aiohttp", "aiohttp", "httpx", "openai-python"]
    said = leanest(results)
    # granian is cheaper here, but does not send each event by itself.
    assert said.startswith("The leanest that normalises and sends each event by itself is aiohttp")
    for part in (
        ", `normalize_stream(",
        "the Rust engine",
        "uvicorn",
        ": 41.0 µs",
        "unread takes 31.0",
        "between 260",
    ):
        assert part in said
    assert said in made
    assert "| granian (uvloop) | 40.0 (40.0) | 1.8 |" in made


def test_page_tells_versions_and_failures(made: str) -> None:
    assert lines(made, "openai") == [["openai", "openai 77.1"]]
    assert lines(made, "node") == [["node", "ai 66.2"]]
    assert "- litellm-openai: it ended | early" in made
    assert "- date: 2031-02-03\n- Python: CPython 9.9" in made


def test_nothing_measured_is_nothing_claimed() -> None:
    nothing = Results({}, {}, [], [])
    empty = page(nothing, in_memory.section(None))
    assert "µs of processor time" not in empty
    assert "reached" not in empty
    assert lines(empty, "openai-python")[0][3:] == ["–"] * 5


@pytest.mark.parametrize(
    ("value", "said"), [(0.5, "0.50"), (9.994, "9.99"), (12.34, "12.3"), (345.6, "346")]
)
def test_figures_have_three_digits(value: float, said: str) -> None:
    assert micros(value) == said


# The figures in memory.


def benchmark(who: str, best: float, work: str) -> dict[str, Any]:
    about = {"case": "rename", "work": work, "who": who, "read": "16384", "times": 1}
    info = {**about, "events": 1000, "bytes": 260_000, "correct": True}
    return {"extra_info": info, "stats": {"min": best, "median": best}}


def test_figures_in_memory_come_from_the_benchmarks_report() -> None:
    report = {
        "machine_info": {"described": "CPython 9.9 on a slide rule"},
        "benchmarks": [
            benchmark("openai + json", 0.008, "bytes → dicts, no rules"),
            benchmark("rust", 0.0001, "bytes → bytes"),
        ],
    }
    part = in_memory.section(report)
    assert "CPython 9.9 on a slide rule" in part
    cells = lines(part, "one key renamed", "Rust")[0]
    assert cells[2:] == ["0.10", "openai + json", "8.00", "80.0", "≥ 40", "reached"]
    assert lines(part, "one key renamed", "pure")[0][-1] == "not measured"


def test_figures_in_memory_can_be_filled_in_later(made: str) -> None:
    part = in_memory.section({"machine_info": {"described": "new"}, "benchmarks": []})
    filled = in_memory.fill(made, part)
    assert in_memory.kept(filled) == part
    assert filled.replace(part, "") == made.replace(in_memory.section(None), "")
    assert in_memory.fill(filled, in_memory.section(None)) == made
    assert in_memory.kept("# no such page") is None
    with pytest.raises(ValueError, match="no place"):
        in_memory.fill("# no such page", part)


# The charts.


@pytest.mark.parametrize("theme", THEMES)
def test_chart_shows_each_bar_to_scale(theme: Any) -> None:
    shown = [Bar("long & <odd>", 400.0, "others"), Bar("ours", 20.0, "ours"), Bar("f", 10, "floor")]
    root = ET.fromstring(chart(shown, theme))
    colours = {getattr(theme, bar.kind) for bar in shown}
    rects = [item for item in root.iter(f"{SVG}rect") if item.get("fill") in colours]
    # (The first three are the legend's.)
    widths = [float(item.get("width", "")) for item in rects[3:]]
    assert widths[0] / widths[1] == pytest.approx(20, rel=0.01)
    assert widths[1] / widths[2] == pytest.approx(2, rel=0.01)
    texts = [item.text for item in root.iter(f"{SVG}text")]
    assert {"long & <odd>", "400", "ours", "20.0", "streamnorm, Rust engine"} <= {*texts}


@pytest.mark.parametrize("theme", THEMES)
def test_chart_can_be_read_aloud_and_needs_nothing_else(results: Results, theme: Any) -> None:
    text = chart(bars(results), theme)
    root = ET.fromstring(text)
    named = {item.get("id"): item.text for item in root if item.get("id")}
    assert root.get("role") == "img"
    assert set(root.get("aria-labelledby", "").split()) == set(named)
    assert "streamnorm, dicts, over httpx (streamnorm, Rust engine): 60.0" in str(named["desc"])
    assert re.findall(r"https?://[^\"]+", text) == ["http://www.w3.org/2000/svg"]
    assert not re.search(r"url\(|href|@import|<style|<script", text)


def luminance(colour: str) -> float:
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.03928 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("theme", [LIGHT, DARK])
def test_colours_have_contrast(theme: Any) -> None:
    """What WCAG 2.2 asks of text (1.4.3) and of graphics (1.4.11)."""
    for colour in (theme.text, theme.faint):
        assert contrast(colour, theme.ground) >= 4.5
    for colour in (theme.ours, theme.others, theme.floor):
        assert contrast(colour, theme.ground) >= 3


def test_bars_are_sorted_by_length(results: Results) -> None:
    shown = bars(results)
    assert [bar.value for bar in shown] == sorted((bar.value for bar in shown), reverse=True)
    kinds = {bar.label: bar.kind for bar in shown}
    assert kinds["openai-python"] == "others"
    assert kinds["bytes alone, aiohttp"] == "floor"
    assert set(SHOWN) <= set(BY_PROBE)


# What is committed.


def committed() -> list[Path]:
    return [PAGE, *(CHARTS / file_of(theme) for theme in THEMES)]


def test_committed_page_names_every_contender_and_relay() -> None:
    text = PAGE.read_text("utf-8")
    for contender in CONTENDERS:
        assert lines(text, contender.name, contender.over), contender.name
    for stack in STACKS:
        assert stack.client in text
    assert in_memory.kept(text) is not None


def test_committed_charts_show_figures_of_the_page() -> None:
    text = PAGE.read_text("utf-8")
    shown = set()
    for theme in THEMES:
        root = ET.fromstring((CHARTS / file_of(theme)).read_text("utf-8"))
        said = root.findtext(f"{SVG}desc") or ""
        for probe, label in SHOWN.items():
            figure = re.search(rf"{re.escape(label)} \([^)]*\): ([\d.]+)", said)
            if figure is not None:
                contender = BY_PROBE[probe]
                cells = lines(text, contender.name, contender.over)[0]
                assert cells[4].startswith(f"{figure[1].rstrip('.')} (")
                shown.add(probe)
        assert f"benchmarks/{file_of(theme)}" in text
    assert len(shown) > len(SHOWN) / 2


@pytest.mark.parametrize("path", committed(), ids=lambda path: path.name)
def test_committed_files_name_no_place_of_a_machine(path: Path) -> None:
    text = path.read_text("utf-8")
    assert not re.search(r"/(root|home|tmp|work|Users|opt|mnt|var|usr)/|[A-Z]:\\|~/", text)
    assert not re.search(r"pypi\.|npmjs|registry|artifact|localhost|127\.0\.0\.1", text)
