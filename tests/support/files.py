"""Files that Pillow does not write: any PNG, 16-bit TIFF, ICC profiles, and containers of metadata.

Sources: PNG specification, third edition; TIFF 6.0; ICC.1:2001-04 (version 2); ITU-T T.81, annex B; ITU-T T.800, annex I.
"""

import struct
import zlib
from collections.abc import Callable, Iterable, Sequence
from io import BytesIO

import pillow_heif
from PIL import Image

Pixel = Callable[[int, int], Sequence[int]]

#: First column and row of each pass, and the steps to the next ones (PNG, 8.1).
_ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))


def saved(image: Image.Image, kind: str, **options: object) -> bytes:
    """What Pillow writes; HEIC by hand, for registering the encoder would replace the decoder under test."""
    stream = BytesIO()
    if kind == "HEIF":
        pillow_heif.from_pillow(image).save(stream, **options)
    else:
        image.save(stream, kind, **options)
    return stream.getvalue()


def chunk(kind: bytes, payload: bytes) -> bytes:
    """A PNG chunk with its length and checksum."""
    return struct.pack(">I", len(payload)) + kind + payload + struct.pack(">I", zlib.crc32(kind + payload))


def png(
    size: tuple[int, int], pixel: Pixel, *, depth: int, kind: int, interlaced: bool = False, chunks: bytes = b""
) -> bytes:
    """Any PNG.

    Args:
        pixel: the samples, or the place in the palette, at a column and row.
        kind: color type: 0 gray, 2 RGB, 3 palette, 4 gray and alpha, 6 RGBA.
        chunks: what stands between the header and the pixels.
    """
    width, height = size
    rows = b"".join(
        b"\0" + _packed([sample for x in range(left, width, right) for sample in pixel(x, y)], depth)
        for left, top, right, down in (_ADAM7 if interlaced else ((0, 0, 1, 1),))
        for y in range(top, height, down)
        if left < width
    )
    header = struct.pack(">IIBBBBB", width, height, depth, kind, 0, 0, interlaced)
    pieces = chunk(b"IHDR", header), chunks, chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(pieces)


def _packed(samples: Sequence[int], depth: int) -> bytes:
    """One row, its last byte filled up with zeros."""
    if depth == 16:
        return struct.pack(f">{len(samples)}H", *samples)
    bits = "".join(f"{sample:0{depth}b}" for sample in samples)
    whole = -(-len(bits) // 8)
    return int(bits.ljust(8 * whole, "0"), 2).to_bytes(whole)


def tiff(
    size: tuple[int, int],
    pixel: Pixel,
    *,
    photometric: int,
    orientation: int = 1,
    alpha: int = 0,
    depth: int = 16,
    planar: bool = False,
    more: dict[int, Sequence[int]] | None = None,
) -> bytes:
    """An uncompressed TIFF, little-endian.

    Args:
        photometric: 0 gray where zero is white, 1 gray, 2 RGB, 3 palette, 5 CMYK, 8 CIELab.
        alpha: 1 for colors multiplied by it, 2 for plain ones, 0 for none.
        depth: bits of a sample: 16, 32, or less than 16 if there are no planes.
        planar: one strip for each channel, rather than one for all.
        more: further tags.
    """
    pixels = [pixel(x, y) for y in range(size[1]) for x in range(size[0])]
    count = len(pixels[0])
    planes = list(zip(*pixels, strict=True)) if planar else [[sample for one in pixels for sample in one]]
    if depth < 16:
        width = size[0] * count
        strips = [b"".join(_packed(planes[0][at : at + width], depth) for at in range(0, len(planes[0]), width))]
    else:
        strips = [struct.pack(f"<{len(plane)}{'H' if depth == 16 else 'I'}", *plane) for plane in planes]
    starts = [8 + sum(map(len, strips[:number])) for number in range(len(strips))]
    entries: dict[int, Sequence[int]] = {
        0x100: [size[0]], 0x101: [size[1]], 0x102: [depth] * count, 0x103: [1], 0x106: [photometric], 0x111: starts,
        0x112: [orientation], 0x115: [count], 0x116: [size[1]], 0x117: list(map(len, strips)), 0x11C: [1 + planar],
    }  # fmt: skip
    entries = dict(sorted((entries | ({0x152: [alpha]} if alpha else {}) | (more or {})).items()))
    directory = 8 + sum(map(len, strips))
    behind, index, lists = directory + 2 + 12 * len(entries) + 4, b"", b""
    for tag, values in entries.items():
        kind, letter = (3, "H") if tag == 0x140 else (4, "I")  # libtiff takes a palette of 16-bit numbers only
        written = struct.pack(f"<{len(values)}{letter}", *values)
        here = len(values) == 1
        index += struct.pack("<HHI", tag, kind, len(values)) + (
            written if here else struct.pack("<I", behind + len(lists))
        )
        lists += b"" if here else written
    return (
        b"II*\0"
        + struct.pack("<I", directory)
        + b"".join(strips)
        + struct.pack("<H", len(entries))
        + index
        + bytes(4)
        + lists
    )


def segment(marker: int, payload: bytes) -> bytes:
    """A JPEG segment: its length counts itself, but not the marker."""
    return struct.pack(">BBH", 0xFF, marker, len(payload) + 2) + payload


def box(kind: bytes, payload: bytes) -> bytes:
    """A box of JPEG 2000, MP4 and JUMBF."""
    return struct.pack(">I", 8 + len(payload)) + kind + payload


Colorants = tuple[tuple[float, float, float], tuple[float, float, float], tuple[float, float, float]]

#: XYZ of red, green and blue, adapted to D50: what the profiles of Apple and Adobe hold.
DISPLAY_P3: Colorants = ((0.51512, 0.2412, -0.00105), (0.29198, 0.69225, 0.04189), (0.1571, 0.06657, 0.78407))
ADOBE_RGB: Colorants = ((0.60974, 0.31111, 0.01947), (0.20528, 0.62567, 0.06087), (0.14919, 0.06322, 0.74457))
_D50 = (0.9642, 1.0, 0.8249)


def rgb_profile(name: str, colorants: Colorants, curve: Sequence[float], said: bytes = b"") -> bytes:
    """A matrix profile; its curve holds the light, 0 to 1, for evenly spaced values; ``said`` is its copyright."""
    tags = dict(zip((b"rXYZ", b"gXYZ", b"bXYZ"), map(_xyz, colorants), strict=True))
    tags |= dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), _curve(curve))
    return _profile(name, b"mntr", b"RGB ", b"XYZ ", tags | {b"cprt": b"text" + bytes(4) + said + b"\0"})


