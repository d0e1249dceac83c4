"""Documents and their pages: PDFs, TIFFs and animations."""

import struct
import sys
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from itertools import pairwise
from pathlib import Path

import pytest
from PIL import Image, ImageDraw

from qubrid_cli.errors import ImageError, UsageError
from qubrid_cli.images.documents import pdf_process
from qubrid_cli.images.documents.pages import Documents, PageChoice, parse_pages
from qubrid_cli.images.documents.pdf import PdfReader
from qubrid_cli.images.encode import ImageLimits
from qubrid_cli.images.prepare import PreparedImage, prepare_image_or_link
from qubrid_cli.images.sources import Bytes, DocumentPage, File, PeekableStream, Stdin
from qubrid_cli.images.tiles.choice import parse_crop
from qubrid_cli.installation import format_install_command

from ..support.documents import PdfPage, filled, pdf, stream, tiff, written
from ..support.files import saved

SMALL = ImageLimits(max_side=320)
RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 128, 0), (0, 0, 255), (255, 255, 255)


def prepared(
    data: bytes, number: int = 1, *, limits: ImageLimits = SMALL, password: str | None = None
) -> PreparedImage:
    """A page as it is sent."""
    image = prepare_image_or_link(DocumentPage(Bytes("x", data), number), limits, Documents(password))
    assert isinstance(image, PreparedImage)
    return image


def sent(data: bytes, number: int = 1, *, password: str | None = None) -> Image.Image:
    return Image.open(BytesIO(prepared(data, number, password=password).upload.data)).convert("RGB")


def colors(image: Image.Image, *places: tuple[float, float]) -> list[tuple[int, ...]]:
    """The colors at places from 0 to 1, each channel to the nearest of a few steps, because JPEG changes colors."""
    found = [image.getpixel((int(x * image.width), int(y * image.height))) for x, y in places]
    return [tuple(min((0, 128, 255), key=lambda step: abs(step - value)) for value in color) for color in found]  # type: ignore[union-attr]


def refusal(data: bytes, *, password: str | None = None) -> tuple[str, str]:
    with pytest.raises(ImageError) as caught:
        prepared(data, password=password)
    return caught.value.code, caught.value.message


def pages_of(data: bytes, choice: str | None = None) -> tuple[int, ...]:
    return Documents().find_pages(Bytes("x", data), parse_pages(choice) if choice else None)


# Drawing pages


@pytest.mark.parametrize(
    ("limits", "size"),
    [
        (ImageLimits(), (1344, 1920)),
        (ImageLimits(max_pixels=1_000_000), (832, 1184)),
        (ImageLimits(max_side=640), (448, 640)),
        (ImageLimits(None, None), (2479, 3508)),
        (ImageLimits(None, 320), (224, 320)),
    ],
    ids=str,
)
def test_a_page_fills_the_limit(limits: ImageLimits, size: tuple[int, int]) -> None:
    image = prepared(pdf([written("Hello")]), limits=limits)
    assert (image.upload.width, image.upload.height) == size
    assert (image.name, image.format, image.width, image.height, image.page) == ("x#page=1", "PDF", 595, 842, 1)


@pytest.mark.parametrize("scale", [0.01, 1, 1_000, 1_000_000])
def test_the_size_of_a_page_in_points_does_not_matter(scale: float) -> None:
    box = (0, 0, 595 * scale, 842 * scale)
    assert prepared(pdf([filled(1, 0, 0, box)])).upload.width == 224


def test_a_page_is_upright_cropped_and_on_white() -> None:
    """Red in the upper left quarter of the crop box, turned to the right by a quarter."""
    page = PdfPage(b"1 0 0 rg 100 400 200 200 re f", entries=b"/CropBox[100 200 500 600]/Rotate 90")
    places = (0.25, 0.25), (0.75, 0.25), (0.25, 0.75), (0.75, 0.75)
    assert colors(sent(pdf([page])), *places) == [WHITE, RED, WHITE, WHITE]


