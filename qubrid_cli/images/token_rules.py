"""How the models of OpenAI, Anthropic and Google count an image; loaded only for models that are not Qwen's.

Only models that a rule names exactly are estimated: a new one of the same maker may count differently.
"""

import functools
import math
import re
from collections.abc import Callable

from ..frozen import frozen

#: A name, perhaps with the maker or host before it, and a date, ``latest``, ``preview`` or a variant after it.
_NAME_PATTERN = r"(?:.*[/~])?([^/~]*?)(?:-\d{4}-?\d{2}-?\d{2}|-latest|-preview)?(?::[a-z]+)?"

#: The side of a patch, and of a tile, in pixels.
_OPENAI_PATCH, _CLAUDE_PATCH, _OPENAI_TILE = 32, 28, 512
#: Pixels: images are first shrunk to fit in a square, then until the shorter side fits.
_TILED_SQUARE, _TILED_SHORT_SIDE = 2048, 768
#: Tokens of an image with Gemini 3 and later at the default resolution; with Gemini 1.5 to 2.5, of a tile.
_GEMINI_IMAGE_TOKENS, _GEMINI_TILE_TOKENS = 1120, 258
#: Pixels; an image whose sides are not longer is one tile.
_GEMINI_SMALL_SIDE = 384


@frozen
class TileRule:
    """OpenAI's older models: a base, and a number of tokens for each tile of 512 × 512 pixels after shrinking."""

    base: int
    tile: int


@frozen
class PatchRule:
    """OpenAI's newer models: patches of 32 × 32 pixels times a multiplier.

    Attributes:
        max_patches: larger images are shrunk, and not estimated; the lowest number where the editions of the guide differ.
        has_small_low: with ``low`` detail, an image is shrunk to fit in 512 × 512 pixels.
    """

    multiplier: float
    max_patches: int
    has_small_low: bool = False


#: Source: OpenAI, "Images and vision", sections "Calculating costs" and "Model sizing behavior" (November 2026). GPT-5 mini
#: and nano and GPT-5.4 mini and nano are missing: the editions of 2025 and 2026 give them different multipliers.
_OPENAI_RULES: dict[str, TileRule | PatchRule] = {
    **dict.fromkeys(("gpt-4o", "chatgpt-4o", "gpt-4-turbo", "gpt-4-vision", "gpt-4.1", "gpt-4.5"), TileRule(85, 170)),
    "gpt-4o-mini": TileRule(2833, 5667),
    **dict.fromkeys(("gpt-5", "gpt-5-chat", "gpt-5.1"), TileRule(70, 140)),
    **dict.fromkeys(("o1", "o1-pro", "o3", "o3-pro"), TileRule(75, 150)),
    "gpt-4.1-mini": PatchRule(1.62, 1536),
    "gpt-4.1-nano": PatchRule(2.46, 1536),
    "o4-mini": PatchRule(1.72, 1536),
    "gpt-5.2": PatchRule(1.2, 1536),
    "gpt-5.4": PatchRule(1.2, 2500),
    "gpt-5.5": PatchRule(1.2, 10_000, has_small_low=True),
    **dict.fromkeys(
        ("gpt-5.6-sol", "gpt-5.6-terra", "gpt-5.6-luna", "gpt-6-astra", "gpt-6-sol", "gpt-6-luna"),
        PatchRule(1.2, 30_000, has_small_low=True),
    ),
}


@frozen
class ClaudeLimits:
    """The limits to which an image is shrunk: pixels of the longer side, and tokens."""

    side: int
    tokens: int


_CLAUDE_STANDARD, _CLAUDE_HIGH = ClaudeLimits(1568, 1568), ClaudeLimits(2576, 4784)
#: The first version that sees images at the higher resolution.
_FIRST_HIGH_VERSION = (4, 7)


def estimate(width: int, height: int, model: str, detail: str | None) -> int | None:
    """The tokens of an image; ``None`` for a model without a rule. Arguments as in ``tokens.estimate``."""
    match _find_rule(model.lower()):
        case TileRule() as rule:
            return _count_tiled(width, height, rule, detail)
        case PatchRule() as rule:
            return _count_patched(width, height, rule, detail)
        case ClaudeLimits() as limits:
            return _count_claude(width, height, limits)
    return _estimate_gemini(width, height, model.lower(), detail)


def find_view(model: str) -> tuple[int | None, int | None]:
    """The most pixels of an image that a model looks at, and the length of its longer side; see ``tokens.find_view``."""
    match _find_rule(model.lower()):
        case ClaudeLimits() as limits:
            return limits.tokens * _CLAUDE_PATCH**2, limits.side
        case TileRule():
            return _TILED_SQUARE * _TILED_SHORT_SIDE, _TILED_SQUARE
        case PatchRule() as rule:
            return rule.max_patches * _OPENAI_PATCH**2, _TILED_SQUARE
    return None, None


