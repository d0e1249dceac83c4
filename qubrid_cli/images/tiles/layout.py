"""Divide an image into overlapping tiles, in reading order, and cut between its lines where possible."""

import math

from PIL import Image, ImageChops

from ...frozen import frozen
from .choice import MAX_AUTO_TILES, Box

#: The longer side of a tile divided by the shorter one: bands across a page keep its lines whole, but models do not see
#: extreme shapes well.
_MAX_RATIO = 10
#: Bands win if their scale is at least this share of the scale of a grid, which would cut lines into columns.
_GRID_FACTOR = 0.8
#: Pixels by which neighbors overlap at least and at most; in between, a share of the tile.
_MIN_OVERLAP, _MAX_OVERLAP, _OVERLAP_SHARE = 48, 128, 0.1
#: How far beyond the overlap a blank gap between lines is searched, as a share of it, and the fewest rows of a gap.
_MOVE_SHARE, _MIN_GAP = 0.7, 3
#: The shorter side of a tile, in pixels.
_MIN_TILE_SIDE = 64
#: The width of the cells in which ink is measured, in pixels, and the mean difference from the next pixel in a blank one.
_CELL, _BLANK_STEP = 32, 6

#: The most pixels of a tile as it is sent, and the length of its longer side; ``None`` for no limit.
TileLimits = tuple[int | None, int | None]


@frozen
class Grid:
    """Rows and columns of tiles, and the scale at which they are sent, at most 1."""

    rows: int
    columns: int
    scale: float

    @property
    def count(self) -> int:
        """How many tiles there are."""
        return self.rows * self.columns


@frozen
class Piece:
    """A part of an image.

    Attributes:
        repeated_lines: about how many lines of text it shares with the tile above it; ``None`` for the first one, and where
            tiles are side by side.
    """

    box: Box
    repeated_lines: int | None = None


def choose_grid(size: tuple[int, int], limits: TileLimits, count: int | None) -> Grid | None:
    """The grid whose tiles have the largest scale; ``None`` if they would be too small.

    Args:
        count: of the tiles; ``None`` for as few as full size needs, up to ``MAX_AUTO_TILES``.
    """
    if count is not None:
        return _choose_arrangement(size, limits, count)
    grids = [grid for number in range(1, MAX_AUTO_TILES + 1) if (grid := _choose_arrangement(size, limits, number))]
    return next((grid for grid in grids if grid.scale >= 1), None) or max(
        grids, key=lambda grid: grid.scale, default=None
    )


def _choose_arrangement(size: tuple[int, int], limits: TileLimits, count: int) -> Grid | None:
    grids = []
    for columns in range(1, count + 1):
        rows, remainder = divmod(count, columns)
        wide, high = _measure_tile(size[0], columns), _measure_tile(size[1], rows)
        if remainder or min(size[0] / columns, size[1] / rows) < _MIN_TILE_SIDE:
            continue
        scale = 1.0
        max_pixels, max_side = limits
        if max_pixels is not None:
            scale = min(scale, math.sqrt(max_pixels / (wide * high)))
        if max_side is not None:
            scale = min(scale, max_side / max(wide, high))
        penalty = _GRID_FACTOR if rows > 1 and columns > 1 else 1.0
        is_narrow = max(wide, high) > _MAX_RATIO * min(wide, high)
        grids.append((is_narrow, -scale * penalty, columns, Grid(rows, columns, scale)))
    return min(grids, key=lambda entry: entry[:3])[3] if grids else None


def _measure_tile(side: int, count: int) -> float:
    """The most that a tile may measure along a side that is divided into ``count`` tiles."""
    if count == 1:
        return side
    overlap = _compute_overlap(side / count)
    return side / count + overlap + 2 * round(_MOVE_SHARE * overlap)


def _compute_overlap(step: float) -> int:
    return round(min(_MAX_OVERLAP, max(_MIN_OVERLAP, _OVERLAP_SHARE * step)))


def divide(image: Image.Image, grid: Grid) -> list[Piece]:
    """The tiles of a loaded, upright image, in reading order: from left to right, and from top to bottom.

    Neighbors share a blank gap between lines if there is one, so that no line is cut or shown twice.
    """
    gray = image if image.mode == "L" else image.convert("L")
    rows = _divide_side(gray, grid.rows)
    columns = _divide_side(gray.transpose(Image.Transpose.TRANSPOSE) if grid.columns > 1 else gray, grid.columns)
    sides = columns if grid.columns > 1 else [(0, image.width, None)]
    return [
        Piece((left, top, right - left, bottom - top), lines if grid.columns == 1 else None)
        for top, bottom, lines in rows
        for left, right, _ in sides
    ]


def _divide_side(gray: Image.Image, count: int) -> list[tuple[int, int, int | None]]:
    """The first row and the end of each part, and the number of lines that it shares with the part above it."""
    overlap = _compute_overlap(gray.height / count)
    reach = overlap // 2 + round(_MOVE_SHARE * overlap)
    parts: list[tuple[int, int, int | None]] = []
    start, lines = 0, None
    for number in range(1, count):
        middle = round(number * gray.height / count)
        top = middle - reach
        ink = _find_ink(gray.crop((0, top - 1, gray.width, middle + reach)))
        if gap := _find_gap(ink):
            shared = top + gap[0], top + gap[1]
            next_lines = 0
        else:
            shared = middle - overlap // 2, middle + overlap // 2
            next_lines = _count_lines(ink[shared[0] - top : shared[1] - top])
        parts.append((start, shared[1], lines))
        start, lines = shared[0], next_lines
    return [*parts, (start, gray.height, lines)]


def _find_ink(gray: Image.Image) -> list[int]:
    """How much ink each row but the first one has: the largest difference between neighbors in it, or to the row before.

    Vertical lines through all rows, such as those of a table and the edge of a window, do not count.
    """
    rows, columns = gray.height - 1, math.ceil(gray.width / _CELL)
    lower = gray.crop((0, 1, gray.width, gray.height))
    down = ImageChops.difference(lower, gray.crop((0, 0, gray.width, rows)))
    across = ImageChops.difference(lower, ImageChops.offset(lower, 1, 0))
    cells = across.resize((columns, rows), Image.Resampling.BOX)
    values = cells.tobytes()
    base = Image.frombytes("L", (columns, 1), bytes(min(values[at::columns]) for at in range(columns)))
    cells = ImageChops.subtract(cells, base.resize(cells.size, Image.Resampling.NEAREST))
    values = ImageChops.lighter(cells, down.resize((columns, rows), Image.Resampling.BOX)).tobytes()
    return [max(values[at : at + columns]) for at in range(0, len(values), columns)]


def _find_gap(ink: list[int]) -> tuple[int, int] | None:
    """The first row and the end of the longest run of blank rows; of equal ones, the nearest to the middle."""
    best, run = (0, 0, 0), 0
    for row, value in enumerate([*ink, _BLANK_STEP + 1]):
        if value <= _BLANK_STEP:
            run += 1
            continue
        best, run = max(best, (run, -abs(row - run // 2 - len(ink) // 2), row)), 0
    return (best[2] - best[0], best[2]) if best[0] >= _MIN_GAP else None


def _count_lines(ink: list[int]) -> int:
    """The number of runs of rows with ink, at least 1."""
    has_ink = [value > _BLANK_STEP for value in ink]
    return max(1, sum(now and not before for before, now in zip([False, *has_ink], has_ink, strict=False)))
