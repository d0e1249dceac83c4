"""Nothing but the image is sent, as seen by readers outside the package.

One reads segments and chunks and decompresses their data; the other is exiftool, if it is installed
(continuous integration installs it).
"""

import json
import re
import shutil
import struct
import subprocess
import zlib
from base64 import b64decode
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from qubrid_cli.images import sources
from qubrid_cli.images.encode import ImageLimits
from qubrid_cli.images.prepare import prepare_image

from ..conftest import Ask
from ..support import draw, files
from ..support.server import Server

#: Stands in each piece of metadata.
SECRET = "SECRET-7f3a"
MARK = SECRET.encode()
XMP = (
    b'<?xpacket begin="" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/">'
    b'<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description rdf:about="" '
    b'xmlns:dc="http://purl.org/dc/elements/1.1/" dc:source="' + MARK + b'"/></rdf:RDF></x:xmpmeta><?xpacket end="w"?>'
)  # fmt: skip
#: sRGB, so that nothing has to be converted, with something said in it.
ICC = files.rgb_profile(
    "sRGB", ((0.43607, 0.22249, 0.01392), (0.38515, 0.71687, 0.09708), (0.14307, 0.06061, 0.7141)), [0.0, 1.0], MARK
)


# Metadata


def directory(place: int, entries: list[tuple[int, int, bytes]], following: int = 0) -> bytes:
    """A TIFF directory with the values that do not fit into it behind it (TIFF 6.0, section 2), big-endian.

    Args:
        entries: tag, type (2 text, 3 short, 4 long, 5 rational, 7 bytes) and value.
    """
    width = {2: 1, 3: 2, 4: 4, 5: 8, 7: 1}
    written, values = b"", b""
    behind = place + 2 + 12 * len(entries) + 4
    for tag, kind, value in entries:
        at = value.ljust(4, b"\0") if len(value) <= 4 else struct.pack(">I", behind + len(values))
        written += struct.pack(">HHI", tag, kind, len(value) // width[kind]) + at
        values += b"" if len(value) <= 4 else value + b"\0" * (len(value) % 2)
    return struct.pack(">H", len(entries)) + written + struct.pack(">I", following) + values


def exif(orientation: int) -> bytes:
    """What a phone writes: who, where, in three directories, and a thumbnail with a comment of its own."""
    thumbnail = files.saved(draw.lighthouse(32, 24), "JPEG", comment=MARK)
    degrees = struct.pack(">6I", 54, 1, 26, 1, 12, 1)

    def parts(private: int, place: int, second: int) -> Iterator[bytes]:
        yield directory(
            8,
            [
                (0x010E, 2, MARK + b"\0"),
                (0x010F, 2, b"Seaside Optics\0"),
                (0x0112, 3, struct.pack(">H", orientation)),
                (0x013B, 2, MARK + b"\0"),
                (0x8769, 4, struct.pack(">I", private)),
                (0x8825, 4, struct.pack(">I", place)),
                (0x9C9C, 7, SECRET.encode("utf-16-le")),
            ],
            second,
        )
        yield directory(
            private, [(0x9003, 2, b"2024:05:01 10:00:00\0"), (0x927C, 7, MARK), (0x9286, 7, b"ASCII\0\0\0" + MARK)]
        )
        yield directory(
            place,
            [(1, 2, b"N\0"), (2, 5, degrees), (3, 2, b"E\0"), (4, 5, degrees), (0x1B, 7, b"ASCII\0\0\0" + MARK)],
        )
        sized = [(0x0103, 3, b"\0\6"), (0x0201, 4, b"\0\0\0\0"), (0x0202, 4, struct.pack(">I", len(thumbnail)))]
        behind = second + len(directory(second, sized))
        sized[1] = (0x0201, 4, struct.pack(">I", behind))
        yield directory(second, sized) + thumbnail

    first, private, place, _ = (len(part) for part in parts(0, 0, 0))
    starts = 8 + first, 8 + first + private, 8 + first + private + place
    return b"Exif\0\0MM\0*\0\0\0\x08" + b"".join(parts(*starts))


def iptc() -> bytes:
    """A headline as Photoshop keeps it (IIM 4.2, record 2:105, in an image resource)."""
    record = b"\x1c\x02\x69" + struct.pack(">H", len(MARK)) + MARK
    return b"Photoshop 3.0\x008BIM\x04\x04\0\0" + struct.pack(">I", len(record)) + record + b"\0" * (len(record) % 2)


def content_credentials() -> bytes:
    """C2PA's store: a superbox with its description and something to say (ISO 19566-5)."""
    kind = bytes.fromhex("63327061001100108000 00aa00389b71".replace(" ", ""))
    said = files.box(b"jumd", kind + b"\3c2pa\0") + files.box(b"json", b'{"author":"' + MARK + b'"}')
    return files.box(b"jumb", said)


#: What a phone puts behind the photo: the seconds before it, as a film.
FILM = files.box(b"ftyp", b"mp42\0\0\0\0mp42isom") + files.box(b"moov", files.box(b"udta", MARK)) + MARK
DUCKY = b"Ducky" + struct.pack(">HHI", 1, 4, 80) + struct.pack(">HHI", 2, 4 + 2 * len(SECRET), len(SECRET))
MADE_FOR_PHOTOSHOP = b"Adobe\0d\0\0\0\0\1"


def extended_xmp() -> bytes:
    return b"http://ns.adobe.com/xmp/extension/\0" + b"0" * 32 + struct.pack(">II", len(XMP), 0) + XMP


#: Segments of a JPEG, by their marker, and what stands behind the end.
SEGMENTS = {
    "XMP": files.segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0" + XMP),
    "extended XMP": files.segment(0xE1, extended_xmp()),
    "ICC": files.segment(0xE2, b"ICC_PROFILE\0\1\1" + ICC),
    "FlashPix": files.segment(0xE2, b"FPXR\0\0\1" + MARK),
    "maker's APP4": files.segment(0xE4, MARK),
    "C2PA": files.segment(0xEB, b"JP\0\1\0\0\0\1" + content_credentials()),
    "Ducky": files.segment(0xEC, DUCKY + SECRET.encode("utf-16-be") + b"\0\0"),
    "IPTC": files.segment(0xED, iptc()),
    "Adobe's marker with more": files.segment(0xEE, MADE_FOR_PHOTOSHOP + MARK),
    "APP15": files.segment(0xEF, MARK),
    "JFXX thumbnail": files.segment(0xE0, b"JFXX\0\x10" + files.saved(draw.lighthouse(32, 24), "JPEG", comment=MARK)),
    "JFIF with a thumbnail": files.segment(0xE0, b"JFIF\0\1\1\0\0\1\0\1\2\2" + MARK + b"\0"),
    "comment": files.segment(0xFE, MARK),
}
CHUNKS = {
    "tEXt": files.chunk(b"tEXt", b"Author\0" + MARK),
    "zTXt": files.chunk(b"zTXt", b"Author\0\0" + zlib.compress(MARK)),
    "iTXt": files.chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + XMP),
    "compressed iTXt": files.chunk(b"iTXt", b"Title\0\1\0en\0\0" + zlib.compress(MARK)),
    "iCCP": files.chunk(b"iCCP", b"sRGB\0\0" + zlib.compress(ICC)),
    "tIME": files.chunk(b"tIME", struct.pack(">HBBBBB", 2024, 5, 1, 10, 0, 0)) + files.chunk(b"tEXt", b"x\0" + MARK),
    "pHYs": files.chunk(b"pHYs", struct.pack(">IIB", 11811, 11811, 1)) + files.chunk(b"tEXt", b"x\0" + MARK),
    "caBX": files.chunk(b"caBX", content_credentials()),
    "IPTC in a raw profile": files.chunk(
        b"zTXt",
        b"Raw profile type iptc\0\0" + zlib.compress(b"\niptc\n%8d\n" % len(iptc()) + iptc().hex().encode() + MARK),
    ),
    "a private chunk": files.chunk(b"prVt", MARK),
}


