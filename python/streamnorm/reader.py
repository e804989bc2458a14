"""Reads one asynchronous source into a `Flow`, closes it, and keeps what is not delivered yet."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable, Coroutine, Generator, Sequence
from functools import partial
from time import monotonic
from typing import TYPE_CHECKING, Any, Final, Literal

from . import captured, faults
from .faults import StreamFault
from .flow import Flow
from .sources import Source

if TYPE_CHECKING:
    import asyncio
    from contextvars import Context

    from .alarm import Alarm

Peeked = Literal["visible", "ended", "max_bytes", "timeout"]

# The error body of a response: more than any provider sends, and bounded. That there is an
# error is known, so its body is not waited for long.
ERROR_BODY_BYTES: Final = 64 * 1024
ERROR_BODY_SECONDS: Final = 5.0

_Read = Callable[[], Awaitable[object]]
_Work = Callable[..., Coroutine[Any, Any, None]]


class Reader:
    """The asynchronous half of a stream.

    A pending read may have to outlive the call that began it (a heartbeat went out, a peek
    took too long): then it runs in a task, `_ahead`, which the next call waits for. The
    task holds this object, not the stream, so that a stream which nobody wants any more can
    be told from one that is being read.

    Attributes:
        ready: What was received and not yet delivered, the next one last. (A list: of many
            streams most wait, and a deque has a block of 64 places.)
        flow: What is read into.
        plain: Reads the source where nothing else has to be done for it: it is open, there
            are no time limits, no read is pending, and none was ever done by a task. Then
            `Items` reads by itself. What it gives is an item, or nothing at the end.
        is_awaited: Somebody is reading.
    """

    __slots__ = (
        "_ahead",
        "_alarm",
        "_context",
        "_made",
        "_read",
        "_source",
        "flow",
        "is_awaited",
        "plain",
        "ready",
    )

    def __init__(self, source: Source, flow: Flow) -> None:
        self.ready: list[Any] = []
        self.flow: Flow = flow
        self.plain: _Read | None = None
        self.is_awaited: bool = False
        self._source = source
        self._read: _Read | None = None
        self._alarm: Alarm | None = None
        self._ahead: asyncio.Task[None] | None = None
        # Where the source is read once a task has read it: it may set a variable in one
        # read and reset it in the next, as tracing does around a request.
        self._context: Context | None = None
        # How many items were made ready, of which some may be delivered.
        self._made = 0
        if source.is_none:
            flow.refuse(faults.none_stream(captured.last()))

    async def advance(self, failed: BaseException | None = None) -> None:
        """Read until something is ready, or the stream is over.

        Args:
            failed: What a read has raised that was begun already, by `plain`.

        Raises:
            BaseException: Nothing is ready and the fault is due: see `Flow.exception`.
            RuntimeError: Another task is reading.
        """
        if failed is None:
            self._enter()
        try:
            while True:
                if self._ahead is None:
                    await self._in_context(self._read_on, None, failed)
                else:
                    await self._step_within(None, None)
                if self.ready or self.flow.is_over:
                    break
        finally:
            self.is_awaited = False
        flow = self.flow
        if not self.ready:
            flow.raise_due()
        elif self._context is None and flow.limits is None and not flow.is_over:
            self.plain = self._source.plain

    async def wait(self, seconds: float) -> bool:
        """As `advance`, but for a time; whether something is ready, or the stream over.

        Nothing is raised for a fault, and the read goes on if the time was too short.
        """
        self._enter()
        try:
            until = monotonic() + seconds
            while not self.ready and not self.flow.is_over:
                if not await self._step_within(until - monotonic(), None):
                    return False
            return True
        finally:
            self.is_awaited = False

    async def peek(self, *, reasoning: bool, max_bytes: int, timeout: float | None) -> Peeked:
        """See `NormalizedStream.peek`."""
        self._enter()
        flow = self.flow
        try:
            until = None if timeout is None else monotonic() + timeout
            while not flow.is_visible(reasoning=reasoning):
                if flow.is_over:
                    flow.check_peeked(is_untouched=self._made == len(self.ready))
                    return "ended"
                if flow.size >= max_bytes:
                    return "max_bytes"
                if until is None and self._ahead is None:
                    await self._in_context(self._read_on, max_bytes)
                    continue
                left = None if until is None else until - monotonic()
                if not await self._step_within(left, max_bytes):
                    return "timeout"
            return "visible"
        finally:
            self.is_awaited = False

    async def close(self) -> None:
        """Close the source; what was not delivered is dropped.

        Raises:
            Exception: What closing raised.
        """
        self.flow.leave()
        self.plain = None
        self.ready.clear()
        if self._alarm is not None and not self.is_awaited:
            self._alarm.close()
        ahead = self._ahead
        if ahead is not None:
            await _end(ahead)
        await self._in_context(self._source.close)

    def forsake(self) -> None:
        """Nobody will read any more, and nothing can be awaited: end the pending read."""
        ahead, self._ahead = self._ahead, None
        if ahead is not None and not ahead.done():
            self.flow.leave()
            try:
                ahead.get_loop().call_soon_threadsafe(ahead.cancel)
            except RuntimeError:
                return  # the loop is closed, and with it everything that it waited for
        elif self._alarm is not None:
            self._alarm.forsake()

    def replace(self, ready: Sequence[Any]) -> None:
        """Have *ready* in place of what is ready."""
        self._made += len(ready) - len(self.ready)
        self.ready[:] = reversed(ready)

    async def fall(self, error: BaseException) -> None:
        """End the stream at an *error* that is raised amid it, and is no end of the source."""
        if not self.flow.is_over and not isinstance(error, Exception):
            # While the source was awaited, or (by a signal) amid an item, which is lost.
            self.flow.lose()
        self.flow.is_over = True
        await self._release()

    def put(self, out: Any) -> bool:
        """Have *out*, which `Flow` gave, ready; whether that is anything."""
        if not out:
            return False
        more = out if isinstance(out, list) else [out]
        self._made += len(more)
        self.ready[:0] = reversed(more)
        return True

    def _enter(self) -> None:
        if self.is_awaited:
            raise RuntimeError("the stream is already being read by another task")
        self.is_awaited = True
        self.plain = None

    # One read, here or in a task. ---------------------------------------------------

    async def _step_within(self, seconds: float | None, stop_at: int | None) -> bool:
        """Wait for the pending read, or begin one; whether it returned in time."""
        import asyncio

        task = self._ahead
        if task is None:
            task = self._ahead = self._begin_ahead(stop_at)
        wait = None if seconds is None else max(seconds, 0)
        try:
            done, _ = await asyncio.wait((task,), timeout=wait)
        except GeneratorExit:
            # Our coroutine was dropped; nothing may be awaited.
            self.flow.leave()
            self.ready.clear()
            self.forsake()
            raise
        except BaseException as error:
            self._ahead = None
            await _end(task)
            if not self.flow.is_over:
                # The read returned at the same moment, or the source did not care.
                await self._in_context(self._break_off, error)
            raise
        if not done:
            return False
        self._ahead = None
        if not (task.cancelled() and self.flow.is_over):  # closed by another task
            task.result()
        return True

    def _begin_ahead(self, stop_at: int | None) -> asyncio.Task[None]:
        import asyncio
        import contextvars

        self.plain = None
        if self._context is None:
            self._context = contextvars.copy_context()
        reading = in_context(self._context, self._read_on, stop_at)
        task = asyncio.get_running_loop().create_task(reading)
        task.add_done_callback(_retrieve)
        return task

    def _in_context(self, work: _Work, *args: Any) -> Coroutine[Any, Any, None]:
        return work(*args) if self._context is None else in_context(self._context, work, *args)

    async def _break_off(self, error: BaseException) -> None:
        """End the stream because waiting for it was cancelled, although no read was."""
        self.put(self.flow.finish(error))
        await self._release()

    async def _read_on(self, stop_at: int | None, before: BaseException | None = None) -> None:
        """Read until something more is ready, or *stop_at* bytes are there in all.

        Args:
            before: See `advance`.
        """
        flow, is_made = self.flow, False
        failed: Exception | None
        try:
            read = self._read if before is None else partial(_raise_again, before)
            if read is None and not flow.is_over:
                read = await self._open()
            while before is not None or not (flow.is_over or is_made):
                if stop_at is not None and flow.size >= stop_at:
                    break
                assert read is not None
                before, failed = None, None
                try:
                    item = await (read() if flow.limits is None else self._read_in_time(read))
                except StopAsyncIteration:
                    self.put(flow.finish(None))
                except _Passed as passed:
                    self.put(flow.break_off(passed.fault))
                except Exception as error:  # noqa: BLE001 - becomes a fault
                    failed = error
                except GeneratorExit:
                    raise
                except BaseException as error:
                    self.put(flow.finish(error))
                    raise
                else:
                    is_made = self.put(flow.take(item))
                if failed is not None:
                    # Behind the except clause: here is what the host is handling.
                    self.put(flow.finish(failed, sys.exc_info()[1]))
            if flow.is_over:
                await self._release()
        except GeneratorExit:
            # The loop is gone, or the awaiting coroutine was dropped: nothing can be
            # awaited, and the source is left to its own finalizer.
            flow.leave()
            self.ready.clear()
            raise
        except BaseException as error:
            await self.fall(error)
            raise

    async def _read_in_time(self, read: _Read) -> object:
        """One read that may take as long as the limits allow.

        Raises:
            _Passed: It took longer.
        """
        from .alarm import Alarm, TooLate

        limits = self.flow.limits
        assert limits is not None
        if self._alarm is None:
            self._alarm = Alarm()
        now = monotonic()
        deadline = limits.begin(now)
        if now >= deadline:
            raise _Passed(limits.fault())
        try:
            return await self._alarm.guard(read, deadline)
        except TooLate as late:
            # (The cancellation itself, which is ours, would say nothing.)
            fault = limits.fault()
            if isinstance(late.__cause__, Exception):
                fault.__cause__ = late.__cause__
            raise _Passed(fault) from None
        finally:
            limits.end(monotonic())

    async def _open(self) -> _Read | None:
        flow, source = self.flow, self._source
        flow.begin()
        handled = sys.exc_info()[1]
        try:
            if flow.limits is None:
                read = await source.open()
            else:
                read = await self._open_in_time()
        except _Passed as passed:
            flow.refuse(passed.fault)
            return None
        except StreamFault as fault:
            flow.refuse(flow.fault or fault)
            return None
        except Exception as error:
            # An upstream's refusal is a fault; a mistake in the host's own code is none.
            known = faults.recognise(error, handled)
            if known is None:
                raise
            flow.refuse(known)
            return None
        flow.headers = source.headers
        flow.go_below(source.wrapper)
        self._read = read
        if source.status is not None and source.status >= 400:
            await self._refuse(read, source.status)
        return read

    async def _open_in_time(self) -> _Read:
        source = self._source

        async def opened() -> object:
            return await source.open()

        read: Any = await self._read_in_time(opened)
        return read  # type: ignore[no-any-return]

    async def _refuse(self, read: _Read, status: int) -> None:
        """End at a response that is an error, with as much of its body as comes soon."""
        body, until = b"", monotonic() + ERROR_BODY_SECONDS
        try:
            while len(body) < ERROR_BODY_BYTES:
                item: Any = await self._read_until(read, until)
                body += item
        except StopAsyncIteration:
            pass
        except Exception:  # noqa: BLE001, S110 - the status says more than a body cut short
            pass
        finally:
            # Also where the wait was cancelled: what is known must not be lost.
            shown = body[:ERROR_BODY_BYTES]
            self.flow.refuse(faults.http_error(status, shown, self._source.headers))

    async def _read_until(self, read: _Read, until: float) -> object:
        from .alarm import Alarm, is_in_task

        if not is_in_task():
            return await read()
        limits = self.flow.limits
        if limits is not None:
            until = min(until, limits.begin(monotonic()))
        if self._alarm is None:
            self._alarm = Alarm()
        return await self._alarm.guard(read, until)

    async def _release(self) -> None:
        """Close the source after the end; what is broken already may fail to close."""
        if self._alarm is not None:
            self._alarm.close()
        try:
            await self._source.close()
        except Exception:  # noqa: BLE001 - all was delivered, or a better error is on its way
            return


async def _raise_again(error: BaseException) -> object:
    context = error.__context__
    try:
        raise error
    finally:
        # Raising sets it to what the host is handling.
        error.__context__ = context


class _Passed(Exception):
    """A read took longer than a limit allows."""

    def __init__(self, fault: StreamFault) -> None:
        super().__init__(str(fault))
        self.fault = fault


async def _end(task: asyncio.Task[None]) -> None:
    """Cancel *task* and wait until it has ended; what it raised is of no interest."""
    import asyncio

    task.cancel()
    await asyncio.wait((task,))


def _retrieve(task: asyncio.Task[None]) -> None:
    # Who waits for it gets what it raised; if nobody does, nobody has to be told.
    if not task.cancelled():
        task.exception()


async def in_context(context: Context, work: _Work, *args: Any) -> None:
    """Await *work*, every step of which runs in *context*, in whatever task it is."""
    await _Steps(context, work(*args))


class _Steps:
    def __init__(self, context: Context, work: Coroutine[Any, Any, None]) -> None:
        self._context = context
        self._work = work

    def __await__(self) -> Generator[Any, Any, None]:
        run, work = self._context.run, self._work
        step = partial(work.send, None)
        while True:
            try:
                awaited = run(step)
            except StopIteration:
                return
            try:
                step = partial(work.send, (yield awaited))
            except GeneratorExit:
                run(work.close)
                raise
            except BaseException as error:  # noqa: BLE001 - it is thrown in
                step = partial(work.throw, error)
