"""The upstream's own error at the end of byte output, which ours takes the place of."""

from __future__ import annotations

import re
from typing import Any, Final

from .. import _json
from ..faults import StreamFault

_BLANK: Final = re.compile(rb"(?:\r\n|\n|\r(?!\n))(?:\r\n|\n|\r(?!\n))+")
_LINE: Final = re.compile(rb"[^\r\n]+")


def without_error(out: bytes, fault: StreamFault) -> bytes:
    """Return *out*, the last bytes of a stream, without the event that *fault* was made of.

    A client reads the first error that it meets, and that one may have any shape, and say
    things that are not for it (see `_error`).
    """
    if fault.kind != "error_event":
        return out
    starts = [0, *(match.end() for match in _BLANK.finditer(out) if match.end() < len(out))]
    event = out[starts[-1] :]
    if _is_made_of(event, fault.body):
        return out[: starts[-1]]
    # Lines of JSON have no blank line between them.
    lines = list(_LINE.finditer(event))
    if lines and _is_made_of(lines[-1].group(), fault.body):
        return out[: starts[-1] + lines[-1].start()]
    return out


def _is_made_of(event: bytes, body: Any) -> bool:
    lines = [match.group() for match in _LINE.finditer(event)]
    fields = [line[5:].removeprefix(b" ") for line in lines if line.startswith(b"data:")]
    bare = [line for line in lines if not re.match(rb":|(?:data|event|id|retry):", line)]
    return any(_reads_as(b"\n".join(told), body) for told in (fields, bare, lines) if told)


def _reads_as(data: bytes, body: Any) -> bool:
    try:
        return bool(_json.loads(data) == body)
    except ValueError:
        return data.decode("utf-8", "replace").strip() == str(body).strip()
