"""Convert any mode and color profile to what every model reads: sRGB, 8 bits per channel, opaque."""

import re
import struct
from array import array
from collections.abc import Callable, Iterator
from functools import partial
from io import BytesIO
from math import ceil, inf, isfinite
from typing import Any

from PIL import Image, ImageColor, ImageMath

from ..frozen import frozen

#: The names of sRGB in the profiles of cameras, Pillow, Windows, GIMP and the ICC; "Linear sRGB" is not among them.
_SRGB_PROFILE_NAME = r"\s*(GIMP built-in )?sRGB( built-in|[ -]?IEC ?61966-2[-.]1.*|2014|_v4.*)?\s*"

#: What Pillow raises, in addition to ``PyCMSError``, for profiles that are damaged or made for another mode.
_PROFILE_ERRORS = (OSError, ValueError, TypeError, struct.error)

#: Pixels that are converted at once, so that the whole image is never in memory in a wider mode.
_STRIP_PIXELS = 4_000_000

#: The eight most common of a sample's colors, in 32 steps per channel, cover 0.92 to 0.99 of screenshots and charts, 0.54
#: to 0.97 of scanned text, and 0.09 to 0.23 of color photos (measured on 17 real screenshots, 5 photos and 5 pages).
_GRAPHIC_COLOR_COUNT = 8
_GRAPHIC_SHARE = 0.5

#: TIFF 6.0, tag 262: 0 if zero is white, which Pillow handles for 1 and 8 bits only; tag 339: 1 if unsigned.
_TAG_PHOTOMETRIC, _TAG_SAMPLE_FORMAT = 262, 339
#: Pillow reads 12 bits into 16, without scaling them.
_TAG_BITS_PER_SAMPLE = 258

#: The background of transparent pixels: white, or if nearly all visible pixels are almost white, a gray on which both white
#: and black are legible (contrast 6.3 and 3.4 by WCAG 2; white on white has 1).
_WHITE, _DARK_GRAY = (255, 255, 255), (96, 96, 96)
#: The brightness from which a pixel is illegible on white (contrast 1.3), the share of visible pixels that must be as bright,
#: and the share of all pixels that must be clear.
_LIGHT, _LIGHT_SHARE, _CLEAR_SHARE = 225, 0.95, 0.02
#: Alpha below which a pixel is clear, and from which it is visible.
_CLEAR_ALPHA, _VISIBLE_ALPHA = 16, 64

#: The gamma of sRGB, the difference from it that does not matter, and the limits of plausible values (PNG, 11.3.2.2).
_SRGB_GAMMA, _GAMMA_TOLERANCE, _GAMMA_LIMITS = 1 / 2.2, 0.02, (0.1, 10.0)

#: Scanners and scientific cameras store 14 bits or fewer in 16, so no value is greater than this.
_MAX_14_BITS = 0x3FFF

#: Numbers of ITU-T H.273, tables 2 and 3: those that are nearly sRGB or unspecified, and the names of others.
_SRGB_PRIMARIES, _SRGB_TRANSFERS = {1, 2, 5, 6, 7}, {1, 2, 4, 5, 6, 13, 14, 15}
_PRIMARIES = {9: "BT.2020", 11: "DCI-P3", 12: "Display P3"}
#: XYZ of red, green and blue, adapted to D50, as in the profiles of Apple and the ICC.
_COLORANTS = {
    9: ((0.67348, 0.27904, -0.00192), (0.16566, 0.67534, 0.02998), (0.12505, 0.04562, 0.79684)),
    12: ((0.51512, 0.2412, -0.00105), (0.29198, 0.69225, 0.04189), (0.1571, 0.06657, 0.78407)),
}
_D50 = (0.9642, 1.0, 0.8249)
_TRANSFERS = {8: "linear light", 16: "HDR (PQ)", 18: "HDR (HLG)"}


@frozen
class Look:
    """How the pixels of one image are made opaque, with 8 bits per channel.

    Attributes:
        background: the color of transparent pixels.
        low: the value of a gray image that becomes black; ``high`` becomes white.
        notes: how the result differs from the file.
    """

    background: tuple[int, int, int] = _WHITE
    low: float = 0.0
    high: float = 65_535.0
    notes: tuple[str, ...] = ()


def examine(image: Image.Image, background: str | None) -> Look:
    """Choose the look of a loaded image.

    Args:
        background: the color of transparent pixels, as ``#rrggbb``; ``None`` to choose it by the image.
    """
    color = None if background is None else _parse_color(background)
    if image.mode.startswith(("I", "F")):
        low, high, note = _find_value_range(image)
        return Look(color or _WHITE, low, high, (note,) if note else ())
    if not _is_transparent(image):
        return Look()
    if color is not None:
        return Look(color)
    color, note = _choose_background(image)
    return Look(color, notes=(note,) if note else ())


