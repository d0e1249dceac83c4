"""Join the texts of overlapping tiles, so that no line is there twice and none is missing. Pure."""

import unicodedata
from collections.abc import Sequence
from difflib import SequenceMatcher

from ..frozen import frozen

#: What the ``ocr`` preset answers for an image without text.
_NO_TEXT = "[no text]"
#: How similar two readings of one line are at least, and those of several on average.
_MIN_LINE, _MIN_MEAN = 0.6, 0.75
#: Lines that are compared, as a multiple of those that are expected, and in addition.
_REACH_FACTOR, _REACH = 2, 3
#: How similar the reading of a line that was cut off is to the whole line.
_MIN_CUT = 0.3


def join_tiles(texts: Sequence[str], repeated_lines: Sequence[int | None]) -> str:
    """Join the texts of tiles in order.

    Args:
        repeated_lines: for each tile, about how many lines at its start are at the end of the tile before it too; ``None`` if
            the tiles lie side by side.
    """
    result: list[str] = []
    for text, repeated in zip(texts, repeated_lines, strict=True):
        lines = _split(text)
        if result and lines:
            if repeated:
                result, lines = _cut_overlap(result, lines, repeated)
            elif repeated is None:
                result.append("")
        result += lines
    return "\n".join(result)


def _split(text: str) -> list[str]:
    """The lines of an answer, without empty ones at its start and end."""
    return [] if text.strip() == _NO_TEXT else text.strip("\r\n").splitlines()


@frozen
class _Match:
    """The lines that two texts share, by their positions, and a line on each side that may be cut off.

    Attributes:
        above_end: the end of the shared lines in the upper text; after them at most one line follows.
        below_start: where they begin in the lower text, after at most one line.
        below_end: their end there.
        is_above_cut: the line after them in the upper text is a part of the next line of the lower one.
        is_below_cut: the line before them in the lower text is a part of the one before them in the upper text.
    """

    above_end: int
    below_start: int
    below_end: int
    is_above_cut: bool
    is_below_cut: bool


def _cut_overlap(above: list[str], below: list[str], expected: int) -> tuple[list[str], list[str]]:
    """Leave out what both have, and the part of a line that was cut off."""
    above_rows = [row for row, line in enumerate(above) if line.strip()]
    below_rows = [row for row, line in enumerate(below) if line.strip()]
    reach = _REACH_FACTOR * expected + _REACH + 1
    above_rows, below_rows = above_rows[-reach:], below_rows[:reach]
    match = _find_match(
        [_normalize(above[row]) for row in above_rows], [_normalize(below[row]) for row in below_rows], expected
    )
    if match is None:
        return above, below
    count = match.below_end - match.below_start
    # The edges of a tile may be cut: the lower reading is better for the last shared lines.
    from_above = (count + 1) // 2
    last_above, last_below = above[above_rows[match.above_end - 1]], below[below_rows[match.below_end - 1]]
    if count == 1 and len(_normalize(last_below)) > len(_normalize(last_above)):
        from_above = 0
    if not match.is_above_cut:
        from_above = count
    kept = [] if match.is_below_cut else [below[row] for row in below_rows[: match.below_start]]
    start = match.above_end - count + from_above
    upper = above[: above_rows[start - 1] + 1] if start else above[: above_rows[0]]
    if not match.is_above_cut:
        upper = above
    at = match.below_start + from_above
    return upper, kept + (below[below_rows[at - 1] + 1 :] if at else below)


def _find_match(above: list[str], below: list[str], expected: int) -> _Match | None:
    """Find the shared lines: those that fit best, and among repetitions of one line as many as are expected."""
    candidates: list[tuple[float, _Match]] = []
    for end in range(max(1, len(above) - 1), len(above) + 1):
        for start in range(min(2, len(below))):
            for count in range(1, min(end, len(below) - start) + 1):
                pairs = zip(above[end - count : end], below[start : start + count], strict=True)
                ratios = [_compare(*pair) for pair in pairs]
                match = _check_edges(above, below, end, start, count)
                if match and min(ratios) >= _MIN_LINE and sum(ratios) >= _MIN_MEAN * count:
                    skipped = len(above) - end + start
                    score = sum(ratios) / count - 0.02 * abs(count - expected) - 0.1 * skipped
                    candidates.append((score, match))
    return max(candidates, key=lambda entry: entry[0])[1] if candidates else None


def _check_edges(above: list[str], below: list[str], end: int, start: int, count: int) -> _Match | None:
    """Check what is left of each text at the cut: a part of the same line of the other text, or else it is kept.

    ``None`` if it is something else, and a single shared line does not suffice as evidence.
    """
    before, after = end - count - 1, start + count
    is_above_cut = end == len(above) or (after < len(below) and _compare(above[end], below[after]) >= _MIN_CUT)
    is_below_cut = start == 0 or (before >= 0 and _compare(below[0], above[before]) >= _MIN_CUT)
    if count == 1 and not (is_above_cut and is_below_cut):
        return None
    return _Match(end, start, start + count, is_above_cut, is_below_cut)


def _normalize(line: str) -> str:
    """A line without what readings differ in most."""
    text = unicodedata.normalize("NFKC", line).casefold()
    return "".join(character for character in text if character.isalnum()) or "".join(text.split())


def _compare(one: str, other: str) -> float:
    """How similar two lines are, from 0 to 1."""
    if one == other:
        return 1.0
    matcher = SequenceMatcher(None, one, other, autojunk=False)
    return matcher.ratio() if matcher.quick_ratio() >= _MIN_CUT else 0.0
