"""What a run would do and take, found out without asking anybody."""

import enum
import random
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping

from . import work
from .costs import Price
from .equals import Equals
from .errors import ImageError
from .finding import Found, Missed, Task
from .frozen import frozen
from .journal import Settled
from .records import readable_size
from .sources import Source
from .work import Question

#: Images that are prepared to tell how large all of them will be.
_SAMPLE = 20


class _Kind(enum.Enum):
    """What there is to do about an image."""

    ASKED = enum.auto()
    COPY = enum.auto()
    DONE = enum.auto()
    BROKEN = enum.auto()


@frozen
class Forecast:
    """What there is to do.

    Attributes:
        count: images in all; ``skipped`` of them are done, ``broken`` cannot even be found or read, and ``copies`` are
            the same as others that are asked about.
        tokens: of a request in the mean, its answer not counted; ``None`` where no image of the sample can be sent.
        before: bytes of an image of the sample in the mean, and ``after`` those that are sent.
        unfit: images of the sample that cannot be sent.
    """

    count: int
    skipped: int
    broken: int
    copies: int
    sample: int
    unfit: int
    tokens: float | None
    before: float
    after: float

    @property
    def asked(self) -> int:
        """Images that would be asked about."""
        return self.count - self.skipped - self.broken - self.copies

    def lines(self, price: Price | None, max_tokens: int | None) -> Iterator[str]:
        """The same for people."""
        counts = [f"{self.count:,} images: {self.asked:,} to ask about"]
        counts += [f"{self.copies:,} the same as others"] if self.copies else []
        yield ", ".join([*counts, f"{self.skipped:,} done already", f"{self.broken:,} cannot be read"])
        if self.unfit:
            yield f"{self.unfit} of a sample of {self.sample} are no images that can be sent"
        if self.tokens is None:
            return
        total = self.tokens * self.asked
        longest = "" if max_tokens is None else f", {max_tokens:,} tokens each at most"
        each = f"about {total:,.0f} tokens to send, {self.tokens:,.0f} an image"
        yield f"{each}; answers come on top{longest}"
        sizes = readable_size(round(self.before * self.asked)), readable_size(round(self.after * self.asked))
        yield f"about {sizes[0]} on disk, {sizes[1]} to send"
        if price is not None and price.input is not None and price.output is not None:
            hundred = 100 * self.asked * price.output / 1e6
            yield f"about ${total * price.input / 1e6:,.2f}, and ${hundred:,.2f} for every 100 tokens of answer"


def forecast(
    found: Iterable[Found],
    question: Question,
    settled: Callable[[str, str], Settled | None] | None,
    opened: Callable[[Task], Source],
) -> Forecast:
    """Count, and prepare a sample.

    Args:
        opened: where the bytes of an image are.
        settled: the answer to a question about an image, if the results file has it; ``None`` where there is no such
            file, so that most images need not be read.
    """
    counts: Counter[_Kind] = Counter()
    equals = Equals(question, opened)
    chosen: list[Task] = []
    dice = random.Random(0)  # noqa: S311  # so that the same folder gives the same figures
    for one in found:
        kind = _Kind.BROKEN if isinstance(one, Missed) else _kind(one, question, settled, opened, equals)
        counts[kind] += 1
        if kind is _Kind.ASKED and isinstance(one, Task):
            if len(chosen) < _SAMPLE:
                chosen.append(one)
            elif (place := dice.randrange(counts[kind])) < _SAMPLE:
                chosen[place] = one
    return _with_sample(chosen, question, opened, counts)


def _kind(
    task: Task,
    question: Question,
    settled: Callable[[str, str], Settled | None] | None,
    opened: Callable[[Task], Source],
    equals: Equals,
) -> _Kind:
    try:
        if settled is None:
            return _Kind.COPY if equals.has(task) else _Kind.ASKED
        read = work.read(task, opened(task), question)
    except ImageError:
        return _Kind.BROKEN
    if settled(read.key, read.source.name) is not None:
        return _Kind.DONE
    return _Kind.COPY if equals.has_read(read) else _Kind.ASKED


def _with_sample(
    chosen: list[Task],
    question: Question,
    opened: Callable[[Task], Source],
    counts: Mapping[_Kind, int],
) -> Forecast:
    tokens: list[int] = []
    before = after = 0
    for task in chosen:
        try:
            ready = work.prepare(work.read(task, opened(task), question), question)
        except ImageError:
            continue
        tokens.append(ready.tokens)
        before, after = before + ready.sizes[0], after + ready.sizes[1]
    usable = max(1, len(tokens))
    mean = sum(tokens) / usable if tokens else None
    return Forecast(
        count=sum(counts.values()),
        skipped=counts[_Kind.DONE],
        broken=counts[_Kind.BROKEN],
        copies=counts[_Kind.COPY],
        sample=len(chosen),
        unfit=len(chosen) - len(tokens),
        tokens=mean,
        before=before / usable,
        after=after / usable,
    )
