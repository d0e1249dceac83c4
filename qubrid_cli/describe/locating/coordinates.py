"""Convert the numbers of a model to pixels of the upright original. Pure.

The program knows the size of the upright original, which part of it was sent, and in which size. So it can convert each
number, even if the image was rotated, cropped, shrunk or stretched.
"""

import json
import math
from collections.abc import Iterator, Sequence

from ...frozen import frozen
from ...images import tokens
from ...images.detections.detection import Detection
from ...images.prepare import PreparedImage
from ...images.tiles.choice import Box
from ...text import shorten
from .families import DEFAULT, Coordinates, Family
from .parsing import Mention

#: How far a box may reach beyond the image, as a share of its side; models often miss the edge by a little.
_TOLERANCE = 0.02
#: Characters of a label, and of the numbers, that a message quotes.
_MAX_QUOTED_LABEL, _MAX_QUOTED_NUMBERS = 40, 80
#: The number that stands for the whole width or height.
_SCALES = {Coordinates.RELATIVE_1000: 1000.0, Coordinates.RELATIVE_1000_YX: 1000.0, Coordinates.PERCENT: 100.0}


@frozen
class Picture:
    """The image as a model sees it.

    Attributes:
        part: the part of the upright original that was sent, in pixels of the original.
        view: width and height in which the model sees it, after its own resizing.
        large_view: the same for a server that allows the largest size of the model.
    """

    part: Box
    view: tuple[int, int]
    large_view: tuple[int, int]


def build_picture(image: PreparedImage, model: str) -> Picture:
    """The picture that a model sees of an image, of which the whole or one part is sent."""
    upload = image.upload
    part = upload.box or (0, 0, image.width, image.height)
    size = upload.width, upload.height
    return Picture(part, tokens.find_viewed_size(*size, model), tokens.find_viewed_size(*size, model, is_large=True))


@frozen
class Reading:
    """The detections in an answer.

    Attributes:
        problems: why mentions cannot be used.
        notes: how the numbers were interpreted, if that is not certain.
        suggestion: a form in which the unusable numbers would make sense.
    """

    detections: tuple[Detection, ...]
    problems: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    suggestion: Coordinates | None = None


def convert(mentions: Sequence[Mention], picture: Picture, family: Family, coordinates: Coordinates | None) -> Reading:
    """Convert mentions to detections in the upright original.

    Args:
        coordinates: the form of the numbers, if the user has chosen one.
    """
    form, note = _choose_form(mentions, picture, family, coordinates)
    view, view_note = _choose_view(mentions, picture, form)
    detections: list[Detection] = []
    problems: list[str] = []
    for number, mention in enumerate(mentions, 1):
        scales = view if form is Coordinates.PIXELS else (_SCALES.get(form, 1.0),) * 2
        fractions = _scale(mention, form, scales)
        if problem := _find_problem(mention, fractions, form):
            numbers = f": {_format_numbers(mention.numbers)}" if mention.numbers else ""
            problems.append(f"{_name(mention, number)} {problem}{numbers}")
        else:
            detections.append(_place(mention, fractions, picture.part))
    notes = tuple(text for text in (note, view_note) if text) if detections else ()
    suggestion = _suggest(mentions, picture, form) if problems and not detections else None
    return Reading(tuple(dict.fromkeys(detections)), tuple(problems), notes, suggestion)


def _choose_form(
    mentions: Sequence[Mention], picture: Picture, family: Family, coordinates: Coordinates | None
) -> tuple[Coordinates, str | None]:
    """The form of the numbers, and a note if it is a guess."""
    if form := coordinates or family.coordinates:
        return form, None
    form, reason = DEFAULT, "as requested"
    if mentions and {mention.key.lower() for mention in mentions} == {"box_2d"}:
        form, reason = Coordinates.RELATIVE_1000_YX, "because they are named box_2d, as Gemini does"
    if _are_fractions(mentions):
        form, reason = Coordinates.FRACTIONS, "because none is above 1"
    elif not _fit(mentions, form, (1000.0, 1000.0)) and _fit(mentions, Coordinates.PIXELS, picture.view):
        form, reason = Coordinates.PIXELS, "because some are above 1000"
    note = (
        f"the form of this model's coordinates is unknown; they were read as {form}, {reason} (--coordinates sets it)"
    )
    return form, note


def _are_fractions(mentions: Sequence[Mention]) -> bool:
    """Whether all numbers are at most 1, and are not just points in a corner, with the coordinates 0 and 1."""
    numbers = [number for mention in mentions for number in mention.numbers if math.isfinite(number)]
    has_boxes = any(len(mention.numbers) == 4 for mention in mentions)
    return max(numbers, default=2) <= 1 and (has_boxes or not all(map(float.is_integer, numbers)))


