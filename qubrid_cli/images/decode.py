"""Open images with Pillow, by their content, and report files that are too large, damaged or in another format."""

import logging
import re
import shlex
import struct
import textwrap
import warnings
from contextlib import suppress
from io import BytesIO

from PIL import Image, ImageFile, JpegImagePlugin, UnidentifiedImageError, features

from ..errors import ImageError
from ..frozen import frozen
from .metadata import count_jpeg_scans, has_one_scan
from .tokens import MAX_RATIO

#: Bytes at the beginning of a file that are enough to recognize an unsupported format.
_HEAD_BYTES = 4096

#: A command line like those below; {} is the file's name and {page} its first page or image.
_MAGICK = "magick {page} out.png"


@frozen
class _UnsupportedFormat:
    """A file format, and the command that converts a file to PNG or JPEG."""

    description: str
    command: str


#: Some of these begin like any TIFF and are recognized by their tags instead.
_CAMERA_RAW = _UnsupportedFormat("a camera raw image", "darktable-cli {} out.jpg")

#: What may come before the first element of an XML file; atomic groups, so that a mismatch is not tried in all ways.
_XML_PROLOGUE = rb"(?>(?>\s+|<!--.*?-->|<\?.*?\?>|<!DOCTYPE[^>\[]*(?:\[.*?\])?\s*>)*)"

#: Tried in order, first match wins; compiled when tried, usually once per run. Sources: the formats' specifications, file(1).
_UNSUPPORTED_FORMATS = (
    (_XML_PROLOGUE + rb"<(\w+:)?svg[\s>]", _UnsupportedFormat("an SVG drawing", "rsvg-convert -w 1568 {} -o out.png")),
    (rb"\x1f\x8b", _UnsupportedFormat("compressed data", "gunzip {}")),
    (rb"%PDF-", _UnsupportedFormat("a PDF document", "pdftoppm -png -r 150 -singlefile {} out")),
    (rb"%!PS|\xc5\xd0\xd3\xc6", _UnsupportedFormat("a PostScript file", "gs -sDEVICE=png16m -r150 -o out.png {}")),
    (rb"\xff\x0a|\0\0\0\x0cJXL \r\n\x87\n", _UnsupportedFormat("a JPEG XL image", "djxl {} out.png")),
    (rb"8BPS", _UnsupportedFormat("a Photoshop document", _MAGICK)),
    (rb"DDS ", _UnsupportedFormat("a DDS texture", _MAGICK)),
    (rb"gimp xcf", _UnsupportedFormat("a GIMP document", _MAGICK)),
    (rb"v/1\x01", _UnsupportedFormat("an OpenEXR image", _MAGICK)),
    (rb"#\?(RADIANCE|RGBE)", _UnsupportedFormat("a Radiance HDR image", _MAGICK)),
    (rb"SIMPLE  =", _UnsupportedFormat("a FITS image", _MAGICK)),
    (rb"icns", _UnsupportedFormat("a macOS icon", _MAGICK)),
    (rb"\0\0\x02\0", _UnsupportedFormat("a Windows cursor", _MAGICK)),
    (rb"\x01\xda[\0\x01][\x01\x02]", _UnsupportedFormat("an SGI image", _MAGICK)),
    (rb"\x0a[\0\x02\x03\x05]\x01[\x01\x02\x04\x08]", _UnsupportedFormat("a PCX image", _MAGICK)),
    (rb"\xd7\xcd\xc6\x9a|\x01\0\0\0.{36} EMF|\x01\0\x09\0", _UnsupportedFormat("a Windows metafile", _MAGICK)),
    (rb"AT&TFORM", _UnsupportedFormat("a DjVu document", "ddjvu -format=tiff -page=1 {} out.tiff")),
    (rb"FUJIFILMCCD-RAW|II\*\0.{4}CR\x02|....ftypcrx |IIU\0|IIR[OS]|MMOR", _CAMERA_RAW),
    # ISO media files with a brand other than those of AVIF and HEIF, and other containers.
    (
        rb"....(ftyp(?!avi[fs]|hei|hev|mif1|msf1)|moov|mdat|wide|free)|\x1a\x45\xdf\xa3|RIFF....AVI |FLV\x01|\0\0\x01[\xba\xb3]",
        _UnsupportedFormat("a video", "ffmpeg -i {} -frames:v 1 out.png"),
    ),
    (rb"PK\x03\x04", _UnsupportedFormat("an archive or an office document", "unzip {}")),
)  # fmt: skip

