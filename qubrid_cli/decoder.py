"""A file's bytes become a picture, or a reason why not: formats by content, limits, orientation, pages."""

import logging
import re
import struct
import textwrap
import warnings
from contextlib import suppress
from importlib import import_module
from io import BytesIO

from PIL import Image, ImageFile, JpegImagePlugin, UnidentifiedImageError, features

from . import foreign
from .errors import ImageError
from .metadata import has_one_scan, jpeg_scans
from .tokens import MAX_RATIO

#: What Pillow decodes by itself (MPO goes with JPEG). Left out is what starts another program (EPS, WMF).
_FORMATS = ("JPEG", "PNG", "GIF", "WEBP", "AVIF", "TIFF", "BMP", "DIB", "ICO", "JPEG2000", "PPM", "QOI", "TGA")
#: How their files begin, to tell a damaged picture from something else.
_KNOWN_START = (
    rb"(?s)\xff\xd8\xff|\x89PNG|GIF8|RIFF....WEBP|II\*\0|MM\0\*|BM|P[1-6]\s|qoif|\xff\x4f\xff\x51|\x00\x00\x00\x0cjP  "
    rb"|\x00\x00\x01\x00|....ftyp(avi[fs]|hei|hev|mif1|msf1)"
)
_HEIF_START = re.compile(rb"....ftyp(hei|hev|mif1|msf1)", re.DOTALL)
#: Magic number, width, height, greatest value; between them blanks and comments (netpbm's ppm(5)).
_DEEP_PPM = re.compile(rb"P6(?:\s|#[^\r\n]*[\r\n])+(\d+)(?:\s|#[^\r\n]*[\r\n])+(\d+)(?:\s|#[^\r\n]*[\r\n])+65535\s")
#: What a TIFF's first directory says that is a camera's raw picture, with a small preview in front: DNGVersion, or
#: NewSubfileType "reduced resolution" (TIFF 6.0, tag 254) with the picture itself in SubIFDs (tag 330).
_DNG_VERSION, _SUBFILE_TYPE, _SUB_IFDS = 50706, 254, 330

_READABLE = "JPEG, PNG, WebP, GIF, TIFF, BMP, AVIF, HEIC and some others can be read."

#: Model Studio, Qwen's own host, refuses smaller sides.
_MIN_SIDE = 11

#: What Pillow takes for a decompression bomb.
MAX_PIXELS = 178_956_970
#: Formats whose decoders hold the picture four or five times, so that 46 bytes can ask for 2.8 GB (WebP, measured).
_MAX_PIXELS = {"WEBP": 80_000_000, "JPEG2000": 60_000_000, "AVIF": 120_000_000}
#: Pixels times scans of a JPEG: ten scans, as programs write them, of the largest picture that Pillow takes.
_MAX_SCANNED = 2_000_000_000

#: Pillow's words for pictures that are whole, and for knowing nothing.
_UNSUPPORTED = "unsupported|not supported|unknown|unrecogni|not available|cannot handle"
_NO_REASON = r"decoder error -\d+\Z|\Z"

#: What Pillow's decoders raise on broken files, as its own tests show.
BROKEN = (
    OSError, ValueError, TypeError, SyntaxError, RuntimeError, EOFError, LookupError, ArithmeticError, AttributeError,
    MemoryError, struct.error,
)  # fmt: skip

# Bytes that Pillow's decoders and encoders are given at once. After each piece they need the GIL, for which a thread waits
# up to 5 ms while another one imports: with Pillow's own 64 KB, a photo of 12 MP took 403 ms
# beside a busy thread, and 283 with 4 MB (medians of 11 pairs on two busy cores). A file that is not larger than this is
# not copied either, which takes 3 ms of 48 for one of 5 MB.
ImageFile.MAXBLOCK = 16 * 1024 * 1024
# Pillow refuses decompression bombs; the warning that it gives from half of that limit on helps nobody here.
warnings.simplefilter("ignore", Image.DecompressionBombWarning)
# Some decoders log what they repair; without a handler Python prints that.
logging.getLogger("PIL").addHandler(logging.NullHandler())


def optional() -> dict[str, bool]:
    """The formats that not every installation reads, and whether this one does."""
    kinds = {"WebP": "webp", "AVIF": "avif", "JPEG 2000": "jpg_2000"}
    return {"HEIC": bool(_heif())} | {name: features.check(kind) is True for name, kind in kinds.items()}


def opened(data: bytes, name: str, frame: int = 1) -> Image.Image:
    """The picture, its pixels not decoded yet.

    Args:
        name: what the user calls it.
        frame: of an animation, or page of a document, from 1.

    Raises:
        ImageError: it is none, none of a size that models take, or it has no such frame.
    """
    data = _narrowed(data)
    heif = _heif(data) if _HEIF_START.match(data) else ()
    if data[:2] in {b"II", b"MM"}:
        import_module(".tiff", __package__)
    try:
        image = _jpeg(data) or Image.open(BytesIO(data), formats=_FORMATS + heif)
    except UnidentifiedImageError as error:
        raise _unreadable(data, name) from error
    if image.format == "TIFF" and (_is_raw(image) or foreign.told(data) is foreign.RAW):
        raise _not_read(foreign.RAW, name)
    if image.format == "TGA":
        _check_tga(image, name)
    _check_jpeg_scans(image, data, name)
    if frame > 1:
        _seek(image, name, frame)
    _check_pixels(image, name)
    _check_shape(image.size, name)
    return image


