"""What is sent looks like the file, or a warning says how it differs."""

import struct
from collections.abc import Callable, Sequence

import pytest
from PIL import Image, ImageDraw

from qubrid_cli.images.encode import ImageLimits

from ..support import draw, files
from ..support.files import saved
from ..support.pictures import NAMED, color, encoded, plain, rgb, sent

# Transparency

ON_DARK = "x: drawn on dark gray, because it is light and transparent; --background changes that"


def logo(ink: tuple[int, int, int], size: tuple[int, int] = (120, 80)) -> Image.Image:
    """A frame in one color on transparency."""
    picture = Image.new("RGBA", size)
    edge = size[0] // 6
    ImageDraw.Draw(picture).rectangle(
        (edge, edge, size[0] - edge, size[1] - edge), outline=(*ink, 255), width=edge // 2
    )
    return picture


def as_palette(picture: Image.Image) -> Image.Image:
    shown = Image.new("P", picture.size, 0)
    shown.putpalette([0, 0, 0, *NAMED["white"]])
    shown.paste(1, mask=picture.getchannel("A"))
    return shown


WHITE_LOGOS = {
    "PNG RGBA": lambda: saved(logo(NAMED["white"]), "PNG"),
    "PNG palette": lambda: saved(as_palette(logo(NAMED["white"])), "PNG", transparency=0),
    "PNG gray and alpha": lambda: saved(logo(NAMED["white"]).convert("LA"), "PNG"),
    "PNG one gray clear": lambda: saved(as_palette(logo(NAMED["white"])).convert("L"), "PNG", transparency=0),
    "WebP": lambda: saved(logo((240, 240, 236)), "WEBP", lossless=True),
    "GIF": lambda: saved(as_palette(logo(NAMED["white"])), "GIF", transparency=0),
    "TIFF": lambda: saved(logo(NAMED["white"]), "TIFF"),
    "large": lambda: saved(logo(NAMED["white"], (3000, 2000)), "PNG"),
    "HEIC": lambda: saved(logo(NAMED["white"]), "HEIF"),
}


@pytest.mark.parametrize("kind", WHITE_LOGOS)
def test_a_light_drawing_on_transparency_is_drawn_on_dark_gray(kind: str) -> None:
    image = encoded(WHITE_LOGOS[kind]())
    picture = sent(WHITE_LOGOS[kind]())
    at = 24 * picture.width // 120
    assert (rgb(picture, 5, 5), min(rgb(picture, at, at)) > 225, image.warnings) == ((96, 96, 96), True, (ON_DARK,))


@pytest.mark.parametrize(
    "picture",
    [
        pytest.param(logo(NAMED["black"]), id="black"),
        pytest.param(logo(NAMED["yellow"]), id="yellow"),
        pytest.param(logo((150, 150, 150)), id="gray"),
        pytest.param(Image.alpha_composite(logo(NAMED["white"]), logo(NAMED["red"]).resize((120, 80)).crop((0, 0, 120, 80)).rotate(180)), id="white under red"),
        pytest.param(Image.new("RGBA", (64, 64), "white"), id="opaque white"),
    ],
)  # fmt: skip
def test_other_drawings_are_on_white(picture: Image.Image) -> None:
    image = encoded(saved(picture, "PNG"))
    assert (rgb(sent(saved(picture, "PNG")), 2, 2), image.warnings) == ((255, 255, 255), ())


def test_an_image_of_which_nothing_is_visible_is_said_to_be_blank() -> None:
    assert encoded(saved(Image.new("RGBA", (32, 32)), "PNG")).warnings == (
        "x: every pixel is transparent, so the image that is sent is blank",
    )


@pytest.mark.parametrize("kind", [kind for kind in WHITE_LOGOS if kind != "large"])
@pytest.mark.parametrize(
    ("background", "shown"), [("#00ff00", (0, 255, 0)), ("#000", (0, 0, 0)), ("#ffffff", (255, 255, 255))]
)
def test_the_background_is_the_one_that_was_asked_for(kind: str, background: str, shown: tuple[int, int, int]) -> None:
    limits = ImageLimits(background=background)
    data = WHITE_LOGOS[kind]()
    assert (rgb(sent(data, limits), 5, 5), encoded(data, limits).warnings) == (shown, ())


def test_a_background_does_not_change_an_opaque_image() -> None:
    data = saved(plain(), "PNG")
    assert encoded(data, ImageLimits(background="#00ff00")).upload.data == data


