"""Join the results of parts: all answers in the order of the images, then all failures."""

import json
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

from ...errors import UsageError
from ...storage.opening import open_folder
from ...text import json_text, quote_name
from ...urls import is_object_url
from ..entries import move_record
from .output_folder import PartFormat, PartsOutput
from .run_file import open_output

if TYPE_CHECKING:
    from ...output.streams import ByteSink

#: What follows the version of the schema, which every line begins with.
_OK, _FAILED = b'"ok":true,', b'"ok":false,'


def open_run(location: str, target: str | None = None) -> PartsOutput:
    """Open the files of a run.

    Args:
        target: where the results will be written.

    Raises:
        StorageError: there is no run.
        UsageError: the run is a file, or the target is a file of the run.
    """
    if os.path.isfile(location):
        name = quote_name(location)
        raise UsageError(
            f"{name} is a file, not the folder of a run in parts",
            hint=f"To join results files: qvision report {name} -o all.jsonl",
        )
    folder = open_folder(location)
    output, _ = open_output(folder)
    if target is not None and is_object_url(target) == is_object_url(folder.url):
        if not is_object_url(target):
            name = os.path.relpath(os.path.realpath(target), os.path.realpath(folder.url)).replace(os.sep, "/")
        else:
            name = target.removeprefix(folder.url)
        if output.is_own_name(name):
            raise UsageError(
                f"-o would overwrite {quote_name(target)}, which is a file of the run", hint="Name another file."
            )
    return output


def write_joined(
    output: PartsOutput, sink: "ByteSink", name: str, part_format: PartFormat, *, only_failed: bool = False
) -> None:
    """Write the lines of ``join_parts``; exceptions are those of ``join_parts`` and of the sink.

    Args:
        name: of the file or object, or ``-``. Paths in the records are relative to its folder.
    """
    lines = join_parts(output, only_failed=only_failed)
    folder = os.getcwd() if name == "-" or is_object_url(name) else os.path.dirname(os.path.realpath(name))
    if not is_object_url(output.folder.url):
        lines = (_move(line, os.path.realpath(output.folder.url), folder) for line in lines)
    if part_format is PartFormat.PARQUET:
        from ...output.parquet import write_records  # loads pyarrow

        write_records(map(json.loads, lines), sink)
    else:
        for line in lines:
            sink.write(line)


def join_parts(output: PartsOutput, *, only_failed: bool = False) -> Iterator[bytes]:
    """Yield the lines of all finished parts: first the answers, then the failures. One part is in memory at a time.

    Raises:
        StorageError: a part cannot be read.
    """
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
    yield from () if stored is None else (line + b"\n" for line in stored.lines.split(b"\n")[:-1])


def _move(line: bytes, source_folder: str, folder: str) -> bytes:
    record = json.loads(line)
    moved = move_record(record, source_folder, folder)
    return line if moved is record else json_text(moved).encode() + b"\n"


def _is_failure(line: bytes) -> bool:
    """Whether a line is about a failure."""
    start = line.partition(b",")[2]
    return start.startswith(_FAILED) or not (start.startswith(_OK) or json.loads(line)["ok"])
