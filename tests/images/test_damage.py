"""Damaged images: sent with a warning if nearly all is there, else refused; never sent as sound."""

import json
import zlib
from collections.abc import Callable
from functools import cache
from io import BytesIO
from pathlib import Path
from random import Random

import pytest
from PIL import Image, ImageChops

from qubrid_cli.errors import ImageError
from qubrid_cli.images import sources
from qubrid_cli.images.encode import ImageLimits
from qubrid_cli.images.prepare import PreparedImage

from ..conftest import Ask
from ..support import draw, files
from ..support.files import saved
from ..support.pictures import encoded, refusal
from ..support.server import Server

pytestmark = pytest.mark.filterwarnings("ignore")  # Pillow's, which the program silences

SIZE = (160, 400)


def photo() -> Image.Image:
    return draw.lighthouse(*SIZE)


def small_chunks(picture: Image.Image) -> bytes:
    """A PNG as libpng writes it, its pixels in many chunks."""
    whole = saved(picture, "PNG")
    start = whole.index(b"IDAT") - 4
    length = int.from_bytes(whole[start : start + 4])
    pixels = whole[start + 8 : start + 8 + length]
    pieces = [pixels[at : at + 1024] for at in range(0, length, 1024)]
    return whole[:start] + b"".join(files.chunk(b"IDAT", piece) for piece in pieces) + files.chunk(b"IEND", b"")


MAKE: dict[str, Callable[[], bytes]] = {
    "JPEG": lambda: saved(photo(), "JPEG"),
    "JPEG 4:4:4": lambda: saved(photo(), "JPEG", subsampling=0, quality=95),
    "JPEG gray": lambda: saved(photo().convert("L"), "JPEG"),
    "JPEG restart markers": lambda: saved(photo(), "JPEG", restart_marker_rows=1),
    "JPEG progressive": lambda: saved(photo(), "JPEG", progressive=True),
    "MPO": lambda: saved(photo(), "MPO", save_all=True, append_images=[Image.new("RGB", (64, 48))]),
    "PNG": lambda: small_chunks(photo()),
    "PNG palette": lambda: small_chunks(photo().quantize()),
    "GIF": lambda: saved(photo().quantize(), "GIF"),
    "GIF transparent": lambda: saved(photo().quantize(), "GIF", transparency=3),
    "TIFF": lambda: saved(photo(), "TIFF"),
    "TIFF LZW": lambda: saved(photo(), "TIFF", compression="tiff_lzw", strip_size=4800),
    "BMP": lambda: saved(photo(), "BMP"),
    "WebP lossless": lambda: saved(photo(), "WEBP", lossless=True),
}


@cache
def made(kind: str) -> bytes:
    return MAKE[kind]()


def cut(data: bytes, *, share: float = 0.0, count: int = 0) -> bytes:
    return data[: len(data) - count - round(share * len(data))]


def damaged(kind: str, share: float) -> bytes:
    """Without a share of the file at its end; of a TIFF that libtiff wrote, the directory behind the pixels stays."""
    data = made(kind)
    if kind != "TIFF LZW":
        return cut(data, share=share)
    end, size = int.from_bytes(data[4:8], "little"), round(share * len(data))
    return data[: end - size] + b"\xff" * size + data[end:]


def shown(image: PreparedImage) -> Image.Image:
    return Image.open(BytesIO(image.upload.data)).convert("RGB")


def same_rows(image: PreparedImage, kind: str) -> int:
    """The rows from the top that look as in the sound file."""
    sound = shown(encoded(made(kind)))
    difference = ImageChops.difference(shown(image), sound).convert("L").point(lambda value: 255 if value > 64 else 0)
    box = difference.getbbox()
    return SIZE[1] if box is None else box[1]


@pytest.mark.parametrize("kind", MAKE)
def test_a_sound_file_has_no_warning(kind: str) -> None:
    assert encoded(made(kind)).warnings == ()


@pytest.mark.parametrize("kind", [kind for kind in MAKE if kind != "MPO"])
def test_most_of_a_file_missing_is_refused(kind: str) -> None:
    share = 0.8 if kind == "JPEG progressive" else 0.5  # its scans at the end only refine the picture
    assert refusal(sources.Bytes("x", damaged(kind, share)))[0] == "damaged_image"


