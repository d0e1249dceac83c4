"""The operations of a folder, whether it is on a disk or in a bucket."""

import io
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from ..errors import StorageError
from ..frozen import frozen


@frozen
class StorageOptions:
    """The timeouts and retries of requests to a bucket.

    Attributes:
        timeout: seconds without data.
        retries: after a temporary failure.
        max_seconds: for a whole request, and for its retries; ``None`` for no limit.
    """

    timeout: float = 60.0
    retries: int = 4
    max_seconds: float | None = None


@frozen
class Version:
    """The version of an object, which is different for different content.

    Attributes:
        etag: the storage's name for the content.
        number: the storage's name for the version; Google has only this one.
    """

    etag: str | None
    number: str | None = None


@frozen
class StoredObject:
    """The content of an object, and the version of exactly this content."""

    data: bytes
    version: Version


@frozen
class StoredItem:
    """An entry of a list.

    Attributes:
        name: relative to the folder, with slashes.
        size: bytes.
        version: ``None`` for a file on a disk.
    """

    name: str
    size: int
    version: Version | None = None


class RangeFile(io.RawIOBase):
    """A file that reads only the parts that are needed; for one thread at a time.

    Args:
        read_range: returns the bytes from a first to a last position, which is not included.

    Attributes:
        version: of the object; all parts are of this version.
    """

    def __init__(self, size: int, version: Version, read_range: Callable[[int, int], bytes]) -> None:
        self.version = version
        self._size = size
        self._read_range = read_range
        self._position = 0

    def readable(self) -> bool:
        """See ``io.IOBase``."""
        return True

    def seekable(self) -> bool:
        """See ``io.IOBase``."""
        return True

    def tell(self) -> int:
        """See ``io.IOBase``."""
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """See ``io.IOBase``."""
        self._position = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._size}[whence]
        return self._position

    def readinto(self, buffer: Any) -> int:
        """See ``io.RawIOBase``. Fewer bytes than requested are read only at the end."""
        end = min(self._position + len(buffer), self._size)
        if end <= self._position:
            return 0
        data = self._read_range(self._position, end)
        buffer[: len(data)] = data
        self._position += len(data)
        return len(data)


class Folder(Protocol):
    """A folder on a disk or in a bucket. Names have slashes between their parts, and their folders need not exist.

    All methods may be called from any thread. A folder can be pickled, but without credentials: the other process has its
    own. Objects are written and replaced atomically.

    All methods raise:
        ConfigError: the credentials, the region or the endpoint cannot be used, or a library is not installed.
        StorageError: an object or a list cannot be read.
        OutputError: an object cannot be written or deleted.
    """

    @property
    def url(self) -> str:
        """The path or the URL, which ends with a slash."""

    def read(self, name: str, *, max_bytes: int | None = None) -> bytes:
        """Read an object.

        Raises:
            MissingObjectError: it does not exist.
            StorageError: it has more than ``max_bytes``, or cannot be read.
        """

    def read_versioned(self, name: str) -> StoredObject:
        """Read an object and its version.

        Raises:
            MissingObjectError: it does not exist.
        """

    def open(self, name: str) -> BinaryIO:
        """Open an object as a stream from its start to its end; it may be larger than the memory.

        Raises:
            MissingObjectError: it does not exist.
        """

    def find_version(self, name: str) -> Version | None:
        """The version of an object; ``None`` if it does not exist."""

    def exists(self, name: str) -> bool:
        """Whether there is an object with this name."""

    def put(self, name: str, data: bytes) -> Version:
        """Write an object, or replace it if it exists."""

    def upload(self, name: str, path: Path) -> None:
        """Write or replace an object with the content of a file, which may be larger than the memory."""

    def create(self, name: str, data: bytes) -> Version | None:
        """Write an object if it does not exist, else return ``None``; of several writers, only one succeeds.

        If the object has the same bytes already, as after a lost response, that is a success too.
        """

    def update(self, name: str, data: bytes, version: Version) -> Version | None:
        """Replace an object if it still has this version, else return ``None``.

        If the object has the same bytes already, as after a lost response, that is a success too.
        """

    def delete(self, name: str) -> None:
        """Delete an object, if it exists."""

    def list(self, prefix: str = "") -> Iterator[StoredItem]:
        """Iterate over all objects in the folder and its subfolders, a page at a time, in no particular order.

        Args:
            prefix: a subfolder, which ends with a slash, to which the list is limited.
        """


def too_large_error(location: str, max_bytes: int) -> StorageError:
    """The error for an object that is larger than allowed."""
    hint = "Shrink it with an image editor first."
    return StorageError(f"{location} is larger than {max_bytes // 10**6} MB", hint=hint, code="too_large")


def join_name(folder: str, name: str) -> str:
    """The path or URL of an object.

    Raises:
        StorageError: the name is empty, or has an empty part, ``.`` or ``..``.
    """
    if not name or any(part in {"", ".", ".."} for part in name.split("/")):
        hint = "A name with an empty part, or with . or .. as a part, is not supported."
        raise StorageError(f"{folder}{name} does not name an object", hint=hint)
    return folder + name
