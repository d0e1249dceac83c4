r"""Lists of images: lines, names between NULs, or JSON objects a line.

Names are bytes; what in them is no UTF-8 becomes Python's surrogate escapes, in JSON ``\udc80`` to ``\udcff``.
"""

import codecs
import json
import os
import re
from collections.abc import Iterator
from typing import Any, BinaryIO

from ..frozen import frozen

#: What a list may call an image beside its name.
ImageId = str | int | float | None

_CHUNK_SIZE = 1 << 16
#: How a JSON object begins; ``{1}.jpg`` is a name.
_OBJECT_START = re.compile(rb'\s*\{\s*("|\}\s*\Z)')


@frozen
class ListLine:
    """A name as it stands in a list, such as ``find`` makes."""

    image: str


@frozen
class ListEntry:
    """An object of a JSONL list; its ``prompt`` and ``id`` are for this image alone."""

    image: str
    prompt: str | None = None
    id: ImageId = None


@frozen
class InvalidListEntry:
    """A line of a JSONL list that is no such object."""

    line_number: int
    reason: str


ListItem = ListLine | ListEntry | InvalidListEntry


def read_items(stream: BinaryIO, *, is_nul_separated: bool = False) -> Iterator[ListItem]:
    """What a list names, one after the other; blank lines are nothing.

    The first line that is not blank decides: where it begins like a JSON object, all lines are meant to be some.

    Args:
        is_nul_separated: names end with NUL instead of a line break, as after ``find -print0``; they are never JSON.
    """
    is_jsonl: bool | None = False if is_nul_separated else None
    for number, line in enumerate(_split_names(stream) if is_nul_separated else _split_lines(stream), 1):
        if not line.strip() and not (is_nul_separated and line):
            continue
        if is_jsonl is None:
            is_jsonl = _OBJECT_START.match(line) is not None
        yield _parse_entry(line, number) if is_jsonl else ListLine(os.fsdecode(line))


def _split_lines(stream: BinaryIO) -> Iterator[bytes]:
    for number, line in enumerate(stream):
        text = line.removeprefix(codecs.BOM_UTF8) if number == 0 else line
        yield text.removesuffix(b"\n").removesuffix(b"\r")


def _split_names(stream: BinaryIO) -> Iterator[bytes]:
    rest = b""
    while piece := stream.read(_CHUNK_SIZE):
        *names, rest = (rest + piece).split(b"\0")
        yield from names
    yield rest


def _parse_entry(line: bytes, number: int) -> ListEntry | InvalidListEntry:
    try:
        found: Any = json.loads(line.decode(errors="surrogateescape"))
    except (ValueError, RecursionError) as error:
        return InvalidListEntry(number, f"is no JSON: {error}")
    match found:
        case {"image": str(image)} if image:
            prompt, label = found.get("prompt"), found.get("id")
        case _:
            return InvalidListEntry(number, 'is no object with an "image"')
    if not isinstance(prompt, str | None):
        return InvalidListEntry(number, 'has a "prompt" that is no text')
    if not isinstance(label, str | int | float | None):
        return InvalidListEntry(number, 'has an "id" that is neither text nor a number')
    return ListEntry(image, prompt, label)
