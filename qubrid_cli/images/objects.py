"""An image as a Python object: a path, a URL, bytes, a file object or a Pillow image."""

import os
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeAlias

from ..errors import UsageError
from . import arguments, sources

if TYPE_CHECKING:
    from PIL.Image import Image

#: Modes of Pillow that PNG can store, and those that only TIFF can.
_PNG_MODES = frozenset({"1", "L", "LA", "P", "RGB", "RGBA"})
_TIFF_MODES = frozenset({"CMYK", "F", "I", "I;16"})


class ReadableFile(Protocol):
    """A file object that was opened for reading bytes."""

    def read(self, size: int = -1, /) -> bytes:
        """The next bytes."""


if TYPE_CHECKING:
    ImageInput: TypeAlias = str | os.PathLike[str] | bytes | bytearray | memoryview | ReadableFile | Image


def make_source(image: object, name: str = "image") -> sources.Source:
    """The image that an object stands for; a string is a path or a URL.

    Args:
        name: for an image that has no name of its own.

    Raises:
        ImageError: an invalid ``data:`` URL, or the ``file:`` URL of another machine.
        UsageError: an invalid URL, a folder, or an object that is not an image.
    """
    match image:
        case str():
            return _refuse_folder(arguments.resolve_name(image))
        case os.PathLike():
            return sources.make_file(os.fspath(image), Path(image))
        case bytes() | bytearray() | memoryview():
            return sources.Bytes(name, bytes(image))
    if hasattr(image, "read"):
        return _read_file(image, name)
    if hasattr(image, "getbands"):  # without loading Pillow for the other kinds
        return sources.Bytes(name, _encode(image, name))  # type: ignore[arg-type]  # only Pillow's images have getbands
    hint = "Use a path, a URL, bytes, a file object, or a Pillow image; for an array: PIL.Image.fromarray(…)."
    raise UsageError(f"an object of type {type(image).__name__} is not an image", hint=hint)


def _refuse_folder(source: sources.Source) -> sources.Source:
    return sources.make_file(source.name, source.path) if isinstance(source, sources.File) else source


def _read_file(file: ReadableFile, name: str) -> sources.Bytes:
    data = file.read(sources.MAX_FILE_BYTES + 1)
    if not isinstance(data, bytes):
        raise UsageError("a file object returns text instead of bytes", hint='Open it with mode "rb".')
    own_name = getattr(file, "name", None)
    return sources.Bytes(own_name if isinstance(own_name, str) else name, data)


def _encode(image: "Image", name: str) -> bytes:
    """Encode pixels and orientation without loss; not compressed, because the file is decoded again at once."""
    from PIL import ExifTags
    from PIL.Image import Exif

    from . import decode

    exif, stream = Exif(), BytesIO()
    with decode.translate_errors(name):
        exif[ExifTags.Base.Orientation] = decode.read_orientation(image)
        if image.mode not in _PNG_MODES | _TIFF_MODES:
            mode = "RGBA" if image.has_transparency_data else "RGB"
            image = image.convert({"La": "LA"}.get(image.mode, mode))
        if image.mode in _TIFF_MODES:
            image.save(stream, "TIFF", exif=exif)
        else:
            image.save(stream, "PNG", compress_level=0, exif=exif)
    return stream.getvalue()
