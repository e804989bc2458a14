"""The exact files of a release, and the gate that compares a directory with them.

    release_files.py list                 print the names
    release_files.py check DIRECTORY      exit 1 unless DIRECTORY holds them, and they agree
    release_files.py tag v0.1.0           exit 1 unless the tag is the version's

A release that lacks a wheel works for its author and not for the users of that
platform, and it cannot be repaired under the same version: hence a list, not a count.
"""

from __future__ import annotations

import re
import sys
import tarfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

# (Python tag, ABI tag) of each interpreter; release.yml builds for the same.
INTERPRETERS = (
    ("cp310", "cp310"),
    ("cp311", "cp311"),
    ("cp312", "cp312"),
    ("cp313", "cp313"),
    ("cp314", "cp314"),
    ("cp314", "cp314t"),
)
# The platform tag of each target; everything else gets the pure wheel.
TARGETS = {
    "x86_64-unknown-linux-gnu": "manylinux_2_28_x86_64",
    "aarch64-unknown-linux-gnu": "manylinux_2_28_aarch64",
    "x86_64-unknown-linux-musl": "musllinux_1_2_x86_64",
    "aarch64-unknown-linux-musl": "musllinux_1_2_aarch64",
    "x86_64-apple-darwin": "macosx_10_12_x86_64",
    "aarch64-apple-darwin": "macosx_11_0_arm64",
    "x86_64-pc-windows-msvc": "win_amd64",
}
BINARY = (".so", ".pyd", ".dylib", ".dll")


def version() -> str:
    """The version in pyproject.toml (by hand: Python 3.10 has no TOML reader)."""
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    found = re.search(r'(?ms)^\[project\]$.*?^version = "([^"]+)"$', text)
    if found is None:
        raise SystemExit("pyproject.toml has no version")
    return found[1]


def expected(release: str) -> list[str]:
    """The names of all files of *release*, sorted."""
    stem = f"streamnorm-{release}"
    wheels = [
        f"{stem}-{python}-{abi}-{platform}.whl"
        for python, abi in INTERPRETERS
        for platform in TARGETS.values()
    ]
    return sorted([*wheels, f"{stem}-py3-none-any.whl", f"{stem}.tar.gz"])


def metadata(path: Path) -> bytes:
    """METADATA of a wheel, PKG-INFO of an sdist."""
    if path.name.endswith(".tar.gz"):
        with tarfile.open(path) as sdist:
            member = sdist.extractfile(f"{path.name.removesuffix('.tar.gz')}/PKG-INFO")
            return member.read() if member else b""
    with zipfile.ZipFile(path) as wheel:
        name = "-".join(path.name.split("-")[:2])
        return wheel.read(f"{name}.dist-info/METADATA")


def binaries(path: Path) -> list[str]:
    """The compiled files in a wheel."""
    with zipfile.ZipFile(path) as wheel:
        return [name for name in wheel.namelist() if name.endswith(BINARY)]


def problems(directory: Path, release: str) -> list[str]:
    """What is wrong with the files in *directory*, one sentence each."""
    wanted = expected(release)
    found = sorted(path.name for path in directory.iterdir())
    result = [f"missing: {name}" for name in wanted if name not in found]
    result += [f"unexpected: {name}" for name in found if name not in wanted]
    texts: dict[bytes, str] = {}
    for name in sorted(set(wanted) & set(found)):
        path = directory / name
        try:
            texts.setdefault(metadata(path), name)
            if name.endswith(".whl"):
                extensions = binaries(path)
                pure = name.endswith("-none-any.whl")
                if pure and extensions:
                    result.append(f"not pure: {name} has {', '.join(extensions)}")
                if not pure and len(extensions) != 1:
                    result.append(f"one extension wanted: {name} has {len(extensions)}")
        except (KeyError, OSError, zipfile.BadZipFile, tarfile.TarError) as error:
            result.append(f"unreadable: {name}: {error}")
    # Installers read the metadata of one file and take it for all.
    if len(texts) > 1:
        result.append(f"metadata differs: {', '.join(sorted(texts.values()))}")
    return result


def main(arguments: list[str]) -> int:
    match arguments:
        case ["list"]:
            print("\n".join(expected(version())))
            return 0
        case ["tag", tag]:
            wrong = [] if tag == f"v{version()}" else [f"tag {tag}, but version {version()}"]
        case ["check", directory]:
            wrong = problems(Path(directory), version())
        case _:
            print(__doc__, file=sys.stderr)
            return 2
    for line in wrong:
        print(line, file=sys.stderr)
    if not wrong:
        print("ok")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
