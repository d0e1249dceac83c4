"""How commands begin and end: read settings, key, prompts, pages and parameters; record and report failures."""

import io
import json
import os
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import typer

from ...errors import EndpointError, InterruptedByUserError, OutputError, QvisionError, UsageError
from ...frozen import frozen
from ...output.streams import echo_note
from ...settings.fields import OPTIONS, format_flag
from ...text import quote_name

if TYPE_CHECKING:
    from ...images.documents.pages import PageChoice
    from ...output.show import OutputOptions, RequestInfo
    from ...schema.json_schema import Schema
    from ...settings.config_file import Config
    from ...settings.fields import Settings
    from ...settings.presets import Preset

#: Values of ``-O`` that count as strings without quotes, as in ``reasoning_effort=low``.
_BARE_WORD = re.compile(r"[A-Za-z][\w.-]*")


def options_from(context: typer.Context) -> dict[str, Any]:
    """Return the settings that are options on this command line, by name.

    Raises:
        UsageError: ``--profile`` differs before and after the command.
    """
    sources = {name: context.get_parameter_source(name) for name in OPTIONS}
    options = {
        name: context.params[name]
        for name, source in sources.items()
        if source and source.name in {"COMMANDLINE", "DEFAULT_MAP"}  # after the command, or before it
    }
    before, after = context.find_root().params["profile"], options.get("profile")
    if before and after and before != after:
        raise UsageError(f"two profiles, {before} and {after}", hint="Name one, before or after the command.")
    return {**options, "profile": after or before}


def load_config() -> "Config":
    """Load the config file."""
    from ...settings import config_file

    return config_file.load_config(os.environ)


def resolve_settings(context: typer.Context, config: "Config | None" = None) -> "Settings":
    """Resolve the settings of this run.

    Args:
        config: the content of the config file; ``None`` to load it.
    """
    from ...settings.resolve import resolve

    return resolve(options_from(context), os.environ, config or load_config())


def resolve_preset_and_settings(
    context: typer.Context, config: "Config", preset_name: str | None
) -> tuple["Preset | None", "Settings"]:
    """Find the preset that ``--preset`` or the settings name, if any; and resolve the settings with its values."""
    from ...settings.resolve import resolve_with_preset

    return resolve_with_preset(options_from(context), os.environ, config, preset_name)


def require_key(settings: "Settings", *, quiet: bool = False) -> str | None:
    """Return the key to send. Print notes about a key that is not sent, and an endpoint that is not the profile's."""
    from ...library import connection

    key, notes = connection.require_key(settings)
    for note in () if quiet else notes:
        echo_note(note)
    return key


def load_schema(
    option: str | None, preset: "Preset | None", extra: Mapping[str, Any], settings: "Settings"
) -> "Schema | None":
    """Load the schema of the answer, as ``request_builder.load_schema`` does, and refuse ``--coordinates`` if it has no boxes."""
    from ...library import request_builder
    from ...settings.fields import OriginKind

    schema = request_builder.load_schema(option, preset, extra, settings)
    is_option = settings.coordinates is not None and settings.origins["coordinates"].kind is OriginKind.OPTION
    if is_option and (schema is None or schema.boxes is None):
        raise UsageError("--coordinates has no effect on answers without boxes", hint="Add -P boxes.")
    return schema


def note_useless_pixels(settings: "Settings", extra: Mapping[str, Any], *, quiet: bool) -> None:
    """Print a note if ``--max-pixels`` is above the limit of the model.

    Args:
        extra: the fields that ``-O`` adds to the body.
    """
    from ...library import image_options

    if not quiet and (note := image_options.find_useless_pixels(settings, extra)):
        echo_note(note)


def open_stdin(arguments: Sequence[str | None]) -> BinaryIO:
    """Open standard input, unbuffered, if an argument is ``-``; otherwise return an empty stream.

    Args:
        arguments: all arguments and values that may be ``-``.

    Raises:
        UsageError: more than one is ``-``, or standard input is a terminal.
    """
    readers = arguments.count("-")
    if readers > 1:
        raise UsageError("two arguments read standard input: - is there twice", hint="Use a file for one of them.")
    if readers and (sys.stdin is None or sys.stdin.isatty()):
        raise UsageError("- reads standard input, which is a terminal", hint="Pipe something in, or leave the - out.")
    if not readers:
        return io.BytesIO()
    # Not sys.stdin.buffer: Python cannot exit while a thread that waits for a pipe holds its lock.
    return open(sys.stdin.fileno(), "rb", buffering=0, closefd=False)  # not ours to close


def read_prompt(option: str, text: str | None, stdin: BinaryIO) -> str | None:
    """Read the text of ``-p`` or ``-s``, which may name a file or standard input; ``None`` if the option is absent.

    Raises:
        UsageError: the prompt cannot be read, is empty, or is not UTF-8.
    """
    if text is None:
        return None
    if text == "-" or text.startswith("@"):
        from ...describe import prompt

        text = prompt.read_prompt(text, option=option, stdin=stdin)
    from ...library.request_builder import validate_prompt

    return validate_prompt(text, option)


