"""Decode images so that damage is noticed, and recover what is left of damaged ones.

Pillow reports damage once at most, and some not at all: after a failed ``load`` the next one returns what there is, a JPEG
that ends too early is filled up with gray, and the checksums of a PNG's pixels are not read.
"""

import zlib
from collections.abc import Callable
from contextlib import suppress
from io import BytesIO

from PIL import Image, JpegImagePlugin

from ..errors import ImageError
from ..frozen import frozen
from . import decode, metadata

#: The share of an image's rows that may be missing: a few per cent.
_MAX_MISSING = 0.05
#: What the rows that are missing show: gray; in a palette, its first color.
_GRAY = 128
#: Bytes of a JPEG's scan that are held back, and more of them than a decoder reads ahead: 57 bits (libjpeg-turbo's
#: jdhuff.c). No code is all ones (T.81, C.2), and a stuffed zero follows each.
_HELD_BACK, _PADDING = 16, b"\xff\x00" * 8
_JPEG_END = b"\xff\xd9"
#: Bytes of a PNG's pixels that are inflated at once, and at most for each pixel: four channels of 16 bits, and filters.
_INFLATED, _MAX_BYTES_PER_PIXEL = 1024 * 1024, 16


@frozen
class Recovered:
    """What is left of a damaged image, decoded, and warnings that say what is missing."""

    image: Image.Image
    warnings: tuple[str, ...]


def decode_pixels(image: Image.Image, data: bytes) -> None:
    """Decode an opened image.

    Args:
        data: the file that it was opened from; empty if it is decoded already, although damaged.

    Raises:
        Exception: one of ``decode.DECODE_ERRORS``, if the file is damaged.
    """
    is_new = bool(data and getattr(image, "tile", None))
    is_first = image.tell() == 0
    if is_new and is_first and image.format in {"JPEG", "MPO"} and metadata.has_one_scan(data):
        _load_jpeg(image, data)
        return
    image.load()
    if is_new and image.format == "PNG":
        _check_png(image, data)


