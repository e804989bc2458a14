"""Events of a stream that differ in one text only: such a run is read as one event."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Any, Final

# A delta's members that mean the same however often they come.
_STANDING: Final = frozenset({"role"})

# What stands in a text of JSON: no escape of half a character, nothing that ends the string.
_TEXT: Final = rb'[^"\\\x00-\x1f]*(?:\\["\\/bfnrt][^"\\\x00-\x1f]*)*'
_ONE_TEXT: Final = re.compile(_TEXT)
_BEHIND: Final = b"\n\n"


class Run:
    """What the events of a run have in common.

    A run of *n* events with one text each, in a member whose texts are added up, says what
    one event with all of the text says, if nothing else in it adds up.

    Args:
        before: The event up to its text.
        behind: What stands behind the text, to the blank line.
    """

    __slots__ = ("_before", "_behind")

    def __init__(self, before: bytes, behind: bytes) -> None:
        self._before = before
        self._behind = behind

    def joined(self, data: bytes, start: int) -> tuple[bytes, int]:
        """The document that says what the events from *start* on say, as far as they are alike.

        Returns:
            The document (empty if there is none), and where the first other event begins.
        """
        # No pattern of the whole event: ids differ from stream to stream, and to compile one
        # takes longer than many events do.
        before, behind, match = self._before, self._behind, _ONE_TEXT.match
        skipped, rest = len(before), len(behind)
        texts, at = [], start
        while data.startswith(before, at):
            text = match(data, at + skipped)
            if text is None or not data.startswith(behind, text.end()):
                break
            texts.append(text[0])
            at = text.end() + rest
        if not texts or not _is_utf_8(texts):
            return b"", start
        document = self._before + b"".join(texts) + self._behind
        return document[len(b"data: ") : -len(_BEHIND)], at


def run_of(event: bytes, document: dict[str, Any], names: Collection[str]) -> Run | None:
    """The run that *event* may begin, None where there is none.

    Args:
        event: With its blank line.
        document: What its data say.
        names: The members of a delta whose texts are added up.
    """
    if not event.startswith(b"data: {") or event.find(b"\n") != len(event) - len(_BEHIND):
        return None
    choices = document.get("choices")
    if not isinstance(choices, list) or len(choices) != 1 or not isinstance(choices[0], dict):
        return None
    delta = choices[0].get("delta")
    if not isinstance(delta, dict):
        return None
    said = [name for name, value in delta.items() if value not in (None, "")]
    texts = [name for name in said if name in names and type(delta[name]) is str]
    if len(texts) != 1 or not _STANDING.issuperset(set(said) - set(texts)):
        return None
    name = texts[0].encode("ascii")
    found = re.search(rb'"%s"\s*:\s*"(%s)"' % (re.escape(name), _TEXT), event)
    if found is None or event.count(b'"' + name + b'"') != 1:
        return None
    return Run(event[: found.start(1)], event[found.end(1) :])


def _is_utf_8(texts: list[bytes]) -> bool:
    """Whether each of *texts* is."""
    joined = b'"'.join(texts)
    try:
        return joined.isascii() or bool(joined.decode("utf-8"))
    except UnicodeDecodeError:
        return False
