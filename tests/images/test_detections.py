"""The image that boxes are drawn on is the one that was sent, in full size; and it is read again only if it is the same."""

import io
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import ExifTags, Image, ImageChops, ImageStat

from qubrid_cli.errors import ImageError
from qubrid_cli.images import prepare, sources
from qubrid_cli.images.detections.upright import load_upright
from qubrid_cli.images.encode import ImageLimits

from ..support.draw import IMAGES


def save(kind: str, orientation: int = 1, mode: str = "RGB", **options: object) -> bytes:
    exif, stream = Image.Exif(), io.BytesIO()
    exif[ExifTags.Base.Orientation] = orientation
    with Image.open(IMAGES / "lighthouse.jpg") as image:
        image.resize((120, 90)).convert(mode).save(stream, kind, exif=exif, **options)
    return stream.getvalue()


def read(name: str) -> Callable[[], bytes]:
    return (IMAGES / name).read_bytes


CASES: dict[str, Callable[[], bytes]] = {
    **{name: read(name) for name in ("lighthouse.avif", "lighthouse.heic", "lighthouse.gif", "lighthouse.webp")},
    **{f"{kind} {n}": lambda kind=kind, n=n: save(kind, n) for kind in ("JPEG", "PNG", "TIFF") for n in (1, 3, 5, 6)},  # type: ignore[misc]
    "a fax": lambda: save("TIFF", mode="1", dpi=(204, 98)),
    "CMYK": lambda: save("JPEG", mode="CMYK"),
    "transparent": lambda: save("PNG", mode="RGBA"),
}


@pytest.mark.parametrize("case", CASES)
def test_an_image_is_read_again_as_it_was_sent_but_in_full_size(case: str) -> None:
    source = sources.Bytes(case, CASES[case]())
    prepared = prepare.prepare_image(source, ImageLimits(max_side=64))
    image = load_upright(source, prepared)
    assert (image.size, image.mode, image.info) == ((prepared.width, prepared.height), "RGB", {})
    sent = Image.open(io.BytesIO(prepared.upload.data)).convert("RGB")
    difference = ImageStat.Stat(ImageChops.difference(image.resize(sent.size, Image.Resampling.BICUBIC), sent)).mean
    assert max(difference) < 12  # a mirrored one differs by more than 25


def test_what_is_left_of_a_damaged_image_is_read() -> None:
    data = save("PNG")
    source = sources.Bytes("cut.png", data[: len(data) - 40])
    prepared = prepare.prepare_image(source, ImageLimits())
    assert load_upright(source, prepared).size == (120, 90)


def test_a_file_that_has_changed_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(save("PNG"))
    source = sources.File("a.png", path)
    prepared = prepare.prepare_image(source, ImageLimits())
    path.write_bytes(save("PNG", 3))
    with pytest.raises(ImageError, match=r"a\.png has changed since it was sent"):
        load_upright(source, prepared)
