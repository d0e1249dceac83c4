"""What is sent of an image: a JPEG or a PNG, upright, no larger than a model looks at, and with nothing private in it."""

from dataclasses import replace
from io import BytesIO

from PIL import Image

from . import colours, tokens
from .ahead import Ahead
from .errors import ImageError
from .frozen import frozen
from .metadata import without_metadata

#: Formats whose pictures are exact, so that small ones may stay so.
_LOSSLESS = {"PNG", "GIF", "TIFF", "BMP", "DIB", "ICO", "PPM", "QOI", "TGA"}
#: Formats whose pictures never are: around letters they have a noise that PNG cannot pack.
_LOSSY = {"JPEG", "MPO"}
#: Model Studio, Qwen's own host, takes no longer ones.
_MAX_DATA_URL = 10_485_760
#: libjpeg writes no longer ones.
_MAX_JPEG_SIDE = 65_500

#: JPEG qualities. At 85 with colour at half resolution photos are as good as a model can see; screenshots and pages
#: come to 35 to 39 dB PSNR by that, with colours bleeding from letters, and at 90 with full colour to 40 to 50 dB.
_PHOTO, _SHARP = 85, 90
#: Tried in turn where a picture does not fit into a data URL otherwise.
_LOWER = (70, 50)
#: PNG is taken up to this multiple of that sharp JPEG's size. Of 17 screenshots of terminals, shrunk or not, 8 came to
#: 0.8 to 1.5 times, charts and clean pages to 0.3 to 0.7; those with soft shadows, and noisy scans, to 1.6 to 3.5.
_MAX_PNG = 1.5
#: A change of the shape that is worth a word; multiples of 32 alone make hardly more than 3 % of a usual picture.
_MAX_SQUEEZE = 1.1
#: Pixels up to which an exact picture stays so whatever it shows: as PNG it cannot come to 200 KB.
_SMALL = 65_536

#: Between two steps of shrinking: averaging goes down to twice the size at least, and bicubic resampling the rest of
#: the way, which is quick and hardly differs from resampling all of it (Pillow calls that ``reducing_gap``).
_GAP = 2

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


@frozen
class Limits:
    """How images are sent: pixels and longer side at most, ``None`` for no limit.

    ``quality`` is that of JPEG, from 1 to 95; ``None`` for what suits the picture. ``frame`` counts from 1.
    """

    max_pixels: int | None = tokens.QWEN3.max_pixels  #: what Qwen3-VL looks at, 2,560 image tokens
    max_side: int | None = None
    quality: int | None = None
    frame: int = 1


@frozen
class Payload:
    """The file that is sent, PNG or JPEG, and what is to be said about it."""

    mime: str
    width: int
    height: int
    data: bytes
    warnings: tuple[str, ...] = ()


def upright(size: tuple[int, int], orientation: int) -> tuple[int, int]:
    """The size with its sides swapped where the orientation swaps them; works both ways."""
    return size if orientation < 5 else (size[1], size[0])


def payload(
    image: Image.Image, data: bytes, orientation: int, limits: Limits, name: str, *, ahead: Ahead | None = None
) -> Payload:
    """Make what is sent of an opened image, whose pixels are not decoded yet.

    Args:
        data: the file that it was opened from.
        orientation: EXIF's, still to be applied.
        ahead: has the same picture decoded, perhaps.

    Raises:
        ImageError: it cannot be brought under the size of a data URL.
        Exception: one of ``decoder.BROKEN``, where the file is damaged.
    """
    size = upright(image.size, orientation)
    target = tokens.shrink(*size, max_pixels=limits.max_pixels, max_side=limits.max_side)
    if (
        target == size
        and orientation == 1
        and limits.frame == 1
        and (kept := _as_it_is(image, data, ahead)) is not None
    ):
        return Payload("image/png" if image.format == "PNG" else "image/jpeg", *size, kept)
    stored = upright(target, orientation)
    if image.format in {"JPEG", "MPO"} and stored != image.size:
        # The decoder scales by 1/2, 1/4 or 1/8 itself, to no less than the target: under half the CPU of decoding
        # in full, and 40 dB PSNR to that. It needs the target's own shape: a square box has no such step at 4:3.
        image.draft(None, stored)
    if max(target) > _MAX_JPEG_SIDE:
        raise ImageError(
            f"{name} is {max(target)} pixels long, and a JPEG holds {_MAX_JPEG_SIDE}",
            hint=f"Leave out --original, or add --max-side {_MAX_JPEG_SIDE}.",
            code="too_large",
        )
    image = _decoded(image, ahead)
    is_sharp = colours.is_sharp(image)
    picture = colours.in_srgb(_resized(image, stored), image.info.get("icc_profile"))
    if orientation in _TURNS:
        picture = picture.transpose(_TURNS[orientation])
    picture.info = {}  # save() copies a comment from here into the new file
    is_small = picture.width * picture.height <= _SMALL
    may_be_png = image.format not in _LOSSY if is_sharp else image.format in _LOSSLESS and is_small
    sent = _Saving(name, limits, is_sharp=is_sharp).saved(picture, may_be_png=may_be_png)
    return replace(sent, warnings=_squeezed(size, target, name) + sent.warnings)


