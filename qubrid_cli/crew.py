"""The threads of a run: one finds images, some read and prepare them, some ask. They report events and decide nothing.

All are daemons: at Ctrl-C nobody waits for a thread that decodes, reads a pipe or waits for an answer.
"""

import os
import threading
from collections.abc import Callable, Iterator
from functools import partial
from queue import PriorityQueue, SimpleQueue
from typing import Self

from . import description, work
from .description import Items
from .endpoint import Endpoint
from .errors import ImageError, UsageError
from .finding import Found, Missed, Task
from .frozen import frozen
from .sidecars import Sidecars
from .sources import Source
from .work import Answer, Question, Read, Ready


@frozen
class Has:
    """An image was read; ``number`` counts what was found, from 0 on."""

    number: int
    read: Read


@frozen
class Prepared:
    """An image can be sent."""

    number: int
    ready: Ready


@frozen
class Spoilt:
    """An image cannot be sent; it has a key where it could be read at least."""

    number: int
    task: Task
    key: str | None
    error: ImageError


@frozen
class Answered:
    """The endpoint was asked once."""

    number: int
    answer: Answer


@frozen
class Exhausted:
    """Nothing more is found; it was so much in all."""

    count: int


@frozen
class Crashed:
    """A thread met an exception that is not for one image; to be raised where events are taken."""

    error: BaseException


@frozen
class Woken:
    """Somebody wants to be heard."""


Event = Has | Prepared | Spoilt | Answered | Exhausted | Crashed | Woken
_Chore = Callable[[], Event]
_Order = Callable[[Endpoint], Event]

#: What is read is prepared before more is read, so that few files are in memory.
_FIRST, _PREPARING, _READING, _AGAIN = 0, 1, 2, 3


class Crew:
    """The threads; a context manager that lets them go.

    Args:
        found: the images; pulled by one thread, and only as far as there is room.
        opened: where the bytes of an image are.
        describe: what asks, if answers must fit a schema.
        sidecars: the files beside the images, whose places are claimed before anything is asked.
        threads: that read and prepare; as many as there are cores by default.
    """

    def __init__(
        self,
        found: Iterator[Found],
        question: Question,
        endpoint: Endpoint,
        *,
        opened: Callable[[Task], Source],
        describe: Callable[..., Items] = description.describe,
        sidecars: Sidecars | None = None,
        threads: int | None = None,
    ) -> None:
        self.events: SimpleQueue[Event] = SimpleQueue()
        self.threads = threads or os.cpu_count() or 1
        self._found = found
        self._question = question
        self._endpoint = endpoint
        self._opened = opened
        self._describe = describe
        self._sidecars = sidecars
        self._room = threading.Semaphore(0)
        self._chores: PriorityQueue[tuple[int, int, _Chore | None]] = PriorityQueue()
        self._orders: SimpleQueue[_Order | None] = SimpleQueue()
        self._askers = 0
        self._is_closed = False

    def __enter__(self) -> Self:
        """Begin to find and to prepare."""
        self._start(self._find)
        for _ in range(self.threads):
            self._start(self._prepare)
        return self

    def __exit__(self, *error: object) -> None:
        """Nothing new is begun; what is being done is not waited for."""
        self._is_closed = True
        self._room.release()
        for number in range(self.threads):
            self._chores.put((_FIRST, number, None))
        for _ in range(self._askers):
            self._orders.put(None)

    def make_room(self) -> None:
        """One more image may be found."""
        self._room.release()

    def read_again(self, number: int, task: Task) -> None:
        """Have an image read that was put off, behind all that is to be read for the first time."""
        self._chores.put((_AGAIN, number, partial(self._has, number, task)))

    def prepare(self, number: int, read: Read) -> None:
        """Have an image prepared."""
        self._chores.put((_PREPARING, number, partial(self._prepared, number, read)))

    def ask(self, number: int, ready: Ready, question: Question, *, at_once: int) -> None:
        """Have the endpoint asked.

        Args:
            at_once: requests on their way, this one included; there are as many threads as there were ever of them.
        """
        if at_once > self._askers:
            self._askers += 1
            self._start(partial(self._ask, self._endpoint.another()))
        self._orders.put(lambda endpoint: Answered(number, work.ask(ready, question, endpoint, self._describe)))

    def wake(self) -> None:
        """Report that somebody wants to be heard; may be called by a signal's handler."""
        self.events.put(Woken())

    def _start(self, task: Callable[[], None]) -> None:
        threading.Thread(target=self._reported, args=(task,), name="batch", daemon=True).start()

    def _reported(self, task: Callable[[], None]) -> None:
        try:
            task()
        except BaseException as error:  # noqa: BLE001  # raised again by whoever takes the events
            self.events.put(Crashed(error))

    def _find(self) -> None:
        number = -1
        for number, found in enumerate(self._found):
            self._room.acquire()
            if self._is_closed:
                return
            if isinstance(found, Missed):
                self.events.put(Spoilt(number, found.task, None, found.error))
            else:
                self._chores.put((_READING, number, partial(self._has, number, found)))
        self.events.put(Exhausted(number + 1))

    def _prepare(self) -> None:
        while chore := self._chores.get()[2]:
            self.events.put(chore())

    def _has(self, number: int, task: Task) -> Event:
        try:
            return Has(number, work.read(task, self._opened(task), self._question))
        except ImageError as error:
            return Spoilt(number, task, None, error)
        except UsageError as error:  # a slip in the prompt that the list gives this image
            return Spoilt(number, task, None, ImageError(error.message, hint=error.hint, code="prompt"))

    def _prepared(self, number: int, read: Read) -> Event:
        try:
            if self._sidecars is not None:
                self._sidecars.claim(self._opened(read.task))
            return Prepared(number, work.prepare(read, self._question))
        except ImageError as error:
            return Spoilt(number, read.task, read.key, error)

    def _ask(self, endpoint: Endpoint) -> None:
        with endpoint:
            while order := self._orders.get():
                self.events.put(order(endpoint))
