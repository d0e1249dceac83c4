"""From options to what a run over many images needs: its images, its pace, its limits."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from math import inf
from typing import TYPE_CHECKING, Any, BinaryIO

from ...library import connection, image_options
from ...text import escape_control_characters
from . import batch_options

if TYPE_CHECKING:
    from ...batch.budget import BudgetLimits
    from ...batch.inputs import BatchInputs, Task
    from ...batch.tasks import BatchPlan, BatchRequest
    from ...describe.run import DescribeFunction
    from ...images.sources import Source
    from ...settings.fields import Settings
    from .setup import PageOptions

#: Characters of a label of the dry run, such as "endpoint:", with the blank behind it.
_LABEL_WIDTH = 10


def format_request(values: Mapping[str, str | None]) -> tuple[str, ...]:
    """What a dry run says about every request; texts may have several lines."""
    line_break = "\n" + " " * _LABEL_WIDTH
    texts = {name: map(escape_control_characters, text.splitlines()) for name, text in values.items() if text}
    return tuple(f"{name + ':':{_LABEL_WIDTH}}{line_break.join(lines)}" for name, lines in texts.items())


def _build_source_opener(settings: "Settings", stdin: BinaryIO, *, fetch: bool | None) -> "Callable[[Task], Source]":
    """Build the function that resolves the image of a task; some links, or with ``fetch`` all, are fetched here."""
    from ...batch.inputs import resolve_source
    from ...images.sources import DocumentPage, PeekableStream, Stdin, split_page

    standard_input, storage = Stdin(PeekableStream(stdin)), partial(image_options.build_storage_options, settings)

    def open_source(task: "Task") -> "Source":
        if (page := split_page(task.source)) and page[0] == "-":
            return DocumentPage(standard_input, page[1])
        source = standard_input if task.source == "-" else resolve_source(task, storage)
        (image,) = image_options.choose_downloads([source], settings, fetch=fetch)
        return image

    return open_source


def build_plan(
    params: Mapping[str, Any],
    settings: "Settings",
    key: str | None,
    stdin: BinaryIO,
    *,
    images: "BatchInputs",
    page_options: "PageOptions",
    batch_request: "BatchRequest",
    describe: "DescribeFunction",
    request_lines: tuple[str, ...],
) -> "BatchPlan":
    """The plan of a run, by the options that all runs have; each command adds its own.

    Args:
        params: the command line, by the names of the parameters.
        request_lines: what a dry run says about the requests.
    """
    from ...batch import pages, tasks
    from ...batch.rate import RateLimiter

    open_source = _build_source_opener(settings, stdin, fetch=params["fetch"])
    page_finder = pages.PageFinder(open_source, page_options.choice, page_options.password)
    return tasks.BatchPlan(
        inputs=replace(images, page_finder=page_finder),
        batch_request=batch_request,
        open_source=open_source,
        page_finder=page_finder,
        open_endpoint=partial(connection.open_endpoint, settings, key, time_option="--request-timeout"),
        rate_limiter=RateLimiter(batch_options.parse_jobs(params["jobs"]), rpm=params["rpm"], tpm=params["tpm"]),
        describe=describe,
        limits=_build_limits(params),
        retries=settings.retries,
        patience=params["patience"],
        request_timeout=params["request_timeout"],
        is_forced=params["force"],
        may_retry_incomplete=params["retry_incomplete"],
        is_verifying=params["verify"],
        request_lines=request_lines,
        is_quiet=params["quiet"],
        is_verbose=params["verbose"],
    )


def _build_limits(params: Mapping[str, Any]) -> "BudgetLimits":
    """The limits of ``--max-cost``, ``--max-tokens-total``, ``--max-time`` and ``--max-failures``."""
    from ...batch.budget import DEFAULT_FAILURE_LIMIT, BudgetLimits, parse_failure_limit

    limits = {"cost": params["max_cost"], "tokens": params["max_tokens_total"], "seconds": params["time_limit"]}
    failures = params["max_failures"]
    return BudgetLimits(
        **{name: inf if limit is None else limit for name, limit in limits.items()},
        failures=DEFAULT_FAILURE_LIMIT if failures is None else parse_failure_limit(failures),
    )
