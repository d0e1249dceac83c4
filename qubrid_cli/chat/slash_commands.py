"""The input of a chat: a message, or a command that begins with a slash. Pure."""

import enum
import re
import textwrap

from ..errors import UsageError
from ..frozen import frozen
from ..text import quote_name, suggest


class SlashCommand(enum.StrEnum):
    """The commands of a chat, by their names."""

    IMAGE = "image"
    IMAGES = "images"
    RETRY = "retry"
    UNDO = "undo"
    CLEAR = "clear"
    MODEL = "model"
    SYSTEM = "system"
    TOKENS = "tokens"
    SAVE = "save"
    HELP = "help"
    QUIT = "quit"


#: The argument and the effect of each command, for ``/help``.
_HELP = {
    SlashCommand.IMAGE: ("PATH...", "add images, or links, to the next message"),
    SlashCommand.IMAGES: ("", "list the images"),
    SlashCommand.RETRY: ("", "request another answer to the last question"),
    SlashCommand.UNDO: ("", "remove the last question; again, its images"),
    SlashCommand.CLEAR: ("[all]", "remove the questions; with all, the images too"),
    SlashCommand.MODEL: ("[NAME]", "show the model, or use another one"),
    SlashCommand.SYSTEM: ("[TEXT]", "show or set the system prompt; - removes it"),
    SlashCommand.TOKENS: ("", "show the tokens and the cost so far"),
    SlashCommand.SAVE: ("FILE", "save as Markdown (.md) or JSON (.json)"),
    SlashCommand.HELP: ("", "show this list"),
    SlashCommand.QUIT: ("", "end the chat, as Ctrl-D does"),
}
#: Names that other programs use for these commands.
_OTHER_NAMES = {"exit": SlashCommand.QUIT, "bye": SlashCommand.QUIT, "?": SlashCommand.HELP}
_WITHOUT_ARGUMENT = frozenset(name for name, (argument, _) in _HELP.items() if not argument)


@frozen
class TypedMessage:
    """A message for the model; empty if nothing was typed."""

    text: str


@frozen
class CommandCall:
    """A command and the text after it."""

    command: SlashCommand
    argument: str


def parse_input(text: str) -> TypedMessage | CommandCall:
    """Parse a message or a command. A message that begins with a slash is written with two slashes.

    Raises:
        UsageError: there is no such command, or it takes no argument.
    """
    text = text.strip()
    if not text.startswith("/"):
        return TypedMessage(text)
    if text.startswith("//"):
        return TypedMessage(text[1:])
    match = re.match(r"/(\S*)\s*", text)
    assert match is not None
    name, argument = match[1].lower(), text[match.end() :]
    command = _OTHER_NAMES.get(name) or next((command for command in SlashCommand if command == name), None)
    if command is None:
        example = f"/image {quote_name(f'/{match[1]}')}" if "/" in name or "." in name else "/help"
        raise UsageError(
            f"/{match[1]} is not a command{suggest(f'/{name}', (f'/{other}' for other in SlashCommand), cutoff=0.6)}",
            hint=f"For the list: /help. To send a message that begins with a slash, double it: //{match[1]}"
            if example == "/help"
            else f"To add the image: {example}. To send a message that begins with a slash, double it: //…",
        )
    if argument and command in _WITHOUT_ARGUMENT:
        raise UsageError(
            f"/{command} takes no argument: {argument}", hint=f"To send this as a message, double the slash: /{text}"
        )
    return CommandCall(command, argument)


def format_help(columns: int) -> str:
    """Format the list of the commands for a number of columns."""
    rows = [(f"/{command} {argument}".rstrip(), text) for command, (argument, text) in _HELP.items()]
    width = max(len(usage) for usage, _ in rows)
    indent = " " * (width + 2)
    lines = [f"{usage.ljust(width)}  {text}" for usage, text in rows]
    return "\n".join(textwrap.fill(line, max(columns, 2 * width), subsequent_indent=indent) for line in lines)
