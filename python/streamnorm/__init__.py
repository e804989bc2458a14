"""Any LLM provider's token stream in one normal form, at the speed of the wire.

Public names; the modules behind them are not part of the interface.
"""

from ._engine import ENGINE
from ._version import __version__
from .faults import StreamFault
from .normalizers import (
    ChunkNormalizer,
    ServerSentEvent,
    SSEDecoder,
    SSENormalizer,
    normalize_response,
)
from .report import Report
from .stream import NormalizedStream, normalize_stream

__all__ = [
    "ENGINE",
    "ChunkNormalizer",
    "NormalizedStream",
    "Report",
    "SSEDecoder",
    "SSENormalizer",
    "ServerSentEvent",
    "StreamFault",
    "__version__",
    "normalize_response",
    "normalize_stream",
]
