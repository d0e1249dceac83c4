"""From the options of a run over many images to its plan: the images, the pace, the limits."""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from ...errors import UsageError
from ...library import connection, image_options
from ...text import escape_control_characters, find_encoding, quote_name
from . import batch_options

if TYPE_CHECKING:
    from ...batch.budget import BudgetLimits
    from ...batch.inputs import BatchInputs, Selection, Task
    from ...batch.tasks import BatchPlan, BatchRequest
    from ...describe.run import DescribeFunction
    from ...images.sources import Source
    from ...settings.config_file import Config
    from ...settings.fields import Settings
    from .setup import PageOptions

#: Bytes at the start of a file that suffice to recognize a file that is not a list, such as an image.
_HEAD_BYTES = 1024
#: The suffixes of what ``qvision report`` writes, except lines of JSON.
_REPORT_SUFFIXES = frozenset({".csv", ".htm", ".html", ".md", ".parquet"})
#: Characters of a label in a dry run, such as "endpoint:", with the space after it.
_LABEL_WIDTH = 10


def split_arguments(
    words: Sequence[str],
    list_name: str | None,
    config: "Config",
    settings: "Settings",
    *,
    has_prompt_option: bool,
) -> tuple[tuple[str, ...], str | None, str | None]:
    """Split the arguments into images and prompt; return the images, the prompt, and the name of the list.

    An archive that is named as the list counts as an argument.

    Raises:
        ImageError: an image does not exist.
    """
    from ...batch import inputs

    def is_preset(word: str) -> bool:
        from ...settings import presets

        return word in presets.list_names(config.presets)

    paths, prompt = inputs.split_arguments(words, has_prompt_option=has_prompt_option, is_preset=is_preset)
    if list_name is not None and inputs.is_archive_name(list_name):
        paths, list_name = (*paths, list_name), None
    inputs.validate_arguments(paths, partial(image_options.build_storage_options, settings))
    return paths, prompt, list_name


def check_sources(
    paths: "Sequence[str]",
    list_name: str | None,
    *,
    null: bool,
    example: str = 'qvision batch photos/ "caption" -o results.jsonl',
) -> None:
    """Refuse a run without images, and ``-0`` without a list.

    Args:
        example: a command line that names images.
    """
    if not paths and list_name is None:
        raise UsageError("no image was named", hint=f"For example: {example}")
    if null and list_name is None:
        raise UsageError(
            "-0 applies to a list, and there is no --from", hint="Run: find . -print0 | qvision batch --from - -0"
        )


def resolve_list(
    name: str | None, stdin: BinaryIO, settings: "Settings", *, nul: bool, option: str = "--from"
) -> "Path | BinaryIO | Callable[[], BinaryIO] | None":
    """Check that a list can be read; return its path, standard input, or a function that opens it in a bucket.

    Raises:
        UsageError: it cannot be read.
    """
    if name is None:
        return None
    if name == "-":
        return stdin
    from ...urls import is_object_url

    if is_object_url(name):
        from ...storage.opening import open_object

        open_list = partial(open_object, name, image_options.build_storage_options(settings))
        open_list().close()
        return open_list
    path = Path(name).expanduser()
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD_BYTES) if path.is_file() else b""
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise UsageError(
            f"cannot read the list {quote_name(name)}: {reason}", hint=f"Check the name after {option}."
        ) from error
    if b"\0" in head and not nul and find_encoding(head) != "utf-16":
        quoted = quote_name(name)
        hint = f"Check the name after {option}."
        if option == "--from":
            hint = "For a list as find -print0 writes it, add -0. An image is named without --from."
        raise UsageError(f"{quoted} is not a list of lines: it contains NUL bytes", hint=hint)
    return path


def collect_run_files(results: Path | None, failures: Path | None, list_name: str | None) -> tuple[Path, ...]:
    """Collect the files of the run itself, which do not count as images.

    Raises:
        UsageError: two are the same file, or a new results file is named like a report.
    """
    from ...urls import is_object_url

    if results is not None and is_report_name(str(results)) and not os.path.lexists(results):
        name, lines = quote_name(results), quote_name(results.with_suffix(".jsonl"))
        raise UsageError(
            f"-o {name} is not named like the lines of JSON that it will hold",
            hint=f"Use -o {lines}. Then: qvision report {lines} -o {name}",
        )

    paths_by_option = {
        "-o": results,
        "--failures": failures,
        "--from": None if list_name is None or list_name == "-" or is_object_url(list_name) else Path(list_name),
    }
    options: dict[str, str] = {}
    for option, path in paths_by_option.items():
        if path is not None:
            first_option = options.setdefault(os.path.realpath(path), option)
            if first_option != option:
                raise UsageError(
                    f"{first_option} and {option} name the same file, {quote_name(path)}",
                    hint="Use a different file for each.",
                )
    return tuple(path for path in paths_by_option.values() if path is not None)


def is_report_name(name: str) -> bool:
    """Whether the suffix is that of a report, and not of lines of JSON."""
    return os.path.splitext(name)[1].lower() in _REPORT_SUFFIXES


def build_selection(params: "Mapping[str, Any]", settings: "Settings", excluded_files: tuple[Path, ...]) -> "Selection":
    """Build the selection of the images to process.

    Args:
        params: the command line, by the names of the parameters.
    """
    from ...batch import folders, inputs

    return inputs.Selection(
        folders.parse_patterns(params["include"] or (), params["exclude"] or ()),
        include_hidden=params["hidden"],
        limit=params["limit"],
        shard=None if params["shard"] is None else folders.parse_shard(params["shard"]),
        excluded_files=excluded_files,
        storage=partial(image_options.build_storage_options, settings),
    )


def format_request(values: Mapping[str, str | None]) -> tuple[str, ...]:
    """Format the lines about every request that a dry run prints, a label before each text."""
    line_break = "\n" + " " * _LABEL_WIDTH
    texts = {name: map(escape_control_characters, text.splitlines()) for name, text in values.items() if text}
    return tuple(f"{name + ':':{_LABEL_WIDTH}}{line_break.join(lines)}" for name, lines in texts.items())


def _build_source_opener(settings: "Settings", stdin: BinaryIO, *, fetch: bool | None) -> "Callable[[Task], Source]":
    """Build the function that opens the image of a task.

    Args:
        fetch: whether to download links here: all, none, or with ``None`` those that the endpoint cannot reach.
    """
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
    """Build the plan of a run from the options that all runs share; each command adds its own.

    Args:
        params: the command line, by the names of the parameters.
        request_lines: the lines about every request that a dry run prints.
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
    """Build the limits from ``--max-cost``, ``--max-tokens-total``, ``--max-time`` and ``--max-failures``."""
    from ...batch.budget import DEFAULT_FAILURE_LIMIT, BudgetLimits, parse_failure_limit

    limits = {"cost": params["max_cost"], "tokens": params["max_tokens_total"], "seconds": params["time_limit"]}
    failures = params["max_failures"]
    return BudgetLimits(
        **{name: inf if limit is None else limit for name, limit in limits.items()},
        failures=DEFAULT_FAILURE_LIMIT if failures is None else parse_failure_limit(failures),
    )
