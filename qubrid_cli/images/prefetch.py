"""Read and decode one image in a thread while the rest of the program is still being loaded.

Decoding takes half of the time for preparing a photo, and Pillow releases the GIL meanwhile. The image is decoded for the
default maximum size; if a setting requires another size, it is decoded again.
"""

import threading
from contextlib import suppress
from pathlib import Path

from PIL import Image

from ..errors import ImageError
from ..operating_system import call_interruptibly, wait_until
from . import damage, decode, tokens

#: Bytes; a larger file is not a camera's photo, and reading it might be wasted work.
_MAX_BYTES = 64 * 1024 * 1024
#: The first bytes of JPEG and PNG: nearly all images, with size and mode known before they are decoded.
_SIGNATURES = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n")


class _Prefetch:
    """One file and its decoded image, which a thread reads and decodes.

    Attributes:
        data: the file; ``None`` if it could not be read, or is too large.
    """

    def __init__(self, path: str) -> None:
        self.path = Path(path)
        self.data: bytes | None = None
        self.image: Image.Image | None = None
        self.is_read = threading.Event()
        self.thread = threading.Thread(target=self._run, name="prefetch", daemon=True)
        self.thread.start()
        Image.preinit()  # loads what saving needs, 5 ms, while the thread reads

    def _run(self) -> None:
        try:
            with suppress(OSError, ValueError), open(self.path, "rb") as file:
                data = file.read(_MAX_BYTES + 1)
                self.data = data if 0 < len(data) <= _MAX_BYTES else None
        finally:
            self.is_read.set()
        if self.data is not None and self.data.startswith(_SIGNATURES):
            with suppress(ImageError, *decode.DECODE_ERRORS):  # reported when the image is prepared
                self.image = _decode_shrunk(self.data, str(self.path))


def _decode_shrunk(data: bytes, name: str) -> Image.Image:
    image = decode.open_image(data, name)
    size = tokens.shrink_size(*image.size, max_pixels=tokens.QWEN3.max_pixels, max_side=None)
    if size != image.size:
        image.draft(None, size)
    damage.decode_pixels(image, data)
    return image


_prefetch: _Prefetch | None = None


def start(path: str) -> None:
    """Start to read and decode an existing file; an earlier one is dropped."""
    global _prefetch  # noqa: PLW0603  # one per process: it starts before anything exists that could hold it
    _prefetch = _Prefetch(path)


def take(path: Path) -> bytes | None:
    """Return the bytes of the file, waiting until they are read.

    ``None`` if it is not the file that was started, or could not be read: the caller then reads it and reports errors.
    """
    if _prefetch is None or path != _prefetch.path:
        return None
    wait_until(_prefetch.is_read.wait)
    return _prefetch.data


def get_decoded(image: Image.Image, data: bytes) -> Image.Image:
    """Return the decoded image in place of ``image`` if it was decoded to the same size and mode, else ``image``.

    Args:
        image: opened from ``data``, with the size to decode to (see ``Image.draft``).
        data: the object that ``take`` returned; equal bytes do not match.
    """
    if _prefetch is None or data is not _prefetch.data:
        return image
    call_interruptibly(_prefetch.thread.join)
    decoded = _prefetch.image
    return image if decoded is None or (decoded.size, decoded.mode) != (image.size, image.mode) else decoded
