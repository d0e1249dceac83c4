"""Encode an image as it is sent: JPEG or PNG, upright, no larger than a model looks at, without metadata."""

from dataclasses import replace
from io import BytesIO
from typing import TYPE_CHECKING

from PIL import Image

from ..errors import ImageError
from ..frozen import frozen
from ..urls import DataUrl
from . import color, damage, decode, heif, prefetch, tokens
from .metadata import find_png_chunk, read_jpeg_frame, strip_metadata

if TYPE_CHECKING:
    from .tiles.choice import Box, Crop, TileChoice

#: Lossless formats: small images in them are sent as PNG.
_LOSSLESS = {"PNG", "GIF", "TIFF", "BMP", "DIB", "ICO", "PPM", "QOI", "TGA"}
#: Lossy formats: the noise around letters makes a PNG large.
_LOSSY = {"JPEG", "MPO"}
#: Characters; Model Studio, Qwen's own host, refuses longer ones.
_MAX_DATA_URL_LENGTH = 10_485_760
#: Pixels; libjpeg refuses longer sides.
_MAX_JPEG_SIDE = 65_500

#: JPEG qualities. At 85 with color at half resolution, photos are as good as a model can see. Screenshots and pages
#: have 35 to 39 dB PSNR that way, with color bleeding from letters, and 40 to 50 dB at 90 with full color.
_PHOTO_QUALITY, _GRAPHIC_QUALITY = 85, 90
#: Tried in turn if the image does not fit into a data URL otherwise.
_FALLBACK_QUALITIES = (70, 50)
#: PNG is used up to this multiple of the size of the JPEG at 90. Of 17 screenshots of terminals, shrunk or not, 8 had
#: 0.8 to 1.5 times that size at zlib's level 6; charts and clean pages had 0.3 to 0.7, soft shadows and noisy scans 1.6 to
#: 3.5. At level 3, a screenshot has about four fifths of these.
_MAX_PNG_RATIO = 1.2
#: zlib's level. From 4 on it drops short matches in the data from Pillow: at 6, the default, eight screenshots took 1.3 to
#: 1.9 times the CPU, and seven of them became 13 to 41 % larger, one 6 % smaller. zlib-ng's sizes differ by 2 %.
_PNG_LEVEL = 3
#: Pixels up to which any lossless image is sent as PNG: it cannot reach 200 KB.
_SMALL_PIXELS = 65_536

#: An image is first shrunk by averaging, by this factor or to twice its final size, and then by bicubic resampling: at
#: ratios from 2 to 4 about half the CPU of resampling alone. On shrunk screenshots, tesseract read 41.1 % of 4,765 words of
#: hardly legible size, and 40.7 % without averaging; averaging by 3 or 4 instead of 2 lost one word in 25.
_MIN_AVERAGING = 2

#: The tag of the orientation in TIFF and EXIF, and its lowest value that swaps width and height.
_TAG_ORIENTATION, _FIRST_SIDEWAYS = 0x0112, 5

#: The horizontal and vertical resolutions are applied if they differ by more than this share, and by at most this factor:
#: smaller differences are not visible, larger ones are mistakes.
_MIN_STRETCH, _MAX_STRETCH = 0.02, 4.0

#: The transpositions that turn the stored image upright, by EXIF tag 0x0112 (Orientation).
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
    """How images are sent.

    Attributes:
        max_pixels: ``None`` for no limit.
        max_side: pixels of the longer side; ``None`` for no limit.
        quality: of a JPEG, from 1 to 95; ``None`` to choose it by the image.
        background: the color of transparent pixels, as ``#rrggbb``; ``None`` to choose it by the image.
        crop: the part that is sent; ``None`` for all of it.
        tiles: whether the image is divided, and each tile sent at full size; ``None`` to send it whole.
    """

    max_pixels: int | None = tokens.QWEN3.max_pixels  #: what Qwen3-VL looks at, 2,560 image tokens
    max_side: int | None = None
    quality: int | None = None
    background: str | None = None
    crop: "Crop | None" = None
    tiles: "TileChoice | None" = None

    @property
    def tile_limits(self) -> tuple[int | None, int | None]:
        """The most pixels of a tile, and the length of its longer side; ``None`` for no limit."""
        pixels, side = (self.tiles.max_pixels, self.tiles.max_side) if self.tiles else (None, None)
        return _min_limit(self.max_pixels, pixels), _min_limit(self.max_side, side)


def _min_limit(first: int | None, second: int | None) -> int | None:
    """The lower of two limits; ``None`` means unlimited."""
    return min((limit for limit in (first, second) if limit is not None), default=None)


