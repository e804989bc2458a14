"""The keyword arguments of the transports, for signatures that pass them on."""

from __future__ import annotations

from typing import Literal

from ..flow import ErrorFactory
from ..options import OptionsDict
from ..timeouts import Timeouts

Faults = Literal["raise", "pass"]


class TransportOptions(OptionsDict, total=False):
    """See `_transport.Transport`."""

    faults: Faults
    collect: bool
    timeouts: Timeouts | None
    min_throughput: float | None
    error_factory: ErrorFactory | None
