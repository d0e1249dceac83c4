"""What is sent of an image: a JPEG or a PNG, upright, no larger than a model looks at, and with nothing private in it."""

from dataclasses import replace
from io import BytesIO

from PIL import Image

from ..errors import ImageError
from ..frozen import frozen
from . import color, prefetch, tokens
from .metadata import strip_metadata

#: Formats whose pictures are exact, so that small ones may stay so.
_LOSSLESS = {"PNG", "GIF", "TIFF", "BMP", "DIB", "ICO", "PPM", "QOI", "TGA"}
#: Formats whose pictures never are: around letters they have a noise that PNG cannot pack.
_LOSSY = {"JPEG", "MPO"}
#: Model Studio, Qwen's own host, takes no longer ones.
_MAX_DATA_URL_LENGTH = 10_485_760
#: libjpeg writes no longer ones.
_MAX_JPEG_SIDE = 65_500

#: JPEG qualities. At 85 with colour at half resolution photos are as good as a model can see; screenshots and pages
#: come to 35 to 39 dB PSNR by that, with colours bleeding from letters, and at 90 with full colour to 40 to 50 dB.
_PHOTO_QUALITY, _GRAPHIC_QUALITY = 85, 90
#: Tried in turn where a picture does not fit into a data URL otherwise.
_FALLBACK_QUALITIES = (70, 50)
#: PNG is taken up to this multiple of that sharp JPEG's size. Of 17 screenshots of terminals, shrunk or not, 8 came to
#: 0.8 to 1.5 times, charts and clean pages to 0.3 to 0.7; those with soft shadows, and noisy scans, to 1.6 to 3.5.
_MAX_PNG_RATIO = 1.5
#: A change of the shape that is worth a word; multiples of 32 alone make hardly more than 3 % of a usual picture.
_MAX_SHAPE_CHANGE = 1.1
#: Pixels up to which an exact picture stays so whatever it shows: as PNG it cannot come to 200 KB.
_SMALL_PIXELS = 65_536

#: Between two steps of shrinking: averaging goes down to twice the size at least, and bicubic resampling the rest of
#: the way, which is quick and hardly differs from resampling all of it (Pillow calls that ``reducing_gap``).
_REDUCING_GAP = 2

#: EXIF tag 0x0112 (Orientation): what turns the stored picture upright.
_TRANSPOSITIONS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


@frozen
class ImageLimits:
    """How images are sent: pixels and longer side at most, ``None`` for no limit.

    ``quality`` is that of JPEG, from 1 to 95; ``None`` for what suits the picture. ``frame`` counts from 1.
    """

    max_pixels: int | None = tokens.QWEN3.max_pixels  #: what Qwen3-VL looks at, 2,560 image tokens
    max_side: int | None = None
    quality: int | None = None
    frame: int = 1


@frozen
class Upload:
    """The file that is sent, PNG or JPEG, and what is to be said about it."""

    mime: str
    width: int
    height: int
    data: bytes
    warnings: tuple[str, ...] = ()


def orient_size(size: tuple[int, int], orientation: int) -> tuple[int, int]:
    """The size with its sides swapped where the orientation swaps them; works both ways."""
    return size if orientation < 5 else (size[1], size[0])


def encode_for_upload(
    image: Image.Image,
    data: bytes,
    orientation: int,
    limits: ImageLimits,
    name: str,
) -> Upload:
    """Make what is sent of an opened image, whose pixels are not decoded yet.

    Args:
        data: the file that it was opened from.
        orientation: EXIF's, still to be applied.

    Raises:
        ImageError: it cannot be brought under the size of a data URL.
        Exception: one of ``decoder.BROKEN``, where the file is damaged.
    """
    size = orient_size(image.size, orientation)
    target = tokens.shrink_size(*size, max_pixels=limits.max_pixels, max_side=limits.max_side)
    if target == size and orientation == 1 and limits.frame == 1 and (kept := _unchanged_file(image, data)) is not None:
        return Upload("image/png" if image.format == "PNG" else "image/jpeg", *size, kept)
    stored = orient_size(target, orientation)
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
    image = _decode(image, data)
    is_sharp = color.is_graphic(image)
    picture = color.convert_to_srgb(_resize(image, stored), image.info.get("icc_profile"))
    if orientation in _TRANSPOSITIONS:
        picture = picture.transpose(_TRANSPOSITIONS[orientation])
    picture.info = {}  # save() copies a comment from here into the new file
    is_small = picture.width * picture.height <= _SMALL_PIXELS
    may_be_png = image.format not in _LOSSY if is_sharp else image.format in _LOSSLESS and is_small
    sent = _Encoder(name, limits, is_graphic=is_sharp).encode(picture, may_be_png=may_be_png)
    return replace(sent, warnings=_get_shape_warnings(size, target, name) + sent.warnings)


