"""The threads of a run: one finds images, some read and prepare them, some ask. They report events and decide nothing.

All are daemons: at Ctrl-C nobody waits for a thread that decodes, reads a pipe or waits for an answer.
"""

import os
import threading
from collections.abc import Callable, Iterator
from functools import partial
from queue import PriorityQueue, SimpleQueue
from typing import TYPE_CHECKING, Self

from ..client.endpoint import Endpoint
from ..errors import ImageError, UsageError
from ..frozen import frozen
from ..images.sources import Source
from . import tasks
from .inputs import InputItem, MissingImage, Task
from .sidecars import Sidecars
from .tasks import AttemptResult, BatchRequest, LoadedImage, ReadyImage

if TYPE_CHECKING:
    from ..describe.structured import Session


@frozen
class ImageLoaded:
    """An image was read; ``number`` counts what was found, from 0 on."""

    number: int
    loaded: LoadedImage


@frozen
class ImageReady:
    """An image can be sent."""

    number: int
    ready: ReadyImage


@frozen
class ImageRejected:
    """An image cannot be sent; it has a key where it could be read at least."""

    number: int
    task: Task
    key: str | None
    error: ImageError


@frozen
class Answered:
    """The endpoint was asked once."""

    number: int
    result: AttemptResult


@frozen
class AllFound:
    """Nothing more is found; it was so much in all."""

    count: int


@frozen
class ThreadCrashed:
    """A thread met an exception that is not for one image; to be raised where events are taken."""

    error: BaseException


@frozen
class WakeUp:
    """Somebody wants to be heard."""


WorkerEvent = ImageLoaded | ImageReady | ImageRejected | Answered | AllFound | ThreadCrashed | WakeUp
_PreparationJob = Callable[[], WorkerEvent]
_RequestJob = Callable[[Endpoint], WorkerEvent]

#: What is read is prepared before more is read, so that few files are in memory.
_STOP_PRIORITY, _PREPARE_PRIORITY, _LOAD_PRIORITY, _RELOAD_PRIORITY = 0, 1, 2, 3


class Workers:
    """The threads; a context manager that lets them go.

    Args:
        found: the images; pulled by one thread, and only as far as there is room.
        opened: where the bytes of an image are.
        schema_session: makes the requests if answers must fit a schema.
        sidecars: the files beside the images, whose places are claimed before anything is asked.
        thread_count: that read and prepare; as many as there are cores by default.
    """

    def __init__(
        self,
        images: Iterator[InputItem],
        batch_request: BatchRequest,
        endpoint: Endpoint,
        *,
        open_source: Callable[[Task], Source],
        schema_session: "Session | None" = None,
        sidecars: Sidecars | None = None,
        thread_count: int | None = None,
    ) -> None:
        self.events: SimpleQueue[WorkerEvent] = SimpleQueue()
        self.thread_count = thread_count or os.cpu_count() or 1
        self._images = images
        self._batch_request = batch_request
        self._endpoint = endpoint
        self._open_source = open_source
        self._schema_session = schema_session
        self._sidecars = sidecars
        self._free_slots = threading.Semaphore(0)
        self._preparation_jobs: PriorityQueue[tuple[int, int, _PreparationJob | None]] = PriorityQueue()
        self._request_jobs: SimpleQueue[_RequestJob | None] = SimpleQueue()
        self._request_thread_count = 0
        self._is_closed = False

    def __enter__(self) -> Self:
        """Begin to find and to prepare."""
        self._start_thread(self._find_images)
        for _ in range(self.thread_count):
            self._start_thread(self._run_preparation_jobs)
        return self

    def __exit__(self, *error: object) -> None:
        """Nothing new is begun; what is being done is not waited for."""
        self._is_closed = True
        self._free_slots.release()
        for number in range(self.thread_count):
            self._preparation_jobs.put((_STOP_PRIORITY, number, None))
        for _ in range(self._request_thread_count):
            self._request_jobs.put(None)

    def admit_one(self) -> None:
        """One more image may be found."""
        self._free_slots.release()

    def enqueue_reload(self, number: int, task: Task) -> None:
        """Have an image read that was put off, behind all that is to be read for the first time."""
        self._preparation_jobs.put((_RELOAD_PRIORITY, number, partial(self._load_image, number, task)))

    def enqueue_preparation(self, number: int, loaded: LoadedImage) -> None:
        """Have an image prepared."""
        self._preparation_jobs.put((_PREPARE_PRIORITY, number, partial(self._prepare_image, number, loaded)))

    def enqueue_request(self, number: int, ready: ReadyImage, batch_request: BatchRequest, *, in_flight: int) -> None:
        """Have the endpoint asked.

        Args:
            in_flight: requests on their way, this one included; there are as many threads as there were ever of them.
        """
        if in_flight > self._request_thread_count:
            self._request_thread_count += 1
            self._start_thread(partial(self._run_request_jobs, self._endpoint.clone()))
        self._request_jobs.put(
            lambda endpoint: Answered(
                number, tasks.request_answer(ready, batch_request, endpoint, self._schema_session)
            )
        )

    def wake(self) -> None:
        """Report that somebody wants to be heard; may be called by a signal's handler."""
        self.events.put(WakeUp())

    def _start_thread(self, target: Callable[[], None]) -> None:
        threading.Thread(target=self._run_reporting_crashes, args=(target,), name="batch", daemon=True).start()

    def _run_reporting_crashes(self, target: Callable[[], None]) -> None:
        try:
            target()
        except BaseException as error:  # noqa: BLE001  # raised again by whoever takes the events
            self.events.put(ThreadCrashed(error))

    def _find_images(self) -> None:
        number = -1
        for number, found in enumerate(self._images):
            self._free_slots.acquire()
            if self._is_closed:
                return
            if isinstance(found, MissingImage):
                self.events.put(ImageRejected(number, found.task, None, found.error))
            else:
                self._preparation_jobs.put((_LOAD_PRIORITY, number, partial(self._load_image, number, found)))
        self.events.put(AllFound(number + 1))

    def _run_preparation_jobs(self) -> None:
        while chore := self._preparation_jobs.get()[2]:
            self.events.put(chore())

    def _load_image(self, number: int, task: Task) -> WorkerEvent:
        try:
            return ImageLoaded(number, tasks.load_image(task, self._open_source(task), self._batch_request))
        except ImageError as error:
            return ImageRejected(number, task, None, error)
        except UsageError as error:  # a slip in the prompt that the list gives this image
            return ImageRejected(number, task, None, ImageError(error.message, hint=error.hint, code="prompt"))

    def _prepare_image(self, number: int, loaded: LoadedImage) -> WorkerEvent:
        try:
            if self._sidecars is not None:
                self._sidecars.claim(self._open_source(loaded.task))
            return ImageReady(number, tasks.prepare_image(loaded, self._batch_request))
        except ImageError as error:
            return ImageRejected(number, loaded.task, loaded.key, error)

    def _run_request_jobs(self, endpoint: Endpoint) -> None:
        with endpoint:
            while order := self._request_jobs.get():
                self.events.put(order(endpoint))
