import hashlib
import os
import struct
import zlib
from base64 import b64decode
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from random import Random

import pillow_heif
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageChops, ImageCms, ImageStat
from PIL.PngImagePlugin import PngInfo

from qubrid_cli import reading, sources
from qubrid_cli.errors import ImageError
from qubrid_cli.images import Encoded, Limits, Payload, Workshop, encode

from . import draw

Colour = tuple[int, int, int]

NAMED: dict[str, Colour] = {
    "red": (200, 30, 30), "green": (30, 160, 40), "blue": (40, 60, 200), "yellow": (240, 215, 60),
    "white": (255, 255, 255), "black": (0, 0, 0),
}  # fmt: skip
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "TIFF", "AVIF", "HEIF", "BMP", "ICO", "JPEG2000", "PPM", "QOI", "TGA")
XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/">GPS-SECRET</x:xmpmeta>'
METADATA_SIGNS = (*draw.SECRETS, b"Exif", b"eXIf", b"http://ns.adobe.com", b"ICC_PROFILE", b"iCCP")
SCREENSHOT = draw.IMAGES / "screenshot.png"


def file(image: Image.Image, kind: str, **options: object) -> bytes:
    stream = BytesIO()
    if kind == "HEIF":  # by hand: registering the encoder would replace the decoder under test
        pillow_heif.from_pillow(image).save(stream, **options)
    else:
        image.save(stream, kind, **options)
    return stream.getvalue()


def encoded(data: bytes, limits: Limits | None = None) -> Encoded:
    return encode(sources.Bytes("x", data), limits or Limits())


def sent(data: bytes, limits: Limits | None = None) -> Image.Image:
    """The picture that an endpoint gets."""
    return Image.open(BytesIO(encoded(data, limits).sent.data), formats=("JPEG", "PNG"))


def colour(image: Image.Image, x: int = 16, y: int = 16) -> str:
    """The name of the colour that a pixel is nearest to."""
    pixel = rgb(image, x, y)
    return min(NAMED, key=lambda name: sum(abs(a - b) for a, b in zip(NAMED[name], pixel, strict=True)))


def rgb(image: Image.Image, x: int = 16, y: int = 16) -> Colour:
    pixel = image.convert("RGB").getpixel((x, y))
    assert isinstance(pixel, tuple)
    return pixel[0], pixel[1], pixel[2]


def four_corners() -> Image.Image:
    """96 × 64 pixels, a colour in each quarter."""
    picture = Image.new("RGB", (96, 64), NAMED["red"])
    picture.paste(NAMED["green"], (48, 0, 96, 32))
    picture.paste(NAMED["blue"], (0, 32, 48, 64))
    picture.paste(NAMED["yellow"], (48, 32, 96, 64))
    return picture


def corners(image: Image.Image) -> list[str]:
    right, bottom = image.width - 8, image.height - 8
    return [colour(image, *place) for place in ((8, 8), (right, 8), (8, bottom), (right, bottom))]


def plain(name: str = "red", mode: str = "RGB", size: tuple[int, int] = (32, 32)) -> Image.Image:
    return Image.new("RGB", size, NAMED[name]).convert(mode)


def noise(width: int, height: int) -> Image.Image:
    return Image.frombytes("RGB", (width, height), Random(1).randbytes(3 * width * height))


# Upright


