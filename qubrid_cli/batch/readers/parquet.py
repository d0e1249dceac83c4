"""Parquet files of images: a column of bytes, of paths or URLs, or of Hugging Face's images. The home of pyarrow.

Source: Hugging Face Datasets, "Image": a struct of ``bytes``, which may be null, and ``path``.
"""

import math
import os
import posixpath
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...errors import ImageError, StorageError, UsageError
from ...images import sources
from ...images.arguments import expand_home
from ...images.urls import is_object_url
from ...installation import format_install_command
from ...text import quote_name
from .archives import ForwardReaders, Member, Place

if TYPE_CHECKING:
    import pyarrow as pa
    from pyarrow.parquet import FileMetaData, ParquetFile

    from ...storage.folder import RangeFile
    from ...storage.opening import StorageOptions

_IMAGE_COLUMN = "image"
#: Rows that are read at once: of the other columns, and of the images.
_ROW_BATCH, _IMAGE_BATCH = 1024, 16
#: Bytes that are requested at once of the images of an object in a bucket, and objects whose footers are kept.
_REQUEST_BYTES, _MAX_FOOTERS = 4 << 20, 4

_readers: ForwardReaders[int] = ForwardReaders()


def find_columns(archive: str, image_column: str | None, storage: "StorageOptions | None" = None) -> Sequence[str]:
    """The columns besides those of the image, the prompt and the id.

    Raises:
        ImageError: the file cannot be read, or the library is not installed.
        UsageError: it has no column of images.
    """
    with _open_file(archive, storage) as file:
        image = _find_image_column(file, archive, image_column)
        return [name for name in _list_value_columns(file, image) if name not in {"prompt", "id"}]


def find_members(archive: str, image_column: str | None, storage: "StorageOptions | None" = None) -> Iterator[Member]:
    """Find the images, in order, with the values of the other columns, a few rows at a time.

    Exceptions are those of ``find_columns``.
    """
    with _open_file(archive, storage) as file:
        image = _find_image_column(file, archive, image_column)
        columns = _list_value_columns(file, image)
        number, position = 0, file.schema_arrow.get_field_index(image)
        leaf = _find_name_leaf(file.schema_arrow.field(image))
        read = [*columns, *([leaf] if leaf else [])]
        for group in range(file.num_row_groups):
            if not read:  # no other column, and the names of the images are their numbers
                rows: Iterator[Mapping[str, Any]] = iter([{}] * file.metadata.row_group(group).num_rows)
            else:
                batches = file.iter_batches(_ROW_BATCH, row_groups=[group], columns=read)
                rows = (row for batch in batches for row in batch.to_pylist())
            for row in rows:
                yield _build_member(row, image, number, position, columns)
                number += 1


def _build_member(row: Mapping[str, Any], image: str, number: int, position: int, columns: Sequence[str]) -> Member:
    values = {name: _clean_value(row[name]) for name in columns}
    prompt, image_id = values.pop("prompt", None), values.pop("id", None)
    value, name, is_inside = row.get(image), str(number), True
    if isinstance(value, str):
        name, is_inside = value, False
    elif isinstance(value, dict) and value.get("path"):
        name = f"{number}/{os.path.basename(value['path'])}"
    return Member(
        name,
        is_inside=is_inside,
        place=(number, position) if is_inside else None,
        prompt=None if prompt is None else str(prompt),
        id=image_id if isinstance(image_id, str | int | float | None) else str(image_id),
        row=values or None,
    )


def read_member(archive: str, name: str, place: Place | None, storage: "StorageOptions | None" = None) -> bytes:
    """Read an image. May be called from any thread.

    Args:
        name: begins with the number of the row, from 0.

    Raises:
        ImageError: there is no such image, or the file cannot be read.
    """
    first = name.partition("/")[0]
    number, column = place or (int(first) if first.isdecimal() else -1, -1)
    identity = archive, column, _identify(archive)
    data = _readers.find(identity, lambda row: _read_images(archive, column, row, storage)).read(number)
    if not data:
        message = f"no such image: {name} in {archive}" if data is None else f"row {number} of {archive} has no image"
        raise ImageError(message, hint="Check the name, and the column of the images.", code="no_such_image")
    return data


def _identify(archive: str) -> object:
    """What differs if a file on a disk is replaced by another one."""
    if is_object_url(archive):
        return None
    with _translate_errors(archive):
        status = os.stat(archive)
    return status.st_size, status.st_mtime_ns


def _read_images(
    archive: str, column: int, number: int, storage: "StorageOptions | None"
) -> Iterator[tuple[int, bytes]]:
    """The bytes of the images of the row group that has a row; empty for a row without an image."""
    with _open_file(archive, storage) as file:
        image = _find_image_column(file, archive, None) if column < 0 else file.schema_arrow.names[column]
        start = 0
        for group in range(file.num_row_groups):
            count = file.metadata.row_group(group).num_rows
            if start <= number < start + count:
                for batch in file.iter_batches(_IMAGE_BATCH, row_groups=[group], columns=[image]):
                    for value in batch.column(0):
                        yield start, _read_value(value.as_py(), archive, storage)
                        start += 1
                return
            start += count


