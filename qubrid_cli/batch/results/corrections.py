"""Corrections of answers by people: ``corrections.jsonl`` beside the results file, which itself is never changed.

Each line states all that is corrected about one answer, so the last line about an answer is the valid one.
"""

import errno
import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ... import files
from ...errors import OutputError, StorageError
from ...frozen import frozen
from ...text import format_count, json_text, quote_name
from ..sidecars.captions import format_caption

CORRECTIONS_FILE = "corrections.jsonl"
#: By these keys of a record, and its images, an answer without a ``key`` is identified.
_IDENTIFYING_KEYS = ("prompt", "model", "request", "source_id")


@frozen
class Correction:
    """What a person changed about an answer.

    Attributes:
        text: the corrected answer; of an answer with ``data``, its JSON. ``None`` if the model's stays.
        is_bad: the answer must not be used.
        created: when, in UTC, as in a record.
    """

    text: str | None = None
    is_bad: bool = False
    created: str | None = None

    @property
    def is_empty(self) -> bool:
        """Whether it takes an earlier correction back."""
        return self.text is None and not self.is_bad


class Corrections:
    """The corrections of some files."""

    def __init__(self) -> None:
        self._damaged_counts: dict[str, int] = {}
        self._by_key: dict[str, Correction] = {}
        self._texts_by_name: dict[str, list[str]] = {}

    def __bool__(self) -> bool:
        """Whether there is any correction."""
        return bool(self._by_key)

    def read_file(self, path: Path) -> None:
        """Add the corrections of a file, if it exists.

        Raises:
            StorageError: it cannot be read.
        """
        try:
            with path.open("rb") as file:
                self.add_lines(file, name=os.fspath(path))
        except FileNotFoundError:
            pass
        except OSError as error:
            raise StorageError(
                f"cannot read {quote_name(path)}: {error.strerror}", hint="Check its permissions."
            ) from error

    def add_lines(self, lines: Iterable[bytes], *, name: str) -> None:
        """Add corrections, each in place of an earlier one of the same answer.

        Args:
            name: the path or URL of the file.
        """
        for line in lines:
            match _parse(line):
                case {"key": str(key), "bad": bool(is_bad), "text": str() | None as text, **others}:
                    created = others.get("created")
                    correction = Correction(text, is_bad, created if isinstance(created, str) else None)
                    image_name = os.path.basename(str(others.get("source")))
                    self._texts_by_name.setdefault(image_name, []).extend(filter(None, [text]))
                    self._by_key[key] = correction
                case _ if line.strip():
                    self._damaged_counts[name] = self._damaged_counts.get(name, 0) + 1

    def format_notes(self) -> Iterator[str]:
        """Say which files have lines that could not be read."""
        for name, count in self._damaged_counts.items():
            yield f"damaged: {format_count(count, 'line')} of {quote_name(name)}, ignored"

    def add(self, record: Mapping[str, Any], correction: Correction) -> None:
        """Add the correction of an answer, in place of an earlier one."""
        self._by_key[identify_answer(record)] = correction

    def may_concern(self, source: str) -> bool:
        """Whether there may be a correction about an image; quicker than ``find``, which needs its record."""
        return os.path.basename(source) in self._texts_by_name

    def has_text(self, source: str, text: str) -> bool:
        """Whether an answer about an image was ever corrected so that its caption is this text, apart from whitespace."""
        captions = (format_caption({"text": other}) for other in self._texts_by_name.get(os.path.basename(source), ()))
        return any(_squeeze(caption) == _squeeze(text) for caption in captions)

    def find(self, record: Mapping[str, Any]) -> Correction | None:
        """Find the correction of an answer, unless it was taken back."""
        correction = self.find_last(record)
        return None if correction is None or correction.is_empty else correction

    def find_last(self, record: Mapping[str, Any]) -> Correction | None:
        """Find the last correction of an answer, which may take an earlier one back."""
        return self._by_key.get(identify_answer(record)) if self._by_key else None


