"""Opening files: what is not an image, what is unsupported, damaged, too small or too large."""

import re
import struct
import zlib
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, TiffImagePlugin

from qubrid_cli.errors import ImageError
from qubrid_cli.images import decode, sources
from qubrid_cli.images.encode import ImageLimits
from qubrid_cli.images.prepare import prepare_image

from ..support import draw, files
from ..support.files import saved
from ..support.pictures import FORMATS, color, encoded, plain, refusal, sent

# Refused


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        pytest.param(b"what is this?\n", ("not_an_image", "x is not an image that can be read"), id="text"),
        pytest.param(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", ("unsupported_format", "x is a PostScript file, which is not supported"), id="EPS"),
        pytest.param(b"\0" * 4096, ("not_an_image", "x is not an image that can be read"), id="zeros"),
        pytest.param(b"", ("image", "x is empty (0 bytes)"), id="empty"),
        pytest.param(b"\xff\xd8\xff\xe0", ("damaged_image", "x is damaged or cut off (its header cannot be read)"), id="start of a JPEG"),
        pytest.param(saved(plain(size=(10, 400)), "PNG"), ("too_small", "x has 10 × 400 pixels, which is too small"), id="10 wide"),
        pytest.param(saved(plain(size=(400, 10)), "JPEG"), ("too_small", "x has 400 × 10 pixels, which is too small"), id="10 high"),
        pytest.param(saved(plain(size=(2201, 11)), "PNG"), ("too_long", "x has 2201 × 11 pixels, which is too long and narrow"), id="over 200:1"),
    ],
)  # fmt: skip
def test_refused(data: bytes, expected: tuple[str, str]) -> None:
    assert refusal(sources.Bytes("x", data)) == expected


@pytest.mark.parametrize("size", [(11, 11), (2200, 11)])
def test_the_smallest_and_the_longest_images_are_accepted(size: tuple[int, int]) -> None:
    assert sent(saved(plain(size=size), "PNG")).size == size


def forged_png(width: int, height: int) -> bytes:
    """A few bytes that claim to be a huge picture."""
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    whole = saved(plain(), "PNG")
    return whole[:12] + header + struct.pack(">I", zlib.crc32(header)) + whole[33:]


def icon_around(png: bytes) -> bytes:
    return struct.pack("<HHHBBBBHHII", 0, 1, 1, 32, 32, 0, 0, 1, 32, len(png), 22) + png


@pytest.mark.parametrize("wrapped", [bytes, icon_around], ids=["PNG", "PNG in an ICO of 32 × 32"])
def test_a_decompression_bomb_is_refused(wrapped: Callable[[bytes], bytes]) -> None:
    assert refusal(sources.Bytes("x", wrapped(forged_png(20_000, 10_000)))) == (
        "too_many_pixels", "x has more pixels than can be decoded safely",
    )  # fmt: skip


def missing(path: Path) -> None:
    """Nothing is there."""


def looping(path: Path) -> None:
    path.symlink_to(path)


def looping_folder(path: Path) -> None:
    folder = path.with_name("loop")
    folder.symlink_to(folder)
    path.symlink_to(folder / "photo.jpg")


def oversized(path: Path) -> None:
    with path.open("wb") as stream:
        stream.truncate(sources.MAX_FILE_BYTES + 1)  # sparse: takes no room


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (missing, "no such image: photo.jpg"),
        (lambda path: path.symlink_to("/dev/zero"), "photo.jpg is not a regular file"),
        (Path.mkdir, "cannot read photo.jpg: Is a directory"),
        (looping, "cannot read photo.jpg: Too many levels of symbolic links"),
        (looping_folder, "cannot read photo.jpg: Too many levels of symbolic links"),
        (Path.touch, "photo.jpg is empty (0 bytes)"),
        (oversized, "photo.jpg is larger than 512 MiB"),
    ],
)
def test_files_that_are_not_images(tmp_path: Path, make: Callable[[Path], None], message: str) -> None:
    path = tmp_path / "photo.jpg"
    make(path)
    assert refusal(sources.File("photo.jpg", path))[1] == message


def test_empty_standard_input_is_refused() -> None:
    assert refusal(sources.Stdin(BytesIO()))[1] == "standard input is empty"


def test_standard_input_is_read() -> None:
    data = saved(plain(), "PNG")
    assert prepare_image(sources.Stdin(BytesIO(data)), ImageLimits()).upload.data == data


# Damaged


SMALL = {kind: saved(draw.lighthouse(12, 11), kind) for kind in FORMATS}


def outcome(data: bytes) -> str:
    try:
        return encoded(data).upload.mime
    except ImageError:
        return "refused"