def _read_value(value: Any, archive: str, storage: "StorageOptions | None") -> bytes:
    """The bytes of an image, or of the file that its path names, relative to the folder of the Parquet file."""
    if isinstance(value, dict):
        path = value.get("path")
        value = value.get("bytes")
        if value is None and path:
            return _read_file(path, archive, storage)
    return value if isinstance(value, bytes) else b""


def _read_file(path: str, archive: str, storage: "StorageOptions | None") -> bytes:
    """Read the file, or the object, that a path names, relative to the folder of the Parquet file."""
    if is_object_url(archive) or is_object_url(path):
        from ...storage.opening import StorageOptions, read_object

        url = path if is_object_url(path) else posixpath.join(posixpath.dirname(archive), path)
        with _translate_errors(archive):
            return read_object(url, storage or StorageOptions(), max_bytes=sources.MAX_FILE_BYTES)
    path = os.path.join(os.path.dirname(archive), expand_home(path))
    return sources.read_bytes(sources.File(path, Path(path)))


def _find_image_column(file: "ParquetFile", archive: str, name: str | None) -> str:
    """The column of the images: the one that is named, or ``image``, or the only one that has bytes."""
    schema = file.schema_arrow
    candidates = [field.name for field in schema if _has_bytes(field)]
    name = name or (_IMAGE_COLUMN if _IMAGE_COLUMN in schema.names or len(candidates) != 1 else candidates[0])
    if name not in schema.names:
        names = ", ".join(schema.names)
        likely = candidates[0] if candidates else schema.names[0] if schema.names else _IMAGE_COLUMN
        raise UsageError(
            f"{quote_name(archive)} has no column {name}",
            hint=f"Name it: --image-column {quote_name(likely)}. The columns: {names}",
        )
    if not _has_bytes(schema.field(name)) and not _is_text(schema.field(name)):
        raise UsageError(
            f"{quote_name(archive)}: the column {name} holds {schema.field(name).type}, and not images",
            hint="Name one of bytes, of paths, of URLs, or of images as Hugging Face has them: --image-column NAME",
        )
    return name


def _has_bytes(field: "pa.Field") -> bool:
    import pyarrow as pa

    if pa.types.is_struct(field.type):
        return bool(field.type.get_field_index("bytes") >= 0)
    return bool(pa.types.is_binary(field.type) or pa.types.is_large_binary(field.type))


def _is_text(field: "pa.Field") -> bool:
    import pyarrow as pa

    return bool(pa.types.is_string(field.type) or pa.types.is_large_string(field.type))


def _find_name_leaf(field: "pa.Field") -> str | None:
    """What to read of the images to name them; ``None`` for bytes alone."""
    import pyarrow as pa

    if pa.types.is_struct(field.type):
        return f"{field.name}.path" if field.type.get_field_index("path") >= 0 else None
    return field.name if _is_text(field) else None


def _list_value_columns(file: "ParquetFile", image: str) -> list[str]:
    return [field.name for field in file.schema_arrow if field.name != image and not _has_bytes(field)]


def _clean_value(value: Any) -> Any:
    """A value as it can stand in JSON."""
    match value:
        case None | bool() | int() | str():
            return value
        case float():
            return value if math.isfinite(value) else None
        case dict():
            return {str(name): _clean_value(item) for name, item in value.items()}
        case list() | tuple():
            return [_clean_value(item) for item in value]
        case bytes():
            return None
    return str(value)


@contextmanager
def _open_file(archive: str, storage: "StorageOptions | None" = None) -> Iterator["ParquetFile"]:
    try:
        from pyarrow.parquet import ParquetFile
    except ImportError as error:
        raise ImageError(
            f"{quote_name(archive)} is a Parquet file, which needs an extra library",
            hint=f"Run: {format_install_command('pyarrow')}",
            code="needs_parquet",
        ) from error
    if not is_object_url(archive):
        with _translate_errors(archive), ParquetFile(archive, pre_buffer=False) as file:
            yield file
        return
    from ...storage.opening import StorageOptions, open_object_ranges

    with _translate_errors(archive), open_object_ranges(archive, storage or StorageOptions()) as source:
        metadata = _read_footer(archive, source)
        with ParquetFile(source, metadata=metadata, pre_buffer=False, buffer_size=_REQUEST_BYTES) as file:
            yield file


_footers: OrderedDict[object, "FileMetaData"] = OrderedDict()


def _read_footer(archive: str, source: "RangeFile") -> "FileMetaData":
    """The footer of an object, which is requested once for the objects that were opened last."""
    from pyarrow.parquet import read_metadata

    key = archive, source.version
    footer = _footers.get(key) or read_metadata(source)
    _footers[key] = footer
    while len(_footers) > _MAX_FOOTERS:
        _footers.popitem(last=False)
    return footer


@contextmanager
def _translate_errors(archive: str) -> Iterator[None]:
    try:
        yield
    except StorageError as error:
        raise ImageError(error.message, hint=error.hint, code=error.code) from error
    except (OSError, ValueError, KeyError, NotImplementedError) as error:  # those of pyarrow are subclasses of these
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error).partition("\n")[0]
        raise ImageError(
            f"cannot read {archive}: {reason}", hint="Perhaps it is damaged, or the copy was cut off.", code="archive"
        ) from error
