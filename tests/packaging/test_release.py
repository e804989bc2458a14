"""The gate of a release, the search for interpreters, and the workflows that use them."""

from __future__ import annotations

import importlib.util
import re
import sys
import tarfile
import zipfile
from io import BytesIO
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))


def script(name):
    spec = importlib.util.spec_from_file_location(name, ROOT / "scripts" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


release_files = script("release_files")
find_pythons = script("find_pythons")


@pytest.fixture
def release(tmp_path):
    """A directory with every expected file, each as small as the gate allows."""
    version = release_files.version()
    for name in release_files.expected(version):
        if name.endswith(".tar.gz"):
            with tarfile.open(tmp_path / name, "w:gz") as archive:
                member = tarfile.TarInfo(f"streamnorm-{version}/PKG-INFO")
                member.size = 4
                archive.addfile(member, BytesIO(b"same"))
        else:
            with zipfile.ZipFile(tmp_path / name, "w") as wheel:
                wheel.writestr(f"streamnorm-{version}.dist-info/METADATA", "same")
                if "none-any" not in name:
                    wheel.writestr("streamnorm/_native.so", "")
    return tmp_path


def problems(directory):
    return release_files.problems(directory, release_files.version())


def test_complete_release_passes_the_gate(release, capsys):
    assert problems(release) == []
    assert release_files.main(["check", str(release)]) == 0
    assert capsys.readouterr().out == "ok\n"


def test_missing_and_unexpected_files_are_named(release, capsys):
    first = min(release.glob("*cp312*"))
    first.rename(first.with_name("streamnorm-9.9.9-cp312-cp312-win_amd64.whl"))
    assert problems(release) == [
        f"missing: {first.name}",
        "unexpected: streamnorm-9.9.9-cp312-cp312-win_amd64.whl",
    ]
    assert release_files.main(["check", str(release)]) == 1
    assert first.name in capsys.readouterr().err


def test_wheel_with_other_metadata_is_found(release):
    path = min(release.glob("*win_amd64*"))
    with zipfile.ZipFile(path, "w") as wheel:
        wheel.writestr(f"streamnorm-{release_files.version()}.dist-info/METADATA", "other")
        wheel.writestr("streamnorm/_native.pyd", "")
    (problem,) = problems(release)
    assert problem.startswith("metadata differs: ")
    assert path.name in problem


def test_pure_wheel_with_a_binary_is_found(release):
    path = next(release.glob("*none-any*"))
    with zipfile.ZipFile(path, "a") as wheel:
        wheel.writestr("streamnorm/_native.so", "")
    assert problems(release) == [f"not pure: {path.name} has streamnorm/_native.so"]


def test_platform_wheel_without_its_extension_is_found(release):
    path = min(release.glob("*macosx*"))
    with zipfile.ZipFile(path, "w") as wheel:
        wheel.writestr(f"streamnorm-{release_files.version()}.dist-info/METADATA", "same")
    assert problems(release) == [f"one extension wanted: {path.name} has 0"]


def test_file_that_is_no_archive_is_found(release):
    path = next(release.glob("*none-any*"))
    path.write_bytes(b"?")
    (problem,) = problems(release)
    assert problem.startswith(f"unreadable: {path.name}")


def test_list_has_each_interpreter_on_each_target_and_the_two_for_everyone():
    names = release_files.expected("1.2.3")
    assert len(names) == len(set(names))
    pairs = len(release_files.INTERPRETERS) * len(release_files.TARGETS)
    assert len(names) == pairs + 2
    assert {"streamnorm-1.2.3-py3-none-any.whl", "streamnorm-1.2.3.tar.gz"} < set(names)


def test_tag_must_be_the_version():
    version = release_files.version()
    assert release_files.main(["tag", f"v{version}"]) == 0
    assert release_files.main(["tag", version]) == 1
    assert release_files.main(["tag", f"v{version}.1"]) == 1


def test_version_is_written_once_for_users():
    import streamnorm

    assert streamnorm.__version__ == release_files.version()


def test_this_interpreter_is_found():
    if sys.implementation.name != "cpython" or sys.version_info.releaselevel != "final":
        pytest.skip("only released CPythons are looked for")
    tag, patch, _ = find_pythons.probe(sys.executable)
    assert tag.rstrip("t") == f"3.{sys.version_info.minor}"
    assert patch == sys.version_info.micro


@pytest.mark.parametrize("body", ["exit 127", "echo hello", "exit 0"])
def test_name_on_path_that_is_no_usable_python_is_passed_over(tmp_path, monkeypatch, body):
    shim = tmp_path / "python3.13"
    shim.write_text(f"#!/bin/sh\n{body}\n")
    shim.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert str(shim) in set(find_pythons.candidates())
    assert find_pythons.probe(str(shim)) is None


# The workflows cannot run here; what can be said about their text is said here and by
# the linters.


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_every_action_is_pinned_by_commit(path):
    uses = re.findall(r"uses: *(\S+)(.*)", path.read_text(encoding="utf-8"))
    assert uses
    for action, comment in uses:
        assert re.fullmatch(r"[\w./-]+@[0-9a-f]{40}", action)
        assert re.fullmatch(r" +# v[\d.]+", comment)


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_every_step_is_a_make_target_that_exists(path):
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"(?m)^([a-z][a-z-]*):", makefile))
    commands = re.findall(r"(?m)^ +(?:- )?run: (.*)$", path.read_text(encoding="utf-8"))
    assert commands
    for command in commands:
        # On Windows there is no make; the script is what `make smoke` runs.
        if command.startswith("python scripts/smoke.py "):
            continue
        word, *words = command.split()
        assert word == "make", command
        asked = [w for w in words if re.fullmatch(r"[a-z][a-z-]*", w)]
        assert asked, command
        assert set(asked) <= targets, command


def test_release_builds_for_every_interpreter_and_target_of_the_list():
    text = (ROOT / ".github" / "workflows" / "release.yml").read_text(encoding="utf-8")
    (listed,) = re.findall(r"INTERPRETERS: (.*)", text)
    wanted = []
    for python, abi in release_files.INTERPRETERS:
        free_threaded = "t" if abi.endswith("t") else ""
        wanted.append(f"{python[2]}.{python[3:]}{free_threaded}")
    assert listed.split() == wanted
    assert set(re.findall(r"target: ([\w-]+)", text)) == set(release_files.TARGETS)
