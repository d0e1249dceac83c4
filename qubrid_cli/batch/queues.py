"""Equal images: the first is asked about, and those that come while it is under way wait for its answer."""

# MERGED DOCSTRING of qubrid_cli.turns: Whose turn it is: images that can be sent, and those to be asked about again when their time has come.

# MERGED DOCSTRING of qubrid_cli.supply: How many images are let in at a time, and which of them come last.

# MERGED DOCSTRING of qubrid_cli.outbox: Outcomes on their way out: as they come, or in the order of the images.

import heapq
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from math import inf

from ..client.retry import Backoff, half_jitter
from ..images.sources import Bytes
from .entries import Record
from .rate import InFlightRequest
from .tasks import LoadedImage, Outcome, ReadyImage
from .workers import Workers

#: Seconds before the first retry of an image, and the longest.
_RETRY_BACKOFF = Backoff(0.5, 30.0, half_jitter)


@dataclass(slots=True)
class QueuedRequest:
    """An image that can be sent, and how it went so far.

    Attributes:
        counted_failures: those that are held against it.
        first_failed_at: when it failed first.
    """

    number: int
    ready: ReadyImage
    attempts: int = 0
    counted_failures: int = 0
    first_failed_at: float | None = None
    in_flight_request: InFlightRequest | None = None


class RequestQueue:
    """Jobs in the order in which they go; what is asked again goes first."""

    def __init__(self) -> None:
        self._new: deque[QueuedRequest] = deque()
        self._retries: list[tuple[float, int, QueuedRequest]] = []

    def add(self, request: QueuedRequest) -> None:
        """A new one."""
        self._new.append(request)

    def add_retry(self, request: QueuedRequest, now: float, *, is_immediate: bool) -> None:
        """One that is to be tried again, at once or after a pause that grows with its failures."""
        wait = 0.0 if is_immediate else _RETRY_BACKOFF.compute_wait(request.counted_failures)
        heapq.heappush(self._retries, (now + wait, request.number, request))

    def seconds_until_next(self, now: float) -> float:
        """Seconds until there is one; infinity where none is known of."""
        if self._new:
            return 0.0
        return max(0.0, self._retries[0][0] - now) if self._retries else inf

    def peek(self, now: float) -> QueuedRequest:
        """The next one, which stays; there must be one."""
        return self._retries[0][-1] if self._is_retry_due(now) else self._new[0]

    def pop(self, now: float) -> QueuedRequest:
        """The next one; there must be one."""
        return heapq.heappop(self._retries)[-1] if self._is_retry_due(now) else self._new.popleft()

    def _is_retry_due(self, now: float) -> bool:
        return bool(self._retries) and self._retries[0][0] <= now


#: Images that may be through and wait for an earlier one, where the order is kept.
_MAX_WAITING_FOR_EARLIER = 1_000


class Admission:
    """Lets images in, new ones first: were those first that failed before, some of them would stop every run.

    Args:
        can_wait: whether an image had better come last.
        is_found: whether all has been found, but for what comes once more when other images are through.

    Attributes:
        total: of all that is found, once that is known.
    """

    def __init__(
        self, workers: Workers, *, is_deferrable: Callable[[LoadedImage], bool], is_input_exhausted: Callable[[], bool]
    ) -> None:
        self.total: int | None = None
        self._workers = workers
        self._is_deferrable = is_deferrable
        self._is_input_exhausted = is_input_exhausted
        self._admitted_count = 0
        self._deferred: deque[tuple[int, Callable[[], None]]] = deque()
        self._readmitted_numbers: set[int] = set()

    def admit(self, limit: int, *, finished: int, written: int) -> None:
        """Let in as many as may be under way, and are."""
        while (
            self._count_under_way(finished) < limit
            and self._admitted_count - written - len(self._deferred) < _MAX_WAITING_FOR_EARLIER
        ):
            if self._deferred and (self.total is not None or self._is_input_exhausted()):
                number, read_again = self._deferred.popleft()
                self._readmitted_numbers.add(number)
                read_again()
            elif self.total is None:
                self._admitted_count += 1
                self._workers.admit_one()
            else:
                return

    def _count_under_way(self, finished: int) -> int:
        return (self._admitted_count if self.total is None else self.total) - finished - len(self._deferred)

    def defer_if_allowed(self, number: int, loaded: LoadedImage) -> bool:
        """Whether an image is to come again, behind all others; standard input cannot be read again."""
        if number in self._readmitted_numbers or loaded.task.source == "-" or not self._is_deferrable(loaded):
            return False
        self._deferred.append((number, partial(self._workers.enqueue_reload, number, loaded.task)))
        return True


class OrderedOutput:
    """Holds outcomes until they can be written.

    Args:
        is_ordered: one waits for all that were found before it.

    Attributes:
        taken_count: so many have been.
    """

    def __init__(self, *, is_ordered: bool) -> None:
        self._is_ordered = is_ordered
        self._waiting: list[tuple[int, str | None, Outcome]] = []  # a heap
        self.taken_count = 0

    def put(self, number: int, key: str | None, outcome: Outcome) -> None:
        """The outcome of the image of that number, from 0 on; with a key, where others wait for it to be written."""
        heapq.heappush(self._waiting, (number, key, outcome))

    def take(self, *, is_over: bool) -> tuple[str | None, Outcome] | None:
        """One that can be written, if there is one.

        Args:
            is_over: none will come any more, so that there is nothing to wait for.
        """
        if not self._waiting or (self._is_ordered and not is_over and self._waiting[0][0] != self.taken_count):
            return None
        _, key, outcome = heapq.heappop(self._waiting)
        self.taken_count += 1
        return key, outcome


@dataclass(slots=True)
class _Original:
    """An image that is being seen to: those that are the same, and its record once there is one."""

    duplicates: list[tuple[int, LoadedImage]] = field(default_factory=list)
    record: Record | None = None


class InFlightDuplicates:
    """What is being seen to, by its key, until its outcome is written; from then on the results file knows it."""

    def __init__(self) -> None:
        self._originals: dict[str, _Original] = {}

    def add_original(self, key: str) -> None:
        """The first of its kind is seen to."""
        self._originals[key] = _Original()

    def add_if_duplicate(self, number: int, loaded: LoadedImage) -> bool:
        """Whether an image is the same as one that is being seen to; then it waits for that."""
        first = self._originals.get(loaded.key)
        if first is not None:
            first.duplicates.append((number, replace(loaded, source=Bytes(loaded.source.name, b""))))
        return first is not None

    def set_record(self, key: str, record: Record) -> None:
        """What became of the first."""
        self._originals[key].record = record

    def pop_duplicates(self, key: str) -> Iterator[tuple[int, LoadedImage, Record]]:
        """Those that have waited, with what became of the first; none before that is known."""
        first = self._originals[key]
        while first.record is not None and first.duplicates:
            yield (*first.duplicates.pop(0), first.record)

    def forget(self, key: str) -> None:
        """The outcome of the first is written."""
        del self._originals[key]
