"""The lines of a results file: writing, reading and identifying them, and removing superseded ones."""

import hashlib
import json
import os
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ..files import open_atomic
from ..frozen import frozen
from ..output.record import SCHEMA_VERSION, json_text
from ..text import is_blank

#: The beginning of every line.
LINE_START = f'{{"schema_version":{SCHEMA_VERSION},"ok":'.encode()
#: Bytes of the longest line, 64 MiB.
MAX_LINE_BYTES = 64 << 20

#: Part of every key. If keys are ever computed differently, it changes, so that no old answer has a new key.
_KEY_VERSION = "qvision 1"
_BULK_READ_BYTES = 1 << 20
_SINGLE_READ_BYTES = 1 << 14

Record = dict[str, Any]


def compute_key(image_id: str, facets: Mapping[str, Any]) -> str:
    """Compute the key of an answer, 64 hexadecimal digits: images and requests that are the same have the same key.

    Args:
        image_id: the SHA-256 of the image's bytes; for a link, whose bytes are not read here, its URL.
        facets: everything else that shapes the answer: prompt, model, parameters, limits. The name of the file and the
            URL of the endpoint do not.
    """
    text = json.dumps([_KEY_VERSION, image_id, _normalize_numbers(facets)], sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _normalize_numbers(value: Any) -> Any:
    """Make 1 and 1.0 the same in a JSON value."""
    match value:
        case Mapping():
            return {str(name): _normalize_numbers(item) for name, item in value.items()}
        case list() | tuple():
            return [_normalize_numbers(item) for item in value]
        case float() if value.is_integer():
            return int(value)
    return value


def encode_line(
    record: Record,
    *,
    index: int,
    key: str | None,
    attempts: int,
    source_id: str | float | None = None,
    duplicate_of: str | None = None,
) -> bytes:
    """Encode a line of the results file: the object that ``--json`` prints, and the fields that only a batch has.

    Args:
        key: ``None`` if the image could not be read.
        attempts: requests sent.
        source_id: the ``id`` of the image in the list.
        duplicate_of: the image that the answer is about, of which this one is a copy.
    """
    added = {"index": index, "key": key, "attempts": attempts, "source_id": source_id, "duplicate_of": duplicate_of}
    return json_text(record | added).encode() + b"\n"


def copy_for_duplicate(original: Record, *, source: str) -> Record:
    """Copy the record of an image for another one with the same content: the same answer under another name.

    Tokens, cost and times stay with the first image only, so that sums are right.
    """
    (image,) = original["images"]
    cleared = {"usage": None, "x_metrics": None, "cost": None, "timing": dict.fromkeys(original["timing"])}
    return original | cleared | {"images": [image | {"source": source}]}


@frozen
class ResultLine:
    """A line of the results file, and the four ids by which lines supersede each other.

    Attributes:
        key: ``None`` if the image could not be read, or if the line is not from a batch.
        is_ok: the answer is there and complete. An empty one, which earlier versions counted as a success, is not.
        is_duplicate: the answer was copied from another line.
        sources: the names of the images.
        record: the whole object.
    """

    key: str | None
    is_ok: bool
    is_duplicate: bool
    sources: tuple[str, ...]
    prompt: str | None
    record: Record

    @property
    def question_id(self) -> bytes:
        """Identifies the question as the user sees it: the names of the images, and the prompt.

        Standard input and ``data:`` URLs always have the same name, so the key tells them apart.
        """
        is_ambiguous = any(source == "-" or source.startswith(("-#page=", "data:")) for source in self.sources)
        return digest(*self.sources, "\0", self.prompt or "", (self.key or "") if is_ambiguous else "")

    @property
    def subject_id(self) -> bytes:
        """Identifies question and model, whatever ``content_id`` the images have."""
        return digest(self.question_id.hex(), str(self.record.get("model")))

    @property
    def content_id(self) -> bytes:
        """Identifies the content of the images; that of a link is not known and never changes."""
        return digest(*(str(image.get("sha256")) for image in self.record["images"]))

    @property
    def answer_id(self) -> bytes:
        """Identifies the answer with this key about images of these names."""
        return digest(self.key or "", *self.sources)


def parse_line(data: bytes) -> ResultLine | None:
    """Parse a line of a results file; ``None`` if it is something else, or damaged."""
    try:
        match json.loads(data):
            case {
                "schema_version": int(),
                "ok": bool(ok),
                "complete": bool(complete),
                "images": list(images),
            } as record:
                key, prompt = record.get("key"), record.get("prompt")
                return ResultLine(
                    key=key if isinstance(key, str) else None,
                    is_ok=ok and complete and _has_content(record),
                    is_duplicate=record.get("duplicate_of") is not None,
                    sources=tuple(str(image["source"]) for image in images),
                    prompt=prompt if isinstance(prompt, str) else None,
                    record=record,
                )
    except (ValueError, RecursionError, KeyError, TypeError):
        pass
    return None


def _has_content(record: Record) -> bool:
    return record.get("data") is not None or not is_blank(str(record.get("text") or ""))


def is_torn(tail: bytes) -> bool:
    """Whether this is an incomplete line of a results file; a complete JSON object is never torn."""
    if not (tail.startswith(LINE_START) or LINE_START.startswith(tail)):
        return False
    try:
        json.loads(tail)
    except (ValueError, RecursionError):
        return True
    return False


def digest_text(source: str, text: str) -> bytes:
    """Digest a source and a text, ignoring whitespace in the text."""
    return digest(source, "".join(text.split()))


def digest(*texts: str) -> bytes:
    """Digest texts to twelve bytes: among 10⁹ lines, the chance that any two are confused is about 10⁻¹¹."""
    return hashlib.blake2b("\0".join(texts).encode(errors="surrogatepass"), digest_size=12).digest()


class LineTooLongError(ValueError):
    """A line is longer than any line of a results file."""


def read_lines(descriptor: int, start: int = 0, *, chunk_size: int = _BULK_READ_BYTES) -> Iterator[tuple[int, bytes]]:
    """Read the complete lines of an open file from an offset on; yield each line's offset, and the line without its end.

    Raises:
        LineTooLongError: a line has more than ``MAX_LINE_BYTES``.
    """
    pieces: list[bytes] = []
    offset, size = start, 0
    while chunk := _read_at(descriptor, offset + size, chunk_size):
        first, *others = chunk.split(b"\n")
        pieces.append(first)
        size += len(first)
        for other in others:
            yield offset, b"".join(pieces)
            offset += size + 1
            pieces, size = [other], len(other)
        if size > MAX_LINE_BYTES:
            raise LineTooLongError


def read_line_at(descriptor: int, offset: int) -> bytes:
    """Read the line at an offset; empty if there is none."""
    try:
        return next((line for _, line in read_lines(descriptor, offset, chunk_size=_SINGLE_READ_BYTES)), b"")
    except LineTooLongError:
        return b""


def _read_at(descriptor: int, offset: int, size: int) -> bytes:
    os.lseek(descriptor, offset, os.SEEK_SET)  # there is no pread on Windows
    return os.read(descriptor, size)


def compact(descriptor: int, path: Path) -> None:
    """Replace a results file by a copy without superseded lines, if it has any.

    Of the failures of one image and prompt, only the last stays, and none that was followed by an answer. Of the
    answers to one question about one image, the last stays; if the image has changed, those about its earlier content
    go. Unreadable lines stay. The file is left alone if it has several names (hard links) or an owner that cannot be
    given to a new file.

    Args:
        path: of the file itself, not of a link.

    Raises:
        OSError: the new file cannot be written; the old one is unchanged.
    """
    status = os.fstat(descriptor)
    if status.st_nlink > 1 or not (superseded := _find_superseded(descriptor)):
        return
    with open_atomic(path, mode=stat.S_IMODE(status.st_mode)) as file:
        for offset, line in read_lines(descriptor):
            if offset not in superseded:
                file.write(line + b"\n")
        _copy_owner(file.fileno(), status)  # before the mode is set: changing the owner clears bits of it


def _copy_owner(descriptor: int, original: os.stat_result) -> None:
    """Give a new file the owner and group of another one."""
    status = os.fstat(descriptor)
    if (status.st_uid, status.st_gid) != (original.st_uid, original.st_gid):
        os.fchown(descriptor, original.st_uid, original.st_gid)


def _find_superseded(descriptor: int) -> set[int]:
    """Find the offsets of superseded and blank lines."""
    superseded: set[int] = set()
    failures: dict[bytes, int] = {}
    answers: dict[bytes, int] = {}
    versions: dict[bytes, tuple[bytes, list[int]]] = {}
    for offset, data in read_lines(descriptor):
        line = parse_line(data)
        if line is None:
            if not data.strip():
                superseded.add(offset)
            continue
        superseded.add(failures.pop(line.question_id, -1))
        if not line.is_ok:
            failures[line.question_id] = offset
        elif line.key is not None:
            superseded.add(answers.pop(line.answer_id, -1))
            answers[line.answer_id] = offset
            content_id, offsets = versions.get(line.subject_id, (line.content_id, []))
            if content_id != line.content_id:
                superseded.update(offsets)
                offsets = []
            offsets.append(offset)
            versions[line.subject_id] = line.content_id, offsets
    return superseded - {-1}
