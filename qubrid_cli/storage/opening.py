"""Open a folder by its path or URL, and read and write objects of buckets by their URLs."""

import os
from functools import lru_cache
from typing import TYPE_CHECKING, BinaryIO

from ..errors import ConfigError, MissingObjectError, StorageError
from ..urls import is_object_url
from .folder import StorageOptions

if TYPE_CHECKING:
    from pathlib import Path

    from .bucket import BucketFolder
    from .folder import Folder, RangeFile

#: The most buckets whose connections are kept.
_MAX_BUCKETS = 32


def require_folder(url: str, options: StorageOptions | None = None) -> None:
    """Check that a folder of a bucket exists, which means that it contains objects.

    Raises:
        ConfigError: see ``open_folder``; or the credentials or the region are refused.
        StorageError: the bucket cannot be read.
        MissingObjectError: the folder is empty.
    """
    folder = open_folder(url, options)
    if next(folder.list(), None) is None:
        raise MissingObjectError(f"there is nothing in {folder.url}", hint="Names are case-sensitive. Check the name.")


def open_folder(location: str, options: StorageOptions | None = None) -> "Folder":
    """Open a folder on a disk or in a bucket, which need not exist. Nothing is requested yet.

    Args:
        location: a path, or a URL such as ``s3://bucket/run1/``.

    Raises:
        ConfigError: the URL is invalid, the library for buckets is not installed, or the endpoint cannot be used.
    """
    if is_object_url(location):
        return _open_bucket_folder(location, options or StorageOptions())
    from .local import LocalFolder

    return LocalFolder(os.path.abspath(location))


def _open_bucket_folder(url: str, options: StorageOptions) -> "BucketFolder":
    try:
        from .bucket import BucketFolder
    except ImportError as error:
        from ..installation import format_install_command

        raise ConfigError(
            f"{url} is in a bucket, and the library that reads buckets is not installed",
            hint=f"Run: {format_install_command('obstore')}",
            code="needs_buckets",
        ) from error
    return BucketFolder(url, options)


def read_object(url: str, options: StorageOptions, *, max_bytes: int) -> bytes:
    """Read an object. May be called from any thread.

    Raises:
        ConfigError: the URL, the credentials, the region or the endpoint cannot be used, or a library is not installed.
        StorageError: it is missing, has more than ``max_bytes``, or cannot be read.
    """
    folder, name = _locate(url, options)
    return folder.read(name, max_bytes=max_bytes)


def open_object(url: str, options: StorageOptions) -> BinaryIO:
    """Open an object as a stream from its start to its end; reading it raises the exceptions of ``read_object``."""
    folder, name = _locate(url, options)
    return folder.open(name)


def open_object_ranges(url: str, options: StorageOptions) -> "RangeFile":
    """Open an object as a file that requests only the parts that are read; exceptions as for ``open_object``."""
    folder, name = _locate(url, options)
    return folder.open_ranges(name)


def exists_object(url: str) -> bool:
    """Whether an object exists in a bucket, which must exist; exceptions as for ``read_object``."""
    folder, name = _locate(url)
    if folder.exists(name):
        return True
    try:  # a list, because the response about one object does not say whether the bucket exists
        next(folder.list(name[: name.rfind("/") + 1]), None)
    except StorageError as error:
        if error.code != "permission":  # permission to write may come without permission to list
            raise
    return False


def write_object(url: str, data: bytes) -> None:
    """Write an object, or replace it if it exists.

    Raises:
        ConfigError: see ``read_object``.
        OutputError: it cannot be written.
    """
    folder, name = _locate(url)
    folder.put(name, data)


def upload_file(url: str, path: "Path") -> None:
    """Write an object with the content of a file, which may be larger than the memory; exceptions as for ``write_object``."""
    folder, name = _locate(url)
    folder.upload(name, path)


def _locate(url: str, options: StorageOptions | None = None) -> "tuple[BucketFolder, str]":
    """The bucket of an object, and the name of the object in it."""
    scheme, _, path = url.partition("://")
    bucket, _, name = path.partition("/")
    return _open_bucket(f"{scheme.lower()}://{bucket}", options or StorageOptions()), name


@lru_cache(_MAX_BUCKETS)
def _open_bucket(url: str, options: StorageOptions) -> "BucketFolder":
    return _open_bucket_folder(url, options)
