"""Archives of images: tar files, as WebDataset has them, and Parquet files.

An image in an archive is named like a file in a folder: ``shard.tar/000123.jpg``, ``data.parquet/17``.
"""

import os
import re
from collections.abc import Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING

from ...images.arguments import expand_home
from ...images.sources import FetchedLink
from ...urls import is_object_url
from .members import Member, Place

if TYPE_CHECKING:
    from ...storage.folder import StorageOptions

_SUFFIX = r"\.(?:tar|tar\.gz|tgz|parquet)"
_MEMBER = re.compile(rf"(.+?{_SUFFIX})/(.+)", re.IGNORECASE | re.DOTALL)


def split_member(source: str) -> tuple[str, str] | None:
    """The path or URL of the archive of an image, and its name in it; ``None`` for an image outside of archives."""
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
    """The columns of a Parquet file, or the values beside the first image of a tar file; ``None`` if there are none.

    Exceptions are those of ``find_members``.
    """
    if _is_parquet(archive):
        from . import parquet

        return parquet.find_columns(_expand_path(archive), image_column, storage)
    first = next(find_members(archive, image_column, storage), None)
    return None if first is None or first.row is None else list(first.row)


def open_member(archive: str, name: str, place: Place | None, storage: "StorageOptions | None" = None) -> FetchedLink:
    """Return an image in an archive, which is read when it is needed."""
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
