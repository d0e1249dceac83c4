"""Results as a table in CSV: columns that every table has, then those of ``data`` and of the list."""

import csv
import io
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from ..text import json_text, strip_control_characters
from .results import ResultItem, Results

Cell = str | int | float | bool | None

#: The columns that every table has. Their names and meanings do not change; new columns are added at the end.
_COLUMNS: Mapping[str, Callable[[ResultItem], Any]] = {
    "source": lambda item: ", ".join(item.sources),
    "page": lambda item: item.page,
    "state": lambda item: item.state.value,
    "text": lambda item: item.text,
    "error": lambda item: (item.error or {}).get("message"),
    "error_code": lambda item: (item.error or {}).get("code"),
    "model": lambda item: item.model,
    "prompt": lambda item: item.prompt,
    "created": lambda item: item.created,
    "prompt_tokens": lambda item: item.prompt_tokens,
    "completion_tokens": lambda item: item.completion_tokens,
    "ttft_seconds": lambda item: item.figures.ttft,
    "tokens_per_second": lambda item: item.figures.rate,
    "total_seconds": lambda item: item.figures.total,
    "cost": lambda item: item.cost,
    "currency": lambda item: item.currency,
    "width": lambda item: item.record["images"][0].get("width"),
    "height": lambda item: item.record["images"][0].get("height"),
    "sha256": lambda item: item.record["images"][0].get("sha256"),
    "path": lambda item: item.record.get("path"),
    "index": lambda item: item.record.get("index"),
    "source_id": lambda item: item.record.get("source_id"),
    "duplicate_of": lambda item: item.record.get("duplicate_of"),
    "corrected": lambda item: item.correction is not None and item.correction.text is not None,
    "bad": lambda item: item.is_bad,
}
#: The parts of a record that have a column for each of their values.
_EXPANDED = ("data", "row")
#: The depth to which nested objects have columns; deeper ones are JSON.
_MAX_DEPTH = 4
#: A part of a record with more columns than this has one column: probably, each image has names of its own.
_MAX_EXPANDED = 200
#: The start of a cell that a spreadsheet reads as a formula, even after spaces and in full width.
#: Source: OWASP, CSV Injection.
_FORMULA = re.compile(r"[\s\0]*[=+\-@\uff1d\uff0b\uff0d\uff20]|[\t\r\n]")
#: The start of a formula after a semicolon or a line break, where Excel splits lines in many locales, even within quotes.
_NEW_FORMULA = re.compile(r"(?<=[;\n])(?=[ \t\"]*(?:[=@\uff1d\uff20]|[+\-\uff0b\uff0d][ \t]*\S*[|!(]))")
_NUMBER = re.compile(r"[+-]?\d[\d.,]*([eE][+-]?\d+)?")


def iterate_csv(results: Results, *, has_mark: bool = False) -> Iterator[str]:
    """Yield the lines of a table in the format of RFC 4180, but with the line breaks of Unix.

    An apostrophe comes before text that a spreadsheet would read as a formula.

    Args:
        has_mark: begin with a byte order mark, by which Excel recognizes UTF-8.
    """
    expanded = _find_columns(results.iterate_records())
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    names = [*_COLUMNS, *(name for columns in expanded.values() for name in columns)]
    writer.writerow(map(_format_cell, names))
    yield ("\ufeff" if has_mark else "") + _take(buffer)
    for item in results:
        cells = [find(item) for find in _COLUMNS.values()]
        for part, columns in expanded.items():
            values = _expand(item.record.get(part), part, is_flat=[part] == columns)
            cells += [values.get(name) for name in columns]
        writer.writerow(map(_format_cell, cells))
        yield _take(buffer)


def _take(buffer: io.StringIO) -> str:
    text = buffer.getvalue()
    buffer.seek(0)
    buffer.truncate()
    return text


def _find_columns(records: Iterable[Mapping[str, Any]]) -> dict[str, list[str]]:
    """Find the columns for the values of each part, in the order of their first appearance."""
    expanded: dict[str, dict[str, None]] = {part: {} for part in _EXPANDED}
    for record in records:
        for part, columns in expanded.items():
            if len(columns) <= _MAX_EXPANDED:
                columns.update(dict.fromkeys(_expand(record.get(part), part)))
    return {part: list(columns) if len(columns) <= _MAX_EXPANDED else [part] for part, columns in expanded.items()}


def _expand(value: Any, name: str, *, is_flat: bool = False, depth: int = 0) -> dict[str, Any]:
    """Return the values of an object by column: ``{"a": {"b": 1}}`` has the column ``data.a.b``."""
    if value is None and not depth:
        return {}
    if is_flat or not isinstance(value, Mapping) or not value or depth == _MAX_DEPTH:
        return {name: value}
    cells: dict[str, Any] = {}
    for key, inner in value.items():
        for column, cell in _expand(inner, f"{name}.{key}", depth=depth + 1).items():
            unique = column
            while unique in cells:  # a dot in a key
                unique += "_"
            cells[unique] = cell
    return cells


def _format_cell(value: Any) -> Cell:
    if isinstance(value, bool):
        return "true" if value else "false"
    if value is None or isinstance(value, int | float):
        return value
    text = value if isinstance(value, str) else json_text(value)
    text = _NEW_FORMULA.sub("'", strip_control_characters(text.replace("\r\n", "\n")))
    return f"'{text}" if _FORMULA.match(text) and not _NUMBER.fullmatch(text) else text
