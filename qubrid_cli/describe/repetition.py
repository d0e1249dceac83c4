"""Answers that repeat themselves: they are recognized while they arrive, and requested again with more variety.

A model that is stuck in a loop writes the same row, phrase or token until its limit of tokens. Two kinds of loops are
recognized: the same text over and over, and rows that differ only in one number, which changes by the same step, such as
the rows of an empty table. Ordinary texts repeat themselves too, so the thresholds depend on the text that is repeated:

======================================================  =========================================================
repeated text                                           is a loop
======================================================  =========================================================
rows, words, blocks of rows, objects of JSON, emoji     after 105 times, or after 6,000 characters if that is
                                                        6 times at least; but not below 300 characters
the same without any letter, such as a matrix of zeros  the same, but 20,000 characters in place of 6,000
punctuation on one line: dots, rules, spaces            the same, but not below 1,000 characters
one value of a list: ``0,`` or ``null,`` or ``00``      the same, but not below 2,000 characters
one letter or digit, as in Base64 of zeros              after 6,000 characters
rows with a number that changes evenly, and at least    after 105 times, or after 6,000 characters if that is
three punctuation marks (``| 7 | | |``) or words        20 times at least
======================================================  =========================================================

Lists of dates, of numbers, and of names with a number (``page 7``) are never loops.

Measured: of 67,000 text files (640 MB: Python's and other libraries' sources, headers, licenses, manuals, data, in several
languages), 4 were taken for loops, all of them data with more than 100 equal rows. A loop of 400 rows is recognized after
27 % of it at the latest, if a row has four characters or more. Checking 300 KB of text takes 5 ms, or 20 ms for numbers only.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from ..client.events import Event, ReasoningDelta, TextDelta, TextWasReasoning
from ..client.request import Request
from ..errors import IncompleteAnswerError
from ..frozen import frozen
from ..text import shorten

#: The code of the error.
REPETITION = "repetition"
#: How often an answer is requested again with more variety.
MAX_VARIATIONS = 2
#: What each of these requests adds to the temperature, and the upper limit. The temperature comes first, as when OCR models
#: are run again (olmOCR: from 0.1 in eight steps to 1.0): a penalty also affects the rows of correct tables.
_TEMPERATURE_STEP, _MAX_TEMPERATURE = 0.3, 1.0
#: What each further request adds to the penalty for repetition.
_PENALTY_STEP = 0.5
#: With one of these body fields from the user, no other penalty is added.
_PENALTIES = frozenset({"frequency_penalty", "presence_penalty", "repetition_penalty", "repeat_penalty"})
#: Characters of the repeated text in a message.
_MAX_EXCERPT = 40

#: Repetitions that always make a loop: more than a form with 100 empty boxes or rows has.
_MAX_REPETITIONS = 105
#: Characters that make a loop if its unit is long (about 1,500 tokens), and the least repetitions of such a unit, and of
#: numbered rows.
_MAX_LENGTH, _MIN_REPETITIONS, _MIN_NUMBERED_ROWS = 6_000, 6, 20
#: The same characters for a unit without letters, because a matrix of zeros may have long rows.
_MAX_WORDLESS_LENGTH = 20_000
#: Characters below which nothing is a loop: for rows and words, for punctuation on one line, for values in a list.
_MIN_LENGTH, _MIN_SIGNS_LENGTH, _MIN_VALUES_LENGTH = 300, 1_000, 2_000

#: Characters between two checks: as many as the shortest table row (``| |``) needs to be a loop, or at least 16 if a loop
#: seems to have begun.
_STEP, _MIN_STEP = 420, 16
#: Characters at the end that each check looks at, and how far back it searches for an earlier occurrence of the end.
_WINDOW, _REACH = 8_000, 2_048
#: Characters that every eighth check searches, enough for a unit of 4,000 six times; this takes ten times as long.
_FAR_WINDOW, _FAR_INTERVAL = 24_000, 8
#: Characters at the end in which the last three rows are searched.
_ROWS_LENGTH = 1_000
#: Characters at the end whose earlier occurrence is searched.
_PROBE = 64
#: Occurrences that are examined in one check.
_MAX_CANDIDATES = 4

# These patterns are compiled when they are first used, because most answers are too short to be checked.
_NUMBER = "[0-9]+"
_LETTER, _WORD = r"[^\W\d_]", r"[^\W\d_]{2,}"
#: Chinese, Japanese and Korean, which have no spaces between words; and emoji.
_IDEOGRAPH = "[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7a3]"
_EMOJI = "[\U0001f000-\U0001faff]"
#: A character that Base64 does not use.
_NOT_BASE64 = r"[^\w+/=]"
_NUMERIC = r"[-+.]*[0-9][-+.0-9]*|[0-9a-f]{1,8}|[a-z]"
_VALUE = rf"{_NUMERIC}||true|false|null|none|nan|n/a|na|yes|no"
_NO_DIGITS = dict.fromkeys(range(ord("0"), ord("9") + 1))


@frozen
class Repetition:
    """A loop in the text of an answer, or in the reasoning before it.

    Attributes:
        unit: the text that is repeated.
        count: how often it has appeared.
        end: the length of the whole text up to the end of the first unit.
    """

    unit: str
    count: int
    end: int
    is_reasoning: bool = False

    def build_error(self) -> IncompleteAnswerError:
        """Build the error for the answer."""
        excerpt = shorten(" ".join(self.unit.split()), _MAX_EXCERPT)
        quoted = f'"{excerpt}"' if excerpt else "whitespace"
        problem = "the reasoning before it repeats itself" if self.is_reasoning else "it repeats itself"
        return IncompleteAnswerError(
            f"the answer is incomplete: {problem} ({quoted}, {self.count} times), so it was ended",
            hint="Try a higher --temperature or another prompt; --no-loop-check lets such an answer go on.",
            code=REPETITION,
        )


def stop_at_repetition(events: Iterable[Event]) -> Iterator[Event | Repetition]:
    """Yield the events of an answer up to the first loop, and the loop as the last item."""
    text, reasoning = RepetitionDetector(), RepetitionDetector()
    for event in events:
        if not isinstance(event, TextDelta | ReasoningDelta):
            text = RepetitionDetector() if isinstance(event, TextWasReasoning) else text
            yield event
            continue
        is_reasoning = isinstance(event, ReasoningDelta)
        detector = reasoning if is_reasoning else text
        length_before = detector.length
        if (repetition := detector.feed(event.text)) is None:
            yield event
            continue
        if repetition.end > length_before:
            yield replace(event, text=event.text[: repetition.end - length_before])
        yield replace(repetition, is_reasoning=is_reasoning)
        return


def vary_sampling(request: Request, repetitions: int) -> tuple[Request, tuple[str, ...]]:
    """Change a request after answers that repeated themselves, so that the next one differs; also return notes about it.

    The temperature is raised first, then a penalty is added. If the request has no temperature, the endpoint's own is not
    known, so only the penalty is added.

    Args:
        repetitions: how many answers have repeated themselves.
    """
    if not repetitions:
        return request, ()
    changes = []
    steps = repetitions
    if request.temperature is not None and "temperature" not in request.dropped:
        steps -= 1
        raised = min(request.temperature + _TEMPERATURE_STEP * repetitions, max(request.temperature, _MAX_TEMPERATURE))
        request = replace(request, temperature=round(raised, 2))
        changes.append(f"temperature {request.temperature:g}")
    if steps and _PENALTIES.isdisjoint({*request.params, *request.extra, *request.dropped}):
        request = replace(request, frequency_penalty=_PENALTY_STEP * steps)
        changes.append(f"frequency_penalty {request.frequency_penalty:g}")
    details = f" with {' and '.join(changes)}" if changes else ""
    return request, (f"the answer repeated itself, so it was requested again{details}",)


class RepetitionDetector:
    """Looks for a loop at the end of a text that arrives in pieces; the result does not depend on the pieces.

    A piece costs only a comparison. After every 420 characters, the end of the text is searched in the text before it.
    """

    def __init__(self) -> None:
        self._pending: list[str] = []  # not checked yet
        self._missing = _STEP  # characters until the next check
        self._step = _STEP
        self._window = ""
        self._recent: list[str] = []  # checked, but not in the far window yet
        self._far_window = ""
        self.length = 0  # of all text, checked or not
        self._checked_length = 0
        self._has_numbered_rows = False

    def feed(self, text: str) -> Repetition | None:
        """Add a piece of text; return the loop that is complete with it, if there is one."""
        self._pending.append(text)
        self.length += len(text)
        self._missing -= len(text)
        return None if self._missing > 0 else self._check_pending()

    def _check_pending(self) -> Repetition | None:
        text = "".join(self._pending)
        start = 0
        while len(text) - start >= self._step:
            piece = text[start : start + self._step]
            start += len(piece)
            self._checked_length += len(piece)
            self._step = _STEP
            if repetition := self._check(piece):
                return repetition
        self._pending = [text[start:]]
        self._missing = self._step - (len(text) - start)
        return None

    def _check(self, piece: str) -> Repetition | None:
        self._window = self._window[-_WINDOW:] + piece
        self._recent.append(piece)
        if len(self._recent) < _FAR_INTERVAL:
            if repetition := self._find_same(self._window, len(self._window) - _REACH):
                return repetition
            may_be_numbered = self._has_numbered_rows or _ends_in_numbered_rows(self._window)
            return self._find_numbered() if may_be_numbered else None
        self._far_window = "".join([self._far_window[-_FAR_WINDOW:], *self._recent])
        self._recent.clear()
        return self._find_same(self._far_window, 0) or self._find_numbered()

    def _find_same(self, text: str, first: int) -> Repetition | None:
        """Find text at the end that is repeated without change; its earlier occurrence is searched from ``first`` on."""
        for period, length in _iter_runs(text, max(0, first)):
            missing = _compute_min_length(text[-period:]) - length
            if missing <= 0:
                start = _find_first_row(text, len(text) - length, period)
                return self._build_repetition(text, start, start + period, length // period)
            self._schedule(missing)
        return None

    def _find_numbered(self) -> Repetition | None:
        """Find rows at the end, or blocks of rows, that differ only in a number that changes by the same step."""
        self._has_numbered_rows = False
        text = self._window[: self._window.rfind("\n") + 1]
        bare = _remove_numbers(text)
        for period, length in _iter_runs(bare, 0):
            unit = bare[-period:]
            height = unit.count("\n")
            last_rows = text.rsplit("\n", 3 * height + 1)[1:-1]
            if not height or _count_numbered(last_rows, height) < 3 or not _is_content(unit):
                continue
            rows = text.split("\n")[:-1]
            count = _count_numbered(rows[-(length // period * height) :], height)
            first = len(rows) - count * height
            size = sum(map(len, rows[first:])) + count * height
            needed = min(_MAX_REPETITIONS, max(_MIN_NUMBERED_ROWS, _MAX_LENGTH * count // size))
            if count >= needed:
                while first and _remove_numbers(rows[first - 1]) == _remove_numbers(rows[first - 1 + height]):
                    first -= 1  # the loop began with a part of a block
                start = sum(map(len, rows[:first])) + first
                end = start + sum(map(len, rows[first : first + height])) + height
                return self._build_repetition(self._window, start, end, count)
            if count:
                self._has_numbered_rows = True
                self._schedule((needed - count) * size // count)
        return None

    def _build_repetition(self, text: str, start: int, end: int, count: int) -> Repetition:
        """Build the loop whose first unit is from ``start`` to ``end`` in a window."""
        return Repetition(text[start:end], count, self._checked_length - len(text) + end)

    def _schedule(self, missing: int) -> None:
        """Check again after this many characters, if that is sooner than planned."""
        self._step = min(self._step, max(_MIN_STEP, missing))


def _find_first_row(text: str, start: int, period: int) -> int:
    """Find where the first whole row, or word, of a loop begins; the loop may begin inside another one."""
    unit = text[start : start + period]
    separator = "\n" if "\n" in unit else " "
    if start == 0 or text[start - 1] in {separator, "\n"} or separator not in unit:
        return start
    return start + unit.index(separator) + 1


def _iter_runs(text: str, first: int) -> Iterator[tuple[int, int]]:
    """Yield the periods with which the end of a text repeats, the shortest first, each with the length of the repeating end.

    Args:
        first: where the search for earlier occurrences begins.
    """
    size = _PROBE
    for _ in range(_MAX_CANDIDATES):
        start = text.rfind(text[-size:], first, -1)
        if start < 0:
            return
        period = len(text) - size - start
        length = _measure_run(text, period, size)
        yield period, length
        size = length + 1  # the shortest end that does not repeat with this period


def _measure_run(text: str, period: int, size: int) -> int:
    """Measure the end of a text that repeats with a period; the last ``size`` characters equal those one period earlier."""
    low, high = size, len(text) - period
    while low < high:
        size = min(2 * low, high)
        if text[-size:] != text[-size - period : -period]:
            high = size - 1
            break
        low = size
    while low < high:
        size = (low + high + 1) // 2
        if text[-size:] == text[-size - period : -period]:
            low = size
        else:
            high = size - 1
    return low + period


def _compute_min_length(unit: str) -> int:
    """Compute how many characters of repetitions of a text make a loop."""
    bare = "".join(unit.split())
    longest = _MAX_LENGTH if re.search(_LETTER, unit) else _MAX_WORDLESS_LENGTH
    length = min(_MAX_REPETITIONS * len(unit), max(longest, _MIN_REPETITIONS * len(unit)))
    twice = unit * 2  # the unit may begin anywhere, also within a word
    if len(bare) <= 16 and _is_value(bare):
        shortest = _MAX_LENGTH if len(unit) == 1 else _MIN_VALUES_LENGTH
    elif (
        "\n" in unit
        or bare in {"!", "?"}
        or re.search(_IDEOGRAPH, unit)
        or re.search(_EMOJI, unit)
        or (re.search(_WORD, twice) and re.search(_NOT_BASE64, unit))
    ):
        shortest = _MIN_LENGTH
    else:
        shortest = _MIN_SIGNS_LENGTH
    return max(shortest, length)


def _is_value(bare: str) -> bool:
    """Whether a text without spaces is a number, or one value of a table or list with a separator anywhere in it."""
    left, separator, right = re.sub("[,;|]", "\0", bare).partition("\0")
    value = (right + left).strip("\"'").lower()
    if not separator:
        return bool(value) and re.fullmatch(_NUMERIC, value) is not None
    return re.fullmatch(_VALUE, value) is not None


def _ends_in_numbered_rows(text: str) -> bool:
    """Whether the last three rows of a text may be numbered."""
    rows = text[-_ROWS_LENGTH:].rsplit("\n", 4)[1:-1]
    if len(rows) < 3 or rows[1] == rows[2] or _remove_numbers(rows[1]) != _remove_numbers(rows[2]):
        return False
    return _count_numbered(rows, 1) == 3


def _remove_numbers(text: str) -> str:
    """Remove the digits 0 to 9; ``translate`` is faster for ASCII, and slower for all other text."""
    return text.translate(_NO_DIGITS) if text.isascii() else re.sub(_NUMBER, "", text)


def _count_numbered(rows: Sequence[str], height: int) -> int:
    """Count the blocks of rows at the end in which only one number changes, by the same amount from block to block.

    Args:
        height: rows in a block.
    """
    count, after, step = 0, list[int](), list[int]()
    for end in range(len(rows), height - 1, -height):
        before = [int(digits[-15:]) for row in rows[end - height : end] for digits in re.findall(_NUMBER, row)]
        if count:
            difference = [last - first for first, last in zip(before, after, strict=False)]
            if len(before) != len(after) or (difference != step if count > 1 else sum(map(bool, difference)) != 1):
                break
            step = difference
        count, after = count + 1, before
    return count


def _is_content(row: str) -> bool:
    """Whether a row without its numbers is more than a name and a full stop, so that its repetition is a loop."""
    signs = sum(not (character.isalnum() or character.isspace()) for character in row)
    return signs >= 3 or len(re.findall(_WORD, row)) >= 3 or len(re.findall(_IDEOGRAPH, row)) >= 6
