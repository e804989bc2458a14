"""The build backend of streamnorm, and the only place that decides what is built.

hatchling builds the sdist and the pure-Python wheel, maturin the wheel with the
Rust engine. Neither can do the other's work: maturin refuses to make a wheel
without an extension, hatchling knows nothing of cargo. The mode is taken from,
in this order:

* the config setting ``engine`` (``pip install -C engine=pure .``)
* the environment variable ``STREAMNORM_BUILD``
* ``auto``

``rust`` builds the extension or fails. ``pure`` never runs cargo. ``auto`` builds
the extension where it can be built and falls back to pure Python where it cannot,
so that an install never fails for want of a compiler; the reason goes to stderr
(installers show it with ``-v``) and ``streamnorm.ENGINE`` tells the outcome.
"""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Mapping
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path
from typing import Any

from hatchling import build as hatch

__all__ = [
    "build_editable",
    "build_sdist",
    "build_wheel",
    "get_requires_for_build_editable",
    "get_requires_for_build_sdist",
    "get_requires_for_build_wheel",
    "prepare_metadata_for_build_editable",
    "prepare_metadata_for_build_wheel",
]

# What a build frontend passes with -C; a repeated key arrives as a list.
Settings = Mapping[str, Any] | None

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "python" / "streamnorm"
MODES = ("auto", "rust", "pure")
# 1.13 is the first that takes prepared metadata from MATURIN_PEP517_METADATA_DIR.
MATURIN = "maturin>=1.13,<2"
# Elsewhere maturin has no wheel: asking for it would make the installer compile
# maturin itself, and fail, before this file gets the chance to fall back.
MATURIN_PLATFORMS = ("linux", "darwin", "win32")


def _say(message: str) -> None:
    # Never on stdout, where frontends look for the answers of a hook.
    print(f"streamnorm build: {message}", file=sys.stderr, flush=True)


def _mode(settings: Settings) -> str:
    mode = (settings or {}).get("engine") or os.environ.get("STREAMNORM_BUILD") or "auto"
    if mode not in MODES:
        raise ValueError(
            f"engine (or STREAMNORM_BUILD) must be one of {', '.join(MODES)}, not {mode!r}"
        )
    return str(mode)


def _obstacle() -> str | None:
    """Why the extension cannot be built here, or None where it may be tried."""
    implementation = platform.python_implementation()
    if implementation != "CPython":
        return f"the extension is for CPython, this is {implementation}"
    if sys.platform not in MATURIN_PLATFORMS:
        return f"maturin has no wheel for {sys.platform}"
    try:
        # Running it is the only proof: rustup leaves a `cargo` on PATH that fails
        # when no toolchain is installed behind it.
        subprocess.run(["cargo", "--version"], check=True, capture_output=True, cwd=ROOT)
    except FileNotFoundError:
        return "cargo is not on PATH"
    except (OSError, subprocess.CalledProcessError) as error:
        return f"cargo does not run ({error})"
    return None


def _wants_rust(settings: Settings) -> bool:
    mode = _mode(settings)
    if mode == "pure":
        return False
    obstacle = _obstacle()
    if obstacle is None:
        return True
    if mode == "rust":
        raise RuntimeError(f"the Rust engine was asked for, but {obstacle}")
    return False


def _write_dist_info(directory: str) -> str:
    """Write the .dist-info that both kinds of wheel get, and return its name.

    Installers read the metadata of one wheel of a version and take it for all, so
    the two must not differ; maturin's own would (version, field order). hatchling
    hides its hook for this from pip, hence the builder is called directly.
    """
    from hatchling.builders.wheel import WheelBuilder

    builder = WheelBuilder(str(ROOT))
    name = f"{builder.artifact_project_id}.dist-info"
    dist_info = Path(directory, name)
    files = {
        "METADATA": builder.config.core_metadata_constructor(builder.metadata).encode(),
        "entry_points.txt": builder.construct_entry_points_file().encode(),
    }
    # maturin copies the directory whole and adds no licence to it, so a file that
    # is missing here would be missing in the wheel.
    for path in builder.metadata.core.license_files:
        files[f"licenses/{path}"] = (ROOT / path).read_bytes()
    for path, content in files.items():
        target = dist_info / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
    return name


