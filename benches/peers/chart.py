"""The bar chart of the page, as an SVG for each colour scheme."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape
from typing import Final, NamedTuple

from .contenders import BY_PROBE
from .results import Results
from .tables import micros

# What is shown of the clients, by what it is called there. (All would be too many bars.)
SHOWN: Final = {
    "litellm-openai": "LiteLLM, openai/",
    "litellm-vercel": "LiteLLM, vercel_ai_gateway/",
    "litellm-openrouter": "LiteLLM, openrouter/",
    "pydantic-ai": "pydantic-ai",
    "langchain-openai": "langchain-openai",
    "any-llm": "any-llm",
    "openai-python": "openai-python",
    "ai-streamText": "AI SDK on Node, streamText",
    "ai-doStream": "AI SDK on Node, doStream",
    "httpx-sse": "httpx-sse + json, over httpx",
    "anthropic-decoder": "anthropic's decoder + json, over httpx2",
    "sseclient-py": "sseclient-py + json, no event loop",
    "eventsource-parser": "eventsource-parser + JSON on Node",
    "httpx/dicts": "streamnorm, dicts, over httpx",
    "httpx/relay": "streamnorm, bytes, over httpx",
    "httpx/bytes": "bytes alone, httpx",
    "aiohttp/dicts": "streamnorm, dicts, over aiohttp",
    "aiohttp/relay": "streamnorm, bytes, over aiohttp",
    "aiohttp/bytes": "bytes alone, aiohttp",
}
SHAPE: Final = "A"
WRITES: Final = "each"

_WIDTH: Final = 760
_BAR: Final = 16
_STEP: Final = 24
_TOP: Final = 96
_LEFT: Final = 288
_RIGHT: Final = 64
_BOTTOM: Final = 34
# Where each kind is named.
_LEGEND: Final = (20, 234, 362)
_FONT: Final = "system-ui, -apple-system, 'Segoe UI', Roboto, 'DejaVu Sans', sans-serif"


class Theme(NamedTuple):
    """The colours of one scheme; the names of the last three are the kinds of bars."""

    name: str
    ground: str
    text: str
    faint: str
    line: str
    ours: str
    others: str
    floor: str


# Of each kind 3 : 1 and more on its ground, and different in lightness, not in hue alone.
LIGHT: Final = Theme(
    "light", "#ffffff", "#1f2328", "#59636e", "#d1d9e0", "#0550ae", "#8a939d", "#a87400"
)
DARK: Final = Theme(
    "dark", "#0d1117", "#f0f6fc", "#9198a1", "#3d444d", "#58a6ff", "#6e7681", "#d4a72c"
)
THEMES: Final = (LIGHT, DARK)

KINDS: Final = {
    "ours": "streamnorm, Rust engine",
    "others": "other clients",
    "floor": "bytes alone, nothing parsed",
}


class Bar(NamedTuple):
    """One bar: what it is called, its µs, and a name of `KINDS`."""

    label: str
    value: float
    kind: str


def file_of(theme: Theme) -> str:
    """What the chart in that scheme is called."""
    return f"over-http-{theme.name}.svg"


def bars(results: Results) -> list[Bar]:
    """The bars, the longest first."""
    found = []
    for probe, label in SHOWN.items():
        row = results.row(probe, SHAPE, WRITES)
        if row is not None:
            contender = BY_PROBE[probe]
            kind = "floor" if contender.floor else "ours" if contender.engine else "others"
            found.append(Bar(label, row.best, kind))
    return sorted(found, key=lambda bar: -bar.value)


def chart(shown: Sequence[Bar], theme: Theme) -> str:
    """The chart in one scheme."""
    height = _TOP + _STEP * len(shown) + _BOTTOM
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}"',
            f'  width="{_WIDTH}" height="{height}" role="img" aria-labelledby="title desc"',
            f'  font-family="{_FONT}">',
            '<title id="title">Processor time a chunk, over HTTP, one event a read</title>',
            f'<desc id="desc">{escape(_described(shown))}</desc>',
            f'<rect width="{_WIDTH}" height="{height}" rx="6" fill="{theme.ground}"/>',
            *_head(theme),
            *_axis(shown, theme, height),
            *_bars(shown, theme),
            "</svg>",
            "",
        ]
    )


def _described(shown: Sequence[Bar]) -> str:
    values = "; ".join(f"{bar.label} ({KINDS[bar.kind]}): {micros(bar.value)}" for bar in shown)
    return f"A bar chart of microseconds of processor time a chunk, less is better. {values}."


def _head(theme: Theme) -> Iterator[str]:
    big, small = 'font-size="17" font-weight="600"', 'font-size="13"'
    yield _text(20, 32, "Processor time a chunk over HTTP", theme.text, big)
    said = "microseconds, less is better; stream A, one event a read"
    yield _text(20, 53, said, theme.faint, small)
    for at, (kind, label) in zip(_LEGEND, KINDS.items(), strict=True):
        fill = getattr(theme, kind)
        yield f'<rect x="{at}" y="67" width="12" height="12" rx="2" fill="{fill}"/>'
        yield _text(at + 18, 78, label, theme.text, small)


def _scale(shown: Sequence[Bar]) -> float:
    """Pixels a microsecond."""
    return (_WIDTH - _LEFT - _RIGHT) / max((bar.value for bar in shown), default=1.0)


def _axis(shown: Sequence[Bar], theme: Theme, height: int) -> Iterator[str]:
    scale = _scale(shown)
    longest = max((bar.value for bar in shown), default=1.0)
    step = next((s for s in (10, 20, 50, 100, 200, 500, 1000) if longest / s <= 6), 2000)
    end = height - _BOTTOM + 4
    for value in range(0, int(longest) + 1, step):
        x = _LEFT + value * scale
        yield (
            f'<line x1="{x:.1f}" y1="{_TOP - 4}" x2="{x:.1f}" y2="{end}" stroke="{theme.line}"/>'
        )
        yield _text(x, end + 16, f"{value}", theme.faint, 'font-size="12" text-anchor="middle"')


def _bars(shown: Sequence[Bar], theme: Theme) -> Iterator[str]:
    scale = _scale(shown)
    # (A line of the grid must not cross a figure.)
    halo = f' paint-order="stroke" stroke="{theme.ground}" stroke-width="5"'
    for number, bar in enumerate(shown):
        y = _TOP + number * _STEP
        width = max(1.5, bar.value * scale)
        weight = ' font-weight="600"' if bar.kind == "ours" else ""
        under = y + _BAR - 3.5
        name = f'font-size="13" text-anchor="end"{weight}'
        yield _text(_LEFT - 8, under, bar.label, theme.text, name)
        yield (
            f'<rect x="{_LEFT}" y="{y}" width="{width:.1f}" height="{_BAR}" rx="2" '
            f'fill="{getattr(theme, bar.kind)}"/>'
        )
        figure = f'font-size="12"{weight}{halo}'
        yield _text(_LEFT + width + 6, under, micros(bar.value), theme.text, figure)


def _text(x: float, y: float, text: str, fill: str, more: str) -> str:
    return f'<text x="{x:.1f}" y="{y:g}" fill="{fill}" {more}>{escape(text)}</text>'