def _parse_color(text: str) -> tuple[int, int, int]:
    return ImageColor.getrgb(text)[:3]


def _is_transparent(image: Image.Image) -> bool:
    return image.has_transparency_data or image.mode in {"RGBa", "La"}


def _choose_background(image: Image.Image) -> tuple[tuple[int, int, int], str | None]:
    """White, unless the visible pixels are nearly white; and a note if it is gray or no pixel is visible."""
    sample = image.resize((256, 256), Image.Resampling.NEAREST) if max(image.size) > 256 else image.copy()
    sample = sample.convert({"RGBa": "RGBA", "La": "LA"}.get(image.mode, image.mode)).convert("RGBA")
    alpha = sample.getchannel("A")
    if alpha.getextrema() == (0, 0) and image.convert("RGBA").getchannel("A").getextrema() == (0, 0):
        return _WHITE, "every pixel is transparent, so the image that is sent is blank"
    clear = sum(alpha.histogram()[:_CLEAR_ALPHA])
    visible = sample.convert("L").histogram(alpha.point(lambda value: 255 if value >= _VISIBLE_ALPHA else 0))
    is_light = 0 < sum(visible) * _LIGHT_SHARE <= sum(visible[_LIGHT:])
    if not is_light or clear < _CLEAR_SHARE * sample.width * sample.height:
        return _WHITE, None
    return _DARK_GRAY, "drawn on dark gray, because it is light and transparent; --background changes that"


def describe_color(numbers: tuple[int, int] | None) -> str | None:
    """A note about colors that are sent unconverted; ``numbers`` are the primaries and the transfer function of H.273."""
    if numbers is None:
        return None
    primaries, transfer = numbers
    if primaries in _SRGB_PRIMARIES | _COLORANTS.keys() and transfer in _SRGB_TRANSFERS | {8}:
        return None  # converted, see build_profile and find_gamma
    names = [_TRANSFERS.get(transfer), _PRIMARIES.get(primaries, f"primaries {primaries}")]
    if primaries in _SRGB_PRIMARIES:
        names = [_TRANSFERS.get(transfer, f"transfer function {transfer}")]
    return (
        f"its colors are stored as {', '.join(filter(None, names))} and sent without conversion, so they may look off"
    )