def _load_jpeg(image: Image.Image, data: bytes) -> None:
    """Decode a JPEG of one scan, whose data must last exactly until the last pixel.

    The last bytes of the scan are held back: if the decoder is satisfied without them, there are too many, and if it is
    not with them and some padding, there are too few. This costs one copy of the file.
    """
    is_whole = data.endswith(_JPEG_END) and "mp" not in image.info  # no other image is known to follow
    end = len(data) - 2 if is_whole else metadata.find_jpeg_end(data)
    if end is None:
        raise OSError("the end of the JPEG is missing")
    if _feed(image, data, end) and (real_end := metadata.find_jpeg_end(data)) is not None:
        # Another image may follow, or the padding of some cameras.
        again = JpegImagePlugin.jpeg_factory(BytesIO(data))
        again.draft(None, (again.width // 8, again.height // 8))
        last = len(data[:real_end].rstrip(b"\0\xff"))
        if _feed(again, data, min(real_end, last + 2)):  # these may be the last code and its stuffed zero
            raise OSError("the JPEG has more data than pixels")


def _feed(image: Image.Image, data: bytes, end: int) -> bool:
    """Decode a JPEG up to the end of its scan; true if the decoder did not need its last bytes."""
    pieces = [data[end - _HELD_BACK : end] + _PADDING, data[: end - _HELD_BACK]]
    image.load_read = lambda _: pieces.pop() if pieces else b""  # type: ignore[attr-defined]  # Pillow's hook
    image.load()
    return bool(pieces)


def _check_png(image: Image.Image, data: bytes) -> None:
    """Raise if the pixels of a PNG are damaged: Pillow compares no checksums, and so takes wrong colors for right."""
    if all(chunk.is_sound for chunk in metadata.iter_png_chunks(data) if chunk.kind == b"IDAT"):
        return
    inflate, size = zlib.decompressobj(), 0
    with suppress(zlib.error):
        for chunk in metadata.iter_png_chunks(data):
            piece = data[chunk.content] if chunk.kind == b"IDAT" else b""
            while piece and size <= _MAX_BYTES_PER_PIXEL * image.width * image.height:
                size += len(inflate.decompress(piece, _INFLATED))
                piece = inflate.unconsumed_tail
    if not inflate.eof:  # only then has zlib compared its own checksum
        raise OSError("the pixels of the PNG are damaged")


def recover(data: bytes, name: str) -> Recovered | None:
    """Decode what is left of a damaged image; ``None`` if too little is."""
    with suppress(ImageError, *decode.DECODE_ERRORS):
        if data.startswith(b"\xff\xd8"):
            return _recover_jpeg(data, name)
        if data[:4] == b"RIFF":
            missing = int.from_bytes(data[4:8], "little") + 8 - len(data)
            if not 0 < missing <= len(data):  # a damaged length may say 4 GB
                return None
            return _compare([_decode_all(data + byte * missing, name) for byte in (b"\0", b"\x55")], name)
        if data.startswith(b"\x89PNG"):
            data = _cut_before_damage(data)
        return _compare([_decode_over(lambda: decode.open_image(data, name), fill) for fill in (_GRAY, 0)], name)
    return None


def _recover_jpeg(data: bytes, name: str) -> Recovered | None:
    """A JPEG of one scan is decoded as far as its data lasts; of several scans only the last ones may be missing."""
    end = metadata.find_jpeg_end(data)
    if metadata.has_one_scan(data):
        cut = data if end is None else data[:end]

        def open_cut() -> Image.Image:
            image = decode.open_image(data, name)
            pieces = [cut + _PADDING]
            image.load_read = lambda _: pieces.pop() if pieces else b""  # type: ignore[attr-defined]  # as above
            return image

        recovered = _compare([_decode_over(open_cut, fill) for fill in (_GRAY, 0)], name)
        if recovered is None or end is None:
            return recovered
        return Recovered(recovered.image, (f"{name}: damaged, so a part of the image may look wrong",))
    image = decode.open_image(data + _JPEG_END, name)
    count = len(getattr(image, "layer", ()))
    covered: dict[int, set[int]] = {}
    for components, first, last in metadata.list_complete_scans(data + _JPEG_END if end is None else data):
        for component in components:
            covered.setdefault(component, set()).update(range(first, last + 1))
    if end is not None or len(covered) != count or any(len(found) < 64 for found in covered.values()):
        return None
    image.load()
    return Recovered(image, (f"{name}: the end of the file is missing, so fine detail may be missing",))


_COMPLETE = "but all rows were found"


def _decode_over(open_image: Callable[[], Image.Image], fill: int) -> Image.Image:
    """Decode what there is over rows that are all of one value."""
    image = open_image()
    (_, extents, *_), *_ = image.tile  # type: ignore[attr-defined]
    prepare = image.load_prepare  # type: ignore[attr-defined]

    def prepare_filled() -> None:
        prepare()
        bands = image.im.bands
        image.im.paste(fill if bands == 1 else (fill,) * bands, extents)

    image.load_prepare = prepare_filled  # type: ignore[attr-defined]
    with suppress(*decode.DECODE_ERRORS):
        image.load()
    image.tile = []  # type: ignore[attr-defined]  # or the next load() would try again
    return image


def _decode_all(data: bytes, name: str) -> Image.Image:
    image = decode.open_image(data, name)
    image.load()
    return image


def _compare(images: list[Image.Image], name: str) -> Recovered | None:
    """Count the rows that differ, which were not decoded; ``None`` if there are too many."""
    first, second = images
    one, other = first.tobytes(), second.tobytes()
    size = len(one) // first.height
    missing = sum(one[at : at + size] != other[at : at + size] for at in range(0, size * first.height, size))
    if missing > _MAX_MISSING * first.height:
        return None
    if not missing:
        return Recovered(first, (f"{name}: the end of the file is missing, {_COMPLETE}",))
    share = 100 * missing / first.height
    verb = "is" if missing == 1 else "are"
    return Recovered(first, (f"{name}: damaged, {missing} of its {first.height} rows {verb} missing ({share:.1f} %)",))


def _cut_before_damage(data: bytes) -> bytes:
    """The part of a PNG whose pixels are certainly right: up to the first damaged chunk of them.

    A chunk that the file cuts off has no checksum to compare, and what there is of it is probably right.
    """
    for chunk in metadata.iter_png_chunks(data):
        if chunk.kind == b"IDAT" and not chunk.is_sound and chunk.end <= len(data):
            return data[: chunk.start]
    return data
