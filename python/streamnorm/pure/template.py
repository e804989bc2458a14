"""Events that are the same as one before but for one text in them, decided without parsing.

Consecutive events of a stream mostly differ in one string. What the rules have decided
about an event is kept as the bytes around that string (the slot), and as what has become of
them. It is a short cut, never a behaviour: every output, count and fault is the same without.

What is learned (`Templates.learn`, `slots`). An event of one ``data`` line: a document with one
choice, whose delta holds no tool calls and no flag, and which is not finished. Nothing of it
was held back, changed by its text, or repaired. The slot is

- ``plain``: a content that leaves as it came, in a choice in which no delimiters are looked
  for any more; no source gave text;
- ``field``: the text of the source that leads, of shape ``text``, where every other source
  of the delta says the same, byte for byte: they are further slots;
- ``tags``: a content in the middle of delimited reasoning.

What is checked before a hit. Of the choice, whenever another event was decided
(`_Template.fits`): ``plain``: its content is still settled; ``tags``: it is still in that
reasoning, and nothing is held. (A source that leads does so to the end.) Of the event
(`Templates.run`): its bytes but for the slot are the same; the slot is not empty, is the
inside of a JSON string without escaped surrogates, the same wherever it stands, and for
``tags`` has no character with which a closer begins; the line is within the limits.

What a hit does: it puts out what became of the learned event, with the new slot, and adds
one to the events seen. The counters that the learned event has raised are raised, and the
text is remembered as emitted, when somebody needs to know (`Templates.settle`).
"""

from __future__ import annotations

import re
import sys
from functools import lru_cache
from typing import Any, Final

from .._json import inner_text, inner_texts, loads, plain_text
from ..options import Options
from . import plans
from .chunk import Chunk
from .content import TAG
from .documents import Documents, Output
from .edits import Counted
from .marks import MarkSet
from .slots import (
    PROBE,
    Found,
    find,
    is_constant,
    is_inside,
    is_settled,
    parts_of,
    says,
)
from .state import ChoiceState

# Templates that one stream keeps; 0 switches them off.
MOST: int = 4
# A larger document is not remembered, as in `skim.rs`: to look for its text takes as long as
# to read it again.
_MOST_BYTES: Final = 16 * 1024
# A stream in which no two events are alike is not slowed down. Looking at an event costs one
# of so many tries, and a template that is learned some more; an event that a template takes
# gives them back. Without one left, only every so many events is looked at.
_TRIES: Final = 48
_PRICE: Final = 7
_PAUSE: Final = 32
# What is counted as a matter of course.
_USUAL: Final = frozenset(("remaps", "removed", "mirrored", "families"))
# (Of what, see `edits.Tally`; how much.)
_Count = tuple[tuple[Counted, Any], int]
# Texts that wait to be remembered: at the first, and at so many, those before are.
_PAUSES: Final = (0, 8)

# The inside of a JSON string, as far as it goes, and what may stand in it but is rare.
_INNER: Final = re.compile(
    rb'[^"\\\x00-\x1f]*(?:\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4})[^"\\\x00-\x1f]*)*'
)
_RARE: Final = bytes(range(0x20)) + b"\\"
_SURROGATE: Final = re.compile(rb"\\u[dD][89a-fA-F]")


