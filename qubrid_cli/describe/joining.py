"""Join the texts of overlapping tiles, without repeating or losing a line. Pure."""

import unicodedata
from collections.abc import Sequence
from difflib import SequenceMatcher

from ..frozen import frozen

#: The answer to the ``ocr`` preset for an image without text.
_NO_TEXT = "[no text]"
#: The lowest similarity of two readings of a line, and the lowest mean for several lines.
_MIN_LINE, _MIN_MEAN = 0.6, 0.75
#: The lines of each text that are compared: so many times the expected shared lines, and so many more.
_REACH_FACTOR, _EXTRA_REACH = 2, 4
#: The lowest similarity of a line that was cut off to the whole line.
_MIN_CUT = 0.3


def join_tiles(texts: Sequence[str], repeated_lines: Sequence[int | None]) -> str:
    """Join the texts of tiles in order.

    Args:
        repeated_lines: for each tile, about how many lines at its start repeat the end of the previous tile; ``None`` if the
            tiles lie side by side.
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
        above_end: the end of the shared lines in the upper text; at most one line follows.
        below_start: their start in the lower text; at most one line precedes it.
        below_end: their end in the lower text.
        is_above_cut: the upper text has no line after them, or only a part of the next line of the lower text.
        is_below_cut: the lower text has no line before them, or only a part of the previous line of the upper text.
    """

    above_end: int
    below_start: int
    below_end: int
    is_above_cut: bool
    is_below_cut: bool


def _cut_overlap(above: list[str], below: list[str], expected: int) -> tuple[list[str], list[str]]:
    """Keep the shared lines only once, and drop a part of a line that was cut off."""
    above_rows = [row for row, line in enumerate(above) if line.strip()]
    below_rows = [row for row, line in enumerate(below) if line.strip()]
    reach = _REACH_FACTOR * expected + _EXTRA_REACH
    above_rows, below_rows = above_rows[-reach:], below_rows[:reach]
    match = _find_match(
        [_normalize(above[row]) for row in above_rows], [_normalize(below[row]) for row in below_rows], expected
    )
    if match is None:
        return above, below
    count = match.below_end - match.below_start
    if match.is_above_cut:
        # The edge of a tile may cut a line, so the last shared lines are taken from the lower text.
        from_above = (count + 1) // 2
        last_above, last_below = above[above_rows[match.above_end - 1]], below[below_rows[match.below_end - 1]]
        if count == 1 and len(_normalize(last_below)) > len(_normalize(last_above)):
            from_above = 0
        start = match.above_end - count + from_above
        above = above[: above_rows[start - 1] + 1] if start else above[: above_rows[0]]
    else:
        from_above = count
    lines_before = [] if match.is_below_cut else [below[row] for row in below_rows[: match.below_start]]
    position = match.below_start + from_above
    return above, lines_before + (below[below_rows[position - 1] + 1 :] if position else below)


def _find_match(above: list[str], below: list[str], expected: int) -> _Match | None:
    """Find the shared lines: those that fit best; if one line is repeated, about as many as expected."""
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
    """Build the match, and find out whether the line beyond it on each side is a part of a line of the other text.

    ``None`` if only one line is shared, and a line beyond it is not such a part: that is too little evidence.
    """
    before, after = end - count - 1, start + count
    is_above_cut = end == len(above) or (after < len(below) and _compare(above[end], below[after]) >= _MIN_CUT)
    is_below_cut = start == 0 or (before >= 0 and _compare(below[0], above[before]) >= _MIN_CUT)
    if count == 1 and not (is_above_cut and is_below_cut):
        return None
    return _Match(end, start, start + count, is_above_cut, is_below_cut)


def _normalize(line: str) -> str:
    """Reduce a line to its letters and digits, because readings differ most in the rest."""
    text = unicodedata.normalize("NFKC", line).casefold()
    return "".join(character for character in text if character.isalnum()) or "".join(text.split())


def _compare(first: str, second: str) -> float:
    """How similar two lines are, from 0 to 1."""
    if first == second:
        return 1.0
    matcher = SequenceMatcher(None, first, second, autojunk=False)
    return matcher.ratio() if matcher.quick_ratio() >= _MIN_CUT else 0.0