#: What the camera did to the upright picture for each orientation: the inverse of what undoes it (EXIF 2.32, 4.6.4).
STORED = {
    1: None,
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF", "HEIF"])
@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize(
    ("limits", "size"), [(Limits(), (96, 64)), (Limits(max_pixels=3072), (64, 32))], ids=["whole", "shrunk"]
)
def test_every_orientation_arrives_upright(kind: str, orientation: int, limits: Limits, size: tuple[int, int]) -> None:
    turn = STORED[orientation]
    stored = four_corners() if turn is None else four_corners().transpose(turn)
    exif = Image.Exif()
    exif[draw.ORIENTATION] = orientation
    image = encoded(file(stored, kind, exif=exif.tobytes()), limits)
    picture = Image.open(BytesIO(image.sent.data))
    assert (image.width, image.height, picture.size, (image.sent.width, image.sent.height), corners(picture)) == (
        96, 64, size, size, ["red", "green", "blue", "yellow"],
    )  # fmt: skip


@pytest.mark.filterwarnings("ignore")  # Pillow's, which the program silences
def test_a_broken_exif_block_does_not_matter() -> None:
    data = file(four_corners(), "JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\xff")
    assert corners(sent(data)) == ["red", "green", "blue", "yellow"]


# A phone's photo


@pytest.fixture(scope="module")
def phone_photo(tmp_path_factory: pytest.TempPathFactory) -> Encoded:
    """3000 × 4000 pixels to the eye, stored as 4000 × 3000 with orientation 6, a place and a comment."""
    path = tmp_path_factory.mktemp("camera") / "photo.jpg"
    draw.photo(path, 3000, 4000)
    return encode(sources.File("photo.jpg", path), Limits())


def test_a_phone_photo_is_shrunk_to_multiples_of_32(phone_photo: Encoded) -> None:
    assert (phone_photo.sent.mime, phone_photo.sent.width, phone_photo.sent.height) == ("image/jpeg", 1376, 1856)


def test_a_phone_photo_looks_as_it_did(phone_photo: Encoded) -> None:
    """Compared in squares, for the grain differs."""
    got, expected = (
        picture.resize((18, 24), Image.Resampling.BOX)
        for picture in (Image.open(BytesIO(phone_photo.sent.data)), draw.lighthouse(750, 1000))
    )
    assert max(ImageStat.Stat(ImageChops.difference(got, expected)).mean) < 3


def test_a_phone_photo_tells_nothing_about_its_owner(phone_photo: Encoded) -> None:
    assert [sign for sign in METADATA_SIGNS if sign in phone_photo.sent.data] == []


def test_detail_survives_the_decoders_own_shrinking() -> None:
    """Stripes 8 pixels wide, shrunk to half: still black and white, where coarser decoding would leave them grey."""
    stripes = Image.frombytes("L", (1280, 960), (b"\0" * 8 + b"\xff" * 8) * 80 * 960)
    assert ImageStat.Stat(sent(file(stripes, "JPEG"), Limits(max_side=640))).stddev[0] > 100


# As it is


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(file(draw.lighthouse(96, 64), "JPEG"), id="JPEG"),
        pytest.param(file(draw.lighthouse(96, 64), "JPEG", progressive=True), id="progressive JPEG"),
        pytest.param(file(draw.lighthouse(96, 64), "JPEG", keep_rgb=True), id="JPEG stored as RGB"),
        pytest.param(file(draw.lighthouse(96, 64).convert("L"), "JPEG"), id="grey JPEG"),
        pytest.param(file(draw.lighthouse(96, 64), "PNG"), id="PNG"),
        pytest.param(file(draw.lighthouse(96, 64).quantize(), "PNG"), id="palette PNG"),
        pytest.param(file(draw.lighthouse(96, 64).convert("1"), "PNG"), id="1-bit PNG"),
        pytest.param(file(plain(size=(2048, 1280)), "PNG"), id="PNG of 2,621,440 pixels"),
    ],
)
def test_what_fits_is_sent_byte_for_byte(data: bytes) -> None:
    assert encoded(data).sent.data == data


def png_text() -> PngInfo:
    info = PngInfo()
    info.add_text("Author", "A. Keeper")
    info.add_itxt("XML:com.adobe.xmp", XMP.decode())
    info.add_text("Comment", "A. Keeper", zip=True)
    return info


SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


