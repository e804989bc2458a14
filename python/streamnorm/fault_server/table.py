"""All routes of the fault server, by name, and what its index says of them."""

from __future__ import annotations

import json
from collections.abc import Iterable
from difflib import get_close_matches
from typing import Final

from .bodies import BODIES
from .case import FaultCase
from .cuts import CUTS
from .dialects import DIALECT_CASES, DialectCase
from .http_errors import HTTP_ERRORS
from .sound import SOUND
from .stream_errors import STREAM_ERRORS
from .waits import WAITS

FAULTS: Final[tuple[FaultCase, ...]] = (
    *HTTP_ERRORS,
    *STREAM_ERRORS,
    *BODIES,
    *CUTS,
    *WAITS,
    *SOUND,
)

Case = FaultCase | DialectCase


def _by_name(cases: Iterable[Case]) -> dict[str, Case]:
    found: dict[str, Case] = {}
    for case in cases:
        if case.name in found:
            raise LookupError(f"two routes of the fault server are called {case.name!r}")
        found[case.name] = case
    return found


CASES: Final[dict[str, Case]] = _by_name((*FAULTS, *DIALECT_CASES))


def near(name: str) -> list[str]:
    """Names like *name*, the likest first; at most five."""
    alike = get_close_matches(name, CASES, 5, 0.5)
    inside = [known for known in CASES if name and name in known]
    return list(dict.fromkeys([*alike, *inside]))[:5]


def unknown(name: str) -> str:
    """What is said where there is no route *name*."""
    found = near(name)
    return f"No fault is called {name!r}." + (f" Near: {', '.join(found)}." if found else "")


def index_json(origin: str) -> str:
    """The index as a JSON object: ``origin`` and ``faults``, one object each."""
    return json.dumps({"origin": origin, "faults": [case.as_dict() for case in CASES.values()]})


def index_text(origin: str) -> str:
    """The index as lines of text.

    Args:
        origin: Scheme, host and port; empty where nothing listens.
    """
    width = max(map(len, CASES))
    rows = [
        (case.name.ljust(width), outcome(case).ljust(44), case.title) for case in CASES.values()
    ]
    head = (
        f"Base URL of an SDK: {origin}/v1/NAME    any client: {origin}/NAME\n"
        "Routes that wait take ?after=N (steps) and ?pause=SECONDS.\n\n"
    )
    return (head if origin else "") + "".join("  ".join(row) + "\n" for row in rows)


def outcome(case: Case) -> str:
    """What a sound client makes of a route, in a few words."""
    expected = case.expected if isinstance(case, FaultCase) else None
    if expected is None:
        return "ends well"
    return f"{expected.kind}, {expected.category}, {expected.blame}"
