"""Remove metadata from JPEG and PNG files without decoding them, and read their structure.

Source: ITU-T T.81 (JPEG), annex B; JFIF 1.02; PNG specification, third edition, section 5.
"""

import re
import struct
import zlib
from collections.abc import Iterator
from contextlib import suppress

from ..frozen import frozen
from . import heif

_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
#: The chunks that are sent; all others are removed (eXIf, tEXt, iCCP, tIME, pHYs …).
_PNG_CHUNKS_KEPT = frozenset({b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"})

#: The next marker after a scan's data: not a stuffed zero, not a restart marker. Written as \xff+, a search would take 15
#: times as long (600 µs for 34 kB), because it could not look for the first byte alone.
_JPEG_MARKER = re.compile(rb"\xff\xff*[^\x00\xff\xd0-\xd7]")
_SOI, _EOI, _SOS = 0xD8, 0xD9, 0xDA
#: Baseline and extended frames with Huffman coding, and the progressive one (table B.1).
_SEQUENTIAL_FRAMES = {0xC0, 0xC1}
_HUFFMAN_FRAMES = {*_SEQUENTIAL_FRAMES, 0xC2}
#: The markers of all frames, including that of JPEG-LS (T.87).
_FRAMES = {*range(0xC0, 0xD0), 0xF7} - {0xC4, 0xC8, 0xCC}

#: The chunks that affect how an intact PNG looks and which side is up; the last three are for animations.
_PNG_CHUNKS_USED = _PNG_CHUNKS_KEPT | {
    b"iCCP", b"sRGB", b"gAMA", b"cHRM", b"cICP", b"pHYs", b"eXIf", b"acTL", b"fcTL", b"fdAT",
}  # fmt: skip

JPEG_END, _PNG_END = b"\xff\xd9", b"IEND\xae\x42\x60\x82"
#: Bytes at the beginning of a file in which cameras describe its parts.
_HEAD_BYTES = 128 * 1024
#: Adobe's and Google's gain map (XMP), that of ISO 21496-1, and Apple's.
_GAIN_MAP_SIGNS = (b"hdrgm:", b"urn:iso:std:iso:ts:21496:-1", b"HDRGainMap", b"hdrgainmap")
#: The first box of an MP4 or QuickTime file.
_VIDEO_START = rb"(?s)\0\0\0.ftyp(mp4|isom|qt|avc|iso|M4V|3gp)"


@frozen
class JpegFrame:
    """The frame header of a JPEG (B.2.2): its marker, bits per channel, size and number of channels."""

    marker: int
    precision: int
    height: int
    width: int
    components: int

    @property
    def is_huffman(self) -> bool:
        """Whether its coding is the one that every decoder reads: not arithmetic, lossless or hierarchical."""
        return self.marker in _HUFFMAN_FRAMES


@frozen
class PngChunk:
    """A chunk of a PNG: where it starts and ends, and whether it is complete and has the right checksum."""

    kind: bytes
    start: int
    end: int
    is_sound: bool

    @property
    def content(self) -> slice:
        """Where its content is in the file."""
        return slice(self.start + 8, self.end - 4)


def strip_metadata(data: bytes) -> bytes | None:
    """The file without metadata, and without data after its end; ``None`` if it is malformed.

    A file without metadata is returned byte for byte. What decoders need is kept: JFIF without its thumbnail, and
    Adobe's APP14, which says how colors are stored.
    """
    segments = _strip_png(data) if data.startswith(_PNG_SIGNATURE) else _strip_jpeg(data)
    try:
        return b"".join(segments)
    except (struct.error, IndexError, EOFError):  # the file ends inside a segment
        return None


def _strip_png(data: bytes) -> Iterator[bytes]:
    yield _PNG_SIGNATURE
    for chunk in iter_png_chunks(data):
        if chunk.kind in _PNG_CHUNKS_KEPT:
            if not chunk.is_sound:
                raise EOFError  # Pillow ignores a wrong checksum; other decoders refuse the file
            yield data[chunk.start : chunk.end]
        if chunk.kind == b"IEND":
            return
    raise EOFError


def iter_png_chunks(data: bytes) -> Iterator[PngChunk]:
    """The chunks of a PNG up to ``IEND``; the last one may be cut off."""
    position = len(_PNG_SIGNATURE)
    kind = b""
    while position + 8 <= len(data) and kind != b"IEND":
        length, kind = struct.unpack_from(">I4s", data, position)
        end = position + 12 + length  # length, kind and checksum are four bytes each
        is_sound = end <= len(data) and zlib.crc32(memoryview(data)[position + 4 : end - 4]) == int.from_bytes(
            data[end - 4 : end]
        )
        yield PngChunk(kind, position, end, is_sound)
        position = end


def keep_sound_chunks(data: bytes) -> tuple[bytes, tuple[bytes, ...]] | None:
    """Remove the optional chunks of a PNG that are damaged or not needed.

    Returns the file, and the kinds of the needed chunks that were damaged; ``None`` if it is not a PNG, or nothing was
    removed.
    """
    if not data.startswith(_PNG_SIGNATURE):
        return None
    pieces, damaged_kinds = [_PNG_SIGNATURE], []
    for chunk in iter_png_chunks(data):
        is_critical = not chunk.kind[0] & 0x20
        if is_critical or (chunk.is_sound and chunk.kind in _PNG_CHUNKS_USED):
            pieces.append(data[chunk.start : chunk.end])
        elif chunk.kind in _PNG_CHUNKS_USED:
            damaged_kinds.append(chunk.kind)
    file = b"".join(pieces)
    return None if len(file) == len(data) else (file, tuple(damaged_kinds))


def find_png_chunk(data: bytes, kind: bytes) -> bytes | None:
    """The content of the first chunk of a kind before the pixels; ``None`` if there is none."""
    if not data.startswith(_PNG_SIGNATURE) or kind not in data:
        return None
    for chunk in iter_png_chunks(data):
        if chunk.kind == kind:
            return data[chunk.content]
        if chunk.kind == b"IDAT":
            break
    return None


def read_jpeg_frame(data: bytes) -> JpegFrame | None:
    """The frame header of a JPEG; ``None`` if the file is damaged before it."""
    with suppress(struct.error, IndexError, EOFError):
        for marker, start in _iter_jpeg_header(data):
            if marker in _FRAMES:
                return JpegFrame(marker, *struct.unpack_from(">BHHB", data, start + 4))
    return None


def find_jpeg_end(data: bytes) -> int | None:
    """The offset of the marker that ends a JPEG; ``None`` if it has none."""
    with suppress(struct.error, IndexError, EOFError):
        for marker, start, _ in _iter_jpeg_segments(data):
            if marker == _EOI:
                return start
    return None


def list_extra_parts(data: bytes) -> Iterator[str]:
    """The names of what a file contains besides its image: a gain map, a second image, a video, or other data."""
    is_jpeg = data.startswith(b"\xff\xd8")
    head = data[: _find_scan(data) if is_jpeg else _HEAD_BYTES]
    trailer = _find_trailer(data, head)
    has_gain_map = any(sign in head for sign in _GAIN_MAP_SIGNS)
    has_video = bool(trailer and re.search(_VIDEO_START, trailer)) or (not is_jpeg and heif.has_video(data))
    has_image = b"\xff\xd8\xff" in trailer
    if has_gain_map and (has_image or (not is_jpeg and heif.is_heif(data))):
        yield "a gain map"
    elif has_image:
        yield "a second image"
    if has_video:
        yield "a video"
    if trailer.strip(b"\0\r\n\t ") and not has_image and not has_video:
        yield "data after its end"


def _find_scan(data: bytes) -> int:
    """The offset of the first scan of a JPEG, where its header ends."""
    with suppress(struct.error, IndexError, EOFError):
        for marker, start in _iter_jpeg_header(data):
            if marker in {_SOS, _EOI}:
                return start
    return _HEAD_BYTES


def _find_trailer(data: bytes, head: bytes) -> bytes:
    """The data after the end of the image. The end of a JPEG is searched only if something may follow it."""
    end: int | None = len(data)
    if data.startswith(b"\xff\xd8"):
        has_trailer = not data.endswith(JPEG_END) or b"MPF\0" in head or any(sign in head for sign in _GAIN_MAP_SIGNS)
        end = find_jpeg_end(data) if has_trailer else end
        end = len(data) if end is None else end + len(JPEG_END)
    elif data.startswith(_PNG_SIGNATURE) and not data.endswith(_PNG_END):
        end = max(chunk.end for chunk in iter_png_chunks(data))
    elif data[:4] == b"RIFF":
        end = 8 + int.from_bytes(data[4:8], "little")
    return data[end:]


def list_complete_scans(data: bytes) -> list[tuple[set[int], int, int]]:
    """The first passes among a JPEG's complete scans: their components, and first and last coefficient (B.2.3)."""
    scans = []
    with suppress(struct.error, IndexError, EOFError):
        for marker, start, _ in _iter_jpeg_segments(data):
            if marker == _SOS:
                count = data[start + 4]
                first, last, approximation = data[start + 5 + 2 * count : start + 8 + 2 * count]
                if approximation >> 4 == 0:
                    scans.append(({data[start + 5 + 2 * number] for number in range(count)}, first, last))
    return scans


def count_jpeg_scans(data: bytes) -> int:
    """The number of scans in a JPEG, up to the first malformed segment."""
    scans = 0
    with suppress(struct.error, IndexError, EOFError):
        for marker, _, _ in _iter_jpeg_segments(data):
            scans += marker == _SOS
    return scans


def has_one_scan(data: bytes) -> bool:
    """Whether the header of a JPEG shows that decoders read a single scan.

    They do if the frame is sequential and the first scan contains all components (A.2.3, B.2.3).
    """
    components = 0
    with suppress(struct.error, IndexError, EOFError):
        for marker, start in _iter_jpeg_header(data):
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
            next_marker = _JPEG_MARKER.search(data, position)
            if next_marker is None:
                raise EOFError
            position = next_marker.start()
        yield marker, start, position
        if marker == _EOI:
            return


def _iter_jpeg_header(data: bytes) -> Iterator[tuple[int, int]]:
    """The marker and the offset of each segment of a JPEG up to its first scan."""
    position, marker = 2, 0
    while marker not in {_SOS, _EOI}:
        marker, start, position = _read_jpeg_segment(data, position)
        yield marker, start


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
