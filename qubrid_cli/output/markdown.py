"""Markdown drawn while it is written: a block that is closed is printed once and for good, only the open one is redrawn.

Drawing everything anew for every token is quadratic; this is linear, and the scrollback ends as if the whole answer
had been printed at once.
"""

import re
import threading
import time

from markdown_it import MarkdownIt
from markdown_it.token import Token
from rich.cells import cell_len
from rich.console import Console
from rich.markdown import Markdown

from ..frozen import frozen

#: Seconds between two pictures at least: twelve a second are enough for reading.
_FRAME_SECONDS = 1 / 12
#: A picture that took t seconds to make is followed by a pause of this many t, so that drawing a very long block takes
#: a fifth of a core at most.
_IDLE_RATIO = 4

#: Characters of a block that are kept open; what is longer is no text to read, and is cut to keep drawing quick.
_MAX_OPEN_LENGTH = 200_000

#: Erase the row; go up one and erase that. Erasing all to the end of the screen at once is what tmux, at its upper left
#: corner, takes for a "clear" and moves into the scrollback first.
_ERASE_ROW, _ERASE_ROW_ABOVE = "\r\x1b[2K", "\x1b[1A\x1b[2K"
#: A picture is shown at once where the terminal knows "synchronized output"; others pass it over.
_BEGIN_SYNCHRONIZED, _END_SYNCHRONIZED = "\x1b[?2026h", "\x1b[?2026l"
#: No line wraps in the open block: where the terminal takes a character for wider than we do, rows still count right.
_NO_WRAP, _WRAP = "\x1b[?7l", "\x1b[?7h"

_STYLE_SEQUENCE = re.compile("\x1b\\[[0-9;]*m")


def _build_parser() -> MarkdownIt:
    """CommonMark with tables and strikethrough, as Rich has it, less two things.

    HTML would vanish, and models do write HTML tables; so it is text. Link references would change blocks that are
    printed already when their definition comes, and would hide the definition; so they are text too.
    """
    return MarkdownIt("commonmark", {"html": False}).enable(["strikethrough", "table"]).disable("reference")


class LiveMarkdown:
    """Draws an answer on a console, from a thread of its own, as it grows.

    Args:
        live: whether the open block is shown while it grows; needs a terminal that can move its cursor.
    """

    def __init__(self, console: Console, *, live: bool) -> None:
        self._renderer = _IncrementalRenderer(console, live=live)
        self._lock = threading.Lock()
        self._pending: list[str] = []
        self._wake_up = threading.Event()
        self._is_closing = threading.Event()
        self._failure: OSError | None = None
        self._thread = threading.Thread(target=self._run, name="markdown", daemon=True)
        self._thread.start()

    def write(self, text: str) -> None:
        """Take more of the answer; it is on the screen within a frame."""
        with self._lock:
            self._pending.append(text)
        self._wake_up.set()

    def close(self) -> None:
        """Draw all that there is, for good."""
        self._is_closing.set()
        self._wake_up.set()
        self._thread.join()
        if self._failure is not None:
            raise self._failure
        self._renderer.finish(self._take_pending())

    def _take_pending(self) -> str:
        with self._lock:
            text = "".join(self._pending)
            self._pending.clear()
        return text

    def _run(self) -> None:
        while True:
            self._wake_up.wait()
            if self._is_closing.is_set():
                return
            self._wake_up.clear()
            began = time.monotonic()
            try:
                self._renderer.add(self._take_pending())
            except OSError as error:  # the terminal is gone
                self._failure = error
                return
            took = time.monotonic() - began
            self._is_closing.wait(max(_FRAME_SECONDS - took, _IDLE_RATIO * took))


@frozen
class _PrintedPart:
    """How much of the open code block has left the window and is printed: its first ``lines``, in ``rows`` rows."""

    lines: int = 0
    rows: int = 0
    width: int = 0


