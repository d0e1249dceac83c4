"""Messages of a run, before, while and after its progress is shown."""

import time
from pathlib import Path
from typing import TYPE_CHECKING

from ...output.streams import echo_err
from ...text import format_size, quote_name

if TYPE_CHECKING:
    from .display import ProgressDisplay

#: Seconds between messages about the progress of long work on the results file.
_REPORT_SECONDS = 2.0


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
