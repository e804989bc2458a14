"""A timer that breaks a read off, for asyncio and what is built like it (uvloop)."""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import Awaitable, Callable
from time import monotonic
from typing import Final, TypeVar

_Item = TypeVar("_Item")

# When the loop comes late, what has arrived in the meantime is still on its way through its
# queue: so many turns it needs at most. Such a read is not late; the loop was.
_TURNS: Final = 3


class TooLate(Exception):
    """A read was broken off, because its deadline had passed."""


class Alarm:
    """Breaks off the reads of one stream at their deadlines.

    One timer serves many reads: it is not moved for each of them, but looks, when it
    rings, whether the read that is waiting now may wait longer.
    """

    def __init__(self) -> None:
        self._timer: asyncio.Handle | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._turns = _TURNS
        self._rings_at = math.inf
        self._deadline = math.inf
        self._task: asyncio.Task[object] | None = None
        self._has_rung = False

    async def guard(self, read: Callable[[], Awaitable[_Item]], deadline: float) -> _Item:
        """Await *read*, but not beyond *deadline* (a time of `time.monotonic`).

        Raises:
            TooLate: The deadline passed. What the read raised when it was broken off is the
                ``__cause__``, unless it was the cancellation.
            CancelledError: Somebody else cancelled the task.
            Exception: What *read* raised.
        """
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("a time limit needs an asyncio task to run in")
        cancels = _cancels(task)
        self._task, self._deadline, self._has_rung = task, deadline, False
        self._turns = _TURNS
        if deadline < self._rings_at:
            self._set(deadline)
        try:
            item = await read()
        except asyncio.CancelledError as error:
            if self._has_rung and _withdraw(task) <= cancels:
                raise TooLate from error
            raise
        except Exception as error:
            if self._has_rung and _withdraw(task) <= cancels:
                raise TooLate from error
            raise
        else:
            if self._has_rung:
                _withdraw(task)  # the source did not care; what it gave must not be lost
            return item
        finally:
            self._task = None

    def close(self) -> None:
        """Stop the timer."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer, self._rings_at = None, math.inf

    def forsake(self) -> None:
        """Stop the timer, from any thread."""
        if self._timer is not None and self._loop is not None:
            with contextlib.suppress(RuntimeError):  # the loop is closed
                self._loop.call_soon_threadsafe(self.close)

    def _set(self, at: float) -> None:
        self.close()
        self._rings_at = at
        self._loop = asyncio.get_running_loop()
        self._timer = self._loop.call_later(max(at - monotonic(), 0), self._ring)

    def _ring(self) -> None:
        self._timer, self._rings_at = None, math.inf
        if self._task is None or self._deadline == math.inf:
            return  # the next read with a deadline sets it again
        if monotonic() < self._deadline:
            self._set(self._deadline)
            return
        if self._turns:
            self._turns -= 1
            self._rings_at = -math.inf
            self._timer = asyncio.get_running_loop().call_soon(self._ring)
            return
        self._has_rung = True
        self._task.cancel()


def is_in_task() -> bool:
    """Whether there is a task that an `Alarm` can break off; not on other event loops."""
    try:
        return asyncio.current_task() is not None
    except RuntimeError:
        return False


def _cancels(task: asyncio.Task[object]) -> int:
    # Python 3.10 does not count: there a cancellation in the very moment of the alarm
    # cannot be told from it.
    cancelling: Callable[[], int] | None = getattr(task, "cancelling", None)
    return 0 if cancelling is None else cancelling()


def _withdraw(task: asyncio.Task[object]) -> int:
    """Take our own cancellation back; return how many others there are."""
    uncancel: Callable[[], int] | None = getattr(task, "uncancel", None)
    return 0 if uncancel is None else uncancel()
