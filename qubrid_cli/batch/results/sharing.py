"""How runs that use the same results file at the same time divide the images among them."""

import threading
from collections.abc import Iterator

from ...frozen import frozen
from ..entries import Record
from ..inputs import InputItem, Task
from ..journal import Journal, RecordedAnswer, SpooledLine
from ..tasks import Done, Failed, LoadedImage, Outcome
from .done import DoneFinder
from .lines import Question

#: Seconds between checks whether other runs have released the images that were postponed.
_POLL_SECONDS = 0.2
#: Images that are reported together if they are done.
_DONE_TOGETHER = 100


@frozen
class ClaimedByOtherRun:
    """An image that another run has claimed; it comes again when that run has finished with it."""

    task: Task
    key: str


@frozen
class AlreadyDone:
    """Images whose answers are in the results file, found without reading the images.

    Attributes:
        records: these answers, if the run needs them.
    """

    tasks: tuple[Task, ...]
    records: tuple[Record, ...] = ()


class _DoneImages:
    """Images that are done, until they are reported together."""

    def __init__(self) -> None:
        self.tasks: list[Task] = []
        self.records: list[Record] = []

    def take(self) -> AlreadyDone:
        """Return the images and forget them."""
        done = AlreadyDone(tuple(self.tasks), tuple(self.records))
        self.tasks, self.records = [], []
        return done


class WorkSharing:
    """The share of one run in the work on a results file that other runs may use at the same time.

    Args:
        done_finder: finds the images that need not be read.
        needs_records: their answers are needed too.

    Attributes:
        has_found_all: all images have been found; only postponed ones may still come.
        has_work: an image was found that is not already done.
        found_count: images that were found and are not already done; one that was postponed counts again.
    """

    def __init__(self, journal: Journal, done_finder: DoneFinder | None = None, *, needs_records: bool = False) -> None:
        self._journal = journal
        self._done_finder = done_finder
        self._needs_records = needs_records
        self._changed = threading.Condition()
        self._postponed: list[tuple[Task, str]] = []
        self._in_progress_count = 0
        self._is_closed = False
        self.has_found_all = False
        self.has_work = threading.Event()
        self.found_count = 0

    def has_failed(self, question: Question) -> bool:
        """Whether the file has a failure for this image and prompt."""
        return self._journal.has_failed(question)

    def find_or_claim(self, loaded: LoadedImage, question: Question) -> RecordedAnswer | ClaimedByOtherRun | None:
        """Find the answer about an image, or claim the image.

        If ``None`` is returned, this run has claimed the image until ``finish``.
        """
        key = loaded.key
        if (answer := self._journal.find_answer(key, question)) is not None:
            return answer
        if loaded.task.source == "-":  # it cannot be read again, so it is never postponed
            return None
        if not self._journal.claim(key):
            return ClaimedByOtherRun(loaded.task, key)
        answer = self._journal.find_answer(key, question)  # it may have been written and released meanwhile
        if answer is not None:
            self._journal.release(key)
        return answer

    def find_given_up(self, key: str, question: Question, limit: int) -> Record | None:
        """Find the failure of an image whose answer has been incomplete as often as ``limit`` says."""
        if self._journal.count_incomplete(key, question) < limit:
            return None
        return self._journal.find_failure(key, question)

    def take_spooled(self, key: str, question: Question) -> SpooledLine | None:
        """Remove and return the answer about an image that a killed run with ``--ordered`` had to keep waiting."""
        return self._journal.take_spooled(key, question)

    def finish(self, outcome: Outcome | ClaimedByOtherRun) -> None:
        """Release an image whose outcome has been written, or postpone it if another run has claimed it."""
        if isinstance(outcome, Done | Failed) and outcome.key is not None:
            self._journal.release(outcome.key)
        with self._changed:
            self._in_progress_count -= 1
            if isinstance(outcome, ClaimedByOtherRun):
                self._postponed.append((outcome.task, outcome.key))
            self._changed.notify()

    def close(self) -> None:
        """Stop waiting for postponed images."""
        with self._changed:
            self._is_closed = True
            self._changed.notify()

    def iterate_inputs(self, inputs: Iterator[InputItem]) -> Iterator[InputItem | AlreadyDone]:
        """Yield the inputs, then each postponed image again once it is free. For a thread of its own: it waits."""
        done = _DoneImages()
        for item in map(self._locate, inputs):
            if isinstance(item, Task) and self._add_if_done(item, done):
                if len(done.tasks) == _DONE_TOGETHER:
                    yield done.take()
                continue
            if done.tasks:
                yield done.take()
            self._count_started()
            yield item
        if done.tasks:
            yield done.take()
        self.has_found_all = True
        while (postponed := self._wait_for_postponed()) is not None:
            self._count_started()
            yield postponed

    def _locate(self, item: InputItem) -> InputItem:
        return self._done_finder.locate(item) if self._done_finder is not None and isinstance(item, Task) else item

    def _add_if_done(self, task: Task, done: _DoneImages) -> bool:
        """Add an image if it is done, and its answer if that is needed; return whether it is done."""
        if self._done_finder is None:
            return False
        if self._needs_records:
            record = self._done_finder.find_answer(task)
            done.records += [] if record is None else [record]
            is_done = record is not None
        else:
            is_done = self._done_finder.is_done(task)
        if is_done:
            done.tasks.append(task)
        return is_done

    def _count_started(self) -> None:
        self.found_count += 1
        self.has_work.set()
        with self._changed:
            self._in_progress_count += 1

    def _wait_for_postponed(self) -> Task | None:
        """Wait until a postponed image is free and return it; ``None`` if none is left."""
        with self._changed:
            while (self._in_progress_count or self._postponed) and not self._is_closed:
                for position, (task, key) in enumerate(self._postponed):
                    if not self._journal.is_claimed_by_other_run(key):
                        del self._postponed[position]
                        return task
                self._changed.wait(_POLL_SECONDS if self._postponed else None)
        return None
