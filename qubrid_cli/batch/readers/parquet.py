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

from ...errors import ImageError, UsageError
from ...images import sources
from ...images.arguments import expand_home
from ...installation import format_install_command
from ...text import quote_name
from ...urls import is_object_url
from .members import ForwardReaders, Member, Place, identify, translate_errors

if TYPE_CHECKING:
    import pyarrow as pa
    from pyarrow.parquet import FileMetaData, ParquetFile

    from ...storage.folder import RangeFile, StorageOptions

_IMAGE_COLUMN = "image"
#: Rows that are read at once: of the other columns, and of the images.
_ROW_BATCH, _IMAGE_BATCH = 1024, 16
#: Bytes that are requested at once of the images of an object in a bucket, and objects whose footers are kept.
_REQUEST_BYTES, _MAX_FOOTERS = 4 << 20, 4

#: Besides ``OSError`` and ``ValueError``, pyarrow raises subclasses of these.
_PYARROW_ERRORS = (KeyError, NotImplementedError)

_readers: ForwardReaders[int] = ForwardReaders()
_footers: OrderedDict[object, "FileMetaData"] = OrderedDict()


def find_columns(archive: str, image_column: str | None, storage: "StorageOptions | None" = None) -> Sequence[str]:
    """List the columns besides those of the image, the prompt and the id.

    Raises:
        ImageError: the file cannot be read, or the library is not installed.
        UsageError: the file has no column of images.
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
        name_column = _find_name_column(file.schema_arrow.field(image))
        needed_columns = [*columns, *([name_column] if name_column else [])]
        for group in range(file.num_row_groups):
            if not needed_columns:  # the names of the images are their numbers
                rows: Iterator[Mapping[str, Any]] = iter([{}] * file.metadata.row_group(group).num_rows)
            else:
                batches = file.iter_batches(_ROW_BATCH, row_groups=[group], columns=needed_columns)
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
    identity = archive, column, identify(archive)
    data = _readers.find(identity, lambda row: _read_images(archive, column, row, storage)).read(number)
    if not data:
        message = f"no such image: {name} in {archive}" if data is None else f"row {number} of {archive} has no image"
        raise ImageError(message, hint="Check the name, and the column of the images.", code="no_such_image")
    return data


def _read_images(
    archive: str, column: int, number: int, storage: "StorageOptions | None"
) -> Iterator[tuple[int, bytes]]:
    """Read the bytes of all images of the row group that contains a row; empty for a row without an image."""
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
    """Return the bytes of an image, or of the file that its path names."""
    if isinstance(value, dict):
        path = value.get("path")
        value = value.get("bytes")
        if value is None and path:
            return _read_file(path, archive, storage)
    return value if isinstance(value, bytes) else b""


def _read_file(path: str, archive: str, storage: "StorageOptions | None") -> bytes:
    """Read the file, or the object, that a path names, relative to the folder of the Parquet file."""
    if is_object_url(archive) or is_object_url(path):
        from ...storage.folder import StorageOptions
        from ...storage.opening import read_object

        url = path if is_object_url(path) else posixpath.join(posixpath.dirname(archive), path)
        with translate_errors(archive, *_PYARROW_ERRORS):
            return read_object(url, storage or StorageOptions(), max_bytes=sources.MAX_FILE_BYTES)
    path = os.path.join(os.path.dirname(archive), expand_home(path))
    return sources.read_bytes(sources.File(path, Path(path)))


def _find_image_column(file: "ParquetFile", archive: str, name: str | None) -> str:
    """Find the column of the images: the one with the given name, else ``image``, else the only one that has bytes."""
    schema = file.schema_arrow
    candidates = [field.name for field in schema if _has_bytes(field)]
    name = name or (_IMAGE_COLUMN if _IMAGE_COLUMN in schema.names or len(candidates) != 1 else candidates[0])
    if name not in schema.names:
        names = ", ".join(schema.names)
        suggestion = candidates[0] if candidates else schema.names[0] if schema.names else _IMAGE_COLUMN
        raise UsageError(
            f"{quote_name(archive)} has no column {name}",
            hint=f"Name it: --image-column {quote_name(suggestion)}. The columns: {names}",
        )
    if not _has_bytes(schema.field(name)) and not _is_text(schema.field(name)):
        raise UsageError(
            f"{quote_name(archive)}: the column {name} holds {schema.field(name).type}, not images",
            hint="Name a column of bytes, paths, URLs or Hugging Face images: --image-column NAME",
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


def _find_name_column(field: "pa.Field") -> str | None:
    """Find the column, or the field of a struct, that names the images; ``None`` if there are only bytes."""
    import pyarrow as pa

    if pa.types.is_struct(field.type):
        return f"{field.name}.path" if field.type.get_field_index("path") >= 0 else None
    return field.name if _is_text(field) else None


def _list_value_columns(file: "ParquetFile", image: str) -> list[str]:
    return [field.name for field in file.schema_arrow if field.name != image and not _has_bytes(field)]


def _clean_value(value: Any) -> Any:
    """Convert a value to JSON: other types become text, and bytes become null."""
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
        with translate_errors(archive, *_PYARROW_ERRORS), ParquetFile(archive, pre_buffer=False) as file:
            yield file
        return
    from ...storage.folder import StorageOptions
    from ...storage.opening import open_object_ranges

    with (
        translate_errors(archive, *_PYARROW_ERRORS),
        open_object_ranges(archive, storage or StorageOptions()) as source,
    ):
        metadata = _read_footer(archive, source)
        with ParquetFile(source, metadata=metadata, pre_buffer=False, buffer_size=_REQUEST_BYTES) as file:
            yield file


def _read_footer(archive: str, source: "RangeFile") -> "FileMetaData":
    """Read the footer of an object; those of the objects that were opened last are kept."""
    from pyarrow.parquet import read_metadata

    key = archive, source.version
    footer = _footers.get(key) or read_metadata(source)
    _footers[key] = footer
    while len(_footers) > _MAX_FOOTERS:
        _footers.popitem(last=False)
    return footer
