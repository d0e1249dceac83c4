"""An index of the lines of a results file: about 60 bytes for each line, whatever its length.

Lines are found by their key (an answer), or by their question (an image and a prompt). Texts are kept as hashes of 64
bits, so a line is read and compared before it counts.
"""

from array import array
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate
from math import ceil, log2
from typing import Any, NamedTuple

from .lines import ANSWER, DUPLICATE, HAS_PATH, LOWER_HALF, SUPERSEDED, LineRow, hash_digest

#: The table of hashes grows when it is fuller than this.
_MAX_LOAD = 0.7
#: The columns of an index, and what they consist of; the last two types are those of the hash tables.
_COLUMNS = ("_offsets", "_keys", "_questions", "_contents", "_previous", "_sources_at", "_paths_at", "_kinds")
ARRAY_TYPES = "QQQQiHIBII"


class _HashTable:
    """Finds the row that was stored last for a hash. An open-addressing table, because a ``dict`` takes 100 bytes a row.

    Args:
        tags: the hash of each row.
    """

    def __init__(self, tags: "array[int]") -> None:
        self._tags = tags
        self.slots = array("I")
        self.count = self._mask = 0
        self._limit = 0.0
        self.reserve(0)

    def find(self, tag: int) -> int:
        """Return the row for a hash; -1 if there is none."""
        return self.slots[self._find_slot(tag)] - 1

    def replace(self, tag: int, row: int) -> int:
        """Store the row for a hash; return the one that it replaces, or -1."""
        slots, tags, mask = self.slots, self._tags, self._mask
        slot = tag & mask
        while (other := slots[slot]) and tags[other - 1] != tag:
            slot = (slot + 1) & mask
        slots[slot] = row + 1
        if not other:
            self.count += 1
            if self.count > self._limit:
                self.reserve(2 * self.count)
        return other - 1

    def reserve(self, count: int) -> None:
        """Make room for a number of hashes."""
        size = 1 << max(10, ceil(log2((count + 1) / _MAX_LOAD)))
        if size <= len(self.slots):
            return
        old = self.slots
        self.use_slots(array("I", bytes(4 * size)), self.count)
        for row in old:
            if row:
                self.slots[self._find_slot(self._tags[row - 1])] = row

    def use_slots(self, slots: "array[int]", count: int) -> None:
        """Take over slots in which ``count`` hashes are stored; the number of slots is a power of two."""
        self.slots, self.count = slots, count
        self._mask, self._limit = len(slots) - 1, _MAX_LOAD * len(slots)

    def _find_slot(self, tag: int) -> int:
        slots, tags, mask = self.slots, self._tags, self._mask
        slot = tag & mask
        while (row := slots[slot]) and tags[row - 1] != tag:
            slot = (slot + 1) & mask
        return slot


class AnswerPlace(NamedTuple):
    """Where an answer is.

    Attributes:
        offset: of its line.
        key: the hash of its key.
        source_at: where the name of the image stands in the line; 0 if that is unknown, and so is ``path_at``.
        path_at: the same of the path.
    """

    offset: int
    key: int
    source_at: int
    path_at: int