# Files full of it


Make = Callable[[Image.Image, int], bytes]


def jpeg(segment: bytes = b"", behind: bytes = b"", **options: object) -> Make:
    """A photo with its EXIF block, one segment more, and something behind the end."""

    def make(picture: Image.Image, orientation: int) -> bytes:
        data = files.saved(picture, "JPEG", **options)
        return data[:20] + files.segment(0xE1, exif(orientation)) + segment + data[20:] + behind

    return make


def between_scans(picture: Image.Image, orientation: int) -> bytes:
    data = jpeg(progressive=True)(picture, orientation)
    second = data.rindex(b"\xff\xda")
    return data[:second] + files.segment(0xFE, MARK) + files.segment(0xE1, exif(1)) + data[second:]


def mpo(picture: Image.Image, orientation: int) -> bytes:
    """Two pictures, as of a stereo camera, and each with its EXIF block."""
    other = draw.lighthouse(64, 48)
    other.encoderinfo = {"exif": exif(1), "comment": MARK}
    return files.saved(picture, "MPO", save_all=True, append_images=[other], exif=exif(orientation), comment=MARK)


def png(chunks: bytes = b"", behind: bytes = b"", **options: object) -> Make:
    """A PNG with eXIf, further chunks before the pixels, and something behind the end."""

    def make(picture: Image.Image, orientation: int) -> bytes:
        data = files.saved(picture, "PNG", **options)
        return data[:33] + files.chunk(b"eXIf", exif(orientation)[6:]) + chunks + data[33:] + behind

    return make


