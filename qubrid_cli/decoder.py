"""A file's bytes become a picture, or a reason why not: formats by content, limits, orientation, pages."""

import logging
import re
import struct
import warnings
from io import BytesIO

from PIL import Image, UnidentifiedImageError

from .errors import ImageError
from .tokens import MAX_RATIO

try:
    from pi_heif import register_heif_opener
except ImportError:  # the extra [heif] is not installed
    _HEIF: tuple[str, ...] = ()
else:
    register_heif_opener(thumbnails=False)
    _HEIF = ("HEIF",)

#: What Pillow decodes by itself (MPO goes with JPEG). Left out is what starts another program (EPS, WMF).
_FORMATS = ("JPEG", "PNG", "GIF", "WEBP", "AVIF", "TIFF", "BMP", "DIB", "ICO", "JPEG2000", "PPM", "QOI", "TGA")
#: How their files begin, to tell a damaged picture from something else.
_KNOWN_START = re.compile(
    rb"\xff\xd8\xff|\x89PNG|GIF8|RIFF....WEBP|II\*\0|MM\0\*|BM|....ftyp(avi|hei|hev|mif|msf)", re.DOTALL
)
_HEIF_START = re.compile(rb"....ftyp(hei|hev|mif|msf)", re.DOTALL)

_READABLE = "JPEG, PNG, WebP, GIF, TIFF, BMP, AVIF, HEIC and some others can be read."

#: Model Studio, Qwen's own host, refuses smaller sides.
_MIN_SIDE = 11

#: What Pillow's decoders raise on broken files, as its own tests show.
BROKEN = (
    OSError, ValueError, TypeError, SyntaxError, RuntimeError, EOFError, LookupError, ArithmeticError, AttributeError,
    MemoryError, struct.error,
)  # fmt: skip

# Pillow refuses decompression bombs; the warning that it gives from half of that limit on helps nobody here.
warnings.simplefilter("ignore", Image.DecompressionBombWarning)
# Some decoders log what they repair; without a handler Python prints that.
logging.getLogger("PIL").addHandler(logging.NullHandler())


def opened(data: bytes, name: str) -> Image.Image:
    """The picture, its pixels not decoded yet.

    Args:
        name: what the user calls it.

    Raises:
        ImageError: it is none, or none of a size that models take.
    """
    try:
        image = Image.open(BytesIO(data), formats=_FORMATS + _HEIF)
    except UnidentifiedImageError as error:
        if _HEIF_START.match(data) and not _HEIF:
            raise ImageError(
                f"{name} is HEIC, which needs an extra library",
                hint="Run: pip install pi-heif",
                code="needs_heif",
            ) from error
        if _KNOWN_START.match(data):
            raise damaged(name, "its header cannot be read") from error
        raise ImageError(
            f"{name} is not an image that can be read",
            hint=f"If it is the prompt: -p {name}; if it holds the prompt: -p @{name}" if _is_text(data) else _READABLE,
            code="not_an_image",
        ) from error
    _check_shape(image.size, name)
    return image


def _is_text(data: bytes) -> bool:
    try:
        return "\0" not in data.decode()
    except UnicodeDecodeError:
        return False


def bomb(name: str) -> ImageError:
    """The error for what Pillow takes for a decompression bomb: more than 178,956,970 pixels."""
    return ImageError(
        f"{name} has more pixels than can be decoded safely",
        hint="Up to 178,956,970 are taken; shrink it with an image editor first.",
        code="too_many_pixels",
    )


def damaged(name: str, reason: str) -> ImageError:
    """The error for a picture that Pillow gave up on, with its words for it."""
    return ImageError(
        f"{name} is damaged or cut off" + (f" ({reason})" if reason else ""),
        hint="Open it in an image viewer and save it anew.",
        code="damaged_image",
    )


def _check_shape(size: tuple[int, int], name: str) -> None:
    has_size = f"{name} has {size[0]} × {size[1]} pixels"
    if min(size) < _MIN_SIDE:
        hint = f"Vision models want more than {_MIN_SIDE - 1} pixels on each side."
        raise ImageError(f"{has_size}, which is too small", hint=hint, code="too_small")
    if max(size) > MAX_RATIO * min(size):
        hint = f"Vision models take shapes up to {MAX_RATIO}:1; cut it into shorter pieces."
        raise ImageError(f"{has_size}, which is too long a shape", hint=hint, code="too_long")


def orientation(image: Image.Image) -> int:
    """The EXIF orientation that is still to be applied, 1 to 8. Read before the pixels, so that ``draft`` can act."""
    if image.format in {"TIFF", "HEIF"}:  # their decoders turn the picture themselves
        return 1
    try:
        found = image.getexif().get(0x0112, 1)
    except BROKEN:  # the pixels are fine all the same
        return 1
    return found if found in range(2, 9) else 1


def frame_notes(image: Image.Image, name: str) -> tuple[str, ...]:
    """A warning where there is more to the file than its first frame or page."""
    if image.format == "MPO":  # behind the photo comes a preview or a depth map
        return ()
    try:
        frames = getattr(image, "n_frames", 1)
    except BROKEN:  # a later frame is broken; the first is what counts
        return ()
    what = "pages" if image.format == "TIFF" else "frames"
    return (f"{name}: only the first of {frames} {what} is sent",) if frames > 1 else ()
