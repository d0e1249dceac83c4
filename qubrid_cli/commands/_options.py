"""Options that only ``batch`` has."""

# MERGED DOCSTRING of qubrid_cli.commands.options: Options that several commands have, each with one meaning everywhere.

import enum
import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import UsageError
from ..frozen import frozen
from . import _complete

if TYPE_CHECKING:
    pass

#: What stands under the help of every command that asks.
EPILOG = (
    "The key is read from QUBRID_API_KEY, or from where qvision auth login put it. "
    "Exit codes: 0 fine, 1 unexpected failure, 2 usage, 3 configuration or key, 4 image, 5 endpoint or network, "
    "6 incomplete answer, 7 some images of a batch failed, 8 not as the schema wants it, 130 interrupted."
)


@frozen
class CliContext:
    """What stands before the command: ``--profile``."""

    profile: str | None


class Color(enum.StrEnum):
    """When to use colour."""

    AUTO = "auto"
    ALWAYS = "always"
    NEVER = "never"

    @property
    def override(self) -> bool | None:
        """``True`` or ``False`` where the user decided, else ``None``."""
        return {"always": True, "never": False}.get(self.value)


def _check_finite(value: float | None) -> float | None:
    if value is not None and not math.isfinite(value):  # "nan" is within every range, and no JSON
        raise typer.BadParameter(f"{value} is not a number to count with.")
    return value


Prompt = Annotated[
    str | None,
    typer.Option("--prompt", "-p", metavar="TEXT", help="What to ask; @FILE reads a file, - standard input."),
]
System = Annotated[
    str | None,
    typer.Option("--system", "-s", metavar="TEXT", help="System prompt; @FILE reads a file, - standard input."),
]

Preset = Annotated[
    str | None,
    typer.Option(
        "--preset",
        "-P",
        metavar="NAME",
        help="Ask what a preset asks; a prompt goes behind its own.",
        autocompletion=_complete.complete_presets,
    ),
]
Schema = Annotated[
    str | None,
    typer.Option("--schema", metavar="SCHEMA", help="Answer in JSON of this form: @FILE, or 'title, tags [string]'."),
]

Profile = Annotated[
    str | None,
    typer.Option(
        "--profile",
        metavar="NAME",
        autocompletion=_complete.complete_profiles,
        help="Profile to use, such as ollama. [qubrid]",
    ),
]
Model = Annotated[
    str | None,
    typer.Option(
        "--model", "-m", metavar="ID", autocompletion=_complete.complete_models, help="Model to ask. [the profile's]"
    ),
]
BaseUrl = Annotated[str | None, typer.Option("--base-url", metavar="URL", help="Endpoint to ask. [the profile's]")]
MaxTokens = Annotated[
    int | None, typer.Option("--max-tokens", min=1, metavar="N", help="Tokens to answer with at most. [qubrid: 16384]")
]
Temperature = Annotated[
    float | None,
    typer.Option("--temperature", min=0, callback=_check_finite, metavar="X", help="Randomness. [qubrid: 0.1]"),
]
TopP = Annotated[
    float | None,
    typer.Option("--top-p", min=0, max=1, callback=_check_finite, metavar="X", help="Nucleus sampling. [qubrid: 1]"),
]
Param = Annotated[
    list[str] | None,
    typer.Option(
        "--param", "-O", metavar="KEY=JSON", help="Any other field of the request, such as seed=42; repeatable."
    ),
]
Timeout = Annotated[
    float | None,
    typer.Option(
        "--timeout",
        min=0.001,
        max=1e6,
        callback=_check_finite,
        metavar="SECONDS",
        help="Give up after so long without a byte. [300]",
    ),
]
Retries = Annotated[
    int | None, typer.Option("--retries", min=0, metavar="N", help="Ask again when what went wrong may pass. [4]")
]
RetryMaxWait = Annotated[
    float | None,
    typer.Option(
        "--retry-max-wait",
        min=0,
        max=1e6,
        callback=_check_finite,
        metavar="SECONDS",
        help="Wait before that at most. [60]",
    ),
]
MaxTime = Annotated[
    float | None,
    typer.Option(
        "--max-time",
        min=0.001,
        max=1e6,
        callback=_check_finite,
        metavar="SECONDS",
        help="Give up a request after so long.",
    ),
]
AllowHttp = Annotated[
    bool, typer.Option("--allow-http", help="Send the key over plain http too, in a network you trust.")
]
NoStream = Annotated[bool, typer.Option("--no-stream", help="Ask for the answer in one piece.")]
Offline = Annotated[bool, typer.Option("--offline", help="Ask the built-in endpoint: no key, no network, no model.")]

