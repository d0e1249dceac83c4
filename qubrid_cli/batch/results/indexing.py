"""What a run knows of the lines of its results file, kept from run to run in a file beside it.

Reading a million lines takes 20 s of CPU. The saved index, 60 MB, takes 2 s, most of it for the SHA-256 of the lines: it
counts only if the results file begins with the very bytes that were indexed, so the two can never disagree. It can be
deleted at any time.
"""

import hashlib
import json
import os
import stat
import sys
from array import array
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

from ... import __version__
from ...files import get_hidden_path, open_atomic, remove_temporary_files
from ...operating_system import open_nonblocking
from .. import entries
from . import lines
from .index import ARRAY_TYPES, LineIndex

#: Reports how much of a job is done: its name, the bytes done, and the bytes of the whole.
ReportProgress = Callable[[str, int, int], None]

#: Reading stops at this many more damaged lines than results: it is not a results file.
_DAMAGED_LINES_LIMIT = 100
#: Lines between reports of progress, and the length of a line that is assumed for the size of the index.
_REPORT_LINES, _USUAL_LINE_BYTES = 1 << 14, 1_000
#: Room is made in the index for at most this many lines before they are read: the file may not be a results file.
_MAX_RESERVED_LINES = 1_400_000
#: Lines from which on an index is saved; and how many new ones, as a part of all, make it worth saving again.
_MIN_SAVED_LINES, _MIN_NEW_PART = 5_000, 0.01
_BLOCK_BYTES = 1 << 20
#: Of a saved index; one of another format is ignored. Raise the first number if the same lines give another index.
_FORMAT = [2, __version__, sys.byteorder, [array(code).itemsize for code in ARRAY_TYPES]]


