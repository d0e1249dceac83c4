"""Read what runs have written, each answer once, in order.

Nothing is changed or locked, so a run may go on writing. Only the position and the name of each line are in memory.
"""

import json
import os
from array import array
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from ...errors import StorageError
from ...frozen import frozen
from ...text import json_text, natural_key
from ...urls import is_object_url
from .. import entries
from . import lines
from .corrections import (
    Correction,
    append_correction,
    apply_correction,
    check_correction,
    identify_answer,
    is_unchanged,
)
from .index import LineIndex
from .opening import OpenResults, ResultsFiles, build_foreign_file_error

#: A file that begins with more damaged lines is not read to its end: it is not a results file.
_MAX_FOREIGN_LINES = 100
#: The position of images without one: after all others.
_NO_INDEX = 1 << 62
#: Bytes read at once; a usual line has less.
_READ_BYTES = 1 << 13
#: What a loss of power leaves at the end of a file, and line breaks of Windows.
_BLANKS = b"\0 \t\r"
#: Windows' programs begin UTF-8 with it.
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


@frozen
class RecordedResult:
    """A result: what a run recorded about an image.

    Attributes:
        record: its line, with its correction applied, if there is one.
        folder: to which the paths of the record are relative.
    """

    record: dict[str, Any]
    folder: str
    correction: Correction | None


class ResultsReader:
    """The results in some files, without those that later ones supersede.

    Of the answers about one image with the same key, the last one counts. A failure counts if there is no answer with its
    key; if it has no key, none about the same image by the same model to the same prompt.

    Args:
        in_list_order: as the images were in the list or the folders of the run; otherwise by their names.

    Attributes:
        notes: what the user should know about the files.

    Raises:
        UsageError: a file contains something else.
    """

    def __init__(self, files: ResultsFiles, *, in_list_order: bool = False) -> None:
        self._files = files.files
        self._corrections = files.corrections
        self.notes = list(files.notes)
        self._index = LineIndex()
        self._offsets = array("q")
        self._file_numbers = array("I")
        self._sort_keys: list[tuple[Any, Any]] = []
        self._failures: list[tuple[int, str | None, int]] = []  # number, key and tag of each
        for file_number, file in enumerate(self._files):
            self._index_file(file_number, file)
        self._order = self._choose(in_list_order=in_list_order)

    def __len__(self) -> int:
        """The number of results."""
        return len(self._order)

    def __getitem__(self, position: int) -> RecordedResult:
        """The result at a position, from 0."""
        result, _ = self._read(position)
        return result

    def __iter__(self) -> Iterator[RecordedResult]:
        """Read all results, one after another."""
        return (self[position] for position in range(len(self)))

    def iterate_records(self, folder: str | None = None) -> Iterator[dict[str, Any]]:
        """Yield all records; with a folder, their paths are relative to it."""
        return (_move(self[position], folder) for position in range(len(self)))

    def correct(self, position: int, path: Path, *, text: str | None, is_bad: bool) -> RecordedResult:
        """Save the correction of a result; return the corrected result, as it is read from now on.

        Args:
            path: the file of corrections for a result that is in no local file.
            text: what the answer should be. If the model wrote the same, an earlier correction is taken back.

        Raises:
            ValueError: the text cannot replace the answer; the message is a sentence for the user.
            OutputError: the file cannot be written.
        """
        record, _, _ = self._read_record(position)
        path = self._files[self._file_numbers[self._order[position]]].corrections_file or path
        if text is not None:
            check_correction(record, text)
        if text is None or is_unchanged(record, text):
            text = None
        self._corrections.add(record, append_correction(path, record, text=text, is_bad=is_bad))
        return self[position]

    def iterate_lines(self, folder: str) -> Iterator[bytes]:
        """Yield the lines of all records, with paths relative to a folder; a line in which nothing changes is as it was read."""
        for position in range(len(self)):
            result, line = self._read(position)
            record = _move(result, folder)
            if record is not result.record or result.correction is not None:
                line = json_text(record).encode()
            yield line + b"\n"

    def _index_file(self, file_number: int, file: OpenResults) -> None:
        damaged: list[int] = []
        has_result = False
        for number, (offset, line, is_complete) in enumerate(_iterate_lines(file), 1):
            if self._index_line(file_number, offset, line):
                has_result = True
            elif not is_complete and has_result and entries.is_torn(line):
                self.notes.append(f"incomplete: the last line of {file.name}, ignored")
            elif line.strip(_BLANKS):
                damaged.append(number)
                if not has_result and number > _MAX_FOREIGN_LINES:
                    break
        if damaged and not has_result:
            raise build_foreign_file_error(file.name)
        if damaged:
            self.notes.append(lines.format_damaged_note(file.name, damaged, "ignored"))

    def _index_line(self, file_number: int, offset: int, data: bytes) -> bool:
        """Index a line; false if it is not a result."""
        line = entries.parse_line(data.removeprefix(_BYTE_ORDER_MARK))
        if line is None or not line.sources:
            return False
        number, record = len(self._offsets), line.record
        path = find_path(record, self._files[file_number].folder)
        row = replace(line, key=identify_answer(record), record={**record, "path": path}).row
        assert row is not None  # it has a key
        prompt = row.question.prompt + lines.quote(find_requested_model(record))  # each model has its own answer
        row = row._replace(question=row.question._replace(prompt=prompt))
        self._index.add(number, row)  # the number stands for the offset
        if not line.is_ok:
            self._failures.append((number, line.key, row.question.tag))
        self._offsets.append(offset)
        self._file_numbers.append(file_number)
        index = record.get("index")
        self._sort_keys.append((natural_key(line.sources[0]), index if isinstance(index, int) else _NO_INDEX))
        return True

    def _choose(self, *, in_list_order: bool) -> "array[int]":
        """Return the numbers of the lines that count, in order."""
        is_left_out = bytearray(len(self._offsets))
        for number in self._index.find_superseded():
            is_left_out[number] = 1
        for number, key, tag in self._failures:
            if key is None:
                is_left_out[number] |= next(self._index.find_answers(tag), None) is not None
            else:
                is_left_out[number] |= self._index.has_own_answer(lines.quote(key), tag, since=0)
        keys, self._sort_keys, self._index = self._sort_keys, [], LineIndex()  # frees their memory
        if in_list_order:
            keys = [(index, name) for name, index in keys]
        numbers = (number for number, left_out in enumerate(is_left_out) if not left_out)
        return array("q", sorted(numbers, key=keys.__getitem__))

    def _read(self, position: int) -> tuple[RecordedResult, bytes]:
        """Read a result, and the line of it."""
        record, folder, line = self._read_record(position)
        correction = self._corrections.find(record)
        record = record if correction is None else apply_correction(record, correction)
        return RecordedResult(record, folder, correction), line

    def _read_record(self, position: int) -> tuple[dict[str, Any], str, bytes]:
        """Read a record as the model wrote it, the folder of its paths, and its line."""
        number = self._order[position]
        file = self._files[self._file_numbers[number]]
        data = _read_line(file.file.fileno(), self._offsets[number]).removeprefix(_BYTE_ORDER_MARK)
        try:
            record = json.loads(data)
            identify_answer(record)
        except (ValueError, TypeError, AttributeError) as error:  # when it was indexed, it was a result
            message = f"{file.name} was changed while it was read"
            raise StorageError(message, hint="Run the command again.") from error
        return record, file.folder, data.strip()


