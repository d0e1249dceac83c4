"""The formats of reports, and how a report is written in each."""

import os
from collections.abc import Iterator
from enum import StrEnum
from typing import TYPE_CHECKING

from ..errors import UsageError
from ..text import quote_name
from ..urls import is_object_url

if TYPE_CHECKING:
    from ..output.streams import ByteSink
    from .gallery import Gallery
    from .results import Results

#: Characters to write at once.
_BLOCK_SIZE = 1 << 16


class ReportFormat(StrEnum):
    """A format of reports."""

    HTML = "html"
    CSV = "csv"
    MARKDOWN = "md"
    JSONL = "jsonl"
    PARQUET = "parquet"

    @property
    def is_text(self) -> bool:
        """Whether it is text, which a terminal can show."""
        return self is not ReportFormat.PARQUET


#: Further suffixes of the formats.
_OTHER_SUFFIXES = {"htm": ReportFormat.HTML, "markdown": ReportFormat.MARKDOWN, "ndjson": ReportFormat.JSONL}


def find_format(name: str) -> ReportFormat:
    """Find the format of a file by its name.

    Raises:
        UsageError: no format has this suffix.
    """
    suffix = os.path.splitext(name)[1].removeprefix(".").lower()
    formats = {**{item.value: item for item in ReportFormat}, **_OTHER_SUFFIXES}
    if suffix not in formats:
        problem = f"the suffix .{suffix} is not known" if suffix else "it has no suffix"
        names = ", ".join(ReportFormat)
        raise UsageError(
            f"no format for -o {quote_name(name)}: {problem}", hint=f"Name the format with --format: {names}"
        )
    return formats[suffix]


def write_report(
    results: "Results",
    sink: "ByteSink",
    name: str,
    report_format: ReportFormat,
    *,
    title: str,
    has_mark: bool = False,
    gallery: "Gallery | None" = None,
) -> None:
    """Write a report.

    Args:
        name: the name of the file, or ``-``; paths in the report are relative to its folder.
        title: the title of a document.
        has_mark: begin a table with a byte order mark.
        gallery: the gallery of the results, for a page.
    """
    folder = os.getcwd() if name == "-" or is_object_url(name) else os.path.dirname(os.path.realpath(name))
    match report_format:
        case ReportFormat.HTML:
            assert gallery is not None
            sink.write(gallery.render())
            return
        case ReportFormat.CSV:
            from .table import iterate_csv

            pieces = iterate_csv(results, has_mark=has_mark)
        case ReportFormat.MARKDOWN:
            from .document import iterate_markdown

            pieces = iterate_markdown(results, folder, title)
        case ReportFormat.JSONL:
            pieces = (line.decode(errors="surrogatepass") for line in results.iterate_lines(folder))
        case ReportFormat.PARQUET:
            from ..output.parquet import write_records  # loads pyarrow

            write_records(results.iterate_records(folder), sink)
            return
    for block in _join(pieces):
        sink.write(block.encode(errors="backslashreplace"))


def _join(pieces: Iterator[str]) -> Iterator[str]:
    """Join small pieces into blocks."""
    block: list[str] = []
    size = 0
    for piece in pieces:
        block.append(piece)
        size += len(piece)
        if size >= _BLOCK_SIZE:
            yield "".join(block)
            block, size = [], 0
    yield "".join(block)
