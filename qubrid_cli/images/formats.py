"""Recognize formats that cannot be read, by their first bytes, and word the errors about images."""

import re
from io import BytesIO

from PIL import TiffTags

from ..errors import ImageError
from ..installation import format_install_command
from ..text import quote_name
from . import heif
from .metadata import JpegFrame
from .sources import TIFF_SIGNATURES

#: Bytes at the beginning of a file that are enough to recognize an unsupported format.
_HEAD_BYTES = 4096

#: The name of a format, and the command that converts a file to PNG or JPEG; ``None`` if there is no common one. {} stands
#: for the file, {page} for its first page.
UnsupportedFormat = tuple[str, str | None]

#: Debian 12 has ImageMagick 6, whose command is ``convert``.
_MAGICK = "magick {page} out.png, or with ImageMagick 6: convert {page} out.png"

#: Many of them begin like any TIFF, and are recognized by their tags instead.
CAMERA_RAW = ("a camera raw image", "darktable-cli {} out.jpg")

#: What may precede the first element of an XML file; atomic groups prevent backtracking.
_XML_PROLOGUE = rb"(?>(?>\s+|<!--.*?-->|<\?.*?\?>|<!DOCTYPE[^>\[]*(?:\[.*?\])?\s*>)*)"

#: Tried in order; the first match wins. Sources: the specifications of the formats, file(1).
_UNSUPPORTED_FORMATS = (
    (_XML_PROLOGUE + rb"<(\w+:)?svg[\s>]", ("an SVG drawing", "rsvg-convert -w 1568 {} -o out.png")),
    (rb"\x1f\x8b", ("compressed data", "gunzip {}")),
    (rb"%!PS|\xc5\xd0\xd3\xc6", ("a PostScript file", "gs -sDEVICE=png16m -r150 -o out.png {}")),
    (rb"\xff\x0a|\0\0\0\x0cJXL \r\n\x87\n", ("a JPEG XL image", "djxl {} out.png")),
    (rb"8BPS", ("a Photoshop document", _MAGICK)),
    (rb"DDS ", ("a DDS texture", _MAGICK)),
    (rb"gimp xcf", ("a GIMP document", _MAGICK)),
    (rb"v/1\x01", ("an OpenEXR image", _MAGICK)),
    (rb"#\?(RADIANCE|RGBE)", ("a Radiance HDR image", _MAGICK)),
    (rb"SIMPLE  =", ("a FITS image", _MAGICK)),
    (rb"icns", ("a macOS icon", _MAGICK)),
    (rb"\0\0\x02\0", ("a Windows cursor", _MAGICK)),
    (rb"\x01\xda[\0\x01][\x01\x02]", ("an SGI image", _MAGICK)),
    (rb"\x0a[\0\x02\x03\x05]\x01[\x01\x02\x04\x08]", ("a PCX image", _MAGICK)),
    (rb"\xd7\xcd\xc6\x9a|\x01\0\0\0.{36} EMF|\x01\0\x09\0", ("a Windows metafile", _MAGICK)),
    (rb"\s*/\*\s*XPM\s*\*/", ("an XPM image", _MAGICK)),
    (rb"(?>(?>/\*.*?\*/|\s+)*)#define\s+\w+_width\s", ("an XBM image", _MAGICK)),
    (rb"P7\s", ("a PAM image", _MAGICK)),
    (rb"\x59\xa6\x6a\x95", ("a Sun raster image", _MAGICK)),
    (rb"[\x8a\x8b][MJ]NG\r\n\x1a\n", ("an MNG or JNG image", _MAGICK)),
    (rb"II\xbc[\0\x01]", ("a JPEG XR image", "JxrDecApp -i {} -o out.bmp")),
    (rb"BPG\xfb", ("a BPG image", "bpgdec -o out.png {}")),
    (rb"RIFF....ACON", ("an animated Windows cursor", None)),
    (rb"AT&TFORM", ("a DjVu document", "ddjvu -format=tiff -page=1 {} out.tiff")),
    (rb"II\x1a\0\0\0HEAPCCDR", ("a camera raw image (Canon CRW)", CAMERA_RAW[1])),
    (rb"FUJIFILMCCD-RAW|II\*\0.{4}CR\x02|....ftypcrx |IIU\0|IIR[OS]|MMOR|\0MRM|FOVb", CAMERA_RAW),
    # ISO media files that are neither HEIF nor AVIF (see heif.is_heif), and other containers.
    (
        rb"....(ftyp|moov|mdat|wide|free)|\x1a\x45\xdf\xa3|RIFF....AVI |FLV\x01|\0\0\x01[\xba\xb3]",
        ("a video", "ffmpeg -i {} -frames:v 1 out.png"),
    ),
    (rb"PK\x03\x04", ("an archive or an office document", "unzip {}")),
)  # fmt: skip

