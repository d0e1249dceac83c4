"""Find the pages of a TIFF, and extract each as a file of its own, without decoding.

Source: TIFF 6.0, section 2; BigTIFF as libtiff reads it.
"""

import struct
from typing import BinaryIO

from ...frozen import frozen

#: NewSubfileType and its bits for a smaller version of another page, and for its mask; SubfileType and its value for the
#: former (TIFF 6.0, section 8).
_NEW_SUBFILE_TYPE, _IS_REDUCED, _IS_MASK = 254, 1, 4
_SUBFILE_TYPE, _REDUCED = 255, 2
#: The most directories that are read; a damaged file could chain any number.
_MAX_PAGES = 100_000


@frozen
class _Layout:
    """The sizes of a TIFF's fields: classic with 32 bits, or BigTIFF with 64; ``order`` is the prefix for ``struct``."""

    order: str
    is_big: bool

    @property
    def offset_position(self) -> int:
        """The position in the header of the offset of the first directory."""
        return 8 if self.is_big else 4

    @property
    def offset_format(self) -> str:
        """The format of an offset, for ``struct``."""
        return self.order + ("Q" if self.is_big else "I")

    @property
    def count_format(self) -> str:
        """The format of the number of entries, with which a directory begins."""
        return self.order + ("Q" if self.is_big else "H")

    @property
    def entry_size(self) -> int:
        """Bytes of an entry; the last ones are its value or the offset of it."""
        return 20 if self.is_big else 12


@frozen
class PageOffset:
    """The offset of a page's directory, and the position of the offset of the next directory."""

    directory: int
    next_position: int


def find_pages(file: BinaryIO) -> tuple[PageOffset, ...]:
    """The pages of a TIFF, without masks and smaller versions of pages; empty if its beginning is damaged."""
    pages: list[PageOffset] = []
    visited: set[int] = set()
    try:
        layout = _read_layout(file)
        offset = _read_number(file, layout.offset_position, layout.offset_format)
        while offset and offset not in visited and len(visited) < _MAX_PAGES:
            visited.add(offset)
            count = _read_number(file, offset, layout.count_format)
            start = offset + struct.calcsize(layout.count_format)
            entries = file.read(count * layout.entry_size) if count <= 0xFFFF else b""
            page = PageOffset(offset, start + count * layout.entry_size)
            if not pages or not _is_derived(entries, layout):
                pages.append(page)
            offset = _read_number(file, page.next_position, layout.offset_format)
    except (struct.error, ValueError, OverflowError):  # the file ends too early; it has the pages before that
        pass
    return tuple(pages)


def extract_page(data: bytes, page: PageOffset) -> bytes:
    """Copy a file so that it has only this page."""
    file = bytearray(data)
    layout = _parse_layout(data[:4])
    struct.pack_into(layout.offset_format, file, layout.offset_position, page.directory)
    if page.next_position + struct.calcsize(layout.offset_format) <= len(file):
        struct.pack_into(layout.offset_format, file, page.next_position, 0)
    return bytes(file)


def _read_layout(file: BinaryIO) -> _Layout:
    file.seek(0)
    return _parse_layout(file.read(4))


def _parse_layout(start: bytes) -> _Layout:
    order = {b"II": "<", b"MM": ">"}.get(start[:2], "<")
    return _Layout(order, is_big=struct.unpack(order + "H", start[2:4]) == (43,))


def _read_number(file: BinaryIO, position: int, number_format: str) -> int:
    file.seek(position)
    (number,) = struct.unpack(number_format, file.read(struct.calcsize(number_format)))
    return int(number)


def _is_derived(entries: bytes, layout: _Layout) -> bool:
    """Whether a directory is that of a mask, or of a smaller version of another page."""
    for start in range(0, len(entries), layout.entry_size):
        tag, kind = struct.unpack_from(layout.order + "HH", entries, start)
        if tag > _SUBFILE_TYPE:  # tags are in ascending order
            break
        value_format = layout.order + ("H" if kind == 3 else "I")
        (value,) = struct.unpack_from(value_format, entries, start + (12 if layout.is_big else 8))
        if tag == _NEW_SUBFILE_TYPE and value & (_IS_REDUCED | _IS_MASK):
            return True
        if tag == _SUBFILE_TYPE and value == _REDUCED:
            return True
    return False
