"""How many images are let in at a time, and which of them come last."""

from collections import deque
from collections.abc import Callable
from functools import partial

from .crew import Crew
from .work import Read

#: Images that may be through and wait for an earlier one, where the order is kept.
_MAX_AHEAD = 1_000


class Supply:
    """Lets images in, new ones first: were those first that failed before, some of them would stop every run.

    Args:
        can_wait: whether an image had better come last.
        is_found: whether all has been found, but for what comes once more when other images are through.

    Attributes:
        count: of all that is found, once that is known.
    """

    def __init__(self, crew: Crew, *, can_wait: Callable[[Read], bool], is_found: Callable[[], bool]) -> None:
        self.count: int | None = None
        self._crew = crew
        self._can_wait = can_wait
        self._is_found = is_found
        self._room = 0
        self._put_off: deque[tuple[int, Callable[[], None]]] = deque()
        self._last: set[int] = set()

    def fill(self, most: int, *, finished: int, written: int) -> None:
        """Let in as many as may be under way, and are."""
        while self._waiting(finished) < most and self._room - written - len(self._put_off) < _MAX_AHEAD:
            if self._put_off and (self.count is not None or self._is_found()):
                number, read_again = self._put_off.popleft()
                self._last.add(number)
                read_again()
            elif self.count is None:
                self._room += 1
                self._crew.make_room()
            else:
                return

    def _waiting(self, finished: int) -> int:
        return (self._room if self.count is None else self.count) - finished - len(self._put_off)

    def puts_off(self, number: int, read: Read) -> bool:
        """Whether an image is to come again, behind all others; standard input cannot be read again."""
        if number in self._last or read.task.source == "-" or not self._can_wait(read):
            return False
        self._put_off.append((number, partial(self._crew.read_again, number, read.task)))
        return True
