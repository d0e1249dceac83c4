"""``qvision config``: see the settings and where each comes from, and change the file that holds them."""

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import ConfigError
from ..output import say
from . import asking, completing, options, questions, showing

if TYPE_CHECKING:
    from ..configuration import Config
    from ..settings import Settings

app = typer.Typer(help="See and change the settings.", no_args_is_help=True, rich_markup_mode=None)

Key = Annotated[
    str,
    typer.Argument(
        metavar="KEY",
        autocompletion=completing.keys,
        help="Dotted key, such as model or profiles.work.base_url.",
    ),
]


@app.command()
def path() -> None:
    """Print where the file is, or would be."""
    from .. import configuration

    showing.print_line(str(configuration.location(os.environ)))


@app.command()
def show(
    context: typer.Context,
    *,
    profile: options.Profile = None,
    model: options.Model = None,
    base_url: options.BaseUrl = None,
    max_tokens: options.MaxTokens = None,
    temperature: options.Temperature = None,
    top_p: options.TopP = None,
    timeout: options.Timeout = None,
    retries: options.Retries = None,
    retry_max_wait: options.RetryMaxWait = None,
    max_time: options.MaxTime = None,
    allow_http: options.AllowHttp = False,
    offline: options.Offline = False,
    max_pixels: options.MaxPixels = None,
    max_side: options.MaxSide = None,
    quality: options.Quality = None,
    labels: options.Labels = None,
    as_json: options.JsonObject = False,
) -> None:
    """Show every setting and where it comes from.

    With options of other commands it shows what would count there with them.
    """
    from .. import configuration

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
    settings = asking.settled(context, configuration.read(os.environ), given)
    values = _values(settings)
    if as_json:
        found = {
            name: {"value": values[name], "origin": source.origin.value, "where": source.where}
            for name, source in settings.origins.items()
        }
        showing.show_object(found)
        return
    rows = [
        (name, "-" if values[name] is None else _text(values[name]), source.where)
        for name, source in settings.origins.items()
    ]
    showing.show_rows(("setting", "value", "from"), rows)


@app.command()
def get(key: Key) -> None:
    """Print what the file says about a key.

    What counts in the end is what config show says.
    """
    from .. import configuration, keypath

    at = configuration.location(os.environ)
    names = keypath.path_of(key)
    configuration.read(os.environ)
    found = keypath.looked_up(configuration.toml(configuration.text(at) or "", at), names)
    if found is None:
        raise ConfigError(f"{at} does not set {key}", hint="What counts then is what this says: qvision config show")
    showing.print_line(_text(_masked(names, found)))


@app.command("set", context_settings={"ignore_unknown_options": True})
def set_(key: Key, value: Annotated[str, typer.Argument(metavar="VALUE", help="A text, or any TOML value.")]) -> None:
    """Set one key in the file; its comments stay."""
    from .. import configuration, keypath, rewriting

    names = keypath.path_of(key)

    def check(config: "Config") -> None:
        if names[0] == "presets" and names[1:]:
            questions.check_preset(names[1], config)

    rewriting.set_value(configuration.location(os.environ), names, value, check)


@app.command()
def unset(key: Key) -> None:
    """Remove a key, or a table, from the file."""
    from .. import configuration, keypath, rewriting

    rewriting.unset_value(configuration.location(os.environ), keypath.path_of(key))


@app.command()
def edit() -> None:
    """Open the file in your editor.

    What comes back takes its place only when it is right.
    """
    from .. import configuration, rewriting

    editor = _editor()
    at = configuration.location(os.environ)
    before = configuration.text(at)
    source = before or rewriting.BEGINNING
    copy = rewriting.copied(source, at)
    failure = _run(editor, copy)
    after = configuration.text(copy) or ""
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

    if after in {before, rewriting.BEGINNING}:
        say("nothing was changed")
    else:
        rewriting.rewrite(at, change)
    copy.unlink(missing_ok=True)


def _check_edited(text: str, copy: Path) -> None:
    """Refuse a text that is not right, with where it is kept."""
    from .. import configuration

    kept = f"Nothing was changed; your text is in {copy}"
    try:
        tables = configuration.toml(text, copy)
    except ConfigError as error:
        raise ConfigError(error.message, hint=kept) from error
    try:
        config = configuration.checked(tables, copy, text)
        for name in config.presets:
            questions.check_preset(name, config)
    except ConfigError as error:
        raise ConfigError(error.message, hint=f"{error.hint} {kept}" if error.hint else kept) from error


def _editor() -> list[str]:
    """The program that the user edits with, and its options."""
    import shlex

    named = os.environ.get("VISUAL") or os.environ.get("EDITOR")
    if not named or not named.strip():
        raise ConfigError("no editor is set", hint="For example: EDITOR=nano qvision config edit")
    try:
        return shlex.split(named)
    except ValueError as error:
        raise ConfigError(f"{named} is no command: {error}", hint="Check VISUAL and EDITOR.") from error


def _run(command: list[str], copy: Path) -> str | None:
    """Let the user edit; what went wrong, if anything did."""
    import subprocess

    try:
        code = subprocess.call([*command, str(copy)])  # noqa: S603  # the user's own words
    except OSError as error:
        copy.unlink()
        raise ConfigError(f"cannot run {command[0]}: {error.strerror}", hint="Check VISUAL and EDITOR.") from error
    return f"{command[0]} ended with {code}" if code else None


def _values(settings: "Settings") -> dict[str, Any]:
    return {name: _masked((name,), getattr(settings, name)) for name in settings.origins}


def _masked(names: tuple[str, ...] | list[str], value: Any) -> Any:
    """A value without what is nobody else's business: headers that look like it."""
    from ..masking import is_secret

    if isinstance(value, dict):
        return {name: _masked((*names, name), inner) for name, inner in value.items()}
    return "(hidden)" if "headers" in names[:-1] and is_secret(names[-1]) else value


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def add(program: typer.Typer) -> None:
    """Add the commands to the program."""
    program.add_typer(app, name="config")
