"""Options that only ``batch`` has."""

import enum
from pathlib import Path
from typing import Annotated

import typer

from ..errors import UsageError
from .options import _finite


class SidecarKind(enum.StrEnum):
    """What stands beside each image when it is done."""

    TXT = "txt"
    JSON = "json"
    XMP = "xmp"


From = Annotated[
    str | None,
    typer.Option(
        "--from", metavar="FILE", help="A list of images: lines, or JSONL with image, prompt and id; - standard input."
    ),
]
Null = Annotated[bool, typer.Option("--null", "-0", help="The list's names end with NUL, as after find -print0.")]
Include = Annotated[
    list[str] | None,
    typer.Option("--include", metavar="PATTERN", help="Only such images, as in a .gitignore; repeatable."),
]
Exclude = Annotated[list[str] | None, typer.Option("--exclude", metavar="PATTERN", help="No such images; repeatable.")]
Hidden = Annotated[bool, typer.Option("--hidden", help="In folders also names that begin with a dot.")]
Limit = Annotated[int | None, typer.Option("--limit", min=0, metavar="N", help="The first N images at most.")]
ShardOption = Annotated[
    str | None, typer.Option("--shard", metavar="I/N", help="The I-th of N shares, for one of N machines.")
]
Results = Annotated[
    Path | None,
    typer.Option("--output", "-o", metavar="FILE", help="Results file; a new run does only what is not in it yet."),
]
Force = Annotated[bool, typer.Option("--force", help="Do again what the results file has; write over any sidecar.")]
Failures = Annotated[
    Path | None, typer.Option("--failures", metavar="FILE", help="List what failed there, for --from to read.")
]
Sidecar = Annotated[
    SidecarKind | None, typer.Option("--sidecar", help="Write the answer beside each image too.", show_default=False)
]
Ordered = Annotated[bool, typer.Option("--ordered", help="Write lines in the order of the images.")]
Jobs = Annotated[
    str,
    typer.Option(
        "--jobs",
        "-j",
        metavar="N",
        help="Requests at once; auto finds how many the endpoint takes. [auto]",
        show_default=False,
    ),
]
Rpm = Annotated[int | None, typer.Option("--rpm", min=1, metavar="N", help="Requests a minute at most.")]
Tpm = Annotated[int | None, typer.Option("--tpm", min=1, metavar="N", help="Tokens a minute at most.")]
RetriesOfOne = Annotated[
    int | None,
    typer.Option("--retries", min=0, metavar="N", help="Tries again of an image that fails while others do not. [4]"),
]
PatienceOption = Annotated[
    float,
    typer.Option(
        "--patience",
        min=0,
        max=1e6,
        callback=_finite,
        metavar="SECONDS",
        help="Wait so long for an endpoint that is away. [600]",
        show_default=False,
    ),
]
MaxCost = Annotated[
    float | None,
    typer.Option(
        "--max-cost", min=0, callback=_finite, metavar="USD", help="Stop before it costs more; needs a price."
    ),
]
MaxTokensTotal = Annotated[
    int | None, typer.Option("--max-tokens-total", min=1, metavar="N", help="Stop before it takes more tokens.")
]
MaxTimeOfAll = Annotated[
    float | None,
    typer.Option(
        "--max-time", min=0, max=1e9, callback=_finite, metavar="SECONDS", help="Begin nothing after so long."
    ),
]
MaxFailures = Annotated[
    str | None, typer.Option("--max-failures", metavar="N", help="Stop when more fail than N, or than N% do.")
]
#: Not by itself: usage and metrics are in the plain answer too, nobody reads along, and each piece wakes a thread up. Measured
#: in tests/benchmarks/batching.py: 6 % more CPU for a photo of 12 MP with an answer of 48 pieces, 4 ms an image.
Streamed = Annotated[bool, typer.Option("--stream", help="Have the answers streamed.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what there is to do and what it takes; send nothing.")]
Silent = Annotated[bool, typer.Option("--quiet", "-q", help="No progress and no summary; errors stay.")]

_MOST_JOBS = 1024


def jobs(text: str) -> int | None:
    """What ``-j`` says; ``None`` for ``auto``.

    Raises:
        UsageError: it is neither a number nor ``auto``.
    """
    if text == "auto":
        return None
    if not (text.isascii() and text.isdecimal() and 1 <= int(text) <= _MOST_JOBS):
        raise UsageError(f"-j {text} is no number of requests", hint=f"From 1 to {_MOST_JOBS}, or auto.")
    return int(text)
