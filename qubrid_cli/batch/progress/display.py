"""How stderr shows the progress of a run: as a bar on a terminal, else as a line now and then. Uses Rich."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Self, TextIO, cast

from ...metrics import Clock
from ...output.streams import TolerantStream, echo_err
from .stats import BatchStats

if TYPE_CHECKING:
    from rich.console import Console, Group

#: Seconds between lines of progress if there is no bar.
_LINE_INTERVAL = 30.0


@contextmanager
def show_progress(stats: BatchStats, *, is_quiet: bool, is_shown: bool, as_bar: bool) -> Iterator["ProgressDisplay"]:
    """Choose how to show progress and messages on stderr.

    Args:
        is_quiet: show nothing.
        is_shown: show progress, not only messages.
        as_bar: draw a bar if stderr is a terminal; results must not go to the same one.
    """
    if is_quiet or sys.stderr is None:
        yield ProgressDisplay()
    elif not is_shown:
        yield MessageDisplay()
    elif as_bar and sys.stderr.isatty():
        from ...output.terminal import make_console

        with BarDisplay(stats, make_console(color=None, stderr=True)) as bar:
            yield bar
    else:
        yield LineDisplay(stats)


class ProgressDisplay:
    """Shows nothing. The base of the displays that show messages and progress."""

    def update(self) -> None:
        """Show the current statistics, if it is time to."""

    def print_line(self, text: str) -> None:
        """Show a message at once."""


class MessageDisplay(ProgressDisplay):
    """Prints messages to stderr."""

    def print_line(self, text: str) -> None:
        """Print the message."""
        echo_err(text)


class LineDisplay(MessageDisplay):
    """Prints a line of progress to stderr every half minute, and messages at once."""

    def __init__(self, stats: BatchStats, *, clock: Clock = time.monotonic) -> None:
        self._stats = stats
        self._clock = clock
        self._next_line_at = clock() + _LINE_INTERVAL

    def update(self) -> None:
        """Print a line if the last one is half a minute old."""
        if self._clock() >= self._next_line_at:
            self._next_line_at = self._clock() + _LINE_INTERVAL
            echo_err(f"{self._stats.format_headline()} · {self._stats.format_details()}")


class BarDisplay(ProgressDisplay):
    """Two lines at the bottom of a terminal, drawn by a thread of Rich. A context manager; at its end, they disappear."""

    def __init__(self, stats: BatchStats, console: "Console") -> None:
        from rich.live import Live

        self._stats = stats
        self._console = console
        self._console.file = cast("TextIO", TolerantStream(self._console.file))
        self._live = Live(
            get_renderable=self._render, console=console, transient=True, redirect_stdout=False, redirect_stderr=False
        )

    def __enter__(self) -> Self:
        self._live.start()
        self._console.show_cursor()  # Rich hides it, and it would stay hidden if the process were killed
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def print_line(self, text: str) -> None:
        """Print a line above the bar."""
        self._console.print(text, markup=False, highlight=False, emoji=False)

    def _render(self) -> "Group":
        from rich.console import Group
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text

        stats = self._stats
        headline = Table.grid(padding=(0, 1))
        bar = ProgressBar(total=stats.total, completed=stats.finished, pulse=stats.total is None, width=24)
        headline.add_row(bar, Text(stats.format_headline(), no_wrap=True, overflow="ellipsis"))
        return Group(headline, Text(stats.format_details(), style="dim", no_wrap=True, overflow="ellipsis"))
