"""The outcomes of a run on a terminal: a row for each image, as wide as the terminal."""

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

from rich.cells import cell_len, set_cell_size

from ...output.appearance import has_color, measure_width
from ...output.streams import Output
from ...text import escape_control_characters, json_text, quote_name
from ..entries import Record
from ..tasks import Done, Failed

if TYPE_CHECKING:
    from .display import ProgressDisplay

#: Columns of a name, at least and at most.
_LEAST_NAME_WIDTH, _MOST_NAME_WIDTH = 8, 32
#: Columns of a narrow terminal, which leaves little room for the numbers.
_NARROW = 60
_GAP = "  "
_BOLD, _RED, _RESET = "\x1b[1m", "\x1b[31m", "\x1b[0m"


def make_table_writer(output: Output, display: "ProgressDisplay") -> Callable[[Done | Failed], None]:
    """Return the function that writes the row of an outcome above the progress, and titles above the first row."""
    has_titles = False
    is_colored = has_color(sys.stdout)

    def write(outcome: Done | Failed) -> None:
        nonlocal has_titles
        width = measure_width(sys.stdout) - 1
        rows = [] if has_titles else [_paint(format_titles(width), _BOLD, is_colored=is_colored)]
        row = format_row(outcome.record, width)
        rows.append(row if outcome.record["ok"] else _paint(row, _RED, is_colored=is_colored))
        has_titles = True
        with display.hidden():
            output.write("".join(f"{row}\n" for row in rows), is_styled=True)

    return write


def _paint(text: str, style: str, *, is_colored: bool) -> str:
    return f"{style}{text}{_RESET}" if is_colored else text


def format_titles(width: int) -> str:
    """The titles of the columns."""
    tokens, seconds = ("tok", "s") if width < _NARROW else ("tokens", "seconds")
    return _join_cells("image", "answer", tokens, seconds, width)


def format_row(record: Record, width: int) -> str:
    """The row of an image: its name, the first line of its answer, tokens and seconds; or the message of its error.

    Args:
        width: columns of the row.
    """
    source = record["images"][0]["source"]
    name = escape_control_characters(source)
    if record["error"] is not None:
        message = record["error"]["message"].removeprefix(source).removeprefix(quote_name(source)).lstrip(": ")
        name_width = _measure_columns(width)[0]
        cell = set_cell_size(_cut_start(name, name_width), name_width)
        return _cut_end(f"{cell}{_GAP}{escape_control_characters(message)}", width)
    tokens = (record["usage"] or {}).get("total_tokens")
    seconds = record["timing"]["total_seconds"]
    return _join_cells(
        name,
        _take_first_line(record),
        f"{tokens:,}" if isinstance(tokens, int) else "-",
        "-" if seconds is None else f"{seconds:.2f}" if seconds < 100 else f"{seconds:.0f}",
        width,
    )


def _take_first_line(record: Record) -> str:
    if record["data"] is not None:
        return json_text(record["data"])
    lines = (" ".join(line.split()) for line in record["text"].splitlines())
    return escape_control_characters(next(filter(None, lines), ""))


def _measure_columns(width: int) -> tuple[int, int, int]:
    """The widths of the name, of the answer and of each number."""
    number_width = 5 if width < _NARROW else 7
    text_width = max(0, width - 2 * number_width - 3 * len(_GAP))
    name_width = min(max(text_width * 2 // 5, _LEAST_NAME_WIDTH), _MOST_NAME_WIDTH)
    return name_width, max(0, text_width - name_width), number_width


def _join_cells(name: str, answer: str, tokens: str, seconds: str, width: int) -> str:
    name_width, answer_width, number_width = _measure_columns(width)
    cells = (
        set_cell_size(_cut_start(name, name_width), name_width),
        set_cell_size(_cut_end(answer, answer_width), answer_width),
        tokens.rjust(number_width),
        seconds.rjust(number_width),
    )
    return _cut_end(_GAP.join(cells), width)


def _cut_end(text: str, width: int) -> str:
    return text if cell_len(text) <= width else f"{set_cell_size(text, max(0, width - 1)).rstrip()}…"


def _cut_start(text: str, width: int) -> str:
    """Cut a name at its start, because the end of a path says more."""
    if cell_len(text) <= width:
        return text
    while text and cell_len(text) > width - 1:
        text = text[1:]
    return f"…{text}"
