"""What a person sees: the spinner, the answer as it is written, notes. The home of Rich."""

import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

from rich.console import Console
from rich.live import Live
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text as StyledText

from ..client.deltas import ReasoningDelta, TextDelta
from ..client.retry import RetryScheduled
from ..describe.result import Description, Preparing, Receiving, Repairing, Sending, Writing
from ..describe.run import Item, Items
from ..text import escape_control_characters, format_size, strip_control_characters
from .streams import echo_err


class LiveView(Protocol):
    """Something that draws an answer as it grows, such as ``markdown.LiveMarkdown``."""

    def write(self, text: str) -> None:
        """Draw on; the text holds no control characters but line breaks and tabs."""

    def close(self) -> None:
        """Draw what is still open, for good."""


def make_console(*, color: bool | None, stderr: bool = False) -> Console:
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
        table.add_row(*(StyledText(strip_control_characters(cell)) for cell in row))
    make_console(color=color).print(table)


#: For the words that a check ends with.
_STATUS_STYLES = {"ok": "green", "warn": "yellow", "fail": "bold red"}


def show_check(status: str, text: str, hint: str | None) -> None:
    """Draw a check on the terminal: how it ended, in colour, and what there is to say; the hint below, dimmed."""
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(width=4)
    table.add_column(overflow="fold")
    table.add_row(StyledText(status, style=_STATUS_STYLES.get(status, "")), StyledText(strip_control_characters(text)))
    if hint:
        table.add_row("", StyledText(strip_control_characters(hint), style="dim"))
    make_console(color=None).print(table)


def draw_answer(items: Items, open_view: Callable[[], LiveView]) -> Description:
    """Draw an answer on the terminal while it arrives.

    Args:
        open_view: makes what draws it, and loads what that takes: while the first token is waited for, not before the
            request is out.
    """
    drawing: LiveView | None = None
    description = Description()
    try:
        for item in items:
            match item:
                case Receiving():
                    drawing = drawing or open_view()
                case TextDelta():
                    drawing = drawing or open_view()
                    drawing.write(strip_control_characters(item.text))
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
    waiting = _SpinnerLine(screen)
    ends = (TextDelta, Description, ReasoningDelta) if thinking else (TextDelta, Description)
    has_begun = False  # reasoning may come between pieces of the answer, which is drawn by then
    try:
        for item in items:
            has_begun = has_begun or isinstance(item, ends)
            if has_begun:
                waiting.stop()
            else:
                waiting.show(item)
            if isinstance(item, RetryScheduled):
                _echo_dimmed(screen, _format_retry(item))
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
            has_begun = has_begun or isinstance(item, TextDelta)
            if isinstance(item, ReasoningDelta) and not has_begun:
                is_open = True
                _echo_dimmed(screen, item.text, end="")
            elif is_open and isinstance(item, TextDelta | Description):
                is_open = False
                _echo_dimmed(screen, "\n")
            yield item
    finally:
        items.close()


class _SpinnerLine:
    """The spinner and its line; drawn by a thread of Rich's."""

    def __init__(self, screen: Console) -> None:
        self._item: Item | None = None
        self._screen = screen
        style = "dots" if (screen.encoding or "").lower().startswith("utf") else "line"
        self._spinner = Spinner(style)
        self._live = Live(
            get_renderable=self._render_line,
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

    def _render_line(self) -> Spinner:
        self._spinner.update(text=StyledText(_describe_phase(self._item), no_wrap=True, overflow="ellipsis"))
        return self._spinner


def _describe_phase(item: Item | None) -> str:
    match item:
        case RetryScheduled():
            return "waiting to ask again"
        case Preparing():
            return f"preparing {escape_control_characters(item.name)}"
        case Sending() if not item.sent.is_set():
            return f"sending {format_size(item.size)}"
        case ReasoningDelta():
            return "the model is thinking"
        case Writing():
            return "the model is writing"
        case _:
            return "waiting for the first token"


def with_log(items: Items, screen: Console, *, has_spinner: bool) -> Items:
    """The same items, with what goes over the wire said on stderr: never the key, never the image.

    Args:
        has_spinner: there is a spinner, which says itself that it waits to ask again.
    """
    try:
        for item in items:
            match item:
                case Sending():
                    _echo_dimmed(screen, f"POST {escape_control_characters(item.url)} ({format_size(item.size)})")
                case Receiving():
                    request_id = f", request id {escape_control_characters(item.request_id)}" if item.request_id else ""
                    _echo_dimmed(screen, f"HTTP {item.status} after {item.seconds:.2f} s{request_id}")
                case Repairing():
                    _echo_dimmed(
                        screen,
                        f"the answer does not fit the schema, asking once more: {escape_control_characters(item.problem)}",
                    )
                case RetryScheduled() if not has_spinner:
                    _echo_dimmed(screen, _format_retry(item))
            yield item
    finally:
        items.close()


def _format_retry(item: RetryScheduled) -> str:
    seconds = f"{item.seconds:.1f}".removesuffix(".0")
    return f"{escape_control_characters(item.reason)}, trying again in {seconds} s ({item.attempt} of {item.retries})"


def _echo_dimmed(screen: Console, text: str, *, end: str = "\n") -> None:
    """On a terminal dimmed, and above the spinner where there is one."""
    if sys.stderr is not None and sys.stderr.isatty():
        screen.print(StyledText(strip_control_characters(text)), style="dim", end=end, soft_wrap=True)
        screen.file.flush()
    else:
        echo_err(text, end=end)