def test_annotations_and_forms_are_drawn() -> None:
    square = b"<</Type/Annot/Subtype/Square/Rect[0 421 595 842]/AP<</N 11 0 R>>>>"
    field = (
        b"<</Type/Annot/Subtype/Widget/FT/Btn/T(b)/Ff 65536/F 4/Rect[0 0 595 421]/AP<</N 13 0 R>>/MK<</BG[0 0 1]>>>>"
    )
    form = b"/Type/XObject/Subtype/Form/BBox[0 0 595 421]"
    objects = [square, stream(b"1 0 0 rg 0 0 595 421 re f", form), field, stream(b"0 0 1 rg 0 0 595 421 re f", form)]
    data = pdf([PdfPage(entries=b"/Annots[10 0 R 12 0 R]")], objects=objects, catalog=b"/AcroForm<</Fields[12 0 R]>>")
    assert colors(sent(data), (0.5, 0.25), (0.5, 0.75)) == [RED, BLUE]


def test_half_transparent_paint_is_mixed_with_white() -> None:
    page = PdfPage(b"/G gs 1 0 0 rg 0 0 595 842 re f")
    assert sent(pdf([page], resources=b"/ExtGState<</G<</ca 0.5>>>>")).getpixel((9, 9)) == pytest.approx(
        (255, 128, 128), abs=2
    )


def test_text_is_sent_lossless_and_a_photo_as_jpeg(lighthouse: Path) -> None:
    photo = stream(
        lighthouse.read_bytes(),
        b"/Type/XObject/Subtype/Image/Width 640/Height 480/ColorSpace/DeviceRGB/BitsPerComponent 8/Filter/DCTDecode",
    )
    page = PdfPage(b"595 0 0 842 0 0 cm /P Do")
    mixed = pdf([page], objects=[photo], resources=b"/XObject<</P 10 0 R>>")
    assert [prepared(data).upload.mime for data in (pdf([written("Hello")]), mixed)] == ["image/png", "image/jpeg"]


# Files that cannot be read, and bombs


def test_an_encrypted_file_needs_its_password() -> None:
    data = pdf([filled(1, 0, 0)], password=b"secret")
    assert refusal(data) == ("encrypted", "x is encrypted")
    assert refusal(data, password="wrong") == ("encrypted", "x is encrypted with another password")
    assert colors(sent(data, password="secret"), (0.5, 0.5)) == [RED]
    assert colors(sent(pdf([filled(1, 0, 0)]), password="unused"), (0.5, 0.5)) == [RED]


def nested_tree(depth: int) -> bytes:
    """A page tree in which each node holds only the next one."""
    nodes = [b"<</Type/Pages/Count 1/Kids[%d 0 R]>>" % (number + 1) for number in range(10, 10 + depth)]
    data = pdf([filled(1, 0, 0)], objects=[*nodes, b"<</Type/Page/MediaBox[0 0 9 9]>>"])
    return data.replace(b"/Kids[1000 0 R]", b"/Kids[10 0 R]  ")


@pytest.mark.parametrize(
    ("data", "code", "message"),
    [
        (b"%PDF-1.7\n", "damaged_image", "x is a damaged PDF document"),
        (b"junk" * 9 + b"%PDF-1.7 text", "damaged_image", "x is a damaged PDF document"),
        (pdf([]), "no_pages", "x has no pages that can be read"),
        (nested_tree(2_000), "no_pages", "x has no pages that can be read"),
        (
            pdf([filled(1, 0, 0, (0, 0, 9_000, 9))]),
            "too_long",
            "x#page=1 has 9,000 × 9 points, which is too long and narrow",
        ),
        (
            pdf(
                [PdfPage(b"/P Do")],
                objects=[
                    stream(
                        b"",
                        b"/Subtype/Image/Width 90000/Height 90000/ColorSpace/DeviceGray/BitsPerComponent 1",
                    )
                ],
                resources=b"/XObject<</P 10 0 R>>",
            ),
            "too_many_pixels",
            "page 1 of x contains an image with more pixels than can be decoded safely",
        ),
    ],
    ids=["cut off", "text", "no pages", "deep page tree", "long and narrow", "huge image"],
)
def test_a_file_that_cannot_be_read_is_refused(data: bytes, code: str, message: str) -> None:
    assert refusal(data) == (code, message)


def test_a_page_tree_that_states_too_many_pages_has_those_that_are_there() -> None:
    data = pdf([filled(1, 0, 0)] * 3, stated_count=900_000)
    assert pages_of(data) == (1, 2, 3)
    assert prepared(data, 3).warnings == ("x is damaged: only 3 of 900,000 pages can be read",)


