"""The folder of a run in parts: the names and the content of its files.

``run.json``, the question; ``plan/part-00001.jsonl``, the images of a part; ``partial/part-00001.jsonl``, its answers so far;
``part-00001.jsonl``, its result; ``failed/part-00001.json``, if that contains failures; ``lock/``, the running drivers.
"""

import json
import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from ...errors import ImageError, MissingObjectError, StorageError
from ..inputs import InputItem, MissingImage, Task

if TYPE_CHECKING:
    from ...storage.folder import Folder, StoredObject

RUN_FILE = "run.json"
_NUMBER = re.compile(r"(?:\w+/)?part-(\d{5,})\.jsonl?")
_TASK_FIELDS = [item.name for item in fields(Task)]


class PartsOutput:
    """The folder of a run in parts.

    Attributes:
        folder: where it is.
    """

    def __init__(self, folder: "Folder") -> None:
        self.folder = folder

    @staticmethod
    def result_name(number: int) -> str:
        """The name of the result of a part."""
        return f"part-{number:05d}.jsonl"

    @staticmethod
    def _plan_name(number: int) -> str:
        return f"plan/part-{number:05d}.jsonl"

    @staticmethod
    def _partial_name(number: int) -> str:
        return f"partial/part-{number:05d}.jsonl"

    @staticmethod
    def _failed_name(number: int) -> str:
        return f"failed/part-{number:05d}.json"

    def list_planned(self) -> list[int]:
        """The numbers of the parts whose images are fixed, in order."""
        return sorted(self._list_numbers("plan/"))

    def list_finished(self) -> set[int]:
        """The numbers of the parts that have a result."""
        return set(self._list_numbers(""))

    def list_failed(self) -> list[int]:
        """The numbers of the parts whose results contain failures, in order."""
        return sorted(self._list_numbers("failed/"))

    def _list_numbers(self, prefix: str) -> Iterator[int]:
        for item in self.folder.list(prefix):
            match = _NUMBER.fullmatch(item.name)
            if match is not None and item.name.startswith(prefix) and item.name.count("/") == prefix.count("/"):
                yield int(match[1])

    def has_result(self, number: int) -> bool:
        """Whether a part is finished."""
        return self.folder.exists(self.result_name(number))

    def read_result(self, number: int) -> "StoredObject | None":
        """The result of a part; ``None`` if it is not finished."""
        with suppress(MissingObjectError):
            return self.folder.read_versioned(self.result_name(number))
        return None

    def create_plan(self, number: int, items: Iterable[InputItem]) -> bool:
        """Fix the images of a part; false if another run has fixed other ones."""
        data = b"".join(map(encode_item, items))
        return self.folder.create(self._plan_name(number), data) is not None

    def read_plan(self, number: int) -> list[InputItem]:
        """The images of a part.

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
        """The lines of an unfinished part; empty if it was never begun."""
        with suppress(MissingObjectError):
            return self.folder.read(self._partial_name(number))
        return b""

    def save_partial(self, number: int, lines: bytes) -> None:
        """Write the lines of an unfinished part."""
        self.folder.put(self._partial_name(number), lines)

    def finish(self, number: int, lines: bytes, previous: "StoredObject | None", *, has_failures: bool) -> None:
        """Write the result of a part, unless another worker has written one in the meantime.

        At any moment at which this is interrupted, a part with failures is known as such.

        Args:
            previous: the result with failures that it replaces.
        """
        if has_failures:
            self.folder.put(self._failed_name(number), b"{}\n")
        name = self.result_name(number)
        if previous is None:
            self.folder.create(name, lines)
        elif self.folder.update(name, lines, previous.version) is not None and not has_failures:
            self.folder.delete(self._failed_name(number))
        self.folder.delete(self._partial_name(number))


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
