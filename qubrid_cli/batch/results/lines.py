"""Reading the lines of a results file: quickly, without decoding JSON, where a line looks like those of this program."""

import json
import os
import re
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import NamedTuple

from ...text import format_count

#: Bytes of the longest line, 64 MiB.
MAX_LINE_BYTES = 64 << 20
#: Damaged lines whose numbers are shown.
_SHOWN_DAMAGED_LINES = 5
_BULK_READ_BYTES = 1 << 20
_SINGLE_READ_BYTES = 1 << 13
#: A string without escapes, or null.
_ANY_TEXT = rb'(?:null|"[^"\\\x00-\x1f]*")'
_TEXT = rb"(" + _ANY_TEXT + rb")"
#: The first character of a text that is not blank, among the usual ones; texts that begin in another way are decoded.
_FIRST_CHARACTER = rb"(?:[!#-\[\]-~\xc3-\xdf\xe4-\xed]|\xe3[\x81-\xbf]|\xf0\x9f)"
#: The same with escapes: prompts often have several lines.
_PROMPT = rb'(null|"[^"\\\x00-\x1f]*+(?:\\(?:["\\/bfnrt]|u[\da-fA-F]{4})[^"\\\x00-\x1f]*+)*+")'
_START = b"".join(
    [
        rb'^\{"schema_version":1,"ok":true,"complete":true,"finish_reason":' + _ANY_TEXT,
        rb',"id":' + _ANY_TEXT + rb',"model":' + _TEXT + rb',"prompt":' + _PROMPT,
        rb',"images":\[\{"source":' + _TEXT + rb',"sha256":' + _TEXT + rb',[^\n]*?\],"text":"' + _FIRST_CHARACTER,
        rb'[^\n]*,"index":\d+,"key":' + _TEXT + rb',"attempts":\d+,"source_id":(' + _ANY_TEXT + rb"|-?[\d.]+)",
        rb',"duplicate_of":' + _TEXT,
    ]
)
#: An answer as ``entries.encode_line`` writes it. Takes a fifth of the time that decoding its JSON takes.
_ANSWER_LINE = _START + rb',"path":' + _TEXT + rb',"version":' + _ANY_TEXT + rb",[^\n]*\}\r?\n"
#: The same, of versions that did not write ``path``.
_OLD_ANSWER_LINE = _START + rb"()\}\r?\n"
_LINE_HEAD = b'{"schema_version":'


#: Kinds of lines, which can be combined; one that is not an answer is a failure.
ANSWER, DUPLICATE, SUPERSEDED, HAS_PATH = 1, 2, 4, 8
_HALF = 0xFFFFFFFF


def format_damaged_note(name: str, numbers: Sequence[int], fate: str) -> str:
    """A note about the damaged lines of a file, by their numbers, and what became of them."""
    more = ", …" if len(numbers) > _SHOWN_DAMAGED_LINES else ""
    shown = ", ".join(f"{number:,}" for number in numbers[:_SHOWN_DAMAGED_LINES])
    return f"damaged: {format_count(len(numbers), 'line')} of {name} ({shown}{more}), {fate}"


class Question(NamedTuple):
    """An image and a prompt, as a line names them; texts are UTF-8 in quotes, or ``null``.

    Attributes:
        source: the name of the image.
        path: its file, relative to the folder of the results file; ``null`` for links, standard input and lines of
            earlier versions, whose images are identified by their name.
        source_id: the ``id`` of the image in the list, as JSON.
        key: the key of the answer if the name says nothing about the image, else ``null``.
    """

    source: bytes
    prompt: bytes
    path: bytes
    source_id: bytes
    key: bytes

    @property
    def tag(self) -> int:
        """A hash of 64 bits, which differs from process to process."""
        if self.path == b"null":
            return self.name_tag
        return hash((self.path, self.prompt, self.source_id))

    @property
    def name_tag(self) -> int:
        """The same for an image without a path."""
        return hash((self.source, self.prompt, self.source_id, self.key))


def quote(text: str | None) -> bytes:
    """Quote a text as it stands in a line, except that nothing is escaped."""
    return b"null" if text is None else b'"%b"' % text.encode(errors="surrogatepass")


def quote_id(source_id: str | float | None) -> bytes:
    """Quote the ``id`` of an image, which may be a number."""
    return quote(source_id) if source_id is None or isinstance(source_id, str) else str(source_id).encode()


def make_question(
    source: str, prompt: str | None, *, path: str | None, source_id: str | float | None, key: str | None
) -> Question:
    """Build a question. Standard input and ``data:`` URLs always have the same name, so the key tells them apart."""
    is_ambiguous = source.startswith(("-", "data:"))
    return Question(
        quote(source), quote(prompt), quote(path), quote_id(source_id), quote(key if is_ambiguous else None)
    )


#: What the index keeps of a line: the hash of its key; the tag of its question, and the tag that its question has in lines
#: without a path; ``ANSWER``, ``DUPLICATE`` and ``HAS_PATH``; and of an answer the hashes of content and model, of a
#: failure how often the answer was incomplete.
LineRow = tuple[int, int, int, int, int]


