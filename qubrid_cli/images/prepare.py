"""Prepare images for a request, in threads: each source becomes an encoded file and the facts about it."""

import hashlib
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import replace
from itertools import chain, pairwise
from queue import SimpleQueue
from typing import TYPE_CHECKING

from PIL import ExifTags, Image

from ..errors import ImageError
from ..frozen import frozen
from ..operating_system import call_interruptibly
from ..text import quote_name
from ..urls import DataUrl
from . import damage, decode, prefetch, sources
from .encode import ImageLimits, Upload, encode_for_upload, orient_size
from .metadata import keep_sound_chunks, list_extra_parts

if TYPE_CHECKING:
    from .documents.pages import Documents

#: The names of metadata, by Pillow's key in ``info``.
_METADATA_NAMES = {
    "icc_profile": "ICC profile",
    "xmp": "XMP",
    "XML:com.adobe.xmp": "XMP",
    "photoshop": "Photoshop data",
    "comment": "a comment",
}
#: The keys that Pillow itself uses in the ``info`` of a PNG; any other is the keyword of a text.
_NON_TEXT_KEYS = _METADATA_NAMES.keys() | {
    "dpi", "gamma", "transparency", "background", "duration", "loop", "exif", "interlace", "aspect", "srgb", "chromaticity",
    "default_image", "disposal", "blend", "bbox", "timestamp",
}  # fmt: skip
#: The IPTC record in Photoshop's image resources (Adobe Photoshop File Formats, resource 0x0404).
_IPTC_RESOURCE = 0x0404


@frozen
class PreparedImage:
    """An image ready to be sent.

    Attributes:
        width: of the upright original in pixels, as is ``height``; both are in points for a page of a PDF.
        size: bytes of the original.
        prepare_seconds: the time for reading and encoding it.
        metadata_names: metadata and other parts of the original, such as ``EXIF``; none of it is sent.
        page: the number of the page or frame, for a page of a document; ``sha256`` and ``size`` are then those of the
            document.
        page_count: pages in the document.
        limits: with which it was prepared.
    """

    name: str
    sha256: str
    format: str
    width: int
    height: int
    size: int
    upload: Upload
    prepare_seconds: float
    warnings: tuple[str, ...] = ()
    metadata_names: tuple[str, ...] = ()
    page: int | None = None
    page_count: int = 1
    limits: ImageLimits | None = None

    @property
    def url(self) -> DataUrl:
        """The encoded image, or the first of its tiles, as it is sent in a request."""
        return self.upload.url

    @property
    def uploads(self) -> tuple[Upload, ...]:
        """The files that are sent: one, or the tiles into which the image is divided."""
        return self.upload.tiles or (self.upload,)

    @property
    def upload_size(self) -> int:
        """The bytes of all files that are sent."""
        return sum(upload.size for upload in self.uploads)

    def drop_data(self) -> "PreparedImage":
        """Return a copy without the contents of the files that are sent, to save memory."""
        return replace(self, upload=self.upload.drop_data())

    def split(self) -> "tuple[PreparedImage, ...]":
        """Return one image for each file that is sent; the first one has the warnings and the time."""
        first = replace(self, upload=replace(self.upload, tiles=()))
        later = (replace(first, upload=tile, warnings=(), prepare_seconds=0.0) for tile in self.upload.tiles[1:])
        return (first, *later)


PreparedImageOrLink = PreparedImage | sources.Link


@frozen
class _FinishedFuture:
    """A future with its result: making a ``Future``, which has a lock, takes as long as preparing a small image."""

    image: PreparedImageOrLink

    def result(self) -> PreparedImageOrLink:
        return self.image

    def exception(self) -> None:
        """Return ``None``, as a future does without an error."""


@frozen
class PendingImage:
    """An image that a thread is preparing; ``name`` is what the user calls it."""

    name: str
    future: Future[PreparedImageOrLink] | _FinishedFuture

    def wait(self) -> PreparedImageOrLink:
        """Wait until it is prepared.

        Raises:
            ImageError: it cannot be prepared.
        """
        return call_interruptibly(self.future.result)


def make_pending(image: PreparedImageOrLink) -> PendingImage:
    """Wrap an image that is prepared already."""
    return PendingImage(image.name, _FinishedFuture(image))


def prepare_pending(image: sources.Source, limits: ImageLimits, documents: "Documents | None" = None) -> PendingImage:
    """Prepare an image in this thread; an error is raised by ``PendingImage.wait``."""
    future: Future[PreparedImageOrLink] = Future()
    _prepare_into(future, image, limits, documents)
    return PendingImage(image.name, future)


