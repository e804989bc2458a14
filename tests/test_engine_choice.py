"""Which engine runs, asked in processes of their own, since it is chosen on import."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import NamedTuple

import pytest

import streamnorm
from streamnorm import _engine

from .conftest import load_engine

PACKAGE = Path(streamnorm.__file__).parent
ASK = "import streamnorm; print(streamnorm.ENGINE, streamnorm.__file__)"
VARIABLE = "STREAMNORM_ENGINE"


class Answer(NamedTuple):
    """How a process ended: its last line of standard error says which exception."""

    out: str
    err: str
    code: int

    @property
    def last(self) -> str:
        return self.err.strip().rpartition("\n")[2]


def ask(wish: str | None, *path: Path, code: str = ASK, flags: tuple[str, ...] = ()) -> Answer:
    """Run *code* with the packages of *path* before those that are installed."""
    env = {name: value for name, value in os.environ.items() if name != VARIABLE}
    if wish is not None:
        env[VARIABLE] = wish
    env["PYTHONPATH"] = os.pathsep.join(map(str, [*path, PACKAGE.parent]))
    env["PYTHONDONTWRITEBYTECODE"] = "1"
    done = subprocess.run(
        [sys.executable, *flags, "-c", code],
        env=env, cwd=path[0] if path else None, capture_output=True, text=True, check=False,
    )  # fmt: skip
    return Answer(done.stdout, done.stderr, done.returncode)


@pytest.fixture
def bare(tmp_path: Path) -> Path:
    """A folder with a copy of the package that has no extension."""
    shutil.copytree(
        PACKAGE,
        tmp_path / "streamnorm",
        ignore=shutil.ignore_patterns("_native*", "__pycache__", "demo", "cli"),
    )
    return tmp_path


def extension(folder: Path) -> Path:
    """The name under which the interpreter looks for the extension first."""
    return folder / "streamnorm" / f"_native{sysconfig.get_config_var('EXT_SUFFIX')}"


def engine_of(answer: Answer, folder: Path) -> str:
    """The engine that ran, of the copy in *folder* and no other."""
    assert (answer.err, answer.code) == ("", 0)
    engine, _, file = answer.out.strip().partition(" ")
    assert Path(file).is_relative_to(folder)
    return engine


# The installed package. ----------------------------------------------------------


def test_python_can_be_forced() -> None:
    answer = ask("python", flags=("-W", "error"))
    assert (answer.out.split()[:1], answer.err, answer.code) == (["python"], "", 0)


def test_rust_can_be_forced_where_it_is_built() -> None:
    load_engine("rust")
    answer = ask("rust", flags=("-W", "error"))
    assert (answer.out.split()[:1], answer.err, answer.code) == (["rust"], "", 0)


@pytest.mark.parametrize("wish", ["auto", None], ids=["auto", "unset"])
def test_rust_runs_by_itself_where_it_is_built(wish: str | None) -> None:
    load_engine("rust")
    answer = ask(wish, flags=("-W", "error"))
    assert (answer.out.split()[:1], answer.err, answer.code) == (["rust"], "", 0)


@pytest.mark.parametrize("wish", ["Rust", "pure", "", " python", "1"], ids=repr)
def test_any_other_wish_is_an_import_error(wish: str) -> None:
    answer = ask(wish)
    assert answer.code == 1
    assert answer.last == f"ImportError: {VARIABLE} must be auto, rust or python, not {wish!r}"


def test_engine_is_named_like_the_module_that_runs() -> None:
    assert streamnorm.ENGINE == _engine.engine.NAME
    assert streamnorm.ENGINE in ("rust", "python")


def test_report_names_the_engine_that_ran() -> None:
    code = "import streamnorm as s; print(s.ChunkNormalizer().report.engine == s.ENGINE)"
    assert ask("python", code=code).out == "True\n"


# No extension. -------------------------------------------------------------------


@pytest.mark.parametrize("wish", ["auto", None], ids=["auto", "unset"])
def test_missing_extension_is_silent(bare: Path, wish: str | None) -> None:
    assert engine_of(ask(wish, bare, flags=("-W", "error")), bare) == "python"


def test_missing_extension_is_an_import_error_where_it_is_forced(bare: Path) -> None:
    answer = ask("rust", bare)
    assert answer.code == 1
    words = "this installation of streamnorm has no Rust engine"
    assert answer.last == f"ImportError: {VARIABLE}=rust, but {words}"


# A broken extension. -------------------------------------------------------------


def break_by_bytes(folder: Path) -> None:
    extension(folder).write_bytes(b"this is no extension module\n" * 100)


def break_by_error(folder: Path) -> None:
    (folder / "streamnorm" / "_native.py").write_text("raise ImportError('libmissing.so.1')\n")


def break_by_import(folder: Path) -> None:
    (folder / "streamnorm" / "_native.py").write_text("import a_module_that_is_not_there\n")


BREAKS = [break_by_bytes, break_by_error, break_by_import]
each_break = pytest.mark.parametrize("damage", BREAKS, ids=["bytes", "import-error", "own-import"])


@each_break
def test_broken_extension_warns_and_the_pure_engine_runs(bare: Path, damage: object) -> None:
    assert callable(damage)
    damage(bare)
    answer = ask("auto", bare)
    assert (answer.out.split()[:1], answer.code) == (["python"], 0)
    assert (
        "RuntimeWarning: the Rust engine of streamnorm cannot be loaded, the pure engine runs: "
        in (answer.err)
    )


@each_break
def test_broken_extension_is_an_import_error_where_it_is_forced(bare: Path, damage: object) -> None:
    assert callable(damage)
    damage(bare)
    answer = ask("rust", bare)
    assert answer.code == 1
    assert answer.last.startswith("ImportError: the Rust engine of streamnorm cannot be loaded: ")


@each_break
def test_broken_extension_is_not_looked_at_where_python_is_forced(
    bare: Path, damage: object
) -> None:
    assert callable(damage)
    damage(bare)
    assert engine_of(ask("python", bare, flags=("-W", "error")), bare) == "python"


# An extension of another version. ------------------------------------------------


@pytest.mark.parametrize("wish", ["auto", "rust"])
@pytest.mark.parametrize(
    ("version", "interface"),
    [
        ("0.0.9", _engine.ABI),
        (streamnorm.__version__, _engine.ABI + 1),
        (streamnorm.__version__, None),
        (None, _engine.ABI),
    ],
)
def test_stale_extension_is_an_import_error_that_names_the_file(
    bare: Path, wish: str, version: str | None, interface: int | None
) -> None:
    stale = bare / "streamnorm" / "_native.py"
    stale.write_text(f"VERSION = {version!r}\nABI = {interface!r}\n")
    answer = ask(wish, bare)
    assert answer.code == 1
    assert answer.last == (
        f"ImportError: stale Rust engine {stale}: built for streamnorm {version}, "
        f"interface {interface}; this is streamnorm {streamnorm.__version__}, "
        f"interface {_engine.ABI}; delete the file or build it again"
    )


def test_extension_that_does_not_say_its_version_is_stale(bare: Path) -> None:
    (bare / "streamnorm" / "_native.py").write_text("")
    answer = ask("auto", bare)
    assert answer.code == 1
    assert answer.last.startswith("ImportError: stale Rust engine ")


def test_stale_extension_is_not_looked_at_where_python_is_forced(bare: Path) -> None:
    (bare / "streamnorm" / "_native.py").write_text("ABI = -1\n")
    assert engine_of(ask("python", bare, flags=("-W", "error")), bare) == "python"


# What an import costs. -----------------------------------------------------------

HEAVY = (
    "aiohttp", "asyncio", "fastapi", "httpx", "httpx2", "langchain", "langchain_core",
    "langchain_openai", "litellm", "openai", "pydantic", "pyreqwest", "requests", "rich",
    "sse_starlette", "starlette",
)  # fmt: skip


def test_import_brings_no_http_client_and_no_model_library(tmp_path: Path) -> None:
    # Stand-ins, so that an import would succeed whether or not the real ones are installed.
    for name in set(HEAVY) - {"asyncio"}:
        (tmp_path / f"{name}.py").write_text("")
    code = f"import sys, streamnorm; print(sorted(set({HEAVY!r}) & set(sys.modules)))"
    answer = ask(None, tmp_path, code=code)
    assert (answer.out, answer.err, answer.code) == ("[]\n", "", 0)


def test_import_brings_no_integration(tmp_path: Path) -> None:
    code = (
        "import sys, streamnorm\n"
        "print([name for name in sys.modules if name.startswith('streamnorm.integrations')])"
    )
    answer = ask(None, tmp_path, code=code)
    assert (answer.out, answer.err, answer.code) == ("[]\n", "", 0)


def test_import_works_without_orjson(tmp_path: Path) -> None:
    (tmp_path / "orjson.py").write_text("raise ImportError('no wheel for this platform')\n")
    code = (
        "import streamnorm as s; print(s._json.orjson, s.ChunkNormalizer().feed(b'data: {}\\n\\n'))"
    )
    answer = ask("python", tmp_path, code=code)
    assert (answer.out, answer.err, answer.code) == ("None [{}]\n", "", 0)
