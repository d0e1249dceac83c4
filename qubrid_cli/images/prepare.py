"""Images as a model should get them, prepared in threads: a source becomes a data URL and what there is to say of it."""

# MERGED DOCSTRING of qubrid_cli.inventory: What a file carries besides its picture, by name: what people want to see stripped.

import hashlib
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from dataclasses import replace
from queue import SimpleQueue

from PIL import ExifTags, Image

from ..errors import ImageError
from ..frozen import frozen
from . import decode, prefetch, sources
from .decode import DECODE_ERRORS
from .encode import ImageLimits, Upload, encode_for_upload, orient_size
from .metadata import strip_metadata
from .urls import DataUrl

#: Pillow's names for what it found in a file's ``info``.
_METADATA_NAMES = {
    "icc_profile": "ICC profile",
    "xmp": "XMP",
    "XML:com.adobe.xmp": "XMP",
    "photoshop": "Photoshop data",
    "comment": "a comment",
}
#: What Pillow keeps of a PNG's chunks under names of its own; what else is there by a text's name is a text.
_NON_TEXT_KEYS = {"dpi", "gamma", "transparency", "background", "duration", "loop", "exif", "interlace", "aspect", "srgb",
            "chromaticity", "default_image", "disposal", "blend", "bbox", "timestamp"}  # fmt: skip
#: IPTC's record within Photoshop's image resources (Adobe Photoshop File Formats, resource 0x0404).
_IPTC_RESOURCE = 0x0404


def list_metadata(image: Image.Image) -> tuple[str, ...]:
    """Names such as ``EXIF`` and ``GPS position``, of an opened image whose pixels are not decoded yet."""
    return tuple(dict.fromkeys((*_list_exif(image), *_list_info_metadata(image))))


def _list_exif(image: Image.Image) -> Iterator[str]:
    if "exif" in image.info:
        yield "EXIF"
    try:
        exif = image.getexif()
        if exif.get_ifd(ExifTags.IFD.GPSInfo):
            yield "GPS position"
        if exif.get_ifd(ExifTags.IFD.IFD1):
            yield "a thumbnail"
    except DECODE_ERRORS:
        return


def _list_info_metadata(image: Image.Image) -> Iterator[str]:
    for name, value in image.info.items():
        if name in _METADATA_NAMES and value:
            yield _METADATA_NAMES[name]
        if name == "photoshop" and isinstance(value, dict) and _IPTC_RESOURCE in value:
            yield "IPTC"
        if (
            image.format == "PNG"
            and isinstance(name, str)
            and isinstance(value, str)
            and name not in _NON_TEXT_KEYS | _METADATA_NAMES.keys()
        ):
            yield "text"


@frozen
class PreparedImage:
    """An image ready to be sent. ``width`` and ``height`` are those of the upright original, ``size`` its bytes.

    ``prepare_seconds`` is the work it took, reading included; ``metadata_names`` names what the file held besides its picture, none of
    which is sent.
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

    @property
    def url(self) -> DataUrl:
        """How it goes into a request."""
        return DataUrl(self.upload.mime, self.upload.data)


PreparedImageOrLink = PreparedImage | sources.Link


@frozen
class PendingImage:
    """An image that a thread is preparing; ``name`` is what the user calls it."""

    name: str
    future: Future[PreparedImageOrLink]


class PreparationPool:
    """Threads that prepare images while the main one loads, connects and waits: Pillow releases the GIL.

    They are daemons, so that Ctrl-C ends the program at once, also while one of them decodes or reads a pipe. (The
    workers of ``concurrent.futures`` are waited for when Python ends.)
    """

    def __init__(self, limits: ImageLimits, *, threads: int = 2) -> None:
        self._limits = limits
        self._queue: SimpleQueue[tuple[Future[PreparedImageOrLink], sources.Source]] = SimpleQueue()
        for _ in range(threads):
            threading.Thread(target=self._run, name="images", daemon=True).start()

    def submit(self, images: Sequence[sources.Source]) -> tuple[PendingImage, ...]:
        """Begin with some images, in order."""
        begun = tuple(PendingImage(image.name, Future()) for image in images)
        for image, preparation in zip(images, begun, strict=True):
            self._queue.put((preparation.future, image))
        return begun

    def _run(self) -> None:
        while True:
            future, image = self._queue.get()
            try:
                future.set_result(image if isinstance(image, sources.Link) else prepare_image(image, self._limits))
            except BaseException as error:  # noqa: BLE001  # handed to whoever waits for the image, and raised there
                future.set_exception(error)


def prepare_image(
    source: sources.File | sources.Bytes | sources.FetchedLink | sources.Stdin, limits: ImageLimits
) -> PreparedImage:
    """Read, turn upright, shrink and encode one image.

    Raises:
        ImageError: missing, unreadable, damaged, too small, too long, or too large to be sent.
    """
    started = time.perf_counter()
    prefetched = prefetch.take(source.path) if isinstance(source, sources.File) else None
    data = prefetched or sources.read_bytes(source)
    digest = hashlib.sha256(data).hexdigest()  # while the picture may still be being decoded
    try:
        found = _prepare_bytes(data, source.name, limits)
    except ImageError as error:
        # A PNG may be damaged in what is not the picture, and its text may be a bomb: the picture is enough.
        bare = strip_metadata(data) if error.code == "damaged_image" else None
        if bare is None or len(bare) == len(data):
            raise
        found = _prepare_bytes(bare, source.name, limits)
    notes = (source.note,) if isinstance(source, sources.FetchedLink) and source.note else ()
    return replace(
        found,
        warnings=notes + found.warnings,
        sha256=digest,
        size=len(data),
        prepare_seconds=time.perf_counter() - started,
    )


def _prepare_bytes(data: bytes, name: str, limits: ImageLimits) -> PreparedImage:
    """All but what is known of the file as a whole."""
    try:
        with decode.open_image(data, name, limits.frame) as opened:
            # A PNG is decoded to look for its EXIF already, for that may stand at its end.
            image = prefetch.get_decoded(opened, data) if opened.format == "PNG" else opened
            orientation = decode.read_orientation(image)
            warnings = decode.get_frame_warnings(image, name, limits.frame)
            kind, carried = image.format or "", list_metadata(image)
            width, height = orient_size(image.size, orientation)
            sent = encode_for_upload(image, data, orientation, limits, name)
    except Image.DecompressionBombError as error:
        raise decode.too_many_pixels_error(name) from error
    except MemoryError as error:
        raise ImageError(
            f"{name} needs more memory than there is", hint="Shrink it with an image editor first."
        ) from error
    except decode.DECODE_ERRORS as error:
        raise decode.damaged_error(name, str(error)) from error
    kind = {"MPO": "JPEG", "DIB": "BMP"}.get(kind, kind)
    return PreparedImage(name, "", kind, width, height, len(data), sent, 0.0, warnings + sent.warnings, carried)