class LineIndex:
    """The lines of a results file, and which of them later ones supersede.

    Of the failures of one question, only the last stays, and none that was followed by an answer. Of the answers with
    one key about one image, the last stays. If an image has changed, the answers of the same model to the same prompt
    about its earlier content go; but only if the lines say which file it is.
    """

    def __init__(self) -> None:
        self._offsets = array("Q")
        self._keys = array("Q")
        self._questions = array("Q")
        # Of an answer, the hashes of content and model; of a failure, how often the answer was incomplete.
        self._contents = array("Q")
        self._previous = array("i")  # the row before with the same question
        self._sources_at = array("H")
        self._paths_at = array("I")
        self._kinds = array("B")
        self._has_pathless = False  # there are lines without a path, as earlier versions wrote them
        self._by_key = _HashTable(self._keys)
        self._by_question = _HashTable(self._questions)

    def __len__(self) -> int:
        """The number of lines."""
        return len(self._offsets)

    def reserve(self, count: int) -> None:
        """Make room for a number of lines."""
        self._by_key.reserve(count)
        self._by_question.reserve(count)

    def add(self, offset: int, line: LineRow) -> None:
        """Add the line at an offset, which is after those of all other lines."""
        row = len(self._offsets)
        key, question, kind, content, source_at, path_at = line
        tag = question.tag
        self._keys.append(key)  # before the tables refer to them
        self._questions.append(tag)
        if not kind & HAS_PATH:
            self._has_pathless = True
        elif self._has_pathless:
            self._supersede(self._by_question.find(question.name_tag), kind, key, content)
        previous = self._by_question.replace(tag, row)
        if previous >= 0:
            previous = self._supersede(previous, kind, key, content)
        self._offsets.append(offset)
        self._contents.append(content)
        self._previous.append(previous)
        self._sources_at.append(source_at)
        self._paths_at.append(path_at)
        self._kinds.append(kind)
        self._add_key(row, kind, key)

    def _add_key(self, row: int, kind: int, key: int) -> None:
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
                    # Another image content, the same model, and both lines say which file it is.
                    has_changed = difference & LOWER_HALF and not difference >> 32 and kind & other & HAS_PATH
                    is_superseded = self._keys[row] == key or bool(has_changed)
                if is_superseded:
                    kinds[row] |= SUPERSEDED
                elif newest < 0:
                    newest = row
            row = self._previous[row]
        return newest

    def find_answer(self, key: bytes) -> int | None:
        """Return the offset of the last answer with this key that is not a copy, else of the first copy."""
        row = self._by_key.find(hash_digest(key))
        return None if row < 0 else self._offsets[row]

    def has_own_answer(self, key: bytes, tag: int, *, since: int) -> bool:
        """Whether there is an answer with this key to a question, at an offset from ``since`` on."""
        key_hash = hash_digest(key)
        return any(place.key == key_hash and place.offset >= since for place in self.find_answers(tag))

    def find_answers(self, tag: int) -> Iterator[AnswerPlace]:
        """Yield the places of the answers to a question, the last one first."""
        row = self._by_question.find(tag)
        while row >= 0:
            if self._kinds[row] & ANSWER and not self._kinds[row] & SUPERSEDED:
                yield AnswerPlace(self._offsets[row], self._keys[row], self._sources_at[row], self._paths_at[row])
            row = self._previous[row]

    def find_failure(self, tag: int) -> int | None:
        """Return the offset of the failure of a question, unless an answer followed it."""
        row = self._by_question.find(tag)
        return None if row < 0 or self._kinds[row] & (ANSWER | SUPERSEDED) else self._offsets[row]

    def count_incomplete(self, key: bytes, tag: int) -> int:
        """Return how often the answer with this key to a question was incomplete, over all runs."""
        row = self._by_question.find(tag)
        is_failure = row >= 0 and not self._kinds[row] & (ANSWER | SUPERSEDED) and self._keys[row] == hash_digest(key)
        return self._contents[row] if is_failure else 0

    def find_superseded(self) -> "array[int]":
        """Return the offsets of the superseded lines, in order."""
        return array("Q", (self._offsets[row] for row in self._find_superseded()))

    @property
    def has_superseded(self) -> bool:
        """Whether there are superseded lines."""
        return next(self._find_superseded(), None) is not None

    def _find_superseded(self) -> Iterator[int]:
        kinds = self._kinds.tobytes()
        if any(kinds.find(kind) >= 0 for kind in range(SUPERSEDED, 16) if kind & SUPERSEDED):
            yield from (row for row, kind in enumerate(kinds) if kind & SUPERSEDED)

    def remove_superseded(self, starts: "array[int]", lengths: "array[int]") -> None:
        """Remove the superseded lines, because the file has been rewritten without them.

        Args:
            starts: the offsets of all ranges of bytes that were removed from the file, in order.
            lengths: of these ranges, in bytes.
        """
        superseded = array("i", self._find_superseded())
        shifts = array("Q", accumulate(lengths, initial=0))
        self._offsets = array("Q", (offset - shifts[bisect_left(starts, offset)] for offset in self._offsets))
        self._previous = array("i", self._find_previous_kept(superseded))
        for name in _COLUMNS:
            setattr(self, name, _remove_rows(getattr(self, name), superseded))
        self._by_key, self._by_question = _HashTable(self._keys), _HashTable(self._questions)
        self.reserve(len(self))
        for row, kind in enumerate(self._kinds):
            self._by_question.replace(self._questions[row], row)
            self._add_key(row, kind, self._keys[row])

    def _find_previous_kept(self, superseded: "array[int]") -> Iterator[int]:
        """Yield the previous row of each row, as if superseded rows had been removed."""
        for previous in self._previous:
            row = previous
            while row >= 0 and self._kinds[row] & SUPERSEDED:
                row = self._previous[row]
            yield row if row < 0 else row - bisect_left(superseded, row)

    def dump(self) -> tuple[dict[str, Any], list["array[int]"]]:
        """Return what ``load`` needs: values for JSON, and arrays of ``ARRAY_TYPES``."""
        tables = (self._by_key, self._by_question)
        state = {"has_pathless": self._has_pathless, "counts": [table.count for table in tables]}
        return state, [*(getattr(self, name) for name in _COLUMNS), *(table.slots for table in tables)]

    @classmethod
    def load(cls, state: Mapping[str, Any], arrays: Sequence["array[int]"]) -> "LineIndex":
        """Restore an index from the result of ``dump``."""
        index = cls()
        for name, column in zip(_COLUMNS, arrays, strict=False):
            setattr(index, name, column)
        index._has_pathless = state["has_pathless"]
        index._by_key, index._by_question = _HashTable(index._keys), _HashTable(index._questions)
        for table, slots, count in zip((index._by_key, index._by_question), arrays[-2:], state["counts"], strict=True):
            table.use_slots(slots, count)
        return index


def _remove_rows(column: "array[int]", rows: "array[int]") -> "array[int]":
    kept, begin = array(column.typecode), 0
    for row in rows:
        kept += column[begin:row]
        begin = row + 1
    return kept + column[begin:]