def find_path(record: Mapping[str, Any], folder: str) -> str | None:
    """The absolute path of the image that a record is about, or its URL; ``None`` if the record does not say it."""
    path = record.get("path")
    if not isinstance(path, str) or is_object_url(path):
        return path if isinstance(path, str) else None
    return os.path.normpath(os.path.join(folder, path))


def find_requested_model(record: Mapping[str, Any]) -> str | None:
    """The model that was asked; in records of earlier versions, the one that the server named."""
    request = record.get("request")
    model = request.get("model") if isinstance(request, Mapping) else record.get("model")
    return model if isinstance(model, str) else None


def _iterate_lines(file: OpenResults) -> Iterator[tuple[int, bytes, bool]]:
    """Yield the lines of a file, each with its offset, and whether it has an end.

    Raises:
        UsageError: a line is longer than any line of a results file.
    """
    descriptor, end = file.file.fileno(), 0
    try:
        for offset, line in lines.read_lines(descriptor):
            yield offset, line, True
            end = offset + len(line) + 1
    except lines.NotResultsError as error:
        raise build_foreign_file_error(file.name) from error
    if last := _read_line(descriptor, end):
        yield end, last, False


def _read_line(descriptor: int, offset: int) -> bytes:
    """Read the line at an offset, also the last one of a file if it has no end."""
    pieces = []
    while chunk := lines.read_at(descriptor, offset, _READ_BYTES):
        piece, line_break, _ = chunk.partition(b"\n")
        pieces.append(piece)
        if line_break:
            break
        offset += len(chunk)
    return b"".join(pieces)


def _move(result: RecordedResult, folder: str | None) -> dict[str, Any]:
    """The record of a result, with paths relative to a folder."""
    return result.record if folder is None else entries.move_record(result.record, result.folder, folder)
