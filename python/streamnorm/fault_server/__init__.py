"""Every way in which a language model's stream can fail, and every dialect, as a URL path.

`FAULTS` says what each route sends and what a sound client makes of it; `DIALECT_CASES` has
one well-formed answer for each row of the dialect tables. `FaultServer` serves all of them on
loopback; so do ``python -m streamnorm.faults`` and the pytest fixture ``llm_fault``.
"""

from .case import BadQuery, Expected, FaultCase, Timing
from .dialects import DIALECT_CASES, DialectCase
from .server import FaultServer, serve_faults
from .table import CASES, FAULTS
from .tool_calls import CALL_ROWS, TOOLS, Call, CallRow

__all__ = [
    "CALL_ROWS",
    "CASES",
    "DIALECT_CASES",
    "FAULTS",
    "TOOLS",
    "BadQuery",
    "Call",
    "CallRow",
    "DialectCase",
    "Expected",
    "FaultCase",
    "FaultServer",
    "Timing",
    "serve_faults",
]