@pytest.mark.parametrize(
    ("kind", "extra"),
    [
        pytest.param("JPEG", {"exif": draw.private_exif(1)}, id="JPEG EXIF"),
        pytest.param("JPEG", {"xmp": XMP}, id="JPEG XMP"),
        pytest.param("JPEG", {"comment": b"A. Keeper"}, id="JPEG comment"),
        pytest.param("JPEG", {"icc_profile": SRGB}, id="JPEG sRGB"),
        pytest.param("MPO", {"save_all": True, "append_images": [plain("blue")]}, id="MPO second image"),
        pytest.param("PNG", {"pnginfo": png_text()}, id="PNG tEXt, zTXt, iTXt"),
        pytest.param("PNG", {"exif": draw.private_exif(1)}, id="PNG eXIf"),
        pytest.param("PNG", {"icc_profile": SRGB}, id="PNG sRGB"),
        pytest.param("PNG", {"dpi": (300, 300)}, id="PNG pHYs"),
    ],
)
def test_metadata_stays_at_home(kind: str, extra: dict[str, object]) -> None:
    """The bytes that are sent are those of the same picture saved without it."""
    picture = draw.lighthouse(96, 64)
    assert encoded(file(picture, kind, **extra)).sent.data == file(picture, kind.replace("MPO", "JPEG"))


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_bytes_behind_the_end_stay_at_home(kind: str) -> None:
    data = file(draw.lighthouse(96, 64), kind)
    assert encoded(data + b"A. Keeper").sent.data == data


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF", "HEIF"])
def test_metadata_does_not_outlive_a_conversion(kind: str) -> None:
    options: dict[str, object] = {"exif": draw.private_exif(1).tobytes()}
    if kind != "HEIF":
        options |= {"xmp": XMP} if kind != "PNG" else {"pnginfo": png_text()}
    if kind == "JPEG":
        options |= {"comment": b"A. Keeper"}
    data = encoded(file(four_corners(), kind, **options), Limits(max_pixels=3072)).sent.data
    assert [sign for sign in (*METADATA_SIGNS, b"A. Keeper", b"adobe") if sign in data] == []


# Colours


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(file(Image.new("RGBA", (32, 32), (200, 30, 30, 0)), "PNG"), id="RGBA"),
        pytest.param(file(Image.new("LA", (32, 32), (0, 0)), "PNG"), id="grey and alpha"),
        pytest.param(file(Image.new("P", (32, 32)), "PNG", transparency=0), id="palette"),
        pytest.param(file(Image.new("L", (32, 32), 7), "PNG", transparency=7), id="a grey as the transparent one"),
        pytest.param(file(Image.new("1", (32, 32)), "PNG", transparency=0), id="1-bit, black as the transparent one"),
        pytest.param(file(Image.new("I;16", (32, 32), 7), "PNG", transparency=7), id="16-bit grey, one transparent"),
        pytest.param(file(Image.new("P", (32, 32)), "GIF", transparency=0), id="GIF"),
        pytest.param(file(Image.new("RGBA", (32, 32)), "WEBP", lossless=True), id="WebP"),
        pytest.param(file(Image.new("RGBA", (32, 32)), "TIFF"), id="TIFF"),
        pytest.param(file(Image.new("RGBA", (32, 32)), "ICO", sizes=[(32, 32)]), id="ICO"),
        pytest.param(file(Image.new("RGBA", (32, 32)), "HEIF"), id="HEIC"),
    ],
)
def test_what_is_transparent_becomes_white(data: bytes) -> None:
    picture = sent(data)
    assert (picture.mode in {"L", "RGB"}, picture.has_transparency_data, rgb(picture)) == (True, False, (255, 255, 255))


def test_half_transparent_black_becomes_grey() -> None:
    assert rgb(sent(file(Image.new("RGBA", (32, 32), (0, 0, 0, 128)), "PNG"))) == (127, 127, 127)


def test_an_opaque_palette_entry_beside_a_transparent_one_keeps_its_colour() -> None:
    picture = Image.new("P", (32, 32), 1)
    picture.putpalette([0, 0, 0, *NAMED["red"]])
    assert rgb(sent(file(picture, "PNG", transparency=0))) == NAMED["red"]


@pytest.mark.parametrize("kind", FORMATS)
def test_every_format_keeps_its_colours(kind: str) -> None:
    assert corners(sent(file(four_corners(), kind))) == ["red", "green", "blue", "yellow"]


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(file(plain(mode="CMYK"), "JPEG"), id="CMYK JPEG"),
        pytest.param(file(plain(mode="CMYK"), "TIFF"), id="CMYK TIFF"),
        pytest.param(file(plain(mode="YCbCr"), "TIFF"), id="YCbCr TIFF"),
        pytest.param(file(plain(mode="RGBX"), "TIFF"), id="RGBX TIFF"),
    ],
)
def test_other_colour_spaces_become_rgb(data: bytes) -> None:
    picture = sent(data)
    assert (picture.mode, colour(picture)) == ("RGB", "red")


