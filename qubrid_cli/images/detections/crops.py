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

#: The most bytes of a file name that the name of the image and the label may have; file systems allow 255 in all.
_MAX_STEM_BYTES, _MAX_LABEL_BYTES = 120, 80
#: The most files with the same stem and different contents in a folder.
_MAX_NAMESAKES = 1000


def save_crops(
    image: Image.Image, detections: Sequence[Detection], folder: Path, name: str, *, scale: float = 1.0
) -> list[Path]:
    """Save the boxes as PNG files such as ``photo-1-dog.png``; points are left out.

    No file is overwritten: if a file has the same name but another content, a number is added to the name.

    Args:
        name: of the image; the names of the files begin with it.
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
        except FileExistsError:  # another process has just created it
            continue
    raise OutputError(f"{quote_name(folder)} has {_MAX_NAMESAKES} files like {stem}.png", hint="Name another folder.")


def _make_name(name: str, number: int, label: str) -> str:
    """The stem of a file name, from texts that may contain anything."""
    name, _, page = name.partition("#page=")
    stem = re.sub(r"\.\w{1,5}\Z", "", re.split(r"[\\/]", name.partition("?")[0].rstrip("/"))[-1])
    parts = [
        _clean(f"{stem}-{page}" if page else stem, _MAX_STEM_BYTES) or "image",
        str(number),
        _clean(label, _MAX_LABEL_BYTES),
    ]
    return "-".join(filter(None, parts))


def _clean(text: str, max_bytes: int) -> str:
    """Keep letters, digits, dots and underscores; replace all else by dashes, with no dot or dash at either end."""
    words = re.sub(r"[^\w.]+", "-", text)
    return words.encode(errors="ignore")[:max_bytes].decode(errors="ignore").strip("-.")
