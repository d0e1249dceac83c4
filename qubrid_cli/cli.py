"""The program: its commands, and the one place where our errors become a message and an exit code."""

import itertools
import os
import sys
import warnings
from collections.abc import Sequence
from importlib import import_module
from typing import TYPE_CHECKING

import typer

from . import __version__
from .commands import _options
from .errors import QvisionError, UsageError
from .output.streams import echo_err, translate_stdout_errors
from .text import strip_control_characters

if TYPE_CHECKING:
    pass

#: The commands, in the order that the help has, and what it says of them; each has a module with a function ``add`` that
#: adds it to an app.
_COMMANDS = {
    "describe": "Describe images, showing the answer as it is written.",
    "batch": "Describe many images, one request each, with a line of JSON for each.",
    "models": "List the models of the endpoint, one id per line.",
    "doctor": "Check the settings, the key, the network, the endpoint, a test image and this machine.",
    "config": "Show and change the settings.",
    "auth": "Store, show and remove the key of a profile.",
    "presets": "List and show presets, the prompts that have a name.",
    "completion": "Print the completion script for a shell.",
}
#: Is set while a shell completes a line.
_COMPLETION_VARIABLE = "_QVISION_COMPLETE"


def _show_version(value: bool) -> None:  # noqa: FBT001  # Typer's callbacks are called that way
    if value:
        typer.echo(f"qvision {__version__}")
        raise typer.Exit


def _root(
    context: typer.Context,
    *,
    profile: _options.Profile = None,
    version: bool = typer.Option(  # noqa: ARG001  # its callback has seen to it
        False, "--version", callback=_show_version, is_eager=True, help="Show the version."
    ),
) -> None:
    context.obj = _options.CliContext(profile)


def _placeholder_command() -> None:
    """In the place of a command that no argument names, so that it cannot be called."""
    raise AssertionError


def _build_app(words: Sequence[str]) -> typer.Typer:
    """The program with the commands that the words name; of the others just the names and what the help says.

    Loading and building them all would take twice as long as an empty Python, and add a third to ``--help``.
    """
    app = typer.Typer(
        help="Ask vision models about images.",
        rich_markup_mode=None,  # pretty help costs ten times an empty Python
        pretty_exceptions_enable=False,
        no_args_is_help=True,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_root)
    for name, summary in _COMMANDS.items():
        if name in words:
            import_module(f".commands.{name}", __package__).add(app)
        else:
            app.command(name, help=summary)(_placeholder_command)
    return app


def _get_words(arguments: Sequence[str]) -> Sequence[str]:
    """The arguments; or the words of the line that is being completed, which Typer's scripts have in the environment."""
    if _COMPLETION_VARIABLE not in os.environ:
        return arguments
    return (os.environ.get("_TYPER_COMPLETE_ARGS") or os.environ.get("COMP_WORDS") or "").split()


def _block_rich() -> None:
    """Keep Typer from loading Rich to complete a line, which would make it wait twice as long.

    Typer strips Rich's markup from the help of options, where Rich is installed; ours has none.
    """
    sys.modules["rich"] = None  # type: ignore[assignment]  # whoever imports it is told that it is not there


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code. Typer itself ends usage errors, Ctrl-C and a closed pipe."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if not sys.warnoptions:  # Pillow warns about what it repairs; who wants to see that says so with -W
        warnings.simplefilter("ignore")
    try:
        _check_arguments(arguments)
        if _COMPLETION_VARIABLE in os.environ:
            _block_rich()
        with translate_stdout_errors():
            _build_app(_get_words(arguments))(arguments, prog_name="qvision")
    except QvisionError as error:
        echo_err(error.format_report())
        return error.exit_code
    return 0


def _check_arguments(arguments: Sequence[str]) -> None:
    """File names that Typer would take for a command or an option, or print with the escape sequences in them."""
    for argument in itertools.takewhile(lambda argument: argument != "--", arguments):
        if not argument.startswith("-") or argument == "-":
            continue
        if strip_control_characters(argument) != argument or (os.path.lexists(argument) and "." in argument):
            raise UsageError(f"{argument} is taken for an option", hint=f"For the file: ./{argument}")
    if arguments and not arguments[0].startswith("-") and os.path.isfile(arguments[0]):
        raise UsageError(f"{arguments[0]} is no command", hint=f"For example: qvision describe {arguments[0]}")