def test_black_and_white_tiff_keeps_both() -> None:
    picture = Image.new("1", (32, 32))
    picture.paste(1, (16, 0, 32, 32))
    image = sent(file(picture, "TIFF", compression="group4"))
    assert [image.getpixel((8, 8)), image.getpixel((24, 8))] == [0, 255]


@pytest.mark.parametrize(("mode", "kind"), [("I;16", "PNG"), ("I;16", "TIFF"), ("I;16B", "TIFF")])
@pytest.mark.parametrize(("stored", "shown"), [(0, 0), (300, 1), (0x8080, 128), (65535, 255)])
def test_16_bit_grey_is_scaled_and_not_clipped(mode: str, kind: str, stored: int, shown: int) -> None:
    assert rgb(sent(file(Image.new(mode, (32, 32), stored), kind))) == (shown, shown, shown)


def float_ramp() -> Image.Image:
    """From 0.0 on the left to 31.0 on the right."""
    row = struct.pack("<32f", *range(32))
    return Image.frombytes("F", (32, 32), row * 32)


def test_float_tiff_is_scaled_to_its_range() -> None:
    image = sent(file(float_ramp(), "TIFF"))
    assert [image.getpixel((x, 16)) for x in (0, 31)] == [0, 255]


def test_a_float_tiff_is_seen_in_spite_of_a_missing_value() -> None:
    """Elevation maps mark a missing value as NaN."""
    ramp = float_ramp()
    ramp.putpixel((0, 0), float("nan"))
    image = sent(file(ramp, "TIFF"))
    assert [image.getpixel((x, 16)) for x in (0, 31)] == [0, 255]


#: The columns for red, green and blue of Display P3's matrix, adapted to D50.
P3 = ((0.51512, 0.2412, -0.00105), (0.29198, 0.69225, 0.04189), (0.1571, 0.06657, 0.78407))


def profile(name: str, *, colorants: tuple[tuple[float, ...], ...] = (), linear: bool = False) -> bytes:
    """LittleCMS's own sRGB profile under another name, with other primaries or without a curve (ICC.1:2022, 7.3)."""
    data = bytearray(SRGB.replace("sRGB built-in".encode("utf-16-be"), name.ljust(13).encode("utf-16-be")))
    count = int.from_bytes(data[128:132])
    at = {tag: place for tag, place, _ in struct.iter_unpack(">4sII", data[132 : 132 + 12 * count])}
    for tag, column in zip((b"rXYZ", b"gXYZ", b"bXYZ"), colorants, strict=False):
        struct.pack_into(">3i", data, at[tag] + 8, *(round(value * 65536) for value in column))
    if linear:
        struct.pack_into(">4s8x", data, at[b"rTRC"], b"curv")
    return bytes(data)


def is_near(got: Colour, wanted: Colour) -> bool:
    return max(abs(a - b) for a, b in zip(got, wanted, strict=True)) <= 3


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
def test_display_p3_is_converted_to_srgb(kind: str) -> None:
    """215, 93, 31 by the formulas of CSS Color 4, section 10.4 and 10.2."""
    picture = Image.new("RGB", (32, 32), (200, 100, 50))
    assert is_near(rgb(sent(file(picture, kind, icc_profile=profile("Display P3", colorants=P3)))), (215, 93, 31))


@pytest.mark.parametrize("name", ["Linear light", "Linear sRGB"])
def test_linear_light_is_converted_whatever_its_profile_is_called(name: str) -> None:
    """0.2157 of the light is 128 of 255 in sRGB (IEC 61966-2-1)."""
    data = file(Image.new("RGB", (32, 32), (55, 55, 55)), "PNG", icc_profile=profile(name, linear=True))
    assert is_near(rgb(sent(data)), (128, 128, 128))


@pytest.mark.parametrize("icc", [b"no profile", profile("Display P3", colorants=P3)[:200]], ids=["text", "cut off"])
def test_a_broken_profile_does_not_matter(icc: bytes) -> None:
    assert rgb(sent(file(plain(), "PNG", icc_profile=icc))) == NAMED["red"]


