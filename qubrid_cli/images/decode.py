"""Open images with Pillow, by their content, and report those that are too large, damaged or not supported."""

import logging
import re
import struct
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import BytesIO
from typing import Any

from PIL import Image, ImageFile, JpegImagePlugin, UnidentifiedImageError, features

from ..errors import ImageError
from . import heif
from .metadata import count_jpeg_scans, has_one_scan, read_jpeg_frame
from .tokens import MAX_RATIO

#: The formats that Pillow decodes itself (MPO comes with JPEG); EPS and WMF would start another program.
_FORMATS = ["JPEG", "PNG", "GIF", "WEBP", "AVIF", "TIFF", "BMP", "DIB", "ICO", "JPEG2000", "PPM", "QOI", "TGA"]
#: The type of an item in an ItemInfoEntry, versions 2 and 3 (ISO/IEC 14496-12, 8.11.6.2).
_HEIF_ITEM_TYPE = rb"(?s)infe(?:\x02.{3}.{2}|\x03.{3}.{4}).{2}(.{4})"
#: Magic number, width, height and maximum value, separated by whitespace and comments (netpbm's ppm(5)).
_PPM_16_BIT = rb"P6(?:\s|#[^\r\n]*[\r\n])+(\d+)(?:\s|#[^\r\n]*[\r\n])+(\d+)(?:\s|#[^\r\n]*[\r\n])+65535\s"
#: Tags of a camera raw image, whose first TIFF directory is a small preview: DNGVersion; or NewSubfileType "reduced
#: resolution" (TIFF 6.0, tag 254) with the image itself in SubIFDs (tag 330).
_TAG_DNG_VERSION, _TAG_SUBFILE_TYPE, _TAG_SUB_IFDS = 50706, 254, 330
#: ColorMap: all red values, then all green and all blue ones.
_TAG_COLOR_MAP = 320

#: The first two markers of a JPEG 2000 codestream.
_JPEG_2000_START = b"\xff\x4f\xff\x51"

#: How much of an animation is skipped at most because it is blank. Both limits, because frames may have no duration.
_MAX_BLANK_MILLISECONDS, _MAX_BLANK_FRAMES = 1000, 100

#: Pixels; Model Studio, Qwen's own host, refuses shorter sides.
_MIN_SIDE = 11

#: Pillow's own limit against decompression bombs.
MAX_PIXELS = 178_956_970
#: Frames of baseline, extended and progressive JPEGs (ITU-T T.81, table B.1).
_USUAL_JPEG_MARKERS = frozenset({0xC0, 0xC1, 0xC2})
#: Decoders of these formats need memory for four or five copies of the image: 46 bytes of WebP can need 2.8 GB (measured).
_MAX_PIXELS_BY_FORMAT = {"WEBP": 80_000_000, "JPEG2000": 60_000_000, "AVIF": 120_000_000}
#: Pixels times scans of a JPEG: ten scans, the usual number, of the largest image that Pillow accepts.
_MAX_SCANNED_PIXELS = 2_000_000_000

#: What Pillow's decoders raise on broken files, according to its own tests.
DECODE_ERRORS = (
    OSError, ValueError, TypeError, SyntaxError, RuntimeError, EOFError, LookupError, ArithmeticError, AttributeError,
    MemoryError, struct.error,
)  # fmt: skip


def _configure_pillow() -> None:
    """Change Pillow's global settings; ``_load_tiff_reader`` changes the one for TIFF."""
    # Bytes that decoders and encoders get at once. After each piece they need the GIL, for which a thread waits up to
    # 5 ms while another one imports: a photo of 12 MP took 403 ms beside a busy thread with Pillow's 64 KB, and 283 ms
    # with 4 MB (medians of 11 pairs on two busy cores). A file up to this size is also not copied: 3 of 48 ms for 5 MB.
    ImageFile.MAXBLOCK = 16 * 1024 * 1024
    # Pillow refuses decompression bombs; its warning, from half of that limit on, is not needed.
    warnings.simplefilter("ignore", Image.DecompressionBombWarning)
    # Some decoders log what they repair, which Python prints if there is no handler.
    logging.getLogger("PIL").addHandler(logging.NullHandler())


