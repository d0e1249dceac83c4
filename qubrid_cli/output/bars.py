"""Tables with bars on a terminal."""

from collections.abc import Iterable, Sequence

from rich.bar import Bar as BlockBar
from rich.console import RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text as StyledText

from ..frozen import frozen
from ..text import strip_control_characters
from .appearance import MAX_PROSE_WIDTH
from .terminal import make_console

#: Columns; if there is less room, no bars are drawn.
_MIN_BAR_WIDTH = 8
#: The largest share of the table that names take, and their least columns.
_NAME_SHARE = 0.35
_MIN_NAME_WIDTH = 8
#: Columns that are reserved for numbers.
_NUMBERS_WIDTH = 56


@frozen
class Bar:
    """A bar that fills a part of its column, from 0 to 1."""

    fraction: float


def measure_names() -> int:
    """The columns for names in ``show_bar_table``, which leave room for numbers and bars."""
    width = min(make_console().width, MAX_PROSE_WIDTH)
    return max(_MIN_NAME_WIDTH, min(int(width * _NAME_SHARE), width - _NUMBERS_WIDTH))


def show_bar_table(titles: Sequence[str], rows: Iterable[Sequence[str | Bar]]) -> None:
    """Draw a table of names, numbers and bars, and an empty line below it.

    Args:
        titles: the titles of the columns; that of a column of bars is empty.
        rows: the first cell of each is a name, the others are numbers or bars. A ``*`` before the name makes the row bold.
    """
    console = make_console()
    width = min(console.width, MAX_PROSE_WIDTH)
    table_rows = [list(row) for row in rows]
    bars = {index for row in table_rows for index, cell in enumerate(row) if isinstance(cell, Bar)}
    widths = {  # of the columns of text
        index: max(len(title), *(len(cell) for cell in column if isinstance(cell, str)), 0)
        for index, (title, column) in enumerate(zip(titles, zip(*table_rows, strict=True), strict=True))
        if index not in bars
    }
    widths[0] = min(widths[0], measure_names())
    room = width - sum(widths.values()) - 2 * (len(titles) - 1)
    has_bars = room >= _MIN_BAR_WIDTH * len(bars)
    table = Table(box=None, pad_edge=False, header_style="bold", width=width if bars and has_bars else None)
    for index, title in enumerate(titles):
        if index == 0:
            table.add_column(title, overflow="fold", width=widths[0])
        elif index not in bars:
            table.add_column(title, justify="right", no_wrap=True, min_width=widths[index])
        elif has_bars:
            table.add_column(title, ratio=1, min_width=_MIN_BAR_WIDTH)
    for row in table_rows:
        style = "bold" if isinstance(row[0], str) and row[0].startswith("*") else ""
        cells = [cell for cell in row if has_bars or not isinstance(cell, Bar)]
        table.add_row(*(_render(cell, is_ascii=console.options.ascii_only) for cell in cells), style=style)
    console.print(table)
    console.print()


def show_sentences(sentences: Iterable[str]) -> None:
    """Print each sentence on a new line, wrapped at words."""
    console = make_console()
    for sentence in sentences:
        console.print(StyledText(strip_control_characters(sentence)), width=min(console.width, MAX_PROSE_WIDTH))


def _render(cell: str | Bar, *, is_ascii: bool) -> RenderableType:
    if isinstance(cell, str):
        return StyledText(strip_control_characters(cell))
    if is_ascii:
        return ProgressBar(total=1.0, completed=cell.fraction)
    return BlockBar(1.0, 0.0, cell.fraction, color="cyan")
