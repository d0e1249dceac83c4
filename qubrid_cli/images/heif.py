"""Read the boxes of HEIF and AVIF files: brands, codings, and properties that decoders ignore.

Source: ISO/IEC 14496-12 (boxes), ISO/IEC 23008-12 (HEIF: items and their properties), ITU-T H.273 (color numbers).
"""

import struct
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from fractions import Fraction

from ..frozen import frozen

#: Brands of still images and image sequences, with any coding (HEIF, annexes B to L; AVIF, section 6).
_HEIF_BRANDS = {
    b"mif1", b"mif2", b"mif3", b"msf1", b"miaf", b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs",
    b"avif", b"avis", b"avci", b"avcs", b"j2ki", b"j2is", b"jpeg", b"jpgs", b"vvic", b"vvis", b"evbi", b"evbs", b"unif",
}  # fmt: skip
#: Codings that no decoder here reads, by the type of an item.
CODINGS = {
    "avc1": "AVC", "avc3": "AVC", "vvc1": "VVC", "evc1": "EVC", "j2k1": "JPEG 2000", "jpeg": "JPEG", "jxl1": "JPEG XL",
    "unci": "uncompressed", "mski": "mask",
}  # fmt: skip
#: Boxes that contain boxes, and the number of bytes before the first of these.
_CONTAINERS = {b"meta": 4, b"iprp": 0, b"ipco": 0}


@frozen
class Properties:
    """The properties of a file's primary image.

    Attributes:
        clap: the clean aperture: its width, its height and the offsets of its center, in pixels; ``None`` for the whole
            image.
        clap_start: the offset of these numbers in the file, in bytes.
        turns: the rotations and reflections after the crop: ``irot`` with the number of quarter turns to the left, or
            ``imir``, where 0 swaps top and bottom, and 1 left and right.
        size: width and height in pixels, before the crop and any rotation.
        color: the numbers of the primaries and the transfer function (H.273, tables 2 and 3).
    """

    clap: tuple[Fraction, Fraction, Fraction, Fraction] | None = None
    clap_start: int = 0
    turns: tuple[tuple[bytes, int], ...] = ()
    size: tuple[int, int] | None = None
    color: tuple[int, int] | None = None

    def find_crop(self) -> tuple[int, int, int, int] | None:
        """The left, upper, right and lower edge of the clean aperture; ``None`` if it is the whole image, or invalid.

        Source: ISO/IEC 14496-12, 12.1.4.2: the offsets are from the center of the image to that of the aperture.
        """
        if self.clap is None or self.size is None:
            return None
        width, height, x, y = self.clap
        left = round(x + Fraction(self.size[0] - 1, 2) - (width - 1) / 2)
        upper = round(y + Fraction(self.size[1] - 1, 2) - (height - 1) / 2)
        right, lower = left + round(width), upper + round(height)
        is_inside = 0 <= left < right <= self.size[0] and 0 <= upper < lower <= self.size[1]
        return (left, upper, right, lower) if is_inside and (right - left, lower - upper) != self.size else None

    def find_turned_crop(self) -> tuple[int, int, int, int] | None:
        """The edges of the clean aperture in an image that is turned already, but not cropped."""
        crop = self.find_crop()
        if crop is None or self.size is None:
            return None
        (left, upper, right, lower), (width, height) = crop, self.size
        for kind, value in self.turns:
            if kind == b"imir" and value == 0:
                upper, lower = height - lower, height - upper
            elif kind == b"imir":
                left, right = width - right, width - left
            for _ in range(value if kind == b"irot" else 0):
                left, upper, right, lower = upper, width - right, lower, width - left
                width, height = height, width
        return left, upper, right, lower


def is_heif(data: bytes) -> bool:
    """Whether a file is HEIF or AVIF, by its brands."""
    return not _list_brands(data).isdisjoint(_HEIF_BRANDS) and data[8:12] != b"crx "


def is_avif(data: bytes) -> bool:
    """Whether a file's main brand is AVIF."""
    return data[4:8] == b"ftyp" and data[8:12] in {b"avif", b"avis"}


def _list_brands(data: bytes) -> set[bytes]:
    if data[4:8] != b"ftyp":
        return set()
    end = min(int.from_bytes(data[:4]), 512)
    return {data[8:12], *(data[at : at + 4] for at in range(16, end - 3, 4))}


def is_sequence(data: bytes) -> bool:
    """Whether a file contains tracks, but no still image."""
    kinds = {kind for kind, *_ in _iter_boxes(data, 0, len(data))}
    return b"moov" in kinds and b"meta" not in kinds


