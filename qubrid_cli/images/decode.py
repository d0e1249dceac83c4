"""A file's bytes become a picture, or a reason why not: formats by content, limits, orientation, pages."""

# MERGED DOCSTRING of qubrid_cli.foreign: Files that people take for images and that are not read here: what they are, and what turns them into one. Pure.

# MERGED DOCSTRING of qubrid_cli.heif: HEIC, what iPhones take, for Pillow: importing this teaches it; without the extra ``[heif]`` it cannot be imported.

# MERGED DOCSTRING of qubrid_cli.tiff: How Pillow reads TIFFs; loaded when the first one comes, for it takes 3 ms.

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

#: Bytes from a file's beginning that are enough to tell all of these.
_HEAD_BYTES = 4096

#: A viewer's or converter's command line, with the file's name for {}; {page} is its first page or picture.
_MAGICK = "magick {page} out.png"
_FFMPEG = "ffmpeg -i {} -frames:v 1 out.png"


@frozen
class UnsupportedFormat:
    """A kind of file and the command that makes a PNG or JPEG of it."""

    description: str
    command: str

    def conversion_hint(self, name: str) -> str:
        """What to type; ``name`` is put in quotes where a shell needs them."""
        is_file = name != "-" and not re.match("[a-z]+:", name, re.IGNORECASE)
        file = shlex.quote(f"./{name}" if name.startswith("-") else name) if is_file else "FILE"
        return f"Turn it into an image first: {self.command.format(file, page=file + '[0]')}"


#: Also for those that begin like any TIFF, which ``decoder`` tells by their tags.
CAMERA_RAW = UnsupportedFormat("a camera's raw picture", "darktable-cli {} out.jpg")

#: Tried in order; the first that matches counts. Compiled when they are tried, which is once in a run as a rule. Sources: the formats' specifications and file(1).
_UNSUPPORTED_FORMATS = (
    (rb"%PDF-", UnsupportedFormat("a PDF document", "pdftoppm -png -r 150 -singlefile {} out")),
    (rb"%!PS|\xc5\xd0\xd3\xc6", UnsupportedFormat("a PostScript file", "gs -sDEVICE=png16m -r150 -o out.png {}")),
    (rb"\xff\x0a|\0\0\0\x0cJXL \r\n\x87\n", UnsupportedFormat("a JPEG XL image", "djxl {} out.png")),
    (rb"8BPS", UnsupportedFormat("a Photoshop document", _MAGICK)),
    (rb"DDS ", UnsupportedFormat("a DDS texture", _MAGICK)),
    (rb"gimp xcf", UnsupportedFormat("a GIMP document", _MAGICK)),
    (rb"v/1\x01", UnsupportedFormat("an OpenEXR image", _MAGICK)),
    (rb"#\?(RADIANCE|RGBE)", UnsupportedFormat("a Radiance HDR image", _MAGICK)),
    (rb"SIMPLE  =", UnsupportedFormat("a FITS image", _MAGICK)),
    (rb"icns", UnsupportedFormat("a macOS icon", _MAGICK)),
    (rb"\0\0\x02\0", UnsupportedFormat("a Windows cursor", _MAGICK)),
    (rb"\x01\xda[\0\x01][\x01\x02]", UnsupportedFormat("an SGI image", _MAGICK)),
    (rb"\x0a[\0\x02\x03\x05]\x01[\x01\x02\x04\x08]", UnsupportedFormat("a PCX image", _MAGICK)),
    (rb"\xd7\xcd\xc6\x9a|\x01\0\0\0.{36} EMF|\x01\0\x09\0", UnsupportedFormat("a Windows metafile", _MAGICK)),
    (rb"AT&TFORM", UnsupportedFormat("a DjVu document", "ddjvu -format=tiff -page=1 {} out.tiff")),
    (rb"FUJIFILMCCD-RAW|II\*\0.{4}CR\x02|....ftypcrx |IIU\0|IIR[OS]|MMOR", CAMERA_RAW),
    # Video; the brands of ISO media files that are no AVIF or HEIF.
    (
        rb"....(ftyp(?!avi[fs]|hei|hev|mif1|msf1)|moov|mdat|wide|free)|\x1a\x45\xdf\xa3|RIFF....AVI |FLV\x01|\0\0\x01[\xba\xb3]",
        UnsupportedFormat("a video", _FFMPEG),
    ),
    (rb"PK\x03\x04", UnsupportedFormat("an archive or an office document", "unzip {}")),
)  # fmt: skip