_configure_pillow()


def _load_tiff_reader() -> None:
    from PIL import TiffImagePlugin  # takes 3 ms to load

    # Pillow's own reader of uncompressed TIFFs mistakes 16-bit planes for 8-bit ones; libtiff, which it uses for all other
    # TIFFs, does not.
    TiffImagePlugin.READ_LIBTIFF = True
    # Pillow drops a fifth channel of CMYK if it is a spot color, but refuses transparency; here that is dropped too.
    for order in (b"II", b"MM"):
        for alpha in (1, 2):
            TiffImagePlugin.OPEN_INFO[order, 5, (1,), 1, (8,) * 5, (alpha,)] = "CMYK", "CMYKX"


def _load_heif_reader() -> bool:
    """Register the HEIC decoder, which takes 6 ms to load; false if the extra is not installed."""
    try:
        from pi_heif import register_heif_opener
    except ImportError:
        return False
    register_heif_opener(thumbnails=False)
    return True


def detect_optional_formats() -> dict[str, bool]:
    """The formats that need an optional library, and whether this installation reads them."""
    features_by_name = {"WebP": "webp", "AVIF": "avif", "JPEG 2000": "jpg_2000"}
    return {"HEIC": _load_heif_reader()} | {
        name: features.check(feature) is True for name, feature in features_by_name.items()
    }


def open_image(data: bytes, name: str) -> ImageFile.ImageFile:
    """Open an image without decoding its pixels.

    Args:
        name: what the user calls it.

    Raises:
        ImageError: it is not an image, or has a size that models do not accept.
        Exception: one of ``DECODE_ERRORS``, if the file is damaged.
    """
    data = _convert_16_bit_ppm(data)
    has_heif = False
    if data.startswith(b"\xff\xd8"):
        _check_jpeg_frame(data, name)
    elif heif.is_heif(data) and not heif.is_avif(data) and _load_heif_reader():
        has_heif = True
        _check_heif_items(data, name)
        data = heif.widen_crop(data)
    if data[:2] in {b"II", b"MM"}:
        _load_tiff_reader()
    try:
        image = _open_jpeg(data) or Image.open(BytesIO(data), formats=[*_FORMATS, "HEIF"] if has_heif else _FORMATS)
    except UnidentifiedImageError as error:
        raise _make_unreadable_error(data, name) from error
    if image.format == "TIFF":
        from . import formats

        if _is_camera_raw(image) or formats.identify_unsupported(data) is formats.CAMERA_RAW:
            raise formats.unsupported_error(formats.CAMERA_RAW, name)
        _widen_palette(image)
    if image.format == "TGA":
        _check_tga(image, name)
    _check_jpeg_scans(image, data, name)
    max_pixels = _MAX_PIXELS_BY_FORMAT.get(image.format or "", MAX_PIXELS)
    if image.width * image.height > max_pixels:
        from . import formats

        raise formats.too_many_pixels_error(name, max_pixels)
    check_shape(image.size, name)
    return image


def _open_jpeg(data: bytes) -> ImageFile.ImageFile | None:
    """Open a JPEG without ``Image.open``, which would first load the readers of four other formats, in 5 ms."""
    with suppress(SyntaxError):  # Pillow's readers raise it for a file in another format
        return JpegImagePlugin.jpeg_factory(BytesIO(data)) if data.startswith(b"\xff\xd8\xff") else None
    return None


def _check_jpeg_frame(data: bytes, name: str) -> None:
    """Refuse a kind of JPEG that libjpeg does not decode; ``formats`` is loaded only then, which saves 1 % of ``describe``."""
    frame = read_jpeg_frame(data)
    is_usual = frame and frame.marker in _USUAL_JPEG_MARKERS and frame.precision == 8 and frame.height
    if frame is None or (is_usual and frame.components in {1, 3}):
        return
    from . import formats

    if (variant := formats.identify_jpeg_variant(frame)) is not None:
        raise formats.unsupported_error(variant, name)


