"""Remove metadata from JPEG and PNG files without decoding, so the image itself does not change.

Source: ITU-T T.81 (JPEG), annex B; JFIF 1.02; PNG specification, third edition, section 5.
"""

import re
import struct
import zlib
from collections.abc import Iterator
from contextlib import suppress

_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
#: The chunks that the image needs; every other one is removed (eXIf, tEXt, iCCP, tIME, pHYs …).
_PNG_CHUNKS_KEPT = frozenset({b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"})

#: The next marker after a scan's data: not a stuffed zero, not a restart marker. Written as \xff+, a search would take 15
#: times as long (600 µs for 34 kB), because it could not look for the first byte alone.
_JPEG_MARKER = re.compile(rb"\xff\xff*[^\x00\xff\xd0-\xd7]")
_SOI, _EOI, _SOS = 0xD8, 0xD9, 0xDA
#: Baseline and extended frames with Huffman coding (table B.1).
_SEQUENTIAL_FRAMES = {0xC0, 0xC1}


def strip_metadata(data: bytes) -> bytes | None:
    """The file without metadata, and without data after its end; ``None`` if it is malformed.

    A file without metadata is returned byte for byte. What a decoder needs stays: JFIF without its thumbnail, and
    Adobe's APP14, which says how colors are stored.
    """
    segments = _strip_png(data) if data.startswith(_PNG_SIGNATURE) else _strip_jpeg(data)
    try:
        return b"".join(segments)
    except (struct.error, IndexError, EOFError):  # the file ends inside a segment
        return None


def _strip_png(data: bytes) -> Iterator[bytes]:
    yield _PNG_SIGNATURE
    position = len(_PNG_SIGNATURE)
    while True:
        length, kind = struct.unpack_from(">I4s", data, position)
        end = position + 12 + length  # length, kind and checksum are four bytes each
        if end > len(data) or zlib.crc32(data[position + 4 : end - 4]) != int.from_bytes(data[end - 4 : end]):
            raise EOFError  # Pillow ignores a wrong checksum; other decoders refuse the file
        if kind in _PNG_CHUNKS_KEPT:
            yield data[position:end]
        if kind == b"IEND":
            return
        position = end


def count_jpeg_scans(data: bytes) -> int:
    """The number of scans in a JPEG, up to the first malformed segment."""
    scans = 0
    with suppress(struct.error, IndexError, EOFError):
        for marker, _, _ in _iter_jpeg_segments(data):
            scans += marker == _SOS
    return scans


def has_one_scan(data: bytes) -> bool:
    """Whether the header of a JPEG shows that decoders read a single scan.

    They do if the frame is sequential and the first scan holds all components (A.2.3, B.2.3).
    """
    position, components = 2, 0
    with suppress(struct.error, IndexError, EOFError):
        while True:
            marker, start, position = _read_jpeg_segment(data, position)
            if marker in _SEQUENTIAL_FRAMES:
                components = data[start + 9]
            if marker == _SOS:
                return data[start + 4] == components
    return False


def _strip_jpeg(data: bytes) -> Iterator[bytes]:
    for marker, start, end in _iter_jpeg_segments(data):
        if 0xE0 <= marker <= 0xEF:
            yield _reduce_app_segment(marker, data[start + 4 : end])
        elif marker != 0xFE:  # a comment
            yield data[start:end]


def _iter_jpeg_segments(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Each segment of a JPEG as marker, start and end; a scan includes its data."""
    if data[:2] != bytes((0xFF, _SOI)):
        raise EOFError
    yield _SOI, 0, 2
    position = 2
    while True:
        marker, start, position = _read_jpeg_segment(data, position)
        if marker == _SOS:  # its data ends at the next marker
            following = _JPEG_MARKER.search(data, position)
            if following is None:
                raise EOFError
            position = following.start()
        yield marker, start, position
        if marker == _EOI:
            return


def _read_jpeg_segment(data: bytes, position: int) -> tuple[int, int, int]:
    """The next segment of a JPEG as marker, start and end; the data of a scan is not included."""
    match = _JPEG_MARKER.match(data, position)
    if match is None:
        raise EOFError
    start, marker = match.end() - 2, data[match.end() - 1]
    length = 0 if marker == _EOI else struct.unpack_from(">H", data, start + 2)[0]
    return marker, start, start + 2 + length


def _reduce_app_segment(marker: int, payload: bytes) -> bytes:
    """The part of an application segment that a decoder needs to get the colors right; empty for most segments."""
    if marker == 0xE0 and payload.startswith(b"JFIF\0"):
        needed = payload[:12] + b"\0\0"  # an empty thumbnail
    elif marker == 0xEE and payload.startswith(b"Adobe"):
        needed = payload[:12]
    else:
        return b""
    return struct.pack(">BBH", 0xFF, marker, 2 + len(needed)) + needed