#: What may stand before an XML file's first element; atomic, for what does not match must not be tried in all ways.
_XML_PROLOGUE = rb"(?>(?>\s+|<!--.*?-->|<\?.*?\?>|<!DOCTYPE[^>\[]*(?:\[.*?\])?\s*>)*)"
_SVG_START = rb"(?s)" + _XML_PROLOGUE + rb"<(\w+:)?svg[\s>]"
_SVG_FORMAT = UnsupportedFormat("an SVG drawing", "rsvg-convert -w 1568 {} -o out.png")
_GZIP_FORMAT = UnsupportedFormat("compressed data", "gunzip {}")
#: How a web page begins, behind blanks, comments and an XML declaration (WHATWG MIME Sniffing, section 7.1).
_WEB_PAGE_START = (
    rb"(?is)(\xef\xbb\xbf)?(?>(?>\s+|<!--.*?-->|<\?.*?\?>)*)"
    rb"<(!doctype\s+html|html|head|body|title|meta|script|iframe)\b"
)


def identify_unsupported(data: bytes) -> UnsupportedFormat | None:
    """What a file is by its first bytes; ``None`` where it is none of those that are known here."""
    head = data[:_HEAD_BYTES].removeprefix(b"\xef\xbb\xbf")
    if re.match(_SVG_START, head):
        return _SVG_FORMAT
    if head.startswith(b"\x1f\x8b"):
        return _GZIP_FORMAT
    return next((foreign for pattern, foreign in _UNSUPPORTED_FORMATS if re.match(pattern, head, re.DOTALL)), None)


def hint_for_non_image(data: bytes, name: str) -> str | None:
    """What a web page or a text was probably meant for, as a hint; ``None`` for other files."""
    if is_web_page(data):
        return "It is a web page: perhaps the server sent that in place of the image."
    return f"If it is the prompt: -p {name}; if it holds the prompt: -p @{name}" if is_text(data) else None


def is_web_page(data: bytes) -> bool:
    """Whether it is HTML, as servers send it in place of an image."""
    return re.match(_WEB_PAGE_START, data) is not None


def is_text(data: bytes) -> bool:
    """Whether it is text in UTF-8."""
    try:
        return "\0" not in data.decode()
    except UnicodeDecodeError:
        return False


#: An item's type in an ItemInfoEntry, versions 2 and 3 (ISO/IEC 14496-12, 8.11.6.2).
_HEIF_ITEM_TYPE = re.compile(rb"infe(?:\x02.{3}.{2}|\x03.{3}.{4}).{2}(.{4})", re.DOTALL)


def _check_heif_items(data: bytes) -> None:
    """Keep a file from the decoder that it does not survive: pi_heif 1.4 ends the whole process over an odd item type.

    Raises:
        ValueError: there is one that is no ASCII.
    """
    if not all(kind.isascii() for kind in _HEIF_ITEM_TYPE.findall(data)):
        raise ValueError("the type of an item is no text")


#: What Pillow decodes by itself (MPO goes with JPEG). Left out is what starts another program (EPS, WMF).
_FORMATS = ("JPEG", "PNG", "GIF", "WEBP", "AVIF", "TIFF", "BMP", "DIB", "ICO", "JPEG2000", "PPM", "QOI", "TGA")
#: How their files begin, to tell a damaged picture from something else.
_KNOWN_SIGNATURES = (
    rb"(?s)\xff\xd8\xff|\x89PNG|GIF8|RIFF....WEBP|II\*\0|MM\0\*|BM|P[1-6]\s|qoif|\xff\x4f\xff\x51|\x00\x00\x00\x0cjP  "
    rb"|\x00\x00\x01\x00|....ftyp(avi[fs]|hei|hev|mif1|msf1)"
)
_HEIF_SIGNATURE = re.compile(rb"....ftyp(hei|hev|mif1|msf1)", re.DOTALL)
#: Magic number, width, height, greatest value; between them blanks and comments (netpbm's ppm(5)).
_PPM_16_BIT = re.compile(rb"P6(?:\s|#[^\r\n]*[\r\n])+(\d+)(?:\s|#[^\r\n]*[\r\n])+(\d+)(?:\s|#[^\r\n]*[\r\n])+65535\s")
#: What a TIFF's first directory says that is a camera's raw picture, with a small preview in front: DNGVersion, or
#: NewSubfileType "reduced resolution" (TIFF 6.0, tag 254) with the picture itself in SubIFDs (tag 330).
_TAG_DNG_VERSION, _TAG_SUBFILE_TYPE, _TAG_SUB_IFDS = 50706, 254, 330

_READABLE_HINT = "JPEG, PNG, WebP, GIF, TIFF, BMP, AVIF, HEIC and some others can be read."

#: Model Studio, Qwen's own host, refuses smaller sides.
_MIN_SIDE = 11

#: What Pillow takes for a decompression bomb.
MAX_PIXELS = 178_956_970
#: Formats whose decoders hold the picture four or five times, so that 46 bytes can ask for 2.8 GB (WebP, measured).
_MAX_PIXELS_BY_FORMAT = {"WEBP": 80_000_000, "JPEG2000": 60_000_000, "AVIF": 120_000_000}
#: Pixels times scans of a JPEG: ten scans, as programs write them, of the largest picture that Pillow takes.
_MAX_SCANNED_PIXELS = 2_000_000_000

