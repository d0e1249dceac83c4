"""Join the results of parts: all answers in the order of the images, then all failures."""

import json
from collections.abc import Iterator

from .description import read_description
from .output import PartsOutput

#: Every line begins with the version of its schema and this.
_OK, _FAILED = b'"ok":true,', b'"ok":false,'


def join_parts(output: PartsOutput, *, only_failed: bool = False) -> Iterator[bytes]:
    """Yield the lines of all finished parts: first the answers, then the failures. One part is in memory at a time.

    Raises:
        StorageError: there is no run, or a part cannot be read.
    """
    read_description(output)
    numbers = sorted(output.list_finished())
    parts_with_failures = set(numbers) if only_failed else set()
    for number in () if only_failed else numbers:
        for line in _read_lines(output, number):
            if _is_failure(line):
                parts_with_failures.add(number)
            else:
                yield line
    for number in sorted(parts_with_failures):
        yield from filter(_is_failure, _read_lines(output, number))


def count_unfinished(output: PartsOutput) -> int:
    """Count the parts that have no result yet, of those that were planned."""
    return len(set(output.list_planned()) - output.list_finished())


def _read_lines(output: PartsOutput, number: int) -> Iterator[bytes]:
    stored = output.read_result(number)
    yield from () if stored is None else (line + b"\n" for line in stored.data.split(b"\n")[:-1])


def _is_failure(line: bytes) -> bool:
    """Whether a line is about a failure."""
    start = line.partition(b",")[2]
    return start.startswith(_FAILED) or not (start.startswith(_OK) or json.loads(line)["ok"])
