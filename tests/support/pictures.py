"""Small images with known colors, and helpers to prepare and compare them."""

from io import BytesIO
from random import Random

import pytest
from PIL import Image, ImageCms

from qubrid_cli.errors import ImageError
from qubrid_cli.images import sources
from qubrid_cli.images.encode import ImageLimits
from qubrid_cli.images.prepare import PreparedImage, prepare_image

from . import draw

Color = tuple[int, int, int]

NAMED: dict[str, Color] = {
    "red": (200, 30, 30), "green": (30, 160, 40), "blue": (40, 60, 200), "yellow": (240, 215, 60),
    "white": (255, 255, 255), "black": (0, 0, 0),
}  # fmt: skip
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "TIFF", "AVIF", "HEIF", "BMP", "ICO", "JPEG2000", "PPM", "QOI", "TGA")
XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/">GPS-SECRET</x:xmpmeta>'
METADATA_SIGNS = (*draw.SECRETS, b"Exif", b"eXIf", b"http://ns.adobe.com", b"ICC_PROFILE", b"iCCP")
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
SCREENSHOT = draw.IMAGES / "screenshot.png"


def encoded(data: bytes, limits: ImageLimits | None = None) -> PreparedImage:
    return prepare_image(sources.Bytes("x", data), limits or ImageLimits())


def sent(data: bytes, limits: ImageLimits | None = None) -> Image.Image:
    """The picture that an endpoint gets."""
    return Image.open(BytesIO(encoded(data, limits).upload.data), formats=("JPEG", "PNG"))


def color(image: Image.Image, x: int = 16, y: int = 16) -> str:
    """The name of the color that a pixel is nearest to."""
    pixel = rgb(image, x, y)
    return min(NAMED, key=lambda name: sum(abs(a - b) for a, b in zip(NAMED[name], pixel, strict=True)))


def rgb(image: Image.Image, x: int = 16, y: int = 16) -> Color:
    pixel = image.convert("RGB").getpixel((x, y))
    assert isinstance(pixel, tuple)
    return pixel[0], pixel[1], pixel[2]


def four_corners() -> Image.Image:
    """96 × 64 pixels, a color in each quarter."""
    picture = Image.new("RGB", (96, 64), NAMED["red"])
    picture.paste(NAMED["green"], (48, 0, 96, 32))
    picture.paste(NAMED["blue"], (0, 32, 48, 64))
    picture.paste(NAMED["yellow"], (48, 32, 96, 64))
    return picture


def corners(image: Image.Image) -> list[str]:
    right, bottom = image.width - 8, image.height - 8
    return [color(image, *place) for place in ((8, 8), (right, 8), (8, bottom), (right, bottom))]


def plain(name: str = "red", mode: str = "RGB", size: tuple[int, int] = (32, 32)) -> Image.Image:
    return Image.new("RGB", size, NAMED[name]).convert(mode)


def noise(width: int, height: int) -> Image.Image:
    return Image.frombytes("RGB", (width, height), Random(1).randbytes(3 * width * height))


def refusal(source: sources.File | sources.Bytes | sources.Stdin) -> tuple[str, str]:
    """The code and the message."""
    with pytest.raises(ImageError) as caught:
        prepare_image(source, ImageLimits())
    return caught.value.code, caught.value.message