#: The beginning of a web page, after blanks, comments and an XML declaration (WHATWG MIME Sniffing, section 7.1).
_WEB_PAGE_START = (
    rb"(?is)(\xef\xbb\xbf)?(?>(?>\s+|<!--.*?-->|<\?.*?\?>)*)"
    rb"<(!doctype\s+html|html|head|body|title|meta|script|iframe)\b"
)


def _identify_unsupported(data: bytes) -> _UnsupportedFormat | None:
    """The format of a file by its first bytes; ``None`` if it is not one of those in the table."""
    head = data[:_HEAD_BYTES].removeprefix(b"\xef\xbb\xbf")
    return next((kind for pattern, kind in _UNSUPPORTED_FORMATS if re.match(pattern, head, re.DOTALL)), None)


def is_web_page(data: bytes) -> bool:
    """Whether the data is HTML."""
    return re.match(_WEB_PAGE_START, data) is not None


def is_text(data: bytes) -> bool:
    """Whether the data is text in UTF-8."""
    try:
        return "\0" not in data.decode()
    except UnicodeDecodeError:
        return False


#: The formats that Pillow decodes itself (MPO comes with JPEG); EPS and WMF would start another program.
_FORMATS = ["JPEG", "PNG", "GIF", "WEBP", "AVIF", "TIFF", "BMP", "DIB", "ICO", "JPEG2000", "PPM", "QOI", "TGA"]
#: The first bytes of these formats, to distinguish a damaged image from something else.
_KNOWN_SIGNATURES = (
    rb"(?s)\xff\xd8\xff|\x89PNG|GIF8|RIFF....WEBP|II\*\0|MM\0\*|BM|P[1-6]\s|qoif|\xff\x4f\xff\x51|\x00\x00\x00\x0cjP  "
    rb"|\x00\x00\x01\x00|....ftyp(avi[fs]|hei|hev|mif1|msf1)"
)
_HEIF_SIGNATURE = re.compile(rb"....ftyp(hei|hev|mif1|msf1)", re.DOTALL)
#: The type of an item in an ItemInfoEntry, versions 2 and 3 (ISO/IEC 14496-12, 8.11.6.2).
_HEIF_ITEM_TYPE = re.compile(rb"infe(?:\x02.{3}.{2}|\x03.{3}.{4}).{2}(.{4})", re.DOTALL)
#: Magic number, width, height and maximum value, separated by blanks and comments (netpbm's ppm(5)).
_PPM_16_BIT = re.compile(rb"P6(?:\s|#[^\r\n]*[\r\n])+(\d+)(?:\s|#[^\r\n]*[\r\n])+(\d+)(?:\s|#[^\r\n]*[\r\n])+65535\s")
#: Tags of a camera raw image, whose first TIFF directory is a small preview: DNGVersion; or NewSubfileType "reduced
#: resolution" (TIFF 6.0, tag 254) with the image itself in SubIFDs (tag 330).
_TAG_DNG_VERSION, _TAG_SUBFILE_TYPE, _TAG_SUB_IFDS = 50706, 254, 330

_READABLE_HINT = "JPEG, PNG, WebP, GIF, TIFF, BMP, AVIF, HEIC and some others can be read."

#: Pixels; Model Studio, Qwen's own host, refuses shorter sides.
_MIN_SIDE = 11

#: Pillow's own limit against decompression bombs.
MAX_PIXELS = 178_956_970
#: Decoders of these formats hold the image four or five times: 46 bytes of WebP can need 2.8 GB (measured).
_MAX_PIXELS_BY_FORMAT = {"WEBP": 80_000_000, "JPEG2000": 60_000_000, "AVIF": 120_000_000}
#: Pixels times scans of a JPEG: ten scans, which is what programs write, of the largest image that Pillow accepts.
_MAX_SCANNED_PIXELS = 2_000_000_000

#: Pillow's messages for intact images that it does not support, and for decoders that do not say what is wrong.
_UNSUPPORTED_REASON = "unsupported|not supported|unknown|unrecogni|not available|cannot handle"
_EMPTY_REASON = r"decoder error -\d+\Z|\Z"

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
    # Pillow refuses decompression bombs; its warning, from half of that limit, is of no use.
    warnings.simplefilter("ignore", Image.DecompressionBombWarning)
    # Some decoders log what they repair, and without a handler Python prints that.
    logging.getLogger("PIL").addHandler(logging.NullHandler())


_configure_pillow()


