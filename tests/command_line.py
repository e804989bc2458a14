"""Runs of the command line, and streams to feed it."""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import Any

import pytest

from streamnorm.cli import main
from streamnorm.upstream.streams import BundledStream, event


def body(stream: BundledStream) -> bytes:
    """The whole body of a stream."""
    return b"".join(stream.events)


def chunk(index: int = 0, finish: str | None = None, **delta: Any) -> bytes:
    """One event with one choice."""
    return event({"choices": [{"index": index, "delta": delta, "finish_reason": finish}]})


class Run:
    """Runs the command line in this process and keeps what it wrote."""

    def __init__(
        self, capture: pytest.CaptureFixture[bytes], patch: pytest.MonkeyPatch, folder: Path
    ) -> None:
        # The environment's proxy is not for loopback.
        patch.setenv("no_proxy", "127.0.0.1")
        self._capture = capture
        self._patch = patch
        self._folder = folder
        self.out = b""
        self.err = ""

    def __call__(self, *arguments: str, stdin: bytes | None = None) -> int:
        if stdin is not None:
            self._patch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        code = main(arguments)
        self.out, err = self._capture.readouterr()
        self.err = err.decode()
        return code

    def text(self, data: bytes, *arguments: str) -> str:
        """Run ``--to text`` on *data*."""
        self("--to", "text", *arguments, stdin=data)
        return self.out.decode()

    def file(self, data: bytes) -> str:
        """Write *data* to a file and return its path."""
        path = self._folder / "recorded.sse"
        path.write_bytes(data)
        return str(path)
