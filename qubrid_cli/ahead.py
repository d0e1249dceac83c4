"""A photo that is read and decoded ahead, while the modules that will ask for it are still being loaded.

Decoding is half of what a photo takes, Pillow gives the other core to it, and it needs to know little: the size from
which models get theirs as a rule. Where another one is wanted in the end, it is decoded anew.
"""

import threading
from contextlib import suppress

from PIL import Image

from . import decoder, tokens
from .errors import ImageError

#: Bytes; a larger file is no photo of a camera, and its reading might be for nothing.
_LARGEST = 64 * 1024 * 1024
#: How a JPEG and a PNG begin: what nearly all images are, whose size and mode are known before they are decoded.
_USUAL = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n")


class Ahead:
    """The file and its picture as far as they are wanted; both come from a thread, and are waited for.

    Args:
        path: of a file that is there.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self._data: bytes | None = None
        self._picture: Image.Image | None = None
        self._is_read = threading.Event()
        self._thread = threading.Thread(target=self._run, name="ahead", daemon=True)
        self._thread.start()
        Image.preinit()  # what saving needs and takes 5 ms to load, while the thread reads

    def data(self) -> bytes | None:
        """The file; ``None`` where it could not be read, or is better read by whoever knows what to say of it."""
        self._is_read.wait()
        return self._data

    def in_place_of(self, image: Image.Image) -> Image.Image:
        """The picture, decoded, if it has the size to which this one of the same file is going to be decoded; else that."""
        self._thread.join()
        found = self._picture
        return image if found is None or (found.size, found.mode) != (image.size, image.mode) else found

    def _run(self) -> None:
        try:
            with suppress(OSError, ValueError), open(self.path, "rb") as file:
                read = file.read(_LARGEST + 1)
                self._data = read if 0 < len(read) <= _LARGEST else None
        finally:
            self._is_read.set()
        if self._data is not None and self._data.startswith(_USUAL):
            with suppress(ImageError, *decoder.BROKEN):  # which will be said when the image is wanted
                self._decode(self._data)

    def _decode(self, data: bytes) -> None:
        image = decoder.opened(data, self.path)
        size = tokens.shrink(*image.size, max_pixels=tokens.QWEN3.max_pixels, max_side=None)
        if size != image.size:
            image.draft(None, size)
        image.load()
        self._picture = image