def png_end(picture: Image.Image, orientation: int) -> bytes:
    """With chunks behind the pixels, where they are looked for last."""
    data = png()(picture, orientation)
    return data[:-12] + b"".join(CHUNKS[name] for name in ("tEXt", "zTXt", "iTXt", "tIME")) + data[-12:]


def gif(picture: Image.Image, _: int) -> bytes:
    """With a comment, and XMP as an application's block (with the 258 bytes that lead every reader to its end)."""
    data = files.saved(picture.quantize(64), "GIF", comment=MARK)
    trailer = bytes([1, *range(255, -1, -1), 0])
    start = data.index(b"\x21\xfe")
    return data[:start] + b"\x21\xff\x0bXMP DataXMP" + XMP + trailer + data[start:] + MARK


def webp(**options: object) -> Make:
    return lambda picture, orientation: files.saved(
        picture, "WEBP", exif=exif(orientation)[6:], xmp=XMP, icc_profile=ICC, **options
    )


def avif(picture: Image.Image, orientation: int) -> bytes:
    return files.saved(picture, "AVIF", exif=exif(orientation)[6:], xmp=XMP, icc_profile=ICC)


def heic(picture: Image.Image, orientation: int) -> bytes:
    picture.info["icc_profile"] = ICC
    return files.saved(picture, "HEIF", exif=exif(orientation), xmp=XMP)


def tiff(**options: object) -> Make:
    tags = {270: SECRET, 305: SECRET, 315: SECRET, 700: XMP, 33723: iptc()[26:], 34377: iptc()[14:], 34675: ICC}
    return lambda picture, orientation: (
        files.saved(picture, "TIFF", tiffinfo={**tags, draw.ORIENTATION: orientation}, **options) + MARK
    )


def jpeg2000(picture: Image.Image, _: int) -> bytes:
    """With a comment in the codestream, and boxes for XML, for XMP (by its UUID) and for a publisher's URL."""
    data = files.saved(picture, "JPEG2000", comment=SECRET)
    boxes = files.box(b"xml ", b"<a>" + MARK + b"</a>")
    boxes += files.box(b"uuid", bytes.fromhex("be7acfcb97a942e89c71999491e3afac") + XMP)
    boxes += files.box(b"uuid", b"JpgTiffExif->JP2" + exif(1)[6:])
    at = data.index(b"jp2c") - 4
    return data[:at] + boxes + data[at:] + files.box(b"uinf", MARK)


def bmp(picture: Image.Image, _: int) -> bytes:
    return files.saved(picture, "BMP") + MARK


def ico(picture: Image.Image, _: int) -> bytes:
    inner = png(b"".join(CHUNKS.values()))(picture, 1)
    return struct.pack("<HHHBBBBHHII", 0, 1, 1, picture.width, picture.height, 0, 0, 1, 32, len(inner), 22) + inner


def tga(picture: Image.Image, _: int) -> bytes:
    return files.saved(picture, "TGA", id_section=MARK) + MARK


def ppm(picture: Image.Image, _: int) -> bytes:
    return b"P6\n# " + MARK + b"\n%d %d\n255\n" % picture.size + picture.tobytes() + MARK


def qoi(picture: Image.Image, _: int) -> bytes:
    return files.saved(picture, "QOI") + MARK


def text() -> PngInfo:
    info = PngInfo()
    info.add_text("Author", SECRET)
    return info