def _load_tiff_reader() -> None:
    from PIL import TiffImagePlugin  # takes 3 ms to load

    # Pillow's own reader of uncompressed TIFFs takes 16-bit planes for 8-bit ones; libtiff, which it uses for all other
    # TIFFs, does not.
    TiffImagePlugin.READ_LIBTIFF = True


def _load_heif_reader() -> bool:
    """Register the HEIC decoder, which takes 6 ms to load; false if the extra is not installed."""
    try:
        from pi_heif import register_heif_opener
    except ImportError:
        return False
    register_heif_opener(thumbnails=False)
    return True


def detect_optional_formats() -> dict[str, bool]:
    """The formats that depend on the installation, and whether this one reads them."""
    features_by_name = {"WebP": "webp", "AVIF": "avif", "JPEG 2000": "jpg_2000"}
    return {"HEIC": _load_heif_reader()} | {
        name: features.check(feature) is True for name, feature in features_by_name.items()
    }


def open_image(data: bytes, name: str, frame: int = 1) -> Image.Image:
    """Open an image without decoding its pixels.

    Args:
        name: what the user calls it.
        frame: the frame of an animation, or the page of a document, from 1.

    Raises:
        ImageError: it is not an image, has a size that models do not accept, or does not have that frame.
        Exception: one of ``DECODE_ERRORS``, if the file is damaged.
    """
    data = _convert_16_bit_ppm(data)
    has_heif = _HEIF_SIGNATURE.match(data) is not None and _load_heif_reader()
    if has_heif:
        _check_heif_items(data)
    if data[:2] in {b"II", b"MM"}:
        _load_tiff_reader()
    try:
        image = _open_jpeg(data) or Image.open(BytesIO(data), formats=[*_FORMATS, "HEIF"] if has_heif else _FORMATS)
    except UnidentifiedImageError as error:
        raise _unreadable_error(data, name) from error
    if image.format == "TIFF" and (_is_camera_raw(image) or _identify_unsupported(data) is _CAMERA_RAW):
        raise _unsupported_error(_CAMERA_RAW, name)
    if image.format == "TGA":
        _check_tga(image, name)
    _check_jpeg_scans(image, data, name)
    if frame > 1:
        _seek_frame(image, name, frame)
    max_pixels = _MAX_PIXELS_BY_FORMAT.get(image.format or "", MAX_PIXELS)
    if image.width * image.height > max_pixels:
        raise too_many_pixels_error(name, max_pixels)
    _check_shape(image.size, name)
    return image


def _open_jpeg(data: bytes) -> Image.Image | None:
    """Open a JPEG without ``Image.open``, which would first load the readers of four other formats, in 5 ms."""
    with suppress(SyntaxError):  # Pillow's readers raise it for a file in another format
        return JpegImagePlugin.jpeg_factory(BytesIO(data)) if data.startswith(b"\xff\xd8\xff") else None
    return None


def _convert_16_bit_ppm(data: bytes) -> bytes:
    """Reduce a 16-bit PPM, as raw converters write it, to its upper 8 bits: Pillow takes 17 s for 12 megapixels."""
    header = _PPM_16_BIT.match(data)
    return b"P6 %b %b 255\n" % header.groups() + data[header.end() :: 2] if header else data


def _check_heif_items(data: bytes) -> None:
    """Raise ValueError for a file that would end the whole process: pi_heif 1.4 crashes on a type that is not ASCII."""
    if not all(item_type.isascii() for item_type in _HEIF_ITEM_TYPE.findall(data)):
        raise ValueError("the type of an item is not ASCII")


def _is_camera_raw(image: Image.Image) -> bool:
    tags = getattr(image, "tag_v2", {})
    return _TAG_DNG_VERSION in tags or (_TAG_SUB_IFDS in tags and tags.get(_TAG_SUBFILE_TYPE) == 1)


