"""An answer as a caption, and as the fields that photo managers have for an image. Pure."""

import json
import re
from collections.abc import Iterator, Mapping
from enum import StrEnum
from typing import Any

from ...schema.example import resolve_reference
from ...text import strip_control_characters


class PhotoField(StrEnum):
    """A field of an image in a photo manager."""

    TITLE = "title"
    DESCRIPTION = "description"
    ALT = "alt"
    KEYWORDS = "keywords"


#: The fields by the names that a schema may give them. If an answer has several for one field, the first one counts;
#: keywords are joined.
_FIELD_BY_NAME = {
    "title": PhotoField.TITLE,
    "description": PhotoField.DESCRIPTION,
    "caption": PhotoField.DESCRIPTION,
    "alt": PhotoField.ALT,
    "alt_text": PhotoField.ALT,
    "keywords": PhotoField.KEYWORDS,
    "tags": PhotoField.KEYWORDS,
}
_FENCED = re.compile(r"```\w*\n(.*)\n```", re.DOTALL)

PhotoTexts = Mapping[PhotoField, tuple[str, ...]]


def list_fields(schema: Any, *, is_alt_text: bool) -> frozenset[PhotoField]:
    """List the fields that the answers to a run may fill.

    Args:
        schema: of the answers; ``None`` if they are text.
        is_alt_text: answers that are text are alternative texts.
    """
    if schema is not None:
        names = map(_normalize_name, _iterate_property_names(schema))
        return frozenset(_FIELD_BY_NAME[name] for name in names if name in _FIELD_BY_NAME)
    return frozenset({PhotoField.DESCRIPTION, PhotoField.ALT} if is_alt_text else {PhotoField.DESCRIPTION})


def extract_texts(record: Mapping[str, Any], *, is_alt_text: bool = False) -> dict[PhotoField, tuple[str, ...]]:
    """Extract the texts of an answer by field: one for each field, any number of keywords.

    An answer that is text is the description. Of JSON, only values with the name of a field are returned.
    """
    data = _get_data(record)
    if data is not None:
        return _extract_from_data(data)
    text = _clean(record.get("text"))
    fields = (PhotoField.DESCRIPTION, PhotoField.ALT) if is_alt_text else (PhotoField.DESCRIPTION,)
    return dict.fromkeys(fields, (text,)) if text else {}


def format_caption(record: Mapping[str, Any]) -> str:
    """Format an answer as plain text without control characters.

    Of JSON, the caption is its caption or description. If it has neither, and only fields of photo managers, it is the
    alternative text, the title, or the keywords in one line. Other JSON stays as the model wrote it, except that boxes are
    in pixels of the image.
    """
    data, text = _get_data(record), _clean(record.get("text"))
    if data is None:
        return text
    texts = _extract_from_data(data)
    if PhotoField.DESCRIPTION in texts:
        return texts[PhotoField.DESCRIPTION][0]
    if isinstance(data, dict) and {_normalize_name(name) for name in data} <= _FIELD_BY_NAME.keys():
        for photo_field in (PhotoField.ALT, PhotoField.TITLE, PhotoField.KEYWORDS):
            if photo_field in texts:
                return ", ".join(texts[photo_field])
    return json.dumps(data, ensure_ascii=False) if _are_boxes(data) else text


def _are_boxes(data: Any) -> bool:
    """Whether the data are boxes, whose numbers were converted to pixels."""
    return isinstance(data, list) and bool(data) and all(isinstance(item, dict) and "box" in item for item in data)


def _get_data(record: Mapping[str, Any]) -> Any:
    """Return the JSON of an answer, even if no schema asked for JSON; ``None`` for text."""
    if (data := record.get("data")) is not None:
        return data
    text = str(record.get("text") or "").strip()
    if fenced := _FENCED.fullmatch(text):
        text = fenced[1].strip()
    if text.startswith(("{", "[")):
        try:
            return json.loads(text)
        except (ValueError, RecursionError):
            pass
    return None


def _extract_from_data(data: Any) -> dict[PhotoField, tuple[str, ...]]:
    if not isinstance(data, dict):
        return {}
    values = {_normalize_name(name): value for name, value in data.items()}
    texts: dict[PhotoField, tuple[str, ...]] = {}
    for name, photo_field in _FIELD_BY_NAME.items():
        if photo_field is PhotoField.KEYWORDS:
            keywords = (*texts.get(photo_field, ()), *_split_keywords(values.get(name)))
            texts[photo_field] = tuple(dict.fromkeys(keywords))
        elif photo_field not in texts and (text := _clean(values.get(name))):
            texts[photo_field] = (" ".join(text.split()) if photo_field is PhotoField.TITLE else text,)
    return {photo_field: values for photo_field, values in texts.items() if values}


def _split_keywords(value: Any) -> Iterator[str]:
    """Yield the keywords of a list, or of a text with commas."""
    items = re.split("[,;\n]", value) if isinstance(value, str) else value if isinstance(value, list) else []
    for item in items:
        if keyword := " ".join(_clean(item).split()):
            yield keyword


def _clean(value: Any) -> str:
    return strip_control_characters(value).strip() if isinstance(value, str) else ""


def _normalize_name(name: str) -> str:
    return name.casefold().replace("-", "_").replace(" ", "_")


def _iterate_property_names(root: Any) -> Iterator[str]:
    """Yield the names of the properties that an object which fits a schema may have."""
    parts, seen = [root], set()
    while parts:
        part = parts.pop()
        if not isinstance(part, Mapping) or id(part) in seen:
            continue
        seen.add(id(part))  # references may be circular
        properties = part.get("properties")
        yield from properties if isinstance(properties, Mapping) else ()
        parts += [resolve_reference(str(part["$ref"]), root)] if "$ref" in part else []
        for keyword in ("allOf", "anyOf", "oneOf"):
            parts += part[keyword] if isinstance(part.get(keyword), list) else []
