"""The pytest plugin, as somebody else's test suite uses it."""

from __future__ import annotations

import importlib
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import streamnorm

from .helpers import ROOT

PLUGIN = "streamnorm.faults.plugin"
PAGE = ROOT / "docs" / "fault-server.md"

SETTINGS = {
    # What is tested here, wherever it was imported from.
    "PYTHONPATH": str(Path(streamnorm.__file__).parents[1]),
    "PYTEST_ADDOPTS": "",
    # The environment's proxy is not for loopback.
    "no_proxy": "127.0.0.1",
}


def run_pytest(folder: Path, text: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run pytest on *text* in a folder of its own."""
    path = folder / "test_it.py"
    path.write_text(text, "utf-8")
    (folder / "pytest.ini").write_text("[pytest]\n", "utf-8")
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-W", "error"]
    return subprocess.run(
        [*command, *arguments, str(path)],
        capture_output=True,
        cwd=folder,
        encoding="utf-8",
        env={**os.environ, **SETTINGS},
        timeout=120,
        check=False,
    )


def test_example_of_the_page_passes(tmp_path: Path) -> None:
    pytest.importorskip("httpx")
    (example,) = re.findall(r"```python\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    assert len(example.strip().splitlines()) <= 12
    done = run_pytest(tmp_path, example, "-p", PLUGIN)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 passed" in done.stdout


TWICE = """
import urllib.request

SEEN = []


def ask(llm_fault, name):
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(llm_fault.url(name)) as response:
        return response.read()


def test_one(llm_fault):
    assert ask(llm_fault, "ok").endswith(b"data: [DONE]\\n\\n")
    SEEN.append(llm_fault)


def test_other(llm_fault):
    assert SEEN == [llm_fault]
    assert "truncated" in llm_fault.names
    assert llm_fault.base_url("ok") + "/chat/completions" == llm_fault.url("ok")
    assert llm_fault.case("ok").expected is None
    assert [request.name for request in llm_fault.requests] == ["ok"]
"""


def test_fixture_is_one_server_for_the_session(tmp_path: Path) -> None:
    done = run_pytest(tmp_path, TWICE, "-p", PLUGIN)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 passed" in done.stdout


def test_fixture_says_what_it_is(tmp_path: Path) -> None:
    done = run_pytest(tmp_path, "", "-p", PLUGIN, "--fixtures")
    assert re.search(r"llm_fault \[session scope\].*plugin\.py", done.stdout)


IMPORTED = """
import sys
import pytest, streamnorm, streamnorm.faults

before = set(sys.modules)
import streamnorm.faults.plugin

print(*(set(sys.modules) - before))
"""


def test_plugin_imports_nothing_before_it_is_needed() -> None:
    done = subprocess.run(
        [sys.executable, "-c", IMPORTED], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == [PLUGIN]


def test_entry_point_names_the_plugin() -> None:
    tomllib = pytest.importorskip("tomllib")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    # Under any other name pytest would register the module a second time, and fail, where
    # somebody asks for it with -p as well.
    assert project["entry-points"]["pytest11"] == {PLUGIN: PLUGIN}
    assert hasattr(importlib.import_module(PLUGIN), "llm_fault")
    assert any(needed.startswith("pytest") for needed in project["optional-dependencies"]["faults"])