#: The first bytes of the formats that can be read, to distinguish a damaged image from other data.
_KNOWN_SIGNATURES = (
    rb"(?s)\xff\xd8\xff|\x89PNG|GIF8|RIFF....WEBP|II[*+]\0|MM\0[*+]|BM|P[1-6]\s|qoif|\xff\x4f\xff\x51"
    rb"|\x00\x00\x00\x0cjP  |\x00\x00\x01\x00"
)

#: The beginning of a web page, after whitespace, comments and an XML declaration (WHATWG MIME Sniffing, section 7.1).
_WEB_PAGE_START = (
    rb"(?is)(\xef\xbb\xbf)?(?>(?>\s+|<!--.*?-->|<\?.*?\?>)*)"
    rb"<(!doctype\s+html|html|head|body|title|meta|script|iframe)\b"
)

READABLE_HINT = "JPEG, PNG, WebP, GIF, TIFF, BMP, AVIF, HEIC and some others can be read."
_SAVE_HINT = "Open it in an image viewer and save it again."

#: Pillow's messages for intact images that it does not support.
_UNSUPPORTED_REASON = "unsupported|not supported|unknown|unrecogni|not available|cannot handle"

#: Kinds of JPEG by their frame marker (ITU-T T.81, table B.1; 0xF7 is T.87, JPEG-LS) that libjpeg does not decode here.
_JPEG_KINDS = {
    0xC3: "a lossless JPEG", 0xCB: "a lossless JPEG", 0xC7: "a lossless JPEG", 0xCF: "a lossless JPEG",
    0xC5: "a hierarchical JPEG", 0xC6: "a hierarchical JPEG", 0xCD: "a hierarchical JPEG", 0xCE: "a hierarchical JPEG",
    0xF7: "a JPEG-LS image",
}  # fmt: skip

#: Kinds of TIFF by PhotometricInterpretation (TIFF 6.0, tag 262, and registered values).
_TIFF_COLORS = {
    0: "gray", 1: "gray", 2: "RGB", 3: "palette", 4: "mask", 5: "CMYK", 6: "YCbCr", 8: "CIELab", 9: "ICCLab",
    10: "ITULab", 32844: "LogL", 32845: "LogLuv", 32803: "raw sensor", 34892: "linear raw",
}  # fmt: skip


def identify_unsupported(data: bytes) -> UnsupportedFormat | None:
    """The unsupported format of a file, by its first bytes; ``None`` if it is not in the table."""
    if heif.is_heif(data):
        return None
    head = data[:_HEAD_BYTES].removeprefix(b"\xef\xbb\xbf")
    return next((kind for pattern, kind in _UNSUPPORTED_FORMATS if re.match(pattern, head, re.DOTALL)), None)


def identify_jpeg_variant(frame: JpegFrame) -> UnsupportedFormat | None:
    """The kind of a JPEG that libjpeg does not decode; ``None`` for all others."""
    if frame.marker in _JPEG_KINDS:
        return (_JPEG_KINDS[frame.marker], None)
    if frame.precision != 8:
        return (f"a JPEG with {frame.precision} bits per channel", None)
    if frame.height == 0:
        return ("a JPEG that does not state its height", None)
    if frame.components not in {1, 3, 4}:
        return (f"a JPEG with {frame.components} channels", None)
    return None


def _describe_tiff(data: bytes) -> str | None:
    """The kind of an intact TIFF, such as ``32-bit floating-point RGB``; ``None`` if its first directory is damaged."""
    from PIL import TiffImagePlugin

    try:
        is_big = data[2:4] in {b"+\0", b"\0+"}
        directory = TiffImagePlugin.ImageFileDirectory_v2(data[: 16 if is_big else 8])
        stream = BytesIO(data)
        stream.seek(directory.next)
        directory.load(stream)
        bits = directory.get(258, (1,))
        words = [
            f"{max(bits)}-bit",
            {2: "signed", 3: "floating-point", 5: "complex", 6: "complex"}.get(max(directory.get(339, (1,))), ""),
            _TIFF_COLORS[directory[262]],
        ]
        compression = TiffTags.lookup(259).enum  # name to number
        number = directory.get(259, 1)
        names = {value: name for name, value in compression.items()}
        extra = f" with {directory[277]} channels" if directory.get(277, 1) > 1 else ""
        packed = f", compression {names.get(number, number)}" if number != 1 else ""
    except (OSError, ValueError, TypeError, SyntaxError, LookupError, RuntimeError, AttributeError):
        return None
    return " ".join(filter(None, words)) + extra + packed


def is_web_page(data: bytes) -> bool:
    """Whether the data is HTML."""
    return re.match(_WEB_PAGE_START, data) is not None


def is_text(data: bytes) -> bool:
    """Whether the data is text in UTF-8."""
    try:
        return "\0" not in data.decode()
    except UnicodeDecodeError:
        return False


