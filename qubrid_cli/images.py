"""Images as a model should get them, prepared in threads: a source becomes a data URL and what there is to say of it."""

import hashlib
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from queue import SimpleQueue

from PIL import Image

from . import chat, decoder, inventory, prompts, reading, sources
from .ahead import Ahead
from .content import DataUrl
from .errors import ImageError
from .frozen import frozen
from .metadata import without_metadata
from .payload import Limits, Payload, payload, upright


@frozen
class Encoded:
    """An image ready to be sent. ``width`` and ``height`` are those of the upright original, ``size`` its bytes.

    ``seconds`` is the work it took, reading included; ``carried`` names what the file held besides its picture, none of
    which is sent.
    """

    name: str
    sha256: str
    format: str
    width: int
    height: int
    size: int
    sent: Payload
    seconds: float
    warnings: tuple[str, ...] = ()
    carried: tuple[str, ...] = ()

    @property
    def url(self) -> DataUrl:
        """How it goes into a request."""
        return DataUrl(self.sent.mime, self.sent.data)


Prepared = Encoded | sources.Link


@frozen
class Preparation:
    """An image that a thread is preparing; ``name`` is what the user calls it."""

    name: str
    future: Future[Prepared]


class Workshop:
    """Threads that prepare images while the main one loads, connects and waits: Pillow releases the GIL.

    They are daemons, so that Ctrl-C ends the program at once, also while one of them decodes or reads a pipe. (The
    workers of ``concurrent.futures`` are waited for when Python ends.)

    Args:
        ahead: a file that has been begun with, in case it is among the images.
    """

    def __init__(self, limits: Limits, *, threads: int = 2, ahead: Ahead | None = None) -> None:
        self._limits = limits
        self._ahead = ahead
        self._tasks: SimpleQueue[tuple[Future[Prepared], sources.Source]] = SimpleQueue()
        for _ in range(threads):
            threading.Thread(target=self._run, name="images", daemon=True).start()

    def start(self, images: Sequence[sources.Source]) -> tuple[Preparation, ...]:
        """Begin with some images, in order."""
        begun = tuple(Preparation(image.name, Future()) for image in images)
        for image, preparation in zip(images, begun, strict=True):
            self._tasks.put((preparation.future, image))
        return begun

    def _run(self) -> None:
        while True:
            future, image = self._tasks.get()
            try:
                future.set_result(self._prepared(image))
            except BaseException as error:  # noqa: BLE001  # handed to whoever waits for the image, and raised there
                future.set_exception(error)

    def _prepared(self, image: sources.Source) -> Prepared:
        match image:
            case sources.Link():
                return image
            case sources.File() if self._ahead and image.path == Path(self._ahead.path):
                return encode(image, self._limits, self._ahead)
            case _:
                return encode(image, self._limits)


def encode(
    source: sources.File | sources.Bytes | sources.Remote | sources.Piped, limits: Limits, ahead: Ahead | None = None
) -> Encoded:
    """Read, turn upright, shrink and encode one image.

    Args:
        ahead: the same file, begun with before.

    Raises:
        ImageError: missing, unreadable, damaged, too small, too long, or too large to be sent.
    """
    started = time.perf_counter()
    data = (ahead and ahead.data()) or reading.read(source)
    digest = hashlib.sha256(data).hexdigest()  # while the picture may still be being decoded
    try:
        found = _encoded(data, source.name, limits, ahead)
    except ImageError as error:
        # A PNG may be damaged in what is not the picture, and its text may be a bomb: the picture is enough.
        bare = without_metadata(data) if error.code == "damaged_image" else None
        if bare is None or len(bare) == len(data):
            raise
        found = _encoded(bare, source.name, limits)
    notes = (source.note,) if isinstance(source, sources.Remote) and source.note else ()
    return replace(
        found,
        warnings=notes + found.warnings,
        sha256=digest,
        size=len(data),
        seconds=time.perf_counter() - started,
    )


def _encoded(data: bytes, name: str, limits: Limits, ahead: Ahead | None = None) -> Encoded:
    """All but what is known of the file as a whole."""
    try:
        with decoder.opened(data, name, limits.frame) as opened:
            # A PNG is decoded to look for its EXIF already, for that may stand at its end.
            image = ahead.in_place_of(opened) if ahead and opened.format == "PNG" else opened
            orientation = decoder.orientation(image)
            warnings = decoder.frame_notes(image, name, limits.frame)
            kind, carried = image.format or "", inventory.carried(image)
            width, height = upright(image.size, orientation)
            sent = payload(image, data, orientation, limits, name, ahead=ahead)
    except Image.DecompressionBombError as error:
        raise decoder.bomb(name) from error
    except MemoryError as error:
        raise ImageError(
            f"{name} needs more memory than there is", hint="Shrink it with an image editor first."
        ) from error
    except decoder.BROKEN as error:
        raise decoder.damaged(name, str(error)) from error
    kind = {"MPO": "JPEG", "DIB": "BMP"}.get(kind, kind)
    return Encoded(name, "", kind, width, height, len(data), sent, 0.0, warnings + sent.warnings, carried)


def pictures(images: Sequence[Prepared], *, labels: bool) -> tuple[chat.Picture, ...]:
    """The images as they go into a request, each of several with its label where ``labels`` are wanted."""
    labelled = labels and len(images) > 1
    names = [prompts.label(number, image.name) if labelled else None for number, image in enumerate(images, 1)]
    return tuple(chat.Picture(image.url, name) for image, name in zip(images, names, strict=True))
