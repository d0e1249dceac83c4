"""What stands for an image in a prompt: ``{name}``, ``{stem}``, ``{dir}`` and ``{index}``. Pure."""

import os
import re
from collections.abc import Iterator, Mapping
from urllib.parse import unquote, urlsplit

from .errors import UsageError, printable
from .sources import File, Link, Source

#: What may stand in a prompt; all but ``{index}`` need to know which image is meant.
NAMES = ("name", "stem", "dir", "index")
_OF_ONE_IMAGE = frozenset({"name", "stem", "dir"})
#: What an image is called that has no name of its own: standard input, a ``data:`` URL.
_NAMELESS = "image"
_PIECES = re.compile(r"\{\{|\}\}|\{(?P<word>[A-Za-z_]\w*)\}")
#: Other words for ours, which people know from elsewhere.
_FOREIGN = {"filename": "name", "file_name": "name", "idx": "index"}
#: Characters; what is left of a shorter word when one is dropped may be anything.
_LONG = 4


def values(image: Source, index: int) -> dict[str, str]:
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
            folder, name = "", _NAMELESS
    found = {"name": name, "stem": os.path.splitext(name)[0], "dir": unquote(os.path.basename(folder))}
    return {key: printable(text) for key, text in found.items()} | {"index": str(index)}


def expanded(text: str, known: Mapping[str, str]) -> str:
    """The prompt with everything put in; ``{{`` is a brace, and ``}}`` too where it closes one, so that JSON survives.

    What is put in is not looked at again.

    Args:
        known: see ``values``.

    Raises:
        UsageError: a word in braces that is almost one of ours.
    """
    return "".join(_pieces(text, known))


def _pieces(text: str, known: Mapping[str, str]) -> Iterator[str]:
    end = opened = 0
    for found in _PIECES.finditer(text):
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
                yield known[found["word"]] if found["word"] in known else _text(whole, found["word"])
    yield text[end:]


def _text(whole: str, word: str) -> str:
    """A word in braces that is none of ours is text, unless it is a slip of the pen."""
    meant = _FOREIGN.get(word.lower()) or next((name for name in NAMES if word.lower() in _slips(name)), None)
    if meant:
        raise UsageError(
            f"{whole} in the prompt stands for nothing",
            hint=f"Did you mean {{{meant}}}? For braces that are text, double them: {{{whole}}}",
        )
    return whole


def _slips(name: str) -> set[str]:
    """What fingers make of a word: two letters swapped, one doubled, one left out.

    No other letter comes in: ``{names}``, ``{item}`` and ``{die}`` are words.
    """
    parts = [(name[:at], name[at:]) for at in range(len(name))]
    swapped = {head + tail[1] + tail[0] + tail[2:] for head, tail in parts if len(tail) > 1}
    doubled = {head + tail[0] + tail for head, tail in parts}
    dropped = {head + tail[1:] for head, tail in parts if len(name) >= _LONG}
    return {name} | swapped | doubled | dropped


def check(text: str, *, images: int) -> None:
    """Refuse a prompt that could not be filled in, before anything is asked.

    Args:
        images: how many go into one request.

    Raises:
        UsageError: a slip, or a word that needs one image where there are several.
    """
    used: set[str] = set()
    expanded(text, _Noted(used))
    ambiguous = used & _OF_ONE_IMAGE
    if images > 1 and ambiguous:
        name = min(ambiguous)
        raise UsageError(
            f"{{{name}}} in the prompt could be any of {images} images", hint="--each asks about each by itself."
        )


class _Noted(dict[str, str]):
    """Values that take note of who asks for them."""

    def __init__(self, used: set[str]) -> None:
        super().__init__(dict.fromkeys(NAMES, ""))
        self._used = used

    def __getitem__(self, name: str) -> str:
        self._used.add(name)
        return super().__getitem__(name)