FULL: dict[str, Make] = {
    **{f"JPEG with {name}": jpeg(segment) for name, segment in SEGMENTS.items()},
    "JPEG with everything": jpeg(b"".join(SEGMENTS.values()), FILM),
    "JPEG with EXIF": jpeg(),
    "JPEG with a film": jpeg(behind=FILM),
    "progressive JPEG": jpeg(SEGMENTS["XMP"], progressive=True),
    "JPEG with EXIF between two scans": between_scans,
    "MPO": mpo,
    **{f"PNG with {name}": png(chunk) for name, chunk in CHUNKS.items()},
    "PNG with everything": png(b"".join(CHUNKS.values()), FILM),
    "PNG with eXIf": png(),
    "PNG with chunks at its end": png_end,
    "PNG that shows a film": png(behind=FILM),
    "animated PNG": png(save_all=True, append_images=[draw.lighthouse(96, 64)], pnginfo=text()),
    "GIF": gif,
    "WebP": webp(),
    "lossless WebP": webp(lossless=True),
    "AVIF": avif,
    "HEIC": heic,
    "TIFF": tiff(),
    "TIFF LZW": tiff(compression="tiff_lzw"),
    "JPEG 2000": jpeg2000,
    "BMP": bmp,
    "ICO": ico,
    "TGA": tga,
    "PPM": ppm,
    "QOI": qoi,
}
#: Those in which there is no orientation to obey.
LEVEL = {"GIF", "JPEG 2000", "BMP", "ICO", "TGA", "PPM", "QOI"}


@dataclass(frozen=True)
class Way:
    """How a picture reaches the encoder: its size, the orientation it is stored under, and the limits."""

    size: tuple[int, int]
    orientation: int
    limits: ImageLimits


WAYS = {
    "as it is": Way((96, 64), 1, ImageLimits()),
    "shrunk": Way((96, 64), 1, ImageLimits(max_pixels=3072)),
    "original": Way((96, 64), 1, ImageLimits(None, None)),
    "turned": Way((96, 64), 6, ImageLimits()),
    "turned and shrunk": Way((96, 64), 8, ImageLimits(max_pixels=3072)),
    "too small to shrink": Way((24, 20), 1, ImageLimits(max_pixels=100)),
}
CASES = [(name, way) for name in FULL for way in WAYS if name not in LEVEL or WAYS[way].orientation == 1]


@cache
def made(name: str, way: str) -> bytes:
    return FULL[name](draw.lighthouse(*WAYS[way].size), WAYS[way].orientation)


@cache
def sent(name: str, way: str) -> bytes:
    return prepare_image(sources.Bytes("x", made(name, way)), WAYS[way].limits).upload.data


# A reader of our own


def unpacked(data: bytes) -> Iterator[bytes]:
    """The bytes themselves, and all in them that can be inflated."""
    yield data
    for start in re.finditer(rb"\x78[\x01\x5e\x9c\xda]", data):
        try:
            yield zlib.decompressobj().decompress(data[start.start() :])
        except zlib.error:
            continue


def tells(data: bytes) -> bool:
    """Whether the secret is anywhere in it, in any usual way to write it."""
    signs = MARK, SECRET.encode("utf-16-le"), SECRET.encode("utf-16-be"), MARK.hex().encode(), b"Seaside Optics"
    return any(sign in piece for piece in unpacked(data) for sign in signs)


def jpeg_parts(data: bytes) -> Iterator[str]:
    """Names of the segments: start, tables, frame, scans and end are the picture; JFIF and Adobe without anything more."""
    bare = {0xDB: "tables", 0xC4: "tables", 0xDD: "tables", 0xC0: "frame", 0xC1: "frame", 0xC2: "frame", 0xDA: "scan"}
    at = 2
    while data[at : at + 2] != b"\xff\xd9":
        assert data[at] == 0xFF, f"no marker at {at}"
        marker, length = data[at + 1], int.from_bytes(data[at + 2 : at + 4])
        body = data[at + 4 : at + 2 + length]
        if marker == 0xE0 and body[:5] == b"JFIF\0" and body[12:] == b"\0\0":
            yield "JFIF"
        elif marker == 0xEE and body[:5] == b"Adobe" and len(body) == 12:
            yield "Adobe"
        else:
            yield bare.get(marker, f"marker {marker:x}")
        at += 2 + length
        while marker == 0xDA and not (data[at] == 0xFF and data[at + 1] != 0 and not 0xD0 <= data[at + 1] <= 0xD7):
            at += 1
    if len(data) > at + 2:
        yield "something behind the end"


def png_parts(data: bytes) -> Iterator[str]:
    at = 8
    while at < len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        yield kind.decode("latin-1")
        at += 12 + length
        if kind == b"IEND" and at < len(data):
            yield "something behind the end"
            return


PICTURE = {"JFIF", "Adobe", "tables", "frame", "scan", "IHDR", "PLTE", "IDAT", "IEND"}


