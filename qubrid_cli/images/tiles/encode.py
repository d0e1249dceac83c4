"""Encode a part of an image, or the tiles into which it is divided."""

from dataclasses import replace
from typing import TYPE_CHECKING

from PIL import Image

from ...errors import ImageError
from .. import color, decode, tokens
from . import layout
from .choice import Box

if TYPE_CHECKING:
    from ..encode import Conversion, Upload

#: Below this scale, a note says that tiles are shrunk.
_FULL_SCALE = 0.97

#: The pixels are opaque already.
_PLAIN = color.Look()


def encode_parts(conversion: "Conversion", image: Image.Image, stretch: tuple[float, float]) -> "Upload":
    """Encode the part of an image that ``limits.crop`` selects, divided according to ``limits.tiles``.

    Args:
        image: loaded, upright, in mode L, RGB or CMYK.
        stretch: factors for the width and the height, because the pixels may not be square.

    Raises:
        ImageError: the part is outside of the image, too small, or cannot be divided into that many tiles.
    """
    name, limits = conversion.name, conversion.limits
    box = (0, 0, *image.size)
    if limits.crop is not None:
        box = limits.crop.find_box(image.size, name)
        image = _cut(image, box)
        decode.check_shape(image.size, name)
    size = _stretch(image.size, stretch)
    grid = _choose_grid(conversion, image, size)
    if grid is None:
        target = tokens.shrink_size(*size, max_pixels=limits.max_pixels, max_side=limits.max_side)
        upload = _encode(conversion, image, target)
        notes = conversion.note_lost_detail(image, _PLAIN, size, target)
        return replace(upload, warnings=notes + upload.warnings, box=box if limits.crop else None)
    tiles = tuple(_encode_tile(conversion, image, piece, stretch, box) for piece in layout.divide(image, grid))
    warnings = tuple(warning for tile in tiles for warning in tile.warnings)
    return replace(tiles[0], tiles=tiles, warnings=(*_describe_tiles(conversion, grid), *dict.fromkeys(warnings)))


def _cut(image: Image.Image, box: Box) -> Image.Image:
    left, top, width, height = box
    return image.crop((left, top, left + width, top + height))


def _stretch(size: tuple[int, int], stretch: tuple[float, float]) -> tuple[int, int]:
    return max(1, round(size[0] * stretch[0])), max(1, round(size[1] * stretch[1]))


def _choose_grid(conversion: "Conversion", image: Image.Image, size: tuple[int, int]) -> layout.Grid | None:
    """The grid of tiles; ``None`` to send the part whole."""
    limits = conversion.limits
    if limits.tiles is None or limits.tiles.count == 1:
        return None
    count, (max_pixels, max_side) = limits.tiles.count, limits.tile_limits
    if count is None:
        target = tokens.shrink_size(*size, max_pixels=max_pixels, max_side=max_side)
        if not tokens.is_halved(size, target) or not conversion.has_sharp_detail(image, _PLAIN):
            return None
    grid = layout.choose_grid(size, (max_pixels, max_side), count)
    if grid is None and count is not None:
        raise ImageError(
            f"{conversion.name} is too small for {count} tiles: {size[0]:,} × {size[1]:,} pixels",
            hint="Lower --tiles, or use --tiles auto.",
            code="too_small",
        )
    return grid if grid is not None and grid.count > 1 else None


def _encode_tile(
    conversion: "Conversion", image: Image.Image, piece: layout.Piece, stretch: tuple[float, float], crop: Box
) -> "Upload":
    max_pixels, max_side = conversion.limits.tile_limits
    left, top, width, height = piece.box
    target = tokens.shrink_size(*_stretch((width, height), stretch), max_pixels=max_pixels, max_side=max_side)
    box = left + crop[0], top + crop[1], width, height
    return replace(_encode(conversion, _cut(image, piece.box), target), box=box, repeated_lines=piece.repeated_lines)


def _encode(conversion: "Conversion", image: Image.Image, size: tuple[int, int]) -> "Upload":
    return conversion.encode(image, _PLAIN, size)


def _describe_tiles(conversion: "Conversion", grid: layout.Grid) -> tuple[str, ...]:
    """Notes about changes that the user did not request."""
    tiles, name = conversion.limits.tiles, conversion.name
    notes = []
    if tiles is not None and tiles.count is None:
        notes.append(
            f"{name}: sent in {grid.count} parts, so that its text and fine lines stay legible (--tiles off sends it whole)"
        )
    if grid.scale < _FULL_SCALE:
        notes.append(f"{name}: its parts are shrunk to {grid.scale:.0%} of their width and height")
    return tuple(notes)
