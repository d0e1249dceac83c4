"""The program: its commands, and the one place where our errors become a message and an exit code."""

import copy
import itertools
import os
import re
import sys
import warnings
from collections.abc import Sequence
from importlib import import_module
from typing import Any

import typer
from typer.core import TyperGroup
from typer.exceptions import TyperException

from . import __version__
from .commands.shared import help_layout, options
from .errors import QvisionError, UsageError
from .output.appearance import settle_color
from .output.streams import echo_err, echo_error, translate_stdout_errors
from .text import quote_name, strip_control_characters

#: The commands and their help texts, in the order of the help. The module of each has an ``app``.
_COMMANDS = {
    "describe": "Describe images, showing the answer as it arrives.",
    "batch": "Describe many images, with a line of JSON for each.",
    "test": "Answer a yes-or-no question about images with the exit code.",
    "grep": "Print the names of images that match a description.",
    "locate": "Find objects in images: boxes in pixels of the original.",
    "chat": "Talk about images, one question after another.",
    "report": "Show the results of batches as a page, a table or a document.",
    "bench": "Compare models and settings: speed, cost, accuracy.",
    "join": "Join the results of a batch in parts.",
    "models": "List the models of the endpoint, one id per line.",
    "doctor": "Check settings, key, network, endpoint and this machine.",
    "config": "Show and change the settings.",
    "auth": "Store, show and remove the key of a profile.",
    "presets": "List and show presets, which are named prompts.",
    "completion": "Print or install the completion script for a shell.",
    "help": "Show a page of the manual, or the help of a command.",
}
_EXAMPLES = """\
qvision describe photo.jpg "what is this?"
qvision batch photos/ -P alt -o results.jsonl
qvision help recipes"""
#: The metavars of values that name a file or a folder.
_FILE_METAVARS = frozenset({"FILE", "DIR", "FOLDER", "RESULTS..."})
#: Typer's own options for completion, which install another script than ``qvision completion`` does.
_COMPLETION_OPTIONS = {"install_completion", "show_completion"}
#: Options before the command that have a value.
_OPTIONS_WITH_VALUES = {"--profile", "--color"}
#: An image whose name begins with a dash; options have no dots before their values.
_IMAGE_NAME = re.compile(r"-[^=]*\.(jpe?g|png|gif|webp|heic|avif|tiff?|bmp|pdf)", re.IGNORECASE)
#: The variable that a shell sets to complete a command line.
_COMPLETION_VARIABLE = "_QVISION_COMPLETE"


def _print_version() -> None:
    typer.echo(f"qvision {__version__}")


def _show_version(value: bool) -> None:  # noqa: FBT001  # the signature of Typer's callbacks
    if value:
        _print_version()
        raise typer.Exit


def _root(
    context: typer.Context,
    *,
    profile: options.Profile = None,
    offline: options.Offline = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
    color: options.ColorWhen = options.Color.AUTO,  # noqa: ARG001  # see _find_color
    version: bool = typer.Option(  # noqa: ARG001  # handled by its callback
        False, "--version", "-V", callback=_show_version, is_eager=True, help="Show the version."
    ),
) -> None:
    """Make an option before the command the default of the same option after it."""
    values = {"profile": profile, "offline": offline, "quiet": quiet, "verbose": verbose}
    defaults = {name: value for name, value in values.items() if value}
    assert isinstance(context.command, TyperGroup)
    context.default_map = {
        name: {**defaults, **dict.fromkeys(getattr(command, "commands", ()), defaults)}
        for name, command in context.command.commands.items()
    }


def _placeholder_command() -> None:
    """Stand in for a command that is not on the command line. Never called."""
    raise AssertionError