class IndexedLines:
    """The lines of an open results file that were read.

    Args:
        report: shows the progress of long work.

    Attributes:
        damaged: offset and number of each damaged line.
        size: the bytes of all lines.
        result_count: lines that are not damaged.
    """

    def __init__(self, report: ReportProgress) -> None:
        self.index = LineIndex()
        self.damaged: list[tuple[int, int]] = []
        self.size = self.result_count = 0
        self._line_count = self._saved_count = 0
        self._report = report
        self._scanner = lines.LineScanner()
        self._hasher = hashlib.sha256()

    def read_all(self, descriptor: int, path: Path) -> None:
        """Index a whole file, or take over its saved index.

        Args:
            path: of the file itself, not of a link.

        Raises:
            NotResultsError: it is not a results file.
        """
        if not self._load(descriptor, path):
            self.index.reserve(min(os.fstat(descriptor).st_size // _USUAL_LINE_BYTES, _MAX_RESERVED_LINES))
        self.read_new(descriptor, is_checked=True)

    def read_new(self, descriptor: int, *, is_checked: bool = False) -> None:
        """Index the lines that were appended.

        Raises:
            NotResultsError: a line is longer than any line of a results file; with ``is_checked``, also if there are too
                many damaged lines.
        """
        end = os.fstat(descriptor).st_size
        if end <= self.size:
            return
        for offset, next_offset, line in self._scanner.scan(descriptor, self.size, self._hasher):
            self.size = next_offset
            self._line_count += 1
            if isinstance(line, lines.LineRow):
                self.result_count += 1
                self.index.add(offset, line)
            else:
                self._add_decoded(offset, line)
                if is_checked and len(self.damaged) > self.result_count + _DAMAGED_LINES_LIMIT:
                    raise lines.NotResultsError
            if not self._line_count % _REPORT_LINES:
                self._report("reading", self.size, end)

    def _add_decoded(self, offset: int, data: bytes) -> None:
        line = entries.parse_line(data)
        if line is None:
            if data.strip():
                self.damaged.append((offset, self._line_count))
            return
        self.result_count += 1
        if (row := line.row) is not None:
            self.index.add(offset, row)

    def follow_rewriting(self, starts: "array[int]", lengths: "array[int]", hasher: Any) -> None:
        """Remove superseded and damaged lines, because the file has been rewritten without them.

        Args:
            starts: see ``LineIndex.remove_superseded``.
            lengths: likewise.
            hasher: the SHA-256 of the new file.
        """
        self.index.remove_superseded(starts, lengths)
        self._line_count -= len(starts)
        self.result_count -= len(starts) - len(self.damaged)
        self.size -= sum(lengths)
        self.damaged = []
        self._hasher = hasher
        self._saved_count = 0

    def save(self, path: Path) -> None:
        """Save the index for the next run, if reading the lines takes much longer than reading it.

        Args:
            path: of the results file itself, not of a link.
        """
        count = len(self.index)
        if count < _MIN_SAVED_LINES or count - self._saved_count < _MIN_NEW_PART * count:
            return
        state, arrays = self.index.dump()
        state |= {
            "format": _FORMAT,
            "size": self.size,
            "sha256": self._hasher.hexdigest(),
            "line_count": self._line_count,
            "result_count": self.result_count,
            "damaged": self.damaged,
            "lengths": [len(part) for part in arrays],
        }
        header = json.dumps(state).encode() + b"\n"
        index_path = _get_index_path(path)
        with suppress(OSError):  # a full disk or a read-only folder
            mode = stat.S_IMODE(path.stat().st_mode)
            remove_temporary_files(index_path)  # if another run is saving the index now, this one is just as good
            with open_atomic(index_path, mode=mode, sync=False, wait=False) as file:
                file.write(header)
                for part in arrays:
                    part.tofile(file)
                file.write(_compute_check(header, arrays))

    def _load(self, descriptor: int, path: Path) -> bool:
        """Take over the saved index; false if there is none, or if it is not about this file."""
        try:
            with open(_get_index_path(path), "rb", opener=open_nonblocking) as file:
                header = file.readline(lines.MAX_LINE_BYTES)
                state = json.loads(header)
                if state["format"] != _FORMAT:
                    return False
                arrays = _read_arrays(file, state["lengths"])
                if file.read() != _compute_check(header, arrays) or not self._has_bytes(descriptor, state):
                    return False
        except (OSError, ValueError, LookupError, TypeError, RecursionError, EOFError):
            return False
        self.index = LineIndex.load(state, arrays)
        self.damaged = [(offset, number) for offset, number in state["damaged"]]
        self.size, self.result_count = state["size"], state["result_count"]
        self._line_count, self._saved_count = state["line_count"], len(self.index)
        return True

    def _has_bytes(self, descriptor: int, state: Mapping[str, Any]) -> bool:
        """Whether the file begins with the lines of a saved index; if so, their hash is kept."""
        offset, size = 0, state["size"]
        hasher = hashlib.sha256()
        while chunk := lines.read_at(descriptor, offset, min(_BLOCK_BYTES, size - offset)):
            hasher.update(chunk)
            offset += len(chunk)
            self._report("reading", offset, size)
        if offset < size or hasher.hexdigest() != state["sha256"]:
            return False
        self._hasher = hasher
        return True


def _get_index_path(path: Path) -> Path:
    return get_hidden_path(path, ".index")


def _read_arrays(file: BinaryIO, lengths: Sequence[int]) -> list["array[int]"]:
    """Read arrays of these lengths.

    Raises:
        EOFError: the file is shorter.
    """
    arrays = [array(code) for code in ARRAY_TYPES]
    size = sum(part.itemsize * length for part, length in zip(arrays, lengths, strict=True))
    if size > os.fstat(file.fileno()).st_size:
        raise EOFError
    for part, length in zip(arrays, lengths, strict=True):
        part.fromfile(file, length)
    return arrays


def _compute_check(header: bytes, arrays: Iterable["array[int]"]) -> bytes:
    hasher = hashlib.sha256(header)
    for part in arrays:
        hasher.update(part)
    return hasher.digest()
