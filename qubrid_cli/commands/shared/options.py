"""The options of the commands: each once, with the same meaning in every command that has it."""

import enum
import math
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from ...errors import UsageError
from ...settings.checks import Choice, Range, check_color
from ...settings.fields import FIELDS, OPTIONS, format_flag
from . import completions

#: Shown below the examples of every command that sends requests.
EPILOG = (
    "The key is read from QUBRID_API_KEY, or from where qvision auth login stored it. "
    "Exit codes: 0 success, 1 unexpected failure, 2 usage, 3 configuration or key, 4 image, 5 endpoint or network, "
    "6 incomplete answer, 7 some images of a batch failed, 8 answer does not match the schema, 130 interrupted."
)
_MAX_JOBS = 1024


class Color(enum.StrEnum):
    """When to use color."""

    AUTO = "auto"
    ALWAYS = "always"
    NEVER = "never"


class SidecarKind(enum.StrEnum):
    """A file that is written beside each image."""

    TXT = "txt"
    JSON = "json"
    XMP = "xmp"


class ExistingKind(enum.StrEnum):
    """What happens if such a file exists already."""

    SKIP = "skip"
    FAIL = "fail"
    APPEND = "append"
    REPLACE = "replace"


class XmpNameKind(enum.StrEnum):
    """The name of an XMP file: that of the image with its suffix, or without."""

    NAME = "{name}.xmp"
    STEM = "{stem}.xmp"


def parse_jobs(text: str) -> int | None:
    """The value of ``-j``; ``None`` for ``auto``.

    Raises:
        UsageError: it is neither a number in range nor ``auto``.
    """
    if text == "auto":
        return None
    if not (text.isascii() and text.isdecimal() and 1 <= int(text) <= _MAX_JOBS):
        raise UsageError(f"invalid value for -j: {text}", hint=f'Expected a number from 1 to {_MAX_JOBS}, or "auto".')
    return int(text)


def _check_finite(value: float | None) -> float | None:
    if value is not None and not math.isfinite(value):  # nan passes every range check, and is not JSON
        raise typer.BadParameter(f"{value} is not a finite number.")
    return value


def _make_callback(check_value: Callable[[str], str]) -> Callable[[str | None], str | None]:
    """The callback of an option whose value is one of some words, or a color: a wrong one is a usage error."""

    def check(value: str | None) -> str | None:
        try:
            return None if value is None else check_value(value)
        except ValueError as error:
            raise typer.BadParameter(f"{value!r} {error}.") from error

    return check


def _setting(name: str, autocompletion: Callable[..., list[str]] | None = None) -> Any:
    """The option of a setting, as ``settings/fields.py`` declares it."""
    field, option, flag = FIELDS[name], OPTIONS[name], format_flag(name)
    limits = field.check if isinstance(field.check, Range) else None
    callback: Callable[[Any], Any] | None = _check_finite if limits and limits.type is float else None
    if isinstance(field.check, Choice):
        callback, autocompletion = _make_callback(field.check), completions.make_completer(field.check.words)
    if field.check is check_color:
        callback = _make_callback(check_color)
    return typer.Option(
        f"{flag}/--no-{flag[2:]}" if field.default is True else flag,
        *([option.short] if option.short else []),
        min=limits.minimum if limits else None,
        max=limits.maximum if limits else None,
        callback=callback,
        metavar=option.metavar,
        help=option.help,
        autocompletion=autocompletion,
    )


def _number(flag: str, metavar: str, help_text: str, *, maximum: float | None = None) -> Any:
    """An option whose value is a finite number from 0."""
    return typer.Option(
        flag, min=0, max=maximum, callback=_check_finite, metavar=metavar, help=help_text, show_default=False
    )