def endless_page() -> PdfPage:
    """Forms that draw each other: 20 to the 8th drawings of one square."""
    return PdfPage(b"/F9 Do " * 20)


def endless_pdf() -> bytes:
    forms = [
        stream(
            b"/F%d Do " % (level - 1) * 20,
            b"/Subtype/Form/BBox[0 0 9 9]/Resources<</XObject<</F%d %d 0 R>>>>" % (level - 1, 8 + level),
        )
        for level in range(2, 10)
    ]
    leaf = stream(b"0 0 9 9 re f", b"/Subtype/Form/BBox[0 0 9 9]")
    return pdf([filled(1, 0, 0), endless_page()], objects=[leaf, *forms], resources=b"/XObject<</F9 18 0 R>>")


def test_a_page_that_takes_too_long_ends_without_the_others() -> None:
    reader = PdfReader(max_seconds=1.0)
    file = reader.open(endless_pdf(), "x")
    with pytest.raises(ImageError) as caught:
        file.draw_page(2, (320, 320))
    assert (caught.value.code, caught.value.message) == ("too_complex", "page 2 of x takes too long to draw")
    assert len(file.draw_page(1, (320, 320))) == 54 + 3 * 320 * 320


def test_a_crash_affects_one_page() -> None:
    reader = PdfReader()
    file = reader.open(pdf([filled(1, 0, 0)]), "x")
    process = reader._process
    assert process is not None
    process.kill()
    process.wait()
    with pytest.raises(ImageError, match="is damaged in a way that ends the PDF reader"):
        file.draw_page(1, (32, 32))
    assert len(file.draw_page(1, (32, 32))) == 54 + 3 * 32 * 32


def test_the_process_ends_with_its_reader() -> None:
    reader = PdfReader()
    reader.open(pdf([filled(1, 0, 0)]), "x")
    process = reader._process
    assert process is not None
    del reader
    assert process.wait(10) is not None


def test_the_memory_of_the_process_is_limited() -> None:
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_AS)
    try:
        pdf_process._limit_memory(1 << 40)
        assert resource.getrlimit(resource.RLIMIT_AS)[0] == 1 << 40
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


def test_without_the_library_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pypdfium2", None)
    with pytest.raises(ImageError) as caught:
        prepared(pdf([filled(1, 0, 0)]))
    assert (caught.value.code, caught.value.message) == (
        "needs_pdf",
        "x is a PDF document, which needs an extra library",
    )
    assert caught.value.hint == f"Run: {format_install_command('pypdfium2')}"


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"pyvenv.cfg": "home = /usr/bin\n"}, '"/home/a b/bin/python" -m pip install lib'),
        ({"pyvenv.cfg": "home = /usr/bin\nuv = 0.9.1\n"}, 'uv pip install --python "/home/a b/bin/python" lib'),
        ({"pyvenv.cfg": "home = /usr/bin\n", "pipx_metadata.json": "{}"}, "pipx inject qubrid-cli lib"),
        ({}, '"/home/a b/bin/python" -m pip install lib'),
    ],
    ids=["pip", "uv", "pipx", "no environment"],
)
def test_the_command_fits_the_installation(tmp_path: Path, files: dict[str, str], expected: str) -> None:
    prefix = tmp_path / "qubrid-cli"
    prefix.mkdir()
    for name, text in files.items():
        (prefix / name).write_text(text)
    assert format_install_command("lib", prefix=str(prefix), python="/home/a b/bin/python") == expected


# Which pages


@pytest.mark.parametrize(
    ("text", "count", "numbers"),
    [
        ("3", 9, (3,)),
        ("1-3,7", 9, (1, 2, 3, 7)),
        ("7, 2 - 3", 9, (7, 2, 3)),
        ("8-", 9, (8, 9)),
        ("2-5", 3, (2, 3)),
        ("1-2,2-3,1", 3, (1, 2, 3)),
    ],
)
def test_pages_are_chosen(text: str, count: int, numbers: tuple[int, ...]) -> None:
    assert parse_pages(text).select("x", count, "page") == numbers


@pytest.mark.parametrize("text", ["", "0", "3-1", "-3", "a", "1,,2", "1-2-3", "١", "99999999"])
def test_an_invalid_choice_is_a_usage_error(text: str) -> None:
    with pytest.raises(UsageError, match=r"^invalid value for --pages: "):
        parse_pages(text)


