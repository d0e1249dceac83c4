"""Removing metadata from JPEG and PNG files without decoding them."""

import struct
import zlib
from io import BytesIO

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from qubrid_cli.images.metadata import has_one_scan, strip_metadata

from ..support import draw


def file(kind: str, mode: str = "RGB", **options: object) -> bytes:
    stream = BytesIO()
    draw.lighthouse(48, 32).convert(mode).save(stream, kind, **options)
    return stream.getvalue()


def pixels(data: bytes) -> bytes:
    return Image.open(BytesIO(data)).tobytes()


def segment(marker: int, payload: bytes) -> bytes:
    """A JPEG segment (ITU-T T.81, B.1.1.4): its length counts itself, but not the marker."""
    return struct.pack(">BBH", 0xFF, marker, len(payload) + 2) + payload


def chunk(kind: bytes, payload: bytes) -> bytes:
    return struct.pack(">I", len(payload)) + kind + payload + struct.pack(">I", zlib.crc32(kind + payload))


JPEG, PNG = file("JPEG"), file("PNG")
PROGRESSIVE = file("JPEG", progressive=True)
#: Behind the start and JFIF, where cameras put what they know.
BEHIND_JFIF = 20
#: Behind the signature and IHDR.
BEHIND_HEADER = 33


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(JPEG, id="JPEG"),
        pytest.param(PROGRESSIVE, id="several scans"),
        pytest.param(file("JPEG", restart_marker_blocks=1), id="restart markers"),
        pytest.param(file("JPEG", quality=100, subsampling=0), id="4:4:4"),
        pytest.param(file("JPEG", "L"), id="gray JPEG"),
        pytest.param(file("JPEG", "CMYK"), id="CMYK, with Adobe's marker"),
        pytest.param(file("JPEG", keep_rgb=True), id="RGB, with Adobe's marker"),
        pytest.param(PNG, id="PNG"),
        pytest.param(file("PNG", "P"), id="palette"),
        pytest.param(file("PNG", "P", transparency=3), id="transparency"),
        pytest.param(file("PNG", "I;16"), id="16 bits"),
    ],
)
def test_a_file_without_metadata_is_unchanged(data: bytes) -> None:
    assert strip_metadata(data) == data


@given(marker=st.sampled_from([*range(0xE1, 0xEE), 0xEF, 0xFE]), payload=st.binary(max_size=300))
def test_application_data_and_comments_of_a_jpeg_are_removed(marker: int, payload: bytes) -> None:
    data = JPEG[:BEHIND_JFIF] + segment(marker, payload) + JPEG[BEHIND_JFIF:]
    assert strip_metadata(data) == JPEG


@pytest.mark.parametrize(
    ("data", "has"),
    [
        pytest.param(JPEG, True, id="sequential"),
        pytest.param(file("JPEG", "L"), True, id="gray"),
        pytest.param(file("JPEG", "CMYK"), True, id="CMYK"),
        pytest.param(file("JPEG", restart_marker_blocks=1), True, id="restart markers"),
        pytest.param(PROGRESSIVE, False, id="progressive"),
        pytest.param(JPEG.replace(b"\xff\xda\x00\x0c\x03", b"\xff\xda\x00\x08\x01"), False, id="a scan for each color"),
        pytest.param(JPEG[: JPEG.index(b"\xff\xda")], False, id="cut off before it"),
        pytest.param(PNG, False, id="no JPEG"),
        pytest.param(b"", False, id="nothing"),
    ],
)
def test_the_header_shows_whether_there_is_one_scan(data: bytes, has: bool) -> None:  # noqa: FBT001
    assert has_one_scan(data) is has


def test_metadata_between_two_scans_is_removed() -> None:
    second_scan = PROGRESSIVE.index(b"\xff\xda", PROGRESSIVE.index(b"\xff\xda") + 2)
    data = PROGRESSIVE[:second_scan] + segment(0xE1, b"Exif\0\0A. Keeper") + PROGRESSIVE[second_scan:]
    assert strip_metadata(data) == PROGRESSIVE


@pytest.mark.parametrize(
    "extra",
    [
        pytest.param(segment(0xE0, b"JFXX\0\x10" + JPEG), id="JFXX thumbnail"),
        pytest.param(segment(0xE0, b"AVI1\0"), id="AVI"),
        pytest.param(segment(0xEE, b"A. Keeper"), id="APP14 of someone else"),
    ],
)
def test_look_alikes_of_decoder_tables_are_removed(extra: bytes) -> None:
    assert strip_metadata(JPEG[:BEHIND_JFIF] + extra + JPEG[BEHIND_JFIF:]) == JPEG


#: JFIF with a thumbnail of one pixel, and Adobe's marker (transform 0: the colors are stored as RGB).
THUMBNAIL = segment(0xE0, b"JFIF\0\1\1\0\0\1\0\1\1\1" + b"abc")
ADOBE_RGB = b"Adobe\0d\0\0\0\0\0"


@pytest.mark.parametrize(
    "tables",
    [
        pytest.param(THUMBNAIL, id="JFIF with a thumbnail"),
        pytest.param(segment(0xEE, ADOBE_RGB + b"abc"), id="Adobe with more behind it"),
        pytest.param(THUMBNAIL + segment(0xEE, ADOBE_RGB), id="JFIF with a thumbnail overrules Adobe"),
    ],
)
def test_data_hidden_in_decoder_tables_is_removed_and_colors_stay(tables: bytes) -> None:
    data = JPEG[:2] + tables + JPEG[BEHIND_JFIF:]
    kept = strip_metadata(data)
    assert kept is not None
    assert (b"abc" in kept[: len(tables)], pixels(kept) == pixels(data)) == (False, True)


@given(
    kind=st.sampled_from(
        [b"tEXt", b"zTXt", b"iTXt", b"eXIf", b"iCCP", b"sRGB", b"gAMA", b"tIME", b"pHYs", b"caBX", b"prVt"]
    ),
    payload=st.binary(max_size=300),
    at_the_end=st.booleans(),
)
def test_every_png_chunk_that_the_image_does_not_need_is_removed(
    kind: bytes, payload: bytes, *, at_the_end: bool
) -> None:
    place = len(PNG) - 12 if at_the_end else BEHIND_HEADER
    assert strip_metadata(PNG[:place] + chunk(kind, payload) + PNG[place:]) == PNG


@pytest.mark.parametrize("data", [JPEG, PNG], ids=["JPEG", "PNG"])
@given(behind=st.binary(max_size=100))
def test_data_after_the_end_is_removed(data: bytes, behind: bytes) -> None:
    assert strip_metadata(data + behind) == data


@pytest.mark.parametrize("data", [JPEG, PROGRESSIVE, PNG], ids=["JPEG", "progressive", "PNG"])
def test_a_file_cut_anywhere_is_not_well_formed(data: bytes) -> None:
    assert [end for end in range(len(data)) if strip_metadata(data[:end]) is not None] == []


@pytest.mark.parametrize("data", [JPEG, PNG], ids=["JPEG", "PNG"])
@given(places=st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 255)), min_size=1, max_size=8))
def test_changed_bytes_raise_nothing(data: bytes, places: list[tuple[int, int]]) -> None:
    changed = bytearray(data)
    for place, value in places:
        changed[place % len(data)] = value
    kept = strip_metadata(bytes(changed))
    assert kept is None or len(kept) <= len(data)
