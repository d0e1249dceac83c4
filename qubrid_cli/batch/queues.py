"""The queues of a run: images to be found, requests to be sent, duplicates, and outcomes to be written."""

import heapq
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from math import inf

from ..client.retry import Backoff, half_jitter
from ..frozen import frozen
from ..images.sources import Bytes
from .entries import Record
from .results.sharing import ClaimedByOtherRun, WorkSharing
from .tasks import Done, LoadedImage, Outcome, ReadyImage
from .workers import Workers

#: Seconds before an image is requested again: at the first retry, and at most.
_RETRY_BACKOFF = Backoff(0.5, 30.0, half_jitter)
#: With ``--ordered``, how many outcomes may wait for an earlier one.
_MAX_WAITING_OUTCOMES = 1_000


class Admission:
    """Decides how many images are found ahead of the requests.

    Images that failed in an earlier run come last. Otherwise some of them could stop every run at its start.

    Attributes:
        total: the number of images; ``None`` until all are found.
    """

    def __init__(self, workers: Workers, work_sharing: WorkSharing) -> None:
        self.total: int | None = None
        self._workers = workers
        self._work_sharing = work_sharing
        self._admitted_count = 0
        self._deferred: deque[tuple[int, Callable[[], None]]] = deque()
        self._readmitted_numbers: set[int] = set()

    def admit(self, limit: int, *, finished: int, written: int) -> None:
        """Admit images until ``limit`` of them are unfinished, or too many finished ones are not written yet."""
        while self._admitted_count - written - len(self._deferred) < _MAX_WAITING_OUTCOMES:
            if self._may_readmit() and self._count_found() - finished - len(self._deferred) < limit:
                number, reload = self._deferred.popleft()
                self._readmitted_numbers.add(number)
                reload()
            elif self.total is None and self._admitted_count - finished - len(self._deferred) < limit:
                self._admitted_count += 1
                self._workers.admit_one()
            else:
                return

    def _may_readmit(self) -> bool:
        return bool(self._deferred) and (self.total is not None or self._work_sharing.has_found_all)

    def _count_found(self) -> int:
        """Count the images that were found; more may be admitted than there are."""
        return self._work_sharing.found_count if self.total is None else self.total

    def defer(self, number: int, loaded: LoadedImage) -> bool:
        """Put an image behind all others, once; false for standard input, which cannot be read again."""
        if number in self._readmitted_numbers or loaded.task.source == "-":
            return False
        self._deferred.append((number, partial(self._workers.enqueue_reload, number, loaded.task)))
        return True


@dataclass(slots=True)
class QueuedRequest:
    """A request about an image, to be sent for the first time or again.

    Attributes:
        attempts: requests about the image so far.
        counted_failures: failures that count against the image.
        first_failed_at: when the first failure occurred, by the clock of the run; ``None`` before there is one.
    """

    number: int
    ready: ReadyImage
    attempts: int = 0
    counted_failures: int = 0
    first_failed_at: float | None = None


class RequestQueue:
    """The requests to send, in order; retries that are due go first."""

    def __init__(self) -> None:
        self._new: deque[QueuedRequest] = deque()
        self._retries: list[tuple[float, int, QueuedRequest]] = []  # a heap, by time

    def add(self, request: QueuedRequest) -> None:
        """Add a new request."""
        self._new.append(request)

    def add_retry(self, request: QueuedRequest, now: float, *, is_immediate: bool) -> None:
        """Add a request that failed, to be sent at once or after a wait that grows with its failures."""
        wait = 0.0 if is_immediate else _RETRY_BACKOFF.compute_wait(request.counted_failures)
        heapq.heappush(self._retries, (now + wait, request.number, request))

    def seconds_until_next(self, now: float) -> float:
        """Return the seconds until a request is due; infinity if the queue is empty."""
        if self._new:
            return 0.0
        return max(0.0, self._retries[0][0] - now) if self._retries else inf

    def peek(self, now: float) -> QueuedRequest:
        """Return the request that is due, without removing it."""
        return self._retries[0][-1] if self._is_retry_due(now) else self._new[0]

    def pop(self, now: float) -> QueuedRequest:
        """Remove and return the request that is due."""
        return heapq.heappop(self._retries)[-1] if self._is_retry_due(now) else self._new.popleft()

    def _is_retry_due(self, now: float) -> bool:
        return bool(self._retries) and self._retries[0][0] <= now


