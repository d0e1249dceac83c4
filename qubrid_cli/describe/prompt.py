"""Prompts from files, placeholders in prompts such as ``{name}``, and labels of images.

Loaded only if a request needs one of these.
"""

import json
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from ..client.request import ImagePart, Request
from ..errors import UsageError
from ..text import decode_text, escape_control_characters, quote_name, suggest

if TYPE_CHECKING:
    from ..images.prepare import PreparedImageOrLink
    from ..images.sources import Source
    from ..urls import DataUrl

PLACEHOLDERS = ("name", "stem", "dir", "index")
#: Placeholders that describe an image, so that a request with one of them must have only one image.
_IMAGE_PLACEHOLDERS = frozenset({"name", "stem", "dir"})
#: The words that a misspelled placeholder is compared with, and what to suggest; other programs have ``{filename}``.
_SUGGESTIONS = {name: name for name in PLACEHOLDERS} | {"filename": "name"}
#: The lowest similarity at which ``{dri}`` still resembles ``{dir}``.
_MIN_SIMILARITY = 0.65
_BRACES = re.compile(r"\{\{|\}\}|\{(?P<word>[A-Za-z_]\w*)\}")


def read_prompt(text: str, *, option: str, stdin: BinaryIO) -> str:
    """Return the prompt that ``-`` (standard input), ``@FILE`` or ``@@x`` (the text ``@x``) stands for in an option.

    Line breaks at the end of a file or of standard input are removed.

    Raises:
        UsageError: the prompt cannot be read, or is not UTF-8.
    """
    if text == "-":
        return _decode(stdin.read(), f"standard input, read for {option} -,")
    if text.startswith("@@"):
        return text[1:]
    return _decode(_read_file(text[1:], option), quote_name(text[1:]))


