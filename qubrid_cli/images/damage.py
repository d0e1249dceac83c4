"""Decode images so that damage is noticed, and recover the intact part of damaged ones.

Pillow reports damage at most once, and some of it never: after a failed ``load``, the next one succeeds with the pixels
decoded so far; a JPEG that ends too early is filled with gray; the checksums of a PNG's pixels are not verified.
"""

import zlib
from collections.abc import Callable
from contextlib import suppress
from io import BytesIO

from PIL import Image, ImageFile, JpegImagePlugin

from ..errors import ImageError
from ..frozen import frozen
from . import decode, metadata

#: The share of an image's rows that may be missing.
_MAX_MISSING = 0.05
#: The value of the missing rows.
_GRAY = 128
#: The last bytes of a JPEG's scan that are held back, and padding that may replace them: both are longer than the 57 bits
#: that a decoder reads ahead (libjpeg-turbo's jdhuff.c). No code is all ones (T.81, C.2); a stuffed zero follows each byte.
_HELD_BACK, _PADDING = 16, b"\xff\x00" * 8
#: Bytes of a PNG's pixels that are inflated at once, and the limit for each pixel: twice its four channels of 16 bits.
_INFLATE_BYTES, _MAX_BYTES_PER_PIXEL = 1024 * 1024, 16


@frozen
class Recovered:
    """The decoded part of a damaged image, and warnings that say what is missing."""

    image: Image.Image
    warnings: tuple[str, ...]


def decode_pixels(image: Image.Image, data: bytes) -> None:
    """Decode an opened image.

    Args:
        data: the file that it was opened from; empty for a recovered image, which is decoded already.

    Raises:
        Exception: one of ``decode.DECODE_ERRORS``, if the file is damaged.
    """
    is_undecoded = bool(data and getattr(image, "tile", None))
    is_first_frame = image.tell() == 0
    if is_undecoded and is_first_frame and image.format in {"JPEG", "MPO"} and metadata.has_one_scan(data):
        _load_jpeg(image, data)
        return
    image.load()
    if is_undecoded and image.format == "PNG":
        _check_png(image, data)


