r"""Lists of images: a name per line, names separated by NULs, or a JSON object per line.

Names are bytes. Those that are not UTF-8 become Python's surrogate escapes, in JSON ``\udc80`` to ``\udcff``; on Windows
they are decoded as its own programs write them. A list may be UTF-16 with a byte order mark.
"""

import codecs
import io
import json
import os
import random
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO

from ..frozen import frozen
from ..operating_system import get_list_encodings
from ..text import find_encoding

#: The ``id`` of an image in a list.
ImageId = str | int | float | None

_CHUNK_SIZE = 1 << 16
#: Bytes that are read at once to count rows, and that hold a row and the end of the one before.
_COUNT_CHUNK_SIZE, _ROW_SIZE = 1 << 20, 1 << 14
#: The beginning of a JSON object; ``{1}.jpg`` is a name.
_OBJECT_START = re.compile(rb'\s*\{\s*("|\}\s*\Z)')


@frozen
class ListLine:
    """A name in a list of lines, such as ``find`` prints."""

    image: str


@frozen
class ListEntry:
    """An object of a JSONL list; ``prompt`` and ``id`` apply to this image only."""

    image: str
    prompt: str | None = None
    id: ImageId = None


@frozen
class InvalidListEntry:
    """A line of a JSONL list that is not a valid entry; the reason is the end of a sentence."""

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


def read_items(stream: BinaryIO, *, is_nul_separated: bool = False) -> Iterator[ListItem]:
    """Read the items of a list one at a time, skipping blank lines.

    The first line that is not blank decides: if it begins like a JSON object, every line must be one.

    Args:
        is_nul_separated: names end with NUL instead of a line break, as from ``find -print0``; they are never JSON.
    """
    is_jsonl: bool | None = False if is_nul_separated else None
    lines = _split_names(stream) if is_nul_separated else _split_lines(stream)
    for number, line in enumerate(lines, 1):
        if not line.strip() and not (is_nul_separated and line):
            continue
        if is_jsonl is None:
            is_jsonl = _OBJECT_START.match(line) is not None
        yield _parse_entry(line, number) if is_jsonl else ListLine(decode_name(line))


def sample_items(
    path: Path, count: int, dice: random.Random, *, is_nul_separated: bool = False
) -> tuple[int, list[ListItem]]:
    """Count the rows of a list, and read random ones without the others; a row after a long one is a little more likely.

    Args:
        count: of random places in the file.
    """
    separator = b"\0" if is_nul_separated else b"\n"
    with _open_as_utf8(path) as stream:
        row_count = sum(chunk.count(separator) for chunk in iter(lambda: stream.read(_COUNT_CHUNK_SIZE), b""))
        size = stream.tell()
        stream.seek(0)
        first = next(read_items(stream, is_nul_separated=is_nul_separated), None)
        is_jsonl = isinstance(first, ListEntry | InvalidListEntry)
        items: list[ListItem] = []
        for _ in range(count):
            stream.seek(dice.randrange(size))
            window = stream.read(_ROW_SIZE)
            start = window.find(separator) + 1
            end = window.find(separator, start)
            row = window[start:end].removesuffix(b"\r") if 0 < start <= end else b""
            if row.strip():
                items.append(_parse_entry(row, 0) if is_jsonl else ListLine(decode_name(row)))
    return row_count, items


def decode_name(name: bytes, *, encodings: Sequence[str] = get_list_encodings()) -> str:
    """The name of a file, as ``os.fsdecode`` returns it where names are bytes.

    Args:
        encodings: of names that are not UTF-8; the first in which the name is that of a file wins.
    """
    if not encodings:
        return os.fsdecode(name)
    try:
        return name.decode()
    except UnicodeDecodeError:
        names = [name.decode(encoding, errors="replace") for encoding in encodings]
        return next(filter(os.path.lexists, names), names[0])


def _open_as_utf8(path: Path) -> BinaryIO:
    with open(path, "rb") as stream:
        if find_encoding(stream.read(2)) == "utf-16":
            stream.seek(0)
            return io.BytesIO(stream.read().decode("utf-16", errors="replace").encode())
    return open(path, "rb")


def _split_lines(stream: BinaryIO) -> Iterator[bytes]:
    first = stream.readline()
    lines = _decode_utf16(stream, first) if find_encoding(first) == "utf-16" else chain([first], stream)
    for number, line in enumerate(lines):
        text = line.removeprefix(codecs.BOM_UTF8) if number == 0 else line
        yield text.removesuffix(b"\n").removesuffix(b"\r")


def _decode_utf16(stream: BinaryIO, beginning: bytes) -> Iterator[bytes]:
    """Yield the lines of a list in UTF-16, encoded in UTF-8."""
    chunks = chain([beginning], iter(lambda: stream.read(_CHUNK_SIZE), b""))
    rest = ""
    for text in codecs.iterdecode(chunks, "utf-16", errors="replace"):
        *lines, rest = (rest + text).split("\n")
        for line in lines:
            yield line.encode(errors="replace")
    yield rest.encode(errors="replace")


def _split_names(stream: BinaryIO) -> Iterator[bytes]:
    rest = b""
    while chunk := stream.read(_CHUNK_SIZE):
        *names, rest = (rest + chunk).split(b"\0")
        yield from names
    yield rest


def _decode_json(line: bytes, *, encodings: Sequence[str] = get_list_encodings()) -> str:
    try:
        return line.decode()
    except UnicodeDecodeError:
        return line.decode(encodings[0]) if encodings else line.decode(errors="surrogateescape")


def _parse_entry(line: bytes, number: int) -> ListEntry | InvalidListEntry:
    try:
        entry: Any = json.loads(_decode_json(line))
    except (ValueError, RecursionError) as error:
        return InvalidListEntry(number, f"is not valid JSON: {error}")
    match entry:
        case {"image": str(image)} if image:
            prompt, image_id = entry.get("prompt"), entry.get("id")
        case _:
            return InvalidListEntry(number, 'is not an object with an "image"')
    if not isinstance(prompt, str | None):
        return InvalidListEntry(number, 'has a "prompt" that is not a string')
    if not isinstance(image_id, str | int | float | None):
        return InvalidListEntry(number, 'has an "id" that is neither a string nor a number')
    return ListEntry(image, prompt, image_id)