def _build_app(words: Sequence[str]) -> typer.Typer:
    """Build the program. Commands that are not among the words are not loaded: they have only a name and a help text.

    Loading and building all of them would take twice as long as starting Python, and add a third to ``--help``.
    """
    app = typer.Typer(
        cls=help_layout.Program,
        help="Ask vision models about images.",
        rich_markup_mode=None,  # pretty help costs ten times an empty Python
        pretty_exceptions_enable=False,
        epilog=_EXAMPLES,
        no_args_is_help=True,
        context_settings={"help_option_names": ["-h", "--help"], "max_content_width": help_layout.MAX_WIDTH},
    )
    app.callback()(_root)
    for name, summary in _COMMANDS.items():
        if name in words:
            app.add_typer(import_module(f".commands.{name}", __package__).app)
        else:
            app.command(name, cls=help_layout.Command, help=summary)(_placeholder_command)
    app.command("version", cls=help_layout.Command, help="Show the version.")(_print_version)
    return app


def _prepare_completion() -> Sequence[str]:
    """Return the words of the command line to complete, which the scripts of the shells put into the environment.

    Typer would load Rich to remove markup from help texts. Ours have no markup, and the completion would take twice as long.
    """
    sys.modules["rich"] = None  # type: ignore[assignment]  # makes the import fail, as if it were not installed
    return (os.environ.get("_TYPER_COMPLETE_ARGS") or os.environ.get("COMP_WORDS") or "").split()


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code; Typer itself exits for a closed pipe."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    settle_color(_find_color(arguments), os.environ)
    if arguments == ["help"]:
        arguments = ["--help"]
    if not sys.warnoptions:  # Pillow warns about what it repairs; python -W shows that
        warnings.simplefilter("ignore")
    try:
        _check_arguments(arguments)
        words = _prepare_completion() if _COMPLETION_VARIABLE in os.environ else arguments
        with translate_stdout_errors():
            command = typer.main.get_command(_build_app(words))
            assert isinstance(command, TyperGroup)
            command.params = [option for option in command.params if option.name not in _COMPLETION_OPTIONS]
            _add_color_option(command, command.params)
            _check_dashes(command, arguments)
            _check_empty_names(command, arguments)
            return command(arguments, prog_name="qvision", standalone_mode=False) or 0
    except QvisionError as error:
        echo_error(error)
        return error.exit_code
    except typer.Abort:
        echo_err("aborted")
        return 1
    except TyperException as error:
        return _report_usage_error(error, command, arguments)


def _list_words_before_dashes(arguments: Sequence[str]) -> list[str]:
    """List the arguments before ``--``, after which no argument is an option."""
    return list(itertools.takewhile(lambda argument: argument != "--", arguments))


def _count_leading_options(arguments: Sequence[str]) -> int:
    """Count the words before the command: options and their values."""
    count = 0
    while count < len(arguments) and arguments[count].startswith("-") and arguments[count] not in {"-", "--"}:
        count += 2 if arguments[count] in _OPTIONS_WITH_VALUES else 1
    return count


def _find_color(arguments: Sequence[str]) -> str | None:
    """Find the value of ``--color`` before the command line is parsed, because a parsing error has color too."""
    value = None
    for word, next_word in itertools.pairwise([*_list_words_before_dashes(arguments), ""]):
        if word == "--color":
            value = next_word
        elif word.startswith("--color="):
            value = word.partition("=")[2]
    return value


def _add_color_option(group: TyperGroup, parameters: Sequence[Any]) -> None:
    """Add the program's ``--color`` to every command. Its value is dropped: ``main`` has already applied it."""
    (option,) = (copy.copy(parameter) for parameter in parameters if parameter.name == "color")
    option.expose_value = False
    for command in group.commands.values():
        if isinstance(command, TyperGroup):
            _add_color_option(command, parameters)
        else:
            command.params.append(option)


def _report_usage_error(error: TyperException, group: object, arguments: Sequence[str]) -> int:
    """Report one of Typer's errors as ours are reported: one sentence and a hint. Return the exit code."""
    context = getattr(error, "ctx", None)
    message = error.format_message()
    if type(error).__name__ == "NoArgsIsHelpError":  # the message is the help
        echo_err(message)
        return error.exit_code
    path = context.command_path if context else _find_path(group, arguments)
    usage_error = UsageError(help_layout.format_error(message), hint=f"See {path} --help")
    if type(error).__name__ == "NoSuchOption" and context and (text := _find_text(arguments)) is not None:
        names = {name for parameter in context.command.params for name in parameter.opts}
        option = next((name for name in ("-e", "-p") if name in names), "--")
        usage_error = UsageError(
            f"{quote_name(text)} would be read as an option", hint=f"Put it after {option}: {option} {quote_name(text)}"
        )
    echo_error(usage_error)
    return error.exit_code


