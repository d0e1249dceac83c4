"""The schema that an answer must fit: read from a file or the short form, checked, held against values.

The home of jsonschema, which takes 60 ms to import: nothing without a schema loads this module.
"""

import json
import os
import re
from collections.abc import Iterator, Mapping
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
from . import shorthand
from .example import example_for

#: Of the errors of one answer; a model mends these, then the rest is gone too more often than not.
_MAX_PROBLEMS = 10
#: Characters of an error, which repeats the value that it is about.
_MAX_ERROR_LENGTH = 200
#: What valid schemas can still do: go in a circle, lead nowhere, name a type of their own (draft 3), or mix drafts, over
#: whose different ids referencing stumbles with an AttributeError.
_UNUSABLE_SCHEMA_ERRORS = (
    RecursionError,
    referencing.exceptions.Unresolvable,
    exceptions.UnknownType,
    AttributeError,
)


@frozen
class Schema:
    """A valid JSON Schema, and what holds values against it."""

    document: Mapping[str, Any]
    _validator: Validator

    def find_problems(self, value: Any) -> list[str]:
        """What is wrong with a value: its first ten errors, each with its place, such as ``tags.0``.

        Raises:
            UsageError: the schema refers to itself without end.
        """
        try:
            return [_describe_error(error) for error in islice(self._validator.iter_errors(value), _MAX_PROBLEMS)]
        except _UNUSABLE_SCHEMA_ERRORS as error:
            raise UsageError(
                "the schema cannot be followed to its end", hint="Look for a $ref that leads nowhere, or to itself."
            ) from error


def _describe_error(error: exceptions.ValidationError | exceptions.SchemaError) -> str:
    place = ".".join(str(part) for part in error.absolute_path)
    words = error.message if len(error.message) <= _MAX_ERROR_LENGTH else error.message[: _MAX_ERROR_LENGTH - 1] + "…"
    return f"{place}: {words}" if place else words


def load(source: str | Mapping[str, Any], *, where: str, folder: str = "") -> Schema:
    """The schema that an option or a preset gives.

    Args:
        source: ``@FILE``, an existing file or a name that ends in ``.json``; a JSON Schema itself; else the short form.
        where: what it stands in, for messages.
        folder: the one that a file's name begins at, where that is not the one we stand in.

    Raises:
        UsageError: unreadable, or no valid schema.
    """
    if not isinstance(source, str):
        return _build_schema(_copy_as_json(source, where), where)
    if source.startswith("@") or source.endswith(".json") or os.path.isfile(os.path.join(folder, source)):
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
        raise UsageError(f"{where} holds what JSON has not: {error}", hint="It is a JSON Schema as a table.") from error


def _read_file(name: str, where: str) -> str:
    try:
        return Path(name).expanduser().read_text("utf-8-sig")
    except (OSError, ValueError, RuntimeError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else "it is no UTF-8 text"
        raise UsageError(
            f"{where}: cannot read {name}: {reason}", hint="Name a file that holds a JSON Schema."
        ) from error


def _parse_json(text: str, where: str) -> Any:
    try:
        found = json.loads(text)
        json.dumps(found, allow_nan=False)  # Python reads NaN and 1e999, which are no JSON
    except json.JSONDecodeError as error:
        raise UsageError(
            f"{where} is no JSON: {error.msg} in line {error.lineno}, column {error.colno}",
            hint="It holds a JSON Schema.",
        ) from error
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{where} is no JSON that can be used", hint="NaN, or brackets without end?") from error
    return found


def _build_schema(document: Any, where: str) -> Schema:
    if not isinstance(document, dict):
        raise UsageError(f"{where} is no JSON Schema: it is no object", hint='The least is {"type": "object"}.')
    if not isinstance(document.get("$schema", ""), str):
        raise UsageError(f"{where} is no JSON Schema: its $schema is no text", hint="Leave $schema out.")
    kind = validators.validator_for(document, default=Draft202012Validator)
    try:
        kind.check_schema(document)
        _check_references_and_patterns(document, where)
    except exceptions.SchemaError as error:
        raise UsageError(f"{where} is no JSON Schema: {_describe_error(error)}", hint="See json-schema.org.") from error
    except RecursionError as error:
        raise UsageError(f"{where} is nested too deeply", hint="Make it flatter.") from error
    # With a registry given, jsonschema does not fetch what a $ref names from the network.
    found = Schema(document, kind(document, registry=REGISTRY))
    found.find_problems(example_for(document))  # so that what leads in a circle does so before an answer is there
    return found


def _check_references_and_patterns(document: Mapping[str, Any], where: str) -> None:
    """Refuse what would fail only when the answer is there: a ``$ref`` out of the document, a pattern that is none."""
    resolver = REGISTRY.resolver_with_root(Resource.from_contents(document, default_specification=DRAFT202012))
    parts = list(_iter_objects(document))
    has_several_bases = any("$id" in part for part in parts[1:])  # a $ref is relative to the nearest one
    for reference in (part["$ref"] for part in parts if isinstance(part.get("$ref"), str) and not has_several_bases):
        try:
            resolver.lookup(reference)
        except referencing.exceptions.Unresolvable as error:
            raise UsageError(
                f"{where}: $ref {reference!r} leads nowhere",
                hint="Only what stands in the schema itself can be referred to.",
            ) from error
    for pattern in (pattern for part in parts for pattern in _list_patterns(part)):
        try:
            re.compile(pattern)
        except re.error as error:
            raise UsageError(
                f"{where}: the pattern {pattern!r} cannot be used: {error}", hint="Write it as for Python."
            ) from error


def _list_patterns(part: Mapping[str, Any]) -> list[str]:
    of_names = part.get("patternProperties")
    found = [part.get("pattern"), *(of_names if isinstance(of_names, Mapping) else ())]
    return [pattern for pattern in found if isinstance(pattern, str)]


def _iter_objects(value: Any) -> Iterator[Mapping[str, Any]]:
    """Every object in a JSON value."""
    if isinstance(value, Mapping):
        yield value
    for part in value.values() if isinstance(value, Mapping) else value if isinstance(value, list) else ():
        yield from _iter_objects(part)
