"""``qvision config``: see the settings and where each comes from, and change the file that holds them."""

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import ConfigError
from ..output.show import print_json, print_line, show_rows
from ..output.streams import echo_err
from . import _complete, _options, _request

if TYPE_CHECKING:
    from ..settings.config_file import Config
    from ..settings.resolve import Settings

app = typer.Typer(help="See and change the settings.", no_args_is_help=True, rich_markup_mode=None)

KeyArgument = Annotated[
    str,
    typer.Argument(
        metavar="KEY",
        autocompletion=_complete.complete_keys,
        help="Dotted key, such as model or profiles.work.base_url.",
    ),
]


@app.command()
def path() -> None:
    """Print where the file is, or would be."""
    from ..settings import config_file

    print_line(str(config_file.get_config_path(os.environ)))


@app.command()
def show(
    context: typer.Context,
    *,
    profile: _options.Profile = None,
    model: _options.Model = None,
    base_url: _options.BaseUrl = None,
    max_tokens: _options.MaxTokens = None,
    temperature: _options.Temperature = None,
    top_p: _options.TopP = None,
    timeout: _options.Timeout = None,
    retries: _options.Retries = None,
    retry_max_wait: _options.RetryMaxWait = None,
    max_time: _options.MaxTime = None,
    allow_http: _options.AllowHttp = False,
    offline: _options.Offline = False,
    max_pixels: _options.MaxPixels = None,
    max_side: _options.MaxSide = None,
    quality: _options.Quality = None,
    labels: _options.Labels = None,
    as_json: _options.JsonObject = False,
) -> None:
    """Show every setting and where it comes from.

    With options of other commands it shows what would count there with them.
    """
    from ..settings import config_file

    given: dict[str, Any] = {
        "profile": profile,
        "model": model,
        "base_url": base_url,
        "max_tokens": max_tokens,
        "labels": labels,
    }
    given |= {"temperature": temperature, "top_p": top_p, "timeout": timeout, "retries": retries}
    given |= {"retry_max_wait": retry_max_wait, "max_time": max_time, "allow_http": allow_http or None}
    given |= {"offline": offline or None, "max_pixels": max_pixels, "max_side": max_side, "quality": quality}
    settings = _request.resolve_settings(context, config_file.load_config(os.environ), given)
    values = _mask_settings(settings)
    if as_json:
        found = {
            name: {"value": values[name], "origin": source.kind.value, "where": source.location}
            for name, source in settings.origins.items()
        }
        print_json(found)
        return
    rows = [
        (name, "-" if values[name] is None else _format_value(values[name]), source.location)
        for name, source in settings.origins.items()
    ]
    show_rows(("setting", "value", "from"), rows)


@app.command()
def get(key: KeyArgument) -> None:
    """Print what the file says about a key.

    What counts in the end is what config show says.
    """
    from ..settings import config_file

    at = config_file.get_config_path(os.environ)
    names = config_file.parse_key(key)
    config_file.load_config(os.environ)
    found = config_file.get_value(config_file.parse_toml(config_file.read_text(at) or "", at), names)
    if found is None:
        raise ConfigError(f"{at} does not set {key}", hint="What counts then is what this says: qvision config show")
    print_line(_format_value(_mask(names, found)))


@app.command("set", context_settings={"ignore_unknown_options": True})
def set_(
    key: KeyArgument, value: Annotated[str, typer.Argument(metavar="VALUE", help="A text, or any TOML value.")]
) -> None:
    """Set one key in the file; its comments stay."""
    from ..settings import config_edit, config_file

    names = config_file.parse_key(key)

    def check(config: "Config") -> None:
        if names[0] == "presets" and names[1:]:
            _request.check_preset(names[1], config)

    config_edit.set_value(config_file.get_config_path(os.environ), names, value, check)


@app.command()
def unset(key: KeyArgument) -> None:
    """Remove a key, or a table, from the file."""
    from ..settings import config_edit, config_file

    config_edit.unset_value(config_file.get_config_path(os.environ), config_file.parse_key(key))


@app.command()
def edit() -> None:
    """Open the file in your editor.

    What comes back takes its place only when it is right.
    """
    from ..settings import config_edit, config_file

    editor = _find_editor()
    at = config_file.get_config_path(os.environ)
    before = config_file.read_text(at)
    source = before or config_edit.TEMPLATE
    copy = config_edit.write_temporary_copy(source, at)
    failure = _run_editor(editor, copy)
    after = config_file.read_text(copy) or ""
    if failure is not None:
        if after != source:
            raise ConfigError(f"{failure}, so nothing was changed", hint=f"Your text is in {copy}")
        copy.unlink(missing_ok=True)
        raise ConfigError(f"{failure}, and nothing was changed")

    def change(source: str) -> str:
        if source != (before or ""):
            raise ConfigError(f"{at} was changed by somebody else meanwhile", hint=f"Your text is in {copy}")
        _check_edited(after, copy)
        return after

    if after in {before, config_edit.TEMPLATE}:
        echo_err("nothing was changed")
    else:
        config_edit.rewrite(at, change)
    copy.unlink(missing_ok=True)


def _check_edited(text: str, copy: Path) -> None:
    """Refuse a text that is not right, with where it is kept."""
    from ..settings import config_file

    kept = f"Nothing was changed; your text is in {copy}"
    try:
        tables = config_file.parse_toml(text, copy)
    except ConfigError as error:
        raise ConfigError(error.message, hint=kept) from error
    try:
        config = config_file.validate_config(tables, copy, text)
        for name in config.presets:
            _request.check_preset(name, config)
    except ConfigError as error:
        raise ConfigError(error.message, hint=f"{error.hint} {kept}" if error.hint else kept) from error


def _find_editor() -> list[str]:
    """The program that the user edits with, and its options."""
    import shlex

    named = os.environ.get("VISUAL") or os.environ.get("EDITOR")
    if not named or not named.strip():
        raise ConfigError("no editor is set", hint="For example: EDITOR=nano qvision config edit")
    try:
        return shlex.split(named)
    except ValueError as error:
        raise ConfigError(f"{named} is no command: {error}", hint="Check VISUAL and EDITOR.") from error


def _run_editor(command: list[str], copy: Path) -> str | None:
    """Let the user edit; what went wrong, if anything did."""
    import subprocess

    try:
        code = subprocess.call([*command, str(copy)])  # noqa: S603  # the user's own words
    except OSError as error:
        copy.unlink()
        raise ConfigError(f"cannot run {command[0]}: {error.strerror}", hint="Check VISUAL and EDITOR.") from error
    return f"{command[0]} ended with {code}" if code else None


def _mask_settings(settings: "Settings") -> dict[str, Any]:
    return {name: _mask((name,), getattr(settings, name)) for name in settings.origins}


def _mask(names: tuple[str, ...] | list[str], value: Any) -> Any:
    """A value without what is nobody else's business: headers that look like it."""
    from ..text import is_secret_header

    if isinstance(value, dict):
        return {name: _mask((*names, name), inner) for name, inner in value.items()}
    return "(hidden)" if "headers" in names[:-1] and is_secret_header(names[-1]) else value


def _format_value(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def add(program: typer.Typer) -> None:
    """Add the commands to the program."""
    program.add_typer(app, name="config")
