"""A results file line by line, and anew without the lines whose place later ones have taken."""

# MERGED DOCSTRING of qubrid_cli.entries: A line of the results file: what is in it, what it stands for, and when a later one takes its place. Pure.

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
from ..text import strip_control_characters

#: How every line begins.
LINE_START = f'{{"schema_version":{SCHEMA_VERSION},"ok":'.encode()
#: Bytes of the longest line, 64 MiB.
MAX_LINE_BYTES = 64 << 20

#: Part of every key: another way to make keys gets another name, so that no old line is taken for an answer to it.
_KEY_VERSION = "qvision 1"

Record = dict[str, Any]


def compute_key(image_id: str, facets: Mapping[str, Any]) -> str:
    """What an answer hangs on, as 64 hexadecimal digits: equal keys, equal questions.

    Args:
        image_id: the SHA-256 of its bytes; of an image on the web, whose bytes we do not see, the URL.
        facets: all else that shapes the answer: prompt, model, parameters, limits. The name of the file and the
            endpoint's address are not among it.
    """
    text = json.dumps([_KEY_VERSION, image_id, _normalize_numbers(facets)], sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _normalize_numbers(value: Any) -> Any:
    """JSON in which 1 and 1.0 are the same."""
    match value:
        case Mapping():
            return {str(name): _normalize_numbers(one) for name, one in value.items()}
        case list() | tuple():
            return [_normalize_numbers(one) for one in value]
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
    """A line of the results file: the object that ``--json`` prints, and what only a run of many images has.

    Args:
        key: ``None`` where the image could not be read.
        attempts: how often it was asked.
        source_id: the ``id`` that the list gives the image.
        duplicate_of: the image whose answer it is, being the same.
    """
    added = {
        "index": index,
        "key": key,
        "attempts": attempts,
        "source_id": source_id,
        "duplicate_of": duplicate_of,
    }
    return json_text(record | added).encode() + b"\n"


def copy_for_duplicate(original: Record, *, source: str) -> Record:
    """The record of an image that is the same as another one, by a name of its own: same answer, no cost.

    What the answer took in tokens and seconds stands with the first image only, so that sums come out right.
    """
    (image,) = original["images"]
    nothing = {"usage": None, "x_metrics": None, "cost": None, "timing": dict.fromkeys(original["timing"])}
    return original | nothing | {"images": [image | {"source": source}]}


def format_caption(record: Record) -> str:
    """An answer as people read it: the text without anything that acts on a terminal; mere tags as one line."""
    return ", ".join(extract_tags(record)) or strip_control_characters(str(record.get("text", ""))).strip()


def extract_tags(record: Record) -> tuple[str, ...]:
    """The tags of an answer that is nothing but tags."""
    match record.get("data"):
        case {"tags": [*found], **rest} if not rest and all(isinstance(tag, str) for tag in found):
            return tuple(clean for tag in found if (clean := " ".join(strip_control_characters(tag).split())))
    return ()


@frozen
class ResultLine:
    """Which line it is.

    Attributes:
        key: ``None`` where the image could not be read, or the line is not of a run of many.
        is_ok: an answer, and all of it.
        is_duplicate: the answer of another line.
        sources: what was asked about.
        record: all of it.
    """

    key: str | None
    is_ok: bool
    is_duplicate: bool
    sources: tuple[str, ...]
    prompt: str | None
    record: Record

    @property
    def question_id(self) -> bytes:
        """What it answers or fails to answer, as people see it: these images and this prompt.

        Standard input and ``data:`` URLs are all called the same, so they are told apart by what was in them.
        """
        is_vague = any(source == "-" or source.startswith("data:") for source in self.sources)
        return digest(*self.sources, "\0", self.prompt or "", (self.key or "") if is_vague else "")

    @property
    def subject_id(self) -> bytes:
        """What is asked of which model about which images, as they are called; ``content`` tells what was in them."""
        return digest(self.question_id.hex(), str(self.record.get("model")))

    @property
    def content_id(self) -> bytes:
        """What was in the images; of one on the web that is not known, so it never changes."""
        return digest(*(str(image.get("sha256")) for image in self.record["images"]))

    @property
    def answer_id(self) -> bytes:
        """Whose answer it is: that of this key for these images."""
        return digest(self.key or "", *self.sources)


def parse_line(data: bytes) -> ResultLine | None:
    """Which line of a results file this is; ``None`` where it is none, or damaged."""
    try:
        match json.loads(data):
            case {"schema_version": int(), "ok": bool(ok), "complete": bool(complete), "images": list(images)} as found:
                name, prompt = found.get("key"), found.get("prompt")
                return ResultLine(
                    key=name if isinstance(name, str) else None,
                    is_ok=ok and complete,
                    is_duplicate=found.get("duplicate_of") is not None,
                    sources=tuple(str(image["source"]) for image in images),
                    prompt=prompt if isinstance(prompt, str) else None,
                    record=found,
                )
    except (ValueError, RecursionError, KeyError, TypeError):
        pass
    return None


def is_torn(tail: bytes) -> bool:
    """Whether it is the beginning of a line of ours, and no more than that: nothing of a whole object is ever torn off."""
    if not (tail.startswith(LINE_START) or LINE_START.startswith(tail)):
        return False
    try:
        json.loads(tail)
    except (ValueError, RecursionError):
        return True
    return False


def digest_text(source: str, text: str) -> bytes:
    """What was said about an image, whatever blanks are in it."""
    return digest(source, "".join(text.split()))


def digest(*texts: str) -> bytes:
    """Twelve bytes for some texts: among a thousand million lines, two are mixed up with a chance of 1 to 10¹¹."""
    return hashlib.blake2b("\0".join(texts).encode(errors="surrogatepass"), digest_size=12).digest()


_BULK_READ_BYTES = 1 << 20
_SINGLE_READ_BYTES = 1 << 14


class LineTooLongError(ValueError):
    """A line is longer than any of ours."""


def read_lines(descriptor: int, start: int = 0, *, chunk_size: int = _BULK_READ_BYTES) -> Iterator[tuple[int, bytes]]:
    """The whole lines of an open file from some place on, each with its own place, without what ends them.

    Raises:
        OverlongError: one has more than ``entries.MAX_LINE`` bytes.
    """
    begun: list[bytes] = []
    at, size = start, 0
    while piece := _read_at(descriptor, at + size, chunk_size):
        first, *others = piece.split(b"\n")
        begun.append(first)
        size += len(first)
        for other in others:
            yield at, b"".join(begun)
            at += size + 1
            begun, size = [other], len(other)
        if size > MAX_LINE_BYTES:
            raise LineTooLongError


def read_line_at(descriptor: int, offset: int) -> bytes:
    """The line that begins at a place; nothing where there is none."""
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


def _copy_owner(handle: int, original: os.stat_result) -> None:
    """Give a new file the owner and group of another one."""
    ours = os.fstat(handle)
    if (ours.st_uid, ours.st_gid) != (original.st_uid, original.st_gid):
        os.fchown(handle, original.st_uid, original.st_gid)


def _find_superseded(descriptor: int) -> set[int]:
    """The places of the lines whose place others have taken, and of blank ones."""
    gone: set[int] = set()
    failures: dict[bytes, int] = {}
    answers: dict[bytes, int] = {}
    versions: dict[bytes, tuple[bytes, list[int]]] = {}
    for offset, line in read_lines(descriptor):
        place = parse_line(line)
        if place is None:
            if not line.strip():
                gone.add(offset)
            continue
        gone.add(failures.pop(place.question_id, -1))
        if not place.is_ok:
            failures[place.question_id] = offset
        elif place.key is not None:
            gone.add(answers.pop(place.answer_id, -1))
            answers[place.answer_id] = offset
            content, offsets = versions.get(place.subject_id, (place.content_id, []))
            if content != place.content_id:
                gone.update(offsets)
                offsets = []
            offsets.append(offset)
            versions[place.subject_id] = place.content_id, offsets
    return gone - {-1}
