r"""Lists of images: lines, names between NULs, or JSON objects a line.

Names are bytes; what in them is no UTF-8 becomes Python's surrogate escapes, in JSON ``\udc80`` to ``\udcff``.
"""

import codecs
import json
import os
import re
from collections.abc import Iterator
from typing import Any, BinaryIO

from .frozen import frozen

#: What a list may call an image beside its name.
Label = str | int | float | None

_PIECE = 1 << 16
#: How a JSON object begins; ``{1}.jpg`` is a name.
_OBJECT = re.compile(rb'\s*\{\s*("|\}\s*\Z)')


@frozen
class Line:
    """A name as it stands in a list, such as ``find`` makes."""

    image: str


@frozen
class Entry:
    """An object of a JSONL list; its ``prompt`` and ``id`` are for this image alone."""

    image: str
    prompt: str | None = None
    id: Label = None


@frozen
class Damaged:
    """A line of a JSONL list that is no such object."""

    number: int
    reason: str


Listed = Line | Entry | Damaged


def read(stream: BinaryIO, *, nul: bool = False) -> Iterator[Listed]:
    """What a list names, one after the other; blank lines are nothing.

    The first line that is not blank decides: where it begins like a JSON object, all lines are meant to be some.

    Args:
        nul: names end with NUL instead of a line break, as after ``find -print0``; they are never JSON.
    """
    is_jsonl: bool | None = False if nul else None
    for number, line in enumerate(_names(stream) if nul else _lines(stream), 1):
        if not line.strip() and not (nul and line):
            continue
        if is_jsonl is None:
            is_jsonl = _OBJECT.match(line) is not None
        yield _entry(line, number) if is_jsonl else Line(os.fsdecode(line))


def _lines(stream: BinaryIO) -> Iterator[bytes]:
    for number, line in enumerate(stream):
        text = line.removeprefix(codecs.BOM_UTF8) if number == 0 else line
        yield text.removesuffix(b"\n").removesuffix(b"\r")


def _names(stream: BinaryIO) -> Iterator[bytes]:
    rest = b""
    while piece := stream.read(_PIECE):
        *names, rest = (rest + piece).split(b"\0")
        yield from names
    yield rest


def _entry(line: bytes, number: int) -> Entry | Damaged:
    try:
        found: Any = json.loads(line.decode(errors="surrogateescape"))
    except (ValueError, RecursionError) as error:
        return Damaged(number, f"is no JSON: {error}")
    match found:
        case {"image": str(image)} if image:
            prompt, label = found.get("prompt"), found.get("id")
        case _:
            return Damaged(number, 'is no object with an "image"')
    if not isinstance(prompt, str | None):
        return Damaged(number, 'has a "prompt" that is no text')
    if not isinstance(label, str | int | float | None):
        return Damaged(number, 'has an "id" that is neither text nor a number')
    return Entry(image, prompt, label)
