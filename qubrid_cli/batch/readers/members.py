"""What tar files and Parquet files have in common: the images in them, their errors, and reading them forward."""

import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Generic, TypeVar

from ...errors import ImageError, StorageError
from ...frozen import frozen
from ...urls import is_object_url

#: Where an image is in its archive: offset and size in a tar file, row and column in a Parquet file.
Place = Sequence[int]

_Key = TypeVar("_Key", bound=Hashable)

#: Bytes of images that were read on the way to another one, and that another thread will probably need next.
_MAX_CACHED_BYTES = 64 << 20
#: Files that are kept open.
_MAX_READERS = 4


@frozen
class Member:
    """An image in an archive, or named by one.

    Attributes:
        name: in the archive; or a path or a URL.
        is_inside: the bytes of the image are in the archive.
        place: where they are; ``None`` if the archive has to be read up to them.
        row: the values of the other columns, or of the files beside the image; ``None`` if there are none.
    """

    name: str
    is_inside: bool = True
    place: Place | None = None
    prompt: str | None = None
    id: str | int | float | None = None
    row: Mapping[str, Any] | None = None


def identify(archive: str) -> object:
    """Return what differs if a file on a disk is replaced by another one; ``None`` for an object in a bucket.

    Raises:
        ImageError: there is no such file.
    """
    if is_object_url(archive):
        return None
    with translate_errors(archive):
        status = os.stat(archive)
    return status.st_size, status.st_mtime_ns


@contextmanager
def translate_errors(archive: str, *error_types: type[Exception]) -> Iterator[None]:
    """Turn errors about an archive into an ``ImageError``.

    Args:
        error_types: those of the library that reads it, besides ``OSError`` and ``ValueError``.
    """
    read_errors: tuple[type[Exception], ...] = (OSError, ValueError, *error_types)
    try:
        yield
    except StorageError as error:
        raise ImageError(error.message, hint=error.hint, code=error.code) from error
    except read_errors as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error).partition("\n")[0]
        raise ImageError(
            f"cannot read {archive}: {reason}", hint="Perhaps it is damaged, or the copy was cut off.", code="archive"
        ) from error


class ForwardReader(Generic[_Key]):
    """Reads the items of a file that can only be read forward, for threads that need them in nearly the same order.

    Its methods may be called from any thread.

    Args:
        open_at: iterates over the items; it may begin anywhere before the one with the key.
    """

    def __init__(self, open_at: Callable[[_Key], Iterator[tuple[_Key, bytes]]]) -> None:
        self._open_at = open_at
        self._items: Iterator[tuple[_Key, bytes]] = iter(())
        self._cache: OrderedDict[_Key, bytes] = OrderedDict()
        self._cached_bytes = 0
        self._lock = threading.Lock()

    def read(self, key: _Key) -> bytes | None:
        """Return the bytes of an item; ``None`` if no item has this key."""
        with self._lock:
            if (data := self._cache.get(key)) is not None:
                return data
            if (data := self._advance_to(key)) is None:
                self._items = self._open_at(key)
                data = self._advance_to(key)
            return data

    def _advance_to(self, key: _Key) -> bytes | None:
        for item_key, data in self._items:
            self._cached_bytes += len(data) - len(self._cache.get(item_key, b""))
            self._cache[item_key] = data
            while self._cached_bytes > _MAX_CACHED_BYTES and len(self._cache) > 1:
                self._cached_bytes -= len(self._cache.popitem(last=False)[1])
            if item_key == key:
                return data
        return None


class ForwardReaders(Generic[_Key]):
    """The readers of the files that were used last, by the identity of the file."""

    def __init__(self) -> None:
        self._readers: OrderedDict[object, ForwardReader[_Key]] = OrderedDict()
        self._lock = threading.Lock()

    def find(self, identity: object, open_at: Callable[[_Key], Iterator[tuple[_Key, bytes]]]) -> ForwardReader[_Key]:
        """Return the reader of a file."""
        with self._lock:
            reader = self._readers.setdefault(identity, ForwardReader(open_at))
            self._readers.move_to_end(identity)
            if len(self._readers) > _MAX_READERS:
                self._readers.popitem(last=False)
            return reader
