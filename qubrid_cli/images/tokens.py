"""Image sizes: how many tokens an image costs, and in which size it is sent.

Source: ``smart_resize`` in Qwen's ``qwen-vl-utils`` and the image processors of Qwen2-VL to Qwen3.5; for other models see
``token_rules``.
"""

import functools
import math
import re
from collections.abc import Iterable
from dataclasses import replace

from ..frozen import frozen

#: The longer side divided by the shorter one; Model Studio, Qwen's own host, refuses longer shapes.
MAX_RATIO = 200

#: The factor by which resizing may change an aspect ratio; rounding to multiples of 32 changes that of most images by 3 %.
MAX_SHAPE_CHANGE = 1.1

#: The start and the end marker around each image.
_MARKER_TOKENS = 2

#: A rule of thumb of vendors, for English text.
CHARACTERS_PER_TOKEN = 4


@frozen
class ModelFamily:
    """How a family of models divides images into tokens; ``factor`` is the side of the square that becomes one token.

    Attributes:
        max_pixels: the limit of Model Studio, Qwen's own host.
        open_max_pixels: the limit of the processor that comes with the open model, which other hosts may use.
    """

    factor: int
    min_pixels: int
    max_pixels: int
    open_max_pixels: int


QWEN3 = ModelFamily(factor=32, min_pixels=65_536, max_pixels=2_621_440, open_max_pixels=16_777_216)
QWEN2 = ModelFamily(factor=28, min_pixels=3_136, max_pixels=1_003_520, open_max_pixels=12_845_056)


@functools.lru_cache(maxsize=64)
def find_family(model: str) -> ModelFamily | None:
    """The family of a model by its name; ``None`` if it is not a Qwen family listed here."""
    if re.search(r"qwen-?2([._p-]?5)?[-_]?vl", model, re.IGNORECASE):
        return QWEN2
    if re.search(r"qwen-?3(-?vl|\.5)", model, re.IGNORECASE):
        return QWEN3
    return None


def find_view(model: str) -> tuple[int | None, int | None]:
    """The most pixels of an image that a model looks at, and the length of its longer side; ``None`` where unknown."""
    family = find_family(model)
    if family is not None:
        return family.max_pixels, None
    from . import token_rules

    return token_rules.find_view(model)


def find_viewed_size(width: int, height: int, model: str, *, is_large: bool = False) -> tuple[int, int]:
    """The size in which a model looks at an image that is sent in this size; its coordinates refer to it.

    Args:
        is_large: the host uses ``open_max_pixels``.
    """
    family = find_family(model)
    if family is not None:
        family = replace(family, max_pixels=family.open_max_pixels) if is_large else family
        return smart_resize(width, height, family)
    from . import token_rules

    return token_rules.find_viewed_size(width, height, model)


def smart_resize(width: int, height: int, family: ModelFamily) -> tuple[int, int]:
    """The width and height, in pixels, to which the model's own processor resizes an image."""
    factor = family.factor
    # round() rounds halves to even, as in the original.
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


@functools.lru_cache(maxsize=1024)  # the images of a batch often have the same size
def estimate(width: int, height: int, model: str, detail: str | None = None) -> int | None:
    """The prompt tokens of an image of this size, by the rule that the model's maker publishes; ``None`` without one.

    The result is also ``None`` where editions of a rule contradict each other: a wrong number is worse than none.

    Args:
        detail: ``low``, ``high`` or ``auto``; OpenAI's models treat ``None`` like ``auto``.
    """
    family = find_family(model)
    if family is not None:
        wide, high = smart_resize(width, height, family)
        return (wide // family.factor) * (high // family.factor) + _MARKER_TOKENS
    from . import token_rules  # most runs need only the rule above

    return token_rules.estimate(width, height, model, detail)


def estimate_prompt(
    model: str, image_sizes: Iterable[tuple[int, int] | None], texts: Iterable[str], *, detail: str | None = None
) -> int | None:
    """Estimate the prompt tokens of a whole request; ``None`` if one of its images cannot be estimated.

    Args:
        image_sizes: width and height in pixels; ``None`` for an image of unknown size, such as a link.
    """
    total = 0
    for size in image_sizes:
        tokens = None if size is None else estimate(*size, model, detail)
        if tokens is None:
            return None
        total += tokens
    return total + estimate_texts(texts)


def estimate_texts(texts: Iterable[str]) -> int:
    """Estimate the tokens of texts."""
    return sum(math.ceil(len(text) / CHARACTERS_PER_TOKEN) for text in texts)


def shrink_size(width: int, height: int, *, max_pixels: int | None, max_side: int | None) -> tuple[int, int]:
    """The size to send: unchanged if it is within the limits, else smaller, with both sides multiples of 32.

    Qwen3-VL resizes to multiples of 32, so it does not resample such an image again. A side under 32 is not enlarged.
    """
    scale = 1.0
    if max_pixels is not None:
        scale = min(scale, math.sqrt(max_pixels / (width * height)))
    if max_side is not None:
        scale = min(scale, max_side / max(width, height))
    if scale >= 1:
        return width, height
    wide, high = _align_side(width, scale), _align_side(height, scale)
    # If one side could not go below 32, the other one must be shorter.
    if max_pixels is not None and wide * high > max_pixels:
        if wide < high:
            high = _align_side(max_pixels // wide, 1.0)
        else:
            wide = _align_side(max_pixels // high, 1.0)
    if measure_shape_change(width, height, wide, high) > MAX_SHAPE_CHANGE:
        # Steps of 32 are large for the shorter side of a long shape; shorten the longer side too if that helps.
        if width > height:
            shorter = min(wide, _align_side(width, high / height)), high
        else:
            shorter = wide, min(high, _align_side(height, wide / width))
        wide, high = min((wide, high), shorter, key=lambda size: measure_shape_change(width, height, *size))
    return min(wide, MAX_RATIO * high), min(high, MAX_RATIO * wide)


def is_halved(size: tuple[int, int], target: tuple[int, int]) -> bool:
    """Whether an image loses more than half of its pixels."""
    return 2 * target[0] * target[1] < size[0] * size[1]


def measure_shape_change(width: int, height: int, wide: int, high: int) -> float:
    """The factor by which the aspect ratio changes, at least 1."""
    change = (wide * height) / (high * width)
    return max(change, 1 / change)


def _align_side(side: int, scale: float) -> int:
    factor = QWEN3.factor
    # 1e-9 compensates for rounding: 3000 * (1024 / 3000) may be slightly less than 1024.
    return min(side, max(factor, math.floor(side * scale / factor + 1e-9) * factor))