def _get_shape_warnings(size: tuple[int, int], target: tuple[int, int], name: str) -> tuple[str, ...]:
    """A warning where the picture's shape could not be kept: no side is sent shorter than 32 pixels."""
    change = (target[0] * size[1]) / (target[1] * size[0])
    if 1 / _MAX_SHAPE_CHANGE <= change <= _MAX_SHAPE_CHANGE:
        return ()
    return (f"{name}: its shape is not kept, from {size[0]} × {size[1]} to {target[0]} × {target[1]}",)


def _resize(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    factor = max(1, min(image.width // size[0], image.height // size[1]) // _REDUCING_GAP)
    box = (0.0, 0.0, image.width / factor, image.height / factor)
    picture = color.normalize_mode(image, factor)
    return picture if picture.size == size else picture.resize(size, Image.Resampling.BICUBIC, box)


def _decode(image: Image.Image, data: bytes) -> Image.Image:
    decoded = prefetch.get_decoded(image, data)
    decoded.load()
    return decoded


def _unchanged_file(image: Image.Image, data: bytes) -> bytes | None:
    """The file itself less its metadata; ``None`` where it is nothing to give to a model as it is."""
    modes = {"JPEG": {"L", "RGB"}, "MPO": {"L", "RGB"}, "PNG": {"1", "L", "P", "RGB"}}.get(image.format or "", ())
    is_png = image.format == "PNG"
    # The byte at 24 is the depth: Pillow reads 16 bits a channel as 8, and says nothing.
    is_odd = is_png and (getattr(image, "is_animated", False) or data[24:25] == b"\x10")
    if image.mode not in modes or is_odd or "transparency" in image.info:
        return None
    if not color.is_srgb(image.info.get("icc_profile")):
        return None
    _decode(image, data)  # so that a damaged file is found here and not by the endpoint
    kept = strip_metadata(data)
    return kept if kept is not None and _fits_data_url(kept) else None


def _fits_data_url(data: bytes) -> bool:
    return len("data:image/jpeg;base64,") + 4 * ((len(data) + 2) // 3) <= _MAX_DATA_URL_LENGTH


@frozen
class _Encoder:
    """How one picture is written into a file."""

    name: str
    limits: ImageLimits
    is_graphic: bool

    def encode(self, picture: Image.Image, *, may_be_png: bool) -> Upload:
        asked = self.limits.quality or (_GRAPHIC_QUALITY if self.is_graphic else _PHOTO_QUALITY)
        data = self._encode_jpeg(picture, asked)
        is_small = picture.width * picture.height <= _SMALL_PIXELS
        exact = _save_to_bytes(_drop_color_if_gray(picture), "PNG") if may_be_png else b""
        if exact and (is_small or len(exact) <= _MAX_PNG_RATIO * len(data)) and _fits_data_url(exact):
            return Upload("image/png", *picture.size, exact)
        for quality in (asked, *(lower for lower in _FALLBACK_QUALITIES if lower < asked)):
            data = data if quality == asked else self._encode_jpeg(picture, quality)
            if _fits_data_url(data):
                note = f"{self.name}: saved at JPEG quality {quality}, to fit into {_MAX_DATA_URL_LENGTH:,} bytes"
                return Upload("image/jpeg", *picture.size, data, () if quality == asked else (note,))
        return self._encode_smaller(picture)

    def _encode_jpeg(self, picture: Image.Image, quality: int) -> bytes:
        return _save_to_bytes(picture, "JPEG", quality=quality, subsampling="4:4:4" if self.is_graphic else "4:2:0")

    def _encode_smaller(self, picture: Image.Image) -> Upload:
        if self.limits.max_pixels is None:
            raise ImageError(
                f"{self.name} does not fit into a data URL of {_MAX_DATA_URL_LENGTH:,} bytes",
                hint="Leave out --original, or lower --quality.",
                code="too_large",
            )
        smaller = tokens.shrink_size(*picture.size, max_pixels=picture.width * picture.height // 2, max_side=None)
        sent = self.encode(picture.resize(smaller, Image.Resampling.BICUBIC), may_be_png=False)
        note = f"{self.name}: shrunk to {sent.width} × {sent.height}, to fit into {_MAX_DATA_URL_LENGTH:,} bytes"
        return Upload(sent.mime, sent.width, sent.height, sent.data, (note,))


def _drop_color_if_gray(picture: Image.Image) -> Image.Image:
    """The picture in one channel, where it has no colour."""
    if picture.mode == "L":
        return picture
    red, green, blue = picture.split()
    is_grey = red.tobytes() == green.tobytes() == blue.tobytes()
    return red if is_grey else picture


def _save_to_bytes(picture: Image.Image, kind: str, **options: object) -> bytes:
    stream = BytesIO()
    picture.save(stream, kind, **options)
    return stream.getvalue()
