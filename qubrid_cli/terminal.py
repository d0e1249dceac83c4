"""What a person sees: the spinner, the answer as it is written, notes. The home of Rich."""

import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

from rich.console import Console
from rich.live import Live
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text as StyledText

from .deltas import Reasoning, Text
from .description import Item, Items
from .draft import Description
from .errors import harmless, printable
from .output import say
from .progress import Pausing, Preparing, Receiving, Repairing, Sending, Writing
from .records import readable_size


class Drawing(Protocol):
    """Something that draws an answer as it grows, such as ``markdown.LiveMarkdown``."""

    def write(self, text: str) -> None:
        """Draw on; the text holds no control characters but line breaks and tabs."""

    def close(self) -> None:
        """Draw what is still open, for good."""


def console(*, color: bool | None, stderr: bool = False) -> Console:
    """A console for one of our two outputs.

    Args:
        color: ``True`` for escape sequences wherever the output goes, ``False`` for no colour, ``None`` for colour on
            a terminal unless ``NO_COLOR`` is set.
    """
    return Console(
        stderr=stderr,
        force_terminal=True if color else None,
        no_color=False if color else None,
        color_system=None if color is False else "auto",
        highlight=False,
        emoji=False,
        markup=False,
    )


def show_table(titles: Sequence[str], rows: Iterable[Sequence[str]], *, color: bool | None = None) -> None:
    """Draw rows on the terminal, as wide as it is."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in titles:
        table.add_column(title, overflow="fold")
    for row in rows:
        table.add_row(*(StyledText(harmless(cell)) for cell in row))
    console(color=color).print(table)


#: For the words that a check ends with.
_MARKS = {"ok": "green", "warn": "yellow", "fail": "bold red"}


def show_marked(mark: str, text: str, hint: str | None) -> None:
    """Draw a check on the terminal: how it ended, in colour, and what there is to say; the hint below, dimmed."""
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(width=4)
    table.add_column(overflow="fold")
    table.add_row(StyledText(mark, style=_MARKS.get(mark, "")), StyledText(harmless(text)))
    if hint:
        table.add_row("", StyledText(harmless(hint), style="dim"))
    console(color=None).print(table)


def show_answer(items: Items, open_drawing: Callable[[], Drawing]) -> Description:
    """Draw an answer on the terminal while it arrives.

    Args:
        open_drawing: makes what draws it, and loads what that takes: while the first token is waited for, not before the
            request is out.
    """
    drawing: Drawing | None = None
    description = Description()
    try:
        for item in items:
            match item:
                case Receiving():
                    drawing = drawing or open_drawing()
                case Text():
                    drawing = drawing or open_drawing()
                    drawing.write(harmless(item.text))
                case Description():
                    description = item
    finally:
        items.close()
        if drawing is not None:
            drawing.close()
    return description


def with_spinner(items: Items, screen: Console, *, thinking: bool = False) -> Items:
    """The same items, with a line on stderr that says what is waited for, gone when the first text comes.

    Args:
        thinking: reasoning is shown there too, so it ends the waiting.
    """
    waiting = _Waiting(screen)
    ends = (Text, Description, Reasoning) if thinking else (Text, Description)
    has_begun = False  # reasoning may come between pieces of the answer, which is drawn by then
    try:
        for item in items:
            has_begun = has_begun or isinstance(item, ends)
            if has_begun:
                waiting.stop()
            else:
                waiting.show(item)
            if isinstance(item, Pausing):
                _say(screen, _again(item))
            yield item
    finally:
        waiting.stop()
        items.close()


def with_thinking(items: Items, screen: Console) -> Items:
    """The same items, with the model's reasoning on stderr, dimmed, as it comes.

    What it thinks between pieces of the answer is not shown: the answer is being drawn there by then.
    """
    is_open = has_begun = False
    try:
        for item in items:
            has_begun = has_begun or isinstance(item, Text)
            if isinstance(item, Reasoning) and not has_begun:
                is_open = True
                _say(screen, item.text, end="")
            elif is_open and isinstance(item, Text | Description):
                is_open = False
                _say(screen, "\n")
            yield item
    finally:
        items.close()


class _Waiting:
    """The spinner and its line; drawn by a thread of Rich's."""

    def __init__(self, screen: Console) -> None:
        self._item: Item | None = None
        self._screen = screen
        style = "dots" if (screen.encoding or "").lower().startswith("utf") else "line"
        self._spinner = Spinner(style)
        self._live = Live(
            get_renderable=self._line,
            console=screen,
            transient=True,
            refresh_per_second=12.5,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._is_shown = False

    def show(self, item: Item) -> None:
        self._item = item
        if not self._is_shown:
            self._is_shown = True
            self._live.start()
            self._screen.show_cursor()  # Rich hides it, and it would stay so if we were killed

    def stop(self) -> None:
        if self._is_shown:
            self._is_shown = False
            self._live.stop()

    def _line(self) -> Spinner:
        self._spinner.update(text=StyledText(_phase(self._item), no_wrap=True, overflow="ellipsis"))
        return self._spinner


def _phase(item: Item | None) -> str:
    match item:
        case Pausing():
            return "waiting to ask again"
        case Preparing():
            return f"preparing {printable(item.name)}"
        case Sending() if not item.sent.is_set():
            return f"sending {readable_size(item.size)}"
        case Reasoning():
            return "the model is thinking"
        case Writing():
            return "the model is writing"
        case _:
            return "waiting for the first token"


def with_log(items: Items, screen: Console, *, is_watched: bool) -> Items:
    """The same items, with what goes over the wire said on stderr: never the key, never the image.

    Args:
        is_watched: there is a spinner, which says itself that it waits to ask again.
    """
    try:
        for item in items:
            match item:
                case Sending():
                    _say(screen, f"POST {printable(item.url)} ({readable_size(item.size)})")
                case Receiving():
                    request_id = f", request id {printable(item.request_id)}" if item.request_id else ""
                    _say(screen, f"HTTP {item.status} after {item.seconds:.2f} s{request_id}")
                case Repairing():
                    _say(screen, f"the answer does not fit the schema, asking once more: {printable(item.problem)}")
                case Pausing() if not is_watched:
                    _say(screen, _again(item))
            yield item
    finally:
        items.close()


def _again(item: Pausing) -> str:
    seconds = f"{item.seconds:.1f}".removesuffix(".0")
    return f"{printable(item.why)}, trying again in {seconds} s ({item.number} of {item.retries})"


def _say(screen: Console, text: str, *, end: str = "\n") -> None:
    """On a terminal dimmed, and above the spinner where there is one."""
    if sys.stderr is not None and sys.stderr.isatty():
        screen.print(StyledText(harmless(text)), style="dim", end=end, soft_wrap=True)
        screen.file.flush()
    else:
        say(text, end=end)