@pytest.mark.filterwarnings("ignore")  # Pillow's, which the program silences
@pytest.mark.parametrize("kind", FORMATS)
def test_a_file_cut_anywhere_is_sent_or_refused(kind: str) -> None:
    data = SMALL[kind]
    found = {outcome(data[:end]) for end in range(len(data) + 1)}
    assert found in ({"image/png", "refused"}, {"image/jpeg", "refused"}, {"image/jpeg", "image/png", "refused"})


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_half_a_file_is_called_damaged(kind: str) -> None:
    data = saved(draw.lighthouse(96, 64), kind)
    assert refusal(sources.Bytes("x", data[: len(data) // 2]))[0] == "damaged_image"


def test_a_png_with_a_wrong_checksum_is_encoded_again() -> None:
    """Strict decoders, such as libpng's own, refuse it; Pillow does not look."""
    sound = saved(draw.lighthouse(96, 64), "PNG")
    start = sound.index(b"IDAT")
    end = start + 4 + int.from_bytes(sound[start - 4 : start])
    wrong = sound[:end] + bytes([sound[end] ^ 0xFF]) + sound[end + 1 :]
    sent = encoded(wrong).upload.data
    assert (encoded(sound).upload.data, sent != wrong) == (sound, True)
    assert Image.open(BytesIO(sent)).tobytes() == Image.open(BytesIO(sound)).tobytes()


EDITS = st.lists(st.tuples(st.integers(min_value=0), st.integers(0, 255)), min_size=1, max_size=8)


@pytest.mark.filterwarnings("ignore")  # Pillow's, which the program silences
@pytest.mark.parametrize("kind", FORMATS)
@settings(max_examples=100)
@given(edits=EDITS)
def test_changed_bytes_raise_nothing_but_our_error(kind: str, edits: list[tuple[int, int]]) -> None:
    data = bytearray(SMALL[kind])
    for place, value in edits:
        data[place % len(data)] = value
    assert outcome(bytes(data)) in {"image/jpeg", "image/png", "refused"}


# Told apart


def heif(brand: str, coding: str) -> bytes:
    """The beginning of a HEIF file with one item."""
    entry = files.box(b"infe", b"\2\0\0\0\0\1\0\0" + coding.encode() + b"\0")
    inside = files.box(b"pitm", b"\0\0\0\0\0\1") + files.box(b"iinf", b"\0\0\0\0\0\1" + entry)
    brands = brand.encode() + bytes(4) + b"mif1"
    return files.box(b"ftyp", brands) + files.box(b"meta", bytes(4) + inside)


def frame_of(data: bytes, marker: int, precision: int = 8) -> bytes:
    """A JPEG whose frame header says something else."""
    start = data.index(b"\xff\xc0")
    return data[:start] + bytes((0xFF, marker)) + data[start + 2 : start + 4] + bytes((precision,)) + data[start + 5 :]


@pytest.mark.parametrize(
    ("marker", "precision", "kind"),
    [
        (0xC3, 8, "a lossless JPEG"),
        (0xC3, 16, "a lossless JPEG"),
        (0xC1, 12, "a JPEG with 12 bits per channel"),
        (0xC5, 8, "a hierarchical JPEG"),
        (0xF7, 8, "a JPEG-LS image"),
    ],
)
def test_a_jpeg_that_cannot_be_decoded_is_not_called_damaged(marker: int, precision: int, kind: str) -> None:
    data = frame_of(saved(plain(), "JPEG"), marker, precision)
    assert refusal(sources.Bytes("x", data)) == ("unsupported_format", f"x is {kind}, which is not supported")


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (files.tiff((16, 16), lambda *_: (1, 2, 3), photometric=2, depth=12), "12-bit RGB with 3 channels"),
        (files.tiff((16, 16), lambda *_: (0, 0, 0), photometric=2, depth=32, more={0x153: [3]}), "32-bit floating-point RGB with 3 channels"),
        (files.tiff((16, 16), lambda *_: (9, 9, 9, 9, 9), photometric=5), "16-bit CMYK with 5 channels"),
    ],
)  # fmt: skip
def test_a_tiff_that_cannot_be_read_is_named(data: bytes, kind: str) -> None:
    assert refusal(sources.Bytes("x", data)) == ("unsupported_format", f"x is a TIFF in {kind}, which is not supported")


@pytest.mark.parametrize("brand", [b"mif1", b"avif"])
def test_a_large_heif_is_called_large(brand: bytes) -> None:
    size = files.box(b"ispe", bytes(4) + struct.pack(">II", 60_000, 60_000))
    links = files.box(b"ipma", bytes(4) + b"\0\0\0\1" + b"\0\1" + b"\1\1")
    inside = files.box(b"pitm", b"\0\0\0\0\0\1") + files.box(b"iprp", files.box(b"ipco", size) + links)
    data = files.box(b"ftyp", brand + bytes(4) + b"mif1") + files.box(b"meta", bytes(4) + inside)
    assert refusal(sources.Bytes("x", data))[0] == "too_many_pixels"


@pytest.mark.filterwarnings("ignore")  # Pillow's, which the program silences
def test_no_error_quotes_python() -> None:
    """What Pillow and Python say of broken files is for their developers."""
    whole, said = saved(draw.lighthouse(40, 30), "TIFF"), set()
    for place in range(200):
        try:
            encoded(whole[:place] + b"\xff" + whole[place + 1 :])
        except ImageError as error:
            said.add(error.message)
    words = re.compile(
        "unpack|object|NoneType|index|buffer|argument|iteration|subscript|decoder error|int\\b", re.IGNORECASE
    )
    assert [message for message in said if words.search(message)] == []


@pytest.mark.parametrize(
    ("data", "kind", "command"),
    [
        (b"%!PS-Adobe-3.0 EPSF-3.0\n", "a PostScript file", "gs -sDEVICE=png16m"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "an SVG drawing", "rsvg-convert"),
        (b"\xef\xbb\xbf<?xml version='1.0'?>\n<!-- by hand -->\n<svg width='9'>", "an SVG drawing", "rsvg-convert"),
        (b"<?xml version='1.0'?><!DOCTYPE svg PUBLIC 'x' 'y'><svg:svg>", "an SVG drawing", "rsvg-convert"),
        (b"\xff\x0a\xfa\x7f", "a JPEG XL image", "djxl"),
        (b"\0\0\0\x0cJXL \r\n\x87\n", "a JPEG XL image", "djxl"),
        (b"II*\0\x10\0\0\0CR\x02\0", "a camera raw image", "darktable-cli"),
        (b"\0\0\0\x18ftypcrx \0\0\0\1", "a camera raw image", "darktable-cli"),
        (b"FUJIFILMCCD-RAW 0201", "a camera raw image", "darktable-cli"),
        (b"\0\0\0\x18ftypmp42", "a video", "ffmpeg"),
        (b"\0\0\0\x14ftypqt  ", "a video", "ffmpeg"),
        (b"\x1a\x45\xdf\xa3\x9f", "a video", "ffmpeg"),
        (b"RIFF\x10\0\0\0AVI LIST", "a video", "ffmpeg"),
        (b"8BPS\0\1", "a Photoshop document", "magick"),
        (b"PK\3\4\x14\0", "an archive or an office document", "unzip"),
        (b"II\x1a\0\0\0HEAPCCDR", "a camera raw image (Canon CRW)", "darktable-cli"),
        (b"/* XPM */\nstatic char *x[] = {", "an XPM image", "magick"),
        (b"#define x_width 16\n", "an XBM image", "magick"),
        (b"P7\nWIDTH 9\n", "a PAM image", "magick"),
        (b"II\xbc\x01", "a JPEG XR image", "JxrDecApp"),
        (heif("avci", "avc1"), "a HEIF image with AVC coding", "heif-convert"),
        (heif("mif1", "j2k1"), "a HEIF image with JPEG 2000 coding", "heif-convert"),
        (files.box(b"ftyp", b"msf1\0\0\0\0hevc") + files.box(b"moov", b"x"), "a HEIF image sequence", "ffmpeg"),
        (heif("mif2", "vvc1"), "a HEIF image with VVC coding", "heif-convert"),
    ],
)  # fmt: skip
def test_an_unsupported_format_is_named_with_a_command_that_converts_it(data: bytes, kind: str, command: str) -> None:
    with pytest.raises(ImageError) as caught:
        prepare_image(sources.Bytes("my file", data + bytes(64)), ImageLimits())
    assert (caught.value.code, caught.value.message) == (
        "unsupported_format",
        f'"my file" is {kind}, which is not supported',
    )
    assert caught.value.hint is not None
    assert caught.value.hint.startswith(f"Convert it to an image first: {command}")
    assert '"my file' in caught.value.hint


@pytest.mark.parametrize("tags", [{50706: b"\1\4\0\0"}, {254: 1, 330: 8}], ids=["DNG", "preview before SubIFDs"])
def test_a_camera_raw_tiff_is_not_replaced_by_its_preview(tags: dict[int, object]) -> None:
    info = TiffImagePlugin.ImageFileDirectory_v2()
    for tag, value in tags.items():
        info[tag] = value
    assert refusal(sources.Bytes("x", saved(plain(), "TIFF", tiffinfo=info))) == (
        "unsupported_format", "x is a camera raw image, which is not supported",
    )  # fmt: skip


def test_a_web_page_instead_of_an_image_is_recognized() -> None:
    with pytest.raises(ImageError) as caught:
        prepare_image(sources.Bytes("photo.jpg", b"<!DOCTYPE html><html><title>404</title>"), ImageLimits())
    assert caught.value.hint == "It is a web page; perhaps a server sent it instead of the image."


def test_an_unsupported_variant_is_not_called_damaged() -> None:
    data = bytearray(saved(plain(), "BMP"))
    data[28:30] = (30000).to_bytes(2, "little")
    assert refusal(sources.Bytes("x", bytes(data))) == (
        "damaged_image", "x is stored in a way that cannot be read here (Unsupported BMP pixel depth (30000))",
    )  # fmt: skip


def test_a_png_with_a_decompression_bomb_as_text_is_sent() -> None:
    bomb = b"Comment\0\0" + zlib.compress(bytes(200_000_000))
    chunk = len(bomb).to_bytes(4) + b"zTXt" + bomb + zlib.crc32(b"zTXt" + bomb).to_bytes(4)
    data = saved(plain("green"), "PNG")
    end = data.index(b"IDAT") - 4
    image = encoded(data[:end] + chunk + data[end:])
    assert (color(Image.open(BytesIO(image.upload.data))), len(image.upload.data) < 1000) == ("green", True)


def test_a_jpeg_of_thousands_of_scans_is_refused_at_once() -> None:
    """Each scan passes over all pixels: 2 MB of them would keep a decoder busy for an hour."""
    data = saved(plain(size=(6000, 4000)), "JPEG", progressive=True)
    last = data.rindex(b"\xff\xda")
    assert refusal(sources.Bytes("x", data[:-2] + 200 * data[last:-2] + data[-2:]))[0] == "too_many_scans"


@pytest.mark.parametrize("unit", ["<!---->", "<?a?>", "<!DOCTYPE a [ ]>", " <!-- x --> ", "<!DOCTYPE a>"])
def test_what_begins_like_an_svg_but_is_not_one_is_refused_quickly(unit: str) -> None:
    """A pattern that tried all ways to read this would take longer than anybody lives."""
    assert refusal(sources.Bytes("x", (unit * 500 + "x").encode()))[0] == "not_an_image"


def test_a_photo_followed_by_a_video_is_accepted() -> None:
    photo = saved(plain("green", size=(6000, 4000)), "JPEG")
    image = encoded(photo + b"\xff\xda" * 5000)
    assert (color(Image.open(BytesIO(image.upload.data))), image.width) == ("green", 6000)


def test_a_tiff_that_pillow_does_not_know_is_not_called_damaged() -> None:
    data = bytearray(saved(plain(), "TIFF"))
    place = data.index(b"\x02\x01\x03\x00")  # tag 258, BitsPerSample: three numbers, elsewhere
    (offset,) = struct.unpack_from("<I", data, place + 8)
    struct.pack_into("<3H", data, offset, 24, 24, 24)
    assert refusal(sources.Bytes("x", bytes(data))) == (
        "unsupported_format", "x is a TIFF in 24-bit RGB with 3 channels, which is not supported",
    )  # fmt: skip


def test_a_heic_that_would_end_the_process_is_refused() -> None:
    """pi_heif 1.4 reads the type of an item as text, wherever that leads."""
    exif = Image.Exif()
    exif[0x010F] = "Maker"
    data = saved(plain(size=(64, 64)), "HEIF", exif=exif.tobytes())
    assert data.count(b"Exif\0") >= 1
    entry = re.search(rb"infe\x02.{7}Exif", data, re.DOTALL)
    assert entry is not None
    broken = data[: entry.end() - 2] + b"\x80f" + data[entry.end() :]
    assert refusal(sources.Bytes("x", broken)) == (
        "damaged_image",
        "x is damaged or cut off (the type of an item is not ASCII)",
    )


@pytest.mark.parametrize("kind", ["WEBP", "AVIF", "JPEG2000"])
def test_a_small_file_does_not_ask_for_gigabytes(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Their decoders hold the picture several times; the limit is lowered here, for such pictures take long to make."""
    monkeypatch.setitem(decode._MAX_PIXELS_BY_FORMAT, kind, 1000)
    assert refusal(sources.Bytes("x", saved(plain(size=(64, 64)), kind)))[0] == "too_many_pixels"


def test_a_name_that_looks_like_an_option_or_a_url_is_safe_to_paste_from_a_hint() -> None:
    for name, shown in (("-o.svg", "./-o.svg"), ("https://example.com/a.svg", "FILE")):
        with pytest.raises(ImageError) as caught:
            prepare_image(sources.Bytes(name, b"<svg width='9'>"), ImageLimits())
        assert caught.value.hint == f"Convert it to an image first: rsvg-convert -w 1568 {shown} -o out.png"


def test_a_16_bit_ppm_with_comments_is_read() -> None:
    raster = struct.pack(">3H", 0x1234, 0x8000, 0xFFFF) * 3072
    picture = sent(b"P6\n# by hand\n64 48 # behind\n65535\n" + raster, ImageLimits(max_side=64))
    assert picture.convert("RGB").getpixel((9, 9)) == (0x12, 0x80, 0xFF)