@pytest.mark.parametrize(
    ("count", "unit", "message"),
    [
        (3, "page", "x has 3 pages, so there is no page 5"),
        (1, "frame", "x has only one frame, so there is no frame 5"),
    ],
)
def test_a_missing_page_is_refused(count: int, unit: str, message: str) -> None:
    with pytest.raises(ImageError) as caught:
        PageChoice(((1, 1), (5, 9))).select("x", count, unit)
    assert (caught.value.code, caught.value.message) == ("no_such_frame", message)


def animation(kind: str) -> bytes:
    frames = [Image.new("RGB", (64, 48), color) for color in (RED, GREEN, BLUE)]
    return saved(frames[0], kind, save_all=True, append_images=frames[1:], lossless=True)


def fax(*numbers: int) -> bytes:
    """Pages with as many black bars."""
    pages = []
    for number in numbers:
        page = Image.new("1", (170, 220), 1)
        for bar in range(number):
            ImageDraw.Draw(page).rectangle((10, 10 + 20 * bar, 160, 20 + 20 * bar), 0)
        pages.append(page)
    return tiff(pages, compression="group4")


@pytest.mark.parametrize(
    ("data", "choice", "numbers"),
    [
        (pdf([filled(1, 0, 0)]), None, (1,)),
        (b"junk\n" + pdf([filled(1, 0, 0)] * 2), None, (1, 2)),
        (fax(1, 2, 3), None, (1, 2, 3)),
        (fax(1, 2, 3), "2-", (2, 3)),
        (fax(1), None, ()),
        (fax(1), "1", ()),
        (animation("GIF"), None, ()),
        (animation("GIF"), "1,3", (1, 3)),
        (animation("WEBP"), "2", (2,)),
        (saved(Image.new("RGB", (32, 32)), "JPEG", comment=b"%PDF-1.7"), None, ()),
        (saved(Image.new("RGB", (32, 32)), "JPEG"), "1", ()),
    ],
)
def test_documents_have_pages_and_other_images_have_frames_if_some_are_chosen(
    data: bytes, choice: str | None, numbers: tuple[int, ...]
) -> None:
    assert pages_of(data, choice) == numbers


def test_a_stream_and_a_file_are_recognized_without_being_used_up(tmp_path: Path) -> None:
    data = pdf([filled(1, 0, 0)] * 2)
    (tmp_path / "x").write_bytes(data)
    documents, stdin = Documents(), Stdin(PeekableStream(BytesIO(data)))
    assert documents.find_pages(stdin, None) == documents.find_pages(stdin, None) == (1, 2)
    assert documents.find_pages(File("x", tmp_path / "x"), None) == (1, 2)
    photo = PeekableStream(BytesIO(saved(Image.new("RGB", (32, 32)), "PNG")))
    assert Documents().find_pages(Stdin(photo), None) == ()
    assert photo.read(4) == b"\x89PNG"


# Pages of TIFFs, and frames


