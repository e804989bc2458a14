"""The message that the chunks of a stream add up to, as a body that was not streamed has it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from .dialects import FLAG_PATH, PARTS_KEY, SOURCES, TARGETS, UNFINISHED
from .fragments import LISTS, Fields, FragmentList, join_text, objects, plain
from .usage import IN_CHOICE, TOP_1, TOP_2, TOP_3, UsageAccumulator

# Members of a delta whose strings are increments. Every other string comes whole: of those,
# the last that is not empty stays.
TEXT_KEYS: Final[tuple[str, ...]] = (
    "content",
    *dict.fromkeys((*TARGETS, *(source.key for source in SOURCES if source.shape == "text"))),
    "refusal",
)
_TEXTS: Final = frozenset(TEXT_KEYS)
# Members of a delta whose lists are increments. Of every other list the last one stays.
LIST_KEYS: Final[tuple[str, ...]] = (PARTS_KEY, "annotations", "citations", "images")

# With so many pieces of a text, or one of so many letters, they are packed. (Of many streams
# most wait. A string of a few letters takes 50 bytes more than they do, and one with an emoji
# in it four for each of its letters.)
_PIECES: Final = 8
_LONG: Final = 64


class MessageAccumulator:
    """The assistant message of each choice of one stream, put together from its chunks.

    Nothing of the chunks is changed or kept, and each access gives new objects. Time and
    memory grow linearly with the stream. How members of the deltas are merged:

    - `TEXT_KEYS`: concatenated;
    - ``tool_calls``: by ``index``; without one by ``id``; without both, a fragment belongs to
      the last call. ``arguments`` are concatenated, the first ``id`` stays, a name that is
      repeated counts once. As in a body, calls have no ``index``, and their ``type`` is
      ``function`` where none was sent;
    - ``reasoning_details``: see `streamnorm.details.ReasoningDetails`; ``[]`` stays ``[]``;
    - ``thinking_blocks``: fragments up to a signature are one block;
    - ``content_blocks``: fragments with ``index`` and ``delta`` by that index;
    - `LIST_KEYS`: concatenated;
    - other objects: member by member. Of all other values, the last that is neither null
      nor an empty string.

    A member without text, or null in every delta, is left out. So is the flag that all of a
    delta's content is a thought (`streamnorm.dialects.FLAG_PATH`), which no message can have.

    Args:
        usage: Is given the chunks that hold usage, which takes less time than a pass of its
            own.
    """

    __slots__ = ("_choices", "_usage")

    def __init__(self, usage: UsageAccumulator | None = None) -> None:
        self._choices: dict[int, _Message] = {}
        self._usage = usage

    def add(self, chunk: Mapping[str, Any]) -> None:
        """Take the next chunk in normal form, or a whole body.

        Args:
            chunk: An object with ``choices``, each with a ``delta``, or (of a body that was
                not streamed) with a ``message``, which replaces what is there. Whatever has
                another shape is passed over.
        """
        self.extend((chunk,))

    def extend(self, chunks: Iterable[Mapping[str, Any]]) -> None:
        """Take the next chunks, as `add` does."""
        known, usage = self._choices, self._usage
        merged: _Message | None
        # The loops run for every token of every stream. So they spell out what is mostly
        # found: no usage, a known choice, a text.
        for chunk in chunks:
            has_usage = chunk.get(TOP_1) or chunk.get(TOP_2) or chunk.get(TOP_3)
            choices = chunk.get("choices")
            if has_usage and usage is not None:
                usage.add(chunk)
            if not isinstance(choices, list):
                continue
            position = 0
            for choice in choices:
                try:
                    merged, members = known[choice["index"]], choice["delta"].items()
                except (AttributeError, KeyError, TypeError):
                    merged = self._begin(position, choice)
                    members = choice["delta"].items() if merged is not None else ()
                position += 1
                if merged is None:
                    if usage is not None:
                        usage.add(chunk)
                    continue
                if choice.get("finish_reason"):
                    merged.finish(choice["finish_reason"])
                if IN_CHOICE in choice and usage is not None:
                    usage.add(chunk)
                texts = merged.texts
                for name, value in members:
                    if type(value) is str and name in texts:
                        pieces = texts[name]
                        pieces.append(value)
                        if len(pieces) > _PIECES or len(value) > _LONG:
                            _pack(pieces)
                    elif value is not None:
                        merged.add(name, value)

    def message(self, index: int = 0) -> dict[str, Any] | None:
        """The message of a choice so far: ``role``, ``content``, and what else came.

        ``content`` is None where no text came, since null, empty and absent mean the same.

        Returns:
            A new dict; None if no delta of this choice came.
        """
        merged = self._choices.get(index)
        return None if merged is None else merged.built()

    @property
    def messages(self) -> dict[int, dict[str, Any]]:
        """The messages of all choices so far, by the index of the choice, in order."""
        return {index: self._choices[index].built() for index in sorted(self._choices)}

    def finish_reason(self, index: int = 0) -> str | None:
        """The last ``finish_reason`` of a choice that means an end, None while there is none."""
        merged = self._choices.get(index)
        return None if merged is None else merged.finished

    def _begin(self, position: int, choice: Any) -> _Message | None:
        """The message that the delta of *choice* goes to; None if there is no delta.

        A whole message is taken at once.
        """
        if not isinstance(choice, dict):
            return None
        index = choice.get("index")
        if type(index) is not int:
            index = position
        if isinstance(choice.get("delta"), dict):
            return self._choices.setdefault(index, _Message())
        if isinstance(choice.get("message"), Mapping):
            merged = self._choices[index] = _Message()
            merged.replace(choice["message"])
            merged.finish(choice.get("finish_reason"))
        return None


class _Message:
    """One choice's message.

    Attributes:
        texts: The increments of those of `TEXT_KEYS` that have come, to which the accumulator
            adds by itself; before them all that were packed, a bytearray.
        finished: See `MessageAccumulator.finish_reason`.
    """

    __slots__ = ("_lists", "_others", "finished", "texts")

    def __init__(self) -> None:
        self.texts: dict[str, list[Any]] = {}
        self.finished: str | None = None
        # Made when one comes: of many streams most wait, with texts only.
        self._lists: dict[str, FragmentList] | None = None
        self._others: Fields | None = None

    def finish(self, reason: object) -> None:
        """Take a ``finish_reason``."""
        if isinstance(reason, str) and reason not in UNFINISHED:
            self.finished = reason

    def add(self, name: str, value: Any) -> None:
        """Take a delta's member that is not null."""
        if isinstance(value, str) and name in _TEXTS:
            pieces = self.texts.setdefault(name, [bytearray()])
            pieces.append(value)
            if len(value) > _LONG:
                _pack(pieces)
        elif isinstance(value, list) and name in LISTS:
            lists = self._lists = self._lists or {}
            if name not in lists:
                lists[name] = LISTS[name]()
            lists[name].extend(objects(value))
        elif isinstance(value, list) and name in LIST_KEYS:
            members = self._fields().members
            if not isinstance(members.get(name), list):
                members[name] = []
            members[name].extend(plain(value))
        elif value != "" and not (name == "role" and self._is_usual(value)):
            self._fields().update({name: plain(value)})

    def replace(self, message: Mapping[str, Any]) -> None:
        """Take a whole message."""
        for name, value in message.items():
            if name == "tool_calls" and isinstance(value, list):
                self.add(name, [{**call, "index": n} for n, call in enumerate(objects(value))])
            elif isinstance(value, list):
                self._fields().members[name] = plain(value)
            elif value is not None:
                self.add(name, value)

    def built(self) -> dict[str, Any]:
        """The message so far."""
        made: dict[str, Any] = {"role": "assistant", "content": None}
        for name in TEXT_KEYS:
            text = _text(self.texts[name]) if name in self.texts else ""
            if text:
                made[name] = text
        others = {} if self._others is None else self._others.built()
        for name, value in others.items():
            if name == "role" or made.get(name) is None:
                made[name] = value
        if self._lists is not None:
            made.update((name, merged.built()) for name, merged in self._lists.items())
        _remove(made, FLAG_PATH)
        return made

    def _fields(self) -> Fields:
        """Those members that are neither texts nor lists of fragments."""
        if self._others is None:
            self._others = Fields()
        return self._others

    def _is_usual(self, role: Any) -> bool:
        """Whether a role is the one that a message has anyway."""
        return role == "assistant" and type(role) is str and self._others is None


def _pack(pieces: list[Any]) -> None:
    """Pack the pieces of a text behind the first, which holds those that are packed."""
    pieces[0] += "".join(pieces[1:]).encode("utf-8", "surrogatepass")
    del pieces[1:]


def _text(pieces: list[Any]) -> str:
    """What pieces add up to."""
    return join_text((pieces[0].decode("utf-8", "surrogatepass"), *pieces[1:]))


def _remove(value: dict[str, Any], path: tuple[str, ...]) -> None:
    """Remove a member below *value*, and what holds nothing without it."""
    inner = value.get(path[0])
    if len(path) == 1:
        value.pop(path[0], None)
    elif isinstance(inner, dict) and path[1] in inner:
        _remove(inner, path[1:])
        if not inner:
            del value[path[0]]