def test_an_rgb_profile_on_a_grey_picture_does_not_matter() -> None:
    data = file(Image.new("L", (32, 32), 55), "PNG", icc_profile=profile("Display P3", colorants=P3))
    assert rgb(sent(data)) == (55, 55, 55)


# Frames and kinds


@pytest.mark.parametrize(
    ("kind", "what"), [("GIF", "frames"), ("WEBP", "frames"), ("PNG", "frames"), ("AVIF", "frames"), ("TIFF", "pages")]
)
def test_of_several_frames_the_first_is_sent_with_a_warning(kind: str, what: str) -> None:
    data = file(plain("red"), kind, save_all=True, append_images=[plain("blue"), plain("green")])
    image = encoded(data)
    picture = Image.open(BytesIO(image.sent.data))
    assert (colour(picture), getattr(picture, "n_frames", 1), image.warnings) == (
        "red", 1, (f"x: only the first of 3 {what} is sent",),
    )  # fmt: skip


def test_a_broken_second_frame_costs_nothing() -> None:
    first, second = draw.lighthouse(32, 32).quantize(), draw.lighthouse(32, 32).rotate(90).quantize()
    whole = file(first, "GIF", save_all=True, append_images=[second], duration=100)
    assert encoded(whole[:-200]).sent.data == encoded(whole).sent.data


@pytest.mark.parametrize("kind", ["PNG", "GIF", "TIFF", "BMP", "QOI"])
def test_a_screenshot_stays_exact(kind: str) -> None:
    with Image.open(SCREENSHOT) as screenshot:
        picture = screenshot.quantize() if kind == "GIF" else screenshot.copy()
    image = encoded(file(picture, kind))
    difference = ImageChops.difference(Image.open(BytesIO(image.sent.data)).convert("RGB"), picture.convert("RGB"))
    assert (image.sent.mime, difference.getbbox()) == ("image/png", None)


def test_a_shrunk_screenshot_stays_png() -> None:
    assert encoded(SCREENSHOT.read_bytes(), Limits(max_side=320)).sent.mime == "image/png"


def test_a_shrunk_photo_becomes_jpeg_also_from_png() -> None:
    assert encoded(file(draw.lighthouse(320, 240), "PNG"), Limits(max_side=256)).sent.mime == "image/jpeg"


def test_the_type_comes_from_the_bytes_and_not_from_the_name(tmp_path: Path) -> None:
    path = tmp_path / "photo.png"
    path.write_bytes(file(plain(), "JPEG"))
    image = encode(sources.File("photo.png", path), Limits())
    assert (image.format, image.sent.mime) == ("JPEG", "image/jpeg")


@pytest.mark.parametrize(("kind", "said"), [("MPO", "JPEG"), ("DIB", "BMP"), *((kind, kind) for kind in FORMATS)])
def test_what_is_said_about_an_image(kind: str, said: str) -> None:
    data = file(plain(size=(40, 32)), kind, **({"sizes": [(40, 32)]} if kind == "ICO" else {}))
    image = encoded(data)
    assert replace(image, seconds=0) == Encoded(
        name="x", sha256=hashlib.sha256(data).hexdigest(), format=said, width=40, height=32, size=len(data),
        sent=Payload(image.sent.mime, 40, 32, image.sent.data), seconds=0,
    )  # fmt: skip


def test_the_url_holds_what_is_sent() -> None:
    image = encoded(file(plain(), "PNG"))
    head, _, body = image.url.partition(",")
    assert (head, b64decode(body, validate=True)) == ("data:image/png;base64", image.sent.data)


# Sizes


@pytest.mark.parametrize(
    ("size", "limits", "expected"),
    [
        ((2048, 1280), Limits(), (2048, 1280)),
        ((2049, 1280), Limits(), (2048, 1248)),
        ((2600, 1900), Limits(None, None), (2600, 1900)),
        ((640, 480), Limits(max_side=320), (320, 224)),
        ((640, 480), Limits(max_side=640), (640, 480)),
        ((640, 480), Limits(max_pixels=100_000), (352, 256)),
        ((11, 2200), Limits(), (11, 2200)),
    ],
)
def test_sizes(size: tuple[int, int], limits: Limits, expected: tuple[int, int]) -> None:
    assert sent(file(plain(size=size), "BMP"), limits).size == expected


