"""Encoding: the format, the quality and the size that are sent."""

import struct
import zlib
from io import BytesIO

import pytest
from PIL import Image, ImageChops, ImageDraw, ImageStat

from qubrid_cli.errors import ImageError
from qubrid_cli.images.encode import ImageLimits

from ..support import draw
from ..support.files import saved
from ..support.pictures import METADATA_SIGNS, SCREENSHOT, encoded, noise, plain, sent


@pytest.mark.parametrize(
    ("size", "limits", "expected"),
    [
        ((2048, 1280), ImageLimits(), (2048, 1280)),
        ((2049, 1280), ImageLimits(), (2048, 1248)),
        ((2600, 1900), ImageLimits(None, None), (2600, 1900)),
        ((640, 480), ImageLimits(max_side=320), (320, 224)),
        ((640, 480), ImageLimits(max_side=640), (640, 480)),
        ((640, 480), ImageLimits(max_pixels=100_000), (352, 256)),
        ((11, 2200), ImageLimits(), (11, 2200)),
    ],
)
def test_sizes(size: tuple[int, int], limits: ImageLimits, expected: tuple[int, int]) -> None:
    assert sent(saved(plain(size=size), "BMP"), limits).size == expected


@pytest.mark.parametrize(("width", "height"), [(40_000, 200), (200, 40_000)])
def test_shrinking_makes_no_shape_that_endpoints_refuse(width: int, height: int) -> None:
    """They take shapes up to 200:1, which this image is before it is shrunk."""
    wide, high = sent(saved(Image.new("1", (width, height)), "PNG")).size
    assert max(wide, high) <= 200 * min(wide, high)


def test_original_is_still_upright_and_without_metadata() -> None:
    stored = draw.lighthouse(2000, 1500).transpose(Image.Transpose.ROTATE_90)
    image = encoded(saved(stored, "JPEG", exif=draw.private_exif(6)), ImageLimits(None, None))
    assert ((image.upload.width, image.upload.height), [sign for sign in METADATA_SIGNS if sign in image.upload.data]) == (
        (2000, 1500), [],
    )  # fmt: skip


def test_quality_reaches_the_encoder() -> None:
    data = saved(draw.lighthouse(320, 240), "WEBP")
    sizes = [len(encoded(data, ImageLimits(quality=quality)).upload.data) for quality in (20, 85, 95)]
    assert sizes == sorted(set(sizes))


#: So that its data URL has a little more than 10,485,760 characters.
NOISE = saved(noise(1620, 1618), "PNG", compress_level=0)


@pytest.mark.parametrize("limits", [ImageLimits(), ImageLimits(None, None)], ids=["default", "original"])
def test_a_png_too_large_for_a_data_url_becomes_jpeg(limits: ImageLimits) -> None:
    image = encoded(NOISE, limits)
    assert (image.upload.mime, (image.upload.width, image.upload.height), len(image.url) <= 10_485_760) == (
        "image/jpeg", (1620, 1618), True,
    )  # fmt: skip


def test_quality_is_lowered_to_fit_into_a_data_url() -> None:
    image = encoded(saved(noise(3000, 2400), "BMP"), ImageLimits(None, None, quality=95))
    assert (len(image.url) <= 10_485_760, image.warnings) == (
        True, ("x: saved at JPEG quality 70, to fit into 10,485,760 bytes",),
    )  # fmt: skip


@pytest.fixture(scope="module")
def huge_noise() -> bytes:
    """At JPEG quality 50, the lowest that is tried, it takes 8.1 MB and so a data URL of 10.9 MB."""
    return saved(noise(4500, 4400), "BMP")


def test_an_image_too_large_at_any_quality_is_shrunk(huge_noise: bytes) -> None:
    image = encoded(huge_noise, ImageLimits(max_pixels=30_000_000))
    assert (len(image.url) <= 10_485_760, (image.upload.width, image.upload.height), image.warnings) == (
        True, (3168, 3104), ("x: shrunk to 3168 × 3104, to fit into 10,485,760 bytes",),
    )  # fmt: skip


def test_an_original_too_large_at_any_quality_is_refused(huge_noise: bytes) -> None:
    with pytest.raises(ImageError, match="does not fit into a data URL of 10,485,760 bytes"):
        encoded(huge_noise, ImageLimits(None, None))


# JPEG or PNG


def page() -> Image.Image:
    """Black letters on white, as a PDF is drawn."""
    picture = Image.new("L", (1240, 1754), 255)
    pen = ImageDraw.Draw(picture)
    for line in range(40):
        pen.text((100, 60 + 40 * line), "Invoice 4711 of 1 April, total 12.50 EUR, payable in 14 days", fill=20)
    return picture


