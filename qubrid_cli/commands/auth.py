"""``qvision auth``: store, show and remove the key of a profile."""

import os
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import AuthError, InterruptedByUserError, UsageError
from ..library import connection
from ..operating_system import IS_WINDOWS
from ..output import show
from ..output.streams import echo_err, echo_note
from ..settings.checks import get_origin
from .shared import help_layout, options, setup

if TYPE_CHECKING:
    from ..settings.fields import Settings
    from ..settings.keys import Key

_EXAMPLES = """\
qvision auth login
qvision auth login --profile openrouter
qvision auth status"""
app = typer.Typer(
    cls=help_layout.Group,
    name="auth",
    help="Store, show and remove the key of a profile.",
    epilog=_EXAMPLES,
    no_args_is_help=True,
)

#: Bytes to read from standard input at most, far more than a key has.
_MAX_KEY_BYTES = 65_536
#: Characters of a line on a terminal, which drops further ones (Linux: N_TTY_BUF_SIZE without the line break).
_MAX_LINE_LENGTH = 4095
_PIPE_HINT = "Pipe the key in: " + (
    "type key.txt | qvision auth login --stdin" if IS_WINDOWS else "qvision auth login --stdin < key.txt"
)


@app.command(cls=help_layout.Command, epilog="qvision auth login\npass show qubrid | qvision auth login --stdin")
@options.with_settings("profile", "base_url")
def login(
    context: typer.Context,
    *,
    from_stdin: Annotated[bool, typer.Option("--stdin", help="Read the key from standard input.")] = False,
    quiet: options.Quiet = False,
) -> None:
    """Store the key of a profile.

    The key is sent only to the endpoint that is set now.
    """
    from ..settings import keys

    settings = setup.resolve_settings(context)
    key = keys.clean_pasted_key(_read_key_from_stdin() if from_stdin else _prompt_for_key(settings), "the key")
    if key is None:
        raise UsageError("the key is empty; nothing was stored", hint=_PIPE_HINT)
    location, problem = keys.store_key(settings, key, keys.locate_key_file(), keys.Keychain())
    if quiet:
        return
    if problem:
        echo_note(problem)
    echo_err(f"stored the key of profile {settings.profile} for {get_origin(settings.base_url)} in {location}")
    if settings.key_env and os.environ.get(settings.key_env):
        echo_note(f"{settings.key_env} is set, and is used instead of the stored key")


@app.command(cls=help_layout.Command, epilog="qvision auth status\nqvision auth status --json | jq -r .where")
@options.with_settings("profile", "base_url")
def status(
    context: typer.Context,
    *,
    as_json: options.JsonObject = False,
) -> None:
    """Show which key is used and where it comes from.

    Only its last four characters are shown. Exits with 3 if a key is needed and missing.
    """
    from ..settings import keys
    from ..text import mask_key

    settings = setup.resolve_settings(context)
    key = connection.find_key(settings)
    if as_json:
        show.print_json(
            {
                "profile": settings.profile,
                "origin": get_origin(settings.base_url),
                "needed": settings.needs_key,
                "key": None if key is None else mask_key(key.text),
                "where": None if key is None else key.location,
                "sent": key is not None and key.withheld_reason is None,
            }
        )
    else:
        show.print_line(_format_status(settings, key))
    keys.require_key(key, settings)


@app.command(cls=help_layout.Command, epilog="qvision auth logout\nqvision auth logout --profile openrouter")
@options.with_settings("profile")
def logout(context: typer.Context, *, quiet: options.Quiet = False) -> None:
    """Remove the stored key of a profile."""
    from ..settings import keys

    settings = setup.resolve_settings(context)
    is_removed = keys.remove_key(settings.profile, keys.locate_key_file(), keys.Keychain())
    if quiet:
        return
    if is_removed:
        echo_err(f"removed the key of profile {settings.profile}")
    else:
        echo_err(f"no key is stored for profile {settings.profile}")
    if settings.key_env and os.environ.get(settings.key_env):
        echo_note(f"{settings.key_env} is still set")


def _format_status(settings: "Settings", key: "Key | None") -> str:
    from ..text import mask_key

    if settings.has_authorization:
        text = f"no key; the {settings.key_header or 'Authorization'} header is sent instead"
    elif key is None:
        text = "no key" if settings.needs_key else "no key, and none is needed"
    elif key.withheld_reason is not None:
        text = f"key {mask_key(key.text)} from {key.location}, not sent: {key.withheld_reason}"
    else:
        header = f" in the header {settings.key_header}" if settings.key_header else ""
        text = f"key {mask_key(key.text)} from {key.location}, sent to {get_origin(settings.base_url)}{header}"
    return f"profile {settings.profile}: {text}"


def _read_key_from_stdin() -> str:
    if sys.stdin is None or sys.stdin.isatty():
        raise UsageError("--stdin: standard input is a terminal", hint="Pipe the key in, or omit --stdin to type it.")
    return sys.stdin.buffer.read(_MAX_KEY_BYTES).decode(errors="replace")


def _prompt_for_key(settings: "Settings") -> str:
    """Read the key from the terminal, which does not show it."""
    import getpass
    import warnings

    if sys.stdin is None or not sys.stdin.isatty():
        raise UsageError("cannot prompt: standard input is not a terminal", hint=_PIPE_HINT)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", getpass.GetPassWarning)
            key = getpass.getpass(f"Key for {get_origin(settings.base_url)} (hidden): ")
    except EOFError:
        echo_err("")  # Ctrl-D leaves the cursor after the prompt
        return ""
    except getpass.GetPassWarning as error:
        raise AuthError("the terminal cannot hide the key", hint=_PIPE_HINT) from error
    except KeyboardInterrupt:
        echo_err("")
        raise InterruptedByUserError(hint="Nothing was stored.") from None
    if len(key) >= _MAX_LINE_LENGTH:
        raise AuthError(
            f"the key is too long to type: a terminal line holds {_MAX_LINE_LENGTH} characters", hint=_PIPE_HINT
        )
    return key
