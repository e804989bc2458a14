"""Any LLM provider's token stream in one normal form, at the speed of the wire.

Public names; the modules behind them are not part of the interface.
"""

from ._engine import ENGINE
from ._version import __version__
from .details import ReasoningDetails, merge_reasoning_details
from .echo import echo_message
from .echo_table import ECHO_PROFILES
from .faults import StreamFault
from .flow_state import Outcome
from .message import MessageAccumulator
from .metrics import Metrics
from .normalizers import (
    ChunkNormalizer,
    ServerSentEvent,
    SSEDecoder,
    SSENormalizer,
    normalize_response,
)
from .report import Report
from .stream import NormalizedStream, normalize_stream
from .sync_stream import NormalizedStreamSync, normalize_stream_sync
from .timeouts import Timeouts
from .usage import Usage

__all__ = [
    "ECHO_PROFILES",
    "ENGINE",
    "ChunkNormalizer",
    "MessageAccumulator",
    "Metrics",
    "NormalizedStream",
    "NormalizedStreamSync",
    "Outcome",
    "ReasoningDetails",
    "Report",
    "SSEDecoder",
    "SSENormalizer",
    "ServerSentEvent",
    "StreamFault",
    "Timeouts",
    "Usage",
    "__version__",
    "echo_message",
    "merge_reasoning_details",
    "normalize_response",
    "normalize_stream",
    "normalize_stream_sync",
]