def bars(image: Image.Image) -> int:
    column = [image.getpixel((image.width // 2, y)) for y in range(image.height)]
    return sum(above != below for above, below in pairwise(column)) // 2


def test_each_page_of_a_fax_is_sent_by_itself() -> None:
    data = fax(1, 4, 2)
    assert [bars(sent(data, number)) for number in (3, 1, 2)] == [2, 1, 4]
    image = prepared(data, 2)
    assert (image.name, image.format, image.width, image.page, image.warnings) == ("x#page=2", "TIFF", 170, 2, ())
    assert image.size == len(data)


def big_tiff(*values: int) -> bytes:
    """A BigTIFF of 16 × 16 gray pages, each of one value."""
    file = bytearray(struct.pack("<2sHHHQ", b"II", 43, 8, 0, 16))
    for number, value in enumerate(values):
        start, entries = len(file), 8
        pixels = start + 8 + 20 * entries + 8
        tags = {256: 16, 257: 16, 258: 8, 259: 1, 262: 1, 273: pixels, 278: 16, 279: 256}
        file += struct.pack("<Q", entries)
        for tag, content in tags.items():
            file += struct.pack("<HHQQ", tag, 16, 1, content)
        following = pixels + 256 if number + 1 < len(values) else 0
        file += struct.pack("<Q", following) + bytes([value]) * 256
    return bytes(file)


def test_a_big_tiff_has_pages_too() -> None:
    assert pages_of(big_tiff(9, 200)) == (1, 2)
    assert sent(big_tiff(9, 200), 2).getpixel((3, 3)) == (200, 200, 200)


def test_smaller_versions_of_a_page_and_masks_are_not_pages() -> None:
    pages = [Image.new("L", (32, 32), value) for value in (10, 20, 30, 40)]
    kinds = (0, 1, 4, 2)  # a page, its smaller version, its mask, another page
    data = bytearray(tiff(pages, tiffinfo={254: 3}))
    entry = struct.pack("<HHII", 254, 4, 1, 3)
    for kind in kinds:
        place = data.index(entry)
        data[place : place + 12] = struct.pack("<HHII", 254, 4, 1, kind)
    assert pages_of(bytes(data)) == (1, 2)
    assert sent(bytes(data), 2).getpixel((3, 3)) == (40, 40, 40)


def test_a_tiff_whose_directories_form_a_loop_has_each_page_once() -> None:
    data = bytearray(fax(1, 2))
    (first,) = struct.unpack_from("<I", data, 4)
    (count,) = struct.unpack_from("<H", data, first)
    (second,) = struct.unpack_from("<I", data, first + 2 + 12 * count)
    (count,) = struct.unpack_from("<H", data, second)
    struct.pack_into("<I", data, second + 2 + 12 * count, first)
    assert pages_of(bytes(data)) == (1, 2)


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "AVIF"])
def test_a_frame_is_sent_like_an_image(kind: str) -> None:
    data = animation(kind)
    assert [colors(sent(data, number), (0.5, 0.5)) for number in (2, 3, 1)] == [[GREEN], [BLUE], [RED]]
    image = prepared(data, 2)
    assert (image.format, image.page, image.warnings) == (kind, 2, ())


# Open documents


def test_documents_are_opened_again_after_many_others(tmp_path: Path) -> None:
    documents = Documents()
    paths = [tmp_path / f"{number}.pdf" for number in range(8)]
    for number, path in enumerate(paths):
        path.write_bytes(pdf([filled(number / 8, 0, 0, (0, 0, 72, 72))]))
    opened = [documents.open(File(path.name, path)) for path in paths]
    assert documents.open(File(paths[7].name, paths[7])) is opened[7]
    assert documents.open(File(paths[0].name, paths[0])) is not opened[0]
    assert documents.find_data(File(paths[0].name, paths[0])) == paths[0].read_bytes()


def test_pages_are_read_in_any_order_from_several_threads() -> None:
    documents, data = Documents(), pdf([filled(number / 8, 0, 0) for number in range(8)])
    limits = ImageLimits(max_side=64)

    def red(number: int) -> int:
        image = prepare_image_or_link(DocumentPage(Bytes("x", data), number), limits, documents)
        assert isinstance(image, PreparedImage)
        pixel = Image.open(BytesIO(image.upload.data)).convert("RGB").getpixel((9, 9))
        assert isinstance(pixel, tuple)
        return round(pixel[0] / 255 * 8)

    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(red, [5, 1, 8, 3, 2, 7, 4, 6])) == [4, 0, 7, 2, 1, 6, 3, 5]


def test_a_large_page_is_drawn_larger_for_tiles_and_crops_and_a_note_says_when_it_is_small() -> None:
    page = PdfPage(b"0 0 1192 3370 re f", box=(0, 0, 2384, 3370))  # A1
    source = DocumentPage(Bytes("plan", pdf([page])), 1)
    whole = prepare_image_or_link(source, ImageLimits(), Documents())
    assert isinstance(whole, PreparedImage)
    assert whole.warnings == (
        "plan#page=1: drawn at 41 dpi, so small text may be illegible; --tiles auto or --crop draws it larger",
    )
    crop = prepare_image_or_link(source, ImageLimits(crop=parse_crop("596,0,1192,25%")), Documents())
    assert isinstance(crop, PreparedImage)
    assert crop.upload.box is not None
    assert all(abs(a - b) <= 1 for a, b in zip(crop.upload.box, (596, 0, 1192, 842), strict=True))
    assert crop.upload.width > 1192
    assert crop.warnings == ()
