"""What a run would do and take, found out without asking anybody."""

# MERGED DOCSTRING of qubrid_cli.equals: Equal images of a run, told apart without reading those that can be equal to no other.

import enum
import random
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from ..errors import ImageError
from ..frozen import frozen
from ..images.sources import FetchedLink, File, Source, Stdin
from ..metrics import Price
from ..text import format_size
from . import entries, tasks
from .inputs import InputItem, MissingImage, Task
from .journal import RecordedAnswer
from .tasks import BatchRequest, LoadedImage


class DuplicateFinder:
    """The images that were looked at so far, a few bytes of each.

    Files of different sizes are different, so only those are read that have the size of another.

    Args:
        opened: where the bytes of an image are.
    """

    def __init__(self, request: BatchRequest, open_source: Callable[[Task], Source]) -> None:
        self._request = request
        self._open_source = open_source
        self._single_by_size: dict[int, Task | None] = {}  # by size; None where they were read
        self._key_digests: set[bytes] = set()

    def is_duplicate(self, task: Task) -> bool:
        """Whether an image, with its prompt, is the same as an earlier one.

        Raises:
            ImageError: it cannot be read, as far as that had to be tried.
        """
        source = self._open_source(task)
        if isinstance(source, Stdin | FetchedLink):  # read once only, or not for nothing
            return False
        if isinstance(source, File) and (size := _get_size(source.path)) is not None:
            if size not in self._single_by_size:
                self._single_by_size[size] = task
                return False
            self._load_single(size)
        return self.is_loaded_duplicate(tasks.load_image(task, source, self._request))

    def is_loaded_duplicate(self, image: LoadedImage) -> bool:
        """The same of an image whose bytes are at hand."""
        key = entries.digest(image.key)
        is_known = key in self._key_digests
        self._key_digests.add(key)
        return is_known

    def _load_single(self, size: int) -> None:
        """The first one of this size is alone no longer."""
        task, self._single_by_size[size] = self._single_by_size[size], None
        if task is not None:
            with suppress(ImageError):  # it was counted as one that could be asked about
                self.is_loaded_duplicate(tasks.load_image(task, self._open_source(task), self._request))


