"""Every image arrives as a person sees it: each format, mode and orientation, in full size and shrunk."""

import struct
import zlib
from base64 import b64decode
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from io import BytesIO
from pathlib import Path

import pillow_heif
import pytest
from PIL import Image

from qubrid_cli.images import sources
from qubrid_cli.images.encode import ImageLimits
from qubrid_cli.images.prepare import PreparedImage, prepare_image

from ..conftest import Ask
from ..support import draw, files
from ..support.server import Server

Color = tuple[int, int, int]
Value = int | float | tuple[int, ...]

#: Shrunk to 0.4, both sides are multiples of 32: half by the decoder where it can, the rest by resampling.
SIZE, SMALL = (160, 80), (64, 32)
LIMITS = {"whole": (ImageLimits(), SIZE), "shrunk": (ImageLimits(max_pixels=SMALL[0] * SMALL[1]), SMALL)}

#: The corners, from the upper left to the lower right.
RED, GREEN, BLUE, WHITE = (220, 20, 30), (20, 150, 40), (30, 40, 210), (255, 255, 255)
COLOURS: tuple[Color, ...] = (RED, GREEN, BLUE, WHITE)
GREYS: tuple[Color, ...] = tuple((level,) * 3 for level in (0, 85, 170, 255))
#: Two levels tell all eight orientations apart too: by the corner that is black, and by the longer side.
BITS: tuple[Color, ...] = ((0, 0, 0), WHITE, WHITE, WHITE)

#: What a camera did to the upright picture for each orientation: the inverse of what undoes it (EXIF 2.32, 4.6.4).
STORED = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


def blocks(mode: str, values: Sequence[Value], orientation: int = 1) -> Image.Image:
    """Four quarters, as they are stored under an orientation."""
    picture = Image.new(mode, SIZE)
    wide, high = SIZE[0] // 2, SIZE[1] // 2
    for number, value in enumerate(values):
        left, top = number % 2 * wide, number // 2 * high
        picture.paste(Image.new(mode, (wide, high), value), (left, top))
    return picture.transpose(STORED[orientation]) if orientation in STORED else picture


def exif(orientation: int) -> bytes:
    tags = Image.Exif()
    tags[draw.ORIENTATION] = orientation
    return tags.tobytes()


@dataclass(frozen=True)
class Kind:
    """A kind of file: how it is made for an orientation, and what its corners look like."""

    make: Callable[[int], bytes]
    corners: Sequence[Color] = COLOURS
    turns: bool = False
    tolerance: int = 2


def by_pillow(
    kind: str, mode: str = "RGB", values: Sequence[Value] = COLOURS, **options: object
) -> Callable[[int], bytes]:
    def make(orientation: int) -> bytes:
        said = {"exif": exif(orientation)} if orientation != 1 else {}
        return files.saved(blocks(mode, values, orientation), kind, **said, **options)

    return make


def by_hand(
    depth: int, kind: int, values: Sequence[Sequence[int]], chunks: bytes = b"", *, interlaced: bool = False
) -> Callable[[int], bytes]:
    """A PNG of our own."""

    def make(orientation: int) -> bytes:
        places = blocks("L", range(4), orientation)
        stored, width = places.tobytes(), places.width
        said = files.chunk(b"eXIf", exif(orientation)[6:]) if orientation != 1 else b""
        return files.png(
            places.size, lambda x, y: values[stored[y * width + x]], depth=depth, kind=kind, interlaced=interlaced, chunks=chunks + said
        )  # fmt: skip

    return make


def by_hand_tiff(
    photometric: int,
    values: Sequence[Sequence[int]],
    *,
    alpha: int = 0,
    depth: int = 16,
    planar: bool = False,
    more: dict[int, Sequence[int]] | None = None,
) -> Callable[[int], bytes]:
    """A TIFF of our own."""

    def make(orientation: int) -> bytes:
        places = blocks("L", range(4), orientation)
        stored, width = places.tobytes(), places.width
        return files.tiff(
            places.size,
            lambda x, y: values[stored[y * width + x]],
            photometric=photometric, orientation=orientation, alpha=alpha, depth=depth, planar=planar, more=more,
        )  # fmt: skip

    return make


def tagged(kind: str, mode: str, values: Sequence[Value], **options: object) -> Callable[[int], bytes]:
    """A TIFF whose orientation is a tag like any other."""
    return lambda orientation: files.saved(
        blocks(mode, values, orientation), kind, tiffinfo={draw.ORIENTATION: orientation}, **options
    )


def palette(entries: Sequence[Color]) -> Callable[[int], Image.Image]:
    def make(orientation: int) -> Image.Image:
        picture = blocks("P", range(4), orientation)
        picture.putpalette([part for entry in entries for part in entry])
        return picture

    return make


def with_palette(kind: str, entries: Sequence[Color] = COLOURS, **options: object) -> Callable[[int], bytes]:
    def make(orientation: int) -> bytes:
        said = {"exif": exif(orientation)} if orientation != 1 else {}
        return files.saved(palette(entries)(orientation), kind, **said, **options)

    return make


