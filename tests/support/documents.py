"""PDFs by hand and TIFFs of several pages. Source: ISO 32000-1, sections 7.5 (file structure) and 7.6 (encryption)."""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from io import BytesIO

from PIL import Image

#: A4, in points.
A4 = (0.0, 0.0, 595.0, 842.0)
_PADDING = bytes.fromhex("28BF4E5E4E758A4164004E56FFFA01082E2E00B6D0683E802F0CA9FE6453697A")
_FILE_ID = b"0123456789abcdef"


@dataclass(frozen=True)
class PdfPage:
    """A page.

    Attributes:
        content: operators.
        entries: further entries of its dictionary.
    """

    content: bytes = b""
    box: tuple[float, float, float, float] = A4
    entries: bytes = b""


def filled(red: float, green: float, blue: float, box: tuple[float, float, float, float] = A4) -> PdfPage:
    """A page of one color."""
    left, bottom, right, top = box
    area = f"{left} {bottom} {right - left} {top - bottom}"
    return PdfPage(f"{red} {green} {blue} rg {area} re f".encode(), box)


def written(text: str) -> PdfPage:
    """A page with a line of text."""
    return PdfPage(f"BT /F 40 Tf 60 700 Td ({text}) Tj ET".encode())


def pdf(
    pages: Sequence[PdfPage],
    *,
    objects: Iterable[bytes] = (),
    catalog: bytes = b"",
    resources: bytes = b"",
    stated_count: int | None = None,
    password: bytes | None = None,
) -> bytes:
    """A PDF.

    Args:
        objects: further objects, whose numbers begin with 10.
        catalog: further entries of the catalog; ``resources`` are those of all pages.
        stated_count: the number of pages in the page tree, if it is wrong.
        password: encrypts the file with RC4 and 40 bits (algorithms 2 to 4 of section 7.6).
    """
    numbered = {3: b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>", **dict(enumerate(objects, 10))}
    kids = []
    for number, page in enumerate(pages):
        page_number = 1000 + 2 * number
        box = " ".join(map(str, page.box)).encode()
        numbered[page_number] = (
            b"<</Type/Page/Parent 2 0 R/MediaBox[%b]/Resources<</Font<</F 3 0 R>>%b>>/Contents %d 0 R%b>>"
            % (box, resources, page_number + 1, page.entries)
        )
        numbered[page_number + 1] = stream(page.content)
        kids.append(b"%d 0 R" % page_number)
    count = len(pages) if stated_count is None else stated_count
    numbered[1] = b"<</Type/Catalog/Pages 2 0 R%b>>" % catalog
    numbered[2] = b"<</Type/Pages/Count %d/Kids[%b]>>" % (count, b" ".join(kids))
    encryption = b"" if password is None else _encrypt(numbered, password)
    return _assemble(numbered, encryption)


def stream(content: bytes, entries: bytes = b"") -> bytes:
    """A stream object."""
    return b"<</Length %d%b>>stream\n%b\nendstream" % (len(content), entries, content)


def _assemble(objects: dict[int, bytes], trailer: bytes) -> bytes:
    file, table = bytearray(b"%PDF-1.7\n"), bytearray(b"xref\n0 1\n0000000000 65535 f \n")
    for number, content in sorted(objects.items()):
        table += b"%d 1\n%010d 00000 n \n" % (number, len(file))
        file += b"%d 0 obj\n%b\nendobj\n" % (number, content)
    start = len(file)
    file += table + b"trailer<</Size %d/Root 1 0 R%b>>\n" % (max(objects) + 1, trailer)
    return bytes(file + b"startxref\n%d\n%%%%EOF\n" % start)


def _encrypt(objects: dict[int, bytes], password: bytes) -> bytes:
    """Encrypt the streams in place; the entries of the trailer."""
    padded = (password + _PADDING)[:32]
    owner = _rc4(hashlib.md5(padded).digest()[:5], padded)
    permissions = (-4).to_bytes(4, "little", signed=True)
    key = hashlib.md5(padded + owner + permissions + _FILE_ID).digest()[:5]
    for number, content in objects.items():
        if b">>stream\n" in content:
            head, _, rest = content.partition(b"stream\n")
            salted = hashlib.md5(key + number.to_bytes(3, "little") + b"\0\0").digest()[:10]
            objects[number] = head + b"stream\n" + _rc4(salted, rest.removesuffix(b"\nendstream")) + b"\nendstream"
    user = _rc4(key, _PADDING)
    dictionary = b"<</Filter/Standard/V 1/R 2/O<%b>/U<%b>/P -4>>" % (owner.hex().encode(), user.hex().encode())
    file_id = _FILE_ID.hex().encode()
    return b"/Encrypt %b/ID[<%b><%b>]" % (dictionary, file_id, file_id)


def _rc4(key: bytes, data: bytes) -> bytes:
    state, j = list(range(256)), 0
    for i in range(256):
        j = (j + state[i] + key[i % len(key)]) % 256
        state[i], state[j] = state[j], state[i]
    result, i, j = bytearray(), 0, 0
    for byte in data:
        i = (i + 1) % 256
        j = (j + state[i]) % 256
        state[i], state[j] = state[j], state[i]
        result.append(byte ^ state[(state[i] + state[j]) % 256])
    return bytes(result)


def tiff(pages: Sequence[Image.Image], **options: object) -> bytes:
    """A TIFF with these pages."""
    file = BytesIO()
    pages[0].save(file, "TIFF", save_all=True, append_images=list(pages[1:]), **options)
    return file.getvalue()
