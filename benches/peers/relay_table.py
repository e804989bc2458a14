"""The table of relays, and the sentence about the leanest of them."""

from __future__ import annotations

from typing import Final

from .relays import ASYNCIO, STACKS, Stack
from .results import Results, Row
from .tables import NOTHING, micros, table, timed

_ADAPTERS: Final = {
    "plain": "nothing: the bytes as they came",
    "sse": "`normalize_stream(…, collect=False).sse()`",
    "middleware": "`NormalizeMiddleware`",
    "to_response": "`to_response(normalize_stream(…, collect=False))`",
    "sdk": "chunk objects, and `model_dump_json` of each",
}
_ENGINES: Final = {"rust": "Rust", "python": "pure"}
_SERVERS: Final = {
    "uvicorn": "uvicorn (uvloop, httptools)",
    "granian": "granian (uvloop)",
    "hypercorn": "hypercorn (uvloop)",
    ASYNCIO: "uvicorn (asyncio, h11)",
}
_HEAD: Final = ("client", "in between", "engine", "ASGI server", "µs a chunk", "events a send")
# Above it more than one event was sent at a time now and then, which is another task.
_ALONE: Final = 1.05


def _is_ours(stack: Stack) -> bool:
    return stack.adapter not in ("plain", "sdk")


def _is_alone(row: Row) -> bool:
    return row.per_read is None or row.per_read < _ALONE


def relay_table(results: Results) -> str:
    """The relays, the cheapest first."""
    return table(_HEAD, [_cells(stack, row) for stack, row in ranked(results)], left=4)


def ranked(results: Results) -> list[tuple[Stack, Row]]:
    """The relays that were measured, the cheapest first."""
    rows = {row.name: row for row in results.relays}
    found = [(stack, rows[stack.name]) for stack in STACKS if stack.name in rows]
    return sorted(found, key=lambda pair: pair[1].best)


def leanest(results: Results) -> str:
    """One sentence: the cheapest that normalises event by event, and what of that is relaying."""
    found = ranked(results)
    alike = [(stack, row) for stack, row in found if _is_ours(stack) and _is_alone(row)]
    ours = next(iter(alike), None)
    if ours is None:
        return "No such relay was measured."
    stack, row = ours
    said = (
        "The leanest that normalises and sends each event by itself is "
        f"{stack.client}, {_ADAPTERS[stack.adapter]} with the {_ENGINES[stack.engine]} engine, "
        f"and {_SERVERS[stack.server]}: "
        f"{micros(row.best)} µs of processor time a chunk"
    )
    plain = stack._replace(adapter="plain", engine="rust")
    alone = next((other for other_stack, other in found if other_stack == plain), None)
    if alone is not None:
        said += f", where relaying the same bytes unread takes {micros(alone.best)}"
    usual = next((other for other_stack, other in found if other_stack.adapter == "sdk"), None)
    if usual is not None:
        said += f" and OpenAI's SDK in between {micros(usual.best)}"
    return said + "."


def _cells(stack: Stack, row: Row) -> list[str]:
    engine = _ENGINES[stack.engine] if _is_ours(stack) else "none"
    return [
        stack.client,
        _ADAPTERS[stack.adapter],
        engine,
        _SERVERS[stack.server],
        timed(row),
        NOTHING if row.per_read is None else f"{row.per_read:.1f}",
    ]
