"""What goes on around a run: the signals that stop it, and what shows how far it is."""

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

from ..errors import StoppedError
from ..output import say

if TYPE_CHECKING:
    from types import FrameType

    from ..batch import Run
    from ..tally import Tally

#: Seconds between the lines that tell of progress where stderr is no terminal.
_EVERY = 30.0


@contextmanager
def heeding_signals(begun: "Run") -> Iterator[None]:
    """Ctrl-C and SIGTERM stop the run; the second of them ends the program at once."""

    def heed(number: int, _: "FrameType | None") -> None:
        if isinstance(begun.stopped, StoppedError):
            os._exit(StoppedError.exit_code)  # no line is torn: each is one write
        begun.interrupt("Ctrl-C" if number == signal.SIGINT else "SIGTERM")

    # What was started in the background may be meant to ignore Ctrl-C.
    numbers = [one for one in (signal.SIGINT, signal.SIGTERM) if signal.getsignal(one) is not signal.SIG_IGN]
    before = {number: signal.signal(number, heed) for number in numbers}
    try:
        yield
    finally:
        if not isinstance(
            begun.stopped, StoppedError
        ):  # else the program is about to end, and that may still be cut short
            for number, handler in before.items():
                signal.signal(number, handler)


@contextmanager
def progress(tally: "Tally", *, is_quiet: bool, is_shown: bool, as_bar: bool) -> Iterator["Watcher"]:
    """What shows progress.

    Args:
        is_quiet: not a word.
        as_bar: on a terminal, which nothing else is written to.
    """
    if is_quiet or sys.stderr is None:
        yield Silence()
    elif not is_shown:
        yield Notes()
    elif as_bar and sys.stderr.isatty():
        from ..progressbar import Bar
        from ..terminal import console

        with Bar(tally, console(color=None, stderr=True)) as bar:
            yield bar
    else:
        yield Lines(tally)


class Watcher(Protocol):
    """Whoever tells people how a run goes."""

    def show(self) -> None:
        """Called whenever something may have happened."""

    def say(self, text: str) -> None:
        """Tell something right away."""


class Silence:
    """Tells nothing."""

    def show(self) -> None:
        """Not a word."""

    def say(self, text: str) -> None:
        """Not a word."""


class Notes(Silence):
    """Tells only what cannot wait."""

    def say(self, text: str) -> None:
        """A line on stderr."""
        say(text)


class Lines(Notes):
    """A line on stderr every half minute, and what cannot wait."""

    def __init__(self, tally: "Tally", *, clock: Callable[[], float] = time.monotonic) -> None:
        self._tally = tally
        self._clock = clock
        self._next = clock() + _EVERY

    def show(self) -> None:
        """Say how far it is, if it is time to."""
        if self._clock() >= self._next:
            self._next = self._clock() + _EVERY
            say(f"{self._tally.headline()} · {self._tally.details()}")
