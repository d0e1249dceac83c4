"""Output for a person at a terminal: the spinner, the answer as it arrives, dimmed log lines, tables."""

import json
import os
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from typing import Any, Protocol

from rich.console import Console
from rich.live import Live
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text as StyledText

from ..client.events import ReasoningDelta, TextDelta, TextWasReasoning
from ..client.retry import RetryScheduled
from ..describe.result import Description, Preparing, Receiving, Refused, Repairing, Sending, Writing
from ..describe.run import Item, Items
from ..text import escape_control_characters, format_size, mask_fields, shorten, strip_control_characters
from .appearance import may_repaint
from .streams import echo_err

#: Characters of the body's fields that ``-v`` shows; a schema may be long.
_MAX_FIELDS_LENGTH = 400
#: Seconds between the lines that report a long phase, if there is no spinner.
_PHASE_INTERVAL = 10.0
_STATUS_STYLES = {"ok": "green", "warn": "yellow", "fail": "bold red"}


class LiveView(Protocol):
    """Draws an answer as it arrives, as ``markdown.LiveMarkdown`` does."""

    def write(self, text: str) -> None:
        """Draw more text, whose only control characters are line breaks and tabs."""

    def close(self) -> None:
        """Draw the rest."""


def make_console(*, stderr: bool = False) -> Console:
    """Make a console for stdout or stderr; ``appearance.settle_color`` has decided about color."""
    return Console(
        stderr=stderr,
        color_system=None if os.environ.get("NO_COLOR") else "auto",
        highlight=False,
        emoji=False,
        markup=False,
    )


