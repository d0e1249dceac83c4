"""Write a report as a file for other programs."""

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

from ..images.urls import is_object_url
from ..output.streams import ByteSink
from .document import iterate_markdown
from .formats import ReportFormat
from .results import Results
from .table import iterate_csv

if TYPE_CHECKING:
    from .gallery import Gallery

#: Characters that are written at once.
_BLOCK_SIZE = 1 << 16


def write_report(
    results: Results,
    sink: ByteSink,
    name: str,
    report_format: ReportFormat,
    *,
    title: str,
    has_mark: bool = False,
    gallery: "Gallery | None" = None,
) -> None:
    """Write a report.

    Args:
        name: of the file, or ``-``; paths in the report begin in its folder.
        title: of a document.
        has_mark: a table begins with a byte order mark.
        gallery: of the results, for a page.
    """
    folder = os.getcwd() if name == "-" or is_object_url(name) else os.path.dirname(os.path.realpath(name))
    match report_format:
        case ReportFormat.HTML:
            assert gallery is not None
            sink.write(gallery.render())
            return
        case ReportFormat.CSV:
            pieces = iterate_csv(results, has_mark=has_mark)
        case ReportFormat.MARKDOWN:
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
    """Join small pieces."""
    block: list[str] = []
    size = 0
    for piece in pieces:
        block.append(piece)
        size += len(piece)
        if size >= _BLOCK_SIZE:
            yield "".join(block)
            block, size = [], 0
    yield "".join(block)
