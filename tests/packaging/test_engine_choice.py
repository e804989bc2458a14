"""Which engine an installed package takes: extension present, missing, broken, stale."""

from __future__ import annotations

from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

import pytest

pytestmark = pytest.mark.packaging

EXTENSION = f"_native{EXTENSION_SUFFIXES[0]}"
TELL = "import streamnorm; print(streamnorm.ENGINE)"


def wish(setting):
    """The environment that asks for an engine; None asks for nothing."""
    return {} if setting is None else {"STREAMNORM_ENGINE": setting}


@pytest.fixture(scope="module")
def pure(shop, pure_wheel, tmp_path_factory):
    environment = shop.environment(tmp_path_factory.mktemp("env") / "pure")
    environment.install("--no-deps", pure_wheel)
    return environment


@pytest.fixture(scope="module")
def rust(shop, rust_wheel, tmp_path_factory):
    environment = shop.environment(tmp_path_factory.mktemp("env") / "rust")
    environment.install("--no-deps", rust_wheel)
    return environment


@pytest.fixture
def broken(pure):
    """The pure installation with an extension that no loader accepts."""
    path = pure.package / EXTENSION
    path.write_bytes(b"no library")
    yield pure
    path.unlink()


@pytest.fixture
def stale(pure):
    """The pure installation with a module of another ABI number in the extension's place.

    A Python file stands in for it: the import system finds either by the same name.
    """
    path = pure.package / "_native.py"
    path.write_text("ABI = -1\n")
    yield pure
    path.unlink()
    for compiled in Path(path.parent, "__pycache__").glob("_native.*"):
        compiled.unlink()


@pytest.mark.parametrize(
    ("setting", "engine"),
    [(None, "rust"), ("auto", "rust"), ("rust", "rust"), ("python", "python")],
)
def test_engine_of_the_rust_wheel(rust, setting, engine):
    done = rust.execute(TELL, "-W", "error", **wish(setting))
    assert (done.stdout.strip(), done.stderr) == (engine, "")


@pytest.mark.parametrize("setting", [None, "auto", "python"])
def test_missing_extension_is_silent(pure, setting):
    done = pure.execute(TELL, "-W", "error", **wish(setting))
    assert (done.stdout.strip(), done.stderr) == ("python", "")


def test_missing_extension_that_is_forced_is_an_import_error(pure):
    done = pure.execute(TELL, STREAMNORM_ENGINE="rust")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("ImportError: ")
    assert "STREAMNORM_ENGINE" in done.stderr.splitlines()[-1]


@pytest.mark.parametrize("setting", ["Rust", "native", ""])
def test_unknown_setting_is_an_import_error_that_quotes_it(pure, setting):
    done = pure.execute(TELL, **wish(setting))
    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    assert last.startswith("ImportError: ")
    assert "STREAMNORM_ENGINE" in last
    assert repr(setting) in last


def test_broken_extension_warns_and_the_python_engine_runs(broken):
    done = broken.execute(TELL)
    assert (done.returncode, done.stdout.strip()) == (0, "python"), done.stderr
    assert "RuntimeWarning" in done.stderr
    assert EXTENSION in done.stderr


def test_broken_extension_that_is_forced_is_an_import_error(broken):
    done = broken.execute(TELL, STREAMNORM_ENGINE="rust")
    assert done.returncode == 1
    assert "ImportError: " in done.stderr.splitlines()[-1]
    assert EXTENSION in done.stderr


def test_broken_extension_is_not_touched_by_the_python_engine(broken):
    done = broken.execute(TELL, "-W", "error", STREAMNORM_ENGINE="python")
    assert (done.stdout.strip(), done.stderr) == ("python", "")


@pytest.mark.parametrize("setting", [None, "auto", "rust"])
def test_stale_extension_is_an_import_error_that_names_the_file(stale, setting):
    done = stale.execute(TELL, **wish(setting))
    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    assert last.startswith("ImportError: ")
    assert str(stale.package / "_native.py") in last
    assert "-1" in last


def test_stale_extension_does_not_hinder_the_python_engine(stale):
    done = stale.execute(TELL, "-W", "error", STREAMNORM_ENGINE="python")
    assert (done.stdout.strip(), done.stderr) == ("python", "")


def test_console_script_is_installed(pure):
    done = pure.shop.run(pure.python.parent / "streamnorm", "--version")
    assert done.returncode == 0, done.stderr
    assert "python" in done.stdout