def _get_size(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except (OSError, ValueError):  # which reading it will tell
        return None


#: Images that are prepared to tell how large all of them will be.
_SAMPLE_SIZE = 20


class _ImageState(enum.Enum):
    """What there is to do about an image."""

    TO_REQUEST = enum.auto()
    DUPLICATE = enum.auto()
    DONE = enum.auto()
    UNREADABLE = enum.auto()


@frozen
class Forecast:
    """What there is to do.

    Attributes:
        image_count: images in all; ``skipped_count`` of them are done, ``unreadable_count`` cannot even be found or read, and ``duplicate_count`` are
            the same as others that are asked about.
        mean_tokens: of a request in the mean, its answer not counted; ``None`` where no image of the sample can be sent.
        mean_original_bytes: bytes of an image of the sample in the mean, and ``mean_sent_bytes`` those that are sent.
        rejected_count: images of the sample that cannot be sent.
    """

    image_count: int
    skipped_count: int
    unreadable_count: int
    duplicate_count: int
    sample_size: int
    rejected_count: int
    mean_tokens: float | None
    mean_original_bytes: float
    mean_sent_bytes: float

    @property
    def request_count(self) -> int:
        """Images that would be asked about."""
        return self.image_count - self.skipped_count - self.unreadable_count - self.duplicate_count

    def format_lines(self, price: Price | None, max_tokens: int | None) -> Iterator[str]:
        """The same for people."""
        counts = [f"{self.image_count:,} images: {self.request_count:,} to ask about"]
        counts += [f"{self.duplicate_count:,} the same as others"] if self.duplicate_count else []
        yield ", ".join([*counts, f"{self.skipped_count:,} done already", f"{self.unreadable_count:,} cannot be read"])
        if self.rejected_count:
            yield f"{self.rejected_count} of a sample of {self.sample_size} are no images that can be sent"
        if self.mean_tokens is None:
            return
        total = self.mean_tokens * self.request_count
        longest = "" if max_tokens is None else f", {max_tokens:,} tokens each at most"
        each = f"about {total:,.0f} tokens to send, {self.mean_tokens:,.0f} an image"
        yield f"{each}; answers come on top{longest}"
        sizes = (
            format_size(round(self.mean_original_bytes * self.request_count)),
            format_size(round(self.mean_sent_bytes * self.request_count)),
        )
        yield f"about {sizes[0]} on disk, {sizes[1]} to send"
        if price is not None and price.input is not None and price.output is not None:
            hundred = 100 * self.request_count * price.output / 1e6
            yield f"about ${total * price.input / 1e6:,.2f}, and ${hundred:,.2f} for every 100 tokens of answer"


def dry_run(
    inputs: Iterable[InputItem],
    request: BatchRequest,
    find_answer: Callable[[str, str], RecordedAnswer | None] | None,
    open_source: Callable[[Task], Source],
) -> Forecast:
    """Count, and prepare a sample.

    Args:
        open_source: where the bytes of an image are.
        find_answer: the answer to a question about an image, if the results file has it; ``None`` where there is no such
            file, so that most images need not be read.
    """
    counts: Counter[_ImageState] = Counter()
    equals = DuplicateFinder(request, open_source)
    chosen: list[Task] = []
    dice = random.Random(0)  # noqa: S311  # so that the same folder gives the same figures
    for one in inputs:
        kind = (
            _ImageState.UNREADABLE
            if isinstance(one, MissingImage)
            else _classify(one, request, find_answer, open_source, equals)
        )
        counts[kind] += 1
        if kind is _ImageState.TO_REQUEST and isinstance(one, Task):
            if len(chosen) < _SAMPLE_SIZE:
                chosen.append(one)
            elif (place := dice.randrange(counts[kind])) < _SAMPLE_SIZE:
                chosen[place] = one
    return _measure_sample(chosen, request, open_source, counts)


def _classify(
    task: Task,
    request: BatchRequest,
    find_answer: Callable[[str, str], RecordedAnswer | None] | None,
    open_source: Callable[[Task], Source],
    duplicates: DuplicateFinder,
) -> _ImageState:
    try:
        if find_answer is None:
            return _ImageState.DUPLICATE if duplicates.is_duplicate(task) else _ImageState.TO_REQUEST
        read = tasks.load_image(task, open_source(task), request)
    except ImageError:
        return _ImageState.UNREADABLE
    if find_answer(read.key, read.source.name) is not None:
        return _ImageState.DONE
    return _ImageState.DUPLICATE if duplicates.is_loaded_duplicate(read) else _ImageState.TO_REQUEST


def _measure_sample(
    sample: list[Task],
    request: BatchRequest,
    open_source: Callable[[Task], Source],
    counts: Mapping[_ImageState, int],
) -> Forecast:
    tokens: list[int] = []
    before = after = 0
    for task in sample:
        try:
            ready = tasks.prepare_image(tasks.load_image(task, open_source(task), request), request)
        except ImageError:
            continue
        tokens.append(ready.input_tokens)
        before, after = before + ready.sizes[0], after + ready.sizes[1]
    usable = max(1, len(tokens))
    mean = sum(tokens) / usable if tokens else None
    return Forecast(
        image_count=sum(counts.values()),
        skipped_count=counts[_ImageState.DONE],
        unreadable_count=counts[_ImageState.UNREADABLE],
        duplicate_count=counts[_ImageState.DUPLICATE],
        sample_size=len(sample),
        rejected_count=len(sample) - len(tokens),
        mean_tokens=mean,
        mean_original_bytes=before / usable,
        mean_sent_bytes=after / usable,
    )