def _convert_16_bit_ppm(data: bytes) -> bytes:
    """Reduce a 16-bit PPM, as raw converters write it, to its upper 8 bits: Pillow needs 17 s for 12 megapixels."""
    header = re.match(_PPM_16_BIT, data) if data.startswith(b"P6") else None
    return b"P6 %b %b 255\n" % header.groups() + data[header.end() :: 2] if header else data


def _check_heif_items(data: bytes, name: str) -> None:
    """Refuse a file whose items have types that are not ASCII: pi_heif 1.4 crashes the process on them."""
    if not all(item_type.isascii() for item_type in re.findall(_HEIF_ITEM_TYPE, data)):
        from . import formats

        raise formats.damaged_error(name, "the type of an item is not ASCII")


def _make_unreadable_error(data: bytes, name: str) -> ImageError:
    """The error for a file that Pillow did not open, perhaps because it is too large."""
    from . import formats

    size = heif.read_properties(data).size if heif.is_heif(data) else None
    max_pixels = _MAX_PIXELS_BY_FORMAT.get("AVIF" if heif.is_avif(data) else "", MAX_PIXELS)
    if size is not None and size[0] * size[1] > max_pixels:
        return formats.too_many_pixels_error(name, max_pixels)
    return formats.unreadable_error(data, name, can_read_heif=_load_heif_reader())