# Animations


def animation(kind: str, frames: Sequence[Image.Image], duration: int = 100) -> bytes:
    return saved(frames[0], kind, save_all=True, append_images=list(frames[1:]), duration=duration, loop=0, **(
        {"disposal": 2} if kind == "GIF" else {}
    ))  # fmt: skip


BLANKS = {"white": Image.new("RGB", (64, 64), "white"), "clear": Image.new("RGBA", (64, 64))}


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "AVIF"])
@pytest.mark.parametrize("blank", BLANKS)
def test_blank_frames_at_the_start_are_skipped(kind: str, blank: str) -> None:
    shown = logo(NAMED["red"], (64, 64))
    data = animation(kind, [BLANKS[blank], BLANKS[blank].copy(), shown, Image.new("RGBA", (64, 64), "black")])
    image = encoded(data)
    (warning,) = image.warnings
    assert color(sent(data), 12, 12) == "red"
    assert warning.endswith("is sent, because those before it are blank")


def test_a_frame_that_comes_after_more_than_a_second_is_not_waited_for() -> None:
    data = animation("WEBP", [BLANKS["white"], logo(NAMED["red"], (64, 64))], duration=1500)
    assert encoded(data).warnings == ("x: only the first of 2 frames is sent",)


# Pixels that are not square


