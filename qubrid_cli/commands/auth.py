"""``qvision auth``: store the key of a profile, see which one counts, forget it."""

import os
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import AuthError, InterruptedByUserError, UsageError
from ..output import show
from ..output.streams import echo_err
from . import _options, _request

if TYPE_CHECKING:
    from ..settings.keys import Key
    from ..settings.resolve import Settings

app = typer.Typer(help="Store the key of a profile.", no_args_is_help=True, rich_markup_mode=None)

#: Bytes; far longer ones are refused.
_MAX_KEY_BYTES = 65_536
#: Characters of a line that a terminal gives; it drops what is beyond (Linux, N_TTY_BUF_SIZE less the line's end).
_MAX_LINE_LENGTH = 4095


@app.command()
def login(
    context: typer.Context,
    *,
    profile: _options.Profile = None,
    base_url: _options.BaseUrl = None,
    from_stdin: Annotated[bool, typer.Option("--stdin", help="Read the key from standard input.")] = False,
) -> None:
    """Store the key of a profile.

    It goes to the address that is set now and to no other.
    """
    from ..settings import keys

    settings = _resolve_settings(context, profile, base_url)
    key = keys.clean_pasted_key(_read_key_from_stdin() if from_stdin else _prompt_for_key(settings), "the key")
    if key is None:
        raise UsageError("no key was given", hint="Nothing was stored.")
    where, why_not = keys.store_key(settings, key, _request.locate_key_file(), _request.load_keychain)
    if why_not:
        echo_err(f"note: {why_not}")
    echo_err(f"stored the key of profile {settings.profile} for {_get_origin(settings)} in {where}")
    if settings.key_env and os.environ.get(settings.key_env):
        echo_err(f"note: {settings.key_env} is set, and wins over it")


@app.command()
def status(
    context: typer.Context,
    *,
    profile: _options.Profile = None,
    base_url: _options.BaseUrl = None,
    as_json: _options.JsonObject = False,
) -> None:
    """Say which key counts and where it comes from.

    It is told by its last four characters. Exit 3 where one is needed and missing.
    """
    from ..settings import keys
    from ..text import mask_key

    settings = _resolve_settings(context, profile, base_url)
    key = _request.find_key(settings)
    if as_json:
        show.print_json(
            {
                "profile": settings.profile,
                "origin": _get_origin(settings),
                "needed": settings.needs_key,
                "key": None if key is None else mask_key(key.text),
                "where": None if key is None else key.location,
                "sent": key is not None and key.withheld_reason is None,
            }
        )
    else:
        show.print_line(_format_status(settings, key))
    keys.require_key(key, settings)


@app.command()
def logout(context: typer.Context, *, profile: _options.Profile = None) -> None:
    """Forget the stored key of a profile."""
    from ..settings import keys

    settings = _resolve_settings(context, profile, None)
    if keys.remove_key(settings.profile, _request.locate_key_file(), _request.load_keychain):
        echo_err(f"forgot the key of profile {settings.profile}")
    else:
        echo_err(f"no key is stored for profile {settings.profile}")
    if settings.key_env and os.environ.get(settings.key_env):
        echo_err(f"note: {settings.key_env} is still set")


def _resolve_settings(context: typer.Context, profile: str | None, base_url: str | None) -> "Settings":
    from ..settings import config_file

    return _request.resolve_settings(
        context, config_file.load_config(os.environ), {"profile": profile, "base_url": base_url}
    )


def _get_origin(settings: "Settings") -> str:
    from ..settings.fields import get_origin

    return get_origin(settings.base_url)


def _format_status(settings: "Settings", key: "Key | None") -> str:
    from ..text import mask_key

    about = f"profile {settings.profile}"
    if settings.has_authorization:
        return f"{about}: no key, for a header takes its place"
    if key is None:
        return f"{about}: no key" + ("" if settings.needs_key else ", and none is needed")
    if key.withheld_reason is not None:
        return f"{about}: key {mask_key(key.text)} from {key.location}, not sent: {key.withheld_reason}"
    return f"{about}: key {mask_key(key.text)} from {key.location}, sent to {_get_origin(settings)}"


def _read_key_from_stdin() -> str:
    if sys.stdin is None or sys.stdin.isatty():
        raise UsageError("--stdin reads a key, and standard input is a terminal", hint="Pipe it in, or leave it out.")
    return sys.stdin.buffer.read(_MAX_KEY_BYTES).decode(errors="replace")


def _prompt_for_key(settings: "Settings") -> str:
    """The key as it is typed, unseen."""
    import getpass
    import warnings

    if sys.stdin is None or not sys.stdin.isatty():
        raise UsageError("there is no terminal to type the key at", hint="Pipe it in: qvision auth login --stdin")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", getpass.GetPassWarning)
            typed = getpass.getpass(f"Key for {_get_origin(settings)}, which does not show: ")
    except EOFError:
        echo_err("")  # Ctrl-D leaves the cursor behind the prompt
        return ""
    except getpass.GetPassWarning as error:  # it would show
        raise AuthError("the terminal cannot hide a key", hint="Pipe it in: qvision auth login --stdin") from error
    except KeyboardInterrupt:
        echo_err("")
        raise InterruptedByUserError("stopped by Ctrl-C", hint="Nothing was stored.") from None
    if len(typed) >= _MAX_LINE_LENGTH:
        raise AuthError("the key is longer than a terminal's line", hint="Pipe it in: qvision auth login --stdin")
    return typed


def add(program: typer.Typer) -> None:
    """Add the commands to the program."""
    program.add_typer(app, name="auth")
