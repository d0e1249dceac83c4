r"""Lists of images: a name per line, names separated by NULs, a JSON object per line, or CSV with a header.

Names are bytes. Those that are not UTF-8 become Python's surrogate escapes, in JSON ``\udc80`` to ``\udcff``; on Windows
they are decoded as its own programs write them. A list may be UTF-16 with a byte order mark.
"""

import codecs
import csv
import io
import json
import os
import random
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO, cast

from ...errors import UsageError
from ...frozen import frozen
from ...images.sources import is_url
from ...operating_system import get_list_encodings
from ...text import find_encoding, quote_name

#: The ``id`` of an image in a list.
ImageId = str | int | float | None

#: Encodings of lists that are not UTF-8; empty where names are bytes.
_ENCODINGS = get_list_encodings()
_CHUNK_SIZE = 1 << 16
#: Bytes that are read at once to count rows, and around a random row: they hold it and the end of the one before.
_COUNT_CHUNK_SIZE, _WINDOW_SIZE = 1 << 20, 1 << 14
#: The beginning of a JSON object; ``{1}.jpg`` is a name.
_OBJECT_START = re.compile(rb'\s*\{\s*("|\}\s*\Z)')
IMAGE_COLUMN = "image"
#: What separates the cells of a row: a comma, what Excel writes in half of Europe, and a tab.
_DELIMITERS = (",", ";", "\t")
#: Characters of the longest cell; Python's own limit is 131,072.
_MAX_CELL_LENGTH = 1 << 24
_TABLE_SUFFIX = re.compile(r"\.(csv|tsv)\Z", re.IGNORECASE)


@frozen
class ListLine:
    """A name in a list of lines, such as ``find`` prints."""

    image: str


@frozen
class ListEntry:
    """A row of a JSONL or CSV list; ``prompt`` and ``id`` apply to this image only.

    Attributes:
        row: the values of the other columns; ``None`` for a list that has none.
    """

    image: str
    prompt: str | None = None
    id: ImageId = None
    row: Mapping[str, Any] | None = None


@frozen
class InvalidListEntry:
    """A row of a JSONL or CSV list that is not a valid entry; the reason is the end of a sentence."""

    line_number: int
    reason: str


#: A list: a file, a stream, or a function that opens a list in a bucket.
ListFile = Path | BinaryIO | Callable[[], BinaryIO]
ListItem = ListLine | ListEntry | InvalidListEntry


def open_list(list_file: ListFile) -> AbstractContextManager[BinaryIO]:
    """Open a list; a stream is not closed at the end."""
    if isinstance(list_file, Path):
        return list_file.open("rb")
    return list_file() if callable(list_file) else nullcontext(list_file)


class _RewoundStream(io.RawIOBase):
    """A stream that yields its first bytes again after they were read, also if it cannot be rewound itself."""

    def __init__(self, head: bytes, stream: BinaryIO) -> None:
        self._head = io.BytesIO(head)
        self._stream = stream

    def read(self, size: int = -1, /) -> bytes:
        return self._head.read(size) or self._stream.read(size)

    def readline(self, size: int | None = -1, /) -> bytes:
        line = self._head.readline(size)
        return line if line.endswith(b"\n") else line + self._stream.readline(-1 if size is None else size)


def _detect_nul(stream: BinaryIO, *, is_nul_separated: bool | None) -> tuple[BinaryIO, bool]:
    """Detect whether names end with NUL, if that is ``None``; return the stream, from its start on, and the result."""
    if is_nul_separated is not None:
        return stream, is_nul_separated
    head = stream.read(_CHUNK_SIZE)
    while b"\0" not in head and b"\n" not in head and (chunk := stream.read(_CHUNK_SIZE)):
        head += chunk
    return cast("BinaryIO", _RewoundStream(head, stream)), b"\0" in head and find_encoding(head) != "utf-16"


def read_items(
    stream: BinaryIO, *, is_nul_separated: bool | None = False, image_column: str | None = None
) -> Iterator[ListItem]:
    """Read the items of a list one at a time, skipping blank lines.

    The first line that is not blank decides: if it begins like a JSON object, every line must be one; if it names the
    column of the images, it is the header of a CSV file.

    Args:
        is_nul_separated: names end with NUL instead of a line break, as from ``find -print0``; then the list has only
            names. ``None`` to detect that.
        image_column: the column of the images, or key of the objects; by default ``image``.
    """
    stream, is_nul_separated = _detect_nul(stream, is_nul_separated=is_nul_separated)
    if is_nul_separated:
        yield from (ListLine(decode_name(name)) for name in _split_names(stream) if name)
        return
    lines = enumerate(_read_lines(stream), 1)
    start, first = next(((number, line) for number, line in lines if line.strip()), (0, b""))
    form = _find_form(first, image_column)
    if isinstance(form, _Table):
        yield from form.read_rows(line for _, line in lines)
        return
    for number, line in chain([(start, first)], lines):
        if line.strip():
            yield form.parse(line, number)


