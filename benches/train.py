"""Runs what streams run, for a build that is optimised by a profile (``maturin --pgo``).

    python benches/train.py

The streams are those of the benchmarks, so that what a gateway does a thousand times a second
is what the compiler is told about. Needs nothing but the package with its extension.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from benches import streams
from streamnorm import ChunkNormalizer, SSENormalizer, _engine

# A chat event, a TCP segment, a full buffer; and a few letters.
_READS = (7, 261, 1460, 16384)
_EVENTS = 400
_ROUNDS = 5


def main() -> int:
    """Feed every case to both normalisers, in reads of every size."""
    engine = _engine.choose("rust")
    for name in streams.CASES:
        stream = streams.make(name, _EVENTS).stream
        for size in _READS:
            reads = [stream[at : at + size] for at in range(0, len(stream), size)]
            for _ in range(_ROUNDS if size > min(_READS) else 1):
                for make in (SSENormalizer, ChunkNormalizer):
                    normalizer = make(_engine_module=engine)
                    for data in reads:
                        normalizer.feed(data)
                    normalizer.close()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
