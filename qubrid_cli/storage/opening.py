"""Open a folder by its path or its URL."""

import os
import re
from typing import TYPE_CHECKING

from ..errors import ConfigError
from ..frozen import frozen

if TYPE_CHECKING:
    from .folder import Folder

_URL = re.compile(r"(s3|gs|az)://", re.IGNORECASE)


@frozen
class StorageOptions:
    """How patient requests to a bucket are.

    Attributes:
        timeout: seconds without data.
        retries: after a temporary failure.
    """

    timeout: float = 60.0
    retries: int = 4


def is_object_url(text: str) -> bool:
    """Whether a text is the URL of an object or a folder in a bucket: ``s3://``, ``gs://`` or ``az://``."""
    return _URL.match(text) is not None


def open_folder(location: str, options: StorageOptions | None = None) -> "Folder":
    """A folder on a disk or in a bucket, which need not exist. Nothing is requested yet.

    Args:
        location: a path, or a URL such as ``s3://bucket/run1/``.

    Raises:
        ConfigError: the URL is invalid, the library for buckets is not installed, or the endpoint cannot be used.
    """
    if is_object_url(location):
        try:
            from .bucket import BucketFolder
        except ImportError as error:
            from ..installation import format_install_command

            raise ConfigError(
                f"{location} is in a bucket, and the library that reads buckets is not installed",
                hint=f"Run: {format_install_command('obstore')}",
                code="needs_buckets",
            ) from error
        return BucketFolder(location, options or StorageOptions())
    from .local import LocalFolder

    return LocalFolder(os.path.abspath(location))
