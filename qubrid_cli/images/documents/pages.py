"""Files with several pages: PDFs, TIFFs and, if pages are chosen, animations, whose pages are their frames.

A page becomes an image file in memory, which is prepared like any other image.
"""

import hashlib
import math
import re
import threading
from abc import ABC, abstractmethod
from collections import OrderedDict
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import replace
from io import BytesIO
from typing import TYPE_CHECKING

from ...errors import ImageError, UsageError
from ...frozen import frozen
from ...text import format_count, quote_name
from .. import sources, tokens
from ..sources import DocumentKind, DocumentPage, Link, ReadableSource, detect_document
from ..tiles.choice import MAX_AUTO_TILES

if TYPE_CHECKING:
    from ..encode import ImageLimits
    from .pdf import PdfReader

#: The most documents that stay open, and the bytes of their files: a run reads pages in order, a few at the same time.
_MAX_OPEN, _MAX_OPEN_BYTES = 4, 256 << 20
#: If pixels are not limited: the resolution of pages, that of most scans, and the most pixels of a page.
_UNLIMITED_DPI, _UNLIMITED_PIXELS = 300, 64_000_000
#: The resolution of pages with ``--tiles auto``, the share of a tile that does not overlap others, and the resolution below
#: which text of 7 points is illegible.
_TILED_DPI, _TILE_SHARE, _LEGIBLE_DPI = 150, 0.8, 72
_POINTS_PER_INCH = 72


@frozen
class PageChoice:
    """Which pages to use: ranges of a first and a last page, in order; the last is ``None`` for the end of the document."""

    ranges: tuple[tuple[int, int | None], ...]

    def select(self, name: str, count: int, unit: str) -> tuple[int, ...]:
        """The numbers of the chosen pages, each once, out of ``count`` pages. A range may end beyond the last page.

        Args:
            unit: ``page`` or ``frame``.

        Raises:
            ImageError: a page or the start of a range is beyond the last page.
        """
        first_missing = next((first for first, _ in self.ranges if first > count), None)
        if first_missing is not None:
            raise no_such_page_error(name, first_missing, count, unit)
        ranges = (range(first, min(last or count, count) + 1) for first, last in self.ranges)
        return tuple(dict.fromkeys(number for numbers in ranges for number in numbers))


def parse_pages(text: str) -> PageChoice:
    """Parse the value of ``--pages``, such as ``1-3,7`` or ``5-``.

    Raises:
        UsageError: it is not valid.
    """
    ranges: list[tuple[int, int | None]] = []
    for part in text.split(","):
        match = re.fullmatch(r"\s*(\d{1,7})\s*(-\s*(\d{1,7})?)?\s*", part, re.ASCII)
        first = int(match[1]) if match else 0
        last = first if match and not match[2] else int(match[3]) if match and match[3] else None
        if first < 1 or (last is not None and last < first):
            raise UsageError(
                f"invalid value for --pages: {text}", hint="Write numbers and ranges from 1 on, such as 1-3,7 or 5-."
            )
        ranges.append((first, last))
    return PageChoice(tuple(ranges))


def no_such_page_error(name: str, number: int, count: int, unit: str) -> ImageError:
    """The error for a page beyond the last one."""
    pages = f"only one {unit}" if count == 1 else format_count(count, unit)
    hint = "Frames and pages count from 1." if count > 1 else "Leave out --pages."
    return ImageError(f"{name} has {pages}, so there is no {unit} {number:,}", hint=hint, code="no_such_frame")


@frozen
class PageImage:
    """A page as an image file.

    Attributes:
        size: width and height of a page of a PDF, in points; ``None`` if they are those of the image.
    """

    data: bytes
    size: tuple[int, int] | None = None
    warnings: tuple[str, ...] = ()


class Document(ABC):
    """An open file with pages, whose methods may be called from any thread.

    Attributes:
        data: the file.
        sha256: of the file.
        size: bytes of the file.
        format: as in records, such as ``PDF``.
        unit: ``page`` or ``frame``.
        warnings: about the whole file.
    """

    unit = "page"

    def __init__(self, data: bytes, name: str) -> None:
        self.name = name
        self.data = data
        self.sha256 = hashlib.sha256(data).hexdigest()
        self.size = len(data)
        self.format = ""
        self.page_count = 0
        self.warnings: tuple[str, ...] = ()

    def read_page(self, number: int, limits: "ImageLimits") -> PageImage:
        """Return a page; if it has no pixels of its own, it is drawn within the limits.

        Raises:
            ImageError: there is no such page, or it cannot be read.
        """
        if not 1 <= number <= self.page_count:
            raise no_such_page_error(self.name, number, self.page_count, self.unit)
        return self._read_page(number, limits)

    @abstractmethod
    def _read_page(self, number: int, limits: "ImageLimits", /) -> PageImage: ...


