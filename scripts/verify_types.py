"""Checks that all that is public has a known type, as pyright sees it.

    python scripts/verify_types.py

Integrations derive from classes of the libraries that they are for, which pyright does not
look into here (a module that has its library's name it takes for the library itself): that
a base class of theirs is unknown is no mistake of ours.
"""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any, Final

PACKAGE: Final = "streamnorm"
INTEGRATIONS: Final = f"{PACKAGE}.integrations."
_FOREIGN: Final = ("Type of base class unknown", "Type of metaclass unknown")
_DOCUMENTATION: Final = "No docstring found"


def unknown(report: dict[str, Any]) -> list[str]:
    """What is wrong, a line each."""
    symbols = [s for s in report["typeCompleteness"]["symbols"] if s["isExported"]]
    foreign = {s["name"] for s in symbols if _is_foreign(s)}
    lines = []
    for symbol in symbols:
        said = _said(symbol)
        # (One without a message is an instance of one of the others.)
        if symbol["isTypeKnown"] or symbol["name"] in foreign or (foreign and not said):
            continue
        lines.append(f"{symbol['name']}: {'; '.join(said)}")
    return lines


def _said(symbol: dict[str, Any]) -> list[str]:
    messages = [str(one["message"]) for one in symbol["diagnostics"]]
    return [message for message in messages if not message.startswith(_DOCUMENTATION)]


def _is_foreign(symbol: dict[str, Any]) -> bool:
    said = _said(symbol)
    return symbol["name"].startswith(INTEGRATIONS) and bool(said) and set(said) <= set(_FOREIGN)


def main() -> int:
    """Run pyright; return 1 where a type is unknown."""
    command = [sys.executable, "-m", "pyright", "--pythonpath", sys.executable]
    command += ["--verifytypes", PACKAGE, "--ignoreexternal", "--outputjson"]
    run = subprocess.run(command, check=False, stdout=subprocess.PIPE, text=True)
    report = json.loads(run.stdout)
    if "typeCompleteness" not in report:
        print(run.stdout)
        return 1
    lines = unknown(report)
    counts = report["typeCompleteness"]["exportedSymbolCounts"]
    print(*lines, f"verify_types: {counts['withKnownType']} known, {len(lines)} unknown", sep="\n")
    return 1 if lines else 0


if __name__ == "__main__":
    sys.exit(main())
