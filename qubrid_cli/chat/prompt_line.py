"""The sources of messages: a line editor (prompt_toolkit), a plain prompt if it is not installed, or a pipe."""

import codecs
import sys
from collections.abc import Iterable
from contextlib import suppress
from typing import TYPE_CHECKING, BinaryIO, Protocol, TextIO

from ..errors import UsageError
from ..output.appearance import may_repaint
from ..output.streams import echo_err
from .slash_commands import SlashCommand

if TYPE_CHECKING:
    from prompt_toolkit.completion import Completer
    from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent

_PROMPT, _CONTINUATION = "> ", ". "


class MessageReader(Protocol):
    """Reads one message after another."""

    def read(self) -> str:
        """Read the next message, without a line feed at its end; empty if the user discarded it.

        Raises:
            EOFError: there are no more messages.
            KeyboardInterrupt: Ctrl-C was pressed.
            UsageError: the input is not text.
        """


def open_reader(history: Iterable[str]) -> tuple[MessageReader, bool]:
    """Open the reader for standard input; return it, and whether a person types there.

    Args:
        history: earlier messages, which the arrow keys recall.
    """
    if sys.stdin is None or not sys.stdin.isatty():
        return PipedLines(sys.stdin.buffer if sys.stdin is not None else None), False
    terminal = next((stream for stream in (sys.stdout, sys.stderr) if stream is not None and stream.isatty()), None)
    if terminal is not None and may_repaint():
        with suppress(ImportError):
            return EditedLines(history, terminal), True
    return TypedLines(history), True


class PipedLines:
    """Lines of a pipe, each a message; a backslash at the end of a line continues the message on the next one.

    Args:
        stream: ``None`` if standard input is closed.
    """

    def __init__(self, stream: BinaryIO | None) -> None:
        self._stream = stream
        self._number = 0

    def read(self) -> str:
        """Read the next message."""
        lines: list[str] = []
        while not lines or lines[-1].endswith("\\"):
            if (line := self._read_line()) is None:
                break
            lines.append(line)
        if not lines:
            raise EOFError
        return _join_lines(lines)

    def _read_line(self) -> str | None:
        line = b"" if self._stream is None else self._stream.readline()
        if not line:
            return None
        self._number += 1
        if self._number == 1:
            line = line.removeprefix(codecs.BOM_UTF8)
        try:
            return line.decode().rstrip("\r\n")
        except UnicodeDecodeError as error:
            raise UsageError(
                f"line {self._number} of standard input is not UTF-8 text",
                hint="Convert it to UTF-8: a question per line.",
            ) from error


class TypedLines:
    """Lines that a person types, edited by readline where Python has it."""

    def __init__(self, history: Iterable[str]) -> None:
        with suppress(ImportError):  # Windows has none
            import readline

            if may_repaint():  # a paste with line feeds stays one message; only GNU's own readline knows this variable
                readline.parse_and_bind("set enable-bracketed-paste on")
            for message in history:
                readline.add_history(message)

    def read(self) -> str:
        """Show a prompt and read the next message."""
        try:
            lines = [_read_typed(_PROMPT)]
        except EOFError:
            echo_err("")  # further output begins below the prompt
            raise
        with suppress(EOFError):
            while lines[-1].endswith("\\"):
                lines.append(_read_typed(_CONTINUATION))
        return _join_lines(lines)


def _read_typed(prompt: str) -> str:
    """Read a line from the terminal. Python would write the prompt to stdout, where only answers belong.

    Raises:
        EOFError: Ctrl-D was pressed.
    """
    try:
        if sys.stdout is not None and sys.stdout.isatty():
            return input(prompt)
        echo_err(prompt, end="")
        if line := sys.stdin.readline():
            return line.rstrip("\n")
        raise EOFError
    except UnicodeDecodeError as error:
        raise UsageError("the line is not text", hint="Check the terminal's encoding.") from error


class EditedLines:
    """Lines that a person edits with prompt_toolkit.

    Args:
        terminal: where the prompt is shown.

    Raises:
        ImportError: prompt_toolkit is not installed.
    """

    def __init__(self, history: Iterable[str], terminal: TextIO) -> None:
        from prompt_toolkit import PromptSession
        from prompt_toolkit.history import InMemoryHistory
        from prompt_toolkit.output import create_output
        from prompt_toolkit.output.vt100 import Vt100_Output
        from prompt_toolkit.shortcuts import CompleteStyle

        output = create_output(stdout=terminal)
        if isinstance(output, Vt100_Output):
            # The position of the cursor is needed only for menus, which are not used. If a terminal did not report it, there
            # would be a warning and a wait of a second, and a late report would become part of the next message.
            output.enable_cpr = False
        self._session: PromptSession[str] = PromptSession(
            _PROMPT,
            multiline=True,
            prompt_continuation=lambda width, _, wraps: " " * width if wraps else _CONTINUATION,
            history=InMemoryHistory(list(history)),
            key_bindings=_bind_keys(),
            completer=_make_completer(),
            complete_while_typing=False,
            complete_style=CompleteStyle.READLINE_LIKE,
            output=output,
        )

    def read(self) -> str:
        """Read the next message; empty if Ctrl-C discarded it."""
        try:
            return self._session.prompt()
        except KeyboardInterrupt:
            if self._session.default_buffer.text:  # as in a shell, this discards the line
                return ""
            raise


def _bind_keys() -> "KeyBindings":
    """Make Enter send the message, except after a backslash, and Alt-Enter begin another line."""
    from prompt_toolkit.key_binding import KeyBindings

    bindings = KeyBindings()

    @bindings.add("enter")
    def _(event: "KeyPressEvent") -> None:
        buffer = event.current_buffer
        if buffer.document.current_line_before_cursor.endswith("\\"):
            buffer.delete_before_cursor()
            buffer.insert_text("\n")
        else:
            buffer.validate_and_handle()

    @bindings.add("escape", "enter")
    def _(event: "KeyPressEvent") -> None:
        event.current_buffer.insert_text("\n")

    return bindings


def _make_completer() -> "Completer":
    """Make the completer of command names, and of paths after ``/image`` and ``/save``."""
    from prompt_toolkit.completion import NestedCompleter, PathCompleter

    paths = {SlashCommand.IMAGE, SlashCommand.SAVE}
    return NestedCompleter(
        {f"/{command}": PathCompleter(expanduser=True) if command in paths else None for command in SlashCommand}
    )


def _join_lines(lines: list[str]) -> str:
    r"""Join the lines of a message, without the backslashes that continue them."""
    return "\n".join([*(line.removesuffix("\\") for line in lines[:-1]), lines[-1]])
