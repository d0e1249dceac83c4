"""Separates a model's reasoning from its answer, by the tags that open models write. Pure.

Sources: the reasoning parsers of vLLM, SGLang and NVIDIA Dynamo; the default tags of Open WebUI; the model cards of
GLM-4.5V, Kimi-VL, Magistral, Apriel and Gemma 4.
"""

import enum
import functools
import re
from collections.abc import Iterator

from .events import ReasoningDelta, TextDelta, TextWasReasoning

#: The tags around leading reasoning. Phrases such as Granite's "Here is my thought process:" are not here, because an
#: answer may begin with them.
_PAIRS = {
    "<think>": "</think>",  # nearly all: Qwen, DeepSeek, GLM, InternVL, MiniMax, Kimi K2.5
    "<thinking>": "</thinking>",
    "<thought>": "</thought>",
    "<seed:think>": "</seed:think>",  # Seed-OSS
    "[THINK]": "[/THINK]",  # Magistral
    "◁think▷": "◁/think▷",  # Kimi-VL
    "<|channel|>analysis<|message|>": "<|channel|>final<|message|>",  # gpt-oss
    "<|channel>thought": "<channel|>",  # Gemma 4
    "<|START_THINKING|>": "<|END_THINKING|>",  # Cohere
    "<|begin_of_thought|>": "<|end_of_thought|>",
    "Here are my reasoning steps:": "[BEGIN FINAL RESPONSE]",  # Apriel
}
#: The closing tags that may come without the opening one, because the chat template has put that into the prompt.
_LONE_CLOSINGS = frozenset(_PAIRS.values()) - {"</thinking>", "</thought>"}  # ordinary words in XML
#: The tags around an answer that follows reasoning. Without reasoning they belong to the answer, because prompts ask for
#: such tags too.
_WRAPPERS = {
    "<answer>": "</answer>",  # Hunyuan, and many models trained like DeepSeek-R1
    "<response>": "</response>",  # ERNIE
    "<|START_RESPONSE|>": "<|END_RESPONSE|>",
    "<|begin_of_solution|>": "<|end_of_solution|>",
}
#: By the closing tag of the reasoning, the tag that closes the answer.
_ENDINGS = {"[BEGIN FINAL RESPONSE]": "[END FINAL RESPONSE]", "<|channel|>final<|message|>": "<|return|>"}
#: GLM-V marks the short answer inside its text with these; they are removed.
_BOXES = frozenset({"<|begin_of_box|>", "<|end_of_box|>"})

#: The tags that are searched in an answer: boxes, lone closing tags, and opening tags, because a closing tag that follows
#: an opening one is not alone.
_ANSWER_TAGS = tuple({*_BOXES, *_LONE_CLOSINGS, *(tag for tag in _PAIRS if not tag[0].isalpha())})
_ANSWER_TAG_PATTERN = "|".join(map(re.escape, _ANSWER_TAGS))
#: The most characters at the end of a text that may be the beginning of a tag.
_WINDOW = max(map(len, (*_ANSWER_TAGS, *_PAIRS.values(), *_WRAPPERS.values(), *_ENDINGS.values()))) - 1
#: A closing tag after one of these is quoted, not used.
_QUOTES = frozenset("`'\"“‘„«")
_LEADING_TAGS = (*_PAIRS, *_LONE_CLOSINGS)
_FIRST_CHARACTERS = frozenset(tag[0] for tag in _LEADING_TAGS)

_SURROGATE = re.compile("[\ud800-\udfff]")
_THINKING_MODEL_PATTERN = r"(?<!no[-_n])(?<!non[-_])think(ing|er)|\bqwq|\bqvq|(\b|_)r1(v|\b|_)"


@functools.lru_cache(maxsize=64)
def is_thinking_model(name: str) -> bool:
    """Whether a model of this name always thinks first: ``Qwen3-VL-…-Thinking``, QwQ, QVQ, DeepSeek-R1, ``…-Thinker``.

    The chat templates of such models put the opening tag into the prompt. Models that think only on request are excluded:
    their answers would be held back to the end whenever they do not think.
    """
    return re.search(_THINKING_MODEL_PATTERN, name.lower()) is not None


