"""From options to what a run over many images needs: its images, its pace, its limits."""

from collections.abc import Callable, Mapping
from functools import partial
from math import inf
from typing import TYPE_CHECKING, BinaryIO

from ...library import image_options
from ...text import escape_control_characters
from . import batch_options

if TYPE_CHECKING:
    from ...batch.budget import BudgetLimits
    from ...batch.inputs import Task
    from ...batch.rate import RateLimiter
    from ...images.sources import Source
    from ...settings.fields import Settings

#: Characters of a label of the dry run, such as "endpoint:", with the blank behind it.
_LABEL_WIDTH = 10


def format_request(values: Mapping[str, str | None]) -> tuple[str, ...]:
    """What a dry run says about every request; texts may have several lines."""
    line_break = "\n" + " " * _LABEL_WIDTH
    texts = {name: map(escape_control_characters, text.splitlines()) for name, text in values.items() if text}
    return tuple(f"{name + ':':{_LABEL_WIDTH}}{line_break.join(lines)}" for name, lines in texts.items())


def build_source_opener(settings: "Settings", stdin: BinaryIO, *, fetch: bool | None) -> "Callable[[Task], Source]":
    """Build the function that resolves the image of a task; some links, or with ``fetch`` all, are fetched here."""
    from ...batch.inputs import resolve_source
    from ...images.sources import DocumentPage, PeekableStream, Stdin, split_page

    standard_input, storage = Stdin(PeekableStream(stdin)), partial(image_options.build_storage_options, settings)

    def open_source(task: "Task") -> "Source":
        if (page := split_page(task.source)) and page[0] == "-":
            return DocumentPage(standard_input, page[1])
        source = standard_input if task.source == "-" else resolve_source(task, storage)
        (image,) = image_options.resolve_images([source], settings, fetch=fetch)
        return image

    return open_source


def build_rate_limiter(jobs: str, rpm: int | None, tpm: int | None) -> "RateLimiter":
    """The limiter for ``-j``, ``--rpm`` and ``--tpm``."""
    from ...batch.rate import RateLimiter

    return RateLimiter(batch_options.parse_jobs(jobs), rpm=rpm, tpm=tpm)


def build_limits(cost: float | None, tokens: int | None, seconds: float | None, failures: str | None) -> "BudgetLimits":
    """The limits of ``--max-cost``, ``--max-tokens-total``, ``--max-time`` and ``--max-failures``."""
    from ...batch.budget import DEFAULT_FAILURE_LIMIT, BudgetLimits, parse_failure_limit

    return BudgetLimits(
        cost=inf if cost is None else cost,
        tokens=inf if tokens is None else tokens,
        seconds=inf if seconds is None else seconds,
        failures=DEFAULT_FAILURE_LIMIT if failures is None else parse_failure_limit(failures),
    )
