"""What came of one stream of the demo."""

from __future__ import annotations

from dataclasses import dataclass, field

from .. import Report, StreamFault
from ..upstream.streams import BundledStream


@dataclass
class Result:
    """What came of one stream.

    Attributes:
        stream: The stream.
        reasoning: Joined reasoning text of the normalised chunks.
        content: Joined answer text of the normalised chunks.
        changed: Deltas that the normaliser changed.
        report: What the normaliser says, None where it did not get so far.
        fault: How the stream failed, if it did.
    """

    stream: BundledStream
    reasoning: str = ""
    content: str = ""
    changed: int = 0
    report: Report | None = None
    fault: StreamFault | None = field(default=None)

    @property
    def ok(self) -> bool:
        """The texts are those that the stream holds, and it ended well."""
        expected = (self.stream.reasoning, self.stream.content)
        return self.fault is None and (self.reasoning, self.content) == expected
