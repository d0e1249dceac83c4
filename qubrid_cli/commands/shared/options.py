"""The options of the commands: each once, with the same meaning in every command that has it."""

import enum
import functools
import inspect
import math
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Annotated, Any

import typer

from ...settings.checks import Choice, Range, check_color
from ...settings.fields import FIELDS, OPTIONS, TYPES, format_flag
from . import completions

#: Shown below the examples of every command that sends requests.
EPILOG = (
    "The key is read from QUBRID_API_KEY, or from where qvision auth login stored it. "
    "Exit codes: 0 success, 1 unexpected failure, 2 usage, 3 configuration or key, 4 image, 5 endpoint or network, "
    "6 incomplete answer, 7 some images of a batch failed, 8 answer does not match the schema, 130 interrupted."
)


class Color(enum.StrEnum):
    """When to use color."""

    AUTO = "auto"
    ALWAYS = "always"
    NEVER = "never"


def check_finite(value: float | None) -> float | None:
    """Return the value of an option, if it is a finite number."""
    if value is not None and not math.isfinite(value):  # nan passes every range check, and is not JSON
        raise typer.BadParameter(f"{value} is not a finite number.")
    return value


def _make_callback(check_value: Callable[[str], str]) -> Callable[[str | None], str | None]:
    """Make the callback of an option from a function that raises ``ValueError`` for an invalid value."""

    def check(value: str | None) -> str | None:
        try:
            return None if value is None else check_value(value)
        except ValueError as error:
            raise typer.BadParameter(f"{value!r} {error}.") from error

    return check


def _make_completer(words: Collection[str]) -> Callable[[str], list[str]]:
    """Make the function that completes an option with some words."""

    def complete(incomplete: str) -> list[str]:
        return completions.filter_by_prefix(words, incomplete)

    return complete


#: What Tab offers for settings whose values are not a fixed list of words.
_COMPLETIONS: Mapping[str, Callable[..., list[str]]] = {
    "profile": completions.complete_profiles,
    "model": completions.complete_models,
}


def _setting(name: str, *, is_long_only: bool = False) -> Any:
    """Make the option of a setting from its declaration in ``settings/fields.py``.

    Args:
        is_long_only: leave out the short form, which means something else in the command.
    """
    autocompletion = _COMPLETIONS.get(name)
    field, option, flag = FIELDS[name], OPTIONS[name], format_flag(name)
    limits = field.check if isinstance(field.check, Range) else None
    callback: Callable[[Any], Any] | None = check_finite if limits and limits.type is float else None
    if isinstance(field.check, Choice):
        callback, autocompletion = _make_callback(field.check), _make_completer(field.check.words)
    if field.check is check_color:
        callback = _make_callback(check_color)
    return typer.Option(
        f"{flag}/--no-{flag[2:]}" if field.default is True else flag,
        *([option.short] if option.short and not is_long_only else []),
        min=limits.minimum if limits else None,
        max=limits.maximum if limits else None,
        callback=callback,
        metavar=option.metavar,
        help=option.help,
        autocompletion=autocompletion,
    )


#: The settings that choose the model and its endpoint.
ENDPOINT_SETTINGS = ("profile", "model", "base_url", "allow_http", "offline")
#: The settings of a request, except for its images.
REQUEST_SETTINGS = (*ENDPOINT_SETTINGS, "max_tokens", "temperature", "top_p", "think", "timeout")
#: The settings of retries of one request; ``batch`` has its own rules.
RETRY_SETTINGS = ("retries", "retry_max_wait", "max_time")
#: The settings of images in a request.
IMAGE_SETTINGS = ("max_pixels", "max_side", "background", "quality", "detail", "image_order")

Profile = Annotated[str | None, _setting("profile")]
Offline = Annotated[bool, _setting("offline")]


def with_settings(*names: str, long_only: Collection[str] = ()) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Add the options of settings to a command, which reads them with ``setup.resolve_settings``.

    Args:
        long_only: the settings whose short form means something else in this command.
    """
    return _add_parameters([_make_setting(name, is_long_only=name in long_only) for name in names])


def with_options(*groups: Mapping[str, tuple[Any, Any]]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Add options to a command, which reads them from ``context.params``.

    Args:
        groups: the type and the default of each option, by parameter. They may be text, numbers and flags, but not paths,
            which Typer does not convert in ``context.params``.
    """
    return _add_parameters([_make_parameter(name, *option) for group in groups for name, option in group.items()])


def _add_parameters(added: Sequence[inspect.Parameter]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Add parameters that Typer sees, and that are not passed to the function of the command."""
    names = {parameter.name for parameter in added}

    def add(command: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(command)
        def without_added(**arguments: Any) -> None:
            command(**{name: value for name, value in arguments.items() if name not in names})

        signature = inspect.signature(command)
        parameters = [*signature.parameters.values(), *added]
        without_added.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]  # Typer reads it
        return without_added

    return add


def _make_setting(name: str, *, is_long_only: bool) -> inspect.Parameter:
    default = False if FIELDS[name].default is False else None
    hint = TYPES[name] if default is False else TYPES[name] | None
    return _make_parameter(name, Annotated[hint, _setting(name, is_long_only=is_long_only)], default)


def _make_parameter(name: str, hint: Any, default: Any) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=hint)


def _text_option(flag: str, short: str, help_text: str) -> Any:
    """Make an option whose text may come from a file or from standard input: ``-``, or ``@-`` as in curl."""
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
        help="Use a preset; your prompt is appended to the preset's.",
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
        autocompletion=_make_completer(("auto", "off")),
        show_default=False,
    ),
]
Crop = Annotated[
    str | None,
    typer.Option(
        "--crop",
        metavar="X,Y,W,H",
        help="Send only this part of the upright image, in pixels or percent: 0,50%,100%,50%.",
    ),
]
Fetch = Annotated[
    bool | None,
    typer.Option(
        "--fetch/--no-fetch",
        help="Download all links here, or none. [those that the endpoint cannot reach]",
        show_default=False,
    ),
]

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object per request.")]
JsonObject = Annotated[bool, typer.Option("--json", help="Print a JSON object.")]
Field = Annotated[
    str | None,
    typer.Option("--field", metavar="PATH", help="Print one value of the JSON object, such as images.0.sha256."),
]
OutputFile = Annotated[
    str | None,
    typer.Option(
        "--output",
        "-o",
        metavar="FILE",
        help="Write the answer to a file, which is replaced atomically, or to an object in a bucket.",
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
        help="On a terminal, print the answer as the model wrote it, or draw its Markdown. [as the preset says]",
        show_default=False,
    ),
]
ColorWhen = Annotated[
    Color,
    typer.Option("--color", metavar="WHEN", help="Use color: auto, always or never. [auto]", show_default=False),
]
