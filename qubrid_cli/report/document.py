"""Results as a document in Markdown, with a section for each image."""

import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any
from urllib.parse import quote

from ..images.suffixes import find_suffix
from ..text import escape_control_characters, json_text, strip_control_characters
from .results import ResultItem, Results, State, find_state

#: The formats of images that viewers of Markdown show.
_SHOWN_SUFFIXES = frozenset({"jpg", "jpeg", "png", "gif", "webp", "avif", "bmp"})
#: Characters that begin HTML, links, images, entities, code, strikethrough, mathematics or a template.
_ACTIVE = re.compile(r"[\\`<>\[\]&~${]")
#: The same, and those of emphasis, headings and the cells of tables.
_SPECIAL = re.compile(r"[\\`<>\[\]&~${*_|#!]")
#: The position of characters that begin a heading, or turn the line above into one.
_HEADING = re.compile(r"^([ \t]*)(?=#|=|-+[ \t]*$)", re.MULTILINE)
#: The positions for a backslash in texts that viewers would turn into links.
_AUTOLINK = re.compile(r"(?i)(?<=[a-z])(?=://)|(?<=\bwww)(?=\.)|(?<=\w)(?=@\w)")
_FENCE = re.compile("`{3,}")


def iterate_markdown(results: Results, folder: str, title: str) -> Iterator[str]:
    """Yield the parts of a document.

    Answers are quotations, in which emphasis, lists and tables are kept. HTML, links, images, code and headings become plain
    text, so an answer cannot load or run anything, or look like a part of the document.

    Args:
        folder: the folder of the document, where the paths of images start.
    """
    counts: Counter[State] = Counter()
    models: set[str] = set()
    prompts: set[str] = set()
    for record in results.iterate_records():
        counts[find_state(record)] += 1
        _add_up_to_two(models, record.get("model"))
        _add_up_to_two(prompts, record.get("prompt"))
    yield f"# {_escape_line(title)}\n\n{_format_counts(counts)}\n"
    if len(models) == 1:
        yield f"\n**Model:** {_escape_line(*models)}\n"
    if len(prompts) == 1:
        yield f"\n**Prompt:**\n\n{_quote(*prompts)}\n"
    image_id = None
    for item in results:
        if item.image_id != image_id:
            yield "\n" + "\n".join(_format_image(item, folder))
        yield "\n" + "\n".join(_format_answer(item, has_model=len(models) > 1, has_prompt=len(prompts) > 1))
        image_id = item.image_id


def _add_up_to_two(values: set[str], value: Any) -> None:
    """Add a text, unless there are two, which suffice to know that there are several."""
    if isinstance(value, str) and len(values) < 2:
        values.add(value)


def _format_counts(counts: Counter[State]) -> str:
    answered = counts.total() - counts[State.FAILED]
    parts = [f"{answered:,} answers" if answered != 1 else "1 answer"]
    parts += [f"{counts[state]:,} {state}" for state in (State.INCOMPLETE, State.FAILED) if counts[state]]
    return ", ".join(parts)


def _format_image(item: ResultItem, folder: str) -> Iterator[str]:
    """Format the heading of an image, and the image itself if it is on this machine."""
    yield f"## {_escape_line(', '.join(item.sources))}\n"
    if item.page is None and find_suffix(item.location or "") in _SHOWN_SUFFIXES and (file := item.find_file()):
        try:
            path = os.path.relpath(file, folder)
        except ValueError:  # another drive
            return
        yield f"![]({quote(os.fsencode(path.replace(os.sep, '/')), safe='/')})\n"


def _format_answer(item: ResultItem, *, has_model: bool, has_prompt: bool) -> Iterator[str]:
    if has_prompt and item.prompt is not None:
        yield f"**Prompt:** {_escape_line(' '.join(item.prompt.split()))}\n"
    if item.is_bad:
        yield "**Marked as bad**\n"
    if item.state is not State.OK:
        message = (item.error or {}).get("message")
        yield f"**{item.state.capitalize()}:** {_escape_line(str(message or 'unknown error'))}\n"
    if item.data is not None:
        yield _fence(json_text(item.data, indent=2)) + "\n"
    elif item.text.strip():
        yield _quote(item.text) + "\n"
    if facts := " · ".join(_list_facts(item, has_model=has_model)):
        yield f"{facts}\n"


def _list_facts(item: ResultItem, *, has_model: bool) -> Iterable[str]:
    if has_model and item.model is not None:
        yield _escape_line(item.model)
    if item.prompt_tokens is not None and item.completion_tokens is not None:
        yield f"{item.prompt_tokens:,} → {item.completion_tokens:,} tokens"
    figures = item.figures
    yield from (f"ttft {figures.ttft:.2f} s",) if figures.ttft is not None else ()
    yield from (f"total {figures.total:.2f} s",) if figures.total is not None else ()
    if item.cost is not None:
        yield f"{item.cost:.6g} {_escape_line(item.currency or '')}".rstrip()
    if item.correction is not None and item.correction.text is not None:
        yield "corrected"


def _escape_line(text: str) -> str:
    """Escape all markup in a text that becomes one line."""
    escaped = _SPECIAL.sub(lambda match: "\\" + match[0], escape_control_characters(text))
    return _AUTOLINK.sub(r"\\", escaped)


def _quote(text: str) -> str:
    """Quote a model's Markdown. Line breaks are kept; markup that loads, runs, links or ends the quotation is escaped."""
    text = strip_control_characters(text.replace("\r\n", "\n").replace("\r", "\n")).strip("\n")
    text = _AUTOLINK.sub(r"\\", _ACTIVE.sub(lambda match: "\\" + match[0], text))
    lines = [line.rstrip() for line in _HEADING.sub(r"\1\\", text).split("\n")]
    following = [*lines[1:], ""]
    return "\n".join(
        f"> {line}  " if line and next_line else f"> {line}".rstrip()
        for line, next_line in zip(lines, following, strict=True)
    )


def _fence(code: str) -> str:
    fence = "`" * max([3, *(len(run) + 1 for run in _FENCE.findall(code))])
    return f"{fence}json\n{code}\n{fence}"
