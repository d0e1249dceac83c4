"""The folder of a run in parts: the names and the content of its files.

- ``run.json``: the question.
- ``plan/part-00001.jsonl``: the images of a part.
- ``partial/part-00001.jsonl``: its answers so far; ``partial/part-00001.json``: their counts.
- ``part-00001.jsonl`` or ``part-00001.parquet``: its result.
- ``failed/part-00001.json``: exists if the result contains failures.
- ``lock/``: the running drivers.
"""

import io
import json
import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import fields
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from ...errors import ImageError, MissingObjectError, StorageError
from ...frozen import frozen
from ...text import json_text
from ..inputs import InputItem, MissingImage, Task
from .lease import LOCK_FOLDER

if TYPE_CHECKING:
    from ...storage.folder import Folder, Version

_Line = dict[str, Any]
#: What a line says about its image, besides the name; all other fields are about the answer.
_IMAGE_FIELDS = ("index", "source_id", "path", "version")

RUN_FILE = "run.json"
_NUMBER = re.compile(r"(?:\w+/)?part-(\d{5,})\.(\w+)")
_FOLDERS = ("plan/", "partial/", "failed/", LOCK_FOLDER)
_TASK_FIELDS = [item.name for item in fields(Task)]


class PartFormat(StrEnum):
    """The format of the results of parts; the values are the suffixes of their files."""

    JSONL = "jsonl"
    PARQUET = "parquet"

    @classmethod
    def from_name(cls, name: str) -> "PartFormat":
        """Choose the format by the suffix of a file; JSONL for any other suffix than that of Parquet."""
        return cls.PARQUET if name.lower().endswith(".parquet") else cls.JSONL

    def encode_lines(self, lines: bytes) -> bytes:
        """Encode lines as the result of a part.

        Raises:
            ConfigError: the library for Parquet is not installed.
        """
        if self is PartFormat.JSONL:
            return lines
        from ...output.parquet import write_records  # loads pyarrow

        file = io.BytesIO()
        write_records(map(json.loads, lines.split(b"\n")[:-1]), file)
        return file.getvalue()

    def decode_lines(self, data: bytes, name: str) -> bytes:
        """Decode the result of a part as lines.

        Args:
            name: of the file, for errors.

        Raises:
            ConfigError: the library for Parquet is not installed.
            StorageError: the file is damaged.
        """
        if self is PartFormat.JSONL:
            return data
        from ...output.parquet import read_records  # loads pyarrow

        return b"".join(json_text(record).encode() + b"\n" for record in read_records(io.BytesIO(data), name))


@frozen
class PartResult:
    """The lines of a finished part, and the version of its file."""

    lines: bytes
    version: "Version"


class PartsOutput:
    """The folder of a run in parts.

    Attributes:
        folder: gives access to its files.
        part_format: of the results of parts.
    """

    def __init__(self, folder: "Folder", part_format: PartFormat = PartFormat.JSONL) -> None:
        self.folder = folder
        self.part_format = part_format

    def _result_name(self, number: int) -> str:
        return f"part-{number:05d}.{self.part_format}"

    @staticmethod
    def _plan_name(number: int) -> str:
        return f"plan/part-{number:05d}.jsonl"

    @staticmethod
    def _partial_name(number: int) -> str:
        return f"partial/part-{number:05d}.jsonl"

    @staticmethod
    def _report_name(number: int) -> str:
        return f"partial/part-{number:05d}.json"

    @staticmethod
    def _failed_name(number: int) -> str:
        return f"failed/part-{number:05d}.json"

    @staticmethod
    def is_own_name(name: str) -> bool:
        """Whether a run may write a file of this name."""
        return name == RUN_FILE or name.startswith(_FOLDERS) or _NUMBER.fullmatch(name) is not None

    def list_planned(self) -> list[int]:
        """List the numbers of the parts that are planned, in order."""
        return sorted(self._list_numbers("plan/", "jsonl"))

    def list_finished(self) -> set[int]:
        """List the numbers of the parts that have a result."""
        return set(self._list_numbers("", self.part_format))

    def list_begun(self) -> list[int]:
        """List the numbers of the unfinished parts with saved answers, in order."""
        return sorted(set(self._list_numbers("partial/", "jsonl")) - self.list_finished())

    def list_failed(self) -> list[int]:
        """List the numbers of the parts whose results contain failures, in order."""
        return sorted(self._list_numbers("failed/", "json"))

    def _list_numbers(self, prefix: str, suffix: str) -> Iterator[int]:
        for item in self.folder.list(prefix):
            match = _NUMBER.fullmatch(item.name)
            is_inside = item.name.startswith(prefix) and item.name.count("/") == prefix.count("/")
            if match is not None and is_inside and match[2] == suffix:
                yield int(match[1])

    def has_result(self, number: int) -> bool:
        """Whether a part is finished."""
        return self.folder.exists(self._result_name(number))

    def read_result(self, number: int) -> PartResult | None:
        """Read the result of a part; ``None`` if it is not finished."""
        name = self._result_name(number)
        with suppress(MissingObjectError):
            stored = self.folder.read_versioned(name)
            return PartResult(self.part_format.decode_lines(stored.data, self.folder.url + name), stored.version)
        return None

    def create_plan(self, number: int, items: Iterable[InputItem]) -> bool:
        """Write the list of the images of a part; false if another run has already written one."""
        data = b"".join(map(encode_item, items))
        return self.folder.create(self._plan_name(number), data) is not None

    def read_plan(self, number: int) -> list[InputItem]:
        """Read the images of a part.

        Raises:
            StorageError: there is no such part, or its list is damaged.
        """
        name = self._plan_name(number)
        lines = self.folder.read(name).split(b"\n")[:-1]
        try:
            return [decode_item(line) for line in lines]
        except (ValueError, TypeError, KeyError) as error:
            raise StorageError(
                f"{self.folder.url}{name} is damaged", hint="Delete it, and the result of the part if there is one."
            ) from error

    def read_partial(self, number: int) -> bytes:
        """Read the lines of an unfinished part; empty if it was never started."""
        with suppress(MissingObjectError):
            return self.folder.read(self._partial_name(number))
        return b""

    def save_partial(self, number: int, lines: bytes) -> None:
        """Write the lines of an unfinished part."""
        self.folder.put(self._partial_name(number), lines)

    def read_report(self, number: int) -> bytes | None:
        """Read the last report of the worker of an unfinished part; ``None`` if there is none."""
        with suppress(MissingObjectError):
            return self.folder.read(self._report_name(number))
        return None

    def save_report(self, number: int, data: bytes) -> None:
        """Write a report of the worker of an unfinished part."""
        self.folder.put(self._report_name(number), data)

    def finish(self, number: int, lines: bytes, previous: PartResult | None, *, has_failures: bool) -> None:
        """Write the result of a part, unless another worker has written one in the meantime.

        If this is interrupted, a part with failures is still in the list of failed parts.

        Args:
            previous: the result with failures that this one replaces.
        """
        if has_failures:
            self.folder.put(self._failed_name(number), b"{}\n")
        name, data = self._result_name(number), self.part_format.encode_lines(lines)
        if previous is None:
            self.folder.create(name, data)
        elif self.folder.update(name, data, previous.version) is not None and not has_failures:
            self.folder.delete(self._failed_name(number))
        self.folder.delete(self._partial_name(number))
        self.folder.delete(self._report_name(number))