def build_profile(numbers: tuple[int, int] | None) -> bytes | None:
    """Build the ICC profile of a color space wider than sRGB; ``None`` for all others.

    Source: ICC.1:2022, 7.2, 8.3.3 and 10.18 (sRGB's curve as parameters of type 3).
    """
    if numbers is None or numbers[0] not in _COLORANTS or numbers[1] not in _SRGB_TRANSFERS | {8}:
        return None
    curve = b"para" + struct.pack(">4xHH5i", 3, 0, *map(_to_fixed, (2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)))
    curve = b"curv" + bytes(8) if numbers[1] == 8 else curve
    text = b"mluc" + struct.pack(">4xII4sII", 1, 12, b"enUS", 8, 28) + "wide".encode("utf-16-be")
    xyz = [b"XYZ " + struct.pack(">4x3i", *map(_to_fixed, color)) for color in (_D50, *_COLORANTS[numbers[0]])]
    values = [text, text, *xyz, curve, curve, curve]
    names = (b"desc", b"cprt", b"wtpt", b"rXYZ", b"gXYZ", b"bXYZ", b"rTRC", b"gTRC", b"bTRC")
    index, body, start = b"", b"", 132 + 12 * len(names)
    for name, value in zip(names, values, strict=True):
        index += struct.pack(">4sII", name, start + len(body), len(value))
        body += value.ljust(-(-len(value) // 4) * 4, b"\0")
    head = struct.pack(
        ">I4xI4s4s4s12x4s28x3i",
        start + len(body),
        0x04300000,
        b"mntr",
        b"RGB ",
        b"XYZ ",
        b"acsp",
        *map(_to_fixed, _D50),
    )
    return head.ljust(128, b"\0") + struct.pack(">I", len(names)) + index + body


def _to_fixed(number: float) -> int:
    """Convert a number to the fixed-point format of ICC profiles, with 16 fractional bits."""
    return round(number * 65_536)


def find_gamma(image: Image.Image, numbers: tuple[int, int] | None) -> float | None:
    """The gamma that must be applied; ``None`` if it is that of sRGB, or the file describes its colors in a better way."""
    if numbers is not None:
        return 1.0 if numbers[0] in _SRGB_PRIMARIES and numbers[1] == 8 else None
    gamma = image.info.get("gamma")
    if image.format != "PNG" or not isinstance(gamma, float) or image.info.keys() & {"srgb", "icc_profile"}:
        return None
    is_plausible = _GAMMA_LIMITS[0] <= gamma <= _GAMMA_LIMITS[1]
    return gamma if is_plausible and abs(gamma - _SRGB_GAMMA) > _GAMMA_TOLERANCE else None


def is_graphic(image: Image.Image, look: Look) -> bool:
    """Whether a loaded image is a screenshot, a drawing or scanned text, not a photo."""
    sample = normalize_mode(image.resize((256, 256), Image.Resampling.NEAREST), look)
    colors = sample.point(lambda value: value & 0xF8).getcolors(65_536) or ()
    counts = sorted((count for count, _ in colors), reverse=True)
    return sum(counts[:_GRAPHIC_COLOR_COUNT]) >= _GRAPHIC_SHARE * 65_536


def is_srgb(profile: bytes | None) -> bool:
    """Whether an image with this ICC profile needs no conversion: the profile is sRGB, missing, or unreadable."""
    if not profile:
        return True
    from PIL import ImageCms  # loads another library, for the few images with a profile

    try:
        name = ImageCms.getProfileDescription(ImageCms.getOpenProfile(BytesIO(profile)))
    except (ImageCms.PyCMSError, *_PROFILE_ERRORS):
        return True
    return re.fullmatch(_SRGB_PROFILE_NAME, name, re.IGNORECASE) is not None


def convert_to_srgb(image: Image.Image, profile: bytes | None, gamma: float | None = None) -> Image.Image:
    """Convert an image in mode L, RGB or CMYK to sRGB, in mode RGB or, if it is gray, L.

    Args:
        profile: the ICC profile of its colors.
        gamma: the exponent with which light was encoded, if there is no profile.
    """
    if profile and not is_srgb(profile):
        image = _apply_profile(image, profile)
    image = image if image.mode in {"L", "RGB"} else image.convert("RGB")
    if gamma is None:
        return image
    exponent = _SRGB_GAMMA / gamma
    return image.point([round(255 * (value / 255) ** exponent) for value in range(256)] * len(image.getbands()))


def _apply_profile(image: Image.Image, profile: bytes) -> Image.Image:
    """Convert to RGB; an image that does not fit its profile, which editors sometimes write, is returned unchanged."""
    from PIL import ImageCms

    try:
        source, target = ImageCms.getOpenProfile(BytesIO(profile)), ImageCms.createProfile("sRGB")
        return ImageCms.profileToProfile(image, source, target, outputMode="RGB") or image
    except (ImageCms.PyCMSError, *_PROFILE_ERRORS):
        return image


def normalize_mode(image: Image.Image, look: Look, factor: int = 1) -> Image.Image:
    """Convert a loaded image to mode L, RGB or CMYK: 8 bits per channel, opaque.

    Args:
        factor: by which both sides are shrunk, by averaging; they are rounded up.
    """
    convert = _choose_conversion(image, look)
    if convert is None:
        return image if factor == 1 else image.reduce(factor)
    strips = ((top, convert(strip).reduce(factor)) for top, strip in _iter_strips(image, factor))
    _, first = next(strips)
    result = Image.new(first.mode, (ceil(image.width / factor), ceil(image.height / factor)))
    result.paste(first)
    for top, strip in strips:
        result.paste(strip, (0, top // factor))
    return result


def _iter_strips(image: Image.Image, factor: int) -> Iterator[tuple[int, Image.Image]]:
    rows = max(1, _STRIP_PIXELS // (image.width * factor)) * factor
    for top in range(0, image.height, rows):
        yield top, image.crop((0, top, image.width, min(image.height, top + rows)))


def _choose_conversion(image: Image.Image, look: Look) -> Callable[[Image.Image], Image.Image] | None:
    """The conversion of each strip; ``None`` if the image needs none."""
    if image.mode.startswith(("I", "F")):
        return _make_gray_scaler(image, look)
    if image.mode == "LAB":
        return _convert_lab
    if _is_transparent(image):
        is_gray = len(set(look.background)) == 1 and image.mode in {"L", "LA", "La"}
        return partial(_composite_gray if is_gray else _composite, background=look.background)
    if image.mode in {"L", "RGB", "CMYK"}:
        return None
    mode = "L" if image.mode == "1" else "RGB"
    return lambda strip: strip.convert(mode)


def _convert_lab(strip: Image.Image) -> Image.Image:
    from PIL import ImageCms

    lab, srgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
    return ImageCms.profileToProfile(strip, lab, srgb, outputMode="RGB") or strip


def _composite(strip: Image.Image, *, background: tuple[int, int, int]) -> Image.Image:
    return Image.alpha_composite(Image.new("RGBA", strip.size, background), strip.convert("RGBA")).convert("RGB")


def _composite_gray(strip: Image.Image, *, background: tuple[int, int, int]) -> Image.Image:
    """Composite in one channel, so that a gray profile still fits."""
    gray, alpha = strip.convert("LA").split()
    return Image.composite(gray, Image.new("L", strip.size, background[0]), alpha)


def _make_gray_scaler(image: Image.Image, look: Look) -> Callable[[Image.Image], Image.Image]:
    """The conversion from 16 or 32 bits of gray to 8; ``convert("L")`` would clip everything above 255 to white."""
    tags = getattr(image, "tag_v2", {})
    low, high = look.low, look.high
    is_wrapped = _is_wrapped(image, low)
    if is_wrapped:
        low, high = 0.0, float(0x7FFFFFFF)
    if tags.get(_TAG_PHOTOMETRIC) == 0:
        low, high = high, low
    factor = 255 / (high - low) if high != low else 1.0

    def scale(strip: Image.Image) -> Image.Image:
        values = ImageMath.lambda_eval(_halve_unsigned, values=strip) if is_wrapped else strip
        gray = values.convert("F").point(lambda value: value * factor - low * factor).convert("L")
        transparent = strip.info.get("transparency")
        if strip.mode != "I;16" or not isinstance(transparent, int):
            return gray
        alpha = strip.convert("I").point([0 if value == transparent else 255 for value in range(65_536)], "L")
        opaque = gray if len(set(look.background)) == 1 else gray.convert("RGB")
        color = look.background[0] if opaque is gray else look.background
        return Image.composite(opaque, Image.new(opaque.mode, strip.size, color), alpha)

    return scale


def _is_wrapped(image: Image.Image, low: float) -> bool:
    """Whether Pillow read the highest bit of unsigned numbers as their sign."""
    tags = getattr(image, "tag_v2", {})
    return low < 0 and image.mode == "I" and tags.get(_TAG_SAMPLE_FORMAT, (1,)) == (1,)


def _halve_unsigned(operands: dict[str, Any]) -> Any:
    """Half of an unsigned number whose highest bit Pillow read as its sign."""
    return (operands["values"] >> 1) & 0x7FFFFFFF


def _find_value_range(image: Image.Image) -> tuple[float, float, str | None]:
    """The values that become black and white, and a note if white is not the greatest value of 16 bits.

    For 16 bits, they are its limits, or those of fewer bits if at most 14 are used; for others, the least and the greatest
    value of the image.
    """
    if getattr(image, "tag_v2", {}).get(_TAG_BITS_PER_SAMPLE) == (12,):
        return 0.0, 4095.0, None
    strips = [image] if image.mode == "I;16" else (strip for _, strip in _iter_strips(image, 1))
    ranges = [_find_finite_range(strip) for strip in strips]
    low, high = min(low for low, _ in ranges), max(high for _, high in ranges)
    if low > high:
        return 0.0, 0.0, None
    if image.mode == "F" or low < 0 or high > 65_535:
        return low, high, None
    if not 0 < high <= _MAX_14_BITS or image.format == "JPEG2000":  # its decoder scales to 16 bits
        return 0.0, 65_535.0, None
    top = (1 << max(8, int(high).bit_length())) - 1
    return 0.0, float(top), f"its 16-bit values only reach {high:,.0f}, so {top:,} is sent as white"


def _find_finite_range(strip: Image.Image) -> tuple[float, float]:
    """The least and the greatest finite value; elevation maps mark missing values as NaN."""
    if strip.mode == "I;16":  # the only one of these modes whose extrema Pillow finds without a conversion
        low, high = strip.getextrema()
        assert isinstance(low, int | float)
        assert isinstance(high, int | float)
        return low, high
    values = strip.convert("F")
    low, high = values.getextrema()
    if isinstance(low, float) and isinstance(high, float) and isfinite(low) and isfinite(high):
        return low, high  # getextrema skips every NaN but one in the first place, which hides all other values
    # A comparison with NaN is false, so min and max replace NaN by their other operand.
    low = ImageMath.lambda_eval(lambda names: names["min"](names["values"], 3e38), values=values).getextrema()[0]
    high = ImageMath.lambda_eval(lambda names: names["max"](names["values"], -3e38), values=values).getextrema()[1]
    if isfinite(low) and isfinite(high):
        return low, high
    numbers = array("f", values.tobytes())
    return min(filter(isfinite, numbers), default=inf), max(filter(isfinite, numbers), default=-inf)
