"""The result of a check, and a time limit for checks that have none of their own."""

import enum
import threading
from collections.abc import Callable
from typing import TypeVar

from ...errors import QvisionError
from ...frozen import frozen
from ...operating_system import call_in_thread, call_interruptibly

_Result = TypeVar("_Result")
_THREAD_NAME = "check"


class CheckStatus(enum.StrEnum):
    """How a check ended; a warning does not mean that something is broken."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@frozen
class Check:
    """A finished check.

    Attributes:
        hint: what to do; ``None`` if there is nothing to do.
        exit_code: the exit code that this check calls for; 0 unless it failed.
    """

    name: str
    status: CheckStatus
    message: str
    hint: str | None = None
    exit_code: int = 0


def make_ok(name: str, message: str) -> Check:
    """Build a check that passed."""
    return Check(name, CheckStatus.OK, message)


def make_warning(name: str, message: str, hint: str | None) -> Check:
    """Build a check that found something that may be intended."""
    return Check(name, CheckStatus.WARN, message, hint)


def make_failure(name: str, error: QvisionError) -> Check:
    """Build a check that failed: exit code 3 for the settings or the key, 5 for anything else."""
    return Check(name, CheckStatus.FAIL, error.message, error.hint, 3 if error.exit_code == 3 else 5)


def run_with_timeout(work: Callable[[], _Result], seconds: float) -> _Result:
    """Run a function in a thread, and return its result or raise its error. After a timeout, the thread is abandoned.

    DNS lookups and locked keyrings have no time limit of their own.

    Raises:
        TimeoutError: the function took longer than ``seconds``.
    """
    future = call_in_thread(work, _THREAD_NAME)
    return call_interruptibly(lambda: future.result(timeout=seconds))


def is_check_still_running() -> bool:
    """Whether the thread of a check that timed out is still running."""
    return any(thread.name == _THREAD_NAME for thread in threading.enumerate())