def find_viewed_size(width: int, height: int, model: str) -> tuple[int, int]:
    """The size in which a model looks at an image; unchanged for a model without a rule."""
    limits = _find_claude_limits(model.lower())
    return (width, height) if limits is None else _resize_for_claude(width, height, limits)


@functools.cache
def _find_rule(model: str) -> TileRule | PatchRule | ClaudeLimits | None:
    match = re.fullmatch(_NAME_PATTERN, model)
    rule = None if match is None else _OPENAI_RULES.get(match[1])
    return rule or _find_claude_limits(model)


def _count_tiled(width: int, height: int, rule: TileRule, detail: str | None) -> int:
    """Source: the guide, "GPT-4o, GPT-4.1, GPT-4o-mini, CUA, and o-series": 1024 × 1024 pixels cost GPT-4o 765 tokens."""
    if detail == "low":
        return rule.base
    wide, high = _fit(width, height, _TILED_SQUARE)
    scale = min(1.0, _TILED_SHORT_SIDE / min(wide, high))
    wide, high = int(wide * scale), int(high * scale)
    return rule.base + rule.tile * math.ceil(wide / _OPENAI_TILE) * math.ceil(high / _OPENAI_TILE)


def _count_patched(width: int, height: int, rule: PatchRule, detail: str | None) -> int | None:
    """Source: the guide, "Patch-based image tokenization": 1024 × 1024 pixels are 1024 patches."""
    if detail == "low":
        if not rule.has_small_low:
            return None
        width, height = _fit(width, height, _OPENAI_TILE)
    elif detail == "high" and rule.has_small_low:
        return None  # the documented and the billed numbers differ
    patches = math.ceil(width / _OPENAI_PATCH) * math.ceil(height / _OPENAI_PATCH)
    is_shrunk = patches > rule.max_patches or max(width, height) > _TILED_SQUARE
    return None if is_shrunk else math.ceil(round(patches * rule.multiplier, 6))


def _fit(width: int, height: int, side: int) -> tuple[int, int]:
    """The size after shrinking to fit in a square."""
    scale = min(1.0, side / max(width, height))
    return max(1, round(width * scale)), max(1, round(height * scale))


def _find_claude_limits(model: str) -> ClaudeLimits | None:
    """The limits of a Claude model that sees images, from version 3 on; ``None`` for one without a version."""
    match = re.search(r"claude-(?:[a-z]+-)?(\d{1,2})(?:[.-](\d{1,2})(?!\d))?(?!\d)", model)
    if match is None or int(match[1]) < 3:
        return None
    return _CLAUDE_HIGH if (int(match[1]), int(match[2] or 0)) >= _FIRST_HIGH_VERSION else _CLAUDE_STANDARD


def _count_claude(width: int, height: int, limits: ClaudeLimits) -> int:
    """Count patches of 28 × 28 pixels, about width × height / 750, of the largest size within the limits."""
    return _count_patches(*_resize_for_claude(width, height, limits))


def _count_patches(width: int, height: int) -> int:
    return math.ceil(width / _CLAUDE_PATCH) * math.ceil(height / _CLAUDE_PATCH)


def _resize_for_claude(width: int, height: int, limits: ClaudeLimits) -> tuple[int, int]:
    """The largest size within the limits.

    Source: Anthropic, "Vision", section "Resolution and token cost", and the code in "Coordinates and bounding boxes".
    """
    ratio = max(width, height) / min(width, height)

    def get_size(side: int) -> tuple[int, int]:
        short = max(1, round(side / ratio))
        return (side, short) if width >= height else (short, side)

    def fits(side: int) -> bool:
        return (
            math.ceil(side / _CLAUDE_PATCH) * _CLAUDE_PATCH <= limits.side
            and _count_patches(*get_size(side)) <= limits.tokens
        )

    return get_size(_find_largest(max(width, height), fits))


def _find_largest(highest: int, fits: Callable[[int], bool]) -> int:
    """The largest number from 1 on that fits, by bisection; 1 fits."""
    if fits(highest):
        return highest
    low, high = 1, highest
    while low + 1 < high:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return low


def _estimate_gemini(width: int, height: int, model: str, detail: str | None) -> int | None:
    """The tokens of an image for a Gemini model with a version.

    Source: Google, "Image understanding", section "Token calculation" (960 × 540 pixels are 6 tiles), and "Media
    resolution": 1,120 tokens at most at the default resolution of Gemini 3.
    """
    match = re.search(r"gemini-(\d+)(?:\.\d+)?-(?:pro|flash|ultra|carbon|argon)", model)
    if match is None or "image" in model:
        return None
    if int(match[1]) >= 3:
        return _GEMINI_IMAGE_TOKENS if detail in {None, "auto"} else None
    if max(width, height) <= _GEMINI_SMALL_SIDE:
        return _GEMINI_TILE_TOKENS
    unit = max(1, int(min(width, height) / 1.5))
    return _GEMINI_TILE_TOKENS * math.ceil(width / unit) * math.ceil(height / unit)