def read_system_prompt(
    option: str | None, stdin: BinaryIO, preset: "Preset | None", settings: "Settings"
) -> str | None:
    """Read the system prompt of ``-s``, or take that of the preset or of the settings."""
    from ...library.request_builder import choose_system

    return choose_system(read_prompt("-s", option, stdin), preset, settings)


def find_referenced_files(*texts: str | None) -> list[Path]:
    """List the files that options such as ``-p @FILE`` read."""
    return [Path(text[1:]) for text in texts if text and re.match("@[^@]", text)]


@frozen
class PageOptions:
    """What the command line says about pages."""

    choice: "PageChoice | None"
    password: str | None


def read_page_options(pages: str | None, frame: int | None, password_file: str | None, stdin: BinaryIO) -> PageOptions:
    """The values of ``--pages``, ``--frame`` and ``--password-file``.

    Raises:
        UsageError: they exclude each other, are not valid, or the password cannot be read.
    """
    if pages is not None and frame is not None:
        raise UsageError("--pages and --frame exclude each other", hint="--frame N is the same as --pages N.")
    choice = None
    if (text := pages if frame is None else str(frame)) is not None:
        from ...images.documents.pages import parse_pages

        choice = parse_pages(text)
    return PageOptions(choice, None if password_file is None else _read_password(password_file, stdin))


def _read_password(name: str, stdin: BinaryIO) -> str:
    try:
        data = stdin.read() if name == "-" else Path(name).expanduser().read_bytes()
        password = data.decode().removesuffix("\n").removesuffix("\r")
    except (OSError, ValueError, RuntimeError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else "it is not UTF-8 text"
        raise UsageError(
            f"cannot read --password-file {quote_name(name)}: {reason}", hint="It contains only the password."
        ) from error
    if not password or "\n" in password:
        problem = "has more than one line" if password else "is empty"
        raise UsageError(f"--password-file {quote_name(name)} {problem}", hint="It contains only the password.")
    return password


def parse_params(pairs: Sequence[str] | None) -> dict[str, Any]:
    """Parse the fields of ``-O KEY=JSON``; a value that is a plain word counts as a string.

    Raises:
        UsageError: no ``=``, invalid JSON, or a field that has its own option.
    """
    from ...settings.checks import RESERVED_BODY_FIELDS

    fields: dict[str, Any] = {}
    for pair in pairs or ():
        key, equals, text = pair.partition("=")
        if not equals or not key.strip():
            raise UsageError(f"-O {pair} is not KEY=JSON", hint="For example: -O seed=42")
        if key in RESERVED_BODY_FIELDS:
            raise UsageError(f"-O cannot set {key}", hint=_hint_for_reserved(key, text))
        try:
            fields[key] = json.loads(text)
            json.dumps(fields[key], allow_nan=False)  # Python reads NaN and 1e999, which are not JSON
        except (ValueError, RecursionError) as error:
            if not _BARE_WORD.fullmatch(text):
                example = quote_name(f'{key}="text"')
                raise UsageError(
                    f"-O {pair}: {text!r} is not JSON", hint=f"Text goes in quotes: -O {example}"
                ) from error
            fields[key] = text
    return fields


def _hint_for_reserved(key: str, value: str) -> str:
    hints = {"messages": "They are made of the prompt, -s and the images.", "stream": "Use --no-stream."}
    return hints.get(key, f"Use an option: {format_flag(key)} {quote_name(value)}")


@contextmanager
def recording_failures(info: "RequestInfo", show: "OutputOptions") -> Iterator[None]:
    """Save the output at the end, also of a failure; before that, write its record unless there is an answer."""
    failure: QvisionError | None = None
    try:
        yield
    except OutputError:
        raise
    except QvisionError as error:
        failure = error
    except KeyboardInterrupt:  # between two steps; an interrupted request keeps the part of the answer that arrived
        failure = InterruptedByUserError()
    if failure is not None and info.target.is_untouched:
        from ...output.show import show_failed_request

        show_failed_request(failure, info, show)
    info.target.save(may_replace=failure is None or info.target.has_answer)
    if failure is not None:
        raise failure


def raise_if_final(error: QvisionError, *, has_several: bool) -> None:
    """Raise the error of a request, unless other requests may still succeed."""
    is_fatal = isinstance(error, EndpointError) and error.is_fatal
    if not has_several or is_fatal or isinstance(error, InterruptedByUserError):
        raise error


def name_image(error: QvisionError, name: str) -> QvisionError:
    """Return the error of one of several requests, with the name of its image in the message."""
    if name in error.message:
        return error
    return error.with_message(f"{quote_name(name)}: {error.message}", hint=error.hint)
