"""What a run would request and cost, without sending anything."""

import enum
import random
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import ImageError
from ..images.sources import DocumentPage, FetchedLink, File, Source, Stdin, split_page
from . import entries, tasks
from .forecast import Census, Forecast, SizedTask, build_forecast
from .inputs import InputItem, MissingImage, Task, find_images
from .results.done import DoneFinder
from .tasks import BatchPlan, LoadedImage

if TYPE_CHECKING:
    from .journal import Journal
    from .sidecars.writer import Sidecars

#: Seconds for counting all images; after that, a random sample is counted, for the same time.
_COUNT_SECONDS = 1.0
#: Images that are always counted, however long that takes.
_LEAST_COUNTED = 200
#: Seconds between lines of progress.
_REPORT_SECONDS = 2.0
#: The random sample from which the images to prepare are chosen.
_RESERVOIR_SIZE = 400
#: The random sample that is counted if there are too many images.
_MAX_COUNTED = 5_000


class _ImageState(enum.Enum):
    TO_REQUEST = enum.auto()
    DUPLICATE = enum.auto()
    DONE = enum.auto()
    UNREADABLE = enum.auto()


def dry_run(plan: BatchPlan, journal: "Journal | None", report: Callable[[str], None]) -> Forecast:
    """Count the images of a run, and prepare a sample of those to request.

    Args:
        journal: the results file; without one, most images need not be read.
        report: shows a line of progress.
    """
    return build_forecast(_count_images(plan, journal, report), plan)


def _count_images(plan: BatchPlan, journal: "Journal | None", report: Callable[[str], None]) -> Census:
    counter = _ImageCounter(plan, journal)
    give_up_at = time.monotonic() + _COUNT_SECONDS
    items = plan.inputs.find_images()
    for item in items:
        counter.add(item)
        if counter.total >= _LEAST_COUNTED and time.monotonic() >= give_up_at:
            break
    else:
        return counter.build_census()
    if isinstance(plan.inputs.list_file, Path) and not plan.inputs.arguments and plan.inputs.can_be_found_twice:
        return _sample_list(plan, plan.inputs.list_file, _ImageCounter(plan, journal), report)
    return _sample_remaining(items, counter, _ImageCounter(plan, journal), report)


def _sample_list(plan: BatchPlan, path: Path, counter: "_ImageCounter", report: Callable[[str], None]) -> Census:
    """Count a random sample of the rows of a list, and estimate the counts of all."""
    from .readers import lists

    rng = random.Random(0)  # noqa: S311  # so that the same list gives the same figures
    row_count, rows = lists.sample_items(
        path,
        _MAX_COUNTED,
        rng,
        is_nul_separated=plan.inputs.is_nul_separated,
        image_column=plan.inputs.image_column,
    )
    report(f"the list has {row_count:,} rows: estimating from a random sample")
    give_up_at, sample_size = time.monotonic() + _COUNT_SECONDS, 0
    selection = replace(plan.inputs.selection, limit=None)
    for row in rows:
        sample_size += 1
        for item in find_images([], list_items=[row], selection=selection, page_finder=plan.inputs.page_finder):
            counter.add(item)
        if sample_size >= _LEAST_COUNTED and time.monotonic() >= give_up_at:
            break
    total = round(row_count * counter.total / max(1, sample_size))
    limit = plan.inputs.selection.limit
    return counter.build_census(total if limit is None else min(total, limit))


def _sample_remaining(
    items: Iterator[InputItem],
    first_counter: "_ImageCounter",
    sample_counter: "_ImageCounter",
    report: Callable[[str], None],
) -> Census:
    """Find all remaining images without examining them, count a random sample, and estimate the counts of all."""
    rng = random.Random(0)  # noqa: S311  # so that the same images give the same figures
    sample: list[InputItem] = []
    remaining_count, next_report_at = 0, time.monotonic() + _REPORT_SECONDS
    for remaining_count, item in enumerate(items, 1):
        if len(sample) < _MAX_COUNTED:
            sample.append(item)
        elif (position := rng.randrange(remaining_count)) < _MAX_COUNTED:
            sample[position] = item
        if time.monotonic() >= next_report_at:
            next_report_at = time.monotonic() + _REPORT_SECONDS
            report(f"{first_counter.total + remaining_count:,} images found so far")
    rng.shuffle(sample)
    give_up_at = time.monotonic() + _COUNT_SECONDS
    for item in sample:
        sample_counter.add(item)
        if sample_counter.total >= _LEAST_COUNTED and time.monotonic() >= give_up_at:
            break
    return _add(first_counter.build_census(), sample_counter.build_census(remaining_count))