def _prepare_into(
    future: Future[PreparedImageOrLink], image: sources.Source, limits: ImageLimits, documents: "Documents | None"
) -> None:
    try:
        future.set_result(prepare_image_or_link(image, limits, documents))
    except BaseException as error:  # noqa: BLE001  # wait() raises it
        future.set_exception(error)


class PreparationPool:
    """Threads that prepare images while the main thread loads modules, connects and waits: Pillow releases the GIL.

    They are daemon threads, so that Ctrl-C ends the program at once, even while one decodes or reads a pipe. (Before
    Python exits, it waits for the workers of ``concurrent.futures``.)
    """

    def __init__(self, limits: ImageLimits, documents: "Documents | None" = None, *, threads: int = 2) -> None:
        self._limits = limits
        self._documents = documents
        self._queue: SimpleQueue[tuple[Future[PreparedImageOrLink], sources.Source]] = SimpleQueue()
        for _ in range(threads):
            threading.Thread(target=self._run, name="images", daemon=True).start()

    def submit(self, images: Sequence[sources.Source]) -> tuple[PendingImage, ...]:
        """Queue images, in order."""
        futures: list[Future[PreparedImageOrLink]] = [Future() for _ in images]
        for future, image in zip(futures, images, strict=True):
            self._queue.put((future, image))
        return tuple(PendingImage(image.name, future) for future, image in zip(futures, images, strict=True))

    def submit_in_turn(self, groups: Sequence[Sequence[sources.Source]]) -> Iterator[tuple[PendingImage, ...]]:
        """Queue the first group now, and each further one when the group before it is taken; yield their images."""
        submitted = map(self.submit, groups)
        first = next(submitted)
        return (images for images, _ in pairwise(chain([first], submitted, [()])))

    def _run(self) -> None:
        while True:
            future, image = self._queue.get()
            _prepare_into(future, image, self._limits, self._documents)


def prepare_image_or_link(
    source: sources.Source, limits: ImageLimits, documents: "Documents | None" = None
) -> PreparedImageOrLink:
    """Prepare an image, unless it is a link that the endpoint fetches.

    Args:
        documents: the open documents, for a page of one of them.

    Raises:
        ImageError: see ``prepare_image``; or the page does not exist, or its document cannot be opened.
    """
    match source:
        case sources.Link():
            return source
        case sources.DocumentPage():
            assert documents is not None
            return _prepare_page(source, limits, documents)
        case _:
            return prepare_image(source, limits)


def _prepare_page(page: sources.DocumentPage, limits: ImageLimits, documents: "Documents") -> PreparedImage:
    started = time.perf_counter()
    document = documents.open(page.document)
    image = document.read_page(page.number, limits)
    if image.size is not None and limits.crop is not None:  # in points, like the size in the record
        limits = replace(limits, crop=limits.crop.to_percent(image.size))
    content = _prepare_bytes(image.data, quote_name(page.name), limits)
    width, height = image.size or content.size
    scale = width / content.size[0], height / content.size[1]
    return PreparedImage(
        name=page.name,
        sha256=document.sha256,
        format=document.format,
        width=width,
        height=height,
        size=document.size,
        upload=content.upload if image.size is None else _scale_boxes(content.upload, scale),
        prepare_seconds=time.perf_counter() - started,
        warnings=_get_notes(page.document) + document.warnings + image.warnings + content.warnings,
        metadata_names=content.metadata_names,
        page=page.number,
        page_count=document.page_count,
        limits=limits,
    )


def _scale_boxes(upload: Upload, scale: tuple[float, float]) -> Upload:
    """Convert the boxes from the pixels in which a page was drawn to points of the page."""
    tiles = tuple(_scale_boxes(tile, scale) for tile in upload.tiles)
    if upload.box is None:
        return upload
    left, top, width, height = (round(value * factor) for value, factor in zip(upload.box, scale * 2, strict=True))
    return replace(upload, box=(left, top, width, height), tiles=tiles)


def _get_notes(source: sources.Source) -> tuple[str, ...]:
    return (source.note,) if isinstance(source, sources.FetchedLink) and source.note else ()


