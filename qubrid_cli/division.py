"""How runs on one results file divide the work: who comes to an image first claims it, and the others pass it over.

At its end a run comes back to what it has passed over, when that is settled or given up. A claim is a lock, so that
those of a run that was killed are free at once, and there is nothing to clear away.
"""

import threading
from collections.abc import Iterator

from .finding import Found, Task
from .journal import Journal, Settled
from .outcomes import Done, Failed, Outcome, Passed

#: Seconds after which is looked again whether others are through with what was passed over.
_PAUSE = 0.2


class Division:
    """The part of one run."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._changed = threading.Condition()
        self._passed: list[tuple[Task, str]] = []
        self._under_way = 0
        self._is_over = False
        self._is_found = False

    def is_found(self) -> bool:
        """Whether all has been found, but for what was passed over and comes once more."""
        return self._is_found

    def settled(self, key: str, source: str) -> Settled | None:
        """The answer to a question about an image, if there is one; an empty record where another run is asking.

        With ``None`` the question is ours, until ``end``.
        """
        if (known := self._journal.settled(key, source)) is not None:
            return known
        if source == "-":  # it cannot be read once more
            return None
        if not self._journal.claim(key):
            return Settled({}, is_named=True)
        known = self._journal.settled(key, source)  # it may have been written and let go in between
        if known is not None:
            self._journal.release(key)
        return known

    def end(self, outcome: Outcome) -> None:
        """An image of ours is through, and what there is to keep of it is written."""
        if isinstance(outcome, Done | Failed) and outcome.key is not None:
            self._journal.release(outcome.key)
        with self._changed:
            self._under_way -= 1
            if isinstance(outcome, Passed):
                self._passed.append((outcome.task, outcome.key))
            self._changed.notify()

    def close(self) -> None:
        """Wait for nothing any more."""
        with self._changed:
            self._is_over = True
            self._changed.notify()

    def found(self, found: Iterator[Found]) -> Iterator[Found]:
        """What is found, and once more each of what was passed over. For a thread of its own: it waits."""
        for one in found:
            self._begin()
            yield one
        self._is_found = True
        while (task := self._next()) is not None:
            self._begin()
            yield task

    def _begin(self) -> None:
        with self._changed:
            self._under_way += 1

    def _next(self) -> Task | None:
        """One that was passed over and is free by now; ``None`` where none is left."""
        with self._changed:
            while (self._under_way or self._passed) and not self._is_over:
                for place, (task, key) in enumerate(self._passed):
                    if not self._journal.is_claimed_elsewhere(key):
                        del self._passed[place]
                        return task
                self._changed.wait(_PAUSE if self._passed else None)
        return None
