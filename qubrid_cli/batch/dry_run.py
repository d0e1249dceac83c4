"""What a run would request and cost, without sending anything."""

import enum
import random
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import ImageError
from ..frozen import frozen
from ..images.prepare import PreparedImage
from ..images.sources import FetchedLink, File, Stdin, split_page
from ..metrics import Price
from ..text import format_size
from . import entries, tasks
from .inputs import MissingImage, Task
from .progress.stats import format_duplicates
from .tasks import BatchPlan, LoadedImage

if TYPE_CHECKING:
    from .journal import Journal
    from .sidecars.writer import Sidecars

#: Images that are prepared to estimate the size of all.
_SAMPLE_SIZE = 20


@frozen
class Forecast:
    """What a run would do; means are over a sample of the images to request.

    Attributes:
        image_count: all images: those with an answer already (``done_count``), those that cannot be found or read
            (``unreadable_count``), those that equal another one (``duplicate_count``), and those to request.
        page_count: images that are pages, of ``document_count`` documents.
        rejected_count: images of the sample that cannot be sent.
        mean_tokens: of a request, without its answer; ``None`` if it is unknown how the model counts images.
    """

    image_count: int
    done_count: int
    unreadable_count: int
    duplicate_count: int
    page_count: int
    document_count: int
    sample_size: int
    rejected_count: int
    mean_tokens: float | None
    mean_original_bytes: float
    mean_sent_bytes: float

    @property
    def request_count(self) -> int:
        """Images to request."""
        return self.image_count - self.done_count - self.unreadable_count - self.duplicate_count

    def format_lines(self, price: Price | None, max_tokens: int | None) -> Iterator[str]:
        """Yield the forecast as text."""
        counts = [f"{self.image_count:,} images: {self.request_count:,} to describe"]
        counts += [format_duplicates(self.duplicate_count)] if self.duplicate_count else []
        yield ", ".join([*counts, f"{self.done_count:,} already done", f"{self.unreadable_count:,} unreadable"])
        if self.page_count:
            documents = "1 document" if self.document_count == 1 else f"{self.document_count:,} documents"
            yield f"{self.page_count:,} of them are pages of {documents}"
        if self.rejected_count:
            yield f"{self.rejected_count} of a sample of {self.sample_size} cannot be sent"
        if self.sample_size == self.rejected_count:
            return
        answers = "plus the answers" + ("" if max_tokens is None else f" of up to {max_tokens:,} tokens each")
        tokens = None if self.mean_tokens is None else self.mean_tokens * self.request_count
        if tokens is None:
            yield f"unknown number of input tokens, because it is unknown how the model counts images; {answers}"
        else:
            yield f"about {tokens:,.0f} input tokens, {self.mean_tokens:,.0f} per image; {answers}"
        original = format_size(round(self.mean_original_bytes * self.request_count))
        sent = format_size(round(self.mean_sent_bytes * self.request_count))
        yield f"about {original} of images, {sent} to send"
        if tokens is not None and price is not None and price.input is not None and price.output is not None:
            output_cost = 100 * self.request_count * price.output / 1e6
            yield f"about ${tokens * price.input / 1e6:,.2f}, plus ${output_cost:,.2f} for every 100 tokens per answer"


class _ImageState(enum.Enum):
    TO_REQUEST = enum.auto()
    DUPLICATE = enum.auto()
    DONE = enum.auto()
    UNREADABLE = enum.auto()


def dry_run(plan: BatchPlan, journal: "Journal | None") -> Forecast:
    """Count the images of a run, and prepare a sample of those to request.

    Args:
        journal: the results file; without one, most images need not be read.
    """
    counts: Counter[_ImageState] = Counter()
    duplicates = DuplicateFinder(plan)
    sample: list[Task] = []
    page_counts: Counter[str] = Counter()
    dice = random.Random(0)  # noqa: S311  # so that the same folder gives the same figures
    sidecars = _open_sidecars(plan)
    for item in plan.inputs.find_images():
        if isinstance(item, MissingImage):
            counts[_ImageState.UNREADABLE] += 1
            continue
        if page := split_page(item.source):
            page_counts[page[0]] += 1
        is_complete = sidecars is not None and _has_all_sidecars(item, plan, sidecars)
        state = _ImageState.DONE if is_complete else _classify(item, plan, journal, duplicates)
        counts[state] += 1
        if state is _ImageState.TO_REQUEST:
            if len(sample) < _SAMPLE_SIZE:
                sample.append(item)
            elif (place := dice.randrange(counts[state])) < _SAMPLE_SIZE:
                sample[place] = item
    return _measure_sample(sample, plan, counts, page_counts)


