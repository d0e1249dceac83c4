"""The metadata of a file, by name."""

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from qubrid_cli.images.encode import ImageLimits
from qubrid_cli.images.prepare import prepare_image
from qubrid_cli.images.sources import Bytes

from ..support.pictures import SRGB, XMP, encoded, file, plain


def exif() -> Image.Exif:
    found = Image.Exif()
    found[0x010F] = "Seaside Optics"
    found.get_ifd(0x8825)[1] = "N"
    return found


def text() -> PngInfo:
    found = PngInfo()
    found.add_text("Author", "A. Keeper")
    return found


@pytest.mark.parametrize(
    ("data", "carried"),
    [
        (file(plain(), "JPEG"), ()),
        (file(plain(), "JPEG", exif=exif()), ("EXIF", "GPS position")),
        (file(plain(), "JPEG", comment=b"by hand", xmp=XMP), ("XMP", "a comment")),
        (file(plain(), "JPEG", icc_profile=SRGB), ("ICC profile",)),
        (file(plain(), "PNG"), ()),
        (file(plain(), "PNG", dpi=(72, 72)), ()),
        (file(plain(), "PNG", pnginfo=text(), exif=exif()), ("EXIF", "GPS position", "text")),
        (file(plain(), "WEBP", exif=exif(), xmp=XMP), ("EXIF", "GPS position", "XMP")),
        (file(plain(), "GIF", comment=b"by hand"), ("a comment",)),
    ],
)  # fmt: skip
def test_metadata_is_listed_by_name(data: bytes, carried: tuple[str, ...]) -> None:
    assert sorted(encoded(data).metadata_names) == sorted(carried)


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
def test_a_broken_block_is_listed_too() -> None:
    assert (
        "EXIF"
        in prepare_image(
            Bytes("x", file(plain(), "JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\xff")), ImageLimits()
        ).metadata_names
    )