def _find_text(arguments: Sequence[str]) -> str | None:
    """Find the first argument that begins with a dash and contains a space: a prompt, not an option."""
    return next((word for word in arguments if re.match(r"-[^=]*\s", word)), None)


def _find_path(group: object, arguments: Sequence[str]) -> str:
    """Find the command that the arguments name, such as ``qvision config set``."""
    path = ["qvision"]
    command = group
    for word in arguments[_count_leading_options(arguments) :]:
        if not isinstance(command, TyperGroup) or word not in command.commands:
            break
        path.append(word)
        command = command.commands[word]
    return " ".join(path)


def _check_arguments(arguments: Sequence[str]) -> None:
    """Reject file names that Typer would read as a command or an option, or print with their escape sequences."""
    for argument in _list_words_before_dashes(arguments):
        if not argument.startswith("-") or argument == "-":
            continue
        is_name = "." in argument and os.path.lexists(argument)
        if strip_control_characters(argument) != argument or is_name or _IMAGE_NAME.fullmatch(argument):
            raise UsageError(f"{argument} would be read as an option", hint=f"For the file: ./{argument}")
    word = next(iter(arguments[_count_leading_options(arguments) :]), "")
    if word not in _COMMANDS and (example := _suggest_command_line(word)) is not None:
        raise UsageError(f"{quote_name(word)} is not a command", hint=f"For example: {example}")


def _suggest_command_line(word: str) -> str | None:
    """Suggest a command line for an image, a folder or a link in place of a command."""
    if os.path.isdir(word):
        return f"qvision batch {quote_name(word)} -P describe"
    if os.path.isfile(word) or word.startswith(("http://", "https://", "data:image/")):
        return f"qvision describe {quote_name(word)}"
    return None


def _check_dashes(group: TyperGroup, arguments: Sequence[str]) -> None:
    """Reject a long option with one dash: ``-max-tokens 5`` would be read as ``-m ax-tokens`` and the prompt 5.

    Raises:
        UsageError: there is such an option.
    """
    words = _list_words_before_dashes(arguments)
    suspects = {word.partition("=")[0] for word in words if len(word) > 2 and word[0] == "-" and word[1].isalpha()}
    if not suspects:
        return
    commands = [group, *(command for name, command in group.commands.items() if name in words)]
    options = {option for command in commands for parameter in command.params for option in parameter.opts}
    for suspect in sorted(suspects):
        if f"-{suspect}" in options:
            raise UsageError(
                f"unknown option {suspect}", hint=f"Options of several letters have two dashes: -{suspect}"
            )


def _check_empty_names(group: TyperGroup, arguments: Sequence[str]) -> None:
    """Reject an empty file name, as an unset variable leaves it: it would be read as the current folder.

    Raises:
        UsageError: a file name is empty.
    """
    words = _list_words_before_dashes(arguments)
    if "" not in words and not any(word.startswith("--") and word.endswith("=") for word in words):
        return
    parameters = [
        parameter for name, command in group.commands.items() if name in words for parameter in command.params
    ]
    files = [parameter for parameter in parameters if parameter.metavar in _FILE_METAVARS]
    options = {option for parameter in files for option in parameter.opts if option.startswith("-")}
    values = [(option, value) for option, value in itertools.pairwise(words) if option in options]
    values += [(option, value) for option, equals, value in (word.partition("=") for word in words) if equals]
    for option, value in values:
        if option in options and not value:
            raise UsageError(f"{option} is empty", hint=f"Name a file or a folder, or leave out {option}.")
    if "" in words and any(parameter.param_type_name == "argument" for parameter in files):
        raise UsageError("the name of a file or a folder is empty", hint="Check the variables of the script.")
