"""A real LiteLLM proxy: a process of its own, started from a config file, on loopback."""

from __future__ import annotations

import importlib.util
import inspect
import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import streamnorm

HOST = "127.0.0.1"

# Seconds until it must answer: an import of LiteLLM on a busy machine takes half a minute.
START_SECONDS = 180.0
STOP_SECONDS = 20.0

# What runs the proxy; "litellm" is a console script of the same interpreter's environment.
_RUN = "from litellm.proxy.proxy_cli import run_server; run_server()"


@dataclass
class Proxy:
    """A proxy that is being started, or that runs.

    Attributes:
        origin: ``http://127.0.0.1:<port>``.
        key: The key that clients send.
        folder: Where its config file is.
    """

    origin: str
    key: str
    folder: Path
    process: subprocess.Popen[bytes]

    @property
    def base_url(self) -> str:
        """What an OpenAI SDK takes as ``base_url``."""
        return self.origin + "/v1"

    @property
    def output(self) -> str:
        """All that the process has printed."""
        return (self.folder / "output.log").read_text(encoding="utf-8", errors="replace")

    def is_alive(self) -> bool:
        """Whether the process runs and answers."""
        if self.process.poll() is not None:
            return False
        try:
            with urllib.request.urlopen(f"{self.origin}/health/liveliness", timeout=10) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    def wait(self) -> None:
        """Wait until it answers; fail with what it printed if it does not."""
        until = time.monotonic() + START_SECONDS
        while not self.is_alive():
            if self.process.poll() is not None or time.monotonic() > until:
                pytest.fail(f"the proxy did not start; it printed:\n{self.output[-6000:]}")
            time.sleep(0.1)  # between two polls; nothing is asserted about it

    def stop(self) -> None:
        """End the process, by force where it does not obey."""
        self.process.terminate()
        try:
            self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


@contextmanager
def started(
    folder: Path, settings: Mapping[str, Any], files: Mapping[str, str] | None = None
) -> Iterator[Proxy]:
    """Start a proxy; `Proxy.wait` before it is used. It is ended when the block is left.

    Args:
        folder: An empty one, for the config file and the output.
        settings: The config file's contents; a key is added.
        files: Text of further files beside the config file, by name.
    """
    if importlib.util.find_spec("litellm") is None:
        pytest.skip("litellm is not installed")
    key = f"sk-{secrets.token_hex(16)}"
    config = {**settings, "general_settings": {"master_key": key}}
    # (JSON is YAML.)
    (folder / "config.yaml").write_text(json.dumps(config), encoding="utf-8")
    for name, text in (files or {}).items():
        (folder / name).write_text(text, encoding="utf-8")
    with socket.socket() as free:
        free.bind((HOST, 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-c", _RUN, "--config", "config.yaml", "--host", HOST]
    command += ["--port", str(port), "--num_workers", "1", "--telemetry", "False"]
    with (folder / "output.log").open("wb") as output:
        process = subprocess.Popen(
            command, cwd=folder, env=_environment(), stdout=output, stderr=subprocess.STDOUT
        )
    proxy = Proxy(f"http://{HOST}:{port}", key, folder, process)
    try:
        yield proxy
    finally:
        proxy.stop()


def _environment() -> dict[str, str]:
    """That of this process without what would send LiteLLM to a database or the network."""
    unwanted = ("DATABASE_", "REDIS_", "LITELLM_", "OPENAI_", "HTTP_PROXY", "HTTPS_PROXY")
    made = {
        name: value for name, value in os.environ.items() if not name.upper().startswith(unwanted)
    }
    package = str(Path(inspect.getfile(streamnorm)).parents[1])
    path = os.pathsep.join(filter(None, (package, made.get("PYTHONPATH"))))
    made.update(PYTHONPATH=path, PYTHONUNBUFFERED="1", NO_PROXY="*")
    return {**made, "LITELLM_LOCAL_MODEL_COST_MAP": "True"}


# What clients of it get. ------------------------------------------------------------


def body_of(model: str, **more: Any) -> dict[str, Any]:
    """A request for a stream."""
    messages = [{"role": "user", "content": "?"}]
    return {"model": model, "messages": messages, "stream": True, **more}


@dataclass
class Answer:
    """What curl got.

    Attributes:
        status: The HTTP status.
        headers: By lower-case name.
        body: All of the body.
    """

    status: int
    headers: dict[str, str]
    body: str

    @property
    def data(self) -> list[Any]:
        """The data of each event, parsed; ``[DONE]`` as it is."""
        lines = [line[6:] for line in self.body.splitlines() if line.startswith("data: ")]
        return [line if line == "[DONE]" else json.loads(line) for line in lines]


def curl_command(
    proxy: Proxy, body: Mapping[str, Any], path: str = "/chat/completions"
) -> list[str]:
    """A call of curl that prints the head and the body as they come."""
    curl = shutil.which("curl")
    if curl is None:
        pytest.fail("curl is not on PATH; these tests read the proxy with it")
    return [
        *(curl, "-sN", "-i", "--noproxy", "*", "--max-time", "60", proxy.base_url + path),
        *("-H", f"authorization: Bearer {proxy.key}", "-H", "content-type: application/json"),
        *("-d", json.dumps(body)),
    ]


def curl(proxy: Proxy, body: Mapping[str, Any], path: str = "/chat/completions") -> Answer:
    """Send *body* with curl and read the answer to its end."""
    done = subprocess.run(curl_command(proxy, body, path), capture_output=True, check=False)
    text = done.stdout.decode()
    head, _, rest = text.partition("\r\n\r\n")
    first, *lines = head.splitlines()
    headers = {name.lower(): value.strip() for name, _, value in (x.partition(":") for x in lines)}
    assert done.returncode == 0, f"curl ended with {done.returncode} after {text!r}"
    return Answer(int(first.split()[1]), headers, rest)
