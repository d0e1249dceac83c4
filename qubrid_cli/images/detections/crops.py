"""Save each box of an image as a file of its own."""

import os
import re
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from ...errors import OutputError
from ...files import write_atomic
from ...text import quote_name
from .detection import Detection
from .drawing import encode_drawing

#: Bytes of a file name for the name of the image, and for the label; file systems allow 255.
_MAX_STEM_BYTES, _MAX_LABEL_BYTES = 120, 80
#: Files of the same name with different content that a folder may have.
_MAX_NAMESAKES = 1000


def save_crops(
    image: Image.Image, detections: Sequence[Detection], folder: Path, name: str, *, scale: float = 1.0
) -> list[Path]:
    """Save the boxes as PNG files such as ``photo-1-dog.png``; points are left out.

    No file is overwritten: one with the same content is left alone, and for another one a number is added to the name.

    Args:
        name: of the image, which begins the names of the files.
        scale: pixels of the image for each unit of the detections.

    Raises:
        OutputError: a file cannot be written.
    """
    paths = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for number, detection in enumerate(detections, 1):
            if detection.box is None:
                continue
            left, top, right, bottom = (round(edge * scale) for edge in detection.box)
            crop = image.crop((left, top, max(right, left + 1), max(bottom, top + 1)))
            paths.append(_save(encode_drawing(crop), folder, _make_name(name, number, detection.label)))
    except OSError as error:
        raise OutputError(
            f"cannot write to {quote_name(folder)}: {error.strerror}", hint="Name a folder after --crop-to."
        ) from error
    return paths


def _save(data: bytes, folder: Path, stem: str) -> Path:
    for namesake in range(1, _MAX_NAMESAKES):
        path = folder / (f"{stem}.png" if namesake == 1 else f"{stem}-{namesake}.png")
        try:
            if path.is_file() and path.stat().st_size == len(data) and path.read_bytes() == data:
                return path
            if not os.path.lexists(path):
                write_atomic(path, data, sync=False, overwrite=False)
                return path
        except FileExistsError:  # another process was faster
            continue
    raise OutputError(f"{quote_name(folder)} has {_MAX_NAMESAKES} files like {stem}.png", hint="Name another folder.")


def _make_name(name: str, number: int, label: str) -> str:
    """The name of a file, without its suffix, from texts that may contain anything."""
    name, _, page = name.partition("#page=")
    stem = re.sub(r"\.\w{1,5}\Z", "", re.split(r"[\\/]", name.partition("?")[0].rstrip("/"))[-1])
    parts = [
        _clean(f"{stem}-{page}" if page else stem, _MAX_STEM_BYTES) or "image",
        str(number),
        _clean(label, _MAX_LABEL_BYTES),
    ]
    return "-".join(filter(None, parts))


def _clean(text: str, max_bytes: int) -> str:
    """Letters, digits, dots and signs that no shell or file system interprets; no dot or dash at either end."""
    words = re.sub(r"[^\w.]+", "-", text)
    return words.encode(errors="ignore")[:max_bytes].decode(errors="ignore").strip("-.")