@pytest.mark.parametrize(
    "kind", [kind for kind in MAKE if kind not in {"MPO", "JPEG progressive", "WebP lossless", "BMP"}]
)
def test_a_file_without_its_last_rows_is_sent_with_a_warning(kind: str) -> None:
    image = encoded(damaged(kind, 0.02))
    (warning,) = image.warnings
    assert warning.startswith("x: damaged, ")
    assert "of its 400 rows are missing (" in warning
    assert same_rows(image, kind) >= 0.94 * SIZE[1]


@pytest.mark.parametrize("kind", ["JPEG", "JPEG 4:4:4", "JPEG gray", "JPEG progressive", "PNG", "PNG palette"])
@pytest.mark.parametrize("count", [1, 2])
def test_a_file_without_its_last_bytes_is_sent_with_a_warning(kind: str, count: int) -> None:
    end = {"JPEG": 0, "PNG": 16}[kind.partition(" ")[0]]  # where the pixels end in a PNG: before IEND and two checksums
    image = encoded(cut(made(kind), count=count + end))
    assert len(image.warnings) == 1
    assert "the end of the file is missing" in image.warnings[0]
    assert same_rows(image, kind) >= SIZE[1] - 16


@pytest.mark.parametrize("kind", ["PNG", "GIF"])
def test_a_file_that_lacks_only_what_says_that_it_ends_shows_everything(kind: str) -> None:
    assert same_rows(encoded(cut(made(kind), count=1)), kind) == SIZE[1]


def flip(data: bytes, place: float) -> bytes:
    """Four bytes changed, at a share of the file."""
    start = round(place * len(data))
    changed = bytes(byte ^ 0x5A for byte in data[start : start + 4])
    return data[:start] + changed + data[start + 4 :]


@pytest.mark.parametrize("place", [0.3, 0.5, 0.9])
@pytest.mark.parametrize("make", [made, lambda _: saved(photo(), "PNG")], ids=["many chunks", "one chunk"])
@pytest.mark.parametrize("limits", [ImageLimits(), ImageLimits(max_pixels=32 * 64)], ids=["whole", "shrunk"])
def test_changed_bytes_in_the_pixels_of_a_png_are_noticed(
    make: Callable[[str], bytes], place: float, limits: ImageLimits
) -> None:
    with pytest.raises(ImageError) as caught:
        encoded(flip(make("PNG"), place), limits)
    assert caught.value.code == "damaged_image"


def test_changed_bytes_in_the_last_rows_of_a_png_leave_a_warning() -> None:
    image = encoded(flip(made("PNG"), 0.99))
    assert "rows are missing" in image.warnings[0]
    assert same_rows(image, "PNG") >= 0.95 * SIZE[1]


def test_a_wrong_checksum_of_right_pixels_does_not_matter() -> None:
    data = made("PNG")
    end = data.index(b"IDAT", data.index(b"IDAT") + 4) - 4
    image = encoded(data[: end - 4] + b"\0\0\0\0" + data[end:])
    assert same_rows(image, "PNG") == SIZE[1]


@pytest.mark.parametrize("kind", ["JPEG", "JPEG 4:4:4", "JPEG gray"])
@pytest.mark.parametrize("share", [0.5, 0.02])
def test_a_jpeg_that_was_closed_too_early_is_noticed(kind: str, share: float) -> None:
    """libjpeg fills up the rest with gray and only warns."""
    data = cut(made(kind), share=share) + b"\xff\xd9"
    if share > 0.05:
        assert refusal(sources.Bytes("x", data))[0] == "damaged_image"
    else:
        assert encoded(data).warnings == ("x: damaged, so a part of the image may look wrong",)


def test_a_jpeg_is_not_sent_as_it_is_if_it_does_not_end() -> None:
    assert encoded(made("JPEG")[:-2]).upload.data.endswith(b"\xff\xd9")


@pytest.mark.parametrize("behind", [b"\0" * 40, b"\xff" * 40], ids=["zeros", "fill bytes"])
def test_padding_before_the_end_of_a_jpeg_does_not_matter(behind: bytes) -> None:
    data = made("JPEG")
    image = encoded(data[:-2] + behind + data[-2:])
    assert (image.warnings, same_rows(image, "JPEG")) == ((), SIZE[1])


