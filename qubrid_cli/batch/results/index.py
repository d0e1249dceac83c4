"""An index of the lines of a results file: 52 bytes for each line, whatever its length.

Lines are found by their key (an answer), or by their question (an image and a prompt). Texts are kept as hashes of 64
bits, so a line is read and compared before it counts.
"""

from array import array
from collections.abc import Iterator
from math import ceil, log2

from .lines import ANSWER, DUPLICATE, HAS_PATH, SUPERSEDED, LineRow

#: The table of hashes grows when it is fuller than this.
_MAX_LOAD = 0.7
_HALF = 0xFFFFFFFF


class _HashTable:
    """Finds the row that was stored last for a hash. An open-addressing table, because a ``dict`` takes 100 bytes a row.

    Args:
        tags: the hash of each row.
    """

    def __init__(self, tags: "array[int]") -> None:
        self._tags = tags
        self._slots = array("I")
        self._count = self._mask = 0
        self._limit = 0.0
        self.reserve(0)

    def find(self, tag: int) -> int:
        """Return the row for a hash; -1 if there is none."""
        return self._slots[self._find_slot(tag)] - 1

    def replace(self, tag: int, row: int) -> int:
        """Store the row for a hash; return the one that it replaces, or -1."""
        slots, tags, mask = self._slots, self._tags, self._mask
        slot = tag & mask
        while (other := slots[slot]) and tags[other - 1] != tag:
            slot = (slot + 1) & mask
        slots[slot] = row + 1
        if not other:
            self._count += 1
            if self._count > self._limit:
                self.reserve(2 * self._count)
        return other - 1

    def reserve(self, count: int) -> None:
        """Make room for a number of hashes."""
        size = 1 << max(10, ceil(log2((count + 1) / _MAX_LOAD)))
        if size <= len(self._slots):
            return
        old, self._slots, self._mask, self._limit = self._slots, array("I", bytes(4 * size)), size - 1, _MAX_LOAD * size
        for row in old:
            if row:
                self._slots[self._find_slot(self._tags[row - 1])] = row

    def _find_slot(self, tag: int) -> int:
        slots, tags, mask = self._slots, self._tags, self._mask
        slot = tag & mask
        while (row := slots[slot]) and tags[row - 1] != tag:
            slot = (slot + 1) & mask
        return slot


class LineIndex:
    """The lines of a results file, and which of them later ones supersede.

    Of the failures of one question, only the last stays, and none that was followed by an answer. Of the answers with
    one key about one image, the last stays. If an image has changed, the answers of the same model to the same prompt
    about its earlier content go; but only if the lines say which file it is.
    """

    def __init__(self) -> None:
        self._offsets = array("q")
        self._keys = array("q")
        self._questions = array("q")
        self._contents = array(
            "q"
        )  # of an answer: the hashes of content and model; of a failure: its incomplete answers
        self._previous = array("i")  # the row before with the same question
        self._kinds = bytearray()
        self._has_nameless = False  # there are lines without a path, as earlier versions wrote them
        self._by_key = _HashTable(self._keys)
        self._by_question = _HashTable(self._questions)

    def reserve(self, count: int) -> None:
        """Make room for a number of lines."""
        self._by_key.reserve(count)
        self._by_question.reserve(count)

    def add(self, offset: int, line: LineRow) -> None:
        """Add the line at an offset, which is after those of all other lines."""
        row = len(self._offsets)
        key, question, name, kind, content = line
        self._keys.append(key)  # before the tables refer to them
        self._questions.append(question)
        if kind & HAS_PATH:
            if self._has_nameless:
                self._supersede(self._by_question.find(name), kind, key, content)
        else:
            self._has_nameless = True
        previous = self._by_question.replace(question, row)
        if previous >= 0:
            previous = self._supersede(previous, kind, key, content)
        self._offsets.append(offset)
        self._contents.append(content)
        self._previous.append(previous)
        self._kinds.append(kind)
        if kind & ANSWER and not (kind & DUPLICATE and self._by_key.find(key) >= 0):
            self._by_key.replace(key, row)

    def _supersede(self, row: int, kind: int, key: int, content: int) -> int:
        """Mark the lines that a new one supersedes, from a row on; return the last row that stays, or -1."""
        kinds, newest = self._kinds, -1
        while row >= 0:
            other = kinds[row]
            if not other & SUPERSEDED:
                if not other & ANSWER:
                    is_superseded = True
                elif not kind & ANSWER:
                    is_superseded = False
                else:
                    difference = self._contents[row] ^ content
                    has_changed = difference & _HALF and not difference >> 32 and kind & other & HAS_PATH
                    is_superseded = self._keys[row] == key or bool(has_changed)
                if is_superseded:
                    kinds[row] |= SUPERSEDED
                elif newest < 0:
                    newest = row
            row = self._previous[row]
        return newest

    def find_answer(self, key: bytes) -> int | None:
        """Return the offset of the last answer with this key that is not a copy, else of the first copy."""
        row = self._by_key.find(hash(key))
        return None if row < 0 else self._offsets[row]

    def has_own_answer(self, key: bytes, tag: int, *, since: int) -> bool:
        """Whether there is an answer with this key to a question, at an offset from ``since`` on."""
        return any(self._keys[row] == hash(key) and self._offsets[row] >= since for row in self._find_answers(tag))

    def find_answers(self, tag: int) -> Iterator[int]:
        """Yield the offsets of the answers to a question, the last one first."""
        return (self._offsets[row] for row in self._find_answers(tag))

    def find_failure(self, tag: int) -> int | None:
        """Return the offset of the failure of a question, unless an answer followed it."""
        row = self._by_question.find(tag)
        return None if row < 0 or self._kinds[row] & (ANSWER | SUPERSEDED) else self._offsets[row]

    def count_incomplete(self, key: bytes, tag: int) -> int:
        """Return how often the answer with this key to a question was incomplete, over all runs."""
        row = self._by_question.find(tag)
        is_failure = row >= 0 and not self._kinds[row] & (ANSWER | SUPERSEDED) and self._keys[row] == hash(key)
        return self._contents[row] if is_failure else 0

    def find_superseded(self) -> "array[int]":
        """Return the offsets of the superseded lines, in order."""
        return array("q", (self._offsets[row] for row, kind in enumerate(self._kinds) if kind & SUPERSEDED))

    @property
    def has_superseded(self) -> bool:
        """Whether there are superseded lines."""
        return any(self._kinds.find(kind) >= 0 for kind in range(SUPERSEDED, 16) if kind & SUPERSEDED)

    def _find_answers(self, tag: int) -> Iterator[int]:
        row = self._by_question.find(tag)
        while row >= 0:
            if self._kinds[row] & ANSWER and not self._kinds[row] & SUPERSEDED:
                yield row
            row = self._previous[row]