def unreadable_error(data: bytes, name: str, *, can_read_heif: bool) -> ImageError:
    """The error for a file that no decoder recognizes."""
    if heif.is_heif(data):
        return _unreadable_heif_error(data, name, can_read_heif=can_read_heif)
    unsupported = identify_unsupported(data)
    if unsupported is not None:
        return unsupported_error(unsupported, name)
    if data.startswith(b"%PDF-"):  # a batch recognizes a document by its name; elsewhere, by its content
        hint = f"Rename it so that it ends in .pdf, or name a page of it: {name}#page=1"
        return ImageError(f"{name} is a PDF document, but is not named like one", hint=hint, code="unsupported_format")
    if data.startswith(TIFF_SIGNATURES):
        kind = _describe_tiff(data)
        if kind is not None:
            return unsupported_error((f"a TIFF in {kind}", _MAGICK), name)
        return _make_damaged_error(f"{name} is a damaged TIFF, or a kind of TIFF that cannot be read here")
    if re.match(_KNOWN_SIGNATURES, data):
        return damaged_error(name, "its header cannot be read")
    hint = READABLE_HINT
    if is_web_page(data):
        hint = "It is a web page; perhaps a server sent it instead of the image."
    elif is_text(data):
        hint = f"Use -p {name} if this is the prompt, or -p @{name} if the file contains the prompt."
    return ImageError(f"{name} is not an image that can be read", hint=hint, code="not_an_image")


def _unreadable_heif_error(data: bytes, name: str, *, can_read_heif: bool) -> ImageError:
    coding = heif.find_coding(data)
    if coding in heif.CODINGS:
        kind = f"a HEIF image with {heif.CODINGS[coding]} coding"
        return unsupported_error((kind, "heif-convert {} out.png"), name)
    if coding is None and heif.is_sequence(data):
        return unsupported_error(("a HEIF image sequence", "ffmpeg -i {} -frames:v 1 out.png"), name)
    if not can_read_heif and coding != "av01":
        return ImageError(
            f"{name} is HEIC, which needs an extra library",
            hint=f"Run: {format_install_command('pi-heif')}",
            code="needs_heif",
        )
    return damaged_error(name, "its header cannot be read")


def unsupported_error(unsupported: UnsupportedFormat, name: str) -> ImageError:
    """The error for an unsupported format, with a command that converts the file."""
    is_file = name != "-" and not re.match("[\"']?[a-z]{2,}:", name, re.IGNORECASE)
    file = _format_path(name) if is_file else "FILE"
    page = _format_path(name, "[0]") if is_file else "FILE[0]"
    hint = "Open it in a program that can read it, and save it as PNG or JPEG."
    description, command = unsupported
    if command is not None:
        hint = f"Convert it to an image first: {command.format(file, page=page)}"
    return ImageError(f"{name} is {description}, which is not supported", hint=hint, code="unsupported_format")


def _format_path(name: str, suffix: str = "") -> str:
    """The path of a file in a command: ``name`` is quoted already if a shell needs that, and must not be like an option."""
    quote = name[0] if len(name) > 1 and name[0] == name[-1] and name[0] in "\"'" else ""
    path = name[len(quote) : len(name) - len(quote)]
    path = f"./{path}{suffix}" if path.startswith("-") else f"{path}{suffix}"
    return f"{quote}{path}{quote}" if quote else quote_name(path)


def too_many_pixels_error(name: str, max_pixels: int) -> ImageError:
    """The error for an image that would not fit into memory once decoded."""
    return ImageError(
        f"{name} has more pixels than can be decoded safely",
        hint=f"The limit is {max_pixels:,} pixels; shrink it with an image editor first.",
        code="too_many_pixels",
    )


def damaged_error(name: str, reason: str | None = None) -> ImageError:
    """The error for a damaged image; ``reason`` is shown to users."""
    return _make_damaged_error(f"{name} is damaged or cut off" + (f" ({reason})" if reason else ""))


def decode_error(name: str, error: Exception) -> ImageError:
    """The error for an image that Pillow did not decode. Its message is quoted only if it names an unsupported feature."""
    reason = str(error)
    is_message = isinstance(error, OSError | SyntaxError | NotImplementedError | ValueError)
    if is_message and re.search(_UNSUPPORTED_REASON, reason, re.IGNORECASE) and len(reason) < _HEAD_BYTES:
        return _make_damaged_error(f"{name} is stored in a way that cannot be read here ({reason[:120]})")
    if re.match(r"decoder error -\d+\Z|\Z", reason):  # libtiff gives no reason
        return _make_damaged_error(f"{name} is damaged, or compressed in a way that cannot be read here")
    return damaged_error(name)


def _make_damaged_error(message: str) -> ImageError:
    return ImageError(message, hint=_SAVE_HINT, code="damaged_image")
