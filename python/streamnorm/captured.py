"""Refusals of upstreams that a client may swallow, remembered for the call that they belong to.

Some clients answer HTTP errors with None (LiteLLM does, after two with status 422): whoever
gets the None cannot know why. A transport (`streamnorm.integrations.httpx`) sees the answer
and notes it here; the fault for the None then says what the upstream said.

What is noted belongs to the running task, and to the tasks that it begins afterwards.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Final

# Bytes of an error body that are kept: more than any provider sends, and bounded.
BODY_BYTES: Final = 64 * 1024


@dataclass
class Refusal:
    """A response with the status of an error.

    Attributes:
        status: Its HTTP status, 400 or more.
        headers: Its header fields, by lower-case name.
        body: What was read of its body so far, content decoding undone; at most
            `BODY_BYTES`.
    """

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""

    def add(self, data: bytes) -> None:
        """Take the next bytes of the body."""
        self.body += data[: BODY_BYTES - len(self.body)]


@dataclass
class Call:
    """One call of a client, which may send several requests.

    Attributes:
        refusal: The last answer to one of them, if that was an error; else None.
    """

    refusal: Refusal | None = None


_CALL: Final[ContextVar[Call | None]] = ContextVar("streamnorm_call", default=None)


@contextmanager
def call() -> Iterator[Call]:
    """Begin a call: what is noted inside belongs to it, and what was noted before does not."""
    made, before = Call(), _CALL.get()
    _CALL.set(made)
    try:
        yield made
    finally:
        # (Not by a token: a coroutine that is dropped is closed in any context.)
        _CALL.set(before)


def note(refusal: Refusal | None) -> None:
    """Note how the last request was answered: by an error, or well (None)."""
    made = _CALL.get()
    if made is not None:
        made.refusal = refusal
    elif refusal is not None:
        _CALL.set(Call(refusal))


def last() -> Refusal | None:
    """The error that the last request of this call was answered with, if it was one."""
    made = _CALL.get()
    return None if made is None else made.refusal
