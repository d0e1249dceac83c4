"""Draw Markdown as it arrives: closed blocks are printed once, and only the open one is redrawn.

Redrawing everything for each token would take quadratic time. This takes linear time, and the scrollback is the same as
if the whole answer had been printed at once.
"""

import re
import threading
import time
from itertools import islice
from queue import SimpleQueue

from markdown_it.token import Token
from rich.cells import cell_len
from rich.console import Console

from .blocks import SOFT_BREAK, Page, build_parser

#: Seconds between two frames: twelve frames per second are enough for reading.
_FRAME_SECONDS = 1 / 12
#: The pause after a frame, in multiples of the time that it took: drawing uses at most a fifth of a core.
_IDLE_RATIO = 4
#: Characters of the open block. A longer one is split, so that drawing stays fast.
_MAX_OPEN_LENGTH = 200_000
#: Erase the row; move up and erase that row. Erasing to the end of the screen from the upper left corner would make
#: tmux move the screen into the scrollback first.
_ERASE_ROW, _ERASE_ROW_ABOVE = "\r\x1b[2K", "\x1b[1A\x1b[2K"
#: Terminals with "synchronized output" show a frame at once; others ignore these.
_BEGIN_SYNCHRONIZED, _END_SYNCHRONIZED = "\x1b[?2026h", "\x1b[?2026l"
#: Wrapping is off for the open block, so that the number of its rows is right even if a character is wider than expected.
_NO_WRAP, _WRAP = "\x1b[?7l", "\x1b[?7h"

#: Stands for the block above. Rich draws nothing for an unknown token except an empty row below it.
_BLOCK_ABOVE = Token("block_above", "", 0)

_STYLE_SEQUENCE = re.compile("\x1b\\[[0-9;]*m")


class LiveMarkdown:
    """Draws an answer on a console as it arrives, in a thread of its own.

    Args:
        live: show the open block too; this needs a terminal that can move its cursor.
    """

    def __init__(self, console: Console, *, live: bool) -> None:
        self._renderer = IncrementalRenderer(console, live=live)
        self._pieces: SimpleQueue[str] = SimpleQueue()
        self._undrawn = ""  # taken from the queue
        self._is_closing = threading.Event()
        self._failure: OSError | None = None
        self._thread = threading.Thread(target=self._run, name="markdown", daemon=True)
        self._thread.start()

    def write(self, text: str) -> None:
        """Add text; the next frame shows it."""
        self._pieces.put(text)

    def close(self) -> None:
        """Draw the rest and end the thread.

        Raises:
            OSError: the terminal cannot be written.
        """
        self._is_closing.set()
        self._pieces.put("")  # wakes the thread
        self._thread.join()
        if self._failure is not None:
            raise self._failure
        self._renderer.finish(self._undrawn + self._take_pending())

    def _take_pending(self) -> str:
        return "".join(self._pieces.get() for _ in range(self._pieces.qsize()))

    def _run(self) -> None:
        while True:
            text = self._pieces.get()
            if self._is_closing.is_set():
                self._undrawn = text
                return
            started = time.monotonic()
            try:
                self._renderer.add(text + self._take_pending())
            except OSError as error:  # the terminal is gone
                self._failure = error
                return
            seconds = time.monotonic() - started
            self._is_closing.wait(max(_FRAME_SECONDS - seconds, _IDLE_RATIO * seconds))


