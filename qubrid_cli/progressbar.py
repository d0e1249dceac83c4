"""How a run goes on, for whoever watches: two lines that stay at the bottom of a terminal. At home with Rich."""

from typing import Self

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from .tally import Tally

#: Times a second that it is drawn.
_FRAMES = 4


class Bar:
    """The two lines, drawn by a thread of Rich's; a context manager that takes them away at its end.

    Args:
        screen: the terminal, which is not the one that lines of results go to.
    """

    def __init__(self, tally: Tally, screen: Console) -> None:
        self._tally = tally
        self._screen = screen
        self._live = Live(
            get_renderable=self._lines,
            console=screen,
            transient=True,
            refresh_per_second=_FRAMES,
            redirect_stdout=False,
            redirect_stderr=False,
        )

    def __enter__(self) -> Self:
        """Show it."""
        self._live.start()
        self._screen.show_cursor()  # Rich hides it, and it would stay so if we were killed
        return self

    def __exit__(self, *_: object) -> None:
        """Take it away."""
        self._live.stop()

    def show(self) -> None:
        """It is drawn by itself."""

    def say(self, text: str) -> None:
        """A line above it."""
        self._screen.print(Text(text))

    def _lines(self) -> Group:
        tally = self._tally
        first = Table.grid(padding=(0, 1))
        bar = ProgressBar(total=tally.total, completed=tally.finished, pulse=tally.total is None, width=24)
        first.add_row(bar, Text(tally.headline(), no_wrap=True, overflow="ellipsis"))
        return Group(first, Text(tally.details(), style="dim", no_wrap=True, overflow="ellipsis"))
