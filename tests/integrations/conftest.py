"""What the tests of the integrations share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from streamnorm import captured


@pytest.fixture(autouse=True)
def forgotten() -> Iterator[None]:
    """What a transport saw in one test is not known in the next, in the same thread."""
    yield
    captured.note(None)
