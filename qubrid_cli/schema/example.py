"""A value that fits a JSON Schema, as plain as can be: what the built-in endpoint answers where JSON is asked for. Pure."""

from collections.abc import Mapping
from typing import Any

#: What stands for every text, so that nobody takes it for an answer of a model.
EXAMPLE_TEXT = "no model was asked"
#: A schema may refer to itself: from so many references on only what must be is there, and from so many on nothing.
_MAX_REFERENCES_WITH_OPTIONAL, _MAX_REFERENCES = 2, 8


def example_for(schema: Any, root: Any = None, references_followed: int = 0) -> Any:
    """A value; it fits but for patterns, formats and what several schemas demand of it together.

    Args:
        root: what a ``$ref`` is looked up in; the schema itself by default.
        references_followed: how many there were on the way.
    """
    root = schema if root is None else root
    if not isinstance(schema, Mapping) or references_followed > _MAX_REFERENCES:
        return EXAMPLE_TEXT
    for name in ("const", "default"):
        if name in schema:
            return schema[name]
    for name in ("enum", "examples"):
        if given := _get_list(schema, name):
            return given[0]
    if "$ref" in schema:
        return example_for(_resolve_reference(str(schema["$ref"]), root), root, references_followed + 1)
    for name in ("anyOf", "oneOf", "allOf"):
        if given := _get_list(schema, name):
            chosen = (
                min(given, key=_rank_by_nesting) if references_followed > _MAX_REFERENCES_WITH_OPTIONAL else given[0]
            )
            return example_for({**schema, name: None, **_as_mapping(chosen)}, root, references_followed)
    return _example_for_type(schema, root, references_followed)


def _example_for_type(schema: Mapping[str, Any], root: Any, references_followed: int) -> Any:
    kind = schema.get("type", "object" if "properties" in schema else "array" if "items" in schema else "string")
    if not isinstance(kind, str):
        kind = (
            "null"
            if references_followed > _MAX_REFERENCES_WITH_OPTIONAL and "null" in kind
            else next(iter(kind), "string")
        )
    match kind:
        case "object":
            properties = _as_mapping(schema.get("properties"))
            wanted = dict.fromkeys(
                [
                    *(properties if references_followed <= _MAX_REFERENCES_WITH_OPTIONAL else ()),
                    *_get_list(schema, "required"),
                ]
            )
            return {name: example_for(properties.get(name, {}), root, references_followed) for name in wanted}
        case "array":
            first = [example_for(part, root, references_followed) for part in _get_list(schema, "prefixItems")]
            missing = max(
                1 if references_followed <= _MAX_REFERENCES_WITH_OPTIONAL else 0, int(schema.get("minItems", 0))
            ) - len(first)
            return first + [
                example_for(schema.get("items", {}), root, references_followed) for _ in range(min(missing, 100))
            ]
        case "integer" | "number":
            return _pick_number(schema)
        case "boolean":
            return False
        case "null":
            return None
        case _:
            return EXAMPLE_TEXT.ljust(min(int(schema.get("minLength", 0)), 10_000), ".")[
                : int(schema.get("maxLength", 10_000))
            ]


def _rank_by_nesting(schema: Any) -> int:
    """How much more there may be below."""
    return 2 if "$ref" in _as_mapping(schema) else int(_as_mapping(schema).get("type") in {"object", "array"})


def _pick_number(schema: Mapping[str, Any]) -> Any:
    """Zero, or what the limits allow that is nearest to it."""
    low = schema.get("minimum", schema.get("exclusiveMinimum", -1) + 1)
    high = schema.get("maximum", schema.get("exclusiveMaximum", 1) - 1)
    return low if low > 0 else min(high, 0)


def _resolve_reference(reference: str, root: Any) -> Any:
    found = root
    for part in reference.removeprefix("#").strip("/").split("/") if reference != "#" else ():
        found = _as_mapping(found).get(part.replace("~1", "/").replace("~0", "~"))
    return found


def _as_mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _get_list(schema: Mapping[str, Any], name: str) -> list[Any]:
    """What stands there, if it is a list: older drafts had other things under the same names."""
    found = schema.get(name)
    return found if isinstance(found, list) else []