class _PdfDocument(Document):
    def __init__(self, data: bytes, name: str, reader: "PdfReader") -> None:
        super().__init__(data, name)
        self.format = "PDF"
        self._file = reader.open(data, name)
        self.page_count = self._file.page_count
        if self.page_count < self._file.stated_count:
            missing = f"only {self.page_count:,} of {self._file.stated_count:,} pages can be read"
            self.warnings = (f"{name} is damaged: {missing}",)

    def _read_page(self, number: int, limits: "ImageLimits") -> PageImage:
        width, height = self._file.measure_page(number)
        name = DocumentPage.format_name(self.name, number)
        if not 0 < max(width, height) <= tokens.MAX_RATIO * min(width, height) < math.inf:
            raise ImageError(
                f"{name} has {width:,.0f} × {height:,.0f} points, which is too long and narrow",
                hint=f"Vision models accept shapes up to {tokens.MAX_RATIO}:1.",
                code="too_long",
            )
        size = _fit_page(width, height, _raise_limits(width, height, limits, name))
        page_size = max(1, round(width)), max(1, round(height))
        warnings = _describe_resolution(width, size, limits, name)
        if tokens.measure_shape_change(*page_size, *size) > tokens.MAX_SHAPE_CHANGE:
            warnings += (f"{name}: its shape changes from {width:.0f} × {height:.0f} to {size[0]} × {size[1]}",)
        return PageImage(self._file.draw_page(number, size), page_size, warnings)


def _raise_limits(width: float, height: float, limits: "ImageLimits", name: str) -> "ImageLimits":
    """Raise the limits for a page, with its size in points, if a part of it or tiles are sent."""
    if limits.max_pixels is None or (limits.crop is None and limits.tiles is None):
        return limits
    factor = float(MAX_AUTO_TILES)
    if limits.crop is not None:
        _, _, wide, high = limits.crop.find_box((max(1, round(width)), max(1, round(height))), name, unit="points")
        factor = min(factor, max(1.0, width * height / (wide * high)))
    elif limits.tiles is not None and limits.tiles.count is None:
        pixels = width * height * (_TILED_DPI / _POINTS_PER_INCH) ** 2
        factor = min(factor * _TILE_SHARE, max(1.0, pixels / limits.max_pixels))
    elif limits.tiles is not None and limits.tiles.count is not None:
        factor = max(1.0, limits.tiles.count * _TILE_SHARE)
    max_side = None if limits.max_side is None else round(limits.max_side * factor)
    return replace(limits, max_pixels=round(limits.max_pixels * factor), max_side=max_side)


def _describe_resolution(width: float, size: tuple[int, int], limits: "ImageLimits", name: str) -> tuple[str, ...]:
    """A note if a page has so few pixels that its small text is illegible, unless the user has chosen a low limit."""
    dpi = size[0] * _POINTS_PER_INCH / width
    has_low_limit = limits.max_side is not None or (limits.max_pixels or 0) < tokens.QWEN3.max_pixels
    if dpi >= _LEGIBLE_DPI or has_low_limit:
        return ()
    return (f"{name}: drawn at {dpi:.0f} dpi, so small text may be illegible; --tiles auto or --crop draws it larger",)


def _fit_page(width: float, height: float, limits: "ImageLimits") -> tuple[int, int]:
    """The size in pixels of a page of this size in points: as large as the limits allow."""
    max_pixels = limits.max_pixels or _UNLIMITED_PIXELS
    if limits.max_pixels is None and limits.max_side is None:
        scale = _UNLIMITED_DPI / _POINTS_PER_INCH
        if width * height * scale * scale <= max_pixels:
            return max(1, round(width * scale)), max(1, round(height * scale))
    scale = 1_000_000 / max(width, height)  # beyond any limit, so that the size is shrunk to the limits
    wide, high = max(1, round(width * scale)), max(1, round(height * scale))
    return tokens.shrink_size(wide, high, max_pixels=max_pixels, max_side=limits.max_side)


class _TiffDocument(Document):
    def __init__(self, data: bytes, name: str) -> None:
        from . import tiff

        super().__init__(data, name)
        self.format = "TIFF"
        self._pages = tiff.find_pages(BytesIO(data))
        self.page_count = max(1, len(self._pages))

    def _read_page(self, number: int, _: "ImageLimits") -> PageImage:
        from . import tiff

        return PageImage(tiff.extract_page(self.data, self._pages[number - 1]) if self._pages else self.data)


