"""The blocks of Markdown on a terminal: those of Rich, changed so that no text is lost and code can be copied."""

import re
from collections.abc import Callable
from itertools import accumulate

from markdown_it import MarkdownIt
from markdown_it.rules_inline import StateInline, image, newline
from rich.cells import cell_len, chop_cells
from rich.console import Console, ConsoleOptions, RenderResult
from rich.markdown import CodeBlock, Heading, Markdown, Paragraph, TableElement
from rich.segment import Segment
from rich.syntax import Syntax
from rich.table import Table
from rich.text import Text

from .appearance import MAX_PROSE_WIDTH

#: Ends a row of code where the terminal would wrap the line. The line break after it is not printed, so that the rows are
#: copied as one line. Text contains no carriage returns, and they do not change what is displayed.
SOFT_BREAK = "\r"
#: This theme uses the terminal's own palette and background.
_CODE_THEME = "ansi_dark"
_TAB_SIZE = 4
_LINE_BREAK_TAG = re.compile(r"<br\s*/?>[ \t]*\n?[ \t]*", re.IGNORECASE)


def build_parser() -> MarkdownIt:
    """Build a parser for CommonMark with tables, strikethrough and line breaks, but with HTML and references as text.

    HTML would vanish, and models write HTML tables. The definition of a link reference would vanish too, and would
    change blocks that are already printed. Images cannot be shown, so their references stay as they are written.
    """
    parser = MarkdownIt("commonmark", {"html": False}).enable(["strikethrough", "table"])
    parser.disable(["reference", "autolink"])  # Rich would show the URL of <https://example.com> twice
    parser.inline.ruler.at("newline", _parse_newline)
    parser.inline.ruler.at("image", _parse_image)
    parser.inline.ruler.at("html_inline", _parse_line_break_tag)
    return parser


def build_page_parser() -> MarkdownIt:
    """Build a parser for pages of the manual, whose line breaks inside paragraphs do not count."""
    return MarkdownIt("commonmark", {"html": False}).enable("table").disable("autolink")


def _parse_newline(state: StateInline, silent: bool) -> bool:  # noqa: FBT001  # called by position
    """Keep each line break, as comments on GitHub do."""
    if not newline(state, silent):
        return False
    if not silent:
        state.tokens[-1].type = "hardbreak"
    return True


def _parse_image(state: StateInline, silent: bool) -> bool:  # noqa: FBT001  # as above
    """Keep the reference of an image as text: Rich would move it above its paragraph."""
    start = state.pos
    if not image(state, silent):
        return False
    if not silent:
        token = state.tokens[-1]
        token.type, token.tag, token.children = "text", "", None
        token.content = state.src[start : state.pos]
    return True


def _parse_line_break_tag(state: StateInline, silent: bool) -> bool:  # noqa: FBT001  # as above
    """Break the line at ``<br>``, which is the only way to break one in a table; other HTML is text."""
    if (match := _LINE_BREAK_TAG.match(state.src, state.pos)) is None:
        return False
    if not silent:
        state.push("hardbreak", "br", 0)
    state.pos = match.end()
    return True


class _PlainCodeBlock(CodeBlock):
    """Code without margin and background, so that it can be copied as it is."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        # In a list or a quote the rows stay separate, because each begins with a margin.
        line_break = Segment("\n" if options.max_width < console.width else f"{SOFT_BREAK}\n")
        syntax = Syntax("", self.lexer_name, theme=_CODE_THEME)
        code = syntax.highlight(self.text.plain.expandtabs(_TAB_SIZE))
        for line in code.split("\n"):
            *rows, last = line.divide(_find_folds(line.plain, max(1, options.max_width)))
            for row in rows:
                yield from row.render(console)
                yield line_break
            yield from last.render(console, end="\n")


def _find_folds(line: str, width: int) -> list[int]:
    """Return the positions at which a terminal of this width wraps a line."""
    if cell_len(line) <= width:
        return []
    return list(accumulate(map(len, chop_cells(line, width)[:-1])))


def _render_prose(
    render: Callable[[Console, ConsoleOptions], RenderResult], console: Console, options: ConsoleOptions
) -> RenderResult:
    """Render text in lines of at most 100 columns, also on a wide terminal."""
    margin = console.width - options.max_width  # of a list or a quote
    narrow = options.update(max_width=max(1, min(options.max_width, MAX_PROSE_WIDTH - margin)))
    for renderable in render(console, options):
        if isinstance(renderable, Segment):
            yield renderable
        else:
            yield from console.render(renderable, narrow)


class _Paragraph(Paragraph):
    """A paragraph of at most 100 columns."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        return _render_prose(super().__rich_console__, console, options)


class _Heading(Heading):
    """A heading of at most 100 columns."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        return _render_prose(super().__rich_console__, console, options)


class _FoldingTable(TableElement):
    """A table that wraps its cells instead of cutting them; if there is no room for its columns, each cell has a line."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for table in super().__rich_console__(console, options):
            assert isinstance(table, Table)
            # A column takes two character cells, for a wide character, and one on each side.
            if options.max_width > 4 * len(table.columns):
                for column in table.columns:
                    column.overflow = "fold"
                yield table
            else:
                yield from self._list_cells()

    def _list_cells(self) -> RenderResult:
        headings = self.header.row.cells if self.header and self.header.row else []
        for row in self.body.rows if self.body else ():
            for heading, cell in zip(headings, row.cells, strict=True):
                yield Text.assemble(heading.content, ": ", cell.content)
            yield Text()
        if self.body is None:
            yield from (heading.content for heading in headings)


class Page(Markdown):
    """Blocks of Markdown; ``parsed`` are their tokens. The URLs of links are shown, because their texts may differ."""

    elements = Markdown.elements | {
        "paragraph_open": _Paragraph,
        "heading_open": _Heading,
        "fence": _PlainCodeBlock,
        "code_block": _PlainCodeBlock,
        "table_open": _FoldingTable,
    }

    def __init__(self) -> None:
        super().__init__("", hyperlinks=False)
