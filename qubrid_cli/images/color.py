"""Colours as every model reads them: any mode and profile of a picture becomes sRGB, 8 bits, opaque."""

# MERGED DOCSTRING of qubrid_cli.icc: Colours under an ICC profile become sRGB. Loaded when a picture has a profile, for with it comes a library of its own.

import re
import struct
from array import array
from collections.abc import Callable, Iterator
from io import BytesIO
from math import ceil, inf, isfinite
from typing import Any

from PIL import Image, ImageMath

#: What sRGB is called in the profiles of cameras, Pillow, Windows, GIMP and the ICC; "Linear sRGB" is another thing.
_SRGB_PROFILE_NAME = r"\s*(GIMP built-in )?sRGB( built-in|[ -]?IEC ?61966-2[-.]1.*|2014|_v4.*)?\s*"

#: What Pillow raises over profiles that are damaged or made for another mode, besides its own ``PyCMSError``.
_PROFILE_ERRORS = (OSError, ValueError, TypeError, struct.error)


def _is_srgb_or_unreadable(profile: bytes) -> bool:
    """Whether colours under it need no conversion: it is sRGB, or unreadable."""
    from PIL import ImageCms  # a library of its own, for the few images with a profile

    try:
        name = ImageCms.getProfileDescription(ImageCms.getOpenProfile(BytesIO(profile)))
    except (ImageCms.PyCMSError, *_PROFILE_ERRORS):
        return True
    return re.fullmatch(_SRGB_PROFILE_NAME, name, re.IGNORECASE) is not None


def _apply_profile(picture: Image.Image, profile: bytes) -> Image.Image:
    """The picture in RGB, where it was made for this profile; else as it is, as sometimes with files from editors."""
    from PIL import ImageCms

    try:
        source, target = ImageCms.getOpenProfile(BytesIO(profile)), ImageCms.createProfile("sRGB")
        return ImageCms.profileToProfile(picture, source, target, outputMode="RGB") or picture
    except (ImageCms.PyCMSError, *_PROFILE_ERRORS):
        return picture


#: Pixels that are converted at once: wider modes exist for one band of a picture and never for the whole.
_BAND_PIXELS = 4_000_000

#: Of a sample's colours, in 32 steps a channel, the eight commonest cover 0.92 to 0.99 of screenshots and charts, 0.54
#: to 0.97 of scans of text, and 0.09 to 0.23 of photos in colour (17 real screenshots, 5 photos, 5 pages were measured).
_GRAPHIC_COLOR_COUNT = 8
_GRAPHIC_SHARE = 0.5

#: TIFF 6.0, tag 262: 0 where zero is white, which Pillow sees to for 1 and 8 bits only; tag 339: 1 for unsigned.
_TAG_PHOTOMETRIC, _TAG_SAMPLE_FORMAT = 262, 339