def _add(first: Census, second: Census) -> Census:
    """Add the counts of two parts of a run."""
    counts = {
        name: getattr(first, name) + getattr(second, name)
        for name in (
            *("request_count", "duplicate_count", "done_count", "unreadable_count", "page_count", "document_count"),
            *("file_bytes", "unsized_count"),
        )
    }
    largest = max(first, second, key=lambda census: census.request_count)
    return Census(**counts, images=largest.images, is_estimated=True)


class _ImageCounter:
    """Counts images by what a run would do with them, and keeps a random sample of those to request."""

    def __init__(self, plan: BatchPlan, journal: "Journal | None") -> None:
        self._plan = plan
        self._journal = journal
        self._done_finder = None if journal is None else DoneFinder(plan, journal)
        if self._done_finder is not None:
            plan.page_finder.recall_version = self._done_finder.recall_version
        self._sidecars = _open_sidecars(plan)
        self._duplicates = DuplicateFinder(plan)
        self._counts: Counter[_ImageState] = Counter()
        self._page_counts: Counter[str] = Counter()
        self._questions: Counter[tuple[str, str | None]] = Counter()
        self._sized_documents: set[str] = set()
        self._file_bytes = self._unsized_count = 0
        self._images: list[SizedTask] = []
        self._rng = random.Random(0)  # noqa: S311  # so that the same images give the same figures

    @property
    def total(self) -> int:
        """All images so far."""
        return self._counts.total()

    def add(self, item: InputItem) -> None:
        """Count an image."""
        if isinstance(item, MissingImage):
            self._counts[_ImageState.UNREADABLE] += 1
            return
        if page := split_page(item.source):
            self._page_counts[page[0]] += 1
        state = self._classify(item)
        self._counts[state] += 1
        if state in {_ImageState.TO_REQUEST, _ImageState.DUPLICATE}:
            self._questions[item.source, item.prompt] += 1
        if state is _ImageState.TO_REQUEST:
            self._add_to_request(item)

    def _add_to_request(self, task: Task) -> None:
        source = self._plan.open_source(task)
        size = _find_size(source)
        if size is None:
            self._unsized_count += 1
        elif not isinstance(source, DocumentPage) or source.document.name not in self._sized_documents:
            self._file_bytes += size
        if isinstance(source, DocumentPage):
            self._sized_documents.add(source.document.name)
        if len(self._images) < _RESERVOIR_SIZE:
            self._images.append(SizedTask(task, size))
        elif (position := self._rng.randrange(self._counts[_ImageState.TO_REQUEST])) < _RESERVOIR_SIZE:
            self._images[position] = SizedTask(task, size)

    def _classify(self, task: Task) -> _ImageState:
        if self._sidecars is not None and _has_all_sidecars(task, self._plan, self._sidecars):
            return _ImageState.DONE
        if self._done_finder is not None:
            task = self._done_finder.locate(task)
            if self._done_finder.is_done(task):
                return _ImageState.DONE
        try:
            if self._journal is None:
                return _ImageState.DUPLICATE if self._duplicates.add(task) else _ImageState.TO_REQUEST
            loaded = _load_image(task, self._plan)
        except ImageError:
            return _ImageState.UNREADABLE
        prompt = self._plan.batch_request.build_request(task).prompt
        if self._journal.find_answer(loaded.key, loaded.build_question(prompt)) is not None:
            return _ImageState.DONE
        return _ImageState.DUPLICATE if self._duplicates.add_loaded(loaded) else _ImageState.TO_REQUEST

    def build_census(self, total: int | None = None) -> Census:
        """Build the result.

        Args:
            total: all images, if those that were counted are a random sample of them; otherwise ``None``.
        """
        counts, factor = self._counts, 1.0 if total is None else total / max(1, self.total)
        requests, duplicates = counts[_ImageState.TO_REQUEST] * factor, counts[_ImageState.DUPLICATE] * factor
        if total is not None:
            distinct = min(self._estimate_questions(requests + duplicates), requests + duplicates)
            requests, duplicates = distinct, requests + duplicates - distinct
        per_request = requests / max(1, counts[_ImageState.TO_REQUEST])
        return Census(
            request_count=round(requests),
            duplicate_count=round(duplicates),
            done_count=round(counts[_ImageState.DONE] * factor),
            unreadable_count=round(counts[_ImageState.UNREADABLE] * factor),
            page_count=round(self._page_counts.total() * factor),
            document_count=round(len(self._page_counts) * factor),
            images=self._images,
            file_bytes=round(self._file_bytes * per_request),
            unsized_count=round(self._unsized_count * per_request),
            is_estimated=total is not None,
        )

    def _estimate_questions(self, total: float) -> float:
        """Estimate the number of distinct questions among all, from those that were counted once and twice.

        If there was no duplicate, all are assumed to be distinct.

        Source: A. Chao, "Nonparametric Estimation of the Number of Classes in a Population" (1984).
        """
        frequencies = Counter(self._questions.values())
        once, twice = frequencies[1], frequencies[2]
        if self._counts[_ImageState.DUPLICATE] == 0:
            return total
        if once == 0:
            return float(self._counts[_ImageState.TO_REQUEST])
        share = self._counts[_ImageState.TO_REQUEST] / max(1, len(self._questions))  # below 1: equal files, other names
        return (len(self._questions) + once * (once - 1) / (2 * (twice + 1))) * min(1.0, share)