class Template:
    """One event that was learned.

    Attributes:
        state: Of its choice.
        source: See `slots.Found`.
        mirrors: See `slots.Found`.
        family: Of the reasoning in which it stands.
        head: The event up to the first slot.
        start: Bytes of it.
        rest: What follows the slot, to the end of the event; None where there are more slots.
        rests: What follows each slot, where there are more.
        rare: Bytes for which a slot has to be looked at; the closing quote is none of them.
        emits: Its text is remembered as emitted.
        firsts: Finds what a closer may begin with; None where that does not matter.
        pieces: Byte output: what comes out around the slots; None where nothing changes.
        chunk: Chunk output: what comes out.
        counters: What was counted: (the counter, its key, how much).
        hits: Events since the last `settle`.
        texts: What they emitted: their slots, or in chunk output their texts.
    """

    __slots__ = (
        "chunk", "counters", "emits", "family", "firsts", "head", "hits", "mirrors", "pieces",
        "rare", "rest", "rests", "source", "start", "state", "texts",
    )  # fmt: skip

    def __init__(self, found: Found, framed: list[bytes]) -> None:
        self.state: ChoiceState = found.state
        self.source: int = found.source
        self.mirrors: tuple[int, ...] = found.mirrors
        self.family: int = found.state.tags.family
        self.emits: bool = found.source >= 0
        self.head: bytes = framed[0]
        self.start: int = len(self.head)
        self.rest: bytes | None = framed[1] if len(framed) == 2 else None
        self.rests: tuple[bytes, ...] = () if self.rest else tuple(framed[1:])
        self.rare: bytes = _RARE
        self.firsts: re.Pattern[str] | None = None
        self.pieces: tuple[bytes, ...] | None = None
        self.chunk: Chunk | None = None
        self.counters: tuple[_Count, ...] = ()
        self.hits: int = 0
        self.texts: list[Any] = []

    def watch(self, closers: MarkSet) -> None:
        """Let no slot pass in which one of *closers* may begin."""
        self.firsts = closers.firsts
        begins = {mark.text[0].encode("utf-8", "surrogatepass")[:1] for mark in closers.marks}
        self.rare += b"".join(begins)

    def end_of(self, data: bytes, start: int) -> int:
        """Where a slot ends that has rare bytes in it; -1 where it does not fit."""
        match = _INNER.match(data, start)
        assert match is not None  # the pattern matches the empty string
        return match.end() if self._takes(match[0]) else -1

    def _takes(self, slot: bytes) -> bool:
        if not slot or _SURROGATE.search(slot):
            return False
        return self.firsts is None or self.firsts.search(inner_text(slot)) is None

    def put(self, edited: list[bytes]) -> None:
        """Have *edited* come out, a framed event: what stands around its slots."""
        self.pieces = tuple(edited)
        if self.rest is not None and self.rest == edited[-1]:
            # What is the same is there once.
            self.pieces = *edited[:-1], self.rest

    def settle(self, counts: dict[Any, int]) -> None:
        """Count what its events have counted, and remember what they have emitted."""
        for key, much in self.counters:
            counts[key] = counts.get(key, 0) + much * self.hits
        self.hits = 0
        if self.texts:
            state = self.state
            texts = self.texts if self.chunk is not None else inner_texts(self.texts)
            state.emit_more(texts)
            for source in self.mirrors:
                state.cursors[source] = state.length
            if self.source == TAG:
                state.tags.line_start = texts[-1].endswith("\n")
            self.texts = []


