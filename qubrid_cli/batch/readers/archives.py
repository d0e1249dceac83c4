"""Archives of images: tar files, as WebDataset has them, and Parquet files.

An image in an archive is named like a file in a folder: ``shard.tar/000123.jpg``, ``data.parquet/17``.
"""

import os
import re
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from ...frozen import frozen
from ...images.arguments import expand_home
from ...images.sources import FetchedLink
from ...images.urls import is_object_url

if TYPE_CHECKING:
    from ...storage.opening import StorageOptions

_SUFFIX = r"\.(?:tar|tar\.gz|tgz|parquet)"
_MEMBER = re.compile(rf"(.+?{_SUFFIX})/(.+)", re.IGNORECASE | re.DOTALL)
#: Where an image is in its archive: offset and size in a tar file, row and column in a Parquet file.
Place = Sequence[int]

_Key = TypeVar("_Key", bound=Hashable)

#: Bytes of images that were passed and that another thread will probably want next.
_MAX_PASSED_BYTES = 64 << 20
#: Files that are kept open.
_MAX_READERS = 4


@frozen
class Member:
    """An image in an archive, or named by one.

    Attributes:
        name: in the archive; or a path or a URL.
        is_inside: its bytes are in the archive.
        place: where they are; ``None`` if the archive has to be read up to them.
        row: the other columns, or what stands beside it; ``None`` if there is nothing.
    """

    name: str
    is_inside: bool = True
    place: Place | None = None
    prompt: str | None = None
    id: str | int | float | None = None
    row: Mapping[str, Any] | None = None


def split_member(source: str) -> tuple[str, str] | None:
    """The path or URL of the archive of an image, and its name in it; ``None`` for an image that is in none."""
    match = _MEMBER.fullmatch(source)
    if match is None or is_object_url(match[1]):
        return None if match is None else (match[1], match[2])
    path = expand_home(match[1])
    return (path, match[2]) if os.path.isfile(path) else None


def find_members(
    archive: str, image_column: str | None = None, storage: "StorageOptions | None" = None
) -> Iterator[Member]:
    """Find the images of an archive, in order.

    Raises:
        ImageError: it cannot be read.
        UsageError: a Parquet file has no column of images.
    """
    if _is_parquet(archive):
        from . import parquet

        return parquet.find_members(_expand_path(archive), image_column, storage)
    from . import tar

    return tar.find_members(_expand_path(archive), storage)


def find_columns(
    archive: str, image_column: str | None = None, storage: "StorageOptions | None" = None
) -> Sequence[str] | None:
    """The columns of a Parquet file, or what stands beside the first image of a tar file; ``None`` if there is nothing.

    Exceptions are those of ``find_members``.
    """
    if _is_parquet(archive):
        from . import parquet

        return parquet.find_columns(_expand_path(archive), image_column, storage)
    first = next(find_members(archive, image_column, storage), None)
    return None if first is None or first.row is None else list(first.row)


def open_member(archive: str, name: str, place: Place | None, storage: "StorageOptions | None" = None) -> FetchedLink:
    """An image in an archive, which is read when it is needed."""
    source = f"{archive}/{name}"
    if _is_parquet(archive):
        from . import parquet

        return FetchedLink(source, partial(parquet.read_member, archive, name, place, storage))
    from . import tar

    return FetchedLink(source, partial(tar.read_member, archive, name, place, storage))


def _is_parquet(archive: str) -> bool:
    return archive.lower().endswith(".parquet")


def _expand_path(archive: str) -> str:
    return archive if is_object_url(archive) else expand_home(archive)


class ForwardReader(Generic[_Key]):
    """The items of a file that can only be read from the front, for threads that want them in nearly the same order.

    Its methods may be called from any thread.

    Args:
        open_at: iterates over the items; it may begin anywhere before the one with the key.
    """

    def __init__(self, open_at: Callable[[_Key], Iterator[tuple[_Key, bytes]]]) -> None:
        self._open_at = open_at
        self._items: Iterator[tuple[_Key, bytes]] = iter(())
        self._passed: OrderedDict[_Key, bytes] = OrderedDict()
        self._passed_bytes = 0
        self._lock = threading.Lock()

    def read(self, key: _Key) -> bytes | None:
        """The bytes of an item; ``None`` if there is none with this key."""
        with self._lock:
            if (data := self._passed.get(key)) is not None:
                return data
            if (data := self._advance_to(key)) is None:
                self._items = self._open_at(key)
                data = self._advance_to(key)
            return data

    def _advance_to(self, key: _Key) -> bytes | None:
        for other, data in self._items:
            self._passed[other] = data
            self._passed_bytes += len(data)
            while self._passed_bytes > _MAX_PASSED_BYTES and len(self._passed) > 1:
                self._passed_bytes -= len(self._passed.popitem(last=False)[1])
            if other == key:
                return data
        return None


class ForwardReaders(Generic[_Key]):
    """The readers of the files that were used last, each by what identifies its file."""

    def __init__(self) -> None:
        self._readers: OrderedDict[object, ForwardReader[_Key]] = OrderedDict()
        self._lock = threading.Lock()

    def find(self, identity: object, open_at: Callable[[_Key], Iterator[tuple[_Key, bytes]]]) -> ForwardReader[_Key]:
        """The reader of a file."""
        with self._lock:
            reader = self._readers.setdefault(identity, ForwardReader(open_at))
            self._readers.move_to_end(identity)
            if len(self._readers) > _MAX_READERS:
                self._readers.popitem(last=False)
            return reader
