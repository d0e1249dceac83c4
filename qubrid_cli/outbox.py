"""Outcomes on their way out: as they come, or in the order of the images."""

import heapq

from .outcomes import Outcome


class Outbox:
    """Holds outcomes until they can be written.

    Args:
        is_ordered: one waits for all that were found before it.

    Attributes:
        taken: so many have been.
    """

    def __init__(self, *, is_ordered: bool) -> None:
        self._is_ordered = is_ordered
        self._held: list[tuple[int, str | None, Outcome]] = []  # a heap
        self.taken = 0

    def put(self, number: int, key: str | None, outcome: Outcome) -> None:
        """The outcome of the image of that number, from 0 on; with a key, where others wait for it to be written."""
        heapq.heappush(self._held, (number, key, outcome))

    def take(self, *, is_over: bool) -> tuple[str | None, Outcome] | None:
        """One that can be written, if there is one.

        Args:
            is_over: none will come any more, so that there is nothing to wait for.
        """
        if not self._held or (self._is_ordered and not is_over and self._held[0][0] != self.taken):
            return None
        _, key, outcome = heapq.heappop(self._held)
        self.taken += 1
        return key, outcome