def has_video(data: bytes) -> bool:
    """Whether a HEIF file contains the video of a motion photo (Google's Motion Photo format, section 4.2)."""
    return is_heif(data) and any(kind == b"mpvd" for kind, *_ in _iter_boxes(data, 0, len(data)))


def find_coding(data: bytes) -> str | None:
    """The type of the primary item, such as ``hvc1``, ``av01`` or ``grid``; ``None`` if it cannot be found."""
    with suppress(struct.error, IndexError, KeyError):
        meta = dict(_walk(data, 0, len(data)))
        primary = _read_primary(data, meta)
        entry = meta[b"iinf"]
        for kind, start, end in _iter_boxes(data, entry[0] + (6 if data[entry[0]] == 0 else 8), entry[1]):
            size = 2 if data[start] == 2 else 4  # bytes of the item's number, in versions 2 and 3
            if kind == b"infe" and int.from_bytes(data[start + 4 : start + 4 + size]) == primary:
                return data[start + 6 + size : min(start + 10 + size, end)].decode("ascii", "replace")
    return None


def read_properties(data: bytes) -> Properties:
    """The properties of the primary image that change its appearance; empty if they cannot be read."""
    with suppress(struct.error, IndexError, KeyError, ZeroDivisionError):
        meta = dict(_walk(data, 0, len(data)))
        start, end = meta[b"ipco"]
        all_properties = list(_iter_boxes(data, start, end))
        property_numbers = _read_associations(data, *meta[b"ipma"], _read_primary(data, meta))
        properties = Properties()
        for number in property_numbers:
            kind, start, end = all_properties[number - 1]
            if kind == b"clap":
                numbers = struct.unpack_from(">IIIIiIiI", data, start)
                pairs = zip(numbers[::2], numbers[1::2], strict=True)
                width, height, right, down = (Fraction(top, bottom) for top, bottom in pairs)
                properties = replace(properties, clap=(width, height, right, down), clap_start=start)
            elif kind in {b"irot", b"imir"}:
                turn = kind, data[start] & (3 if kind == b"irot" else 1)
                properties = replace(properties, turns=(*properties.turns, turn))
            elif kind == b"ispe":
                properties = replace(properties, size=struct.unpack_from(">4xII", data, start))
            elif kind == b"colr" and data[start : start + 4] == b"nclx":
                properties = replace(properties, color=struct.unpack_from(">HH", data, start + 4))
        return properties
    return Properties()


def widen_crop(data: bytes) -> bytes:
    """Set the clean aperture of a file to the whole image: libheif 1.23 refuses most files with a smaller one."""
    properties = read_properties(data)
    if properties.find_crop() is None or properties.size is None:
        return data
    width, height = properties.size
    numbers = struct.pack(">IIIIiIiI", width, 1, height, 1, 0, 1, 0, 1)
    return data[: properties.clap_start] + numbers + data[properties.clap_start + len(numbers) :]


def _walk(data: bytes, start: int, end: int) -> Iterator[tuple[bytes, tuple[int, int]]]:
    """All boxes, also those inside others, as their kind and the start and end of their content."""
    for kind, first, last in _iter_boxes(data, start, end):
        yield kind, (first, last)
        if kind in _CONTAINERS:
            yield from _walk(data, first + _CONTAINERS[kind], last)


def _iter_boxes(data: bytes, start: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """The kind of each box, and the start and end of its content (14496-12, 4.2)."""
    while start + 8 <= end:
        size, kind = struct.unpack_from(">I4s", data, start)
        head = 8
        if size == 1:
            (size,) = struct.unpack_from(">Q", data, start + 8)
            head = 16
        last = end if size == 0 else min(start + size, end)
        if size and size < head:
            return
        yield kind, start + head, last
        start = last


def _read_primary(data: bytes, meta: dict[bytes, tuple[int, int]]) -> int:
    """The number of the primary item."""
    start, _ = meta[b"pitm"]
    return int.from_bytes(data[start + 4 : start + (6 if data[start] == 0 else 8)])


def _read_associations(data: bytes, start: int, end: int, item: int) -> list[int]:
    """The numbers, from 1, of an item's properties (23008-12, 9.3.1)."""
    version, flags = data[start], data[start + 3]
    position, wide = start + 8, 2 if version < 1 else 4
    while position < end:
        number = int.from_bytes(data[position : position + wide])
        count, position = data[position + wide], position + wide + 1
        step = 2 if flags & 1 else 1
        numbers = [int.from_bytes(data[position + step * at : position + step * (at + 1)]) for at in range(count)]
        if number == item:
            return [value & (0x7FFF if flags & 1 else 0x7F) for value in numbers]
        position += step * count
    return []