def make_row(
    question: Question, key: str | None, *, is_duplicate: bool, sha256: str | None, model: str | None
) -> LineRow:
    """Build the row of an answer."""
    kind = ANSWER | (DUPLICATE if is_duplicate else 0) | (0 if question.path == b"null" else HAS_PATH)
    content = combine_hashes(quote(sha256), quote(model))
    return hash(quote(key)), question.tag, question.name_tag, kind, content


def combine_hashes(sha256: bytes, model: bytes) -> int:
    """Combine hashes of content and model, so that each can be compared."""
    return (hash(sha256) & _HALF) | ((hash(model) & _HALF >> 1) << 32)


class LineTooLongError(ValueError):
    """A line is longer than any line of a results file."""


def scan_lines(descriptor: int, start: int = 0) -> Iterator[tuple[int, int, LineRow | bytes]]:
    """Read the complete lines of an open file from an offset on.

    Yields:
        The offsets of each line and of the next one, and its row; or the line without its end, if its JSON has to be
        decoded.

    Raises:
        LineTooLongError: a line has more than ``MAX_LINE_BYTES``.
    """
    for offset, block in _read_blocks(descriptor, start):
        position = 0
        if _is_clean(block):
            pattern = _ANSWER_LINE if b',"path":' in block else _OLD_ANSWER_LINE
            for match in re.finditer(pattern, block, re.MULTILINE):
                begin, end = match.span()
                if begin != position:
                    yield from _split_block(offset, block, position, begin)
                position = end
                yield offset + begin, offset + end, _make_row_from_match(match.groups())
        yield from _split_block(offset, block, position, len(block))


def _make_row_from_match(texts: tuple[bytes, ...]) -> LineRow:
    """Build the row of an answer from its texts as they stand in the line: called a million times for a million lines."""
    model, prompt, source, sha256, key, source_id, duplicate_of, path = texts
    if b"\\" in prompt:
        prompt = _unescape(prompt)
    name = hash((source, prompt, source_id, key if source[:2] == b'"-' or source[:6] == b'"data:' else b"null"))
    content = (hash(sha256) & 0xFFFFFFFF) | ((hash(model) & 0x7FFFFFFF) << 32)
    kind = ANSWER if duplicate_of == b"null" else ANSWER | DUPLICATE
    if path == b"null" or not path:
        return hash(key), name, name, kind, content
    return hash(key), hash((path, prompt, source_id)), name, kind | HAS_PATH, content


@lru_cache(maxsize=64)
def _unescape(text: bytes) -> bytes:
    """Turn a JSON string into the same text without escapes."""
    return quote(json.loads(text))


def _is_clean(block: bytes) -> bool:
    """Whether a block can be UTF-8 text with as many beginnings of lines as ends; other damage shows when it is read."""
    try:
        block.decode()
    except UnicodeDecodeError:
        return False
    return b"\0" not in block and block.count(_LINE_HEAD) == block.count(b"\n")


def _split_block(offset: int, block: bytes, begin: int, end: int) -> Iterator[tuple[int, int, bytes]]:
    while begin < end:
        line_end = block.index(b"\n", begin)
        yield offset + begin, offset + line_end + 1, block[begin:line_end]
        begin = line_end + 1


def _read_blocks(descriptor: int, start: int) -> Iterator[tuple[int, bytes]]:
    """Read complete lines, several at a time, with the offset of the first."""
    pieces: list[bytes] = []
    offset, size = start, 0
    while chunk := read_at(descriptor, offset + size, _BULK_READ_BYTES):
        end = chunk.rfind(b"\n") + 1
        if end:
            block = b"".join([*pieces, chunk[:end]])
            yield offset, block
            offset += len(block)
            pieces, size = [], 0
        pieces.append(chunk[end:])
        size += len(chunk) - end
        if size > MAX_LINE_BYTES:
            raise LineTooLongError


def read_lines(descriptor: int, start: int = 0) -> Iterator[tuple[int, bytes]]:
    """Read the complete lines of an open file from an offset on; yield each line's offset, and the line without its end.

    Raises:
        LineTooLongError: a line has more than ``MAX_LINE_BYTES``.
    """
    for offset, block in _read_blocks(descriptor, start):
        for begin, _, line in _split_block(offset, block, 0, len(block)):
            yield begin, line


def read_line_at(descriptor: int, offset: int) -> bytes:
    """Read the line at an offset; empty if there is none."""
    head = read_at(descriptor, offset, _SINGLE_READ_BYTES)
    if (end := head.find(b"\n")) >= 0:
        return head[:end]
    try:
        return next((line for _, line in read_lines(descriptor, offset)), b"")
    except LineTooLongError:
        return b""


def read_at(descriptor: int, offset: int, size: int) -> bytes:
    """Read bytes at an offset."""
    if hasattr(os, "pread"):  # not on Windows
        return os.pread(descriptor, size, offset)
    os.lseek(descriptor, offset, os.SEEK_SET)
    return os.read(descriptor, size)