class Templates:
    """The templates of one stream.

    Attributes:
        blank: What ends an event: two line ends.
        taken: Events that a template has decided.
    """

    __slots__ = (
        "_documents", "_is_dict", "_is_off", "_known", "_label", "_live", "_longest", "_misses",
        "_seen", "_tries", "blank", "taken",
    )  # fmt: skip

    def __init__(self, documents: Documents, options: Options, output: Output) -> None:
        self._documents = documents
        self._is_dict = output == "dict"
        limits = (options.max_line_bytes, options.max_event_bytes)
        # Of an event, with the line ends, which do not count.
        self._longest: int = min((n for n in limits if n is not None), default=sys.maxsize) + 2
        self._is_off = options.split_mixed or not MOST
        # The last hit first. Of those that are live, the choices are as they have to be.
        self._known: list[Template] = []
        self._live: list[Template] = []
        self._label: bytes = b"data: "
        self.blank: bytes = b"\n\n"
        self.taken: int = 0
        # What `taken` was, tries that are left, events for which there was none.
        self._seen: int = 0
        self._tries: int = _TRIES
        self._misses: int = 0

    def run(self, data: bytes, at: int, out: list[Any]) -> int:
        """Take the events from *at* on, as far as templates fit.

        Args:
            data: An event begins at *at*; other bytes may follow it.
            at: See *data*.
            out: Gets what comes out, bytes or chunks.

        Returns:
            Where the first event begins that is still to be decided.
        """
        live = self._live
        if not live:
            return at
        begins = data.startswith
        # From *same* on nothing has changed: it comes out in one piece.
        same, hits = at, 0
        while True:
            for template in live:
                if not begins(template.head, at):
                    continue
                start = at + template.start
                end = data.find(b'"', start)
                if end <= start:
                    continue
                slot = data[start:end]
                is_rare = len(slot.translate(None, template.rare)) != end - start
                if is_rare:
                    end = template.end_of(data, start)
                    if end < 0:
                        continue
                    slot = data[start:end]
                rest = template.rest or slot.join(template.rests)
                if begins(rest, end):
                    stop = end + len(rest)
                    if stop - at <= self._longest:
                        break
            else:
                break
            if template.chunk is not None:
                text: Any = inner_text(slot) if is_rare else plain_text(slot)
                out.append(template.chunk.make(text))
            else:
                text = slot
                if template.pieces is not None:
                    if same < at:
                        out.append(data[same:at])
                    out.append(slot.join(template.pieces))
                    same = stop
            if template.emits:
                if len(template.texts) in _PAUSES:
                    self._make_way(template)
                template.texts.append(text)
            template.hits += 1
            hits += 1
            at = stop
            if template is not live[0]:
                live.remove(template)
                live.insert(0, template)
        if hits:
            self._documents.count += hits
            self.taken += hits
            if same < at and not self._is_dict:
                out.append(data[same:at])
        return at

    def one(self, value: bytes) -> Any:
        """What becomes of the value of a ``data`` line that is all of its event; None if no fit."""
        out: list[Any] = []
        if not self._live or not self.run(self._label + value + self.blank, 0, out):
            return None
        if self._is_dict:
            return out[0]
        return out[0][len(self._label) : -len(self.blank)]

    def settle(self) -> None:
        """Bring counters and states to where they are without templates."""
        counts = self._documents.rules.tally.counts
        for template in self._known:
            if template.hits:
                template.settle(counts)

    def _make_way(self, template: Template) -> None:
        """Before a text: others of the same choice come before it, and not too many wait."""
        state, counts = template.state, self._documents.rules.tally.counts
        for other in self._known:
            if other.texts and other.state is state:
                other.settle(counts)

    def refresh(self) -> None:
        """After an event that no template has decided: see which are live."""
        if self._known:
            dead = [template for template in self._known if template not in self._live]
            self._known = self._live + dead
            live = [template for template in self._known if self._fits(template)]
            self._live = self._known if len(live) == len(self._known) else live

    def _fits(self, template: Template) -> bool:
        state = template.state
        if template.source == TAG:
            return is_inside(state) and state.tags.family == template.family
        return template.source >= 0 or is_settled(self._documents.rules, state)

    # Learning. ----------------------------------------------------------------------

    def forget(self, blank: bytes) -> None:
        """Begin anew, with events that end so."""
        self.settle()
        self._known, self._live = [], []
        self._longest += len(blank) - len(self.blank)
        self.blank = blank

    def snapshot(self) -> dict[Any, int] | None:
        """The counts before an event; see `learn`. None where nothing is to be learned."""
        self.settle()
        if self._is_off or not self._may_try():
            return None
        return self._documents.rules.tally.counts.copy()

    def learn(self, data: bytes, label: bytes, before: dict[Any, int] | None, made: Any) -> None:
        """Learn from an event that was decided, if it is one of the kinds.

        Args:
            data: The value of its only ``data`` line.
            label: What stands before the value.
            before: The counts before it.
            made: The chunk or the bytes that have become of it.
        """
        decided, self._documents.decided = self._documents.decided, None
        if decided is None or before is None or len(data) > _MOST_BYTES:
            return
        value, plan = decided
        if not all(is_constant(choice) for choice in plan):
            return
        found = find(self._documents.rules, value)
        counted = _counted(before, self._documents.rules.tally.counts)
        if found is None or counted is None:
            return
        parts = parts_of(data, found.keys)
        if parts is None:
            return
        probe = PROBE.join(parts)
        if PROBE in data or not says(probe, found):
            return
        if label != self._label:
            self.forget(self.blank)
            self._label = label
        template = Template(found, self._framed(parts))
        template.counters = counted
        if found.source == TAG:
            marks = self._documents.rules.content.vocabulary
            template.watch(marks.live_closers(found.state.tags.family))
        slot = data[len(parts[0]) :][: (len(data) - sum(map(len, parts))) // (len(parts) - 1)]
        if template.end_of(slot, 0) != len(slot):
            return
        if self._is_dict:
            other = self._known[0].chunk if self._known else None
            template.chunk = Chunk(plans.on_dict(loads(probe), plan), other)
            if template.chunk.make(inner_text(slot)) != made:
                return
        else:
            edited = self._documents.make(probe, plan).split(PROBE) if plan else parts
            if slot.join(edited) != made:
                return
            if edited != parts:
                template.put(self._framed(edited))
        self._add(template)

    def _may_try(self) -> bool:
        if self._seen != self.taken:
            self._seen, self._tries = self.taken, _TRIES
        if not self._tries:
            self._misses += 1
            return self._misses % _PAUSE == 0
        self._tries -= 1
        return True

    def _add(self, template: Template) -> None:
        self._tries = max(0, self._tries - _PRICE)
        new = template.head, template.rest, template.rests
        same = [t for t in self._known if (t.head, t.rest, t.rests) == new]
        self._known = [template, *(other for other in self._known if other not in same)]
        del self._known[MOST:]
        self.refresh()

    def _framed(self, parts: list[bytes]) -> list[bytes]:
        """The parts of a document as those of an event."""
        framed = [self._label + parts[0], *parts[1:]]
        framed[-1] += self.blank
        return framed


@lru_cache(maxsize=256)
def _counted_once(found: tuple[_Count, ...]) -> tuple[_Count, ...]:
    """One object for all templates that count the same."""
    return found


def _counted(before: dict[Any, int], after: dict[Any, int]) -> tuple[_Count, ...] | None:
    """What an event has counted; None where that is no matter of course."""
    found = tuple(
        (key, number - before.get(key, 0))
        for key, number in after.items()
        if number != before.get(key, 0)
    )
    if not all(key[0] in _USUAL for key, _ in found):
        return None
    return _counted_once(found)