Profile = Annotated[str | None, _setting("profile", completions.complete_profiles)]
Model = Annotated[str | None, _setting("model", completions.complete_models)]
BaseUrl = Annotated[str | None, _setting("base_url")]
MaxTokens = Annotated[int | None, _setting("max_tokens")]
Temperature = Annotated[float | None, _setting("temperature")]
TopP = Annotated[float | None, _setting("top_p")]
Timeout = Annotated[float | None, _setting("timeout")]
Retries = Annotated[int | None, _setting("retries")]
RetryMaxWait = Annotated[float | None, _setting("retry_max_wait")]
MaxTime = Annotated[float | None, _setting("max_time")]
AllowHttp = Annotated[bool, _setting("allow_http")]
Offline = Annotated[bool, _setting("offline")]
Think = Annotated[str | None, _setting("think")]
Detail = Annotated[str | None, _setting("detail")]
ImageOrder = Annotated[str | None, _setting("image_order")]
Labels = Annotated[bool | None, _setting("labels")]
LoopCheck = Annotated[bool | None, _setting("loop_check")]
MaxPixels = Annotated[int | None, _setting("max_pixels")]
MaxSide = Annotated[int | None, _setting("max_side")]
Background = Annotated[str | None, _setting("background")]
Quality = Annotated[int | None, _setting("quality")]


def _text_option(flag: str, short: str, help_text: str) -> Any:
    """An option whose text may be in a file or come from standard input, which curl and others call ``@-``."""
    return typer.Option(
        flag, short, callback=lambda value: "-" if value == "@-" else value, metavar="TEXT", help=help_text
    )


Prompt = Annotated[
    str | None, _text_option("--prompt", "-p", "The prompt; @FILE reads a file, - or @- standard input.")
]
System = Annotated[
    str | None, _text_option("--system", "-s", "System prompt; @FILE reads a file, - or @- standard input.")
]

Preset = Annotated[
    str | None,
    typer.Option(
        "--preset",
        "-P",
        metavar="NAME",
        help="Use a preset; a prompt is appended to its own.",
        autocompletion=completions.complete_presets,
    ),
]
Schema = Annotated[
    str | None,
    typer.Option(
        "--schema",
        metavar="SCHEMA",
        help='Answer as JSON with this schema: @FILE, or "title, tags [string]".',
        autocompletion=completions.complete_files,
    ),
]

Param = Annotated[
    list[str] | None,
    typer.Option(
        "--param", "-O", metavar="KEY=JSON", help="Any other field of the request, such as seed=42; repeatable."
    ),
]
NoStream = Annotated[bool, typer.Option("--no-stream", help="Request the answer in one piece.")]

