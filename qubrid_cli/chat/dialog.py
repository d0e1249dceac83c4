"""The loop of a chat: read messages, show answers, and carry out commands."""

import signal
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

from ..client.events import TextDelta, TextWasReasoning
from ..describe.result import Description
from ..errors import EndpointError, InterruptedByUserError, OutputError, QvisionError, UsageError
from ..output.show import OutputOptions, show_answer
from ..output.streams import Output, echo_err, echo_error, echo_note, echo_prose
from ..text import escape_control_characters, format_count
from .actions import Actions
from .conversation import Conversation
from .inputs import ImageLoader
from .prompt_line import EditedLines, MessageReader, open_reader
from .requests import AnswerSource
from .saving import SessionFile
from .slash_commands import CommandCall, SlashCommand, TypedMessage, parse_input

if TYPE_CHECKING:
    from ..describe.run import Items

#: Carries out a command with the text after it. Raises ``QvisionError``.
CommandFunction = Callable[[SlashCommand, str], None]


class Dialog:
    """A chat between a person, or a script, and a model.

    Args:
        is_interactive: a person types the messages, and sees failures; otherwise the first failure is returned.
        run_command: carries out the commands that request no answer.
        session: the file for the conversation; ``None`` to save nothing.
    """

    def __init__(
        self,
        conversation: Conversation,
        source: AnswerSource,
        reader: MessageReader,
        show: OutputOptions,
        target: Output,
        *,
        is_interactive: bool,
        run_command: CommandFunction,
        session: SessionFile | None,
    ) -> None:
        self._conversation = conversation
        self._source = source
        self._reader = reader
        self._show = show
        self._target = target
        self._is_interactive = is_interactive
        self._run_command = run_command
        self._session = session
        self._failures: list[QvisionError] = []
        self._unsaved: OutputError | None = None
        self._ignores_ctrl_c = signal.getsignal(signal.SIGINT) is signal.SIG_IGN

    def run(self, opening: str | None) -> QvisionError | None:
        """Send the opening message, if there is one, then all messages that are read.

        Returns:
            Unless the chat is interactive, the first failure, which was reported; ``None`` without failures.

        Raises:
            QvisionError: a command of a script failed, or the session could not be saved.
        """
        # Ctrl-C acts while a message is read or an answer arrives. At other moments it would end the chat.
        with self._on_ctrl_c(signal.SIG_IGN if self._is_interactive else signal.default_int_handler):
            if self._is_interactive and not self._show.quiet:
                self._greet()
            goes_on = opening is None or self._ask(opening)
            while goes_on:
                goes_on = self._handle_next()
        if self._unsaved is not None:
            raise self._unsaved
        return self._failures[0] if self._failures else None

    def _greet(self) -> None:
        conversation = self._conversation
        parts = [self._source.name]
        if conversation.turns:
            parts.append(f"{format_count(len(conversation.turns), 'question')} so far")
        images = conversation.all_images
        parts.append(images[0].name if len(images) == 1 else format_count(len(images), "image"))
        echo_prose(" · ".join(map(escape_control_characters, parts)))
        echo_prose("/help shows the commands, Ctrl-D ends the chat.")
        if conversation.prompt is not None:
            prompt = escape_control_characters(conversation.prompt)
            echo_prose(f"The last question has no answer; /retry sends it again: {prompt}")

    def _handle_next(self) -> bool:
        """Read and handle a message or a command; return false at the end of the chat."""
        if self._is_interactive and not self._show.quiet:
            echo_err("")
        try:
            with self._on_ctrl_c(signal.default_int_handler):
                text = self._reader.read()
            return self._handle(text)
        except EOFError:
            return False
        except KeyboardInterrupt as error:
            if not self._is_interactive:
                raise InterruptedByUserError from error
            echo_prose("To leave the chat, press Ctrl-D or type /quit.")
            return True
        except QvisionError as error:
            if not self._is_interactive and not self._failures:
                raise
            echo_error(error)
            return self._is_interactive  # a script ends, because its later messages may rely on the command

    def _handle(self, text: str) -> bool:
        """Send a message or carry out a command; return false at the end of the chat.

        Raises:
            QvisionError: the command failed.
        """
        match parse_input(text):
            case TypedMessage(text=""):
                return True
            case TypedMessage(text=text):
                return self._ask(text)
            case CommandCall(command=SlashCommand.QUIT):
                return False
            case CommandCall(command=SlashCommand.RETRY):
                return self._retry()
            case CommandCall(command=command, argument=argument):
                with self._on_ctrl_c(signal.default_int_handler):
                    self._run_command(command, argument)
                self._save_session()
                return True

    def _ask(self, prompt: str, *, replaces_answer: bool = False) -> bool:
        """Send a message and show the answer; return false if the chat is over.

        Args:
            replaces_answer: the question has an answer, which stays in the session until there is a new one.
        """
        conversation = self._conversation
        conversation.prompt = prompt
        if not replaces_answer:
            self._save_session()
        if not self._target.is_terminal and not self._show.as_json:
            self._target.begin_section()
        answer = self._show_answer(self._source.answer(conversation, prompt), prompt)
        self._source.record_answer(conversation, answer)
        if conversation.prompt is None or not replaces_answer:
            self._save_session()
        return answer.error is None or self._report_failure(answer.error, has_text=conversation.prompt is None)

    def _retry(self) -> bool:
        """Send the last question again, and keep its answer if there is no new one; return false if the chat is over."""
        conversation = self._conversation
        if conversation.prompt is not None:
            return self._ask(conversation.prompt)
        later_images = list(conversation.images)
        conversation.images.clear()
        if (turn := conversation.undo()) is None:
            conversation.images = later_images
            raise UsageError("there is no question to send again", hint="Type a question.")
        goes_on = self._ask(turn.prompt, replaces_answer=True)
        if conversation.prompt is not None:
            conversation.add_turn(turn)
        conversation.images += later_images
        self._save_session()
        return goes_on

    def _show_answer(self, items: "Items", prompt: str) -> Description:
        """Show an answer as it arrives. If Ctrl-C stops it, the part that arrived is the answer."""
        pieces: list[str] = []
        try:
            with self._on_ctrl_c(_interrupt_once):
                return show_answer(_record_text(items, pieces), self._show, self._target)
        except KeyboardInterrupt as error:
            interruption = InterruptedByUserError(cause=error)
            return Description(prompt=prompt, model=self._source.model, text="".join(pieces), error=interruption)

    def _report_failure(self, error: QvisionError, *, has_text: bool) -> bool:
        """Report the error of an answer; return false if the chat is over.

        Args:
            has_text: the part of the answer that arrived is kept.
        """
        is_stopped = isinstance(error, InterruptedByUserError)
        if not self._is_interactive:
            self._failures.append(error)
            echo_error(error)
            return not (is_stopped or (isinstance(error, EndpointError) and error.is_fatal))
        partial_note = "The part that arrived is kept; /retry asks again, /undo removes it."
        if is_stopped:
            echo_prose(f"Stopped. {partial_note if has_text else '/retry asks again.'}")
        else:
            echo_error(error)
            echo_prose(partial_note if has_text else "The question is kept; /retry sends it again.")
        return True

    def _save_session(self) -> None:
        """Save the conversation. If that fails, the chat continues, and the error is raised at its end."""
        if self._session is None:
            return
        try:
            self._session.save(self._conversation, self._source.model, self._source.profile)
            self._unsaved = None
        except OutputError as error:
            if self._unsaved is None:
                echo_note(f"the chat is not saved: {escape_control_characters(error.message)}")
            self._unsaved = error

    @contextmanager
    def _on_ctrl_c(self, handler: "signal._HANDLER") -> Iterator[None]:
        """Handle Ctrl-C with this function until the block ends, unless the program was started with Ctrl-C ignored."""
        if self._ignores_ctrl_c:
            yield
            return
        previous = signal.signal(signal.SIGINT, handler)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, previous)


def open_dialog(
    conversation: Conversation,
    source: AnswerSource,
    loader: ImageLoader,
    show: OutputOptions,
    target: Output,
    *,
    session: SessionFile | None,
) -> Dialog:
    """Open the chat on standard input, which is a terminal or has a message per line."""
    reader, is_interactive = open_reader([turn.prompt for turn in conversation.turns])
    actions = Actions(
        conversation, source, loader, is_interactive=is_interactive, has_editor=isinstance(reader, EditedLines)
    )
    return Dialog(
        conversation,
        source,
        reader,
        show,
        target,
        is_interactive=is_interactive,
        run_command=actions.run,
        session=session,
    )


def _interrupt_once(number: int, _: object) -> None:
    """Interrupt an answer, and ignore further Ctrl-C, which would interrupt what follows."""
    signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


def _record_text(items: "Items", pieces: list[str]) -> "Items":
    """Yield the items, and collect the pieces of the text."""
    with closing(items):
        for item in items:
            match item:
                case TextDelta():
                    pieces.append(item.text)
                case TextWasReasoning():
                    pieces.clear()
            yield item
