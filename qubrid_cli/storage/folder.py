"""What a folder can do, whether it is on a disk or in a bucket."""

import io
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from ..errors import StorageError
from ..frozen import frozen


@frozen
class Version:
    """A version of an object: it differs from that of the object with any other content.

    Attributes:
        etag: what the storage calls the content.
        number: what the storage calls the version; Google has only this.
    """

    etag: str | None
    number: str | None = None


@frozen
class StoredObject:
    """The content of an object and its version, which belong together."""

    data: bytes
    version: Version


@frozen
class StoredItem:
    """An entry of a list: the name in the folder, with slashes, the size in bytes, and the version.

    Attributes:
        version: ``None`` for a file on a disk.
    """

    name: str
    size: int
    version: Version | None = None


class RangeFile(io.RawIOBase):
    """A file of which only those parts are read that are needed; for one thread at a time.

    Args:
        read_range: returns the bytes from a position up to another one.

    Attributes:
        version: of all that is read.
    """

    def __init__(self, size: int, version: Version, read_range: Callable[[int, int], bytes]) -> None:
        self.version = version
        self._size = size
        self._read_range = read_range
        self._position = 0

    def readable(self) -> bool:
        """Whether it can be read."""
        return True

    def seekable(self) -> bool:
        """Whether it has positions."""
        return True

    def tell(self) -> int:
        """The position."""
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move to a position."""
        self._position = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._size}[whence]
        return self._position

    def readinto(self, buffer: Any) -> int:
        """Read at the position; fewer bytes at the end only."""
        end = min(self._position + len(buffer), self._size)
        if end <= self._position:
            return 0
        data = self._read_range(self._position, end)
        buffer[: len(data)] = data
        self._position += len(data)
        return len(data)


class Folder(Protocol):
    """A folder on a disk or in a bucket. Names have slashes between their parts, and their folders need not exist.

    All methods may be called from any thread, and a folder can be pickled: credentials are not, the other process has its
    own. An object is written whole or not at all, and readers see the old one or the new one.

    All methods raise:
        ConfigError: the credentials, the region or the endpoint cannot be used, or a library is not installed.
        StorageError: what was requested could not be read.
        OutputError: what was requested could not be written.
    """

    @property
    def url(self) -> str:
        """The path or the URL, with a slash at the end."""

    def read(self, name: str, *, max_bytes: int | None = None) -> bytes:
        """The content of an object.

        Raises:
            MissingObjectError: there is none.
            StorageError: it has more than ``max_bytes``, among other reasons.
        """

    def read_versioned(self, name: str) -> StoredObject:
        """The content of an object and its version.

        Raises:
            MissingObjectError: there is none.
        """

    def open(self, name: str) -> BinaryIO:
        """A stream of the content from its start to its end, for objects larger than the memory.

        Raises:
            MissingObjectError: there is none.
        """

    def find_version(self, name: str) -> Version | None:
        """The version of an object; ``None`` if there is none."""

    def exists(self, name: str) -> bool:
        """Whether there is an object with this name."""

    def put(self, name: str, data: bytes) -> Version:
        """Write an object, in place of another one if there is one."""

    def upload(self, name: str, path: Path) -> None:
        """Write an object from a file, which may be larger than the memory, in place of another one if there is one."""

    def create(self, name: str, data: bytes) -> Version | None:
        """Write an object unless there is one; then return ``None``, and of several writers only one succeeds.

        If the same bytes are there already, as after a response that was lost, that is a success too.
        """

    def update(self, name: str, data: bytes, version: Version) -> Version | None:
        """Replace this version of an object; ``None`` if there is another one by now, or none.

        If the same bytes are there already, as after a response that was lost, that is a success too.
        """

    def delete(self, name: str) -> None:
        """Delete an object, if there is one."""

    def list(self, prefix: str = "") -> Iterator[StoredItem]:
        """Iterate over all objects in the folder and the folders in it, a page at a time, in no particular order.

        Args:
            prefix: only those in this folder; it ends with a slash.
        """


def too_large_error(location: str, max_bytes: int) -> StorageError:
    """The error for an object that is larger than it may be."""
    hint = "Shrink it with an image editor first."
    return StorageError(f"{location} is larger than {max_bytes // 10**6} MB", hint=hint, code="too_large")


def join_name(folder: str, name: str) -> str:
    """The path or URL of an object.

    Raises:
        StorageError: the name leads out of the folder, or nowhere.
    """
    if not name or any(part in {"", ".", ".."} for part in name.split("/")):
        hint = "A name with an empty part, or with . or .. as a part, is not supported."
        raise StorageError(f"{folder}{name} does not name an object", hint=hint)
    return folder + name
