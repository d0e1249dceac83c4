"""Reading the lines of a results file: those that this program writes are understood without decoding their JSON."""

import json
import os
import re
from collections.abc import Iterator, Sequence
from functools import cache, lru_cache
from hashlib import blake2b
from typing import NamedTuple, Protocol

from ...text import format_count

#: Bytes of the longest line, 64 MiB.
MAX_LINE_BYTES = 64 << 20
#: Damaged lines whose numbers are shown.
_SHOWN_DAMAGED_LINES = 5
_BULK_READ_BYTES = 1 << 20
_SINGLE_READ_BYTES = 1 << 13
#: Lines that are decoded before the pattern is compiled, which takes as long as decoding them.
_DECODED_FIRST = 500

#: Flags of a line, which can be combined; a line without ``ANSWER`` is a failure.
ANSWER, DUPLICATE, SUPERSEDED, HAS_PATH = 1, 2, 4, 8
#: The largest count of incomplete answers that the index can store.
MAX_COUNT = 0xFFFFFFFF
#: The lower 32 bits of a hash.
LOWER_HALF = 0xFFFFFFFF
#: The largest position within a line that the index can store.
_MAX_SOURCE_POSITION = 0xFFFF


def format_damaged_note(name: str, numbers: Sequence[int], fate: str) -> str:
    """Format a note about the damaged lines of a file: their numbers, and what became of them (``fate``)."""
    more = ", …" if len(numbers) > _SHOWN_DAMAGED_LINES else ""
    shown = ", ".join(f"{number:,}" for number in numbers[:_SHOWN_DAMAGED_LINES])
    return f"damaged: {format_count(len(numbers), 'line')} of {name} ({shown}{more}), {fate}"


def hash_texts(*texts: bytes) -> int:
    """Hash texts without NUL to 64 bits. Unlike ``hash``, the result is the same in every process."""
    return int.from_bytes(blake2b(b"\0".join(texts), digest_size=8).digest())


def hash_digest(text: bytes) -> int:
    """Hash a quoted digest of 64 hexadecimal digits, quickly: to its own first 64 bits. Other texts are hashed too."""
    if len(text) == 66:
        try:
            return int(text[1:17], 16) & 0xFFFFFFFF_FFFFFFFF  # ``int`` accepts a sign
        except ValueError:
            pass
    return hash_texts(text)


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
        """A hash of 64 bits."""
        if self.path == b"null":
            return self.name_tag
        return hash_texts(self.path, self.source_id, self.prompt)

    @property
    def name_tag(self) -> int:
        """The same for an image without a path."""
        return hash_texts(self.source, self.source_id, self.prompt, self.key)


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


class LineRow(NamedTuple):
    """What the index keeps of a line.

    Attributes:
        key: the hash of its key.
        question: its image and prompt.
        kind: the flags ``ANSWER``, ``DUPLICATE`` and ``HAS_PATH``.
        content: of an answer, hashes of content and model; of a failure, how often the answer was incomplete.
        source_at: where the name of the image stands in the line; 0 if the line has to be decoded to know more.
        path_at: the same of its path.
    """

    key: int
    question: Question
    kind: int
    content: int
    source_at: int = 0
    path_at: int = 0


_hash_model = lru_cache(maxsize=64)(hash_texts)


def make_answer_row(
    question: Question,
    key: bytes,
    *,
    is_duplicate: bool,
    sha256: bytes,
    model: bytes,
    source_at: int = 0,
    path_at: int = 0,
) -> LineRow:
    """Build the row of an answer, from texts in quotes."""
    kind = ANSWER | (DUPLICATE if is_duplicate else 0) | (0 if question.path == b"null" else HAS_PATH)
    content = (hash_digest(sha256) & LOWER_HALF) | ((_hash_model(model) & LOWER_HALF) << 32)
    return LineRow(hash_digest(key), question, kind, content, source_at, path_at)


class NotResultsError(ValueError):
    """The file is not a results file."""


class Hasher(Protocol):
    """A hash of ``hashlib``."""

    def update(self, data: bytes, /) -> None:
        """Add bytes."""


