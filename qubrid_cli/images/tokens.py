"""Qwen's arithmetic: what a vision model makes of an image's size, and which size to send.

Source: ``smart_resize`` in Qwen's ``qwen-vl-utils`` and the image processors of Qwen2-VL to Qwen3.5.
"""

import math
import re
from collections.abc import Iterable

from ..frozen import frozen

#: Longer to shorter side; Model Studio, Qwen's own host, refuses longer shapes.
MAX_RATIO = 200

#: Between the shape of an image and that of what is sent, where it can be helped.
_MAX_SHAPE_CHANGE = 1.1

#: Each image is wrapped in a start and an end marker.
_MARKER_TOKENS = 2

#: Of English text, as vendors put it.
CHARACTERS_PER_TOKEN = 4


@frozen
class ModelFamily:
    """How one family of models cuts images up: ``factor`` is the side of the square that becomes one token."""

    factor: int
    min_pixels: int
    max_pixels: int


#: Limits are those of Model Studio, Qwen's own host; whoever runs the open models may have set higher ones.
QWEN3 = ModelFamily(factor=32, min_pixels=65_536, max_pixels=2_621_440)
QWEN2 = ModelFamily(factor=28, min_pixels=3_136, max_pixels=1_003_520)


def find_family(model: str) -> ModelFamily | None:
    """The family of a model by its name; ``None`` where we do not know how it counts."""
    if re.search(r"qwen-?2(\.5)?-?vl", model, re.IGNORECASE):
        return QWEN2
    if re.search(r"qwen-?3(-?vl|\.5)", model, re.IGNORECASE):
        return QWEN3
    return None


def smart_resize(width: int, height: int, family: ModelFamily) -> tuple[int, int]:
    """The width and height, in pixels, to which the model's own processor brings an image."""
    factor = family.factor
    # Halves go to the even neighbour, as Python's round() does and the original relies on.
    wide = max(factor, round(width / factor) * factor)
    high = max(factor, round(height / factor) * factor)
    if wide * high > family.max_pixels:
        beta = math.sqrt(width * height / family.max_pixels)
        wide = max(factor, math.floor(width / beta / factor) * factor)
        high = max(factor, math.floor(height / beta / factor) * factor)
    elif wide * high < family.min_pixels:
        beta = math.sqrt(family.min_pixels / (width * height))
        wide = math.ceil(width * beta / factor) * factor
        high = math.ceil(height * beta / factor) * factor
    return wide, high


def estimate(width: int, height: int, model: str) -> int | None:
    """How many prompt tokens an image of this size costs, markers included; ``None`` for an unknown family."""
    of = find_family(model)
    if of is None:
        return None
    wide, high = smart_resize(width, height, of)
    return (wide // of.factor) * (high // of.factor) + _MARKER_TOKENS


def estimate_prompt(
    model: str,
    image_sizes: Iterable[tuple[int, int] | None],
    texts: Iterable[str],
    *,
    tokens_per_unknown_image: int | None = None,
) -> int | None:
    """Estimate the prompt tokens of a whole request; ``None`` if one of its images cannot be estimated.

    Args:
        image_sizes: width and height in pixels; ``None`` for an image of unknown size, such as a link.
        tokens_per_unknown_image: counted for an image that cannot be estimated.
    """
    total = 0
    for size in image_sizes:
        tokens = None if size is None else estimate(*size, model)
        if tokens is None:
            tokens = tokens_per_unknown_image
        if tokens is None:
            return None
        total += tokens
    return total + sum(math.ceil(len(text) / CHARACTERS_PER_TOKEN) for text in texts)


def shrink_size(width: int, height: int, *, max_pixels: int | None, max_side: int | None) -> tuple[int, int]:
    """The size to send: the given one where it fits, else a smaller one with both sides multiples of 32.

    Multiples of 32 are what Qwen3-VL resizes to itself, so that it need not resample once more. A side that was
    shorter than 32 from the start is not enlarged to it.
    """
    scale = 1.0
    if max_pixels is not None:
        scale = min(scale, math.sqrt(max_pixels / (width * height)))
    if max_side is not None:
        scale = min(scale, max_side / max(width, height))
    if scale >= 1:
        return width, height
    wide, high = _align_side(width, scale), _align_side(height, scale)
    # A side that was held up at 32 is paid for by the other one.
    if max_pixels is not None and wide * high > max_pixels:
        if wide < high:
            high = _align_side(max_pixels // wide, 1.0)
        else:
            wide = _align_side(max_pixels // high, 1.0)
    if _measure_shape_change(width, height, wide, high) > _MAX_SHAPE_CHANGE:
        # Of a long shape the shorter side loses much by whole steps of 32; the longer one follows it where that helps.
        follows_width, follows_height = _align_side(width, high / height), _align_side(height, wide / width)
        shorter = (min(wide, follows_width), high) if width > height else (wide, min(high, follows_height))
        wide, high = min((wide, high), shorter, key=lambda size: _measure_shape_change(width, height, *size))
    return min(wide, MAX_RATIO * high), min(high, MAX_RATIO * wide)


def _measure_shape_change(width: int, height: int, wide: int, high: int) -> float:
    """By how much a shape is changed, 1 for not at all."""
    change = (wide * height) / (high * width)
    return max(change, 1 / change)


def _align_side(side: int, scale: float) -> int:
    factor = QWEN3.factor
    # The small addend undoes rounding: 3000 * (1024 / 3000) may come out a hair under 1024.
    return min(side, max(factor, math.floor(side * scale / factor + 1e-9) * factor))