@pytest.mark.parametrize(("width", "height"), [(40_000, 200), (200, 40_000)])
def test_shrinking_makes_no_shape_that_endpoints_refuse(width: int, height: int) -> None:
    """They take shapes up to 200:1, which this image is before it is shrunk."""
    wide, high = sent(file(Image.new("1", (width, height)), "PNG")).size
    assert max(wide, high) <= 200 * min(wide, high)


def test_original_is_still_upright_and_without_metadata() -> None:
    stored = draw.lighthouse(2000, 1500).transpose(Image.Transpose.ROTATE_90)
    image = encoded(file(stored, "JPEG", exif=draw.private_exif(6)), Limits(None, None))
    assert ((image.sent.width, image.sent.height), [sign for sign in METADATA_SIGNS if sign in image.sent.data]) == (
        (2000, 1500), [],
    )  # fmt: skip


def test_quality_reaches_the_encoder() -> None:
    data = file(draw.lighthouse(320, 240), "WEBP")
    sizes = [len(encoded(data, Limits(quality=quality)).sent.data) for quality in (20, 85, 95)]
    assert sizes == sorted(set(sizes))


#: So that its data URL has a little more than 10,485,760 characters.
NOISE = file(noise(1620, 1618), "PNG", compress_level=0)


@pytest.mark.parametrize("limits", [Limits(), Limits(None, None)], ids=["default", "original"])
def test_a_png_too_large_for_a_data_url_becomes_jpeg(limits: Limits) -> None:
    image = encoded(NOISE, limits)
    assert (image.sent.mime, (image.sent.width, image.sent.height), len(image.url) <= 10_485_760) == (
        "image/jpeg", (1620, 1618), True,
    )  # fmt: skip


def test_quality_is_lowered_to_fit_into_a_data_url() -> None:
    image = encoded(file(noise(3000, 2400), "BMP"), Limits(None, None, quality=95))
    assert (len(image.url) <= 10_485_760, image.warnings) == (
        True, ("x: saved at JPEG quality 70, to fit into 10,485,760 bytes",),
    )  # fmt: skip


@pytest.fixture(scope="module")
def huge_noise() -> bytes:
    """At JPEG quality 50, the lowest that is tried, it takes 8.1 MB and so a data URL of 10.9 MB."""
    return file(noise(4500, 4400), "BMP")


def test_what_no_quality_makes_fit_is_shrunk(huge_noise: bytes) -> None:
    image = encoded(huge_noise, Limits(max_pixels=30_000_000))
    assert (len(image.url) <= 10_485_760, (image.sent.width, image.sent.height), image.warnings) == (
        True, (3168, 3104), ("x: shrunk to 3168 × 3104, to fit into 10,485,760 bytes",),
    )  # fmt: skip


def test_what_no_quality_makes_fit_and_may_not_be_shrunk_is_refused(huge_noise: bytes) -> None:
    with pytest.raises(ImageError, match="does not fit into a data URL of 10,485,760 bytes"):
        encoded(huge_noise, Limits(None, None))


# Refused


def refusal(source: sources.File | sources.Bytes | sources.Piped) -> tuple[str, str]:
    """The code and the message."""
    with pytest.raises(ImageError) as caught:
        encode(source, Limits())
    return caught.value.code, caught.value.message


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        pytest.param(b"what is this?\n", ("not_an_image", "x is not an image that can be read"), id="text"),
        pytest.param(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", ("not_an_image", "x is not an image that can be read"), id="EPS"),
        pytest.param(b"\0" * 4096, ("not_an_image", "x is not an image that can be read"), id="zeros"),
        pytest.param(b"", ("image", "x is empty (0 bytes)"), id="empty"),
        pytest.param(b"\xff\xd8\xff\xe0", ("damaged_image", "x is damaged or cut off (its header cannot be read)"), id="start of a JPEG"),
        pytest.param(file(plain(size=(10, 400)), "PNG"), ("too_small", "x has 10 × 400 pixels, which is too small"), id="10 wide"),
        pytest.param(file(plain(size=(400, 10)), "JPEG"), ("too_small", "x has 400 × 10 pixels, which is too small"), id="10 high"),
        pytest.param(file(plain(size=(2201, 11)), "PNG"), ("too_long", "x has 2201 × 11 pixels, which is too long a shape"), id="over 200:1"),
    ],
)  # fmt: skip
def test_refused(data: bytes, expected: tuple[str, str]) -> None:
    assert refusal(sources.Bytes("x", data)) == expected


