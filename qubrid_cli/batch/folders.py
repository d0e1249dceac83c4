"""Find the images in a folder and its subfolders, in natural order.

They are selected by patterns as in a ``.gitignore``, and by shard. The home of pathspec.
"""

import hashlib
import os
import re
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

from ..errors import StorageError, UsageError
from ..frozen import frozen
from ..images.suffixes import has_readable_suffix
from ..text import natural_key
from ..urls import is_object_url
from .left_out import LeftOut, is_junk_file, is_preview_folder

if TYPE_CHECKING:
    from pathspec import GitIgnoreSpec

    from ..storage.folder import Folder, StorageOptions, StoredItem

#: Separates the sort key of an entry from its name. It sorts before all other characters, and no name contains it.
_NAME_SEPARATOR = "\0\0"


@frozen
class Patterns:
    """A file is selected if ``include`` (if there is one) matches it and ``exclude`` does not."""

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


@frozen
class Shard:
    """Part ``number`` of ``count``, from 1 on, so that several machines can divide the images without communicating."""

    number: int
    count: int

    def contains(self, path: str) -> bool:
        """Whether an image is in this shard: by a hash of its path, so the same on every machine and in every run.

        Args:
            path: relative to the folder argument; for other arguments, the argument itself.
        """
        digest = hashlib.blake2b(os.fsencode(_normalize_path(path)), digest_size=8).digest()
        return int.from_bytes(digest) % self.count == self.number - 1


def _normalize_path(path: str) -> str:
    """Return the same path for all paths that name the same file on machines that write them differently.

    A path may have backslashes, a ``./`` before it, or accents as separate characters (macOS).
    """
    if "://" not in path:
        path = path.replace("\\", "/").removeprefix("./")
    if path.isascii():
        return path
    import unicodedata

    return unicodedata.normalize("NFC", path)


def parse_shard(text: str) -> Shard:
    """Parse a shard, ``I/N``.

    Raises:
        UsageError: it is not valid.
    """
    match = re.fullmatch(r"(\d{1,9})/(\d{1,9})", text, re.ASCII)
    if match is None or not 1 <= int(match[1]) <= int(match[2]):
        raise UsageError(f"invalid value for --shard: {text}", hint="For the second of four shards: --shard 2/4")
    return Shard(int(match[1]), int(match[2]))


class FolderImage(NamedTuple):
    """An image: its path or URL, and the path relative to the searched folder, with slashes.

    Attributes:
        version: of an object in a bucket; it changes with the content.
    """

    path: str
    relative_path: str
    version: str | None = None


@frozen
class UnreadableFolder:
    """A folder that cannot be read."""

    path: str
    reason: str
    hint: str | None = "Check its permissions."
    code: str | None = None


class _OpenFolder(NamedTuple):
    """A folder that is being searched; its path ends with a separator, and its remaining entries are in reverse order."""

    path: str
    relative_path: str
    identity: tuple[int, int]
    entries: list[str]


def find_images_below(
    folder: str,
    *,
    include_hidden: bool,
    patterns: Patterns | None,
    left_out: LeftOut,
    storage: "Callable[[], StorageOptions] | None",
) -> Iterator[FolderImage | UnreadableFolder]:
    """Find all images below a folder, in natural order, with the names of only one folder per level in memory.

    Those in a bucket come in the order of the bucket, with one page of names in memory.

    Links to files and folders are followed, except back into a folder that contains them. Folders of previews and trash
    are left out, unless ``folder`` is one.

    Args:
        include_hidden: also search files and folders whose names begin with a dot.
        left_out: counts the files and folders that the patterns select, but that are left out.
        storage: returns how a bucket is read.
    """
    if is_object_url(folder):
        from ..storage.opening import open_folder

        objects = open_folder(folder, None if storage is None else storage())
        yield from _find_objects(objects, left_out, include_hidden=include_hidden, patterns=patterns)
        return
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
        path, relative_path = level.path + name, level.relative_path + name
        if patterns is not None:
            accepts = patterns.accepts_folder if is_folder else patterns.accepts_file
            if not accepts(relative_path):
                continue
        if not is_folder:
            if has_readable_suffix(name):
                yield FolderImage(path, relative_path)
            else:
                left_out.add_file(path)
        elif is_preview_folder(path):
            left_out.add_preview_folder(path)
        else:
            yield from _enter_folder(levels, path, relative_path + "/", include_hidden=include_hidden)


def require_objects(url: str, storage: "Callable[[], StorageOptions] | None" = None) -> None:
    """Check that there is something in a folder of a bucket; exceptions as for ``require_folder``."""
    from ..storage.opening import require_folder

    require_folder(url, None if storage is None else storage())


def _find_objects(
    folder: "Folder", left_out: LeftOut, *, include_hidden: bool, patterns: Patterns | None
) -> Iterator[FolderImage | UnreadableFolder]:
    """Find all images in a folder of a bucket and the folders in it."""
    try:
        for item in folder.list():
            *parents, name = item.name.split("/")
            is_hidden = not include_hidden and (name.startswith(".") or any(part.startswith(".") for part in parents))
            if is_hidden or is_junk_file(name) or not (patterns is None or patterns.accepts_file(item.name)):
                continue
            paths = ("/".join(parents[:count]) for count in range(1, len(parents) + 1))
            preview_folder = next(filter(is_preview_folder, paths), None)
            if preview_folder is not None:
                left_out.add_preview_folder(folder.url + preview_folder)
            elif has_readable_suffix(name):
                yield FolderImage(folder.url + item.name, item.name, _format_version(item))
            elif item.size:  # an empty object stands for a folder in the console of the provider
                left_out.add_file(folder.url + item.name)
    except StorageError as error:
        yield UnreadableFolder(folder.url, error.message, error.hint, error.code)


def _format_version(item: "StoredItem") -> str | None:
    if item.version is None or not (mark := item.version.etag or item.version.number):
        return None
    return "-".join((str(item.size), mark.strip('"')))


def _enter_folder(
    levels: list[_OpenFolder], path: str, relative_path: str, *, include_hidden: bool
) -> Iterator[UnreadableFolder]:
    """Add a folder to the levels, unless it is one of them already; yield it if it cannot be read."""
    try:
        status = os.stat(path)
        identity = (status.st_dev, status.st_ino)
        if all(level.identity != identity for level in levels):
            entries = _list_entries(path, include_hidden=include_hidden)
            levels.append(_OpenFolder(os.path.join(path, ""), relative_path, identity, entries))
    except OSError as error:
        yield UnreadableFolder(path, error.strerror or str(error))


def _list_entries(path: str, *, include_hidden: bool) -> list[str]:
    """List the files and folders in a folder in reverse order: sort key, separator, name, and a slash after folders.

    One string holds the sort key and the name: a million entries take 100 MB instead of 400.
    """
    with os.scandir(path) as scan:
        entries = [
            natural_key(entry.name) + (_NAME_SEPARATOR + entry.name) + ("/" if _is_folder(entry) else "")
            for entry in scan
            if (include_hidden or not entry.name.startswith(".")) and not is_junk_file(entry.name)
        ]
    entries.sort(reverse=True)
    return entries


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False