def show_table(titles: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Draw a table on the terminal."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in titles:
        table.add_column(title, overflow="fold")
    for row in rows:
        table.add_row(*(StyledText(strip_control_characters(cell)) for cell in row))
    make_console().print(table)


def show_check(status: str, text: str, hint: str | None) -> None:
    """Draw the result of a check: its status in color and its text; the hint below, dimmed."""
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(width=4)
    table.add_column(overflow="fold")
    table.add_row(StyledText(status, style=_STATUS_STYLES.get(status, "")), StyledText(strip_control_characters(text)))
    if hint:
        table.add_row("", StyledText(strip_control_characters(hint), style="dim"))
    make_console().print(table)


def draw_answer(items: Items, open_view: Callable[[], LiveView]) -> Description:
    """Draw an answer as it arrives.

    Args:
        open_view: makes the view, and imports the modules that it needs. It is called when the response begins, so that
            the imports delay neither the request nor the first token.
    """
    view: LiveView | None = None
    description = Description()
    try:
        for item in items:
            match item:
                case Receiving():
                    view = view or open_view()
                case TextDelta():
                    view = view or open_view()
                    view.write(strip_control_characters(item.text))
                case TextWasReasoning() if view is not None:  # the text is already drawn; the answer begins below it
                    view.write("\n\n")
                case Description():
                    description = item
    finally:
        items.close()
        if view is not None:
            view.close()
    return description


def with_spinner(items: Items, console: Console, *, thinking: bool = False) -> Items:
    """Yield the items, with a spinner on stderr that names the current phase and counts seconds until text arrives.

    Args:
        thinking: reasoning is shown on stderr too, so it also ends the spinner.
    """
    spinner = _SpinnerLine(console) if may_repaint() else _PhaseLines()
    shown_items = (TextDelta, Description, ReasoningDelta) if thinking else (TextDelta, Description)
    has_begun = False  # reasoning may arrive between pieces of the answer, which is being drawn by then
    with closing(items):
        try:
            for item in items:
                has_begun = has_begun or isinstance(item, shown_items)
                if has_begun:
                    spinner.stop()
                else:
                    spinner.show(item)
                if isinstance(item, RetryScheduled):
                    _echo_dimmed(console, _format_retry(item))
                yield item
        finally:
            spinner.stop()


def with_thinking(items: Items, console: Console) -> Items:
    """Yield the items, with the model's reasoning on stderr, dimmed.

    Reasoning between pieces of the answer is not shown, because the answer is being drawn by then.
    """
    is_open = has_begun = False
    with closing(items):
        for item in items:
            has_begun = has_begun or isinstance(item, TextDelta)
            if isinstance(item, ReasoningDelta) and not has_begun:
                is_open = True
                _echo_dimmed(console, item.text, end="")
            elif is_open and isinstance(item, TextDelta | Description):
                is_open = False
                _echo_dimmed(console, "\n")
            yield item


def with_log(items: Items, console: Console, *, has_spinner: bool) -> Items:
    """Yield the items, with a log of requests and responses on stderr, without keys and images.

    Args:
        has_spinner: whether there is a spinner, which reports retries itself.
    """
    with closing(items):
        for item in items:
            match item:
                case Sending():
                    _echo_dimmed(console, f"POST {escape_control_characters(item.url)} ({format_size(item.size)})")
                    _echo_dimmed(console, _format_fields(item.fields))
                case Receiving():
                    request_id = f", request id {escape_control_characters(item.request_id)}" if item.request_id else ""
                    _echo_dimmed(console, f"HTTP {item.status} after {item.seconds:.2f} s{request_id}")
                case Refused():
                    lines = map(escape_control_characters, item.body.splitlines())
                    _echo_dimmed(console, "\n".join(lines))
                case Repairing():
                    problem = escape_control_characters(item.problem)
                    _echo_dimmed(console, f"the answer does not fit the schema, requesting a second one: {problem}")
                case RetryScheduled() if not has_spinner:
                    _echo_dimmed(console, _format_retry(item))
            yield item


@contextmanager
def open_status() -> Iterator[Callable[[str], None]]:
    """Show a status line on stderr until the end of the block; yields a function that changes its text.

    For a screen reader, or a terminal that cannot redraw a line, the text is printed now and then.
    """
    if may_repaint():
        with make_console(stderr=True).status("") as status:
            yield lambda text: status.update(StyledText(strip_control_characters(text)))
        return
    printed_at = 0.0

    def show(text: str) -> None:
        nonlocal printed_at
        if time.monotonic() - printed_at >= _PHASE_INTERVAL:
            printed_at = time.monotonic()
            echo_err(escape_control_characters(text))

    yield show


class _SpinnerLine:
    """The spinner and the phase beside it, drawn by a thread of Rich."""

    def __init__(self, console: Console) -> None:
        self._item: Item | None = None
        self._started_at = time.monotonic()
        self._console = console
        self._spinner = Spinner("dots" if (console.encoding or "").lower().startswith("utf") else "line")
        self._live = Live(
            get_renderable=self._render,
            console=console,
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
            self._console.show_cursor()  # Rich hides it, and it would stay hidden if this process were killed

    def stop(self) -> None:
        if self._is_shown:
            self._is_shown = False
            self._live.stop()

    def _render(self) -> Spinner:
        text = _format_phase(self._item, time.monotonic() - self._started_at)
        self._spinner.update(text=StyledText(text, no_wrap=True, overflow="ellipsis"))
        return self._spinner


class _PhaseLines:
    """Prints each new phase, and its duration now and then, for a screen reader or a terminal that cannot redraw a line."""

    def __init__(self) -> None:
        self._item: Item | None = None
        self._text = ""
        self._started_at = time.monotonic()
        self._is_over = threading.Event()
        self._thread: threading.Thread | None = None

    def show(self, item: Item) -> None:
        self._item = item
        if (text := _format_phase(item)) != self._text:
            self._text = text
            echo_err(text)
        if self._thread is None:
            self._thread = threading.Thread(target=self._repeat, name="phases", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        self._is_over.set()
        if self._thread is not None:
            self._thread.join()

    def _repeat(self) -> None:
        while not self._is_over.wait(_PHASE_INTERVAL):
            echo_err(_format_phase(self._item, time.monotonic() - self._started_at))


def _format_phase(item: Item | None, seconds: float = 0) -> str:
    """The phase in words, with the seconds since the first phase began, if there are any."""
    text = _name_phase(item)
    return f"{text} ({int(seconds)} s)" if seconds >= 1 else text


def _name_phase(item: Item | None) -> str:
    match item:
        case RetryScheduled():
            return "waiting before the next attempt"
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


def _format_fields(fields: Mapping[str, Any]) -> str:
    return shorten(json.dumps(mask_fields(fields)), _MAX_FIELDS_LENGTH)


def _format_retry(item: RetryScheduled) -> str:
    seconds = f"{item.seconds:.1f}".removesuffix(".0")
    return f"{escape_control_characters(item.reason)}, trying again in {seconds} s ({item.attempt} of {item.retries})"


def _echo_dimmed(console: Console, text: str, *, end: str = "\n") -> None:
    """Print on stderr; on a terminal, dimmed and above the spinner."""
    if sys.stderr is not None and sys.stderr.isatty():
        console.print(StyledText(strip_control_characters(text)), style="dim", end=end, soft_wrap=True)
        console.file.flush()
    else:
        echo_err(text, end=end)
