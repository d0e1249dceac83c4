"""The form of coordinates that each family of models was trained on, and the matching instruction and schema. Pure."""

import enum
import json
import re
from typing import Any

from ...frozen import frozen
from ...images import tokens


class Coordinates(enum.StrEnum):
    """What the numbers of a box or a point mean; x comes before y, except in ``RELATIVE_1000_YX``."""

    RELATIVE_1000 = "relative-1000"
    RELATIVE_1000_YX = "relative-1000-yx"
    PIXELS = "pixels"
    FRACTIONS = "fractions"
    PERCENT = "percent"


@frozen
class Family:
    """How a family of models answers.

    Attributes:
        coordinates: ``None`` if the form is not known; then the request asks for the default, and the answer is checked.
        key: the name of the numbers in the JSON that the models were trained on.
        is_list: whether they answer with a bare list.
        points: whether they give points, in tags and not in JSON.
    """

    coordinates: Coordinates | None
    key: str = "box"
    is_list: bool = False
    points: bool = False


UNKNOWN = Family(None)
#: By patterns in the name of a model; the first that matches is used. Sources:
#: Qwen2.5-VL: cookbook "spatial_understanding" (absolute, after the processor's own resizing), QwenLM/Qwen3-VL issues 830
#: and 866. Qwen2-VL, Qwen3-VL and later: the same repository's README ("relative coordinates ranging from 0 to 1000").
#: Gemini: Google, "Bounding box detection" (box_2d, y first, 0 to 1000). Claude: Anthropic, "Coordinates and bounding
#: boxes" (pixels of the image as the model sees it; not good at relative ones). Molmo: model cards (points, in percent;
#: Molmo2 in thousandths). GLM-V: its grounding guide (0 to 1000). InternVL: documentation of InternVL2, "Grounding".
#: DeepSeek-VL2 and DeepSeek-OCR: model cards (0 to 999).
_FAMILIES: dict[str, Family] = {
    r"qwen-?2[._p-]?5[-_]?vl": Family(Coordinates.PIXELS, "bbox_2d", is_list=True),
    r"qwen-?(2[-_]?vl|3)|qvq": Family(Coordinates.RELATIVE_1000, "bbox_2d", is_list=True),
    r"gemini": Family(Coordinates.RELATIVE_1000_YX, "box_2d", is_list=True),
    r"claude": Family(Coordinates.PIXELS),
    r"molmo-?2": Family(Coordinates.RELATIVE_1000, points=True),
    r"molmo": Family(Coordinates.PERCENT, points=True),
    r"glm-?\d[\d.]*v|internvl|deepseek-?(vl2|ocr)": Family(Coordinates.RELATIVE_1000, "bbox_2d", is_list=True),
}
#: The form to ask for if that of the family is not known: most models use it.
DEFAULT = Coordinates.RELATIVE_1000

_MEANINGS = {
    Coordinates.RELATIVE_1000: "integers from 0 to 1000, relative to the width and the height of the image",
    Coordinates.RELATIVE_1000_YX: "integers from 0 to 1000, relative to the height and the width of the image",
    Coordinates.PIXELS: "pixels of the image",
    Coordinates.FRACTIONS: "fractions of the width and the height of the image, from 0 to 1",
    Coordinates.PERCENT: "percentages of the width and the height of the image, from 0 to 100",
}
_INTEGERS = {Coordinates.RELATIVE_1000, Coordinates.RELATIVE_1000_YX, Coordinates.PIXELS}


def find_coordinate_family(model: str) -> Family:
    """The family of a model by its name."""
    families = (family for pattern, family in _FAMILIES.items() if re.search(pattern, model, re.IGNORECASE))
    return next(families, UNKNOWN)


def find_pixel_limit(model: str, form: str) -> int | None:
    """The largest number of pixels that a model sees at every host, if it gives boxes in pixels; else ``None``.

    Args:
        form: the form of the coordinates, or ``auto``.
    """
    used_form = find_coordinate_family(model).coordinates if form == "auto" else form
    return tokens.find_view(model)[0] if used_form == Coordinates.PIXELS else None


def build_schema(family: Family, coordinates: Coordinates) -> dict[str, Any]:
    """The JSON Schema of an answer, with the names that the family uses."""
    number = "integer" if coordinates in _INTEGERS else "number"
    box = {"type": "array", "items": {"type": number}, "minItems": 4, "maxItems": 4}
    item = {
        "type": "object",
        "properties": {family.key: box, "label": {"type": "string"}},
        "required": [family.key, "label"],
        "additionalProperties": False,
    }
    items = {"type": "array", "items": item}
    if family.is_list:
        return {"title": "boxes", **items}
    return {
        "title": "boxes",
        "type": "object",
        "properties": {"objects": items},
        "required": ["objects"],
        "additionalProperties": False,
    }


def build_instruction(family: Family, coordinates: Coordinates) -> str:
    """The instruction at the end of the prompt that says how to answer."""
    if family.points:
        return "Point to each of them."
    is_y_first = coordinates is Coordinates.RELATIVE_1000_YX
    names = "[ymin, xmin, ymax, xmax]" if is_y_first else "[x1, y1, x2, y2]"
    item = f'{{{json.dumps(family.key)}: {names}, "label": "…"}}'
    answer = f"[{item}, …]" if family.is_list else f'{{"objects": [{item}, …]}}'
    return (
        f"Answer in JSON and with nothing else: {answer}, with an item for each of them, and an empty list if there is "
        f"none. The numbers are {_MEANINGS[coordinates]}; the origin is the upper left corner."
    )
