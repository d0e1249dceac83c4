"""The options of runs over many images: those of ``batch``, most of which ``grep`` shares."""

import enum
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from ...errors import UsageError
from . import completions, options

_MAX_JOBS = 1024


class SidecarKind(enum.StrEnum):
    """A kind of file that is written beside each image."""

    TXT = "txt"
    JSON = "json"
    XMP = "xmp"


class ExistingKind(enum.StrEnum):
    """What happens if a sidecar exists that qvision did not write."""

    SKIP = "skip"
    FAIL = "fail"
    APPEND = "append"
    REPLACE = "replace"


class XmpNameKind(enum.StrEnum):
    """The name of an XMP sidecar: the name of the image with its suffix, or without."""

    NAME = "{name}.xmp"
    STEM = "{stem}.xmp"


def parse_jobs(text: str) -> int | None:
    """Parse the value of ``-j``; see ``parse_count``."""
    return parse_count("-j", text, _MAX_JOBS)


def parse_count(option: str, text: str, maximum: int) -> int | None:
    """Parse the value of an option that is a number from 1 on, or ``auto``, for which ``None`` is returned.

    Raises:
        UsageError: it is neither a number in range nor ``auto``.
    """
    if text == "auto":
        return None
    if not (text.isascii() and text.isdecimal() and 1 <= int(text) <= maximum):
        raise UsageError(
            f"invalid value for {option}: {text}", hint=f'Expected a number from 1 to {maximum}, or "auto".'
        )
    return int(text)


def _number(flag: str, metavar: str, help_text: str, *, minimum: float = 0, maximum: float | None = None) -> Any:
    """Make an option whose value is a finite number."""
    return typer.Option(
        flag,
        min=minimum,
        max=maximum,
        callback=options.check_finite,
        metavar=metavar,
        help=help_text,
        show_default=False,
    )