def find_columns(
    list_file: ListFile, name: str, *, is_nul_separated: bool | None = False, image_column: str | None = None
) -> Sequence[str] | None:
    """The columns besides those of the image, the prompt and the id; ``None`` if the list has only names of images.

    Args:
        name: of the list, for errors.

    Raises:
        UsageError: the list has no column of images.
    """
    with open_list(list_file) as opened:
        stream, is_nul_separated = _detect_nul(opened, is_nul_separated=is_nul_separated)
        if is_nul_separated:
            return None
        first = next((line for line in _read_lines(stream) if line.strip()), b"")
    form = _find_form(first, image_column)
    if isinstance(form, _Table):
        return form.columns
    if isinstance(form, _Objects):
        entry = form.parse(first, 1)
        return list(entry.row) if isinstance(entry, ListEntry) and entry.row is not None else None
    text = decode_name(first).strip()
    is_table = image_column is not None or (
        _TABLE_SUFFIX.search(name) and not is_url(text) and not os.path.exists(text)
    )
    if first and is_table:
        header = max((_split_cells(text, delimiter) for delimiter in _DELIMITERS), key=len)
        hint = f"Name it: --image-column {quote_name(header[0])}. The columns: {', '.join(header)}"
        raise UsageError(f"{quote_name(name)} has no column {image_column or IMAGE_COLUMN}", hint=hint)
    return None


def sample_items(
    path: Path,
    count: int,
    rng: random.Random,
    *,
    is_nul_separated: bool | None = False,
    image_column: str | None = None,
) -> tuple[int, list[ListItem]]:
    """Count the rows of a list, and read a few rows at random places.

    A row after a long one is a little more likely to be read.

    Args:
        count: of random places.
    """
    with _open_as_utf8(path) as stream:
        is_nul_separated = _detect_nul(stream, is_nul_separated=is_nul_separated)[1]
        stream.seek(0)
        separator = b"\0" if is_nul_separated else b"\n"
        row_count = sum(chunk.count(separator) for chunk in iter(lambda: stream.read(_COUNT_CHUNK_SIZE), b""))
        size = stream.tell()
        stream.seek(0)
        form: _ListForm = _Names()
        if not is_nul_separated:
            form = _find_form(next((line for line in _read_lines(stream) if line.strip()), b""), image_column)
        items: list[ListItem] = []
        for _ in range(count):
            stream.seek(rng.randrange(size))
            window = stream.read(_WINDOW_SIZE)
            start = window.find(separator) + 1
            end = window.find(separator, start)
            row = window[start:end] if 0 < start <= end else b""
            if row.strip():
                items.append(form.parse(row, 0))
    return row_count, items


def decode_name(name: bytes, *, encodings: Sequence[str] = _ENCODINGS) -> str:
    """Decode the name of a file; where names are bytes, as ``os.fsdecode`` does.

    Args:
        encodings: of names that are not UTF-8; the first one in which a file of this name exists wins.
    """
    if not encodings:
        return os.fsdecode(name)
    try:
        return name.decode()
    except UnicodeDecodeError:
        names = [name.decode(encoding, errors="replace") for encoding in encodings]
        return next(filter(os.path.lexists, names), names[0])


def _decode_text(line: bytes) -> str:
    try:
        return line.decode()
    except UnicodeDecodeError:
        return line.decode(_ENCODINGS[0]) if _ENCODINGS else line.decode(errors="surrogateescape")


def _open_as_utf8(path: Path) -> BinaryIO:
    with open(path, "rb") as stream:
        if find_encoding(stream.read(2)) == "utf-16":
            stream.seek(0)
            return io.BytesIO(stream.read().decode("utf-16", errors="replace").encode())
    return open(path, "rb")


def _read_lines(stream: BinaryIO) -> Iterator[bytes]:
    """The lines with their ends, in UTF-8 without a byte order mark at the start."""
    first = stream.readline()
    lines = _decode_utf16(stream, first) if find_encoding(first) == "utf-16" else chain([first], stream)
    for number, line in enumerate(lines):
        yield line.removeprefix(codecs.BOM_UTF8) if number == 0 else line


def _decode_utf16(stream: BinaryIO, beginning: bytes) -> Iterator[bytes]:
    """Yield the lines of a list in UTF-16, encoded in UTF-8."""
    chunks = chain([beginning], iter(lambda: stream.read(_CHUNK_SIZE), b""))
    last_line = ""
    for text in codecs.iterdecode(chunks, "utf-16", errors="replace"):
        *lines, last_line = (last_line + text).split("\n")
        for line in lines:
            yield f"{line}\n".encode(errors="replace")
    yield last_line.encode(errors="replace")


