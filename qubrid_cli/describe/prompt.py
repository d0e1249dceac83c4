"""What stands for an image in a prompt: ``{name}``, ``{stem}``, ``{dir}`` and ``{index}``. Pure."""

# MERGED DOCSTRING of qubrid_cli.prompts: The prompt: from the command line, a file or standard input.

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO
from urllib.parse import unquote, urlsplit

from ..errors import UsageError
from ..images.sources import File, Link, Source
from ..text import escape_control_characters

if TYPE_CHECKING:
    from ..client.request import ImagePart
    from ..images.prepare import PreparedImageOrLink
    from ..images.sources import Source
    from ..settings.presets import Preset
    from ..settings.resolve import Settings


def compose_prompt(preset: "Preset | None", prompt: str | None, settings: "Settings") -> str:
    """What is asked: the preset's prompt, and the user's own behind it; else the profile's, or what everybody means."""
    if preset is not None:
        return f"{preset.prompt}\n\n{prompt}" if prompt else preset.prompt
    return prompt or settings.prompt or DEFAULT_PROMPT


#: Asked when nobody said what to ask.
DEFAULT_PROMPT = "Describe this image."


def read_prompt(text: str, *, option: str, stdin: BinaryIO) -> str:
    """The text that an option such as ``-p`` names: ``@FILE`` a file, ``-`` standard input, ``@@x`` the text ``@x``.

    A line break at the end of a file or of standard input is not part of the prompt.

    Args:
        option: how the option is called, for messages.
        stdin: what ``-`` reads.

    Raises:
        UsageError: unreadable, not UTF-8, or empty.
    """
    if text == "-":
        found = _decode_text(stdin.read(), f"standard input, for {option} -,")
    elif text.startswith("@@"):
        found = text[1:]
    elif text.startswith("@"):
        found = _decode_text(_read_file(text[1:], option), text[1:])
    else:
        found = text
    return validate_prompt(found, option)


def validate_prompt(text: str, where: str) -> str:
    """The prompt itself, refused when there is nothing in it: an empty variable in a script, more often than not."""
    if not text.strip():
        raise UsageError(f"{where} is empty", hint="Say what you want to know, in quotes, or leave it out.")
    try:
        text.encode()
    except UnicodeEncodeError as error:  # how Python passes on an argument's bytes that are none
        raise UsageError(f"{where} is not UTF-8 text", hint="Check the terminal's encoding.") from error
    return text


def format_image_label(number: int, name: str) -> str:
    """The text part before one of several images: its number, and its name without the folder, which is private."""
    bare = name.split("?", maxsplit=1)[0].rstrip("/").replace("\\", "/").rpartition("/")[2]
    known = bare and bare != "-" and not name.startswith("data:")
    return f"Image {number}: {escape_control_characters(bare)}" if known else f"Image {number}"