def _without_bytes(loaded: LoadedImage) -> LoadedImage:
    return LoadedImage(loaded.task, Bytes(loaded.source.name, b""), loaded.key, loaded.warnings)


@dataclass(slots=True)
class _Original:
    loaded: LoadedImage
    duplicates: list[tuple[int, LoadedImage]] = field(default_factory=list)
    record: Record | None = None


class InFlightDuplicates:
    """The images in progress, by key, with their duplicates, which wait for the same answer.

    An image stays here until its outcome is written; from then on, its answer is found in the results file.
    """

    def __init__(self) -> None:
        self._originals: dict[str, _Original] = {}

    def add_original(self, loaded: LoadedImage) -> None:
        """Add the first image with its key."""
        self._originals[loaded.key] = _Original(_without_bytes(loaded))

    def add_if_duplicate(self, number: int, loaded: LoadedImage) -> bool:
        """Let an image wait, without its bytes, if it equals one in progress; otherwise return false."""
        original = self._originals.get(loaded.key)
        if original is not None:
            original.duplicates.append((number, _without_bytes(loaded)))
        return original is not None

    def set_record(self, key: str, record: Record) -> None:
        """Set the record of the first image."""
        self._originals[key].record = record

    def pop_duplicates(self, key: str) -> Iterator[tuple[int, LoadedImage, LoadedImage, Record]]:
        """Yield the waiting duplicates with the first image and its record; none before it has a record."""
        original = self._originals[key]
        while original.record is not None and original.duplicates:
            yield (*original.duplicates.pop(0), original.loaded, original.record)

    def remove(self, key: str) -> None:
        """Remove the image, whose outcome is written."""
        del self._originals[key]


@frozen
class Waiting:
    """With ``--ordered``, an answer that waits for those of earlier images; it is yielded again as an outcome."""

    outcome: Done


class OrderedOutput:
    """Holds outcomes until they can be written.

    Args:
        is_ordered: an outcome waits for those of all images that were found before its image.

    Attributes:
        taken_count: outcomes that were taken.
    """

    def __init__(self, *, is_ordered: bool) -> None:
        self._is_ordered = is_ordered
        self._waiting: list[tuple[int, str | None, Outcome | ClaimedByOtherRun]] = []  # a heap
        self._new: deque[tuple[int, Done]] = deque()
        self.taken_count = 0

    def put(self, number: int, key: str | None, outcome: Outcome | ClaimedByOtherRun) -> None:
        """Add the outcome of an image; with a key if duplicates may wait for it to be written."""
        heapq.heappush(self._waiting, (number, key, outcome))
        if self._is_ordered and isinstance(outcome, Done):
            self._new.append((number, outcome))

    def pop_new_waiting(self) -> Iterator[Waiting]:
        """Yield the answers that have been added since the last call and have to wait."""
        while self._new:
            number, outcome = self._new.popleft()
            if number > self.taken_count:
                yield Waiting(outcome)

    def take(self, *, is_over: bool) -> tuple[str | None, Outcome | ClaimedByOtherRun] | None:
        """Remove and return an outcome that can be written, if there is one.

        Args:
            is_over: no more outcomes come, so none waits for an earlier one.
        """
        if not self._waiting or (self._is_ordered and not is_over and self._waiting[0][0] != self.taken_count):
            return None
        _, key, outcome = heapq.heappop(self._waiting)
        self.taken_count += 1
        return key, outcome
