"""The formats of reports, by the suffixes of their files."""

import os
from enum import StrEnum

from ..errors import UsageError
from ..text import quote_name


class ReportFormat(StrEnum):
    """A format of reports."""

    HTML = "html"
    CSV = "csv"
    MARKDOWN = "md"
    JSONL = "jsonl"
    PARQUET = "parquet"

    @property
    def is_text(self) -> bool:
        """Whether a terminal can show it."""
        return self is not ReportFormat.PARQUET


#: Suffixes that are not the name of a format.
_OTHER_SUFFIXES = {"htm": ReportFormat.HTML, "markdown": ReportFormat.MARKDOWN, "ndjson": ReportFormat.JSONL}


def find_format(name: str) -> ReportFormat:
    """Find the format of a file by its name.

    Raises:
        UsageError: no format has its suffix.
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