def _open_sidecars(plan: BatchPlan) -> "Sidecars | None":
    if plan.sidecars is None:
        return None
    from .sidecars.writer import Sidecars

    return Sidecars(plan.sidecars, has_text=lambda *_: False)


def _has_all_sidecars(task: Task, plan: BatchPlan, sidecars: "Sidecars") -> bool:
    try:
        return sidecars.may_skip_request(plan.open_source(task))
    except ImageError:  # it is counted later
        return False


def _classify(task: Task, plan: BatchPlan, journal: "Journal | None", duplicates: "DuplicateFinder") -> _ImageState:
    try:
        if journal is None:
            return _ImageState.DUPLICATE if duplicates.is_duplicate(task) else _ImageState.TO_REQUEST
        loaded = _load_image(task, plan)
    except ImageError:
        return _ImageState.UNREADABLE
    prompt = plan.batch_request.build_request(task).prompt
    if journal.find_answer(loaded.key, loaded.build_question(prompt)) is not None:
        return _ImageState.DONE
    return _ImageState.DUPLICATE if duplicates.is_loaded_duplicate(loaded) else _ImageState.TO_REQUEST


def _load_image(task: Task, plan: BatchPlan) -> LoadedImage:
    return tasks.load_image(task, plan.open_source(task), plan.batch_request, plan.page_finder)


def _measure_sample(
    sample: list[Task], plan: BatchPlan, counts: Mapping[_ImageState, int], page_counts: Mapping[str, int]
) -> Forecast:
    estimates: list[int | None] = []
    original_bytes, sent_bytes = 0.0, 0
    for task in sample:
        try:
            ready = tasks.prepare_image(_load_image(task, plan), plan.batch_request, plan.page_finder)
        except ImageError:
            continue
        estimates.append(ready.tokens_estimate)
        if isinstance(ready.image, PreparedImage):
            original_bytes += ready.image.size / ready.image.page_count
            sent_bytes += len(ready.image.upload.data)
    known = [tokens for tokens in estimates if tokens is not None]
    usable = max(1, len(estimates))
    return Forecast(
        image_count=sum(counts.values()),
        done_count=counts[_ImageState.DONE],
        unreadable_count=counts[_ImageState.UNREADABLE],
        duplicate_count=counts[_ImageState.DUPLICATE],
        page_count=sum(page_counts.values()),
        document_count=len(page_counts),
        sample_size=len(sample),
        rejected_count=len(sample) - len(estimates),
        mean_tokens=sum(known) / usable if len(known) == usable else None,
        mean_original_bytes=original_bytes / usable,
        mean_sent_bytes=sent_bytes / usable,
    )


class DuplicateFinder:
    """Finds images that equal an earlier one; it keeps a few bytes of each.

    Files of different sizes differ, so a file is read only if another one has its size.
    """

    def __init__(self, plan: BatchPlan) -> None:
        self._plan = plan
        self._unread_by_size: dict[int, Task | None] = {}  # None once files of this size are read
        self._key_digests: set[bytes] = set()

    def is_duplicate(self, task: Task) -> bool:
        """Whether an image, with its prompt, equals an earlier one.

        Raises:
            ImageError: it had to be read, and cannot be.
        """
        source = self._plan.open_source(task)
        if isinstance(source, Stdin | FetchedLink):  # can be read only once, or needs a download
            return False
        if isinstance(source, File) and (size := _get_size(source.path)) is not None:
            if size not in self._unread_by_size:
                self._unread_by_size[size] = task
                return False
            first, self._unread_by_size[size] = self._unread_by_size[size], None
            if first is not None:
                with suppress(ImageError):  # it already counts as one to describe
                    self.is_loaded_duplicate(_load_image(first, self._plan))
        return self.is_loaded_duplicate(_load_image(task, self._plan))

    def is_loaded_duplicate(self, image: LoadedImage) -> bool:
        """Whether a loaded image equals an earlier one."""
        key_digest = entries.digest(image.key)
        is_duplicate = key_digest in self._key_digests
        self._key_digests.add(key_digest)
        return is_duplicate


def _get_size(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except (OSError, ValueError):  # reading the file reports the error
        return None
