"""The program: its commands, and the one place where our errors become a message and an exit code."""

import sys
import warnings
from collections.abc import Sequence

import typer

from . import __version__
from .commands.completion import completion
from .commands.describe import describe
from .errors import QvisionError, UsageError, harmless
from .output import say, writing_to_stdout

app = typer.Typer(
    help="Ask vision models about images.",
    rich_markup_mode=None,  # pretty help costs ten times an empty Python
    pretty_exceptions_enable=False,
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(describe)
app.command()(completion)


def _show_version(value: bool) -> None:  # noqa: FBT001  # Typer's callbacks are called that way
    if value:
        typer.echo(f"qvision {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    *, version: bool = typer.Option(False, "--version", callback=_show_version, is_eager=True, help="Show the version.")
) -> None:
    pass


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code. Typer itself ends usage errors, Ctrl-C and a closed pipe."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if not sys.warnoptions:  # Pillow warns about what it repairs; who wants to see that says so with -W
        warnings.simplefilter("ignore")
    try:
        _refuse_acting_options(arguments)
        with writing_to_stdout():
            app(arguments, prog_name="qvision")
    except QvisionError as error:
        say(error.report())
        return error.exit_code
    return 0


def _refuse_acting_options(arguments: Sequence[str]) -> None:
    """A file can be called like an option and hold an escape sequence, which Typer would print as it is."""
    for argument in arguments:
        if argument.startswith("-") and harmless(argument) != argument:
            raise UsageError(f"an option with control characters in it: {argument}", hint="For a file: ./-name")