#: Pillow's words for pictures that are whole, and for knowing nothing.
_UNSUPPORTED_REASON = "unsupported|not supported|unknown|unrecogni|not available|cannot handle"
_EMPTY_REASON = r"decoder error -\d+\Z|\Z"

#: What Pillow's decoders raise on broken files, as its own tests show.
DECODE_ERRORS = (
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


def detect_optional_formats() -> dict[str, bool]:
    """The formats that not every installation reads, and whether this one does."""
    kinds = {"WebP": "webp", "AVIF": "avif", "JPEG 2000": "jpg_2000"}
    return {"HEIC": bool(_load_heif())} | {name: features.check(kind) is True for name, kind in kinds.items()}


def open_image(data: bytes, name: str, frame: int = 1) -> Image.Image:
    """The picture, its pixels not decoded yet.

    Args:
        name: what the user calls it.
        frame: of an animation, or page of a document, from 1.

    Raises:
        ImageError: it is none, none of a size that models take, or it has no such frame.
    """
    data = _convert_16_bit_ppm(data)
    heif = _load_heif(data) if _HEIF_SIGNATURE.match(data) else ()
    if data[:2] in {b"II", b"MM"}:
        from PIL import TiffImagePlugin  # takes 3 ms to load

        # Pillow's own reader of unpacked TIFFs takes 16-bit planes for 8-bit ones; libtiff, which reads all others, does not.
        TiffImagePlugin.READ_LIBTIFF = True
    try:
        image = _open_jpeg(data) or Image.open(BytesIO(data), formats=_FORMATS + heif)
    except UnidentifiedImageError as error:
        raise _unreadable_error(data, name) from error
    if image.format == "TIFF" and (_is_raw(image) or identify_unsupported(data) is CAMERA_RAW):
        raise _unsupported_error(CAMERA_RAW, name)
    if image.format == "TGA":
        _check_tga(image, name)
    _check_jpeg_scans(image, data, name)
    if frame > 1:
        _seek_frame(image, name, frame)
    _check_pixels(image, name)
    _check_shape(image.size, name)
    return image


def _open_jpeg(data: bytes) -> Image.Image | None:
    """A JPEG; for that, ``Image.open`` would load the readers of four other formats first, in 5 ms."""
    with suppress(SyntaxError):  # with which Pillow's readers say that it is none of theirs
        return JpegImagePlugin.jpeg_factory(BytesIO(data)) if data.startswith(b"\xff\xd8\xff") else None
    return None


def _convert_16_bit_ppm(data: bytes) -> bytes:
    """A PPM of 16 bits with the upper 8: Pillow takes 17 s for 12 megapixels of such a one, as raw converters write it."""
    deep = _PPM_16_BIT.match(data)
    return b"P6 %b %b 255\n" % deep.groups() + data[deep.end() :: 2] if deep else data


def _load_heif(data: bytes = b"") -> tuple[str, ...]:
    """The name of HEIC's format, where the extra is installed; loaded when the first such file comes, for it takes 6 ms.

    Raises:
        ValueError: the decoder had better not see this file.
    """
    try:
        from pi_heif import register_heif_opener
    except ImportError:
        return ()
    _check_heif_items(data)
    register_heif_opener(thumbnails=False)
    return ("HEIF",)


def _unreadable_error(data: bytes, name: str) -> ImageError:
    """The error for what no decoder takes."""
    if _HEIF_SIGNATURE.match(data) and not _load_heif():
        return ImageError(
            f"{name} is HEIC, which needs an extra library", hint="Run: pip install pi-heif", code="needs_heif"
        )
    told = identify_unsupported(data)
    if told is not None:
        return _unsupported_error(told, name)
    if data[:4] in {b"II*\0", b"MM\0*"}:
        return damaged_error(name, "", problem="is a kind of TIFF that cannot be read here, or a damaged one")
    if re.match(_KNOWN_SIGNATURES, data):
        return damaged_error(name, "its header cannot be read")
    return ImageError(
        f"{name} is not an image that can be read",
        hint=hint_for_non_image(data, name) or _READABLE_HINT,
        code="not_an_image",
    )


def _unsupported_error(unsupported: UnsupportedFormat, name: str) -> ImageError:
    return ImageError(
        f"{name} is {unsupported.description}, which is not read here",
        hint=unsupported.conversion_hint(name),
        code="unsupported_format",
    )


def _is_raw(image: Image.Image) -> bool:
    tags = getattr(image, "tag_v2", {})
    return _TAG_DNG_VERSION in tags or (_TAG_SUB_IFDS in tags and tags.get(_TAG_SUBFILE_TYPE) == 1)


def _check_tga(image: Image.Image, name: str) -> None:
    """A TGA begins with no mark of its own, so that other files pass for one until they are decoded."""
    try:
        image.load()
    except DECODE_ERRORS as error:
        raise ImageError(
            f"{name} is not an image that can be read, or a damaged TGA", hint=_READABLE_HINT, code="not_an_image"
        ) from error


def _check_jpeg_scans(image: Image.Image, data: bytes, name: str) -> None:
    """A progressive JPEG passes over all its pixels for each scan; a small file can ask for hours of that."""
    most = _MAX_SCANNED_PIXELS // (image.width * image.height)
    # The header tells it of most photos; looking through all of a file of 5 MB takes 4 ms.
    if image.format not in {"JPEG", "MPO"} or has_one_scan(data) or data.count(b"\xff\xda") <= most:
        return
    scans = count_jpeg_scans(data)  # exactly: behind a photo there may be a video, which has such bytes by chance
    if scans > most:
        raise ImageError(
            f"{name} has {scans} scans, which would take too long to decode",
            hint="Open it in an image editor and save it anew.",
            code="too_many_scans",
        )


def _seek_frame(image: Image.Image, name: str, frame: int) -> None:
    what = "page" if image.format == "TIFF" else "frame"
    frames = getattr(image, "n_frames", 1)  # counted before: a TIFF miscounts behind its end
    if frame > frames:
        raise ImageError(
            f"{name} has {f'only one {what}' if frames == 1 else f'{frames} {what}s'}, and no number {frame}",
            hint="Frames and pages count from 1." if frames > 1 else "Leave out --frame.",
            code="no_such_frame",
        )
    image.seek(frame - 1)


def too_many_pixels_error(name: str, max_pixels: int = MAX_PIXELS) -> ImageError:
    """The error for what would not fit into the memory once it is decoded.

    Args:
        max_pixels: pixels that are taken.
    """
    return ImageError(
        f"{name} has more pixels than can be decoded safely",
        hint=f"Up to {max_pixels:,} are taken; shrink it with an image editor first.",
        code="too_many_pixels",
    )


def damaged_error(name: str, reason: str, *, problem: str = "") -> ImageError:
    """The error for a picture that Pillow gave up on, with its words for it."""
    if problem:
        pass
    elif re.match(_EMPTY_REASON, reason):  # libtiff says no more
        problem, reason = "is damaged, or compressed in a way that cannot be read here", ""
    elif re.search(_UNSUPPORTED_REASON, reason, re.IGNORECASE):
        problem = "is stored in a way that cannot be read here"
    else:
        problem = "is damaged or cut off"
    return ImageError(
        f"{name} {problem}" + (f" ({textwrap.shorten(reason, 120)})" if reason else ""),
        hint="Open it in an image viewer and save it anew.",
        code="damaged_image",
    )


def _check_pixels(image: Image.Image, name: str) -> None:
    most = _MAX_PIXELS_BY_FORMAT.get(image.format or "", MAX_PIXELS)
    if image.width * image.height > most:
        raise too_many_pixels_error(name, most)


def _check_shape(size: tuple[int, int], name: str) -> None:
    has_size = f"{name} has {size[0]} × {size[1]} pixels"
    if min(size) < _MIN_SIDE:
        hint = f"Vision models want more than {_MIN_SIDE - 1} pixels on each side."
        raise ImageError(f"{has_size}, which is too small", hint=hint, code="too_small")
    if max(size) > MAX_RATIO * min(size):
        hint = f"Vision models take shapes up to {MAX_RATIO}:1; cut it into shorter pieces."
        raise ImageError(f"{has_size}, which is too long a shape", hint=hint, code="too_long")


def read_orientation(image: Image.Image) -> int:
    """The EXIF orientation that is still to be applied, 1 to 8. Read before the pixels, so that ``draft`` can act."""
    if image.format in {"TIFF", "HEIF"}:  # their decoders turn the picture themselves
        return 1
    try:
        found = image.getexif().get(0x0112, 1)
    except DECODE_ERRORS:  # the pixels are fine all the same
        return 1
    return found if found in range(2, 9) else 1


def get_frame_warnings(image: Image.Image, name: str, frame: int) -> tuple[str, ...]:
    """A warning where there is more to the file than the frame or page that was chosen."""
    if image.format == "MPO":  # behind the photo comes a preview or a depth map
        return ()
    try:
        frames = getattr(image, "n_frames", 1)
    except DECODE_ERRORS:  # a later frame is broken; the chosen one is what counts
        return ()
    what = "page" if image.format == "TIFF" else "frame"
    said = f"only the first of {frames} {what}s" if frame == 1 else f"only {what} {frame} of {frames}"
    return (f"{name}: {said} is sent",) if frames > 1 else ()
