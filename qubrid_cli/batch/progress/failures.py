"""The failures of a run by kind, for its summary."""

from collections.abc import Iterator
from dataclasses import dataclass

from ...frozen import frozen
from ...text import escape_control_characters
from ..entries import Record

#: Kinds of failures that the summary lists.
_MAX_FAILURE_LINES = 10
#: Kinds of failures that are told apart; a server may send an error code of its own for each image.
_MAX_FAILURE_KINDS = 100
#: Characters of an image's name, and of a message, in the summary.
_MAX_NAME_LENGTH, _MAX_MESSAGE_LENGTH = 60, 200


@dataclass(slots=True)
class _FailureKind:
    """Failures with the same code and status: how many, the first image, and its message."""

    name: str
    first_image: str
    first_message: str
    count: int = 1

    def format_line(self) -> str:
        image = _shorten(escape_control_characters(self.first_image), _MAX_NAME_LENGTH, from_start=True)
        message = _shorten(escape_control_characters(self.first_message), _MAX_MESSAGE_LENGTH)
        name = _shorten(escape_control_characters(self.name), _MAX_NAME_LENGTH)
        return f"failed: {self.count:,} × {name}, first {image}: {message}"


@frozen
class FailureCount:
    """Failures with the same code and status, as plain data."""

    name: str
    count: int
    first_image: str
    first_message: str


class FailureSummary:
    """The kinds of failures of a run."""

    def __init__(self) -> None:
        self._kinds: dict[str, _FailureKind] = {}
        self._other_count = 0

    def add(self, record: Record) -> None:
        """Count a failed image."""
        error = record["error"]
        name = f"{error['code']} (HTTP {error['status']})" if error["status"] else str(error["code"])
        if (kind := self._kinds.get(name)) is not None:
            kind.count += 1
        elif len(self._kinds) < _MAX_FAILURE_KINDS:
            self._kinds[name] = _FailureKind(name, record["images"][0]["source"], error["message"])
        else:
            self._other_count += 1

    def add_count(self, failures: FailureCount) -> None:
        """Add the failures of one kind that another process has counted."""
        if (kind := self._kinds.get(failures.name)) is not None:
            kind.count += failures.count
        elif len(self._kinds) < _MAX_FAILURE_KINDS:
            self._kinds[failures.name] = _FailureKind(
                failures.name, failures.first_image, failures.first_message, failures.count
            )
        else:
            self._other_count += failures.count

    def list_counts(self) -> list[FailureCount]:
        """The kinds, as plain data."""
        return [
            FailureCount(kind.name, kind.count, kind.first_image, kind.first_message) for kind in self._kinds.values()
        ]

    def format_lines(self) -> Iterator[str]:
        """Format a line for each of the most frequent kinds, and one for all others."""
        kinds = sorted(self._kinds.values(), key=lambda kind: -kind.count)
        for kind in kinds[:_MAX_FAILURE_LINES]:
            yield kind.format_line()
        if count := self._other_count + sum(kind.count for kind in kinds[_MAX_FAILURE_LINES:]):
            yield f"failed: {count:,} × other errors"


def _shorten(text: str, length: int, *, from_start: bool = False) -> str:
    """Cut a text that is too long: at its end, or at its start, as for a path, whose end says more."""
    if len(text) <= length:
        return text
    return f"…{text[1 - length :]}" if from_start else f"{text[: length - 1]}…"
