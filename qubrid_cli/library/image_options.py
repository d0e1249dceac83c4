"""How images are sent: limits, tiles and crop; how many pixels the model looks at; which links are fetched here."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from math import inf
from typing import TYPE_CHECKING, Any

from ..errors import ImageError, StorageError, UsageError
from ..frozen import frozen

if TYPE_CHECKING:
    from ..images.encode import ImageLimits
    from ..images.sources import Link, Source
    from ..images.tiles.choice import Crop, TileChoice
    from ..schema.json_schema import Schema
    from ..settings.fields import Settings
    from ..settings.presets import Preset
    from ..storage.folder import StorageOptions

#: More images than this in one request are more likely a mistake than intended.
MAX_IMAGES_PER_REQUEST = 8
#: With these, Qwen's servers look at more pixels than usual.
_RESOLUTION_FIELDS = ("vl_high_resolution_images", "mm_processor_kwargs")


@frozen
class TileOptions:
    """Which parts of images are sent.

    Attributes:
        tile_count: 1 for whole images, ``None`` to choose it by the image.
        is_ocr: the text of images is read, so each tile has a request of its own.
        facets: the options that differ from the default, for the key of an answer in a batch.
    """

    tile_count: int | None
    crop: "Crop | None"
    is_ocr: bool
    facets: Mapping[str, Any]

    @property
    def reads_tiles(self) -> bool:
        """Whether each tile of an image has a request of its own, and the texts are joined."""
        return self.is_ocr and self.tile_count != 1

    def build_tile_choice(self, model: str | None) -> "TileChoice | None":
        """The tiles for a model; ``None`` for whole images."""
        if self.tile_count == 1:
            return None
        from ..images.tiles.choice import TileChoice
        from ..images.tokens import find_view

        return TileChoice(self.tile_count, *find_view(model or ""))


def read_tile_options(tiles: str | None, crop: str | None, preset: "Preset | None", *, has_schema: bool) -> TileOptions:
    """Read the values of ``--tiles`` and ``--crop``; with ``--preset ocr``, images with much detail are divided by default.

    Raises:
        UsageError: they are not valid.
    """
    is_ocr = preset is not None and preset.name == "ocr" and not has_schema
    default = None if is_ocr else 1
    if tiles is None and crop is None:
        return TileOptions(default, None, is_ocr, {})
    from ..images.tiles.choice import parse_crop, parse_tiles

    count = default if tiles is None else parse_tiles(tiles)
    part = None if crop is None else parse_crop(crop)
    facets: dict[str, Any] = {} if count == default else {"tiles": count}
    if part is not None:
        facets["crop"] = part.numbers
    return TileOptions(count, part, is_ocr, facets)


def find_useless_pixels(settings: "Settings", extra: Mapping[str, Any]) -> str | None:
    """A note if the user raised ``max_pixels`` beyond what the model looks at.

    Args:
        extra: the fields that ``-O`` adds to the body.
    """
    from ..settings.fields import OriginKind

    if settings.max_pixels is None or settings.origins["max_pixels"].kind is OriginKind.DEFAULT:
        return None
    if any(name in extra for name in _RESOLUTION_FIELDS):
        return None
    from ..images.tokens import find_view

    pixels, _ = find_view(settings.model or "")
    if pixels is None or settings.max_pixels <= pixels:
        return None
    return (
        f"--max-pixels {settings.max_pixels} is of no use: {settings.model} looks at {pixels} pixels of an image, "
        "unless its server is set up for more; --tiles sends an image in parts"
    )


def build_image_limits(
    settings: "Settings", tile_options: TileOptions, *, original: bool, schema: "Schema | None" = None
) -> "ImageLimits":
    """The limits of the images that are sent; ``--original`` overrides those of the config file.

    Args:
        schema: of the answer. If it has boxes in pixels and the user sets no limit, images are at most as large as every
            host of the model leaves them, because larger ones are resized differently by each.

    Raises:
        UsageError: ``--original`` is used together with an option that shrinks images, or ``--tiles`` with boxes.
    """
    from ..images.encode import ImageLimits
    from ..settings.fields import OriginKind

    if schema is not None and schema.boxes is not None and tile_options.tile_count != 1:
        raise UsageError(
            "boxes cannot be placed in an image that is sent in parts",
            hint="Leave out --tiles; --crop shows the model one part.",
        )
    if original and any(settings.origins[name].kind is OriginKind.OPTION for name in ("max_pixels", "max_side")):
        raise UsageError("--original excludes --max-pixels and --max-side", hint="Leave one of them out.")
    max_pixels, max_side = (None, None) if original else (settings.max_pixels, settings.max_side)
    is_default = settings.origins["max_pixels"].kind is OriginKind.DEFAULT
    if max_pixels is not None and is_default and schema is not None and schema.boxes is not None:
        from ..describe.locating.families import find_pixel_limit

        max_pixels = min(max_pixels, find_pixel_limit(settings.required_model, schema.boxes) or max_pixels)
    return ImageLimits(
        max_pixels,
        max_side,
        settings.quality,
        background=settings.background,
        crop=tile_options.crop,
        tiles=tile_options.build_tile_choice(settings.model),
    )


def build_storage_options(settings: "Settings") -> "StorageOptions":
    """The timeout and the retries of requests to buckets."""
    from ..storage.folder import StorageOptions

    return StorageOptions(settings.timeout, settings.retries)


def choose_downloads(sources: Iterable["Source"], settings: "Settings", *, fetch: bool | None) -> Sequence["Source"]:
    """Replace the links that are fetched here by sources that download them when they are read; see ``resolve_links``."""
    from ..images.sources import resolve_links
    from ..urls import is_object_url

    def download(link: "Link") -> bytes:
        # These modules are imported in the thread that needs them, because they take long to load.
        from ..images.download import MAX_BYTES, MAX_SECONDS, download

        if is_object_url(link.url):
            from ..storage.opening import read_object

            limits = replace(build_storage_options(settings), max_seconds=min(settings.max_time or inf, MAX_SECONDS))
            try:
                return read_object(link.url, limits, max_bytes=MAX_BYTES)
            except StorageError as error:
                raise ImageError(error.message, hint=error.hint, code=error.code) from error
        return download(link, timeout=settings.timeout, within=settings.max_time)

    endpoint = None if settings.offline else settings.base_url
    return resolve_links(sources, fetch=fetch, endpoint=endpoint, download=download)