def prepare_image(source: sources.ReadableSource, limits: ImageLimits) -> PreparedImage:
    """Read, turn upright, shrink and encode one image.

    Raises:
        ImageError: it is missing, unreadable, damaged, too small, too long and narrow, or too large to be sent.
    """
    started = time.perf_counter()
    prefetched = prefetch.take(source.path) if isinstance(source, sources.File) else None
    data = prefetched or sources.read_bytes(source)
    sha256 = hashlib.sha256(data).hexdigest()  # first, while the prefetch may still be decoding the image
    content = _prepare_bytes(data, quote_name(source.name), limits)
    return PreparedImage(
        name=source.name,
        sha256=sha256,
        format={"MPO": "JPEG", "DIB": "BMP"}.get(content.format, content.format),
        width=content.size[0],
        height=content.size[1],
        size=len(data),
        upload=content.upload,
        prepare_seconds=time.perf_counter() - started,
        warnings=_get_notes(source) + content.warnings,
        metadata_names=content.metadata_names,
        limits=limits,
    )


@frozen
class _Content:
    """An image prepared from its bytes alone; ``size`` is that of the upright image."""

    format: str
    size: tuple[int, int]
    upload: Upload
    warnings: tuple[str, ...]
    metadata_names: tuple[str, ...]


def _prepare_bytes(data: bytes, name: str, limits: ImageLimits) -> _Content:
    """Prepare an image from its bytes, or the intact part of a damaged one; messages contain ``name`` unchanged."""
    try:
        return _prepare_content(data, name, limits)
    except ImageError as error:
        if error.code != "damaged_image":
            raise
        return _prepare_damaged(data, name, limits, error)


def _prepare_content(
    data: bytes, name: str, limits: ImageLimits, recovered: damage.Recovered | None = None
) -> _Content:
    """Prepare an image from its bytes, or from the pixels that were recovered."""
    with (
        decode.translate_errors(name),
        recovered.image if recovered else decode.open_image(data, name) as opened,
    ):
        image = opened
        if opened.format == "PNG" and not recovered:
            # EXIF may be at the end of a PNG, so reading it decodes the PNG, and would hide any damage.
            image = prefetch.get_decoded(opened, data)
            damage.decode_pixels(image, data)
        frame = 1 if recovered else decode.skip_blank_frames(image)
        orientation = decode.read_orientation(image)
        warnings = decode.get_frame_warnings(image, name, frame)
        kind, metadata_names = image.format or "", _list_metadata(image, data)
        image = decode.crop_to_aperture(image, data, name)
        size = orient_size(image.size, orientation)
        upload = encode_for_upload(image, b"" if recovered else data, orientation, limits, name)
    warnings += recovered.warnings if recovered else ()
    return _Content(kind, size, upload, warnings + upload.warnings, metadata_names)


def _prepare_damaged(data: bytes, name: str, limits: ImageLimits, error: ImageError) -> _Content:
    """Prepare the intact part of a damaged image.

    Raises:
        ImageError: ``error``, if too little is left.
    """
    warnings: tuple[str, ...] = ()
    sound = keep_sound_chunks(data)
    if sound is not None:  # the damage may be in the metadata of a PNG, and its text may be a decompression bomb
        data, damaged_kinds = sound
        warnings = (f"{name}: its color profile is damaged and was ignored",) if b"iCCP" in damaged_kinds else ()
        with suppress(ImageError):
            content = _prepare_content(data, name, limits)
            return replace(content, warnings=warnings + content.warnings)
    recovered = damage.recover(data, name)
    if recovered is None:
        raise error
    return _prepare_content(data, name, limits, replace(recovered, warnings=warnings + recovered.warnings))


def _list_metadata(image: Image.Image, data: bytes) -> tuple[str, ...]:
    """The metadata and other parts of an opened file, such as ``EXIF``, ``GPS position`` and ``a video``."""
    return tuple(dict.fromkeys((*_list_exif(image), *_list_info(image), *list_extra_parts(data))))


def _list_exif(image: Image.Image) -> Iterator[str]:
    if "exif" in image.info:
        yield "EXIF"
    try:
        exif = image.getexif()
        if exif.get_ifd(ExifTags.IFD.GPSInfo):
            yield "GPS position"
        if exif.get_ifd(ExifTags.IFD.IFD1):
            yield "a thumbnail"
    except decode.DECODE_ERRORS:
        return


def _list_info(image: Image.Image) -> Iterator[str]:
    for name, value in image.info.items():
        if name in _METADATA_NAMES and value:
            yield _METADATA_NAMES[name]
        if name == "photoshop" and isinstance(value, dict) and _IPTC_RESOURCE in value:
            yield "IPTC"
        if image.format == "PNG" and isinstance(value, str) and isinstance(name, str) and name not in _NON_TEXT_KEYS:
            yield "text"