From = Annotated[
    str | None,
    typer.Option(
        "--from",
        metavar="FILE",
        help="A list of images: lines, JSONL, or CSV with a header; - reads standard input.",
        autocompletion=completions.complete_files,
    ),
]
Null = Annotated[bool, typer.Option("--null", "-0", help="Names in the list end with NUL, as from find -print0.")]
ImageColumn = Annotated[
    str | None,
    typer.Option("--image-column", metavar="NAME", help="Column of a list that names the images. [image]"),
]
Include = Annotated[
    list[str] | None,
    typer.Option("--include", metavar="PATTERN", help="Only paths that match, as in .gitignore; repeatable."),
]
Exclude = Annotated[
    list[str] | None, typer.Option("--exclude", metavar="PATTERN", help="Skip paths that match; repeatable.")
]
Hidden = Annotated[
    bool, typer.Option("--hidden", help="Include hidden files and folders, whose names begin with a dot.")
]
Limit = Annotated[int | None, typer.Option("--limit", min=0, metavar="N", help="Only the first N images.")]
Shard = Annotated[
    str | None,
    typer.Option("--shard", metavar="I/N", help="Only the I-th of N shards, to split a run over N machines."),
]
Results = Annotated[
    Path | None,
    typer.Option(
        "--output",
        "-o",
        metavar="FILE",
        help="Results file; a later run processes only the images that are not in it. FOLDER/ for a run in parts.",
        autocompletion=completions.complete_files,
    ),
]
SearchResults = Annotated[
    Path | None,
    typer.Option(
        "--output",
        "-o",
        metavar="FILE",
        help="Save the answers; a later run, even with another threshold, requests only those that are missing.",
        autocompletion=completions.complete_files,
    ),
]
Force = Annotated[
    bool, typer.Option("--force", help="Process images again that are in the results file; replace any sidecar.")
]
RetryIncomplete = Annotated[
    bool,
    typer.Option(
        "--retry-incomplete", help="Retry answers that were still cut off or invalid after the number of --retries."
    ),
]
Verify = Annotated[
    bool, typer.Option("--verify", help="Read every image, even if its size and modification time have not changed.")
]
Failures = Annotated[
    Path | None,
    typer.Option(
        "--failures",
        metavar="FILE",
        help="Write a list of the failed images, for --from.",
        autocompletion=completions.complete_files,
    ),
]
Sidecar = Annotated[
    list[SidecarKind] | None,
    typer.Option(
        "--sidecar",
        metavar="KIND",
        help="Also write each answer to a file beside its image: txt, json or xmp; repeatable.",
        show_default=False,
    ),
]
Existing = Annotated[
    ExistingKind | None,
    typer.Option(
        "--existing",
        metavar="ACTION",
        help="What to do if another program's sidecar exists: skip, fail, append or replace. [fail]",
        show_default=False,
    ),
]
CaptionSuffix = Annotated[
    str | None,
    typer.Option("--caption-suffix", metavar="SUFFIX", help="Suffix of text sidecars. [.txt]", show_default=False),
]
AppendSuffix = Annotated[
    bool, typer.Option("--append-suffix", help="Name sidecars photo.jpg.txt and photo.jpg.json, not photo.txt.")
]
OneLine = Annotated[bool, typer.Option("--one-line", help="Write text sidecars in one line.")]
Prefix = Annotated[
    str | None, typer.Option("--prefix", metavar="TEXT", help="Text before each caption in a text sidecar.")
]
XmpName = Annotated[
    XmpNameKind | None,
    typer.Option(
        "--xmp-name",
        metavar="FORM",
        help="Name of XMP sidecars: {name}.xmp (photo.jpg.xmp) or {stem}.xmp (photo.xmp). [{name}.xmp]",
        show_default=False,
    ),
]
Ordered = Annotated[bool, typer.Option("--ordered", help="Write results in the order of the images.")]
Jobs = Annotated[
    str,
    typer.Option(
        "--jobs", "-j", metavar="N", help="Parallel requests; auto adapts to the endpoint. [auto]", show_default=False
    ),
]
Rpm = Annotated[int | None, typer.Option("--rpm", min=1, metavar="N", help="At most N requests per minute.")]
Tpm = Annotated[int | None, typer.Option("--tpm", min=1, metavar="N", help="At most N tokens per minute.")]
ImageRetries = Annotated[
    int | None,
    typer.Option("--retries", min=0, metavar="N", help="Retries of an image that fails while others succeed. [4]"),
]
Patience = Annotated[
    float, _number("--patience", "SECONDS", "Wait this long for an unreachable endpoint. [600]", maximum=1e6)
]
RequestTimeout = Annotated[
    float,
    _number(
        "--request-timeout",
        "SECONDS",
        "Give up a request after this long, whatever it receives. [1800]",
        minimum=0.001,
        maximum=1e6,
    ),
]
MaxCost = Annotated[float | None, _number("--max-cost", "USD", "Stop before the cost would exceed this.")]
MaxTokensTotal = Annotated[
    int | None,
    typer.Option("--max-tokens-total", min=1, metavar="N", help="Stop before the run would use more than N tokens."),
]
TimeLimit = Annotated[
    float | None, _number("--max-time", "SECONDS", "Start no new request after this long.", maximum=1e9)
]
MaxFailures = Annotated[
    str | None, typer.Option("--max-failures", metavar="N", help="Stop when more than N, or N%, of the images fail.")
]
#: Off by default: usage and metrics are in the plain answer too, and each piece wakes a thread. Measured in
#: tests/benchmarks/batching.py: 6 % more CPU for a 12 MP photo with an answer of 48 pieces, 4 ms per image.
Stream = Annotated[bool, typer.Option("--stream", help="Stream the answers.")]
BatchDryRun = Annotated[
    bool, typer.Option("--dry-run", help="Show what the run would do and cost, without sending anything.")
]
BatchVerbose = Annotated[bool, typer.Option("--verbose", "-v", help="Log a line for each request.")]
BatchQuiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress and no summary; errors are still shown.")]
#: For a command whose ``-v`` and ``-q`` mean something else.
LongVerbose = Annotated[bool, typer.Option("--verbose", help="Log a line for each request.")]
LongQuiet = Annotated[bool, typer.Option("--quiet", help="No progress and no summary; errors are still shown.")]

#: The options that select among the images; see ``runs.build_selection``.
SELECTION_OPTIONS: Mapping[str, tuple[Any, Any]] = {
    "include": (Include, None),
    "exclude": (Exclude, None),
    "hidden": (Hidden, False),
    "limit": (Limit, None),
    "shard": (Shard, None),
}
#: The options of a run over many images; see ``runs.build_plan``.
RUN_OPTIONS: Mapping[str, tuple[Any, Any]] = {
    "force": (Force, False),
    "retry_incomplete": (RetryIncomplete, False),
    "verify": (Verify, False),
    "jobs": (Jobs, "auto"),
    "rpm": (Rpm, None),
    "tpm": (Tpm, None),
    "retries": (ImageRetries, None),
    "patience": (Patience, 600.0),
    "request_timeout": (RequestTimeout, 1800.0),
    "max_failures": (MaxFailures, None),
    "max_cost": (MaxCost, None),
    "max_tokens_total": (MaxTokensTotal, None),
    "time_limit": (TimeLimit, None),
}