def _check_tga(image: Image.Image, name: str) -> None:
    """Decode a TGA at once: it has no signature, so other files look like one until they are decoded."""
    try:
        image.load()
    except DECODE_ERRORS as error:
        raise ImageError(
            f"{name} is not an image that can be read, or a damaged TGA", hint=_READABLE_HINT, code="not_an_image"
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


def _seek_frame(image: Image.Image, name: str, frame: int) -> None:
    unit = _name_frame_unit(image)
    frames = getattr(image, "n_frames", 1)  # before seeking: after the end, a TIFF miscounts
    if frame > frames:
        count = f"only one {unit}" if frames == 1 else f"{frames} {unit}s"
        raise ImageError(
            f"{name} has {count}, so there is no {unit} {frame}",
            hint="Frames and pages count from 1." if frames > 1 else "Leave out --frame.",
            code="no_such_frame",
        )
    image.seek(frame - 1)


def _check_shape(size: tuple[int, int], name: str) -> None:
    problem = f"{name} has {size[0]} × {size[1]} pixels"
    if min(size) < _MIN_SIDE:
        hint = f"Vision models need at least {_MIN_SIDE} pixels on each side."
        raise ImageError(f"{problem}, which is too small", hint=hint, code="too_small")
    if max(size) > MAX_RATIO * min(size):
        hint = f"Vision models accept shapes up to {MAX_RATIO}:1; cut it into shorter pieces."
        raise ImageError(f"{problem}, which is too long and narrow", hint=hint, code="too_long")


def _unreadable_error(data: bytes, name: str) -> ImageError:
    """The error for a file that no decoder recognizes."""
    if _HEIF_SIGNATURE.match(data) and not _load_heif_reader():
        return ImageError(
            f"{name} is HEIC, which needs an extra library", hint="Run: pip install pi-heif", code="needs_heif"
        )
    unsupported = _identify_unsupported(data)
    if unsupported is not None:
        return _unsupported_error(unsupported, name)
    if data[:4] in {b"II*\0", b"MM\0*"}:
        return _make_damaged_error(f"{name} is a damaged TIFF, or a kind of TIFF that cannot be read here")
    if re.match(_KNOWN_SIGNATURES, data):
        return damaged_error(name, "its header cannot be read")
    hint = _READABLE_HINT
    if is_web_page(data):
        hint = "It is a web page; perhaps a server sent it instead of the image."
    elif is_text(data):
        hint = f"Use -p {name} if this is the prompt, or -p @{name} if the file contains the prompt."
    return ImageError(f"{name} is not an image that can be read", hint=hint, code="not_an_image")


def _unsupported_error(unsupported: _UnsupportedFormat, name: str) -> ImageError:
    is_file = name != "-" and not re.match("[a-z]+:", name, re.IGNORECASE)
    file = shlex.quote(f"./{name}" if name.startswith("-") else name) if is_file else "FILE"
    command = unsupported.command.format(file, page=file + "[0]")
    return ImageError(
        f"{name} is {unsupported.description}, which is not supported",
        hint=f"Convert it to an image first: {command}",
        code="unsupported_format",
    )


def too_many_pixels_error(name: str, max_pixels: int = MAX_PIXELS) -> ImageError:
    """The error for an image that would not fit into memory once decoded."""
    return ImageError(
        f"{name} has more pixels than can be decoded safely",
        hint=f"The limit is {max_pixels:,} pixels; shrink it with an image editor first.",
        code="too_many_pixels",
    )


def damaged_error(name: str, reason: str) -> ImageError:
    """The error for an image that Pillow could not decode; ``reason`` is Pillow's message."""
    if re.match(_EMPTY_REASON, reason):  # libtiff gives no reason
        return _make_damaged_error(f"{name} is damaged, or compressed in a way that cannot be read here")
    is_unsupported = re.search(_UNSUPPORTED_REASON, reason, re.IGNORECASE)
    problem = "is stored in a way that cannot be read here" if is_unsupported else "is damaged or cut off"
    return _make_damaged_error(f"{name} {problem} ({textwrap.shorten(reason, 120)})")


def _make_damaged_error(message: str) -> ImageError:
    return ImageError(message, hint="Open it in an image viewer and save it again.", code="damaged_image")


def read_orientation(image: Image.Image) -> int:
    """The EXIF orientation that must still be applied, 1 to 8. Call it before the pixels are decoded."""
    if image.format in {"TIFF", "HEIF"}:  # their decoders apply it
        return 1
    try:
        orientation = image.getexif().get(0x0112, 1)
    except DECODE_ERRORS:  # the pixels can still be intact
        return 1
    return orientation if orientation in range(2, 9) else 1


def get_frame_warnings(image: Image.Image, name: str, frame: int) -> tuple[str, ...]:
    """A warning if the file has more frames or pages than the chosen one."""
    if image.format == "MPO":  # a preview or a depth map follows the photo
        return ()
    try:
        frames = getattr(image, "n_frames", 1)
    except DECODE_ERRORS:  # a later frame is broken, but the chosen one matters
        return ()
    unit = _name_frame_unit(image)
    part = f"the first of {frames} {unit}s" if frame == 1 else f"{unit} {frame} of {frames}"
    return (f"{name}: only {part} is sent",) if frames > 1 else ()


def _name_frame_unit(image: Image.Image) -> str:
    return "page" if image.format == "TIFF" else "frame"
