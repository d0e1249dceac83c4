"""The JSON Schema that an answer must fit: load it from a file or the short form, check it, and validate values.

Only this module imports jsonschema, which takes 60 ms; it is loaded only if there is a schema.
"""

import json
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import referencing.exceptions
from jsonschema import Draft202012Validator, exceptions, validators
from jsonschema.protocols import Validator
from jsonschema_specifications import REGISTRY
from referencing import Resource
from referencing.jsonschema import DRAFT202012

from ..errors import UsageError
from ..frozen import frozen
from ..text import decode_text, quote_name, shorten
from . import shorthand
from .example import example_for

#: The most problems reported for one answer. A model that corrects these usually corrects the others too.
_MAX_PROBLEMS = 10
#: Characters of a problem, which quotes the value.
_MAX_PROBLEM_LENGTH = 200
#: Characters of a schema's name, which may be its short form.
_MAX_NAME_LENGTH = 200
#: A keyword of our own: the value is a list of boxes, whose coordinates are converted to pixels of the original.
BOXES_KEYWORD = "x-boxes"
#: Raised when a valid schema is applied that refers to itself or to nothing, has a custom type (draft 3), or mixes drafts
#: with different ids, for which referencing raises an AttributeError.
_UNUSABLE_SCHEMA_ERRORS = (RecursionError, referencing.exceptions.Unresolvable, exceptions.UnknownType, AttributeError)


@frozen
class Schema:
    """A valid JSON Schema with its validator; ``name`` is its title, or else the name of its file or preset."""

    document: Mapping[str, Any]
    _validator: Validator
    name: str | None = None

    @property
    def boxes(self) -> str | None:
        """The form of the coordinates that are converted to pixels of the original, or ``auto``; ``None`` for other data."""
        return self.document.get(BOXES_KEYWORD)

    def with_boxes(self, coordinates: str) -> "Schema":
        """Return a copy for boxes whose coordinates have this form."""
        return replace(self, document={**self.document, BOXES_KEYWORD: coordinates})

    def find_problems(self, value: Any) -> list[str]:
        """Return the first ten errors in a value, each with its path, such as ``tags.0``.

        Raises:
            UsageError: the schema cannot be applied.
        """
        try:
            return [_format_problem(error) for error in islice(self._validator.iter_errors(value), _MAX_PROBLEMS)]
        except _UNUSABLE_SCHEMA_ERRORS as error:
            raise UsageError(
                "the schema cannot be applied", hint="Look for a $ref that points to nothing or to itself."
            ) from error


def _format_problem(error: exceptions.ValidationError | exceptions.SchemaError) -> str:
    path = ".".join(str(part) for part in error.absolute_path)
    text = shorten(error.message, _MAX_PROBLEM_LENGTH)
    return f"{path}: {text}" if path else text


def load_schema(source: str | Mapping[str, Any], *, where: str, folder: str = "", name: str | None = None) -> Schema:
    """Load the schema of an option or a preset.

    Args:
        source: a file (``@FILE``, an existing one, or a name that ends in ``.json``), a JSON Schema, or the short form.
        where: the option or setting, for messages.
        folder: for relative file names; empty for the current folder.
        name: of the schema, if it has no title; by default, the name of its file, or its short form.

    Raises:
        UsageError: the file is unreadable, or the schema is invalid.
    """
    schema = _load(source, where, folder)
    if isinstance(source, str) and name is None and not source.lstrip().startswith("{"):
        name = os.path.basename(source).removeprefix("@") if _is_file(source, folder) else source[:_MAX_NAME_LENGTH]
    title = schema.document.get("title")
    return replace(schema, name=title if isinstance(title, str) else name)


def _is_file(source: str, folder: str) -> bool:
    return source.startswith("@") or source.endswith(".json") or os.path.isfile(os.path.join(folder, source))


def _load(source: str | Mapping[str, Any], where: str, folder: str) -> Schema:
    if not isinstance(source, str):
        return _build_schema(_copy_as_json(source, where), where)
    if _is_file(source, folder):
        name = source.removeprefix("@") or "@"
        name = os.path.join(folder, os.path.expanduser(name)) if folder else name
        return _build_schema(_parse_json(_read_file(name, where), f"{where} {name}"), f"{where} {name}")
    if source.lstrip().startswith("{"):
        return _build_schema(_parse_json(source, where), where)
    return _build_schema(shorthand.parse(source, where=where), where)


