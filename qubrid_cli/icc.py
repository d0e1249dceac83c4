"""Colours under an ICC profile become sRGB. Loaded when a picture has a profile, for with it comes a library of its own."""

import re
import struct
from io import BytesIO

from PIL import Image, ImageCms

#: What sRGB is called in the profiles of cameras, Pillow, Windows, GIMP and the ICC; "Linear sRGB" is another thing.
_SRGB = r"\s*(GIMP built-in )?sRGB( built-in|[ -]?IEC ?61966-2[-.]1.*|2014|_v4.*)?\s*"

#: What Pillow raises over profiles that are damaged or made for another mode.
_BROKEN = (ImageCms.PyCMSError, OSError, ValueError, TypeError, struct.error)


def is_srgb(profile: bytes) -> bool:
    """Whether colours under it need no conversion: it is sRGB, or unreadable."""
    try:
        name = ImageCms.getProfileDescription(ImageCms.getOpenProfile(BytesIO(profile)))
    except _BROKEN:
        return True
    return re.fullmatch(_SRGB, name, re.IGNORECASE) is not None


def converted(picture: Image.Image, profile: bytes) -> Image.Image:
    """The picture in RGB, where it was made for this profile; else as it is, as sometimes with files from editors."""
    try:
        source, target = ImageCms.getOpenProfile(BytesIO(profile)), ImageCms.createProfile("sRGB")
        return ImageCms.profileToProfile(picture, source, target, outputMode="RGB") or picture
    except _BROKEN:
        return picture
