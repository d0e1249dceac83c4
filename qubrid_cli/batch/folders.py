"""The images in a folder and all below it, found one after the other, in the order that people count."""

# MERGED DOCSTRING of qubrid_cli.ignoring: Patterns that take images in or leave them out, as in a ``.gitignore``. The home of pathspec.

import os
import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

from ..errors import UsageError
from ..frozen import frozen

if TYPE_CHECKING:
    from pathspec import GitIgnoreSpec


@frozen
class Patterns:
    """What is wanted: something of ``include``, where there is any, and nothing of ``exclude``."""

    include: "GitIgnoreSpec | None"
    exclude: "GitIgnoreSpec"

    def accepts_file(self, path: str) -> bool:
        """Whether a file is wanted; its path is relative, with slashes."""
        return (self.include is None or self.include.match_file(path)) and not self.exclude.match_file(path)

    def accepts_folder(self, path: str) -> bool:
        """Whether to look into a folder at all."""
        return not self.exclude.match_file(f"{path}/")


def parse_patterns(include: Sequence[str], exclude: Sequence[str]) -> Patterns:
    """Patterns ready for use.

    Raises:
        UsageError: one cannot be read.
    """
    return Patterns(_parse_spec("--include", include) if include else None, _parse_spec("--exclude", exclude))


def _parse_spec(option: str, lines: Sequence[str]) -> "GitIgnoreSpec":
    from pathspec import GitIgnoreSpec  # for the few command lines with patterns

    try:
        # Its other engines, used where they happen to be installed, take no names that are not UTF-8.
        return GitIgnoreSpec.from_lines(lines, backend="simple")
    except ValueError as error:
        raise UsageError(
            f"{option} has a pattern that cannot be read: {error}", hint="They are those of a .gitignore."
        ) from error


#: The endings of formats that can be read; in a folder, only such files are meant.
_IMAGE_SUFFIX = re.compile(
    r".*\.(jpe?g|jpe|jfif|a?png|gif|webp|avif|hei[cf]|hif|tiff?|bmp|dib|ico|jp2|j2k|jpx|p[bgnp]m|qoi|tga|mpo)",
    re.IGNORECASE | re.DOTALL,
)
_DIGITS = re.compile("0*([0-9]+)")
#: Stands between what a name is sorted by and the name; it sorts before all else, and no name has it.
_NAME_SEPARATOR = "\0\0"


@frozen
class UnreadableFolder:
    """A folder that cannot be read, and why not."""

    path: str
    reason: str


class FolderImage(NamedTuple):
    """A file in a folder: its path, and the one within the folder that was named, with slashes."""

    path: str
    relative_path: str


class _OpenFolder(NamedTuple):
    """A folder that is being walked through; its entries are in the order from the last to the first."""

    path: str
    relative_path: str
    identity: tuple[int, int]
    entries: list[str]


def is_image(name: str) -> bool:
    """Whether a file in a folder is meant, by its ending."""
    return _IMAGE_SUFFIX.fullmatch(name) is not None


def find_images(
    folder: str, *, include_hidden: bool = False, patterns: "Patterns | None" = None
) -> Iterator[FolderImage | UnreadableFolder]:
    """All images below a folder, in natural order; only the names of one folder a level are in memory.

    Links to files and folders are followed, but not back into a folder that they are in.

    Args:
        include_hidden: also files and folders whose name begins with a dot.
    """
    levels: list[_OpenFolder] = []
    yield from _enter_folder(levels, folder, "", include_hidden=include_hidden)
    while levels:
        level = levels[-1]
        if not level.entries:
            levels.pop()
            continue
        name = level.entries.pop().rpartition(_NAME_SEPARATOR)[2]
        within, is_folder = level.relative_path + name.removesuffix("/"), name.endswith("/")
        path = os.path.join(level.path, name.removesuffix("/"))
        if is_folder and (patterns is None or patterns.accepts_folder(within)):
            yield from _enter_folder(levels, path, within + "/", include_hidden=include_hidden)
        elif not is_folder and (patterns is None or patterns.accepts_file(within)):
            yield FolderImage(path, within)


def _enter_folder(
    open_folders: list[_OpenFolder], path: str, relative_path: str, *, include_hidden: bool
) -> Iterator[UnreadableFolder]:
    """Go down into a folder, unless that leads round in a circle; or say why that is not possible."""
    try:
        status = os.stat(path)
        identity = (status.st_dev, status.st_ino)
        if all(level.identity != identity for level in open_folders):
            open_folders.append(
                _OpenFolder(path, relative_path, identity, _list_entries(path, include_hidden=include_hidden))
            )
    except OSError as error:
        yield UnreadableFolder(path, error.strerror or str(error))


def _list_entries(path: str, *, include_hidden: bool) -> list[str]:
    """The names of the images and, with a slash behind them, of the folders in a folder.

    A million of them are kept in one string each, which holds what it is sorted by as well: 100 MB instead of 400.
    """
    with os.scandir(path) as found:
        entries = [
            _build_sort_key(entry.name) + (_NAME_SEPARATOR + entry.name) + ("/" if is_folder else "")
            for entry in found
            if (include_hidden or not entry.name.startswith("."))
            and ((is_folder := _is_folder(entry)) or is_image(entry.name))
        ]
    entries.sort(reverse=True)
    return entries


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads to itself
        return False


def _build_sort_key(name: str) -> str:
    """A text that sorts as people count, ``2.jpg`` before ``10.jpg``: before a number, its length."""
    return _DIGITS.sub(lambda match: f"\0{chr(1 + len(match[1]))}{match[1]}", name)
