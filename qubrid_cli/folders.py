"""The images in a folder and all below it, found one after the other, in the order that people count."""

import os
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from .frozen import frozen

if TYPE_CHECKING:  # it loads pathspec, which is needed only where there are patterns
    from .ignoring import Patterns

#: The endings of formats that can be read; in a folder, only such files are meant.
_IMAGE_SUFFIX = re.compile(
    r".*\.(jpe?g|jpe|jfif|a?png|gif|webp|avif|hei[cf]|hif|tiff?|bmp|dib|ico|jp2|j2k|jpx|p[bgnp]m|qoi|tga|mpo)",
    re.IGNORECASE | re.DOTALL,
)
_DIGITS = re.compile("0*([0-9]+)")
#: Stands between what a name is sorted by and the name; it sorts before all else, and no name has it.
_NAME = "\0\0"


@frozen
class Closed:
    """A folder that cannot be read, and why not."""

    path: str
    reason: str


class Image(NamedTuple):
    """A file in a folder: its path, and the one within the folder that was named, with slashes."""

    path: str
    within: str


class _Level(NamedTuple):
    """A folder that is being walked through; its entries are in the order from the last to the first."""

    path: str
    within: str
    identity: tuple[int, int]
    entries: list[str]


def is_image(name: str) -> bool:
    """Whether a file in a folder is meant, by its ending."""
    return _IMAGE_SUFFIX.fullmatch(name) is not None


def images(folder: str, *, hidden: bool = False, patterns: "Patterns | None" = None) -> Iterator[Image | Closed]:
    """All images below a folder, in natural order; only the names of one folder a level are in memory.

    Links to files and folders are followed, but not back into a folder that they are in.

    Args:
        hidden: also files and folders whose name begins with a dot.
    """
    levels: list[_Level] = []
    yield from _entered(levels, folder, "", hidden=hidden)
    while levels:
        level = levels[-1]
        if not level.entries:
            levels.pop()
            continue
        name = level.entries.pop().rpartition(_NAME)[2]
        within, is_folder = level.within + name.removesuffix("/"), name.endswith("/")
        path = os.path.join(level.path, name.removesuffix("/"))
        if is_folder and (patterns is None or patterns.wants_folder(within)):
            yield from _entered(levels, path, within + "/", hidden=hidden)
        elif not is_folder and (patterns is None or patterns.wants_file(within)):
            yield Image(path, within)


def _entered(levels: list[_Level], path: str, within: str, *, hidden: bool) -> Iterator[Closed]:
    """Go down into a folder, unless that leads round in a circle; or say why that is not possible."""
    try:
        status = os.stat(path)
        identity = (status.st_dev, status.st_ino)
        if all(level.identity != identity for level in levels):
            levels.append(_Level(path, within, identity, _entries(path, hidden=hidden)))
    except OSError as error:
        yield Closed(path, error.strerror or str(error))


def _entries(path: str, *, hidden: bool) -> list[str]:
    """The names of the images and, with a slash behind them, of the folders in a folder.

    A million of them are kept in one string each, which holds what it is sorted by as well: 100 MB instead of 400.
    """
    with os.scandir(path) as found:
        entries = [
            _sortable(entry.name) + (_NAME + entry.name) + ("/" if is_folder else "")
            for entry in found
            if (hidden or not entry.name.startswith(".")) and ((is_folder := _is_folder(entry)) or is_image(entry.name))
        ]
    entries.sort(reverse=True)
    return entries


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads to itself
        return False


def _sortable(name: str) -> str:
    """A text that sorts as people count, ``2.jpg`` before ``10.jpg``: before a number, its length."""
    return _DIGITS.sub(lambda match: f"\0{chr(1 + len(match[1]))}{match[1]}", name)