Labels = Annotated[
    bool | None,
    typer.Option("--labels/--no-labels", help="Name each of several images in the request. [--labels]"),
]
MaxPixels = Annotated[
    int | None, typer.Option("--max-pixels", min=1024, metavar="N", help="Shrink images to N pixels at most. [2621440]")
]
MaxSide = Annotated[
    int | None, typer.Option("--max-side", min=32, metavar="N", help="Shrink the longer side to N pixels at most.")
]
Quality = Annotated[
    int | None,
    typer.Option(
        "--quality", min=1, max=95, metavar="N", help="JPEG quality. [85, and 90 for screenshots and pages of text]"
    ),
]
Frame = Annotated[
    int,
    typer.Option(
        "--frame", min=1, metavar="N", help="Frame of an animation, or page of a TIFF, to send. [1]", show_default=False
    ),
]
Original = Annotated[
    bool, typer.Option("--original", help="Send images unshrunk (upright, and without metadata all the same).")
]
Fetch = Annotated[
    bool | None,
    typer.Option(
        "--fetch/--no-fetch",
        help="Fetch links here and send the images; never do. [those that the endpoint cannot reach]",
        show_default=False,
    ),
]

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object per request.")]
JsonObject = Annotated[bool, typer.Option("--json", help="Print a JSON object.")]
Field = Annotated[
    str | None, typer.Option("--field", metavar="PATH", help="Print one value of that object, such as images.0.sha256.")
]
OutputFile = Annotated[
    Path | None, typer.Option("--output", "-o", metavar="FILE", help="Write the answer to a file, replaced as a whole.")
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Show what would be sent, and send nothing.")]
Stats = Annotated[
    bool | None,
    typer.Option("--stats/--no-stats", help="End with a line of statistics. [on a terminal]", show_default=False),
]
Thinking = Annotated[bool, typer.Option("--thinking", help="Show on stderr what the model thinks before it answers.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No spinner, notes or statistics; errors stay.")]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Say what goes over the wire.")]
ColorWhen = Annotated[Color, typer.Option("--color", help="When to use colour.", show_default=True)]


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
ImageRetries = Annotated[
    int | None,
    typer.Option("--retries", min=0, metavar="N", help="Tries again of an image that fails while others do not. [4]"),
]
PatienceOption = Annotated[
    float,
    typer.Option(
        "--patience",
        min=0,
        max=1e6,
        callback=_check_finite,
        metavar="SECONDS",
        help="Wait so long for an endpoint that is away. [600]",
        show_default=False,
    ),
]
MaxCost = Annotated[
    float | None,
    typer.Option(
        "--max-cost", min=0, callback=_check_finite, metavar="USD", help="Stop before it costs more; needs a price."
    ),
]
MaxTokensTotal = Annotated[
    int | None, typer.Option("--max-tokens-total", min=1, metavar="N", help="Stop before it takes more tokens.")
]
BatchMaxTime = Annotated[
    float | None,
    typer.Option(
        "--max-time", min=0, max=1e9, callback=_check_finite, metavar="SECONDS", help="Begin nothing after so long."
    ),
]
MaxFailures = Annotated[
    str | None, typer.Option("--max-failures", metavar="N", help="Stop when more fail than N, or than N% do.")
]
#: Not by itself: usage and metrics are in the plain answer too, nobody reads along, and each piece wakes a thread up. Measured
#: in tests/benchmarks/batching.py: 6 % more CPU for a photo of 12 MP with an answer of 48 pieces, 4 ms an image.
Stream = Annotated[bool, typer.Option("--stream", help="Have the answers streamed.")]
BatchDryRun = Annotated[
    bool, typer.Option("--dry-run", help="Say what there is to do and what it takes; send nothing.")
]
BatchQuiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress and no summary; errors stay.")]

_MAX_JOBS = 1024


def parse_jobs(text: str) -> int | None:
    """What ``-j`` says; ``None`` for ``auto``.

    Raises:
        UsageError: it is neither a number nor ``auto``.
    """
    if text == "auto":
        return None
    if not (text.isascii() and text.isdecimal() and 1 <= int(text) <= _MAX_JOBS):
        raise UsageError(f"-j {text} is no number of requests", hint=f"From 1 to {_MAX_JOBS}, or auto.")
    return int(text)
