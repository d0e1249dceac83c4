"""``qvision config``: show the settings and their sources, and change the config file."""

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import ConfigError
from ..library import request_builder
from ..output.show import print_json, print_line, show_rows
from ..output.streams import echo_err
from ..text import quote_name
from .shared import completions, help_layout, options, setup

if TYPE_CHECKING:
    from ..settings.config_file import Config

_EXAMPLES = """\
qvision config show
qvision config set model Qwen/Qwen3-VL-Flash
qvision config set profiles.work.base_url https://llm.example.com/v1"""
app = typer.Typer(
    cls=help_layout.Group,
    name="config",
    help="Show and change the settings.",
    epilog=_EXAMPLES,
    no_args_is_help=True,
)

KeyArgument = Annotated[
    str,
    typer.Argument(
        metavar="KEY",
        autocompletion=completions.complete_keys,
        help="Dotted key, such as model or profiles.work.base_url.",
    ),
]


@app.command("path", cls=help_layout.Command, epilog="qvision config path")
def print_path() -> None:
    """Print the path of the file, even if it does not exist yet."""
    from ..settings import config_file

    print_line(str(config_file.get_config_path(os.environ)))


@app.command(
    cls=help_layout.Command,
    epilog="qvision config show\nqvision config show --profile ollama --json | jq -r .model.where",
)
@options.with_settings(
    *options.REQUEST_SETTINGS, *options.RETRY_SETTINGS, *options.IMAGE_SETTINGS, "labels", "loop_check", "coordinates"
)
def show(
    context: typer.Context,
    *,
    as_json: options.JsonObject = False,
) -> None:
    """Show every setting and where it comes from.

    Add the options of another command to see the settings it would use.
    """
    settings = setup.resolve_settings(context)
    values = {name: _mask((name,), getattr(settings, name)) for name in settings.origins}
    if as_json:
        print_json(
            {
                name: {"value": values[name], "origin": origin.kind.value, "where": origin.location}
                for name, origin in settings.origins.items()
            }
        )
        return
    rows = [
        (name, "-" if values[name] is None else _format_value(values[name]), origin.location)
        for name, origin in settings.origins.items()
    ]
    show_rows(("setting", "value", "from"), rows)


@app.command(cls=help_layout.Command, epilog="qvision config get max_tokens")
def get(key: KeyArgument) -> None:
    """Print the value of a key in the file.

    For the value in effect, run: qvision config show
    """
    from ..settings import config_file

    path = config_file.get_config_path(os.environ)
    names = config_file.parse_key(key)
    config_file.load_config(os.environ)
    value = config_file.get_value(config_file.parse_toml(config_file.read_text(path) or "", path), names)
    if value is None:
        raise ConfigError(f"{quote_name(path)} does not set {key}", hint="For the value in effect: qvision config show")
    print_line(_format_value(_mask(names, value)))


@app.command(
    "set",
    cls=help_layout.Command,
    epilog="qvision config set max_tokens 2048\nqvision config set profiles.work.base_url https://llm.example.com/v1",
    context_settings={"ignore_unknown_options": True},
)
def set_(
    key: KeyArgument, value: Annotated[str, typer.Argument(metavar="VALUE", help="A string, or any TOML value.")]
) -> None:
    """Set a key in the file, whose comments are kept."""
    from ..settings import config_edit, config_file

    names = config_file.parse_key(key)

    def check(config: "Config") -> None:
        if names[0] == "presets" and names[1:]:
            request_builder.check_preset(names[1], config)

    config_edit.set_value(config_file.get_config_path(os.environ), names, value, check)


@app.command(cls=help_layout.Command, epilog="qvision config unset max_tokens\nqvision config unset profiles.work")
def unset(key: KeyArgument) -> None:
    """Remove a key or a table from the file."""
    from ..settings import config_edit, config_file

    config_edit.unset_value(config_file.get_config_path(os.environ), config_file.parse_key(key))