def _jpeg(data: bytes) -> Image.Image | None:
    """A JPEG; for that, ``Image.open`` would load the readers of four other formats first, in 5 ms."""
    with suppress(SyntaxError):  # with which Pillow's readers say that it is none of theirs
        return JpegImagePlugin.jpeg_factory(BytesIO(data)) if data.startswith(b"\xff\xd8\xff") else None
    return None


def _narrowed(data: bytes) -> bytes:
    """A PPM of 16 bits with the upper 8: Pillow takes 17 s for 12 megapixels of such a one, as raw converters write it."""
    deep = _DEEP_PPM.match(data)
    return b"P6 %b %b 255\n" % deep.groups() + data[deep.end() :: 2] if deep else data


def _heif(data: bytes = b"") -> tuple[str, ...]:
    """The name of HEIC's format, where the extra is installed; loaded when the first such file comes, for it takes 6 ms.

    Raises:
        ValueError: the decoder had better not see this file.
    """
    try:
        import_module(".heif", __package__).check(data)
    except ImportError:
        return ()
    return ("HEIF",)


def _unreadable(data: bytes, name: str) -> ImageError:
    """The error for what no decoder takes."""
    if _HEIF_START.match(data) and not _heif():
        return ImageError(
            f"{name} is HEIC, which needs an extra library", hint="Run: pip install pi-heif", code="needs_heif"
        )
    told = foreign.told(data)
    if told is not None:
        return _not_read(told, name)
    if data[:4] in {b"II*\0", b"MM\0*"}:
        return damaged(name, "", said="is a kind of TIFF that cannot be read here, or a damaged one")
    if re.match(_KNOWN_START, data):
        return damaged(name, "its header cannot be read")
    return ImageError(
        f"{name} is not an image that can be read", hint=foreign.meant(data, name) or _READABLE, code="not_an_image"
    )


def _not_read(told: foreign.Foreign, name: str) -> ImageError:
    return ImageError(f"{name} is {told.kind}, which is not read here", hint=told.hint(name), code="unsupported_format")


def _is_raw(image: Image.Image) -> bool:
    tags = getattr(image, "tag_v2", {})
    return _DNG_VERSION in tags or (_SUB_IFDS in tags and tags.get(_SUBFILE_TYPE) == 1)


def _check_tga(image: Image.Image, name: str) -> None:
    """A TGA begins with no mark of its own, so that other files pass for one until they are decoded."""
    try:
        image.load()
    except BROKEN as error:
        raise ImageError(
            f"{name} is not an image that can be read, or a damaged TGA", hint=_READABLE, code="not_an_image"
        ) from error


def _check_jpeg_scans(image: Image.Image, data: bytes, name: str) -> None:
    """A progressive JPEG passes over all its pixels for each scan; a small file can ask for hours of that."""
    most = _MAX_SCANNED // (image.width * image.height)
    # The header tells it of most photos; looking through all of a file of 5 MB takes 4 ms.
    if image.format not in {"JPEG", "MPO"} or has_one_scan(data) or data.count(b"\xff\xda") <= most:
        return
    scans = jpeg_scans(data)  # exactly: behind a photo there may be a video, which has such bytes by chance
    if scans > most:
        raise ImageError(
            f"{name} has {scans} scans, which would take too long to decode",
            hint="Open it in an image editor and save it anew.",
            code="too_many_scans",
        )


def _seek(image: Image.Image, name: str, frame: int) -> None:
    what = "page" if image.format == "TIFF" else "frame"
    frames = getattr(image, "n_frames", 1)  # counted before: a TIFF miscounts behind its end
    if frame > frames:
        raise ImageError(
            f"{name} has {f'only one {what}' if frames == 1 else f'{frames} {what}s'}, and no number {frame}",
            hint="Frames and pages count from 1." if frames > 1 else "Leave out --frame.",
            code="no_such_frame",
        )
    image.seek(frame - 1)


def bomb(name: str, most: int = MAX_PIXELS) -> ImageError:
    """The error for what would not fit into the memory once it is decoded.

    Args:
        most: pixels that are taken.
    """
    return ImageError(
        f"{name} has more pixels than can be decoded safely",
        hint=f"Up to {most:,} are taken; shrink it with an image editor first.",
        code="too_many_pixels",
    )


def damaged(name: str, reason: str, *, said: str = "") -> ImageError:
    """The error for a picture that Pillow gave up on, with its words for it."""
    if said:
        pass
    elif re.match(_NO_REASON, reason):  # libtiff says no more
        said, reason = "is damaged, or compressed in a way that cannot be read here", ""
    elif re.search(_UNSUPPORTED, reason, re.IGNORECASE):
        said = "is stored in a way that cannot be read here"
    else:
        said = "is damaged or cut off"
    return ImageError(
        f"{name} {said}" + (f" ({textwrap.shorten(reason, 120)})" if reason else ""),
        hint="Open it in an image viewer and save it anew.",
        code="damaged_image",
    )


def _check_pixels(image: Image.Image, name: str) -> None:
    most = _MAX_PIXELS.get(image.format or "", MAX_PIXELS)
    if image.width * image.height > most:
        raise bomb(name, most)


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


def frame_notes(image: Image.Image, name: str, frame: int) -> tuple[str, ...]:
    """A warning where there is more to the file than the frame or page that was chosen."""
    if image.format == "MPO":  # behind the photo comes a preview or a depth map
        return ()
    try:
        frames = getattr(image, "n_frames", 1)
    except BROKEN:  # a later frame is broken; the chosen one is what counts
        return ()
    what = "page" if image.format == "TIFF" else "frame"
    said = f"only the first of {frames} {what}s" if frame == 1 else f"only {what} {frame} of {frames}"
    return (f"{name}: {said} is sent",) if frames > 1 else ()