@frozen
class Upload:
    """The encoded file that is sent, PNG or JPEG, and the warnings about it.

    Attributes:
        box: the part of the upright image that it shows; ``None`` for all of it.
        repeated_lines: for a tile, the lines that it shares with the tile above it; see ``tiles.layout.Piece``.
        tiles: the files that are sent if the image is divided; this one is the first of them.
        dropped_bytes: the length of ``data`` before it was dropped.
    """

    mime: str
    width: int
    height: int
    data: bytes
    warnings: tuple[str, ...] = ()
    box: "Box | None" = None
    repeated_lines: int | None = None
    tiles: "tuple[Upload, ...]" = ()
    dropped_bytes: int = 0

    @property
    def size(self) -> int:
        """The bytes of the file."""
        return len(self.data) + self.dropped_bytes

    def drop_data(self) -> "Upload":
        """Return a copy without the file, to save memory after it was sent."""
        return replace(self, data=b"", dropped_bytes=self.size, tiles=tuple(tile.drop_data() for tile in self.tiles))

    @property
    def url(self) -> DataUrl:
        """The file as it is sent in a request."""
        return DataUrl(self.mime, self.data)


def orient_size(size: tuple[int, int], orientation: int) -> tuple[int, int]:
    """Swap width and height if the orientation does; converts in both directions."""
    return size if orientation < _FIRST_SIDEWAYS else (size[1], size[0])


def encode_for_upload(image: Image.Image, data: bytes, orientation: int, limits: ImageLimits, name: str) -> Upload:
    """Encode an opened image whose pixels are not decoded yet.

    Args:
        data: the file that it was opened from; empty for a recovered image, which is decoded already.
        orientation: the EXIF orientation that must still be applied.

    Raises:
        ImageError: it cannot be made small enough for a data URL.
        Exception: one of ``decode.DECODE_ERRORS``, if the file is damaged.
    """
    pixel_size = orient_size(image.size, orientation)
    size = orient_size(_stretch_to_square(image), orientation)  # with square pixels
    target = tokens.shrink_size(*size, max_pixels=limits.max_pixels, max_side=limits.max_side)
    numbers = read_color_numbers(image, data)
    gamma, profile = color.find_gamma(image, numbers), color.build_profile(numbers)
    is_whole = limits.crop is None and not _may_be_divided(size, limits)
    is_unchanged = target == pixel_size and orientation == 1 and gamma is None and profile is None
    if is_whole and is_unchanged and (stripped := _strip_original(image, data)) is not None:
        mime = "image/png" if image.format == "PNG" else "image/jpeg"
        return Upload(mime, *size, stripped, _prefix_notes(name, color.describe_color(numbers)))
    stored_target = orient_size(target, orientation)
    if is_whole:
        if image.format in {"JPEG", "MPO"} and stored_target != image.size:
            # The decoder itself scales by 1/2, 1/4 or 1/8, to no less than the target: under half the CPU of full
            # decoding, with 40 dB PSNR to its result. It must know both sides of the target: to cover a square as long as
            # the longer side, a 4:3 image could not be scaled as far.
            image.draft(None, stored_target)
        _check_jpeg_side(target, name)
    image = decode.widen_levels(_decode(image, data), data)
    look = color.examine(image, limits.background)
    profile = profile or image.info.get("icc_profile")
    conversion = Conversion(name, limits, image.format or "", color.is_graphic(image, look), profile, gamma)
    notes = _prefix_notes(name, *look.notes, color.describe_color(numbers), _describe_stretch(pixel_size, size))
    if is_whole:
        notes += conversion.note_lost_detail(image, look, size, target)
        upload = conversion.encode(image, look, stored_target, orientation)
        notes += _get_shape_warnings(size, target, name)
    else:
        from .tiles.encode import encode_parts  # few images need it

        stretch = size[0] / pixel_size[0], size[1] / pixel_size[1]
        upload = encode_parts(conversion, turn_upright(image, look, orientation), stretch)
    return replace(upload, warnings=notes + upload.warnings)


def _may_be_divided(size: tuple[int, int], limits: ImageLimits) -> bool:
    """Whether an image of this size is divided into tiles, provided that it has sharp detail."""
    if limits.tiles is None or limits.tiles.count is not None:
        return limits.tiles is not None
    pixels, side = limits.tile_limits
    return tokens.is_halved(size, tokens.shrink_size(*size, max_pixels=pixels, max_side=side))


def _check_jpeg_side(size: tuple[int, int], name: str) -> None:
    """Refuse a size that a JPEG cannot have."""
    if max(size) > _MAX_JPEG_SIDE:
        raise ImageError(
            f"{name} is {max(size)} pixels long, but a JPEG can be at most {_MAX_JPEG_SIDE}",
            hint=f"Leave out --original, or add --max-side {_MAX_JPEG_SIDE}.",
            code="too_large",
        )