def ycck(orientation: int) -> bytes:
    """CMYK as Photoshop stores it: three inks as brightness and color, all four inverted, and said so by Adobe's marker.

    Pillow writes CMYK inverted, transform 0; given the inks' YCbCr and transform 2, decoders undo both.
    """
    *inks, black = blocks("CMYK", INKS, orientation).split()
    bands = Image.merge("RGB", inks).convert("YCbCr").split()
    swapped = Image.merge("CMYK", [*(band.point(lambda value: 255 - value) for band in bands), black])
    said = {"exif": exif(orientation)} if orientation != 1 else {}
    data = files.saved(swapped, "JPEG", subsampling=0, quality=95, **said)
    at = data.index(b"Adobe") + 11
    assert data[at] == 0
    return data[:at] + b"\2" + data[at + 1 :]


def two_pictures(orientation: int) -> bytes:
    other = Image.new("RGB", (64, 48), "black")
    return files.saved(
        blocks("RGB", COLOURS, orientation), "MPO", save_all=True, append_images=[other], exif=exif(orientation)
    )


def deep_heic(_: int) -> bytes:
    eight = blocks("RGB", COLOURS).tobytes()
    samples = struct.pack(f"<{len(eight)}H", *(257 * value for value in eight))
    stream = BytesIO()
    pillow_heif.from_bytes("RGB;16", SIZE, samples).save(stream, quality=95)
    return stream.getvalue()


