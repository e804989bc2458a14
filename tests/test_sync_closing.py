"""`NormalizedStreamSync` closes its source once and wholly, also when two threads use it."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from streamnorm import normalize_stream_sync

from .aio import deltas
from .blocking import Script, collect
from .helpers import DONE, chunk, event, stream

BODY = stream({"reasoning": "why"}, {"content": "so"})
FIRST = event(chunk({"reasoning": "why"}))
SECOND = event(chunk({"content": "so"}))


class Closes(Script):
    """A script whose closing methods are chosen by the test; it notes those that ran."""

    close = None  # type: ignore[assignment]

    def __init__(self, steps: Any = (BODY,)) -> None:
        super().__init__(steps)
        self.ran: list[str] = []


class Closable(Closes):
    def close(self) -> None:  # type: ignore[override]
        self.ran.append("close")


class Nested(Closes):
    """Like SDK objects that have no closing method: what they hold has one."""

    def __init__(self, name: str) -> None:
        super().__init__()
        holder = type("Holder", (), {})()
        holder.response = Closable()
        holder.response.ran = self.ran
        setattr(self, name, holder)


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (Closable, ["close"]),
        (lambda: Nested("completion_stream"), ["close"]),
        (lambda: Nested("response"), ["close"]),
        (Closes, []),
    ],
)
@pytest.mark.parametrize("when", ["close", "unused", "with", "end", "error", "fault", "frames"])
def test_closing(make: Callable[[], Closes], expected: list[str], when: str) -> None:
    source = make()
    items = normalize_stream_sync(source)
    if when == "with":
        with items as entered:
            assert entered is items
            next(items)
    elif when == "error":
        with pytest.raises(KeyError), items:
            raise KeyError
    elif when == "end":
        collect(items)
    elif when == "fault":
        source._steps = iter([OSError("gone")])
        assert collect(items)[1] is not None
        assert source.ran == expected
    elif when == "frames":
        frames = items.sse()
        next(frames)
        frames.close()
    elif when == "close":
        next(items)
    items.close()
    items.close()
    assert source.ran == expected
    assert next(items, None) is None if when != "frames" else next(frames, None) is None


def test_a_generator_and_the_object_that_made_it_are_both_closed() -> None:
    class Response:
        def __init__(self) -> None:
            self.ran: list[str] = []

        def iter_bytes(self) -> Iterator[bytes]:
            try:
                yield event(chunk({"content": "a"}))
                yield DONE
            finally:
                self.ran.append("generator")

        def close(self) -> None:
            self.ran.append("response")

    for leaves in (True, False):
        response = Response()
        with normalize_stream_sync(response) as items:
            next(items)
            if not leaves:
                assert list(items) == []
                assert response.ran == ["generator", "response"]
        assert response.ran == ["generator", "response"]


class Broken(Closes):
    def close(self) -> None:  # type: ignore[override]
        raise OSError("cannot close")


def test_errors_of_closing() -> None:
    for steps in ([BODY], [OSError("lost")]):
        _, fault = collect(normalize_stream_sync(Broken(steps)))  # swallowed after the end
        assert (fault and str(fault.__cause__)) == (None if steps == [BODY] else "lost")
    items = normalize_stream_sync(Broken())
    with pytest.raises(OSError, match="cannot close"):
        items.close()
    items.close()
    with pytest.raises(OSError, match="cannot close"), normalize_stream_sync(Broken()):
        pass
    with pytest.raises(KeyError), normalize_stream_sync(Broken()):
        raise KeyError


def test_an_interrupt_amid_closing_still_closes_the_rest() -> None:
    class Interrupted(Closes):
        def __init__(self) -> None:
            super().__init__()
            self.response = Closable()

        def close(self) -> None:  # type: ignore[override]
            raise KeyboardInterrupt

    for read in (False, True):
        source = Interrupted()
        items = normalize_stream_sync(source)
        with pytest.raises(KeyboardInterrupt):
            list(items) if read else items.close()
        assert source.response.ran == ["close"]


def test_what_is_broken_below_does_not_matter() -> None:
    class Holder(Closes):
        @property
        def response(self) -> Any:
            raise RuntimeError("no response yet")

        completion_stream = Broken()

    source = Holder()
    normalize_stream_sync(source).close()


# Two threads. -------------------------------------------------------------------------------


class Blocking(Script):
    """A script that waits for the test before it gives anything."""

    def __init__(self, steps: Any = ()) -> None:
        super().__init__(steps)
        self.waits, self.goes = threading.Event(), threading.Event()

    def __next__(self) -> Any:
        self.waits.set()
        assert self.goes.wait(30)
        return super().__next__()


def generated(source: Blocking) -> Iterator[Any]:
    try:
        for item in source:  # noqa: UP028 - delegation would close it as well
            yield item
    finally:
        source.close()


def read_in_thread(items: Any) -> tuple[threading.Thread, list[Any]]:
    found: list[Any] = []

    def read() -> None:
        try:
            found.append(next(items, "end"))
        except BaseException as error:  # noqa: BLE001 - the test looks at it
            found.append(error)

    thread = threading.Thread(target=read)
    thread.start()
    return thread, found


def test_two_threads_cannot_read_at_once() -> None:
    source = Blocking([FIRST + SECOND, DONE])
    items = normalize_stream_sync(source)
    thread, found = read_in_thread(items)
    assert source.waits.wait(30)
    for other in (lambda: next(items), items.peek):
        with pytest.raises(RuntimeError, match="already being read by another thread"):
            other()
    source.goes.set()
    thread.join()
    assert deltas(found) == [{"reasoning_content": "why"}]  # the reader is not disturbed
    assert len(list(items)) == 1
    assert source.closes == 1


@pytest.mark.parametrize("wrap", [lambda source: source, generated], ids=["object", "generator"])
@pytest.mark.parametrize("answer", [SECOND, OSError("closed"), DONE], ids=repr)
def test_closing_while_another_thread_reads(wrap: Any, answer: Any) -> None:
    source = Blocking([answer])
    items = normalize_stream_sync(wrap(source))
    thread, found = read_in_thread(items)
    assert source.waits.wait(30)
    items.close()  # Python refuses to close a generator that runs: its thread does it
    source.goes.set()
    thread.join()
    assert found == ["end"]
    assert items.fault is None
    assert source.closes == 1
    assert list(items) == []


def test_no_event_loop_and_no_thread_is_needed() -> None:
    code = (
        "import sys; from streamnorm import normalize_stream_sync as n, Timeouts\n"
        f"s = n([{BODY!r}], timeouts=Timeouts(total=60))\n"
        "s.peek(); list(s.sse()); s.message, s.outcome, s.metrics\n"
        "print(sorted({'asyncio', 'concurrent', 'ssl', 'http.client'} & set(sys.modules)))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (result.stdout.strip(), result.stderr) == ("[]", "")
