"""What a file carries besides its picture, by name: what people want to see stripped."""

from collections.abc import Iterator

from PIL import ExifTags, Image

from .decoder import BROKEN

#: Pillow's names for what it found in a file's ``info``.
_BLOCKS = {
    "icc_profile": "ICC profile",
    "xmp": "XMP",
    "XML:com.adobe.xmp": "XMP",
    "photoshop": "Photoshop data",
    "comment": "a comment",
}
#: What Pillow keeps of a PNG's chunks under names of its own; what else is there by a text's name is a text.
_NO_TEXT = {"dpi", "gamma", "transparency", "background", "duration", "loop", "exif", "interlace", "aspect", "srgb",
            "chromaticity", "default_image", "disposal", "blend", "bbox", "timestamp"}  # fmt: skip
#: IPTC's record within Photoshop's image resources (Adobe Photoshop File Formats, resource 0x0404).
_IPTC = 0x0404


def carried(image: Image.Image) -> tuple[str, ...]:
    """Names such as ``EXIF`` and ``GPS position``, of an opened image whose pixels are not decoded yet."""
    return tuple(dict.fromkeys((*_exif(image), *_blocks(image))))


def _exif(image: Image.Image) -> Iterator[str]:
    if "exif" in image.info:
        yield "EXIF"
    try:
        exif = image.getexif()
        if exif.get_ifd(ExifTags.IFD.GPSInfo):
            yield "GPS position"
        if exif.get_ifd(ExifTags.IFD.IFD1):
            yield "a thumbnail"
    except BROKEN:
        return


def _blocks(image: Image.Image) -> Iterator[str]:
    for name, value in image.info.items():
        if name in _BLOCKS and value:
            yield _BLOCKS[name]
        if name == "photoshop" and isinstance(value, dict) and _IPTC in value:
            yield "IPTC"
        if (
            image.format == "PNG"
            and isinstance(name, str)
            and isinstance(value, str)
            and name not in _NO_TEXT | _BLOCKS.keys()
        ):
            yield "text"
