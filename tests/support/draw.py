"""Draws the test images: ``python -m tests.support.draw`` fills ``tests/images``, which is committed.

A small scene at the sea, as a camera would store it (lying on its side, with an orientation tag and a place), a
screenshot with text, and one picture in each further format. Nothing here is random.
"""

import math
import random
import sys
from pathlib import Path

import pillow_heif
from PIL import Image, ImageDraw, ImageFilter, ImageFont

IMAGES = Path(__file__).parent.parent / "images"

#: EXIF tags: Make, Orientation, UserComment's neighbor Artist, and the block that holds the place.
MAKE, ORIENTATION, ARTIST, GPS = 0x010F, 0x0112, 0x013B, 0x8825
#: What no picture that is sent may hold, in any form.
SECRETS = (b"Seaside Optics", b"A. Keeper", b"GPS-SECRET", b"54.4")


def lighthouse(width: int, height: int) -> Image.Image:
    """A red and white lighthouse on a green hill under a blue sky, with the grain of a photo."""
    scene = _gradient((width, height), (70, 140, 220), (190, 220, 240))
    draw = ImageDraw.Draw(scene)
    sea = round(height * 0.62)
    scene.paste(_gradient((width, height - sea), (30, 90, 140), (15, 50, 90)), (0, sea))
    for wave in range(sea, height, max(2, height // 60)):
        tops = [
            (x, wave + math.sin(x * 22 / width + wave) * height / 180) for x in range(0, width, max(1, width // 80))
        ]
        draw.line(tops, fill=(90, 150, 190), width=max(1, height // 400))
    draw.ellipse((width * 0.45, height * 0.7, width * 1.4, height * 1.6), fill=(60, 120, 50))
    draw.ellipse((width * 0.08, height * 0.1, width * 0.2, height * 0.1 + width * 0.12), fill=(250, 225, 120))
    _tower(draw, width, height)
    soft = scene.filter(ImageFilter.GaussianBlur(width / 1600))
    return Image.blend(soft, _grain(width, height), 0.06)


def _tower(draw: ImageDraw.ImageDraw, width: int, height: int) -> None:
    top, foot, middle = height * 0.22, height * 0.74, width * 0.72
    for stripe in range(6):
        upper, lower = (top + (foot - top) * part / 6 for part in (stripe, stripe + 1))
        broad = [width * (0.035 + 0.02 * (y - top) / (foot - top)) for y in (upper, lower)]
        corners = [
            (middle - broad[0], upper),
            (middle + broad[0], upper),
            (middle + broad[1], lower),
            (middle - broad[1], lower),
        ]
        draw.polygon(corners, fill=(200, 35, 35) if stripe % 2 else (245, 245, 240))
    draw.rectangle((middle - width * 0.03, height * 0.15, middle + width * 0.03, top), fill=(40, 45, 55))
    draw.ellipse((middle - width * 0.018, height * 0.165, middle + width * 0.018, height * 0.21), fill=(255, 240, 150))
    draw.polygon(
        [(middle - width * 0.04, height * 0.15), (middle + width * 0.04, height * 0.15), (middle, height * 0.09)],
        fill=(200, 35, 35),
    )


def _gradient(size: tuple[int, int], above: tuple[int, ...], below: tuple[int, ...]) -> Image.Image:
    ramp = Image.linear_gradient("L").resize(size)
    return Image.composite(Image.new("RGB", size, below), Image.new("RGB", size, above), ramp)


def _grain(width: int, height: int) -> Image.Image:
    return Image.frombytes("RGB", (width, height), random.Random(1).randbytes(3 * width * height))


def screenshot() -> Image.Image:
    """A window with a title and lines of sharp, dark text."""
    window = Image.new("RGB", (640, 400), (250, 250, 250))
    draw = ImageDraw.Draw(window)
    draw.rectangle((0, 0, 640, 32), fill=(50, 60, 80))
    draw.text((12, 8), "Harbour log", fill="white", font=ImageFont.load_default(16))
    for number, line in enumerate(
        ("06:10  high water 3.4 m", "07:45  two trawlers out", "09:30  fog, horn on", "11:00  fog lifted")
    ):
        draw.text((24, 56 + 44 * number), line, fill=(20, 20, 20), font=ImageFont.load_default(22))
    draw.rectangle((24, 330, 160, 370), fill=(30, 110, 220))
    draw.text((58, 340), "Save", fill="white", font=ImageFont.load_default(18))
    return window


def private_exif(orientation: int) -> Image.Exif:
    """What a camera writes down: who, with what, where, and which way up."""
    exif = Image.Exif()
    exif[MAKE] = "Seaside Optics"
    exif[ARTIST] = "A. Keeper"
    exif[ORIENTATION] = orientation
    exif.get_ifd(GPS).update({1: "N", 2: (54.0, 26.0, 12.0), 3: "E", 4: (13.0, 34.0, 5.0), 29: "GPS-SECRET"})
    return exif


def photo(path: Path, width: int, height: int, *, quality: int = 88) -> None:
    """A photo as a phone stores it that was held upright: on its side, with orientation 6.

    Args:
        width: of what the person sees.
    """
    lying = lighthouse(width, height).transpose(Image.Transpose.ROTATE_90)
    lying.save(path, "JPEG", quality=quality, exif=private_exif(6), comment=b"A. Keeper was here")


def draw_all(folder: Path) -> None:
    """All test images."""
    pillow_heif.register_heif_opener()
    small = lighthouse(240, 180)
    photo(folder / "lighthouse.jpg", 960, 720)
    screenshot().save(folder / "screenshot.png", pnginfo=None)
    small.save(folder / "lighthouse.webp", quality=80)
    small.save(folder / "lighthouse.avif", quality=70)
    small.save(folder / "lighthouse.heic", quality=70)
    small.save(folder / "lighthouse.tiff", compression="jpeg", quality=85)
    small.resize((96, 72)).save(folder / "lighthouse.bmp")
    blink = [small.resize((120, 90)), small.resize((120, 90)).transpose(Image.Transpose.FLIP_LEFT_RIGHT)]
    blink[0].save(folder / "lighthouse.gif", save_all=True, append_images=blink[1:], duration=500)


if __name__ == "__main__":
    draw_all(Path(sys.argv[1]) if len(sys.argv) > 1 else IMAGES)