@cache
def compile_pattern() -> "re.Pattern[bytes]":
    """Compile a pattern of the answers that ``entries.encode_line`` writes. All that it matches is valid JSON.

    A line that it does not match has to be decoded, which takes twice as long.
    """
    name = rb'"[^"\\\x00-\x1f]*+"'  # without escapes
    text = rb'"[^"\\\x00-\x1f]*+(?:\\(?:["\\/bfnrt]|u[\da-fA-F]{4})[^"\\\x00-\x1f]*+)*+"'
    # Text that is not blank: it begins with a usual character that is not a space.
    answer = rb'(?="(?:[!#-\[\]-~\xc3-\xdf\xe4-\xed]|\xe3[\x81-\xbf]|\xf0\x9f))' + text
    number = rb"-?(?:0|[1-9]\d*+)(?:\.\d++)?+(?:[eE][-+]?\d++)?+"
    value = rb"(?:%b|%b|null|true|false)" % (name, number)

    def build_object(inner: bytes) -> bytes:
        return rb"\{(?:%b:%b(?:,%b:%b)*+)?+\}" % (name, inner, name, inner)

    flat = build_object(value)
    nested = build_object(rb"(?:%b|%b)" % (value, flat))
    flat_list = rb"\[(?:%b(?:,%b)*+)?+\]" % (value, value)
    patterns = {
        "schema_version": rb"1", "ok": rb"true", "complete": rb"true",
        "finish_reason": value, "id": value, "model": rb"(%b|null)" % name, "prompt": rb"(%b|null)" % text,
        "source": rb"(%b)" % name, "sha256": rb"(%b|null)" % name,
        "format": value, "width": value, "height": value, "bytes": value, "page": value,
        "sent": rb"(?:null|\{%b:%b(?:,%b:(?:%b|%b))*+\})" % (name, value, name, value, flat_list),
        "text": answer, "data": rb"(?:null|%b)" % nested, "reasoning": rb"(?:null|%b)" % text,
        "usage": rb"(?:null|%b)" % nested, "x_metrics": rb"(?:null|%b)" % flat, "timing": flat,
        "cost": rb"(?:null|%b)" % flat, "warnings": flat_list, "error": rb"null", "request": rb"(?:null|%b)" % nested,
        "created": name, "index": number, "key": rb"(%b)" % name, "attempts": number,
        "source_id": rb"(%b|null|0|-?[1-9]\d*+)" % name, "duplicate_of": rb"(%b|null)" % name,
        "path": rb"(%b|null)" % name, "version": rb"(?:%b|null)" % name, "incomplete_attempts": number,
        "row": rb"(?:null|%b)" % flat,
    }  # fmt: skip
    members = {key: rb'"%b":%b' % (key.encode(), pattern) for key, pattern in patterns.items()}
    keys = list(patterns)
    before, image, after = keys[:7], keys[7:15], keys[15:]  # those of the image stand between those of the record
    return re.compile(
        rb'\{%b,"images":\[\{%b\}\],%b\}\r?\n'
        % tuple(b",".join(members[key] for key in group) for group in (before, image, after))
    )


class LineScanner:
    """Reads the lines of results files.

    Args:
        decoded_first: answers that have to be decoded before the pattern is compiled.
    """

    def __init__(self, decoded_first: int = _DECODED_FIRST) -> None:
        self._decoded_first = decoded_first
        self._count = 0

    def scan(
        self, descriptor: int, start: int = 0, hasher: Hasher | None = None
    ) -> Iterator[tuple[int, int, LineRow | bytes]]:
        """Read the complete lines of an open file from an offset on.

        Args:
            hasher: gets all bytes that are read, if the iteration is not broken off.

        Yields:
            The offsets of each line and of the next one, and its row; or the line without its end, if its JSON has to be
            decoded.

        Raises:
            NotResultsError: a line has more than ``MAX_LINE_BYTES``.
        """
        for offset, block in _read_blocks(descriptor, start):
            if hasher is not None:
                hasher.update(block)
            is_text = _is_utf8(block)
            begin = 0
            while begin < len(block):
                self._count += 1
                match = compile_pattern().match(block, begin) if is_text and self._count > self._decoded_first else None
                if match:
                    end = match.end()
                    yield offset + begin, offset + end, _make_row_from_match(match)
                else:
                    end = block.index(b"\n", begin) + 1
                    yield offset + begin, offset + end, block[begin : end - 1]
                begin = end


def _is_utf8(block: bytes) -> bool:
    if block.isascii():
        return True
    try:
        block.decode()
    except UnicodeDecodeError:
        return False
    return True


def _make_row_from_match(match: "re.Match[bytes]") -> LineRow:
    model, prompt, source, sha256, key, source_id, duplicate_of, path = match.groups()
    if b"\\" in prompt:
        prompt = _unescape(prompt)
    begin = match.start()
    source_at = match.start(3) - begin
    return make_answer_row(
        Question(source, prompt, path, source_id, key if source[:2] == b'"-' or source[:6] == b'"data:' else b"null"),
        key,
        is_duplicate=duplicate_of != b"null",
        sha256=sha256,
        model=model,
        source_at=source_at if source_at <= _MAX_SOURCE_POSITION else 0,
        path_at=match.start(8) - begin,
    )


@lru_cache(maxsize=64)
def _unescape(text: bytes) -> bytes:
    """Turn a JSON string into the same text without escapes."""
    return quote(json.loads(text))


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
            raise NotResultsError


def read_lines(descriptor: int, start: int = 0) -> Iterator[tuple[int, bytes]]:
    """Read the complete lines of an open file from an offset on; yield each line's offset, and the line without its end.

    Raises:
        NotResultsError: a line has more than ``MAX_LINE_BYTES``.
    """
    for offset, block in _read_blocks(descriptor, start):
        begin = 0
        while begin < len(block):
            end = block.index(b"\n", begin)
            yield offset + begin, block[begin:end]
            begin = end + 1


def read_line_at(descriptor: int, offset: int) -> bytes:
    """Read the line at an offset; empty if there is none."""
    head = read_at(descriptor, offset, _SINGLE_READ_BYTES)
    if (end := head.find(b"\n")) >= 0:
        return head[:end]
    try:
        return next((line for _, line in read_lines(descriptor, offset)), b"")
    except NotResultsError:
        return b""


def read_at(descriptor: int, offset: int, size: int) -> bytes:
    """Read bytes at an offset."""
    if hasattr(os, "pread"):  # not on Windows
        return os.pread(descriptor, size, offset)
    os.lseek(descriptor, offset, os.SEEK_SET)
    return os.read(descriptor, size)
