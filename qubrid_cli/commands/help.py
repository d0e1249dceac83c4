"""``qvision help``: show the help of a command, or a page of the manual."""

from collections.abc import Collection, Sequence
from typing import Annotated

import typer
from typer.core import TyperGroup

from ..errors import UsageError
from ..text import quote_name, suggest
from .shared import help_layout, manual

app = typer.Typer()


def _complete_names(context: typer.Context, incomplete: str) -> list[tuple[str, str]]:
    """Complete topics and commands, and after a command the commands below it."""
    command: object = context.find_root().command
    words = context.params.get("words") or ()
    for word in words:
        command = command.commands.get(word) if isinstance(command, TyperGroup) else None
    commands = command.commands if isinstance(command, TyperGroup) else {}
    names = {} if words else manual.load_topics()
    names |= {name: subcommand.get_short_help_str(100) for name, subcommand in commands.items()}
    return [(name, summary) for name, summary in names.items() if name.startswith(incomplete)]


@app.command("help", cls=help_layout.Command, epilog="qvision help images\nqvision help config set")
def show_help(
    context: typer.Context,
    words: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[TOPIC | COMMAND...]",
            help="Topic of the manual, or command; without one, all of them are listed.",
            show_default=False,
            autocompletion=_complete_names,
        ),
    ] = None,
) -> None:
    """Show a page of the manual, or the help of a command."""
    words = words or []
    topics = manual.load_topics()
    if len(words) == 1 and words[0] in topics:
        from ..output.pager import show_page

        show_page(manual.read_page(words[0]), topics)
        return
    group = context.find_root().command
    assert isinstance(group, TyperGroup)
    _check_words(group, words, topics)
    group.main([*words, "--help"], prog_name="qvision", standalone_mode=False)


def _check_words(group: TyperGroup, words: Sequence[str], topics: Collection[str]) -> None:
    """Refuse an unknown first word, and any word after a topic or after a command that has no commands.

    Raises:
        UsageError: there is such a word.
    """
    names = [*topics, *group.commands]
    if words and words[0] not in names:
        similar = suggest(words[0], names, cutoff=0.75)
        page = None if similar else manual.find_page(words[0])
        raise UsageError(
            f"no such command or topic: {quote_name(words[0])}{similar}",
            hint=f"See qvision help {page}, which mentions it" if page else "See qvision help",
        )
    command: object = group
    for word in words:
        if not isinstance(command, TyperGroup):
            raise UsageError(f"unexpected argument: {quote_name(word)}", hint="See qvision help")
        command = command.commands.get(word, None if word in topics else command)
