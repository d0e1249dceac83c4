"""Preparing images: orientation, size, frames, and what is sent byte for byte."""

import hashlib
from base64 import b64decode
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image, ImageChops, ImageStat
from PIL.PngImagePlugin import PngInfo

from qubrid_cli.images import sources
from qubrid_cli.images.encode import ImageLimits, Upload
from qubrid_cli.images.prepare import PreparationPool, PreparedImage, prepare_image

from ..support import draw
from ..support.files import saved
from ..support.pictures import (
    FORMATS,
    METADATA_SIGNS,
    SCREENSHOT,
    SRGB,
    XMP,
    color,
    corners,
    encoded,
    four_corners,
    plain,
    sent,
)

# Upright


#: What the camera did to the upright picture for each orientation: the inverse of what undoes it (EXIF 2.32, 4.6.4).
STORED = {
    1: None,
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF", "HEIF"])
@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize(
    ("limits", "size"), [(ImageLimits(), (96, 64)), (ImageLimits(max_pixels=3072), (64, 32))], ids=["whole", "shrunk"]
)
def test_every_orientation_arrives_upright(
    kind: str, orientation: int, limits: ImageLimits, size: tuple[int, int]
) -> None:
    turn = STORED[orientation]
    stored = four_corners() if turn is None else four_corners().transpose(turn)
    exif = Image.Exif()
    exif[draw.ORIENTATION] = orientation
    image = encoded(saved(stored, kind, exif=exif.tobytes()), limits)
    picture = Image.open(BytesIO(image.upload.data))
    assert (image.width, image.height, picture.size, (image.upload.width, image.upload.height), corners(picture)) == (
        96, 64, size, size, ["red", "green", "blue", "yellow"],
    )  # fmt: skip


@pytest.mark.filterwarnings("ignore")  # Pillow's, which the program silences
def test_a_broken_exif_block_does_not_matter() -> None:
    data = saved(four_corners(), "JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\xff")
    assert corners(sent(data)) == ["red", "green", "blue", "yellow"]


# A phone's photo


@pytest.fixture(scope="module")
def phone_photo(tmp_path_factory: pytest.TempPathFactory) -> PreparedImage:
    """3000 × 4000 pixels to the eye, stored as 4000 × 3000 with orientation 6, a place and a comment."""
    path = tmp_path_factory.mktemp("camera") / "photo.jpg"
    draw.photo(path, 3000, 4000)
    return prepare_image(sources.File("photo.jpg", path), ImageLimits())


def test_a_phone_photo_is_shrunk_to_multiples_of_32(phone_photo: PreparedImage) -> None:
    assert (phone_photo.upload.mime, phone_photo.upload.width, phone_photo.upload.height) == ("image/jpeg", 1376, 1856)


def test_a_phone_photo_looks_as_it_did(phone_photo: PreparedImage) -> None:
    """Compared in squares, for the grain differs."""
    got, expected = (
        picture.resize((18, 24), Image.Resampling.BOX)
        for picture in (Image.open(BytesIO(phone_photo.upload.data)), draw.lighthouse(750, 1000))
    )
    assert max(ImageStat.Stat(ImageChops.difference(got, expected)).mean) < 3


def test_a_phone_photo_is_sent_without_metadata(phone_photo: PreparedImage) -> None:
    assert [sign for sign in METADATA_SIGNS if sign in phone_photo.upload.data] == []


def test_detail_survives_the_decoders_own_shrinking() -> None:
    """Stripes 8 pixels wide, shrunk to half: still black and white, where coarser decoding would leave them gray."""
    stripes = Image.frombytes("L", (1280, 960), (b"\0" * 8 + b"\xff" * 8) * 80 * 960)
    assert ImageStat.Stat(sent(saved(stripes, "JPEG"), ImageLimits(max_side=640))).stddev[0] > 100


# As it is


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(saved(draw.lighthouse(96, 64), "JPEG"), id="JPEG"),
        pytest.param(saved(draw.lighthouse(96, 64), "JPEG", progressive=True), id="progressive JPEG"),
        pytest.param(saved(draw.lighthouse(96, 64), "JPEG", keep_rgb=True), id="JPEG stored as RGB"),
        pytest.param(saved(draw.lighthouse(96, 64).convert("L"), "JPEG"), id="gray JPEG"),
        pytest.param(saved(draw.lighthouse(96, 64), "PNG"), id="PNG"),
        pytest.param(saved(draw.lighthouse(96, 64).quantize(), "PNG"), id="palette PNG"),
        pytest.param(saved(draw.lighthouse(96, 64).convert("1"), "PNG"), id="1-bit PNG"),
        pytest.param(saved(plain(size=(2048, 1280)), "PNG"), id="PNG of 2,621,440 pixels"),
    ],
)
def test_an_image_within_the_limits_is_sent_byte_for_byte(data: bytes) -> None:
    assert encoded(data).upload.data == data


def png_text() -> PngInfo:
    info = PngInfo()
    info.add_text("Author", "A. Keeper")
    info.add_itxt("XML:com.adobe.xmp", XMP.decode())
    info.add_text("Comment", "A. Keeper", zip=True)
    return info


