"""What the tests of the integrations share."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from importlib.util import find_spec

import pytest

from streamnorm import captured

# Modules that import the library that they are about. (Where it is due, other tests of it
# would be skipped, and CI fails at that.)
_ABOUT = {
    "aiohttp": ("test_aiohttp.py", "test_aiohttp_litellm.py"),
    "litellm": (
        "test_litellm.py",
        "test_litellm_faults.py",
        "test_litellm_install.py",
        "test_litellm_losses.py",
    ),
    "openai": ("test_transport_openai.py",),
    "pyreqwest": ("test_pyreqwest.py",),
}
collect_ignore = [
    name for library, names in _ABOUT.items() if find_spec(library) is None for name in names
]


@pytest.fixture(autouse=True)
def forgotten() -> Iterator[None]:
    """What a transport saw in one test is not known in the next, in the same thread."""
    yield
    captured.note(None)


@pytest.fixture(autouse=True)
def collected_between_tests() -> Iterator[None]:
    """No garbage is collected amid a call.

    LiteLLM leaves responses open, in cycles. httpcore closes one that is collected, and waits
    for the lock of its pool: for ever, if the very thread has it (httpcore 1.0).
    """
    gc.disable()
    yield
    gc.enable()