def _fit(mentions: Sequence[Mention], form: Coordinates, scales: tuple[float, float]) -> bool:
    """Whether all places are inside the image if the numbers have this form."""
    return all(_is_inside(_scale(mention, form, scales)) for mention in mentions)


def _choose_view(
    mentions: Sequence[Mention], picture: Picture, form: Coordinates
) -> tuple[tuple[int, int], str | None]:
    """The size of the image in which the model counts pixels, and a note if it depends on the server."""
    if form is not Coordinates.PIXELS or picture.view == picture.large_view:
        return picture.view, None
    is_larger = not _fit(mentions, form, picture.view) and _fit(mentions, form, picture.large_view)
    view = picture.large_view if is_larger else picture.view
    size = f"{view[0]} × {view[1]}"
    return view, f"the model may see this image in a size other than {size}; a lower --max-pixels avoids this"


def _scale(mention: Mention, form: Coordinates, scales: tuple[float, float]) -> tuple[float, ...]:
    """The numbers as fractions of the width and the height, in the order x, y."""
    numbers = mention.numbers
    if form is Coordinates.RELATIVE_1000_YX and not mention.is_named and len(numbers) in {2, 4}:
        numbers = tuple(numbers[index ^ 1] for index in range(len(numbers)))  # y, x become x, y
    return tuple(number / scales[index % 2] for index, number in enumerate(numbers))


def _find_problem(mention: Mention, fractions: Sequence[float], form: Coordinates) -> str | None:
    """Why the place of a mention cannot be right; ``None`` if it can."""
    if not fractions:
        return "has no coordinates that can be read"
    if len(fractions) not in {2, 4}:
        return f"has {len(fractions)} numbers instead of 4"
    if not all(map(math.isfinite, fractions)):
        return "has a coordinate that is not a number"
    if form is not Coordinates.FRACTIONS and _are_fractions([mention]):
        return f"has no coordinate above 1, although {form} is expected"
    if not _is_inside(fractions):
        return "reaches beyond the image"
    if len(fractions) == 2:
        return None
    left, top, right, bottom = fractions
    if right < left or bottom < top:
        return "is inverted"
    if left == right or top == bottom:
        return "is empty"
    return "is outside the image" if min(right, bottom) <= 0 or max(left, top) >= 1 else None


def _is_inside(fractions: Sequence[float]) -> bool:
    return all(-_TOLERANCE <= fraction <= 1 + _TOLERANCE for fraction in fractions)


def _place(mention: Mention, fractions: Sequence[float], part: Box) -> Detection:
    """The detection in pixels of the upright original; ``part`` is the part of it that was sent."""
    start, size = part[:2], part[2:]
    exact = [min(1.0, max(0.0, fraction)) * size[index % 2] for index, fraction in enumerate(fractions)]
    label = " ".join(mention.label.split())
    if len(exact) == 2:
        x, y = (start[axis] + min(int(exact[axis]), size[axis] - 1) for axis in (0, 1))
        return Detection(label, point=(x, y), score=mention.score)
    edges = list(map(round, exact))
    for axis in (0, 1):
        if edges[axis] == edges[axis + 2]:  # less than a pixel
            edges[axis] = min(int(exact[axis]), size[axis] - 1)
            edges[axis + 2] = edges[axis] + 1
    left, top, right, bottom = (start[index % 2] + edge for index, edge in enumerate(edges))
    return Detection(label, (left, top, right, bottom), score=mention.score)


def _suggest(mentions: Sequence[Mention], picture: Picture, form: Coordinates) -> Coordinates | None:
    """A form in which all the numbers would make sense; ``None`` if there is none."""
    for alternative in _list_alternatives(mentions, form):
        scales = picture.view if alternative is Coordinates.PIXELS else (_SCALES.get(alternative, 1.0),) * 2
        scaled = ((mention, _scale(mention, alternative, scales)) for mention in mentions)
        if not any(_find_problem(mention, fractions, alternative) for mention, fractions in scaled):
            return alternative
    return None


def _list_alternatives(mentions: Sequence[Mention], form: Coordinates) -> Iterator[Coordinates]:
    """The other forms, the most likely first."""
    forms = [Coordinates.PIXELS, Coordinates.RELATIVE_1000, Coordinates.RELATIVE_1000_YX]
    if _are_fractions(mentions):
        forms = [Coordinates.FRACTIONS]
    yield from (alternative for alternative in forms if alternative is not form)


def _name(mention: Mention, number: int) -> str:
    kind = "point" if len(mention.numbers) == 2 else "box"
    label = shorten(mention.label, _MAX_QUOTED_LABEL)
    return f"{kind} {number} ({label})" if label else f"{kind} {number}"


def _format_numbers(numbers: Sequence[float]) -> str:
    return json.dumps([int(number) if number.is_integer() else number for number in numbers])[:_MAX_QUOTED_NUMBERS]
