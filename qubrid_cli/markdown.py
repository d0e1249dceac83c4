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

from .frozen import frozen

#: Seconds between two pictures at least: twelve a second are enough for reading.
_FRAME = 1 / 12
#: A picture that took t seconds to make is followed by a pause of this many t, so that drawing a very long block takes
#: a fifth of a core at most.
_REST = 4

#: Characters of a block that are kept open; what is longer is no text to read, and is cut to keep drawing quick.
_MAX_OPEN = 200_000

#: Erase the row; go up one and erase that. Erasing all to the end of the screen at once is what tmux, at its upper left
#: corner, takes for a "clear" and moves into the scrollback first.
_ERASE, _ERASE_ABOVE = "\r\x1b[2K", "\x1b[1A\x1b[2K"
#: A picture is shown at once where the terminal knows "synchronized output"; others pass it over.
_BEGIN, _END = "\x1b[?2026h", "\x1b[?2026l"
#: No line wraps in the open block: where the terminal takes a character for wider than we do, rows still count right.
_NO_WRAP, _WRAP = "\x1b[?7l", "\x1b[?7h"

_STYLE = re.compile("\x1b\\[[0-9;]*m")


def _parser() -> MarkdownIt:
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
        self._page = _Page(console, live=live)
        self._lock = threading.Lock()
        self._arrived: list[str] = []
        self._news = threading.Event()
        self._is_closing = threading.Event()
        self._failure: OSError | None = None
        self._thread = threading.Thread(target=self._run, name="markdown", daemon=True)
        self._thread.start()

    def write(self, text: str) -> None:
        """Take more of the answer; it is on the screen within a frame."""
        with self._lock:
            self._arrived.append(text)
        self._news.set()

    def close(self) -> None:
        """Draw all that there is, for good."""
        self._is_closing.set()
        self._news.set()
        self._thread.join()
        if self._failure is not None:
            raise self._failure
        self._page.finish(self._taken())

    def _taken(self) -> str:
        with self._lock:
            text = "".join(self._arrived)
            self._arrived.clear()
        return text

    def _run(self) -> None:
        while True:
            self._news.wait()
            if self._is_closing.is_set():
                return
            self._news.clear()
            began = time.monotonic()
            try:
                self._page.add(self._taken())
            except OSError as error:  # the terminal is gone
                self._failure = error
                return
            took = time.monotonic() - began
            self._is_closing.wait(max(_FRAME - took, _REST * took))


@frozen
class _Begun:
    """How much of the open code block has left the window and is printed: its first ``lines``, in ``rows`` rows."""

    lines: int = 0
    rows: int = 0
    width: int = 0


