"""A value that fits a JSON Schema, as plain as can be: what the built-in endpoint answers where JSON is asked for. Pure."""

from collections.abc import Mapping
from typing import Any

#: What stands for every text, so that nobody takes it for an answer of a model.
TEXT = "no model was asked"
#: A schema may refer to itself: from so many references on only what must be is there, and from so many on nothing.
_FEW, _MANY = 2, 8


def specimen(schema: Any, root: Any = None, followed: int = 0) -> Any:
    """A value; it fits but for patterns, formats and what several schemas demand of it together.

    Args:
        root: what a ``$ref`` is looked up in; the schema itself by default.
        followed: how many there were on the way.
    """
    root = schema if root is None else root
    if not isinstance(schema, Mapping) or followed > _MANY:
        return TEXT
    for name in ("const", "default"):
        if name in schema:
            return schema[name]
    for name in ("enum", "examples"):
        if given := _list(schema, name):
            return given[0]
    if "$ref" in schema:
        return specimen(_referred(str(schema["$ref"]), root), root, followed + 1)
    for name in ("anyOf", "oneOf", "allOf"):
        if given := _list(schema, name):
            chosen = min(given, key=_weight) if followed > _FEW else given[0]
            return specimen({**schema, name: None, **_mapping(chosen)}, root, followed)
    return _of_kind(schema, root, followed)


def _of_kind(schema: Mapping[str, Any], root: Any, followed: int) -> Any:
    kind = schema.get("type", "object" if "properties" in schema else "array" if "items" in schema else "string")
    if not isinstance(kind, str):
        kind = "null" if followed > _FEW and "null" in kind else next(iter(kind), "string")
    match kind:
        case "object":
            properties = _mapping(schema.get("properties"))
            wanted = dict.fromkeys([*(properties if followed <= _FEW else ()), *_list(schema, "required")])
            return {name: specimen(properties.get(name, {}), root, followed) for name in wanted}
        case "array":
            first = [specimen(part, root, followed) for part in _list(schema, "prefixItems")]
            missing = max(1 if followed <= _FEW else 0, int(schema.get("minItems", 0))) - len(first)
            return first + [specimen(schema.get("items", {}), root, followed) for _ in range(min(missing, 100))]
        case "integer" | "number":
            return _number(schema)
        case "boolean":
            return False
        case "null":
            return None
        case _:
            return TEXT.ljust(min(int(schema.get("minLength", 0)), 10_000), ".")[: int(schema.get("maxLength", 10_000))]


def _weight(schema: Any) -> int:
    """How much more there may be below."""
    return 2 if "$ref" in _mapping(schema) else int(_mapping(schema).get("type") in {"object", "array"})


def _number(schema: Mapping[str, Any]) -> Any:
    """Zero, or what the limits allow that is nearest to it."""
    low = schema.get("minimum", schema.get("exclusiveMinimum", -1) + 1)
    high = schema.get("maximum", schema.get("exclusiveMaximum", 1) - 1)
    return low if low > 0 else min(high, 0)


def _referred(reference: str, root: Any) -> Any:
    found = root
    for part in reference.removeprefix("#").strip("/").split("/") if reference != "#" else ():
        found = _mapping(found).get(part.replace("~1", "/").replace("~0", "~"))
    return found


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _list(schema: Mapping[str, Any], name: str) -> list[Any]:
    """What stands there, if it is a list: older drafts had other things under the same names."""
    found = schema.get(name)
    return found if isinstance(found, list) else []
