"""Deltas put right: a model's text as it comes in pieces, cut anywhere, even inside a character or a tag. Pure."""

import enum
import re
from collections.abc import Iterator

from .frozen import frozen

_OPEN = "<think>"
_CLOSE = "</think>"


@frozen
class Text:
    """A piece of the answer, in valid Unicode."""

    text: str


@frozen
class Reasoning:
    """A piece of what the model thought before it answered, in valid Unicode."""

    text: str


_HALF = re.compile("[\ud800-\udfff]")


def is_whole(text: str) -> bool:
    """Whether there is no half of a character in it."""
    return text.isascii() or _HALF.search(text) is None


class Pieces:
    r"""Joins the halves of a character that a server sent as two JSON escapes (``\ud83d``, ``\ude00``) in two chunks."""

    def __init__(self) -> None:
        self._half = ""

    @property
    def is_halved(self) -> bool:
        """Whether the second half of a character is still to come."""
        return bool(self._half)

    def feed(self, text: str, *, last: bool = False) -> str:
        """What is whole by now; a half that never finds its other one becomes U+FFFD."""
        text, self._half = self._half + text, ""
        if is_whole(text):
            return text
        if not last and "\ud800" <= text[-1] <= "\udbff":
            text, self._half = text[:-1], text[-1]
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


class _Place(enum.Enum):
    BEFORE = enum.auto()
    THINKING = enum.auto()
    BETWEEN = enum.auto()
    ANSWER = enum.auto()


class Sorter:
    """Sorts content into answer and reasoning: a leading ``<think>…</think>`` is not part of the answer."""

    def __init__(self) -> None:
        self._pieces = Pieces()
        self._place = _Place.BEFORE
        self._held = ""  # what may still turn out to be a tag
        self._has_thought = False

    @property
    def is_open(self) -> bool:
        """Whether all that comes now is answer, with nothing held back before it."""
        return self._place is _Place.ANSWER and not self._held and not self._pieces.is_halved

    @property
    def is_silent(self) -> bool:
        """Whether a tag is open and nothing has come behind it."""
        return self._place is _Place.THINKING and not self._has_thought

    def feed(self, text: str, *, last: bool = False) -> Iterator[Text | Reasoning]:
        """The pieces that are certain by now; with ``last`` all that is left."""
        self._held += self._pieces.feed(text, last=last)
        if self._place is _Place.BEFORE:
            self._open(last=last)
        if self._place is _Place.THINKING and (thought := self._thought(last=last)):
            self._has_thought = True
            yield Reasoning(thought)
        if self._place is _Place.BETWEEN:  # the line breaks that models put behind the tag
            self._held = self._held.lstrip()
            if self._held:
                self._place = _Place.ANSWER
        if self._place is _Place.ANSWER and self._held:
            yield Text(self._held)
            self._held = ""

    def _open(self, *, last: bool) -> None:
        start = self._held.lstrip()
        if start.startswith(_OPEN):
            self._place, self._held = _Place.THINKING, start.removeprefix(_OPEN)
        elif last or not _OPEN.startswith(start):
            self._place = _Place.ANSWER

    def _thought(self, *, last: bool) -> str:
        thought, tag, rest = self._held.partition(_CLOSE)
        if tag:
            self._place, self._held = _Place.BETWEEN, rest
            return thought
        kept = 0 if last else next((n for n in range(len(_CLOSE) - 1, 0, -1) if thought.endswith(_CLOSE[:n])), 0)
        self._held = thought[len(thought) - kept :]
        return thought[: len(thought) - kept]