def shadowed(picture: Image.Image) -> Image.Image:
    """A window with a soft shadow around it, over a gradient: exact, and dear as PNG."""
    size = (picture.width + 600, picture.height + 600)
    around = Image.radial_gradient("L").resize(size, Image.Resampling.BICUBIC)
    around = Image.merge("RGB", (around, around.point(lambda v: v // 2), Image.linear_gradient("L").resize(size)))
    around.paste(picture, (300, 300))
    return around


def chroma(data: bytes) -> list[tuple[int, int]]:
    """The sampling factors of a JPEG's components (ITU-T T.81, B.2.2)."""
    with Image.open(BytesIO(data)) as image:
        return [(across, down) for _, across, down, _ in image.layer]  # type: ignore[attr-defined]


def test_a_photo_becomes_jpeg_with_color_at_half_resolution() -> None:
    image = encoded(saved(draw.lighthouse(640, 480), "WEBP"))
    assert (image.upload.mime, chroma(image.upload.data)) == ("image/jpeg", [(2, 2), (1, 1), (1, 1)])


def test_a_page_that_was_shrunk_is_a_png_in_gray() -> None:
    image = encoded(saved(page().convert("RGB"), "TIFF"), ImageLimits(max_side=1024))
    with Image.open(BytesIO(image.upload.data)) as picture:
        assert (picture.format, picture.mode, max(picture.size)) == ("PNG", "L", 1024)


def test_a_screenshot_that_would_be_large_as_png_is_a_jpeg_with_all_its_color() -> None:
    with Image.open(SCREENSHOT) as screenshot:
        data = saved(shadowed(screenshot.convert("RGB")), "BMP")
    large = saved(Image.open(BytesIO(data)), "PNG")
    image = encoded(data, ImageLimits(max_side=800))
    assert len(image.upload.data) < len(large)


def test_a_screenshot_in_a_jpeg_keeps_all_its_color_when_it_is_shrunk() -> None:
    with Image.open(SCREENSHOT) as screenshot:
        data = saved(screenshot.convert("RGB").resize((1600, 1200)), "JPEG", quality=92, subsampling=0)
    image = encoded(data, ImageLimits(max_side=800))
    assert (image.upload.mime, chroma(image.upload.data)) == ("image/jpeg", [(1, 1), (1, 1), (1, 1)])


def test_a_small_lossless_image_stays_lossless() -> None:
    picture = draw.lighthouse(160, 120).convert("RGBA")
    image = encoded(saved(picture, "PNG"))
    with Image.open(BytesIO(image.upload.data)) as shown:
        assert (shown.format, ImageChops.difference(shown, picture.convert("RGB")).getbbox()) == ("PNG", None)


def test_an_image_too_long_for_jpeg_is_refused_with_a_hint() -> None:
    data = saved(Image.new("L", (66_000, 400), 90), "TIFF", compression="tiff_lzw")
    with pytest.raises(ImageError, match="66000 pixels long") as caught:
        encoded(data, ImageLimits(None, None))
    assert caught.value.hint == "Leave out --original, or add --max-side 65500."
    assert encoded(data, ImageLimits(None, 65_500)).upload.width <= 65_500


@pytest.mark.parametrize("mode", ["P", "RGBA", "LA", "I;16", "1", "F", "CMYK"])
def test_conversion_in_bands_gives_the_same_image_as_conversion_at_once(mode: str) -> None:
    """4,900 × 1,000 pixels are two bands; a seam or a shift between them would show."""
    small = Image.linear_gradient("L").resize((4900, 1000))
    picture = small.convert("I").point(lambda v: v * 257).convert("I;16") if mode == "I;16" else small.convert(mode)
    data = saved(picture, "TIFF" if mode in {"F", "CMYK"} else "PNG")
    shown = sent(data, ImageLimits(max_pixels=64 * 512)).convert("L")
    wanted = small.resize(shown.size, Image.Resampling.BOX)
    difference = ImageChops.difference(shown, wanted)
    assert ImageStat.Stat(difference).mean[0] < (8 if mode == "1" else 3)


def test_16_bits_per_channel_are_sent_as_8() -> None:
    """Pillow writes none, so by hand (PNG specification, 11.2.1 and 9.2)."""
    rows = b"".join(b"\0" + struct.pack(">3H", 0x1234, 0x8080, 0xFFFF) * 32 for _ in range(32))

    def chunk(kind: bytes, data: bytes) -> bytes:
        return len(data).to_bytes(4) + kind + data + zlib.crc32(kind + data).to_bytes(4)

    header = struct.pack(">IIBBBBB", 32, 32, 16, 2, 0, 0, 0)
    data = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    image = encoded(data)
    assert (image.upload.mime, image.upload.data[24]) == ("image/png", 8)
    assert Image.open(BytesIO(image.upload.data)).getpixel((5, 5)) == (0x12, 0x80, 0xFF)


def test_a_jpeg_with_arithmetic_coding_is_encoded_again() -> None:
    """Most decoders do not read it. Its scan is empty here, which stands for zeros (ITU-T T.81, D.2.7)."""
    data = saved(Image.new("L", (64, 64)), "JPEG")
    tables, frame = data.index(b"\xff\xdb"), data.index(b"\xff\xc0")
    first, scan = data.index(b"\xff\xc4"), data.index(b"\xff\xda")
    arithmetic = (
        data[:tables]
        + data[tables:frame]
        + b"\xff\xc9"
        + data[frame + 2 : first]
        + data[scan : scan + 10]
        + b"\xff\xd9"
    )
    shown = sent(arithmetic)
    assert (b"\xff\xc9" in encoded(arithmetic).upload.data, shown.format, shown.getpixel((9, 9))) == (
        False, "JPEG", Image.open(BytesIO(arithmetic)).getpixel((9, 9)),
    )  # fmt: skip


def test_a_changed_shape_gets_a_warning() -> None:
    data = saved(Image.new("L", (20_000, 100), 90), "PNG")
    assert encoded(data, ImageLimits(max_side=1000)).warnings == (
        "x: its shape changes from 20000 × 100 to 992 × 32",
    )  # fmt: skip
    assert encoded(data, ImageLimits(max_side=6400)).warnings == ()