Pages = Annotated[
    str | None,
    typer.Option(
        "--pages", metavar="LIST", help="Pages of a PDF or TIFF, or frames of an animation, such as 1-3,7 or 5-."
    ),
]
Frame = Annotated[
    int | None, typer.Option("--frame", min=1, metavar="N", help="The same as --pages N.", show_default=False)
]
PasswordFile = Annotated[
    str | None,
    typer.Option(
        "--password-file",
        metavar="FILE",
        help="File with the password of a PDF; - reads standard input.",
        autocompletion=completions.complete_files,
    ),
]
PageSeparator = Annotated[
    str | None,
    typer.Option(
        "--page-separator",
        metavar="TEXT",
        help="Line between the answers about pages. [ocr: form feed]",
        show_default=False,
    ),
]
Original = Annotated[
    bool,
    typer.Option("--original", help="Do not shrink images (they are still rotated upright and stripped of metadata)."),
]
Tiles = Annotated[
    str | None,
    typer.Option(
        "--tiles",
        metavar="N",
        help="Send a large image in N overlapping parts, each at full size; auto decides by its detail. [off; ocr: auto]",
        autocompletion=completions.make_completer(("auto", "off")),
        show_default=False,
    ),
]
Crop = Annotated[
    str | None,
    typer.Option(
        "--crop",
        metavar="X,Y,W,H",
        help="Send only this part of the upright image, in pixels or per cent: 0,50%,100%,50%.",
    ),
]
Fetch = Annotated[
    bool | None,
    typer.Option(
        "--fetch/--no-fetch",
        help="Download links here and send the images, or never. [links that the endpoint cannot reach]",
        show_default=False,
    ),
]

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object per request.")]
JsonObject = Annotated[bool, typer.Option("--json", help="Print a JSON object.")]
Field = Annotated[
    str | None, typer.Option("--field", metavar="PATH", help="Print one value of that object, such as images.0.sha256.")
]
OutputFile = Annotated[
    str | None,
    typer.Option(
        "--output",
        "-o",
        metavar="FILE",
        help="Write the answer to a file, which is replaced atomically, or an object of a bucket.",
        autocompletion=completions.complete_files,
    ),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Show what would be sent, without sending it.")]
Stats = Annotated[
    bool | None,
    typer.Option("--stats/--no-stats", help="End with a line of statistics. [on a terminal]", show_default=False),
]
Thinking = Annotated[bool, typer.Option("--thinking", help="Show the model's reasoning on stderr.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress, notes or statistics; errors are still shown.")]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Show details of requests and responses.")]
Plain = Annotated[
    bool | None,
    typer.Option(
        "--plain/--no-plain",
        help="On a terminal, print the answer as the model wrote it; or as Markdown. [as the preset says]",
        show_default=False,
    ),
]
ColorWhen = Annotated[
    Color,
    typer.Option("--color", metavar="WHEN", help="Use color: auto, always or never. [auto]", show_default=False),
]

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
Include = Annotated[
    list[str] | None,
    typer.Option("--include", metavar="PATTERN", help="Only images that match, as in .gitignore; repeatable."),
]
Exclude = Annotated[
    list[str] | None, typer.Option("--exclude", metavar="PATTERN", help="Skip images that match; repeatable.")
]
Hidden = Annotated[
    bool, typer.Option("--hidden", help="Include hidden files and folders, whose names begin with a dot.")
]
Limit = Annotated[int | None, typer.Option("--limit", min=0, metavar="N", help="Only the first N images.")]
Shard = Annotated[
    str | None,
    typer.Option("--shard", metavar="I/N", help="Only the I-th of N shares, to split a run over N machines."),
]
Results = Annotated[
    Path | None,
    typer.Option(
        "--output",
        "-o",
        metavar="FILE",
        help="Results file; a new run does only the images that are not in it yet. A folder/ for a run in parts.",
        autocompletion=completions.complete_files,
    ),
]
Force = Annotated[bool, typer.Option("--force", help="Redo images that are in the results file; replace any sidecar.")]
RetryIncomplete = Annotated[
    bool,
    typer.Option(
        "--retry-incomplete", help="Request answers again that were cut off or invalid as often as --retries allows."
    ),
]
Verify = Annotated[
    bool, typer.Option("--verify", help="Read all images, also those whose size and time have not changed.")
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
        help="If another program's sidecar exists: skip the image, fail it, append or replace. [fail]",
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
Rpm = Annotated[int | None, typer.Option("--rpm", min=1, metavar="N", help="Limit of requests per minute.")]
Tpm = Annotated[int | None, typer.Option("--tpm", min=1, metavar="N", help="Limit of tokens per minute.")]
ImageRetries = Annotated[
    int | None,
    typer.Option("--retries", min=0, metavar="N", help="Retries of an image that fails while others succeed. [4]"),
]
Patience = Annotated[
    float, _number("--patience", "SECONDS", "Wait this long for an endpoint that is unreachable. [600]", maximum=1e6)
]
RequestTimeout = Annotated[
    float,
    _number("--request-timeout", "SECONDS", "Give up a request that takes longer as a whole. [1800]", maximum=1e6),
]
MaxCost = Annotated[float | None, _number("--max-cost", "USD", "Stop before the cost would exceed this.")]
MaxTokensTotal = Annotated[
    int | None,
    typer.Option("--max-tokens-total", min=1, metavar="N", help="Stop before the run would use more tokens."),
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