def _copy_as_json(document: Mapping[str, Any], where: str) -> Any:
    try:
        return json.loads(json.dumps(document, allow_nan=False))
    except (TypeError, ValueError, RecursionError) as error:
        raise UsageError(
            f"{where} contains a value that JSON does not have: {error}", hint="Write a JSON Schema as a TOML table."
        ) from error


def _read_file(name: str, where: str) -> str:
    try:
        return decode_text(Path(name).expanduser().read_bytes())
    except (OSError, ValueError, RuntimeError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else "it is not UTF-8 text"
        raise UsageError(
            f"{where}: cannot read {quote_name(name)}: {reason}", hint="Name a file that contains a JSON Schema."
        ) from error


def _parse_json(text: str, where: str) -> Any:
    try:
        value = json.loads(text)
        json.dumps(value, allow_nan=False)  # Python accepts NaN and 1e999, which JSON does not have
    except json.JSONDecodeError as error:
        raise UsageError(
            f"{where} is not valid JSON: {error.msg} in line {error.lineno}, column {error.colno}",
            hint="It must be a JSON Schema.",
        ) from error
    except RecursionError as error:
        raise _nesting_error(where) from error
    except ValueError as error:
        raise UsageError(f"{where} contains a number that is not finite", hint="Write finite numbers.") from error
    return value


def _nesting_error(where: str) -> UsageError:
    return UsageError(f"{where} is nested too deeply", hint="Use fewer levels.")


def _build_schema(document: Any, where: str) -> Schema:
    if not isinstance(document, dict):
        raise UsageError(
            f"{where} is not a JSON Schema: it is not an object", hint='The simplest schema is {"type": "object"}.'
        )
    if not isinstance(document.get("$schema", ""), str):
        raise UsageError(f"{where} is not a JSON Schema: its $schema is not a string", hint="Leave out $schema.")
    validator_class = validators.validator_for(document, default=Draft202012Validator)
    try:
        validator_class.check_schema(document)
        _check_references_and_patterns(document, where)
    except exceptions.SchemaError as error:
        raise UsageError(
            f"{where} is not a JSON Schema: {_format_problem(error)}", hint="See https://json-schema.org."
        ) from error
    except RecursionError as error:
        raise _nesting_error(where) from error
    # With an explicit registry, jsonschema does not fetch a $ref from the network.
    schema = Schema(document, validator_class(document, registry=REGISTRY))
    schema.find_problems(example_for(document))  # raises if it is circular, before any request is sent
    return schema


def _check_references_and_patterns(document: Mapping[str, Any], where: str) -> None:
    """Find what jsonschema would report only for an answer: a ``$ref`` to another document, and invalid patterns."""
    resolver = REGISTRY.resolver_with_root(Resource.from_contents(document, default_specification=DRAFT202012))
    parts = list(_iter_objects(document))
    has_several_bases = any("$id" in part for part in parts[1:])  # a $ref is relative to the nearest $id
    for reference in (part["$ref"] for part in parts if isinstance(part.get("$ref"), str) and not has_several_bases):
        try:
            resolver.lookup(reference)
        except referencing.exceptions.Unresolvable as error:
            raise UsageError(
                f"{where}: cannot resolve $ref {reference!r}", hint="A $ref can only point into the schema itself."
            ) from error
    for pattern in (pattern for part in parts for pattern in _list_patterns(part)):
        try:
            re.compile(pattern)
        except re.error as error:
            raise UsageError(
                f"{where}: invalid pattern {pattern!r}: {error}", hint="Use the syntax of Python's re module."
            ) from error


def _list_patterns(part: Mapping[str, Any]) -> list[str]:
    by_name = part.get("patternProperties")
    patterns = [part.get("pattern"), *(by_name if isinstance(by_name, Mapping) else ())]
    return [pattern for pattern in patterns if isinstance(pattern, str)]


def _iter_objects(value: Any) -> Iterator[Mapping[str, Any]]:
    """Yield every object in a JSON value."""
    if isinstance(value, Mapping):
        yield value
    for part in value.values() if isinstance(value, Mapping) else value if isinstance(value, list) else ():
        yield from _iter_objects(part)
