"""The threads of a run: one finds images, some load and prepare them, some send requests.

They report events and decide nothing. All are daemon threads: after Ctrl-C the program does not wait for one that
decodes an image, reads a pipe or waits for an answer.
"""

import os
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from queue import PriorityQueue, SimpleQueue
from typing import TYPE_CHECKING, Self

from ..client.endpoint import Endpoint
from ..client.rate_limits import RateLimit, parse_limits
from ..errors import BatchIncompleteError, ImageError, QvisionError, StorageError, UsageError, find_shortage
from ..frozen import frozen
from . import tasks
from .inputs import InputItem, MissingImage, Task
from .pace.capacity import keep_freed_memory, measure_capacity
from .results.sharing import AlreadyDone
from .tasks import AttemptResult, BatchPlan, BatchRequest, LoadedImage, ReadyImage

if TYPE_CHECKING:
    from .sidecars.writer import Sidecars


@frozen
class ImageLoaded:
    """An image was loaded; ``number`` counts all images that were found, from 0."""

    number: int
    loaded: LoadedImage


@frozen
class SidecarsComplete:
    """An image already has all of its sidecars, so it is not read."""

    number: int
    task: Task


@frozen
class ImageReady:
    """An image can be sent."""

    number: int
    ready: ReadyImage


@frozen
class ImageRejected:
    """An image cannot be sent; ``key`` is ``None`` if it could not be loaded either."""

    number: int
    task: Task
    key: str | None
    error: ImageError


@frozen
class RequestEnded:
    """A request ended; ``limits`` are those that the response reports."""

    number: int
    result: AttemptResult
    limits: tuple[RateLimit, ...] = ()


@frozen
class AllFound:
    """There are no more images; ``count`` were found."""

    count: int


@frozen
class ThreadCrashed:
    """A thread ended with an exception."""

    error: BaseException

    def get_stop_reason(self) -> QvisionError:
        """Return an error that stops the run, such as expired credentials; raise any other exception, which is a bug."""
        if isinstance(self.error, QvisionError):
            return self.error
        raise self.error


@frozen
class WakeUp:
    """The main loop should check its state, for example after a signal."""


WorkerEvent = (
    AlreadyDone
    | ImageLoaded
    | SidecarsComplete
    | ImageReady
    | ImageRejected
    | RequestEnded
    | AllFound
    | ThreadCrashed
    | WakeUp
)
_PreparationJob = Callable[[], WorkerEvent]
_RequestJob = Callable[[Endpoint], WorkerEvent]

#: A loaded image is prepared before another one is loaded, so that few files are in memory.
_STOP_PRIORITY, _PREPARE_PRIORITY, _LOAD_PRIORITY, _RELOAD_PRIORITY = 0, 1, 2, 3

#: Seconds before a retry when this machine had no file descriptor or memory left, or a bucket could not be reached.
_SHORTAGE_PAUSE = 0.2
#: ``AlreadyDone`` events that may be in the queue, so that those of a large folder do not fill the memory.
_MAX_REPORTED = 8


