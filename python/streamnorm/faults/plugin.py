"""The pytest plugin of streamnorm, found by pytest once streamnorm is installed.

pytest imports it in every run, also where nobody asks for the fixture: nothing else is
imported before somebody does.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from ..fault_server import FaultServer


@pytest.fixture(scope="session")
def llm_fault() -> Iterator[FaultServer]:
    """A server of broken and odd language model streams: ``llm_fault.url("http-429-seconds")``."""
    from ..fault_server import FaultServer

    with FaultServer() as server:
        yield server