@pytest.mark.parametrize("size", [(11, 11), (2200, 11)])
def test_the_smallest_and_the_longest_are_taken(size: tuple[int, int]) -> None:
    assert sent(file(plain(size=size), "PNG")).size == size


def forged_png(width: int, height: int) -> bytes:
    """A few bytes that claim to be a huge picture."""
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    whole = file(plain(), "PNG")
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
        stream.truncate(reading.MAX_FILE_BYTES + 1)  # sparse: takes no room


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (missing, "no such image: photo.jpg"),
        (os.mkfifo, "photo.jpg is not a regular file"),
        (lambda path: path.symlink_to("/dev/zero"), "photo.jpg is not a regular file"),
        (Path.mkdir, "cannot read photo.jpg: Is a directory"),
        (looping, "cannot read photo.jpg: Too many levels of symbolic links"),
        (looping_folder, "cannot read photo.jpg: Too many levels of symbolic links"),
        (Path.touch, "photo.jpg is empty (0 bytes)"),
        (oversized, "photo.jpg is larger than 512 MiB"),
    ],
)
def test_files_that_are_no_images(tmp_path: Path, make: Callable[[Path], None], message: str) -> None:
    path = tmp_path / "photo.jpg"
    make(path)
    assert refusal(sources.File("photo.jpg", path))[1] == message


def test_empty_standard_input_is_refused() -> None:
    assert refusal(sources.Piped(BytesIO()))[1] == "nothing came on standard input"


def test_standard_input_is_read() -> None:
    data = file(plain(), "PNG")
    assert encode(sources.Piped(BytesIO(data)), Limits()).sent.data == data


# Damaged


SMALL = {kind: file(draw.lighthouse(20, 16), kind) for kind in FORMATS}


def outcome(data: bytes) -> str:
    try:
        return encoded(data).sent.mime
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
    data = file(draw.lighthouse(96, 64), kind)
    assert refusal(sources.Bytes("x", data[: len(data) // 2]))[0] == "damaged_image"


def test_a_png_whose_checksums_are_wrong_is_not_passed_on_as_it_is() -> None:
    """Strict decoders, such as libpng's own, refuse it; Pillow does not look."""
    data = bytearray(file(draw.lighthouse(96, 64), "PNG"))
    data[len(data) // 2] ^= 0xFF
    with suppress(ImageError):
        assert encoded(bytes(data)).sent.data != data


EDITS = st.lists(st.tuples(st.integers(min_value=0), st.integers(0, 255)), min_size=1, max_size=8)


@pytest.mark.filterwarnings("ignore")  # Pillow's, which the program silences
@pytest.mark.parametrize("kind", FORMATS)
@settings(max_examples=100, deadline=None)
@given(edits=EDITS)
def test_changed_bytes_raise_nothing_but_our_error(kind: str, edits: list[tuple[int, int]]) -> None:
    data = bytearray(SMALL[kind])
    for place, value in edits:
        data[place % len(data)] = value
    assert outcome(bytes(data)) in {"image/jpeg", "image/png", "refused"}


# Threads


def test_the_workshop_keeps_the_order_and_passes_links_on() -> None:
    link = sources.Link("https://example.com/a.jpg", "https://example.com/a.jpg")
    pictures = [sources.Bytes(name, file(plain(name), "PNG")) for name in ("red", "green", "blue")]
    workshop = Workshop(Limits())
    prepared = [(work.name, work.future.result()) for work in workshop.start([*pictures, link])]
    assert [name for name, _ in prepared] == ["red", "green", "blue", link.name]
    assert prepared[-1][1] is link
