"""The division of a run into parts.

The images of a part are written to ``plan/`` before anybody works on it, and never change. So a later run, and another driver,
find the same parts again, even if images have been added in between: those get parts of their own, after all others.
Nothing here remembers all images.
"""

import hashlib
import json
import threading
from array import array
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator
from itertools import islice

from ...frozen import frozen
from ..inputs import InputItem, MissingImage
from .output_folder import PartsOutput


@frozen
class PlannedPart:
    """A part to work on, and how many images it has; ``None`` if that is not known without reading its list."""

    number: int
    size: int | None = None
    redo: bool = False


class Planner:
    """Finds the parts of a run that are left, in order: those of earlier runs, new ones, and those with failures.

    Args:
        find_images: finds all images of the run, from the first one on.
        is_mine: whether this driver works on the part with a number.

    Attributes:
        planned: the parts of earlier runs.
        finished: those of them that have a result.
        finished_count: the images in those without failures, as far as their lists have been read.
        has_work: a part is left.
    """

    def __init__(
        self,
        output: PartsOutput,
        find_images: Callable[[], Iterable[InputItem]],
        part_size: int,
        is_mine: Callable[[int], bool] = lambda _: True,
    ) -> None:
        self._output = output
        self._find_images = find_images
        self._part_size = part_size
        self._is_mine = is_mine
        self.planned = output.list_planned()
        self.finished = output.list_finished()
        self.finished_count = 0
        self._failed = [number for number in output.list_failed() if number in self.finished]
        self._counted_up_to = 0
        self.has_work = threading.Event()

    def find_parts(self) -> Iterator[PlannedPart]:
        """Yield the parts that are left."""
        for part in self._find_parts():
            self.has_work.set()
            yield part

    def _find_parts(self) -> Iterator[PlannedPart]:
        for number in self.planned:
            if number not in self.finished and self._is_mine(number):
                yield PlannedPart(number)
        for part in self._plan_new_images():
            if self._is_mine(part.number):
                yield part
        for number in self._failed:
            if self._is_mine(number):
                yield PlannedPart(number, redo=True)

    def _plan_new_images(self) -> Iterator[PlannedPart]:
        """Divide the images that no part has."""
        number = (self.planned or [0])[-1] + 1
        others: set[int] = set()  # images that another driver has planned in the meantime
        pending: list[InputItem] = []
        images = self._find_unplanned()
        while True:
            new = (item for item in images if not others or _identify(item) not in others)
            pending += islice(new, self._part_size - len(pending))
            if not pending:
                return
            if self._output.create_plan(number, pending):
                yield PlannedPart(number, len(pending))
                pending = []
            else:  # another driver was faster, and may have found other images
                taken = set(map(_identify, self._output.read_plan(number)))
                yield PlannedPart(number, len(taken))
                others |= taken.difference(map(_identify, pending))
                pending = [item for item in pending if _identify(item) not in taken]
            number += 1

    def _find_unplanned(self) -> Iterator[InputItem]:
        """Find the images that no part of an earlier run has.

        Usually the run finds the same images in the same order as before. Only from the first difference on, it remembers
        eight bytes for each planned image.
        """
        planned = self._read_identities()
        known: array[int] | None = None
        for item in self._find_images():
            if known is None:
                expected = next(planned, None)
                if expected is None:
                    yield item
                    continue
                if expected == _identify(item):
                    continue
                known = array("Q", sorted(self._read_identities()))
            if not _contains(known, _identify(item)):
                yield item
        for _ in planned:
            pass  # counted

    def _read_identities(self) -> Iterator[int]:
        failed = set(self._failed)
        for number in self.planned:
            items = self._output.read_plan(number)
            if number > self._counted_up_to:
                self._counted_up_to = number
                if number in self.finished and number not in failed and self._is_mine(number):
                    self.finished_count += len(items)
            yield from map(_identify, items)


def _identify(item: InputItem) -> int:
    """A number for an image, its prompt and its row, whatever its position."""
    task = item.task if isinstance(item, MissingImage) else item
    text = repr((task.source, task.prompt, task.id, task.row and json.dumps(task.row, sort_keys=True)))
    return int.from_bytes(hashlib.blake2b(text.encode(errors="surrogatepass"), digest_size=8).digest())


def _contains(sorted_numbers: "array[int]", number: int) -> bool:
    position = bisect_left(sorted_numbers, number)
    return position < len(sorted_numbers) and sorted_numbers[position] == number