def turn_upright(image: Image.Image, look: color.Look, orientation: int) -> Image.Image:
    """Return the whole image in full size, opaque and upright."""
    pixels = color.normalize_mode(image, look)
    return pixels.transpose(_TRANSPOSITIONS[orientation]) if orientation in _TRANSPOSITIONS else pixels.copy()


@frozen
class Conversion:
    """How the pixels of one image are converted to the files that are sent.

    Attributes:
        format: Pillow's name for the format of the original.
        profile: the ICC profile of its colors.
        gamma: used if there is no profile; see ``color.convert_to_srgb``.
    """

    name: str
    limits: ImageLimits
    format: str
    is_graphic: bool
    profile: bytes | None
    gamma: float | None

    def encode(self, image: Image.Image, look: color.Look, size: tuple[int, int], orientation: int = 1) -> Upload:
        """Encode a loaded image or a part of it.

        Args:
            size: in pixels, before the image is turned upright.
            orientation: the EXIF orientation that must still be applied.
        """
        _check_jpeg_side(size, self.name)
        result = color.convert_to_srgb(_resize(image, look, size), self.profile, self.gamma)
        if orientation in _TRANSPOSITIONS:
            result = result.transpose(_TRANSPOSITIONS[orientation])
        result.info = {}  # save() would copy a comment from here into the new file
        is_lossless = self.format in _LOSSLESS and _is_small(result)
        may_be_png = self.format not in _LOSSY if self.is_graphic else is_lossless
        return _Encoder(self.name, self.limits, self.is_graphic).encode(result, may_be_png=may_be_png)

    def has_sharp_detail(self, image: Image.Image, look: color.Look) -> bool:
        """Whether the image, or a part of it, has text or thin lines."""
        if not self.is_graphic:
            return False
        from .tiles.detail import has_sharp_detail  # not for photos

        return has_sharp_detail(image, look)

    def note_lost_detail(
        self, image: Image.Image, look: color.Look, size: tuple[int, int], target: tuple[int, int]
    ) -> tuple[str, ...]:
        """A note if sharp detail loses more than half of its pixels."""
        if not tokens.is_halved(size, target) or not self.has_sharp_detail(image, look):
            return ()
        change = f"it has text or fine lines and is shrunk from {size[0]} × {size[1]} to {target[0]} × {target[1]}"
        return (f"{self.name}: {change}, which may make them illegible; --tiles auto or --crop keeps them sharp",)


def _prefix_notes(name: str, *notes: str | None) -> tuple[str, ...]:
    return tuple(f"{name}: {note}" for note in notes if note is not None)


def _stretch_to_square(image: Image.Image) -> tuple[int, int]:
    """The size with square pixels: a fax has 204 dots per inch across, but only 98 or 196 down.

    Only TIFF and PNG are stretched, because image viewers ignore the resolution of other formats.
    """
    across, down = image.info.get("dpi") or image.info.get("resolution") or image.info.get("aspect") or (1, 1)
    if image.format not in {"TIFF", "PNG"} or min(across, down) <= 0:
        return image.size
    ratio = float(across) / float(down)
    if image.format == "TIFF" and getattr(image, "tag_v2", {}).get(_TAG_ORIENTATION, 1) >= _FIRST_SIDEWAYS:
        ratio = 1 / ratio  # the decoder has turned the image, but not its resolution
    if not 1 + _MIN_STRETCH <= max(ratio, 1 / ratio) <= _MAX_STRETCH:
        return image.size
    width, height = image.size
    return (width, round(height * ratio)) if ratio > 1 else (round(width / ratio), height)


def _describe_stretch(pixel_size: tuple[int, int], size: tuple[int, int]) -> str | None:
    if pixel_size == size:
        return None
    return f"its pixels are not square, so it is stretched from {pixel_size[0]} × {pixel_size[1]} to the shape of {size[0]} × {size[1]}"


def read_color_numbers(image: Image.Image, data: bytes) -> tuple[int, int] | None:
    """The numbers of the primaries and the transfer function (ITU-T H.273); ``None`` if the file does not state them."""
    if image.format == "PNG" and (chunk := find_png_chunk(data, b"cICP")) is not None and len(chunk) >= 2:
        return chunk[0], chunk[1]
    if image.format in {"AVIF", "HEIF"} and not image.info.get("icc_profile"):
        return heif.read_properties(data).color
    return None