@app.command(cls=help_layout.Command, epilog="qvision config edit\nEDITOR=nano qvision config edit")
def edit() -> None:
    """Open the file in your editor.

    The edited text replaces the file only if it is valid.
    """
    from ..settings import config_edit, config_file

    command = _find_editor()
    path = config_file.get_config_path(os.environ)
    original = config_file.read_text(path) or ""
    draft = original or config_edit.TEMPLATE
    copy = config_edit.write_temporary_copy(draft, path)
    edited = _run_editor(command, copy, draft)
    if edited == draft:
        echo_err("nothing was changed")
        return
    _validate_edited(edited, copy)

    def replace(current: str) -> str:
        if current != original:
            raise ConfigError(
                f"{quote_name(path)} was changed while you edited it",
                hint=f"Your text is in {quote_name(copy)}",
            )
        return edited

    config_edit.edit_config(path, replace)
    copy.unlink(missing_ok=True)


def _find_editor() -> list[str]:
    """Return the program in VISUAL or EDITOR with its arguments, or the system's editor."""
    from ..operating_system import IS_WINDOWS, find_editor_command, format_set_variable

    is_interactive = sys.stdin is not None and sys.stdin.isatty()
    try:
        words = find_editor_command(os.environ, is_interactive=is_interactive)
    except ValueError as error:
        command = os.environ.get("VISUAL") or os.environ["EDITOR"]
        raise ConfigError(f"invalid editor command: {command} ({error})", hint="Check VISUAL and EDITOR.") from error
    if not words:
        example = format_set_variable("EDITOR", "notepad" if IS_WINDOWS else "nano")
        raise ConfigError("no editor is set", hint=f"For example: {example}")
    return words


def _run_editor(command: list[str], copy: Path, draft: str) -> str:
    """Open the copy, which holds the draft, in the editor, and return the edited text. A changed copy is kept."""
    import subprocess

    from ..settings import config_file

    try:
        exit_code = subprocess.call([*command, str(copy)])  # noqa: S603  # the user's own command
    except OSError as error:
        copy.unlink()
        raise ConfigError(f"cannot run {command[0]}: {error.strerror}", hint="Check VISUAL and EDITOR.") from error
    edited = config_file.read_text(copy) or ""
    if edited == draft:
        copy.unlink(missing_ok=True)
    if exit_code:
        hint = None if edited == draft else f"Your text is in {quote_name(copy)}"
        raise ConfigError(f"{command[0]} exited with {exit_code}; nothing was changed", hint=hint)
    return edited


def _validate_edited(text: str, copy: Path) -> None:
    """Raise a ``ConfigError`` if the text is invalid, with the path of its copy in the hint."""
    from ..settings import config_file

    location = f"Nothing was changed; your text is in {quote_name(copy)}"
    try:
        tables = config_file.parse_toml(text, copy)
    except ConfigError as error:
        raise ConfigError(error.message, hint=location) from error
    try:
        config = config_file.validate_config(tables, copy, text)
        for name in config.presets:
            request_builder.check_preset(name, config)
    except ConfigError as error:
        raise ConfigError(error.message, hint=f"{error.hint} {location}" if error.hint else location) from error


def _mask(names: tuple[str, ...] | list[str], value: Any) -> Any:
    """Hide values that may be secret: of headers, body fields and parameters of the URL."""
    from ..text import is_secret_header, is_secret_parameter, mask_fields
    from ..urls import mask_query

    if "params" in names:
        return mask_fields(value, names[-1])
    if isinstance(value, dict):
        return {name: _mask((*names, name), inner) for name, inner in value.items()}
    if names[-1] == "base_url" and isinstance(value, str):
        return mask_query(value)
    is_secret = ("headers" in names[:-1] and is_secret_header(names[-1])) or (
        "query" in names[:-1] and is_secret_parameter(names[-1])
    )
    return "(hidden)" if is_secret else value


def _format_value(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)  # TOML has dates
