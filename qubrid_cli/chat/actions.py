"""The actions of the commands of a chat, except those that request an answer."""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import OutputError, UsageError
from ..files import write_atomic
from ..images.prepare import PreparedImage, PreparedImageOrLink
from ..images.tokens import estimate_texts
from ..installation import format_install_command
from ..metrics import Cost
from ..output.appearance import measure_width
from ..output.streams import echo_err, echo_prose
from ..text import escape_control_characters, format_count, format_size, quote_name, shorten
from .conversation import Conversation, estimate_images
from .inputs import ImageLoader, split_like_shell
from .requests import AnswerSource
from .saving import format_markdown, save_json
from .slash_commands import SlashCommand, format_help

if TYPE_CHECKING:
    from collections.abc import Callable

_EDITOR_KEYS = "Alt-Enter, or a backslash at the end of a line, begins another line. Pasted lines are one message."
_PLAIN_KEYS = "A backslash at the end of a line continues it in the next one."
_KEYS = """\
Ctrl-C stops an answer; the part that arrived is kept. Ctrl-D ends the chat.
A message that begins with a slash is written with two: //etc is a folder."""
#: Characters of a question in a message that confirms /undo.
_MAX_QUOTED_LENGTH = 60


class Actions:
    """The commands of one chat.

    Args:
        is_interactive: a person types the commands, and sees confirmations.
        has_editor: messages are typed in an editor of several lines.
    """

    def __init__(
        self,
        conversation: Conversation,
        source: AnswerSource,
        loader: ImageLoader,
        *,
        is_interactive: bool,
        has_editor: bool,
    ) -> None:
        self._conversation = conversation
        self._source = source
        self._loader = loader
        self._is_interactive = is_interactive
        self._has_editor = has_editor
        self._saved_files: set[Path] = set()
        self._functions: dict[SlashCommand, Callable[[str], None]] = {
            SlashCommand.IMAGE: self._add_images,
            SlashCommand.IMAGES: self._list_images,
            SlashCommand.UNDO: self._undo,
            SlashCommand.CLEAR: self._clear,
            SlashCommand.MODEL: self._choose_model,
            SlashCommand.SYSTEM: self._set_system,
            SlashCommand.TOKENS: self._show_tokens,
            SlashCommand.SAVE: self._save_transcript,
            SlashCommand.HELP: self._show_help,
        }

    def run(self, command: SlashCommand, argument: str) -> None:
        """Carry out a command.

        Raises:
            QvisionError: it cannot be carried out.
        """
        self._functions[command](argument)

    def _confirm(self, text: str) -> None:
        """Confirm to a person what a command did."""
        if self._is_interactive:
            echo_prose(escape_control_characters(text))

    def _show_help(self, _: str) -> None:
        echo_err(format_help(measure_width(sys.stderr)) + "\n")
        echo_prose(f"{_EDITOR_KEYS if self._has_editor else _PLAIN_KEYS}\n{_KEYS}")
        if not self._has_editor:  # not wrapped at words, because a wrapped command cannot be pasted
            echo_err(f"For an editor of several lines: {format_install_command('prompt_toolkit')}")

    def _add_images(self, argument: str) -> None:
        if not argument:
            raise UsageError("/image needs a file or a link", hint="For example: /image photo.jpg")
        images = self._loader.load(argument)
        self._conversation.images += images
        for image in images:
            self._confirm(f"Added {self._format_image(image)}")

    def _list_images(self, _: str) -> None:
        lines = [
            self._format_image(image) + (" (no longer sent)" if turn.is_left_out else "")
            for turn in self._conversation.turns
            for image in turn.images
        ]
        lines += [f"{self._format_image(image)} (with the next message)" for image in self._conversation.images]
        for number, line in enumerate(lines, 1):
            echo_prose(escape_control_characters(f"{number}  {line}"))
        if not lines:
            echo_prose("There are no images yet. To add one: /image photo.jpg")

    def _format_image(self, image: PreparedImageOrLink) -> str:
        if not isinstance(image, PreparedImage):
            return f"{image.name}: a link, which the endpoint fetches"
        sent = image.upload
        size = f"{sent.width} × {sent.height}" if len(image.uploads) == 1 else f"{len(image.uploads)} parts"
        tokens = estimate_images([image], self._source.model)
        return f"{image.name}: {size}, {format_size(image.upload_size)}, about {tokens:,} tokens"

    def _undo(self, _: str) -> None:
        conversation = self._conversation
        if conversation.prompt is not None:
            self._confirm(f"Removed: {_quote(conversation.prompt)}{self._describe_next_images()}")
            conversation.prompt = None
        elif conversation.images:
            self._confirm(f"Removed: {', '.join(image.name for image in conversation.images)}")
            conversation.images.clear()
        elif (turn := conversation.undo()) is not None:
            self._confirm(f"Removed: {_quote(turn.prompt)}{self._describe_next_images()}")
        else:
            raise UsageError("there is nothing to undo", hint="Type a question.")

    def _describe_next_images(self) -> str:
        count = len(self._conversation.images)
        if count == 0:
            return ""
        return f"; {'its image goes' if count == 1 else f'its {count} images go'} with the next message"

    def _clear(self, argument: str) -> None:
        if argument not in {"", "all"}:
            raise UsageError(f"/clear {argument}: unknown word", hint="Type /clear, or /clear all.")
        self._conversation.clear()
        if argument == "all":
            self._conversation.images.clear()
        images = format_count(len(self._conversation.images), "image stays", "images stay")
        self._confirm(f"The questions are removed{f'; {images}' if self._conversation.images else ''}.")

    def _choose_model(self, name: str) -> None:
        if not name:
            echo_prose(escape_control_characters(self._source.model))
            return
        self._source.change_model(name)
        self._conversation.context_size = None
        self._confirm(f"{name} answers from now on.")

    def _set_system(self, text: str) -> None:
        if not text:
            echo_prose(escape_control_characters(self._conversation.system or "There is no system prompt."))
            return
        self._conversation.system = None if text == "-" else text
        self._confirm("The system prompt is removed." if text == "-" else "The system prompt is set.")

    def _show_tokens(self, _: str) -> None:
        conversation, spending, model = self._conversation, self._conversation.spending, self._source.model
        line = f"{spending.prompt_tokens:,} → {spending.answer_tokens:,} tokens for {format_count(spending.answers, 'answer')}"
        echo_prose(line if spending.cost is None else f"{line}, {Cost(spending.cost)}")
        size = conversation.estimate_history(model) + estimate_images(conversation.images, model)
        size += estimate_texts([conversation.system or ""])
        limit = "" if conversation.context_size is None else f" of {conversation.context_size:,} in the model's context"
        echo_prose(f"The next message sends about {size:,} tokens{limit}, without its text.")
        if count := sum(turn.is_left_out for turn in conversation.turns):
            echo_prose(f"No longer sent: {format_count(count, 'old question')}.")

    def _save_transcript(self, argument: str) -> None:
        words = split_like_shell(argument)
        name = words[0] if len(words) == 1 else argument
        path = Path(os.path.realpath(os.path.expanduser(name)))
        suffix = path.suffix.lower()
        if suffix not in {".md", ".markdown", ".json"}:
            problem = f"/save {name}: unknown kind of file" if name else "/save needs the name of a file"
            raise UsageError(problem, hint="End the name in .md for Markdown or .json for JSON: /save chat.md")
        if not self._conversation.turns:
            raise UsageError("there is no answer to save", hint="Ask a question first.")
        try:
            self._write_transcript(path, is_json=suffix == ".json")
        except FileExistsError as error:
            raise UsageError(
                f"{quote_name(name)} exists", hint="Name another file; only a file of this chat is replaced."
            ) from error
        except OSError as error:
            raise OutputError(
                f"cannot write {quote_name(name)}: {error.strerror}", hint="Name another file."
            ) from error
        self._saved_files.add(path)
        self._confirm(f"Saved as {quote_name(name)}")

    def _write_transcript(self, path: Path, *, is_json: bool) -> None:
        overwrite = path in self._saved_files
        if is_json:
            save_json(path, self._conversation, self._source.model, self._source.profile, overwrite=overwrite)
        else:
            write_atomic(path, format_markdown(self._conversation).encode(errors="replace"), overwrite=overwrite)


def _quote(prompt: str) -> str:
    return shorten(" ".join(prompt.split()), _MAX_QUOTED_LENGTH)