def _build_rust(wheel_directory: str, settings: Settings, *, editable: bool) -> str:
    # Without this, maturin downloads a whole toolchain where cargo is missing.
    os.environ["MATURIN_NO_INSTALL_RUST"] = "1"
    import maturin

    hook = maturin.build_editable if editable else maturin.build_wheel
    rest = {key: value for key, value in (settings or {}).items() if key != "engine"}
    with tempfile.TemporaryDirectory() as directory:
        dist_info = os.path.join(directory, _write_dist_info(directory))
        return str(hook(wheel_directory, rest, dist_info))


def _build_pure(wheel_directory: str, *, editable: bool) -> str:
    if editable:
        _remove_extension()
        return hatch.build_editable(wheel_directory)
    name = hatch.build_wheel(wheel_directory)
    with zipfile.ZipFile(os.path.join(wheel_directory, name)) as wheel:
        binaries = [
            path for path in wheel.namelist() if path.endswith((".so", ".pyd", ".dylib", ".dll"))
        ]
    if binaries or not name.endswith("-py3-none-any.whl"):
        # pyproject.toml excludes them. One that slipped through would be installed
        # on every platform.
        raise RuntimeError(f"the pure wheel {name} is not pure: {binaries}")
    return name


def _remove_extension() -> None:
    """Delete the extension that an earlier Rust build left in the checkout.

    An editable install imports it, although this build is to be pure. Those of
    other Python versions stay: this interpreter cannot load them.
    """
    for suffix in EXTENSION_SUFFIXES:
        path = PACKAGE / f"_native{suffix}"
        if path.exists():
            _say(f"removing the stale {path.name}")
            path.unlink()


def _build(wheel_directory: str, settings: Settings, *, editable: bool) -> str:
    mode = _mode(settings)
    if _wants_rust(settings):
        if mode == "rust":
            return _build_rust(wheel_directory, settings, editable=editable)
        try:
            return _build_rust(wheel_directory, settings, editable=editable)
        except (Exception, SystemExit) as error:
            # maturin leaves by SystemExit when cargo fails. Ctrl-C is not caught.
            reason = f"the Rust build failed ({type(error).__name__}: {error})"
    else:
        reason = "asked for" if mode == "pure" else str(_obstacle())
    _say(f"pure-Python build: {reason}")
    return _build_pure(wheel_directory, editable=editable)


def _requires(settings: Settings) -> list[str]:
    # Not maturin's own hook: it adds a package that downloads a Rust toolchain.
    return [MATURIN] if _wants_rust(settings) else []


def get_requires_for_build_wheel(config_settings: Settings = None) -> list[str]:
    return _requires(config_settings)


def get_requires_for_build_editable(config_settings: Settings = None) -> list[str]:
    return _requires(config_settings)


def get_requires_for_build_sdist(config_settings: Settings = None) -> list[str]:
    return []


def prepare_metadata_for_build_wheel(
    metadata_directory: str, config_settings: Settings = None
) -> str:
    return _write_dist_info(metadata_directory)


def prepare_metadata_for_build_editable(
    metadata_directory: str, config_settings: Settings = None
) -> str:
    return _write_dist_info(metadata_directory)


def build_wheel(
    wheel_directory: str, config_settings: Settings = None, metadata_directory: str | None = None
) -> str:
    return _build(wheel_directory, config_settings, editable=False)


def build_editable(
    wheel_directory: str, config_settings: Settings = None, metadata_directory: str | None = None
) -> str:
    return _build(wheel_directory, config_settings, editable=True)


def build_sdist(sdist_directory: str, config_settings: Settings = None) -> str:
    # hatchling's in every mode: maturin's sdist leaves out this very file.
    return hatch.build_sdist(sdist_directory)
