"""Colours as every model reads them: any mode and profile of a picture becomes sRGB, 8 bits, opaque."""

import re
import struct
from array import array
from io import BytesIO
from math import isfinite

from PIL import Image, ImageCms

#: A lossless picture with more colours than this among 65,536 of its pixels is a photo, and JPEG is right for it.
_MAX_FEW = 4096

#: What sRGB is called in the profiles of cameras, Pillow, Windows, GIMP and the ICC; "Linear sRGB" is another thing.
_SRGB = re.compile(r"\s*(GIMP built-in )?sRGB( built-in|[ -]?IEC ?61966-2[-.]1.*|2014|_v4.*)?\s*", re.IGNORECASE)

#: What Pillow raises over profiles that are damaged or made for another mode.
_BROKEN = (ImageCms.PyCMSError, OSError, ValueError, TypeError, struct.error)


def simple(image: Image.Image) -> Image.Image:
    """The picture in one of the modes L, RGB, RGBA and CMYK, each with 8 bits a channel."""
    image.load()
    if image.mode in {"1", "P", "PA", "L", "RGB", "LA", "La", "RGBa"} and (
        image.has_transparency_data or image.mode == "RGBa"
    ):
        return image.convert("RGBA")
    if image.mode in {"L", "RGB", "RGBA", "CMYK"}:
        return image
    if image.mode == "1":
        return image.convert("L")
    if image.mode.startswith(("I", "F")):
        return _scaled_to_8_bits(image)
    return image.convert("RGB")


def _scaled_to_8_bits(image: Image.Image) -> Image.Image:
    """Grey of 16 or 32 bits; ``convert("L")`` by itself would clip all above 255 to white."""
    wide = image.convert("F")
    low, high = _range(wide)
    if image.mode.startswith("I;16") or (image.mode == "I" and low >= 0 and high <= 65_535):
        low, high = 0.0, 65_535.0
    factor = 255 / (high - low) if high > low else 1.0
    grey = wide.point(lambda value: value * factor - low * factor).convert("L")
    clear = image.info.get("transparency")
    if image.mode != "I;16" or not isinstance(clear, int):
        return grey
    opaque = image.convert("I").point([0 if value == clear else 255 for value in range(65_536)], "L")
    return Image.merge("RGBA", (grey, grey, grey, opaque))


def _range(wide: Image.Image) -> tuple[float, float]:
    """The least and the greatest value; elevation maps mark what is missing as NaN, which is neither."""
    low, high = wide.getextrema()
    if isinstance(low, float) and isinstance(high, float) and isfinite(low) and isfinite(high):
        return low, high
    values = [value for value in array("f", wide.tobytes()) if isfinite(value)] or [0.0]
    return min(values), max(values)


def is_flat(picture: Image.Image) -> bool:
    """Whether it is a screenshot, a drawing or a scan of text, which JPEG would blur, rather than a photo."""
    sample = picture.resize((256, 256), Image.Resampling.NEAREST)
    return sample.getcolors(_MAX_FEW) is not None


def is_srgb(profile: bytes | None) -> bool:
    """Whether colours under this ICC profile need no conversion: it is sRGB, missing, or unreadable."""
    if not profile:
        return True
    try:
        return _SRGB.fullmatch(ImageCms.getProfileDescription(ImageCms.getOpenProfile(BytesIO(profile)))) is not None
    except _BROKEN:
        return True


def opaque_srgb(picture: Image.Image, profile: bytes | None) -> Image.Image:
    """A simple picture on white, in RGB, or in L where it is grey; its colours converted from ``profile`` to sRGB."""
    if picture.mode == "RGBA":
        white = Image.new("RGBA", picture.size, "white")
        picture = Image.alpha_composite(white, picture).convert("RGB")
    if profile and not is_srgb(profile):
        try:
            source, target = ImageCms.getOpenProfile(BytesIO(profile)), ImageCms.createProfile("sRGB")
            return ImageCms.profileToProfile(picture, source, target, outputMode="RGB") or picture
        except _BROKEN:  # made for another mode, as files from editors sometimes are: the plain way will do
            pass
    return picture if picture.mode in {"L", "RGB"} else picture.convert("RGB")
