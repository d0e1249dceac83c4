"""Tar files of images, as WebDataset has them: files with the same name up to its first dot belong together.

Source: WebDataset, "The WebDataset Format"; POSIX.1-2017, pax, "ustar Interchange Format".
"""

import json
import os
import re
import tarfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import lru_cache
from itertools import groupby
from typing import TYPE_CHECKING, Any

from ...errors import ImageError
from ...images.sources import MAX_FILE_BYTES
from ...images.suffixes import has_readable_suffix
from ...urls import is_object_url
from ..left_out import is_junk_file
from .members import ForwardReaders, Member, Place, identify, translate_errors

if TYPE_CHECKING:
    from ...storage.folder import StorageOptions

#: Bytes of the largest text that is read as a value of the row.
_MAX_TEXT_BYTES = 1 << 16
#: The name of a sample, which is a path up to the first dot of the file name; and the suffix, which names one of its values.
_MEMBER_NAME = re.compile(r"((?:.*/)?[^/]*?)(?:\.([^/]*))?", re.DOTALL)

_TAR_ERRORS = (tarfile.TarError, zlib.error, EOFError)

_readers: ForwardReaders[str] = ForwardReaders()


def find_members(archive: str, storage: "StorageOptions | None" = None) -> Iterator[Member]:
    """Find the images, in order; the texts and JSON objects beside an image become its row.

    Raises:
        ImageError: it cannot be read.
    """
    has_rows: bool | None = None  # whether the first image has a row
    with _open_tar(archive, storage) as tar:
        for _, sample in groupby(_iterate(tar), lambda info: _split_name(info)[0]):
            images: list[Member] = []
            row: dict[str, Any] = {}
            for info in sample:
                suffix = _split_name(info)[1]
                if has_readable_suffix(info.name):
                    images.append(Member(info.name, place=_find_place(archive, info)))
                elif suffix and info.size <= _MAX_TEXT_BYTES and (file := tar.extractfile(info)) is not None:
                    _add_value(row, suffix.lower(), file.read())
            if images and has_rows is None:
                has_rows = bool(row)
            yield from (replace(image, row=row if row or has_rows else None) for image in images)


def _split_name(info: tarfile.TarInfo) -> tuple[str, str | None]:
    match = _MEMBER_NAME.fullmatch(info.name)
    assert match is not None
    return match[1], match[2]


def _add_value(row: dict[str, Any], suffix: str, data: bytes) -> None:
    """Add a text, or the members of a JSON object, to a row; any other file is ignored."""
    try:
        text = data.decode()
        if suffix == "json" and isinstance(values := json.loads(text, parse_constant=lambda _: None), dict):
            row.update(values)
        elif "\0" not in text:
            row[suffix] = text.removesuffix("\n").removesuffix("\r")
    except (ValueError, RecursionError):
        pass


def _find_place(archive: str, info: tarfile.TarInfo) -> Place | None:
    return (info.offset_data, info.size) if _has_places(archive) else None


def _has_places(archive: str) -> bool:
    """Whether images can be read without all before them: the archive is a file that is not compressed."""
    return archive.lower().endswith(".tar") and not is_object_url(archive)


def read_member(archive: str, name: str, place: Place | None, storage: "StorageOptions | None" = None) -> bytes:
    """Read an image. May be called from any thread.

    Raises:
        ImageError: there is no such image, or the archive cannot be read.
    """
    if _has_places(archive):
        if place is None:
            place = _index_places(archive, identify(archive)).get(name)
        data = None if place is None else _read_place(archive, *place)
    else:
        data = _readers.find((archive, identify(archive)), lambda _: _read_images(archive, storage)).read(name)
    if data is None:
        raise ImageError(f"no such image: {name} in {archive}", hint="Check the name.", code="no_such_image")
    return data


def _read_place(archive: str, offset: int, size: int) -> bytes:
    """Read the bytes of an image, if the header before them still states the same size."""
    with translate_errors(archive, *_TAR_ERRORS), open(archive, "rb") as file:
        file.seek(offset - tarfile.BLOCKSIZE)
        header = file.read(tarfile.BLOCKSIZE)
        if tarfile.TarInfo.frombuf(header, "utf-8", "surrogateescape").size != size:
            raise tarfile.ReadError("it has changed")
        return file.read(size)


def _read_images(archive: str, storage: "StorageOptions | None") -> Iterator[tuple[str, bytes]]:
    with _open_tar(archive, storage) as tar:
        for info in _iterate(tar):
            if has_readable_suffix(info.name) and (file := tar.extractfile(info)) is not None:
                yield info.name, file.read(MAX_FILE_BYTES + 1)


@lru_cache(2)
def _index_places(archive: str, _: object) -> dict[str, Place]:
    with _open_tar(archive) as tar:
        return {info.name: (info.offset_data, info.size) for info in _iterate(tar)}


@contextmanager
def _open_tar(archive: str, storage: "StorageOptions | None" = None) -> Iterator[tarfile.TarFile]:
    with translate_errors(archive, *_TAR_ERRORS):
        if is_object_url(archive):
            from ...storage.folder import StorageOptions
            from ...storage.opening import open_object

            with (
                open_object(archive, storage or StorageOptions()) as stream,
                tarfile.open(
                    fileobj=stream, mode="r|" if archive.lower().endswith(".tar") else "r|gz", errors="surrogateescape"
                ) as tar,
            ):
                yield tar
            return
        with (
            tarfile.open(archive, "r:", errors="surrogateescape")
            if _has_places(archive)
            else tarfile.open(archive, "r|gz", errors="surrogateescape")
        ) as tar:
            yield tar


def _iterate(tar: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    """Iterate over the files of an archive, without keeping their headers in memory."""
    while (info := tar.next()) is not None:
        tar.members = []  # type: ignore[attr-defined]  # where tarfile keeps them
        if info.isfile() and not is_junk_file(os.path.basename(info.name)):
            yield info
