"""Call a function for each of many items in threads, reading the items as they are needed."""

import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from queue import SimpleQueue
from typing import Generic, TypeVar

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")
#: Takes the position of an item from 1, the item, and an event that is set when its result is no longer needed.
_Function = Callable[[int, _Item, threading.Event], _Result]

#: Results per thread that may wait for an earlier one, if they are yielded in order.
_WAITING_PER_THREAD = 4


def map_in_threads(
    function: _Function[_Item, _Result], items: Iterable[_Item], *, threads: int, is_ordered: bool
) -> Iterator[_Result]:
    """Yield the result of each item. An item is read only when a thread is free and the caller asks for a result.

    Args:
        is_ordered: yield the results in the order of the items; otherwise each as soon as it is available.

    Raises:
        BaseException: the exception that the function raised.
    """
    calls = _Calls(function, threads)
    waiting: dict[int, _Result] = {}
    numbered = enumerate(items, 1)
    has_more, next_number = True, 1
    try:
        while has_more or calls.running:
            if has_more and calls.has_room(len(waiting)):
                call = next(numbered, None)
                has_more = call is not None
                if call is not None:
                    calls.submit(*call)
                continue
            number, result = calls.take()
            waiting[number if is_ordered else next_number] = result
            while next_number in waiting:
                yield waiting.pop(next_number)
                next_number += 1
    finally:
        calls.stop()


class _Calls(Generic[_Item, _Result]):
    """Calls that are made in threads.

    The threads are daemons, so that Ctrl-C ends the program at once, even while one waits for a server. (Before Python
    exits, it waits for the workers of ``concurrent.futures``.)

    Attributes:
        running: calls whose result has not been taken yet.
    """

    def __init__(self, function: _Function[_Item, _Result], threads: int) -> None:
        self._function = function
        self._threads = threads
        self._started = self.running = 0
        self._queue: SimpleQueue[tuple[int, _Item] | None] = SimpleQueue()
        self._results: SimpleQueue[tuple[int, Future[_Result]]] = SimpleQueue()
        self._stopped = threading.Event()

    def has_room(self, waiting: int) -> bool:
        """Whether another call should be submitted now, while ``waiting`` results wait for an earlier one."""
        is_full = self.running + waiting >= self._threads * _WAITING_PER_THREAD
        return self.running < self._threads and not is_full and self._results.empty()

    def submit(self, number: int, item: _Item) -> None:
        """Queue a call, and start a thread if all are busy."""
        if self._started <= self.running:
            threading.Thread(target=self._work, name="map", daemon=True).start()
            self._started += 1
        self.running += 1
        self._queue.put((number, item))

    def take(self) -> tuple[int, _Result]:
        """Wait for a call to end; return the position of its item and its result, or raise what it raised."""
        number, future = self._results.get()
        self.running -= 1
        return number, future.result()

    def stop(self) -> None:
        """Tell the threads to end as soon as they can."""
        self._stopped.set()
        for _ in range(self._started):
            self._queue.put(None)

    def _work(self) -> None:
        while (call := self._queue.get()) is not None:
            future: Future[_Result] = Future()
            try:
                future.set_result(self._function(*call, self._stopped))
            except BaseException as error:  # noqa: BLE001  # raised by take()
                future.set_exception(error)
            self._results.put((call[0], future))