class SurrogateJoiner:
    r"""Joins the halves of a character that a server split into two JSON escapes (``\ud83d``, ``\ude00``) in two chunks.

    Attributes:
        pending: the first half of a character, until the second one arrives.
    """

    def __init__(self) -> None:
        self.pending = ""

    def feed(self, text: str, *, last: bool = False) -> str:
        """Return the text that is complete so far; a half without its other half becomes U+FFFD."""
        text, self.pending = self.pending + text, ""
        if text.isascii() or not _SURROGATE.search(text):
            return text
        if not last and "\ud800" <= text[-1] <= "\udbff":
            text, self.pending = text[:-1], text[-1]
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


#: ``UNDECIDED`` is the text of a thinking model before a closing tag: reasoning, or an answer without any.
_State = enum.Enum("_State", ["BEFORE", "UNDECIDED", "THINKING", "BETWEEN", "ANSWER"])
_Piece = TextDelta | ReasoningDelta | TextWasReasoning


class ReasoningSplitter:
    """Splits text into reasoning, which stands between leading tags or before a lone closing tag, and answer.

    The text of a thinking model is held back until its closing tag arrives, or until the text ends. The text of other models
    is yielded as answer at once; if a lone closing tag follows, ``TextWasReasoning`` corrects that.
    """

    def __init__(self, *, is_thinking_model: bool = False) -> None:
        self._joiner = SurrogateJoiner()
        self._state = _State.BEFORE
        self._buffer = ""  # may be the beginning of a tag
        self._held_back: list[str] = []  # while undecided
        self._is_thinking_model = is_thinking_model
        self._may_be_reasoning = True  # a lone closing tag may still arrive
        self._has_reasoning = False
        self._last_character = ""
        self._closing = ""  # ends the reasoning, then the answer

    @property
    def is_undecided(self) -> bool:
        """Whether text is held back that may be reasoning or answer."""
        return self._state is _State.UNDECIDED

    @property
    def has_empty_reasoning(self) -> bool:
        """Whether the opening tag has arrived, and nothing after it."""
        return self._state is _State.THINKING and not self._has_reasoning

    def accept_plain(self, text: str) -> bool:
        """Accept a text that is, as it stands, a piece of the answer: no tag is open, and none begins in it.

        False for any other text, which must be passed to ``feed``. This is a shortcut, because ``feed`` is slower.
        """
        is_plain = (
            self._state is _State.ANSWER
            and not self._buffer
            and not self._joiner.pending
            and not self._closing
            and not _may_have_tag(text)
            and (text.isascii() or not _SURROGATE.search(text))
        )
        if is_plain:
            self._last_character = text[-1]
        return is_plain

    def expect_reasoning(self) -> None:
        """Expect reasoning first, because the model turns out to be one that always thinks."""
        self._is_thinking_model = True

    def expect_answer(self) -> None:
        """Expect only answer, because the server sends the reasoning in a field of its own."""
        self._is_thinking_model = self._may_be_reasoning = False
        if self._state is _State.UNDECIDED:
            self._decide_for_answer()

    def _decide_for_answer(self) -> None:
        self._state = _State.ANSWER
        self._buffer = "".join([*self._held_back, self._buffer])
        self._held_back.clear()

    def feed(self, text: str, *, last: bool = False) -> Iterator[_Piece]:
        """Yield the pieces that are certain so far; with ``last``, all of them, undecided text as answer."""
        self._buffer += self._joiner.feed(text, last=last)
        if self._state is _State.BEFORE:
            self._read_beginning(last=last)
        if self._state is _State.UNDECIDED:
            yield from self._read_undecided(last=last)
        if self._state is _State.THINKING and (reasoning := self._take_reasoning(last=last)):
            self._has_reasoning = True
            yield ReasoningDelta(reasoning)
        if self._state is _State.BETWEEN:
            self._skip_to_answer(last=last)
        if self._state is _State.ANSWER and self._buffer:
            yield from self._read_answer(last=last)

    def end_in_reasoning(self) -> Iterator[_Piece]:
        """End a text that was cut off: undecided text is reasoning, because its closing tag never arrived."""
        self._state, self._buffer = _State.THINKING, "".join([*self._held_back, self._buffer])
        self._held_back.clear()
        yield from self.feed("", last=True)

    def _read_beginning(self, *, last: bool) -> None:
        start = self._buffer.lstrip()
        may_be_tag = not start or start[0] in _FIRST_CHARACTERS
        tag = next((tag for tag in _LEADING_TAGS if start.startswith(tag)), None) if may_be_tag else None
        if tag in _PAIRS:
            self._state, self._closing, self._buffer = _State.THINKING, _PAIRS[tag], start.removeprefix(tag)
        elif tag is not None:
            self._close_reasoning(tag, start.removeprefix(tag))
        elif last or not (may_be_tag and any(tag.startswith(start) for tag in _LEADING_TAGS)):
            self._state = _State.UNDECIDED if self._is_thinking_model and not last else _State.ANSWER

    def _close_reasoning(self, tag: str, text_after: str) -> None:
        self._state, self._buffer = _State.BETWEEN, text_after
        self._closing = _ENDINGS.get(tag, "")
        self._may_be_reasoning = False

    def _read_undecided(self, *, last: bool) -> Iterator[_Piece]:
        for match in _find_tags(self._buffer):
            if match[0] in _LONE_CLOSINGS:
                reasoning = "".join([*self._held_back, self._buffer[: match.start()]])
                self._held_back.clear()
                self._close_reasoning(match[0], self._buffer[match.end() :])
                yield ReasoningDelta(reasoning)
                return
        if last:
            self._decide_for_answer()
            return
        if not self._held_back:
            yield ReasoningDelta("")  # nothing to show, but the model is working
        end = len(self._buffer) - _count_partial(self._buffer, _ANSWER_TAGS)
        self._held_back.append(self._buffer[:end])
        self._buffer = self._buffer[end:]

    def _take_reasoning(self, *, last: bool) -> str:
        reasoning, tag, text_after = self._buffer.partition(self._closing) if self._closing else (self._buffer, "", "")
        if tag:
            self._close_reasoning(tag, text_after)
            return reasoning
        end = len(reasoning) - (0 if last else _count_partial(reasoning, (self._closing,)))
        self._buffer = reasoning[end:]
        return reasoning[:end]

    def _skip_to_answer(self, *, last: bool) -> None:
        """Skip the line breaks between reasoning and answer, and a tag that opens the answer."""
        self._buffer = self._buffer.lstrip()
        for tag, closing in _WRAPPERS.items():
            if self._buffer.startswith(tag) and self._closing not in _WRAPPERS.values():  # only the first one
                self._closing, self._buffer = closing, self._buffer.removeprefix(tag).lstrip()
        if self._buffer and (last or not any(tag.startswith(self._buffer) for tag in _WRAPPERS)):
            self._state = _State.ANSWER

    def _read_answer(self, *, last: bool) -> Iterator[_Piece]:
        text, self._buffer = self._buffer, ""
        if self._closing:
            text = self._cut_at_ending(text, last=last)
        elif not last and (held_back := _count_partial(text, _ANSWER_TAGS)):
            text, self._buffer = text[:-held_back], text[-held_back:]
        parts, position = [], 0
        for match in _find_tags(text):
            tag = match[0]
            if tag in _BOXES:
                parts.append(text[position : match.start()])
                position = match.end()
            elif tag in _PAIRS:
                self._may_be_reasoning = False
            elif self._may_be_reasoning and (text[: match.start()] or self._last_character)[-1:] not in _QUOTES:
                yield TextWasReasoning()
                yield ReasoningDelta("".join([*parts, text[position : match.start()]]))
                self._close_reasoning(tag, text[match.end() :] + self._buffer)
                yield from self.feed("", last=last)
                return
        parts.append(text[position:])
        if answer := "".join(parts):
            self._last_character = answer[-1]
            yield TextDelta(answer)

    def _cut_at_ending(self, text: str, *, last: bool) -> str:
        """Hold back the tag that ends the answer, and drop it if nothing follows."""
        answer, tag, text_after = text.partition(self._closing)
        if not tag:
            answer, tag = (text, "") if last else _split_partial(text, self._closing)
        elif text_after.strip():
            self._closing = ""
            return text
        self._buffer = "" if last else tag + text_after
        return answer


def _find_tags(text: str) -> Iterator[re.Match[str]]:
    """The tags in a text; most texts have none."""
    return re.finditer(_ANSWER_TAG_PATTERN, text) if _may_have_tag(text) else iter(())


def _may_have_tag(text: str) -> bool:
    return "<" in text or "[" in text or "◁" in text


def _count_partial(text: str, tags: tuple[str, ...]) -> int:
    """Count the characters at the end of a text that may be the beginning of a tag."""
    window = text[-_WINDOW:]
    if not _may_have_tag(window):
        return 0
    for start, character in enumerate(window):
        if _may_have_tag(character) and any(tag.startswith(window[start:]) for tag in tags):
            return len(window) - start
    return 0


def _split_partial(text: str, tag: str) -> tuple[str, str]:
    end = len(text) - _count_partial(text, (tag,))
    return text[:end], text[end:]
