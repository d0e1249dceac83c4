"""Read the boxes and points in the text of an answer, as numbers whose meaning ``coordinates`` decides. Pure.

Three forms are read. JSON: a list of objects or of lists, an object around it, or lists by label, with the numbers in a
list, in named members or in a text. Tags: ``<box>``, ``<|box_start|>``, ``<|det|>`` and others, after a label; ``<point>``
and ``<points>``. And two pairs of numbers in parentheses, which remain if a server removes the tags.
"""

import json
import math
import re
from collections.abc import Iterator, Mapping
from typing import Any

from ...frozen import frozen
from ..json_text import find_values

#: Names of members that hold numbers, a label or a score, in lower case and without punctuation.
_PLACE_NAMES = (
    "bbox2d", "box2d", "bbox", "box", "boundingbox", "boundingboxes", "bboxes", "boxes", "rect", "rectangle", "point2d",
    "point", "points", "coordinates", "coordinate", "coords",
)  # fmt: skip
_LABEL_NAMES = ("label", "name", "class", "category", "object", "textcontent", "text", "caption", "description", "type")
_SCORE_NAMES = ("score", "confidence", "probability")
_LABEL_LIST_NAMES = ("labels", "names", "classes", "categories")
#: Names of members around the items that are not labels of them.
_CONTAINER_NAMES = frozenset(
    {"objects", "object", "items", "detections", "results", "result", "data", "boxes", "bboxes", "boundingboxes", "points", "answer",
     "annotations", "locations", "instances", "predictions"}
)  # fmt: skip
_EDGE_NAMES = (
    ("x1", "y1", "x2", "y2"), ("x0", "y0", "x1", "y1"), ("xmin", "ymin", "xmax", "ymax"), ("minx", "miny", "maxx", "maxy"),
    ("left", "top", "right", "bottom"), ("topx", "topy", "bottomx", "bottomy"),
)  # fmt: skip
_SIZE_NAMES = (("x", "y", "width", "height"), ("x", "y", "w", "h"), ("left", "top", "width", "height"))
_POINT_NAMES = ("x", "y")

_NUMBER = r"[-+]?(?:\d++(?:\.\d*+)?|\.\d++)(?:[eE][-+]?\d++)?"
_NUMBERS_ONLY = re.compile(r"[\s\d.,;()\[\]{}eE+-]*")
#: A label, a box or points in tags. The numbers may have brackets around them, as in ``<box>(12,34),(56,78)</box>``.
_TAG = re.compile(
    r"<\|?(?:object_)?ref(?:_start)?\|?>(?P<label>[^<>]*)<"
    r"|<\|?(?:box|bbox|det|quad|box_start|begin_of_box)\|?>(?P<box>[\s\d.,;()\[\]+-]+)(?:<|\Z)"
    r"|<points?\b(?P<attributes>[^<>]*)>(?P<content>[^<>]*)(?:</points?>)?"
)
_ATTRIBUTE = re.compile(r"""\b([a-z]+)(\d*)\s*=\s*("[^"]*"|'[^']*'|[^\s"']+)""")
#: The rest of Qwen2-VL's tags if its server removes special tokens: ``a dog(12,34),(56,78)``.
_PAIR = rf"\(\s*+({_NUMBER})\s*+,\s*+({_NUMBER})\s*+\)"
_BARE_BOX = re.compile(rf"{_PAIR}\s*+,\s*+{_PAIR}")
#: In Molmo2's ``coords``: the number of a point, and its x and y.
_NUMBERED_POINT = re.compile(r"\b\d+ (\d{3,4}) (\d{3,4})\b")
#: How models say in words that there is nothing to point at.
_NOTHING = re.compile(
    r"\W*(there (are|is) (none|no\b)|none\b|nothing\b|(this|it) is(n't| not) in the image)", re.IGNORECASE
)
#: The most numbers of a place that are kept; more than four are an error anyway.
_MAX_NUMBERS = 8


