"""Equal images: the first is asked about, and those that come while it is under way wait for its answer."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from .entries import Record
from .sources import Bytes
from .work import Read


@dataclass(slots=True)
class _First:
    """An image that is being seen to: those that are the same, and its record once there is one."""

    followers: list[tuple[int, Read]] = field(default_factory=list)
    record: Record | None = None


class Twins:
    """What is being seen to, by its key, until its outcome is written; from then on the results file knows it."""

    def __init__(self) -> None:
        self._firsts: dict[str, _First] = {}

    def begin(self, key: str) -> None:
        """The first of its kind is seen to."""
        self._firsts[key] = _First()

    def is_one(self, number: int, read: Read) -> bool:
        """Whether an image is the same as one that is being seen to; then it waits for that."""
        first = self._firsts.get(read.key)
        if first is not None:
            first.followers.append((number, replace(read, source=Bytes(read.source.name, b""))))
        return first is not None

    def end(self, key: str, record: Record) -> None:
        """What became of the first."""
        self._firsts[key].record = record

    def followers(self, key: str) -> Iterator[tuple[int, Read, Record]]:
        """Those that have waited, with what became of the first; none before that is known."""
        first = self._firsts[key]
        while first.record is not None and first.followers:
            yield (*first.followers.pop(0), first.record)

    def forget(self, key: str) -> None:
        """The outcome of the first is written."""
        del self._firsts[key]