def _split_names(stream: BinaryIO) -> Iterator[bytes]:
    last_name = b""
    while chunk := stream.read(_CHUNK_SIZE):
        *names, last_name = (last_name + chunk).split(b"\0")
        yield from names
    yield last_name


@frozen
class _Names:
    """The form of a list of names."""

    def parse(self, line: bytes, _: int) -> ListItem:
        """Return the item that a line names."""
        return ListLine(decode_name(line.removesuffix(b"\n").removesuffix(b"\r")))


@frozen
class _Objects:
    """The form of a JSONL list.

    Attributes:
        image_column: the key of the image.
        has_rows: whether there are other keys than those of the image, the prompt and the id.
    """

    image_column: str
    has_rows: bool = True

    def parse(self, line: bytes, number: int) -> ListItem:
        """Return the item that a line describes."""
        try:
            entry: Any = json.loads(_decode_text(line), parse_constant=lambda _: None)
        except (ValueError, RecursionError) as error:
            return InvalidListEntry(number, f"is not valid JSON: {error}")
        image = entry.pop(self.image_column, None) if isinstance(entry, dict) else None
        if not isinstance(image, str) or not image:
            return InvalidListEntry(number, f'is not an object with an "{self.image_column}"')
        prompt, image_id, failure = (entry.pop(name, None) for name in ("prompt", "id", "error"))
        if not isinstance(prompt, str | None):
            return InvalidListEntry(number, 'has a "prompt" that is not a string')
        if not isinstance(image_id, str | int | float | None):
            return InvalidListEntry(number, 'has an "id" that is neither a string nor a number')
        if failure is not None and not _is_failure(failure):
            entry["error"] = failure
        return ListEntry(image, prompt, image_id, entry if entry or self.has_rows else None)


def _is_failure(error: object) -> bool:
    """Whether a value is an error as ``--failures`` writes it."""
    return isinstance(error, dict) and {"code", "message", "hint"} <= error.keys()


@frozen
class _Table:
    """The form of a CSV list."""

    header: Sequence[str]
    delimiter: str
    image_column: str

    @property
    def columns(self) -> Sequence[str]:
        """The columns besides those of the image, the prompt and the id."""
        return [name for name in self.header if name and name not in {self.image_column, "prompt", "id"}]

    def read_rows(self, lines: Iterable[bytes]) -> Iterator[ListItem]:
        """Read the rows after the header; a quoted cell may have line breaks."""
        csv.field_size_limit(_MAX_CELL_LENGTH)
        reader = csv.reader((_decode_text(line) for line in lines), delimiter=self.delimiter)
        while True:
            try:
                cells = next(reader, None)
            except csv.Error as error:
                yield InvalidListEntry(reader.line_num + 1, f"is not valid CSV: {error}")
                continue
            if cells is None:
                return
            if any(cells):
                yield self._build_entry(cells, reader.line_num + 1)

    def parse(self, line: bytes, number: int) -> ListItem:
        """Return the item that a single line describes."""
        return self._build_entry(_split_cells(_decode_text(line), self.delimiter), number)

    def _build_entry(self, cells: Sequence[str], number: int) -> ListItem:
        if len(cells) > len(self.header):
            return InvalidListEntry(number, f"has {len(cells)} cells, but the header has {len(self.header)}")
        values = dict(zip(self.header, [*cells, *[""] * (len(self.header) - len(cells))], strict=True))
        if not values[self.image_column].strip():
            return InvalidListEntry(number, f"has no value in the column {self.image_column}")
        row = {name: values[name] for name in self.columns}
        return ListEntry(values[self.image_column], values.get("prompt") or None, values.get("id") or None, row or None)


_ListForm = _Names | _Objects | _Table


def _find_form(first: bytes, image_column: str | None) -> _ListForm:
    """Detect the form of a list from its first line."""
    column = image_column or IMAGE_COLUMN
    if _OBJECT_START.match(first):
        entry = _Objects(column, has_rows=False).parse(first, 1)
        return _Objects(column, has_rows=isinstance(entry, ListEntry) and entry.row is not None)
    text = _decode_text(first)
    headers = [(_split_cells(text, delimiter), delimiter) for delimiter in _DELIMITERS]
    header, delimiter = max(headers, key=lambda pair: (column in pair[0], len(pair[0])))
    return _Table(header, delimiter, column) if column in header else _Names()


def _split_cells(line: str, delimiter: str) -> list[str]:
    """Split a single line into its cells."""
    try:
        return [cell.strip() for cell in next(csv.reader([line], delimiter=delimiter), [])]
    except csv.Error:
        return [line]