def parts_beside_the_picture(data: bytes) -> set[str]:
    return set(jpeg_parts(data) if data.startswith(b"\xff\xd8") else png_parts(data)) - PICTURE


@pytest.mark.parametrize(("name", "way"), CASES)
def test_nothing_but_the_image_is_sent(name: str, way: str) -> None:
    data = sent(name, way)
    assert (parts_beside_the_picture(data), tells(data)) == (set(), False)


@pytest.mark.parametrize("piece", [*SEGMENTS.values(), *CHUNKS.values()], ids=[*SEGMENTS, *CHUNKS])
def test_each_piece_holds_the_secret(piece: bytes) -> None:
    assert tells(piece)


@pytest.mark.parametrize(("name", "way"), CASES)
def test_the_original_contains_the_secret(name: str, way: str) -> None:
    """So that the test above could fail."""
    data = made(name, way)
    assert tells(data)
    assert not data.startswith((b"\xff\xd8", b"\x89PNG")) or parts_beside_the_picture(data)


# exiftool


#: What there is to say about any picture: how it is stored, and how large it is.
STRUCTURE = {
    "SourceFile", "ExifTool:ExifToolVersion",
    "File:FileType", "File:FileTypeExtension", "File:MIMEType", "File:ImageWidth", "File:ImageHeight",
    "File:EncodingProcess", "File:BitsPerSample", "File:ColorComponents", "File:YCbCrSubSampling",
    "JFIF:JFIFVersion", "JFIF:ResolutionUnit", "JFIF:XResolution", "JFIF:YResolution",
    "Adobe:DCTEncodeVersion", "Adobe:APP14Flags0", "Adobe:APP14Flags1", "Adobe:ColorTransform",
    "PNG:ImageWidth", "PNG:ImageHeight", "PNG:BitDepth", "PNG:ColorType", "PNG:Compression", "PNG:Filter",
    "PNG:Interlace", "PNG:Palette", "Composite:ImageSize", "Composite:Megapixels",
}  # fmt: skip


def seen_by_exiftool(folder: Path, pictures: dict[str, bytes]) -> dict[str, dict[str, object]]:
    """All that exiftool knows about some files: unknown tags, twice told ones and what is embedded too."""
    for name, data in pictures.items():
        (folder / name).write_bytes(data)
    command = ["exiftool", "-j", "-G1", "-a", "-u", "-ee3", "--System:all", *(str(folder / name) for name in pictures)]
    found = json.loads(subprocess.run(command, capture_output=True, check=False, timeout=60).stdout)
    return {Path(one["SourceFile"]).name: one for one in found}


if shutil.which("exiftool"):

    @pytest.mark.parametrize("way", WAYS)
    def test_exiftool_finds_nothing_but_the_picture(tmp_path: Path, way: str) -> None:
        names = [name for name, other in CASES if other == way]
        seen = seen_by_exiftool(tmp_path, {name: sent(name, way) for name in names})
        assert {name: set(seen[name]) - STRUCTURE for name in names} == {name: set() for name in names}

    def test_exiftool_does_find_it_in_the_files(tmp_path: Path) -> None:
        """So that the test above could fail. Of some formats it does not read everything, or nothing."""
        names = [name for name, way in CASES if way == "as it is"]
        seen = seen_by_exiftool(tmp_path, {name: made(name, "as it is") for name in names})
        unread = {name for name in names if SECRET not in json.dumps(seen[name])}
        assert unread <= {"BMP", "ICO", "QOI", "TGA", "PPM"}


# Through the program


@pytest.mark.parametrize("name", ["JPEG with everything", "PNG with everything", "HEIC", "MPO", "TIFF"])
@pytest.mark.parametrize("options", [[], ["--original"], ["--max-pixels", "3072"]], ids=["plain", "original", "shrunk"])
def test_the_whole_request_contains_no_secret(
    describe: Ask, server: Server, tmp_path: Path, name: str, options: list[str]
) -> None:
    path = tmp_path / "photo"
    path.write_bytes(made(name, "as it is"))
    run = describe(path, *options)
    (asked,) = server.asked
    data = b64decode(asked.image_url.partition(",")[2], validate=True)
    assert (run.exit_code, parts_beside_the_picture(data), tells(data), tells(asked.body)) == (0, set(), False, False)
    assert Image.open(BytesIO(data)).info.keys() <= {
        "jfif", "jfif_version", "jfif_unit", "jfif_density", "adobe", "adobe_transform",
    }  # fmt: skip
