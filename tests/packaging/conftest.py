"""What the packaging tests share: clean copies of the sources, builds, environments."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
# What a clone brings and a build can need; not what a build leaves behind.
SOURCES = (
    *("build_backend", "python", "rust", "scripts", "tests", "benches"),
    *("pyproject.toml", "Cargo.toml", "Cargo.lock", "Makefile"),
    *("README.md", "CHANGELOG.md", "SECURITY.md", "LICENSE"),
)
LEFTOVERS = shutil.ignore_patterns("*.so", "*.pyd", "__pycache__", ".*_cache")
Done = subprocess.CompletedProcess[str]


class Environment:
    """A virtual environment of its own."""

    def __init__(self, shop: Workshop, directory: Path) -> None:
        venv.create(directory, with_pip=True)
        self.shop = shop
        self.directory = directory
        self.python = directory / ("Scripts" if os.name == "nt" else "bin") / "python"

    def install(self, *arguments: str | Path, **environment: str) -> Done:
        for argument in arguments:
            if isinstance(argument, Path) and argument.is_dir():
                self.shop.touch_rust(argument)
        done = self.shop.run(self.python, "-m", "pip", "install", *arguments, **environment)
        assert done.returncode == 0, done.stdout + done.stderr
        return done

    def execute(self, code: str, *flags: str, **environment: str) -> Done:
        """Run *code* from a directory where no checkout can be imported."""
        return self.shop.run(self.python, *flags, "-c", code, cwd=self.directory, **environment)

    @property
    def package(self) -> Path:
        """The directory that the package was installed to."""
        return self.shop.only("**/site-packages/streamnorm", self.directory)


class Workshop:
    """Runs commands in an environment that has none of the settings under test."""

    def copy_sources(self, target: Path) -> Path:
        target.mkdir(parents=True)
        for name in SOURCES:
            if (ROOT / name).is_dir():
                shutil.copytree(ROOT / name, target / name, ignore=LEFTOVERS)
            elif (ROOT / name).exists():
                shutil.copy2(ROOT / name, target / name)
        return target

    def path_without_cargo(self) -> str:
        directories = os.environ["PATH"].split(os.pathsep)
        return os.pathsep.join(d for d in directories if not shutil.which("cargo", path=d))

    def path_with_broken_cargo(self, directory: Path) -> str:
        """A PATH whose cargo is there and fails, like rustup's without a toolchain."""
        directory.mkdir()
        shim = directory / "cargo"
        shim.write_text("#!/bin/sh\necho 'no toolchain is installed' >&2\nexit 1\n")
        shim.chmod(0o755)
        return os.pathsep.join([str(directory), os.environ["PATH"]])

    def run(self, *command: str | Path, cwd: Path | None = None, **changes: str) -> Done:
        """Run *command* to its end, whatever its exit code; *changes* is for its environment."""
        environment = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("STREAMNORM_", "PYTHON", "PYTEST_"))
        }
        environment["PIP_DISABLE_PIP_VERSION_CHECK"] = "1"
        # The copies of the sources come and go; what cargo compiled for them stays.
        environment["CARGO_TARGET_DIR"] = str(ROOT / "build" / "packaging-target")
        return subprocess.run(
            [str(word) for word in command],
            capture_output=True,
            text=True,
            check=False,
            cwd=cwd,
            env={**environment, **changes},
            timeout=900,
        )

    def touch_rust(self, source: Path) -> None:
        """Make cargo compile the crates of *source*, and not take another copy's.

        All copies share one target directory, in which cargo tells them apart by nothing
        but the times of their files; and an sdist's files are years old.
        """
        for path in source.rglob("*.rs"):
            path.touch()

    def build(self, source: Path, out: Path, *arguments: str, **changes: str) -> Done:
        """``python -m build`` of *source*."""
        self.touch_rust(source)
        return self.run(sys.executable, "-m", "build", *arguments, "-o", out, source, **changes)

    def only(self, pattern: str, directory: Path) -> Path:
        """The one path that matches."""
        (path,) = directory.glob(pattern)
        return path

    def environment(self, directory: Path) -> Environment:
        return Environment(self, directory)


@pytest.fixture(scope="session")
def shop() -> Workshop:
    return Workshop()


@pytest.fixture(scope="session")
def needs_cargo() -> None:
    required = os.environ.get("STREAMNORM_REQUIRE_RUST")
    if not required and not shutil.which("cargo"):
        pytest.skip("cargo is not here")


@pytest.fixture(scope="session")
def sources(shop: Workshop, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the sources that no test changes."""
    return shop.copy_sources(tmp_path_factory.mktemp("sources") / "tree")


@pytest.fixture
def own_sources(shop: Workshop, tmp_path: Path) -> Path:
    """A copy of the sources for one test."""
    return shop.copy_sources(tmp_path / "tree")


def _built(shop: Workshop, source: Path, out: Path, kind: str, **changes: str) -> Path:
    done = shop.build(source, out, kind, **changes)
    assert done.returncode == 0, done.stdout + done.stderr
    return shop.only("*", out)


@pytest.fixture(scope="session")
def pure_wheel(shop: Workshop, sources: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("pure")
    return _built(shop, sources, out, "--wheel", STREAMNORM_BUILD="pure")


@pytest.fixture(scope="session")
def rust_wheel(
    needs_cargo: None, shop: Workshop, sources: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    out = tmp_path_factory.mktemp("rust")
    return _built(shop, sources, out, "--wheel", STREAMNORM_BUILD="rust")


@pytest.fixture(scope="session")
def sdist(shop: Workshop, sources: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sdist, made without cargo."""
    out = tmp_path_factory.mktemp("sdist")
    return _built(shop, sources, out, "--sdist", PATH=shop.path_without_cargo())


@pytest.fixture
def unpacked_sdist(sdist: Path, tmp_path: Path) -> Path:
    shutil.unpack_archive(sdist, tmp_path / "sdist", filter="data")
    (tree,) = (tmp_path / "sdist").iterdir()
    return tree
