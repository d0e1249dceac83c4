"""The values of ``--tiles`` and ``--crop``."""

import re

from ...errors import ImageError, UsageError
from ...frozen import frozen

#: The most tiles that ``auto`` makes, 41,000 tokens with Qwen3-VL, and the most that ``--tiles`` accepts.
MAX_AUTO_TILES, MAX_TILES = 16, 64

#: The left and upper edge, the width and the height, in pixels.
Box = tuple[int, int, int, int]


@frozen
class TileChoice:
    """How many tiles to make, and how large they are.

    Attributes:
        count: ``None`` to choose it by the image, which may be sent whole.
        max_pixels: of a tile, if the model looks at fewer than ``ImageLimits`` allows; else ``None``.
        max_side: likewise.
    """

    count: int | None = None
    max_pixels: int | None = None
    max_side: int | None = None


def parse_tiles(text: str) -> int | None:
    """Parse the value of ``--tiles``: a number, 1 for ``off``, ``None`` for ``auto``.

    Raises:
        UsageError: it is not valid.
    """
    if text in {"auto", "off"}:
        return None if text == "auto" else 1
    if not (text.isascii() and text.isdecimal() and 1 <= int(text) <= MAX_TILES):
        raise UsageError(
            f"invalid value for --tiles: {text}", hint=f'Expected a number from 1 to {MAX_TILES}, "auto" or "off".'
        )
    return int(text)


@frozen
class Crop:
    """A part of an image: each number is in pixels, or in percent of the width or height.

    Attributes:
        numbers: left, top, width and height, each with whether it is in percent.
        text: as the user wrote it.
    """

    numbers: tuple[tuple[float, bool], ...]
    text: str

    def find_box(self, size: tuple[int, int], name: str, *, unit: str = "pixels") -> Box:
        """The part of an image of this size, at least one pixel.

        Raises:
            ImageError: it reaches beyond the image.
        """
        left, top, width, height = (
            value * side / 100 if is_percent else value
            for (value, is_percent), side in zip(self.numbers, size * 2, strict=True)
        )
        right, bottom = round(left + width), round(top + height)
        if right > size[0] or bottom > size[1] or left >= size[0] or top >= size[1]:
            raise ImageError(
                f"--crop {self.text} reaches beyond {name}, which has {size[0]:,} × {size[1]:,} {unit}",
                hint="Write left, top, width and height of a part of the upright image, such as 0,50%,100%,50%.",
                code="crop_outside",
            )
        left, top = min(round(left), size[0] - 1), min(round(top), size[1] - 1)
        return left, top, max(1, right - left), max(1, bottom - top)

    def to_percent(self, size: tuple[int, int]) -> "Crop":
        """Convert all numbers to percent of an image of this size."""
        numbers = (
            (value if is_percent else value * 100 / side, True)
            for (value, is_percent), side in zip(self.numbers, size * 2, strict=True)
        )
        return Crop(tuple(numbers), self.text)


def parse_crop(text: str) -> Crop:
    """Parse the value of ``--crop``, such as ``100,200,640,480`` or ``0,50%,100%,50%``.

    Raises:
        UsageError: it is not valid.
    """
    matches = [re.fullmatch(r"\s*(\d{1,9}(?:\.\d{1,9})?)\s*(%?)\s*", part, re.ASCII) for part in text.split(",")]
    numbers = tuple((float(match[1]), bool(match[2])) for match in matches if match)
    hint = "Write left, top, width and height in pixels or percent, such as 100,200,640,480 or 0,50%,100%,50%."
    if len(matches) != 4 or len(numbers) != 4:
        raise UsageError(f"invalid value for --crop: {text}", hint=hint)
    if any(value == 0 for value, _ in numbers[2:]):
        raise UsageError(f"invalid value for --crop: {text} is empty", hint=hint)
    for start, length in zip(numbers[:2], numbers[2:], strict=True):
        if max((value for value, is_percent in (start, length) if is_percent), default=0) > 100 or (
            start[1] and length[1] and start[0] + length[0] > 100
        ):
            raise UsageError(f"invalid value for --crop: {text} reaches beyond 100 %", hint=hint)
    return Crop(numbers, text)
