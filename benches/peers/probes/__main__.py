"""``python -m benches.peers.probes PROBE ...``: reads streams as it is told, one a line.

A line of stdin is ``{"probe", "base_url", "keeps"}``, a line of stdout the answer: what
`Run.as_dict` gives, or ``{"error"}``. The first line of stdout is ``{"versions"}``.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import sys
import traceback
from contextlib import AsyncExitStack
from typing import Any, Final, TextIO

from .decoders import PROBES as DECODERS
from .run import Probe, Read, Run, versions
from .sdks import PROBES as SDKS

# Seconds in which a client ends what it left to the event loop, LiteLLM's logging for one.
_REST: Final = 0.02


def _probe_of(name: str) -> Probe:
    if "/" in name:
        from .http_clients import probe_of

        return probe_of(name)
    return {**DECODERS, **SDKS}[name]


async def _answer(read: Read, asked: dict[str, Any]) -> dict[str, Any]:
    run = Run(keeps=asked["keeps"])
    gc.collect()
    try:
        await read(asked["base_url"], run)
        took = run.took()
    except Exception as error:  # noqa: BLE001 - whatever a client raises is its result
        traceback.print_exc()
        return {"error": f"{type(error).__name__}: {error}"}
    await asyncio.sleep(_REST)
    return run.as_dict(took)


async def _work(names: list[str], answers: TextIO) -> None:
    def tell(what: dict[str, Any]) -> None:
        print(json.dumps(what), file=answers, flush=True)

    async with AsyncExitStack() as stack:
        reads = {name: await stack.enter_async_context(_probe_of(name)()) for name in names}
        tell({"versions": versions()})
        # The loop stands still while there is nothing to do, so nothing is used up then.
        for line in sys.stdin:
            asked = json.loads(line)
            tell(await _answer(reads[asked["probe"]], asked))


def main() -> None:
    """Work until stdin is closed."""
    # Whatever a client prints must not get among the answers.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    asyncio.run(_work(sys.argv[1:], answers))


if __name__ == "__main__":
    main()
