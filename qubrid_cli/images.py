"""Images as a model should get them: upright, small, without anything private. The home of Pillow.

What is sent is JPEG or PNG, nothing else: several servers read no other format.
"""

import hashlib
import threading
import time
from base64 import b64encode
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from io import BytesIO
from queue import SimpleQueue

from PIL import Image

from . import colours, decoder, reading, sources, tokens
from .errors import ImageError
from .metadata import without_metadata

#: Formats whose pictures are exact, so that a screenshot among them can stay so.
_LOSSLESS = {"PNG", "GIF", "TIFF", "BMP", "DIB", "ICO", "PPM", "QOI", "TGA"}
#: Model Studio, Qwen's own host, takes no longer ones.
_MAX_DATA_URL = 10_485_760
#: Tried in turn where a picture does not fit into a data URL otherwise.
_LOWER_QUALITIES = (70, 50)

#: EXIF tag 0x0112 (Orientation): what turns the stored picture upright.
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


@dataclass(frozen=True, slots=True)
class Limits:
    """How images are sent: pixels and longer side at most, ``None`` for no limit; JPEG quality from 1 to 95."""

    max_pixels: int | None = tokens.QWEN3.max_pixels  #: what Qwen3-VL looks at, 2,560 image tokens
    max_side: int | None = None
    quality: int = 85