def _get_shape_warnings(size: tuple[int, int], target: tuple[int, int], name: str) -> tuple[str, ...]:
    """A warning if the aspect ratio changes, because a side cannot be shorter than 32 pixels."""
    if tokens.measure_shape_change(*size, *target) <= tokens.MAX_SHAPE_CHANGE:
        return ()
    return (f"{name}: its shape changes from {size[0]} × {size[1]} to {target[0]} × {target[1]}",)


def _resize(image: Image.Image, look: color.Look, size: tuple[int, int]) -> Image.Image:
    ratio = max(1, min(image.width // size[0], image.height // size[1]))
    factor = min(ratio, max(_MIN_AVERAGING, ratio // 2))
    box = (0.0, 0.0, image.width / factor, image.height / factor)
    reduced = color.normalize_mode(image, look, factor)
    return reduced if reduced.size == size else reduced.resize(size, Image.Resampling.BICUBIC, box)


def _decode(image: Image.Image, data: bytes) -> Image.Image:
    decoded = prefetch.get_decoded(image, data)
    damage.decode_pixels(decoded, data)
    return decoded


def _strip_original(image: Image.Image, data: bytes) -> bytes | None:
    """The original file without metadata; ``None`` if it must be encoded again for a model."""
    modes = {"JPEG": {"L", "RGB"}, "MPO": {"L", "RGB"}, "PNG": {"1", "L", "P", "RGB"}}.get(image.format or "", ())
    if image.mode not in modes or "transparency" in image.info or not color.is_srgb(image.info.get("icc_profile")):
        return None
    if image.format != "PNG" and not ((frame := read_jpeg_frame(data)) and frame.is_huffman):
        return None  # most decoders do not read arithmetic coding
    # Byte 24 of a PNG is its bit depth: Pillow silently reads 16 bits per channel as 8.
    if image.format == "PNG" and (getattr(image, "is_animated", False) or data[24:25] == b"\x10"):
        return None
    _decode(image, data)  # so that a damaged file is reported here and not by the endpoint
    stripped = strip_metadata(data)
    return stripped if stripped is not None and _fits_data_url(stripped) else None


def _fits_data_url(data: bytes) -> bool:
    return len(DataUrl("image/jpeg", data)) <= _MAX_DATA_URL_LENGTH


def _is_small(image: Image.Image) -> bool:
    return image.width * image.height <= _SMALL_PIXELS


@frozen
class _Encoder:
    """Encodes one image at the first quality and size that fit into a data URL."""

    name: str
    limits: ImageLimits
    is_graphic: bool

    def encode(self, image: Image.Image, *, may_be_png: bool) -> Upload:
        preferred = self.limits.quality or (_GRAPHIC_QUALITY if self.is_graphic else _PHOTO_QUALITY)
        data = self._encode_jpeg(image, preferred)
        if may_be_png:
            png = _save_to_bytes(_drop_color_if_gray(image), "PNG", compress_level=_PNG_LEVEL)
            if (_is_small(image) or len(png) <= _MAX_PNG_RATIO * len(data)) and _fits_data_url(png):
                return Upload("image/png", *image.size, png)
        if _fits_data_url(data):
            return Upload("image/jpeg", *image.size, data)
        for quality in _FALLBACK_QUALITIES:
            if quality < preferred and _fits_data_url(data := self._encode_jpeg(image, quality)):
                return Upload("image/jpeg", *image.size, data, self._warn(f"saved at JPEG quality {quality}"))
        return self._encode_smaller(image)

    def _encode_jpeg(self, image: Image.Image, quality: int) -> bytes:
        return _save_to_bytes(image, "JPEG", quality=quality, subsampling="4:4:4" if self.is_graphic else "4:2:0")

    def _encode_smaller(self, image: Image.Image) -> Upload:
        if self.limits.max_pixels is None:
            raise ImageError(
                f"{self.name} does not fit into a data URL of {_MAX_DATA_URL_LENGTH:,} bytes",
                hint="Leave out --original, or lower --quality.",
                code="too_large",
            )
        size = tokens.shrink_size(*image.size, max_pixels=image.width * image.height // 2, max_side=None)
        upload = self.encode(image.resize(size, Image.Resampling.BICUBIC), may_be_png=False)
        return replace(upload, warnings=self._warn(f"shrunk to {upload.width} × {upload.height}"))

    def _warn(self, change: str) -> tuple[str]:
        return (f"{self.name}: {change}, to fit into {_MAX_DATA_URL_LENGTH:,} bytes",)


def _drop_color_if_gray(image: Image.Image) -> Image.Image:
    """Return one channel of the image if all are the same."""
    if image.mode == "L":
        return image
    red, green, blue = image.split()
    return red if red.tobytes() == green.tobytes() == blue.tobytes() else image


def _save_to_bytes(image: Image.Image, kind: str, **options: object) -> bytes:
    stream = BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()
