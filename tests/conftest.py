"""What all tests share: the engines, the profiles of hypothesis, the folder of shared cases."""

from __future__ import annotations

import gc
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from streamnorm import _engine
from streamnorm._engine import Engine

from .helpers import ROOT

# Results must not depend on how busy the machine is: no deadline, no check of speed. In CI
# the examples are the same in every run, so that a red run stays red when it is repeated.
_COMMON = settings(
    deadline=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
_IS_CI = "CI" in os.environ
settings.register_profile("fast", _COMMON, max_examples=50, derandomize=_IS_CI)
settings.register_profile("thorough", _COMMON, max_examples=2000)
# (CI runs a short form, with the same examples every time.)
settings.register_profile("fuzz", _COMMON, max_examples=500 if _IS_CI else 1000, derandomize=_IS_CI)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "fast"))


def pytest_collection_finish() -> None:
    """Leave what is there before the first test out of every later collection of garbage.

    SDKs are large, and tests that look for what is left behind collect often.
    """
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session", params=["rust", "python"])
def engine(request: pytest.FixtureRequest) -> Engine:
    """Each engine in turn, to be passed as ``_engine_module``."""
    return load_engine(request.param)


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of cases that several projects share; it lies beside the repository."""
    folder = ROOT.parent / "shared"
    if not folder.is_dir():
        pytest.skip("the folder ../shared is not here")
    return folder


@pytest.fixture(scope="session")
def litellm() -> Any:
    """LiteLLM, for the tests of its streams."""
    # Else its import asks the network for a price list.
    os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
    module: Any = pytest.importorskip("litellm", reason="litellm is not installed")
    module.suppress_debug_info = True
    # It is so large that every later collection of garbage would take a quarter of a second.
    gc.collect()
    gc.freeze()
    return module


def load_engine(name: str) -> Engine:
    """Load an engine; skip the test where the extension was not built.

    An extension that is there and does not load is a failure, and so is a missing one where
    it was asked for: a green run must not mean that half of the tests never ran.
    """
    try:
        return _engine.choose(name)
    except ImportError as error:
        is_missing = isinstance(error.__cause__, ModuleNotFoundError)
        if not is_missing or os.environ.get("STREAMNORM_REQUIRE_RUST") == "1":
            raise
        pytest.skip(f"the {name} engine is not built")
