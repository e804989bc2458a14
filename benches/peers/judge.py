"""Whether a client saw all of a stream, and where it has the reasoning."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from ..streams import Case
from .contenders import Contender
from .shapes import ONLY

LOST: Final = "lost"


class Wrong(Exception):
    """Something is missing, doubled or in a wrong place; the message says what."""


def judge(contender: Contender, case: Case, answer: Mapping[str, Any]) -> str:
    """Where the reasoning was found; empty for readers of bytes.

    Raises:
        Wrong: The client did not see all of the stream, or made something else of it.
    """
    if contender.gives == "bytes":
        wanted = case.stream if contender.floor else case.normal
        # What follows the last event is nobody's.
        if answer["body"].rstrip("\n") != wanted.decode().rstrip("\n"):
            raise Wrong("the bytes that came out are not the right ones")
        return ""
    said = case.texts[ONLY]
    if "".join(answer["content"]) != said.content:
        raise Wrong("the answer's text is not what was sent")
    if answer["items"] < case.events - 1:
        raise Wrong(f"{answer['items']} of {case.events} chunks were seen")
    if not said.reasoning:
        if answer["reasoning"]:
            raise Wrong("there is reasoning where none was sent")
        return ""
    return _place(answer["reasoning"], said.reasoning)


def _place(found: Mapping[str, list[str]], wanted: str) -> str:
    right = [place for place, pieces in found.items() if "".join(pieces) == wanted]
    if found and not right:
        raise Wrong(f"the reasoning in {', '.join(found)} is not what was sent")
    return " and ".join(right) if right else LOST
