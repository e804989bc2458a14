"""The programs that a run consists of: the upstream, and a worker for each environment."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final

from .environments import ROOT, command_of, settings

# Seconds for one stream, and for the start of a worker: imports, among them LiteLLM's.
_PATIENCE: Final = 120.0


def pin(process: int) -> None:
    """Give a program that has just begun the core that all of them share.

    Waking a program on another core costs more than most of what is measured, in a virtual
    machine above all, and whether it has to be is the scheduler's whim.
    """
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(process, {max(os.sched_getaffinity(0))})


class Failed(Exception):
    """A worker could not read a stream, or ended; the message says why."""


class Worker:
    """A program that answers each line of JSON with another.

    Args:
        command: The program, and where it is started.
    """

    def __init__(self, command: list[str], cwd: object) -> None:
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115 - closed by `close`
        self._process = subprocess.Popen(
            command,
            cwd=str(cwd),
            env=settings(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            bufsize=1,
        )
        pin(self._process.pid)

    def tell(self, what: dict[str, Any]) -> None:
        """Write a line to the program."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(what) + "\n")
        except BrokenPipeError:
            raise self._failure("ended") from None

    def hear(self) -> dict[str, Any]:
        """Wait for a line of the program.

        Raises:
            Failed: It ended, took too long, or says that it failed.
        """
        assert self._process.stdout is not None
        watch = threading.Timer(_PATIENCE, self._process.kill)
        watch.start()
        try:
            line = self._process.stdout.readline()
        finally:
            watch.cancel()
        if not line:
            raise self._failure("ended, or took too long")
        heard: dict[str, Any] = json.loads(line)
        if "error" in heard:
            raise self._failure(heard["error"])
        return heard

    def ask(self, what: dict[str, Any]) -> dict[str, Any]:
        """`tell`, and `hear` the answer."""
        self.tell(what)
        return self.hear()

    def close(self) -> None:
        """End the program; its stdin is closed, which it takes for its end."""
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):
            self._process.stdin.close()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()
        self._errors.close()

    def _failure(self, why: str) -> Failed:
        self._errors.seek(0)
        said = self._errors.read().strip().splitlines()[-12:]
        return Failed("\n    ".join([why, *said]))


def start_worker(environment: str, probes: list[str]) -> Worker:
    """A worker that can run *probes*; it says its versions first."""
    return Worker(*command_of(environment, probes))


@contextmanager
def upstream() -> Iterator[str]:
    """Run the upstream; gives its origin."""
    command = [sys.executable, "-s", "-m", "benches.peers.server"]
    pipe = subprocess.PIPE
    with subprocess.Popen(
        command, cwd=ROOT, env=settings(), stdin=pipe, stdout=pipe, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        pin(process.pid)
        # (At the end its stdin is closed, which it takes for its own.)
        yield f"http://127.0.0.1:{int(process.stdout.readline())}"
