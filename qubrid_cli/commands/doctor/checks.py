"""What a check of the installation comes to, and how long one may take."""

import enum
import queue
import threading
from collections.abc import Callable
from typing import TypeVar

from ...errors import QvisionError
from ...frozen import frozen

_Result = TypeVar("_Result")
_THREAD_NAME = "check"


class CheckStatus(enum.StrEnum):
    """How a check ended; with a warning everything may work all the same."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@frozen
class Check:
    """A finished check.

    Attributes:
        hint: what to do about it; ``None`` where nothing is to be done.
        exit_code: what the program ends with for it; 0 unless it failed.
    """

    name: str
    status: CheckStatus
    message: str
    hint: str | None = None
    exit_code: int = 0


def make_ok(name: str, message: str) -> Check:
    """A check that found nothing wrong."""
    return Check(name, CheckStatus.OK, message)


def make_warning(name: str, message: str, hint: str | None) -> Check:
    """A check that found what may be on purpose."""
    return Check(name, CheckStatus.WARN, message, hint)


def make_failure(name: str, error: QvisionError) -> Check:
    """A check that ended with an error: of the settings or the key (3), or of the endpoint (5)."""
    return Check(name, CheckStatus.FAIL, error.message, error.hint, 3 if error.exit_code == 3 else 5)


def run_with_timeout(work: Callable[[], _Result], seconds: float) -> _Result:
    """What a function returns or raises, if it does within its time; else it is left to itself.

    Looking up a name, and a locked keyring, have no limit of their own.

    Raises:
        TimeoutError: the time is over.
    """
    ended: queue.SimpleQueue[tuple[_Result | None, BaseException | None]] = queue.SimpleQueue()

    def run() -> None:
        try:
            ended.put((work(), None))
        except BaseException as error:  # noqa: BLE001  # raised where it is waited for
            ended.put((None, error))

    threading.Thread(target=run, name=_THREAD_NAME, daemon=True).start()
    try:
        result, error = ended.get(timeout=seconds)
    except queue.Empty:
        raise TimeoutError from None
    if error is not None:
        raise error
    return result  # type: ignore[return-value]  # None only where the function returns it


def is_check_still_running() -> bool:
    """Whether a check whose time was over is still at work."""
    return any(thread.name == _THREAD_NAME for thread in threading.enumerate())
