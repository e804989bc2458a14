"""One event: its documents, in the order in which they go out, and the fault that follows them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .._json import loads
from ..dialects import DONE_MARK
from . import resync
from .documents import Documents, FaultFacts, Output, parse

# What a bare error line says where there is no error.
_NOTHING = (b"", b"null", b"false", b"{}", b'""')


def decide(
    documents: Documents, kind: str, values: list[bytes], output: Output, stray: list[bytes]
) -> tuple[list[Any], FaultFacts | None]:
    """Decide one event.

    Args:
        documents: The stream that it belongs to.
        kind: ``event``; ``body`` for a document that is all there is; ``last`` for an event
            that ends the stream; ``tail`` for one that the end of the input cut off;
            ``error`` for one of that name; ``stray`` for lines that are no event but look
            like an error.
        values: Its lines; at least one is not blank.
        output: ``sse`` or ``dict``.
        stray: Lines beside its ``data`` lines that look like an error.

    Returns:
        (the edited values or the chunks; the facts of a fault that follows them). Where
        more goes out than the lines can hold, the rest is in ``documents.before``.
    """
    documents.begin(kind)
    if kind in ("error", "stray"):
        return [], error_of(kind, values)
    beside = error_of("stray", stray) if stray else None
    # Behind an error nothing comes that could go on with what is held back.
    documents.is_whole = documents.is_whole or beside is not None
    made: list[Any]
    made, fault = (edit_values if output == "sse" else chunks_of)(documents, values)
    if kind == "tail" and fault is not None and fault[0] == "corrupt":
        # Half an event at the end of the input was cut off, not garbled.
        fault = ("truncated", fault[1])
    is_told = fault is not None and fault[0] == "error_event"
    return made, fault if beside is None or is_told else beside


def error_of(kind: str, lines: list[bytes]) -> FaultFacts | None:
    """The fault that lines tell that are an error, or look like one (``stray``)."""
    data = b"\n".join(lines)
    said = parse(data)
    if kind == "stray" and isinstance(said, dict) and not said.get("error", True):
        return None
    if kind == "stray" and data.strip() in _NOTHING:
        return None
    if said is None:
        said = data.decode("utf-8", "replace")
    return ("error_event", said)


def is_done(value: bytes) -> bool:
    """Whether a ``data`` value ends the stream."""
    return value.lstrip(b" \t").startswith(DONE_MARK)


def is_said(values: list[bytes]) -> bool:
    """Whether an event says anything: an empty data line is a keep-alive of some relays."""
    return any(value.strip(b" \t") for value in values)


def chunks_of(
    documents: Documents, values: list[bytes]
) -> tuple[list[dict[str, Any]], FaultFacts | None]:
    """The chunks of one event, and the facts of a fault that follows them."""

    def held() -> list[dict[str, Any]]:
        document = documents.flush(is_end=False)
        return [loads(document)] if isinstance(document, bytes) else []

    made, _, fault = _in_order(documents, _split(values), documents.chunk, held)
    return made, fault


def edit_values(documents: Documents, values: list[bytes]) -> tuple[list[bytes], FaultFacts | None]:
    """The values of one event's ``data`` lines, edited; as many as there were."""

    def held() -> list[bytes]:
        document = documents.flush(is_end=False)
        return [document] if isinstance(document, bytes) else []

    split = _split(values)
    made, count, fault = _in_order(documents, split, documents.edit, held)
    # Data lines that are one document together are taken together.
    if split[0] is not values[0]:
        ahead = (document.replace(b"\n", b" ") for document in made[:-1])
        documents.before = [*documents.before, *ahead]
        lines = made[-1].split(b"\n")
        return lines + [b""] * (len(values) - len(lines)), fault
    if len(made) != count:
        # Documents that its lines have no room for go out before it.
        documents.before = [*documents.before, *made[:-1]]
        made = [made[-1]] + [b""] * (count - 1)
    return made + values[count:], fault


def _in_order(
    documents: Documents,
    data: list[bytes],
    normalise: Callable[[bytes], tuple[list[Any], FaultFacts | None]],
    held: Callable[[], list[Any]],
) -> tuple[list[Any], int, FaultFacts | None]:
    """(what comes of documents, how many of them were reached, the fault that ended it)."""
    made: list[Any] = []
    for count, document in enumerate(data, start=1):
        new, fault = normalise(document)
        if fault is not None:
            # What is held back of those before it goes out between them and the fault.
            return made + (held() if made else []) + new, count, fault
        made += new
        if documents.ends:
            return made, count, None
    return made, len(data), None


def _split(values: list[bytes]) -> list[bytes]:
    """The documents of one event.

    The standard joins its data lines. Servers that separate events by one line end
    instead of two (recorded by line-based clients, which never notice) give lines that
    are documents each, up to ``[DONE]``.
    """
    if len(values) == 1:
        return values
    joined = b"\n".join(values)
    if parse(joined) is not None:
        return [joined]
    documents = []
    for value in values:
        if is_done(value):
            break
        if not isinstance(parse(value), dict) and resync.split(value) is None:
            return [joined]
        documents.append(value)
    return documents