@dataclass(frozen=True, slots=True)
class Payload:
    """The file that is sent: PNG or JPEG, and nothing private in it."""

    mime: str
    width: int
    height: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Encoded:
    """An image ready to be sent. ``width`` and ``height`` are those of the upright original, ``size`` its bytes.

    ``seconds`` is the work it took, reading included.
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

    @property
    def url(self) -> str:
        """The data URL, in the one form that every server reads."""
        return f"data:{self.sent.mime};base64,{b64encode(self.sent.data).decode('ascii')}"


Prepared = Encoded | sources.Link


@dataclass(frozen=True, slots=True)
class Preparation:
    """An image that a thread is preparing; ``name`` is what the user calls it."""

    name: str
    future: Future[Prepared]


class Workshop:
    """Threads that prepare images while the main one loads, connects and waits: Pillow releases the GIL.

    They are daemons, so that Ctrl-C ends the program at once, also while one of them decodes or reads a pipe. (The
    workers of ``concurrent.futures`` are waited for when Python ends.)
    """

    def __init__(self, limits: Limits, *, threads: int = 2) -> None:
        self._limits = limits
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
                future.set_result(image if isinstance(image, sources.Link) else encode(image, self._limits))
            except BaseException as error:  # noqa: BLE001  # handed to whoever waits for the image, and raised there
                future.set_exception(error)


def encode(source: sources.File | sources.Bytes | sources.Remote | sources.Piped, limits: Limits) -> Encoded:
    """Read, turn upright, shrink and encode one image.

    Raises:
        ImageError: missing, unreadable, damaged, too small, too long, or too large to be sent.
    """
    started = time.perf_counter()
    data = reading.read(source)
    name = source.name
    notes = (source.note,) if isinstance(source, sources.Remote) and source.note else ()
    try:
        with decoder.opened(data, name) as image:
            orientation = decoder.orientation(image)
            warnings = decoder.frame_notes(image, name)
            width, height = _upright(image.size, orientation)
            sent, lowered = _payload(image, data, orientation, limits, name)
            kind = image.format or ""
    except Image.DecompressionBombError as error:
        raise decoder.bomb(name) from error
    except decoder.BROKEN as error:
        raise decoder.damaged(name, str(error)) from error
    return Encoded(
        name=name,
        sha256=hashlib.sha256(data).hexdigest(),
        format={"MPO": "JPEG", "DIB": "BMP"}.get(kind, kind),
        width=width,
        height=height,
        size=len(data),
        sent=sent,
        seconds=time.perf_counter() - started,
        warnings=notes + warnings + lowered,
    )


def _upright(size: tuple[int, int], orientation: int) -> tuple[int, int]:
    """The size with its sides swapped where the orientation swaps them; works both ways."""
    return size if orientation < 5 else (size[1], size[0])


def _payload(
    image: Image.Image, data: bytes, orientation: int, limits: Limits, name: str
) -> tuple[Payload, tuple[str, ...]]:
    upright = _upright(image.size, orientation)
    target = tokens.shrink(*upright, max_pixels=limits.max_pixels, max_side=limits.max_side)
    if target == upright and orientation == 1 and (kept := _as_it_is(image, data)) is not None:
        return Payload("image/png" if image.format == "PNG" else "image/jpeg", *upright, kept), ()
    stored = _upright(target, orientation)
    if image.format in {"JPEG", "MPO"} and stored != image.size:
        # The decoder scales by 1/2, 1/4 or 1/8 itself, to no less than the target: under half the CPU of decoding
        # in full, and 40 dB PSNR to that. It needs the target's own shape: a square box has no such step at 4:3.
        image.draft(None, stored)
    picture = colours.simple(image)
    is_flat = image.format in _LOSSLESS and colours.is_flat(picture)
    if picture.size != stored:
        picture = picture.resize(stored, Image.Resampling.BICUBIC)
    picture = colours.opaque_srgb(picture, image.info.get("icc_profile"))
    if orientation in _TURNS:
        picture = picture.transpose(_TURNS[orientation])
    picture.info = {}  # save() copies a comment from here into the new file
    return _saved(picture, limits, name, as_png=is_flat)


def _as_it_is(image: Image.Image, data: bytes) -> bytes | None:
    """The file itself less its metadata; ``None`` where it is nothing to give to a model as it is."""
    modes = {"JPEG": {"L", "RGB"}, "MPO": {"L", "RGB"}, "PNG": {"1", "L", "P", "RGB"}}.get(image.format or "", ())
    is_animated = image.format == "PNG" and getattr(image, "is_animated", False)
    if image.mode not in modes or is_animated or "transparency" in image.info:
        return None
    if not colours.is_srgb(image.info.get("icc_profile")):
        return None
    image.load()  # so that a damaged file is found here and not by the endpoint
    kept = without_metadata(data)
    return kept if kept is not None and _fits(kept) else None


def _fits(data: bytes) -> bool:
    return len("data:image/jpeg;base64,") + 4 * ((len(data) + 2) // 3) <= _MAX_DATA_URL


def _saved(picture: Image.Image, limits: Limits, name: str, *, as_png: bool) -> tuple[Payload, tuple[str, ...]]:
    if as_png and _fits(data := _file(picture, "PNG")):
        return Payload("image/png", *picture.size, data), ()
    for quality in (limits.quality, *(lower for lower in _LOWER_QUALITIES if lower < limits.quality)):
        data = _file(picture, "JPEG", quality=quality)
        if _fits(data):
            note = f"{name}: saved at JPEG quality {quality}, to fit into {_MAX_DATA_URL:,} bytes"
            return Payload("image/jpeg", *picture.size, data), (() if quality == limits.quality else (note,))
    if limits.max_pixels is None:
        raise ImageError(
            f"{name} does not fit into a data URL of {_MAX_DATA_URL:,} bytes",
            hint="Leave out --original, or lower --quality.",
            code="too_large",
        )
    smaller = tokens.shrink(*picture.size, max_pixels=picture.width * picture.height // 2, max_side=None)
    payload, _ = _saved(picture.resize(smaller, Image.Resampling.BICUBIC), limits, name, as_png=False)
    return payload, (f"{name}: shrunk to {payload.width} × {payload.height}, to fit into {_MAX_DATA_URL:,} bytes",)


def _file(picture: Image.Image, kind: str, **options: int) -> bytes:
    stream = BytesIO()
    picture.save(stream, kind, **options)
    return stream.getvalue()
