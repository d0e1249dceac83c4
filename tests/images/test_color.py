"""Color: any mode, depth and profile becomes sRGB."""

import struct

import pytest
from PIL import Image

from ..support.files import saved
from ..support.pictures import FORMATS, NAMED, SRGB, Color, color, corners, four_corners, plain, rgb, sent


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(saved(Image.new("RGBA", (32, 32), (200, 30, 30, 0)), "PNG"), id="RGBA"),
        pytest.param(saved(Image.new("LA", (32, 32), (0, 0)), "PNG"), id="gray and alpha"),
        pytest.param(saved(Image.new("P", (32, 32)), "PNG", transparency=0), id="palette"),
        pytest.param(saved(Image.new("L", (32, 32), 7), "PNG", transparency=7), id="a gray as the transparent one"),
        pytest.param(saved(Image.new("1", (32, 32)), "PNG", transparency=0), id="1-bit, black as the transparent one"),
        pytest.param(saved(Image.new("I;16", (32, 32), 7), "PNG", transparency=7), id="16-bit gray, one transparent"),
        pytest.param(saved(Image.new("P", (32, 32)), "GIF", transparency=0), id="GIF"),
        pytest.param(saved(Image.new("RGBA", (32, 32)), "WEBP", lossless=True), id="WebP"),
        pytest.param(saved(Image.new("RGBA", (32, 32)), "TIFF"), id="TIFF"),
        pytest.param(saved(Image.new("RGBA", (32, 32)), "ICO", sizes=[(32, 32)]), id="ICO"),
        pytest.param(saved(Image.new("RGBA", (32, 32)), "HEIF"), id="HEIC"),
    ],
)
def test_transparent_pixels_become_white(data: bytes) -> None:
    picture = sent(data)
    assert (picture.mode in {"L", "RGB"}, picture.has_transparency_data, rgb(picture)) == (True, False, (255, 255, 255))


def test_half_transparent_black_becomes_gray() -> None:
    assert rgb(sent(saved(Image.new("RGBA", (32, 32), (0, 0, 0, 128)), "PNG"))) == (127, 127, 127)


def test_an_opaque_palette_entry_beside_a_transparent_one_keeps_its_color() -> None:
    picture = Image.new("P", (32, 32), 1)
    picture.putpalette([0, 0, 0, *NAMED["red"]])
    assert rgb(sent(saved(picture, "PNG", transparency=0))) == NAMED["red"]


@pytest.mark.parametrize("kind", FORMATS)
def test_every_format_keeps_its_colors(kind: str) -> None:
    assert corners(sent(saved(four_corners(), kind))) == ["red", "green", "blue", "yellow"]


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(saved(plain(mode="CMYK"), "JPEG"), id="CMYK JPEG"),
        pytest.param(saved(plain(mode="CMYK"), "TIFF"), id="CMYK TIFF"),
        pytest.param(saved(plain(mode="YCbCr"), "TIFF"), id="YCbCr TIFF"),
        pytest.param(saved(plain(mode="RGBX"), "TIFF"), id="RGBX TIFF"),
    ],
)
def test_other_color_spaces_become_rgb(data: bytes) -> None:
    picture = sent(data)
    assert (picture.mode, color(picture)) == ("RGB", "red")


def test_black_and_white_tiff_keeps_both() -> None:
    picture = Image.new("1", (32, 32))
    picture.paste(1, (16, 0, 32, 32))
    image = sent(saved(picture, "TIFF", compression="group4"))
    assert [image.getpixel((8, 8)), image.getpixel((24, 8))] == [0, 255]


@pytest.mark.parametrize(("mode", "kind"), [("I;16", "PNG"), ("I;16", "TIFF"), ("I;16B", "TIFF")])
@pytest.mark.parametrize(("stored", "shown"), [(0, 0), (300, 1), (0x8080, 128), (65535, 255)])
def test_16_bit_gray_is_scaled_and_not_clipped(mode: str, kind: str, stored: int, shown: int) -> None:
    picture = Image.new(mode, (64, 32), 65535)  # white beside it says that all 16 bits are used
    picture.paste(Image.new(mode, (32, 32), stored))
    assert rgb(sent(saved(picture, kind))) == (shown, shown, shown)


def float_ramp() -> Image.Image:
    """From 0.0 on the left to 31.0 on the right."""
    row = struct.pack("<32f", *range(32))
    return Image.frombytes("F", (32, 32), row * 32)


def test_float_tiff_is_scaled_to_its_range() -> None:
    image = sent(saved(float_ramp(), "TIFF"))
    assert [image.getpixel((x, 16)) for x in (0, 31)] == [0, 255]


def test_a_float_tiff_with_missing_values_is_scaled() -> None:
    """Elevation maps mark a missing value as NaN."""
    ramp = float_ramp()
    ramp.putpixel((0, 0), float("nan"))
    image = sent(saved(ramp, "TIFF"))
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


def is_near(got: Color, wanted: Color) -> bool:
    return max(abs(a - b) for a, b in zip(got, wanted, strict=True)) <= 3


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
def test_display_p3_is_converted_to_srgb(kind: str) -> None:
    """215, 93, 31 by the formulas of CSS Color 4, section 10.4 and 10.2."""
    picture = Image.new("RGB", (32, 32), (200, 100, 50))
    assert is_near(rgb(sent(saved(picture, kind, icc_profile=profile("Display P3", colorants=P3)))), (215, 93, 31))


@pytest.mark.parametrize("name", ["Linear light", "Linear sRGB"])
def test_linear_light_is_converted_whatever_the_name_of_its_profile(name: str) -> None:
    """0.2157 of the light is 128 of 255 in sRGB (IEC 61966-2-1)."""
    data = saved(Image.new("RGB", (32, 32), (55, 55, 55)), "PNG", icc_profile=profile(name, linear=True))
    assert is_near(rgb(sent(data)), (128, 128, 128))


@pytest.mark.parametrize("icc", [b"no profile", profile("Display P3", colorants=P3)[:200]], ids=["text", "cut off"])
def test_a_broken_profile_does_not_matter(icc: bytes) -> None:
    assert rgb(sent(saved(plain(), "PNG", icc_profile=icc))) == NAMED["red"]


def test_an_rgb_profile_on_a_gray_image_does_not_matter() -> None:
    data = saved(Image.new("L", (32, 32), 55), "PNG", icc_profile=profile("Display P3", colorants=P3))
    assert rgb(sent(data)) == (55, 55, 55)


def test_a_gray_profile_is_applied_with_transparency_too() -> None:
    gray = Image.new("L", (64, 64), 100)
    linear = profile("Linear gray", linear=True)
    both = Image.merge("LA", (gray, Image.new("L", (64, 64), 255)))
    shown = [sent(saved(picture, "PNG", icc_profile=linear)).convert("L").getpixel((9, 9)) for picture in (gray, both)]
    assert shown[0] == shown[1]
