"""Ctrl-C, SIGTERM and SIGHUP in a long run: the first one stops it, the second one ends the program."""

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from math import inf
from typing import TYPE_CHECKING, Protocol

from .errors import InterruptedByUserError, QvisionError

if TYPE_CHECKING:
    from types import FrameType

#: Seconds within which a second signal counts as the same one.
_SAME_SIGNAL_SECONDS = 1.0


class Interruptible(Protocol):
    """A run that stops after the requests in flight."""

    stop_reason: QvisionError | None

    def interrupt(self, cause: str, /) -> None:
        """Stop; called by a signal handler."""


@contextmanager
def stop_on_signals(run: Interruptible) -> Iterator[None]:
    """Stop the run at the first Ctrl-C, SIGTERM or SIGHUP, and end the program at the second.

    A second signal within a second counts as the same one, because ``timeout`` and shells signal the process and its group.
    """
    stopped_at = -inf

    def handle(number: int, _: "FrameType | None") -> None:
        nonlocal stopped_at
        if isinstance(run.stop_reason, InterruptedByUserError):
            if time.monotonic() - stopped_at >= _SAME_SIGNAL_SECONDS:
                os._exit(InterruptedByUserError.exit_code)  # no line is cut off: each is one write
            return
        stopped_at = time.monotonic()
        run.interrupt("Ctrl-C" if number == signal.SIGINT else signal.Signals(number).name)

    names = ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK")  # Windows has no SIGHUP, and others no SIGBREAK
    numbers = [getattr(signal, name) for name in names if hasattr(signal, name)]
    # A program started in the background may have been told to ignore Ctrl-C, and one started by nohup SIGHUP.
    numbers = [number for number in numbers if signal.getsignal(number) is not signal.SIG_IGN]
    previous = {number: signal.signal(number, handle) for number in numbers}
    try:
        yield
    finally:
        # After an interrupt the program is about to end, and a second signal must still end it at once.
        if not isinstance(run.stop_reason, InterruptedByUserError):
            for number, handler in previous.items():
                signal.signal(number, handler)