class Workers:
    """The threads. A context manager that starts them, and at its end tells them to stop, but does not wait for them.

    Args:
        images: iterated by one thread, which takes one image for each call of ``admit_one``.
        endpoint: each thread that sends requests uses a clone of it.
        sidecars: claims the sidecar of an image before the image is sent.
        thread_count: threads that load and prepare; by default, the number of cores.
    """

    def __init__(
        self,
        plan: BatchPlan,
        images: Iterator[InputItem | AlreadyDone],
        endpoint: Endpoint,
        *,
        sidecars: "Sidecars | None" = None,
        thread_count: int | None = None,
    ) -> None:
        self.events: SimpleQueue[WorkerEvent] = SimpleQueue()
        self.thread_count = thread_count or os.cpu_count() or 1
        self._plan = plan
        self._images = images
        self._endpoint = endpoint
        self._sidecars = sidecars
        self._admissions = threading.Semaphore(0)
        self._preparation_jobs: PriorityQueue[tuple[int, int, _PreparationJob | None]] = PriorityQueue()
        self._request_jobs: SimpleQueue[_RequestJob | None] = SimpleQueue()
        self._request_thread_count = 0
        self._is_closed = False
        self._report_slots = threading.Semaphore(_MAX_REPORTED)

    def __enter__(self) -> Self:
        keep_freed_memory()
        self._plan.rate_limiter.capacity = measure_capacity(self.thread_count)
        self._start_thread(self._find_images)
        for _ in range(self.thread_count):
            self._start_thread(self._run_preparation_jobs)
        return self

    def __exit__(self, *error: object) -> None:
        self._is_closed = True
        self._admissions.release()
        self._report_slots.release()
        for number in range(self.thread_count):
            self._preparation_jobs.put((_STOP_PRIORITY, number, None))
        for _ in range(self._request_thread_count):
            self._request_jobs.put(None)

    def continue_reporting(self) -> None:
        """Allow another ``AlreadyDone`` event; to be called for each one that was handled."""
        self._report_slots.release()

    def admit_one(self) -> None:
        """Let one more image be found."""
        self._admissions.release()

    def enqueue_reload(self, number: int, task: Task) -> None:
        """Load a deferred image, after all that are loaded for the first time."""
        self._preparation_jobs.put((_RELOAD_PRIORITY, number, partial(self._load_image, number, task)))

    def enqueue_preparation(self, number: int, loaded: LoadedImage) -> None:
        """Prepare an image."""
        self._preparation_jobs.put((_PREPARE_PRIORITY, number, partial(self._prepare_image, number, loaded)))

    def enqueue_request(self, number: int, ready: ReadyImage, batch_request: BatchRequest, *, in_flight: int) -> None:
        """Send a request.

        Args:
            in_flight: requests in flight, with this one; a thread is started if there are fewer.
        """
        if in_flight > self._request_thread_count:
            self._start_request_thread()
        plan = self._plan

        def request_answer(endpoint: Endpoint) -> RequestEnded:
            result = tasks.request_answer(ready, batch_request, endpoint, plan.describe, plan.request_timeout)
            return RequestEnded(number, result, tuple(parse_limits(endpoint.last_headers)))

        self._request_jobs.put(request_answer)

    def _start_request_thread(self) -> None:
        """Start a thread; if the system refuses one more, the run continues with those it has."""
        try:
            self._start_thread(partial(self._run_request_jobs, self._endpoint.clone()))
        except (RuntimeError, MemoryError) as error:  # "can't start new thread"
            if self._request_thread_count == 0:
                message = f"this machine cannot start another thread: {error}"
                raise BatchIncompleteError(
                    message, hint="Close other programs, or raise the limit: ulimit -u"
                ) from error
            self._plan.rate_limiter.capacity.record_exhausted(self._request_thread_count)
        else:
            self._request_thread_count += 1

    def wake(self) -> None:
        """Wake the main loop; may be called by a signal handler."""
        self.events.put(WakeUp())

    def _start_thread(self, target: Callable[[], None]) -> None:
        threading.Thread(target=self._run_reporting_crashes, args=(target,), name="batch", daemon=True).start()

    def _run_reporting_crashes(self, target: Callable[[], None]) -> None:
        try:
            target()
        except BaseException as error:  # noqa: BLE001  # raised again where the events are handled
            self.events.put(ThreadCrashed(error))

    def _find_images(self) -> None:
        number = -1
        for item in self._images:
            if isinstance(item, AlreadyDone):
                self._report_slots.acquire()
                self.events.put(item)
                continue
            number += 1
            self._admissions.acquire()
            if self._is_closed:
                return
            if isinstance(item, MissingImage):
                self.events.put(ImageRejected(number, item.task, None, item.error))
            else:
                self._preparation_jobs.put((_LOAD_PRIORITY, number, partial(self._load_image, number, item)))
        self.events.put(AllFound(number + 1))

    def _run_preparation_jobs(self) -> None:
        while job := self._preparation_jobs.get()[2]:
            self.events.put(job())

    def _load_image(self, number: int, task: Task) -> WorkerEvent:
        plan = self._plan

        def load() -> WorkerEvent:
            source = plan.open_source(task)
            if self._sidecars is not None and self._sidecars.may_skip_request(source):
                return SidecarsComplete(number, task)
            return ImageLoaded(number, tasks.load_image(task, source, plan.batch_request, plan.page_finder))

        try:
            return self._retry_shortages(load)
        except ImageError as error:
            return ImageRejected(number, task, None, error)
        except UsageError as error:  # an invalid placeholder in the prompt that the list has for this image
            return ImageRejected(number, task, None, ImageError(error.message, hint=error.hint, code="prompt"))

    def _prepare_image(self, number: int, loaded: LoadedImage) -> WorkerEvent:
        plan = self._plan

        def prepare() -> ImageReady:
            if self._sidecars is not None:
                self._sidecars.claim(plan.open_source(loaded.task))
            return ImageReady(number, tasks.prepare_image(loaded, plan.batch_request, plan.page_finder))

        try:
            return self._retry_shortages(prepare)
        except ImageError as error:
            return ImageRejected(number, loaded.task, loaded.key, error)

    def _retry_shortages(self, job: Callable[[], WorkerEvent]) -> WorkerEvent:
        """Do a job, and retry it for up to ``--patience`` seconds if the image is not the cause of its failure.

        The other causes are: this machine has no file descriptor or memory left, or a bucket cannot be reached.

        Raises:
            ImageError: the image is the cause, or the machine still has nothing left.
            StorageError: the bucket still cannot be reached, so the run cannot continue.
        """
        give_up_at = time.monotonic() + self._plan.patience
        while True:
            try:
                return job()
            except ImageError as error:
                cause = error.__cause__
                bucket_error = cause if isinstance(cause, StorageError) and cause.is_temporary else None
                if self._is_closed or (bucket_error is None and find_shortage(error) is None):
                    raise
                if time.monotonic() >= give_up_at:
                    raise (bucket_error or error) from None
            time.sleep(_SHORTAGE_PAUSE)

    def _run_request_jobs(self, endpoint: Endpoint) -> None:
        with endpoint:
            while job := self._request_jobs.get():
                self.events.put(job(endpoint))