class _Page:
    """What is on the screen: printed blocks, then the open one, whose ``_shown`` rows can still be redrawn."""

    def __init__(self, console: Console, *, live: bool) -> None:
        self._console = console
        self._live = live
        self._parser = _parser()
        self._below_rule = self._parser.parse("---"), 2
        self._below_text = self._parser.parse("."), 1
        self._source = ""  # from the beginning of the open block on
        self._previous: str | None = None  # the type of the block above it
        self._begun = _Begun()
        self._shown: list[str] = []
        self._shown_width = 0

    def add(self, text: str) -> None:
        """Print what is closed by now, and draw the open block anew."""
        self._source += text
        final = self._closed()
        if not self._live:
            self._draw(final, [])
            return
        tokens = self._parser.parse(self._source)
        rows = self._rendered(tokens)
        window = max(1, self._console.height - 1)
        final += self._left_window(tokens, rows, window)
        self._draw(final, rows[self._rows_begun(tokens) :][-window:])

    def finish(self, text: str) -> None:
        """Print all that is left."""
        self._source += text
        final = self._closed()
        tokens = self._parser.parse(self._source)
        self._draw(final + self._remaining(tokens), [])
        self._source = ""

    def _closed(self) -> list[str]:
        """Take the rows of closed blocks: of all but the last, for a block is closed by the one that follows.

        Only whole lines count: ``2`` may become the next item of a list, and does not look like one before its dot.
        """
        rows: list[str] = []
        while len(self._source) > _MAX_OPEN:
            rows += self._remaining(self._parser.parse(self._source[:_MAX_OPEN]))
            self._source = self._source[_MAX_OPEN:]
            self._begun = _Begun()
        whole = self._source[: self._source.rfind("\n") + 1]
        blocks = _blocks(self._parser.parse(whole))
        for block in blocks[:-1]:
            rows += self._remaining(block)
            self._begun = _Begun()
            self._previous = block[-1].type
        if len(blocks) > 1 and (place := blocks[-1][0].map) is not None:
            self._source = self._source.split("\n", place[0])[-1]
        return rows

    def _remaining(self, block: list[Token]) -> list[str]:
        return self._rendered(block)[self._rows_begun(block) :]

    def _rendered(self, tokens: list[Token]) -> list[str]:
        """The rows of some blocks, with the empty row before them where Rich parts them so from the one above."""
        if not tokens:
            return []
        above, rows_above = self._stand_in()
        page = Markdown("", hyperlinks=False)  # a link shows where it goes: its text may say otherwise
        page.parsed = above + tokens
        with self._console.capture() as capture:
            self._console.print(page)
        rows = capture.get().removesuffix("\n").split("\n")[rows_above:]
        return [row.rstrip(" ") for row in rows]  # Rich fills up to the edge, and who copies the text gets that too

    def _stand_in(self) -> tuple[list[Token], int]:
        """Something short for the block above, and its rows: what stands there decides about the empty row."""
        if self._previous is None:
            return [], 0
        return self._below_rule if self._previous == "hr" else self._below_text

    def _left_window(self, tokens: list[Token], rows: list[str], window: int) -> list[str]:
        """The rows of a long code block that are out of sight above, for good: its beginning does not change any more.

        Other blocks may: one more row can make a table's columns wider, a tenth item all numbers of a list.
        """
        if len(tokens) != 1 or tokens[0].type != "fence":
            return []
        begun = self._rows_begun(tokens)
        lines = tokens[0].content.count("\n") - window
        if lines <= self._begun.lines:
            return []
        until = self._rows_of_first(lines, tokens[0])
        self._begun = _Begun(lines, until, self._console.width)
        return rows[begun:until]

    def _rows_begun(self, block: list[Token]) -> int:
        """How many rows of the open block are printed already, at today's width."""
        if self._begun.lines == 0 or not block:
            return 0
        if self._begun.width == self._console.width:
            return self._begun.rows
        return self._rows_of_first(self._begun.lines, block[0])

    def _rows_of_first(self, lines: int, fence: Token) -> int:
        content = "\n".join(fence.content.split("\n")[:lines])
        return len(self._rendered([fence.copy(content=content)])) - 1  # less the padding below

    def _draw(self, final: list[str], rows: list[str]) -> None:
        """Replace what is shown by rows for good and rows that can still change."""
        if not final and rows == self._shown:
            return
        printed = "".join(f"{row}\n" for row in final)
        # The cursor waits where a ^C that the terminal echoes does not push it onto another row.
        shown = _NO_WRAP + "\n".join(rows) + _WRAP + "\r" * (_width(rows[-1]) + 2 > self._console.width) if rows else ""
        picture = self._erased() + printed + shown
        self._console.file.write(_BEGIN + picture + _END if self._live else picture)
        self._console.file.flush()
        self._shown, self._shown_width = rows, self._console.width

    def _erased(self) -> str:
        if not self._shown:
            return ""
        height = len(self._shown)
        if self._console.width < self._shown_width:  # most terminals have wrapped the rows when they were narrowed
            height = sum(max(1, -(-_width(row) // self._console.width)) for row in self._shown)
        return _ERASE + _ERASE_ABOVE * (height - 1)


def _width(row: str) -> int:
    return cell_len(_STYLE.sub("", row))


def _blocks(tokens: list[Token]) -> list[list[Token]]:
    """The tokens of each block that stands in no other."""
    blocks: list[list[Token]] = []
    is_inside = False
    for token in tokens:
        if not is_inside:
            blocks.append([])
        blocks[-1].append(token)
        is_inside = not (token.level == 0 and token.nesting <= 0)
    return blocks