def _read_file(name: str, option: str) -> bytes:
    try:
        return Path(name).expanduser().read_bytes()
    except (OSError, ValueError, RuntimeError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise UsageError(
            f"cannot read {name}, named by {option}: {reason}",
            hint=f"For a text that begins with @, double it: {option} '@@{name}'",
        ) from error


def _decode_text(data: bytes, name: str) -> str:
    try:
        return data.decode("utf-8-sig").rstrip("\r\n")
    except UnicodeDecodeError as error:
        raise UsageError(
            f"{name} is not UTF-8 text", hint="The prompt is text; images are named without -p."
        ) from error


#: What may stand in a prompt; all but ``{index}`` need to know which image is meant.
PLACEHOLDERS = ("name", "stem", "dir", "index")
_SINGLE_IMAGE_PLACEHOLDERS = frozenset({"name", "stem", "dir"})
#: What an image is called that has no name of its own: standard input, a ``data:`` URL.
_FALLBACK_NAME = "image"
_BRACES = re.compile(r"\{\{|\}\}|\{(?P<word>[A-Za-z_]\w*)\}")
#: Other words for ours, which people know from elsewhere.
_SYNONYMS = {"filename": "name", "file_name": "name", "idx": "index"}
#: Characters; what is left of a shorter word when one is dropped may be anything.
_MIN_LENGTH_TO_DROP_LETTER = 4


def placeholder_values(image: Source, index: int) -> dict[str, str]:
    """What the words stand for: the file's name, the same without its suffix, its folder's own name, the image's place.

    Of a link they are the last part of its path and the part before it, or the host.

    Args:
        index: place in the run, from 1.
    """
    match image:
        case File():
            folder, name = os.path.split(os.path.abspath(image.path))
        case Link():
            parts = urlsplit(image.name)
            folder, _, name = f"{parts.hostname or ''}{parts.path}".rstrip("/").rpartition("/")
            name = unquote(name)
        case _:
            folder, name = "", _FALLBACK_NAME
    found = {"name": name, "stem": os.path.splitext(name)[0], "dir": unquote(os.path.basename(folder))}
    return {key: escape_control_characters(text) for key, text in found.items()} | {"index": str(index)}


def expand_placeholders(text: str, values: Mapping[str, str]) -> str:
    """The prompt with everything put in; ``{{`` is a brace, and ``}}`` too where it closes one, so that JSON survives.

    What is put in is not looked at again.

    Args:
        values: see ``values``.

    Raises:
        UsageError: a word in braces that is almost one of ours.
    """
    return "".join(_iter_expanded(text, values))


def _iter_expanded(text: str, values: Mapping[str, str]) -> Iterator[str]:
    end = opened = 0
    for found in _BRACES.finditer(text):
        yield text[end : found.start()]
        end = found.end()
        match found[0]:
            case "{{":
                opened += 1
                yield "{"
            case "}}" if opened:
                opened -= 1
                yield "}"
            case "}}":
                yield "}}"
            case whole:
                yield values[found["word"]] if found["word"] in values else _check_unknown_word(whole, found["word"])
    yield text[end:]


def _check_unknown_word(whole: str, word: str) -> str:
    """A word in braces that is none of ours is text, unless it is a slip of the pen."""
    meant = _SYNONYMS.get(word.lower()) or next(
        (name for name in PLACEHOLDERS if word.lower() in _list_typos(name)), None
    )
    if meant:
        raise UsageError(
            f"{whole} in the prompt stands for nothing",
            hint=f"Did you mean {{{meant}}}? For braces that are text, double them: {{{whole}}}",
        )
    return whole


def _list_typos(name: str) -> set[str]:
    """What fingers make of a word: two letters swapped, one doubled, one left out.

    No other letter comes in: ``{names}``, ``{item}`` and ``{die}`` are words.
    """
    parts = [(name[:at], name[at:]) for at in range(len(name))]
    swapped = {head + tail[1] + tail[0] + tail[2:] for head, tail in parts if len(tail) > 1}
    doubled = {head + tail[0] + tail for head, tail in parts}
    dropped = {head + tail[1:] for head, tail in parts if len(name) >= _MIN_LENGTH_TO_DROP_LETTER}
    return {name} | swapped | doubled | dropped


def check_placeholders(text: str, *, images: int) -> None:
    """Refuse a prompt that could not be filled in, before anything is asked.

    Args:
        images: how many go into one request.

    Raises:
        UsageError: a slip, or a word that needs one image where there are several.
    """
    used: set[str] = set()
    expand_placeholders(text, _UsageRecorder(used))
    ambiguous = used & _SINGLE_IMAGE_PLACEHOLDERS
    if images > 1 and ambiguous:
        name = min(ambiguous)
        raise UsageError(
            f"{{{name}}} in the prompt could be any of {images} images", hint="--each asks about each by itself."
        )


class _UsageRecorder(dict[str, str]):
    """Values that take note of who asks for them."""

    def __init__(self, used: set[str]) -> None:
        super().__init__(dict.fromkeys(PLACEHOLDERS, ""))
        self._used = used

    def __getitem__(self, name: str) -> str:
        self._used.add(name)
        return super().__getitem__(name)


def build_image_parts(images: Sequence["PreparedImageOrLink"], *, labels: bool) -> "tuple[ImagePart, ...]":
    """The images as they go into a request, each of several with its label where ``labels`` are wanted."""
    from ..client.request import ImagePart

    labelled = labels and len(images) > 1
    names = [format_image_label(number, image.name) if labelled else None for number, image in enumerate(images, 1)]
    return tuple(ImagePart(image.url, name) for image, name in zip(images, names, strict=True))
