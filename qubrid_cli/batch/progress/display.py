"""How stderr shows the progress of a run: as a bar on a terminal, otherwise as a line every half minute."""

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Self

from ...metrics import Clock
from ...output.appearance import has_color, may_repaint, wrap
from ...output.streams import Output, TolerantStream, echo_err, echo_prose
from ...text import format_size, quote_name
from ..tasks import Done, Failed
from .stats import BatchStats

if TYPE_CHECKING:
    from rich.console import Console

#: Seconds between lines of progress if there is no bar.
_LINE_INTERVAL = 30.0
#: Seconds between messages about the progress of long work on the results file.
_REPORT_SECONDS = 2.0
#: Seconds between drawings of the bar.
_DRAW_INTERVAL = 0.25
#: Characters of the bar: at most, and at least; a shorter one is not drawn.
_BAR_WIDTH, _LEAST_BAR_WIDTH = 24, 8
#: From the start of the line to the end of the screen (ECMA-48, ED); faint text and its end (SGR).
_ERASE, _DIM, _RESET = "\r\x1b[J", "\x1b[2m", "\x1b[0m"


@contextmanager
def show_progress(stats: BatchStats, *, is_quiet: bool, is_shown: bool, as_bar: bool) -> Iterator["ProgressDisplay"]:
    """Choose how to show progress and messages on stderr.

    Args:
        is_quiet: show nothing.
        is_shown: show progress, not only messages.
        as_bar: draw a bar if stderr is a terminal; then results must not go to the same terminal.
    """
    if is_quiet or sys.stderr is None:
        yield ProgressDisplay()
    elif not is_shown:
        yield MessageDisplay()
    elif as_bar and sys.stderr.isatty():
        from ...output.terminal import make_console

        console = make_console(stderr=True)
        if console.legacy_windows or not may_repaint():
            yield LineDisplay(stats)
            return
        with BarDisplay(stats, console) as bar:
            yield bar
    else:
        yield LineDisplay(stats)


def make_writer(output: Output, display: "ProgressDisplay", *, as_table: bool) -> Callable[[Done | Failed], None]:
    """Return the function that writes an outcome to standard output: a row of a table, or the line of JSON."""
    if not as_table:
        return lambda outcome: output.write(outcome.line.decode())
    from .rows import make_table_writer

    return make_table_writer(output, display)


class ProgressDisplay:
    """Shows nothing. The base of the displays that show messages and progress."""

    def update(self) -> None:
        """Show the current statistics, unless they were shown a moment ago."""

    def print_line(self, text: str) -> None:
        """Show a message at once."""

    @contextmanager
    def hidden(self) -> Iterator[None]:
        """Leave the terminal to other output for a moment."""
        yield


class MessageDisplay(ProgressDisplay):
    """Prints messages to stderr."""

    def print_line(self, text: str) -> None:
        """Print the message."""
        echo_prose(text)


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
            parts = (self._stats.format_headline(), self._stats.format_details(), self._stats.format_trouble())
            echo_err(" · ".join(filter(None, parts)))


class BarDisplay(ProgressDisplay):
    """A few lines at the bottom of a terminal, drawn by a thread. A context manager that erases them at its end.

    The cursor rests at their start, so that erasing to the end of the screen removes them, however the terminal has
    wrapped them when it was resized.
    """

    def __init__(self, stats: BatchStats, console: "Console") -> None:
        self._stats = stats
        self._console = console
        self._stream = TolerantStream(console.file)
        self._lock = threading.Lock()
        self._is_over = threading.Event()
        self._drawn = ""
        self._is_colored = has_color(console.file)
        is_unicode = (console.encoding or "").lower().startswith("utf")
        self._full, self._empty = ("━", "╌") if is_unicode else ("#", "-")

    def __enter__(self) -> Self:
        threading.Thread(target=self._keep_drawing, name="bar", daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._is_over.set()
            self._drawn = ""  # what is printed after the run must not draw it again
            self._write(_ERASE)

    def print_line(self, text: str) -> None:
        """Print a line above the bar."""
        with self._lock:
            self._write(f"{_ERASE}{wrap(text, sys.stderr)}\n{self._drawn}")

    @contextmanager
    def hidden(self) -> Iterator[None]:
        """Remove the bar for a moment."""
        with self._lock:
            self._write(_ERASE)
            yield
            self._write(self._drawn)

    def _keep_drawing(self) -> None:
        while not self._is_over.is_set():
            with self._lock:
                drawing = self._draw()
                if drawing != self._drawn and not self._is_over.is_set():
                    self._drawn = drawing
                    self._write(_ERASE + drawing)
            self._is_over.wait(_DRAW_INTERVAL)

    def _write(self, text: str) -> None:
        self._stream.write(text)
        self._stream.flush()

    def _draw(self) -> str:
        width, height = self._console.size
        rows = list(self._format_rows(max(1, width - 1)))[: max(1, height - 1)]
        back = f"\x1b[{len(rows) - 1}A\r" if len(rows) > 1 else "\r"
        return "\n".join(rows) + back

    def _format_rows(self, width: int) -> Iterator[str]:
        stats = self._stats
        headline = stats.format_headline(width)[:width]
        bar_width = min(_BAR_WIDTH, width - len(headline) - 1)
        if stats.total and bar_width >= _LEAST_BAR_WIDTH:
            done = bar_width * min(stats.shown_finished, stats.total) // stats.total
            headline = f"{self._full * done}{self._empty * (bar_width - done)} {headline}"
        yield headline
        details = stats.format_details(width)[:width]
        yield f"{_DIM}{details}{_RESET}" if self._is_colored else details
        if trouble := stats.format_trouble():
            yield trouble[:width]


class Messages:
    """Shows messages and the progress of long work on the results file, before, during and after the run.

    Attributes:
        display: shows the progress of the run, while there is one.
    """

    def __init__(self, *, is_quiet: bool) -> None:
        self.display: ProgressDisplay | None = None
        self._is_quiet = is_quiet
        self._next_report_at = time.monotonic() + _REPORT_SECONDS
        self._reported = ""

    def show(self, text: str) -> None:
        """Show a message."""
        if self.display is not None:
            self.display.print_line(text)
        elif not self._is_quiet:
            echo_err(text)

    def report(self, name: str, path: Path, done: int, total: int) -> None:
        """Show the progress of long work, every few seconds."""
        now = time.monotonic()
        if name != self._reported:
            self._reported, self._next_report_at = name, now + _REPORT_SECONDS
        elif now >= self._next_report_at:
            self._next_report_at = now + _REPORT_SECONDS
            self.show(f"{name} {quote_name(path)}: {100 * done // max(total, 1)} % of {format_size(total)}")
