"""Find the images in a folder and its subfolders, in natural order and filtered by patterns as in a ``.gitignore``.

The home of pathspec.
"""

import os
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

from ..errors import UsageError
from ..frozen import frozen
from ..images.sources import has_readable_suffix
from ..text import natural_key

if TYPE_CHECKING:
    from pathspec import GitIgnoreSpec

#: Separates the sort key of an entry from its name. It sorts before all other characters, and no name contains it.
_NAME_SEPARATOR = "\0\0"


@frozen
class Patterns:
    """A file is selected if ``include`` (where there is one) matches it and ``exclude`` does not."""

    include: "GitIgnoreSpec | None"
    exclude: "GitIgnoreSpec"

    def accepts_file(self, path: str) -> bool:
        """Whether a file is selected; its path is relative, with slashes."""
        return (self.include is None or self.include.match_file(path)) and not self.exclude.match_file(path)

    def accepts_folder(self, path: str) -> bool:
        """Whether to search a folder at all."""
        return not self.exclude.match_file(f"{path}/")


def parse_patterns(include: Sequence[str], exclude: Sequence[str]) -> Patterns | None:
    """Parse the patterns of ``--include`` and ``--exclude``; ``None`` without any.

    Raises:
        UsageError: a pattern is invalid.
    """
    if not include and not exclude:
        return None
    return Patterns(_parse_spec("--include", include) if include else None, _parse_spec("--exclude", exclude))


def _parse_spec(option: str, lines: Sequence[str]) -> "GitIgnoreSpec":
    from pathspec import GitIgnoreSpec  # few command lines have patterns

    try:
        # The other backends, which are used where they are installed, reject names that are not UTF-8.
        return GitIgnoreSpec.from_lines(lines, backend="simple")
    except ValueError as error:
        raise UsageError(f"invalid pattern for {option}: {error}", hint="Write patterns as in a .gitignore.") from error


class FolderImage(NamedTuple):
    """An image: its path, and the path relative to the searched folder, with slashes."""

    path: str
    relative_path: str


@frozen
class UnreadableFolder:
    """A folder that cannot be read."""

    path: str
    reason: str


class _OpenFolder(NamedTuple):
    """A folder that is being searched; its remaining entries are in reverse order."""

    path: str
    relative_path: str
    identity: tuple[int, int]
    entries: list[str]


def find_images(
    folder: str, *, include_hidden: bool = False, patterns: Patterns | None = None
) -> Iterator[FolderImage | UnreadableFolder]:
    """Find all images below a folder, in natural order, with the names of only one folder per level in memory.

    Links to files and folders are followed, except back into a folder that contains them.

    Args:
        include_hidden: also search files and folders whose names begin with a dot.
    """
    levels: list[_OpenFolder] = []
    yield from _enter_folder(levels, folder, "", include_hidden=include_hidden)
    while levels:
        level = levels[-1]
        if not level.entries:
            levels.pop()
            continue
        name = level.entries.pop().rpartition(_NAME_SEPARATOR)[2]
        is_folder = name.endswith("/")
        name = name.removesuffix("/")
        path, relative_path = os.path.join(level.path, name), level.relative_path + name
        if is_folder and (patterns is None or patterns.accepts_folder(relative_path)):
            yield from _enter_folder(levels, path, relative_path + "/", include_hidden=include_hidden)
        elif not is_folder and (patterns is None or patterns.accepts_file(relative_path)):
            yield FolderImage(path, relative_path)


def _enter_folder(
    levels: list[_OpenFolder], path: str, relative_path: str, *, include_hidden: bool
) -> Iterator[UnreadableFolder]:
    """Add a folder to the levels, unless it is one of them already; yield it if it cannot be read."""
    try:
        status = os.stat(path)
        identity = (status.st_dev, status.st_ino)
        if all(level.identity != identity for level in levels):
            entries = _list_entries(path, include_hidden=include_hidden)
            levels.append(_OpenFolder(path, relative_path, identity, entries))
    except OSError as error:
        yield UnreadableFolder(path, error.strerror or str(error))


def _list_entries(path: str, *, include_hidden: bool) -> list[str]:
    """List the images and folders in a folder in reverse order: sort key, separator, name, and a slash after folders.

    One string holds the sort key and the name: a million entries take 100 MB instead of 400.
    """
    with os.scandir(path) as scan:
        entries = [
            natural_key(entry.name) + (_NAME_SEPARATOR + entry.name) + ("/" if is_folder else "")
            for entry in scan
            if (include_hidden or not entry.name.startswith("."))
            and ((is_folder := _is_folder(entry)) or has_readable_suffix(entry.name))
        ]
    entries.sort(reverse=True)
    return entries


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False