class IncrementalRenderer:
    """Prints closed blocks, and below them the rows of the open block (``_shown_rows``), which it can redraw."""

    def __init__(self, console: Console, *, live: bool) -> None:
        self._console = console
        self._is_live = live
        self._parser = build_parser()
        self._page = Page()  # making one takes 0.2 ms, so all blocks share it
        self._source = ""  # of the open block
        self._previous_type: str | None = None  # of the block above it
        self._printed_lines = 0  # of the open code block: those that have scrolled out of the window
        self._shown_rows: list[str] = []
        self._shown_width = 0
        self._rendered: tuple[str | None, int, list[Token]] = None, 0, []  # shown by _rendered_rows
        self._rendered_rows: list[str] = []

    def add(self, text: str) -> None:
        """Add text: print the blocks that are now closed, and redraw the open one."""
        closed, tokens = self._take_closed_rows(text)
        if not self._is_live:
            self._draw(closed, [])
            return
        rows = self._render(tokens)
        window = max(1, self._console.height - 1)
        closed += self._take_scrolled_rows(tokens, rows, window)
        self._draw(closed, rows[self._count_printed_rows(rows) :][-window:])

    def finish(self, text: str) -> None:
        """Add the last text and print everything."""
        closed, tokens = self._take_closed_rows(text)
        self._draw(closed + self._render_remaining(tokens), [])
        self._source = ""

    def _take_closed_rows(self, text: str) -> tuple[list[str], list[Token]]:
        """Add text and remove the blocks that it closes; return their rows, and the tokens of the open block."""
        self._source += text
        rows: list[str] = []
        while len(self._source) > _MAX_OPEN_LENGTH:
            rows += self._render_remaining(self._parser.parse(self._source[:_MAX_OPEN_LENGTH]))
            self._source = self._source[_MAX_OPEN_LENGTH:]
            self._printed_lines = 0
        tokens = self._parser.parse(self._source)
        closed = self._count_closed_tokens(tokens)
        if closed > 0 and (lines := tokens[closed].map) is not None:
            rows += self._render_remaining(tokens[:closed])
            self._printed_lines = 0
            self._previous_type = tokens[closed - 1].type
            self._source = self._source.split("\n", lines[0])[-1]
        return rows, tokens[closed:]

    def _count_closed_tokens(self, tokens: list[Token]) -> int:
        """Count the tokens of the closed blocks: all blocks of the settled text except its last one."""
        count = _find_last_block(tokens)
        settled = _take_settled(self._source)
        if count == 0 or settled == self._source:
            return count
        return _find_last_block(self._parser.parse(settled))

    def _render_remaining(self, tokens: list[Token]) -> list[str]:
        rows = self._render(tokens)
        return rows[self._count_printed_rows(rows) :]

    def _render(self, tokens: list[Token]) -> list[str]:
        """Render blocks as rows, after an empty row if Rich puts one below the block above.

        The last result is kept for a block that closes without a change, which saves 4 % of the CPU at 50 tokens per second.
        """
        key = self._previous_type, self._console.width, tokens
        if key != self._rendered:
            self._page.parsed = [_BLOCK_ABOVE, *tokens] if self._has_gap() else tokens
            with self._console.capture() as capture:
                self._console.print(self._page)
            rows = capture.get().split("\n")[:-1]
            # Rich pads rows, and copied text would contain the spaces.
            self._rendered, self._rendered_rows = key, [row.rstrip(" ") for row in rows]
        return self._rendered_rows

    def _take_scrolled_rows(self, tokens: list[Token], rows: list[str], window: int) -> list[str]:
        """Return the rows of a long code block that have scrolled out of the window since the last frame.

        They are final, unlike those of other blocks: a new row may widen the columns of a table, and a tenth item the
        numbers of a list.
        """
        if len(tokens) != 1 or tokens[0].type != "fence":
            return []
        start = self._count_printed_rows(rows)
        self._printed_lines = max(self._printed_lines, tokens[0].content.count("\n") - window)
        return rows[start : self._count_printed_rows(rows)]

    def _count_printed_rows(self, rows: list[str]) -> int:
        """Count the rows of the open code block that are already printed, at the current width of the terminal."""
        if self._printed_lines == 0:
            return 0
        line_ends = (count for count, row in enumerate(rows, 1) if not row.endswith(SOFT_BREAK))
        return next(islice(line_ends, self._printed_lines - 1 + self._has_gap(), None), len(rows))

    def _has_gap(self) -> bool:
        """Whether there is an empty row above the open block."""
        return self._previous_type not in {None, "hr"}

    def _draw(self, closed: list[str], open_rows: list[str]) -> None:
        """Erase the open rows, print ``closed`` for good, and show ``open_rows`` below."""
        if not closed and open_rows == self._shown_rows:
            return
        printed = "".join(f"{row}\n" for row in closed).replace(f"{SOFT_BREAK}\n", "")
        shown = ""
        if open_rows:
            # If the last row is full, move the cursor back, so that the ^C that a terminal echoes does not wrap.
            is_full = _measure_width(open_rows[-1]) + 2 > self._console.width
            shown = _NO_WRAP + "\n".join(open_rows) + _WRAP + ("\r" if is_full else "")
        frame = self._build_erase_sequence() + printed + shown
        self._console.file.write(_BEGIN_SYNCHRONIZED + frame + _END_SYNCHRONIZED if self._is_live else frame)
        self._console.file.flush()
        self._shown_rows, self._shown_width = open_rows, self._console.width

    def _build_erase_sequence(self) -> str:
        if not self._shown_rows:
            return ""
        height = len(self._shown_rows)
        if self._console.width < self._shown_width:  # most terminals wrap the rows when they become narrower
            height = sum(max(1, -(-_measure_width(row) // self._console.width)) for row in self._shown_rows)
        return _ERASE_ROW + _ERASE_ROW_ABOVE * (height - 1)


def _measure_width(row: str) -> int:
    return cell_len(_STYLE_SEQUENCE.sub("", row))


def _take_settled(source: str) -> str:
    """Return the source without its last line, if that could still become part of the block above.

    Below an empty line, only a number could: a trailing ``2`` may become the list item ``2.``. Paragraphs are mostly
    written as one long line. If an unfinished line did not count, the block above would be drawn in each frame until the
    line ends, which would take half of the CPU.
    """
    above, _, last = source.rpartition("\n")
    is_settled = not above.rpartition("\n")[2].strip(" \t") and last.strip(" \t0123456789")
    return source if is_settled else source[: len(source) - len(last)]


def _find_last_block(tokens: list[Token]) -> int:
    """Return the index of the first token of the last top-level block, or 0."""
    index = len(tokens) - 1
    while index > 0 and not (tokens[index].level == 0 and tokens[index].nesting >= 0):
        index -= 1
    return max(index, 0)
