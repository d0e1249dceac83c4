"""Markdown, and text of the help, as source of man pages.

Source: ``man(7)`` and ``mandoc_char(7)`` of mandoc, whose common macros groff understands too.
"""

import re
import textwrap
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence

from markdown_it import MarkdownIt
from markdown_it.token import Token

#: What roff, or the device that shows the page, takes for something else.
_ESCAPES = str.maketrans({"\\": r"\e", "'": r"\(aq", "`": r"\(ga", "^": r"\(ha", "~": r"\(ti", '"': r"\(dq"})
_OPTION = re.compile(r"(?<![\w-])(--?[a-zA-Z][a-z-]*)")
#: Parts of a sentence that need no text.
_INLINE = {
    "softbreak": " ", "hardbreak": " ", "strong_open": r"\fB", "strong_close": r"\fR", "em_open": r"\fI", "em_close": r"\fR",
}  # fmt: skip
#: Characters of a line of text, and of code that is not cut off on a terminal of 80 columns.
_TEXT_WIDTH, _CODE_WIDTH = 78, 68

#: Returns how a page of the manual is cited, as roff; empty for the page that cites it.
NamePage = Callable[[str], str]


def escape(text: str) -> str:
    """Text that is shown as it is; characters outside of ASCII get their numbers."""
    text = unicodedata.normalize("NFC", text.translate(_ESCAPES))
    return "".join(char if char.isascii() else f"\\[u{ord(char):04X}]" for char in text)


def escape_code(text: str) -> str:
    """Code, whose hyphens stay those of the keyboard, so that it can be copied."""
    return escape(text).replace("-", r"\-")


def bold(code: str) -> str:
    """Code in a sentence."""
    return rf"\fB{escape_code(code)}\fR"


def format_usage(text: str) -> str:
    """Options and commands in bold, what stands for a value in italics: ``-o, --output FILE``."""
    words = re.split(r"([\s,/|\[\].]+)", text)
    return "".join(
        word if not re.search(r"\w", word)
        else bold(word) if word[:1] == "-" or word.islower()
        else rf"\fI{escape_code(word)}\fR"
        for word in words
    )  # fmt: skip


def format_help(text: str) -> str:
    """A text of the help, with its options in bold."""
    return "".join(bold(part) if _OPTION.fullmatch(part) else escape(part) for part in _OPTION.split(text))


def macro(name: str, *arguments: str) -> str:
    """A line that is not text."""
    return " ".join([f".{name}", *(f'"{argument}"' for argument in arguments)])


def heading(title: str) -> str:
    """The heading of a section."""
    return macro("SH", escape(title.upper()))


def fill(text: str) -> Iterator[str]:
    """Lines of text, none of which looks like a macro."""
    for line in textwrap.wrap(text, _TEXT_WIDTH, break_long_words=False, break_on_hyphens=False):
        yield rf"\&{line}" if line.startswith((".", "'")) else line


def paragraph(text: str) -> Iterator[str]:
    """A paragraph."""
    yield ".PP"
    yield from fill(text)


def term(name: str, text: str) -> Iterator[str]:
    """An entry of a list of terms; both are roff."""
    yield ".TP"
    yield rf"\&{name}" if name.startswith((".", "'")) else name
    yield from fill(text)


def code(text: str) -> Iterator[str]:
    """Lines that are shown as they are. In a block with long lines, a comment stands above its command."""
    lines = text.rstrip("\n").split("\n")
    if max(map(len, lines)) > _CODE_WIDTH:
        lines = [part for line in lines for part in _split_comment(line)]
    yield from (".PP", ".RS 4", ".EX")
    for line in lines:
        escaped = escape_code(line)
        yield rf"\&{escaped}" if escaped.startswith(".") else escaped
    yield from (".EE", ".RE")


def _split_comment(line: str) -> Iterator[str]:
    command, separator, comment = line.partition("  # ")
    if separator and command.strip():
        yield f"# {comment}"
    yield command.rstrip() if separator and command.strip() else line


def join(lines: Iterable[str]) -> str:
    """The page; a heading begins a paragraph already."""
    kept: list[str] = []
    for line in lines:
        if line != ".PP" or not kept[-1].startswith((".SH", ".SS", ".PP")):
            kept.append(line)
    return "\n".join(kept) + "\n"


# Markdown


def convert(source: str, name_page: NamePage) -> Iterator[str]:
    """Convert Markdown without its title: headings of the second level are sections, tables are lists of terms."""
    tokens = MarkdownIt("commonmark").enable("table").parse(source)
    marker: str | None = None  # of the list item, until its first paragraph; empty in its other ones
    number = 0
    for index, token in enumerate(tokens):
        match token.type:
            case "heading_open" if token.tag == "h2":
                yield heading("".join(child.content for child in tokens[index + 1].children or ()))
            case "heading_open" if token.tag != "h1":
                yield macro("SS", _convert_inline(tokens[index + 1], name_page))
            case "ordered_list_open" | "bullet_list_open":
                number = 0
            case "list_item_open":
                number += 1
                marker = rf"{number}." if token.markup == "." else r"\(bu"
            case "list_item_close":
                marker = None
            case "paragraph_open":
                yield ".PP" if marker is None else macro("IP", marker, "4")
                marker = marker and ""
                yield from fill(_convert_inline(tokens[index + 1], name_page))
            case "fence" | "code_block":
                yield from code(token.content)
            case "table_open":
                yield from _convert_table(tokens[index:], name_page)


def _convert_table(tokens: Sequence[Token], name_page: NamePage) -> Iterator[str]:
    """A list of terms, which are the first column; several other columns have their titles."""
    rows: list[list[str]] = []
    for index, token in enumerate(tokens):
        if token.type == "tr_open":
            rows.append([])
        elif token.type in {"th_open", "td_open"}:
            rows[-1].append(_convert_inline(tokens[index + 1], name_page))
        elif token.type == "table_close":
            break
    titles, *rows = rows
    for name, *cells in rows:
        texts = [f"{title}: {cell}" for title, cell in zip(titles[1:], cells, strict=True) if cell]
        yield from term(name, cells[0] if len(cells) == 1 else "; ".join(texts))


def _convert_inline(token: Token, name_page: NamePage) -> str:
    parts = []
    target = ""
    for child in token.children or ():
        match child.type:
            case "text":
                parts.append(escape(child.content))
            case "code_inline":
                parts.append(bold(child.content))
            case "link_open":
                target = "" if child.info == "auto" else str(child.attrs["href"])
            case "link_close" if page := re.fullmatch(r"([\w-]+)\.md(#.*)?", target):
                parts.append(f" ({citation})" if (citation := name_page(page[1])) else "")
            case "link_close" if "://" in target:
                parts.append(rf" <\fI{escape_code(target)}\fR>")
            case _:
                parts.append(_INLINE.get(child.type, ""))
    return "".join(parts)