class _IncrementalRenderer:
    """What is on the screen: printed blocks, then the open one, whose ``_shown_rows`` rows can still be redrawn."""

    def __init__(self, console: Console, *, live: bool) -> None:
        self._console = console
        self._is_live = live
        self._parser = _build_parser()
        self._rule_placeholder = self._parser.parse("---"), 2
        self._text_placeholder = self._parser.parse("."), 1
        self._source = ""  # from the beginning of the open block on
        self._previous_type: str | None = None  # the type of the block above it
        self._printed = _PrintedPart()
        self._shown_rows: list[str] = []
        self._shown_width = 0

    def add(self, text: str) -> None:
        """Print what is closed by now, and draw the open block anew."""
        self._source += text
        final = self._take_closed_blocks()
        if not self._is_live:
            self._draw(final, [])
            return
        tokens = self._parser.parse(self._source)
        rows = self._render(tokens)
        window = max(1, self._console.height - 1)
        final += self._take_scrolled_rows(tokens, rows, window)
        self._draw(final, rows[self._count_printed_rows(tokens) :][-window:])

    def finish(self, text: str) -> None:
        """Print all that is left."""
        self._source += text
        final = self._take_closed_blocks()
        tokens = self._parser.parse(self._source)
        self._draw(final + self._render_remaining(tokens), [])
        self._source = ""

    def _take_closed_blocks(self) -> list[str]:
        """Take the rows of closed blocks: of all but the last, for a block is closed by the one that follows.

        Only whole lines count: ``2`` may become the next item of a list, and does not look like one before its dot.
        """
        rows: list[str] = []
        while len(self._source) > _MAX_OPEN_LENGTH:
            rows += self._render_remaining(self._parser.parse(self._source[:_MAX_OPEN_LENGTH]))
            self._source = self._source[_MAX_OPEN_LENGTH:]
            self._printed = _PrintedPart()
        whole = self._source[: self._source.rfind("\n") + 1]
        blocks = _split_blocks(self._parser.parse(whole))
        for block in blocks[:-1]:
            rows += self._render_remaining(block)
            self._printed = _PrintedPart()
            self._previous_type = block[-1].type
        if len(blocks) > 1 and (place := blocks[-1][0].map) is not None:
            self._source = self._source.split("\n", place[0])[-1]
        return rows

    def _render_remaining(self, block: list[Token]) -> list[str]:
        return self._render(block)[self._count_printed_rows(block) :]

    def _render(self, tokens: list[Token]) -> list[str]:
        """The rows of some blocks, with the empty row before them where Rich parts them so from the one above."""
        if not tokens:
            return []
        above, rows_above = self._choose_placeholder()
        page = Markdown("", hyperlinks=False)  # a link shows where it goes: its text may say otherwise
        page.parsed = above + tokens
        with self._console.capture() as capture:
            self._console.print(page)
        rows = capture.get().removesuffix("\n").split("\n")[rows_above:]
        return [row.rstrip(" ") for row in rows]  # Rich fills up to the edge, and who copies the text gets that too

    def _choose_placeholder(self) -> tuple[list[Token], int]:
        """Something short for the block above, and its rows: what stands there decides about the empty row."""
        if self._previous_type is None:
            return [], 0
        return self._rule_placeholder if self._previous_type == "hr" else self._text_placeholder

    def _take_scrolled_rows(self, tokens: list[Token], rows: list[str], window: int) -> list[str]:
        """The rows of a long code block that are out of sight above, for good: its beginning does not change any more.

        Other blocks may: one more row can make a table's columns wider, a tenth item all numbers of a list.
        """
        if len(tokens) != 1 or tokens[0].type != "fence":
            return []
        begun = self._count_printed_rows(tokens)
        lines = tokens[0].content.count("\n") - window
        if lines <= self._printed.lines:
            return []
        until = self._count_rows(lines, tokens[0])
        self._printed = _PrintedPart(lines, until, self._console.width)
        return rows[begun:until]

    def _count_printed_rows(self, block: list[Token]) -> int:
        """How many rows of the open block are printed already, at today's width."""
        if self._printed.lines == 0 or not block:
            return 0
        if self._printed.width == self._console.width:
            return self._printed.rows
        return self._count_rows(self._printed.lines, block[0])

    def _count_rows(self, lines: int, fence: Token) -> int:
        content = "\n".join(fence.content.split("\n")[:lines])
        return len(self._render([fence.copy(content=content)])) - 1  # less the padding below

    def _draw(self, closed: list[str], open_rows: list[str]) -> None:
        """Replace what is shown by rows for good and rows that can still change."""
        if not closed and open_rows == self._shown_rows:
            return
        printed = "".join(f"{row}\n" for row in closed)
        # The cursor waits where a ^C that the terminal echoes does not push it onto another row.
        shown = (
            _NO_WRAP + "\n".join(open_rows) + _WRAP + "\r" * (_measure_width(open_rows[-1]) + 2 > self._console.width)
            if open_rows
            else ""
        )
        picture = self._build_erase_sequence() + printed + shown
        self._console.file.write(_BEGIN_SYNCHRONIZED + picture + _END_SYNCHRONIZED if self._is_live else picture)
        self._console.file.flush()
        self._shown_rows, self._shown_width = open_rows, self._console.width

    def _build_erase_sequence(self) -> str:
        if not self._shown_rows:
            return ""
        height = len(self._shown_rows)
        if self._console.width < self._shown_width:  # most terminals have wrapped the rows when they were narrowed
            height = sum(max(1, -(-_measure_width(row) // self._console.width)) for row in self._shown_rows)
        return _ERASE_ROW + _ERASE_ROW_ABOVE * (height - 1)


def _measure_width(row: str) -> int:
    return cell_len(_STYLE_SEQUENCE.sub("", row))


def _split_blocks(tokens: list[Token]) -> list[list[Token]]:
    """The tokens of each block that stands in no other."""
    blocks: list[list[Token]] = []
    is_inside = False
    for token in tokens:
        if not is_inside:
            blocks.append([])
        blocks[-1].append(token)
        is_inside = not (token.level == 0 and token.nesting <= 0)
    return blocks