def _load_jpeg(image: Image.Image, data: bytes) -> None:
    """Decode a JPEG of one scan, whose data must end exactly with the last pixel.

    The last bytes of the scan are held back: if the decoder does not ask for them, there is too much data; if they and
    some padding are not enough, there is too little. This costs one copy of the file.
    """
    is_whole = data.endswith(metadata.JPEG_END) and "mp" not in image.info  # no other image is known to follow
    end = len(data) - 2 if is_whole else metadata.find_jpeg_end(data)
    if end is None:
        raise OSError("the end of the JPEG is missing")
    if _feed(image, data, end) and (real_end := metadata.find_jpeg_end(data)) is not None:
        # Perhaps another image follows, or the padding of some cameras: try again with the end of this scan.
        preview = JpegImagePlugin.jpeg_factory(BytesIO(data))
        preview.draft(None, (preview.width // 8, preview.height // 8))
        unpadded_end = len(data[:real_end].rstrip(b"\0\xff"))
        if _feed(preview, data, min(real_end, unpadded_end + 2)):  # the last byte may be 0xFF with its stuffed zero
            raise OSError("the JPEG has more data than pixels")


def _feed(image: Image.Image, data: bytes, end: int) -> bool:
    """Decode a JPEG up to the end of its scan; true if the decoder did not ask for its last bytes."""
    pieces = [data[end - _HELD_BACK : end] + _PADDING, data[: end - _HELD_BACK]]
    image.load_read = lambda _: pieces.pop() if pieces else b""  # type: ignore[attr-defined]  # Pillow's hook
    image.load()
    return bool(pieces)


def _check_png(image: Image.Image, data: bytes) -> None:
    """Raise if the pixels of a PNG are damaged: Pillow does not verify their checksums, and would return wrong colors."""
    if all(chunk.is_sound for chunk in metadata.iter_png_chunks(data) if chunk.kind == b"IDAT"):
        return
    inflate, size = zlib.decompressobj(), 0
    with suppress(zlib.error):
        for chunk in metadata.iter_png_chunks(data):
            piece = data[chunk.content] if chunk.kind == b"IDAT" else b""
            while piece and size <= _MAX_BYTES_PER_PIXEL * image.width * image.height:
                size += len(inflate.decompress(piece, _INFLATE_BYTES))
                piece = inflate.unconsumed_tail
    if not inflate.eof:  # zlib has its own checksum, and verifies it at the end
        raise OSError("the pixels of the PNG are damaged")


def recover(data: bytes, name: str) -> Recovered | None:
    """Decode the intact part of a damaged image; ``None`` if too little is left."""
    with suppress(ImageError, *decode.DECODE_ERRORS):
        if data.startswith(b"\xff\xd8"):
            return _recover_jpeg(data, name)
        if data[:4] == b"RIFF":
            missing = int.from_bytes(data[4:8], "little") + 8 - len(data)
            if not 0 < missing <= len(data):  # a damaged length may be up to 4 GB
                return None
            return _compare([_decode_all(data + byte * missing, name) for byte in (b"\0", b"\x55")], name)
        if data.startswith(b"\x89PNG"):
            data = _cut_before_damage(data)
        return _compare([_decode_over(lambda: decode.open_image(data, name), fill) for fill in (_GRAY, 0)], name)
    return None


def _recover_jpeg(data: bytes, name: str) -> Recovered | None:
    """Decode the data of a single scan as far as it goes; of several scans, only the last ones may be missing."""
    end = metadata.find_jpeg_end(data)
    if metadata.has_one_scan(data):
        cut = data if end is None else data[:end]

        def open_cut() -> ImageFile.ImageFile:
            image = decode.open_image(data, name)
            pieces = [cut + _PADDING]
            image.load_read = lambda _: pieces.pop() if pieces else b""  # type: ignore[attr-defined]  # as above
            return image

        recovered = _compare([_decode_over(open_cut, fill) for fill in (_GRAY, 0)], name)
        if recovered is None or end is None:
            return recovered
        return Recovered(recovered.image, (f"{name}: damaged, so a part of the image may look wrong",))
    image = decode.open_image(data + metadata.JPEG_END, name)
    count = len(getattr(image, "layer", ()))
    covered: dict[int, set[int]] = {}
    for components, first, last in metadata.list_complete_scans(data + metadata.JPEG_END if end is None else data):
        for component in components:
            covered.setdefault(component, set()).update(range(first, last + 1))
    if end is not None or len(covered) != count or any(len(coefficients) < 64 for coefficients in covered.values()):
        return None
    image.load()
    return Recovered(image, (f"{name}: the end of the file is missing, so fine detail may be missing",))


def _decode_over(open_image: Callable[[], ImageFile.ImageFile], fill: int) -> Image.Image:
    """Decode as much as possible into an image that is filled with one value."""
    image = open_image()
    (_, extents, *_), *_ = image.tile
    prepare = image.load_prepare

    def prepare_filled() -> None:
        prepare()
        bands = image.im.bands
        image.im.paste(fill if bands == 1 else (fill,) * bands, extents)

    image.load_prepare = prepare_filled  # type: ignore[method-assign]  # Pillow's hook
    with suppress(*decode.DECODE_ERRORS):
        image.load()
    image.tile = []  # or the next load() would try again
    return image


def _decode_all(data: bytes, name: str) -> Image.Image:
    image = decode.open_image(data, name)
    image.load()
    return image


def _compare(images: list[Image.Image], name: str) -> Recovered | None:
    """Count the missing rows: those that differ between two decodings over different values; ``None`` if too many."""
    first, second = images
    pixels, other_pixels = first.tobytes(), second.tobytes()
    size = len(pixels) // first.height
    rows = (slice(start, start + size) for start in range(0, size * first.height, size))
    missing = sum(pixels[row] != other_pixels[row] for row in rows)
    if missing > _MAX_MISSING * first.height:
        return None
    if not missing:
        return Recovered(first, (f"{name}: the end of the file is missing, but all rows were found",))
    share = 100 * missing / first.height
    verb = "is" if missing == 1 else "are"
    return Recovered(first, (f"{name}: damaged, {missing} of its {first.height} rows {verb} missing ({share:.1f} %)",))


def _cut_before_damage(data: bytes) -> bytes:
    """Cut a PNG before its first damaged chunk of pixels.

    A chunk that is cut off at the end of the file has no checksum, but its bytes are probably right, so they are kept.
    """
    for chunk in metadata.iter_png_chunks(data):
        if chunk.kind == b"IDAT" and not chunk.is_sound and chunk.end <= len(data):
            return data[: chunk.start]
    return data