def _widen_palette(image: Image.Image) -> None:
    """Correct a palette of 8-bit values: Pillow expects 16 bits, as TIFF prescribes, and would make all colors black."""
    values = getattr(image, "tag_v2", {}).get(_TAG_COLOR_MAP, ())
    if image.mode == "P" and values and max(values) <= 0xFF:
        entries = zip(
            *(values[at : at + len(values) // 3] for at in range(0, len(values), len(values) // 3)), strict=False
        )
        image.putpalette([part for entry in entries for part in entry][:768])


def _is_camera_raw(image: Image.Image) -> bool:
    tags = getattr(image, "tag_v2", {})
    return _TAG_DNG_VERSION in tags or (_TAG_SUB_IFDS in tags and tags.get(_TAG_SUBFILE_TYPE) == 1)


def _check_tga(image: Image.Image, name: str) -> None:
    """Decode a TGA at once: it has no signature, so other files look like one until they are decoded."""
    try:
        image.load()
    except DECODE_ERRORS as error:
        from . import formats

        raise ImageError(
            f"{name} is not an image that can be read, or a damaged TGA",
            hint=formats.READABLE_HINT,
            code="not_an_image",
        ) from error


def _check_jpeg_scans(image: Image.Image, data: bytes, name: str) -> None:
    """Refuse a JPEG with too many scans: each one passes over all pixels, so a small file could take hours."""
    max_scans = _MAX_SCANNED_PIXELS // (image.width * image.height)
    # The header is enough for most photos; searching a file of 5 MB takes 4 ms.
    if image.format not in {"JPEG", "MPO"} or has_one_scan(data) or data.count(b"\xff\xda") <= max_scans:
        return
    scans = count_jpeg_scans(data)  # exactly: a video after the photo contains such bytes by chance
    if scans > max_scans:
        raise ImageError(
            f"{name} has {scans} scans, which would take too long to decode",
            hint="Open it in an image editor and save it again.",
            code="too_many_scans",
        )


def widen_levels(image: Image.Image, data: bytes) -> Image.Image:
    """Stretch the values of a loaded JPEG 2000 with fewer than 8 bits: Pillow only shifts them, so white may be 128."""
    if image.format != "JPEG2000" or image.mode not in {"L", "LA", "RGB", "RGBA", "CMYK"}:
        return image
    start = data.find(_JPEG_2000_START) + len(_JPEG_2000_START)  # the SIZ segment (ITU-T T.800, A.5.1)
    count = int.from_bytes(data[start + 36 : start + 38])
    depth = max((byte & 0x7F for byte in data[start + 38 : start + 38 + 3 * count : 3]), default=7) + 1
    if depth >= 8:
        return image
    top = 256 - (1 << (8 - depth))
    wide = image.point([min(255, round(value * 255 / top)) for value in range(256)] * len(image.getbands()))
    wide.format, wide.info = image.format, image.info
    return wide


def crop_to_aperture(image: Image.Image, data: bytes, name: str) -> Image.Image:
    """Crop an image of HEIF or AVIF to its clean aperture, which their decoders ignore."""
    if image.format not in {"AVIF", "HEIF"}:
        return image
    properties = heif.read_properties(data)
    # The decoder of HEIC has turned the image upright already; an AVIF is turned later.
    crop = properties.find_crop() if image.format == "AVIF" else properties.find_turned_crop()
    if crop is None:
        return image
    image.load()
    cropped = image.crop(crop)
    check_shape(cropped.size, name)
    cropped.format, cropped.info = image.format, image.info
    return cropped


def check_shape(size: tuple[int, int], name: str) -> None:
    """Refuse an image that is too small for models, or too long and narrow."""
    problem = f"{name} has {size[0]} × {size[1]} pixels"
    if min(size) < _MIN_SIDE:
        hint = f"Vision models need at least {_MIN_SIDE} pixels on each side."
        raise ImageError(f"{problem}, which is too small", hint=hint, code="too_small")
    if max(size) > MAX_RATIO * min(size):
        hint = f"Vision models accept shapes up to {MAX_RATIO}:1; cut it into shorter pieces."
        raise ImageError(f"{problem}, which is too long and narrow", hint=hint, code="too_long")


@contextmanager
def translate_errors(name: str) -> Iterator[None]:
    """Turn the exceptions of Pillow into ours."""
    try:
        yield
    except Image.DecompressionBombError as error:
        from . import formats

        raise formats.too_many_pixels_error(name, MAX_PIXELS) from error
    except MemoryError as error:
        raise ImageError(
            f"{name} needs more memory than is available", hint="Shrink it with an image editor first."
        ) from error
    except DECODE_ERRORS as error:
        from . import formats

        raise formats.decode_error(name, error) from error


def read_orientation(image: Image.Image) -> int:
    """The EXIF orientation that must still be applied, 1 to 8. Call it before the pixels are decoded."""
    if image.format in {"TIFF", "HEIF"}:  # their decoders apply it
        return 1
    try:
        orientation = image.getexif().get(0x0112, 1)
    except DECODE_ERRORS:  # the pixels may still be intact
        return 1
    return orientation if orientation in range(2, 9) else 1


def skip_blank_frames(image: Image.Image) -> int:
    """Seek the first frame of an animation that is not blank, within its first second, and return its number from 1.

    If all of them are blank, it is the first frame.
    """
    if image.format not in {"GIF", "WEBP", "PNG", "AVIF"} or not getattr(image, "is_animated", False):
        return 1
    frame, elapsed = 1, 0.0
    with suppress(*DECODE_ERRORS):  # a later frame is broken or missing
        while _is_blank(image):
            elapsed += image.info.get("duration", 0)
            if elapsed > _MAX_BLANK_MILLISECONDS or frame > _MAX_BLANK_FRAMES:
                break
            image.seek(frame)
            frame += 1
        else:
            return frame
    image.seek(0)
    return 1


def _is_blank(image: Image.Image) -> bool:
    """Whether all visible pixels have one color, or none is visible."""
    image.load()
    if image.mode not in {"RGB", "L"}:
        image = image.convert("RGBA")
    extremes: Any = image.getextrema()
    ranges = [extremes] if image.mode == "L" else list(extremes)
    return all(low == high for low, high in ranges) or (image.mode == "RGBA" and ranges[3][1] == 0)


def get_frame_warnings(image: Image.Image, name: str, frame: int) -> tuple[str, ...]:
    """A warning if the file has more frames or pages than the one that is sent."""
    if image.format == "MPO":  # a preview or a depth map follows the photo
        return ()
    try:
        frames = getattr(image, "n_frames", 1)
    except DECODE_ERRORS:  # a later frame is broken, but the first one matters
        return ()
    unit = _name_frame_unit(image)
    part = f"the first of {frames} {unit}s" if frame == 1 else f"{unit} {frame} of {frames}"
    reason = ", because those before it are blank" if frame > 1 else ""
    return (f"{name}: only {part} is sent{reason}",) if frames > 1 else ()


def _name_frame_unit(image: Image.Image) -> str:
    return "page" if image.format == "TIFF" else "frame"
