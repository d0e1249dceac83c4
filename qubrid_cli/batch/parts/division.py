"""The division of a run into parts.

The images of a part are written to ``plan/`` before any worker starts on it, and never change. A later run, or another
driver, therefore has the same parts, even if images were added in between: those get new parts, after all others. The list
of all images is never in memory.
"""

import hashlib
import json
import threading
from array import array
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import TYPE_CHECKING

from ...frozen import frozen
from ..inputs import InputItem, MissingImage
from .output_folder import PartsOutput

if TYPE_CHECKING:
    from ..folders import Shard


@frozen
class PlannedPart:
    """A part to work on.

    Attributes:
        size: how many images it has; ``None`` if its list has not been read.
        redo: it is finished, and its failed images are requested again.
    """

    number: int
    size: int | None = None
    redo: bool = False


class Planner:
    """Finds the parts of a run that are left, in order: those of earlier runs, new ones, and those with failures.

    Args:
        find_images: finds all images of the run, from the first one on.
        shard: the parts that this driver works on, by their numbers; ``None`` for all.

    Attributes:
        planned: the numbers of the parts of earlier runs.
        finished: the numbers of those that have a result.
        finished_count: images in finished parts without failures, as far as their lists have been read.
        has_work: set once a part is left to do.
    """

    def __init__(
        self,
        output: PartsOutput,
        find_images: Callable[[], Iterable[InputItem]],
        part_size: int,
        shard: "Shard | None" = None,
    ) -> None:
        self._output = output
        self._find_images = find_images
        self._part_size = part_size
        self._shard = shard
        self.planned = output.list_planned()
        self.finished = output.list_finished()
        self.finished_count = 0
        self._failed = [number for number in output.list_failed() if number in self.finished]
        self._counted_up_to = 0
        self.has_work = threading.Event()

    def find_parts(self) -> Iterator[PlannedPart]:
        """Yield the parts that are left, in order."""
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

    def _is_mine(self, number: int) -> bool:
        return self._shard is None or number % self._shard.count == self._shard.number % self._shard.count

    def _plan_new_images(self) -> Iterator[PlannedPart]:
        """Divide the images that no part has."""
        number = (self.planned or [0])[-1] + 1
        planned_elsewhere: set[int] = set()  # images that another driver has planned in the meantime
        pending: list[InputItem] = []
        images = self._find_unplanned()
        while True:
            new = (item for item in images if not planned_elsewhere or _identify(item) not in planned_elsewhere)
            pending += islice(new, self._part_size - len(pending))
            if not pending:
                return
            if self._output.create_plan(number, pending):
                yield PlannedPart(number, len(pending))
                pending = []
            else:  # another driver was faster, and may have found other images
                identities = set(map(_identify, self._output.read_plan(number)))
                yield PlannedPart(number, len(identities))
                planned_elsewhere |= identities.difference(map(_identify, pending))
                pending = [item for item in pending if _identify(item) not in identities]
            number += 1

    def _find_unplanned(self) -> Iterator[InputItem]:
        """Find the images that no part of an earlier run has.

        Usually the run finds the same images in the same order as before. Only from the first difference on, eight bytes
        for each planned image are in memory.
        """
        identities = self._read_identities()
        planned_identities: array[int] | None = None  # sorted
        for item in self._find_images():
            if planned_identities is None:
                expected = next(identities, None)
                if expected is None:
                    yield item
                    continue
                if expected == _identify(item):
                    continue
                planned_identities = array("Q", sorted(self._read_identities()))
            if not _contains(planned_identities, _identify(item)):
                yield item
        for _ in identities:
            pass  # reading them counts the finished images

    def _read_identities(self) -> Iterator[int]:
        """Yield the identities of all images of earlier runs; counts, once, those that are finished."""
        failed = set(self._failed)
        for number in self.planned:
            items = self._output.read_plan(number)
            if number > self._counted_up_to:
                self._counted_up_to = number
                if number in self.finished and number not in failed and self._is_mine(number):
                    self.finished_count += len(items)
            yield from map(_identify, items)


def _identify(item: InputItem) -> int:
    """Return a number that identifies an image with its prompt and its row, at any position."""
    task = item.task if isinstance(item, MissingImage) else item
    text = repr((task.source, task.prompt, task.id, task.row and json.dumps(task.row, sort_keys=True)))
    return int.from_bytes(hashlib.blake2b(text.encode(errors="surrogatepass"), digest_size=8).digest())


def _contains(sorted_numbers: "array[int]", number: int) -> bool:
    position = bisect_left(sorted_numbers, number)
    return position < len(sorted_numbers) and sorted_numbers[position] == number
