"""The keyword arguments of streams and transports, for signatures that pass them on."""

from __future__ import annotations

from typing import Literal

from ..flow_state import ErrorFactory
from ..options import OptionsDict
from ..timeouts import Timeouts

Faults = Literal["raise", "pass"]


class StreamOptions(OptionsDict, total=False):
    """The keyword arguments of `normalize_stream`."""

    collect: bool
    timeouts: Timeouts | None
    min_throughput: float | None
    error_factory: ErrorFactory | None


class TransportOptions(StreamOptions, total=False):
    """See `_transport.Transport`."""

    faults: Faults
