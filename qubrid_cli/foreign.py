"""Files that people take for images and that are not read here: what they are, and what turns them into one. Pure."""

import re
import shlex

from .frozen import frozen

#: Bytes from a file's beginning that are enough to tell all of these.
_HEAD = 4096

#: A viewer's or converter's command line, with the file's name for {}; {page} is its first page or picture.
_MAGICK = "magick {page} out.png"
_FFMPEG = "ffmpeg -i {} -frames:v 1 out.png"


@frozen
class Foreign:
    """A kind of file and the command that makes a PNG or JPEG of it."""

    kind: str
    command: str

    def hint(self, name: str) -> str:
        """What to type; ``name`` is put in quotes where a shell needs them."""
        is_file = name != "-" and not re.match("[a-z]+:", name, re.IGNORECASE)
        file = shlex.quote(f"./{name}" if name.startswith("-") else name) if is_file else "FILE"
        return f"Turn it into an image first: {self.command.format(file, page=file + '[0]')}"


#: Also for those that begin like any TIFF, which ``decoder`` tells by their tags.
RAW = Foreign("a camera's raw picture", "darktable-cli {} out.jpg")

#: Tried in order; the first that matches counts. Compiled when they are tried, which is once in a run as a rule. Sources: the formats' specifications and file(1).
_KINDS = (
    (rb"%PDF-", Foreign("a PDF document", "pdftoppm -png -r 150 -singlefile {} out")),
    (rb"%!PS|\xc5\xd0\xd3\xc6", Foreign("a PostScript file", "gs -sDEVICE=png16m -r150 -o out.png {}")),
    (rb"\xff\x0a|\0\0\0\x0cJXL \r\n\x87\n", Foreign("a JPEG XL image", "djxl {} out.png")),
    (rb"8BPS", Foreign("a Photoshop document", _MAGICK)),
    (rb"DDS ", Foreign("a DDS texture", _MAGICK)),
    (rb"gimp xcf", Foreign("a GIMP document", _MAGICK)),
    (rb"v/1\x01", Foreign("an OpenEXR image", _MAGICK)),
    (rb"#\?(RADIANCE|RGBE)", Foreign("a Radiance HDR image", _MAGICK)),
    (rb"SIMPLE  =", Foreign("a FITS image", _MAGICK)),
    (rb"icns", Foreign("a macOS icon", _MAGICK)),
    (rb"\0\0\x02\0", Foreign("a Windows cursor", _MAGICK)),
    (rb"\x01\xda[\0\x01][\x01\x02]", Foreign("an SGI image", _MAGICK)),
    (rb"\x0a[\0\x02\x03\x05]\x01[\x01\x02\x04\x08]", Foreign("a PCX image", _MAGICK)),
    (rb"\xd7\xcd\xc6\x9a|\x01\0\0\0.{36} EMF|\x01\0\x09\0", Foreign("a Windows metafile", _MAGICK)),
    (rb"AT&TFORM", Foreign("a DjVu document", "ddjvu -format=tiff -page=1 {} out.tiff")),
    (rb"FUJIFILMCCD-RAW|II\*\0.{4}CR\x02|....ftypcrx |IIU\0|IIR[OS]|MMOR", RAW),
    # Video; the brands of ISO media files that are no AVIF or HEIF.
    (
        rb"....(ftyp(?!avi[fs]|hei|hev|mif1|msf1)|moov|mdat|wide|free)|\x1a\x45\xdf\xa3|RIFF....AVI |FLV\x01|\0\0\x01[\xba\xb3]",
        Foreign("a video", _FFMPEG),
    ),
    (rb"PK\x03\x04", Foreign("an archive or an office document", "unzip {}")),
)  # fmt: skip

#: What may stand before an XML file's first element; atomic, for what does not match must not be tried in all ways.
_PROLOGUE = rb"(?>(?>\s+|<!--.*?-->|<\?.*?\?>|<!DOCTYPE[^>\[]*(?:\[.*?\])?\s*>)*)"
_SVG = rb"(?s)" + _PROLOGUE + rb"<(\w+:)?svg[\s>]"
_SVG_FOREIGN = Foreign("an SVG drawing", "rsvg-convert -w 1568 {} -o out.png")
_SVGZ_FOREIGN = Foreign("compressed data", "gunzip {}")
#: How a web page begins, behind blanks, comments and an XML declaration (WHATWG MIME Sniffing, section 7.1).
_PAGE = (
    rb"(?is)(\xef\xbb\xbf)?(?>(?>\s+|<!--.*?-->|<\?.*?\?>)*)"
    rb"<(!doctype\s+html|html|head|body|title|meta|script|iframe)\b"
)


def told(data: bytes) -> Foreign | None:
    """What a file is by its first bytes; ``None`` where it is none of those that are known here."""
    head = data[:_HEAD].removeprefix(b"\xef\xbb\xbf")
    if re.match(_SVG, head):
        return _SVG_FOREIGN
    if head.startswith(b"\x1f\x8b"):
        return _SVGZ_FOREIGN
    return next((foreign for pattern, foreign in _KINDS if re.match(pattern, head, re.DOTALL)), None)


def meant(data: bytes, name: str) -> str | None:
    """What a web page or a text was probably meant for, as a hint; ``None`` for other files."""
    if is_web_page(data):
        return "It is a web page: perhaps the server sent that in place of the image."
    return f"If it is the prompt: -p {name}; if it holds the prompt: -p @{name}" if is_text(data) else None


def is_web_page(data: bytes) -> bool:
    """Whether it is HTML, as servers send it in place of an image."""
    return re.match(_PAGE, data) is not None


def is_text(data: bytes) -> bool:
    """Whether it is text in UTF-8."""
    try:
        return "\0" not in data.decode()
    except UnicodeDecodeError:
        return False
