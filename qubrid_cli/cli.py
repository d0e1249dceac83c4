"""The program: its commands, and the one place where our errors become a message and an exit code."""

import itertools
import os
import sys
import warnings
from collections.abc import Sequence
from importlib import import_module

import typer

from . import __version__
from .commands import options
from .errors import QvisionError, UsageError, harmless
from .output import say, writing_to_stdout

#: The commands, in the order that the help has; each has a module with a function ``add`` that adds it to an app.
_COMMANDS = ("describe", "batch", "models", "doctor", "config", "auth", "presets", "completion")


def _show_version(value: bool) -> None:  # noqa: FBT001  # Typer's callbacks are called that way
    if value:
        typer.echo(f"qvision {__version__}")
        raise typer.Exit


def _root(
    context: typer.Context,
    *,
    profile: options.Profile = None,
    version: bool = typer.Option(  # noqa: ARG001  # its callback has seen to it
        False, "--version", callback=_show_version, is_eager=True, help="Show the version."
    ),
) -> None:
    context.obj = profile


def _app(arguments: Sequence[str]) -> typer.Typer:
    """The program with the commands that the arguments name, else with all.

    Loading and building the others would take as long as an empty Python.
    """
    app = typer.Typer(
        help="Ask vision models about images.",
        rich_markup_mode=None,  # pretty help costs ten times an empty Python
        pretty_exceptions_enable=False,
        no_args_is_help=True,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_root)
    for name in [name for name in _COMMANDS if name in arguments] or _COMMANDS:
        import_module(f".commands.{name}", __package__).add(app)
    return app


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code. Typer itself ends usage errors, Ctrl-C and a closed pipe."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if not sys.warnoptions:  # Pillow warns about what it repairs; who wants to see that says so with -W
        warnings.simplefilter("ignore")
    try:
        _check_names(arguments)
        with writing_to_stdout():
            _app(arguments)(arguments, prog_name="qvision")
    except QvisionError as error:
        say(error.report())
        return error.exit_code
    return 0


def _check_names(arguments: Sequence[str]) -> None:
    """File names that Typer would take for a command or an option, or print with the escape sequences in them."""
    for argument in itertools.takewhile(lambda argument: argument != "--", arguments):
        if not argument.startswith("-") or argument == "-":
            continue
        if harmless(argument) != argument or (os.path.lexists(argument) and "." in argument):
            raise UsageError(f"{argument} is taken for an option", hint=f"For the file: ./{argument}")
    if arguments and not arguments[0].startswith("-") and os.path.isfile(arguments[0]):
        raise UsageError(f"{arguments[0]} is no command", hint=f"For example: qvision describe {arguments[0]}")
