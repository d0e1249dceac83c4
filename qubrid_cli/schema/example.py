"""Make an example of a value that fits a JSON Schema, and resolve ``$ref``.

The offline endpoint answers with the example if a request asks for JSON.
"""

from collections.abc import Mapping
from typing import Any

#: The value of every string, so that the example cannot be mistaken for a model's answer.
EXAMPLE_TEXT = "no model was asked"
#: A schema may refer to itself. After more references than the first number, the example has no optional parts; after
#: more than the second, it ends.
_MAX_REFERENCES_WITH_OPTIONAL, _MAX_REFERENCES = 2, 8


def resolve_reference(reference: str, root: Any) -> Any:
    """Return the part of a schema to which a ``$ref`` points; ``None`` if the schema has no such part.

    Source: RFC 6901, section 6 (JSON Pointer as a URI fragment).
    """
    if reference != "#" and not reference.startswith("#/"):
        return None
    part = root
    for name in reference.split("/")[1:]:
        part = _as_mapping(part).get(name.replace("~1", "/").replace("~0", "~"))
    return part


def example_for(schema: Any) -> Any:
    """Return a simple value that fits a schema.

    Patterns and formats are ignored, and of several schemas that apply together, all but the first.
    """
    return _build_example(schema, schema, 0)


def _build_example(schema: Any, root: Any, references: int) -> Any:
    """Build the example for a part of a schema, which is this number of references away from the root."""
    if not isinstance(schema, Mapping) or references > _MAX_REFERENCES:
        return EXAMPLE_TEXT
    for name in ("const", "default"):
        if name in schema:
            return schema[name]
    for name in ("enum", "examples"):
        if values := _get_list(schema, name):
            return values[0]
    if "$ref" in schema:
        return _build_example(resolve_reference(str(schema["$ref"]), root), root, references + 1)
    for name in ("anyOf", "oneOf", "allOf"):
        if choices := _get_list(schema, name):
            is_short = references > _MAX_REFERENCES_WITH_OPTIONAL
            choice = min(choices, key=_rank_by_nesting) if is_short else choices[0]
            return _build_example({**schema, name: None, **_as_mapping(choice)}, root, references)
    return _build_example_by_type(schema, root, references)


def _build_example_by_type(schema: Mapping[str, Any], root: Any, references: int) -> Any:
    is_short = references > _MAX_REFERENCES_WITH_OPTIONAL
    kind = schema.get("type", "object" if "properties" in schema else "array" if "items" in schema else "string")
    if not isinstance(kind, str):
        kind = "null" if is_short and "null" in kind else next(iter(kind), "string")
    match kind:
        case "object":
            properties = _as_mapping(schema.get("properties"))
            names = dict.fromkeys([*(() if is_short else properties), *_get_list(schema, "required")])
            return {name: _build_example(properties.get(name, {}), root, references) for name in names}
        case "array":
            values = [_build_example(part, root, references) for part in _get_list(schema, "prefixItems")]
            missing = max(0 if is_short else 1, int(schema.get("minItems", 0))) - len(values)
            item = schema.get("items", {})
            return values + [_build_example(item, root, references) for _ in range(min(missing, 100))]
        case "integer" | "number":
            return _pick_number(schema)
        case "boolean":
            return False
        case "null":
            return None
        case _:
            text = EXAMPLE_TEXT.ljust(min(int(schema.get("minLength", 0)), 10_000), ".")
            return text[: int(schema.get("maxLength", 10_000))]


def _rank_by_nesting(schema: Any) -> int:
    """Rank a schema by how deep its values can be."""
    return 2 if "$ref" in _as_mapping(schema) else int(_as_mapping(schema).get("type") in {"object", "array"})


def _pick_number(schema: Mapping[str, Any]) -> Any:
    """Pick zero, or the nearest number within the limits."""
    low = schema.get("minimum", schema.get("exclusiveMinimum", -1) + 1)
    high = schema.get("maximum", schema.get("exclusiveMaximum", 1) - 1)
    return low if low > 0 else min(high, 0)


def _as_mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _get_list(schema: Mapping[str, Any], name: str) -> list[Any]:
    """Return a list in a schema; empty if the value is not a list, as in some older drafts."""
    value = schema.get(name)
    return value if isinstance(value, list) else []