def normalize_mode(image: Image.Image, factor: int = 1) -> Image.Image:
    """The loaded picture in one of the modes L, RGB and CMYK: 8 bits a channel, transparency on white.

    Args:
        factor: both sides are divided by it on the way, by averaging, rounded up.
    """
    converted = _choose_conversion(image)
    if converted is None:
        return image if factor == 1 else image.reduce(factor)
    pieces = ((top, converted(band)) for top, band in _iter_bands(image, factor))
    top, first = next(pieces)
    whole = Image.new(first.mode, (ceil(image.width / factor), ceil(image.height / factor)))
    whole.paste(first.reduce(factor), (0, top))
    for top, band in pieces:
        whole.paste(band.reduce(factor), (0, top // factor))
    return whole


def _iter_bands(image: Image.Image, factor: int) -> Iterator[tuple[int, Image.Image]]:
    rows = max(1, _BAND_PIXELS // (image.width * factor)) * factor
    for top in range(0, image.height, rows):
        yield top, image.crop((0, top, image.width, min(image.height, top + rows)))


def _choose_conversion(image: Image.Image) -> Callable[[Image.Image], Image.Image] | None:
    """What makes a plain picture of a band; ``None`` where it is one already."""
    if image.mode.startswith(("I", "F")):
        return _make_gray_scaler(image)
    if image.has_transparency_data or image.mode in {"RGBa", "La"}:
        return _composite_gray_on_white if image.mode in {"L", "LA", "La"} else _composite_on_white
    if image.mode in {"L", "RGB", "CMYK"}:
        return None
    mode = "L" if image.mode == "1" else "RGB"
    return lambda band: band.convert(mode)


def _composite_on_white(band: Image.Image) -> Image.Image:
    clear = band.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", band.size, "white"), clear).convert("RGB")


def _composite_gray_on_white(band: Image.Image) -> Image.Image:
    """In one channel, so that a profile for grey still fits."""
    grey, opaque = band.convert("LA").split()
    return Image.composite(grey, Image.new("L", band.size, 255), opaque)


def _make_gray_scaler(image: Image.Image) -> Callable[[Image.Image], Image.Image]:
    """What makes 8 bits of grey of 16 or 32; ``convert("L")`` by itself would clip all above 255 to white."""
    tags = getattr(image, "tag_v2", {})
    low, high = _find_value_range(image)
    is_wrapped = low < 0 and image.mode == "I" and tags.get(_TAG_SAMPLE_FORMAT, (1,)) == (1,)
    if is_wrapped:
        low, high = 0.0, float(0x7FFFFFFF)
    if tags.get(_TAG_PHOTOMETRIC) == 0:
        low, high = high, low
    factor = 255 / (high - low) if high != low else 1.0

    def scaled(band: Image.Image) -> Image.Image:
        wide = ImageMath.lambda_eval(_halve_unsigned, wide=band) if is_wrapped else band
        grey = wide.convert("F").point(lambda value: value * factor - low * factor).convert("L")
        clear = band.info.get("transparency")
        if band.mode != "I;16" or not isinstance(clear, int):
            return grey
        opaque = band.convert("I").point([0 if value == clear else 255 for value in range(65_536)], "L")
        return Image.composite(grey, Image.new("L", band.size, 255), opaque)

    return scaled


def _halve_unsigned(operands: dict[str, Any]) -> Any:
    """Half of what was an unsigned number before Pillow took its highest bit for a sign."""
    return (operands["wide"] >> 1) & 0x7FFFFFFF


def _find_value_range(image: Image.Image) -> tuple[float, float]:
    """What is to become black and white: 16 bits are used as they are, all else from its least to its greatest value."""
    if image.mode.startswith("I;16"):
        return 0.0, 65_535.0
    ranges = [_find_finite_range(band) for _, band in _iter_bands(image, 1)]
    low, high = min(low for low, _ in ranges), max(high for _, high in ranges)
    if image.mode == "I" and low >= 0 and high <= 65_535:
        return 0.0, 65_535.0
    return (low, high) if low <= high else (0.0, 0.0)


def _find_finite_range(band: Image.Image) -> tuple[float, float]:
    """The least and the greatest value; elevation maps mark what is missing as NaN, which is neither."""
    wide = band.convert("F")
    low, high = wide.getextrema()
    if isinstance(low, float) and isinstance(high, float) and isfinite(low) and isfinite(high):
        return low, high  # passing over any NaN but one in the first place, which hides all else
    # A comparison with NaN is false, so that min and max put the other value in its place.
    lowest = ImageMath.lambda_eval(lambda given: given["min"](given["wide"], 3e38), wide=wide).getextrema()[0]
    highest = ImageMath.lambda_eval(lambda given: given["max"](given["wide"], -3e38), wide=wide).getextrema()[1]
    if isfinite(lowest) and isfinite(highest):
        return lowest, highest
    values = array("f", wide.tobytes())
    return min(filter(isfinite, values), default=inf), max(filter(isfinite, values), default=-inf)


def is_graphic(image: Image.Image) -> bool:
    """Whether the loaded picture is a screenshot, a drawing or a scan of text rather than a photo."""
    sample = normalize_mode(image.resize((256, 256), Image.Resampling.NEAREST))
    counts = sorted(
        (count for count, _ in sample.point(lambda value: value & 0xF8).getcolors(65_536) or ()), reverse=True
    )
    return sum(counts[:_GRAPHIC_COLOR_COUNT]) >= _GRAPHIC_SHARE * 65_536


def is_srgb(profile: bytes | None) -> bool:
    """Whether colours under this ICC profile need no conversion: it is sRGB, missing, or unreadable."""
    return not profile or _is_srgb_or_unreadable(profile)


def convert_to_srgb(picture: Image.Image, profile: bytes | None) -> Image.Image:
    """A plain picture in RGB, or in L where it is grey; its colours converted from ``profile`` to sRGB."""
    if profile and not is_srgb(profile):
        picture = _apply_profile(picture, profile)
    return picture if picture.mode in {"L", "RGB"} else picture.convert("RGB")
