"""The metadata of a file, by name."""

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from qubrid_cli.images.encode import ImageLimits
from qubrid_cli.images.prepare import prepare_image
from qubrid_cli.images.sources import Bytes

from ..support.files import saved
from ..support.pictures import SRGB, XMP, encoded, plain


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
        (saved(plain(), "JPEG"), ()),
        (saved(plain(), "JPEG", exif=exif()), ("EXIF", "GPS position")),
        (saved(plain(), "JPEG", comment=b"by hand", xmp=XMP), ("XMP", "a comment")),
        (saved(plain(), "JPEG", icc_profile=SRGB), ("ICC profile",)),
        (saved(plain(), "PNG"), ()),
        (saved(plain(), "PNG", dpi=(72, 72)), ()),
        (saved(plain(), "PNG", pnginfo=text(), exif=exif()), ("EXIF", "GPS position", "text")),
        (saved(plain(), "WEBP", exif=exif(), xmp=XMP), ("EXIF", "GPS position", "XMP")),
        (saved(plain(), "GIF", comment=b"by hand"), ("a comment",)),
    ],
)  # fmt: skip
def test_metadata_is_listed_by_name(data: bytes, carried: tuple[str, ...]) -> None:
    assert sorted(encoded(data).metadata_names) == sorted(carried)


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
def test_a_broken_block_is_listed_too() -> None:
    assert (
        "EXIF"
        in prepare_image(
            Bytes("x", saved(plain(), "JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\xff")), ImageLimits()
        ).metadata_names
    )