@pytest.mark.parametrize(
    ("kind", "extra"),
    [
        pytest.param("JPEG", {"exif": draw.private_exif(1)}, id="JPEG EXIF"),
        pytest.param("JPEG", {"xmp": XMP}, id="JPEG XMP"),
        pytest.param("JPEG", {"comment": b"A. Keeper"}, id="JPEG comment"),
        pytest.param("JPEG", {"icc_profile": SRGB}, id="JPEG sRGB"),
        pytest.param("MPO", {"save_all": True, "append_images": [plain("blue")]}, id="MPO second image"),
        pytest.param("PNG", {"pnginfo": png_text()}, id="PNG tEXt, zTXt, iTXt"),
        pytest.param("PNG", {"exif": draw.private_exif(1)}, id="PNG eXIf"),
        pytest.param("PNG", {"icc_profile": SRGB}, id="PNG sRGB"),
        pytest.param("PNG", {"dpi": (300, 300)}, id="PNG pHYs"),
    ],
)
def test_metadata_is_not_sent(kind: str, extra: dict[str, object]) -> None:
    """The bytes that are sent are those of the same picture saved without it."""
    picture = draw.lighthouse(96, 64)
    assert encoded(saved(picture, kind, **extra)).upload.data == saved(picture, kind.replace("MPO", "JPEG"))


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_data_after_the_end_is_not_sent(kind: str) -> None:
    data = saved(draw.lighthouse(96, 64), kind)
    assert encoded(data + b"A. Keeper").upload.data == data


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF", "HEIF"])
def test_metadata_does_not_outlive_a_conversion(kind: str) -> None:
    options: dict[str, object] = {"exif": draw.private_exif(1).tobytes()}
    if kind != "HEIF":
        options |= {"xmp": XMP} if kind != "PNG" else {"pnginfo": png_text()}
    if kind == "JPEG":
        options |= {"comment": b"A. Keeper"}
    data = encoded(saved(four_corners(), kind, **options), ImageLimits(max_pixels=3072)).upload.data
    assert [sign for sign in (*METADATA_SIGNS, b"A. Keeper", b"adobe") if sign in data] == []


# Frames and kinds


@pytest.mark.parametrize(
    ("kind", "what"), [("GIF", "frames"), ("WEBP", "frames"), ("PNG", "frames"), ("AVIF", "frames"), ("TIFF", "pages")]
)
def test_of_several_frames_the_first_is_sent_with_a_warning(kind: str, what: str) -> None:
    data = saved(plain("red"), kind, save_all=True, append_images=[plain("blue"), plain("green")])
    image = encoded(data)
    picture = Image.open(BytesIO(image.upload.data))
    assert (color(picture), getattr(picture, "n_frames", 1), image.warnings) == (
        "red", 1, (f"x: only the first of 3 {what} is sent",),
    )  # fmt: skip


def test_a_broken_second_frame_does_not_matter() -> None:
    first, second = draw.lighthouse(32, 32).quantize(), draw.lighthouse(32, 32).rotate(90).quantize()
    whole = saved(first, "GIF", save_all=True, append_images=[second], duration=100)
    assert encoded(whole[:-200]).upload.data == encoded(whole).upload.data


@pytest.mark.parametrize("kind", ["PNG", "GIF", "TIFF", "BMP", "QOI"])
def test_a_screenshot_stays_lossless(kind: str) -> None:
    with Image.open(SCREENSHOT) as screenshot:
        picture = screenshot.quantize() if kind == "GIF" else screenshot.copy()
    image = encoded(saved(picture, kind))
    difference = ImageChops.difference(Image.open(BytesIO(image.upload.data)).convert("RGB"), picture.convert("RGB"))
    assert (image.upload.mime, difference.getbbox()) == ("image/png", None)


def test_a_shrunk_screenshot_stays_png() -> None:
    assert encoded(SCREENSHOT.read_bytes(), ImageLimits(max_side=320)).upload.mime == "image/png"


def test_a_shrunk_photo_becomes_jpeg_also_from_png() -> None:
    assert encoded(saved(draw.lighthouse(640, 480), "PNG"), ImageLimits(max_side=512)).upload.mime == "image/jpeg"


def test_the_type_comes_from_the_bytes_and_not_from_the_name(tmp_path: Path) -> None:
    path = tmp_path / "photo.png"
    path.write_bytes(saved(plain(), "JPEG"))
    image = prepare_image(sources.File("photo.png", path), ImageLimits())
    assert (image.format, image.upload.mime) == ("JPEG", "image/jpeg")


@pytest.mark.parametrize(("kind", "said"), [("MPO", "JPEG"), ("DIB", "BMP"), *((kind, kind) for kind in FORMATS)])
def test_the_description_of_a_prepared_image(kind: str, said: str) -> None:
    data = saved(plain(size=(40, 32)), kind, **({"sizes": [(40, 32)]} if kind == "ICO" else {}))
    image = encoded(data)
    assert replace(image, prepare_seconds=0, metadata_names=(), limits=None) == PreparedImage(
        name="x", sha256=hashlib.sha256(data).hexdigest(), format=said, width=40, height=32, size=len(data),
        upload=Upload(image.upload.mime, 40, 32, image.upload.data), prepare_seconds=0,
    )  # fmt: skip


def test_the_url_holds_what_is_sent() -> None:
    image = encoded(saved(plain(), "PNG"))
    head, _, body = str(image.url).partition(",")
    assert (head, b64decode(body, validate=True)) == ("data:image/png;base64", image.upload.data)


# Threads


def test_the_pool_keeps_the_order_and_passes_links_on() -> None:
    link = sources.Link("https://example.com/a.jpg", "https://example.com/a.jpg")
    pictures = [sources.Bytes(name, saved(plain(name), "PNG")) for name in ("red", "green", "blue")]
    workshop = PreparationPool(ImageLimits())
    prepared = [(work.name, work.future.result()) for work in workshop.submit([*pictures, link])]
    assert [name for name, _ in prepared] == ["red", "green", "blue", link.name]
    assert prepared[-1][1] is link
