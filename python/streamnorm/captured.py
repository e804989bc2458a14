"""Refusals of upstreams that a client may swallow, remembered for the call that they belong to.

Some clients answer HTTP errors with None (LiteLLM does, after two with status 422): whoever
gets the None cannot know why. A transport (`streamnorm.integrations.httpx`) sees the answer
and notes it here; the fault for the None then says what the upstream said.

What is noted belongs to the running task alone, unless a `call` was begun: that one is shared
with the tasks that begin inside of it. Outside of any `call` a transport notes nothing but what
the client is known to swallow.
"""

from __future__ import annotations

import weakref
from collections.abc import Hashable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Final

# Bytes of an error body that are kept: more than any provider sends, and bounded.
BODY_BYTES: Final = 64 * 1024

# What clients are known to make None of (LiteLLM's issue 32221). Other refusals they raise, so
# a None that comes later in the same task, outside of any `call`, has another cause.
SWALLOWED: Final = frozenset((422,))


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
    # Whether `call` began it. What the last request was, if it was refused, and what lasts
    # as long as the call where that has no other mark.
    _is_begun: bool = field(default=False, repr=False, compare=False)
    _request: Hashable = field(default=None, repr=False, compare=False)
    _lasting: weakref.ref[object] | None = field(default=None, repr=False, compare=False)


_CALL: Final[ContextVar[Call | None]] = ContextVar("streamnorm_call", default=None)


@contextmanager
def call() -> Iterator[Call]:
    """Begin a call: what is noted inside belongs to it, and what was noted before does not.

    It is meant for one call of one client. Of several that run in it at the same time, each
    ends what another one noted, and equal requests of theirs are taken for one that is
    repeated: the second 422 to them comes out as a 400. Give each one a call of its own.
    """
    made, before = Call(_is_begun=True), _CALL.get()
    _CALL.set(made)
    try:
        yield made
    finally:
        # (Not by a token: a coroutine that is dropped is closed in any context.)
        _CALL.set(before)


def is_in_call() -> bool:
    """Whether a `call` was begun."""
    made = _CALL.get()
    return made is not None and made._is_begun


def note(refusal: Refusal | None, request: Hashable = None, lasting: object = None) -> None:
    """Note how a request was answered: by an error, or well (None).

    Args:
        refusal: The error.
        request: What tells the request from others, for `is_repeat`; None for nothing.
        lasting: What is made for the call that the request belongs to, and lasts at least
            as long. It is not kept alive.
    """
    made = _CALL.get()
    if made is not None and made._is_begun:
        made.refusal, made._request = refusal, request
        return
    if made is not None:
        made._request = made._lasting = None  # copies of this context may live on
    # A new one each time: tasks that began here have the old one, and are other calls.
    new = None
    if refusal is not None:
        new = Call(refusal, _request=request, _lasting=_weak(lasting))
    if made is not new:
        _CALL.set(new)


def is_repeat(request: Hashable, lasting: object) -> bool:
    """Whether the last request before this one, in the same call, was the same and refused."""
    made = _CALL.get()
    if made is None or request is None or made._request != request:
        return False
    if made._is_begun:
        return True
    return lasting is not None and made._lasting is not None and made._lasting() is lasting


def _weak(lasting: object) -> weakref.ref[object] | None:
    try:
        return None if lasting is None else weakref.ref(lasting)
    except TypeError:
        return None


def forget() -> None:
    """Forget what was noted outside of any `call`: the client will raise it."""
    made = _CALL.get()
    if made is not None and not made._is_begun:
        note(None)


def last() -> Refusal | None:
    """The error that the last request of this call was answered with, if it was one.

    Outside of any `call`: of this task, and only one of those that clients swallow.
    """
    made = _CALL.get()
    refusal = None if made is None else made.refusal
    if made is None or refusal is None:
        return None
    return refusal if made._is_begun or refusal.status in SWALLOWED else None
