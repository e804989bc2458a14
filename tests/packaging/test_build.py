"""What the build backend makes of the sources, in each mode, with and without cargo."""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import tarfile
import zipfile
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

import pytest

pytestmark = pytest.mark.packaging

BINARY = (".so", ".pyd", ".dylib", ".dll")
EXTENSION = f"_native{EXTENSION_SUFFIXES[0]}"


def names(path: Path) -> list[str]:
    with zipfile.ZipFile(path) as wheel:
        return sorted(wheel.namelist())


def contents(path: Path, *, below: str = "") -> dict[str, bytes]:
    with zipfile.ZipFile(path) as wheel:
        return {name: wheel.read(name) for name in wheel.namelist() if below in name}


def dist_info(path: Path, name: str) -> bytes:
    ((_, content),) = contents(path, below=f".dist-info/{name}").items()
    return content


def python_files(path: Path) -> dict[str, bytes]:
    package = contents(path, below="streamnorm/")
    return {name: content for name, content in package.items() if not name.endswith(BINARY)}


# The pure wheel ----------------------------------------------------------------


def test_pure_wheel_is_for_every_platform_and_has_no_binary(pure_wheel):
    assert pure_wheel.name.endswith("-py3-none-any.whl")
    assert [name for name in names(pure_wheel) if name.endswith(BINARY)] == []
    assert b"Root-Is-Purelib: true" in dist_info(pure_wheel, "WHEEL")


def test_pure_wheel_has_every_python_file_of_the_package(pure_wheel, sources):
    tree = sources / "python"
    wanted = {path.relative_to(tree).as_posix() for path in tree.rglob("*") if path.is_file()}
    assert set(python_files(pure_wheel)) == wanted
    assert "streamnorm/py.typed" in wanted


def test_extension_left_in_the_tree_does_not_reach_the_pure_wheel(shop, own_sources, tmp_path):
    (own_sources / "python" / "streamnorm" / EXTENSION).write_bytes(b"stale")
    done = shop.build(own_sources, tmp_path / "out", "--wheel", STREAMNORM_BUILD="pure")
    assert done.returncode == 0, done.stderr
    wheel = shop.only("*-py3-none-any.whl", tmp_path / "out")
    assert [name for name in names(wheel) if name.endswith(BINARY)] == []


# The mode ----------------------------------------------------------------------


@pytest.mark.parametrize("cargo", ["missing", "broken"])
def test_without_cargo_auto_builds_pure_and_says_why(shop, sources, tmp_path, cargo):
    path = shop.path_without_cargo()
    if cargo == "broken":
        path = shop.path_with_broken_cargo(tmp_path / "bin")
    done = shop.build(sources, tmp_path / "out", "--wheel", PATH=path)
    assert done.returncode == 0, done.stderr
    assert shop.only("*", tmp_path / "out").name.endswith("-py3-none-any.whl")
    why = {"missing": "cargo is not on PATH", "broken": "cargo does not run"}[cargo]
    assert f"pure-Python build: {why}" in done.stdout + done.stderr


def test_without_cargo_rust_mode_fails(shop, sources, tmp_path):
    path = shop.path_without_cargo()
    done = shop.build(sources, tmp_path / "out", "--wheel", PATH=path, STREAMNORM_BUILD="rust")
    assert done.returncode != 0
    assert "the Rust engine was asked for, but cargo is not on PATH" in done.stdout + done.stderr
    assert not list((tmp_path / "out").glob("*"))


def test_rust_that_does_not_compile_makes_auto_pure_and_rust_mode_fail(
    needs_cargo, shop, own_sources, tmp_path
):
    source = own_sources / "rust" / "core" / "src" / "lib.rs"
    source.write_text(source.read_text() + '\ncompile_error!("broken on purpose");\n')
    auto = shop.build(own_sources, tmp_path / "auto", "--wheel")
    assert auto.returncode == 0, auto.stderr
    assert shop.only("*", tmp_path / "auto").name.endswith("-py3-none-any.whl")
    assert "pure-Python build: the Rust build failed" in auto.stdout + auto.stderr
    forced = shop.build(own_sources, tmp_path / "rust", "--wheel", STREAMNORM_BUILD="rust")
    assert forced.returncode != 0
    assert not list((tmp_path / "rust").glob("*"))


def test_config_setting_outranks_the_environment(shop, sources, tmp_path):
    arguments = ["--wheel", "-C", "engine=pure"]
    done = shop.build(sources, tmp_path / "out", *arguments, STREAMNORM_BUILD="rust")
    assert done.returncode == 0, done.stderr
    assert shop.only("*", tmp_path / "out").name.endswith("-py3-none-any.whl")


def test_unknown_mode_is_an_error_that_names_the_modes(shop, sources, tmp_path):
    done = shop.build(sources, tmp_path / "out", "--wheel", STREAMNORM_BUILD="fast")
    assert done.returncode != 0
    assert "must be one of auto, rust, pure, not 'fast'" in done.stdout + done.stderr


# The Rust wheel ----------------------------------------------------------------


def test_rust_wheel_adds_one_extension_and_nothing_else_to_the_package(rust_wheel, pure_wheel):
    binaries = [name for name in names(rust_wheel) if name.endswith(BINARY)]
    assert binaries == [f"streamnorm/{EXTENSION}"]
    assert python_files(rust_wheel) == python_files(pure_wheel)
    assert not rust_wheel.name.endswith("-none-any.whl")