class _Animation(Document):
    """An animation, or any other image; each frame includes what earlier ones have drawn."""

    unit = "frame"

    def __init__(self, data: bytes, name: str) -> None:
        from .. import decode

        super().__init__(data, name)
        self._lock = threading.Lock()
        with decode.translate_errors(name):
            self._image = decode.open_image(data, name)
            self.page_count = getattr(self._image, "n_frames", 1)
        self.format = self._image.format or ""

    def _read_page(self, number: int, _: "ImageLimits") -> PageImage:
        from PIL import ImageOps

        from .. import decode

        if self.page_count == 1:
            return PageImage(self.data)
        stream = BytesIO()
        with self._lock, decode.translate_errors(DocumentPage.format_name(self.name, number)):
            self._image.seek(number - 1)  # one step in most cases: the frames are read in order
            frame = ImageOps.exif_transpose(self._image)
            if frame.mode not in {"L", "RGB"}:
                frame = frame.convert("RGBA" if frame.has_transparency_data else "RGB")
            frame.save(stream, "TIFF", icc_profile=self._image.info.get("icc_profile"), exif=b"")
        return PageImage(stream.getvalue())


def _identify(source: ReadableSource) -> object:
    """A key that differs for each source; ``data:`` URLs may have the same name."""
    return source.data if isinstance(source, sources.Bytes) else (type(source), source.name)


class Documents:
    """The open documents of a run. Its methods may be called from any thread.

    Args:
        password: for encrypted PDFs.
    """

    def __init__(self, password: str | None = None) -> None:
        self._password = password
        self._reader: PdfReader | None = None
        self._lock = threading.Lock()
        self._detection_lock = threading.Lock()
        self._open: OrderedDict[object, Future[Document]] = OrderedDict()

    def find_pages(self, source: ReadableSource, choice: PageChoice | None) -> tuple[int, ...]:
        """The numbers of the pages of a file that are used; empty for an ordinary image.

        Args:
            choice: ``None`` for all pages of a document, and none of the frames of an animation.

        Raises:
            ImageError: it is a document that cannot be opened, or does not have a chosen page.
        """
        with self._detection_lock:  # standard input must not be peeked into while another thread reads it
            data = self.open(source).data if isinstance(source, sources.FetchedLink) else self.find_data(source)
            kind = detect_document(source if data is None else sources.Bytes(source.name, data))
            if kind is not None and isinstance(source, sources.Stdin):
                self.open(source)
        if choice is None and (kind is None or (kind is DocumentKind.TIFF and self._count_tiff_pages(source) <= 1)):
            return ()
        document = self.open(source)
        count = document.page_count
        numbers = choice.select(quote_name(source.name), count, document.unit) if choice else tuple(range(1, count + 1))
        return () if count == 1 and kind is not DocumentKind.PDF else numbers

    def find_data(self, source: ReadableSource) -> bytes | None:
        """The bytes of a source whose document is open, so that a link is downloaded once; otherwise ``None``."""
        with self._lock:
            future = self._open.get(_identify(source))
        return future.result().data if future is not None and not future.exception() else None

    def open(self, source: ReadableSource | Link) -> Document:
        """The document of a source, which stays open while its pages are used.

        Raises:
            ImageError: it cannot be read or opened.
        """
        if isinstance(source, Link):
            hint = "Add --fetch, to download it and send its pages."
            raise ImageError(
                f"{quote_name(source.name)} is a link, and the endpoint cannot choose a page of it", hint=hint
            )
        key = _identify(source)
        with self._lock:
            future = self._open.get(key)
            if is_new := future is None:
                future = self._open[key] = Future()
            self._open.move_to_end(key)
        assert future is not None
        if is_new:
            try:
                future.set_result(self._read_document(source))
            except BaseException as error:  # noqa: BLE001  # raised below, and in other threads that wait for the document
                future.set_exception(error)
                with self._lock:
                    del self._open[key]
            else:
                self._close_oldest()
        return future.result()

    def _read_document(self, source: ReadableSource) -> Document:
        data, name = sources.read_bytes(source), quote_name(source.name)
        match detect_document(sources.Bytes(source.name, data)):
            case DocumentKind.PDF:
                from . import pdf

                with self._lock:
                    self._reader = self._reader or pdf.PdfReader(self._password)
                return _PdfDocument(data, name, self._reader)
            case DocumentKind.TIFF:
                return _TiffDocument(data, name)
            case _:
                return _Animation(data, name)

    def _close_oldest(self) -> None:
        """Close the oldest documents beyond the limits, but not standard input, which cannot be read again."""
        with self._lock:
            documents = {
                key: future.result() for key, future in self._open.items() if future.done() and not future.exception()
            }
            size = sum(document.size for document in documents.values())
            for key, document in list(documents.items())[:-1]:
                if len(documents) <= _MAX_OPEN and size <= _MAX_OPEN_BYTES:
                    break
                if document.name != "-":
                    del self._open[key], documents[key]
                    size -= document.size

    def _count_tiff_pages(self, source: ReadableSource) -> int:
        """Count the pages of a TIFF, without reading the whole file; 1 if it cannot be read."""
        from . import tiff

        if not isinstance(source, sources.File):
            return self.open(source).page_count
        with suppress(ImageError), sources.open_file(source) as file:
            return len(tiff.find_pages(file))
        return 1
