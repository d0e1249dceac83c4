"""Convert any mode and color profile to what every model reads: sRGB, 8 bits per channel, opaque."""

import re
import struct
from array import array
from collections.abc import Callable, Iterator
from io import BytesIO
from math import ceil, inf, isfinite
from typing import Any

from PIL import Image, ImageMath

#: The names of sRGB in the profiles of cameras, Pillow, Windows, GIMP and the ICC; "Linear sRGB" is something else.
_SRGB_PROFILE_NAME = r"\s*(GIMP built-in )?sRGB( built-in|[ -]?IEC ?61966-2[-.]1.*|2014|_v4.*)?\s*"

#: What Pillow raises, besides ``PyCMSError``, for profiles that are damaged or made for another mode.
_PROFILE_ERRORS = (OSError, ValueError, TypeError, struct.error)

#: Pixels that are converted at once, so that wider modes never exist for the whole image.
_BAND_PIXELS = 4_000_000

#: The eight most common of a sample's colors, in 32 steps per channel, cover 0.92 to 0.99 of screenshots and charts, 0.54
#: to 0.97 of scanned text, and 0.09 to 0.23 of color photos (measured on 17 real screenshots, 5 photos and 5 pages).
_GRAPHIC_COLOR_COUNT = 8
_GRAPHIC_SHARE = 0.5

#: TIFF 6.0, tag 262: 0 if zero is white, which Pillow handles for 1 and 8 bits only; tag 339: 1 if unsigned.
_TAG_PHOTOMETRIC, _TAG_SAMPLE_FORMAT = 262, 339


def is_graphic(image: Image.Image) -> bool:
    """Whether a loaded image is a screenshot, a drawing or scanned text, not a photo."""
    sample = normalize_mode(image.resize((256, 256), Image.Resampling.NEAREST))
    colors = sample.point(lambda value: value & 0xF8).getcolors(65_536) or ()
    counts = sorted((count for count, _ in colors), reverse=True)
    return sum(counts[:_GRAPHIC_COLOR_COUNT]) >= _GRAPHIC_SHARE * 65_536


def is_srgb(profile: bytes | None) -> bool:
    """Whether an image with this ICC profile needs no conversion: the profile is sRGB, missing, or unreadable."""
    if not profile:
        return True
    from PIL import ImageCms  # a library of its own, needed by the few images with a profile

    try:
        name = ImageCms.getProfileDescription(ImageCms.getOpenProfile(BytesIO(profile)))
    except (ImageCms.PyCMSError, *_PROFILE_ERRORS):
        return True
    return re.fullmatch(_SRGB_PROFILE_NAME, name, re.IGNORECASE) is not None


def convert_to_srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    """Convert an image in mode L, RGB or CMYK from ``profile`` to sRGB, in mode RGB or, if it is gray, L."""
    if profile and not is_srgb(profile):
        image = _apply_profile(image, profile)
    return image if image.mode in {"L", "RGB"} else image.convert("RGB")


def _apply_profile(image: Image.Image, profile: bytes) -> Image.Image:
    """Convert to RGB; an image that does not fit its profile, which editors sometimes write, is returned unchanged."""
    from PIL import ImageCms

    try:
        source, target = ImageCms.getOpenProfile(BytesIO(profile)), ImageCms.createProfile("sRGB")
        return ImageCms.profileToProfile(image, source, target, outputMode="RGB") or image
    except (ImageCms.PyCMSError, *_PROFILE_ERRORS):
        return image


def normalize_mode(image: Image.Image, factor: int = 1) -> Image.Image:
    """Convert a loaded image to mode L, RGB or CMYK: 8 bits per channel, transparent pixels on white.

    Args:
        factor: both sides are divided by it, by averaging, and rounded up.
    """
    convert = _choose_conversion(image)
    if convert is None:
        return image if factor == 1 else image.reduce(factor)
    bands = ((top, convert(band).reduce(factor)) for top, band in _iter_bands(image, factor))
    _, first = next(bands)
    result = Image.new(first.mode, (ceil(image.width / factor), ceil(image.height / factor)))
    result.paste(first)
    for top, band in bands:
        result.paste(band, (0, top // factor))
    return result


def _iter_bands(image: Image.Image, factor: int) -> Iterator[tuple[int, Image.Image]]:
    rows = max(1, _BAND_PIXELS // (image.width * factor)) * factor
    for top in range(0, image.height, rows):
        yield top, image.crop((0, top, image.width, min(image.height, top + rows)))


def _choose_conversion(image: Image.Image) -> Callable[[Image.Image], Image.Image] | None:
    """The conversion of each band; ``None`` if the image needs none."""
    if image.mode.startswith(("I", "F")):
        return _make_gray_scaler(image)
    if image.has_transparency_data or image.mode in {"RGBa", "La"}:
        return _composite_gray_on_white if image.mode in {"L", "LA", "La"} else _composite_on_white
    if image.mode in {"L", "RGB", "CMYK"}:
        return None
    mode = "L" if image.mode == "1" else "RGB"
    return lambda band: band.convert(mode)


def _composite_on_white(band: Image.Image) -> Image.Image:
    return Image.alpha_composite(Image.new("RGBA", band.size, "white"), band.convert("RGBA")).convert("RGB")


def _composite_gray_on_white(band: Image.Image) -> Image.Image:
    """In one channel, so that a gray profile still fits."""
    gray, alpha = band.convert("LA").split()
    return Image.composite(gray, Image.new("L", band.size, 255), alpha)


def _make_gray_scaler(image: Image.Image) -> Callable[[Image.Image], Image.Image]:
    """The conversion from 16 or 32 bits of gray to 8; ``convert("L")`` would clip everything above 255 to white."""
    tags = getattr(image, "tag_v2", {})
    low, high = _find_value_range(image)
    is_wrapped = low < 0 and image.mode == "I" and tags.get(_TAG_SAMPLE_FORMAT, (1,)) == (1,)
    if is_wrapped:
        low, high = 0.0, float(0x7FFFFFFF)
    if tags.get(_TAG_PHOTOMETRIC) == 0:
        low, high = high, low
    factor = 255 / (high - low) if high != low else 1.0

    def scale(band: Image.Image) -> Image.Image:
        values = ImageMath.lambda_eval(_halve_unsigned, values=band) if is_wrapped else band
        gray = values.convert("F").point(lambda value: value * factor - low * factor).convert("L")
        transparent = band.info.get("transparency")
        if band.mode != "I;16" or not isinstance(transparent, int):
            return gray
        alpha = band.convert("I").point([0 if value == transparent else 255 for value in range(65_536)], "L")
        return Image.composite(gray, Image.new("L", band.size, 255), alpha)

    return scale


def _halve_unsigned(operands: dict[str, Any]) -> Any:
    """Half of an unsigned number whose highest bit Pillow read as a sign."""
    return (operands["values"] >> 1) & 0x7FFFFFFF


def _find_value_range(image: Image.Image) -> tuple[float, float]:
    """The values that become black and white: all of 16 bits, otherwise the least and the greatest value."""
    if image.mode.startswith("I;16"):
        return 0.0, 65_535.0
    ranges = [_find_finite_range(band) for _, band in _iter_bands(image, 1)]
    low, high = min(low for low, _ in ranges), max(high for _, high in ranges)
    if image.mode == "I" and low >= 0 and high <= 65_535:
        return 0.0, 65_535.0
    return (low, high) if low <= high else (0.0, 0.0)


def _find_finite_range(band: Image.Image) -> tuple[float, float]:
    """The least and the greatest finite value; elevation maps mark missing values as NaN."""
    values = band.convert("F")
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