def encode_item(item: InputItem) -> bytes:
    """Encode an image as a line of ``plan/``."""
    task, error = (item.task, item.error) if isinstance(item, MissingImage) else (item, None)
    line: dict[str, Any] = {name: value for name in _TASK_FIELDS if (value := getattr(task, name)) is not None}
    if error is not None:
        line["error"] = {"message": error.message, "hint": error.hint, "code": error.code}
    return json.dumps(line, separators=(",", ":")).encode() + b"\n"


def decode_item(line: bytes) -> InputItem:
    """Decode a line of ``plan/``.

    Raises:
        ValueError: it is damaged; or a ``TypeError`` or ``KeyError``.
    """
    values = json.loads(line)
    error = values.pop("error", None)
    task = Task(**values)
    if error is None:
        return task
    return MissingImage(task, ImageError(error["message"], hint=error["hint"], code=error["code"]))


def finish_lines(data: bytes) -> tuple[bytes, bool]:
    """Sort the lines of a results file by the positions of their images.

    Of the images with the same answer, the first one becomes the original and the others its duplicates.

    Returns:
        The lines, and whether any of them is a failure.
    """
    lines: list[tuple[_Line, bytes]] = [(json.loads(line), line + b"\n") for line in data.split(b"\n") if line.strip()]
    lines.sort(key=lambda item: item[0]["index"])
    positions_by_key: dict[str, list[int]] = {}
    for position, (line, _) in enumerate(lines):
        if line["key"] is not None:
            positions_by_key.setdefault(line["key"], []).append(position)
    for positions in positions_by_key.values():
        group = [lines[position][0] for position in positions]
        for position, line in zip(positions, _put_original_first(group), strict=True):
            if line is not lines[position][0]:
                lines[position] = line, json_text(line).encode() + b"\n"
    return b"".join(encoded for _, encoded in lines), any(not line["ok"] for line, _ in lines)


def _put_original_first(group: list[_Line]) -> list[_Line]:
    """Exchange the answers of the first line and of the original, if the first one is a duplicate of it."""
    original = next((position for position, line in enumerate(group) if line["duplicate_of"] is None), 0)
    if original == 0:
        return group
    exchanged = group.copy()
    exchanged[0], exchanged[original] = _answer_for(group[0], group[original]), _answer_for(group[original], group[0])
    name = exchanged[0]["images"][0]["source"]
    return [exchanged[0], *({**line, "duplicate_of": name} for line in exchanged[1:])]


def _answer_for(image: _Line, answer: _Line) -> _Line:
    """Return the line of one image with the answer of another one, which has the same content."""
    source = image["images"][0]["source"]
    images = [{**answer["images"][0], "source": source}, *answer["images"][1:]]
    return {**answer, "images": images, **{name: image[name] for name in _IMAGE_FIELDS}}