def read_corrections(folder: Path, notify: Callable[[str], None]) -> Corrections:
    """Read the corrections of the results in a folder.

    Raises:
        StorageError: they cannot be read.
    """
    corrections = Corrections()
    corrections.read_file(folder / CORRECTIONS_FILE)
    for note in corrections.format_notes():
        notify(note)
    return corrections


def identify_answer(record: Mapping[str, Any]) -> str:
    """Identify an answer: by its key, or if it has none by its images, the prompt, the model and the parameters."""
    if isinstance(key := record.get("key"), str):
        return key
    images = record.get("images")
    names = [
        image.get("sha256") or image.get("source")
        for image in (images if isinstance(images, list) else [])
        if isinstance(image, dict)
    ]
    values = [names, *(record.get(name) for name in _IDENTIFYING_KEYS)]
    text = json.dumps(values, sort_keys=True, separators=(",", ":"))
    return f"answer:{hashlib.sha256(text.encode()).hexdigest()}"


def apply_correction(record: dict[str, Any], correction: Correction) -> dict[str, Any]:
    """Return the record of an answer with the corrected text, and what was corrected.

    With a corrected text, an answer that was cut off or failed counts as complete. ``data`` becomes the JSON in the
    corrected text, or ``None`` if that is not valid JSON.
    """
    note = {"model_text": record.get("text"), "bad": correction.is_bad, "created": correction.created}
    corrected = {**record, "correction": note}
    if correction.text is not None:
        corrected["text"] = correction.text
        corrected |= {"ok": True, "complete": True, "error": None} if correction.text.strip() else {}
        if record.get("data") is not None:
            corrected["data"] = _parse(correction.text.encode(errors="replace"))
    return corrected


def check_correction(record: Mapping[str, Any], text: str) -> None:
    """Check that a text can replace an answer.

    Raises:
        ValueError: the answer is JSON and the text is not; the message is a sentence for the user.
    """
    if record.get("data") is not None and _parse(text.encode(errors="replace")) is None:
        raise ValueError("the answer is JSON, and the corrected text is not valid JSON")


def is_unchanged(record: Mapping[str, Any], text: str) -> bool:
    """Whether a text says the same as the answer."""
    if (data := record.get("data")) is not None:
        return bool(_parse(text.encode(errors="replace")) == data)
    return text == (record.get("text") or "")


def append_correction(path: Path, record: Mapping[str, Any], *, text: str | None, is_bad: bool) -> Correction:
    """Append what a person changed about an answer to a file, which is created if there is none.

    Raises:
        OutputError: it cannot be written.
    """
    created = datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
    correction = Correction(text, is_bad, created)
    images = record.get("images") or [{}]
    line = {
        "key": identify_answer(record),
        "source": images[0].get("source"),
        "prompt": record.get("prompt"),
        "model": record.get("model"),
        "text": text,
        "bad": is_bad,
        "created": correction.created,
    }
    try:
        _append(path, json_text(line).encode() + b"\n")
    except OSError as error:
        raise OutputError(
            f"cannot write {quote_name(path)}: {error.strerror}",
            hint="Check its permissions, and the space on the disk.",
        ) from error
    return correction


def _append(path: Path, line: bytes) -> None:
    """Append a whole line, also after one that is torn."""
    flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | getattr(os, "O_BINARY", 0)
    descriptor = os.open(path, flags, 0o666)
    try:
        with files.lock_for_writing(descriptor):
            size = os.fstat(descriptor).st_size
            if size and os.lseek(descriptor, size - 1, os.SEEK_SET) >= 0 and os.read(descriptor, 1) != b"\n":
                line = b"\n" + line
            if os.write(descriptor, line) < len(line):
                os.ftruncate(descriptor, size)
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    finally:
        os.close(descriptor)


def _squeeze(text: str) -> str:
    """Remove all whitespace."""
    return "".join(text.split())


def _parse(data: bytes) -> Any:
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        return None
