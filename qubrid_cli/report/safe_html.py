"""Answers as safe HTML: a model's Markdown, rendered without its HTML and then sanitized."""

import re
from collections.abc import MutableMapping, Sequence
from html import unescape
from typing import Any

import nh3
from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from markdown_it.token import Token

#: Characters. Longer texts are not rendered, because parsing some texts takes time that grows with the square of the length.
_MAX_LENGTH = 100_000
#: The characters without which a text is only paragraphs.
_MARKUP = re.compile(r"[*_`#<>&\[\]|~\\]|^ {4}|^\t|^\s*([-+=]|\d+[.)])", re.MULTILINE)
_TAGS = {
    *("p", "br", "hr", "em", "strong", "s", "code", "pre", "blockquote", "ul", "ol", "li", "a"),
    *("h4", "h5", "h6", "table", "thead", "tbody", "tr", "th", "td"),
}
#: Headings in an answer are at a lower level than the heading of the answer itself.
_HEADINGS = {"h1": "h4", "h2": "h5", "h3": "h6", "h4": "h6", "h5": "h6"}


def render_markdown(text: str) -> str | None:
    """Render Markdown as HTML; ``None`` if the text has none or is too long, so that it is shown unchanged.

    Links lead only to the web. Images are not loaded, but replaced by their alternative text.
    """
    if len(text) > _MAX_LENGTH or not _MARKUP.search(text):
        return None
    cleaned = nh3.clean(
        _parser.render(text),
        tags=_TAGS,
        clean_content_tags={"script", "style"},
        attributes={"a": {"href"}, "ol": {"start"}},
        set_tag_attribute_values={"a": {"target": "_blank"}},
        url_schemes={"http", "https"},
        url_relative="deny",
        link_rel="noopener noreferrer",
    )
    return cleaned.strip()


def extract_text(html: str) -> str:
    """Return the text of HTML from ``render_markdown``, without markup."""
    return unescape(nh3.clean(html, tags=set()))


def _make_parser() -> MarkdownIt:
    parser = MarkdownIt("commonmark", {"html": False, "breaks": True}).enable(["strikethrough", "table"])
    parser.add_render_rule("image", _render_image)
    for kind in ("heading_open", "heading_close"):
        parser.add_render_rule(kind, _render_heading)
    return parser


def _render_image(
    self: RendererHTML, tokens: Sequence[Token], index: int, options: Any, env: MutableMapping[str, Any]
) -> str:
    return self.renderInlineAsText(tokens[index].children, options, env)


def _render_heading(
    self: RendererHTML, tokens: Sequence[Token], index: int, options: Any, env: MutableMapping[str, Any]
) -> str:
    tokens[index].tag = _HEADINGS.get(tokens[index].tag, tokens[index].tag)
    return self.renderToken(tokens, index, options, env)


_parser = _make_parser()
