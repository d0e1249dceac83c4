"""The failures of a run by kind, for its summary."""

from collections.abc import Iterator
from dataclasses import replace

from ...frozen import frozen
from ...text import escape_control_characters, shorten
from ..entries import Record

#: Kinds of failures that the summary lists.
_MAX_FAILURE_LINES = 10
#: Kinds of failures that are counted separately; a server may send an error code of its own for each image.
_MAX_FAILURE_KINDS = 100
#: Characters of an image's name, and of a message, in the summary.
_MAX_NAME_LENGTH, _MAX_MESSAGE_LENGTH = 60, 200


@frozen
class FailureCount:
    """Failures with the same code and status: how many, the first image, and its message."""

    name: str
    count: int
    first_image: str
    first_message: str

    def format_line(self) -> str:
        """Format the line of the summary; a long path is cut at its start, because its end says more."""
        image = escape_control_characters(self.first_image)
        if len(image) > _MAX_NAME_LENGTH:
            image = f"…{image[1 - _MAX_NAME_LENGTH :]}"
        message = shorten(escape_control_characters(self.first_message), _MAX_MESSAGE_LENGTH)
        name = shorten(escape_control_characters(self.name), _MAX_NAME_LENGTH)
        return f"failed: {self.count:,} × {name}, first {image}: {message}"


class FailureSummary:
    """The kinds of failures of a run."""

    def __init__(self) -> None:
        self._counts: dict[str, FailureCount] = {}
        self._other_count = 0

    def add(self, record: Record) -> None:
        """Count a failed image."""
        error = record["error"]
        name = f"{error['code']} (HTTP {error['status']})" if error["status"] else str(error["code"])
        self.add_count(FailureCount(name, 1, record["images"][0]["source"], error["message"]))

    def add_count(self, failures: FailureCount) -> None:
        """Add failures of one kind, which another process may have counted."""
        if (total := self._counts.get(failures.name)) is not None:
            self._counts[failures.name] = replace(total, count=total.count + failures.count)
        elif len(self._counts) < _MAX_FAILURE_KINDS:
            self._counts[failures.name] = failures
        else:
            self._other_count += failures.count

    def list_counts(self) -> list[FailureCount]:
        """List the failures by kind."""
        return list(self._counts.values())

    def format_lines(self) -> Iterator[str]:
        """Format a line for each of the most frequent kinds, and one for all others."""
        counts = sorted(self._counts.values(), key=lambda failures: -failures.count)
        for failures in counts[:_MAX_FAILURE_LINES]:
            yield failures.format_line()
        if count := self._other_count + sum(failures.count for failures in counts[_MAX_FAILURE_LINES:]):
            yield f"failed: {count:,} × other errors"
