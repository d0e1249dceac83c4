"""What goes on around a run: the signals that stop it, and what shows how far it is."""

# MERGED DOCSTRING of qubrid_cli.progressbar: How a run goes on, for whoever watches: two lines that stay at the bottom of a terminal. At home with Rich.

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol, Self

from ..output.streams import echo_err

if TYPE_CHECKING:
    from rich.console import Console, Group

    from .stats import BatchStats

#: Times a second that it is drawn.
_REFRESHES_PER_SECOND = 4


class BarDisplay:
    """The two lines, drawn by a thread of Rich's; a context manager that takes them away at its end.

    Args:
        screen: the terminal, which is not the one that lines of results go to.
    """

    def __init__(self, stats: "BatchStats", console: "Console") -> None:
        from rich.live import Live

        self._stats = stats
        self._console = console
        self._live = Live(
            get_renderable=self._render,
            console=console,
            transient=True,
            refresh_per_second=_REFRESHES_PER_SECOND,
            redirect_stdout=False,
            redirect_stderr=False,
        )

    def __enter__(self) -> Self:
        """Show it."""
        self._live.start()
        self._console.show_cursor()  # Rich hides it, and it would stay so if we were killed
        return self

    def __exit__(self, *_: object) -> None:
        """Take it away."""
        self._live.stop()

    def update(self) -> None:
        """It is drawn by itself."""

    def print_line(self, text: str) -> None:
        """A line above it."""
        from rich.text import Text

        self._console.print(Text(text))

    def _render(self) -> "Group":
        from rich.console import Group
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text

        tally = self._stats
        first = Table.grid(padding=(0, 1))
        bar = ProgressBar(total=tally.total, completed=tally.finished, pulse=tally.total is None, width=24)
        first.add_row(bar, Text(tally.format_headline(), no_wrap=True, overflow="ellipsis"))
        return Group(first, Text(tally.format_details(), style="dim", no_wrap=True, overflow="ellipsis"))


#: Seconds between the lines that tell of progress where stderr is no terminal.
_LINE_INTERVAL = 30.0


@contextmanager
def show_progress(stats: "BatchStats", *, is_quiet: bool, is_shown: bool, as_bar: bool) -> Iterator["ProgressDisplay"]:
    """What shows progress.

    Args:
        is_quiet: not a word.
        as_bar: on a terminal, which nothing else is written to.
    """
    if is_quiet or sys.stderr is None:
        yield SilentDisplay()
    elif not is_shown:
        yield MessageDisplay()
    elif as_bar and sys.stderr.isatty():
        from ..output.terminal import make_console

        with BarDisplay(stats, make_console(color=None, stderr=True)) as bar:
            yield bar
    else:
        yield LineDisplay(stats)


class ProgressDisplay(Protocol):
    """Whoever tells people how a run goes."""

    def update(self) -> None:
        """Called whenever something may have happened."""

    def print_line(self, text: str) -> None:
        """Tell something right away."""


class SilentDisplay:
    """Tells nothing."""

    def update(self) -> None:
        """Not a word."""

    def print_line(self, text: str) -> None:
        """Not a word."""


class MessageDisplay(SilentDisplay):
    """Tells only what cannot wait."""

    def print_line(self, text: str) -> None:
        """A line on stderr."""
        echo_err(text)


class LineDisplay(MessageDisplay):
    """A line on stderr every half minute, and what cannot wait."""

    def __init__(self, stats: "BatchStats", *, clock: Callable[[], float] = time.monotonic) -> None:
        self._stats = stats
        self._clock = clock
        self._next_line_at = clock() + _LINE_INTERVAL

    def update(self) -> None:
        """Say how far it is, if it is time to."""
        if self._clock() >= self._next_line_at:
            self._next_line_at = self._clock() + _LINE_INTERVAL
            echo_err(f"{self._stats.format_headline()} · {self._stats.format_details()}")
