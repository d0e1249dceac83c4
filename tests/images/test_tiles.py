"""Tiles, crops, and the note about detail that is lost."""

from io import BytesIO
from itertools import pairwise
from pathlib import Path

import pytest
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from qubrid_cli.errors import ImageError, UsageError
from qubrid_cli.images import color, sources
from qubrid_cli.images.encode import ImageLimits
from qubrid_cli.images.prepare import PreparedImage, prepare_image
from qubrid_cli.images.tiles.choice import TileChoice, parse_crop, parse_tiles
from qubrid_cli.images.tiles.detail import has_sharp_detail
from qubrid_cli.images.tiles.layout import choose_grid

from ..support.barcodes import draw_page

LIMIT = 2_621_440


def prepare(image: Image.Image, limits: ImageLimits, *, kind: str = "PNG", **options: object) -> PreparedImage:
    stream = BytesIO()
    image.save(stream, kind, **options)
    return prepare_image(sources.Bytes("page", stream.getvalue()), limits)


def write_text(size: int) -> Image.Image:
    page = Image.new("RGB", (2000, 1400), "white")
    font = ImageFont.load_default(size)
    text = " ".join(["The quick brown fox jumps over the lazy dog and 12345 others."] * 9)
    for top in range(0, page.height, size * 3 // 2):
        ImageDraw.Draw(page).text((20, top), text, "black", font)
    return page


def draw_shapes() -> Image.Image:
    image = Image.new("RGB", (2000, 1400), (120, 160, 200))
    draw = ImageDraw.Draw(image)
    for number in range(200):
        left, top, side = number * 379 % 1900, number * 211 % 1300, 20 + number * 53 % 300
        draw.ellipse((left, top, left + side, top + side), (number * 37 % 256, number * 91 % 256, number * 17 % 256))
    return image


@pytest.mark.parametrize("size", [10, 14, 24, 48])
def test_text_is_sharp_detail(size: int) -> None:
    assert has_sharp_detail(write_text(size), color.Look())


@pytest.mark.parametrize(
    "image",
    [
        Image.radial_gradient("L").resize((2000, 1400)),
        Image.effect_noise((2000, 1400), 25),
        Image.effect_noise((250, 175), 120).resize((2000, 1400), Image.Resampling.BICUBIC),
        draw_shapes(),
        draw_shapes().filter(ImageFilter.GaussianBlur(3)),
    ],
    ids=["gradient", "noise", "coarse noise", "shapes", "blurred shapes"],
)
def test_what_photos_consist_of_is_not(image: Image.Image) -> None:
    assert not has_sharp_detail(image, color.Look())


@pytest.mark.parametrize(
    ("limits", "is_noted"),
    [(ImageLimits(500_000), True), (ImageLimits(1_900_000), False), (ImageLimits(500_000, tiles=TileChoice()), False)],
    ids=["shrunk below half", "above half", "in tiles"],
)
def test_a_note_says_that_detail_is_lost(limits: ImageLimits, *, is_noted: bool) -> None:
    warnings = prepare(write_text(14), limits).warnings
    assert any("may make them illegible; --tiles auto" in warning for warning in warnings) is is_noted


def test_tiles_overlap_cover_the_image_at_full_size_and_are_cut_between_lines() -> None:
    page = draw_page(333)
    tiles = prepare(page, ImageLimits(tiles=TileChoice())).uploads
    boxes = [tile.box for tile in tiles if tile.box]
    assert len(boxes) == len(tiles) == 5
    assert [(left, width) for left, _, width, _ in boxes] == [(0, 1280)] * 5
    assert (boxes[0][1], boxes[-1][1] + boxes[-1][3]) == (0, page.height)
    for above, below in pairwise(boxes):
        shared = page.crop((0, below[1], 1280, above[1] + above[3]))
        assert shared.height >= 3
        assert shared.getextrema() == (255, 255)
    for tile, (left, top, width, height) in zip(tiles, boxes, strict=True):
        sent = Image.open(BytesIO(tile.data)).convert("L")
        assert sent.tobytes() == page.crop((left, top, left + width, top + height)).tobytes()


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_tiles_and_crops_are_those_of_the_upright_image(orientation: int) -> None:
    upright = draw_page(100)
    turn = {3: Image.Transpose.ROTATE_180, 6: Image.Transpose.ROTATE_90, 8: Image.Transpose.ROTATE_270}.get(orientation)
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = upright.transpose(turn) if turn is not None else upright
    crop = prepare(stored, ImageLimits(crop=parse_crop("0,50%,640,600")), exif=exif).upload
    assert crop.box == (0, 1212, 640, 600)
    assert Image.open(BytesIO(crop.data)).convert("L").tobytes() == upright.crop((0, 1212, 640, 1812)).tobytes()
    tiles = prepare(stored, ImageLimits(tiles=TileChoice(3)), exif=exif).uploads
    assert [tile.width for tile in tiles] == [1280] * 3


def test_a_smooth_image_is_not_divided_by_auto_but_by_a_number(lighthouse: Path) -> None:
    photo = Image.open(lighthouse).resize((3000, 2000))
    assert prepare(photo, ImageLimits(tiles=TileChoice()), kind="JPEG").upload.tiles == ()
    assert len(prepare(photo, ImageLimits(tiles=TileChoice(5)), kind="JPEG").upload.tiles) == 5


@pytest.mark.parametrize(
    ("size", "count", "grid"),
    [
        ((1280, 20000), None, (12, 1)),
        ((3840, 2160), None, (4, 1)),
        ((20000, 1280), None, (1, 12)),
        ((7016, 9933), None, (16, 1)),
        ((2000, 1000), 2, (2, 1)),
        ((4000, 300), 2, (1, 2)),
        ((1000, 1000), 1, (1, 1)),
        ((90, 90), 4, None),
    ],
)
def test_bands_keep_lines_whole(size: tuple[int, int], count: int | None, grid: tuple[int, int] | None) -> None:
    result = choose_grid(size, (LIMIT, None), count)
    assert (result and (result.rows, result.columns)) == grid


@pytest.mark.parametrize("text", ["0,0,101,10", "0,0,10,61", "100,0,1,1", "95%,0,10,10", "0,50%,10,31"])
def test_a_crop_beyond_the_image_is_refused(text: str) -> None:
    with pytest.raises(ImageError, match="reaches beyond page, which has 100 × 60 pixels") as caught:
        prepare(Image.new("L", (100, 60)), ImageLimits(crop=parse_crop(text)))
    assert caught.value.code == "crop_outside"


@pytest.mark.parametrize(
    "text",
    ["", "1,2,3", "1,2,3,4,5", "0,0,0,5", "0,0,5,0%", "-1,0,5,5", "60%,0,50%,5", "0,0,120%,5", "a,b,c,d", "1e3,0,5,5"],
)
def test_an_invalid_crop_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="invalid value for --crop"):
        parse_crop(text)


@pytest.mark.parametrize("text", ["0", "65", "-1", "many", "1.5", "", "٣"])
def test_an_invalid_number_of_tiles_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="invalid value for --tiles"):
        parse_tiles(text)
