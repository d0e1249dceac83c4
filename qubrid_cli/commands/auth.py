"""``qvision auth``: store the key of a profile, see which one counts, forget it."""

import os
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import AuthError, StoppedError, UsageError
from ..output import say
from . import asking, options, showing

if TYPE_CHECKING:
    from ..credentials import Key
    from ..settings import Settings

app = typer.Typer(help="Store the key of a profile.", no_args_is_help=True, rich_markup_mode=None)

#: Bytes; far longer ones are refused.
_MAX_KEY = 65_536
#: Characters of a line that a terminal gives; it drops what is beyond (Linux, N_TTY_BUF_SIZE less the line's end).
_MAX_LINE = 4095


@app.command()
def login(
    context: typer.Context,
    *,
    profile: options.Profile = None,
    base_url: options.BaseUrl = None,
    from_stdin: Annotated[bool, typer.Option("--stdin", help="Read the key from standard input.")] = False,
) -> None:
    """Store the key of a profile.

    It goes to the address that is set now and to no other.
    """
    from .. import credentials

    settings = _settings(context, profile, base_url)
    key = credentials.cleaned(_piped() if from_stdin else _typed(settings), "the key")
    if key is None:
        raise UsageError("no key was given", hint="Nothing was stored.")
    where, why_not = credentials.keep(settings, key, asking.keys(), asking.keychain)
    if why_not:
        say(f"note: {why_not}")
    say(f"stored the key of profile {settings.profile} for {_origin(settings)} in {where}")
    if settings.key_env and os.environ.get(settings.key_env):
        say(f"note: {settings.key_env} is set, and wins over it")


@app.command()
def status(
    context: typer.Context,
    *,
    profile: options.Profile = None,
    base_url: options.BaseUrl = None,
    as_json: options.JsonObject = False,
) -> None:
    """Say which key counts and where it comes from.

    It is told by its last four characters. Exit 3 where one is needed and missing.
    """
    from .. import credentials
    from ..masking import hinted

    settings = _settings(context, profile, base_url)
    key = asking.found_key(settings)
    if as_json:
        showing.show_object(
            {
                "profile": settings.profile,
                "origin": _origin(settings),
                "needed": settings.needs_key,
                "key": None if key is None else hinted(key.text),
                "where": None if key is None else key.where,
                "sent": key is not None and key.barred is None,
            }
        )
    else:
        showing.print_line(_sentence(settings, key))
    credentials.required(key, settings)


@app.command()
def logout(context: typer.Context, *, profile: options.Profile = None) -> None:
    """Forget the stored key of a profile."""
    from .. import credentials

    settings = _settings(context, profile, None)
    if credentials.forget(settings.profile, asking.keys(), asking.keychain):
        say(f"forgot the key of profile {settings.profile}")
    else:
        say(f"no key is stored for profile {settings.profile}")
    if settings.key_env and os.environ.get(settings.key_env):
        say(f"note: {settings.key_env} is still set")


def _settings(context: typer.Context, profile: str | None, base_url: str | None) -> "Settings":
    from .. import configuration

    return asking.settled(context, configuration.read(os.environ), {"profile": profile, "base_url": base_url})


def _origin(settings: "Settings") -> str:
    from ..fields import origin

    return origin(settings.base_url)


def _sentence(settings: "Settings", key: "Key | None") -> str:
    from ..masking import hinted

    about = f"profile {settings.profile}"
    if settings.has_authorization:
        return f"{about}: no key, for a header takes its place"
    if key is None:
        return f"{about}: no key" + ("" if settings.needs_key else ", and none is needed")
    if key.barred is not None:
        return f"{about}: key {hinted(key.text)} from {key.where}, not sent: {key.barred}"
    return f"{about}: key {hinted(key.text)} from {key.where}, sent to {_origin(settings)}"


def _piped() -> str:
    if sys.stdin is None or sys.stdin.isatty():
        raise UsageError("--stdin reads a key, and standard input is a terminal", hint="Pipe it in, or leave it out.")
    return sys.stdin.buffer.read(_MAX_KEY).decode(errors="replace")


def _typed(settings: "Settings") -> str:
    """The key as it is typed, unseen."""
    import getpass
    import warnings

    if sys.stdin is None or not sys.stdin.isatty():
        raise UsageError("there is no terminal to type the key at", hint="Pipe it in: qvision auth login --stdin")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", getpass.GetPassWarning)
            typed = getpass.getpass(f"Key for {_origin(settings)}, which does not show: ")
    except EOFError:
        say("")  # Ctrl-D leaves the cursor behind the prompt
        return ""
    except getpass.GetPassWarning as error:  # it would show
        raise AuthError("the terminal cannot hide a key", hint="Pipe it in: qvision auth login --stdin") from error
    except KeyboardInterrupt:
        say("")
        raise StoppedError("stopped by Ctrl-C", hint="Nothing was stored.") from None
    if len(typed) >= _MAX_LINE:
        raise AuthError("the key is longer than a terminal's line", hint="Pipe it in: qvision auth login --stdin")
    return typed


def add(program: typer.Typer) -> None:
    """Add the commands to the program."""
    program.add_typer(app, name="auth")