def _read_file(name: str, option: str) -> bytes:
    try:
        return Path(name).expanduser().read_bytes()
    except (OSError, ValueError, RuntimeError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise UsageError(
            f"cannot read {quote_name(name)}, named by {option}: {reason}",
            hint=f"If the prompt begins with @, double it: {option} {quote_name(f'@@{name}')}",
        ) from error


def _decode(data: bytes, name: str) -> str:
    try:
        return decode_text(data).rstrip("\r\n")
    except UnicodeDecodeError as error:
        raise UsageError(
            f"{name} is not UTF-8 text", hint="-p and -s read text; name images without an option."
        ) from error


def build_placeholder_values(image: "Source | None", index: int) -> dict[str, str]:
    """Return the values of the placeholders: file name, the same without its suffix, name of the folder, and position.

    For a link, the name is the last part of its path, and the folder is the part before it or the host.

    Args:
        image: ``None`` for an image without a name, such as standard input.
        index: position of the image in the run, from 1.
    """
    from urllib.parse import unquote, urlsplit

    from ..images.sources import DocumentPage, FetchedLink, File, Link, is_url
    from ..urls import is_object_url

    match image:
        case DocumentPage():
            return build_placeholder_values(image.document, index)
        case File():
            folder, name = os.path.split(os.path.abspath(image.path))
        case Link() | FetchedLink() if is_object_url(image.name) or not is_url(image.name):
            folder, _, name = image.name.rpartition("/")
            return _escape_values(name, os.path.basename(folder), index)
        case Link() | FetchedLink():
            parts = urlsplit(image.name)
            folder, _, name = f"{parts.hostname or ''}{parts.path}".rstrip("/").rpartition("/")
            name = unquote(name)
        case _:
            folder, name = "", "image"  # from standard input or a ``data:`` URL
    return _escape_values(name, unquote(os.path.basename(folder)), index)


def _escape_values(name: str, folder_name: str, index: int) -> dict[str, str]:
    values = {"name": name, "stem": os.path.splitext(name)[0], "dir": folder_name}
    return {key: escape_control_characters(text) for key, text in values.items()} | {"index": str(index)}


def fill_placeholders(
    request: Request, image: "Source | None", index: int, row: Mapping[str, Any] | None = None
) -> Request:
    """Return the request for one image, with the placeholders of its prompt and its system prompt expanded.

    Args:
        row: the values of the columns of a list, by name. Each column is a placeholder, and replaces a usual one of that name.

    Raises:
        UsageError: a word in braces is a misspelled placeholder or, with a row, any word that is not a placeholder.
    """
    values, is_strict = build_placeholder_values(image, index), row is not None
    values |= {name: _format_cell(value) for name, value in (row or {}).items()}
    system = None if request.system is None else expand_placeholders(request.system, values, is_strict=is_strict)
    return replace(request, prompt=expand_placeholders(request.prompt, values, is_strict=is_strict), system=system)


def _format_cell(value: Any) -> str:
    """The value of a column as text: a string as it is, nothing for null, any other value as JSON."""
    return "" if value is None else value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def expand_placeholders(text: str, values: Mapping[str, str], *, is_strict: bool = False) -> str:
    """Replace the placeholders of a prompt; braces in the values are not expanded.

    ``{{`` becomes a brace, and so does the ``}}`` that closes it. All other braces stay, so that JSON is not changed.

    Args:
        is_strict: reject every word in braces that is not a placeholder.

    Raises:
        UsageError: a word in braces is a misspelled placeholder.
    """
    open_braces = 0

    def expand(match: re.Match[str]) -> str:
        nonlocal open_braces
        if word := match["word"]:
            if word in values:
                return values[word]
            if is_strict:
                raise _no_such_column_error(word, values)
            return _check_unknown_word(word)
        if match[0] == "{{":
            open_braces += 1
            return "{"
        if open_braces:
            open_braces -= 1
            return "}"
        return "}}"

    return _BRACES.sub(expand, text)


def _check_unknown_word(word: str) -> str:
    """Return a word with its braces, unless it is a misspelled placeholder.

    A word counts as misspelled if it resembles a placeholder and uses only that placeholder's letters. So ``{names}``,
    ``{item}`` and ``{die}`` are text, and so is every word of two letters.
    """
    import difflib

    letters = word.lower().replace("_", "")
    similar = difflib.get_close_matches(letters, _SUGGESTIONS, n=1, cutoff=_MIN_SIMILARITY)
    if similar and len(letters) > 2 and set(letters) <= set(similar[0]):
        raise UsageError(
            f"unknown placeholder {{{word}}} in the prompt; did you mean {{{_SUGGESTIONS[similar[0]]}}}?",
            hint=f"For literal braces, double them: {{{{{word}}}}}",
        )
    return f"{{{word}}}"


def _no_such_column_error(word: str, names: Iterable[str]) -> UsageError:
    """The error for a word in braces that is neither a column of a list nor a usual placeholder."""
    available = ", ".join(f"{{{name}}}" for name in names)
    return UsageError(
        f"the images have no column {word}, which the prompt names{suggest(word, names)}",
        hint=f"Available: {available}. For literal braces, double them: {{{{{word}}}}}",
    )


def check_placeholders(text: str, *, images: int, columns: Iterable[str] | None = None) -> None:
    """Check the placeholders of a prompt before the first request.

    Args:
        images: the number of images in the request.
        columns: the names of the columns of the list of images; ``None`` if there are none.

    Raises:
        UsageError: a placeholder is misspelled, or is ambiguous because the request has several images.
    """
    names = [*PLACEHOLDERS, *(columns or ())]
    expand_placeholders(text, dict.fromkeys(names, ""), is_strict=columns is not None)
    ambiguous = sorted({match["word"] for match in _BRACES.finditer(text)} & _IMAGE_PLACEHOLDERS)
    if images > 1 and ambiguous:
        raise UsageError(
            f"{{{ambiguous[0]}}} in the prompt is ambiguous: the request has {images} images",
            hint="Add --each, to send one request per image.",
        )


def build_parts(images: Sequence["PreparedImageOrLink"], *, labels: bool, first: int = 1) -> tuple[ImagePart, ...]:
    """Build the image parts of a message, with labels if the conversation has several images or the image has tiles.

    Args:
        first: the number of the first image, if earlier messages of the conversation have images too.
    """
    parts = _label_images(images, first)
    has_several = len(parts) > 1 or first > 1
    return parts if labels and has_several else tuple(replace(part, label=None) for part in parts)


def _label_images(images: Sequence["PreparedImageOrLink"], first: int) -> tuple[ImagePart, ...]:
    """Build the image parts of a message, each image or tile with a label.

    ``Page 3`` suffices if all images are pages of one document, and ``Part 2 of 5`` if there is only one image.
    """
    return tuple(
        ImagePart(url, ", ".join(filter(None, (label, part))) if label else part[:1].upper() + part[1:])
        for image, label in zip(images, _format_labels(images, first), strict=True)
        for url, part in _format_parts(image)
    )


def _format_labels(images: Sequence["PreparedImageOrLink"], first: int) -> list[str]:
    pages = [_format_page(image) for image in images]
    if len(images) == first == 1:
        return [""]
    documents = {image.name.rpartition("#")[0] for image in images}
    if len(documents) == 1 and all(pages) and first == 1:
        return [page.capitalize() for page in pages]
    labels = []
    for number, (image, page) in enumerate(zip(images, pages, strict=True), first):
        document = image.name.rpartition("#")[0]
        labels.append(
            f"{format_image_label(number, document)}, {page}" if page else format_image_label(number, image.name)
        )
    return labels


def _format_parts(image: "PreparedImageOrLink") -> list[tuple["str | DataUrl", str]]:
    """The URLs that are sent for an image: of each tile with its position, or of the whole image with an empty text."""
    from ..images.prepare import PreparedImage

    if not isinstance(image, PreparedImage):
        return [(image.url, "")]
    if not (tiles := image.upload.tiles):
        return [(image.upload.url, "")]
    tops, lefts = ({tile.box[side] for tile in tiles if tile.box} for side in (1, 0))
    order = "top to bottom" if len(lefts) == 1 else "left to right" if len(tops) == 1 else "row by row"
    return [(tile.url, f"part {number} of {len(tiles)}, {order}") for number, tile in enumerate(tiles, 1)]


def _format_page(image: "PreparedImageOrLink") -> str:
    """Format the number of a page or a frame; empty for an ordinary image."""
    from ..images.prepare import PreparedImage

    if not isinstance(image, PreparedImage) or image.page is None:
        return ""
    return f"{'page' if image.format in {'PDF', 'TIFF'} else 'frame'} {image.page}"


def format_image_label(number: int, name: str) -> str:
    """Format the text part before an image: its number and its file name, without the folder, which is private."""
    bare = name.split("?", maxsplit=1)[0].rstrip("/").replace("\\", "/").rpartition("/")[2]
    has_name = bare and bare != "-" and not name.startswith("data:")
    return f"Image {number}: {escape_control_characters(bare)}" if has_name else f"Image {number}"