def test_auto_builds_rust_where_cargo_is(needs_cargo, shop, sources, rust_wheel, tmp_path):
    done = shop.build(sources, tmp_path / "out", "--wheel")
    assert done.returncode == 0, done.stderr
    assert shop.only("*", tmp_path / "out").name == rust_wheel.name


def test_metadata_is_the_same_in_both_wheels_and_the_sdist(rust_wheel, pure_wheel, sdist):
    for name in ("METADATA", "entry_points.txt", "licenses/LICENSE"):
        assert dist_info(rust_wheel, name) == dist_info(pure_wheel, name)
    with tarfile.open(sdist) as archive:
        info = archive.extractfile(f"{sdist.name.removesuffix('.tar.gz')}/PKG-INFO")
        assert info is not None
        assert info.read() == dist_info(pure_wheel, "METADATA")


def test_metadata_asks_for_no_package_without_an_extra(pure_wheel):
    lines = dist_info(pure_wheel, "METADATA").decode().splitlines()
    required = [line for line in lines if line.startswith("Requires-Dist:")]
    assert required
    assert [line for line in required if "extra ==" not in line] == []
    assert "Requires-Python: >=3.10" in lines


@pytest.mark.parametrize("kind", ["pure_wheel", "rust_wheel"])
def test_record_lists_every_file_with_its_hash(request, kind):
    wheel = request.getfixturevalue(kind)
    rows = csv.reader(io.StringIO(dist_info(wheel, "RECORD").decode()))
    recorded = {name: digest for name, digest, _ in rows}
    files = contents(wheel)
    assert set(recorded) == set(files)
    for name, content in files.items():
        if not name.endswith("/RECORD"):
            digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=")
            assert recorded[name] == f"sha256={digest.decode()}"


# The sdist ---------------------------------------------------------------------


def test_sdist_has_what_both_builds_need_and_no_leftovers(sdist):
    with tarfile.open(sdist) as archive:
        files = {name.partition("/")[2] for name in archive.getnames()}
    needed = {
        *("pyproject.toml", "Cargo.toml", "Cargo.lock", "README.md", "LICENSE", "Makefile"),
        *("build_backend/backend.py", "python/streamnorm/__init__.py", "PKG-INFO"),
        *("rust/core/Cargo.toml", "rust/core/src/lib.rs"),
        *("rust/py/Cargo.toml", "rust/py/src/lib.rs"),
        "tests/packaging/test_build.py",
    }
    assert needed - files == set()
    assert [name for name in files if name.endswith(BINARY) or "__pycache__" in name] == []
    assert [name for name in files if name.startswith("target/")] == []


def test_sdist_without_cargo_gives_the_same_pure_wheel(shop, unpacked_sdist, pure_wheel, tmp_path):
    path = shop.path_without_cargo()
    done = shop.build(unpacked_sdist, tmp_path / "out", "--wheel", PATH=path)
    assert done.returncode == 0, done.stderr
    wheel = shop.only("*", tmp_path / "out")
    assert wheel.name == pure_wheel.name
    assert wheel.read_bytes() == pure_wheel.read_bytes()


def test_sdist_with_cargo_gives_the_rust_wheel(shop, unpacked_sdist, rust_wheel, tmp_path):
    done = shop.build(unpacked_sdist, tmp_path / "out", "--wheel", STREAMNORM_BUILD="rust")
    assert done.returncode == 0, done.stderr
    wheel = shop.only("*", tmp_path / "out")
    assert wheel.name == rust_wheel.name
    assert names(wheel) == names(rust_wheel)
    assert python_files(wheel) == python_files(rust_wheel)


# Editable installs -------------------------------------------------------------


def test_pure_editable_install_removes_the_extension_of_an_earlier_build(
    shop, own_sources, tmp_path
):
    package = own_sources / "python" / "streamnorm"
    (package / EXTENSION).write_bytes(b"stale")
    # One for another Python, which this one cannot load and has no say over.
    other = package / "_native.cpython-399-other.so"
    other.write_bytes(b"not mine")
    environment = shop.environment(tmp_path / "venv")
    done = environment.install("-v", "--no-deps", "-e", own_sources, STREAMNORM_BUILD="pure")
    assert not (package / EXTENSION).exists()
    assert other.exists()
    assert f"removing the stale {EXTENSION}" in done.stdout + done.stderr
    used = environment.execute("import streamnorm; print(streamnorm.__file__, streamnorm.ENGINE)")
    assert used.stdout.split() == [str(package / "__init__.py"), "python"], used.stderr


def test_rust_editable_install_puts_the_extension_into_the_tree(
    needs_cargo, shop, own_sources, tmp_path
):
    package = own_sources / "python" / "streamnorm"
    environment = shop.environment(tmp_path / "venv")
    environment.install("--no-deps", "-e", own_sources, STREAMNORM_BUILD="rust")
    assert (package / EXTENSION).exists()
    used = environment.execute("import streamnorm; print(streamnorm.__file__, streamnorm.ENGINE)")
    assert used.stdout.split() == [str(package / "__init__.py"), "rust"], used.stderr