def test_a_second_jpeg_behind_the_first_is_not_damage() -> None:
    data = made("JPEG")
    image = encoded(data + saved(photo().rotate(180), "JPEG"))
    assert (image.warnings, image.upload.data) == ((), data)


@pytest.mark.parametrize("size", [(11, 11), (16, 16), (17, 33), (64, 48)])
@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
@pytest.mark.parametrize("options", [{}, {"subsampling": 0}, {"quality": 5}, {"restart_marker_blocks": 1}])
@pytest.mark.parametrize("color", ["white", "photo"])
def test_no_sound_jpeg_is_called_damaged(
    size: tuple[int, int], mode: str, options: dict[str, object], color: str
) -> None:
    picture = draw.lighthouse(*size) if color == "photo" else Image.new("RGB", size, color)
    assert encoded(saved(picture.convert(mode), "JPEG", **options)).warnings == ()


# Damage in what is dropped anyway


def with_chunk(data: bytes, chunk: bytes, *, last: bool = False) -> bytes:
    place = len(data) - 12 if last else 33
    return data[:place] + chunk + data[place:]


@pytest.mark.parametrize("last", [False, True], ids=["before the pixels", "behind them"])
@pytest.mark.parametrize("kind", [b"tEXt", b"iCCP", b"eXIf", b"tIME", b"zTXt", b"pHYs"])
def test_a_wrong_checksum_of_a_chunk_that_is_dropped_does_not_matter(kind: bytes, *, last: bool) -> None:
    sound = made("PNG")
    bad = files.chunk(kind, b"Title\0\0" + zlib.compress(b"x"))[:-1] + b"?"
    image = encoded(with_chunk(sound, bad, last=last))
    assert same_rows(image, "PNG") == SIZE[1]
    lost_profile = ("x: its color profile is damaged and was ignored",)
    assert image.warnings == (lost_profile if kind == b"iCCP" and not last else ())


def test_a_damaged_text_does_not_cost_the_orientation() -> None:
    exif = Image.Exif()
    exif[draw.ORIENTATION] = 6
    data = with_chunk(saved(photo(), "PNG", exif=exif), files.chunk(b"tEXt", b"a\0b")[:-1] + b"?")
    image = encoded(data)
    assert (image.width, image.height) == (SIZE[1], SIZE[0])


# Through fuzzing


@pytest.mark.parametrize("seed", range(20))
def test_changed_bytes_of_a_png_are_refused_or_said(seed: int) -> None:
    data, random = bytearray(made("PNG")), Random(seed)
    place = random.randrange(41, len(data) - 16)
    data[place : place + 4] = bytes(byte ^ 0xA5 for byte in data[place : place + 4])
    try:
        image = encoded(bytes(data))
    except ImageError:
        return
    assert image.warnings or same_rows(image, "PNG") == SIZE[1]


# Through the program


def test_a_warning_about_damage_is_shown_and_recorded(describe: Ask, server: Server, tmp_path: Path) -> None:
    path = tmp_path / "x.jpg"
    path.write_bytes(made("JPEG")[:-2])
    note = f"{path}: the end of the file is missing, but all rows were found"
    run, forecast = describe(path, "what?"), describe(path, "what?", "--dry-run", "--json")
    assert (run.exit_code, f"note: {note}" in run.stderr, len(server.asked)) == (0, True, 1)
    assert json.loads(forecast.stdout)["warnings"] == [note]


def test_a_damaged_image_is_exit_4_and_nothing_is_sent(describe: Ask, server: Server, tmp_path: Path) -> None:
    path = tmp_path / "x.png"
    path.write_bytes(flip(made("PNG"), 0.5))
    run = describe(path, "what?", "--json")
    assert (run.exit_code, run.json["error"]["code"], server.asked) == (4, "damaged_image", [])


def test_a_webp_that_claims_to_be_4_gb_is_refused_without_making_up_the_rest() -> None:
    whole = bytearray(saved(photo(), "WEBP"))
    whole[4:8] = (2**32 - 10).to_bytes(4, "little")
    assert refusal(sources.Bytes("x", bytes(whole)))[0] == "damaged_image"
