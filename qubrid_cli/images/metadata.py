"""Takes metadata out of JPEG and PNG files without touching the picture: no decoding, no loss. Pure.

Source: ITU-T T.81 (JPEG), annex B; JFIF 1.02; PNG specification, third edition, section 5.
"""

import re
import struct
import zlib
from collections.abc import Iterator
from contextlib import suppress

_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
#: Without these there is no picture; every other chunk is left out (eXIf, tEXt, iCCP, tIME, pHYs …).
_PNG_CHUNKS_KEPT = frozenset({b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"})

#: The next marker behind a scan: not a stuffed zero, not a restart marker.
_JPEG_MARKER = re.compile(rb"\xff+[^\x00\xff\xd0-\xd7]")
_SOI, _EOI, _SOS = 0xD8, 0xD9, 0xDA
#: Baseline and extended frames with Huffman coding (table B.1).
_SEQUENTIAL_FRAMES = {0xC0, 0xC1}


def strip_metadata(data: bytes) -> bytes | None:
    """The file with its picture and nothing else, also nothing behind its end; ``None`` where it is not well formed.

    What has no metadata comes back byte for byte. The decoder's own tables stay: JFIF without a thumbnail, and
    Adobe's APP14, which says how the colours are stored.
    """
    pieces = _strip_png(data) if data.startswith(_PNG_SIGNATURE) else _strip_jpeg(data)
    try:
        return b"".join(pieces)
    except (struct.error, IndexError, EOFError):  # it ends inside a segment
        return None


def _strip_png(data: bytes) -> Iterator[bytes]:
    yield _PNG_SIGNATURE
    position = len(_PNG_SIGNATURE)
    while True:
        length, kind = struct.unpack_from(">I4s", data, position)
        end = position + 12 + length  # length, kind and checksum are four bytes each
        if end > len(data) or zlib.crc32(data[position + 4 : end - 4]) != int.from_bytes(data[end - 4 : end]):
            raise EOFError  # Pillow overlooks a wrong checksum; other decoders refuse the file
        if kind in _PNG_CHUNKS_KEPT:
            yield data[position:end]
        if kind == b"IEND":
            return
        position = end


def count_jpeg_scans(data: bytes) -> int:
    """How many scans a JPEG has, as far as it is well formed."""
    scans = 0
    with suppress(struct.error, IndexError, EOFError):
        for marker, _, _ in _iter_jpeg_segments(data):
            scans += marker == _SOS
    return scans


def has_one_scan(data: bytes) -> bool:
    """Whether a JPEG has no more than one scan that a decoder looks at, told by its header alone.

    So it is where the picture is sequential and the first scan holds all of its components (A.2.3, B.2.3).
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
    """The parts of a JPEG, each with its marker, where it begins and where it ends; with a scan goes its data."""
    if data[:2] != bytes((0xFF, _SOI)):
        raise EOFError
    yield _SOI, 0, 2
    position = 2
    while True:
        marker, start, position = _read_jpeg_segment(data, position)
        if marker == _SOS:  # its data runs on to the next marker
            following = _JPEG_MARKER.search(data, position)
            if following is None:
                raise EOFError
            position = following.start()
        yield marker, start, position
        if marker == _EOI:
            return


def _read_jpeg_segment(data: bytes, position: int) -> tuple[int, int, int]:
    """The part of a JPEG that comes next: its marker, where it begins and where it ends, a scan's data not counted."""
    found = _JPEG_MARKER.match(data, position)
    if found is None:
        raise EOFError
    start, marker = found.end() - 2, data[found.end() - 1]
    length = 0 if marker == _EOI else struct.unpack_from(">H", data, start + 2)[0]
    return marker, start, start + 2 + length


def _reduce_app_segment(marker: int, payload: bytes) -> bytes:
    """Application data cut down to what a decoder needs to get the colours right, which is mostly nothing."""
    if marker == 0xE0 and payload.startswith(b"JFIF\0"):
        kept = payload[:12] + b"\0\0"  # the size of the thumbnail, which comes next
    elif marker == 0xEE and payload.startswith(b"Adobe"):
        kept = payload[:12]
    else:
        return b""
    return struct.pack(">BBH", 0xFF, marker, 2 + len(kept)) + kept