def _squeezed(size: tuple[int, int], target: tuple[int, int], name: str) -> tuple[str, ...]:
    """A warning where the picture's shape could not be kept: no side is sent shorter than 32 pixels."""
    change = (target[0] * size[1]) / (target[1] * size[0])
    if 1 / _MAX_SQUEEZE <= change <= _MAX_SQUEEZE:
        return ()
    return (f"{name}: its shape is not kept, from {size[0]} × {size[1]} to {target[0]} × {target[1]}",)


def _resized(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    factor = max(1, min(image.width // size[0], image.height // size[1]) // _GAP)
    box = (0.0, 0.0, image.width / factor, image.height / factor)
    picture = colours.plain(image, factor)
    return picture if picture.size == size else picture.resize(size, Image.Resampling.BICUBIC, box)


def _decoded(image: Image.Image, ahead: Ahead | None) -> Image.Image:
    found = ahead.in_place_of(image) if ahead else image
    found.load()
    return found


def _as_it_is(image: Image.Image, data: bytes, ahead: Ahead | None) -> bytes | None:
    """The file itself less its metadata; ``None`` where it is nothing to give to a model as it is."""
    modes = {"JPEG": {"L", "RGB"}, "MPO": {"L", "RGB"}, "PNG": {"1", "L", "P", "RGB"}}.get(image.format or "", ())
    is_png = image.format == "PNG"
    # The byte at 24 is the depth: Pillow reads 16 bits a channel as 8, and says nothing.
    is_odd = is_png and (getattr(image, "is_animated", False) or data[24:25] == b"\x10")
    if image.mode not in modes or is_odd or "transparency" in image.info:
        return None
    if not colours.is_srgb(image.info.get("icc_profile")):
        return None
    _decoded(image, ahead)  # so that a damaged file is found here and not by the endpoint
    kept = without_metadata(data)
    return kept if kept is not None and _fits(kept) else None


def _fits(data: bytes) -> bool:
    return len("data:image/jpeg;base64,") + 4 * ((len(data) + 2) // 3) <= _MAX_DATA_URL


@frozen
class _Saving:
    """How one picture is written into a file."""

    name: str
    limits: Limits
    is_sharp: bool

    def saved(self, picture: Image.Image, *, may_be_png: bool) -> Payload:
        asked = self.limits.quality or (_SHARP if self.is_sharp else _PHOTO)
        data = self._jpeg(picture, asked)
        is_small = picture.width * picture.height <= _SMALL
        exact = _file(_grey(picture), "PNG") if may_be_png else b""
        if exact and (is_small or len(exact) <= _MAX_PNG * len(data)) and _fits(exact):
            return Payload("image/png", *picture.size, exact)
        for quality in (asked, *(lower for lower in _LOWER if lower < asked)):
            data = data if quality == asked else self._jpeg(picture, quality)
            if _fits(data):
                note = f"{self.name}: saved at JPEG quality {quality}, to fit into {_MAX_DATA_URL:,} bytes"
                return Payload("image/jpeg", *picture.size, data, () if quality == asked else (note,))
        return self._shrunk(picture)

    def _jpeg(self, picture: Image.Image, quality: int) -> bytes:
        return _file(picture, "JPEG", quality=quality, subsampling="4:4:4" if self.is_sharp else "4:2:0")

    def _shrunk(self, picture: Image.Image) -> Payload:
        if self.limits.max_pixels is None:
            raise ImageError(
                f"{self.name} does not fit into a data URL of {_MAX_DATA_URL:,} bytes",
                hint="Leave out --original, or lower --quality.",
                code="too_large",
            )
        smaller = tokens.shrink(*picture.size, max_pixels=picture.width * picture.height // 2, max_side=None)
        sent = self.saved(picture.resize(smaller, Image.Resampling.BICUBIC), may_be_png=False)
        note = f"{self.name}: shrunk to {sent.width} × {sent.height}, to fit into {_MAX_DATA_URL:,} bytes"
        return Payload(sent.mime, sent.width, sent.height, sent.data, (note,))


def _grey(picture: Image.Image) -> Image.Image:
    """The picture in one channel, where it has no colour."""
    if picture.mode == "L":
        return picture
    red, green, blue = picture.split()
    is_grey = red.tobytes() == green.tobytes() == blue.tobytes()
    return red if is_grey else picture


def _file(picture: Image.Image, kind: str, **options: object) -> bytes:
    stream = BytesIO()
    picture.save(stream, kind, **options)
    return stream.getvalue()