@frozen
class Mention:
    """An object that an answer names, with the numbers of its place.

    Attributes:
        numbers: four for a box, two for a point; any other number of them is an error, which ``coordinates`` reports.
        is_named: the numbers had names, so x certainly comes before y.
        key: the member that held the numbers, if any.
    """

    label: str
    numbers: tuple[float, ...]
    is_named: bool = False
    key: str = ""
    score: float | None = None


def read_mentions(text: str) -> list[Mention]:
    """The mentions in an answer, each once; empty if it says that there is nothing.

    Raises:
        ValueError: there are none, and the answer does not say so; the message states the problem for the model.
    """
    if mentions := list(_read_tags(text)):
        return list(dict.fromkeys(mentions))
    try:
        values = find_values(text, _DECODER)
    except ValueError:
        mentions = list(_read_bare_boxes(text))
        if mentions or _NOTHING.match(text):
            return list(dict.fromkeys(mentions))
        raise
    mentions = [mention for value in values for mention in _read_value(value, "")]
    if not mentions and not any(map(_is_nothing, values)):
        raise ValueError("it contains no box")
    return list(dict.fromkeys(mentions))


def _is_nothing(value: Any) -> bool:
    """Whether a JSON value says that there is nothing: it is empty, or holds an empty list or null in place of boxes."""
    if isinstance(value, list):
        return all(map(_is_nothing, value))
    if not isinstance(value, dict):
        return False
    names = {*_PLACE_NAMES, *_CONTAINER_NAMES}
    is_null = any(inner is None and _simplify(name) in names for name, inner in value.items())
    return not value or is_null or any(isinstance(inner, list) and _is_nothing(inner) for inner in value.values())


def _simplify(name: str) -> str:
    """The name of a member in lower case, without punctuation."""
    return re.sub("[^a-z0-9]", "", name.lower())


# JSON


def _read_value(value: Any, label: str) -> Iterator[Mention]:
    """The mentions in a JSON value; ``label`` is used for those without a label of their own."""
    if isinstance(value, dict):
        yield from _read_object(value, label)
    elif isinstance(value, list):
        if places := _read_places(value):
            yield from (Mention(label, numbers) for numbers, _ in places)
            return
        texts = [part for part in value if isinstance(part, str)]
        numbers = [part for part in value if not isinstance(part, str)]
        if len(texts) == 1 and len(numbers) == 4 and _read_places(numbers):  # the list also holds the label
            value, label = [numbers], texts[0]
        for item in value:
            yield from _read_value(item, label)


def _read_object(item: Mapping[str, Any], label: str) -> Iterator[Mention]:
    members = {_simplify(name): (name, value) for name, value in item.items()}

    def get(names: tuple[str, ...]) -> Iterator[Any]:
        return (members[name][1] for name in names if name in members)

    own_label = next((str(value) for value in get(_LABEL_NAMES) if isinstance(value, str | int | float)), label)
    score = next((number for value in get(_SCORE_NAMES) if (number := _read_number(value)) is not None), None)
    score = score if score is not None and math.isfinite(score) else None
    if named := _read_named(item):
        yield Mention(own_label, named, is_named=True, score=score)
        return
    is_item = False
    label_list = next((list(map(str, names)) for names in get(_LABEL_LIST_NAMES) if isinstance(names, list)), [])
    for name in filter(members.__contains__, _PLACE_NAMES):
        key, value = members[name]
        places = _read_places(value, name)
        if not places and value is not None and _is_broken(value):
            places = [((), False)]  # a mention without numbers, which is reported
        is_item = is_item or bool(places) or not isinstance(value, list | dict)
        labels = label_list if len(label_list) == len(places) else [own_label] * len(places)
        for (numbers, is_named), place_label in zip(places, labels, strict=True):
            yield Mention(place_label, numbers, is_named, key, score)
    if is_item:
        return
    for name, (key, value) in members.items():
        yield from _read_value(value, label if name in _CONTAINER_NAMES else key)


def _is_broken(value: Any) -> bool:
    """Whether a value that should hold numbers is not empty, and holds neither numbers nor objects."""
    parts = value if isinstance(value, list) else [value]
    return bool(parts) and not any(isinstance(part, dict | list) for part in parts)


