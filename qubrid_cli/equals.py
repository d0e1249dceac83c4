"""Equal images of a run, told apart without reading those that can be equal to no other."""

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from . import entries, work
from .errors import ImageError
from .finding import Task
from .sources import File, Piped, Remote, Source
from .work import Question, Read


class Equals:
    """The images that were looked at so far, a few bytes of each.

    Files of different sizes are different, so only those are read that have the size of another.

    Args:
        opened: where the bytes of an image are.
    """

    def __init__(self, question: Question, opened: Callable[[Task], Source]) -> None:
        self._question = question
        self._opened = opened
        self._alone: dict[int, Task | None] = {}  # by size; None where they were read
        self._keys: set[bytes] = set()

    def has(self, task: Task) -> bool:
        """Whether an image, with its prompt, is the same as an earlier one.

        Raises:
            ImageError: it cannot be read, as far as that had to be tried.
        """
        source = self._opened(task)
        if isinstance(source, Piped | Remote):  # read once only, or not for nothing
            return False
        if isinstance(source, File) and (size := _size(source.path)) is not None:
            if size not in self._alone:
                self._alone[size] = task
                return False
            self._read_alone(size)
        return self.has_read(work.read(task, source, self._question))

    def has_read(self, read: Read) -> bool:
        """The same of an image whose bytes are at hand."""
        key = entries.digest(read.key)
        is_known = key in self._keys
        self._keys.add(key)
        return is_known

    def _read_alone(self, size: int) -> None:
        """The first one of this size is alone no longer."""
        task, self._alone[size] = self._alone[size], None
        if task is not None:
            with suppress(ImageError):  # it was counted as one that could be asked about
                self.has_read(work.read(task, self._opened(task), self._question))


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except (OSError, ValueError):  # which reading it will tell
        return None
