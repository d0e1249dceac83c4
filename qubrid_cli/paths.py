"""Where a path such as ``data.tags.0`` leads: in a value that is there, and in one that a JSON Schema only promises. Pure."""

import re
from collections.abc import Mapping
from typing import Any

from .errors import UsageError

_INDEX = re.compile("0|[1-9][0-9]*")
_MAX_REFERENCES = 50


def check(path: str, schema: Any, *, root: Any, prefix: str = "") -> bool:
    """Refuse a path that no value can have; whether the schema names all of it, else it is a matter of the value.

    Args:
        root: what a ``$ref`` is looked up in.
        prefix: of the path, for messages.

    Raises:
        UsageError: no such field, with those that there are.
    """
    for name in path.split("."):
        schema = _referred(schema, root)
        if not isinstance(schema, Mapping):
            return False
        properties, items = schema.get("properties", {}), schema.get("items")
        if name in properties:
            schema = properties[name]
        elif isinstance(items, Mapping) and "prefixItems" not in schema and _INDEX.fullmatch(name):
            schema = items
        elif _is_open(schema, name):
            return False
        else:
            raise no_such_field(name, prefix + path, list(properties), is_list=isinstance(items, Mapping))
    return True


def _is_open(schema: Mapping[str, Any], name: str) -> bool:
    """Whether values may have more below them than the schema names."""
    kinds = schema.get("type", ("object", "array"))
    kinds = (kinds,) if isinstance(kinds, str) else kinds
    if (
        "array" in kinds
        and (not isinstance(schema.get("items"), Mapping) or "prefixItems" in schema)
        and _INDEX.fullmatch(name)
    ):
        return True
    return "object" in kinds and (schema.get("additionalProperties") is not False or "patternProperties" in schema)


def _referred(schema: Any, root: Any) -> Any:
    """The schema that a ``$ref`` within the document means; ``None`` where it is another kind of ``$ref``."""
    for _ in range(_MAX_REFERENCES):
        if not isinstance(schema, Mapping) or "$ref" not in schema:
            return schema
        if not str(schema["$ref"]).startswith("#/"):
            return root if schema["$ref"] == "#" else None
        parts = [part.replace("~1", "/").replace("~0", "~") for part in schema["$ref"][2:].split("/")]
        schema = root
        for part in parts:
            schema = schema.get(part) if isinstance(schema, Mapping) else None
    return None


def value(found: Any, path: str) -> Any:
    """What is there, or ``None``."""
    for name in path.split("."):
        found = _below(found, name)
    return found


def missing(found: Any, path: str) -> UsageError | None:
    """The error that a path leads nowhere in a value, with the fields that there are where it ends; ``None`` if it does not."""
    for name in path.split("."):
        names = _names(found)
        if name not in names:
            return no_such_field(name, path, names[:50], is_list=False)
        found = _below(found, name)
    return None


def _names(found: Any) -> list[str]:
    if isinstance(found, list):
        return [str(place) for place in range(len(found))]
    return list(found) if isinstance(found, dict) else []


def _below(found: Any, name: str) -> Any:
    if isinstance(found, list):
        return found[int(name)] if _INDEX.fullmatch(name) and int(name) < len(found) else None
    return found.get(name) if isinstance(found, dict) else None


def no_such_field(name: str, path: str, names: list[str], *, is_list: bool) -> UsageError:
    """The error for a path that leads nowhere.

    Args:
        names: of the fields that there are in its place.
    """
    nothing = "It is a list: a number picks from it." if is_list else "There is nothing below that value."
    return UsageError(
        f"no field {name!r} in --field {path}",
        hint=f"There is: {', '.join(names)}" if names else nothing,
        code="no_such_field",
    )