def _read_places(value: Any, name: str = "") -> list[tuple[tuple[float, ...], bool]]:
    """The numbers of each place in a value, and whether they had names; empty if the value holds something else.

    Args:
        name: the name of the member with this value; it decides whether two pairs of numbers are the corners of a box.
    """
    if isinstance(value, dict):
        named = _read_named(value)
        return [(named, True)] if named else []
    if isinstance(value, str) and _NUMBERS_ONLY.fullmatch(value):
        value = [float(number) for number in re.findall(_NUMBER, value)]
    if not isinstance(value, list) or not value:
        return []
    numbers = [_read_number(part) for part in value]
    if None not in numbers:
        return [(tuple(number for number in numbers[:_MAX_NUMBERS] if number is not None), False)]
    lists = [_read_places(part) for part in value if isinstance(part, list)]
    if len(lists) < len(value):
        return []
    places = [place for part in lists for place in part]
    if _may_be_corners(name) and [len(numbers) for numbers, _ in places] == [2, 2]:
        return [(places[0][0] + places[1][0], False)]
    return places


def _may_be_corners(name: str) -> bool:
    return bool(name) and not name.startswith(("point", "coord"))


def _read_named(item: Mapping[str, Any]) -> tuple[float, ...]:
    """The numbers of a place in named members, x before y; empty if there are no such members."""
    values = {_simplify(name): _read_number(value) for name, value in item.items()}
    for names in (*_EDGE_NAMES, *_SIZE_NAMES, _POINT_NAMES):
        numbers = [values.get(name) for name in names]
        if None in numbers:
            continue
        x, y, *extent = (number for number in numbers if number is not None)
        return (x, y, x + extent[0], y + extent[1]) if names in _SIZE_NAMES else (x, y, *extent)
    return ()


def _read_number(value: Any) -> float | None:
    """A number, perhaps in a text; ``nan`` counts as one, and is rejected later. ``None`` for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        return float(value)
    except (ValueError, OverflowError):
        return math.nan if isinstance(value, int) else None


# Tags


def _read_tags(text: str) -> Iterator[Mention]:
    label = ""
    for match in _TAG.finditer(text):
        if match["label"] is not None:
            label = match["label"].strip()
        elif match["box"] is not None:
            yield from (Mention(label, numbers) for numbers in _group(match["box"]))
        else:
            yield from _read_points(match["attributes"], match["content"].strip())


def _read_bare_boxes(text: str) -> Iterator[Mention]:
    end = 0
    for match in _BARE_BOX.finditer(text):
        label = re.split(r"[()\[\]<>\n]", text[end : match.start()])[-1]
        end = match.end()
        yield Mention(label.strip(" \t,;:.-*"), tuple(map(float, match.groups())))


def _group(text: str) -> Iterator[tuple[float, ...]]:
    """The numbers of each box in a text, or of a single point."""
    numbers = [float(number) for number in re.findall(_NUMBER, text)]
    size = 4 if len(numbers) % 4 == 0 else _MAX_NUMBERS
    for start in range(0, len(numbers), size):
        yield tuple(numbers[start : start + size])


def _read_points(attributes: str, content: str) -> Iterator[Mention]:
    values = {(name, number): text.strip("\"'") for name, number, text in _ATTRIBUTE.findall(attributes)}
    label = values.get(("alt", ""), "").strip() or ("" if _NUMBERS_ONLY.fullmatch(content) else content)
    for (name, number), text in values.items():
        if name == "coords":
            points = _NUMBERED_POINT.findall(text)
            yield from (Mention(label, (float(x), float(y)), is_named=True) for x, y in points)
        elif name == "x":
            x, y = _read_number(text), _read_number(values.get(("y", number), ""))
            yield Mention(label, () if x is None or y is None else (x, y), is_named=True)
    if not values and _NUMBERS_ONLY.fullmatch(content):
        yield from (Mention(label, numbers) for numbers in _group(content))


_DECODER = json.JSONDecoder(parse_constant=float)