@pytest.mark.parametrize(
    ("kind", "options", "size"),
    [
        ("TIFF", {"dpi": (204, 98), "compression": "group4"}, (200, 208)),
        ("TIFF", {"dpi": (204, 196), "compression": "group4"}, (200, 104)),
        ("TIFF", {"dpi": (100, 200)}, (400, 100)),
        ("TIFF", {"dpi": (300, 300)}, (200, 100)),
        ("TIFF", {"dpi": (1, 300)}, (200, 100)),
        ("PNG", {"dpi": (204, 98)}, (200, 208)),
        ("PNG", {"pnginfo": None}, (200, 100)),
        ("JPEG", {"dpi": (204, 98)}, (200, 100)),
    ],
)  # fmt: skip
def test_pixels_that_are_not_square_are_stretched(kind: str, options: dict[str, object], size: tuple[int, int]) -> None:
    picture = Image.new("1", (200, 100), 1)
    picture.paste(0, (0, 0, 100, 50))
    data = saved(picture.convert("L") if kind == "JPEG" else picture, kind, **options)
    image, shown = encoded(data), sent(data)
    assert (shown.size, color(shown, size[0] // 4, size[1] // 4), color(shown, size[0] * 3 // 4, size[1] // 4)) == (
        size, "black", "white",
    )  # fmt: skip
    assert len(image.warnings) == (size != (200, 100))


def test_a_rotated_fax_is_stretched_the_right_way() -> None:
    picture = Image.new("1", (200, 100), 1)
    data = saved(picture, "TIFF", dpi=(204, 98), tiffinfo={draw.ORIENTATION: 6})
    assert sent(data).size == (208, 200)


# Depth


def gray16(values: Sequence[int]) -> Image.Image:
    picture = Image.new("I;16", (40 * len(values), 40))
    for number, value in enumerate(values):
        picture.paste(Image.new("I;16", (40, 40), value), (40 * number, 0))
    return picture


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
@pytest.mark.parametrize(
    ("values", "shown", "top"),
    [
        ((0, 1000, 4095), (0, 62, 255), 4095),
        ((0, 100, 255), (0, 100, 255), 255),
        ((0, 8000, 16_000), (0, 125, 249), 16_383),
        ((0, 16_384, 32_768), (0, 64, 128), None),
    ],
)
def test_values_of_few_bits_in_16_bit_gray_are_scaled_with_a_note(
    kind: str, values: Sequence[int], shown: Sequence[int], top: int | None
) -> None:
    data = saved(gray16(values), kind)
    picture = sent(data)
    got = [rgb(picture, 40 * number + 20, 20)[0] for number in range(3)]
    assert max(abs(a - b) for a, b in zip(got, shown, strict=True)) <= 1
    note = f"x: its 16-bit values only reach {values[-1]:,}, so {top:,} is sent as white" if top else None
    assert encoded(data).warnings == ((note,) if note else ())


# Color without a profile


def png_with(chunk: bytes, level: int = 55) -> bytes:
    data = saved(Image.new("RGB", (32, 32), (level,) * 3), "PNG")
    return data[:33] + chunk + data[33:]


def gamma(value: float) -> bytes:
    return files.chunk(b"gAMA", struct.pack(">I", round(value * 100_000)))


@pytest.mark.parametrize(
    ("chunks", "shown"),
    [
        (gamma(1.0), 127),
        (gamma(1 / 2.2), 55),
        (gamma(1 / 1.8), 72),
        (gamma(0.35), 35),
        (gamma(1.0) + files.chunk(b"sRGB", b"\0"), 55),
        (gamma(0), 55),
        (files.chunk(b"cICP", bytes((1, 8, 0, 1))), 127),
        (files.chunk(b"cICP", bytes((1, 13, 0, 1))), 55),
    ],
)
def test_gamma_is_applied(chunks: bytes, shown: int) -> None:
    """Light is value ** (1 / gamma), which is shown with 1 / 2.2 (PNG, 13.13)."""
    data = png_with(chunks)
    assert (abs(rgb(sent(data))[0] - shown) <= 1, encoded(data).warnings) == (True, ())


@pytest.mark.parametrize(
    ("numbers", "name"),
    [((9, 16), "HDR (PQ), BT.2020"), ((9, 18), "HDR (HLG), BT.2020"), ((11, 13), "DCI-P3"), ((1, 16), "HDR (PQ)")],
)
def test_colors_that_are_not_converted_are_said(numbers: tuple[int, int], name: str) -> None:
    note = f"x: its colors are stored as {name} and sent without conversion, so they may look off"
    assert encoded(png_with(files.chunk(b"cICP", bytes((*numbers, 0, 1))))).warnings == (note,)


@pytest.mark.parametrize("kind", ["PNG", "AVIF", "HEIF"])
@pytest.mark.parametrize(
    ("numbers", "shown"), [((12, 13), (215, 93, 31)), ((9, 13), (241, 76, 29)), ((1, 13), (200, 100, 50))]
)
def test_wide_colors_without_a_profile_are_converted(
    kind: str, numbers: tuple[int, int], shown: tuple[int, int, int]
) -> None:
    """By the matrices of CSS Color 4, section 10, from linear light in Display P3 and BT.2020."""
    data = saved(Image.new("RGB", (64, 64), (200, 100, 50)), kind, **({"quality": 95} if kind != "PNG" else {}))
    if kind == "PNG":
        data = data[:33] + files.chunk(b"cICP", bytes((*numbers, 0, 1))) + data[33:]
    else:
        place = data.index(b"colrnclx") + 8
        data = data[:place] + struct.pack(">HH", *numbers) + data[place + 4 :]
    got = rgb(sent(data))
    assert (max(abs(a - b) for a, b in zip(got, shown, strict=True)) <= 5, encoded(data).warnings) == (True, ()), got


# The crop of HEIF files


def with_property(data: bytes, property_box: bytes) -> bytes:
    """A HEIF or AVIF file whose primary item has one property more; all places in the file move."""
    ipco = data.index(b"ipco")
    ipma = data.index(b"ipma")
    size = int.from_bytes(data[ipco - 4 : ipco])
    end = ipco - 4 + size
    count = 0
    at = ipco + 4
    while at < end:
        count += 1
        at += int.from_bytes(data[at : at + 4])
    assert data[ipma + 4] == 0
    assert data[ipma + 7] & 1 == 0
    entry = ipma + 14
    changed = bytearray(data)
    changed[entry] += 1
    place = entry + 1  # a crop comes before any rotation
    changed[place:place] = bytes((0x80 | (count + 1),))
    changed[end:end] = property_box
    for name, more in (
        (b"ipco", len(property_box)),
        (b"ipma", 1),
        (b"iprp", len(property_box) + 1),
        (b"meta", len(property_box) + 1),
    ):
        start = changed.index(name) - 4
        changed[start : start + 4] = (int.from_bytes(changed[start : start + 4]) + more).to_bytes(4)
    return move_items(bytes(changed), len(property_box) + 1)


def move_items(data: bytes, more: int) -> bytes:
    """Add to the place of each item (iloc, ISO/IEC 14496-12, 8.11.3)."""
    start = data.index(b"iloc") + 4
    version, sizes = data[start], int.from_bytes(data[start + 4 : start + 6])
    offset, length, base, index = sizes >> 12, sizes >> 8 & 15, sizes >> 4 & 15, sizes & 15
    changed, at = bytearray(data), start + 8
    for _ in range(int.from_bytes(data[start + 6 : start + 8])):
        method = int.from_bytes(data[at + 2 : at + 4]) & 15 if version else 0
        at += 4 + 2 * (version > 0)
        if base and not method:
            changed[at : at + base] = (int.from_bytes(data[at : at + base]) + more).to_bytes(base)
        at += base
        count, at = int.from_bytes(data[at : at + 2]), at + 2
        for _ in range(count):
            at += index if version else 0
            if offset and not base and not method:
                changed[at : at + offset] = (int.from_bytes(data[at : at + offset]) + more).to_bytes(offset)
            at += offset + length
    return bytes(changed)


def clap(width: int, height: int, x: int, y: int) -> bytes:
    """A clean aperture; the offsets are those of its center, in halves of a pixel."""
    return files.box(b"clap", struct.pack(">IIIIiIiI", width, 1, height, 1, x, 2, y, 2))


def quarters() -> Image.Image:
    picture = Image.new("RGB", (128, 128), NAMED["red"])
    picture.paste(NAMED["green"], (64, 0, 128, 64))
    picture.paste(NAMED["blue"], (0, 64, 64, 128))
    picture.paste(NAMED["yellow"], (64, 64, 128, 128))
    return picture


@pytest.mark.parametrize("kind", ["HEIF", "AVIF"])
def test_the_crop_of_a_file_is_applied(kind: str) -> None:
    data = with_property(saved(quarters(), kind), clap(48, 40, 64, -64))
    image, shown = encoded(data), sent(data)
    assert (image.width, image.height, shown.size) == (48, 40, (48, 40))
    assert {color(shown, x, y) for x in (3, 44) for y in (3, 36)} == {"green"}


@pytest.mark.parametrize("kind", ["HEIF", "AVIF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_crop_is_applied_before_the_rotation(kind: str, orientation: int) -> None:
    """The upper right corner of the stored picture, green and wider than high, wherever it is turned."""
    exif = Image.Exif()
    exif[draw.ORIENTATION] = orientation
    data = with_property(saved(quarters(), kind, exif=exif.tobytes()), clap(48, 40, 64, -64))
    shown = sent(data)
    size = (48, 40) if orientation < 5 else (40, 48)
    assert (shown.size, {color(shown, x, y) for x in (3, size[0] - 4) for y in (3, size[1] - 4)}) == (size, {"green"})


# Listed


def trailer() -> bytes:
    return b"SEFH" + bytes(range(1, 60)) + b"SEFT"


FILM = files.box(b"ftyp", b"mp42\0\0\0\0mp42isom") + files.box(b"mdat", bytes(range(1, 99)))
XMP_GAIN_MAP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><a xmlns:hdrgm="http://ns.adobe.com/hdr-gain-map/1.0/" hdrgm:Version="1.0"/></x:xmpmeta>'


@pytest.mark.parametrize(
    ("make", "names"),
    [
        pytest.param(lambda: saved(plain(), "JPEG") + FILM, ("a video",), id="motion photo"),
        pytest.param(lambda: saved(plain(), "JPEG") + trailer(), ("data after its end",), id="trailer"),
        pytest.param(lambda: saved(plain(), "JPEG") + bytes(64), (), id="zeros"),
        pytest.param(lambda: saved(plain(), "JPEG", xmp=XMP_GAIN_MAP) + saved(plain("blue"), "JPEG"), ("XMP", "a gain map"), id="gain map"),
        pytest.param(lambda: saved(plain(), "MPO", save_all=True, append_images=[plain("blue")]), ("EXIF", "a second image"), id="MPO"),
        pytest.param(lambda: saved(plain(), "PNG") + trailer(), ("data after its end",), id="PNG"),
        pytest.param(lambda: saved(plain(), "PNG") + FILM, ("a video",), id="PNG with a film"),
        pytest.param(lambda: saved(plain(), "WEBP") + trailer(), ("data after its end",), id="WebP"),
        pytest.param(lambda: saved(plain(size=(64, 64)), "HEIF") + files.box(b"mpvd", FILM), ("a video",), id="HEIC motion photo"),
    ],
)  # fmt: skip
def test_what_else_was_in_the_file_is_listed(make: Callable[[], bytes], names: tuple[str, ...]) -> None:
    image = encoded(make())
    assert set(names) - {"EXIF"} == set(image.metadata_names) - {"EXIF"}
