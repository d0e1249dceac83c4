"""Deltas of an answer: text that arrives in pieces, split anywhere, even inside a character or a tag. Pure."""

import enum
import re
from collections.abc import Iterator

from ..frozen import frozen

_OPEN_TAG = "<think>"
_CLOSE_TAG = "</think>"


@frozen
class TextDelta:
    """A piece of the answer, in valid Unicode."""

    text: str


@frozen
class ReasoningDelta:
    """A piece of the model's reasoning before the answer, in valid Unicode."""

    text: str


_SURROGATE = re.compile("[\ud800-\udfff]")


def has_no_surrogates(text: str) -> bool:
    """Whether the text contains no half of a character."""
    return text.isascii() or _SURROGATE.search(text) is None


class SurrogateJoiner:
    r"""Joins the halves of a character that a server split into two JSON escapes (``\ud83d``, ``\ude00``) in two chunks."""

    def __init__(self) -> None:
        self._pending_surrogate = ""

    @property
    def has_pending_surrogate(self) -> bool:
        """Whether the second half of a character is missing."""
        return bool(self._pending_surrogate)

    def feed(self, text: str, *, last: bool = False) -> str:
        """The text that is complete by now; a half without the other half becomes U+FFFD."""
        text, self._pending_surrogate = self._pending_surrogate + text, ""
        if has_no_surrogates(text):
            return text
        if not last and "\ud800" <= text[-1] <= "\udbff":
            text, self._pending_surrogate = text[:-1], text[-1]
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


class _ThinkState(enum.Enum):
    BEFORE = enum.auto()
    THINKING = enum.auto()
    BETWEEN = enum.auto()
    ANSWER = enum.auto()


class ThinkSplitter:
    """Splits content into answer and reasoning: a leading ``<think>…</think>`` is reasoning."""

    def __init__(self) -> None:
        self._joiner = SurrogateJoiner()
        self._state = _ThinkState.BEFORE
        self._buffer = ""  # may still turn out to be a tag
        self._has_reasoning = False

    @property
    def is_in_answer(self) -> bool:
        """Whether everything that follows is answer, and nothing before it is held back."""
        return self._state is _ThinkState.ANSWER and not self._buffer and not self._joiner.has_pending_surrogate

    @property
    def has_empty_reasoning(self) -> bool:
        """Whether the tag is open and nothing has followed it."""
        return self._state is _ThinkState.THINKING and not self._has_reasoning

    def feed(self, text: str, *, last: bool = False) -> Iterator[TextDelta | ReasoningDelta]:
        """The pieces that are certain by now; with ``last``, all that remains."""
        self._buffer += self._joiner.feed(text, last=last)
        if self._state is _ThinkState.BEFORE:
            self._detect_open_tag(last=last)
        if self._state is _ThinkState.THINKING and (reasoning := self._take_reasoning(last=last)):
            self._has_reasoning = True
            yield ReasoningDelta(reasoning)
        if self._state is _ThinkState.BETWEEN:  # models put line breaks after the tag
            self._buffer = self._buffer.lstrip()
            if self._buffer:
                self._state = _ThinkState.ANSWER
        if self._state is _ThinkState.ANSWER and self._buffer:
            yield TextDelta(self._buffer)
            self._buffer = ""

    def _detect_open_tag(self, *, last: bool) -> None:
        start = self._buffer.lstrip()
        if start.startswith(_OPEN_TAG):
            self._state, self._buffer = _ThinkState.THINKING, start.removeprefix(_OPEN_TAG)
        elif last or not _OPEN_TAG.startswith(start):
            self._state = _ThinkState.ANSWER

    def _take_reasoning(self, *, last: bool) -> str:
        reasoning, tag, rest = self._buffer.partition(_CLOSE_TAG)
        if tag:
            self._state, self._buffer = _ThinkState.BETWEEN, rest
            return reasoning
        lengths = () if last else range(len(_CLOSE_TAG) - 1, 0, -1)  # of a tag that may have begun
        held_back = next((length for length in lengths if reasoning.endswith(_CLOSE_TAG[:length])), 0)
        end = len(reasoning) - held_back
        self._buffer = reasoning[end:]
        return reasoning[:end]