def bmp_with_masks(
    depth: int, masks: Sequence[int], values: Sequence[int], *, from_the_top: bool
) -> Callable[[int], bytes]:
    """A BMP that says itself which bits are red, green, blue and clear."""

    def make(_: int) -> bytes:
        places = blocks("L", range(4)).tobytes()
        lines = [places[start : start + SIZE[0]] for start in range(0, len(places), SIZE[0])]
        rows = b"".join(
            struct.pack("<I", values[place])[: depth // 8]
            for line in (lines if from_the_top else lines[::-1])
            for place in line
        )
        height = -SIZE[1] if from_the_top else SIZE[1]
        head = struct.pack("<IiiHHIIiiII", 108, SIZE[0], height, 1, depth, 3, len(rows), 0, 0, 0, 0)
        head = (head + struct.pack("<4I", *masks)).ljust(108, b"\0")
        return b"BM" + struct.pack("<IHHI", 14 + len(head) + len(rows), 0, 0, 14 + len(head)) + head + rows

    return make


def plain_pbm(_: int) -> bytes:
    rows = blocks("1", (0, 1, 1, 1))
    digits = " ".join("0" if value else "1" for value in rows.convert("L").tobytes())
    return b"P1\n# drawn by hand\n%d %d\n" % SIZE + digits.encode() + b"\n"


def deep_ppm(_: int) -> bytes:
    eight = blocks("RGB", COLOURS).tobytes()
    return b"P6 %d %d 65535\n" % SIZE + struct.pack(f">{len(eight)}H", *(257 * value for value in eight))


def deep(values: Sequence[Sequence[int]]) -> list[tuple[int, ...]]:
    """8-bit values as 16-bit ones."""
    return [tuple(257 * part for part in value) for value in values]


def color_map(colors: Sequence[Color]) -> list[int]:
    """TIFF's tag 320: all red values, then the green and the blue ones."""
    return [color[band] for band in range(3) for color in [*colors, *[(0, 0, 0)] * (256 - len(colors))]]


def jpeg2000(
    depth: int, *, mode: str = "RGB", values: Sequence[Value] | None = None, space: int | None = None
) -> bytes:
    """JPEG 2000 of another depth: if it is lossy, its values scale with the depth that the header states.

    Sources: ITU-T T.800, A.5.1 (SIZ), E.1.1 (the step size), I.5.3.1 (ihdr) and I.5.3.3 (colr).
    """
    data = bytearray(files.saved(blocks(mode, values or COLOURS), "JPEG2000", irreversible=True, mct=0))
    size = data.index(b"\xff\x4f\xff\x51") + 2
    for channel in range(int.from_bytes(data[size + 38 : size + 40])):
        data[size + 40 + 3 * channel] = depth - 1
    data[data.index(b"ihdr") + 14] = depth - 1
    if space is not None:
        place = data.index(b"colr") + 7
        data[place : place + 4] = space.to_bytes(4)
    return bytes(data)


#: The four colors as Y, Cb and Cr.
YCC = tuple(
    pixel
    for color in COLOURS
    if isinstance(pixel := Image.new("RGB", (1, 1), color).convert("YCbCr").getpixel((0, 0)), tuple)
)
#: L*, a* and b* of the four colors (D50), the last two as signed bytes.
LAB = ((121, 71, 52), (138, 206, 45), (73, 47, 168), (255, 0, 0))

LEVELS = (0, 85, 170, 255)
BYTES = [(level,) for level in LEVELS]
#: White is what lies behind the last corner, which holds black, or purple, that nobody is to see.
CLEAR_GREYS = ((0, 255), (85, 255), (170, 255), (0, 0))
CLEAR: tuple[tuple[int, int, int, int], ...] = (*((*color, 255) for color in COLOURS[:3]), (0, 0, 0, 0))
PURPLE = (160, 0, 160)
INKS = tuple((255 - red, 255 - green, 255 - blue, 0) for red, green, blue in COLOURS)
PALETTE = files.chunk(b"PLTE", bytes(part for color in COLOURS for part in color))
PURPLE_PALETTE = files.chunk(b"PLTE", bytes(part for color in (*COLOURS[:3], PURPLE) for part in color))
LAST_IS_CLEAR = files.chunk(b"tRNS", b"\xff\xff\xff\0")

KINDS = {
    "JPEG": Kind(by_pillow("JPEG"), turns=True, tolerance=8),
    "JPEG gray": Kind(by_pillow("JPEG", "L", LEVELS), GREYS, turns=True, tolerance=8),
    "JPEG progressive": Kind(by_pillow("JPEG", progressive=True), turns=True, tolerance=8),
    "JPEG 4:4:4": Kind(by_pillow("JPEG", subsampling=0), turns=True, tolerance=8),
    "JPEG restart markers": Kind(by_pillow("JPEG", restart_marker_rows=1), turns=True, tolerance=8),
    "JPEG stored as RGB": Kind(by_pillow("JPEG", keep_rgb=True), turns=True, tolerance=8),
    "JPEG CMYK": Kind(by_pillow("JPEG", "CMYK", INKS), turns=True, tolerance=8),
    "JPEG CMYK progressive": Kind(by_pillow("JPEG", "CMYK", INKS, progressive=True), turns=True, tolerance=8),
    "JPEG YCCK": Kind(ycck, turns=True, tolerance=8),
    "MPO": Kind(two_pictures, turns=True, tolerance=8),
    "PNG 1-bit gray": Kind(by_hand(1, 0, [(0,), (1,), (1,), (1,)]), BITS, turns=True),
    "PNG 2-bit gray": Kind(by_hand(2, 0, [(0,), (1,), (2,), (3,)]), GREYS, turns=True),
    "PNG 4-bit gray": Kind(by_hand(4, 0, [(0,), (5,), (10,), (15,)]), GREYS, turns=True),
    "PNG 8-bit gray": Kind(by_hand(8, 0, BYTES), GREYS, turns=True),
    "PNG 16-bit gray": Kind(by_hand(16, 0, deep(BYTES)), GREYS, turns=True),
    "PNG 8-bit gray, one level clear": Kind(
        by_hand(8, 0, [*BYTES[:3], (9,)], files.chunk(b"tRNS", b"\0\x09")), GREYS, turns=True
    ),
    "PNG 16-bit gray, one level clear": Kind(
        by_hand(16, 0, [*deep(BYTES)[:3], (9,)], files.chunk(b"tRNS", b"\0\x09")), GREYS, turns=True
    ),
    "PNG 1-bit palette": Kind(by_hand(1, 3, [(0,), (1,), (1,), (1,)], PALETTE), (RED, GREEN, GREEN, GREEN), turns=True),
    "PNG 2-bit palette": Kind(by_hand(2, 3, [(0,), (1,), (2,), (3,)], PALETTE), turns=True),
    "PNG 4-bit palette": Kind(by_hand(4, 3, [(0,), (1,), (2,), (3,)], PALETTE), turns=True),
    "PNG 8-bit palette": Kind(by_hand(8, 3, [(0,), (1,), (2,), (3,)], PALETTE), turns=True),
    "PNG palette, one entry clear": Kind(
        by_hand(8, 3, [(0,), (1,), (2,), (3,)], PURPLE_PALETTE + LAST_IS_CLEAR), turns=True
    ),
    "PNG 2-bit palette, one entry clear": Kind(
        by_hand(2, 3, [(0,), (1,), (2,), (3,)], PURPLE_PALETTE + LAST_IS_CLEAR), turns=True
    ),
    "PNG gray and alpha": Kind(by_hand(8, 4, CLEAR_GREYS), GREYS, turns=True),
    "PNG 16-bit gray and alpha": Kind(by_hand(16, 4, deep(CLEAR_GREYS)), GREYS, turns=True),
    "PNG RGB": Kind(by_hand(8, 2, COLOURS), turns=True),
    "PNG RGB, one color clear": Kind(
        by_hand(8, 2, [*COLOURS[:3], PURPLE], files.chunk(b"tRNS", struct.pack(">3H", *PURPLE))), turns=True
    ),
    "PNG 16-bit RGB": Kind(by_hand(16, 2, deep(COLOURS)), turns=True),
    "PNG RGBA": Kind(by_hand(8, 6, CLEAR), turns=True),
    "PNG 16-bit RGBA": Kind(by_hand(16, 6, deep(CLEAR)), turns=True),
    "PNG interlaced": Kind(by_hand(8, 2, COLOURS, interlaced=True), turns=True),
    "PNG interlaced 2-bit palette": Kind(
        by_hand(2, 3, [(0,), (1,), (2,), (3,)], PALETTE, interlaced=True), turns=True
    ),
    "PNG interlaced 16-bit RGBA": Kind(by_hand(16, 6, deep(CLEAR), interlaced=True), turns=True),
    "GIF": Kind(with_palette("GIF")),
    "GIF gray": Kind(by_pillow("GIF", "L", LEVELS), GREYS),
    "GIF one entry clear": Kind(with_palette("GIF", (*COLOURS[:3], PURPLE), transparency=3)),
    "GIF interlaced": Kind(with_palette("GIF", interlace=1)),
    "GIF animated": Kind(
        lambda _: files.saved(palette(COLOURS)(1), "GIF", save_all=True, append_images=[Image.new("L", SIZE, 9)])
    ),
    "WebP": Kind(by_pillow("WEBP"), turns=True, tolerance=12),
    "WebP lossless": Kind(by_pillow("WEBP", lossless=True), turns=True),
    "WebP alpha": Kind(by_pillow("WEBP", "RGBA", CLEAR), turns=True, tolerance=12),
    "WebP lossless alpha": Kind(by_pillow("WEBP", "RGBA", CLEAR, lossless=True), turns=True),
    "AVIF": Kind(by_pillow("AVIF"), turns=True, tolerance=8),
    "AVIF 4:4:4": Kind(by_pillow("AVIF", subsampling="4:4:4"), turns=True, tolerance=8),
    "AVIF gray": Kind(by_pillow("AVIF", "L", LEVELS, subsampling="4:0:0"), GREYS, turns=True, tolerance=8),
    "AVIF alpha": Kind(by_pillow("AVIF", "RGBA", CLEAR), turns=True, tolerance=8),
    # As phones do it: turned by a box of its own, and EXIF says the same once more. It is to be turned once.
    "HEIC": Kind(by_pillow("HEIF"), turns=True, tolerance=8),
    "HEIC gray": Kind(by_pillow("HEIF", "L", LEVELS), GREYS, turns=True, tolerance=8),
    "HEIC alpha": Kind(by_pillow("HEIF", "RGBA", CLEAR), turns=True, tolerance=8),
    "HEIC with more than 8 bits": Kind(deep_heic, tolerance=8),
    "TIFF": Kind(tagged("TIFF", "RGB", COLOURS), turns=True),
    "TIFF LZW": Kind(tagged("TIFF", "RGB", COLOURS, compression="tiff_lzw"), turns=True),
    "TIFF deflate": Kind(tagged("TIFF", "RGB", COLOURS, compression="tiff_adobe_deflate"), turns=True),
    "TIFF PackBits": Kind(tagged("TIFF", "RGB", COLOURS, compression="packbits"), turns=True),
    "TIFF JPEG": Kind(tagged("TIFF", "RGB", COLOURS, compression="jpeg"), turns=True, tolerance=8),
    "TIFF big": Kind(tagged("TIFF", "RGB", COLOURS, big_tiff=True), turns=True),
    "TIFF palette": Kind(
        lambda orientation: files.saved(
            palette(COLOURS)(orientation), "TIFF", tiffinfo={draw.ORIENTATION: orientation}
        ),
        turns=True,
    ),
    "TIFF RGBA": Kind(tagged("TIFF", "RGBA", CLEAR), turns=True),
    "TIFF gray and alpha": Kind(tagged("TIFF", "LA", CLEAR_GREYS), GREYS, turns=True),
    "TIFF CMYK": Kind(tagged("TIFF", "CMYK", INKS), turns=True),
    "TIFF CMYK LZW": Kind(tagged("TIFF", "CMYK", INKS, compression="tiff_lzw"), turns=True),
    "TIFF YCbCr": Kind(
        lambda orientation: files.saved(
            blocks("RGB", COLOURS, orientation).convert("YCbCr"), "TIFF", tiffinfo={draw.ORIENTATION: orientation}
        ),
        turns=True,
        tolerance=4,
    ),
    "TIFF 1-bit": Kind(tagged("TIFF", "1", (0, 1, 1, 1)), BITS, turns=True),
    "TIFF 1-bit fax": Kind(tagged("TIFF", "1", (0, 1, 1, 1), compression="group4"), BITS, turns=True),
    "TIFF gray": Kind(tagged("TIFF", "L", LEVELS), GREYS, turns=True),
    "TIFF 16-bit gray": Kind(tagged("TIFF", "I;16", [257 * level for level in LEVELS]), GREYS, turns=True),
    "TIFF 16-bit gray, LZW": Kind(
        tagged("TIFF", "I;16", [257 * level for level in LEVELS], compression="tiff_lzw"), GREYS, turns=True
    ),
    "TIFF 16-bit gray, big-endian": Kind(tagged("TIFF", "I;16B", [257 * level for level in LEVELS]), GREYS, turns=True),
    "TIFF 32-bit gray": Kind(tagged("TIFF", "I", [10_000_000 * level for level in (0, 1, 2, 3)]), GREYS, turns=True),
    "TIFF float": Kind(tagged("TIFF", "F", (-1.5, 0.0, 1.5, 3.0)), GREYS, turns=True),
    "TIFF 16-bit gray, zero is white": Kind(by_hand_tiff(0, deep(BYTES[::-1])), GREYS, turns=True),
    "TIFF 16-bit RGB": Kind(by_hand_tiff(2, deep(COLOURS)), turns=True),
    "TIFF 16-bit RGBA": Kind(by_hand_tiff(2, deep(CLEAR), alpha=2), turns=True),
    "TIFF 16-bit RGBA, multiplied": Kind(by_hand_tiff(2, deep(CLEAR), alpha=1), turns=True),
    "TIFF 16-bit RGB in planes": Kind(by_hand_tiff(2, deep(COLOURS), planar=True), turns=True),
    "TIFF 32-bit gray to its top": Kind(
        by_hand_tiff(1, [(0,), (1_431_655_765,), (2_863_311_530,), (4_294_967_295,)], depth=32), GREYS, turns=True
    ),
    "TIFF 16-bit CMYK": Kind(by_hand_tiff(5, deep(INKS)), turns=True),
    "TIFF 12-bit gray": Kind(by_hand_tiff(1, [(4095 * level // 255,) for level in LEVELS], depth=12), GREYS, turns=True),
    "TIFF palette of 8-bit values": Kind(
        by_hand_tiff(3, [(0,), (1,), (2,), (3,)], depth=8, more={0x140: color_map(COLOURS)}), turns=True
    ),
    "TIFF CIELab": Kind(by_hand_tiff(8, LAB, depth=8), turns=True, tolerance=10),
    "TIFF CMYK and a spot color": Kind(by_hand_tiff(5, [(*ink, 99) for ink in INKS], depth=8, more={0x152: [0]})),
    "TIFF CMYK and alpha": Kind(by_hand_tiff(5, [(*ink, 255) for ink in INKS], depth=8, alpha=2)),
    "TIFF of two pages": Kind(
        lambda _: files.saved(blocks("RGB", COLOURS), "TIFF", save_all=True, append_images=[Image.new("L", SIZE, 9)])
    ),
    "BMP": Kind(by_pillow("BMP")),
    "BMP gray": Kind(by_pillow("BMP", "L", LEVELS), GREYS),
    "BMP 1-bit": Kind(by_pillow("BMP", "1", (0, 1, 1, 1)), BITS),
    "BMP palette": Kind(with_palette("BMP")),
    "BMP 16-bit": Kind(
        bmp_with_masks(
            16, (0xF800, 0x7E0, 0x1F, 0), [(r >> 3) << 11 | (g >> 2) << 5 | b >> 3 for r, g, b in COLOURS], from_the_top=False
        ),
        tolerance=8,
    ),
    "BMP alpha, from the top": Kind(
        bmp_with_masks(
            32, (0xFF0000, 0xFF00, 0xFF, 0xFF000000), [a << 24 | r << 16 | g << 8 | b for r, g, b, a in CLEAR], from_the_top=True
        )
    ),
    "ICO": Kind(by_pillow("ICO", "RGBA", CLEAR, sizes=[SIZE])),
    "ICO of a BMP": Kind(by_pillow("ICO", "RGBA", CLEAR, sizes=[SIZE], bitmap_format="bmp")),
    "JPEG 2000": Kind(by_pillow("JPEG2000")),
    "JPEG 2000 lossy": Kind(by_pillow("JPEG2000", irreversible=True, quality_layers=[20]), tolerance=8),
    "JPEG 2000 codestream": Kind(by_pillow("JPEG2000", no_jp2=True)),
    "JPEG 2000 10-bit": Kind(lambda _: jpeg2000(10)),
    "JPEG 2000 12-bit": Kind(lambda _: jpeg2000(12)),
    "JPEG 2000 16-bit": Kind(lambda _: jpeg2000(16)),
    "JPEG 2000 12-bit gray": Kind(lambda _: jpeg2000(12, mode="L", values=LEVELS), GREYS),
    "JPEG 2000 1-bit": Kind(lambda _: jpeg2000(1, mode="L", values=(0, 255, 255, 255)), BITS),
    "JPEG 2000 4-bit": Kind(lambda _: jpeg2000(4, mode="L", values=(0, 80, 160, 240)), GREYS),
    "JPEG 2000 sYCC": Kind(lambda _: jpeg2000(8, values=YCC, space=18), tolerance=3),
    "JPEG 2000 12-bit sYCC": Kind(lambda _: jpeg2000(12, values=YCC, space=18), tolerance=3),
    "JPEG 2000 gray": Kind(by_pillow("JPEG2000", "L", LEVELS), GREYS),
    "JPEG 2000 16-bit gray": Kind(by_pillow("JPEG2000", "I;16", [257 * level for level in LEVELS]), GREYS),
    "JPEG 2000 gray and alpha": Kind(by_pillow("JPEG2000", "LA", CLEAR_GREYS), GREYS),
    "JPEG 2000 RGBA": Kind(by_pillow("JPEG2000", "RGBA", CLEAR)),
    "PPM": Kind(by_pillow("PPM")),
    "PPM 16-bit": Kind(deep_ppm),
    "PGM": Kind(by_pillow("PPM", "L", LEVELS), GREYS),
    "PGM 16-bit": Kind(by_pillow("PPM", "I;16", [257 * level for level in LEVELS]), GREYS),
    "PBM": Kind(by_pillow("PPM", "1", (0, 1, 1, 1)), BITS),
    "PBM in digits": Kind(plain_pbm, BITS),
    "PFM": Kind(by_pillow("PPM", "F", (0.0, 1.0, 2.0, 3.0)), GREYS),
    "QOI": Kind(by_pillow("QOI")),
    "QOI alpha": Kind(by_pillow("QOI", "RGBA", CLEAR)),
    "TGA": Kind(by_pillow("TGA")),
    "TGA from the top": Kind(by_pillow("TGA", orientation=1)),
    "TGA packed": Kind(by_pillow("TGA", compression="tga_rle")),
    "TGA alpha": Kind(by_pillow("TGA", "RGBA", CLEAR)),
    "TGA gray": Kind(by_pillow("TGA", "L", LEVELS), GREYS),
    "TGA gray and alpha": Kind(by_pillow("TGA", "LA", CLEAR_GREYS), GREYS),
    "TGA palette": Kind(with_palette("TGA")),
}  # fmt: skip
#: Each file as it is in all orientations. Shrinking depends on whether the sides are exchanged, as in 6, and not on the
#: other turns, so each kind is shrunk in two orientations, and one of each way to shrink in all.
GRID = [
    (name, orientation, limits)
    for name, kind in KINDS.items()
    for limits in LIMITS
    for orientation in range(1, 9)
    if orientation == 1 or (kind.turns and (orientation == 6 or limits == "whole" or name in {"JPEG", "PNG RGB"}))
]


@cache
def made(name: str, orientation: int) -> bytes:
    return KINDS[name].make(orientation)


def encoded(data: bytes, limits: ImageLimits | None = None) -> PreparedImage:
    return prepare_image(sources.Bytes("x", data), limits or ImageLimits())


def opened(mime: str, data: bytes) -> Image.Image:
    """What was sent, by a decoder that takes nothing but what it claims to be."""
    kind = {"image/jpeg": "JPEG", "image/png": "PNG"}[mime]
    return Image.open(BytesIO(data), formats=[kind])


def corners(picture: Image.Image) -> list[Color]:
    """The colors in the middle of the four quarters."""
    shown = picture.convert("RGB")
    found = [
        shown.getpixel((x, y))
        for y in (picture.height // 4, picture.height * 3 // 4)
        for x in (picture.width // 4, picture.width * 3 // 4)
    ]
    return [(pixel[0], pixel[1], pixel[2]) for pixel in found if isinstance(pixel, tuple)]


def off(got: Sequence[Color], wanted: Sequence[Color]) -> int:
    """The largest difference."""
    pairs = zip(got, wanted, strict=True)
    return max(abs(a - b) for one, other in pairs for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize(("name", "orientation", "limits"), GRID)
def test_every_file_arrives_as_it_looks(name: str, orientation: int, limits: str) -> None:
    limit, size = LIMITS[limits]
    image = encoded(made(name, orientation), limit)
    picture = opened(image.upload.mime, image.upload.data)
    assert (image.width, image.height, (image.upload.width, image.upload.height), picture.size) == (*SIZE, size, size)
    assert (picture.has_transparency_data, off(corners(picture), KINDS[name].corners) <= KINDS[name].tolerance) == (
        False, True,
    ), corners(picture)  # fmt: skip


@pytest.mark.parametrize("name", [name for name in KINDS if name not in {"GIF animated", "TIFF of two pages"}])
def test_a_sound_file_has_no_warning(name: str) -> None:
    assert encoded(made(name, 1)).warnings == ()


@pytest.mark.parametrize("name", [name for name, kind in KINDS.items() if kind.turns])
def test_the_eight_orientations_of_a_file_differ(name: str) -> None:
    """The eight files differ, so that none of them can pass by accident."""
    assert len({made(name, orientation) for orientation in range(1, 9)}) == 8


# Colors


def light(value: float) -> float:
    """sRGB's curve (IEC 61966-2-1)."""
    return value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4


def shade(value: float) -> int:
    """Its inverse, clipped to what there is, in 255 steps."""
    value = min(1.0, max(0.0, value))
    return round(255 * (value * 12.92 if value <= 0.0031308 else 1.055 * value ** (1 / 2.4) - 0.055))


#: From XYZ under D50 to linear sRGB (Bradford; http://www.brucelindbloom.com, "RGB/XYZ matrices").
TO_SRGB = ((3.1338561, -1.6168667, -0.4906146), (-0.9787684, 1.9161415, 0.0334540), (0.0719453, -0.2289914, 1.4052427))

SRGB_CURVE = [light(number / 1023) for number in range(1024)]
ADOBE_CURVE = [(number / 1023) ** (563 / 256) for number in range(1024)]
P3 = files.rgb_profile("Display P3", files.DISPLAY_P3, SRGB_CURVE)
ADOBE = files.rgb_profile("Adobe RGB (1998)", files.ADOBE_RGB, ADOBE_CURVE)
#: Paper with inks of other colors than their names say: whoever does not ask the profile gets them wrong.
#: Their L*, a* and b* are those of sRGB's red, green, blue and black (D50).
ODD_INKS: dict[tuple[int, ...], tuple[float, float, float]] = {
    (1, 0, 0, 0): (54.3, 80.8, 69.9),
    (0, 1, 0, 0): (87.8, -79.3, 81.0),
    (0, 0, 1, 0): (29.6, 68.3, -112.0),
}
ODD_PRINT = files.cmyk_profile("Odd print", lambda ink: ODD_INKS.get(ink, (0.0 if ink[3] else 100.0, 0.0, 0.0)))

#: Inside of what sRGB can show, so that nothing depends on how the rest is clipped.
DULL: tuple[Color, ...] = ((200, 100, 50), (90, 160, 80), (60, 80, 150), (255, 255, 255))


def in_srgb(color: Color, colorants: files.Colorants, curve: Callable[[float], float]) -> Color:
    """What a color of another space is in sRGB, by the formulas."""
    bright = [curve(part / 255) for part in color]
    xyz = [sum(part * column[row] for part, column in zip(bright, colorants, strict=True)) for row in range(3)]
    red, green, blue = (shade(sum(a * b for a, b in zip(row, xyz, strict=True))) for row in TO_SRGB)
    return red, green, blue


WIDE = {
    "Display P3": (P3, [in_srgb(color, files.DISPLAY_P3, light) for color in DULL]),
    "Adobe RGB": (ADOBE, [in_srgb(color, files.ADOBE_RGB, lambda value: value ** (563 / 256)) for color in DULL]),
}


def test_the_expected_colors_match_published_values() -> None:
    """215, 93, 31 is what CSS Color 4, section 10, makes of 200, 100, 50 in Display P3."""
    assert off([WIDE["Display P3"][1][0]], [(215, 93, 31)]) <= 1


@pytest.mark.parametrize("space", WIDE)
def test_ignoring_a_profile_would_fail(space: str) -> None:
    assert off(DULL, WIDE[space][1]) > 12


@pytest.mark.parametrize("limits", LIMITS)
@pytest.mark.parametrize("space", WIDE)
@pytest.mark.parametrize(
    ("kind", "options", "tolerance"),
    [
        ("JPEG", {"quality": 95}, 9),
        ("JPEG", {"quality": 95, "exif": exif(3)}, 9),
        ("PNG", {}, 3),
        ("WEBP", {"lossless": True}, 3),
        ("AVIF", {"quality": 95}, 9),
        ("HEIF", {"quality": 95}, 9),
        ("TIFF", {}, 3),
        ("TIFF", {"compression": "tiff_lzw"}, 3),
    ],
)
def test_wide_colors_become_those_of_srgb(
    kind: str, options: dict[str, object], tolerance: int, space: str, limits: str
) -> None:
    profile, wanted = WIDE[space]
    picture = blocks("RGB", DULL)
    picture.info["icc_profile"] = profile  # where the writer of HEIC looks for it
    image = encoded(files.saved(picture, kind, icc_profile=profile, **options), LIMITS[limits][0])
    turned = wanted[::-1] if "exif" in options else wanted
    assert off(corners(opened(image.upload.mime, image.upload.data)), turned) <= tolerance


@pytest.mark.parametrize("limits", LIMITS)
@pytest.mark.parametrize("space", WIDE)
@pytest.mark.parametrize(
    ("depth", "kind", "values"),
    [
        pytest.param(8, 6, [*((*color, 255) for color in DULL[:3]), (0, 0, 0, 0)], id="RGBA"),
        pytest.param(16, 2, deep(DULL), id="16-bit RGB"),
        pytest.param(16, 6, deep([*((*color, 255) for color in DULL[:3]), (0, 0, 0, 0)]), id="16-bit RGBA"),
        pytest.param(8, 3, [(0,), (1,), (2,), (3,)], id="palette"),
    ],
)
def test_wide_colors_in_every_png(
    depth: int, kind: int, values: Sequence[Sequence[int]], space: str, limits: str
) -> None:
    profile, wanted = WIDE[space]
    chunks = files.chunk(b"iCCP", b"x\0\0" + zlib.compress(profile))
    chunks += files.chunk(b"PLTE", bytes(part for color in DULL for part in color)) if kind == 3 else b""
    image = encoded(by_hand(depth, kind, values, chunks)(1), LIMITS[limits][0])
    assert off(corners(opened(image.upload.mime, image.upload.data)), wanted) <= 3


@pytest.mark.parametrize("limits", LIMITS)
@pytest.mark.parametrize(("kind", "options"), [("JPEG", {"quality": 95, "subsampling": 0}), ("TIFF", {})])
def test_cmyk_is_converted_by_its_profile(kind: str, options: dict[str, object], limits: str) -> None:
    inks = [(255, 0, 0, 0), (0, 255, 0, 0), (0, 0, 255, 0), (0, 0, 0, 255)]
    image = encoded(files.saved(blocks("CMYK", inks), kind, icc_profile=ODD_PRINT, **options), LIMITS[limits][0])
    wanted = [(255, 0, 0), (0, 255, 0), (0, 0, 255), (0, 0, 0)]
    assert off(corners(opened(image.upload.mime, image.upload.data)), wanted) <= 12


@pytest.mark.parametrize("limits", LIMITS)
@pytest.mark.parametrize(
    ("kind", "mode", "factor"), [("JPEG", "L", 1), ("PNG", "L", 1), ("TIFF", "L", 1), ("PNG", "I;16", 257)]
)
def test_gray_is_converted_by_its_profile(kind: str, mode: str, factor: int, limits: str) -> None:
    """Linear light: half of it is no middle gray to the eye."""
    profile = files.gray_profile("Linear gray", [number / 1023 for number in range(1024)])
    options = {"quality": 95} if kind == "JPEG" else {}
    picture = blocks(mode, [factor * level for level in LEVELS])
    image = encoded(files.saved(picture, kind, icc_profile=profile, **options), LIMITS[limits][0])
    wanted: list[Color] = [(shade(level / 255),) * 3 for level in LEVELS]
    assert off(corners(opened(image.upload.mime, image.upload.data)), wanted) <= 6


# Transparent, deep


@pytest.mark.parametrize("limits", LIMITS)
@pytest.mark.parametrize("alpha", [0, 64, 128, 255])
def test_transparent_pixels_become_white(alpha: int, limits: str) -> None:
    data = by_hand(8, 6, [(*color, alpha) for color in COLOURS])(1)
    image = encoded(data, LIMITS[limits][0])
    over = [[round((part * alpha + 255 * (255 - alpha)) / 255) for part in color] for color in COLOURS]
    wanted = [(red, green, blue) for red, green, blue in over]
    assert off(corners(opened(image.upload.mime, image.upload.data)), wanted) <= 2


def test_hidden_colors_do_not_bleed_when_shrunk() -> None:
    """Red beside purple that is fully transparent: between them lies pink, never purple."""
    data = by_hand(8, 6, [(*RED, 255), (0, 0, 255, 0), (*RED, 255), (0, 0, 255, 0)])(1)
    image = encoded(data, LIMITS["shrunk"][0])
    shown = opened(image.upload.mime, image.upload.data).convert("RGB")
    row = [shown.getpixel((x, SMALL[1] // 4)) for x in range(SMALL[0])]
    assert [pixel for pixel in row if isinstance(pixel, tuple) and pixel[2] > pixel[0] + 8] == []


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(by_pillow("TIFF", "I;16", (0, 300, 30_000, 65_535)), id="16-bit TIFF"),
        pytest.param(by_hand(16, 0, [(0,), (300,), (30_000,), (65_535,)]), id="16-bit PNG"),
        pytest.param(by_pillow("PPM", "I;16", (0, 300, 30_000, 65_535)), id="16-bit PGM"),
        pytest.param(by_pillow("JPEG2000", "I;16", (0, 300, 30_000, 65_535)), id="16-bit JPEG 2000"),
        pytest.param(by_hand_tiff(2, [(0,) * 3, (300,) * 3, (30_000,) * 3, (65_535,) * 3]), id="16-bit RGB TIFF"),
    ],
)
def test_sixteen_bits_are_scaled_and_not_clipped(data: Callable[[int], bytes]) -> None:
    image = encoded(data(1))
    got = corners(opened(image.upload.mime, image.upload.data))
    assert off(got, [(0, 0, 0), (1, 1, 1), (117, 117, 117), (255, 255, 255)]) <= 1


# Through the program


@pytest.mark.parametrize(
    ("name", "orientation", "file_name"),
    [
        ("HEIC", 6, "photo.heic"),
        ("JPEG YCCK", 8, "print.jpg"),
        ("PNG 16-bit RGBA", 5, "photo.jpg"),
        ("TIFF 16-bit CMYK", 3, "scan.tif"),
        ("GIF one entry clear", 1, "anything"),
        ("AVIF", 7, "photo.png"),
    ],
)
@pytest.mark.parametrize("piped", [False, True], ids=["file", "pipe"])
def test_the_endpoint_gets_the_picture(
    describe: Ask, server: Server, tmp_path: Path, name: str, orientation: int, file_name: str, *, piped: bool
) -> None:
    path = tmp_path / file_name
    path.write_bytes(made(name, orientation))
    run = describe("-", stdin=path.read_bytes()) if piped else describe(path)
    (asked,) = server.asked
    head, _, body = asked.image_url.partition(";base64,")
    picture = opened(head.removeprefix("data:"), b64decode(body, validate=True))
    good = off(corners(picture), KINDS[name].corners) <= KINDS[name].tolerance
    assert (run.exit_code, picture.size, good) == (0, SIZE, True)
