"""How many images there are in all, counted ahead while the first ones are under way."""

import threading
from collections.abc import Iterator


class Count:
    """Counts in a thread of its own.

    Args:
        found: the images; pulled to the end, and dropped.

    Attributes:
        total: ``None`` until all are counted, or if that is not possible.
    """

    def __init__(self, found: Iterator[object] | None) -> None:
        self.total: int | None = None
        self._found = found
        if found is not None:
            threading.Thread(target=self._count, name="count", daemon=True).start()

    def _count(self) -> None:
        assert self._found is not None
        self.total = sum(1 for _ in self._found)