def gray_profile(name: str, curve: Sequence[float]) -> bytes:
    """A profile for gray pictures."""
    return _profile(name, b"mntr", b"GRAY", b"XYZ ", {b"kTRC": _curve(curve)})


def cmyk_profile(name: str, lab: Callable[[tuple[int, ...]], tuple[float, float, float]]) -> bytes:
    """A table profile.

    Args:
        lab: L*, a*, b* of a print with each of the four inks either fully on (1) or off (0).
    """
    corners = [tuple(number >> place & 1 for place in (3, 2, 1, 0)) for number in range(16)]
    nodes = bytes(round(part) for ink in corners for part in _lab8(*lab(ink)))
    identity, straight = (65536, 0, 0, 0, 65536, 0, 0, 0, 65536), bytes(range(256))
    table = b"mft1" + bytes(4) + bytes((4, 3, 2, 0)) + struct.pack(">9i", *identity) + straight * 4 + nodes
    return _profile(name, b"prtr", b"CMYK", b"Lab ", {b"A2B0": table + straight * 3})


def _lab8(lightness: float, a: float, b: float) -> tuple[float, float, float]:
    return lightness * 255 / 100, a + 128, b + 128


def _xyz(values: Iterable[float]) -> bytes:
    return b"XYZ " + bytes(4) + struct.pack(">3i", *(round(value * 65536) for value in values))


def _curve(light: Sequence[float]) -> bytes:
    return b"curv" + struct.pack(f">4xI{len(light)}H", len(light), *(round(value * 65535) for value in light))


def _profile(name: str, device: bytes, space: bytes, connection: bytes, tags: dict[bytes, bytes]) -> bytes:
    text = name.encode() + b"\0"
    said = b"desc" + struct.pack(">4xI", len(text)) + text + bytes(78)
    tags = {b"desc": said, b"cprt": b"text" + bytes(5), b"wtpt": _xyz(_D50)} | tags
    place, index, body = 128 + 4 + 12 * len(tags), b"", b""
    for tag, value in tags.items():
        index += struct.pack(">4sII", tag, place + len(body), len(value))
        body += value.ljust(-(-len(value) // 4) * 4, b"\0")
    size = place + len(body)
    head = struct.pack(">I4sI4s4s4s12x4s28x", size, bytes(4), 0x02400000, device, space, connection, b"acsp")
    return (
        (head + struct.pack(">3i", *(round(part * 65536) for part in _D50))).ljust(128, b"\0")
        + struct.pack(">I", len(tags))
        + index
        + body
    )