def _open_sidecars(plan: BatchPlan) -> "Sidecars | None":
    if plan.sidecars is None:
        return None
    from .sidecars.writer import Sidecars

    return Sidecars(plan.sidecars, has_text=lambda *_: False)


def _has_all_sidecars(task: Task, plan: BatchPlan, sidecars: "Sidecars") -> bool:
    try:
        return sidecars.may_skip_request(plan.open_source(task))
    except ImageError:  # loading the image reports it
        return False


def _load_image(task: Task, plan: BatchPlan) -> LoadedImage:
    return tasks.load_image(task, plan.open_source(task), plan.batch_request, plan.page_finder)


class DuplicateFinder:
    """Finds images that equal an earlier one; it keeps a few bytes of each.

    Files of different sizes differ, so a file is read only if another one has its size.
    """

    def __init__(self, plan: BatchPlan) -> None:
        self._plan = plan
        self._unread_by_size: dict[int, Task | None] = {}  # None: the files of this size are read
        self._key_digests: set[bytes] = set()
        self._questions: set[bytes] = set()

    def add(self, task: Task) -> bool:
        """Add an image with its prompt; return whether it equals an earlier one.

        Raises:
            ImageError: it had to be read, and cannot be.
        """
        question = entries.digest(task.source, "\0", task.prompt or "")
        if question in self._questions and task.source != "-":
            return True
        is_duplicate = self._add_content(task)
        self._questions.add(question)
        return is_duplicate

    def _add_content(self, task: Task) -> bool:
        source = self._plan.open_source(task)
        if isinstance(source, Stdin | FetchedLink):  # can be read only once, or needs a download
            return False
        if isinstance(source, File) and (size := _get_size(source.path)) is not None:
            if size not in self._unread_by_size:
                self._unread_by_size[size] = task
                return False
            unread_task, self._unread_by_size[size] = self._unread_by_size[size], None
            if unread_task is not None:
                with suppress(ImageError):  # it is already counted as an image to request
                    self.add_loaded(_load_image(unread_task, self._plan))
        return self.add_loaded(_load_image(task, self._plan))

    def add_loaded(self, image: LoadedImage) -> bool:
        """Add a loaded image; return whether it equals an earlier one."""
        key_digest = entries.digest(image.key)
        is_duplicate = key_digest in self._key_digests
        self._key_digests.add(key_digest)
        return is_duplicate


def _find_size(source: Source) -> int | None:
    """Find the size of the file of an image, in bytes, without reading it; ``None`` if it is not a file."""
    file = source.document if isinstance(source, DocumentPage) else source
    return _get_size(file.path) if isinstance(file, File) else None


def _get_size(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except (OSError, ValueError):  # reading the file reports the error
        return None
